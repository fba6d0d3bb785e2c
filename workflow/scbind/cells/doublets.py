"""How much a cell looks like two: simulated doublets, as in Scrublet, in a space of open tiles.

Pairs of cells of one sample are merged, and every cell is scored by how many of its neighbours are such pairs (Wolock,
Lopez and Klein 2019, Cell Systems 8:281, "Doublet detection"); ArchR (Granja et al. 2021) does the same in LSI. A
doublet of two types is found, one of two like cells is not, and does no harm here: it is a deeper cell of its type.
Counting places that more than two fragments cover (AMULET, Thibodeau et al. 2021) would find both, but
needs about 25,000 fragments per cell, and is no choice for samples shallower than that.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from scbind.cells.lsi import TileMatrix

RATIO = 2  # simulated doublets per cell (Scrublet's default)
RATE = 0.05  # doublets among barcodes before looking; scanpy's default
COMPONENTS = 10  # planted doublets of the embedded example and of PBMC rank better with few than with 20
FEWEST = 50  # cells below which nothing can be told
BLOCK = 2000  # simulated doublets held at a time
# Cells scored together, at most: the time of the search for neighbours grows with their square.
BATCH = 20_000
# Open tiles of cells scored together, on average at most: 22 bytes each, most of it while they are read.
OPEN = 100_000_000


def sample_scores(matrix: TileMatrix, seed: int) -> np.ndarray:
    """Score all cells of a sample by :func:`doublet_scores`, in batches of at most ``BATCH`` cells, of deep ones fewer.

    The batches are drawn at random, from ``seed``, and of one size, so that each is like the sample. Returns float64
    (cells,). Memory holds one batch.
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
    """Probability that each cell of a sample is a doublet of unlike cells.

    Parameters
    ----------
    matrix
        Binary csr (cells, tiles) of one sample: doublets form within one droplet, so within one sample.
    seed
        Of the pairs, of the thinning, of the singular value decomposition.
    rate
        Share of doublets expected before looking at neighbours.
    components
        Of the decomposition, which is fitted to the cells; the doublets are projected.

    Returns
    -------
    numpy.ndarray
        float64 (cells,), 0 to 1; a cell whose neighbours are cells and simulated doublets in the proportion of
        all has ``rate``. NaN for all where there are fewer than 50 cells or two tiles.

    Notes
    -----
    A simulated doublet is thinned to the open tiles of some cell. Two cells together are deeper than one, and
    deep cells lie nearer to any other: without the thinning, shallow cells would find doublets only around them.
    Memory holds the matrix twice and a block of doublets.
    """
    n = matrix.shape[0]
    if n < FEWEST or matrix.shape[1] < 2 or matrix.nnz == 0:
        return np.full(n, np.nan)
    from sklearn.decomposition import TruncatedSVD  # seconds to import
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
    itself[~itself.any(axis=1), -1] = True  # crowded out by points in the same place: the last is left out
    simulated = (near >= n).sum(axis=1, where=~itself)
    share = (simulated + 1) / (k + 2)  # posterior mean under a uniform prior, as in Scrublet
    odds = rate / RATIO
    return share * odds / (1 - rate - share * (1 - rate - odds))


def _simulate(matrix: sparse.csr_matrix, number: int, random: np.random.Generator) -> sparse.csr_matrix:
    """Merged pairs of different cells, thinned to the open tiles of random cells: csr (number, tiles), binary."""
    n = matrix.shape[0]
    first = random.integers(0, n, number)
    second = (first + random.integers(1, n, number)) % n
    pairs = matrix[first] + matrix[second]
    held = np.diff(pairs.indptr)
    kept = np.diff(matrix.indptr)[random.integers(0, n, number)] / np.maximum(held, 1)
    pairs.data = (random.random(pairs.nnz) < np.repeat(kept, held)).astype(np.float32)
    pairs.eliminate_zeros()
    return pairs
