"""Write files whole or not at all: beside the target, then moved into place. Read small tables once."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from scbind.core.errors import InputError, said
from scbind.core.scratch import remove, scratch_of

if TYPE_CHECKING:  # the Snakefile imports this module and must start fast
    import numpy as np
    import pandas as pd

T = TypeVar("T")
ANEW = "remove the file and run again"
AGAIN = "run the rule that makes it again"
csv.field_size_limit(1 << 30)  # characters; the limit of Python, 131,072, would end in a traceback


@contextmanager
def atomic(path: str | Path, shared: bool = False) -> Iterator[Path]:
    """Yield a scratch path in the target's folder; move it onto ``path`` when the block succeeds.

    The scratch name keeps the target's suffixes, because some writers choose a format from them.
    Works for a file or a folder. A link at ``path`` is replaced, and what it leads to stays. On any error the scratch
    is removed and ``path`` is untouched. A killed process leaves
    its scratch; the next writer of ``path`` removes it. ``shared``: see :func:`scbind.core.scratch.scratch_of`.
    """
    path = Path(path)
    scratch = scratch_of(path, shared)
    try:
        yield scratch
        if scratch.is_dir() and path.is_symlink():
            path.unlink()
        elif scratch.is_dir() and path.is_dir():
            shutil.rmtree(path)
        put_in_place(scratch, path)
    finally:
        remove(scratch)


def put_in_place(finished: Path, path: Path) -> None:
    """Rename a finished file or folder to ``path``, once its bytes are on the disk.

    Without this, a loss of power within the next half minute could leave a file of the right name that is empty or cut
    off, or a binding store without some of its chunks, which would be read as windows without binding.
    """
    if finished.is_dir():
        # one call, because a store has tens of thousands of files, and a call for each would take minutes
        flush_file_system(finished)
    elif finished.is_file():
        _with_handle(os.fsync, finished)
    os.replace(finished, path)
    with suppress(OSError):  # some file systems cannot flush a folder
        _with_handle(os.fsync, path.parent)


def flush_file_system(path: Path) -> None:
    """Wait until all that was written to the file system of ``path`` is on the disk. Raises OSError if it cannot be."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "syncfs"):  # not Linux
        os.sync()
    elif _with_handle(libc.syncfs, path):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(path))


def _with_handle(call: Callable[[int], T], path: Path) -> T:
    handle = os.open(path, os.O_RDONLY)
    try:
        return call(handle)
    finally:
        os.close(handle)


def table_text(table: pd.DataFrame, header: bool = True, float_format: str | None = "%.6g") -> str:
    """Return a table as tab-separated lines without its index, numbers to six significant digits or as asked."""
    return table.to_csv(sep="\t", index=False, header=header, float_format=float_format, lineterminator="\n")


def write_table(
    path: str | Path, table: pd.DataFrame, header: bool = True, float_format: str | None = "%.6g"
) -> None:
    """Write a tab-separated table, whole or not at all, in the format of :func:`table_text`."""
    with atomic(path) as scratch, open(scratch, "w", encoding="utf-8", newline="") as handle:
        handle.write(table_text(table, header, float_format))


def write_bed(path: str | Path, table: pd.DataFrame) -> None:
    """Write the columns of a BED or narrowPeak file, whole or not at all: no header, all digits."""
    write_table(path, table, header=False, float_format=None)


# Columns of our tables that hold names. A name may look like a number or like NA, so readers must not guess the type.
NAMES = (
    "barcode", "cautions", "cell_line", "cell_type", "chrom", "chromosomes", "contrast", "counts", "distances",
    "evidence", "gene", "group", "kind", "markers", "merged_into", "model", "motif", "motif_id", "name", "nearest",
    "peak", "population", "pseudobulk", "quantity", "reference", "replicate", "sample", "samples", "slug", "split",
    "split_from", "strand", "test", "tf", "top_sample",
)  # fmt: skip


def read_result(
    path: str | Path, remedy: str, separator: str = "\t", text: bool = False, **options
) -> pd.DataFrame:
    """Read a table that scbind wrote; it may have no rows.

    Columns in ``NAMES`` are text, and only empty fields are NaN: a chromosome ``1`` and a TF ``NA`` stay what they are.
    With ``text``, all columns are text, and empty fields are empty text. ``options`` go to :func:`pandas.read_csv`.
    Raises :class:`InputError` with ``remedy`` if the file is missing or is not a table.
    """
    import pandas as pd

    try:
        return pd.read_csv(
            require(path, remedy), sep=separator, keep_default_na=False, na_values=[] if text else [""],
            dtype=str if text else dict.fromkeys(NAMES, str), **options,
        )  # fmt: skip
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(path, f"not a table ({error})", remedy) from error


@contextmanager
def damage_errors(path: str | Path, remedy: str) -> Iterator[None]:
    """Turn the errors that a library raises for a damaged file of scbind into :class:`InputError` with ``remedy``.

    Libraries have no common error for damage: numpy may raise a SyntaxError, h5py a KeyError or OSError, zarr a
    RuntimeError. The block must only read.
    """
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        raise InputError(path, f"not readable ({said(error)})", remedy) from error


