"""Convert bulk ATAC-seq in four formats to one track: Tn5 insertions per base, shifted by +4/-5, with fragments."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np

from scbind.bulk.counts import CountCheck
from scbind.bulk.ends import ENOUGH_BASES, PAIRED, READERS, Ends
from scbind.bulk.shift import CORRECTION, FRAMES, LAGS, count_lags, estimate_frame
from scbind.core.errors import InputError
from scbind.core.files import atomic, begin_npy
from scbind.core.runlog import say
from scbind.core.scratch import scratch_folder
from scbind.formats.bigwigwriter import add_bases, create_bigwig
from scbind.formats.genome import ChromSizes
from scbind.formats.names import refuse_names

MOST_AT_A_BASE = 10_000_000  # insertions; in the deepest tracks, mitochondrial DNA has a hundredth of this
ENOUGH_ENDS = 2_000_000  # number of ends used to measure the shift; more ends do not change the result


def insertion_track(
    inputs: list[dict],
    sizes_path: str | Path,
    output_bw: str | Path,
    output_json: str | Path,
    output_fragments: str | Path,
) -> None:
    """Merge bulk ATAC inputs into one bigWig of Tn5 insertions per base.

    Parameters
    ----------
    inputs
        ``{"path", "format", "region"}`` each. Formats:

        * ``fragments``: both ends of every fragment, ``start`` and ``end - 1``. Each end is one insertion; the count
          column is ignored.
        * ``bam``: 5' ends of usable reads without duplicates, shifted by +4 (plus strand) and -5 (minus strand)
          unless the reads are already shifted.
        * ``insertions``: bigWig of counts per base. The strands are unknown, so positions are not changed.
        * ``coverage``: bigWig of fragment coverage. A step of +k at x means that k fragments start at x. A step of -k
          means that k fragments end there, which gives k insertions at x - 1. A start and an end at the same x cancel
          and are lost. If values are not whole numbers, the smallest step counts as one fragment. If they are whole,
          many, and all multiples of a number, that number counts as one. Tracks that are smoothed, averaged over bins,
          or made of items of one length are refused (:mod:`scbind.bulk.counts`).

        ``region`` (``chrom:start-end``, 0-based half-open) limits an input. Inputs with the same region are summed,
        and so are all inputs without one, such as replicates. Together, inputs without a region cover every chromosome
        on which at least one of them has data. Ends with another known shift are moved to +4/-5.
    sizes_path
        ``chrom.sizes``.
    output_bw
        bigWig, one entry per base with insertions, float counts.
    output_json
        ``inputs`` (with the measured shift), ``insertions`` per chromosome, ``total``, and ``regions``, the
        ``[chrom, start, end]`` that the inputs cover. Outside these regions nothing is known.
    output_fragments
        ``.npy``, uint32 (insertions,), in the order of :func:`read_insertions`: the number of the fragment of each
        insertion. The two ends of a line of a ``fragments`` file share a number, and so do the 5' ends of two proper
        mates of a ``bam``. Every other insertion has a number of its own, even if its other end is not in the track.
        Memory holds one chromosome.

    Raises
    ------
    InputError
        On an unreadable or malformed input, negative values, values that are smoothed or not multiples of one unit,
        chromosomes that are unknown or of another length, regions that overlap without being the same, two inputs
        with the same insertions, or no insertion at all.
    """
    sizes = ChromSizes.read(sizes_path)
    for item in inputs:
        if item.get("format") not in READERS:
            raise InputError(
                item["path"], f"unknown format {item.get('format')!r}", f"use one of {', '.join(READERS)}"
            )
    regions = [parse_region(item.get("region"), sizes, item["path"]) for item in inputs]
    with scratch_folder(output_bw, "inputs") as scratch:
        parts, facts = [], []
        for number, (item, region) in enumerate(zip(inputs, regions, strict=True)):
            part, fact = _read_input(item, region, sizes, scratch / str(number))
            parts.append(part)
            facts.append(fact)
        covered = _covered(inputs, regions, parts, sizes)
        totals = {
            name: sum(fact["insertions"].get(name, 0) for fact in facts)
            for name in sizes.names
            if any(name in part for part in parts)
        }
        total = sum(totals.values())
        if not total:
            raise InputError(inputs[0]["path"], "no insertion in any input", "check files and regions")
        with (
            atomic(output_json) as json_scratch,
            atomic(output_bw) as bw_scratch,
            atomic(output_fragments) as fragments_scratch,
        ):
            with create_bigwig(bw_scratch, sizes, total) as bw, open(fragments_scratch, "wb") as owners:
                begin_npy(owners, np.dtype(np.uint32), (total,))
                known = 0
                for name in totals:
                    position, fragment, known = _join([part[name] for part in parts if name in part], known)
                    base, count = np.unique(position, return_counts=True)
                    add_bases(bw, name, base.astype(np.int64), count)
                    owners.write(fragment)
            summary = {
                "inputs": facts,
                "insertions": totals,
                "total": total,
                "regions": covered,
            }
            json_scratch.write_text(json.dumps(summary, indent=2) + "\n")


def parse_region(text: str | None, sizes: ChromSizes, path) -> tuple[str, int, int] | None:
    """Parse ``chrom:start-end`` (0-based half-open); :class:`InputError` if malformed or outside the chromosome."""
    if not text:
        return None
    match = re.fullmatch(r"(\S+):(\d[\d,]{0,30})-(\d[\d,]{0,30})", text)
    if not match:
        raise InputError(path, f"region {text!r} is not chrom:start-end", "write it like chr20:0-1000000")
    name, start, end = match[1], *(int(match[i].replace(",", "")) for i in (2, 3))
    if name not in sizes.names:
        refuse_names(path, [name], sizes)
    if not start < end <= sizes.as_dict()[name]:
        raise InputError(path, f"region {text!r} is empty or beyond the chromosome", "correct the region")
    return name, start, end


def _read_input(item: dict, region, sizes: ChromSizes, folder: Path) -> tuple[dict[str, Path], dict]:
    """Read one input and save one uint32 array (2, insertions) per chromosome in ``folder``.

    Its rows are positions and numbers of fragments. The numbers begin at 0 on every chromosome.
    """
    folder.mkdir()
    path, kind = item["path"], item["format"]
    lags, looked, smallest, whole = np.zeros(len(LAGS), dtype=np.int64), 0, np.inf, True
    common = weighed = 0  # what all whole numbers are multiples of, and how many they are
    spilled, counts = {}, CountCheck(kind)
    for name, ends in READERS[kind](path, sizes, region):
        if not len(ends.of):
            continue
        if kind not in PAIRED:
            smallest = min(smallest, ends.of.min())
            whole = whole and bool(np.all(ends.of == np.round(ends.of)))
            if whole:
                exact = np.minimum(ends.of, 2**53).astype(np.int64)  # larger ones are refused below
                common = int(np.gcd.reduce(exact, initial=common))
                weighed += len(ends.of)
            counts.add(name, *_steps(ends), sizes.as_dict()[name])
        if looked < ENOUGH_ENDS:
            start, last = np.unique(ends.start), np.unique(ends.last)
            lags += count_lags(start, start if kind == "insertions" else last)
            looked += len(start) + len(last)
        spilled[name] = folder / f"{sizes.index(name)}.npz"
        np.savez(spilled[name], *ends)
    offset, evidence = estimate_frame(lags, kind)
    move = CORRECTION.get(offset, (4, -5) if kind == "bam" and offset is None else (0, 0))
    if kind == "insertions":
        move = (0, 0)
    unit = 1.0 if whole else counts.refine(float(smallest))
    if whole and common > 1 and weighed >= ENOUGH_BASES:
        unit = float(common)
    if kind not in PAIRED:
        counts.check(path, unit)
    if unit > 1 and whole:
        say(f"WARNING {path}: all steps are multiples of {common}, which counts as one fragment")
    elif not whole:
        say(
            f"WARNING {path}: values are not whole numbers; the smallest step, {unit:.6g}, counts as one fragment"
        )
    final, totals = {}, {}
    for name, file in spilled.items():
        with np.load(file) as stored:
            ends = Ends(*(stored[f"arr_{i}"] for i in range(3)))
        position, fragment = np.concatenate([ends.start + move[0], ends.last + move[1]]), ends.of
        if kind not in PAIRED:
            position = np.repeat(position, _whole(ends.of, unit, path, name, position))
            fragment = np.arange(len(position))
        low, high = region[1:] if region else (0, sizes.as_dict()[name])
        keep = (position >= low) & (position < high)
        if keep.any():
            final[name] = folder / f"{sizes.index(name)}.npy"
            np.save(final[name], np.stack([each[keep].astype(np.uint32) for each in (position, fragment)]))
            totals[name] = int(keep.sum())
    frame = _say_frame(path, kind, offset, move)
    fact = {"path": str(path), "format": kind, "region": item.get("region"), "frame": frame, "offset": offset}
    return final, fact | {"evidence": evidence, "correction": list(move), "unit": unit, "insertions": totals}


def _steps(ends: Ends) -> tuple[np.ndarray, np.ndarray]:
    """Return sorted places, int64, and the steps of a coverage, or the values of insertions: float64."""
    place = np.concatenate([ends.start, ends.last + 1])
    order = np.argsort(place, kind="stable")
    return place[order], np.where(order < len(ends.start), ends.of[order], -ends.of[order])


def _say_frame(path, kind: str, offset: int | None, move: tuple[int, int]) -> str:
    frame = "undetermined" if offset is None else FRAMES.get(offset, "unrecognised")
    if offset == 1:
        say(f"{path}: Tn5 shift {frame}")
    elif offset is None:
        done = "assuming no shift" if kind == "bam" else "assuming +4/-5"
        say(f"WARNING {path}: the Tn5 shift cannot be measured from these data; {done}")
    else:
        done = f"moved by {move[0]:+d}/{move[1]:+d}" if any(move) else "not moved"
        say(f"WARNING {path}: the Tn5 shift is {frame} (ends meet at {offset:+d} bp), not +4/-5; {done}")
    return frame


def _whole(weights: np.ndarray, unit: float, path, name: str, position: np.ndarray) -> np.ndarray:
    """Divide weights by the unit, int64; :class:`InputError` for a weight that is not a multiple, or too large."""
    ratio = weights / unit
    row = int(np.argmax(ratio))
    if ratio[row] > MOST_AT_A_BASE:
        raise InputError(
            path,
            f"{ratio[row]:.6g} insertions at one base (the value {weights[row]:g}, of which {unit:g} is one)",
            "give counts; the file may be damaged",
            f"{name}:{position[row]}",
        )
    count = np.round(ratio)
    wrong = np.abs(ratio - count) > 0.1
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(
            path,
            f"the step {weights[row]:.6g} is not a multiple of the smallest step, {unit:.6g}",
            "give counts: a track that is smoothed, averaged, a fold change or a p value cannot be used",
            f"{name}:{position[row]}",
        )
    return count.astype(np.int64)


def _covered(inputs, regions, parts, sizes: ChromSizes) -> list[list]:
    """List the regions that the inputs cover, sorted and disjoint.

    Raises :class:`InputError` if two inputs overlap without having the same region, because the depth would then differ
    along the chromosome, or if two inputs of one region have the same insertions.
    """
    spans: dict[tuple[int, int, int, bool], str] = {}  # with the input that is named in messages
    for number, (item, region, part) in enumerate(zip(inputs, regions, parts, strict=True)):
        for other in range(number):
            if regions[other] == region and _same_insertions(parts[other], part):
                raise InputError(
                    item["path"],
                    f"has the same insertions as {inputs[other]['path']}",
                    "list each file once for a cell line",
                )
        for name in [region[0]] if region else part:
            low, high = region[1:] if region else (0, sizes.as_dict()[name])
            spans.setdefault((sizes.index(name), low, high, region is None), str(item["path"]))
    found = sorted(spans)
    for left, right in zip(found, found[1:], strict=False):
        if left[0] == right[0] and right[1] < left[2]:
            raise InputError(
                spans[right],
                f"overlaps {spans[left]}, but has another region",
                "to sum them, give both the same region, or none; else give them regions that do not overlap",
                f"{sizes.names[right[0]]}:{right[1]}-{min(left[2], right[2])}",
            )
    return [[sizes.names[chrom], low, high] for chrom, low, high, _ in found]


def _same_insertions(one: dict[str, Path], other: dict[str, Path]) -> bool:
    """Tell whether two inputs have insertions, and have the same ones: one file twice, or a copy of it."""
    if not one or one.keys() != other.keys():
        return False
    pairs = [[np.load(part[name], mmap_mode="r")[0] for part in (one, other)] for name in one]
    if any(len(here) != len(there) for here, there in pairs):
        return False
    return all(np.array_equal(np.sort(here), np.sort(there)) for here, there in pairs)


def _join(files: list[Path], known: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Join the insertions of one chromosome from all inputs, sorted by position; number fragments from ``known`` on.

    Returns positions and fragments (both uint32), and the next free number. After 2^32 fragments, numbers repeat. The
    only effect is that thinning keeps or drops two distant fragments together.
    """
    parts = [np.load(file) for file in files]
    position, fragment = np.concatenate(parts, axis=1)
    begin = 0
    for part in parts:
        fragment[begin : begin + part.shape[1]] += np.uint32(known % (1 << 32))
        known += int(part[1].max()) + 1
        begin += part.shape[1]
    order = np.argsort(position, kind="stable")
    return position[order], fragment[order], known
