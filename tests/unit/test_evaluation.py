import json
import shutil
import tracemalloc
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scbind.core.errors import InputError
from scbind.dataset.codes import AMBIGUOUS, BOUND
from scbind.dataset.sparselabels import SparseLabels
from scbind.dataset.splits import PROTOCOL, TEST, TRAIN
from scbind.dataset.trainingset import TrainingSet
from scbind.evaluation import trees
from scbind.evaluation.baselines import evaluate_baselines
from scbind.evaluation.depth import evaluate_depth
from scbind.evaluation.evaluate import (
    evaluate_model,
    score_test_windows,
    write_curves,
)
from scbind.evaluation.merge import METRIC_COLUMNS as COLUMNS
from scbind.evaluation.merge import merge_metrics
from scbind.evaluation.probabilities import CALIBRATION_COLUMNS
from scbind.evaluation.protocols import protocol_windows
from scbind.evaluation.registry import BASELINES
from scbind.formats.motifs import read_motifs
from scbind.models.modelfile import read_model, write_model

ALL = {"max_windows": None, "seed": 0}  # test windows are scored


@pytest.fixture(scope="module")
def tables(tiny, tiny_dataset, tiny_model, tiny_motifs, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluation")
    evaluate_model(
        *tiny_model[:2], tiny_dataset, tiny["reference"], out / "m.tsv", out / "m.npz", "scbind", **ALL
    )
    evaluate_baselines(
        tiny_dataset,
        tiny["reference"],
        tiny_motifs,
        out / "b.tsv",
        out / "depth.tsv",
        {name: out / f"{name}.npz" for name in BASELINES},
        keeps=[1.0],
        max_windows=20_000,
        depth_seed=0,
    )
    merge_metrics([out / "m.tsv", out / "b.tsv"], out / "metrics.tsv")
    return out


def test_baselines_and_models_are_tested_on_the_same_sample(
    tables, tiny, tiny_dataset, tiny_model, tiny_motifs, tmp_path
):
    curves = {name: tmp_path / f"{name}.npz" for name in BASELINES}
    paths = tiny_dataset, tiny["reference"]
    out = tmp_path / "m.tsv"
    evaluate_model(*tiny_model[:2], *paths, out, tmp_path / "m.npz", "scbind", max_windows=100, seed=3)
    evaluate_baselines(
        *paths, tiny_motifs, tmp_path / "b.tsv", tmp_path / "d.tsv", curves, [1.0], 50, 3, test_windows=100
    )
    sampled = pd.concat([pd.read_csv(each, sep="\t") for each in (out, tmp_path / "b.tsv")])
    whole = pd.read_csv(tables / "metrics.tsv", sep="\t")
    by = ["cell_line", "tf", "split"]
    counts = sampled.groupby(by)[["n_windows", "n_bound", "prevalence"]]
    assert (counts.nunique() == 1).all().all()
    assert sampled["n_windows"].max() <= 100 < whole["n_windows"].max()
    both = sampled.merge(whole, on=["model", *by], suffixes=("", "_of_all"))
    both = both[(both["model"] == "accessibility") & (both["split"] == "test")]
    assert len(both) and (both["auprc_se"] > 0).any()
    assert (both["auprc"] - both["auprc_of_all"]).abs().mean() < 0.2


def test_all_models_see_the_same_windows(tables):
    table = pd.read_csv(tables / "metrics.tsv", sep="\t")
    assert list(table.columns) == COLUMNS and list(table["model"].unique()) == ["scbind", *BASELINES]
    counts = table.groupby(["cell_line", "tf", "split"])[["n_windows", "n_bound"]].nunique()
    assert (counts == 1).all().all()
    assert set(table[table["cell_line"] == "A"]["split"]) == {"test", "chromosome", PROTOCOL}
    assert set(table[table["cell_line"] == "C"]["split"]) == {"test", "cell_line", "both", PROTOCOL}
    assert set(table[table["cell_line"] == "C"]["tf"]) == {"TF1"}, "TF2 was not assayed in C"


def test_motif_knowledge_beats_accessibility_where_a_motif_decides(tables):
    table = pd.read_csv(tables / "metrics.tsv", sep="\t")
    mean = table[(table["tf"] == "TF1") & (table["split"] == "test")].groupby("model")["auprc"].mean()
    assert mean["motif_x_accessibility"] > mean["accessibility"] + 0.1
    assert mean["boosted_trees"] > mean["accessibility"] + 0.1
    whole = table[(table["tf"] == "TF1") & (table["split"] == "test")]
    assert mean["scbind"] > 3 * whole["prevalence"].mean()
    assert table[table["model"] == "accessibility"][CALIBRATION_COLUMNS].isna().all().all()
    assert set(table.loc[table["model"] == "scbind", "evidence"]) == {"chip"}
    assert table.loc[table["model"] != "scbind", "evidence"].isna().all(), "baselines have none"
    assert table[(table["model"] == "scbind") & (table["split"] != PROTOCOL)]["ece"].notna().all()
    assert table[table["split"] == PROTOCOL]["ece"].isna().all(), "prevalence is made up there"


def test_what_the_controls_reach(tables):
    table = pd.read_csv(tables / "metrics.tsv", sep="\t")
    whole = table[table["split"] == "test"].set_index(["model", "cell_line", "tf"]).sort_index()
    assert set(whole.loc["other_lines_chip"].index) == {("A", "TF1"), ("C", "TF1")}, "TF2 has no other line"
    assert whole.loc["other_lines_chip", "auprc"].max() < 0.5, "the lines are open at other sites"
    control, trees = whole.loc["permuted_labels"], whole.loc["boosted_trees"]
    assert (control["auprc"] < trees["auprc"] - 0.1).all()


def test_a_tf_without_matrix_falls_back_to_accessibility(tables):
    table = pd.read_csv(tables / "metrics.tsv", sep="\t")
    tf2 = table[(table["tf"] == "TF2") & (table["split"] == "test")].set_index("model")["auprc"]
    assert tf2["motif_x_accessibility"] == tf2["accessibility"]


def test_curves(tables):
    for name in ["m", *BASELINES]:
        tfs = ["TF1"] if name == "other_lines_chip" else ["TF1", "TF2"]
        with np.load(tables / f"{name}.npz") as curves:
            assert curves["precision"].shape == (len(tfs), 101) and curves["tfs"].tolist() == tfs
            assert curves["calibration_count"].sum() > 0


def test_a_perfect_and_a_permuted_predictor(tiny, tiny_dataset, tmp_path):
    data = TrainingSet.open(tiny_dataset, tiny["reference"])
    rng = np.random.default_rng(0)

    def perfect(line, window):
        return (np.asarray(data.labels[line, window]) == BOUND).astype(np.float32)

    table, _ = score_test_windows(data, perfect, "perfect", tmp_path)
    assert (table["auprc"].dropna() == 1).all()
    assert (table.loc[table["split"] != PROTOCOL, "ece"] == 0).all()
    whole = table[table["split"] == "test"]
    np.testing.assert_allclose(whole["mean_predicted"], whole["prevalence"])
    assert (whole["windows_p30"] == whole["n_bound"]).all() and (whole["observed_p30"].dropna() == 1).all()
    table, _ = score_test_windows(
        data, lambda line, w: rng.permutation(perfect(line, w)), "permuted", tmp_path
    )
    whole = table[table["split"] == "test"]
    assert (whole["auprc"] < whole["prevalence"] + 0.2).all()


def test_a_table_with_other_columns_is_refused(tables, tmp_path):
    (tmp_path / "x.tsv").write_text("model\ttf\n")
    with pytest.raises(InputError, match="line 1: the columns are"):
        merge_metrics([tmp_path / "x.tsv"], tmp_path / "out.tsv")


def test_the_published_protocol_by_hand(tiny, tiny_dataset):
    data = TrainingSet.open(tiny_dataset, tiny["reference"])
    window = np.flatnonzero(data.chrom == 0)[:60]
    window = window[np.diff(data.start[window], prepend=-200) == 200][:40]  # on the grid without a gap
    bound, ambiguous, nothing = np.zeros((3, 40), dtype=bool)
    bound[[10, 11, 12, 20]] = True
    ambiguous[[30, 31]] = True

    def protocol(bound, ambiguous, **more):
        splits, labels = np.zeros_like(data.splits), np.zeros_like(data.labels)
        splits[0, window] = TEST
        labels[0, window[bound], 0], labels[0, window[ambiguous], 1] = BOUND, AMBIGUOUS
        return protocol_windows(replace(data, splits=splits, labels=SparseLabels.of(labels)), 0, **more)

    chosen = protocol(bound, ambiguous)
    assert set(window[bound]) <= set(chosen) and len(chosen) == 8, "as many others as bound ones"
    near = np.r_[8:15, 18:23, 28:34]
    assert set(chosen) - set(window[bound]) <= set(window) - set(window[near])
    assert np.array_equal(chosen, protocol(bound, ambiguous))
    assert not np.array_equal(chosen, protocol(bound, ambiguous, seed=1))
    assert not len(protocol(nothing, nothing))
    assert np.array_equal(protocol(~nothing, nothing), window), "no other window is left"


def test_the_published_protocol_is_easier_and_the_same_for_all(tables):
    table = pd.read_csv(tables / "metrics.tsv", sep="\t")
    mean = (
        table[table["tf"] == "TF1"].groupby(["split", "model"])[["auprc", "prevalence", "n_windows"]].mean()
    )
    for model in ("scbind", "boosted_trees"):
        easier, whole = (mean.loc[split, "auprc"][model] for split in (PROTOCOL, "test"))
        assert easier > whole or easier == whole == 1, "a perfect ranking cannot get easier"
    assert (mean.loc[PROTOCOL, "prevalence"] > 2 * mean.loc["test", "prevalence"]).all()
    assert mean.loc[PROTOCOL, "n_windows"].nunique() == 1


def test_a_model_of_another_dataset_is_refused(tiny, tiny_dataset, tiny_model, tmp_path):
    def refused(key, value, difference):
        manifest = json.loads((tiny_dataset / "manifest.json").read_text()) | {key: value}
        shutil.copytree(tiny_dataset, tmp_path / key)
        (tmp_path / key / "manifest.json").write_text(json.dumps(manifest))
        folders = tmp_path / key, tiny["reference"]
        with pytest.raises(InputError, match=difference):
            evaluate_model(*tiny_model[:2], *folders, tmp_path / "m.tsv", tmp_path / "m.npz", "scbind", **ALL)
        with pytest.raises(InputError, match=difference):
            evaluate_depth(*tiny_model[:2], *folders, tmp_path / "d.tsv", "scbind", [1.0], 100)

    refused(
        "tfs", ["TF1", "TF9"], "trained with other tfs: it alone has TF2, the dataset TF9; train the model"
    )
    refused("window", 100, "trained with other window: 200, not 100; train the model again")
    refused("min_mappability", 0.5, "trained with other mappability: False, not True; train the model again")
    splits = {"test": ["A:chr1"], "valid": ["*:chr2:0-20000"], "train": None}
    refused(
        "splits",
        splits,
        "other splits: it alone has test .*, test C:chr1:0-30000, train A:chr1, the dataset test A:chr1, "
        "train what is left; train the model again",
    )
    refused(
        "assayed",
        [[True, False], [True, True]],
        "trained with other assayed: it alone has A TF2, the dataset none",
    )


def test_a_model_fits_its_dataset_whatever_the_order_of_the_chromosomes(
    tiny, tiny_dataset, tiny_model, tmp_path
):
    """Names in a model file are sorted as text; chromosomes of a genome are not."""
    data = TrainingSet.open(tiny_dataset, tiny["reference"])
    genome = {"chromosomes": {"chr1": 100, "chr2": 90, "chr10": 50}}
    data = replace(data, manifest=data.manifest | genome)
    stored = read_model(tiny_model[0])
    write_model(tmp_path / "model", stored["state"], stored["facts"] | genome, stored["options"])
    facts = read_model(tmp_path / "model")["facts"]
    assert list(facts["chromosomes"]) == ["chr1", "chr10", "chr2"]
    data.check_model(facts, "model")
    other = facts | {"chromosomes": {"chr1": 100, "chr2": 90}}
    with pytest.raises(InputError, match="it alone has none, the dataset chr10 of 50 bp"):
        data.check_model(other, "model")


def test_a_dataset_of_the_same_chromosomes_in_another_order_is_refused(tiny, tiny_dataset, tmp_path):
    reference = tmp_path / "mini"
    shutil.copytree(tiny["reference"], reference)
    sizes = (reference / "chrom.sizes").read_text().splitlines(keepends=True)
    (reference / "chrom.sizes").write_text("".join(reversed(sizes)))
    with pytest.raises(InputError, match="made from another genome; build the dataset again"):
        TrainingSet.open(tiny_dataset, reference)


def test_lines_without_a_training_window_are_no_part_of_what_was_trained(tiny, tiny_dataset):
    data = TrainingSet.open(tiny_dataset, tiny["reference"])
    assert data.trained == [[True, True], [False, False]]
    held_out = replace(data, splits=np.where(np.asarray(data.splits) == 1, 0, data.splits))
    assert held_out.trained == [[False, False], [False, False]]


def test_trees_scan_no_more_windows_than_they_are_fitted_to(
    tiny, tiny_dataset, tiny_motifs, tmp_path, monkeypatch
):
    data = TrainingSet.open(tiny_dataset, tiny["reference"])
    scanned, scan = [], trees.scan_all

    def counting(codes, matrices):
        scanned.append((len(codes), len(matrices)))
        return scan(codes, matrices)

    monkeypatch.setattr(trees, "scan_all", counting)
    features = trees.Features(data, read_motifs(tiny_motifs), tmp_path)
    tested = int((np.asarray(data.splits) == TEST).any(axis=0).sum())
    assert scanned == [(tested, 1)] * 2, "in the window and near it"
    scanned.clear()
    trees.fit_trees(data, features, 100, 0)
    assert scanned == [(100, 1)] * 2, "line A; TF2 has no matrix"
    window = np.flatnonzero(np.asarray(data.splits[0]) == TEST)
    expected = features.table(trees.signal_table(data, 0, window), window, 0)
    np.testing.assert_array_equal(features.training_table(data, 0, window, 0), expected)


def test_trees_of_a_tf_with_many_bound_windows_have_unbound_ones_and_the_true_odds(
    tiny, tiny_dataset, tiny_motifs, tmp_path
):
    data = TrainingSet.open(tiny_dataset, tiny["reference"])
    labels = np.array(data.labels)
    window = np.flatnonzero(np.asarray(data.splits[0]) == TRAIN)
    labels[0, window, 0] = np.arange(len(window)) % 10 == 0
    many = replace(data, labels=SparseLabels.of(labels))
    features = trees.Features(many, read_motifs(tiny_motifs), tmp_path)
    bound = int((labels[0, window, 0] == 1).sum())
    fitted, permuted = trees.fit_trees(many, features, bound, 0)  # fewer windows than twice the bound ones
    table = features.training_table(many, 0, window, 0)
    for tree in (fitted[0], permuted[0]):
        assert tree.probability(table).mean() == pytest.approx(0.1, abs=0.03)


def test_curves_hold_one_tf_at_a_time(tmp_path):
    rng = np.random.default_rng(0)
    drawn = {f"T{n}": (rng.random(20_000) < 0.1, rng.random(20_000, np.float32), None) for n in range(100)}
    tracemalloc.start()
    write_curves(drawn, tmp_path / "c.npz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3e6, "scores and labels of all TFs are 10 MB; 2 MB were measured"
    with np.load(tmp_path / "c.npz") as curves:
        assert curves["calibration_count"].sum() == 100 * 20_000


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same_figures(tables, tiny, tiny_dataset, tiny_model, tmp_path):
    files = *tiny_model[:2], tiny_dataset, tiny["reference"], tmp_path / "m.tsv", tmp_path / "m.npz"
    evaluate_model(*files, "scbind", device="cuda", **ALL)
    found, expected = (pd.read_csv(folder / "m.tsv", sep="\t") for folder in (tmp_path, tables))
    pd.testing.assert_frame_equal(found, expected, rtol=0.01, atol=0.001)
