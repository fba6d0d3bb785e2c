"""Compare TF activity of scbind with that of other methods in the same cells: separation of types, effect of depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from scbind.analysis.activitytable import abstained_tfs, evidence_by_tf
from scbind.analysis.grouping import group_cells
from scbind.core.errors import InputError
from scbind.core.files import write_table
from scbind.core.runlog import say
from scbind.formats.celltable import ACTIVITY, cell_types_of, read_whole
from scbind.formats.evidence import CHIP, MOTIF
from scbind.formats.typestatus import GIVEN

COLUMNS = ["sample", "evidence", "method", "n_cells", "n_tfs", "silhouette", "ari", "depth_correlation"]
OF_TYPES = ["sample", "cell_type", "tf", "evidence", "method", "auroc", "n_cells", "n_cells_reference"]
MOST_CELLS = 5_000  # maximum number for the silhouette
FEWEST_CELLS, FEWEST_TFS = 10, 2  # with fewer, nothing is compared
CHROMVAR, VOTE = "the chromvar rule", "scfan_vote"


def compare_activity(
    samples: Sequence[str],
    activity: Sequence[str | Path],
    chromvar: Sequence[str | Path],
    output: str | Path,
    separation: str | Path,
    seed: int = 0,
) -> None:
    """Write ``activity.tsv``: TF activity by several methods, on the same cells and TFs of each sample.

    The methods are scbind, the vote of scFAN, and chromVAR without and with borrowed insertions. TFs without ChIP-seq
    have rows of their own, without the vote, which they do not get.

    Columns: ``sample, evidence, method, n_cells, n_tfs``; ``silhouette``, the mean silhouette of the cell types in the
    standardised values; ``ari``, the adjusted Rand index of Leiden clusters of the values with the cell types; and
    ``depth_correlation``, the median over TFs of the absolute rank correlation with the fragments of the cell, within
    cell types (the median over them), so that types of different depth do not count. A field is empty if there is only
    one type.

    Parameters
    ----------
    samples, activity, chromvar
        Names of the samples, and ``results/activity/{sample}.h5ad`` and
        ``results/evaluation/chromvar/{sample}.h5ad`` of each.
    output
        The table to write.
    separation
        Another table to write: how well each TF separates the cells of each type from the others by each method
        (AUROC of its values), on the same cells and TFs. Only cells count whose type the user has given; without any,
        the table has no rows. Columns: ``OF_TYPES``.
    seed
        Of the clusters.

    Raises
    ------
    InputError
        If a file is missing or damaged, or those of a sample have other cells.

    Notes
    -----
    TFs on which scbind abstains are left out. So are cells in which a method has no value at all, such as chromVAR in
    cells without an insertion in a peak, and then TFs for which a method has no value in one of the others. Cell types
    that come from clusters of accessibility are not independent of accessibility, but given labels (column ``labels``
    of the samples) are.
    """
    rows, apart = [], [pd.DataFrame(columns=OF_TYPES)]
    for name, ours, theirs in zip(samples, activity, chromvar, strict=True):
        data = read_whole(ours, ACTIVITY, ["layers/scfan_score", "obs/n_fragments"])
        types, tables = cell_types_of(data.obs, ours), _values(data, ours, theirs)
        source = data.obs.get("cell_type_source", pd.Series(index=data.obs_names, dtype=object))
        given = types.where(source == GIVEN)
        evidence = evidence_by_tf(data.var)["evidence"][~abstained_tfs(data.var)]
        for kind in [CHIP, MOTIF] if (evidence == MOTIF).any() else [CHIP]:
            tfs = evidence.index[evidence == kind]
            methods = {
                method: table.loc[:, table.columns.isin(tfs)]
                for method, table in tables.items()
                if kind == CHIP or method != VOTE
            }
            for method, table in in_common(methods).items():
                facts = {"sample": name, "evidence": kind, "method": method}
                facts |= {"n_cells": len(table), "n_tfs": table.shape[1]}
                of_cells = types[table.index].to_numpy(), data.obs.loc[table.index, "n_fragments"]
                rows.append(facts | _figures(table.to_numpy(), *of_cells, seed))
                found = type_aurocs(table, given[table.index])
                apart.append(found.assign(sample=name, evidence=kind, method=method))
    write_table(output, pd.DataFrame(rows, columns=COLUMNS))
    found = pd.concat([part for part in apart if len(part)] or apart[:1], ignore_index=True)
    found = found.sort_values(["sample", "cell_type", "tf"], kind="stable")
    write_table(separation, found.reindex(columns=OF_TYPES))
    say(f"TF activity of {len(samples)} samples beside chromVAR and the vote of scFAN")


def type_aurocs(values: pd.DataFrame, types: pd.Series) -> pd.DataFrame:
    """Return how well each TF separates the cells of each type from those of the other types.

    The AUROC is the probability that a cell of the type has a larger value than a cell of another type; 0.5 is chance.

    Parameters
    ----------
    values
        Cells x TFs, finite.
    types
        Type of each cell; cells without one do not count.

    Returns
    -------
    DataFrame
        ``cell_type, tf, auroc, n_cells, n_cells_reference``. Types with fewer than ``FEWEST_CELLS`` cells, in the type
        or in the others, are left out.
    """
    from scipy.stats import rankdata  # half a second to import

    known = types.notna().to_numpy()
    types, parts = types[known].astype(str).to_numpy(), []
    ranks = rankdata(values.to_numpy()[known], axis=0)
    for name in np.unique(types):
        here = types == name
        n, others = int(here.sum()), int((~here).sum())
        if min(n, others) >= FEWEST_CELLS:
            facts = {"cell_type": name, "tf": values.columns, "auroc": auroc_of_ranks(here, ranks)}
            parts.append(pd.DataFrame(facts | {"n_cells": n, "n_cells_reference": others}))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def auroc_of_ranks(positive: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Return the AUROC from the ranks of the scores: ten times as fast as scikit-learn for some hundred cells.

    ``positive`` is bool (cells,). ``ranks``, float (cells, ...), are ranks along the first axis (SciPy's ``rankdata``).
    """
    n = int(positive.sum())
    return (ranks[positive].sum(axis=0) - n * (n + 1) / 2) / (n * (len(positive) - n))


