"""Links of TFs and genes: association within types, its null, probabilities, tables, and links per cell."""

import json
import pickle
import re
import tracemalloc

import anndata
import numpy as np
import pandas as pd
import pytest
import scbind
import scipy.sparse as sp
from benchmark import load_benchmark
from bindingstore import write_sample, write_windows
from scbind.analysis import links
from scbind.analysis.covary import Counts, Covariation, residuals
from scbind.analysis.linkmodel import PROMOTER, p_values, posterior, shares
from scbind.analysis.links import COLUMNS, SiteGenes, tf_links
from scbind.analysis.regulation import cell_regulation
from scbind.analysis.sitegenes import find_pairs, share_fragments, site_genes
from scbind.analysis.tfactive import active_in_cells, active_in_types, tf_active
from scbind.core.errors import InputError
from scbind.formats.genome import ChromSizes
from scipy import stats

N_GENES, SPACING, MB = 60, 30_000, 2_000_000


def test_association_is_within_types_only():
    """Site 0 makes gene 0 more active in each cell; site 1 and gene 1 only differ between types."""
    rng = np.random.default_rng(0)
    kind = np.repeat([0, 1], 400)
    is_open = rng.random(800) < 0.5
    sites = np.stack(
        [rng.poisson(0.3 + 2 * is_open), rng.poisson(0.5 + 4 * kind), rng.poisson(60, 800)], axis=1
    )
    genes = np.stack([rng.poisson(1 + 3 * is_open), rng.poisson(1 + 8 * kind), rng.poisson(60, 800)], axis=1)
    every = np.array([0, 1, 2])
    found = Covariation(every, every, every, 3, 3)
    found.add(Counts(sp.csr_matrix(sites * 1.0), sp.csr_matrix(genes * 1.0), kind))
    assert found.pairs()[0] > 8 and abs(found.pairs()[1]) < 3
    assert found.null()[0, 0] == pytest.approx(found.pairs()[0], rel=1e-4)
    alone = Covariation(every, every, every, 3, 3)
    alone.add(Counts(sp.csr_matrix(sites * 1.0), sp.csr_matrix(genes * 1.0), kind * 0))
    assert alone.pairs()[1] > 8  # without types, they would be the strongest pair


def test_samples_add_up_and_small_strata_are_left_out():
    rng = np.random.default_rng(1)
    counts = [sp.csr_matrix(rng.poisson(1.0, (50, 4)) * 1.0) for _ in range(4)]
    every = np.arange(4)
    found = Covariation(every, every, every[:0], 4, 4)
    found.add(Counts(counts[0], counts[1], np.zeros(50, int)))
    first = found.pairs().copy()
    found.add(Counts(counts[2], counts[3], np.full(50, -1)))
    found.add(Counts(counts[2][:5], counts[3][:5], np.zeros(5, int)))
    assert (found.pairs() == first).all() and found.n_cells == 50


def test_residuals_have_no_mean_within_a_stratum():
    counts = np.random.default_rng(2).poisson(3.0, (60, 2)).astype(float)
    stratum = np.repeat([0, 1], 30)
    found = residuals(counts, np.ones(60), stratum)
    assert np.allclose(found[:30].mean(axis=0), 0) and found.std() == pytest.approx(1, abs=0.2)


def test_p_values_are_uniform_without_links():
    rng = np.random.default_rng(3)
    scale = rng.uniform(1, 5, 500)[:, None]
    values = scale * rng.normal(2, 1, (500, 101))
    assert stats.kstest(p_values(values[:, 0], values[:, 1:]), "uniform").pvalue > 0.01
    assert p_values(values[:, 1:].mean(axis=1) + 8 * scale[:, 0], values[:, 1:]).max() < 0.001


