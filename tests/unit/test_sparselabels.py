import tracemalloc

import numpy as np
import pytest
from scbind.core.errors import InputError
from scbind.dataset import sparselabels
from scbind.dataset.codes import AMBIGUOUS, BOUND, NOT_ASSAYED
from scbind.dataset.sparselabels import FILES, SparseLabels

SHAPE = 3, 50, 4


@pytest.fixture
def whole() -> np.ndarray:
    rng = np.random.default_rng(5)
    labels = rng.choice([0, BOUND, AMBIGUOUS], SHAPE, p=[0.8, 0.15, 0.05]).astype(np.int8)
    labels[1, :, 2] = labels[2, :, 0] = NOT_ASSAYED
    labels[0, 7], labels[2, 49, 1:] = BOUND, AMBIGUOUS  # a full row, and the last one
    return labels


@pytest.fixture
def sparse(whole) -> SparseLabels:
    return SparseLabels.of(whole)


@pytest.mark.parametrize(
    "key",
    [
        (0, slice(None)),
        (2, slice(40, 1000)),
        (1, slice(10, 10)),
        (1, slice(3, 30, 7)),
        (2, np.array([49, 0, 7, 7])),
        (0, np.array([], dtype=int)),
        (np.array([2, 0, 0, 1]), np.array([49, 7, 8, 0])),
        (1, np.arange(SHAPE[1]) % 3 == 0),
        (0, [7, 3], 2),
        (1, slice(None), 2),
        (0, np.array([7, 8], dtype=np.int32), slice(1, 3)),
        2,
    ],
)
def test_they_read_like_an_array(sparse, whole, key):
    found = sparse[key]
    np.testing.assert_array_equal(found, whole[key])
    assert found.dtype == np.int8


def test_a_change_of_what_was_read_changes_nothing_else(sparse, whole):
    sparse[0, :][:] = 9
    np.testing.assert_array_equal(np.asarray(sparse), whole)


@pytest.mark.parametrize(
    "window", [slice(None), slice(30, 30), np.array([49, 0, 7, 7]), np.arange(SHAPE[1]) % 3 == 0]
)
@pytest.mark.parametrize("block", [1 << 20, 3])
def test_where_windows_are_bound(sparse, whole, window, block, monkeypatch):
    monkeypatch.setattr(sparselabels, "BLOCK", block)
    for line in range(SHAPE[0]):
        np.testing.assert_array_equal(sparse.bound(line, window), np.nonzero(whole[line, window] == BOUND))


def test_a_list_of_bound_windows_needs_no_array_of_all_tfs(monkeypatch):
    monkeypatch.setattr(sparselabels, "BLOCK", 1000)
    n, tfs = 200_000, 100
    labels = SparseLabels({BOUND: np.array([5, n * tfs - 1])}, np.ones((1, tfs), dtype=bool), n)
    tracemalloc.start()
    window, tf = labels.bound(0, slice(None))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert window.tolist() == [0, n - 1] and tf.tolist() == [5, tfs - 1] and peak < n * tfs / 5


def test_labels_of_one_tf(sparse, whole):
    for line in range(SHAPE[0]):
        for tf in range(SHAPE[2]):
            np.testing.assert_array_equal(sparse.of_tf(line, tf), whole[line, :, tf])


def test_they_come_back_from_disk(sparse, whole, tmp_path):
    sparse.save(tmp_path)
    again = SparseLabels.open(tmp_path, "again", (whole != NOT_ASSAYED).any(axis=1), SHAPE[1])
    np.testing.assert_array_equal(np.asarray(again), whole)
    (tmp_path / FILES[BOUND]).write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match=FILES[BOUND]):
        SparseLabels.open(tmp_path, "again", (whole != NOT_ASSAYED).any(axis=1), SHAPE[1])


def test_places_beyond_2_to_the_32():
    n = 2**33
    labels = SparseLabels(
        {BOUND: np.array([2 * n + 1]), AMBIGUOUS: np.array([2 * n])}, np.ones((3, 1), dtype=bool), n
    )
    assert labels[2, [0, 1, 2], 0].tolist() == [AMBIGUOUS, BOUND, 0]
