"""Whole files or none: write beside the target, then move into place."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from scbind.errors import InputError

if TYPE_CHECKING:  # the Snakefile imports this module and has to start at once
    import pandas as pd


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a scratch path in the target's folder; move it onto ``path`` when the block succeeds.

    The scratch name keeps the target's suffixes, because some writers choose a format from them.
    Works for a file or a folder. On any error the scratch is removed and ``path`` is untouched.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{os.getpid()}.partial.{path.name}")
    try:
        yield scratch
        if scratch.is_dir() and path.is_dir():
            shutil.rmtree(path)
        os.replace(scratch, path)
    finally:
        if scratch.is_dir():
            shutil.rmtree(scratch, ignore_errors=True)
        else:
            scratch.unlink(missing_ok=True)


def write_table(path: str | Path, table: pd.DataFrame) -> None:
    """Write a tab-separated table with a header and without its index, numbers to six significant digits."""
    with atomic(path) as scratch:
        table.to_csv(scratch, sep="\t", index=False, float_format="%.6g")


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def require(path: str | Path, remedy: str) -> Path:
    """Return ``path`` if it is a file that holds something, else raise :class:`InputError`."""
    path = Path(path)
    if not path.exists():
        raise InputError(path, "no such file", remedy)
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(path, "the file is empty", remedy)
    return path


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes as 64 hexadecimal digits, read in pieces."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def digests(**paths: str | Path | None) -> dict[str, str]:
    """Digests (16 hexadecimal digits) of files by name, to tell what a result was made with; None is left out."""
    return {name: file_sha256(path)[:16] for name, path in paths.items() if path is not None}
