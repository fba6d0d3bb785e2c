"""Write the training data: arrays that :class:`scbind.dataset.trainingset.TrainingSet` maps, with a manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from scbind.core.errors import InputError
from scbind.core.files import atomic, file_sha256
from scbind.core.runlog import say
from scbind.dataset.codes import BOUND, FEW_BOUND
from scbind.dataset.labels import assay_table, grid_windows, join_labels, label_windows
from scbind.dataset.seen import (
    is_same_assembly,
    same_lines,
    seen_windows,
    similar_lines,
    with_extended,
)
from scbind.dataset.sparselabels import FILES, SparseLabels
from scbind.dataset.splits import TEST, TRAIN, UNUSED, VALID, assign_splits
from scbind.dataset.trainingset import FORMAT
from scbind.formats.evidence import assayed_tfs
from scbind.formats.genome import Genome
from scbind.formats.geometry import Geometry
from scbind.formats.insertions import read_fragments, read_insertions, read_regions
from scbind.formats.intervals import read_bed, read_called, read_peaks
from scbind.formats.overlaps import covered_bases
from scbind.formats.signal import rank


@dataclass(frozen=True)
class LineFiles:
    """Files of a cell line's ATAC-seq.

    Attributes
    ----------
    track, peaks
        bigWig of insertions; narrowPeak of open chromatin.
    regions
        The ``track.json`` with the regions that the track covers (:func:`scbind.formats.insertions.read_regions`).
        Depth is measured there, and only windows whose context lies inside are used: outside, missing data would look
        like closed chromatin. ``None``: the track covers the whole genome.
    fragments
        The file with the fragment of each insertion (:func:`scbind.formats.insertions.read_fragments`).
        ``None``: each insertion counts as a fragment of its own.
    """

    track: str | Path
    peaks: str | Path
    regions: str | Path | None = None
    fragments: str | Path | None = None


def build_dataset(
    reference: str | Path,
    lines: dict[str, LineFiles],
    chip: list[dict],
    splits: dict[str, list[str] | None],
    geometry: Geometry,
    output: str | Path,
    *,
    training: bool = True,
    given: Mapping[str, Mapping] | None = None,
    extended: Mapping[str, Mapping] | None = None,
    experiments: str = "any",
) -> None:
    """Write a dataset folder: windows, labels, splits, open chromatin and insertions of each line.

    Parameters
    ----------
    reference
        ``results/reference/{genome}``.
    lines
        Files by the name of the cell line.
    chip
        One dict per experiment: ``cell_line``, ``tf``, ``path``, and ``relaxed`` (a path or ``None``).
    splits
        Rules of :mod:`scbind.dataset.splits`.
    geometry
        Of the windows. With a ``step`` that is a part of ``window``, windows overlap, but only in training: the
        evaluation stays on those that start at multiples of ``window``.
    output
        Folder; written whole or not at all.
    training
        Whether a model is to be trained on it. If not, only the test split must hold windows.
    given
        Name -> facts of models that were trained elsewhere. Windows that their training saw are removed from the test
        split, so that all models are tested on the same windows.
    extended
        Name -> facts of models that a model trained on this dataset extends. Windows that they were trained on are
        removed from the validation split, too.
    experiments
        How several experiments of one line and TF are joined; see :func:`scbind.dataset.labels.join_labels`.

    Raises
    ------
    InputError
        On a bad input file, an empty or overlapping split, or if no TF has a bound window in training or validation.
    """
    genome = Genome.open(reference)
    tfs, assayed = assay_table(chip, sorted(lines))
    grid = Grid(genome, geometry, *_usable_windows(genome, geometry))
    say(f"{len(grid.chrom):,} windows of {geometry.window} bp, {len(lines)} cell lines, {len(tfs)} TFs")
    with atomic(output) as folder:
        folder.mkdir()
        np.savez(folder / "windows.npz", chrom=grid.chrom, start=grid.start)
        usable, depths = _write_signal(folder, lines, grid)
        labels = _write_labels(folder, chip, sorted(lines), tfs, assayed, grid, experiments)
        usable &= assayed.any(axis=1)[:, None]
        models = given or {}, extended or {}
        split = _write_splits(folder, splits, sorted(lines), grid, usable, training, *models)
        manifest = {
            "format": FORMAT,
            "genome": genome.name,
            "chromosomes": genome.sequenced,
            **asdict(geometry),
            "cell_lines": sorted(lines),
            "tfs": tfs,
            "assayed": assayed.tolist(),
            "depth": depths,
            "splits": splits,
            "extends": list((extended or {}).values()),
            "bound_train": (
                _count_bound(tfs, labels, split, extended or {}) if training else dict.fromkeys(tfs, 0)
            ),
            "normalisation": "insertion counts with depth (insertions per covered known base) beside them",
            "sha256": {f.name: file_sha256(f) for f in sorted(folder.iterdir())},
        }
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))


@dataclass(frozen=True)
class Grid:
    """The windows of a dataset: ``chrom`` int32 index and ``start`` int32 (0-based) of each, shape (windows,)."""

    genome: Genome
    geometry: Geometry
    chrom: np.ndarray
    start: np.ndarray

    @property
    def chroms(self) -> list[str]:
        """Names that ``chrom`` counts."""
        return list(self.genome.sizes.names)

    def covered(self, peaks: pd.DataFrame) -> np.ndarray:
        """Bases of each window that peaks cover."""
        return covered_bases(peaks, self.chroms, self.chrom, self.start, self.geometry.window)


def _usable_windows(genome: Genome, geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Chromosome and start of windows on the grid, without those that reads do not map to."""
    exclude = read_bed(genome.folder / "exclude.bed", genome.sizes)
    chrom, start = grid_windows(genome, exclude, geometry.window, geometry.step, geometry.context)
    if geometry.min_mappability is not None:
        mean = genome.mean_mappability(chrom, start - geometry.flank, geometry.context)
        keep = mean >= geometry.min_mappability
        say(f"{int((~keep).sum()):,} windows left out because of low mappability")
        chrom, start = chrom[keep], start[keep]
    if not len(chrom):
        remedy = "check the genome, the exclusion list and dataset.min_mappability"
        raise InputError(genome.folder, "no usable window", remedy)
    return chrom, start


