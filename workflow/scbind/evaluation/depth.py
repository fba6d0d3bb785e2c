"""Accuracy at reduced depth, on the same windows and the same thinned tracks for every model and baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

from scbind.core.files import write_table
from scbind.core.runlog import say
from scbind.dataset.codes import BOUND
from scbind.dataset.draws import draw_windows
from scbind.dataset.splits import TEST
from scbind.dataset.trainingset import TrainingSet
from scbind.evaluation.evaluate import Scores, evidence_of, load_tested, network_scores
from scbind.evaluation.merge import DEPTH_COLUMNS
from scbind.evaluation.probabilities import CALIBRATION_COLUMNS, calibration_figures
from scbind.formats.signal import CHUNK
from scbind.formats.thinning import is_kept, make_salt


def evaluate_depth(
    weights: str | Path,
    calibration: str | Path,
    dataset: str | Path,
    reference: str | Path,
    output: str | Path,
    model: str,
    keeps: Sequence[float],
    max_windows: int,
    seed: int = 0,
    threads: int = 1,
    given: bool = False,
    case_matters: bool = False,
) -> None:
    """Evaluate a model on thinned tracks and write ``depth.tsv``.

    Columns, ``keeps``, ``max_windows`` and ``seed`` are those of :func:`score_depths`. ``weights`` and
    ``calibration`` are the files of the model, ``dataset`` and ``reference`` the folders of the training set and of the
    prepared genome. ``model`` is the name in the table; ``given`` and ``case_matters`` are those of
    :func:`scbind.evaluation.evaluate.evaluate_model`. Raises :class:`InputError` if the model does not fit the dataset
    (:func:`scbind.evaluation.evaluate.load_tested`).
    """
    import torch

    torch.set_num_threads(max(1, threads))
    data = TrainingSet.open(dataset, reference, case_matters=case_matters)
    predictor = load_tested(data, weights, calibration, given)
    table = score_depths(data, {model: network_scores(predictor)}, keeps, max_windows, seed)
    table["evidence"] = table["tf"].map(evidence_of(data, predictor))
    write_table(output, table)


def score_depths(
    data: TrainingSet,
    predictors: Mapping[str, Scores],
    keeps: Sequence[float],
    max_windows: int,
    seed: int,
    probabilities: Sequence[str] | None = None,
) -> pd.DataFrame:
    """AUPRC and calibration of predictors on test windows when only a share of the fragments is kept.

    Parameters
    ----------
    predictors
        Name -> function (data, line, windows) -> scores, float32 (windows, TFs of the dataset), NaN for TFs that the
        predictor does not cover. The function gets the thinned track and its depth as ``data``.
    keeps
        Shares of fragments, in (0, 1]. Full depth is always added.
    max_windows
        Maximum number of test windows per line; see :func:`scbind.dataset.draws.draw_windows`.
    seed
        Random seed of sampling and thinning. Neither depends on the predictor, so separate calls are comparable.
    probabilities
        Names of the predictors whose scores are probabilities. Only these get figures of calibration. Default: all.

    Returns
    -------
    DataFrame
        ``model, cell_line, tf, evidence`` (empty: the caller knows it), ``keep, depth`` (insertions per base, after
        thinning), ``n_windows, n_bound`` (numbers of sampled windows with a known label), ``prevalence, auprc`` and
        :data:`scbind.evaluation.probabilities.CALIBRATION_COLUMNS` (estimates for all test windows). ``auprc`` is NaN
        without a bound or without an unbound window. Lines without test windows or without an assayed TF are left out.
    """
    rows = []
    for line, name in enumerate(data.lines):
        assayed = np.flatnonzero(data.manifest["assayed"][line])
        _, window, weight = draw_windows(data, TEST, max_windows, seed, [line])
        if not len(window) or not len(assayed):
            continue
        labels = data.labels[line, window]
        for keep in sorted({1.0, *keeps}, reverse=True):
            track = thin(data, line, keep, seed)
            depth = float(np.average(track.window_depth(line, window), weights=weight))
            say(f"{name}: {len(window):,} test windows, {keep:g} of the fragments")
            for model, predict in predictors.items():
                scores = predict(track, line, window)
                is_probability = probabilities is None or model in probabilities
                for column in assayed:
                    known = labels[:, column] >= 0
                    if np.isnan(scores[:, column]).any():
                        continue
                    found = _weighted(
                        labels[known, column] == BOUND, scores[known, column], weight[known], is_probability
                    )
                    where = {"model": model, "cell_line": name, "tf": data.tfs[column]}
                    rows.append(where | {"keep": keep, "depth": depth} | found)
    return pd.DataFrame(rows, columns=DEPTH_COLUMNS)


def _weighted(truth: np.ndarray, score: np.ndarray, weight: np.ndarray, is_probability: bool) -> dict:
    """Metrics of one TF; ``weight`` (windows,) is the number of windows that each one represents."""
    some = truth.any() and not truth.all()
    found = {
        "n_windows": len(truth),
        "n_bound": int(truth.sum()),
        "prevalence": (weight * truth).sum() / weight.sum() if len(truth) else np.nan,
        "auprc": average_precision_score(truth, score, sample_weight=weight) if some else np.nan,
    }
    if not is_probability:
        return found | dict.fromkeys(CALIBRATION_COLUMNS, np.nan)
    return found | calibration_figures(truth, score, weight)


def thin(data: TrainingSet, line: int, keep: float, seed: int) -> TrainingSet:
    """Thin one line of a dataset: keep each fragment with probability ``keep`` and multiply the depth by ``keep``.

    :mod:`scbind.formats.thinning` decides which fragments are kept. The fragments kept at a small share are a subset of
    those kept at a larger one, and counts agree for all window and bin widths. The insertions that are kept are held in
    memory.
    """
    if keep >= 1:
        return data
    salt = make_salt(seed, line, 1)
    insertions, fragments, depth = list(data.insertions), list(data.fragments), data.depth.copy()
    kept = [np.empty((2, 0), dtype=np.uint32)]
    for begin in range(0, len(insertions[line]), CHUNK):
        part = np.stack([each[line][begin : begin + CHUNK] for each in (insertions, fragments)])
        kept.append(part[:, is_kept(part[1], keep, salt)])
    insertions[line], fragments[line] = np.concatenate(kept, axis=1)
    depth[line] *= keep
    return replace(data, insertions=insertions, fragments=fragments, depth=depth)
