"""How reliable the predictions of a TF are, and when scbind abstains.

scbind abstains on a TF if too few validation windows are bound, if the AUPRC on them is low, or if it is hardly above
the prevalence, which is the AUPRC of random guessing. In a single cell, scbind also
abstains on TFs that need more insertions than the cell has, including borrowed ones. Predictions that scbind abstains
on are still written, and marked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from scbind.dataset.codes import BOUND, FEW_BOUND
from scbind.formats.evidence import CHIP, DESCRIBED
from scbind.models.metrics import depth_that_keeps, least_auprc, ranking_metrics

LOW, HIGH = 0.1, 0.5  # AUPRC limits: the level of a TF is low below LOW, high at HIGH or above
# Fraction of its AUPRC at full depth that a TF must keep in a cell. Single cells are far shallower than the bulk tracks
# of validation, so every TF loses accuracy. At one half, most of the validated accuracy remains.
KEPT = 0.5
# Minimum ratio of AUPRC to prevalence. If sites are common, even an AUPRC above LOW may be hardly better than guessing.
# The value is a choice. It does not mean that a TF is predicted better than by accessibility alone, which has ratios of
# 7 on the demo and of about 90 on the real pieces; that comparison is in the evaluation.
ABSTAIN_GAIN = 4.0


def reliability(
    tfs: Sequence[str], labels: np.ndarray, logits: np.ndarray, depth: np.ndarray, weight: np.ndarray
) -> dict[str, dict]:
    """Measure on validation windows how reliable the predictions of each TF are.

    Parameters
    ----------
    tfs
        Names of the TFs, in the order of the columns.
    labels
        int8 (N, TFs), negative where unknown.
    logits
        float32 (depths, N, TFs), from full depth to the lowest depth.
    depth
        float32 (depths, N), insertions per base.
    weight
        (N,), number of validation windows that each one represents (:func:`scbind.dataset.draws.draw_windows`).

    Returns
    -------
    dict
        TF -> a dict with these keys. A number that cannot be computed is ``None``.

        - ``auprc``, ``prevalence``: weighted, at full depth.
        - ``auprc_least``: conservative AUPRC (:func:`scbind.models.metrics.least_auprc`); equals ``auprc`` if all
          weights are 1.
        - ``n_bound``: number of bound windows among the N, unweighted.
        - ``level``: ``unknown`` if ``n_bound`` is below ``FEW_BOUND`` or the AUPRC is undefined. Otherwise
          ``auprc_least`` decides: ``low`` below ``LOW``, ``high`` at ``HIGH`` or above, ``medium`` between them.
        - ``auprc_at``: pairs of mean log10 depth and AUPRC, both weighted, deepest first.
        - ``min_depth``: lowest depth (insertions per base) at which AUPRC is still ``KEPT`` times its full-depth value,
          interpolated in log depth; the lowest tested depth if AUPRC never drops that far; ``None`` if the level is
          unknown or low.
        - ``abstained``: True if the level is unknown or low, or if ``auprc_least`` is below ``ABSTAIN_GAIN`` times the
          prevalence.
    """
    found = {}
    log_depth = np.log10(np.maximum(depth, 1e-7), dtype=np.float64)
    for column, tf in enumerate(tfs):
        known = labels[:, column] >= 0
        bound = labels[known, column] == BOUND
        each = [ranking_metrics(bound, scores[known, column], weight[known]) for scores in logits]
        auprc, n_bound = each[0]["auprc"], each[0]["n_bound"]
        least = least_auprc(bound, logits[0][known, column], weight[known])
        level = level_of(least)
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


def level_of(auprc: float) -> str:
    """Level of reliability at a conservative AUPRC: ``low`` below ``LOW``, ``high`` at ``HIGH`` or above."""
    return "low" if auprc < LOW else "high" if auprc >= HIGH else "medium"


def reliability_table(known: Mapping[str, Mapping], tfs: Sequence[str]) -> pd.DataFrame:
    """The reliability of each TF as a table: one row per TF, in the order of ``tfs``.

    ``known`` is the result of :func:`reliability`; its lists are left out. The columns ``evidence`` (``chip`` or
    ``motif``), ``level`` (str) and ``abstained`` (bool) are always present, and ``motif_group`` (str, see
    :func:`scbind.formats.motifgroups.motif_groups`) for models with TFs without ChIP-seq. A TF missing from ``known``
    has level ``unknown`` and ``abstained`` True. The other columns are float64, NaN where there is no number.
    """
    rows = [
        {name: value for name, value in (known.get(tf) or {}).items() if not isinstance(value, list | dict)}
        for tf in tfs
    ]
    table = pd.DataFrame(rows, index=pd.Index(np.asarray(tfs, dtype=object), name="tf"))
    numbers = table.drop(columns=["level", "abstained", *DESCRIBED], errors="ignore").astype(np.float64)
    numbers["evidence"] = [row.get("evidence", CHIP) for row in rows]
    if any("motif_group" in row for row in rows):
        numbers["motif_group"] = [row.get("motif_group", tf) for row, tf in zip(rows, tfs, strict=True)]
    numbers["level"] = [row.get("level", "unknown") for row in rows]
    numbers["abstained"] = [bool(row.get("abstained", True)) for row in rows]
    return numbers


def marks(known: Mapping[str, Mapping], tfs: Sequence[str]) -> pd.DataFrame:
    """Columns ``evidence``, ``reliability_level`` and ``reliability_abstained`` of each TF, for tables of results."""
    table = reliability_table(known, tfs)
    return table[["evidence"]].join(table[["level", "abstained"]].add_prefix("reliability_"))


def abstained(table: pd.DataFrame, depth: np.ndarray) -> np.ndarray:
    """Whether scbind abstains on each TF in each cell, bool (cells, TFs).

    It abstains if it abstains on the TF in general, or if the cell is shallower than the ``min_depth`` of the TF.
    ``table`` is the result of :func:`reliability_table`. ``depth`` (cells,) is in insertions per base and includes
    borrowed ones.
    """
    least = table["min_depth"].to_numpy() if "min_depth" in table else np.full(len(table), np.nan)
    # without a minimum depth (an old calibration), a TF that is not abstained on is predicted in every cell
    return table["abstained"].to_numpy() | (np.asarray(depth)[:, None] < least)


def _plain(value: float, digits: int) -> float | None:
    return None if np.isnan(value) else round(float(value), digits)
