import anndata
import numpy as np
import pandas as pd
import pytest
from scbind.analysis.populations import COLUMNS, find_populations
from scbind.core.errors import InputError

# One process for all that numba compiles, which takes half a minute in each.
pytestmark = pytest.mark.xdist_group("numba")

TFS = [f"TF{i}" for i in range(8)]


def write(path, groups, seed=0, sample="s", abstained=(), shallow=()):
    """``groups``: (cell type, cells, factor that is raised by 6); ``shallow``: (cells, factor) abstained on."""
    rng = np.random.default_rng(seed)
    z, types = [], []
    for cell_type, n, tf in groups:
        part = rng.normal(size=(n, len(TFS)))
        part[:, tf] += 6
        z.append(part)
        types += [cell_type] * n
    obs = pd.DataFrame({"sample": sample, "cell_type": types}, index=[f"c{i}" for i in range(len(types))])
    var = pd.DataFrame({"abstained": [tf in abstained for tf in TFS]}, index=TFS)
    data = anndata.AnnData(np.vstack(z).astype(np.float32), obs=obs, var=var)
    data.layers["mean_binding"] = data.X
    data.layers["abstained"] = np.tile(var["abstained"].to_numpy(), (len(obs), 1))
    for cells, tf in shallow:
        data.layers["abstained"][cells, tf] = True
    data.write_h5ad(path)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("populations")
    write(folder / "s.h5ad", [("T", 150, 0), ("B", 140, 1), ("T", 12, 2)])
    outputs = folder / "populations.tsv", folder / "cells.tsv"
    find_populations(
        [folder / "s.h5ad"], *outputs, resolution=0.5, n_neighbours=10, repeats=3, small_fraction=0.05
    )
    return pd.read_csv(outputs[0], sep="\t"), pd.read_csv(outputs[1], sep="\t")


def test_planted_groups_are_found_with_sizes_types_and_markers(found):
    table, _ = found
    assert table.columns.tolist() == COLUMNS
    assert table.population.tolist() == ["P1", "P2", "P3"] and table.n_cells.tolist() == [150, 140, 12]
    assert table.cell_type.tolist() == ["T", "B", "T"] and (table.cell_type_share == 1).all()
    assert table.small.tolist() == [False, False, True]
    assert [markers.split(":")[0] for markers in table.markers] == ["TF0", "TF1", "TF2"]
    assert float(table.markers[2].split(";")[0].split(":")[1]) == pytest.approx(6, abs=1.5)
    assert table.markers_within_type[2].startswith("TF2:")
    assert (table.stability > 0.9).all() and (table.stability <= 1).all()
    assert table.fraction.sum() == pytest.approx(1, abs=1e-4)


def test_cells_are_listed_with_their_population(found):
    table, cells = found
    assert cells.columns.tolist() == ["sample", "cell", "population"] and len(cells) == 302
    assert cells.population.value_counts().to_dict() == table.set_index("population").n_cells.to_dict()
    assert set(cells.population[-12:]) == {"P3"}


def test_noise_split_finely_is_not_stable(tmp_path):
    write(tmp_path / "s.h5ad", [("T", 200, 0)])
    find_populations([tmp_path / "s.h5ad"], tmp_path / "o.tsv", resolution=3.0, repeats=3)
    table = pd.read_csv(tmp_path / "o.tsv", sep="\t")
    assert len(table) > 3 and table.stability.mean() < 0.7


def test_clusters_below_the_fraction_are_named_and_left_out(tmp_path, capsys):
    write(tmp_path / "s.h5ad", [("T", 100, 0), ("B", 100, 1), ("X", 12, 2)])
    options = {"resolution": 0.5, "n_neighbours": 10, "repeats": 1, "min_fraction": 0.1}
    find_populations([tmp_path / "s.h5ad"], tmp_path / "o.tsv", tmp_path / "c.tsv", **options)
    assert pd.read_csv(tmp_path / "o.tsv", sep="\t").n_cells.tolist() == [100, 100]
    assert "a cluster of 12 cells is left out" in capsys.readouterr().err
    assert pd.read_csv(tmp_path / "c.tsv", sep="\t").population.isna().sum() == 12


