"""Moderated t-tests of many windows over few donors (limma: Smyth 2004, Statistical Applications in Genetics 3:3)."""

from __future__ import annotations

import numpy as np
from scipy import optimize, special

LEAST = 1e-6  # smallest variance of a mean P(bound); smaller differences are rounding of the binding store


def moderated_t(
    difference: np.ndarray, variance: np.ndarray, df: int, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the moderated t and its two-sided p-value per window.

    Parameters
    ----------
    difference, variance
        float64 (windows,): the tested difference, and the variance of the replicates within their groups.
    df
        Degrees of freedom of ``variance``.
    scale
        The variance of ``difference`` is ``scale`` times ``variance``.
    """
    variance = np.maximum(variance, LEAST)
    prior_df, prior = fit_prior(variance, df)
    if np.isinf(prior_df):
        middle = np.full(len(variance), prior)
    else:
        middle = (prior_df * prior + df * variance) / (prior_df + df)
    t = difference / np.sqrt(middle * scale)
    return t, 2 * special.stdtr(min(df + prior_df, df * max(len(variance), 1)), -np.abs(t))


def fit_prior(variance: np.ndarray, df: int) -> tuple[float, float]:
    """Fit a scaled inverse chi-square distribution to variances: its degrees of freedom, and its location.

    The degrees of freedom are infinite if the variances differ no more than by chance. ``variance``: float64
    (windows,), above 0.
    """
    if len(variance) < 3:
        return 0.0, 1.0
    e = np.log(variance) - special.digamma(df / 2) + np.log(df / 2)
    spread = e.var(ddof=1) - special.polygamma(1, df / 2)
    if spread <= 0:
        return np.inf, float(np.exp(e.mean()))
    half = optimize.brentq(lambda x: special.polygamma(1, np.exp(x)) - spread, -20, 20)
    half = float(np.exp(half))
    return 2 * half, float(np.exp(e.mean() + special.digamma(half) - np.log(half)))
