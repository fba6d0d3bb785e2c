import json
import re

import pandas as pd
import pytest
from scbind.core.errors import InputError
from scbind.evaluation.probabilities import CALIBRATION_COLUMNS
from scbind.models.modelfile import write_model
from scbind.report.card import write_card

FACTS = {
    "version": "0.1.0", "architecture": "scbind", "genome": "hg19", "window": 200, "context": 1000,
    "tfs": ["CTCF", "SPI1", "REST"], "modelled": [True, True, False], "cell_lines": ["GM12878", "K562"],
    "assayed": [[True, True, False], [False, False, False]], "splits": {"test": ["chr1"]},
    "depth": {"GM12878": {"chr1": 0.5, "chr2": 1.5}}, "normalisation": "insertion counts",
}  # fmt: skip
CALIBRATION = {
    "reliability": {
        "CTCF": {"level": "high", "abstained": False, "min_depth": 0.0123, "spread": 0.05,
                 "auprc_at": [[-1.0, 0.6], [-3.0, 0.25]]},
        "SPI1": {"level": "low", "abstained": True, "min_depth": None, "spread": None,
                 "auprc_at": [[-1.0, 0.2], [-3.0, None]]},
    }
}  # fmt: skip


def metrics(path, models=("scbind",)):
    rows = [
        (
            model,
            "GM12878",
            tf,
            split,
            1000,
            10,
            0.01,
            0.9,
            auprc,
            4.0,
            0.2,
            0.3,
            0.004,
            0.02,
            40,
            0.3,
            0.2,
            n,
            0.5,
            0.4,
        )
        for model in models
        for tf, auprc, n in (("CTCF", 0.5, 10), ("SPI1", 0.1, 0))
        for split in ("both", "test")
    ]
    columns = "model cell_line tf split n_windows n_bound prevalence auroc auprc log2_gain"
    columns += " recall_at_fdr10 recall_at_fdr50"
    pd.DataFrame(rows, columns=[*columns.split(), *CALIBRATION_COLUMNS]).to_csv(path, sep="\t", index=False)
    return path


def test_card_says_what_the_model_is_and_how_good(tmp_path):
    write_card(FACTS, CALIBRATION, metrics(tmp_path / "m.tsv"), tmp_path / "card.md")
    text = (tmp_path / "card.md").read_text()
    assert text.startswith("# Model card: scbind\n")
    assert "genome hg19" in text and "for 2 transcription factors" in text
    assert "| GM12878 | 2 | 1 |" in text and "| K562 | none: held out | - |" in text
    assert "No output, because no training window is bound: REST." in text
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("| test |"))
    assert lines[first] == "| test | 2 | 0.0100 | 0.300 | 4 | 0.900 | 0.200 | 0.300 | 0.00400 |"
    assert lines[first + 1].startswith("| both |")
    assert (
        "Where scbind predicts P(bound) of 0.3 or more (10 pairs of window and TF), the mean P(bound) is"
        in text
    )
    assert (
        "is 0.500, and the fraction that is bound is 0.400. Over all windows, the mean P(bound) is 2 times"
        in text
    )
    trust = next(
        i for i, line in enumerate(lines) if line.startswith("| pairs | prevalence | mean P(bound) |")
    )
    row = "| 2 | 0.0100 | 0.0200 | 2 | 0.400 | 80 | 0.300 | 0.200 | 10 | 0.500 | 0.400 |"
    assert lines[trust + 2] == row and {line.count("|") for line in lines[trust : trust + 3]} == {12}
    best = next(i for i, line in enumerate(lines) if line.startswith("| CTCF |"))
    row = "| CTCF | high | 0.0123 | 0.0500 | 0.0100 | 0.500 | 4 | 0.900 | 0.200 | 0.300 | 0.00400"
    row += " | 40 | 0.300 | 0.200 |"
    assert lines[best] == row
    assert {line.count("|") for line in lines[best - 2 : best + 2]} == {15}
    assert lines[best + 1].startswith("| SPI1 | low, abstained | – | – |")
    assert "* reliability high: CTCF" in text and "* reliability low: SPI1" in text
    assert "* abstained on: SPI1\n" in text
    assert "chr1" in text


