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
    secondary, supplementary, failed or below ``min_mapq`` are left out; duplicate flags are not
    looked at, because a tool unaware of barcodes may have set them. Only the left read of a pair is
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
        names = pd.Series(known, dtype=object)
        limit = names.map(sizes.as_dict())  # a contig that the genome lacks has none, so nothing lies inside
        waiting = None  # fragments of the last start, of which the next reads may have more
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
            found = _barcoded(bam, reads, barcode_tag)
            tagged += len(found)
            start = found["start"] + shift[0]
            found["end"] = found["start"] + found["span"] + shift[1]
            found["start"] = start
            inside = (start >= 0) & (start < found["end"]) & (found["end"] <= found["contig"].map(limit))
            found = found.loc[inside, ["contig", "start", "end", "barcode"]]
            if waiting is not None:
                found = pd.concat([waiting, found])
            if found.empty:
                continue
            last = found.iloc[-1]
            whole = (found["contig"] != last["contig"]) | (found["start"] != last["start"])
            written += _write(out, names, found[whole])
            waiting = found[~whole]
        if waiting is not None:
            written += _write(out, names, waiting)
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


def _barcoded(bam, reads: Alignments, tag: str) -> pd.DataFrame:
    """Return ``contig, start, span, barcode`` of the reads that have a barcode.

    Raises :class:`InputError` for a barcode that cannot stand in a field of a text file.
    """
    kind, after, keys = reads.find_tag(tag)
    rows = np.flatnonzero(kind >= 0)
    first, number = _different(keys[:, rows])
    first = rows[first]
    texts = []
    for row in first.tolist():
        try:
            text = reads.tag_value(int(kind[row]), int(after[row])).decode().strip()
        except UnicodeDecodeError:
            text = "\0"
        if not text.isprintable():
            raise InputError(
                bam,
                f"the tag {tag} of a read is no text",
                "copy or make the file again",
                f"read {reads.name(row)}",
            )
        texts.append(text)
    texts = np.array(texts, dtype=object)
    table = pd.DataFrame({"contig": reads.contig[rows], "start": reads.start[rows], "span": reads.span[rows]})
    table["barcode"] = texts[number] if len(texts) else ""
    none = np.array([is_no_barcode(text) for text in texts], dtype=bool)
    return table[~none[number]] if none.any() else table


def _different(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first place of each different pair of keys, and the number of the pair at each place, int64."""
    number, found = pd.factorize(keys[0])
    first = np.zeros(len(found), dtype=np.int64)
    first[number[::-1]] = np.arange(len(number))[::-1]
    if not np.array_equal(keys[1], keys[1][first][number]):
        _, first, number = np.unique(keys, axis=1, return_index=True, return_inverse=True)
    return first, number


def _write(out: pysam.BGZFile, names: pd.Series, found: pd.DataFrame) -> int:
    """Write fragments, sorted by place and barcode; those that are alike become one. Returns their number."""
    columns = ["contig", "start", "end", "barcode"]
    counts = found.groupby(columns, sort=True, observed=True).size().reset_index(name="count")
    counts["contig"] = counts["contig"].map(names)
    out.write(counts.to_csv(sep="\t", header=False, index=False).encode())
    return len(counts)
