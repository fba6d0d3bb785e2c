"""The accuracy of models, as the report and the model cards give it: means over TFs, calibration, intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd

from scbind.evaluation.pooled import has_calibration, pooled_calibration
from scbind.evaluation.probabilities import LIKELY as LIMITS
from scbind.evaluation.registry import CONTROLS
from scbind.formats.evidence import MOTIF, marked
from scbind.report.tables import EVIDENCE, number


def with_interval(value: float, low: float, high: float) -> str:
    """Return a number with its interval as text: ``0.265 (0.220 to 0.310)``; without bounds, only the number."""
    return number(value) if pd.isna(low) else f"{number(value)} ({number(low)} to {number(high)})"


def intervals_as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table in which each column that has bounds (``_low``, ``_high``) is text with its interval."""
    for name in [name for name in table if f"{name}_low" in table]:
        low, high = f"{name}_low", f"{name}_high"
        said = [with_interval(*values) for values in table[[name, low, high]].to_numpy()]
        table = table.drop(columns=[low, high]).assign(**{name: said})
    return table


def motif_tested(metrics: pd.DataFrame) -> set[str]:
    """Return the TFs that a model predicts from their motif, though ``metrics`` has their ChIP-seq."""
    return set(metrics.loc[metrics[EVIDENCE] == MOTIF, "tf"]) if EVIDENCE in metrics else set()


def with_marked_tfs(table: pd.DataFrame, by_motif: set[str]) -> pd.DataFrame:
    """Return a table in which the TFs that a model predicts from their motif are marked."""
    return table.assign(tf=[marked(tf, tf in by_motif) for tf in table["tf"]])


def model_calibration(metrics: pd.DataFrame, by_motif: bool = False) -> pd.DataFrame:
    """Return the calibration of each model that predicts probabilities, over all test windows of its TFs.

    ``metrics`` is ``results/evaluation/metrics.tsv``. Columns: ``model, n_pairs``, the mean
    ``prevalence``, and those of :func:`scbind.evaluation.pooled.pooled_calibration`.
    There is no row if the table has no figures of calibration.
    Controls are left out. ``by_motif`` as of :func:`comparison`.
    """
    if not has_calibration(metrics):
        return pd.DataFrame()
    part = metrics[(metrics["split"] == "test") & metrics["ece"].notna() & ~metrics["model"].isin(CONTROLS)]
    part = part[part["tf"].isin(motif_tested(metrics)) == by_motif]
    rows = [
        {"model": model, "n_pairs": len(each), "prevalence": each["prevalence"].mean()}
        | pooled_calibration(each)
        for model, each in part.groupby("model", sort=False)
    ]
    return pd.DataFrame(rows)


def in_brackets(groups: str = "TFs") -> str:
    """Return the sentence that explains :func:`with_interval`. ``groups``: over what the intervals are."""
    return f"In brackets: 95 % confidence intervals over {groups}."


def calibration_sentences(table: pd.DataFrame, groups: str = "TFs") -> list[str]:
    """Return sentences on the likely windows and the overall bias of each model of :func:`model_calibration`.

    ``groups`` is that of :func:`in_brackets`.
    """
    said, intervals = [], False
    for row in table.to_dict("records"):
        name = next((name for name in reversed(LIMITS) if row[f"windows_{name}"] > 0), None)
        text = f"{row['model']} predicts P(bound) below {min(LIMITS.values()):g} for every window."
        if name is not None:
            bounds = row[f"observed_{name}_low"], row[f"observed_{name}_high"]
            intervals |= bool(np.isfinite(bounds[0]))
            text = (
                f"Where {row['model']} predicts P(bound) of {LIMITS[name]:g} or more "
                f"({number(round(row[f'windows_{name}']))} pairs of window and TF), the mean P(bound) is "
                f"{number(row[f'predicted_{name}'])}, and the fraction that is bound is "
                f"{with_interval(row[f'observed_{name}'], *bounds)}."
            )
        if np.isfinite(row["predicted_to_bound"]):
            bounds = row["predicted_to_bound_low"], row["predicted_to_bound_high"]
            intervals |= bool(np.isfinite(bounds[0]))
            text += (
                " Over all windows, the mean P(bound) is "
                f"{with_interval(row['predicted_to_bound'], *bounds)} times the fraction that is bound."
            )
        said.append(text)
    if intervals:
        said.append(in_brackets(groups))
    return said


def comparison(metrics: pd.DataFrame, split: str = "test", by_motif: bool = False) -> pd.DataFrame:
    """Return the mean metrics of each model over the (cell line, TF) pairs that all competitors have, best first.

    ``metrics`` is ``results/evaluation/metrics.tsv``. If one model has no AUPRC for a pair, the pair is left out for
    all models, so that the means are comparable. Controls may lack some of the remaining pairs. Their means are over
    the pairs that they have. Pairs for which a kind of holdout is not the same windows for all are left out as well.
    TFs that a model predicts from their motif (:func:`motif_tested`) are left out, or with ``by_motif`` the others.

    Columns: ``model, n_pairs, auprc, prevalence, log2_gain, auroc, recall_at_fdr10, recall_at_fdr50, ece``. If a model
    was scored on a sample of the windows, ``auprc_se`` is the mean of the standard errors. It is an upper bound for the
    standard error of the mean.
    """
    part = metrics[(metrics["split"] == split) & metrics["auprc"].notna()]
    part = part[part["tf"].isin(motif_tested(metrics)) == by_motif]
    sampled = [name for name in ("auprc_se",) if name in part and part[name].notna().any()]
    columns = [
        "auprc",
        *sampled,
        "prevalence",
        "log2_gain",
        "auroc",
        "recall_at_fdr10",
        "recall_at_fdr50",
        "ece",
    ]
    if part.empty:
        return pd.DataFrame(columns=["model", "n_pairs", *columns])
    competitors = part[~part["model"].isin(CONTROLS)]
    if split != "test" and "n_windows" in part:
        # The kinds of holdout of a model that was trained elsewhere follow from its own training. Only pairs with
        # identical windows for all competitors are compared.
        whole = competitors if "auprc_se" not in part else competitors[competitors["auprc_se"].isna()]
        differ = whole.groupby(["cell_line", "tf"])["n_windows"].nunique() > 1
        part = part[~part.set_index(["cell_line", "tf"]).index.isin(differ.index[differ])]
        competitors = part[~part["model"].isin(CONTROLS)]
    counts = competitors.groupby(["cell_line", "tf"])["model"].nunique()
    shared = counts.index[counts == competitors["model"].nunique()]
    part = part.set_index(["cell_line", "tf"]).loc[lambda frame: frame.index.isin(shared)]
    if part.empty:
        return pd.DataFrame(columns=["model", "n_pairs", *columns])
    table = part.groupby("model")[columns].mean()
    table.insert(0, "n_pairs", part.groupby("model").size())
    return table.sort_values("auprc", ascending=False, kind="stable").reset_index()
