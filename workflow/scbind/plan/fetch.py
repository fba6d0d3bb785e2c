"""Fetch a file by URL or path. Downloads resume, retry and are verified; an output is either complete or absent."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

from scbind.core.errors import InputError
from scbind.core.files import put_in_place
from scbind.core.runlog import say
from scbind.plan.progress import readable
from scbind.plan.receipts import CHECKSUMS, write_receipt
from scbind.plan.transfer import BLOCK, Transfer, drop, refuse_full


def fetch(
    source: str,
    output: str | Path,
    sha256: str | None = None,
    md5: str | None = None,
    size: int | None = None,
    place: str | None = None,
    asked: str | None = None,
    attempts: int = 6,
    wait: float = 2.0,
    timeout: float = 60.0,
    every: float = 30.0,
) -> None:
    """Download or copy ``source`` to ``output``.

    A partial download stays beside the output as ``<output>.partial``. The next call continues it if the server
    allows that. An existing output with the right checksum is kept, and the network is not used.

    Parameters
    ----------
    source
        ``http://``, ``https://`` or ``file://`` address, or a local path.
    output
        Path of the new file. Its folder is created.
    sha256, md5
        Expected checksums, hexadecimal. Those that are given are all compared. Without one, only the completeness of
        the transfer is checked, and the log says so.
    size
        Expected size in bytes.
    place
        Where the address is written, for messages.
    asked
        What :func:`scbind.plan.receipts.asked_for` returned; kept in the receipt. None: no receipt is written.
    attempts
        Number of attempts without progress before giving up.
    wait
        Seconds before the second attempt. The wait doubles for each further attempt.
    timeout
        An attempt fails after this many seconds without data.
    every
        Seconds between two lines of progress.

    Raises
    ------
    InputError
        If the source does not exist or stays unreachable, if it is a web page, has another size or checksum, or if the
        disk has not enough space. A message about a checksum names both.
    """
    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    stated = {"sha256": sha256, "md5": md5, "size": size}
    stated = {key: value.lower() if key != "size" else value for key, value in stated.items() if value}
    checked = any(key in stated for key in CHECKSUMS)
    partial = output.with_name(output.name + ".partial")
    if checked and output.is_file():
        found = read_facts(output)
        if not _wrong(stated, found):
            if asked:
                write_receipt(output, asked, source, found)
            drop(partial)
            say(f"{output} exists and has the expected checksum")
            return
    if not checked:
        say(f"no checksum is given for {output.name}: its bytes are not verified")
    parts = urlsplit(source)
    if parts.scheme in ("http", "https"):
        transfer = Transfer(source, partial, output.name, size, checked, place, timeout, every)
        continued = transfer.run(attempts, wait)
        found = read_facts(partial)
        if continued and _wrong(stated, found):
            say(f"{source}: what was continued has another checksum, perhaps because the file has changed")
            drop(partial)
            transfer.run(attempts, wait)
            found = read_facts(partial)
    else:
        _copy(Path(unquote(parts.path)) if parts.scheme == "file" else Path(source), partial, place)
        found = read_facts(partial)
    if wrong := _wrong(stated, found):
        drop(partial)
        kind = "size" if wrong == "size" else "checksum"
        raise InputError(
            source,
            f"{kind} mismatch: expected {wrong} {stated[wrong]}, got {found[wrong]}",
            f"if the file was updated on purpose, write the new {wrong} into sources.tsv",
            place,
        )
    put_in_place(partial, output)
    if asked:
        write_receipt(output, asked, source, found)
    drop(partial)
    say(
        f"{output}: {found['size']} bytes ({readable(found['size'])}), sha256 {found['sha256']}, md5 {found['md5']}"
    )


def read_facts(path: str | Path) -> dict[str, str | int]:
    """Return ``sha256`` and ``md5`` (lower-case hexadecimal) and ``size`` (bytes) of a file, read once in pieces."""
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    with open(path, "rb") as handle:
        while block := handle.read(BLOCK):
            sha256.update(block)
            md5.update(block)
            size += len(block)
    return {"sha256": sha256.hexdigest(), "md5": md5.hexdigest(), "size": size}


def _wrong(stated: dict, found: dict) -> str | None:
    """Return the first of the stated facts that does not hold, or None."""
    return next((key for key in stated if stated[key] != found[key]), None)


def _copy(path: Path, partial: Path, place: str | None) -> None:
    if not path.is_file():
        raise InputError(path, "no such file", "correct its path in the sheet or in sources.tsv", place)
    drop(partial)
    refuse_full(partial.parent, path.name, path.stat().st_size, place)
    shutil.copyfile(path, partial)
