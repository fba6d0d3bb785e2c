"""Honest baselines: what accessibility, motifs and trees reach on the same windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from scbind.dataset import TrainingSet
from scbind.evaluation import score_test_windows, write_curves, write_metrics
from scbind.labels import BOUND
from scbind.motifs import read_motifs, scan_all
from scbind.runlog import say
from scbind.signal import track_counts
from scbind.splits import TEST, TRAIN

WIDTHS = (200, 400, 600, 1000)  # bp around the window in which insertions are counted
MOTIF_WIDTH = 400  # bp around the window in which the best motif match is sought


def evaluate_baselines(
    dataset: str | Path,
    reference: str | Path,
    motifs: str | Path,
    metrics: str | Path,
    curves: dict[str, str | Path],
    max_train: int = 60_000,
    seed: int = 1,
    threads: int = 1,
) -> None:
    """Score three baselines on the test split.

    ``accessibility``: insertions in the window, over the depth of the track. ``motif_x_accessibility``: best
    JASPAR match near the window (bits above zero) times the log of that; accessibility alone for a TF without matrix.
    ``boosted_trees``: per TF, small monotone gradient-boosted trees (scikit-learn) on insertions at four widths and the
    best match in the window and near it, trained on the training windows of all lines that assayed the TF, at most
    ``max_train`` with every bound one. ``curves`` maps each baseline to its ``curves.npz``.
    """
    import torch

    torch.set_num_threads(max(1, threads))
    data = TrainingSet.open(dataset, reference)
    features = _Features(data, read_motifs(motifs))
    trees = _fit_trees(data, features, max_train, seed)

    def accessibility(line: int, window: np.ndarray) -> np.ndarray:
        return np.repeat(features.signal(line, window)[:, :1], len(data.tfs), axis=1)

    def motif_x_accessibility(line: int, window: np.ndarray) -> np.ndarray:
        openness = features.signal(line, window)[:, :1]
        near = features.motif(window)[1]
        return np.where(np.isnan(near), openness, np.maximum(near, 0) * openness).astype(np.float32)

    def boosted_trees(line: int, window: np.ndarray) -> np.ndarray:
        scores = np.full((len(window), len(data.tfs)), np.nan, dtype=np.float32)
        for column, tree in trees.items():
            scores[:, column] = tree.predict_proba(features.table(line, window, column))[:, 1]
        return scores

    tables = []
    for predict in (accessibility, motif_x_accessibility, boosted_trees):
        table, drawn = score_test_windows(data, predict, predict.__name__)
        if predict is not boosted_trees:  # a ranking score is no probability
            table["ece"] = np.nan
        write_curves(drawn, curves[predict.__name__])
        tables.append(table)
    write_metrics(pd.concat(tables, ignore_index=True), metrics)


class _Features:
    """Insertions and motif matches of the windows that are used, motif matches once for all lines."""

    def __init__(self, data: TrainingSet, motifs: dict[str, np.ndarray]):
        self.data, self.motifs = data, motifs
        self.used = np.flatnonzero(np.isin(np.asarray(data.splits), (TRAIN, TEST)).any(axis=0))
        self.best = np.full((2, len(self.used), len(data.tfs)), np.nan, dtype=np.float32)
        with_matrix = [column for column, tf in enumerate(data.tfs) if tf in motifs]
        matrices = [motifs[data.tfs[column]] for column in with_matrix]
        context, window = data.manifest["context"], data.manifest["window"]
        say(f"scanning {len(self.used):,} windows for {len(matrices)} motifs")
        for row, width in enumerate((window, min(MOTIF_WIDTH, context))):
            edge = (context - width) // 2
            for begin in range(0, len(self.used), 8192):
                codes = data.codes(self.used[begin : begin + 8192])[:, edge : edge + width]
                self.best[row, begin : begin + 8192, with_matrix] = scan_all(codes, matrices).T

    def motif(self, window: np.ndarray) -> np.ndarray:
        """Best match in the window and near it: float32 (2, windows, TFs), NaN without a matrix."""
        return self.best[:, np.searchsorted(self.used, window)]

    def signal(self, line: int, window: np.ndarray) -> np.ndarray:
        """Log of insertions over what the depth predicts, at each of ``WIDTHS``: float32 (windows, widths)."""
        data = self.data
        depth = data.window_depth(line, window)
        centre = (
            data.genome.sizes.offsets[data.chrom[window]] + data.start[window] + data.manifest["window"] // 2
        )
        columns = []
        for width in WIDTHS:
            counts = track_counts(data.insertions[line], centre - width // 2, width, width)[:, 0]
            columns.append(np.log1p(counts / np.maximum(depth * width, 1e-9)))
        return np.stack(columns, axis=1).astype(np.float32)

    def table(self, line: int, window: np.ndarray, column: int) -> np.ndarray:
        """Features of the trees, float32 (windows, 6): four signals and two motif matches; without a matrix, 4."""
        if self.data.tfs[column] not in self.motifs:
            return self.signal(line, window)
        return np.column_stack([self.signal(line, window), self.motif(window)[:, :, column].T])


def _fit_trees(data: TrainingSet, features: _Features, max_train: int, seed: int) -> dict:
    from sklearn.ensemble import HistGradientBoostingClassifier

    rng = np.random.default_rng(seed)
    splits = np.asarray(data.splits)
    trees = {}
    for column, tf in enumerate(data.tfs):
        tables, truths = [], []
        for line in range(len(data.lines)):
            if not data.manifest["assayed"][line][column]:
                continue
            labels = np.asarray(data.labels[line, :, column])
            window = np.flatnonzero((splits[line] == TRAIN) & (labels >= 0))
            bound = labels[window] == BOUND
            spare = max(0, max_train - int(bound.sum()))
            unbound = rng.permutation(np.flatnonzero(~bound))[:spare]
            window = window[np.sort(np.concatenate([np.flatnonzero(bound), unbound]))]
            tables.append(features.table(line, window, column))
            truths.append(labels[window] == BOUND)
        truth = np.concatenate(truths) if truths else np.zeros(0, bool)
        if truth.any() and not truth.all():
            # More insertions or a better match never speak against binding: without that constraint, and with
            # larger trees, TFs with few bound windows are overfitted and the baseline would be a weak one.
            tree = HistGradientBoostingClassifier(
                max_iter=100,
                learning_rate=0.05,
                max_leaf_nodes=6,
                l2_regularization=1.0,
                monotonic_cst=[1] * tables[0].shape[1],
                early_stopping=False,
                random_state=seed,
            )
            trees[column] = tree.fit(np.concatenate(tables), truth)
        say(f"boosted trees {column + 1}/{len(data.tfs)} {tf}: {int(truth.sum())} bound of {len(truth):,}")
    return trees
