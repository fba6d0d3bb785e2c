"""Populations held against each other: every cell goes to the likeliest one, and what is no population is dissolved."""

import numpy as np
import pytest
import scipy.sparse as sp
from scbind.analysis.joint import assign, everyone, of_size, settle
from scbind.analysis.mixture import DonorMixture

PEAKS, LEAST = 1500, 5
# The third shares peaks with the first two.
TYPES = {0: range(200), 1: range(200, 400), 2: (*range(100, 200), *range(300, 400)), 3: range(400, 600)}


def cells(seed, sizes, doublets=0):
    """Open peaks, donors and kinds (4: doublets of the first two) of cells of three donors."""
    rng = np.random.default_rng(seed)
    kind = np.repeat(range(5), [*sizes, *[0] * (4 - len(sizes)), doublets])
    donor = rng.integers(0, 3, len(kind))
    base = rng.lognormal(-3, 0.6, PEAKS)
    profile = np.stack([base * np.where(np.isin(np.arange(PEAKS), TYPES[number]), 6, 1) for number in TYPES])
    profile = np.vstack([profile, profile[0] + profile[1]])
    rate = profile[kind] * rng.lognormal(0, 0.3, (3, PEAKS))[donor] * rng.lognormal(0, 0.3, (len(kind), 1))
    return sp.csr_matrix((rng.poisson(rate) > 0).astype(np.float32)), donor.astype(str), kind


def columns(*groups):
    return np.stack(groups, axis=1)


@pytest.mark.parametrize("seed", range(3))
def test_a_small_group_that_was_divided_between_two_large_ones_is_one(seed):
    matrix, donor, kind = cells(seed, (150, 120, 20))
    third = np.flatnonzero(kind == 2)
    start = columns(kind == 0, kind == 1, np.isin(np.arange(290), third[:8]))
    start[third[8:14], 0] = start[third[14:], 1] = True
    found = assign(DonorMixture(matrix, donor), start, LEAST)
    assert (found[:, 2] == (kind == 2)).mean() > 0.99


@pytest.mark.parametrize("seed", range(3))
def test_two_halves_of_one_population_become_one(seed):
    matrix, donor, kind = cells(seed, (150, 120, 30))
    first = np.arange(300) % 2 == 0
    start = columns(kind == 0, kind == 1, (kind == 2) & first, (kind == 2) & ~first)
    found, _ = settle(matrix, donor, start, np.ones(300))
    assert sorted(found.sum(axis=0)) == [0, 30, 120, 150] and (found.sum(axis=1) == 1).all()


def test_doublets_are_no_population_and_no_sure_members():
    matrix, donor, kind = cells(0, (100, 90, 20, 120), doublets=15)
    start = columns(*(kind == number for number in (0, 1, 2, 3, 4)))
    mixture, double = DonorMixture(matrix, donor), kind == 4
    assert assign(mixture, start, LEAST)[double, 4].mean() > 0.8  # without pairs
    assert assign(mixture, start, LEAST, pairs=True)[double].any(axis=1).mean() < 0.2
    found, sure = settle(matrix, donor, start, np.ones(345))
    assert not found[:, 4].any() and (found.sum(axis=1) == 1).all()
    assert (found[~double] == start[~double]).all() and (sure[~double] == 1).all()
    assert np.median(sure[double]) < 0.1


def test_a_population_with_peaks_of_two_others_is_no_doublet():
    matrix, donor, kind = cells(1, (150, 120, 12))
    start = columns(kind == 0, kind == 1, kind == 2)
    assert (settle(matrix, donor, start, np.ones(282))[0] == start).all()
    found = assign(DonorMixture(matrix, donor), start, LEAST, pairs=True)
    assert (found[:, 2] & (kind == 2)).sum() >= 11 and (found[:, 2] & (kind != 2)).sum() <= 1


def test_small_groups_end_and_only_some_cells_are_assigned():
    matrix, donor, kind = cells(2, (150, 120, 4))
    among = np.arange(274) % 2 == 0
    start = columns(kind == 0, kind == 1, kind == 2)
    found = assign(DonorMixture(matrix, donor), start, LEAST, among=among)
    assert not found[:, 2].any() and not found[~among].any() and (found[among].sum(axis=1) == 1).all()


def test_a_group_is_found_again_at_its_size_among_some_cells():
    matrix, donor, kind = cells(4, (150, 120, 12))
    mixture, kept = DonorMixture(matrix, donor), np.random.default_rng(0).random(282) < 0.8
    third = np.flatnonzero((kind == 2) & kept)
    wrong = np.isin(np.arange(282), third[:-2]) | np.isin(
        np.arange(282), np.flatnonzero((kind == 0) & kept)[:2]
    )
    start = columns((kind == 0) & kept, (kind == 1) & kept, wrong)
    found = of_size(mixture, start, kept, start.sum(axis=0))
    assert found.sum(axis=0).tolist() == [((kind == 0) & kept).sum(), ((kind == 1) & kept).sum(), len(third)]
    assert not found[~kept].any() and (np.flatnonzero(found[:, 2]) == third).all()
    # Cells that have nothing in common are not found again.
    chance = np.isin(
        np.arange(282), np.random.default_rng(1).choice(np.flatnonzero(kind == 0), 12, replace=False)
    )
    again = of_size(mixture, columns(~chance, chance), np.ones(282, dtype=bool), np.array([270, 12]))
    assert (again[:, 1] & chance).sum() <= 3


def test_a_population_of_few_cells_is_not_merged_with_a_group_of_doublets():
    """The doublets are like it to half; they have to be dissolved first."""
    matrix, donor, kind = cells(0, (100, 90, 8, 120), doublets=40)
    start = columns(*(kind == number for number in range(5)))
    found, _ = settle(matrix, donor, start, np.ones(len(kind)))
    assert not found[:, 4].any() and (found[:, 2] == (kind == 2)).all()


def test_one_group_has_all_cells():
    matrix, donor, _ = cells(3, (60, 0, 0))
    group, sure = everyone(DonorMixture(matrix, donor), np.ones((60, 1), dtype=bool))
    assert group.all() and (sure == 1).all()


def test_cells_of_a_dissolved_group_do_not_swamp_a_small_one():
    matrix, donor, kind = cells(0, (100, 90, 12, 120), doublets=20)
    start = columns(*(kind == number for number in range(5)))
    found, _ = settle(matrix, donor, start, np.ones(342))
    assert not found[:, 4].any() and (found[:, 2] == (kind == 2)).all()
