"""Models that extend the model of a bundle: only what belongs to the TFs of the dataset is trained."""

import json
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scbind.core.errors import InputError
from scbind.core.files import file_sha256
from scbind.dataset.build import build_dataset
from scbind.dataset.seen import with_extended
from scbind.dataset.splits import TEST, TRAIN, UNUSED, VALID
from scbind.dataset.trainingset import TrainingSet
from scbind.evaluation.evaluate import evaluate_model, kinds_by_splits, kinds_for_given
from scbind.formats.bundlefile import predicts_other_tfs, read_about, read_bundle, write_bundle
from scbind.formats.motifs import log_odds, motif_names, read_motifs, write_motifs
from scbind.models.addition import add_chosen
from scbind.models.base import build_network
from scbind.models.bundle import BundleFiles, make_bundle
from scbind.models.calibration import calibrate
from scbind.models.extension import Extension, extended_facts, read_base
from scbind.models.lightning import BindingModule
from scbind.models.modelfile import read_calibration, read_model, write_model
from scbind.models.motiftfs import add_motif_tfs
from scbind.models.predictor import load_predictor
from scbind.models.training import TrainFiles, TrainOptions, data_facts, train
from scbind.plan.settings import default_options

OPTIONS = {"channels": 8, "hidden": 8, "members": 2, "strangers": 0.5, "width": 12, "pull": 0.01}
THEIRS = ("tf1", "OTHER")  # TFs of the bundle; tf1 is TF1 of the dataset


def matrix(seed, width=8):
    return log_odds(np.random.default_rng(seed).dirichlet([0.3] * 4, width).T * 100)


def bundle_of(folder, dataset, tiny, options=OPTIONS, motif_tfs=None, **facts):
    """A bundle of an untrained model, none of whose weights is zero. It was calibrated on the dataset."""
    folder.mkdir()
    known = data_facts(TrainingSet.open(dataset, tiny["reference"]), "scbind")
    own = {tf: matrix(number) for number, tf in enumerate(THEIRS)}
    network = build_network("scbind", known, options, dict(zip(known["tfs"], own.values(), strict=True)))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for values in network.parameters():
            values += 0.3 * torch.randn(values.shape, generator=generator)
    weights, calibration, motifs = (folder / name for name in ("weights", "calibration", "motifs.npz"))
    write_model(weights, network.state_dict(), known, options)
    calibrate(weights, dataset, tiny["reference"], calibration, 300, seed=1)
    fitted = json.loads(calibration.read_text())
    names = dict(zip(known["tfs"], THEIRS, strict=True))
    for part in ("parameters", "reliability"):
        fitted[part] = {names[tf]: entry for tf, entry in fitted[part].items()}
    fitted["tfs"] = list(THEIRS)
    bound = {names[tf]: count for tf, count in known["bound_train"].items()}
    state, known = network.state_dict(), known | {"tfs": list(THEIRS), "bound_train": bound} | facts
    if motif_tfs:
        state, known = add_motif_tfs(state, known, options, motif_tfs)
        for tf in motif_tfs:
            fitted["tfs"].append(tf)
            fitted["parameters"][tf] = fitted["motif_tfs"]["parameters"]
            fitted["reliability"][tf] = fitted["motif_tfs"]["reliability"] | {
                "evidence": "motif",
                "motif_group": tf,
            }
    write_model(weights, state, known, options)
    calibration.write_text(json.dumps(fitted | {"model_sha256": file_sha256(weights)}))
    write_motifs(motifs, {tf: (f"M:{tf}", each) for tf, each in (own | (motif_tfs or {})).items()})
    (folder / "history").write_text("epoch,loss\n0,1\n")
    (folder / "card").write_text("# Model card: base\n")
    (folder / "metrics").write_text(
        "model\tcell_line\ttf\tsplit\tauprc\tprevalence\nbase\tA\tTF1\ttest\t1\t1\n"
    )
    about = {"comparators": [], "species": "human", "licence": "MIT", "training_data": [{"file": "a.bam"}]}
    made = folder / "base.scbind.zip"
    files = weights, calibration, folder / "history", folder / "card", motifs, folder / "metrics"
    make_bundle(BundleFiles(*files), made, "base", **about)
    return made


