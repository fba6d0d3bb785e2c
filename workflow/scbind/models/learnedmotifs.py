"""The motif matrices that a network has learned, in log2 odds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.optimize import brentq

from scbind.formats.evidence import CHIP
from scbind.models.layers import RATE
from scbind.models.modelfile import read_model

FIRST, LAST = 0.5, 1000.0  # bits of the best possible match of a matrix, at least and at most


def learned_motifs(path: str | Path) -> dict[str, np.ndarray]:
    """Return TF -> its matrix as a model has learned it: log2 odds over a uniform background, float64 (4, width).

    A model scales each matrix from which it starts so that the best possible match scores 1
    (:class:`scbind.models.layers.MotifScan`). The scale is found again from the matrix itself: in each column of log2
    odds, the base frequencies must sum to 1. This is exact for known motifs. For found ones, whose columns may be
    shrunk and whose background has the GC content of the windows, it is nearly exact.

    Left out are TFs that the model does not predict, TFs without ChIP-seq, whose matrix is that of the motif release,
    and TFs whose matrix started at random. Empty if the model has no motif matrices. ``path`` is ``model.safetensors``;
    raises as :func:`scbind.models.modelfile.read_model`.
    """
    model = read_model(path)
    state, facts = model["state"], model["facts"]
    if "scan.learned" not in state:
        return {}
    starts = state["scan.known"].double().numpy()
    learned = starts + RATE * state["scan.learned"].double().numpy()
    evidence = facts.get("evidence", [CHIP] * len(facts["tfs"]))
    found = {}
    for row, tf in enumerate(facts["tfs"]):
        if facts["modelled"][row] and evidence[row] == CHIP and (scale := scale_of(starts[row])):
            found[tf] = scale * learned[row]
    return found


def scale_of(matrix: np.ndarray) -> float | None:
    """Return the bits of the best possible match of a matrix that was scaled so that it scores 1.

    ``matrix`` is float64 (4, width). Returns ``None`` if it is not a scaled matrix of log2 odds: a matrix that starts
    at random has a best possible match above 1.

    Examples
    --------
    >>> import numpy as np
    >>> odds = np.log2(np.array([[0.7, 0.1], [0.1, 0.7], [0.1, 0.1], [0.1, 0.1]]) * 4)
    >>> round(scale_of(odds / odds.max(axis=0).sum()), 3), round(float(odds.max(axis=0).sum()), 3)
    (2.971, 2.971)
    """
    columns = matrix[:, np.abs(matrix).sum(axis=0) > 0]
    if not columns.size or columns.max(axis=0).sum() > 1.001:
        return None

    def excess(scale: float) -> float:
        return float((2.0 ** (scale * columns) / 4).sum() - columns.shape[1])

    return float(brentq(excess, FIRST, LAST)) if excess(FIRST) < 0 < excess(LAST) else None
