import json

import anndata
import numpy as np
import pandas as pd
import pytest
from scbind.analysis import enrichment
from scbind.analysis.enrichment import (
    BEST_SITES,
    COLUMNS,
    SITE_COLUMNS,
    hit_threshold,
    match_background,
    motif_enrichment,
)
from scbind.binding.merging import FORMAT
from scbind.core.errors import InputError
from scipy import stats

WORDS = {"CTCF": "CCACCAGGGGGCGC", "SPI1": "AAAGAGGAAGTGAA", "GATA1": "TTCTAATCTATCAA"}
N_WINDOWS = 600


def matrix_of(word):
    matrix = np.full((4, len(word)), -3.0, dtype=np.float32)
    for position, letter in enumerate(word):
        matrix["ACGT".index(letter), position] = 1.8
    return matrix


@pytest.fixture
def inputs(tmp_path):
    """Windows 0-99 are CTCF sites and have its word; SPI1 is predicted at windows without any word."""
    rng = np.random.default_rng(0)
    reference = tmp_path / "genome"
    reference.mkdir()
    length = N_WINDOWS * 400
    codes = rng.integers(0, 4, length).astype(np.uint8)
    start = np.arange(N_WINDOWS) * 400
    for window in range(100):
        word = np.array(["ACGT".index(c) for c in WORDS["CTCF"]], dtype=np.uint8)
        word = word if window % 2 else 3 - word[::-1]
        codes[start[window] + 50 : start[window] + 64] = word
    (reference / "chrom.sizes").write_text(f"chr1\t{length}\n")
    np.save(reference / "sequence.npy", codes)
    np.savez(
        tmp_path / "windows.npz", chrom=np.zeros(N_WINDOWS, dtype=np.int16), start=start.astype(np.int32),
        peak=np.arange(N_WINDOWS, dtype=np.int32), gc=rng.uniform(0.3, 0.7, N_WINDOWS).astype(np.float32),
        window=200, context=1000,
    )  # fmt: skip
    np.savez(
        tmp_path / "motifs.npz", tfs=np.array(list(WORDS)), matrix_ids=np.array([f"MA1:{w}" for w in WORDS]),
        **{f"matrix/{tf}": matrix_of(word) for tf, word in WORDS.items()},
    )  # fmt: skip
    layers = {}
    for tf, sites in {"CTCF": range(100), "SPI1": range(300, 400)}.items():
        binding = rng.integers(0, 40, (30, N_WINDOWS)).astype(np.uint8)
        binding[:, list(sites)] += 150
        layers[tf] = binding
    obs = pd.DataFrame({"cell_type": ["A"] * 30, "borrowed_depth": 1.0}, index=[f"c{i}" for i in range(30)])
    uns = {"format": FORMAT, "scale": 255, "floor": 0.02, "max_error": 0.004, "provenance": "{}",
           "reliability": '{"CTCF": {"level": "high", "abstained": false}}',
           "tfs": np.array(["CTCF", "SPI1"], dtype=object)}  # fmt: skip
    var = pd.DataFrame(index=[f"w{i}" for i in range(N_WINDOWS)])
    anndata.AnnData(obs=obs, var=var, uns=uns, layers=layers).write_zarr(tmp_path / "s.zarr")
    anndata.AnnData(obs=obs).write_h5ad(tmp_path / "cells.h5ad")
    return {
        "zarrs": [tmp_path / "s.zarr"], "cells": [tmp_path / "cells.h5ad"],
        "windows": tmp_path / "windows.npz", "reference_dir": reference, "motifs": tmp_path / "motifs.npz",
        "output": tmp_path / "motifs.tsv", "n_sites": 100,
    }  # fmt: skip


