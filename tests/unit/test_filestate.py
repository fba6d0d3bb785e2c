import os
import zipfile

import pytest
from scbind.plan.filestate import changed_line, file_states, note_states
from scbind.plan.receipts import write_receipt


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "peaks.bed"
    path.write_text("chr1\t0\t9\n")
    return path


def test_a_file_with_an_older_or_equal_time_is_another_one(path):
    before, old = file_states([str(path)]), path.stat()
    assert file_states([str(path), None, ""]) == before and before != [""]
    path.write_text("chr1\t0\t8\n")
    os.utime(path, ns=(1, old.st_mtime_ns - 1))
    assert file_states([str(path)]) != before
    path.write_text("chr1\t0\t10\n")
    os.utime(path, ns=(1, old.st_mtime_ns))
    assert file_states([str(path)]) != before, "the same time, another size"


def test_a_file_in_a_folder_counts(path, tmp_path):
    before = file_states([str(tmp_path)])
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.tsv").write_text("")
    assert file_states([str(tmp_path)]) != before


def test_a_checkout_does_not_change_a_bundle(tmp_path):
    path = tmp_path / "starter.scbind.zip"
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr("a", "b")
    before = file_states([str(path)])
    os.utime(path, (1, 1))
    assert file_states([str(path)]) == before != [""]


def test_what_rules_make_and_fetch_is_not_looked_at(path, tmp_path):
    text = str(path)
    assert file_states([text], made=[str(tmp_path)]) == [""]
    assert file_states([text], fetched=[text]) != [""], "the user put it there: no receipt"
    write_receipt(text, "asked", "https://x.org", {"size": path.stat().st_size})
    assert file_states([text], fetched=[text]) == [""]


def test_a_fetched_file_that_was_replaced_by_an_older_one_is_seen(path):
    text, received = str(path), path.stat()
    write_receipt(text, "asked", "https://x.org", {"size": received.st_size})
    os.utime(path)
    assert file_states([text], fetched=[text]) == [""], "Snakemake sees a newer time"
    path.write_text("other bytes")
    assert file_states([text], fetched=[text]) != [""]
    path.write_bytes(bytes(received.st_size))
    os.utime(path, ns=(1, received.st_mtime_ns - 1))
    assert file_states([text], fetched=[text]) != [""]


def test_no_file_yet_or_not_on_this_disk():
    assert file_states(["gone.bed", "s3://bucket/a.bed"]) == ["", ""]


def test_what_changes_in_the_middle_of_a_run_is_named(path, tmp_path):
    code = tmp_path / "a.py"
    code.write_text("1\n")

    def noted():
        return note_states([str(path), "made"], file_states([str(path), "made"], ("made",)), [code])

    before = noted()
    os.utime(code)
    assert changed_line(before, noted()) == ""
    path.write_text("other bytes")
    assert changed_line(before, noted()).startswith(f"Changed while this run was under way: {path}. ")
    code.unlink()
    assert f"under way: {code}, {path}. " in changed_line(before, noted())
    many = {f"{number}": "there" for number in range(7)}
    assert "run was under way: 0, 1, 2, 3, 4 and 2 more. " in changed_line({}, many)
