import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import anndata as ad
import numpy as np
import pandas as pd
import pybedtools
import pyBigWig
import pysam
import pytest
import scbind
import zarr
from scbind.binding.celltracks import cell_type_tracks
from scbind.binding.merging import CHUNK, merge_shards
from scbind.binding.shards import ShardWriter, largest_error
from scbind.binding.store import open_binding
from scbind.binding.windows import Windows
from scbind.core.errors import InputError

TFS = ["CTCF", "GATA1"]
CHROM = np.array([0] * 6 + [1] * 4, dtype=np.int16)
START = np.array([100, 150, 200, 250, 900, 950, 0, 50, 400, 450], dtype=np.int32)
ROWS = [[0, 2], [3, 4, 5]]
STORED = [0, 4, 1, 2, 3]  # the passing cells as the store has them: those of a type side by side
FLOOR, MAX_ERROR = 0.05, 0.01
SCALE = 98  # the fewest steps with that error
RELIABILITY = {
    "CTCF": {"level": "high", "min_depth": 2.5, "abstained": False},
    "GATA1": {"level": "low", "min_depth": None, "abstained": True},
}


def write_shard(path, rows, probability, tfs=TFS, floor=FLOOR, step=4, made_with="", **options):
    with ShardWriter(tfs, floor, path, **{"max_error": MAX_ERROR, **options}) as writer:
        for window in reversed(range(0, probability.shape[1], step)):  # any order will do
            writer.add(0, window, probability[:, window : window + step])
        extra = {"depth": np.array(rows, np.float32), "reliability": np.str_(json.dumps(RELIABILITY))}
        writer.finish(np.array(rows), probability.shape[1], extra, made_with)
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
    ad.AnnData(obs=obs, obsm={"X_umap": np.arange(12).reshape(2, 6).T}).write_h5ad(tmp_path / "cells.h5ad")
    shards = [
        write_shard(tmp_path / "0.npz", ROWS[0], probability[:2]),
        write_shard(tmp_path / "1.npz", ROWS[1], probability[2:]),
    ]
    return tmp_path, probability, shards


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A store that is only read."""
    folder, probability, shards = make(tmp_path_factory.mktemp("stored"))
    return merge(folder, shards), probability[STORED]


def merge(folder, shards, **options):
    merge_shards(
        shards, folder / "windows.npz", folder / "cells.h5ad", folder / "ref", folder / "s.zarr", **options
    )
    return open_binding(folder / "s.zarr")


def kept(probability):
    codes = np.floor(SCALE * (1 - np.sqrt(1 - probability.astype(np.float64))) + 0.5)
    return np.where(probability >= np.float32(FLOOR), 1 - (1 - codes / SCALE) ** 2, 0)


def test_store_is_read_by_anndata_as_it_is(made):
    folder, probability, shards = made
    probability = probability[STORED]
    merge(folder, shards[::-1], provenance={"model": "m"})
    adata = ad.read_zarr(folder / "s.zarr")
    assert adata.obs_names.tolist() == ["c0", "c5", "c2", "c3", "c4"]
    assert adata.obs["cell_type"].tolist() == list("aabbb")
    assert adata.obsm["X_umap"][:, 0].tolist() == [0, 5, 2, 3, 4]
    assert (
        adata.var["start"].tolist() == START.tolist() and adata.var["end"].tolist() == (START + 200).tolist()
    )
    assert adata.var["chrom"].tolist() == ["chr1"] * 6 + ["chr2"] * 4
    assert adata.var_names[0] == "chr1:100-300"
    assert set(adata.layers) == set(TFS) and "X_umap" in adata.obsm
    for t, tf in enumerate(TFS):
        assert adata.layers[tf].dtype == np.uint8
        left = 1 - adata.layers[tf] / adata.uns["scale"]
        assert np.allclose(1 - left**2, kept(probability[:, :, t]))
        error = np.abs(kept(probability[:, :, t]) - probability[:, :, t])[adata.layers[tf] > 0].max()
        assert 0.003 < error <= adata.uns["max_error"] <= MAX_ERROR
    assert adata.uns["floor"] == FLOOR and adata.uns["max_error"] > 0.0098
    assert json.loads(adata.uns["provenance"]) == {"model": "m"}
    store = open_binding(folder / "s.zarr")
    assert store.reliability == RELIABILITY
    assert store.abstained.T.tolist() == [[True, False, True, False, False], [True] * 5]


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
        rows = [1, 0]
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
    for path in (folder / "s.zarr/layers/GATA1").rglob("*"):
        if path.is_file() and path.name not in (".zarray", ".zattrs", "zarr.json"):
            path.write_bytes(b"broken")
    store = open_binding(folder / "s.zarr")
    assert np.allclose(store[:, :, "CTCF"].toarray(), kept(probability[STORED, :, 0]), atol=1e-7)


def test_what_the_reader_refuses(made):
    folder, _, shards = made
    store = merge(folder, shards)
    with pytest.raises(InputError, match="s.zarr: has no TF 'SPI1'; choose one of CTCF, GATA1"):
        store[:, :, "SPI1"]
    with pytest.raises(InputError, match="no chromosome 'chr9'"):
        store[:, "chr9:1-2", "CTCF"]
    with pytest.raises(InputError, match="'chr1:1' is not a region"):
        store[:, "chr1:1", "CTCF"]
    for empty in ("chr1:5000-1", "chr1:5-5"):
        with pytest.raises(
            InputError, match=f"'{empty}' has no base; write chrom:start-end with start below end"
        ):
            store[:, empty, "CTCF"]
    for key in ((":", "chr1"), "chr1", (0, "chr1", "CTCF", 1)):
        with pytest.raises(
            InputError, match=r"write binding\[cells, region, tf\], as binding\[:, \"chr1\", 'CTCF'\]"
        ):
            store[key]
    with pytest.raises(InputError, match=r"no cell 'zz'; its obs has c\d, c\d, c\d, ... \(5\)"):
        store[["c0", "zz"], :, "CTCF"]
    with pytest.raises(InputError, match=r"no TF 'ctcf'; did you mean CTCF\?"):
        store[:, :, "ctcf"]
    with pytest.raises(InputError, match=r"no chromosome '1'; did you mean chr1\?|choose one of chr1"):
        store[:, "1", "CTCF"]
    zarr.open_group(folder / "s.zarr", mode="a", use_consolidated=False)["uns/format"][...] = 1
    zarr.consolidate_metadata(folder / "s.zarr")
    with pytest.raises(
        InputError, match="a binding store of format 1, but this version reads format 2; merge its"
    ):
        open_binding(folder / "s.zarr")
    with pytest.raises(InputError, match="this binding store does not exist"):
        open_binding(folder / "absent.zarr")
    (folder / "s.h5ad").write_bytes(b"")
    with pytest.raises(InputError, match="s.h5ad: is a file, not a binding store; name a folder"):
        open_binding(folder / "s.h5ad")


def test_what_merging_refuses(made):
    folder, probability, shards = made
    with pytest.raises(InputError, match="shards hold 3 cells, not the 5 passing cells"):
        merge(folder, shards[1:])
    other = write_shard(folder / "2.npz", ROWS[1], probability[2:], tfs=["CTCF", "SPI1"])
    with pytest.raises(InputError, match="2.npz: has other TFs, windows, floor or error than"):
        merge(folder, [shards[0], other])
    with pytest.raises(InputError, match="other TFs, windows, floor or error than"):
        merge(folder, [shards[0], write_shard(folder / "2.npz", ROWS[1], probability[2:], floor=0.1)])
    with pytest.raises(InputError, match="2.npz: was made with another model than .*0.npz"):
        merge(folder, [shards[0], write_shard(folder / "2.npz", ROWS[1], probability[2:], made_with="n")])
    (folder / "2.npz").write_bytes(b"x" * 100)
    with pytest.raises(InputError, match="2.npz: is not a .npz file; "):
        merge(folder, [shards[0], folder / "2.npz"])
    short = [write_shard(folder / f"{i}.npz", ROWS[i], probability[:2, :9]) for i in (0,)]
    short.append(write_shard(folder / "1.npz", ROWS[1], probability[2:, :9]))
    with pytest.raises(InputError, match="9 windows, but .* has 10"):
        merge(folder, short)
    assert not (folder / "s.zarr").exists()


def levels_in(folder):
    return pd.read_csv(folder / "levels.tsv", sep="\t").set_index("tf")["level"].to_dict()


def write_tracks(folder, types=(("a", "own"), ("b", "merged")), sizes="ref/chrom.sizes", **options):
    """Tracks of the types of a store, listed with their status."""
    lines = ["cell_type\tslug\tstatus", *(f"{name}\t{name}_\t{status}" for name, status in types)]
    (folder / "types.tsv").write_text("\n".join(lines) + "\n")
    cell_type_tracks(folder / "s.zarr", folder / "types.tsv", folder / sizes, folder / "tracks", **options)
    return folder / "tracks"


def test_tracks_are_the_mean_over_the_type(made):
    folder, probability, shards = made
    merge(folder, shards)
    tracks = write_tracks(folder, min_probability=0.2)
    assert {p.name for p in tracks.iterdir()} == {"a_", "b_"}
    bigwigs = {"CTCF": "CTCF.bw", "GATA1": "GATA1.abstained.bw"}
    beds = {f"{tf}.{suffix}" for tf in TFS for suffix in ("bed.gz", "bed.gz.tbi")}
    assert {p.name for p in (tracks / "b_").iterdir()} == {*bigwigs.values(), *beds, "levels.tsv"}
    assert levels_in(tracks / "b_") == {"CTCF": "high", "GATA1": "abstained"}
    for t, tf in enumerate(TFS):
        # the first cell of the type is too shallow for CTCF; of the other TF, abstained on, all cells count
        mean = kept(probability[2 if tf == "CTCF" else 1 : 4, :, t]).mean(axis=0)
        with pyBigWig.open(str(tracks / "b_" / bigwigs[tf])) as bigwig:
            assert bigwig.chroms() == {"chr1": 2000, "chr2": 1000}
            for chrom, length in ((0, 2000), (1, 1000)):
                got = np.nan_to_num(bigwig.values(f"chr{chrom + 1}", 0, length))
                expected = np.zeros(length)
                for w in np.flatnonzero(chrom == CHROM):
                    span = slice(START[w], START[w] + 200)
                    expected[span] = np.maximum(expected[span], mean[w])
                assert np.allclose(got, expected, atol=1e-6)
        with pysam.TabixFile(str(tracks / f"b_/{tf}.bed.gz")) as bed:
            lines = [line.split("\t") for chrom in bed.contigs for line in bed.fetch(chrom)]
        wanted = np.flatnonzero(mean >= 0.2)
        assert 0 < len(wanted) < 10
        assert [(f"chr{CHROM[w] + 1}", str(START[w]), str(START[w] + 200), tf) for w in wanted] == [
            tuple(line[:4]) for line in lines
        ]
        assert [line[4] for line in lines] == [str(round(1000 * mean[w])) for w in wanted]


def test_tracks_of_tfs_without_chip_are_marked(made, monkeypatch):
    folder, probability, _ = made
    monkeypatch.setitem(RELIABILITY, "CTCF", RELIABILITY["CTCF"] | {"evidence": "motif"})
    merge(folder, [write_shard(folder / f"{i}.npz", ROWS[i], probability[2 * i :][: 2 + i]) for i in (0, 1)])
    tracks = write_tracks(folder) / "b_"
    for tf, name in (("CTCF", "CTCF (motif)"), ("GATA1", "GATA1")):
        with pysam.TabixFile(str(tracks / f"{tf}.bed.gz"), parser=pysam.asBed()) as bed:
            assert {line.name for line in bed.fetch()} == {name}
    assert pd.read_csv(tracks / "levels.tsv", sep="\t")["evidence"].tolist() == ["motif", "chip"]


def test_types_without_a_pseudobulk_or_cells_have_no_tracks(made):
    folder, _, shards = made
    merge(folder, shards)
    tracks = write_tracks(folder, (("a", "skipped"), ("b", "own"), ("mast", "own")))
    assert [p.name for p in tracks.iterdir()] == ["b_"]
    with pytest.raises(InputError, match="types.tsv: does not list cell type 'a' of .*s.zarr"):
        write_tracks(folder, (("b", "own"),))


def test_all_types_at_once_are_as_each_alone(made):
    folder, _, shards = made
    merge(folder, shards)
    names = [f"{tf}.{suffix}" for tf in TFS for suffix in ("bw", "abstained.bw", "bed.gz")]

    def contents(kind):
        found = (tracks / f"{kind}_" / name for name in names)
        return {path.name: path.read_bytes() for path in found if path.exists()}

    tracks = write_tracks(folder, min_probability=0.01)
    both = {kind: contents(kind) for kind in "ab"}
    assert all(len(files) == 4 for files in both.values()) and both["a"] != both["b"]
    for kind, other in ("ab", "ba"):
        tracks = write_tracks(folder, ((kind, "own"), (other, "skipped")), min_probability=0.01)
        assert contents(kind) == both[kind] and not contents(other)


def test_a_type_of_which_every_cell_is_too_shallow_is_abstained_on(made):
    folder, probability, shards = made
    obs = ad.read_h5ad(folder / "cells.h5ad")
    obs.obs["cell_type"] = ["low", "low", "low", "b", "b", "b"]  # c0 and c2 pass, both shallow for CTCF
    obs.write_h5ad(folder / "cells.h5ad")
    merge(folder, shards)
    tracks = write_tracks(folder, (("low", "own"), ("b", "own")), min_probability=0.05)
    assert not (tracks / "low_/CTCF.bw").exists() and (tracks / "b_/CTCF.bw").exists()
    with pyBigWig.open(str(tracks / "low_/CTCF.abstained.bw")) as bigwig:
        mean = kept(probability[:2, :, 0]).mean(axis=0)
        assert bigwig.stats("chr1", 0, 2000, type="max")[0] == pytest.approx(mean[:6].max(), abs=1e-6)
    assert levels_in(tracks / "low_") == {"CTCF": "abstained", "GATA1": "abstained"}


def test_tracks_are_refused_where_the_disk_has_no_room(made, monkeypatch):
    folder, _, shards = made
    merge(folder, shards)
    monkeypatch.setattr(
        "scbind.formats.bigwigwriter.shutil.disk_usage", lambda _: SimpleNamespace(free=1 << 20)
    )
    with pytest.raises(OSError, match="No space left on device"):
        write_tracks(folder)
    assert not (folder / "tracks").exists() and not list(folder.glob(".*"))


def test_tracks_refuse_sizes_of_another_genome(made):
    folder, _, shards = made
    merge(folder, shards)
    (folder / "other.sizes").write_text("chr1\t2000\n")
    with pytest.raises(InputError, match="other.sizes: does not list chr2"):
        write_tracks(folder, sizes="other.sizes")
    assert not (folder / "tracks").exists()


def test_merging_twice_replaces_the_store(made):
    folder, probability, shards = made
    merge(folder, shards)
    store = merge(folder, shards)
    assert np.allclose(store[:, :, "CTCF"].toarray(), kept(probability[STORED, :, 0]), atol=1e-7)
    assert len(Windows.load(folder / "windows.npz")) == len(store.var)


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A store of several chunks along both axes, and its probabilities: float32 (cells, windows)."""
    folder = tmp_path_factory.mktemp("wide")
    n_cells, n_windows = CHUNK[0] + 9, 2 * CHUNK[1] + 5
    rng = np.random.default_rng(2)
    probability = (rng.random((n_cells, n_windows, 1)) ** 8).astype(np.float32)
    probability[:, CHUNK[1] : 2 * CHUNK[1]] = 0  # a column of chunks that nothing binds
    (folder / "ref").mkdir()
    (folder / "ref/chrom.sizes").write_text(f"chr1\t{n_windows * 200}\n")
    np.save(folder / "ref/sequence.npy", np.zeros(n_windows * 200, np.uint8))
    np.savez(
        folder / "windows.npz", chrom=np.zeros(n_windows, np.int16), gc=np.full(n_windows, 0.5, np.float32),
        start=(200 * np.arange(n_windows)).astype(np.int32), peak=np.arange(n_windows, dtype=np.int32),
        window=200, context=200, step=200,
    )  # fmt: skip
    obs = pd.DataFrame({"pass": True}, index=[f"c{i}" for i in range(n_cells)])
    ad.AnnData(obs=obs, obsm={"X_umap": np.arange(2 * n_cells).reshape(-1, 2)}).write_h5ad(
        folder / "cells.h5ad"
    )
    shard = write_shard(folder / "0.npz", range(n_cells), probability, tfs=["CTCF"], step=1000)
    merge(folder, [shard])
    return folder, kept(probability[:, :, 0])


