import tempfile

import numpy as np
import pandas as pd
import pytest
from scbind.core.errors import InputError
from scbind.formats.bedtools import nearest_start, overlapped
from scbind.formats.genome import ChromSizes
from scbind.peaks.annotation import COLUMNS, annotate_peaks

SIZES = ChromSizes(("chr2", "chr10", "chr1"), np.array([50_000, 20_000, 9_000]))  # neither sorting of names
GENES = "chr2\t10000\t20000\tPLUS\t0\t+\nchr2\t30000\t40000\tMINUS\t0\t-\nchr10\t5000\t6000\tTEN\t0\t+\n"


def annotate(tmp_path, peaks, genes=GENES, promoter=(2000, 100)):
    (tmp_path / "sizes").write_text("".join(f"{n}\t{w}\n" for n, w in SIZES.as_dict().items()))
    (tmp_path / "genes.bed").write_text(genes)
    (tmp_path / "peaks.bed").write_text("".join(f"{c}\t{p - 250}\t{p + 250}\n" for c, p in peaks))
    annotate_peaks(
        tmp_path / "peaks.bed", tmp_path / "genes.bed", tmp_path / "sizes", tmp_path / "a.tsv", promoter
    )
    return pd.read_csv(tmp_path / "a.tsv", sep="\t", keep_default_na=False, dtype=str)


def test_gene_distance_and_kind_follow_the_strand(tmp_path):
    places = [8_000, 7_999, 10_100, 10_101, 25_000, 39_899, 39_898, 41_999, 42_000]
    table = annotate(tmp_path, [("chr2", place) for place in places] + [("chr10", 500), ("chr1", 4_000)])
    assert list(table.columns) == COLUMNS
    assert table["gene"].tolist() == ["PLUS"] * 4 + ["MINUS"] * 5 + ["TEN", ""]
    # MINUS starts at its last base, 39,999; 25,000 is nearer to it than to the 10,000 of PLUS
    expected = [-2000, -2001, 100, 101, 14_999, 100, 101, -2000, -2001, -4500]
    assert table["tss_distance"].tolist() == [*map(str, expected), ""]
    kinds = ["promoter", "distal", "promoter", "gene_body", "distal", "promoter", "gene_body", "promoter"]
    assert table["annotation"].tolist() == [*kinds, "distal", "distal", "distal"]
    assert table["peak"][0] == "chr2:7750-8250" and table.loc[0, ["start", "end"]].tolist() == [
        "7750",
        "8250",
    ]


def test_any_promoter_counts_not_only_that_of_the_nearest_gene(tmp_path):
    genes = "chr2\t10000\t12000\tA\t0\t+\nchr2\t8000\t9900\tB\t0\t-\n"  # starts at 10,000 and 9,899
    table = annotate(tmp_path, [("chr2", 9_800)], genes, promoter=(300, 50))
    assert table.loc[0, ["gene", "tss_distance", "annotation"]].tolist() == ["B", "99", "promoter"]
    table = annotate(tmp_path, [("chr2", 9_800)], genes, promoter=(100, 50))
    assert table.loc[0, "annotation"] == "gene_body"


def test_of_genes_at_one_distance_the_first_is_taken(tmp_path):
    genes = "chr2\t11000\t12000\tRIGHT\t0\t+\nchr2\t8000\t9001\tLEFT\t0\t-\nchr2\t9000\t9500\tALSO\t0\t+\n"
    table = annotate(tmp_path, [("chr2", 10_000)], genes)
    assert table.loc[0, "gene"] == "ALSO"  # by place, then by name


@pytest.mark.parametrize("share", [None, 0.5, 1.0])
def test_overlaps_are_those_found_by_comparing_all(share):
    rng = np.random.default_rng(0)

    def some(n):
        start = rng.integers(0, 4_000, n)
        chrom = rng.choice(["chr2", "chr10", "chr1"], n)
        return pd.DataFrame({"chrom": chrom, "start": start, "end": start + rng.integers(1, 200, n)})

    left, right = some(300), some(120)
    both = left.assign(row=np.arange(300)).merge(right, on="chrom", suffixes=("", "_b"))
    shared = np.minimum(both["end"], both["end_b"]) - np.maximum(both["start"], both["start_b"])
    shorter = np.minimum(both["end"] - both["start"], both["end_b"] - both["start_b"])
    hit = both["row"][(shared > 0) & (shared >= (share or 0) * shorter)]
    found = overlapped(left, right, share)
    assert set(np.flatnonzero(found)) == set(hit) and 0 < found.sum() < 300


def test_nearest_starts_are_those_found_by_comparing_all():
    rng = np.random.default_rng(1)
    place = pd.DataFrame({"chrom": rng.choice(SIZES.names, 200), "position": rng.integers(0, 9_000, 200)})
    starts = pd.DataFrame({"chrom": rng.choice(["chr2", "chr1"], 40), "tss": rng.integers(0, 9_000, 40)})
    starts["strand"] = rng.choice(["+", "-"], 40)
    found = nearest_start(place, starts, SIZES)
    for row, (chrom, position) in enumerate(place.itertuples(index=False)):
        here = starts[starts["chrom"] == chrom]
        if here.empty:
            assert found["row"][row] == -1 and np.isnan(found["distance"][row])
            continue
        chosen = starts.loc[found["row"][row]]
        signed = (position - chosen["tss"]) * (1 if chosen["strand"] == "+" else -1)
        assert chosen["chrom"] == chrom and found["distance"][row] == signed
        assert abs(signed) == (here["tss"] - position).abs().min()


def test_nothing_overlaps_nothing():
    none = pd.DataFrame({"chrom": [], "start": [], "end": [], "tss": [], "strand": [], "position": []})
    some = pd.DataFrame(
        {"chrom": ["chr1"], "start": [1], "end": [2], "position": [1], "tss": [5], "strand": ["+"]}
    )
    far = some.assign(chrom="chr2")
    assert overlapped(some, none).tolist() == [False] and overlapped(none, some).size == 0
    assert overlapped(some, far).tolist() == [False]
    assert nearest_start(some, far, SIZES)["row"].tolist() == [-1] and nearest_start(none, some, SIZES).empty


def test_bedtools_that_is_not_there_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    some = pd.DataFrame({"chrom": ["chr1"], "start": [1], "end": [2]})
    with pytest.raises(InputError, match="bedtools: not found on the PATH; install bedtools"):
        overlapped(some, some)


def test_no_scratch_file_is_left(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    some = pd.DataFrame({"chrom": ["chr1"], "start": [1], "end": [2]})
    assert overlapped(some, some).all() and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("genes", "message"),
    [
        ("", "the file is empty"),
        ("chr7\t1\t9\tG\t0\t+\n", "no chromosome name matches the genome"),
        ("chr2\t1\t9\tG\t0\t.\n", "line 1: no gene has a strand"),
        ("chr2\t1\t9\n", "3 columns; BED has 6"),
    ],
)
def test_bad_genes_are_refused_before_anything_is_written(tmp_path, genes, message):
    with pytest.raises(InputError, match=message):
        annotate(tmp_path, [("chr2", 9_800)], genes)
    assert not (tmp_path / "a.tsv").exists()
