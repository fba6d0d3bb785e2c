"""Cluster cells by TF activity. By default, the data determine how many clusters there are."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import anndata
import numpy as np

from scbind.cells.clusters import Search

RESOLUTIONS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0)  # tried if none is given
EXACT_CELLS = 8_192  # with more cells, the neighbour search is approximate
SILHOUETTE_CELLS = 5_000  # the silhouette is computed on at most this many cells


def group_cells(
    values: np.ndarray,
    seed: int,
    resolution: float | None = None,
    n_neighbours: int = 15,
    n_components: int = 20,
) -> tuple[np.ndarray, float]:
    """Cluster cells by the Leiden method on the neighbour graph of their principal components.

    With more than ``EXACT_CELLS`` cells, nearest-neighbour descent finds the neighbours (Dong et al. 2011, WWW), so the
    time grows almost linearly with the number of cells.

    Parameters
    ----------
    values
        float (cells, TFs).
    resolution
        Resolution of Leiden (Traag et al. 2019, Scientific Reports 9:5233). ``None``: the value of ``RESOLUTIONS``
        whose clusters have the largest mean silhouette (Rousseeuw 1987); of equal values, the coarsest. No cell label
        is used.
    n_neighbours, n_components, seed
        Number of neighbours in the graph, number of principal components, seed of all random numbers.

    Returns
    -------
    Cluster of each cell, int (cells,), and the resolution used.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=(60, 3))
    >>> values = np.repeat(np.eye(3), 20, axis=0) + 0.1 * noise
    >>> groups, resolution = group_cells(values, seed=0)
    >>> np.unique(groups[:20]).size, np.unique(groups).size
    (1, 3)
    """
    import scanpy  # slow to import

    cells = anndata.AnnData(np.asarray(values, dtype=np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scanpy announces future defaults
        components = min(n_components, min(cells.shape) - 1)
        scanpy.pp.pca(cells, n_comps=components, svd_solver="full", random_state=seed)
        k = min(n_neighbours, len(values) - 1)
        search = Search(_descent, k - 1, seed) if len(values) > EXACT_CELLS else "sklearn"
        scanpy.pp.neighbors(cells, n_neighbors=k, transformer=search, random_state=seed)
        best = (-2.0, 0.0, np.zeros(len(values), dtype=int))
        for tried in RESOLUTIONS if resolution is None else (resolution,):
            scanpy.tl.leiden(
                cells, resolution=tried, flavor="igraph", n_iterations=-1, directed=False, random_state=seed
            )
            found = cells.obs["leiden"].astype(int).to_numpy()
            score = _silhouette(cells.obsm["X_pca"], found, seed)
            if score > best[0]:
                best = (score, tried, found)
    return best[2], best[1]


def groups_at(
    points: np.ndarray, resolutions: Sequence[float], n_neighbours: int, seed: int
) -> Iterator[np.ndarray]:
    """Yield the Leiden clusters of points at each resolution: int (cells,). Distances are Euclidean.

    ``points``: float (cells, dimensions). The arguments are those of :func:`group_cells`.
    """
    import scanpy

    cells = anndata.AnnData(np.asarray(points, dtype=np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        k = min(n_neighbours, len(points) - 1)
        search = Search(_descent, k - 1, seed) if len(points) > EXACT_CELLS else "sklearn"
        scanpy.pp.neighbors(cells, n_neighbors=k, use_rep="X", transformer=search, random_state=seed)
        for resolution in resolutions:
            scanpy.tl.leiden(
                cells,
                resolution=resolution,
                flavor="igraph",
                n_iterations=-1,
                directed=False,
                random_state=seed,
            )
            yield cells.obs["leiden"].astype(int).to_numpy()


def _descent(points: np.ndarray, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the ``k`` nearest other points of each point, and their Euclidean distances. Nearly all are exact.

    It uses one thread, so that results are reproducible. PyNNDescent is called directly, because its own transformer
    returns a type of matrix that scanpy 1.11.5 does not accept.
    """
    from pynndescent import NNDescent  # compiles for some seconds at its first use

    index, distance = NNDescent(
        points.astype(np.float32), n_neighbors=k + 1, random_state=seed, n_jobs=1
    ).neighbor_graph
    itself = index == np.arange(len(points))[:, None]
    itself[~itself.any(axis=1), -1] = (
        True  # more than k equal points hide the point itself: drop the farthest instead
    )
    shape = len(points), k
    return index[~itself].reshape(shape), distance[~itself].reshape(shape)


def _silhouette(points: np.ndarray, groups: np.ndarray, seed: int) -> float:
    """Return the mean silhouette; -1 if there is only one group, or each cell is a group of its own."""
    chosen = np.arange(len(points))
    if len(points) > SILHOUETTE_CELLS:
        chosen = np.random.default_rng(seed).choice(len(points), SILHOUETTE_CELLS, replace=False)
    n_groups = len(np.unique(groups[chosen]))
    if not 1 < n_groups < len(chosen):
        return -1.0
    from sklearn.metrics import silhouette_score  # takes a second to import

    return float(silhouette_score(points[chosen], groups[chosen]))
