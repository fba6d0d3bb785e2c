"""Cells as points, by which tiles of the genome are open in them: a spectral embedding in bounded memory.

Tiles need no peaks and no labels. A tile is open in a cell that has an insertion in it (binary). Cells are
compared by the cosine of their open tiles, weighted by how rare a tile is, and placed by the eigenvectors of the
normalised graph of these similarities (SnapATAC2: Zhang et al. 2024, Nature Methods 21:217). That is latent
semantic indexing (Cusanovich et al. 2018, Cell) with other weights: eigenvectors of the graph are singular vectors
of the weighted matrix, so the graph itself is never made. Why this and not TF-IDF with a logarithm:
docs/explanation/cells-and-peaks.md.

The open tiles of all cells do not fit into memory. They are written to a file once, sorted by tile, and read again
in blocks for each of a fixed number of passes; all that is held besides is a few numbers per cell and component.
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
GRID = 1 << 16  # places at which the genome may be cut into chunks, at most
PASSES = 6  # over the file, for the eigenvectors
OVERSAMPLING = 10  # vectors besides those asked for (Halko et al. 2011, SIAM Review 53:217, section 4.2)
LEAST_DEGREE = 1e-9  # a cell with a smaller sum of similarities has nothing in common with any other


@dataclass(frozen=True)
class Tiling:
    """The genome cut into tiles of ``width`` bp from each chromosome's start, numbered through."""

    sizes: ChromSizes
    width: int

    @property
    def first(self) -> np.ndarray:
        """int64 (chromosomes + 1,): number of each chromosome's first tile; the last is that of all tiles."""
        return np.concatenate([[0], np.cumsum(-(-self.sizes.lengths // self.width))])

    def touched(self, chrom: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Tell which tiles intervals touch: bool (tiles,).

        ``chrom`` (intervals,) index; ``start``, ``end`` 0-based half-open positions in the chromosome.
        """
        change = np.zeros(self.first[-1] + 1, dtype=np.int64)
        kept = (end > start) & (start < self.sizes.lengths[chrom])
        chrom, start, end = chrom[kept], start[kept], np.minimum(end, self.sizes.lengths[chrom])[kept]
        np.add.at(change, self.first[chrom] + start // self.width, 1)
        np.add.at(change, self.first[chrom] + (end - 1) // self.width + 1, -1)
        return np.cumsum(change)[:-1] > 0

    def outside(self, chromosomes: Sequence[str]) -> np.ndarray:
        """Tell which tiles lie on none of the named chromosomes: bool (tiles,)."""
        wanted = np.isin(self.sizes.names, chromosomes)
        return np.repeat(~wanted, np.diff(self.first))

    def pairs(
        self, signals: Sequence[CellSignal], rows: Sequence[np.ndarray]
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Stream the open tiles of the cells of all samples: (tile, row) int64, each pair once, tiles rising.

        ``rows`` int64 (cells,) of each sample: the row that each cell of the signal has in the result, -1 to
        leave it out; no two cells share one.
        """
        n_rows = max(max(int(part.max(initial=-1)) for part in rows) + 1, 1)
        offsets, lengths = self.sizes.offsets, self.sizes.lengths
        step = self.width * max(1, int(self.first[-1]) // GRID)
        edges = [offset + np.arange(0, n, step) for offset, n in zip(offsets[:-1], lengths, strict=True)]
        edges = np.concatenate([*edges, offsets[-1:]])
        before = sum(rank(signal.position, edges).astype(np.int64) for signal in signals)
        begin = 0
        while begin < len(edges) - 1:
            # Cut between tiles, so that a pair cannot come twice.
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
    """The binary matrix of cells by tiles, on disk: for each tile in turn the rows of the cells it is open in.

    ``path`` holds int32 (open tiles of all cells,), little-endian; those of tile ``j`` are entries ``start[j]`` to
    ``start[j + 1]``, rising. ``start`` int64 (tiles + 1,); ``tiles`` int64 (tiles,), the tiles' numbers, rising.
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
        """Write the most variable tiles of all samples.

        The signals are streamed twice: to count the cells of each tile, and to write. A tile is used if it is
        open in ``min_cells`` cells or more, but not in all, and not ``excluded`` (bool (tiles,)). Of more than
        ``max_tiles`` those with the largest binary variance p (1 - p) are used. ``rows`` as in :meth:`Tiling.pairs`.
        """
        n_cells = max(int(part.max(initial=-1)) for part in rows) + 1
        cells = np.zeros(tiling.first[-1], dtype=np.int64)
        for tile, _ in tiling.pairs(signals, rows):
            if len(tile):  # they rise, so only their range is counted
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
        """int64 (tiles,): cells that each tile is open in."""
        return np.diff(self.start)

    def blocks(self) -> Iterator[tuple[slice, sparse.csc_matrix]]:
        """Read the matrix in blocks of tiles: (the tiles, float64 csc (cells, tiles of the block) of ones).

        A block has at most ``BLOCK`` open tiles, or is one tile. Blocks are read, not mapped: pages of a map
        that is walked through count as memory of the process.
        """
        begin = 0
        while begin < len(self.tiles):
            limit = np.searchsorted(self.start, self.start[begin] + BLOCK, side="right") - 1
            end = max(begin + 1, int(limit))
            number = int(self.start[end] - self.start[begin])
            row = np.fromfile(self.path, dtype="<i4", count=number, offset=4 * int(self.start[begin]))
            if len(row) != number:
                raise InputError(self.path, "the scratch file was cut short", "run the embedding again")
            pointer = (self.start[begin : end + 1] - self.start[begin]).astype(np.int32)
            shape = (self.n_cells, end - begin)
            yield slice(begin, end), sparse.csc_matrix((np.ones(number), row, pointer), shape=shape)
            begin = end

    def in_memory(self, cells: np.ndarray) -> sparse.csr_matrix:
        """Rows of some cells (int64, rising) as float32 csr (cells, tiles).

        Takes 8 bytes per open tile of theirs, twice that while it is made, and a block.
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
        """Return B diag(``weight``) B^T ``values`` of the binary matrix B, in one pass over the file.

        ``values`` float64 (cells, k), ``weight`` float64 (tiles,). The order of all sums is fixed.
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
    """Place cells by the leading eigenvectors of the normalised graph of their similarities.

    A tile weighs log(cells / cells with the tile). The similarity of two cells is the cosine of their weighted
    tiles, that of a cell with itself is left out; S is divided by the square roots of both cells' sums of
    similarities. The first eigenvector of that is known, these square roots, and is depth rather than kind; it is
    taken out. The next are multiplied by the size of their eigenvalues, so that those that are noise weigh little
    (SnapATAC2; Zhang et al. 2024). They are found by a block Krylov iteration with Rayleigh-Ritz
    (Musco & Musco 2015, NeurIPS), ``PASSES`` passes over the file from ``seed``; up to some 500 cells exactly.

    Returns
    -------
    numpy.ndarray
        float32 (cells, k), k = ``components`` or fewer where there are not as many that differ from 0; at least
        one column, of zeros if nothing can be told. The largest entry of a column is positive.
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
    """Orthonormal basis (n, PASSES * width) of the powers of ``graph`` on a random block; ``graph`` in that basis."""
    basis = np.empty((n, PASSES * width))
    projected = np.empty((PASSES * width, PASSES * width))
    block = np.random.default_rng(seed).standard_normal((n, width))
    for number in range(PASSES):
        here, done = slice(number * width, (number + 1) * width), basis[:, : number * width]
        for _ in range(2):  # once loses orthogonality to rounding, twice is enough
            block = np.linalg.qr(block - done @ (done.T @ block))[0]
        basis[:, here] = block
        block = graph(block)
        so_far = basis[:, : here.stop]
        projected[: here.stop, here] = so_far.T @ block
        projected[here, : here.stop] = projected[: here.stop, here].T
    return basis, projected
