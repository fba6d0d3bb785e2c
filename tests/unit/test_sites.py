"""Windows that differ: moderated tests over donors, on binding stores of which the means are known."""

import anndata
import numpy as np
import pandas as pd
import pytest
from scbind.analysis import sites
from scbind.analysis.moderated import fit_prior, moderated_t
from scbind.binding.merging import FORMAT
from scipy import stats

WINDOWS = 60
KNOWN = '{"CTCF": {"level": "low", "abstained": true}, "JUND": {"level": "high", "abstained": false}}'


def write_donor(folder, rng, name, condition, change, donor):
    """Write the store and the cells of a donor: 8 cells each of types A and B, codes about 60 of 255.

    JUND: window 3 is bound in A in the disease if ``change``, and window 7 in all cells of B.
    """
    types = np.repeat(["A", "B"], 8)
    codes = 60 + 4 * rng.normal(size=(1, WINDOWS)) + 6 * rng.normal(size=(16, WINDOWS))
    codes[8:, 7] += 100
    if change and condition == "disease":
        codes[:8, 3] += 100
    obs = pd.DataFrame(
        {"cell_type": types, "pass": True, "sample": name, "donor": donor, "condition": condition}
    )
    obs.index = [f"{name}#{i}" for i in range(16)]
    obs["borrowed_depth"] = 1.0
    for column in ("cell_type", "sample", "donor", "condition"):
        obs[column] = obs[column].astype("category")
    var = pd.DataFrame({"start": range(WINDOWS)}, index=[f"w{i}" for i in range(WINDOWS)])
    uns = {"format": FORMAT, "scale": 255, "floor": 0.02, "max_error": 0.004, "provenance": "{}"}
    uns |= {"reliability": KNOWN, "tfs": np.array(["JUND", "CTCF"], dtype=object)}
    layers = dict.fromkeys(["JUND", "CTCF"], codes.round().astype(np.uint8))
    anndata.AnnData(obs=obs, var=var, uns=uns, layers=layers).write_zarr(folder / f"{name}.zarr")
    anndata.AnnData(obs=obs).write_h5ad(folder / f"{name}.h5ad")
    return folder / f"{name}.zarr", folder / f"{name}.h5ad"


