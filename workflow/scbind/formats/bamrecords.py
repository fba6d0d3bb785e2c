"""Alignments of a BAM as arrays. One Python object per read, as in pysam, takes longer than decompressing the file.

numba compiles the loops over records. The layout of a record is that of the SAM specification, section 4.2.
"""

from __future__ import annotations

import array
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numba import njit

BLOCK = 2 << 20  # bytes that are inflated at a time
LEAST = 36  # bytes of a record with its size
FIELDS = ("contig", "start", "end", "flag", "mapq", "next_start", "span")
FORMS = {b"c": "b", b"C": "B", b"s": "h", b"S": "H", b"i": "i", b"I": "I", b"f": "f", b"d": "d"}
_ODD, _EVEN = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)  # multipliers of the two keys
_HALF = np.uint64(32)


class DamagedRecord(Exception):
    """The bytes at a place of a BAM are not a valid record."""


@dataclass(frozen=True)
class Alignments:
    """Some alignments, in the order of the file.

    Attributes
    ----------
    raw
        Bytes with all records: uint8.
    at
        Where each record begins in ``raw``: int64 (alignments,).
    fields
        int32 (``FIELDS``, alignments). Positions are 0-based, ``end`` is exclusive. Without a CIGAR, a read has one
        base.
    keys
        Two keys of the name of each, uint64 (2, alignments): equal only for equal names (128 bits).
    """

    raw: np.ndarray
    at: np.ndarray
    fields: np.ndarray
    keys: np.ndarray

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, which) -> Alignments:
        return Alignments(self.raw, self.at[which], self.fields[:, which], self.keys[:, which])

    def __getattr__(self, name: str) -> np.ndarray:
        if name not in FIELDS:
            raise AttributeError(name)
        return self.fields[FIELDS.index(name)]

    def name(self, row: int) -> str:
        """The name of one read."""
        begin = int(self.at[row]) + LEAST
        text = self.raw[begin : begin + int(self.raw[begin - 24])].tobytes()
        return text.partition(b"\0")[0].decode(errors="replace")

    def find_tag(self, tag: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Find a tag of each alignment.

        Returns where its type is in ``raw``, or -1 for alignments without it: int64 (alignments,); where its value
        ends, int64 (alignments,); and keys as of names, of the bytes of the value, uint64 (2, alignments).
        """
        first, second = tag.encode().ljust(2, b"\0")[:2]
        return _find_tag(self.raw, self.at, first, second)

    def tag_value(self, kind: int, after: int) -> bytes:
        """The value of a tag whose type is at ``kind`` and whose value ends at ``after``; numbers as text."""
        code, value = self.raw[kind : kind + 1].tobytes(), self.raw[kind + 1 : after].tobytes()
        if code in (b"Z", b"H"):
            return value[:-1]
        if code == b"A":
            return value
        if code != b"B":
            return str(struct.unpack("<" + FORMS[code], value)[0]).encode()
        form = FORMS[value[:1]]
        number = len(value[5:]) // struct.calcsize(form)
        return str(array.array(form, struct.unpack(f"<{number}{form}", value[5:]))).encode()


def read_alignments(read, n_contigs: int) -> Iterator[Alignments]:
    """Yield the alignments of a BAM, some megabytes at a time.

    ``read(n)`` gives the next ``n`` bytes after the header, inflated, fewer only at the end; ``n_contigs``: number of
    contigs in the header. Raises :class:`DamagedRecord` at an invalid record, and at the end of a truncated file.
    """
    rest = b""
    while block := read(BLOCK):
        data = rest + block
        raw = np.frombuffer(data, dtype=np.uint8)
        most = len(raw) // LEAST
        at = np.empty(most, dtype=np.int64)
        fields, keys = np.empty((len(FIELDS), most), dtype=np.int32), np.empty((2, most), dtype=np.uint64)
        n, end, bad = _scan(raw, n_contigs, at, fields, keys)
        if bad:
            raise DamagedRecord("a record whose parts do not fit")
        rest = data[end:]
        if n:
            yield Alignments(raw, at[:n], fields[:, :n], keys[:, :n])
    if rest:
        raise DamagedRecord("the last record is cut off")


@njit(cache=True)
def _word(raw, at):
    return (
        np.int64(raw[at])
        | np.int64(raw[at + 1]) << 8
        | np.int64(raw[at + 2]) << 16
        | np.int64(np.int8(raw[at + 3])) << 24
    )


@njit(cache=True)
def _text_keys(raw, begin, end):
    """Two keys of the bytes from ``begin`` to ``end``."""
    first, second = np.uint64(end - begin), _EVEN
    place = begin
    while place < end:
        word = np.uint64(0)
        for byte in range(min(8, end - place)):
            word |= np.uint64(raw[place + byte]) << np.uint64(8 * byte)
        first = (first ^ word) * _ODD
        first ^= first >> _HALF
        second = (second + word) * _EVEN
        second ^= second >> _HALF
        place += 8
    return first, second


@njit(cache=True)
def _scan(raw, n_contigs, at, fields, keys):
    """Fill in the records of ``raw``; return their number, the end of the last complete one, and if one is invalid."""
    n, place, stop = 0, 0, len(raw)
    while place + 4 <= stop:
        after = place + 4 + _word(raw, place)
        if after < place + LEAST:
            return n, place, True
        if after > stop:
            break
        contig, start = _word(raw, place + 4), _word(raw, place + 8)
        l_name, operations = (
            np.int64(raw[place + 12]),
            np.int64(raw[place + 16]) | np.int64(raw[place + 17]) << 8,
        )
        l_seq, next_contig = _word(raw, place + 20), _word(raw, place + 24)
        cigar = place + LEAST + l_name
        if l_seq < 0 or l_name < 1 or cigar + 4 * operations + (l_seq + 1) // 2 + l_seq > after:
            return n, place, True
        if not (-1 <= contig < n_contigs and -1 <= next_contig < n_contigs):
            return n, place, True
        covered = 0
        for operation in range(cigar, cigar + 4 * operations, 4):
            code = raw[operation] & 15
            if code == 0 or code == 2 or code == 3 or code == 7 or code == 8:  # M, D, N, =, X
                covered += (_word(raw, operation) >> 4) & 0xFFFFFFF
        at[n] = place
        fields[0, n] = contig
        fields[1, n] = start
        fields[2, n] = start + max(covered, 1)
        fields[3, n] = np.int64(raw[place + 18]) | np.int64(raw[place + 19]) << 8
        fields[4, n] = raw[place + 13]
        fields[5, n] = _word(raw, place + 28)
        fields[6, n] = _word(raw, place + 32)
        keys[0, n], keys[1, n] = _text_keys(raw, place + LEAST, cigar)
        n += 1
        place = after
    return n, place, False


@njit(cache=True)
def _find_tag(raw, at, first, second):
    kind, end, keys = np.full(len(at), -1), np.zeros(len(at), np.int64), np.zeros((2, len(at)), np.uint64)
    for row in range(len(at)):
        place = at[row]
        stop = place + 4 + _word(raw, place)
        l_seq = _word(raw, place + 20)
        operations = np.int64(raw[place + 16]) | np.int64(raw[place + 17]) << 8
        tag = place + LEAST + np.int64(raw[place + 12]) + 4 * operations + (l_seq + 1) // 2 + l_seq
        while tag + 3 < stop:
            code = raw[tag + 2]
            width = _width(code)
            if code == 90 or code == 72:  # Z, H
                after = tag + 3
                while after < stop and raw[after]:
                    after += 1
                after += 1
            elif code == 66:  # B
                if tag + 8 > stop:
                    break
                number = _word(raw, tag + 4)
                width = _width(raw[tag + 3])
                after = tag + 8 + number * width if width and number >= 0 else stop + 1
            else:
                after = tag + 3 + width if width else stop + 1
            if after > stop:
                break
            if raw[tag] == first and raw[tag + 1] == second:
                kind[row], end[row] = tag + 2, after
                keys[0, row], keys[1, row] = _text_keys(raw, tag + 2, after)
                break
            tag = after
    return kind, end, keys


@njit(cache=True)
def _width(code):
    """Bytes of a number of a type: A c C, s S, i I f, d."""
    if code == 65 or code == 99 or code == 67:
        return 1
    if code == 115 or code == 83:
        return 2
    if code == 105 or code == 73 or code == 102:
        return 4
    return 8 if code == 100 else 0


@njit(cache=True)
def match_mates(keys, later):
    """Find the mate of each read among the reads before it.

    The mate is the read before it with the same name that still waits for a mate. A read without such a mate waits
    itself, if ``later`` says that its mate comes after it.

    ``keys``: of names, uint64 (2, reads); ``later``: bool (reads,). Returns the row of the mate, or -1: int64 (reads,);
    and whether a read still waits for its mate at the end: bool (reads,).
    """
    n = keys.shape[1]
    size = 4
    while size < 2 * n:
        size *= 2
    last = np.full(size, -1)  # part of a key -> the last read with this name that waits for a mate
    mate, waiting = np.full(n, -1), np.zeros(n, np.bool_)
    for row in range(n):
        slot = np.int64(keys[0, row] & np.uint64(size - 1))
        while last[slot] >= 0 and (
            keys[0, last[slot]] != keys[0, row] or keys[1, last[slot]] != keys[1, row]
        ):
            slot = (slot + 1) & (size - 1)
        other = last[slot]
        if other >= 0 and waiting[other]:
            mate[row], waiting[other] = other, False
        elif later[row]:
            last[slot], waiting[row] = row, True
    return mate, waiting
