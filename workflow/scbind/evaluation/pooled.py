"""Figures pooled over TFs, with confidence intervals over TFs or over groups of TFs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from scbind.evaluation.probabilities import CALIBRATION_COLUMNS, LIKELY

FEWEST = 5  # groups; with fewer, an interval would say little
OUTSIDE = 0.05  # an interval of 95 %


def ratio_interval(
    numerator: np.ndarray,
    denominator: np.ndarray | float,
    groups: Sequence,
    limits: tuple[float, float] = (-np.inf, np.inf),
) -> tuple[float, float]:
    """Confidence interval (95 %) of a ratio of two sums over groups that vary independently.

    It is that of the ratio estimator (Cochran 1977, Sampling Techniques, chapter 6) with quantiles of the t
    distribution, one degree of freedom less than groups. With few groups, percentiles of a bootstrap would be too
    narrow. If values are skewed, this interval is somewhat too narrow as well.

    Parameters
    ----------
    numerator, denominator
        float (rows,); the denominator may be one number. With a denominator of 1, the ratio is the mean.
    groups
        Group of each row, such as its TF: rows of one group vary together.
    limits
        Smallest and largest possible value of the ratio.

    Returns
    -------
    tuple
        Lower and upper bound. Rows with NaN, and groups with a denominator of 0, are left out. NaN with fewer than
        ``FEWEST`` groups.

    Examples
    --------
    >>> import numpy as np
    >>> low, high = ratio_interval(np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), 1, list("ABCDEF"))
    >>> round(low, 2), round(high, 2)
    (0.15, 0.55)
    """
    numerator = np.asarray(numerator, dtype=float)
    rows = pd.DataFrame({"top": numerator, "bottom": np.broadcast_to(denominator, numerator.shape)})
    known = rows.notna().all(axis=1).to_numpy()
    sums = rows[known].groupby(np.asarray(groups)[known]).sum()
    top, bottom = sums[sums["bottom"] > 0].to_numpy(dtype=float).T
    n = len(top)
    if n < FEWEST:
        return np.nan, np.nan
    ratio = top.sum() / bottom.sum()
    error = np.sqrt(((top - ratio * bottom) ** 2).sum() * n / (n - 1)) / bottom.sum()
    half = stdtrit(n - 1, 1 - OUTSIDE / 2) * error
    return tuple(float(value) for value in np.clip([ratio - half, ratio + half], *limits))


def has_calibration(table: pd.DataFrame) -> bool:
    """Whether a table of metrics has figures of calibration; those of bundles of older versions do not."""
    return set(CALIBRATION_COLUMNS) <= set(table) and bool(table["ece"].notna().any())


def pooled_calibration(table: pd.DataFrame, groups: str = "tf") -> dict[str, float]:
    """Calibration over all rows of a table of metrics, with confidence intervals over TFs or groups of TFs.

    Parameters
    ----------
    table
        Rows of one model and split, with ``prevalence``, ``groups`` and
        :data:`scbind.evaluation.probabilities.CALIBRATION_COLUMNS`. Rows without figures of calibration are left out.
    groups
        Column of the groups that vary independently (:func:`ratio_interval`).

    Returns
    -------
    dict
        ``mean_predicted`` and ``ece`` are means over the rows. ``predicted_to_bound`` is the ratio of
        ``mean_predicted`` to the mean prevalence, ``ece_to_prevalence`` that of ``ece``; the second is 1 for a
        prediction of 0 for every window. ``windows_p10`` is a sum, ``predicted_p10`` and ``observed_p10`` are means
        over these windows; ``_p30`` likewise. ``predicted_to_bound`` and ``observed_`` have bounds, with ``_low`` and
        ``_high``.

    Examples
    --------
    >>> row = {"tf": "A", "prevalence": 0.1, "mean_predicted": 0.2, "ece": 0.1}
    >>> row |= {"windows_p10": 10, "predicted_p10": 0.5, "observed_p10": 0.2}
    >>> row |= {"windows_p30": 5, "predicted_p30": 0.6, "observed_p30": 0.4}
    >>> more = row | {"tf": "B", "windows_p30": 15, "observed_p30": 0.6}
    >>> found = pooled_calibration(pd.DataFrame([row, more]))
    >>> round(found["predicted_to_bound"], 2), found["windows_p30"], round(found["observed_p30"], 2)
    (2.0, 20.0, 0.55)
    """
    table = table[table["mean_predicted"].notna()]
    group = table[groups].to_numpy()
    prevalence, predicted = table["prevalence"].to_numpy(), table["mean_predicted"].to_numpy()
    found = {"mean_predicted": _ratio(predicted, 1)}
    found |= _with_interval("predicted_to_bound", predicted, prevalence, group, (0, np.inf))
    found["ece"] = _ratio(table["ece"].to_numpy(), 1)
    found["ece_to_prevalence"] = _ratio(table["ece"].to_numpy(), prevalence)
    for name in LIKELY:
        windows = table[f"windows_{name}"].to_numpy(dtype=float)
        each = {key: table[f"{key}_{name}"].fillna(0).to_numpy() for key in ("predicted", "observed")}
        found[f"windows_{name}"] = float(windows.sum())
        found[f"predicted_{name}"] = _ratio(windows * each["predicted"], windows)
        found |= _with_interval(f"observed_{name}", windows * each["observed"], windows, group, (0, 1))
    return found


def _ratio(numerator: np.ndarray, denominator: np.ndarray | float) -> float:
    total = np.broadcast_to(denominator, numerator.shape).sum()
    return float(numerator.sum() / total) if total > 0 else float("nan")


def _with_interval(
    name: str, numerator: np.ndarray, denominator: np.ndarray, groups: np.ndarray, limits: tuple[float, float]
) -> dict[str, float]:
    low, high = ratio_interval(numerator, denominator, groups, limits)
    return {name: _ratio(numerator, denominator), f"{name}_low": low, f"{name}_high": high}
