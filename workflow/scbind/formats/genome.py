"""Chromosomes, global coordinates and memory-mapped sequence.

All steps use one coordinate, the *global position*: the 0-based position in a chromosome plus the
lengths of all chromosomes before it in ``chrom.sizes``. Chromosomes with sequence come first, so
``sequence.npy`` covers the first global positions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from scbind.core.errors import InputError
from scbind.core.files import map_npy, require

UNKNOWN = 4  # code of N; A, C, G, T are 0, 1, 2, 3
FULL = 255  # level of a mappability of 1
BLOCK = 1 << 22  # bases whose mappability is summed at a time

# Names of organelle DNA at UCSC, Ensembl, TAIR, SGD and RefSeq (human and mouse).
MITOCHONDRIAL = {"chrM", "ChrM", "chrMT", "chrmt", "MT", "M", "Mt", "Mito", "mitochondrion_genome", "MtDNA"}
MITOCHONDRIAL |= {"NC_012920.1", "NC_005089.1"}
PLASTID = {"Pt", "chrPt", "chrC", "ChrC", "Pltd", "plastid", "chloroplast"}
ORGANELLES = MITOCHONDRIAL | PLASTID


@dataclass(frozen=True)
class ChromSizes:
    """Names and lengths (bp) of the chromosomes, in file order, with their global offsets.

    Examples
    --------
    >>> sizes = ChromSizes(('chr1', 'chr2'), np.array([1000, 500]))
    >>> sizes.offsets.tolist(), sizes.total, sizes.index('chr2')
    ([0, 1000, 1500], 1500, 1)
    """

    names: tuple[str, ...]
    lengths: np.ndarray  # int64, shape (chromosomes,)

    @classmethod
    def read(cls, path: str | Path) -> ChromSizes:
        """Read the ``chrom.sizes`` of the prepared reference. Raises :class:`InputError` on a malformed line."""
        text = require(path, "run the reference rule first").read_text(encoding="utf-8", errors="replace")
        return cls.parse(path, enumerate(text.splitlines(), 1))

    @classmethod
    def parse(cls, path: str | Path, lines: Iterable[tuple[int, str]]) -> ChromSizes:
        """Make sizes from numbered lines: name and length, separated by tabs or spaces; empty lines are skipped.

        Raises :class:`InputError` on a malformed line and on a chromosome listed twice. ``path`` is for messages.
        """
        names, lengths = [], []
        for number, line in lines:
            fields = line.split()
            if not fields:
                continue
            if len(fields) < 2 or not re.fullmatch(r"[0-9]{1,15}", fields[1]):
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

    @cached_property
    def offsets(self) -> np.ndarray:
        """Global start of each chromosome, read-only int64 (chromosomes + 1,). The last entry is the total length."""
        offsets = np.concatenate([[0], np.cumsum(self.lengths)])
        offsets.flags.writeable = False
        return offsets

    @cached_property
    def nuclear(self) -> np.ndarray:
        """Which chromosomes belong to the nucleus: read-only bool (chromosomes,). Organelle DNA is told by its name.

        Organelle DNA has no nucleosomes and thousands of copies per cell, so its insertions say nothing about binding
        and would dominate the depth of a cell.
        """
        nuclear = np.array([name not in ORGANELLES for name in self.names], dtype=bool)
        nuclear.flags.writeable = False
        return nuclear

    @property
    def total(self) -> int:
        """Sum of all lengths in bp."""
        return int(self.lengths.sum())

    @cached_property
    def _place(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.names)}

    def index(self, name: str) -> int:
        """Return the index of a chromosome in file order; ``KeyError`` if it is unknown."""
        return self._place[name]

    def as_dict(self) -> dict[str, int]:
        """Name to length, in file order. Not to be altered."""
        return self._length

    @cached_property
    def _length(self) -> dict[str, int]:
        return dict(zip(self.names, self.lengths.tolist(), strict=True))


@dataclass(frozen=True)
class Genome:
    """Sizes of all chromosomes and, for those with sequence, one code per base.

    ``codes`` is a read-only memory map, uint8, shape (sequenced bases,): A 0, C 1, G 2, T 3, other 4. ``folder`` is
    ``results/reference/{genome}``.
    """

    name: str
    sizes: ChromSizes
    codes: np.ndarray
    folder: Path

    @classmethod
    def open(cls, folder: str | Path) -> Genome:
        """Open ``results/reference/{genome}`` without reading the sequence into memory."""
        folder = Path(folder)
        sizes = ChromSizes.read(folder / "chrom.sizes")
        codes = map_npy(folder / "sequence.npy", "run the reference rule again")
        return cls(folder.name, sizes, codes, folder)

    @property
    def n_sequenced(self) -> int:
        """Number of chromosomes (the first ones) that have sequence."""
        return int(np.searchsorted(self.sizes.offsets, len(self.codes), side="right") - 1)

    @property
    def sequenced(self) -> dict[str, int]:
        """Name to length (bp) of the chromosomes that have sequence, in file order."""
        return dict(list(self.sizes.as_dict().items())[: self.n_sequenced])

    @cached_property
    def mappability(self) -> np.ndarray:
        """Read-only memory map, uint8, shape (sequenced bases,): mappability times 255.

        The file exists only if the configuration names a bigWig of mappability. Raises :class:`InputError` if it is
        missing or of another genome.
        """
        path = self.folder / "mappability.npy"
        levels = map_npy(path, "set genome.mappability and run its rule")
        if levels.shape != self.codes.shape or levels.dtype != np.uint8:
            raise InputError(path, "made from another genome", "run its rule again")
        return levels

    def window_codes(self, chrom: np.ndarray, start: np.ndarray, width: int) -> np.ndarray:
        """Gather sequence for many windows at once.

        ``chrom`` holds chromosome indices and ``start`` 0-based starts, both shape (windows,).
        Windows may extend beyond either end of a chromosome; bases outside are N. Returns uint8 of
        shape (windows, width).
        """
        return self._gather(self.codes, UNKNOWN, chrom, start, width)

    def window_mappability(self, chrom: np.ndarray, start: np.ndarray, width: int) -> np.ndarray:
        """Gather the mappability of windows like :meth:`window_codes`: uint8 (windows, width), 0 beyond an end."""
        return self._gather(self.mappability, 0, chrom, start, width)

    def mean_mappability(self, chrom: np.ndarray, start: np.ndarray, width: int) -> np.ndarray:
        """Return the mean mappability of windows, float64 (windows,) within [0, 1].

        ``chrom`` and ``start`` as in :meth:`window_codes`, but sorted, and with windows inside their chromosome. The
        genome is read once, in blocks, even if windows overlap.
        """
        position = self.sizes.offsets[chrom] + start
        total = np.empty(len(position), dtype=np.int64)
        for low in range(0, len(self.mappability), BLOCK):
            here = slice(*np.searchsorted(position, [low, low + BLOCK]))
            if here.start < here.stop:
                block = self.mappability[low : low + BLOCK + width]
                before = np.concatenate([[0], np.cumsum(block, dtype=np.int64)])
                at = position[here] - low
                total[here] = before[at + width] - before[at]
        return total / (FULL * width)

    def _gather(self, per_base: np.ndarray, beyond: int, chrom, start, width: int) -> np.ndarray:
        chrom = np.asarray(chrom, dtype=np.int64)
        local = np.asarray(start, dtype=np.int64)[:, None] + np.arange(width)
        inside = (local >= 0) & (local < self.sizes.lengths[chrom][:, None])
        position = np.where(inside, local + self.sizes.offsets[chrom][:, None], 0)
        found = per_base[position]
        found[~inside] = beyond
        return found

    def known_lengths(self, regions: np.ndarray | None = None) -> np.ndarray:
        """Number of bases that are not N, per chromosome, int64; 0 without sequence and for organelle DNA.

        ``regions``: integer (regions, 2), global half-open, disjoint, each in one chromosome; only these are counted.
        """
        known = np.zeros(len(self.sizes.names), dtype=np.int64)
        offsets = self.sizes.offsets
        for start, end in np.stack([offsets[:-1], offsets[1:]], axis=1) if regions is None else regions:
            index = np.searchsorted(offsets, start, side="right") - 1
            known[index] += np.count_nonzero(self.codes[start:end] != UNKNOWN)
        return known * self.sizes.nuclear
