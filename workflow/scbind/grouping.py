"""Cluster cells by TF activity, as finely as the data hold and no finer."""

from __future__ import annotations

import warnings

import anndata
import numpy as np
from sklearn.metrics import silhouette_score

RESOLUTIONS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0)  # tried where none is given
SILHOUETTE_CELLS = 5_000  # the silhouette is computed on at most this many cells


def group_cells(
    values: np.ndarray,
    seed: int,
    resolution: float | None = None,
    n_neighbours: int = 15,
    n_components: int = 20,
) -> tuple[np.ndarray, float]:
    """Leiden clusters of the neighbour graph in principal components.

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
    """
    import scanpy  # heavy: only where it is used

    cells = anndata.AnnData(np.asarray(values, dtype=np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scanpy's announcements of future defaults
        components = min(n_components, min(cells.shape) - 1)
        scanpy.pp.pca(cells, n_comps=components, svd_solver="full", random_state=seed)
        scanpy.pp.neighbors(cells, n_neighbors=min(n_neighbours, len(values) - 1), random_state=seed)
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


def _silhouette(points: np.ndarray, groups: np.ndarray, seed: int) -> float:
    """Mean silhouette; -1 where there is one group or every cell is its own."""
    chosen = np.arange(len(points))
    if len(points) > SILHOUETTE_CELLS:
        chosen = np.random.default_rng(seed).choice(len(points), SILHOUETTE_CELLS, replace=False)
    n_groups = len(np.unique(groups[chosen]))
    if not 1 < n_groups < len(chosen):
        return -1.0
    return float(silhouette_score(points[chosen], groups[chosen]))
