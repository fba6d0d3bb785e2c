"""The section of the report that compares results with the truth of simulated cells."""

from __future__ import annotations

from scbind.report.read import Inputs
from scbind.report.tables import Section, html_table

ORACLES = {  # sentences of the glossary, too; a test compares them
    "oracle": "oracle is not a model. It is given the simulated motifs and the elements that are open in each cell, "
    "but not the random draws",
    "oracle_type": "oracle_type is not a model. It is given the simulated motifs and the elements that are open in the "
    "cell type, which is the most that borrowing from cells of the same type can show",
}


def truth(inputs: Inputs) -> Section | None:
    """Return the section that compares results with the simulated truth. None if the truth is not known."""
    cells, types = (inputs.tables.get(f"truth_{name}") for name in ("cells", "types"))
    if cells is None and types is None:
        return None
    section = Section("truth", "In single cells: comparison with the known truth")
    section.text = [
        "These cells are simulated, so every binding event is known. The numbers show that the workflow works on "
        "such data. They do not show how well it works on your data.",
    ]
    if cells is not None and len(cells):
        shown = set(cells["model"])
        section.text += [f"{sentence}." for name, sentence in ORACLES.items() if name in shown]
        section.text.append(
            "Which cells: a sample of the cells, or the few of them on which the other networks were also run. "
            "Chromosomes: all of them, or those held out from training."
        )
        columns = ["n_cells", "prevalence", "auprc_mean", "auprc_median"]
        table = cells.groupby(["chromosomes", "cells", "model"], sort=False)[columns].mean().reset_index()
        table = table.assign(n_cells=table["n_cells"].round().astype(int))
        table = table.sort_values(
            ["chromosomes", "cells", "auprc_mean"], ascending=[True, False, False], kind="stable"
        )
        table = table.rename(columns={"n_cells": "mean number of cells", "cells": "which cells"})
        section.tables.append(html_table("Single binding events in single cells, mean over TFs", table))
    if types is not None and len(types):
        wide = types[types["name"].isin(["cell_type", "activity_leiden", "scfan_leiden"])]
        if len(wide):
            wide = wide.pivot(index="name", columns="quantity", values="value").rename_axis("grouping")
            section.tables.append(html_table("Recovery of the true cell types", wide.reset_index()))
        scores = types[types["quantity"].str.endswith("_auroc")]
        if len(scores):
            scores = (
                scores.pivot(index="name", columns="quantity", values="value").rename_axis("tf").reset_index()
            )
            scores = scores.sort_values("tf", key=lambda name: name.where(name != "mean", ""), kind="stable")
            section.tables.append(
                html_table("Separation of cells in which a TF is active from other cells", scores)
            )
    return section
