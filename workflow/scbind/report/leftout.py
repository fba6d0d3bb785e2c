"""The section of the report on TFs without ChIP-seq: how accurate TFs are that were left out of a training."""

from __future__ import annotations

import pandas as pd

from scbind.evaluation.leftouttable import left_out_means
from scbind.evaluation.probabilities import CALIBRATION_COLUMNS
from scbind.report.accuracy import calibration_sentences, in_brackets, intervals_as_text, with_interval
from scbind.report.read import Inputs
from scbind.report.tables import IN_TEXT, MEANINGS, Section, html_table, number

EACH = [
    "tf", "cell_line", "motif_group", "prevalence", "auprc_expected", "auprc", "auprc_seen", "auprc_pooled_trees",
    "auprc_accessibility", "auprc_motif_x_accessibility", *CALIBRATION_COLUMNS,
]  # fmt: skip
GROUPS = "motif groups"  # TFs of one group were left out together
ACCURACY = [  # columns of the table of means
    "prevalence", "auprc_expected", "auprc_measured", "auprc", "auprc_seen", "share_of_seen", "auprc_pooled_trees",
    "gain_pooled_trees", "auprc_accessibility", "auprc_motif_x_accessibility", "gain_motif_x_accessibility",
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
    means = left_out_means(table)
    section.text += _said(means[means["split"] == "test"])
    section.text += [MEANINGS[name] for name in IN_TEXT]
    note = f"Means over the pairs of cell line and TF that have every value. {in_brackets(GROUPS)}"
    accuracy = ["model", "split", "n_pairs", *ACCURACY]
    rates = ["model", "split", "n_pairs", "prevalence", *means.columns[list(means).index("mean_predicted") :]]
    bounds = [f"{name}_{side}" for name in accuracy for side in ("low", "high") if f"{name}_low" in means]
    section.tables = [
        html_table(
            "TFs left out of the training, and the same TFs seen",
            intervals_as_text(means[[*accuracy, *bounds]]),
            note,
        ),
        html_table("Calibration of TFs left out of the training", intervals_as_text(means[rates]), note),
    ]
    for model, part in table[table["split"] == "test"].groupby("model", sort=False):
        each = part[EACH].sort_values("auprc", ascending=False, kind="stable")
        section.tables.append(html_table(f"Every TF, left out of the training of {model}", each, FILE))
    return section


def _said(means: pd.DataFrame) -> list[str]:
    said = []
    for row in means.itertuples():
        own, over, trees = (
            [getattr(row, f"{name}{side}") for side in ("", "_low", "_high")]
            for name in ("auprc", "gain_motif_x_accessibility", "gain_pooled_trees")
        )
        text = (
            f"{row.model}: the mean AUPRC is {with_interval(*own)} for TFs that were left out, and "
            f"{number(row.auprc_seen)} if they are seen ({row.share_of_seen:.0%}). Motif x accessibility reaches "
            f"{number(row.auprc_motif_x_accessibility)}, accessibility alone {number(row.auprc_accessibility)}, and "
            f"boosted trees that were fitted to the other TFs {number(row.auprc_pooled_trees)}."
        )
        text += f" The mean difference to motif x accessibility is {with_interval(*over)}"
        text += "." if pd.isna(trees[0]) else f", to these trees {with_interval(*trees)}."
        if pd.notna(row.auprc_expected):
            text += (
                f" scbind expected a conservative AUPRC of {number(row.auprc_expected)} (median over the TFs in the "
                "training, on validation windows); the median measured on test windows is "
                f"{number(row.auprc_measured)}."
            )
        said.append(text)
    return said + calibration_sentences(means, GROUPS)
