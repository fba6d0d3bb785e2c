"""From windows and cells to P(bound): sequence once per window, signal per cell, in blocks of bounded size.

A cell's numbers come from its own (borrowed) counts alone. Shards are cut between blocks of ``cell_block``
passing cells, so that the model is fed the same blocks, and the results are the same, whatever the number of
shards.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scbind.binding.activity import ActivitySums
from scbind.binding.network import Network, NetworkFiles
from scbind.binding.profile import Profile
from scbind.binding.samplecells import SampleCells
from scbind.binding.shards import ShardWriter
from scbind.binding.windows import Windows
from scbind.core.devices import enough_gpu_memory, in_flight, in_threads
from scbind.core.errors import InputError
from scbind.core.files import digests
from scbind.core.runlog import say
from scbind.formats.signal import borrowed, window_blocks

SIGNAL_BYTES = 32  # of an insertion while it is counted: as a triple, and as an entry of a csr
SIGNAL_SHARE = 4  # bytes that the counts of a block may take, per byte of its dense arrays


@dataclass(frozen=True)
class ShardOptions:
    """What is kept of the predictions, and how they are computed.

    Attributes
    ----------
    floor
        Probabilities below it are not kept (they count in the activity all the same).
    max_error, sites
        By how much a kept probability may be wrong; whether any are kept at all.
    precision
        As of :class:`scbind.models.predictor.Predictor`, and that of the reference profile.
    """

    floor: float
    max_error: float
    sites: bool
    precision: str


@dataclass(frozen=True)
class Blocks:
    """How much is worked on at once. Results depend on it only as far as the model's rounding does.

    Attributes
    ----------
    cells
        Cells predicted at once.
    max_bytes
        A bound for the dense arrays of all blocks that are worked on at a time, of which there is one more than PyTorch
        has threads; four times as much is left to the counts of all cells. On a GPU the blocks fill at least one tile,
        whatever the bound. The number of windows follows from it and from the sample, not from the shard.
    """

    cells: int = 64
    max_bytes: int = 1 << 28


@enough_gpu_memory()
def infer_shard(
    files: NetworkFiles,
    sample: dict,
    profile: str | Path,
    output: str | Path,
    options: ShardOptions,
    shard: int,
    n_shards: int,
    *,
    blocks: Blocks = Blocks(),
    device: str = "cpu",
) -> None:
    """Predict P(bound) for one shard of a sample's passing cells in all windows; write ``{shard}.npz``.

    The file holds the sparse binding per TF (:class:`scbind.binding.shards.Shard`) and the activity of its cells
    (:meth:`scbind.binding.activity.ActivitySums.kept`). A shard may be empty when there are more shards than
    blocks of cells.

    Parameters
    ----------
    sample
        ``position``, ``cell`` and ``cells``: the sample's insertions and ``cells.h5ad``.
    profile
        ``reference.npz`` of :func:`scbind.binding.referenceprofile.reference_profile`.
    shard, n_shards
        Number of this shard (from 0) and of all. Results of a cell do not depend on them.
    """
    if not 0 <= shard < n_shards:
        raise InputError("config", f"shard {shard} of {n_shards}", "number shards from 0")
    network = Network.open(files, device, options.precision)
    genome, predictor = network.genome, network.predictor
    cells = SampleCells.open(**sample, sizes=genome.sizes, known=genome.known_lengths())
    rows = _rows_of_shard(cells.passing, shard, n_shards, blocks.cells)
    depth = cells.depth(rows).astype(np.float32)
    sums = ActivitySums(Profile.load(profile, network.made_with), depth)
    with ShardWriter(predictor.tfs, options.floor, output, options.max_error, options.sites) as writer:
        if len(rows):
            n_windows = _windows_at_once(network, cells, len(sums.profile.background), blocks, device)
            _predict(network, cells, rows, depth, sums, writer, n_windows, blocks.cells)
        reliability = json.dumps(predictor.reliability or {})
        extra = {"depth": depth, "reliability": np.str_(reliability), **sums.kept()}
        made_with = json.dumps(network.made_with | digests(reference=profile))
        writer.finish(rows, len(network.windows), extra, made_with)


def _predict(
    network: Network,
    cells: SampleCells,
    rows: np.ndarray,
    depth: np.ndarray,
    sums: ActivitySums,
    writer: ShardWriter,
    n_windows: int,
    n_cells: int,
) -> None:
    """Predict the cells of some ``rows`` in blocks of ``n_cells`` and ``n_windows``; add each to sums and writer."""
    windows, bin_bp, context = network.windows, network.predictor.bin_bp, network.contexts
    borrow, core = cells.borrow[rows], _core_bins(windows, bin_bp)
    signal, only = cells.lenders(rows, context, windows.context, writer.folder)
    firsts = range(0, len(rows), n_cells)
    for part in window_blocks(len(windows), n_windows):
        counts = signal.counts(context[part], windows.context, bin_bp, only, np.float32)
        weights, readout = sums.weights(part.start, part.stop), np.asarray(network.readout[part])

        def predict(first: int, counts=counts, readout=readout) -> tuple[np.ndarray, np.ndarray]:
            here = slice(first, first + n_cells)
            mine = borrowed(counts, borrow[here], network.n_bins)
            return network.probabilities(readout, mine, depth[here]), mine[:, :, core].any(axis=2)

        for first, (probability, seen) in zip(firsts, in_threads(predict, firsts), strict=True):
            writer.add(first, part.start, probability)
            sums.add(first, part.start, probability, weights, seen)
        say(f"windows {part.stop}/{len(windows)}")


def _rows_of_shard(passing: np.ndarray, shard: int, n_shards: int, n_cells: int) -> np.ndarray:
    """The passing cells of a shard, which is cut between blocks of ``n_cells``; there may be none."""
    begins = np.array_split(np.arange(0, len(passing), n_cells), n_shards)[shard]
    return np.concatenate([passing[b : b + n_cells] for b in begins] or [np.zeros(0, np.int64)])


def _windows_at_once(network: Network, cells: SampleCells, draws: int, blocks: Blocks, device: str) -> int:
    """Windows per block, so that all arrays of the blocks in work stay within bounds."""
    insertions = cells.signal.within(network.contexts, network.windows.context) / len(network.windows)
    shape = network.n_bins, len(network.predictor.tfs), draws
    number = min(
        _window_block(blocks.max_bytes / in_flight(), blocks.cells, *shape),
        _signal_block(blocks.max_bytes, insertions),
    )
    if device != "cpu":  # what does not fill a tile is computed all the same
        number = max(number, network.predictor.tile[0])
    return number


def _core_bins(chosen: Windows, bin_bp: int) -> slice:
    """Bins of the context that share a base with the window."""
    flank = (chosen.context - chosen.window) // 2
    return slice(flank // bin_bp, -(-(flank + chosen.window) // bin_bp))


def _window_block(max_bytes: float, cells: int, bins: int, tfs: int, draws: int) -> int:
    """Windows per block: counts twice; probabilities in float32, float64 and codes; background weights.

    A power of two, so that blocks fill the batches of a fixed size that a network may cut them into.
    """
    per_window = cells * (8 * bins + 32 * tfs) + 16 * draws * tfs
    return _power(max_bytes / per_window)


def _signal_block(max_bytes: int, insertions: float) -> int:
    """Windows per block, of so many insertions each on average over all cells: their counts have to fit."""
    return _power(SIGNAL_SHARE * max_bytes / max(insertions * SIGNAL_BYTES, 1))


def _power(number: float) -> int:
    """Largest power of two that is not above a number, at least 1."""
    return 1 << (max(1, int(number)).bit_length() - 1)