def chunks_of(store):
    return {path.name for path in (store / "layers/CTCF").iterdir() if path.name[0] != "."}


def test_chunks_without_binding_are_not_written(wide):
    assert chunks_of(wide[0] / "s.zarr") == {"0.0", "0.2", "1.0", "1.2"}


@pytest.mark.parametrize(
    ("cells", "region", "needed"),
    [
        (["c0"], slice(None), {"0.0", "0.2"}),
        (slice(None), "chr1:1000-1500", {"0.0", "1.0"}),
        ([CHUNK[0] + 1, CHUNK[0]], [2 * CHUNK[1] + i for i in range(5)], {"1.2"}),
        ([CHUNK[0] + 1, 3, CHUNK[0], 3], [0, 2 * CHUNK[1] + 1, 5], {"0.0", "0.2", "1.0", "1.2"}),
    ],
)
def test_only_the_chunks_asked_for_are_read(wide, tmp_path, cells, region, needed):
    folder, expected = wide
    copy = tmp_path / "s.zarr"
    shutil.copytree(folder / "s.zarr", copy)
    for name in chunks_of(copy) - needed:
        (copy / "layers/CTCF" / name).write_bytes(b"broken")
    store = open_binding(copy)
    rows = [0] if cells == ["c0"] else cells
    columns = store.windows_in(region) if isinstance(region, str) else region
    got = store[cells, region, "CTCF"]
    assert np.allclose(got.toarray(), expected[rows][:, columns], atol=1e-7) and got.nnz
    for name in chunks_of(copy) & needed:
        (copy / "layers/CTCF" / name).write_bytes(b"broken")
    refused = r"s.zarr: not readable \(.*\); merge its shards again$"
    with pytest.raises(InputError, match=refused):
        store[cells, region, "CTCF"]
    with pytest.raises(InputError, match=refused):
        store.sums("CTCF", np.zeros(len(store.obs), dtype=np.int64), 1)
    next((copy / "obs").rglob("0")).write_bytes(b"broken")
    with pytest.raises(InputError, match=refused):
        open_binding(copy)


