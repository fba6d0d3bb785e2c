"""Metrics for rare positives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np


def ranking_metrics(
    truth: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None
) -> dict[str, float]:
    """Rank-based metrics of one TF.

    Parameters
    ----------
    truth
        Whether each window is bound, bool (windows,).
    score
        float (windows,); higher means more likely bound.
    weight
        Number of windows that each one represents, (windows,); default 1.

    Returns
    -------
    dict
        Metrics other than ``n_windows`` and ``n_bound`` are weighted. Those from ``auroc`` on are NaN without a bound
        or without an unbound window.

        - ``n_windows``, ``n_bound``: numbers of all and of bound windows, unweighted.
        - ``prevalence``: fraction of bound windows; NaN for no windows.
        - ``auroc``, ``auprc``: ``auprc`` is average precision.
        - ``log2_gain``: log2 of AUPRC over prevalence, the number of doublings above random guessing. It makes TFs of
          different prevalence comparable.
        - ``recall_at_fdr10``, ``recall_at_fdr50``: best recall at a precision of at least 0.9 and 0.5, as in the DREAM
          challenge.

    Examples
    --------
    >>> import numpy as np
    >>> found = ranking_metrics(np.array([1, 0, 1, 0], bool), np.array([0.9, 0.8, 0.7, 0.1]))
    >>> round(found['auprc'], 3), found['auroc'], float(found['prevalence'])
    (0.833, 0.75, 0.5)
    """
    truth = np.asarray(truth, dtype=bool)
    found = {"n_windows": len(truth), "n_bound": int(truth.sum())}
    found["prevalence"] = np.average(truth, weights=weight) if len(truth) else np.nan
    names = ("auroc", "auprc", "log2_gain", "recall_at_fdr10", "recall_at_fdr50")
    if not truth.any() or truth.all():
        return found | dict.fromkeys(names, np.nan)
    from sklearn.metrics import precision_recall_curve, roc_auc_score  # a second to import

    precision, recall, _ = precision_recall_curve(truth, score, sample_weight=weight)
    found["auroc"] = roc_auc_score(truth, score, sample_weight=weight)
    # scikit-learn's average precision, from the curve computed above, because sorting again would be slow
    found["auprc"] = max(0.0, float(-np.sum(np.diff(recall) * precision[:-1])))
    found["log2_gain"] = np.log2(found["auprc"] / found["prevalence"])
    found["recall_at_fdr10"] = recall[precision >= 0.9].max(initial=0.0)
    found["recall_at_fdr50"] = recall[precision >= 0.5].max(initial=0.0)
    return found


def sampling_error(
    truth: np.ndarray, score: np.ndarray, weight: np.ndarray, n: int = 100, seed: int = 0
) -> float:
    """Standard error of the AUPRC of sampled windows as an estimate of the AUPRC of all windows.

    This is the generalized bootstrap for Poisson sampling (Beaumont and Patak 2012, section 4). Each weight w is
    multiplied by 1 + e, where e is +sqrt(1 - 1/w) or -sqrt(1 - 1/w) with equal probability, and AUPRC is computed
    again. This is repeated ``n`` times. A window that is certain to be sampled (w = 1) adds no error. The sampling of
    :func:`scbind.dataset.draws.draw_windows` is systematic; it varies no more than Poisson sampling.

    The arguments ``truth``, ``score`` and ``weight`` are those of :func:`ranking_metrics`. Returns NaN without a bound
    or without an unbound window.

    Examples
    --------
    >>> import numpy as np
    >>> truth, score = np.array([1, 0, 1, 0], bool), np.array([0.9, 0.8, 0.7, 0.1])
    >>> sampling_error(truth, score, np.ones(4))
    1.1102230246251565e-16
    >>> sampling_error(truth, score, np.array([1, 5, 1, 5.0])) > 0.1
    True
    """
    if not truth.any() or truth.all():
        return float("nan")
    truth, weight, last = _ranked(truth, score, weight)
    spread = np.sqrt(1 - 1 / np.maximum(weight, 1))
    rng, found = np.random.default_rng(seed), []
    for _ in range(n):
        found.append(
            _average_precision(truth, weight * (1 + spread * rng.choice([-1.0, 1.0], len(weight))), last)
        )
    found = [value for value in found if not np.isnan(value)]
    return float(np.std(found)) if len(found) > 1 else float("nan")


def resampled_auprc(truth: np.ndarray, score: np.ndarray, weights: Iterable[np.ndarray]) -> np.ndarray:
    """AUPRC (average precision) of the same windows under several weights: float64 (weights,).

    ``truth`` and ``score`` are those of :func:`ranking_metrics`. Each of ``weights`` is (windows,), such as how often a
    bootstrap sample has each window. NaN where no bound window has a weight. Windows are sorted once.

    Examples
    --------
    >>> import numpy as np
    >>> truth, score = np.array([1, 0, 1, 0], bool), np.array([0.9, 0.8, 0.7, 0.1])
    >>> resampled_auprc(truth, score, [np.ones(4), np.array([1, 0, 1, 0])]).round(3)
    array([0.833, 1.   ])
    """
    order, last = _order(score)
    return np.array(
        [_average_precision(truth[order], np.asarray(each, float)[order], last) for each in weights]
    )


def _average_precision(truth: np.ndarray, weight: np.ndarray, last: np.ndarray) -> float:
    """Average precision of sorted windows (:func:`_ranked`); NaN without a weighted positive."""
    positives = np.cumsum(weight * truth)[last]
    if not positives[-1] > 0:
        return float("nan")
    counted = np.maximum(np.cumsum(weight)[last], positives)
    gained = np.diff(positives, prepend=0.0)
    shares = np.divide(positives, counted, out=np.zeros_like(counted), where=counted > 0)
    return float((gained * shares).sum() / positives[-1])


def least_auprc(truth: np.ndarray, score: np.ndarray, weight: np.ndarray) -> float:
    """Conservative AUPRC under sampling; equals average precision when all weights are 1.

    Few of the negatives above a threshold may have been sampled. The estimate of their number is unbiased, but
    precision is a convex function of it, so the estimated precision is too high. The bias is largest where positives
    are rare and each sampled negative represents many windows. To correct it, each threshold also counts the weight,
    minus 1, of the first sampled negative below it. For equal weights and rare sampling this is conservative and close:
    the mean of 1 / (x + 1) over a Poisson number x is slightly below 1 / mean (Chapman 1951).

    The arguments are those of :func:`ranking_metrics`. Returns NaN without a bound or without an unbound window.

    Examples
    --------
    >>> import numpy as np
    >>> truth, score = np.array([1, 0, 1, 0], bool), np.array([0.9, 0.8, 0.7, 0.1])
    >>> round(least_auprc(truth, score, np.ones(4)), 3), round(least_auprc(truth, score, np.array([1, 5, 1, 5])), 3)
    (0.833, 0.191)
    """
    if not truth.any() or truth.all():
        return float("nan")
    truth, weight, last = _ranked(truth, score, weight)
    negative = np.flatnonzero(~truth)
    following = np.append(weight[negative], 1.0)[np.searchsorted(negative, last, side="right")]
    positives = np.cumsum(weight * truth)[last]
    counted = np.cumsum(weight)[last] + np.maximum(following - 1, 0)
    gained = np.diff(positives, prepend=0.0)
    return float((gained * positives / counted).sum() / positives[-1])


def _ranked(
    truth: np.ndarray, score: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth and weight (float64) sorted by decreasing score, and the index of the last window at each threshold."""
    order, last = _order(score)
    return truth[order], np.asarray(weight, dtype=float)[order], last


