import numpy as np
import pytest
from scbind.evaluation.probabilities import CALIBRATION_COLUMNS, LIKELY, calibration_figures
from scbind.models.metrics import (
    calibration_curve,
    calibration_error,
    pooled_calibration_curve,
    precision_on_grid,
    ranking_metrics,
    sampling_error,
)
from sklearn.metrics import average_precision_score


def test_perfect_and_inverted_ranking():
    truth = np.array([0, 0, 0, 1, 1], bool)
    perfect = ranking_metrics(truth, np.arange(5.0))
    assert perfect["auprc"] == perfect["auroc"] == perfect["recall_at_fdr10"] == 1
    assert perfect["log2_gain"] == pytest.approx(np.log2(1 / 0.4))
    assert perfect["n_bound"] == 2 and perfect["prevalence"] == pytest.approx(0.4)
    inverted = ranking_metrics(truth, -np.arange(5.0))
    assert inverted["auroc"] == 0 and inverted["recall_at_fdr10"] == 0


def test_recall_at_a_false_discovery_rate():
    truth = np.array([1, 0, 1, 1, 0, 0, 0, 0], bool)
    found = ranking_metrics(truth, -np.arange(8.0))
    assert found["recall_at_fdr10"] == pytest.approx(1 / 3)
    assert found["recall_at_fdr50"] == 1


@pytest.mark.parametrize("weighted", [False, True])
def test_auprc_is_the_average_precision(weighted):
    rng = np.random.default_rng(0)
    truth, score = rng.random(2000) < 0.05, rng.random(2000).round(2).astype(np.float32)  # with ties
    weight = rng.random(2000) + 0.1 if weighted else None
    found = ranking_metrics(truth, score, weight)["auprc"]
    assert found == average_precision_score(truth, score, sample_weight=weight)


@pytest.mark.parametrize("truth", [[False, False], [True, True], []])
def test_one_class_gives_nan(truth):
    found = ranking_metrics(np.array(truth, bool), np.zeros(len(truth)))
    assert np.isnan(found["auprc"]) and np.isnan(found["log2_gain"]) and found["n_windows"] == len(truth)


def test_calibration_error_by_hand():
    probability = np.array([0.05, 0.05, 0.95, 0.95])
    assert calibration_error(np.array([0, 0, 1, 1]), probability) == pytest.approx(0.05)
    assert calibration_error(np.array([1, 1, 0, 0]), probability) == pytest.approx(0.95)
    predicted, observed, count = calibration_curve(np.array([0, 1, 1, 1]), probability)
    assert count[[0, 9]].tolist() == [2, 2] and observed[0] == 0.5 and predicted[9] == pytest.approx(0.95)
    assert np.isnan(calibration_error(np.array([]), np.array([])))


def test_a_weight_counts_a_window_so_many_times():
    rng = np.random.default_rng(0)
    truth, probability, weight = rng.random(50) < 0.4, rng.random(50), rng.integers(0, 4, 50)
    repeated = calibration_error(np.repeat(truth, weight), np.repeat(probability, weight))
    assert calibration_error(truth, probability, weight=weight) == pytest.approx(repeated)


def test_precision_on_grid_never_rises_and_brackets_the_average():
    rng = np.random.default_rng(0)
    truth = rng.random(500) < 0.1
    score = truth + rng.normal(size=500)
    grid = np.linspace(0, 1, 101)
    precision = precision_on_grid(truth, score, grid)
    assert (np.diff(precision) <= 1e-12).all()
    assert precision.mean() >= average_precision_score(truth, score)
    assert np.isnan(precision_on_grid(np.zeros(5, bool), np.arange(5.0), grid)).all()


def test_calibration_curve_of_parts_is_that_of_the_parts_joined():
    rng = np.random.default_rng(0)
    parts = [(rng.random(n) < 0.3, rng.random(n), rng.random(n)) for n in (1000, 1, 0, 313)]
    joined = calibration_curve(
        *(np.concatenate(column) for column in list(zip(*parts, strict=True))[:2]),
        weight=np.concatenate([part[2] for part in parts]),
    )
    for expected, got in zip(joined, pooled_calibration_curve(iter(parts)), strict=True):
        assert np.array_equal(expected, got)


def test_a_prediction_of_zero_has_no_likely_window_and_an_error_of_the_prevalence():
    truth = np.arange(1000) < 2
    found = calibration_figures(truth, np.zeros(1000))
    assert found["ece"] == pytest.approx(0.002) and found["mean_predicted"] == 0
    assert found["windows_p10"] == found["windows_p30"] == 0
    assert np.isnan([found["predicted_p10"], found["observed_p30"]]).all()
    assert list(found) == CALIBRATION_COLUMNS == list(calibration_figures(truth[:0], np.zeros(0)))


def test_likely_windows_of_a_sample_estimate_those_of_all():
    rng = np.random.default_rng(0)
    probability = rng.random(200_000).astype(np.float32) ** 4
    truth = rng.random(200_000) < 0.7 * probability  # the predictions are too high
    chance = np.where(probability > 0.2, 0.5, 0.05)
    drawn = rng.random(200_000) < chance
    whole = calibration_figures(truth, probability)
    part = calibration_figures(truth[drawn], probability[drawn], 1 / chance[drawn])
    for name in CALIBRATION_COLUMNS:
        assert part[name] == pytest.approx(whole[name], rel=0.05), name
    for name, limit in LIKELY.items():
        likely = probability >= limit
        assert whole[f"windows_{name}"] == likely.sum()
        assert whole[f"predicted_{name}"] == pytest.approx(probability[likely].mean(dtype=float))
        assert whole[f"observed_{name}"] == pytest.approx(truth[likely].mean())
        assert whole[f"observed_{name}"] / whole[f"predicted_{name}"] == pytest.approx(0.7, abs=0.02)
    assert whole["mean_predicted"] / truth.mean() == pytest.approx(1 / 0.7, rel=0.03)


def test_sampling_error_is_the_scatter_of_many_draws():
    rng = np.random.default_rng(0)
    truth = rng.random(20_000) < 0.03
    score = rng.normal(size=20_000) + 2 * truth
    chance = np.where(truth, 0.9, np.where(score > 1, 0.2, 0.05))
    found, errors = [], []
    for _ in range(200):
        drawn = rng.random(20_000) < chance
        part = truth[drawn], score[drawn], 1 / chance[drawn]
        found.append(ranking_metrics(*part)["auprc"])
        if len(errors) < 20:
            errors.append(sampling_error(*part))
    assert np.mean(found) == pytest.approx(ranking_metrics(truth, score)["auprc"], abs=0.01)
    assert np.mean(errors) == pytest.approx(np.std(found), rel=0.15)
    assert sampling_error(truth, score, np.ones(20_000)) < 1e-12, "all were sure to be drawn"
    assert np.isnan(sampling_error(np.zeros(5, bool), np.arange(5.0), np.full(5, 2.0)))
