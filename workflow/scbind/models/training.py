"""Train one model: file in, checkpoint out, resumable in between."""

from __future__ import annotations

import csv
import gc
import hashlib
import json
import logging
import shutil
import time
import warnings
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, EMAWeightAveraging, ModelCheckpoint
from pytorch_lightning.plugins.environments import LightningEnvironment

from scbind import __version__
from scbind.core.devices import lacks_gpu_memory
from scbind.core.errors import InputError
from scbind.core.files import atomic
from scbind.core.runlog import say
from scbind.dataset.splits import TRAIN
from scbind.dataset.trainingset import TrainingSet
from scbind.formats.motifs import read_motifs
from scbind.models.base import FORMAT
from scbind.models.batches import BindingData, Sampling
from scbind.models.checkpoint import read_archive
from scbind.models.lightning import BindingModule

# Weights are averaged over some 100 steps before they are judged and kept: with a few hundred bound validation
# windows, a single epoch looks good by chance, long before the learning rate has come down.
AVERAGING = 0.99
RESUMED = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "epoch", "global_step")
SMALLEST_BATCH = 8  # below this, memory is not short because of the batch
SAMPLING = {  # how each architecture draws examples where the config is silent
    "scbind": {},
    # Fu et al. 2020, Methods, and their data_iter.py: one negative per positive from anywhere outside the peaks,
    # jitter of 20 bp, one strand, full depth
    "scfan": {
        "examples_per_epoch": 20_000,
        "hard": None,
        "easy": 1.0,
        "jitter": 20,
        "reverse": False,
        "depth_min": None,
    },
}


def choose_device(gpus: int, require_gpu: bool = False) -> tuple[str, int]:
    """Lightning's accelerator and device count for a number of granted GPUs, with one clear line.

    Raises :class:`InputError` if a GPU is required and there is none.
    """
    if gpus > 0 and torch.cuda.is_available():
        say(f"device: CUDA, {torch.cuda.get_device_name(0)} x {min(gpus, torch.cuda.device_count())}")
        return "gpu", min(gpus, torch.cuda.device_count())
    why = "no CUDA device is visible" if gpus > 0 else "no GPU was granted (--resources gpu=0)"
    if require_gpu:
        raise InputError(
            "config", why, "run where a GPU is, or set models.*.require_gpu to false", "models.*.require_gpu"
        )
    say(f"device: CPU, {torch.get_num_threads()} threads ({why})")
    return "cpu", 1


