"""Which GPUs a job uses, if the machine has more than it needs: jobs that run at the same time use different ones."""

from __future__ import annotations

import fcntl
import os
import re
import stat
import subprocess
import tempfile
from itertools import takewhile
from pathlib import Path

from scbind.core.filenames import as_file_name
from scbind.core.runlog import say

VARIABLE = "CUDA_VISIBLE_DEVICES"  # read by CUDA when it starts
DEVICE = re.compile(r"\d+|(GPU|MIG)-\S+")
LISTED = re.compile(r"\(UUID: ((?:GPU|MIG)-[^)]+)\)")
MOST_JOBS = 64  # that share a GPU
SECONDS = 60  # for nvidia-smi
# Files that stay open until the process ends, however it ends. The system then removes the locks.
_held: list[int] = []


def claim_gpus(gpus: int) -> None:
    """Show CUDA only ``gpus`` GPUs, if there are more. To be called before CUDA starts.

    A job locks a file for each of its GPUs until its process ends. GPUs that no job of this user holds are taken first,
    then those that the fewest jobs hold; the call never waits. If ``CUDA_VISIBLE_DEVICES`` is set, as by SLURM, its
    GPUs are those to choose from. Nothing is changed if there are not more GPUs than are asked for, if ``nvidia-smi``
    is missing, or if there is no safe folder for the locks.
    """
    there = visible_gpus()
    if not 0 < gpus < len(there) or gpus > 1 and any(gpu.startswith("MIG") for gpu in there):
        return  # CUDA uses only one part of a divided GPU
    folder = _lock_folder()
    if folder is None:
        say("every job uses the first GPU, because the folder for locks of GPUs cannot be made")
        return
    chosen: list[str] = []
    for jobs in range(MOST_JOBS):  # number of other jobs that use the GPU
        free = (gpu for gpu in there if gpu not in chosen)
        while len(chosen) < gpus and (gpu := next(free, None)):
            if _lock(folder / f"{as_file_name(gpu)}.{jobs}"):
                chosen.append(gpu)
        if len(chosen) == gpus:
            os.environ[VARIABLE] = ",".join(chosen)
            say(
                f"GPU {', '.join(chosen)} of {len(there)}{'; too few are free, so jobs share one' * (jobs > 0)}"
            )
            return


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
