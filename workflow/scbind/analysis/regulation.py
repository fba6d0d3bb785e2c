"""Links in single cells: how strongly each TF regulates each gene in each cell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata.io import sparse_dataset, write_elem

from scbind.analysis.links import MARKED, SiteGenes, best_of_pairs
from scbind.analysis.tfactive import active_in_cells
from scbind.binding.merging import CHUNK
from scbind.binding.shards import decode
from scbind.binding.store import Binding, open_binding
from scbind.binding.windows import Windows
from scbind.core.errors import InputError
from scbind.core.files import atomic, read_result
from scbind.core.progress import Progress
from scbind.core.runlog import say
from scbind.formats.celltable import open_to_add, without_empty

LEAST = 0.01  # smaller weights of sites, and smaller values, count as 0
PACKED = {"compression": "gzip", "compression_opts": 1}


def cell_regulation(
    store: str | Path,
    windows: str | Path,
    arrays: str | Path,
    links: str | Path,
    active: str | Path,
    output: str | Path,
    max_fdr: float = 0.1,
    cell_links: int = 30_000,
) -> None:
    """Write ``results/analysis/regulation/{sample}.h5ad``: cells x links, csr float32.

    The value is the sum over the windows near the gene of P(bound) in the cell times the probability that the site
    regulates the gene, times the probability that the TF is active in the cell. ``var``: ``tf``, ``gene``,
    ``probability``, ``potential``, ``fdr``, ``sign`` (NaN if unknown), ``interaction`` and ``cell_types`` of each link
    (largest probability of any type), and ``evidence`` and ``reliability_abstained`` of its TF; a column without a
    value is left out. ``obs`` and ``obsm`` are those of the store.

    The store is read in blocks of :data:`scbind.binding.merging.CHUNK` cells, and each is written before the next, so
    memory does not depend on the number of cells.

    Parameters
    ----------
    store, windows, arrays, links
        ``results/binding/{sample}.zarr``, ``windows.npz``, ``site_genes.npz`` and ``links.tsv`` of the same run.
    active
        ``tf_active.h5ad`` (:func:`scbind.analysis.tfactive.tf_active`).
    max_fdr, cell_links
        Links with a false discovery rate up to ``max_fdr`` in any type; of these at most the ``cell_links`` most
        probable.

    Raises
    ------
    InputError
        If the files do not belong together.
    """
    binding, chosen, found = open_binding(store), Windows.load(windows), SiteGenes.load(arrays)
    if len(binding.var) != len(chosen):
        raise InputError(
            store, f"has {len(binding.var)} windows, but {windows} has {len(chosen)}", "infer again"
        )
    table = choose_links(read_result(links, "run the rule tf_links first"), max_fdr, cell_links)
    weights = _weights(table, found, chosen.peak)
    data = binding.to_anndata(region=np.zeros(0, dtype=np.int64), tfs=[])
    obsm = {name: array for name, array in data.obsm.items() if name != "abstained"}
    adata = anndata.AnnData(obs=data.obs, var=without_empty(table), obsm=obsm)
    about = "sum over the windows near the gene of P(bound) x P(site regulates gene), times P(TF is active)"
    adata.uns["about"] = {"X": about}
    with atomic(output) as scratch:
        adata.write_h5ad(scratch)
        with open_to_add(scratch) as file:
            factor = active_in_cells(active, binding.obs.index, list(weights))
            _write(file, _blocks(binding, weights, factor, len(table)))
    say(f"{len(table):,} links in {adata.n_obs:,} cells")


def choose_links(links: pd.DataFrame, max_fdr: float, most: int) -> pd.DataFrame:
    """Return one row per TF and gene, sorted by both and named ``TF:gene``, from the rows of ``links.tsv``."""
    kept = links[links["fdr"] <= max_fdr].astype({"cell_type": str, "tf": str, "gene": str})
    best = best_of_pairs(kept).head(most).sort_values(["tf", "gene"])
    columns = ["tf", "gene", "probability", "potential", "fdr", "sign", "interaction", "cell_types", *MARKED]
    table = best[columns].set_index((best["tf"] + ":" + best["gene"]).rename("link"))
    texts = dict.fromkeys(("interaction", "cell_types", "evidence"), object)
    return table.astype({"sign": float, "reliability_abstained": bool} | texts)


def _weights(table: pd.DataFrame, found: SiteGenes, peak: np.ndarray) -> dict[str, sp.csr_matrix]:
    """Return the weight of each window for each link, csr float32 (windows, links of the TF), by TF."""
    good = found.probability >= LEAST
    shape = (len(found.null), len(found.genes))
    of_site = sp.csc_matrix((found.probability[good], (found.site[good], found.gene[good])), shape=shape)
    number = pd.Index(found.genes).get_indexer(table["gene"])
    by_tf = table.assign(number=number).groupby("tf", sort=False)["number"]
    return {str(tf): of_site[:, group.to_numpy()].tocsr()[peak].astype(np.float32) for tf, group in by_tf}


def _blocks(
    binding: Binding, weights: dict[str, sp.csr_matrix], factor: np.ndarray, n_links: int
) -> Iterator[sp.csr_matrix]:
    """Yield the values of ``CHUNK`` cells after the other: csr float32 (cells, links). ``factor``: (cells, TFs)."""
    value, progress = decode(binding.scale).astype(np.float32), Progress("cells", len(binding.obs))
    for first in range(0, max(len(binding.obs), 1), CHUNK[0]):
        rows = slice(first, min(first + CHUNK[0], len(binding.obs)))
        parts = []
        for number, (tf, weight) in enumerate(weights.items()):
            codes = binding.codes(tf, rows)
            bound = sp.csr_matrix((value[codes.data], codes.indices, codes.indptr), shape=codes.shape)
            part = sp.diags_array(factor[rows, number]) @ (bound @ weight)
            part = sp.csr_matrix(part, dtype=np.float32)
            part.data[part.data < LEAST] = 0
            part.eliminate_zeros()
            parts.append(part)
        n_cells = rows.stop - rows.start
        block = (
            sp.hstack(parts, format="csr") if parts else sp.csr_matrix((n_cells, n_links), dtype=np.float32)
        )
        block.sort_indices()
        progress.reached(rows.stop)
        yield block


def _write(file, blocks: Iterator[sp.csr_matrix]) -> None:
    """Write blocks one below the other as ``X``."""
    if "X" in file:
        del file["X"]
    for number, block in enumerate(blocks):
        if number:
            sparse_dataset(file["X"]).append(block)
        else:
            block.indptr = block.indptr.astype(np.int64)  # whole, it may hold more than 2^31 entries
            write_elem(file, "X", block, dataset_kwargs=PACKED)
