import numpy as np
import pytest
from scbind.grouping import group_cells
from sklearn.metrics import adjusted_rand_score


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
