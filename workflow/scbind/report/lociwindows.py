"""Windows of the genome for the page of loci: which ones, and what the tracks show in them.

A locus is a tile of ``TILE`` bp and ``FLANK`` bp on either side. All sites whose centre is in the tile share the locus,
so TFs that bind side by side do not need the same sequence and coverage twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pysam

from scbind.core.errors import InputError
from scbind.core.files import AGAIN, require
from scbind.formats.bigwig import bigwig_intervals, open_any_bigwig
from scbind.formats.genome import ChromSizes

TILE, FLANK = 1_000, 2_000  # bp
BIN = 50  # bp of a value in the page; tiles and flanks are whole numbers of bins
STEPS = 200  # steps in which the page holds a value; its error is at most a 400th of the highest
NEEDED = ["cell_type", "tf", "rank", "chrom", "start", "end", "binding"]


def ordered_sites(
    path: str | Path, sites: pd.DataFrame, sizes: ChromSizes, types: Sequence[str]
) -> pd.DataFrame:
    """Return the best sites with their locus, in the order in which the page takes them.

    Parameters
    ----------
    path, sites
        ``best_sites.tsv`` and its rows, without the TFs on which scbind abstains. Coordinates are 0-based half-open.
    sizes, types
        Chromosomes of the genome, and the cell types.

    Returns
    -------
    pandas.DataFrame
        The rows with ``locus`` (int64, numbers from 0 in the order in which loci are first taken) and ``turn`` (int64):
        0 for the places that each TF takes first, 1 for those that it takes next, and so on. A TF first takes its
        places of rank 1, those with the highest P(bound) first, then those of rank 2. Rows of a TF at the same locus
        have one turn. Sorted by turn, then by P(bound).

    Raises
    ------
    InputError
        A column is missing, or a row has an unknown chromosome or cell type, or lies outside its chromosome.
    """
    if missing := [name for name in NEEDED if name not in sites]:
        raise InputError(path, f"no column {missing[0]}", AGAIN)
    sites = sites.sort_values(
        ["tf", "rank", "binding", "cell_type"], ascending=[True, True, False, True], ignore_index=True
    )
    length = sites["chrom"].map(sizes.as_dict())
    _refuse(path, sites, length.isna(), "a chromosome that the genome does not have")
    inside = (sites["start"] >= 0) & (sites["start"] < sites["end"]) & (sites["end"] <= length)
    _refuse(path, sites, ~inside, "a site outside its chromosome")
    _refuse(path, sites, ~sites["cell_type"].isin(list(types)), "a cell type without a pseudobulk")
    tile = (sites["start"] + sites["end"]) // 2 // TILE
    place = pd.factorize(sites["chrom"] + ":" + tile.astype(str))[0]
    first = ~pd.DataFrame({"tf": sites["tf"], "place": place}).duplicated()
    nth = first.groupby(sites["tf"]).cumsum() - 1
    turn = nth.where(first).groupby([sites["tf"], place]).transform("min")
    sites = sites.assign(tile=tile, place=place, turn=turn.astype(np.int64))
    sites = sites.sort_values(
        ["turn", "binding", "tf", "rank", "cell_type"], ascending=[True, False, True, True, True],
        ignore_index=True,
    )  # fmt: skip
    return sites.assign(locus=pd.factorize(sites["place"])[0].astype(np.int64)).drop(columns="place")


def _refuse(path, sites: pd.DataFrame, wrong: pd.Series, problem: str) -> None:
    if wrong.any():
        row = sites[wrong].iloc[0]
        place = f"{row['chrom']}:{row['start']}-{row['end']}, {row['tf']} in {row['cell_type']}"
        raise InputError(path, problem, AGAIN, place)


def windows_of(sites: pd.DataFrame, sizes: ChromSizes) -> pd.DataFrame:
    """Return the window of each locus: ``chrom`` (str), ``start``, ``end`` (int64, 0-based half-open).

    Windows are cut to the chromosome.
    """
    loci = sites.drop_duplicates("locus").sort_values("locus", ignore_index=True)
    length = loci["chrom"].map(sizes.as_dict())
    start = np.maximum(loci["tile"] * TILE - FLANK, 0)
    end = np.minimum((loci["tile"] + 1) * TILE + FLANK, length)
    return pd.DataFrame({"chrom": loci["chrom"], "start": start, "end": end}).astype(
        {"start": np.int64, "end": np.int64}
    )


def sequences(fasta: str | Path, windows: pd.DataFrame, sizes: ChromSizes) -> Iterator[str]:
    """Yield the FASTA of each window.

    The header says where it lies, as igv.js reads it: 1-based closed, with the length of the chromosome.
    ``fasta`` is in BGZF. Raises :class:`InputError` if it or an index (``.fai``, ``.gzi``) is missing, or of another
    genome.
    """
    for path in (fasta, f"{fasta}.fai", f"{fasta}.gzi"):
        require(path, AGAIN)
    length = sizes.as_dict()
    with pysam.FastaFile(str(fasta)) as handle:
        for row in windows.itertuples():
            if row.chrom not in handle.references or handle.get_reference_length(row.chrom) < row.end:
                raise InputError(fasta, f"does not reach {row.chrom}:{row.start}-{row.end}", AGAIN)
            text = handle.fetch(row.chrom, row.start, row.end).upper()
            yield f">{contig(row.chrom)}:{row.start + 1}-{row.end} @len={length[row.chrom]}\n{text}\n"


def contig(name: str) -> str:
    """Return the name of a chromosome for igv.js, which reads the text after a colon as a position."""
    return name.replace(":", "_")


def bins_of(windows: pd.DataFrame) -> np.ndarray:
    """Return the number of bins of each window, int64. The last bin of a window may be shorter."""
    return -(-(windows["end"] - windows["start"]).to_numpy() // BIN)


def coverage(paths: Sequence[str | Path], windows: pd.DataFrame) -> np.ndarray:
    """Return the mean coverage in the bins of each window: float32 (windows, types, bins), 0 beyond a window.

    ``paths`` are bigWigs, one per type. Raises :class:`InputError` if one is missing or damaged.
    """
    found = np.zeros((len(windows), len(paths), int(bins_of(windows).max(initial=0))), np.float32)
    for column, path in enumerate(paths):
        for row, entries in _entries(path, windows):
            start, end = windows["start"].iat[row], windows["end"].iat[row]
            summed = _summed(entries, start, end)
            edges = np.minimum(np.arange(start, end + BIN, BIN), end)
            found[row, column, : len(edges) - 1] = np.diff(summed[edges - start]) / np.diff(edges)
    return found


def binding(paths: Sequence[Sequence[str | Path]], windows: pd.DataFrame) -> np.ndarray:
    """Return the highest P(bound) in the bins of each window: float32 (windows, types, bins), 0 beyond a window.

    ``paths`` are the bigWigs of a TF: of each type, one per sample that has it. The mean of the samples is taken; a
    type without any is NaN. Raises :class:`InputError` if one is missing or damaged.
    """
    bins = int(bins_of(windows).max(initial=0))
    found = np.zeros((len(windows), len(paths), bins), np.float32)
    for column, of_type in enumerate(paths):
        found[:, column] = 0 if of_type else np.nan
        for path in of_type:
            for row, entries in _entries(path, windows):
                found[row, column] += _highest(entries, windows["start"].iat[row], bins) / len(of_type)
    return found


def _entries(path, windows: pd.DataFrame) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the number of each window with data, and its entries in an open bigWig."""
    with open_any_bigwig(path) as bigwig:
        for row, (chrom, start, end) in enumerate(
            zip(windows["chrom"], windows["start"].tolist(), windows["end"].tolist(), strict=True)
        ):
            if chrom in bigwig.chroms:  # a chromosome without data may not be listed
                entries = bigwig_intervals(path, bigwig, chrom, start, end)
                if len(entries):
                    yield row, np.clip(entries, [start, start, -np.inf], [end, end, np.inf])


