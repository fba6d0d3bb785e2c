"""Links of the simulated cohort held against its truth, per type and in single cells; memory and time of many links.

    python benchmarks/links.py RESULTS --truth resources/cohort/truth
    python benchmarks/links.py --scale 1000 5000 10000 --links 30000

The first form reads the results of `make demo-cohort` and prints two tables: accuracy of `links.tsv` per type, and
AUROC of the files per cell, by the fraction of cells in which a link is active. The second makes a binding store for
each number of cells, writes links per cell from it, and prints time and peak memory.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import zarr

WINDOWS, TFS, GENES, KEPT = 20_000, 30, 4_000, 0.02


def accuracy(results: Path, truth: Path) -> None:
    """Print both tables of the results of a cohort."""
    from scbind.demo.linktruth import LinkTruth, score_cell_links, score_links

    known = LinkTruth(truth)
    types = []
    for path in sorted(results.glob("cells/*/cells.h5ad")):
        obs = anndata.read_h5ad(path).obs
        types.append(obs.loc[obs["pass"].astype(bool), "cell_type"].astype(str))
    links = pd.read_csv(results / "analysis/links.tsv", sep="\t")
    print(score_links(links, pd.concat(types), known).round(3).to_string(index=False))
    cells = pd.concat(
        [score_cell_links(path, known) for path in sorted(results.glob("analysis/regulation/*.h5ad"))]
    )
    bins = pd.cut(cells["n_active"] / cells["n_cells"], [0, 0.2, 0.4, 0.6, 0.8, 1])
    grouped = cells.groupby(bins, observed=True)
    print(grouped[["auroc", "auroc_ceiling"]].mean().assign(links=grouped.size()).round(3).to_string())
    print(cells[["auroc", "auroc_ceiling"]].mean().round(3).to_string())


def write_inputs(folder: Path, n_cells: int, n_links: int) -> None:
    """Write a store of random binding, and the other inputs of links per cell."""
    from scbind.analysis.links import MARKED
    from scbind.binding.merging import CHUNK

    rng, names = np.random.default_rng(0), [f"TF{i}" for i in range(TFS)]
    obs = pd.DataFrame({"cell_type": "a", "borrowed_depth": 1.0}, index=[f"c{i}" for i in range(n_cells)])
    var = pd.DataFrame({"chrom": pd.Categorical(["chr1"] * WINDOWS), "start": np.arange(WINDOWS) * 200})
    var["end"], var.index = var["start"] + 200, var.index.astype(str)
    uns = {
        "format": 2,
        "scale": 255,
        "floor": 0.02,
        "max_error": 0.004,
        "provenance": "{}",
        "reliability": "{}",
    }
    uns["tfs"] = np.array(names, dtype=object)
    store = folder / "s.zarr"
    anndata.AnnData(obs=obs, var=var, uns=uns).write_zarr(store)
    layers = zarr.open_group(store, mode="r+").require_group("layers")
    for name in names:
        layer = layers.create_array(name, shape=(n_cells, WINDOWS), chunks=CHUNK, dtype="uint8", fill_value=0)
        for first in range(0, n_cells, CHUNK[0]):
            rows = np.zeros((min(CHUNK[0], n_cells - first), WINDOWS), dtype=np.uint8)
            bound = rng.integers(rows.size, size=int(KEPT * rows.size))  # a few twice
            rows.ravel()[bound] = rng.integers(1, 255, len(bound), dtype=np.uint8)
            layer[first : first + len(rows)] = rows
    zarr.consolidate_metadata(store)
    np.savez(
        folder / "windows.npz", chrom=np.zeros(WINDOWS, int), start=var["start"], gc=np.zeros(WINDOWS),
        peak=np.arange(WINDOWS), window=200, context=1000,
    )  # fmt: skip
    site = np.repeat(np.arange(WINDOWS), 4)
    gene = (site * GENES // WINDOWS + np.tile(np.arange(4), WINDOWS)) % GENES
    order = np.lexsort((site, gene))
    flat = np.full(len(site), 0.2)
    np.savez(
        folder / "sites.npz", site=site[order], gene=gene[order], weight=flat, promoter=flat > 1, z=flat,
        association=flat, probability=flat, distance=np.zeros(len(site), int),
        genes=np.array([f"G{i}" for i in range(GENES)]), sites=np.array(var.index, dtype=str),
        chrom=np.zeros(GENES), tss=np.zeros(GENES), null=np.zeros((WINDOWS, 1), np.float16), panel=np.zeros(1, int),
        evidence="rna",
    )  # fmt: skip
    tf, target = np.divmod(np.arange(n_links), GENES)
    links = pd.DataFrame({"cell_type": "a", "tf": [names[i] for i in tf], "gene": [f"G{i}" for i in target]})
    links[["probability", "potential", "fdr", "sign", *MARKED]] = [0.9, 1.0, 0.01, 1, "chip", False]
    links.to_csv(folder / "links.tsv", sep="\t", index=False)
    active = anndata.AnnData(np.ones((n_cells, TFS), np.float32), obs=obs)
    active.var_names = names
    active.write_h5ad(folder / "active.h5ad")


def one(folder: Path) -> None:
    """Write the links of a folder of inputs; print seconds, peak memory (GiB) and values per cell."""
    from scbind.analysis.regulation import cell_regulation

    start, output = time.time(), folder / "out.h5ad"
    files = [folder / name for name in ("s.zarr", "windows.npz", "sites.npz", "links.tsv", "active.h5ad")]
    cell_regulation(*files, output)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    found = anndata.read_h5ad(output, backed="r")
    values = found.X.group["data"].shape[0] / found.n_obs
    print(f"{time.time() - start:.0f} s, {peak:.2f} GiB, {values:.0f} values per cell")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", nargs="?", type=Path)
    parser.add_argument("--truth", type=Path)
    parser.add_argument("--scale", nargs="+", type=int, default=[])
    parser.add_argument("--links", type=int, default=30_000)
    parser.add_argument("--one", type=Path)
    given = parser.parse_args()
    if given.one:
        one(given.one)
    elif given.results:
        accuracy(given.results, given.truth)
    for n_cells in given.scale:
        with tempfile.TemporaryDirectory() as folder:
            write_inputs(Path(folder), n_cells, given.links)
            print(f"{n_cells:,} cells x {given.links:,} links:", end=" ", flush=True)
            subprocess.run([sys.executable, __file__, "--one", folder], check=True)


if __name__ == "__main__":
    main()
