"""Divide cells into populations, and each part again, until no part can be divided.

No single resolution finds both large and small populations, so each part is clustered again, at several resolutions and
in three views of its cells. The clusters are proposals only. A proposal is kept if its cells have other open peaks
than the other cells of their donors (:mod:`scbind.analysis.mixture`), if its separation is larger than that of any cut
through a continuum and of any split of simulated cells without structure, and if it is found again in subsamples of the
cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scbind.analysis.grouping import groups_at
from scbind.analysis.joint import assign, everyone, of_size, settle
from scbind.analysis.mixture import EQUAL, DonorMixture, distinct, jaccard, largest_cut, separation
from scbind.analysis.peaksets import groups_of_peaks
from scbind.core.runlog import say

SUBSAMPLE = 0.8  # fraction of the cells in each repeat of the stability estimate
FEW = 5  # a class of fewer times the smallest size keeps its size in subsamples
STARTS = 3  # number of clusters from which such a class starts
SMALL = 2  # size of a group that is proposed by its peaks, over the smallest size
ALIKE = 0.7  # proposals with a larger Jaccard index count as one
OVERLAP = 0.2  # a group is left out if better ones explain a larger fraction of it
NULL_CELLS = 2_000  # maximum number of cells that are simulated


@dataclass(frozen=True)
class Options:
    """How cells are divided. See :func:`scbind.analysis.populations.find_populations`."""

    least: int
    resolutions: tuple[float, ...]
    n_neighbours: int
    n_components: int
    repeats: int
    null_draws: int
    min_stability: float
    seed: int


@dataclass
class Part:
    """Cells of one population, or of several that are its parts.

    Attributes
    ----------
    rows
        int64 (cells,), rising: rows of the whole.
    parent
        Number of the part that it was split from; -1 for all cells.
    confidence
        float64 (cells,): probability of the cell's membership, given the other parts.
    separation, limit, stability
        Of the split; NaN for all cells. See :class:`Group`.
    """

    rows: np.ndarray
    parent: int
    confidence: np.ndarray
    separation: float = float("nan")
    limit: float = float("nan")
    stability: float = float("nan")


@dataclass
class Group:
    """A proposal that is kept: its cells, bool (cells,), the scores of all cells against the others, and its evidence.

    ``sure``, float64 (cells,), is the probability of the membership of each cell, once cells are assigned.
    ``separation`` is that of the scores over the square root of the number of open peaks. ``limit`` is what cuts of a
    continuum and splits of cells without structure reach. ``stability`` is that of :func:`_stability`.
    """

    inside: np.ndarray
    score: np.ndarray
    separation: float
    limit: float
    stability: float = float("nan")
    sure: np.ndarray | None = None

    def gain(self, best: np.ndarray | float) -> float:
        """Return the sum of what the scores of its cells are above ``best``, float64 (cells,) or one number."""
        return float(np.maximum(self.score - best, 0)[self.inside].sum())


def divide(matrix: sp.csr_matrix, z: np.ndarray, donor: np.ndarray, options: Options) -> list[Part]:
    """Divide cells into parts, and these into parts. The first part is all cells; parts without parts are populations.

    The populations are then settled together (:func:`scbind.analysis.joint.settle`), because the cells of one
    population may be in several parts.

    Parameters
    ----------
    matrix
        csr (cells, peaks) of ones: open peaks of the cells alone.
    z
        float (cells, TFs): activity. It only proposes groups.
    donor
        Names of the donors, (cells,).
    """
    parts, number = [Part(np.arange(len(donor)), -1, np.ones(len(donor)))], 0
    while number < len(parts):
        rows = parts[number].rows
        if len(rows) >= 2 * options.least:
            groups = split(matrix[rows], z[rows], donor[rows], options, whole=number == 0)
            divided = f"divided into {len(groups)} groups" if groups else "not divided further"
            say(f"populations: {len(rows):,} cells are {divided}")  # a group of 10,000 cells takes minutes
            for group in groups:
                facts = group.separation, group.limit, group.stability
                sure = parts[number].confidence * group.sure
                parts.append(Part(rows[group.inside], number, sure[group.inside], *facts))
        number += 1
    return _settled(parts, matrix, donor)


def undivided(parts: list[Part]) -> list[int]:
    """Return the numbers of the parts that have no parts: the populations."""
    parents = {part.parent for part in parts}
    return [number for number in range(len(parts)) if number not in parents]


def _settled(parts: list[Part], matrix: sp.csr_matrix, donor: np.ndarray) -> list[Part]:
    """Return the parts after the populations were settled: with other cells, and without those that were dissolved."""
    ends = undivided(parts)
    if len(ends) < 2:
        return parts
    groups = np.zeros((len(donor), len(parts)), dtype=bool)
    confidence = np.ones(len(donor))
    for number in ends:
        groups[parts[number].rows, number] = True
        confidence[parts[number].rows] = parts[number].confidence
    groups, confidence = settle(matrix, donor, groups, confidence)
    for number in range(len(parts) - 1, 0, -1):  # a part has the cells of its parts
        groups[:, parts[number].parent] |= groups[:, number]
    return _renumbered(parts, groups, confidence)


def _renumbered(parts: list[Part], groups: np.ndarray, confidence: np.ndarray) -> list[Part]:
    """Return the parts that have cells, bool (cells, parts), and are not the same as the part that they are in."""
    found: list[Part] = []
    place: dict[int, int] = {-1: -1}
    for number, part in enumerate(parts):
        rows = np.flatnonzero(groups[:, number])
        if number and len(rows) in (0, groups[:, part.parent].sum()):
            place[number] = place[part.parent]
            continue
        place[number] = len(found)
        sure = confidence[rows] if number else np.ones(len(rows))
        found.append(replace(part, rows=rows, parent=place[part.parent], confidence=sure))
    return found


def split(
    matrix: sp.csr_matrix, z: np.ndarray, donor: np.ndarray, options: Options, whole: bool = False
) -> list[Group]:
    """Return the groups into which cells are split: every cell is in one of them. Empty if there is no split.

    ``whole``: the cells are all cells. The means of donors are then kept in the views, because donors differ in the
    shares of their types; within a part they are removed.
    """
    mixture = DonorMixture(matrix, donor)
    views = list(_views(matrix, z, donor, options, whole))
    groups = _tested(mixture, _all_proposals(mixture, views, options), options.least)
    if not groups:
        return []
    limit = _null_separation(mixture, donor, options, whole)
    groups = [group for group in groups if group.separation > limit]
    return _stable(groups, limit, mixture, views, options) if groups else []


def _stable(
    groups: list[Group], limit: float, mixture: DonorMixture, views: list[np.ndarray], options: Options
) -> list[Group]:
    """Return the groups and the remaining cells, each with the cells that are most probable in it, if subsamples agree.

    The least stable group is left out, and its cells go to the others, until all have ``min_stability``.
    """
    inside = np.stack([group.inside for group in groups], axis=1)
    classes = np.column_stack([inside, ~inside.any(axis=1)])
    classes = assign(mixture, assign(mixture, classes, options.least), options.least, pairs=True)
    samples = list(_subsamples(mixture, views, options))
    while (alive := np.flatnonzero(classes.any(axis=0))).size > 1:
        stability = _stability(classes[:, alive], mixture, samples, options.least)
        if stability.min() >= options.min_stability:
            whole, sure = everyone(mixture, classes)
            return [
                _class(whole[:, index], sure, index, groups, limit, value)
                for index, value in zip(alive, stability, strict=True)
            ]
        classes[:, alive[stability.argmin()]] = False
        classes = assign(mixture, classes, options.least, pairs=True)
    return []


def _class(
    inside: np.ndarray, sure: np.ndarray, index: int, groups: list[Group], limit: float, stability: float
) -> Group:
    """Return a class as a group. The separation of the remaining cells is that of the nearest group."""
    group = groups[index] if index < len(groups) else min(groups, key=lambda group: group.separation)
    return replace(group, inside=inside, sure=sure, limit=max(group.limit, limit), stability=float(stability))


def _views(
    matrix: sp.csr_matrix, z: np.ndarray, donor: np.ndarray, options: Options, whole: bool
) -> Iterator[np.ndarray]:
    """Yield the cells in accessibility, in activity, and in both, scaled to the same variance."""
    spaces = [_accessibility(matrix, options)]
    if z.shape[1]:
        spaces.append(_activity(z, options))
    if not whole:
        spaces = [space - pd.DataFrame(space).groupby(donor).transform("mean").to_numpy() for space in spaces]
    yield from spaces
    if len(spaces) > 1:
        scaled = [space / max(np.sqrt(space.var(axis=0).sum()), 1e-12) for space in spaces]
        yield np.concatenate(scaled, axis=1)


def _accessibility(matrix: sp.csr_matrix, options: Options) -> np.ndarray:
    """Return latent semantic coordinates (Cusanovich et al. 2018, Cell) without the first, which is depth."""
    from sklearn.decomposition import TruncatedSVD  # takes seconds to import
    from sklearn.feature_extraction.text import TfidfTransformer

    number = max(2, min(options.n_components + 1, min(matrix.shape) - 1))
    weighted = TfidfTransformer().fit_transform(matrix)
    return TruncatedSVD(number, n_iter=7, random_state=options.seed).fit_transform(weighted)[:, 1:]


def _activity(z: np.ndarray, options: Options) -> np.ndarray:
    from sklearn.decomposition import PCA

    number = min(options.n_components, min(z.shape) - 1) or 1
    return PCA(number, svd_solver="full").fit_transform(z)


def _all_proposals(mixture: DonorMixture, views: list[np.ndarray], options: Options) -> np.ndarray:
    """Return the proposals among all cells: bool (cells, proposals). See :func:`_proposals`."""
    return _proposals(mixture, views, np.arange(len(views[0])), SMALL * options.least, options)


def _proposals(
    mixture: DonorMixture, views: list[np.ndarray], rows: np.ndarray, size: int, options: Options
) -> np.ndarray:
    """Return clusters in all views, and groups of ``size`` cells with the same open peaks: bool (cells, proposals).

    Only the cells ``rows`` are searched.
    """
    found = _clusters([view[rows] for view in views], options)
    clusters = np.zeros((len(views[0]), found.shape[1]), dtype=bool)
    clusters[rows] = found
    small = groups_of_peaks(mixture, rows, size, options.seed)
    return distinct(np.concatenate([clusters, small], axis=1), ALIKE)


def _clusters(views: list[np.ndarray], options: Options) -> np.ndarray:
    """Return clusters of the cells in all views and at all resolutions: bool (cells, clusters)."""
    n = len(views[0])
    found = []
    for view in views:
        for labels in groups_at(view, options.resolutions, options.n_neighbours, options.seed):
            clusters = labels[:, None] == np.arange(labels.max() + 1)
            size = clusters.sum(axis=0)
            found.append(clusters[:, (options.least <= size) & (size <= n - options.least)])
    return np.concatenate(found, axis=1)


def _tested(mixture: DonorMixture, proposals: np.ndarray, least: int) -> list[Group]:
    """Return the groups that proposals become and that no cut of a continuum explains, best first."""
    if not proposals.shape[1]:
        return []
    groups, scores = mixture.refine(proposals, least)
    n, root, found = len(groups), np.sqrt(np.maximum(mixture.n_open, 1)), []
    for inside, score in zip(groups.T, scores.T, strict=True):
        if least <= inside.sum() <= n - least:
            group = Group(inside, score, separation(score / root, inside), largest_cut(n, int(inside.sum())))
            found += [group] if group.separation > group.limit else []
    return distinct_groups(found)


def distinct_groups(groups: list[Group]) -> list[Group]:
    """Choose groups, best first, that explain their cells better than the groups chosen before.

    A group is chosen if at most ``OVERLAP`` of its score is lost when each cell counts only what its score is above
    that in the chosen groups. So a small group is kept if a large one holds its cells, too, but fits them worse.
    """
    chosen: list[Group] = []
    left = [(group, group.gain(0.0)) for group in groups]
    best: np.ndarray | float = 0.0
    while left:
        gains = [group.gain(best) for group, _ in left]
        first = int(np.argmax(gains))
        group, own = left.pop(first)
        if gains[first] > 0 and gains[first] >= (1 - OVERLAP) * own:
            chosen.append(group)
            best = np.maximum(best, np.where(group.inside, group.score, 0))
    return chosen


def _null_separation(mixture: DonorMixture, donor: np.ndarray, options: Options, whole: bool) -> float:
    """Return the largest separation that the same steps find in cells that differ by their donor and depth alone."""
    random = np.random.default_rng(options.seed)
    largest = 0.0
    for _ in range(options.null_draws):
        chosen = np.sort(random.permutation(len(donor))[:NULL_CELLS])
        chance = mixture.saturation.of_cells(chosen)
        matrix = sp.csr_matrix((random.random(chance.shape) < chance).astype(np.float32))
        views = list(_views(matrix, np.zeros((len(chosen), 0)), donor[chosen], options, whole))
        drawn = DonorMixture(matrix, donor[chosen])
        groups = _tested(drawn, _all_proposals(drawn, views, options), options.least)
        largest = max([largest, *(group.separation for group in groups)])
    return largest


def _subsamples(
    mixture: DonorMixture, views: list[np.ndarray], options: Options
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the cells of each subsample, bool (cells,), and its clusters, bool (cells, proposals)."""
    random, n = np.random.default_rng(options.seed), len(views[0])
    for repeat in range(options.repeats):
        rows = np.sort(random.choice(n, max(2 * options.least, round(SUBSAMPLE * n)), replace=False))
        kept = np.zeros(n, dtype=bool)
        kept[rows] = True
        part = replace(options, seed=options.seed + 1 + repeat, least=_least_in_part(options.least))
        yield kept, _proposals(mixture, views, rows, round(SUBSAMPLE * SMALL * options.least), part)


