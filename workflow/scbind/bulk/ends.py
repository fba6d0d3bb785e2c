"""Read the ends of fragments, chromosome by chromosome, from the four formats of bulk ATAC-seq."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from scbind.core.errors import InputError
from scbind.formats.bam import PROPER, REVERSE, open_bam, usable
from scbind.formats.bamrecords import Alignments, match_mates
from scbind.formats.bigwig import _bigwig_chromosomes, expand_runs
from scbind.formats.fragments import iter_chromosomes
from scbind.formats.genome import ChromSizes

PAIRED = ("fragments", "bam")  # formats that record which two ends belong to one fragment
MIN_MAPQ = 30
# The sum of all steps up and down gives the mean length of the counted items: a few bp for single insertions, because
# counts of neighbouring bases differ by chance; 100 bp or more for fragments.
INSERTION_LENGTH, COVERAGE_LENGTH = 3, 50
ENOUGH_BASES = 1000  # minimum number of bases with values, or of steps, to estimate the length


class Ends(NamedTuple):
    """Fragment ends on one chromosome of one input: 0-based positions of starts and of last bases, int64, any order.

    ``of`` has one entry per start, then one per last base. In ``PAIRED`` formats it is the number of the fragment,
    uint32. In other formats it is a weight, float64, and no position occurs twice.
    """

    start: np.ndarray
    last: np.ndarray
    of: np.ndarray


def _from_fragments(path, sizes: ChromSizes, region) -> Iterator[tuple[str, Ends]]:
    for name, start, end in iter_chromosomes(path, sizes):
        if region is None or name == region[0]:
            number = np.arange(len(start), dtype=np.uint32)
            yield name, Ends(start, end - 1, np.concatenate([number, number]))


def _from_bam(path, sizes: ChromSizes, region) -> Iterator[tuple[str, Ends]]:
    current, ends = None, _BamEnds()
    with open_bam(path, sizes) as (blocks, known):
        wanted = [index for index, name in known.items() if not region or name == region[0]]
        for reads in blocks:
            reads = reads[usable(reads, MIN_MAPQ, False)]
            for index, first, last in _runs(reads.contig):
                if index not in wanted:
                    continue
                if index != current:
                    if current is not None:
                        yield known[current], ends.found()
                    current, ends = index, _BamEnds()
                ends.add(reads[first:last])
    if current is None:
        raise InputError(path, "no usable read in it", "give aligned, quality-scored reads")
    yield known[current], ends.found()


def _runs(values: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Yield each value of a sorted array, with the first and the last (exclusive) of its places."""
    edges = np.flatnonzero(np.diff(values)) + 1
    for first, last in zip([0, *edges], [*edges, len(values)], strict=True):
        if first < last:
            yield int(values[first]), int(first), int(last)


class _BamEnds:
    """Collects the 5' ends of the reads of one chromosome, with the number of the fragment of each."""

    def __init__(self):
        self.parts, self.reads = [], 0
        # Proper reads that await a mate: their keys, and their rows on the chromosome.
        self.waiting = np.zeros((2, 0), dtype=np.uint64), np.zeros(0, dtype=np.int64)

    def add(self, reads: Alignments) -> None:
        """Add reads. They must come sorted by position."""
        minus = (reads.flag & REVERSE) > 0
        # On the minus strand, the 5' end is the last base of the read.
        end = np.where(minus, reads.end - 1, reads.start)
        proper = np.flatnonzero(reads.flag & PROPER)
        old_keys, old_rows = self.waiting
        keys = np.concatenate([old_keys, reads.keys[:, proper]], axis=1)
        rows = np.concatenate([old_rows, proper + self.reads])
        later = (reads.next_start >= reads.start)[proper]
        other, waiting = match_mates(keys, np.concatenate([np.ones(len(old_rows), dtype=bool), later]))
        mate = np.full(len(reads), -1, dtype=np.int64)
        found = np.flatnonzero(other >= 0)
        mate[rows[found] - self.reads] = rows[other[found]]
        self.waiting = keys[:, waiting], rows[waiting]
        self.parts.append((end, minus, mate))
        self.reads += len(reads)

    def found(self) -> Ends:
        """Return the ends collected so far."""
        end, minus, mate = (np.concatenate(column) for column in zip(*self.parts, strict=True))
        paired = mate >= 0
        number = (np.cumsum(~paired) - 1).astype(np.uint32)
        number[paired] = number[mate[paired]]
        end = end.astype(np.int64)
        return Ends(end[~minus], end[minus], np.concatenate([number[~minus], number[minus]]))


def _from_bases(path, sizes: ChromSizes, region) -> Iterator[tuple[str, Ends]]:
    none = np.zeros(0, dtype=np.int64)
    for name, blocks in _bigwig_chromosomes(path, sizes, region):
        start, end, value = (np.concatenate(column) for column in zip(*blocks, strict=True))
        keep = value > 0
        start, end, value = start[keep], end[keep], value[keep]
        area = float((value * (end - start)).sum())
        # judged by runs of equal values, because a coverage would need 50 times the memory base by base
        if (end - start).sum() >= ENOUGH_BASES:
            change = np.where(start[1:] > end[:-1], value[1:] + value[:-1], np.abs(np.diff(value)))
            if 2 * area > COVERAGE_LENGTH * (change.sum() + value[0] + value[-1]):
                raise InputError(
                    path,
                    "values change as little from base to base as coverage does",
                    "set the format coverage if these are counts of fragments over each base",
                    name,
                )
        position, value = expand_runs(start, end, value)
        yield name, Ends(position, none, value)


def _from_coverage(path, sizes: ChromSizes, region) -> Iterator[tuple[str, Ends]]:
    for name, blocks in _bigwig_chromosomes(path, sizes, region):
        start, end, value = (np.concatenate(column) for column in zip(*blocks, strict=True))
        edge, where = np.unique(np.concatenate([start, end]), return_inverse=True)
        step = np.bincount(where, np.concatenate([value, -value]), minlength=len(edge))
        # bigWig holds float32: a tiny difference between two values is rounding noise, not a step.
        step[np.abs(step) <= 1e-5 * np.max(value, initial=0)] = 0
        area = float((value * (end - start)).sum())
        if len(edge) >= ENOUGH_BASES and 2 * area < INSERTION_LENGTH * np.abs(step).sum():
            raise InputError(
                path,
                "values are counts of single bases, not of fragments over each base",
                "set the format insertions",
                name,
            )
        up, down = step > 0, step < 0
        yield name, Ends(edge[up], edge[down] - 1, np.concatenate([step[up], -step[down]]))


READERS = {
    "fragments": _from_fragments,
    "bam": _from_bam,
    "insertions": _from_bases,
    "coverage": _from_coverage,
}  # each reader takes path, sizes and region, and yields (name, Ends) once per chromosome
