"""What all libraries of a simulation share: the genome, its elements, its sites, its genes and their truth."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pysam

from scbind.core.files import atomic, table_text, write_table
from scbind.core.runlog import say
from scbind.demo.atlas import ACTIVE, DRIVERS, EVERYWHERE, LINES, TFS
from scbind.demo.simulate_genome import SimulatedGenome, genes, simulate_genome
from scbind.demo.simulate_motifs import Preference, true_preferences
from scbind.demo.simulate_reads import DUPLICATES, element_levels
from scbind.demo.simulate_sites import find_sites, open_elements

STREAMS = (
    "genome", "genes", "opening", "sites", "levels", "chip", "bulk", "cells", "duplicates", "barcodes", "variants",
)  # fmt: skip


def activity_table(drivers: dict[str, tuple[str, ...]] = ACTIVE) -> pd.DataFrame:
    """Return which factors are active where: 0 or 1 (names, factors). ``drivers``: name to its active drivers."""
    rows = {name: [int(tf in EVERYWHERE or tf in active) for tf in TFS] for name, active in drivers.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=TFS)


@dataclass(frozen=True)
class World:
    """What all libraries of a simulation share.

    Attributes
    ----------
    genome, preferences
        The genome with its elements, and the true preference of each factor.
    genes
        One gene per promoter, BED6 (:func:`scbind.demo.simulate_genome.genes`).
    openness, levels
        Whether an element is open, and its accessibility: (elements, lines and types).
    sites
        See :func:`scbind.demo.simulate_sites.find_sites`.
    """

    genome: SimulatedGenome
    preferences: dict[str, Preference]
    genes: pd.DataFrame
    openness: pd.DataFrame
    levels: pd.DataFrame
    sites: pd.DataFrame


def random_streams(seed: int) -> dict[str, np.random.Generator]:
    """Return the separate streams of random numbers of one simulation."""
    return {name: np.random.default_rng([seed, number]) for number, name in enumerate(STREAMS)}


def simulate_world(
    rng: dict[str, np.random.Generator], activity: pd.DataFrame, chromosome_mb: tuple[float, ...]
) -> World:
    """Simulate the genome, its elements and its sites. ``activity`` is that of :func:`activity_table`."""
    preferences = true_preferences()
    lengths = [round(mb * 1e6) for mb in chromosome_mb]
    genome = simulate_genome(rng["genome"], lengths, DRIVERS, preferences)
    say(f"genome: {sum(lengths):,} bases, {len(genome.elements):,} elements")
    openness = open_elements(rng["opening"], genome, activity)
    sites = find_sites(rng["sites"], genome, preferences, openness, activity)
    levels = element_levels(rng["levels"], genome, openness, sites)
    say(f"sites: {len(sites):,}; {int(sites['bindable'].sum()):,} of them can be bound")
    return World(genome, preferences, genes(rng["genes"], genome, TFS), openness, levels, sites)


def draw_barcodes(rng, n: int) -> list[str]:
    """Draw different barcodes of 16 bases with the ending ``-1``."""
    letters = np.array(list("ACGT"))
    barcodes: dict[str, None] = {}
    while len(barcodes) < n:
        barcodes["".join(letters[rng.integers(0, 4, 16)]) + "-1"] = None
    return list(barcodes)


def write_truth(folder: Path, world: World, activity: pd.DataFrame) -> None:
    """Write ``activity.tsv``, ``elements.bed``, ``sites.tsv`` and ``motifs.npz`` into ``folder``."""
    genome, sites, openness = world.genome, world.sites, world.openness
    names = np.array(genome.names)
    table = activity.rename_axis("name").reset_index()
    table.insert(1, "kind", ["line" if name in LINES else "cell_type" for name in table["name"]])
    write_table(folder / "activity.tsv", table, float_format=None)

    elements = genome.elements
    chrom, start = genome.locate(elements["start"].to_numpy())
    bed = pd.DataFrame({"chrom": names[chrom], "start": start})
    bed["end"] = start + elements["end"] - elements["start"]
    bed["name"], bed["kind"] = elements["element"], elements["kind"]
    bed["driver"] = elements["driver"].replace("", ".")
    for name in openness.columns:
        bed[f"open_{name}"] = openness[name].to_numpy().astype(int)
    write_table(folder / "elements.bed", bed.rename(columns={"chrom": "#chrom"}), float_format=None)

    table = sites.copy()
    offset = genome.offsets[sites["chrom"]]
    table["start"], table["end"] = sites["start"] - offset, sites["end"] - offset
    table["chrom"] = names[sites["chrom"]]
    table["strength"] = sites["strength"].round(4)
    write_table(folder / "sites.tsv", table, float_format=None)
    with atomic(folder / "motifs.npz") as scratch:
        arrays = {tf: preference.probability for tf, preference in world.preferences.items()}
        np.savez_compressed(scratch, **arrays)


def write_fragments(path: Path, rng, genome: SimulatedGenome, table, barcodes: list[str]) -> None:
    """Write fragments with the columns of 10x (chrom, start, end, barcode, reads), bgzipped and indexed."""
    table = pd.DataFrame(
        {
            "chrom": np.array(genome.names)[table["chrom"]],
            "start": table["start"],
            "end": table["end"],
            "barcode": np.array(barcodes)[table["barcode"]],
            "count": 1 + rng.poisson(DUPLICATES, len(table)),
        }
    )
    write_bgzip(path, table_text(table, header=False, float_format=None))
    pysam.tabix_index(str(path), preset="bed", force=True)


def write_bgzip(path: Path, text: str) -> None:
    """Write text as bgzip. It contains no time stamp, so the same text gives the same bytes."""
    with atomic(path) as scratch, pysam.BGZFile(str(scratch), "w") as handle:
        content = io.BytesIO(text.encode())
        while block := content.read(1 << 20):
            handle.write(block)
