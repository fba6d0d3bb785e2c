"""Association of the accessibility of sites with genes, across the cells of each type in each sample.

A site that regulates a gene is open in more of the cells in which the gene is active. Types and samples differ in
thousands of sites and genes at once, so differences between them are not evidence for any single pair. Therefore a cell
is compared only with cells of its own type and sample (a *stratum*).

The statistic is the score test of a log-linear model: the sum over cells of (x - E[x]) * r. x are the insertions of the
cell in the site, with mean proportional to depth within a stratum. r is the Pearson residual of the counts of the gene
(Lause et al. 2021, Genome Biology 22:258). Single cells are used instead of means of similar cells, as in SCENT
(Sakaue et al. 2024, Nature Genetics 56:615): a mean over similar cells removes the differences that are the signal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

MIN_STRATUM = 10  # cells; smaller strata are left out
DISPERSION = 100.0  # of the counts of genes (Lause et al. 2021)
BLOCK = 128  # genes at a time


@dataclass(frozen=True)
class Counts:
    """Counts of the cells of one sample.

    Attributes
    ----------
    sites, genes
        csr (cells, sites) and (cells, genes): counts of the same cells.
    stratum
        int64 (cells,): index of the cell's type; -1 leaves the cell out.
    """

    sites: sp.csr_matrix
    genes: sp.csr_matrix
    stratum: np.ndarray


class Covariation:
    """Sums, over the samples, of the association of sites with genes.

    Parameters
    ----------
    site, gene
        int64 (pairs,): index of the site and of the gene of each pair, sorted by gene.
    panel
        int64 (panel,): genes whose association with every site is kept, as the null of sites far from them; rising.
    n_sites, n_genes
        Number of sites and of genes.
    """

    def __init__(self, site: np.ndarray, gene: np.ndarray, panel: np.ndarray, n_sites: int, n_genes: int):
        self.site, self.gene, self.panel = site, gene, panel
        self.n_cells = 0
        self._pairs = np.zeros(len(site))
        self._panel = np.zeros((n_sites, len(panel)), dtype=np.float32)
        self._spread = np.zeros(n_sites)  # sum of squares of x - E[x]
        self._squares = np.zeros(n_genes)  # sum of squares of r

    def add(self, counts: Counts) -> None:
        """Add the cells of a sample. Memory: the counts of the sample, and residuals of ``BLOCK`` genes."""
        stratum = _large(counts.stratum)
        kept = stratum >= 0
        if not kept.any():
            return
        sites, genes = counts.sites[kept].tocsc(), counts.genes[kept].tocsc()
        stratum, depth, scale = stratum[kept], _depth(sites), _depth(genes)
        member = sp.csr_matrix((depth, (stratum, np.arange(len(depth)))))  # (strata, cells)
        rate = _rates(sites, stratum, depth)
        self.n_cells += len(depth)
        self._spread += _squares(sites, member, rate, stratum, depth)
        for first in range(0, genes.shape[1], BLOCK):
            last = min(first + BLOCK, genes.shape[1])
            r = residuals(genes[:, first:last].toarray(), scale, stratum)
            self._squares[first:last] += (r**2).sum(axis=0)
            expected = member @ r
            self._add_pairs(sites, rate, r, expected, first, last)
            mine = (self.panel >= first) & (self.panel < last)
            columns = self.panel[mine] - first
            self._panel[:, mine] += sites.T @ r[:, columns] - rate.T @ expected[:, columns]

    def _add_pairs(self, sites, rate, r, expected, first: int, last: int) -> None:
        """Add the pairs of the genes ``first`` to ``last``, half-open."""
        mine = slice(*np.searchsorted(self.gene, [first, last]))
        used, row = np.unique(self.site[mine], return_inverse=True)
        product = sites[:, used].T @ r - rate[:, used].T @ expected
        self._pairs[mine] += product[row, self.gene[mine] - first]

    def pairs(self) -> np.ndarray:
        """Return the score of each pair over its standard deviation if both were independent: float64 (pairs,).

        NaN if the site or the gene does not vary within any stratum.
        """
        return _ratio(self._pairs, self._spread[self.site] * self._squares[self.gene], self.n_cells)

    def null(self) -> np.ndarray:
        """Return the same for every site and each gene of the panel: float32 (sites, panel)."""
        variance = self._spread[:, None] * self._squares[self.panel][None]
        return _ratio(self._panel, variance, self.n_cells).astype(np.float32)


def residuals(counts: np.ndarray, depth: np.ndarray, stratum: np.ndarray) -> np.ndarray:
    """Return Pearson residuals of counts (cells, genes): float64, same shape.

    The mean of a gene is proportional to ``depth``, float (cells,), within a stratum; ``stratum`` is int64 (cells,).
    Residuals are cut at the square root of the number of cells, and are 0 where the gene has no count in the stratum.
    """
    mean = depth[:, None] * _rates(sp.csc_matrix(counts), stratum, depth)[stratum]
    spread = np.sqrt(mean + mean**2 / DISPERSION)
    found = np.divide(counts - mean, spread, out=np.zeros(counts.shape), where=spread > 0)
    return np.clip(found, -np.sqrt(len(counts)), np.sqrt(len(counts)))


def _large(stratum: np.ndarray) -> np.ndarray:
    """Number the strata with at least ``MIN_STRATUM`` cells from 0; -1 for the other cells."""
    names, number, count = np.unique(stratum, return_inverse=True, return_counts=True)
    good = (count >= MIN_STRATUM) & (names >= 0)
    return np.where(good, np.cumsum(good) - 1, -1)[number]


def _depth(counts: sp.spmatrix) -> np.ndarray:
    return np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()


def _rates(counts: sp.csc_matrix, stratum: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Return counts per unit of depth in each stratum: float64 (strata, columns)."""
    total = np.bincount(stratum, depth)
    member = sp.csr_matrix((np.ones(len(stratum)), (stratum, np.arange(len(stratum)))))
    return (member @ counts).toarray() / np.maximum(total, 1e-12)[:, None]


def _squares(sites, member, rate, stratum, depth) -> np.ndarray:
    """Return the sum over cells of (x - E[x])^2 for each site: float64 (sites,)."""
    crossed = (member @ sites).toarray()
    squared = np.bincount(stratum, depth**2)
    own = np.asarray(sites.multiply(sites).sum(axis=0)).ravel()
    return own - 2 * (rate * crossed).sum(axis=0) + (rate**2 * squared[:, None]).sum(axis=0)


def _ratio(score: np.ndarray, squares: np.ndarray, n_cells: int) -> np.ndarray:
    """Return score / sqrt(squares / n_cells), NaN where ``squares`` is 0."""
    spread = np.sqrt(np.maximum(squares, 0) / max(n_cells, 1))
    return np.divide(score, spread, out=np.full(score.shape, np.nan), where=spread > 1e-9)
