"""Compare links with the truth of the simulated cohort: per cell type, and in single cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scbind.analysis.activitymethods import auroc_of_ranks
from scbind.core.files import read_result
from scbind.formats.celltable import read_whole

MIN_SHARE = 0.1  # minimum fraction of the cells of a type, for a state to count as part of it
MIN_CELLS = 5  # minimum number of cells with and without the link, for an AUROC
REMEDY = "simulate the cohort again"


class LinkTruth:
    """The truth of a cohort (:func:`scbind.demo.simulate_cohort.simulate_cohort`).

    Attributes
    ----------
    cells
        One row per real cell, indexed by ``sample#barcode``: ``state``, ``path`` and the other columns of the file.
    links
        ``tf, gene, cell_type`` (the state), ``n_sites``, ``sign``.
    is_open
        csr bool (real cells, elements).
    """

    def __init__(self, folder: str | Path):
        folder = Path(folder)
        cells = read_result(folder / "cells.tsv", REMEDY)
        cells = cells[cells["is_cell"] == 1]
        self.cells = cells.set_index(cells["sample"].astype(str) + "#" + cells["barcode"].astype(str))
        self.links = read_result(folder / "links.tsv", REMEDY)
        self.is_open = sp.csr_matrix(sp.load_npz(folder / "open.npz")).astype(bool)
        elements = read_result(folder / "elements.bed", REMEDY)
        number = pd.Series(np.arange(len(elements)), index=elements["name"])
        pairs = read_result(folder / "element_genes.tsv", REMEDY)
        self.genes = sorted(pairs["gene"].unique())
        sites = read_result(folder / "sites.tsv", REMEDY).merge(pairs, on="element")
        self._sites = sites.assign(row=number[sites["element"]].to_numpy())

    def of_states(self, states: list[str]) -> pd.DataFrame:
        """Return the true links of any of these states: ``tf, gene, sign``, each pair once."""
        here = self.links[self.links["cell_type"].isin(states)]
        return here.drop_duplicates(["tf", "gene"])[["tf", "gene", "sign"]]

    def active(self, tfs: Sequence[str], genes: Sequence[str], names: pd.Index) -> np.ndarray:
        """Return in which cells a site of the TF is bound in an open element of the gene: bool (cells, links).

        The links are pairs of ``tfs`` and ``genes``; ``names`` are cells of the truth.
        """
        rows = self.cells.index.get_indexer(names)
        state = self.cells["state"].to_numpy()[rows]
        link = pd.Series(np.arange(len(tfs)), index=pd.MultiIndex.from_arrays([tfs, genes]))
        number = link.reindex(pd.MultiIndex.from_frame(self._sites[["tf", "gene"]])).to_numpy()
        found = np.zeros((len(names), len(tfs)), dtype=bool)
        for name in np.unique(state):
            bound = self._sites[(self._sites[f"bound_{name}"] == 1).to_numpy() & np.isfinite(number)]
            places = bound["row"], number[bound.index].astype(int)
            sites = sp.csr_matrix((np.ones(len(bound)), places), (self.is_open.shape[1], len(tfs)))
            mine = np.flatnonzero(state == name)
            found[mine] = (self.is_open[rows[mine]] @ sites).toarray() > 0
        return found


def states_of(types: pd.Series, truth: LinkTruth) -> dict[str, list[str]]:
    """Return the states that make up each cell type; ``types`` is indexed by ``sample#barcode``."""
    types = types.dropna()
    known = types.index.isin(truth.cells.index)
    state = truth.cells["state"].reindex(types.index[known])
    share = pd.crosstab(types[known].to_numpy(), state.to_numpy(), normalize="index")
    return {str(name): row.index[row >= MIN_SHARE].tolist() for name, row in share.iterrows()}


