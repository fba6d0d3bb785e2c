"""The origin of a model that was trained elsewhere, and what it means for the reader of the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scbind.core.files import read_json
from scbind.dataset.seen import trained_lines, with_extended
from scbind.formats.bundlefile import read_about
from scbind.report.tables import join_names

MANY = 8  # cell lines named in a sentence


@dataclass(frozen=True)
class Origin:
    """What a bundle says about its model (``about``), and ``genome`` and ``species`` of this run."""

    about: Mapping
    genome: str | None
    species: str | None

    @property
    def other_species(self) -> str | None:
        """Species of a training, if it is known to be another one than that of this run."""
        for about in with_extended(self.about):
            theirs = about["species"]
            if theirs and self.species and theirs.lower() != self.species.lower():
                return theirs
        return None

    def point(self) -> str:
        """Sentence for the summary."""
        bundle = self.about["file"]
        return (
            f"The model that predicts binding was not trained in this run. It comes from the bundle {bundle} (see the "
            "section on accuracy in bulk cell lines)."
        )

    def sentences(self, tested: bool) -> list[str]:
        """Sentences for the section on accuracy. ``tested``: the accuracy was measured in this run."""
        said = [
            f"The model was not trained in this run. It comes from {self._bundle()} and was {self._training()}"
        ]
        if not tested:
            said.append(
                "It was not tested in this run, because the configuration names no cell lines (sheets.tracks and "
                "sheets.chip). The numbers below are those that the authors of the bundle measured. The model card "
                "shows how accuracy depends on depth. Precision-recall curves are not shown."
            )
        if self.other_species:
            said.append(
                f"The model was trained on {self.other_species} and is applied to {self.species}. Its accuracy there "
                "is not known, unless it was tested in this run on cell lines of that species."
            )
        elif self.about["genome"] != self.genome:
            said.append(
                f"It is applied to {self.genome}. A model reads only sequence and insertions, so it can be applied to "
                "another assembly."
            )
        return said

    def _bundle(self) -> str:
        about = self.about
        return (
            f"the bundle {about['file']} (named {about['name']} there, made with scbind {about['version']})"
        )

    def _training(self) -> str:
        said = []
        for about, facts in zip(with_extended(self.about), with_extended(self.about["facts"]), strict=False):
            named = f"trained on {join_names(trained_lines(facts), MANY)}, genome {about['genome']}."
            licence = f"Licence: {about['licence'] or 'not stated'}."
            said.append(
                f"It extends {about['name']}, which was {named} {licence}" if said else f"{named} {licence}"
            )
        return " ".join(said)


class Extended(Origin):
    """As :class:`Origin`, of a bundle that the model of this run extends."""

    def point(self) -> str:
        """Sentence for the summary."""
        return (
            f"The model that predicts binding extends that of the bundle {self.about['file']}. The TFs of the ChIP-seq "
            "sheet were trained in this run. All other TFs are those of the bundle."
        )

    def sentences(self, tested: bool) -> list[str]:
        """Sentences for the section on accuracy."""
        said = [
            f"The model extends that of {self._bundle()}, which was {self._training()} Only the TFs of the ChIP-seq "
            "sheet were trained in this run. The numbers below are theirs. Those of the other TFs are on the model "
            "card in the bundle."
        ]
        if self.other_species:
            said.append(
                f"The bundle was trained on {self.other_species}, and this run is on {self.species}. The accuracy of "
                "the TFs of the bundle is not known there."
            )
        return said


def read_extended(bundle: str | Path, applied_to: Mapping[str, str | None]) -> Extended:
    """Read what the bundle says about itself. ``applied_to`` has ``genome`` and ``species`` of this run."""
    about = {**read_about(bundle), "file": Path(bundle).name}
    return Extended(about, applied_to.get("genome"), applied_to.get("species"))


def read_origin(bundle: str | Path, applied_to: Mapping[str, str | None]) -> Origin:
    """Read ``bundle.json``. ``applied_to`` has ``genome`` and ``species`` of this run."""
    about = read_json(bundle, "run the rule unpack_bundle again")
    return Origin(about, applied_to.get("genome"), applied_to.get("species"))
