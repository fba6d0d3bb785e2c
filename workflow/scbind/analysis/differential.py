"""Transcription factors whose activity differs between cell types, or between conditions within a type.

The unit of replication is the donor or, if it is not known, the sample. Cells of one sample are not
replicates: a test that treats them as replicates finds almost everything significant (Squair et al. 2021, Nature
Communications 12:5692). With three or more replicates, the test compares their means. With fewer, it compares cells,
and the column ``test`` states that the p-values describe this sample only. Cells that borrow insertions from the same
cells are not independent either, which that test takes into account (:mod:`scbind.analysis.designeffect`). A TF on
which scbind abstains is described but not tested. A cell that is too shallow for a TF is left out for this TF.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from scbind.analysis.activitytable import (
    SHARED,
    Activity,
    compared_conditions,
    evidence_by_tf,
    matched,
    read_activity,
    replicates,
    say_left_out,
)
from scbind.analysis.adjustment import adjust, by_family
from scbind.analysis.designeffect import Borrowing, Overlap, compare_means
from scbind.analysis.typemeans import list_types
from scbind.core.files import write_table
from scbind.core.runlog import say
from scbind.formats.evidence import DESCRIBED

PAIRED = "paired t-test over replicates"
WELCH = "Welch t-test over replicates"
OTHERS = f"{WELCH}, without those in both groups"
CELLS = "cells, no replicates: p-values describe this sample only"
CELLS_SHARED = f"cells, {SHARED}: p-values describe these samples only"
ABSTAINED = "not tested: scbind abstains on this TF"
SHALLOW = "not tested: too few cells are deep enough for this TF"
COLUMNS = [
    "contrast", "cell_type", "group", "reference", "tf", "n_cells", "n_cells_reference", "n_replicates",
    "mean_z", "mean_z_reference", "difference", "effect_size", "mean_binding", "mean_binding_reference",
    "design_effect", "statistic", "p_value", "p_adjusted", "test",
]  # fmt: skip
NAMING = (
    "contrast",
    "cell_type",
    "group",
    "reference",
    "p_adjusted",
)  # columns that are added after the comparison


def differential_tfs(
    activity: list[str | Path],
    output: str | Path,
    min_cells: int = 20,
    min_cells_per_replicate: int = 5,
    lenders: list[str | Path] | None = None,
) -> None:
    """Compare each cell type with all other cells, and each condition with the others within a type.

    Parameters
    ----------
    activity
        ``results/activity/{sample}.h5ad`` files; their z is compared. ``obs`` may have ``donor`` and ``condition``.
    output
        A table with one row per contrast, cell type, group and TF; columns in ``docs/reference/outputs.md``.
    min_cells
        Types, or groups of a type, with fewer cells are left out and named in the log. If fewer cells of either side
        are deep enough for a TF, the row of this TF has no values.
    min_cells_per_replicate
        A side of a comparison includes a replicate only if it has at least this many cells there.
    lenders
        ``results/cells/{sample}/lenders.h5ad`` of the same samples. ``None``: no cell borrows.

    Raises
    ------
    InputError
        If the activity files cannot be read together (:func:`scbind.analysis.activitytable.read_activity`), or the
        lenders belong to other cells.

    Notes
    -----
    If at least three replicates have cells in both groups, a paired t-test over the differences of replicate means.
    This is the usual case for cell types, and for conditions when donors contribute to several. A signed-rank test
    could not reach p < 0.05 with fewer than six replicates. Otherwise, replicates in both groups are left out, and if
    each group has at least three others, Welch's t-test over replicate means. If not, a t-test over cells
    (:func:`scbind.analysis.designeffect.compare_means`).
    The Benjamini-Hochberg adjustment covers all tested rows of one contrast; those over replicates and those over cells
    are adjusted apart, so that the small p-values over cells do not make those over replicates significant. So are
    those of TFs with and without ChIP-seq (:mod:`scbind.analysis.adjustment`).
    """
    data = read_activity(activity)
    data.obs["replicate"] = replicates(data.obs)
    limits = _Limits(
        min_cells, min_cells_per_replicate, Borrowing.read(lenders, data.obs) if lenders else None
    )
    rows = _between_types(data, limits)
    if "condition" in data.obs and data.obs["condition"].notna().any():
        rows += _between_conditions(data, limits)
    table = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=COLUMNS)
    if rows:
        tested = table[~table["test"].isin([ABSTAINED, SHALLOW])]
        over_cells = tested["test"].isin([CELLS, CELLS_SHARED])
        evidence = tested["tf"].map(evidence_by_tf(data.var)["evidence"])
        family = tested.groupby(["contrast", over_cells, evidence]).ngroup()
        # a test that could not be computed, because values are constant, counts as p = 1
        p_values = tested["p_value"].fillna(1.0).to_numpy(dtype=np.float64)
        table["p_adjusted"] = pd.Series(by_family(adjust, p_values, family.to_numpy()), index=tested.index)
        var = data.var.rename(columns=lambda name: name if name in DESCRIBED else f"reliability_{name}")
        table = table[COLUMNS].join(var, on="tf")
        table = table.sort_values(
            ["contrast", "cell_type", "group", "p_adjusted", "statistic"],
            ascending=[True, True, True, True, False],
            kind="stable",
        )
    else:
        say("differential TFs: there are no two groups of cells to compare, so the table is empty")
    write_table(output, table)
    apart = table[table["test"] == OTHERS]
    for names in apart[["cell_type", "group", "reference"]].drop_duplicates().itertuples(index=False):
        say_left_out("differential TFs", *names)
    say(f"differential TFs: {len(table):,} rows")


@dataclass(frozen=True)
class _Limits:
    """How many cells a side and a replicate need, and what the cells borrow (``None``: nothing)."""

    min_cells: int
    min_per_replicate: int
    borrowing: Borrowing | None


def _between_types(data: Activity, limits: _Limits) -> list[pd.DataFrame]:
    types, min_cells = data.obs["cell_type"], limits.min_cells
    rows = []
    for name in list_types(types, min_cells, "differential TFs"):
        inside = (types == name).to_numpy()
        outside = types.notna().to_numpy() & ~inside
        if outside.sum() < min_cells:
            say(f"differential TFs: {name} is skipped, because there are fewer than {min_cells} other cells")
            continue
        table = _compare(data, inside, outside, limits)
        rows.append(table.assign(contrast="cell_type", cell_type=name, group=name, reference="other types"))
    return rows


def _between_conditions(data: Activity, limits: _Limits) -> list[pd.DataFrame]:
    types, condition, min_cells = data.obs["cell_type"], data.obs["condition"], limits.min_cells
    rows = []
    for name in list_types(types, min_cells, "conditions"):
        for value in compared_conditions(condition):
            of_type = (types == name).to_numpy()
            inside = of_type & (condition == value).to_numpy()
            outside = of_type & condition.notna().to_numpy() & ~inside
            if min(inside.sum(), outside.sum()) < min_cells:
                say(
                    f"conditions: {value} in {name} is skipped, because a side has fewer than {min_cells} cells"
                )
                continue
            others = sorted(condition[outside].unique())
            table = _compare(data, inside, outside, limits)
            reference = ", ".join(others)
            rows.append(table.assign(contrast="condition", cell_type=name, group=value, reference=reference))
    return rows


def _compare(data: Activity, inside: np.ndarray, outside: np.ndarray, limits: _Limits) -> pd.DataFrame:
    """Compare cells inside with cells outside, both bool (cells,). Return one row per TF."""
    parts = []
    for tfs, readable in _read_alike(data, inside | outside):
        part, ours, theirs = data.take(tfs), inside & readable, outside & readable
        counts = pd.DataFrame(
            {"tf": part.tfs, "n_cells": int(ours.sum()), "n_cells_reference": int(theirs.sum())}
        )
        if part.abstained.all():
            found = _described(part, ours, theirs).assign(test=ABSTAINED, n_replicates=0)
        elif min(ours.sum(), theirs.sum()) < limits.min_cells:
            found = pd.DataFrame({"test": SHALLOW, "n_replicates": 0}, index=counts.index)
        else:
            found = _tested(part, ours, theirs, limits)
        parts.append(counts.join(found))
    table = pd.concat(parts).set_index("tf").loc[data.tfs].reset_index()
    return table.reindex(columns=[name for name in COLUMNS if name not in NAMING])


def _read_alike(data: Activity, compared: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield groups of TFs for which the same compared cells are deep enough. A group can be tested together.

    Yields the column numbers of the TFs and the cells, bool (cells,), that are deep enough for them. TFs on which
    scbind abstains in all cells are in groups of their own.
    """
    keys = np.vstack([data.abstained, np.packbits(data.shallow[compared], axis=0)])
    _, group = np.unique(keys, axis=1, return_inverse=True)
    for number in range(group.max(initial=-1) + 1):
        tfs = np.flatnonzero(group.ravel() == number)
        yield tfs, ~data.shallow[:, tfs[0]]