def _summed(entries: np.ndarray, start: int, end: int) -> np.ndarray:
    """Return the sum of the values of all bases before each place of a window, float64 (bases + 1,)."""
    change = np.zeros(end - start + 1)
    np.add.at(change, entries[:, 0].astype(np.int64) - start, entries[:, 2])
    np.add.at(change, entries[:, 1].astype(np.int64) - start, -entries[:, 2])
    return np.concatenate([[0], np.cumsum(np.cumsum(change)[:-1])])


def _highest(entries: np.ndarray, start: int, bins: int) -> np.ndarray:
    """Return the highest value in each bin of a window, float64 (bins,)."""
    first = (entries[:, 0].astype(np.int64) - start) // BIN
    last = (entries[:, 1].astype(np.int64) - start - 1) // BIN
    highest = np.zeros(bins)
    for step in range(int((last - first).max()) + 1):
        here = first + step <= last
        np.maximum.at(highest, first[here] + step, entries[here, 2])
    return highest


def tracks_of(folders: Mapping[str, str | Path], slugs: Sequence[str]) -> dict[str, list[list[Path]]]:
    """Return TF to its bigWigs: of each type, one per sample.

    Where scbind abstains on a TF, the name of the file has a mark, so it is found under another name than the TF's.
    Raises :class:`InputError` if a folder is missing.
    """
    found: dict[str, list[list[Path]]] = {}
    for folder in folders.values():
        for column, slug in enumerate(slugs):
            for path in sorted(require(folder, AGAIN).joinpath(slug).glob("*.bw")):
                found.setdefault(path.stem, [[] for _ in slugs])[column].append(path)
    return found
