"""Scores of a predictor for all test windows, stored on disk one TF after the other.

If a whole line is held out, the windows of the whole genome are its test windows: tens of millions. A window is scored
for all TFs at once, but a TF is evaluated over all windows. The scores are therefore transposed when they are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from scbind.core.files import scratch_array
from scbind.core.progress import Progress
from scbind.core.runlog import say
from scbind.dataset.codes import BOUND
from scbind.dataset.draws import draw_windows
from scbind.dataset.splits import TEST
from scbind.dataset.trainingset import TrainingSet
from scbind.formats.signal import release_pages

BLOCK = 32_768  # windows scored at a time

Predict = Callable[[int, np.ndarray], np.ndarray]


class LineScores:
    """Labels and scores of the test windows of one line.

    Attributes
    ----------
    line
        Index of the line in the dataset.
    window
        Its test windows, all or a sample: int64 (windows,), ascending.
    weight
        Number of test windows that each one represents: float64 (windows,), or ``None`` if all windows are scored.
    columns
        The TFs assayed in this line: int (assayed,), columns of the dataset.
    labels, scores
        int8 and float32 (assayed, windows), on disk. They are complete when :func:`score_lines` has returned.
    covered
        Whether a TF has a score in every window: bool (assayed,).
    """

    def __init__(
        self,
        data: TrainingSet,
        line: int,
        folder: str | Path,
        max_windows: int | None = None,
        seed: int = 0,
    ):
        window, weight = sample_test(data, line, max_windows, seed)
        self.line, self.window, self.weight, self.done = line, window, weight, 0
        self.columns = np.flatnonzero(data.manifest["assayed"][line])
        self.covered = np.ones(len(self.columns), dtype=bool)
        shape = len(self.columns), len(window)
        self.labels = scratch_array(folder, shape, "int8")
        self.scores = scratch_array(folder, shape, "float32")

    def add(self, data: TrainingSet, predict: Predict, end: int) -> None:
        """Score the windows before ``end`` that have no score yet."""
        done = slice(self.done, int(np.searchsorted(self.window, end)))
        window, self.done = self.window[done], done.stop
        if not len(window):
            return
        labels = data.labels[self.line, window]
        self.labels[:, done] = labels[:, self.columns].T
        scores = predict(self.line, window)[:, self.columns]
        self.covered &= ~np.isnan(scores).any(axis=0)
        self.scores[:, done] = scores.T
        for array in (self.labels, self.scores):
            release_pages(array)

    def read(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the labels and scores of the TF in ``row``, int8 and float32 (windows,), in memory."""
        found = self.labels[row].copy(), self.scores[row].copy()
        for array in (self.labels, self.scores):
            release_pages(array)
        return found


def sample_test(
    data: TrainingSet, line: int, max_windows: int | None, seed: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the test windows of a line, int64 (windows,), and the weight of each, float64 (windows,) or ``None``.

    If there are more than ``max_windows``, that number is drawn (:func:`scbind.dataset.draws.draw_windows`). The draw
    depends on ``seed`` and the line only.
    """
    window = np.flatnonzero(np.asarray(data.splits[line]) == TEST)
    if max_windows is None or len(window) <= max_windows:
        return window, None
    _, window, weight = draw_windows(data, TEST, max_windows, seed, [line])
    return window, weight


def score_lines(
    data: TrainingSet,
    predict: Predict,
    folder: str | Path,
    model: str,
    max_windows: int | None = None,
    seed: int = 0,
) -> list[LineScores]:
    """Score the test windows of every line in which a TF was assayed.

    If a line has more than ``max_windows`` test windows, that number is sampled and weighted
    (:func:`scbind.dataset.draws.draw_windows`). The sample depends on ``seed`` and the line only.

    ``predict(line, windows)`` returns float32 (windows, TFs of the dataset). One call has at most ``BLOCK`` windows.
    Each block is scored for all lines in turn, so that ``predict`` can cache the readout of the sequence. The scores
    take five bytes in ``folder`` per line, TF and test window, until they are deleted.
    """
    tested = np.asarray(data.splits) == TEST
    lines = [
        LineScores(data, line, folder, max_windows, seed)
        for line in range(len(data.lines))
        if tested[line].any() and np.any(data.manifest["assayed"][line])
    ]
    for scores in lines:
        drawn = "" if scores.weight is None else f" of {tested[scores.line].sum():,}"
        say(f"{model}: {len(scores.window):,}{drawn} test windows of {data.lines[scores.line]}")
    used = np.unique(np.concatenate([scores.window for scores in lines])) if lines else np.empty(0, int)
    progress = Progress(f"{model}, windows", len(used))
    for begin in range(0, len(used), BLOCK):
        block = used[begin : begin + BLOCK]
        for scores in lines:
            scores.add(data, predict, int(block[-1]) + 1)
        progress.reached(begin + len(block))
    return lines


class ByTF(Mapping):
    """TF -> (labels, scores, weights) of all lines joined, read from disk on access.

    Labels are bool (windows,), true if bound. Scores are float32 (windows,). Weights are float64 (windows,), the number
    of windows that each one represents, or ``None`` if no line was sampled. Windows with unknown labels are left out.
    """

    def __init__(self, data: TrainingSet, lines: Sequence[LineScores]):
        self.rows: dict[str, list[tuple[LineScores, int]]] = {}
        for line in lines:
            for row in np.flatnonzero(line.covered):
                self.rows.setdefault(data.tfs[line.columns[row]], []).append((line, row))

    def __getitem__(self, tf: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Labels, scores and weights of one TF."""
        truths, scores, weights = [], [], []
        for line, row in self.rows[tf]:
            labels, score = line.read(row)
            known = labels >= 0
            truths.append(labels[known] == BOUND)
            scores.append(score[known])
            weights.append(np.ones(known.sum()) if line.weight is None else line.weight[known])
        weighted = any(line.weight is not None for line, _ in self.rows[tf])
        return np.concatenate(truths), np.concatenate(scores), np.concatenate(weights) if weighted else None

    def __iter__(self) -> Iterator[str]:
        """Names of the TFs covered in any line."""
        return iter(self.rows)

    def __len__(self) -> int:
        """Number of TFs covered in any line."""
        return len(self.rows)
