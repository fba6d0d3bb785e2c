"""Make a bundle of a trained model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load, save

from scbind import __version__
from scbind.core.errors import InputError, said
from scbind.core.files import damage_errors, require
from scbind.core.runlog import say
from scbind.formats.bundlefile import (
    ABOUT,
    AGAIN,
    CALIBRATION,
    CARD,
    HISTORY,
    IDENTITIES,
    METRICS,
    MOTIFS,
    WEIGHTS,
    read_about,
    write_bundle,
)
from scbind.formats.motifs import motif_names, read_motifs
from scbind.models.modelfile import DAMAGE, read_calibration, read_model


@dataclass(frozen=True)
class BundleFiles:
    """Files of a trained model.

    Attributes
    ----------
    weights, calibration, history, card
        ``model.safetensors``, ``calibration.json``, ``training.csv`` and ``card.md``.
    motifs
        ``motifs.npz`` with the known matrices of the TFs.
    metrics
        Table of held-out accuracy, of the model and of what it is compared with.
    """

    weights: str | Path
    calibration: str | Path
    history: str | Path
    card: str | Path
    motifs: str | Path
    metrics: str | Path


def make_bundle(
    files: BundleFiles,
    output: str | Path,
    name: str,
    *,
    comparators: Sequence[str],
    species: str | None,
    licence: str | None,
    training_data: Sequence[Mapping],
    extends: str | Path | None = None,
) -> None:
    """Write the bundle of a model; :mod:`scbind.formats.bundlefile` describes the file.

    Parameters
    ----------
    files
        Files of the model.
    output
        The new ``.scbind.zip``.
    name
        Name of the model in ``metrics``.
    comparators
        Other names in ``metrics`` whose rows go into the bundle: baselines and controls.
    species, licence
        Species of the training data; licence of the bundle. ``None`` if not stated.
    training_data
        One mapping per file that the model was trained on; see the rule ``make_bundle``.
    extends
        The bundle that the model extends, if any. What it says about its data and its licence is kept.

    Raises
    ------
    InputError
        If a file is missing or damaged, or ``metrics`` has no row of the model.
    """
    stored = read_model(files.weights)
    facts = stored["facts"]
    read_calibration(files.calibration, files.weights)
    known, names = read_motifs(files.motifs), motif_names(files.motifs)
    # safetensors writes the memory of an array as it lies, and takes it for row after row.
    matrices = {tf: np.ascontiguousarray(known[tf]) for tf in sorted(known) if tf in facts["tfs"]}
    identities = json.dumps({tf: names[tf] for tf in matrices}, sort_keys=True)
    with damage_errors(files.metrics, "evaluate the model again"):
        table = require(files.metrics, "evaluate the model first").read_text(encoding="utf-8").splitlines()
    rows = [line for line in table[1:] if line.partition("\t")[0] in (name, *comparators)]
    if not any(line.startswith(f"{name}\t") for line in rows):
        raise InputError(files.metrics, f"no row of the model {name}", "evaluate the model again")
    about = {"extends": _described(extends)} if extends else {}
    about |= {
        "name": name,
        "version": __version__,
        "genome": facts["genome"],
        "species": species,
        "licence": licence,
        "facts": facts,
        "training_data": list(training_data),
    }
    members = {
        WEIGHTS: Path(files.weights).read_bytes(),
        CALIBRATION: Path(files.calibration).read_bytes(),
        MOTIFS: save(matrices, {IDENTITIES: identities}),
        METRICS: "".join(f"{line}\n" for line in [table[0], *rows]).encode(),
        HISTORY: require(files.history, "train the model first").read_bytes(),
        CARD: require(files.card, "run the rule model_card first").read_bytes(),
    }
    write_bundle(output, about, members)
    say(f"{output}: {Path(output).stat().st_size:,} bytes")


def check_described(bundle: str | Path, about: Mapping, facts: Mapping) -> None:
    """Raise :class:`InputError` if what a bundle says ``about`` its model are not the ``facts`` of its weights."""
    if json.loads(json.dumps(facts)) != about["facts"] or facts["genome"] != about["genome"]:
        raise InputError(bundle, "describes another model than the weights", AGAIN, ABOUT)


def bundled_motifs(bundle: str | Path, content: bytes) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return matrices by TF, float32 (4, length), sorted, and their identities, from the member ``MOTIFS`` of a bundle.

    Raises :class:`InputError`, with the name of the ``bundle``, if it is damaged.
    """
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        identities, loaded = json.loads(header["__metadata__"][IDENTITIES]), load(content)
        # safetensors gives them in another order each time
        matrices = {tf: loaded[tf] for tf in sorted(loaded)}
        for tf, matrix in matrices.items():
            whole = matrix.dtype == np.float32 and matrix.ndim == 2 and len(matrix) == 4 and matrix.size
            if not whole or not np.isfinite(matrix).all() or not isinstance(identities[tf], str):
                raise ValueError(f"{tf} is not a matrix")
    except DAMAGE as error:
        raise InputError(bundle, f"not readable ({said(error)})", AGAIN, MOTIFS) from error
    return matrices, identities


def _described(bundle: str | Path) -> dict:
    """What a bundle says about itself, without facts and members. Its facts are in those of the new model."""
    return {key: value for key, value in read_about(bundle).items() if key not in ("facts", "members")}
