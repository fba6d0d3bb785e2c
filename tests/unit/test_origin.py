"""What the report says about a model that was trained elsewhere."""

import json
from pathlib import Path

import pytest
from scbind.core.errors import InputError
from scbind.report.origin import read_extended, read_origin

ABOUT = {
    "file": "starter.scbind.zip",
    "name": "starter",
    "version": "0.1.0",
    "genome": "hg19",
    "species": "human",
    "licence": "MIT",
    "facts": {"cell_lines": ["A", "B", "C"], "assayed": [[True, False], [False, False], [True, True]]},
}


@pytest.fixture
def said(tmp_path):
    def read(tested=False, genome="hg19", species="human", **changes):
        path = tmp_path / "bundle.json"
        path.write_text(json.dumps(ABOUT | changes))
        origin = read_origin(path, {"genome": genome, "species": species})
        assert "starter.scbind.zip" in origin.point()
        return " ".join(origin.sentences(tested))

    return read


def test_origin_names_bundle_lines_genome_and_licence(said):
    text = said()
    assert "comes from the bundle starter.scbind.zip (named starter there, made with scbind 0.1.0)" in text
    assert "was trained on A and C, genome hg19. Licence: MIT." in text
    assert "was not tested in this run" in text and "is applied to" not in text
    assert "Licence: not stated." in said(licence=None)
    assert "was not tested in this run" not in said(tested=True)


def test_another_assembly_is_information_and_another_species_a_warning(said):
    assert "It is applied to hg38. A model reads only sequence and insertions" in said(genome="hg38")
    text = said(genome="mm10", species="mouse")
    assert "was trained on human and is applied to mouse. Its accuracy there is not known" in text
    assert "is applied to mouse" not in said(genome="mm10", species=None)
    assert "species" not in said(species="Human")


def test_many_lines_are_counted(said):
    facts = {"cell_lines": [f"L{n}" for n in range(20)], "assayed": [[True]] * 20}
    assert "L6, L7 and 12 more, genome" in said(facts=facts)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file; run the rule unpack_bundle again"):
        read_origin(tmp_path / "bundle.json", {})


def test_a_bundle_that_is_extended_is_named_and_what_was_trained_here():
    starter = Path(__file__).parents[2] / "resources/models/starter.scbind.zip"
    ours = read_extended(starter, {"genome": "hg38", "species": "human"})
    assert ours.point() == (
        "The model that predicts binding extends that of the bundle starter.scbind.zip. The TFs of the ChIP-seq sheet "
        "were trained in this run. All other TFs are those of the bundle."
    )
    (text,) = ours.sentences(tested=True)
    assert (
        "(named starter there, made with scbind 0.1.0), which was trained on GM12878 and K562, genome hg19."
        in text
    )
    assert (
        "Only the TFs of the ChIP-seq sheet were trained in this run. The numbers below are theirs." in text
    )
    mouse = read_extended(starter, {"genome": "mm10", "species": "mouse"})
    assert mouse.other_species == "human"
    assert "The bundle was trained on human, and this run is on mouse." in mouse.sentences(tested=True)[1]
