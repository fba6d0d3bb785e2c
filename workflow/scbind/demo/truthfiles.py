"""Read the truth folder of the demo: simulated cells, elements, sites, openness and activity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scbind.core.errors import InputError
from scbind.core.files import read_result, require

SIMULATED = "give results of the simulated demo"


class Truth:
    """The truth folder. ``cells`` holds the real cells, indexed by barcode, with their ``row`` in ``open.npz``."""

    def __init__(self, folder):
        self.folder = Path(folder)
        cells = self.table("cells.tsv", {"barcode", "cell_type", "is_cell"})
        cells["row"] = np.cumsum(cells["is_cell"] == 1) - 1  # poor barcodes have no row in open.npz
        self.cells = cells[cells.is_cell == 1].set_index("barcode")

    def table(self, name: str, columns: set) -> pd.DataFrame:
        """Read one of the tables. Raises :class:`InputError` if the file or one of the ``columns`` is missing."""
        path = self.folder / name
        table = read_result(path, "simulate the demo again")
        if missing := columns - set(table.columns):
            raise InputError(path, f"has no column {', '.join(sorted(missing))}", "simulate the demo again")
        return table

    def sites(self) -> tuple[pd.DataFrame, sp.csr_matrix]:
        """Return the sites, with their ``column`` in the openness matrix, and that matrix: csr (real cells, elements).

        Raises :class:`InputError` if a file is missing or damaged.
        """
        sites = self.table("sites.tsv", {"chrom", "start", "end", "tf", "element", "strength"})
        elements = self.table("elements.bed", {"name"})
        opened = sp.csr_matrix(sp.load_npz(require(self.folder / "open.npz", "simulate the demo again")))
        if opened.shape[1] != len(elements):
            problem = f"has {opened.shape[1]} elements, but elements.bed has {len(elements)}"
            raise InputError(self.folder / "open.npz", problem, "simulate the demo again")
        sites["column"] = pd.Index(elements["name"]).get_indexer(sites["element"])
        return sites, opened

    def open_in(self, name: str) -> np.ndarray:
        """Return whether each element is open in a line or type: bool (elements,), in the order of ``elements.bed``."""
        return self.table("elements.bed", {"name", f"open_{name}"})[f"open_{name}"].to_numpy() == 1

    def match(self, obs: pd.DataFrame, path) -> np.ndarray:
        """Return the rows of ``obs`` that are real cells of the truth: int64.

        Barcodes come from the column ``barcode`` if there is one, otherwise from the index. Raises :class:`InputError`
        if there is no such row.
        """
        found = np.flatnonzero(barcodes(obs).isin(self.cells.index))
        if not len(found):
            raise InputError(path, "no barcode is a cell of the simulated truth", SIMULATED)
        return found


def barcodes(obs: pd.DataFrame) -> pd.Index:
    """Return the barcodes of cells as in the fragments file: the column ``barcode`` if there is one, else the index."""
    return pd.Index((obs["barcode"] if "barcode" in obs else obs.index).astype(str))
