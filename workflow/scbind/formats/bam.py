"""Position-sorted BAM files, checked while they are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pysam

from scbind.core.errors import InputError
from scbind.core.files import require
from scbind.formats.genome import ChromSizes
from scbind.formats.inputs import packed_with
from scbind.formats.names import match_contigs


def is_usable(read: pysam.AlignedSegment, min_mapq: int, duplicates: bool) -> bool:
    """Tell whether a read is mapped, primary, not failed and of enough mapping quality.

    ``duplicates`` allows reads marked as duplicates.
    """
    # 0x4 unmapped, 0x100 secondary, 0x200 failed, 0x400 duplicate, 0x800 supplementary
    return not read.flag & (0xB04 if duplicates else 0xF04) and read.mapping_quality >= min_mapq


@contextmanager
def open_bam(path: str | Path, sizes: ChromSizes):
    """Open a position-sorted BAM; gives its reads and a dict from reference id to known chromosome name.

    Raises :class:`InputError` if it is missing, no BAM, truncated, not sorted, or of another genome.
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
            raise InputError(path, "the name of a chromosome is no text", "copy or make it again") from error
        usable = set(match_contigs(path, contigs, sizes, "BAM"))
        known = {index: name for index, name in enumerate(handle.references) if name in usable}
        yield _sorted_reads(path, handle), known
    finally:
        with suppress(OSError):  # raised again on closing, in place of the error of the damaged block
            handle.close()


def _sorted_reads(path, handle: pysam.AlignmentFile) -> Iterator[pysam.AlignedSegment]:
    chrom = position = -1
    try:
        for read in handle.fetch(until_eof=True):
            if read.reference_id < 0:
                continue
            if read.reference_id < chrom or read.reference_id == chrom and read.reference_start < position:
                raise InputError(
                    path, "not sorted by position", "run samtools sort", f"read {read.query_name}"
                )
            chrom, position = read.reference_id, read.reference_start
            yield read
    except OSError as error:
        raise InputError(path, f"truncated or damaged ({error})", "copy or make it again") from error
