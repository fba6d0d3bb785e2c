"""Prepare the reference: compressed, indexed FASTA, chromosome sizes, base codes, and the exclusion list."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
import pysam

from scbind.core.errors import InputError
from scbind.core.files import atomic, begin_npy, write_bed
from scbind.core.runlog import say
from scbind.formats.genome import UNKNOWN, ChromSizes
from scbind.formats.inputs import open_plain, read_lines
from scbind.formats.intervals import read_bed
from scbind.formats.names import TEXT, refuse_other_style

# Code of each byte: 0 to 3 for bases in either case, 4 for other nucleotide letters (IUPAC), 255 for other bytes.
CODES = np.full(256, 255, dtype=np.uint8)
CODES[np.frombuffer(b"RYSWKMBDHVNUryswkmbdhvnu", dtype=np.uint8)] = UNKNOWN
for code, letters in enumerate((b"Aa", b"Cc", b"Gg", b"Tt")):
    CODES[np.frombuffer(letters, dtype=np.uint8)] = code
SEQUENCE = re.compile(rb"\n[^>\s]")  # begin of a line of sequence
BLOCK = 16 << 20  # bytes
# BGZF of level 1. The default level takes ten times as long for a FASTA, and saves an eighth of its size.
FASTEST = "w1"


def prepare_reference(
    fasta: str | Path,
    fasta_out: str | Path,
    sizes_out: str | Path,
    codes_out: str | Path,
    exclude_out: str | Path,
    exclude: str | Path | None = None,
    chrom_sizes: str | Path | None = None,
) -> None:
    """Write the genome files that every other step reads.

    Parameters
    ----------
    fasta
        FASTA; plain, gzip or BGZF.
    fasta_out
        FASTA in BGZF (``.fa.gz``), a quarter of the plain size. Its indices ``.fai`` and ``.gzi`` are written beside
        it.
    sizes_out
        ``name<TAB>length``: chromosomes with sequence in FASTA order, then the others.
    codes_out
        ``.npy``, uint8, shape (sequenced bases,): A 0, C 1, G 2, T 3, other 4. Written chromosome by chromosome.
    exclude_out
        BED, merged and in genome order: ``exclude`` and organelle DNA (:attr:`ChromSizes.nuclear`).
    exclude
        BED of regions to leave out, e.g. the ENCODE exclusion list (Amemiya et al. 2019). Regions on chromosomes
        outside the genome are ignored. A region that extends beyond its chromosome is cut or dropped, with a warning.
    chrom_sizes
        ``name<TAB>length``. It may list chromosomes without sequence. Lengths of chromosomes with sequence must agree
        with the FASTA.

    Raises
    ------
    InputError
        If a file is missing, empty, truncated or malformed, a chromosome occurs twice, lengths disagree, or
        chromosome names do not match. No output is written then.
    """
    outputs = (fasta_out, f"{fasta_out}.fai", f"{fasta_out}.gzi", sizes_out, codes_out, exclude_out)
    with ExitStack() as stack:
        *indexed, sizes_file, codes_file, exclude_file = (
            stack.enter_context(atomic(output)) for output in outputs
        )
        n_headers = _compress(fasta, indexed[0])
        lengths = _index(fasta, *indexed)
        if n_headers != len(lengths):
            # The index omits empty sequences and repeated names.
            raise InputError(fasta, "a sequence is empty or its name occurs twice", "remove or rename it")
        sizes_file.write_text("".join(f"{name}\t{length}\n" for name, length in lengths.items()))
        if chrom_sizes is not None:
            for name, length in _extra(chrom_sizes, fasta, lengths).items():
                with open(sizes_file, "a") as handle:
                    handle.write(f"{name}\t{length}\n")
        sizes = ChromSizes.read(sizes_file)
        _write_codes(fasta, indexed, codes_file, lengths)
        organelles = np.asarray(sizes.names, dtype=object)[~sizes.nuclear]
        excluded = pd.DataFrame({"chrom": organelles, "start": 0, "end": sizes.lengths[~sizes.nuclear]})
        if exclude is not None:
            excluded = pd.concat([excluded, read_bed(exclude, sizes, clip=True)], ignore_index=True)
        merged = _merge(excluded, sizes)
        write_bed(exclude_file, merged)
        if merged.empty:
            exclude_file.write_text("")
        if len(organelles):
            say(f"organelle DNA has no windows and does not count as depth: {', '.join(organelles)}")
        bases = sum(lengths.values())
        say(f"{len(sizes.names)} chromosomes, {bases} bp sequenced, {len(merged)} excluded regions")


def _compress(fasta, target: Path) -> int:
    """Write a FASTA as BGZF. Return the number of its headers."""
    with open_plain(fasta, "give a FASTA file") as source, pysam.BGZFile(str(target), FASTEST) as out:
        block = source.read(BLOCK).lstrip()
        if not block.startswith(b">"):
            raise InputError(fasta, "does not begin with '>'", "give a FASTA file", "line 1")
        before, n_headers, has_sequence = b"\n", 0, False
        while block:
            out.write(block)
            n_headers += (before + block).count(b"\n>")
            has_sequence = has_sequence or SEQUENCE.search(before + block) is not None
            before, block = block[-1:], source.read(BLOCK)
        if not has_sequence:
            remedy = "give a FASTA file with a line feed after each line"
            raise InputError(fasta, "no sequence follows its headers", remedy)
    return n_headers


def _index(fasta, compressed: Path, index: Path, blocks: Path) -> dict[str, int]:
    """Index the compressed FASTA: ``.fai``, and ``.gzi`` of its blocks. Return name -> length in file order."""
    try:
        pysam.faidx(str(compressed), "--fai-idx", str(index), "--gzi-idx", str(blocks))
    except pysam.SamtoolsError as error:
        detail = str(error).strip().strip("'\"").splitlines()[0]
        raise InputError(
            fasta,
            f"cannot be indexed ({detail})",
            "give all lines of a sequence one length, and each its own name",
        ) from error
    try:
        rows = [line.split("\t") for line in index.read_text(encoding="utf-8").split("\n") if line]
    except UnicodeDecodeError as error:
        raise InputError(
            fasta, "the name of a sequence is not UTF-8", "rename it, or save as UTF-8"
        ) from error
    if any(not row[0] for row in rows):
        raise InputError(fasta, "a sequence has no name", "write a name after each '>'")
    return {row[0]: int(row[1]) for row in rows}


def _extra(chrom_sizes, fasta, lengths: dict[str, int]) -> dict[str, int]:
    """Return the chromosomes that only ``chrom_sizes`` lists; :class:`InputError` if it contradicts the FASTA."""
    lines = read_lines(chrom_sizes, "give name<TAB>length, one chromosome per line")
    listed = ChromSizes.parse(chrom_sizes, lines).as_dict()
    sequenced = ChromSizes(tuple(lengths), np.array(list(lengths.values()), dtype=np.int64))
    refuse_other_style(chrom_sizes, listed, sequenced, "bp", TEXT)
    for name, length in listed.items():
        if lengths.get(name, length) != length:
            raise InputError(
                chrom_sizes,
                f"length {length} differs from the {lengths[name]} bp in {fasta}",
                "use the sizes of the same assembly",
                name,
            )
    return {name: length for name, length in listed.items() if name not in lengths}


def _write_codes(fasta, indexed: list[Path], target: Path, lengths: dict[str, int]) -> None:
    compressed, index, blocks = map(str, indexed)
    with (
        pysam.FastaFile(compressed, filepath_index=index, filepath_index_compressed=blocks) as handle,
        open(target, "wb") as codes,
    ):
        begin_npy(codes, np.dtype(np.uint8), (sum(lengths.values()),))
        for name in lengths:
            sequence = CODES[np.frombuffer(handle.fetch(name).encode(), dtype=np.uint8)]
            if (sequence == 255).any():
                place = int(np.argmax(sequence == 255))
                raise InputError(fasta, "not a nucleotide letter", "give a DNA FASTA file", f"{name}:{place}")
            codes.write(sequence.tobytes())


def _merge(table: pd.DataFrame, sizes: ChromSizes) -> pd.DataFrame:
    """Sort intervals in the order of the genome and join those that overlap or touch."""
    import pyranges

    if table.empty:
        return table
    ranges = pyranges.PyRanges(table.set_axis(["Chromosome", "Start", "End"], axis=1))
    merged = ranges.merge().df.set_axis(["chrom", "start", "end"], axis=1)
    rank = pd.Index(sizes.names).get_indexer(merged["chrom"].astype(str))
    return merged.iloc[np.lexsort((merged["start"], rank))]
