"""Fragments of pseudobulks: the pieces of a type from its samples, merged as streams.

A piece is a Parquet file of :mod:`scbind.peaks.splitting`. Each of its row groups holds at most ``ROWS`` fragments of
one chromosome, in the order of the fragments file. Merging holds one row group of each sample in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pysam

from scbind.core.files import atomic, damage_errors, require
from scbind.core.runlog import say
from scbind.formats.genome import ChromSizes

ROWS = 1 << 15
AGAIN = "split the sample again"
PIECE = pa.schema([(name, pa.int32()) for name in ("chrom", "start", "end", "barcode", "count")])
LINES = pacsv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")


def merge_pieces(pieces: list[str | Path], sizes_path: str | Path, output: str | Path) -> None:
    """Merge pieces of one type into one fragments file.

    Parameters
    ----------
    pieces
        Files of :func:`scbind.peaks.splitting.split_sample`, one per sample.
    output
        BGZF, five columns, sorted by chromosome (in genome order), start, end and barcode. Barcodes are
        ``sample#barcode``. The tabix index (``.tbi``) is written beside it. Memory holds ``ROWS`` rows (about 1 MB)
        of each piece, and the names of the cells.

    Raises
    ------
    InputError
        If a piece is missing or damaged.
    """
    sizes = ChromSizes.read(sizes_path)
    opened = [_Piece(path) for path in pieces]
    names = np.unique(np.concatenate([piece.names for piece in opened]))
    ranks = [np.searchsorted(names, piece.names).astype(np.int32) for piece in opened]
    total = 0
    with atomic(f"{output}.tbi") as index, atomic(output) as scratch:
        with pysam.BGZFile(str(scratch), "wb") as out:
            for code, chrom in enumerate(sizes.names):
                for block in _merged(
                    [piece.stream(code, rank) for piece, rank in zip(opened, ranks, strict=True)]
                ):
                    total += block.shape[1]
                    _write_rows(out, chrom, block, names)
        pysam.tabix_index(str(scratch), preset="bed", index=str(index), keep_original=True)
    say(f"{total} fragments of {len(names)} cells from {len(pieces)} samples")


class _Piece:
    """One piece: its barcodes, and its row groups by chromosome. The file is open only during reads."""

    def __init__(self, path):
        self.path = require(path, AGAIN)
        self.groups: dict[int, list[int]] = {}
        with damage_errors(path, AGAIN):
            with pq.ParquetFile(path) as file:
                self.metadata = file.metadata
                listed = file.schema_arrow.metadata[b"barcodes"].decode()
            for group in range(self.metadata.num_row_groups):
                code = self.metadata.row_group(group).column(0).statistics.min
                self.groups.setdefault(code, []).append(group)
        self.names = np.array(listed.split("\n"), dtype=object)

    def stream(self, code: int, rank: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the fragments of one chromosome in blocks, int32 (4, rows): start, end, rank of the barcode, count."""
        for group in self.groups.get(code, []):
            with (
                damage_errors(self.path, AGAIN),
                pq.ParquetFile(self.path, metadata=self.metadata) as file,
            ):
                table = file.read_row_group(group)
                start, end, barcode, count = (column.to_numpy() for column in table.columns[1:])
                block = np.stack([start, end, rank[barcode], count])
            yield block


def _merged(streams: list[Iterator[np.ndarray]]) -> Iterator[np.ndarray]:
    """Merge streams of blocks, each stream sorted by start, into one stream sorted by start, end and barcode."""
    nothing = np.empty((4, 0), dtype=np.int32)
    held = [next(stream, nothing) for stream in streams]
    live = [number for number, block in enumerate(held) if block.shape[1]]
    while live:
        # Fragments that start before every unread fragment can be written.
        last = {number: held[number][0, -1] for number in live}
        limit = min(last.values())
        cuts = [np.searchsorted(block[0], limit) for block in held]
        yield from _sorted([block[:, :cut] for block, cut in zip(held, cuts, strict=True)])
        held = [block[:, cut:] for block, cut in zip(held, cuts, strict=True)]
        for number in [number for number in live if last[number] == limit]:
            block = next(streams[number], None)
            if block is None:
                live.remove(number)
            else:
                held[number] = np.concatenate([held[number], block], axis=1)
    yield from _sorted(held)


def _sorted(blocks: list[np.ndarray]) -> Iterator[np.ndarray]:
    if any(block.shape[1] for block in blocks):
        block = np.concatenate(blocks, axis=1)
        yield block[:, np.lexsort(block[2::-1])]


def _write_rows(out: pysam.BGZFile, chrom: str, block: np.ndarray, names: np.ndarray) -> None:
    start, end, rank, count = block
    used, code = np.unique(rank, return_inverse=True)
    barcode = pa.DictionaryArray.from_arrays(code.astype(np.int32), pa.array(names[used], pa.string()))
    where = pa.DictionaryArray.from_arrays(np.zeros(len(start), dtype=np.int32), [chrom])
    buffer = pa.BufferOutputStream()
    pacsv.write_csv(pa.table([where, start, end, barcode, count], names=PIECE.names), buffer, LINES)
    out.write(buffer.getvalue().to_pybytes())
