from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scbind.core.errors import InputError
from scbind.dataset.codes import AMBIGUOUS, BOUND, NOT_ASSAYED, UNBOUND
from scbind.dataset.draws import draw_windows
from scbind.dataset.splits import TEST
from scbind.dataset.trainingset import TrainingSet
from scbind.evaluation.baselines import evaluate_baselines, other_lines_chip
from scbind.evaluation.depth import (
    evaluate_depth,
    score_depths,
    thin,
)
from scbind.evaluation.evaluate import network_scores, score_test_windows
from scbind.evaluation.merge import DEPTH_COLUMNS as COLUMNS
from scbind.evaluation.merge import NEEDED_COLUMNS, fragments_needed, merge_depths
from scbind.evaluation.registry import BASELINES
from scbind.models.predictor import load_predictor

KEEPS = [1.0, 0.1, 0.01]


@pytest.fixture(scope="module")
def data(tiny, tiny_dataset):
    return TrainingSet.open(tiny_dataset, tiny["reference"])


@pytest.fixture(scope="module")
def tables(tiny, tiny_dataset, tiny_model, tiny_motifs, tmp_path_factory):
    out = tmp_path_factory.mktemp("depth")
    paths = tiny_dataset, tiny["reference"]
    evaluate_depth(*tiny_model[:2], *paths, out / "m.tsv", "scbind", KEEPS, 20_000)
    curves = {name: out / f"{name}.npz" for name in BASELINES}
    evaluate_baselines(*paths, tiny_motifs, out / "metrics.tsv", out / "b.tsv", curves, KEEPS, 20_000, 0)
    merge_depths([out / "m.tsv", out / "b.tsv"], tiny["reference"], out / "depth.tsv", out / "needed.tsv")
    return out


def openness(data, line, window):
    """Insertions in the context of each window, over the depth: a score for every TF."""
    counts = data.counts(line, window, 50).sum(axis=1) / data.window_depth(line, window)
    return np.repeat(counts[:, None], len(data.tfs), axis=1)


def test_thinning_is_nested_seeded_and_changes_one_line(data):
    few, more = thin(data, 0, 0.05, 7), thin(data, 0, 0.5, 7)
    whole = data.insertions[0]
    assert len(more.insertions[0]) == pytest.approx(len(whole) / 2, rel=0.1)
    kept, counts = np.unique(few.insertions[0], return_counts=True)
    at_more = np.searchsorted(more.insertions[0], kept, "right") - np.searchsorted(more.insertions[0], kept)
    assert (counts <= at_more).all(), "what is kept at a small share is kept at a larger one"
    assert np.array_equal(few.insertions[0], thin(data, 0, 0.05, 7).insertions[0])
    assert not np.array_equal(few.insertions[0], thin(data, 0, 0.05, 8).insertions[0])
    assert few.depth[0] == pytest.approx(0.05 * data.depth[0]) and (few.depth[1] == data.depth[1]).all()
    assert few.insertions[1] is data.insertions[1] and thin(data, 0, 1.0, 7) is data


def test_whole_fragments_are_kept_or_lost(data):
    number = np.arange(len(data.insertions[0]), dtype=np.uint32) // 2
    paired = replace(data, fragments=[number, data.fragments[1]])
    track = thin(paired, 0, 0.3, 7)
    assert len(track.fragments[0]) == len(track.insertions[0])
    kept, ends = np.unique(track.fragments[0], return_counts=True)
    assert (ends[kept < number[-1]] == 2).all() and len(kept) == pytest.approx(0.3 * number[-1], rel=0.1)
    np.testing.assert_array_equal(track.insertions[0], data.insertions[0][np.isin(number, kept)])


def test_thinned_counts_agree_at_every_bin_width(data):
    track, window = thin(data, 1, 0.3, 1), np.arange(0, len(data.chrom), 7)
    by_base = track.counts(1, window, 1).reshape(len(window), -1, 50).sum(axis=2)
    assert np.array_equal(by_base, track.counts(1, window, 50)) and by_base.sum() > 0


def test_full_depth_and_all_windows_give_the_metrics(data, tmp_path):
    found = score_depths(data, {"open": openness}, [1.0], 20_000, 0, ()).set_index(["cell_line", "tf"])
    table, _ = score_test_windows(data, lambda *where: openness(data, *where), "open", tmp_path)
    table = table[table["split"] == "test"].set_index(["cell_line", "tf"])
    for column in ("n_windows", "n_bound", "prevalence", "auprc"):
        assert found[column].tolist() == pytest.approx(table[column].tolist())
    assert found["ece"].isna().all() and list(found.index) == list(table.index)


def test_a_part_of_the_windows_estimates_the_whole(data):
    each = [score_depths(data, {"open": openness}, [1.0], 100, seed, ()) for seed in range(20)]
    whole = score_depths(data, {"open": openness}, [1.0], 20_000, 0, ())
    for column, tolerance in (("prevalence", 0.15), ("auprc", 0.2)):
        means = pd.concat(each).groupby(["cell_line", "tf"])[column].mean().tolist()
        assert means == pytest.approx(whole[column].tolist(), rel=tolerance)


