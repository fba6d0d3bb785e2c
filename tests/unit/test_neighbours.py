import numpy as np
import pytest
from scbind.neighbours import borrow, nearest


@pytest.fixture
def cells():
    random = np.random.default_rng(3)
    return random.normal(size=(60, 5)), random.integers(50, 2000, 60)


def cosine_order(X, row):
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    order = np.argsort(-(unit @ unit[row]), kind="stable")
    return order[order != row]


def test_nearest_equals_brute_force(cells):
    X, _ = cells
    found = nearest(X, 7)
    for row in range(len(X)):
        np.testing.assert_array_equal(found[row], cosine_order(X, row)[:7])


def test_nearest_does_not_depend_on_blocks(cells, monkeypatch):
    X, _ = cells
    X[10:20] = X[5]  # ties
    whole = nearest(X, 12)
    monkeypatch.setattr("scbind.neighbours.BLOCK_ELEMENTS", 130)
    np.testing.assert_array_equal(nearest(X, 12), whole)
    np.testing.assert_array_equal(whole[5, :10], np.arange(10, 20))  # equal ones: the first rows first
    np.testing.assert_array_equal(whole[12, :3], [5, 10, 11])


def test_rows_reach_the_target_and_not_further(cells):
    X, n = cells
    target, most = 5000, 20
    matrix = borrow(X, n, target, most)
    assert matrix.dtype == np.float32 and set(matrix.data) == {1}
    np.testing.assert_array_equal(matrix.diagonal(), np.ones(60))
    held, k = matrix @ n, np.diff(matrix.indptr) - 1
    assert ((held >= target) | (k == most)).all()
    assert (k <= most).all() and (k > 0).all()
    for row in range(60):
        chosen = cosine_order(X, row)[: k[row]]
        assert set(matrix[row].indices) == {row, *chosen}
        if len(chosen):
            assert n[row] + n[chosen[:-1]].sum() < target  # the last one was needed


def test_max_neighbours_is_a_limit(cells):
    X, n = cells
    np.testing.assert_array_equal(np.diff(borrow(X, n, 1e9, 4).indptr), 5)
    np.testing.assert_array_equal(np.diff(borrow(X, n, 1e9, 1000).indptr), 60)
    np.testing.assert_array_equal(borrow(X, n, 1e9, 0).toarray(), np.eye(60))


def test_deep_cells_stay_themselves_and_deeper_ones_borrow_less(cells):
    X, n = cells
    n[7] = 5000
    assert borrow(X, n, 5000, 20)[7].indices.tolist() == [7]
    k = []
    for own in (10, 2000, 4990):
        n[3] = own
        k.append(len(borrow(X, n, 5000, 50)[3].indices))
    assert k[0] > k[1] > k[2] == 2


def test_failed_cells_borrow_and_lend_nothing(cells):
    X, n = cells
    X[[4, 50]] = np.nan
    matrix = borrow(X, n, 1e9, 1000).toarray()
    assert matrix[[4, 50]].sum() == 0 and matrix[:, [4, 50]].sum() == 0
    assert matrix.sum() == 58 * 58


def test_tiny_samples_and_zero_rows():
    assert borrow(np.empty((0, 3)), np.empty(0), 100, 5).shape == (0, 0)
    np.testing.assert_array_equal(borrow(np.ones((1, 2)), [5], 100, 5).toarray(), [[1]])
    zeros = borrow(np.zeros((3, 2)), [5, 5, 5], 10, 5).toarray()
    np.testing.assert_array_equal(zeros, [[1, 1, 0], [1, 1, 0], [1, 0, 1]])
    np.testing.assert_array_equal(borrow(np.full((2, 1), np.nan), [5, 5], 10, 5).toarray(), np.zeros((2, 2)))


def test_refusals():
    with pytest.raises(ValueError, match="do not describe the same cells"):
        borrow(np.ones((3, 2)), [1, 2], 10, 5)
    with pytest.raises(ValueError, match="must not be negative"):
        borrow(np.ones((3, 2)), [1, 2, 3], 10, -1)
