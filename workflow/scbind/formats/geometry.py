"""The grid of windows, the same for training and for cells."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Geometry:
    """Which windows there are and what surrounds them: the section ``dataset`` of the configuration.

    Attributes
    ----------
    window, step, context
        Width of a window, distance between starts, and width of the sequence and signal around a window that a
        model reads (bp).
    min_mappability
        Least mean mappability (0 to 1) of a window's context; ``None``: mappability is not looked at, and models
        do not see it. Over the context and not the window, because that is where insertions are counted: none
        where reads cannot map looks like closed chromatin.
    """

    window: int
    step: int
    context: int
    min_mappability: float | None

    @property
    def flank(self) -> int:
        """Bases of the context on either side of the window."""
        return (self.context - self.window) // 2
