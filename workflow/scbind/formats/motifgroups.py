"""Groups of TFs whose matrices cannot be distinguished, such as those of one family."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from scbind.formats.motifs import frequencies

ALIKE = 0.95  # minimum correlation of two aligned matrices that count as the same motif


def motif_groups(matrices: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Return TF -> the first TF of its group; a TF with a motif of its own is its own group.

    All matrices of a group correlate pairwise at ``ALIKE`` or more (complete linkage), in the best alignment of their
    base frequencies on either strand. Positions outside of a matrix count as background. ``matrices``: TF -> log2 odds
    over a uniform background, (4, length).

    Examples
    --------
    >>> import numpy as np
    >>> one = np.array([[1.9, -3, -3], [-3, 1.9, -3], [-3, -3, -3], [-3, -3, 1.9]])  # ACT
    >>> motif_groups({"A": one, "B": one[::-1, ::-1], "C": one[[1, 0, 3, 2]]})
    {'A': 'A', 'B': 'A', 'C': 'C'}
    """
    tfs = list(matrices)
    if len(tfs) < 2:
        return dict(zip(tfs, tfs, strict=True))
    distance = np.maximum(1 - _correlations([matrices[tf] for tf in tfs]), 0)
    np.fill_diagonal(distance, 0)
    group = fcluster(linkage(squareform(distance, checks=False), "complete"), 1 - ALIKE, "distance")
    first: dict[int, str] = {}
    return {tf: first.setdefault(number, tf) for tf, number in zip(tfs, group.tolist(), strict=True)}


def _correlations(matrices: list[np.ndarray]) -> np.ndarray:
    """Highest correlation of each two matrices over all alignments: float64 (matrices, matrices)."""
    widest = max(matrix.shape[1] for matrix in matrices)
    placed = np.zeros((len(matrices), 4, 3 * widest))
    for row, matrix in enumerate(matrices):
        share = frequencies(matrix) - 0.25
        placed[row, :, widest : widest + share.shape[1]] = share / np.linalg.norm(share)
    inside = placed[:, :, widest : 2 * widest].reshape(len(matrices), -1)
    strands = inside, placed[:, ::-1, widest : 2 * widest][:, :, ::-1].reshape(len(matrices), -1)
    best = np.full((len(matrices), len(matrices)), -1.0)
    for offset in range(2 * widest + 1):
        moved = placed[:, :, offset : offset + widest].reshape(len(matrices), -1)
        for strand in strands:
            np.maximum(best, strand @ moved.T, out=best)
    return np.maximum(best, best.T)
