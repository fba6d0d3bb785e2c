"""Figures that are pooled over TFs, and their intervals."""

import numpy as np
import pandas as pd
import pytest
from scbind.evaluation.pooled import FEWEST, has_calibration, pooled_calibration, ratio_interval
from scbind.evaluation.probabilities import CALIBRATION_COLUMNS, calibration_figures


def test_an_interval_covers_the_mean_that_the_tfs_come_from():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        low, high = ratio_interval(rng.normal(0.3, 0.1, 40), 1, np.arange(40))
        covered += low <= 0.3 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_rows_of_one_group_are_drawn_together():
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


def test_pooled_figures_are_those_of_all_windows_together():
    rng = np.random.default_rng(2)
    rows, truths, scores = [], [], []
    for tf in range(8):
        score = rng.random(5000) ** (2 + tf)
        truth = rng.random(5000) < 0.6 * score
        rows.append({"tf": tf, "prevalence": truth.mean()} | calibration_figures(truth, score))
        truths.append(truth)
        scores.append(score)
    nothing = dict.fromkeys(CALIBRATION_COLUMNS, np.nan) | {"tf": 9, "prevalence": 0.5}
    table = pd.DataFrame([*rows, nothing])
    found = pooled_calibration(table)
    whole = calibration_figures(np.concatenate(truths), np.concatenate(scores))
    for name in CALIBRATION_COLUMNS[1:]:
        assert found[name] == pytest.approx(whole[name]), name
    bias = np.concatenate(scores).sum() / np.concatenate(truths).sum()
    assert found["predicted_to_bound"] == pytest.approx(bias)
    assert found["observed_p30_low"] < found["observed_p30"] < found["observed_p30_high"]
    assert found["ece_to_prevalence"] == pytest.approx(found["ece"] / found["prevalence"])
    assert has_calibration(table) and not has_calibration(table.tail(1))
    assert not has_calibration(table.drop(columns="mean_predicted")), "a bundle of an older version"


def test_without_rows_the_keys_are_the_same():
    table = pd.DataFrame(columns=["tf", "prevalence", *CALIBRATION_COLUMNS], dtype=float)
    found = pooled_calibration(table)
    assert found["windows_p30"] == 0 and np.isnan(found["observed_p30"])
