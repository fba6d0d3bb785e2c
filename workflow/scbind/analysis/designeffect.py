"""Compare groups of cells that borrow insertions from the same cells, and so are not independent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy import special
from scipy.sparse import linalg

from scbind.core.errors import InputError
from scbind.formats.celltable import read_borrow, read_obs

MAKER = "find_lenders"
TINY = 1e-12  # a cell without fragments has no noise to share
AGAIN = f"run {MAKER} again"


@dataclass(frozen=True)
class Borrowing:
    """What the sampling noise of each cell is made of.

    ``noise`` is csr float64 (cells, lenders). The noise of a cell is the sum of the independent noise of the cells that
    lend to it: entries are proportional to the weight times the square root of the fragments of the lender, because
    counts have a variance equal to their mean. Each row has a norm of 1.
    """

    noise: sp.csr_matrix

    @classmethod
    def read(cls, lenders: list[str | Path], obs: pd.DataFrame) -> Borrowing:
        """Read the ``lenders.h5ad`` of samples for the cells ``obs``: columns ``sample``, ``cell`` (the row name).

        Raises :class:`InputError` if a file lacks a cell that ``obs`` has of its samples, or if no file has a sample.
        """
        parts, known = [], []
        for path in lenders:
            table, weights = read_obs(path, ("n_fragments",), MAKER), read_borrow(path)
            if weights is None:
                raise InputError(path, "has no obsp['borrow']", AGAIN)
            parts.append(weights.astype(np.float64).multiply(np.sqrt(table["n_fragments"].to_numpy(float))))
            known.append(table.index.astype(str))
        row = pd.Index(np.concatenate(known)).get_indexer(obs["cell"]) if lenders else np.zeros(0, dtype=int)
        if len(row) != len(obs) or (row < 0).any():
            place = lenders[0] if lenders else "lenders"
            raise InputError(place, "the cells differ from those of the activity", AGAIN)
        noise = sp.block_diag(parts, format="csr")[row]
        return cls(sp.csr_matrix(noise.multiply(1 / np.maximum(linalg.norm(noise, axis=1), TINY)[:, None])))

    def overlap(self, inside: np.ndarray, outside: np.ndarray) -> Overlap:
        """Return how much noise the cells of two groups share: bool (cells,), neither of them empty."""
        ours, theirs = (self.noise.T @ (side / side.sum()) for side in (inside, outside))
        return Overlap(float(ours @ ours), float(theirs @ theirs), float(ours @ theirs))


@dataclass(frozen=True)
class Overlap:
    """Variance of the mean of two groups of cells, and the covariance of both means, if a cell has a variance of 1.

    Without borrowing, the variances are one over the number of cells, and the covariance is 0.
    """

    inside: float
    outside: float
    between: float = 0.0

    def effect(self, n_inside: int, n_outside: int) -> float:
        """Return the variance of the difference of the means over that with independent cells (Kish 1965)."""
        return (self.inside + self.outside - 2 * self.between) / (1 / n_inside + 1 / n_outside)


def compare_means(inside: np.ndarray, outside: np.ndarray, overlap: Overlap) -> tuple[np.ndarray, np.ndarray]:
    """Compare the means of two groups of cells that may share noise; without shared noise, this is Welch's t-test.

    The variance of a cell is the sum of squares around the mean of its group, over that expected for a variance of 1.
    One over the variance of a mean is the effective number of cells of a group, from which the degrees of freedom
    follow (Welch-Satterthwaite); each group has at least one. ``inside`` and ``outside`` are (cells, TFs).

    Returns
    -------
    t and two-sided p-value, each float64 (TFs,); NaN where nothing varies.
    """
    parts = []
    for side, share in ((inside, overlap.inside), (outside, overlap.outside)):
        variance = side.var(axis=0) / max(1 - share, TINY)
        parts.append((variance, share * variance, max(1 / share - 1, 1)))
    (ours, of_ours, df_ours), (theirs, of_theirs, df_theirs) = parts
    variance = of_ours + of_theirs - 2 * overlap.between * np.sqrt(ours * theirs)
    t = (inside.mean(axis=0) - outside.mean(axis=0)) / np.sqrt(np.maximum(variance, 0))
    df = (of_ours + of_theirs) ** 2 / (of_ours**2 / df_ours + of_theirs**2 / df_theirs)
    return t, 2 * special.stdtr(df, -np.abs(t))
