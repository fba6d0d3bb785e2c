"""Open regions: strict reading of peak files, and MACS3 on Tn5 insertions.

Each insertion becomes a 150-bp piece centred on it: with 1-bp reads that all lie on the plus strand,
``--shift -75 --extsize 150`` covers ``[p - 75, p + 75)``. Strand carries no information once both ends of
a fragment are cut sites, so none is written.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv

from scbind.errors import InputError
from scbind.files import atomic
from scbind.fragments import iter_pieces
from scbind.genome import ChromSizes
from scbind.inputs import open_plain, refuse_names
from scbind.runlog import say
from scbind.tracks import read_insertions

COLUMNS = ["chrom", "start", "end", "name", "score", "strand", "signal", "p", "q", "summit"]
WHOLE = ("start", "end", "summit")
REAL = ("score", "signal", "p", "q")

Insertions = Iterable[tuple[str, np.ndarray]]  # chromosome, 0-based positions


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


def read_bed(path: str | Path, sizes: ChromSizes, clip: bool = False) -> pd.DataFrame:
    """Read the first three columns of a BED file, plain or gzipped; an empty file gives an empty table.

    With ``clip``, intervals that reach beyond a chromosome are cut or dropped with a warning: an exclusion list
    of the whole assembly may be used with a piece of it.

    Returns ``chrom`` (str), ``start``, ``end`` (int64, 0-based half-open) in file order, without
    chromosomes outside ``sizes``. Raises :class:`InputError` as :func:`read_narrowpeak`, emptiness apart.
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
    """Drop unknown chromosomes, refuse intervals that make no sense."""
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
        # SPP, behind many ENCODE files, may put a summit right at the end: that is the last base.
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


def call_track_peaks(
    insertions_bw: str | Path, sizes_path: str | Path, output: str | Path, qvalue: float, extsize: int
) -> None:
    """Call peaks on a bigWig of insertions; a sorted narrowPeak file.

    ``extsize`` in bp. Raises :class:`InputError` on a bad track or where MACS3 finds no peak.
    """
    sizes = ChromSizes.read(sizes_path)
    position = read_insertions(insertions_bw, sizes)
    edges = np.searchsorted(position, sizes.offsets)
    pieces = (
        (name, position[low:high].astype(np.int64) - offset)
        for name, low, high, offset in zip(sizes.names, edges, edges[1:], sizes.offsets, strict=False)
        if high > low
    )
    write_narrowpeak(_call(pieces, insertions_bw, sizes, output, qvalue, extsize), output, sizes)


def call_sample_peaks(
    fragments: str | Path,
    sizes_path: str | Path,
    output: str | Path,
    qvalue: float,
    extsize: int,
    max_fragments: int | None = None,
) -> None:
    """Call peaks on all fragments of a sample, whatever their barcode; a sorted narrowPeak file.

    ``extsize`` in bp; of more than ``max_fragments`` a random share is used, as in ArchR's group coverages (Granja et
    al. 2021), because MACS3 holds all of them in memory. Raises :class:`InputError` on bad fragments or where
    MACS3 finds no peak.
    """
    sizes = ChromSizes.read(sizes_path)
    table = _call(_cuts(fragments, sizes), fragments, sizes, output, qvalue, extsize, max_fragments)
    write_narrowpeak(table, output, sizes)


def call_type_peaks(
    fragments: str | Path,
    sizes_path: str | Path,
    output: str | Path,
    qvalue: float,
    extsize: int,
    max_fragments: int | None = None,
) -> None:
    """Call peaks as :func:`call_sample_peaks`, on cells of one type; an empty file where MACS3 finds none."""
    sizes = ChromSizes.read(sizes_path)
    try:
        table = _call(_cuts(fragments, sizes), fragments, sizes, output, qvalue, extsize, max_fragments)
    except NoPeaksError as error:
        say(f"WARNING {error}")
        table = pd.DataFrame(columns=COLUMNS)
    write_narrowpeak(table, output, sizes)


def _cuts(fragments, sizes: ChromSizes) -> Insertions:
    for name, start, end in iter_pieces(fragments, sizes):
        yield name, np.concatenate([start, end - 1])


