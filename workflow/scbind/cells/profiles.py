"""Curves of a library: lengths of fragments, insertions around start sites, and barcodes by their fragments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from scbind.core.files import read_result
from scbind.formats.signal import CellSignal, stretches

LONGEST = 1_000  # bp; longer fragments are counted as this long
REACH, BIN = 2_000, 20  # bp around a start site, and bp per value of the curve
BACKGROUND = 100  # bp at either end of the curve, whose mean is 1 (ENCODE, ArchR)
LEAST = 50  # fewest insertions there; with fewer, the curve would be noise
CENTRE = 50  # bp from the start site to the centre of the last bin over which the enrichment is the mean
WEAK = 1.5  # ENCODE calls an enrichment below 5 concerning (hg38); random positions have 1
NUCLEOSOME = 147  # bp of DNA around one nucleosome: shorter fragments are nucleosome-free (Signac)
COLUMNS = ["curve", "position", "value"]
BARCODES = "barcodes"  # name of the curve


class Lengths:
    """Counts fragments by length while they are read.

    Attributes
    ----------
    counts
        int64 (``LONGEST`` + 1,): number of fragments of each length in bp. The last one includes longer fragments.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(LONGEST + 1, dtype=np.int64)

    def add(self, length: np.ndarray) -> None:
        """Add fragments of these lengths in bp, int64 (fragments,)."""
        self.counts += np.bincount(np.minimum(length, LONGEST), minlength=LONGEST + 1)


def tss_profile(signal: CellSignal, sites: np.ndarray) -> np.ndarray:
    """Return the insertions of all cells around start sites: float64 (2 * ``REACH`` / ``BIN``,).

    The mean of the outer ``BACKGROUND`` bp on either side is 1. All values are NaN if fewer than ``LEAST`` insertions
    are there. The direction of the genes is not used, so the curve is the mean of both. ``sites`` are global 0-based
    positions, int64 (sites,), at least ``REACH`` from the ends of their chromosomes.
    """
    bins, starts = 2 * REACH // BIN, sites - REACH
    total = np.zeros(bins)
    for _, window, index in stretches(signal.position, starts, 2 * REACH):
        place = (signal.position[index].astype(np.int64) - starts[window]) // BIN
        total += np.bincount(place, minlength=bins)
    ends = BACKGROUND // BIN
    outer = np.concatenate([total[:ends], total[-ends:]])
    return total / outer.mean() if outer.sum() >= LEAST else np.full(bins, np.nan)


def weak_start_sites(profile: pd.DataFrame) -> float | None:
    """Return the enrichment of insertions at start sites if it is below ``WEAK``, as in another assembly, else None.

    ``profile``: see :func:`profile_table`. None, too, if there is no curve.
    """
    tss = profile[profile["curve"] == "tss"]
    enrichment = float(tss.loc[tss["position"].abs() <= CENTRE, "value"].mean())
    return enrichment if enrichment < WEAK else None


def read_profile(path: str | Path) -> pd.DataFrame:
    """Read ``profile.tsv``; :class:`scbind.core.errors.InputError` if it is missing or damaged."""
    return read_result(path, "count the fragments of the sample again")


def profile_table(
    lengths: Lengths, tss: np.ndarray | None, barcodes: Mapping[int, int] | None = None
) -> pd.DataFrame:
    """Return the curves as one table: ``curve`` (``length``, ``tss`` or ``barcodes``), ``position`` and ``value``.

    A position of ``length`` and ``tss`` is in bp; one of ``tss`` is the centre of a bin, relative to the start site.
    Without start sites ``tss`` has no rows. ``barcodes``: number of fragments -> number of barcodes with at least as
    many; None if a list says which barcodes are cells.
    """
    tables = [pd.DataFrame({"curve": "length", "position": np.arange(LONGEST + 1), "value": lengths.counts})]
    if tss is not None:
        centre = np.arange(len(tss)) * BIN - REACH + BIN // 2
        tables.append(pd.DataFrame({"curve": "tss", "position": centre, "value": tss}))
    if barcodes:
        counts = pd.DataFrame({"position": list(barcodes), "value": list(barcodes.values())})
        tables.append(counts.assign(curve=BARCODES))
    return pd.concat(tables, ignore_index=True)[COLUMNS]


def ignored_barcodes(profile: pd.DataFrame) -> str:
    """Say how many barcodes had too few fragments to be candidates for cells; empty if none had.

    ``profile``: see :func:`profile_table`.
    """
    curve = profile[profile["curve"] == BARCODES].sort_values("position")
    if curve.empty:
        return ""
    total, least = int(curve["value"].iloc[0]), int(curve["position"].iloc[-1])
    ignored = total - int(curve["value"].iloc[-1])
    if not ignored:
        return ""
    return f"{ignored} of {total} barcodes have fewer than {least} fragments (cells.min_barcode) and were ignored"
