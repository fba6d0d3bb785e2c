"""Receipts of downloads, so that an edit of the sheet fetches a file again only if it is about another file.

Every job imports this module when it parses the workflow, so the module stays light.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from scbind.core.errors import redacted
from scbind.core.files import atomic

CHECKSUMS = ("sha256", "md5")


def receipt_of(output: str | Path) -> Path:
    """Return the path of the receipt of a fetched file: in the folder ``.receipts`` beside it."""
    output = Path(output)
    return output.parent / ".receipts" / f"{output.name}.json"


def write_receipt(output: str | Path, asked: str, url: str, found: Mapping) -> None:
    """Keep what was asked for and what came.

    Parameters
    ----------
    output
        Path of the fetched file.
    asked
        What :func:`asked_for` returned for it.
    url
        Its address.
    found
        ``{"sha256", "md5", "size"}`` of the bytes that came: lower-case hexadecimal, bytes.
    """
    facts = {"asked": asked, "url": redacted(url), **found}
    if Path(output).is_file():
        facts["mtime_ns"] = os.stat(output).st_mtime_ns
    with atomic(receipt_of(output)) as scratch:
        scratch.write_text(json.dumps(facts))


def is_as_received(output: str | Path) -> bool:
    """Return whether a file is the one that was fetched, or one whose newer time makes Snakemake notice it.

    Size and time are compared with the receipt. Without a receipt, the user has put the file there.
    """
    try:
        kept, found = json.loads(receipt_of(output).read_text()), os.stat(output)
        return found.st_size == kept["size"] and found.st_mtime_ns >= kept["mtime_ns"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def asked_for(row: Mapping, output: str | Path) -> str:
    """Return a text that changes only if another file is asked for; a rule carries it as a parameter.

    What the sheet states of the file (checksums and size) is compared with the receipt. If all of it holds for the file
    that was fetched, the text of that time stands. So a checksum or a mirror may be added, and nothing runs again.

    Parameters
    ----------
    row
        ``{"url", "sha256", "md5", "size"}``, empty text or None for what is not stated.
    output
        Path of the fetched file.
    """
    url = redacted(row["url"])  # it is kept, and a new password or signature asks for the same file
    stated = {key: row[key] for key in (*CHECKSUMS, "size") if row[key]}
    try:
        kept = json.loads(receipt_of(output).read_text())
        same = all(kept[key] == value for key, value in stated.items())
        if same and (kept["url"] == url or stated.keys() & set(CHECKSUMS)):
            return kept["asked"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return json.dumps({"url": url, **stated}, sort_keys=True)
