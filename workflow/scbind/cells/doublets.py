"""Doublet scores from simulated doublets, as in Scrublet, in a space of open tiles.

Pairs of cells of one sample are merged. The score of a cell depends on how many of its neighbours are such pairs
(Wolock, Lopez and Klein 2019, Cell Systems 8:281, "Doublet detection"). ArchR (Granja et al. 2021) does the same in
LSI. The method finds doublets of two cell types. It does not find doublets of two similar cells. These are harmless
here, because they look like a deeper cell of their type. AMULET (Thibodeau et al. 2021) counts positions that more
than two fragments cover and would find both kinds, but it needs about 25,000 fragments per cell, so it cannot be used
for shallower samples.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from scbind.cells.lsi import TileMatrix

RATIO = 2  # simulated doublets per cell (Scrublet's default)
RATE = 0.05  # expected fraction of doublets among barcodes; scanpy's default
COMPONENTS = 10  # with 20, artificial doublets in the example and in PBMC rank lower than with 10
FEWEST = 50  # with fewer cells, doublets cannot be detected
BLOCK = 2000  # simulated doublets in memory at once
# Largest number of cells scored together: the time of the neighbour search grows with its square.
BATCH = 20_000
# Largest mean number of open tiles of cells scored together: 22 bytes each, mostly while they are read.
OPEN = 100_000_000


def sample_scores(matrix: TileMatrix, seed: int) -> np.ndarray:
    """Score all cells of a sample with :func:`doublet_scores`, in batches of at most ``BATCH`` cells.

    Samples of deep cells have smaller batches (``OPEN``). Cells are assigned to batches at random with ``seed``, and
    batches have equal sizes, so each batch represents the sample. Returns float64 (cells,). Memory holds one batch.
    """
    n = matrix.n_cells
    batches = max(1, -(-n // BATCH), -(-int(matrix.start[-1]) // OPEN))
    order = np.arange(n) if batches == 1 else np.random.default_rng(seed).permutation(n)
    score = np.full(n, np.nan)
    for cells in map(np.sort, np.array_split(order, batches)):
        score[cells] = doublet_scores(matrix.in_memory(cells), seed)
    return score


def doublet_scores(
    matrix: sparse.csr_matrix, seed: int, rate: float = RATE, components: int = COMPONENTS
) -> np.ndarray:
    """Return the probability that each cell of a sample is a doublet of two dissimilar cells.

    Parameters
    ----------
    matrix
        Binary csr (cells, tiles) of one sample. Doublets form within a droplet, and so within a sample.
    seed
        Seed of the pairs, of thinning, and of the singular value decomposition.
    rate
        Prior: expected fraction of doublets.
    components
        Number of components of the decomposition. It is fitted to the cells, and the doublets are projected.

    Returns
    -------
    numpy.ndarray
        float64 (cells,), 0 to 1. The score is ``rate`` for a cell whose neighbours include simulated doublets in the
        same proportion as all points. All scores are NaN with fewer than 50 cells or fewer than two tiles.

    Notes
    -----
    Each simulated doublet is thinned to the number of open tiles of a random cell. A merged pair is deeper than one
    cell, and deep cells are closer to all other cells. Without thinning, shallow cells would have only doublets as
    neighbours. Memory holds the matrix twice and a block of doublets.
    """
    n = matrix.shape[0]
    if n < FEWEST or matrix.shape[1] < 2 or matrix.nnz == 0:
        return np.full(n, np.nan)
    from sklearn.decomposition import TruncatedSVD  # takes seconds to import
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.neighbors import NearestNeighbors
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer

    random = np.random.default_rng(seed)
    svd = TruncatedSVD(min(components, min(matrix.shape) - 1), n_iter=7, random_state=seed)
    space = make_pipeline(TfidfTransformer(), svd, Normalizer())
    points = [space.fit_transform(matrix)]
    for begin in range(0, RATIO * n, BLOCK):
        points.append(space.transform(_simulate(matrix, min(BLOCK, RATIO * n - begin), random)))
    k = round(max(5, np.sqrt(n) / 2) * (1 + RATIO))
    search = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(np.concatenate(points))
    near = search.kneighbors(points[0], return_distance=False)
    itself = near == np.arange(n)[:, None]
    itself[~itself.any(axis=1), -1] = (
        True  # other points in the same place hide the cell itself: drop the last
    )
    simulated = (near >= n).sum(axis=1, where=~itself)
    share = (simulated + 1) / (k + 2)  # posterior mean under a uniform prior, as in Scrublet
    odds = rate / RATIO
    return share * odds / (1 - rate - share * (1 - rate - odds))


def _simulate(matrix: sparse.csr_matrix, number: int, random: np.random.Generator) -> sparse.csr_matrix:
    """Merge pairs of different cells and thin them to the open tiles of random cells: binary csr (number, tiles)."""
    n = matrix.shape[0]
    first = random.integers(0, n, number)
    second = (first + random.integers(1, n, number)) % n
    pairs = matrix[first] + matrix[second]
    held = np.diff(pairs.indptr)
    kept = np.diff(matrix.indptr)[random.integers(0, n, number)] / np.maximum(held, 1)
    pairs.data = (random.random(pairs.nnz) < np.repeat(kept, held)).astype(np.float32)
    pairs.eliminate_zeros()
    return pairs