def test_planted_motif_is_enriched_in_its_own_sites_only(inputs):
    motif_enrichment(**inputs)
    table = pd.read_csv(inputs["output"], sep="\t")
    assert table.columns.tolist() == COLUMNS and (table.n_motifs == 3).all()
    ctcf = table[(table.tf == "CTCF") & table.own].iloc[0]
    assert (ctcf["rank"], ctcf.motif_id, ctcf.sites_with_motif, ctcf.n_sites) == (1, "MA1:CTCF", 1.0, 100)
    assert (ctcf.reliability_level, ctcf.reliability_abstained) == ("high", False)
    assert ctcf.p_adjusted < 1e-20 and ctcf.odds_ratio > 100
    assert ctcf.gc_sites == pytest.approx(ctcf.gc_background, abs=0.02)
    spi1 = table[(table.tf == "SPI1") & table.own].iloc[0]
    assert (spi1.reliability_level, spi1.reliability_abstained) == ("unknown", True)
    assert spi1.p_adjusted > 0.05 and spi1.sites_with_motif < 0.2
    a, n = round(ctcf.sites_with_motif * ctcf.n_sites), ctcf.n_sites
    b, m = round(ctcf.background_with_motif * ctcf.n_background), ctcf.n_background
    expected = stats.fisher_exact([[a, n - a], [b, m - b]], alternative="greater").pvalue
    assert ctcf.p_value == pytest.approx(expected, rel=1e-3)


def test_best_sites_are_the_best_windows_of_different_peaks(inputs, tmp_path):
    known = dict(np.load(inputs["windows"]))
    known["peak"] = known["peak"] // 2  # two windows on each peak
    np.savez(inputs["windows"], **known)
    motif_enrichment(**inputs | {"best": tmp_path / "best.tsv"})
    table = pd.read_csv(tmp_path / "best.tsv", sep="\t")
    assert table.columns.tolist() == SITE_COLUMNS and set(table.tf) == {"CTCF", "SPI1"}
    codes = anndata.read_zarr(inputs["zarrs"][0]).layers["CTCF"]
    means = (1 - (1 - codes / 255) ** 2).mean(axis=0)
    for tf, part in table.groupby("tf"):
        assert len(part) == BEST_SITES and part["rank"].tolist() == list(range(1, BEST_SITES + 1))
        assert part["binding"].is_monotonic_decreasing and (part["end"] - part["start"] == 200).all()
        assert part["start"].div(800).astype(int).is_unique, "one window of each peak"
        if tf == "CTCF":
            window = (part["start"] // 400).to_numpy()
            assert (window < 100).all() and window[0] == means.argmax()
            assert part["binding"].to_numpy() == pytest.approx(means[window], abs=1e-3)


def test_a_factor_without_deep_cells_has_no_row_and_does_not_spoil_the_others(inputs, tmp_path, capsys):
    store = anndata.read_zarr(inputs["zarrs"][0])
    known = '{"CTCF": {"level": "high", "abstained": false}, "SPI1": {"abstained": false, "min_depth": 2.0}}'
    store.uns["reliability"] = known
    store.write_zarr(tmp_path / "other.zarr")
    motif_enrichment(**inputs | {"zarrs": [tmp_path / "other.zarr"]})
    table = pd.read_csv(inputs["output"], sep="\t")
    assert set(table.tf) == {"CTCF"} and table[table.own].odds_ratio.iloc[0] > 100
    assert "motif enrichment: 1 of 2 pairs of type and TF are left out" in capsys.readouterr().err


def test_only_top_motifs_and_the_own_one_are_listed_and_seed_decides(inputs, tmp_path):
    motif_enrichment(**inputs | {"top_motifs": 1})
    table = pd.read_csv(inputs["output"], sep="\t")
    assert (table.own | (table["rank"] == 1)).all() and set(table[table.own].tf) == {"CTCF", "SPI1"}
    again = tmp_path / "again.tsv"
    motif_enrichment(**inputs | {"top_motifs": 1, "output": again})
    assert again.read_bytes() == inputs["output"].read_bytes()


def test_all_tests_are_adjusted_but_only_the_listed_ones_are_kept(monkeypatch):
    """The number of tests grows with the square of the number of TFs: 3.3 GB with 753 TFs and 8 types."""
    rng, names, kept = np.random.default_rng(2), [f"T{number:02}" for number in range(30)], []
    used, hits = np.arange(400), rng.random((400, 30)) < 0.2
    pairs = [(cell_type, tf, rng.choice(400, 60, replace=False), rng.choice(400, 60, replace=False), 0.5)
             for tf in names for cell_type in ("b", "a")]  # fmt: skip
    joined = pd.concat
    monkeypatch.setattr(
        pd, "concat", lambda tables, **how: kept.extend(map(len, tables)) or joined(tables, **how)
    )
    table = enrichment._list_motifs(pairs, used, hits, np.full(400, 0.5), names, 3, np.zeros((60, 30)))
    assert len(kept) == 60 and set(kept) <= {3, 4}, "rows of each pair"
    every = enrichment._list_motifs(pairs, used, hits, np.full(400, 0.5), names, 30, np.zeros((60, 30)))
    assert (
        len(every) == 60 * 30
        and (every["p_adjusted"] == stats.false_discovery_control(every["p_value"])).all()
    )
    order = ["cell_type", "tf", "p_value", "odds_ratio"]
    assert every.equals(every.sort_values(order, ascending=[True, True, True, False], kind="stable"))
    every = every[every["own"] | (every["rank"] <= 3)].reset_index(drop=True)
    pd.testing.assert_frame_equal(table, every, check_exact=True)


def test_threshold_is_that_of_brute_force():
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(4, 6)).astype(np.float32)
    words = np.stack(np.meshgrid(*[range(4)] * 6, indexing="ij"), axis=-1).reshape(-1, 6)
    scores = np.sort(matrix[words, np.arange(6)].sum(axis=1))[::-1]
    for p in (0.1, 0.01, 0.001):
        share = (scores >= hit_threshold(matrix, p)).mean()
        assert share == pytest.approx(p, rel=0.15)
    assert (scores >= hit_threshold(matrix, 1e-9)).sum() == 1  # too short: only the best word


