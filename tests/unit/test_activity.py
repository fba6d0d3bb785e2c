import json
import tracemalloc

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scbind.analysis.activitytable import read_activity
from scbind.binding import activitysums
from scbind.binding.activity import activity_matrix
from scbind.binding.activitysums import SD_FLOOR, ActivitySums, background_corrected, top_two_votes
from scbind.binding.profile import Profile, depth_levels, matched_background
from scbind.binding.shards import ShardWriter
from scbind.core.errors import InputError
from scbind.formats.colours import colours_of

TFS = ["CTCF", "GATA1", "SPI1", "TAL1"]
W, DRAWS = 4000, 30


def corrected(sums):
    return sums.kept()["z"]


def sums_for(binding, background, n_cells, openness=None, depth=None):
    openness = np.ones(len(binding)) if openness is None else openness
    profile = Profile(np.ones(1), binding, openness, background)
    return ActivitySums(profile, np.ones(n_cells) if depth is None else depth)


def add_all(sums, insertions, step=1000):
    """Add insertions (cells, windows); predictions are irrelevant for z."""
    n_cells, n_windows = insertions.shape
    probability = np.full((n_cells, n_windows, sums.binding.shape[1]), 0.25, dtype=np.float32)
    for start in range(0, n_windows, step):
        block = slice(start, min(start + step, n_windows))
        weights = sums.weights(block.start, block.stop)
        seen = insertions[:, block] > 0
        sums.add(0, start, probability[:, block], insertions[:, block], weights, seen)
    return sums


@pytest.fixture(scope="module")
def world():
    """Windows with GC and accessibility, and where each TF binds in the reference (a tenth of them)."""
    rng = np.random.default_rng(0)
    gc, access = rng.normal(0.45, 0.08, W), rng.lognormal(3, 1, W)
    affinity = rng.random((W, len(TFS)))
    binding = (np.where(affinity > 0.9, 0.4, 0.01) * access[:, None] / (access[:, None] + 20)).astype(
        np.float32
    )
    return gc, access, affinity > 0.9, binding, matched_background(gc, access, DRAWS, 1)