def test_part_of_a_store_as_anndata(wide):
    folder, expected = wide
    part = scbind.open_binding(folder / "s.zarr").to_anndata(["c7", "c2"], "chr1:0-401", ["CTCF"])
    assert part.obs_names.tolist() == ["c7", "c2"] and part.var["start"].tolist() == [0, 200, 400]
    assert part.obsm["X_umap"].tolist() == [[14, 15], [4, 5]]
    assert part.layers["CTCF"].dtype == np.float32
    assert np.allclose(part.layers["CTCF"].toarray(), expected[[7, 2]][:, :3], atol=1e-7)
    known = {"CTCF": RELIABILITY["CTCF"]}
    known = json.dumps(known, sort_keys=True)
    assert part.uns == {"floor": FLOOR, "max_error": largest_error(FLOOR, SCALE), "reliability": known}


def test_what_is_abstained_on_travels_with_a_part(stored, tmp_path):
    store, _ = stored
    part = store.to_anndata([4, 0], slice(0, 2))
    unread = part.obsm["abstained"]
    assert unread.index.tolist() == part.obs_names.tolist() == ["c4", "c0"]
    assert unread.to_dict("list") == {"CTCF": [False, True], "GATA1": [True, True]}
    assert store.to_anndata(tfs=["GATA1"]).obsm["abstained"].columns.tolist() == ["GATA1"]
    part.write_h5ad(tmp_path / "part.h5ad")
    again = ad.read_h5ad(tmp_path / "part.h5ad")
    assert again.obsm["abstained"].equals(unread) and json.loads(again.uns["reliability"]) == RELIABILITY


