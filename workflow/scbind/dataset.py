"""The training data as memory-mapped arrays with a manifest."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from scbind.errors import InputError
from scbind.files import atomic, file_sha256, require
from scbind.genome import Genome
from scbind.labels import BOUND, NOT_ASSAYED, assay_table, covered_bases, grid_windows, label_windows
from scbind.peaks import read_bed, read_narrowpeak
from scbind.runlog import say
from scbind.signal import rank, track_counts
from scbind.splits import TRAIN, UNUSED, assign_splits
from scbind.thinning import thinned_counts
from scbind.tracks import read_fragments, read_insertions, read_regions

FORMAT = 3  # raise when the files of a dataset change meaning
# Facts of a model and of a dataset that have to be the same; in this order, because later ones name earlier ones.
COMPARED = (
    "chromosomes", "cell_lines", "tfs", "window", "context", "mappability", "splits", "assayed",
)  # fmt: skip


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
        Rules of :mod:`scbind.splits`.
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
        Per cell line the ``track.json`` that says where its track speaks (:func:`scbind.tracks.read_regions`). Depth
        is taken there, and only windows whose context lies inside are used: outside, nothing known looks like
        closed chromatin. ``None``: each track speaks for the whole genome.
    fragments
        Per cell line the file that says which fragment each insertion of its track is of
        (:func:`scbind.tracks.read_fragments`). ``None``: each insertion is on its own.

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


@dataclass(frozen=True)
class TrainingSet:
    """A dataset folder, memory-mapped.

    Attributes
    ----------
    chrom, start
        Chromosome index and 0-based start of each window, shape (windows,).
    labels
        int8 (lines, windows, TFs); see :mod:`scbind.labels`.
    splits
        uint8 (lines, windows); see :mod:`scbind.splits`.
    is_open
        bool (lines, windows).
    insertions
        Per line, sorted global positions, uint32.
    fragments
        Per line, the number of each insertion's fragment, uint32: the two ends of one share it.
    depth
        float32 (lines, chromosomes): insertions per known base of the regions that the line's track speaks for.
    """

    genome: Genome
    manifest: dict
    chrom: np.ndarray
    start: np.ndarray
    labels: np.ndarray
    splits: np.ndarray
    is_open: np.ndarray
    insertions: list[np.ndarray]
    fragments: list[np.ndarray]
    depth: np.ndarray

    @classmethod
    def open(cls, folder: str | Path, reference: str | Path) -> TrainingSet:
        """Open a dataset beside its genome; refuses a dataset made from another genome."""
        folder = Path(folder)
        manifest = json.loads(require(folder / "manifest.json", "run the dataset rule first").read_text())
        genome = Genome.open(reference)
        if manifest["format"] != FORMAT:
            raise InputError(folder, f"dataset format {manifest['format']}, expected {FORMAT}", "rebuild it")
        here = genome.sequenced
        if here != manifest["chromosomes"]:
            raise InputError(folder, "made from another genome", "rebuild the dataset")
        with np.load(folder / "windows.npz") as windows:
            chrom, start = windows["chrom"], windows["start"]
        lines = manifest["cell_lines"]
        depth = np.array([[manifest["depth"][line][c] for c in here] for line in lines], dtype=np.float32)
        return cls(
            genome,
            manifest,
            chrom,
            start,
            np.load(folder / "labels.npy", mmap_mode="r"),
            np.load(folder / "splits.npy", mmap_mode="r"),
            np.load(folder / "open.npy", mmap_mode="r"),
            [np.load(folder / f"insertions.{line}.npy", mmap_mode="r") for line in lines],
            [np.load(folder / f"fragments.{line}.npy", mmap_mode="r") for line in lines],
            depth,
        )

    def check_model(self, facts: dict, checkpoint: str | Path) -> None:
        """Raise :class:`InputError`, naming the first difference, if a model with these facts saw another dataset.

        The split counts: what a model was trained on is no holdout for it, whatever the dataset says now.
        """
        known = self.manifest | {"assayed": self.trained, "mappability": self.has_mappability}
        for key in COMPARED:
            there, here = (_comparable(key, each) for each in (facts, known))
            if here == there:
                continue
            if isinstance(here, int):
                what = f"{there}, not {here}"
            else:
                only = [", ".join(v for v in a if v not in b) for a, b in ((there, here), (here, there))]
                what = f"it alone has {only[0] or 'none'}, the dataset {only[1] or 'none'}"
            raise InputError(checkpoint, f"trained with other {key}: {what}", "train the model again")

    @property
    def lines(self) -> list[str]:
        """Names of the cell lines, the first axis of the arrays."""
        return self.manifest["cell_lines"]

    @property
    def tfs(self) -> list[str]:
        """Names of all TFs, the last axis of ``labels``."""
        return self.manifest["tfs"]

    @cached_property
    def trained(self) -> list[list[bool]]:
        """Of each line and TF, whether it was assayed and has windows to train on."""
        trains = [bool((row == TRAIN).any()) for row in self.splits]
        return [
            [bool(a) and some for a in row]
            for row, some in zip(self.manifest["assayed"], trains, strict=True)
        ]

    @property
    def has_mappability(self) -> bool:
        """Whether the windows were chosen, and models are to be trained, with the genome's mappability."""
        return self.manifest.get("min_mappability") is not None

    def codes(self, windows: np.ndarray, shift: np.ndarray | int = 0) -> np.ndarray:
        """Sequence of the context of windows, moved by ``shift`` bp: uint8 (windows, context)."""
        start = self.context_start(windows, shift)
        return self.genome.window_codes(self.chrom[windows], start, self.manifest["context"])

    def mappability(self, windows: np.ndarray, shift: np.ndarray | int = 0) -> np.ndarray | None:
        """Mappability of the same bases, times 255: uint8 (windows, context); ``None`` without it."""
        if not self.has_mappability:
            return None
        start = self.context_start(windows, shift)
        return self.genome.window_mappability(self.chrom[windows], start, self.manifest["context"])

    def counts(self, line: int, windows: np.ndarray, bin_bp: int, shift: np.ndarray | int = 0) -> np.ndarray:
        """Insertions of a line in the bins of the context: float32 (windows, context / bin)."""
        return track_counts(
            self.insertions[line], self._global_start(windows, shift), self.manifest["context"], bin_bp
        )

    def thinned_counts(
        self,
        line: int,
        windows: np.ndarray,
        bin_bp: int,
        shift: np.ndarray | int,
        keep: np.ndarray,
        salt: np.ndarray,
    ) -> np.ndarray:
        """As :meth:`counts`, of the fragments that a window's ``keep`` and ``salt`` leave (:mod:`scbind.thinning`)."""
        track = self.insertions[line], self.fragments[line]
        starts, width = self._global_start(windows, shift), self.manifest["context"]
        return thinned_counts(*track, starts, width, bin_bp, keep, salt)

    def window_depth(self, line: int, windows: np.ndarray) -> np.ndarray:
        """Depth of the line on the chromosome of each window: float32 (windows,), insertions per base."""
        return self.depth[line, self.chrom[windows]]

    def context_start(self, windows: np.ndarray, shift: np.ndarray | int = 0) -> np.ndarray:
        """Start of each context in its chromosome, int64; a shift never moves it over a chromosome end."""
        context = self.manifest["context"]
        start = self.start[windows].astype(np.int64) - (context - self.manifest["window"]) // 2 + shift
        return np.clip(start, 0, self.genome.sizes.lengths[self.chrom[windows]] - context)

    def _global_start(self, windows: np.ndarray, shift: np.ndarray | int) -> np.ndarray:
        return self.genome.sizes.offsets[self.chrom[windows]] + self.context_start(windows, shift)


def _comparable(key: str, known: dict) -> int | list[str]:
    """One fact of a model or a dataset as a number, or as words that can be listed."""
    value = known[key]
    if key == "chromosomes":
        return [f"{name} of {length} bp" for name, length in value.items()]
    if key == "splits":
        return sorted(f"{name} {rule}" for name in value for rule in value[name] or ["what is left"])
    if key == "assayed":
        names = [[f"{line} {tf}" for tf in known["tfs"]] for line in known["cell_lines"]]
        return [
            name for row, has in zip(names, value, strict=True) for name, a in zip(row, has, strict=True) if a
        ]
    return value
