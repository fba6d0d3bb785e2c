import json

import numpy as np
import pandas as pd
import pytest
from scbind.core.errors import InputError
from scbind.dataset.build import build_dataset
from scbind.dataset.seen import is_same_assembly, same_lines, seen_windows
from scbind.dataset.splits import PROTOCOL, TEST, TRAIN, UNUSED, VALID, assign_splits
from scbind.dataset.trainingset import TrainingSet
from scbind.evaluation.baselines import evaluate_baselines
from scbind.evaluation.evaluate import evaluate_model
from scbind.evaluation.registry import BASELINES
from scbind.models.modelfile import read_model, write_model

CHROMS = ["chr1", "chr2", "chr3"]
LINES = ["A", "B", "C"]
CHROM = np.repeat([0, 1, 2], 50).astype(np.int32)
START = np.tile(np.arange(50) * 200, 3).astype(np.int32)


def facts(train=None, assayed=None, **changes):
    splits = {"test": ["*:chr3", "C:*"], "valid": ["A:chr2:2100-5000"], "train": train}
    return {
        "genome": "mini",
        "chromosomes": dict.fromkeys(CHROMS, 10_000),
        "cell_lines": LINES,
        "assayed": assayed or [[True], [True], [False]],
        "splits": splits,
    } | changes


@pytest.mark.parametrize("train", [None, ["A:chr1:300-4000", "B:chr2"]])
def test_nothing_that_a_model_was_trained_or_validated_on_is_taken_as_unseen(train):
    known = facts(train)
    seen = seen_windows(known, LINES, CHROMS, CHROM, START, 200)
    split = assign_splits(known["splits"], LINES, CHROMS, CHROM, START, 200)
    assert seen[(split == TRAIN) | (split == VALID)].all()
    assert not seen[split == TEST].any()
    if train:  # windows across a border of a region count as seen, others in no region do not
        across = (CHROM == 0) & (START == 200)
        assert seen[0, across].all() and split[0, across] == UNUSED
        assert not seen[0, (CHROM == 0) & (START < 200)].any()


def test_a_window_whose_context_reaches_into_the_training_was_seen():
    known = facts(["A:chr1:2000-4000"])
    contexts = START - 400
    seen = seen_windows(known, LINES, CHROMS, CHROM, contexts, 1000)[0]
    here = START[(CHROM == 0) & seen]
    assert here.min() == 1600 and here.max() == 4200
    assert not seen[(CHROM == 0) & ((START < 1600) | (START > 4200))].any()


def test_lines_are_known_by_name_and_others_are_new():
    seen = seen_windows(facts(), ["A", "mine"], CHROMS, CHROM, START, 200)
    assert seen[0, CHROM == 0].all() and not seen[1].any()


@pytest.mark.parametrize("name", ["gm12878", "GM-12878", "Gm_12878", "GM.12878", "GM 12878"])
@pytest.mark.parametrize("train", [None, ["GM12878:chr1"]])
def test_a_line_that_is_spelled_differently_is_the_same_line(name, train):
    splits = {"test": ["*:chr3"], "valid": ["GM12878:chr2"], "train": train}
    known = facts(cell_lines=["GM12878", "K562"], assayed=[[True], [True]], splits=splits)
    expected = seen_windows(known, ["GM12878"], CHROMS, CHROM, START, 200)
    assert expected[0, CHROM < 2].all() and not expected[0, CHROM == 2].any()
    assert (seen_windows(known, [name], CHROMS, CHROM, START, 200) == expected).all()
    assert same_lines("K562", ["k-562", "K562", "K562b"]) == ["K562", "k-562"]


def test_what_lies_beyond_the_pieces_of_a_model_was_not_seen():
    known = facts(chromosomes={"chr1": 4000, "chr2": 10_000})
    seen = seen_windows(known, LINES, CHROMS, CHROM, START, 200)
    assert seen[1, (CHROM == 0) & (START < 4000)].all()
    assert not seen[1, (CHROM == 0) & (START >= 4000)].any() and not seen[1, CHROM == 2].any()


def test_the_assembly_is_told_by_name_or_lengths():
    assert is_same_assembly(facts(), "mini", {"chr1": 4000})  # a piece
    assert is_same_assembly(facts(), "other name", {"chr1": 10_000, "chr2": 10_000, "chr9": 5})
    assert not is_same_assembly(
        facts(), "other name", {"chr1": 10_000, "chr9": 5}
    )  # as little as that of mitochondria
    assert not is_same_assembly(facts(), "other", {"chr1": 9_999})
    assert not is_same_assembly(facts(), "mini", {"1": 10_000})


