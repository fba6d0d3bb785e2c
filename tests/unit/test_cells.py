import gzip

import numpy as np
import pandas as pd
import pytest
from scbind.cells import count as cells
from scbind.cells.count import count_fragments, start_sites, tss_enrichment
from scbind.core.errors import InputError
from scbind.formats import fragments
from scbind.formats.genome import ChromSizes
from scbind.formats.signal import CellSignal

LENGTHS = {"chr1": 30_000, "chr2": 8_000, "chr3": 500}


@pytest.fixture
def sizes_path(tmp_path):
    path = tmp_path / "chrom.sizes"
    path.write_text("".join(f"{name}\t{length}\n" for name, length in LENGTHS.items()))
    return path


def write_fragments(path, rows):
    with gzip.open(path, "wt") as handle:
        handle.writelines("\t".join(map(str, row)) + "\n" for row in rows)
    return path


@pytest.fixture
def random_fragments(tmp_path):
    """800 fragments of ten barcodes, chromosomes not in the order of the sizes, many ends out of order."""
    random = np.random.default_rng(5)
    rows = []
    for chrom in ("chr2", "chr1"):
        start = np.sort(random.integers(0, LENGTHS[chrom] - 700, 400))
        length = np.where(random.random(400) < 0.05, 1, random.integers(20, 700, 400))
        barcode = random.choice(10, 400, p=np.arange(1, 11) / 55)
        count = random.integers(1, 4, 400)
        rows += [
            (chrom, s, s + n, f"BC{9 - b}-1", c)
            for s, n, b, c in zip(start, length, barcode, count, strict=True)
        ]
    return write_fragments(tmp_path / "fragments.tsv.gz", rows), rows


def run(folder, fragments, sizes_path, min_fragments=1, **options):
    outputs = [folder / name for name in ("position.npy", "cell.npy", "barcodes.tsv", "profile.tsv")]
    count_fragments(fragments, sizes_path, *outputs, min_fragments, **options)
    return np.load(outputs[0]), np.load(outputs[1]), pd.read_csv(outputs[2], sep="\t")


def expected_insertions(rows, kept):
    offset = {"chr1": 0, "chr2": 30_000, "chr3": 38_000}
    return sorted(
        (offset[chrom] + at, kept.index(barcode))
        for chrom, start, end, barcode, _ in rows
        if barcode in kept
        for at in (start, end - 1)
    )


def test_insertions_and_counts_are_those_of_the_file(tmp_path, random_fragments, sizes_path):
    path, rows = random_fragments
    position, cell, table = run(tmp_path, path, sizes_path, min_fragments=60)
    lines = pd.Series([row[3] for row in rows]).value_counts()
    kept = sorted(lines.index[lines >= 60])
    assert 3 < len(kept) < 10
    assert table["barcode"].tolist() == kept
    assert position.dtype == cell.dtype == np.uint32
    assert (np.diff(position.astype(np.int64)) >= 0).all()
    assert sorted(zip(position.tolist(), cell.tolist(), strict=True)) == expected_insertions(rows, kept)
    np.testing.assert_array_equal(table["n_fragments"], lines[kept])
    reads = pd.DataFrame(rows).groupby(3)[4].sum()[kept]
    np.testing.assert_array_equal(table["n_reads"], reads)
    np.testing.assert_allclose(table["frac_duplicates"], 1 - lines[kept].to_numpy() / reads, rtol=1e-5)
    assert table["tss_enrichment"].isna().all()
    assert not list(tmp_path.glob(".spill*")) and not list(tmp_path.glob(".*partial*"))


def test_chunks_change_nothing(tmp_path, random_fragments, sizes_path, monkeypatch):
    path, _ = random_fragments
    whole = run(tmp_path, path, sizes_path, min_fragments=60)
    monkeypatch.setattr(cells, "CHUNK", 37)
    sizes_of_chunks = []

    def small_chunks(path, sizes):
        for chunk in fragments.iter_fragments(path, sizes):
            for begin in range(0, len(chunk), 13):
                sizes_of_chunks.append(len(chunk.iloc[begin : begin + 13]))
                yield chunk.iloc[begin : begin + 13]

    monkeypatch.setattr(cells, "iter_fragments", small_chunks)
    (tmp_path / "again").mkdir()
    parts = run(tmp_path / "again", path, sizes_path, min_fragments=60)
    assert len(sizes_of_chunks) > 50
    np.testing.assert_array_equal(whole[0], parts[0])
    np.testing.assert_array_equal(whole[1], parts[1])
    pd.testing.assert_frame_equal(whole[2], parts[2])


