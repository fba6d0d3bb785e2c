"""Adjust p-values for the number of tests (Benjamini & Hochberg 1995, J. R. Statist. Soc. B 57:289)."""

from __future__ import annotations

import numpy as np


def adjust(p_values: np.ndarray) -> np.ndarray:
    """Return adjusted p-values: the lowest false discovery rate at which each test is listed. Both float64 (tests,).

    The same as ``scipy.stats.false_discovery_control``, which takes half a second to import. Raises ValueError if a
    p-value is not between 0 and 1.

    Examples
    --------
    >>> adjust(np.array([0.5, 0.6, 0.1, 0.001])).tolist()
    [0.6, 0.6, 0.2, 0.004]
    """
    if not ((p_values >= 0) & (p_values <= 1)).all():
        raise ValueError("p-values must be between 0 and 1")
    order, n = np.argsort(p_values), len(p_values)
    found = np.empty(n)
    found[order] = np.minimum.accumulate((p_values[order] * (n / np.arange(1, n + 1)))[::-1])[::-1]
    return np.minimum(found, 1)
