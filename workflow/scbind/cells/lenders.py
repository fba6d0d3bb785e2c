"""The cells of one sample, and the cells that each of them borrows from."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd

from scbind.cells.columns import nuclear_fragments
from scbind.cells.neighbours import borrow
from scbind.core.errors import InputError
from scbind.core.files import atomic
from scbind.core.runlog import say
from scbind.formats.celltable import CELLS, GROUP, read_whole


def sample_cells(embedding: str | Path, sample: str, output: str | Path) -> None:
    """Write the part of an embedding that belongs to one sample, without the graph of neighbours.

    Rows are in the order of the sample's ``barcodes.tsv`` and include failed cells, so row ``i`` is cell ``i`` of its
    :class:`scbind.formats.signal.CellSignal`. Raises :class:`InputError` if the embedding does not contain the sample.
    """
    cells = read_whole(embedding, GROUP, ["obs/sample", "obsp/connectivities"])
    chosen = (cells.obs["sample"] == sample).to_numpy()
    if not chosen.any():
        known = ", ".join(map(str, cells.obs["sample"].cat.categories))
        raise InputError(embedding, f"has no cell of sample {sample} (only {known})", "embed its group again")
    del cells.obsp["connectivities"]
    part = cells[chosen].copy()
    with atomic(output) as path:
        part.write_h5ad(path)
    say(f"{sample}: {int(chosen.sum()):,} cells of {len(chosen):,} in the embedding")


def find_lenders(
    cells: str | Path, output: str | Path, target_fragments: float, max_neighbours: int, weights: str
) -> None:
    """Write which cells each cell of a sample borrows from, in a file of its own.

    It is not part of the sample's embedding, because cell types and peaks are made from that file, and do not depend on
    what cells borrow.

    Parameters
    ----------
    cells
        The sample's ``embedding.h5ad``. Only cells of one sample are compared, so batch effects do not matter. Cells
        are near in ``X_neighbours`` if there is one, otherwise in ``X_lsi``.
    output
        An ``.h5ad`` with the same rows: ``obs`` with ``pass`` and ``n_fragments``, without
        those of mitochondrial DNA (:func:`scbind.cells.columns.nuclear_fragments`), and ``obsp["borrow"]``, the float32
        csr matrix of :func:`scbind.cells.neighbours.borrow`. The row of a failed cell is empty.
    target_fragments, max_neighbours, weights
        See :func:`scbind.cells.neighbours.borrow`.
    """
    given = read_whole(cells, CELLS, ["obs/sample", "obs/n_fragments", "obs/pass", "obsm/X_lsi"])
    obs = pd.DataFrame({"n_fragments": nuclear_fragments(given.obs), "pass": given.obs["pass"]})
    points = given.obsm["X_neighbours" if "X_neighbours" in given.obsm else "X_lsi"]
    n_fragments, passing = obs["n_fragments"].to_numpy(), obs["pass"].to_numpy()
    lent = borrow(points, n_fragments, target_fragments, max_neighbours, weights)
    options = {"target_fragments": target_fragments, "max_neighbours": max_neighbours, "weights": weights}
    borrowed = lent @ n_fragments.astype(np.float64)
    number = np.diff(lent.indptr)[passing] - 1
    if passing.any():
        name = given.obs["sample"].iloc[0]
        short = int((borrowed[passing] < target_fragments).sum())
        say(f"{name}: {passing.sum()} cells borrow from {np.median(number):.0f} other cells (median)")
        if short:
            say(f"{name}: {short} of these cells stay below {target_fragments} fragments")
    with atomic(output) as path:
        anndata.AnnData(obs=obs, obsp={"borrow": lent}, uns={"borrow": options}).write_h5ad(path)
