"""Batches for training and validation.

A training batch depends only on (seed, epoch, batch number), so any number of loader workers gives the same batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from scbind.core.runlog import say
from scbind.dataset.draws import draw_windows
from scbind.dataset.splits import TRAIN, VALID
from scbind.dataset.trainingset import TrainingSet
from scbind.formats.thinning import make_salt


@dataclass(frozen=True)
class Sampling:
    """How training examples are drawn.

    Attributes
    ----------
    examples_per_epoch
        Maximum number of examples in an epoch.
    least_examples
        Number of examples in an epoch if the data have fewer (at most ``examples_per_epoch``). Windows are then drawn
        several times, with other shifts and depths. A TF with 51 bound windows, alone in a model, would otherwise get 5
        steps per epoch, and learn hardly anything (docs/notebooks/network.md).
    hard, easy
        Negatives per positive. A negative is not bound by any TF in this line. It is *hard* if the window is open in
        this line, or bound in another line for which it is a training window. Otherwise it is *easy*. Many easy
        negatives keep the ranking correct genome-wide, where most windows are easy. If ``hard`` is ``None``, ``easy``
        negatives per positive are drawn from hard and easy ones together, without distinction.
    jitter
        Windows are shifted by up to this many bp to either side.
    reverse
        If true, half of the examples are read on the reverse strand.
    depth_min
        Lowest depth to which tracks are thinned, in insertions per base. Depths are log-uniform. ``None`` keeps the
        highest depth allowed.
    depth_max
        Highest depth of an example, in insertions per base, to train a network for one depth. ``None`` sets no upper
        limit: an example keeps up to the full depth of its track.
    full_depth
        Fraction of examples that keep the highest depth allowed.
    """

    examples_per_epoch: int = 60_000
    least_examples: int = 10_000
    hard: float | None = 4.0
    easy: float = 20.0
    jitter: int = 20
    reverse: bool = True
    depth_min: float | None = 1e-5
    depth_max: float | None = None
    full_depth: float = 0.25


@dataclass(frozen=True)
class Pools:
    """Training pairs of line and window from which examples are drawn.

    Attributes
    ----------
    each
        Sorted int64 arrays of ``line * n_windows + window`` for the bound, the hard and the easy pairs.
    n_windows
        Number of windows in the dataset.
    """

    each: tuple[np.ndarray, np.ndarray, np.ndarray]
    n_windows: int

    @classmethod
    def of(cls, data: TrainingSet, block: int = 1_000_000) -> Pools:
        """Divide the training pairs of a dataset into pools, with ``block`` windows in memory at a time."""
        n = len(data.start)
        parts: list[list[np.ndarray]] = [[], [], []]
        for begin in range(0, n, block):
            rows = slice(begin, begin + block)
            train = np.asarray(data.splits[:, rows]) == TRAIN
            bound = np.zeros_like(train)
            for line in range(len(data.lines)):
                bound[line, data.labels.bound(line, rows)[0]] = True
            # labels of validation and test windows must not influence training
            tempting = np.asarray(data.is_open[:, rows]) | (bound & train).any(axis=0)
            for part, chosen in zip(
                parts, (train & bound, train & ~bound & tempting, train & ~bound & ~tempting), strict=True
            ):
                line, window = np.nonzero(chosen)
                part.append(line * n + window + begin)
        return cls(tuple(np.sort(np.concatenate(part)) for part in parts), n)

    def n_examples(self, sampling: Sampling) -> int:
        """Number of examples in an epoch."""
        once = sum(self.wanted(sampling))
        return max(once, min(sampling.least_examples, sampling.examples_per_epoch)) if once else 0

    def wanted(self, sampling: Sampling) -> tuple[int, int, int]:
        """Number of bound, hard and easy examples in a draw, in which no window comes twice."""
        hard, easy = sampling.hard, sampling.easy
        if hard is None:
            hard = easy * len(self.each[1]) / max(1, len(self.each[1]) + len(self.each[2]))
            easy -= hard
        positive = min(len(self.each[0]), max(1, int(sampling.examples_per_epoch / (1 + hard + easy))))
        asked = positive, round(positive * hard), round(positive * easy)
        return tuple(min(size, len(pool)) for size, pool in zip(asked, self.each, strict=True))


class TrainingBatches(Dataset):
    """The training batches of one epoch, as dicts of tensors.

    The keys are: ``codes`` uint8 (batch, context); ``counts`` float32 (batch, bins), insertions; ``depth`` float32
    (batch,), insertions per base; ``line`` int64 (batch,); ``labels`` int8 (batch, TFs); and, if the dataset has it,
    ``mappability`` uint8 (batch, context).
    """

    def __init__(
        self,
        data: TrainingSet,
        pools: Pools,
        sampling: Sampling,
        bin_bp: int,
        batch_size: int,
        seed: int,
        epoch: int,
    ):
        self.data, self.sampling, self.bin_bp, self.batch_size = data, sampling, bin_bp, batch_size
        self.seed, self.epoch = seed, epoch
        self.examples = draw_examples(pools, sampling, np.random.default_rng([seed, epoch]))

    def __len__(self) -> int:
        return -(-len(self.examples) // self.batch_size)

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        if number >= len(self):
            raise IndexError(number)
        rng = np.random.default_rng([self.seed, self.epoch, number])
        chosen = self.examples[number * self.batch_size : (number + 1) * self.batch_size]
        line, window = chosen[:, 0], chosen[:, 1]
        shift = rng.integers(-self.sampling.jitter, self.sampling.jitter + 1, len(chosen))
        codes, mappability = self.data.codes(window, shift), self.data.mappability(window, shift)
        keep, salt = _thinning(rng, self.data, line, window, self.sampling)
        counts, depth = _signal(self.data, line, window, self.bin_bp, shift, keep, salt)
        flip = (rng.random(len(chosen)) < 0.5) & self.sampling.reverse
        codes[flip] = np.where(codes[flip] < 4, 3 - codes[flip], codes[flip])[:, ::-1]
        for per_bp in (counts, mappability):
            if per_bp is not None:
                per_bp[flip] = per_bp[flip][:, ::-1]
        return _batch(self.data, line, window, codes, mappability, counts, depth)


class FixedBatches(Dataset):
    """Batches of given (line, window) pairs in order, at full depth and without augmentation, for validation.

    ``line`` and ``window`` are int64 (examples,). Batches have the keys of :class:`TrainingBatches`, and ``weight``
    float32 (batch,), the weight of each example (default 1). Process ``p`` of ``of`` processes takes pairs ``p``,
    ``p + of`` and so on. Every process has the same number of batches; the last may be empty.
    """

    def __init__(
        self,
        data: TrainingSet,
        line: np.ndarray,
        window: np.ndarray,
        bin_bp: int,
        batch_size: int = 512,
        process: int = 0,
        of: int = 1,
        weight: np.ndarray | None = None,
    ):
        weight = np.ones(len(line)) if weight is None else weight
        self.data, self.line, self.window = data, line[process::of], window[process::of]
        self.weight = weight[process::of].astype(np.float32)
        self.bin_bp, self.batch_size = bin_bp, batch_size
        self.batches = -(-len(line) // (of * batch_size))

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        if number >= len(self):
            raise IndexError(number)
        rows = slice(number * self.batch_size, (number + 1) * self.batch_size)
        line, window = self.line[rows], self.window[rows]
        counts, depth = _signal(self.data, line, window, self.bin_bp)
        codes, mappability = self.data.codes(window), self.data.mappability(window)
        batch = _batch(self.data, line, window, codes, mappability, counts, depth)
        return batch | {"weight": torch.from_numpy(self.weight[rows])}


class BindingData(pl.LightningDataModule):
    """Training batches, sampled again in each epoch, and a fixed, weighted sample of validation windows.

    With ``n`` processes (GPUs), process ``p`` trains on batches ``p``, ``p + n`` and so on. Up to ``n - 1`` batches of
    an epoch are used twice, so that every process takes the same number of steps. No validation window is used twice.
    """

    def __init__(
        self,
        data: TrainingSet,
        sampling: Sampling,
        bin_bp: int,
        batch_size: int,
        seed: int,
        valid_windows: int,
        workers: int = 0,
    ):
        super().__init__()
        self.data, self.sampling, self.bin_bp = data, sampling, bin_bp
        self.batch_size, self.seed, self.workers = batch_size, seed, workers
        self.pools = Pools.of(data)
        sizes, number = self.pools.wanted(sampling), self.pools.n_examples(sampling)
        self.batches_per_epoch = -(-number // batch_size)
        said = "examples per epoch: {:,} bound, {:,} open or bound elsewhere, {:,} others".format(*sizes)
        say(said if number == sum(sizes) else f"{said}; drawn {number / sum(sizes):.1f} times")
        # the mean weight is 1, so the loss of a batch is divided by its size only
        line, window, weight = draw_windows(data, VALID, valid_windows, seed)
        self.valid = line, window, weight / weight.mean()

    def _process(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def train_dataloader(self) -> DataLoader:
        """The training batches of this process in the current epoch of the trainer."""
        epoch = self.trainer.current_epoch if self.trainer else 0
        batches = TrainingBatches(
            self.data, self.pools, self.sampling, self.bin_bp, self.batch_size, self.seed, epoch
        )
        process, of = self._process()
        mine = np.arange(process, -(-len(batches) // of) * of, of) % len(batches)
        return self._loader(batches, sampler=mine.tolist())

    def val_dataloader(self) -> DataLoader:
        """The validation windows of this process, at full depth."""
        process, of = self._process()
        line, window, weight = self.valid
        batches = FixedBatches(self.data, line, window, self.bin_bp, process=process, of=of, weight=weight)
        return self._loader(batches)

    def _loader(self, batches: Dataset, sampler: list[int] | None = None) -> DataLoader:
        on_gpu = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        workers = {"num_workers": self.workers, "pin_memory": on_gpu}  # pinned: copied while the GPU works
        return DataLoader(batches, batch_size=None, sampler=sampler, **workers)


def draw_examples(pools: Pools, sampling: Sampling, rng: np.random.Generator) -> np.ndarray:
    """Draw the examples of an epoch, shuffled: int64 (examples, 2), columns line and window.

    If the epoch has more examples than one draw (:meth:`Pools.wanted`), windows are drawn again; of the last draw, only
    a part may be used.
    """
    sizes, number = pools.wanted(sampling), pools.n_examples(sampling)
    drawn = [_draw_once(pools, sizes, rng) for _ in range(-(-number // max(1, sum(sizes))))]
    if len(drawn) > 1:
        rng.shuffle(drawn[-1])
    pairs = np.concatenate(drawn)[:number] if drawn else np.zeros(0, np.int64)
    examples = np.stack(np.divmod(pairs, pools.n_windows), axis=1)
    return examples[rng.permutation(len(examples))]


def _draw_once(pools: Pools, sizes: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """Draw ``sizes`` pairs of the pools, none of them twice: int64 (pairs,)."""
    chosen = [
        pool[rng.choice(len(pool), size, replace=False)] for pool, size in zip(pools.each, sizes, strict=True)
    ]
    return np.concatenate(chosen)


def thinned(
    data: TrainingSet, line: np.ndarray, window: np.ndarray, bin_bp: int, keep: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Counts, float32 (examples, bins), and depth, float32 (examples,), after thinning.

    Each fragment is kept with probability ``keep``. Which ones are kept depends on ``seed`` and the line
    (:mod:`scbind.formats.thinning`), not on the requested windows.
    """
    if keep >= 1:
        return _signal(data, line, window, bin_bp)
    salt = np.array([make_salt(seed, row) for row in range(len(data.lines))])
    return _signal(data, line, window, bin_bp, keep=np.full(len(line), keep), salt=salt[line])


