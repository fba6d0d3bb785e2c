"""Add TFs without ChIP-seq to a trained network: each gets a matrix, and no weights of its own."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from scbind.formats.evidence import CHIP, MOTIF
from scbind.models.base import build_network

OF_MATRIX = "scan.known", "facts"  # what a new TF has; its other rows are zero
PER_TF_INSIDE = "head.4."  # weights whose first axis is partners x TFs, with the TFs inside


def add_motif_tfs(
    state: Mapping[str, Tensor], facts: dict, options: dict, matrices: Mapping[str, np.ndarray]
) -> tuple[dict[str, Tensor], dict]:
    """Append TFs to the weights and the facts of a network that was trained with ``strangers``.

    Parameters
    ----------
    state, facts, options
        Of the trained network (:func:`scbind.models.modelfile.read_model`).
    matrices
        TF -> log2 odds, (4, length), of each new TF.

    Returns
    -------
    tuple
        Weights and facts. The new TFs come last. Their ``evidence`` is ``motif``, and no line has assayed them. The
        weights of the other TFs keep their bytes.
    """
    wider = {
        **facts,
        "tfs": [*facts["tfs"], *matrices],
        "evidence": [*evidence(facts), *[MOTIF] * len(matrices)],
        "modelled": [*facts["modelled"], *[True] * len(matrices)],
        "bound_train": facts["bound_train"] | dict.fromkeys(matrices, 0),
        "assayed": [[*row, *[False] * len(matrices)] for row in facts["assayed"]],
    }
    fresh = build_network(facts["architecture"], wider, options, dict(matrices)).state_dict()
    sizes = len(facts["tfs"]), len(wider["tfs"])
    return {name: _widened(name, state[name], fresh[name], *sizes) for name in fresh}, wider


def evidence(facts: dict) -> list[str]:
    """What each TF of a model rests on, in the order of ``tfs``; ``chip`` for all in models of older versions."""
    return facts.get("evidence", [CHIP] * len(facts["tfs"]))


def _widened(name: str, old: Tensor, fresh: Tensor, before: int, after: int) -> Tensor:
    """Weights ``old`` of ``before`` TFs in the shape of ``fresh``, which has ``after`` TFs."""
    if old.shape == fresh.shape:
        return old
    wider = fresh.clone() if name in OF_MATRIX else torch.zeros_like(fresh)
    if PER_TF_INSIDE in name:
        narrow, wide = (values.unflatten(0, (-1, n)) for values, n in ((old, before), (wider, after)))
        wide[:, :before] = narrow
    else:
        wider[tuple(slice(0, size) for size in old.shape)] = old
    return wider
