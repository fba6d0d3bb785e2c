"""What the rows of each sheet mean. Every field is checked, and every path is resolved."""

from __future__ import annotations

import os
import re

from scbind.core.errors import InputError
from scbind.core.filenames import RULE, fits_file_name, renamed_motif
from scbind.formats.fields import NOT_AVAILABLE
from scbind.plan.panel import Panel
from scbind.plan.paths import Resolver, check_address, refuse_same_file
from scbind.plan.sheetrows import read_table
from scbind.plan.symbols import unify_symbols

REGION = re.compile(r"^\S+:\d{1,18}-\d{1,18}$")  # names of HLA contigs hold colons
BARCODE_LISTS = ("barcodes.tsv", "barcodes.tsv.gz")  # in filtered_peak_bc_matrix of Cell Ranger ATAC
YES_NO = {"yes": True, "no": False, "true": True, "false": False, "1": True, "0": False}
TRACK_FORMATS = ("fragments", "bam", "insertions", "coverage")
SAMPLE_FORMATS = ("fragments", "bam")
DIGITS = {"sha256": 64, "md5": 32}  # hexadecimal
UNFINISHED = (".partial", ".partial.json")


def read_source_rows(path: str) -> dict[str, dict]:
    """Return name -> ``{"url", "sha256", "md5", "size", "licence", "place"}`` of every file to fetch.

    Checksums are lower-case or empty, ``size`` is in bytes or None, and ``place`` is the row, for messages.
    """
    sources: dict[str, dict] = {}
    for number, row in read_table(path, "sources"):
        name = _name(row["name"], path, "name", number)
        if name in sources:
            raise InputError(path, f"source {name!r} is listed twice", "keep one row", f"line {number}")
        if name in ("demo", "models", "README.md"):
            raise InputError(path, f"the name {name!r} is taken", "choose another name", f"line {number}")
        if name.endswith(UNFINISHED):
            problem = f"the name {name!r} ends as that of an unfinished download"
            raise InputError(path, problem, "choose another name", f"line {number}")
        check_address(row["url"], path, f"line {number}, column url")
        for column, digits in DIGITS.items():
            if row[column] and not re.fullmatch(rf"[0-9a-fA-F]{{{digits}}}", row[column]):
                problem = f"{column} {row[column]!r} is not {digits} hexadecimal digits"
                remedy = f"copy it from the publisher, run {column}sum, or leave it empty"
                raise InputError(path, problem, remedy, f"line {number}")
        if row["size"] and not re.fullmatch(r"0*[1-9][0-9]{0,17}", row["size"]):
            problem = f"size {row['size']!r} is not a whole number of bytes"
            raise InputError(path, problem, "write digits only, or leave it empty", f"line {number}")
        sources[name] = {
            "url": row["url"],
            **{column: row[column].lower() for column in DIGITS},
            "size": int(row["size"]) if row["size"] else None,
            "licence": row["licence"],
            "place": f"{path}, line {number}",
        }
    return sources


def read_track_rows(path: str, resolve: Resolver, panel: Panel | None = None) -> dict[str, list[dict]]:
    """Return cell line -> list of ``{"path", "format", "region", "note"}``, empty if ``panel`` leaves it out."""
    tracks: dict[str, list[dict]] = {}
    files: dict[str | None, dict[tuple, list]] = {}  # by region: a file may be listed once for each
    for number, row in read_table(path, "tracks"):
        line = _name(row["cell_line"], path, "cell_line", number)
        rows = tracks.setdefault(line, [])
        if panel and not panel.keeps(line):
            continue
        region = row["region"] or None
        if region and not REGION.match(region):
            raise InputError(
                path, f"region {region!r} is not CHROM:START-END", "write chr1:0-1000", f"line {number}"
            )
        track = resolve(row["path"], path, f"line {number}, column path")
        refuse_same_file(files.setdefault(region, {}), track, f"track of {line}", path, number)
        rows.append(
            {
                "path": track,
                "format": _choice(row["format"], TRACK_FORMATS, path, "format", number),
                "region": region,
                "note": row["note"],
            }
        )
    if panel:
        panel.check_lines(tracks)
    return tracks


