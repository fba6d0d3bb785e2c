"""The cells of a sample with all that is known of them: their embedding, donor and condition, and UMAP.

Inference reads the embedding alone. A condition that is filled in later then repeats no inference, but what reads this
file: stores, matrices and tests. A donor does repeat it: donors are the replicates of peaks.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from scbind.core.errors import InputError
from scbind.core.files import atomic
from scbind.core.runlog import say
from scbind.formats.celltable import CELLS, UMAP, read_whole, without_empty


def describe_cells(
    embedding: str | Path, umap: str | Path, output: str | Path, metadata: Mapping[str, str | None]
) -> None:
    """Write ``results/cells/{sample}/cells.h5ad``.

    It is the sample's embedding with the columns of ``metadata`` in ``obs``, behind ``sample``, and ``X_umap`` in
    ``obsm``. Columns without a value in any cell are left out.

    Parameters
    ----------
    embedding
        ``results/cells/{sample}/embedding.h5ad``.
    umap
        ``results/embedding/umap/{group}.h5ad`` (:func:`scbind.cells.umap.embed_umap`).
    output
        The file to write.
    metadata
        Column -> value for all cells of the sample, such as its donor; None if it is not known.

    Raises
    ------
    InputError
        If a file is missing or damaged, or the UMAP belongs to other cells.
    """
    cells = read_whole(embedding, CELLS)
    drawn = read_whole(umap, UMAP, ["obsm/X_umap"])
    missing = ~cells.obs_names.isin(drawn.obs_names)
    if missing.any():
        problem = f"has no cell {cells.obs_names[missing][0]}, which {embedding} has"
        raise InputError(umap, problem, f"run {UMAP} again")
    for place, (column, value) in enumerate(metadata.items(), start=1):
        cells.obs.insert(place, column, pd.Categorical([value] * cells.n_obs))
    cells.obs = without_empty(cells.obs)
    cells.obsm["X_umap"] = drawn[cells.obs_names].obsm["X_umap"]
    with atomic(output) as path:
        cells.write_h5ad(path)
    known = ", ".join(f"{column} {value}" for column, value in metadata.items() if value)
    say(f"{cells.n_obs:,} cells{f' of {known}' if known else ''}")