def test_the_sums_hold_no_copy_of_the_reference(world, monkeypatch):
    monkeypatch.setattr(activitysums, "WINDOWS_AT_ONCE", 256)
    binding, background = np.full((W, 300), 0.3, np.float32), world[-1][:2]
    tracemalloc.start()
    sums = sums_for(binding, background, 1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sums.profile.binding is sums.binding and sums.binding.dtype == np.float32
    assert peak < 0.5 * binding.nbytes + 20 * background.size, "it is rounded in place"


def test_background_is_alike_never_itself_and_seeded(world):
    gc, access, _, _, background = world
    assert background.shape == (DRAWS, W) and background.dtype == np.int32
    assert (background != np.arange(W)).all()
    spread = np.abs(np.log(access)[background] - np.log(access)).mean()
    anywhere = np.abs(np.log(access) - np.log(access)[np.random.default_rng(2).permutation(W)]).mean()
    assert spread < anywhere / 4
    assert (
        np.abs(gc[background] - gc).mean() < np.abs(gc - np.random.default_rng(2).permutation(gc)).mean() / 4
    )
    assert np.array_equal(background, matched_background(gc, access, DRAWS, 1))
    assert not np.array_equal(background, matched_background(gc, access, DRAWS, 2))


def test_background_classes_do_not_follow_place_where_all_is_alike():
    background = matched_background(np.full(W, 0.5), np.zeros(W), 5, 0)
    assert np.abs(background - np.arange(W)).mean() > W / 5


@pytest.mark.parametrize("n", [1, 2, 7])
def test_background_of_few_windows(n):
    background = matched_background(np.linspace(0, 1, n), np.arange(n), 4, 0)
    assert background.shape == (4, n)
    assert (background != np.arange(n)).all() == (n > 1)


def test_sums_do_not_depend_on_blocks_and_follow_the_formula(world):
    _, access, _, binding, background = world
    depth = np.array([0.5, 1.0, 3.0])
    insertions = np.random.default_rng(1).poisson(np.outer(depth, access)).astype(np.float32)
    sums = [add_all(sums_for(binding, background, 3, access, depth), insertions, step) for step in (W, 333)]
    for name in sums[0].arrays:
        assert np.array_equal(sums[0].arrays[name], sums[1].arrays[name]), name
    response = insertions / np.outer(depth, access)
    assert response.max() < 50  # else it would be capped
    found = sums[0].arrays
    assert np.allclose(found["response_sum"], response @ binding, rtol=1e-3)
    assert np.allclose(found["background_sum"][:, 3], response[:, background[3]] @ binding, rtol=1e-3)
    assert np.allclose(found["binding_sum"], 0.25 * W)


def test_cells_are_corrected_in_blocks_and_the_background_sums_are_not_kept(world, monkeypatch):
    *_, binding, background = world
    insertions = np.random.default_rng(3).poisson(2, (5, W)).astype(np.float32)
    sums = add_all(sums_for(binding, background, 5), insertions)
    whole = sums.kept()
    assert tuple(whole) == ActivitySums.KEPT and whole["background_draws"] == DRAWS
    sizes = []
    real = activitysums.background_corrected
    monkeypatch.setattr(activitysums, "background_corrected", lambda *a: sizes.append(len(a[0])) or real(*a))
    monkeypatch.setattr(activitysums, "CELLS_AT_ONCE", 2)
    assert np.array_equal(sums.kept()["z"], whole["z"]) and sizes == [2, 2, 1]
    empty = sums_for(binding, background, 0).kept()
    assert empty["z"].shape == (0, 4) and empty["z"].dtype == np.float32


def test_a_cell_like_the_others_has_no_activity_and_depth_is_no_activity(world):
    _, access, _, binding, background = world
    cells = np.outer([1, 0.3, 2], access).astype(np.float32)
    z = corrected(add_all(sums_for(binding, background, 3, access), cells))
    assert np.abs(z).max() < 0.1 and z.dtype == np.float32


def test_the_tf_whose_sites_open_stands_out_and_the_cell_too(world):
    _, access, bound, binding, background = world
    cells = np.repeat(access[None], 3, axis=0).astype(np.float32)
    cells[1, bound[:, 2]] *= 1.5
    z = corrected(add_all(sums_for(binding, background, 3, access), cells))
    assert z[1].argmax() == 2 and z[1, 2] > 3
    assert z[:, 2].argmax() == 1
    assert np.abs(z[[0, 2]]).max() < 0.1


def test_accessibility_alone_is_no_activity_of_tfs_at_open_sites(world):
    """A cell whose open windows gain lifts TFs that bind open windows; matching takes that out."""
    _, access, bound, _, background = world
    binding = np.where(bound, 0.3, 0.01).astype(np.float32)
    binding[:, 0] *= access > np.median(access)  # the first TF binds open windows only
    rise = np.where(access > np.median(access), 1.6, 0.8)
    sums = add_all(sums_for(binding, background, 1, access), (access * rise)[None].astype(np.float32))
    ratio = np.log(sums.arrays["response_sum"] / sums.binding.sum(axis=0))[0]
    assert ratio[0] > ratio[1:].max() + 0.2  # uncorrected, it looks most active
    assert np.abs(corrected(sums)[0]).max() < 3


def test_activity_keeps_its_level_at_low_depth_and_tells_types_apart(world):
    """Poisson counts of cells at a tenth: no shift of cells without activity, and the active ones stay above."""
    _, access, bound, binding, background = world
    rng = np.random.default_rng(5)
    rate = np.repeat((access / 20)[None], 40, axis=0)
    rate[20:, bound[:, 1]] *= 1.6  # active in the second half
    for depth in (1.0, 0.1):
        cells = rng.poisson(depth * rate).astype(np.float32)
        z = corrected(add_all(sums_for(binding, background, 40, access / 20, np.full(40, depth)), cells))
        assert abs(z[:20].mean()) < 0.6
        assert (z[20:, 1, None] > z[:20, 1]).mean() > 0.9


def test_activity_does_not_follow_depth(world):
    _, access, _, binding, background = world
    depth = np.geomspace(0.1, 3, 60)
    cells = np.random.default_rng(6).poisson(np.outer(depth, access / 20)).astype(np.float32)
    z = corrected(add_all(sums_for(binding, background, 60, access / 20, depth), cells))
    trend = [np.corrcoef(np.log(depth), column)[0, 1] for column in z.T]
    assert abs(np.mean(trend)) < 0.2 and np.abs(trend).max() < 0.4


def test_levels():
    depth = np.array([0.01, 0.1, *[1.0] * 20, 50.0])
    levels = depth_levels(depth)
    assert np.allclose(levels, np.geomspace(0.01, 1, 5)) and levels.dtype == np.float32
    assert depth_levels(np.full(3, 3.0)) == pytest.approx([2.0, 3.0])  # two at least, and apart
    assert len(depth_levels(np.geomspace(1, 3, 50))) == 3
    # a few cells without a fragment to speak of, or with none, do not draw the levels to them
    assert np.allclose(
        depth_levels(np.concatenate([[0.0, 1e-9, 1e-9], np.geomspace(1, 10, 997)])),
        np.geomspace(1, 10, 5),
        rtol=0.25,
    )


def test_cells_without_insertions_and_tfs_without_sites_stay_finite():
    drawn = np.ones((2, 3, 2))
    drawn[1] = 0
    drawn[:, :, 1] = 0
    z = background_corrected(np.array([[0.5, 0.0], [0.0, 0.0]]), drawn, np.full((2, 2), 100.0))
    assert np.isfinite(z).all() and z[0, 0] < 0
    assert z[0, 1] == z[1, 0] == z[1, 1] == 0


def test_tiny_spread_is_not_believed():
    z = background_corrected(np.array([[1.01]]), np.full((1, 5, 1), 1.0), np.full((1, 1), 1e6))
    assert z[0, 0] == pytest.approx(np.log(1.01) / SD_FLOOR, rel=1e-5)


def test_a_cell_that_the_openness_was_made_of_has_no_activity_though_most_windows_are_empty(world):
    _, _, _, binding, background = world
    cell = np.random.default_rng(0).poisson(0.3, (1, W)).astype(np.float32)
    sums = add_all(sums_for(binding, background, 1, cell[0].astype(float)), cell)
    assert np.abs(corrected(sums)).max() < 1e-3


@pytest.mark.parametrize("insertions", [5, 40, 300])
def test_few_insertions_do_not_make_an_extreme_z(insertions):
    """A TF with 20 sites and one with 2,000, in cells with few insertions in 20,000 windows that do not differ."""
    rng, n, cells = np.random.default_rng(0), 20_000, 200
    binding = np.zeros((n, 2), dtype=np.float32)
    binding[rng.choice(n, 20, replace=False), 0] = binding[rng.choice(n, 2_000, replace=False), 1] = 1
    openness = rng.lognormal(0, 1, n)
    background = matched_background(rng.normal(0.45, 0.08, n), openness, DRAWS, 1)
    counts = rng.multinomial(insertions, openness / openness.sum(), cells).astype(np.float32)
    sums = sums_for(binding, background, cells, openness, np.full(cells, insertions / openness.sum()))
    z = corrected(add_all(sums, counts, step=5_000))
    assert np.abs(z).max() < 8 and np.abs(np.median(z, axis=0)).max() < 1


def test_one_window_that_is_closed_in_other_cells_does_not_rule(world):
    _, access, _, binding, background = world
    openness = access.copy()
    openness[7] = 1e-9
    cells = access[None].astype(np.float32)  # a response of a thousand million at this window
    sums = add_all(sums_for(binding, background, 1, openness), cells)
    ratio = sums.arrays["background_sum"] / sums.binding.sum(axis=0)
    assert 1 < ratio.max() < 1.5


def test_votes_by_hand():
    probability = np.array(
        [[[0.9, 0.1, 0.8, 0.0], [0.5, 0.5, 0.5, 0.5], [0.0, 0.1, 0.2, 0.3]], [[0.1, 0.2, 0.3, 0.4]] * 3],
        dtype=np.float32,
    )
    signal = np.array([[True, True, False], [False, False, True]])
    assert top_two_votes(probability, signal).tolist() == [[2, 1, 1, 0], [0, 0, 1, 1]]
    assert top_two_votes(probability, np.zeros((2, 3), bool)).sum() == 0
    assert top_two_votes(probability[:, :, :1], signal).tolist() == [[2], [1]]


@pytest.fixture
def shards(tmp_path, world):
    """Five passing cells of six in two shards."""
    *_, binding, background = world
    rng = np.random.default_rng(4)
    paths = []
    for number, rows in enumerate(([0, 1, 3], [4, 5])):
        probability = (binding * rng.random((len(rows), W, 4))).astype(np.float32)
        counts = rng.poisson(3, (len(rows), W)).astype(np.float32)
        sums = sums_for(binding, background, len(rows))
        everywhere = np.ones(counts.shape, dtype=bool)
        sums.add(0, 0, probability, counts, sums.weights(0, W), everywhere)
        with ShardWriter(TFS, 0.1, tmp_path / f"{number}.npz") as writer:
            writer.add(0, 0, probability)
            reliability = json.dumps(
                {
                    "CTCF": {
                        "level": "high",
                        "auprc": 0.7,
                        "auprc_at": [[0.0, 0.7]],
                        "min_depth": 2.0,
                        "abstained": False,
                        "spread": None,
                    },
                    "SPI1": {
                        "level": "low",
                        "auprc": 0.05,
                        "auprc_at": [],
                        "min_depth": None,
                        "abstained": True,
                        "spread": 0.02,
                    },
                    "GATA1": {
                        "level": "medium",
                        "auprc": 0.3,
                        "auprc_at": [],
                        "min_depth": 4.5,
                        "abstained": False,
                        "spread": 0.01,
                    },
                }  # fmt: skip
            )
            extra = {
                "depth": np.array(rows, dtype=np.float32),
                "reliability": np.str_(reliability),
                **sums.kept(),
            }
            paths.append(writer.output)
            writer.finish(np.array(rows), W, extra)
    obs = pd.DataFrame(
        {"pass": [True, True, False, True, True, True], "cell_type": pd.Categorical(list("ababab"))},
        index=[f"c{i}" for i in range(6)],
    )
    adata = ad.AnnData(obs=obs, obsm={"X_umap": rng.random((6, 2)), "X_lsi": rng.random((6, 5))})
    adata.write_h5ad(tmp_path / "cells.h5ad")
    return paths


def test_activity_file(tmp_path, shards):
    (tmp_path / "metrics.tsv").write_text(
        "model\tcell_line\ttf\tsplit\tauprc\nm\tA\tCTCF\ttest\t0.2\nm\tB\tCTCF\ttest\t0.4\nm\tA\tXX\ttest\t0.9\n"
        "m\tA\tCTCF\tscfan_protocol\t0.9\n"
    )
    activity_matrix(shards[::-1], tmp_path / "cells.h5ad", tmp_path / "a.h5ad", tmp_path / "metrics.tsv")
    got, cells = ad.read_h5ad(tmp_path / "a.h5ad"), ad.read_h5ad(tmp_path / "cells.h5ad")
    assert got.obs_names.tolist() == ["c0", "c4", "c1", "c3", "c5"] and got.var_names.tolist() == TFS
    assert got.X.dtype == np.float32 and np.isfinite(got.X).all() and got.X.std() > 0
    assert got.obs["cell_type"].tolist() == list("aabbb"), "the order of the binding store"
    assert got.obs["borrowed_depth"].tolist() == [0, 4, 1, 3, 5]
    assert np.array_equal(got.obsm["X_umap"], cells.obsm["X_umap"][[0, 4, 1, 3, 5]])
    assert got.obsm["X_lsi"].shape == (5, 5)
    with np.load(shards[0]) as first:
        assert np.allclose(got.layers["mean_binding"][[0, 2, 3]], first["binding_sum"] / W, rtol=1e-6)
    assert np.allclose(got.layers["scfan_score"].sum(axis=1), 1)
    assert got.var["test_auprc"].iloc[0] == pytest.approx(0.3)
    assert got.var["test_auprc"].isna().tolist() == [False, True, True, True]
    assert "auprc_at" not in got.var and "scfan_protocol_auprc" not in got.var
    shallow = got.layers["abstained"]
    assert shallow.dtype == bool and np.isfinite(got.X[shallow]).all()
    assert shallow.T.tolist() == [
        [True, False, True, False, False],  # CTCF needs a depth of 2 insertions per base
        [True, True, True, True, False],
        [True] * 5,  # low
        [True] * 5,  # nothing is known
    ]
    assert got.var["abstained"].tolist() == [False, False, True, True]
    var = got.var.loc[["CTCF", "SPI1", "GATA1"]]
    assert var["level"].tolist() == ["high", "low", "medium"] and var["auprc"].tolist() == [0.7, 0.05, 0.3]
    assert var["spread"].iloc[1:].tolist() == [0.02, 0.01] and np.isnan(var["spread"].iloc[0])
    assert var["min_depth"].iloc[[0, 2]].tolist() == [2.0, 4.5] and np.isnan(var["min_depth"].iloc[1])
    assert "Fu" in got.uns["about"]["scfan_score"]
    assert list(got.uns["cell_type_colors"]) == [colours_of("ab")[name] for name in "ab"]


def test_a_type_has_the_colour_of_the_report_in_every_sample(tmp_path, shards):
    activity_matrix(shards, tmp_path / "cells.h5ad", tmp_path / "a.h5ad", types=["B", "a", "aa", "b"])
    got = ad.read_h5ad(tmp_path / "a.h5ad")
    known = colours_of(["B", "a", "aa", "b"])
    assert list(got.uns["cell_type_colors"]) == [known["a"], known["b"]]
    assert len(set(known.values())) == 4


def test_columns_without_a_value_are_left_out(tmp_path, shards):
    cells = ad.read_h5ad(tmp_path / "cells.h5ad")
    cells.obs["donor"] = pd.Categorical([None, None, "d1", None, None, None])  # of a cell that failed
    cells.obs["doublet_score"] = np.nan
    cells.write_h5ad(tmp_path / "cells.h5ad")
    activity_matrix(shards, tmp_path / "cells.h5ad", tmp_path / "a.h5ad")
    assert list(ad.read_h5ad(tmp_path / "a.h5ad").obs) == ["pass", "cell_type", "borrowed_depth"]


def test_a_missing_shard_is_refused(tmp_path, shards):
    with pytest.raises(InputError, match="shards hold 3 cells, not the 5 passing cells"):
        activity_matrix(shards[:1], tmp_path / "cells.h5ad", tmp_path / "a.h5ad")
    with pytest.raises(InputError, match="shards hold 8 cells"):
        activity_matrix([*shards, shards[0]], tmp_path / "cells.h5ad", tmp_path / "a.h5ad")
    with pytest.raises(InputError, match="no shard"):
        activity_matrix([], tmp_path / "cells.h5ad", tmp_path / "a.h5ad")
    assert not (tmp_path / "a.h5ad").exists()


def test_metrics_without_a_column_are_refused(tmp_path, shards):
    (tmp_path / "metrics.tsv").write_text("model\ttf\nm\tCTCF\n")
    with pytest.raises(InputError, match="metrics.tsv: has no column auprc, split"):
        activity_matrix(shards, tmp_path / "cells.h5ad", tmp_path / "a.h5ad", tmp_path / "metrics.tsv")


def test_reading_the_activity_of_many_cells_makes_no_second_copy(tmp_path):
    """Two tables of float64, and while one of them is joined, the file (9 bytes per value) and a part of it."""
    n, n_tfs = 3000, 100
    z = np.zeros((n, n_tfs), dtype=np.float32)
    obs = pd.DataFrame({"cell_type": "a", "sample": "s", "pass": True}, index=[f"s#{i}" for i in range(n)])
    data = ad.AnnData(z, obs=obs, layers={"mean_binding": z, "abstained": z > 1})
    data.var_names = [f"T{i}" for i in range(n_tfs)]
    data.write_h5ad(tmp_path / "a.h5ad")
    read_activity([tmp_path / "a.h5ad"])  # what is imported on the first call does not count
    tracemalloc.start()
    found = read_activity([tmp_path / "a.h5ad"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.z.shape == z.shape and peak < 46 * z.size
