"""How much less cells say that share borrowed insertions than as many independent cells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

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
        return cls(
            sp.csr_matrix(noise.multiply(1 / np.maximum(sp.linalg.norm(noise, axis=1), TINY)[:, None]))
        )

    def effect(self, inside: np.ndarray, outside: np.ndarray) -> float:
        """Return the design effect (Kish 1965) of the difference of the means of two groups of cells, at least 1.

        It is the variance of the difference over that of as many independent cells. ``inside`` and ``outside`` are bool
        (cells,). If no cell borrows, it is 1.
        """
        n_inside, n_outside = inside.sum(), outside.sum()
        contrast = inside / n_inside - outside / n_outside
        shared = self.noise.T @ contrast
        return max(1.0, float(shared @ shared) / (1 / n_inside + 1 / n_outside))
