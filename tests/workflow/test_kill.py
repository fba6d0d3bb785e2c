"""A run that is killed: nothing of it lives on, and the same command continues."""

import json
import re
import resource
import signal
import subprocess
import time
from functools import partial

import pytest
from proctree import below, lives, waited
from scbind.core.scratch import machine

pytestmark = pytest.mark.workflow

TARGET = "results/motifs/motifs.npz"


def started(project, *arguments):
    """Start the workflow and return its process; its output goes to a file."""
    with open(project.folder / "said.txt", "w") as said:
        return subprocess.Popen(**project.call(*arguments), stdout=said, stderr=subprocess.STDOUT)


def slow(project):
    """Let a job wait, but not for ever, as long as there is a file ``wait`` in the working folder."""
    package = project.copy_workflow()
    path = package / "formats/motiffiles.py"
    text = path.read_text()
    wait = "\nimport os as _os, time as _time\n_end = _time.monotonic() + 180\n"
    wait += "while _os.path.exists('wait') and _time.monotonic() < _end:\n    _time.sleep(0.1)\n"
    path.write_text(text + wait)
    (project.folder / "wait").touch()


def killed(project, log):
    """Start a run, kill its main process once a job has begun, and return the processes that were below it."""
    run = started(project, TARGET)
    assert waited(lambda: log.exists() and "Python" in log.read_text()), (
        project.folder / "said.txt"
    ).read_text()
    jobs = below(run.pid)
    assert jobs
    run.send_signal(signal.SIGKILL)
    run.wait()
    return jobs


def test_the_same_command_continues_after_a_kill(project):
    slow(project)
    jobs = killed(project, project.folder / "logs/prepare_motifs/motifs.log")
    assert waited(lambda: not any(map(lives, jobs)), 30), "a job runs on"
    dead = f".{machine()}-{jobs.pop()}-1-00000000.partial.1-of-2.npz.blocks"  # of a target that nobody writes again
    scratch = (project.folder / TARGET).with_name(dead)
    scratch.mkdir()
    locks = project.folder / ".snakemake/locks"
    assert list(locks.iterdir())
    (project.folder / "wait").unlink()
    said = project.snakemake(TARGET).stdout
    assert "The last run here was killed." in said and (project.folder / TARGET).exists()
    assert not scratch.exists()
    assert not locks.exists() or not list(locks.iterdir())
    assert "Nothing to be done" in project.snakemake(TARGET).stdout
    rows = [line.split("\t") for line in (project.folder / "logs/runs.tsv").read_text().splitlines()[1:]]
    assert [row[1] for row in rows[:3]] == ["started", "started", "finished"], "the killed run has no end"
    assert rows[0][3].startswith("snakemake --cores 2") and rows[0][3].endswith(TARGET)


def test_the_same_command_continues_after_a_kill_before_the_first_job(project):
    """Snakemake has locked the folder, and has not yet said so: with --sdm conda it makes environments then."""
    run = started(project, TARGET)
    note, locks = project.folder / ".snakemake/scbind-run.json", project.folder / ".snakemake/locks"
    while run.poll() is None and not list(locks.glob("*.output.lock")):
        time.sleep(0.0002)
    run.kill()
    run.wait()
    assert list(locks.iterdir()) and '"before"' in note.read_text(), "killed too late"
    said = project.snakemake(TARGET).stdout
    assert "The last run here was killed." in said and (project.folder / TARGET).exists()


