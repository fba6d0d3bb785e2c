import numpy as np
import pytest
from scbind.analysis import grouping
from scbind.analysis.grouping import _descent, group_cells
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import NearestNeighbors


@pytest.mark.parametrize("n_types", [2, 4])
def test_the_resolution_is_found_without_labels(n_types):
    rng = np.random.default_rng(0)
    true = np.repeat(np.arange(n_types), 40)
    values = 6 * rng.normal(size=(n_types, 8))[true] + rng.normal(size=(len(true), 8))
    groups, resolution = group_cells(values, seed=0)
    assert adjusted_rand_score(true, groups) == 1 and resolution < 1.5
    again, _ = group_cells(values, seed=0)
    np.testing.assert_array_equal(groups, again)


def test_a_given_resolution_is_kept():
    values = np.random.default_rng(0).normal(size=(60, 5))
    coarse, used = group_cells(values, 0, resolution=0.01)
    fine, _ = group_cells(values, 0, resolution=3.0)
    assert used == 0.01 and coarse.max() < fine.max()


def test_more_cells_than_are_all_compared(monkeypatch):
    monkeypatch.setattr(grouping, "EXACT_CELLS", 900)
    asked = []
    monkeypatch.setattr(grouping, "_descent", lambda *given: asked.append(len(given[0])) or _descent(*given))
    rng = np.random.default_rng(1)
    true = np.repeat(np.arange(3), 301)
    values = 6 * rng.normal(size=(3, 8))[true] + rng.normal(size=(len(true), 8))
    groups, _ = group_cells(values, 0, resolution=0.01)
    assert asked == [903] and adjusted_rand_score(true, groups) > 0.99


def test_a_search_finds_nearly_all_neighbours_and_repeats():
    points = np.random.default_rng(2).normal(size=(2_000, 6))
    found, distance = _descent(points, 10, 3)
    exact = NearestNeighbors(n_neighbors=10).fit(points).kneighbors(return_distance=True)
    hit = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, exact[1], strict=True)])
    assert hit > 0.98 and (found != np.arange(2_000)[:, None]).all()
    np.testing.assert_allclose(distance[:, 0], exact[0][:, 0], rtol=1e-3)
    np.testing.assert_array_equal(found, _descent(points, 10, 3)[0])
    same, _ = _descent(np.repeat(points[:40], 30, axis=0), 10, 3)  # more equal points than neighbours
    assert same.shape == (1_200, 10) and (same != np.arange(1_200)[:, None]).all()
