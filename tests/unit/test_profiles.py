"""The curves of a library, and the table of quality that MultiQC reads."""

import anndata
import numpy as np
import pandas as pd
import pytest
import yaml
from scbind.cells.count import count_fragments
from scbind.cells.profiles import (
    LONGEST,
    REACH,
    Lengths,
    ignored_barcodes,
    profile_table,
    read_profile,
    weak_start_sites,
)
from scbind.cells.qualitytable import quality_table
from scbind.core.errors import InputError
from scbind.report.librarycurves import library_curves, read_library_curves

SITE, FLAT = 10_000, 3  # position of the only start site, and fragments per 20 bp elsewhere


def count(tmp_path, gene_start=SITE, flat=FLAT):
    """A library with ``flat`` fragments in every bin, and five times as many within 100 bp of ``SITE``."""
    (tmp_path / "sizes").write_text("chr1\t20000\n")
    (tmp_path / "genes.bed").write_text(f"chr1\t{gene_start}\t{gene_start + 2000}\tGENE\t0\t+\n")
    rows = []
    for start in range(0, 19_000, 20):
        n = flat * (5 if abs(start - SITE) < 100 else 1)
        rows += [f"chr1\t{start + i}\t{start + i + 1}\tC{i}-1\t1\n" for i in range(n)]
    rows.append("chr1\t19000\t20000\tC0-1\t1\n")
    (tmp_path / "fragments.tsv").write_text("".join(rows))
    outputs = [tmp_path / name for name in ("position.npy", "cell.npy", "barcodes.tsv", "profile.tsv")]
    count_fragments(tmp_path / "fragments.tsv", tmp_path / "sizes", *outputs, 1, genes=tmp_path / "genes.bed")
    return pd.read_csv(outputs[-1], sep="\t")


@pytest.fixture
def counted(tmp_path):
    return count(tmp_path)


def test_insertions_that_are_not_at_start_sites_are_a_warning(tmp_path, capsys):
    assert weak_start_sites(count(tmp_path)) is None
    assert "WARNING" not in capsys.readouterr().err
    elsewhere = count(tmp_path, gene_start=SITE + 4000)  # as if the genes were of another assembly
    assert weak_start_sites(elsewhere) == pytest.approx(1)
    said = capsys.readouterr().err
    assert "WARNING" in said and "only 1.00 times as frequent at the start sites of genes" in said
    assert "fragments.tsv" in said and "genes.bed" in said


def test_few_insertions_around_start_sites_give_no_curve_and_no_warning(tmp_path, capsys):
    few = count(tmp_path, gene_start=SITE + 4000, flat=2)
    assert few.loc[few["curve"] == "tss", "value"].isna().all() and weak_start_sites(few) is None
    assert "WARNING" not in capsys.readouterr().err


def test_lengths_count_every_fragment_and_the_longest_as_the_limit(counted):
    length = counted[counted["curve"] == "length"].set_index("position")["value"]
    assert list(length.index) == list(range(LONGEST + 1))
    assert length[1] == 950 * FLAT + 4 * FLAT * 9
    assert length[LONGEST] == 1
    longer = Lengths()
    longer.add(np.array([LONGEST + 500, 30, 30]))
    assert longer.counts[LONGEST] == 1 and longer.counts[30] == 2


def test_the_curve_around_start_sites_is_relative_to_its_ends(counted):
    tss = counted[counted["curve"] == "tss"].set_index("position")["value"]
    assert tss.index[0] == -REACH + 10 and tss.index[-1] == REACH - 10 and len(tss) == 200
    assert tss[:5].mean() == pytest.approx(1) and tss[-5:].mean() == pytest.approx(1)
    assert tss[-70] == pytest.approx(5) and tss[510] == pytest.approx(1)


def test_without_genes_or_background_there_is_no_curve(tmp_path):
    table = profile_table(Lengths(), None)
    assert set(table["curve"]) == {"length"}
    table = profile_table(Lengths(), np.full(200, np.nan))
    path = tmp_path / "profile.tsv"
    table.to_csv(path, sep="\t", index=False)
    figure = library_curves(read_library_curves({"s": path}), ["s"], {"s": "#0072B2"})
    assert len([axis for axis in figure.axes if axis.lines]) == 1


@pytest.fixture
def cells(tmp_path):
    obs = pd.DataFrame(
        {
            "n_fragments": [1000.0, 3000.0, 50.0],
            "tss_enrichment": [8.0, 10.0, 1.0],
            "frac_mitochondrial": [0.1, 0.3, 0.9],
            "nucleosome_signal": [0.5, np.inf, 1.0],
            "doublet_score": [0.25, 0.5, np.nan],
            "pass": [True, True, False],
        },
        index=["a", "b", "c"],
    )
    anndata.AnnData(obs=obs).write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path / "cells.h5ad"


def test_the_quality_table_is_what_multiqc_reads(tmp_path, cells, counted):
    output = tmp_path / "quality_mqc.tsv"
    quality_table(["s1"], [cells], [tmp_path / "profile.tsv"], output)
    lines = output.read_text().splitlines()
    header = yaml.safe_load("\n".join(line[2:] for line in lines if line.startswith("# ")))
    assert header["plot_type"] == "table" and header["id"] == "scbind_quality"
    (row,) = pd.read_csv(output, sep="\t", comment="#").to_dict("records")
    assert row["sample"] == "s1" and row["cells"] == 3 and row["passing"] == 2
    assert row["median_n_fragments"] == 2000 and row["median_tss_enrichment"] == 9
    assert row["median_frac_mitochondrial"] == 0.2
    assert row["median_nucleosome_signal"] == 0.5  # infinite: no short fragment
    assert row["expected_doublets"] == 0.75
    assert np.isnan(row["median_frac_in_peaks"])
    assert row["tss_profile_maximum"] == pytest.approx(5)
    assert row["nucleosome_free"] == pytest.approx(1, abs=0.001)


def test_bad_input_of_the_quality_table_is_one_line(tmp_path, cells, counted):
    with pytest.raises(InputError, match="_mqc.tsv"):
        quality_table(["s"], [cells], [tmp_path / "profile.tsv"], tmp_path / "quality.tsv")
    with pytest.raises(InputError, match="gone.tsv"):
        quality_table(["s"], [cells], [tmp_path / "gone.tsv"], tmp_path / "q_mqc.tsv")
    assert not (tmp_path / "q_mqc.tsv").exists()


def test_barcodes_that_were_ignored_are_counted(tmp_path, capsys):
    (tmp_path / "sizes").write_text("chr1\t20000\n")
    rows = [f"chr1\t{10 * i}\t{10 * i + 9}\tC{0 if i < 5 else i}-1\t1\n" for i in range(9)]
    (tmp_path / "f.tsv").write_text("".join(rows))
    (tmp_path / "list.txt").write_text("C0-1\n")
    outputs = [tmp_path / name for name in ("position.npy", "cell.npy", "barcodes.tsv", "profile.tsv")]
    line = "4 of 5 barcodes have fewer than 5 fragments (cells.min_barcode) and were ignored"
    for least, options, expected in (
        (5, {}, line),
        (1, {}, ""),
        (5, {"barcodes": tmp_path / "list.txt"}, ""),
    ):
        count_fragments(tmp_path / "f.tsv", tmp_path / "sizes", *outputs, least, **options)
        assert ignored_barcodes(read_profile(outputs[-1])) == expected
        assert (line in capsys.readouterr().err) == bool(expected)
