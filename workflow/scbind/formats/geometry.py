"""The grid of windows, the same for training and for cells."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Geometry:
    """Size and spacing of windows and their context: the section ``dataset`` of the configuration.

    Attributes
    ----------
    window, step, context
        Width of a window, distance between starts, and width of the sequence and signal around a window that a
        model reads (bp).
    min_mappability
        Minimum mean mappability (0 to 1) of the context of a window. ``None``: mappability is not used, not even by
        models. The mean covers the context because insertions are counted there. A region where reads cannot map has
        no insertions and would look like closed chromatin.
    """

    window: int
    step: int
    context: int
    min_mappability: float | None

    @property
    def flank(self) -> int:
        """Bases of the context on either side of the window."""
        return (self.context - self.window) // 2
