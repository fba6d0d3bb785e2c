"""Add TFs without ChIP-seq to the file of a trained model.

:mod:`scbind.models.motiftfs` has what is done to the weights. Predictors need only that, and no other file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from scbind.core.errors import InputError
from scbind.core.runlog import say
from scbind.formats.bundlefile import MOTIFS, read_bundle
from scbind.formats.evidence import CHIP, evidence, names_of_extended
from scbind.formats.motifgroups import alike_motifs, motif_groups
from scbind.formats.motifs import motif_names, read_motifs, write_motifs
from scbind.formats.motiftfs import PLACE, matrices_of_motif_tfs
from scbind.models.bundle import bundled_motifs
from scbind.models.modelfile import read_model, write_model
from scbind.models.motiftfs import add_motif_tfs


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
        names = names_of_extended(stored["facts"])
        theirs = {names[tf]: (identities[tf], each) for tf, each in matrices.items() if tf in names}
        own |= theirs  # a TF that both have keeps its matrix
    _add(stored, own, _named(chosen), weights, motifs)


def _named(path: str | Path) -> dict[str, tuple[str, np.ndarray]]:
    """TF -> name and matrix, as :func:`scbind.formats.motifs.write_motifs` takes them."""
    names = motif_names(path)
    return {tf: (names[tf], matrix) for tf, matrix in read_motifs(path).items()}


def _read_shared(trained: str | Path) -> dict:
    """Read a model. Raises :class:`InputError` if it was trained without a shared way."""
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