def _write_signal(folder: Path, lines: dict[str, LineFiles], grid: Grid) -> tuple[np.ndarray, dict]:
    """Write insertions, fragments and open windows of each line.

    Returns bool (lines, windows), where a line has signal; its insertions per base by chromosome.
    """
    genome, geometry = grid.genome, grid.geometry
    context_start = genome.sizes.offsets[grid.chrom] + grid.start - geometry.flank
    depths, is_open = {}, np.zeros((len(lines), len(grid.chrom)), dtype=bool)
    usable = np.zeros_like(is_open)
    for row, (line, files) in enumerate(sorted(lines.items())):
        positions = read_insertions(files.track, genome.sizes)
        np.save(folder / f"insertions.{line}.npy", positions)
        np.save(folder / f"fragments.{line}.npy", read_fragments(files.fragments, len(positions)))
        covered = read_regions(files.regions, genome.sizes)
        depth = _depth(positions, covered, genome)
        depths[line] = dict(zip(grid.chroms, depth.tolist(), strict=False))
        usable[row] = (depth[grid.chrom] > 0) & _inside(context_start, geometry.context, covered)
        is_open[row] = grid.covered(read_called(files.peaks, genome.sizes)) > 0
        say(f"{line}: {len(positions):,} insertions, {int(is_open[row].sum()):,} open windows")
    np.save(folder / "open.npy", is_open)
    return usable, depths


