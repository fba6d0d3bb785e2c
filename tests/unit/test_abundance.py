"""Abundance between conditions, over donors: counts by hand, p-values under the null, and what is not tested."""

import anndata
import numpy as np
import pandas as pd
import pytest
from scbind.analysis.abundance import BOTH, COLUMNS, FEW, TEST, abundance, compare
from scbind.core.errors import InputError
from scipy import stats


def write(folder, counts, conditions, drop=()):
    """One sample per donor: ``counts`` lists (cells of A, cells of B) per donor. A third of A is population P2."""
    paths, rows = [], []
    for number, ((a, b), condition) in enumerate(zip(counts, conditions, strict=True)):
        name = f"D{number}"
        obs = pd.DataFrame({"cell_type": ["A"] * a + ["B"] * b}, index=[f"{name}#{i}" for i in range(a + b)])
        obs["sample"] = obs["donor"] = name
        obs["condition"], obs["pass"] = condition, True
        anndata.AnnData(obs=obs).write_h5ad(folder / f"{name}.h5ad")
        paths.append(folder / f"{name}.h5ad")
        rows += [(name, cell, "P2" if i < a // 3 else "P1") for i, cell in enumerate(obs.index)]
    table = pd.DataFrame(rows, columns=["sample", "cell", "population"])
    table[~table["cell"].isin(drop)].to_csv(folder / "p.tsv", sep="\t", index=False)
    return paths, folder / "p.tsv", folder / "o.tsv"


def read(path):
    return pd.read_csv(path, sep="\t", keep_default_na=False, na_values=[""])


def test_counts_fractions_and_a_true_difference(tmp_path):
    files = write(
        tmp_path, [(30, 70), (33, 67), (27, 73), (60, 40), (66, 34), (57, 43)], ["c"] * 3 + ["d"] * 3
    )
    abundance(*files)
    table = read(files[2])
    assert table.columns.tolist() == COLUMNS and len(table) == 4 and (table.test == TEST).all()
    row = table[table.name == "A"].iloc[0]
    assert (row.group, row.reference, row.n_cells, row.n_cells_reference) == ("d", "c", 183, 90)
    assert (row.fraction, row.fraction_reference) == (pytest.approx(0.61), pytest.approx(0.3))
    odds = np.log2(183 / 117 / (90 / 210))
    assert (
        row.log2_odds_ratio == pytest.approx(odds, abs=1e-4) and row.log2_low > 0.5 and row.p_adjusted < 0.01
    )
    assert row.counts.startswith("D0:30/100;D1:33/100") and row.dispersion == 1
    p2 = table[table.name == "P2"].iloc[0]
    assert p2.kind == "population" and p2.n_cells == 20 + 22 + 19


def test_without_a_difference_p_is_uniform_and_cells_are_not_the_unit():
    rng, inside = np.random.default_rng(0), np.arange(8) >= 4
    p, naive = [], []
    for _ in range(300):
        own = rng.beta(0.2 * 50, 0.8 * 50, 8)
        k, n = rng.binomial(400, own), np.full(8, 400)
        p.append(compare(k, n, inside)["p_value"])
        table = [[k[inside].sum(), 1600 - k[inside].sum()], [k[~inside].sum(), 1600 - k[~inside].sum()]]
        naive.append(stats.chi2_contingency(table).pvalue)
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert np.mean(np.array(naive) < 0.05) > 0.3  # what a test over cells would find


def test_the_donor_with_most_cells_does_not_decide():
    rng, inside, n = np.random.default_rng(0), np.arange(6) >= 3, np.tile([10_000, 2_000, 500], 2)
    counts = rng.binomial(n, rng.beta(0.05 * 150, 0.95 * 150, (300, 6)))
    p = np.array([compare(k, n, inside)["p_value"] for k in counts])
    assert (p < 0.05).mean() < 0.08 and stats.kstest(p, "uniform").pvalue > 0.01


def test_donors_of_equal_size_give_the_quasi_binomial_test():
    k, inside = np.array([12, 30, 51, 40, 88, 70]), np.arange(6) >= 3
    found = compare(k, np.full(6, 300), inside)
    fraction, mean = k / 300, np.array([93, 198]) / 900
    each = mean[inside.astype(int)]
    dispersion = (300 * (fraction - each) ** 2 / (each * (1 - each))).sum() / 4
    both = stats.binom.logpmf(k, 300, each).sum() - stats.binom.logpmf(k, 300, 291 / 1800).sum()
    assert found["dispersion"] == pytest.approx(dispersion)
    assert found["statistic"] == pytest.approx(2 * both / dispersion)
    assert found["p_value"] == pytest.approx(stats.f.sf(2 * both / dispersion, 1, 4))


def test_equal_counts_do_not_make_a_test_certain():
    found = compare(np.array([2, 2, 2, 5, 5, 5]), np.full(6, 333), np.arange(6) >= 3)
    assert found["dispersion"] == 1 and 0.05 < found["p_value"] < 0.3


def test_a_side_without_any_such_cell_has_no_odds_ratio():
    found = compare(np.array([0, 0, 0, 9, 8, 12]), np.full(6, 300), np.arange(6) >= 3)
    assert "log2_odds_ratio" not in found and found["p_value"] < 0.01
    assert compare(np.zeros(6, int), np.full(6, 300), np.arange(6) >= 3)["p_value"] == 1


def test_few_donors_and_donors_on_both_sides_are_not_tested(tmp_path):
    files = write(tmp_path, [(30, 70)] * 5, ["c"] * 3 + ["d"] * 2)
    abundance(*files)
    table = read(files[2])
    assert (table.test == FEW).all() and table.p_value.isna().all() and table.fraction.notna().all()
    for number in range(5):
        data = anndata.read_h5ad(files[0][number])
        data.obs["donor"] = f"D{number // 2}"
        data.write_h5ad(files[0][number])
    abundance(*files)
    assert (read(files[2]).test == BOTH).all()


def test_one_condition_gives_a_header_only_and_unknown_cells_are_refused(tmp_path, capsys):
    files = write(tmp_path, [(30, 70)] * 4, ["c"] * 4)
    abundance(*files)
    assert files[2].read_text() == "\t".join(COLUMNS) + "\n"
    assert "no two conditions" in capsys.readouterr().err
    files = write(tmp_path, [(30, 70)] * 4, ["c"] * 4, drop=["D1#3"])
    with pytest.raises(InputError, match="1 cells of the samples are not in it"):
        abundance(*files)
