"""Open peaks of the cells of all samples, in the order of the activity table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scbind.core.errors import InputError
from scbind.formats.celltable import read_whole

MAKER = "the peak matrix of the sample"


def read_open_peaks(
    paths: list[str | Path], cells: pd.DataFrame, max_peaks: int
) -> tuple[sp.csr_matrix, pd.DataFrame]:
    """Read which peaks are open in which cells, by the insertions of each cell alone (nothing is borrowed).

    Parameters
    ----------
    paths
        ``results/cells/{sample}/peaks.h5ad``, with the same peaks in the same order.
    cells
        Table with the columns ``sample`` and ``cell`` (the name of the cell in its file).
    max_peaks
        If there are more peaks, those with the largest binary variance p (1 - p) over the given cells are kept. Memory
        is 8 bytes per open peak of a cell.

    Returns
    -------
    csr float32 (cells, peaks) of ones, in the order of ``cells``, and the table of the peaks: ``chrom, start, end``
    (0-based half-open), sorted as in the file.

    Raises
    ------
    InputError
        If a file is unreadable, has other peaks than the first, or lacks a cell.
    """
    parts, places, peaks = [], [], None
    of_sample = {str(name): rows for name, rows in cells.groupby(cells["sample"].astype(str)).indices.items()}
    for path in paths:
        data = read_whole(path, MAKER, ["obs/sample", "var/chrom", "var/start", "var/end"])
        if peaks is not None and not data.var_names.equals(peaks.index):
            raise InputError(
                path, f"its peaks differ from those of {paths[0]}", "make both peak matrices again"
            )
        peaks = data.var[["chrom", "start", "end"]]
        name = str(data.obs["sample"].iloc[0]) if len(data) else ""
        rows = of_sample.pop(name, np.zeros(0, dtype=np.int64))
        found = data.obs_names.get_indexer(cells["cell"].to_numpy()[rows])
        if (found < 0).any():
            lost = cells["cell"].to_numpy()[rows][found < 0][0]
            raise InputError(
                path, f"has no cell {lost}", "make the peak matrix and the activity from the same cells"
            )
        parts.append((sp.csr_matrix(data.X)[found] > 0).astype(np.float32))
        places.append(rows)
    if of_sample:
        raise InputError(paths[0], f"no file has the cells of sample {next(iter(of_sample))}", f"run {MAKER}")
    matrix = sp.vstack(parts, format="csr")[np.argsort(np.concatenate(places), kind="stable")]
    number = np.bincount(matrix.indices, minlength=matrix.shape[1])
    usable = np.flatnonzero(number > 0)
    spread = number[usable] * (matrix.shape[0] - number[usable])
    kept = np.sort(usable[np.argsort(-spread, kind="stable")[:max_peaks]])
    return matrix[:, kept], peaks.iloc[kept]