@pytest.fixture
def tested(tiny, tiny_model, tmp_path):
    """Build a dataset on which a given model is tested, test the model, and return the dataset and its metrics."""

    def run(splits=None, training=False, chip=None, lines=None, case_matters=False, **facts):
        stored = read_model(tiny_model[0])
        stored["facts"] |= facts
        write_model(tmp_path / "given.safetensors", **stored)
        dataset, metrics = tmp_path / "dataset", tmp_path / "metrics.tsv"
        where = (
            tiny["reference"],
            lines or tiny["lines"],
            chip or tiny["chip"],
            splits or {"test": [], "valid": []},
        )
        given = {"other": stored["facts"]}
        build_dataset(*where, tiny["geometry"], dataset, training=training, given=given)
        files = (
            tmp_path / "given.safetensors",
            None,
            dataset,
            tiny["reference"],
            metrics,
            tmp_path / "curves.npz",
        )
        asked = {"max_windows": None, "seed": 0, "given": True, "case_matters": case_matters}
        evaluate_model(*files, "other", **asked)
        (tmp_path / "bundle.json").write_text(json.dumps({"facts": stored["facts"]}))
        return TrainingSet.open(dataset, tiny["reference"]), pd.read_csv(metrics, sep="\t")

    return run


def test_without_rules_a_given_model_is_tested_on_all_that_its_training_did_not_see(
    tiny, tiny_dataset, tiny_model, tested, tmp_path
):
    data, metrics = tested()
    own = TrainingSet.open(tiny_dataset, tiny["reference"])
    split, there = np.asarray(data.splits), np.asarray(own.splits)
    assert (split[there == TEST] == TEST).all()
    assert not (split[(there == TRAIN) | (there == VALID)] == TEST).any()
    # the same windows, therefore the same accuracy as where the model was trained
    files = tiny_model[0], None, tiny_dataset, tiny["reference"], tmp_path / "m.tsv", tmp_path / "c.npz"
    evaluate_model(*files, "scbind", max_windows=None, seed=0)
    expected = pd.read_csv(tmp_path / "m.tsv", sep="\t")
    kinds = [set(table.loc[table["cell_line"] == "C", "split"]) for table in (metrics, expected)]
    assert kinds[0] == kinds[1] and "cell_line" in kinds[0]


def test_a_model_of_another_assembly_has_no_kind_of_holdout(tested, capsys):
    data, metrics = tested(genome="elsewhere", chromosomes={"chr1": 77_000, "chr2": 40_000})
    assert set(metrics["split"]) - {"scfan_protocol"} == {"test", "unknown"}
    assert (np.asarray(data.splits)[0] != TRAIN).all()
    assert "WARNING other was trained on elsewhere. Which of the test windows" in capsys.readouterr().err


def test_tfs_and_lines_are_matched_by_name(tiny, tested, capsys):
    chip = [row | {"tf": {"TF1": "Tf1", "TF2": "AAA"}[row["tf"]]} for row in tiny["chip"]]
    _, metrics = tested(chip=chip)
    assert set(metrics["tf"]) == {"Tf1"}
    assert "does not predict AAA; it is not tested on them" in capsys.readouterr().err
    _, same = tested()
    columns = ["cell_line", "split", "n_bound", "auprc"]
    expected = same[same["tf"] == "TF1"]
    pd.testing.assert_frame_equal(
        metrics[columns].reset_index(drop=True), expected[columns].reset_index(drop=True)
    )


@pytest.fixture
def baselines(tiny, tiny_motifs, tmp_path):
    """The metrics of the baselines on the dataset of ``tested``, beside this number of given models."""

    def run(number):
        evaluate_baselines(
            tmp_path / "dataset",
            tiny["reference"],
            tiny_motifs,
            tmp_path / "b.tsv",
            tmp_path / "depth.tsv",
            {name: tmp_path / f"{name}.npz" for name in BASELINES},
            keeps=[1.0],
            max_windows=100,
            depth_seed=0,
            given=[tmp_path / "bundle.json"] * number,
        )
        return pd.read_csv(tmp_path / "b.tsv", sep="\t")

    return run


