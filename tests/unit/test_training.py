import csv
import json
import os
import shutil
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scbind.binding.choice import choose_windows
from scbind.binding.readout import sequence_readout
from scbind.binding.windows import Windows
from scbind.core.devices import choose_device
from scbind.core.errors import InputError
from scbind.core.files import file_sha256
from scbind.dataset.build import build_dataset
from scbind.dataset.trainingset import TrainingSet
from scbind.evaluation.evaluate import network_scores, score_test_windows
from scbind.formats.genome import Genome
from scbind.formats.motifs import read_motifs
from scbind.models.batches import FixedBatches
from scbind.models.calibration import LineWindows, predict_pairs
from scbind.models.lightning import BindingModule
from scbind.models.modelfile import read_model
from scbind.models.predictor import load_predictor
from scbind.models.training import TrainFiles, TrainOptions, data_facts, train
from scbind.plan.settings import default_options

SMALL = {
    "options": {"channels": 8, "hidden": 8},
    "sampling": {"least_examples": 0},
    "epochs": 3,
    "batch_size": 32,
}


def run(tiny, tiny_dataset, folder, motifs=None, code="", gpus=0, require_gpu=False, **changes):
    paths = folder / "model.safetensors", folder / "training.csv"
    files = TrainFiles(tiny_dataset, tiny["reference"], *paths, folder / "scratch", motifs)
    options = default_options(TrainOptions, "models", **SMALL | changes)
    train(files, options, code=code, gpus=gpus, require_gpu=require_gpu)
    return paths


def history(path):
    with open(path) as handle:
        return list(csv.DictReader(handle))


def weights(path):
    return read_model(path)["state"]


def test_the_planted_motif_is_learned(tiny_model):
    rows = history(tiny_model[2])
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
    assert max(float(row["valid_auprc"]) for row in rows) > 0.5


