import gzip

import anndata
import numpy as np
import pandas as pd
import pyBigWig
import pysam
import pytest
from scbind.errors import InputError
from scbind.fragments import iter_fragments
from scbind.genome import ChromSizes
from scbind.pseudobulk import coverage_track, list_cell_types, split_fragments

SIZES = ChromSizes(("chr2", "chr1"), np.array([1000, 2000]))


@pytest.fixture
def sizes_path(tmp_path):
    path = tmp_path / "chrom.sizes"
    path.write_text("chr2\t1000\nchr1\t2000\n")
    return path


def cells(tmp_path, sample, rows, drop=()):
    """Rows are (barcode, pass, cell type or None, fragments)."""
    obs = pd.DataFrame(rows, columns=["barcode", "pass", "cell_type", "n_fragments"])
    obs.insert(0, "sample", sample)
    obs.index = [f"{sample}#{barcode}" for barcode in obs["barcode"]]
    obs["cell_type"] = pd.Categorical(obs["cell_type"])
    path = tmp_path / f"{sample}.h5ad"
    anndata.AnnData(obs=obs.drop(columns=list(drop))).write_h5ad(path)
    return path


def fragments(tmp_path, name, text):
    path = tmp_path / f"{name}.tsv"
    path.write_text(text)
    return path


@pytest.fixture
def atlas(tmp_path):
    one = cells(
        tmp_path, "s1", [("A", True, "T cell", 5), ("B", True, "B/naive", 7), ("C", False, "T cell", 9)]
    )
    two = cells(tmp_path, "s2", [("A", True, "T cell", 2), ("D", True, None, 4)])
    first = (
        "chr1\t10\t60\tA\t1\nchr1\t20\t90\tB\t1\nchr1\t30\t90\tC\t1\nchr1\t30\t80\tA\t2\nchr2\t5\t9\tA\t1\n"
    )
    second = "chr1\t20\t50\tA\t1\nchr1\t30\t80\tA\t1\nchr1\t40\t80\tD\t1\n"
    files = {"s1": fragments(tmp_path, "f1", first), "s2": fragments(tmp_path, "f2", second)}
    return files, {"s1": one, "s2": two}


def test_cell_types_are_listed(tmp_path, atlas):
    list_cell_types(list(atlas[1].values()), tmp_path / "types.tsv")
    assert (tmp_path / "types.tsv").read_text() == (
        "cell_type\tslug\tn_cells\tn_fragments\tsamples\n"
        "B/naive\tB_naive\t1\t7\ts1\nT cell\tT_cell\t2\t7\ts1,s2\n"
    )


@pytest.mark.parametrize(
    ("rows", "drop", "message"),
    [
        ([("A", False, "T", 1)], (), "no cell passes quality control"),
        ([("A", True, None, 1)], (), "no cell passes quality control"),
        (
            [("A", True, "T cell", 1), ("B", True, "T/cell", 1)],
            (),
            "'T cell' and 'T/cell' have the same name",
        ),
        ([("A", True, "../", 1)], (), "cannot be made a file name"),
        ([("A", True, "T", 1)], ("cell_type", "pass"), "obs has no column pass, cell_type"),
    ],
)
def test_bad_cells_are_refused(tmp_path, rows, drop, message):
    with pytest.raises(InputError, match=message):
        list_cell_types([cells(tmp_path, "s", rows, drop)], tmp_path / "out" / "types.tsv")
    assert not (tmp_path / "out").exists()


def test_missing_and_damaged_cells_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        list_cell_types([tmp_path / "none.h5ad"], tmp_path / "o")
    (tmp_path / "bad.h5ad").write_text("no")
    with pytest.raises(InputError, match="cannot be read as h5ad"):
        list_cell_types([tmp_path / "bad.h5ad"], tmp_path / "o")


def test_slugs_stay_inside_their_folder_and_apart(tmp_path):
    path = cells(tmp_path, "s", [("A", True, "../CD14+", 1), ("B", True, "CD14", 1)])
    list_cell_types([path], tmp_path / "o")
    assert pd.read_csv(tmp_path / "o", sep="\t")["slug"].tolist() == ["CD14_", "CD14"]


