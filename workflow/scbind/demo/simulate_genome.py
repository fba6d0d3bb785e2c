"""Simulate a small genome with regulatory elements, genes, functional motifs and decoys."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from scbind.demo.simulate_motifs import PARTNER_REACH, Preference
from scbind.formats.genome import UNKNOWN

SLOT = 1_000  # bp; at most one element per slot, so elements never overlap
PER_MB = 570  # elements per Mb of sequence: denser than a real genome, so that a few Mb hold enough examples
KINDS = {"promoter": 0.18, "insulator": 0.08, "enhancer": 0.66, "motifless": 0.08}  # fractions
ALWAYS_OPEN = ("promoter", "insulator")
TELOMERE = 10_000  # bp of N at each chromosome start
GAP = 5_000  # bp of N in the middle of each chromosome
REPEATS_PER_MB = 1.5
DECOYS = 2.2  # mean number per element of motifs that match the database matrix but lack the true flanks
LEAST = {"driver": 0.5, "site": -1.5, "decoy": -1.0}  # minimum score in bits, argument `least` of draw_site
STRETCH = 640  # bp around an element's centre in which motifs are planted and scanned


@dataclass
class SimulatedGenome:
    """A simulated genome with its elements and repeats.

    Positions are global: chromosomes lie end to end, as in :mod:`scbind.formats.genome`.

    Attributes
    ----------
    names, lengths
        Names of the chromosomes, and their lengths in bp: int64 (chromosomes,).
    codes
        Bases of all chromosomes, 0..4 for A C G T N: uint8 (bases,).
    elements
        DataFrame with element, chrom (number of the chromosome), centre, start and end (global, 0-based half-open),
        kind and driver.
    repeats
        Start and end (global, 0-based half-open) of the regions with inflated signal: int64 (regions, 2).
    """

    names: list[str]
    lengths: np.ndarray
    codes: np.ndarray
    elements: pd.DataFrame
    repeats: np.ndarray

    @property
    def offsets(self) -> np.ndarray:
        """Global start of each chromosome, and the end of the last one: int64 (chromosomes + 1,)."""
        return np.concatenate([[0], np.cumsum(self.lengths)])

    def locate(self, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return chromosome numbers and positions within the chromosomes, from global positions."""
        chrom = np.searchsorted(self.offsets, position, side="right") - 1
        return chrom, position - self.offsets[chrom]

    def stretches(self) -> np.ndarray:
        """Return the sequence around the centre of each element: uint8 (elements, STRETCH)."""
        first = self.elements["centre"].to_numpy() - STRETCH // 2
        return self.codes[first[:, None] + np.arange(STRETCH)]