@pytest.fixture(scope="module")
def base(tiny, tiny_dataset, tmp_path_factory):
    return bundle_of(tmp_path_factory.mktemp("base") / "bundle", tiny_dataset, tiny)


def extended(tiny, dataset, folder, bundle, motifs=None, case_matters=False, **changes):
    paths = folder / "model.safetensors", folder / "training.csv"
    files = TrainFiles(dataset, tiny["reference"], *paths, folder / "scratch", motifs, motifs, bundle)
    small = {"sampling": {"least_examples": 0}, "epochs": 1, "batch_size": 32, "learning_rate": 0.01}
    train(
        files, default_options(TrainOptions, "models", **small | changes), code="", case_matters=case_matters
    )
    return read_model(paths[0])


@pytest.fixture(scope="module")
def mine(tiny, tiny_dataset, tiny_motifs, base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mine")
    return folder / "model.safetensors", extended(tiny, tiny_dataset, folder, base, tiny_motifs, epochs=2)


def rows_of(values, name, n):
    """A weight with its TFs first; ``None`` if it has none."""
    if ".head.4." in name:
        return values.unflatten(0, (-1, n)).transpose(0, 1)
    of_tfs = ("scale", "shift", "own", "alone.weight", "scan.learned", "scan.known", "scan.released")
    if name.endswith(of_tfs) or name.startswith("log_p"):
        return values
    return values.T if name.endswith("always") else None


def test_only_what_belongs_to_the_tfs_of_the_dataset_is_trained(base, mine):
    """The matrix of a TF that the bundle has is part of its map, on which all other TFs depend."""
    before, after = read_base(base, 200, 1000), mine[1]
    assert after["facts"]["tfs"] == ["TF1", "OTHER", "TF2"] and after["options"] == OPTIONS
    changed = set()
    for name, values in before.state.items():
        old, new = rows_of(values, name, 2), rows_of(after["state"][name], name, 3)
        if old is None:
            assert torch.equal(values, after["state"][name]), name
            continue
        assert torch.equal(old[1], new[1]), name
        changed |= {
            (name.rpartition(".")[2], number)
            for number in (0, 2)
            if not torch.equal(old[0] * (number == 0), new[number])
        }
    assert {("own", 0), ("own", 2), ("scale", 0), ("scale", 2), ("learned", 2)} <= changed
    assert ("learned", 0) not in changed and ("known", 0) not in changed


def test_the_tfs_of_the_bundle_are_predicted_as_before(tiny, base, mine, tmp_path):
    (tmp_path / "base").write_bytes(read_bundle(base).members["model.safetensors"])
    rng = np.random.default_rng(4)
    codes, counts = (
        rng.integers(0, 4, (6, 1000), dtype=np.uint8),
        rng.poisson(0.5, (6, 20)).astype(np.float32),
    )
    found = []
    for path in (tmp_path / "base", mine[0]):
        predictor = load_predictor(path)
        logits = predictor.logits(predictor.readout(codes), counts, np.full(6, 0.02, dtype=np.float32))
        found.append(dict(zip(predictor.tfs, logits.T, strict=True)))
    np.testing.assert_allclose(found[1]["OTHER"], found[0]["OTHER"], rtol=1e-5)
    assert np.abs(found[1]["TF1"] - found[0]["tf1"]).max() > 1e-3


def test_the_training_starts_from_the_prediction_without_chip_seq(
    tiny, tiny_dataset, tiny_motifs, base, tmp_path
):
    """Or, of a TF that the bundle has, from its prediction there."""
    start = read_base(base, 200, 1000)
    after = extended(tiny, tiny_dataset, tmp_path, base, tiny_motifs, learning_rate=1e-12)
    added, _ = add_motif_tfs(start.state, start.facts, start.options, {"TF2": np.zeros((4, 8), np.float32)})
    for name, values in added.items():
        if name not in ("scan.known", "scan.released", "log_p", "log_p_released"):  # of the matrix of TF2
            torch.testing.assert_close(after["state"][name], values, rtol=0, atol=1e-6)


def test_facts_name_what_was_trained_here_and_what_was_extended(tiny, tiny_dataset, base, mine):
    facts, own = mine[1]["facts"], TrainingSet.open(tiny_dataset, tiny["reference"])
    assert facts["trained"] == facts["dataset_tfs"] == ["TF1", "TF2"] and facts["mapped"] == 2
    assert facts["extends"] == read_about(base)["facts"] | {"name": "base"}
    assert facts["assayed"] == [[True, False, True], [False, False, False]]
    assert facts["bound_train"]["OTHER"] == read_about(base)["facts"]["bound_train"]["OTHER"]
    own.check_model(facts, "model")
    with pytest.raises(InputError, match="trained with other tfs: it alone has TF2, the dataset none"):
        replace(own, manifest=own.manifest | {"tfs": ["TF1"]}).check_model(facts, "model")


def test_case_tells_tfs_of_insects_apart(tiny, tiny_dataset, tiny_motifs, base, tmp_path):
    after = extended(tiny, tiny_dataset, tmp_path, base, tiny_motifs, case_matters=True)
    assert after["facts"]["tfs"] == ["tf1", "OTHER", "TF1", "TF2"]


def test_depth_beyond_the_training_is_scaled_to_that_of_the_bundle(tiny, tiny_dataset, tmp_path):
    bundle = bundle_of(tmp_path / "base", tiny_dataset, tiny, deepest=9.0)
    start = read_base(bundle, 200, 1000)
    facts = data_facts(TrainingSet.open(tiny_dataset, tiny["reference"]), "scbind")
    assert facts["deepest"] < 1
    assert extended_facts(start, facts, case_matters=False)["deepest"] == 9.0


def test_the_penalty_is_that_of_the_distance_per_bound_window(tiny, tiny_dataset, base):
    start = read_base(base, 200, 1000)
    facts = extended_facts(
        start, data_facts(TrainingSet.open(tiny_dataset, tiny["reference"]), "scbind"), case_matters=False
    )
    network = build_network("scbind", facts, start.options)
    extension = Extension(network, start, facts)
    assert float(extension.penalty()) == 0
    trained = [values for values in network.parameters() if values.requires_grad]
    with torch.no_grad():
        for values in trained:
            values += 2
    bound = facts["bound_train"]["TF1"] + facts["bound_train"]["TF2"]
    numbers = sum(values.numel() for values in trained)
    assert float(extension.penalty()) == pytest.approx(0.01 / bound * 4 * numbers, rel=1e-5)


def test_a_tf_without_a_bound_window_stays_as_it_is(tiny, tiny_dataset, base):
    start = read_base(base, 200, 1000)
    facts = data_facts(TrainingSet.open(tiny_dataset, tiny["reference"]), "scbind")
    facts |= {"bound_train": facts["bound_train"] | {"TF1": 0}, "modelled": [False, True]}
    facts = extended_facts(start, facts, case_matters=False)
    assert facts["modelled"] == [True, True, True]
    assert facts["dataset_tfs"] == ["TF1", "TF2"] and facts["trained"] == ["TF2"]
    assert facts["bound_train"]["TF1"] == start.facts["bound_train"]["tf1"] > 0
    network = build_network("scbind", facts, start.options)
    Extension(network, start, facts)
    tower = network.windows[0]
    assert tower.parametrizations.scale.original.shape[0] == 1  # TF2


def test_a_killed_training_resumes_to_the_same_end(
    tiny, tiny_dataset, tiny_motifs, base, tmp_path, monkeypatch, capfd
):
    """And the state is of no use for a training that extends nothing."""
    extended(tiny, tiny_dataset, tmp_path / "whole", base, tiny_motifs, epochs=2)
    step = BindingModule.training_step

    def killed(self, batch, number):
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        return step(self, batch, number)

    with monkeypatch.context() as patch, pytest.raises((KeyboardInterrupt, SystemExit)):
        patch.setattr(BindingModule, "training_step", killed)
        extended(tiny, tiny_dataset, tmp_path / "killed", base, tiny_motifs, epochs=2)
    assert list((tmp_path / "killed/scratch").glob("*/last.ckpt"))
    shutil.copytree(tmp_path / "killed", tmp_path / "other")
    extended(tiny, tiny_dataset, tmp_path / "killed", base, tiny_motifs, epochs=2)
    assert "resuming from" in capfd.readouterr().err
    for name in ("model.safetensors", "training.csv"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    extended(tiny, tiny_dataset, tmp_path / "other", None, tiny_motifs, epochs=2, options=OPTIONS)
    assert "resuming from" not in capfd.readouterr().err


def test_other_tfs_keep_the_calibration_of_the_bundle(tiny, tiny_dataset, base, mine, tmp_path):
    calibrate(mine[0], tiny_dataset, tiny["reference"], tmp_path / "calibration", 300, seed=1, extends=base)
    ours = read_calibration(tmp_path / "calibration", mine[0])
    theirs = json.loads(read_bundle(base).members["calibration.json"])
    assert ours["tfs"] == ["TF1", "OTHER", "TF2"]
    for part in ("parameters", "reliability"):
        assert ours[part]["OTHER"] == theirs[part]["OTHER"] and ours[part]["TF1"] != theirs[part]["tf1"]
    assert (
        ours["log10_depth_centre"] == theirs["log10_depth_centre"]
        and ours["motif_tfs"] == theirs["motif_tfs"]
    )
    model = load_predictor(mine[0], tmp_path / "calibration")
    assert model.tfs == ours["tfs"]
    tables = tmp_path / "metrics.tsv", tmp_path / "curves.npz"
    evaluate_model(
        mine[0],
        tmp_path / "calibration",
        tiny_dataset,
        tiny["reference"],
        *tables,
        "mine",
        max_windows=None,
        seed=0,
    )
    assert {line.split("\t")[2] for line in tables[0].read_text().splitlines()[1:]} == {"TF1", "TF2"}


def test_tfs_without_chip_seq_are_added_as_to_the_bundle(
    tiny, tiny_dataset, tiny_motifs, base, mine, tmp_path
):
    write_motifs(tmp_path / "chosen", {"NEW": ("M:NEW", matrix(7))})
    paths = tmp_path / "model", tmp_path / "motifs.npz"
    add_chosen(mine[0], tiny_motifs, tmp_path / "chosen", *paths, base)
    facts = read_model(paths[0])["facts"]
    assert facts["tfs"] == ["TF1", "OTHER", "TF2", "NEW"] and facts["evidence"] == ["chip"] * 3 + ["motif"]
    names = motif_names(paths[1])
    assert names["OTHER"] == "M:OTHER" and names["NEW"] == "M:NEW" and "tf1" not in names
    # a TF of the bundle has its matrix there, with the name that it has here
    np.testing.assert_array_equal(read_motifs(paths[1])["TF1"], matrix(0))
    assert names["TF1"] == "M:tf1"
    calibrate(paths[0], tiny_dataset, tiny["reference"], tmp_path / "calibration", 300, seed=1, extends=base)
    ours = read_calibration(tmp_path / "calibration", paths[0])
    assert ours["parameters"]["NEW"] == ours["motif_tfs"]["parameters"]
    assert load_predictor(paths[0], tmp_path / "calibration").tfs == facts["tfs"]


def test_motif_tfs_of_a_bundle_are_left_out(tiny, tiny_dataset, tiny_motifs, tmp_path, capsys):
    """They may have ChIP-seq here; models.*.motif_tfs adds them again."""
    bundle = bundle_of(tmp_path / "base", tiny_dataset, tiny, motif_tfs={"TF2": matrix(5), "M": matrix(6)})
    after = extended(tiny, tiny_dataset, tmp_path / "mine", bundle, tiny_motifs)
    assert after["facts"]["tfs"] == ["TF1", "OTHER", "TF2"]
    assert (
        "base: its 2 TFs without ChIP-seq are left out; models.*.motif_tfs adds them"
        in capsys.readouterr().err
    )
    weights = tmp_path / "mine" / "model.safetensors"
    calibrate(weights, tiny_dataset, tiny["reference"], tmp_path / "calibration", 300, seed=1, extends=bundle)
    assert read_calibration(tmp_path / "calibration", weights)["tfs"] == after["facts"]["tfs"]


def test_an_extended_model_can_be_extended_again(tiny, tiny_dataset, tiny_motifs, base, mine, tmp_path):
    """The map stays that of the first one."""
    calibrate(mine[0], tiny_dataset, tiny["reference"], tmp_path / "calibration", 300, seed=1, extends=base)
    files = base.parent
    add_chosen(mine[0], tiny_motifs, _nothing(tmp_path), tmp_path / "same", tmp_path / "motifs.npz", base)
    assert (tmp_path / "same").read_bytes() == mine[0].read_bytes()
    about = {"comparators": [], "species": None, "licence": None, "training_data": [], "extends": base}
    bundle = tmp_path / "second.scbind.zip"
    paths = mine[0], tmp_path / "calibration", files / "history", files / "card", tmp_path / "motifs.npz"
    make_bundle(BundleFiles(*paths, files / "metrics"), bundle, "base", **about)
    said = read_bundle(bundle).about["extends"]
    assert (
        said["licence"] == "MIT" and said["training_data"] == [{"file": "a.bam"}] and said["name"] == "base"
    )
    assert "facts" not in said and "members" not in said
    again = extended(tiny, tiny_dataset, tmp_path / "again", bundle, tiny_motifs)
    assert again["facts"]["mapped"] == 2 and again["facts"]["tfs"] == ["TF1", "OTHER", "TF2"]
    assert [each["genome"] for each in with_extended(again["facts"])] == ["mini"] * 3


def _nothing(folder):
    write_motifs(folder / "nothing", {})
    return folder / "nothing"


def test_bundles_that_cannot_be_extended_are_refused(tiny, tiny_dataset, base, tmp_path):
    found = read_bundle(base)
    assert predicts_other_tfs(found)
    for name, facts, says in (
        ("plain", {}, r"was not trained for other TFs \(options.strangers is 0\); use another bundle"),
        ("other", {"genome": "else"}, "describes another model than the weights"),
    ):
        stored = read_model(base.parent / "weights")
        stored["options"] = stored["options"] | ({"strangers": 0} if name == "plain" else {})
        stored["facts"] = stored["facts"] | facts
        write_model(tmp_path / name, **stored)
        members = found.members | {"model.safetensors": (tmp_path / name).read_bytes()}
        write_bundle(tmp_path / f"{name}.scbind.zip", found.about, members)
        with pytest.raises(InputError, match=says):
            read_base(tmp_path / f"{name}.scbind.zip", 200, 1000)
    with pytest.raises(
        InputError, match="its model reads windows of 200 in 1000 bp, this run has 100 in 1000"
    ):
        read_base(base, 100, 1000)
    cut = tmp_path / "cut.scbind.zip"
    cut.write_bytes(base.read_bytes()[:-100])
    for read in (partial(read_base, window=200, context=1000), read_bundle):
        with pytest.raises(InputError, match="cut.scbind.zip: not a bundle, or cut off"):
            read(cut)


def dataset_beside(tiny, folder, facts, **splits):
    build_dataset(
        tiny["reference"], tiny["lines"], tiny["chip"], tiny["splits"] | splits, tiny["geometry"], folder,
        extended={"base": facts},
    )  # fmt: skip
    return TrainingSet.open(folder, tiny["reference"])


def test_windows_that_the_extended_model_saw_are_not_held_out(tiny, tiny_dataset, base, tmp_path, capsys):
    """Neither those of its training, for test and validation, nor those of its validation, for the test."""
    facts = read_about(base)["facts"]
    plain = TrainingSet.open(tiny_dataset, tiny["reference"])
    facts["splits"] = {"train": ["A:chr2:0-10000"], "valid": ["A:chr2:20000-30000"], "test": []}
    data = dataset_beside(tiny, tmp_path / "dataset", facts)
    chr2, (line_a, line_c) = data.chrom == 1, data.splits
    end = data.start + 200
    assert (np.asarray(data.splits) == TRAIN).sum() == (np.asarray(plain.splits) == TRAIN).sum()
    for line, split, region, left in (
        (line_a, VALID, (0, 9_400), UNUSED), (line_a, VALID, (11_000, 20_000), VALID),
        (line_a, TEST, (21_000, 29_000), UNUSED), (line_a, TEST, (31_000, 40_000), TEST),
        (line_c, VALID, (0, 9_400), VALID), (line_c, TEST, (21_000, 29_000), TEST),
    ):  # fmt: skip
        row = 0 if line is line_a else 1
        was = (np.asarray(plain.splits[row]) == split) & chr2 & (data.start >= region[0]) & (end <= region[1])
        assert was.any() and (line[was] == left).all()
    said = capsys.readouterr().err
    assert "test windows left out because the training of base saw them" in said
    assert "validation windows left out because base was trained on them" in said


def test_what_came_before_the_extended_model_counts_too(tiny, base, tmp_path):
    """A chain: the extended model started from another one, whose training saw windows."""
    first = read_about(base)["facts"]
    first["splits"] = {"train": ["A:chr2:30000-40000"], "valid": [], "test": []}
    second = first | {"splits": {"train": ["A:chr1"], "valid": [], "test": []}, "extends": first}
    assert with_extended(second) == [second, first]
    data = dataset_beside(tiny, tmp_path / "dataset", second)
    there = (data.chrom == 1) & (data.start > 31_000)
    assert not (np.asarray(data.splits[0])[there] == TEST).any()
    for facts in (first, second):  # a bundle of such a model, applied elsewhere
        kinds = kinds_for_given(data, facts, 1, np.flatnonzero(there))
        assert list(kinds) == ["cell_line"]


@pytest.mark.parametrize(
    ("train", "says"),
    [
        (
            ["*:chr2", "*:chr1"],
            "splits.test: the training of base saw every test window; test lines or chromosomes that its card lists "
            "as held out",
        ),
        (
            ["*:chr2:0-20000"],
            "splits.valid: base was trained on every validation window; validate on lines or chromosomes that its card "
            "lists as validation or held out",
        ),
    ],
)
def test_all_windows_of_test_or_validation_seen_is_refused(tiny, base, tmp_path, train, says):
    facts = read_about(base)["facts"]
    facts["splits"] = {"train": train, "valid": [], "test": []}
    facts["assayed"] = [[True, True], [True, False]]
    with pytest.raises(InputError) as refused:
        dataset_beside(tiny, tmp_path / "dataset", facts)
    assert str(refused.value) == f"config, {says}"
    assert not (tmp_path / "dataset").exists()


def test_a_tf_without_a_bound_training_window_is_said_to_be_that_of_the_bundle(tiny, base, tmp_path, capsys):
    """A TF that the bundle lacks is not modelled."""
    facts = read_about(base)["facts"]
    facts["splits"] = {"train": ["C:chr1:0-1000"], "valid": [], "test": []}
    nowhere = tmp_path / "nowhere.narrowPeak"
    nowhere.write_text("chr2\t1500\t1800\t.\t0\t.\t1\t-1\t-1\t150\n")
    chip = [{"cell_line": "A", "tf": tf, "path": str(nowhere), "relaxed": None} for tf in ("other", "NEW")]
    build_dataset(
        tiny["reference"], tiny["lines"], [*tiny["chip"], *chip], tiny["splits"], tiny["geometry"],
        tmp_path / "dataset", extended={"base": facts},
    )  # fmt: skip
    said = capsys.readouterr().err
    assert "WARNING other: no bound window in the training split; it is predicted as by the bundle" in said
    assert "WARNING NEW: no bound window in the training split; it is not modelled" in said


def test_a_locus_or_line_that_the_extended_model_knows_is_not_new(tiny, tiny_dataset, base, tmp_path):
    """C is a new line for the training itself, and chr2 a new chromosome."""
    plain = TrainingSet.open(tiny_dataset, tiny["reference"])
    window = np.flatnonzero(np.asarray(plain.splits[1]) == TEST)
    assert set(kinds_by_splits(plain, 1, window)) == {"cell_line", "both"}
    facts = read_about(base)["facts"]
    facts["splits"] = {"train": ["C:chr2:0-10000"], "valid": [], "test": []}
    facts["assayed"] = [[False, False], [True, False]]
    data = dataset_beside(tiny, tmp_path / "dataset", facts)
    assert set(kinds_by_splits(data, 1, window)) == {"pair", "chromosome"}
    other = facts | {"genome": "else", "chromosomes": {"chr1": 5}}
    assert set(kinds_by_splits(replace(data, manifest=data.manifest | {"extends": [other]}), 1, window)) == {
        "unknown"
    }
