"""Divide cells into populations, again and again within each part, until nothing is left that can be divided.

No single resolution finds both the large and the small, so each part is clustered anew, at several resolutions and
in three views of its cells. The clusters are proposals only. A proposal is kept if its cells have other open peaks
than the other cells of their donors (:mod:`scbind.analysis.mixture`), if it lies farther apart than any cut
through a continuum and than any split of simulated cells without structure, and if subsamples of the cells give it
again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.special import expit

from scbind.analysis.grouping import groups_at
from scbind.analysis.mixture import DonorMixture, largest_cut, prior_odds, separation

SUBSAMPLE = 0.8  # fraction of the cells in each repeat of the stability estimate
ALIKE = 0.7  # proposals with a larger Jaccard index are one
OVERLAP = 0.2  # a group that shares a larger fraction of its cells with a better one is left out
RELATED = 0.05  # proposals of a subsample with a smaller Jaccard index cannot become the group
NULL_CELLS = 2_000  # largest number of cells that are simulated


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
    rest
        Whether it is what the other parts left.
    """

    rows: np.ndarray
    parent: int
    confidence: np.ndarray
    separation: float = float("nan")
    limit: float = float("nan")
    stability: float = float("nan")
    rest: bool = False


@dataclass
class Group:
    """A proposal that is kept: its cells, bool (cells,), their scores against the others, and its evidence.

    ``separation`` is that of the scores over the square root of the number of open peaks. ``limit`` is what cuts of a
    continuum and splits of cells without structure reach. ``stability`` is the mean best Jaccard index.
    """

    inside: np.ndarray
    score: np.ndarray
    separation: float
    limit: float
    stability: float = float("nan")


def divide(matrix: sp.csr_matrix, z: np.ndarray, donor: np.ndarray, options: Options) -> list[Part]:
    """Divide cells into parts, and these into parts. The first part is all cells; parts without parts are populations.

    Parameters
    ----------
    matrix
        csr (cells, peaks) of ones: open peaks of the cells alone.
    z
        float (cells, TFs): activity. It only proposes groups.
    donor
        Names of the donors, (cells,).
    """
    n = len(donor)
    parts, number = [Part(np.arange(n), -1, np.ones(n))], 0
    while number < len(parts):
        part = parts[number]
        if len(part.rows) >= 2 * options.least:
            rows = part.rows
            groups, rest = split(matrix[rows], z[rows], donor[rows], options, whole=number == 0)
            parts += _children(part, number, groups, rest, options.least)
        number += 1
    return parts


def _children(part: Part, number: int, groups: list[Group], rest: float, least: int) -> list[Part]:
    """Return the parts of a part. ``rest`` is the stability of what the groups leave."""
    if not groups:
        return []
    inside = np.stack([group.inside for group in groups], axis=1)
    score = np.stack([group.score for group in groups], axis=1) + prior_odds(inside.mean(axis=0))
    member = expit(score)
    chosen = np.where(inside.any(axis=1), np.where(inside, score, -np.inf).argmax(axis=1), len(groups))
    if (chosen == len(groups)).sum() < least:  # too few are left: each goes to its best group
        chosen = score.argmax(axis=1)
    of_rest = (1 - member).prod(axis=1)
    sure = np.column_stack([member, of_rest])[np.arange(len(chosen)), chosen]
    confidence = part.confidence * sure
    found = []
    for index in range(len(groups) + 1):
        mine = chosen == index
        left = index == len(groups)
        worst = min(groups, key=lambda group: group.separation)
        group = worst if left else groups[index]
        facts = group.separation, group.limit, rest if left else group.stability
        found.append(Part(part.rows[mine], number, confidence[mine], *facts, rest=left))
    return [child for child in found if len(child.rows)]


def split(
    matrix: sp.csr_matrix, z: np.ndarray, donor: np.ndarray, options: Options, whole: bool = False
) -> tuple[list[Group], float]:
    """Return the groups of cells that pass all tests, best first, and the stability of what they leave.

    ``whole``: the cells are all cells. The means of donors are then kept in the views, because donors differ in the
    shares of their types; within a part they are removed.
    """
    mixture = DonorMixture(matrix, donor)
    views = list(_views(matrix, z, donor, options, whole))
    proposals = _proposals(views, np.arange(len(donor)), options, options.seed)
    groups = _tested(mixture, proposals, options.least)
    if groups:
        limit = _null_separation(mixture, donor, options, whole)
        groups = [group for group in groups if group.separation > limit]
        for group in groups:
            group.limit = max(group.limit, limit)
    if not groups:
        return [], float("nan")
    rest = _measure_stability(groups, mixture, views, options)
    return [group for group in groups if group.stability >= options.min_stability], rest


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


