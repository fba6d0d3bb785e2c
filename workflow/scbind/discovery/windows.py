"""The windows in which the motif of a TF is found, and those on which it is tested."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scbind.dataset.codes import BOUND, UNBOUND
from scbind.dataset.splits import TRAIN, VALID
from scbind.dataset.trainingset import TrainingSet

FLANK = 50  # bp on each side of a window: a peak may cover it while its summit lies beyond
UNBOUND_EACH = 2  # unbound windows per bound one
LEAST_UNBOUND = 600  # they show the frequency of words, so a TF with few bound windows gets more of them
STRATA = 5  # of openness, and of GC
FOLDS, STRETCH = 3, 10_000  # number of folds, and bp that stay in one
CANDIDATES = 50_000  # windows of a line and split among which the unbound ones are chosen
BLOCK = 1 << 18  # windows whose labels are read at once


class Sequences(NamedTuple):
    """Bound windows of a TF and similar unbound ones: base codes, uint8 (windows, window + 2 FLANK).

    ``bound_fold`` and ``unbound_fold``, int64 (windows,) from 0 to ``FOLDS`` - 1, divide the windows for cross-fitting.
    Stretches of the genome stay whole, because neighbouring windows share a peak.
    """

    bound: np.ndarray
    unbound: np.ndarray
    bound_fold: np.ndarray
    unbound_fold: np.ndarray


class Parts(NamedTuple):
    """Sequences of the training split, to find motifs in, and of the validation split, to test them on."""

    train: Sequences
    valid: Sequences


class Labelled(NamedTuple):
    """Windows of one split in one line: those that each TF binds, and a sample of all with their labels.

    ``bound`` has one int64 (windows,) per TF; ``sample`` is int64 (sampled,), ``labels`` int8 (sampled, TFs).
    """

    split: int
    line: int
    bound: list[np.ndarray]
    sample: np.ndarray
    labels: np.ndarray


def gather_windows(data: TrainingSet, seed: int) -> list[Labelled]:
    """Read the labels of all training and validation windows once. Test windows are not read.

    Memory: eight bytes per bound window and TF, and the labels of ``CANDIDATES`` windows per line and split.
    """
    found = []
    for split in (TRAIN, VALID):
        for line in range(len(data.lines)):
            window = np.flatnonzero(np.asarray(data.splits[line]) == split)
            bound: list[list[np.ndarray]] = [[] for _ in data.tfs]
            for begin in range(0, len(window), BLOCK):
                block = window[begin : begin + BLOCK]
                row, tf = np.nonzero(np.asarray(data.labels[line, block]) == BOUND)
                for number in np.unique(tf):
                    bound[number].append(block[row[tf == number]])
            sample = _sample(window, CANDIDATES, np.random.default_rng([seed, split, line]))
            none = np.empty(0, dtype=np.int64)
            joined = [np.concatenate(parts) if parts else none for parts in bound]
            found.append(Labelled(split, line, joined, sample, np.asarray(data.labels[line, sample])))
    return found


def draw_parts(data: TrainingSet, labelled: list[Labelled], tf: int, most: int, seed: int) -> Parts:
    """Draw at most ``most`` bound windows of a TF from each of the two splits, and unbound windows like them.

    Unbound windows are as open and as rich in GC as the bound ones of their line, so that neither openness nor GC is
    mistaken for a motif. The draw depends on ``seed`` and the TF only. ``labelled`` is the result of
    :func:`gather_windows`.
    """
    rng = np.random.default_rng([seed, tf])
    drawn: dict[int, list] = {TRAIN: [], VALID: []}
    for each in labelled:
        bound = _sample(each.bound[tf], most, rng)
        unbound = each.sample[each.labels[:, tf] == UNBOUND]
        if len(bound) and len(unbound):
            drawn[each.split].append((bound, unbound[_alike(data, each.line, bound, unbound, rng)]))
    return Parts(*(_sequences(data, part, most, rng) for part in drawn.values()))


def _sample(windows: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    return windows if len(windows) <= most else np.sort(rng.choice(windows, most, replace=False))


def _alike(
    data: TrainingSet, line: int, bound: np.ndarray, unbound: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Choose unbound windows so that each stratum of openness and GC has the same number per bound window: indices."""
    strata = []
    for of in (_openness, _gc):
        values, others = of(data, line, bound), of(data, line, unbound)
        edges = np.quantile(values, np.linspace(0, 1, STRATA + 1)[1:-1])
        strata.append((np.searchsorted(edges, values), np.searchsorted(edges, others)))
    here, there = (strata[0][side] * STRATA + strata[1][side] for side in (0, 1))
    each = max(UNBOUND_EACH, LEAST_UNBOUND / len(bound))
    chosen = [
        _sample(np.flatnonzero(there == stratum), round(each * n), rng)
        for stratum, n in zip(*np.unique(here, return_counts=True), strict=True)
    ]
    return np.concatenate(chosen)


def _openness(data: TrainingSet, line: int, windows: np.ndarray) -> np.ndarray:
    return data.counts(line, windows, data.manifest["context"])[:, 0]


def _gc(data: TrainingSet, line: int, windows: np.ndarray) -> np.ndarray:
    codes = _codes(data, windows)
    return ((codes == 1) | (codes == 2)).mean(axis=1)


def _codes(data: TrainingSet, windows: np.ndarray) -> np.ndarray:
    context, window = data.manifest["context"], data.manifest["window"]
    edge = max(0, (context - window) // 2 - FLANK)
    return data.codes(windows)[:, edge : context - edge]


def _sequences(data: TrainingSet, part: list, most: int, rng: np.random.Generator) -> Sequences:
    """The sequences of all lines' windows, thinned to ``most`` bound ones. The same window in two lines stays twice."""
    bound, unbound = (
        (np.concatenate(each) for each in zip(*part, strict=True)) if part else np.empty((2, 0), int)
    )
    share = min(1, most / max(1, len(bound)))
    bound, unbound = (_sample(each, round(share * len(each)), rng) for each in (bound, unbound))
    codes = (_codes(data, each) if len(each) else _codes(data, np.arange(1))[:0] for each in (bound, unbound))
    return Sequences(*codes, *_folds(_stretch(data, bound), _stretch(data, unbound), rng))


def _stretch(data: TrainingSet, windows: np.ndarray) -> np.ndarray:
    return (data.genome.sizes.offsets[data.chrom[windows]] + data.start[windows].astype(np.int64)) // STRETCH


def _folds(bound: np.ndarray, unbound: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Assign whole stretches to folds, so that all folds have about the same number of bound windows."""
    stretches, row = np.unique(np.append(bound, unbound), return_inverse=True)
    n_bound = np.bincount(row[: len(bound)], minlength=len(stretches))
    fold, filled = np.empty(len(stretches), dtype=np.int64), np.zeros(FOLDS)
    for stretch in np.lexsort((rng.random(len(stretches)), -n_bound)):
        fold[stretch] = rng.integers(FOLDS) if not n_bound[stretch] else filled.argmin()
        filled[fold[stretch]] += n_bound[stretch]
    return fold[row[: len(bound)]], fold[row[len(bound) :]]
