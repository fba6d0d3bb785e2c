import os

import pytest
from scbind.core import files
from scbind.core.files import read_rows, rows_by


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
