"""Compute the reference profile: draw cells, thin them to several depths, predict binding, and take means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from scbind.binding.network import Network, NetworkFiles
from scbind.binding.profile import P_STEPS, Profile, depth_levels, matched_background
from scbind.binding.samplecells import SampleCells, open_samples
from scbind.core.devices import enough_gpu_memory, in_threads
from scbind.core.errors import InputError
from scbind.core.progress import Progress
from scbind.core.runlog import say
from scbind.formats.signal import CellSignal, window_blocks
from scbind.formats.thinning import thinned_borrowed

REFERENCE_CELLS = (
    256  # cells per depth; 64 of the 399 cells of the example would represent rare types only by chance
)
ABOUT = 0.8  # a cell can represent a depth if it has at least this fraction of it


@dataclass(frozen=True)
class ProfileOptions:
    """How the reference profile is made.

    Attributes
    ----------
    background_draws
        Number of background windows per window, at least 2.
    seed
        Seed for drawing background windows, drawing cells, and thinning.
    precision
        See :class:`scbind.models.predictor.Predictor`. The shards need the same precision.
    """

    background_draws: int
    seed: int
    precision: str


@enough_gpu_memory()
def reference_profile(
    files: NetworkFiles,
    samples: dict[str, dict],
    output: str | Path,
    options: ProfileOptions,
    *,
    block: int = 256,
    device: str = "cpu",
) -> None:
    """Write ``reference.npz``: mean predicted binding, openness, and the background windows.

    For each depth of :func:`scbind.binding.profile.depth_levels`, up to ``REFERENCE_CELLS`` cells are drawn from the
    cells of all samples with at least ``ABOUT`` times this depth. Their insertions, own and borrowed, are thinned to
    the depth. The draw is not limited to the deepest cells, because these may all be of one type, which would then
    determine the reference for all types.

    The file holds a :class:`scbind.binding.profile.Profile` and three more arrays. ``accessibility``, float64
    (windows,), is the number of insertions of all passing cells in the window, without borrowing. ``tfs`` are the TFs
    of the model. ``n_cells`` is the number of cells drawn.

    Parameters
    ----------
    files
        The files of the network, the windows and the reference.
    samples
        name -> ``{"position": path, "cell": path, "cells": path}``.
    output
        The ``.npz`` file to write.
    options
        Number of draws, seed and precision.
    block
        Windows per block. Results do not depend on it.
    device
        Device of the network: ``"cpu"`` or ``"cuda"``.

    Raises
    ------
    InputError
        If there are fewer than 2 draws, no samples or no passing cells, the files do not belong together, or the memory
        of the GPU does not suffice.
    """
    network, draws = Network.open(files, device, options.precision), options.background_draws
    if draws < 2 or not samples:
        raise InputError(
            "config", f"{draws} draws for {len(samples)} samples", "set at least 2 draws and give a sample"
        )
    genome = network.genome
    opened = open_samples(samples, genome.sizes, genome.known_lengths())
    cells = DrawnCells.draw(opened, np.random.default_rng(options.seed))
    accessibility = _accessibility(network, opened, block)
    openness = _openness(network, opened, block)
    background = matched_background(network.windows.gc, accessibility, draws, options.seed)
    profile = Profile(cells.levels, _means(network, cells, opened, block), openness, background)
    n_drawn = len(np.unique(cells.cell))
    facts = {"tfs": np.asarray(network.predictor.tfs, dtype=str), "n_cells": np.int64(n_drawn)}
    profile.save(output, network.made_with, accessibility=accessibility, **facts)
    said = ", ".join(f"{level:.3g}" for level in cells.levels)
    n_cells = sum(len(sample.passing) for sample in opened)
    mean = f"mean P {profile.binding.mean():.3g}"
    say(
        f"reference profile from {n_drawn} of {n_cells} cells at depths of {said} insertions per base, {mean}"
    )


@dataclass(frozen=True)
class DrawnCells:
    """The cells drawn for all depth levels, in one array, so that each block of windows is read once.

    Attributes
    ----------
    levels
        float32 (levels,): geometric mean of the depths of the thinned cells at each level, insertions per base.
    rows
        The slice of each level in the arrays below.
    cell
        int64 (drawn,): index among the passing cells of all samples.
    share
        float64 (drawn,): fraction of a cell's fragments that is kept.
    depth
        float32 (drawn,): depth of the thinned cell, insertions per base.
    salt
        uint64 (drawn,): seed of the thinning. A cell has the same salt at each level, so the insertions that it keeps
        at one level are a subset of those at the next. Levels then differ in depth but not in the random draw.
    """

    levels: np.ndarray
    rows: list[slice]
    cell: np.ndarray
    share: np.ndarray
    depth: np.ndarray
    salt: np.ndarray

    @classmethod
    def draw(cls, samples: list[SampleCells], rng: np.random.Generator) -> DrawnCells:
        """Draw up to ``REFERENCE_CELLS`` cells per level from those with at least ``ABOUT`` times its depth."""
        depths = np.concatenate([sample.depth(sample.passing) for sample in samples])
        asked = depth_levels(depths)
        order = rng.permutation(len(depths))
        each = [np.sort(order[depths[order] >= ABOUT * level][:REFERENCE_CELLS]) for level in asked]
        reached = zip(each, asked, strict=True)
        levels = [np.exp(np.log(np.minimum(depths[cells], level)).mean()) for cells, level in reached]
        cell, wanted = np.concatenate(each), np.repeat(asked, [len(cells) for cells in each])
        share = np.minimum(wanted / depths[cell], 1)
        salt = rng.integers(2**64, size=len(depths), dtype=np.uint64)[cell]
        bounds = np.cumsum([0, *map(len, each)])
        rows = list(map(slice, bounds[:-1], bounds[1:]))
        return cls(
            np.array(levels, dtype=np.float32),
            rows,
            cell,
            share,
            (share * depths[cell]).astype(np.float32),
            salt,
        )

    def lenders(self, samples: list[SampleCells]) -> Iterator[tuple[CellSignal, np.ndarray, sp.csr_matrix]]:
        """Yield per sample: insertions, which drawn cells are in it (bool (drawn,)), and the lenders of these cells.

        The lenders are a csr matrix, shape (drawn cells of the sample, cells of the sample).
        """
        first = 0
        for sample in samples:
            mine = (self.cell >= first) & (self.cell < first + len(sample.passing))
            yield sample.signal, mine, sample.borrow[sample.passing[self.cell[mine] - first]]
            first += len(sample.passing)


def _accessibility(network: Network, samples: list[SampleCells], block: int) -> np.ndarray:
    """Count the insertions of all passing cells in each window: float64 (windows,)."""
    windows = network.windows
    return _counts(samples, windows.global_starts(network.genome.sizes), windows.window, block)


def _openness(network: Network, samples: list[SampleCells], block: int) -> np.ndarray:
    """Return the insertions in each context per depth of the cell, mean over passing cells: float64 (windows,)."""
    counts = _counts(samples, network.contexts, network.windows.context, block)
    return counts / sum(sample.density[sample.passing].sum() for sample in samples)


def _counts(samples: list[SampleCells], start: np.ndarray, width: int, block: int) -> np.ndarray:
    """Count the insertions of all passing cells in intervals of ``width`` bases: float64 (intervals,)."""
    total = np.zeros(len(start))
    for part in window_blocks(len(start), block):
        for sample in samples:
            inside = sample.signal.counts(start[part], width, width)
            total[part] += np.asarray(inside[sample.passing].sum(axis=0)).ravel()
    return total


def _means(network: Network, cells: DrawnCells, samples: list[SampleCells], block: int) -> np.ndarray:
    """Return P(bound), averaged over the drawn cells of each level and over levels: float32 (windows, TFs)."""
    n_windows, n_tfs, n_levels = len(network.windows), len(network.predictor.tfs), len(cells.levels)
    binding = np.zeros((n_windows, n_tfs), dtype=np.float32)
    lending, progress = list(cells.lenders(samples)), Progress("windows", n_windows)
    for part in window_blocks(n_windows, block):
        for found in _level_means(network, cells, lending, part):
            found = np.rint(found * P_STEPS) / P_STEPS  # makes sums exact in any order
            binding[part] += (found / n_levels).astype(np.float32)
        progress.reached(part.stop)
    return binding


def _level_means(network: Network, cells: DrawnCells, lending: list, part: slice) -> Iterator[np.ndarray]:
    """Return, for each level, the mean P(bound) of its cells in a block of windows: float64 (windows, TFs)."""
    context = network.contexts[part]
    thinned = np.empty((len(cells.cell), len(context), network.n_bins), dtype=np.float32)
    for signal, mine, lenders in lending:
        where = context, network.windows.context, network.predictor.bin_bp
        thinned[mine] = thinned_borrowed(signal, lenders, *where, cells.share[mine], cells.salt[mine])
    readout = network.readout(part)

    def mean_of(rows: slice) -> np.ndarray:
        found = network.probabilities(readout, thinned[rows], cells.depth[rows])
        return found.mean(axis=0, dtype=np.float64)

    return in_threads(mean_of, cells.rows)
