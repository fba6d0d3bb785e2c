"""Columns of the table of barcodes and their quality."""

from __future__ import annotations

COLUMNS = [
    "barcode",
    "n_fragments",
    "n_reads",
    "frac_duplicates",
    "nucleosome_signal",
    "tss_enrichment",
    "frac_mitochondrial",
]
