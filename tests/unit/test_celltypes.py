import numpy as np
import pandas as pd
import pytest
from scbind.cells.celltypes import name_cells, read_labels, transfer_labels
from scbind.core.errors import InputError

NAN = np.nan
DEFAULT = "neighbours", 0.5, 15  # method, least confidence, neighbours


def cells_of(types, seed=0):
    """Points around one axis per letter of ``types``."""
    random = np.random.default_rng(seed)
    axis = np.array(["ABCD".index(letter) for letter in types])
    return np.eye(4)[axis] + random.normal(scale=0.05, size=(len(types), 4))


def labels_of(types, hidden):
    return np.where(hidden, NAN, np.array(list(types), dtype=object))


def test_labels_of_hidden_cells_are_found_and_given_ones_kept():
    types = "A" * 40 + "B" * 30 + "C" * 10
    hidden = np.arange(80) % 2 == 0
    label = labels_of(types, hidden)
    label[1] = "odd"  # a type of one cell, among cells of another
    cells, clusters = name_cells(
        cells_of(types), label, np.array(list(types.lower()), dtype=object), *DEFAULT
    )
    assert cells["cell_type"][1] == "odd" and (cells["cell_type_source"][~hidden] == "given").all()
    assert (cells["label_confidence"][~hidden] == 1).all()
    moved = hidden & (cells["cell_type_source"] == "transferred")
    assert moved.sum() >= 38 and (cells["cell_type"][moved] == np.array(list(types))[moved]).all()
    assert clusters["cluster"].tolist() == ["a", "b", "c"] and clusters["n_labelled"].tolist() == [20, 15, 5]
    assert clusters["cell_type"].tolist() == ["A", "B", "C"] and clusters["share"].tolist() == [0.95, 1, 1]


def test_a_type_that_nobody_labelled_keeps_its_cluster():
    types = "A" * 30 + "B" * 30 + "D" * 10
    label = labels_of(types, np.array([letter == "D" for letter in types]))
    cells, clusters = name_cells(
        cells_of(types), label, np.array(list(types.lower()), dtype=object), *DEFAULT
    )
    assert (cells["cell_type"][60:] == "d").all() and (cells["cell_type_source"][60:] == "cluster").all()
    assert (cells["label_confidence"][60:] == 0).all()
    assert clusters["cell_type"].tolist() == ["A", "B", ""] and np.isnan(clusters["share"][2])


def test_the_commonest_label_of_a_cluster():
    label = np.array(["T", "T", "B", NAN, "B", "M", NAN, NAN], dtype=object)
    cluster = np.array(["c0"] * 4 + ["c1"] * 3 + ["c2"], dtype=object)
    cells, _ = name_cells(np.zeros((8, 2)), label, cluster, "cluster", 0.6, 15)
    assert cells["cell_type"].tolist() == [
        "T",
        "T",
        "B",
        "T",
        "B",
        "M",
        "c1",
        "c2",
    ]  # B and M tie: a half is too few
    np.testing.assert_allclose(cells["label_confidence"][[3, 6, 7]], [2 / 3, 0.5, 0])


@pytest.mark.parametrize("label", [["A", "B"], [NAN, NAN]])
def test_nothing_is_moved_where_all_or_none_are_labelled(label):
    cells, _ = name_cells(
        np.eye(2), np.array(label, dtype=object), np.array(["x", "x"], dtype=object), *DEFAULT
    )
    given = isinstance(label[0], str)
    assert cells["cell_type"].tolist() == (label if given else ["x", "x"])
    assert (cells["cell_type_source"] == ("given" if given else "cluster")).all()
    assert cells["label_confidence"].isna().all() != given


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_few_labelled_cells_name_no_others(number):
    types = "A" * 20 + "B" * 20
    label = labels_of(types, np.arange(40) >= number)
    cells, clusters = name_cells(
        cells_of(types), label, np.array(list(types.lower()), dtype=object), *DEFAULT
    )
    assert cells["cell_type"].tolist() == ["A"] * number + ["a"] * (20 - number) + ["b"] * 20
    assert (cells["cell_type_source"][number:] == "cluster").all()
    assert (cells["label_confidence"][number:] == 0).all()
    assert clusters["n_labelled"].tolist() == [number, 0]


def test_votes_by_hand():
    angles = np.deg2rad([0, 10, 20, 90])
    labelled = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    names = np.array(["A", "B", "B", "C"], dtype=object)
    winner, confidence = transfer_labels(labelled, names, np.array([[5.0, 0.0]]), 15)
    distance = 2 * np.sin(angles[:3] / 2)
    weight = np.exp(-((distance / distance[2]) ** 2))
    assert winner.tolist() == ["B"]  # two against the nearest one
    np.testing.assert_allclose(confidence, weight[1:].sum() / weight.sum())


