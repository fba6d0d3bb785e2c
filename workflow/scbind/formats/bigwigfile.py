"""Read the bytes of a bigWig (Kent et al. 2010, Bioinformatics, supplement), with every offset and count checked.

The library behind pyBigWig trusts offsets and counts in the file: a damaged file crashes the process, or returns memory
outside the file. Therefore pyBigWig is used only for writing. Zoom levels are not read.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np

MAGIC, BIGBED, TREE, INDEX = 0x888FFC26, 0x8789F2EB, 0x78CA8C91, 0x2468ACE0
SECTION = struct.Struct("<5IBBH")  # chromosome, start, end, step, span, form, reserved, number of items
LARGEST = SECTION.size + 65_535 * 12  # bytes of an unpacked section
LEAF = np.dtype(
    [(name, "<u4") for name in ("chrom", "start", "last_chrom", "end")] + [("at", "<u8"), ("size", "<u8")]
)
BRANCH = np.dtype(LEAF.descr[:5])
ENTRIES = {  # form of a section -> its items
    1: np.dtype([("start", "<u4"), ("end", "<u4"), ("value", "<f4")]),
    2: np.dtype([("start", "<u4"), ("value", "<f4")]),
    3: np.dtype([("value", "<f4")]),
}


class Damaged(ValueError):
    """The bytes contradict the format; the message says what is wrong."""


class BigWigFile:
    """An open bigWig. Raises :class:`Damaged` if it is none, or :class:`OSError` if it cannot be opened.

    ``chroms``: name -> length in bp, in the order of the file.
    """

    def __init__(self, path: str | Path):
        self._handle = open(path, "rb")
        try:
            self._size = os.fstat(self._handle.fileno()).st_size
            self._open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._handle.close()

    def _open(self) -> None:
        magic, _, _, tree, self._data, self._index, *_, packed = struct.unpack(
            "<IHHQQQHHQQI", self._read(0, 56)
        )
        if magic != MAGIC:
            raise Damaged("a bigBed" if magic == BIGBED else "the first bytes are not those of a bigWig")
        self._packed = packed > 0
        self._leaves: np.ndarray | None = None
        found = self._chromosomes(tree)
        self.chroms = {name: length for _, name, length in sorted(found)}
        self._number = {name: number for number, name, _ in found}
        if len(self._number) != len(found):
            raise Damaged("a chromosome is listed twice")

    def intervals(self, name: str, low: int, high: int) -> np.ndarray:
        """Entries that share a base with ``[low, high)``: float64 (entries, 3), start, end (0-based half-open), value.

        In the order of the file and not cut to the range, but to the chromosome. Raises :class:`Damaged` where the
        file is.
        """
        chrom, length = self._number[name], self.chroms[name]
        if self._leaves is None:
            self._leaves = self._all_leaves()
            self._of: dict[int, np.ndarray] = {}
        if chrom not in self._of:
            here = (self._leaves["chrom"] <= chrom) & (self._leaves["last_chrom"] >= chrom)
            self._of = {chrom: self._leaves[here]}
        leaves = self._of[chrom]
        before = (leaves["chrom"] < chrom) | (leaves["start"] < high)
        after = (leaves["last_chrom"] > chrom) | (leaves["end"] > low)
        parts = [np.zeros((0, 3))]
        for leaf in leaves[before & after]:
            entries = self._section(leaf, chrom)
            if len(entries) and (entries[:, 1] < entries[:, 0]).any():
                raise Damaged("an entry ends before its start")
            entries[:, 1] = np.minimum(entries[:, 1], length)
            parts.append(entries[(entries[:, 0] < high) & (entries[:, 1] > np.maximum(low, entries[:, 0]))])
        return np.concatenate(parts)

    def _read(self, at: int, size: int) -> bytes:
        if not 0 <= at <= at + size <= self._size:
            raise Damaged("it points beyond its end; it may be truncated")
        found = os.pread(self._handle.fileno(), size, at)
        if len(found) != size:
            raise Damaged("it is truncated")
        return found

    def _items(self, root: int, leaf: np.dtype, branch: np.dtype, numbers: tuple[int, ...]) -> np.ndarray:
        """Return the items of the leaves of a tree, in order; their number has to be one of ``numbers``."""
        waiting, seen, parts, room = [root], set(), [np.zeros(0, leaf)], self._size
        while waiting:
            at = waiting.pop()
            if at in seen:
                raise Damaged("an index leads back to itself")
            seen.add(at)
            is_leaf, _, count = struct.unpack("<BBH", self._read(at, 4))
            kind = leaf if is_leaf else branch
            room -= count * kind.itemsize
            if room < 0:
                raise Damaged("an index is larger than the file")
            items = np.frombuffer(self._read(at + 4, count * kind.itemsize), kind)
            if is_leaf:
                parts.append(items)
            else:
                waiting += items["at"][::-1].tolist()
        found = np.concatenate(parts)
        if len(found) not in numbers:
            raise Damaged(f"an index has {len(found)} items, but {numbers[0]} are announced")
        return found

    def _chromosomes(self, at: int) -> list[tuple[int, str, int]]:
        magic, _, key, value, number, _ = struct.unpack("<4I2Q", self._read(at, 32))
        if magic != TREE or value != 8 or not 0 < key < self._size:
            raise Damaged("no list of chromosomes")
        leaf = np.dtype([("name", f"V{key}"), ("chrom", "<u4"), ("length", "<u4")])
        branch = np.dtype([("name", f"V{key}"), ("at", "<u8")])
        found = []
        for name, chrom, length in self._items(at + 32, leaf, branch, (number,)).tolist():
            try:
                found.append((chrom, bytes(name).rstrip(b"\0").decode(), length))
            except UnicodeDecodeError as error:
                raise Damaged("the name of a chromosome is not text") from error
        return found

    def _all_leaves(self) -> np.ndarray:
        magic, _, number = struct.unpack("<2IQ", self._read(self._index, 16))
        if magic != INDEX:
            raise Damaged("no index")
        sections = struct.unpack("<I", self._read(self._data, 4))[0]  # tools differ in what they count above
        return self._items(self._index + 48, LEAF, BRANCH, (number, sections))

    def _section(self, leaf: np.void, chrom: int) -> np.ndarray:
        """Entries of a section, float64 (entries, 3), none if it belongs to another chromosome."""
        # a wrong size must not read the rest of a large file; packing adds at most a few hundred bytes
        data = self._read(int(leaf["at"]), min(int(leaf["size"]), LARGEST + 4096))
        if self._packed:
            stream = zlib.decompressobj()
            try:
                data = stream.decompress(data, LARGEST + 1)
            except zlib.error as error:
                raise Damaged("packed data are damaged") from error
            if not stream.eof:
                raise Damaged("packed data are damaged")
        if len(data) < SECTION.size:
            raise Damaged("a section is too short")
        of, first, _, step, span, form, _, number = SECTION.unpack_from(data)
        if form not in ENTRIES or len(data) < SECTION.size + number * ENTRIES[form].itemsize:
            raise Damaged("a section is too short, or of an unknown form")
        if of != chrom:
            if leaf["chrom"] == leaf["last_chrom"]:
                raise Damaged("a section is of another chromosome than its index says")
            return np.zeros((0, 3))
        items = np.frombuffer(data, ENTRIES[form], number, SECTION.size)
        entries = np.empty((number, 3))
        entries[:, 0] = items["start"] if form < 3 else first + step * np.arange(number, dtype=np.float64)
        entries[:, 1] = items["end"] if form == 1 else entries[:, 0] + span
        entries[:, 2] = items["value"]
        return entries
