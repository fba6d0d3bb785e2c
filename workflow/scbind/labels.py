"""ChIP-seq peaks to labels of windows: bound, unbound, ambiguous, or not assayed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from scbind.genome import UNKNOWN, Genome

BOUND, UNBOUND, AMBIGUOUS, NOT_ASSAYED = 1, 0, -1, -2


def covered_bases(
    intervals: pd.DataFrame, chroms: list[str], chrom: np.ndarray, start: np.ndarray, width: int
):
    """Count the bases of each window that lie in any of the intervals.

    ``intervals`` has columns ``chrom, start, end`` (0-based half-open; they may overlap each other);
    ``chrom`` (index into ``chroms``) and ``start`` describe the windows, shape (windows,), in that order; they may
    overlap, too. Returns int32 (windows,). Beyond one number per window, time and memory follow the intervals:
    windows of a genome are many, and those that an assay touches few.
    """
    import pyranges  # readers of labels need their codes alone

    covered = np.zeros(len(chrom), dtype=np.int32)
    if len(intervals) == 0 or len(chrom) == 0:
        return covered
    merged = pyranges.PyRanges(
        pd.DataFrame(
            {
                "Chromosome": intervals["chrom"].astype(str),
                "Start": intervals["start"],
                "End": intervals["end"],
            }
        )
    ).merge()
    begin = np.searchsorted(chrom, np.arange(len(chroms) + 1))  # of the windows of each chromosome
    for index, name in enumerate(chroms):
        inside, here = merged[name].df, slice(begin[index], begin[index + 1])
        if inside.empty or here.start == here.stop:
            continue
        left, right = inside["Start"].to_numpy(), inside["End"].to_numpy()
        first = np.searchsorted(start[here], left - width, side="right")
        count = np.searchsorted(start[here], right, side="left") - first
        part = np.repeat(np.arange(len(left)), count)
        row = np.arange(len(part)) - np.repeat(np.cumsum(count) - count, count) + first[part] + here.start
        length = np.minimum(start[row] + width, right[part]) - np.maximum(start[row], left[part])
        np.add.at(covered, row, length.astype(np.int32))
    return covered


def grid_windows(
    genome: Genome, exclude: pd.DataFrame, window: int, step: int, context: int
) -> tuple[np.ndarray, np.ndarray]:
    """Every usable window of the sequenced genome on a grid.

    A window ``[k * step, k * step + window)`` is kept if it holds no N, touches no excluded interval, and the
    ``context`` bases centred on it lie inside the chromosome. Returns the chromosome index (int32) and the
    start (int32) of each, sorted.
    """
    flank = (context - window) // 2
    chroms, starts = [], []
    for index in range(genome.n_sequenced):
        offset, length = genome.sizes.offsets[index], int(genome.sizes.lengths[index])
        start = np.arange(0, max(0, length - window + 1), step, dtype=np.int64)
        start = start[(start >= flank) & (start - flank + context <= length)]
        unknown = np.flatnonzero(genome.codes[offset : offset + length] == UNKNOWN)
        start = start[np.searchsorted(unknown, start) == np.searchsorted(unknown, start + window)]
        chroms.append(np.full(len(start), index, dtype=np.int32))
        starts.append(start.astype(np.int32))
    chrom, start = np.concatenate(chroms), np.concatenate(starts)
    keep = covered_bases(exclude, list(genome.sizes.names), chrom, start, window) == 0
    return chrom[keep], start[keep]


def label_windows(
    bound: pd.DataFrame,
    relaxed: pd.DataFrame | None,
    chroms: list[str],
    chrom: np.ndarray,
    start: np.ndarray,
    window: int,
) -> np.ndarray:
    """Label windows for one assayed (cell line, TF).

    Bound where peaks cover more than half of the window (the rule of DREAM and of scFAN, Fu et al. 2020,
    Methods); ambiguous where only relaxed peaks touch it; else unbound. Returns int8 (windows,).
    """
    labels = np.full(len(chrom), UNBOUND, dtype=np.int8)
    if relaxed is not None:
        labels[covered_bases(relaxed, chroms, chrom, start, window) > 0] = AMBIGUOUS
    labels[covered_bases(bound, chroms, chrom, start, window) * 2 > window] = BOUND
    return labels


def assay_table(chip: Iterable[dict], lines: list[str]) -> tuple[list[str], np.ndarray]:
    """All TFs of a sheet in alphabetical order, and who assayed them: bool (lines, TFs)."""
    rows = list(chip)
    tfs = sorted({row["tf"] for row in rows})
    assayed = np.zeros((len(lines), len(tfs)), dtype=bool)
    for row in rows:
        assayed[lines.index(row["cell_line"]), tfs.index(row["tf"])] = True
    return tfs, assayed
