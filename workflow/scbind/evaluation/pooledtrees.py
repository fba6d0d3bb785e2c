"""Boosted trees for TFs without ChIP-seq: fitted to the pooled training windows of other TFs.

This is what someone without a network could do: learn from TFs with ChIP-seq how insertions and the match of a motif
predict binding, and apply that to the motif of another TF.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from scbind.core.runlog import say
from scbind.dataset.codes import BOUND
from scbind.dataset.trainingset import TrainingSet
from scbind.evaluation.evaluate import Scores
from scbind.evaluation.trees import best_matches, fit_monotone, signal_table, training_windows

MAX_TRAIN = 4_000_000  # training windows of all TFs and lines, at most half of them bound: 400 MB


def pooled_trees(
    data: TrainingSet, matrices: Mapping[str, np.ndarray], hidden: Sequence[str], seed: int
) -> Scores:
    """Fit trees without the TFs ``hidden``, and return their scores: P(bound), NaN for all other TFs.

    Parameters
    ----------
    matrices
        Log-odds matrix of each TF, (4, length). TFs of the dataset without a matrix are left out.
    hidden
        TFs that the trees do not see and that they score. Each has a matrix.
    """
    assays = [
        (line, column)
        for line, column in np.argwhere(data.manifest["assayed"])
        if data.tfs[column] in matrices and data.tfs[column] not in hidden
    ]
    most, tables, truths = MAX_TRAIN // len(assays), [], []
    rng = np.random.default_rng(seed)
    for line, column in assays:
        window = training_windows(data, line, column, most, rng, most_bound=most // 2)
        tables.append(_features(data, line, window, matrices[data.tfs[column]]))
        truths.append(np.asarray(data.labels[line, window, column]) == BOUND)
    table, truth = np.concatenate(tables), np.concatenate(truths)
    say(f"pooled trees: {int(truth.sum())} bound of {len(truth):,} training windows of other TFs")
    return partial(_score, fit_monotone(table, truth, seed), {tf: matrices[tf] for tf in hidden})


def _features(data: TrainingSet, line: int, window: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Insertions at four widths, and the best match in and near the window: float32 (windows, 8).

    Matches are given in bits and as a share of the best possible, which makes short and long motifs comparable.
    """
    match = best_matches(data, window, [matrix])[:, :, 0].T
    return np.column_stack([signal_table(data, line, window), match, match / matrix.max(axis=0).sum()])


def _score(
    tree, matrices: dict[str, np.ndarray], data: TrainingSet, line: int, window: np.ndarray
) -> np.ndarray:
    scores = np.full((len(window), len(data.tfs)), np.nan, dtype=np.float32)
    for tf, matrix in matrices.items():
        scores[:, data.tfs.index(tf)] = tree.predict_proba(_features(data, line, window, matrix))[:, 1]
    return scores
