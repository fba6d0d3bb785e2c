"""Call peaks with MACS3 on Tn5 insertions.

Each insertion becomes a 150-bp interval centred on it. For 1-bp reads on the plus strand,
``--shift -75 --extsize 150`` covers ``[p - 75, p + 75)``. Both ends of a fragment are cut sites, so the strand carries
no information and is not written.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv

from scbind.core.children import run
from scbind.core.errors import InputError
from scbind.core.files import read_result
from scbind.core.runlog import say
from scbind.core.scratch import scratch_folder
from scbind.formats.fragments import iter_pieces
from scbind.formats.genome import ChromSizes
from scbind.formats.insertions import read_insertions, read_regions
from scbind.formats.intervals import COLUMNS, write_narrowpeak

Insertions = Iterable[tuple[str, np.ndarray]]  # chromosome, 0-based positions


def call_track_peaks(
    insertions_bw: str | Path,
    sizes_path: str | Path,
    output: str | Path,
    qvalue: float,
    extsize: int,
    regions: str | Path | None = None,
) -> None:
    """Call peaks on a bigWig of insertions and write a sorted narrowPeak file.

    ``extsize`` is in bp. ``regions`` is the ``track.json`` of the track: the genome size for MACS3 is the length of the
    regions that the track covers or, without this file, of the chromosomes with insertions. Raises
    :class:`InputError` on a bad track or if MACS3 finds no peak.
    """
    sizes = ChromSizes.read(sizes_path)
    position = read_insertions(insertions_bw, sizes)
    edges = np.searchsorted(
        position, sizes.offsets.astype(np.uint32)
    )  # uint32 like the positions; numpy would otherwise copy them
    size = int(np.diff(read_regions(regions, sizes), axis=1).sum()) if regions else None
    pieces = (
        (name, position[low:high].astype(np.int64) - offset)
        for name, low, high, offset in zip(sizes.names, edges, edges[1:], sizes.offsets, strict=False)
        if high > low
    )
    table = _call(pieces, insertions_bw, sizes, output, ("-q", qvalue), extsize, genome_size=size)
    write_narrowpeak(table, output, sizes)
    say(f"{len(table):,} peaks from {len(position):,} insertions")


def call_fragment_peaks(
    fragments: str | Path,
    sizes_path: str | Path,
    output: str | Path,
    qvalue: float,
    extsize: int,
    max_fragments: int | None,
) -> None:
    """Call peaks on all cells of a sample, or on all cells of a type, and write a sorted narrowPeak file.

    ``extsize`` is in bp. If there are more than ``max_fragments`` fragments, a random subset is used, as in ArchR's
    group coverages (Granja et al. 2021), because MACS3 holds all insertions in memory. If MACS3 finds no peak, for
    example because cells are few or poor, the file is empty and the log has a warning. Raises :class:`InputError` on
    bad fragments.
    """
    _call_fragments(fragments, sizes_path, output, ("-q", qvalue), extsize, max_fragments, fragments)


def call_replicate_peaks(
    fragments: str | Path,
    sizes_path: str | Path,
    output: str | Path,
    pvalue: float,
    extsize: int,
    max_fragments: int | None,
    shown: str | Path,
) -> None:
    """Call the peaks of a replicate, which only confirm those of its cell type.

    As :func:`call_fragment_peaks`, but with a loose threshold on the p-value, as in the ATAC-seq pipeline of ENCODE,
    and against the mean of the genome, because the peak of the cell type already stands out from its surroundings. With
    the threshold of the cell type, replicates of few cells confirm few of its peaks. ``shown`` is the path that
    messages name.
    """
    loose = ("-p", pvalue, "--nolambda")
    _call_fragments(fragments, sizes_path, output, loose, extsize, max_fragments, shown)


def _call_fragments(fragments, sizes_path, output, threshold, extsize, max_fragments, shown) -> None:
    sizes = ChromSizes.read(sizes_path)
    try:
        table = _call(_cuts(fragments, sizes), shown, sizes, output, threshold, extsize, max_fragments)
    except NoPeaksError as error:
        say(f"WARNING {error}")
        table = pd.DataFrame(columns=COLUMNS)
    write_narrowpeak(table, output, sizes)
    say(f"{len(table):,} peaks")


def _cuts(fragments, sizes: ChromSizes) -> Insertions:
    for name, start, end in iter_pieces(fragments, sizes):
        yield name, np.concatenate([start, end - 1])


class NoPeaksError(InputError):
    """MACS3 ran and found no peak."""


def _call(
    insertions: Insertions,
    source,
    sizes: ChromSizes,
    output,
    threshold: tuple,
    extsize: int,
    max_fragments: int | None = None,
    genome_size: int | None = None,
) -> pd.DataFrame:
    """Run MACS3 in a scratch folder beside the output, on at most about ``2 * max_fragments`` insertions.

    ``threshold``: the options of MACS3 that set the threshold and what insertions are compared with.
    ``genome_size`` is in bp. ``None`` means the total length of the chromosomes with insertions.
    """
    macs = shutil.which("macs3", path=str(Path(sys.executable).parent)) or shutil.which("macs3")
    if macs is None:
        raise InputError(
            "macs3", "MACS3 is not installed", "install it into this environment: pip install macs3"
        )
    with scratch_folder(output, "macs3") as folder:
        # The share to keep depends on the total, which is known at the end. Until then, insertions wait on disk.
        waiting, pieces = folder / "insertions.int32", []  # int32, 4 bytes each
        with open(waiting, "wb") as handle:
            for name, position in insertions:
                handle.write(position.astype(np.int32).tobytes())
                pieces.append((name, len(position)))
        total = sum(count for _, count in pieces)
        share = min(1.0, 2 * max_fragments / max(total, 1)) if max_fragments else 1.0
        if share < 1:
            say(f"{source}: using {share:.1%} of {total} insertions, as from {max_fragments} fragments")
        bed, rng = folder / "insertions.bed", np.random.default_rng(0)
        if genome_size is None:
            genome_size = sum(sizes.as_dict()[name] for name in {name for name, _ in pieces})
        with open(waiting, "rb") as numbers, open(bed, "wb") as handle:
            for name, count in pieces:
                position = np.fromfile(numbers, dtype=np.int32, count=count)
                if share < 1:
                    position = position[rng.random(count) < share]
                names = pa.DictionaryArray.from_arrays(np.zeros(len(position), dtype=np.int32), [name])
                table = pa.table({"chrom": names, "start": position, "end": position + 1})
                pacsv.write_csv(
                    table,
                    handle,
                    pacsv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none"),
                )
        waiting.unlink()
        command = [macs, "callpeak", "-t", bed, "-f", "BED", "-n", "called", "--outdir", folder]
        command += ["--tempdir", folder, "-g", genome_size, *threshold, "--keep-dup", "all"]
        command += ["--nomodel", "--shift", -(extsize // 2), "--extsize", extsize]
        done = run(command)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise InputError(source, f"MACS3 failed ({last})", "see the log")
        return _clip(folder / "called_peaks.narrowPeak", source, sizes)


def _clip(called: Path, source, sizes: ChromSizes) -> pd.DataFrame:
    """Read the peaks of MACS3 and clip them to their chromosomes, because extended insertions may pass the ends."""
    if not called.exists() or called.stat().st_size == 0:
        raise NoPeaksError(source, "MACS3 found no peak", "give more fragments or raise the threshold")
    table = read_result(called, "call the peaks again", header=None, names=COLUMNS)
    summit = table["start"] + table["summit"]
    table["start"] = table["start"].clip(lower=0)
    table["end"] = np.minimum(table["end"], table["chrom"].map(sizes.as_dict()))
    table["summit"] = np.clip(summit, table["start"], table["end"] - 1) - table["start"]
    return table
