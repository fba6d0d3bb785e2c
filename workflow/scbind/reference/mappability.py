"""Mappability of each base of the sequenced genome: convert a bigWig to one memory-mapped file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scbind.core.errors import InputError
from scbind.core.files import atomic, begin_npy
from scbind.core.runlog import say
from scbind.formats.bigwig import bigwig_intervals, open_bigwig
from scbind.formats.genome import FULL, Genome

ROUNDING = 1e-6  # relative; tools that average write 1.0000001 for 1
LEAST_PERCENT = 50  # a track of percentages has uniquely mappable bases, near 100
BLOCK = 1 << 20  # bp read at a time, because entries are Python tuples, up to one per base


def prepare_mappability(bigwig: str | Path, reference: str | Path, output: str | Path) -> None:
    """Write ``mappability.npy``: the mappability of every base that has sequence.

    scFAN (Fu et al. 2020, Methods) and FactorNet (Quang & Xie 2019) use ENCODE's Duke uniqueness of 35-mers. Any
    track from 0 (reads do not map) to 1 (reads map to one position) can be used.

    Parameters
    ----------
    bigwig
        Values within [0, 1], or percentages within [0, 100]. Bases without an entry (or with NaN) count as 0, and so do
        chromosomes that the file does not have.
    reference
        Folder with ``chrom.sizes`` and ``sequence.npy`` (:meth:`scbind.formats.genome.Genome.open`).
    output
        ``.npy``, uint8, shape (sequenced bases,), in the order of ``sequence.npy``: 255 times the value, rounded. The
        rounding error is at most 1/510. Written in blocks.

    Raises
    ------
    InputError
        If the file is missing, truncated or not a bigWig; if a value is outside its range; if chromosomes have other
        names or lengths; or if no value is above 0. No output is written then.
    """
    genome = Genome.open(reference)
    with open_bigwig(bigwig, genome.sizes) as (bw, names), atomic(output) as scratch:
        sequenced = dict(genome.sequenced)
        missing = [name for name in sequenced if name not in names]
        if missing:
            share = sum(sequenced[name] for name in missing) / sum(sequenced.values())
            say(
                f"WARNING {bigwig}: {len(missing)} of {len(sequenced)} chromosomes ({share:.1%} of the genome) are not "
                f"in it, as {missing[0]}; their mappability counts as 0"
            )
        try:
            total = _write_levels(bigwig, bw, names, genome, scratch, 1)
        except _AboveOne:
            total = _write_levels(bigwig, bw, names, genome, scratch, 100)
            say(f"{bigwig}: values are percentages, and were divided by 100")
        if not total:
            raise InputError(bigwig, "no value is above 0", "give a track of mappability from 0 to 1")
    say(f"mappability: {total / FULL / len(genome.codes):.3f} on average over {len(genome.codes)} bp")


class _AboveOne(Exception):
    """A value lies above 1, so the track may hold percentages."""


def _write_levels(path, bw, names: list[str], genome: Genome, target: Path, full: int) -> int:
    """Write the levels of all chromosomes with sequence; return their sum. ``full``: value of a mappability of 1."""
    total, largest = 0, 0.0
    with open(target, "wb") as handle:
        begin_npy(handle, np.dtype(np.uint8), genome.codes.shape)
        for name, length in genome.sequenced.items():
            for low in range(0, length, BLOCK):
                high = min(low + BLOCK, length)
                entries = bigwig_intervals(path, bw, name, low, high) if name in names else np.zeros((0, 3))
                entries = entries[~np.isnan(entries[:, 2])]
                largest = max(largest, entries[:, 2].max(initial=0))
                _check_range(path, name, entries, full)
                levels = _levels(entries, low, high, full)
                handle.write(levels.tobytes())
                total += int(levels.sum(dtype=np.int64))
    if full > 1 and largest < LEAST_PERCENT:
        raise InputError(
            path,
            f"the largest value is {largest:g}, neither a fraction (up to 1) nor a percentage",
            "give values from 0 to 1",
        )
    return total


def _check_range(path, name: str, entries: np.ndarray, full: int) -> None:
    """Raise :class:`InputError` for a value outside [0, ``full``], or :class:`_AboveOne` if it may be a percentage."""
    wrong = ~((entries[:, 2] >= 0) & (entries[:, 2] <= full * (1 + ROUNDING)))
    if wrong.any():
        start, _, value = entries[np.argmax(wrong)]
        if full == 1 and 1 < value <= 100:
            raise _AboveOne
        raise InputError(
            path, f"the value is {value:g}", "give a track of mappability from 0 to 1", f"{name}:{int(start)}"
        )


def _levels(entries: np.ndarray, low: int, high: int, full: int) -> np.ndarray:
    """Return the levels (255 times the mappability) of ``[low, high)`` of a chromosome: uint8 (high - low,)."""
    levels = np.zeros(high - low, dtype=np.uint8)
    # an entry may extend beyond either end of the block
    start, end = (np.clip(entries[:, column], low, high).astype(np.int64) - low for column in (0, 1))
    width = end - start
    within = np.arange(width.sum()) - np.repeat(np.cumsum(width) - width, width)
    levels[np.repeat(start, width) + within] = np.repeat(np.rint(entries[:, 2] / full * FULL), width)
    return levels
