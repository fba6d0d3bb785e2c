"""What else could explain a population: one donor, doublets, or a gain or loss of a part of the genome."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scbind.analysis.mixture import DonorMixture, separation
from scbind.core.runlog import say

MOST_OF_ONE_DONOR = (
    0.8  # fraction of cells of one donor from which there is a caution, if there are at least three donors
)
SEGMENT_PEAKS = 25  # minimum number of neighbouring peaks in a segment
SEGMENTS = 100  # maximum number of segments of the genome
CHANGE = 0.25  # change of log2 of the copies of a segment: one copy more or less in half of the cells
EXPLAINED = 0.5  # fraction of the separation that the segments explain
ONE_COPY = np.log2(1.5)  # log2 ratio of three copies in every cell
DRAWS = 100  # by chance; a segment must differ more than all segments in all of them
AT_ONCE = 25  # draws whose peaks are held in memory together


class Cautions:
    """Cautions about populations.

    Parameters
    ----------
    matrix, donor
        Open peaks, csr (cells, peaks), and donors of all cells.
    peaks
        Table of the peaks: ``chrom, start, end``, along the genome.
    """

    def __init__(self, matrix: sp.csr_matrix, peaks: pd.DataFrame, donor: np.ndarray):
        self.matrix, self.peaks, self.donor = matrix, peaks.reset_index(drop=True), donor
        self.segment = _segments(self.peaks["chrom"].to_numpy())
        number = len(self.segment)
        self.of_segment = sp.csr_matrix((np.ones(number), (self.segment, np.arange(number))))

    def of(self, found, part, row: dict) -> str:
        """Return the cautions about a population, joined by ``; ``. ``row`` is its row of the table so far.

        ``row["doublets"]`` is its text of :func:`scbind.formats.doubletgroups.doublet_groups`, or empty.
        """
        texts = []
        if len(np.unique(self.donor)) >= 3 and row["top_donor_share"] >= MOST_OF_ONE_DONOR:
            texts.append(f"{row['top_donor_share']:.0%} of its cells are of one donor")
        if row["doublets"]:
            texts.append(row["doublets"])
        if part.parent >= 0 and (copies := self._copies(found.tree[part.parent].rows, part.rows)):
            texts.append(copies)
        if texts:
            say(f"populations: {row['population']}: {'; '.join(texts)}")
        return "; ".join(texts)

    def _copies(self, whole: np.ndarray, rows: np.ndarray) -> str:
        """Return the caution about copy numbers: of segments that explain at least half of the separation, or empty.

        A segment counts if it differs by at least :data:`CHANGE`, and more than chance makes any segment differ: in
        random groups of the same size from the same donors, and among the peaks of the group in random order. If random
        groups differ by more than one copy more of two, the caution is that there are too few cells to tell.
        """
        inside = np.isin(whole, rows, assume_unique=True)
        mixture = DonorMixture(self.matrix[whole], self.donor[whole])
        seen, expected, steady = mixture.counts(inside[:, None])
        change = self._changes(seen * steady, expected * steady)[:, 0]
        if not (np.abs(change) >= CHANGE).any():
            return ""
        chance = max(
            self._random_cells(mixture, self.donor[whole], inside),
            self._random_order(seen * steady, expected * steady),
        )
        changed = np.abs(change) >= max(CHANGE, chance)
        if changed.any() and self._explain(mixture, inside, np.where(changed, change, 0), steady[:, 0]):
            return f"copy number of {self._named(change, changed)} (by chance: up to x{2**chance:.2f})"
        if chance > ONE_COPY:
            return f"too few cells to detect copy numbers (chance alone gives ratios up to {2**chance:.2f})"
        return ""

    def _explain(
        self, mixture: DonorMixture, inside: np.ndarray, change: np.ndarray, steady: np.ndarray
    ) -> bool:
        """Tell whether the segments separate the group at least half as well as all peaks do."""
        weight = np.where(steady, np.log(2) * change[self.segment], 0.0)
        root = np.sqrt(np.maximum(mixture.n_open, 1))
        expected = mixture.saturation.over_peaks(weight[:, None])[:, 0]
        segments = separation((mixture.cells @ weight - expected) / root, inside)
        return segments >= EXPLAINED * separation(mixture.scores(inside[:, None])[:, 0] / root, inside)

    def _changes(self, seen: np.ndarray, expected: np.ndarray) -> np.ndarray:
        """Return log2 of the density of each segment over that in the donors: float64 (segments, groups); median 0."""
        ratio = np.log2((self.of_segment @ seen + 1) / (self.of_segment @ expected + 1))
        return ratio - np.median(ratio, axis=0)

    def _random_cells(self, mixture: DonorMixture, donor: np.ndarray, inside: np.ndarray) -> float:
        """Return the largest change of a segment in random groups with the same number of cells per donor, as log2."""
        rng, largest = np.random.default_rng(0), 0.0
        donor = donor.astype(str)
        names, numbers = np.unique(donor[inside], return_counts=True)
        pools = [(np.flatnonzero(donor == name), n) for name, n in zip(names, numbers, strict=True)]
        for _ in range(0, DRAWS, AT_ONCE):
            groups = np.zeros((len(inside), AT_ONCE), dtype=bool)
            for column in range(AT_ONCE):
                for cells, n in pools:
                    groups[rng.choice(cells, n, replace=False), column] = True
            seen, expected, steady = mixture.counts(groups)
            change = self._changes(seen * steady, expected * steady)
            largest = max(largest, float(np.abs(change).max()))
        return largest

    def _random_order(self, seen: np.ndarray, expected: np.ndarray) -> float:
        """Return the largest change of a segment if the peaks of a group, (peaks, 1), are in random order, as log2."""
        rng, largest = np.random.default_rng(0), 0.0
        for _ in range(DRAWS):
            order = rng.permutation(len(seen))
            change = self._changes(seen[order], expected[order])
            largest = max(largest, float(np.abs(change).max()))
        return largest

    def _named(self, change: np.ndarray, changed: np.ndarray) -> str:
        """Name runs of changed segments of one direction, as ``chrom:start-end x1.5``."""
        sign, ratio, texts = np.where(changed, np.sign(change), 0), 2**change, []
        chrom = self.peaks["chrom"].to_numpy()[np.searchsorted(self.segment, np.arange(len(ratio)))]
        breaks = np.flatnonzero((np.diff(sign) != 0) | (chrom[1:] != chrom[:-1])) + 1
        for run in np.split(np.arange(len(ratio)), breaks):
            if sign[run[0]]:
                peaks = self.peaks[np.isin(self.segment, run)]
                place = f"{chrom[run[0]]}:{peaks['start'].min()}-{peaks['end'].max()}"
                texts.append(f"{place} x{ratio[run].mean():.2f}")
        return ", ".join(texts)


def _segments(chrom: np.ndarray) -> np.ndarray:
    """Cut every chromosome into segments of equally many peaks: int64 (peaks,), rising along the genome."""
    size = max(SEGMENT_PEAKS, -(-len(chrom) // SEGMENTS))
    parts, first = [], 0
    change = np.flatnonzero(chrom[1:] != chrom[:-1]) + 1
    for run in np.split(np.arange(len(chrom)), change):
        number = max(1, len(run) // size)
        parts.append(first + np.arange(len(run)) * number // max(len(run), 1))
        first += number
    return np.concatenate(parts)
