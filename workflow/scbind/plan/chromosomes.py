"""Names of the chromosomes of a FASTA, so that a wrong name in the configuration is found before any job starts."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path

from scbind.core.files import remember

ZSTD = b"\x28\xb5\x2f\xfd"  # first bytes; the reference reads it, but the standard library cannot
BLOCK = 1 << 24  # bytes read at a time


def fasta_names(path: str | Path, kept: str | Path) -> list[str] | None:
    """Return the names of the sequences of a FASTA, plain or gzip; None if it is not there yet or cannot be read here.

    The index ``.fai`` is used if there is one that is not older than the FASTA. Else the FASTA is read once, and its
    names are kept in the JSON file ``kept`` until it changes, because every job of a run plans again.
    """
    path = Path(path)
    try:
        state = os.stat(path)
        index = Path(f"{path}.fai")
        if index.exists() and index.stat().st_mtime >= state.st_mtime:
            return [line.split("\t")[0] for line in index.read_text().splitlines()]
        key = [str(path), state.st_mtime_ns, state.st_size]
        return remember(kept, key, lambda: _read_names(path))
    except (OSError, EOFError, UnicodeDecodeError, zlib.error):
        return None


def _read_names(path: Path) -> list[str]:
    with open(path, "rb") as raw:
        head = raw.read(4)
    if head == ZSTD:
        raise OSError(f"{path} is packed with zstd")
    packed = head[:2] == b"\x1f\x8b"
    names, rest = [], b"\n"
    with gzip.open(path, "rb") if packed else open(path, "rb") as handle:
        while block := handle.read(BLOCK):
            text = rest + block
            begin = 0
            while (at := text.find(b"\n>", begin)) >= 0:
                end = text.find(b"\n", at + 2)
                if end < 0:
                    break
                names.append(text[at + 2 : end].split(None, 1)[:1] or [b""])
                begin = end
            # what may begin a header that the next block ends
            rest = text[at:] if at >= 0 else text[-1:]
    if rest.startswith(b"\n>"):
        names.append(rest[2:].split(None, 1)[:1] or [b""])
    return [name[0].decode() for name in names]
