"""Genome-browser tracks of cell types: per TF, a bigWig and a BED of mean P(bound) over the cells of the type."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pysam

from scbind.binding.store import Binding, open_binding
from scbind.core.errors import InputError
from scbind.core.files import atomic, read_rows, write_bed, write_table
from scbind.core.runlog import say
from scbind.formats.bigwigwriter import create_bigwig
from scbind.formats.evidence import MOTIF, marked
from scbind.formats.genome import ChromSizes
from scbind.formats.typestatus import SKIPPED
from scbind.models.abstention import reliability_table


def cell_type_tracks(binding, types, sizes_path, output, min_probability: float = 0.1) -> None:
    """Write mean P(bound) per cell type of a sample: one folder ``{slug}`` in ``output`` per type.

    Each folder holds ``{tf}.bw``, ``{tf}.bed.gz`` (with ``.tbi``) and ``levels.tsv``. One pass over the store sums all
    types, so many types cost little more than one. A type whose cells are in no pseudobulk has no folder.

    Entries that the store does not hold count as 0, so a mean is too low by less than the store's floor. In the bigWig,
    the value of a base is the largest mean of the windows that contain it. The BED has one line of six columns for each
    window whose mean is at least ``min_probability``: chrom, start, end (0-based half-open), TF (``TF (motif)`` without
    ChIP-seq), score (int, 1000 P rounded), ".". ``levels.tsv`` has the reliability level and the evidence of each TF:
    ``tf, level, evidence``.

    The mean of a TF leaves out cells that are too shallow for it. If scbind abstains on the TF, or on every cell of the
    type, the mean is over all cells and is marked: the level is ``abstained``, and the bigWig is named
    ``{tf}.abstained.bw`` instead of ``{tf}.bw``, because a bigWig has no field for a mark.

    Parameters
    ----------
    binding, sizes_path, output
        The binding store, ``chrom.sizes``, and the folder to write.
    types
        ``cell_types.tsv`` with ``cell_type``, ``slug`` and ``status``. Types with status ``skipped`` get no tracks.
    min_probability
        Smallest mean P(bound) of a window in the BED.

    Raises
    ------
    InputError
        If ``obs`` of the store has no ``cell_type``, a type is missing from ``types``, or a chromosome has no size.
    """
    store, sizes = open_binding(binding), ChromSizes.read(sizes_path)
    slugs, member = _types_in(store, types)
    chroms, starts = store.var["chrom"].astype(str).to_numpy(), store.var["start"].to_numpy()
    ends, strange = store.var["end"].to_numpy(), set(store.var["chrom"].unique()) - set(sizes.names)
    if strange:
        raise InputError(
            sizes_path, f"does not list {', '.join(sorted(strange))}", "use the chrom.sizes of the reference"
        )
    present = set(chroms)
    on = {name: np.flatnonzero(chroms == name) for name in sizes.names if name in present}
    if not slugs:
        say(f"{binding}: no cell has a type with tracks, so no tracks are written")
    known, unread = reliability_table(store.reliability, store.tfs), store.abstained
    levels = {slug: known["level"].to_dict() for slug in slugs}
    with atomic(output) as folder:
        folder.mkdir()
        for slug in slugs:
            (folder / slug).mkdir()
        for tf, unread_here in zip(store.tfs, unread.T, strict=True):
            label = marked(tf, known["evidence"][tf] == MOTIF)
            means, abstained = _means(store, tf, member, len(slugs), unread_here, known["abstained"][tf])
            for slug, mean, no in zip(slugs, means, abstained, strict=True):
                suffix = "abstained.bw" if no else "bw"
                with create_bigwig(folder / slug / f"{tf}.{suffix}", sizes, 2 * len(starts)) as bigwig:
                    for chrom, rows in on.items():
                        here = rows[mean[rows] > 0]
                        left, right, value = _flatten(starts[here], ends[here], mean[here])
                        if len(left):
                            names = [chrom] * len(left)
                            bigwig.addEntries(names, left.tolist(), right.tolist(), value.tolist())
                table = pd.DataFrame({"chrom": chroms, "start": starts, "end": ends, "tf": label})
                table["score"], table["strand"] = np.rint(1000 * mean).astype(int), "."
                _write_bed(table[mean >= min_probability], folder / slug / f"{tf}.bed.gz")
                if no:
                    levels[slug][tf] = "abstained"
            say(f"tracks of {tf} in {len(slugs)} cell types")
        for slug, level in levels.items():
            table = pd.DataFrame({"tf": level.keys(), "level": level.values()})
            table["evidence"] = known["evidence"].loc[table["tf"]].to_numpy()
            write_table(folder / slug / "levels.tsv", table)


def _types_in(store: Binding, types) -> tuple[list[str], np.ndarray]:
    """Return the slugs of the types that have tracks and cells in the store, and each cell's type index (or -1)."""
    if "cell_type" not in store.obs:
        raise InputError(store.path, "obs has no column 'cell_type'", "give labels or cluster the cells")
    table = {row["cell_type"]: row for row in read_rows(types)}
    names = store.obs["cell_type"].astype(object).fillna("").to_numpy()
    if missing := sorted(set(names) - {"", *table}):
        raise InputError(
            types, f"does not list cell type {missing[0]!r} of {store.path}", "run the workflow again"
        )
    chosen = sorted(name for name in set(names) - {""} if table[name]["status"] != SKIPPED)
    return [table[name]["slug"] for name in chosen], pd.Index(chosen, dtype=object).get_indexer(names)


def _means(store: Binding, tf: str, member, n_types: int, unread, abstained: bool) -> tuple[np.ndarray, ...]:
    """Return mean P(bound) of a TF per type, float64 (types, windows), and where scbind abstains, bool (types,)."""
    of_any, of_read = (
        np.bincount(member[pick], minlength=n_types) for pick in (member >= 0, (member >= 0) & ~unread)
    )
    no = (of_read == 0) | abstained
    counted = (member >= 0) & (~unread | no[member])
    total = store.sums(tf, np.where(counted, member, -1), n_types)
    return total / np.where(no, of_any, of_read)[:, None], no


def _flatten(start: np.ndarray, end: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, ...]:
    """Cut sorted, overlapping intervals of equal width into disjoint ones. Each keeps the largest value over it."""
    edges = np.unique(np.concatenate([start, end]))
    left, right = edges[:-1], edges[1:]
    latest = np.searchsorted(start, left, side="right") - 1  # last interval that has begun
    best = np.zeros(len(left))
    back = 0
    while True:  # intervals of equal width end in the order they begin, so the search stops at the first miss
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
    write_bed(plain, table)
    pysam.tabix_compress(str(plain), str(path), force=True)
    plain.unlink()
    pysam.tabix_index(str(path), preset="bed", force=True)
