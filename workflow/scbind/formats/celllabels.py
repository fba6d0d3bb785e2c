"""Read the cell types that a user gives: a table of text, or the cells of an ``.h5ad``."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from scbind.core.errors import InputError
from scbind.core.filenames import folded_name
from scbind.core.runlog import say
from scbind.formats.inputs import is_hdf5
from scbind.formats.tables import read_columns

REMEDY = "give a table with the columns barcode and cell_type, or leave the setting empty"
BASES = r"[ACGT]{6}"  # in the sequence of a barcode


def read_label_table(path: str | Path) -> pd.DataFrame:
    """Read barcodes and cell types as text.

    A table needs the columns ``barcode`` and ``cell_type`` (:func:`scbind.formats.tables.read_columns`). Of an
    ``.h5ad``, the names of the cells are the barcodes, or its column ``barcode`` if the names have no sequence. The
    cell types are its column ``cell_type`` (case, spaces, ``.``, ``_`` and ``-`` do not matter) or, without one, its
    only column of text. The log names the column.

    Returns
    -------
    pandas.DataFrame
        Columns ``barcode`` and ``cell_type``, object, empty text where a type is missing. Indexed by line of the table,
        or by number of the cell (from 1).

    Raises
    ------
    InputError
        If the file cannot be read, or if it is not clear which columns are meant.
    """
    if not is_hdf5(path):
        return read_columns(path, ("barcode", "cell_type"), REMEDY)
    from scbind.formats.celltable import read_given_obs  # brings anndata, which text does not need

    obs = read_given_obs(path, REMEDY)
    column = _type_column(path, obs)
    names = pd.Series(obs.index, dtype=object).astype(str)
    listed = next((name for name in obs if folded_name(str(name)) == "barcode"), None)
    if listed is not None and not names.str.contains(BASES).any():
        names = obs[listed].astype(str).reset_index(drop=True)
    types = pd.Series(obs[column].to_numpy(dtype=object))
    types = types.where(types.notna(), "").astype(str).str.strip()
    say(f"{path}: cell types of {len(obs):,} cells from the column {column}")
    return pd.DataFrame(
        {"barcode": names.to_numpy(dtype=object), "cell_type": types.to_numpy(dtype=object)},
        index=range(1, len(obs) + 1),
        dtype=object,
    )


def _type_column(path: str | Path, obs: pd.DataFrame) -> str:
    """Return the name of the column of cell types."""
    text = [name for name in obs if _is_text(obs[name])]
    named = [name for name in obs if folded_name(str(name)) == "celltype"]
    types = named or [name for name in text if folded_name(str(name)) != "barcode"]
    if len(types) == 1:
        return types[0]
    shown = ", ".join(map(str, types)) or "none"
    problem = "several columns may be the cell types" if types else "no column of text for the cell types"
    raise InputError(path, f"{problem} ({shown})", "name one of them cell_type, or give a table", "obs")


def _is_text(column: pd.Series) -> bool:
    values = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else column
    return pd.api.types.is_object_dtype(values) or pd.api.types.is_string_dtype(values)
