"""Coverage of a pseudobulk: fragments over each base, per million fragments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np

from scbind.core.files import atomic
from scbind.core.runlog import say
from scbind.core.scratch import scratch_folder
from scbind.formats.bigwigwriter import create_bigwig
from scbind.formats.fragments import iter_pieces
from scbind.formats.genome import ChromSizes

BATCH = 1 << 20  # runs written at a time
RUN_BYTES = 12  # start, end and depth of a run of bases, int32 each


def coverage_track(fragments: str | Path, sizes_path: str | Path, output: str | Path) -> None:
    """Write the number of fragments over each base, per million fragments of the file, as bigWig.

    Every fragment counts once on each base of ``[start, end)``; its read count is ignored. Bases without fragments have
    no entry. Memory holds one chunk of the fragments. Unscaled runs of bases are stored on disk, 12 bytes each.
    Raises :class:`scbind.core.errors.InputError` on bad fragments.
    """
    sizes = ChromSizes.read(sizes_path)
    with scratch_folder(output, "runs") as folder:
        total, waiting = 0, {}

        def count(pieces):
            nonlocal total
            for _, start, end in pieces:
                total += len(start)
                yield start, end

        for name, pieces in groupby(iter_pieces(fragments, sizes), key=itemgetter(0)):
            waiting[name] = folder / f"{sizes.index(name)}.int32"
            with open(waiting[name], "wb") as handle:
                for runs in _depth_runs(count(pieces)):
                    handle.write(runs.astype(np.int32).tobytes())
        n_runs = sum(path.stat().st_size for path in waiting.values()) // RUN_BYTES
        with atomic(output) as scratch, create_bigwig(scratch, sizes, n_runs) as bw:
            for name in sizes.names:
                if name in waiting:
                    _add_runs(bw, name, waiting[name], 1e6 / total)
    say(f"coverage by {total:,} fragments on {len(waiting)} chromosomes")


def _depth_runs(pieces: Iterable[tuple[np.ndarray, np.ndarray]]) -> Iterator[np.ndarray]:
    """Yield runs of bases of one depth, int64 (runs, 3): start, end, depth > 0. Fragments must be sorted by start."""
    starts = ends = np.empty(0, dtype=np.int64)
    edge = depth = 0  # start and depth of the last run
    for start, end in pieces:
        starts, ends = np.concatenate([starts, start]), np.concatenate([ends, end])
        frontier = start[-1]  # later fragments change no base before this one
        closed, ended = starts < frontier, ends < frontier
        runs, edge, depth = _sweep(starts[closed], ends[ended], edge, depth)
        starts, ends = starts[~closed], ends[~ended]
        yield runs
    yield _sweep(starts, ends, edge, depth)[0]


def _sweep(starts: np.ndarray, ends: np.ndarray, edge: int, depth: int) -> tuple[np.ndarray, int, int]:
    where, inverse = np.unique(np.concatenate([starts, ends]), return_inverse=True)
    steps = np.repeat([1, -1], [len(starts), len(ends)])
    step = np.bincount(inverse, steps, minlength=len(where)).astype(np.int64)
    # If equal numbers of fragments begin and end at an edge, the depth does not change: join the runs.
    where, step = where[step != 0], step[step != 0]
    if not len(where):
        return np.empty((0, 3), dtype=np.int64), edge, depth
    level = depth + np.cumsum(step)
    runs = np.stack([np.r_[edge, where[:-1]], where, np.r_[depth, level[:-1]]], axis=1)
    return runs[runs[:, 2] > 0], int(where[-1]), int(level[-1])


def _add_runs(bw, name: str, path: Path, scale: float) -> None:
    with open(path, "rb") as handle:
        while len(runs := np.fromfile(handle, dtype=np.int32, count=3 * BATCH)):
            start, end, depth = runs.reshape(-1, 3).T
            bw.addEntries(
                np.full(len(start), name),
                np.ascontiguousarray(start),
                ends=np.ascontiguousarray(end),
                values=depth * scale,
            )