def test_a_store_says_what_it_holds_and_knows_cells_by_their_barcodes(made):
    folder, _, shards = made
    cells = ad.read_h5ad(folder / "cells.h5ad")
    cells.obs_names = [f"s#AAAC-{name}" for name in cells.obs_names]
    cells.write_h5ad(folder / "cells.h5ad")
    store = merge(folder, shards)
    text = repr(store)
    assert text.startswith(f"Binding of 5 cells, 10 windows and 2 TFs in {folder / 's.zarr'}\n")
    assert "s#AAAC-c0" in text and "CTCF, GATA1" in text and "chr1" in text
    names = ["AAAC-c4", "s#AAAC-c0"]
    whole = [f"s#AAAC-{name}" for name in ("c4", "c0")]
    assert (store[names, :, "CTCF"] != store[whole, :, "CTCF"]).nnz == 0
    assert store.to_anndata(names, tfs=["CTCF"]).obs_names.tolist() == whole
    assert eval(text[text.index("binding[") :].partition(" is ")[0], {"binding": store}).shape[0] == 1


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, scbind; assert not {'numpy', 'zarr'} & set(sys.modules); scbind.open_binding"
    folder = str(Path(scbind.__file__).parent.parent)
    subprocess.run([sys.executable, "-c", code], check=True, cwd=folder)
    with pytest.raises(AttributeError, match="no attribute 'open'"):
        scbind.open  # noqa: B018


