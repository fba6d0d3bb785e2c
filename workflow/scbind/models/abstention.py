"""How sure the predictions of a TF are, and when scbind abstains instead of predicting.

scbind abstains on a TF if the validation windows do not support the model: too few of them are bound, or the AUPRC is
low or hardly above the prevalence, which is the AUPRC of random guessing. In a single cell, scbind also abstains on TFs
that need more insertions than the cell has, including borrowed ones. The numbers are written nevertheless, and marked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from scbind.dataset.codes import BOUND
from scbind.models.metrics import depth_that_keeps, least_auprc, ranking_metrics

FEW_BOUND = 10  # with fewer bound windows a TF's accuracy is unknown
LOW, HIGH = 0.1, 0.5  # AUPRC limits: the level of a TF is low below the first, high from the second on
# Fraction of its AUPRC at full depth that a TF must keep in a cell. Single cells are far shallower than the bulk tracks
# of validation, so every TF loses accuracy. With one half, most of what was validated remains.
KEPT = 0.5
# Minimum ratio of AUPRC to prevalence. If sites are common, an AUPRC that is not low may be hardly better than
# guessing. Two doublings are required. This is a choice: a ranking by accessibility alone does not reach it.
ABSTAIN_GAIN = 4.0


def reliability(
    tfs: Sequence[str], labels: np.ndarray, logits: np.ndarray, depth: np.ndarray, weight: np.ndarray
) -> dict[str, dict]:
    """Measure on validation windows how reliable the predictions of each TF are.

    Parameters
    ----------
    tfs
        Names, in the order of the columns.
    labels
        int8 (N, TFs), negative where unknown.
    logits
        float32 (depths, N, TFs), the first at full depth, then ever shallower.
    depth
        float32 (depths, N), insertions per base.
    weight
        (N,), how many validation windows each stands for (:func:`scbind.dataset.draws.draw_windows`).

    Returns
    -------
    dict
        TF -> ``auprc`` and ``prevalence`` at full depth, weighted; ``auprc_least``: what the AUPRC is at least
        (:func:`scbind.models.metrics.least_auprc`), the same where all weights are 1; ``n_bound``: bound windows among
        those given, each counted once; ``level``: ``unknown`` with fewer than ``FEW_BOUND`` of these, else by
        ``auprc_least`` ``low`` below ``LOW``, ``high`` from ``HIGH``, or ``medium``; ``auprc_at``: pairs of mean
        log10 depth and AUPRC, both weighted, deepest first; ``min_depth``: lowest depth (insertions per base)
        at which the AUPRC is still ``KEPT`` times its full-depth value, interpolated in log depth; the lowest tested
        depth if the AUPRC never drops that far; ``None`` where the level is unknown or low; ``abstained``: the level
        is unknown or low, or ``auprc_least`` less than ``ABSTAIN_GAIN`` times the prevalence. Numbers that cannot be
        computed are ``None``.
    """
    found = {}
    log_depth = np.log10(np.maximum(depth, 1e-7), dtype=np.float64)
    for column, tf in enumerate(tfs):
        known = labels[:, column] >= 0
        bound = labels[known, column] == BOUND
        each = [ranking_metrics(bound, scores[known, column], weight[known]) for scores in logits]
        auprc, n_bound = each[0]["auprc"], each[0]["n_bound"]
        least = least_auprc(bound, logits[0][known, column], weight[known])
        level = "low" if least < LOW else "high" if least >= HIGH else "medium"
        # AUPRC is undefined without a negative window
        level = "unknown" if n_bound < FEW_BOUND or np.isnan(auprc) else level
        points = [
            (np.average(d[known], weights=weight[known]) if known.any() else np.nan, m["auprc"])
            for d, m in zip(log_depth, each, strict=True)
        ]
        knows = level in ("medium", "high")
        found[tf] = {
            "auprc": _plain(auprc, 4),
            "auprc_least": _plain(least, 4),
            "prevalence": _plain(each[0]["prevalence"], 6),
            "n_bound": n_bound,
            "level": level,
            "auprc_at": [[_plain(d, 4), _plain(a, 4)] for d, a in points],
            "min_depth": float(f"{10 ** depth_that_keeps(*zip(*points, strict=True), KEPT)[0]:.4g}")
            if knows
            else None,
            "abstained": bool(not knows or least < ABSTAIN_GAIN * each[0]["prevalence"]),
        }
    return found


def reliability_table(known: Mapping[str, Mapping], tfs: Sequence[str]) -> pd.DataFrame:
    """What is known of each TF as a table: one row per TF, in order.

    ``known`` is what :func:`reliability` returns. The table leaves out lists. ``level`` and
    ``abstained`` (bool) are always there: a TF missing from ``known`` has level ``unknown`` and is abstained on.
    The other columns are float64, NaN where there is no number.
    """
    rows = [
        {name: value for name, value in (known.get(tf) or {}).items() if not isinstance(value, list | dict)}
        for tf in tfs
    ]
    table = pd.DataFrame(rows, index=pd.Index(np.asarray(tfs, dtype=object), name="tf"))
    numbers = table.drop(columns=["level", "abstained"], errors="ignore").astype(np.float64)
    numbers["level"] = [row.get("level", "unknown") for row in rows]
    numbers["abstained"] = [bool(row.get("abstained", True)) for row in rows]
    return numbers


def marks(known: Mapping[str, Mapping], tfs: Sequence[str]) -> pd.DataFrame:
    """``reliability_level`` and ``reliability_abstained`` of each TF: the columns that tables of results carry."""
    return reliability_table(known, tfs)[["level", "abstained"]].add_prefix("reliability_")


def abstained(table: pd.DataFrame, depth: np.ndarray) -> np.ndarray:
    """Bool (cells, TFs): the TF is abstained on as a whole, or the cell is shallower than the TF's ``min_depth``.

    ``table`` is that of :func:`reliability_table`; ``depth`` (cells,), insertions per base with what is borrowed.
    """
    least = table["min_depth"].to_numpy() if "min_depth" in table else np.full(len(table), np.nan)
    # a TF without a minimum depth (an old calibration) and not abstained on is predicted in every cell
    return table["abstained"].to_numpy() | (np.asarray(depth)[:, None] < least)


def _plain(value: float, digits: int) -> float | None:
    return None if np.isnan(value) else round(float(value), digits)
