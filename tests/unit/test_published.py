"""Published figures beside those of a run."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scbind.core.files import read_result
from scbind.dataset.splits import CHR1_PROTOCOL, TEST, TRAIN, VALID
from scbind.dataset.trainingset import TrainingSet
from scbind.evaluation.evaluate import kinds_beside_given, score_test_windows
from scbind.evaluation.merge import METRIC_COLUMNS, merge_metrics, stack_tables
from scbind.evaluation.published import TABLES, match_published
from scbind.evaluation.registry import MAXATAC
from scbind.report.accuracy import comparison
from scbind.report.models import _beside_published


@pytest.fixture
def held_out(tiny, tiny_dataset, tmp_path):
    """A dataset in which line C and chr1 are held out, and line A validates on chr2. Call it with its genome's name."""

    def opened(genome):
        reference, dataset = tmp_path / genome, tmp_path / "dataset"
        shutil.copytree(tiny["reference"], reference)
        shutil.copytree(tiny_dataset, dataset, dirs_exist_ok=True)
        manifest = json.loads((dataset / "manifest.json").read_text())
        (dataset / "manifest.json").write_text(json.dumps(manifest | {"genome": genome}))
        chrom = np.load(dataset / "windows.npz")["chrom"]
        splits = np.where(chrom == 0, TEST, TRAIN)[None].repeat(2, axis=0).astype(np.uint8)
        splits[1] = TEST
        splits[0, np.flatnonzero(chrom == 1)[:20]] = VALID  # for C, of the kind "both" as chr1 is
        np.save(dataset / "splits.npy", splits)
        return TrainingSet.open(dataset, reference)

    return opened


def test_chr1_of_the_held_out_line_is_scored_on_its_own(held_out, tmp_path):
    data = held_out("hg38")
    table, _ = score_test_windows(data, lambda line, window: np.full((len(window), 2), 0.5), "m", tmp_path)
    size = table[table["tf"] == "TF1"].set_index(["cell_line", "split"])["n_windows"]
    assert (
        size["C", CHR1_PROTOCOL] == int((data.labels[1, data.chrom == 0, 0] >= 0).sum()) < size["C", "both"]
    )
    assert ("A", CHR1_PROTOCOL) not in size.index, "A was trained on"


def test_a_line_that_a_given_model_knows_is_not_scored_so(held_out, tmp_path):
    """Neither for the model nor for the baselines beside it, so that no published figure is drawn in."""
    data = held_out("hg38")
    data = replace(data, splits=np.where(np.asarray(data.splits) == TRAIN, 0, data.splits))
    facts = {
        "genome": "hg38",
        "chromosomes": data.genome.sequenced,
        "cell_lines": ["c"],
        "assayed": [[True]],
        "splits": {"test": ["*:chr1"], "valid": [], "train": ["c:chr2"]},
    }
    (tmp_path / "bundle.json").write_text(json.dumps({"facts": facts}))
    for given, expected in (([], True), (["bundle.json"], False), (["bundle.json"] * 2, False)):
        kinds = kinds_beside_given(data, [tmp_path / name for name in given])
        table, _ = score_test_windows(
            data, lambda _, window: np.full((len(window), 2), 0.5), "m", tmp_path, kinds=kinds
        )
        assert (("C", CHR1_PROTOCOL) in set(zip(table["cell_line"], table["split"], strict=True))) is expected


def test_a_part_of_chr1_is_not_scored_as_the_published_whole(held_out, tmp_path):
    data = held_out("hg38")
    splits = np.array(data.splits)
    splits[1, np.flatnonzero(data.chrom == 0)[::2]] = 0
    data = replace(data, splits=splits)
    table, _ = score_test_windows(data, lambda line, window: np.full((len(window), 2), 0.5), "m", tmp_path)
    assert "both" in set(table["split"]) and CHR1_PROTOCOL not in set(table["split"])


def test_another_genome_is_not_scored_so(held_out, tmp_path):
    data = held_out("mm10")
    table, _ = score_test_windows(data, lambda line, window: np.full((len(window), 2), 0.5), "m", tmp_path)
    assert "both" in set(table["split"]) and CHR1_PROTOCOL not in set(table["split"])