def test_probabilities_hold_without_and_with_evidence():
    rng = np.random.default_rng(4)
    share = shares(np.full(3000, 0.7), np.arange(3000) // 3, 1000)
    assert share == pytest.approx(1 / 3)
    linked = rng.random(3000) < 0.2
    found, _ = posterior(np.where(linked, rng.normal(3, 1.5, 3000), rng.normal(0, 1, 3000)), share)
    for low, high in ((0.1, 0.4), (0.4, 0.7), (0.9, 1.0)):
        here = (found > low) & (found <= high)
        assert linked[here].mean() == pytest.approx(found[here].mean(), abs=0.12)
    unknown, _ = posterior(np.full(3000, np.nan), share)
    assert unknown == pytest.approx(0.5 / 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Genes every 30 kb. The site 10 kb beside gene i regulates gene i (even i), or gene i + 1 (odd i)."""
    path, rng = tmp_path_factory.mktemp("links"), np.random.default_rng(5)
    tss = 50_000 + SPACING * np.arange(N_GENES)
    (path / "chrom.sizes").write_text(f"chr1\t{MB}\n")
    (path / "genes.bed").write_text("".join(f"chr1\t{x}\t{x + 100}\tG{i}\t0\t+\n" for i, x in enumerate(tss)))
    centre = np.sort(np.concatenate([tss, tss + 10_000]))
    var = pd.DataFrame({"chrom": pd.Categorical(["chr1"] * len(centre)), "start": centre - 250})
    var["end"] = centre + 251
    var.index = [f"chr1:{s}-{e}" for s, e in zip(var["start"], var["end"], strict=True)]
    n = 600
    types = np.repeat(["a", "b"], n // 2)
    is_open = rng.random((n, N_GENES)) < 0.5
    counts = np.zeros((n, len(centre)))
    counts[:, 0::2], counts[:, 1::2] = rng.poisson(1, (n, N_GENES)), rng.poisson(0.1 + 2 * is_open)
    target = np.arange(N_GENES) + np.arange(N_GENES) % 2
    rate = np.ones((n, N_GENES + 1))
    for site in range(N_GENES):
        rate[:, target[site]] *= np.where(is_open[:, site], 3, 1)
    rna = rng.poisson(3 * rate[:, :N_GENES])
    obs = pd.DataFrame({"cell_type": types, "pass": True, "n_molecules": rna.sum(axis=1)})
    obs.index = [f"c{i}" for i in range(n)]
    (path / "s").mkdir()
    anndata.AnnData(sp.csr_matrix(counts), obs=obs, var=var).write_h5ad(path / "s/peaks.h5ad")
    expression = anndata.AnnData(sp.csr_matrix(rna), obs=obs)
    expression.var_names = [f"G{i}" for i in range(N_GENES)]
    expression.write_h5ad(path / "s/rna.h5ad")
    write_windows(path / "windows.npz", [0] * len(centre), centre - 100)
    codes = np.zeros((n, len(centre)), dtype=np.uint8)
    codes[:, 1::4] = np.where(
        is_open[:, 0::2], 250, 0
    )  # TF A binds the sites of even genes where they are open
    other = np.where(rng.random(codes.shape) < 0.5, 250, 0).astype(np.uint8)
    trusted = json.dumps({"A": {"level": "high", "abstained": False}})
    write_sample(path, "s", {"A": codes, "B": other}, types, known=trusted)
    z = np.zeros((n, 2))
    z[:, 1] = np.where(types == "a", 8, -8) + rng.normal(0, 1, n)
    activity = anndata.AnnData(z, obs=obs, layers={"mean_binding": z * 0})
    activity.var_names = ["A", "B"]
    activity.write_h5ad(path / "activity.h5ad")
    site_genes(
        [path / "s/peaks.h5ad"], [path / "s/rna.h5ad"], path / "genes.bed", path / "chrom.sizes",
        path / "sites.tsv", path / "sites.npz",
    )  # fmt: skip
    tf_active([path / "activity.h5ad"], None, path / "active.h5ad")
    tf_links(
        [path / "s.zarr"], [path / "s.cells.h5ad"], path / "windows.npz", path / "genes.bed",
        path / "chrom.sizes", path / "sites.npz", path / "active.h5ad", path / "links.tsv", path / "network.tsv",
        half_decay=10_000, max_distance=100_000, max_fdr=0.9,
    )  # fmt: skip
    cell_regulation(
        path / "s.zarr", path / "windows.npz", path / "sites.npz", path / "links.tsv", path / "active.h5ad",
        path / "cells.h5ad", max_fdr=0.9,
    )  # fmt: skip
    return path


def test_the_gene_that_follows_the_site_gets_it_and_not_the_nearest(folder):
    table = pd.read_csv(folder / "sites.tsv", sep="\t").set_index(["start", "gene"])
    for i in range(1, N_GENES - 1, 2):  # 10 kb from gene i, 20 kb from gene i + 1
        start = 50_000 + SPACING * i + 10_000 - 250
        assert table.loc[(start, f"G{i + 1}"), "probability"] > 0.8
        assert table.loc[(start, f"G{i}"), "probability"] < 0.3
    promoters = table[table["place"] == "promoter"]
    assert (promoters["probability"] == PROMOTER).all() and len(promoters) == N_GENES


def test_without_rna_a_promoter_is_not_held_against_itself(folder, tmp_path):
    site_genes(
        [folder / "s/peaks.h5ad"], [], folder / "genes.bed", folder / "chrom.sizes", tmp_path / "t.tsv",
        tmp_path / "t.npz",
    )  # fmt: skip
    table = pd.read_csv(tmp_path / "t.tsv", sep="\t")
    assert table.loc[table["place"] == "promoter", "z"].isna().all() and table["z"].notna().any()


def test_links_have_evidence_sign_and_sites(folder):
    table = pd.read_csv(folder / "links.tsv", sep="\t")
    assert table.columns.tolist() == COLUMNS and set(table["compared_with"]) == {"rna"}
    best = table[(table["cell_type"] == "a") & (table["tf"] == "A")].set_index("gene")
    even = best.loc[[f"G{i}" for i in range(2, N_GENES, 2)]]
    odd = best.reindex([f"G{i}" for i in range(1, N_GENES, 2)])
    assert even["probability"].min() > odd["probability"].max()
    assert (even["p_value"] < 0.05).mean() > 0.9 and (odd["p_value"].dropna() < 0.05).mean() < 0.2
    assert (even["sign"] == 1).mean() > 0.9 and "chr1:119750-120251" in even.loc["G2", "sites"]
    assert (np.diff(best["probability"]) <= 0).all()


def test_a_sign_needs_a_significant_association(folder):
    table = pd.read_csv(folder / "links.tsv", sep="\t")
    doubtful = ~(table["p_adjusted"] <= 0.1)
    assert doubtful.any() and table.loc[doubtful, "sign"].isna().all()
    sure = table[~doubtful]
    known = sure.dropna(subset="sign")
    assert len(known) > 0.9 * len(sure) and (known["sign"] == np.sign(known["association"])).all()
    text = pd.read_csv(folder / "links.tsv", sep="\t", dtype=str, keep_default_na=False)
    assert set(text["sign"]) <= {"1", "-1", ""}, "an unknown sign is empty, not a number"


def test_links_tell_if_a_promoter_carries_them(folder):
    table = pd.read_csv(folder / "links.tsv", sep="\t", keep_default_na=False)
    assert set(table["place"]) == {"promoter", "distal", ""}
    assert ((table["place"] == "") == (table["n_sites"] == 0)).all()
    tss = table["gene"].str[1:].astype(int) * SPACING + 50_000
    own = [
        f"chr1:{x - 250}-{x + 251}" in sites.split(",") for x, sites in zip(tss, table["sites"], strict=True)
    ]
    for gene, sites, far in zip(tss, table["sites"], table["distances"], strict=True):
        middles = [(int(x) + int(y)) // 2 for x, y in re.findall(r":(\d+)-(\d+)", sites)]
        assert far == ",".join(str(middle - gene) for middle in middles)
    few = table["n_sites"] <= 3
    assert ((table["place"] == "promoter") == own)[few].all()


def test_sites_that_share_fragments_with_the_promoter_have_no_association_without_rna(tmp_path):
    (tmp_path / "sizes").write_text("chr1\t50000\nchr2\t50000\n")
    centre = [5_000, 5_400, 6_300, 6_401, 9_000, 5_100]
    var = pd.DataFrame({"chrom": ["chr1"] * 5 + ["chr2"], "start": np.array(centre) - 250})
    var["end"] = var["start"] + 500
    tss = pd.DataFrame({"gene": ["G", "H"], "chrom": [0, 0], "tss": [5_000, 9_000], "strand": ["+", "+"]})
    pairs = find_pairs(var, ChromSizes.read(tmp_path / "sizes"), tss, 10_000, 100_000)
    found = dict(zip(zip(pairs.gene, pairs.site, strict=True), share_fragments(pairs, var), strict=True))
    assert [found[0, site] for site in range(5)] == [
        True,
        True,
        True,
        False,
        False,
    ]  # 5,400 is in the promoter
    assert [found[1, site] for site in range(5)] == [False, False, False, False, True]


def test_fragments_between_a_site_and_the_promoter_make_no_association(folder, tmp_path):
    """Each insertion of a promoter has its partner in a site 800 bp beside it, which regulates nothing."""
    data = anndata.read_h5ad(folder / "s/peaks.h5ad")
    data.X = data.X.toarray()
    data.X[:, 1::2] = data.X[:, 0::2]
    start = data.var["start"].to_numpy(dtype=int).copy()
    start[1::2] = start[0::2] + 800
    data.var["start"], data.var["end"] = start, start + 501
    data.X = sp.csr_matrix(data.X)
    (tmp_path / "s").mkdir()
    data.write_h5ad(tmp_path / "s/peaks.h5ad")
    site_genes(
        [tmp_path / "s/peaks.h5ad"], [], folder / "genes.bed", folder / "chrom.sizes", tmp_path / "t.tsv",
        tmp_path / "t.npz",
    )  # fmt: skip
    table = pd.read_csv(tmp_path / "t.tsv", sep="\t")
    beside = table[table["distance"] == 800]
    assert len(beside) == N_GENES and beside["z"].isna().all()


def test_a_tf_that_is_not_active_in_a_type_has_no_links_there(folder):
    weights = active_in_types(folder / "active.h5ad", ["a", "b"], ["A", "B"])
    assert weights["A"].tolist() == [1, 1] and weights.loc["a", "B"] > 0.99 and weights.loc["b", "B"] < 0.01
    table = pd.read_csv(folder / "links.tsv", sep="\t").groupby(["tf", "cell_type"])["probability"].max()
    assert table["B", "a"] > 0.3 and table["B", "b"] < 0.01


@pytest.mark.parametrize("width", [4, 8, 20])
def test_one_wide_level_of_activity_is_not_cut_in_two(tmp_path, width):
    """A mixture of two fits any wide distribution better, and would call the TF inactive in half of its cells."""
    z = np.random.default_rng(6).normal(0, width, (400, 1))
    obs = pd.DataFrame({"cell_type": "a", "sample": "s"}, index=[f"c{i}" for i in range(400)])
    data = anndata.AnnData(z, obs=obs, layers={"mean_binding": z * 0})
    data.var_names = ["A"]
    data.write_h5ad(tmp_path / "activity.h5ad")
    tf_active([tmp_path / "activity.h5ad"], None, tmp_path / "active.h5ad")
    assert (anndata.read_h5ad(tmp_path / "active.h5ad").X == 1).all()


def test_of_the_cells_of_all_samples_only_those_of_one_are_read(tmp_path):
    values = np.random.default_rng(7).random((5_000, 400), dtype=np.float32)
    names, tfs = [f"s{i % 50}#c{i}" for i in range(5_000)], [f"T{i}" for i in range(400)]
    data = anndata.AnnData(values, obs=pd.DataFrame(index=names), var=pd.DataFrame(index=tfs))
    data.write_h5ad(tmp_path / "active.h5ad")
    cells = pd.Index(names)[7::50][::-1]
    tracemalloc.start()
    found = active_in_cells(tmp_path / "active.h5ad", cells, ["T3", "new", "T1"])
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    mine = values[7::50][::-1]
    assert (
        found.dtype == np.float32
        and (found == np.stack([mine[:, 3], mine[:, 0] * 0 + 1, mine[:, 1]], 1)).all()
    )
    assert most < values.nbytes / 2
    assert active_in_cells(tmp_path / "active.h5ad", cells[:0], ["T3"]).shape == (0, 1)
    with pytest.raises(InputError, match="lacks 2 cells, such as s1#d; run the rule tf_active again"):
        active_in_cells(tmp_path / "active.h5ad", pd.Index(["s2#d", "s1#d", "s1#c1"]), ["T3"])


def test_without_cells_no_tf_is_judged(tmp_path):
    obs = pd.DataFrame({"cell_type": pd.Series(dtype=str), "sample": pd.Series(dtype=str)})
    data = anndata.AnnData(np.zeros((0, 1)), obs=obs, layers={"mean_binding": np.zeros((0, 1))})
    data.var_names = ["A"]
    data.write_h5ad(tmp_path / "activity.h5ad")
    tf_active([tmp_path / "activity.h5ad"], None, tmp_path / "active.h5ad")
    assert anndata.read_h5ad(tmp_path / "active.h5ad").shape == (0, 1)


def test_of_candidates_that_are_not_listed_only_two_numbers_are_kept(folder):
    """A human genome has 10 million candidates, with 44 TFs and 20 types; with their text they would take 10 GB."""
    found = SiteGenes.load(folder / "sites.npz")
    binding, genes = np.full(len(found.null), 0.9), np.arange(N_GENES)
    sizes = {}
    for chosen in (genes[:20], genes):
        near, potential = found.near_panel(1000), np.ones(len(chosen))
        part = links._candidates(found, "A", binding, chosen, near, 1.0, potential, 2)
        (table,) = links._ranked(found, [part], {"A": 0})
        assert len(table) == 2 and (table["sites"] != "").all()
        sizes[len(chosen)] = len(pickle.dumps(part))
    assert sizes[N_GENES] - sizes[20] == pytest.approx((N_GENES - 20) * 2 * 8, abs=50), (
        "probability and p-value"
    )


def test_other_families_do_not_change_false_discovery_rates_and_adjusted_p_values(folder, tmp_path):
    """Twins of both TFs, without ChIP-seq or abstained on: the links of the two stay as they are."""
    store, active = anndata.read_zarr(folder / "s.zarr"), anndata.read_h5ad(folder / "active.h5ad")
    known = {tf: {"level": "high", "abstained": False, "evidence": "chip"} for tf in "AB"}
    facts = {"M": ("motif", False), "X": ("chip", True)}
    tables = {}
    for name, added in (("alone", []), ("beside", [kind + tf for kind in facts for tf in "AB"])):
        for tf in added:
            evidence, abstained = facts[tf[0]]
            known[tf] = {"level": "high", "abstained": abstained, "evidence": evidence}
            store.layers[tf] = np.roll(store.layers[tf[1]], 1, axis=1)
        store.uns |= {"reliability": json.dumps(known), "tfs": np.array(["A", "B", *added], dtype=object)}
        store.write_zarr(tmp_path / f"{name}.zarr")
        wide = active[:, ["A", "B", *(tf[1] for tf in added)]].copy()
        wide.var_names = ["A", "B", *added]
        wide.write_h5ad(tmp_path / "active.h5ad")
        tf_links(
            [tmp_path / f"{name}.zarr"], [folder / "s.cells.h5ad"], folder / "windows.npz", folder / "genes.bed",
            folder / "chrom.sizes", folder / "sites.npz", tmp_path / "active.h5ad", tmp_path / "links.tsv",
            tmp_path / "network.tsv", half_decay=10_000, max_distance=100_000,
        )  # fmt: skip
        tables[name] = pd.read_csv(tmp_path / "links.tsv", sep="\t")
    beside = tables["beside"]
    assert {"MA", "XB"} <= set(beside["tf"]) and beside["p_adjusted"].notna().any()
    ours = beside[beside["tf"].isin(["A", "B"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(ours, tables["alone"], check_exact=True)


def test_the_network_lists_each_pair_once(folder):
    edges = pd.read_csv(folder / "network.tsv", sep="\t")
    assert edges.columns.tolist()[:3] == ["source", "target", "weight"]
    assert not edges.duplicated(["source", "target"]).any()
    listed = pd.read_csv(folder / "links.tsv", sep="\t").groupby("tf")["reliability_abstained"].first()
    assert len(edges) and (edges["reliability_abstained"] == edges["source"].map(listed)).all()
    cells = anndata.read_h5ad(folder / "cells.h5ad").var
    assert (cells["reliability_abstained"] == cells["tf"].map(listed)).all()


def test_links_per_cell_are_the_sum_over_sites(folder):
    data = anndata.read_h5ad(folder / "cells.h5ad")
    found, binding = SiteGenes.load(folder / "sites.npz"), scbind.open_binding(folder / "s.zarr")
    bound = binding[:, :, "A"].toarray()
    mine = found.gene == list(found.genes).index("G2")
    weight = np.zeros(bound.shape[1])
    weight[found.site[mine]] = np.where(found.probability[mine] >= 0.01, found.probability[mine], 0)
    wanted = bound @ weight
    assert data[:, "A:G2"].X.toarray().ravel() == pytest.approx(np.where(wanted < 0.01, 0, wanted), rel=1e-4)
    assert data.X.dtype == np.float32 and data.obs["cell_type"].tolist() == ["a"] * 300 + ["b"] * 300


def test_questions_have_answers_of_one_line(folder):
    links = scbind.open_regulation(folder / "cells.h5ad")
    values = links.cells("A", "G2")
    assert values.is_monotonic_decreasing and values.iloc[0] > 0.5 and values.iloc[-1] < 0.2
    best = values.index[0]
    targets = links.targets("A", best)
    assert "G2" in set(targets["gene"]) and set(targets["tf"]) == {"A"}
    assert targets["value"].is_monotonic_decreasing
    assert "A" in set(links.regulators("G2", best)["tf"])
    with pytest.raises(InputError, match="no link of the tf 'GATA9'"):
        links.targets("GATA9", best)
    with pytest.raises(InputError, match="has no cell 'x'"):
        links.targets("A", "x")
    with pytest.raises(InputError, match="no such file"):
        scbind.open_regulation(folder / "absent.h5ad")


def test_a_file_of_links_without_a_known_sign_lacks_the_column(folder, tmp_path):
    table = pd.read_csv(folder / "links.tsv", sep="\t", dtype={"cell_type": str})
    table.assign(sign=np.nan).to_csv(tmp_path / "links.tsv", sep="\t", index=False)
    cell_regulation(
        folder / "s.zarr", folder / "windows.npz", folder / "sites.npz", tmp_path / "links.tsv",
        folder / "active.h5ad", tmp_path / "cells.h5ad", max_fdr=0.9,
    )  # fmt: skip
    links = scbind.open_regulation(tmp_path / "cells.h5ad")
    assert "sign" not in links.var and "fdr" in links.var
    found = links.targets("A", links.cells("A", "G2").index[0])
    assert len(found) and found["sign"].isna().all(), "the answer has the same columns as ever"


def test_a_file_without_links_says_so(folder, tmp_path):
    cell_regulation(
        folder / "s.zarr", folder / "windows.npz", folder / "sites.npz", folder / "links.tsv", folder / "active.h5ad",
        tmp_path / "cells.h5ad", max_fdr=0,
    )  # fmt: skip
    links = scbind.open_regulation(tmp_path / "cells.h5ad")
    assert len(links.obs) == 600 and len(links.var) == 0
    with pytest.raises(InputError, match="no link at all: raise analysis.links.max_fdr"):
        links.targets("A", links.obs.index[0])


def test_without_a_type_of_enough_cells_there_are_no_links(folder, tmp_path):
    tf_links(
        [folder / "s.zarr"], [folder / "s.cells.h5ad"], folder / "windows.npz", folder / "genes.bed",
        folder / "chrom.sizes", folder / "sites.npz", folder / "active.h5ad", tmp_path / "links.tsv",
        tmp_path / "network.tsv", half_decay=10_000, max_distance=100_000, min_cells=301,
    )  # fmt: skip
    assert (tmp_path / "links.tsv").read_text() == "\t".join(COLUMNS) + "\n"
    header, *rows = (tmp_path / "network.tsv").read_text().splitlines()
    assert header == (folder / "network.tsv").read_text().splitlines()[0] and not rows
    cell_regulation(
        folder / "s.zarr", folder / "windows.npz", folder / "sites.npz", tmp_path / "links.tsv",
        folder / "active.h5ad", tmp_path / "cells.h5ad",
    )  # fmt: skip
    assert scbind.open_regulation(tmp_path / "cells.h5ad").var.empty


def test_arrays_that_cannot_be_read_end_in_one_line(folder, tmp_path):
    whole = (folder / "sites.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.npz").write_text("no array")
    with np.load(folder / "sites.npz") as npz:
        np.savez(tmp_path / "old.npz", **{name: npz[name] for name in npz.files if name != "promoter"})
    said = {"cut": "is not a .npz file", "text": "is not a .npz file", "old": "has no array promoter"}
    for name, problem in said.items():
        with pytest.raises(InputError, match=f"{name}.npz: {problem}; run the rule site_genes again"):
            SiteGenes.load(tmp_path / f"{name}.npz")


def test_rna_of_another_species_is_refused(folder, tmp_path):
    """A few symbols, such as C3 or H19, are those of mouse and man alike."""
    (tmp_path / "s").mkdir()
    data = anndata.read_h5ad(folder / "s/rna.h5ad")
    data.var_names = [*data.var_names[:3], *data.var_names[3:].str.lower()]
    data.write_h5ad(tmp_path / "s/rna.h5ad")
    with pytest.raises(InputError, match="3 of its 60 genes, such as G0, are in the annotation of 60"):
        site_genes(
            [folder / "s/peaks.h5ad"], [tmp_path / "s/rna.h5ad"], folder / "genes.bed", folder / "chrom.sizes",
            tmp_path / "t.tsv", tmp_path / "t.npz",
        )  # fmt: skip


def test_samples_with_other_peaks_are_refused(folder, tmp_path):
    data = anndata.read_h5ad(folder / "s/peaks.h5ad")[:, :20]
    (tmp_path / "t").mkdir()
    data.write_h5ad(tmp_path / "t/peaks.h5ad")
    with pytest.raises(InputError, match="its peaks differ"):
        site_genes(
            [folder / "s/peaks.h5ad", tmp_path / "t/peaks.h5ad"], [], folder / "genes.bed",
            folder / "chrom.sizes", tmp_path / "t.tsv", tmp_path / "t.npz",
        )  # fmt: skip


def test_a_tf_that_binds_nowhere_has_candidates_without_evidence(folder):
    found = SiteGenes.load(folder / "sites.npz")
    for chosen in (np.arange(3), np.zeros(0, dtype=int)):
        near = found.near_panel(1000)
        part = links._candidates(
            found, "A", np.zeros(len(found.null)), chosen, near, 1.0, np.ones(len(chosen)), 10
        )
        (table,) = links._ranked(found, [part], {"A": 0})
        assert len(table) == len(chosen) and not np.signbit(table["probability"]).any()
        assert (
            table["p_value"].isna().all() and (table["n_sites"] == 0).all() and (table["place"] == "").all()
        )


def test_without_a_candidate_both_tables_have_their_columns():
    assert not list(links._ranked(None, [], {}))
    edges = links._network(pd.DataFrame(columns=COLUMNS))
    assert edges.empty and edges.columns.tolist()[:3] == ["source", "target", "weight"]


def test_the_benchmark_of_many_links_runs(tmp_path, capsys):
    """It makes its own inputs in the format of the present version."""
    benchmark = load_benchmark("links")
    benchmark.write_inputs(tmp_path, n_cells=9, n_links=50)
    benchmark.one(tmp_path)
    assert re.search(r"[1-9]\d* values per cell", capsys.readouterr().out)
