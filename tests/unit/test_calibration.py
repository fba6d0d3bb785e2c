import json

import numpy as np
import pytest
from scbind.models.calibration import fit_platt
from scbind.models.metrics import calibration_error


def test_platt_recovers_a_known_distortion():
    rng = np.random.default_rng(0)
    true_logit = rng.normal(-2, 2, (20_000, 2))
    truth = rng.random(true_logit.shape) < 1 / (1 + np.exp(-true_logit))
    x = rng.normal(size=20_000)
    distorted = (true_logit - 1 - 0.3 * x[:, None]) / 0.5
    fitted = fit_platt(distorted.astype(np.float32), x, truth.astype(np.int8), np.ones(20_000))
    assert fitted[:, 0] == pytest.approx([0.5, 0.5], abs=0.03)
    assert fitted[:, 1] == pytest.approx([1, 1], abs=0.1)
    assert fitted[:, 3] == pytest.approx([0.3, 0.3], abs=0.08)


def test_a_tf_without_positives_takes_the_shared_fit():
    rng = np.random.default_rng(0)
    logit = rng.normal(-2, 2, (5_000, 2))
    labels = (rng.random(logit.shape) < 1 / (1 + np.exp(-logit))).astype(np.int8)
    labels[:, 1] = -2  # never assayed
    fitted = fit_platt((logit * 2).astype(np.float32), np.zeros(5_000), labels, np.ones(5_000))
    np.testing.assert_allclose(fitted[1], fitted[0], atol=0.1)


def test_calibrated_model_is_calibrated_and_says_what_it_knows(tiny_model, tiny, tiny_dataset):
    from scbind.dataset.splits import VALID
    from scbind.dataset.trainingset import TrainingSet
    from scbind.models.calibration import LineWindows, predict_pairs
    from scbind.models.predictor import load_predictor

    data = TrainingSet.open(tiny_dataset, tiny["reference"])
    model = load_predictor(*tiny_model[:2])
    line, window = np.nonzero(np.asarray(data.splits) == VALID)
    pairs = LineWindows(data, line, window, (1.0, 0.1), chunk=64)
    labels = pairs.labels(model)
    logits, depth = predict_pairs(model, pairs)
    known = labels[:, 0] >= 0
    for z, d in zip(logits, depth, strict=True):
        # of two TFs and 192 windows, each TF is pulled far towards the other
        assert calibration_error(labels[known, 0] == 1, model.calibrated(z, d)[known, 0]) < 0.12
    again = predict_pairs(model, LineWindows(data, line, window))[0][0]
    np.testing.assert_array_equal(again, logits[0])
    stored = json.loads(tiny_model[1].read_text())
    assert stored["reliability"]["TF1"]["level"] in {"low", "medium", "high", "unknown"}
    assert model.reliability["TF1"]["n_bound"] == stored["reliability"]["TF1"]["n_bound"]
    for entry in stored["reliability"].values():
        assert np.diff([point[0] for point in entry["auprc_at"]]) == pytest.approx([-1, -1, -1], abs=1e-3)
        assert entry["auprc_at"][0][1] == entry["auprc"]
        assert (entry["min_depth"] is None) == (entry["level"] in ("low", "unknown"))
        assert 0 < entry["spread"] < 0.5


