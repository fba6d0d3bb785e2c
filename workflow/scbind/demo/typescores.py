"""Compare cell types and TF activity of the demo with the simulated truth.

The truth is that of :mod:`scbind.demo.truth`. No choice in this module depends on it either.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from scbind.analysis.activitymethods import CHROMVAR, in_common
from scbind.analysis.activitytable import abstained_tfs, motif_tfs
from scbind.analysis.grouping import group_cells
from scbind.analysis.populations import MIN_TFS
from scbind.core.files import write_table
from scbind.core.runlog import say
from scbind.demo.truthfiles import Truth, barcodes
from scbind.formats.celltable import ACTIVITY, read_obs, read_whole


def score_types(activity, cells, truth, output, seed: int = 0, chromvar=None) -> None:
    """Write ``types.tsv`` (quantity, name, value): cell types and TF activity against the truth.

    * ``ari``: adjusted Rand index between the true types and three groupings: ``cell_type`` (from ``cells.h5ad``),
      Leiden clusters of the TF activity (``activity_leiden``), and Leiden clusters of the standardised vote of scFAN
      (``scfan_leiden``). The clusters come from :func:`scbind.analysis.grouping.group_cells` and do not depend on the
      truth. As in :mod:`scbind.analysis.populations`, TFs on which scbind abstains are left out of
      ``activity_leiden``. If fewer than ``MIN_TFS`` TFs remain, all TFs are used, and the log reports it.
    * ``n_groups``: number of groups.
    * ``rarest_recall``, ``rarest_precision``: match between the rarest true type and the group with the largest F1.
    * ``rarest_cells``: number of cells of the rarest type. ``name`` is that type.
    * ``activity_auroc``, ``scfan_auroc``: per TF, how well the activity z (or the vote) separates the cells of types
      in which the TF is active from the other cells. Only TFs that are active in some types but not in all have rows.
      ``mean`` is the mean over these TFs. With ``chromvar`` (:func:`scbind.analysis.chromvar.chromvar_deviations`),
      there are also ``chromvar_auroc`` and ``chromvar_borrowed_auroc``. All these methods are scored on the same cells
      and TFs (:func:`scbind.analysis.activitymethods.in_common`); one without any value has no rows.

    Raises :class:`InputError` if a file is missing or damaged, or if no cell is a cell of the truth.
    """
    from sklearn.metrics import adjusted_rand_score, roc_auc_score  # seconds to import
    from sklearn.preprocessing import StandardScaler

    known, adata = Truth(truth), read_whole(activity, ACTIVITY)
    adata = adata[known.match(adata.obs, activity), ~adata.var_names.isin(motif_tfs(adata.var))].copy()
    true = known.cells.loc[barcodes(adata.obs), "cell_type"].to_numpy()
    labels = read_obs(cells, ["cell_type"])
    votes, trusted = adata.layers["scfan_score"], ~abstained_tfs(adata.var)
    if trusted.sum() < MIN_TFS:
        say(f"types: scbind abstains on all but {trusted.sum()} TFs, so all TFs are used to group the cells")
        trusted[:] = True
    groupings = {
        "cell_type": labels.loc[adata.obs_names, "cell_type"].astype(str).to_numpy(),
        "activity_leiden": group_cells(adata.X[:, trusted], seed)[0].astype(str),
        "scfan_leiden": group_cells(StandardScaler().fit_transform(votes), seed)[0].astype(str),
    }
    sizes = pd.Series(true).value_counts()
    rarest = sizes[sizes == sizes.min()].index.sort_values()[0]
    rows = [("rarest_cells", rarest, sizes[rarest])]
    for name, groups in groupings.items():
        recall, precision = best_group(true == rarest, groups)
        rows += [
            ("ari", name, adjusted_rand_score(true, groups)),
            ("n_groups", name, len(np.unique(groups))),
            ("rarest_recall", name, recall),
            ("rarest_precision", name, precision),
        ]
    active = known.table("activity.tsv", {"name"}).set_index("name")
    tables = {"activity": pd.DataFrame(adata.X, adata.obs_names, adata.var_names)}
    tables["scfan"] = pd.DataFrame(votes, adata.obs_names, adata.var_names)
    if chromvar is not None:
        other = read_whole(chromvar, CHROMVAR)[adata.obs_names]
        tables["chromvar"] = pd.DataFrame(other.X, other.obs_names, other.var_names)
        tables["chromvar_borrowed"] = pd.DataFrame(other.layers["borrowed"], other.obs_names, other.var_names)
    tables = {name: table for name, table in tables.items() if np.isfinite(table.to_numpy()).any()}
    of_cell = pd.Series(true, adata.obs_names)
    for name, table in in_common(tables).items():
        quantity, scores, kinds = f"{name}_auroc", {}, of_cell[table.index].to_numpy()
        for tf in table.columns:
            if tf in active.columns and active.loc[np.unique(kinds), tf].nunique() > 1:
                scores[tf] = roc_auc_score(active.loc[kinds, tf].to_numpy(), table[tf])
        if scores:
            rows += [(quantity, tf, value) for tf, value in scores.items()]
            rows.append((quantity, "mean", np.mean(list(scores.values()))))
    write_table(output, pd.DataFrame(rows, columns=["quantity", "name", "value"]))
    say(f"cell types against the truth: {len(rows)} figures")


def best_group(wanted: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """Return recall and precision of the group with the largest F1 for a set of cells.

    ``wanted`` is bool (cells,), ``groups`` (cells,). If several groups have the largest F1, the first by name is taken.
    """
    best = (-1.0, 0.0, 0.0)
    for name in np.unique(groups):
        hit, size = (wanted & (groups == name)).sum(), (groups == name).sum()
        best = max(
            best, (2 * hit / (wanted.sum() + size), hit / wanted.sum(), hit / size), key=lambda x: x[0]
        )
    return float(best[1]), float(best[2])
