"""The lock of a run that was killed is removed, so that the same command continues.

Snakemake locks the files of a run in ``.snakemake/locks`` and removes the locks at the end. After a kill (SIGKILL) or a
power loss they stay, and the next run refuses to start (LockException). Snakemake cannot tell whether the owner lives.
So a run holds a second lock, which the kernel releases when the process ends, and notes which locks are its own.
"""

from __future__ import annotations

import fcntl
import json
import platform
import tempfile
from contextlib import suppress
from pathlib import Path

from scbind.core.runlog import denied, full_disk

FILE = "scbind-run.json"
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
        The folder ``.snakemake``. Locks are removed only if the run that noted them was on this machine, because
        a file system need not share the kernel's locks between machines.
    """

    def __init__(self, folder: str | Path):
        self.folder, self.handle = Path(folder), None
        self.before: dict[str, int] = {}

    def claim(self) -> list[str]:
        """Remove the locks of a run that has ended. Return their names; none if another run lives."""
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            self.handle = open(self.folder / FILE, "a+")  # noqa: SIM115  # held until this process ends
            fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            removed = self._remove()
            self.before = self._locks()
            return removed
        if self.handle:
            self.handle.close()
            self.handle = None
        return []

    def note(self) -> None:
        """Note the locks that have come since :meth:`claim`. To be called when Snakemake has locked the folder."""
        if self.handle:
            own = {name: when for name, when in self._locks().items() if self.before.get(name) != when}
            with suppress(OSError):
                self.handle.seek(0)
                self.handle.truncate()
                json.dump({"machine": platform.node(), "locks": own}, self.handle)
                self.handle.flush()

    def _remove(self) -> list[str]:
        self.handle.seek(0)
        try:
            noted = json.load(self.handle)
            there, own = self._locks(), noted["locks"]
            ours = [name for name in own if own[name] == there.get(name)]
            if noted["machine"] != platform.node():
                return []
        except (ValueError, KeyError, TypeError):
            return []
        for name in ours:
            (self.folder / "locks" / name).unlink(missing_ok=True)
        return ours

    def _locks(self) -> dict[str, int]:
        """Name and time (ns) of each lock of Snakemake."""
        try:
            return {path.name: path.stat().st_mtime_ns for path in (self.folder / "locks").glob("*.lock")}
        except FileNotFoundError:
            return {}
