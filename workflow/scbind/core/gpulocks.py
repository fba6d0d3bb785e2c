"""Which GPUs a job uses, if the machine has more than it needs: jobs that run at the same time use different ones."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

from scbind.core.filenames import as_file_name
from scbind.core.runlog import say

VARIABLE = "CUDA_VISIBLE_DEVICES"  # read by CUDA when it starts
DEVICE = re.compile(r"\d+|(GPU|MIG)-\S+")
LISTED = re.compile(r"\(UUID: ((?:GPU|MIG)-[^)]+)\)")
DEVICE_FILES = "nvidia[0-9]*", "dxg", "kfd"  # of NVIDIA, of Windows below Linux, of AMD
MOST_JOBS = 64  # that share a GPU
SECONDS = 60  # for nvidia-smi
# Files that stay open until the process ends, however it ends. The system then removes the locks.
_held: list[int] = []


def claim_gpus(gpus: int) -> None:
    """Show CUDA only ``gpus`` GPUs, if there are more. To be called before CUDA starts.

    A job locks a file for each of its GPUs until its process ends. GPUs that no job of this user holds are taken first,
    then those that the fewest jobs hold. The call waits only while another job chooses. If ``CUDA_VISIBLE_DEVICES`` is
    set, as by SLURM, its GPUs are those to choose from. Nothing is changed if there are not more GPUs than are asked
    for, if ``nvidia-smi`` is missing, or if there is no safe folder for the locks.
    """
    there = visible_gpus() if gpus > 0 else []
    if gpus >= len(there) or gpus > 1 and any(gpu.startswith("MIG") for gpu in there):
        return  # CUDA uses only one part of a divided GPU
    folder = _lock_folder()
    if folder is None:
        say("every job uses the first GPU, because the folder for locks of GPUs cannot be made")
        return
    with _turn(folder):  # two jobs that choose at the same time would choose the same
        jobs = {gpu: _jobs_of(folder, gpu) for gpu in there}
        chosen = sorted(there, key=jobs.get)[:gpus]
        for gpu in chosen:
            any(map(_lock, _places(folder, gpu)))  # until one is free
    os.environ[VARIABLE] = ",".join(chosen)
    shared = "; too few are free, so jobs share one" if any(jobs[gpu] for gpu in chosen) else ""
    say(f"GPU {', '.join(chosen)} of {len(there)}{shared}")


def visible_gpus() -> list[str]:
    """Return the GPUs that CUDA would see, by number or UUID as ``CUDA_VISIBLE_DEVICES`` has them, else by UUID.

    Of a GPU that is divided (MIG), the parts are listed instead.
    """
    if VARIABLE in os.environ:  # CUDA ignores what follows an invalid name
        return list(takewhile(DEVICE.fullmatch, map(str.strip, os.environ[VARIABLE].split(","))))
    try:
        text = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    found: list[str] = []
    for name in LISTED.findall(text.stdout):
        if name.startswith("MIG-") and found and found[-1].startswith("GPU-"):
            found.pop()  # the parts are below the GPU
        found.append(name)
    return found


def may_have_gpu(folder: str | Path = "/dev") -> bool:
    """Tell whether this machine may have a GPU: it has a device file of a GPU in ``folder``, or ``nvidia-smi``.

    Starts no program, because each plan asks.
    """
    return shutil.which("nvidia-smi") is not None or any(
        file for pattern in DEVICE_FILES for file in Path(folder).glob(pattern)
    )


def _lock_folder() -> Path | None:
    """Return a folder that only this user may write; None if there is none."""
    folder = Path(tempfile.gettempdir()) / f"scbind-gpus-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        state = folder.lstat()
    except OSError:
        return None
    own = stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid() and not state.st_mode & 0o022
    return folder if own else None


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Let one job choose at a time. It takes milliseconds, and the lock of a killed job is gone."""
    try:
        handle = os.open(folder / "choosing", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError:  # such as a full disk; two jobs may then choose the same
        yield
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _places(folder: Path, gpu: str) -> list[Path]:
    """Return the files of a GPU. Each job that uses it locks one of them, as a rule the first that is free."""
    return [folder / f"{as_file_name(gpu)}.{number}" for number in range(MOST_JOBS)]


def _jobs_of(folder: Path, gpu: str) -> int:
    """Return how many jobs use a GPU. A job may go on after one that began before it, so all files are tried."""
    there = [place for place in _places(folder, gpu) if place.exists()]
    free = [_lock(place) for place in there]
    for _ in range(sum(free)):
        os.close(_held.pop())
    return len(there) - sum(free)


def _lock(path: Path) -> bool:
    """Lock a file until this process ends; return False if another one has locked it."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return False
    _held.append(handle)
    return True
