import os

import pytest
from scbind.core.errors import InputError
from scbind.plan.cluster import check_slurm


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Commands of a made-up SLURM with nodes of 4 and 8 CPUs and without accounts."""
    commands = {
        "sinfo": "echo '4'; echo '8+'",
        "sacct": "echo 'Slurm accounting storage is disabled' >&2; exit 1",
    }
    for name, text in commands.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def test_a_job_that_fits_on_no_node_is_named(slurm):
    message = "rule train_model asks for 16 threads, but the largest node has 8, .*; add max-threads: 8"
    with pytest.raises(InputError, match=message):
        check_slurm({"other": 2, "train_model": 16}, "squeue")
    check_slurm({"train_model": 8}, "squeue")


def test_without_accounts_the_end_of_jobs_would_not_be_noticed(slurm):
    message = r"keeps no accounts here \(Slurm accounting storage is disabled\), .*; add slurm-status-command: squeue"
    for command in ("sacct", None):
        with pytest.raises(InputError, match=message):
            check_slurm({}, command)
    (slurm / "sacct").write_text("#!/bin/sh\n")
    check_slurm({}, "sacct")


def test_without_slurm_nothing_is_checked(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    check_slurm({"train_model": 1000}, None)
