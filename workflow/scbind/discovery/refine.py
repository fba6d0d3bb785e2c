"""Refine the seed of a motif to a matrix."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scbind.discovery.words import BLANK, share_difference
from scbind.formats.genome import UNKNOWN
from scbind.formats.motifs import PSEUDOCOUNT

WIDTH = 25  # of a matrix while it is refined, as wide as those of the network
ROUNDS = 6
PRUNED, KEPT = 2, 5  # after so many rounds, only the best matrices are refined further
CENTRED = (1, 3)  # rounds (from 0) after which a matrix is shifted so that its information is in the middle
SYMMETRIC = 0.5  # similarity to its other strand from which a matrix is also refined as that of a palindrome
SHIFTS = range(-(WIDTH // 2), WIDTH // 2 + 1)  # columns by which the other strand may be moved
START = 0.7  # probability of the base of a seed
FEWEST = 8  # sites that make a matrix
NOISE = (
    5.0  # G statistic of a column that is explained by chance and by the choice of the sites; see _log_odds
)
LEAST = 0.1  # minimum information of a column at the ends, in bits
BATCH = 16  # windows scored at once; they stay in cache


class Refined(NamedTuple):
    """A matrix, float32 (4, length), and its best match in each window, in bits.

    ``n_sites`` is the number of bound sequences from whose matches it was made. For the score of a site, its own bases
    are removed from the matrix first, so that a motif from few sites is overestimated less. (It is still overestimated,
    because the sites were chosen.)
    """

    matrix: np.ndarray
    n_sites: int
    bound: np.ndarray
    unbound: np.ndarray


def refine(bound: np.ndarray, unbound: np.ndarray, seeds: list[np.ndarray]) -> list[Refined]:
    """Refine seeds to matrices that distinguish bound from unbound windows.

    In every round, the best match in each window is scored. The threshold is chosen at which the bound windows above it
    are most enriched, as in STREME (Bailey 2021, Bioinformatics 37:2834). The best matches of these bound windows are
    the sites of the next matrix. Columns that hardly differ from the background are shrunk.

    Parameters
    ----------
    bound, unbound
        Base codes, uint8 (windows, length).
    seeds
        Results of :func:`scbind.discovery.words.enriched_words`.

    Returns
    -------
    list of Refined
        Log2 odds over the base frequencies of the unbound windows, rows A, C, G, T, in the order of the seeds. A matrix
        without a column that counts is left out.
    """
    if not seeds:
        return []
    background = base_frequencies(unbound)
    here, there = _Places(bound), _Places(unbound)
    matrices, mirrored = np.stack([_of_seed(seed) for seed in seeds]), [False] * len(seeds)
    for number in range(ROUNDS):
        (score, place, strand), other = here.best(matrices), there.best(matrices)[0]
        levels, errors = zip(*(_threshold(*each) for each in zip(score.T, other.T, strict=True)), strict=True)
        rows = np.sort(np.argsort(errors)[::-1][:KEPT]) if number == PRUNED else range(len(matrices))
        sites, refined = [], []
        for row in rows:
            chosen = np.flatnonzero(score[:, row] >= levels[row])
            where = place[chosen, row], strand[chosen, row]
            sites.append(_Sites(chosen, *where, here.bases(chosen, *where), mirrored[row]))
            refined.append(_log_odds(sites[-1].counts, background))
        mirrored = [mirrored[row] for row in rows]
        if number == PRUNED:
            symmetric = [each for each in sites if each.symmetry[1] > SYMMETRIC]
            refined += [_log_odds(each._replace(mirrored=True).counts, background) for each in symmetric]
            mirrored += [True] * len(symmetric)
        if number in CENTRED:
            refined = [_centred(matrix, background) for matrix in refined]
        matrices = np.stack(refined)
    matrices = np.stack([_ends_cut(matrix, background) for matrix in matrices])
    (score, place, strand), other = here.best(matrices), there.best(matrices)[0]
    found = []
    for row, each in enumerate(sites):
        same = (place[each.window, row] == each.place) & (strand[each.window, row] == each.strand)
        score[each.window[same], row] = _without_itself(each, same, matrices[row], background)
        if len(columns := np.flatnonzero(matrices[row].any(axis=0))):
            kept = np.ascontiguousarray(matrices[row][:, columns[0] : columns[-1] + 1])
            found.append(Refined(kept, len(each.window), score[:, row], other[:, row]))
    return found


def base_frequencies(codes: np.ndarray) -> np.ndarray:
    """Frequencies of A, C, G and T on both strands: float64 (4,)."""
    counts = np.bincount(np.minimum(codes, UNKNOWN).ravel(), minlength=UNKNOWN + 1)[:UNKNOWN] + 1.0
    counts += counts[::-1]
    return counts / counts.sum()


class _Sites(NamedTuple):
    """The sites of a matrix: window, place and strand of each, and the bases, float32 (sites, 4, WIDTH).

    ``mirrored``: the matrix is made from both strands of each site, because it is that of a palindrome.
    """

    window: np.ndarray
    place: np.ndarray
    strand: np.ndarray
    bases: np.ndarray
    mirrored: bool

    @property
    def symmetry(self) -> tuple[int, float]:
        """By how many columns the other strand is moved to be most similar, and how similar it is then, at most 1."""
        mean = self.bases.mean(axis=0)
        above = mean - mean.mean(axis=1, keepdims=True)
        similar = [float((above * _turned(above, shift)).sum()) for shift in SHIFTS]
        best = int(np.argmax(similar))
        return SHIFTS[best], similar[best] / max(float(np.square(above).sum()), 1e-9)

    def added(self) -> np.ndarray:
        """What each site adds to the counts, (sites, 4, WIDTH)."""
        return self.bases + _turned(self.bases, self.symmetry[0]) if self.mirrored else self.bases

    @property
    def counts(self) -> np.ndarray:
        """How often each base is in each column: (4, WIDTH)."""
        return self.added().sum(axis=0)


class _Places:
    """Windows cut into all their places of ``WIDTH`` bases, so that one product scores all matrices."""

    def __init__(self, codes: np.ndarray):
        self.n, length = codes.shape
        bases = np.zeros((self.n, length, 4), dtype=np.float32)
        window, place = np.nonzero(codes < UNKNOWN)
        bases[window, place, codes[window, place]] = 1
        flat = bases.reshape(self.n, -1)
        self.places = np.lib.stride_tricks.sliding_window_view(flat, 4 * WIDTH, axis=1)[:, ::4]

    def best(self, matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Score, place and strand (true: reverse) of the best match of each matrix: (windows, matrices) each."""
        n = len(matrices)
        bank = np.concatenate([matrices, matrices[:, ::-1, ::-1]]).transpose(2, 1, 0).reshape(-1, 2 * n)
        found = []
        for begin in range(0, self.n, BATCH):
            scores = np.ascontiguousarray(self.places[begin : begin + BATCH]) @ bank
            place = scores.argmax(axis=1)
            score = np.take_along_axis(scores, place[:, None], axis=1)[:, 0]
            strand = score[:, n:] > score[:, :n]
            found.append(
                (
                    np.maximum(score[:, :n], score[:, n:]),
                    np.where(strand, place[:, n:], place[:, :n]),
                    strand,
                )
            )
        return tuple(np.concatenate(each) for each in zip(*found, strict=True))

    def bases(self, window: np.ndarray, place: np.ndarray, strand: np.ndarray) -> np.ndarray:
        """Bases of sites in the direction of the matrix: float32 (sites, 4, WIDTH)."""
        there = self.places[window, place].reshape(-1, WIDTH, 4).transpose(0, 2, 1)
        return np.where(strand[:, None, None], there[:, ::-1, ::-1], there)


