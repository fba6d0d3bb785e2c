"""The only reader of a bulk track: its insertions, their fragments, and the regions that the track covers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from scbind.core.errors import InputError
from scbind.core.files import map_npy, require
from scbind.formats.bigwig import bigwig_bases
from scbind.formats.genome import ChromSizes


def read_regions(facts: str | Path | None, sizes: ChromSizes) -> np.ndarray:
    """Read the regions that a track covers: int64 (regions, 2), global half-open, sorted, disjoint.

    Each region lies in one chromosome. ``facts`` is the ``track.json`` of :func:`insertion_track`; with ``None``, the
    track covers every chromosome. Regions that touch are joined, so that a window across their border is inside.
    Raises :class:`InputError` if the file has no regions, or a region outside this genome.
    """
    if facts is None:
        return np.stack([sizes.offsets[:-1], sizes.offsets[1:]], axis=1)
    remedy = "make the track again"
    try:
        listed = json.loads(require(facts, "run the track rule first").read_text())["regions"]
        spans = sorted((sizes.index(name), int(low), int(high)) for name, low, high in listed)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(facts, f"holds no regions of this genome ({error})", remedy) from error
    regions: list[list[int]] = []
    last = -1
    for chrom, low, high in spans:
        if not 0 <= low < high <= sizes.lengths[chrom]:
            raise InputError(facts, f"no such region: {sizes.names[chrom]}:{low}-{high}", remedy)
        low, high = low + int(sizes.offsets[chrom]), high + int(sizes.offsets[chrom])
        if chrom == last and low <= regions[-1][1]:
            regions[-1][1] = max(high, regions[-1][1])
        else:
            regions.append([low, high])
        last = chrom
    return np.array(regions, dtype=np.int64).reshape(-1, 2)


def read_insertions(bw: str | Path, sizes: ChromSizes) -> np.ndarray:
    """Read a bigWig of insertions per base.

    Returns uint32, shape (insertions,): sorted global positions, each repeated by its rounded count.
    Raises :class:`InputError` on NaN or negative values, with their place, and on foreign chromosomes.
    """
    if sizes.total > np.iinfo(np.uint32).max:
        raise InputError(bw, "the genome is longer than 2^32 bp", "leave out unplaced chromosomes")
    found = [np.zeros(0, dtype=np.uint32)]
    for name, position, value in bigwig_bases(bw, sizes):
        place = (position + sizes.offsets[sizes.index(name)]).astype(np.uint32)
        found.append(np.repeat(place, np.round(value).astype(np.int64)))
    return np.concatenate(found)


def read_fragments(path: str | Path | None, insertions: int) -> np.ndarray:
    """Read the fragment number of each insertion of a track: uint32 (insertions,), a memory map.

    ``path`` is the file that :func:`insertion_track` wrote beside the bigWig. With ``None``, each insertion has its own
    number, and the array is in memory. Raises :class:`InputError` if the file is missing, damaged, or of another track.
    """
    if path is None:
        return np.arange(insertions, dtype=np.uint32)
    remedy = "make the track again"
    found = map_npy(path, remedy)
    if found.dtype != np.uint32 or found.shape != (insertions,):
        problem = f"expected uint32 of {insertions} insertions, got {found.dtype} of shape {found.shape}"
        raise InputError(path, problem, remedy)
    return found
