"""The weights and facts of a network with TFs added or left out.

A TF without ChIP-seq has a matrix, and no weights of its own. The network was trained with ``strangers``
(:mod:`scbind.models.sharedway`). Adding TFs trains nothing, and the weights of the assayed TFs keep their bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from scbind.formats.evidence import CHIP, MOTIF, evidence
from scbind.models.base import build_network

# Tensors made from the matrix of a TF (that of the scan, and the p-values of its scores), and the same tensors made
# from the matrix of the release. A new TF has the matrix of the release in both; all its other rows are zero.
OF_MATRIX = {"scan.known": "scan.released", "log_p": "log_p_released"}
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
    return {name: widened(name, state[name], fresh[name], *sizes) for name in fresh}, wider


def assayed_part(
    state: Mapping[str, Tensor], facts: dict, options: dict, motif_tfs: Collection[str] = ()
) -> tuple[dict[str, Tensor], dict]:
    """Return weights and facts of a model without its motif TFs: what :func:`add_motif_tfs` was given.

    ``motif_tfs`` are motif TFs that stay.
    """
    kinds, n = evidence(facts), len(facts["tfs"])
    kept = [row for row in range(n) if kinds[row] == CHIP or facts["tfs"][row] in motif_tfs]
    if len(kept) == n:
        return dict(state), facts
    tfs = [facts["tfs"][row] for row in kept]
    described = ("evidence", "motif_group") if MOTIF in [kinds[row] for row in kept] else ()
    alike = {tf: others for tf, others in facts.get("alike", {}).items() if tf in tfs}
    fewer = {
        **{key: value for key, value in facts.items() if key not in ("evidence", "motif_group", "alike")},
        **{key: [facts[key][row] for row in kept] for key in ("tfs", "modelled", *described)},
        **({"alike": alike} if described else {}),
        "bound_train": {tf: facts["bound_train"][tf] for tf in tfs},
        "assayed": [[row[column] for column in kept] for row in facts["assayed"]],
    }
    fresh = build_network(facts["architecture"], fewer, options).state_dict()
    return {name: _narrowed(name, state[name], fresh[name], n, kept) for name in fresh}, fewer


def as_motif_tfs(state: Mapping[str, Tensor], facts: dict, options: dict) -> tuple[dict[str, Tensor], dict]:
    """Append every TF once more, as it would be added if it had no ChIP-seq; only these twins are modelled.

    A twin has the matrix of the release, not one that was found in the ChIP-seq of the TF. The network that reads the
    map of matches is the one that was trained. Returns weights and facts, as :func:`add_motif_tfs`.
    """
    n = len(facts["tfs"])
    wider, twins = add_motif_tfs(
        state, facts, options, dict.fromkeys(f"{tf} by motif" for tf in facts["tfs"])
    )
    for name, released in OF_MATRIX.items():
        wider[name][n:] = wider[released][n:] = state[released]
    return wider, twins | {"modelled": [*[False] * n, *facts["modelled"]]}


def widened(name: str, old: Tensor, fresh: Tensor, before: int, after: int) -> Tensor:
    """Weights ``old`` of ``before`` TFs in the shape of ``fresh``, which has ``after`` TFs."""
    if old.shape == fresh.shape:
        return old
    of_matrix = name in OF_MATRIX or name in OF_MATRIX.values()
    wider = fresh.clone() if of_matrix else torch.zeros_like(fresh)
    if PER_TF_INSIDE in name:
        narrow, wide = (values.unflatten(0, (-1, n)) for values, n in ((old, before), (wider, after)))
        wide[:, :before] = narrow
    else:
        wider[tuple(slice(0, size) for size in old.shape)] = old
    return wider


def _narrowed(name: str, old: Tensor, fresh: Tensor, before: int, kept: Sequence[int]) -> Tensor:
    """Weights ``old`` of ``before`` TFs in the shape of ``fresh``, which has the TFs in the rows ``kept``."""
    if old.shape == fresh.shape:
        return old
    if PER_TF_INSIDE in name:
        return old.unflatten(0, (-1, before))[:, kept].flatten(0, 1).contiguous()
    for axis, size in enumerate(fresh.shape):
        if old.shape[axis] != size:
            old = old.index_select(axis, torch.tensor(kept, device=old.device))
    return old.contiguous()
