"""Data inside the page: compressed, as text, and opened by the browser that shows the page."""

from __future__ import annotations

import base64
import gzip
import json
import math
import zlib

import numpy as np
import pandas as pd

DIGITS = 4  # significant digits of numbers in the page; the files have more
GZIP = 31  # largest window, with the header of gzip (and without a date)
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
    """Return the content of :func:`pack`, for tests."""
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

    A column of numbers is ``{"v": values}``. Any other column is ``{"l": distinct texts, "c": number of each row's
    text}``; a missing value is an empty text, a bool is ``yes`` or ``no``.
    """
    columns = []
    for _, column in table.items():
        if pd.api.types.is_bool_dtype(column):
            column = column.map({True: "yes", False: "no"})
        if pd.api.types.is_numeric_dtype(column):
            columns.append({"v": rounded(column.to_numpy(dtype=np.float64, na_value=np.nan))})
        else:
            codes, levels = pd.factorize(column.astype(object).where(column.notna(), "").astype(str))
            columns.append({"l": levels.tolist(), "c": codes.tolist()})
    return columns


def codes(values: np.ndarray, low: float, high: float, steps: int) -> np.ndarray:
    """Return the number of the step of each value between ``low`` and ``high``: uint8, ``MISSING`` if not finite.

    Values outside the limits are in the first or last step. ``steps`` is at most 255.
    """
    values = np.asarray(values, dtype=np.float64)
    known = np.isfinite(values)
    scaled = np.floor((np.where(known, values, low) - low) / max(high - low, 1e-12) * steps)
    return np.where(known, np.clip(scaled, 0, steps - 1), MISSING).astype(np.uint8)