def _write_labels(
    folder: Path,
    chip: list[dict],
    lines: list[str],
    tfs: list[str],
    assayed: np.ndarray,
    grid: Grid,
    experiments: str,
) -> SparseLabels:
    """Write and return the labels. Also write the summits of all peaks."""
    pairs: dict[tuple[str, str], list[dict]] = {}
    for assay in chip:
        pairs.setdefault((assay["cell_line"], assay["tf"]), []).append(assay)
    shape = len(lines), len(grid.chrom), len(tfs)
    none = np.empty(0, dtype=np.int64)
    places: dict[int, list[np.ndarray]] = {code: [none] for code in FILES}
    summits = [[none for _ in tfs] for _ in lines]
    for (line, tf), assays in pairs.items():
        row, column = lines.index(line), tfs.index(tf)
        each, tops = zip(*(_label_experiment(assay, grid) for assay in assays), strict=True)
        joined = join_labels(each, experiments)
        for code, found in places.items():
            found.append(np.ravel_multi_index((row, np.flatnonzero(joined == code), column), shape))
        summits[row][column] = np.unique(np.concatenate(tops))
        if len(each) > 1:
            bound = [int((one == BOUND).sum()) for one in (*each, joined)]
            shown = ", ".join(f"{count:,}" for count in bound[:-1])
            say(f"{tf} of {line}: {len(each)} experiments with {shown} bound windows; {bound[-1]:,} joined")
    labels = SparseLabels(
        {code: np.sort(np.concatenate(found)) for code, found in places.items()}, assayed, len(grid.chrom)
    )
    labels.save(folder)
    flat = [each for row in summits for each in row]
    np.save(folder / "summits.npy", np.concatenate([none, *flat]))
    np.save(folder / "first_summit.npy", np.cumsum([0, *map(len, flat)], dtype=np.int64))
    return labels


