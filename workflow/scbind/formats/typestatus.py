"""Status of a cell type in ``cell_types.tsv``, source of its peaks in ``peaks.json``, and source of a cell's type."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Status:
    """``source``: where the peaks come from, in ``peaks.json`` and the report; ``sentence``: what the status means."""

    source: str
    sentence: str


OWN, FROM_SAMPLES, MERGED, SKIPPED = "own", "sample_peaks", "merged", "skipped"
STATUSES = {
    OWN: Status("cell type", "the type has its own peaks"),
    FROM_SAMPLES: Status("samples", "the type takes the peaks of the samples its cells come from"),
    MERGED: Status("merged into", "the type is pooled with the nearest large type"),
    SKIPPED: Status("skipped", "the type is left out"),
}
# Where the type of a cell is from (``cell_type_source``): the user's label, that of labelled cells, or its cluster.
GIVEN, TRANSFERRED, CLUSTER = SOURCES = "given", "transferred", "cluster"
POOLED = (OWN, FROM_SAMPLES)  # a pseudobulk of its own; the others have none
# Value of peaks.small_types to the status that a type below the minima gets.
SMALL_TYPES = {"sample_peaks": FROM_SAMPLES, "merge": MERGED, "skip": SKIPPED}