def test_published_rows_of_pairs_that_the_run_has(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("scbind.evaluation.published.TABLES", tmp_path)
    (tmp_path / "maxatac.tsv").write_text(
        "cell_line\ttf\tn_windows\tn_bound\tprevalence\tauprc\n"
        "C\tctcf\t1000\t10\t0.01\t0.64\nC\tTF2\t1000\t10\t0.01\t0.5\nA\tCTCF\t1000\t10\t0.01\t0.5\n"
        "C\tTF3\t1000\t10\t0.01\t0.5\n"
    )
    rows = [row("m", "CTCF", 0.8), row("m", "TF2", 0.8, "test"), row("m", "TF3", None)]
    pd.DataFrame(rows, columns=METRIC_COLUMNS).to_csv(tmp_path / "m.tsv", sep="\t", index=False)
    match_published("maxatac", [tmp_path / "m.tsv"], tmp_path / "p.tsv")
    (found,) = read_result(tmp_path / "p.tsv", "").to_dict("records")
    assert list(found) == METRIC_COLUMNS
    assert (found["model"], found["tf"], found["split"]) == (MAXATAC, "CTCF", CHR1_PROTOCOL)
    assert (found["auprc"], found["prevalence"], found["n_windows"]) == (0.64, 0.01, 1000)
    assert found["log2_gain"] == pytest.approx(6) and np.isnan(found["auroc"])
    assert "1 of 4 published figures have a counterpart" in capfd.readouterr().err
    pd.DataFrame([row("m", "CTCF", 0.8, "both")], columns=METRIC_COLUMNS).to_csv(
        tmp_path / "m.tsv", sep="\t", index=False
    )
    match_published("maxatac", [tmp_path / "m.tsv"], tmp_path / "p.tsv")
    assert read_result(tmp_path / "p.tsv", "").empty
    assert "it needs hg38, and a line and chr1 held out" in capfd.readouterr().err


def row(model, tf, auprc, split=CHR1_PROTOCOL):
    return {"model": model, "cell_line": "C", "tf": tf, "split": split, "n_windows": 9, "n_bound": 3} | {
        "prevalence": 0.3,
        "auprc": auprc,
    }


def test_metrics_and_report_take_the_rows(tmp_path):
    tables = {
        "ours": [row("scbind", tf, 0.8, split) for tf in ("X", "Y") for split in ("test", CHR1_PROTOCOL)],
        "base": [
            row("accessibility", tf, 0.4, split) for tf in ("X", "Y") for split in ("test", CHR1_PROTOCOL)
        ],
        "none": [],
        "published": [row(MAXATAC, "X", 0.6)],
    }
    for name, rows in tables.items():
        pd.DataFrame(rows, columns=METRIC_COLUMNS).to_csv(tmp_path / name, sep="\t", index=False)
    paths = [tmp_path / name for name in tables]
    assert stack_tables(paths, METRIC_COLUMNS)["n_windows"].dtype == np.int64
    merge_metrics(paths, tmp_path / "m.tsv")
    metrics = read_result(tmp_path / "m.tsv", "")
    means = comparison(metrics, CHR1_PROTOCOL).set_index("model")
    assert means["n_pairs"].to_dict() == {"scbind": 2, "accessibility": 2, MAXATAC: 1}
    assert MAXATAC not in set(comparison(metrics)["model"])
    assert _beside_published(metrics, ["scbind"]) == [
        "Pairs of cell line and TF with a published value: 1. Their mean AUPRC is 0.800 for scbind and 0.600 for "
        "maxatac_published."
    ]


def test_the_shipped_table_is_whole():
    table = read_result(TABLES / "maxatac.tsv", "")
    assert len(table) == 332 and not table.duplicated(["cell_line", "tf"]).any()
    assert table["auprc"].between(0, 1).all() and (table["auprc"] >= table["prevalence"] / 2).all()
    np.testing.assert_allclose(table["n_bound"] / table["n_windows"], table["prevalence"], rtol=1e-5)
