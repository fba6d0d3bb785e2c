"""Trainings that start from the shared weights of a model in a bundle."""

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
from scbind.dataset.seen import with_pretrained
from scbind.dataset.splits import TEST, TRAIN, UNUSED, VALID
from scbind.dataset.trainingset import TrainingSet
from scbind.evaluation.evaluate import kinds_by_splits, kinds_for_given
from scbind.formats.bundlefile import predicts_other_tfs, read_about, read_bundle
from scbind.formats.motifs import read_motifs
from scbind.models.base import build_network
from scbind.models.bundle import BundleFiles, make_bundle
from scbind.models.calibration import calibrate
from scbind.models.lightning import BindingModule
from scbind.models.modelfile import read_model, write_model
from scbind.models.motiftfs import add_motif_tfs
from scbind.models.pretrained import read_pretrained
from scbind.models.training import TrainFiles, TrainOptions, data_facts, train
from scbind.plan.settings import default_options

OPTIONS = {"channels": 8, "hidden": 8, "members": 2, "strangers": 0.5, "width": 12}


def bundle_of(folder, dataset, tiny, motifs, options=OPTIONS, motif_tfs=None, **facts):
    """A bundle of an untrained model of the dataset; none of its weights is zero."""
    folder.mkdir()
    known = data_facts(TrainingSet.open(dataset, tiny["reference"]), "scbind")
    network = build_network("scbind", known, options, read_motifs(motifs))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for values in network.parameters():
            values += 0.3 * torch.randn(values.shape, generator=generator)
    weights = folder / "model.safetensors"
    write_model(weights, network.state_dict(), known, options)
    calibrate(weights, dataset, tiny["reference"], folder / "calibration.json", 300, seed=1)
    state, known = network.state_dict(), known | facts
    if motif_tfs:
        state, known = add_motif_tfs(state, known, options, motif_tfs)
    write_model(weights, state, known, options)
    fitted = json.loads((folder / "calibration.json").read_text())
    (folder / "calibration.json").write_text(json.dumps(fitted | {"model_sha256": file_sha256(weights)}))
    (folder / "history").write_text("epoch,loss\n0,1\n")
    (folder / "card").write_text("# Model card: base\n")
    (folder / "metrics").write_text(
        "model\tcell_line\ttf\tsplit\tauprc\tprevalence\nbase\tA\tTF1\ttest\t1\t1\n"
    )
    files = [folder / name for name in ("model.safetensors", "calibration.json", "history", "card")]
    about = {"comparators": [], "species": "human", "licence": "MIT", "training_data": [{"file": "a.bam"}]}
    made = folder / "base.scbind.zip"
    make_bundle(BundleFiles(*files, motifs, folder / "metrics"), made, "base", **about)
    return made


