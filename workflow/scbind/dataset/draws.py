"""A weighted sample of the windows of a split, from which figures for all of its windows are estimated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scbind.dataset.trainingset import TrainingSet

LIKELY = 0.75  # at most this fraction of the drawn windows is bound or open, unless there are too few others
EACH_TF = 0.5  # up to this fraction is reserved for bound windows, with equal quotas for all TFs


def draw_windows(
    data: TrainingSet, split: int, limit: int, seed: int, lines: Sequence[int] | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw at most ``limit`` (line, window) pairs of a split, and give each the number of pairs that it represents.

    A plain draw from a large genome would contain hardly any bound window, and none of a rare TF. At most ``LIKELY`` of
    the drawn pairs, or what the others leave, are bound by any TF or open in the line. Up to ``EACH_TF`` of the drawn
    pairs are reserved for bound ones: each TF gets an equal quota, and TFs below the quota keep all of their pairs. The
    draw is systematic, in random order among pairs with the same probability (Madow 1949). The weight of a pair is one
    over its probability (Horvitz and Thompson 1952), so prevalence, AUPRC and losses estimate those of all pairs.

    ``lines`` are the lines to draw from, by default all. Returns int64 lines and windows (n,), sorted by line and
    window, and float64 weights (n,), all 1 if every pair fits. Memory: about 60 bytes per pair of the split, and 12 per
    bound TF of a pair.
    """
    lines = range(len(data.lines)) if lines is None else lines
    windows = [np.flatnonzero(np.asarray(data.splits[line]) == split) for line in lines]
    line = np.repeat(np.asarray(lines, dtype=np.int64), [len(part) for part in windows])
    window = np.concatenate(windows)
    if len(window) <= limit:
        return line, window, np.ones(len(window))
    chance = _chances(data, lines, windows, limit)
    rng = np.random.default_rng([seed, *lines])
    order = np.lexsort((rng.random(len(chance)), chance))
    step = np.searchsorted(np.cumsum(chance[order]), np.arange(limit) + rng.random(), side="right")
    chosen = np.sort(order[np.minimum(step, len(order) - 1)])
    return line[chosen], window[chosen], 1 / chance[chosen]


def _chances(data: TrainingSet, lines: Sequence[int], windows: list[np.ndarray], limit: int) -> np.ndarray:
    """Chance of each pair to be drawn, float64 (pairs,); they add up to ``limit``."""
    pairs, tfs, likely, begin = [], [], [], 0
    for line, window in zip(lines, windows, strict=True):
        pair, tf = data.labels.bound(line, window)
        pairs.append(pair + begin)
        tfs.append(tf.astype(np.int32))
        likely.append(np.asarray(data.is_open[line, window]))
        begin += len(window)
    pair, tf, likely = map(np.concatenate, (pairs, tfs, likely))
    likely[pair] = True
    n_bound = np.bincount(tf, minlength=len(data.tfs))
    wanted = EACH_TF * limit / max(1, (n_bound > 0).sum())
    chance = np.zeros(begin)
    np.maximum.at(chance, pair, np.minimum(1.0, wanted / np.maximum(n_bound, 1))[tf])
    n_other = int((~likely).sum())
    take = min(int(likely.sum()), max(int(limit * LIKELY), limit - n_other))
    # what bound pairs leave is shared out: every likely pair gets the same second chance
    left = (1 - chance)[likely].sum()
    chance[likely] += (1 - chance[likely]) * (max(0.0, take - chance[likely].sum()) / max(left, 1e-9))
    chance[~likely] = (limit - take) / max(1, n_other)
    return chance