def test_shards_without_sites_are_refused(made):
    folder, probability, _ = made
    shards = [
        write_shard(folder / f"{i}.npz", ROWS[i], part, sites=False)
        for i, part in enumerate((probability[:2], probability[2:]))
    ]
    with pytest.raises(InputError, match="0.npz: holds TF activity but no binding; set infer.store to all"):
        merge(folder, shards)


def test_a_sample_without_a_passing_cell_gives_a_store_without_cells(made):
    folder, probability, _ = made
    cells = ad.read_h5ad(folder / "cells.h5ad")
    cells.obs["pass"] = False
    cells.write_h5ad(folder / "cells.h5ad")
    store = merge(folder, [write_shard(folder / f"{i}.npz", [], probability[:0]) for i in (0, 1)])
    assert store[:, :, "CTCF"].shape == (0, 10) and store.abstained.shape == (0, 2)
    assert ad.read_zarr(folder / "s.zarr").shape == (0, 10)
    assert store.to_anndata(region="chr1").shape == (0, 6)
    assert list(write_tracks(folder).iterdir()) == []


def test_a_full_disk_while_merging_leaves_no_store(made, monkeypatch):
    folder, _, shards = made

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("scbind.binding.merging.zarr.consolidate_metadata", full)
    with pytest.raises(InputError, match="cannot write here: No space left on device; free disk space"):
        merge(folder, shards)
    assert not list(folder.glob("*.zarr*")) and not list(folder.glob(".*"))
    assert all(path.exists() for path in shards)


