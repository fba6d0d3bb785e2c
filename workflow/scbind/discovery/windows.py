"""The windows in which the motif of a TF is found, and those on which it is tested."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scbind.dataset.codes import UNBOUND
from scbind.dataset.splits import TRAIN, VALID
from scbind.dataset.trainingset import TrainingSet

AROUND = 50  # bp on each side of a summit: sites are near the summits of ChIP-seq peaks (Machanick and Bailey 2011)
UNBOUND_EACH = 2  # unbound windows per bound one
LEAST_UNBOUND = 600  # they show the frequency of words, so a TF with few bound windows gets more of them
STRATA = 5  # of openness, and of GC
FOLDS, STRETCH = 3, 10_000  # number of folds, and bp that stay in one
CANDIDATES = 50_000  # windows of a line and split among which the unbound ones are chosen


class Sequences(NamedTuple):
    """Sequences around the summits of a TF's peaks and similar unbound ones: base codes, uint8 (sequences, 2 AROUND).

    ``bound_fold`` and ``unbound_fold``, int64 (sequences,) from 0 to ``FOLDS`` - 1, divide them for cross-fitting.
    Stretches of the genome stay whole, because neighbouring summits may be of one peak.
    """

    bound: np.ndarray
    unbound: np.ndarray
    bound_fold: np.ndarray
    unbound_fold: np.ndarray


class Parts(NamedTuple):
    """Sequences of the training split, to find motifs in, and of the validation split, to test them on."""

    train: Sequences
    valid: Sequences


class Places(NamedTuple):
    """Where sequences are: a window of each, int64 (sequences,), and their middles, counted over the whole genome."""

    window: np.ndarray
    middle: np.ndarray

    def take(self, rows: np.ndarray) -> Places:
        """Some of them, by their numbers."""
        return Places(self.window[rows], self.middle[rows])


class Labelled(NamedTuple):
    """Windows of one split in one line: the summits in those that each TF binds, and a sample of all with their labels.

    ``bound`` has one :class:`Places` per TF; ``sample`` is int64 (sampled,), ``labels`` int8 (sampled, TFs).
    """

    split: int
    line: int
    bound: list[Places]
    sample: np.ndarray
    labels: np.ndarray


def gather_windows(data: TrainingSet, seed: int) -> list[Labelled]:
    """Read the labels of all training and validation windows once. Test windows are not read.

    Memory: sixteen bytes per bound window and TF, and the labels of ``CANDIDATES`` windows per line and split.
    """
    found = []
    for split in (TRAIN, VALID):
        for line in range(len(data.lines)):
            window = np.flatnonzero(np.asarray(data.splits[line]) == split)
            row, column = data.labels.bound(line, window)
            order = np.argsort(column, kind="stable")
            ends = np.cumsum(np.bincount(column, minlength=len(data.tfs)))
            bound = np.split(window[row[order]], ends[:-1])
            sample = _sample(window, CANDIDATES, np.random.default_rng([seed, split, line]))
            summits = [_summits(data, each, data.summits(line, tf)) for tf, each in enumerate(bound)]
            found.append(Labelled(split, line, summits, sample, data.labels[line, sample]))
    return found


def _summits(data: TrainingSet, bound: np.ndarray, summits: np.ndarray) -> Places:
    """The summit nearest to the middle of each bound window, each once, with the nearest of its windows.

    The summit of a wide peak may be far away. A sequence does not extend beyond the context of its window.
    """
    if not len(bound):
        return Places(bound, bound)
    middle, reach = _middles(data, bound), data.manifest["context"] // 2 - AROUND
    behind = np.searchsorted(summits, middle).clip(max=len(summits) - 1)
    before = (behind - 1).clip(min=0)
    nearer = np.abs(summits[before] - middle) <= np.abs(summits[behind] - middle)
    nearest = summits[np.where(nearer, before, behind)].clip(middle - reach, middle + reach)
    order = np.lexsort((np.abs(nearest - middle), nearest))
    _, first = np.unique(nearest[order], return_index=True)
    kept = np.sort(order[first])
    return Places(bound[kept], nearest[kept])


def _middles(data: TrainingSet, windows: np.ndarray) -> np.ndarray:
    """Places of the middles of windows in the genome: int64."""
    return data.genome.sizes.offsets[data.chrom[windows]] + data.start[windows] + data.manifest["window"] // 2


def draw_parts(data: TrainingSet, labelled: list[Labelled], tf: int, most: int, seed: int) -> Parts:
    """Draw at most ``most`` summits of a TF in bound windows of each of the two splits, and unbound places like them.

    Unbound places are as open and as rich in GC as the summits of their line, so that neither openness nor GC is
    mistaken for a motif. The draw depends on ``seed`` and the TF only. ``labelled`` is the result of
    :func:`gather_windows`.
    """
    rng = np.random.default_rng([seed, tf])
    drawn: dict[int, list] = {TRAIN: [], VALID: []}
    for each in labelled:
        bound = _thinned(each.bound[tf], most, rng)
        unbound = each.sample[each.labels[:, tf] == UNBOUND]
        if len(bound.window) and len(unbound):
            shift = rng.choice(bound.middle - _middles(data, bound.window), len(unbound))
            places = Places(unbound, _middles(data, unbound) + shift)
            drawn[each.split].append((bound, places.take(_alike(data, each.line, bound, places, rng))))
    return Parts(*(_sequences(data, part, most, rng) for part in drawn.values()))


def _sample(windows: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    return windows if len(windows) <= most else np.sort(rng.choice(windows, most, replace=False))


def _thinned(places: Places, most: int, rng: np.random.Generator) -> Places:
    return places.take(_sample(np.arange(len(places.window)), most, rng))


def _joined(places: list[Places]) -> Places:
    none = np.empty(0, dtype=np.int64)
    return Places(*(np.concatenate(column) for column in zip(Places(none, none), *places, strict=True)))


def _alike(
    data: TrainingSet, line: int, bound: Places, unbound: Places, rng: np.random.Generator
) -> np.ndarray:
    """Choose unbound places so that each stratum of openness and GC has the same number per bound one: indices."""
    strata = []
    for of in (_openness, _gc):
        values, others = of(data, line, bound), of(data, line, unbound)
        edges = np.quantile(values, np.linspace(0, 1, STRATA + 1)[1:-1])
        strata.append((np.searchsorted(edges, values), np.searchsorted(edges, others)))
    here, there = (strata[0][side] * STRATA + strata[1][side] for side in (0, 1))
    each = max(UNBOUND_EACH, LEAST_UNBOUND / len(bound.window))
    chosen = [
        _sample(np.flatnonzero(there == stratum), round(each * n), rng)
        for stratum, n in zip(*np.unique(here, return_counts=True), strict=True)
    ]
    return np.concatenate(chosen)


def _openness(data: TrainingSet, line: int, places: Places) -> np.ndarray:
    return data.counts(line, places.window, data.manifest["context"])[:, 0]


def _gc(data: TrainingSet, line: int, places: Places) -> np.ndarray:
    codes = _codes(data, places)
    return ((codes == 1) | (codes == 2)).mean(axis=1)


def _codes(data: TrainingSet, places: Places) -> np.ndarray:
    chrom = data.chrom[places.window]
    start = places.middle - data.genome.sizes.offsets[chrom] - AROUND
    return data.genome.window_codes(chrom, start, 2 * AROUND)


def _sequences(data: TrainingSet, part: list, most: int, rng: np.random.Generator) -> Sequences:
    """The sequences of all lines, thinned to ``most`` summits. A summit that is the same in two lines stays twice."""
    bound, unbound = (_joined([each[side] for each in part]) for side in (0, 1))
    share = min(1, most / max(1, len(bound.window)))
    bound, unbound = (_thinned(each, round(share * len(each.window)), rng) for each in (bound, unbound))
    codes = (_codes(data, each) for each in (bound, unbound))
    return Sequences(*codes, *_folds(bound.middle // STRETCH, unbound.middle // STRETCH, rng))


def _folds(bound: np.ndarray, unbound: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Assign whole stretches to folds, so that all folds have about the same number of bound windows."""
    stretches, row = np.unique(np.append(bound, unbound), return_inverse=True)
    n_bound = np.bincount(row[: len(bound)], minlength=len(stretches))
    fold, filled = np.empty(len(stretches), dtype=np.int64), np.zeros(FOLDS)
    for stretch in np.lexsort((rng.random(len(stretches)), -n_bound)):
        fold[stretch] = rng.integers(FOLDS) if not n_bound[stretch] else filled.argmin()
        filled[fold[stretch]] += n_bound[stretch]
    return fold[row[: len(bound)]], fold[row[len(bound) :]]
