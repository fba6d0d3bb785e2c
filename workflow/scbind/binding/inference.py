"""From windows and cells to P(bound): sequence once per window, signal per cell, in blocks of bounded size.

A cell's numbers come from its own (borrowed) counts alone. Shards are cut between blocks of ``cell_block``
passing cells, so that the model is fed the same blocks, and the results are the same, whatever the number of
shards.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from scbind.binding.activity import P_STEPS, ActivitySums, Profile, depth_levels, matched_background
from scbind.binding.samplecells import SampleCells, open_samples
from scbind.binding.shards import ShardWriter
from scbind.binding.windows import Windows
from scbind.core.devices import enough_gpu_memory, in_flight, in_threads
from scbind.core.errors import InputError
from scbind.core.files import atomic, begin_npy, digests, require
from scbind.core.runlog import say
from scbind.formats.genome import Genome
from scbind.formats.signal import borrowed, n_bins, window_blocks
from scbind.formats.thinning import thinned_borrowed

SIGNAL_BYTES = 32  # of an insertion while it is counted: as a triple, and as an entry of a csr
SIGNAL_SHARE = 4  # bytes that the counts of a block may take, per byte of its dense arrays
REFERENCE_CELLS = (
    256  # in the profile, at each depth; with 64 of the example's 399, rare types are left to chance
)
ABOUT = 0.8  # a cell of this share of a depth, or deeper, can show what cells of the depth show


@enough_gpu_memory()
def sequence_readout(
    checkpoint, windows, reference_dir, output, batch: int = 256, device: str = "cpu"
) -> None:
    """Run the sequence trunk once per window; write ``readout.npy`` (windows, ...), in the model's dtype.

    The array is written block by block. ``readout.json`` beside it holds digests of checkpoint and
    windows, so that it is not taken for that of others. Raises :class:`InputError` where the windows were
    cut for another geometry than the model's.
    """
    from scbind.models.predictor import load_predictor

    genome, chosen = Genome.open(reference_dir), Windows.load(windows)
    predictor = load_predictor(checkpoint, None, device, genome=genome)
    _check_geometry(predictor, chosen, windows, checkpoint)
    start = chosen.start.astype(np.int64) - (chosen.context - chosen.window) // 2
    with atomic(output) as scratch, open(scratch, "wb") as handle:
        for block in window_blocks(len(chosen), batch):
            part = np.ascontiguousarray(predictor.read_windows(genome, chosen.chrom[block], start[block]))
            shape = (len(chosen), *part.shape[1:])
            if not block.start:
                begin_npy(handle, part.dtype, shape)
            handle.write(part.tobytes())
    with atomic(_key(output)) as scratch:
        scratch.write_text(json.dumps(digests(checkpoint=checkpoint, windows=windows)) + "\n")
    say(f"sequence readout of {len(chosen)} windows: {part.dtype} {shape}")


@enough_gpu_memory()
def reference_profile(
    checkpoint,
    calibration,
    readout,
    windows,
    samples: dict,
    reference_dir,
    output,
    draws: int = 50,
    seed: int = 0,
    block: int = 256,
    device: str = "cpu",
    precision: str = "float32",
) -> None:
    """Write ``reference.npz``: what cells of a depth show on average, and like windows to compare with.

    At each of :func:`scbind.binding.activity.depth_levels`, ``REFERENCE_CELLS`` cells are drawn from all those
    of all samples
    that are about as deep, or deeper, and what they borrowed is thinned to that depth. Not the deepest cells alone:
    these may be of one type, and would make what that type shows the measure of all.

    * ``binding``, ``total``, ``expected``, ``depth``: see :class:`scbind.binding.activity.Profile`;
    * ``accessibility`` float64 (windows,): insertions of all passing cells in the window, nothing borrowed;
    * ``background`` int32 (draws, windows): see :func:`scbind.binding.activity.matched_background`.

    Parameters
    ----------
    samples
        name -> ``{"position": path, "cell": path, "cells": path}``.
    draws, seed
        Number of background draws; the seed of these, of the cells and of their thinning.
    block
        Windows per block; no number depends on it.
    precision
        As of :class:`scbind.models.predictor.Predictor`; the shards need the same.
    """
    from scbind.models.predictor import load_predictor

    genome, chosen = Genome.open(reference_dir), Windows.load(windows)
    sizes = genome.sizes
    predictor = load_predictor(checkpoint, calibration, device, genome, precision)
    _check_geometry(predictor, chosen, windows, checkpoint)
    if draws < 2 or not samples:
        raise InputError(
            "config", f"{draws} draws over {len(samples)} samples", "give at least 2 draws and a sample"
        )
    opened = open_samples(samples, sizes, genome.known_lengths())
    n_cells = sum(len(s.passing) for s in opened)
    depths = np.concatenate([s.depth(s.passing) for s in opened])
    asked = depth_levels(depths)
    rng = np.random.default_rng(seed)
    order = rng.permutation(n_cells)
    each = [np.sort(order[depths[order] >= ABOUT * level][:REFERENCE_CELLS]) for level in asked]
    levels = np.array(
        [
            np.exp(np.log(np.minimum(depths[cells], level)).mean())
            for cells, level in zip(each, asked, strict=True)
        ]
    ).astype(np.float32)
    # the cells of all levels below each other: the insertions of a block of windows are then read once
    drawn, wanted = np.concatenate(each), np.repeat(asked, [len(cells) for cells in each])
    share = np.minimum(wanted / depths[drawn], 1)
    depth = (share * depths[drawn]).astype(np.float32)
    bounds = np.cumsum([0, *map(len, each)])
    # a cell's insertions at a level are among those at the next: what differs between levels is the depth, not the draw
    salt = rng.integers(2**64, size=n_cells, dtype=np.uint64)[drawn]
    lending, first = [], 0
    for sample in opened:
        mine = (drawn >= first) & (drawn < first + len(sample.passing))
        lending.append((sample.signal, mine, sample.borrow[sample.passing[drawn[mine] - first]]))
        first += len(sample.passing)
    trunk = _open_readout(readout, chosen, windows, checkpoint)
    bins = n_bins(chosen.context, predictor.bin_bp)
    context, core = chosen.global_context_starts(sizes), chosen.global_starts(sizes)
    binding = np.zeros((len(chosen), len(predictor.tfs)), dtype=np.float32)
    total = np.zeros((len(levels), len(chosen)))
    expected = np.zeros((len(levels), len(predictor.tfs)))
    accessibility = np.zeros(len(chosen))
    for part in window_blocks(len(chosen), block):
        for sample in opened:
            inside = sample.signal.counts(core[part], chosen.window, chosen.window)
            accessibility[part] += np.asarray(inside[sample.passing].sum(axis=0)).ravel()
        thinned = np.empty((len(drawn), part.stop - part.start, bins), dtype=np.float32)
        for signal, mine, lenders in lending:
            where = context[part], chosen.context, predictor.bin_bp
            thinned[mine] = thinned_borrowed(signal, lenders, *where, share[mine], salt[mine])
        sequence = np.asarray(trunk[part])

        def mean_of(cells: slice, sequence=sequence, thinned=thinned) -> np.ndarray:
            found = _probabilities(predictor, sequence, thinned[cells], depth[cells])
            return found.mean(axis=0, dtype=np.float64)

        each_level = map(slice, bounds[:-1], bounds[1:])
        for number, found in enumerate(in_threads(mean_of, each_level)):
            found = np.rint(found * P_STEPS) / P_STEPS  # sums are exact, in any order
            binding[part] += (found / len(levels)).astype(np.float32)
            total[number, part] = found.sum(axis=1)
            expected[number] += found.sum(axis=0)
    n_drawn = len(np.unique(drawn))
    with atomic(output) as scratch, open(scratch, "wb") as handle:
        np.savez(
            handle,
            binding=binding,
            total=total,
            expected=expected,
            depth=levels,
            accessibility=accessibility,
            background=matched_background(chosen.gc, accessibility, draws, seed),
            tfs=np.asarray(predictor.tfs, dtype=str),
            made_with=json.dumps(_made_with(checkpoint, calibration, windows, precision)),
            n_cells=np.int64(n_drawn),
        )
    said = ", ".join(f"{level:.3g}" for level in levels)
    say(
        f"reference profile of {n_drawn} of {n_cells} cells at {said} insertions per base, mean P {binding.mean():.3g}"
    )


@enough_gpu_memory()
def infer_shard(
    position,
    cell,
    cells,
    checkpoint,
    calibration,
    readout,
    windows,
    reference_dir,
    reference,
    output,
    shard: int,
    n_shards: int,
    floor: float = 0.1,
    max_error: float = 0.05,
    sites: bool = True,
    cell_block: int = 64,
    max_bytes: int = 1 << 28,
    device: str = "cpu",
    precision: str = "float32",
) -> None:
    """Predict P(bound) for one shard of a sample's passing cells in all windows; write ``{shard}.npz``.

    The file holds the sparse binding per TF (:class:`scbind.binding.shards.Shard`) and the activity of its cells
    (:meth:`scbind.binding.activity.ActivitySums.kept`). A shard may be empty when there are more shards than
    blocks of cells.

    Parameters
    ----------
    position, cell, cells
        The sample's insertions and ``cells.h5ad``.
    shard, n_shards
        Number of this shard (from 0) and of all. Results of a cell do not depend on them.
    floor
        Probabilities below it are not kept (they count in the activity all the same).
    max_error, sites
        By how much a kept probability may be wrong; whether any are kept at all.
    cell_block, max_bytes
        Cells predicted at once, and a bound for the dense arrays of all blocks that are worked on at a time, of which
        there is one more than PyTorch has threads; four times as much is left to the counts of all cells. On a GPU the
        blocks fill at least one tile, whatever the bound. The number of windows follows from them and from the sample,
        not from the shard.
        Results depend on them only as far as the model's rounding does.
    precision
        As of :class:`scbind.models.predictor.Predictor`, and that of the reference profile.
    """
    from scbind.models.predictor import load_predictor

    if not 0 <= shard < n_shards:
        raise InputError("config", f"shard {shard} of {n_shards}", "number shards from 0")
    genome, chosen = Genome.open(reference_dir), Windows.load(windows)
    sizes = genome.sizes
    predictor = load_predictor(checkpoint, calibration, device, genome, precision)
    _check_geometry(predictor, chosen, windows, checkpoint)
    sample = SampleCells.open(position, cell, cells, sizes, genome.known_lengths())
    trunk = _open_readout(readout, chosen, windows, checkpoint)
    made_with = _made_with(checkpoint, calibration, windows, precision)
    with np.load(require(reference, "run the reference profile first")) as npz:
        if "made_with" not in npz or json.loads(str(npz["made_with"])) != made_with:
            raise InputError(
                reference,
                "was made with other windows, another model or precision",
                "run the reference profile again",
            )
        profile = Profile(*(npz[name] for name in ("depth", "binding", "total", "expected")))
        background = npz["background"]
    blocks = np.array_split(np.arange(0, len(sample.passing), cell_block), n_shards)[shard]
    rows = np.concatenate([sample.passing[b : b + cell_block] for b in blocks] or [np.zeros(0, np.int64)])
    borrow = sample.borrow[rows]
    depth = sample.depth(rows).astype(np.float32)
    bins = n_bins(chosen.context, predictor.bin_bp)
    core = _core_bins(chosen, predictor.bin_bp)
    context = chosen.global_context_starts(sizes)
    sums = ActivitySums(profile, background, depth)
    window_block = min(
        _window_block(max_bytes / in_flight(), cell_block, bins, len(predictor.tfs), len(background)),
        _signal_block(max_bytes, sample.signal.within(context, chosen.context) / len(chosen)),
    )
    if device != "cpu":  # what does not fill a tile is computed all the same
        window_block = max(window_block, predictor.tile[0])
    with ShardWriter(predictor.tfs, floor, output, max_error, sites) as writer:
        signal, only = sample.lenders(rows, context, chosen.context, writer.folder)
        for part in window_blocks(len(chosen), window_block) if len(rows) else ():
            counts = signal.counts(context[part], chosen.context, predictor.bin_bp, only, np.float32)
            weights, sequence = sums.weights(part.start, part.stop), np.asarray(trunk[part])

            def predict(first: int, counts=counts, sequence=sequence) -> tuple[np.ndarray, np.ndarray]:
                here = slice(first, first + cell_block)
                mine = borrowed(counts, borrow[here], bins)
                return _probabilities(predictor, sequence, mine, depth[here]), mine[:, :, core].any(axis=2)

            firsts = range(0, len(rows), cell_block)
            for first, (probability, seen) in zip(firsts, in_threads(predict, firsts), strict=True):
                writer.add(first, part.start, probability)
                sums.add(first, part.start, probability, weights, seen)
            say(f"windows {part.stop}/{len(chosen)}")
        del signal  # some file systems do not remove what is mapped
        reliability = json.dumps(predictor.reliability or {})
        extra = {"depth": depth, "reliability": np.str_(reliability), **sums.kept()}
        writer.finish(rows, len(chosen), extra, json.dumps(made_with | digests(reference=reference)))


def _probabilities(predictor, readout, counts, depth) -> np.ndarray:
    """P(bound) of a block, float32 (cells, windows, TFs); a model that gives anything else is at fault."""
    probability = np.asarray(predictor.probabilities(readout, counts, depth), dtype=np.float32)
    if probability.shape != (*counts.shape[:2], len(predictor.tfs)):
        raise ValueError(f"the model gave {probability.shape} for {counts.shape[:2]} cells and windows")
    if not ((probability >= 0) & (probability <= 1)).all():  # also false for NaN
        raise ValueError("the model gave values that are no probabilities")
    return probability


def _check_geometry(predictor, chosen: Windows, windows, checkpoint) -> None:
    model = (predictor.window, predictor.context)
    if model != (chosen.window, chosen.context):
        raise InputError(
            windows,
            f"windows of {chosen.window} in {chosen.context} bp; {checkpoint} reads {model[0]} in {model[1]}",
            "choose the windows again with the model's geometry",
        )


def _made_with(checkpoint, calibration, windows, precision: str) -> dict:
    """What the reference and the shards of a run have in common."""
    files = digests(checkpoint=checkpoint, calibration=calibration, windows=windows)
    return files | {"precision": precision}


def _open_readout(readout, chosen: Windows, windows, checkpoint) -> np.ndarray:
    again = "run the sequence readout again"
    made_with = json.loads(require(_key(readout), again).read_text())
    trunk = np.load(require(readout, "run the sequence readout first"), mmap_mode="r")
    if made_with != digests(checkpoint=checkpoint, windows=windows) or len(trunk) != len(chosen):
        raise InputError(readout, f"was not made with {checkpoint} and {windows}", again)
    return trunk


def _key(readout) -> Path:
    """Where it is said what a readout was made with."""
    return Path(readout).with_suffix(".json")


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
