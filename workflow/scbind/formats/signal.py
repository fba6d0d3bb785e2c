"""Count insertions in windows: of a bulk track, of every cell of a sample, or of cells with borrowed insertions.

A signal is a sorted uint32 array of global positions (:mod:`scbind.formats.genome`), one entry per insertion. A sample
has a second array of the same length with the cell of each insertion. Both are memory-mapped, and only the parts under
the requested windows are read. The caller requests windows in blocks, which bounds the memory. Results do not depend on
the size of the blocks.

Windows are ``[start, start + width)`` in global positions and may overlap each other. A window must lie within one
chromosome, because a window that passes its end would read the next chromosome.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

from scbind.core.errors import InputError
from scbind.core.files import map_npy
from scbind.formats.genome import ChromSizes

LARGEST = np.iinfo(np.uint32).max  # genomes are shorter than this, so no insertion has this position
CHUNK = 1 << 22  # insertions read at once from a memory map


def n_bins(width: int, bin_bp: int) -> int:
    """Return the number of bins of ``bin_bp`` in a window of ``width`` bp; ``ValueError`` if it is not whole."""
    if bin_bp < 1 or width < bin_bp or width % bin_bp:
        raise ValueError(f"a window of {width} bp cannot be cut into bins of {bin_bp} bp")
    return width // bin_bp


def rank(positions: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Count insertions before each bound. Bounds become uint32, because numpy would otherwise copy the positions."""
    return np.searchsorted(positions, np.clip(bounds, 0, LARGEST).astype(np.uint32), side="left")


def release_pages(array: np.ndarray) -> None:
    """Free the memory of the pages of a memory map or a view of one. They stay readable, and what was written stays.

    Other arrays are not changed.

    Without this, a pass over a large file would leave the whole file in the resident memory of the process.
    """
    base = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)


def track_counts(positions: np.ndarray, global_starts: np.ndarray, width: int, bin_bp: int) -> np.ndarray:
    """Count the insertions of a bulk track in the bins of windows.

    Parameters
    ----------
    positions
        uint32 (insertions,), sorted global positions, repeated by count; may be a memory map.
    global_starts
        Integer (W,), global 0-based starts of the windows, in any order, overlapping or not.
    width, bin_bp
        Window and bin length in bp; ``width`` must be a multiple of ``bin_bp`` (else ``ValueError``).

    Returns
    -------
    numpy.ndarray
        float32 (W, width // bin_bp), insertions per bin. The cost grows with the number of bins, hardly with depth.

    Examples
    --------
    >>> import numpy as np
    >>> insertions = np.array([3, 3, 12, 25], dtype=np.uint32)
    >>> track_counts(insertions, global_starts=[0, 10], width=20, bin_bp=10).tolist()
    [[2.0, 1.0], [1.0, 1.0]]
    """
    bins = n_bins(width, bin_bp)
    starts = np.asarray(global_starts, dtype=np.int64)
    edges = starts[:, None] + np.arange(bins + 1) * bin_bp
    return np.diff(rank(positions, edges.ravel()).reshape(edges.shape), axis=1).astype(np.float32)


