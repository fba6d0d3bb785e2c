"""P(open) of peaks in cells of different depth: it adds up for cells and peaks, and deep cells have rarer peaks."""

import numpy as np
import pytest
import scipy.sparse as sp
from scbind.analysis.saturation import Saturation


def cells(seed=0, n=400, peaks=500, donors=2, depth_sd=0.8):
    """Open peaks of cells in which about a third of the peaks are open, their donors, and P(open) of each."""
    rng = np.random.default_rng(seed)
    donor = rng.integers(0, donors, n)
    rate = 0.4 * rng.lognormal(0, 1, peaks) * rng.lognormal(0, 0.3, (donors, peaks))[donor]
    chance = -np.expm1(-rate * rng.lognormal(0, depth_sd, (n, 1)))
    return sp.csr_matrix((rng.random(chance.shape) < chance).astype(np.float32)), donor, chance


def fitted(matrix, donor):
    wanted = np.stack([np.asarray(matrix[donor == d].sum(axis=0)).ravel() for d in np.unique(donor)], axis=1)
    return Saturation(matrix, donor, wanted)


def test_cells_and_peaks_add_up():
    matrix, donor, _ = cells()
    chance = fitted(matrix, donor).of_cells(np.arange(400))
    assert chance.sum(axis=1) == pytest.approx(np.asarray(matrix.sum(axis=1)).ravel(), rel=0.03)
    assert chance.sum(axis=0) == pytest.approx(np.asarray(matrix.sum(axis=0)).ravel(), rel=0.05, abs=1)


def test_it_is_right_in_deep_cells():
    matrix, donor, truth = cells(1, n=1200)
    chance = fitted(matrix, donor).of_cells(np.arange(1200))
    deep = np.argsort(truth.sum(axis=1))[-120:]
    order = np.argsort(truth.mean(axis=0))
    for peaks in np.array_split(order, 10):  # from the rarest to the most frequent
        found, wanted = (values[np.ix_(deep, peaks)].mean() for values in (chance, truth))
        assert found == pytest.approx(wanted, rel=0.12)


def test_open_peaks_groups_and_sums_are_those_of_the_whole_table():
    matrix, donor, _ = cells(2)
    found, rng = fitted(matrix, donor), np.random.default_rng(2)
    chance = found.of_cells(np.arange(400))
    here = matrix.toarray() > 0
    assert found.of_open.toarray()[here] == pytest.approx(chance[here], rel=1e-5)
    groups = rng.random((400, 3)) < 0.2
    assert found.over_cells(groups) == pytest.approx(chance.T @ groups)
    values = rng.normal(size=(500, 2))
    assert found.over_peaks(values) == pytest.approx(chance @ values)
    assert found.over_peaks(values, np.arange(7)) == pytest.approx(chance[:7] @ values)


def test_empty_and_full_cells_and_peaks_have_probabilities():
    matrix = np.zeros((6, 4), dtype=np.float32)
    matrix[1], matrix[2:, 0], matrix[3, 1] = 1, 1, 1
    matrix = sp.csr_matrix(matrix)
    for donor in (np.zeros(6, dtype=int), np.array([0, 1, 1, 2, 2, 2])):  # one donor has only an empty cell
        chance = fitted(matrix, donor).of_cells(np.arange(6))
        assert ((chance >= 0) & (chance < 1)).all() and not chance[0].any()
    assert not fitted(sp.csr_matrix((3, 4), dtype=np.float32), np.zeros(3, dtype=int)).chance.any()
