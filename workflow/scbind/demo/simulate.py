"""Simulate the demo: a small atlas with known truth, in the file formats that users supply.

:func:`simulate` derives all random numbers from one seed. Genome, lines and cells have separate random streams.
More cells therefore change neither the genome nor the bulk data.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from scbind.core.errors import InputError
from scbind.core.files import atomic, table_text, write_bed, write_table
from scbind.core.runlog import say
from scbind.demo.atlas import ASSAYED, LINES, SHARE, TYPES
from scbind.demo.simulate_genome import SimulatedGenome
from scbind.demo.simulate_reads import (
    Library,
    bulk_library,
    cell_library,
    footprints,
    gc_share,
    tn5_weight,
)
from scbind.demo.simulate_sites import chip_peaks
from scbind.demo.simulate_variants import draw_variants
from scbind.demo.world import (
    activity_table,
    draw_barcodes,
    random_streams,
    simulate_world,
    write_bgzip,
    write_fragments,
    write_truth,
)

BULK_FRAGMENTS = {"LINE_A": 400_000, "LINE_B": 250_000, "LINE_C": 400_000}
GC_BIAS = {"LINE_A": 0.15, "LINE_B": 0.4, "LINE_C": 0.25, "cells": 0.25}
CHROMOSOMES_MB = (1.25, 1.15, 1.05, 1.15)
MIN_MB = 0.1  # a shorter chromosome has no room for its gaps, repeats and elements
POOR_PER_CELL = 1 / 8  # poor barcodes (low quality) per real cell
DEPTH_SD = 0.45  # standard deviation of the natural logarithm of the fragments of a cell
FRIP = 0.42  # mean fraction of the fragments of a cell that are drawn from open elements


def simulate(
    outdir: str | Path,
    seed: int = 1,
    n_cells: int = 400,
    chromosome_mb: tuple[float, ...] = CHROMOSOMES_MB,
    cell_fragments: float = 1_850,
    bulk_fragments: dict[str, int] | None = None,
) -> None:
    """Write the demo atlas: the files of :func:`scbind.demo.atlas.demo_files`.

    The same arguments give the same bytes.

    Parameters
    ----------
    outdir
        Folder to write into. It is created if needed.
    seed
        Seed of all random streams.
    n_cells
        Number of real cells. About one poor barcode (of low quality) is added for every eight
        cells, at least four in all.
    chromosome_mb
        Lengths of chr1, chr2, ... in Mb. The numbers of elements, genes and sites are proportional to them.
    cell_fragments
        Median number of unique fragments per real cell. The distribution is log-normal.
    bulk_fragments
        Fragments per line. Default: ``BULK_FRAGMENTS``, scaled with the length of the genome.

    Raises
    ------
    InputError
        There are fewer than 25 cells (the rarest type would be empty), a chromosome is too short, or there is none.
    """
    if n_cells < 25:
        problem = f"with {n_cells} cells the rarest cell type is empty"
        raise InputError("n_cells", problem, "set it to 25 or more")
    if not len(chromosome_mb) or min(chromosome_mb) < MIN_MB:
        problem = f"{list(chromosome_mb)} is empty or has a chromosome shorter than {MIN_MB} Mb"
        raise InputError("chromosome_mb", problem, f"give chromosomes of {MIN_MB} Mb or more")
    outdir = Path(outdir)
    rng = random_streams(seed)
    activity = activity_table()
    world = simulate_world(rng, activity, chromosome_mb)
    genome, sites, openness, levels = world.genome, world.sites, world.openness, world.levels
    _write_reference(outdir, genome, world.genes)
    _write_chip(outdir, rng["chip"], genome, sites, openness)
    write_truth(outdir / "truth", world, activity)
    with atomic(outdir / "variants.vcf") as scratch:
        scratch.write_text(draw_variants(rng["variants"], genome, sites))

    tn5, gc = tn5_weight(genome.codes), gc_share(genome.codes)
    scale = sum(genome.lengths) / (1e6 * sum(CHROMOSOMES_MB))
    bulk_fragments = bulk_fragments or {line: round(n * scale) for line, n in BULK_FRAGMENTS.items()}
    for line in LINES:
        library = Library(genome, tn5, gc, GC_BIAS[line])
        level, mark = levels[line].to_numpy(), footprints(genome, sites, line)
        table = bulk_library(rng["bulk"], library, level, mark, bulk_fragments[line])
        write_fragments(outdir / f"bulk/{line}.fragments.tsv.gz", rng["duplicates"], genome, table, [line])
        say(f"{line}: {len(table):,} fragments")

    cells = _cells(rng["barcodes"], n_cells, cell_fragments)
    library = Library(genome, tn5, gc, GC_BIAS["cells"])
    marks = {name: footprints(genome, sites, name) for name in TYPES}
    table, is_open = cell_library(rng["cells"], library, cells, levels[TYPES], openness[TYPES], marks)
    barcodes = cells["barcode"].tolist()
    write_fragments(outdir / "sc/demo.fragments.tsv.gz", rng["duplicates"], genome, table, barcodes)
    cells["n_fragments"] = np.bincount(table["barcode"], minlength=len(cells))
    cells.loc[~cells["is_cell"], "cell_type"] = ""
    cells["is_cell"] = cells["is_cell"].astype(int)
    write_table(
        outdir / "truth/cells.tsv",
        cells[["barcode", "cell_type", "is_cell", "n_fragments"]],
        float_format=None,
    )
    with atomic(outdir / "truth/open.npz") as scratch:
        sparse.save_npz(scratch, sparse.csr_array(is_open))
    say(f"cells: {n_cells}, poor barcodes: {len(cells) - n_cells}, fragments: {len(table):,}")


def _cells(rng, n_cells: int, median: float) -> pd.DataFrame:
    """Barcodes with their planned cell type, fragments and fraction of these drawn from open elements.

    Real cells come first, in the proportions ``SHARE``, then poor ones. Poor barcodes alternate:
    one has hardly any fragments in open elements, the next has few fragments.
    """
    bounds = np.round(np.cumsum([SHARE[name] for name in TYPES]) * n_cells).astype(int)
    real = rng.permutation(np.repeat(TYPES, np.diff(np.concatenate([[0], bounds]))))
    n_poor = max(4, round(n_cells * POOR_PER_CELL))
    n = n_cells + n_poor
    wanted = median * rng.lognormal(0, DEPTH_SD, n)
    in_elements = np.clip(rng.normal(FRIP, 0.05, n), 0.3, 0.7)
    few = np.arange(n) >= n_cells
    few[n_cells::2] = False
    broken = (np.arange(n) >= n_cells) & ~few
    wanted[few] = median * rng.uniform(0.01, 0.08, few.sum())
    wanted[broken] *= 0.6
    in_elements[broken] = 0.03
    return pd.DataFrame(
        {
            "barcode": draw_barcodes(rng, n),
            "cell_type": np.concatenate([real, rng.choice(TYPES, n_poor)]).astype(object),
            "is_cell": np.arange(n) < n_cells,
            "wanted": np.maximum(np.round(wanted), 1).astype(int),
            "in_elements": in_elements,
        }
    )


def _write_reference(outdir: Path, genome: SimulatedGenome, gene_table: pd.DataFrame) -> None:
    letters = np.frombuffer(b"ACGTN", dtype=np.uint8)
    with atomic(outdir / "genome.fa") as scratch, open(scratch, "wb") as handle:
        for name, start, length in zip(genome.names, genome.offsets, genome.lengths, strict=False):
            text = letters[genome.codes[start : start + length]].tobytes()
            handle.write(f">{name}\n".encode())
            handle.writelines(text[first : first + 60] + b"\n" for first in range(0, length, 60))
    chrom, start = genome.locate(genome.repeats[:, 0])
    exclude = pd.DataFrame({"chrom": np.array(genome.names)[chrom], "start": start})
    exclude["end"] = start + genome.repeats[:, 1] - genome.repeats[:, 0]
    write_bed(outdir / "exclude.bed", exclude)
    write_bed(outdir / "genes.bed", gene_table)


def _write_chip(outdir: Path, rng, genome: SimulatedGenome, sites, openness: pd.DataFrame) -> None:
    for line in LINES:
        for tf in ASSAYED[line]:
            strict, relaxed = chip_peaks(rng, genome, sites, openness[line], line, tf)
            for table, suffix in ((strict, ""), (relaxed, ".relaxed")):
                text = table_text(table, header=False, float_format=None)
                write_bgzip(outdir / f"chip/{line}/{tf}{suffix}.narrowPeak.gz", text)
