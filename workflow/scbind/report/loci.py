"""The page of loci: the best sites of every TF in igv.js, with the tracks of all cell types, in one file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from scbind.core.files import AGAIN, atomic, read_result
from scbind.core.runlog import say
from scbind.formats.colours import colours_of
from scbind.formats.evidence import CHIP
from scbind.formats.genes import read_genes
from scbind.formats.genome import ChromSizes
from scbind.formats.intervals import read_bed
from scbind.report.differences import NO_PROTEIN, active_first, activity_in_type
from scbind.report.lociwindows import (
    BIN,
    STEPS,
    binding,
    contig,
    coverage,
    ordered_sites,
    sequences,
    tracks_of,
    windows_of,
)
from scbind.report.pack import codes, pack, pack_json, rounded
from scbind.report.tables import NAMES, subtitle, trusted

TEMPLATES = Path(__file__).with_name("templates")
MOST_BYTES = 12_000_000  # of the page
REACH = 10_000  # bp between the start of a gene and the centre of a site that the page lists for it
# Lower bounds on the bytes of a locus (sequence and coverage) and of P(bound) of a TF there: a constant, and an amount
# per cell type. They cap the number of sites for which files are read.
LEAST_LOCUS, LEAST_PAIR = (1_800, 30), (100, 2)


@dataclass(frozen=True)
class LociFiles:
    """Files that the page shows.

    Attributes
    ----------
    genome, fasta, sizes
        Name of the assembly, its indexed FASTA, and ``chrom.sizes``.
    tracks
        Sample to its folder of TF tracks (:func:`scbind.binding.celltracks.cell_type_tracks`).
    types, coverage
        Cell type to the name of its folder (``slug``), and to its ``coverage.bw``.
    all_types
        Also those without a pseudobulk, so that a type has the same colour as in the report.
    consensus, sites
        ``consensus.bed`` and ``best_sites.tsv``.
    genes
        BED or GTF of genes, or None.
    differential
        ``differential_tfs.tsv``, or None. It says in which types a TF is more or less active.
    """

    genome: str
    fasta: str | Path
    sizes: str | Path
    tracks: Mapping[str, str | Path]
    types: Mapping[str, str]
    all_types: Sequence[str]
    coverage: Mapping[str, str | Path]
    consensus: str | Path
    sites: str | Path
    genes: str | Path | None = None
    differential: str | Path | None = None


def write_loci(files: LociFiles, output: str | Path, most_bytes: int = MOST_BYTES) -> None:
    """Write ``results/browser/loci.html``.

    The page has the sequence of each locus, the coverage of all cell types, P(bound) of the TFs that have a site there,
    consensus peaks and genes. If they do not fit into ``most_bytes``, each TF keeps the loci that it takes first
    (:func:`scbind.report.lociwindows.ordered_sites`), and the page says how many. TFs on which scbind abstains are left
    out.

    Raises
    ------
    InputError
        If a file is missing, damaged, or of another genome.
    """
    sizes, types = ChromSizes.read(files.sizes), list(files.types)
    table, left_out = trusted(read_result(files.sites, AGAIN))
    sites = ordered_sites(files.sites, table, sizes, types)
    peaks = read_bed(files.consensus, sizes)
    genes = _genes(files.genes, sizes)
    tried = _within(sites, _least(sites, len(types)), most_bytes)
    packs = _packs(files, tried, sizes)
    needed = _sizes(tried, packs)
    fixed = (
        len(_render(files, _said(sites.head(1), sites, left_out), "", [])) + 100
    )  # of numbers in the sentences
    room = most_bytes - fixed
    while True:
        kept = _within(tried, needed, room)
        index = pack_json(_index(files, kept, sizes, peaks, genes))
        over = fixed + len(index) + int(needed[: len(_pairs(kept))].sum()) - most_bytes
        if over <= 0 or kept.empty:
            break
        room -= over + 1_000  # the list of sites needs bytes, too
    names = [
        name for pair in _pairs(kept).itertuples() for name in _names(pair.locus, pair.tf, pair.new)
    ]  # fmt: skip
    page = _render(
        files, _said(kept, sites, left_out), index, [(name, packs[name]) for name in names], kept.empty
    )
    with atomic(output) as path:
        path.write_bytes(page)
    say(
        f"loci: {kept['locus'].nunique():,} loci with {len(kept):,} of {len(sites):,} sites, {len(page) / 1e6:.2f} MB"
    )


def _genes(path: str | Path | None, sizes: ChromSizes) -> pd.DataFrame:
    columns = ["gene", "chrom", "start", "end", "tss", "strand"]
    if path is None:
        return pd.DataFrame({name: pd.Series(dtype=object) for name in columns})
    genes = read_genes(path, sizes)
    return genes.assign(chrom=np.array(sizes.names, dtype=object)[genes["chrom"]])


# ---- what fits ----
def _pairs(sites: pd.DataFrame) -> pd.DataFrame:
    """Return each (locus, TF) once, in the order of the sites, with ``new``: whether the locus was not there before."""
    pairs = sites[["locus", "tf", "turn"]].drop_duplicates(["locus", "tf"], ignore_index=True)
    return pairs.assign(new=~pairs["locus"].duplicated())


def _least(sites: pd.DataFrame, n_types: int) -> np.ndarray:
    """Return an approximate lower bound on the bytes of each pair."""
    locus, pair = (base + each * n_types for base, each in (LEAST_LOCUS, LEAST_PAIR))
    return pair + locus * _pairs(sites)["new"].to_numpy()


def _sizes(sites: pd.DataFrame, packs: Mapping[str, str]) -> np.ndarray:
    """Return the bytes that each pair needs in the page."""
    pairs, element = _pairs(sites), len('\n<script type="text/plain" id="pack-"></script>')
    return np.array(
        [
            sum(len(packs[name]) + len(name) + element for name in _names(locus, tf, new))
            for locus, tf, new in zip(pairs["locus"], pairs["tf"], pairs["new"], strict=True)
        ],
        dtype=np.int64,
    )


def _names(locus: int, tf: str, new: bool) -> list[str]:
    """Return the names of the packs that a pair adds to the page."""
    return [f"b{locus}-{tf}", *([f"s{locus}", f"c{locus}"] if new else [])]


def _within(sites: pd.DataFrame, needed: np.ndarray, room: int) -> pd.DataFrame:
    """Return the sites of the first pairs that need no more than ``room`` bytes together."""
    pairs = _pairs(sites)[: int(np.searchsorted(np.cumsum(needed), room, side="right"))]
    keys = pd.MultiIndex.from_frame(pairs[["locus", "tf"]])
    return sites[pd.MultiIndex.from_frame(sites[["locus", "tf"]]).isin(keys)]


def _said(kept: pd.DataFrame, sites: pd.DataFrame, left_out: str) -> list[str]:
    """Return sentences on what the page holds."""
    if len(kept) == len(sites):
        text = f"The page has all {len(sites):,} best sites of results/analysis/best_sites.tsv."
    else:
        rest = sites[~sites.index.isin(kept.index)]
        per_tf = f"the first {int(rest['turn'].min()):,} loci of every TF, and more of some"
        text = (
            f"The page has room for {len(kept):,} of {len(sites):,} best sites: {per_tf}. A TF first takes the best "
            "site of each cell type, the highest P(bound) first, then the second best. "
            "All are in results/analysis/best_sites.tsv."
        )
    return [text, NO_PROTEIN, *([left_out] if left_out else [])]


# ---- what the tracks show ----
def _packs(files: LociFiles, sites: pd.DataFrame, sizes: ChromSizes) -> dict[str, str]:
    """Return the packs of all loci: ``s``: FASTA; ``c``: coverage, ``b``: P(bound) of a TF, uint8 (types, bins).

    Coverage is in steps of the highest of the locus. A type without a track of the TF has 255.
    """
    windows = windows_of(sites, sizes)
    packs = {
        f"s{locus}": pack(text.encode("ascii"))
        for locus, text in enumerate(sequences(files.fasta, windows, sizes))
    }
    depth = coverage([files.coverage[name] for name in files.types], windows)
    for locus, values in enumerate(depth):
        top = max(float(values.max(initial=0)), 1e-9)
        packs[f"c{locus}"] = pack(np.float32(top).tobytes() + _steps(values, top))
    packs |= dict(_binding_packs(files, sites, windows))
    return packs


def _binding_packs(files: LociFiles, sites: pd.DataFrame, windows: pd.DataFrame) -> Iterator[tuple[str, str]]:
    tracks = tracks_of(files.tracks, list(files.types.values()))
    for tf, part in sites.groupby("tf"):
        loci = np.sort(part["locus"].unique())
        paths = tracks.get(tf, [[] for _ in files.types])
        ordered = windows.iloc[loci].sort_values(["chrom", "start"])
        for locus, value in zip(ordered.index, binding(paths, ordered), strict=True):
            yield f"b{locus}-{tf}", pack(_steps(value, 1.0))


def _steps(values: np.ndarray, top: float) -> bytes:
    """Return values as steps from 0 (nothing) to ``STEPS`` (``top``), rounded; 255 where not known."""
    return codes(values / top * STEPS + 0.5, 0, STEPS + 1, STEPS + 1).tobytes()


# ---- the page ----
def _render(
    files: LociFiles, said: list[str], index: str, packs: list[tuple[str, str]], empty: bool = False
) -> bytes:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )  # fmt: skip
    page = environment.get_template("loci.html.j2").render(
        genome=files.genome,
        said=said,
        subtitle=subtitle(files.tracks, files.genome),
        empty=empty,
        index=index,
        packs=packs,
        css="".join(_template(name) for name in ("report.css", "loci.css")),
        licence=_template("igv.LICENSE.txt"),
        igv=_template("igv.min.js").partition("//# sourceMappingURL")[0],
        js="".join(_template(name) for name in ("shared.js", "loci.js")),
    )
    return page.encode("utf-8")


def _template(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _index(files: LociFiles, kept: pd.DataFrame, sizes: ChromSizes, peaks, genes) -> dict:
    """Return what the page needs before a locus is opened. Coordinates are 0-based half-open."""
    types, tfs = list(files.types), sorted(kept["tf"].unique())
    loci = np.sort(kept["locus"].unique())
    windows = windows_of(kept, sizes).assign(locus=loci) if len(kept) else pd.DataFrame()
    evidence = kept.drop_duplicates("tf").set_index("tf").get("evidence", pd.Series(dtype=object))
    colours = colours_of([*files.all_types, *types])
    return {
        "bin": BIN,
        "steps": STEPS,
        "reach": REACH,
        "genome": files.genome,
        "types": types,
        "colours": [colours[name] for name in types],
        "tfs": tfs,
        "activity": _activity(files, tfs, types),
        "activity_name": NAMES["tf_in_type"],
        "motif": [tf for tf in tfs if evidence.get(tf, CHIP) != CHIP],
        "loci": {
            int(row.locus): [contig(row.chrom), row.start, row.end] for row in windows.itertuples()
        },
        "sites": {
            "tf": pd.Index(tfs).get_indexer(kept["tf"]).tolist(),
            "type": pd.Index(types).get_indexer(kept["cell_type"]).tolist(),
            **{name: kept[name].tolist() for name in ("locus", "rank", "start", "end")},
            "binding": rounded(kept["binding"]),
        },
        "peaks": _near(peaks, windows, ["start", "end"]),
        "genes": _near(genes, windows, ["gene", "start", "end", "tss", "strand"], REACH),
    }  # fmt: skip


def _activity(files: LociFiles, tfs: list[str], types: list[str]) -> dict | None:
    """Return whether each TF is more or less active in each type: ``words``, their order ``first``, and ``of``.

    ``of`` has the number of the word of each TF and type, those of one TF side by side. None without tests.
    """
    if files.differential is None:
        return None
    pairs = pd.MultiIndex.from_product([tfs, types], names=["tf", "cell_type"]).to_frame(index=False)
    codes, words = pd.factorize(activity_in_type(pairs, read_result(files.differential, AGAIN)))
    first = active_first(pd.Series(words, dtype=object)).tolist()
    return {"words": words.tolist(), "first": first, "of": codes.tolist()}


def _near(table: pd.DataFrame, windows: pd.DataFrame, columns: list[str], reach: int = 0) -> dict[str, list]:
    """Return the rows that share a base with a window or with ``reach`` bp around it, by the name of the chromosome."""
    found: dict[str, list] = {}
    for chrom, part in windows.groupby("chrom") if len(windows) else ():
        rows = table[table["chrom"] == chrom]
        low = np.sort(part["start"].to_numpy() - reach)
        high = np.sort(part["end"].to_numpy() + reach)
        begun = np.searchsorted(low, rows["end"].to_numpy(dtype=np.int64), side="left")
        over = np.searchsorted(high, rows["start"].to_numpy(dtype=np.int64), side="right")
        found[contig(chrom)] = rows.loc[begun > over, columns].to_numpy(dtype=object).tolist()
    return found
