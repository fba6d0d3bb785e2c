"""The sheets, which list tracks, ChIP-seq peaks and samples. They are checked before any job starts.

Every job imports this module when it parses the workflow, so the module stays light (no pandas, no numpy).
"""

from __future__ import annotations

import codecs
import csv
import difflib
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scbind.core.errors import InputError
from scbind.core.files import split_lines
from scbind.dataset.splitrules import parse_rule

# Names become parts of file names and of wildcards.
NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$")
REGION = re.compile(r"^\S+:\d{1,18}-\d{1,18}$")  # names of HLA contigs hold colons
csv.field_size_limit(1 << 30)  # fields of any length are read; a wrong one is refused by what it should be
SEPARATORS = "\t;,"
BARCODE_LISTS = ("barcodes.tsv", "barcodes.tsv.gz")  # in filtered_peak_bc_matrix of Cell Ranger ATAC
SAMPLE_BYTES = 1 << 16  # compared at either end of two files of one size
LEAST_COPY = 1000  # bytes; smaller files of one size may be alike by chance
YES_NO = {"yes": True, "no": False, "true": True, "false": False, "1": True, "0": False}
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


NOTHING = ("NA", "N/A", "None", "none", "null", "-", ".")  # written by some tools for an empty field
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
    for section, key, folder in CONFIG_PATHS:
        if config[section][key]:
            config[section][key] = resolver(config[section][key], label, f"key {section}.{key}", folder)
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
    _check_splits(config["splits"], list(plan.tracks), label)
    _refuse_braces(plan)
    return plan


def _check_splits(splits: Mapping, lines: list[str], label: str) -> None:
    """Check the form and the cell lines of the rules; chromosomes are checked by :func:`check_chromosomes`."""
    for part, rules in splits.items():
        for text in rules or ():
            parse_rule(text, f"key splits.{part}", lines, label=label)


def check_chromosomes(plan: Plan, label: str, names: Sequence[str]) -> None:
    """Check that the chromosomes in split rules, in ``cells`` and in regions of tracks are in the genome.

    ``names``: chromosomes of the genome. Raises :class:`InputError` for the first that is not.
    """
    for part, rules in plan.config["splits"].items():
        for text in rules or ():
            parse_rule(text, f"key splits.{part}", list(plan.tracks), names, label)
    shown = f"use one of {', '.join(names[:5])}{', ...' * (len(names) > 5)}"
    for name in plan.config["cells"]["neighbour_chromosomes"] or ():
        if name not in names:
            raise InputError(label, f"no chromosome {name!r}", shown, "key cells.neighbour_chromosomes")
    for row in (row for rows in plan.tracks.values() for row in rows):
        name = (row["region"] or "").rpartition(":")[0]
        if name and name not in names:
            place = f"region {row['region']}"
            raise InputError(plan.sheets["tracks"], f"no chromosome {name!r} in the genome", shown, place)


def check_demo(plan: Plan, made: Sequence[str]) -> None:
    """Check that the files of the demo that the plan names are among those that it makes.

    ``made``: their paths below ``resources/demo``. Raises :class:`InputError` for the first that is not.
    """
    known = {f"{DEMO_FOLDER}{name}" for name in made}
    known |= {path.rpartition("/")[0] for path in known}
    for path in plan.inputs():
        if path.startswith(DEMO_FOLDER) and path.rstrip("/") not in known:
            close = difflib.get_close_matches(path, known, n=1)
            remedy = f"did you mean {close[0]}?" if close else "give a file of your own"
            raise InputError(path, "the demo makes no such file", remedy)


def _refuse_braces(plan: Plan) -> None:
    """Refuse paths with braces, which Snakemake takes for wildcards."""
    for path in plan.inputs():
        if "{" in path or "}" in path:
            raise InputError(
                path, "the path has a brace, which Snakemake takes for a wildcard", "rename the file"
            )


