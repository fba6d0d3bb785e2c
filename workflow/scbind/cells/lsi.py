"""Spectral embedding of cells by their open tiles of the genome, in bounded memory.

Tiles need no peaks and no labels. A tile is open in a cell if the cell has an insertion in it (binary). The similarity
of two cells is the cosine of their open tiles, where rare tiles have larger weights. The coordinates of cells are the
eigenvectors of the normalized graph of these similarities (SnapATAC2: Zhang et al. 2024, Nature Methods 21:217). This
is latent semantic indexing (Cusanovich et al. 2018, Cell) with other weights. Eigenvectors of the graph are singular
vectors of the weighted matrix, so the graph is never computed. docs/explanation/cells-and-peaks.md explains why this
method is used instead of TF-IDF with a logarithm.

The open tiles of all cells do not fit into memory. They are written to a file once, sorted by tile, and read in blocks
in each of a fixed number of passes. Apart from a block, memory holds a few numbers per cell and component.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

from scbind.core.errors import InputError
from scbind.formats.genome import ChromSizes
from scbind.formats.signal import CHUNK, CellSignal, rank

BLOCK = 1 << 22  # open tiles multiplied at once
GRID = 1 << 16  # approximate number of positions at which the genome may be divided into chunks
PASSES = 6  # passes over the file to compute the eigenvectors
OVERSAMPLING = (
    10  # vectors in addition to those requested (Halko et al. 2011, SIAM Review 53:217, section 4.2)
)
LEAST_DEGREE = 1e-9  # a cell with a smaller sum of similarities shares no tile with any other


@dataclass(frozen=True)
class Tiling:
    """The genome as tiles of ``width`` bp from the start of each chromosome, numbered over all chromosomes."""

    sizes: ChromSizes
    width: int

    @property
    def first(self) -> np.ndarray:
        """Index of the first tile of each chromosome, then the number of all tiles: int64 (chromosomes + 1,)."""
        return np.concatenate([[0], np.cumsum(-(-self.sizes.lengths // self.width))])

    def touched(self, chrom: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Tell which tiles overlap an interval: bool (tiles,).

        ``chrom``, (intervals,), is an index. ``start`` and ``end`` are 0-based half-open positions in the chromosome.
        """
        change = np.zeros(self.first[-1] + 1, dtype=np.int64)
        kept = (end > start) & (start < self.sizes.lengths[chrom])
        chrom, start, end = chrom[kept], start[kept], np.minimum(end, self.sizes.lengths[chrom])[kept]
        np.add.at(change, self.first[chrom] + start // self.width, 1)
        np.add.at(change, self.first[chrom] + (end - 1) // self.width + 1, -1)
        return np.cumsum(change)[:-1] > 0

    def outside(self, chromosomes: Sequence[str]) -> np.ndarray:
        """Tell which tiles are on none of the given chromosomes: bool (tiles,)."""
        wanted = np.isin(self.sizes.names, chromosomes)
        return np.repeat(~wanted, np.diff(self.first))

    def pairs(
        self, signals: Sequence[CellSignal], rows: Sequence[np.ndarray]
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the open tiles of the cells of all samples as (tile, row), int64: each pair once, sorted by tile.

        ``rows`` holds, per sample, the row of each cell in the result: int64 (cells,). Rows are unique; -1 leaves a
        cell out.
        """
        n_rows = max(max(int(part.max(initial=-1)) for part in rows) + 1, 1)
        offsets, lengths = self.sizes.offsets, self.sizes.lengths
        step = self.width * max(1, int(self.first[-1]) // GRID)
        edges = [offset + np.arange(0, n, step) for offset, n in zip(offsets[:-1], lengths, strict=True)]
        edges = np.concatenate([*edges, offsets[-1:]])
        before = sum(rank(signal.position, edges).astype(np.int64) for signal in signals)
        begin = 0
        while begin < len(edges) - 1:
            # Chunks end between tiles, so that no pair comes twice.
            end = max(begin + 1, int(np.searchsorted(before, before[begin] + CHUNK, side="right")) - 1)
            keys = []
            for signal, part in zip(signals, rows, strict=True):
                first, last = rank(signal.position, edges[[begin, end]]).tolist()
                row = part[signal.cell[first:last]]
                position = signal.position[first:last][row >= 0].astype(np.int64)
                chrom = np.searchsorted(offsets, position, side="right") - 1
                tile = self.first[chrom] + (position - offsets[chrom]) // self.width
                keys.append(tile * n_rows + row[row >= 0])
                signal.forget()
            key = np.unique(np.concatenate(keys))
            yield key // n_rows, key % n_rows
            begin = end


@dataclass(frozen=True)
class TileMatrix:
    """The binary matrix of cells by tiles, on disk.

    Attributes
    ----------
    path
        File of int32, little-endian, one per open tile of a cell: the row of the cell. Entries are sorted by tile, then
        by row.
    start
        int64 (tiles + 1,): the entries of tile ``j`` are ``start[j]`` to ``start[j + 1]`` (half-open).
    tiles
        int64 (tiles,): indices of the tiles in the :class:`Tiling`, in rising order.
    n_cells
        Number of rows.
    """

    path: Path
    start: np.ndarray
    tiles: np.ndarray
    n_cells: int

    @classmethod
    def write(
        cls,
        path: str | Path,
        signals: Sequence[CellSignal],
        rows: Sequence[np.ndarray],
        tiling: Tiling,
        excluded: np.ndarray,
        min_cells: int,
        max_tiles: int,
    ) -> TileMatrix:
        """Write the most variable tiles of all samples to ``path``.

        The signals are read twice: to count the cells of each tile, and to write. A tile is used if it is open in at
        least ``min_cells`` cells but not in all, and is not ``excluded`` (bool (tiles,)). If there are more than
        ``max_tiles`` such tiles, those with the largest binary variance p (1 - p) are used. For ``rows``, see
        :meth:`Tiling.pairs`.
        """
        n_cells = max(int(part.max(initial=-1)) for part in rows) + 1
        cells = np.zeros(tiling.first[-1], dtype=np.int64)
        for tile, _ in tiling.pairs(signals, rows):
            if len(tile):  # they are sorted, so only their range is counted
                cells[tile[0] : tile[-1] + 1] += np.bincount(tile - tile[0])
        usable = np.flatnonzero((cells >= max(min_cells, 1)) & (cells < n_cells) & ~excluded)
        spread = cells[usable] * (n_cells - cells[usable])
        used = np.sort(usable[np.argsort(-spread, kind="stable")[:max_tiles]])
        wanted = np.zeros(len(cells), dtype=bool)
        wanted[used] = True
        with open(path, "wb") as handle:
            for tile, row in tiling.pairs(signals, rows):
                handle.write(row[wanted[tile]].astype("<i4").tobytes())
        return cls(Path(path), np.concatenate([[0], np.cumsum(cells[used])]), used, n_cells)

    @property
    def cells(self) -> np.ndarray:
        """Number of cells in which each tile is open: int64 (tiles,)."""
        return np.diff(self.start)

    def blocks(self) -> Iterator[tuple[slice, sparse.csc_matrix]]:
        """Yield the matrix in blocks of tiles: the slice of tiles, and float64 csc (cells, tiles of the block) of ones.

        A block has at most ``BLOCK`` entries, unless it is a single tile. Blocks are read instead of memory-mapped,
        because all pages of a map that have been read count as memory of the process. Raises :class:`InputError` if the
        file is truncated.
        """
        begin = 0
        while begin < len(self.tiles):
            limit = np.searchsorted(self.start, self.start[begin] + BLOCK, side="right") - 1
            end = max(begin + 1, int(limit))
            number = int(self.start[end] - self.start[begin])
            row = np.fromfile(self.path, dtype="<i4", count=number, offset=4 * int(self.start[begin]))
            if len(row) != number:
                raise InputError(self.path, "the temporary file is truncated", "run the embedding again")
            pointer = (self.start[begin : end + 1] - self.start[begin]).astype(np.int32)
            shape = (self.n_cells, end - begin)
            yield slice(begin, end), sparse.csc_matrix((np.ones(number), row, pointer), shape=shape)
            begin = end

    def in_memory(self, cells: np.ndarray) -> sparse.csr_matrix:
        """Return the rows ``cells`` (int64, rising) as float32 csr (cells, tiles).

        It takes 8 bytes per open tile of these cells. While it is computed, it takes twice as much and one block.
        """
        place = np.full(self.n_cells, -1, dtype=np.int32)
        place[cells] = np.arange(len(cells))
        rows, number = [np.zeros(0, dtype=np.int32)], [np.zeros(1, dtype=np.int64)]
        for _, block in self.blocks():
            row = place[block.indices]
            before = np.concatenate([[0], np.cumsum(row >= 0)])
            number.append(np.diff(before[block.indptr]))
            rows.append(row[row >= 0])
        row = np.concatenate(rows)
        shape = (len(cells), len(self.tiles))
        start = np.cumsum(np.concatenate(number))
        return sparse.csc_matrix((np.ones(len(row), dtype=np.float32), row, start), shape=shape).tocsr()

    def gram(self, values: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Return B diag(``weight``) B^T ``values``, where B is the binary matrix, in one pass over the file.

        ``values``: float64 (cells, k). ``weight``: float64 (tiles,). Returns float64 (cells, k). The order of all sums
        is fixed.
        """
        result = np.zeros_like(values)
        for tiles, block in self.blocks():
            result += block @ (weight[tiles, None] * (block.T @ values))
        return result

    def row_sums(self, weight: np.ndarray) -> np.ndarray:
        """Sum ``weight`` (tiles,) over the open tiles of each cell: float64 (cells,)."""
        result = np.zeros(self.n_cells)
        for tiles, block in self.blocks():
            result += block @ weight[tiles]
        return result


def spectral(matrix: TileMatrix, components: int, seed: int) -> np.ndarray:
    """Embed cells by the leading eigenvectors of the normalized graph of their similarities.

    The weight of a tile is log(cells / cells with the tile). The similarity of two cells is the cosine of their
    weighted tiles; the similarity of a cell with itself is set to 0. Each similarity is divided by the square roots of
    both cells' sums of similarities. These square roots are the first eigenvector. It reflects depth instead of cell
    type and is removed. The next eigenvectors are multiplied by the absolute values of their eigenvalues, so that
    noise has little weight (SnapATAC2; Zhang et al. 2024).

    A block Krylov iteration with Rayleigh-Ritz computes the eigenvectors (Musco & Musco 2015, NeurIPS). It starts from
    random vectors (``seed``) and makes ``PASSES`` passes over the file. With up to about 500 cells the result is exact.

    Returns
    -------
    numpy.ndarray
        float32 (cells, k). k is ``components``, or less if fewer eigenvalues differ from 0. If there are none, the
        result is one column of zeros. The entry with the largest absolute value of each column is positive.
    """
    n_cells, idf = matrix.n_cells, np.log(matrix.n_cells / matrix.cells)
    square = matrix.row_sums(idf**2)
    length = np.sqrt(np.where(square > 0, square, np.inf))
    similar = matrix.gram(1 / length[:, None], idf**2)[:, 0] / length - (square > 0)
    degree = np.where(similar > LEAST_DEGREE, similar, np.inf)
    scale, known = 1 / np.sqrt(degree), np.where(similar > LEAST_DEGREE, np.sqrt(degree), 0)
    if not known.any():
        return np.zeros((n_cells, 1), dtype=np.float32)
    known /= np.linalg.norm(known)

    def graph(vectors: np.ndarray) -> np.ndarray:
        near = matrix.gram(vectors * (scale / length)[:, None], idf**2) * (scale / length)[:, None]
        return near - vectors * (scale**2)[:, None] - np.outer(known, known @ vectors)

    width = min(components + OVERSAMPLING, n_cells)
    if n_cells <= PASSES * width:
        basis = np.eye(n_cells)
        projected = graph(basis)
    else:
        basis, projected = _krylov(graph, n_cells, width, seed)
    value, vector = np.linalg.eigh((projected + projected.T) / 2)
    kept = [i for i in np.argsort(-value, kind="stable")[:components] if abs(value[i]) > LEAST_DEGREE]
    if not kept:
        return np.zeros((n_cells, 1), dtype=np.float32)
    points = basis @ (vector[:, kept] * np.abs(value[kept]))
    largest = points[np.abs(points).argmax(axis=0), np.arange(len(kept))]
    return np.ascontiguousarray(points * np.sign(largest), dtype=np.float32)


def _krylov(graph, n: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Apply powers of ``graph`` to a random block. Return an orthonormal basis of all results, and ``graph`` in it.

    The shapes are (n, PASSES * width) and (PASSES * width, PASSES * width).
    """
    basis = np.empty((n, PASSES * width))
    projected = np.empty((PASSES * width, PASSES * width))
    block = np.random.default_rng(seed).standard_normal((n, width))
    for number in range(PASSES):
        here, done = slice(number * width, (number + 1) * width), basis[:, : number * width]
        for _ in range(2):  # one pass loses orthogonality by rounding; two are enough
            block = np.linalg.qr(block - done @ (done.T @ block))[0]
        basis[:, here] = block
        block = graph(block)
        so_far = basis[:, : here.stop]
        projected[: here.stop, here] = so_far.T @ block
        projected[here, : here.stop] = projected[: here.stop, here].T
    return basis, projected
