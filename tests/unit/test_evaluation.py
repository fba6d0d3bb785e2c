import numpy as np
import pandas as pd
import pytest
from scbind.baselines import evaluate_baselines
from scbind.dataset import TrainingSet
from scbind.errors import InputError
from scbind.evaluation import COLUMNS, evaluate_model, merge_metrics, score_test_windows
from scbind.labels import BOUND

BASELINES = ["accessibility", "motif_x_accessibility", "boosted_trees", "other_lines_chip", "permuted_labels"]


@pytest.fixture(scope="module")
def tables(tiny, tiny_dataset, tiny_model, tiny_motifs, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluation")
    evaluate_model(*tiny_model[:2], tiny_dataset, tiny["reference"], out / "m.tsv", out / "m.npz", "scbind")
    evaluate_baselines(
        tiny_dataset,
        tiny["reference"],
        tiny_motifs,
        out / "b.tsv",
        out / "depth.tsv",
        {name: out / f"{name}.npz" for name in BASELINES},
    )
    merge_metrics([out / "m.tsv", out / "b.tsv"], out / "metrics.tsv")
    return out


def test_all_models_see_the_same_windows(tables):
    table = pd.read_csv(tables / "metrics.tsv", sep="\t")
    assert list(table.columns) == COLUMNS and list(table["model"].unique()) == ["scbind", *BASELINES]
    counts = table.groupby(["cell_line", "tf", "split"])[["n_windows", "n_bound"]].nunique()
    assert (counts == 1).all().all()
    assert set(table[table["cell_line"] == "A"]["split"]) == {"test", "chromosome"}
    assert set(table[table["cell_line"] == "C"]["split"]) == {"test", "cell_line", "both"}
    assert set(table[table["cell_line"] == "C"]["tf"]) == {"TF1"}, "TF2 was not assayed in C"


def test_motif_knowledge_beats_accessibility_where_a_motif_decides(tables):
    table = pd.read_csv(tables / "metrics.tsv", sep="\t")
    mean = table[(table["tf"] == "TF1") & (table["split"] == "test")].groupby("model")["auprc"].mean()
    assert mean["motif_x_accessibility"] > mean["accessibility"] + 0.1
    assert mean["boosted_trees"] > mean["accessibility"] + 0.1
    whole = table[(table["tf"] == "TF1") & (table["split"] == "test")]
    assert mean["scbind"] > 3 * whole["prevalence"].mean()
    assert table[table["model"] == "accessibility"]["ece"].isna().all()
    assert table[table["model"] == "scbind"]["ece"].notna().all()


def test_what_the_references_reach(tables):
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
            assert curves["reliability_count"].sum() > 0


def test_a_perfect_and_a_permuted_predictor(tiny, tiny_dataset):
    data = TrainingSet.open(tiny_dataset, tiny["reference"])
    rng = np.random.default_rng(0)

    def perfect(line, window):
        return (np.asarray(data.labels[line, window]) == BOUND).astype(np.float32)

    table, _ = score_test_windows(data, perfect, "perfect")
    assert (table["auprc"].dropna() == 1).all() and (table["ece"] == 0).all()
    table, _ = score_test_windows(data, lambda line, w: rng.permutation(perfect(line, w)), "permuted")
    whole = table[table["split"] == "test"]
    assert (whole["auprc"] < whole["prevalence"] + 0.2).all()


def test_a_table_with_other_columns_is_refused(tables, tmp_path):
    (tmp_path / "x.tsv").write_text("model\ttf\n")
    with pytest.raises(InputError, match="line 1: columns"):
        merge_metrics([tmp_path / "x.tsv"], tmp_path / "out.tsv")
