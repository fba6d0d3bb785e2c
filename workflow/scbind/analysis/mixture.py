"""A mixture of two profiles per donor, to test whether some cells have other open peaks than the cells around them.

In cell c, peak j is open at the rate p(c, j) r(j). p(c, j) is P(open) in cells of its donor and its depth
(:mod:`scbind.analysis.saturation`), and r(j) the factor of the population, which is the same in all donors. Differences
between donors and depths are part of p, so they cannot make a population. r is 1 for most peaks and gamma-distributed
for the others; the fraction of the others is estimated for each population (empirical Bayes, as in Efron 2010,
Large-Scale Inference). The
factors of a member are estimated without this member. Cells that do not fit therefore leave the group, and in cells
without structure, no group remains. Members are chosen by the classification EM algorithm (Celeux & Govaert
1992, Computational Statistics & Data Analysis 14:315).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.special import expit, gammaln

from scbind.analysis.saturation import Saturation

SHAPE = 1.0  # of the gamma distribution (mean 1) of the factor of peaks that differ
DONOR_CELLS = 5  # the share of a peak in a donor is shrunk to that of all cells, as if by so many mean cells
FIRST_FRACTION, ROUNDS = 0.1, 6  # of peaks that differ: where its estimate starts, and its steps
FRACTIONS = 1e-4, 0.9  # limits of this fraction
EQUAL, ITERATIONS = 8, 12  # steps of the choice of members: at equal size, and until nothing changes
LARGE = 0.1  # fraction of the cells
LEAST_PEAKS = 10  # that differ; the cells in which one peak is open are a group, but not a population
TINY = 1e-9


class DonorMixture:
    """Scores of groups of cells against the cells of their donors.

    Parameters
    ----------
    matrix
        csr (cells, peaks) of ones: open peaks.
    donor
        Names of the donors, (cells,).
    """

    def __init__(self, matrix: sp.csr_matrix, donor: np.ndarray):
        self.cells, self.peaks = matrix, matrix.T.tocsr()
        self.n_open = np.asarray(matrix.sum(axis=1), dtype=np.float64).ravel()
        code = pd.factorize(donor)[0]
        counts = np.asarray(self.peaks @ np.eye(code.max() + 1, dtype=np.float32)[code], dtype=np.float64)
        every = counts.sum(axis=1) / max(counts.sum(), 1)
        weight = DONOR_CELLS * self.n_open.mean()
        self.share = np.maximum((counts + weight * every[:, None]) / (counts.sum(axis=0) + weight), TINY)
        self.saturation = Saturation(matrix, code, self.share * counts.sum(axis=0))

    def counts(self, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the cells of groups in which each peak is open, their expected number, and which peaks are unchanged.

        A peak is unchanged if it is not more or less open in the group by itself. ``groups``: bool (cells, groups). All
        three are (peaks, groups): float64, float64 and bool.
        """
        seen, expected = self._counts(groups)
        odds = _log_ratio(seen, expected) + prior_odds(_fraction(seen, expected))
        return seen, expected, odds < 0

    def scores(self, groups: np.ndarray) -> np.ndarray:
        """Return log P(cell | group) - log P(cell | other cells): float64 (cells, groups).

        ``groups``: bool (cells, groups). The score of a cell comes from the factors of the other cells. A group with
        less than ``LARGE`` of the cells hardly changes the shares of its donors, which then serve as the other cells.
        """
        found = self.against_donors(groups)
        large = groups.mean(axis=0) > LARGE
        if large.any():
            found[:, large] -= self.against_donors(~groups[:, large])
        return found

    def against_donors(self, groups: np.ndarray) -> np.ndarray:
        """Return log P(cell | group) - log P(cell | donor): float64 (cells, groups), as in :meth:`scores`."""
        members = groups.astype(np.float32)
        seen, expected = self._counts(groups)
        fraction = _fraction(seen, expected)
        # Without the cell itself, its open peaks have one cell less among all, and one less in its own group.
        less = self.n_open @ members / self.n_open.sum()
        outside = self._score(seen, expected, fraction, 0, less)
        expected = expected * (1 - 1 / np.maximum(members.sum(axis=0), 2))
        return np.where(groups, self._score(seen, expected, fraction, 1, less), outside)

    def _score(
        self, seen: np.ndarray, expected: np.ndarray, fraction: np.ndarray, own: int, less: np.ndarray
    ) -> np.ndarray:
        """Return the scores by factors that leave out the cell: ``own`` of ``seen`` and ``less`` of ``expected``."""
        here = _factor(np.maximum(seen - own, 0), np.maximum(expected - less, TINY), fraction)
        return self.score_of(_factor(seen, expected, fraction), here)

    def score_of(self, factor: np.ndarray, of_open: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """Return log P(cell | factors) - log P(cell | donor) of all cells, or of ``rows``: float64 (rows, groups).

        ``of_open``, float64 (peaks, groups), are the factors of the peaks that are open in the cell and may leave out
        the cell itself; ``factor``, of the same shape, are those of the others.
        """
        cells, chance = self.cells, self.saturation.of_open
        if rows is not None:
            cells, chance = cells[rows], chance[rows]
        lost = self.saturation.over_peaks(factor - 1, rows) + chance @ (of_open - factor)
        return cells @ np.log(of_open) - lost

    def factors(self, groups: np.ndarray) -> np.ndarray:
        """Return the factor of every peak in each group: float64 (peaks, groups). ``groups``: bool (cells, groups)."""
        seen, expected = self._counts(groups)
        return _factor(seen, expected, _fraction(seen, expected))

    def _counts(self, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        members = groups.astype(np.float32)
        return np.asarray(self.peaks @ members, dtype=np.float64), self.saturation.over_cells(members)

    def refine(self, groups: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray]:
        """Move cells in and out of each group until nothing changes. Groups below ``least`` cells are dropped.

        In the first ``EQUAL`` steps a group keeps its size, so that wrong members at the start do not break it up.
        Groups that differ in fewer than ``LEAST_PEAKS`` peaks are dropped as well.

        ``groups``: bool (cells, groups). Returns the groups that are left, and their :meth:`scores`.
        """
        groups = groups.copy()
        active = np.arange(groups.shape[1])
        for step in range(EQUAL + ITERATIONS):
            if not len(active):
                break
            here = groups[:, active]
            score = self.scores(here)
            new = (
                top_cells(score, here.sum(axis=0))
                if step < EQUAL
                else score + prior_odds(here.mean(axis=0)) > 0
            )
            new[:, new.sum(axis=0) < least] = False
            same = (new == groups[:, active]).all(axis=0)
            groups[:, active] = new
            active = active[(step < EQUAL) | ~same & new.any(axis=0)]
        groups[:, self.n_differing(groups) < LEAST_PEAKS] = False
        return groups, self.scores(groups)

    def n_differing(self, groups: np.ndarray) -> np.ndarray:
        """Return the effective number of peaks that distinguish each group from the others: float64 (groups,).

        It is (sum of d)^2 / sum of d^2, where d is the part of a peak in the relative entropy of the group.
        ``groups``: bool (cells, groups).
        """
        factor = self.factors(groups)
        part = self.share.mean(axis=1)[:, None] * (factor * np.log(factor) - factor + 1)
        return part.sum(axis=0) ** 2 / np.maximum((part**2).sum(axis=0), TINY**2)


def prior_odds(share: np.ndarray) -> np.ndarray:
    """Return log(share / (1 - share)), kept finite."""
    share = np.clip(share, TINY, 1 - TINY)
    return np.log(share / (1 - share))


def top_cells(score: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Return the ``number`` cells of the highest score in each column: bool, the shape of ``score``."""
    order = np.argsort(-score, axis=0, kind="stable")
    found = np.zeros(score.shape, dtype=bool)
    np.put_along_axis(found, order, np.arange(len(score))[:, None] < number, axis=0)
    return found


def distinct(groups: np.ndarray, alike: float) -> np.ndarray:
    """Leave out each group whose Jaccard index with an earlier one is above ``alike``."""
    index, chosen = jaccard(groups, groups), []
    for number in range(groups.shape[1]):
        if (index[number, chosen] <= alike).all():
            chosen.append(number)
    return groups[:, chosen]


def jaccard(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the Jaccard index of each column of ``left`` with each of ``right``, bool (cells, groups)."""
    shared = left.astype(np.float32).T @ right.astype(np.float32)
    union = left.sum(axis=0)[:, None] + right.sum(axis=0)[None, :] - shared
    return shared / np.maximum(union, 1)


def separation(values: np.ndarray, inside: np.ndarray) -> float:
    """Return the difference of the means inside and outside, over the pooled standard deviation within both."""
    gap, within = gap_and_spread(values[inside], values[~inside])
    return float(gap / within) if within > 0 else 0.0


def gap_and_spread(ours: np.ndarray, theirs: np.ndarray, axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the difference of the means of two sides along ``axis``, and the pooled standard deviation within both."""
    n, others = ours.shape[axis], theirs.shape[axis]
    within = np.sqrt((ours.var(axis=axis) * n + theirs.var(axis=axis) * others) / (n + others))
    return ours.mean(axis=axis) - theirs.mean(axis=axis), within


def largest_cut(n_cells: int, n_inside: int, draws: int = 200, seed: int = 0) -> float:
    """Return the largest :func:`separation` when the upper ``n_inside`` of ``n_cells`` normal values are cut off.

    A continuum of cells can be cut anywhere, and both parts then differ. A population must be farther apart than that:
    than in any of ``draws`` draws. Of more than 5,000 cells, 5,000 are drawn, and the part of them.
    """
    n = min(n_cells, 5_000)
    top = min(max(2, round(n_inside * n / n_cells)), n - 2)
    values = np.sort(np.random.default_rng(seed).normal(size=(draws, n)), axis=1)
    gap, within = gap_and_spread(values[:, n - top :], values[:, : n - top], axis=1)
    return float((gap / within).max())


def _log_ratio(seen: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return log P(seen | the peak differs) - log P(seen | it does not): negative binomial against Poisson."""
    shape = gammaln(seen + SHAPE) - gammaln(SHAPE) + SHAPE * np.log(SHAPE)
    return shape - (seen + SHAPE) * np.log(expected + SHAPE) + expected


def _fraction(seen: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Estimate the fraction of peaks that differ, per group, by expectation-maximisation: float64 (groups,)."""
    ratio, fraction = _log_ratio(seen, expected), np.full(seen.shape[1], FIRST_FRACTION)
    for _ in range(ROUNDS):
        fraction = np.clip(expit(ratio + prior_odds(fraction)).mean(axis=0), *FRACTIONS)
    return fraction


def _factor(seen: np.ndarray, expected: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    """Return the posterior mean of the factor of every peak: float64 (peaks, groups)."""
    differs = expit(_log_ratio(seen, expected) + prior_odds(fraction))
    return 1 - differs + differs * (seen + SHAPE) / (expected + SHAPE)
