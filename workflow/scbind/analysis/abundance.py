"""Cell types and populations that are more or less frequent in a condition.

The unit is the donor or, if it is not known, the sample: each has one count per type. Donors differ by
more than chance, so the test is a binomial generalised linear model with Williams' weights (Williams 1982, Applied
Statistics 31:144): cells of a donor are correlated, so a donor with n cells has the weight of
n / (1 + (n - 1) * correlation) independent cells. A donor with many cells therefore does not dominate. The correlation
is estimated from the donors, and is at least 0. Cells are never the unit. Fractions sum to 1, so if one type
increases, others decrease.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import optimize, special

from scbind.analysis.activitytable import compared_conditions, replicates
from scbind.analysis.adjustment import adjust
from scbind.core.errors import InputError
from scbind.core.files import read_result, write_table
from scbind.core.runlog import say
from scbind.formats.celltable import read_obs

MIN_DONORS = 3  # a side
TEST = "F-test over donors, with Williams' weights"
FEW = f"not tested: fewer than {MIN_DONORS} donors per group"
BOTH = "not tested: a donor is in both groups"
COLUMNS = [
    "kind", "name", "group", "reference", "n_cells", "n_cells_reference", "n_donors", "n_donors_reference",
    "fraction", "fraction_reference", "log2_odds_ratio", "log2_low", "log2_high", "dispersion", "statistic",
    "p_value", "p_adjusted", "test", "counts",
]  # fmt: skip


def abundance(cells: list[str | Path], populations: str | Path, output: str | Path) -> None:
    """Compare the fraction of each cell type and population between conditions.

    Parameters
    ----------
    cells
        ``results/cells/{sample}/cells.h5ad``. Cells that do not pass, or without a condition, are left out.
    populations
        ``results/analysis/population_cells.tsv``.
    output
        Table with one row per type or population and contrast; columns in ``docs/reference/outputs.md``. It is empty
        without two conditions.

    Raises
    ------
    InputError
        If a file is missing or unreadable, or the populations do not have the cells of the samples.

    Notes
    -----
    F-test of the weighted deviance, with 1 and donors - 2 degrees of freedom. The correlation is the one at which
    Pearson's statistic equals its degrees of freedom (method of moments). If all donors have the same number of cells,
    this equals the quasi-binomial F-test. The interval has a coverage of 95 % (Student's t). Each kind and contrast is
    adjusted by itself (Benjamini-Hochberg).
    """
    obs = _read(cells, populations)
    rows = [_row(*contrast) for contrast in _contrasts(obs)]
    if not rows:
        say("abundance: there are no two conditions to compare, so the table is empty")
    table = pd.DataFrame(rows, columns=COLUMNS)
    if len(table):
        tested = table[table["test"] == TEST]
        groups = tested.groupby(["kind", "group"])["p_value"]
        table["p_adjusted"] = groups.transform(lambda p: adjust(p.to_numpy()))
        table = table.sort_values(["kind", "group", "p_adjusted"], kind="stable")
    write_table(output, table)
    say(f"abundance: {len(table)} rows, {int((table['test'] == TEST).sum())} of them tested")


def _read(cells: list[str | Path], populations: str | Path) -> pd.DataFrame:
    """Return the passing cells: ``donor``, ``condition``, ``cell_type`` and ``population``; missing where unknown."""
    tables = [read_obs(path, ["sample", "pass", "cell_type"]) for path in cells]
    obs = pd.concat([table[table["pass"].astype(bool)] for table in tables])
    found = read_result(populations, "run the populations rule again", text=True)
    if {"cell", "population"} - set(found):
        raise InputError(populations, "has no columns cell and population", "run the populations rule again")
    named = found.set_index("cell")["population"]
    if lost := len(obs.index.difference(named.index)):
        raise InputError(
            populations, f"{lost} cells of the samples are not in it", "run the populations rule again"
        )
    table = pd.DataFrame({"donor": replicates(obs)}, index=obs.index)
    table["condition"] = obs["condition"].astype(object) if "condition" in obs else None
    table["cell_type"] = obs["cell_type"].astype(object)
    table["population"] = named.reindex(obs.index)
    return table.replace("", None)


def _contrasts(obs: pd.DataFrame) -> Iterator[tuple]:
    """Yield kind, name, condition, the others, and the counts: a table of donors with ``inside, k, n``."""
    obs = obs[obs["condition"].notna()]
    conditions = sorted(obs["condition"].unique())
    if len(conditions) < 2:
        return
    for kind in ("cell_type", "population"):
        known = obs[obs[kind].notna()] if kind == "cell_type" else obs
        for name in sorted(known[kind].dropna().unique(), key=_order):
            for value in compared_conditions(obs["condition"]):
                side = (known["condition"] == value).rename("inside")
                counts = (known[kind] == name).groupby([known["donor"], side]).agg(["sum", "count"])
                counts = counts.set_axis(["k", "n"], axis=1).reset_index()
                counts = counts.sort_values(["inside", "donor"], kind="stable", ignore_index=True)
                others = ", ".join(other for other in conditions if other != value)
                yield kind, name, value, others, counts


def _order(name: str) -> tuple:
    """Sort P2 before P10."""
    return (len(name), name) if name[1:].isdigit() else (0, name)


def _row(kind: str, name: str, group: str, reference: str, counts: pd.DataFrame) -> dict:
    inside = counts["inside"].to_numpy()
    row = {"kind": kind, "name": name, "group": group, "reference": reference}
    for suffix, side in (("", inside), ("_reference", ~inside)):
        row[f"n_cells{suffix}"] = int(counts["k"][side].sum())
        row[f"n_donors{suffix}"] = int(side.sum())
        row[f"fraction{suffix}"] = float((counts["k"] / counts["n"])[side].mean())
    each = zip(counts["donor"], counts["k"], counts["n"], strict=True)
    row["counts"] = ";".join(f"{donor}:{k}/{n}" for donor, k, n in each)
    if counts["donor"].duplicated().any():
        return row | {"test": BOTH}
    if min(inside.sum(), (~inside).sum()) < MIN_DONORS:
        return row | {"test": FEW}
    return row | compare(counts["k"].to_numpy(), counts["n"].to_numpy(), inside) | {"test": TEST}


def compare(k: np.ndarray, n: np.ndarray, inside: np.ndarray) -> dict:
    """Compare counts ``k`` of ``n`` cells per donor between donors ``inside`` and the others; int and bool (donors,).

    Returns the columns from ``log2_odds_ratio`` to ``p_value``. The odds ratio has no interval if a side has no or only
    such cells.
    """
    # half a second to import; statsmodels.api takes a second
    from statsmodels.genmod.families import Binomial
    from statsmodels.genmod.generalized_linear_model import GLM

    if not 0 < k.sum() < n.sum():
        return {"dispersion": 1.0, "statistic": 0.0, "p_value": 1.0}
    design, inflation = np.column_stack([np.ones(len(k)), inside]), 1 + (n - 1) * _correlation(k, n, inside)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a side without such cells: the odds ratio has no limit
        family, weights = Binomial(), n / inflation
        null, full = (GLM(k / n, x, family, var_weights=weights).fit() for x in (design[:, :1], design))
        rest = max(1.0, full.pearson_chi2 / full.df_resid)  # above 1 only if the correlation is 1
        error = full.bse[1] * np.sqrt(rest)
    statistic = max(null.deviance - full.deviance, 0.0) / rest
    p_value = float(special.fdtrc(1, full.df_resid, statistic))
    found = {"dispersion": float(inflation.mean() * rest), "statistic": statistic, "p_value": p_value}
    bare = [k[side].sum() in (0, n[side].sum()) for side in (inside, ~inside)]
    if not any(bare):
        reach = special.stdtrit(full.df_resid, 0.975) * error
        effect = np.array([full.params[1], full.params[1] - reach, full.params[1] + reach]) / np.log(2)
        found |= dict(zip(["log2_odds_ratio", "log2_low", "log2_high"], effect, strict=True))
    return found


def _correlation(k: np.ndarray, n: np.ndarray, inside: np.ndarray) -> float:
    """Return the correlation between cells of a donor, 0 to 1, at which Pearson's statistic is its expected value."""

    def excess(correlation: float) -> float:
        weights, statistic = n / (1 + (n - 1) * correlation), 0.0
        for side in (inside, ~inside):
            mean = np.average(k[side] / n[side], weights=weights[side])
            if 0 < mean < 1:
                statistic += np.sum(weights[side] * (k[side] / n[side] - mean) ** 2) / (mean * (1 - mean))
        return statistic - (len(k) - 2)

    if excess(0.0) <= 0:
        return 0.0
    return 1.0 if excess(1.0) >= 0 else float(optimize.brentq(excess, 0.0, 1.0))
