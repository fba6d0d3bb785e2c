"""Checks of a SLURM cluster before the first job: what would let a run wait for ever without a word."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping

from scbind.core.errors import InputError

PROFILE = "the profile"


def check_slurm(threads: Mapping[str, int], status_command: str | None) -> None:
    """Check that jobs fit on a node, and that the end of a job is noticed.

    Parameters
    ----------
    threads
        Rule -> the threads that its jobs ask for.
    status_command
        The command that the executor asks for the state of jobs: ``sacct``, ``squeue`` or None (its own choice).

    Raises
    ------
    InputError
        If a rule asks for more threads than the largest node has, or if ``sacct`` is asked and SLURM keeps no accounts.
    """
    _, nodes = _answer("sinfo", "-h", "-o", "%c")  # CPUs of each kind of node, such as 64 or 64+
    largest = max(map(int, re.findall(r"^\s*(\d+)", nodes, re.M)), default=0)
    rule = max(threads, key=threads.get, default="")
    if largest and rule and threads[rule] > largest:
        asked = f"rule {rule} asks for {threads[rule]} threads, but the largest node has {largest}"
        problem = f"{asked}, so its job would wait for ever"
        raise InputError(PROFILE, problem, f"add max-threads: {largest}")
    if status_command != "squeue":
        code, said = _answer("sacct", "-n", "-X", "-j", "1")
        if code:
            why = f"SLURM keeps no accounts here ({' '.join(said.split())})"
            problem = f"{why}, so the end of a job would not be noticed"
            raise InputError(PROFILE, problem, "add slurm-status-command: squeue")


def _answer(*command: str) -> tuple[int, str]:
    """Return the exit status of a command and what it said; 0 and nothing if it is not installed or does not answer."""
    if shutil.which(command[0]) is None:
        return 0, ""
    try:
        reply = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0, ""
    return reply.returncode, reply.stdout + reply.stderr
