"""The reference profile: what cells of a depth show on average, and windows like each window.

:mod:`scbind.binding.referenceprofile` makes it, :mod:`scbind.binding.activity` compares cells with it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from scipy.interpolate import CubicSpline

from scbind.core.errors import InputError
from scbind.core.files import atomic, require

BACKGROUND_BINS = 50  # at most this many classes of accessibility, and of GC in each (chromVAR: 50 x 50 grid)
WINDOWS_PER_BIN = 50  # classes are made so large that a window has about this many others to be matched with
TINY = 1e-12  # keeps the logarithm finite where nothing at all is predicted
P_STEPS = 2.0**24  # of a P that is summed: in such steps a sum is exact in float64 up to 2**29 windows
LEVELS = 5  # depths at which the reference is known, at most; between them it is interpolated, log over log
BEYOND = 1.5  # extrapolate at most this factor beyond the outermost levels
APART = 1.5  # neighbouring levels differ at least by this factor


def matched_background(gc, accessibility, draws: int, seed: int) -> np.ndarray:
    """For each window, another one of like GC content and accessibility, ``draws`` times.

    Windows are cut into classes of equal size by accessibility, each of these by GC; ties are broken at
    random, not by place, so that neighbours are not preferred. After chromVAR (Schep et al. 2017, Methods,
    "Background peaks").

    Parameters
    ----------
    gc, accessibility
        shape (windows,).
    draws, seed
        Number of matches per window; seed of numpy's generator.

    Returns
    -------
    int32, shape (draws, windows): never the window itself unless it is the only one.
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
    """Depths at which the reference is asked for, rising: float32 (at most ``LEVELS``,).

    Evenly in log depth from the lowest fiftieth of the cells that have any insertion to the upper tenth: a few cells
    of next to nothing must not draw the levels away from all others. Beyond, :meth:`Profile.at` goes on. There are two
    levels at least, none nearer than a factor of ``APART``: how binding goes with depth has to stand out of noise.
    ``depth`` (cells,) in insertions per base, not all 0.
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
    """What cells of a depth show on average, and like windows to compare each window with.

    Attributes
    ----------
    depth
        float (levels,), rising, insertions per base.
    binding
        float (windows, TFs): P(bound), mean over the levels.
    total
        float (levels, windows): sum over TFs of P(bound).
    expected
        float (levels, TFs): sum over windows of P(bound).
    background
        int32 (draws, windows): see :func:`matched_background`.
    """

    depth: np.ndarray
    binding: np.ndarray
    total: np.ndarray
    expected: np.ndarray
    background: np.ndarray

    def save(self, path: str | Path, made_with: dict, **facts) -> None:
        """Write the ``.npz``; ``made_with`` holds digests and settings, ``facts`` arrays for those who read it."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        with atomic(path) as scratch, open(scratch, "wb") as handle:
            np.savez(handle, **arrays, **facts, made_with=json.dumps(made_with))

    @classmethod
    def load(cls, path: str | Path, made_with: dict) -> Profile:
        """Read what :meth:`save` wrote. Raises :class:`InputError` where it was made with anything else."""
        with np.load(require(path, "run the reference profile first")) as npz:
            if "made_with" not in npz or json.loads(str(npz["made_with"])) != made_with:
                problem = "was made with other windows, another model or precision"
                raise InputError(path, problem, "run the reference profile again")
            return cls(*(npz[field.name] for field in fields(cls)))

    def at(self, depth: np.ndarray) -> sp.csr_array:
        """Weights of the levels' logarithms for cells of these depths: csr float64 (cells, levels), rows add up to 1.

        A natural cubic spline over log depth. Straight lines between the levels lie above what bends upwards, and by
        more for some windows than for others: z then rises and falls with depth. Beyond the ends the spline goes
        straight on, for a factor of ``BEYOND`` at most.
        """
        levels, asked = (np.log(np.maximum(of, TINY)) for of in (self.depth, np.asarray(depth)))
        if len(levels) == 1:
            return sp.csr_array(np.ones((len(asked), 1)))
        inside = np.clip(asked, levels[0], levels[-1])
        further = np.clip(asked - inside, -np.log(BEYOND), np.log(BEYOND))
        spline = CubicSpline(levels, np.eye(len(levels)), bc_type="natural")
        return sp.csr_array(spline(inside) + spline(inside, 1) * further[:, None])


def expected_at(weights: sp.csr_array, values: np.ndarray) -> np.ndarray:
    """Means of the levels, float64 (levels, ...), as cells would have them whose weights :meth:`Profile.at` gave."""
    return np.exp(weights @ np.log(np.maximum(values, TINY)))