def _batch(data: TrainingSet, line, window, codes, mappability, counts, depth) -> dict[str, torch.Tensor]:
    arrays = {"codes": codes, "mappability": mappability, "counts": counts, "depth": depth, "line": line}
    arrays["labels"] = data.labels[line, window]
    return {key: torch.from_numpy(array) for key, array in arrays.items() if array is not None}


def _signal(
    data: TrainingSet, line: np.ndarray, window: np.ndarray, bin_bp: int, shift=0, keep=None, salt=None
) -> tuple[np.ndarray, np.ndarray]:
    """Counts and depth of examples that may come from several lines.

    An example keeps the share ``keep``, float (examples,), of its fragments; its ``salt``, uint64 (examples,), decides
    which ones. ``None`` keeps all.
    """
    bins = data.manifest["context"] // bin_bp
    counts, depth = np.zeros((len(line), bins), np.float32), np.zeros(len(line), np.float32)
    shift = np.broadcast_to(np.asarray(shift), line.shape)
    for row in np.unique(line):
        here = line == row
        depth[here] = data.window_depth(row, window[here])
        if keep is None:
            counts[here] = data.counts(row, window[here], bin_bp, shift[here])
        else:
            how = shift[here], keep[here], salt[here]
            counts[here] = data.thinned_counts(row, window[here], bin_bp, *how)
    if not np.isfinite(counts).all():
        raise ValueError("the signal of a batch contains NaN; the insertion track is damaged")
    return counts, depth if keep is None else (depth * keep).astype(np.float32)


def _thinning(
    rng: np.random.Generator, data: TrainingSet, line: np.ndarray, window: np.ndarray, sampling: Sampling
) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    """Share of fragments that each example keeps, and its salt; both are ``None`` if nothing is thinned."""
    if sampling.depth_min is None and sampling.depth_max is None:
        return None, None
    keep = _keep_fraction(rng, data.depth[line, data.chrom[window]], sampling)
    return keep, rng.integers(2**64, size=len(line), dtype=np.uint64)


def _keep_fraction(rng: np.random.Generator, depth: np.ndarray, sampling: Sampling) -> np.ndarray:
    """Share of fragments that each example keeps.

    A fraction ``full_depth`` of the examples keeps the highest depth allowed. The depths of the others are log-uniform
    between ``depth_min`` and ``depth_max``.
    """
    depth = np.maximum(depth, 1e-12, dtype=np.float64)
    limits = sampling.depth_max, sampling.depth_min
    most, least = (np.minimum((np.inf if limit is None else limit) / depth, 1.0) for limit in limits)
    keep = most * np.exp(rng.random(len(depth)) * np.log(np.minimum(least / most, 1.0)))
    return np.where(rng.random(len(depth)) < sampling.full_depth, most, keep)
