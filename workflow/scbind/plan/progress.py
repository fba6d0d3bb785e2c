"""Progress of a download as few lines of a log, and sizes as people read them."""

from __future__ import annotations

import time
from collections.abc import Callable

from scbind.core.progress import duration
from scbind.core.runlog import say

UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def readable(size: float) -> str:
    """Return a number of bytes in decimal units, to three digits.

    Examples
    --------
    >>> readable(0), readable(999), readable(983659424), readable(41.23e12)
    ('0 bytes', '999 bytes', '984 MB', '41.2 TB')
    """
    for unit, name in UNITS:
        if size >= 0.9995 * unit:
            return f"{float(f'{size / unit:.3g}'):g} {name}"
    return f"{size:.0f} bytes"


def counted(number: int, noun: str) -> str:
    """Return a number and its noun, in the singular or the plural.

    Examples
    --------
    >>> counted(1, "file"), counted(1200, "file")
    ('1 file', '1,200 files')
    """
    return f"{number:,} {noun}{'s' * (number != 1)}"


class DownloadProgress:
    """Says how far a download is: once every some seconds, however many blocks arrive.

    Parameters
    ----------
    name
        What is downloaded.
    begin
        Bytes that are there at the start.
    goal
        Bytes of the whole file; None if unknown.
    every
        Seconds between two lines.
    clock
        Returns the time in seconds.
    """

    def __init__(
        self,
        name: str,
        begin: int,
        goal: int | None,
        every: float,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.name, self.goal, self.every, self.clock = name, goal, every, clock
        self.last_bytes, self.last_time = begin, clock()

    def tell(self, got: int) -> None:
        """Print a line if it is time. ``got``: bytes that are there now. The rate is that since the last line."""
        now = self.clock()
        passed = now - self.last_time
        if passed < self.every or passed <= 0:
            return
        rate = (got - self.last_bytes) / passed
        of, left = "", ""
        if self.goal:
            of = f" of {readable(self.goal)} ({got / self.goal:.0%})"
            left = f", {duration((self.goal - got) / rate)} left" if rate > 0 else ""
        say(f"{self.name}: {readable(got)}{of}, {readable(rate)}/s{left}")
        self.last_bytes, self.last_time = got, now