class NoPeaksError(InputError):
    """MACS3 ran and found nothing."""


def _call(
    insertions: Insertions,
    source,
    sizes: ChromSizes,
    output,
    qvalue: float,
    extsize: int,
    max_fragments: int | None = None,
) -> pd.DataFrame:
    """Run MACS3 in a scratch folder beside the output; ``max_fragments`` stands for twice as many insertions."""
    macs = shutil.which("macs3", path=str(Path(sys.executable).parent)) or shutil.which("macs3")
    if macs is None:
        raise InputError(
            "macs3", "MACS3 is not installed", "install it into this environment: pip install macs3"
        )
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=Path(output).parent, prefix=".macs3.") as folder:
        # How many there are, and so what share is kept, is known at the end: they wait on disk, 4 bytes each.
        waiting, pieces = Path(folder) / "insertions.int32", []
        with open(waiting, "wb") as handle:
            for name, position in insertions:
                handle.write(position.astype(np.int32).tobytes())
                pieces.append((name, len(position)))
        total = sum(count for _, count in pieces)
        share = min(1.0, 2 * max_fragments / max(total, 1)) if max_fragments else 1.0
        if share < 1:
            say(f"{source}: {share:.1%} of {total} insertions are used, those of {max_fragments} fragments")
        bed, rng = Path(folder) / "insertions.bed", np.random.default_rng(0)
        genome_size = sum(sizes.as_dict()[name] for name in {name for name, _ in pieces})
        with open(waiting, "rb") as numbers, open(bed, "wb") as handle:
            for name, count in pieces:
                position = np.fromfile(numbers, dtype=np.int32, count=count)
                if share < 1:
                    position = position[rng.random(count) < share]
                names = pa.DictionaryArray.from_arrays(np.zeros(len(position), dtype=np.int32), [name])
                table = pa.table({"chrom": names, "start": position, "end": position + 1})
                pacsv.write_csv(
                    table,
                    handle,
                    pacsv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none"),
                )
        waiting.unlink()
        command = [macs, "callpeak", "-t", bed, "-f", "BED", "-n", "called", "--outdir", folder]
        command += ["--tempdir", folder, "-g", genome_size, "-q", qvalue, "--keep-dup", "all"]
        command += ["--nomodel", "--shift", -(extsize // 2), "--extsize", extsize]
        done = subprocess.run([str(word) for word in command], stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise InputError(source, f"MACS3 failed ({last})", "see the log")
        return _clip(Path(folder) / "called_peaks.narrowPeak", source, sizes)


def _clip(called: Path, source, sizes: ChromSizes) -> pd.DataFrame:
    """Read what MACS3 wrote: extended pieces may pass the ends of a chromosome."""
    if not called.exists() or called.stat().st_size == 0:
        raise NoPeaksError(
            source, "MACS3 found no peak", "give more fragments or raise the q-value threshold"
        )
    table = pd.read_csv(called, sep="\t", header=None, names=COLUMNS)
    summit = table["start"] + table["summit"]
    table["start"] = table["start"].clip(lower=0)
    table["end"] = np.minimum(table["end"], table["chrom"].map(sizes.as_dict()))
    table["summit"] = np.clip(summit, table["start"], table["end"] - 1) - table["start"]
    return table


def write_narrowpeak(table: pd.DataFrame, output: str | Path, sizes: ChromSizes) -> None:
    """Write peaks (the columns ``COLUMNS``) in the order of the genome, named by their rank along it."""
    table = table.iloc[genome_order(table, sizes)]
    table = table.assign(name=[f"peak_{row}" for row in range(1, len(table) + 1)])
    with atomic(output) as scratch:
        table.to_csv(scratch, sep="\t", header=False, index=False)


def genome_order(table: pd.DataFrame, sizes: ChromSizes) -> np.ndarray:
    """Order of rows by chromosome (as in ``sizes``), start and end; int64 (rows,)."""
    chrom = pd.Index(sizes.names).get_indexer(table["chrom"])
    return np.lexsort((table["end"], table["start"], chrom))