def _of_seed(seed: np.ndarray) -> np.ndarray:
    matrix = np.zeros((4, WIDTH), dtype=np.float32)
    left = (WIDTH - len(seed)) // 2
    for place, base in enumerate(seed, left):
        if base != BLANK:
            matrix[:, place] = np.log2((1 - START) / 3 / 0.25)
            matrix[base, place] = np.log2(START / 0.25)
    return matrix


def _threshold(bound: np.ndarray, unbound: np.ndarray) -> tuple[float, float]:
    """The score at which the bound windows above it are most enriched, and by how many standard errors.

    At least ``FEWEST`` windows reach the score, or all if there are fewer.
    """
    level, n = np.sort(bound)[::-1], len(bound)
    above = np.arange(1, n + 1) / n
    other = 1 - np.searchsorted(np.sort(unbound), level, "left") / len(unbound)
    errors = share_difference(above, other, n, len(unbound))
    best = min(n, FEWEST) - 1
    best += int(errors[best:].argmax())
    return float(level[best]), float(errors[best])


def _turned(bases: np.ndarray, shift: int) -> np.ndarray:
    """The other strand of sites, (..., 4, WIDTH), moved by ``shift`` columns; 0 in columns that have no partner."""
    other, moved = bases[..., ::-1, ::-1], np.zeros_like(bases)
    here, there = slice(max(shift, 0), WIDTH + min(shift, 0)), slice(max(-shift, 0), WIDTH - max(shift, 0))
    moved[..., here] = other[..., there]
    return moved


