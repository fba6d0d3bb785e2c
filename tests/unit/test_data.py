from dataclasses import replace

import numpy as np
import pytest
import torch
from scbind.dataset.codes import BOUND, NOT_ASSAYED
from scbind.dataset.sparselabels import SparseLabels
from scbind.dataset.splits import TRAIN
from scbind.dataset.trainingset import TrainingSet
from scbind.formats.onehot import one_hot
from scbind.models.batches import (
    BindingData,
    FixedBatches,
    Pools,
    Sampling,
    TrainingBatches,
    draw_examples,
    thinned,
)


@pytest.fixture
def data(tiny, tiny_dataset):
    return TrainingSet.open(tiny_dataset, tiny["reference"])


def test_examples_are_training_pairs_with_all_three_kinds(data):
    drawn = draw_examples(Pools.of(data), Sampling(least_examples=0), np.random.default_rng(0))
    line, window = drawn.T
    assert (np.asarray(data.splits)[line, window] == TRAIN).all()
    assert len(np.unique(drawn, axis=0)) == len(drawn)
    positive = (np.asarray(data.labels)[line, window] == BOUND).any(axis=1)
    in_peak = np.asarray(data.is_open)[line, window]
    assert positive.any() and (~positive & in_peak).any() and (~positive & ~in_peak).any()


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_do_not_depend_on_workers(data, workers):
    def batches(n):
        return list(BindingData(data, Sampling(), 50, 16, 3, 100, workers=n).train_dataloader())

    for expected, got in zip(batches(0), batches(workers), strict=True):
        for key in expected:
            assert torch.equal(expected[key], got[key])


def test_pools_do_not_depend_on_blocks(data):
    whole, blocks = Pools.of(data), Pools.of(data, block=7)
    for expected, got in zip(whole.each, blocks.each, strict=True):
        np.testing.assert_array_equal(expected, got)
    assert sum(map(len, whole.each)) == (np.asarray(data.splits) == TRAIN).sum()


def test_held_out_labels_do_not_choose_negatives(data):
    """Line C trains nowhere: with its labels taken away, the same examples are drawn."""
    blind = np.array(data.labels)
    hidden = np.asarray(data.splits) != TRAIN
    assert (blind[hidden] == BOUND).any()
    blind[hidden] = NOT_ASSAYED
    for expected, got in zip(
        Pools.of(replace(data, labels=SparseLabels.of(blind))).each, Pools.of(data).each, strict=True
    ):
        np.testing.assert_array_equal(expected, got)


def test_an_epoch_keeps_its_limit_and_its_ratios(data):
    pools = Pools.of(data)
    assert pools.wanted(Sampling(examples_per_epoch=16, hard=1, easy=2)) == (4, 4, 8)
    assert pools.wanted(Sampling(examples_per_epoch=10**9, hard=1e6, easy=1e6)) == tuple(map(len, pools.each))
    assert pools.wanted(Sampling(examples_per_epoch=1))[0] == 1


