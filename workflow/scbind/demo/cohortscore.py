"""Compare links, populations, their abundance and sites that differ of the simulated cohort with its truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from scbind.core.errors import InputError
from scbind.core.files import read_result, write_table
from scbind.core.runlog import say
from scbind.demo.cohort import CLONE, CLONE_ORIGIN, CONDITIONS, RESPONDER, RESPONSE
from scbind.demo.linktruth import REMEDY, LinkTruth, score_cell_links, score_links
from scbind.formats.bedtools import overlapped
from scbind.formats.celltable import read_obs

AGAIN = "run the analysis again"
PART_OF = {CLONE: CLONE_ORIGIN, RESPONSE: RESPONDER}  # states that are no population of their own
LINKS = [
    "kind", "name", "states", "prevalence", "auprc", "auprc_distance", "n_called", "fdr", "recall", "n_called_test",
    "fdr_test", "recall_test", "n_called_distal", "fdr_distal", "recall_distal", "n_signed", "sign_right", "n_links",
    "auroc", "auroc_ceiling",
]  # fmt: skip
POPULATIONS = [
    "state", "n_cells", "population", "n_cells_population", "precision", "recall", "f1", "own_tfs", "own_tfs_first",
    "fold", "true_fold", "p_adjusted", "n_sites", "sites_right",
]  # fmt: skip


@dataclass(frozen=True)
class CohortResults:
    """Results of a cohort. ``links``, ``regulation`` and ``sites`` are missing if the sites are not kept.

    Attributes
    ----------
    cells
        ``results/cells/{sample}/cells.h5ad`` of all samples.
    populations, population_cells, abundance
        The tables of these names in ``results/analysis``.
    links, sites
        ``links.tsv`` and ``differential_sites.tsv`` beside them.
    regulation
        ``results/analysis/regulation/{sample}.h5ad``.
    """

    cells: Sequence[str | Path]
    populations: str | Path
    population_cells: str | Path
    abundance: str | Path
    links: str | Path | None = None
    regulation: Sequence[str | Path] = ()
    sites: str | Path | None = None


def score_cohort(
    results: CohortResults, truth: str | Path, links: str | Path, populations: str | Path
) -> None:
    """Compare the results of a cohort with its truth.

    Parameters
    ----------
    results
        What is compared.
    truth
        The folder ``truth`` of the cohort.
    links
        Table to write, with one row per cell type (:func:`scbind.demo.linktruth.score_links`) and per sample (means of
        :func:`scbind.demo.linktruth.score_cell_links`). It has no rows if there are no links.
    populations
        Table to write, with one row per true population. Columns of both in ``docs/reference/outputs.md``.

    Raises
    ------
    InputError
        If a file is missing or damaged, or no cell of the results is a cell of the truth.
    """
    known = LinkTruth(truth)
    obs = pd.concat([read_obs(path, ["pass", "cell_type"]) for path in results.cells])
    types = obs.loc[obs["pass"].astype(bool), "cell_type"].astype(object)
    if not types.index.isin(known.cells.index).any():
        problem = "no cell of the samples is a cell of the simulated truth"
        raise InputError(
            truth, problem, "give the samples of the simulated cohort, or set evaluate.cohort_truth: null"
        )
    found = link_scores(results, types, known)
    write_table(links, found)
    table = population_scores(results, types, known, Path(truth))
    write_table(populations, table)
    say(
        f"cohort: links of {int((found['kind'] == 'cell_type').sum())} cell types, {len(table)} true populations"
    )


def link_scores(results: CohortResults, types: pd.Series, known: LinkTruth) -> pd.DataFrame:
    """Return the table of links. ``types``: cell type of each passing cell, indexed by ``sample#barcode``."""
    if not results.links:
        return pd.DataFrame(columns=LINKS)
    by_type = score_links(read_result(results.links, AGAIN), types, known).rename(
        columns={"cell_type": "name"}
    )
    rows = []
    for path in results.regulation:
        scores = score_cell_links(path, known)
        means = scores[["auroc", "auroc_ceiling"]].mean()
        rows.append({"kind": "sample", "name": Path(path).stem, "n_links": len(scores), **means})
    return pd.concat([by_type.assign(kind="cell_type"), pd.DataFrame(rows)]).reindex(columns=LINKS)


