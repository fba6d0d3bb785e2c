"""One set of peaks: what replicates of a type agree on, and the consensus of all types and samples."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from scbind.core.errors import InputError
from scbind.core.files import atomic, write_bed
from scbind.core.runlog import say
from scbind.formats.genome import ChromSizes
from scbind.formats.intervals import COLUMNS, genome_order, read_bed, read_called, write_narrowpeak
from scbind.formats.typestatus import FROM_SAMPLES, OWN, STATUSES

ROUNDS = 30  # of choosing peaks all at once; a few are enough for all but made-up peaks


def choose_type_peaks(
    called: str | Path | None,
    replicates: Mapping[str, str | Path],
    sample_peaks: Sequence[str | Path],
    sizes_path: str | Path,
    output: str | Path,
    status_json: str | Path,
    min_replicates: int,
    facts: Mapping[str, object],
) -> None:
    """Keep the peaks of a cell type that its replicates agree on, or take those of its samples, and say which.

    A peak called on the pooled type is kept if at least ``min_replicates`` of its replicates have a peak of their
    own there: one that overlaps it by half of the shorter of the two, the "naive overlap" of the ENCODE
    ATAC-seq pipeline. That two replicates are enough is the default of ArchR's ``addReproduciblePeakSet`` (Granja et
    al. 2021, Nature Genetics).

    Parameters
    ----------
    called
        narrowPeak called on all cells of the type, empty where MACS3 found none; None where the type is too small.
    replicates
        Replicate to the narrowPeak called on it, for those that are large enough. With fewer than
        ``min_replicates`` of them every peak is kept.
    sample_peaks
        narrowPeak files of the samples that the cells come from, taken where ``called`` leaves no peak. Where
        several overlap, the peak of best score per million is kept.
    output, status_json
        narrowPeak; ``{"source", "reason", "n_peaks", "n_called", "replicates"}`` and ``facts``, with ``source``
        either ``cell type`` or ``samples`` and ``replicates`` the number that were compared.
    facts
        What else is known of the type; of a small type ``reason`` is.
    """
    sizes = ChromSizes.read(sizes_path)
    reason, found, compared = str(facts.get("reason", "")), None, 0
    if called is not None:
        found = _read_called(called)
        reason = "" if len(found) else "MACS3 found no peak"
    n_called = 0 if found is None else len(found)
    if n_called and min_replicates > 1 and len(replicates) >= min_replicates:
        compared = len(replicates)
        seen = sum(_seen(found, _read_called(path)) for path in replicates.values())
        found = found[seen >= min_replicates]
        reason = "" if len(found) else f"no peak is seen in {min_replicates} of {compared} replicates"
        say(
            f"{output}: {len(found)} of {n_called} peaks are seen in {min_replicates} of {compared} replicates"
        )
    if reason:
        say(f"WARNING {output}: {reason}; the peaks of the whole samples stand in")
        found = _keep_best(pd.concat([_scored(path, sizes) for path in sample_peaks]), sizes)[COLUMNS]
    status = {"source": STATUSES[FROM_SAMPLES if reason else OWN].source, **facts, "reason": reason}
    status |= {"n_peaks": len(found), "n_called": n_called, "replicates": compared}
    with atomic(status_json) as scratch:
        scratch.write_text(json.dumps(status, indent=2) + "\n")
        write_narrowpeak(found, output, sizes)


def _read_called(path) -> pd.DataFrame:
    """Read peaks of our own calling, which may be none."""
    try:
        return pd.read_csv(path, sep="\t", header=None, names=COLUMNS)
    except FileNotFoundError:
        raise InputError(path, "no such file", "call the peaks again") from None


def _seen(peaks: pd.DataFrame, other: pd.DataFrame) -> np.ndarray:
    """Whether each peak is overlapped by half of it, or by half of the other; bool (peaks,)."""
    import pyranges

    seen = np.zeros(len(peaks), dtype=bool)
    if len(peaks) and len(other):
        names = {"chrom": "Chromosome", "start": "Start", "end": "End"}
        left, right = (
            pyranges.PyRanges(table[list(names)].rename(columns=names).assign(row=np.arange(len(table))))
            for table in (peaks, other)
        )
        both = left.join(right, report_overlap=True).df
        if len(both):
            shorter = np.minimum(both["End"] - both["Start"], both["End_b"] - both["Start_b"])
            seen[both["row"][2 * both["Overlap"] >= shorter]] = True
    return seen


def consensus_peaks(
    inputs: list[str | Path], sizes_path: str | Path, exclude: str | Path, output: str | Path, width: int
) -> None:
    """Unite peak sets into non-overlapping peaks of one width, by iterative overlap removal.

    Corces et al. 2018 (Science, supplementary methods) and ArchR (Granja et al. 2021, Methods): peaks
    get a fixed width around their summit, each set's scores are scaled to score per million so that deep
    sets do not win by depth, and from all of them the best is kept, what overlaps it goes, and so on. They do
    so within each set first and then between sets; here it is done once, so that every peak that was given
    overlaps one that is kept. Memory holds 18 bytes for each peak of all sets, and one set as text.

    Parameters
    ----------
    inputs
        narrowPeak files, some may be empty; score is -log10 p, or the signal column where p is not given.
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
    excluded = read_bed(exclude, sizes)
    table = pd.concat([_fixed_width(path, sizes, width, excluded) for path in inputs], ignore_index=True)
    table = _keep_best(table, sizes)
    if not len(table):
        raise InputError(inputs[0], "no consensus peak is left", "check the peaks and the exclusion list")
    table = table.iloc[genome_order(table, sizes)]
    chrom = table["chrom"].astype(str)
    name = chrom + ":" + table["start"].astype(str) + "-" + table["end"].astype(str)
    say(f"{len(table)} consensus peaks of {width} bp from {len(inputs)} sets")
    write_bed(output, table.assign(name=name, score=table["per_million"].round(4))[COLUMNS[:5]])


