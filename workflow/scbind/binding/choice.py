"""Choose the windows in which binding is predicted: the windows of the genome grid that lie on consensus peaks."""

from __future__ import annotations

import numpy as np
import pandas as pd

from scbind.core.errors import InputError
from scbind.core.files import atomic
from scbind.core.runlog import say
from scbind.formats.genome import UNKNOWN, Genome
from scbind.formats.geometry import Geometry
from scbind.formats.intervals import read_bed
from scbind.formats.overlaps import covered_bases

SEQUENCE_BYTES = (
    1 << 26
)  # sequence read at once while windows are checked; its index takes 8 times as much memory


def choose_windows(consensus_bed, reference_dir, exclude, output, geometry: Geometry) -> None:
    """Write ``windows.npz``: grid windows (start = k * step) that a consensus peak covers by more than half.

    The grid and the rule are those of the training windows, so the model sees windows like those it was trained on.
    A window must contain no N, must not overlap the exclusion list, and its context must lie inside the chromosome.
    Cell labels are not used. If two peaks qualify, the column ``peak`` names the one that covers more bases; with equal
    cover, the first.

    Parameters
    ----------
    consensus_bed
        Peaks; see :func:`scbind.formats.intervals.read_bed`. Peaks on chromosomes without sequence are dropped.
    reference_dir
        Folder ``results/reference/{genome}``.
    exclude
        BED of regions to leave out. May be empty or ``None``.
    output
        The ``.npz`` file to write; see :class:`scbind.binding.windows.Windows`.
    geometry
        Geometry of the training windows.

    Raises
    ------
    InputError
        If the file of peaks is malformed, the geometry is invalid, or no window is left.
    """
    window, step, context = geometry.window, geometry.step, geometry.context
    if not 0 < step or not 0 < window <= context or (context - window) % 2:
        raise InputError(
            "config",
            f"windows of {window} bp every {step} bp in a context of {context} bp are not possible",
            "set 0 < step and 0 < window <= context, with context - window even",
        )
    genome = Genome.open(reference_dir)
    peaks = _read_peaks(consensus_bed, genome)
    table = _covered_grid(peaks[peaks["chrom"] < genome.n_sequenced], window, step)
    table = _usable(table, genome, exclude, geometry)
    known, gc = _sequence_facts(genome, table, geometry)
    table, gc = table[known], gc[known]
    if table.empty:
        raise InputError(
            consensus_bed,
            "no window on its peaks can be used",
            f"give peaks that cover more than {window // 2} bp of a window without N, outside the exclusion list "
            "and with at least dataset.min_mappability",
        )
    arrays = {name: table[name].to_numpy(np.int32) for name in ("chrom", "start", "peak")}
    widths = {"window": np.int64(window), "context": np.int64(context), "step": np.int64(step)}
    with atomic(output) as scratch, open(scratch, "wb") as handle:
        np.savez(handle, **arrays, gc=gc, **widths)
    say(f"{len(table)} windows on {table.peak.nunique()} of {len(peaks)} consensus peaks")


def _read_peaks(path, genome: Genome) -> pd.DataFrame:
    """Read consensus peaks, with the index of their chromosome. Log the chromosomes that have no sequence."""
    peaks = read_bed(path, genome.sizes)
    if peaks.empty:
        raise InputError(path, "has no peaks", "check that the samples have enough fragments")
    names = genome.sizes.names
    peaks["chrom"] = pd.Index(names).get_indexer(peaks["chrom"])
    lost = peaks["chrom"][peaks["chrom"] >= genome.n_sequenced]
    if len(lost):
        where = ", ".join(names[i] for i in np.unique(lost))
        say(f"{len(lost)} of {len(peaks)} peaks dropped: no sequence for {where}")
    return peaks


def _usable(table: pd.DataFrame, genome: Genome, exclude, geometry: Geometry) -> pd.DataFrame:
    """Keep windows outside excluded regions whose context lies inside the chromosome and is mappable."""
    window, flank = geometry.window, geometry.flank
    inside = (table.start >= flank) & (table.start + window + flank <= genome.sizes.lengths[table.chrom])
    table = table[inside]
    if exclude is not None:
        place = table.chrom.to_numpy(), table.start.to_numpy()
        excluded = read_bed(exclude, genome.sizes)
        table = table[covered_bases(excluded, genome.sizes.names, *place, window) == 0]
    if geometry.min_mappability is not None:
        start = table.start.to_numpy() - flank
        mean = genome.mean_mappability(table.chrom.to_numpy(), start, geometry.context)
        table = table[mean >= geometry.min_mappability]
        say(f"{int((mean < geometry.min_mappability).sum())} windows left out because of low mappability")
    return table


def _covered_grid(peaks: pd.DataFrame, window: int, step: int) -> pd.DataFrame:
    """Return the grid windows that a peak covers by more than half: chrom, start, peak; sorted, without duplicates.

    The column ``peak`` is the index of ``peaks``.
    """
    # A peak covers more than half of a window only if the window starts in (start - window / 2, end - window / 2).
    first = (peaks.start.to_numpy() - window // 2) // step
    count = (peaks.end.to_numpy() - window // 2) // step - first + 1
    of_peak = np.repeat(np.arange(len(peaks)), np.maximum(count, 0))
    nth = np.arange(len(of_peak)) - np.repeat(np.cumsum(count) - count, count)
    start = (first[of_peak] + nth) * step
    peak = peaks.iloc[of_peak]
    overlap = np.minimum(peak.end, start + window) - np.maximum(peak.start, start)
    table = peak[["chrom"]].assign(start=start, peak=peak.index.to_numpy(), overlap=overlap)
    table = table[2 * table.overlap > window]
    table = table.sort_values(["chrom", "start", "overlap", "peak"], ascending=[True, True, False, True])
    return table.drop_duplicates(["chrom", "start"]).drop(columns="overlap").reset_index(drop=True)


def _sequence_facts(genome: Genome, table: pd.DataFrame, geometry: Geometry):
    """Return two arrays (windows,): whether the window has no N, bool, and the GC fraction of its context, float32.

    The GC fraction leaves out N.
    """
    known, gc = np.zeros(len(table), dtype=bool), np.zeros(len(table), dtype=np.float32)
    window, context, flank = geometry.window, geometry.context, geometry.flank
    block = max(1, SEQUENCE_BYTES // context)
    for at in range(0, len(table), block):
        part = table.iloc[at : at + block]
        codes = genome.window_codes(part.chrom.to_numpy(), part.start.to_numpy() - flank, context)
        known[at : at + block] = (codes[:, flank : flank + window] != UNKNOWN).all(axis=1)
        letters = np.maximum((codes != UNKNOWN).sum(axis=1), 1)
        gc[at : at + block] = ((codes == 1) | (codes == 2)).sum(axis=1) / letters
    return known, gc
