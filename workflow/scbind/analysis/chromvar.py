"""chromVAR's deviations for the same cells, as a baseline for TF activity: motif matches and counts, without a network.

The method is that of Schep et al. 2017 (Nature Methods 14:975) and of the R package chromVAR 1.x: the deviation of a
cell's insertions in peaks with a motif from the expected number, minus that in background peaks of similar GC content
and mean accessibility, divided by the standard deviation over draws of these. The package itself is R; its ports to
Python are not maintained.
"""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

from scbind.analysis.enrichment import hit_threshold
from scbind.core.errors import InputError
from scbind.core.files import atomic
from scbind.core.progress import Progress
from scbind.core.runlog import say
from scbind.formats.celltable import open_rows, read_borrow, read_obs, read_var
from scbind.formats.genome import UNKNOWN, Genome
from scbind.formats.motifs import read_motifs, scan_all

MAKER = "the peak matrix"
P_HIT = 5e-5  # of a match, as motifmatchr (p.cutoff)
DRAWS = 50  # background peaks of a peak (niterations)
GRID, WIDTH = (
    50,
    0.1,
)  # bins per axis, and sd of the weight of a bin by distance (bs, w of getBackgroundPeaks)
CELLS = 1_000  # rows of the matrix at a time
PEAKS = 20_000  # scanned at a time
FEWEST = 50  # peaks; with fewer there is no background


def chromvar_deviations(
    peaks: str | Path,
    lenders: str | Path,
    reference_dir: str | Path,
    motifs: str | Path,
    output: str | Path,
    seed: int = 0,
) -> None:
    """Write the deviations of every cell of a sample for every TF with a matrix.

    They are computed twice: from the cell's own insertions, as chromVAR does, and with those that it borrows, as scbind
    does. This separates the gain from borrowing from the gain from the network.

    Memory holds the peaks, and the counts of ``CELLS`` cells and of their lenders. Time is proportional to the
    insertions in peaks, the number of TFs and ``DRAWS``.

    Parameters
    ----------
    peaks, lenders
        ``results/cells/{sample}/peaks.h5ad`` and ``lenders.h5ad``.
    reference_dir, motifs
        ``results/reference/{genome}`` and ``motifs.npz``.
    output
        ``.h5ad`` with the cells of ``peaks`` in the same order; ``X`` float32 (cells, TFs), the z-scores; layer
        ``borrowed``, the z-scores with borrowed insertions. NaN where a TF has no match in a peak with insertions.
    seed
        Of the draws of background peaks.

    Raises
    ------
    InputError
        If a file is missing or damaged, or they have other cells.

    Notes
    -----
    If no matrix is known, or there are fewer than ``FEWEST`` peaks with insertions on chromosomes with sequence, the
    file has no TF, and the log says so.
    """
    matrices = read_motifs(motifs)
    genome, obs = Genome.open(reference_dir), read_obs(peaks, maker=MAKER)
    weights = _weights(lenders, obs.index, peaks)
    rows = open_rows(peaks, MAKER)
    total, per_cell = _sums(rows)
    place = _places(peaks, genome)
    used = np.flatnonzero((total > 0) & (place["chrom"].to_numpy() >= 0))
    if len(used) < FEWEST or not len(obs):
        say(
            f"chromVAR: {len(obs)} cells and {len(used)} peaks with insertions are too few, so no TF has a value"
        )
        matrices = {}
    model = _Deviations.of_peaks(total[used], genome, place.iloc[used], matrices, seed) if matrices else None
    own, borrowed = (np.empty((len(obs), len(matrices)), dtype=np.float32) for _ in range(2))
    progress = Progress("cells", len(obs))
    for first in range(0, len(obs) if model else 0, CELLS):
        progress.reached(first)
        part = slice(first, first + CELLS)
        own[part] = model.of(sp.csr_matrix(rows[part])[:, used], per_cell[part])
        mine = weights[part]
        lending = np.unique(mine.indices)
        counts = mine[:, lending] @ sp.csr_matrix(rows[lending])[:, used]
        borrowed[part] = model.of(counts, mine @ per_cell)
    n_peaks = model.matched.sum(axis=0).A1.astype(np.int64) if model else np.zeros(0, dtype=np.int64)
    data = anndata.AnnData(own, obs=obs, var=pd.DataFrame({"n_peaks": n_peaks}, index=list(matrices)))
    data.layers["borrowed"] = borrowed
    with atomic(output) as scratch:
        data.write_h5ad(scratch)
    say(f"chromVAR: {len(obs):,} cells, {len(used):,} peaks, {len(matrices)} TFs")


