"""The part of the network that all TFs share, so that it can also predict a TF that was never assayed.

A TF without ChIP-seq has no weights of its own. What remains depends on facts of its matrix alone: how informative it
is, and how high the scores of chance matches are. During training, TFs are read at random without their
own weights and with their matrix of the motif release, so that the shared weights learn to predict without ChIP-seq.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from scbind.formats.motifs import chance_distribution, frequencies

CHANCE = (1e-3, 1e-4, 1e-5)  # probabilities of a chance match whose scores are facts of a matrix
N_FACTS = 3 + len(CHANCE)  # made by matrix_facts
STEPS = 400  # steps of the score of a matrix, from 0 to its best score, in the distribution of chance scores
KNOTS = 65  # scores from 0 to 1 whose p-values are tabulated; between them they are interpolated
P_UNIT = 4  # a p-value of 1e-4 is 1 for the network
INNER = 8  # units of the network that reads the facts; there are only a few dozen TFs to learn from


def matrix_facts(matrix: np.ndarray | None) -> np.ndarray:
    """Facts of a matrix, float32 (``N_FACTS``,), scaled to about one; zeros if there is no matrix.

    The facts are the information content (20 bits are 1), the best possible score (20 bits are 1), the fraction of G
    and C minus one half, and for each probability in ``CHANCE`` the score that a random site reaches with this
    probability, divided by the best possible score. The sites have a uniform background and one strand.

    ``matrix`` is log2 odds over a uniform background, (4, length).
    """
    if matrix is None:
        return np.zeros(N_FACTS, dtype=np.float32)
    matrix = np.asarray(matrix, dtype=np.float64)
    share = frequencies(matrix)
    best = matrix.max(axis=0).sum() / 20
    strong = share[1:3].sum() / matrix.shape[1] - 0.5
    return np.array([information(matrix) / 20, best, strong, *chance_scores(matrix)], dtype=np.float32)


def information(matrix: np.ndarray) -> float:
    """Information content of log2 odds over a uniform background, (4, length), in bits."""
    return round(float((frequencies(matrix) * matrix).sum()), 3)


def chance_scores(matrix: np.ndarray) -> np.ndarray:
    """Score that a random site reaches with each probability in ``CHANCE``, over the best score: (len(CHANCE),)."""
    score, reached = _chance_of_scores(matrix / matrix.max(axis=0).sum())
    step = score[1] - score[0]
    first = [np.argmax(reached <= p) if (reached <= p).any() else len(reached) for p in CHANCE]
    return score[0] + step * np.array(first)


def log_p_table(matrix: np.ndarray) -> np.ndarray:
    """Return -log10 of the p-value of a match, for evenly spaced scores from 0 to 1: float32 (``KNOTS``,).

    The p-value is the probability that a random site scores at least as high, on a uniform background and one strand
    (Grant, Bailey, Noble 2011, Bioinformatics 27:1017). 1 stands for a p-value of 10^-``P_UNIT``. ``matrix`` is log
    odds over the best possible score, (4, length); zero columns change nothing.
    """
    score, reached = _chance_of_scores(matrix)
    return np.interp(np.linspace(0, 1, KNOTS), score, -np.log10(reached) / P_UNIT).astype(np.float32)


def _chance_of_scores(scaled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return all scores of a matrix, ascending, and the probabilities that a random site reaches them.

    ``scaled`` is log odds over the best possible score, (4, length). The distribution is exact up to the rounding of
    scores to ``STEPS`` steps (:func:`scbind.formats.motifs.chance_distribution`).
    """
    steps = np.rint(np.asarray(scaled, dtype=np.float64) * STEPS).astype(int)
    steps -= (lowest := steps.min(axis=0))
    chance = chance_distribution(steps)
    return (np.arange(len(chance)) + lowest.sum()) / STEPS, np.cumsum(chance[::-1])[::-1]


def log_p_values(score: Tensor, table: Tensor) -> Tensor:
    """Look up the p-values of scores, (windows, TFs, N), in tables of :func:`log_p_table`, (TFs, ``KNOTS``).

    Between the knots, and above a score of 1, the result continues in straight lines.
    """
    place = score * (KNOTS - 1)
    low = place.detach().long().clamp(0, KNOTS - 2)
    wide = table.expand(len(score), *table.shape)
    left, right = wide.gather(2, low), wide.gather(2, low + 1)
    return left + (place - low) * (right - left)


class SharedWay(nn.Module):
    """What the window tower adds to the own weights of every TF.

    ``scale`` and ``shift`` of the hidden units, (TFs, units), and ``always``, the constant part of the embedding,
    (1 + direct, TFs), come from the facts of the matrices, (TFs, ``N_FACTS``). ``partners`` is the part of the
    embedding that reads the map; it is the same for all TFs.
    """

    def __init__(self, units: int, direct: int, hidden: int, partners: int):
        super().__init__()
        self.partners = nn.Linear(hidden, partners)
        nn.init.zeros_(self.partners.weight)
        nn.init.zeros_(self.partners.bias)
        self.parts = units, units, 1 + direct
        self.read = nn.Sequential(nn.Linear(N_FACTS, INNER), nn.GELU(), nn.Linear(INNER, sum(self.parts)))
        nn.init.zeros_(self.read[-1].weight)
        nn.init.zeros_(self.read[-1].bias)
        with torch.no_grad():
            self.read[-1].bias[2 * units] = -4.0  # binding is rare

    def forward(self, facts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return ``scale``, ``shift`` and ``always`` of TFs with these facts; see above."""
        scale, shift, always = self.read(facts).split(self.parts, dim=1)
        return scale, shift, always.T
