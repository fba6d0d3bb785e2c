"""Join the tables of models and baselines, and estimate how many fragments each TF needs.

This module is separate from the modules that make these tables, because joining needs neither PyTorch nor a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from scbind.core.errors import InputError
from scbind.core.files import read_result, write_table
from scbind.core.runlog import say
from scbind.dataset.codes import FEW_BOUND
from scbind.evaluation.probabilities import CALIBRATION_COLUMNS
from scbind.evaluation.registry import CONTROLS
from scbind.formats.genome import Genome
from scbind.models.metrics import depth_that_keeps

METRIC_COLUMNS = [
    "model",
    "cell_line",
    "tf",
    "evidence",
    "split",
    "n_windows",
    "n_bound",
    "prevalence",
    "auroc",
    "auprc",
    "auprc_se",
    "log2_gain",
    "recall_at_fdr10",
    "recall_at_fdr50",
    *CALIBRATION_COLUMNS,
]
DEPTH_COLUMNS = [
    "model", "cell_line", "tf", "evidence", "keep", "depth", "n_windows", "n_bound", "prevalence", "auprc",
    *CALIBRATION_COLUMNS,
]  # fmt: skip
NEEDED_COLUMNS = ["model", "tf", "n_bound", "auprc_full", "depth_needed", "fragments_needed", "at_most"]
ENOUGH = 0.9  # fraction of the AUPRC at full depth


def stack_tables(tables: Sequence[str | Path], columns: list[str]) -> pd.DataFrame:
    """Concatenate the tables of models and baselines; only empty fields are NaN. Tables without rows are left out.

    Raises :class:`InputError` if a table is missing, damaged, or has other columns than ``columns``.
    """
    parts = []
    for table in tables:
        part = read_result(table, "run the evaluation first")
        if list(part.columns) != columns:
            raise InputError(table, f"the columns are {list(part.columns)}", f"expected {columns}", "line 1")
        if len(part) or not parts:
            parts.append(part)
    return pd.concat(parts, ignore_index=True)


def merge_metrics(tables: Sequence[str | Path], output: str | Path) -> None:
    """Concatenate the metrics of models and baselines and write them to ``output``; see :func:`stack_tables`."""
    merged = stack_tables(tables, METRIC_COLUMNS)
    write_table(output, merged)
    whole = merged[merged["split"] == "test"]
    for model, mean in whole.groupby("model", sort=False)[["auprc", "prevalence"]].mean().iterrows():
        say(f"{model}: mean AUPRC {mean['auprc']:.4f} at a mean prevalence of {mean['prevalence']:.4f}")


def merge_depths(
    tables: Sequence[str | Path], reference: str | Path, output: str | Path, needed: str | Path
) -> None:
    """Concatenate the depth tables of models and baselines, and compute how many fragments each TF needs.

    Writes the joined table to ``output`` and the result of :func:`fragments_needed` to ``needed``. ``reference`` is the
    folder of the prepared genome. Raises :class:`InputError` as :func:`stack_tables` does.
    """
    merged = stack_tables(tables, DEPTH_COLUMNS)
    write_table(output, merged)
    write_table(needed, fragments_needed(merged, int(Genome.open(reference).known_lengths().sum())))
    say(f"{len(merged):,} rows of {merged['model'].nunique()} models and baselines over depths")


def fragments_needed(table: pd.DataFrame, known_bases: int) -> pd.DataFrame:
    """Number of fragments at which AUPRC is still ``ENOUGH`` times its full-depth value, for each model and TF.

    A cell, including its borrowed fragments, needs this number of equivalent (unweighted) fragments. ``table`` has the
    columns of ``DEPTH_COLUMNS``. AUPRC is averaged over the lines with at least ``FEW_BOUND`` bound windows; depth is
    their geometric mean. The depth at which AUPRC falls below the limit is interpolated in log depth between the two
    tested depths. The number of fragments is this depth times ``known_bases`` (the genome without N) divided by two,
    because a fragment has two insertions.

    Returns
    -------
    DataFrame
        ``model, tf, n_bound`` (number of sampled bound windows, over all lines), ``auprc_full, depth_needed``
        (insertions per base), ``fragments_needed``, and ``at_most`` (bool). ``at_most`` is true if even the lowest
        depth tested suffices; the number is then an upper bound. Values are NaN if no line has enough bound windows.
        Controls (:data:`scbind.evaluation.registry.CONTROLS`) are left out.

    Examples
    --------
    >>> table = pd.DataFrame({'keep': [1.0, 0.1], 'depth': [0.1, 0.01], 'auprc': [0.8, 0.64]})
    >>> table = table.assign(model='scbind', tf='CTCF', n_bound=50)
    >>> int(fragments_needed(table, known_bases=1_000_000)['fragments_needed'][0])
    15811
    """
    rows = []
    for (model, tf), part in table[~table["model"].isin(CONTROLS)].groupby(["model", "tf"]):
        n_bound = int(part.loc[part["keep"] == 1, "n_bound"].sum())
        part = part[(part["n_bound"] >= FEW_BOUND) & part["auprc"].notna()]
        row = {"model": model, "tf": tf, "n_bound": n_bound, "at_most": False}
        if len(part):
            part = part.assign(log=np.log(part["depth"]))
            curve = part.groupby("keep")[["log", "auprc"]].mean().sort_index(ascending=False)
            log_depth, row["at_most"] = depth_that_keeps(curve["log"], curve["auprc"], ENOUGH)
            row |= {"auprc_full": curve["auprc"].iloc[0], "depth_needed": np.exp(log_depth)}
            row["fragments_needed"] = row["depth_needed"] * known_bases / 2
        rows.append(row)
    return pd.DataFrame(rows, columns=NEEDED_COLUMNS)
