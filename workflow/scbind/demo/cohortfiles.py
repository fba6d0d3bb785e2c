"""Writers of the files of the simulated cohort: RNA of a donor, the table of all cells, and the true links."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from scbind.core.files import atomic, write_table
from scbind.core.runlog import say
from scbind.demo.cohort import REPRESSORS, RESPONDER, RESPONSE
from scbind.demo.simulate_rna import true_links
from scbind.demo.world import World


def receivers(cells: pd.DataFrame) -> np.ndarray:
    """Return the row of the barcode that each cell's molecules carry, within the donor: int64 (cells,)."""
    partner = cells["partner"].to_numpy() - cells.index[0]
    return np.where(cells["partner"] >= 0, partner, np.arange(len(cells)))


def write_rna(path: Path, counts: np.ndarray, cells: pd.DataFrame, keep: np.ndarray, genes) -> None:
    """Write the RNA counts of a donor as an h5ad with genes as ``var``. Poor barcodes have almost none."""
    merged = np.zeros_like(counts)
    np.add.at(merged, receivers(cells), counts)
    obs = pd.DataFrame(index=pd.Index(cells["barcode"].to_numpy()[keep], name="barcode"))
    data = anndata.AnnData(sparse.csr_matrix(merged[keep].astype(np.float32)), obs=obs)
    data.var_names = list(genes)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as scratch:
        data.write_h5ad(scratch)


def write_cells(folder: Path, cells: pd.DataFrame) -> None:
    """Write ``cells.tsv``: real cells first within a donor; one row per barcode."""
    second = cells[cells["partner"] >= 0]
    table = cells.assign(doublet_of="")
    table.loc[second["partner"], "doublet_of"] = second["cell_type"].to_numpy()
    table = table[table["partner"] < 0]
    table = table.assign(
        sample=table["donor"],
        cell_type=table["cell_type"].where(table["is_cell"], "").replace(RESPONSE, RESPONDER),
        state=table["cell_type"].where(table["is_cell"], ""),
        is_cell=table["is_cell"].astype(int),
        n_fragments=table["n_fragments"].astype(int),
    )
    columns = [
        "sample",
        "barcode",
        "cell_type",
        "state",
        "is_cell",
        "n_fragments",
        "condition",
        "path",
        "doublet_of",
    ]
    write_table(folder / "cells.tsv", table[columns], float_format=None)


def write_links(folder: Path, world: World, assigned: pd.DataFrame) -> None:
    """Write ``element_genes.tsv``, the genes of the elements, and ``links.tsv``, the links of TF, gene and state."""
    write_table(folder / "element_genes.tsv", assigned[["element", "gene"]], float_format=None)
    links = true_links(world, assigned)
    links["sign"] = np.where(links["tf"].isin(REPRESSORS), -1, 1)
    write_table(folder / "links.tsv", links, float_format=None)
    say(f"links: {len(links):,} of a TF, a gene and a state")
