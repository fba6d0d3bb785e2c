"""Counts of insertions per cell and consensus peak of a sample, for scanpy, SnapATAC2, Signac and ArchR."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata.io import sparse_dataset, write_elem

from scbind.core.errors import InputError
from scbind.core.files import atomic, read_result
from scbind.core.runlog import say
from scbind.core.scratch import scratch_folder
from scbind.formats.celltable import open_to_add, read_obs, read_passing_cells, sort_by_type
from scbind.formats.colours import type_colours
from scbind.formats.genome import ChromSizes
from scbind.formats.intervals import place_names, read_bed
from scbind.formats.signal import CellSignal

INSERTIONS = 1 << 24  # read at a time
ENTRIES = 1 << 23  # of the matrix, written at a time
ANNOTATION = ("gene", "tss_distance", "annotation")


def peak_matrix(
    position: str | Path,
    cell: str | Path,
    cells: str | Path,
    sizes_path: str | Path,
    peaks: str | Path,
    output: str | Path,
    annotation: str | Path | None = None,
    types: Sequence[str] = (),
    insertions: int = INSERTIONS,
    entries: int = ENTRIES,
) -> None:
    """Write ``results/cells/{sample}/peaks.h5ad``: passing cells x consensus peaks.

    * ``X``, csr int32: Tn5 insertions of the cell in the peak. A fragment has two, so most tools that take counts of
      insertions or of fragments can go on from it. Not thinned, not borrowed.
    * ``obs``: as in the other files of the sample, in the same order, without columns that are empty throughout; and
      ``n_insertions_in_peaks``.
    * ``var``: ``chrom``, ``start``, ``end`` (0-based half-open), and with ``annotation`` its gene, distance and place.
      Rows are named ``chrom:start-end``.
    * ``obsm``: ``X_lsi``, ``X_umap``.

    Insertions are read in their order along the genome, ``insertions`` at a time. The part of the matrix that each
    block gives goes to disk; afterwards the parts are joined, about ``entries`` values of the matrix at a time. Memory
    therefore depends on neither the number of cells nor that of fragments.

    Parameters
    ----------
    position, cell
        uint32 arrays of :func:`scbind.cells.count.count_fragments`.
    cells
        ``results/cells/{sample}/cells.h5ad``: one row per barcode.
    sizes_path, peaks
        ``chrom.sizes``; ``consensus.bed``: sorted intervals that do not overlap.
    annotation
        ``annotation.tsv``, one row per peak in the order of ``peaks``, or None.
    types
        Cell types of all samples, for ``uns["cell_type_colors"]``.

    Raises
    ------
    InputError
        If the arrays do not belong together, the peaks overlap or are not sorted, or the annotation is of other
        peaks.
    """
    sizes = ChromSizes.read(sizes_path)
    table = read_bed(peaks, sizes)
    starts, ends = _global(table, sizes, peaks)
    passes = read_obs(cells, ["pass"])["pass"].to_numpy(dtype=bool)
    obs, obsm = read_passing_cells(cells)
    obs, obsm, order = sort_by_type(obs, obsm)
    row = np.full(len(passes), -1, dtype=np.int64)  # of each barcode in the matrix
    row[np.flatnonzero(passes)[order]] = np.arange(len(order))
    signal = CellSignal.open(position, cell, len(row), sizes)
    with scratch_folder(output, "counts") as folder:
        parts = _count(signal, row, starts, ends, len(obs), insertions, folder)
        obs["n_insertions_in_peaks"] = sum((part.total for part in parts), np.zeros(len(obs), dtype=np.int64))
        adata = anndata.AnnData(obs=obs, var=_describe(table, peaks, annotation), obsm=obsm)
        adata.uns["about"] = {"X": "Tn5 insertions of the cell in the peak; a fragment has two"}
        adata.uns |= type_colours(obs, types)
        with atomic(output) as scratch:
            adata.write_h5ad(scratch)
            with open_to_add(scratch) as file:
                n_entries = _join(file, parts, adata.shape, entries)
    say(f"{n_entries:,} counts of {len(obs):,} cells in {len(table):,} peaks")


class _Part:
    """The counts of a block of insertions, csr int32 (cells, peaks) on disk."""

    def __init__(self, folder: Path, matrix: sp.csr_matrix):
        self.paths = [folder / f"{name}.npy" for name in ("data", "indices")]
        for path, array in zip(self.paths, (matrix.data, matrix.indices), strict=True):
            np.save(path, array)
        self.indptr, self.shape = matrix.indptr.astype(np.int64), matrix.shape
        self.total = np.asarray(matrix.sum(axis=1, dtype=np.int64)).ravel()

    def rows(self, low: int, high: int) -> sp.csr_matrix:
        """Read the rows ``low`` to ``high``, half-open."""
        first, last = self.indptr[low], self.indptr[high]
        data, indices = (np.array(np.load(path, mmap_mode="r")[first:last]) for path in self.paths)
        return sp.csr_matrix(
            (data, indices, self.indptr[low : high + 1] - first), (high - low, self.shape[1])
        )


def _count(signal, row, starts, ends, n_rows: int, insertions: int, folder: Path) -> list[_Part]:
    parts, n_peaks = [], len(starts)
    for first in range(0, len(signal.position), insertions):
        block = slice(first, first + insertions)
        position, own = signal.position[block].astype(np.int64), row[signal.cell[block]]
        peak = np.searchsorted(starts, position, side="right") - 1
        inside = (peak >= 0) & (own >= 0)
        inside[inside] = position[inside] < ends[peak[inside]]
        ones = np.ones(int(inside.sum()), dtype=np.int32)
        matrix = sp.coo_matrix((ones, (own[inside], peak[inside])), (n_rows, n_peaks)).tocsr()
        matrix.sum_duplicates()
        if matrix.nnz:
            part = folder / str(len(parts))
            part.mkdir()
            parts.append(_Part(part, matrix))
    return parts


def _join(file, parts: list[_Part], shape: tuple[int, int], entries: int) -> int:
    """Write the sum of the parts as ``X``, some rows at a time; return the number of its entries."""
    upper = sum((part.indptr for part in parts), np.zeros(shape[0] + 1, dtype=np.int64))
    if "X" in file:
        del file["X"]
    low, written = 0, 0
    while True:
        high = max(int(np.searchsorted(upper, upper[low] + entries, side="right")) - 1, low + 1)
        high = min(high, shape[0])
        rows = sum(
            (part.rows(low, high) for part in parts), sp.csr_matrix((high - low, shape[1]), dtype=np.int32)
        )
        rows.sort_indices()
        if not low:
            rows.indptr = rows.indptr.astype(np.int64)  # whole, it may hold more than 2^31 entries
            write_elem(file, "X", rows, dataset_kwargs={"compression": "gzip", "compression_opts": 1})
        else:
            sparse_dataset(file["X"]).append(rows)
        low, written = high, written + rows.nnz
        if low == shape[0]:
            return written


def _global(table: pd.DataFrame, sizes: ChromSizes, path) -> tuple[np.ndarray, np.ndarray]:
    """Return the global starts and ends of the peaks, int64."""
    offset = sizes.offsets[pd.Index(sizes.names).get_indexer(table["chrom"])].astype(np.int64)
    starts, ends = (offset + table[column].to_numpy(dtype=np.int64) for column in ("start", "end"))
    if (starts[1:] < ends[:-1]).any():
        raise InputError(path, "its peaks overlap or are not sorted", "make the consensus peaks again")
    return starts, ends


def _describe(table: pd.DataFrame, peaks, annotation) -> pd.DataFrame:
    var = table[["chrom", "start", "end"]].astype({"chrom": "category"})
    var.index = pd.Index(place_names(table).to_numpy(dtype=object), name="peak")
    if annotation is not None:
        known = read_result(annotation, "annotate the peaks again")
        if len(known) != len(table) or (known["start"].to_numpy() != table["start"].to_numpy()).any():
            raise InputError(annotation, f"its rows are not the peaks of {peaks}", "annotate the peaks again")
        for column in ANNOTATION:
            var[column] = known[column].to_numpy()
    return var
