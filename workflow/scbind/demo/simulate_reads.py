"""Simulate ATAC-seq fragments of bulk libraries and of single cells, from open elements and background.

The model includes the sequence preference of Tn5, the GC bias of a library, the mixture of nucleosome-free, mono- and
dinucleosomal fragments (Buenrostro et al. 2013, Nat. Methods 10:1213), footprints (fewer cuts on bound motifs),
inflated signal on repeats, duplicates, depth that varies between cells, and barcodes without a cell.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from scbind.demo.simulate_genome import SimulatedGenome
from scbind.formats.genome import UNKNOWN

SIZES = ((0.55, 62, 18), (0.33, 195, 22), (0.12, 385, 30))  # fraction, mean and sd (bp) of each size class
SHORTEST = 28  # bp
SPREAD = 85  # bp, sd of the positions of cuts around the centre of their open element
FOOTPRINT = 0.4  # rate of cuts on a bound motif, relative to its surroundings
REPEAT_SHARE = 0.04  # fraction of background fragments on repeats: tenfold excess in the default genome
OPEN_IN_CELL = 0.85  # probability that an element that is open in the type is open in one cell
DUPLICATES = 0.35  # mean number of PCR duplicates per fragment
ROUNDS = 60  # maximum number of proposals per fragment


def tn5_weight(codes: np.ndarray) -> np.ndarray:
    """Return the relative probability of a cut at every base: float32 (bases,), in (0, 1], and 0 on N.

    It follows from a fixed preference over 9 bases. ``codes`` is uint8 (bases,), 0..4 for A C G T N.
    """
    preference = np.random.default_rng(2013).normal(0, 0.22, (9, 5)).astype(np.float32)
    preference[:, UNKNOWN] = -1
    total = np.zeros(len(codes), dtype=np.float32)
    for shift, row in enumerate(preference):
        total += np.roll(row[codes], 4 - shift)
    weight = np.exp(np.minimum(total - 1.2, 0))
    weight[codes == UNKNOWN] = 0
    return weight


def gc_share(codes: np.ndarray, width: int = 301) -> np.ndarray:
    """Return the GC content of the ``width`` bp around every base: float32 (bases,). N does not count as G or C."""
    counts = np.concatenate([[0], np.cumsum((codes == 1) | (codes == 2), dtype=np.int64)])
    low = np.maximum(np.arange(len(codes)) - width // 2, 0)
    high = np.minimum(low + width, len(codes))
    return ((counts[high] - counts[low]) / width).astype(np.float32)


def element_levels(rng, genome: SimulatedGenome, openness: pd.DataFrame, sites: pd.DataFrame) -> pd.DataFrame:
    """Return the accessibility of every element (arbitrary unit, 0 if closed): float64 (elements, lines and types).

    The level is log-normal per element, with a smaller log-normal factor per line or type. It increases with the number
    of bound sites.
    """
    promoter = genome.elements["kind"].to_numpy() == "promoter"
    base = rng.lognormal(0, 0.55, len(promoter)) * np.where(promoter, 1.5, 1.0)
    levels = {}
    for name in openness.columns:
        bound = sites.groupby("element")[f"bound_{name}"].sum()
        bound = bound.reindex(openness.index, fill_value=0).to_numpy()
        here = base * (1 + 0.2 * np.minimum(bound, 4)) * rng.lognormal(0, 0.25, len(base))
        levels[name] = np.where(openness[name], here, 0.0)
    return pd.DataFrame(levels, index=openness.index)


class Library:
    """Draws fragments with the biases of one library.

    Parameters
    ----------
    genome, tn5, gc
        The genome and, per base, :func:`tn5_weight` and :func:`gc_share`.
    gc_bias
        Strength of the GC bias. Amplification prefers a GC content of 52 %. With 0 there is no bias.
    """

    def __init__(self, genome: SimulatedGenome, tn5: np.ndarray, gc: np.ndarray, gc_bias: float):
        self.genome = genome
        self.tn5 = tn5
        self.gc_weight = np.exp(-gc_bias * np.abs(gc - 0.52) / 0.1).astype(np.float32)
        self.centre = genome.elements["centre"].to_numpy()

    def fragments(self, rng, element: np.ndarray, footprint: np.ndarray) -> tuple[np.ndarray, ...]:
        """Draw one fragment for every entry of ``element``, by rejection sampling.

        Parameters
        ----------
        rng
            ``numpy.random.Generator``.
        element
            Row of the element that the fragment comes from, or -1 for background: int64 (fragments,).
        footprint
            Whether a base lies in a bound site: bool (bases,).

        Returns
        -------
        tuple
            ``start`` and ``end``: int64 (fragments,), global, 0-based half-open; the cuts are at ``start`` and
            ``end - 1``. ``made``: bool (fragments,), false for the few fragments without an accepted proposal.
        """
        start, end = np.zeros((2, len(element)), dtype=np.int64)
        pending = np.arange(len(element))
        for _ in range(ROUNDS):
            if not len(pending):
                break
            first, last = self._propose(rng, element[pending])
            chance = self._chance(first, last, footprint)
            accepted = rng.random(len(pending)) < chance
            start[pending[accepted]], end[pending[accepted]] = first[accepted], last[accepted]
            pending = pending[~accepted]
        made = np.ones(len(element), dtype=bool)
        made[pending] = False
        return start, end, made

    def _propose(self, rng, element: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n = len(element)
        cut = np.round(self.centre[element] + rng.normal(0, SPREAD, n)).astype(np.int64)
        background = np.flatnonzero(element < 0)
        anywhere = rng.integers(0, len(self.genome.codes), len(background))
        on_repeat = rng.random(len(background)) < REPEAT_SHARE
        if len(self.genome.repeats):
            region = self.genome.repeats[rng.integers(0, len(self.genome.repeats), len(background))]
            span = (region[:, 1] - region[:, 0]) * rng.random(len(background))
            anywhere = np.where(on_repeat, region[:, 0] + span.astype(np.int64), anywhere)
        cut[background] = anywhere
        share, mean, spread = np.array(SIZES).T
        kind = rng.choice(len(SIZES), n, p=share)
        size = np.maximum(np.round(rng.normal(mean[kind], spread[kind])), SHORTEST).astype(np.int64)
        start = np.where(rng.random(n) < 0.5, cut, cut - size + 1)
        return start, start + size

    def _chance(self, start: np.ndarray, end: np.ndarray, footprint: np.ndarray) -> np.ndarray:
        total = len(self.genome.codes)
        outside = (start < 0) | (end > total)
        first, last = np.clip(start, 0, total - 1), np.clip(end - 1, 0, total - 1)
        outside |= self.genome.locate(first)[0] != self.genome.locate(last)[0]
        chance = self.tn5[first] * self.tn5[last] * self.gc_weight[(first + last) // 2]
        chance = chance * np.where(footprint[first], FOOTPRINT, 1) * np.where(footprint[last], FOOTPRINT, 1)
        return np.where(outside, 0, chance)


def footprints(genome: SimulatedGenome, sites: pd.DataFrame, name: str) -> np.ndarray:
    """Return whether a base lies in a site that is bound in this line or type: bool (bases,)."""
    bound = sites[sites[f"bound_{name}"] == 1]
    edges = np.zeros(len(genome.codes) + 1, dtype=np.int32)
    np.add.at(edges, bound["start"].to_numpy(), 1)
    np.add.at(edges, bound["end"].to_numpy(), -1)
    return np.cumsum(edges[:-1]) > 0


def pick_elements(rng, n: int, level: np.ndarray, in_elements: float) -> np.ndarray:
    """Draw the elements that ``n`` fragments come from: int64 (n,), rows of ``level``, or -1 for background.

    A fragment comes from an element with probability ``in_elements``. Elements are drawn in proportion to ``level``.
    """
    element = np.full(n, -1, dtype=np.int64)
    total = np.cumsum(level)
    chosen = rng.random(n) < (in_elements if total[-1] > 0 else 0)
    element[chosen] = np.searchsorted(total, rng.random(chosen.sum()) * total[-1], side="right")
    return element


def fragment_table(genome: SimulatedGenome, start, end, barcode: np.ndarray) -> pd.DataFrame:
    """Return sorted fragments without duplicates: chrom (number), start, end, barcode (number).

    The arguments ``start`` and ``end`` are global. The columns are positions within the chromosome. All are 0-based
    half-open. Identical fragments of a barcode appear once.
    """
    chrom, local = genome.locate(start)
    table = pd.DataFrame({"chrom": chrom, "start": local, "end": local + end - start, "barcode": barcode})
    return table.drop_duplicates().sort_values(["chrom", "start", "end", "barcode"]).reset_index(drop=True)


def bulk_library(rng, library: Library, level: np.ndarray, footprint: np.ndarray, n: int) -> pd.DataFrame:
    """Simulate a bulk experiment of about ``n`` unique fragments, 45 % of them from open elements.

    Returns the table of :func:`fragment_table`. All fragments have the barcode 0.
    """
    element = pick_elements(rng, n, level, in_elements=0.45)
    start, end, made = library.fragments(rng, element, footprint)
    return fragment_table(library.genome, start[made], end[made], np.zeros(int(made.sum()), dtype=np.int64))


def cell_library(rng, library: Library, cells, levels, openness, footprint: dict[str, np.ndarray]):
    """Simulate the fragments of single cells, and which elements are open in each real cell.

    Parameters
    ----------
    rng, library
        Random numbers, and the biases of the library.
    cells
        Per barcode: ``cell_type``, ``wanted`` (number of fragments), ``in_elements`` (fraction of these from open
        elements) and ``is_cell``.
    levels, openness
        Accessibility and openness (elements, types).
    footprint
        Cell type to :func:`footprints`.

    Returns
    -------
    tuple
        The table of :func:`fragment_table`, with rows of ``cells`` as ``barcode``; and openness in real cells, in the
        order of ``cells``: bool (real cells, elements).
    """
    parts, is_open = [], []
    for name in openness.columns:
        rows = np.flatnonzero(cells["cell_type"].to_numpy() == name)
        chosen = []
        for row in rows:
            here = openness[name].to_numpy() & (rng.random(len(openness)) < OPEN_IN_CELL)
            level = np.where(here, levels[name].to_numpy(), 0.0)
            wanted, in_elements = int(cells["wanted"].iloc[row]), cells["in_elements"].iloc[row]
            chosen.append(pick_elements(rng, wanted, level, in_elements))
            if cells["is_cell"].iloc[row]:
                is_open.append((row, here))
        if len(rows):
            barcode = np.repeat(rows, [len(part) for part in chosen])
            start, end, made = library.fragments(rng, np.concatenate(chosen), footprint[name])
            parts.append((start[made], end[made], barcode[made]))
    start, end, barcode = (np.concatenate(part) for part in zip(*parts, strict=True))
    is_open.sort(key=lambda pair: pair[0])
    return fragment_table(library.genome, start, end, barcode), np.array([here for _, here in is_open])
