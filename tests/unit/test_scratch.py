"""What a killed process leaves is found by its name and removed by the next writer; its children end with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import scbind
from scbind.core import children, scratch
from scbind.core.files import atomic
from scbind.core.scratch import scratch_folder, scratch_of

PACKAGE = Path(scbind.__file__).parents[1]

WRITE = """
import sys, time
from scbind.core.files import atomic
from scbind.core.scratch import scratch_folder
with atomic(sys.argv[1]) as one, atomic(sys.argv[1] + ".d") as two, scratch_folder(sys.argv[1], "work") as three:
    one.write_text("part")
    two.mkdir()
    for folder in (two, three):
        (folder / "part").write_text("part")
    print("ready", flush=True)
    time.sleep(60)
"""


def start(code, *arguments, **options):
    """Start Python with some code, and wait for its first line."""
    environment = os.environ | {"PYTHONPATH": str(PACKAGE)}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, **options)
    return process, process.stdout.readline().strip()


def left(folder):
    return [path.name for path in folder.iterdir() if ".partial." in path.name]


def write_all(path):
    with atomic(path), atomic(f"{path}.d"), scratch_folder(path, "work"):
        Path(path).touch()
        found = len(left(path.parent))
        raise InterruptedError(found)


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path):
    process, _ = start(WRITE, tmp_path / "x.tsv")
    assert len(left(tmp_path)) == 3
    other, _ = start(WRITE, tmp_path / "y.tsv")
    with pytest.raises(InterruptedError, match="7"):  # 6 of those that live, 1 of ours
        write_all(tmp_path / "x.tsv")
    process.kill()
    process.wait()
    assert len(left(tmp_path)) == 6
    with pytest.raises(InterruptedError):
        write_all(tmp_path / "x.tsv")
    assert len(left(tmp_path)) == 3 and all(".y.tsv" in name for name in left(tmp_path)), "not those of y.tsv"
    other.kill()
    other.wait()


def test_a_number_that_another_process_has_now_is_no_owner(tmp_path):
    """Numbers are used again, and every container counts from 1."""
    name = scratch_of(tmp_path / "x").name
    assert name != scratch_of(tmp_path / "x").name, "two writers in one process"
    born = str(scratch.began(os.getpid()))
    for other in (name.replace(born, str(int(born) - 1)), name.replace(scratch.machine(), "0" * 8)):
        (tmp_path / other).write_text("part")
        assert [path.name for path in scratch.leftovers(tmp_path / "x")] == [other]
        with atomic(tmp_path / "x") as path:
            path.touch()
        assert left(tmp_path) == []


def test_a_file_that_several_may_write_loses_no_scratch_of_another_machine(tmp_path):
    name = scratch_of(tmp_path / "x").name.replace(scratch.machine(), "0" * 8)
    (tmp_path / name).write_text("part")
    assert scratch.leftovers(tmp_path / "x", shared=True) == []


def test_a_run_removes_scratch_of_ended_processes_whatever_the_target(tmp_path):
    """Parts of another scatter have other names: nobody writes these targets again."""
    process, _ = start(WRITE, tmp_path / "0-of-2.npz")
    other = scratch_of(tmp_path / "x").name.replace(scratch.machine(), "0" * 8)
    for name in (other, "1-of-2.npz", ".hidden"):
        (tmp_path / name).write_text("x")
    folders = [tmp_path / "missing", tmp_path]
    scratch.remove_ended(folders)
    assert len(left(tmp_path)) == 4, "it lives"
    process.kill()
    process.wait()
    scratch.remove_ended(folders)
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {other, "1-of-2.npz", ".hidden"}, "a process of another machine may live"


def test_no_module_has_scratch_of_its_own():
    for path in (PACKAGE / "scbind").rglob("*.py"):
        text = path.read_text()
        known = path.name in ("scratch.py", "children.py")
        assert known or not any(
            word in text
            for word in ("getpid", "mkdtemp", "TemporaryDirectory", "NamedTemp", '.scratch"', 'with_name(f".')
        ), path
        removes = path.name in ("scratch.py", "files.py", "training.py")  # the last: the state of a training
        assert removes or "rmtree" not in text, path
        if "subprocess.run(" in text and path.name not in (
            "versions.py",
            "cluster.py",
            "gpulocks.py",
        ):  # these ask a tool something
            assert path.name == "children.py", path


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def ends(pid):
    """Whether a process ends soon."""
    until = time.monotonic() + 20
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.05)
    return not alive(pid)


def test_a_program_ends_with_the_process_that_runs_it():
    code = "from scbind.core.children import run\nrun(['sh', '-c', 'echo $$; exec sleep 60'])"
    process, pid = start(code)
    assert alive(pid)
    process.kill()
    process.wait()
    assert ends(pid)


RUN = """
import subprocess, sys
from scbind.core.children import begin_run
{begin}
subprocess.run(["sh", "-c", sys.executable + ' -c "' + sys.argv[1] + '"; true'])
"""
JOB = "import os, time; from scbind.core import children; children.end_with_run(); "
JOB += "print(os.getpid(), flush=True); time.sleep(60)"


def test_a_job_ends_with_its_run_through_shells_between(tmp_path):
    run, pid = start(RUN.format(begin="begin_run()"), JOB)
    assert alive(pid)
    run.kill()
    run.wait()
    assert ends(pid)


def test_a_process_that_belongs_to_no_run_watches_none(monkeypatch):
    monkeypatch.delenv(children.VARIABLE, raising=False)
    run, pid = start(RUN.format(begin=""), JOB)
    run.kill()
    run.wait()
    time.sleep(0.5)
    assert alive(pid)
    os.kill(int(pid), signal.SIGKILL)
