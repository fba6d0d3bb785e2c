"""Read one sheet as rows of text. The columns of every sheet are listed here."""

from __future__ import annotations

import codecs
from pathlib import Path

from scbind.core.errors import InputError
from scbind.core.files import split_lines
from scbind.formats.fields import split_fields

SEPARATORS = "\t;,"
COLUMNS = {  # sheet -> (required columns, optional columns)
    "sources": (("name", "url"), ("version", "sha256", "md5", "size", "licence", "note")),
    "tracks": (("cell_line", "path", "format"), ("region", "note")),
    "chip": (("cell_line", "tf", "path"), ("relaxed", "motif", "source")),
    "samples": (
        ("sample", "path", "format"),
        ("group", "binding", "barcodes", "labels", "rna", "donor", "condition", "note"),
    ),
}


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
        for number, line in enumerate(split_lines(read_sheet(path, sheet)), 1)
        if line.strip(f" {SEPARATORS}") and not line.startswith("#")
    ]
    if not lines:
        raise InputError(path, "the sheet is empty", f"its header is: {' '.join(known)}")
    separator = max(
        SEPARATORS, key=lambda each: len(set(split_fields(lines[0][1].lower(), each)) & set(known))
    )
    header, *rows = (split_fields(line, separator) for _, line in lines)
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


def read_sheet(path: str | Path, sheet: str) -> str:
    """Return the text of a sheet in UTF-8, UTF-16 or Latin-1; :class:`InputError` if it cannot be read."""
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
