"""The section of the report on TFs without ChIP-seq: how accurate TFs are that were left out of a training."""

from __future__ import annotations

import pandas as pd

from scbind.evaluation.leftouttable import left_out_means
from scbind.report.read import Inputs
from scbind.report.tables import MEANINGS, Section, html_table, number

EACH = [
    "tf", "cell_line", "motif_group", "prevalence", "auprc", "auprc_seen", "auprc_pooled_trees",
    "auprc_accessibility", "auprc_motif_x_accessibility", "ece",
]  # fmt: skip
FILE = "All rows: results/evaluation/left_out_tfs.tsv."


def left_out(inputs: Inputs) -> Section | None:
    """Return the section on TFs that were left out of a training. None without the table."""
    table = inputs.tables.get("left_out")
    if table is None or table.empty:
        return None
    section = Section("left_out", "Accuracy of TFs without ChIP-seq")
    section.text = [
        "TFs with ChIP-seq were left out of the training, one fold after the other, and then predicted like "
        "TFs without ChIP-seq: from the motif and the weights that all TFs share. TFs whose motifs cannot "
        "be distinguished were left out together. The windows are the held-out windows of the other tables."
    ]
    if "ece" in table and table["ece"].notna().any():
        section.text.append(MEANINGS["ece"])
    means = left_out_means(table)
    section.text += _said(means[means["split"] == "test"])
    note = "Means over the pairs of cell line and TF that have every value."
    section.tables = [html_table("TFs left out of the training, and the same TFs seen", means, note)]
    for model, part in table[table["split"] == "test"].groupby("model", sort=False):
        each = part[EACH].sort_values("auprc", ascending=False, kind="stable")
        section.tables.append(html_table(f"Every TF, left out of the training of {model}", each, FILE))
    return section


def _said(means: pd.DataFrame) -> list[str]:
    return [
        f"{row.model}: the mean AUPRC is {number(row.auprc)} for TFs that were left out, and {number(row.auprc_seen)} "
        f"if they are seen ({row.share_of_seen:.0%}). Motif x accessibility reaches "
        f"{number(row.auprc_motif_x_accessibility)}, accessibility alone {number(row.auprc_accessibility)}, and "
        f"boosted trees that were fitted to the other TFs {number(row.auprc_pooled_trees)}."
        for row in means.itertuples()
    ]
