import numpy as np
import pytest
from scbind.cells.neighbours import borrow, kernel, nearest


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
    found, distance = nearest(X, 7)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    for row in range(len(X)):
        np.testing.assert_array_equal(found[row], cosine_order(X, row)[:7])
        expected = np.linalg.norm(unit[found[row]] - unit[row], axis=1)
        np.testing.assert_allclose(distance[row], expected, atol=1e-6)


def test_nearest_does_not_depend_on_blocks(cells, monkeypatch):
    X, _ = cells
    X[10:20] = X[5]  # ties
    whole = nearest(X, 12)[0]
    monkeypatch.setattr("scbind.cells.neighbours.BLOCK_ELEMENTS", 130)
    np.testing.assert_array_equal(nearest(X, 12)[0], whole)
    np.testing.assert_array_equal(whole[5, :10], np.arange(10, 20))  # equal ones: the first rows first
    np.testing.assert_array_equal(whole[12, :3], [5, 10, 11])


def test_the_search_in_lists_finds_most_and_repeats(monkeypatch):
    random = np.random.default_rng(0)
    centres = random.normal(size=(12, 10))
    X = centres[random.integers(0, 12, 3000)] + 0.6 * random.normal(size=(3000, 10))
    exact, exact_distance = nearest(X, 15)
    monkeypatch.setattr("scbind.cells.neighbours.CANDIDATES", 900)
    monkeypatch.setattr("scbind.cells.neighbours.LIST", 50)
    found, distance = nearest(X, 15)
    recall = np.mean([len(np.intersect1d(*both)) / 15 for both in zip(exact, found, strict=True)])
    assert 0.9 < recall < 1
    assert (np.diff(distance, axis=1) >= 0).all() and (distance >= exact_distance - 1e-9).all()
    assert all(len(set(row)) == 15 for row in found) and (found != np.arange(3000)[:, None]).all()
    monkeypatch.setattr("scbind.cells.neighbours.BLOCK_ELEMENTS", 5000)
    np.testing.assert_array_equal(nearest(X, 15)[0], found)
    assert (nearest(X, 15, seed=1)[0] != found).any()
    monkeypatch.setattr("scbind.cells.neighbours.CANDIDATES", 3000)
    np.testing.assert_array_equal(nearest(X, 15)[0], exact)


def test_lists_of_equal_cells(monkeypatch):
    monkeypatch.setattr("scbind.cells.neighbours.CANDIDATES", 10)
    monkeypatch.setattr("scbind.cells.neighbours.LIST", 5)
    found, distance = nearest(np.ones((40, 3)), 12)  # all in one list
    np.testing.assert_array_equal(found[20], np.arange(12))
    np.testing.assert_array_equal(distance, np.zeros((40, 12)))
    assert nearest(np.zeros((40, 3)), 12)[0].shape == (40, 12)


def test_kernel_by_hand():
    distance = np.array([[0, 0.1, 0.2, 0.3, 0.5, 1.0]])
    expected = np.exp(-((distance / 0.5) ** 2))  # the fifth neighbour is its width
    np.testing.assert_allclose(kernel(distance), expected)
    np.testing.assert_allclose(kernel(distance[:, :3]), np.exp(-((distance[:, :3] / 0.2) ** 2)))
    np.testing.assert_array_equal(kernel(np.array([[0, 0, 0, 0, 0, 0.1]])), [[1, 1, 1, 1, 1, 0]])
    assert kernel(np.empty((4, 0))).shape == (4, 0)


def test_weights_fall_with_distance_and_count_towards_the_target(cells):
    X, n = cells
    target, most = 5000, 25
    matrix, flat = borrow(X, n, target, most, "distance"), borrow(X, n, target, most, "uniform")
    np.testing.assert_array_equal(matrix.diagonal(), np.ones(60))
    assert matrix.dtype == np.float32 and (matrix.data > 0).all() and (matrix.data <= 1).all()
    held, k = matrix @ n, np.diff(matrix.indptr) - 1
    assert ((held >= target) | (k == most)).all()
    assert (k >= np.diff(flat.indptr) - 1).all() and (k > np.diff(flat.indptr) - 1).any()
    for row in range(60):
        weight = matrix[row, cosine_order(X, row)[: k[row]]].toarray()[0]
        assert (np.diff(weight) <= 0).all()
        assert n[row] + weight[:-1] @ n[cosine_order(X, row)[: k[row] - 1]] < target


def test_rows_reach_the_target_and_not_further(cells):
    X, n = cells
    target, most = 5000, 20
    matrix = borrow(X, n, target, most, "uniform")
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
    np.testing.assert_array_equal(np.diff(borrow(X, n, 1e9, 4, "uniform").indptr), 5)
    np.testing.assert_array_equal(np.diff(borrow(X, n, 1e9, 1000, "uniform").indptr), 60)
    np.testing.assert_array_equal(borrow(X, n, 1e9, 0, "uniform").toarray(), np.eye(60))


def test_deep_cells_stay_themselves_and_deeper_ones_borrow_less(cells):
    X, n = cells
    n[7] = 5000
    assert borrow(X, n, 5000, 20, "uniform")[7].indices.tolist() == [7]
    k = []
    for own in (10, 2000, 4990):
        n[3] = own
        k.append(len(borrow(X, n, 5000, 50, "uniform")[3].indices))
    assert k[0] > k[1] > k[2] == 2


def test_failed_cells_borrow_and_lend_nothing(cells):
    X, n = cells
    X[[4, 50]] = np.nan
    matrix = borrow(X, n, 1e9, 1000, "uniform").toarray()
    assert matrix[[4, 50]].sum() == 0 and matrix[:, [4, 50]].sum() == 0
    assert matrix.sum() == 58 * 58


def test_tiny_samples_and_zero_rows():
    assert borrow(np.empty((0, 3)), np.empty(0), 100, 5, "uniform").shape == (0, 0)
    np.testing.assert_array_equal(borrow(np.ones((1, 2)), [5], 100, 5, "uniform").toarray(), [[1]])
    zeros = borrow(np.zeros((3, 2)), [5, 5, 5], 10, 5, "uniform").toarray()
    np.testing.assert_array_equal(zeros, [[1, 1, 0], [1, 1, 0], [1, 0, 1]])
    np.testing.assert_array_equal(
        borrow(np.full((2, 1), np.nan), [5, 5], 10, 5, "uniform").toarray(), np.zeros((2, 2))
    )


def test_refusals():
    with pytest.raises(ValueError, match="do not describe the same cells"):
        borrow(np.ones((3, 2)), [1, 2], 10, 5, "uniform")
    with pytest.raises(ValueError, match="must not be negative"):
        borrow(np.ones((3, 2)), [1, 2, 3], 10, -1, "uniform")
    with pytest.raises(ValueError, match="must be 'uniform' or 'distance'"):
        borrow(np.ones((3, 2)), [1, 2, 3], 10, 2, "near")
