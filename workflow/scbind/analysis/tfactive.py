"""Which TFs are active in which cells and cell types.

A model that reads sequence and accessibility predicts binding of a TF at open sites with its motif, even in types that
do not have the TF. Its predictions are then too high in these types, at every site. Two measures show whether a TF is
active: its activity over all sites and, where it was measured, the expression of its gene.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anndata
import numpy as np
import pandas as pd

from scbind.analysis.activitytable import evidence_by_tf, read_activity
from scbind.core.errors import InputError
from scbind.core.files import atomic, damage_errors, read_result
from scbind.core.runlog import say
from scbind.formats.celltable import read_whole

APART = 5.0  # minimum difference in z of two levels of activity; then the lower one counts as inactive
BIMODAL = (
    2.0  # standard deviations between them; below, it is one wide level (Ashman et al. 1994, AJ 108:2348)
)
EXPRESSED = 0.25  # fraction of the expression in the highest type from which a TF counts as fully active
MIN_EXPRESSION = 0.2  # molecules per 10,000 in the highest type; below, expression is not used
MAKER = "the rule tf_active"
MIN_CELLS = 20  # with an activity, to look for two levels


def tf_active(activity: Sequence[str | Path], expression: str | Path | None, output: str | Path) -> None:
    """Write the probability that each TF is active in each cell: ``.h5ad``, cells x TFs, float32 in [0, 1].

    ``obs`` has ``sample`` and ``cell_type``, ``var`` has ``evidence``. By activity: the probability that z is at the
    higher of two levels of all cells; 1 if there are no two levels (:data:`APART`, :data:`BIMODAL`), or if z of the
    cell is not known. With expression: the mean of this and of the expression in the cell's type over
    :data:`EXPRESSED` times that in the highest type, at most 1. Expression alone is too noisy for TFs with few
    molecules, and activity alone misses a TF whose sites other TFs keep open.

    Parameters
    ----------
    activity
        ``results/activity/{sample}.h5ad`` of all samples.
    expression
        ``results/analysis/tf_expression.tsv``, or None.
    output
        The file to write.
    """
    data = read_activity(list(activity))
    readable = data.readable  # computed again each time it is asked for
    found = np.ones(readable.shape)
    for column in range(len(data.tfs)):
        z = readable[:, column]
        known = np.isfinite(z)
        if known.sum() >= MIN_CELLS:
            found[known, column] = _upper_level(z[known])
    types = data.obs["cell_type"].astype(object)
    if expression is not None:
        ratio = _expressed(expression, data.tfs).reindex(types.astype(str)).to_numpy()
        found = np.where(np.isfinite(ratio), (found + ratio) / 2, found)
    obs = pd.DataFrame({"sample": data.obs["sample"].to_numpy(), "cell_type": types.to_numpy()})
    obs["cell_type"] = obs["cell_type"].fillna("").astype(str)
    obs.index = data.obs["cell"].astype(str).to_numpy()
    with atomic(output) as scratch:
        anndata.AnnData(found.astype(np.float32), obs=obs, var=evidence_by_tf(data.var)).write_h5ad(scratch)
    two = [tf for tf, column in zip(data.tfs, found.T, strict=True) if column.min(initial=1) < 1]
    say(f"TFs that are not active in all cells: {', '.join(two) or 'none'}")


def active_in_types(path: str | Path, types: list[str], tfs: list[str]) -> pd.DataFrame:
    """Return the mean over the cells of each type of the file of :func:`tf_active`: float (types, TFs).

    TFs that the file does not have, because their activity is not finite, count as active.
    """
    data = read_whole(path, MAKER, ["obs/cell_type"])
    means = pd.DataFrame(data.X, columns=data.var_names).groupby(data.obs["cell_type"].astype(str).to_numpy())
    return means.mean().reindex(index=types, columns=tfs).fillna(1.0)


def active_in_cells(path: str | Path, cells: pd.Index, tfs: list[str]) -> np.ndarray:
    """Return the rows of ``cells`` of the file of :func:`tf_active`: float32 (cells, TFs). Only these are read."""
    data = read_whole(path, MAKER, backed=True)
    row = data.obs_names.get_indexer(cells)
    missing = cells[row < 0].unique().sort_values()
    if len(missing):
        raise InputError(path, f"lacks {len(missing)} cells, such as {missing[0]}", f"run {MAKER} again")
    rows, back = np.unique(row, return_inverse=True)
    with damage_errors(path, f"run {MAKER} again"):
        found = data.X[rows]
    data.file.close()
    table = pd.DataFrame(found[back], columns=data.var_names)
    return table.reindex(columns=tfs).fillna(1.0).to_numpy(dtype=np.float32)


def _expressed(path: str | Path, tfs: list[str]) -> pd.DataFrame:
    """Return the expression of each TF relative to its highest type, by type; NaN where it is not used."""
    table = read_result(path, "run the rule tf_expression first")
    level = table.astype({"cell_type": str}).pivot(index="cell_type", columns="tf", values="mean_expression")
    level = level.reindex(columns=tfs)
    ratio = (level / (EXPRESSED * level.max())).clip(upper=1)
    return ratio.loc[:, level.max() >= MIN_EXPRESSION].reindex(columns=tfs)


def _upper_level(z: np.ndarray) -> np.ndarray:
    """Return the probability that each value belongs to the higher of two levels; 1 if there is only one level.

    Two normal distributions of the same width, fitted by expectation maximization. They are one level if they are not
    :data:`APART`, or overlap (:data:`BIMODAL`): any wide distribution can be cut in two.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> z = np.concatenate([rng.normal(-4, 1, 80), rng.normal(5, 1, 20)])
    >>> _upper_level(z).round().tolist() == [0.0] * 80 + [1.0] * 20, float(_upper_level(z[:80]).min())
    (True, 1.0)
    """
    from sklearn.mixture import GaussianMixture  # takes a second to import

    if np.ptp(z) < APART:
        return np.ones(len(z))
    start = np.quantile(z, [0.05, 0.95])[:, None]
    mixture = GaussianMixture(2, means_init=start, covariance_type="tied", random_state=0).fit(z[:, None])
    low, high = np.argsort(mixture.means_[:, 0])
    spread = float(np.sqrt(mixture.covariances_[0, 0]))
    if mixture.means_[high, 0] - mixture.means_[low, 0] < max(APART, BIMODAL * spread):
        return np.ones(len(z))
    return mixture.predict_proba(z[:, None])[:, high]
