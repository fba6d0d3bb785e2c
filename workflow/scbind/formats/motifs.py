"""Motif matrices of the modelled TFs, and the best match of each in a window."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from scbind.core.files import atomic, require

PSEUDOCOUNT = 0.8  # per matrix column, spread over the background (Nishida et al. 2009, NAR 37:939)


def log_odds(counts: np.ndarray) -> np.ndarray:
    """Convert counts (4, length) to log2 odds over a uniform background, float32 of the same shape.

    Examples
    --------
    >>> import numpy as np
    >>> log_odds(np.array([[10], [0], [0], [0]]))[:, 0].round(1)
    array([ 1.9, -3.8, -3.8, -3.8], dtype=float32)
    """
    counts = np.asarray(counts, dtype=np.float64)
    frequency = (counts + PSEUDOCOUNT / 4) / (counts.sum(axis=0) + PSEUDOCOUNT)
    return np.log2(frequency / 0.25).astype(np.float32)


def write_motifs(path: str | Path, chosen: Mapping[str, tuple[str, np.ndarray]]) -> None:
    """Write the matrices of TFs: TF -> ``matrix id:name`` and float32 (4, length) log-odds.

    The ``.npz`` has ``tfs`` and ``matrix_ids`` (strings), and one array per TF.
    """
    with atomic(path) as scratch, open(scratch, "wb") as handle:
        np.savez(
            handle,
            tfs=np.array(list(chosen), dtype=str),
            matrix_ids=np.array([identity for identity, _ in chosen.values()], dtype=str),
            **{f"matrix/{tf}": matrix for tf, (_, matrix) in chosen.items()},
        )


def read_motifs(path: str | Path) -> dict[str, np.ndarray]:
    """Read what :func:`write_motifs` wrote: TF -> float32 (4, length) log-odds."""
    with np.load(require(path, "run the motifs rule first")) as stored:
        return {str(tf): stored[f"matrix/{tf}"] for tf in stored["tfs"]}


def motif_names(path: str | Path) -> dict[str, str]:
    """Return TF -> ``matrix id:name`` of its matrix."""
    with np.load(require(path, "run the motifs rule first")) as stored:
        return dict(zip(stored["tfs"].tolist(), stored["matrix_ids"].tolist(), strict=True))


def scan_all(codes: np.ndarray, matrices: list[np.ndarray], batch: int = 2048) -> np.ndarray:
    """Score the best match of each matrix in each window, on either strand.

    ``codes`` is uint8 (windows, length), as in :class:`scbind.formats.genome.Genome`; an N scores as background.
    Returns float32 (windows, matrices), in bits. A window shorter than a matrix raises ``ValueError``.

    Examples
    --------
    >>> import numpy as np
    >>> matrix = log_odds(np.array([[10, 0], [0, 10], [0, 0], [0, 0]]))  # AC
    >>> codes = np.array([[2, 0, 1], [2, 3, 2], [2, 2, 2]], dtype=np.uint8)  # GAC, GTG (CAC in reverse), GGG
    >>> scan_all(codes, [matrix])[:, 0] > 3
    array([ True,  True, False])
    """
    import torch
    from torch.nn.functional import conv1d

    from scbind.formats.onehot import one_hot

    widest = max(matrix.shape[1] for matrix in matrices)
    if codes.shape[1] < widest:
        raise ValueError(f"windows of {codes.shape[1]} bp are shorter than a matrix of {widest}")
    bank = torch.zeros(2 * len(matrices), 4, widest)
    for row, matrix in enumerate(matrices):
        bank[2 * row, :, : matrix.shape[1]] = torch.from_numpy(matrix)
        bank[2 * row + 1, :, : matrix.shape[1]] = torch.from_numpy(matrix[::-1, ::-1].copy())
    best = np.empty((len(codes), len(matrices)), dtype=np.float32)
    for begin in range(0, len(codes), batch):
        bases = one_hot(torch.from_numpy(codes[begin : begin + batch]))
        # matrices are padded with zeros on the right, so pad the windows too, for matches at their end
        scores = conv1d(torch.nn.functional.pad(bases, (0, widest - 1)), bank)
        length = torch.tensor([m.shape[1] for m in matrices for _ in range(2)])
        beyond = torch.arange(scores.shape[2])[None, :] > codes.shape[1] - length[:, None]
        scores = scores.masked_fill(beyond, -torch.inf).amax(dim=2)
        best[begin : begin + batch] = scores.reshape(len(bases), len(matrices), 2).amax(dim=2).numpy()
    return best
