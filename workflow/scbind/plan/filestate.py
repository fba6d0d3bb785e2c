"""The state of the files that users bring, for the parameters of the rules that read them.

Snakemake reruns a job if an input is newer than the output. A file that was replaced by an older one (``mv``,
``rsync -a``) is not newer, and results of the old file would stay.

Every job imports this module when it parses the workflow, so the module stays light.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from scbind.core.errors import printable
from scbind.core.files import file_sha256
from scbind.plan.receipts import is_as_received

SHOWN = 5  # names in the line about changed files
HASHED = 20_000_000  # bytes; a model bundle of at most this size is compared by what it holds


def file_states(
    paths: Iterable[str | None], made: Iterable[str] = (), fetched: Iterable[str] = ()
) -> list[str]:
    """Return a text per file that changes if the file is replaced.

    The text is the size (bytes) and the time of the last change (ns). It takes no reading. A bundle of a model comes
    with scbind, so a fresh checkout changes its time, and its SHA-256 is used.

    Parameters
    ----------
    paths
        Paths of files or folders; None and empty ones are left out. All files in a folder count.
    made
        Starts of paths that rules make. Snakemake follows these itself, so their text is empty.
    fetched
        Paths that a rule fetches. Their text is empty, unless the user has put another file there: then there is no
        receipt, or the file has another size or an older time.
    """
    begins, fetched = tuple(made), frozenset(fetched)
    texts = []
    for path in paths:
        if path:
            ours = path.startswith(begins) or (path in fetched and is_as_received(path))
            texts.append("" if ours else _state(Path(path)))
    return texts


def note_states(files: Iterable[str], states: Iterable[str], read: Iterable[str | Path]) -> dict[str, str]:
    """Return path -> text that changes if the file changes, of all that a run depends on.

    Parameters
    ----------
    files, states
        Files of the user, and what :func:`file_states` returned for them.
    read
        Files that are compared by what they hold: configuration, sheets and the code. A fresh checkout changes their
        times.
    """
    noted, here = dict(zip(files, states, strict=True)), Path.cwd()
    for path in map(Path, read):
        name = str(path.relative_to(here) if path.is_relative_to(here) else path)
        try:
            noted[name] = file_sha256(path)
        except OSError:
            noted[name] = ""
    return noted


def changed_line(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Return the line that names what changed between two calls of :func:`note_states`; empty if nothing did.

    A job may have read the file before or after the change. The next run compares with the state before it.
    """
    names = [printable(path) for path in sorted(before | after) if before.get(path) != after.get(path)]
    if not names:
        return ""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (
        f"Changed while this run was under way: {', '.join(names[:SHOWN])}{more}. Results may mix both states. "
        "Run the same command again: what depends on the change is made again."
    )


def _state(path: Path) -> str:
    """Return the state of a file or folder; empty if it is not there, or not on this disk."""
    try:
        if path.is_dir():
            return "; ".join(
                f"{each.relative_to(path)} {_state(each)}"
                for each in sorted(path.rglob("*"))
                if each.is_file()
            )
        found = os.stat(path)
        if path.suffix == ".zip" and found.st_size <= HASHED:
            return file_sha256(path)
        return f"{found.st_size} {found.st_mtime_ns}"
    except OSError:
        return ""