@pytest.mark.parametrize(
    ("most", "least", "number"), [(60_000, 10_000, 10_000), (1000, 10_000, 1000), (60_000, 400, 400)]
)
def test_few_examples_are_drawn_several_times(data, most, least, number):
    """With few bound windows, an epoch would be a few steps; drawn again, windows have other shifts and depths."""
    pools, sampling = Pools.of(data), Sampling(examples_per_epoch=most, least_examples=least)
    once = sum(pools.wanted(sampling))
    assert once < number
    batches = TrainingBatches(data, pools, sampling, 50, 64, 2, 0)
    assert len(batches.examples) == number
    assert BindingData(data, sampling, 50, 64, 2, 300).batches_per_epoch == len(batches)
    drawn = batches.examples @ [len(data.start), 1]
    for pool in pools.each:  # the last draw is used in part: some windows of each pool come once more
        times = {int((drawn == pair).sum()) for pair in pool}
        assert times == {number // once, number // once + 1}
    assert len({bool(drawn[:64].tolist().count(pair)) for pair in pools.each[0]}) == 2, "shuffled"


def test_enough_examples_are_drawn_once(data):
    pools = Pools.of(data)
    once = sum(pools.wanted(Sampling()))
    for least in (0, once):
        drawn = draw_examples(pools, Sampling(least_examples=least), np.random.default_rng(0))
        assert len(np.unique(drawn, axis=0)) == len(drawn) == once
    none = replace(pools, each=(pools.each[0][:0], *pools.each[1:]))
    assert none.n_examples(Sampling()) == len(draw_examples(none, Sampling(), np.random.default_rng(0))) == 0


def test_epochs_differ_and_repeat(data):
    first, again, second = (
        TrainingBatches(data, Pools.of(data), Sampling(), 50, 16, 1, epoch)[0] for epoch in (0, 0, 1)
    )
    assert torch.equal(first["codes"], again["codes"])
    assert not torch.equal(first["codes"], second["codes"])


def test_thinning_scales_depth_with_counts(data):
    line, window = np.zeros(200, int), np.arange(200)
    full, depth = thinned(data, line, window, 50, 1.0, 0)
    thin, less = thinned(data, line, window, 50, 0.1, 0)
    assert less == pytest.approx(depth * 0.1)
    assert (thin <= full).all()
    assert thin.sum() / full.sum() == pytest.approx(0.1, abs=0.03)
    batch = FixedBatches(data, line, window, 50)[0]
    np.testing.assert_array_equal(batch["counts"], full)


def test_thinning_does_not_depend_on_the_windows_asked(data):
    line, window = np.repeat([0, 1], 100), np.tile(np.arange(100), 2)
    counts, depth = thinned(data, line, window, 50, 0.3, 5)
    few, less = thinned(data, line[90:110], window[90:110], 50, 0.3, 5)
    np.testing.assert_array_equal(few, counts[90:110])
    np.testing.assert_array_equal(less, depth[90:110])
    assert (thinned(data, line, window, 50, 0.1, 5)[0] <= counts).all()
    assert not np.array_equal(thinned(data, line, window, 50, 0.3, 6)[0], counts)


def test_training_loses_whole_fragments(data):
    """All ends of line A in pairs: each pair lies at one place, so every count is even."""
    position = np.repeat(np.asarray(data.insertions[0])[::2], 2)
    number = np.repeat(np.arange(len(position) // 2, dtype=np.uint32), 2)
    paired = replace(
        data, insertions=[position, *data.insertions[1:]], fragments=[number, *data.fragments[1:]]
    )
    sampling = Sampling(depth_min=1e-3, full_depth=0.3)
    batches = list(TrainingBatches(paired, Pools.of(paired), sampling, 1, 64, 1, 0))
    counts = torch.cat([b["counts"] for b in batches])
    assert counts.sum() > 0 and (counts % 2 == 0).all()
    alone = list(TrainingBatches(data, Pools.of(data), sampling, 1, 64, 1, 0))
    assert (torch.cat([b["counts"] for b in alone]) % 2 == 1).any()


def test_examples_of_a_batch_are_thinned_apart(data):
    """One window 64 times: full depth is what is counted, and thinned ones differ at one share, too."""
    batches = TrainingBatches(data, Pools.of(data), Sampling(depth_min=1e-2, jitter=0), 50, 64, 1, 0)
    best = data.counts(0, np.arange(200), 1000).argmax()
    batches.examples = np.tile([0, best], (64, 1))
    batches.sampling = replace(batches.sampling, reverse=False)
    batch, full = batches[0], data.counts(0, np.array([best]), 50)
    whole = (batch["depth"] == data.window_depth(0, np.array([best]))[0]).numpy()
    assert 4 < whole.sum() < 32
    assert (batch["counts"].numpy()[whole] == full).all() and (batch["counts"].numpy() <= full).all()
    assert len(np.unique(batch["counts"].numpy()[~whole], axis=0)) > 0.9 * (~whole).sum()


def test_training_depths_span_the_range(data):
    sampling = Sampling(depth_min=1e-4, full_depth=0.0)
    depth = torch.cat(
        [b["depth"] for b in TrainingBatches(data, Pools.of(data), sampling, 50, 64, 1, 0)]
    ).numpy()
    assert depth.min() >= 0.99e-4 and depth.min() < 1e-3 and depth.max() > 1e-2


def test_training_for_one_depth(data):
    sampling = Sampling(depth_min=1e-3, depth_max=1e-3, full_depth=0.5)
    batches = list(TrainingBatches(data, Pools.of(data), sampling, 50, 64, 1, 0))
    assert torch.cat([b["depth"] for b in batches]).numpy() == pytest.approx(1e-3, rel=1e-5)
    assert 0 < sum(float(b["counts"].sum()) for b in batches) < 64 * len(batches) * 1000 * 5e-3
    sampling = Sampling(depth_min=1e-3, depth_max=1e9, full_depth=0.0)
    same = Sampling(depth_min=1e-3, full_depth=0.0)
    bounded, free = (TrainingBatches(data, Pools.of(data), s, 50, 64, 1, 0)[0] for s in (sampling, same))
    assert torch.equal(bounded["depth"], free["depth"])


def test_no_depth_change_without_thinning(data):
    batch = TrainingBatches(data, Pools.of(data), Sampling(depth_min=None), 50, 64, 1, 0)[0]
    assert batch["counts"].sum() > 0 and set(batch["depth"].tolist()) == {float(data.depth[0, 0])}


def test_mappability_moves_and_turns_with_the_sequence(data, mappable):
    mapped = TrainingSet.open(mappable[1], mappable[0])
    for batch in TrainingBatches(mapped, Pools.of(mapped), Sampling(), 50, 64, 1, 0):
        codes, level = batch["codes"].int(), batch["mappability"].int()
        assert batch["mappability"].dtype == torch.uint8 and level.shape == codes.shape
        told, tells = level > 0, (level > 0).any(dim=1)
        turned = torch.where(codes < 4, 3 - codes, codes)
        kept, flipped = (((level == 200 + 10 * bases) | ~told).all(dim=1)[tells] for bases in (codes, turned))
        assert (kept ^ flipped).all() and kept.any() and flipped.any()
    same = TrainingBatches(data, Pools.of(data), Sampling(), 50, 64, 1, 0)[0]
    assert "mappability" not in same
    other = TrainingBatches(mapped, Pools.of(mapped), Sampling(), 50, 64, 1, 0)[0]
    for key in same:
        assert torch.equal(same[key], other[key])
    fixed = FixedBatches(mapped, np.zeros(9, int), np.arange(9), 50)[0]
    assert torch.equal(fixed["mappability"].int(), 200 + 10 * fixed["codes"].int())


def test_one_hot():
    codes = torch.tensor([[0, 1, 4, 3]], dtype=torch.uint8)
    assert one_hot(codes).sum(dim=1).tolist() == [[1, 1, 0, 1]]
    assert one_hot(codes)[0, 1].tolist() == [0, 1, 0, 0]


def test_negatives_as_often_as_they_are_there(data):
    """As scFAN draws them: from anywhere outside the peaks, open or not."""
    pools = Pools.of(data)
    bound, hard, easy = map(len, pools.each)
    sizes = pools.wanted(Sampling(examples_per_epoch=10**6, hard=None, easy=1.0))
    assert sizes[0] == bound and sum(sizes[1:]) == pytest.approx(bound, abs=1)
    assert sizes[1] / sizes[2] == pytest.approx(hard / easy, abs=1 / min(sizes[1:]))
    assert pools.wanted(Sampling(examples_per_epoch=10**12, hard=None, easy=1e9)) == (bound, hard, easy)


def test_one_strand_where_no_reverse_is_asked_for(data):
    sampling = {"depth_min": None, "jitter": 0}
    pools = Pools.of(data)
    one, both = (
        TrainingBatches(data, pools, Sampling(reverse=r, **sampling), 50, 64, 1, 0) for r in (False, True)
    )
    codes = data.codes(one.examples[:64, 1])
    assert np.array_equal(one[0]["codes"], codes)
    turned = (both[0]["codes"].numpy() != codes).any(axis=1)
    assert 10 < turned.sum() < 54
    counts = data.counts(0, one.examples[:64, 1], 50)
    assert np.array_equal(one[0]["counts"], counts) and not np.array_equal(both[0]["counts"], counts)
