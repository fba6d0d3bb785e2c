"""Whose fragments a cell borrows: its nearest cells, only as many as its own depth asks for.

One cell has about one insertion per accessible site, too few to read. scFAN (Fu et al. 2020) merged a fixed
100 neighbours by cosine similarity; here a cell stops as soon as it holds enough fragments, so deep cells
stay themselves and shallow ones do not drown in far neighbours, and what is farther can count for less.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

BLOCK_ELEMENTS = 1 << 24  # similarities held at once
CANDIDATES = 8192  # cells that a cell is compared with, at least; among as many the search is exact
LIST = 256  # cells in a list of the search among more, on average
BANDWIDTH = 5  # the neighbour whose distance is the width of a cell's kernel


def borrow(
    X: np.ndarray,
    n_fragments: np.ndarray,
    target_fragments: float,
    max_neighbours: int,
    weights: str,
) -> sparse.csr_matrix:
    """Choose the cells whose fragments each cell borrows, and how much each of them counts.

    The cell itself comes first and counts once; then its neighbours by falling cosine similarity, until
    the weighted fragments of all of them reach ``target_fragments`` or ``max_neighbours`` are taken.

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
    weights
        ``uniform``: every neighbour counts as the cell itself does. ``distance``: it counts by :func:`kernel`.

    Returns
    -------
    scipy.sparse.csr_matrix
        float32 (cells, cells), sorted indices; row = the weights, in (0, 1], of the cells that this cell borrows,
        itself included with 1. No weight of 0 is stored.

    Examples
    --------
    >>> import numpy as np
    >>> embedding = np.array([[1, 0], [1, 0.1], [0, 1]])
    >>> borrow(embedding, [500, 400, 900], 800, max_neighbours=2, weights='uniform').toarray()
    array([[1., 1., 0.],
           [1., 1., 0.],
           [0., 0., 1.]], dtype=float32)
    """
    X = np.asarray(X, dtype=np.float64)
    n_fragments = np.asarray(n_fragments, dtype=np.float64)
    if X.ndim != 2 or n_fragments.shape != (len(X),):
        raise ValueError(
            f"embedding {X.shape} and fragments {n_fragments.shape} do not describe the same cells"
        )
    if max_neighbours < 0:
        raise ValueError(f"max_neighbours is {max_neighbours}, but must not be negative")
    if weights not in ("uniform", "distance"):
        raise ValueError(f"weights {weights!r} are neither uniform nor distance")
    usable = np.flatnonzero(np.isfinite(X).all(axis=1))
    found, distance = nearest(X[usable], min(max_neighbours, max(len(usable) - 1, 0)))
    others = usable[found]
    weight = kernel(distance) if weights == "distance" else np.ones(distance.shape)
    weight = weight.astype(np.float32)  # as it is stored, so that the target is reached with what is stored
    lent = n_fragments[others] * weight
    # A neighbour is taken if what was held before it, the cell's own included, is short of the target.
    before = n_fragments[usable][:, None] + np.cumsum(lent, axis=1) - lent
    taken = (before < target_fragments) & (weight > 0)
    row = np.concatenate([usable, np.repeat(usable, taken.sum(axis=1))])
    column = np.concatenate([usable, others[taken]])
    value = np.concatenate([np.ones(len(usable), dtype=np.float32), weight[taken]])
    result = sparse.coo_matrix((value, (row, column)), shape=(len(X), len(X))).tocsr()
    result.sort_indices()
    return result


def kernel(distance: np.ndarray) -> np.ndarray:
    """Weights of neighbours: exp(-(d / s)^2), with s the distance of the cell's fifth neighbour.

    The adaptive kernel of MAGIC (van Dijk et al. 2018, Cell 174:716, STAR Methods), not made symmetric or to sum
    to one: a cell's own fragments keep the weight 1. Where the fifth lies at the cell's place, only those there count.

    ``distance`` float64 (cells, k), rising in each row. Returns the same shape, in [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> kernel(np.array([[0.5, 1.0, 2.0]])).round(2).tolist()
    [[0.94, 0.78, 0.37]]
    """
    if not distance.shape[1]:
        return np.ones(distance.shape)
    width = distance[:, min(BANDWIDTH, distance.shape[1]) - 1 :][:, :1]
    ratio = np.divide(distance, width, out=np.where(distance > 0, np.inf, 0.0), where=width > 0)
    return np.exp(-(ratio**2))


def nearest(X: np.ndarray, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The ``k`` other rows of highest cosine similarity, most similar first; of equal ones the first row.

    Up to ``CANDIDATES`` rows the search is exact. More are put into lists by the nearest of some ``LIST``-th of the
    rows, drawn from ``seed``, and a row is compared with the rows of those lists that lie nearest to its own, until
    there are ``CANDIDATES`` (the inverted file of Jegou et al. 2011, IEEE TPAMI 33:117): what is missed are neighbours
    of rows between lists. Time then grows with the rows, not with their square, and memory is bounded.

    Parameters
    ----------
    X
        float (cells, components), finite; a row of zeros is equally far from all.
    k
        Number of neighbours, fewer than there are rows.

    Returns
    -------
    tuple
        int64 (cells, k), rows; float64 (cells, k), Euclidean distances of the unit vectors, rising.

    Examples
    --------
    >>> import numpy as np
    >>> found, distance = nearest(np.array([[1, 0], [1, 0.1], [0, 1]]), k=1)
    >>> found.tolist()
    [[1], [0], [1]]
    """
    if k == 0:
        return np.zeros((len(X), 0), dtype=np.int64), np.zeros((len(X), 0))
    norm = np.linalg.norm(X, axis=1, keepdims=True)
    unit = np.divide(X, norm, out=np.zeros_like(X), where=norm > 0)
    result, similar = np.empty((len(X), k), dtype=np.int64), np.empty((len(X), k))
    for members, among in _lists(unit, k, seed):
        step = max(1, BLOCK_ELEMENTS // len(among))
        for begin in range(0, len(members), step):
            rows = members[begin : begin + step]
            far = -_similarity(unit[rows], unit[among])
            far[np.arange(len(rows)), np.searchsorted(among, rows)] = (
                np.inf
            )  # a row is no neighbour of its own
            chosen = _first_smallest(far, k)
            result[rows] = among[chosen]
            similar[rows] = -np.take_along_axis(far, chosen, axis=1)
    return result, np.sqrt(np.maximum(2 - 2 * similar, 0))


def _lists(unit: np.ndarray, k: int, seed: int):
    """Cut rows into lists: (rows of a list, rows to compare them with), both rising, own rows among the latter."""
    n, wanted = len(unit), max(CANDIDATES, k + 1)
    every = np.arange(n)
    if n <= wanted:
        yield every, every
        return
    pivots = unit[np.sort(np.random.default_rng(seed).choice(n, max(2, n // LIST), replace=False))]
    step = max(1, BLOCK_ELEMENTS // len(pivots))
    home = [_similarity(unit[i : i + step], pivots).argmax(axis=1) for i in range(0, n, step)]
    home = np.unique(np.concatenate(home), return_inverse=True)[1]
    order = np.argsort(home, kind="stable")
    size = np.bincount(home)
    start = np.cumsum(size) - size
    members = np.split(order, start[1:])
    centre = np.add.reduceat(unit[order], start) / size[:, None]
    for number, rows in enumerate(members):
        by_distance = np.argsort(-_similarity(centre[number : number + 1], centre)[0], kind="stable")
        by_distance = np.concatenate([[number], by_distance[by_distance != number]])
        last = int(np.searchsorted(np.cumsum(size[by_distance]), wanted))
        yield rows, np.sort(np.concatenate([members[i] for i in by_distance[: last + 1]]))


def _similarity(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Products, rounded, so that ties do not hang on the last bit, which changes with block size and BLAS."""
    return np.round(left @ right.T, 9)


def _first_smallest(values: np.ndarray, k: int) -> np.ndarray:
    """Columns of the ``k`` smallest values of each row in rising order; of equal values the first column."""
    bound = np.partition(values, k - 1, axis=1)[:, k - 1 : k]
    row, column = np.nonzero(values <= bound)  # k of each row, and more where the k-th value is tied
    order = np.lexsort((values[row, column], row))  # stable: equal values stay in the order of columns
    start = np.searchsorted(row, np.arange(len(values)))
    return column[order][start[:, None] + np.arange(k)]
