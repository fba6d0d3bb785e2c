"""The model card: what a model is, its training data, its accuracy, and uses for which it is not intended.

It follows Mitchell et al. 2019, "Model Cards for Model Reporting" (FAT*), sections 4.1 to 4.9.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from scbind.core.errors import InputError
from scbind.core.files import AGAIN, atomic, read_json, read_result
from scbind.core.runlog import say
from scbind.dataset.codes import FEW_BOUND
from scbind.dataset.seen import trained_lines, with_extended
from scbind.discovery.nearest import SIMILAR
from scbind.evaluation.leftouttable import left_out_means
from scbind.evaluation.pooled import has_calibration, pooled_calibration
from scbind.evaluation.probabilities import CALIBRATION_COLUMNS, LIKELY
from scbind.evaluation.registry import COMPARATORS, CONTROLS
from scbind.formats.evidence import MOTIF, names_of_extended
from scbind.models.abstention import reliability_table
from scbind.report.accuracy import calibration_sentences, model_calibration, with_interval
from scbind.report.accuracy import comparison as comparison_of
from scbind.report.tables import number

TEMPLATES = Path(__file__).with_name("templates")
SURE = ["level", "abstained", "min_depth", "spread"]  # reliability of a TF on the card
FIGURES = ["prevalence", "auprc", "log2_gain", "auroc", "recall_at_fdr10", "recall_at_fdr50", "ece"]
NEEDED = ("architecture", "version", "genome", "window", "context", "tfs", "cell_lines")
COLUMNS = {"model", "cell_line", "tf", "split", *FIGURES, *CALIBRATION_COLUMNS}


def write_card(
    weights: Mapping | str | Path,
    calibration: Mapping | str | Path,
    metrics: str | Path,
    output: str | Path,
    training: Mapping | None = None,
    comparison: str | Path | None = None,
    left_out: str | Path | None = None,
    found: str | Path | None = None,
    learned: str | Path | None = None,
    start: str = "starts_known",
) -> None:
    """Write ``results/models/{model}/card.md``.

    Parameters
    ----------
    weights
        ``model.safetensors``, or the facts from it: a mapping or a ``.json`` file.
    calibration
        ``calibration.json``, or its content as a mapping.
    metrics
        ``metrics.tsv`` of this model alone. It gives the name of the model.
    output
        Markdown file to write.
    training
        Optional settings of the training: name to value, or to a mapping of further settings.
    comparison
        Optional table like ``metrics``, of this model and of what it is compared with.
    left_out
        Optional table of TFs that were left out of a training (:mod:`scbind.evaluation.leftouttable`).
    found, learned
        Optional tables of the motifs that were found in the data (:func:`scbind.discovery.find.find_motifs`) and of
        those that the model has learned (:func:`scbind.discovery.learned.describe_learned`).
    start
        Column of ``found`` that tells from which motif the training of this model started.

    Raises
    ------
    InputError
        A file is missing or damaged, a fact is missing, or ``metrics`` does not hold exactly one model.
    """
    facts = _facts(weights)
    fitted = calibration if isinstance(calibration, Mapping) else read_json(calibration, AGAIN)
    table = read_result(metrics, AGAIN)
    if missing := sorted(COLUMNS - set(table.columns)):
        raise InputError(metrics, f"has no column {missing[0]}", "evaluate the model again")
    names = table["model"].unique()
    if len(names) != 1:
        raise InputError(
            metrics, f"holds {len(names)} models, but one is expected", "give the metrics of one model"
        )
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not HTML
    )
    test = table[table["split"] == "test"]
    known = fitted.get("reliability", {})
    by_motif = {tf: entry for tf, entry in known.items() if (entry or {}).get("evidence") == MOTIF}
    calibrated = model_calibration(table)
    text = environment.get_template("card.md.j2").render(
        name=names[0],
        facts=facts,
        tfs=_modelled(facts),
        unmodelled=sorted(set(facts["tfs"]) - set(_modelled(facts))),
        lines=_training_lines(facts),
        extended=[
            {
                "name": each["name"],
                "tfs": len(each["tfs"]),
                "lines": ", ".join(trained_lines(each)),
                "genome": each["genome"],
            }
            for each in with_extended(facts)[1:]
        ],
        splits=json.dumps(facts.get("splits", {}), indent=1, sort_keys=True),
        overall=_means(table),
        calibrated=calibrated.to_dict("records"),
        calibration=calibration_sentences(calibrated),
        each=_per_factor(test, known),
        levels=_levels({tf: entry for tf, entry in known.items() if tf not in by_motif}),
        by_motif=by_motif,
        few_bound=FEW_BOUND,
        added=fitted.get("motif_tfs", {}).get("reliability"),
        training=_flat(training or {}),
        compared=_beside(comparison, names[0]) if comparison else [],
        controls=CONTROLS,
        left_out=_left_out(left_out, names[0]) if left_out else [],
        motifs=_motifs(found, learned, start, facts) if found and learned else [],
        at_depth=_at_depth(known),
        abstained=sorted(
            tf for tf, entry in known.items() if tf not in by_motif and (entry or {}).get("abstained", True)
        ),
        number=number,
        interval=_interval,
        limits=LIKELY,
        similar=SIMILAR,
    )
    with atomic(output) as path:
        path.write_text(text, encoding="utf-8")
    say(f"the card has {len(text.splitlines())} lines")


def _interval(row: Mapping, name: str) -> str:
    return with_interval(row[name], row[f"{name}_low"], row[f"{name}_high"])


def _facts(weights: Mapping | str | Path) -> Mapping:
    if isinstance(weights, Mapping):
        facts, where = weights, "facts"
    elif Path(weights).suffix == ".json":
        facts, where = read_json(weights, AGAIN), weights
    else:
        from scbind.models.modelfile import read_model  # imports torch, so only if needed

        facts, where = read_model(weights)["facts"], weights
    if missing := [key for key in NEEDED if key not in facts]:
        raise InputError(where, f"has no {', '.join(missing)}", "train the model again")
    return facts


def _modelled(facts: Mapping) -> list[str]:
    """TFs for which the model has an output. If the facts do not list them, all TFs."""
    kept = facts.get("modelled", [True] * len(facts["tfs"]))
    return [tf for tf, has_output in zip(facts["tfs"], kept, strict=True) if has_output]


def _training_lines(facts: Mapping) -> list[tuple[str, str, str]]:
    """Each cell line with its number of TFs in training, and its mean depth over chromosomes that its track covers."""
    lines = facts["cell_lines"]
    depths = facts.get("depth", {})
    assayed = np.asarray(facts.get("assayed", [[]] * len(lines)), dtype=bool)
    rows = []
    for name, trained in zip(lines, assayed, strict=True):
        depth = [d for d in depths.get(name, {}).values() if d > 0]  # 0: not covered by the track
        none = "none here" if "extends" in facts else "none: held out"
        count = str(trained.sum()) if trained.any() else none if trained.size else "-"
        rows.append((name, count, number(np.mean(depth)) if depth else "-"))
    return rows


def _means(table: pd.DataFrame) -> list[dict]:
    """Mean metrics over pairs of cell line and TF, one row per split, ``test`` first."""
    rows = [
        {"split": split, "n": len(part), **part[FIGURES].mean().to_dict()}
        for split, part in table[table["auprc"].notna()].groupby("split")
    ]
    return sorted(rows, key=lambda row: (row["split"] != "test", row["split"]))


def _beside(path: str | Path, name: str) -> list[dict]:
    """Mean metrics of this model and of baselines and controls on the same pairs, best AUPRC first."""
    table = read_result(path, AGAIN)
    return comparison_of(table[table["model"].isin([name, *COMPARATORS])]).to_dict("records")


def _left_out(path: str | Path, name: str) -> list[dict]:
    """Mean metrics of TFs that were left out of the training of this model, one row per split."""
    means = left_out_means(read_result(path, AGAIN))
    return means[means["model"] == name].to_dict("records")


def _motifs(found: str | Path, learned: str | Path, start: str, facts: Mapping) -> list[dict]:
    """The motif from which each TF started and the learned one, each with its nearest known motif; sorted by TF.

    A TF of a model that is extended keeps the matrix that it has there.
    """
    first = read_result(found, AGAIN)
    first = first[~first["tf"].isin(names_of_extended(facts).values())]
    rows = first[first[start] == 1].merge(
        read_result(learned, AGAIN), on="tf", how="left", suffixes=("", "_learned")
    )
    return rows.astype(object).where(rows.notna(), "").sort_values("tf").to_dict("records")


def _per_factor(test: pd.DataFrame, reliability: Mapping) -> list[dict]:
    """Mean metrics of each TF over cell lines, with its reliability, highest AUPRC first."""
    means = test.groupby("tf")[FIGURES].mean()
    if has_calibration(test):
        likely = pd.DataFrame([{"tf": tf} | pooled_calibration(part) for tf, part in test.groupby("tf")])
        means = means.join(likely.set_index("tf").drop(columns=FIGURES, errors="ignore"))
    known = reliability_table(reliability, list(means.index)).reindex(columns=SURE)
    means[SURE] = known.to_numpy(dtype=object)
    means = means.sort_values("auprc", ascending=False, kind="stable", na_position="last")
    return means.reset_index().to_dict("records")


def _flat(settings: Mapping, name: str = "") -> list[tuple[str, str]]:
    """Dotted names and values of nested settings, as text, in the given order. None becomes "empty"."""
    rows = []
    for key, value in settings.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{name}{key}.")
        else:
            rows.append((f"{name}{key}", "empty" if value is None else str(value)))
    return rows


def _at_depth(reliability: Mapping) -> dict:
    """AUPRC of each TF at the depths of the calibration, highest depth first.

    ``depths`` are insertions per base, as geometric means over TFs. ``mean`` is the mean AUPRC over the TFs that have
    one at this depth. ``tfs`` lists each TF with its AUPRC. All are empty if the calibration holds no AUPRC by depth.
    """
    points = {tf: entry["auprc_at"] for tf, entry in reliability.items() if (entry or {}).get("auprc_at")}
    if not points:
        return {"depths": [], "mean": [], "tfs": []}
    log_depth, auprc = np.moveaxis(
        np.array(list(points.values()), dtype=np.float64), 2, 0
    )  # None becomes NaN
    means = [pd.DataFrame(values).mean() for values in (log_depth, auprc)]
    return {
        "depths": [10**value for value in means[0]],
        "mean": means[1].tolist(),
        "tfs": sorted(zip(points, auprc.tolist(), strict=True)),
    }


def _levels(reliability: Mapping) -> list[tuple[str, list[str]]]:
    """TFs of each level of reliability, best level first."""
    order = ("high", "medium", "low", "unknown")
    found = {tf: (entry or {}).get("level") for tf, entry in reliability.items()}
    return [(level, named) for level in order if (named := sorted(tf for tf in found if found[tf] == level))]
