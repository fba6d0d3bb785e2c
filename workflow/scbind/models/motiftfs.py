"""Add TFs without ChIP-seq to a trained network: each gets a matrix, and no weights of its own.

The network was trained with ``strangers`` (:mod:`scbind.models.sharedway`). Adding TFs trains nothing, and the weights
of the assayed TFs keep their bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scbind.core.errors import InputError
from scbind.core.runlog import say
from scbind.formats.bundlefile import MOTIFS, read_bundle
from scbind.formats.evidence import CHIP, MOTIF
from scbind.formats.motifgroups import alike_motifs, motif_groups
from scbind.formats.motifs import motif_names, read_motifs, write_motifs
from scbind.models.base import build_network
from scbind.models.bundle import bundled_motifs
from scbind.models.modelfile import read_model, write_model

# Tensors made from the matrix of a TF (that of the scan, and the p-values of its scores), and the same tensors made
# from the matrix of the release. A new TF has the matrix of the release in both; all its other rows are zero.
OF_MATRIX = {"scan.known": "scan.released", "log_p": "log_p_released"}
PER_TF_INSIDE = "head.4."  # weights whose first axis is partners x TFs, with the TFs inside


def add_from_release(
    trained: str | Path,
    known: str | Path,
    weights: str | Path,
    motifs: str | Path,
    asked: str | Sequence[str],
    *,
    release: str | None,
    taxon: str,
    path: str | None = None,
    aliases: Mapping[str, str] | None = None,
) -> None:
    """Write a trained model with TFs of a motif release added; the same bytes if none is asked for.

    Parameters
    ----------
    trained, known
        The trained model, and ``motifs.npz`` of the assayed TFs.
    weights, motifs
        Outputs: the model, and the matrices of all its TFs (:func:`scbind.formats.motifs.write_motifs`).
    asked, release, taxon, path, aliases
        See :func:`scbind.formats.motiftfs.matrices_of_motif_tfs`.

    Raises
    ------
    InputError
        If the model was trained without a shared way, or as :func:`scbind.formats.motiftfs.matrices_of_motif_tfs`.
    """
    from scbind.formats.motiftfs import matrices_of_motif_tfs  # reads files, which predictors do not

    stored = _read_shared(trained)
    found = matrices_of_motif_tfs(asked, stored["facts"]["tfs"], release, taxon, path, aliases)
    _add(stored, _named(known), found, weights, motifs)


def add_chosen(
    trained: str | Path,
    known: str | Path,
    chosen: str | Path,
    weights: str | Path,
    motifs: str | Path,
    extends: str | Path | None = None,
) -> None:
    """Write a trained model with the TFs of a file added; the same bytes if there is none.

    ``chosen`` is the file (:func:`scbind.formats.motiftfs.choose_motif_tfs`). ``extends`` is the bundle that the model
    extends, if any; its matrices are among those in ``motifs``. The other arguments and the errors are those of
    :func:`add_from_release`.
    """
    stored, own = _read_shared(trained), _named(known)
    if extends:
        matrices, identities = bundled_motifs(extends, read_bundle(extends).members[MOTIFS])
        theirs = {tf: (identities[tf], matrix) for tf, matrix in matrices.items()}
        own = {tf: each for tf, each in (theirs | own).items() if tf in stored["facts"]["tfs"]}
    _add(stored, own, _named(chosen), weights, motifs)


def _named(path: str | Path) -> dict[str, tuple[str, np.ndarray]]:
    """TF -> name and matrix, as :func:`scbind.formats.motifs.write_motifs` takes them."""
    names = motif_names(path)
    return {tf: (names[tf], matrix) for tf, matrix in read_motifs(path).items()}


def _read_shared(trained: str | Path) -> dict:
    """Read a model. Raises :class:`InputError` if it was trained without a shared way."""
    from scbind.formats.motiftfs import PLACE

    stored = read_model(trained)
    if not stored["options"].get("strangers"):
        remedy = "train it with models.*.motif_tfs"
        raise InputError(trained, "cannot predict TFs without ChIP-seq", remedy, PLACE)
    return stored


def _add(
    stored: Mapping,
    own: Mapping[str, tuple[str, np.ndarray]],
    found: Mapping[str, tuple[str, np.ndarray]],
    weights: str | Path,
    motifs: str | Path,
) -> None:
    """Write a stored model with the TFs ``found`` added to its ``own``, and the matrices of all its TFs."""
    new = {tf: matrix for tf, (_, matrix) in found.items()}
    if new:
        shared = _write_wider(stored, {tf: matrix for tf, (_, matrix) in own.items()}, new, weights)
        say(f"{len(new)} TFs without ChIP-seq added; {shared} TFs have the motif of another one")
        width = stored["state"]["scan.known"].shape[2]
        if cut := [f"{tf} ({m.shape[1]} bp)" for tf, m in new.items() if m.shape[1] > width]:
            say(f"matrices cut to their {width} most informative bp: {', '.join(cut)}")
    else:
        write_model(weights, **stored)
        say("no TF without ChIP-seq was asked for")
    write_motifs(motifs, dict(own) | dict(found))


def add_left_out(trained: str | Path, known: str | Path, weights: str | Path) -> None:
    """Write a trained model with the TFs added that its training did not see, though they have ChIP-seq.

    ``trained`` is the model, ``known`` the ``motifs.npz`` of all TFs with ChIP-seq, ``weights`` the output. The TFs are
    those of ``known`` that the model lacks; they are added as TFs without ChIP-seq are.
    """
    stored, matrices = read_model(trained), read_motifs(known)
    seen = set(stored["facts"]["tfs"])
    own, new = ({tf: m for tf, m in matrices.items() if (tf in seen) == inside} for inside in (True, False))
    _write_wider(stored, own, new, weights)
    say(f"TFs that the training did not see: {', '.join(new)}")


def _write_wider(
    stored: Mapping, own: Mapping[str, np.ndarray], new: Mapping[str, np.ndarray], weights: str | Path
) -> int:
    """Write a stored model with the TFs ``new`` added; return how many TFs have the motif of another one."""
    state, facts = add_motif_tfs(stored["state"], stored["facts"], stored["options"], new)
    groups = motif_groups({**own, **new})
    facts["motif_group"] = [groups.get(tf, tf) for tf in facts["tfs"]]
    kinds = dict(zip(facts["tfs"], evidence(facts), strict=True))
    assayed = {tf: matrix for tf, matrix in own.items() if kinds.get(tf) == CHIP}
    facts["alike"] = facts.get("alike", {}) | alike_motifs(new, assayed)
    write_model(weights, state, facts, stored["options"])
    return sum(group != tf for tf, group in groups.items())


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


def evidence(facts: dict) -> list[str]:
    """Evidence of each TF of a model, in the order of ``tfs``; ``chip`` for all in models of older versions."""
    return facts.get("evidence", [CHIP] * len(facts["tfs"]))


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