def test_background_is_near_distinct_and_from_the_candidates():
    rng = np.random.default_rng(0)
    features = rng.uniform(size=(2000, 2))
    sites, candidates = np.arange(100), np.arange(500, 2000)
    chosen = match_background(sites, candidates, features, np.random.default_rng(0))
    assert len(chosen) == 100 == len(np.unique(chosen)) and chosen.min() >= 500
    np.testing.assert_allclose(features[chosen].mean(axis=0), features[sites].mean(axis=0), atol=0.02)
    assert len(match_background(sites, np.arange(500, 510), features, np.random.default_rng(0))) == 10
    assert len(match_background(sites, np.empty(0, dtype=int), features, np.random.default_rng(0))) == 0


def test_bad_inputs(inputs, tmp_path):
    with pytest.raises(InputError, match="no such file; run the motifs rule first"):
        motif_enrichment(**inputs | {"motifs": tmp_path / "none.npz"})
    np.savez(tmp_path / "w.npz", chrom=np.zeros(1, np.int16), start=np.zeros(1, np.int32), window=200,
             context=1000, peak=np.zeros(1, np.int32), gc=np.zeros(1, np.float32))  # fmt: skip
    with pytest.raises(InputError, match="has 1 windows, but the stores have 600"):
        motif_enrichment(**inputs | {"windows": tmp_path / "w.npz"})
    assert not inputs["output"].exists()


def test_without_a_type_of_enough_cells_the_tables_have_no_row(inputs, tmp_path, capsys):
    motif_enrichment(**inputs | {"min_cells": 31, "best": tmp_path / "best.tsv"})
    for path, columns in ((inputs["output"], COLUMNS), (tmp_path / "best.tsv", SITE_COLUMNS)):
        assert path.read_text() == "\t".join(columns) + "\n"
    said = capsys.readouterr().err
    assert "WARNING motif enrichment: no cell type has 31 cells, so there are no rows" in said