def test_same_seed_same_bytes_in_another_folder(tiny, tiny_dataset, tmp_path):
    """A bundle of a training that is repeated elsewhere has the same checksum: no times, no paths."""
    first, again = (run(tiny, tiny_dataset, tmp_path / name) for name in ("a", "b/longer"))
    for one, other in zip(first, again, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert str(tmp_path).encode() not in one.read_bytes()


def test_a_killed_training_resumes_to_the_same_end(tiny, tiny_dataset, tmp_path, monkeypatch, capfd):
    whole = run(tiny, tiny_dataset, tmp_path / "whole")
    step = BindingModule.training_step

    def killed(self, batch, number):
        if self.current_epoch == 1 and number == 1:
            raise KeyboardInterrupt
        return step(self, batch, number)

    monkeypatch.setattr(BindingModule, "training_step", killed)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run(tiny, tiny_dataset, tmp_path / "cut")
    assert not (tmp_path / "cut" / "model.safetensors").exists()
    monkeypatch.setattr(BindingModule, "training_step", step)
    resumed = run(tiny, tiny_dataset, tmp_path / "cut")
    assert "resuming from" in capfd.readouterr().err
    assert [path.read_bytes() for path in resumed] == [path.read_bytes() for path in whole]
    assert not (tmp_path / "cut" / "scratch").exists()


def of_epochs(monkeypatch, auprc: list[float], killed_in: int | None = None, error: float = 0.0) -> list[int]:
    """Let epochs have these validation AUPRCs, and kill the training in one of them, once; the epochs that begin."""
    began, step, kills = [], BindingModule.training_step, [killed_in]

    def noted(self, batch, number):
        if number == 0:
            began.append(self.current_epoch)
        if self.current_epoch == kills[0]:
            kills[0] = None
            raise KeyboardInterrupt
        return step(self, batch, number)

    monkeypatch.setattr(BindingModule, "training_step", noted)
    monkeypatch.setattr("scbind.models.lightning.mean_auprc", lambda *_: (auprc[began[-1]], error))
    return began


@pytest.mark.parametrize("killed_in", [2, 3])
@pytest.mark.parametrize("error", [0.0, 0.45])
def test_a_killed_training_resumes_after_its_last_epoch_and_not_after_its_best(
    tiny, tiny_dataset, tmp_path, monkeypatch, killed_in, error
):
    """The second epoch is the best one, and the training is killed after it; its folder is moved after that.

    With an error, the highest AUPRC must be known after that, too: the fourth epoch is 0.5 below it, but not below the
    one that was kept last.
    """
    auprc = [0.3, 0.9, 0.5, 0.4, 0.4]
    of_epochs(monkeypatch, auprc, error=error)
    whole = run(tiny, tiny_dataset, tmp_path / "whole", epochs=5)
    began = of_epochs(monkeypatch, auprc, killed_in, error)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run(tiny, tiny_dataset, tmp_path / "cut", epochs=5)
    (tmp_path / "cut").rename(tmp_path / "moved")
    resumed = run(tiny, tiny_dataset, tmp_path / "moved", epochs=5)
    assert began == [*range(killed_in + 1), *range(killed_in, 5)]
    assert [path.read_bytes() for path in resumed] == [path.read_bytes() for path in whole]


def test_a_training_that_had_ended_early_does_not_go_on(tiny, tiny_dataset, tmp_path, monkeypatch):
    """It is killed between its last epoch and the files that it writes."""
    auprc = [0.5, 0.3, 0.2, 0.9, 0.9]
    of_epochs(monkeypatch, auprc)
    whole = run(tiny, tiny_dataset, tmp_path / "whole", epochs=5, patience=2)
    began = of_epochs(monkeypatch, auprc)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(
            "scbind.models.training.write_model", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        run(tiny, tiny_dataset, tmp_path / "cut", epochs=5, patience=2)
    resumed = run(tiny, tiny_dataset, tmp_path / "cut", epochs=5, patience=2)
    assert began == [0, 1, 2]
    assert [path.read_bytes() for path in resumed] == [path.read_bytes() for path in whole]


@pytest.mark.parametrize(
    ("auprc", "error", "kept", "epochs"),
    [
        ([1.0] * 5, 0.0, 5, 5),
        ([0.1, 0.5, 0.4, 0.5, 0.4], 0.0, 4, 5),
        ([0.5, 0.4, 0.3, 0.2, 0.6], 0.0, 1, 4),  # ends three epochs after the one that is kept
        ([0.5, 0.45, 0.41, 0.45, 0.41], 0.1, 5, 5),
        ([0.5, 0.45, 0.39, 0.35, 0.31], 0.1, 2, 5),  # each is near the one before, but not near the highest
        ([0.5, 0.41, 0.6, 0.49, 0.49], 0.1, 3, 5),  # an epoch that was kept is not, beside a higher one
    ],
)
def test_the_last_epoch_within_a_standard_error_of_the_highest_auprc_is_kept(
    tiny, tiny_dataset, tmp_path, monkeypatch, capfd, auprc, error, kept, epochs
):
    """With one bound validation window, the AUPRC may be 1 from the first epoch on."""
    states, ended = {}, BindingModule.on_validation_epoch_end

    def noted(self):
        ended(self)
        average = next(c for c in self.trainer.callbacks if hasattr(c, "_average_model"))._average_model
        states[self.current_epoch] = {k: v.clone() for k, v in average.module.network.state_dict().items()}

    monkeypatch.setattr(BindingModule, "on_validation_epoch_end", noted)
    of_epochs(monkeypatch, auprc, error=error)
    model, table = run(tiny, tiny_dataset, tmp_path, epochs=5, patience=3)
    assert len(history(table)) == epochs
    said = (
        f"epoch {kept} is kept: validation AUPRC {auprc[kept - 1]:.4f} (highest {max(auprc[:epochs]):.4f}, "
    )
    assert f"{said}standard error {error:.4f})" in capfd.readouterr().err
    found = weights(model)
    same = [
        epoch + 1 for epoch, state in states.items() if all(torch.equal(state[n], found[n]) for n in found)
    ]
    assert same == [kept]


def cut_short(monkeypatch, *arguments, **settings):
    """Train, but be killed in the second epoch; the folder of the state that is left."""
    step = BindingModule.training_step

    def killed(self, batch, number):
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        return step(self, batch, number)

    with monkeypatch.context() as patched, pytest.raises((KeyboardInterrupt, SystemExit)):
        patched.setattr(BindingModule, "training_step", killed)
        run(*arguments, **settings)
    return arguments[-1] / "scratch"


def test_a_state_of_other_data_settings_or_code_is_not_resumed_but_removed(
    tiny, tiny_dataset, tiny_motifs, tmp_path, monkeypatch, capfd
):
    settings = {"motifs": tiny_motifs, "sampling": {"examples_per_epoch": 32}, "epochs": 2}
    scratch = cut_short(monkeypatch, tiny, tiny_dataset, tmp_path, **settings)
    (ours,) = scratch.iterdir()
    shutil.copytree(tiny_dataset, tmp_path / "dataset")
    is_open = np.load(tmp_path / "dataset" / "open.npy")
    np.save(tmp_path / "dataset" / "open.npy", ~is_open)
    manifest = json.loads((tiny_dataset / "manifest.json").read_text())
    manifest["sha256"]["open.npy"] = file_sha256(tmp_path / "dataset" / "open.npy")
    (tmp_path / "dataset" / "manifest.json").write_text(json.dumps(manifest))
    known = read_motifs(tiny_motifs)["TF1"]
    np.savez(tmp_path / "motifs.npz", tfs=["TF1"], **{"matrix/TF1": known[:, ::-1]})
    other = [{"motifs": tmp_path / "motifs.npz"}, {"valid_windows": 100}, {"patience": 1}]
    other += [{"precision": "bf16-mixed"}, {"code": "another"}]
    for change in other:
        cut_short(monkeypatch, tiny, tiny_dataset, tmp_path, **(settings | change))
    cut_short(monkeypatch, tiny, tmp_path / "dataset", tmp_path, **settings)
    assert len(list(scratch.iterdir())) == 2 + len(other)
    assert "resuming" not in capfd.readouterr().err
    run(tiny, tiny_dataset, tmp_path, **settings)
    assert f"resuming from {ours / 'last.ckpt'}" in capfd.readouterr().err
    assert not scratch.exists()


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
def test_a_damaged_state_is_discarded(tiny, tiny_dataset, tmp_path, monkeypatch, capfd, name):
    whole = run(tiny, tiny_dataset, tmp_path / "whole", epochs=2)
    scratch = cut_short(monkeypatch, tiny, tiny_dataset, tmp_path, epochs=2)
    (damaged,) = scratch.glob(f"*/{name}")
    damaged.write_bytes(damaged.read_bytes()[:-100])
    capfd.readouterr()
    again = run(tiny, tiny_dataset, tmp_path, epochs=2)
    said = capfd.readouterr().err
    assert (
        said.count(f"{name}: not a readable state of a training") == 1
        and "training starts from the beginning" in said
    )
    assert "resuming" not in said
    assert history(again[1]) == history(whole[1])


def test_nan_loss_stops_and_keeps_the_last_good_state(tiny, tiny_dataset, tmp_path, monkeypatch):
    step = BindingModule.training_step

    def poisoned(self, batch, number):
        if self.current_epoch == 1:
            batch["depth"] = batch["depth"] * np.nan
        return step(self, batch, number)

    monkeypatch.setattr(BindingModule, "training_step", poisoned)
    with pytest.raises(FloatingPointError, match="the loss is nan in epoch 1; lower models"):
        run(tiny, tiny_dataset, tmp_path)
    assert not (tmp_path / "model.safetensors").exists()
    assert list((tmp_path / "scratch").rglob("last.ckpt"))


def test_a_batch_too_large_for_the_gpu_is_halved(tiny, tiny_dataset, tmp_path, monkeypatch, capfd):
    step = BindingModule.training_step

    def small_memory(limit):
        def tried(self, batch, number):
            if len(batch["depth"]) > limit:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return step(self, batch, number)

        monkeypatch.setattr(BindingModule, "training_step", tried)

    small_memory(16)
    run(tiny, tiny_dataset, tmp_path, batch_size=32, epochs=1)
    assert (
        "out of GPU memory with batches of 32; training restarts with batches of 16" in capfd.readouterr().err
    )
    assert not (tmp_path / "scratch").exists()
    small_memory(0)
    with pytest.raises(InputError, match="even batches of 8 do not fit into the memory of the GPU"):
        run(tiny, tiny_dataset, tmp_path / "none", batch_size=16, epochs=1)


def test_scfan_trains_and_keeps_line_weights_apart(tiny, tiny_dataset, tmp_path):
    model_file, _ = run(
        tiny, tiny_dataset, tmp_path, architecture="scfan", options={}, epochs=1, valid_windows=20
    )
    assert read_model(model_file)["facts"]["assayed"] == [[True, True], [False, False]]


def test_the_deepest_signal_is_that_of_the_training(tiny, tiny_dataset):
    data = TrainingSet.open(tiny_dataset, tiny["reference"])
    depth = np.array([[0.1, 5.0], [7.0, 9.0]], np.float32)  # line A trains on chr1, line C nowhere
    assert data_facts(replace(data, depth=depth), "scbind")["deepest"] == np.float32(0.1)


def test_mappability_is_the_same_in_training_calibration_and_cells(tiny, mappable, tmp_path):
    reference, dataset = mappable
    options = {"architecture": "scfan", "options": {}, "epochs": 1, "valid_windows": 20}
    model_file, _ = run({"reference": reference}, dataset, tmp_path, **options)
    data = TrainingSet.open(dataset, reference)
    model = load_predictor(model_file)
    assert model.facts["mappability"] is True
    line, window = np.zeros(40, int), np.arange(100, 140)
    batch = FixedBatches(data, line, window, 1)[0]
    with torch.inference_mode():
        expected = model.network(
            *(batch[key] for key in ("codes", "counts", "depth", "line")), mappability=batch["mappability"]
        )
    logits, _ = predict_pairs(model, LineWindows(data, line, window))
    np.testing.assert_allclose(logits[0], expected[:, model.columns], rtol=1e-4, atol=1e-5)
    (tmp_path / "consensus.bed").write_text("chr1\t22000\t26000\n")
    choose_windows(tmp_path / "consensus.bed", reference, None, tmp_path / "windows.npz", tiny["geometry"])
    sequence_readout(model_file, tmp_path / "windows.npz", reference, tmp_path / "readout.npy", batch=3)
    chosen, got = Windows.load(tmp_path / "windows.npz"), np.load(tmp_path / "readout.npy")
    assert got.shape == (len(chosen), 2, 1000) and got.dtype == np.uint8
    place = np.searchsorted(data.start[data.chrom == 0], chosen.start)
    assert np.array_equal(data.start[place], chosen.start)
    assert np.array_equal(got[:, 0], data.codes(place)) and np.array_equal(got[:, 1], data.mappability(place))


def test_a_model_of_mappability_refuses_a_genome_without(tiny, mappable, tmp_path):
    options = {"architecture": "scfan", "options": {}, "epochs": 1, "valid_windows": 20}
    options["sampling"] = {"examples_per_epoch": 32}
    model_file, _ = run({"reference": mappable[0]}, mappable[1], tmp_path, **options)
    with pytest.raises(InputError, match="mappability.npy: no such file; set genome.mappability"):
        load_predictor(model_file).read_windows(
            Genome.open(tiny["reference"]), np.zeros(1, int), np.zeros(1, int)
        )


def test_a_required_gpu_must_be_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="no CUDA device is visible; run on a machine with a GPU"):
        choose_device(1, require_gpu=True)
    assert choose_device(1) == ("cpu", 1) and choose_device(0) == ("cpu", 1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_training_on_a_gpu(tiny, tiny_dataset, tmp_path, capfd):
    run(tiny, tiny_dataset, tmp_path, gpus=1, require_gpu=True)
    assert "device: CUDA" in capfd.readouterr().err


@pytest.mark.parametrize("architecture", ["scbind", "scfan"])
def test_a_line_with_one_tf_and_a_tf_without_a_bound_window(tiny, tmp_path, architecture):
    peak = tmp_path / "TF3.narrowPeak"
    peak.write_text("chr2\t30000\t30300\t.\t0\t.\t1\t-1\t-1\t100\n")  # in the test split only
    chip = [*tiny["chip"], {"cell_line": "A", "tf": "TF3", "path": str(peak), "relaxed": None}]
    splits = {"train": ["A:chr1", "C:chr1"], "valid": ["*:chr2:0-20000"], "test": ["*:chr2:20000-40000"]}
    geometry = tiny["geometry"]
    build_dataset(tiny["reference"], tiny["lines"], chip, splits, geometry, tmp_path / "dataset")
    settings = {"architecture": architecture, "epochs": 1, "sampling": {"examples_per_epoch": 64}}
    settings |= {"options": {}, "valid_windows": 40} if architecture == "scfan" else {}
    model_file, rows = run(tiny, tmp_path / "dataset", tmp_path, **settings)
    assert np.isfinite(float(history(rows)[0]["train_loss"]))
    model = load_predictor(model_file)
    assert model.tfs == ["TF1", "TF2"], "TF3 has no output"
    assert model.facts["assayed"] == [[True, True, True], [True, False, False]]
    data = TrainingSet.open(tmp_path / "dataset", tiny["reference"])
    table, _ = score_test_windows(data, partial(network_scores(model), data), "m", tmp_path)
    found = set(zip(table["cell_line"], table["tf"], strict=True))
    assert found == {("A", "TF1"), ("A", "TF2"), ("C", "TF1")}, "never silently predicted"


@pytest.mark.parametrize(
    ("on_gpu", "number", "last", "looks"),
    [
        (False, 7, False, True),
        (True, 7, False, False),
        (True, 100, False, True),
        (True, 7, True, True),
    ],
)
def test_the_loss_is_read_seldom_on_a_gpu_but_before_an_epoch_ends(on_gpu, number, last, looks):
    module = SimpleNamespace(trainer=SimpleNamespace(is_last_batch=last))
    assert BindingModule._looks_at(module, SimpleNamespace(is_cuda=on_gpu), number) is looks


def test_mixed_precision_clips_gradients_and_trains(tiny, tiny_dataset, tmp_path):
    """What a GPU trains with as shipped; Lightning refuses some optimisers there."""
    assert run(tiny, tiny_dataset, tmp_path, epochs=1, precision="bf16-mixed")[0].exists()


def test_srun_on_the_path_is_no_news_in_the_log(tiny, tiny_dataset, tmp_path, monkeypatch, recwarn, capfd):
    """Lightning would advise to start it by srun; Snakemake starts it."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/srun").write_text("#!/bin/sh\n")
    (tmp_path / "bin/srun").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    run(tiny, tiny_dataset, tmp_path, sampling={"examples_per_epoch": 32}, epochs=1)
    said = capfd.readouterr()
    assert "srun" not in said.err + said.out + " ".join(str(each.message) for each in recwarn)
