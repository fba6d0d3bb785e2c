"""The replicates of a cell type: fragments, coverage and peaks of each, all in one job.

A cohort has many replicates of many types. With a job for each step of each replicate, most of the time would go into
planning and starting jobs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from scbind.core.files import atomic
from scbind.core.runlog import about, say
from scbind.peaks.coverage import coverage_track
from scbind.peaks.macs3 import call_replicate_peaks
from scbind.peaks.pooling import merge_pieces


@dataclass(frozen=True)
class CallOptions:
    """Options of peak calling: see :func:`scbind.peaks.macs3.call_replicate_peaks`."""

    replicate_pvalue: float
    extsize: int
    max_fragments: int | None


def make_replicates(
    pieces: Mapping[str, Sequence[str | Path]],
    sizes_path: str | Path,
    output: str | Path,
    compared: Sequence[str],
    options: CallOptions,
    threads: int = 1,
) -> None:
    """Write the folder of each replicate of a type: ``fragments.tsv.gz`` (with index), ``coverage.bw``, and its peaks.

    Parameters
    ----------
    pieces
        Replicate -> pieces of its samples (:func:`scbind.peaks.splitting.split_sample`).
    sizes_path
        ``chrom.sizes``.
    output
        ``results/pseudobulk/{type}/replicates``, which gets one folder per replicate. It is written as a whole or not
        at all.
    compared
        Replicates that decide which peaks of the type are kept. They also get ``called.narrowPeak``.
    options
        Options of peak calling.
    threads
        Number of replicates in work at a time. Each takes the memory of one peak calling.

    Raises
    ------
    InputError
        If a piece is missing or damaged.
    """
    with atomic(output) as folder:
        folder.mkdir()

        def make(name: str) -> None:
            own = folder / name
            own.mkdir()
            fragments = own / "fragments.tsv.gz"
            merge_pieces(list(pieces[name]), sizes_path, fragments)
            coverage_track(fragments, sizes_path, own / "coverage.bw")
            if name in compared:
                call_replicate_peaks(
                    fragments,
                    sizes_path,
                    own / "called.narrowPeak",
                    pvalue=options.replicate_pvalue,
                    extsize=options.extsize,
                    max_fragments=options.max_fragments,
                    shown=Path(output, name, fragments.name),
                )
            say("made")

        def make_one(name: str) -> None:
            with about(f"replicate {name}"):  # several are in work at a time, and all write to one log
                make(name)

        with ThreadPoolExecutor(threads) as pool:
            jobs = [pool.submit(make_one, name) for name in pieces]
            try:
                for job in jobs:
                    job.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    say(f"{len(pieces)} replicates, {len(compared)} of them with peaks")
