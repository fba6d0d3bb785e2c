"""Read the RNA counts that a user brings: ``.h5`` of Cell Ranger, or an ``.h5ad`` with raw counts."""

from __future__ import annotations

import warnings
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

from scbind.core.errors import InputError, said
from scbind.core.runlog import say
from scbind.formats.celltable import read_given
from scbind.formats.inputs import is_hdf5

REMEDY = "give the filtered_feature_bc_matrix.h5 of Cell Ranger, or an .h5ad with raw counts"
SYMBOLS = ("gene_symbols", "gene_symbol", "gene_name", "gene_names", "feature_name", "symbol")
KIND = "feature_types"  # column of var, in the files of scanpy and muon
OTHER_KINDS = {
    "peaks", "atac", "antibody capture", "adt", "crispr guide capture", "multiplexing capture", "antigen capture",
    "custom", "vdj",
}  # fmt: skip
MOST = np.iinfo(np.int32).max  # molecules of a cell; larger values are not counts
IDENTIFIER = r"^ENS[A-Z]*G\d{11}"  # of Ensembl


def read_rna(path: str | Path) -> anndata.AnnData:
    """Read raw counts: csr float64 (cells, genes), ``obs_names`` barcodes, ``var_names`` gene symbols, each once.

    Of an ``.h5ad``, the counts are the layer ``counts``, else ``X``, else ``raw`` with its own genes: the first that
    holds whole numbers. Features of another kind, such as the peaks of a multiome, are left out. If the genes are named
    by identifiers of Ensembl, a column of ``var`` must hold the symbols (one of ``SYMBOLS``).
    A gene with several rows, as symbols have with several identifiers, gets the sum of them; the log tells how many.

    Raises
    ------
    InputError
        If the file cannot be read, holds no gene expression or no whole numbers >= 0, or a barcode twice.
    """
    if not Path(path).is_file():
        raise InputError(path, "no such file", "correct the column rna of the samples sheet")
    if not is_hdf5(path):
        raise InputError(path, "is not an HDF5 file", REMEDY)
    data = _read(path)
    if not data.n_obs or not data.n_vars:
        raise InputError(path, f"holds {data.n_obs} cells and {data.n_vars} genes", REMEDY)
    counts, var = _genes(path, *_counts(path, data))
    twice = data.obs_names[data.obs_names.duplicated()]
    if len(twice):
        raise InputError(path, f"barcode {twice[0]} occurs twice", "give each sample a file of its own")
    names, number = np.unique(_symbols(path, var), return_inverse=True)
    if len(names) < len(var):
        say(f"{path}: {len(var) - len(names)} genes share their name with another; their counts are summed")
    chosen = sp.csr_matrix((np.ones(len(var)), (np.arange(len(var)), number)))
    found = anndata.AnnData((counts @ chosen).tocsr(), obs=pd.DataFrame(index=data.obs_names.astype(str)))
    found.var_names = names
    return found


def _read(path) -> anndata.AnnData:
    import h5py  # not needed where the file is refused

    try:
        with h5py.File(path) as stored:
            is_10x = "matrix" in stored
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # names that are not unique
            if not is_10x:
                return read_given(path)
            import scanpy  # slow to import

            return scanpy.read_10x_h5(path, gex_only=True)
    except Exception as error:  # scanpy and anndata raise errors of many kinds for a damaged file
        raise InputError(path, f"holds no readable counts ({said(error)})", REMEDY) from error


def _counts(path, data: anndata.AnnData) -> tuple[sp.csr_matrix, pd.DataFrame]:
    """Return the first matrix of counts, and its ``var``."""
    found = [(data.layers.get("counts"), data.var), (data.X, data.var)]
    if data.raw is not None:
        found.append((data.raw.X, data.raw.var))
    example = None
    for matrix, var in found:
        if matrix is None:
            continue
        counts = sp.csr_matrix(matrix).astype(np.float64)
        wrong = ~(np.isfinite(counts.data) & (counts.data >= 0) & (counts.data == np.round(counts.data)))
        wrong |= counts.data > MOST
        if not wrong.any():
            return counts, var
        example = counts.data[wrong][0]
    seen = "no matrix" if example is None else f"values such as {example:g}"
    raise InputError(
        path, f"holds {seen}, which are not counts", "give raw counts: whole numbers, not normalized"
    )


def _genes(path, counts: sp.csr_matrix, var: pd.DataFrame) -> tuple[sp.csr_matrix, pd.DataFrame]:
    """Leave out features that are not genes, and say how many."""
    if KIND not in var:
        return counts, var
    kept = (~var[KIND].astype(str).str.casefold().isin(OTHER_KINDS)).to_numpy()
    if not kept.any():
        kinds = ", ".join(sorted(set(var[KIND].astype(str)))[:3])
        raise InputError(path, f"holds no gene expression; its features are {kinds}", REMEDY)
    if not kept.all():
        say(f"{path}: left out {(~kept).sum()} of {len(var)} features that are not genes")
    return counts[:, kept], var[kept]


def _symbols(path, var: pd.DataFrame) -> np.ndarray:
    names = pd.Series(var.index.astype(str))
    if not names.str.contains(IDENTIFIER).mean() > 0.5:
        return names.to_numpy(dtype=str)
    column = next((name for name in SYMBOLS if name in var), None)
    if column is None:
        raise InputError(
            path,
            f"names genes by identifiers such as {names[0]}",
            f"add their symbols to var, in a column {SYMBOLS[0]}, or name the genes by symbols",
        )
    symbols = var[column].astype(object).reset_index(drop=True)
    return symbols.where(symbols.notna() & (symbols != ""), names).to_numpy(dtype=str)
