import gzip
from functools import partial

import bindingstore
import numpy as np
import pandas as pd
import pytest
import zarr
from bindingstore import write_windows
from scbind.analysis.targets import COLUMNS, PSEUDOCOUNT, potential_weights, tf_targets
from scbind.analysis.typemeans import TypeMeans
from scbind.binding.shards import decode
from scbind.binding.store import open_binding
from scbind.core.errors import InputError
from scbind.formats.genes import read_tss
from scbind.formats.genome import ChromSizes

SIZES = ChromSizes(("chr1", "chr2"), np.array([300_000, 200_000]))


KNOWN = '{"CTCF": {"level": "low", "abstained": true}}'
write_sample = partial(bindingstore.write_sample, known=KNOWN)


@pytest.fixture
def inputs(tmp_path):
    """One window at gene NEAR (type A), one 10 kb upstream of FAR on the - strand (type B)."""
    (tmp_path / "chrom.sizes").write_text("chr1\t300000\nchr2\t200000\n")
    write_windows(tmp_path / "windows.npz", [0, 0, 1], [49_900, 210_000, 100])
    (tmp_path / "genes.bed").write_text(
        "chr1\t50000\t60000\tNEAR\t0\t+\nchr1\t150000\t200101\tFAR\t0\t-\nchr2\t150000\t160000\tALONE\t0\t+\n"
    )
    codes = np.zeros((4, 3))
    codes[:2, 0] = 255  # cells of type A
    codes[2, 1] = 255  # one of two cells of type B
    store, cells = write_sample(tmp_path, "s", {"CTCF": codes, "SPI1": codes * 0}, ["A", "A", "B", "B"])
    return {
        "zarrs": [store], "cells": [cells], "windows": tmp_path / "windows.npz",
        "genes": tmp_path / "genes.bed", "sizes": tmp_path / "chrom.sizes",
        "output": tmp_path / "targets.tsv", "min_cells": 2,
    }  # fmt: skip


def test_potential_distance_and_specificity_are_exact(inputs):
    tf_targets(**inputs)
    table = pd.read_csv(inputs["output"], sep="\t")
    assert table.columns.tolist() == COLUMNS
    assert set(table.reliability_level) == {"low"} and table.reliability_abstained.all()
    assert set(table.tf) == {"CTCF"} and "ALONE" not in set(table.gene)
    near = table[(table.cell_type == "A") & (table.gene == "NEAR")].iloc[0]
    assert near.potential == pytest.approx(1) and near["rank"] == 1 and near.top_window_distance == 0
    assert near.specificity == pytest.approx(np.log2((1 + PSEUDOCOUNT) / (0 + PSEUDOCOUNT)), rel=1e-4)
    far = table[(table.cell_type == "B") & (table.gene == "FAR")].iloc[0]
    assert (far.tss, far.top_window_start, far.top_window_distance) == (200_100, 210_000, -10_000)
    assert far.potential == pytest.approx(0.5 * 0.5) and far.top_window_binding == pytest.approx(0.5)


def test_top_and_several_starts_of_a_gene(inputs):
    genes = inputs["genes"]
    genes.write_text("".join(f"chr1\t{50_000 + 10 * i}\t90000\tG{i // 2}\t0\t+\n" for i in range(10)))
    tf_targets(**inputs | {"top": 3})
    table = pd.read_csv(inputs["output"], sep="\t")
    assert table[table.cell_type == "A"].gene.tolist() == ["G0", "G1", "G2"]
    assert table[table.cell_type == "A"].tss.tolist() == [50_000, 50_020, 50_040]


def test_weights_match_the_formula_window_by_window():
    rng = np.random.default_rng(0)
    chrom, centre = rng.integers(0, 2, 60), rng.integers(0, 150_000, 60)
    tss = pd.DataFrame(
        {"gene": "g", "chrom": rng.integers(0, 2, 20), "tss": rng.integers(0, 150_000, 20), "strand": "+"}
    )
    weight, distance = potential_weights(chrom, centre, tss, 5_000, 20_000)
    gap = centre[:, None] - tss.tss.to_numpy()
    near = (np.abs(gap) <= 20_000) & (chrom[:, None] == tss.chrom.to_numpy())
    np.testing.assert_allclose(weight.toarray(), np.where(near, 2.0 ** (-np.abs(gap) / 5_000), 0), rtol=1e-5)
    np.testing.assert_array_equal(distance.toarray(), np.where(near, gap, 0))
    assert weight.nnz == near.sum() == distance.nnz


def cut(store, chunks):
    """Store its layers in small chunks, as large stores are in large ones."""
    layers = zarr.open_group(store, mode="a", use_consolidated=False)["layers"]
    for name in list(layers):
        codes, known = layers[name][:], dict(layers[name].attrs)
        layers.create_array(name, data=codes, chunks=chunks, attributes=known, overwrite=True)
    zarr.consolidate_metadata(store)


