"""Boosted trees for TFs without ChIP-seq: fitted to the pooled training windows of other TFs.

This is what someone without a network could do: learn from TFs with ChIP-seq how insertions and the match of a motif
predict binding, and apply that to the motif of another TF.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from scbind.core.runlog import say
from scbind.dataset.codes import BOUND
from scbind.dataset.splits import TRAIN
from scbind.dataset.trainingset import TrainingSet
from scbind.evaluation.evaluate import Scores
from scbind.evaluation.trees import best_matches, fit_monotone, rows_to_fit, signal_table

MAX_WINDOWS = 500_000  # training windows of a line of which labels are read
MAX_TRAIN = 4_000_000  # rows of all TFs and lines, at most half of them bound: 1 GB


def pooled_trees(
    data: TrainingSet, matrices: Mapping[str, np.ndarray], hidden: Sequence[str], seed: int
) -> Scores:
    """Fit trees without the TFs ``hidden``, and return their scores: P(bound), NaN for all other TFs.

    If no other TF has a bound and an unbound training window, all scores are NaN, and the log says so.

    Parameters
    ----------
    matrices
        Log-odds matrix of each TF, (4, length). TFs of the dataset without a matrix are left out.
    hidden
        TFs that the trees do not see and that they score. Each has a matrix.
    """
    splits, assayed = np.asarray(data.splits), np.array(data.manifest["assayed"], dtype=bool)
    assayed &= (splits == TRAIN).any(axis=1)[:, None]
    assayed &= np.array([tf in matrices and tf not in hidden for tf in data.tfs])
    most, tables, truths = MAX_TRAIN // max(1, assayed.sum()), [], [np.zeros(0, dtype=bool)]
    rng = np.random.default_rng(seed)
    for line in np.flatnonzero(assayed.any(axis=1)):
        window = np.sort(rng.permutation(np.flatnonzero(splits[line] == TRAIN))[:MAX_WINDOWS])
        labels = data.labels[line, window]
        for column in np.flatnonzero(assayed[line]):
            chosen = rows_to_fit(labels[:, column], most, rng)
            tables.append(features(data, line, window[chosen], [matrices[data.tfs[column]]])[0])
            truths.append(labels[chosen, column] == BOUND)
    truth = np.concatenate(truths)
    say(f"pooled trees: {int(truth.sum())} bound of {len(truth):,} training windows of other TFs")
    if truth.all() or not truth.any():
        say("WARNING pooled trees cannot be fitted without bound and unbound windows of other TFs")
        return _unknown
    table = np.concatenate(tables)
    del tables
    tree = fit_monotone(table, truth, seed)

    def scores(data: TrainingSet, line: int, window: np.ndarray) -> np.ndarray:
        found = _unknown(data, line, window)
        tfs = [tf for tf in hidden if data.manifest["assayed"][line][data.tfs.index(tf)]]
        for tf, part in zip(tfs, features(data, line, window, [matrices[tf] for tf in tfs]), strict=True):
            found[:, data.tfs.index(tf)] = tree.predict_proba(part)[:, 1]
        return found

    return scores


def _unknown(data: TrainingSet, line: int, window: np.ndarray) -> np.ndarray:
    return np.full((len(window), len(data.tfs)), np.nan, dtype=np.float32)


def features(
    data: TrainingSet, line: int, window: np.ndarray, matrices: list[np.ndarray]
) -> list[np.ndarray]:
    """Insertions at four widths, and the best match in and near the window: float32 (windows, 8) for each matrix.

    Matches are given in bits and as a share of the best possible, which makes short and long motifs comparable.
    """
    if not matrices:
        return []
    signal, best = signal_table(data, line, window), best_matches(data, window, matrices)
    largest = [matrix.max(axis=0).sum() for matrix in matrices]
    return [
        np.column_stack([signal, best[:, :, number].T, best[:, :, number].T / most])
        for number, most in enumerate(largest)
    ]