def _log_odds(counts: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Log2 odds (4, WIDTH) of the bases of sites, shrunk where they hardly differ from the background.

    A column is multiplied by max(0, 1 - NOISE / G), as by a positive-part James-Stein estimator. G is its G statistic,
    which has a mean of 3 if the column has the background's bases. Columns at 0 add nothing to a score.
    """
    odds = _odds(counts, background)
    g = 2 * np.log(2) * counts.sum(axis=0) * _information(odds, background)
    return (odds * np.maximum(0, 1 - NOISE / np.maximum(g, NOISE))).astype(np.float32)


def _odds(counts: np.ndarray, background: np.ndarray) -> np.ndarray:
    spread = background[:, None] * PSEUDOCOUNT
    frequency = (counts + spread) / (counts.sum(axis=-2, keepdims=True) + PSEUDOCOUNT)
    return np.log2(frequency / background[:, None])


def _without_itself(
    sites: _Sites, rows: np.ndarray, matrix: np.ndarray, background: np.ndarray
) -> np.ndarray:
    """Score of some sites with the matrix made from the other sites: float32 (rows,)."""
    added, bases = sites.added(), sites.bases[rows]
    counts = added.sum(axis=0)
    whole = _odds(counts, background)
    kept = np.divide(matrix, whole, out=np.zeros_like(whole), where=whole != 0).max(
        axis=0
    )  # the factor of the shrinkage
    return (bases * _odds(counts - added[rows], background) * kept).sum(axis=(1, 2))


def _information(matrix: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Relative entropy of each column over the background, in bits: (length,)."""
    return (background[:, None] * 2.0**matrix * matrix).sum(axis=0)


def _centred(matrix: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Move a matrix so that the middle of its information is in its middle; new columns are empty."""
    information = _information(matrix, background)
    total = information.sum()
    if total <= 0:
        return matrix
    shift = round((WIDTH - 1) / 2 - float(information @ np.arange(WIDTH) / total))
    moved = np.roll(matrix, shift, axis=1)
    if shift > 0:
        moved[:, :shift] = 0
    elif shift < 0:
        moved[:, shift:] = 0
    return moved


def _ends_cut(matrix: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Set columns at the ends to 0 that hold less than ``LEAST`` bits."""
    columns = np.flatnonzero(_information(matrix, background) >= LEAST)
    kept = np.zeros_like(matrix)
    if len(columns):
        kept[:, columns[0] : columns[-1] + 1] = matrix[:, columns[0] : columns[-1] + 1]
    return kept
