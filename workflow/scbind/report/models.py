"""Sections of the report about models: evaluation and training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from scbind.dataset.splits import UNKNOWN
from scbind.evaluation.pooled import has_calibration
from scbind.evaluation.probabilities import CALIBRATION_COLUMNS
from scbind.evaluation.registry import COMPARATORS, MAXATAC, OTHER_LINES
from scbind.formats.celltable import without_empty
from scbind.formats.evidence import DESCRIBED
from scbind.report import modelplots
from scbind.report.accuracy import (
    calibration_sentences,
    comparison,
    in_brackets,
    intervals_as_text,
    model_calibration,
    motif_tested,
    with_marked_tfs,
)
from scbind.report.choice import PANELS, ROWS, in_order, spaced
from scbind.report.depth import add_depths
from scbind.report.read import Inputs
from scbind.report.tables import (
    EVIDENCE,
    MARKS,
    MEANINGS,
    MOST_NAMES,
    Section,
    html_table,
    join_names,
    number,
)

# Kind of holdout -> what its windows are.
SPLITS = {
    "test": "all test windows", "chromosome": "new chromosomes, known lines",
    "cell_line": "new cell lines, known chromosomes", "both": "new cell lines and new chromosomes",
    "unknown": "trained on another assembly, so the model may have seen some of these windows",
    "pair": "known lines and known chromosomes, but new combinations",
    "maxatac_protocol": "chr1 of new cell lines (as published for maxATAC)",
    "scfan_protocol": "windows that any TF binds and an equal number of others (scFAN; easier than all windows)",
}  # fmt: skip

FILE = "All rows: results/evaluation/metrics.tsv."


def evaluation(inputs: Inputs) -> Section | None:
    """Return the section that compares models and baselines on held-out windows. None without metrics and curves."""
    metrics = inputs.tables.get("metrics")
    if metrics is None and not inputs.curves:
        return None
    section = Section("evaluation", "In bulk cell lines: accuracy of the models")
    section.text = [
        f"{_held_out(metrics)} Sites are rare, so read AUPRC instead of AUROC. "
        "Compare it with the prevalence, which is the AUPRC of random guessing.",
    ]
    if origin := inputs.origin or inputs.extended:
        section.text = origin.sentences(inputs.tested) + section.text
    if metrics is not None:
        _compared(inputs, metrics, section)
        _auprc_per_tf(inputs, metrics, section)
    if inputs.curves:
        _curves(inputs, section, motif_tested(metrics) if metrics is not None else set())
    add_depths(inputs, section)
    if metrics is not None:
        _every_tf(inputs, metrics, section)
    return section


def _held_out(metrics: pd.DataFrame | None) -> str:
    """Return a sentence on which windows were held out of training."""
    if metrics is None or UNKNOWN not in set(metrics["split"]):
        return "All numbers are for windows that were held out of training."
    unknown = join_names(metrics.loc[metrics["split"] == UNKNOWN, "model"].unique())
    return (
        f"The numbers are for windows that were held out of training, except those of {unknown}. It was "
        f"trained on another assembly, so it may have seen some of these windows, and its numbers may be too high."
    )


def _compared(inputs: Inputs, metrics: pd.DataFrame, section: Section) -> None:
    """Add to a section the tables that compare models and baselines, one per kind of holdout, and what they mean."""
    named: set[str] = set()
    drawn: dict[str, None] = {}  # models that were scored on a sample, in their order
    for split in sorted(metrics["split"].drop_duplicates(), key=lambda name: (name != "test", name)):
        table = comparison(metrics, split)
        if len(table):
            named |= set(table["model"])
            if "auprc_se" in table:
                drawn |= dict.fromkeys(table.loc[table["auprc_se"].notna(), "model"])
            title = f"Models and baselines: {SPLITS.get(split, split)}"
            section.tables.append(html_table(title, without_empty(table, kept="auprc")))
    section.text.append(
        "The tables give means over the pairs of cell line and TF on which every model was scored. Controls, such as "
        "ChIP-seq of other lines, may lack some of these pairs (column pairs). log2 gain is "
        f"the log2 of AUPRC divided by prevalence. {_meaning(named)}".strip()
    )
    epochs = {name: len(history) for name, history in inputs.training.items() if name in named}
    if len(set(epochs.values())) > 1:
        longest = max(epochs.values())
        short = [f"{name} ({n})" for name, n in epochs.items() if n < longest]
        section.text.append(
            f"Not all models were trained equally long: {join_names(short)} for fewer epochs than the longest training "
            f"({longest}). A longer training may improve them."
        )
    if drawn:
        section.text.append(
            f"{join_names(drawn)}: scored on a sample of the test windows. The standard error comes from this sampling."
        )
    if "ece" in metrics and metrics["ece"].notna().any():
        section.text.append(MEANINGS["ece"])
    _by_motif(metrics, section)
    _calibration(metrics, section)
    section.text += _unknown(metrics) + _beside_published(metrics, inputs.models)


def _by_motif(metrics: pd.DataFrame, section: Section) -> None:
    """Add to a section how accurate a given model is for the TFs that it predicts from their motif."""
    named = motif_tested(metrics)
    table = comparison(metrics, by_motif=True)
    if not named:
        return
    section.text.append(
        f"Evidence motif: the given model predicts {join_names(sorted(named), MOST_NAMES)} from the motif, because its "
        "training had no ChIP-seq of them. This run has, so they are tested, in tables of their own: the means of the "
        "other tables do not include them."
    )
    if len(table):
        title = "Models and baselines: TFs that a model predicts from their motif"
        section.tables.append(html_table(title, without_empty(table, kept="auprc")))


def _calibration(metrics: pd.DataFrame, section: Section) -> None:
    """Add to a section how far the probabilities of the models agree with the fraction of windows that is bound."""
    titles = "Calibration", "Calibration, TFs predicted from their motif"
    for by_motif, title in zip((False, True), titles, strict=True):
        table = model_calibration(metrics, by_motif)
        if len(table):
            section.text += [said for said in calibration_sentences(table) if said not in section.text]
            note = f"All test windows, all pairs of cell line and TF. {in_brackets()}"
            section.tables.append(html_table(title, intervals_as_text(table), note))
    if has_calibration(metrics):
        section.text += [MEANINGS["predicted_to_bound"], MEANINGS["observed_p30"]]


def _auprc_per_tf(inputs: Inputs, metrics: pd.DataFrame, section: Section) -> None:
    """Add to a section the figure of the AUPRC of each TF."""
    test = metrics[(metrics["split"] == "test") & metrics["auprc"].notna()]
    if test.empty:
        return
    chosen, said = spaced(in_order(test, inputs.models, "auprc"), ROWS, "AUPRC")
    by_motif = motif_tested(metrics)
    test = with_marked_tfs(test[test["tf"].isin(chosen)], by_motif)
    figure = modelplots.auprc_dots(
        test, inputs.models, "AUPRC per TF, held-out windows", inputs.model_colours
    )
    caption = (
        "Mean over cell lines. Filled points: trained models. Hollow points: baselines. Ticks: prevalence. "
        "permuted_labels is not shown because it is close to the prevalence." + said
    )
    section.figures.append(inputs.draw("auprc", figure, caption))


def _curves(inputs: Inputs, section: Section, by_motif: set[str]) -> None:
    """Add to a section the precision-recall curves, and the calibration curves of the trained models.

    ``by_motif``: TFs that a model predicts from their motif; they are marked.
    """
    order = in_order(_precisions(inputs.curves), inputs.models, "precision")
    chosen, said = spaced(order, PANELS, "mean precision")
    figure = modelplots.precision_recall(inputs.curves, inputs.model_colours, chosen, by_motif)
    caption = (
        "Precision against recall of each TF, over all held-out windows of all cell lines. Dashed lines: controls, "
        "which do not compete with the models." + said
    )
    section.figures.append(inputs.draw("precision_recall", figure, caption))
    ours = {
        name: curve for name, curve in inputs.curves.items() if name in inputs.models or not inputs.models
    }
    if ours:
        caption = (
            "Fraction of windows that are bound, against the predicted probability. On the diagonal, the "
            "probabilities are calibrated. Larger points represent more windows. The first point holds nearly all "
            "windows and dominates the calibration error; the others show how far to trust the probability of a site."
        )
        if by_motif:
            caption += " TFs that a model predicts from their motif are not in its curve."
        figure = modelplots.calibration_curves(ours, inputs.model_colours)
        section.figures.append(inputs.draw("calibration", figure, caption))


def _every_tf(inputs: Inputs, metrics: pd.DataFrame, section: Section) -> None:
    """Add to a section the tables of every TF: of the leading model, and the scores of all models and baselines."""
    name = next((m for m in inputs.models if m in set(metrics["model"])), None)
    every = metrics[metrics["split"] == "test"]
    every = every[every["model"] == name].drop(columns=["model", "split"]) if name else every.copy()
    whose = f" ({name})" if name else ""
    own = [column for column in CALIBRATION_COLUMNS if column in every]
    marks = _marks(inputs)
    marks = marks.drop(columns=marks.columns.intersection(every.columns))
    accuracy = every.drop(columns=own[1:]).merge(marks, left_on="tf", right_index=True, how="left")
    section.tables.append(html_table(f"Every TF{whose}", without_empty(accuracy, kept="auprc"), FILE))
    if has_calibration(every):
        kept = [column for column in ("tf", EVIDENCE, "cell_line", "prevalence", *own) if column in every]
        rates = every.loc[every["ece"].notna(), kept]
        section.tables.append(html_table(f"Calibration of every TF{whose}", rates, FILE))
    scores = metrics[(metrics["split"] == "test") & metrics["auprc"].notna()]
    keys = ["tf", "model", EVIDENCE] if motif_tested(scores) else ["tf", "model"]
    scores = scores.groupby(keys, dropna=False)[["auprc", "prevalence"]].mean().reset_index()
    scores = scores.sort_values(["tf", "auprc"], ascending=[True, False], kind="stable")
    note = "Means over the cell lines, all test windows."
    section.tables.append(html_table("Every TF, all models and baselines", scores, note, "scores"))


def _unknown(metrics: pd.DataFrame) -> list[str]:
    """Return sentences on what cannot be evaluated with these training data."""
    test = metrics[metrics["split"] == "test"]
    unbound = sorted(set(test.loc[test["n_bound"] == 0, "tf"]) - set(test.loc[test["n_bound"] > 0, "tf"]))
    said = []
    if unbound:
        said.append(
            f"No held-out window is bound by {join_names(unbound, MOST_NAMES)}, so their AUPRC is unknown (–)."
        )
    if len(test) and OTHER_LINES not in set(test["model"]):
        said.append(f"{OTHER_LINES} has no value, because no TF was assayed in two cell lines.")
    return said


def _beside_published(metrics: pd.DataFrame, models: list[str]) -> list[str]:
    """Compare the mean AUPRC of each model with the published one, over the pairs that have both."""
    columns = ["cell_line", "tf", "split"]
    published = metrics[metrics["model"] == MAXATAC].set_index(columns)["auprc"]
    said = []
    for model in models:
        ours = metrics[metrics["model"] == model].set_index(columns)["auprc"]
        both = pd.concat([ours, published], axis=1, join="inner", keys=["ours", "published"]).dropna()
        if len(both):
            mean = both.mean()
            said.append(
                f"Pairs of cell line and TF with a published value: {len(both)}. Their mean AUPRC is "
                f"{number(mean['ours'])} for {model} and {number(mean['published'])} for {MAXATAC}."
            )
    return said


def _marks(inputs: Inputs) -> pd.DataFrame:
    """Reliability of each TF from the activity files. Columns that these lack are left out."""
    marks = inputs.data.var.rename(columns=lambda name: name if name in DESCRIBED else f"reliability_{name}")
    return marks[[name for name in MARKS if name in marks]]


def _precisions(curves: Mapping[str, Mapping[str, np.ndarray]]) -> pd.DataFrame:
    """Return the mean precision over the curve, which is about the AUPRC: ``model, tf, precision``."""
    found = [
        pd.DataFrame(
            {"model": name, "tf": curve["tfs"].astype(str), "precision": curve["precision"].mean(axis=1)}
        )
        for name, curve in curves.items()
    ]
    return pd.concat(found, ignore_index=True)


def _meaning(shown: set[str]) -> str:
    """Sentences that explain the baselines and controls in ``shown``."""
    return " ".join(f"{name} {each.sentence}." for name, each in COMPARATORS.items() if name in shown)


def training(inputs: Inputs) -> Section | None:
    """Return the section with loss and validation AUPRC per epoch. None without training histories."""
    if not inputs.training:
        return None
    section = Section("training", "Training")
    caption = (
        "Training loss (dashed), validation loss (solid) and mean AUPRC on validation windows, per epoch."
    )
    section.figures = [
        inputs.draw("training", modelplots.training_curves(inputs.training, inputs.model_colours), caption)
    ]
    return section
