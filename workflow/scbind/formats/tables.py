"""Read tables of users, as R, pandas and Excel write them. Every field is text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from scbind.core.errors import InputError
from scbind.core.filenames import folded_name
from scbind.formats.fields import split_fields
from scbind.formats.inputs import read_lines

SEPARATORS = ("\t", ",", ";", " ")  # write.table of R writes spaces unless it is told otherwise


def read_columns(path: str | Path, wanted: Sequence[str], remedy: str) -> pd.DataFrame:
    """Read some columns of a table with a header; others are ignored.

    Separated by tabs, commas, semicolons or spaces; fields may be quoted. Row names, as R and pandas write them (a
    column more than the header has, or one with an empty name), are ignored, unless the first wanted column has no
    name: then they are this column. Case, spaces, ``.``, ``_`` and ``-`` in column names do not matter. Empty lines are
    skipped, missing fields at the end of a line are empty.

    Returns
    -------
    pandas.DataFrame
        Text columns ``wanted``, indexed by line number (from 1). NA, None and numbers stay as they are written.

    Raises
    ------
    InputError
        If the file is empty or not text, if a wanted column is missing or occurs twice, or if a line has more fields
        than the header.
    """
    lines = [(number, line) for number, line in read_lines(path, remedy) if line.strip(" \t,;")]
    if not lines:
        raise InputError(path, "no line in it", remedy)
    names = {folded_name(name) for name in wanted}
    separator = max(SEPARATORS, key=lambda each: len(header_of(lines[0][1], each) & names))
    if separator not in lines[0][1]:
        separator = max(SEPARATORS[:3], key=lines[0][1].count)
    if len(lines) > 1 and not any(each in lines[0][1] for each in SEPARATORS):
        # one column, perhaps with row names that R does not name
        numbered = (each for each in SEPARATORS if split_fields(lines[1][1], each)[0] == "1")
        separator = next(numbered, separator)
    for number, line in lines:
        if separator != "\t" and line.count('"') % 2:
            raise InputError(path, "a quote is not closed", "correct the line", f"line {number}")
    keys = [folded_name(name) for name in split_fields(lines[0][1], separator)]
    rows = [(number, split_fields(line, separator)) for number, line in lines[1:]]
    shift = 0
    if rows and all(len(row) == len(keys) + 1 for _, row in rows) and any(row[-1] for _, row in rows):
        keys = ["", *keys]  # R does not name the column of row names
        shift = 1
    if folded_name(wanted[0]) not in keys and keys[0] == "" and len(keys) > 1:
        keys[0] = folded_name(wanted[0])
    for name in wanted:
        if keys.count(folded_name(name)) != 1:
            shown = ", ".join(split_fields(lines[0][1], separator))[:200]
            raise InputError(
                path,
                f"the header is {shown}, not {' and '.join(wanted)}"
                if folded_name(name) not in keys
                else f"column {name} occurs twice",
                remedy,
                f"line {lines[0][0]}",
            )
    for number, row in rows:
        if len(row) > len(keys) and any(row[len(keys) :]):
            problem = f"{len(row) - shift} fields where the header has {len(keys) - shift}"
            raise InputError(path, problem, "correct the line", f"line {number}")
    columns = {name: [_field(row, keys.index(folded_name(name))) for _, row in rows] for name in wanted}
    return pd.DataFrame(columns, index=[number for number, _ in rows], dtype=object)


def header_of(line: str, separator: str) -> set[str]:
    """Return the names of a line of column names, in small letters and without spaces, ``.``, ``_`` and ``-``."""
    return {folded_name(name) for name in split_fields(line, separator)}


def _field(row: list[str], index: int) -> str:
    return row[index] if index < len(row) else ""
