"""Data inside the page: compressed, as text, and opened by the browser that shows the page."""

from __future__ import annotations

import base64
import gzip
import json
import math
import zlib
from collections.abc import Mapping

import numpy as np
import pandas as pd

DIGITS = 4  # significant digits of numbers in the page; the files have more
GZIP = 31  # largest window, with the header of gzip (and without a date)
FOLLOWS = 2  # rows per TF, or per TF and cell type, from which on a column that follows from them is stored for them
MISSING = 255  # code of a value that is not known


def pack(content: bytes) -> str:
    """Return ``content`` as gzip in base64. The same content always gives the same text.

    It is compressed in two ways, with and without search for repeats (for noise); the shorter result is used.
    """
    ways = []
    for strategy in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY):
        way = zlib.compressobj(9, zlib.DEFLATED, GZIP, zlib.DEF_MEM_LEVEL, strategy)
        ways.append(way.compress(content) + way.flush())
    return base64.b64encode(min(ways, key=len)).decode("ascii")


def pack_json(content) -> str:
    """Return a value as JSON, packed. It must not hold NaN."""
    return pack(json.dumps(content, separators=(",", ":"), allow_nan=False).encode())


def unpack(text: str) -> bytes:
    """Return the content of :func:`pack`."""
    return gzip.decompress(base64.b64decode(text))


def rounded(values) -> list:
    """Return numbers as a list. Integers are exact, others have four significant digits, what is not finite is None."""
    found = []
    for value in np.asarray(values, dtype=np.float64).ravel().tolist():
        if not math.isfinite(value):
            found.append(None)
        elif value.is_integer():
            found.append(int(value))
        else:
            short = float(f"{value:.{DIGITS}g}")
            found.append(int(short) if short.is_integer() else short)
    return found


def columnar(table: pd.DataFrame) -> list[dict]:
    """Return the columns of a table for the page.

    A column of numbers is ``{"v": values}``, or ``{"from": i, "add": n}`` if it is column ``i`` plus ``n`` in all rows,
    as the ends of windows are. Any other column is ``{"l": distinct texts, "c": number of each row's
    text}``; a missing value is an empty text, a bool is ``yes`` or ``no``. If such a column of many rows follows from
    the TF, or from TF and cell type, it is ``{"l": distinct texts, "of": numbers of these columns, "m": number of the
    text of each TF}``, or of each TF and cell type, those of one TF side by side.
    """
    columns, whole = [], {}  # whole numbers by number of the column
    for i, (_, column) in enumerate(table.items()):
        if pd.api.types.is_bool_dtype(column):
            column = column.map({True: "yes", False: "no"})
        if pd.api.types.is_numeric_dtype(column):
            if len(column) > 1 and pd.api.types.is_integer_dtype(column) and not column.hasnans:
                values = column.to_numpy(dtype=np.int64)
                like = next((k for k, other in whole.items() if np.ptp(values - other) == 0), None)
                whole[i] = values
                if like is not None:
                    columns.append({"from": like, "add": int(values[0] - whole[like][0])})
                    continue
            columns.append({"v": rounded(column.to_numpy(dtype=np.float64, na_value=np.nan))})
        else:
            codes, levels = pd.factorize(column.astype(object).where(column.notna(), "").astype(str))
            columns.append({"l": levels.tolist(), "c": codes.tolist()})
    names = list(table)
    for keys in (["tf"], ["tf", "cell_type"]):
        places = [names.index(key) for key in keys if key in names]
        if len(places) == len(keys) and all("c" in columns[i] for i in places):
            for i in range(len(columns)):
                if i not in places and "c" in columns[i] and names[i] not in ("tf", "cell_type"):
                    columns[i] = _followed(columns, i, places)
    return columns


def _followed(columns: list[dict], i: int, places: list[int]) -> dict:
    """Return column ``i`` by the values of the columns ``places``, if it follows from them and this is shorter."""
    group, n = np.zeros(len(columns[i]["c"]), dtype=np.int64), 1
    for place in places:
        group, n = group * len(columns[place]["l"]) + columns[place]["c"], n * len(columns[place]["l"])
    if not len(group) or FOLLOWS * n > len(group):
        return columns[i]
    values, found = np.array(columns[i]["c"]), np.zeros(n, dtype=np.int64)
    found[group] = values
    if not np.array_equal(found[group], values):
        return columns[i]
    return {"l": columns[i]["l"], "of": places, "m": found.tolist()}


def pack_blocks(table: pd.DataFrame, head: Mapping, key: str, most: int) -> tuple[str, list[str]]:
    """Return a table as a head and blocks of rows, so that the rows of one value of ``key`` are opened alone.

    Each block has all rows of some values of ``key``, about ``most`` rows. The head is ``head`` with ``blocks`` (their
    number), ``by`` (number of the column ``key``), ``per`` (values per block: block ``b`` has the values from
    ``b * per`` to before ``(b + 1) * per``) and ``data``: the columns of :func:`columnar` without ``v`` and ``c``. A
    block has ``v`` and ``c`` of its rows as ``data``, and ``rows``, the differences between the positions of its rows
    in the table.
    """
    columns, by = columnar(table), table.columns.get_loc(key)
    owner = np.array(columns[by]["c"])
    per = max(1, int(len(columns[by]["l"]) * most / max(len(table), 1)))
    n = -(-len(columns[by]["l"]) // per)
    data = [{name: values for name, values in column.items() if name not in ("v", "c")} for column in columns]
    kept = [
        {name: np.array(values, dtype=object) for name, values in column.items() if name in ("v", "c")}
        for column in columns
    ]
    blocks = []
    for block in range(n):
        rows = np.flatnonzero(owner // per == block)
        part = [{name: values[rows].tolist() for name, values in column.items()} for column in kept]
        blocks.append(pack_json({"rows": np.diff(rows, prepend=0).tolist(), "data": part}))
    return pack_json({**head, "blocks": n, "by": by, "per": per, "data": data}), blocks


def codes(values: np.ndarray, low: float, high: float, steps: int) -> np.ndarray:
    """Return the number of the step of each value between ``low`` and ``high``: uint8, ``MISSING`` if not finite.

    Values outside the limits are in the first or last step. ``steps`` is at most 255.
    """
    values = np.asarray(values, dtype=np.float64)
    known = np.isfinite(values)
    scaled = np.floor((np.where(known, values, low) - low) / max(high - low, 1e-12) * steps)
    return np.where(known, np.clip(scaled, 0, steps - 1), MISSING).astype(np.uint8)
