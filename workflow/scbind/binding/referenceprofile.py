"""Make the reference profile: draw cells of several depths, thin them to these depths, predict, take means."""

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
from scbind.core.runlog import say
from scbind.formats.signal import CellSignal, window_blocks
from scbind.formats.thinning import thinned_borrowed

REFERENCE_CELLS = (
    256  # in the reference, at each depth; with 64 of the example's 399, rare types are left to chance
)
ABOUT = 0.8  # a cell of this share of a depth, or deeper, can show what cells of the depth show


@dataclass(frozen=True)
class ProfileOptions:
    """How the reference profile is made.

    Attributes
    ----------
    background_draws
        Windows that each window is compared with, at least 2.
    seed
        Of these draws, of the cells and of their thinning.
    precision
        As of :class:`scbind.models.predictor.Predictor`; the shards need the same.
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
    """Write ``reference.npz``: what cells of a depth show on average, and like windows to compare with.

    At each of :func:`scbind.binding.profile.depth_levels`, ``REFERENCE_CELLS`` cells are drawn from all those
    of all samples
    that are about as deep, or deeper, and what they borrowed is thinned to that depth. Not the deepest cells alone:
    these may be of one type, and would make what that type shows the measure of all.

    The file holds a :class:`scbind.binding.profile.Profile` and beside it ``accessibility`` float64 (windows,),
    insertions of all passing cells in the window, nothing borrowed; ``tfs``; ``n_cells``, the number of cells drawn.

    Parameters
    ----------
    samples
        name -> ``{"position": path, "cell": path, "cells": path}``.
    block
        Windows per block; no number depends on it.
    """
    network, draws = Network.open(files, device, options.precision), options.background_draws
    if draws < 2 or not samples:
        raise InputError(
            "config", f"{draws} draws over {len(samples)} samples", "give at least 2 draws and a sample"
        )
    genome = network.genome
    opened = open_samples(samples, genome.sizes, genome.known_lengths())
    cells = DrawnCells.draw(opened, np.random.default_rng(options.seed))
    accessibility = _accessibility(network, opened, block)
    background = matched_background(network.windows.gc, accessibility, draws, options.seed)
    profile = Profile(cells.levels, *_means(network, cells, opened, block), background)
    n_drawn = len(np.unique(cells.cell))
    facts = {"tfs": np.asarray(network.predictor.tfs, dtype=str), "n_cells": np.int64(n_drawn)}
    profile.save(output, network.made_with, accessibility=accessibility, **facts)
    said = ", ".join(f"{level:.3g}" for level in cells.levels)
    n_cells = sum(len(sample.passing) for sample in opened)
    mean = f"mean P {profile.binding.mean():.3g}"
    say(f"reference of {n_drawn} of {n_cells} cells at {said} insertions per base, {mean}")


@dataclass(frozen=True)
class DrawnCells:
    """The cells of all levels below each other: the insertions of a block of windows are then read once.

    Attributes
    ----------
    levels
        float32 (levels,): geometric mean of what is left of the cells' depths at each level, insertions per base.
    rows
        The slice of each level.
    cell
        int64 (drawn,): number among the passing cells of all samples.
    share, depth
        float64 and float32 (drawn,): share of a cell's insertions that is kept, and the depth that is left.
    salt
        uint64 (drawn,): of the thinning. A cell has the same at each level, so its insertions at a level are among
        those at the next: what differs between levels is the depth, not the draw.
    """

    levels: np.ndarray
    rows: list[slice]
    cell: np.ndarray
    share: np.ndarray
    depth: np.ndarray
    salt: np.ndarray

    @classmethod
    def draw(cls, samples: list[SampleCells], rng: np.random.Generator) -> DrawnCells:
        """Draw ``REFERENCE_CELLS`` cells at each level from those that are about as deep, or deeper."""
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
        """For each sample its insertions, bool (drawn,) which cells are its own, and whose insertions they borrow."""
        first = 0
        for sample in samples:
            mine = (self.cell >= first) & (self.cell < first + len(sample.passing))
            yield sample.signal, mine, sample.borrow[sample.passing[self.cell[mine] - first]]
            first += len(sample.passing)


def _accessibility(network: Network, samples: list[SampleCells], block: int) -> np.ndarray:
    """Insertions of all passing cells in each window, float64 (windows,)."""
    windows = network.windows
    start, total = windows.global_starts(network.genome.sizes), np.zeros(len(windows))
    for part in window_blocks(len(windows), block):
        for sample in samples:
            inside = sample.signal.counts(start[part], windows.window, windows.window)
            total[part] += np.asarray(inside[sample.passing].sum(axis=0)).ravel()
    return total


def _means(
    network: Network, cells: DrawnCells, samples: list[SampleCells], block: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``binding``, ``total`` and ``expected`` of a :class:`scbind.binding.profile.Profile`."""
    n_windows, n_tfs, n_levels = len(network.windows), len(network.predictor.tfs), len(cells.levels)
    binding = np.zeros((n_windows, n_tfs), dtype=np.float32)
    total, expected = np.zeros((n_levels, n_windows)), np.zeros((n_levels, n_tfs))
    lending = list(cells.lenders(samples))
    for part in window_blocks(n_windows, block):
        for number, found in enumerate(_level_means(network, cells, lending, part)):
            found = np.rint(found * P_STEPS) / P_STEPS  # sums are exact, in any order
            binding[part] += (found / n_levels).astype(np.float32)
            total[number, part] = found.sum(axis=1)
            expected[number] += found.sum(axis=0)
    return binding, total, expected


def _level_means(network: Network, cells: DrawnCells, lending: list, part: slice) -> Iterator[np.ndarray]:
    """For each level the mean P(bound) of its cells in a block of windows, float64 (windows, TFs)."""
    context = network.contexts[part]
    thinned = np.empty((len(cells.cell), len(context), network.n_bins), dtype=np.float32)
    for signal, mine, lenders in lending:
        where = context, network.windows.context, network.predictor.bin_bp
        thinned[mine] = thinned_borrowed(signal, lenders, *where, cells.share[mine], cells.salt[mine])
    readout = np.asarray(network.readout[part])

    def mean_of(rows: slice) -> np.ndarray:
        found = network.probabilities(readout, thinned[rows], cells.depth[rows])
        return found.mean(axis=0, dtype=np.float64)

    return in_threads(mean_of, cells.rows)
