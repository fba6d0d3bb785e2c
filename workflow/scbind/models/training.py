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
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, EMAWeightAveraging, ModelCheckpoint
from pytorch_lightning.plugins.environments import LightningEnvironment

from scbind import __version__
from scbind.core.devices import choose_device, lacks_gpu_memory
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


@dataclass(frozen=True)
class TrainOptions:
    """One entry of the section ``models`` of the configuration, without what does not shape the training.

    Attributes
    ----------
    architecture, options
        See :func:`scbind.models.base.build_network`.
    sampling
        Fields of :class:`scbind.models.batches.Sampling` that differ from the defaults of the architecture.
    epochs, batch_size, patience
        Most epochs; examples per step; epochs without a better validation AUPRC after which training ends.
    learning_rate, weight_decay
        Of the optimiser; the rate is the largest one of its schedule.
    valid_windows
        Upper limit of validation windows looked at after each epoch (:func:`scbind.dataset.draws.draw_windows`).
    seed
        Of the weights and of the order of the examples.
    precision
        Lightning's name, or ``auto``: bf16 mixed on CUDA, float32 on CPU.
    require_gpu
        Refuse to train on a CPU.
    """

    architecture: str
    options: dict
    sampling: dict
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    patience: int
    valid_windows: int
    seed: int
    precision: str
    require_gpu: bool


@dataclass(frozen=True)
class TrainFiles:
    """Files of a training.

    Attributes
    ----------
    dataset, reference
        Folders of the contract.
    checkpoint, history
        Outputs: a Lightning checkpoint that carries its facts, and one CSV row per epoch (``epoch, train_loss,
        valid_loss, valid_auprc, learning_rate, seconds``).
    scratch
        Folder for the state that a killed run resumes from; all of it is removed on success.
    motifs
        ``motifs.npz`` that the motif matrices start from, or None.
    """

    dataset: str | Path
    reference: str | Path
    checkpoint: str | Path
    history: str | Path
    scratch: str | Path
    motifs: str | Path | None = None


def train(
    files: TrainFiles,
    options: TrainOptions,
    *,
    code: str,
    gpus: int = 0,
    threads: int = 1,
    workers: int = 0,
) -> None:
    """Train a model on the training split and keep the epoch with the best validation AUPRC.

    Parameters
    ----------
    code
        Digest of the code that trains. A state is resumed only by the same code, data and settings that left it.
    workers
        Processes that make batches ahead, for each device; 0 makes them in between. Nothing depends on it.

    Raises
    ------
    InputError
        If a GPU is required and missing, or the dataset does not fit the genome.
    FloatingPointError
        If the loss is not finite; the last good state stays in ``scratch``.
    """
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    # a notice of one library about another, once an epoch
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")
    torch.set_num_threads(max(1, threads))
    device = choose_device(gpus, options.require_gpu)
    while not _fit(files, options, device, workers, code):
        options = _with_smaller_batches(options, device[1])
        gc.collect()  # trainer, module and batches refer to each other
        torch.cuda.empty_cache()


def _fit(files: TrainFiles, options: TrainOptions, device: tuple[str, int], workers: int, code: str) -> bool:
    """Train and write the outputs; False where the batches do not fit into the memory of the GPU."""
    precision = options.precision
    if precision == "auto":
        precision = "bf16-mixed" if device[0] == "cuda" else "32-true"
    data = TrainingSet.open(files.dataset, files.reference)
    known = read_motifs(files.motifs) if files.motifs else None
    module, batches = _prepare(data, options, known, workers, device[1])
    settings = {
        **asdict(options),
        "sampling": asdict(batches.sampling),
        "facts": module.hparams.facts,
        "data": data.manifest["sha256"],
        "motifs": _digest_of_motifs(known),
        "precision": precision,
        "devices": device[1],
        "code": code,
    }
    del settings["require_gpu"]  # of no effect where the device is the same
    key = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:12]
    state = Path(files.scratch) / key
    last = _whole_state(state)
    if last:
        say(f"resuming from {last}")
    best, record = _keep_best(state), _History()
    callbacks = [best, EarlyStopping("valid_auprc", mode="max", patience=options.patience), record]
    trainer = make_trainer(options.architecture, *device, precision, options.epochs, callbacks)
    try:
        trainer.fit(module, batches, ckpt_path=last, weights_only=True)
    except RuntimeError as error:
        if not lacks_gpu_memory(error):
            raise
        return False
    if trainer.is_global_zero:  # one process writes
        say(f"best validation AUPRC {float(best.best_model_score):.4f}")
        _write_outputs(files, record.rows, best.best_model_path)
    return True


def _prepare(
    data: TrainingSet, options: TrainOptions, known: dict[str, np.ndarray] | None, workers: int, devices: int
) -> tuple[BindingModule, BindingData]:
    """The network with its schedule, and the batches that it learns from."""
    architecture = options.architecture
    pl.seed_everything(options.seed, workers=True, verbose=False)
    rates = options.learning_rate, options.weight_decay
    facts = data_facts(data, architecture)
    module = BindingModule(architecture, dict(options.options), facts, known, options.seed, *rates)
    batches = BindingData(
        data,
        Sampling(**(SAMPLING[architecture] | options.sampling)),
        module.network.bin_bp,
        options.batch_size,
        options.seed,
        options.valid_windows,
        workers,
    )
    steps = options.epochs * -(-batches.batches_per_epoch // devices)
    module.hparams.update(total_steps=steps if architecture == "scbind" else None)
    say(
        f"{architecture}: {sum(p.numel() for p in module.parameters()):,} parameters, "
        f"up to {options.epochs} epochs of {steps // options.epochs} batches of {options.batch_size}"
    )
    return module, batches


def _keep_best(state: Path) -> ModelCheckpoint:
    """Keep the weights of the best epoch and those of the last one in the folder of the state."""
    return ModelCheckpoint(
        state,
        "best",
        monitor="valid_auprc",
        mode="max",
        save_last=True,
        save_top_k=1,
        enable_version_counter=False,
        save_on_train_epoch_end=True,
    )


def _with_smaller_batches(options: TrainOptions, devices: int) -> TrainOptions:
    """Halve the batches; :class:`InputError` where that cannot help."""
    size = options.batch_size
    if devices > 1:  # the other processes cannot start again with this one
        problem = f"batches of {size} do not fit into the memory of each of {devices} GPUs"
        raise InputError("config", problem, f"set it to {size // 2}", "models.*.batch_size")
    if size // 2 < SMALLEST_BATCH:
        problem = f"not even batches of {size} fit into the memory of the GPU"
        raise InputError("config", problem, "use a smaller network or a larger GPU", "models.*.batch_size")
    say(f"WARNING out of GPU memory with batches of {size}; starting again with {size // 2}")
    return replace(options, batch_size=size // 2)


def _write_outputs(files: TrainFiles, rows: list[dict], best: str) -> None:
    """Write the history and the best checkpoint; remove the states, also those of other data or settings."""
    with atomic(files.history) as path, open(path, "w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with atomic(files.checkpoint) as path:
        shutil.copyfile(best, path)
    shutil.rmtree(files.scratch)


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