def _order(score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Windows by decreasing score, and the place of the last one at each threshold."""
    order = np.argsort(-score, kind="stable")
    return order, np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)


def depth_that_keeps(log_depth: Sequence[float], auprc: Sequence[float], share: float) -> tuple[float, bool]:
    """Lowest log depth at which AUPRC is still ``share`` of its first value, and whether it never drops below.

    ``log_depth`` and ``auprc`` have shape (depths,), deepest first, without NaN. AUPRC is interpolated linearly in log
    depth (to any base) between the last depth that suffices and the first that does not. If AUPRC never drops that
    far, the result is the last depth and True.

    Examples
    --------
    >>> log_depth, still = depth_that_keeps([-1, -2, -3], [0.5, 0.5, 0.4], share=0.9)
    >>> round(log_depth, 2), still
    (-2.5, False)
    """
    log_depth, auprc = np.asarray(log_depth, dtype=float), np.asarray(auprc, dtype=float)
    wanted = share * auprc[0]
    below = np.flatnonzero(auprc < wanted)
    if not len(below):
        return float(log_depth[-1]), True
    low, high = below[0], below[0] - 1  # the first value is never below
    part = (wanted - auprc[low]) / (auprc[high] - auprc[low])
    return float(log_depth[low] + part * (log_depth[high] - log_depth[low])), False


def calibration_error(
    truth: np.ndarray, probability: np.ndarray, bins: int = 10, weight: np.ndarray | None = None
) -> float:
    """Expected calibration error over equal-width bins (Guo et al. 2017, section 2).

    This is the weighted mean over windows of |observed frequency - mean probability| of the window's bin. ``truth``,
    ``probability`` and ``weight`` (default 1) have shape (windows,). Returns NaN for no windows.

    Examples
    --------
    >>> import numpy as np
    >>> round(calibration_error(np.array([1, 0, 0, 0], bool), np.array([0.25, 0.25, 0.25, 0.25])), 3)
    0.0
    """
    predicted, observed, count = calibration_curve(truth, probability, bins, weight)
    if not count.sum():
        return float("nan")
    gap = np.abs(np.nan_to_num(predicted) - np.nan_to_num(observed))
    return float((gap * count).sum() / count.sum())


def calibration_curve(
    truth: np.ndarray, probability: np.ndarray, bins: int = 10, weight: np.ndarray | None = None
):
    """Mean probability, observed frequency and weighted count of each equal-width bin, float64 (bins,) each.

    ``truth``, ``probability`` and ``weight`` (default 1) have shape (windows,). Empty bins have count 0 and NaN for the
    other two.

    Examples
    --------
    >>> import numpy as np
    >>> predicted, observed, count = calibration_curve(np.array([1, 0, 1]), np.array([0.1, 0.1, 0.9]), bins=2)
    >>> observed.tolist(), count.tolist()
    ([0.5, 1.0], [2.0, 1.0])
    """
    return pooled_calibration_curve([(truth, probability, weight)], bins)


def pooled_calibration_curve(
    parts: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray | None]], bins: int = 10
):
    """The :func:`calibration_curve` of several parts, each (truth, probability, weight), with one in memory at a time.

    The result equals that of the joined parts to the bit, because the sums continue from part to part.
    """
    count, predicted, observed = np.zeros((3, bins))
    for truth, probability, weight in parts:
        probability = np.asarray(probability, dtype=float)
        row = np.minimum((probability * bins).astype(int), bins - 1)
        weight = np.ones(len(row)) if weight is None else np.asarray(weight, dtype=float)
        np.add.at(count, row, weight)
        np.add.at(predicted, row, weight * probability)
        np.add.at(observed, row, weight * np.asarray(truth, dtype=float))
    with np.errstate(invalid="ignore"):
        return predicted / count, observed / count, count


def precision_on_grid(
    truth: np.ndarray, score: np.ndarray, grid: np.ndarray, weight: np.ndarray | None = None
) -> np.ndarray:
    """Best precision at a recall of at least each value of ``grid``, (grid,); NaN without a bound window.

    ``truth``, ``score`` and ``weight`` are those of :func:`ranking_metrics`.

    Examples
    --------
    >>> import numpy as np
    >>> truth, score = np.array([1, 0, 1, 0], bool), np.array([0.9, 0.8, 0.7, 0.1])
    >>> precision_on_grid(truth, score, np.array([0.5, 1.0])).round(2).tolist()
    [1.0, 0.67]
    """
    if not np.any(truth):
        return np.full(len(grid), np.nan)
    from sklearn.metrics import precision_recall_curve  # a second to import

    precision, recall, _ = precision_recall_curve(truth, score, sample_weight=weight)
    order = np.argsort(recall)
    best_from_here = np.maximum.accumulate(precision[order][::-1])[::-1]
    return best_from_here[np.minimum(np.searchsorted(recall[order], grid), len(order) - 1)]
