"""Interval operations by bedtools (Quinlan and Hall 2010, Bioinformatics), on tables of intervals.

Tables are passed to bedtools as files in a scratch folder. The folder is removed afterwards, so no files are left
behind. The fourth column holds the row number, which links the output of bedtools to the table.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from scbind.core.errors import InputError
from scbind.core.files import write_bed
from scbind.core.scratch import scratch_folder
from scbind.formats.genome import ChromSizes
from scbind.formats.intervals import genome_order

NONE = "."  # bedtools writes this if there is no interval


def overlapped(table: pd.DataFrame, others: pd.DataFrame, share: float | None = None) -> np.ndarray:
    """Tell whether each interval overlaps one of ``others``, by one base or by ``share`` of the length of either.

    Parameters
    ----------
    table, others
        Columns ``chrom, start, end`` (0-based half-open), in any order.
    share
        In (0, 1]; None: one shared base is enough.

    Returns
    -------
    numpy.ndarray
        bool (rows of ``table``,).

    Raises
    ------
    InputError
        If bedtools is not installed.

    Examples
    --------
    >>> peaks = pd.DataFrame({"chrom": "chr1", "start": [0, 100], "end": [100, 300]})
    >>> others = pd.DataFrame({"chrom": ["chr1"], "start": [80], "end": [130]})
    >>> overlapped(peaks, others).tolist(), overlapped(peaks, others, share=0.5).tolist()
    ([True, True], [False, True])
    """
    found = np.zeros(len(table), dtype=bool)
    if len(table) and len(others):
        either = {} if share is None else {"f": share, "F": share, "e": True}
        with _scratch() as folder:
            left, right = _bed(table, folder / "a.bed"), _bed(others, folder / "b.bed")
            hits = left.intersect(right, u=True, output=str(folder / "hits.bed"), **either).fn
            found[_read(hits, {3: np.int64})[3]] = True
    return found


def nearest_start(table: pd.DataFrame, starts: pd.DataFrame, sizes: ChromSizes) -> pd.DataFrame:
    """Find the transcription start site nearest to each position, and its distance.

    Parameters
    ----------
    table
        Columns ``chrom`` and ``position`` (0-based).
    starts
        ``chrom``, ``tss`` (0-based) and ``strand`` (+ or -). Of several at one distance the first row is taken.

    Returns
    -------
    DataFrame
        In the order of ``table``: ``row`` (int64), the row of ``starts``, -1 on a chromosome without one; and
        ``distance`` (float64, bp), position minus start site in the direction of transcription: negative is upstream,
        NaN where there is none.

    Raises
    ------
    InputError
        If bedtools is not installed.
    """
    found = pd.DataFrame({"row": np.full(len(table), -1), "distance": np.nan})
    if not len(table) or not len(starts):
        return found
    places = pd.DataFrame({"chrom": table["chrom"], "start": table["position"], "end": table["position"] + 1})
    sites = pd.DataFrame({"chrom": starts["chrom"], "start": starts["tss"], "end": starts["tss"] + 1})
    with _scratch() as folder:
        genome = folder / "genome"
        genome.write_text("".join(f"{name}\t{length}\n" for name, length in sizes.as_dict().items()))
        left = _bed(places, folder / "a.bed", sizes)
        right = _bed(sites, folder / "b.bed", sizes, starts["strand"])
        closest = left.closest(right, D="b", t="all", g=str(genome), output=str(folder / "closest.bed"))
        # four columns of ours, six of the start site, and the distance
        answer = _read(closest.fn, {3: np.int64, 7: str, 10: np.int64})
    answer = answer[answer[7] != NONE].astype({7: np.int64})
    answer = answer.sort_values(7).drop_duplicates(3)  # bedtools' own choice among ties depends on the strand
    found.loc[answer[3], "row"] = answer[7].to_numpy()
    found.loc[answer[3], "distance"] = answer[10].to_numpy(dtype=float)
    return found


@contextmanager
def _scratch() -> Iterator[Path]:
    if shutil.which("bedtools") is None:
        raise InputError(
            "bedtools", "not found on the PATH", "install bedtools, or use the environment of scbind"
        )
    with scratch_folder(None, "bedtools") as folder:
        yield folder


def _bed(table: pd.DataFrame, path: Path, sizes: ChromSizes | None = None, strand: pd.Series | None = None):
    """Write intervals with the numbers of their rows, in the order of ``sizes`` if given; return them as a BedTool."""
    import pybedtools

    lines = pd.DataFrame({name: table[name].to_numpy() for name in ("chrom", "start", "end")})
    lines["row"] = np.arange(len(lines))
    if strand is not None:
        lines["score"], lines["strand"] = 0, strand.to_numpy()
    if sizes is not None:
        lines = lines.iloc[genome_order(lines, sizes)]
    write_bed(path, lines)
    return pybedtools.BedTool(str(path))


def _read(path: str, columns: dict[int, type]) -> pd.DataFrame:
    """Read columns of the output of bedtools, which may be empty."""
    if Path(path).stat().st_size == 0:
        return pd.DataFrame({column: pd.Series(dtype=kind) for column, kind in columns.items()})
    return pd.read_csv(
        path, sep="\t", header=None, usecols=list(columns), dtype=columns, keep_default_na=False
    )
