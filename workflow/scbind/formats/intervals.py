"""Peaks and intervals: read BED and narrowPeak, and write peaks in the order of the genome."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from scbind.core.errors import InputError
from scbind.core.files import write_bed
from scbind.core.runlog import say
from scbind.formats.genome import ChromSizes
from scbind.formats.inputs import read_lines
from scbind.formats.names import match_names
from scbind.formats.strays import Rule, Strays

COLUMNS = ["chrom", "start", "end", "name", "score", "strand", "signal", "p", "q", "summit"]
WHOLE = ("start", "end", "summit")
REAL = ("score", "signal", "p", "q")
WITH_SUMMIT = (10, 20)  # number of columns of narrowPeak, and of what IDR writes for two replicates
HEADER = re.compile("start|begin", re.IGNORECASE)  # second name in a line of column names
# Tables that count from 1, by a column that only they have.
MACS = ("the .xls table of MACS", "give the narrowPeak, broadPeak or BED file that MACS wrote beside it")
FROM_ONE = (
    ("abs_summit", *MACS),
    ("fold_enrichment", *MACS),  # of broad peaks, which have no summit
    ("seqnames", "a table of GRanges of R", "write BED with rtracklayer::export(PEAKS, 'peaks.bed')"),
)
LARGEST = 2**53  # up to which float64 holds every whole number


def read_peaks(path: str | Path, sizes: ChromSizes) -> pd.DataFrame:
    """Read peaks of users: the first three columns of any BED-like file, plain or compressed, and summits.

    Other columns of BED3 to BED12, narrowPeak, broadPeak and the output of IDR are ignored. Lines that begin with
    ``#``, ``track`` or ``browser`` are skipped, and so is one line of column names at the top.

    Returns
    -------
    pandas.DataFrame
        In file order: ``chrom`` (str), ``start``, ``end`` (int64, bp, 0-based half-open), ``summit`` (int64, bp from
        ``start``). The summit is that of narrowPeak, which the output of IDR has as well; it is the middle of a peak
        without one. Peaks on chromosomes outside ``sizes`` are left out, and so are a few peaks with impossible
        coordinates, each with a line in the log (:mod:`scbind.formats.names`, :mod:`scbind.formats.strays`).

    Raises
    ------
    InputError
        On a missing, empty or truncated file, a line without three columns, a start or end that is not a whole number,
        foreign chromosome names, and many peaks with impossible coordinates.
    """
    lines, rows = _rows(path)
    if not rows:
        raise InputError(path, "there are no peaks in it", "check how the file was made")
    table = _coordinates(path, lines, rows)
    return _inside(path, table.assign(summit=_summits(rows, table)), lines, sizes, "peaks")


def read_called(path: str | Path, sizes: ChromSizes) -> pd.DataFrame:
    """Read narrowPeak that this workflow called (BED6+4, UCSC format page); an empty file has no peaks.

    Returns
    -------
    pandas.DataFrame
        In file order: ``chrom`` (str), ``start``, ``end`` (int64, bp, 0-based half-open), ``name``, ``score``,
        ``strand``, ``signal``, ``p``, ``q`` (float64; -log10, -1 where not given), ``summit`` (int64, bp from
        ``start``, -1 where not given).

    Raises
    ------
    InputError
        On a missing or truncated file, other than 10 columns, values that are not finite numbers, intervals or summits
        outside, and foreign chromosome names.
    """
    lines, rows = (
        _rows(path, "call the peaks again") if _has_content(path) else (np.zeros(0, dtype=np.int64), [])
    )
    for number, fields in zip(lines, rows, strict=True):
        if len(fields) != len(COLUMNS):
            raise InputError(
                path,
                f"{len(fields)} columns where narrowPeak has 10",
                "call the peaks again",
                f"line {number}",
            )
    table = pd.DataFrame(rows, columns=COLUMNS, dtype=object)
    for column in (*WHOLE, *REAL):
        table[column] = _numbers(path, table[column], column, lines, whole=column in WHOLE)
    width = table["end"] - table["start"]
    outside = (table["summit"] < -1) | (table["summit"] >= np.maximum(width, 1))
    if outside.any():
        raise InputError(
            path,
            "the summit is outside the peak",
            "call the peaks again",
            f"line {lines[int(np.argmax(outside))]}",
        )
    return _inside(path, table, lines, sizes, "peaks")


def read_bed(path: str | Path, sizes: ChromSizes, clip: bool = False) -> pd.DataFrame:
    """Read the first three columns of a BED file, plain or compressed; an empty file gives an empty table.

    With ``clip``, intervals that extend beyond a chromosome are cut or dropped, with a warning. This allows an
    exclusion list of the whole assembly with a part of the genome.

    Returns ``chrom`` (str), ``start``, ``end`` (int64, 0-based half-open) in file order, without
    chromosomes outside ``sizes``. Raises :class:`InputError` like :func:`read_peaks`, but not for an empty file.
    """
    lines, rows = _rows(path) if _has_content(path) else (np.zeros(0, dtype=np.int64), [])
    table = _coordinates(path, lines, rows)
    if clip:
        length = table["chrom"].map(sizes.as_dict())
        beyond = (table["end"] > length) & length.notna()
        if beyond.any():
            first = int(lines[int(np.argmax(beyond))])
            say(
                f"WARNING {path}, line {first}: {int(beyond.sum())} intervals extend beyond their chromosome and "
                "are cut or dropped; make sure that the file is for this genome"
            )
            length = length.fillna(0).astype(np.int64)  # of a chromosome that is not in the genome: not used
            table["end"] = np.where(beyond, length, table["end"])
            inside = (table["start"] < table["end"]) | ~beyond
            table, lines = table[inside].reset_index(drop=True), lines[inside.to_numpy()]
    return _inside(path, table, lines, sizes, "intervals", partial=clip)


def _has_content(path) -> bool:
    """Tell whether the file is not empty, because an empty file of this workflow is valid."""
    return not Path(path).exists() or Path(path).stat().st_size > 0


def _rows(path, remedy: str = "check the path in the configuration") -> tuple[np.ndarray, list[list[str]]]:
    """Read the fields of each line of data and the numbers of these lines, int64 (lines,).

    Columns are separated by tabs, or by spaces in a file whose first line has no tab.
    """
    numbers, rows, separator = [], [], None
    for number, line in read_lines(path, remedy):
        if not line.strip() or line.startswith(("#", "track", "browser")):
            continue
        if separator is None:
            separator = "\t" if "\t" in line else " "
        fields = line.split(separator) if separator == "\t" else line.split()
        if not rows and len(fields) >= 3 and HEADER.search(fields[1]):
            for column, kind, remedy_for_it in FROM_ONE:
                if column in fields:
                    raise InputError(
                        path, f"this is {kind}, which counts from 1", remedy_for_it, f"line {number}"
                    )
            continue
        numbers.append(number)
        rows.append(fields)
    return np.array(numbers, dtype=np.int64), rows


def _coordinates(path, lines: np.ndarray, rows: list[list[str]]) -> pd.DataFrame:
    """Make a table of chrom, start and end from the first three fields of each line."""
    for number, fields in zip(lines, rows, strict=True):
        if len(fields) < 3:
            raise InputError(path, "fewer than 3 columns", "separate columns by tabs", f"line {number}")
    table = pd.DataFrame([fields[:3] for fields in rows], columns=COLUMNS[:3], dtype=object)
    for column in ("start", "end"):
        table[column] = _numbers(path, table[column], column, lines, whole=True)
    return table


def _summits(rows: list[list[str]], table: pd.DataFrame) -> np.ndarray:
    """Summit of each peak in bp from its start, int64; the middle of a peak that does not say it, or not inside."""
    width = (table["end"] - table["start"]).to_numpy()
    given = [row[9] if len(row) in WITH_SUMMIT else "" for row in rows]
    summit = pd.to_numeric(pd.Series(given, dtype=object), errors="coerce").to_numpy(np.float64)
    inside = (summit >= 0) & (summit < width)  # also false for NaN
    return np.where(inside, np.where(inside, summit, 0), width // 2).astype(np.int64)


def _numbers(path, column: pd.Series, name: str, lines: np.ndarray, whole: bool) -> pd.Series:
    value = pd.to_numeric(column, errors="coerce").astype(np.float64)
    wrong = ~np.isfinite(value) | (whole & ((np.abs(value) > LARGEST) | (value % 1 != 0)))
    if wrong.any():
        row = int(np.argmax(wrong))
        kind = "a whole number" if whole else "a finite number"
        raise InputError(
            path, f"{name} is {column.iloc[row]!r}, not {kind}", "correct the line", f"line {lines[row]}"
        )
    return value.astype(np.int64) if whole else value


NEGATIVE = Rule("the start is negative", "coordinates are 0-based half-open")
EMPTY = Rule("the start is not before the end", "coordinates are 0-based half-open")
BEYOND = Rule("the interval ends beyond its chromosome", "use a file made for this genome")


def _inside(
    path, table: pd.DataFrame, lines: np.ndarray, sizes: ChromSizes, unit: str, partial: bool = False
) -> pd.DataFrame:
    """Leave out intervals on unknown chromosomes and a few impossible ones; refuse a file with many of either."""
    if not len(table):
        return table
    match_names(path, table["chrom"].value_counts().to_dict(), sizes, unit, partial)
    known = table["chrom"].isin(sizes.names).to_numpy()
    table, lines = table[known].reset_index(drop=True), lines[known]
    strays = Strays(path, unit)
    dropped = strays.drop(
        {
            NEGATIVE: table["start"] < 0,
            EMPTY: table["start"] >= table["end"],
            BEYOND: table["end"] > table["chrom"].map(sizes.as_dict()),
        },
        lambda row: f"line {lines[row]}",
    )
    strays.settle(len(table))
    return table[~dropped].reset_index(drop=True)


def write_narrowpeak(table: pd.DataFrame, output: str | Path, sizes: ChromSizes) -> None:
    """Write peaks (the columns ``COLUMNS``) in the order of the genome, named by their rank along it."""
    table = table.iloc[genome_order(table, sizes)]
    table = table.assign(name=[f"peak_{row}" for row in range(1, len(table) + 1)])
    write_bed(output, table)


def place_names(table: pd.DataFrame) -> pd.Series:
    """Name each interval by its place, ``chrom:start-end`` (0-based half-open)."""
    return table["chrom"].astype(str) + ":" + table["start"].astype(str) + "-" + table["end"].astype(str)


def genome_order(table: pd.DataFrame, sizes: ChromSizes) -> np.ndarray:
    """Order of rows by chromosome (as in ``sizes``), start and end; int64 (rows,)."""
    chrom = pd.Index(sizes.names).get_indexer(table["chrom"])
    return np.lexsort((table["end"], table["start"], chrom))
