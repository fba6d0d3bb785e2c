"""Peaks and intervals: strict reading of narrowPeak and BED, and writing peaks in the order of the genome."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from scbind.core.errors import InputError
from scbind.core.files import write_bed
from scbind.core.runlog import say
from scbind.formats.genome import ChromSizes
from scbind.formats.inputs import open_plain, refuse_names

COLUMNS = ["chrom", "start", "end", "name", "score", "strand", "signal", "p", "q", "summit"]
WHOLE = ("start", "end", "summit")
REAL = ("score", "signal", "p", "q")


def read_narrowpeak(path: str | Path, sizes: ChromSizes) -> pd.DataFrame:
    """Read an ENCODE narrowPeak file (BED6+4, UCSC format page), plain or gzipped, refusing malformed lines.

    Returns
    -------
    pandas.DataFrame
        In file order: ``chrom`` (str), ``start``, ``end`` (int64, bp, 0-based half-open), ``name``,
        ``score``, ``strand``, ``signal``, ``p``, ``q`` (float64; -log10, -1 where not given), ``summit``
        (int64, bp from ``start``, -1 where not given). Peaks on chromosomes outside ``sizes`` are left
        out, with a line in the log.

    Raises
    ------
    InputError
        On a missing, empty or truncated file, other than 10 columns, values that are no finite numbers,
        empty or negative intervals, intervals or summits outside, and foreign chromosome names.
    """
    rows = list(_lines(path))
    if not rows:
        raise InputError(path, "there are no peaks in it", "check how the file was made")
    for number, fields in rows:
        if len(fields) != len(COLUMNS):
            raise InputError(
                path,
                f"{len(fields)} columns where narrowPeak has 10",
                "give a narrowPeak file as written by MACS3 or ENCODE",
                f"line {number}",
            )
    lines = np.array([number for number, _ in rows])
    table = pd.DataFrame([fields for _, fields in rows], columns=COLUMNS)
    for column in (*WHOLE, *REAL):
        table[column] = _numbers(path, table[column], column, lines, whole=column in WHOLE)
    return _inside(path, table, lines, sizes)


def read_called(path: str | Path, sizes: ChromSizes) -> pd.DataFrame:
    """Read peaks that this workflow called, like :func:`read_narrowpeak`, but allow an empty file (no peaks)."""
    if Path(path).exists() and Path(path).stat().st_size == 0:
        kinds = dict.fromkeys(WHOLE, np.int64) | dict.fromkeys(REAL, np.float64)
        return pd.DataFrame({name: pd.Series(dtype=kinds.get(name, object)) for name in COLUMNS})
    return read_narrowpeak(path, sizes)


def read_bed(path: str | Path, sizes: ChromSizes, clip: bool = False) -> pd.DataFrame:
    """Read the first three columns of a BED file, plain or gzipped; an empty file gives an empty table.

    With ``clip``, intervals that extend beyond a chromosome are cut or dropped, with a warning. This allows an
    exclusion list of the whole assembly with a part of the genome.

    Returns ``chrom`` (str), ``start``, ``end`` (int64, 0-based half-open) in file order, without
    chromosomes outside ``sizes``. Raises :class:`InputError` like :func:`read_narrowpeak`, but not for an empty file.
    """
    if Path(path).exists() and Path(path).stat().st_size == 0:
        rows = []
    else:
        rows = list(_lines(path))
    for number, fields in rows:
        if len(fields) < 3:
            raise InputError(path, "fewer than 3 columns", "separate columns by tabs", f"line {number}")
    lines = np.array([number for number, _ in rows], dtype=np.int64)
    table = pd.DataFrame([fields[:3] for _, fields in rows], columns=COLUMNS[:3])
    for column in ("start", "end"):
        table[column] = _numbers(path, table[column], column, lines, whole=True)
    if clip:
        length = table["chrom"].map(sizes.as_dict())
        beyond = (table["end"] > length) & length.notna()
        if beyond.any():
            first = int(lines[int(np.argmax(beyond))])
            say(
                f"WARNING {path}, line {first}: {int(beyond.sum())} intervals end beyond their chromosome and are "
                "cut there; make sure that the file is for this genome"
            )
            table["end"] = table["end"].where(~beyond, length).astype(np.int64)
            inside = (table["start"] < table["end"]) | ~beyond
            table, lines = table[inside].reset_index(drop=True), lines[inside.to_numpy()]
    return _inside(path, table, lines, sizes)


def _lines(path) -> Iterator[tuple[int, list[str]]]:
    with open_plain(path) as handle:
        for number, raw in enumerate(handle, 1):
            line = raw.decode(errors="replace").rstrip("\r\n")
            if line and not line.startswith(("#", "track", "browser")):
                yield number, line.split("\t")


def _numbers(path, column: pd.Series, name: str, lines: np.ndarray, whole: bool) -> pd.Series:
    value = pd.to_numeric(column, errors="coerce").astype(np.float64)
    wrong = ~np.isfinite(value) | (whole & (value % 1 != 0))
    if wrong.any():
        row = int(np.argmax(wrong))
        kind = "a whole number" if whole else "a finite number"
        raise InputError(
            path, f"{name} is {column.iloc[row]!r}, not {kind}", "correct the line", f"line {lines[row]}"
        )
    return value.astype(np.int64) if whole else value


def _inside(path, table: pd.DataFrame, lines: np.ndarray, sizes: ChromSizes) -> pd.DataFrame:
    """Drop intervals on unknown chromosomes; raise :class:`InputError` for invalid intervals."""
    known = table["chrom"].isin(sizes.names).to_numpy()
    if len(table) and not known.any():
        refuse_names(path, table["chrom"], sizes)
    if not known.all():
        say(f"{path}: left out {int((~known).sum())} intervals on chromosomes that are not in the genome")
    table, lines = table[known].reset_index(drop=True), lines[known]
    length = table["chrom"].map(sizes.as_dict())
    problems = [
        (table["start"] < 0, "the start is negative", "coordinates are 0-based half-open"),
        (
            table["start"] >= table["end"],
            "the start is not before the end",
            "coordinates are 0-based half-open",
        ),
        (table["end"] > length, "the interval ends beyond its chromosome", "use a file made for this genome"),
    ]
    if "summit" in table:
        # SPP, which made many ENCODE files, may put a summit at the end of a peak; use the last base.
        width = table["end"] - table["start"]
        outside = (table["summit"] < -1) | (table["summit"] > width)
        table["summit"] = np.minimum(table["summit"], width - 1)
        problems.append(
            (outside, "the summit is outside the peak", "it counts from the start; -1 where unknown")
        )
    for wrong, problem, remedy in problems:
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InputError(path, problem, remedy, f"line {lines[row]}")
    return table


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
