"""Fragments of single cells from a BAM with barcodes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pysam

from scbind.core.errors import InputError
from scbind.core.files import atomic
from scbind.core.runlog import say
from scbind.formats.bam import is_usable, open_bam
from scbind.formats.barcodes import is_no_barcode
from scbind.formats.genome import ChromSizes

OTHER_TAGS = ("CB", "CR", "BX", "DB", "BC", "XC")


def bam_to_fragments(
    bam: str | Path,
    output: str | Path,
    sizes: ChromSizes,
    barcode_tag: str = "CB",
    shift: tuple[int, int] = (4, -5),
    min_mapq: int = 30,
) -> None:
    """Turn a position-sorted BAM of paired reads with cell barcodes into a fragments file.

    A fragment runs from the plus-strand end to the minus-strand end of a proper pair, moved by
    ``shift`` (bp; Buenrostro et al. 2013, Methods: +4 and -5 centre the 9-bp duplication of Tn5).
    Pairs with one barcode and the same two ends are one fragment, counted in column 5. Reads that are
    secondary, supplementary, failed or below ``min_mapq`` are left out; duplicate flags are not
    looked at, because a tool unaware of barcodes may have set them. Only the left read of a pair is
    used, so the output comes sorted and one start position is held in memory.

    Pairs without a barcode are left out and counted: without the tag, or with one of the values that tools
    write for none (:func:`scbind.formats.barcodes.is_no_barcode`).

    Raises
    ------
    InputError
        If the file is missing, truncated, not sorted, of another genome, or has no barcodes or no
        proper pairs.
    """
    tagged = paired = written = 0
    other = ""
    with (
        open_bam(bam, sizes) as (reads, known),
        atomic(output) as scratch,
        pysam.BGZFile(str(scratch), "wb") as out,
    ):
        here, group = (-1, -1), Counter()
        for read in reads:
            if not is_usable(read, min_mapq, duplicates=True) or not read.is_proper_pair:
                continue
            if read.is_reverse or not read.mate_is_reverse or read.template_length <= 0:
                continue
            paired += 1
            if paired == 1:
                other = ", ".join(tag for tag in OTHER_TAGS if tag != barcode_tag and read.has_tag(tag))
            if not read.has_tag(barcode_tag):
                continue
            barcode = _barcode(bam, read, barcode_tag)
            if is_no_barcode(barcode):
                continue
            tagged += 1
            name = known.get(read.reference_id)
            start = read.reference_start + shift[0]
            end = read.reference_start + read.template_length + shift[1]
            if name is None or not 0 <= start < end <= sizes.lengths[sizes.index(name)]:
                continue
            if (read.reference_id, start) != here:
                written += _write_group(out, known.get(here[0]), here[1], group)
                here, group = (read.reference_id, start), Counter()
            group[end, barcode] += 1
        written += _write_group(out, known.get(here[0]), here[1], group)
        if not paired:
            raise InputError(bam, "there are no proper read pairs in it", "give a BAM of aligned read pairs")
        if not tagged:
            raise InputError(
                bam,
                f"no read pair has a barcode in the tag {barcode_tag}"
                + f" (the first one has {other})" * bool(other),
                "set cells.barcode_tag to the tag that holds the cell barcode, or give a fragments file",
            )
        if not written:
            raise InputError(bam, "no fragment on the genome's chromosomes", "check the genome")
        say(
            f"{bam}: {written} fragments of {paired} read pairs; {paired - tagged} pairs had no {barcode_tag}"
        )


def _barcode(bam, read: pysam.AlignedSegment, tag: str) -> str:
    """Return the barcode of a read; :class:`InputError` for one that cannot stand in a field of a text file."""
    try:
        barcode = str(read.get_tag(tag)).strip()
    except (ValueError, KeyError, TypeError):
        barcode = "\0"
    if not barcode.isprintable():
        raise InputError(
            bam,
            f"the tag {tag} of a read is no text",
            "copy or make the file again",
            f"read {read.query_name}",
        )
    return barcode


def _write_group(out: pysam.BGZFile, name: str | None, start: int, group: Counter) -> int:
    for (end, barcode), count in sorted(group.items()):
        out.write(f"{name}\t{start}\t{end}\t{barcode}\t{count}\n".encode())
    return len(group)
