"""Whose fragments a cell borrows: its nearest cells, only as many as its own depth asks for.

One cell has about one insertion per accessible site, too few to read. scFAN (Fu et al. 2020) merged a fixed
100 neighbours by cosine similarity; here a cell stops as soon as it holds enough fragments, so deep cells
stay themselves and shallow ones do not drown in far neighbours.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

BLOCK_ELEMENTS = 1 << 24  # similarities held at once by the exact search


def borrow(
    X: np.ndarray,
    n_fragments: np.ndarray,
    target_fragments: float,
    max_neighbours: int,
) -> sparse.csr_matrix:
    """Choose the cells whose fragments each cell borrows.

    The cell itself comes first and counts once; then its neighbours by falling cosine similarity, until
    the fragments of all of them reach ``target_fragments`` or ``max_neighbours`` are taken.

    Parameters
    ----------
    X
        float (cells, components): the embedding. A cell with a NaN borrows nothing and lends nothing.
    n_fragments
        (cells,): unique fragments per cell.
    target_fragments
        Fragments that a cell should reach with what it borrows.
    max_neighbours
        Most other cells it may borrow from.

    Returns
    -------
    scipy.sparse.csr_matrix
        float32 0/1 (cells, cells), sorted indices; row = the cells that this cell borrows, itself included.
    """
    X = np.asarray(X, dtype=np.float64)
    n_fragments = np.asarray(n_fragments, dtype=np.float64)
    if X.ndim != 2 or n_fragments.shape != (len(X),):
        raise ValueError(
            f"embedding {X.shape} and fragments {n_fragments.shape} do not describe the same cells"
        )
    if max_neighbours < 0:
        raise ValueError(f"max_neighbours is {max_neighbours}, but must not be negative")
    usable = np.flatnonzero(np.isfinite(X).all(axis=1))
    others = usable[nearest(X[usable], min(max_neighbours, max(len(usable) - 1, 0)))]
    lent = n_fragments[others]
    # A neighbour is taken if what was held before it, the cell's own included, is short of the target.
    before = n_fragments[usable][:, None] + np.cumsum(lent, axis=1) - lent
    taken = before < target_fragments
    row = np.concatenate([usable, np.repeat(usable, taken.sum(axis=1))])
    column = np.concatenate([usable, others[taken]])
    ones = np.ones(len(row), dtype=np.float32)
    result = sparse.coo_matrix((ones, (row, column)), shape=(len(X), len(X))).tocsr()
    result.sort_indices()
    return result


def nearest(X: np.ndarray, k: int) -> np.ndarray:
    """The ``k`` other rows of highest cosine similarity, most similar first; of equal ones the first row.

    ``X`` float (cells, components), finite; a row of zeros is equally far from all. Returns int64 (cells, k).
    The search is exact. Its time grows with cells squared (two minutes for 50,000 on one core), its memory
    does not: a sample is a lane, not an atlas.
    """
    if k == 0:
        return np.zeros((len(X), 0), dtype=np.int64)
    norm = np.linalg.norm(X, axis=1, keepdims=True)
    unit = np.divide(X, norm, out=np.zeros_like(X), where=norm > 0)
    result = np.empty((len(X), k), dtype=np.int64)
    step = max(1, BLOCK_ELEMENTS // len(X))
    for begin in range(0, len(X), step):
        rows = np.arange(begin, min(begin + step, len(X)))
        # Rounded, so that ties do not hang on the last bit, which changes with block size and BLAS.
        far = -np.round(unit[rows] @ unit.T, 9)
        far[rows - begin, rows] = np.inf
        result[rows] = _first_smallest(far, k)
    return result


def _first_smallest(values: np.ndarray, k: int) -> np.ndarray:
    """Columns of the ``k`` smallest values of each row in rising order; of equal values the first column."""
    bound = np.partition(values, k - 1, axis=1)[:, k - 1 : k]
    row, column = np.nonzero(values <= bound)  # k of each row, and more where the k-th value is tied
    order = np.lexsort((values[row, column], row))  # stable: equal values stay in the order of columns
    start = np.searchsorted(row, np.arange(len(values)))
    return column[order][start[:, None] + np.arange(k)]
