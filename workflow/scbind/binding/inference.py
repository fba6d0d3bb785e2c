"""Predict P(bound) per cell and window: sequence once per window, signal per cell, in blocks of bounded size.

The predictions for a cell depend only on its own and borrowed counts. Shards begin and end between blocks of
``Blocks.cells`` passing cells. The model therefore gets the same blocks, and gives the same results, for any number of
shards.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scbind.binding.activitysums import ActivitySums
from scbind.binding.network import Network, NetworkFiles
from scbind.binding.profile import Profile
from scbind.binding.samplecells import SampleCells
from scbind.binding.shards import ShardWriter
from scbind.binding.windows import Windows
from scbind.core.devices import enough_gpu_memory, in_flight, in_threads
from scbind.core.errors import InputError
from scbind.core.files import digests
from scbind.core.progress import Progress
from scbind.core.runlog import say
from scbind.formats.signal import borrowed, window_blocks

SIGNAL_BYTES = 32  # of an insertion while it is counted: as a (row, column, value) triple and in a csr matrix
SIGNAL_SHARE = 4  # memory limit of the counts of a block, relative to that of its dense arrays


@dataclass(frozen=True)
class ShardOptions:
    """Which predictions are stored, and with what precision they are computed.

    Attributes
    ----------
    floor
        Probabilities below it are not stored. TF activity still includes them.
    max_error
        Largest error of a stored probability.
    sites
        Whether probabilities are stored at all. TF activity does not need them.
    precision
        See :class:`scbind.models.predictor.Predictor`. Must be the precision of the reference profile.
    """

    floor: float
    max_error: float
    sites: bool
    precision: str


@dataclass(frozen=True)
class Blocks:
    """Size of the blocks that are computed at once. It changes results only through the rounding of the model.

    Attributes
    ----------
    cells
        Cells predicted at once.
    max_bytes
        Memory limit, in bytes, of the dense arrays of all blocks in work. Their number is that of PyTorch's threads
        plus one. The counts of all cells may take four times this limit. A block fills at least one tile, even above
        the limit. The number of windows per block follows from the limit and the sample; it does not depend on the
        shard.
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
    """Predict P(bound) for one shard of a sample's passing cells in all windows; write the shard to ``output``.

    The file holds the sparse binding per TF (:class:`scbind.binding.shards.Shard`) and the activity of the cells of the
    shard (:meth:`scbind.binding.activitysums.ActivitySums.kept`). A shard may be empty if there are more shards than
    blocks of cells.

    Parameters
    ----------
    files
        The files of the network, the windows and the reference.
    sample
        ``position``, ``cell`` and ``cells``: paths of the sample's insertions and of ``lenders.h5ad``.
    profile
        ``reference.npz`` of :func:`scbind.binding.referenceprofile.reference_profile`.
    output
        The ``{shard}.npz`` file to write.
    options, blocks
        What is stored, and the size of the blocks.
    shard, n_shards
        Index of this shard (from 0) and number of shards. The results of a cell do not depend on them.
    device
        Device of the network: ``"cpu"`` or ``"cuda"``.

    Raises
    ------
    InputError
        If ``shard`` is out of range, the files do not belong together, or the memory of the GPU does not suffice.
    """
    if not 0 <= shard < n_shards:
        raise InputError("config", f"there is no shard {shard} of {n_shards}", "number the shards from 0")
    network = Network.open(files, device, options.precision)
    genome, predictor = network.genome, network.predictor
    cells = SampleCells.open(**sample, sizes=genome.sizes, known=genome.known_lengths())
    rows = _rows_of_shard(cells.passing, shard, n_shards, blocks.cells)
    depth = cells.depth(rows).astype(np.float32)
    sums = ActivitySums(Profile.load(profile, network.made_with), depth, predictor.n_assayed)
    with ShardWriter(predictor.tfs, options.floor, output, options.max_error, options.sites) as writer:
        if len(rows):
            n_windows = _windows_at_once(network, cells, len(sums.profile.background), blocks)
            _predict(network, cells, rows, depth, sums, writer, n_windows, blocks.cells)
        reliability = json.dumps(predictor.reliability or {})
        extra = {"depth": depth, "reliability": np.str_(reliability), **sums.kept()}
        made_with = json.dumps(network.made_with | digests(reference=profile))
        writer.finish(rows, len(network.windows), extra, made_with)
    say(f"binding of {len(predictor.tfs)} TFs in {len(rows):,} cells and {len(network.windows):,} windows")


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
    """Predict the cells ``rows`` in blocks of ``n_cells`` and ``n_windows``. Add each block to sums and writer."""
    windows, bin_bp, context = network.windows, network.predictor.bin_bp, network.contexts
    borrow, core = cells.borrow[rows], _core_bins(windows, bin_bp)
    signal, only = cells.lenders(rows, context, windows.context, writer.folder)
    firsts, progress = range(0, len(rows), n_cells), Progress("windows", len(windows))
    for part in window_blocks(len(windows), n_windows):
        counts = signal.counts(context[part], windows.context, bin_bp, only, np.float32)
        weights, readout = sums.weights(part.start, part.stop), network.readout(part)

        def predict(first: int, counts=counts, readout=readout) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            here = slice(first, first + n_cells)
            mine = borrowed(counts, borrow[here], network.n_bins)
            probability = network.probabilities(readout, mine, depth[here])
            return probability, mine.sum(axis=2), mine[:, :, core].any(axis=2)

        for first, (probability, insertions, seen) in zip(firsts, in_threads(predict, firsts), strict=True):
            writer.add(first, part.start, probability)
            sums.add(first, part.start, probability, insertions, weights, seen)
        progress.reached(part.stop)


