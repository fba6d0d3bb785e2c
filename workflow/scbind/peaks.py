"""Open regions: MACS3 on Tn5 insertions, strict reading of peak files, and one consensus set.

Each insertion becomes a 150-bp piece centred on it: with 1-bp reads that all lie on the plus strand,
``--shift -75 --extsize 150`` covers ``[p - 75, p + 75)``. Strand carries no information once both ends of
a fragment are cut sites, so none is written.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv

from scbind.errors import InputError
from scbind.files import atomic
from scbind.fragments import iter_chromosomes, iter_fragments
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
    _write_narrowpeak(_call(pieces, insertions_bw, sizes, output, qvalue, extsize), output, sizes)


def call_sample_peaks(
    fragments: str | Path, sizes_path: str | Path, output: str | Path, qvalue: float, extsize: int
) -> None:
    """Call peaks on all cells of a sample, whatever their type; a sorted narrowPeak file.

    ``extsize`` in bp. Raises :class:`InputError` on bad fragments or where MACS3 finds no peak.
    """
    sizes = ChromSizes.read(sizes_path)
    _write_narrowpeak(
        _call(_cuts(fragments, sizes), fragments, sizes, output, qvalue, extsize), output, sizes
    )


def call_pseudobulk_peaks(
    fragments: str | Path,
    fallback_peaks: list[str | Path],
    sizes_path: str | Path,
    output: str | Path,
    status_json: str | Path,
    qvalue: float,
    extsize: int,
    min_cells: int,
    min_fragments: int,
) -> None:
    """Call peaks of one cell type, or take its samples' peaks where the type is too small, and say which.

    Parameters
    ----------
    fragments
        Pseudobulk fragments of the type; cells are told apart by barcode.
    fallback_peaks
        narrowPeak files of the samples that the cells come from. Where several overlap, the peak of best
        score per million is kept.
    output, status_json
        narrowPeak; ``{"source", "reason", "n_cells", "n_fragments", "n_peaks"}`` with ``source`` either
        ``cell type`` or ``samples``.
    """
    sizes = ChromSizes.read(sizes_path)
    barcodes, n_fragments = set(), 0
    for frame in iter_fragments(fragments, sizes):
        n_fragments += len(frame)
        barcodes.update(frame["barcode"].unique())
    reason, table = "", None
    if len(barcodes) < min_cells:
        reason = f"{len(barcodes)} cells, fewer than {min_cells}"
    elif n_fragments < min_fragments:
        reason = f"{n_fragments} fragments, fewer than {min_fragments}"
    else:
        try:
            table = _call(_cuts(fragments, sizes), fragments, sizes, output, qvalue, extsize)
        except NoPeaksError:
            reason = "MACS3 found no peak"
    if table is None:
        say(f"WARNING {fragments}: {reason}; the peaks of the whole samples stand in")
        table = _keep_best(pd.concat([_scored(path, sizes) for path in fallback_peaks]), sizes)[COLUMNS]
    status = {
        "source": "samples" if reason else "cell type",
        "reason": reason,
        "n_cells": len(barcodes),
        "n_fragments": n_fragments,
        "n_peaks": len(table),
    }
    with atomic(status_json) as scratch:
        scratch.write_text(json.dumps(status, indent=2) + "\n")
        _write_narrowpeak(table, output, sizes)


def _cuts(fragments, sizes: ChromSizes) -> Iterator[tuple[str, np.ndarray]]:
    for name, start, end in iter_chromosomes(fragments, sizes):
        yield name, np.concatenate([start, end - 1])


class NoPeaksError(InputError):
    """MACS3 ran and found nothing."""


def _call(
    insertions: Insertions, source, sizes: ChromSizes, output, qvalue: float, extsize: int
) -> pd.DataFrame:
    """Run MACS3 in a scratch folder beside the output."""
    macs = shutil.which("macs3", path=str(Path(sys.executable).parent)) or shutil.which("macs3")
    if macs is None:
        raise InputError(
            "macs3", "MACS3 is not installed", "install it into this environment: pip install macs3"
        )
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=Path(output).parent, prefix=".macs3.") as folder:
        bed, genome_size = Path(folder) / "insertions.bed", 0
        with open(bed, "wb") as handle:
            for name, position in insertions:
                genome_size += sizes.as_dict()[name]
                names = pa.DictionaryArray.from_arrays(np.zeros(len(position), dtype=np.int32), [name])
                table = pa.table({"chrom": names, "start": position, "end": position + 1})
                pacsv.write_csv(
                    table,
                    handle,
                    pacsv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none"),
                )
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


def _write_narrowpeak(table: pd.DataFrame, output: str | Path, sizes: ChromSizes) -> None:
    """Write peaks in the order of the genome, named by their rank along it."""
    table = table.iloc[_genome_order(table, sizes)]
    table = table.assign(name=[f"peak_{row}" for row in range(1, len(table) + 1)])
    with atomic(output) as scratch:
        table.to_csv(scratch, sep="\t", header=False, index=False)


def _genome_order(table: pd.DataFrame, sizes: ChromSizes) -> np.ndarray:
    chrom = pd.Index(sizes.names).get_indexer(table["chrom"])
    return np.lexsort((table["end"], table["start"], chrom))


def consensus_peaks(
    inputs: list[str | Path], sizes_path: str | Path, exclude: str | Path, output: str | Path, width: int
) -> None:
    """Unite peak sets into non-overlapping peaks of one width, by iterative overlap removal.

    Corces et al. 2018 (Science, supplementary methods) and ArchR (Granja et al. 2021, Methods): peaks
    get a fixed width around their summit, each set's scores are scaled to score per million so that deep
    sets do not win by depth, and from all of them the best is kept, what overlaps it goes, and so on.

    Parameters
    ----------
    inputs
        narrowPeak files; score is -log10 p, or the signal column where p is not given.
    exclude
        Sorted BED (may be empty); a peak that touches it is dropped.
    output
        BED5 in genome order: chrom, start, end, ``chrom:start-end``, score per million.
    width
        Width in bp; peaks that would pass the end of a chromosome are dropped.

    Raises
    ------
    InputError
        On a bad peak file, or if no peak is left.
    """
    sizes = ChromSizes.read(sizes_path)
    table = pd.concat([_scored(path, sizes) for path in inputs], ignore_index=True)
    summit = np.where(table["summit"] >= 0, table["summit"], (table["end"] - table["start"]) // 2)
    table["start"] = table["start"] + summit - width // 2
    table["end"] = table["start"] + width
    inside = (table["start"] >= 0) & (table["end"] <= table["chrom"].map(sizes.as_dict()))
    table = _drop_excluded(table[inside], read_bed(exclude, sizes))
    table = _keep_best(table, sizes)
    if not len(table):
        raise InputError(inputs[0], "no consensus peak is left", "check the peaks and the exclusion list")
    table = table.iloc[_genome_order(table, sizes)]
    name = table["chrom"] + ":" + table["start"].astype(str) + "-" + table["end"].astype(str)
    say(f"{len(table)} consensus peaks of {width} bp from {len(inputs)} sets")
    with atomic(output) as scratch:
        table.assign(name=name, score=table["per_million"].round(4))[COLUMNS[:5]].to_csv(
            scratch, sep="\t", header=False, index=False
        )


def _scored(path, sizes: ChromSizes) -> pd.DataFrame:
    """Read a set of peaks and add ``per_million``: its scores scaled to a sum of a million."""
    table = read_narrowpeak(path, sizes)
    score = table["p"] if (table["p"] >= 0).all() else table["signal"].clip(lower=0)
    if score.sum() == 0:
        score = score + 1.0
    return table.assign(per_million=score / score.sum() * 1e6)


def _drop_excluded(table: pd.DataFrame, excluded: pd.DataFrame) -> pd.DataFrame:
    import pyranges

    if not len(table) or not len(excluded):
        return table
    names = {"chrom": "Chromosome", "start": "Start", "end": "End"}
    table = table.reset_index(drop=True)
    peaks = pyranges.PyRanges(table[list(names)].rename(columns=names).assign(row=table.index))
    hit = peaks.overlap(pyranges.PyRanges(excluded.rename(columns=names))).df
    return table.drop(index=hit["row"]) if len(hit) else table


def _keep_best(table: pd.DataFrame, sizes: ChromSizes) -> pd.DataFrame:
    """Keep peaks from the best ``per_million`` down, each only if it overlaps none kept before."""
    chrom = pd.Index(sizes.names).get_indexer(table["chrom"])
    start, end = table["start"].to_numpy(), table["end"].to_numpy()
    kept, rows = {code: ([], []) for code in np.unique(chrom)}, []
    for row in np.lexsort((end, start, chrom, -table["per_million"].to_numpy())):
        starts, ends = kept[chrom[row]]
        # Kept peaks do not overlap, so both lists are sorted and only the neighbours matter.
        place = bisect_left(starts, start[row])
        if (place < len(starts) and starts[place] < end[row]) or (place and ends[place - 1] > start[row]):
            continue
        starts.insert(place, start[row])
        ends.insert(place, end[row])
        rows.append(row)
    return table.iloc[rows]
