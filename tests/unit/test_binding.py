import json

import anndata as ad
import numpy as np
import pandas as pd
import pyBigWig
import pysam
import pytest
from scbind.binding import (
    MAX_ERROR,
    Shard,
    ShardWriter,
    cell_type_tracks,
    merge_shards,
    open_binding,
    quantise,
    read_passing,
)
from scbind.errors import InputError
from scbind.windows import Windows

TFS = ["CTCF", "GATA1"]
CHROM = np.array([0] * 6 + [1] * 4, dtype=np.int16)
START = np.array([100, 150, 200, 250, 900, 950, 0, 50, 400, 450], dtype=np.int32)
ROWS = [[0, 2], [3, 4, 5]]
FLOOR = 0.05
RELIABILITY = {
    "CTCF": {"level": "high", "min_depth": 2.5, "abstained": False},
    "GATA1": {"level": "low", "min_depth": None, "abstained": True},
}


def write_shard(path, rows, probability, tfs=TFS, floor=FLOOR, step=4):
    with ShardWriter(tfs, floor, path.parent) as writer:
        for window in reversed(range(0, probability.shape[1], step)):  # any order will do
            writer.add(0, window, probability[:, window : window + step])
        extra = {"depth": np.array(rows, np.float32), "reliability": np.str_(json.dumps(RELIABILITY))}
        writer.finish(path, np.array(rows), probability.shape[1], extra)
    return path


@pytest.fixture
def made(tmp_path):
    return make(tmp_path)


