"""Propose small groups of cells: those in which the same few peaks are open.

A small population that differs in few peaks is not visible in the leading components of all peaks: with n cells and p
peaks, components of noise are larger (Baik, Ben Arous & Peche 2005, Annals of Probability 33:1643). So sets of few
peaks are searched, starting from single peaks: the peaks that are open in the same cells as this peak, the cells in
which the set is open, the peaks that are open in these cells, and so on (alternating, as in the truncated power method
for sparse principal components of Yuan & Zhang 2013, Journal of Machine Learning Research 14:899). They are proposals
only.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from scbind.analysis.mixture import TINY, DonorMixture, distinct, gap_and_spread, top_cells

MAX_CELLS = 2_000  # searched cells; of more, so many are drawn at random
MAX_STARTS = 1_000  # peaks from which a search starts; of more, so many are drawn at random
PEAKS = 20  # in a set
ROUNDS = 4  # from cells to peaks and back
LEAST_OPEN = 5  # cells in which a peak is open where a search starts; and of a group among drawn cells
CLIP = 5.0  # limit of the residual of one peak in one cell, so that rare peaks do not decide alone
KEPT = 40  # proposals
ALIKE = 0.5  # proposals with a larger Jaccard index count as one


def groups_of_peaks(mixture: DonorMixture, rows: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Propose groups of cells in which the same peaks are open more often than their donors and depths explain.

    Parameters
    ----------
    mixture
        The cells and their open peaks.
    rows
        int64 (searched cells,): rows of the cells that can be in a group.
    size
        Number of cells of a group; if cells are drawn, the groups have the same fraction of the drawn cells.
    seed
        Seed of the draws of cells and of peaks.

    Returns
    -------
    bool (cells, groups): at most ``KEPT`` groups, the most distinct first.
    """
    random = np.random.default_rng(seed)
    if len(rows) > MAX_CELLS:
        size = max(LEAST_OPEN, round(size * MAX_CELLS / len(rows)))
        rows = np.sort(random.choice(rows, MAX_CELLS, replace=False))
    residual = _residuals(mixture, rows)
    starts = np.flatnonzero(np.asarray(mixture.cells[rows].sum(axis=0)).ravel() >= LEAST_OPEN)
    if len(rows) <= 2 * size or len(starts) <= PEAKS:
        return np.zeros((len(mixture.n_open), 0), dtype=bool)
    if len(starts) > MAX_STARTS:
        starts = np.sort(random.choice(starts, MAX_STARTS, replace=False))
    with threadpool_limits(1, user_api="blas"):  # sums in the same order, so ties fall out in the same way
        alike = residual.T @ residual[:, starts]
    alike[starts, np.arange(len(starts))] = np.inf  # a set holds the peak that it starts from
    number = np.full(len(starts), size)
    score = _of_best_peaks(residual, alike)
    for _ in range(ROUNDS):
        inside = sp.csr_matrix(top_cells(score, number), dtype=np.float32)
        score = _of_best_peaks(residual, np.asarray(inside.T @ residual).T)
    inside = top_cells(score, number)
    order = np.argsort(-_gap(score, size), kind="stable")
    found = distinct(inside[:, order], ALIKE)[:, :KEPT]
    groups = np.zeros((len(mixture.n_open), found.shape[1]), dtype=bool)
    groups[rows] = found
    return groups


def _residuals(mixture: DonorMixture, rows: np.ndarray) -> np.ndarray:
    """Return (open - P(open)) / standard deviation of each peak in cells of their donor and depth: float32, clipped."""
    chance = mixture.saturation.of_cells(rows).astype(np.float32)
    found = mixture.cells[rows].toarray() - chance
    found /= np.sqrt(np.maximum(chance * (1 - chance), TINY))
    return np.clip(found, -CLIP, CLIP)


def _of_best_peaks(residual: np.ndarray, alike: np.ndarray) -> np.ndarray:
    """Return the sum of residuals of the best peaks of each set: float32 (cells, sets). ``alike``: (peaks, sets)."""
    best = np.argpartition(-alike, PEAKS, axis=0)[:PEAKS]
    chosen = sp.csc_matrix(
        (np.ones(best.size, dtype=np.float32), best.T.ravel(), np.arange(0, best.size + 1, PEAKS)),
        shape=alike.shape,
    )
    return np.asarray(residual @ chosen)


def _gap(score: np.ndarray, size: int) -> np.ndarray:
    """Return the :func:`scbind.analysis.mixture.separation` of the ``size`` highest scores of each column."""
    falling = -np.sort(-score, axis=0)
    gap, within = gap_and_spread(falling[:size], falling[size:])
    return gap / np.maximum(within, TINY)
