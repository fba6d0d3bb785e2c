"""The only reader of ``.h5ad`` files, of cells and of their activity; parts are read alone, without the matrices."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata.io import read_elem, sparse_dataset

from scbind.core.errors import InputError
from scbind.core.files import damage_errors, require

CELLS, ACTIVITY = "the embedding of the sample", "the activity rule"
GROUP, UMAP = "the embedding of the group", "the UMAP of the group"


def open_to_add(path: str | Path) -> h5py.File:
    """Open an ``.h5ad`` that is being made, to write a part of it in pieces. Close it, or use it in a ``with``."""
    return h5py.File(path, "r+")


def read_obs(path: str | Path, needs: Iterable[str] = (), maker: str = CELLS) -> pd.DataFrame:
    """Read ``obs`` of an ``.h5ad`` and nothing else: one row per cell, in the order of the file.

    Raises :class:`InputError` if the file is missing, damaged, or lacks a column that ``needs`` names; the remedy is
    to run ``maker``.
    """
    return _with_columns(_read(path, "obs", maker), "obs", needs, path, maker)


def _with_columns(table: pd.DataFrame, name: str, needs: Iterable[str], path, maker: str) -> pd.DataFrame:
    missing = [column for column in needs if column not in table]
    if missing:
        raise InputError(path, f"{name} has no column {', '.join(missing)}", f"run {maker} again")
    return table


def read_obsm(path: str | Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Read those of the named arrays of ``obsm`` that the file has: each (cells, dimensions), as stored."""
    found = {name: _read(path, f"obsm/{name}", CELLS, optional=True) for name in names}
    return {name: array for name, array in found.items() if array is not None}


def read_borrow(path: str | Path) -> sp.csr_matrix | None:
    """Read the borrow weights, csr float32 (cells, cells): row = borrowing cell, column = lender. None if absent."""
    stored = _read(path, "obsp/borrow", CELLS, optional=True)
    return None if stored is None else sp.csr_matrix(stored).astype(np.float32, copy=False)


def read_params(path: str | Path) -> dict:
    """Read the parameters that the cells were embedded with (``uns["params"]``); empty where the file has none."""
    return _read(path, "uns/params", CELLS, optional=True) or {}


def read_given_obs(path: str | Path, remedy: str) -> pd.DataFrame:
    """Read ``obs`` of an ``.h5ad`` of a user. Raises :class:`InputError` with ``remedy`` if this is not possible."""
    try:
        with h5py.File(path, "r") as stored:
            obs = read_elem(stored["obs"])
    except KeyError:
        raise InputError(path, "an HDF5 file without cells (obs)", remedy) from None
    except Exception as error:  # anndata raises errors of many kinds for a damaged file
        shown = " ".join(str(error).split())[:200]
        raise InputError(path, f"not a readable .h5ad ({shown})", remedy) from error
    if not isinstance(obs, pd.DataFrame):
        raise InputError(path, "its cells (obs) are not a table", "write the file again with a newer anndata")
    return obs


def read_var(path: str | Path, needs: Iterable[str], maker: str) -> pd.DataFrame:
    """Read ``var`` of an ``.h5ad`` and nothing else; see :func:`read_obs`."""
    return _with_columns(_read(path, "var", maker), "var", needs, path, maker)


def open_rows(path: str | Path, maker: str):
    """Return the sparse ``X`` of an ``.h5ad``, whose rows are read when they are asked for: :func:`sparse_dataset`.

    The file is closed when the matrix is no longer used. Raises :class:`InputError` (remedy: run ``maker``).
    """
    require(path, f"run {maker} first")
    with damage_errors(path, f"run {maker} again"):
        return sparse_dataset(h5py.File(path, "r")["X"])


def read_given(path: str | Path) -> anndata.AnnData:
    """Read all of an ``.h5ad`` that a user brings. Its errors are those of anndata, which are of many kinds."""
    return anndata.read_h5ad(path)


def read_whole(
    path: str | Path, maker: str, needs: Iterable[str] = (), backed: bool = False
) -> anndata.AnnData:
    """Read all of an ``.h5ad``, matrices included.

    ``needs``: parts that the file must have, such as ``obs/pass`` or ``obsm/X_umap``. With ``backed``, the rows of its
    matrices are read when they are asked for. Raises :class:`InputError` if the file is missing, damaged, or lacks a
    part; the remedy is to run ``maker``.
    """
    require(path, f"run {maker} first")
    with damage_errors(path, f"run {maker} again"):
        data = anndata.read_h5ad(path, backed="r" if backed else None)
    for element in needs:
        part, name = element.split("/")
        if name not in getattr(data, part):
            raise InputError(path, f"{part} has no {name}", f"run {maker} again")
    return data


def read_passing_cells(path: str | Path) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Return ``obs`` of the cells that pass QC, in file order, and their obsm ``X_lsi`` and ``X_umap``; may be none.

    Columns without a value in any of these cells are left out, apart from ``cell_type``, and so are unused categories.
    """
    obs = read_obs(path, ["pass"])
    keep = obs["pass"].to_numpy(dtype=bool)
    obsm = {name: array[keep] for name, array in read_obsm(path, ("X_lsi", "X_umap")).items()}
    obs = obs[keep].copy()
    obs = without_empty(obs)
    for column in obs.select_dtypes("category"):
        obs[column] = obs[column].cat.remove_unused_categories()
    return obs, obsm


def without_empty(table: pd.DataFrame, kept: str = "cell_type") -> pd.DataFrame:
    """Return a table without the columns that have no value, apart from ``kept``. One without rows stays whole."""
    empty = [column for column in table if column != kept and table[column].isna().all()]
    return table.drop(columns=empty) if len(table) else table


def sort_by_type(
    obs: pd.DataFrame, obsm: dict[str, np.ndarray]
) -> tuple[pd.DataFrame, dict[str, np.ndarray], np.ndarray]:
    """Put the cells into the order of the files of a sample: by cell type, else as they are.

    Returns ``obs`` and ``obsm`` in this order, and the order, int64 (cells,), of rows of what was given. Cells of a
    type are similar, so a matrix in this order compresses better, and a type can be read without the others.
    """
    order = np.arange(len(obs))
    if "cell_type" in obs:
        order = np.argsort(obs["cell_type"].astype(str).to_numpy(), kind="stable")
    return obs.iloc[order].copy(), {name: array[order] for name, array in obsm.items()}, order


def passing_rows(path: str | Path) -> np.ndarray:
    """Rows of the cells that pass QC: int64 (passing cells,), rising; may be empty."""
    return np.flatnonzero(read_obs(path, ["pass"])["pass"].to_numpy(dtype=bool))


def cell_types_of(obs: pd.DataFrame, path: str | Path) -> pd.Series:
    """Cell type of each cell as an object Series; missing where a cell has none or an empty one."""
    if "cell_type" not in obs:
        raise InputError(path, "obs has no column cell_type", "make the file again with the embedding rules")
    types = obs["cell_type"].astype(object)
    return types.where(types.notna() & (types.astype(str) != ""))


def _read(path: str | Path, element: str, maker: str, optional: bool = False):
    """One element of the file, or None where it is ``optional`` and absent."""
    require(path, f"run {maker} first")
    with damage_errors(path, f"run {maker} again"), h5py.File(path, "r") as file:
        return None if optional and element not in file else read_elem(file[element])
