"""The cells of a sample as inference sees them: their insertions, which of them pass, and who lends to whom."""

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

COPIED_SHARE = 0.5  # of the cells: where more of them lend, a copy would save little and fill the disk


@dataclass(frozen=True)
class SampleCells:
    """Insertions of a sample's cells, which cells pass, and what each borrows.

    ``path`` is the ``cells.h5ad``; ``density`` float64 (cells,), insertions per base of each cell alone (see
    :meth:`scbind.formats.signal.CellSignal.density`); ``passing`` int64 (passing cells,), rows of the file, may
    be empty; ``borrow`` csr float32 (cells, cells), stored weights times what :func:`equivalent` says.
    """

    path: Path
    signal: CellSignal
    density: np.ndarray
    passing: np.ndarray
    borrow: sp.csr_matrix

    @classmethod
    def open(cls, position, cell, cells, sizes: ChromSizes, known: np.ndarray) -> SampleCells:
        """Open the three files of a sample; :class:`InputError` if they do not belong together.

        ``known`` as of :meth:`scbind.formats.signal.CellSignal.density`.
        """
        passing, borrow = passing_rows(cells), read_borrow(cells)
        if borrow is None:
            raise InputError(cells, "needs obsp['borrow']", "run the embedding of the sample again")
        signal = CellSignal.open(position, cell, borrow.shape[0], sizes)
        if (largest := signal.largest_row()) >= borrow.shape[0]:
            raise InputError(
                cell, f"names row {largest}, but {cells} has {borrow.shape[0]} cells", "count them again"
            )
        density = signal.density(known)
        return cls(Path(cells), signal, density, passing, equivalent(borrow, density))

    def depth(self, rows: np.ndarray) -> np.ndarray:
        """Insertions per base of passing cells with what they borrow: float64 (rows,).

        Raises :class:`InputError` where no passing cell has an insertion on a chromosome with sequence.
        """
        if len(rows) and not self.density[self.passing].any():
            raise InputError(
                self.path,
                "none of its fragments lie on a chromosome with sequence",
                "use the genome that the fragments were aligned to, or leave the sample out",
            )
        return self.borrow[rows] @ self.density

    def lenders(
        self, rows: np.ndarray, starts: np.ndarray, width: int, folder: Path
    ) -> tuple[CellSignal, np.ndarray | None]:
        """The insertions that some cells hold or borrow in windows, and which cells to count (``None``: all).

        Where few cells lend to ``rows``, their insertions are copied to ``folder`` once, so that those of all others
        need not be read for every window again: else the time of a shard would grow with the whole sample.
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
    """Open samples (name -> keyword arguments of :meth:`SampleCells.open`) by name, without those where no cell passes.

    Raises :class:`InputError` where none is left.
    """
    opened = []
    for name, files in sorted(samples.items()):
        found = SampleCells.open(**files, sizes=sizes, known=known)
        if len(found.passing):
            opened.append(found)
        else:
            say(f"WARNING {name}: no cell passes quality control; the sample is passed over")
    if not opened:
        problem = "no cell passes quality control, in this sample or any other"
        raise InputError(found.path, problem, "lower the thresholds of quality")
    return opened