def _least_in_part(least: int) -> int:
    """Return the smallest size of a class in a subsample, which lacks some of its cells."""
    return max(2, least // 2)


def _stability(
    classes: np.ndarray, mixture: DonorMixture, samples: list[tuple[np.ndarray, np.ndarray]], least: int
) -> np.ndarray:
    """Return how well each class is found again in the clusters of subsamples: mean Jaccard index, float64 (classes,).

    In a subsample, each class starts from the cluster that is most like it, and cells are assigned to the classes. A
    class of few cells may then lose them all, because a profile from so few cells is too noisy to overcome their
    low prior. It therefore keeps its size: of all cells, those that it explains best are chosen, in the same number.
    It starts from each of the ``STARTS`` clusters that are most like it, and the best result counts.
    """
    found, core, small = [], classes.any(axis=1), classes.sum(axis=0) < FEW * least
    for kept, clusters in samples:
        if not clusters.shape[1]:
            return np.zeros(classes.shape[1])
        here = classes & kept[:, None]
        likest = np.argsort(-jaccard(here, clusters), axis=1, kind="stable")[:, :STARTS].T
        again = assign(mixture, clusters[:, likest[0]], _least_in_part(least), among=kept & core)
        index = jaccard(here, again).diagonal()
        for start in likest if small.any() else ():
            again = np.where(small, clusters[:, start], here)
            for _ in range(EQUAL):
                again = of_size(mixture, again, kept & core, here.sum(axis=0))
            index = np.where(small, np.maximum(index, jaccard(here, again).diagonal()), index)
        found.append(index)
    return np.mean(found, axis=0)
