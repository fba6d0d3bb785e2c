"""Scratch files and folders beside their target. The next process that writes the target removes those of a killed one.

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
from collections.abc import Iterator
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
    pid = os.getpid()
    owner = f"{machine()}-{pid}-{began(pid) or 0}-{secrets.token_hex(4)}"
    scratch = target.with_name(f".{owner}.partial.{target.name}")
    _own.add(scratch)
    return scratch


def leftovers(target: Path, shared: bool = False) -> list[Path]:
    """List the scratch paths of ``target`` whose processes have ended."""
    found = []
    for entry in os.scandir(target.parent):
        match = NAME.fullmatch(entry.name)
        if match and match["target"] == target.name:
            here = match["machine"] == machine()
            if not _runs(int(match["pid"]), int(match["began"])) if here else not shared:
                found.append(Path(entry.path))
    return found


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


@functools.cache
def machine() -> str:
    """Return 8 hexadecimal digits for this machine since its last start, and for the container if there is one."""
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
    with suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]


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


def _runs(pid: int, when: int) -> bool:
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