def _proposals(views: list[np.ndarray], kept: np.ndarray, options: Options, seed: int) -> np.ndarray:
    """Return clusters of the cells ``kept`` in all views and at all resolutions: bool (all cells, proposals)."""
    found, none = [], np.zeros((len(views[0]), 0), dtype=bool)
    for view in views:
        for labels in groups_at(view[kept], options.resolutions, options.n_neighbours, seed):
            for label in range(labels.max() + 1):
                inside = np.zeros(len(view), dtype=bool)
                inside[kept[labels == label]] = True
                if options.least <= inside.sum() <= len(kept) - options.least:
                    found.append(inside)
    return _distinct(np.stack(found, axis=1), ALIKE) if found else none


def _distinct(groups: np.ndarray, alike: float) -> np.ndarray:
    """Leave out each group whose Jaccard index with an earlier one is above ``alike``."""
    index, chosen = _jaccard(groups, groups), []
    for number in range(groups.shape[1]):
        if (index[number, chosen] <= alike).all():
            chosen.append(number)
    return groups[:, chosen]


def _jaccard(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    shared = left.astype(np.float32).T @ right.astype(np.float32)
    union = left.sum(axis=0)[:, None] + right.sum(axis=0)[None, :] - shared
    return shared / np.maximum(union, 1)


def _tested(mixture: DonorMixture, proposals: np.ndarray, least: int) -> list[Group]:
    """Return the groups that proposals become and that no cut of a continuum explains, best first, disjoint."""
    if not proposals.shape[1]:
        return []
    groups, scores = mixture.refine(proposals, least)
    n, root, found = len(groups), np.sqrt(np.maximum(mixture.n_open, 1)), []
    for inside, score in zip(groups.T, scores.T, strict=True):
        if least <= inside.sum() <= n - least:
            group = Group(inside, score, separation(score / root, inside), largest_cut(n, int(inside.sum())))
            found += [group] if group.separation > group.limit else []
    chosen: list[Group] = []
    for group in sorted(found, key=lambda group: -np.maximum(group.score, 0).sum()):
        taken = np.any([other.inside for other in chosen], axis=0) if chosen else np.zeros(n, dtype=bool)
        if (group.inside & taken).sum() <= OVERLAP * group.inside.sum():
            chosen.append(group)
    return chosen


def _null_separation(mixture: DonorMixture, donor: np.ndarray, options: Options, whole: bool) -> float:
    """Return the largest separation that the same steps find in cells that differ by their donor and depth alone."""
    random = np.random.default_rng(options.seed)
    largest = 0.0
    for _ in range(options.null_draws):
        chosen = np.sort(random.permutation(len(donor))[:NULL_CELLS])
        rates = mixture.n_open[chosen, None] * mixture.share.T[mixture.donors[chosen].argmax(axis=1)]
        matrix = sp.csr_matrix((random.poisson(rates) > 0).astype(np.float32))
        views = list(_views(matrix, np.zeros((len(chosen), 0)), donor[chosen], options, whole))
        proposals = _proposals(views, np.arange(len(chosen)), options, options.seed)
        groups = _tested(DonorMixture(matrix, donor[chosen]), proposals, options.least)
        largest = max([largest, *(group.separation for group in groups)])
    return largest


def _measure_stability(
    groups: list[Group], mixture: DonorMixture, views: list[np.ndarray], options: Options
) -> float:
    """Set the stability of each group: its best Jaccard index in subsamples, on average. Return that of the rest."""
    random, ours = np.random.default_rng(options.seed), np.stack([group.inside for group in groups], axis=1)
    found, left = [], []
    for repeat in range(options.repeats):
        size = max(2 * options.least, round(SUBSAMPLE * len(ours)))
        kept = np.sort(random.choice(len(ours), size, replace=False))
        here = np.zeros(ours.shape, dtype=bool)
        here[kept] = ours[kept]
        again = _proposals(views, kept, options, options.seed + 1 + repeat)
        again = again[:, _jaccard(again, here).max(axis=1, initial=0) >= RELATED]
        among = np.zeros(again.shape, dtype=bool)
        among[kept] = True
        again, _ = mixture.refine(again, options.least, among)
        index = _jaccard(here, again) if again.shape[1] else np.zeros((len(groups), 1))
        found.append(index.max(axis=1))
        best = (
            [again[:, column] for column in index.argmax(axis=1)] if again.shape[1] else [here[:, 0] & False]
        )
        rest = np.zeros(len(ours), dtype=bool)
        rest[kept] = True
        both = [(rest & ~here.any(axis=1))[:, None], (rest & ~np.any(best, axis=0))[:, None]]
        left.append(float(_jaccard(*both)[0, 0]))
    for group, stability in zip(groups, np.mean(found, axis=0), strict=True):
        group.stability = float(stability)
    return float(np.mean(left))