def test_type_means_over_samples_chunks_and_untyped_cells(tmp_path, capsys):
    rng = np.random.default_rng(0)
    codes = [rng.integers(0, 256, (n, 5)) for n in (7, 4)]
    types = [["A", "B", None, "A", "B", "A", "rare"], ["B", "A", "A", ""]]
    pairs = [write_sample(tmp_path, f"s{i}", {"X": codes[i]}, types[i]) for i in range(2)]
    for store, _ in pairs:
        cut(store, (3, 2))
    write_windows(tmp_path / "windows.npz", [0] * 5, range(0, 1000, 200))
    stores, cells = zip(*pairs, strict=True)
    means = TypeMeans.open(stores, cells, tmp_path / "windows.npz", min_cells=2, what="cell types")
    assert means.types == ["A", "B"] and means.n_cells.tolist() == [5, 3]
    assert open_binding(stores[0])._layer("X").chunks == (3, 2)
    stacked, labels = decode(255)[np.vstack(codes)], np.array(sum(types, []), dtype=object)
    expected = [stacked[labels == name].mean(axis=0) for name in "AB"]
    np.testing.assert_allclose(means.means("X"), expected, rtol=1e-5)
    assert "rare is skipped, because it has 1 cells (minimum 2)" in capsys.readouterr().err


def test_cells_too_shallow_for_a_tf_are_left_out_of_its_means(inputs, tmp_path, capsys):
    codes = np.array([[255, 255, 0], [0, 255, 0], [0, 255, 0], [0, 102, 0], [51, 102, 0], [255, 255, 255]])
    known = '{"CTCF": {"abstained": false, "min_depth": 1.0}, "SPI1": {"abstained": true, "min_depth": 9.0}}'
    depth = [2.0, 0.5, 0.9, 1.0, 2.0, 0.1]  # one cell of A and two of B are deep enough for CTCF
    store, cells = write_sample(
        tmp_path, "deep", {"CTCF": codes, "SPI1": codes}, ["A", "A", "A", "B", "B", "B"], depth=depth, known=known
    )  # fmt: skip
    means = TypeMeans.open([store], [cells], inputs["windows"], min_cells=2, what="targets")
    assert (
        "targets: 1 of 4 pairs of type and TF are left out, because fewer than 2 cells"
        in capsys.readouterr().err
    )
    ctcf, spi1 = means.means("CTCF"), means.means("SPI1")
    assert np.isnan(ctcf[0]).all()
    np.testing.assert_allclose(ctcf[1], [0.18, 0.64, 0], rtol=1e-5)  # P of code 51 is 0.36, of 102 0.64
    known = decode(255)[codes]
    np.testing.assert_allclose(spi1, [known[:3].mean(axis=0), known[3:].mean(axis=0)], rtol=1e-5)
    tf_targets(**inputs | {"zarrs": [store], "cells": [cells]})
    table = pd.read_csv(inputs["output"], sep="\t")
    ctcf = table[table.tf == "CTCF"]
    assert set(ctcf.cell_type) == {"B"} and ctcf.specificity.isna().all()  # nothing to compare it with
    assert set(table[table.tf == "SPI1"].cell_type) == {"A", "B"}


def test_gtf_and_gzip(tmp_path):
    lines = [
        "#!genome",
        'chr1\tx\tgene\t101\t200\t.\t+\t.\tgene_id "E1.1"; gene_name "ABC";',
        'chr1\tx\texon\t101\t150\t.\t+\t.\tgene_id "E1.1"; transcript_id "T"; gene_name "ABC";',
        'chr2\tx\tgene\t101\t200\t.\t-\t.\tgene_id "E2";',
        'chrUn\tx\tgene\t1\t20\t.\t-\t.\tgene_id "E3";',
    ]
    path = tmp_path / "genes.gtf.gz"
    with gzip.open(path, "wt") as handle:
        handle.write("\n".join(lines) + "\n")
    expected = [["ABC", 0, 100, "+"], ["E2", 1, 199, "-"]]
    assert read_tss(path, SIZES).to_numpy().tolist() == expected


def test_gtf_with_exons_only_is_joined_per_transcript(tmp_path):
    path = tmp_path / "genes.gtf"
    rows = [(501, 600, "T1"), (101, 200, "T1"), (301, 400, "T2")]
    path.write_text(
        "".join(f'chr1\tx\texon\t{a}\t{b}\t.\t+\t.\tgene_id "G"; transcript_id "{t}";\n' for a, b, t in rows)
    )
    assert read_tss(path, SIZES).tss.tolist() == [100, 300]