def test_card_says_how_accurate_left_out_tfs_are(tmp_path):
    row = {
        "model": "scbind",
        "split": "test",
        "prevalence": 0.01,
        "auprc": 0.3,
        "auprc_seen": 0.4,
        "auprc_expected": 0.35,
    } | dict.fromkeys(CALIBRATION_COLUMNS, 0.002)
    row |= {"auprc_pooled_trees": 0.15, "auprc_accessibility": 0.1, "auprc_motif_x_accessibility": 0.2}
    rows = [
        row | {"tf": tf, "motif_group": tf, "auprc": 0.3 + step}
        for tf, step in zip("ABCDE", (-0.1, -0.05, 0, 0.05, 0.1), strict=True)
    ]
    rows += [each | {"model": "other", "auprc": 0.9} for each in rows]
    pd.DataFrame(rows).to_csv(tmp_path / "l.tsv", sep="\t", index=False)
    motif = {
        "level": "medium",
        "abstained": False,
        "min_depth": 0.01,
        "evidence": "motif",
        "motif_group": "FOS",
    }
    known = {"reliability": CALIBRATION["reliability"] | {"FOS": motif | {"auprc_expected": 0.35}}}
    facts = FACTS | {"tfs": [*FACTS["tfs"], "FOS"], "modelled": [*FACTS["modelled"], True]}
    write_card(facts, known, metrics(tmp_path / "m.tsv"), tmp_path / "card.md", left_out=tmp_path / "l.tsv")
    part = (tmp_path / "card.md").read_text().partition("## TFs without ChIP-seq")[2].partition("\n## ")[0]
    assert "| FOS | FOS | medium | 0.350 | 0.0100 |" in part
    found = next(line for line in part.splitlines() if line.startswith("| test |")).split(" | ")
    assert found[1:3] == ["5", "0.0100"] and found[4:8] == ["0.350", "0.300", "0.400", "0.150"]
    assert found[9] == "0.200" and found[11] == "0.100 |"
    for cell, mean in ((3, "0.300"), (8, "0.150"), (10, "0.100")):
        assert re.fullmatch(rf"{mean} \(\S+ to \S+\)", found[cell]), "each has its interval"
    assert "0.9" not in part
    tables = [line for line in part.splitlines() if line.startswith("|")]
    assert [line.count("|") for line in tables[-6:]] == [13] * 3 + [12] * 3


def test_card_says_that_tfs_can_be_added(tmp_path):
    write_card(FACTS, CALIBRATION, metrics(tmp_path / "m.tsv"), tmp_path / "card.md")
    assert "TFs without ChIP-seq" not in (tmp_path / "card.md").read_text()
    any_tf = {"auprc_expected": 0.27, "level": "medium", "abstained": False, "min_depth": 0.0002}
    known = CALIBRATION | {"motif_tfs": {"parameters": [1, 0, 0, 0], "reliability": any_tf}}
    write_card(FACTS, known, tmp_path / "m.tsv", tmp_path / "card.md")
    part = (tmp_path / "card.md").read_text().partition("## TFs without ChIP-seq")[2].partition("\n## ")[0]
    assert (
        "Expected AUPRC:\n0.270. Reliability: medium. Minimum depth: 2.0e-04." in part and "| FOS" not in part
    )


def test_card_compares_the_model_with_baselines_and_no_other_model(tmp_path):
    models = ("scbind", "accessibility", "permuted_labels", "another")
    compared = metrics(tmp_path / "all.tsv", models)
    rows = pd.read_csv(compared, sep="\t")
    rows.loc[rows["model"] == "accessibility", "auprc"] /= 2
    rows.to_csv(compared, sep="\t", index=False)
    files = FACTS, CALIBRATION, metrics(tmp_path / "m.tsv"), tmp_path / "card.md"
    write_card(*files, comparison=compared)
    text = (tmp_path / "card.md").read_text()
    part = text.partition("### Beside the baselines")[2].partition("## Each TF")[0]
    assert "| scbind (this model) | 2 | 0.0100 | 0.300 | 4 | 0.900 |" in part
    assert "| accessibility | 2 | 0.0100 | 0.150 | 4 | 0.900 |" in part
    assert "| permuted_labels (control) |" in part and "another" not in part
    write_card(*files)
    assert "Beside the baselines" not in (tmp_path / "card.md").read_text()


FOUND = """tf\tmotif\tconsensus\tstarts_found\tstarts_known\tnearest_known\tnearest_p_adjusted\town_p_adjusted
SPI1\tfound:SPI1.1\tAGGAAGTG\t1\t0\tMA0080.7:Spi1\t1.2e-8\t1.2e-8
SPI1\tMA0080.7:Spi1\tAGGAAGTGG\t0\t1\t\t\t
CTCF\tfound:CTCF.1\tCCACtAG\t1\t1\t\t\t0.3
"""
LEARNED = """tf\tconsensus\tnearest_known\tnearest_p_adjusted\town_p_adjusted
SPI1\tAGGAAGTGa\tMA0473.4:ELF1\t0.0123\t0.02
CTCF\tCCACtAGa\t\t\t0.3
"""


