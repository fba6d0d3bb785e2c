"""Clusters of cells, computed from their coordinates. Batch effects are removed first if requested."""

from __future__ import annotations

from collections.abc import Callable

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from scbind.cells.neighbours import nearest
from scbind.core.runlog import say

FEW_CELLS = 10  # with fewer cells, neighbours, clusters and UMAP mean nothing


def corrected(points: np.ndarray, batch: np.ndarray, seed: int) -> np.ndarray:
    """Remove batch effects from coordinates with Harmony (Korsunsky et al. 2019, Nature Methods 16:1289).

    ``points``: float (cells, components). ``batch``: names, (cells,). With only one batch, or with fewer than
    ``FEW_CELLS`` cells, ``points`` is returned unchanged. Harmony runs on one thread, so that results are reproducible.
    Returns float32 (cells, components).
    """
    if len(set(batch)) < 2 or len(points) < FEW_CELLS:
        say("there is one batch only, or too few cells: batch effects are not removed")
        return points
    import harmonypy  # optional, so imported here

    clusters = max(2, min(round(len(points) / 30), 100))  # Harmony's default, which would be 0 for few cells
    result = harmonypy.run_harmony(
        points,
        pd.DataFrame({"batch": batch}),
        "batch",
        nclust=clusters,
        random_state=seed,
        ncores=1,
        verbose=False,
    )
    return np.ascontiguousarray(result.Z_corr, dtype=np.float32)


class Search:
    """A neighbour search with the interface that scanpy expects.

    ``nearest`` is a function of points (float64, (cells, components)), the number k of neighbours, and a seed. It
    returns the k nearest other cells of each cell, int (cells, k), and their distances.
    """

    def __init__(self, nearest: Callable, k: int, seed: int):
        self.nearest, self.k, self.seed = nearest, k, seed

    def get_params(self) -> dict:
        """Return the parameter that scanpy reads. scanpy counts the cell itself as a neighbour."""
        return {"n_neighbors": self.k + 1}

    def fit_transform(self, points: np.ndarray) -> sparse.csr_matrix:
        """Return the distances to the nearest cells: csr (cells, cells); each cell itself is first, with distance 0."""
        found, distance = self.nearest(points.astype(np.float64), self.k, self.seed)
        index = np.column_stack([np.arange(len(points)), found])
        value = np.column_stack([np.zeros(len(points)), distance])
        pointer = np.arange(0, index.size + 1, index.shape[1])
        return sparse.csr_matrix((value.ravel(), index.ravel(), pointer), shape=(len(points),) * 2)


def cluster(
    points: np.ndarray, neighbours: int, resolution: float, seed: int
) -> tuple[np.ndarray, sparse.csr_matrix, str]:
    """Cluster cells (Leiden) in scanpy's graph of neighbours, by cosine similarity.

    ``points``: float (cells, components). Returns the cluster of each cell (int64 (cells,), 0 is the largest), the
    connectivities of the graph (csr float32 (cells, cells)), and a message, which is empty if all options were used as
    given. Fewer than ten cells form one cluster, and their graph is empty.
    """
    n_cells = len(points)
    if n_cells < FEW_CELLS:
        return (
            np.zeros(n_cells, dtype=np.int64),
            sparse.csr_matrix((n_cells, n_cells), dtype=np.float32),
            f"{n_cells} cells are too few to cluster, so they form one cluster",
        )
    import scanpy as sc  # takes seconds to import

    message = ""
    if neighbours > n_cells - 1:
        message = f"the graph has {n_cells - 1} neighbours instead of {neighbours}, because there are {n_cells} cells"
        neighbours = n_cells - 1
    graph = ad.AnnData(obs=pd.DataFrame(index=np.arange(n_cells).astype(str)), obsm={"X": points})
    search = Search(nearest, neighbours - 1, seed)  # scanpy counts the cell itself
    sc.pp.neighbors(graph, n_neighbors=neighbours, use_rep="X", transformer=search, random_state=seed)
    sc.tl.leiden(
        graph, resolution=resolution, flavor="igraph", directed=False, n_iterations=-1, random_state=seed
    )
    found, first, number, size = np.unique(
        graph.obs["leiden"].astype(int), return_index=True, return_inverse=True, return_counts=True
    )
    by_size = np.lexsort((first, -size))  # equal sizes: by the first cell
    place = np.empty(len(found), dtype=np.int64)
    place[by_size] = np.arange(len(found))
    return place[number], graph.obsp["connectivities"], message
