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
    "TF activity of scbind beside that of other methods, in the same cells and for the same TFs. chromVAR uses motif "
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
    shown = table.assign(method=table["method"].map(NAMES))
    section.tables = [
        html_table("TF activity by method", shown, "All rows: results/evaluation/activity.tsv.", "methods")
    ]
    return section
