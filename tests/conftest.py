"""Fixtures that start Snakemake; every unit test makes its own small inputs."""

import fcntl
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from planner import plan
from publisher import Publisher
from scbind.core.children import share_package
from scbind.plan.digests import forget, keep_digests, list_digests
from scbind.plan.waiting import set_waiting

ROOT = Path(__file__).parent.parent
set_waiting()  # as jobs have it: workers of pytest share the cores
share_package()  # whichever test runs first, the Python that it starts finds the package


def use_demo(config: Path) -> None:
    """Copy the folder ``config`` with the settings and sheets of the demo in the places of those of a user."""
    shutil.copytree(ROOT / "config", config, dirs_exist_ok=True)
    for path in (ROOT / "config/demo").iterdir():
        (config / path.name).write_text(path.read_text().replace("config/demo/", "config/"))


@functools.cache
def digests_of_code() -> str:
    """The cache of the digests of all modules. Without it, the first plan in each working folder computes them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digests.json"
        keep_digests(path)
        list_digests()
        forget()
        return path.read_text()


class Project:
    """A working folder whose ``config/`` is that of the demo; the workflow itself stays in the checkout."""

    def __init__(self, folder: Path, there: bool = False):
        self.folder, self.root = folder, ROOT
        if there:
            return
        folder.mkdir(parents=True, exist_ok=True)
        use_demo(folder / "config")
        (folder / ".snakemake").mkdir(exist_ok=True)
        (folder / ".snakemake/scbind-digests.json").write_text(digests_of_code())

    def call(self, *arguments) -> dict:
        """Return the arguments of :mod:`subprocess` that run the root Snakefile in this folder."""
        command = [sys.executable, "-m", "snakemake", "--cores", "2", "--directory", str(self.folder)]
        environment = os.environ | {"XDG_CACHE_HOME": str(self.folder / ".cache")}
        environment.pop("SCBIND_DATA", None)  # of tests on real data; the workflow reads it, too
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        return {"args": [*command, *map(str, arguments)], "cwd": self.root, "env": environment}

    def snakemake(self, *arguments, check=True) -> subprocess.CompletedProcess:
        """Run the root Snakefile in this folder; stdout holds everything that was printed."""
        call = self.call(*arguments)
        if "--dry-run" in arguments:
            reply = plan(call["args"][3:], call["cwd"], call["env"])
        else:
            reply = subprocess.run(**call, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert not check or reply.returncode == 0, reply.stdout[-6000:]
        return reply

    def copy_workflow(self) -> Path:
        """Run a copy of the workflow from now on, for edits of its code; return the folder of its package."""
        self.root = self.folder / "checkout"
        for name in ("workflow", "envs", "profiles"):
            ignored = shutil.ignore_patterns("__pycache__", ".snakemake")
            shutil.copytree(ROOT / name, self.root / name, ignore=ignored)
        shutil.copy(ROOT / "Snakefile", self.root)
        return self.root / "workflow/scbind"

    def jobs(self, *arguments) -> dict[str, int]:
        """Rule -> number of jobs of a dry-run."""
        return job_counts(self.snakemake("--dry-run", *arguments).stdout)

    def edited(self, key: str, value, name: str = "edited.yaml") -> Path:
        """Write a copy of the configuration with one (dotted) key changed; return its path."""
        config = yaml.safe_load((self.folder / "config/config.yaml").read_text())
        *sections, last = key.split(".")
        part = config
        for section in sections:
            part = part.setdefault(section, {})
        part[last] = value
        path = self.folder / name
        path.write_text(yaml.safe_dump(config))
        return path


def job_counts(text: str) -> dict[str, int]:
    """Read the table "Job stats" that Snakemake prints; empty if there is nothing to do."""
    table = text.partition("Job stats:")[2]
    return {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", table, re.M) if name != "total"}


@pytest.fixture(scope="session")
def new_project() -> type[Project]:
    """What makes a working folder, for tests that need several."""
    return Project


@pytest.fixture
def publisher(tmp_path) -> Iterator[Publisher]:
    """A server of files that only this test uses."""
    publisher = Publisher(tmp_path / "published")
    yield publisher
    publisher.close()


@pytest.fixture
def project(tmp_path) -> Project:
    """A fresh working folder."""
    return Project(tmp_path / "project")


# Shorter trainings than the shipped ones: the tests ask whether the workflow works, not how good it can get.
SHORT = {
    "scbind": {
        "epochs": 4,
        "valid_windows": 1500,
        "sampling": {"examples_per_epoch": 10000, "depth_min": 5.0e-4},
    },
    "scfan": {"epochs": 1, "valid_windows": 300, "sampling": {"examples_per_epoch": 800}},
}


def shorten(project: Project) -> None:
    """Write the short trainings into a project's configuration."""
    path = project.folder / "config/config.yaml"
    config = yaml.safe_load(path.read_text())
    for name, settings in SHORT.items():
        config["models"][name] |= settings
    # LINE_C is held out as shipped, but only a part of it is scored: scfan is slow
    config["splits"]["test"] = ["*:chr4", "LINE_C:chr2:0-200000"]
    config["splits"]["train"] = ["LINE_A:chr1", "LINE_A:chr2", "LINE_B:chr1", "LINE_B:chr2"]
    path.write_text(yaml.safe_dump(config))


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> Project:
    """The whole demo with short trainings, run once per session: by one worker, while the others wait."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "demo"
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = folder.with_suffix(".made")
        project = Project(folder, there=made.exists())
        if not made.exists():
            shorten(project)
            project.snakemake("--max-threads", 1)  # as make demo
            made.touch()
    return project
