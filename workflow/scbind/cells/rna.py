"""RNA counts of the cells of a sample, for samples in which ATAC and RNA were measured in the same cells."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

from scbind.core.errors import InputError
from scbind.core.files import atomic
from scbind.core.runlog import say
from scbind.formats.barcodes import match_barcodes
from scbind.formats.celltable import read_passing_cells, sort_by_type
from scbind.formats.rna import read_rna


def sample_rna(rna: str | Path, cells: str | Path, output: str | Path, sample: str) -> None:
    """Write ``results/cells/{sample}/rna.h5ad``: passing cells x genes, csr int32 counts.

    Cells are in the order of the other files of the sample. A cell without RNA has zeros. ``obs`` has ``cell_type`` and
    the other columns of the cells, and ``n_molecules``. Genes are all those of the file, by symbol.

    Parameters
    ----------
    rna
        See :func:`scbind.formats.rna.read_rna`. Barcodes may be spelled as
        :func:`scbind.formats.barcodes.match_barcodes` allows, for example without ``-1``.
    cells
        ``results/cells/{sample}/cells.h5ad``.

    Raises
    ------
    InputError
        If the file is not one of raw counts, or has no barcode of the sample's cells.
    """
    data = read_rna(rna)
    obs, obsm = read_passing_cells(cells)
    obs, _, _ = sort_by_type(obs, obsm)
    barcodes = pd.Index(obs["barcode"] if "barcode" in obs else obs.index, dtype=object)
    listed = pd.Series(data.obs_names.to_numpy(dtype=object), index=np.arange(1, data.n_obs + 1))
    place = match_barcodes(rna, listed, barcodes, sample)
    known = np.flatnonzero(place >= 0)
    if not len(known):
        shown = barcodes[0] if len(barcodes) else "none"
        raise InputError(
            rna,
            f"none of its {data.n_obs:,} barcodes, such as {listed.iloc[0]}, is a cell of sample {sample}, such as "
            f"{shown}",
            "give the RNA of the same cells; its barcodes must be those of the fragments",
        )
    rows = sp.csr_matrix((np.ones(len(known)), (place[known], known)), shape=(len(obs), data.n_obs))
    counts = sp.csr_matrix(rows @ data.X).astype(np.int32)
    obs = obs.assign(n_molecules=np.asarray(counts.sum(axis=1)).ravel())
    with atomic(output) as scratch:
        anndata.AnnData(counts, obs=obs, var=pd.DataFrame(index=data.var_names)).write_h5ad(scratch)
    say(f"{sample}: RNA of {len(known):,} of {len(obs):,} cells, {data.n_vars:,} genes")
