"""The reference profile: mean predicted binding, openness, and background windows matched to each window.

:mod:`scbind.binding.referenceprofile` computes it. :mod:`scbind.binding.activitysums` compares cells with it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from scbind.core.errors import InputError
from scbind.core.files import atomic, read_npz

BACKGROUND_BINS = 50  # at most this many classes of accessibility, and of GC in each (chromVAR: 50 x 50 grid)
WINDOWS_PER_BIN = 50  # approximate number of windows in a class, which are each other's possible matches
TINY = 1e-12  # keeps the logarithm finite where predicted binding is 0
P_STEPS = (
    2.0**24
)  # P is rounded to multiples of 1 / P_STEPS: sums over up to 2**29 windows are then exact in float64
LEVELS = 5  # at most this many depths of the reference
APART = 1.5  # neighbouring levels differ at least by this factor


def matched_background(gc, accessibility, draws: int, seed: int) -> np.ndarray:
    """Draw, for each window, ``draws`` other windows of similar GC content and accessibility.

    Windows are divided into classes of equal size by accessibility, and each class by GC content. Ties are broken at
    random instead of by position, so that neighbouring windows are not preferred. The method follows chromVAR (Schep et
    al. 2017, Methods, "Background peaks").

    Parameters
    ----------
    gc, accessibility
        shape (windows,).
    draws, seed
        Number of matches per window, and seed of the random numbers.

    Returns
    -------
    int32, shape (draws, windows): indices of windows. A window is matched with itself only if its class has no other.
    """
    n = len(gc)
    rng = np.random.default_rng(seed)
    side = int(np.clip(np.sqrt(n / WINDOWS_PER_BIN), 1, BACKGROUND_BINS))
    background = np.empty((draws, n), dtype=np.int32)
    by_access = np.lexsort((rng.random(n), accessibility))
    for part in np.array_split(by_access, side):
        by_gc = part[np.lexsort((rng.random(len(part)), np.asarray(gc)[part]))]
        for group in np.array_split(by_gc, side):
            size = len(group)
            if size:
                step = rng.integers(1, size, (draws, size)) if size > 1 else np.zeros((draws, 1), dtype=int)
                background[:, group] = group[(np.arange(size) + step) % size]
    return background


def depth_levels(depth: np.ndarray) -> np.ndarray:
    """Return the depths of the reference profile in rising order: float32, at most ``LEVELS`` values.

    ``depth``, shape (cells,), is in insertions per base; not all values may be 0. The levels are evenly spaced in log
    depth, from the 2nd to the 90th percentile of the cells that have an insertion. The percentiles keep a few almost
    empty cells from shifting the levels. There are at least two levels. Neighbouring levels differ at least by the
    factor ``APART``.
    """
    depth = depth[depth > 0]
    low, high = (
        float(np.quantile(depth, share, method=to)) for share, to in ((0.02, "lower"), (0.9, "higher"))
    )
    low = min(low, high / APART)
    n = min(LEVELS, 1 + int(np.log(high / low) / np.log(APART) + 1e-9))
    return np.geomspace(low, high, n).astype(np.float32)


@dataclass(frozen=True)
class Profile:
    """Mean predicted binding of cells, how open each window is, and its background windows.

    Attributes
    ----------
    depth
        float (levels,): depths in rising order, insertions per base.
    binding
        float (windows, TFs): P(bound), averaged over the levels.
    openness
        float (windows,): insertions in the context per depth of the cell, mean over all passing cells.
    background
        int32 (draws, windows): see :func:`matched_background`.
    """

    depth: np.ndarray
    binding: np.ndarray
    openness: np.ndarray
    background: np.ndarray

    def save(self, path: str | Path, made_with: dict, **facts) -> None:
        """Write the ``.npz``. ``made_with`` holds digests and settings; ``facts`` are further arrays for users."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        with atomic(path) as scratch, open(scratch, "wb") as handle:
            np.savez(handle, **arrays, **facts, made_with=json.dumps(made_with))

    @classmethod
    def load(cls, path: str | Path, made_with: dict) -> Profile:
        """Read a file that :meth:`save` wrote. Raises :class:`InputError` if damaged or made with others."""
        remedy, names = "run the reference profile again", [field.name for field in fields(cls)]
        arrays = read_npz(path, remedy, [*names, "made_with"])
        if str(arrays["made_with"]) != json.dumps(made_with):
            raise InputError(path, "was made with other windows, another model or another precision", remedy)
        return cls(*(arrays[name] for name in names))