def population_scores(
    results: CohortResults, types: pd.Series, known: LinkTruth, folder: Path
) -> pd.DataFrame:
    """Return the table of populations, with the arguments of :func:`link_scores` and the folder of the truth."""
    members = read_result(results.population_cells, AGAIN, text=True).set_index("cell")["population"]
    cells = known.cells.assign(state=known.cells["state"].replace(PART_OF))
    state = cells["state"].reindex(members.index)
    markers = read_result(results.populations, AGAIN, text=True).set_index("population")
    active = read_result(folder / "activity.tsv", REMEDY).drop(columns="kind").set_index("name")
    abundance, sites = (
        _between_conditions(results.abundance),
        _sites_by_state(results.sites, types, state, known, folder),
    )
    rows = []
    for name, n in state.value_counts().items():
        best, row = best_population(members, state == name), {"state": name, "n_cells": n}
        if best is not None:
            row |= best | _own_tfs(markers.loc[best["population"]], members, state, name, active)
            row |= abundance.get(best["population"], {})
        rows.append(
            row | {"true_fold": true_fold(cells.loc[state.dropna().index], name)} | sites.get(name, {})
        )
    return pd.DataFrame(rows).reindex(columns=POPULATIONS)


def best_population(members: pd.Series, wanted: pd.Series) -> dict | None:
    """Return the population with the best F1 for the cells ``wanted``, with its size, precision, recall and F1."""
    size, shared = members.value_counts(), members[wanted.to_numpy()].value_counts()
    if shared.empty:
        return None
    f1 = (2 * shared / (size.reindex(shared.index) + wanted.sum())).sort_index()
    best = f1.idxmax()
    found = {"population": best, "n_cells_population": int(size[best]), "f1": float(f1[best])}
    return found | {"precision": shared[best] / size[best], "recall": shared[best] / wanted.sum()}


def _own_tfs(
    population: pd.Series, members: pd.Series, state: pd.Series, name: str, active: pd.DataFrame
) -> dict[str, str]:
    """Return which TFs are active in the state and not in that of the nearest population, and which of them come first.

    Of n such TFs, those among the first n markers against the nearest population come first. Both are empty if the
    nearest population has the same state, or there is none.
    """
    nearest = state[(members == population["nearest"]).to_numpy()].mode()
    if nearest.empty:
        return {}
    own = active.columns[(active.loc[name] == 1) & (active.loc[nearest[0]] == 0)].tolist()
    first = [pair.rpartition(":")[0] for pair in population["markers_against_nearest"].split(";")][: len(own)]
    return {"own_tfs": ";".join(own), "own_tfs_first": ";".join(tf for tf in first if tf in own)}


def _between_conditions(path: str | Path) -> dict[str, dict[str, float]]:
    """Return fold and adjusted p of the abundance of each population that was compared between the conditions."""
    table = read_result(path, AGAIN)
    here = (table["kind"] == "population") & (table["group"] == CONDITIONS[1])
    here &= table["reference"] == CONDITIONS[0]
    return {
        row.name: {"fold": _ratio(row.fraction, row.fraction_reference), "p_adjusted": row.p_adjusted}
        for row in table[here].itertuples(index=False)
    }


def true_fold(cells: pd.DataFrame, state: str) -> float:
    """Return how many times more frequent the state is in the second condition: the ratio of the means over donors.

    ``cells`` has ``sample, condition, state`` of the cells that are compared. NaN if it is in none of the first one.
    """
    share = (cells["state"] == state).groupby([cells["condition"], cells["sample"]]).mean()
    mean = share.groupby(level="condition").mean().reindex(CONDITIONS)
    return _ratio(mean.iloc[1], mean.iloc[0])


def _ratio(one: float, other: float) -> float:
    return one / other if other > 0 else np.nan


def _sites_by_state(
    path: str | Path | None, types: pd.Series, state: pd.Series, known: LinkTruth, folder: Path
) -> dict[str, dict[str, float]]:
    """Return, per state, how many windows are listed as different between the conditions, and the share that is right.

    Those of the cell types in which the state is the most common one count, once per TF. A window is right if it
    touches an element that is open in only one of the conditions in the state.
    """
    if not path:
        return {}
    main = state.groupby(types.reindex(state.index)).agg(lambda here: next(iter(here.mode()), ""))
    table = read_result(path, AGAIN)
    table = table[table["contrast"] == "condition"]
    elements = read_result(folder / "elements.bed", REMEDY).rename(columns={"#chrom": "chrom"})
    changed = elements[elements[f"open_{RESPONDER}"] != elements[f"open_{RESPONSE}"]]
    real = {RESPONDER: overlapped(table, changed)} if (known.cells["state"] == RESPONSE).any() else {}
    found = {}
    for name in main.unique():
        mine = main.reindex(table["cell_type"]).to_numpy() == name
        right = real.get(name, np.zeros(len(table), dtype=bool))
        found[name] = {
            "n_sites": int(mine.sum()),
            "sites_right": right[mine].mean() if mine.any() else np.nan,
        }
    return found
