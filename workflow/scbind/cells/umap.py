"""UMAP of the cells of a group, in a file of its own.

It only places cells in figures. Cell types, peaks and binding do not depend on it.
"""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np

from scbind.cells.clusters import FEW_CELLS
from scbind.core.files import atomic
from scbind.core.runlog import say
from scbind.formats.celltable import GROUP, read_whole

# Smallest distance of cells in the layout: the default of Seurat's RunUMAP (min.dist), with which Signac draws cells.
MIN_DIST = 0.3


def embed_umap(embedding: str | Path, output: str | Path, seed: int) -> None:
    """Compute the UMAP of the cells that pass, from the graph of the embedding.

    Writes an ``.h5ad`` with the rows of the embedding: ``obs`` with ``sample`` and ``pass``, and ``obsm`` with
    ``X_umap``, float32 (cells, 2); NaN for cells that fail. Fewer than ten cells have no graph. Their coordinates are
    the first two of the embedding.

    Parameters
    ----------
    embedding
        ``results/embedding/{group}.h5ad``.
    output
        The file to write.
    seed
        Seed of the optimization.

    Raises
    ------
    InputError
        If the embedding is missing or damaged.
    """
    cells = read_whole(embedding, GROUP, ["obs/sample", "obs/pass", "obsm/X_lsi", "obsp/connectivities"])
    passes = cells.obs["pass"].to_numpy(dtype=bool)
    used = "X_harmony" if "X_harmony" in cells.obsm else "X_lsi"
    points = np.ascontiguousarray(cells.obsm[used][passes])
    plane = np.full((len(passes), 2), np.nan, dtype=np.float32)
    if passes.sum() < FEW_CELLS:
        plane[passes] = 0
        plane[passes, : min(2, points.shape[1])] = points[:, :2]
    else:
        plane[passes] = _umap(points, cells.obsp["connectivities"][passes][:, passes], seed)
    with atomic(output) as path:
        ad.AnnData(obs=cells.obs[["sample", "pass"]], obsm={"X_umap": plane}).write_h5ad(path)
    say(f"{passes.sum()} cells in the UMAP, min_dist {MIN_DIST}")


def _umap(points: np.ndarray, graph, seed: int) -> np.ndarray:
    """Return the UMAP of points with their graph of neighbours, as scanpy computes it: float32 (cells, 2)."""
    import scanpy as sc  # takes seconds to import

    data = ad.AnnData(obsm={"X": points}, obsp={"connectivities": graph})
    params = {"method": "umap", "metric": "euclidean", "use_rep": "X"}
    data.uns["neighbors"] = {"connectivities_key": "connectivities", "params": params}
    sc.tl.umap(data, min_dist=MIN_DIST, random_state=seed)
    return np.asarray(data.obsm["X_umap"], dtype=np.float32)
