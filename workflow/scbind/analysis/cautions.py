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

    def of(self, found, part, row: dict) -> str:
        """Return the cautions about a population, joined by ``; ``. ``row`` is its row of the table so far.

        ``row["doublets"]`` is its text of :func:`scbind.formats.doubletgroups.doublet_groups`, or empty.
        """
        texts = []
        if len(np.unique(self.donor)) >= 3 and row["top_donor_share"] >= MOST_OF_ONE_DONOR:
            texts.append(f"{row['top_donor_share']:.0%} of its cells are of one donor")
        if row["doublets"]:
            texts.append(row["doublets"])
        if part.parent >= 0 and (region := self._copies(found.tree[part.parent].rows, part.rows)):
            texts.append(f"copy number of {region}")
        if texts:
            say(f"populations: {row['population']}: {'; '.join(texts)}")
        return "; ".join(texts)

    def _copies(self, whole: np.ndarray, rows: np.ndarray) -> str:
        """Return the segments whose copy number explains at least half of the separation; empty if none does."""
        inside = np.isin(whole, rows, assume_unique=True)
        mixture = DonorMixture(self.matrix[whole], self.donor[whole])
        ratio, steady = self._ratios(mixture, inside)
        changed = np.abs(np.log2(ratio)) >= CHANGE
        if not changed.any():
            return ""
        weight = np.where(steady & changed[self.segment], np.log(ratio)[self.segment], 0.0)
        root = np.sqrt(np.maximum(mixture.n_open, 1))
        segments = separation(
            (self.matrix[whole] @ weight) / root - root * (mixture.share.mean(axis=1) @ weight), inside
        )
        peaks = separation(mixture.scores(inside[:, None])[:, 0] / root, inside)
        return self._named(ratio, changed) if segments >= EXPLAINED * peaks else ""

    def _ratios(self, mixture: DonorMixture, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the density of each segment in the group over that in its donors; the median of the segments is 1.

        Only peaks that do not differ on their own are used. Also returns which peaks these are: bool (peaks,).
        """
        seen, expected = mixture.counts(inside)
        steady = mixture.unchanged(inside)
        number = self.segment.max() + 1
        ours = np.bincount(self.segment, seen * steady, number) + 1
        theirs = np.bincount(self.segment, expected * steady, number) + 1
        return ours / theirs / np.median(ours / theirs), steady

    def _named(self, ratio: np.ndarray, changed: np.ndarray) -> str:
        """Name runs of changed segments of one direction, as ``chrom:start-end x1.5``."""
        sign, texts = np.where(changed, np.sign(np.log(ratio)), 0), []
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
