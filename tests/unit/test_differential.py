import anndata
import numpy as np
import pandas as pd
import pytest
from scbind.differential import CELLS, COLUMNS, PAIRED, WELCH, differential_tfs
from scbind.errors import InputError
from scipy import stats

TFS = ["CTCF", "SPI1", "GATA1"]


def write_sample(path, name, types, shift, seed, **extra):
    """z is unit noise, plus ``shift`` for SPI1 in cells of type B."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(len(types), 3))
    z[np.asarray(types) == "B", 1] += shift
    obs = pd.DataFrame({"sample": name, "cell_type": types, **extra})
    obs.index = [f"cell{i}" for i in range(len(types))]
    known = {"level": ["high", "low", "high"], "abstained": [False, True, False]}
    var = pd.DataFrame(known, index=TFS)
    data = anndata.AnnData(z.astype(np.float32), obs=obs, var=var)
    data.layers["mean_binding"] = np.full(z.shape, 0.25, dtype=np.float32)
    data.write_h5ad(path)
    return z


def run(tmp_path, files, **options):
    differential_tfs(files, tmp_path / "out.tsv", **options)
    return pd.read_csv(tmp_path / "out.tsv", sep="\t")


def test_one_sample_is_tested_over_cells_and_says_so(tmp_path):
    types = ["A"] * 40 + ["B"] * 40
    z = write_sample(tmp_path / "s.h5ad", "s", types, 2.0, 0).astype(np.float32)
    table = run(tmp_path, [tmp_path / "s.h5ad"])
    assert table.columns.tolist() == [*COLUMNS, "reliability_level", "reliability_abstained"]
    assert set(table["test"]) == {CELLS} and set(table["n_replicates"]) == {0}
    row = table[(table.cell_type == "B") & (table.tf == "SPI1")].iloc[0]
    assert row.difference == pytest.approx(z[40:, 1].mean() - z[:40, 1].mean(), rel=1e-4)
    expected = stats.ranksums(z[40:, 1], z[:40, 1]).pvalue
    assert row.p_value == pytest.approx(expected, rel=0.01)
    assert row.reliability_abstained and not table[table.tf == "CTCF"].reliability_abstained.any()
    assert row.p_adjusted < 1e-6 and row.reliability_level == "low" and row.mean_binding == 0.25
    assert table[table.tf == "CTCF"].p_adjusted.min() > 0.05


def test_adjustment_is_benjamini_hochberg_over_the_whole_contrast(tmp_path):
    write_sample(tmp_path / "s.h5ad", "s", ["A"] * 30 + ["B"] * 30 + ["C"] * 30, 1.0, 3)
    table = run(tmp_path, [tmp_path / "s.h5ad"])
    assert len(table) == 9
    np.testing.assert_allclose(table.p_adjusted, stats.false_discovery_control(table.p_value), rtol=1e-4)


def test_three_samples_give_a_paired_test_of_sample_means(tmp_path):
    types = ["A"] * 25 + ["B"] * 25
    files, gaps = [], []
    for i in range(3):
        z = write_sample(tmp_path / f"s{i}.h5ad", f"s{i}", types, 2.0, i)
        gaps.append(z[25:, 1].mean() - z[:25, 1].mean())
        files.append(tmp_path / f"s{i}.h5ad")
    table = run(tmp_path, files)
    row = table[(table.cell_type == "B") & (table.tf == "SPI1")].iloc[0]
    assert row.test == PAIRED and row.n_replicates == 3
    assert row.p_value == pytest.approx(stats.ttest_1samp(gaps, 0).pvalue, rel=1e-3)
    assert row.difference == pytest.approx(np.mean(gaps), rel=1e-4)


def test_samples_of_one_donor_are_not_replicates(tmp_path):
    types = ["A"] * 25 + ["B"] * 25
    files = []
    for i in range(4):
        write_sample(tmp_path / f"s{i}.h5ad", f"s{i}", types, 2.0, i, donor="one")
        files.append(tmp_path / f"s{i}.h5ad")
    assert set(run(tmp_path, files)["test"]) == {CELLS}


def test_pseudoreplication_is_not_called(tmp_path):
    """A shift that some samples have and others reverse is significant over cells, never over samples."""
    types = ["A"] * 60 + ["B"] * 60
    files = []
    for i, shift in enumerate([3.0, -2.5, 2.0]):
        write_sample(tmp_path / f"s{i}.h5ad", f"s{i}", types, shift, i)
        files.append(tmp_path / f"s{i}.h5ad")
    table = run(tmp_path, files)
    assert table[table.tf == "SPI1"].p_value.min() > 0.3


def test_conditions_within_a_type(tmp_path):
    files, sheet = [], ["sample\tcondition"]
    for i in range(6):
        shift = 2.0 if i % 2 else 0.0
        write_sample(tmp_path / f"s{i}.h5ad", f"s{i}", ["A"] * 20 + ["B"] * 20, shift, i)
        files.append(tmp_path / f"s{i}.h5ad")
        sheet.append(f"s{i}\t{'sick' if i % 2 else 'healthy'}")
    (tmp_path / "samples.tsv").write_text("\n".join(sheet) + "\n")
    table = run(tmp_path, files, samples=tmp_path / "samples.tsv")
    table = table[table.contrast == "condition"]
    assert set(table.group) == {"sick"} and set(table.reference) == {"healthy"} and set(table.test) == {WELCH}
    best = table.sort_values("p_adjusted").iloc[0]
    assert (best.cell_type, best.tf) == ("B", "SPI1") and best.difference == pytest.approx(2, abs=0.5)


def test_small_types_are_named_and_left_out(tmp_path, capsys):
    write_sample(tmp_path / "s.h5ad", "s", ["A"] * 30 + ["B"] * 30 + ["rare"] * 4, 2.0, 0)
    table = run(tmp_path, [tmp_path / "s.h5ad"], min_cells=10)
    assert set(table.cell_type) == {"A", "B"}
    assert "rare is skipped, 4 cells are fewer than 10" in capsys.readouterr().err


def test_one_type_alone_gives_an_empty_table_with_its_header(tmp_path):
    write_sample(tmp_path / "s.h5ad", "s", ["A"] * 30, 0.0, 0)
    table = run(tmp_path, [tmp_path / "s.h5ad"])
    assert table.empty and table.columns.tolist() == COLUMNS


def test_cells_that_failed_or_have_no_type_do_not_count(tmp_path):
    types = ["A"] * 20 + ["B"] * 20 + [None] * 5 + ["A"] * 7
    write_sample(tmp_path / "s.h5ad", "s", types, 0.0, 0, **{"pass": [True] * 45 + [False] * 7})
    table = run(tmp_path, [tmp_path / "s.h5ad"])
    assert set(table.n_cells) == {20} and set(table.n_cells_reference) == {20}


def test_bad_inputs(tmp_path):
    a, b = tmp_path / "a.h5ad", tmp_path / "b.h5ad"
    write_sample(a, "a", ["A"] * 30 + ["B"] * 30, 0.0, 0)
    with pytest.raises(InputError, match="no file was given"):
        differential_tfs([], tmp_path / "o.tsv")
    with pytest.raises(InputError, match="nothing.h5ad: no such file; run the activity rule"):
        differential_tfs([tmp_path / "nothing.h5ad"], tmp_path / "o.tsv")
    b.write_text("text")
    with pytest.raises(InputError, match="b.h5ad: not a readable .h5ad"):
        differential_tfs([b], tmp_path / "o.tsv")
    data = anndata.read_h5ad(a)
    data[:, :2].write_h5ad(b)
    with pytest.raises(InputError, match="its factors differ"):
        differential_tfs([a, b], tmp_path / "o.tsv")
    del data.layers["mean_binding"]
    data.write_h5ad(b)
    with pytest.raises(InputError, match="no layer mean_binding"):
        differential_tfs([b], tmp_path / "o.tsv")
    data.obs = data.obs.drop(columns="cell_type")
    data.layers["mean_binding"] = data.X
    data.write_h5ad(b)
    with pytest.raises(InputError, match="no column cell_type"):
        differential_tfs([b], tmp_path / "o.tsv")
    sheet = tmp_path / "samples.tsv"
    for text, message in [
        ("name\na\n", "no column sample"),
        ("sample\nb\n", "sample a is not listed"),
        ("sample\na\na\n", "listed twice"),
    ]:
        sheet.write_text(text)
        with pytest.raises(InputError, match=message):
            differential_tfs([a], tmp_path / "o.tsv", samples=sheet)
    assert not (tmp_path / "o.tsv").exists()
