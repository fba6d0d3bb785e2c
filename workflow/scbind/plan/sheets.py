"""The sheets, which list tracks, ChIP-seq peaks and samples. They are checked before any job starts.

Every job imports this module when it parses the workflow, so the module stays light (no pandas, no numpy).
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scbind.core.errors import InputError

# Names become parts of file names and of wildcards.
NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$")
REGION = re.compile(r"^[^:\s]+:\d+-\d+$")
TRACK_FORMATS = ("fragments", "bam", "insertions", "coverage")
SAMPLE_FORMATS = ("fragments", "bam")
DEMO_FOLDER = "resources/demo/"
DATA_VARIABLE = "SCBIND_DATA"

COLUMNS = {  # sheet -> (required columns, optional columns)
    "sources": (("name", "url"), ("version", "sha256", "licence", "note")),
    "tracks": (("cell_line", "path", "format"), ("region", "note")),
    "chip": (("cell_line", "tf", "path"), ("relaxed", "source")),
    "samples": (
        ("sample", "path", "format"),
        ("group", "binding", "barcodes", "labels", "donor", "condition", "note"),
    ),
}


@dataclass
class Plan:
    """The content of the sheets and of the input keys of the configuration, with every path resolved.

    Attributes
    ----------
    config
        The checked configuration, with resolved input paths.
    sources
        Name -> ``{"url", "sha256"}``. The file becomes ``resources/{name}``.
    tracks
        Cell line -> list of ``{"path", "format", "region"}``.
    chip
        One ``{"cell_line", "tf", "path", "relaxed"}`` per assay.
    samples
        Sample -> ``{"path", "format", "group", "binding", "barcodes", "labels", "donor", "condition"}``.
    sheets
        Name -> path of each sheet in use.
    """

    config: dict
    sources: dict[str, dict] = field(default_factory=dict)
    tracks: dict[str, list[dict]] = field(default_factory=dict)
    chip: list[dict] = field(default_factory=list)
    samples: dict[str, dict] = field(default_factory=dict)
    sheets: dict[str, str] = field(default_factory=dict)

    @property
    def tfs(self) -> list[str]:
        """All TFs of the ChIP-seq sheet, sorted."""
        return sorted({row["tf"] for row in self.chip})

    @property
    def groups(self) -> dict[str, list[str]]:
        """Group -> its samples, which are embedded together."""
        groups: dict[str, list[str]] = {}
        for name, row in self.samples.items():
            groups.setdefault(row["group"], []).append(name)
        return groups

    @property
    def binding_samples(self) -> list[str]:
        """Samples for which binding is predicted."""
        return [name for name, row in self.samples.items() if row["binding"]]

    def inputs(self) -> list[str]:
        """Every input file, sorted."""
        paths = [t["path"] for rows in self.tracks.values() for t in rows]
        paths += [row[key] for row in self.chip for key in ("path", "relaxed")]
        paths += [row[key] for row in self.samples.values() for key in ("path", "barcodes", "labels")]
        paths += [self.config[section][key] for section, key, _ in CONFIG_PATHS]
        return sorted({path for path in paths if path})


SPLIT_RULE = re.compile(r"[^:]+:[^:]+(:\d+-\d+)?$")
RELATIVE = " (relative to the working folder)"
# Keys of the configuration that name an input file: section, key, whether it may be a folder.
CONFIG_PATHS = (
    ("genome", "fasta", False),
    ("genome", "chrom_sizes", False),
    ("genome", "exclude", False),
    ("genome", "mappability", False),
    ("genome", "genes", False),
    ("motifs", "path", False),
    ("evaluate", "truth", True),
)


def load_plan(
    config: dict, label: str = "config/config.yaml", environ: Mapping[str, str] | None = None
) -> Plan:
    """Read and check every sheet that a checked configuration names.

    Relative paths start at the working directory. ``{data}/`` at the start of a path means the folder ``data`` of the
    configuration or, if that is empty, the environment variable ``SCBIND_DATA``. ``source:NAME`` means a row of
    ``sources.tsv``. ``http(s)://`` and ``file://`` addresses are fetched.

    Raises
    ------
    InputError
        On the first error, with its file, line and column.
    """
    environ = os.environ if environ is None else environ
    plan = Plan(config=config)
    names = config["sheets"]
    resolver = _Resolver(plan, config.get("data") or environ.get(DATA_VARIABLE))
    if names["sources"]:
        _read_sources(plan, resolver.place(names["sources"], label, "key sheets.sources"))
    for sheet, reader in (("tracks", _read_tracks), ("chip", _read_chip), ("samples", _read_samples)):
        if names[sheet]:
            path = resolver.place(names[sheet], label, f"key sheets.{sheet}")
            plan.sheets[sheet] = path
            reader(plan, path, resolver)
    for section, key, _ in CONFIG_PATHS:
        if config[section][key]:
            config[section][key] = resolver(config[section][key], label, f"key {section}.{key}")
    sample = config["evaluate"]["sample"]
    if sample and sample not in plan.binding_samples:
        known = ", ".join(plan.binding_samples)
        raise InputError(
            label, f"no sample {sample!r} with binding", f"use one of: {known}", "key evaluate.sample"
        )
    if config["cells"]["harmony"] == "donor":
        for name, row in plan.samples.items():
            if not row["donor"]:
                problem = f"sample {name} has no donor, but cells.harmony is donor"
                raise InputError(names["samples"], problem, "fill in the column donor", "column donor")
    bare = sorted({row["cell_line"] for row in plan.chip} - plan.tracks.keys())
    if bare:
        raise InputError(
            names["chip"],
            f"{bare[0]} has ChIP-seq peaks but no ATAC-seq track",
            f"add a row for it to {names['tracks']} or remove its rows",
        )
    _check_splits(config["splits"], plan.tracks, label)
    return plan


def _check_splits(splits: Mapping, lines: Iterable[str], label: str) -> None:
    """Check the form and the cell lines of the rules; the chromosomes are known once the genome is prepared."""
    for part, rules in splits.items():
        for text in rules or ():
            where = f"key splits.{part}"
            if not SPLIT_RULE.match(text):
                problem, remedy = f"{text!r} is not LINE:CHROM[:START-END]", "write for example '*:chr1'"
                raise InputError(label, problem, remedy, where)
            line = text.partition(":")[0]
            if line != "*" and line not in lines:
                raise InputError(
                    label, f"no cell line {line!r}", f"use one of {', '.join(lines)} or *", where
                )


def read_table(path: str | Path, sheet: str) -> list[tuple[int, dict[str, str]]]:
    """Read one tab-separated sheet as a list of (line number, row).

    A row holds every known column; absent values are empty text. Empty lines and lines that start with ``#`` are
    skipped. Raises :class:`InputError` for an unknown, repeated or missing column, a row with too few or too many
    fields, or an empty required field.
    """
    required, optional = COLUMNS[sheet]
    known = [*required, *optional]
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(path, "no such file", f"write it or correct sheets.{sheet} in the config") from None
    except UnicodeDecodeError:
        raise InputError(path, "not a text file in UTF-8", "save it as UTF-8, tab-separated") from None
    lines = [
        (number, line)
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.startswith("#")
    ]
    if not lines:
        raise InputError(path, "the sheet is empty", f"its header is: {' '.join(known)}")
    reader = csv.reader([line for _, line in lines], delimiter="\t", quoting=csv.QUOTE_NONE)
    header, *rows = ([cell.strip() for cell in row] for row in reader)
    for column in header:
        if column not in known:
            raise InputError(
                path, f"unknown column {column!r}", f"known: {', '.join(known)} (tab-separated)", "header"
            )
        if header.count(column) > 1:
            raise InputError(path, f"column {column!r} appears twice", "keep one of them", "header")
    for column in required:
        if column not in header:
            raise InputError(
                path, f"column {column!r} is missing", f"required: {', '.join(required)}", "header"
            )
    table = []
    for (number, _), row in zip(lines[1:], rows, strict=True):
        if len(row) != len(header):
            problem = f"{len(row)} fields where the header has {len(header)}"
            raise InputError(path, problem, "separate fields by single tabs", f"line {number}")
        filled = dict.fromkeys(known, "") | dict(zip(header, row, strict=True))
        for column in required:
            if not filled[column]:
                raise InputError(path, f"{column} is empty", "fill it in", f"line {number}")
        table.append((number, filled))
    return table


@dataclass
class _Resolver:
    """Turns a path that a user wrote into the path of a file, relative to the working directory."""

    plan: Plan
    data: str | None

    def place(self, text: str, file: str, where: str) -> str:
        """Replace ``{data}`` by the data folder."""
        if not text.startswith("{data}/"):
            return text
        if not self.data:
            raise InputError(
                file,
                f"{text} needs the data folder",
                f"set data: in the config or the environment variable {DATA_VARIABLE}",
                where,
            )
        return str(Path(self.data) / text.removeprefix("{data}/"))

    def __call__(self, text: str, file: str, where: str) -> str:
        text = self.place(text, file, where)
        if text.startswith("source:"):
            name = text.removeprefix("source:")
            if name not in self.plan.sources:
                known = ", ".join(self.plan.sources) or "none"
                raise InputError(
                    file, f"no source named {name!r}", f"rows of the sources sheet: {known}", where
                )
            return f"resources/{name}"
        if text.startswith(("http://", "https://", "file://")):
            name = f"{hashlib.sha256(text.encode()).hexdigest()[:8]}-{text.rstrip('/').rpartition('/')[2]}"
            name = re.sub(r"[^A-Za-z0-9_.+-]", "_", name)
            self.plan.sources[name] = {"url": text, "sha256": ""}
            return f"resources/{name}"
        if text.startswith(DEMO_FOLDER):
            return text
        if not os.path.exists(text):
            raise InputError(
                file,
                f"no such file: {text}",
                f"correct the path{'' if os.path.isabs(text) else RELATIVE}",
                where,
            )
        return text


def _name(text: str, path: str, column: str, number: int) -> str:
    if not NAME.match(text):
        raise InputError(
            path,
            f"{column} {text!r} cannot be part of a file name",
            "use letters, digits, '_', '-', '+' and '.', starting with a letter or digit",
            f"line {number}",
        )
    return text


def _choice(text: str, choices: tuple[str, ...], path: str, column: str, number: int) -> str:
    if text not in choices:
        raise InputError(
            path, f"{column} {text!r} is unknown", f"use one of: {', '.join(choices)}", f"line {number}"
        )
    return text


def _read_sources(plan: Plan, path: str) -> None:
    plan.sheets["sources"] = path
    for number, row in read_table(path, "sources"):
        name = _name(row["name"], path, "name", number)
        if name in plan.sources:
            raise InputError(path, f"source {name!r} is listed twice", "keep one row", f"line {number}")
        if name == "demo" or name == "README.md":
            raise InputError(path, f"the name {name!r} is taken", "choose another name", f"line {number}")
        if row["sha256"] and not re.fullmatch(r"[0-9a-fA-F]{64}", row["sha256"]):
            raise InputError(path, "sha256 is not 64 hexadecimal digits", "run sha256sum", f"line {number}")
        plan.sources[name] = {"url": row["url"], "sha256": row["sha256"]}


def _read_tracks(plan: Plan, path: str, resolve: _Resolver) -> None:
    for number, row in read_table(path, "tracks"):
        line = _name(row["cell_line"], path, "cell_line", number)
        region = row["region"] or None
        if region and not REGION.match(region):
            raise InputError(
                path, f"region {region!r} is not CHROM:START-END", "write chr1:0-1000", f"line {number}"
            )
        plan.tracks.setdefault(line, []).append(
            {
                "path": resolve(row["path"], path, f"line {number}, column path"),
                "format": _choice(row["format"], TRACK_FORMATS, path, "format", number),
                "region": region,
            }
        )


def _read_chip(plan: Plan, path: str, resolve: _Resolver) -> None:
    seen: dict[tuple[str, str], int] = {}
    for number, row in read_table(path, "chip"):
        line = _name(row["cell_line"], path, "cell_line", number)
        tf = _name(row["tf"], path, "tf", number)
        if (line, tf) in seen:
            problem = f"{tf} is listed twice for {line} (first in line {seen[line, tf]})"
            raise InputError(path, problem, "merge the peak files or keep one row", f"line {number}")
        seen[line, tf] = number
        relaxed = row["relaxed"]
        plan.chip.append(
            {
                "cell_line": line,
                "tf": tf,
                "path": resolve(row["path"], path, f"line {number}, column path"),
                "relaxed": resolve(relaxed, path, f"line {number}, column relaxed") if relaxed else None,
            }
        )


def _read_samples(plan: Plan, path: str, resolve: _Resolver) -> None:
    for number, row in read_table(path, "samples"):
        sample = _name(row["sample"], path, "sample", number)
        if sample in plan.samples:
            raise InputError(
                path, f"sample {sample!r} is listed twice", "give each its own name", f"line {number}"
            )
        files = {
            column: resolve(row[column], path, f"line {number}, column {column}") if row[column] else None
            for column in ("path", "barcodes", "labels")
        }
        plan.samples[sample] = {
            **files,
            "format": _choice(row["format"], SAMPLE_FORMATS, path, "format", number),
            "group": _name(row["group"] or "cells", path, "group", number),
            "binding": _choice(row["binding"] or "yes", ("yes", "no"), path, "binding", number) == "yes",
            "donor": row["donor"] or None,
            "condition": row["condition"] or None,
        }
