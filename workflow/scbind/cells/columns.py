"""Columns of the table of barcodes and their quality."""

from __future__ import annotations

import numpy as np
import pandas as pd

COLUMNS = [
    "barcode",
    "n_fragments",
    "n_reads",
    "frac_duplicates",
    "nucleosome_signal",
    "tss_enrichment",
    "frac_mitochondrial",
]


def nuclear_fragments(table: pd.DataFrame) -> np.ndarray:
    """Fragments that are not of mitochondrial DNA: int64 (cells,); all, if the genome has no such DNA.

    ``table`` has ``n_fragments`` and may have ``frac_mitochondrial``. The depth of a cell and its fraction in peaks
    refer to these.
    """
    total = table["n_fragments"].to_numpy()
    if "frac_mitochondrial" not in table:
        return total
    return np.rint(total * (1 - table["frac_mitochondrial"].fillna(0).to_numpy())).astype(np.int64)