def read_chip_rows(
    path: str, resolve: Resolver, panel: Panel | None = None, taxon: str = "vertebrates"
) -> tuple[list[dict], list[str]]:
    """Return one ``{"cell_line", "tf", "path", "relaxed", "source"}`` per experiment; sentences on spelling.

    ``taxon`` is ``motifs.taxon`` (:func:`scbind.plan.symbols.unify_symbols`). Rows that ``panel`` leaves out are not
    looked at further. Several experiments of one (cell line, TF) may be listed.
    """
    rows = []
    for number, row in read_table(path, "chip"):
        motif = row["motif"] and YES_NO[_choice(row["motif"], tuple(YES_NO), path, "motif", number)]
        rows.append(
            {
                **row,
                "cell_line": _name(row["cell_line"], path, "cell_line", number),
                "tf": _name(row["tf"], path, "tf", number),
                "motif": None if motif == "" else motif,
                "number": number,
            }
        )
    names, said = unify_symbols((row["tf"] for row in rows), taxon)
    rows = [{**row, "tf": names[row["tf"]]} for row in rows]
    chip, files = [], {}
    for row in panel.choose(rows, path) if panel else rows:
        line, tf, place = row["cell_line"], row["tf"], f"line {row['number']}, column"
        found = {
            key: resolve(row[key], path, f"{place} {key}") if row[key] else None
            for key in ("path", "relaxed")
        }
        refuse_same_file(
            files.setdefault((line, tf), {}),
            found["path"],
            f"experiment of {tf} in {line}",
            path,
            row["number"],
        )
        chip.append({"cell_line": line, "tf": tf, **found, "source": row["source"]})
    return chip, said


def _list_in(folder: str, path: str, number: int) -> str:
    """Return the list of barcodes in a folder of Cell Ranger, such as ``filtered_peak_bc_matrix``."""
    for name in BARCODE_LISTS:
        if os.path.isfile(os.path.join(folder, name)):
            return os.path.join(folder, name)
    raise InputError(
        path,
        f"the folder {folder} has none of {', '.join(BARCODE_LISTS)}",
        "give filtered_peak_bc_matrix, singlecell.csv or a list of barcodes",
        f"line {number}, column barcodes",
    )


def read_sample_rows(path: str, resolve: Resolver) -> dict[str, dict]:
    """Return sample -> ``{"path", "format", "group", "binding", "barcodes", "labels", "rna", "donor", ...}``.

    A donor or condition that is empty, or ``NA`` and the like, is None.
    """
    samples: dict[str, dict] = {}
    fragments: dict[tuple, list] = {}
    for number, row in read_table(path, "samples"):
        sample = _name(row["sample"], path, "sample", number)
        if sample in samples:
            raise InputError(
                path, f"sample {sample!r} is listed twice", "give each its own name", f"line {number}"
            )
        files = {
            column: resolve(row[column], path, f"line {number}, column {column}", column == "barcodes")
            if row[column]
            else None
            for column in ("path", "barcodes", "labels", "rna")
        }
        if os.path.isdir(files["barcodes"] or ""):
            files["barcodes"] = _list_in(files["barcodes"], path, number)
        refuse_same_file(fragments, files["path"], f"sample {sample}", path, number)
        samples[sample] = {
            **files,
            "format": _choice(row["format"], SAMPLE_FORMATS, path, "format", number),
            "group": _name(row["group"] or "cells", path, "group", number),
            "binding": YES_NO[_choice(row["binding"] or "yes", tuple(YES_NO), path, "binding", number)],
            **{key: None if row[key] in {"", *NOT_AVAILABLE} else row[key] for key in ("donor", "condition")},
        }
    return samples


def _name(text: str, path: str, column: str, number: int) -> str:
    if not fits_file_name(text):
        remedy = renamed_motif(text) if column == "tf" else RULE  # such as Su(H) of the fly
        raise InputError(path, f"{column} {text!r} cannot be part of a file name", remedy, f"line {number}")
    return text


def _choice(text: str, choices: tuple[str, ...], path: str, column: str, number: int) -> str:
    if text.lower() not in choices:
        raise InputError(
            path, f"{column} {text!r} is unknown", f"use one of: {', '.join(choices)}", f"line {number}"
        )
    return text.lower()
