import json

import numpy as np
import pytest
from scbind.calibration import fit_platt
from scbind.metrics import calibration_error


def test_platt_recovers_a_known_distortion():
    rng = np.random.default_rng(0)
    true_logit = rng.normal(-2, 2, (20_000, 2))
    truth = rng.random(true_logit.shape) < 1 / (1 + np.exp(-true_logit))
    x = rng.normal(size=20_000)
    distorted = (true_logit - 1 - 0.3 * x[:, None]) / 0.5
    fitted = fit_platt(distorted.astype(np.float32), x, truth.astype(np.int8))
    assert fitted[:, 0] == pytest.approx([0.5, 0.5], abs=0.03)
    assert fitted[:, 1] == pytest.approx([1, 1], abs=0.1)
    assert fitted[:, 3] == pytest.approx([0.3, 0.3], abs=0.08)


def test_a_tf_without_positives_takes_the_shared_fit():
    rng = np.random.default_rng(0)
    logit = rng.normal(-2, 2, (5_000, 2))
    labels = (rng.random(logit.shape) < 1 / (1 + np.exp(-logit))).astype(np.int8)
    labels[:, 1] = -2  # never assayed
    fitted = fit_platt((logit * 2).astype(np.float32), np.zeros(5_000), labels)
    np.testing.assert_allclose(fitted[1], fitted[0], atol=0.1)


def test_calibrated_model_is_calibrated_and_says_what_it_knows(tiny_model, tiny, tiny_dataset):
    from scbind.calibration import predict_pairs
    from scbind.dataset import TrainingSet
    from scbind.models import load_predictor
    from scbind.splits import VALID

    data = TrainingSet.open(tiny_dataset, tiny["reference"])
    model = load_predictor(*tiny_model[:2])
    line, window = np.nonzero(np.asarray(data.splits) == VALID)
    logits, depth, labels = predict_pairs(model, data, line, window, (1.0, 0.1), chunk=64)
    known = labels[:, 0] >= 0
    for z, d in zip(logits, depth, strict=True):
        truth = labels[known, 0] == 1
        raw = 1 / (1 + np.exp(-z[known, 0]))
        assert calibration_error(truth, model.calibrated(z, d)[known, 0]) < min(
            0.12, calibration_error(truth, raw)
        )
    again = predict_pairs(model, data, line, window)[0][0]
    np.testing.assert_array_equal(again, logits[0])
    stored = json.loads(tiny_model[1].read_text())
    assert stored["reliability"]["TF1"]["level"] in {"low", "medium", "high", "unknown"}
    assert model.reliability["TF1"]["n_bound"] == stored["reliability"]["TF1"]["n_bound"]
