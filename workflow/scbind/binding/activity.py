"""The table of TF activity of a sample, as an AnnData file. :mod:`scbind.binding.activitysums` defines the activity."""

from __future__ import annotations

from collections.abc import Sequence

import anndata as ad
import numpy as np
import pandas as pd

from scbind.binding.shards import Shard, check_shards
from scbind.core.errors import InputError
from scbind.core.files import atomic, read_result
from scbind.core.runlog import say
from scbind.dataset.splits import CHR1_PROTOCOL, PROTOCOL
from scbind.formats.celltable import read_passing_cells, sort_by_type
from scbind.formats.colours import type_colours
from scbind.formats.evidence import CHIP
from scbind.models.abstention import abstained, reliability_table


def activity_matrix(shards: list, cells, output, metrics=None, types: Sequence[str] = ()) -> None:
    """Write ``results/activity/{sample}.h5ad``: passing cells x TFs.

    * ``X``, float32: z.
    * Layer ``mean_binding``, float32: mean P(bound) over all windows.
    * Layer ``scfan_score``, float32: fraction of the cell's votes that the TF gets; NaN for TFs without ChIP-seq, which
      get none (:func:`scbind.binding.activitysums.top_two_votes`).
    * Layer ``abstained``, bool: True where z should not be used (:mod:`scbind.models.abstention`). The values there are
      finite like all others.
    * ``obs``, ``X_umap`` and ``X_lsi``: copied from ``cells``, sorted by type as in the binding store. ``obs`` also has
      ``borrowed_depth``, in insertions per base.
    * ``var``: reliability per TF from the calibration. With ``metrics``, also the AUPRC of each split, averaged over
      cell lines.

    Parameters
    ----------
    shards
        The ``.npz`` files of all shards of a sample, in any order.
    cells
        ``results/cells/{sample}/cells.h5ad``.
    output
        The ``.h5ad`` file to write.
    metrics
        ``metrics.tsv`` of the model, or ``None``.
    types
        Cell types of all samples, for ``uns["cell_type_colors"]``, the colours of the report.

    Raises
    ------
    InputError
        If the shards do not hold exactly the passing cells, or were made with different models or windows.
    """
    opened = check_shards([Shard.open(path) for path in shards], cells)
    first = opened[0]
    z, binding, votes, depth = (
        np.concatenate([s.array(name) for s in opened]) for name in ("z", "binding_sum", "votes", "depth")
    )
    obs, obsm = read_passing_cells(cells)
    obs["borrowed_depth"] = depth
    obs, obsm, order = sort_by_type(obs, obsm)
    z, binding, votes = z[order], binding[order], votes[order]
    adata = ad.AnnData(X=z, obs=obs, var=_reliability(first, metrics), obsm=obsm)
    adata.layers["mean_binding"] = (binding / first.n_windows).astype(np.float32)
    score = (votes / np.maximum(votes.sum(axis=1, keepdims=True), 1)).astype(np.float32)
    adata.layers["scfan_score"] = np.where(
        adata.var["evidence"].to_numpy() == CHIP, score, np.float32(np.nan)
    )
    adata.layers["abstained"] = abstained(adata.var, obs["borrowed_depth"].to_numpy())
    adata.uns |= type_colours(obs, types)
    adata.uns["about"] = {
        "X": "TF activity: z-score of the insertions at predicted sites, relative to windows of similar GC content and "
        "accessibility",
        "mean_binding": f"mean P(bound) over {first.n_windows} windows",
        "scfan_score": "fraction of votes; each window with signal votes for its two most probable TFs (Fu 2020)",
        "abstained": "True where accuracy for the TF is low or unknown, or the cell is shallower than var min_depth",
        "borrowed_depth": "insertions per base of the cell, including what it borrows",
        "windows": first.n_windows,
        "background_draws": int(first.array("background_draws")),
    }
    with atomic(output) as scratch:
        adata.write_h5ad(scratch)
    say(f"activity of {adata.n_vars} TFs in {adata.n_obs} cells")


def _reliability(shard: Shard, metrics) -> pd.DataFrame:
    """Return the reliability of each TF: one row per TF, in the order of the model."""
    var = reliability_table(shard.reliability, shard.tfs)
    if metrics is not None:
        table = read_result(metrics, "evaluate the model first")
        missing = {"tf", "split", "auprc"} - set(table.columns)
        if missing:
            raise InputError(
                metrics, f"has no column {', '.join(sorted(missing))}", "evaluate the model again"
            )
        for split, part in table[~table["split"].isin((PROTOCOL, CHR1_PROTOCOL))].groupby("split"):
            var[f"{split}_auprc"] = part.groupby("tf").auprc.mean().reindex(shard.tfs).to_numpy()
    return var
