"""Jobs that run at the same time use different GPUs. The GPUs are those of a stand-in for nvidia-smi."""

import os
import subprocess
import sys

import pytest
from scbind.core.gpulocks import may_have_gpu

JOB = """
import os, sys
from scbind.core.gpulocks import claim_gpus
claim_gpus(int(sys.argv[1]))
print(os.environ.get("CUDA_VISIBLE_DEVICES", "unset"), flush=True)
sys.stdin.readline()
"""
FOUR = [f"GPU {n}: NVIDIA H200 (UUID: GPU-{n}a-b)" for n in range(4)]
DIVIDED = [FOUR[0], "  MIG 1g.5gb     Device  0: (UUID: MIG-x)", "  MIG 1g.5gb     Device  1: (UUID: MIG-y)"]


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a job and returns it, with what it sees as ``sees`` and its log as ``log``."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "tmp").mkdir()
    jobs = []

    def start(gpus, listed=FOUR, visible=None):
        program = tmp_path / "bin/nvidia-smi"
        text = "cat <<E\n" + "\n".join(listed) + "\nE\n" if listed else "exit 9\n"
        program.write_text(f"#!/bin/sh\n{text}")
        program.chmod(0o755)
        environment = {key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
        environment |= {"PATH": f"{program.parent}:{os.environ['PATH']}", "TMPDIR": str(tmp_path / "tmp")}
        environment |= {"CUDA_VISIBLE_DEVICES": visible} if visible is not None else {}
        command = [sys.executable, "-c", JOB, str(gpus)]
        log = open(tmp_path / f"{len(jobs)}.log", "w+")
        job = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
        jobs.append(job)
        job.sees = job.stdout.readline().strip()
        log.seek(0)
        job.log = log.read()
        return job

    yield start
    for job in jobs:
        job.kill()
        job.wait()


def test_each_job_has_its_own_gpu_until_its_process_ends(start):
    jobs = [start(1) for _ in range(4)]
    assert [job.sees for job in jobs] == ["GPU-0a-b", "GPU-1a-b", "GPU-2a-b", "GPU-3a-b"]
    assert jobs[2].log.endswith("GPU GPU-2a-b of 4\n")
    jobs[2].kill()
    jobs[2].wait()
    assert start(1).sees == "GPU-2a-b"
    shared = start(1)  # one too many: it does not wait
    assert shared.sees == "GPU-0a-b" and "too few are free, so jobs share one" in shared.log
    assert start(1).sees == "GPU-1a-b"  # which fewer jobs use than the first


def test_a_gpu_is_not_free_because_the_first_of_its_jobs_has_ended(start):
    first, second, _third = (start(1, FOUR[:2]) for _ in range(3))  # on GPU 0, 1 and 0
    for job in (first, second):
        job.kill()
        job.wait()
    assert start(1, FOUR[:2]).sees == "GPU-1a-b"


def test_a_training_on_two_gpus_takes_two_that_are_free(start):
    assert start(1).sees == "GPU-0a-b"
    assert start(2).sees == "GPU-1a-b,GPU-2a-b"
    assert start(2).sees == "GPU-3a-b,GPU-0a-b"


def test_the_choice_is_among_those_that_are_visible(start):
    assert [start(1, visible="3, 1").sees for _ in range(2)] == ["3", "1"]
    assert [start(1, visible="GPU-f,MIG-GPU-g/1/0").sees for _ in range(2)] == ["GPU-f", "MIG-GPU-g/1/0"]
    assert start(1, visible="0,-1,1").sees == "0,-1,1"  # CUDA sees only the first


def test_parts_of_a_divided_gpu_are_gpus(start):
    assert [start(1, DIVIDED + FOUR[1:2]).sees for _ in range(3)] == ["MIG-x", "MIG-y", "GPU-1a-b"]
    assert start(2, DIVIDED + FOUR[1:2]).sees == "unset"


@pytest.mark.parametrize(
    ("gpus", "listed", "visible", "sees"),
    [
        (1, FOUR, "2", "2"),  # by a scheduler, for exactly this job
        (2, FOUR, "GPU-a,GPU-b", "GPU-a,GPU-b"),
        (1, FOUR, "", ""),  # the user hides all
        (1, FOUR, "-1", "-1"),
        (0, FOUR, None, "unset"),
        (1, FOUR[:1], None, "unset"),
        (1, [], None, "unset"),  # no driver
    ],
)
def test_nothing_changes_where_nothing_is_to_be_chosen(start, gpus, listed, visible, sees):
    assert [start(gpus, listed, visible).sees for _ in range(2)] == [sees, sees]


@pytest.mark.parametrize("mode", [0o777, None])
def test_a_folder_that_others_may_write_holds_no_locks(start, tmp_path, mode):
    folder = tmp_path / f"tmp/scbind-gpus-{os.getuid()}"
    if mode is None:
        folder.symlink_to(tmp_path / "bin")
    else:
        folder.mkdir()
        folder.chmod(mode)
    job = start(1)
    assert job.sees == "unset" and "the folder for locks of GPUs cannot be made" in job.log
    assert not list(folder.glob("GPU*"))


def test_cuda_has_not_started_when_the_gpus_are_chosen():
    """CUDA reads the variable when it starts, so no import may ask it for its GPUs."""
    code = """
import torch
def refuse(*_): raise SystemExit("CUDA has started")
for name in ("is_available", "device_count", "_lazy_init", "get_device_name"):
    setattr(torch.cuda, name, refuse)
import scbind.models.training, scbind.binding.inference, scbind.binding.readout, scbind.binding.referenceprofile
import scbind.evaluation.evaluate, scbind.evaluation.leftout
"""
    reply = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert reply.returncode == 0, reply.stderr[-500:]


def test_a_machine_without_a_gpu_is_known_by_its_files(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "nvidiactl").touch()  # stays when the last GPU is gone
    assert not may_have_gpu(tmp_path)
    (tmp_path / "nvidia0").touch()
    assert may_have_gpu(tmp_path)


def test_a_machine_with_the_tool_of_a_gpu_may_have_one(tmp_path, monkeypatch):
    (tmp_path / "nvidia-smi").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert may_have_gpu(tmp_path)
