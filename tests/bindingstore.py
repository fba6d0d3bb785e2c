"""Small binding stores and their windows, made by hand for tests of what reads them."""

import anndata
import numpy as np
import pandas as pd
from scbind.binding.merging import FORMAT


def write_windows(path, chrom, start):
    """Windows of 200 bp at these places, each a peak of its own."""
    n = len(chrom)
    np.savez(
        path,
        chrom=np.array(chrom, dtype=np.int16),
        start=np.array(start, dtype=np.int32),
        peak=np.arange(n, dtype=np.int32),
        gc=np.full(n, 0.5, dtype=np.float32),
        window=200,
        context=1000,
    )


def write_sample(folder, name, layers, types, listed=None, depth=1.0, known="{}", var=None):
    """A binding store with ``layers`` (TF -> uint8 codes) and its table of cells. ``var``: its windows."""
    n_cells, n_windows = next(iter(layers.values())).shape
    obs = pd.DataFrame({"cell_type": types, "pass": True}, index=[f"c{i}" for i in range(n_cells)])
    obs["cell_type"], obs["borrowed_depth"] = obs["cell_type"].astype("category"), depth
    if var is None:
        var = pd.DataFrame({"start": range(n_windows)}, index=[f"w{i}" for i in range(n_windows)])
    uns = {
        "format": FORMAT, "scale": 255, "floor": 0.02, "max_error": 0.004, "provenance": "{}",
        "reliability": known,
        "tfs": np.array(list(layers), dtype=object),
    }  # fmt: skip
    matrices = {tf: np.asarray(codes, dtype=np.uint8) for tf, codes in layers.items()}
    anndata.AnnData(obs=obs, var=var, uns=uns, layers=matrices).write_zarr(folder / f"{name}.zarr")
    known = obs if listed is None else obs.iloc[:listed]
    anndata.AnnData(obs=known[::-1]).write_h5ad(folder / f"{name}.cells.h5ad")
    return folder / f"{name}.zarr", folder / f"{name}.cells.h5ad"