@pytest.mark.parametrize("elsewhere", [False, True])
def test_baselines_beside_a_given_model_have_its_kinds_of_holdout(tested, baselines, elsewhere):
    """Nothing is trained here, so by the splits of the dataset every window would be new in both ways."""
    _, metrics = tested(**{"genome": "elsewhere", "chromosomes": {"chr1": 77_000}} if elsewhere else {})
    table, by = baselines(1), ["cell_line", "tf", "split", "n_windows", "n_bound"]
    assert ("unknown" in set(metrics["split"])) == elsewhere
    for name in ("accessibility", "motif_x_accessibility"):
        rows = [
            each.loc[each["model"] == name, by].sort_values(by)
            for each in (table, metrics.assign(model=name))
        ]
        pd.testing.assert_frame_equal(*(each.reset_index(drop=True) for each in rows))


def test_baselines_beside_several_given_models_have_no_kind_of_holdout(tested, baselines):
    tested()
    assert set(baselines(2)["split"]) == {"test", PROTOCOL}


def test_a_line_that_is_spelled_differently_is_held_out_in_the_same_way(tiny, tested, capsys):
    data, metrics = tested()
    expected, windows = metrics.sort_values(["cell_line", "tf", "split"]), np.asarray(data.splits)
    assert "WARNING" not in capsys.readouterr().err
    small = {name: name.lower() for name in tiny["lines"]}
    lines = {small[name]: files for name, files in tiny["lines"].items()}
    chip = [row | {"cell_line": small[row["cell_line"]]} for row in tiny["chip"]]
    data, metrics = tested(lines=lines, chip=chip)
    assert (np.asarray(data.splits) == windows).all()
    metrics = metrics.assign(cell_line=metrics["cell_line"].str.upper()).sort_values(
        ["cell_line", "tf", "split"]
    )
    pd.testing.assert_frame_equal(metrics.reset_index(drop=True), expected.reset_index(drop=True))


def test_a_line_that_a_model_does_not_know_is_named(tiny, tested, capsys):
    lines = {name if name == "A" else "mine": files for name, files in tiny["lines"].items()}
    chip = [row | {"cell_line": "A" if row["cell_line"] == "A" else "mine"} for row in tiny["chip"]]
    tested(lines=lines, chip=chip)
    said = capsys.readouterr().err
    assert "new to other, which has A, C: mine" in said and "WARNING" not in said


def test_a_line_whose_name_resembles_one_of_the_model_is_a_warning(tiny, tiny_model, tmp_path, capsys):
    lines = {f"GM1287{number}": files for number, files in enumerate(tiny["lines"].values())}
    chip = [row | {"cell_line": "GM12870"} for row in tiny["chip"] if row["cell_line"] == min(tiny["lines"])]
    known = read_model(tiny_model[0])["facts"]
    known |= {"cell_lines": ["GM12870_rep2", "GM12878"], "splits": {"train": ["*:chrX"]}}
    where = tiny["reference"], lines, chip, {"test": [], "valid": []}, tiny["geometry"], tmp_path / "dataset"
    build_dataset(*where, training=False, given={"other": known})
    said = [line for line in capsys.readouterr().err.splitlines() if "WARNING" in line]
    assert len(said) == 1 and "GM12870 counts as another line than GM12870_rep2 of other; if it" in said[0]


def test_case_tells_tfs_of_insects_apart(tiny, tested, capsys):
    chip = [row | {"tf": {"TF1": "Tf1", "TF2": "TF2"}[row["tf"]]} for row in tiny["chip"]]
    _, metrics = tested(chip=chip, case_matters=True)
    assert set(metrics["tf"]) == {"TF2"}
    assert "does not predict Tf1; it is not tested on them" in capsys.readouterr().err


def test_what_cannot_be_tested_is_refused(tiny, tested):
    with pytest.raises(InputError, match="the training of other saw every test window"):
        tested(splits={"test": ["A:chr1:30000-60000"], "valid": []})
    says = "its model reads windows of 100 in 1000 bp, this run has 200 in 1000; set dataset.window: 100"
    with pytest.raises(InputError, match=says):
        tested(window=100)
    with pytest.raises(InputError, match="predicts none of the TFs of the ChIP-seq sheet .AAA."):
        tested(chip=[row | {"tf": "AAA"} for row in tiny["chip"] if row["tf"] == "TF1"])


def test_the_manifest_counts_no_training_windows_where_nothing_is_trained(tested, tmp_path):
    tested()
    assert set(json.loads((tmp_path / "dataset/manifest.json").read_text())["bound_train"].values()) == {0}
