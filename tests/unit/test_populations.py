import anndata
import numpy as np
import pandas as pd
import pytest
from scbind.errors import InputError
from scbind.populations import COLUMNS, find_populations

TFS = [f"TF{i}" for i in range(8)]


def write(path, groups, seed=0, sample="s"):
    """``groups``: (cell type, cells, factor that is raised by 6)."""
    rng = np.random.default_rng(seed)
    z, types = [], []
    for cell_type, n, tf in groups:
        part = rng.normal(size=(n, len(TFS)))
        part[:, tf] += 6
        z.append(part)
        types += [cell_type] * n
    obs = pd.DataFrame({"sample": sample, "cell_type": types}, index=[f"c{i}" for i in range(len(types))])
    data = anndata.AnnData(np.vstack(z).astype(np.float32), obs=obs, var=pd.DataFrame(index=TFS))
    data.layers["mean_binding"] = data.X
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
    assert "a cluster of 12 cells is not reported" in capsys.readouterr().err
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


def test_missing_input(tmp_path):
    with pytest.raises(InputError, match="no such file; run the activity rule first"):
        find_populations([tmp_path / "none.h5ad"], tmp_path / "o.tsv")
