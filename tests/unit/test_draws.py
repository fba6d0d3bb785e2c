from dataclasses import dataclass

import numpy as np
import pytest
from scbind.dataset.codes import BOUND
from scbind.dataset.draws import EACH_TF, LIKELY, draw_windows
from scbind.dataset.sparselabels import SparseLabels
from scbind.dataset.splits import TEST, VALID
from scbind.dataset.trainingset import TrainingSet
from scbind.models.abstention import FEW_BOUND, reliability
from scbind.models.batches import BindingData, Sampling
from scbind.models.lightning import mean_auprc
from scbind.models.metrics import least_auprc, ranking_metrics

TFS = ["common", "rare", "other line"]


@dataclass
class Genome:
    """Two lines of 60,000 windows, half of them validation; one TF binds 1,500 of these, the others some twenty."""

    lines = ["A", "B"]  # noqa: RUF012
    tfs = TFS

    def __post_init__(self):
        rng, n = np.random.default_rng(1), 60_000
        self.splits = np.full((2, n), VALID, np.uint8)
        self.splits[:, n // 2 :] = TEST
        self.is_open = rng.random((2, n)) < 0.06
        labels = np.zeros((2, n, 3), np.int8)
        labels[:, :, 0] = rng.random((2, n)) < self.is_open * 0.42
        labels[0, :, 1] = rng.random(n) < 0.0007
        labels[1, :, 1] = -2
        labels[0, :, 2] = -2
        labels[1, :, 2] = rng.random(n) < 0.0007
        self.codes, self.labels = labels, SparseLabels.of(labels)
        self.score = 2.0 * self.is_open[:, :, None] + 3 * (labels == BOUND)
        self.score += rng.normal(size=labels.shape)


@pytest.fixture(scope="module")
def genome():
    return Genome()


def figures(genome, line, window, weight, column):
    label = genome.codes[line, window, column]
    known = label >= 0
    score = genome.score[line, window, column]
    return ranking_metrics(label[known] == BOUND, score[known], weight[known])


def test_all_windows_that_fit_are_taken_once(genome):
    line, window, weight = draw_windows(genome, VALID, 60_000, 0)
    assert np.array_equal(np.stack([line, window]), np.nonzero(genome.splits == VALID))
    assert (weight == 1).all() and weight.dtype == np.float64
    for column in range(3):
        known = genome.codes[line, window, column] >= 0
        truth = genome.codes[line, window, column][known] == BOUND
        plain = ranking_metrics(truth, genome.score[line, window, column][known])
        assert figures(genome, line, window, weight, column) == plain


def test_a_draw_keeps_the_limit_and_stands_for_all(genome):
    limit = 1000
    line, window, weight = draw_windows(genome, VALID, limit, 0)
    pair = line * 60_000 + window
    assert len(pair) == limit and (np.diff(pair) > 0).all() and (genome.splits[line, window] == VALID).all()
    assert weight.min() >= 1 and weight.sum() == pytest.approx(60_000, rel=0.1)
    bound = (genome.codes == BOUND).any(axis=2)
    likely = (bound | genome.is_open)[line, window]
    assert likely.sum() == limit * LIKELY
    assert weight[~likely].sum() == pytest.approx((~(bound | genome.is_open))[:, :30_000].sum())
    n_rare = (genome.codes[:, :30_000] == BOUND).sum(axis=(0, 1))[1:]
    assert ((genome.codes[line, window] == BOUND).sum(axis=0)[1:] == n_rare).all(), "all of the rare TFs"
    assert (genome.codes[line, window, 0] == BOUND).sum() >= EACH_TF * limit / 3
    again, other = draw_windows(genome, VALID, limit, 0), draw_windows(genome, VALID, limit, 1)
    assert np.array_equal(again[1], window) and not np.array_equal(other[1], window)


def test_one_line_alone(genome):
    line, window, _ = draw_windows(genome, TEST, 500, 3, [1])
    assert (line == 1).all() and len(window) == 500 and (genome.splits[1, window] == TEST).all()


def test_weighted_figures_estimate_those_of_all_windows(genome):
    every = draw_windows(genome, VALID, 60_000, 0)
    parts = [draw_windows(genome, VALID, 4000, seed) for seed in range(20)]
    for column in range(3):
        whole = figures(genome, *every, column)
        found = [figures(genome, *part, column) for part in parts]
        for name, tolerance in (("prevalence", 0.03), ("auprc", 0.1), ("auroc", 0.02)):
            assert np.mean([each[name] for each in found]) == pytest.approx(whole[name], rel=tolerance), name
        plain = np.mean([figures(genome, *p[:2], np.ones(4000), column)["prevalence"] for p in parts])
        assert plain > 3 * whole["prevalence"], "without weights it would be far off"


def test_what_the_auprc_is_at_least_is_hardly_ever_too_high(genome):
    every = draw_windows(genome, VALID, 60_000, 0)
    for column in range(3):
        label = genome.codes[:, :, column]
        for score in (genome.score[:, :, column], np.random.default_rng(2).normal(size=label.shape) + label):
            found = []
            for line, window, weight in [every] + [draw_windows(genome, VALID, 1000, s) for s in range(20)]:
                known = label[line, window] >= 0
                given = (label[line, window] == BOUND)[known], score[line, window][known], weight[known]
                found.append((ranking_metrics(*given)["auprc"], least_auprc(*given)))
            (whole, same), *parts = found
            assert same == pytest.approx(whole)
            estimate, least = np.mean(parts, axis=0)
            assert 0.3 * whole < least <= min(whole + 0.02, estimate)


def test_a_rare_tf_is_no_longer_unknown(genome):
    def level(line, window, weight):
        labels, score = genome.codes[line, window], genome.score[None, line, window]
        return reliability(TFS, labels, score, np.ones((1, len(line))), weight)["rare"]

    line, window, weight = draw_windows(genome, VALID, 1000, 0)
    drawn, whole = level(line, window, weight), level(*draw_windows(genome, VALID, 60_000, 0))
    assert drawn["level"] == whole["level"] != "unknown" and drawn["n_bound"] == whole["n_bound"] >= FEW_BOUND
    chosen = np.sort(np.random.default_rng(0).permutation(60_000)[:1000])
    line, window = (found[chosen] for found in np.nonzero(genome.splits == VALID))
    assert level(line, window, np.ones(1000))["level"] == "unknown"


def test_the_sample_that_stops_training_is_weighted(tiny, tiny_dataset, genome):
    data = TrainingSet.open(tiny_dataset, tiny["reference"])
    n = int((np.asarray(data.splits) == VALID).sum())
    whole, part = (BindingData(data, Sampling(), 50, 16, 1, valid_windows=limit) for limit in (n, n // 2))
    assert (whole.valid[2] == 1).all() and len(whole.valid[0]) == n
    line, window, weight = part.valid
    assert len(window) == n // 2 and weight.mean() == pytest.approx(1) and weight.max() > 1.2
    batches = list(part.val_dataloader())
    assert np.concatenate([b["weight"].numpy() for b in batches]) == pytest.approx(weight)
    assert np.concatenate([b["line"].numpy() for b in batches]).tolist() == line.tolist()
    line, window, weight = draw_windows(genome, VALID, 1000, 0)
    labels, score = genome.codes[line, window], genome.score[line, window]
    each = [figures(genome, line, window, weight, column)["auprc"] for column in range(3)]
    mean, error = mean_auprc(labels, score, weight)
    assert mean == pytest.approx(np.mean(each))
    bound = (labels == BOUND).sum(axis=0)
    share = (np.array(each) * bound + 2) / (bound + 4)
    assert error == pytest.approx(np.sqrt((share * (1 - share) / bound).sum()) / 3)


def test_the_error_of_an_auprc_is_about_its_spread_over_samples():
    """Of one TF and of several. It is not 0 if the only bound window comes first."""
    rng = np.random.default_rng(3)
    for tfs, bound in ((1, 20), (5, 20)):
        labels = np.zeros((400, tfs), dtype=np.int8)
        labels[:bound] = BOUND
        draws = [
            mean_auprc(labels, labels + rng.normal(0, 0.7, labels.shape), np.ones(400)) for _ in range(200)
        ]
        mean, error = np.transpose(draws)
        assert 0.7 * mean.std() < error.mean() < 1.5 * mean.std()
    one = np.array([[BOUND], [0], [0]], dtype=np.int8)
    assert mean_auprc(one, np.array([[0.9], [0.1], [0.2]]), np.ones(3)) == pytest.approx(
        (1.0, 0.490), abs=1e-3
    )
    assert mean_auprc(one[1:], np.zeros((2, 1)), np.ones(2)) == (0.0, 0.0)