def test_a_genome_browser_can_open_the_tracks(made):
    """Sorted by chromosome and start, scores from 0 to 1000, an index, zoom levels and bases within the chromosomes."""
    folder, _, shards = made
    merge(folder, shards)
    tracks = write_tracks(folder, min_probability=0.01)
    for tf in TFS:
        with pysam.TabixFile(str(tracks / f"b_/{tf}.bed.gz"), parser=pysam.asBed()) as bed:
            places = [(line.contig, line.start, line.end, int(line.score)) for line in bed.fetch()]
            assert [p[0] for p in places] == sorted(p[0] for p in places)
            assert places == sorted(places, key=lambda p: p[:2]) and len(places) > 5
            assert all(0 <= score <= 1000 for *_, score in places)
            found = [(line.start, line.end) for line in bed.fetch("chr1", 300, 310)]
            assert found == [place[1:3] for place in places if place[0] == "chr1" and 100 < place[1] < 310]
            assert (150, 350) in found and (100, 300) not in found
        bed = pybedtools.BedTool(str(tracks / f"b_/{tf}.bed.gz"))
        assert bed.file_type == "bed" and bed.field_count() == 6
        for feature in bed:
            assert feature.name == tf and feature.strand == "." and feature.score.isdecimal()
        assert [(f.chrom, f.start, f.end, int(f.score)) for f in bed.sort()] == sorted(places)
        with pyBigWig.open(str(next((tracks / "b_").glob(f"{tf}.*bw")))) as bigwig:
            assert bigwig.isBigWig() and bigwig.header()["nLevels"] >= 1
            for chrom, length in bigwig.chroms().items():
                starts, ends, values = zip(*bigwig.intervals(chrom), strict=True)
                assert all(a <= b for a, b in zip(ends, starts[1:], strict=False))
                assert ends[-1] <= length and 0 < min(values) and max(values) <= 1
            assert bigwig.stats("chr1", 0, 2000, type="max")[0] == pytest.approx(
                max(value for *_, value in bigwig.intervals("chr1"))
            )