def stretches(
    positions: np.ndarray, starts: np.ndarray, width: int
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Gather the insertions under windows, about ``CHUNK`` insertions at a time.

    ``positions`` as in :func:`track_counts`, ``starts`` int64 (W,). Yields a slice of the windows and, for every
    insertion under them, its window and its index in ``positions``, both int64 (insertions,). An insertion under two
    windows appears twice.
    """
    first = rank(positions, starts)
    number = rank(positions, starts + width) - first
    for part in pieces(number):
        count = number[part]
        before = np.cumsum(count) - count
        window = np.repeat(np.arange(part.start, part.stop), count)
        yield part, window, np.arange(len(window)) + np.repeat(first[part] - before, count)


@dataclass(frozen=True)
class CellSignal:
    """The insertions of all cells of a sample, memory-mapped.

    ``position`` uint32 (insertions,) sorted; ``cell`` uint32 (insertions,), the row of ``barcodes.tsv``.
    """

    position: np.ndarray
    cell: np.ndarray
    n_cells: int
    sizes: ChromSizes

    @classmethod
    def open(cls, position: str | Path, cell: str | Path, n_cells: int, sizes: ChromSizes) -> CellSignal:
        """Memory-map ``position.npy`` and ``cell.npy``; :class:`InputError` if they do not belong together."""
        remedy = "count the sample's fragments again"
        maps = []
        for path in (position, cell):
            maps.append(map_npy(path, remedy))
            if maps[-1].dtype != np.uint32 or maps[-1].ndim != 1:
                raise InputError(
                    path, f"expected a uint32 vector, got {maps[-1].dtype} {maps[-1].shape}", remedy
                )
        if len(maps[0]) != len(maps[1]):
            raise InputError(
                cell, f"{len(maps[1])} entries, but {position} has {len(maps[0])} insertions", remedy
            )
        if len(maps[0]) and int(maps[0][-1]) >= sizes.total:
            raise InputError(
                position, f"an insertion at {maps[0][-1]} lies beyond the genome ({sizes.total} bp)", remedy
            )
        return cls(maps[0], maps[1], int(n_cells), sizes)

    def counts(
        self,
        global_starts: np.ndarray,
        width: int,
        bin_bp: int,
        only: np.ndarray | None = None,
        dtype: type = np.uint32,
    ) -> sparse.csr_matrix:
        """Count the insertions of every cell in the bins of windows.

        Parameters
        ----------
        global_starts
            Integer (W,), global 0-based starts, in any order; windows may overlap each other.
        width, bin_bp
            Window and bin length in bp; ``width`` must be a multiple of ``bin_bp`` (else ``ValueError``).
        only
            Bool (n_cells,): the cells to count. Rows of other cells are empty. ``None`` counts all cells.
        dtype
            Type of the counts.

        Returns
        -------
        scipy.sparse.csr_matrix
            ``dtype`` (n_cells, W * bins), canonical; column ``w * bins + b`` is bin ``b`` of window ``w``.
            Peak memory is that of about two such matrices.
        """
        bins = n_bins(width, bin_bp)
        starts = np.asarray(global_starts, dtype=np.int64)
        shape = (self.n_cells, len(starts) * bins)
        small = np.int32 if max(shape) <= np.iinfo(np.int32).max else np.int64
        rows, columns = [np.empty(0, dtype=small)], [np.empty(0, dtype=small)]
        for _, window, index in stretches(self.position, starts, width):
            cell = self.cell[index]
            if only is not None:
                kept = only[cell]
                cell, index, window = cell[kept], index[kept], window[kept]
            offset = self.position[index].astype(np.int64) - starts[window]
            rows.append(cell.astype(small))
            columns.append((window * bins + offset // bin_bp).astype(small))
        row, column = np.concatenate(rows), np.concatenate(columns)
        del rows, columns
        ones = np.ones(len(row), dtype=dtype)
        matrix = sparse.coo_matrix((ones, (row, column)), shape=shape).tocsr()
        matrix.sum_duplicates()
        self.forget()
        return matrix

    def copied(self, global_starts: np.ndarray, width: int, only: np.ndarray, folder: Path) -> CellSignal:
        """Copy the insertions of some cells under windows to two files in a folder, and memory-map the files.

        For these windows and the cells of ``only`` (bool (n_cells,)), the copy gives the same counts as this signal.
        The copy is made in one pass over the windows, in pieces of ``CHUNK`` insertions.
        """
        starts = np.unique(np.asarray(global_starts, dtype=np.int64))
        apart = np.diff(starts) > width
        first = rank(self.position, starts[np.append(True, apart)[: len(starts)]])
        last = rank(self.position, starts[np.append(apart, True)[: len(starts)]] + width)
        paths, read = (Path(folder) / "position", Path(folder) / "cell"), 0
        with open(paths[0], "wb") as positions, open(paths[1], "wb") as cells:
            for low, high in zip(first.tolist(), last.tolist(), strict=True):
                for begin in range(low, high, CHUNK):
                    piece = slice(begin, min(begin + CHUNK, high))
                    cell = self.cell[piece]
                    kept = only[cell]
                    positions.write(self.position[piece][kept].tobytes())
                    cells.write(cell[kept].tobytes())
                    read += len(cell)
                    if read > CHUNK:
                        self.forget()
                        read = 0
        self.forget()
        empty = not paths[0].stat().st_size  # an empty file cannot be memory-mapped
        maps = (np.zeros(0, np.uint32) if empty else np.memmap(path, np.uint32, "r") for path in paths)
        return CellSignal(*maps, self.n_cells, self.sizes)

    def within(self, global_starts: np.ndarray, width: int) -> int:
        """Count the insertions of all cells in windows. An insertion in several windows counts in each."""
        starts = np.asarray(global_starts, dtype=np.int64)
        return int((rank(self.position, starts + width) - rank(self.position, starts)).sum())

    def largest_row(self) -> int:
        """Return the largest cell row of all insertions, -1 if there is none. Reads the whole file, in pieces."""
        largest = -1
        for begin in range(0, len(self.cell), CHUNK):
            largest = max(largest, int(self.cell[begin : begin + CHUNK].max()))
            self.forget()
        return largest

    def forget(self) -> None:
        """Free the memory of the pages that were read (see :func:`release_pages`)."""
        release_pages(self.position)
        release_pages(self.cell)

    def totals_within(self, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Count the insertions of each cell within intervals: int64 (n_cells,). Each insertion counts once.

        ``starts`` and ``ends``: integer (intervals,), global, half-open, in any order; they may overlap.
        """
        order = np.argsort(starts, kind="stable")
        starts = np.asarray(starts, dtype=np.int64)[order]
        reach = np.maximum.accumulate(np.asarray(ends, dtype=np.int64)[order])
        first = np.flatnonzero(np.append(True, starts[1:] > reach[:-1])[: len(starts)])
        last = np.append(first[1:], len(starts))[: len(first)] - 1
        # Each interval lies between an even edge and the next odd edge.
        edges = np.stack([starts[first], reach[last]], axis=1).ravel().astype(np.uint32)
        total = np.zeros(self.n_cells, dtype=np.int64)
        for begin in range(0, len(self.cell), CHUNK):
            end = min(begin + CHUNK, len(self.cell))
            place = np.searchsorted(edges, self.position[begin:end], side="right")
            inside = self.cell[begin:end][place % 2 == 1]
            total += np.bincount(inside, minlength=self.n_cells)
            self.forget()
        return total

    def density(self, known: np.ndarray) -> np.ndarray:
        """Return the insertions per base of each cell, float64 (n_cells,).

        Only chromosomes with sequence and with insertions of the sample count. ``known`` int64 (chromosomes,): bases
        that are not N (:meth:`scbind.formats.genome.Genome.known_lengths`), 0 for a chromosome without sequence and
        for organelle DNA. The depth of a cell is the weighted sum of the densities of its lenders, itself included.
        """
        offsets = self.sizes.offsets
        bounds = rank(self.position, offsets)
        covered = (np.diff(bounds) > 0) & (known > 0)
        total = np.zeros(self.n_cells, dtype=np.int64)
        for chrom in np.flatnonzero(
            covered
        ):  # insertions of a chromosome are adjacent: no need to read positions
            for begin in range(bounds[chrom], bounds[chrom + 1], CHUNK):
                stretch = self.cell[begin : min(begin + CHUNK, bounds[chrom + 1])]
                total += np.bincount(stretch, minlength=self.n_cells)
                self.forget()
        return total / max(known[covered].sum(), 1)


def borrowed(counts: sparse.csr_matrix, borrow: sparse.csr_matrix, bins: int) -> np.ndarray:
    """Sum the counts of the lenders of each cell, each times its weight.

    Parameters
    ----------
    counts
        csr (n_cells, W * bins), from :meth:`CellSignal.counts`.
    borrow
        csr (cells, n_cells): rows of ``obsp["borrow"]``, weights in [0, 1]. The weight of the cell itself is 1.
    bins
        Bins per window.

    Returns
    -------
    numpy.ndarray
        float32 (cells, W, bins), insertions times weights. The sum for a cell runs over its row of ``borrow`` in
        order, so the result is the same to the bit for every size of the blocks of cells and windows.
    """
    # float32 matrices are not copied: copying the counts of all cells for every block of cells would be slow
    factors = [sparse.csr_matrix(matrix).astype(np.float32, copy=False) for matrix in (borrow, counts)]
    product = factors[0] @ factors[1]
    return product.toarray().reshape(product.shape[0], -1, bins)


def pieces(number: np.ndarray) -> Iterator[slice]:
    """Cut windows into slices of about ``CHUNK`` insertions, in order; ``number`` is the count of each window."""
    cuts = np.flatnonzero(np.diff(np.cumsum(number) // CHUNK)) + 1
    edges = [0, *cuts.tolist(), len(number)]
    for begin, end in zip(edges[:-1], edges[1:], strict=True):
        yield slice(begin, end)


def window_blocks(n_windows: int, block: int) -> Iterator[slice]:
    """Cut ``n_windows`` into slices of at most ``block``, in order."""
    for begin in range(0, n_windows, block):
        yield slice(begin, min(begin + block, n_windows))
