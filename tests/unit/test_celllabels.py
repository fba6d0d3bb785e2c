"""Cell types from an h5ad."""

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scbind.cells.celltypes import read_labels
from scbind.core.errors import InputError
from scbind.formats.celllabels import read_label_table

BARCODES = ["AAACGGTT-1", "CCCATTGA-1", "GGGTTTAA-1"]


def write(path, obs, index=BARCODES):
    anndata.AnnData(obs=pd.DataFrame(obs, index=index)).write_h5ad(path)
    return path


@pytest.mark.parametrize("name", ["cell_type", "Cell type", "celltype", "CELL.TYPE"])
@pytest.mark.parametrize("category", [True, False])
def test_the_column_of_cell_types_is_found_and_named(tmp_path, capfd, name, category):
    types = pd.Series(["T 1", None, "1e5"], index=BARCODES, dtype="category" if category else object)
    path = write(tmp_path / "a.h5ad", {name: types, "leiden": list("001"), "n": [1, 2, 3]})
    found = read_labels(path, pd.Series(["GGGTTTAA-1", "AAACGGTT-1", "CCCATTGA-1", "TTTTTTTT-1"]), "s1")
    assert found[:2].tolist() == ["1e5", "T 1"] and pd.isna(found[2:]).all()
    assert f"cell types of 3 cells from the column {name}" in capfd.readouterr().err


def test_a_type_named_nan_is_a_missing_one(tmp_path):
    types = pd.Series(["T 1", None, "x"], index=BARCODES).astype(str).replace("None", "nan")
    found = read_labels(write(tmp_path / "a.h5ad", {"cell_type": types}), pd.Series(BARCODES), "s1")
    assert found[[0, 2]].tolist() == ["T 1", "x"] and pd.isna(found[1])


def test_the_only_column_of_text_will_do(tmp_path):
    obs = {"annotation": ["B", "T", "T"], "n": [1, 2, 3], "barcode": BARCODES, "ok": [True, False, True]}
    table = read_label_table(write(tmp_path / "a.h5ad", obs, ["0", "1", "2"]))
    assert table["barcode"].tolist() == BARCODES, "of the column: the names of the cells are numbers"
    assert table["cell_type"].tolist() == ["B", "T", "T"] and table.index.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("obs", "message"),
    [
        (
            {"a": list("xyz"), "b": list("xyz")},
            r"obs: several columns may be the cell types \(a, b\); name one",
        ),
        ({"cell_type": list("xyz"), "CellType": list("xyz")}, r"several .* \(cell_type, CellType\)"),
        ({"n": [1, 2, 3]}, r"no column of text for the cell types \(none\)"),
    ],
)
def test_what_is_not_clear_is_refused(tmp_path, obs, message):
    with pytest.raises(InputError, match=message):
        read_label_table(write(tmp_path / "a.h5ad", obs))


def test_other_and_damaged_hdf5_is_refused_in_one_line(tmp_path):
    with h5py.File(tmp_path / "x.h5ad", "w") as file:
        file["matrix/barcodes"] = np.array(BARCODES, dtype="S")
    with pytest.raises(InputError, match="an HDF5 file without cells"):
        read_label_table(tmp_path / "x.h5ad")
    path = write(tmp_path / "a.h5ad", {"cell_type": list("xyz")})
    whole = path.read_bytes()
    for size in (10, 900, len(whole) // 2):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError) as refused:
            read_label_table(path)
        assert "\n" not in str(refused.value)