def test_spread_is_that_of_the_calibrated_members(tiny_model, tiny, tiny_dataset):
    from scbind.dataset.splits import VALID
    from scbind.dataset.trainingset import TrainingSet
    from scbind.models.calibration import LineWindows, _inputs, _mean_spread
    from scbind.models.predictor import load_predictor

    data = TrainingSet.open(tiny_dataset, tiny["reference"])
    model = load_predictor(*tiny_model[:2])
    line, window = (found[:40] for found in np.nonzero(np.asarray(data.splits) == VALID))
    called = np.zeros((40, len(model.tfs)), bool)
    called[3:9, 0] = True
    pairs = LineWindows(data, line, window)
    mean = _mean_spread(model, pairs, called)
    assert 0 < mean[0] < 0.5 and np.isnan(mean[1:]).all()
    (_, at, inputs), *_ = _inputs(model, pairs)
    spread = model.spread(*inputs)
    assert spread.dtype == np.float32 and spread.shape == (len(at), len(model.tfs))
    probability = []
    for member in range(model.network.n_members):  # each alone
        model.network.respond = lambda *given, member=member: model.network.respond_each(*given)[member]
        probability.append(model.calibrated(model.logits(*inputs), inputs[2]))
    np.testing.assert_allclose(spread, np.std(probability, axis=0), atol=1e-6)


def test_a_network_of_one_member_has_no_spread():
    import torch
    from scbind.models.base import BindingNetwork
    from scbind.models.predictor import Predictor

    class One(BindingNetwork):
        bin_bp, pairs = 100, 8

        def respond(self, readout, counts, depth, line=None):
            return readout + counts.sum(dim=1, keepdim=True)

    network = One()
    assert network.respond_each(torch.ones(3, 2), torch.ones(3, 4), torch.ones(3)).shape == (1, 3, 2)
    model = Predictor(
        network, {"modelled": [True, True], "tfs": ["A", "B"], "window": 200, "context": 400}, None
    )
    inputs = np.ones((11, 2), np.float32), np.ones((11, 4), np.float32), np.ones(11, np.float32)
    assert model.spread(*inputs).tolist() == [[0, 0]] * 11
    assert model.logits(*inputs).tolist() == [[5, 5]] * 11


def test_as_many_windows_are_called_as_are_bound():
    from scbind.models.calibration import _called

    probability = np.array([[0.9, 0.1], [0.8, 0.1], [0.2, 0.1], [0.7, 0.1]])
    labels = np.array([[-2, 0], [0, 0], [1, 0], [1, 0]])
    assert _called(probability, labels, np.ones(4)).T.tolist() == [[0, 1, 0, 1], [0] * 4]
    # the two bound windows stand for four, and so does the first that is called
    assert _called(probability, labels, np.array([1, 4, 2, 2])).T.tolist() == [[0, 4, 0, 0], [0] * 4]
    everything = np.where(labels >= 0, 1, labels)
    assert (_called(probability, everything, np.full(4, 0.1)) > 0).tolist() == (everything == 1).tolist()


def test_a_window_of_some_weight_is_fitted_as_so_many_windows():
    rng = np.random.default_rng(0)
    logit, x = rng.normal(-1, 2, (900, 2)).astype(np.float32), rng.normal(size=900)
    labels = (rng.random(logit.shape) < 1 / (1 + np.exp(-2 * logit))).astype(np.int8)
    weight = rng.integers(1, 4, 900)
    each = (np.repeat(array, weight, axis=0) for array in (logit, x, labels))
    expected = fit_platt(*each, np.ones(weight.sum()))
    np.testing.assert_allclose(fit_platt(logit, x, labels, weight), expected, atol=1e-4)
    assert not np.allclose(fit_platt(logit, x, labels, np.ones(900)), expected, atol=1e-2)


def test_a_part_of_the_validation_windows_says_what_all_say(tiny_model, tiny, tiny_dataset, tmp_path):
    from scbind.models.calibration import calibrate

    whole = json.loads(tiny_model[1].read_text())["reliability"]
    found = []
    for seed in range(6):
        part = tmp_path / f"{seed}.json"
        calibrate(tiny_model[0], tiny_dataset, tiny["reference"], part, max_windows=90, seed=seed)
        found.append(json.loads(part.read_text())["reliability"])
    for tf, entry in whole.items():
        for name, tolerance in (("prevalence", 0.1), ("auprc", 0.15), ("spread", 0.3)):
            mean = np.mean([each[tf][name] for each in found])
            assert mean == pytest.approx(entry[name], rel=tolerance), (tf, name)
