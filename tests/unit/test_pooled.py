"""Figures that are pooled over TFs, and their intervals."""

import numpy as np
import pandas as pd
import pytest
from scbind.evaluation.pooled import FEWEST, has_calibration, pooled_calibration, ratio_interval
from scbind.evaluation.probabilities import CALIBRATION_COLUMNS, calibration_figures


@pytest.mark.parametrize("n", [FEWEST, 8, 40])
def test_an_interval_covers_the_mean_that_the_tfs_come_from(n):
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        low, high = ratio_interval(rng.normal(0.3, 0.1, n), 1, np.arange(n))
        covered += low <= 0.3 <= high
    assert 0.93 <= covered / 1000 <= 0.97


def test_an_interval_of_a_fraction_covers_it():
    """Windows per TF differ, and the fraction that is bound differs between TFs."""
    rng, covered = np.random.default_rng(0), 0
    for _ in range(1000):
        windows = rng.integers(50, 500, 12)
        low, high = ratio_interval(rng.normal(0.3, 0.1, 12) * windows, windows, np.arange(12), (0, 1))
        covered += low <= 0.3 <= high
    assert 0.9 <= covered / 1000 <= 0.97


def test_an_interval_stays_within_the_limits():
    values = np.array([0.0, 0.0, 0.0, 0.0, 1.0])
    assert (
        ratio_interval(values, 1, np.arange(5), (0, 1))[0] == 0 > ratio_interval(values, 1, np.arange(5))[0]
    )


def test_rows_of_one_group_count_once():
    rng = np.random.default_rng(1)
    values, groups = rng.normal(size=12), np.arange(12)
    alone = ratio_interval(values, 1, groups)
    assert ratio_interval(np.repeat(values, 50), 1, np.repeat(groups, 50)) == pytest.approx(alone)
    apart = ratio_interval(np.repeat(values, 50), 1, np.arange(600))
    assert np.diff(apart) < 0.3 * np.diff(alone), "as if copies were new evidence"


def test_few_groups_have_no_interval_and_unknown_values_do_not_count():
    values = np.arange(10.0)
    assert np.isnan(ratio_interval(values, 1, np.arange(10) % (FEWEST - 1))).all()
    unknown = np.append(values, np.nan)
    assert ratio_interval(unknown, 1, np.arange(11)) == ratio_interval(values, 1, np.arange(10))
    assert ratio_interval(values, 1, list("ABCDEFGHIJ")) == ratio_interval(values, 1, np.arange(10))
    assert np.isnan(ratio_interval(values, 0, np.arange(10))).all()
    few = np.array([3.0, *[0] * 9])  # only one TF has windows
    assert np.isnan(ratio_interval(few / 3, few, np.arange(10))).all()


def test_likely_windows_are_pooled_and_the_bias_is_a_ratio_of_means_over_pairs():
    rng = np.random.default_rng(2)
    rows, truths, scores = [], [], []
    for tf in range(8):
        score = rng.random(1000 * (tf + 1)) ** (2 + tf)
        truth = rng.random(len(score)) < 0.6 * score
        rows.append({"tf": tf, "prevalence": truth.mean()} | calibration_figures(truth, score))
        truths.append(truth)
        scores.append(score)
    nothing = dict.fromkeys(CALIBRATION_COLUMNS, np.nan) | {"tf": 9, "prevalence": 0.5}
    table = pd.DataFrame([*rows, nothing])
    found = pooled_calibration(table)
    whole = calibration_figures(np.concatenate(truths), np.concatenate(scores))
    for name in CALIBRATION_COLUMNS[2:]:
        assert found[name] == pytest.approx(whole[name]), name
    predicted, bound = (
        np.mean([score.mean() for score in scores]),
        np.mean([truth.mean() for truth in truths]),
    )
    assert found["mean_predicted"] == pytest.approx(predicted)
    assert found["predicted_to_bound"] == pytest.approx(predicted / bound)
    assert found["observed_p30_low"] < found["observed_p30"] < found["observed_p30_high"]
    assert found["ece_to_prevalence"] == pytest.approx(found["ece"] / bound)
    assert has_calibration(table) and not has_calibration(table.tail(1))
    assert not has_calibration(table.drop(columns="mean_predicted")), "a bundle of an older version"


def test_without_rows_the_keys_are_the_same():
    table = pd.DataFrame(columns=["tf", "prevalence", *CALIBRATION_COLUMNS], dtype=float)
    found = pooled_calibration(table)
    assert found["windows_p30"] == 0 and np.isnan(found["observed_p30"])
