"""The windows in which binding is predicted. :mod:`scbind.binding.choice` writes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scbind.core.files import read_npz, require
from scbind.formats.genome import ChromSizes


@dataclass(frozen=True)
class Windows:
    """Windows of one width, sorted by chromosome (order of ``chrom.sizes``) and start.

    Attributes
    ----------
    chrom : int32, shape (windows,); index into ``ChromSizes.names``
    start : int32, shape (windows,); 0-based start of the window itself, not of its context
    peak : int32, shape (windows,); row of ``consensus.bed`` (0-based, of those on the reference's chromosomes)
    gc : float32, shape (windows,); fraction of G and C among the known bases (not N) of the context
    window, context : width (bp) of the window, and of the sequence and signal around it
    """

    chrom: np.ndarray
    start: np.ndarray
    peak: np.ndarray
    gc: np.ndarray
    window: int
    context: int

    @classmethod
    def load(cls, path: str | Path) -> Windows:
        """Read ``windows.npz``. Raises :class:`InputError` if the file is missing or lacks an array."""
        names = ["chrom", "start", "peak", "gc", "window", "context"]
        arrays = read_npz(
            require(path, "run the rule that chooses windows first"), "choose the windows again", names
        )
        return cls(**arrays | {name: int(arrays[name]) for name in ("window", "context")})

    def __len__(self) -> int:
        return len(self.start)

    @property
    def end(self) -> np.ndarray:
        """Exclusive end of each window: int32, shape (windows,)."""
        return (self.start + self.window).astype(np.int32)

    def global_starts(self, sizes: ChromSizes) -> np.ndarray:
        """Return the global 0-based position of the first base of each window: int64, shape (windows,)."""
        return sizes.offsets[self.chrom] + self.start

    def global_context_starts(
        self, sizes: ChromSizes, context: int | None = None, window: int | None = None
    ) -> np.ndarray:
        """Return the global 0-based position of the first base of each context: int64, shape (windows,).

        Contexts are centred on the windows. ``context`` and ``window`` (bp) replace the widths of the file.
        """
        context, window = context or self.context, window or self.window
        return self.global_starts(sizes) - (context - window) // 2

    def names(self, sizes: ChromSizes) -> list[str]:
        """Return the name ``chrom:start-end`` of each window, 0-based half-open."""
        chroms = np.asarray(sizes.names, dtype=object)[self.chrom]
        return [f"{c}:{s}-{e}" for c, s, e in zip(chroms, self.start, self.end, strict=True)]
