"""Choose the TFs that a figure shows if there are too many for a reader."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

ROWS, PANELS = 60, 20  # maximum number of TFs that are rows of a figure, or panels


def spaced(names: Sequence[str], most: int, order: str) -> tuple[list[str], str]:
    """Return at most ``most`` of the ordered ``names``, and a sentence that says so. It is empty if all are chosen.

    The chosen names are evenly spaced. They include the first and the last, so that they show the whole range instead
    of the best. ``order`` says how the names are ordered.

    Examples
    --------
    >>> spaced(list("abcdefg"), 3, "AUPRC")
    (['a', 'd', 'g'], ' Shown: 3 of 7 TFs, evenly spaced in the order of AUPRC, the highest and the lowest included.')
    """
    names = list(names)
    if len(names) <= most:
        return names, ""
    rows = np.linspace(0, len(names) - 1, most).round().astype(int)
    said = f"{most} of {len(names):,} TFs, evenly spaced in the order of {order}, the highest and the lowest included"
    return [names[row] for row in rows], f" Shown: {said}."


def in_order(table: pd.DataFrame, models: Sequence[str], column: str) -> list[str]:
    """Return the TFs of a table, highest value first: the mean of ``column`` for the leading model.

    ``table`` has ``model, tf`` and ``column``. The leading model is the first of ``models`` that has rows, or that of
    the first row. TFs without a value of this model come last.
    """
    present = table["model"].unique()
    leading = next((name for name in models if name in present), present[0])
    means = table[table["model"] == leading].groupby("tf")[column].mean()
    return means.reindex(table["tf"].unique()).sort_values(ascending=False, kind="stable").index.tolist()
