"""The signal of cell types at any locus: pooled insertions of all cells of a type, and their depth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from scbind.analysis.typemeans import list_types
from scbind.core.errors import InputError
from scbind.formats.celltable import cell_types_of, read_obs
from scbind.formats.genome import Genome
from scbind.formats.signal import CellSignal, n_bins, stretches


@dataclass(frozen=True)
class TypeSignal:
    """The pooled insertions of the cells of each type, over all samples.

    A type is read as one bulk track of its cells, like the tracks on which the network was trained. Its prediction
    takes as long as that of one cell, and borrowing is not needed.

    Attributes
    ----------
    types
        Names of the cell types with enough cells; there may be none.
    small
        Names of the types with fewer cells.
    n_cells
        int64 (types,): cells of each type.
    depth
        float32 (types,): insertions per base of all cells of the type together.
    samples
        Per sample the insertions and the type of each cell, int64 (cells,), or -1.
    """

    types: list[str]
    small: list[str]
    n_cells: np.ndarray
    depth: np.ndarray
    samples: tuple[tuple[CellSignal, np.ndarray], ...]

    @classmethod
    def open(cls, samples: Mapping[str, Mapping], genome: Genome, min_cells: int, what: str) -> TypeSignal:
        """Open the cells of samples that pass quality control and have a type of at least ``min_cells`` cells.

        ``samples``: name -> ``position``, ``cell`` and ``cells``, paths of ``results/cells/{sample}``. ``what`` names
        the analysis in log lines. Raises :class:`InputError` if the files of a sample do not belong together.
        """
        labels = {name: _labels(files["cells"]) for name, files in samples.items()}
        together = pd.concat(labels.values())
        types = list_types(together, min_cells, what)
        small = sorted(set(together.dropna().astype(str)) - set(types))
        known, opened = genome.known_lengths(), []
        n_cells, depth = np.zeros(len(types), dtype=np.int64), np.zeros(len(types))
        for name, files in samples.items():
            member = pd.Categorical(labels[name], categories=types).codes.astype(np.int64)
            signal = CellSignal.open(files["position"], files["cell"], len(member), genome.sizes)
            if signal.largest_row() >= len(member):
                problem = f"names more cells than {files['cells']} has"
                raise InputError(files["cell"], problem, "count the sample again")
            mine = member >= 0
            n_cells += np.bincount(member[mine], minlength=len(types))
            depth += np.bincount(member[mine], signal.density(known)[mine], minlength=len(types))
            opened.append((signal, member))
        return cls(types, small, n_cells, depth.astype(np.float32), tuple(opened))

    def counts(self, global_starts: np.ndarray, width: int, bin_bp: int) -> np.ndarray:
        """Count the insertions of each type in the bins of windows: float32 (types, windows, width // bin_bp).

        Windows as in :meth:`scbind.formats.signal.CellSignal.counts`. Insertions are read in pieces.
        """
        starts = np.asarray(global_starts, dtype=np.int64)
        shape = len(self.types), len(starts), n_bins(width, bin_bp)
        total = np.zeros(np.prod(shape), dtype=np.int64)
        for signal, member in self.samples:
            for _, window, index in stretches(signal.position, starts, width):
                kind = member[signal.cell[index]]
                kept = kind >= 0
                kind, window, index = kind[kept], window[kept], index[kept]
                bin_ = (signal.position[index].astype(np.int64) - starts[window]) // bin_bp
                flat = (kind * shape[1] + window) * shape[2] + bin_
                total += np.bincount(flat, minlength=len(total))
            signal.forget()
        return total.reshape(shape).astype(np.float32)


def _labels(path: str | Path) -> pd.Series:
    """Return the type of each cell of a ``cells.h5ad``, in its order; missing for cells that failed."""
    obs = read_obs(path, ["pass"])
    return cell_types_of(obs, path).where(obs["pass"].to_numpy(dtype=bool))
