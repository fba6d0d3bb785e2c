"""Take a bundle apart into the files that the other steps read, as a training in place would have written them.

TFs without ChIP-seq can be added to its model on the way.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Mapping
from pathlib import Path

from scbind.core.errors import InputError, said
from scbind.core.files import atomic, file_sha256
from scbind.core.runlog import say
from scbind.core.scratch import scratch_folder
from scbind.formats.bundlefile import (
    ABOUT,
    AGAIN,
    CALIBRATION,
    CARD,
    HISTORY,
    METRICS,
    MOTIFS,
    WEIGHTS,
    check_names,
    check_widths,
    read_bundle,
)
from scbind.formats.evidence import shared_motifs
from scbind.formats.motifs import write_motifs
from scbind.formats.motiftfs import PLACE
from scbind.models.abstention import reliability_table
from scbind.models.addition import add_from_release
from scbind.models.base import build_network
from scbind.models.bundle import bundled_motifs, check_described
from scbind.models.modelfile import DAMAGE, read_calibration, read_model
from scbind.models.motifcalibration import add_motif_calibration
from scbind.models.predictor import Predictor

KNOWN = "motifs.npz"  # the matrices, in the form that the other steps read
COLUMNS = ("model", "cell_line", "tf", "split", "auprc", "prevalence")  # that a table of accuracy must have


def unpack_bundle(
    bundle: str | Path,
    folder: str | Path,
    name: str,
    *,
    window: int,
    context: int,
    metrics: str | Path,
    evaluation: str | Path,
    motif_tfs: Mapping | None = None,
) -> None:
    """Verify a bundle and write its files.

    Parameters
    ----------
    bundle
        ``.scbind.zip``.
    folder
        Folder for ``model.safetensors``, ``calibration.json``, ``training.csv``, ``card.md``, ``motifs.npz`` and
        ``bundle.json`` (what the bundle says about itself). If TFs are added, a section of the card names them.
    name
        Name of the model here. It replaces the name that the authors of the bundle gave it in the tables.
    window, context
        Widths in bp of windows and context in this run.
    metrics, evaluation
        The new tables of the accuracy that the authors measured: of the model alone, and also of what it was compared
        with.
    motif_tfs
        TFs without ChIP-seq to add: ``asked``, ``release``, ``taxon``, ``path`` and ``aliases`` of
        :func:`scbind.models.addition.add_from_release`. ``None`` adds none.

    Raises
    ------
    InputError
        If the bundle is damaged, of another format, or of another geometry, or TFs cannot be added. Then nothing is
        written.
    """
    found = read_bundle(bundle)
    about, members, folder = found.about, found.members, Path(folder)
    check_widths(bundle, about["facts"], window, context)
    check_names(bundle, about["facts"])
    matrices, identities = bundled_motifs(bundle, members[MOTIFS])
    table = _table(bundle, members, about["name"], name)
    history, card = (_text(bundle, members, member) for member in (HISTORY, CARD))
    with scratch_folder(None, "bundle") as scratch:
        for member in (WEIGHTS, CALIBRATION):
            (scratch / member).write_bytes(members[member])
        facts = _check_model(bundle, scratch, about)
        write_motifs(scratch / KNOWN, {tf: (identities[tf], matrix) for tf, matrix in matrices.items()})
        if motif_tfs:
            facts = _add_motif_tfs(bundle, name, scratch, **motif_tfs)
            card = _card_of_added(card, facts, set(about["facts"]["tfs"]))
        made = {name: (scratch / name).read_bytes() for name in (WEIGHTS, CALIBRATION, KNOWN)}

    for member, content in (made | {HISTORY: history.encode(), CARD: card.encode()}).items():
        with atomic(folder / member) as path:
            path.write_bytes(content)
    own = [line for line in table[1:] if line.startswith(f"{name}\t")]
    for output, lines in ((metrics, [table[0], *own]), (evaluation, table)):
        with atomic(output) as path:
            path.write_bytes("".join(f"{line}\n" for line in lines).encode())
    with atomic(folder / ABOUT) as path:
        path.write_text(json.dumps({**about, "file": Path(bundle).name}, indent=1, sort_keys=True) + "\n")
    modelled = sum(facts["modelled"])
    say(
        f"{bundle}: {about['name']}, {modelled} TFs, trained on {facts['genome']} by scbind {about['version']}"
    )


def _check_model(bundle: str | Path, folder: Path, about: Mapping) -> dict:
    """Return the facts of the model in ``folder``.

    Raises :class:`InputError` if the files of a bundle do not belong together.
    """
    member, weights = WEIGHTS, folder / WEIGHTS
    try:
        stored = read_model(weights)
        network = build_network(stored["facts"]["architecture"], stored["facts"], stored["options"])
        network.load_state_dict(stored["state"])
        member = CALIBRATION
        calibration = read_calibration(folder / CALIBRATION, weights)
        model = Predictor(network, stored["facts"], calibration)
        reliability_table(model.reliability, model.tfs)
    except InputError as error:
        raise InputError(bundle, error.problem, AGAIN, member) from error
    except DAMAGE as error:
        raise InputError(bundle, f"does not fit ({said(error)})", AGAIN, member) from error
    facts = stored["facts"]
    check_described(bundle, about, facts)
    if not all(isinstance(each, dict) for each in about["training_data"]):
        raise InputError(bundle, "training_data is not a list of sections", AGAIN, ABOUT)
    return facts


def _add_motif_tfs(bundle: str | Path, name: str, folder: Path, **asked) -> dict:
    """Add TFs without ChIP-seq to the model in ``folder`` and to its calibration; return its new facts.

    Raises :class:`InputError`, which names the model and its bundle, if the TFs cannot be added.
    """
    weights, known, place = folder / WEIGHTS, folder / KNOWN, f"key {PLACE.replace('*', name)}"
    calibration = read_calibration(folder / CALIBRATION, weights)
    if "motif_tfs" not in calibration:
        problem = "its model cannot predict TFs without ChIP-seq"
        raise InputError(bundle, problem, f"set models.{name}.motif_tfs: none, or use another bundle", place)
    try:
        add_from_release(weights, known, weights, known, **asked)
    except InputError as error:
        if error.place != PLACE:  # such as a line of a file of matrices
            raise
        where = f"{place}, bundle {bundle}"
        raise InputError(error.file, error.problem, error.remedy, where) from error
    facts = read_model(weights)["facts"]
    add_motif_calibration(calibration, facts)
    calibration["model_sha256"] = file_sha256(weights)
    (folder / CALIBRATION).write_text(json.dumps(calibration, indent=1))
    return facts


def _card_of_added(card: str, facts: Mapping, before: Collection[str]) -> str:
    """Return the card of a bundle with a section, above the others, on the TFs that the bundle lacks.

    ``facts`` are those of the model with these TFs, ``before`` the TFs of the bundle.
    """
    new = [tf for tf in facts["tfs"] if tf not in before]
    alike = shared_motifs(dict(zip(facts["tfs"], facts["motif_group"], strict=True)), new)
    text = (
        "## TFs that were added here\n\n"
        f"Predicted from their motif, without ChIP-seq (evidence `motif`): {', '.join(new)}.\n"
        "All other sections describe the model of the bundle, which lacks these TFs. Its section on TFs without\n"
        "ChIP-seq says how accurate such predictions are expected to be.\n"
    )
    if alike:
        groups = ", ".join("/".join(tfs) for tfs in alike)
        text += f"The TFs of a group have one motif, so the model ranks their sites in almost the same way: {groups}.\n"
    about, heading, rest = card.partition("\n## ")
    return f"{about.rstrip()}\n\n{text}{heading}{rest}"


def _text(bundle: str | Path, members: Mapping[str, bytes], member: str) -> str:
    try:
        text = members[member].decode("utf-8")
        if member == HISTORY:
            epochs = list(csv.reader(text.splitlines(), strict=True))
            if len(epochs) < 2 or len({len(row) for row in epochs}) > 1:
                raise ValueError("not one row per epoch")
    except (ValueError, csv.Error) as error:
        raise InputError(bundle, f"not readable ({said(error)})", AGAIN, member) from error
    return text


def _table(bundle: str | Path, members: Mapping[str, bytes], name: str, here: str) -> list[str]:
    """Lines of the table of accuracy, with the model's name replaced in the first column."""
    lines = _text(bundle, members, METRICS).splitlines()
    columns = lines[0].split("\t") if lines else []
    if columns[:1] != ["model"] or not set(COLUMNS) <= set(columns):
        raise InputError(bundle, "not a table of accuracy", AGAIN, METRICS)
    start = f"{name}\t"
    if any(line.count("\t") != len(columns) - 1 for line in lines) or not any(
        line.startswith(start) for line in lines
    ):
        raise InputError(bundle, f"not a table with rows of {name}", AGAIN, METRICS)
    return [f"{here}\t{line[len(start) :]}" if line.startswith(start) else line for line in lines]
