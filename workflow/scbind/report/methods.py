"""Section of the report that compares TF activity with that of other methods on the same cells."""

from __future__ import annotations

import pandas as pd

from scbind.formats.evidence import MOTIF
from scbind.report.read import Inputs
from scbind.report.tables import EVIDENCE, Section, html_table, number

MOST_TFS = 5  # TFs of a cell type in the table of separated types

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
    section.text += _silhouettes(shown)
    section.tables = [
        html_table("TF activity by method", shown, "All rows: results/evaluation/activity.tsv.", "methods")
    ]
    separation = inputs.tables.get("separation")
    if separation is not None and len(separation):
        _labelled(separation, section)
    return section


def _silhouettes(table: pd.DataFrame) -> list[str]:
    """Say how well each method separates the cell types, highest first: the mean silhouette over all samples.

    Only TFs with ChIP-seq, and samples in which every method has a value, count.
    """
    table = table[table[EVIDENCE] != MOTIF]
    values = table.pivot(index="sample", columns="method", values="silhouette").dropna()
    if values.empty:
        return []
    means = values.mean().sort_values(ascending=False, kind="stable")
    listed = ", ".join(f"{name} {number(value)}" for name, value in means.items())
    return [f"{'Silhouette' if len(values) == 1 else f'Mean silhouette of {len(values)} samples'}: {listed}."]


def _labelled(table: pd.DataFrame, section: Section) -> None:
    """Add to a section the TFs that separate each labelled cell type best from the other cells, by any method."""
    keys = ["sample", "cell_type", "tf", EVIDENCE]
    wide = table.pivot(index=keys, columns="method", values="auroc")
    wide = wide[[name for name in NAMES if name in wide]].rename(columns=NAMES)
    methods_shown = list(wide.columns)
    wide = wide.assign(best=wide.max(axis=1)).reset_index()
    wide = wide.sort_values(["sample", "cell_type", "best"], ascending=[True, True, False], kind="stable")
    wide = wide.groupby(["sample", "cell_type"], sort=False).head(MOST_TFS)
    section.text.append(
        "Labelled cells: AUROC is the probability that a cell of the type has a larger value of the TF than a cell of "
        f"the other types (0.5: chance). For each type, the {MOST_TFS} TFs with the highest AUROC by any method are "
        "shown. TFs of one family have similar motifs, so all of them may have a high AUROC where only one is "
        "expressed."
    )
    note = "Only cells whose label was given. All rows: results/evaluation/activity_types.tsv."
    title = "AUROC of TF activity for labelled cell types, by method"
    section.tables.append(html_table(title, wide[[*keys, *methods_shown]], note, "separation"))
