"""Fragments of single cells from a BAM with barcodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pysam

from scbind.core.errors import InputError
from scbind.core.files import atomic
from scbind.core.runlog import say
from scbind.formats.bam import MATE_REVERSE, PROPER, REVERSE, open_bam, usable
from scbind.formats.bamrecords import Alignments
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
    secondary, supplementary, failed or below ``min_mapq`` are left out; duplicate flags are ignored, because a tool
    unaware of barcodes may have set them. Only the left read of a pair is
    used, so the output comes sorted, and some thousand pairs are held in memory.

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
        open_bam(bam, sizes) as (blocks, known),
        atomic(output) as scratch,
        pysam.BGZFile(str(scratch), "wb") as out,
    ):
        barcodes = _Barcodes(bam, barcode_tag)
        limit = np.full(
            max(known, default=0) + 2, -1, dtype=np.int64
        )  # nothing lies within an unknown contig
        for index, name in known.items():
            limit[index] = sizes.lengths[sizes.index(name)]
        waiting = np.zeros(
            (4, 0), dtype=np.int64
        )  # fragments of the last start, of which the next reads may have more
        for reads in blocks:
            left = usable(reads, min_mapq, duplicates=True) & (reads.span > 0)
            reads = reads[left & ((reads.flag & (PROPER | REVERSE | MATE_REVERSE)) == PROPER | MATE_REVERSE)]
            if not len(reads):
                continue
            if not paired:
                other = ", ".join(
                    tag for tag in OTHER_TAGS if tag != barcode_tag and _has_tag(reads[:1], tag)
                )
            paired += len(reads)
            barcode = barcodes.of(reads)
            tagged += int((barcode >= 0).sum())
            start, contig = reads.start + shift[0], reads.contig
            end = reads.start + reads.span.astype(np.int64) + shift[1]
            inside = (barcode >= 0) & (start >= 0) & (start < end)
            inside &= end <= limit[np.minimum(contig, len(limit) - 1)]
            found = np.concatenate([waiting, np.stack([contig, start, end, barcode])[:, inside]], axis=1)
            same = (found[:2] == found[:2, -1:]).all(axis=0)
            written += _write(out, known, barcodes.texts, found[:, ~same])
            waiting = found[:, same]
        written += _write(out, known, barcodes.texts, waiting)
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


def _has_tag(reads: Alignments, tag: str) -> bool:
    return reads.find_tag(tag)[0][0] >= 0


class _Barcodes:
    """The barcodes of a BAM, numbered in the order in which they are found."""

    def __init__(self, bam, tag: str):
        self.bam, self.tag = bam, tag
        self.texts: list[str] = []
        self.numbers: dict[
            str, int
        ] = {}  # by text: two spellings, with a space at the end or of another type, are one
        self.known: dict[
            tuple[int, int], int
        ] = {}  # by the keys of the tag; -1 for what stands for no barcode

    def of(self, reads: Alignments) -> np.ndarray:
        """The number of the barcode of each read, int64 (reads,); -1 for none.

        Raises :class:`InputError` for a barcode that cannot stand in a field of a text file.
        """
        kind, after, keys = reads.find_tag(self.tag)
        number = np.full(len(reads), -1, dtype=np.int64)
        rows = np.flatnonzero(kind >= 0)
        first, place = _different(keys[:, rows])
        found = np.zeros(len(first), dtype=np.int64)
        for which, (row, key) in enumerate(
            zip(rows[first].tolist(), zip(*keys[:, rows[first]].tolist(), strict=True), strict=True)
        ):
            if key not in self.known:
                self.known[key] = self._number(reads, row, int(kind[row]), int(after[row]))
            found[which] = self.known[key]
        number[rows] = found[place]
        return number

    def _number(self, reads: Alignments, row: int, kind: int, after: int) -> int:
        try:
            text = reads.tag_value(kind, after).decode().strip()
        except UnicodeDecodeError:
            text = "\0"
        if not text.isprintable():
            raise InputError(
                self.bam,
                f"the tag {self.tag} of a read is not text",
                "copy or make the file again",
                f"read {reads.name(row)}",
            )
        if is_no_barcode(text):
            return -1
        number = self.numbers.setdefault(text, len(self.texts))
        if number == len(self.texts):
            self.texts.append(text)
        return number


def _different(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first place of each different pair of keys, and the number of the pair at each place, int64."""
    number, found = pd.factorize(keys[0])
    first = np.zeros(len(found), dtype=np.int64)
    first[number[::-1]] = np.arange(len(number))[::-1]
    if not np.array_equal(keys[1], keys[1][first][number]):
        _, first, number = np.unique(keys, axis=1, return_index=True, return_inverse=True)
    return first, number


def _write(out: pysam.BGZFile, names: dict[int, str], texts: list[str], found: np.ndarray) -> int:
    """Write fragments, sorted by position and barcode; those that are alike become one. Returns their number.

    ``found``: contig, start, end, number of the barcode; int64 (4, pairs), sorted by the first two.
    """
    if not found.shape[1]:
        return 0
    rows = found[:, np.lexsort(found[::-1])]
    begin = np.flatnonzero(np.r_[True, (np.diff(rows, axis=1) != 0).any(axis=0)])
    rows, count = rows[:, begin], np.diff(np.r_[begin, rows.shape[1]])
    tied = (np.diff(rows[:3], axis=1) == 0).all(axis=0)
    if tied.any():  # only there does the order of barcodes matter
        tied = np.r_[False, tied] | np.r_[tied, False]
        used, place = np.unique(rows[3, tied], return_inverse=True)
        rank = np.zeros(rows.shape[1], dtype=np.int64)
        rank[tied] = np.argsort(np.argsort([texts[each].encode() for each in used]))[place]
        order = np.lexsort([rank, *rows[2::-1]])
        rows, count = rows[:, order], count[order]
    lines = [
        f"{names[contig]}\t{start}\t{end}\t{texts[barcode]}\t{n}\n"
        for contig, start, end, barcode, n in zip(*rows.tolist(), count.tolist(), strict=True)
    ]
    out.write("".join(lines).encode())
    return len(lines)
