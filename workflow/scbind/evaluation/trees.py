"""Boosted trees on insertions and motif matches, fitted to the labels and, as a control, to permuted labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, logit

from scbind.core.files import scratch_array
from scbind.core.runlog import say
from scbind.dataset.codes import BOUND, UNBOUND
from scbind.dataset.splits import TEST, TRAIN
from scbind.dataset.trainingset import TrainingSet
from scbind.formats.motifs import scan_all
from scbind.formats.signal import release_pages, track_counts

if TYPE_CHECKING:  # takes a second to import
    from sklearn.ensemble import HistGradientBoostingClassifier

WIDTHS = (200, 400, 600, 1000)  # bp centred on the window in which insertions are counted
MOTIF_WIDTH = 400  # bp centred on the window in which the best motif match is searched
SCANNED = 8192  # windows scanned at a time


class Features:
    """Features of windows: insertions and motif matches.

    The matches of the test windows in ``used`` (int64, ascending; default: all) are computed once for all lines and
    kept on disk. They take eight bytes in ``folder`` per window and TF. The matches of training windows are computed
    when the trees of a TF are fitted, for that TF alone, because there are many more training windows and a TF needs
    only some of them.

    ``motifs`` maps a TF to its log-odds matrix, (4, length). A TF may lack one.
    """

    def __init__(
        self,
        data: TrainingSet,
        motifs: dict[str, np.ndarray],
        folder: str | Path,
        used: np.ndarray | None = None,
    ):
        self.used = np.flatnonzero((np.asarray(data.splits) == TEST).any(axis=0)) if used is None else used
        self.best = scratch_array(folder, (2, len(self.used), len(data.tfs)), "float32")
        self.matrices = {column: motifs[tf] for column, tf in enumerate(data.tfs) if tf in motifs}
        say(f"scanning {len(self.used):,} test windows for {len(self.matrices)} motifs")
        for begin in range(0, len(self.used), SCANNED):
            window = self.used[begin : begin + SCANNED]
            found = np.full((2, len(window), len(data.tfs)), np.nan, dtype=np.float32)
            if self.matrices:
                found[:, :, list(self.matrices)] = best_matches(data, window, list(self.matrices.values()))
            self.best[:, begin : begin + SCANNED] = found
            release_pages(self.best)

    def near(self, window: np.ndarray) -> np.ndarray:
        """Best match in ``MOTIF_WIDTH`` bp at test windows, in bits: float32 (windows, TFs), NaN without a matrix."""
        return self.best[1, np.searchsorted(self.used, window)]

    def table(self, signal: np.ndarray, window: np.ndarray, column: int) -> np.ndarray:
        """Features of test windows for the trees of the TF in ``column``: float32 (windows, 6).

        The first four are ``signal``, the result of :func:`signal_table` for these windows. The last two are the best
        matches in and near the window. A TF without a matrix has only the first four.
        """
        if column not in self.matrices:
            return signal
        return np.column_stack([signal, self.best[:, np.searchsorted(self.used, window), column].T])

    def training_table(self, data: TrainingSet, line: int, window: np.ndarray, column: int) -> np.ndarray:
        """Features as in :meth:`table`, for any windows of a line."""
        signal = signal_table(data, line, window)
        if column not in self.matrices:
            return signal
        return np.column_stack([signal, best_matches(data, window, [self.matrices[column]])[:, :, 0].T])


def signal_table(data: TrainingSet, line: int, window: np.ndarray) -> np.ndarray:
    """log(1 + observed / expected insertions) in each of ``WIDTHS``: float32 (windows, widths).

    The expected number is depth times width. ``data`` may be a thinned dataset (:func:`scbind.evaluation.depth.thin`).
    """
    depth = data.window_depth(line, window)
    centre = data.genome.sizes.offsets[data.chrom[window]] + data.start[window] + data.manifest["window"] // 2
    columns = []
    for width in WIDTHS:
        counts = track_counts(data.insertions[line], centre - width // 2, width, width)[:, 0]
        columns.append(np.log1p(counts / np.maximum(depth * width, 1e-9)))
    return np.stack(columns, axis=1).astype(np.float32)


def rows_to_fit(labels: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Choose at most ``most`` windows to fit trees to: bound ones, at most half of them, and random unbound ones.

    ``labels``: the codes of the windows, int8. Returns their numbers, rising int64. Ambiguous windows are left out.
    """
    bound, unbound = np.flatnonzero(labels == BOUND), np.flatnonzero(labels == UNBOUND)
    if len(bound) > most // 2:
        bound = rng.permutation(bound)[: most // 2]
    unbound = rng.permutation(unbound)[: max(0, most - len(bound))]
    return np.sort(np.concatenate([bound, unbound]))


def best_matches(data: TrainingSet, window: np.ndarray, matrices: list[np.ndarray]) -> np.ndarray:
    """Best match of each matrix, in bits, in windows and near them: float32 (2, windows, matrices).

    *Near* means within ``MOTIF_WIDTH`` bp centred on the window, or within the context if that is shorter.
    """
    best = np.empty((2, len(window), len(matrices)), dtype=np.float32)
    context = data.manifest["context"]
    for begin in range(0, len(window), SCANNED):
        codes = data.codes(window[begin : begin + SCANNED])
        for row, width in enumerate((data.manifest["window"], min(MOTIF_WIDTH, context))):
            edge = (context - width) // 2
            best[row, begin : begin + SCANNED] = scan_all(codes[:, edge : edge + width], matrices)
        release_pages(data.genome.codes)
    return best


def fit_trees(data: TrainingSet, features: Features, max_train: int, seed: int) -> tuple[dict, dict]:
    """Fit boosted trees (scikit-learn) for each TF to the labels, and to permuted labels.

    The trees are fitted on training windows of the lines in which the TF was assayed: at most ``max_train`` per line
    (:func:`rows_to_fit`), which limits memory. Permuted labels are permuted among these windows of each line.

    Returns two dicts, column of the TF -> :class:`Trees`: for the labels and for the permuted ones. A TF without a
    bound or without an unbound window is missing.
    """
    rng, shuffle = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    splits = np.asarray(data.splits)
    trees, permuted = {}, {}
    for column, tf in enumerate(data.tfs):
        tables, truths, controls = [], [], []
        n_bound = n_known = 0  # of all training windows
        for line in range(len(data.lines)):
            if not data.manifest["assayed"][line][column]:
                continue
            window = np.flatnonzero(splits[line] == TRAIN)
            labels = data.labels.of_tf(line, column)[window]
            chosen = rows_to_fit(labels, max_train, rng)
            tables.append(features.training_table(data, line, window[chosen], column))
            truths.append(labels[chosen] == BOUND)
            controls.append(shuffle.permutation(truths[-1]))
            n_bound += int(np.count_nonzero(labels == BOUND))
            n_known += int(np.count_nonzero((labels == BOUND) | (labels == UNBOUND)))
        truth = np.concatenate(truths) if truths else np.zeros(0, bool)
        if truth.any() and not truth.all():
            table = np.concatenate(tables)
            offset = float(logit(n_bound / n_known) - logit(truth.mean()))
            trees[column] = Trees(fit_monotone(table, truth, seed), offset)
            # The constraint is prior knowledge, so the control does not use it.
            permuted[column] = Trees(_small_trees(seed).fit(table, np.concatenate(controls)), offset)
        else:
            say(f"WARNING {tf}: trees cannot be fitted without bound and unbound training windows")
        say(f"boosted trees {column + 1}/{len(data.tfs)} {tf}: {int(truth.sum())} bound of {len(truth):,}")
    return trees, permuted


@dataclass(frozen=True)
class Trees:
    """Boosted trees that were fitted to a sample in which bound windows are more frequent than in all windows.

    ``offset`` corrects their log odds for it (King & Zeng 2001, Political Analysis 9:137, section 4.1).
    """

    fitted: HistGradientBoostingClassifier
    offset: float

    def probability(self, table: np.ndarray) -> np.ndarray:
        """P(bound) of the rows of a table of features, float64 (rows,)."""
        return expit(self.fitted.decision_function(table) + self.offset)


def fit_monotone(table: np.ndarray, truth: np.ndarray, seed: int):
    """Fit small boosted trees (scikit-learn) to bool labels. A higher feature never lowers the prediction.

    Without this constraint, or with larger trees, TFs with few bound windows would be overfitted, and the baseline
    would be weak.
    """
    return _small_trees(seed, monotonic_cst=[1] * table.shape[1]).fit(table, truth)


def _small_trees(seed: int, **options):
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        max_iter=100,
        learning_rate=0.05,
        max_leaf_nodes=6,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=seed,
        **options,
    )