def test_fragments_of_a_type_are_gathered_sorted_and_indexed(tmp_path, sizes_path, atlas):
    output = tmp_path / "out" / "fragments.tsv.gz"
    split_fragments(*atlas, "T cell", sizes_path, output)
    assert gzip.open(output, "rt").read() == (
        "chr2\t5\t9\ts1#A\t1\nchr1\t10\t60\ts1#A\t1\nchr1\t20\t50\ts2#A\t1\n"
        "chr1\t30\t80\ts1#A\t2\nchr1\t30\t80\ts2#A\t1\n"
    )
    with pysam.TabixFile(str(output)) as handle:
        assert len(list(handle.fetch("chr1", 55, 100))) == 3
    assert sum(len(frame) for frame in iter_fragments(output, SIZES)) == 5
    assert sorted(file.name for file in output.parent.iterdir()) == [
        "fragments.tsv.gz",
        "fragments.tsv.gz.tbi",
    ]


def test_types_partition_the_passing_typed_fragments(tmp_path, sizes_path):
    rng = np.random.default_rng(4)
    start = np.sort(rng.integers(0, 900, 3000))
    text = "".join(
        f"chr2\t{s}\t{s + 50}\tB{b}\t1\n" for s, b in zip(start, rng.integers(0, 30, 3000), strict=True)
    )
    path = cells(tmp_path, "s", [(f"B{i}", i < 28, "xyz"[i % 3], 1) for i in range(30)])
    got = []
    for name in "xyz":
        split_fragments({"s": fragments(tmp_path, "f", text)}, {"s": path}, name, sizes_path, tmp_path / name)
        got += gzip.open(tmp_path / name, "rt").read().splitlines()
    wanted = [line.replace("\tB", "\ts#B") for line in text.splitlines() if int(line.split("\t")[3][1:]) < 28]
    assert sorted(got) == sorted(wanted)


def test_split_refusals_leave_nothing(tmp_path, sizes_path, atlas):
    files, h5ads = atlas
    stranger = cells(tmp_path, "s3", [("Z-1", True, "T cell", 3)])
    cases = [
        ((files, h5ads, "nobody"), "no passing cell is a 'nobody'"),
        (({"s3": files["s1"]}, {"s3": stranger}, "T cell"), "the cells labelled 'T cell' have no fragments"),
        (
            ({"s1": fragments(tmp_path, "u", "chr1\t9\t20\tA\t1\nchr1\t3\t9\tA\t1\n")}, h5ads, "T cell"),
            "not sorted",
        ),
    ]
    for arguments, message in cases:
        with pytest.raises(InputError, match=message):
            split_fragments(*arguments, sizes_path, tmp_path / "out" / "f.gz")
        assert list((tmp_path / "out").iterdir()) == []


def test_coverage_is_per_million_fragments(tmp_path, sizes_path):
    text = "chr1\t0\t10\tA\t1\nchr1\t5\t20\tA\t9\nchr1\t20\t30\tA\t1\nchr2\t990\t1000\tA\t1\n"
    coverage_track(fragments(tmp_path, "f", text), sizes_path, tmp_path / "c.bw")
    with pyBigWig.open(str(tmp_path / "c.bw")) as bw:
        assert bw.chroms() == {"chr2": 1000, "chr1": 2000}
        assert bw.intervals("chr1") == ((0, 5, 250_000.0), (5, 10, 500_000.0), (10, 30, 250_000.0))
        assert bw.intervals("chr2") == ((990, 1000, 250_000.0),)


def test_coverage_equals_brute_force(tmp_path, sizes_path):
    rng = np.random.default_rng(8)
    start = np.sort(rng.integers(0, 900, 400))
    end = start + rng.integers(1, 100, 400)
    text = "".join(f"chr2\t{s}\t{e}\tA\t1\n" for s, e in zip(start, end, strict=True))
    coverage_track(fragments(tmp_path, "f", text), sizes_path, tmp_path / "c.bw")
    expected = np.zeros(1000)
    for s, e in zip(start, end, strict=True):
        expected[s:e] += 2500
    with pyBigWig.open(str(tmp_path / "c.bw")) as bw:
        assert np.allclose(np.nan_to_num(bw.values("chr2", 0, 1000, numpy=True)), expected)


def test_coverage_of_bad_fragments_leaves_nothing(tmp_path, sizes_path):
    with pytest.raises(InputError, match="line 2, chr1:5-2001: the fragment ends beyond"):
        coverage_track(
            fragments(tmp_path, "f", "chr1\t1\t5\tA\t1\nchr1\t5\t2001\tA\t1\n"),
            sizes_path,
            tmp_path / "out" / "c.bw",
        )
    assert list((tmp_path / "out").iterdir()) == []
