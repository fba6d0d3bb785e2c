"""Baselines on the same windows as the models: accessibility, motifs, boosted trees and ChIP-seq of other lines."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from scbind.core.files import write_table
from scbind.dataset.codes import AMBIGUOUS, BOUND, UNBOUND
from scbind.dataset.trainingset import TrainingSet
from scbind.evaluation.depth import score_depths
from scbind.evaluation.evaluate import Scores, kinds_beside_given, score_test_windows, write_curves
from scbind.evaluation.probabilities import CALIBRATION_COLUMNS
from scbind.evaluation.registry import PROBABILITIES
from scbind.evaluation.testscores import sample_test
from scbind.evaluation.trees import Features, fit_trees, signal_table
from scbind.formats.motifs import read_motifs


def evaluate_baselines(
    dataset: str | Path,
    reference: str | Path,
    motifs: str | Path,
    metrics: str | Path,
    depth: str | Path,
    curves: dict[str, str | Path],
    keeps: Sequence[float],
    max_windows: int,
    depth_seed: int,
    max_train: int = 60_000,
    seed: int = 1,
    threads: int = 1,
    test_windows: int | None = None,
    given: Sequence[str | Path] = (),
) -> None:
    """Score the baselines on the test split, and on thinned tracks.

    * ``accessibility``: log(1 + insertions in the window / insertions expected from the depth of the track).
    * ``motif_x_accessibility``: ``accessibility`` times the best JASPAR match near the window (bits; 0 if negative). A
      TF without a matrix gets ``accessibility`` alone.
    * ``boosted_trees``: small monotone gradient-boosted trees per TF. The features are insertions at four widths and
      the best match in and near the window. The trees are fitted on training windows of all lines in which the TF was
      assayed: at most ``max_train`` per line, at most half of them bound (:func:`scbind.evaluation.trees.fit_trees`).
    * ``other_lines_chip``: mean label of the TF at the same window in the other lines in which it was assayed. It uses
      ChIP-seq of the test windows, which no network sees. It shows how much cell-type-invariant binding alone
      explains. A TF that was assayed in no other line is left out.
    * ``permuted_labels``: trees fitted to labels permuted among the training windows of each line. A mean AUROC well
      above 0.5 comes from the protocol, not from the labels.

    Parameters
    ----------
    dataset, reference
        Folders of the training set and of the prepared genome.
    motifs
        ``motifs.npz`` with the motif matrices.
    metrics, depth
        Outputs: tables with columns :data:`scbind.evaluation.merge.METRIC_COLUMNS` and
        :data:`scbind.evaluation.merge.DEPTH_COLUMNS`.
    curves
        Outputs: baseline -> its ``curves.npz``.
    keeps
        Shares of the fragments for ``depth``. Trees are fitted at full depth only.
    max_windows, depth_seed
        Sampling of the test windows for ``depth``. They must equal those of the models that are compared.
    max_train, seed
        Maximum number of training windows per line for trees, and the random seed of the fit.
    test_windows
        Maximum number of test windows per line for ``metrics`` (``None``: all). If there are more, they are sampled
        with ``depth_seed``: the same windows as of a model that is evaluated with the same maximum and seed.
    given
        ``bundle.json`` of each model if none is trained here; see
        :func:`scbind.evaluation.evaluate.kinds_beside_given`.
    """
    import torch

    torch.set_num_threads(max(1, threads))
    data = TrainingSet.open(dataset, reference)
    folder = Path(metrics).parent
    samples = [
        sample_test(data, line, most, depth_seed)[0]
        for line in range(len(data.lines))
        for most in ((test_windows, max_windows) if test_windows else (None,))
    ]
    used = np.unique(np.concatenate(samples))
    baselines = fit_baselines(data, motifs, folder, max_train, seed, used)
    tables, kinds = [], kinds_beside_given(data, given)
    for name, predict in baselines.items():
        table, drawn = score_test_windows(
            data, partial(predict, data), name, folder, test_windows, depth_seed, kinds
        )
        if name not in PROBABILITIES:
            table[CALIBRATION_COLUMNS] = np.nan
        write_curves(drawn, curves[name])
        tables.append(table)
    write_table(metrics, pd.concat(tables, ignore_index=True))
    write_table(depth, score_depths(data, baselines, keeps, max_windows, depth_seed, PROBABILITIES))


def fit_baselines(
    data: TrainingSet,
    motifs: str | Path,
    folder: str | Path,
    max_train: int,
    seed: int,
    used: np.ndarray | None = None,
) -> dict[str, Scores]:
    """Fit the baselines of :func:`evaluate_baselines`: name -> function (data, line, windows) -> scores.

    Scores are float32 (windows, TFs), NaN for TFs that the baseline does not cover. The functions keep motif matches on
    disk in ``folder`` (:class:`scbind.evaluation.trees.Features`). ``used``: the test windows that will be scored,
    int64, ascending; by default all.
    """
    features = Features(data, read_motifs(motifs), folder, used)
    trees, permuted = fit_trees(data, features, max_train, seed)
    return {
        "accessibility": _accessibility,
        "motif_x_accessibility": partial(_motif_x_accessibility, features),
        "boosted_trees": partial(_tree_scores, features, trees),
        "other_lines_chip": other_lines_chip,
        "permuted_labels": partial(_tree_scores, features, permuted),
    }


def _accessibility(data: TrainingSet, line: int, window: np.ndarray) -> np.ndarray:
    return np.repeat(signal_table(data, line, window)[:, :1], len(data.tfs), axis=1)


def _motif_x_accessibility(
    features: Features, data: TrainingSet, line: int, window: np.ndarray
) -> np.ndarray:
    openness = signal_table(data, line, window)[:, :1]
    near = features.near(window)
    return np.where(np.isnan(near), openness, np.maximum(near, 0) * openness).astype(np.float32)


def _tree_scores(
    features: Features, trees: dict, data: TrainingSet, line: int, window: np.ndarray
) -> np.ndarray:
    scores = np.full((len(window), len(data.tfs)), np.nan, dtype=np.float32)
    signal = signal_table(data, line, window)
    for column, tree in trees.items():
        scores[:, column] = tree.probability(features.table(signal, window, column))
    return scores


def other_lines_chip(data: TrainingSet, line: int, window: np.ndarray) -> np.ndarray:
    """Mean label of each TF in the other lines in which it was assayed: float32 (windows, TFs), NaN if there is none.

    Ambiguous labels are left out. A window that is ambiguous in all of these lines gets 0.5.
    """
    others = np.array([row for row in range(len(data.lines)) if row != line], dtype=int)
    total = np.zeros((len(window), len(data.tfs)), dtype=np.float32)
    count, assayed = total.copy(), np.zeros_like(total, dtype=bool)
    for row in others:
        labels = data.labels[row, window]
        total += labels == BOUND
        count += labels >= UNBOUND
        assayed |= labels >= AMBIGUOUS
    mean = np.where(count > 0, total / np.maximum(count, 1), 0.5)
    return np.where(assayed, mean, np.nan).astype(np.float32)