def simulate_genome(rng, lengths, drivers: list[str], preferences: dict[str, Preference]) -> SimulatedGenome:
    """Draw sequence, elements and motifs.

    Parameters
    ----------
    rng
        ``numpy.random.Generator``.
    lengths
        Chromosome lengths in bp.
    drivers
        Factors that open enhancers. Each gets the same number of enhancers.
    preferences
        True binding preference of each factor.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    names = [f"chr{number + 1}" for number in range(len(lengths))]
    codes = np.concatenate([_sequence(rng, int(length)) for length in lengths])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    repeats = _repeats(rng, codes, offsets)
    elements = _elements(rng, lengths, offsets, repeats, drivers)
    genome = SimulatedGenome(names, lengths, codes, elements, repeats)
    _soften(rng, genome)
    _plant_in_elements(rng, genome, preferences)
    _plant_closed(rng, genome, preferences)
    for start, length in zip(offsets, lengths, strict=False):
        codes[start : start + TELOMERE] = UNKNOWN
        middle = start + length // 2
        codes[middle : middle + GAP] = UNKNOWN
    return genome


def genes(rng, genome: SimulatedGenome, tfs: list[str]) -> pd.DataFrame:
    """Return one gene per promoter, as a DataFrame with the columns of BED6 (0-based half-open), sorted.

    The transcription start site lies within 20 bp of the centre of the promoter. Genes are named after the factors
    first, then SIM0001, SIM0002, ... The names are assigned at random.
    """
    promoters = genome.elements[genome.elements["kind"] == "promoter"]
    chrom, tss = genome.locate(promoters["centre"].to_numpy() + rng.integers(-20, 21, len(promoters)))
    span = np.clip(rng.lognormal(np.log(6_000), 0.6, len(promoters)), 1_000, 30_000).astype(np.int64)
    forward = rng.random(len(promoters)) < 0.5
    start = np.where(forward, tss, np.maximum(tss + 1 - span, 0))
    end = np.where(forward, np.minimum(tss + span, genome.lengths[chrom]), tss + 1)
    names = (tfs + [f"SIM{number:04d}" for number in range(1, len(promoters) + 1)])[: len(promoters)]
    name = np.empty(len(promoters), dtype=object)
    name[rng.permutation(len(promoters))] = names
    table = pd.DataFrame({"chrom": chrom, "start": start, "end": end, "name": name, "score": 0})
    table["strand"] = np.where(forward, "+", "-")
    table = table.sort_values(["chrom", "start", "end"], kind="stable").reset_index(drop=True)
    table["chrom"] = np.array(genome.names)[table["chrom"]]
    return table


def _sequence(rng, length: int) -> np.ndarray:
    """Draw isochores of 20-120 kb, each with its own GC content. CpG is rare, as in vertebrates."""
    share = np.empty(length)
    position = 0
    while position < length:
        span = int(rng.integers(20_000, 120_000))
        share[position : position + span] = rng.uniform(0.36, 0.54)
        position += span
    return _bases(rng, share, keep_cpg=0.3)


def _bases(rng, gc_share: np.ndarray, keep_cpg: float) -> np.ndarray:
    strong, first = rng.random(len(gc_share)) < gc_share, rng.random(len(gc_share)) < 0.5
    codes = np.where(strong, np.where(first, 1, 2), np.where(first, 0, 3)).astype(np.uint8)
    cpg = np.flatnonzero((codes[:-1] == 1) & (codes[1:] == 2))
    lost = cpg[rng.random(len(cpg)) > keep_cpg]  # deaminated: CG becomes TG, or CA if the other strand is hit
    on_forward = rng.random(len(lost)) < 0.5
    codes[lost[on_forward]] = 3
    codes[lost[~on_forward] + 1] = 0
    return codes


def _repeats(rng, codes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Write tandem copies of a 171-bp unit, 5 % diverged. Each region consists of whole slots."""
    regions = []
    for first, last in zip(offsets[:-1], offsets[1:], strict=True):
        for _ in range(max(1, round(REPEATS_PER_MB * (last - first) / 1e6))):
            slots = int(rng.integers(2, 5))
            start = first + SLOT * int(rng.integers(20, max(21, (last - first) // SLOT - 10)))
            regions.append((start, start + slots * SLOT))
            unit = rng.integers(0, 4, 171)
            copy = unit[np.arange(slots * SLOT) % 171]
            changed = rng.random(len(copy)) < 0.05
            codes[start : start + slots * SLOT] = np.where(changed, rng.integers(0, 4, len(copy)), copy)
    return np.array(sorted(regions), dtype=np.int64)


def _elements(rng, lengths, offsets, repeats, drivers) -> pd.DataFrame:
    centres = []
    for first, length in zip(offsets[:-1], lengths, strict=True):
        slots = first + SLOT * np.arange(TELOMERE // SLOT + 3, length // SLOT - 3)
        middle = first + length // 2
        free = (slots + SLOT <= middle) | (slots >= middle + GAP + SLOT)
        for start, end in repeats:
            free &= (slots + 2 * SLOT <= start) | (slots >= end + SLOT)
        wanted = min(round(PER_MB * length / 1e6), int(free.sum()))
        chosen = np.sort(rng.choice(slots[free], wanted, replace=False))
        centres.append(chosen + SLOT // 2 + rng.integers(-240, 241, wanted))
    centre = np.concatenate(centres)
    width = 2 * rng.integers(150, 226, len(centre))
    kind = rng.permutation(np.repeat(list(KINDS), _apportion(len(centre), list(KINDS.values()))))
    driver = np.full(len(centre), "", dtype=object)
    enhancers = kind == "enhancer"
    driver[enhancers] = rng.permutation(np.resize(np.array(drivers, dtype=object), enhancers.sum()))
    return pd.DataFrame(
        {
            "element": [f"E{number:05d}" for number in range(len(centre))],
            "chrom": np.searchsorted(offsets, centre, side="right") - 1,
            "centre": centre,
            "start": centre - width // 2,
            "end": centre + width // 2,
            "kind": kind,
            "driver": driver,
        }
    )


def _apportion(total: int, shares: list[float]) -> np.ndarray:
    """Integers in proportion to ``shares`` that sum to ``total``, by rounding the cumulative sums."""
    bounds = np.round(np.cumsum(shares) / sum(shares) * total).astype(int)
    return np.diff(np.concatenate([[0], bounds]))


def _soften(rng, genome: SimulatedGenome) -> None:
    """Redraw the sequence of elements with a higher GC content than the surroundings. Promoters become CpG islands."""
    for kind, start, end in genome.elements[["kind", "start", "end"]].itertuples(index=False):
        if kind == "promoter":
            island = _bases(rng, np.full(end - start + 200, 0.62), keep_cpg=0.8)
            genome.codes[start - 100 : end + 100] = island
        else:
            share = rng.uniform(0.40, 0.60)
            genome.codes[start:end] = _bases(rng, np.full(end - start, share), keep_cpg=0.4)


def draw_site(rng, preference: Preference, least: float, core_only: bool = False) -> np.ndarray:
    """Draw one site from a preference: uint8 (positions,), 0..3 for A C G T.

    The site scores at least ``threshold + least`` bits. With ``core_only``, only the core is drawn, with at least
    ``typical_core + least`` bits, and the flanks remain as they are in the genome. Such a site is a decoy: its score
    with the database matrix is that of a true site.
    """
    probability = preference.probability
    cumulative = np.cumsum(probability[preference.core] if core_only else probability, axis=1)
    odds = preference.core_log_odds if core_only else preference.log_odds
    floor = preference.typical_core + least if core_only else preference.threshold + least
    while True:
        below = rng.random((64, len(cumulative), 1)) > cumulative[None]
        drawn = below.sum(axis=2).clip(max=3).astype(np.uint8)
        good = np.flatnonzero(odds[np.arange(len(odds)), drawn].sum(axis=1) >= floor)
        if len(good):
            return drawn[good[0]]


def _plant_in_elements(rng, genome: SimulatedGenome, preferences: dict[str, Preference]) -> None:
    names = list(preferences)
    for row in genome.elements.itertuples():
        taken = np.zeros(STRETCH, dtype=bool)
        wanted: list[tuple[str, str]] = []  # (factor, key of LEAST)
        if row.kind == "enhancer":
            wanted.append((row.driver, "driver"))
            wanted += [(tf, "site") for tf in rng.choice(names, rng.integers(1, 4), replace=False)]
            if rng.random() < 0.25:  # homotypic clusters are common in enhancers
                wanted.append((row.driver, "site"))
        elif row.kind == "insulator":
            wanted.append(("CTCF", "driver"))
            wanted += [(tf, "site") for tf in rng.choice(names, rng.integers(0, 3), replace=False)]
        elif row.kind == "promoter":
            wanted += [(tf, "driver") for tf, share in (("NRF1", 0.3), ("ELF1", 0.4)) if rng.random() < share]
            wanted += [(tf, "site") for tf in rng.choice(names, rng.integers(0, 3), replace=False)]
        n_decoys = min(int(rng.poisson(DECOYS)), len(names))
        wanted += [(tf, "decoy") for tf in rng.choice(names, n_decoys, replace=False)]
        for tf, how in wanted:
            _plant(rng, genome.codes, row.centre, taken, preferences, tf, how)


def _plant(rng, codes, centre, taken, preferences, tf: str, how: str) -> None:
    """Write one site near ``centre`` where no other site was planted, and in some cases the motif of its partner."""
    preference = preferences[tf]
    core_only = how == "decoy"
    site = draw_site(rng, preference, LEAST[how], core_only)
    start = _free_place(taken, len(site), STRETCH // 2 + rng.normal(0, 35))
    if start is None:
        return
    _write(rng, codes, centre, taken, start, site)
    partner = preference.factor.partner
    if partner and not core_only and (how == "driver" or rng.random() < 0.5):
        mate = draw_site(rng, preferences[partner], -1.0, core_only=True)
        side = rng.choice([-1, 1]) * (len(site) / 2 + len(mate) / 2 + rng.integers(2, 22))
        place = _free_place(taken, len(mate), start + len(site) / 2 + side, reach=12)
        if place is not None:
            _write(rng, codes, centre, taken, place, mate)


def _free_place(taken, width: int, wanted: float, reach: int = PARTNER_REACH) -> int | None:
    first = int(wanted - width / 2)
    for shift in sorted(range(-reach, reach + 1, 3), key=abs):
        start = first + shift
        if 100 <= start and start + width <= STRETCH - 100 and not taken[start : start + width].any():
            return start
    return None


def _write(rng, codes, centre, taken, start: int, site: np.ndarray) -> None:
    if rng.random() < 0.5:
        site = 3 - site[::-1]
    where = centre - STRETCH // 2 + start
    codes[where : where + len(site)] = site
    taken[start : start + len(site)] = True


def _plant_closed(rng, genome: SimulatedGenome, preferences: dict[str, Preference], per_mb: int = 25) -> None:
    """Plant good sites outside all elements, so that sequence alone does not predict binding."""
    blocked = np.zeros(len(genome.codes), dtype=bool)
    for start, end in genome.elements[["start", "end"]].itertuples(index=False):
        blocked[start - 150 : end + 150] = True
    for preference in preferences.values():
        for where in rng.integers(0, len(blocked) - 40, round(per_mb * len(blocked) / 1e6)):
            site = draw_site(rng, preference, 0)
            if not blocked[where : where + len(site)].any():
                genome.codes[where : where + len(site)] = site if rng.random() < 0.5 else 3 - site[::-1]
