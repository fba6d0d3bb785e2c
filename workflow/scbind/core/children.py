"""Processes that end with the process that started them, so that no process stays after a run was killed.

A process that is killed (SIGKILL, out of memory) cannot stop its children, so the children watch their parent.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from scbind.core.scratch import began, machine, parent_of

VARIABLE = "SCBIND_RUN"  # machine-pid-began of the main process of a run; its jobs inherit it
SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


def run(command: Sequence[object]) -> subprocess.CompletedProcess:
    """Run a program to its end and return its exit status and what it wrote to stderr (text).

    The kernel kills the program when this process ends. The words of ``command`` become text.
    """
    words = [str(word) for word in command]
    return subprocess.run(
        words, preexec_fn=_die_with_parent(), stderr=subprocess.PIPE, text=True, check=False
    )


def begin_run() -> None:
    """Make this process the main process of a run: the jobs that it starts find it in their environment."""
    pid = os.getpid()
    os.environ[VARIABLE] = f"{machine()}-{pid}-{began(pid)}"


def share_package() -> None:
    """Make child processes import this copy of the package, not one that is installed elsewhere."""
    own = str(Path(__file__).resolve().parents[2])
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path not in ("", own)]
    os.environ["PYTHONPATH"] = os.pathsep.join([own, *others])


def end_with_run() -> None:
    """Make the kernel kill this process as soon as its run, or a process between the two, has ended.

    Does nothing if there is no such run, or if the run is not an ancestor of this process: a job on a cluster belongs
    to the cluster's scheduler.
    """
    watched = []
    with suppress(OSError):
        watched = [os.pidfd_open(pid) for pid in _up_to_run()]
    if watched:
        threading.Thread(target=_watch, args=(watched,), daemon=True, name="scbind end_with_run").start()


def _up_to_run() -> list[int]:
    """List the processes above this one up to the main process of the run; empty if that is not among them."""
    found, pid = [], os.getpid()
    while (pid := parent_of(pid) or 0) > 0:
        found.append(pid)
        if os.environ.get(VARIABLE) == f"{machine()}-{pid}-{began(pid)}":
            return found
    return []


def _watch(handles: list[int]) -> None:
    poll = select.poll()
    for handle in handles:
        poll.register(handle, select.POLLIN)  # readable when the process has ended
    poll.poll()
    with suppress(OSError):
        print(
            "ERROR the run that started this job has ended, so the job ends, too", file=sys.stderr, flush=True
        )
    os.kill(os.getpid(), signal.SIGKILL)


def _die_with_parent():
    """Return the function that a child must call before its program starts; None if the system has no such call."""
    if not sys.platform.startswith("linux"):
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()  # loaded here, because the child must not take locks

    def ask():
        prctl(SET_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the call
            os._exit(1)

    return ask
