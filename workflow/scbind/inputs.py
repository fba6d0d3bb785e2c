"""Open what a user brings: plain or compressed, whole or cut short, with the right chromosome names."""

from __future__ import annotations

import io
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import numpy as np
import pyarrow as pa
import pyBigWig

from scbind.errors import InputError
from scbind.files import require
from scbind.genome import ChromSizes

BUFFER = 1 << 20  # decompressed bytes read ahead
# The empty block that ends every complete BGZF file (SAM specification, section 4.1.2).
BGZF_EOF = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


@contextmanager
def open_plain(path: str | Path, remedy: str = "check the path in the configuration"):
    """Open a plain, gzip or BGZF file for reading decompressed bytes.

    Raises
    ------
    InputError
        If the file is missing, empty, or if its compressed stream is cut short or damaged. A BGZF
        file that lost whole blocks shows only by its missing end marker, so that is looked at too.
    """
    path = require(path, remedy)
    if not is_zipped(path):
        with open(path, "rb") as handle:
            yield handle
        return
    # Arrow inflates a third faster than Python's gzip module, over all members of the file.
    with io.BufferedReader(pa.CompressedInputStream(str(path), "gzip"), BUFFER) as handle:
        try:
            yield handle
        except OSError as error:
            if error.errno is not None:  # of the system, such as a full disk where the caller writes
                raise
            raise _damaged(path, str(error)) from error


def is_zipped(path: Path) -> bool:
    """Tell whether a file is gzip or BGZF; refuse BGZF without its end marker."""
    with open(path, "rb") as raw:
        head = raw.read(16)
        if head[:2] == b"\x1f\x8b" and head[12:14] == b"BC":
            raw.seek(max(0, path.stat().st_size - len(BGZF_EOF)))
            if raw.read() != BGZF_EOF:
                raise _damaged(path, "the BGZF end marker is missing")
    return head[:2] == b"\x1f\x8b"


def _damaged(path, detail: str) -> InputError:
    return InputError(
        path, f"the compressed file is truncated or damaged ({detail})", "copy or download it again"
    )


def refuse_names(path, found: Iterable[str], sizes: ChromSizes) -> NoReturn:
    """Raise :class:`InputError` for a file none of whose chromosome names are in ``sizes``."""
    found = sorted(set(found))
    known = set(sizes.names)
    if any("chr" + name in known for name in found):
        remedy = "add the prefix, e.g. sed 's/^/chr/' on its lines"
    elif any(name.removeprefix("chr") in known for name in found if name.startswith("chr")):
        remedy = "remove the prefix, e.g. sed 's/^chr//' on its lines"
    else:
        remedy = "use a file made for this genome, or change the genome"
    here, there = ", ".join(found[:3]), ", ".join(sizes.names[:3])
    raise InputError(path, f"no chromosome name matches the genome (file: {here}; genome: {there})", remedy)


@contextmanager
def open_bigwig(path: str | Path, sizes: ChromSizes):
    """Open a bigWig; gives the handle and the names it shares with ``sizes``, in their order.

    Raises :class:`InputError` if it is missing, no bigWig, or of another genome (names or lengths).
    """
    path = require(path, "check the path in the configuration")
    try:
        bw = pyBigWig.open(str(path))
    except RuntimeError as error:
        raise _unreadable_bigwig(path) from error
    try:
        if not bw.isBigWig():
            raise InputError(path, "is not a bigWig", "give a bigWig file")
        found = bw.chroms()
        names = [name for name in sizes.names if name in found]
        if not names:
            refuse_names(path, found, sizes)
        for name in names:
            if found[name] != sizes.as_dict()[name]:
                raise InputError(
                    path,
                    f"length {found[name]} differs from the genome's {sizes.as_dict()[name]}",
                    "use a track of this genome",
                    name,
                )
        yield bw, names
    finally:
        bw.close()


def bigwig_intervals(path, bw, name: str, low: int, high: int) -> np.ndarray:
    """Entries of an open bigWig that share a base with ``[low, high)``: float64 (entries, 3), start, end, value.

    Neither cut to the range nor checked. Raises :class:`InputError` if that part of the file is damaged.
    """
    try:
        found = bw.intervals(name, low, high)
    except RuntimeError as error:
        raise _unreadable_bigwig(path, f"{name}:{low}-{high}") from error
    return np.array(found or (), dtype=np.float64).reshape(-1, 3)


def _unreadable_bigwig(path, place: str | None = None) -> InputError:
    return InputError(path, "cannot be read as bigWig", "copy or make the file again", place)