def _fixed_width(path, sizes: ChromSizes, width: int, excluded: pd.DataFrame) -> pd.DataFrame:
    """Read one set as peaks of one width: categorical ``chrom``, int32 ends, float64 score; 18 bytes each."""
    table = _scored(path, sizes)
    middle = (table["end"] - table["start"]) // 2
    start = table["start"] + np.where(table["summit"] >= 0, table["summit"], middle) - width // 2
    inside = (start >= 0) & (start + width <= table["chrom"].map(sizes.as_dict()))
    chrom = pd.Categorical(table["chrom"], categories=list(sizes.names))
    table = pd.DataFrame(
        {"chrom": chrom, "start": start, "end": start + width, "per_million": table["per_million"]}
    )
    table = _drop_excluded(table[inside], excluded)
    return table.astype({"start": np.int32, "end": np.int32})


def _scored(path, sizes: ChromSizes) -> pd.DataFrame:
    """Read a set of peaks and add ``per_million``: its scores scaled to a sum of a million."""
    table = read_called(path, sizes)
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
    start, end, score = (table[column].to_numpy() for column in ("start", "end", "per_million"))
    rows = [np.zeros(0, dtype=np.int64)]
    for code in np.unique(chrom):
        here = np.flatnonzero(chrom == code)
        order = here[np.lexsort((end[here], start[here], -score[here]))]
        rows.append(order[_disjoint(start[order], end[order])])
    return table.iloc[np.concatenate(rows)]


def _disjoint(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Tell which peaks of a chromosome are kept, best first, if each that overlaps one kept before goes: bool (peaks,).

    In rounds, for all peaks at once: one that is better than whatever overlaps it would be kept in its turn, so it is
    kept now, and what it overlaps goes. A round leaves few. What is left after ``ROUNDS`` of them, long chains of peaks
    of rising score, is taken one by one.
    """
    kept = np.zeros(len(start), dtype=bool)
    rank = np.argsort(start, kind="stable")
    start, end = start[rank], end[rank]
    for _ in range(ROUNDS):
        if not len(rank):
            break
        # All that overlap a peak lie in one stretch of those sorted by start (others may, where peaks differ in width).
        first = np.searchsorted(np.maximum.accumulate(end), start, side="right")
        last = np.searchsorted(start, end, side="left")
        best = _least_within(rank, first, last) == rank
        kept[rank[best]] = True
        # Of those kept, the last that starts before a peak's end is the only one that can overlap it.
        before = np.searchsorted(start[best], end, side="left") - 1
        left = (before < 0) | (end[best][before] <= start)
        start, end, rank = start[left], end[left], rank[left]
    starts, ends = [], []
    for row in np.argsort(rank):
        # Kept peaks do not overlap, so both lists are sorted and only the neighbours matter.
        place = bisect_left(starts, start[row])
        if (place < len(starts) and starts[place] < end[row]) or (place and ends[place - 1] > start[row]):
            continue
        starts.insert(place, start[row])
        ends.insert(place, end[row])
        kept[rank[row]] = True
    return kept


def _least_within(values: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Least of ``values[first:last]`` for each stretch, none empty: two overlapping powers of two cover it."""
    level = np.frexp(last - first)[1] - 1  # of the largest power that fits
    least, result, width = values, np.empty_like(values), 1
    for power in range(int(level.max()) + 1):
        here = np.flatnonzero(level == power)
        result[here] = np.minimum(least[first[here]], least[last[here] - width])
        least, width = np.minimum(least[:-width], least[width:]), 2 * width
    return result
