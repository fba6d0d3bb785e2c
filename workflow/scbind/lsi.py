"""Latent semantic indexing: cells as points, by which tiles of the genome are open in them.

Tiles need no peaks and no labels. A tile is open in a cell that has an insertion in it (binary); the matrix
is weighted by TF-IDF and reduced by a truncated singular value decomposition (Cusanovich et al. 2015,
Science, and 2018, Cell). The logarithm of the weights is that of Signac (Stuart et al. 2021).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from scbind.genome import ChromSizes
from scbind.signal import CHUNK, CellSignal, rank

SCALE = 1e4  # Signac's scale within the logarithm
DEPTH_CORRELATION = 0.75  # a first component that follows depth more than this is dropped (as in ArchR)


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

    def pairs(self, signal: CellSignal, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Stream the open tiles of cells: (tile, row) int64, each pair once, tiles rising.

        ``rows`` int64 (cells,): the row that each cell of the signal has in the result, -1 to leave it out.
        """
        n_rows = max(int(rows.max(initial=-1)) + 1, 1)
        bounds = rank(signal.position, self.sizes.offsets)
        for chrom, offset in enumerate(self.sizes.offsets[:-1].tolist()):
            begin, stop = int(bounds[chrom]), int(bounds[chrom + 1])
            while begin < stop:
                end = min(begin + CHUNK, stop)
                if end < stop:  # cut between two tiles, so that a pair cannot come twice
                    tile_start = offset + (int(signal.position[end]) - offset) // self.width * self.width
                    edges = np.array([tile_start, tile_start + self.width])
                    before, after = rank(signal.position, edges).tolist()
                    end = before if before > begin else min(after, stop)
                row = rows[signal.cell[begin:end]]
                local = signal.position[begin:end].astype(np.int64) - offset
                tile = self.first[chrom] + local // self.width
                kept = row >= 0
                key = np.unique(tile[kept] * n_rows + row[kept])
                yield key // n_rows, key % n_rows
                begin = end


def tile_matrix(
    signals: Sequence[CellSignal],
    rows: Sequence[np.ndarray],
    tiling: Tiling,
    excluded: np.ndarray,
    min_cells: int,
    max_tiles: int,
) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Build the binary matrix of cells by their most variable tiles, over all samples.

    The signals are streamed twice: to count the cells of each tile, and to fill the matrix. A tile is used if
    it is open in ``min_cells`` cells or more, but not in all, and not ``excluded`` (bool (tiles,)). Of more
    than ``max_tiles`` those with the largest binary variance p (1 - p) are used.

    Returns
    -------
    tuple
        float32 csr (cells, used tiles) and the used tiles, int64, rising.
    """
    n_cells = max(int(part.max(initial=-1)) for part in rows) + 1
    cells = np.zeros(tiling.first[-1], dtype=np.int64)
    for signal, part in zip(signals, rows, strict=True):
        for tile, _ in tiling.pairs(signal, part):
            if len(tile):  # they rise, so only their range is counted
                cells[tile[0] : tile[-1] + 1] += np.bincount(tile - tile[0])
    usable = np.flatnonzero((cells >= max(min_cells, 1)) & (cells < n_cells) & ~excluded)
    spread = cells[usable] * (n_cells - cells[usable])
    used = np.sort(usable[np.argsort(-spread, kind="stable")[:max_tiles]])
    column_of = np.full(len(cells), -1, dtype=np.int32)
    column_of[used] = np.arange(len(used), dtype=np.int32)
    columns, cell_rows = [np.empty(0, dtype=np.int32)], [np.empty(0, dtype=np.int32)]
    for signal, part in zip(signals, rows, strict=True):
        for tile, row in tiling.pairs(signal, part):
            column = column_of[tile]
            columns.append(column[column >= 0])
            cell_rows.append(row[column >= 0].astype(np.int32))
    column, row = np.concatenate(columns), np.concatenate(cell_rows)
    ones = np.ones(len(row), dtype=np.float32)
    return sparse.coo_matrix((ones, (row, column)), shape=(n_cells, len(used))).tocsr(), used


def tf_idf(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """Weight a binary matrix (cells, tiles): log(1 + 1e4 * TF * IDF), float32.

    TF = 1 / open tiles of the cell; IDF = log(1 + cells / cells with the tile) (Cusanovich et al. 2018).
    """
    open_tiles = np.maximum(np.diff(matrix.indptr), 1)
    cells = np.maximum(np.bincount(matrix.indices, minlength=matrix.shape[1]), 1)
    idf = np.log1p(matrix.shape[0] / cells)
    result = matrix.astype(np.float32)
    frequency = np.repeat(1 / open_tiles, np.diff(matrix.indptr))
    result.data = np.log1p(SCALE * frequency * idf[matrix.indices]).astype(np.float32)
    return result


def reduce(
    matrix: sparse.csr_matrix, depth: np.ndarray, components: int, seed: int
) -> tuple[np.ndarray, float]:
    """Reduce a weighted matrix to at most ``components`` dimensions.

    The first component often is depth; it is dropped where it correlates with log ``depth`` (cells,) by more
    than 0.75 in absolute value, if another one is left.

    Returns
    -------
    tuple
        float32 (cells, k), cell coordinates U S with k = ``components``, or fewer where the matrix is small
        (at least one column, of zeros if nothing can be told); the correlation of the first component.
    """
    from sklearn.decomposition import TruncatedSVD  # seconds to import

    rank_limit = min(matrix.shape) - 1
    if rank_limit < 1 or matrix.nnz == 0:
        return np.zeros((matrix.shape[0], 1), dtype=np.float32), 0.0
    svd = TruncatedSVD(min(components + 1, rank_limit), algorithm="randomized", n_iter=7, random_state=seed)
    points = svd.fit_transform(matrix)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = float(np.nan_to_num(np.corrcoef(points[:, 0], np.log(np.maximum(depth, 1)))[0, 1]))
    drop = abs(correlation) > DEPTH_CORRELATION and points.shape[1] > 1
    points = points[:, 1:] if drop else points[:, :components]
    return np.ascontiguousarray(points, dtype=np.float32), correlation
