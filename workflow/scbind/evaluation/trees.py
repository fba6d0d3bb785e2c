"""Boosted trees on insertions and motif matches, fitted to the labels and, as a control, to permuted ones."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from scbind.core.files import scratch_array
from scbind.core.runlog import say
from scbind.dataset.codes import BOUND
from scbind.dataset.splits import TEST, TRAIN
from scbind.dataset.trainingset import TrainingSet
from scbind.formats.motifs import scan_all
from scbind.formats.signal import track_counts

WIDTHS = (200, 400, 600, 1000)  # bp around the window in which insertions are counted
MOTIF_WIDTH = 400  # bp around the window in which the best motif match is sought
SCANNED = 8192  # windows that are scanned at a time


class Features:
    """Insertions and motif matches of windows; the matches of test windows are kept on disk, once for all lines.

    Those of training windows are sought where a TF's trees are fitted, for that TF alone: there are many more, and a
    TF needs only some of them. In ``folder`` eight bytes are taken for each test window and TF.
    """

    def __init__(self, data: TrainingSet, motifs: dict[str, np.ndarray], folder: str | Path):
        self.used = np.flatnonzero((np.asarray(data.splits) == TEST).any(axis=0))
        self.best = scratch_array(folder, (2, len(self.used), len(data.tfs)), "float32")
        self.matrices = {column: motifs[tf] for column, tf in enumerate(data.tfs) if tf in motifs}
        say(f"scanning {len(self.used):,} windows for {len(self.matrices)} motifs")
        for begin in range(0, len(self.used), SCANNED):
            window = self.used[begin : begin + SCANNED]
            found = np.full((2, len(window), len(data.tfs)), np.nan, dtype=np.float32)
            if self.matrices:
                found[:, :, list(self.matrices)] = best_matches(data, window, list(self.matrices.values()))
            self.best[:, begin : begin + SCANNED] = found

    def near(self, window: np.ndarray) -> np.ndarray:
        """Best match near test windows: float32 (windows, TFs), NaN without a matrix."""
        return self.best[1, np.searchsorted(self.used, window)]

    def signal(self, data: TrainingSet, line: int, window: np.ndarray) -> np.ndarray:
        """Log of insertions over what the depth predicts, at each of ``WIDTHS``: float32 (windows, widths).

        ``data`` is the dataset that was scanned, or a thinned one (:func:`scbind.evaluation.depth.thin`).
        """
        depth = data.window_depth(line, window)
        centre = (
            data.genome.sizes.offsets[data.chrom[window]] + data.start[window] + data.manifest["window"] // 2
        )
        columns = []
        for width in WIDTHS:
            counts = track_counts(data.insertions[line], centre - width // 2, width, width)[:, 0]
            columns.append(np.log1p(counts / np.maximum(depth * width, 1e-9)))
        return np.stack(columns, axis=1).astype(np.float32)

    def table(self, signal: np.ndarray, window: np.ndarray, column: int) -> np.ndarray:
        """Features of a TF's trees in test windows, from their :meth:`signal`: float32 (windows, 6).

        Without a matrix there are no matches, and 4 columns.
        """
        if column not in self.matrices:
            return signal
        return np.column_stack([signal, self.best[:, np.searchsorted(self.used, window), column].T])

    def training_table(self, data: TrainingSet, line: int, window: np.ndarray, column: int) -> np.ndarray:
        """As :meth:`table`, for any windows of a line."""
        signal = self.signal(data, line, window)
        if column not in self.matrices:
            return signal
        return np.column_stack([signal, best_matches(data, window, [self.matrices[column]])[:, :, 0].T])


def best_matches(data: TrainingSet, window: np.ndarray, matrices: list[np.ndarray]) -> np.ndarray:
    """Best match of each matrix in windows and near them, in bits: float32 (2, windows, matrices)."""
    best = np.empty((2, len(window), len(matrices)), dtype=np.float32)
    context = data.manifest["context"]
    for row, width in enumerate((data.manifest["window"], min(MOTIF_WIDTH, context))):
        edge = (context - width) // 2
        for begin in range(0, len(window), SCANNED):
            codes = data.codes(window[begin : begin + SCANNED])[:, edge : edge + width]
            best[row, begin : begin + SCANNED] = scan_all(codes, matrices)
    return best


def fit_trees(data: TrainingSet, features: Features, max_train: int, seed: int) -> tuple[dict, dict]:
    """Fit each TF's trees (scikit-learn), and the same to labels permuted among the training windows of each line.

    Training windows are those of the lines that assayed the TF: every bound one and random others, ``max_train`` per
    line, so that memory is bounded by these. Returns two dicts, column of the TF -> classifier; TFs without a bound
    window are missing.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    rng, shuffle = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    splits = np.asarray(data.splits)
    trees, permuted = {}, {}
    for column, tf in enumerate(data.tfs):
        tables, truths, controls = [], [], []
        for line in range(len(data.lines)):
            if not data.manifest["assayed"][line][column]:
                continue
            labels = np.asarray(data.labels[line, :, column])
            window = np.flatnonzero((splits[line] == TRAIN) & (labels >= 0))
            bound = labels[window] == BOUND
            spare = max(0, max_train - int(bound.sum()))
            unbound = rng.permutation(np.flatnonzero(~bound))[:spare]
            window = window[np.sort(np.concatenate([np.flatnonzero(bound), unbound]))]
            tables.append(features.training_table(data, line, window, column))
            truths.append(labels[window] == BOUND)
            controls.append(shuffle.permutation(truths[-1]))
        truth = np.concatenate(truths) if truths else np.zeros(0, bool)
        if truth.any() and not truth.all():
            table = np.concatenate(tables)
            tree = partial(
                HistGradientBoostingClassifier,
                max_iter=100,
                learning_rate=0.05,
                max_leaf_nodes=6,
                l2_regularization=1.0,
                early_stopping=False,
                random_state=seed,
            )
            # More insertions or a better match never speak against binding: without that constraint, and with
            # larger trees, TFs with few bound windows are overfitted and the baseline would be a weak one.
            trees[column] = tree(monotonic_cst=[1] * table.shape[1]).fit(table, truth)
            # The constraint is knowledge of its own, so the control goes without it.
            permuted[column] = tree().fit(table, np.concatenate(controls))
        say(f"boosted trees {column + 1}/{len(data.tfs)} {tf}: {int(truth.sum())} bound of {len(truth):,}")
    return trees, permuted
