"""The cells from which each cell borrows fragments: its nearest cells, until it has enough fragments.

One cell has about one insertion per accessible site, which is too few to predict from. scFAN (Fu et al. 2020) merged a
fixed number of 100 neighbours by cosine similarity. Here, a cell stops as soon as it has enough fragments. Deep cells
then keep their own signal, and shallow cells use no more distant neighbours than they need. Distant neighbours can
have a smaller weight.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

BLOCK_ELEMENTS = 1 << 24  # similarities in memory at once
CANDIDATES = (
    8192  # each cell is compared with at least this many; the search is exact for up to this many cells
)
LIST = 256  # mean number of cells in a list of the approximate search
BANDWIDTH = 5  # the distance of the fifth neighbour is the width of a cell's kernel


def borrow(
    X: np.ndarray,
    n_fragments: np.ndarray,
    target_fragments: float,
    max_neighbours: int,
    weights: str,
) -> sparse.csr_matrix:
    """Choose the cells from which each cell borrows fragments, and the weight of each.

    The cell itself comes first, with weight 1. Its neighbours follow in order of decreasing cosine similarity, until
    the weighted fragments of all these cells reach ``target_fragments``, or ``max_neighbours`` are used.

    Parameters
    ----------
    X
        float (cells, components): the embedding. A cell with a NaN borrows nothing and lends nothing.
    n_fragments
        (cells,): unique fragments per cell.
    target_fragments
        Number of fragments that a cell should reach, including what it borrows.
    max_neighbours
        Largest number of other cells from which a cell borrows.
    weights
        ``uniform``: every neighbour has weight 1. ``distance``: the weight comes from :func:`kernel`.

    Returns
    -------
    scipy.sparse.csr_matrix
        float32 (cells, cells), sorted indices. A row holds the weights, in (0, 1], of the cells from which this cell
        borrows, and of the cell itself (1). Weights of 0 are not stored.

    Raises
    ------
    ValueError
        If shapes do not match, ``max_neighbours`` is negative, or ``weights`` is unknown.

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
        raise ValueError(f"max_neighbours must not be negative, but is {max_neighbours}")
    if weights not in ("uniform", "distance"):
        raise ValueError(f"weights must be 'uniform' or 'distance', but is {weights!r}")
    usable = np.flatnonzero(np.isfinite(X).all(axis=1))
    found, distance = nearest(X[usable], min(max_neighbours, max(len(usable) - 1, 0)))
    others = usable[found]
    weight = kernel(distance) if weights == "distance" else np.ones(distance.shape)
    weight = weight.astype(np.float32)  # rounded as stored, so that the stored weights reach the target
    lent = n_fragments[others] * weight
    # A neighbour is used if the fragments before it, including the cell's own, are below the target.
    before = n_fragments[usable][:, None] + np.cumsum(lent, axis=1) - lent
    taken = (before < target_fragments) & (weight > 0)
    row = np.concatenate([usable, np.repeat(usable, taken.sum(axis=1))])
    column = np.concatenate([usable, others[taken]])
    value = np.concatenate([np.ones(len(usable), dtype=np.float32), weight[taken]])
    result = sparse.coo_matrix((value, (row, column)), shape=(len(X), len(X))).tocsr()
    result.sort_indices()
    return result


def kernel(distance: np.ndarray) -> np.ndarray:
    """Return the weights of neighbours: exp(-(d / s)^2), where s is the distance of the cell's fifth neighbour.

    This is the adaptive kernel of MAGIC (van Dijk et al. 2018, Cell 174:716, STAR Methods), but neither symmetric nor
    normalized to a sum of 1: a cell's own fragments keep the weight 1. If the distance of the fifth neighbour is 0,
    only neighbours at distance 0 have a weight above 0.

    ``distance``: float64 (cells, k), in rising order in each row. Returns the same shape, values in [0, 1].

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
    """Return the ``k`` other rows of highest cosine similarity, most similar first. Ties go to the first row.

    With up to ``CANDIDATES`` rows the search is exact. With more, it is approximate (the inverted file of Jegou et al.
    2011, IEEE TPAMI 33:117): one row in ``LIST`` is drawn as a pivot, and each row joins the list of its nearest
    pivot. A row is compared with its own list and the nearest other lists, until there are ``CANDIDATES`` rows. The
    search can miss neighbours of rows near the border of a list. Time grows with the number of rows instead of its
    square, and memory is bounded.

    Parameters
    ----------
    X
        float (cells, components), finite. A row of zeros is equally far from all others.
    k
        Number of neighbours, less than the number of rows.
    seed
        Seed of the pivots.

    Returns
    -------
    tuple
        Rows, int64 (cells, k), and Euclidean distances of the unit vectors in rising order, float64 (cells, k).

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
            far[np.arange(len(rows)), np.searchsorted(among, rows)] = np.inf  # a row is not its own neighbour
            chosen = _first_smallest(far, k)
            result[rows] = among[chosen]
            similar[rows] = -np.take_along_axis(far, chosen, axis=1)
    return result, np.sqrt(np.maximum(2 - 2 * similar, 0))


def _lists(unit: np.ndarray, k: int, seed: int):
    """Yield for each list its rows and the rows to compare them with, which include its own; both in rising order."""
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
    """Return dot products, rounded: the last bits change with block size and BLAS, and must not decide ties."""
    return np.round(left @ right.T, 9)


def _first_smallest(values: np.ndarray, k: int) -> np.ndarray:
    """Return the columns of the ``k`` smallest values of each row, in rising order. Ties go to the first column."""
    bound = np.partition(values, k - 1, axis=1)[:, k - 1 : k]
    row, column = np.nonzero(values <= bound)  # k per row, and more if the k-th value is tied
    order = np.lexsort((values[row, column], row))  # stable: equal values stay in the order of columns
    start = np.searchsorted(row, np.arange(len(values)))
    return column[order][start[:, None] + np.arange(k)]
