"""The simulated cohort: its files, its truth, and that each effect is in the data."""

import anndata
import numpy as np
import pandas as pd
import pytest
from scbind.core.errors import InputError
from scbind.demo import simulate_cohort as simulate_cohort_module
from scbind.demo.cohort import NULL, Cohort, cohort_files
from scbind.demo.simulate_cohort import simulate_cohort
from scipy import sparse

SMALL = {"donors": 4, "n_cells": 400, "cell_fragments": 600}
MB = (0.4, 0.4)


def make(folder, **options):
    simulate_cohort(folder, Cohort(**{**SMALL, **options}), chromosome_mb=MB)
    return folder


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return make(tmp_path_factory.mktemp("cohort"), stem_share=0.05, clone_share=0.03)


@pytest.fixture(scope="module")
def cells(cohort):
    return pd.read_csv(cohort / "truth/cells.tsv", sep="\t", keep_default_na=False)


def fragments(folder, sample):
    names = ["chrom", "start", "end", "barcode", "reads"]
    return pd.read_csv(folder / f"sc/{sample}.fragments.tsv.gz", sep="\t", names=names)


def real(cells):
    return cells[cells["is_cell"] == 1].reset_index(drop=True)


def test_writes_the_files_that_the_plan_expects_and_the_same_bytes_again(cohort, tmp_path):
    written = sorted(str(path.relative_to(cohort)) for path in cohort.rglob("*") if path.is_file())
    assert written == cohort_files(4)
    again = make(tmp_path, stem_share=0.05, clone_share=0.03)
    for name in written:
        assert (again / name).read_bytes() == (cohort / name).read_bytes(), name


def test_barcodes_of_the_truth_are_those_of_the_fragments(cohort, cells):
    for sample, here in cells.groupby("sample"):
        counts = fragments(cohort, sample)["barcode"].value_counts()
        assert counts.to_dict() == here.set_index("barcode")["n_fragments"].to_dict()


def test_the_stem_like_population_is_more_frequent_in_the_disease():
    """Donors differ by chance, so there are many of them; only the cells are drawn."""
    large = Cohort(donors=80, n_cells=40_000, stem_share=0.05)
    drawn = simulate_cohort_module._cells(np.random.default_rng(1), large)
    drawn = drawn[drawn["is_cell"] & (drawn["partner"] < 0)]
    stem = drawn["cell_type"].eq("stem").groupby(drawn["condition"]).sum()
    assert stem["disease"] / stem["control"] == pytest.approx(3, rel=0.35)
    assert stem.sum() / len(drawn) == pytest.approx(0.05, abs=0.015)


def test_stem_cells_have_open_what_their_two_factors_open(cohort, cells):
    elements = pd.read_csv(cohort / "truth/elements.bed", sep="\t")
    opened = sparse.load_npz(cohort / "truth/open.npz").toarray()
    state = real(cells)["state"].to_numpy()
    assert len(opened) == len(state)
    gained = elements["driver"].isin(["EBF1", "GATA3"]).to_numpy()
    assert opened[state == "stem"][:, gained].mean() > 4 * opened[state == "myeloid"][:, gained].mean()
    others = ~gained & (elements["kind"] == "enhancer").to_numpy()
    ratio = opened[state == "stem"][:, others].mean() / opened[state == "myeloid"][:, others].mean()
    assert ratio == pytest.approx(1, abs=0.1)


def test_the_clone_has_more_fragments_on_its_gain(cohort, cells):
    (gain,) = pd.read_csv(cohort / "truth/gains.bed", sep="\t", header=None).itertuples(index=False)
    table = fragments(cohort, "D4").merge(cells[["barcode", "state"]], on="barcode")
    inside = (table["chrom"] == gain[0]) & (table["end"] <= gain[2])
    share = inside.groupby(table["state"]).mean()
    odds = share / (1 - share)
    assert odds["clone"] / odds["b_cell"] == pytest.approx(1.5, rel=0.12)
    assert set(real(cells).query("state == 'clone'")["sample"]) == {"D4"}


def test_doublets_carry_the_fragments_of_two_cells(cells):
    cells = real(cells)
    doublet = cells["doublet_of"] != ""
    assert doublet.sum() == pytest.approx(16, abs=2)
    assert cells["n_fragments"][doublet].median() > 1.5 * cells["n_fragments"][~doublet].median()


def test_sites_of_the_response_are_bound_in_the_disease_only(cohort):
    sites = pd.read_csv(cohort / "truth/sites.tsv", sep="\t")
    jund = sites[sites["tf"] == "JUND"]
    assert jund["bound_t_cell"].sum() == 0
    assert jund["bound_t_cell_disease"].sum() > 10


def test_expression_follows_the_links(cohort, cells):
    links = pd.read_csv(cohort / "truth/links.tsv", sep="\t")
    expression = []
    for sample in ["D1", "D2", "D3", "D4"]:
        data = anndata.read_h5ad(cohort / f"rna/{sample}.h5ad")
        names = cells[(cells["sample"] == sample) & (cells["is_cell"] == 1)].set_index("barcode")["state"]
        table = pd.DataFrame(data.X.toarray(), index=data.obs_names, columns=data.var_names)
        expression.append(table.loc[names.index].assign(state=names))
    table = pd.concat(expression)
    log_share = np.log2(table.drop(columns="state").groupby(table["state"]).sum() + 1)
    log_share = log_share.sub(log_share.mean(axis=1), axis=0)
    gap = log_share.loc["myeloid"] - log_share.loc["erythroid"]
    net = links.assign(n=links["n_sites"] * links["sign"]).pivot_table(
        index="gene", columns="cell_type", values="n", aggfunc="sum", fill_value=0
    )
    expected = (net["myeloid"] - net["erythroid"]).reindex(gap.index, fill_value=0)
    assert gap.corr(expected, method="spearman") > 0.5


def test_factors_are_expressed_where_they_are_active(cohort, cells):
    data = anndata.read_h5ad(cohort / "rna/D1.h5ad")
    state = cells[cells["sample"] == "D1"].set_index("barcode")["state"].reindex(data.obs_names)
    spi1 = np.asarray(data[:, "SPI1"].X.todense()).ravel()
    assert spi1[(state == "myeloid").to_numpy()].mean() > 3 * spi1[(state == "erythroid").to_numpy()].mean()


def test_a_null_cohort_has_five_types_and_nothing_else(tmp_path):
    make(tmp_path, **NULL, doublet_share=0)
    cells = real(pd.read_csv(tmp_path / "truth/cells.tsv", sep="\t", keep_default_na=False))
    assert set(cells["state"]) == {"myeloid", "b_cell", "t_cell", "erythroid", "mast"}
    assert not (tmp_path / "truth/gains.bed").read_text()


@pytest.mark.parametrize(
    ("options", "message"), [({"donors": 3}, "4 or more"), ({"n_cells": 90}, "100 or more")]
)
def test_too_small_a_cohort_is_one_line(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        make(tmp_path, **options)
    assert not list(tmp_path.iterdir())
