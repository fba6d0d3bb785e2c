"""Make a bundle of a trained model, and take one apart into the files that the other steps read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load, save

from scbind import __version__
from scbind.core.errors import InputError
from scbind.core.files import atomic, require
from scbind.core.runlog import say
from scbind.formats.bundlefile import (
    AGAIN,
    CALIBRATION,
    CARD,
    HISTORY,
    METRICS,
    MOTIFS,
    WEIGHTS,
    check_widths,
    read_bundle,
    write_bundle,
)
from scbind.formats.motifs import motif_names, read_motifs, write_motifs
from scbind.models.base import build_network
from scbind.models.modelfile import DAMAGE, read_calibration, read_model, said

IDENTITIES = "scbind"  # key of the safetensors header that holds TF -> matrix id and name


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

    Raises
    ------
    InputError
        If a file is missing or damaged, or ``metrics`` has no row of the model.
    """
    stored = read_model(files.weights)
    facts = stored["facts"]
    read_calibration(files.calibration, files.weights)
    known, names = read_motifs(files.motifs), motif_names(files.motifs)
    matrices = {tf: known[tf] for tf in sorted(known) if tf in facts["tfs"]}
    identities = json.dumps({tf: names[tf] for tf in matrices}, sort_keys=True)
    table = require(files.metrics, "evaluate the model first").read_text(encoding="utf-8").splitlines()
    rows = [line for line in table[1:] if line.partition("\t")[0] in (name, *comparators)]
    if len(_rows_of(table, name)) == 1:
        raise InputError(files.metrics, f"no row of the model {name}", "evaluate the model again")
    about = {
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


def unpack_bundle(
    bundle: str | Path,
    folder: str | Path,
    name: str,
    *,
    window: int,
    context: int,
    metrics: str | Path,
    evaluation: str | Path,
) -> None:
    """Verify a bundle and write its files, as a training in place would have written them.

    Parameters
    ----------
    bundle
        ``.scbind.zip``.
    folder
        Folder for ``model.safetensors``, ``calibration.json``, ``training.csv``, ``card.md``, ``motifs.npz`` and
        ``bundle.json`` (what the bundle says about itself).
    name
        Name of the model here. It replaces the name that the maker of the bundle gave it in the tables.
    window, context
        Widths in bp of windows and context in this run.
    metrics, evaluation
        The new tables of the accuracy that the maker measured: of the model alone, and also of what it was compared
        with.

    Raises
    ------
    InputError
        If the bundle is damaged, of another format, or of another geometry. Then nothing is written.
    """
    found = read_bundle(bundle)
    about, members, folder = found.about, found.members, Path(folder)
    check_widths(bundle, about["facts"], window, context)
    with atomic(folder / WEIGHTS) as path:
        path.write_bytes(members[WEIGHTS])
        with atomic(folder / CALIBRATION) as other:
            other.write_bytes(members[CALIBRATION])
            facts = _check(bundle, path, other, about)
    matrices, identities = _matrices(bundle, members[MOTIFS])
    write_motifs(folder / "motifs.npz", {tf: (identities[tf], matrix) for tf, matrix in matrices.items()})
    for member in (HISTORY, CARD):
        with atomic(folder / member) as path:
            path.write_bytes(members[member])
    table = _renamed(members[METRICS].decode(), about["name"], name)
    for output, lines in ((metrics, _rows_of(table, name)), (evaluation, table)):
        with atomic(output) as path:
            path.write_bytes("".join(f"{line}\n" for line in lines).encode())
    with atomic(folder / "bundle.json") as path:
        path.write_text(json.dumps({**about, "file": Path(bundle).name}, indent=1, sort_keys=True) + "\n")
    modelled = sum(facts["modelled"])
    say(
        f"{bundle}: {about['name']}, {modelled} TFs, trained on {facts['genome']} by scbind {about['version']}"
    )


def _check(bundle: str | Path, weights: Path, calibration: Path, about: Mapping) -> dict:
    """Return the facts of the model. Raises :class:`InputError` if the files of a bundle do not belong together."""
    try:
        stored = read_model(weights)
        read_calibration(calibration, weights)
        build_network(stored["facts"]["architecture"], stored["facts"], stored["options"]).load_state_dict(
            stored["state"]
        )
    except InputError as error:
        raise InputError(bundle, error.problem, AGAIN, WEIGHTS) from error
    except DAMAGE as error:
        raise InputError(bundle, f"its weights do not fit ({said(error)})", AGAIN, WEIGHTS) from error
    if json.loads(json.dumps(stored["facts"])) != about["facts"]:
        raise InputError(bundle, "bundle.json describes another model than the weights", AGAIN, WEIGHTS)
    return stored["facts"]


def _matrices(bundle: str | Path, content: bytes) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Matrices by TF, float32 (4, length), and their identities."""
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        identities, matrices = json.loads(header["__metadata__"][IDENTITIES]), load(content)
        for tf, matrix in matrices.items():
            if matrix.dtype != np.float32 or matrix.ndim != 2 or len(matrix) != 4 or tf not in identities:
                raise ValueError(f"{tf} is no matrix")
    except DAMAGE as error:
        raise InputError(bundle, f"not readable ({said(error)})", AGAIN, MOTIFS) from error
    return matrices, identities


def _renamed(table: str, name: str, here: str) -> list[str]:
    """Lines of the table of metrics, with the model's name replaced in the first column."""
    start = f"{name}\t"
    return [
        f"{here}\t{line[len(start) :]}" if line.startswith(start) else line for line in table.splitlines()
    ]


def _rows_of(table: list[str], name: str) -> list[str]:
    """The header and the rows of one model."""
    return [table[0], *(line for line in table[1:] if line.startswith(f"{name}\t"))]
