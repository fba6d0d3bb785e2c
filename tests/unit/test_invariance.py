"""With a real network: no bit of binding or activity depends on shards, blocks, bytes or threads."""

from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scbind.binding.activity import activity_matrix
from scbind.binding.choice import choose_windows
from scbind.binding.inference import Blocks, ShardOptions, infer_shard
from scbind.binding.network import NetworkFiles
from scbind.binding.readout import sequence_readout
from scbind.binding.referenceprofile import ProfileOptions, reference_profile
from scbind.binding.shards import Shard
from scbind.binding.windows import Windows
from scbind.models.predictor import load_predictor
from scbind.plan.settings import default_options

N_CELLS, NEIGHBOURS = 170, 4
SPAN = 100_000


@pytest.fixture(scope="module")
def sample(tiny, tiny_model, tmp_path_factory):
    """Cells of two kinds and of depths that differ tenfold; each borrows four others with weights."""
    folder = tmp_path_factory.mktemp("invariance")
    rng = np.random.default_rng(5)
    sites = np.concatenate([tiny["sites"]["chr1"], 60_000 + tiny["sites"]["chr2"]])
    depth = rng.integers(40, 400, N_CELLS)
    cell = np.repeat(np.arange(N_CELLS), depth)
    at_site = rng.choice(sites, len(cell)) + 500 * (cell % 2) + rng.integers(-150, 150, len(cell))
    position = np.where(rng.random(len(cell)) < 0.7, at_site, rng.integers(0, SPAN, len(cell)))
    order = np.argsort(position, kind="stable")
    np.save(folder / "position.npy", position[order].astype(np.uint32))
    np.save(folder / "cell.npy", cell[order].astype(np.uint32))
    borrow = sp.lil_matrix((N_CELLS, N_CELLS), dtype=np.float32)
    for row in range(N_CELLS):
        borrow[row, row] = 1
        for step in range(1, NEIGHBOURS + 1):
            borrow[row, (row + 2 * step) % N_CELLS] = rng.random()
    obs = pd.DataFrame({"pass": rng.random(N_CELLS) < 0.95}, index=[f"c{i}" for i in range(N_CELLS)])
    adata = ad.AnnData(obs=obs)
    adata.obsp["borrow"] = borrow.tocsr()
    adata.write_h5ad(folder / "cells.h5ad")
    network = load_predictor(*tiny_model[:2])
    (folder / "consensus.bed").write_text("chr1\t5000\t25000\nchr2\t3000\t13000\n")
    geometry = replace(tiny["geometry"], window=network.window, context=network.context)
    choose_windows(folder / "consensus.bed", tiny["reference"], None, folder / "windows.npz", geometry)
    files = {name: folder / f"{name}.npy" for name in ("position", "cell")} | {"cells": folder / "cells.h5ad"}
    sequence_readout(tiny_model[0], folder / "windows.npz", tiny["reference"], folder / "readout.npy")
    given = NetworkFiles(*tiny_model[:2], folder / "readout.npy", folder / "windows.npz", tiny["reference"])
    options = default_options(ProfileOptions, "infer", background_draws=7)
    reference_profile(given, {"s": files}, folder / "reference.npz", options)
    tiles = network.network.tile
    assert len(Windows.load(folder / "windows.npz")) > tiles[0] and obs["pass"].sum() > tiles[1]
    return given, files, folder / "reference.npz"


def run(sample, tmp_path, n_shards=1, threads=1, **blocks):
    """Codes of all TFs, and the activity file, of a run in some shards."""
    import torch

    given, files, profile = sample
    kept = default_options(ShardOptions, "infer", floor=0.01, max_error=0.004, sites=True)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for shard in range(n_shards):
            output = tmp_path / f"{shard}.npz"
            infer_shard(given, files, profile, output, kept, shard, n_shards, blocks=Blocks(**blocks))
    finally:
        torch.set_num_threads(before)
    paths = [tmp_path / f"{shard}.npz" for shard in range(n_shards)]
    opened = [Shard.open(path) for path in paths]
    codes = [np.concatenate([s.codes(tf) for s in opened]) for tf in range(len(opened[0].tfs))]
    activity_matrix(paths, files["cells"], tmp_path / "activity.h5ad")
    return codes, ad.read_h5ad(tmp_path / "activity.h5ad")


@pytest.fixture(scope="module")
def whole(sample, tmp_path_factory):
    codes, activity = run(sample, tmp_path_factory.mktemp("whole"))
    assert all(len(np.unique(code)) > 5 for code in codes) and activity.X.std() > 0.1
    return codes, activity


@pytest.mark.parametrize(
    "options",
    [
        {"cells": 40},
        {"n_shards": 3},
        {"n_shards": 3, "cells": 20, "max_bytes": 300_000},
        {"max_bytes": 1 << 20},
        {"threads": 2},
        {"n_shards": 2, "threads": 2, "cells": 50},
    ],
)
def test_no_bit_depends_on_how_the_work_is_cut(sample, whole, tmp_path, options):
    codes, activity = run(sample, tmp_path, **options)
    assert all(np.array_equal(*pair) for pair in zip(codes, whole[0], strict=True))
    assert activity.obs_names.equals(whole[1].obs_names)
    assert np.array_equal(activity.X, whole[1].X)
    assert set(activity.layers) == set(whole[1].layers)
    for name, layer in whole[1].layers.items():
        assert np.array_equal(activity.layers[name], layer), name
    assert np.array_equal(activity.obs["borrowed_depth"], whole[1].obs["borrowed_depth"])
