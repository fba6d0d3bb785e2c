"""Scratch files and folders beside their target. The next process that writes the target removes those of a killed one.

So does the next run on the same machine, whatever the target, because a target may never be written again.

A scratch name says which target it belongs to and which process made it: ``.{owner}.partial.{target}``. A process
number alone does not identify a process: numbers are reused, and every container counts from 1. The owner is therefore
the machine since its last start (with the container), the number, and the time at which the process began.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NAME = re.compile(
    r"\.(?P<machine>[0-9a-f]{8})-(?P<pid>\d+)-(?P<began>\d+)-[0-9a-f]{8}\.partial\.(?P<target>.+)", re.S
)

_own: set[Path] = set()  # scratch of this process that has not been removed


def scratch_of(target: Path, shared: bool = False) -> Path:
    """Return a new scratch path beside ``target``, after removing those that killed writers of it left.

    Snakemake lets only one job write a file, so scratch of another machine is a leftover, too. With ``shared``, several
    processes may write the target at once, and only scratch of processes known to have ended is removed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):  # cleaning must not stop a job
        for path in leftovers(target, shared):
            remove(path)
    owner = "-".join(map(str, this_process()))
    scratch = target.with_name(f".{owner}-{secrets.token_hex(4)}.partial.{target.name}")
    _own.add(scratch)
    return scratch


def leftovers(target: Path, shared: bool = False) -> list[Path]:
    """List the scratch paths of ``target`` whose processes have ended."""
    paths = (Path(entry.path) for entry in os.scandir(target.parent))
    return [path for path in paths if path.name.endswith(target.name) and ended(path, shared, target.name)]


def ended(path: Path, known: bool = False, target: str | None = None) -> bool:
    """Return whether a path is scratch, of ``target`` if given, whose process does not run on this machine.

    With ``known``, the process is known to have ended: it was one of this machine.
    """
    match = NAME.fullmatch(path.name)
    if match is None or target not in (None, match["target"]):
        return False
    if match["machine"] == machine():
        return not runs(int(match["pid"]), int(match["began"]))
    return not known


def remove_ended(folders: Iterable[Path]) -> None:
    """Remove scratch in the folders whose processes are known to have ended, whatever its target."""
    for folder in folders:
        with suppress(OSError):  # cleaning must not stop a run
            for path in [Path(entry.path) for entry in os.scandir(folder)]:
                if ended(path, known=True):
                    remove(path)


@contextmanager
def scratch_folder(target: str | Path | None, kind: str) -> Iterator[Path]:
    """Yield an empty folder beside ``target``, and remove it at the end.

    Parameters
    ----------
    target
        The file that is being made. Large intermediate files belong beside it, because the disk of results is large and
        ``/tmp`` may be in memory. ``None``: a folder in the place for temporary files.
    kind
        What the folder is for. It is part of the name, so it must differ between uses with one target.
    """
    path = Path(tempfile.gettempdir(), "scbind") if target is None else Path(target)
    scratch = scratch_of(path.with_name(f"{path.name}.{kind}"), shared=target is None)
    scratch.mkdir()
    try:
        yield scratch
    finally:
        remove(scratch)


def remove_own() -> None:
    """Remove all scratch of this process, for an end that skips what would remove it."""
    for path in tuple(_own):
        with suppress(OSError):
            remove(path)


def remove(path: Path) -> None:
    """Remove a file or a folder with all that it holds, if it is there."""
    _own.discard(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def this_process() -> tuple[str, int, int]:
    """Return what identifies this process: its :func:`machine`, its number, and when it :func:`began` (0: unknown)."""
    pid = os.getpid()
    return machine(), pid, began(pid) or 0


@functools.cache
def machine() -> str:
    """Return 8 hexadecimal digits for this machine since its last start, and for the container if there is one."""
    parts = [platform.node(), boot()]
    with suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]


@functools.cache
def boot() -> str:
    """Return what names this start of the kernel, which all containers on the machine share; empty if unknown."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def began(pid: int) -> int | None:
    """Return when a process began (clock ticks since the start of the machine); None if this is not known."""
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def parent_of(pid: int) -> int | None:
    """Return the number of the parent of a process; None if this is not known."""
    fields = _stat(pid)
    return int(fields[1]) if fields else None


def _stat(pid: int) -> list[str] | None:
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        )  # a name may hold spaces and brackets
    except OSError:
        return None


def runs(pid: int, when: int) -> bool:
    """Return whether the process of this number that began at ``when`` (see :func:`began`) lives."""
    now = began(pid)
    if now is not None:
        return now == when
    try:  # without /proc, a number is all there is
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
