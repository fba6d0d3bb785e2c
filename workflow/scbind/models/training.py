"""Train one model from a dataset to a model file. A killed training can be resumed."""

from __future__ import annotations

import csv
import gc
import hashlib
import json
import logging
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch

from scbind import __version__
from scbind.core.devices import choose_device, lacks_gpu_memory
from scbind.core.errors import InputError
from scbind.core.files import atomic
from scbind.core.runlog import say
from scbind.dataset.hidden import hide_tfs
from scbind.dataset.splits import TRAIN
from scbind.dataset.trainingset import TrainingSet
from scbind.formats.evidence import names_of_extended
from scbind.formats.motifs import read_motifs
from scbind.models.base import FORMAT
from scbind.models.batches import BindingData, Sampling
from scbind.models.checkpoint import read_archive
from scbind.models.extension import Base, extended_facts, read_base
from scbind.models.lightning import BindingModule
from scbind.models.modelfile import write_model
from scbind.models.trainer import History, keep_states, make_trainer

RESUMED = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "epoch", "global_step")
SMALLEST_BATCH = 8  # if even this does not fit into GPU memory, smaller batches do not help
SAMPLING = {  # defaults of each architecture for drawing examples
    "scbind": {},
    # Fu et al. 2020, Methods, and their data_iter.py: one negative per positive from anywhere outside the peaks,
    # jitter of 20 bp, one strand, full depth
    "scfan": {
        "examples_per_epoch": 20_000,
        "least_examples": 0,
        "hard": None,
        "easy": 1.0,
        "jitter": 20,
        "reverse": False,
        "depth_min": None,
    },
}