def test_the_same_command_continues_in_another_container(project):
    """Each `docker run` has another host name; the kernel, and so its lock, is the same."""
    if subprocess.run(["unshare", "--uts", "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("this user may not change the host name")
    slow(project)
    killed(project, project.folder / "logs/prepare_motifs/motifs.log")
    (project.folder / "wait").unlink()
    call = project.call(TARGET)
    call["args"] = ["unshare", "--uts", "sh", "-c", 'hostname b3f1c2; exec "$@"', "sh", *call["args"]]
    reply = subprocess.run(**call, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert reply.returncode == 0 and "The last run here was killed." in reply.stdout, reply.stdout[-3000:]


def test_a_working_folder_without_space_is_told_before_the_first_job(project):
    """A limit of the size of files stands for the disk: the log of Snakemake is smaller, the probe is larger."""
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (8000, resource.RLIM_INFINITY))
    run = project.call(TARGET)
    reply = subprocess.run(
        **run, preexec_fn=limit, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    place = project.folder / ".snakemake"
    assert reply.returncode
    assert f"ERROR {place}: cannot write: File too large; free space (or quota) there and run" in reply.stdout
    assert "Traceback" not in reply.stdout


def test_a_failed_run_and_its_overrides_are_recorded(project):
    table = "results/provenance/versions/core.tsv"
    project.snakemake(table, "--config", "genome={name: toy}", "--dry-run")
    assert not (project.folder / "logs/runs.tsv").exists(), "a dry run"
    package = project.copy_workflow()
    (package / "plan/versions.py").write_text("raise SystemExit(1)\n")
    assert project.snakemake(table, "--config", "genome={name: toy}", check=False).returncode
    first, last = (project.folder / "logs/runs.tsv").read_text().splitlines()[1:]
    assert first.split("\t")[1] == "started" and last.split("\t")[1] == "failed"
    assert last.endswith(f"{table} --config 'genome={{name: toy}}'")


def test_a_run_that_lives_keeps_its_locks(project):
    slow(project)
    log = project.folder / "logs/prepare_motifs/motifs.log"
    run = started(project, TARGET)
    assert waited(lambda: log.exists() and "Python" in log.read_text())
    reply = project.snakemake(TARGET, check=False)
    assert reply.returncode and "LockException" in reply.stdout
    assert project.jobs(TARGET), "a dry run"
    reply = project.snakemake(TARGET, check=False)
    assert "LockException" in reply.stdout, "the dry run took no lock away"
    (project.folder / "wait").unlink()
    assert run.wait() == 0, (project.folder / "said.txt").read_text()


def test_locks_of_a_run_on_another_machine_stay(project):
    slow(project)
    killed(project, project.folder / "logs/prepare_motifs/motifs.log")
    note = project.folder / ".snakemake/scbind-run.json"
    text = note.read_text()
    assert re.search(r'"locks": \{"', text)
    another = {"machine": "another", "boot": "another", "owner": ["another", 1, 1]}
    note.write_text(json.dumps(json.loads(text) | another))
    (project.folder / "wait").unlink()
    assert "LockException" in project.snakemake(TARGET, check=False).stdout
    note.write_text(text)
    project.snakemake(TARGET)


def test_an_edit_in_the_middle_of_a_run_is_told_at_its_end(project):
    slow(project)
    run = started(project, TARGET)
    log, said = project.folder / "logs/prepare_motifs/motifs.log", project.folder / "said.txt"
    assert waited(lambda: log.exists() and "Python" in log.read_text()), said.read_text()
    for path in (project.folder / "config/config.yaml", project.root / "workflow/scbind/formats/motifs.py"):
        path.write_text(path.read_text() + "\n# edited\n")
    (project.folder / "wait").unlink()
    assert run.wait() == 0
    told = "Changed while this run was under way: checkout/workflow/scbind/formats/motifs.py, config/config.yaml. "
    assert told in said.read_text()
    assert "Changed while" not in project.snakemake("--forcerun", "prepare_motifs", "--", TARGET).stdout


def test_a_full_disk_is_one_line_before_the_first_job(project):
    """No file may grow beyond a few kB: writing fails in the middle, as on a full disk."""
    most = (project.root / "workflow/Snakefile").stat().st_size + 100  # Snakemake copies it before it runs it
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (most, most))
    reply = subprocess.run(
        **project.call(TARGET), preexec_fn=limit, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said = (
        f"ERROR {project.folder}/.snakemake: cannot write: File too large; free space (or quota) there and "
    )
    assert reply.returncode and said in reply.stdout and "Traceback" not in reply.stdout