@contextmanager
def npz_errors(path: str | Path, remedy: str) -> Iterator[None]:
    """Turn errors of reading an ``.npz`` that scbind wrote into :class:`InputError` with ``remedy``."""
    import zipfile

    with damage_errors(path, remedy):
        if not zipfile.is_zipfile(require(path, remedy)):
            raise InputError(path, "is not a .npz file", remedy)
        yield


def read_json(path: str | Path, remedy: str, names: Iterable[str] = ()) -> dict:
    """Read the object of a JSON file that scbind wrote.

    Raises :class:`InputError`, with ``remedy``, if the file is missing, is not a JSON object, or lacks one of
    ``names``.
    """
    try:
        found = json.loads(require(path, remedy).read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(path, f"is not JSON ({said(error)})", remedy) from error
    if not isinstance(found, dict):
        raise InputError(path, f"holds a {type(found).__name__} instead of an object", remedy)
    if missing := [name for name in names if name not in found]:
        raise InputError(path, f"has no {', '.join(missing)}", remedy)
    return found


def read_npz(path: str | Path, remedy: str, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Read arrays of an ``.npz`` that scbind wrote, by name; without ``names``, all of them.

    Raises :class:`InputError`, with ``remedy``, if the file is missing, damaged, or lacks one of ``names``.
    """
    import numpy as np

    with npz_errors(path, remedy), np.load(path) as stored:
        names = stored.files if names is None else list(names)
        if missing := set(names) - set(stored.files):
            raise InputError(path, f"has no array {', '.join(sorted(missing))}", remedy)
        return {name: stored[name] for name in names}


def map_npy(path: str | Path, remedy: str) -> np.ndarray:
    """Map an array of an ``.npy`` that scbind wrote into memory, read-only.

    Raises :class:`InputError`, with ``remedy``, if the file is missing, damaged or shorter than its header says.
    """
    import numpy as np

    with damage_errors(path, remedy):
        return np.load(require(path, remedy), mmap_mode="r", allow_pickle=False)


def split_lines(text: str) -> list[str]:
    r"""Split text at the line ends of Unix, Windows and old Macs only.

    ``str.splitlines`` would also split within a field, at the separators of Unicode.

    Examples
    --------
    >>> split_lines('a\u2028b\r\nc\r')
    ['a\u2028b', 'c']
    """
    return [line.removesuffix("\n") for line in io.StringIO(text, newline=None)]


def remember(path: str | Path, key, make: Callable[[], object]):
    """Return what ``make()`` returns, from the JSON file ``path`` if that was written with the same ``key``.

    Key and value must be valid JSON. If the file cannot be read or written, the value is made each time, and no error
    is raised. Errors of ``make`` are raised.
    """
    try:
        kept = json.loads(Path(path).read_text())
        if kept["key"] == key:
            return kept["value"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    value = make()
    with suppress(OSError), atomic(path, shared=True) as scratch:
        scratch.write_text(json.dumps({"key": key, "value": value}))
    return value


def begin_npy(handle: BinaryIO, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    """Write the header of a ``.npy`` file (C order), whose bytes the caller then writes in turn.

    A memory map would also work, but on a full disk it kills the process (SIGBUS), whereas writing raises an error.
    """
    import numpy as np

    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(handle, header)


def scratch_array(folder: str | Path, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Return an array (C order) on disk instead of in memory, in a file in ``folder`` that is removed with the array.

    All values are 0 at first. The disk space is reserved at once: this raises :class:`OSError` on a full disk, where a
    memory map would kill the process (SIGBUS). The shape must not be empty.
    """
    import numpy as np

    with tempfile.TemporaryFile(dir=folder) as handle:
        try:
            os.posix_fallocate(handle.fileno(), 0, math.prod(shape) * np.dtype(dtype).itemsize)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(folder)) from error
        return np.asarray(np.memmap(handle, dtype, "r+", shape=shape))


def read_rows(path: str | Path) -> tuple[dict[str, str], ...]:
    """Rows of a tab-separated table with a header, as text; read again only after it changed. Not to be altered."""
    return _rows(str(path), _written(path))


def rows_by(path: str | Path, key: str) -> dict[str, tuple[dict[str, str], ...]]:
    """The rows of :func:`read_rows` by what they have in a column, in the order of the file. Not to be altered."""
    return _rows_by(str(path), _written(path), key)


def _written(path: str | Path) -> tuple[int, int]:
    state = os.stat(path)
    return state.st_mtime_ns, state.st_size


@cache
def _rows(path: str, written: tuple[int, int]) -> tuple[dict[str, str], ...]:
    try:
        with open(path, newline="", encoding="utf-8") as handle:
            return tuple(csv.DictReader(handle, delimiter="\t"))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(path, f"not a table ({said(error)})", ANEW) from error


@cache
def _rows_by(path: str, written: tuple[int, int], key: str) -> dict[str, tuple[dict[str, str], ...]]:
    groups: dict[str, list[dict[str, str]]] = {}
    for row in _rows(path, written):
        if key not in row:
            raise InputError(path, f"has no column {key}", ANEW)
        groups.setdefault(row[key], []).append(row)
    return {name: tuple(rows) for name, rows in groups.items()}


def require(path: str | Path, remedy: str) -> Path:
    """Return ``path`` if it is a file that is not empty, else raise :class:`InputError`."""
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
