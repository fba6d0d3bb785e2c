"""Write the training data: arrays that :class:`scbind.dataset.trainingset.TrainingSet` maps, with a manifest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from scbind.core.errors import InputError
from scbind.core.files import atomic, file_sha256
from scbind.core.runlog import say
from scbind.dataset.codes import BOUND, NOT_ASSAYED
from scbind.dataset.labels import assay_table, grid_windows, label_windows
from scbind.dataset.splits import TRAIN, UNUSED, assign_splits
from scbind.dataset.trainingset import FORMAT
from scbind.formats.genome import Genome
from scbind.formats.insertions import read_fragments, read_insertions, read_regions
from scbind.formats.intervals import read_bed, read_narrowpeak
from scbind.formats.overlaps import covered_bases
from scbind.formats.signal import rank


def build_dataset(
    reference: str | Path,
    tracks: dict[str, str],
    peaks: dict[str, str],
    chip: list[dict],
    splits: dict[str, list[str] | None],
    output: str | Path,
    window: int = 200,
    step: int = 200,
    context: int = 1000,
    min_mappability: float | None = None,
    regions: dict[str, str] | None = None,
    fragments: dict[str, str] | None = None,
) -> None:
    """Write a dataset folder: windows, labels, splits, open chromatin and insertions of each line.

    Parameters
    ----------
    reference
        ``results/reference/{genome}``.
    tracks, peaks
        Per cell line, the insertion bigWig and the ATAC narrowPeak.
    chip
        One dict per assay: ``cell_line``, ``tf``, ``path``, and ``relaxed`` (a path or ``None``).
    splits
        Rules of :mod:`scbind.dataset.splits`.
    output
        Folder; written whole or not at all.
    window, step, context
        Geometry in bp. With a ``step`` that is a part of ``window``, windows overlap, but only in training: the
        evaluation stays on those that start at multiples of ``window``.
    min_mappability
        Least mean mappability (0 to 1) of a window's context; ``None``: mappability is not looked at, and models
        do not see it. Over the context and not the window, because that is where insertions are counted: none
        where reads cannot map looks like closed chromatin.
    regions
        Per cell line the ``track.json`` that says where its track speaks
        (:func:`scbind.formats.insertions.read_regions`). Depth
        is taken there, and only windows whose context lies inside are used: outside, nothing known looks like
        closed chromatin. ``None``: each track speaks for the whole genome.
    fragments
        Per cell line the file that says which fragment each insertion of its track is of
        (:func:`scbind.formats.insertions.read_fragments`). ``None``: each insertion is on its own.

    Raises
    ------
    InputError
        On a bad input file, an empty or overlapping split, or a TF with no bound training window anywhere.
    """
    genome = Genome.open(reference)
    chroms = list(genome.sizes.names)
    lines = sorted(tracks)
    tfs, assayed = assay_table(chip, lines)
    exclude = read_bed(Path(reference) / "exclude.bed", genome.sizes)
    chrom, start = grid_windows(genome, exclude, window, step, context)
    if min_mappability is not None:
        keep = genome.mean_mappability(chrom, start - (context - window) // 2, context) >= min_mappability
        say(f"{int((~keep).sum()):,} windows left out for their mappability")
        chrom, start = chrom[keep], start[keep]
    if not len(chrom):
        raise InputError(
            reference,
            "no usable window",
            "check the genome, the exclusion list and dataset.min_mappability",
        )
    say(f"{len(chrom):,} windows of {window} bp, {len(lines)} cell lines, {len(tfs)} TFs")

    with atomic(output) as folder:
        folder.mkdir()
        np.savez(folder / "windows.npz", chrom=chrom, start=start)
        context_start = genome.sizes.offsets[chrom] + start - (context - window) // 2
        depths, is_open = {}, np.zeros((len(lines), len(chrom)), dtype=bool)
        usable = np.zeros_like(is_open)
        for row, line in enumerate(lines):
            positions = read_insertions(tracks[line], genome.sizes)
            np.save(folder / f"insertions.{line}.npy", positions)
            owner = read_fragments(fragments[line] if fragments else None, len(positions))
            np.save(folder / f"fragments.{line}.npy", owner)
            speaks = read_regions(regions[line] if regions else None, genome.sizes)
            depth = _depth(positions, speaks, genome)
            depths[line] = dict(zip(chroms, depth.tolist(), strict=False))
            usable[row] = (depth[chrom] > 0) & _inside(context_start, context, speaks)
            is_open[row] = (
                covered_bases(read_narrowpeak(peaks[line], genome.sizes), chroms, chrom, start, window) > 0
            )
            say(f"{line}: {len(positions):,} insertions, {int(is_open[row].sum()):,} open windows")
        np.save(folder / "open.npy", is_open)

        labels = np.lib.format.open_memmap(
            folder / "labels.npy", mode="w+", dtype=np.int8, shape=(len(lines), len(chrom), len(tfs))
        )
        labels[:] = NOT_ASSAYED
        for assay in chip:
            relaxed = read_narrowpeak(assay["relaxed"], genome.sizes) if assay.get("relaxed") else None
            bound = read_narrowpeak(assay["path"], genome.sizes)
            labels[lines.index(assay["cell_line"]), :, tfs.index(assay["tf"])] = label_windows(
                bound, relaxed, chroms, chrom, start, window
            )
        labels.flush()
        usable &= assayed.any(axis=1)[:, None]
        split = assign_splits(splits, lines, chroms, chrom, start, window, usable, context)
        if step < window and window % step == 0:
            split[(split > TRAIN) & (start % window > 0)] = UNUSED
        np.save(folder / "splits.npy", split)
        bound_train = _bound_train(labels, split)
        for tf, count in zip(tfs, bound_train, strict=True):
            if count == 0:
                say(f"WARNING {tf}: no bound window in the training split; it is not modelled")
        if not (bound_train > 0).any():
            raise InputError(
                "config", "no TF has a bound training window", "widen splits.train", "splits.train"
            )
        manifest = {
            "format": FORMAT,
            "genome": genome.name,
            "chromosomes": genome.sequenced,
            "window": window,
            "step": step,
            "context": context,
            "min_mappability": min_mappability,
            "cell_lines": lines,
            "tfs": tfs,
            "assayed": assayed.tolist(),
            "depth": depths,
            "splits": splits,
            "bound_train": dict(zip(tfs, np.asarray(bound_train).tolist(), strict=True)),
            "normalisation": "insertion counts with depth (insertions per covered known base) beside them",
            "sha256": {f.name: file_sha256(f) for f in sorted(folder.iterdir())},
        }
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))


def _bound_train(labels: np.ndarray, split: np.ndarray, block: int = 1_000_000) -> np.ndarray:
    """Bound training windows of each TF over all lines, int64 (TFs,); ``block`` windows in memory at a time."""
    total = np.zeros(labels.shape[2], dtype=np.int64)
    for row in range(len(labels)):
        for begin in range(0, labels.shape[1], block):
            rows = slice(begin, begin + block)
            bound = (labels[row, rows] == BOUND) & (split[row, rows] == TRAIN)[:, None]
            total += bound.sum(axis=0)
    return total


def _depth(positions: np.ndarray, regions: np.ndarray, genome: Genome) -> np.ndarray:
    """Insertions per known base inside a track's regions: float64 (chromosomes with sequence,)."""
    per_region = np.diff(rank(positions, regions), axis=1)[:, 0]
    inside = np.zeros(len(genome.sizes.names), dtype=np.int64)
    np.add.at(inside, np.searchsorted(genome.sizes.offsets, regions[:, 0], side="right") - 1, per_region)
    return (inside / np.maximum(genome.known_lengths(regions), 1))[: genome.n_sequenced]


def _inside(start: np.ndarray, width: int, regions: np.ndarray) -> np.ndarray:
    """Bool (windows,): windows of ``width`` bp from ``start`` (global) on that lie wholly inside one region."""
    if not len(regions):
        return np.zeros(len(start), dtype=bool)
    row = np.searchsorted(regions[:, 0], start, side="right") - 1
    return (row >= 0) & (start + width <= regions[row, 1])