def _values(data, path: str | Path, chromvar: str | Path) -> dict[str, pd.DataFrame]:
    """Return method -> its values, cells x TFs; the TFs of chromVAR may be others.

    ``data`` is the activity file at ``path``. Raises :class:`InputError` if the two files have other cells.
    """
    other = read_whole(chromvar, CHROMVAR, ["layers/borrowed"])
    if not other.obs_names.equals(data.obs_names):
        raise InputError(chromvar, f"its cells are not those of {path}", "compute the deviations again")
    return {
        "scbind": pd.DataFrame(data.X, index=data.obs_names, columns=data.var_names),
        VOTE: pd.DataFrame(data.layers["scfan_score"], index=data.obs_names, columns=data.var_names),
        "chromvar": pd.DataFrame(other.X, index=other.obs_names, columns=other.var_names),
        "chromvar_borrowed": pd.DataFrame(
            other.layers["borrowed"], index=other.obs_names, columns=other.var_names
        ),
    }


def in_common(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the same tables, cells x TFs, float64, with the cells and TFs for which every method has a value.

    ``tables`` have the same cells. Cells in which a method has no value at all are left out, then TFs for which a
    method has no value in one of the other cells. TFs are in the order of the first table.
    """
    cells = _cells_with_values(tables)
    tables = {name: table[cells] for name, table in tables.items()}
    finite = [
        table.columns[np.isfinite(table.to_numpy(dtype=np.float64)).all(axis=0)] for table in tables.values()
    ]
    kept = [tf for tf in finite[0] if all(tf in each for each in finite[1:])]
    return {name: table[kept].astype(np.float64) for name, table in tables.items()}


def _cells_with_values(tables: Mapping[str, pd.DataFrame]) -> np.ndarray:
    """Tell in which cells each method that has any value has one: bool (cells,)."""
    each = [np.isfinite(table.to_numpy(dtype=np.float64)).any(axis=1) for table in tables.values()]
    return np.all([known for known in each if known.any()] or [each[0]], axis=0)


def _figures(values: np.ndarray, types: np.ndarray, fragments: pd.Series, seed: int) -> dict:
    """Figures of one method: values (cells, TFs), types with missing ones (cells,)."""
    known = pd.notna(types)
    names, depth = types[known].astype(str), fragments.to_numpy(dtype=np.float64)[known]
    values = values[known]
    if len(values) < FEWEST_CELLS or values.shape[1] < FEWEST_TFS:
        return {}
    spread = values.std(axis=0)
    scaled = (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1)
    found = {"depth_correlation": _depth_correlation(values, names, depth)}
    if len(set(names)) > 1:
        from sklearn.metrics import adjusted_rand_score, silhouette_score  # a second to import

        chosen = np.random.default_rng(seed).permutation(len(names))[:MOST_CELLS]
        if 1 < len(set(names[chosen])) < len(chosen):
            found["silhouette"] = float(silhouette_score(scaled[chosen], names[chosen]))
        found["ari"] = float(adjusted_rand_score(names, group_cells(scaled, seed)[0]))
    return found


def _depth_correlation(values: np.ndarray, names: np.ndarray, depth: np.ndarray) -> float:
    """Median over TFs and types of the absolute rank correlation with depth; NaN if no type has enough cells."""
    from scipy.stats import spearmanr  # half a second to import

    each = []
    for name in np.unique(names):
        here = names == name
        if here.sum() < FEWEST_CELLS or np.ptp(depth[here]) == 0:
            continue
        each += [
            abs(spearmanr(column, depth[here]).statistic) for column in values[here].T if np.ptp(column) > 0
        ]
    return float(np.median(each)) if each else float("nan")