def train(
    dataset: str | Path,
    reference: str | Path,
    checkpoint: str | Path,
    history: str | Path,
    scratch: str | Path,
    architecture: str = "scbind",
    motifs: str | Path | None = None,
    options: dict | None = None,
    sampling: dict | None = None,
    epochs: int = 20,
    batch_size: int = 256,
    learning_rate: float = 3e-3,
    weight_decay: float = 0.05,
    patience: int = 6,
    valid_windows: int = 20_000,
    seed: int = 1,
    precision: str = "auto",
    gpus: int = 0,
    require_gpu: bool = False,
    threads: int = 1,
    workers: int = 0,
    code: str = "",
) -> None:
    """Train a model on the training split and keep the epoch with the best validation AUPRC.

    Parameters
    ----------
    dataset, reference
        Folders of the contract.
    checkpoint, history
        Outputs: a Lightning checkpoint that carries its facts, and one CSV row per epoch (``epoch, train_loss,
        valid_loss, valid_auprc, learning_rate, seconds``).
    scratch
        Folder for the state that a killed run resumes from; all of it is removed on success.
    architecture, options, motifs
        See :func:`scbind.models.base.build_network`.
    sampling
        Fields of :class:`scbind.models.batches.Sampling`.
    valid_windows
        Upper limit of validation windows looked at after each epoch (:func:`scbind.dataset.draws.draw_windows`).
    precision
        Lightning's name, or ``auto``: bf16 mixed on CUDA, float32 on CPU.
    workers
        Processes that make batches ahead, for each device; 0 makes them in between. Nothing depends on it.
    code
        Digest of the code that trains. A state is resumed only by the same code, data and settings that left it.

    Raises
    ------
    InputError
        If a GPU is required and missing, or the dataset does not fit the genome.
    FloatingPointError
        If the loss is not finite; the last good state stays in ``scratch``.
    """
    asked = dict(locals())
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    # a notice of one library about another, once an epoch
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")
    torch.set_num_threads(max(1, threads))
    accelerator, devices = choose_device(gpus, require_gpu)
    if precision == "auto":
        precision = "bf16-mixed" if accelerator == "gpu" else "32-true"
    data = TrainingSet.open(dataset, reference)
    facts = data_facts(data, architecture)
    options = options or {}
    drawn = Sampling(**(SAMPLING[architecture] | (sampling or {})))
    pl.seed_everything(seed, workers=True, verbose=False)
    known = read_motifs(motifs) if motifs else None
    module = BindingModule(architecture, dict(options), facts, known, seed)
    batches = BindingData(data, drawn, module.network.bin_bp, batch_size, seed, workers, valid_windows)
    steps = epochs * -(-batches.batches_per_epoch // devices)
    module.hparams.update(
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        total_steps=steps if architecture == "scbind" else None,
    )
    say(
        f"{architecture}: {sum(p.numel() for p in module.parameters()):,} parameters, "
        f"up to {epochs} epochs of {steps // epochs} batches of {batch_size}"
    )

    settings = [
        architecture,
        options,
        facts,
        drawn.__dict__,
        epochs,
        batch_size,
        learning_rate,
        weight_decay,
        seed,
        data.manifest["sha256"],
        _digest_of_motifs(known),
        valid_windows,
        patience,
        precision,
        devices,
        code,
    ]
    key = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:12]
    state = Path(scratch) / key
    last = _whole_state(state)
    best = ModelCheckpoint(
        state,
        "best",
        monitor="valid_auprc",
        mode="max",
        save_last=True,
        save_top_k=1,
        enable_version_counter=False,
        save_on_train_epoch_end=True,
    )
    record = _History()
    callbacks = [best, EarlyStopping("valid_auprc", mode="max", patience=patience), record]
    trainer = make_trainer(architecture, accelerator, devices, precision, epochs, callbacks)
    if last:
        say(f"resuming from {last}")
    fits = True
    try:
        trainer.fit(module, batches, ckpt_path=last, weights_only=True)
    except RuntimeError as error:
        if not lacks_gpu_memory(error):
            raise
        fits = False
    if not fits:  # outside of the handler, which keeps the memory of the failed step alive
        smaller = batch_size // 2
        if devices > 1:  # the other processes cannot start again with this one
            raise InputError(
                "config",
                f"batches of {batch_size} do not fit into the memory of each of {devices} GPUs",
                f"set it to {smaller}",
                "models.*.batch_size",
            )
        if smaller < SMALLEST_BATCH:
            raise InputError(
                "config",
                f"not even batches of {batch_size} fit into the memory of the GPU",
                "use a smaller network or a larger GPU",
                "models.*.batch_size",
            )
        say(f"WARNING out of GPU memory with batches of {batch_size}; starting again with {smaller}")
        del trainer, module, batches
        gc.collect()  # they refer to each other
        torch.cuda.empty_cache()
        return train(**(asked | {"batch_size": smaller}))
    if not trainer.is_global_zero:  # one process writes
        return
    say(f"best validation AUPRC {float(best.best_model_score):.4f}")
    with atomic(history) as path, open(path, "w", newline="") as handle:
        writer = csv.DictWriter(handle, list(record.rows[0]))
        writer.writeheader()
        writer.writerows(record.rows)
    with atomic(checkpoint) as path:
        shutil.copyfile(best.best_model_path, path)
    shutil.rmtree(scratch)  # with what trainings with other data or settings left there


