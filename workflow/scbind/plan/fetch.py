"""Fetch a file by URL or path. Downloads resume, retry and are verified; an output is either complete or absent."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

from scbind.core.errors import InputError
from scbind.core.files import file_sha256
from scbind.core.runlog import say

BLOCK = 1 << 20  # bytes
# HTTP status codes worth another attempt. Any other error code is final.
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})


def fetch(
    source: str,
    output: str | Path,
    sha256: str | None = None,
    attempts: int = 4,
    wait: float = 2.0,
    timeout: float = 60.0,
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
    sha256
        Expected checksum, hexadecimal. Without one, only the completeness of the transfer is checked.
    attempts
        Number of attempts before giving up.
    wait
        Seconds before the second attempt. The wait doubles for each further attempt.
    timeout
        An attempt fails after this many seconds without data.

    Raises
    ------
    InputError
        If the source does not exist, stays unreachable, or has another checksum. The message names both checksums.
    """
    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    expected = sha256.lower() if sha256 else None
    if expected and output.is_file() and file_sha256(output) == expected:
        say(f"{output} exists and has the expected checksum")
        return
    partial = output.with_name(output.name + ".partial")
    parts = urlsplit(source)
    if parts.scheme in ("http", "https"):
        _download(source, partial, attempts, wait, timeout)
    else:
        path = Path(unquote(parts.path)) if parts.scheme == "file" else Path(source)
        if not path.is_file():
            raise InputError(path, "no such file", "correct its path in the sheet or in sources.tsv")
        shutil.copyfile(path, partial)
    found = file_sha256(partial)
    if expected and found != expected:
        partial.unlink()
        raise InputError(
            source,
            f"checksum mismatch: expected sha256 {expected}, got {found}",
            "if the file was updated on purpose, write the new checksum into sources.tsv",
        )
    os.replace(partial, output)
    say(f"{output}: {output.stat().st_size} bytes, sha256 {found}")


def _download(url: str, partial: Path, attempts: int, wait: float, timeout: float) -> None:
    import requests
    import urllib3

    problem = ""
    for attempt in range(attempts):
        if attempt:
            pause = wait * 2 ** (attempt - 1)
            say(f"{url}: {problem}; trying again in {pause:g} s")
            time.sleep(pause)
        try:
            if _attempt(url, partial, timeout):
                return
            problem = "the transfer ended early"
        except requests.HTTPError as error:
            code = error.response.status_code
            if code not in TRANSIENT:
                partial.unlink(missing_ok=True)
                raise InputError(
                    url, f"the server answers {code}", "correct the address in sources.tsv"
                ) from None
            problem = f"the server answers {code}"
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            problem = f"{type(error).__name__}: {_short(error)}"
    raise InputError(
        url,
        f"not fetched after {attempts} attempts ({problem})",
        "check the network, or copy the file there by hand",
    )


def _attempt(url: str, partial: Path, timeout: float) -> bool:
    """Transfer the missing part of ``partial``. Return True if the file is complete."""
    import requests

    start = partial.stat().st_size if partial.exists() else 0
    # Without "identity", a server may compress the transfer; lengths and ranges would then not be those of the file.
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with requests.get(url, headers=headers, stream=True, timeout=timeout) as reply:
        if reply.status_code == 416:  # no bytes after `start`: the file is complete, or it has changed
            total = reply.headers.get("Content-Range", "").rpartition("/")[2]
            if total.isdigit() and int(total) == start:
                return True
            partial.unlink()
            return False
        reply.raise_for_status()
        resumed = reply.status_code == 206
        if start and resumed and not reply.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            partial.unlink()
            return False
        length = reply.headers.get("Content-Length")
        size = start if resumed else 0
        if start:
            say(f"{url}: " + (f"continued at byte {start}" if resumed else "the server restarts from byte 0"))
        goal = size + int(length) if length is not None else None
        with open(partial, "ab" if resumed else "wb") as handle:
            # read1 returns the bytes received so far, so a broken connection loses none of them.
            while block := reply.raw.read1(BLOCK):
                handle.write(block)
                size += len(block)
    return goal is None or size == goal


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
