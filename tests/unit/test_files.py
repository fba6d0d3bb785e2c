import ast
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scbind
from scbind.core import files
from scbind.core.errors import InputError
from scbind.core.files import map_npy, read_npz, read_result, read_rows, rows_by, write_bed, write_table
from scbind.plan import digests


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text("type\tslug\nB cell\tb\nT cell\tt\nB cell\tb2\n")
    return path


def test_rows_by_a_column(table):
    assert [row["slug"] for row in read_rows(table)] == ["b", "t", "b2"]
    assert {name: [row["slug"] for row in rows] for name, rows in rows_by(table, "type").items()} == {
        "B cell": ["b", "b2"],
        "T cell": ["t"],
    }


def test_a_table_is_read_once_until_it_changes(table, monkeypatch):
    opened = []
    monkeypatch.setattr(files, "open", lambda *args, **kw: [opened.append(args), open(*args, **kw)][1], False)
    for _ in range(3):
        assert len(read_rows(table)) == 3 and len(rows_by(str(table), "slug")) == 3
    assert len(opened) == 1
    table.write_text("type\tslug\nNK\tn\nM\tm\nD\td\nP\tp\n")
    assert list(rows_by(table, "slug")) == ["n", "m", "d", "p"] and len(opened) == 2
    before = table.stat()
    table.write_text(table.read_text().replace("NK", "KN"))  # as long as before, but written later
    os.utime(table, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert read_rows(table)[0]["type"] == "KN" and len(opened) == 3


def test_a_table_has_six_digits_and_a_bed_all_of_them(tmp_path):
    table = pd.DataFrame({"chrom": ["chr1", 'a "b"'], "value": [1 / 3, 1e-9], "n": [1, 2]})
    write_table(tmp_path / "t.tsv", table)
    assert (tmp_path / "t.tsv").read_bytes() == b'chrom\tvalue\tn\nchr1\t0.333333\t1\n"a ""b"""\t1e-09\t2\n'
    write_bed(tmp_path / "t.bed", table.iloc[:1])
    assert (tmp_path / "t.bed").read_text() == "chr1\t0.3333333333333333\t1\n"


def test_a_table_that_cannot_be_written_leaves_the_old_one(tmp_path):
    class Torn(pd.DataFrame):
        def to_csv(self, *_, **__):
            raise OSError("full")

    write_table(tmp_path / "t.tsv", pd.DataFrame({"a": [1]}))
    with pytest.raises(OSError, match="full"):
        write_table(tmp_path / "t.tsv", Torn({"a": [2]}))
    assert (tmp_path / "t.tsv").read_text() == "a\n1\n" and len(list(tmp_path.iterdir())) == 1


def test_no_other_module_writes_tables():
    """Lightning's history, a CSV of its own, is the one exception."""
    writing = {
        module
        for module in digests.list_modules()
        for node in ast.walk(ast.parse((digests.PACKAGE / f"{module.replace('.', '/')}.py").read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("to_csv", "savetxt", "DictWriter", "writer")
    }
    assert writing - {"models.training"} == {"core.files"}


def test_names_in_our_tables_stay_text(tmp_path):
    table = pd.DataFrame({"chrom": ["1", "NA"], "tf": ["NA", "7"], "tss": [5, 6], "auprc": [0.5, np.nan]})
    write_table(tmp_path / "t.tsv", table)
    found = read_result(tmp_path / "t.tsv", "again")
    pd.testing.assert_frame_equal(found, table, check_dtype=False)
    assert found["chrom"].tolist() == ["1", "NA"] and found["tss"].dtype == np.int64
    with pytest.raises(InputError, match="no such file; again"):
        read_result(tmp_path / "absent.tsv", "again")
    (tmp_path / "empty.tsv").write_bytes(b"")
    with pytest.raises(InputError, match="again"):
        read_result(tmp_path / "empty.tsv", "again")


def test_no_reader_of_the_package_guesses_the_type_of_a_name():
    for path in (Path(scbind.__file__).parent).rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "pd.read_csv":
                assert "dtype" in {keyword.arg for keyword in call.keywords}, f"{path}, line {call.lineno}"


def test_arrays_are_read_by_name_or_refused_in_one_line(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, one=np.arange(1000), two=np.array("x"))
    assert set(read_npz(path, "make it again")) == {"one", "two"}
    found = read_npz(path, "make it again", ["one"])
    assert list(found) == ["one"] and found["one"].tolist() == list(range(1000))
    with pytest.raises(InputError, match="a.npz: has no array four, three; make it again"):
        read_npz(path, "make it again", ["one", "three", "four"])
    with pytest.raises(InputError, match="none.npz: no such file; make it again"):
        read_npz(tmp_path / "none.npz", "make it again")
    whole = bytearray(path.read_bytes())
    (tmp_path / "cut.npz").write_bytes(whole[:500])
    np.save(tmp_path / "one.npy", np.arange(3))
    for name in ("cut.npz", "one.npy"):
        with pytest.raises(InputError, match=f"{name}: is not a .npz file; make it again"):
            read_npz(tmp_path / name, "make it again")
    for place in range(60, 400, 20):
        whole[place] ^= 255
        (tmp_path / "flipped.npz").write_bytes(whole)
        with pytest.raises(InputError, match="flipped.npz: not readable .*; make it again"):
            read_npz(tmp_path / "flipped.npz", "make it again")
        whole[place] ^= 255
    np.savez(tmp_path / "objects.npz", one=np.array([{}]))
    with pytest.raises(InputError, match="objects.npz: not readable .*; make it again"):
        read_npz(tmp_path / "objects.npz", "make it again")


def test_an_array_is_mapped_or_refused_in_one_line(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.arange(1000))
    found = map_npy(path, "make it again")
    assert isinstance(found, np.memmap) and found[999] == 999 and not found.flags.writeable
    with pytest.raises(InputError, match=r"^\S+none.npy: no such file; make it again$"):
        map_npy(tmp_path / "none.npy", "make it again")
    whole = bytearray(path.read_bytes())
    np.save(tmp_path / "objects.npy", np.array([{}]))
    for name, damaged in {
        "empty": b"", "cut": whole[:500], "header": whole[:40], "flipped": whole[:20] + b"\xff" + whole[21:]
    }.items():  # fmt: skip
        (tmp_path / f"{name}.npy").write_bytes(damaged)
    for name in ("empty", "cut", "header", "flipped", "objects"):
        with pytest.raises(
            InputError, match=rf"^\S+{name}.npy: (not readable .*|the file is empty); make it again$"
        ):
            map_npy(tmp_path / f"{name}.npy", "make it again")