def _label_experiment(assay: dict, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Labels of one experiment, int8 (windows,), and the summits of its peaks, int64, counted over the genome."""
    sizes = grid.genome.sizes
    bound, relaxed = (
        read_peaks(assay[kind], sizes) if assay.get(kind) else None for kind in ("path", "relaxed")
    )
    offset = sizes.offsets[pd.Index(sizes.names).get_indexer(bound["chrom"])]
    summits = offset + (bound["start"] + bound["summit"]).to_numpy()
    where = grid.chroms, grid.chrom, grid.start, grid.geometry.window
    return label_windows(bound, relaxed, *where), summits


def _write_splits(
    folder: Path,
    rules: dict,
    lines: list[str],
    grid: Grid,
    usable: np.ndarray,
    training: bool,
    given: Mapping[str, Mapping],
    extended: Mapping[str, Mapping],
) -> np.ndarray:
    """Write and return the splits, uint8 (lines, windows); windows that overlap only train."""
    window, step = grid.geometry.window, grid.geometry.step
    where = grid.chroms, grid.chrom, grid.start, window
    split = assign_splits(rules, lines, *where, usable, grid.geometry.context, training)
    if step < window and window % step == 0:
        split[(split > TRAIN) & (grid.start % window > 0)] = UNUSED
    for name, facts in [*given.items(), *extended.items()]:
        for each in with_extended(facts):
            _take_out_seen(split, each.get("name", name), each, lines, grid, name in extended)
    np.save(folder / "splits.npy", split)
    return split


def _take_out_seen(
    split: np.ndarray, name: str, facts: Mapping, lines: list[str], grid: Grid, extended: bool
) -> None:
    """Remove windows that the training of another model saw from the test split, in place.

    If the model is ``extended`` here, windows that it was trained on are also removed from the validation split: they
    would make every epoch, and the probabilities, look better than they are.
    """
    if not is_same_assembly(facts, grid.genome.name, grid.genome.sequenced):
        say(
            f"WARNING {name} was trained on {facts['genome']}. Which of the test windows its training saw there is not "
            "known, so the accuracy measured here may be too high"
        )
        return
    known = facts["cell_lines"]
    if new := [line for line in lines if not same_lines(line, known)]:
        say(f"new to {name}, which has {', '.join(known)}: {', '.join(new)}")
    for line in new:
        if similar := similar_lines(line, known):
            say(
                f"WARNING {line} counts as another line than {', '.join(similar)} of {name}; if it is the same, rename "
                "it, or windows of the training count as held out"
            )
    start = grid.start - grid.geometry.flank
    where = grid.chroms, grid.chrom, start, grid.geometry.context
    seen = seen_windows(facts, lines, *where) & (split == TEST)
    split[seen] = UNUSED
    say(f"{int(seen.sum()):,} test windows left out because the training of {name} saw them")
    if not (split == TEST).any():
        problem = f"the training of {name} saw every test window"
        remedy = "test lines or chromosomes that its card lists as held out"
        remedy += "" if extended else ", or leave splits.test empty"
        raise InputError("config", problem, remedy, "splits.test")
    if extended:
        seen = seen_windows(facts, lines, *where, validated=False) & (split == VALID)
        split[seen] = UNUSED
        say(f"{int(seen.sum()):,} validation windows left out because {name} was trained on them")
        if seen.any() and not (split == VALID).any():
            problem = f"{name} was trained on every validation window"
            remedy = "validate on lines or chromosomes that its card lists as validation or held out"
            raise InputError("config", problem, remedy, "splits.valid")


def _count_bound(
    tfs: list[str], labels: SparseLabels, split: np.ndarray, extended: Mapping[str, Mapping]
) -> dict[str, int]:
    """Bound training windows of each TF. Warnings say which TFs have none, or few in validation.

    ``extended``: facts of models that are extended; they predict their TFs in any case.

    Raises :class:`InputError` if no TF has any in training, or none of those that have has any in validation.
    """
    train, valid = _bound_in((TRAIN, VALID), labels, split)
    known = {tf.casefold() for facts in extended.values() for tf in assayed_tfs(facts)}
    for tf, count in zip(tfs, train, strict=True):
        if count == 0:
            then = "it is predicted as by the bundle" if tf.casefold() in known else "it is not modelled"
            say(f"WARNING {tf}: no bound window in the training split; {then}")
    if not train.any():
        problem = "no TF has a bound training window"
        raise InputError("config", problem, "widen splits.train", "splits.train")
    if not valid[train > 0].any():
        problem = "no TF with a bound training window has a bound validation window"
        raise InputError("config", problem, "widen splits.valid", "splits.valid")
    few = [f"{tf} ({valid[row]})" for row, tf in enumerate(tfs) if train[row] and valid[row] < FEW_BOUND]
    if few:
        problem = (
            f"fewer than {FEW_BOUND} bound validation windows, so scbind will abstain; widen splits.valid"
        )
        say(f"WARNING {', '.join(few)}: {problem}")
    return dict(zip(tfs, train.tolist(), strict=True))


def _bound_in(parts: Sequence[int], labels: SparseLabels, split: np.ndarray) -> np.ndarray:
    """Bound windows of each TF in some splits, over all lines: int64 (parts, TFs)."""
    total = np.zeros((len(parts), labels.shape[2]), dtype=np.int64)
    for line, here in enumerate(split):
        window, tf = labels.bound(line, slice(None))
        for number, part in enumerate(parts):
            total[number] += np.bincount(tf[here[window] == part], minlength=labels.shape[2])
    return total


def _depth(positions: np.ndarray, regions: np.ndarray, genome: Genome) -> np.ndarray:
    """Insertions per known base inside a track's regions: float64 (chromosomes with sequence,); 0 if there is none."""
    per_region = np.diff(rank(positions, regions), axis=1)[:, 0]
    inside = np.zeros(len(genome.sizes.names), dtype=np.int64)
    np.add.at(inside, np.searchsorted(genome.sizes.offsets, regions[:, 0], side="right") - 1, per_region)
    known = genome.known_lengths(regions)
    return np.where(known > 0, inside / np.maximum(known, 1), 0)[: genome.n_sequenced]


def _inside(start: np.ndarray, width: int, regions: np.ndarray) -> np.ndarray:
    """Bool (windows,): windows of ``width`` bp from ``start`` (global) on that lie wholly inside one region."""
    if not len(regions):
        return np.zeros(len(start), dtype=bool)
    row = np.searchsorted(regions[:, 0], start, side="right") - 1
    return (row >= 0) & (start + width <= regions[row, 1])
