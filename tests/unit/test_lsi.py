import numpy as np
import pytest
from scbind.genome import ChromSizes
from scbind.lsi import Tiling, reduce, tf_idf, tile_matrix
from scbind.signal import CellSignal
from scipy import sparse

SIZES = ChromSizes(("chr1", "chr2"), np.array([2050, 990]))
TILING = Tiling(SIZES, 100)  # 21 and 10 tiles


def random_signal(seed, n_cells=8, n=300):
    random = np.random.default_rng(seed)
    position = np.sort(random.integers(0, SIZES.total, n)).astype(np.uint32)
    return CellSignal(position, random.integers(0, n_cells, n).astype(np.uint32), n_cells, SIZES)


def brute_force(signal, rows):
    pairs = set()
    for position, cell in zip(signal.position.tolist(), signal.cell.tolist(), strict=True):
        tile = position // 100 if position < 2050 else 21 + (position - 2050) // 100
        if rows[cell] >= 0:
            pairs.add((tile, int(rows[cell])))
    return sorted(pairs)


@pytest.mark.parametrize("chunk", [1, 7, 50, 10_000])
def test_pairs_equal_brute_force_whatever_the_chunks(monkeypatch, chunk):
    monkeypatch.setattr("scbind.lsi.CHUNK", chunk)
    signal, rows = random_signal(0), np.array([0, 1, -1, 2, 3, -1, 4, 5])
    parts = list(TILING.pairs(signal, rows))
    assert (len(parts) > 2) == (chunk < 300)
    found = [pair for tile, row in parts for pair in zip(tile.tolist(), row.tolist(), strict=True)]
    assert sorted(found) == brute_force(signal, rows)
    assert [tile for tile, _ in found] == sorted(tile for tile, _ in found)


def test_tiles_start_anew_on_each_chromosome():
    assert TILING.first.tolist() == [0, 21, 31]
    chrom, start, end = np.array([0, 0, 1, 1]), np.array([99, 2040, 0, 500]), np.array([101, 9999, 100, 500])
    assert np.flatnonzero(TILING.touched(chrom, start, end)).tolist() == [0, 1, 20, 21]


def test_tile_matrix_keeps_the_most_variable_tiles():
    signals = [random_signal(1), random_signal(2)]
    rows = [np.array([0, 1, 2, -1, 3, 4, 5, 6]), np.arange(7, 15)]
    dense = np.zeros((15, 31))
    for signal, part in zip(signals, rows, strict=True):
        for tile, row in brute_force(signal, part):
            dense[row, tile] = 1
    cells = dense.sum(axis=0)
    excluded = np.zeros(31, dtype=bool)
    excluded[[3, 22]] = True
    usable = (cells >= 6) & (cells < 15) & ~excluded
    matrix, used = tile_matrix(signals, rows, TILING, excluded, 6, 1000)
    np.testing.assert_array_equal(used, np.flatnonzero(usable))
    assert usable.sum() > 20
    np.testing.assert_array_equal(matrix.toarray(), dense[:, used])
    matrix, used = tile_matrix(signals, rows, TILING, excluded, 6, 5)
    p = cells / 15
    assert len(used) == 5 and (np.diff(used) > 0).all()
    left = np.setdiff1d(np.flatnonzero(usable), used)
    assert (p * (1 - p))[used].min() >= (p * (1 - p))[left].max()
    np.testing.assert_array_equal(matrix.toarray(), dense[:, used])


def test_tf_idf_by_hand():
    matrix = sparse.csr_matrix(np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=np.float32))
    expected = np.zeros((3, 3))
    expected[0, 0] = np.log1p(1e4 / 2 * np.log1p(3 / 2))
    expected[0, 1] = np.log1p(1e4 / 2 * np.log1p(3 / 1))
    expected[1, 0] = np.log1p(1e4 / 1 * np.log1p(3 / 2))
    np.testing.assert_allclose(tf_idf(matrix).toarray(), expected, rtol=1e-6)


def test_a_first_component_that_is_depth_is_dropped():
    random = np.random.default_rng(0)
    depth = random.integers(20, 200, 80)
    binary = (random.random((80, 300)) < depth[:, None] / 250).astype(np.float32)
    by_depth, correlation = reduce(sparse.csr_matrix(binary), binary.sum(axis=1), 5, 0)
    assert abs(correlation) > 0.9 and by_depth.shape == (80, 5)
    assert abs(np.corrcoef(by_depth[:, 0], depth)[0, 1]) < 0.75
    other, correlation = reduce(sparse.csr_matrix(binary), random.permutation(depth), 5, 0)
    assert abs(correlation) < 0.75 and other.shape == (80, 5)
    assert abs(np.corrcoef(other[:, 0], depth)[0, 1]) > 0.9
    np.testing.assert_allclose(other[:, 1:], by_depth[:, :4], atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 10), (3, 1), (5, 0), (4, 4)])
def test_reduce_of_next_to_nothing(shape):
    empty, correlation = reduce(sparse.csr_matrix(shape, dtype=np.float32), np.ones(shape[0]), 30, 0)
    assert correlation == 0
    np.testing.assert_array_equal(empty, np.zeros((shape[0], 1)))


def test_reduce_gives_fewer_components_for_small_matrices():
    matrix = sparse.csr_matrix(np.eye(4, 9, dtype=np.float32))
    points, _ = reduce(matrix, np.ones(4), 30, 0)
    assert points.shape == (4, 3) and np.isfinite(points).all()
