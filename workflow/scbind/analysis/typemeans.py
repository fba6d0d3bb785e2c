"""Mean predicted binding per cell type, one transcription factor at a time.

The binding stores hold cells x windows per TF. Target genes and motif enrichment need types x windows. The means of one
TF and one chunk of its cells are in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from scbind.binding.store import Binding, open_binding
from scbind.binding.windows import Windows
from scbind.core.errors import InputError
from scbind.core.progress import Progress
from scbind.core.runlog import say
from scbind.formats.celltable import cell_types_of, read_obs
from scbind.models.abstention import marks


def list_types(types: pd.Series, min_cells: int, what: str) -> list[str]:
    """Return the sorted names of the types with at least ``min_cells`` cells; there may be none.

    The log names the other types, after ``what``.
    """
    counts = types.dropna().value_counts()
    for name in sorted(counts.index[counts < min_cells].astype(str)):
        say(f"{what}: {name} is skipped, because it has {counts[name]} cells (minimum {min_cells})")
    if not (counts >= min_cells).any():
        say(f"WARNING {what}: no cell type has {min_cells} cells, so there are no rows")
    return sorted(counts.index[counts >= min_cells].astype(str))


@dataclass(frozen=True)
class TypeMeans:
    """Binding stores of one or more samples, read as means over the cells of each type.

    Attributes
    ----------
    types, tfs
        Names of the cell types, of which there may be none, and of the TFs.
    n_cells
        int64 (types,): number of cells of each type.
    windows
        The windows of the stores, in the same order.
    stores
        The binding stores.
    members
        Per store, int64 (cells,): index of the type of each cell, or -1 for cells of no listed type.
    deep
        Per store, bool (cells, TFs): True if the cell is deep enough for the TF. All cells are True for TFs on which
        scbind abstains in all cells; ``marks`` has these TFs.
    min_cells
        Smallest number of cells behind a mean.
    """

    types: list[str]
    tfs: list[str]
    n_cells: np.ndarray
    windows: Windows
    stores: tuple[Binding, ...]
    members: tuple[np.ndarray, ...]
    deep: tuple[np.ndarray, ...]
    min_cells: int

    @property
    def marks(self) -> pd.DataFrame:
        """Reliability of each TF, one row per TF; see :func:`scbind.models.abstention.marks`."""
        return marks(self.stores[0].reliability, self.tfs)

    @classmethod
    def open(
        cls, zarrs: list[str | Path], cells: list[str | Path], windows: str | Path, min_cells: int, what: str
    ) -> TypeMeans:
        """Open each ``results/binding/{sample}.zarr`` with the ``cells.h5ad`` of the same sample, in the same order.

        ``windows`` is ``results/binding/windows.npz``. ``what`` names the analysis in log lines. Raises
        :class:`InputError` if the lists differ in length, a store lacks a part, stores differ in TFs or windows, or a
        cell of a store is not in its ``cells.h5ad``.
        """
        if len(zarrs) != len(cells) or not zarrs:
            raise InputError(
                zarrs[0] if zarrs else "binding",
                f"{len(zarrs)} binding stores but {len(cells)} cell tables",
                "give one cells.h5ad per store, in the same order",
            )
        read = [_open_store(Path(store), Path(table)) for store, table in zip(zarrs, cells, strict=True)]
        tfs, n_windows = read[0][0].tfs, len(read[0][0].var)
        for binding, _ in read[1:]:
            if binding.tfs != tfs or len(binding.var) != n_windows:
                raise InputError(
                    binding.path,
                    f"its TFs or windows differ from those of {read[0][0].path}",
                    "run the inference of all samples again",
                )
        chosen = Windows.load(windows)
        if n_windows != len(chosen):
            raise InputError(
                windows,
                f"has {len(chosen)} windows, but the stores have {n_windows}",
                "run the inference again",
            )
        types = list_types(pd.concat([labels for _, labels in read]), min_cells, what)
        stores = tuple(binding for binding, _ in read)
        members = tuple(pd.Categorical(labels, categories=types).codes.astype(np.int64) for _, labels in read)
        n_cells = sum(_count(member, len(types)) for member in members)
        deep = tuple(~binding.shallow for binding in stores)
        means = cls(types, tfs, n_cells, chosen, stores, members, deep, min_cells)
        few = int((means.n_deep < min_cells).sum())
        if few:
            say(
                f"{what}: {few} of {means.n_deep.size} pairs of type and TF are left out, because fewer than "
                f"{min_cells} cells are deep enough"
            )
        return means

    @cached_property
    def n_deep(self) -> np.ndarray:
        """Number of cells that are deep enough, behind each mean: int64 (types, TFs)."""
        n = len(self.types)
        each = zip(self.members, self.deep, strict=True)
        return sum(
            np.stack([_count(member[column], n) for column in deep.T], axis=1) for member, deep in each
        )

    def means(self, tf: str) -> np.ndarray:
        """Return mean P(bound) of a TF over the cells that are deep enough for it: float32 (types, windows).

        Values below the floor count as 0. Types with fewer than ``min_cells`` such cells are NaN.
        """
        total, column = np.zeros((len(self.types), len(self.windows)), dtype=np.float64), self.tfs.index(tf)
        for binding, member, deep in zip(self.stores, self.members, self.deep, strict=True):
            groups = np.where(deep[:, column], member, -1)
            total += binding.sums(tf, groups, len(self.types))
        n_deep = self.n_deep[:, column]
        total[n_deep < self.min_cells] = np.nan
        return (total / np.maximum(n_deep, 1)[:, None]).astype(np.float32)

    def __iter__(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the name and the means of every TF."""
        progress = Progress("TFs", len(self.tfs))
        for done, tf in enumerate(self.tfs):
            progress.reached(done)
            yield tf, self.means(tf)


def site_binding(binding: np.ndarray, peak: np.ndarray, n_sites: int) -> np.ndarray:
    """Return the largest value of the windows of each site, 0 without windows: float (types, sites).

    ``binding`` is float (types, windows); ``peak``, int (windows,), is the site of each window.
    """
    found = np.zeros((len(binding), n_sites), dtype=np.float64)
    for row, values in zip(found, np.nan_to_num(binding), strict=True):
        np.maximum.at(row, peak, values)
    return found


def _count(member: np.ndarray, n_types: int) -> np.ndarray:
    """Count the cells of each type: int64 (types,)."""
    return np.bincount(member[member >= 0], minlength=n_types)


def _open_store(store: Path, table: Path) -> tuple[Binding, pd.Series]:
    """Return the store and the type of each of its cells."""
    binding = open_binding(store)
    known = read_obs(table)
    unknown = binding.obs.index.difference(known.index)
    if len(unknown):
        raise InputError(
            store,
            f"{len(unknown)} cells, such as {unknown[0]}, are not in {table}",
            "give the cells.h5ad of the same sample, or run the inference of the sample again",
        )
    return binding, cell_types_of(known, table).reindex(binding.obs.index)
