"""Chromosomes, global coordinates and memory-mapped sequence.

One coordinate is used between stages: the *global position*, the sum of the lengths of the
chromosomes before this one (order of ``chrom.sizes``) plus the 0-based position in it.
Chromosomes that have sequence come first, so that ``sequence.npy`` covers a prefix.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scbind.errors import InputError
from scbind.files import require

UNKNOWN = 4  # code of N; A, C, G, T are 0, 1, 2, 3


@dataclass(frozen=True)
class ChromSizes:
    """Names and lengths (bp) of the chromosomes, in file order, with their global offsets."""

    names: tuple[str, ...]
    lengths: np.ndarray  # int64, shape (chromosomes,)

    @classmethod
    def read(cls, path: str | Path) -> ChromSizes:
        """Read a two-column ``chrom.sizes``. Raises :class:`InputError` on a malformed line."""
        names, lengths = [], []
        require(path, "run the reference rule first")
        for number, line in enumerate(Path(path).read_text().splitlines(), 1):
            fields = line.split("\t")
            if len(fields) < 2 or not fields[1].isdigit():
                raise InputError(
                    path,
                    f"expected name<TAB>length, got {line!r}",
                    "write one chromosome per line",
                    f"line {number}",
                )
            names.append(fields[0])
            lengths.append(int(fields[1]))
        if len(set(names)) != len(names):
            raise InputError(path, "a chromosome is listed twice", "list each once")
        return cls(tuple(names), np.asarray(lengths, dtype=np.int64))

    @property
    def offsets(self) -> np.ndarray:
        """int64, shape (chromosomes + 1,): where each chromosome starts; the last is the total."""
        return np.concatenate([[0], np.cumsum(self.lengths)])

    @property
    def total(self) -> int:
        """Sum of all lengths in bp."""
        return int(self.lengths.sum())

    def index(self, name: str) -> int:
        """Position of a chromosome in the file order; ``KeyError`` if it is not there."""
        try:
            return self.names.index(name)
        except ValueError:
            raise KeyError(name) from None

    def as_dict(self) -> dict[str, int]:
        """Name to length, in file order."""
        return dict(zip(self.names, self.lengths.tolist(), strict=True))


@dataclass(frozen=True)
class Genome:
    """Sizes of all chromosomes and, for those with sequence, one code per base.

    ``codes`` is a read-only memory map, uint8, shape (sequenced bases,): A 0, C 1, G 2, T 3, other 4.
    """

    name: str
    sizes: ChromSizes
    codes: np.ndarray

    @classmethod
    def open(cls, folder: str | Path) -> Genome:
        """Open ``results/reference/{genome}`` without reading the sequence into memory."""
        folder = Path(folder)
        sizes = ChromSizes.read(folder / "chrom.sizes")
        codes = np.load(require(folder / "sequence.npy", "run the reference rule first"), mmap_mode="r")
        return cls(folder.name, sizes, codes)

    @property
    def n_sequenced(self) -> int:
        """Number of chromosomes (the first ones) that have sequence."""
        return int(np.searchsorted(self.sizes.offsets, len(self.codes), side="right") - 1)

    def window_codes(self, chrom: np.ndarray, start: np.ndarray, width: int) -> np.ndarray:
        """Gather sequence for many windows at once.

        ``chrom`` holds chromosome indices and ``start`` 0-based starts, both shape (windows,);
        starts may be negative and windows may pass an end: those bases are N. Returns uint8 of
        shape (windows, width).
        """
        chrom = np.asarray(chrom, dtype=np.int64)
        local = np.asarray(start, dtype=np.int64)[:, None] + np.arange(width)
        inside = (local >= 0) & (local < self.sizes.lengths[chrom][:, None])
        position = np.where(inside, local + self.sizes.offsets[chrom][:, None], 0)
        codes = self.codes[position]
        codes[~inside] = UNKNOWN
        return codes

    def known_lengths(self) -> np.ndarray:
        """Number of bases that are not N, per chromosome, int64; 0 without sequence."""
        known = np.zeros(len(self.sizes.names), dtype=np.int64)
        for index in range(self.n_sequenced):
            start, end = self.sizes.offsets[index : index + 2]
            known[index] = np.count_nonzero(self.codes[start:end] != UNKNOWN)
        return known
