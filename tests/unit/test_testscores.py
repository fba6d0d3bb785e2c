import re
import tracemalloc
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scbind.core.files import scratch_array
from scbind.dataset.codes import BOUND
from scbind.dataset.splits import TEST
from scbind.dataset.trainingset import TrainingSet
from scbind.evaluation import evaluate, protocols, testscores
from scbind.evaluation.evaluate import network_scores, score_test_windows, write_curves
from scbind.evaluation.testscores import ByTF, score_lines
from scbind.models.predictor import load_predictor


@pytest.fixture(scope="module")
def data(tiny, tiny_dataset):
    return TrainingSet.open(tiny_dataset, tiny["reference"])


def made_up(data, asked=None):
    """Scores that follow from line, window and TF alone."""

    def predict(line, window):
        if asked is not None:
            asked.append((line, window))
        value = np.sin(window[:, None] * 12.9898 + line + np.arange(len(data.tfs)) * 78.233) * 43758.5453
        return (value % 1).astype(np.float32)

    return predict


def test_scores_and_labels_are_those_of_the_windows(data, tmp_path, monkeypatch):
    monkeypatch.setattr(testscores, "BLOCK", 37)
    predict, by_line = made_up(data), {}
    for found in score_lines(data, predict, tmp_path, "m"):
        window = np.flatnonzero(np.asarray(data.splits[found.line]) == TEST)
        labels = np.asarray(data.labels[found.line, window])
        np.testing.assert_array_equal(found.window, window)
        np.testing.assert_array_equal(found.scores, predict(found.line, window)[:, found.columns].T)
        np.testing.assert_array_equal(found.labels, labels[:, found.columns].T)
        by_line[found.line] = found
    assert [data.lines[line] for line in by_line] == ["A", "C"] and list(tmp_path.iterdir()) == []
    truth, score, weight = ByTF(data, list(by_line.values()))["TF1"]
    known = [found.labels[0] >= 0 for found in by_line.values()]
    assert weight is None and len(truth) == len(score) == sum(each.sum() for each in known)
    assert truth.sum() == sum((found.labels[0] == BOUND).sum() for found in by_line.values())


def mapped():
    """MB of mapped files in the memory of this process."""
    return int(re.search(r"^RssFile:\s+(\d+)", Path("/proc/self/status").read_text(), re.M)[1]) / 1e3


def test_what_is_on_disk_does_not_stay_in_memory(tmp_path):
    """84 MB of scratch."""
    shape = (1, 1 << 18, 64)
    labels = np.ones(shape, dtype=np.int8)
    tfs = [f"TF{number}" for number in range(shape[2])]
    where = {"lines": ["A"], "tfs": tfs, "chrom": np.zeros(shape[1]), "labels": labels}
    where |= {"splits": np.full(shape[:2], TEST), "manifest": {"assayed": [[True] * len(tfs)]}}
    large = SimpleNamespace(**where)
    before = mapped()
    lines = score_lines(
        large, lambda line, window: np.ones((len(window), len(tfs)), np.float32), tmp_path, "m"
    )
    assert mapped() - before < 10
    truth, score, _ = ByTF(large, lines)["TF7"]
    assert truth.all() and (score == 1).all() and len(score) == shape[1]


def test_figures_do_not_depend_on_the_blocks(data, tmp_path, monkeypatch):
    tables = []
    for block in (37, 1 << 20):
        monkeypatch.setattr(testscores, "BLOCK", block)
        asked = []
        table, drawn = score_test_windows(data, made_up(data, asked), "m", tmp_path)
        assert max(len(window) for _, window in asked) <= block
        write_curves(drawn, tmp_path / f"{block}.npz")
        tables.append(table)
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    with np.load(tmp_path / "37.npz") as few, np.load(tmp_path / f"{1 << 20}.npz") as all_at_once:
        for name in few.files:
            np.testing.assert_array_equal(few[name], all_at_once[name])


def test_sequence_that_lines_share_is_read_once(data, tiny_model, tmp_path, monkeypatch, windows_read):
    monkeypatch.setattr(testscores, "BLOCK", 50)
    scores = network_scores(load_predictor(*tiny_model[:2]))
    score_lines(data, lambda *where: scores(data, *where), tmp_path, "m")
    tested = np.asarray(data.splits) == TEST
    assert tested.any(axis=0).sum() <= sum(windows_read) < tested.sum()