def _described(data: Activity, inside: np.ndarray, outside: np.ndarray) -> pd.DataFrame:
    """Return means over cells and their differences, one row per TF."""
    z_in, z_out = data.z[inside], data.z[outside]
    difference = z_in.mean(axis=0) - z_out.mean(axis=0)
    return pd.DataFrame(
        {
            "mean_z": z_in.mean(axis=0),
            "mean_z_reference": z_out.mean(axis=0),
            "difference": difference,
            "effect_size": _over_spread(difference, z_in, z_out),
            "mean_binding": data.binding[inside].mean(axis=0),
            "mean_binding_reference": data.binding[outside].mean(axis=0),
        }
    )


def _over_spread(difference: np.ndarray, z_in: np.ndarray, z_out: np.ndarray) -> np.ndarray:
    """Divide the difference by the root mean square of the two standard deviations; 0 where nothing varies."""
    pooled = np.sqrt((z_in.var(axis=0) + z_out.var(axis=0)) / 2)
    return np.divide(difference, pooled, out=np.zeros_like(difference), where=pooled > 0)


def _tested(data: Activity, inside: np.ndarray, outside: np.ndarray, limits: _Limits) -> pd.DataFrame:
    """Return :func:`_described` with the test that the replicates allow. ``difference`` is the tested difference."""
    table, z_in, z_out = _described(data, inside, outside), data.z[inside], data.z[outside]
    difference, design_effect, n_replicates = table["difference"].to_numpy(), np.nan, 0
    sides = matched(*(_replicate_means(data, side, limits.min_per_replicate) for side in (inside, outside)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # constant columns: NaN, adjusted as p = 1
        if isinstance(sides, str):
            overlap = Overlap(1 / len(z_in), 1 / len(z_out))
            if limits.borrowing:
                overlap = limits.borrowing.overlap(inside, outside)
            test = CELLS_SHARED if sides == SHARED else CELLS
            design_effect = overlap.effect(len(z_in), len(z_out))
            statistic, p_value = compare_means(z_in, z_out, overlap)
        else:
            from scipy.stats import ttest_ind, ttest_rel  # half a second to import

            test, n_replicates = PAIRED if sides.paired else WELCH, sides.n_replicates
            test = OTHERS if sides.left_out else test
            difference = (sides.ours.mean() - sides.theirs.mean()).to_numpy()
            compare = ttest_rel if sides.paired else partial(ttest_ind, equal_var=False)
            statistic, p_value = compare(sides.ours, sides.theirs, axis=0)
    return table.assign(
        difference=difference,
        effect_size=_over_spread(difference, z_in, z_out),
        n_replicates=n_replicates,
        design_effect=design_effect,
        statistic=np.asarray(statistic, dtype=np.float64),
        p_value=np.asarray(p_value, dtype=np.float64),
        test=test,
    )


def _replicate_means(data: Activity, side: np.ndarray, min_cells: int) -> pd.DataFrame:
    """Return the mean z, replicates x TFs, of the replicates with at least ``min_cells`` cells on a side."""
    replicate = data.obs["replicate"].to_numpy()[side]
    grouped = pd.DataFrame(data.z[side]).groupby(replicate)
    return grouped.mean()[grouped.size() >= min_cells]
