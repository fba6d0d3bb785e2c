"""What the image of the Dockerfile holds is enough to plan a run, and is installed from the lock file."""

import re
import shutil
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
            skipped = ["__pycache__", ".snakemake", *(["demo"] if name == "resources" else [])]
            shutil.copytree(source, target, ignore=shutil.ignore_patterns(*skipped))
        else:
            shutil.copy(source, target)
    alone = project.jobs()
    project.root = image
    assert alone and project.jobs("-s", image / "Snakefile") == alone


def test_nothing_that_is_copied_is_left_out_of_the_context():
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert kept == set(copied())


def test_the_set_up_comes_after_what_it_reads():
    setup = next(number for number, line in enumerate(LINES) if "envs/setup.sh" in line)
    before = " ".join(LINES[:setup])
    assert all(f"COPY {name}" in before for name in ("envs", "pyproject.toml", "workflow"))
    version = re.search(r"^FROM python:(\d+\.\d+)-", "\n".join(LINES), re.M)[1]
    assert f'requires-python = ">={version}"' in (ROOT / "pyproject.toml").read_text()