def test_same_seed_same_bytes_and_samples_are_counted(tmp_path):
    write(tmp_path / "a.h5ad", [("T", 40, 0)], 0, "a")
    write(tmp_path / "b.h5ad", [("T", 20, 0), ("B", 30, 1)], 1, "b")
    for name in "12":
        find_populations(
            [tmp_path / "a.h5ad", tmp_path / "b.h5ad"], tmp_path / name, repeats=2, resolution=0.3
        )
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    table = pd.read_csv(tmp_path / "1", sep="\t")
    assert table.n_cells.sum() == 90 and table.n_samples.tolist()[0] == 2
    assert table.top_sample[0] == "a" and table.top_sample_share[0] == pytest.approx(2 / 3, abs=1e-3)


def test_too_few_cells_give_a_header_only(tmp_path, capsys):
    write(tmp_path / "s.h5ad", [("T", 6, 0)])
    find_populations([tmp_path / "s.h5ad"], tmp_path / "o.tsv", tmp_path / "c.tsv")
    assert (tmp_path / "o.tsv").read_text() == "\t".join(COLUMNS) + "\n"
    assert "too few to cluster" in capsys.readouterr().err
    assert len(pd.read_csv(tmp_path / "c.tsv", sep="\t")) == 6


def test_an_abstained_tf_neither_splits_cells_nor_marks_them(tmp_path, capsys):
    groups = [("T", 100, 0), ("B", 100, 1), ("B", 60, 7)]
    for name, abstained in (("all", ()), ("some", ("TF7",))):
        write(tmp_path / f"{name}.h5ad", groups, abstained=abstained)
        find_populations([tmp_path / f"{name}.h5ad"], tmp_path / name, resolution=0.4, repeats=1)
    everything, some = (pd.read_csv(tmp_path / name, sep="\t") for name in ("all", "some"))
    assert any("TF7" in markers for markers in everything.markers)
    assert len(some) >= 2 and not some[["markers", "markers_within_type"]].stack().str.contains("TF7").any()
    assert "left out because scbind abstains on them: TF7" in capsys.readouterr().err
    # the values of an abstained TF do not matter at all
    data = anndata.read_h5ad(tmp_path / "some.h5ad")
    data.X[:, 7] = np.random.default_rng(9).normal(size=260)
    data.write_h5ad(tmp_path / "other.h5ad")
    find_populations([tmp_path / "other.h5ad"], tmp_path / "other", resolution=0.4, repeats=1)
    assert (tmp_path / "other").read_bytes() == (tmp_path / "some").read_bytes()


@pytest.mark.parametrize("left", [0, 1])
def test_with_hardly_any_tf_left_the_table_is_empty_and_the_log_says_why(tmp_path, capsys, left):
    write(tmp_path / "s.h5ad", [("T", 40, 0), ("B", 40, 1)], abstained=TFS[left:])
    find_populations([tmp_path / "s.h5ad"], tmp_path / "o.tsv", tmp_path / "c.tsv")
    assert (tmp_path / "o.tsv").read_text() == "\t".join(COLUMNS) + "\n"
    said = capsys.readouterr().err
    assert f"80 cells and {left} TFs are too few to cluster" in said and "scbind abstains on them: " in said
    assert len(pd.read_csv(tmp_path / "c.tsv", sep="\t")) == 80


def test_cells_too_shallow_for_a_tf_do_not_make_it_a_marker(tmp_path):
    groups = [("T", 100, 0), ("B", 100, 1)]
    shallow = [(slice(0, 97), 0), (slice(0, 10), 1)]  # three cells of T are left for TF0
    write(tmp_path / "s.h5ad", groups, shallow=shallow)
    find_populations([tmp_path / "s.h5ad"], tmp_path / "o.tsv", resolution=0.4, repeats=1)
    markers = pd.read_csv(tmp_path / "o.tsv", sep="\t").markers
    assert len(markers) == 2 and not markers.str.contains("TF0").any()
    z = anndata.read_h5ad(tmp_path / "s.h5ad").X[:, 1].astype(np.float64)
    ours, theirs = z[100:], z[10:100]
    pooled = np.sqrt((99 * ours.var(ddof=1) + 89 * theirs.var(ddof=1)) / 188)
    effect = (ours.mean() - theirs.mean()) / pooled
    assert sum(text.startswith(f"TF1:{effect:.2f}") for text in markers) == 1


def test_missing_input(tmp_path):
    with pytest.raises(InputError, match="no such file; run the activity rule first"):
        find_populations([tmp_path / "none.h5ad"], tmp_path / "o.tsv")
