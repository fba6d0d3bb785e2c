"""The truth folder of the demo: cells, elements, sites, openness and activity as they were simulated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scbind.core.errors import InputError
from scbind.core.files import read_result, require

SIMULATED = "score only what the demo has simulated"


class Truth:
    """The truth folder; ``cells`` are the real cells by barcode, with their ``row`` in ``open.npz``."""

    def __init__(self, folder):
        self.folder = Path(folder)
        cells = self.table("cells.tsv", {"barcode", "cell_type", "is_cell"})
        cells["row"] = np.arange(len(cells))
        self.cells = cells[cells.is_cell == 1].set_index("barcode")

    def table(self, name: str, columns: set) -> pd.DataFrame:
        """Read one of the tables; :class:`InputError` if a column is missing."""
        path = self.folder / name
        table = read_result(path, "simulate the demo again")
        if missing := columns - set(table.columns):
            raise InputError(path, f"has no column {', '.join(sorted(missing))}", "simulate the demo again")
        return table

    def sites(self) -> tuple[pd.DataFrame, sp.csr_matrix]:
        """Sites with their ``column`` in the openness matrix, and that matrix (all barcodes x elements)."""
        sites = self.table("sites.tsv", {"chrom", "start", "end", "tf", "element", "strength"})
        elements = self.table("elements.bed", {"name"})
        opened = sp.csr_matrix(sp.load_npz(require(self.folder / "open.npz", "simulate the demo again")))
        if opened.shape[1] != len(elements):
            problem = f"has {opened.shape[1]} elements, not {len(elements)}"
            raise InputError(self.folder / "open.npz", problem, "simulate the demo again")
        sites["column"] = pd.Index(elements["name"]).get_indexer(sites["element"])
        return sites, opened

    def open_in(self, name: str) -> np.ndarray:
        """Whether each element is open in a line or type: bool (elements,), in the order of ``elements.bed``."""
        return self.table("elements.bed", {"name", f"open_{name}"})[f"open_{name}"].to_numpy() == 1

    def match(self, obs: pd.DataFrame, path) -> np.ndarray:
        """Rows of ``obs`` that are real cells of the truth (by its column ``barcode``, else its index)."""
        found = np.flatnonzero(barcodes(obs).isin(self.cells.index))
        if not len(found):
            raise InputError(path, "none of its barcodes is a cell of the truth", SIMULATED)
        return found


def barcodes(obs: pd.DataFrame) -> pd.Index:
    """Barcodes of cells as the fragments have them."""
    return pd.Index((obs["barcode"] if "barcode" in obs else obs.index).astype(str))
