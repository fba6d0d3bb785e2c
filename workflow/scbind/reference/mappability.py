"""Mappability of each base of the sequenced genome: convert a bigWig to one memory-mapped file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scbind.core.errors import InputError
from scbind.core.files import atomic, begin_npy
from scbind.core.runlog import say
from scbind.formats.bigwig import bigwig_intervals, open_bigwig
from scbind.formats.genome import FULL, Genome

BLOCK = 1 << 20  # bp read at a time, because entries are Python tuples, up to one per base


def prepare_mappability(bigwig: str | Path, reference: str | Path, output: str | Path) -> None:
    """Write ``mappability.npy``: the mappability of every base that has sequence.

    scFAN (Fu et al. 2020, Methods) and FactorNet (Quang & Xie 2019) use ENCODE's Duke uniqueness of 35-mers. Any
    track from 0 (reads do not map) to 1 (reads map to one place) can be used.

    Parameters
    ----------
    bigwig
        Values within [0, 1]. Bases without an entry count as 0. The file must have all chromosomes with sequence.
    reference
        Folder with ``chrom.sizes`` and ``sequence.npy`` (:meth:`scbind.formats.genome.Genome.open`).
    output
        ``.npy``, uint8, shape (sequenced bases,), in the order of ``sequence.npy``: 255 times the value, rounded. The
        rounding error is at most 1/510. Written in blocks.

    Raises
    ------
    InputError
        If the file is missing, truncated or not a bigWig; if a value is NaN or outside [0, 1]; if a chromosome is
        missing or has another name or length; or if no value is above 0. No output is written then.
    """
    genome, total = Genome.open(reference), 0
    with (
        open_bigwig(bigwig, genome.sizes) as (bw, names),
        atomic(output) as scratch,
        open(scratch, "wb") as levels,
    ):
        sequenced = genome.sizes.names[: genome.n_sequenced]
        missing = [name for name in sequenced if name not in names]
        if missing:
            raise InputError(
                bigwig,
                f"{len(missing)} of the {len(sequenced)} chromosomes of the genome are not in it",
                "use a file of the same assembly, or remove these chromosomes from the FASTA",
                missing[0],
            )
        begin_npy(levels, np.dtype(np.uint8), genome.codes.shape)
        for name, length in zip(sequenced, genome.sizes.lengths, strict=False):
            for low in range(0, int(length), BLOCK):
                block = _read_levels(bigwig, bw, name, low, min(low + BLOCK, int(length)))
                levels.write(block.tobytes())
                total += int(block.sum(dtype=np.int64))
        if not total:
            raise InputError(bigwig, "no value is above 0", "give a track of mappability from 0 to 1")
    say(f"mappability: {total / FULL / len(genome.codes):.3f} on average over {len(genome.codes)} bp")


def _read_levels(path, bw, name: str, low: int, high: int) -> np.ndarray:
    """Read the levels (255 times the mappability) of ``[low, high)`` of a chromosome: uint8 (high - low,)."""
    levels = np.zeros(high - low, dtype=np.uint8)
    entries = bigwig_intervals(path, bw, name, low, high)
    wrong = ~((entries[:, 2] >= 0) & (entries[:, 2] <= 1))  # also true of NaN
    if wrong.any():
        start, _, value = entries[np.argmax(wrong)]
        raise InputError(
            path,
            f"the value is {value:g}",
            "give a track of mappability from 0 to 1 (divide percentages by 100)",
            f"{name}:{int(start)}",
        )
    # an entry may extend beyond either end of the block
    start, end = (np.clip(entries[:, column], low, high).astype(np.int64) - low for column in (0, 1))
    width = end - start
    within = np.arange(width.sum()) - np.repeat(np.cumsum(width) - width, width)
    levels[np.repeat(start, width) + within] = np.repeat(np.rint(entries[:, 2] * FULL), width)
    return levels
