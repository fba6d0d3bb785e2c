"""Expression of each TF beside its activity, where RNA was measured in the same cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scbind.analysis.activitytable import evidence_by_tf, read_activity
from scbind.core.errors import InputError
from scbind.core.files import write_table
from scbind.core.runlog import say
from scbind.formats.celltable import read_whole
from scbind.formats.symbols import case_matters, match_symbols

PER = 10_000  # molecules: expression is given per 10,000 molecules of the cell
MIN_CELLS = 10  # of a type in a sample, to be part of the mean of the type
MIN_TYPES = 5  # for a correlation
COLUMNS = [
    "cell_type", "tf", "n_cells", "mean_activity", "mean_expression", "fraction_expressing", "correlation",
    "correlation_p", "n_types", "evidence",
]  # fmt: skip


def tf_expression(
    activity: Sequence[str | Path],
    rna: Sequence[str | Path],
    output: str | Path,
    min_cells: int = 20,
    taxon: str = "vertebrates",
) -> None:
    """Write mean activity and expression of every TF in every type, and their correlation.

    Parameters
    ----------
    activity, rna
        ``results/activity/{sample}.h5ad`` and ``results/cells/{sample}/rna.h5ad`` of the samples with RNA, in the same
        order.
    output
        The table; columns in ``docs/reference/outputs.md``.
    min_cells
        Types with fewer cells with RNA are left out.
    taxon
        ``motifs.taxon``, which tells whether case matters in symbols of TFs and genes.

    Raises
    ------
    InputError
        If the cells of a pair of files differ, or the RNA has no gene of any TF.
    """
    data = read_activity(list(activity))
    expression = pd.concat([_expression(path, data.tfs, taxon) for path in rna], keys=range(len(rna)))
    expression.index = expression.index.droplevel(0)
    place = expression.index.get_indexer(data.obs["cell"])
    if (place < 0).any() or expression.index.duplicated().any():
        raise InputError(
            rna[0], "its cells differ from those of the activity", "read the RNA of the sample again"
        )
    values = expression.to_numpy()[place]
    measured = np.isfinite(values).any(axis=1)
    obs = data.obs[measured].reset_index(drop=True)
    values, z = values[measured], data.readable[measured]
    groups = obs.groupby(["cell_type", "sample"], observed=True).indices
    groups = {place: cells for place, cells in groups.items() if len(cells) >= MIN_CELLS}
    rows = []
    for name, cells in obs.groupby("cell_type", observed=True).indices.items():
        if len(cells) < min_cells:
            continue
        for column, tf in enumerate(data.tfs):
            rows.append(
                {
                    "cell_type": name, "tf": tf, "n_cells": len(cells),
                    "mean_activity": _mean(z[cells, column]),
                    **_level(values[cells, column]),
                }
            )  # fmt: skip
    table = pd.DataFrame(rows, columns=COLUMNS[:6]).merge(_correlations(data.tfs, values, z, groups), on="tf")
    table = table.join(evidence_by_tf(data.var), on="tf")
    absent = [tf for tf, column in zip(data.tfs, values.T, strict=True) if np.isnan(column).all()]
    if absent:
        say(f"TFs without a gene of their name in the RNA: {', '.join(absent)}")
    write_table(output, table.sort_values(["cell_type", "tf"], kind="stable")[COLUMNS])


def _level(values: np.ndarray) -> dict[str, float]:
    """Return mean and fraction above 0 of the cells (float, NaN where unknown) in which the gene was measured."""
    known = values[np.isfinite(values)]
    return {"mean_expression": _mean(known), "fraction_expressing": _mean(known > 0)}


def _expression(path, tfs: list[str], taxon: str) -> pd.DataFrame:
    """Return molecules per ``PER`` of each TF: float64 (cells, TFs); NaN for cells without RNA, and TFs not in it."""
    data = read_whole(path, "the RNA counts", ["obs/n_molecules"])
    same = match_symbols(tfs, data.var_names, case_matters=case_matters(taxon))
    if not same:
        raise InputError(
            path, f"has no gene of any TF, such as {tfs[0]}; its genes are such as {data.var_names[0]}",
            "name the genes by their symbols",
        )  # fmt: skip
    place = data.var_names.get_indexer([same.get(tf) for tf in tfs])
    counts = sp.csr_matrix(data.X)[:, np.maximum(place, 0)].toarray().astype(float)
    total = data.obs["n_molecules"].to_numpy(dtype=float)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.where(total[:, None] > 0, PER * counts / total[:, None], np.nan)
    values[:, place < 0] = np.nan
    return pd.DataFrame(values, index=data.obs_names, columns=tfs)


def _correlations(
    tfs: list[str], values: np.ndarray, z: np.ndarray, groups: dict[tuple, np.ndarray]
) -> pd.DataFrame:
    """Return Spearman's correlation of expression and activity over cell types, one row per TF.

    ``groups``: (type, sample) -> numbers of its cells. The value of a type is the mean over its samples. Samples are
    not points of their own: those of one type repeat its level, so they would make any p-value small.
    """
    from scipy.stats import spearmanr  # half a second to import

    rows = []
    types = [name for name, _ in groups]
    for column, tf in enumerate(tfs):
        means = [[_mean(each[cells, column]) for each in (values, z)] for cells in groups.values()]
        pairs = pd.DataFrame(means, columns=["expression", "activity"], dtype=float).dropna()
        pairs = pairs.groupby(pd.Series(types, index=range(len(types)), dtype=object)).mean()
        rho = p = np.nan
        if len(pairs) >= MIN_TYPES and (np.ptp(pairs, axis=0) > 0).all():
            rho, p = spearmanr(pairs["expression"], pairs["activity"])
        rows.append({"tf": tf, "correlation": rho, "correlation_p": p, "n_types": len(pairs)})
    return pd.DataFrame(rows)


def _mean(values: np.ndarray) -> float:
    """Return the mean of the values that are known; NaN if there are none."""
    known = values[np.isfinite(values)]
    return known.mean() if len(known) else np.nan
