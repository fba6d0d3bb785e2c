"""Small groups that differ in few peaks are proposed, where clusters of all peaks do not show them."""

import numpy as np
import pytest
import scipy.sparse as sp
from scbind.analysis import peaksets
from scbind.analysis.mixture import DonorMixture, jaccard
from scbind.analysis.peaksets import groups_of_peaks
from scbind.analysis.tree import Options, _clusters, _views, divide
from threadpoolctl import threadpool_limits

N, PEAKS, MARKED = 600, 3_000, 25


def cells(seed, small=18, depth_sd=0.3):
    """Cells of one kind and three donors; the first ``small`` have ``MARKED`` peaks that are rarely open elsewhere."""
    rng = np.random.default_rng(seed)
    donor = rng.integers(0, 3, N)
    rate = rng.lognormal(-2.5, 0.7, PEAKS) * rng.lognormal(0, 0.2, (3, PEAKS))[donor]
    rate *= rng.lognormal(0, depth_sd, (N, 1))
    rate[:small, :MARKED] += 0.7
    matrix = sp.csr_matrix((rng.poisson(rate) > 0).astype(np.float32))
    return matrix, donor.astype(str), np.arange(N) < small


def best(groups, truth):
    return jaccard(groups, truth[:, None]).max() if groups.shape[1] else 0.0


@pytest.mark.parametrize("seed", range(3))
def test_a_small_group_with_few_peaks_is_proposed_that_clusters_do_not_show(seed):
    matrix, donor, truth = cells(seed)
    options = Options(6, (0.3, 1.0, 3.0), 15, 10, 2, 1, 0.6, 0)
    clusters = _clusters(list(_views(matrix, np.zeros((N, 0)), donor, options, False)), options)
    mixture = DonorMixture(matrix, donor)
    found = groups_of_peaks(mixture, np.arange(N), 12, seed=0)
    assert found.shape[1] <= peaksets.KEPT and (found.sum(axis=0) == 12).all()
    assert best(clusters, truth) < 0.3 and best(found, truth) >= 0.6
    refined, _ = mixture.refine(found, 6)
    assert best(refined, truth) >= 0.8


def test_the_group_is_found_as_a_population_and_not_without_this_search(monkeypatch):
    matrix, donor, truth = cells(2)
    options = Options(6, (0.3, 1.0, 3.0), 15, 10, 5, 1, 0.6, 0)
    small = min(divide(matrix, np.zeros((N, 0)), donor, options), key=lambda part: len(part.rows))
    assert truth[small.rows].all() and len(small.rows) >= 0.8 * truth.sum()
    nothing = np.zeros((N, 0), dtype=bool)
    monkeypatch.setattr(
        "scbind.analysis.tree.groups_of_peaks", lambda mixture, *_: nothing[: len(mixture.n_open)]
    )
    assert len(divide(matrix, np.zeros((N, 0)), donor, options)) == 1


def test_groups_hold_searched_cells_only_and_are_the_same_again():
    matrix, donor, _ = cells(1)
    mixture, rows = DonorMixture(matrix, donor), np.arange(5, N, 2)
    found = groups_of_peaks(mixture, rows, 8, seed=3)
    assert found.any() and not np.delete(found, rows, axis=0).any()
    assert (found == groups_of_peaks(mixture, rows, 8, seed=3)).all()


def test_with_more_cells_and_peaks_than_are_searched_they_are_drawn(monkeypatch):
    matrix, donor, truth = cells(2, small=36)
    monkeypatch.setattr(peaksets, "MAX_CELLS", 300)
    monkeypatch.setattr(peaksets, "MAX_STARTS", 400)
    mixture = DonorMixture(matrix, donor)
    found = groups_of_peaks(mixture, np.arange(N), 24, seed=0)
    assert found.any(axis=1).sum() <= 300 and (found.sum(axis=0) == 12).all()
    refined, _ = mixture.refine(found, 12)  # the cells that were not drawn join
    assert best(refined, truth) >= 0.6


def test_groups_do_not_depend_on_the_number_of_threads():
    """In cells of one depth, many peaks are equally like the first one, up to the last bit of the sums."""
    rng = np.random.default_rng(0)
    opened = np.argsort(rng.random((500, 1_500)), axis=1) < 60
    mixture = DonorMixture(sp.csr_matrix(opened.astype(np.float32)), np.full(500, "d"))
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            found.append(groups_of_peaks(mixture, np.arange(500), 10, seed=0))
    assert (found[0] == found[1]).all()


@pytest.mark.parametrize(
    "rows, size, peaks", [(np.arange(20), 10, PEAKS), (np.arange(0), 5, PEAKS), (np.arange(N), 12, 15)]
)
def test_too_few_cells_or_peaks_give_no_group(rows, size, peaks):
    matrix, donor, _ = cells(0)
    found = groups_of_peaks(DonorMixture(matrix[:, :peaks], donor), rows, size, seed=0)
    assert found.shape == (N, 0) and found.dtype == bool


@pytest.mark.parametrize("depth_sd", [0.0, 0.8])
def test_sets_of_peaks_in_cells_of_one_kind_end_as_no_group(depth_sd):
    matrix, donor, _ = cells(4, small=0, depth_sd=depth_sd)
    mixture = DonorMixture(matrix, donor)
    refined, _ = mixture.refine(groups_of_peaks(mixture, np.arange(N), 12, seed=0), 6)
    assert not refined.any()
