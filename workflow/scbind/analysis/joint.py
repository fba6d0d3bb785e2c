"""Compare populations with each other: assign cells to the most probable one; dissolve groups that are not distinct.

A group that is compared with all other cells at once shares features with some of them. These then join it, or it is
divided between them. Here a cell is compared with every population, with the donor model of
:mod:`scbind.analysis.mixture`. Cells that a pair of other populations explains better, such as doublets and cells on
a path between two states, are not used to estimate the profile of a population, so they do not form
one.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
from scipy.special import logsumexp

from scbind.analysis.mixture import LEAST_PEAKS, DonorMixture, largest_cut, separation, top_cells

ROUNDS = 30  # maximum number of steps until no cell moves
PAIRED = 0.05  # prior probability that a cell is like a pair of populations


def assign(
    mixture: DonorMixture,
    groups: np.ndarray,
    least: int,
    pairs: bool = False,
    among: np.ndarray | None = None,
) -> np.ndarray:
    """Assign each cell to its most probable group, and repeat until no cell moves (classification EM with all groups).

    Parameters
    ----------
    groups
        bool (cells, groups): where the groups start. They may overlap.
    least
        Groups with fewer cells are dropped, the smallest first. Their columns are then empty.
    pairs
        Whether cells that are explained better by a pair of other groups are left without a group.
    among
        bool (cells,): the cells that are given to a group. None: all.

    Returns
    -------
    bool (cells, groups): at most one group for each cell.
    """
    number = np.arange(groups.shape[1])
    for _ in range(ROUNDS):
        score = scores(mixture, groups)
        best = score.argmax(axis=1)
        new = (best[:, None] == number) & groups.any(axis=0)
        if among is not None:
            new &= among[:, None]
        if pairs:
            prior = np.log(
                groups.sum(axis=0)[best] / groups.sum()
            )  # the size of a group is not evidence against a pair
            new &= (score.max(axis=1) - prior >= pair_scores(mixture, groups, best))[:, None]
        size = new.sum(axis=0)
        small = (size < least) & (size > 0)
        if small.any():
            new[:, np.where(small, size, len(new) + 1).argmin()] = False
        elif (new == groups).all():
            break
        groups = new
    return groups


def of_size(mixture: DonorMixture, groups: np.ndarray, among: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return the cells that each group explains best, compared with the other groups: bool (cells, groups).

    The profile of a group leaves out the cell that is judged. A cell may be chosen for several groups.

    ``groups``: bool (cells, groups), at least two; ``among``, bool (cells,): the cells that can be chosen; ``size``,
    int (groups,): how many.
    """
    score = mixture.against_donors(groups)
    margin = np.full(score.shape, -np.inf)
    for group in range(score.shape[1]):
        others = np.delete(score, group, axis=1).max(axis=1)
        margin[among, group] = (score[:, group] - others)[among]
    return top_cells(margin, size)


def scores(mixture: DonorMixture, groups: np.ndarray) -> np.ndarray:
    """Return log P(cell, group) - log P(cell | donor): float64 (cells, groups); -inf for empty groups."""
    with np.errstate(divide="ignore"):
        return mixture.against_donors(groups) + np.log(groups.sum(axis=0) / max(groups.sum(), 1))


