"""Open input files of users, plain or compressed; detect truncated files and wrong chromosome names."""

from __future__ import annotations

import io
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pyarrow as pa

from scbind.core.errors import InputError
from scbind.core.files import require
from scbind.formats.genome import ChromSizes

BUFFER = 1 << 20  # decompressed bytes read ahead
# The empty block that ends every complete BGZF file (SAM specification, section 4.1.2).
BGZF_EOF = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


@contextmanager
def open_plain(path: str | Path, remedy: str = "check the path in the configuration"):
    """Open a plain, gzip or BGZF file for reading decompressed bytes.

    Raises
    ------
    InputError
        If the file is missing or empty, or if its compressed stream is truncated or damaged. A BGZF
        file that lost whole blocks lacks only its end marker, so the end marker is checked too.
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
    """Tell whether a file is gzip or BGZF; :class:`InputError` for BGZF without its end marker."""
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
    """Raise :class:`InputError` for a file that has no chromosome name of ``sizes``."""
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
