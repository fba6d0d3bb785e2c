"""Join the tables of all folds of TFs, and add the AUPRC of models that saw the same TFs, and of baselines.

This module is separate from :mod:`scbind.evaluation.leftout`, because joining needs neither PyTorch nor a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from scbind.core.files import read_result, write_table
from scbind.core.runlog import say
from scbind.evaluation.merge import DEPTH_COLUMNS, METRIC_COLUMNS, stack_tables
from scbind.evaluation.pooled import pooled_calibration, ratio_interval
from scbind.evaluation.registry import ACCESSIBILITY, MOTIF_X_ACCESSIBILITY

SAID = ["fold", "motif_group", "auprc_expected", "reliability_level", "reliability_abstained"]
POOLED_TREES = "auprc_pooled_trees"  # of trees that did not see the TF either (scbind.evaluation.pooledtrees)
FOLD_COLUMNS = [METRIC_COLUMNS[0], *SAID, *METRIC_COLUMNS[1:], POOLED_TREES]
FOLD_DEPTH_COLUMNS = [DEPTH_COLUMNS[0], "fold", *DEPTH_COLUMNS[1:]]
# Baselines that could predict a TF without ChIP-seq instead.
BESIDE = ACCESSIBILITY, MOTIF_X_ACCESSIBILITY
COMPARED = ["prevalence", "auprc", "auprc_seen", *(f"auprc_{name}" for name in BESIDE)]
PAIR = ["cell_line", "tf", "split"]


def join_left_out(
    folds: Sequence[str | Path],
    depths: Sequence[str | Path],
    metrics: str | Path,
    output: str | Path,
    depth: str | Path,
) -> None:
    """Write the tables of TFs that were left out of a training.

    Parameters
    ----------
    folds, depths
        The two tables of each fold (:func:`scbind.evaluation.leftout.evaluate_left_out`).
    metrics
        ``results/evaluation/metrics.tsv``: the same windows scored by the models that saw the TFs, and by baselines.
    output, depth
        Outputs: the columns ``FOLD_COLUMNS`` and ``auprc_seen``, ``auprc_accessibility``,
        ``auprc_motif_x_accessibility``, empty where the other table has no value; and ``FOLD_DEPTH_COLUMNS``.

    Raises
    ------
    InputError
        If a table is missing, damaged, or has other columns.
    """
    table = stack_tables(folds, FOLD_COLUMNS)
    known = read_result(metrics, "run the evaluation first")
    seen = known.rename(columns={"auprc": "auprc_seen"})
    table = table.merge(seen[["model", *PAIR, "auprc_seen"]], on=["model", *PAIR], how="left")
    for name in BESIDE:
        other = known.loc[known["model"] == name, [*PAIR, "auprc"]]
        table = table.merge(other.rename(columns={"auprc": f"auprc_{name}"}), on=PAIR, how="left")
    write_table(output, table)
    write_table(depth, stack_tables(depths, FOLD_DEPTH_COLUMNS))
    for row in left_out_means(table[table["split"] == "test"]).itertuples():
        interval = "" if pd.isna(row.auprc_low) else f" ({row.auprc_low:.4f} to {row.auprc_high:.4f})"
        say(
            f"{row.model}: mean AUPRC {row.auprc:.4f}{interval} of {row.n_pairs} pairs of line and TF whose TF was "
            f"left out of the training, {row.auprc_seen:.4f} if it is seen, {row.auprc_motif_x_accessibility:.4f} of "
            f"motif x accessibility, {row.auprc_pooled_trees:.4f} of trees fitted to other TFs"
        )


def left_out_means(table: pd.DataFrame) -> pd.DataFrame:
    """Means of each model and kind of holdout over the pairs of line and TF that have every AUPRC but that of trees.

    ``table`` is that of :func:`join_left_out`. The rows of all test windows come first.

    Returns
    -------
    DataFrame
        - ``model, split, n_pairs``.
        - ``prevalence, auprc, auprc_seen, auprc_accessibility, auprc_motif_x_accessibility, auprc_pooled_trees,
          auprc_expected``: means. ``share_of_seen`` is the ratio of two of them.
        - ``auprc_measured``: the median of ``auprc`` over the pairs that have an ``auprc_expected``, which is a median
          as well, so compare the two. What is expected is conservative (:mod:`scbind.models.abstention`).
        - ``gain_pooled_trees, gain_motif_x_accessibility``: mean difference of ``auprc`` to these two, over the pairs
          that have both.
        - ``auprc`` and the gains have ``_low`` and ``_high``: confidence interval (95 %). TFs of one ``motif_group``
          vary together, because their motifs cannot be distinguished and they were left out together.
        - the figures of :func:`scbind.evaluation.pooled.pooled_calibration`.

    Examples
    --------
    >>> from scbind.evaluation.probabilities import CALIBRATION_COLUMNS
    >>> row = {'model': 'm', 'split': 'test', 'motif_group': 'A', 'prevalence': 0.1, 'auprc': 0.3, 'auprc_seen': 0.4}
    >>> row |= {'auprc_pooled_trees': 0.2, 'auprc_accessibility': 0.1, 'auprc_motif_x_accessibility': 0.2}
    >>> row |= {'auprc_expected': 0.3} | dict.fromkeys(CALIBRATION_COLUMNS, 0.1)
    >>> lacking = row | {'auprc_seen': float('nan'), 'auprc': 0.9}
    >>> left_out_means(pd.DataFrame([row, lacking]))[['n_pairs', 'auprc', 'share_of_seen']].round(2).values.tolist()
    [[1.0, 0.3, 0.75]]
    """
    whole = table.dropna(subset=COMPARED)
    groups = whole.groupby(["model", "split"], sort=False)
    rows = [{"model": model, "split": split} | _means(part) for (model, split), part in groups]
    means = pd.DataFrame(rows, columns=["model", "split", *_means(whole)])
    first = means["split"] != "test"
    return means.assign(first=first).sort_values(["model", "first"], kind="stable").drop(columns="first")


def _means(part: pd.DataFrame) -> dict:
    """What :func:`left_out_means` says about the rows of one model and kind of holdout."""
    row = {"n_pairs": len(part)} | part[[*COMPARED, POOLED_TREES, "auprc_expected"]].mean().to_dict()
    row["auprc_measured"] = part.loc[part["auprc_expected"].notna(), "auprc"].median()
    row["share_of_seen"] = row["auprc"] / row["auprc_seen"]
    gains = {
        "gain_pooled_trees": POOLED_TREES,
        f"gain_{MOTIF_X_ACCESSIBILITY}": f"auprc_{MOTIF_X_ACCESSIBILITY}",
    }
    for name, values, least in [
        ("auprc", part["auprc"], 0),
        *((name, part["auprc"] - part[other], -1) for name, other in gains.items()),
    ]:
        row[name] = values.mean()
        bounds = ratio_interval(values, 1, part["motif_group"], (least, 1))
        row[f"{name}_low"], row[f"{name}_high"] = bounds
    return row | pooled_calibration(part, "motif_group")
