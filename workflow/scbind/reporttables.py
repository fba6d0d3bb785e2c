"""Tables and formatted numbers of the report."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

MAX_ROWS = 400  # of one table on the page; the files hold all


@dataclass
class Section:
    """One part of the page, in the shape that the template draws."""

    id: str
    title: str
    text: list[str] = field(default_factory=list)
    tiles: list[tuple[str, str]] = field(default_factory=list)
    points: list[str] = field(default_factory=list)
    figures: list[dict] = field(default_factory=list)
    tables: list[dict] = field(default_factory=list)
    files: list[tuple[str, str]] = field(default_factory=list)


def number(value: float) -> str:
    """A number as a reader wants it: thousands separated, three significant digits, tiny ones as 1.2e-08."""
    if pd.isna(value):
        return "–"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) < 1e-3:
        return f"{value:.1e}"
    return f"{value:.3f}" if abs(value) < 1 else f"{value:.3g}"


def html_table(title: str, table: pd.DataFrame, note: str = "", names: dict | None = None) -> dict:
    """What the template needs to draw a table: cells with their text and, for numbers, the value to sort
    by.
    """
    if len(table) > MAX_ROWS:
        note = f"{note} The first {MAX_ROWS:,} of {len(table):,} rows; the file holds all.".strip()
        table = table.head(MAX_ROWS)
    numeric = [
        pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind) for kind in table.dtypes
    ]
    columns = [
        {"name": (names or {}).get(name, str(name).replace("_", " ")), "numeric": is_number}
        for name, is_number in zip(table.columns, numeric, strict=True)
    ]
    rows = [
        [_cell(value, is_number) for value, is_number in zip(row, numeric, strict=True)]
        for row in table.itertuples(index=False)
    ]
    return {"title": title, "note": note, "columns": columns, "rows": rows}


def _cell(value, is_number: bool) -> dict:
    if is_number:
        known = not pd.isna(value) and math.isfinite(value)
        return {"text": number(value), "sort": float(value) if known else -1e300}
    if isinstance(value, bool | np.bool_):
        return {"text": "yes" if value else "no", "sort": None}
    return {"text": "" if pd.isna(value) else str(value), "sort": None}


def comparison(metrics: pd.DataFrame, split: str = "test") -> pd.DataFrame:
    """Mean figures of each model over the (cell line, TF) pairs that every model was scored on, best first.

    ``metrics`` is ``results/evaluation/metrics.tsv``; pairs where a model has no AUPRC are left out for
    all, so that the means compare. Columns ``model, n_pairs, auprc, prevalence, over_prevalence, auroc,
    recall_at_fdr10, recall_at_fdr50, ece``.
    """
    part = metrics[(metrics["split"] == split) & metrics["auprc"].notna()]
    columns = ["auprc", "prevalence", "over_prevalence", "auroc", "recall_at_fdr10", "recall_at_fdr50", "ece"]
    if part.empty:
        return pd.DataFrame(columns=["model", "n_pairs", *columns])
    counts = part.groupby(["cell_line", "tf"])["model"].nunique()
    shared = counts.index[counts == part["model"].nunique()]
    part = part.set_index(["cell_line", "tf"]).loc[lambda frame: frame.index.isin(shared)]
    if part.empty:
        return pd.DataFrame(columns=["model", "n_pairs", *columns])
    part = part.assign(over_prevalence=part["auprc"] / part["prevalence"])
    table = part.groupby("model")[columns].mean()
    table.insert(0, "n_pairs", part.groupby("model").size())
    return table.sort_values("auprc", ascending=False, kind="stable").reset_index()


def top_differential(table: pd.DataFrame, per_type: int = 10) -> pd.DataFrame:
    """The factors with the smallest adjusted p-values and a positive difference, of each type and
    contrast.
    """
    up = table[table["difference"] > 0] if len(table) else table
    order = ["contrast", "cell_type", "group", "p_adjusted", "effect_size"]
    up = up.sort_values(order, ascending=[True, True, True, True, False], kind="stable")
    up = up.groupby(["contrast", "cell_type", "group"], sort=False).head(per_type)
    kept = [
        "cell_type", "tf", "difference", "effect_size", "mean_binding", "mean_binding_reference",
        "p_adjusted",
        "n_replicates",
    ]  # fmt: skip
    level = [name for name in ("reliability_level",) if name in up]
    lead = ["contrast", "group", "reference"] if (table["contrast"] == "condition").any() else []
    return up[[*lead, *kept, *level]]


def join_names(names: Iterable[str]) -> str:
    """``a, b and c``."""
    names = list(names)
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