def make(tmp_path):
    """Six cells, the second fails; ten windows of 200 bp that overlap; P with many values under the floor."""
    rng = np.random.default_rng(0)
    probability = (rng.random((5, 10, 2)) ** 3).astype(np.float32)
    probability[:, 9, :] = 0  # a window that nothing binds
    ref = tmp_path / "ref"
    ref.mkdir()
    (ref / "chrom.sizes").write_text("chr1\t2000\nchr2\t1000\n")
    np.save(ref / "sequence.npy", np.zeros(3000, np.uint8))
    np.savez(
        tmp_path / "windows.npz", chrom=CHROM, start=START, peak=np.arange(10, dtype=np.int32),
        gc=np.full(10, 0.5, np.float32), window=200, context=400, step=50,
    )  # fmt: skip
    obs = pd.DataFrame(
        {"pass": [True, False, True, True, True, True], "cell_type": pd.Categorical(list("aabbba"))},
        index=[f"c{i}" for i in range(6)],
    )
    ad.AnnData(obs=obs, obsm={"X_umap": np.zeros((6, 2))}).write_h5ad(tmp_path / "cells.h5ad")
    shards = [
        write_shard(tmp_path / "0.npz", ROWS[0], probability[:2]),
        write_shard(tmp_path / "1.npz", ROWS[1], probability[2:]),
    ]
    return tmp_path, probability, shards


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A store that is only read."""
    folder, probability, shards = make(tmp_path_factory.mktemp("stored"))
    return merge(folder, shards), probability


def merge(folder, shards, **options):
    merge_shards(
        shards, folder / "windows.npz", folder / "cells.h5ad", folder / "ref", folder / "s.zarr", **options
    )
    return open_binding(folder / "s.zarr")


def kept(probability):
    return np.where(probability >= np.float32(FLOOR), np.rint(probability * 255) / 255, 0)


def test_codes_are_within_the_stated_error_or_absent():
    probability = np.linspace(0, 1, 5001, dtype=np.float32)
    codes = quantise(probability, 0.02)
    stored = codes > 0
    assert np.array_equal(stored, probability >= np.float32(0.02))
    assert np.abs(codes / 255 - probability)[stored].max() <= MAX_ERROR + 1e-6
    assert codes.max() == 255


@pytest.mark.parametrize("step", [1, 3, 10])
def test_shard_holds_what_was_added_whatever_the_blocks(tmp_path, step):
    probability = (np.random.default_rng(1).random((3, 10, 2)) ** 3).astype(np.float32)
    shard = Shard.open(write_shard(tmp_path / "x.npz", [1, 5, 6], probability, step=step))
    for t in range(2):
        layer = shard.layer(t)
        assert layer.dtype == np.uint8 and layer.has_sorted_indices
        assert np.array_equal(layer.toarray(), quantise(probability, FLOOR)[:, :, t])
    assert shard.tfs == TFS and shard.n_windows == 10 and shard.rows.tolist() == [1, 5, 6]
    assert [p.name for p in tmp_path.iterdir()] == ["x.npz"]  # the spilled entries are gone


def test_store_is_read_by_anndata_as_it_is(made):
    folder, probability, shards = made
    merge(folder, shards[::-1], provenance={"model": "m"})
    adata = ad.read_zarr(folder / "s.zarr")
    assert adata.obs_names.tolist() == ["c0", "c2", "c3", "c4", "c5"]
    assert adata.obs["cell_type"].tolist() == list("abbba")
    assert (
        adata.var["start"].tolist() == START.tolist() and adata.var["end"].tolist() == (START + 200).tolist()
    )
    assert adata.var["chrom"].tolist() == ["chr1"] * 6 + ["chr2"] * 4
    assert adata.var_names[0] == "chr1:100-300"
    assert set(adata.layers) == set(TFS) and "X_umap" in adata.obsm
    for t, tf in enumerate(TFS):
        assert adata.layers[tf].dtype == np.uint8
        assert np.allclose(adata.layers[tf].toarray() / adata.uns["scale"], kept(probability[:, :, t]))
    assert adata.uns["floor"] == FLOOR and adata.uns["max_error"] == pytest.approx(1 / 510)
    assert json.loads(adata.uns["provenance"]) == {"model": "m"}
    store = open_binding(folder / "s.zarr")
    assert store.reliability == RELIABILITY
    assert store.abstained.T.tolist() == [[True, True, False, False, False], [True] * 5]


@pytest.mark.parametrize(
    "cells",
    [
        slice(None),
        slice(1, 4),
        [3, 0, 3],
        np.array([True, False, True, False, True]),
        ["c5", "c0"],
        [-1],
        [],
    ],
)
@pytest.mark.parametrize("region", [slice(None), slice(2, 5), [7, 1], np.arange(10) % 2 == 0, "chr2"])
def test_reader_gives_cells_and_regions(stored, cells, region):
    store, probability = stored
    rows = cells
    if isinstance(cells, list) and "c5" in cells:
        rows = [4, 0]
    columns = np.arange(6, 10) if isinstance(region, str) else region
    expected = kept(probability[:, :, 1])[np.asarray(rows, int) if isinstance(rows, list) else rows][
        :, columns
    ]
    got = store[cells, region, "GATA1"]
    assert got.dtype == np.float32
    assert np.allclose(got.toarray(), expected, atol=1e-7)


def test_regions_are_half_open(made):
    folder, _, shards = made
    store = merge(folder, shards)
    assert store.windows_in("chr1:300-350").tolist() == [1, 2, 3]  # [100, 300) ends before
    assert store.windows_in("chr1:0-100").tolist() == []
    assert store.windows_in("chr1:0-101").tolist() == [0]
    assert store[:, "chr1:1,149-1,200", "CTCF"].shape == (5, 1)


def test_one_tf_is_read_without_the_others(made):
    folder, probability, shards = made
    merge(folder, shards)
    for path in (folder / "s.zarr/layers/GATA1/data").rglob("*"):
        if path.is_file() and path.name not in (".zarray", ".zattrs", "zarr.json"):
            path.write_bytes(b"broken")
    store = open_binding(folder / "s.zarr")
    assert np.allclose(store[:, :, "CTCF"].toarray(), kept(probability[:, :, 0]), atol=1e-7)


def test_what_the_reader_refuses(made):
    folder, _, shards = made
    store = merge(folder, shards)
    with pytest.raises(InputError, match="no TF 'SPI1'; choose one of CTCF, GATA1"):
        store[:, :, "SPI1"]
    with pytest.raises(InputError, match="no chromosome 'chr9'"):
        store[:, "chr9:1-2", "CTCF"]
    with pytest.raises(InputError, match="'chr1:1' is no region"):
        store[:, "chr1:1", "CTCF"]
    with pytest.raises(InputError, match="no cell 'zz'"):
        store[["c0", "zz"], :, "CTCF"]
    with pytest.raises(InputError, match="no such binding store"):
        open_binding(folder / "absent.zarr")


def test_what_merging_refuses(made):
    folder, probability, shards = made
    with pytest.raises(InputError, match="the shards hold 3 cells, not the 5 that pass"):
        merge(folder, shards[1:])
    other = write_shard(folder / "2.npz", ROWS[1], probability[2:], tfs=["CTCF", "SPI1"])
    with pytest.raises(InputError, match="2.npz: other TFs, windows or floor"):
        merge(folder, [shards[0], other])
    with pytest.raises(InputError, match="other TFs, windows or floor"):
        merge(folder, [shards[0], write_shard(folder / "2.npz", ROWS[1], probability[2:], floor=0.1)])
    (folder / "2.npz").write_bytes(b"x" * 100)
    with pytest.raises(InputError, match="2.npz: not a shard of binding"):
        merge(folder, [shards[0], folder / "2.npz"])
    short = [write_shard(folder / f"{i}.npz", ROWS[i], probability[:2, :9]) for i in (0,)]
    short.append(write_shard(folder / "1.npz", ROWS[1], probability[2:, :9]))
    with pytest.raises(InputError, match="9 windows, but .* has 10"):
        merge(folder, short)
    assert not (folder / "s.zarr").exists()


def test_cells_without_a_pass_column_or_without_a_passing_cell(tmp_path):
    ad.AnnData(obs=pd.DataFrame(index=["a"])).write_h5ad(tmp_path / "cells.h5ad")
    with pytest.raises(InputError, match="no column 'pass'"):
        read_passing(tmp_path / "cells.h5ad")
    ad.AnnData(obs=pd.DataFrame({"pass": [False]}, index=["a"])).write_h5ad(tmp_path / "cells.h5ad")
    with pytest.raises(InputError, match="no cell passes"):
        read_passing(tmp_path / "cells.h5ad")


def test_tracks_are_the_mean_over_the_type(made):
    folder, probability, shards = made
    merge(folder, shards)
    cell_type_tracks(folder / "s.zarr", "b", folder / "ref/chrom.sizes", folder / "b", min_probability=0.2)
    assert sorted(p.name for p in (folder / "b").iterdir()) == [
        f"{tf}.{suffix}" for tf in TFS for suffix in ("bed.gz", "bed.gz.tbi", "bw")
    ]
    for t, tf in enumerate(TFS):
        mean = kept(probability[1:4, :, t]).mean(axis=0)
        with pyBigWig.open(str(folder / f"b/{tf}.bw")) as bigwig:
            assert bigwig.chroms() == {"chr1": 2000, "chr2": 1000}
            for chrom, length in ((0, 2000), (1, 1000)):
                got = np.nan_to_num(bigwig.values(f"chr{chrom + 1}", 0, length))
                expected = np.zeros(length)
                for w in np.flatnonzero(chrom == CHROM):
                    span = slice(START[w], START[w] + 200)
                    expected[span] = np.maximum(expected[span], mean[w])
                assert np.allclose(got, expected, atol=1e-6)
        with pysam.TabixFile(str(folder / f"b/{tf}.bed.gz")) as bed:
            lines = [line.split("\t") for chrom in bed.contigs for line in bed.fetch(chrom)]
        wanted = np.flatnonzero(mean >= 0.2)
        assert 0 < len(wanted) < 10
        assert [(f"chr{CHROM[w] + 1}", str(START[w]), str(START[w] + 200), tf) for w in wanted] == [
            tuple(line[:4]) for line in lines
        ]
        assert [int(line[4]) for line in lines] == [round(1000 * mean[w]) for w in wanted]
        assert np.allclose([float(line[6]) for line in lines], mean[wanted], atol=1e-4)
        assert {line[7] for line in lines} == {{"CTCF": "high", "GATA1": "abstained"}[tf]}


def test_a_type_without_cells_gives_empty_files_and_says_so(made, capsys):
    folder, _, shards = made
    merge(folder, shards)
    cell_type_tracks(folder / "s.zarr", "mast", folder / "ref/chrom.sizes", folder / "mast")
    assert "no cell of type 'mast'" in capsys.readouterr().err
    with pyBigWig.open(str(folder / "mast/CTCF.bw")) as bigwig:
        assert bigwig.chroms() == {"chr1": 2000, "chr2": 1000} and bigwig.intervals("chr1") is None
    with pysam.TabixFile(str(folder / "mast/CTCF.bed.gz")) as bed:
        assert list(bed.contigs) == []


def test_tracks_refuse_sizes_of_another_genome(made):
    folder, _, shards = made
    merge(folder, shards)
    (folder / "other.sizes").write_text("chr1\t2000\n")
    with pytest.raises(InputError, match="other.sizes: lists no chr2"):
        cell_type_tracks(folder / "s.zarr", "b", folder / "other.sizes", folder / "b")
    assert not (folder / "b").exists()


def test_merging_twice_replaces_the_store(made):
    folder, probability, shards = made
    merge(folder, shards)
    store = merge(folder, shards)
    assert np.allclose(store[:, :, "CTCF"].toarray(), kept(probability[:, :, 0]), atol=1e-7)
    assert len(Windows.load(folder / "windows.npz")) == len(store.var)