def score_links(
    links: pd.DataFrame, types: pd.Series, truth: LinkTruth, max_fdr: float = 0.1
) -> pd.DataFrame:
    """Score ``links.tsv`` among all pairs of a TF and a gene, one row per type.

    Columns: ``cell_type, states, prevalence``; ``auprc`` of the probability and ``auprc_distance`` of the potential;
    ``n_called``, ``fdr`` and ``recall`` of links with a false discovery rate up to ``max_fdr``, the same, with
    ``_test``, of those with an adjusted p-value up to it, and, with ``_distal``, of those by ``fdr`` whose sites are
    all distal; ``n_signed`` and ``sign_right`` of those called by ``fdr`` and true that have a sign.
    """
    from sklearn.metrics import average_precision_score

    rows = []
    for name, states in states_of(types, truth).items():
        here = links[links["cell_type"].astype(str) == name]
        if here.empty:
            continue
        every = pd.MultiIndex.from_product([sorted(links["tf"].unique()), truth.genes], names=["tf", "gene"])
        table = here.set_index(["tf", "gene"]).reindex(every)
        real = truth.of_states(states).set_index(["tf", "gene"])
        is_true = every.isin(real.index)
        row = {"cell_type": name, "states": ",".join(states), "prevalence": is_true.mean()}
        row["auprc"] = average_precision_score(is_true, table["probability"].fillna(0))
        row["auprc_distance"] = average_precision_score(is_true, table["potential"].fillna(0))
        every_call = (table["fdr"] <= max_fdr).to_numpy()
        calls = {"": every_call, "_test": (table["p_adjusted"] <= max_fdr).to_numpy()}
        calls["_distal"] = every_call & (table["place"] == "distal").to_numpy()
        for tag, called in calls.items():
            row[f"n_called{tag}"] = int(called.sum())
            row[f"fdr{tag}"] = float((~is_true[called]).mean()) if called.any() else np.nan
            row[f"recall{tag}"] = float(is_true[called].sum() / max(is_true.sum(), 1))
        good = every_call & is_true & table["sign"].notna().to_numpy()
        right = table["sign"][good].to_numpy() == real["sign"].reindex(every[good]).to_numpy()
        row["n_signed"] = len(right)
        row["sign_right"] = float(right.mean()) if len(right) else np.nan
        rows.append(row)
    return pd.DataFrame(rows)


def score_cell_links(path: str | Path, truth: LinkTruth) -> pd.DataFrame:
    """Score ``results/analysis/regulation/{sample}.h5ad``: AUROC of the cells in which each true link is active.

    Returns ``tf, gene, n_active, n_cells, auroc``, and ``auroc_ceiling``: that of the fraction of cells of the same
    state in which the link is active, which knows the states but no single cell. Cells on the path are left out.
    """
    from scipy.stats import rankdata  # half a second to import

    data = read_whole(path, "the rule of links in cells")
    known = data.obs_names.isin(truth.cells.index)
    known &= truth.cells["path"].reindex(data.obs_names).isna().to_numpy()
    data = data[known]
    state = truth.cells["state"].reindex(data.obs_names).to_numpy()
    active = truth.active(data.var["tf"].astype(str), data.var["gene"].astype(str), data.obs_names)
    share = pd.DataFrame(active, dtype=float).groupby(state).transform("mean").to_numpy()
    values, rows, n = sp.csc_matrix(data.X), [], len(active)
    for number in np.flatnonzero((active.sum(axis=0) >= MIN_CELLS) & ((~active).sum(axis=0) >= MIN_CELLS)):
        here = active[:, number]
        row = {"tf": data.var["tf"].iloc[number], "gene": data.var["gene"].iloc[number]}
        row |= {"n_active": int(here.sum()), "n_cells": n}
        row["auroc"] = auroc_of_ranks(here, rankdata(values[:, [number]].toarray().ravel()))
        rows.append(row | {"auroc_ceiling": auroc_of_ranks(here, rankdata(share[:, number]))})
    return pd.DataFrame(rows, columns=["tf", "gene", "n_active", "n_cells", "auroc", "auroc_ceiling"])