def test_quality_by_hand(tmp_path, sizes_path):
    lengths = [50, 146, 147, 293, 294, 400]  # two nucleosome-free, two mononucleosomal
    rows = [("chr1", 100 + i, 100 + i + n, "A", 1) for i, n in enumerate(lengths)]
    rows += [("chr1", 200, 400, "B", 5), ("chr1", 300, 340, "C", 2), ("chr1", 400, 800, "D", 1)]
    _, _, table = run(tmp_path, write_fragments(tmp_path / "f.tsv.gz", rows), sizes_path)
    assert table["barcode"].tolist() == list("ABCD")
    assert table["nucleosome_signal"].tolist()[:3] == [1, np.inf, 0]
    assert np.isnan(table["nucleosome_signal"][3])
    assert table["frac_duplicates"].tolist() == [0, 0.8, 0.5, 0]
    assert table["n_fragments"].tolist() == [6, 1, 1, 1]


@pytest.mark.parametrize("counted", [True, False])
def test_the_fraction_of_duplicates_is_unknown_if_every_fragment_has_one_read(tmp_path, sizes_path, counted):
    rows = [("chr1", 10 * i, 10 * i + 50, "AB"[i % 2], *[1] * counted) for i in range(6)]
    _, _, table = run(tmp_path, write_fragments(tmp_path / "f.tsv.gz", rows), sizes_path)
    assert table["frac_duplicates"].isna().all() and table["n_fragments"].tolist() == [3, 3]
    rows = [(*row[:4], 1 + (row[3] == "B")) for row in rows]
    _, _, table = run(tmp_path, write_fragments(tmp_path / "g.tsv.gz", rows), sizes_path)
    assert table["frac_duplicates"].tolist() == [0, 0.5]


def test_the_mitochondrial_fraction_is_that_of_the_fragments_and_unknown_if_there_are_none(tmp_path):
    sizes = tmp_path / "chrom.sizes"
    sizes.write_text("chr1\t9000\nchrM\t900\n")
    rows = [("chr1", 10 * i, 10 * i + 50, "AB"[i % 2], 1) for i in range(6)]
    _, _, table = run(tmp_path, write_fragments(tmp_path / "f.tsv.gz", rows), sizes)
    assert table["frac_mitochondrial"].isna().all(), "left out by the program that made the file"
    rows.append(("chrM", 5, 90, "B", 3))
    _, _, table = run(tmp_path, write_fragments(tmp_path / "f.tsv.gz", rows), sizes)
    assert table["frac_mitochondrial"].tolist() == [0, 0.25]


@pytest.mark.parametrize("packed", [False, True])
def test_allow_list_replaces_the_threshold(tmp_path, random_fragments, sizes_path, capsys, packed):
    path, rows = random_fragments
    listed = tmp_path / "allow.txt"
    text = b"BC9-1\r\nBC0-1\r\n\r\nGHOST-1\r\n"
    listed.write_bytes(gzip.compress(text) if packed else text)
    position, cell, table = run(tmp_path, path, sizes_path, 10_000, barcodes=listed)
    assert table["barcode"].tolist() == ["BC0-1", "BC9-1"]
    assert sorted(zip(position.tolist(), cell.tolist(), strict=True)) == expected_insertions(
        rows, ["BC0-1", "BC9-1"]
    )
    assert "1 of 3 barcodes (33.3%), such as GHOST-1, have no fragment" in capsys.readouterr().err


def test_allow_list_without_endings_or_of_nobody(tmp_path, random_fragments, sizes_path, capsys):
    path, _ = random_fragments
    listed = tmp_path / "allow.txt"
    listed.write_text("s1#BC1\ns1#BC7\ns2#BC3\n")
    assert run(tmp_path, path, sizes_path, barcodes=listed, sample="s1")[2]["barcode"].tolist() == [
        "BC1-1",
        "BC7-1",
    ]
    said = "2 barcodes of s1 found without s1# in front and a number such as -1 at the end"
    assert said in capsys.readouterr().err
    listed.write_text("AAA\nBBB\n")
    with pytest.raises(InputError, match=r"none of its 2 barcodes has a fragment .*listed: AAA, in the"):
        run(tmp_path, path, sizes_path, barcodes=listed)


