"""The cells of a sample for inference: insertions, which cells pass quality control, and what each cell borrows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from scbind.core.errors import InputError
from scbind.core.runlog import say
from scbind.formats.celltable import passing_rows, read_borrow
from scbind.formats.genome import ChromSizes
from scbind.formats.signal import CellSignal

COPIED_SHARE = (
    0.5  # if a larger fraction of the cells lends, a copy of their insertions would save little time
)


@dataclass(frozen=True)
class SampleCells:
    """Insertions of a sample's cells, which cells pass quality control, and what each cell borrows.

    Attributes
    ----------
    path
        The ``lenders.h5ad``.
    signal
        The insertions of all cells.
    density
        float64 (cells,): insertions per base of each cell without borrowing; see
        :meth:`scbind.formats.signal.CellSignal.density`.
    passing
        int64 (passing cells,): rows of the file. May be empty.
    borrow
        csr float32 (cells, cells): the stored weights, scaled by :func:`equivalent`.
    """

    path: Path
    signal: CellSignal
    density: np.ndarray
    passing: np.ndarray
    borrow: sp.csr_matrix

    @classmethod
    def open(cls, position, cell, cells, sizes: ChromSizes, known: np.ndarray) -> SampleCells:
        """Open the three files of a sample. Raises :class:`InputError` if they do not belong together.

        For ``known``, see :meth:`scbind.formats.signal.CellSignal.density`.
        """
        passing, borrow = passing_rows(cells), read_borrow(cells)
        if borrow is None:
            raise InputError(cells, "has no obsp['borrow']", "run the rule find_lenders again")
        signal = CellSignal.open(position, cell, borrow.shape[0], sizes)
        if (largest := signal.largest_row()) >= borrow.shape[0]:
            raise InputError(
                cell,
                f"names row {largest}, but {cells} has {borrow.shape[0]} cells",
                "count the sample again",
            )
        density = signal.density(known)
        return cls(Path(cells), signal, density, passing, equivalent(borrow, density))

    def depth(self, rows: np.ndarray) -> np.ndarray:
        """Return the depth of passing cells, including what they borrow: float64 (rows,), insertions per base.

        Raises :class:`InputError` if no passing cell has an insertion on a chromosome with sequence.
        """
        if len(rows) and not self.density[self.passing].any():
            raise InputError(
                self.path,
                "no fragment of its passing cells lies on a chromosome with sequence",
                "use the genome that the fragments were aligned to, or leave the sample out",
            )
        return self.borrow[rows] @ self.density

    def lenders(
        self, rows: np.ndarray, starts: np.ndarray, width: int, folder: Path
    ) -> tuple[CellSignal, np.ndarray | None]:
        """Return the insertions that the cells ``rows`` have or borrow, and which cells to count (``None``: all).

        If few cells lend to ``rows``, their insertions in the windows are copied to ``folder`` once. The insertions of
        the other cells are then not read again for every window. Otherwise the time of a shard would grow with the size
        of the sample. ``starts`` are global 0-based starts of intervals of ``width`` bases.
        """
        lends = np.zeros(self.borrow.shape[1], dtype=bool)
        lends[self.borrow[rows].indices] = True
        if lends.mean() > COPIED_SHARE:
            return self.signal, lends
        return self.signal.copied(starts, width, lends, folder), None


def equivalent(borrow: sp.csr_matrix, density: np.ndarray) -> sp.csr_matrix:
    """Scale the weights so that borrowed insertions have the variance of the same number of own insertions.

    The network was trained on counts, whose variance equals their mean. A sum of insertions with weights w has mean
    sum(w) and variance sum(w^2), which corresponds to an effective sample size of sum(w)^2 / sum(w^2) (Kish 1965).
    Each row is multiplied by sum(w d) / sum(w^2 d), where ``d`` is the ``density`` (cells,) of the lenders. Mean and
    variance are then equal. Without this, borrowing many low-weight neighbours would make a cell look shallower and
    less noisy than it is, and its activity would change with that. Returns csr with the same pattern.
    """
    once, twice = borrow @ density, borrow.multiply(borrow) @ density
    factor = np.divide(once, twice, out=np.ones(len(once)), where=twice > 0)
    scaled = borrow.copy()
    scaled.data *= np.repeat(factor, np.diff(borrow.indptr)).astype(borrow.dtype)
    return scaled


def open_samples(samples: dict, sizes: ChromSizes, known: np.ndarray) -> list[SampleCells]:
    """Open samples, sorted by name, and leave out those without passing cells.

    ``samples`` maps names to keyword arguments of :meth:`SampleCells.open`. Raises :class:`InputError` if no sample is
    left.
    """
    opened = []
    for name, files in sorted(samples.items()):
        found = SampleCells.open(**files, sizes=sizes, known=known)
        if len(found.passing):
            opened.append(found)
        else:
            say(f"WARNING {name}: no cell passes quality control; the sample is left out")
    if not opened:
        problem = "no cell of this or any other sample passes quality control"
        raise InputError(found.path, problem, "lower the thresholds of quality control")
    return opened
