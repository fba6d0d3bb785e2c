"""A folder that cannot be written is refused before a run begins; locks of a killed run go, those of others stay."""

import errno
import fcntl
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest
import scbind
from scbind.core.errors import InputError
from scbind.plan import runlock
from scbind.plan.runlock import FILE, RunLock, check_writable


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

    monkeypatch.setattr(runlock.tempfile, "TemporaryFile", refuse)
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


def test_scripts_that_killed_jobs_left_are_removed(tmp_path):
    """They hold the parameters of their jobs: passwords of addresses, too."""
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    for name, age in (("tmpold.fetch_source.py", 90), ("tmpnew.fetch_source.py", 0), ("own.py", 90)):
        (scripts / name).write_text("https://me:hunter2@x.org/f")
        os.utime(scripts / name, (1, time.time() - age))
    RunLock(tmp_path).claim()
    assert sorted(path.name for path in scripts.iterdir()) == ["own.py", "tmpnew.fetch_source.py"]


RUN = """
import os, pathlib, sys
from scbind.core import scratch
from scbind.plan import runlock
folder, name, upto = sys.argv[1:4]
if len(sys.argv) > 4:  # another container: its name and its numbers of processes are its own
    runlock.platform.node, runlock.machine = (lambda: sys.argv[4]), (lambda: "0" * 8)
lock = runlock.RunLock(folder)
print(lock.claim(), flush=True)
if upto != "claimed":
    pathlib.Path(folder, "locks").mkdir(exist_ok=True)
    pathlib.Path(folder, "locks", name).write_text("results/x")  # by Snakemake
if upto == "noted":
    lock.note()
print("ready", flush=True)
sys.stdin.readline()  # until it is killed, or ends
if upto == "ended":
    pathlib.Path(folder, "locks", name).unlink()
"""


@pytest.fixture
def start(tmp_path):
    """Start a run that makes a lock of one name, and wait until it is so far."""
    runs = []

    def begin(name, upto="noted", *node):
        command = [sys.executable, "-c", RUN, tmp_path, name, upto, *node]
        there = {"env": os.environ | {"PYTHONPATH": str(Path(scbind.__file__).parents[1])}}
        runs.append(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **there)
        )
        assert runs[-1].stdout.readline() and runs[-1].stdout.readline()
        return runs[-1]

    yield begin
    for run in runs:
        kill(run)
        run.stdin.close()
        run.stdout.close()


def kill(run):
    run.kill()
    run.wait()


def locks(folder):
    return sorted(path.name for path in (folder / "locks").iterdir())


def claimed(folder):
    """Names of the locks that another run removes when it begins."""
    lock = RunLock(folder)
    removed = lock.claim()
    lock.release()
    return removed


@pytest.mark.parametrize("upto", ["locked", "noted"])
def test_locks_of_a_killed_run_are_removed_also_before_it_noted_them(tmp_path, start, upto):
    """Between the two, Snakemake may make environments for minutes."""
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks/0.output.lock").touch()  # of another workflow in this folder
    run = start("1.output.lock", upto)
    assert claimed(tmp_path) == [] and len(locks(tmp_path)) == 2, "it lives"
    kill(run)
    assert claimed(tmp_path) == ["1.output.lock"] and locks(tmp_path) == ["0.output.lock"]


def test_a_run_that_ended_owns_no_lock_that_comes_later(tmp_path, start):
    run = start("1.output.lock", "ended")
    run.communicate("\n")
    (tmp_path / "locks/2.output.lock").touch()
    assert claimed(tmp_path) == [] and locks(tmp_path) == ["2.output.lock"]


def test_what_a_run_had_not_noted_stays_as_long_as_another_run_lives(tmp_path, start):
    """The other one may have made these locks: two runs with other targets may share a folder."""
    first = start("1.output.lock", "claimed")
    second = start("2.output.lock")
    kill(first)
    assert claimed(tmp_path) == [] and locks(tmp_path) == ["2.output.lock"]
    kill(second)
    assert claimed(tmp_path) == ["2.output.lock"]


def test_a_container_on_the_same_kernel_is_judged_by_the_lock(tmp_path, start):
    """Each container has another name."""
    run = start("1.output.lock", "noted", "b3f1c2")
    assert claimed(tmp_path) == [] and locks(tmp_path) == ["1.output.lock"]
    kill(run)
    assert claimed(tmp_path) == ["1.output.lock"]


def test_another_machine_is_not_judged_and_its_note_stays(tmp_path, start):
    kill(start("1.output.lock"))
    note = tmp_path / FILE
    text = json.loads(note.read_text()) | {"boot": "another"}
    note.write_text(json.dumps(text | {"machine": "another"}))
    assert claimed(tmp_path) == [] and locks(tmp_path) == ["1.output.lock"]
    assert json.loads(note.read_text())["locks"]
    note.write_text(json.dumps(text))
    assert text["machine"] == platform.node()
    assert claimed(tmp_path) == ["1.output.lock"], "this machine before its last start"


def test_without_locks_in_the_file_system_the_process_is_looked_for(tmp_path, start, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    run = start("1.output.lock")
    monkeypatch.setattr(fcntl, "flock", refuse)
    assert claimed(tmp_path) == [] and json.loads((tmp_path / FILE).read_text())["locks"]
    kill(run)
    assert claimed(tmp_path) == ["1.output.lock"] and locks(tmp_path) == []
    kill(start("2.output.lock", "noted", "b3f1c2"))
    assert claimed(tmp_path) == [], "numbers of another container say nothing"
