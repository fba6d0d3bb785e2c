"""Every model and baseline on the same held-out windows, with the same figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from scbind.calibration import predict_pairs
from scbind.dataset import TrainingSet
from scbind.errors import InputError
from scbind.files import atomic, require, write_table
from scbind.labels import AMBIGUOUS, BOUND
from scbind.metrics import calibration_error, pooled_reliability, precision_on_grid, ranking_metrics
from scbind.models import load_predictor
from scbind.models.predictor import Predictor
from scbind.runlog import say
from scbind.splits import PROTOCOL, TEST, kind_of_holdout

COLUMNS = [
    "model",
    "cell_line",
    "tf",
    "split",
    "n_windows",
    "n_bound",
    "prevalence",
    "auroc",
    "auprc",
    "log2_gain",
    "recall_at_fdr10",
    "recall_at_fdr50",
    "ece",
]
RECALL_GRID = np.linspace(0, 1, 101)


def evaluate_model(
    checkpoint: str | Path,
    calibration: str | Path,
    dataset: str | Path,
    reference: str | Path,
    metrics: str | Path,
    curves: str | Path,
    model: str,
    threads: int = 1,
) -> None:
    """Score a model on every test window of every assayed line; write ``metrics.tsv`` and ``curves.npz``."""
    torch.set_num_threads(max(1, threads))
    data = TrainingSet.open(dataset, reference)
    predictor = load_predictor(checkpoint, calibration, genome=data.genome)
    data.check_model(predictor.facts, checkpoint)

    table, drawn = score_test_windows(data, partial(network_scores(predictor), data), model)
    write_table(metrics, table)
    write_curves(drawn, curves)


def network_scores(predictor: Predictor) -> Callable[[TrainingSet, int, np.ndarray], np.ndarray]:
    """A function (data, line, windows) -> probabilities float32 (windows, TFs), NaN for TFs that are not modelled."""

    def scores_of(data: TrainingSet, line: int, window: np.ndarray) -> np.ndarray:
        logits, depth, _ = predict_pairs(predictor, data, np.full(len(window), line), window)
        scores = np.full((len(window), len(data.tfs)), np.nan, dtype=np.float32)
        scores[:, predictor.columns] = predictor.calibrated(logits[0], depth[0])
        return scores

    return scores_of


def score_test_windows(data: TrainingSet, predict, model: str) -> tuple[pd.DataFrame, dict]:
    """Figures of one predictor for each line, TF and kind of holdout.

    ``predict(line, windows)`` returns scores float32 (windows, TFs of the dataset), NaN for TFs it does not cover;
    scores within [0, 1] throughout are taken as probabilities and get a calibration error. ``split`` is ``test``
    for all test windows of a line, the kinds of :func:`scbind.splits.kind_of_holdout` for its parts, and ``PROTOCOL``
    for the windows of :func:`protocol_windows`. There bound windows are made common, so no probability can be right,
    and no calibration error is given.
    """
    splits = np.asarray(data.splits)
    rows, pooled = [], {}
    for line, name in enumerate(data.lines):
        window = np.flatnonzero(splits[line] == TEST)
        assayed = np.flatnonzero(data.manifest["assayed"][line])
        if not len(window) or not len(assayed):
            continue
        say(f"{model}: {len(window):,} test windows of {name}")
        scores = predict(line, window)
        labels = np.asarray(data.labels[line, window])
        kinds = kind_of_holdout(splits, line, window)
        parts = {kind: kinds == kind for kind in np.unique(kinds).tolist()}
        parts = {"test": np.ones(len(window), dtype=bool)} | parts
        parts[PROTOCOL] = protocol_windows(data, line, window, labels)
        for column in assayed:
            score, tf = scores[:, column], data.tfs[column]
            if np.isnan(score).any():
                continue
            known = labels[:, column] >= 0
            for split, part in parts.items():
                if not part.any():
                    continue
                truth = labels[known & part, column] == BOUND
                found = ranking_metrics(truth, score[known & part])
                is_probability = score.min() >= 0 and score.max() <= 1 and split != PROTOCOL
                found["ece"] = calibration_error(truth, score[known & part]) if is_probability else np.nan
                rows.append({"model": model, "cell_line": name, "tf": tf, "split": split} | found)
            pooled.setdefault(tf, []).append((labels[known, column] == BOUND, score[known]))
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table, {tf: tuple(map(np.concatenate, zip(*parts, strict=True))) for tf, parts in pooled.items()}


def protocol_windows(
    data: TrainingSet, line: int, window: np.ndarray, labels: np.ndarray, seed: int = 0
) -> np.ndarray:
    """Test windows as the published evaluation of scFAN takes them, easier than a genome: bool (windows,).

    Every window that any TF binds, and as many others drawn from those without a peak (bound or ambiguous) within a
    window's width. After ``make_features_multiTask`` and ``load_chip_multiTask`` of scFAN's ``utils.py`` (Fu et
    al. 2020), but on the grid of the dataset, and without drawing a window twice. ``window`` is sorted int64,
    ``labels`` int8 (windows, TFs) are those of the line.
    """
    bound = (labels == BOUND).any(axis=1)
    place = data.genome.sizes.offsets[data.chrom[window]] + data.start[window].astype(np.int64)
    peaks = place[bound | (labels == AMBIGUOUS).any(axis=1)]
    if not len(peaks):
        return bound
    after = np.searchsorted(peaks, place)
    gap = np.minimum(
        np.abs(place - peaks[np.maximum(after - 1, 0)]),
        np.abs(peaks[np.minimum(after, len(peaks) - 1)] - place),
    )
    far = np.flatnonzero(gap > 2 * data.manifest["window"])  # of starts: as much as a window between them
    chosen = bound.copy()
    rng = np.random.default_rng([seed, line])
    chosen[rng.choice(far, min(len(far), int(bound.sum())), replace=False)] = True
    return chosen


def write_curves(drawn: dict[str, tuple[np.ndarray, np.ndarray]], output: str | Path) -> None:
    """Precision on a grid of recalls per TF, and the reliability of all TFs pooled.

    Keys: ``tfs``, ``recall`` (101,), ``precision`` (TFs, 101), ``prevalence`` (TFs,), ``reliability_predicted``,
    ``reliability_observed``, ``reliability_count`` (10,).
    """
    tfs = sorted(drawn)
    parts = ((drawn[tf][0], np.clip(drawn[tf][1], 0, 1), None) for tf in tfs)
    predicted, observed, count = pooled_reliability(parts)
    with atomic(output) as scratch, open(scratch, "wb") as handle:
        np.savez(
            handle,
            tfs=np.array(tfs),
            recall=RECALL_GRID,
            precision=np.stack([precision_on_grid(*drawn[tf], RECALL_GRID) for tf in tfs]),
            prevalence=np.array([drawn[tf][0].mean() for tf in tfs]),
            reliability_predicted=predicted,
            reliability_observed=observed,
            reliability_count=count,
        )


def stack_tables(tables: Sequence[str | Path], columns: list[str]) -> pd.DataFrame:
    """Tables of models and baselines under each other; refuses one with other columns. Only empty fields are NaN."""
    parts = []
    for table in tables:
        path = require(table, "run the evaluation first")
        part = pd.read_csv(path, sep="\t", keep_default_na=False, na_values=[""])
        if list(part.columns) != columns:
            raise InputError(table, f"columns {list(part.columns)}", f"expected {columns}", "line 1")
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def merge_metrics(tables: Sequence[str | Path], output: str | Path) -> None:
    """Put the metrics of models and baselines under each other; see :func:`stack_tables`."""
    merged = stack_tables(tables, COLUMNS)
    write_table(output, merged)
    whole = merged[merged["split"] == "test"]
    for model, mean in whole.groupby("model", sort=False)[["auprc", "prevalence"]].mean().iterrows():
        say(f"{model}: mean AUPRC {mean['auprc']:.4f} at a mean prevalence of {mean['prevalence']:.4f}")
