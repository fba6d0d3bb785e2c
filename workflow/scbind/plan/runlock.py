"""The lock of a run that was killed is removed, so that the same command continues.

Snakemake locks the files of a run in ``.snakemake/locks`` and removes the locks at the end. After a kill (SIGKILL) or a
power loss they stay, and the next run refuses to start (LockException). Snakemake cannot tell whether the owner lives.
So a run holds a second lock, which the kernel releases when the process ends, and notes which locks are its own. Until
Snakemake has locked the folder, the run notes instead which locks were there before: it may be killed in between.

Only a run of the same kernel is judged: containers on one machine have different names, but share the kernel and its
locks. A run of the same machine before its last start has ended, too. Other machines need not share the kernel's locks.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import platform
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from scbind.core.runlog import denied, full_disk
from scbind.core.scratch import boot, machine, runs, this_process

FILE = "scbind-run.json"
ALL = "scbind-runs.lock"  # shared by all runs of scbind in the folder, also by those that could not claim it
STARTS = 60  # seconds within which a job has read its script
PROBE = 8192  # bytes, about what Snakemake writes before the first job


def check_writable(folder: str | Path) -> None:
    """Raise :class:`InputError` if nothing can be written into ``folder``, which is made if it is missing.

    Snakemake would end with a traceback.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(PROBE))
    except OSError as error:
        error.filename = Path(folder).resolve()
        if known := denied(error) or full_disk(error):
            raise known from None
        raise


class RunLock:
    """The locks of one run in a working folder.

    Parameters
    ----------
    folder
        The folder ``.snakemake``.
    """

    def __init__(self, folder: str | Path):
        self.folder, self.handle, self.all = Path(folder), None, None
        self.before: dict[str, int] = {}
        self.locked = False  # by the kernel
        self.pending = False  # the note says what was there before, and not yet what this run has locked

    def claim(self) -> list[str]:
        """Remove the locks of a run that has ended. Return their names; none if another run lives."""
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            self.handle = open(self.folder / FILE, "a+")  # noqa: SIM115  # held until this process ends
            claimed = self._lock()
            alone = self._join(claimed)
            if alone:
                self._remove_scripts()
            if claimed:
                noted = self._read()
                there = self._of(noted)
                told = self._has_ended(noted) and ("locks" in noted or alone)
                if told:
                    for name in there:
                        (self.folder / "locks" / name).unlink(missing_ok=True)
                self.before = self._locks()
                if told or not there:  # otherwise the note stays for a run that can tell
                    self._write({"before": self.before})
                    self.pending = True
                    atexit.register(self.release)
                return there if told else []
        if self.handle:
            self.handle.close()
            self.handle = None
        return []

    def release(self) -> None:
        """Give the claim back. Locks that come later are not those of this run, unless it has noted them."""
        with suppress(OSError):
            if self.handle and self.pending:
                self._write({})
        for handle in (self.handle, self.all):
            if handle:
                handle.close()
        self.handle = self.all = None

    def note(self) -> None:
        """Note the locks that have come since :meth:`claim`. To be called when Snakemake has locked the folder."""
        if self.handle:
            with suppress(OSError):
                self._write({"locks": self._since(self.before)})
                self.pending = False

    def _lock(self) -> bool:
        """Lock the note. Return False if another run holds it, or, on a file system without locks, if its run lives."""
        try:
            fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            owner, pid, when = self._read().get("owner", ("", 0, 0))
            return owner != machine() or not runs(pid, when)
        self.locked = True
        return True

    def _join(self, claimed: bool) -> bool:
        """Count as a run in this folder until the process ends. Return whether it is known to be the only one."""
        alone = False
        with suppress(OSError):
            self.all = open(self.folder / ALL, "a")  # noqa: SIM115
            if claimed:
                with suppress(BlockingIOError):
                    fcntl.flock(self.all, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    alone = True
            fcntl.flock(self.all, fcntl.LOCK_SH)
        return alone

    def _remove_scripts(self) -> None:
        """Remove scripts that killed jobs left: they hold the parameters of the jobs, such as addresses with passwords.

        A script that has just been written is left, because a job may be about to read it.
        """
        for path in (self.folder / "scripts").glob("tmp*"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > STARTS:
                    path.unlink()

    def _has_ended(self, noted: dict) -> bool:
        """Return whether the run that wrote the note, which this run has claimed, is known to have ended."""
        if boot() and noted.get("boot") == boot():
            return self.locked or noted["owner"][0] == machine()
        return noted.get("machine") == platform.node()

    def _of(self, noted: dict) -> list[str]:
        """Names of the locks that are there and may be those of the run that wrote the note."""
        if "locks" in noted:
            return [name for name, when in self._locks().items() if noted["locks"].get(name) == when]
        return list(self._since(noted["before"])) if "before" in noted else []

    def _read(self) -> dict:
        self.handle.seek(0)
        try:
            noted = json.load(self.handle)
        except ValueError:
            return {}
        return noted if isinstance(noted, dict) else {}

    def _write(self, what: dict) -> None:
        about = {"machine": platform.node(), "boot": boot(), "owner": this_process()}
        self.handle.seek(0)
        self.handle.truncate()
        json.dump(about | what, self.handle)
        self.handle.flush()

    def _since(self, before: dict[str, int]) -> dict[str, int]:
        return {name: when for name, when in self._locks().items() if before.get(name) != when}

    def _locks(self) -> dict[str, int]:
        """Name and time (ns) of each lock of Snakemake."""
        try:
            return {path.name: path.stat().st_mtime_ns for path in (self.folder / "locks").glob("*.lock")}
        except FileNotFoundError:
            return {}
