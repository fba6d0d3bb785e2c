"""Mean predicted binding per cell type, one transcription factor at a time.

The binding stores hold cells x windows per factor. What targets and motif enrichment need is types x windows.
One factor is held in memory at a time, and of its cells one chunk.
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
from scbind.core.runlog import say
from scbind.formats.celltable import cell_types_of, read_obs
from scbind.models.abstention import marks


def list_types(types: pd.Series, min_cells: int, what: str) -> list[str]:
    """Sorted names of the types with at least ``min_cells`` cells; those that are left out are said."""
    counts = types.dropna().value_counts()
    for name in sorted(counts.index[counts < min_cells].astype(str)):
        say(f"{what}: {name} is skipped, {counts[name]} cells are fewer than {min_cells}")
    return sorted(counts.index[counts >= min_cells].astype(str))


@dataclass(frozen=True)
class TypeMeans:
    """Binding stores of one or several samples, read as means over the cells of each type.

    ``types`` and ``tfs`` name the two axes, ``n_cells`` int64 (types,) counts the cells of each type, and ``windows``
    are the windows of the stores, in their order. Of each store, ``members``, int64 (cells,), numbers the type of every
    cell, -1 for none of them, and ``deep``, bool (cells, TFs), says which are deep enough for a TF. Of TFs that are
    abstained on as a whole, marked in ``marks``, every cell counts.
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
        """How far to trust each TF, one row per TF; see :func:`scbind.models.abstention.marks`."""
        return marks(self.stores[0].reliability, self.tfs)

    @classmethod
    def open(
        cls, zarrs: list[str | Path], cells: list[str | Path], windows: str | Path, min_cells: int, what: str
    ) -> TypeMeans:
        """Match each ``results/binding/{sample}.zarr`` with the ``cells.h5ad`` of the same sample, in order.

        ``windows`` is ``results/binding/windows.npz``; ``what`` is said of types that are left out. Raises
        :class:`InputError` when the lists differ in length, a store lacks a part, stores disagree on factors or
        windows, a cell of a store is unknown, or no type has ``min_cells`` cells.
        """
        if len(zarrs) != len(cells) or not zarrs:
            raise InputError(
                zarrs[0] if zarrs else "binding",
                f"{len(zarrs)} binding stores but {len(cells)} cell tables",
                "give one cells.h5ad for each store, in the same order",
            )
        read = [_open_store(Path(store), Path(table)) for store, table in zip(zarrs, cells, strict=True)]
        tfs, n_windows = read[0][0].tfs, len(read[0][0].var)
        for binding, _ in read[1:]:
            if binding.tfs != tfs or len(binding.var) != n_windows:
                raise InputError(
                    binding.path,
                    f"its factors or windows differ from those of {read[0][0].path}",
                    "infer all samples again",
                )
        chosen = Windows.load(windows)
        if n_windows != len(chosen):
            raise InputError(windows, f"{len(chosen)} windows, the stores have {n_windows}", "infer again")
        types = list_types(pd.concat([labels for _, labels in read]), min_cells, what)
        if not types:
            raise InputError(
                cells[0],
                f"no cell type has {min_cells} cells",
                "lower analysis.min_cells or label more coarsely",
            )
        stores = tuple(binding for binding, _ in read)
        members = tuple(pd.Categorical(labels, categories=types).codes.astype(np.int64) for _, labels in read)
        n_cells = sum(_count(member, len(types)) for member in members)
        deep = tuple(~binding.shallow for binding in stores)
        means = cls(types, tfs, n_cells, chosen, stores, members, deep, min_cells)
        few = int((means.n_deep < min_cells).sum())
        if few:
            say(
                f"{what}: {few} of {means.n_deep.size} pairs of type and TF are left out, fewer than {min_cells} cells "
                "are deep enough"
            )
        return means

    @cached_property
    def n_deep(self) -> np.ndarray:
        """Cells behind each mean: int64 (types, TFs)."""
        n = len(self.types)
        each = zip(self.members, self.deep, strict=True)
        return sum(
            np.stack([_count(member[column], n) for column in deep.T], axis=1) for member, deep in each
        )

    def means(self, tf: str) -> np.ndarray:
        """Mean P(bound) of one factor over the cells that are deep enough for it: float32 (types, windows).

        Values below the floor count as 0. A type with fewer than ``min_cells`` such cells is NaN.
        """
        total, column = np.zeros((len(self.types), len(self.windows)), dtype=np.float64), self.tfs.index(tf)
        for binding, member, deep in zip(self.stores, self.members, self.deep, strict=True):
            groups = np.where(deep[:, column], member, -1)
            total += binding.sums(tf, groups, len(self.types))
        n_deep = self.n_deep[:, column]
        total[n_deep < self.min_cells] = np.nan
        return (total / np.maximum(n_deep, 1)[:, None]).astype(np.float32)

    def __iter__(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield every factor with its means."""
        for tf in self.tfs:
            yield tf, self.means(tf)


def _count(member: np.ndarray, n_types: int) -> np.ndarray:
    """Cells of each type: int64 (types,)."""
    return np.bincount(member[member >= 0], minlength=n_types)


def _open_store(store: Path, table: Path) -> tuple[Binding, pd.Series]:
    """The store, and the type of each of its cells."""
    try:
        binding = open_binding(store)
    except (FileNotFoundError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(store, f"not a binding store ({error})", "merge its shards again") from error
    known = read_obs(table)
    unknown = binding.obs.index.difference(known.index)
    if len(unknown):
        raise InputError(
            store,
            f"{len(unknown)} cells, such as {unknown[0]}, are not in {table}",
            "give the cells.h5ad of the same sample, or infer the sample again",
        )
    return binding, cell_types_of(known, table).reindex(binding.obs.index)