def make_trainer(
    architecture: str, accelerator: str, devices: int, precision: str, epochs: int, callbacks: list[Callback]
) -> pl.Trainer:
    """Lightning's trainer as every training of scbind uses it.

    ``accelerator`` and ``devices`` as of :func:`choose_device`; ``precision`` is Lightning's name. ``scfan`` is trained
    as published; other architectures get averaged weights and clipped gradients.
    """
    published = architecture == "scfan"
    strategy = "auto"
    if devices > 1:  # a batch need not hold every line, so some of scfan's networks may get no gradient
        strategy = "ddp_find_unused_parameters_true" if published else "ddp"
    return pl.Trainer(
        accelerator=accelerator,
        devices=devices,
        strategy=strategy,
        use_distributed_sampler=False,  # the batches of each process are chosen by their number
        precision=precision,
        max_epochs=epochs,
        deterministic=accelerator == "cpu",
        callbacks=callbacks if published else [*callbacks, EMAWeightAveraging(decay=AVERAGING)],
        plugins=[LightningEnvironment()],  # Snakemake retries jobs; Lightning must not requeue them
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        gradient_clip_val=None if published else 1.0,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _digest_of_motifs(known: dict[str, np.ndarray] | None) -> str:
    """SHA-256 of the matrices that a network starts from."""
    total = hashlib.sha256()
    for tf, matrix in sorted((known or {}).items()):
        total.update(f"{tf} {matrix.dtype} {matrix.shape} ".encode() + np.ascontiguousarray(matrix).tobytes())
    return total.hexdigest()


def _whole_state(state: Path) -> str | None:
    """The file to resume from; ``None`` where there is none, or it or the best weights beside it are damaged.

    A damaged state is removed, because every later run would fail on it as well.
    """
    last = state / "last.ckpt"
    if not last.exists():
        return None
    try:
        for path in sorted(state.glob("*.ckpt")):
            read_archive(path, RESUMED)
    except InputError as error:
        say(f"WARNING {error.file}: {error.problem}; starting again without it")
        shutil.rmtree(state)
        return None
    return str(last)


def data_facts(data: TrainingSet, architecture: str) -> dict:
    """Everything about the data that inference must know, in plain types.

    TFs without a bound training window are left out of the model: a head that saw no positive can only guess.
    """
    manifest = data.manifest
    return {
        "format": FORMAT,
        "version": __version__,
        "architecture": architecture,
        "genome": manifest["genome"],
        "chromosomes": manifest["chromosomes"],
        "tfs": manifest["tfs"],
        "modelled": [manifest["bound_train"][tf] > 0 for tf in manifest["tfs"]],
        "bound_train": manifest["bound_train"],
        "cell_lines": manifest["cell_lines"],
        "assayed": data.trained,
        "window": manifest["window"],
        "context": manifest["context"],
        "mappability": data.has_mappability,
        "depth": manifest["depth"],
        "deepest": _deepest(data),
        "normalisation": manifest["normalisation"],
        "splits": manifest["splits"],
    }


def _deepest(data: TrainingSet) -> float:
    """The largest depth of a line on a chromosome where it trains, insertions per base: more was never seen."""
    trained = [np.unique(data.chrom[np.asarray(row) == TRAIN]) for row in data.splits]
    return float(max(data.depth[line, chroms].max(initial=0) for line, chroms in enumerate(trained)))


class _History(Callback):
    """Collect one row per epoch; part of the checkpoint, so a resumed run keeps its past."""

    def __init__(self):
        self.rows: list[dict] = []
        self.began = time.monotonic()

    def on_train_epoch_end(self, trainer, module) -> None:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        row = {
            "epoch": trainer.current_epoch,
            **{name: metrics.get(name) for name in ("train_loss", "valid_loss", "valid_auprc")},
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "seconds": round(time.monotonic() - self.began, 1),
        }
        self.began = time.monotonic()
        self.rows.append(row)
        if trainer.is_global_zero:
            say(
                f"epoch {row['epoch'] + 1}/{trainer.max_epochs}  loss {row['train_loss']:.4f}  "
                f"validation loss {row['valid_loss']:.4f}  AUPRC {row['valid_auprc']:.4f}  {row['seconds']} s"
            )

    def state_dict(self) -> dict:
        return {"rows": self.rows}

    def load_state_dict(self, state: dict) -> None:
        self.rows = state["rows"]
