"""TFs that are left out of a training: what is hidden, that it stays hidden, and what is said of the test."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scbind.core.errors import InputError
from scbind.core.files import read_result, write_table
from scbind.dataset.draws import draw_windows
from scbind.dataset.hidden import hidden_tfs, hide_tfs, tf_folds
from scbind.dataset.sparselabels import SparseLabels
from scbind.dataset.splits import TEST, VALID
from scbind.dataset.trainingset import TrainingSet
from scbind.evaluation import pooledtrees
from scbind.evaluation.depth import evaluate_depth
from scbind.evaluation.evaluate import evaluate_model, load_tested, network_scores
from scbind.evaluation.leftout import LeftOutFiles, evaluate_left_out
from scbind.evaluation.leftouttable import FOLD_COLUMNS, FOLD_DEPTH_COLUMNS, join_left_out, left_out_means
from scbind.evaluation.merge import METRIC_COLUMNS
from scbind.evaluation.pooledtrees import pooled_trees
from scbind.evaluation.probabilities import CALIBRATION_COLUMNS
from scbind.evaluation.trees import rows_to_fit
from scbind.formats.motifs import log_odds, read_motifs, write_motifs
from scbind.models.batches import Pools
from scbind.models.calibration import calibrate
from scbind.models.modelfile import read_model, write_model
from scbind.models.motiftfs import add_motif_tfs
from scbind.models.predictor import load_predictor
from scbind.models.training import TrainFiles, TrainOptions, train
from scbind.plan.settings import default_options
from sklearn.metrics import average_precision_score


def matrix(seed):
    return log_odds(np.random.default_rng(seed).dirichlet([0.3] * 4, 9).T * 100)


def test_tfs_with_one_motif_are_left_out_together():
    matrices = {f"T{seed}": matrix(seed) for seed in range(7)}
    matrices |= {"TWIN": matrices["T3"][::-1, ::-1], "THIRD": matrices["T3"]}
    parts = tf_folds(matrices, 3, seed=4)
    assert sorted(tf for part in parts for tf in part) == sorted(matrices)
    assert [len(part) for part in parts] == [3, 3, 3]
    assert [{"T3", "TWIN", "THIRD"} <= set(part) for part in parts].count(True) == 1
    assert parts == tf_folds(matrices, 3, seed=4) != tf_folds(matrices, 3, seed=5)
    with pytest.raises(InputError, match="have 7 different motifs, too few for 8 folds"):
        tf_folds(matrices, 8, seed=0)


def test_a_hidden_tf_is_as_if_it_was_never_assayed(tiny, tiny_dataset):
    data = TrainingSet.open(tiny_dataset, tiny["reference"])
    hidden = hide_tfs(data, ["TF1"])
    assert hidden.tfs == ["TF2"] and hidden.manifest["bound_train"].keys() == {"TF2"}
    assert hidden.trained == [[row[1]] for row in data.trained]
    line, window = np.array([0, 0, 1]), np.array([3, 40, 60])
    assert np.array_equal(hidden.labels[line, window], np.asarray(data.labels)[line, window][:, [1]])
    # what the training reads is the same if the labels of the hidden TF are nonsense
    nonsense = np.array(data.labels)
    nonsense[:, :, 0] = np.random.default_rng(0).integers(0, 2, nonsense.shape[:2])
    other = hide_tfs(replace(data, labels=SparseLabels.of(nonsense)), ["TF1"])
    for one, two in zip(Pools.of(hidden).each, Pools.of(other).each, strict=True):
        assert np.array_equal(one, two)
    for one, two in zip(draw_windows(hidden, VALID, 30, 1), draw_windows(other, VALID, 30, 1), strict=True):
        assert np.array_equal(one, two)
    assert hide_tfs(data, ["CTCF"]) is data
    only = replace(data, manifest=data.manifest | {"assayed": [[True, False], [True, True]]})
    splits = np.asarray(hide_tfs(only, ["TF1"]).splits)
    assert not splits[0].any() and np.array_equal(splits[1], data.splits[1]), "the first line has no TF left"
    with pytest.raises(InputError, match="no TF is left to train on"):
        hide_tfs(data, ["TF1", "TF2"])
    unbound = replace(data, manifest=data.manifest | {"bound_train": {"TF1": 9, "TF2": 0}})
    with pytest.raises(
        InputError, match=r"no TF is left that has a bound training window \(without one: TF2\)"
    ):
        hide_tfs(unbound, ["TF1"])


@pytest.fixture(scope="module")
def fold(tiny, tiny_dataset, tiny_motifs, tmp_path_factory):
    """A model that was trained without TF1, and its test on TF1."""
    folder = tmp_path_factory.mktemp("fold")
    known = {"TF1": ("M1:TF1", read_motifs(tiny_motifs)["TF1"]), "TF2": ("M2:TF2", matrix(3))}
    write_motifs(folder / "known.npz", known)
    number = 1 + [hidden_tfs(folder / "known.npz", k, 2, 0) for k in (1, 2)].index(["TF1"])
    where = tiny_dataset, tiny["reference"]
    given = TrainFiles(
        *where, folder / "trained", folder / "history", folder / "scratch", folder / "known.npz"
    )
    options = default_options(
        TrainOptions,
        "models",
        options={"channels": 8, "hidden": 8, "members": 1, "strangers": 0.25},
        sampling={"least_examples": 0},
        epochs=6,
        batch_size=16,
        learning_rate=5e-3,
    )
    train(given, options, code="", hidden=hidden_tfs(folder / "known.npz", number, 2, 0))
    outputs = [folder / name for name in ("weights", "calibration", "metrics.tsv", "depth.tsv")]
    evaluate_left_out(
        LeftOutFiles(folder / "trained", folder / "known.npz", *where, *outputs),
        "m",
        number,
        valid_windows=300,
        calibration_seed=1,
        test_windows=None,
        keeps=[0.1],
        depth_windows=400,
        seed=0,
    )
    return folder, number


def test_a_left_out_tf_is_scored_as_a_motif_tf_on_all_test_windows(fold, tiny, tiny_dataset):
    folder, number = fold
    assert read_model(folder / "trained")["facts"]["tfs"] == ["TF2"]
    facts = read_model(folder / "weights")["facts"]
    assert (facts["tfs"], facts["evidence"]) == (["TF2", "TF1"], ["chip", "motif"])
    table = pd.read_csv(folder / "metrics.tsv", sep="\t")
    assert list(table.columns) == FOLD_COLUMNS
    assert set(table["tf"]) == {"TF1"} and set(table["fold"]) == {number} and set(table["model"]) == {"m"}
    assert set(table["evidence"]) == {"motif"}
    data = TrainingSet.open(tiny_dataset, tiny["reference"])
    whole = table[table["split"] == "test"].set_index("cell_line")
    for line, name in enumerate(data.lines):
        labels = np.asarray(data.labels[line])[np.asarray(data.splits[line]) == TEST, 0]
        assert whole.at[name, "n_windows"] == (labels >= 0).sum()
        assert whole.at[name, "n_bound"] == (labels == 1).sum()
    trees = pooled_trees(data, read_motifs(folder / "known.npz"), ["TF1"], 1)
    for line, name in enumerate(data.lines):
        window = np.flatnonzero((np.asarray(data.splits[line]) == TEST) & (data.labels[line, :, 0] >= 0))
        bound, score = data.labels[line, window, 0] == 1, trees(data, line, window)[:, 0]
        assert whole.at[name, "auprc_pooled_trees"] == pytest.approx(
            average_precision_score(bound, score), rel=1e-4
        )
    assert (whole["auprc"] > 1.5 * whole["prevalence"]).all()  # from openness and the motif alone
    depth = pd.read_csv(folder / "depth.tsv", sep="\t")
    assert list(depth.columns) == FOLD_DEPTH_COLUMNS and set(depth["tf"]) == {"TF1"}
    assert set(depth["keep"]) == {1.0, 0.1}


def test_a_motif_tf_of_a_given_model_is_tested_where_it_has_chip_seq(
    fold, tiny, tiny_dataset, tmp_path, capsys
):
    folder, _ = fold
    files = folder / "weights", folder / "calibration", tiny_dataset, tiny["reference"]
    table, depth = tmp_path / "m.tsv", tmp_path / "d.tsv"
    evaluate_model(*files, table, tmp_path / "m.npz", "given", max_windows=None, seed=0, given=True)
    evaluate_depth(*files, depth, "given", [0.1], 400, given=True)
    assert "does not predict" not in capsys.readouterr().err
    left_out = read_result(folder / "metrics.tsv", "").set_index(["cell_line", "tf", "split"])["auprc"]
    for path in (table, depth):
        found = read_result(path, "")
        assert set(zip(found["tf"], found["evidence"], strict=True)) == {("TF1", "motif"), ("TF2", "chip")}
    found = read_result(table, "").set_index(["cell_line", "tf", "split"])["auprc"]
    both = left_out.index.intersection(found.index)
    assert {"test"} <= {split for _, _, split in both}
    pd.testing.assert_series_equal(found[both], left_out[both], rtol=1e-4)
    known = load_tested(TrainingSet.open(tiny_dataset, tiny["reference"]), *files[:2], given=True)
    assert known.tfs == ["TF2", "TF1"]
    table = read_result(table, "").query("split == 'test'").set_index("tf")
    with np.load(tmp_path / "m.npz") as curves:
        assert list(curves["tfs"]) == ["TF1", "TF2"]
        assert curves["calibration_count"].sum() == table.loc["TF2", "n_windows"].sum(), "TF1 is not pooled"


def test_motif_tfs_without_chip_seq_do_not_slow_down_a_test(fold, tiny, tiny_dataset):
    folder, _ = fold
    data = TrainingSet.open(tiny_dataset, tiny["reference"])
    without = replace(data, manifest=data.manifest | {"tfs": ["other", "TF2"]})
    found = load_tested(without, folder / "weights", folder / "calibration", given=True)
    assert found.tfs == ["TF2"]


def test_only_the_motif_tfs_with_chip_seq_are_loaded_for_a_test(fold, tiny, tiny_dataset, tmp_path):
    folder, _ = fold
    stored = read_model(folder / "trained")
    new = {"N1": matrix(5), "TF1": matrix(6), "N2": matrix(7)}
    state, facts = add_motif_tfs(stored["state"], stored["facts"], stored["options"], new)
    facts["motif_group"] = facts["tfs"]
    write_model(tmp_path / "wide", state, facts, stored["options"])
    calibrate(tmp_path / "wide", tiny_dataset, tiny["reference"], tmp_path / "c", 300, 1, hidden=["TF1"])
    data = TrainingSet.open(tiny_dataset, tiny["reference"])
    small = load_tested(data, tmp_path / "wide", tmp_path / "c", given=True)
    assert (small.tfs, small.evidence) == (["TF2", "TF1"], ["chip", "motif"])
    whole = load_predictor(tmp_path / "wide", tmp_path / "c")
    assert whole.tfs == ["TF2", "N1", "TF1", "N2"]
    windows = np.flatnonzero(np.asarray(data.splits[0]) == TEST)[:50]
    scores = [network_scores(predictor)(data, 0, windows) for predictor in (small, whole)]
    np.testing.assert_allclose(*scores, atol=1e-5)


def means_of(auprc, groups, **columns):
    row = {"model": "m", "split": "test", "prevalence": 0.1, "auprc_seen": 0.5, "auprc_expected": 0.4}
    row |= {"auprc_pooled_trees": 0.2, "auprc_accessibility": 0.1, "auprc_motif_x_accessibility": 0.25}
    row |= dict.fromkeys(CALIBRATION_COLUMNS, 0.1)
    table = pd.DataFrame([row] * len(auprc)).assign(auprc=auprc, motif_group=groups, **columns)
    return left_out_means(table).iloc[0]


def test_means_of_left_out_tfs_have_intervals_over_motif_groups():
    auprc = np.random.default_rng(0).uniform(0, 0.6, 40)
    apart = means_of(auprc, [f"G{number}" for number in range(40)])
    together = means_of(auprc, [f"G{number // 5}" for number in np.argsort(np.argsort(auprc))])
    for found in (apart, together):
        assert found["auprc"] == pytest.approx(auprc.mean())
        assert found["auprc_low"] < found["auprc"] < found["auprc_high"]
        assert found["auprc_expected"] == pytest.approx(0.4) and found["auprc_measured"] == np.median(auprc)
        for name, other in (("gain_pooled_trees", 0.2), ("gain_motif_x_accessibility", 0.25)):
            assert found[name] == pytest.approx(auprc.mean() - other)
            assert found[f"{name}_low"] == pytest.approx(found["auprc_low"] - other)
    wide = [found["auprc_high"] - found["auprc_low"] for found in (apart, together)]
    assert wide[1] > 1.5 * wide[0], "TFs with one motif are not independent"
    trees = np.where(np.arange(40) < 30, 0.2, np.nan)
    assert means_of(auprc, np.arange(40), auprc_pooled_trees=trees)["gain_pooled_trees"] == pytest.approx(
        auprc[:30].mean() - 0.2
    )


def test_means_of_no_complete_pair_have_all_columns():
    whole = means_of([0.1], ["A"])
    table = pd.DataFrame([whole]).assign(auprc_seen=np.nan, motif_group="A")
    assert list(left_out_means(table)) == list(whole.index) and left_out_means(table).empty


def test_the_table_has_beside_it_what_others_reach(fold, tmp_path):
    folder, _ = fold
    left_out = pd.read_csv(folder / "metrics.tsv", sep="\t")
    rows = [
        row | {"model": model, "auprc": value}
        for row in left_out.to_dict("records")
        for model, value in (("m", 0.9), ("accessibility", 0.1), ("motif_x_accessibility", 0.2), ("n", 0.3))
    ]
    write_table(tmp_path / "metrics.tsv", pd.DataFrame(rows)[METRIC_COLUMNS])
    outputs = tmp_path / "t.tsv", tmp_path / "d.tsv"
    join_left_out([folder / "metrics.tsv"], [folder / "depth.tsv"], tmp_path / "metrics.tsv", *outputs)
    table = pd.read_csv(outputs[0], sep="\t")
    assert list(table.columns) == [
        *FOLD_COLUMNS, "auprc_seen", "auprc_accessibility", "auprc_motif_x_accessibility",
    ]  # fmt: skip
    assert len(table) == len(left_out) and set(table["auprc_seen"]) == {0.9}
    assert table["auprc_pooled_trees"].between(0, 1).all()
    assert set(table["auprc_accessibility"]) == {0.1} and set(table["auprc_motif_x_accessibility"]) == {0.2}
    assert np.allclose(table["auprc"], left_out["auprc"], equal_nan=True)


def test_pooled_trees_do_not_see_the_tfs_that_they_score(tiny, tiny_dataset, tiny_motifs, tmp_path):
    data = TrainingSet.open(tiny_dataset, tiny["reference"])
    matrices = {"TF1": read_motifs(tiny_motifs)["TF1"], "TF2": matrix(3)}
    window = np.flatnonzero((np.asarray(data.splits[0]) == TEST) & (np.asarray(data.labels[0, :, 0]) >= 0))
    scores = pooled_trees(data, matrices, ["TF1"], 0)(data, 0, window)
    assert scores.shape == (len(window), 2) and np.isnan(scores[:, 1]).all()
    assert ((scores[:, 0] > 0) & (scores[:, 0] < 1)).all()
    bound = np.asarray(data.labels[0, window, 0]) == 1
    assert (
        average_precision_score(bound, scores[:, 0]) > 1.5 * bound.mean()
    )  # openness and the match carry over
    nonsense = np.array(data.labels)
    nonsense[:, :, 0] = np.random.default_rng(0).integers(0, 2, nonsense.shape[:2])
    again = pooled_trees(replace(data, labels=SparseLabels.of(nonsense)), matrices, ["TF1"], 0)(
        data, 0, window
    )
    np.testing.assert_array_equal(scores, again)


def test_pooled_trees_need_bound_windows_of_other_tfs(tiny, tiny_dataset, capsys):
    data = TrainingSet.open(tiny_dataset, tiny["reference"])
    labels = np.array(data.labels)
    labels[:, :, 1] = np.minimum(labels[:, :, 1], 0)
    window = np.arange(20)
    for matrices in ({"TF1": matrix(1), "TF2": matrix(3)}, {"TF1": matrix(1)}):
        assert np.isnan(
            pooled_trees(replace(data, labels=SparseLabels.of(labels)), matrices, ["TF1"], 0)(data, 0, window)
        ).all()
        assert "cannot be fitted without bound and unbound windows" in capsys.readouterr().err


def test_windows_of_all_tfs_are_pooled_within_a_limit(tiny, tiny_dataset, monkeypatch):
    """Each assay has the same part of them, and at most half are bound."""
    data, seen = TrainingSet.open(tiny_dataset, tiny["reference"]), []
    labels = np.where(
        np.asarray(data.labels) == 0, np.arange(data.labels.shape[1])[None, :, None] % 2, data.labels
    )
    monkeypatch.setattr(pooledtrees, "MAX_TRAIN", 120)
    monkeypatch.setattr(pooledtrees, "fit_monotone", lambda *given: seen.append(given))
    pooled_trees(
        replace(data, labels=SparseLabels.of(labels)), {"TF1": matrix(1), "TF2": matrix(3)}, ["TF1"], 0
    )
    ((table, truth, _),) = seen
    assert table.shape[1] == 8 and len(table) <= 120 and truth.sum() <= 60
    most = matrix(3).max(axis=0).sum()
    np.testing.assert_allclose(table[:, 6:], table[:, 4:6] / most, rtol=1e-5)


def test_windows_to_fit_trees_to():
    labels = np.array([1, 1, 0, -1, 1, 0, 0, 0, -2, 1, 0], dtype=np.int8)
    chosen = rows_to_fit(labels, 6, np.random.default_rng(0))
    assert len(chosen) == 6 and (np.diff(chosen) > 0).all() and (labels[chosen] == 1).sum() == 3
    assert (labels[chosen] == 0).sum() == 3
    assert rows_to_fit(labels, 99, np.random.default_rng(0)).tolist() == [0, 1, 2, 4, 5, 6, 7, 9, 10]
    assert (labels[rows_to_fit(labels, 2, np.random.default_rng(0))] == 1).sum() == 1