def test_every_predictor_sees_the_same_windows_and_accuracy_falls(tables):
    table = pd.read_csv(tables / "depth.tsv", sep="\t")
    assert list(table.columns) == COLUMNS and set(table["keep"]) == set(KEEPS)
    where = ["cell_line", "tf", "keep"]
    assert (table.groupby(where)[["depth", "n_windows", "n_bound", "prevalence"]].nunique() == 1).all().all()
    full = table[table["keep"] == 1].set_index(["model", "cell_line", "tf"])["depth"]
    tenth = table[table["keep"] == 0.1].set_index(["model", "cell_line", "tf"])["depth"]
    assert tenth.to_numpy() == pytest.approx(0.1 * full.to_numpy())
    mean = table[table["tf"] == "TF1"].groupby(["model", "keep"])["auprc"].mean()
    for model in ("scbind", "accessibility", "boosted_trees"):
        assert mean[model, 1.0] > mean[model, 0.01]
    assert mean["other_lines_chip"].nunique() == 1
    assert set(table.loc[table["ece"].notna(), "model"]) == {"scbind", "boosted_trees", "permuted_labels"}


def test_needed_table_and_a_table_with_other_columns(tables, tiny, tmp_path):
    needed = pd.read_csv(tables / "needed.tsv", sep="\t")
    assert list(needed.columns) == NEEDED_COLUMNS
    assert set(needed["model"]) == {"scbind", "accessibility", "motif_x_accessibility", "boosted_trees"}
    (tmp_path / "x.tsv").write_text("model\ttf\n")
    with pytest.raises(InputError, match="line 1: the columns are"):
        merge_depths([tmp_path / "x.tsv"], tiny["reference"], tmp_path / "d.tsv", tmp_path / "n.tsv")


def curve(tf, auprc, n_bound=50, line="A", model="m", depths=(1.0, 0.1, 0.01)):
    table = pd.DataFrame({"depth": depths, "auprc": auprc}).assign(model=model, cell_line=line, tf=tf)
    table = table.assign(
        keep=table["depth"] / depths[0], n_windows=500, n_bound=n_bound, prevalence=0.1, ece=0.0
    )
    return table.reindex(columns=COLUMNS)


def test_fragments_needed_by_hand():
    parts = [
        curve("half", [1.0, 0.95, 0.85]),  # 0.9 is half way between the last two, in log depth
        curve("never", [0.5, 0.5, 0.46]),
        curve("back", [1.0, 0.8, 0.99]),  # the later rise does not count
        curve("rare", [1.0, 0.5, 0.1], n_bound=9),
        curve("lines", [1.0, 1.0, 0.0]),
        curve("lines", [0.5, 0.5, 0.0], line="B", depths=(0.25, 0.025, 0.0025)),
        curve("half", [1.0, 0.0, 0.0], model="permuted_labels"),
    ]
    found = fragments_needed(pd.concat(parts), 2000).set_index("tf")
    assert set(found["model"]) == {"m"}
    assert found.loc["half", "depth_needed"] == pytest.approx(10**-1.5)
    assert found.loc["half", "fragments_needed"] == pytest.approx(1000 * 10**-1.5)
    assert found.loc["never", "depth_needed"] == pytest.approx(0.01)
    assert found["at_most"].to_dict() == {tf: tf == "never" for tf in found.index}
    assert found.loc["back", "depth_needed"] == pytest.approx(10**-0.5)
    assert np.isnan(found.loc["rare", "fragments_needed"]) and found.loc["rare", "n_bound"] == 9
    # mean curve 0.75, 0.75, 0 at the geometric mean depths 0.5, 0.05, 0.005
    assert found.loc["lines", "auprc_full"] == 0.75 and found.loc["lines", "n_bound"] == 100
    assert found.loc["lines", "depth_needed"] == pytest.approx(0.005 * 10**0.9)


def test_labels_of_other_lines_by_hand():
    class Three:
        lines, tfs = ["A", "B", "C"], ["X", "Y"]
        labels = np.full((3, 4, 2), NOT_ASSAYED, dtype=np.int8)

    Three.labels[0, :, 0] = BOUND  # the line's own labels are never read
    Three.labels[1, :, 0] = [BOUND, UNBOUND, AMBIGUOUS, AMBIGUOUS]
    Three.labels[2, :, 0] = [UNBOUND, UNBOUND, BOUND, AMBIGUOUS]
    found = other_lines_chip(Three, 0, np.arange(4))
    assert found[:, 0].tolist() == [0.5, 0, 1, 0.5] and np.isnan(found[:, 1]).all()
    assert other_lines_chip(Three, 1, np.array([2]))[0, 0] == 1


def test_the_sequence_is_read_once_for_all_shares_with_the_same_numbers(
    data, tiny_model, monkeypatch, windows_read
):
    model = load_predictor(*tiny_model[:2])
    monkeypatch.setattr("scbind.evaluation.evaluate.READ_AT_ONCE", 64)  # 200 windows in several blocks
    once = score_depths(data, {"m": network_scores(model)}, KEEPS, 150, 3)
    lines = [n for n in (len(draw_windows(data, TEST, 150, 3, [line])[0]) for line in range(2)) if n]
    assert sum(windows_read) == sum(lines) and max(windows_read) == 64
    windows_read.clear()
    each = score_depths(data, {"m": lambda *where: network_scores(model)(*where)}, KEEPS, 150, 3)
    assert sum(windows_read) == len(KEEPS) * sum(lines)
    pd.testing.assert_frame_equal(once, each, check_exact=True)


def test_an_old_readout_is_not_used_for_other_windows(data, tiny_model):
    model = load_predictor(*tiny_model[:2])
    scores = network_scores(model)
    for window in (np.arange(20), np.arange(20, 40), np.arange(10)):
        np.testing.assert_array_equal(scores(data, 0, window), network_scores(model)(data, 0, window))
