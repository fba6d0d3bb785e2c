"""Groups of TFs whose matrices cannot be distinguished, such as those of one family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
    every = [matrices[tf] for tf in tfs]
    distance = np.maximum(1 - _correlations(every, every), 0)
    np.fill_diagonal(distance, 0)
    group = fcluster(linkage(squareform(distance, checks=False), "complete"), 1 - ALIKE, "distance")
    first: dict[int, str] = {}
    return {tf: first.setdefault(number, tf) for tf, number in zip(tfs, group.tolist(), strict=True)}


def alike_motifs(
    matrices: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray]
) -> dict[str, list[str]]:
    """Return TF -> the TFs of ``others`` whose motifs cannot be distinguished from its own; TFs without any are absent.

    Such motifs correlate at ``ALIKE`` or more, as in :func:`motif_groups`. A group depends on which other TFs there
    are; this does not.

    Examples
    --------
    >>> import numpy as np
    >>> one = np.array([[1.9, -3, -3], [-3, 1.9, -3], [-3, -3, -3], [-3, -3, 1.9]])  # ACT
    >>> alike_motifs({"A": one, "B": one[[1, 0, 3, 2]]}, {"C": one[::-1, ::-1], "D": one})
    {'A': ['C', 'D']}
    """
    if not matrices or not others:
        return {}
    same = _correlations(list(matrices.values()), list(others.values())) >= ALIKE
    names = np.array(list(others), dtype=object)
    return {tf: names[row].tolist() for tf, row in zip(matrices, same, strict=True) if row.any()}


def _correlations(matrices: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> np.ndarray:
    """Highest correlation of each matrix with each other one over all alignments: float64 (matrices, others)."""
    widest = max(matrix.shape[1] for matrix in [*matrices, *others])
    placed, moving = _placed(matrices, widest), _placed(others, widest)
    inside = placed[:, :, widest : 2 * widest].reshape(len(matrices), -1)
    strands = inside, placed[:, ::-1, widest : 2 * widest][:, :, ::-1].reshape(len(matrices), -1)
    best = np.full((len(matrices), len(others)), -1.0)
    for offset in range(2 * widest + 1):
        moved = moving[:, :, offset : offset + widest].reshape(len(others), -1)
        for strand in strands:
            np.maximum(best, strand @ moved.T, out=best)
    return best


def _placed(matrices: Sequence[np.ndarray], widest: int) -> np.ndarray:
    """Base frequencies over background with norm 1, ``widest`` positions from the left: (matrices, 4, 3 * widest)."""
    placed = np.zeros((len(matrices), 4, 3 * widest))
    for row, matrix in enumerate(matrices):
        share = frequencies(matrix) - 0.25
        placed[row, :, widest : widest + share.shape[1]] = share / np.linalg.norm(share)
    return placed
