"""Genes and their transcription start sites from a gene annotation: GTF, GFF3 or BED.

The readers of pyranges and pandas cut a line at any ``#``, turn the genes ``nan`` and ``NA`` into missing values, and
hold every line of the file. Therefore the lines are read here; only those of the chosen feature are kept.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd

from scbind.core.errors import InputError
from scbind.core.runlog import say
from scbind.formats.assembly import ATG, Stated, refuse_other_assembly
from scbind.formats.genome import ChromSizes, Genome
from scbind.formats.inputs import read_lines
from scbind.formats.names import match_names
from scbind.formats.strays import Rule, Strays

REMEDY = "give a GTF, GFF3 or BED6 file of genes"
# Features, best first: the first that the file has is used. Ensembl's GFF3 has three kinds of genes.
FEATURES = (("gene", "ncRNA_gene", "pseudogene"), ("transcript", "mRNA"), ("exon",))
CODON = "start_codon"
# Attributes that name a gene, best first: of GENCODE and Ensembl, FlyBase, NCBI, GFF3; then identifiers.
NAMES = ("gene_name", "gene_symbol", "gene", "Name", "gene_id", "ID")
GTF_ATTRIBUTE = re.compile(r'\s*([\w.-]+)\s+(?:"([^"]*)"|([^;"]*?))\s*(?:;|$)')
GFF3_ATTRIBUTE = re.compile(r"\s*([\w.-]+)=([^;]*)")

NO_NUMBERS = Rule(
    "start and end are not whole numbers with start before end", "correct the line, or leave it out"
)
NO_NAME = Rule(f"the gene has no name (none of {', '.join(NAMES)})", "give an annotation with gene names")
BEYOND = Rule(
    "the gene starts beyond the end of its chromosome", "give the annotation of this genome assembly"
)
COLUMNS = ["line", "gene", "chrom", "start", "end", "strand"]


def read_tss(path: str | Path, sizes: ChromSizes, genome: Genome | None = None) -> pd.DataFrame:
    """Start sites of the genes of :func:`read_genes`: ``gene, chrom, tss, strand``; equal ones are listed once."""
    table = read_genes(path, sizes, genome)[["gene", "chrom", "tss", "strand"]]
    return table.drop_duplicates().sort_values(["chrom", "tss", "gene"], ignore_index=True)


def read_genes(path: str | Path, sizes: ChromSizes, genome: Genome | None = None) -> pd.DataFrame:
    """Read genes from GTF, GFF3 or BED6, plain or compressed; the content tells the format, not the name of the file.

    Returns ``gene, chrom, start, end, tss, strand``, sorted by position: ``gene`` text; ``chrom`` int64 index into
    ``sizes``; ``start``, ``end`` int64, 0-based half-open; ``tss`` int64, 0-based position of the first transcribed
    base (``start`` on +, ``end - 1`` on -). GTF and GFF3: lines of feature ``gene``, or, where there are none, of
    feature ``transcript``, or of ``exon`` joined per transcript; named by the first of ``NAMES`` that the line has. A
    gene may have several rows. Genes on chromosomes that ``sizes`` does not know are left out, and so are genes without
    a strand and a few impossible ones, each with a line in the log.

    With ``genome``, whose sizes are ``sizes``, the assembly is checked too (:mod:`scbind.formats.assembly`).

    Raises
    ------
    InputError
        No gene at all, no gene with a strand, chromosomes with other names than the genome's, genes of another
        assembly, or more than a few malformed lines.
    """
    stated = Stated()
    lines = _data_lines(path, stated)
    number, first = next(lines, (0, ""))
    fields = first.split("\t")
    strays = Strays(path, "genes")
    is_bed = len(fields) >= 3 and fields[1].isdigit() and fields[2].isdigit()
    if not is_bed and len(fields) >= 8 and fields[3].isdigit() and fields[4].isdigit():
        rows, seen = _from_gff(path, number, fields, lines, strays, stated)
    elif len(fields) >= 6:
        rows, seen = _from_bed(number, fields, lines, strays)
    elif not first:
        raise InputError(path, "no genes in it", REMEDY)
    else:
        raise InputError(
            path,
            f"{len(fields)} columns; BED has 6 with name and strand, GTF and GFF3 have 9",
            REMEDY,
            f"line {number}",
        )
    table = pd.DataFrame(rows, columns=COLUMNS, dtype=object).astype(
        {"line": np.int64, "start": np.int64, "end": np.int64}
    )
    strays.settle(seen)
    if table.empty:
        raise InputError(path, "no genes in it", REMEDY)
    match_names(path, table["chrom"].value_counts().to_dict(), sizes, "genes")
    table = _stranded(path, table[table["chrom"].isin(sizes.names)])
    if genome is not None:
        refuse_other_assembly(path, stated, genome, table.groupby("chrom")["end"].max().to_dict())
    table["chrom"] = table["chrom"].map({name: i for i, name in enumerate(sizes.names)}).astype(np.int64)
    table["tss"] = np.where(table["strand"] == "-", table["end"] - 1, table["start"])
    strays, line = Strays(path, "genes"), table["line"].to_numpy()
    beyond = strays.drop(
        {BEYOND: table["tss"].to_numpy() >= sizes.lengths[table["chrom"].to_numpy()]},
        lambda row: f"line {line[row]}",
    )
    strays.settle(len(table))
    columns = ["gene", "chrom", "start", "end", "tss", "strand"]
    return table.loc[~beyond, columns].sort_values(
        ["chrom", "tss", "gene", "start", "end"], ignore_index=True
    )


def _data_lines(path, stated: Stated) -> Iterator[tuple[int, str]]:
    """Yield the lines of data, without comments, ``track`` lines and the sequence that may end a GFF3 file."""
    for number, line in read_lines(path, REMEDY):
        if line.startswith("##FASTA"):
            return
        if line.startswith("##"):
            stated.note_region(line)
        elif line.strip() and not line.startswith(("#", "track", "browser")):
            yield number, line


def _from_bed(number: int, fields: list[str], lines, strays: Strays) -> tuple[list[tuple], int]:
    """Read BED6; a first line of column names is skipped. Returns rows of ``COLUMNS`` and the number of genes."""
    rows, seen = [], 0
    if re.search("start|begin", fields[1], re.IGNORECASE):
        number, line = next(lines, (number, ""))
        fields = line.split("\t")
    while fields != [""]:
        seen += 1
        span = _span(fields[1:3], 0)
        if span is None or len(fields) < 6:
            strays.add(NO_NUMBERS, f"line {number}")
        elif not fields[3].strip():
            strays.add(NO_NAME, f"line {number}")
        else:
            rows.append((number, fields[3].strip(), fields[0], *span, fields[5].strip()))
        number, line = next(lines, (number, ""))
        fields = line.split("\t")
    return rows, seen


def _from_gff(
    path, number: int, fields: list[str], lines, strays: Strays, stated: Stated
) -> tuple[list[tuple], int]:
    """Read GTF or GFF3, and note its start codons. Returns rows of ``COLUMNS`` and the number of genes."""
    kept, best = [], len(FEATURES)
    while fields != [""]:
        feature = fields[2] if len(fields) > 2 else ""
        rank = next((rank for rank, names in enumerate(FEATURES[: best + 1]) if feature in names), None)
        if rank is not None:
            if rank < best:
                kept, best = [], rank
            kept.append((number, fields))
        elif feature == CODON and len(fields) > 6:
            span = _span(fields[3:5], 1)
            if span is not None and span[1] - span[0] == len(ATG):
                stated.codons.append((number, fields[0], span[0], fields[6].strip()))
        number, line = next(lines, (number, ""))
        fields = line.split("\t")
    if not kept:
        raise InputError(path, "no lines of feature gene, transcript or exon in it", REMEDY)
    rows, transcripts, used = [], {}, Counter()
    for number, fields in kept:
        attributes = _attributes(fields[8] if len(fields) > 8 else "")
        key = next((key for key in NAMES if attributes.get(key)), None)
        span = _span(fields[3:5], 1)
        if span is None or len(fields) < 9:
            strays.add(NO_NUMBERS, f"line {number}")
        elif key is None:
            strays.add(NO_NAME, f"line {number}")
        else:
            used[key] += 1
            name = attributes[key].removeprefix("gene:" if key == "ID" else "")  # of Ensembl's GFF3
            row = (number, name, fields[0], *span, fields[6].strip())
            if best < len(FEATURES) - 1:
                rows.append(row)
                continue
            of = (*row[1:3], row[5], attributes.get("transcript_id") or attributes.get("Parent"))
            first = transcripts.setdefault(of, row)
            transcripts[of] = (*first[:3], min(first[3], row[3]), max(first[4], row[4]), first[5])
    if used:
        say(f"{path}: genes named by {', '.join(f'{key} ({n})' for key, n in used.most_common())}")
    return rows or list(transcripts.values()), len(kept)


def _attributes(text: str) -> dict[str, str]:
    """Read the ninth column of GTF (``key "value";``) or GFF3 (``key=value;``); of a repeated key, the first counts."""
    found: dict[str, str] = {}
    if re.match(r"\s*[\w.-]+=", text):
        for key, value in GFF3_ATTRIBUTE.findall(text):
            found.setdefault(key, unquote(value).strip())
    else:
        for key, quoted, bare in GTF_ATTRIBUTE.findall(text):
            found.setdefault(key, (quoted or bare).strip())
    return found


def _span(fields: list[str], first: int) -> tuple[int, int] | None:
    """Return start and end, 0-based half-open, of a span that counts from ``first``; None if it is not a span."""
    if len(fields) < 2 or not all(re.fullmatch(r"[0-9]{1,1000}", field.strip()) for field in fields):
        return None
    start, end = int(fields[0]) - first, int(fields[1])
    return (start, end) if 0 <= start < end < 2**53 else None


def _stranded(path, table: pd.DataFrame) -> pd.DataFrame:
    """Leave out genes without a strand: they have no start site."""
    known = table["strand"].isin(["+", "-"])
    if not known.any():
        raise InputError(
            path,
            f"no gene has a strand (+ or -); here it is {table['strand'].iloc[0]!r}",
            "give an annotation with strands, because the start site of a gene depends on its strand",
            f"line {table['line'].iloc[0]}",
        )
    if not known.all():
        first = table[~known].iloc[0]
        say(
            f"WARNING {path}, line {first['line']}: left out {int((~known).sum())} of {len(table)} genes without a "
            f"strand (here {first['gene']})"
        )
    return table[known].copy()