def test_a_field_of_any_length_is_read(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text(f"barcode,cell_type,note\nAAA-1,T,{'x' * 200_000}\n")
    assert read_labels(path, pd.Series(["AAA-1"], dtype=object), "s1").tolist() == ["T"]


def test_labels_of_several_samples_in_one_table(tmp_path, capsys):
    path = tmp_path / "labels.tsv"
    path.write_bytes(b"barcode\tcell_type\r\ns1#A\tx\r\ns2#A\ty\r\ns1#B\tz\r\n")
    assert read_labels(path, pd.Series(["B-1", "A-1", "C-1"]), "s1").tolist()[:2] == ["z", "x"]
    assert read_labels(path, pd.Series(["A-1"]), "s2").tolist() == ["y"]
    assert "2 barcodes of s1 found without s1# in front and a number" in capsys.readouterr().err


def test_a_barcode_with_too_few_fragments_does_not_stop_the_labels(tmp_path, capsys):
    path = tmp_path / "labels.tsv"
    path.write_text("barcode\tcell_type\nZ\tz\nB\tx\nY\ty\n")
    found = read_labels(path, pd.Series(["A", "B"]), "s1")
    assert found[1] == "x" and pd.isna(found[0])
    assert (
        "2 of 3 barcodes (66.7%), as Z, are not cells of sample s1 (too few fragments?)"
        in capsys.readouterr().err
    )


TABLES = {
    "plain": "barcode\tcell_type\nA\tT 1\nB\t1e5\n",
    "CSV": 'barcode,cell_type,x\nA,T 1,"1,5"\nB,1e5,2\n',
    "semicolons": "Barcode;Cell Type\nA;T 1\nB;1e5\n",
    "R, quoted, with row names": '"barcode"\t"cell_type"\n"1"\t"A"\t"T 1"\n"2"\t"B"\t"1e5"\n',
    "R, barcodes as row names": '"","n","cell.type"\n"A",3,"T 1"\n"B",4,"1e5"\n',
    "R, spaces": '"barcode" "cell_type"\n"1" "A" "T 1"\n"2" "B" "1e5"\n',
    "R, without a name for row names": "n\tcell_type\nA\t3\tT 1\nB\t4\t1e5\n",
    "pandas with its index": "\tbarcode\tcell_type\n0\tA\tT 1\n1\tB\t1e5\n",
    "tabs at the end, empty lines": "barcode\tcell_type\nA\tT 1\t\nB\t1e5\t\n\n\t\n",
    "the same row twice": "barcode\tcell_type\nA\tT 1\nB\t1e5\nA\tT 1\n",
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("kind", TABLES)
def test_label_tables_as_people_have_them(tmp_path, kind, encoding):
    path = tmp_path / "labels"
    path.write_bytes(TABLES[kind].encode(encoding))
    assert read_labels(path, pd.Series(["B", "A"]), "s1").tolist() == ["1e5", "T 1"]


@pytest.mark.parametrize("missing", ["NA", "N/A", "<NA>", "nan", "NaN", ""])
def test_a_missing_label_of_r_or_pandas_is_no_cell_type(tmp_path, capsys, missing):
    path = tmp_path / "labels.csv"
    path.write_text(f'"","orig.ident","cell_type"\n"A-1","x","B cell"\n"B-1","x",{missing}\n"C-1","x",NK\n')
    found = read_labels(path, pd.Series(["A-1", "B-1", "C-1"]), "s1")
    assert found[[0, 2]].tolist() == ["B cell", "NK"] and pd.isna(found[1])
    said = f"1 of 3 barcodes have the label {missing}, which counts as no label"
    assert (said in capsys.readouterr().err) == bool(missing)


@pytest.mark.parametrize("label", ['"activated T', 'layer 2"', "NAN+", "None", "1e5", "#1", "M\xfcller glia"])
def test_labels_stay_as_they_are_written(tmp_path, label):
    path = tmp_path / "labels.tsv"
    for encoding in ("utf-8", "latin-1"):
        path.write_text(f"barcode\tcell_type\nA\t{label}\nB\tx\n", encoding=encoding)
        assert read_labels(path, pd.Series(["A", "B"]), "s1").tolist() == [label, "x"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "barcode\tcell_type\nY\tx\nZ\ty\n",
            r"labels.tsv, line 2: barcode Y is not a cell of sample s1 \(which has A\), nor is any of its 2 barcodes",
        ),
        ("barcode\tcell_type\nA\tx\nA\ty\n", "line 3: barcode A is listed twice"),
        ("barcode type\nA x\n", "line 1: the header is barcode, type, not barcode and cell_type"),
        ("barcode\tcell_type\nA\tx\nB\ty\tz\n", "line 3: 3 fields where the header has 2"),
        ("barcode\tcell_type\tCell Type\nA\tx\tx\n", "line 1: column cell_type occurs twice"),
        ("barcode\tcell_type\n", "no barcode in it"),
        ("", "the file is empty"),
    ],
)
def test_labels_that_are_refused(tmp_path, text, message):
    path = tmp_path / "labels.tsv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_labels(path, pd.Series(["A", "B"]), "s1")