@pytest.mark.parametrize(
    ("start", "first"),
    [
        ("starts_known", "MA0080.7:Spi1 | AGGAAGTGG |  "),
        ("starts_found", "found:SPI1.1 | AGGAAGTG | MA0080.7:Spi1 (1.2e-08) "),
    ],
)
def test_card_lists_from_which_motifs_the_training_started(tmp_path, start, first):
    (tmp_path / "found.tsv").write_text(FOUND)
    (tmp_path / "learned.tsv").write_text(LEARNED)
    files = FACTS, CALIBRATION, metrics(tmp_path / "m.tsv"), tmp_path / "card.md"
    write_card(*files, found=tmp_path / "found.tsv", learned=tmp_path / "learned.tsv", start=start)
    part = (tmp_path / "card.md").read_text().partition("## Motifs")[2].partition("\n## ")[0]
    rows = [line for line in part.splitlines() if line.startswith("|")]
    assert rows[2] == "| CTCF | found:CTCF.1 | CCACtAG |  | CCACtAGa |  |"
    assert rows[3] == f"| SPI1 | {first}| AGGAAGTGa | MA0473.4:ELF1 (0.0123) |" and len(rows) == 4
    write_card(*files)
    assert "## Motifs" not in (tmp_path / "card.md").read_text()


def test_card_says_how_accuracy_falls_with_depth(tmp_path):
    write_card(FACTS, CALIBRATION, metrics(tmp_path / "m.tsv"), tmp_path / "card.md")
    lines = (tmp_path / "card.md").read_text().partition("## Accuracy against depth")[2].splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert table == [
        "| TF | 0.100 | 0.00100 |",
        "|---|---|---|",
        "| mean | 0.400 | 0.250 |",
        "| CTCF | 0.600 | 0.250 |",
        "| SPI1 | 0.200 | – |",
    ]
    old = {"reliability": {"CTCF": {"level": "high", "abstained": False}}}
    write_card(FACTS, old, metrics(tmp_path / "m.tsv"), tmp_path / "card.md")
    assert "against depth" not in (tmp_path / "card.md").read_text()


def test_card_lists_the_settings_of_the_training(tmp_path):
    table, settings = metrics(tmp_path / "m.tsv"), {"epochs": 20, "seed": 1, "sampling": {"hard": None}}
    write_card(FACTS, CALIBRATION, table, tmp_path / "card.md", training=settings)
    text = (tmp_path / "card.md").read_text()
    assert "| `epochs` | 20 |\n| `seed` | 1 |\n| `sampling.hard` | empty |\n" in text
    write_card(FACTS, CALIBRATION, table, tmp_path / "card.md")
    assert "Settings of the training" not in (tmp_path / "card.md").read_text()


def test_files_and_mappings_give_the_same_card(tmp_path):
    (tmp_path / "facts.json").write_text(json.dumps(FACTS))
    (tmp_path / "calibration.json").write_text(json.dumps(CALIBRATION))
    table = metrics(tmp_path / "m.tsv")
    write_card(tmp_path / "facts.json", tmp_path / "calibration.json", table, tmp_path / "a.md")
    write_card(FACTS, CALIBRATION, table, tmp_path / "b.md")
    assert (tmp_path / "a.md").read_text() == (tmp_path / "b.md").read_text()


def test_model_file(tmp_path):
    facts = FACTS | {"chromosomes": {"chr1": 10}, "bound_train": {"CTCF": 9}, "mappability": False}
    write_model(tmp_path / "model.safetensors", {}, facts, {})
    table = metrics(tmp_path / "m.tsv")
    write_card(tmp_path / "model.safetensors", CALIBRATION, table, tmp_path / "card.md")
    assert "genome hg19" in (tmp_path / "card.md").read_text()


def test_bad_inputs(tmp_path):
    table, card = metrics(tmp_path / "m.tsv"), tmp_path / "card.md"
    with pytest.raises(InputError, match="has no architecture, version"):
        write_card({"genome": "hg19"}, CALIBRATION, table, card)
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(InputError, match="bad.json: is not JSON"):
        write_card(FACTS, tmp_path / "bad.json", table, card)
    with pytest.raises(InputError, match="holds 2 models, but one is expected"):
        write_card(FACTS, CALIBRATION, metrics(tmp_path / "two.tsv", ("a", "b")), card)
    (tmp_path / "short.tsv").write_text("model\ttf\nx\tCTCF\n")
    with pytest.raises(InputError, match="has no column auprc"):
        write_card(FACTS, CALIBRATION, tmp_path / "short.tsv", card)
    with pytest.raises(InputError, match="no such file"):
        write_card(tmp_path / "none.json", CALIBRATION, table, card)
    assert not card.exists()
