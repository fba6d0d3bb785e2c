"""How well probabilities agree with the fraction of windows that is bound.

This module is separate from :mod:`scbind.models.metrics`, because training imports that one, and no model needs to be
trained again when these figures change.
"""

from __future__ import annotations

import numpy as np

from scbind.models.metrics import calibration_error

# Limits of P(bound) of the windows whose calibration is measured: the BED files of cell types list windows from 0.1 on,
# and the test of links counts windows from 0.3 on as sites.
LIKELY = {"p10": 0.1, "p30": 0.3}
CALIBRATION_COLUMNS = [
    "ece",
    "mean_predicted",
    *(f"{figure}_{name}" for name in LIKELY for figure in ("windows", "predicted", "observed")),
]


def calibration_figures(
    truth: np.ndarray, probability: np.ndarray, weight: np.ndarray | None = None
) -> dict[str, float]:
    """How well the probabilities of one TF are calibrated, over all windows and over those that are likely bound.

    ``truth``, ``probability`` and ``weight`` (default 1) have shape (windows,). Nearly all windows are unbound and have
    a low probability, so they decide over ``ece``, and a prediction of 0 for every window has an ``ece`` equal to the
    prevalence. The other figures say how far to trust a probability that is not low.

    Returns
    -------
    dict
        With the keys ``CALIBRATION_COLUMNS``. NaN where there is no window.

        - ``ece``: :func:`scbind.models.metrics.calibration_error`.
        - ``mean_predicted``: mean probability. Its ratio to the prevalence is the sum of the probabilities over the
          number of bound windows.
        - ``windows_p10``, ``predicted_p10``, ``observed_p10``: number of windows with a probability of at least 0.1
          (the sum of their weights), their mean probability, and the fraction of them that is bound. ``_p30``: the same
          from 0.3 on.

    Examples
    --------
    >>> import numpy as np
    >>> found = calibration_figures(np.array([1, 0, 0, 0], bool), np.array([0.8, 0.4, 0.2, 0.0]))
    >>> [round(float(found[name]), 2) for name in ('mean_predicted', 'windows_p30', 'predicted_p30', 'observed_p30')]
    [0.35, 2.0, 0.6, 0.5]
    """
    truth, probability = np.asarray(truth, dtype=bool), np.asarray(probability)
    weight = np.ones(len(truth)) if weight is None else np.asarray(weight, dtype=float)
    found = {"ece": calibration_error(truth, probability, weight=weight)}
    found["mean_predicted"] = _mean(probability, weight)
    for name, limit in LIKELY.items():
        likely = probability >= limit
        found[f"windows_{name}"] = float(weight[likely].sum())
        found[f"predicted_{name}"] = _mean(probability[likely], weight[likely])
        found[f"observed_{name}"] = _mean(truth[likely], weight[likely])
    return found


def _mean(values: np.ndarray, weight: np.ndarray) -> float:
    """Weighted mean in float64; NaN without values."""
    return float(np.average(values.astype(float), weights=weight)) if len(values) else float("nan")
