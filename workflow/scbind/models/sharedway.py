"""The part of the network that all TFs share, so that it can also predict a TF that was never assayed.

A TF without ChIP-seq has no weights of its own. What remains is its matrix of the motif release. During training, TFs
are read at random without their own weights and with this matrix, so that the shared weights learn to predict without
ChIP-seq. Scores of different matrices are not comparable: a match of a long motif with half of the best score is rare,
one of a short motif is everywhere. The p-values of matches are, so the shared weights read these, too.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from scbind.formats.motifs import chance_of_scores

STEPS = 400  # steps of the score of a matrix, from 0 to its best score, in the distribution of chance scores
KNOTS = 65  # scores from 0 to 1 whose p-values are tabulated; between them they are interpolated
P_UNIT = 4  # a p-value of 1e-4 is 1 for the network


def log_p_table(matrix: np.ndarray) -> np.ndarray:
    """Return -log10 of the p-value of a match, for evenly spaced scores from 0 to 1: float32 (``KNOTS``,).

    The p-value is the probability that a random site scores at least as high, on a uniform background and one strand
    (Grant, Bailey, Noble 2011, Bioinformatics 27:1017). A p-value of 10^-``P_UNIT`` gives 1. The distribution of the
    scores is exact up to their rounding to ``STEPS`` steps (:func:`scbind.formats.motifs.chance_of_scores`).
    ``matrix`` is log odds over the best possible score, (4, length); zero columns change nothing.
    """
    lowest, reached = chance_of_scores(np.rint(np.asarray(matrix, dtype=np.float64) * STEPS).astype(int))
    score = (np.arange(len(reached)) + lowest) / STEPS
    return np.interp(np.linspace(0, 1, KNOTS), score, -np.log10(reached) / P_UNIT).astype(np.float32)


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

    ``constant``, (1 + direct, 1), is the constant part of the embedding. ``partners`` is the part that reads the map.
    """

    def __init__(self, direct: int, hidden: int, partners: int):
        super().__init__()
        self.partners = nn.Linear(hidden, partners)
        nn.init.zeros_(self.partners.weight)
        nn.init.zeros_(self.partners.bias)
        constant = torch.zeros(1 + direct, 1)
        constant[0] = -4.0  # binding is rare
        self.constant = nn.Parameter(constant)
