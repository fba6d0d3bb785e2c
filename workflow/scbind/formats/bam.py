"""Position-sorted BAM files, checked while they are read."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

import numpy as np
import pysam

from scbind.core.errors import InputError
from scbind.core.files import require
from scbind.core.progress import Progress
from scbind.core.scratch import scratch_folder
from scbind.formats.bamrecords import Alignments, DamagedRecord, read_alignments
from scbind.formats.genome import ChromSizes
from scbind.formats.inputs import packed_with
from scbind.formats.names import match_contigs

UNMAPPED, REVERSE, MATE_REVERSE, PROPER = 0x4, 0x10, 0x20, 0x2  # flags of alignments
PART = 100_000  # alignments of a SAM or CRAM that become a BAM at a time


def usable(reads: Alignments, min_mapq: int, duplicates: bool) -> np.ndarray:
    """Tell which reads are mapped, primary, not failed and of sufficient mapping quality: bool (reads,).

    ``duplicates`` allows reads marked as duplicates.
    """
    # 0x4 unmapped, 0x100 secondary, 0x200 failed, 0x400 duplicate, 0x800 supplementary
    return ((reads.flag & (0xB04 if duplicates else 0xF04)) == 0) & (reads.mapq >= min_mapq)


@contextmanager
def open_bam(path: str | Path, sizes: ChromSizes):
    """Open a position-sorted BAM, a SAM, or a CRAM whose reference htslib finds.

    Gives an iterator of its placed reads, many at a time (:class:`Alignments`), and a dict from reference id to known
    chromosome name. Raises :class:`InputError` if it is missing, not a BAM, truncated, unsorted, or of another genome.
    """
    path = require(path, "check the path in the configuration")
    packed_with(path)
    try:
        handle = pysam.AlignmentFile(str(path), "rb")
    except (ValueError, OSError, NotImplementedError) as error:
        raise InputError(path, f"cannot be read as BAM ({error})", "give a sorted BAM file") from error
    try:
        try:
            contigs = dict(zip(handle.references, handle.lengths, strict=True))
        except UnicodeDecodeError as error:
            raise InputError(path, "the name of a chromosome is not text", "copy or make it again") from error
        good = set(match_contigs(path, contigs, sizes, "BAM"))
        known = {index: name for index, name in enumerate(handle.references) if name in good}
        yield _sorted_reads(path, handle), known
    finally:
        with suppress(OSError):  # raised again on closing, instead of the error of the damaged block
            handle.close()


def _sorted_reads(path, handle: pysam.AlignmentFile) -> Iterator[Alignments]:
    last, seen, progress = -1, 0, Progress("reads")
    try:
        for reads in _records(path, handle):
            progress.reached(seen := seen + len(reads))
            placed = reads.contig >= 0
            if not placed.all():
                reads = reads[placed]
            if not len(reads):
                continue
            key = reads.contig.astype(np.int64) << 32 | (reads.start.astype(np.int64) + 1)
            back = np.diff(key, prepend=last) < 0
            if back.any():
                name = reads.name(int(np.argmax(back)))
                raise InputError(path, "not sorted by position", "run samtools sort", f"read {name}")
            last = int(key[-1])
            yield reads
    except (OSError, DamagedRecord) as error:
        if handle.is_cram:  # the error is the same in both cases
            made = shlex.quote(path.with_suffix(".bam").name)
            problem = (
                f"this CRAM cannot be decoded ({error}): its reference genome is not found, or it is damaged"
            )
            remedy = f"convert it with its reference: samtools view -b -T GENOME.fa -o {made} {shlex.quote(str(path))}"
            raise InputError(path, problem, remedy) from error
        raise InputError(path, f"truncated or damaged ({error})", "copy or make it again") from error


def _records(path, handle: pysam.AlignmentFile) -> Iterator[Alignments]:
    """All alignments after the header. Those of SAM and CRAM are written as BAM, a part at a time."""
    if handle.is_bam:
        yield from _of_bam(path, handle)
        return
    with scratch_folder(None, "bam") as folder:
        part = str(folder / "part.bam")
        every = handle.fetch(until_eof=True)
        while reads := list(islice(every, PART)):
            with pysam.AlignmentFile(part, "wbu", header=handle.header) as out:
                for read in reads:
                    out.write(read)
            with pysam.AlignmentFile(part, "rb") as written:
                yield from _of_bam(part, written)


def _of_bam(path, handle: pysam.AlignmentFile) -> Iterator[Alignments]:
    with pysam.BGZFile(str(path), "rb") as raw:
        raw.seek(handle.tell())
        yield from read_alignments(raw.read, handle.nreferences)
