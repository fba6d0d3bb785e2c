import numpy as np
import pytest
from scbind.formats.signal import track_counts
from scbind.formats.thinning import is_kept, make_salt, thinned_counts

LENGTH = 200_000


@pytest.fixture(scope="module")
def paired():
    """Fragments of 30 to 90 bp: sorted positions of both ends, and the number of each one's fragment."""
    rng = np.random.default_rng(1)
    start = rng.integers(0, LENGTH - 100, 40_000)
    position = np.concatenate([start, start + rng.integers(30, 90, len(start))])
    order = np.argsort(position, kind="stable")
    return position[order].astype(np.uint32), np.tile(np.arange(len(start), dtype=np.uint32), 2)[order]


def alone(track):
    return track[0], np.arange(len(track[0]), dtype=np.uint32)


def counts(track, starts, keep, salt, width=1000, bin_bp=50):
    """As :func:`thinned_counts`, with one share and one salt for all windows."""
    keep, salt = np.full(len(starts), keep), np.full(len(starts), salt, dtype=np.uint64)
    return thinned_counts(*track, starts, width, bin_bp, keep, salt)


def test_uniform_numbers_by_hand():
    """The first numbers of SplitMix64 from 1234567 on, as published with the generator."""
    known = np.array([6457827717110365317, 3203168211198807973, 9817491932198370423], dtype=np.uint64)
    uniform = (known >> np.uint64(11)) * 2.0**-53
    assert not is_kept(np.arange(1, 4), uniform, np.uint64(1234567)).any()
    assert is_kept(np.arange(1, 4), uniform + 1e-15, np.uint64(1234567)).all()


def test_shares_match_and_are_nested():
    number, salt = np.arange(1_000_000), make_salt(3, 1)
    kept = [is_kept(number, keep, salt) for keep in (0, 0.001, 0.1, 0.5, 0.9, 1)]
    assert [k.mean() for k in kept] == pytest.approx([0, 0.001, 0.1, 0.5, 0.9, 1], abs=0.002)
    assert not kept[0].any() and kept[-1].all()
    for few, more in zip(kept, kept[1:], strict=False):
        assert (few <= more).all()
    other = is_kept(number, 0.5, make_salt(3, 2))
    assert (other & kept[3]).mean() == pytest.approx(0.25, abs=0.002), "salts are independent"
    near = is_kept(number[1:], 0.5, salt) & kept[3][:-1]
    assert near.mean() == pytest.approx(0.25, abs=0.002), "neighbouring numbers are independent"


def test_full_depth_is_what_is_counted(paired):
    starts = np.random.default_rng(0).integers(0, LENGTH - 1000, 300)
    full = counts(paired, starts, 1.0, 9)
    np.testing.assert_array_equal(full, track_counts(paired[0], starts, 1000, 50))
    assert full.dtype == np.float32


def test_windows_bins_and_blocks_agree(paired, monkeypatch):
    starts = np.random.default_rng(0).integers(0, LENGTH - 1000, 300)
    whole = counts(paired, starts, 0.3, 9)
    np.testing.assert_array_equal(counts(paired, starts, 0.3, 9, bin_bp=1).reshape(300, 20, 50).sum(2), whole)
    np.testing.assert_array_equal(counts(paired, starts + 500, 0.3, 9, width=500), whole[:, 10:])
    np.testing.assert_array_equal(counts(paired, starts[7:9], 0.3, 9), whole[7:9])
    monkeypatch.setattr("scbind.formats.signal.CHUNK", 1000)
    np.testing.assert_array_equal(counts(paired, starts, 0.3, 9), whole)


def test_each_window_has_its_share_and_its_salt(paired):
    starts = np.full(6, 5000)
    keep, salt = np.array([0.0, 0.2, 0.2, 0.2, 0.9, 1.0]), np.array([1, 1, 1, 2, 2, 2], dtype=np.uint64)
    found = thinned_counts(*paired, starts, 1000, 50, keep, salt)
    assert found[0].sum() == 0 and found[5].sum() == track_counts(paired[0], starts[:1], 1000, 1000)[0, 0]
    assert np.array_equal(found[1], found[2]) and not np.array_equal(found[2], found[3])
    assert (found[3] <= found[4]).all() and (found[4] <= found[5]).all()


def test_both_ends_are_kept_or_lost(paired):
    position, fragment = paired
    kept = is_kept(fragment, 0.3, make_salt(1))
    assert set(np.unique(np.bincount(fragment[kept]))) == {0, 2}
    inside = counts(paired, np.array([0]), 0.3, make_salt(1), LENGTH, LENGTH)
    assert inside[0, 0] == kept.sum() and kept.sum() % 2 == 0


@pytest.mark.parametrize("keep", [0.03, 0.2])
def test_counts_of_pairs_vary_twice_as_much(paired, keep):
    """Over salts, in windows that hold both ends of nearly all of their fragments."""
    starts = np.arange(0, LENGTH - 5000, 5000)
    full = track_counts(paired[0], starts, 5000, 5000)[:, 0]
    for track, expected in ((paired, 2.0), (alone(paired), 1.0)):
        drawn = np.stack([counts(track, starts, keep, make_salt(5, n), 5000, 5000)[:, 0] for n in range(400)])
        assert drawn.mean() == pytest.approx(keep * full.mean(), rel=0.01)
        ratio = (drawn.var(axis=0) / (full * keep * (1 - keep))).mean()
        assert ratio == pytest.approx(expected, rel=0.05)
        # within one draw, too: what varies from window to window, beyond what they hold
        assert ((drawn - keep * full) ** 2).mean() / (full * keep * (1 - keep)).mean() == pytest.approx(
            expected, rel=0.05
        )


def test_no_insertion_no_trouble():
    none = np.zeros(0, dtype=np.uint32)
    assert counts((none, none), np.array([0, 700]), 0.5, 1).tolist() == [[0] * 20] * 2
    assert counts((none, none), np.zeros(0, dtype=np.int64), 0.5, 1).shape == (0, 20)
