"""Division of cells at every scale: small populations are found, and nothing where there is nothing."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from scbind.analysis.joint import assign
from scbind.analysis.mixture import DonorMixture
from scbind.analysis.tree import Group, Options, _stability, _subsamples, _views, distinct_groups, divide

OPTIONS = Options(5, (0.3, 1.0, 3.0), 10, 5, 2, 1, 0.6, 0)
PEAKS = 400


def atlas(seed, sizes, nested=()):
    """Cells of types with 60 peaks each; ``nested``: numbers of cells of the first type with 40 peaks of their own."""
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(len(sizes)), sizes)
    n = len(label)
    donor = rng.integers(0, 3, n)
    rate = rng.lognormal(-2.5, 0.6, PEAKS) * rng.lognormal(0, 0.3, (3, PEAKS))[donor]
    for number in range(len(sizes)):
        rate[np.ix_(label == number, np.arange(60 * number, 60 * number + 60))] += 0.5
    first = 0
    for number, size in enumerate(nested):
        rate[first : first + size, 300 + 40 * number : 340 + 40 * number] += 0.9
        label[first : first + size] = 10 + number
        first += size
    return sp.csr_matrix((rng.poisson(rate) > 0).astype(np.float32)), donor.astype(str), label


def populations(parts):
    parents = {part.parent for part in parts}
    return [part for number, part in enumerate(parts) if number not in parents]


def test_types_and_a_small_population_within_one_are_found(capsys):
    matrix, donor, label = atlas(0, (180, 120), nested=(12,))
    found = populations(divide(matrix, np.zeros((300, 0)), donor, OPTIONS))
    assert sorted(len(part.rows) for part in found)[0] == pytest.approx(12, abs=2) and len(found) == 3
    small = min(found, key=lambda part: len(part.rows))
    assert (label[small.rows] == 10).mean() >= 0.9 and small.stability >= 0.6
    assert small.separation > small.limit and (small.confidence > 0.5).all()
    assert sorted(np.concatenate([part.rows for part in found])) == list(range(300))
    log = capsys.readouterr().err
    assert (
        "populations: 300 cells are divided into 2 groups\n" in log
        and " cells are not divided further\n" in log
    )


@pytest.mark.parametrize("seed", range(2))
def test_cells_of_one_kind_are_not_divided(seed):
    matrix, donor, _ = atlas(seed, (250,))
    z = np.random.default_rng(seed).normal(size=(250, 6))
    parts = divide(matrix, z, donor, OPTIONS)
    assert len(parts) == 1 and len(parts[0].rows) == 250


@pytest.mark.parametrize("seed", range(2))
def test_deep_cells_are_no_population(seed):
    rng = np.random.default_rng(seed)
    rate = 0.3 * rng.lognormal(0, 1, 1000) * rng.lognormal(0, 0.8, (500, 1))  # a third of the peaks is open
    matrix = sp.csr_matrix((rng.poisson(rate) > 0).astype(np.float32))
    donor = rng.integers(0, 3, 500).astype(str)
    assert len(divide(matrix, np.zeros((500, 0)), donor, OPTIONS)) == 1


def test_clusters_of_activity_alone_are_proposals_and_no_more():
    matrix, donor, _ = atlas(0, (250,))
    z = np.random.default_rng(0).normal(size=(250, 6))
    z[:50, 0] += 8  # as borrowed fragments could do
    assert len(divide(matrix, z, donor, OPTIONS)) == 1


def test_a_population_that_subsamples_do_not_give_again_is_not_split_off():
    matrix, donor, _ = atlas(0, (180, 120), nested=(12,))
    strict = Options(5, (0.3, 1.0, 3.0), 10, 5, 2, 1, 1.01, 0)
    assert len(divide(matrix, np.zeros((300, 0)), donor, strict)) == 1


def test_a_population_of_hardly_more_than_the_least_number_of_cells_is_stable():
    """A subsample has fewer of its cells than the smallest size of a population."""
    matrix, donor, label = atlas(0, (180, 120), nested=(6,))
    found = populations(divide(matrix, np.zeros((300, 0)), donor, replace(OPTIONS, least=6)))
    small = min(found, key=lambda part: len(part.rows))
    assert len(found) == 3 and (label[small.rows] == 10).all() and len(small.rows) == 6


def stability(matrix, donor, classes):
    views = list(_views(matrix, np.zeros((len(donor), 0)), donor, OPTIONS, True))
    samples = list(_subsamples(DonorMixture(matrix, donor), views, replace(OPTIONS, repeats=4)))
    return _stability(classes, DonorMixture(matrix, donor), samples, OPTIONS.least)


def test_classes_that_clusters_of_subsamples_do_not_give_are_not_stable():
    matrix, donor, label = atlas(0, (180, 120), nested=(12,))
    assert stability(matrix, donor, np.stack([label == 0, label == 1, label == 10], axis=1)).min() > 0.8
    matrix, donor, _ = atlas(1, (300,))
    rng = np.random.default_rng(0)
    for size in (150, 12):  # of one kind of cells, some that fit together by chance
        inside = rng.permutation(300) < size
        classes = assign(DonorMixture(matrix, donor), np.stack([inside, ~inside], axis=1), 5)
        classes = classes if classes.any(axis=0).all() else np.stack([inside, ~inside], axis=1)
        assert stability(matrix, donor, classes).min() < 0.6


def test_a_small_group_stands_beside_a_large_one_that_holds_its_cells_but_fits_them_worse():
    score = np.zeros((100, 3))
    score[:60, 0], score[50:60, 0] = 10, 3  # the large group has ten cells of the small one
    score[50:62, 1] = 20
    score[:60, 2] = 8  # the large group once more
    groups = [Group(score[:, k] > 0, score[:, k], 5.0, 3.0) for k in range(3)]
    assert [group.inside.sum() for group in distinct_groups(groups)] == [60, 12]
    assert distinct_groups([]) == []


def test_a_small_type_with_peaks_of_two_large_ones_is_not_divided_between_them():
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1, 2], [200, 180, 14])
    donor = rng.integers(0, 3, 394)
    peaks = {0: range(200), 1: range(200, 400), 2: (*range(100, 200), *range(300, 400))}
    base = rng.lognormal(-3, 0.6, 1500)
    profile = np.stack(
        [base * np.where(np.isin(np.arange(1500), peaks[number]), 6, 1) for number in range(3)]
    )
    rate = profile[label] * rng.lognormal(0, 0.3, (3, 1500))[donor] * rng.lognormal(0, 0.3, (394, 1))
    matrix = sp.csr_matrix((rng.poisson(rate) > 0).astype(np.float32))
    found = populations(divide(matrix, np.zeros((394, 0)), donor.astype(str), OPTIONS))
    assert sorted(len(part.rows) for part in found) == pytest.approx([14, 180, 200], abs=1)
    assert (label[min(found, key=lambda part: len(part.rows)).rows] == 2).all()
