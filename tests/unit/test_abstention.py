import numpy as np
import pandas as pd
import pytest
from scbind.models.abstention import ABSTAIN_GAIN, FEW_BOUND, abstained, marks, reliability, reliability_table
from scbind.models.metrics import depth_that_keeps

DEPTH = np.repeat(np.array([[1.0], [0.1], [0.01], [0.001]], np.float32), 400, axis=1)


def windows(n_bound, n=400):
    labels = np.zeros((n, 1), np.int8)
    labels[:n_bound] = 1
    return labels


def ranked(labels, ahead):
    """Logits with which ``ahead`` unbound windows precede the bound ones, which are in one row: (N, 1)."""
    bound = labels[:, 0] == 1
    logits = np.where(bound, 0.0, -1.0)
    logits[np.flatnonzero(~bound)[:ahead]] = 1.0
    return (logits + np.linspace(0, 1e-3, len(logits)))[:, None].astype(np.float32)


def say(labels, ahead=(0, 0, 0, 0)):
    return reliability(["X"], labels, np.stack([ranked(labels, a) for a in ahead]), DEPTH, np.ones(400))["X"]


@pytest.mark.parametrize(
    ("auprc", "expected", "to_the_end"),
    [
        ([0.8, 0.6, 0.2, 0.1], -1.5, False),  # 0.4 lies half way between 0.6 and 0.2
        ([0.8, 0.4, 0.3, 0.2], -1.0, False),  # exactly half is kept
        ([0.8, 0.8, 0.8, 0.3], -2.8, False),
        ([0.8, 0.1, 0.8, 0.8], -4 / 7, False),  # the first fall counts, not a recovery below it
        ([0.5, 0.6, 0.4, 0.3], -3.0, True),
    ],
)
def test_depth_that_keeps_is_interpolated_in_log_depth(auprc, expected, to_the_end):
    log_depth, stays = depth_that_keeps([0, -1, -2, -3], auprc, 0.5)
    assert log_depth == pytest.approx(expected) and stays == to_the_end


def test_a_known_tf_has_a_least_depth_that_fits_its_curve():
    entry = say(windows(20), (0, 5, 60, 150))
    assert (entry["level"], entry["auprc"], entry["abstained"], entry["n_bound"]) == ("high", 1.0, False, 20)
    log_depth, auprc = np.array(entry["auprc_at"]).T
    assert log_depth.tolist() == [0, -1, -2, -3] and np.all(np.diff(auprc) < 0) and auprc[1] > 0.5 > auprc[2]
    expected = -2 + (0.5 - auprc[2]) / (auprc[1] - auprc[2])
    assert np.log10(entry["min_depth"]) == pytest.approx(expected, abs=1e-3)


def test_a_tf_that_never_falls_is_trusted_down_to_the_least_depth_tried():
    assert say(windows(20))["min_depth"] == pytest.approx(0.001)


def test_too_few_bound_windows_are_abstained_on_however_well_they_are_ranked():
    few, enough = say(windows(FEW_BOUND - 1)), say(windows(FEW_BOUND))
    assert (few["level"], few["abstained"], few["min_depth"]) == ("unknown", True, None)
    assert (enough["level"], enough["abstained"]) == ("high", False)


def test_a_low_auprc_is_abstained_on():
    entry = say(windows(10), (200,) * 4)
    assert (entry["level"], entry["abstained"], entry["min_depth"]) == ("low", True, None)


def test_an_auprc_little_above_the_prevalence_is_abstained_on():
    entry = say(windows(120), (40,) * 4)  # of common sites: 0.3
    assert entry["level"] == "high" and entry["auprc"] < ABSTAIN_GAIN * entry["prevalence"]
    assert entry["abstained"] and entry["min_depth"] is not None


def test_unknown_windows_do_not_count_and_what_cannot_be_computed_is_none():
    labels = windows(20)
    labels[300:] = -1
    assert say(labels)["prevalence"] == pytest.approx(20 / 300, abs=1e-6)
    nothing = say(np.full((400, 1), -2, np.int8))
    assert (
        nothing["level"] == "unknown" and nothing["abstained"] and nothing["auprc_at"] == [[None, None]] * 4
    )
    assert [nothing[name] for name in ("auprc", "prevalence", "min_depth", "n_bound")] == [
        None,
        None,
        None,
        0,
    ]
    everything = say(np.ones((400, 1), np.int8))
    assert (everything["level"], everything["auprc"], everything["abstained"]) == ("unknown", None, True)


def test_shallow_cells_are_abstained_on_and_deep_ones_are_not():
    known = {
        "A": {"level": "high", "min_depth": 0.01, "abstained": False, "auprc_at": [[0.0, 1.0]]},
        "B": {"level": "low", "min_depth": None, "abstained": True, "auprc_at": []},
        "OLD": {"level": "high", "abstained": False},
    }
    table = reliability_table(known, ["OLD", "A", "B", "NEW"])
    assert table.index.tolist() == ["OLD", "A", "B", "NEW"] and "auprc_at" not in table
    assert table["level"].tolist() == ["high", "high", "low", "unknown"]
    assert table["min_depth"].dtype == np.float64 and table["abstained"].dtype == bool
    found = abstained(table, np.array([0.001, 0.00999, 0.01, 5.0]))
    assert found.T.tolist() == [[False] * 4, [True, True, False, False], [True] * 4, [True] * 4]
    expected = pd.DataFrame(
        {
            "evidence": ["chip"] * 2,
            "reliability_level": ["low", "high"],
            "reliability_abstained": [True, False],
        },
        index=["B", "A"],
    )
    pd.testing.assert_frame_equal(marks(known, ["B", "A"]), expected, check_names=False)


def test_without_any_knowledge_everything_is_abstained_on():
    table = reliability_table({}, ["A", "B"])
    assert table["abstained"].all() and set(table["level"]) == {"unknown"}
    assert abstained(table, np.array([1.0])).tolist() == [[True, True]]
