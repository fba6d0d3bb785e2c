import numpy as np
import pytest
from scbind.binding.samplecells import equivalent
from scbind.formats.genome import ChromSizes
from scbind.formats.signal import CellSignal, borrowed
from scbind.formats.thinning import thinned_borrowed
from scipy import sparse

SIZES = ChromSizes(("chr1",), np.array([60_000]))
N_CELLS = 6
STARTS = np.array([0, 400, 200, 5000, 58_000])
BORROW = sparse.csr_matrix(
    np.array([[1, 0.5, 0, 0.25, 0, 0], [0, 0, 1, 0, 0, 0], [0.125] * 5 + [0]], dtype=np.float32)
)
SALT = np.arange(3, dtype=np.uint64)


@pytest.fixture
def signal(tmp_path):
    rng = np.random.default_rng(1)
    np.save(tmp_path / "position.npy", np.sort(rng.integers(0, 60_000, 40_000)).astype(np.uint32))
    np.save(tmp_path / "cell.npy", rng.integers(0, N_CELLS - 1, 40_000).astype(np.uint32))
    return CellSignal.open(tmp_path / "position.npy", tmp_path / "cell.npy", N_CELLS, SIZES)


def test_weighted_counts_scatter_like_whole_ones():
    rng = np.random.default_rng(0)
    density = np.array([3.0, 1.0, 2.0, 5.0, 0.5, 0.0])
    counts = BORROW @ rng.poisson(density[:, None], (N_CELLS, 200_000))
    scaled = equivalent(BORROW, density) @ rng.poisson(density[:, None], (N_CELLS, 200_000))
    assert (counts.var(axis=1) / counts.mean(axis=1))[[0, 2]] == pytest.approx([0.75, 0.125], abs=0.02)
    assert scaled.var(axis=1) == pytest.approx(scaled.mean(axis=1), rel=0.02)


def test_a_cell_alone_and_one_that_borrows_nothing_stay():
    density = np.array([1.0, 1.0, 2.0, 1.0, 1.0, 0.0])
    nothing = sparse.vstack([BORROW, sparse.csr_matrix(([1.0], ([0], [5])), (1, N_CELLS))]).tocsr()
    scaled = equivalent(nothing.astype(np.float32), density)
    assert scaled.dtype == np.float32 and (scaled.indices == nothing.indices).all()
    assert scaled[1, 2] == 1 and scaled[3, 5] == 1 and scaled[2, 0] == pytest.approx(1)


def test_lenders_are_thinned_as_they_are_borrowed_from(signal):
    whole = borrowed(signal.counts(STARTS, 1000, 50), BORROW, 20)
    where = STARTS, 1000, 50
    assert np.allclose(thinned_borrowed(signal, BORROW, *where, np.ones(3), SALT), whole)
    many = np.tile(STARTS, 40)
    rows = sparse.vstack([BORROW] * 200).tocsr()
    salt = np.arange(600, dtype=np.uint64)
    found = thinned_borrowed(signal, rows, STARTS, 1000, 50, np.full(600, 0.3), salt).reshape(200, 3, -1)
    expected = whole.reshape(3, -1)
    assert found.mean(axis=(0, 2)) == pytest.approx(0.3 * expected.mean(axis=1), rel=0.05)
    # what is left of an insertion that counts w is 0 or w
    left = 0.3 * 0.7 * (BORROW.multiply(BORROW) @ signal.counts(STARTS, 1000, 50).toarray()).mean(axis=1)
    assert found.var(axis=0).mean(axis=1) == pytest.approx(left, rel=0.1)
    assert not thinned_borrowed(signal, BORROW, many, 1000, 50, np.zeros(3), SALT).any()


def test_thinned_cells_do_not_depend_on_blocks(signal):
    keep = np.array([0.2, 0.9, 0.5])
    whole = thinned_borrowed(signal, BORROW, STARTS, 1000, 50, keep, SALT)
    for windows in (slice(0, 2), slice(2, 5)):
        for rows in (slice(0, 1), slice(1, 3)):
            part = thinned_borrowed(signal, BORROW[rows], STARTS[windows], 1000, 50, keep[rows], SALT[rows])
            assert part.tobytes() == np.ascontiguousarray(whole[rows, windows]).tobytes()
