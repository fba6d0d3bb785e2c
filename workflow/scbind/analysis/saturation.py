"""P(open) of peaks in cells that differ in depth: 1 - exp(-depth of the cell x rate of the peak in the donor).

A peak is open or not. In a deep cell, frequent peaks are open nearly always, so rare peaks have a larger share of its
open peaks. Rates and depths are such that a cell has its number of open peaks, and a peak its number of cells. P(open)
is computed for a few numbers of open peaks (levels) and interpolated between them, so memory does not grow with
cells x peaks.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

STEP = 1.4  # ratio of the numbers of open peaks of neighbouring levels
MOST_LEVELS = 16
ROUNDS = 8  # Newton steps of depths and rates in turn
CLOSED = 1e-3  # smallest fraction of cells in which a peak is closed, and of peaks that are closed at a level
BLOCK = 1 << 22  # open peaks at once
TINY = 1e-12


class Saturation:
    """P(open) of every peak in every cell.

    Parameters
    ----------
    matrix
        csr (cells, peaks) of ones: open peaks.
    code
        Number of the donor of each cell, int (cells,); every donor has cells.
    wanted
        Expected number of cells of each donor in which each peak is open: float64 (peaks, donors).

    Attributes
    ----------
    chance
        P(open) at the levels of the donors: float64 (peaks, donors x levels).
    of_open
        P(open) of the open peaks only: csr float32 (cells, peaks), with the entries of ``matrix``.
    """

    def __init__(self, matrix: sp.csr_matrix, code: np.ndarray, wanted: np.ndarray):
        n_open = np.asarray(matrix.sum(axis=1), dtype=np.float64).ravel()
        level = _levels(n_open)
        below = np.clip(np.searchsorted(level, n_open) - 1, 0, max(len(level) - 2, 0))
        above = np.minimum(below + 1, len(level) - 1)
        part = np.clip((n_open - level[below]) / np.maximum(level[above] - level[below], TINY), 0, 1)
        weight = np.column_stack([1 - part, part]) * (n_open > 0)[:, None]
        column = np.column_stack([below, above]) + len(level) * code[:, None]
        row = np.repeat(np.arange(len(code)), 2)
        shape = len(code), wanted.shape[1] * len(level)
        self._mean = sp.csr_matrix((weight.ravel(), (row, column.ravel())), shape=shape)
        n_cells = np.asarray(self._mean.sum(axis=0)).reshape(-1, len(level))
        donors = zip(wanted.T, n_cells, strict=True)
        self.chance = np.concatenate([_chance(*donor, level) for donor in donors], axis=1)
        self.of_open = self._of_open(matrix, column, weight)

    def _of_open(self, matrix: sp.csr_matrix, column: np.ndarray, weight: np.ndarray) -> sp.csr_matrix:
        value = np.empty(matrix.nnz, dtype=np.float32)
        row = np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))
        for begin in range(0, matrix.nnz, BLOCK):
            here = slice(begin, begin + BLOCK)
            peak, cell = matrix.indices[here], row[here]
            low, high = (weight[cell, side] * self.chance[peak, column[cell, side]] for side in (0, 1))
            value[here] = low + high
        return sp.csr_matrix((value, matrix.indices, matrix.indptr), shape=matrix.shape)

    def over_cells(self, members: np.ndarray) -> np.ndarray:
        """Return the sum of P(open) over the cells of groups: float64 (peaks, groups).

        ``members``: (cells, groups), 1 for a cell of the group and 0 for others.
        """
        return self.chance @ (self._mean.T @ members)

    def over_peaks(self, values: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """Return the sum over peaks of P(open) x ``values`` in all cells, or in ``rows``: float64 (rows, groups).

        ``values``: float64 (peaks, groups).
        """
        return (self._mean if rows is None else self._mean[rows]) @ (self.chance.T @ values)

    def of_cells(self, rows: np.ndarray) -> np.ndarray:
        """Return P(open) of all peaks in the cells ``rows``: float64 (rows, peaks)."""
        return self._mean[rows] @ self.chance.T


def _levels(n_open: np.ndarray) -> np.ndarray:
    """Return numbers of open peaks, from the lowest above 0 to the highest, in equal ratios: float64 (levels,)."""
    some = n_open[n_open > 0]
    low, high = (some.min(), some.max()) if len(some) else (1.0, 1.0)
    number = 1 + int(np.ceil(np.log(high / low) / np.log(STEP)))
    return np.geomspace(low, high, min(number, MOST_LEVELS))


def _chance(wanted: np.ndarray, n_cells: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Return P(open) of the peaks of a donor at each level: float64 (peaks, levels).

    ``wanted``: expected number of cells with the peak open, (peaks,). ``n_cells``: number of cells at each level.
    """
    if not wanted.any():
        return np.zeros((len(wanted), len(level)))
    cells, peaks = n_cells / n_cells.sum(), np.full(len(wanted), 1 / len(wanted))
    of_peak = np.minimum(wanted / n_cells.sum(), 1 - CLOSED)
    of_level = np.minimum(level / len(wanted), 1 - CLOSED)
    depth = -np.log1p(-of_level)
    rate = np.maximum(-np.log1p(-of_peak), TINY) / (cells @ depth)
    for _ in range(ROUNDS):
        depth = _newton(depth, rate, peaks, of_level)
        rate = _newton(rate, depth, cells, of_peak)
    depth = _newton(depth, rate, peaks, of_level)
    return np.minimum(-np.expm1(-np.outer(rate, depth)), 1 - CLOSED)


def _newton(value: np.ndarray, factor: np.ndarray, weight: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    """Return one Newton step to the ``value`` for which the weighted mean of exp(-value x factor) is 1 - ``fraction``.

    The step is on the logarithm of the mean, which is almost linear. ``value`` and ``fraction``: float64 (n,);
    ``factor`` and ``weight``, with the sum 1: float64 (m,).
    """
    closed = np.exp(-np.outer(factor, value))
    mean = weight @ closed
    slope = (weight * factor) @ closed
    step = mean * (np.log(mean) - np.log1p(-fraction)) / np.maximum(slope, TINY)
    return np.maximum(value + step, value / 10)
