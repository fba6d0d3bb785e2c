"""Binding of cell types as a genome browser shows it: a bigWig and a BED of means over their cells, per TF."""

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
from scbind.formats.genome import ChromSizes
from scbind.formats.typestatus import SKIPPED
from scbind.models.abstention import reliability_table


def cell_type_tracks(binding, types, sizes_path, output, min_probability: float = 0.1) -> None:
    """Write, per cell type of a sample, mean P(bound) over its cells: the folders ``{slug}`` in ``output``.

    In each are ``{tf}.bw``, ``{tf}.bed.gz`` (with ``.tbi``) and ``levels.tsv``. All types are summed up in one pass
    over the store, so that many cost little more than one. A type whose cells are in no pseudobulk has no folder.

    Absent entries count as 0, so a mean is too low by less than the store's floor. In the bigWig a base has
    the largest mean of the windows that hold it. In the BED, of six columns, each window of mean >=
    ``min_probability`` is a line: chrom, start, end (0-based half-open), TF, score (int, 1000 P rounded), ".".
    The table ``levels.tsv`` has the level of each TF's reliability: ``tf, level``.

    Cells too shallow for a TF are left out of its mean. A TF that is abstained on, as a whole or in every cell of the
    type, is the mean over all cells and says so: the level is ``abstained``, and the bigWig, which cannot carry a mark,
    is ``{tf}.abstained.bw``; there is no ``{tf}.bw``.

    Parameters
    ----------
    binding, sizes_path, output
        The store, ``chrom.sizes``, the folder to write.
    types
        ``cell_types.tsv``: ``cell_type``, ``slug``, ``status``; those that are ``skipped`` get no tracks.

    Raises
    ------
    InputError
        If the store's cells have no type or one that is not listed, or a chromosome that has no size.
    """
    store, sizes = open_binding(binding), ChromSizes.read(sizes_path)
    slugs, member = _types_in(store, types)
    chroms, starts = store.var["chrom"].astype(str).to_numpy(), store.var["start"].to_numpy()
    ends, strange = store.var["end"].to_numpy(), set(store.var["chrom"].unique()) - set(sizes.names)
    if strange:
        raise InputError(
            sizes_path, f"lists no {', '.join(sorted(strange))}", "give the reference's own sizes"
        )
    if not slugs:
        say(f"no cell of a type with tracks in {binding}: nothing is written")
    known, unread = reliability_table(store.reliability, store.tfs), store.abstained
    levels = {slug: known["level"].to_dict() for slug in slugs}
    with atomic(output) as folder:
        folder.mkdir()
        for slug in slugs:
            (folder / slug).mkdir()
        for tf, unread_here in zip(store.tfs, unread.T, strict=True):
            means, abstained = _means(store, tf, member, len(slugs), unread_here, known["abstained"][tf])
            for slug, mean, no in zip(slugs, means, abstained, strict=True):
                suffix = "abstained.bw" if no else "bw"
                with create_bigwig(folder / slug / f"{tf}.{suffix}", sizes, 2 * len(starts)) as bigwig:
                    for chrom in sizes.names:
                        here = (chroms == chrom) & (mean > 0)
                        left, right, value = _flatten(starts[here], ends[here], mean[here])
                        if len(left):
                            names = [chrom] * len(left)
                            bigwig.addEntries(names, left.tolist(), right.tolist(), value.tolist())
                table = pd.DataFrame({"chrom": chroms, "start": starts, "end": ends, "tf": tf})
                table["score"], table["strand"] = np.rint(1000 * mean).astype(int), "."
                _write_bed(table[mean >= min_probability], folder / slug / f"{tf}.bed.gz")
                if no:
                    levels[slug][tf] = "abstained"
            say(f"tracks of {tf} in {len(slugs)} cell types")
        for slug, level in levels.items():
            table = pd.DataFrame({"tf": level.keys(), "level": level.values()})
            write_table(folder / slug / "levels.tsv", table)


def _types_in(store: Binding, types) -> tuple[list[str], np.ndarray]:
    """Slugs of the types with tracks of which the store has cells, and of each cell its type's number or -1."""
    if "cell_type" not in store.obs:
        raise InputError(store.path, "obs has no column 'cell_type'", "give labels or cluster the cells")
    table = {row["cell_type"]: row for row in read_rows(types)}
    names = store.obs["cell_type"].astype(object).fillna("").to_numpy()
    if missing := sorted(set(names) - {"", *table}):
        raise InputError(
            types, f"lists no cell type {missing[0]!r} of {store.path}", "run the workflow again"
        )
    chosen = sorted(name for name in set(names) - {""} if table[name]["status"] != SKIPPED)
    return [table[name]["slug"] for name in chosen], pd.Index(chosen, dtype=object).get_indexer(names)


def _means(store: Binding, tf: str, member, n_types: int, unread, abstained: bool) -> tuple[np.ndarray, ...]:
    """Mean P(bound) of a TF per type, float64 (types, windows), and which of them are abstained on, bool (types,)."""
    of_any, of_read = (
        np.bincount(member[pick], minlength=n_types) for pick in (member >= 0, (member >= 0) & ~unread)
    )
    no = (of_read == 0) | abstained
    counted = (member >= 0) & (~unread | no[member])
    total = store.sums(tf, np.where(counted, member, -1), n_types)
    return total / np.where(no, of_any, of_read)[:, None], no


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
    write_bed(plain, table)
    pysam.tabix_compress(str(plain), str(path), force=True)
    plain.unlink()
    pysam.tabix_index(str(path), preset="bed", force=True)
