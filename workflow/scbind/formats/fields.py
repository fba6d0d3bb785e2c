"""Split a line of a table into fields. Few imports, because every job imports it when it parses the workflow."""

from __future__ import annotations

import csv

csv.field_size_limit(1 << 30)  # fields of any length are read; their values are checked later
NOT_AVAILABLE = {"NA", "N/A", "<NA>", "nan", "NaN"}  # what R and pandas write for a missing value


def split_fields(line: str, separator: str) -> list[str]:
    r"""Split a line into fields, without spaces around them and without the quotes around a whole field.

    A single quote mark within a tab-separated field is a part of it, as in ``layer 2"``.

    Examples
    --------
    >>> split_fields('"a"\tlayer 2"\t b ', '\t')
    ['a', 'layer 2"', 'b']
    >>> split_fields('"x, y",z', ',')
    ['x, y', 'z']
    """
    if separator == "\t":
        return [unquoted(field) for field in line.split("\t")]
    fields = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    return [field.strip() for field in fields]


def unquoted(field: str) -> str:
    """Return a field without spaces around it and without the quotes around all of it."""
    field = field.strip()
    if len(field) > 1 and field[0] == field[-1] == '"':
        inner = field[1:-1]
        escaped = '"' not in inner.replace(
            '\\"', ""
        )  # write.table of R writes \" for a quote, others write ""
        return (inner.replace('\\"', '"') if escaped else inner.replace('""', '"')).strip()
    return field
