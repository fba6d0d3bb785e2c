"""From fragments to cells: which barcodes are cells, the insertions of each cell, and its quality.

The fragments are sorted by chromosome and start, but not by end, and the order of chromosomes may differ from
``chrom.sizes``. Insertions are therefore held until no later fragment of the chromosome can come before them. They are
then written to one temporary file per chromosome. At the end, the files are joined in the order of ``chrom.sizes``,
without the insertions of barcodes that are not cells. Memory holds one chunk of fragments and a few numbers per
barcode.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from scbind.cells.columns import COLUMNS
from scbind.cells.profiles import (
    BACKGROUND,
    NUCLEOSOME,
    REACH,
    Lengths,
    ignored_barcodes,
    profile_table,
    tss_profile,
    weak_start_sites,
)
from scbind.core.errors import InputError
from scbind.core.files import atomic, write_table
from scbind.core.runlog import say
from scbind.core.scratch import scratch_folder
from scbind.formats.barcodes import ABSENT, FOREIGN, Numbering, is_no_barcode, match_barcodes, read_barcodes
from scbind.formats.fragments import iter_fragments
from scbind.formats.genes import read_tss
from scbind.formats.genome import MITOCHONDRIAL, ChromSizes, Genome
from scbind.formats.signal import CHUNK, LARGEST, CellSignal, window_blocks

TSS_CENTRE = 101  # bp around a start site; this, the next value, REACH and BACKGROUND are those of ArchR
TSS_FLOOR = 0.2  # lower limit of the background (both sides, insertions per position of the flank)
TSS_BLOCK = 2000  # start sites counted at once


def count_fragments(
    fragments: str | Path,
    sizes_path: str | Path,
    position_out: str | Path,
    cell_out: str | Path,
    barcodes_out: str | Path,
    profile_out: str | Path,
    min_fragments: int,
    barcodes: str | Path | None = None,
    genes: str | Path | None = None,
    sample: str = "sample",
    reference: str | Path | None = None,
) -> None:
    """Compute the insertions and the quality of the cells of a fragments file.

    Parameters
    ----------
    fragments
        Sorted fragments (see :func:`scbind.formats.fragments.iter_fragments`), 0-based half-open, Tn5-shifted.
    sizes_path
        ``chrom.sizes``; its total must be below 2**32 bp.
    position_out
        ``.npy``, uint32 (insertions,): sorted global positions, ``start`` and ``end - 1`` of each fragment.
    cell_out
        ``.npy``, uint32 (insertions,): the cell of each insertion, as 0-based row of ``barcodes_out`` without header.
    barcodes_out
        TSV sorted by barcode, with these columns:

        * ``n_fragments``: number of unique fragments (lines).
        * ``n_reads``: sum of the read counts of the fragments, or ``n_fragments`` if the file has no such counts.
        * ``frac_duplicates``: 1 - fragments / reads; empty in the whole sample if each fragment has one read, because
          the file then has no counts, or duplicates were removed before.
        * ``nucleosome_signal``: number of fragments of 147 to 293 bp divided by number of those below 147 bp (Signac,
          Stuart et al. 2021); ``inf`` if there are none of the latter.
        * ``tss_enrichment``: see :func:`tss_enrichment`; empty without ``genes``.
        * ``frac_mitochondrial``: fraction of the fragments that are mitochondrial; empty if no fragment is, because
          the genome has no mitochondrial chromosome or the program that made the fragments has left them out.
    profile_out
        TSV of curves (:func:`scbind.cells.profiles.profile_table`): the lengths of all fragments, including those of
        barcodes that are not cells, the insertions of the cells around start sites, and, without ``barcodes``, the
        number of all barcodes and of those with ``min_fragments``.
    min_fragments
        A barcode is a cell if it has at least this many unique fragments. Not used with ``barcodes``.
    barcodes
        List of the barcodes that are cells, one per line (first column, plain or gzip), in a form that
        :func:`scbind.formats.barcodes.match_barcodes` accepts. Barcodes without fragments are left out and logged.
    genes
        BED6 or GTF of genes (plain or gzip), for the start sites.
    sample
        Name of the sample, which may precede its barcodes in ``barcodes``.
    reference
        Folder with ``chrom.sizes`` and ``sequence.npy`` (:meth:`scbind.formats.genome.Genome.open`). If given, genes
        of another assembly are refused (:mod:`scbind.formats.assembly`).

    Raises
    ------
    InputError
        If the genome has 2**32 bp or more, the genes are of another assembly, the list of barcodes has duplicates or
        no barcode of the fragments, no barcode has enough fragments, or a file is malformed.
    """
    sizes = ChromSizes.read(sizes_path)
    if sizes.total > LARGEST:
        raise InputError(
            sizes_path,
            f"the genome has {sizes.total} bp, but positions are stored in 32 bits (below {LARGEST + 1})",
            "leave out unplaced sequences or split the genome",
        )
    allowed = None if barcodes is None else read_barcodes(barcodes)
    sites = None if genes is None else start_sites(genes, sizes, reference and Genome.open(reference))
    with scratch_folder(position_out, "spill") as folder:
        lengths = Lengths()
        table = _spill(fragments, sizes, folder, lengths)
        cells = _choose(table, fragments, min_fragments, barcodes, allowed, sample)
        row = np.full(len(table), LARGEST, dtype=np.uint32)
        row[cells.index] = np.arange(len(cells))
        n_insertions = 2 * int(cells["n_fragments"].sum())
        with (
            atomic(position_out) as position_path,
            atomic(cell_out) as cell_path,
            atomic(barcodes_out) as table_path,
            atomic(profile_out) as profile_path,
        ):
            _assemble(folder, sizes, row, n_insertions, position_path, cell_path)
            cells, tss = _quality(cells), None
            if sites is not None:
                signal = CellSignal.open(position_path, cell_path, len(cells), sizes)
                cells["tss_enrichment"] = tss_enrichment(signal, sites)
                tss = tss_profile(signal, sites)
            write_table(table_path, cells[COLUMNS])
            profile = profile_table(
                lengths, tss, None if allowed is not None else _at_least(table, min_fragments)
            )
            write_table(profile_path, profile)
    median = int(cells["n_fragments"].median())
    say(f"{fragments}: {len(cells)} cells of {len(table)} barcodes, median {median} fragments per cell")
    if ignored := ignored_barcodes(profile):
        say(f"{fragments}: {ignored}")
    if (enrichment := weak_start_sites(profile)) is not None:
        say(
            f"WARNING {fragments}: insertions are only {enrichment:.2f} times as frequent at the start sites of genes "
            f"as {REACH:,} bp away; the fragments and {genes} may be of different assemblies, or the data are poor"
        )


def start_sites(genes: str | Path, sizes: ChromSizes, genome: Genome | None = None) -> np.ndarray:
    """Return the start sites of genes as unique, sorted global 0-based positions: int64 (sites,).

    Sites closer than 2,000 bp to a chromosome end are left out, because their background is incomplete. Raises
    :class:`InputError` if no site is left, and like :func:`scbind.formats.genes.read_genes`.
    """
    table = read_tss(genes, sizes, genome)
    chrom, site = table["chrom"].to_numpy(), table["tss"].to_numpy().astype(np.int64)
    inside = (site >= REACH) & (site + REACH < sizes.lengths[chrom])
    if not inside.any():
        raise InputError(
            genes,
            f"no start site is at least {REACH} bp from the ends of its chromosome",
            "give the genes of this genome, or no genes, to omit TSS enrichment",
        )
    return np.unique(sizes.offsets[chrom[inside]] + site[inside])


def tss_enrichment(signal: CellSignal, sites: np.ndarray) -> np.ndarray:
    """Compute the TSS enrichment of each cell: float64 (cells,).

    It is the number of insertions per base in the 101 bp around all start sites, divided by that in the outer 100 bp of
    +-2,000 bp. The formula is that of ArchR (Granja et al. 2021, Methods; ``.fastTSSEnrichment``: ``2 * centre / 101 /
    max(flanks / 100, 0.2)``). The 0.2 keeps the value finite for cells with an empty background. ENCODE uses the same
    ratio for bulk samples.

    ``sites``: global 0-based positions, int64 (sites,), at least 2,000 bp from chromosome ends.
    """
    centre, flanks = np.zeros(signal.n_cells), np.zeros(signal.n_cells)
    half = TSS_CENTRE // 2
    for part in window_blocks(len(sites), TSS_BLOCK):
        site = sites[part]
        centre += signal.counts(site - half, TSS_CENTRE, TSS_CENTRE).sum(axis=1).A1
        flanks += signal.counts(site - REACH, BACKGROUND, BACKGROUND).sum(axis=1).A1
        flanks += signal.counts(site + REACH - BACKGROUND + 1, BACKGROUND, BACKGROUND).sum(axis=1).A1
    return 2 * (centre / TSS_CENTRE) / np.maximum(flanks / BACKGROUND, TSS_FLOOR)


def _spill(fragments: str | Path, sizes: ChromSizes, folder: Path, lengths: Lengths) -> pd.DataFrame:
    """Write sorted keys (global position << 32 | barcode code) per chromosome. Return the counts per barcode.

    Codes are in the order in which barcodes first occur. The keys of a chromosome are sorted for any chunk size: starts
    never decrease, so no later key can come before the last start read.
    """
    codes = Numbering()
    # Rows: fragments, reads, nucleosome-free, mononucleosomal and mitochondrial fragments.
    sums = np.zeros((5, 0), dtype=np.int64)
    mitochondrial = np.array([name in MITOCHONDRIAL for name in sizes.names])
    pending, current = np.empty(0, dtype=np.uint64), -1
    for chunk in iter_fragments(fragments, sizes):
        local, unique = pd.factorize(chunk["barcode"])
        code = codes.of(unique.categories[unique.codes])[local]
        chrom = chunk["chrom"].cat.codes.to_numpy().astype(np.int64)
        start, end = chunk["start"].to_numpy(), chunk["end"].to_numpy()
        length = end - start
        lengths.add(length)
        sums = np.pad(sums, ((0, 0), (0, len(codes) - sums.shape[1])))
        short = length < NUCLEOSOME
        mono = ~short & (length < 2 * NUCLEOSOME)
        for row, weight in enumerate((None, chunk["count"].to_numpy(), short, mono, mitochondrial[chrom])):
            # float64 sums of integers are exact up to 2**53
            sums[row] += np.bincount(code, weight, minlength=len(codes)).astype(np.int64)
        offset = sizes.offsets[chrom]
        ends_of_runs = np.flatnonzero(np.diff(chrom, append=-1))
        begin = 0
        for last in ends_of_runs.tolist():
            run, begin = slice(begin, last + 1), last + 1
            if chrom[last] != current:
                _append(folder, current, pending)
                pending, current = pending[:0], int(chrom[last])
            positions = np.concatenate([offset[run] + start[run], offset[run] + end[run] - 1]).astype(
                np.uint64
            )
            keys = positions << np.uint64(32) | np.tile(code[run], 2).astype(np.uint64)
            # Starts are sorted and ends nearly so: a stable sort merges such runs faster than a general one.
            pending = np.sort(np.concatenate([pending, keys]), kind="stable")
            final = np.searchsorted(pending, np.uint64(offset[last] + start[last]) << np.uint64(32))
            _append(folder, current, pending[:final])
            pending = pending[final:]
    _append(folder, current, pending)
    table = pd.DataFrame(sums.T, columns=["n_fragments", "n_reads", "short", "mono", "mitochondrial"])
    table.insert(0, "barcode", codes.names)
    return table


def _append(folder: Path, chrom: int, keys: np.ndarray) -> None:
    if len(keys):
        with open(folder / str(chrom), "ab") as handle:
            keys.tofile(handle)


def _choose(table, fragments, min_fragments, barcodes, allowed, sample) -> pd.DataFrame:
    """Return the rows of ``table`` that are cells, sorted by barcode. The index holds the codes of the barcodes."""
    if allowed is None:
        cells = table[table["n_fragments"] >= min_fragments]
        none = cells["barcode"].map(is_no_barcode).to_numpy(dtype=bool)
        if none.any():
            say(
                f"WARNING {fragments}: {int(cells['n_fragments'][none].sum())} fragments without a barcode "
                f"({', '.join(cells['barcode'][none])}) belong to no cell"
            )
            cells = cells[~none]
        if cells.empty:
            most = int(table["n_fragments"].max()) if len(table) else 0
            raise InputError(
                fragments,
                f"no barcode has {min_fragments} fragments (the maximum is {most})",
                "lower cells.min_barcode or check that this is a single-cell file",
            )
    else:
        place = match_barcodes(barcodes, allowed, pd.Index(table["barcode"], dtype=object), sample)
        cells = table.iloc[place[place >= 0]]
        missing = allowed[place == ABSENT]
        if cells.empty:
            raise InputError(
                barcodes,
                f"none of its {len(allowed)} barcodes has a fragment in {fragments} (listed: {allowed.iloc[0]}, "
                f"in the fragments: {next(iter(table['barcode']), 'none')})",
                "use the barcodes of this sample",
            )
        if len(missing):
            own = int((place != FOREIGN).sum())
            say(
                f"WARNING {barcodes}: {len(missing)} of {own} barcodes ({len(missing) / own:.1%}), such as "
                f"{missing.iloc[0]}, have no fragment"
            )
    return cells.sort_values("barcode")


def _at_least(table: pd.DataFrame, min_fragments: int) -> dict[int, int]:
    """Return number of fragments -> number of barcodes with at least as many, for 1 and ``min_fragments``."""
    return {least: int((table["n_fragments"] >= least).sum()) for least in (1, min_fragments)}


def _assemble(folder, sizes, row, n_insertions, position_path, cell_path) -> None:
    """Write the insertions of cells in the order of ``chrom.sizes``. ``row`` maps barcode codes to rows."""
    # Written to file handles, because open_memmap cannot create an empty array and np.save needs it all in memory.
    header = {"descr": "<u4", "fortran_order": False, "shape": (n_insertions,)}
    with open(position_path, "wb") as positions, open(cell_path, "wb") as rows:
        for handle in (positions, rows):
            np.lib.format.write_array_header_1_0(handle, header)
        for chrom in range(len(sizes.names)):
            if not (folder / str(chrom)).exists():
                continue
            keys = np.memmap(folder / str(chrom), dtype=np.uint64, mode="r")
            for begin in range(0, len(keys), CHUNK):
                block = keys[begin : begin + CHUNK]
                cell = row[(block & np.uint64(LARGEST)).astype(np.int64)]
                kept = cell != LARGEST
                (block[kept] >> np.uint64(32)).astype("<u4").tofile(positions)
                cell[kept].astype("<u4").tofile(rows)


def _quality(cells: pd.DataFrame) -> pd.DataFrame:
    """Add the quality columns that are computed from the counts."""
    cells = cells.reset_index(drop=True)
    counted = (cells["n_reads"] != cells["n_fragments"]).any()
    cells["frac_duplicates"] = 1 - cells["n_fragments"] / cells["n_reads"] if counted else np.nan
    cells["nucleosome_signal"] = cells["mono"] / cells["short"]  # 0 / 0 is NaN: unknown
    cells["tss_enrichment"] = np.nan
    known = cells["mitochondrial"].any()
    cells["frac_mitochondrial"] = cells["mitochondrial"] / cells["n_fragments"] if known else np.nan
    return cells