@pytest.fixture(scope="module")
def base(tiny, tiny_dataset, tiny_motifs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "bundle"
    return bundle_of(folder, tiny_dataset, tiny, tiny_motifs)


def trained(tiny, dataset, folder, pretrained, **changes):
    paths = folder / "model.safetensors", folder / "training.csv"
    files = TrainFiles(dataset, tiny["reference"], *paths, folder / "scratch", pretrained=pretrained)
    small = {"sampling": {"least_examples": 0}, "epochs": 1, "batch_size": 32, "learning_rate": 1e-9}
    train(files, default_options(TrainOptions, "models", **small | changes), code="")
    return read_model(paths[0])


def of_shared(name):
    """Whether the weight belongs to no TF, as the module of the network says."""
    own = (
        "scale",
        "shift",
        "own",
        "always",
        "project.weight",
        "head.4.weight",
        "head.4.bias",
        "alone.weight",
    )
    return not name.startswith("scan.") and not name.endswith(tuple(f".{part}" for part in own))


@pytest.mark.parametrize("more", [{}, {"M1": np.eye(4, 8, dtype=np.float32)}])
def test_a_training_starts_from_what_all_tfs_share(tiny, tiny_dataset, tiny_motifs, tmp_path, capsys, more):
    """The weights of single TFs start anew, also where both models have the same number of TFs."""
    bundle = bundle_of(tmp_path / "base", tiny_dataset, tiny, tiny_motifs, motif_tfs=more)
    start = read_pretrained(bundle, 200, 1000)
    whole = read_model(tmp_path / "base" / "model.safetensors")
    data = TrainingSet.open(tiny_dataset, tiny["reference"])
    network = build_network("scbind", data_facts(data, "scbind"), start.options)
    names = {name for name, _ in network.named_parameters()}
    assert set(start.weights) == {name for name in names if of_shared(name)}
    after = trained(tiny, tiny_dataset, tmp_path / "mine", bundle)
    for name in names:
        close = after["state"][name].shape == whole["state"][name].shape and torch.allclose(
            after["state"][name], whole["state"][name], atol=1e-3
        )
        assert close == of_shared(name), name
    assert after["options"] == OPTIONS
    assert after["facts"]["pretrained"] == whole["facts"] | {"name": "base"}
    assert f"starts from the weights that base shares between {2 + len(more)} TFs" in capsys.readouterr().err


def test_the_depth_of_the_training_data_is_its_own(tiny, tiny_dataset, tiny_motifs, tmp_path):
    """Signal deeper than the training data is scaled down to it."""
    bundle = bundle_of(tmp_path / "base", tiny_dataset, tiny, tiny_motifs, deepest=9.0)
    assert trained(tiny, tiny_dataset, tmp_path / "mine", bundle)["state"]["deepest"] < 1


def test_another_pretrained_model_is_another_training(tiny, tiny_dataset, base, tmp_path, monkeypatch, capfd):
    """The state of a training that was killed is of no use for one that starts elsewhere."""
    step = BindingModule.training_step

    def killed(self, batch, number):
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        return step(self, batch, number)

    with monkeypatch.context() as patch, pytest.raises((KeyboardInterrupt, SystemExit)):
        patch.setattr(BindingModule, "training_step", killed)
        trained(tiny, tiny_dataset, tmp_path, base, epochs=2)
    assert list((tmp_path / "scratch").glob("*/last.ckpt"))
    shutil.copytree(tmp_path, tmp_path.with_name("same"))
    trained(tiny, tiny_dataset, tmp_path.with_name("same"), base, epochs=2)
    assert "resuming from" in capfd.readouterr().err
    trained(tiny, tiny_dataset, tmp_path, None, epochs=2, options=OPTIONS)
    assert "resuming from" not in capfd.readouterr().err


def test_bundles_that_cannot_start_a_training_are_refused(tiny, tiny_dataset, tiny_motifs, base, tmp_path):
    plain = bundle_of(tmp_path / "plain", tiny_dataset, tiny, tiny_motifs, OPTIONS | {"strangers": 0})
    assert predicts_other_tfs(base) and not predicts_other_tfs(plain)
    with pytest.raises(
        InputError, match=r"was not trained for other TFs \(options.strangers is 0\); use another"
    ):
        read_pretrained(plain, 200, 1000)
    with pytest.raises(
        InputError, match="its model reads windows of 200 in 1000 bp, this run has 100 in 1000"
    ):
        read_pretrained(base, 100, 1000)
    cut = tmp_path / "cut.scbind.zip"
    cut.write_bytes(base.read_bytes()[:-100])
    for read in (partial(read_pretrained, window=200, context=1000), predicts_other_tfs):
        with pytest.raises(InputError, match="cut.scbind.zip: not a bundle, or cut off"):
            read(cut)


def dataset_beside(tiny, folder, facts, **splits):
    build_dataset(
        tiny["reference"], tiny["lines"], tiny["chip"], tiny["splits"] | splits, tiny["geometry"], folder,
        pretrained={"base": facts},
    )  # fmt: skip
    return TrainingSet.open(folder, tiny["reference"])


def test_windows_that_the_pretrained_model_saw_are_not_held_out(tiny, tiny_dataset, base, tmp_path, capsys):
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


def test_what_came_before_the_pretrained_model_counts_too(tiny, base, tmp_path):
    """A chain: the pretrained model started from another one, whose training saw windows."""
    first = read_about(base)["facts"]
    first["splits"] = {"train": ["A:chr2:30000-40000"], "valid": [], "test": []}
    second = first | {"splits": {"train": ["A:chr1"], "valid": [], "test": []}, "pretrained": first}
    assert with_pretrained(second) == [second, first]
    data = dataset_beside(tiny, tmp_path / "dataset", second)
    there = (data.chrom == 1) & (data.start > 31_000)
    assert not (np.asarray(data.splits[0])[there] == TEST).any()
    for facts in (first, second):  # a bundle of such a model, applied elsewhere
        kinds = kinds_for_given(data, facts, 1, np.flatnonzero(there))
        assert list(kinds) == ["cell_line"]


def test_all_windows_of_the_test_seen_is_refused(tiny, base, tmp_path):
    facts = read_about(base)["facts"]
    facts["splits"] = {"train": ["*:chr2", "*:chr1"], "valid": [], "test": []}
    facts["assayed"] = [[True, True], [True, False]]
    with pytest.raises(InputError) as refused:
        dataset_beside(tiny, tmp_path / "dataset", facts)
    assert str(refused.value) == (
        "config, splits.test: the training of base saw every test window; "
        "test lines or chromosomes that its card lists as held out"
    )
    assert not (tmp_path / "dataset").exists()


def test_a_locus_or_line_that_the_pretrained_model_knows_is_not_new(tiny, tiny_dataset, base, tmp_path):
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
    assert set(
        kinds_by_splits(replace(data, manifest=data.manifest | {"pretrained": [other]}), 1, window)
    ) == {"unknown"}


def test_a_bundle_says_what_its_training_started_from(tiny, tiny_dataset, tiny_motifs, base, tmp_path):
    files = bundle_of(tmp_path / "mine", tiny_dataset, tiny, tiny_motifs).parent
    paths = [files / name for name in ("model.safetensors", "calibration.json", "history", "card")]
    about = {"comparators": [], "species": None, "licence": None, "training_data": []}
    made = tmp_path / "made.scbind.zip"
    make_bundle(BundleFiles(*paths, tiny_motifs, files / "metrics"), made, "base", pretrained=base, **about)
    said = read_bundle(made).about["pretrained"]
    assert (
        said["licence"] == "MIT" and said["training_data"] == [{"file": "a.bam"}] and said["name"] == "base"
    )
    assert "facts" not in said and "members" not in said
