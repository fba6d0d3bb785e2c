"""Figures of merit for rare positives."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score


def ranking_metrics(truth: np.ndarray, score: np.ndarray) -> dict[str, float]:
    """Rank-based figures of one TF.

    ``truth`` is bool and ``score`` float, both shape (windows,). Returns ``n_windows, n_bound, prevalence, auroc,
    auprc`` (average precision), ``recall_at_fdr10`` and ``recall_at_fdr50`` (best recall at a precision of at
    least 0.9 and 0.5, as in the DREAM challenge); NaN where there is no positive or no negative.
    """
    truth = np.asarray(truth, dtype=bool)
    found = {"n_windows": len(truth), "n_bound": int(truth.sum())}
    found["prevalence"] = truth.mean() if len(truth) else np.nan
    names = ("auroc", "auprc", "recall_at_fdr10", "recall_at_fdr50")
    if not truth.any() or truth.all():
        return found | dict.fromkeys(names, np.nan)
    precision, recall, _ = precision_recall_curve(truth, score)
    found["auroc"] = roc_auc_score(truth, score)
    found["auprc"] = average_precision_score(truth, score)
    found["recall_at_fdr10"] = recall[precision >= 0.9].max(initial=0.0)
    found["recall_at_fdr50"] = recall[precision >= 0.5].max(initial=0.0)
    return found


def calibration_error(truth: np.ndarray, probability: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error over equal-width bins (Guo et al. 2017, section 2).

    The mean over windows of |observed frequency - mean probability| of the window's bin; NaN for no windows.
    """
    predicted, observed, count = reliability(truth, probability, bins)
    if not count.sum():
        return float("nan")
    gap = np.abs(np.nan_to_num(predicted) - np.nan_to_num(observed))
    return float((gap * count).sum() / count.sum())


def reliability(truth: np.ndarray, probability: np.ndarray, bins: int = 10):
    """Mean probability, observed frequency and count of each equal-width bin; NaN in empty bins."""
    row = np.minimum((np.asarray(probability) * bins).astype(int), bins - 1)
    count = np.bincount(row, minlength=bins)
    with np.errstate(invalid="ignore"):
        predicted = np.bincount(row, weights=probability, minlength=bins) / count
        observed = np.bincount(row, weights=np.asarray(truth, dtype=float), minlength=bins) / count
    return predicted, observed, count


def precision_on_grid(truth: np.ndarray, score: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Best precision at a recall of at least each value of ``grid``; NaN without positives."""
    if not np.any(truth):
        return np.full(len(grid), np.nan)
    precision, recall, _ = precision_recall_curve(truth, score)
    order = np.argsort(recall)
    best_from_here = np.maximum.accumulate(precision[order][::-1])[::-1]
    return best_from_here[np.minimum(np.searchsorted(recall[order], grid), len(order) - 1)]