def background_peaks(
    total: np.ndarray, gc: np.ndarray, draws: int, random: np.random.Generator
) -> np.ndarray:
    """Draw background peaks of similar GC content and accessibility for every peak, as chromVAR does.

    log10 of the insertions and the GC content are whitened and divided into ``GRID`` x ``GRID`` bins. A bin is drawn
    with a normal density of its distance to the bin of the peak, of standard deviation ``WIDTH``, and in it one of its
    peaks. A peak may draw itself.

    Parameters
    ----------
    total
        Insertions of each peak, above 0 (peaks,).
    gc
        GC content of each peak, from 0 to 1 (peaks,).
    draws, random
        Number of draws per peak, and random numbers.

    Returns
    -------
    int64 (draws, peaks), rows of peaks.
    """
    points = _whitened(np.column_stack([np.log10(total), gc]))
    low, high = points.min(axis=0), points.max(axis=0)
    step = np.where(high > low, (high - low) / (GRID - 1), 1)
    cell = np.rint((points - low) / step).astype(np.int64)
    bins, member = np.unique(cell, axis=0, return_inverse=True)
    member = member.ravel()
    order = np.argsort(member, kind="stable")
    count = np.bincount(member)
    first = np.cumsum(count) - count
    centres = low + bins * step
    drawn = np.empty((draws, len(points)), dtype=np.int64)
    for number in range(len(bins)):
        mine = order[first[number] : first[number] + count[number]]
        weight = np.exp(-0.5 * ((centres - centres[number]) ** 2).sum(axis=1) / WIDTH**2)
        chosen = random.choice(len(bins), size=(draws, len(mine)), p=weight / weight.sum())
        drawn[:, mine] = order[first[chosen] + (random.random(chosen.shape) * count[chosen]).astype(np.int64)]
    return drawn


def _whitened(points: np.ndarray) -> np.ndarray:
    """Return points (n, 2) with unit covariance. Axes without spread are left as they are."""
    centred = points - points.mean(axis=0)
    covariance = np.cov(centred, rowvar=False)
    values, vectors = np.linalg.eigh(covariance)
    scale = np.where(values > 1e-12, 1 / np.sqrt(np.maximum(values, 1e-12)), 1)
    return centred @ vectors * scale