GENE_FILES = {
    "Ensembl GFF3": (
        "##gff-version 3\nchr1\th\tgene\t101\t200\t.\t+\t.\tID=gene:E1;Name=A%2CB\n"
        "chr1\th\tncRNA_gene\t301\t400\t.\t-\t.\tID=gene:E2\n##FASTA\n>chr1\nACGT\n",
        [["A,B", 0, 100, "+"], ["E2", 0, 399, "-"]],
    ),
    "FlyBase, # in an attribute": (
        'chr1\tF\tgene\t101\t200\t.\t+\t.\tgene_id "FBgn1"; note "clone #12; x"; gene_symbol "nan";\n'
        'chr1\tF\tmRNA\t101\t200\t.\tgene_id "FBgn1";\n',
        [["nan", 0, 100, "+"]],
    ),
    "NCBI, without a strand": (
        'chr1\tG\tgene\t101\t200\t.\t+\t.\tgene_id "LOC1"; gene "Sox2";\n'
        'chr1\tG\tgene\t301\t400\t.\t?\t.\tgene_id "rps12"; gene "rps12";\n',
        [["Sox2", 0, 100, "+"]],
    ),
    "an empty name": (
        'chr1\tx\tgene\t101\t200\t.\t+\t.\tgene_id "E1"; gene_name "";\n'
        'chr1\tx\tgene\t301\t400\t.\t+\t.\tgene_id "";\n',
        [["E1", 0, 100, "+"]],
    ),
    "beyond the end": (
        "chr1\t100\t200\tNA\t0\t+\nchr1\t900000\t900200\tB\t0\t+\n",
        [["NA", 0, 100, "+"]],
    ),
    "BED12 with a name and a score of digits": (
        "track name=x\nchr1\t100\t200\t17\t0\t+\t100\t200\t0\t1\t100,\t0,\n",
        [["17", 0, 100, "+"]],
    ),
    "a line of column names": (
        "chrom\tstart\tend\tname\tscore\tstrand\nchr1\t100\t200\tN/A\t0\t-\n",
        [["N/A", 0, 199, "-"]],
    ),
}


@pytest.mark.parametrize("kind", GENE_FILES)
def test_gene_files_as_people_have_them(tmp_path, kind):
    text, expected = GENE_FILES[kind]
    path = tmp_path / "genes.txt"  # the name tells nothing
    path.write_text(text)
    assert read_tss(path, SIZES).to_numpy().tolist() == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chr1\t1\t2\n", "3 columns; BED has 6"),
        (f"chr1\t5\t{'9' * 5000}\tG\t0\t+\n", "line 1: start and end are not whole numbers"),
        ("chr1\t5\t5\tG\t0\t+\n", "line 1: start and end are not whole numbers with start before end"),
        ("chr1\t5\t9\tG\t0\t.\n", "line 1: no gene has a strand"),
        (
            "1\t5\t9\tG\t0\t+\n",
            r"no chromosome name matches the genome \(file: 1; genome: chr1.*add the prefix chr",
        ),
        ("chr1\t500000\t600000\tG\t0\t+\n", "line 1: the gene starts beyond the end of its chromosome"),
        ("#only a comment\n", "no genes in it"),
        ('chr1\tx\tCDS\t5\t9\t.\t+\t.\tgene_id "G";\n', "no lines of feature gene, transcript or exon"),
    ],
)
def test_bad_genes(tmp_path, text, message):
    path = tmp_path / "genes.bed"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_tss(path, SIZES)


def test_without_a_type_of_enough_cells_the_table_has_no_row(inputs, tmp_path, capsys):
    tf_targets(**inputs | {"min_cells": 20})
    table = pd.read_csv(inputs["output"], sep="\t")
    assert table.empty and table.columns.tolist() == COLUMNS
    assert "WARNING TF targets: no cell type has 20 cells, so there are no rows" in capsys.readouterr().err
    inputs["genes"].write_text("chr2\t150000\t160000\tALONE\t0\t+\n")  # no gene is near a window
    tf_targets(**inputs)
    assert pd.read_csv(inputs["output"], sep="\t").columns.tolist() == COLUMNS


def test_bad_stores(inputs, tmp_path):
    with pytest.raises(InputError, match="half_decay"):
        tf_targets(**inputs | {"half_decay": 0})
    with pytest.raises(InputError, match="1 binding stores but 0 cell tables"):
        tf_targets(**inputs | {"cells": []})
    with pytest.raises(InputError, match="this binding store does not exist"):
        tf_targets(**inputs | {"zarrs": [tmp_path / "none.zarr"]})
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(InputError, match=r"empty.zarr: not readable \(.*\); merge its shards again"):
        tf_targets(**inputs | {"zarrs": [tmp_path / "empty.zarr"]})
    store, cells = write_sample(tmp_path, "short", {"CTCF": np.ones((4, 3))}, ["A"] * 4, listed=2)
    with pytest.raises(InputError, match="2 cells, such as c2, are not in"):
        tf_targets(**inputs | {"zarrs": [store], "cells": [cells]})
    with pytest.raises(InputError, match="its TFs or windows differ"):
        tf_targets(**inputs | {"zarrs": [*inputs["zarrs"], store], "cells": inputs["cells"] * 2})
    write_windows(tmp_path / "windows.npz", [0], [0])
    with pytest.raises(InputError, match="has 1 windows, but the stores have 3"):
        tf_targets(**inputs)
    assert not inputs["output"].exists()
