"""The section of the report that compares links and populations of the simulated cohort with its truth."""

from __future__ import annotations

import pandas as pd

from scbind.report.read import Inputs
from scbind.report.tables import Section, html_table, number

LINKS = {  # column of the table of links -> its heading
    "name": "cell_type", "states": "states", "prevalence": "prevalence", "auprc": "AUPRC of links",
    "auprc_distance": "AUPRC of distance alone", "n_called": "links called", "fdr": "fraction false",
    "recall": "fraction of true links called", "n_called_distal": "distal links called",
    "fdr_distal": "fraction false, distal links", "sign_right": "fraction of signs right",
}  # fmt: skip
POPULATIONS = {  # the same for populations, where the name of the column is not enough
    "n_cells": "true cells", "n_cells_population": "cells of the population", "f1": "F1", "own_tfs": "own TFs",
    "own_tfs_first": "own TFs among the first markers", "p_adjusted": "adjusted p of the fold",
    "n_sites": "sites that differ", "sites_right": "fraction in changed elements",
}  # fmt: skip


def cohort(inputs: Inputs) -> Section | None:
    """Return the section on the simulated cohort. None if its truth is not known."""
    links, populations = (inputs.tables.get(f"truth_cohort_{name}") for name in ("links", "populations"))
    if links is None or populations is None:
        return None
    section = Section("cohort", "In the simulated cohort: links and populations beside the known truth")
    section.text = [
        "This cohort is simulated. The numbers do not show how well the workflow works on your data."
    ]
    types, samples = (links[links["kind"] == kind] for kind in ("cell_type", "sample"))
    if len(types):
        section.text.append(
            "Links: compare their AUPRC with that of distance alone and with the prevalence. Called are links with a "
            f"false discovery rate up to 0.1, so at most about a tenth of them should be false.{_in_cells(samples)}"
        )
        section.tables.append(
            _shown("Links of each cell type", types[list(LINKS)], LINKS, "cohort_links.tsv")
        )
    section.text.append(
        "Populations: a true population is found if the F1 of the population that matches it best is near 1; otherwise "
        "it was lost, and the next columns describe other cells. Its own TFs are those that the nearest population "
        "lacks, and should be the first markers. The fold is that of its fraction, disease to control. Sites that "
        "differ between the conditions should lie in elements that change with the disease."
    )
    section.tables.append(_shown("True populations", populations, POPULATIONS, "cohort_populations.tsv"))
    return section


def _in_cells(samples: pd.DataFrame) -> str:
    """Say how well links are told in single cells. Begins with a space."""
    mean = samples[["auroc", "auroc_ceiling"]].mean()
    if mean.isna().any():
        return ""
    return (
        f" In single cells, the mean AUROC of a link is {number(mean['auroc'])}; the true state of each cell alone "
        f"would give {number(mean['auroc_ceiling'])}."
    )


def _shown(title: str, table: pd.DataFrame, headings: dict[str, str], file: str) -> dict:
    return html_table(title, table.rename(columns=headings), f"All rows: results/evaluation/{file}.")