def pair_scores(mixture: DonorMixture, groups: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Return log P(cell | pair) - log P(cell | donor) for the most probable pair of other groups: float64 (cells,).

    The profile of a pair is the mean of two. All pairs have the same probability. Without two other groups, the result
    is -inf.

    Parameters
    ----------
    groups
        bool (cells, groups).
    best
        int (cells,): the group of each cell, which is in none of its pairs; -1 for none.
    """
    found = np.full(len(groups), -np.inf)
    alive = np.flatnonzero(groups.any(axis=0))
    factor = mixture.factors(groups)
    for group in (*alive, -1):
        others, rows = alive[alive != group], np.flatnonzero(best == group)
        first, second = (others[side] for side in np.triu_indices(len(others), 1))
        if len(first) and len(rows):
            mean = (factor[:, first] + factor[:, second]) / 2
            found[rows] = mixture.score_of(mean, mean, rows).max(axis=1) - np.log(len(first))
    return found


def everyone(mixture: DonorMixture, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Assign cells without a group to the most probable one: bool (cells, groups), and P(group | cell).

    The probability is low for a cell without a group that a pair of groups explains better, and for a cell of a group
    that a pair of other groups explains better.
    """
    score = scores(mixture, groups)
    chosen = np.where(groups, np.inf, score).argmax(axis=1)
    own = np.where(groups.any(axis=1), chosen, -1)
    paired = pair_scores(mixture, groups, own) + np.log(PAIRED)
    total = logsumexp(np.column_stack([score, paired]), axis=1)
    sure = np.exp(score[np.arange(len(chosen)), chosen] - total)
    return chosen[:, None] == np.arange(groups.shape[1]), sure


def settle(
    matrix: sp.csr_matrix, donor: np.ndarray, groups: np.ndarray, sure: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Dissolve groups of several parts that are not distinct populations, from the smallest on.

    If pairs of other groups explain a group better than a profile of its own, its cells are assigned to the most
    probable larger group; a small group would be swamped. Then, a group that does not differ from the most similar
    larger one is merged with it: it is a population that was divided between two parts.

    Parameters
    ----------
    matrix, donor
        Open peaks, csr (cells, peaks) of ones, and the donor of each cell.
    groups
        bool (cells, groups): the group of each cell. Columns may be empty.
    sure
        float64 (cells,): P(group | cell).

    Returns
    -------
    Both, after the changes. Columns of dissolved groups are empty.
    """
    groups, sure = groups.copy(), sure.copy()
    mixture = DonorMixture(matrix, donor)
    for group, larger in _rising(groups):
        if _of_pairs(mixture, groups, group):
            inside, homes = groups[:, group].copy(), np.zeros_like(groups)
            homes[:, larger] = groups[:, larger]
            moved, now = everyone(mixture, homes)
            groups[inside], sure[inside] = moved[inside], now[inside]
    for group, larger in _rising(groups):
        inside = groups[:, group]
        nearest = larger[scores(mixture, groups)[np.ix_(inside, larger)].mean(axis=0).argmax()]
        if not differ(matrix, donor, inside, groups[:, nearest]):
            groups[inside, nearest] = True
            groups[:, group] = False
    return groups, sure


def _rising(groups: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield each group that has cells, the smallest first, and the others that are not smaller at that time.

    ``groups`` may be changed in place meanwhile.
    """
    for group in np.argsort(groups.sum(axis=0), kind="stable"):
        size = groups.sum(axis=0)
        larger = np.flatnonzero(size >= max(size[group], 1))
        larger = larger[larger != group]
        if size[group] and len(larger):
            yield int(group), larger


def _of_pairs(mixture: DonorMixture, groups: np.ndarray, group: int) -> bool:
    """Tell whether pairs of other groups explain the cells of a group better than a profile of their own does."""
    inside = groups[:, group]
    own = mixture.against_donors(inside[:, None])[inside, 0]
    return bool(pair_scores(mixture, groups, np.full(len(groups), group))[inside].sum() > own.sum())


def differ(matrix: sp.csr_matrix, donor: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Tell whether two groups, bool (cells,), lie farther apart than any cut through a continuum of their cells."""
    rows = np.flatnonzero(ours | theirs)
    mixture, inside = DonorMixture(matrix[rows], donor[rows]), ours[rows]
    if mixture.n_differing(inside[:, None])[0] < LEAST_PEAKS:
        return False
    score = mixture.scores(inside[:, None])[:, 0] / np.sqrt(np.maximum(mixture.n_open, 1))
    return separation(score, inside) > largest_cut(len(rows), int(inside.sum()))
