"""Section of the report that compares TF activity with that of other methods on the same cells."""

from __future__ import annotations

from scbind.report.read import Inputs
from scbind.report.tables import Section, html_table

NAMES = {
    "scbind": "scbind",
    "scfan_vote": "vote of scFAN, from the predictions of scbind",
    "chromvar": "chromVAR",
    "chromvar_borrowed": "chromVAR with borrowed insertions",
}
TEXT = (
    "TF activity of scbind beside that of other methods, in the same cells and for the same TFs: those for which each "
    "method has a value in every cell, and on which scbind does not abstain. chromVAR uses motif "
    "matches and counts, without a network. It is shown with a cell's own insertions, and with those that scbind "
    "borrows. "
    "Silhouette: how well cell types are separated (-1 to 1). ARI: agreement of clusters of the values with cell "
    "types (1: equal). "
    "Depth correlation: how much the values follow the number of fragments within a type (0: not at all).",
    "These figures show how well the values separate cell types, not whether a TF is bound. Cell types that "
    "were found from accessibility favour methods that smooth over similar cells. Give labels to avoid this (column "
    "labels of the samples).",
)


def methods(inputs: Inputs) -> Section | None:
    """Return the section that compares TF activity with that of other methods. None without their table."""
    table = inputs.tables.get("methods")
    if table is None or table.empty:
        return None
    section = Section("methods", "In single cells: activity beside other methods", text=list(TEXT))
    shown = table[table["n_tfs"] > 0]
    most = table.groupby("sample", sort=False)["n_tfs"].max()
    for name in most.index[most == 0]:
        section.text.append(
            f"Sample {name}: there is no such TF, because some cells are too shallow for each of them."
        )
    if shown.empty:
        return section
    shown = shown.assign(method=shown["method"].map(NAMES))
    section.tables = [
        html_table("TF activity by method", shown, "All rows: results/evaluation/activity.tsv.", "methods")
    ]
    return section
