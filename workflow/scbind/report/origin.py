"""The origin of a model that was trained elsewhere, and what it means for the reader of the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scbind.core.files import read_json
from scbind.dataset.seen import trained_lines
from scbind.report.tables import join_names

MANY = 8  # cell lines named in a sentence


@dataclass(frozen=True)
class Origin:
    """What a bundle says about its model (``about``), and ``genome`` and ``species`` of this run."""

    about: Mapping
    genome: str | None
    species: str | None

    def point(self) -> str:
        """Sentence for the summary."""
        bundle = self.about["file"]
        return (
            f"The model that predicts binding was not trained in this run. It comes from the bundle {bundle} (see the "
            "section on accuracy in bulk cell lines)."
        )

    def sentences(self, tested: bool) -> list[str]:
        """Sentences for the section on accuracy. ``tested``: the accuracy was measured in this run."""
        about, named = self.about, join_names(trained_lines(self.about["facts"]), MANY)
        said = [
            f"The model was not trained in this run. It comes from the bundle {about['file']} (named {about['name']} "
            f"there, made with scbind {about['version']}) and was trained on {named}, "
            f"genome {about['genome']}. Licence: {about['licence'] or 'not stated'}."
        ]
        if not tested:
            said.append(
                "It was not tested in this run, because the configuration names no cell lines (sheets.tracks and "
                "sheets.chip). The numbers below are those that the authors of the bundle measured. The model card "
                "shows how accuracy depends on depth. Precision-recall curves are not shown."
            )
        theirs = about["species"]
        if theirs and self.species and theirs.lower() != self.species.lower():
            said.append(
                f"The model was trained on {theirs} and is applied to {self.species}. Its accuracy there is not known, "
                "unless it was tested in this run on cell lines of that species."
            )
        elif about["genome"] != self.genome:
            said.append(
                f"It is applied to {self.genome}. A model reads only sequence and insertions, so it can be applied to "
                "another assembly."
            )
        return said


def read_origin(bundle: str | Path, applied_to: Mapping[str, str | None]) -> Origin:
    """Read ``bundle.json``. ``applied_to`` has ``genome`` and ``species`` of this run."""
    about = read_json(bundle, "run the rule unpack_bundle again")
    return Origin(about, applied_to.get("genome"), applied_to.get("species"))