def test_tfs_without_chip_seq_do_not_change_the_tests_of_the_others(inputs, tmp_path):
    """Ten TFs without ChIP-seq have the windows and the matrix of CTCF: their tests are all significant."""
    store, twins = anndata.read_zarr(inputs["zarrs"][0]), [f"M{number}" for number in range(10)]
    known = {tf: {"level": "high", "abstained": False, "evidence": "chip"} for tf in ("CTCF", "SPI1")}
    known |= {tf: {"level": "high", "abstained": False, "evidence": "motif"} for tf in twins}
    motifs = dict(np.load(inputs["motifs"]))
    tables = {}
    for name, added in (("alone", []), ("beside", twins)):
        store.uns |= {
            "reliability": json.dumps(known),
            "tfs": np.array(["CTCF", "SPI1", *added], dtype=object),
        }
        for tf in added:
            store.layers[tf] = store.layers["CTCF"].copy()
        store.write_zarr(tmp_path / f"{name}.zarr")
        motifs["tfs"] = np.array([*WORDS, *added])
        motifs["matrix_ids"] = np.array([f"MA1:{tf}" for tf in motifs["tfs"]])
        motifs |= {f"matrix/{tf}": motifs["matrix/CTCF"] for tf in added}
        np.savez(tmp_path / "more.npz", **motifs)
        motif_enrichment(
            **inputs
            | {"zarrs": [tmp_path / f"{name}.zarr"], "motifs": tmp_path / "more.npz", "top_motifs": 20}
        )
        tables[name] = pd.read_csv(inputs["output"], sep="\t")
    own = [table[table.tf.isin(WORDS) & table.motif.isin(["CTCF", "SPI1"])] for table in tables.values()]
    columns = ["tf", "motif", "odds_ratio", "p_value", "p_adjusted"]
    alone, beside = (table[columns].sort_values(columns, ignore_index=True) for table in own)
    pd.testing.assert_frame_equal(alone, beside, check_exact=True)
    theirs = tables["beside"][tables["beside"].tf.isin(twins)]
    assert len(theirs) == 10 * 13 and (theirs[theirs.own].p_adjusted < 1e-20).all()


@pytest.mark.parametrize(("assayed", "counted"), [(["CTCF", "SPI1"], False), (["CTCF"], True)])
def test_openness_of_one_assayed_tf_comes_from_the_tfs_without_chip_seq(
    inputs, tmp_path, monkeypatch, assayed, counted
):
    store = anndata.read_zarr(inputs["zarrs"][0])
    store.layers["M1"] = store.layers["SPI1"][:, ::-1].copy()
    known = {tf: {"level": "high", "abstained": False, "evidence": "motif"} for tf in ("CTCF", "SPI1", "M1")}
    known |= {tf: known[tf] | {"evidence": "chip"} for tf in assayed}
    tfs = np.array([*assayed, *(tf for tf in known if tf not in assayed)], dtype=object)
    store.uns |= {"reliability": json.dumps(known), "tfs": tfs}
    store.write_zarr(tmp_path / "other.zarr")
    seen, match = [], enrichment.match_background
    monkeypatch.setattr(
        enrichment, "match_background", lambda *given: seen.append(given[2][:, 1]) or match(*given)
    )
    motif_enrichment(**inputs | {"zarrs": [tmp_path / "other.zarr"]})
    mean = {tf: (1 - (1 - store.layers[tf] / 255) ** 2).mean(axis=0) for tf in known}
    expected = (mean["SPI1"] + mean["M1"]) / 2 if counted else mean["SPI1"]
    np.testing.assert_allclose(seen[list(tfs).index("CTCF")], expected, atol=0.01)
