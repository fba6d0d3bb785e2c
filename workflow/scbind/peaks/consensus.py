"""Combine sets of peaks: the peaks that the replicates of a type share, and the consensus of all types and samples."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from scbind.core.errors import InputError
from scbind.core.files import atomic, write_bed
from scbind.core.runlog import say
from scbind.formats.bedtools import overlapped
from scbind.formats.genome import ChromSizes
from scbind.formats.intervals import (
    COLUMNS,
    genome_order,
    place_names,
    read_bed,
    read_called,
    write_narrowpeak,
)
from scbind.formats.typestatus import FROM_SAMPLES, OWN, STATUSES

HALF = 0.5  # two peaks match if they share half of the shorter one (ENCODE ATAC-seq pipeline)


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
    """Choose the peaks of a cell type: those that its replicates share or, if none is left, those of its samples.

    A peak called on the pooled type is kept if at least ``min_replicates`` replicates have a matching peak. Two peaks
    match if they share half of the shorter one; this is the "naive overlap" of the ENCODE ATAC-seq pipeline, where the
    peaks of replicates have a p-value of at most 0.01 (:func:`scbind.peaks.macs3.call_replicate_peaks`). ArchR's
    ``addReproduciblePeakSet`` requires two replicates by default (Granja et al. 2021, Nature Genetics).

    Parameters
    ----------
    called
        narrowPeak called on all cells of the type. Empty if MACS3 found no peak; None if the type is too small.
    replicates
        Replicate -> the narrowPeak called on it, for replicates that are large enough. With fewer than
        ``min_replicates`` of them, every peak is kept.
    sample_peaks
        narrowPeak files of the samples that the cells come from, used if ``called`` leaves no peak. Of overlapping
        peaks, the one with the best score per million is kept.
    output, status_json
        narrowPeak; and ``{"source", "reason", "n_peaks", "n_called", "replicates"}`` together with ``facts``.
        ``source`` is ``cell type`` or ``samples``; ``replicates`` is the number of replicates compared.
    facts
        Other facts about the type, copied to ``status_json``. For a small type they include ``reason``.
    """
    sizes = ChromSizes.read(sizes_path)
    reason, found, compared = str(facts.get("reason", "")), None, 0
    if called is not None:
        found = read_called(called, sizes).astype({"score": np.int64})  # as MACS3 writes it
        reason = "" if len(found) else "MACS3 found no peak"
    n_called = 0 if found is None else len(found)
    if n_called and min_replicates > 1 and len(replicates) >= min_replicates:
        compared = len(replicates)
        seen = sum(overlapped(found, read_called(path, sizes), HALF) for path in replicates.values())
        found = found[seen >= min_replicates]
        reason = "" if len(found) else f"no peak is seen in {min_replicates} of {compared} replicates"
        say(
            f"{output}: {len(found)} of {n_called} peaks are seen in {min_replicates} of {compared} replicates"
        )
    if reason:
        say(f"WARNING {output}: {reason}; using the peaks of the whole samples instead")
        found = _keep_best(pd.concat([_scored(path, sizes) for path in sample_peaks]), sizes)[COLUMNS]
    status = {"source": STATUSES[FROM_SAMPLES if reason else OWN].source, **facts, "reason": reason}
    status |= {"n_peaks": len(found), "n_called": n_called, "replicates": compared}
    with atomic(status_json) as scratch:
        scratch.write_text(json.dumps(status, indent=2) + "\n")
        write_narrowpeak(found, output, sizes)
    say(f"{len(found):,} peaks")


def consensus_peaks(
    inputs: list[str | Path], sizes_path: str | Path, exclude: str | Path, output: str | Path, width: int
) -> None:
    """Merge sets of peaks into non-overlapping peaks of one width, by iterative overlap removal.

    The method is that of Corces et al. 2018 (Science, supplementary methods) and ArchR (Granja et al. 2021, Methods).
    Peaks get a fixed width around their summit. The scores of each set are scaled to score per million, so that deep
    sets gain no advantage. Then the best peak is kept, peaks that overlap it are removed, and so on. Those authors
    repeat this first within each set and then between sets. Here it is done once on all sets, so that every input peak
    overlaps a kept peak. Memory holds 18 bytes for each peak of all sets, and one set as text.

    Parameters
    ----------
    inputs
        narrowPeak files; some may be empty. The score is -log10 p or, if p is not given, the signal column.
    exclude
        Sorted BED (may be empty). A peak that overlaps it is dropped.
    output
        BED5 in genome order: chrom, start, end, ``chrom:start-end``, score per million.
    width
        Width in bp. Peaks that would extend beyond the end of a chromosome are dropped.

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
    say(f"{len(table)} consensus peaks of {width} bp from {len(inputs)} sets")
    write_bed(output, table.assign(name=place_names(table), score=table["per_million"].round(4))[COLUMNS[:5]])


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
    table = table[inside]
    return table[~overlapped(table, excluded)].astype({"start": np.int32, "end": np.int32})


def _scored(path, sizes: ChromSizes) -> pd.DataFrame:
    """Read a set of peaks and add ``per_million``: its scores scaled so that they sum to one million."""
    table = read_called(path, sizes)
    score = table["p"] if (table["p"] >= 0).all() else table["signal"].clip(lower=0)
    if score.sum() == 0:
        score = score + 1.0
    return table.assign(per_million=score / score.sum() * 1e6)


def _keep_best(table: pd.DataFrame, sizes: ChromSizes) -> pd.DataFrame:
    """Go through peaks from the best ``per_million`` down; keep each peak that overlaps no peak kept before."""
    chrom = pd.Index(sizes.names).get_indexer(table["chrom"])
    start, end, score = (table[column].to_numpy() for column in ("start", "end", "per_million"))
    rows = [np.zeros(0, dtype=np.int64)]
    for code in np.unique(chrom):
        here = np.flatnonzero(chrom == code)
        order = here[np.lexsort((end[here], start[here], -score[here]))]
        rows.append(order[_disjoint(start[order], end[order])])
    return table.iloc[np.concatenate(rows)]


def _disjoint(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Select peaks of a chromosome, given best first, that overlap no peak kept before them: bool (peaks,)."""
    by_start = np.argsort(start, kind="stable")
    place = np.empty_like(by_start)
    place[by_start] = np.arange(len(by_start))
    kept = np.zeros(len(start), dtype=np.bool_)
    kept[by_start] = _compiled_greedy()(start[by_start], end[by_start], place)
    return kept


@functools.cache
def _compiled_greedy() -> Callable:
    from numba import njit  # imported here because compiling takes seconds

    return njit(_greedy)


def _greedy(start: np.ndarray, end: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Go through peaks (sorted by start) in ``order``; keep each that overlaps no peak kept before: bool (peaks,).

    A kept peak removes its overlapping neighbours on both sides. The search to the left stops where no earlier peak
    reaches the kept peak.
    """
    kept, struck = np.zeros(len(start), dtype=np.bool_), np.zeros(len(start), dtype=np.bool_)
    reach = end.copy()  # largest end of all peaks up to this one
    for row in range(1, len(end)):
        reach[row] = max(reach[row - 1], end[row])
    for row in order:
        if struck[row]:
            continue
        kept[row] = True
        other = row + 1
        while other < len(start) and start[other] < end[row]:
            struck[other] = True
            other += 1
        other = row - 1
        while other >= 0 and reach[other] > start[row]:
            if end[other] > start[row]:
                struck[other] = True
            other -= 1
    return kept
