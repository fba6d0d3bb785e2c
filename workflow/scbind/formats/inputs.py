"""Open text files of users, plain or compressed; detect truncated files and files of another kind."""

from __future__ import annotations

import codecs
import io
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from scbind.core.errors import InputError
from scbind.core.files import require, split_lines

BUFFER = 1 << 20  # decompressed bytes read ahead
LONGEST_LINE = 1 << 20  # bytes; a file with longer lines is not text, and would be read into memory whole
# The empty block that ends every complete BGZF file (SAM specification, section 4.1.2).
BGZF_EOF = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


# First bytes of compressed files. Arrow decompresses them, and detects truncated gzip or zstd by the checksum.
PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
# First bytes (decompressed) of files that are often given by mistake, and the remedy.
TRACK = "set the format of bigWig files in the sheet, or give a text file"
OTHER_KINDS = (
    ((b"version https://git-lfs",), "a Git LFS pointer, not the file itself", "fetch the file with git lfs pull"),
    (
        (b"<!doctype", b"<html"), "an HTML page, not data",
        "download the file again; the server may have asked for a login",
    ),
    ((b"<?xml",), "an XML document, not data", "download the file again; the server may have sent an error"),
    ((b"bam\x01",), "a BAM file, not text", "set the format bam in the sheet, or give a text file"),
    ((b"bcf\x02",), "a BCF file, not text", "convert it with bcftools view"),
    ((b"cram",), "a CRAM file, not text", "convert it with samtools view -b, and set the format bam in the sheet"),
    ((b"\x89hdf",), "an HDF5 file, not text", "give the table or the fragments file that lies beside it"),
    ((b"pk\x03\x04",), "a zip archive", "unpack it"),
    ((b"\x1f\x8b",), "compressed twice (gzip in gzip)", "decompress it once with gzip -d"),
    ((b"\xfd7zxz",), "compressed with xz", "decompress it with xz -d, and compress it with bgzip"),
    ((b"bzh",), "compressed with bzip2", "decompress it with bzip2 -d, and compress it with bgzip"),
    ((b"\x26\xfc\x8f\x88", b"\x88\x8f\xfc\x26"), "a bigWig, not text", TRACK),
    ((b"\xeb\xf2\x89\x87", b"\x87\x89\xf2\xeb"), "a bigBed, not text", "convert it with bigBedToBed"),
    ((b"%pdf",), "a PDF document", "give a text file"),
)  # fmt: skip


@contextmanager
def open_plain(path: str | Path, remedy: str = "check the path in the configuration"):
    """Open a plain, gzip, BGZF or zstd file of text for reading decompressed bytes.

    Raises
    ------
    InputError
        If the file is missing or empty, if its compressed stream is truncated or damaged, or if it is of another kind
        (a Git LFS pointer, an HTML page, a BAM ...). A BGZF file that lost whole blocks lacks only its end marker, so
        the end marker is checked too.
    """
    path = require(path, remedy)
    if path.is_dir():
        raise InputError(path, "a folder, not a file", remedy)
    packing = packed_with(path)
    if not packing:
        with open(path, "rb") as handle:
            _refuse_other_kinds(path, handle)
            yield handle
        return
    # Arrow inflates a third faster than Python's gzip module, over all members of the file.
    try:
        stream = pa.CompressedInputStream(str(path), packing)
    except OSError as error:
        raise _damaged(path, str(error)) from error
    with io.BufferedReader(stream, BUFFER) as handle:
        try:
            _refuse_other_kinds(path, handle)
            yield handle
        except OSError as error:
            if error.errno is not None:  # of the system, such as a full disk where the caller writes
                raise
            raise _damaged(path, str(error)) from error


def read_lines(
    path: str | Path, remedy: str = "check the path in the configuration"
) -> Iterator[tuple[int, str]]:
    """Yield the number (from 1) and the text of each line, without its end.

    The file is opened as by :func:`open_plain`. Its text may be UTF-8 or UTF-16 with a byte-order mark; bytes that are
    neither are read as Latin-1. Line ends may be those of Unix, Windows or old Macs.
    """
    with open_plain(path, remedy) as handle:
        head = handle.peek(2)[:2]
        if head in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            try:
                yield from enumerate(split_lines(handle.read().decode("utf-16")), 1)
            except UnicodeDecodeError as error:
                raise InputError(path, f"not a text file ({error.reason})", remedy) from error
            return
        number = 0
        for raw in handle:
            if len(raw) > LONGEST_LINE:
                raise InputError(
                    path, f"a line of more than {LONGEST_LINE} bytes", remedy, f"line {number + 1}"
                )
            if not number:
                raw = raw.removeprefix(codecs.BOM_UTF8)
            if b"\0" in raw:
                raise InputError(path, "not a text file", remedy, f"line {number + 1}")
            try:
                text = raw.decode()
            except UnicodeDecodeError:
                text = raw.decode("latin-1")
            for line in text.rstrip("\r\n").split("\r"):
                number += 1
                yield number, line


def _refuse_other_kinds(path, handle: io.BufferedReader) -> None:
    """Raise :class:`InputError` if the first bytes are those of a file that is not text."""
    head = handle.peek(64)[:64].lstrip().lower()
    for start, kind, remedy in OTHER_KINDS:
        if head.startswith(start):
            raise InputError(path, f"this is {kind}", remedy)


def is_hdf5(path: str | Path) -> bool:
    """Tell whether a file is HDF5."""
    path = Path(path)
    if not path.is_file():
        return False
    with open(path, "rb") as raw:
        return raw.read(4) == b"\x89HDF"


def packed_with(path: Path) -> str | None:
    """Return ``gzip`` (for BGZF, too), ``zstd`` or None; raise :class:`InputError` for BGZF without its end marker."""
    try:
        raw = open(path, "rb")
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", "check its permissions") from error
    with raw:
        head = raw.read(16)
        if head[:2] == b"\x1f\x8b" and head[12:14] == b"BC":
            raw.seek(max(0, path.stat().st_size - len(BGZF_EOF)))
            if raw.read() != BGZF_EOF:
                raise _damaged(path, "the BGZF end marker is missing")
    return next((name for start, name in PACKED.items() if head.startswith(start)), None)


def print_command(path: str | Path) -> str:
    """Return the shell command that prints a text file, for remedies."""
    program = {None: "cat", "gzip": "zcat", "zstd": "zstdcat"}[packed_with(Path(path))]
    return f"{program} {shlex.quote(str(path))}"


def _damaged(path, detail: str) -> InputError:
    return InputError(
        path, f"the compressed file is truncated or damaged ({detail})", "copy or download it again"
    )