def read_table(path: str | Path, sheet: str) -> list[tuple[int, dict[str, str]]]:
    """Read one tab-separated sheet as a list of (line number, row).

    A row holds every known column; absent values are empty text. Empty lines and lines that start with ``#`` are
    skipped. Sheets that a spreadsheet saved with semicolons or commas, in UTF-16, or with quotes around fields are read
    as well. Raises :class:`InputError` for an unknown, repeated or missing column, a row with too many fields, or an
    empty required field.
    """
    required, optional = COLUMNS[sheet]
    known = [*required, *optional]
    lines = [
        (number, line)
        for number, line in enumerate(split_lines(_text(path, sheet)), 1)
        if line.strip(f" {SEPARATORS}") and not line.startswith("#")
    ]
    if not lines:
        raise InputError(path, "the sheet is empty", f"its header is: {' '.join(known)}")
    separator = max(SEPARATORS, key=lambda each: len(set(_fields(lines[0][1].lower(), each)) & set(known)))
    header, *rows = (_fields(line, separator) for _, line in lines)
    while header and not header[-1]:  # of columns that a spreadsheet shows as empty
        header.pop()
    header = [column if column in known else column.lower() for column in header]
    for column in header:
        if column not in known:
            raise InputError(
                path,
                f"unknown column {column[:80]!r}",
                f"known: {', '.join(known)} (tab-separated)",
                "header",
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
        if any(row[len(header) :]):
            problem = f"{len(row)} fields where the header has {len(header)}"
            raise InputError(path, problem, "separate fields by single tabs", f"line {number}")
        filled = dict.fromkeys(known, "") | dict(zip(header, row, strict=False))
        for column in required:
            if not filled[column]:
                raise InputError(path, f"{column} is empty", "fill it in", f"line {number}")
        table.append((number, filled))
    return table


def _text(path: str | Path, sheet: str) -> str:
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(path, "no such file", f"write it or correct sheets.{sheet} in the config") from None
    except IsADirectoryError:
        raise InputError(path, "a folder, not a file", f"correct sheets.{sheet} in the config") from None
    except (OSError, ValueError) as error:  # such as no permission; a path with a NUL
        problem = f"cannot be read ({getattr(error, 'strerror', None) or error})"
        raise InputError(path, problem, f"correct sheets.{sheet} in the config") from None
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        if wide or b"\0" in content:  # such as .xlsx
            raise InputError(path, "not a text file", "save it as text in UTF-8, tab-separated") from None
        return content.decode("latin-1")


def _fields(line: str, separator: str) -> list[str]:
    """Split a line; a field may have quotes around all of it."""
    if separator == "\t":
        fields = [field.strip() for field in line.split("\t")]
        quoted = (len(field) > 1 and field[0] == field[-1] == '"' for field in fields)
        return [f[1:-1].replace('""', '"') if q else f for f, q in zip(fields, quoted, strict=True)]
    return [field.strip() for field in next(csv.reader([line], delimiter=separator))]


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

    def __call__(self, text: str, file: str, where: str, folder: bool = False) -> str:
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
        text = os.path.expanduser(text)
        if not os.path.exists(text):
            raise InputError(
                file,
                f"no such file: {text}",
                "leave the field empty for none" if text in NOTHING else _path_remedy(text),
                where,
            )
        if os.path.isdir(text) and not folder:
            raise InputError(file, f"{text} is a folder", "name a file in it", where)
        return text


def _path_remedy(text: str) -> str:
    if "\\" in text and os.path.exists(text.replace("\\", "/")):
        return f"write {text.replace(chr(92), '/')}, with slashes"
    return f"correct the path{'' if os.path.isabs(text) else RELATIVE}"


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
    if text.lower() not in choices:
        raise InputError(
            path, f"{column} {text!r} is unknown", f"use one of: {', '.join(choices)}", f"line {number}"
        )
    return text.lower()


def _refuse_same_file(
    seen: dict[str, tuple[str, int]], path: str, owner: str, sheet: str, number: int
) -> None:
    """Refuse a file that two rows name, also by different paths or as a copy. ``seen``: file -> owner and line."""
    for other, (name, line) in seen.items():
        if _is_same_file(path, other):
            raise InputError(
                sheet,
                f"{owner} has the same file as {name} (line {line}): {path}",
                "give each row its own file, or remove one of them",
                f"line {number}",
            )
    seen[path] = owner, number


def _is_same_file(one: str, other: str) -> bool:
    """Tell whether two paths are one file, or two files of the same size with the same first and last bytes."""
    if os.path.normpath(one) == os.path.normpath(other):
        return True
    try:
        if os.path.samefile(one, other):
            return True
        size = os.path.getsize(one)
        return size >= LEAST_COPY and size == os.path.getsize(other) and _ends(one) == _ends(other)
    except OSError:  # not there yet
        return False


def _ends(path: str) -> tuple[bytes, bytes]:
    with open(path, "rb") as handle:
        first = handle.read(SAMPLE_BYTES)
        handle.seek(-min(SAMPLE_BYTES, os.path.getsize(path)), os.SEEK_END)
        return first, handle.read()


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
    files: dict[str, tuple[str, int]] = {}
    for number, row in read_table(path, "tracks"):
        line = _name(row["cell_line"], path, "cell_line", number)
        region = row["region"] or None
        if region and not REGION.match(region):
            raise InputError(
                path, f"region {region!r} is not CHROM:START-END", "write chr1:0-1000", f"line {number}"
            )
        track = resolve(row["path"], path, f"line {number}, column path")
        if not region:
            _refuse_same_file(files, track, f"track of {line}", path, number)
        plan.tracks.setdefault(line, []).append(
            {
                "path": track,
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


def _read_samples(plan: Plan, path: str, resolve: _Resolver) -> None:
    fragments: dict[str, tuple[str, int]] = {}
    for number, row in read_table(path, "samples"):
        sample = _name(row["sample"], path, "sample", number)
        if sample in plan.samples:
            raise InputError(
                path, f"sample {sample!r} is listed twice", "give each its own name", f"line {number}"
            )
        files = {
            column: resolve(row[column], path, f"line {number}, column {column}", column == "barcodes")
            if row[column]
            else None
            for column in ("path", "barcodes", "labels")
        }
        if os.path.isdir(files["barcodes"] or ""):
            files["barcodes"] = _list_in(files["barcodes"], path, number)
        _refuse_same_file(fragments, files["path"], f"sample {sample}", path, number)
        plan.samples[sample] = {
            **files,
            "format": _choice(row["format"], SAMPLE_FORMATS, path, "format", number),
            "group": _name(row["group"] or "cells", path, "group", number),
            "binding": YES_NO[_choice(row["binding"] or "yes", tuple(YES_NO), path, "binding", number)],
            "donor": row["donor"] or None,
            "condition": row["condition"] or None,
        }
