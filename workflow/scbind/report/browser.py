"""Files that open all tracks of a run in a genome browser: a session of IGV, and a track hub of UCSC.

Both name the tracks by paths relative to their own folder. So the results can be moved or served as a whole.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd

from scbind.core.files import AGAIN, atomic, read_result, require
from scbind.core.runlog import say
from scbind.formats.colours import colours_of
from scbind.formats.evidence import MOTIF, marked
from scbind.report.tables import trusted

TOP = 3  # TFs per cell type in the session: those with the largest effect size
SIGNIFICANT = 0.05
FLANK = 5_000  # bp shown on either side of the site that the session opens at
HIGHEST = 1.0  # P(bound) at the top of a track
LONGEST = 80  # letters of a long label of UCSC
MARK = ".abstained"  # in the names of tracks of TFs on which scbind abstains


@dataclass(frozen=True)
class BrowserFiles:
    """Files that the browser shows.

    Attributes
    ----------
    genome
        Name of the assembly, as UCSC knows it.
    fasta
        Indexed FASTA of the genome.
    tracks
        Sample to its folder of TF tracks (:func:`scbind.binding.celltracks.cell_type_tracks`).
    types
        Cell type to the name of its folder (``slug``).
    all_types
        Also those without a pseudobulk, so that a type has the same colour as in the report.
    coverage, peaks
        Cell type to its ``coverage.bw`` and ``peaks.narrowPeak``.
    consensus
        ``consensus.bed``.
    genes
        BED or GTF of genes, or None.
    differential, sites
        ``differential_tfs.tsv``, and ``best_sites.tsv`` or None.
    """

    genome: str
    fasta: str | Path
    tracks: Mapping[str, str | Path]
    types: Mapping[str, str]
    all_types: Sequence[str]
    coverage: Mapping[str, str | Path]
    peaks: Mapping[str, str | Path]
    consensus: str | Path
    genes: str | Path | None
    differential: str | Path
    sites: str | Path | None = None


def write_browser(files: BrowserFiles, session: str | Path, hub: str | Path) -> None:
    """Write a session of IGV and a track hub.

    Parameters
    ----------
    files
        What they show.
    session
        XML file: coverage and peaks of every cell type, the consensus peaks, the genes, and the tracks of the ``TOP``
        TFs of every type. It opens at the site with the highest P(bound).
    hub
        ``hub.txt`` of UCSC in one file (``useOneFile``): coverage and the tracks of all TFs of every type. The TFs are
        hidden at first.

    Raises
    ------
    InputError
        If a file is missing.
    """
    colours = colours_of([*files.all_types, *files.types])
    chosen = _chosen(read_result(files.differential, AGAIN))
    shown = _session(files, colours, chosen, Path(session).parent)
    text = _hub(files, colours, Path(hub).parent)
    with atomic(session) as path_session, atomic(hub) as path_hub:
        ElementTree.indent(shown)
        ElementTree.ElementTree(shown).write(path_session, encoding="UTF-8", xml_declaration=True)
        path_hub.write_text(text, encoding="utf-8")
    say(
        f"browser: {len(shown.find('Resources'))} tracks in the session, {text.count('bigDataUrl')} in the hub"
    )


def _chosen(table: pd.DataFrame) -> dict[str, list[str]]:
    """Return the ``TOP`` TFs of every cell type that scbind does not abstain on, strongest first."""
    table = trusted(table[table["contrast"] == "cell_type"])[0]
    up = table[(table["p_adjusted"] < SIGNIFICANT) & (table["difference"] > 0)]
    up = up.sort_values("effect_size", ascending=False, kind="stable")
    return {name: list(part["tf"][:TOP]) for name, part in up.groupby("cell_type")}


def _found(files: BrowserFiles, name: str) -> list[tuple[str, str, Path]]:
    """Return ``(sample, TF, path)`` of every bigWig of a cell type, sorted. TFs with a mark are left out."""
    found = []
    for sample, folder in files.tracks.items():
        paths = sorted(require(folder, AGAIN).joinpath(files.types[name]).glob("*.bw"))
        found += [(sample, path.stem, path) for path in paths if not path.stem.endswith(MARK)]
    return found


def _by_motif(files: BrowserFiles) -> set[str]:
    """Return the TFs without ChIP-seq, from the tables beside the tracks."""
    tables = [
        read_result(path, AGAIN)
        for folder in files.tracks.values()
        for path in Path(folder).glob("*/levels.tsv")
    ]
    return {tf for table in tables for tf in table.loc[table["evidence"] == MOTIF, "tf"]}


def _session(
    files: BrowserFiles, colours, chosen: Mapping[str, Sequence[str]], folder: Path
) -> ElementTree.Element:
    by_motif = _by_motif(files)
    rows = []  # path, name, colour, highest value
    for name, path in files.coverage.items():
        rows.append((path, name, colours[name], None))
        if Path(files.peaks[name]).stat().st_size:  # a type may have no peak
            rows.append((files.peaks[name], f"{name}: peaks", colours[name], None))
        wanted = chosen.get(name, [])
        found = sorted(
            (wanted.index(tf), sample, tf, path) for sample, tf, path in _found(files, name) if tf in wanted
        )
        several = len(files.tracks) > 1
        rows += [
            (
                path,
                f"{name}: {marked(tf, tf in by_motif)}" + (f" ({sample})" if several else ""),
                colours[name],
                HIGHEST,
            )
            for _, sample, tf, path in found
        ]
    rows.append((files.consensus, "consensus peaks", "#444444", None))
    if files.genes:
        rows.append((files.genes, "genes", "#1B3A6B", None))
    fasta = _relative(require(files.fasta, AGAIN), folder)
    session = ElementTree.Element("Session", genome=fasta, locus=_locus(files), version="8")
    resources = ElementTree.SubElement(session, "Resources")
    panel = ElementTree.SubElement(session, "Panel", name="scbind")
    for path, name, colour, highest in rows:
        where = _relative(require(path, AGAIN), folder)
        ElementTree.SubElement(resources, "Resource", path=where)
        track = ElementTree.SubElement(
            panel, "Track", id=where, name=name, color=_rgb(colour), autoScale="true"
        )
        if highest is not None:
            track.set("autoScale", "false")
            ElementTree.SubElement(track, "DataRange", minimum="0.0", maximum=str(highest), baseline="0.0")
    return session


def _locus(files: BrowserFiles) -> str:
    """Return the region that the session opens at, 1-based closed as IGV has it; ``all`` if no site is known."""
    if files.sites is None:
        return "all"
    sites = trusted(read_result(files.sites, AGAIN))[0]
    if sites.empty:
        return "all"
    best = sites.loc[sites["binding"].idxmax()]
    return f"{best['chrom']}:{max(best['start'] - FLANK, 0) + 1}-{best['end'] + FLANK}"


def _hub(files: BrowserFiles, colours: Mapping[str, str], folder: Path) -> str:
    about = {"hub": "scbind", "shortLabel": "scbind", "longLabel": "scbind: binding of TFs in cell types"}
    by_motif = _by_motif(files)
    stanzas = [about | {"useOneFile": "on", "email": "not-given"}, {"genome": files.genome}]
    for name, path in files.coverage.items():
        parent = _identifier(name)
        stanzas.append(
            {
                "track": parent,
                "superTrack": "on show",
                "shortLabel": name[:17],
                "longLabel": f"Cell type {name}"[:LONGEST],
            }
        )
        common = {"parent": parent, "type": "bigWig", "color": _rgb(colours[name])}
        where = _relative(require(path, AGAIN), folder)
        stanzas.append(
            {"track": f"{parent}_coverage", "bigDataUrl": where, "shortLabel": f"{name[:8]} coverage"}
            | {"longLabel": f"{name[:50]}: fragments per million", "visibility": "full", "autoScale": "on"}
            | common
        )
        stanzas += [
            {"track": _identifier(f"{name}_{sample}_{tf}"), "bigDataUrl": _relative(path, folder)}
            | {"shortLabel": f"{marked(tf, tf in by_motif)} {name}"[:17]}
            | {
                "longLabel": f"{name[:30]}: P(bound) of {marked(tf, tf in by_motif)} in sample {sample}"[
                    :LONGEST
                ]
            }
            | {"visibility": "hide", "viewLimits": f"0:{HIGHEST:g}"}
            | common
            for sample, tf, path in _found(files, name)
        ]
    return "\n".join("".join(f"{key} {value}\n" for key, value in stanza.items()) for stanza in stanzas)


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path.absolute(), folder.absolute())).as_posix()


def _identifier(text: str) -> str:
    """Return a name of a track as UCSC demands it: letters, digits and ``_``, a letter first."""
    return "t_" + re.sub(r"[^A-Za-z0-9]", lambda found: f"_{ord(found[0]):x}_", text)


def _rgb(colour: str) -> str:
    """Return ``#RRGGBB`` as ``R,G,B``."""
    return ",".join(str(int(colour[first : first + 2], 16)) for first in (1, 3, 5))
