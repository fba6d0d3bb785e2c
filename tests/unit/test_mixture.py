"""Groups of cells against the cells of their donors: what belongs together stays, what does not falls apart."""

import numpy as np
import pytest
import scipy.sparse as sp
from scbind.analysis.mixture import DonorMixture, largest_cut, separation

PEAKS, DONORS = 500, 4


def cells(seed, members=0, opened=60, donor_sd=0.5, n=400):
    """Open peaks of ``n`` cells of four donors, and the donors. The first ``members`` have ``opened`` peaks more."""
    rng = np.random.default_rng(seed)
    donor = rng.integers(0, DONORS, n)
    rate = rng.lognormal(-2, 0.7, PEAKS) * rng.lognormal(0, donor_sd, (DONORS, PEAKS))
    rate = rate[donor] * rng.lognormal(0, 0.3, (n, 1))
    rate[:members, :opened] += 0.8
    return sp.csr_matrix((rng.poisson(rate) > 0).astype(np.float32)), donor.astype(str)


def test_members_are_found_from_a_poor_start():
    matrix, donor = cells(0, members=20)
    start = np.zeros((400, 1), dtype=bool)
    start[:14] = start[100:110] = True
    found, score = DonorMixture(matrix, donor).refine(start, 5)
    truth = np.arange(400) < 20
    assert (found[:, 0] & truth).sum() >= 19 and (found[:, 0] & ~truth).sum() <= 1
    assert separation(score[:, 0], found[:, 0]) > 4


@pytest.mark.parametrize("seed", range(3))
def test_groups_without_structure_end(seed):
    matrix, donor = cells(seed)
    rng = np.random.default_rng(seed)
    start = np.stack([rng.permutation(400) < size for size in (10, 30, 100, 200)] * 5, axis=1)
    assert not DonorMixture(matrix, donor).refine(start, 5)[0].any()


def test_donors_are_no_groups():
    matrix, donor = cells(1, donor_sd=1.0)
    start = np.stack([donor == name for name in np.unique(donor)], axis=1)
    assert not DonorMixture(matrix, donor).refine(start, 5)[0].any()
    found, _ = DonorMixture(matrix, np.full(400, "one")).refine(start, 5)  # if they are not known, they are
    assert found.any(axis=0).all()


def deep_and_shallow(seed, types=1, n=600):
    """Cells whose depths vary much and in which a third of the peaks are open, their types and their depths."""
    rng = np.random.default_rng(seed)
    kind, depth = rng.integers(0, types, n), rng.lognormal(0, 0.8, n)
    rate = np.tile(0.25 * rng.lognormal(0, 1, 1000), (types, 1))
    for number in range(types if types > 1 else 0):
        rate[number, rng.permutation(1000)[:80]] *= 5
    return sp.csr_matrix((rng.poisson(rate[kind] * depth[:, None]) > 0).astype(np.float32)), kind, depth


def test_deep_cells_are_no_group():
    matrix, _, depth = deep_and_shallow(0)
    start = np.stack([depth >= np.quantile(depth, 1 - part) for part in (0.1, 0.3, 0.5)], axis=1)
    assert not DonorMixture(matrix, np.full(600, "one")).refine(start, 5)[0].any()


def test_deep_cells_are_members_of_their_own_type():
    matrix, kind, _ = deep_and_shallow(1, types=3)
    start = kind[:, None] == np.arange(3)
    found, _ = DonorMixture(matrix, np.full(600, "one")).refine(start, 5)
    assert (found == start).mean() > 0.98


def test_a_large_group_is_found_like_its_complement():
    matrix, donor = cells(2, members=240)
    start = np.zeros((400, 2), dtype=bool)
    start[:200, 0] = start[260:, 1] = True
    found, _ = DonorMixture(matrix, donor).refine(start, 5)
    truth = np.arange(400) < 240
    assert (found[:, 0] == truth).mean() > 0.98 and (found[:, 1] == ~truth).mean() > 0.98


def test_cuts_of_a_continuum_are_within_the_limit():
    rng = np.random.default_rng(5)
    for n, top in ((500, 250), (500, 10), (20_000, 200)):
        value = rng.normal(size=n)
        inside = np.argsort(np.argsort(value)) >= n - top
        assert separation(value, inside) < largest_cut(n, top) < 4
