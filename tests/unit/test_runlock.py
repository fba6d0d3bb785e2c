"""A working folder into which nothing can be written is refused before a run begins."""

import errno
import tempfile

import pytest
from scbind.core.errors import InputError
from scbind.plan.runlock import check_writable


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.EROFS, "cannot write: Read-only file system; use a folder that can be written, "),
        (errno.ENOSPC, "cannot write: No space left on device; free space "),
        (errno.EACCES, "Permission denied; give this user the right "),
    ],
)
def test_the_reason_is_one_line(tmp_path, monkeypatch, number, says):
    def refuse(dir):
        raise OSError(number, "why", f"{dir}/name of the probe")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(InputError) as caught:
        check_writable(tmp_path / "new")
    assert str(caught.value).startswith(f"{tmp_path}/new: {says}")


def test_nothing_stays_of_the_probe(tmp_path):
    check_writable(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


def test_what_is_no_matter_of_rights_or_space_is_raised(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        check_writable(tmp_path / "file")
