"""Cluster cells by TF activity, as finely as the data hold and no finer."""

from __future__ import annotations

import warnings

import anndata
import numpy as np

from scbind.cells.clusters import Search

RESOLUTIONS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0)  # tried where none is given
EXACT_CELLS = 8_192  # among more, neighbours are searched for, not all compared
SILHOUETTE_CELLS = 5_000  # the silhouette is computed on at most this many cells


def group_cells(
    values: np.ndarray,
    seed: int,
    resolution: float | None = None,
    n_neighbours: int = 15,
    n_components: int = 20,
) -> tuple[np.ndarray, float]:
    """Leiden clusters of the neighbour graph in principal components.

    Among more than ``EXACT_CELLS`` cells neighbours are found by descent (Dong et al. 2011, WWW), so time grows little
    faster than cells do.

    Parameters
    ----------
    values
        float (cells, TFs).
    resolution
        Of Leiden (Traag et al. 2019, Scientific Reports 9:5233). ``None``: of ``RESOLUTIONS``, the one whose
        clusters have the largest mean silhouette (Rousseeuw 1987), the coarsest of equals; no label is looked at.
    n_neighbours, n_components, seed
        Of the graph, of the principal components, of everything random.

    Returns
    -------
    int (cells,) and the resolution used.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=(60, 3))
    >>> values = np.repeat(np.eye(3), 20, axis=0) + 0.1 * noise
    >>> groups, resolution = group_cells(values, seed=0)
    >>> np.unique(groups[:20]).size, np.unique(groups).size
    (1, 3)
    """
    import scanpy  # heavy: only where it is used

    cells = anndata.AnnData(np.asarray(values, dtype=np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scanpy's announcements of future defaults
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


def _descent(points: np.ndarray, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The ``k`` nearest other points of each and their Euclidean distances, nearly all of them right.

    Of one thread, so that it repeats. PyNNDescent is asked directly, because its own transformer now returns a kind of
    matrix that scanpy 1.11.5 cannot take.
    """
    from pynndescent import NNDescent  # compiles for seconds at its first use

    index, distance = NNDescent(
        points.astype(np.float32), n_neighbors=k + 1, random_state=seed, n_jobs=1
    ).neighbor_graph
    itself = index == np.arange(len(points))[:, None]
    itself[~itself.any(axis=1), -1] = True  # crowded out by equal points: the farthest goes instead
    shape = len(points), k
    return index[~itself].reshape(shape), distance[~itself].reshape(shape)


def _silhouette(points: np.ndarray, groups: np.ndarray, seed: int) -> float:
    """Mean silhouette; -1 where there is one group or every cell is its own."""
    chosen = np.arange(len(points))
    if len(points) > SILHOUETTE_CELLS:
        chosen = np.random.default_rng(seed).choice(len(points), SILHOUETTE_CELLS, replace=False)
    n_groups = len(np.unique(groups[chosen]))
    if not 1 < n_groups < len(chosen):
        return -1.0
    from sklearn.metrics import silhouette_score  # a second to import

    return float(silhouette_score(points[chosen], groups[chosen]))