def test_a_network_is_asked_with_its_own_line_however_that_is_spelled(data, tiny_model, monkeypatch):
    model, asked = load_predictor(*tiny_model[:2]), []
    logits = model.logits
    monkeypatch.setattr(model, "logits", lambda *given: asked.append(given[-1]) or logits(*given))
    for lines in (["A", "C"], ["a", "c"], ["x", "y"]):
        named = replace(data, manifest=data.manifest | {"cell_lines": lines})
        for line in (0, 1):
            network_scores(model)(named, line, np.arange(3))
    assert asked == [0, 1, 0, 1, None, None]


def test_embeddings_of_few_windows_are_in_memory_at_a_time(data, tiny_model, monkeypatch):
    """They are many times larger than what is kept of the sequence of all windows."""
    model, unfolded = load_predictor(*tiny_model[:2]), []
    unfold = model.unfold
    monkeypatch.setattr(evaluate, "READ_AT_ONCE", 64)
    monkeypatch.setattr(model, "unfold", lambda trunk: unfolded.append(len(trunk)) or unfold(trunk))
    network_scores(model)(data, 0, np.arange(200))
    assert unfolded == [64, 64, 64, 8]


def test_memory_holds_one_tf_at_a_time(data, tmp_path, monkeypatch):
    class Large:
        """Of a hundred TFs, on a genome whose windows are all tested."""

        tfs, lines = [f"T{n:02d}" for n in range(100)], ["A"]
        splits = np.full((1, 40_000), TEST, dtype=np.uint8)
        manifest = {"assayed": np.ones((1, 100), dtype=bool), "window": 200}
        labels = np.broadcast_to(
            (np.arange(40_000) % 50 == 0).astype(np.int8)[None, :, None], (1, 40_000, 100)
        )
        chrom, start, genome = np.zeros(40_000, int), np.arange(40_000) * 200, data.genome

    for module in (testscores, protocols):
        monkeypatch.setattr(module, "BLOCK", 1000)
    tracemalloc.start()
    table, _ = score_test_windows(Large, made_up(Large), "m", tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert set(table["tf"]) == set(Large.tfs) and (table["n_bound"] == 800).all()
    assert peak < 6e6, "the scores of all TFs are 16 MB; 4.8 MB were measured"


def test_a_scratch_array_leaves_nothing(tmp_path):
    found = scratch_array(tmp_path, (3, 5), "int8")
    assert found.shape == (3, 5) and not found.any() and list(tmp_path.iterdir()) == []
    found[1] = 7
    assert found.sum() == 35


def test_a_sample_of_test_windows_estimates_all(data, tmp_path):
    def predict(line, window):
        return np.asarray(data.labels[line, window] == BOUND) * 0.3 + 0.7 * made_up(data)(line, window)

    full, _ = score_test_windows(data, predict, "m", tmp_path)
    asked = []

    def counted(line, window):
        asked.append((line, window))
        return predict(line, window)

    table, drawn = score_test_windows(data, counted, "m", tmp_path, max_windows=90, seed=3)
    assert {line: len(window) for line, window in asked} == {0: 90, 1: 90}
    again, _ = score_test_windows(data, predict, "m", tmp_path, max_windows=90, seed=3)
    pd.testing.assert_frame_equal(table, again, check_exact=True)
    keys = ["cell_line", "tf", "split"]
    both = full.merge(table, on=keys, suffixes=("", "_drawn"))
    both = both[(both["split"] == "test") & (both["n_bound"] >= 4)]
    assert len(both) >= 2 and (both["n_windows_drawn"] <= 90).all() and full["auprc_se"].isna().all()
    assert (both["auprc_se_drawn"] > 0).all()
    assert ((both["auprc"] - both["auprc_drawn"]).abs() < 4 * both["auprc_se_drawn"]).all()
    assert ((both["prevalence"] / both["prevalence_drawn"] - 1).abs() < 0.5).all()
    truth, score, weight = drawn["TF1"]
    assert len(truth) == len(score) == len(weight) and weight.max() > 1
    write_curves(drawn, tmp_path / "drawn.npz")
    with np.load(tmp_path / "drawn.npz") as curves:
        assert curves["prevalence"][0] == np.average(truth, weights=weight)
        assert curves["calibration_count"].sum() == pytest.approx(
            sum(each[2].sum() for each in drawn.values())
        )
    unsampled, _ = score_test_windows(data, predict, "m", tmp_path, max_windows=10**6)
    pd.testing.assert_frame_equal(unsampled, full, check_exact=True)