@dataclass(frozen=True)
class TrainOptions:
    """The settings of one entry of ``models`` in the configuration that affect the training.

    Attributes
    ----------
    architecture, options
        See :func:`scbind.models.base.build_network`.
    sampling
        Fields of :class:`scbind.models.batches.Sampling` that differ from the defaults of the architecture.
    epochs, batch_size, patience
        Maximum number of epochs; examples per step; training ends ``patience`` epochs after the one that is kept
        (:class:`scbind.models.trainer.Kept`).
    learning_rate, weight_decay
        Settings of the optimiser. ``learning_rate`` is the maximum of the schedule.
    valid_windows
        Maximum number of validation windows evaluated after each epoch (:func:`scbind.dataset.draws.draw_windows`).
    seed
        Random seed of the weights and of the order of the examples.
    precision
        Lightning's name of a precision, or ``auto``: bf16 mixed on CUDA, float32 on CPU.
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


@dataclass(frozen=True)
class TrainFiles:
    """Input and output files of a training.

    Attributes
    ----------
    dataset, reference
        Folders of the training set and of the prepared genome.
    weights, history
        Outputs: weights with their facts (:func:`scbind.models.modelfile.write_model`), and a CSV file with one row per
        epoch (``epoch, train_loss, valid_loss, valid_auprc, learning_rate``). It has no times, so a training that is
        repeated gives the same bytes; the log has them.
    scratch
        Folder for the state from which a killed run resumes. It is removed on success.
    motifs
        ``motifs.npz`` with the matrices that the motif matrices start from, or ``None``.
    released
        ``motifs.npz`` with the matrices of the motif release, for a model that also predicts TFs without ChIP-seq.
    extends
        Bundle of the model that is extended by the TFs of the dataset (:mod:`scbind.models.extension`), or ``None``.
        The network then has the settings of that model.
    """

    dataset: str | Path
    reference: str | Path
    weights: str | Path
    history: str | Path
    scratch: str | Path
    motifs: str | Path | None = None
    released: str | Path | None = None
    extends: str | Path | None = None


def train(
    files: TrainFiles,
    options: TrainOptions,
    *,
    code: str,
    gpus: int = 0,
    require_gpu: bool = False,
    threads: int = 1,
    workers: int = 0,
    hidden: Sequence[str] = (),
    case_matters: bool = False,
) -> None:
    """Train a model on the training split and keep one epoch (:class:`scbind.models.trainer.Kept`).

    Parameters
    ----------
    code
        Digest of the training code. A run resumes a saved state only if code, data and settings are the same.
    gpus
        Number of GPUs to use; 0 trains on the CPU.
    require_gpu
        If true, refuse to train on a CPU. It does not change the result, so it is not an option of the model.
    threads
        Number of CPU threads.
    workers
        Number of processes per device that prepare batches in advance; 0 prepares them in the main process. It does
        not change the result.
    hidden
        TFs of the dataset whose labels the training does not see (:mod:`scbind.dataset.hidden`).
    case_matters
        Whether TFs whose symbols differ only in case are different TFs, for a model that extends another one.

    Raises
    ------
    InputError
        If a GPU is required and missing, the dataset does not fit the genome, or even small batches do not fit into the
        memory of the GPU.
    FloatingPointError
        If the loss is not finite; the last good state stays in ``scratch``.
    """
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    # Lightning causes this PyTorch warning once per epoch
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")
    # and this one where SLURM is installed; Snakemake has started the job
    warnings.filterwarnings("ignore", message=r".*`srun` command")
    torch.set_num_threads(max(1, threads))
    device = choose_device(gpus, require_gpu)
    while not _fit(files, options, device, workers, code, hidden, case_matters):
        options = _with_smaller_batches(options, device[1])
        gc.collect()  # trainer, module and batches refer to each other
        torch.cuda.empty_cache()


def _fit(
    files: TrainFiles,
    options: TrainOptions,
    device: tuple[str, int],
    workers: int,
    code: str,
    hidden: Sequence[str],
    case_matters: bool,
) -> bool:
    """Train and write the outputs; return False if the batches do not fit into the memory of the GPU."""
    precision = options.precision
    if precision == "auto":
        precision = "bf16-mixed" if device[0] == "cuda" else "32-true"
    data = TrainingSet.open(files.dataset, files.reference, case_matters=case_matters)
    data = hide_tfs(data, hidden)
    matrices = [read_motifs(path) if path else None for path in (files.motifs, files.released)]
    base = None
    if files.extends:
        base = read_base(files.extends, data.manifest["window"], data.manifest["context"])
        options = replace(options, options=base.options)
    module, batches = _prepare(data, options, matrices, base, workers, device[1])
    settings = {
        **asdict(options),
        "sampling": asdict(batches.sampling),
        "facts": module.hparams.facts,
        "data": data.manifest["sha256"],
        "motifs": [_digest_of_motifs(each) for each in matrices],
        "extends": base and base.sha256,
        "precision": precision,
        "devices": device[1],
        "code": code,
    }
    key = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:12]
    state = Path(files.scratch) / key
    last = _whole_state(state)
    if last:
        say(f"resuming from {last}")
    kept, newest = keep_states(state, options.patience)
    record = History()
    trainer = make_trainer(options.architecture, *device, precision, options.epochs, [record, kept, newest])
    try:
        trainer.fit(module, batches, ckpt_path=last, weights_only=True)
    except RuntimeError as error:
        if not lacks_gpu_memory(error):
            raise
        return False
    if trainer.is_global_zero:  # only one process writes
        highest = f"highest {kept.highest:.4f}, standard error {kept.error:.4f}"
        say(
            f"epoch {kept.epoch + 1} is kept: validation AUPRC {float(kept.best_model_score):.4f} ({highest})"
        )
        _write_outputs(files, record.rows, kept.best_model_path, module)
    return True


def _prepare(
    data: TrainingSet,
    options: TrainOptions,
    matrices: Sequence[dict[str, np.ndarray] | None],
    base: Base | None,
    workers: int,
    devices: int,
) -> tuple[BindingModule, BindingData]:
    """Make the network with its learning-rate schedule, and the batches it learns from."""
    architecture = options.architecture
    pl.seed_everything(options.seed, workers=True, verbose=False)
    rates = options.learning_rate, options.weight_decay
    facts = data_facts(data, architecture)
    if base:
        facts = extended_facts(base, facts, case_matters=data.case_matters)
    known, released = matrices
    module = BindingModule(
        architecture, dict(options.options), facts, known, options.seed, *rates, released=released
    )
    if base:
        module.extend(base)
        known = set(names_of_extended(facts).values())
        again, new = ([tf for tf in facts["trained"] if (tf in known) == inside] for inside in (True, False))
        trained = f"trained further: {', '.join(again) or 'none'}; added: {', '.join(new) or 'none'}"
        say(f"extends {base.name}, which has {len(known)} TFs; {trained}")
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
        f"{architecture}: {sum(p.numel() for p in module.parameters() if p.requires_grad):,} parameters, "
        f"up to {options.epochs} epochs of {steps // options.epochs} batches of {options.batch_size}"
    )
    return module, batches


def _with_smaller_batches(options: TrainOptions, devices: int) -> TrainOptions:
    """Halve the batch size; raise :class:`InputError` if that cannot help."""
    size = options.batch_size
    if devices > 1:  # this process cannot restart the other ones
        problem = f"batches of {size} do not fit into the memory of each of {devices} GPUs"
        raise InputError("config", problem, f"set it to {size // 2}", "models.*.batch_size")
    if size // 2 < SMALLEST_BATCH:
        problem = f"even batches of {size} do not fit into the memory of the GPU"
        raise InputError("config", problem, "use a smaller network or a larger GPU", "models.*.batch_size")
    say(f"WARNING out of GPU memory with batches of {size}; training restarts with batches of {size // 2}")
    return replace(options, batch_size=size // 2)


def _write_outputs(files: TrainFiles, rows: list[dict], kept: str, module: BindingModule) -> None:
    """Write the history and the weights of the epoch that is kept.

    All saved states are removed, including those of other data or settings.
    """
    with atomic(files.history) as path, open(path, "w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    stored = read_archive(kept, ("state_dict", "hyper_parameters"))
    held = stored["hyper_parameters"]
    write_model(files.weights, module.whole_network(stored["state_dict"]), held["facts"], held["options"])
    shutil.rmtree(files.scratch)


def _digest_of_motifs(known: dict[str, np.ndarray] | None) -> str:
    """SHA-256 of the matrices that the motif matrices of a network start from."""
    total = hashlib.sha256()
    for tf, matrix in sorted((known or {}).items()):
        total.update(f"{tf} {matrix.dtype} {matrix.shape} ".encode() + np.ascontiguousarray(matrix).tobytes())
    return total.hexdigest()


def _whole_state(state: Path) -> str | None:
    """The file to resume from; ``None`` if there is none, or if it or the epoch kept beside it is damaged.

    A damaged state is removed, because every later run would fail on it.
    """
    last = state / "last.ckpt"
    if not last.exists():
        return None
    try:
        for path in sorted(state.glob("*.ckpt")):
            read_archive(path, RESUMED)
    except InputError as error:
        say(f"WARNING {error.file}: {error.problem}; training starts from the beginning")
        shutil.rmtree(state)
        return None
    return str(last)


def data_facts(data: TrainingSet, architecture: str) -> dict:
    """All facts about the data that inference needs, in plain types.

    ``modelled`` is false for a TF without a bound training window: without a positive, a model can only guess.
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
    """The largest training depth: maximum over lines and their training chromosomes, in insertions per base."""
    trained = [np.unique(data.chrom[np.asarray(row) == TRAIN]) for row in data.splits]
    return float(max(data.depth[line, chroms].max(initial=0) for line, chroms in enumerate(trained)))
