"""Count the bases of windows that intervals cover."""

from __future__ import annotations

import numpy as np
import pandas as pd


def covered_bases(
    intervals: pd.DataFrame, chroms: list[str], chrom: np.ndarray, start: np.ndarray, width: int
):
    """Count the bases of each window that lie in any of the intervals.

    ``intervals`` has columns ``chrom, start, end`` (0-based half-open; they may overlap each other);
    ``chrom`` (index into ``chroms``) and ``start`` describe the windows, shape (windows,), in that order; they may
    overlap, too. Returns int32 (windows,). Apart from this result, time and memory grow with the intervals and not with
    the windows, because an assay touches few of the many windows of a genome.
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
    place = {name: index for index, name in enumerate(chroms)}
    for name, inside in merged:
        index = place.get(name)
        if index is None or begin[index] == begin[index + 1]:
            continue
        here = slice(begin[index], begin[index + 1])
        left, right = inside["Start"].to_numpy(), inside["End"].to_numpy()
        first = np.searchsorted(start[here], left - width, side="right")
        count = np.searchsorted(start[here], right, side="left") - first
        part = np.repeat(np.arange(len(left)), count)
        row = np.arange(len(part)) - np.repeat(np.cumsum(count) - count, count) + first[part] + here.start
        length = np.minimum(start[row] + width, right[part]) - np.maximum(start[row], left[part])
        np.add.at(covered, row, length.astype(np.int32))
    return covered
