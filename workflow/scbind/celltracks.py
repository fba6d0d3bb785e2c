"""Binding of a cell type as a genome browser shows it: a bigWig and a BED of means over its cells, per TF."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pysam

from scbind.abstention import reliability_table
from scbind.binding import Binding, open_binding
from scbind.errors import InputError
from scbind.files import atomic, write_table
from scbind.genome import ChromSizes
from scbind.runlog import say
from scbind.tracks import create_bigwig


def cell_type_tracks(binding, cell_type: str, sizes_path, output, min_probability: float = 0.1) -> None:
    """Write ``{tf}.bw`` and ``{tf}.bed.gz`` (with ``.tbi``): mean P(bound) over the cells of a type; ``levels.tsv``.

    Absent entries count as 0, so a mean is too low by less than the store's floor. In the bigWig a base has
    the largest mean of the windows that hold it. In the BED, of six columns, each window of mean >=
    ``min_probability`` is a line: chrom, start, end (0-based half-open), TF, score (int, 1000 P rounded), ".".
    The table ``levels.tsv`` has the level of each TF's reliability: ``tf, level``. A type without cells here gives
    empty tracks.

    Cells too shallow for a TF are left out of its mean. A TF that is abstained on, as a whole or in every cell of the
    type, is the mean over all cells and says so: the level is ``abstained``, and the bigWig, which cannot carry a mark,
    is ``{tf}.abstained.bw``; there is no ``{tf}.bw``.

    Parameters
    ----------
    binding, sizes_path, output
        The store, ``chrom.sizes``, the folder to write.
    cell_type
        A value of ``obs["cell_type"]``.
    """
    store, sizes = open_binding(binding), ChromSizes.read(sizes_path)
    if "cell_type" not in store.obs:
        raise InputError(binding, "obs has no column 'cell_type'", "give labels or cluster the cells")
    inside = store.obs["cell_type"].astype(str).to_numpy() == cell_type
    chroms, starts = store.var["chrom"].astype(str).to_numpy(), store.var["start"].to_numpy()
    ends, strange = store.var["end"].to_numpy(), set(store.var["chrom"].unique()) - set(sizes.names)
    if strange:
        raise InputError(
            sizes_path, f"lists no {', '.join(sorted(strange))}", "give the reference's own sizes"
        )
    if not inside.any():
        say(f"no cell of type {cell_type!r} in {binding}: its tracks are empty")
    known, unread = reliability_table(store.reliability, store.tfs), store.abstained
    levels = known["level"].to_dict()
    with atomic(output) as folder:
        folder.mkdir()
        for tf, unread_here in zip(store.tfs, unread.T, strict=True):
            abstained = known["abstained"][tf] or (inside.any() and unread_here[inside].all())
            mean = _mean(store, tf, inside if abstained else inside & ~unread_here)
            suffix = "abstained.bw" if abstained else "bw"
            with create_bigwig(folder / f"{tf}.{suffix}", sizes, 2 * len(starts)) as bigwig:
                for chrom in sizes.names:
                    here = (chroms == chrom) & (mean > 0)
                    left, right, value = _flatten(starts[here], ends[here], mean[here])
                    if len(left):
                        bigwig.addEntries([chrom] * len(left), left.tolist(), right.tolist(), value.tolist())
            table = pd.DataFrame({"chrom": chroms, "start": starts, "end": ends, "tf": tf})
            table["score"], table["strand"] = np.rint(1000 * mean).astype(int), "."
            _write_bed(table[mean >= min_probability], folder / f"{tf}.bed.gz")
            if abstained:
                levels[tf] = "abstained"
        write_table(folder / "levels.tsv", pd.DataFrame({"tf": levels.keys(), "level": levels.values()}))


def _mean(store: Binding, tf: str, chosen: np.ndarray) -> np.ndarray:
    """Mean P(bound) over cells chosen by a mask: float64 (windows,); 0 without cells."""
    total = store.sums(tf, np.where(chosen, 0, -1), 1)[0]
    return total / max(chosen.sum(), 1)


def _flatten(start: np.ndarray, end: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, ...]:
    """Cut sorted, overlapping intervals of one width into disjoint ones that keep the largest value."""
    edges = np.unique(np.concatenate([start, end]))
    left, right = edges[:-1], edges[1:]
    latest = np.searchsorted(start, left, side="right") - 1  # last interval that has begun
    best = np.zeros(len(left))
    back = 0
    while True:  # intervals of one width end in the order they begin, so the first miss ends the search
        candidate = latest - back
        covers = (
            (candidate >= 0) & (end[np.maximum(candidate, 0)] >= right) if len(end) else np.zeros(0, bool)
        )
        if not covers.any():
            break
        best[covers] = np.maximum(best[covers], value[candidate[covers]])
        back += 1
    keep = best > 0
    return left[keep], right[keep], best[keep]


def _write_bed(table: pd.DataFrame, path: Path) -> None:
    """Write a sorted table as bgzipped, tabix-indexed BED."""
    plain = path.with_suffix("")
    table.to_csv(plain, sep="\t", header=False, index=False)
    pysam.tabix_compress(str(plain), str(path), force=True)
    plain.unlink()
    pysam.tabix_index(str(path), preset="bed", force=True)
