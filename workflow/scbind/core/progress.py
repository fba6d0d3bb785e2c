"""Lines in the log of a long step that say how far it is, and about how long it still takes."""

from __future__ import annotations

from time import monotonic

from scbind.core.runlog import say

EVERY = 30.0  # seconds between two lines; a step that takes less time says nothing


class Progress:
    """Follows a loop over ``total`` things, such as ``windows``; ``None`` if their number is not known.

    Examples
    --------
    >>> progress = Progress("windows", 1000)
    >>> for done in range(100, 1001, 100):
    ...     progress.reached(done)  # after half a minute: "windows: 300 of 1,000, about 1 min 24 s left"
    """

    def __init__(self, what: str, total: int | None = None):
        self.what, self.total = what, total
        self.begun = self.told = monotonic()

    def reached(self, done: int) -> None:
        """Say that ``done`` things are finished, unless the last line is younger than ``EVERY`` seconds."""
        now = monotonic()
        if now - self.told < EVERY or done < 1 or done == self.total:
            return
        self.told = now
        if self.total is None:
            say(f"{self.what}: {done:,} so far")
        else:
            left = (now - self.begun) * (self.total - done) / done
            say(f"{self.what}: {done:,} of {self.total:,}, about {duration(left)} left")


def duration(seconds: float) -> str:
    """Return a time in hours and minutes, minutes and seconds, or seconds.

    Examples
    --------
    >>> duration(5), duration(80), duration(7300)
    ('5 s', '1 min 20 s', '2 h 1 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