def _rows_of_shard(passing: np.ndarray, shard: int, n_shards: int, n_cells: int) -> np.ndarray:
    """Return the passing cells of a shard: whole blocks of ``n_cells``. There may be none."""
    begins = np.array_split(np.arange(0, len(passing), n_cells), n_shards)[shard]
    return np.concatenate([passing[b : b + n_cells] for b in begins] or [np.zeros(0, np.int64)])


def _windows_at_once(network: Network, cells: SampleCells, draws: int, blocks: Blocks) -> int:
    """Return the windows per block that keep all blocks in work within the memory limit."""
    insertions = cells.signal.within(network.contexts, network.windows.context) / len(network.windows)
    shape = network.n_bins, len(network.predictor.tfs), draws
    number = min(
        _window_block(blocks.max_bytes / in_flight(), blocks.cells, *shape),
        _signal_block(blocks.max_bytes, insertions),
    )
    return max(number, network.predictor.tile[0])  # whole tiles are computed, so less would save nothing


def _core_bins(chosen: Windows, bin_bp: int) -> slice:
    """Return the bins of the context that share a base with the window."""
    flank = (chosen.context - chosen.window) // 2
    return slice(flank // bin_bp, -(-(flank + chosen.window) // bin_bp))


def _window_block(max_bytes: float, cells: int, bins: int, tfs: int, draws: int) -> int:
    """Return the windows per block that the memory limit of the dense arrays allows.

    The arrays are the counts (twice), the probabilities (32 bytes each, with copies) and the background weights.
    The result is a power of two, so that blocks fill the batches of fixed size of a network.
    """
    per_window = cells * (8 * bins + 32 * tfs) + 16 * draws * tfs
    return _power(max_bytes / per_window)


def _signal_block(max_bytes: int, insertions: float) -> int:
    """Return the windows per block whose counts fit in memory. ``insertions``: mean per window, all cells together."""
    return _power(SIGNAL_SHARE * max_bytes / max(insertions * SIGNAL_BYTES, 1))


def _power(number: float) -> int:
    """Return the largest power of two that is not above ``number``, but at least 1."""
    return 1 << (max(1, int(number)).bit_length() - 1)
