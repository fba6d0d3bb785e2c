"""The only reader of variants: a VCF, or a table with columns chrom, pos, ref and alt. Every allele becomes a row."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from scbind.core.errors import InputError
from scbind.core.runlog import say
from scbind.formats.genome import Genome
from scbind.formats.inputs import read_lines
from scbind.formats.names import match_names
from scbind.formats.strays import Rule, Strays
from scbind.formats.tables import SEPARATORS, header_of, read_columns

COLUMNS = ["chrom", "start", "ref", "alt", "name", "line"]
WANTED = ("chrom", "pos", "ref", "alt")
LONGEST = (
    50  # bp; a longer allele is a structural variant, for which the signal of the reference cannot be used
)
BASES = "ACGT"
POSITION = re.compile("[1-9][0-9]{0,14}")
LETTERS = re.compile(f"[{BASES}]{{1,{LONGEST}}}")
CODES = np.full(256, len(BASES), dtype=np.uint8)  # of letters; see scbind.formats.genome
CODES[[ord(base) for base in BASES]] = range(len(BASES))
REMEDY = "give a VCF, or a table with the columns chrom, pos (1-based), ref and alt"
BEYOND = Rule("the position is beyond the end of its chromosome", "use variants of this genome")
DIFFERS = Rule(
    "REF is not the base of the genome",
    "use variants of this genome build, or lift them over (bcftools +liftover); bcftools norm -f GENOME.fa lists them",
)
TWICE = Rule("the variant is listed twice", "keep one of them: bcftools norm -d exact")


def read_variants(path: str | Path, genome: Genome) -> pd.DataFrame:
    """Read the alleles of a VCF or of a table, and check them against the genome.

    A VCF is plain or compressed; genotypes are not read. A table has a header with chrom, pos (1-based), ref, alt and,
    optionally, id. A record with several ALT alleles gives one row for each. Skipped and counted in the log: symbolic
    alleles, ``*``, records without ALT, letters other than ACGT, and alleles of more than 50 bp. The file need not be
    sorted. About 650 bytes per allele are held in memory at most.

    Returns
    -------
    pandas.DataFrame
        In the order of the genome: ``chrom`` (int64, index), ``start`` (int64, 0-based, first base of REF), ``ref``,
        ``alt`` (letters ACGT), ``name`` (ID, or empty), ``line`` (of the file).

    Raises
    ------
    InputError
        If the file is missing, empty, damaged or in neither format, a position is not a whole number from 1, no allele
        can be used, chromosome names have another style (:mod:`scbind.formats.names`), or more than 1 % of alleles,
        and more than one, lie beyond their chromosome, differ from the genome in REF or are listed twice.
    """
    rows = pd.DataFrame(_rows(path), columns=COLUMNS)
    if rows.empty:
        raise InputError(path, "there are no variants in it", "check how the file was made")
    match_names(path, rows["chrom"].value_counts().to_dict(), genome.sizes, "variants")
    rows["chrom"] = pd.Index(genome.sizes.names).get_indexer(rows["chrom"])
    rows = _usable(path, rows, genome)
    strays = Strays(path, "alleles")
    end = rows["start"] + rows["ref"].str.len()
    beyond = (end > genome.sizes.lengths[rows["chrom"]]).to_numpy()
    differs = ref_differs(genome, rows)
    twice = rows.duplicated(["chrom", "start", "ref", "alt"]).to_numpy()
    dropped = strays.drop({BEYOND: beyond, DIFFERS: differs, TWICE: twice}, _place(rows, genome))
    strays.settle(len(rows))
    return rows[~dropped].sort_values(["chrom", "start"], kind="stable").reset_index(drop=True)


def ref_differs(genome: Genome, rows: pd.DataFrame) -> np.ndarray:
    """Return for each allele whether its REF is not the sequence of the genome: bool (alleles,)."""
    differs = np.zeros(len(rows), dtype=bool)
    width = rows["ref"].str.len().to_numpy()
    for length in np.unique(width):
        of_length = np.flatnonzero(width == length)
        part = rows.iloc[of_length]
        there = genome.window_codes(part["chrom"].to_numpy(), part["start"].to_numpy(), length)
        differs[of_length] = (there != codes_of(part["ref"], length)).any(axis=1)
    return differs


def codes_of(alleles: pd.Series, length: int) -> np.ndarray:
    """Return the base codes of alleles of one length: uint8 (alleles, length)."""
    letters = np.frombuffer("".join(alleles).encode("ascii"), dtype=np.uint8)
    return CODES[letters].reshape(len(alleles), length)


def _rows(path) -> Iterator[tuple]:
    """Yield the fields of ``COLUMNS`` of each allele, as the file has them."""
    number, first = next(read_lines(path), (0, ""))
    if first.startswith("##fileformat=VCF"):
        records = _of_vcf(path)
    elif first.startswith("#"):
        problem = "starts with #, but its first line is not ##fileformat=VCF"
        raise InputError(path, problem, REMEDY, f"line {number}")
    else:
        records = _of_table(path, first)
    for number, chrom, position, name, ref, alts in records:
        if not POSITION.fullmatch(position):
            raise InputError(
                path, f"the position is {position!r}, not a whole number from 1", REMEDY, f"line {number}"
            )
        for alt in alts.upper().split(","):
            yield chrom, int(position) - 1, ref.upper(), alt, "" if name == "." else name, number


def _of_vcf(path) -> Iterator[tuple]:
    """Yield line number, chrom, position, ID, REF and ALT of each record (pysam gives no lines, and no plain gzip)."""
    for number, line in read_lines(path):
        if line.startswith("#") or not line:
            continue
        fields = line.split("\t", 5)[:5]
        if len(fields) < 5:
            problem = f"{len(fields)} columns where a VCF has at least 5, separated by tabs"
            raise InputError(path, problem, "correct the line", f"line {number}")
        yield number, *fields


def _of_table(path, first: str) -> Iterator[tuple]:
    """Yield the same of each line of a table."""
    with_id = any("id" in header_of(first, separator) for separator in SEPARATORS)
    table = read_columns(path, [*WANTED, "id"] if with_id else WANTED, REMEDY)
    for number, row in zip(table.index, table.itertuples(index=False), strict=True):
        yield number, row.chrom, row.pos, row.id if with_id else "", row.ref, row.alt


def _usable(path, rows: pd.DataFrame, genome: Genome) -> pd.DataFrame:
    """Leave out alleles that cannot be computed, and say how many of each kind."""
    kinds = [_kind(ref, alt) for ref, alt in zip(rows["ref"], rows["alt"], strict=True)]
    chrom = rows["chrom"].to_numpy()
    kinds = np.where(chrom < 0, "", np.array(kinds, dtype=object))  # match_names has said it
    kinds = np.where(chrom >= genome.n_sequenced, "chromosomes without sequence", kinds)
    left_out = Counter(kind for kind in kinds if kind)
    if left_out:
        said_of = ", ".join(f"{number} {kind}" for kind, number in sorted(left_out.items()))
        say(f"{path}: left out {left_out.total()} of {len(rows)} alleles: {said_of}")
    used = rows[(kinds == "") & (chrom >= 0)]
    if used.empty:
        raise InputError(
            path, "no allele of it can be used", "give substitutions or short insertions and deletions"
        )
    return used.reset_index(drop=True)


def _kind(ref: str, alt: str) -> str:
    """Return why an allele cannot be computed; empty if it can."""
    if alt in (".", "", ref):
        return "without another allele"
    if alt == "*" or not alt.isalpha():
        return "symbolic or *"
    if max(len(ref), len(alt)) > LONGEST:
        return f"longer than {LONGEST} bp"
    return "" if LETTERS.fullmatch(ref) and LETTERS.fullmatch(alt) else "with letters other than ACGT"


def _place(rows: pd.DataFrame, genome: Genome):
    """Return a function from the index of a row to its line, and what the file and the genome have there."""

    def place(index: int) -> str:
        row = rows.iloc[index]
        codes = genome.window_codes([row["chrom"]], [row["start"]], len(row["ref"]))[0]
        has = "".join((BASES + "N")[code] for code in codes)
        name = genome.sizes.names[row["chrom"]]
        return f"line {row['line']} ({name}:{row['start'] + 1} REF {row['ref']}, genome {has})"

    return place
