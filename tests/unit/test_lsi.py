import numpy as np
import pytest
from scbind.cells.lsi import TileMatrix, Tiling, spectral
from scbind.core.errors import InputError
from scbind.formats.genome import ChromSizes
from scbind.formats.signal import CellSignal
from sklearn.decomposition import TruncatedSVD

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
    monkeypatch.setattr("scbind.cells.lsi.CHUNK", chunk)
    signals = [random_signal(0), random_signal(1)]
    rows = [np.array([0, 1, -1, 2, 3, -1, 4, 5]), np.array([6, -1, 7, 8, 9, 10, 11, 12])]
    parts = list(TILING.pairs(signals, rows))
    assert (len(parts) > 2) == (chunk < 600)
    found = [pair for tile, row in parts for pair in zip(tile.tolist(), row.tolist(), strict=True)]
    assert found == sorted(brute_force(signals[0], rows[0]) + brute_force(signals[1], rows[1]))


def test_tiles_are_cut_at_a_bounded_number_of_places(monkeypatch):
    monkeypatch.setattr("scbind.cells.lsi.GRID", 4)
    monkeypatch.setattr("scbind.cells.lsi.CHUNK", 1)
    parts = list(TILING.pairs([random_signal(0)], [np.arange(8)]))
    assert len(parts) == 5  # steps of 7 tiles: three on chr1, two on chr2
    assert sum(len(tile) for tile, _ in parts) == len(brute_force(random_signal(0), np.arange(8)))


def test_tiles_start_anew_on_each_chromosome():
    assert TILING.first.tolist() == [0, 21, 31]
    chrom, start, end = np.array([0, 0, 1, 1]), np.array([99, 2040, 0, 500]), np.array([101, 9999, 100, 500])
    assert np.flatnonzero(TILING.touched(chrom, start, end)).tolist() == [0, 1, 20, 21]


def dense_of(matrix):
    dense = np.zeros((matrix.n_cells, len(matrix.tiles)))
    for tiles, block in matrix.blocks():
        dense[:, tiles] = block.toarray()
    return dense


def write(path, signals, rows, excluded=None, min_cells=1, max_tiles=1000, tiling=TILING):
    excluded = np.zeros(tiling.first[-1], dtype=bool) if excluded is None else excluded
    return TileMatrix.write(path, signals, rows, tiling, excluded, min_cells, max_tiles)


def test_tile_matrix_keeps_the_most_variable_tiles(tmp_path, monkeypatch):
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
    matrix = write(tmp_path / "rows", signals, rows, excluded, 6)
    np.testing.assert_array_equal(matrix.tiles, np.flatnonzero(usable))
    assert usable.sum() > 20 and matrix.n_cells == 15
    for block in (1, 13, 1 << 20):
        monkeypatch.setattr("scbind.cells.lsi.BLOCK", block)
        np.testing.assert_array_equal(dense_of(matrix), dense[:, matrix.tiles])
        assert (len(list(matrix.blocks())) == 1) == (block > 100)
    assert (tmp_path / "rows").stat().st_size == 4 * matrix.start[-1]
    matrix = write(tmp_path / "rows", signals, rows, excluded, 6, 5)
    p = cells / 15
    assert len(matrix.tiles) == 5 and (np.diff(matrix.tiles) > 0).all()
    left = np.setdiff1d(np.flatnonzero(usable), matrix.tiles)
    assert (p * (1 - p))[matrix.tiles].min() >= (p * (1 - p))[left].max()
    np.testing.assert_array_equal(dense_of(matrix), dense[:, matrix.tiles])


@pytest.mark.parametrize("block", [1, 13, 1 << 20])
def test_rows_of_some_cells_in_memory(tmp_path, monkeypatch, block):
    matrix = write(tmp_path / "rows", [random_signal(1)], [np.arange(8)])
    dense = dense_of(matrix)
    monkeypatch.setattr("scbind.cells.lsi.BLOCK", block)
    for cells in ([1, 4, 7], [], list(range(8))):
        found = matrix.in_memory(np.array(cells, dtype=np.int64))
        assert found.dtype == np.float32 and found.format == "csr"
        np.testing.assert_array_equal(found.toarray(), dense[cells])


def test_a_scratch_file_that_was_cut_short_is_refused(tmp_path):
    matrix = write(tmp_path / "rows", [random_signal(1)], [np.arange(8)])
    (tmp_path / "rows").write_bytes(b"1234" * 10)
    with pytest.raises(InputError, match="rows: the temporary file is truncated"):
        list(matrix.blocks())


