"""The only reader of bigWig files: checked, chromosome by chromosome."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from scbind.core.errors import InputError
from scbind.core.files import require
from scbind.formats.bigwigfile import BigWigFile, Damaged
from scbind.formats.genome import ChromSizes
from scbind.formats.names import match_contigs


@contextmanager
def open_any_bigwig(path: str | Path):
    """Open a bigWig of any genome (:class:`scbind.formats.bigwigfile.BigWigFile`).

    Raises :class:`InputError` if it is missing or not a bigWig.
    """
    path = require(path, "check the path in the configuration")
    try:
        bw = BigWigFile(path)
    except (Damaged, OSError) as error:
        raise _unreadable_bigwig(path, error) from error
    try:
        yield bw
    finally:
        bw.close()


@contextmanager
def open_bigwig(path: str | Path, sizes: ChromSizes):
    """Open a bigWig; gives the handle and the names it shares with ``sizes``, in their order.

    Raises :class:`InputError` if it is missing, not a bigWig, or of another genome (:mod:`scbind.formats.names`).
    """
    with open_any_bigwig(path) as bw:
        yield bw, match_contigs(path, bw.chroms, sizes, "bigWig")


def bigwig_intervals(path, bw: BigWigFile, name: str, low: int, high: int) -> np.ndarray:
    """Entries of an open bigWig that share a base with ``[low, high)``: float64 (entries, 3), start, end, value.

    Not cut to the range, but to the chromosome. Raises :class:`InputError` if that part of the file is damaged.
    """
    try:
        return bw.intervals(name, low, high)
    except Damaged as error:
        raise _unreadable_bigwig(path, error, f"{name}:{low}-{high}") from error


def _unreadable_bigwig(path, error: Exception, place: str | None = None) -> InputError:
    detail = error.strerror if isinstance(error, OSError) else error
    return InputError(path, f"cannot be read as bigWig ({detail})", "copy or make the file again", place)


BLOCK = 4 << 20  # bp of a bigWig read at a time


def bigwig_bases(path, sizes: ChromSizes, region=None) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield name, positions (int64, sorted) and values (float64, above 0) of each chromosome of a bigWig."""
    for name, blocks in _bigwig_chromosomes(path, sizes, region):
        positions, values = [np.zeros(0, dtype=np.int64)], [np.zeros(0)]
        for start, end, value in blocks:
            keep = value > 0
            position, value = expand_runs(start[keep], end[keep], value[keep])
            positions.append(position)
            values.append(value)
        yield name, np.concatenate(positions), np.concatenate(values)


def expand_runs(start: np.ndarray, end: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the position (int64) and the value of every base of runs ``[start, end)`` of equal values."""
    width = end - start
    first = np.repeat(np.cumsum(width) - width, width)
    return np.repeat(start, width) + np.arange(len(first)) - first, np.repeat(value, width)


def _bigwig_chromosomes(path, sizes: ChromSizes, region=None):
    """Yield the name and the blocks ``(start, end, value)`` of each chromosome with data, values checked."""
    with open_bigwig(path, sizes) as (bw, names):
        for name in names:
            if region is None or name == region[0]:
                blocks = list(_bigwig_blocks(path, bw, name, sizes.as_dict()[name]))
                if blocks:
                    yield name, blocks


def _bigwig_blocks(path, bw, name: str, length: int):
    for low in range(0, length, BLOCK):
        entries = bigwig_intervals(path, bw, name, low, min(low + BLOCK, length))
        entries = entries[entries[:, 0] >= low]  # one that began earlier was seen with its own block
        entries = entries[~np.isnan(entries[:, 2])]  # written by some tools where there is no value
        wrong = ~(np.isfinite(entries[:, 2]) & (entries[:, 2] >= 0))
        if wrong.any():
            start, _, value = entries[np.argmax(wrong)]
            remedy = "make the track again"
            if value < 0:
                remedy = "give counts; a track of the minus strand alone, or a log ratio, cannot be used"
            raise InputError(path, f"the value is {value:g}", remedy, f"{name}:{int(start)}")
        if len(entries):
            yield entries[:, 0].astype(np.int64), entries[:, 1].astype(np.int64), entries[:, 2]
