"""Annotate consensus peaks: nearest gene, distance to its start site, and promoter, gene body or distal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from scbind.core.files import write_table
from scbind.core.runlog import say
from scbind.formats.bedtools import nearest_start, overlapped
from scbind.formats.genes import read_genes
from scbind.formats.genome import ChromSizes
from scbind.formats.intervals import place_names, read_bed

COLUMNS = ["peak", "chrom", "start", "end", "gene", "tss_distance", "annotation"]
KINDS = ("promoter", "gene_body", "distal")


def annotate_peaks(
    peaks: str | Path, genes: str | Path, sizes_path: str | Path, output: str | Path, promoter: Sequence[int]
) -> None:
    """Annotate peaks by the position of their centre.

    Parameters
    ----------
    peaks
        BED of the consensus peaks.
    genes
        BED6 or GTF, see :func:`scbind.formats.genes.read_genes`.
    output
        Tab-separated, one row per peak in the order of the file: ``peak`` (``chrom:start-end``), ``chrom``, ``start``,
        ``end`` (0-based half-open); ``gene``, the gene whose start site is nearest to the centre; ``tss_distance``,
        centre minus start site in bp in the direction of transcription (negative: upstream); and ``annotation``:
        ``promoter``, else ``gene_body``, else ``distal``. ``gene`` and ``tss_distance`` are empty on a chromosome
        without genes.
    promoter
        Extent of a promoter: bp upstream and bp downstream of its start site.

    Raises
    ------
    InputError
        On bad peaks or genes.
    """
    sizes = ChromSizes.read(sizes_path)
    table = read_bed(peaks, sizes)
    known = read_genes(genes, sizes)
    known["chrom"] = np.asarray(sizes.names, dtype=object)[known["chrom"]]
    starts = known.drop_duplicates(["gene", "chrom", "tss", "strand"], ignore_index=True)
    centre = (table["start"] + table["end"]) // 2
    nearest = nearest_start(table[["chrom"]].assign(position=centre), starts, sizes)
    found = nearest["row"].to_numpy() >= 0
    table["peak"] = place_names(table)
    table["gene"] = np.where(found, starts["gene"].to_numpy()[nearest["row"]], "")
    table["tss_distance"] = nearest["distance"].astype("Int64")
    points = pd.DataFrame({"chrom": table["chrom"], "start": centre, "end": centre + 1})
    is_promoter = overlapped(points, _promoters(starts, *promoter))
    is_inside = overlapped(points, known[["chrom", "start", "end"]])
    table["annotation"] = np.select([is_promoter, is_inside], KINDS[:2], KINDS[2])
    write_table(output, table[COLUMNS])
    counts = table["annotation"].value_counts()
    say(", ".join(f"{counts.get(kind, 0):,} {kind}" for kind in KINDS) + f" of {len(table):,} peaks")


def _promoters(starts: pd.DataFrame, upstream: int, downstream: int) -> pd.DataFrame:
    """Return the promoter of each start site, 0-based half-open, cut at the start of the chromosome."""
    forward = (starts["strand"] == "+").to_numpy()
    tss = starts["tss"].to_numpy()
    begin = np.where(forward, tss - upstream, tss - downstream)
    end = np.where(forward, tss + downstream, tss + upstream) + 1
    return pd.DataFrame({"chrom": starts["chrom"], "start": np.maximum(begin, 0), "end": end})
