import numpy as np
import pytest
from scbind.cells import doublets
from scbind.cells.doublets import doublet_scores, sample_scores
from scbind.cells.lsi import TileMatrix
from scipy import sparse
from sklearn.metrics import roc_auc_score


def cells_of(share, seed=0, tiles=600, depth=60):
    """Binary cells: row i opens tiles of the first half with chance share[i], else of the second."""
    random = np.random.default_rng(seed)
    half = random.random((len(share), depth)) >= np.array(share)[:, None]
    tile = random.integers(0, tiles // 2, half.shape) + half * (tiles // 2)
    rows = np.repeat(np.arange(len(share)), depth)
    matrix = sparse.coo_matrix(
        (np.ones(tile.size, dtype=np.float32), (rows, tile.ravel())), shape=(len(share), tiles)
    ).tocsr()
    matrix.data[:] = 1
    return matrix


def test_mixtures_score_high_and_pure_cells_low():
    share = [1.0] * 120 + [0.0] * 120 + [0.5] * 8
    score = doublet_scores(cells_of(share), 0)
    assert roc_auc_score(np.arange(248) >= 240, score) > 0.97
    assert (score[:240] > 0.3).sum() == 0 and (score[240:] > np.quantile(score[:240], 0.9)).mean() >= 0.75
    assert 0.01 < np.median(score[:240]) < 0.1  # what was expected before looking is 0.05


def test_cells_of_one_type_are_hardly_doublets_however_deep():
    deep = cells_of([1.0] * 10, 1, depth=150)
    matrix = sparse.vstack([cells_of([1.0] * 150), deep])
    score = doublet_scores(sparse.csr_matrix(matrix), 0)
    assert (score > 0.3).mean() < 0.02 and score[-10:].mean() < 0.25


def test_blocks_and_runs_give_the_same(monkeypatch):
    matrix = cells_of([1.0] * 40 + [0.0] * 40)
    first = doublet_scores(matrix, 3)
    np.testing.assert_array_equal(first, doublet_scores(matrix, 3))
    assert (first != doublet_scores(matrix, 4)).any()
    monkeypatch.setattr(doublets, "BLOCK", 7)
    other = doublet_scores(matrix, 3)  # other pairs are drawn, of the same kind
    assert np.isfinite(other).all() and abs(other.mean() - first.mean()) < 0.05


def on_disk(matrix, path):
    columns = matrix.tocsc()
    columns.sort_indices()
    columns.indices.astype("<i4").tofile(path)
    return TileMatrix(path, columns.indptr.astype(np.int64), np.arange(matrix.shape[1]), matrix.shape[0])


def test_large_samples_are_scored_in_batches_that_are_like_the_sample(tmp_path, monkeypatch):
    share = [1.0] * 240 + [0.0] * 240 + [0.5] * 16
    matrix = cells_of(share)
    stored = on_disk(matrix, tmp_path / "rows")
    np.testing.assert_array_equal(sample_scores(stored, 5), doublet_scores(matrix, 5))
    sizes = []
    scores = doublets.doublet_scores
    monkeypatch.setattr(doublets, "BATCH", 200)
    monkeypatch.setattr(
        doublets, "doublet_scores", lambda m, seed: [sizes.append(m.shape[0]), scores(m, seed)][1]
    )
    score = sample_scores(stored, 5)
    assert sizes == [166, 165, 165] and np.isfinite(score).all()
    assert roc_auc_score(np.arange(496) >= 480, score) > 0.9 and (score[:480] > 0.3).mean() < 0.02
    np.testing.assert_array_equal(score, sample_scores(stored, 5))
    sizes.clear()
    monkeypatch.setattr(doublets, "OPEN", matrix.nnz // 3)
    sample_scores(stored, 5)
    assert sizes == [124] * 4  # of deep cells


@pytest.mark.parametrize(
    "matrix",
    [
        cells_of([1.0, 0.0] * 24),
        sparse.csr_matrix((60, 5)),
        sparse.csr_matrix(np.arange(60.0)[:, None] % 2),  # of one tile
    ],
)
def test_too_little_is_not_scored(matrix):
    assert np.isnan(doublet_scores(matrix, 0)).all()
