"""Read the file of links in single cells: targets of a TF, regulators of a gene, cells with a link."""

from __future__ import annotations

import difflib
from pathlib import Path

import numpy as np
import pandas as pd

from scbind.core.errors import InputError
from scbind.formats.celltable import read_whole

MAKER = "the rule of links in cells"
COLUMNS = ["tf", "gene", "value", "sign", "probability", "fdr"]


class Regulation:
    """Links in the cells of a sample, ``results/analysis/regulation/{sample}.h5ad``. Rows are read when asked for.

    ``obs`` are the cells and ``var`` the links (``tf, gene, probability, fdr, sign, ...``). A cell is a name of ``obs``
    (``sample#barcode``) or a barcode alone.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._data = read_whole(path, MAKER, backed=True)
        self.obs, self.var = self._data.obs, self._data.var
        if not {"tf", "gene"} <= set(self.var):
            raise InputError(
                path, "is not a file of links: var has no columns tf and gene", f"run {MAKER} again"
            )

    def __repr__(self) -> str:
        return (
            f"Regulation: {len(self.var):,} links of {self.var['tf'].nunique():,} TFs and "
            f"{self.var['gene'].nunique():,} genes in {len(self.obs):,} cells ({self.path})"
        )

    def targets(self, tf: str, cell: str) -> pd.DataFrame:
        """Return the genes that a TF regulates in a cell, strongest first: ``COLUMNS``."""
        return self._listed(cell, self._links("tf", tf))

    def regulators(self, gene: str, cell: str) -> pd.DataFrame:
        """Return the TFs that regulate a gene in a cell, strongest first: ``COLUMNS``."""
        return self._listed(cell, self._links("gene", gene))

    def cells(self, tf: str, gene: str) -> pd.Series:
        """Return the value of a link in every cell, strongest first: float32, indexed by cell; 0 where it is absent."""
        both = np.intersect1d(self._links("tf", tf), self._links("gene", gene))
        if not len(both):
            raise InputError(
                self.path, f"has no link of {tf} and {gene}", f"see var[var.tf == {tf!r}] for its links"
            )
        values = self._data[:, both].to_memory().X.toarray().ravel()
        return pd.Series(values, index=self.obs.index, name=f"{tf}:{gene}").sort_values(
            ascending=False, kind="stable"
        )

    def _listed(self, cell: str, links: np.ndarray) -> pd.DataFrame:
        values = self._data[[self._row(cell)]].to_memory().X.toarray().ravel()[links]
        table = self.var.iloc[links].assign(value=values)
        table = table[table["value"] > 0].sort_values("value", ascending=False, kind="stable")
        return table.reindex(columns=COLUMNS).reset_index(drop=True)  # a file may lack sign, if none is known

    def _row(self, cell: str) -> int:
        names = pd.Index(self.obs.index)
        row = names.get_indexer([cell])[0]
        if row < 0:
            row = pd.Index(names.str.rpartition("#").get_level_values(2)).get_indexer([cell])[0]
        if row < 0:
            shown = names[0] if len(names) else "none"
            raise InputError(self.path, f"has no cell {cell!r}", f"name a cell as in obs, such as {shown}")
        return int(row)

    def _links(self, column: str, name: str) -> np.ndarray:
        """Return the numbers of the links of a TF or of a gene."""
        found = np.flatnonzero((self.var[column].astype(str) == name).to_numpy())
        if not len(found):
            known = self.var[column].astype(str).unique().tolist()
            close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.6)
            remedy = f"did you mean {close[0]}?" if close else f"choose one of {', '.join(known[:10])}"
            remedy = remedy if known else "it has no link at all: raise analysis.links.max_fdr"
            raise InputError(self.path, f"has no link of the {column} {name!r}", remedy)
        return found


def open_regulation(path: str | Path) -> Regulation:
    """Open ``results/analysis/regulation/{sample}.h5ad`` as :class:`Regulation`.

    Raises :class:`InputError` if the file does not exist or is not one of links.
    """
    return Regulation(path)
