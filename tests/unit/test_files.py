import ast
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scbind
from scbind.core import files
from scbind.core.errors import InputError
from scbind.core.files import (
    atomic,
    map_npy,
    read_json,
    read_npz,
    read_result,
    read_rows,
    rows_by,
    write_bed,
    write_table,
)
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


def test_a_folder_takes_the_place_of_a_link_to_a_folder(tmp_path):
    elsewhere, target = tmp_path / "elsewhere", tmp_path / "out"
    elsewhere.mkdir()
    (elsewhere / "kept").write_text("x")
    target.symlink_to(elsewhere)
    with atomic(target) as scratch:
        scratch.mkdir()
        (scratch / "new").write_text("y")
    assert not target.is_symlink() and [path.name for path in target.iterdir()] == ["new"]
    assert (elsewhere / "kept").read_text() == "x" and len(list(tmp_path.iterdir())) == 2


def test_a_name_is_given_only_to_what_is_on_the_disk(tmp_path, monkeypatch):
    done, sync, flush, replace = [], os.fsync, files.flush_file_system, os.replace

    def noted_sync(handle):
        done.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name)
        sync(handle)

    def noted_flush(folder):
        done.append(sorted(path.name for path in folder.iterdir()))
        flush(folder)

    def noted_replace(source, target):
        done.append("renamed")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(files, "flush_file_system", noted_flush)
    monkeypatch.setattr(os, "replace", noted_replace)
    with atomic(tmp_path / "store") as scratch:
        (scratch / "layer").mkdir(parents=True)
        for name in ("meta", "layer/0.0", "layer/0.1"):
            (scratch / name).write_text("x")
        (scratch / "lost").symlink_to("nowhere")
    assert done == [["layer", "lost", "meta"], "renamed", tmp_path.name]
    done.clear()
    write_table(tmp_path / "t.tsv", pd.DataFrame({"a": [1]}))
    assert done[0].endswith(".partial.t.tsv") and done[1:] == ["renamed", tmp_path.name]


def test_a_file_system_that_cannot_be_flushed_is_an_error(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        files.flush_file_system(tmp_path / "gone")
    files.flush_file_system(tmp_path)


def test_only_one_function_gives_finished_files_their_names():
    renaming = {
        module
        for module in digests.list_modules()
        for node in ast.walk(ast.parse((digests.PACKAGE / f"{module.replace('.', '/')}.py").read_text()))
        if isinstance(node, ast.Attribute)
        and ast.unparse(node) in ("os.replace", "os.rename", "shutil.move", "os.renames")
    }
    assert renaming == {"core.files"}


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


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "no such file"), (b"", "the file is empty"), (b'{"a": ', r"is not JSON \(.*\)"),
        (b'{"a": "\xff"}', r"is not JSON \(.*\)"), (b"[" * 100_000, r"is not JSON \(.*\)"),
        (b"[1]", "holds a list instead of an object"), (b'{"a": 1}', "has no b, c"),
    ],
)  # fmt: skip
def test_json_of_ours_is_read_or_refused_in_one_line(tmp_path, content, problem):
    path = tmp_path / "a.json"
    path.write_bytes('{"a": "é", "b": 2}'.encode())
    assert read_json(path, "make it again", ["a"]) == {"a": "é", "b": 2}
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(InputError, match=rf"^\S+a.json: {problem}; make it again$"):
        read_json(path, "make it again", ["a", "b", "c"])


def test_no_module_reads_json_of_ours_without_read_json():
    """These read JSON in other files, or of others, and have errors of their own."""
    found = set()
    for module in digests.list_modules():
        tree = ast.parse((digests.PACKAGE / f"{module.replace('.', '/')}.py").read_text())
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and ast.unparse(call.func) in ("json.load", "json.loads"):
                if any(name in ast.unparse(call) for name in ("read_text", "handle")):
                    found.add(module)
    assert found == {
        "core.files", "models.modelfile", "plan.receipts", "plan.runlock", "plan.transfer", "plan.versions"
    }  # fmt: skip


@pytest.mark.parametrize("content", [b"type\tslug\n\xff\xfe\ta\n", b"kind\tslug\nB\tb\n"])
def test_rows_that_cannot_be_read_are_refused_in_one_line(tmp_path, content):
    (tmp_path / "t.tsv").write_bytes(content)
    with pytest.raises(InputError, match=r"^\S+t.tsv: (not a table .*|has no column type); remove the file"):
        rows_by(tmp_path / "t.tsv", "type")
    with pytest.raises(InputError, match=r"^\S+t.tsv: has no column|not a table"):
        rows_by(tmp_path / "t.tsv", "type")


def test_a_table_of_text_has_no_missing_values(tmp_path):
    (tmp_path / "t.tsv").write_text("status\tn\tmerged_into\nNA\t05\t\n")
    found = read_result(tmp_path / "t.tsv", "again", text=True)
    assert found.to_dict("records") == [{"status": "NA", "n": "05", "merged_into": ""}]
    (tmp_path / "t.tsv").write_bytes(b"a\tb\n\xff\t1\n")
    with pytest.raises(InputError, match="t.tsv: not a table .*; again"):
        read_result(tmp_path / "t.tsv", "again", text=True)


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