def test_no_cell_is_an_error_and_leaves_nothing(tmp_path, random_fragments, sizes_path):
    path, _ = random_fragments
    with pytest.raises(InputError, match=r"no barcode has 5000 fragments \(the maximum is \d+\); lower"):
        run(tmp_path, path, sizes_path, min_fragments=5000)
    assert not (tmp_path / "barcodes.tsv").exists() and not list(tmp_path.glob(".spill*"))


def test_genome_must_fit_32_bits(tmp_path, random_fragments):
    big = tmp_path / "big.sizes"
    big.write_text("chr1\t4294967295\nchr2\t1\n")
    with pytest.raises(InputError, match=r"4294967296 bp, but positions are stored in 32 bits"):
        run(tmp_path, random_fragments[0], big)


def test_last_position_of_a_large_genome(tmp_path):
    big = tmp_path / "big.sizes"
    big.write_text("chr1\t4294967285\nchr2\t10\n")
    path = write_fragments(tmp_path / "f.tsv.gz", [("chr1", 0, 100, "A", 1), ("chr2", 3, 10, "A", 1)])
    position, _, _ = run(tmp_path, path, big)
    assert position.tolist() == [0, 99, 4294967288, 4294967294]


GENES = "chr1\t5000\t6000\tg1\t0\t+\nchr1\t9000\t20001\tg2\t0\t-\nchr3\t100\t200\tg3\t0\t+\n"


def test_tss_enrichment_by_hand(tmp_path, sizes_path):
    genes = tmp_path / "genes.bed"
    genes.write_text(GENES)
    sizes = ChromSizes.read(sizes_path)
    sites = start_sites(genes, sizes)
    assert sites.tolist() == [5000, 20000]  # the third is too near the end of its chromosome
    counted = [4950, 5050, 20000, 3000, 3099, 6901, 7000]  # edges of centre and flanks, all inside
    ignored = [4949, 5051, 2999, 3100, 6900, 7001]
    position = np.array(sorted(counted + ignored), dtype=np.uint32)
    signal = CellSignal(position, np.zeros(len(position), dtype=np.uint32), 2, sizes)
    np.testing.assert_allclose(tss_enrichment(signal, sites), [2 * (3 / 101) / max(4 / 100, 0.2), 0])
    flanks = np.tile(np.array([3000, 7000], dtype=np.uint32), 30)
    position = np.sort(np.concatenate([[5000] * 303, flanks])).astype(np.uint32)
    signal = CellSignal(position, np.zeros(len(position), dtype=np.uint32), 1, sizes)
    np.testing.assert_allclose(tss_enrichment(signal, sites), (303 / 101) / (60 / 200))


def test_tss_enrichment_does_not_depend_on_blocks(tmp_path, sizes_path, random_fragments, monkeypatch):
    genes = tmp_path / "genes.bed"
    genes.write_text("".join(f"chr1\t{at}\t{at + 50}\tg{at}\t0\t+\n" for at in range(2000, 27_000, 700)))
    whole = run(tmp_path, random_fragments[0], sizes_path, genes=genes)[2]["tss_enrichment"]
    assert whole.notna().all() and (whole > 0).any()
    monkeypatch.setattr(cells, "TSS_BLOCK", 3)
    parts = run(tmp_path, random_fragments[0], sizes_path, genes=genes)[2]["tss_enrichment"]
    pd.testing.assert_series_equal(whole, parts)


def test_genes_near_ends_only_are_refused(tmp_path, sizes_path):
    genes = tmp_path / "genes.bed"
    genes.write_text("chr3\t100\t200\tg3\t0\t+\n")
    with pytest.raises(InputError, match="no start site is at least 2000 bp from"):
        start_sites(genes, ChromSizes.read(sizes_path))


def test_what_tools_write_for_no_barcode_is_no_cell(tmp_path, sizes_path, capsys):
    names = ["AAA-1", "-", "NO_BARCODE", "NNNN-1"]
    rows = [("chr1", start, start + 50, name, 1) for start in range(100, 120) for name in names]
    path = write_fragments(tmp_path / "f.tsv.gz", rows)
    assert run(tmp_path, path, sizes_path, min_fragments=5)[2]["barcode"].tolist() == ["AAA-1"]
    said = capsys.readouterr().err
    assert "60 fragments without a barcode (-, NO_BARCODE, NNNN-1) belong to no cell" in said
