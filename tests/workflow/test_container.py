"""What the image of the Dockerfile holds is enough to plan a run, and is installed from the lock file."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.workflow
ROOT = Path(__file__).parents[2]
LINES = (ROOT / "Dockerfile").read_text().splitlines()


def copied() -> list[str]:
    """Files and folders of the checkout that the image holds."""
    return [name for line in LINES if line.startswith("COPY ") for name in line.split()[1:-1]]


def test_the_files_of_the_image_plan_the_same_jobs(project, tmp_path):
    image = tmp_path / "image"
    for name in copied():
        source, target = ROOT / name, image / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".snakemake"))
        else:
            shutil.copy(source, target)
    alone = project.jobs()
    project.root = image
    assert alone and project.jobs("-s", image / "Snakefile") == alone


def test_nothing_that_is_copied_is_left_out_of_the_context():
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert kept == set(copied())


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a checkout with git")
def test_no_folder_of_the_image_can_hold_files_that_git_ignores():
    """Downloads of gigabytes, and files that were fetched with a password, lie in resources/."""
    for name in copied():
        if (ROOT / name).is_dir():
            ignored = subprocess.run(["git", "check-ignore", "--no-index", "-q", f"{name}/new.bw"], cwd=ROOT)
            assert ignored.returncode == 1, name


def environment() -> dict[str, str]:
    """What the image sets, apart from the place of its programs."""
    words = " ".join(line.removeprefix("ENV ") for line in LINES if line.startswith("ENV ")).split()
    return {key: value for key, _, value in (word.partition("=") for word in words) if key != "PATH"}


def test_a_user_whom_the_image_does_not_know_has_a_name_and_a_home():
    assert environment()["USER"] and environment()["HOME"] == "/tmp"


UNKNOWN = 54321
# it may read the checkout and the interpreter, wherever they are, and writes only what is its own
AS_UNKNOWN = f"setpriv --reuid {UNKNOWN} --regid {UNKNOWN} --clear-groups --inh-caps +dac_read_search"
AS_UNKNOWN = [*AS_UNKNOWN.split(), "--ambient-caps", "+dac_read_search"]


def test_a_user_whom_the_image_does_not_know_can_plan(new_project):
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv (Debian package util-linux)")
    if subprocess.run([*AS_UNKNOWN, "true"], capture_output=True).returncode:
        pytest.skip("this machine does not let a process read as root and write as another user")
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to other users
        project = new_project(Path(folder) / "project")
        for path in [Path(folder), *Path(folder).rglob("*")]:
            os.chown(path, UNKNOWN, UNKNOWN)
        call = project.call("--dry-run")
        call["env"] = environment() | {"PATH": call["env"]["PATH"], "XDG_CACHE_HOME": f"{folder}/cache"}
        call["args"] = [*AS_UNKNOWN, *call["args"]]
        reply = subprocess.run(**call, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert reply.returncode == 0 and "Job stats" in reply.stdout, reply.stdout[-2000:]


def test_the_set_up_comes_after_what_it_reads():
    setup = next(number for number, line in enumerate(LINES) if "envs/setup.sh" in line)
    before = " ".join(LINES[:setup])
    assert all(f"COPY {name}" in before for name in ("envs", "pyproject.toml", "workflow"))
    version = re.search(r"^FROM python:(\d+\.\d+)-", "\n".join(LINES), re.M)[1]
    assert f'requires-python = ">={version}"' in (ROOT / "pyproject.toml").read_text()