class _Deviations:
    """Deviations of cells, from what is the same for all of them.

    ``total`` is (peaks,), ``matched`` bool (peaks, TFs), ``background`` int64 (draws, peaks).
    """

    def __init__(self, total: np.ndarray, matched: np.ndarray, background: np.ndarray):
        self.share = total / total.sum()
        self.matched = sp.csr_matrix(matched, dtype=np.float32)
        ones, peak = np.ones(len(total), dtype=np.float32), np.arange(len(total))
        shape = len(total), len(total)
        drawn = [sp.csr_matrix((ones, (row, peak)), shape=shape) @ self.matched for row in background]
        # how often each peak is drawn for the matched peaks of each TF: (peaks, draws * TFs), sparse as few peaks match
        self.drawn = sp.hstack(drawn, format="csr")

    @classmethod
    def of_peaks(
        cls, total: np.ndarray, genome: Genome, place: pd.DataFrame, matrices: dict, seed: int
    ) -> _Deviations:
        """Scan the peaks at ``place`` with ``total`` insertions, and draw their background."""
        gc, matched = _sequence(genome, place, matrices)
        return cls(total, matched, background_peaks(total, gc, DRAWS, np.random.default_rng(seed)))

    def of(self, counts: sp.csr_matrix, per_cell: np.ndarray) -> np.ndarray:
        """Return z-scores (cells, TFs). ``per_cell`` are the insertions of each cell in all peaks."""
        counts = counts.astype(np.float32)
        raw = self._deviation(counts, self.matched, per_cell)
        drawn = self._deviation(counts, self.drawn, per_cell).reshape(len(raw), -1, raw.shape[1])
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = drawn.std(axis=1, ddof=1)
            return np.where(spread > 0, (raw - drawn.mean(axis=1)) / spread, np.nan)

    def _deviation(self, counts: sp.csr_matrix, matched: sp.csr_matrix, per_cell: np.ndarray) -> np.ndarray:
        expected = np.outer(per_cell, matched.T @ self.share)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(expected > 0, ((counts @ matched).toarray() - expected) / expected, np.nan)


def _weights(path: str | Path, names: pd.Index, peaks: str | Path) -> sp.csr_matrix:
    """Return the weights of the lenders of each cell, csr float32, in the order of ``names``."""
    obs, borrow = read_obs(path), read_borrow(path)
    row = obs.index.get_indexer(names)
    if borrow is None or (row < 0).any():
        raise InputError(
            path, f"its cells are not those of {peaks}", "find the lenders and count the peaks again"
        )
    return borrow[row][:, row]


def _sums(rows) -> tuple[np.ndarray, np.ndarray]:
    """Return the insertions of each peak and of each cell, float64, read in blocks of cells."""
    total, per_cell = np.zeros(rows.shape[1]), np.zeros(rows.shape[0])
    for first in range(0, rows.shape[0], CELLS):
        block = sp.csr_matrix(rows[first : first + CELLS])
        total += np.asarray(block.sum(axis=0)).ravel()
        per_cell[first : first + CELLS] = np.asarray(block.sum(axis=1)).ravel()
    return total, per_cell


def _places(path: str | Path, genome: Genome) -> pd.DataFrame:
    """Return chrom (index of a chromosome with sequence, or -1), start and end of the peaks of ``peaks.h5ad``."""
    var = read_var(path, ("chrom", "start", "end"), MAKER)
    chrom = pd.Index(genome.sizes.names).get_indexer(var["chrom"].astype(str))
    chrom = np.where(chrom < genome.n_sequenced, chrom, -1)
    return pd.DataFrame({"chrom": chrom, "start": var["start"].to_numpy(), "end": var["end"].to_numpy()})


def _sequence(genome: Genome, place: pd.DataFrame, matrices: dict) -> tuple[np.ndarray, np.ndarray]:
    """Return the GC content of peaks, float64 (peaks,), and which match each matrix, bool (peaks, TFs)."""
    thresholds = np.array([hit_threshold(matrix, P_HIT) for matrix in matrices.values()])
    width = int((place["end"] - place["start"]).max())
    gc, matched = np.empty(len(place)), np.zeros((len(place), len(matrices)), dtype=bool)
    progress = Progress("peaks", len(place))
    for first in range(0, len(place), PEAKS):
        progress.reached(first)
        part = place.iloc[first : first + PEAKS]
        codes = genome.window_codes(part["chrom"].to_numpy(), part["start"].to_numpy(), width)
        beyond = np.arange(width) >= (part["end"] - part["start"]).to_numpy()[:, None]
        codes = np.where(beyond, UNKNOWN, codes).astype(np.uint8)
        known = np.maximum((codes < UNKNOWN).sum(axis=1), 1)
        gc[first : first + PEAKS] = ((codes == 1) | (codes == 2)).sum(axis=1) / known
        matched[first : first + PEAKS] = scan_all(codes, list(matrices.values())) >= thresholds
    return gc, matched
