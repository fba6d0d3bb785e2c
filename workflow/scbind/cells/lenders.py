"""The cells of one sample, with the cells that each of them borrows from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scbind.cells.neighbours import borrow
from scbind.core.errors import InputError
from scbind.core.files import atomic
from scbind.core.runlog import say
from scbind.formats.celltable import GROUP, read_whole


def sample_cells(
    embedding: str | Path,
    sample: str,
    output: str | Path,
    target_fragments: float,
    max_neighbours: int,
    weights: str,
) -> None:
    """Write the part of an embedding that belongs to one sample, with the lenders of each cell.

    Rows are in the order of the sample's ``barcodes.tsv`` and include failed cells, so row ``i`` is cell ``i`` of its
    :class:`scbind.formats.signal.CellSignal`. ``obsp["borrow"]`` is the float32 csr matrix of
    :func:`scbind.cells.neighbours.borrow`, from ``X_neighbours`` if the embedding has it, otherwise from ``X_lsi``.
    Only cells of one sample are compared, so batch effects do not matter. The row of a failed cell is empty.

    Raises :class:`InputError` if the embedding does not contain the sample.
    """
    cells = read_whole(embedding, GROUP)
    chosen = (cells.obs["sample"] == sample).to_numpy()
    if not chosen.any():
        known = ", ".join(map(str, cells.obs["sample"].cat.categories))
        raise InputError(embedding, f"has no cell of sample {sample} (only {known})", "embed its group again")
    cells = cells[chosen].copy()
    points = cells.obsm["X_neighbours" if "X_neighbours" in cells.obsm else "X_lsi"]
    n_fragments = cells.obs["n_fragments"].to_numpy()
    cells.obsp["borrow"] = borrow(points, n_fragments, target_fragments, max_neighbours, weights)
    cells.uns["borrow"] = {
        "target_fragments": target_fragments,
        "max_neighbours": max_neighbours,
        "weights": weights,
    }
    passing = cells.obs["pass"].to_numpy()
    borrowed = cells.obsp["borrow"] @ cells.obs["n_fragments"].to_numpy(dtype=np.float64)
    number = np.diff(cells.obsp["borrow"].indptr)[passing] - 1
    if passing.any():
        short = int((borrowed[passing] < target_fragments).sum())
        say(f"{sample}: {passing.sum()} cells borrow from {np.median(number):.0f} other cells (median)")
        if short:
            say(f"{sample}: {short} of these cells stay below {target_fragments} fragments")
    with atomic(output) as path:
        cells.write_h5ad(path)
