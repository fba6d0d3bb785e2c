"""Logits of probabilities."""

from __future__ import annotations

import numpy as np

LEAST = 1e-7  # probabilities are kept this far from 0 and 1


def logit(probability: np.ndarray) -> np.ndarray:
    """Return log(p / (1 - p)), float64; finite also for 0 and 1 (:data:`LEAST`).

    Examples
    --------
    >>> logit(np.array([0.5, 0.0])).round(1).tolist()
    [0.0, -16.1]
    """
    kept = np.clip(np.asarray(probability, dtype=np.float64), LEAST, 1 - LEAST)
    return np.log(kept / (1 - kept))
