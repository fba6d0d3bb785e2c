"""Contributions of bases, against what was planted and against the prediction of a changed sequence."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread
from scbind.analysis.explain import COLUMNS, EFFECTS, Question, explain_loci
from scbind.analysis.logits import logit
from scbind.analysis.typesignal import TypeSignal
from scbind.analysis.variants import allele_probabilities
from scbind.core.errors import InputError
from scbind.core.files import read_result, write_table
from scbind.formats.genome import Genome
from scbind.models.predictor import load_predictor
from scbind.report.logoplot import LETTER_COLOURS, contribution_logo, draw_explained, strongest_part

SITE, MOTIF = 17_500, "GGCGCCATTA"  # a planted site of chr1, open where line A is


@pytest.fixture(scope="module")
def explained(tiny, tiny_model, tiny_cells, tmp_path_factory):
    """The table of two questions: the site in the type in which it is open, and in the other."""
    output = tmp_path_factory.mktemp("explained") / "explain.tsv"
    questions = [Question(f"chr1:{SITE}-{SITE + len(MOTIF)}", "TF1", name) for name in ("like_A", "like_C")]
    explain_loci(questions, tiny_cells.types, *tiny_model[:2], tiny["reference"], output, 5)
    return output


def test_the_planted_motif_contributes_and_its_surroundings_do_not(tiny, explained):
    assert SITE in tiny["sites"]["chr1"][::4]
    table = read_result(explained, "")
    for name, rows in table.groupby("cell_type"):
        inside = (rows["start"] >= SITE) & (rows["end"] <= SITE + len(MOTIF))
        assert "".join(rows["ref"][inside]) == MOTIF
        total = rows["contribution"].clip(lower=0)
        assert total[inside].sum() > 0.6 * total.sum(), name
        assert rows["contribution"][inside].mean() > 20 * rows["contribution"][~inside].abs().mean()
    binding = table.groupby("cell_type")["binding"].first()
    assert binding["like_A"] > 2 * binding["like_C"]


def test_effects_are_those_of_the_changed_sequence(tiny, tiny_model, tiny_cells, explained):
    """Against a variant at the centre of the same window."""
    genome, predictor = Genome.open(tiny["reference"]), load_predictor(*tiny_model[:2])
    signal = TypeSignal.open(tiny_cells.types, genome, 5, "test")
    centre = SITE + len(MOTIF) // 2
    table = read_result(explained, "")
    row = table[(table["start"] == centre) & (table["cell_type"] == "like_A")].iloc[0]
    assert row["contribution"] == pytest.approx(-row[EFFECTS].sum() / 3, abs=1e-4)
    for letter in "ACGT":
        one = pd.DataFrame({"chrom": [0], "start": [centre], "ref": [row["ref"]], "alt": [letter]})
        ref, alt = (found[0, 0, 0] for found in allele_probabilities(predictor, genome, one, signal))
        assert row["binding"] == pytest.approx(ref, rel=1e-4)
        assert row[f"effect_{letter}"] == pytest.approx(logit(alt) - logit(ref), abs=1e-3)
    assert row[f"effect_{row['ref']}"] == 0


def test_only_bases_that_the_network_reads_are_listed(explained):
    rows = read_result(explained, "").groupby("cell_type").get_group("like_C")
    assert len(rows) == 600 and rows["start"].iloc[0] == SITE + len(MOTIF) // 2 - 300


BAD = [
    ({"locus": "chr1:25500"}, "'chr1:25500' is not a locus"),
    ({"locus": "chr1:25500-25500"}, "is not a locus"),
    ({"locus": "1:25500-25510"}, "no chromosome '1'; use one of chr1, chr2"),
    ({"locus": "chr1:25500-25701"}, "wider than a window of 200 bp"),
    ({"locus": "chr1:100-110"}, "within 500 bp of the end"),
    ({"locus": "chr2:39900-39910"}, "within 500 bp of the end"),
    ({"tf": "TF7"}, "no TF 'TF7'; use one of TF1, TF2"),
    ({"cell_type": "like_B"}, "no cell type 'like_B'; use one of like_A, like_C"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_questions_end_in_one_line(tiny, tiny_model, tiny_cells, tmp_path, change, message):
    good = {"locus": f"chr1:{SITE}-{SITE + 10}", "tf": "TF1", "cell_type": "like_A"}
    questions = [Question(**good), Question(**good | change)]
    with pytest.raises(InputError, match=message) as caught:
        explain_loci(questions, tiny_cells.types, *tiny_model[:2], tiny["reference"], tmp_path / "x.tsv", 5)
    assert "key explain[1]" in str(caught.value) and not (tmp_path / "x.tsv").exists()


def test_a_question_asked_twice_is_answered_once(tiny, tiny_model, tiny_cells, tmp_path, capsys):
    asked = [Question(f"chr1:{SITE}-{SITE + 10}", "TF1", name) for name in ("like_A", "like_C", "like_A")]
    explain_loci(asked, tiny_cells.types, *tiny_model[:2], tiny["reference"], tmp_path / "x.tsv", 5)
    assert read_result(tmp_path / "x.tsv", "")["cell_type"].tolist() == ["like_A"] * 600 + ["like_C"] * 600
    assert "1 questions are asked again" in capsys.readouterr().err


def test_a_type_with_few_cells_is_not_explained(tiny, tiny_model, tiny_cells, tmp_path, capsys):
    asked = [Question(f"chr1:{SITE}-{SITE + 10}", "TF1", "like_A")]
    explain_loci(asked, tiny_cells.types, *tiny_model[:2], tiny["reference"], tmp_path / "x.tsv", 12)
    assert (tmp_path / "x.tsv").read_text() == "\t".join(COLUMNS) + "\n"
    assert "WARNING explain: like_A has fewer than 12 cells" in capsys.readouterr().err
    draw_explained(tmp_path / "x.tsv", tmp_path / "figures")
    assert not list((tmp_path / "figures").iterdir())


def test_figures_show_the_strongest_part(explained, tmp_path):
    draw_explained(explained, tmp_path / "figures")
    images = sorted((tmp_path / "figures").iterdir())
    assert [image.name for image in images] == ["1_TF1.png", "2_TF1.png"]
    for image in images:  # letters of all four bases are drawn
        pixels = np.round(255 * imread(image)[..., :3]).astype(int)
        for colour in LETTER_COLOURS.values():
            assert (pixels == [int(colour[i : i + 2], 16) for i in (1, 3, 5)]).all(axis=-1).sum() > 20, colour
    rows = read_result(explained, "")
    part = strongest_part(rows[rows["cell_type"] == "like_A"])
    assert len(part) == 61 and MOTIF in "".join(part["ref"])
    edge = pd.DataFrame({"contribution": np.r_[5.0, np.zeros(99)]})
    assert strongest_part(edge).index.tolist() == list(range(61))


def test_figures_mark_tfs_without_chip(explained):
    rows = read_result(explained, "")
    rows = rows[rows["cell_type"] == "like_A"]
    for kind, name in (("chip", "TF1 in like_A"), ("motif", "TF1 (motif) in like_A")):
        title = contribution_logo(rows.assign(evidence=kind)).axes[0].get_title("left")
        assert title.startswith(f"{name}, P(bound)")


def test_a_locus_of_unknown_bases_has_a_figure(explained, tmp_path):
    """Such as the first bases of a chromosome. No contribution is known, and the other questions are drawn as well."""
    rows = read_result(explained, "")
    first = rows["cell_type"] == "like_A"
    rows.loc[first, ["ref", "contribution"]] = ["N", np.nan]
    write_table(tmp_path / "x.tsv", rows)
    draw_explained(tmp_path / "x.tsv", tmp_path / "figures")
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["1_TF1.png", "2_TF1.png"]
