"""Genes and their transcription start sites from a gene annotation."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from scbind.core.errors import InputError
from scbind.core.files import require
from scbind.formats.genome import ChromSizes

ATTRIBUTE = r'(?:^|;)\s*{key} "?([^";]+)"?'


def read_tss(path: str | Path, sizes: ChromSizes) -> pd.DataFrame:
    """Start sites of the genes of :func:`read_genes`: ``gene, chrom, tss, strand``; equal ones are listed once."""
    table = read_genes(path, sizes)[["gene", "chrom", "tss", "strand"]]
    return table.drop_duplicates().sort_values(["chrom", "tss", "gene"], ignore_index=True)


def read_genes(path: str | Path, sizes: ChromSizes) -> pd.DataFrame:
    """Read genes from BED6 or GTF, plain or gzipped (told apart by ``.gtf`` / ``.gff`` in the name).

    Returns ``gene, chrom, start, end, tss, strand``, sorted by place: ``chrom`` int64 index into ``sizes``; ``start``,
    ``end`` int64, 0-based half-open; ``tss`` int64, 0-based position of the first transcribed base (``start`` on +,
    ``end - 1`` on -). GTF: lines of feature ``gene``, or, where there are none, of feature ``transcript``, or of
    ``exon`` joined per transcript; named by ``gene_name`` or else ``gene_id``. A gene may have several rows. Genes on
    chromosomes that ``sizes`` does not know are left out.

    Raises
    ------
    InputError
        Malformed lines, no gene at all, or no gene on a known chromosome.
    """
    path = require(path, "give a BED6 or GTF file of genes")
    is_gtf = re.search(r"\.(gtf|gff\d?)(\.b?gz)?$", path.name.lower()) is not None
    table = _read_gtf(path) if is_gtf else _read_bed(path)
    if table.empty:
        raise InputError(path, "no genes in it", "give a BED6 or GTF file of genes")
    known = table["chrom"].isin(sizes.names)
    if not known.any():
        raise InputError(
            path,
            f"no gene lies on a chromosome of the genome "
            f"(here {table['chrom'].iloc[0]}, there {sizes.names[0]})",
            "give the annotation of this genome, with the same chromosome names",
        )
    table = table[known].copy()
    table["chrom"] = table["chrom"].map({name: i for i, name in enumerate(sizes.names)}).astype(np.int64)
    table["tss"] = np.where(table["strand"] == "-", table["end"] - 1, table["start"])
    beyond = table["tss"].to_numpy() >= sizes.lengths[table["chrom"].to_numpy()]
    if beyond.any():
        first = table[beyond].iloc[0]
        raise InputError(
            path,
            f"gene {first['gene']} starts at {first['tss']}, beyond the end of {sizes.names[first['chrom']]}",
            "give the annotation of this genome assembly",
        )
    columns = ["gene", "chrom", "start", "end", "tss", "strand"]
    return table[columns].sort_values(["chrom", "tss", "gene", "start", "end"], ignore_index=True)


def _read_bed(path: Path) -> pd.DataFrame:
    columns = ["chrom", "start", "end", "gene", "score", "strand"]
    table = _read(path, 6).set_axis(columns, axis=1)
    return _checked(path, table, shift=0)


def _read_gtf(path: Path) -> pd.DataFrame:
    table = _read(path, 9)
    columns = ["chrom", "source", "feature", "start", "end", "score", "strand", "frame", "attributes"]
    table = table.set_axis(columns, axis=1)
    for feature in ("gene", "transcript", "exon"):
        chosen = table[table["feature"] == feature].copy()
        if len(chosen):
            break
    for key in ("gene_name", "gene_id", "transcript_id"):
        chosen[key] = chosen["attributes"].str.extract(ATTRIBUTE.format(key=key), expand=False)
    chosen["gene"] = chosen["gene_name"].fillna(chosen["gene_id"])
    if chosen["gene"].isna().any():
        line = int(chosen.index[chosen["gene"].isna()][0]) + 1
        raise InputError(path, "no gene_name and no gene_id", "give a GTF with gene names", f"record {line}")
    chosen = _checked(path, chosen, shift=1)
    if len(chosen) and feature == "exon":
        keys = ["gene", "transcript_id", "chrom", "strand"]
        chosen = chosen.groupby(keys, dropna=False, as_index=False).agg(
            start=("start", "min"), end=("end", "max")
        )
    return chosen


def _read(path: Path, width: int) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, sep="\t", header=None, comment="#", dtype=str, compression=_packing(path))
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError, EOFError) as error:
        raise InputError(path, f"not readable as a table ({error})", "give a BED6 or GTF file") from error
    if table.shape[1] < width:
        raise InputError(
            path, f"{table.shape[1]} columns, {width} expected", "give BED6 (name and strand) or GTF"
        )
    return table.iloc[:, :width]


def _packing(path: Path) -> str | None:
    return "gzip" if path.suffix in {".gz", ".bgz"} else None


def _checked(path: Path, table: pd.DataFrame, shift: int) -> pd.DataFrame:
    """Turn coordinates into 0-based half-open integers and refuse what is none."""
    table = table.copy()
    for column in ("start", "end"):
        table[column] = pd.to_numeric(table[column], errors="coerce")
    table["start"] -= shift
    bad = ~(table["start"].ge(0) & table["end"].gt(table["start"]) & table["strand"].isin(["+", "-"]))
    if bad.any():
        place = f"record {int(table.index[bad][0]) + 1}"
        raise InputError(
            path, "needs start < end and strand + or -", "correct the line or leave it out", place
        )
    return table.astype({"start": np.int64, "end": np.int64})
