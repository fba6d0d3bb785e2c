import re
from pathlib import Path

import numpy as np
import pytest
from scbind.core.errors import InputError
from scbind.formats.genome import ChromSizes
from scbind.formats.signal import CellSignal, borrowed, n_bins, track_counts, window_blocks
from scipy import sparse

SIZES = ChromSizes(("chr1", "chr2"), np.array([5000, 3000]))
N_CELLS = 7


@pytest.fixture
def arrays(tmp_path):
    random = np.random.default_rng(1)
    position = np.sort(random.integers(0, SIZES.total, 4000)).astype(np.uint32)
    cell = random.integers(0, N_CELLS - 1, 4000).astype(np.uint32)  # the last cell has nothing
    np.save(tmp_path / "position.npy", position)
    np.save(tmp_path / "cell.npy", cell)
    return tmp_path, position, cell


def brute_force(position, cell, starts, width, bin_bp):
    counts = np.zeros((N_CELLS, len(starts), width // bin_bp), dtype=np.int64)
    for p, c in zip(position.tolist(), cell.tolist(), strict=True):
        for w, start in enumerate(starts):
            if start <= p < start + width:
                counts[c, w, (p - start) // bin_bp] += 1
    return counts


STARTS = np.array([0, 200, 400, 600, 600, 7000, 1000])  # overlapping, repeated, unsorted


def test_counts_equal_brute_force(arrays):
    folder, position, cell = arrays
    signal = CellSignal.open(folder / "position.npy", folder / "cell.npy", N_CELLS, SIZES)
    expected = brute_force(position, cell, STARTS.tolist(), 1000, 50)
    counts = signal.counts(STARTS, 1000, 50)
    assert counts.dtype == np.uint32 and counts.shape == (N_CELLS, len(STARTS) * 20)
    assert counts.has_canonical_format
    np.testing.assert_array_equal(counts.toarray().reshape(expected.shape), expected)
    assert expected.sum() > 2000
    np.testing.assert_array_equal(track_counts(position, STARTS, 1000, 50), expected.sum(axis=0))


@pytest.mark.parametrize("block", [1, 2, 3, 7, 100])
def test_blocks_of_windows_give_the_same_numbers(arrays, block):
    folder, _, _ = arrays
    signal = CellSignal.open(folder / "position.npy", folder / "cell.npy", N_CELLS, SIZES)
    whole = signal.counts(STARTS, 400, 100).toarray()
    parts = [signal.counts(STARTS[part], 400, 100).toarray() for part in window_blocks(len(STARTS), block)]
    np.testing.assert_array_equal(np.hstack(parts), whole)


@pytest.mark.parametrize("chunk", [1, 7, 500, 1 << 22])
def test_pieces_and_a_choice_of_cells_change_no_count(arrays, monkeypatch, chunk):
    folder, position, cell = arrays
    monkeypatch.setattr("scbind.formats.signal.CHUNK", chunk)
    signal = CellSignal.open(folder / "position.npy", folder / "cell.npy", N_CELLS, SIZES)
    expected = brute_force(position, cell, STARTS.tolist(), 400, 100)
    only = np.array([True, False, True, False, False, True, True])
    chosen = np.where(only[:, None, None], expected, 0)
    np.testing.assert_array_equal(signal.counts(STARTS, 400, 100).toarray().reshape(expected.shape), expected)
    some = signal.counts(STARTS, 400, 100, only=only)
    assert some.has_canonical_format and some.nnz == (chosen > 0).sum() < (expected > 0).sum()
    np.testing.assert_array_equal(some.toarray().reshape(expected.shape), chosen)
    folder.joinpath("copy").mkdir()
    copy = signal.copied(STARTS, 400, only, folder / "copy")
    inside = (position < 1400) | ((position >= 7000) & (position < 7400))
    assert copy.position.tolist() == position[inside & only[cell]].tolist()
    as_float = copy.counts(STARTS, 400, 100, dtype=np.float32)
    assert as_float.dtype == np.float32 and (as_float != some).nnz == 0
    nothing = signal.copied(STARTS, 400, np.zeros(N_CELLS, bool), folder / "copy")
    assert not nothing.counts(STARTS, 400, 100).nnz
    assert signal.within(STARTS, 400) == expected.sum()
    assert signal.largest_row() == N_CELLS - 2


def test_what_was_read_does_not_stay_in_memory(tmp_path):
    np.save(tmp_path / "position.npy", np.arange(4_000_000, dtype=np.uint32))
    np.save(tmp_path / "cell.npy", np.zeros(4_000_000, dtype=np.uint32))
    sizes = ChromSizes(("chr1",), np.array([4_000_000]))
    signal = CellSignal.open(tmp_path / "position.npy", tmp_path / "cell.npy", 1, sizes)

    def mapped():
        text = Path("/proc/self/smaps").read_text().split(str(tmp_path / "cell.npy"))
        return sum(int(re.search(r"Rss: +(\d+) kB", part)[1]) for part in text[1:])

    assert signal.cell.sum() == 0
    assert mapped() > 10_000
    assert signal.density(np.array([4_000_000])).tolist() == [1.0]
    assert mapped() < 1_000
    assert signal.largest_row() == 0 and mapped() < 1_000
    assert signal.position[-1] == 3_999_999  # still there


def test_bounds_are_half_open():
    position = np.array([99, 100, 149, 150, 299, 300], dtype=np.uint32)
    np.testing.assert_array_equal(track_counts(position, np.array([100]), 200, 50), [[2, 1, 0, 1]])
    cells = CellSignal(position, np.arange(6, dtype=np.uint32), 6, SIZES).counts(np.array([100]), 200, 50)
    assert sorted(zip(*(axis.tolist() for axis in cells.nonzero()), strict=True)) == [
        (1, 0),
        (2, 0),
        (3, 1),
        (4, 3),
    ]


def test_positions_near_the_uint32_limit():
    position = np.array([5, 2**32 - 3, 2**32 - 2], dtype=np.uint32)
    start = np.array([2**32 - 1 - 100])
    np.testing.assert_array_equal(track_counts(position, start, 100, 50), [[0, 2]])
    signal = CellSignal(position, np.zeros(3, dtype=np.uint32), 1, SIZES)
    np.testing.assert_array_equal(signal.counts(start, 100, 50).toarray(), [[0, 2]])


def test_search_does_not_copy_the_positions(arrays, monkeypatch):
    folder, position, _ = arrays
    seen = []
    search = np.searchsorted
    monkeypatch.setattr(
        np, "searchsorted", lambda a, v, **k: seen.append((a.dtype, v.dtype)) or search(a, v, **k)
    )
    track_counts(position, STARTS, 400, 100)
    assert seen and all(have == want for have, want in seen)  # another type would convert the whole track


def test_no_windows_and_no_insertions():
    empty = CellSignal(np.array([], np.uint32), np.array([], np.uint32), 3, SIZES)
    assert empty.counts(STARTS, 200, 50).nnz == 0
    assert empty.counts(np.array([], np.int64), 200, 50).shape == (3, 0)
    assert track_counts(empty.position, STARTS, 200, 50).sum() == 0
    assert track_counts(empty.position, np.array([], np.int64), 200, 50).shape == (0, 4)


@pytest.mark.parametrize("n_intervals", [0, 1, 2, 40])
def test_totals_within_count_each_insertion_once(arrays, monkeypatch, n_intervals):
    folder, position, cell = arrays
    monkeypatch.setattr("scbind.formats.signal.CHUNK", 333)
    random = np.random.default_rng(2)
    starts = random.integers(0, 7000, n_intervals)
    ends = starts + random.integers(1, 300, n_intervals)
    inside = ((position[:, None] >= starts) & (position[:, None] < ends)).any(axis=1)
    signal = CellSignal.open(folder / "position.npy", folder / "cell.npy", N_CELLS, SIZES)
    expected = np.bincount(cell[inside], minlength=N_CELLS)
    np.testing.assert_array_equal(signal.totals_within(starts, ends), expected)


def test_totals_within_touching_and_nested_intervals():
    position = np.arange(100, dtype=np.uint32)
    signal = CellSignal(position, np.zeros(100, dtype=np.uint32), 1, SIZES)
    for starts, ends, expected in [
        ([10, 20], [20, 30], 20),
        ([10, 12, 25], [30, 14, 31], 21),
        ([0], [100], 100),
        ([40, 5], [41, 6], 2),
    ]:
        assert signal.totals_within(np.array(starts), np.array(ends)) == [expected]


def test_borrowed_sums_rows_and_its_depth(arrays):
    folder, position, cell = arrays
    signal = CellSignal.open(folder / "position.npy", folder / "cell.npy", N_CELLS, SIZES)
    borrow = sparse.csr_matrix(
        np.array([[1, 0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1]], dtype=np.float32)
    )
    dense = brute_force(position, cell, STARTS.tolist(), 1000, 50)
    result = borrowed(signal.counts(STARTS, 1000, 50), borrow, n_bins(1000, 50))
    assert result.dtype == np.float32 and result.shape == (3, len(STARTS), 20)
    np.testing.assert_array_equal(result, np.stack([dense[0] + dense[2], 0 * dense[0], dense.sum(axis=0)]))
    total = np.bincount(cell, minlength=N_CELLS)
    known = SIZES.lengths - 10
    expected = np.array([total[0] + total[2], 0, total.sum()]) / known.sum()
    np.testing.assert_allclose(borrow @ signal.density(known), expected, rtol=1e-6)


def test_weighted_sums_do_not_depend_on_blocks(arrays):
    folder, position, cell = arrays
    signal = CellSignal.open(folder / "position.npy", folder / "cell.npy", N_CELLS, SIZES)
    weights = np.random.default_rng(0).random((5, N_CELLS)).astype(np.float32)
    borrow = sparse.csr_matrix(weights)
    whole = borrowed(signal.counts(STARTS, 1000, 50), borrow, 20)
    dense = brute_force(position, cell, STARTS.tolist(), 1000, 50)
    np.testing.assert_allclose(whole, np.einsum("bc,cwi->bwi", weights, dense), rtol=1e-5)
    for cells in (slice(0, 2), slice(2, 3), slice(3, 5)):
        for windows in window_blocks(len(STARTS), 2):
            part = borrowed(signal.counts(STARTS[windows], 1000, 50), borrow[cells], 20)
            assert part.tobytes() == np.ascontiguousarray(whole[cells, windows]).tobytes()


def test_density_looks_only_where_there_is_sequence_and_signal(arrays):
    folder, position, cell = arrays
    signal = CellSignal.open(folder / "position.npy", folder / "cell.npy", N_CELLS, SIZES)
    known = SIZES.lengths.copy()
    known[0] = 0  # no sequence
    beyond = position >= SIZES.offsets[1]
    expected = np.bincount(cell[beyond], minlength=N_CELLS) / known[1:].sum()
    np.testing.assert_allclose(signal.density(known), expected)
    assert signal.density(np.zeros_like(known)).tolist() == [0] * N_CELLS


@pytest.mark.parametrize(("width", "bin_bp"), [(1000, 300), (100, 0), (0, 10), (100, 200)])
def test_bins_must_fit(width, bin_bp):
    with pytest.raises(ValueError, match="cannot be cut"):
        track_counts(np.array([1], np.uint32), np.array([0]), width, bin_bp)


def test_refusals(arrays):
    folder, position, cell = arrays
    good = folder / "position.npy", folder / "cell.npy"
    with pytest.raises(InputError, match="no such file"):
        CellSignal.open(folder / "none.npy", good[1], N_CELLS, SIZES)
    np.save(folder / "short.npy", cell[:-1])
    with pytest.raises(InputError, match="short.npy: 3999 entries, but .* has 4000 insertions"):
        CellSignal.open(good[0], folder / "short.npy", N_CELLS, SIZES)
    np.save(folder / "int64.npy", position.astype(np.int64))
    with pytest.raises(InputError, match="expected a uint32 vector, got int64"):
        CellSignal.open(folder / "int64.npy", good[1], N_CELLS, SIZES)
    small = ChromSizes(("chr1",), np.array([100]))
    with pytest.raises(InputError, match="beyond the genome .100 bp."):
        CellSignal.open(*good, N_CELLS, small)