def compared(folder, donors=6, change=True, of_sample=range(12), min_cells=5):
    """``donors`` samples, half of them of the disease; ``of_sample`` lists the donor of each."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    (folder / "chrom.sizes").write_text("chr1\t300000\n")
    start = np.arange(WINDOWS, dtype=np.int32) * 1000
    other = {"peak": start, "gc": np.full(WINDOWS, 0.5, dtype=np.float32), "window": 200, "context": 1000}
    np.savez(folder / "windows.npz", chrom=np.zeros(WINDOWS, dtype=np.int16), start=start, **other)
    conditions = ["control"] * (donors // 2) + ["disease"] * (donors - donors // 2)
    pairs = [
        write_donor(folder, rng, f"D{i}", name, change, f"D{of_sample[i]}")
        for i, name in enumerate(conditions)
    ]
    files = [folder / name for name in ("sites.tsv", "counts.tsv", "sites.bed")]
    stores, cells = zip(*pairs, strict=True)
    sites.differential_sites(
        stores, cells, folder / "windows.npz", folder / "chrom.sizes", *files, min_cells=min_cells
    )
    return pd.read_csv(files[0], sep="\t"), pd.read_csv(files[1], sep="\t"), files[2].read_text().splitlines()


def test_windows_that_differ_are_listed_with_their_donors(tmp_path):
    table, counts, bed = compared(tmp_path)
    assert table.columns.tolist() == sites.COLUMNS and counts.columns.tolist() == sites.COUNTS
    found = table[table.contrast == "condition"]
    assert found[["cell_type", "group", "tf", "chrom", "start", "end"]].to_numpy().tolist() == [
        ["A", "disease", "JUND", "chr1", 3000, 3200]
    ]
    assert found.binding[found.index[0]] - found.binding_reference[found.index[0]] > 0.2
    types = table[(table.contrast == "cell_type") & (table.start == 7000)]
    assert types.cell_type.tolist() == ["A", "B"] and (np.sign(types.difference) == [-1, 1]).all()
    row = counts[(counts.contrast == "condition") & (counts.cell_type == "A") & (counts.tf == "JUND")].iloc[0]
    assert (row.n_replicates, row.n_windows, row.n_more, row.n_less, row.test) == (
        6,
        WINDOWS,
        1,
        0,
        sites.TWO,
    )
    assert "chr1\t3000\t3200\tJUND:A:disease\t" in "\n".join(bed) and len(bed) == len(table)
    assert (counts[counts.tf == "CTCF"].test == sites.ABSTAINED).all() and "CTCF" not in set(table.tf)


def test_sites_of_tfs_without_chip_are_marked(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "KNOWN", KNOWN.replace('"high"', '"high", "evidence": "motif"'))
    table, _, bed = compared(tmp_path)
    assert (table.evidence == "motif").all()
    assert len(bed) == len(table) and all("\tJUND (motif):" in line for line in bed)


def test_nothing_is_listed_between_conditions_that_do_not_differ(tmp_path):
    table, _, _ = compared(tmp_path, change=False)
    assert not (table.contrast == "condition").any() and (table.contrast == "cell_type").any()


def test_donors_that_were_measured_in_both_conditions_are_compared_in_pairs(tmp_path):
    _, counts, _ = compared(tmp_path, donors=6, of_sample=[0, 1, 2, 0, 1, 2])
    row = counts[(counts.contrast == "condition") & (counts.cell_type == "A") & (counts.tf == "JUND")].iloc[0]
    assert (row.test, row.n_replicates, row.n_more) == (sites.PAIRED, 3, 1)


def test_one_donor_in_both_conditions_is_left_out(tmp_path, capsys):
    _, counts, _ = compared(tmp_path, donors=8, of_sample=[0, 1, 2, 3, 3, 4, 5, 6])
    row = counts[(counts.contrast == "condition") & (counts.cell_type == "A") & (counts.tf == "JUND")].iloc[0]
    assert (row.test, row.n_replicates, row.n_more) == (sites.OTHERS, 6, 1)
    log = capsys.readouterr().err
    assert log.count("disease against control in A: the replicates in both groups are left out") == 1
    _, counts, _ = compared(tmp_path, donors=6, of_sample=[0, 1, 2, 2, 3, 4])
    tests = counts[(counts.contrast == "condition") & (counts.tf == "JUND")].test
    assert set(tests) == {"not tested: replicates in both groups, and fewer than 3 others per group"}


def test_windows_without_binding_are_not_held_and_change_nothing(tmp_path, monkeypatch):
    compared(tmp_path)
    inputs = [[tmp_path / f"D{i}.{end}" for i in range(6)] for end in ("zarr", "h5ad")]
    inputs += [tmp_path / "windows.npz", tmp_path / "chrom.sizes"]
    held = []

    def run(name):
        files = [tmp_path / f"{name}.{i}" for i in range(3)]
        sites.differential_sites(*inputs, *files, min_cells=5, min_binding=0.55)
        return [file.read_bytes() for file in files]

    own = sites._may_be_tested
    monkeypatch.setattr(sites, "_may_be_tested", lambda *given: held.append(own(*given)) or held[-1])
    few = run("few")
    monkeypatch.setattr(sites, "_may_be_tested", lambda total, *_: np.arange(total.shape[1]))
    assert run("all") == few and few[0].count(b"\n") > 2
    assert [windows.tolist() for windows in held] == [[3, 7], []], (
        "CTCF is not even read: scbind abstains on it"
    )


def test_few_donors_are_not_tested(tmp_path):
    table, counts, bed = compared(tmp_path, donors=2)
    assert table.empty and not bed
    assert (counts[counts.tf == "JUND"].test == "not tested: fewer than 3 replicates per group").all()


def test_without_a_type_of_enough_cells_nothing_is_compared(tmp_path):
    table, counts, bed = compared(tmp_path, min_cells=49)
    assert table.empty and counts.empty and not bed
    assert table.columns.tolist() == sites.COLUMNS and counts.columns.tolist() == sites.COUNTS


def test_the_prior_of_variances_is_found():
    rng = np.random.default_rng(0)
    true = 0.02 * 8 / rng.chisquare(8, 20_000)
    found, location = fit_prior(true * rng.chisquare(4, 20_000) / 4, 4)
    assert found == pytest.approx(8, rel=0.15) and location == pytest.approx(0.02, rel=0.05)
    same, location = fit_prior(0.5 * rng.chisquare(4, 500) / 4 * 0 + 0.5, 4)
    assert np.isinf(same)


@pytest.mark.parametrize("paired", [False, True])
def test_p_is_uniform_without_a_difference_and_finds_one(paired):
    rng = np.random.default_rng(1)
    spread = np.sqrt(0.004 * 6 / rng.chisquare(6, 3000))
    ours, theirs = (0.4 + spread * rng.normal(size=(3, 3000)) for _ in range(2))
    table = sites._compare(ours, theirs, paired, 0.0)
    assert stats.kstest(table["p_value"], "uniform").pvalue > 0.01
    ours[:, :100] += 0.5
    table = sites._compare(ours, theirs, paired, 0.0)
    good = table["p_adjusted"] < 0.05
    assert good[:100].mean() > 0.8 and good[100:].mean() < 0.01
    plain = stats.ttest_ind(ours, theirs).pvalue if not paired else stats.ttest_rel(ours, theirs).pvalue
    assert (stats.false_discovery_control(plain)[:100] < 0.05).mean() < good[:100].mean() - 0.2


@pytest.mark.parametrize("between", [0.0, 0.3])
def test_donors_with_few_cells_on_one_side_do_not_make_windows_differ(between):
    """``between`` is the variance of donors, that of a cell is 1. Before, p < 0.05 in 23 and 8 %."""
    rng, cells, reference = np.random.default_rng(2), np.full(3, 6), np.full(10, 40)
    spread = 0.1 * np.sqrt(6 / rng.chisquare(6, 3000))
    ours, theirs = (
        0.4 + spread * np.sqrt(between + 1 / n[:, None]) * rng.normal(size=(len(n), 3000))
        for n in (cells, reference)
    )
    assert 0.03 < (sites._compare(ours, theirs, False, 0.0, cells, reference)["p_value"] < 0.05).mean() < 0.07
    ours[:, :100] += 0.5
    table = sites._compare(ours, theirs, False, 0.0, cells, reference)
    good = table["p_adjusted"] < 0.05
    assert good[:100].mean() > 0.8 and good[100:].mean() < 0.01


def test_the_variance_of_donors_is_found():
    rng, n = np.random.default_rng(3), np.array([5, 20, 80, 320, 10, 40, 160, 640])
    for between in (0.0, 0.05, 1.0):
        true = between + (1 - between) / n
        sides = np.split(np.sqrt(true)[:, None] * rng.normal(size=(8, 3000)), [4])
        assert sites._relative_variance(tuple(sides), n) == pytest.approx(true / true.mean(), rel=0.1)


def test_with_equal_numbers_of_cells_donors_weigh_alike():
    rng = np.random.default_rng(4)
    ours, theirs = 0.4 + 0.1 * rng.normal(size=(3, 500)), 0.4 + 0.1 * rng.normal(size=(4, 500))
    alike = sites._compare(ours, theirs, False, 0.0)
    pd.testing.assert_frame_equal(
        sites._compare(ours, theirs, False, 0.0, np.full(3, 9), np.full(4, 9)), alike
    )
    unequal = sites._compare(ours, theirs, False, 0.0, np.array([5, 50, 500]), np.full(4, 9))
    assert (unequal["p_value"] >= alike["p_value"]).all() and (
        unequal["difference"] == alike["difference"]
    ).all()


def test_windows_with_hardly_any_binding_are_not_tested():
    ours, theirs = np.full((3, 4), 0.01), np.full((3, 4), 0.02)
    theirs[:, 1] = 0.2
    assert sites._compare(ours, theirs, False, 0.05)["window"].tolist() == [1]


def test_equal_values_do_not_make_a_test_certain():
    t, p = moderated_t(np.array([1e-4, 0.0, 0.0]), np.zeros(3), 4, 2 / 3)
    assert np.isfinite(t).all() and p[0] > 0.5