def groups_signal(n_cells, seed=0):
    """Cells of three kinds, of very different depth, over 300 tiles of 100 bp."""
    random = np.random.default_rng(seed)
    kind = np.arange(n_cells) % 3
    depth = random.integers(20, 200, n_cells)
    own = [np.concatenate([random.choice(100, d // 2) * 3 + k, random.integers(0, 300, d - d // 2)])
           for k, d in zip(kind, depth, strict=True)]  # fmt: skip
    cell = np.repeat(np.arange(n_cells), depth)
    position = np.concatenate(own) * 100 + random.integers(0, 100, len(cell))
    order = np.argsort(position, kind="stable")
    sizes = ChromSizes(("chr1",), np.array([30_000]))
    signal = CellSignal(position[order].astype(np.uint32), cell[order].astype(np.uint32), n_cells, sizes)
    return signal, kind, depth


def by_definition(binary, k):
    """The embedding from the dense graph of cells."""
    weighted = binary * np.log(len(binary) / binary.sum(axis=0))
    weighted /= np.linalg.norm(weighted, axis=1, keepdims=True)
    similar = weighted @ weighted.T
    np.fill_diagonal(similar, 0)
    root = np.sqrt(similar.sum(axis=1))
    value, vector = np.linalg.eigh(similar / np.outer(root, root))
    order = np.argsort(-value)[1 : k + 1]  # the first is depth
    return vector[:, order] * value[order], weighted / root[:, None]


@pytest.mark.parametrize("n_cells", [60, 400])  # exact; by iteration
def test_the_embedding_is_that_of_the_graph_of_cells(tmp_path, monkeypatch, n_cells):
    signal, kind, depth = groups_signal(n_cells)
    matrix = write(tmp_path / "rows", [signal], [np.arange(n_cells)], tiling=Tiling(signal.sizes, 100))
    points = spectral(matrix, 4, 0)
    expected, weighted = by_definition(dense_of(matrix), 4)
    assert points.dtype == np.float32 and points.shape == (n_cells, 4)
    for column in range(2):  # those after them are noise
        sign = np.sign(points[:, column] @ expected[:, column])
        np.testing.assert_allclose(sign * points[:, column], expected[:, column], atol=1e-6)
    assert (points[np.abs(points).argmax(axis=0), np.arange(4)] > 0).all()
    # The same with cells similar to themselves is a truncated singular value decomposition.
    svd = TruncatedSVD(3, algorithm="arpack", random_state=0).fit_transform(weighted)[:, 1:]
    for column in range(2):
        assert abs(np.corrcoef(svd[:, column], points[:, column])[0, 1]) > 0.97
    assert max(abs(np.corrcoef(points[:, i], np.log(depth))[0, 1]) for i in range(2)) < 0.3
    means = np.stack([points[kind == k, :2].mean(axis=0) for k in range(3)])
    far = np.linalg.norm(points[:, None, :2] - means[None], axis=2)
    assert (far.argmin(axis=1) == kind).mean() > 0.95
    monkeypatch.setattr("scbind.cells.lsi.BLOCK", 700)
    np.testing.assert_allclose(spectral(matrix, 4, 0), points, atol=1e-6)


def test_the_iteration_repeats_and_hangs_on_its_seed_little(tmp_path):
    signal, _, _ = groups_signal(400)
    matrix = write(tmp_path / "rows", [signal], [np.arange(400)], tiling=Tiling(signal.sizes, 100))
    first = spectral(matrix, 2, 0)
    assert spectral(matrix, 2, 0).tobytes() == first.tobytes()
    np.testing.assert_allclose(spectral(matrix, 2, 1), first, atol=1e-6)


@pytest.mark.parametrize("tiles", [[], [[0]], [[0, 1, 2], []], [[0, 0], [5], [9]]])
def test_cells_with_nothing_in_common_lie_nowhere(tmp_path, tiles):
    cell = np.repeat(np.arange(len(tiles)), [len(t) for t in tiles])
    position = np.array([t for of_cell in tiles for t in of_cell], dtype=np.uint32) * 100
    order = np.argsort(position, kind="stable")
    signal = CellSignal(position[order], cell[order].astype(np.uint32), max(len(tiles), 1), SIZES)
    matrix = write(tmp_path / "rows", [signal], [np.arange(max(len(tiles), 1))])
    np.testing.assert_array_equal(spectral(matrix, 30, 0), np.zeros((max(len(tiles), 1), 1)))


def test_tiles_outside_chromosomes():
    np.testing.assert_array_equal(TILING.outside(["chr2"]), np.arange(31) < 21)
    assert TILING.outside([]).all() and not TILING.outside(["chr1", "chr2"]).any()
