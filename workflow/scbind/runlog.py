"""One log per job, and one readable line when the input is at fault."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scbind.errors import InputError


@contextmanager
def logged(log_path: str | Path) -> Iterator[None]:
    """Send stdout and stderr, also those of child processes, to a log file.

    An :class:`InputError` ends the process with its one line instead of a traceback; any
    other error keeps its traceback, because then the fault is ours.
    """
    Path(log_path).parent.mkdir(parents=True, exist_ok=True)
    # a process that trains on a further GPU runs the same script again, and must not empty the log of the first
    empty = 0 if "LOCAL_RANK" in os.environ else os.O_TRUNC
    handle = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | empty, 0o666)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    try:
        yield
    except InputError as error:
        say(f"ERROR {error}")
        sys.exit(1)


def say(message: str) -> None:
    """Print one line of progress at once, so that a log can be followed while it grows."""
    print(message, file=sys.stderr, flush=True)
