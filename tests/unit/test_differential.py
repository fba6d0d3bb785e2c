import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scbind.analysis.differential import (
    ABSTAINED,
    CELLS,
    CELLS_SHARED,
    COLUMNS,
    OTHERS,
    PAIRED,
    SHALLOW,
    WELCH,
    differential_tfs,
)
from scbind.core.errors import InputError
from scipy import stats

TFS = ["CTCF", "SPI1", "GATA1"]


def write_sample(path, name, types, shift, seed, shallow=None, abstained=("GATA1",), **extra):
    """z is unit noise, plus ``shift`` for SPI1 in cells of type B; ``shallow`` bool (cells,): too shallow for SPI1."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(len(types), 3))
    z[np.asarray(types) == "B", 1] += shift
    obs = pd.DataFrame({"sample": name, "cell_type": types, **extra})
    obs.index = [f"cell{i}" for i in range(len(types))]
    known = {"level": ["high", "high", "low"], "abstained": [tf in abstained for tf in TFS]}
    var = pd.DataFrame(known, index=TFS)
    data = anndata.AnnData(z.astype(np.float32), obs=obs, var=var)
    data.layers["mean_binding"] = np.full(z.shape, 0.25, dtype=np.float32)
    data.layers["abstained"] = np.tile(var["abstained"].to_numpy(), (len(obs), 1))
    if shallow is not None:
        data.layers["abstained"][:, 1] = shallow
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
    assert set(table["test"]) == {CELLS, ABSTAINED} and set(table["n_replicates"]) == {0}
    row = table[(table.cell_type == "B") & (table.tf == "SPI1")].iloc[0]
    assert row.difference == pytest.approx(z[40:, 1].mean() - z[:40, 1].mean(), rel=1e-4)
    expected = stats.ttest_ind(z[40:, 1], z[:40, 1], equal_var=False).pvalue
    assert row.p_value == pytest.approx(expected, rel=0.01)
    assert not row.reliability_abstained and table[table.tf == "GATA1"].reliability_abstained.all()
    assert row.p_adjusted < 1e-6 and row.reliability_level == "high" and row.mean_binding == 0.25
    assert table[table.tf == "CTCF"].p_adjusted.min() > 0.05


def test_adjustment_is_benjamini_hochberg_over_the_whole_contrast(tmp_path):
    write_sample(tmp_path / "s.h5ad", "s", ["A"] * 30 + ["B"] * 30 + ["C"] * 30, 1.0, 3)
    table = run(tmp_path, [tmp_path / "s.h5ad"])
    assert len(table) == 9
    tested = table[table.tf != "GATA1"]
    np.testing.assert_allclose(tested.p_adjusted, stats.false_discovery_control(tested.p_value), rtol=1e-4)


def test_p_values_over_cells_and_over_replicates_are_adjusted_apart(tmp_path):
    """Types A and B are in six donors, type C in two, where its cells have tiny p-values."""
    files = []
    for i in range(6):
        types = ["A"] * 20 + ["B"] * 20 + ["C"] * 40 * (i in (0, 3))
        write_sample(tmp_path / f"s{i}.h5ad", f"s{i}", types, 0.3, i, condition="sick" if i > 2 else "well")
        data = anndata.read_h5ad(tmp_path / f"s{i}.h5ad")
        data.X[40:, :2] += 3 * (i > 2)
        data.write_h5ad(tmp_path / f"s{i}.h5ad")
        files.append(tmp_path / f"s{i}.h5ad")
    table = run(tmp_path, files).query("contrast == 'condition'")
    assert (table[table.test == CELLS].p_value < 1e-6).all()
    for test, type_count in ((WELCH, 2), (CELLS, 1)):
        rows = table[table.test == test]
        assert set(rows.tf) == {"CTCF", "SPI1"} and len(rows) == 2 * type_count
        np.testing.assert_allclose(
            rows.p_adjusted, stats.false_discovery_control(rows.p_value.to_numpy()), rtol=1e-4
        )


@pytest.mark.parametrize("shift", [0.0, 3.0], ids=["null", "all differ"])
def test_tfs_without_chip_seq_do_not_change_the_adjusted_p_values_of_the_others(tmp_path, shift):
    """Hundreds of motifs: without differences they would hide those of the others, with differences add to them."""
    types = ["A"] * 40 + ["B"] * 40
    write_sample(tmp_path / "s.h5ad", "s", types, 0.8, 0, abstained=())
    alone = run(tmp_path, [tmp_path / "s.h5ad"])
    data = anndata.read_h5ad(tmp_path / "s.h5ad")
    z = np.random.default_rng(1).normal(size=(80, 300)).astype(np.float32)
    z[40:] += shift
    names = [f"M{number}" for number in range(300)]
    var = pd.DataFrame({"level": "high", "abstained": False, "evidence": "motif"}, index=names)
    other = anndata.AnnData(z, obs=data.obs, var=var)
    other.layers["mean_binding"] = np.full(z.shape, 0.25, dtype=np.float32)
    other.layers["abstained"] = np.zeros(z.shape, dtype=bool)
    data.var["evidence"] = "chip"
    anndata.concat([data, other], axis=1, merge="first").write_h5ad(tmp_path / "s.h5ad")
    table = run(tmp_path, [tmp_path / "s.h5ad"])
    assert len(table) == 2 * 303 and table["p_adjusted"].notna().all()
    for evidence, part in table.groupby("evidence"):
        expected = stats.false_discovery_control(part["p_value"])
        np.testing.assert_allclose(part["p_adjusted"], expected, rtol=1e-4, err_msg=evidence)
    ours = table[table["evidence"] == "chip"].reset_index(drop=True)
    pd.testing.assert_frame_equal(ours[COLUMNS], alone[COLUMNS])


def test_an_abstained_tf_keeps_its_row_but_has_no_p_value_and_does_not_count(tmp_path):
    options = {"shift": 1.0, "seed": 3, "types": ["A"] * 30 + ["B"] * 30 + ["C"] * 30}
    write_sample(tmp_path / "s.h5ad", "s", abstained=(), **options)
    every = run(tmp_path, [tmp_path / "s.h5ad"])
    z = write_sample(tmp_path / "s.h5ad", "s", abstained=("SPI1", "GATA1"), **options)
    table = run(tmp_path, [tmp_path / "s.h5ad"])
    out = table[table.tf != "CTCF"]
    assert out[["statistic", "p_value", "p_adjusted"]].isna().all(axis=None) and set(out.test) == {ABSTAINED}
    row = out[(out.tf == "SPI1") & (out.cell_type == "B")].iloc[0]
    assert (row.n_cells, row.n_cells_reference) == (30, 60)
    assert row.mean_z == pytest.approx(z[30:60, 1].mean(), rel=1e-4) and np.isfinite(row.effect_size)
    p_values = every[every.tf == "CTCF"].set_index("cell_type").p_value
    kept = table[table.tf == "CTCF"].set_index("cell_type")
    np.testing.assert_allclose(
        kept.p_adjusted, stats.false_discovery_control(p_values[kept.index]), rtol=1e-4
    )
    assert table.groupby("cell_type").tf.first().tolist() == ["CTCF"] * 3  # abstained rows come last


def test_with_every_tf_abstained_on_nothing_is_tested(tmp_path):
    write_sample(tmp_path / "s.h5ad", "s", ["A"] * 30 + ["B"] * 30, 1.0, 3, abstained=TFS)
    table = run(tmp_path, [tmp_path / "s.h5ad"])
    assert len(table) == 6 and set(table.test) == {ABSTAINED} and table.p_adjusted.isna().all()


def test_cells_too_shallow_for_a_tf_do_not_count_for_it(tmp_path):
    shallow = np.arange(90) % 3 == 0
    z = write_sample(
        tmp_path / "s.h5ad", "s", ["A"] * 40 + ["B"] * 50, 2.0, 0, shallow=shallow, abstained=()
    ).astype(np.float32)
    table = run(tmp_path, [tmp_path / "s.h5ad"]).set_index(["cell_type", "tf"])
    row, other = table.loc[("A", "SPI1")], table.loc[("A", "CTCF")]
    ours, theirs = z[:40, 1][~shallow[:40]], z[40:, 1][~shallow[40:]]
    assert (row.n_cells, row.n_cells_reference) == (len(ours), len(theirs))
    assert row.mean_z == pytest.approx(ours.mean(), rel=1e-4)
    assert row.difference == pytest.approx(ours.mean() - theirs.mean(), rel=1e-4)
    assert row.p_value == pytest.approx(stats.ttest_ind(ours, theirs, equal_var=False).pvalue, rel=0.01)
    assert (other.n_cells, other.n_cells_reference) == (40, 50)
    assert other.p_value == pytest.approx(
        stats.ttest_ind(z[:40, 0], z[40:, 0], equal_var=False).pvalue, rel=0.01
    )


def test_too_few_deep_cells_leave_a_row_without_figures_that_does_not_count(tmp_path):
    shallow = np.arange(80) < 21  # 19 of 40 cells of A are left
    write_sample(
        tmp_path / "s.h5ad", "s", ["A"] * 40 + ["B"] * 40, 2.0, 0, shallow=shallow, abstained=("GATA1",)
    )
    table = run(tmp_path, [tmp_path / "s.h5ad"])
    out = table[table.tf == "SPI1"]
    assert set(out.test) == {SHALLOW} and sorted(out.n_cells) == [19, 40]
    figures = COLUMNS[COLUMNS.index("mean_z") : COLUMNS.index("test")]
    assert out[figures].isna().all(axis=None) and not out.reliability_abstained.any()
    tested = table[table.tf == "CTCF"]
    np.testing.assert_allclose(tested.p_adjusted, stats.false_discovery_control(tested.p_value), rtol=1e-4)


def test_a_replicate_counts_with_its_deep_cells(tmp_path):
    types, files = ["A"] * 25 + ["B"] * 25, []
    for i in range(3):
        shallow = (np.arange(50) < 21) if i == 0 else np.zeros(50, dtype=bool)  # four cells of A are left
        write_sample(tmp_path / f"s{i}.h5ad", f"s{i}", types, 2.0, i, shallow=shallow)
        files.append(tmp_path / f"s{i}.h5ad")
    table = run(tmp_path, files)
    assert set(table[table.tf == "CTCF"].test) == {PAIRED} and set(table[table.tf == "SPI1"].test) == {CELLS}


def test_three_samples_give_a_paired_test_of_sample_means(tmp_path):
    types = ["A"] * 25 + ["B"] * 25
    files, gaps = [], []
    for i in range(3):
        z = write_sample(tmp_path / f"s{i}.h5ad", f"s{i}", types, 2.0, i)
        gaps.append(z[25:, 1].mean() - z[:25, 1].mean())
        files.append(tmp_path / f"s{i}.h5ad")
    table = run(tmp_path, files)
    row = table[(table.cell_type == "B") & (table.tf == "SPI1")].iloc[0]
    assert row.test == PAIRED and row.n_replicates == 3 and set(table.test) == {PAIRED, ABSTAINED}
    assert row.p_value == pytest.approx(stats.ttest_1samp(gaps, 0).pvalue, rel=1e-3)
    assert row.difference == pytest.approx(np.mean(gaps), rel=1e-4)


def test_samples_of_one_donor_are_not_replicates(tmp_path):
    types = ["A"] * 25 + ["B"] * 25
    files = []
    for i in range(4):
        write_sample(tmp_path / f"s{i}.h5ad", f"s{i}", types, 2.0, i, donor="one")
        files.append(tmp_path / f"s{i}.h5ad")
    assert set(run(tmp_path, files)["test"]) == {CELLS, ABSTAINED}
    write_sample(tmp_path / "s4.h5ad", "s4", types, 2.0, 4)  # its donor is not given
    assert set(run(tmp_path, [*files, tmp_path / "s4.h5ad"])["test"]) == {CELLS, ABSTAINED}, "two replicates"


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
    files = []
    for i in range(6):
        shift, condition = (2.0, "sick") if i % 2 else (0.0, "healthy")
        write_sample(tmp_path / f"s{i}.h5ad", f"s{i}", ["A"] * 20 + ["B"] * 20, shift, i, condition=condition)
        files.append(tmp_path / f"s{i}.h5ad")
    table = run(tmp_path, files)
    table = table[table.contrast == "condition"]
    assert set(table.group) == {"sick"} and set(table.reference) == {"healthy"}
    assert set(table.test) == {WELCH, ABSTAINED}
    best = table.sort_values("p_adjusted").iloc[0]
    assert (best.cell_type, best.tf) == ("B", "SPI1") and best.difference == pytest.approx(2, abs=0.5)


def test_donors_that_were_measured_in_both_conditions_are_compared_in_pairs(tmp_path):
    """Donors differ by much more than conditions do. Cells as replicates would make that significant."""
    files = []
    for donor in range(4):
        for condition in ("control", "treated"):
            path, values = (
                tmp_path / f"{donor}{condition}.h5ad",
                {"donor": f"D{donor}", "condition": condition},
            )
            write_sample(path, path.stem, ["A"] * 40 + ["B"] * 40, 0, len(files), **values)
            data = anndata.read_h5ad(path)
            data.X[:, 0] += 5 * donor + (condition == "treated")  # CTCF
            data.X[:, 1] += [0, 3, -2, 1][donor] * (condition == "treated")  # SPI1: no common change
            data.write_h5ad(path)
            files.append(path)
    table = run(tmp_path, files).query("contrast == 'condition'")
    assert set(table.test) == {PAIRED, ABSTAINED} and set(table[table.test == PAIRED].n_replicates) == {4}
    assert (table[table.tf == "CTCF"].p_adjusted < 0.05).all()
    assert table[table.tf == "CTCF"].difference.to_numpy() == pytest.approx(1, abs=0.3)
    assert (table[table.tf == "SPI1"].p_value > 0.3).all()


@pytest.mark.parametrize("shared", [0, 1, 2, 3])
def test_one_or_two_donors_in_both_conditions_do_not_make_cells_the_unit(tmp_path, capsys, shared):
    """Donors differ, conditions do not; donors 0, 1, .. of the controls were sampled in the disease, too."""
    files, means = [], {}
    level = np.random.default_rng(5).normal(0, 2, 6)
    sampled = [(d, "control" if d < 3 + shared else "disease") for d in range(6 + shared)]
    level = np.r_[level, np.zeros(shared)]
    for donor, condition in [*sampled, *((d, "disease") for d in range(shared))]:
        path = tmp_path / f"{donor}{condition}.h5ad"
        write_sample(path, path.stem, ["A"] * 40, 0, len(files), donor=f"D{donor}", condition=condition)
        data = anndata.read_h5ad(path)
        data.X[:, 0] += level[donor]
        means[donor, condition] = data.X[:, 0].mean()
        data.write_h5ad(path)
        files.append(path)
    row = run(tmp_path, files).query("contrast == 'condition' and tf == 'CTCF'").iloc[0]
    told = (
        "disease against control in A: the replicates in both groups are left out" in capsys.readouterr().err
    )
    assert told == (shared in (1, 2))
    if shared == 3:
        assert (row.test, row.n_replicates) == (PAIRED, 3)
        return
    assert (row.test, row.n_replicates) == (OTHERS if shared else WELCH, 6)
    ours, theirs = (
        [means[d, c] for d, c in sampled[shared:] if c == side] for side in ("disease", "control")
    )
    assert row.p_value == pytest.approx(stats.ttest_ind(ours, theirs, equal_var=False).pvalue, rel=1e-3)
    assert row.difference == pytest.approx(np.mean(ours) - np.mean(theirs), rel=1e-3)


def test_where_too_few_donors_are_on_one_side_alone_the_test_names_this_reason(tmp_path):
    files = []
    for donor, condition in [*((d, "control") for d in range(3)), *((d, "disease") for d in range(2, 5))]:
        path = tmp_path / f"{donor}{condition}.h5ad"
        write_sample(path, path.stem, ["A"] * 40, 0, len(files), donor=f"D{donor}", condition=condition)
        files.append(path)
    table = run(tmp_path, files).query("contrast == 'condition' and tf != 'GATA1'")
    assert set(table.test) == {CELLS_SHARED} and set(table.n_replicates) == {0}
    table = run(tmp_path, files[:5]).query("contrast == 'condition' and tf != 'GATA1'")
    assert set(table.test) == {CELLS}


def write_lenders(path, names, weights, fragments):
    obs = pd.DataFrame({"n_fragments": fragments, "pass": True}, index=names)
    anndata.AnnData(obs=obs, obsp={"borrow": sp.csr_matrix(weights, dtype=np.float32)}).write_h5ad(path)
    return path


def test_cells_that_borrow_from_each_other_are_not_independent(tmp_path):
    """Two types of 50 cells, each of which borrows from all of its type: one value each."""
    rng, types = np.random.default_rng(0), ["A"] * 50 + ["B"] * 50
    path, names = tmp_path / "s.h5ad", [f"cell{i}" for i in range(100)]
    alone = write_lenders(tmp_path / "alone.h5ad", names[::-1], np.eye(100), np.full(100, 1_000))
    weights = np.kron(np.eye(2), 0.9 + 0.1 * np.eye(50))
    shared = write_lenders(tmp_path / "shared.h5ad", names[::-1], weights, np.full(100, 1_000))
    found = {alone: [], shared: [], None: []}
    for seed in range(40):
        write_sample(path, "s", types, 0, seed)
        data = anndata.read_h5ad(path)
        noise = rng.normal(size=(100, 3))
        data.X = ((weights @ noise) / np.linalg.norm(weights, axis=1)[:, None]).astype(np.float32)
        data.write_h5ad(path)
        for lenders, rows in found.items():
            table = run(tmp_path, [path], lenders=[lenders] if lenders else None)
            rows.append(table[(table.cell_type == "A") & (table.test == CELLS)])
    found = {lenders: pd.concat(rows) for lenders, rows in found.items()}
    pd.testing.assert_frame_equal(found[alone], found[None])
    assert (found[alone].p_value < 0.05).mean() > 0.6 and (found[alone].design_effect == 1).all()
    assert (found[shared].p_value < 0.05).mean() < 0.15
    assert found[shared].design_effect.to_numpy() == pytest.approx(50, rel=0.05)
    with pytest.raises(
        InputError, match="the cells differ from those of the activity; run find_lenders again"
    ):
        run(tmp_path, [path], lenders=[write_lenders(tmp_path / "x.h5ad", ["a"], [[1]], [1])])


def test_donors_and_conditions_are_those_of_the_cells(tmp_path):
    """As the embedding writes them: categories, of which a sample that was given none has none."""
    types, files = ["A"] * 25 + ["B"] * 25, []
    for i, donor in enumerate(["x", "y", "z", None]):
        values = {
            name: pd.Categorical([value] * 50) for name, value in (("donor", donor), ("condition", None))
        }
        write_sample(tmp_path / f"s{i}.h5ad", f"s{i}", types, 2.0, i, **values)
        files.append(tmp_path / f"s{i}.h5ad")
    table = run(tmp_path, files[:3])
    assert set(table.contrast) == {"cell_type"} and set(table.test) == {PAIRED, ABSTAINED}
    table = run(tmp_path, [files[0], *files])  # one donor twice, and cells without a donor: samples count
    assert set(table[table.test == PAIRED].n_replicates) == {4}


def test_cells_without_a_condition_do_not_look_for_conditions(tmp_path, capsys):
    empty = pd.Categorical([None] * 40)
    write_sample(tmp_path / "s.h5ad", "s", ["A"] * 20 + ["B"] * 20, 2.0, 0, condition=empty)
    run(tmp_path, [tmp_path / "s.h5ad"], min_cells=21)
    assert "conditions:" not in capsys.readouterr().err


def test_small_types_are_named_and_left_out(tmp_path, capsys):
    write_sample(tmp_path / "s.h5ad", "s", ["A"] * 30 + ["B"] * 30 + ["rare"] * 4, 2.0, 0)
    table = run(tmp_path, [tmp_path / "s.h5ad"], min_cells=10)
    assert set(table.cell_type) == {"A", "B"}
    assert "rare is skipped, because it has 4 cells (minimum 10)" in capsys.readouterr().err


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
    with pytest.raises(InputError, match="no file is given"):
        differential_tfs([], tmp_path / "o.tsv")
    with pytest.raises(InputError, match="nothing.h5ad: no such file; run the activity rule"):
        differential_tfs([tmp_path / "nothing.h5ad"], tmp_path / "o.tsv")
    b.write_text("text")
    with pytest.raises(InputError, match="b.h5ad: not readable"):
        differential_tfs([b], tmp_path / "o.tsv")
    data = anndata.read_h5ad(a)
    data[:, :2].write_h5ad(b)
    with pytest.raises(InputError, match="its TFs differ"):
        differential_tfs([a, b], tmp_path / "o.tsv")
    del data.layers["mean_binding"]
    data.write_h5ad(b)
    with pytest.raises(InputError, match="layers has no mean_binding"):
        differential_tfs([b], tmp_path / "o.tsv")
    data.obs = data.obs.drop(columns="cell_type")
    data.layers["mean_binding"] = data.X
    data.write_h5ad(b)
    with pytest.raises(InputError, match="no column cell_type"):
        differential_tfs([b], tmp_path / "o.tsv")
    assert not (tmp_path / "o.tsv").exists()
