"""The record of the runs in a folder: when each started and ended, and with which command.

Results have no date, so that two runs on the same inputs give the same bytes. The record is among the logs.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from scbind import __version__
from scbind.core.errors import printable, redacted

RECORD = "logs/runs.tsv"
COLUMNS = ("time", "event", "scbind", "command")
STARTED, FINISHED, FAILED = "started", "finished", "failed"
SECRET = re.compile(r"secret|token|passw|credential|access-key|-auth", re.IGNORECASE)
HIDDEN = "***"


def command_line(arguments: Sequence[str]) -> str:
    """Return the command of a run as it can be typed again, without passwords.

    The values of options such as ``--storage-s3-secret-key`` are hidden, and passwords and signatures in addresses.

    Examples
    --------
    >>> command_line(["/usr/bin/snakemake", "--cores", "8", "--config", "seed=2", "--storage-ftp-password", "abc"])
    'snakemake --cores 8 --config seed=2 --storage-ftp-password ***'
    """
    shown, secret = [], False
    for argument in arguments[1:]:
        if argument.startswith("-"):
            name, equals, _ = argument.partition("=")
            secret = bool(SECRET.search(name))
            shown.append(shlex.quote(name) + equals + HIDDEN if secret and equals else shlex.quote(argument))
            secret = secret and not equals
        else:
            shown.append(HIDDEN if secret else shlex.quote(argument))
    return printable(redacted(" ".join(["snakemake", *shown])))


def note_event(event: str, arguments: Sequence[str], record: str | Path = RECORD) -> None:
    """Add a line to the record: ``time`` (UTC, ISO 8601), ``event``, version of ``scbind``, ``command``.

    A run that is killed has a line ``started`` without an end. A record that cannot be written does not stop the run.
    """
    record = Path(record)
    row = (f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", event, __version__, command_line(arguments))
    with suppress(OSError):
        record.parent.mkdir(parents=True, exist_ok=True)
        with record.open("a", encoding="utf-8") as file:
            if not file.tell():
                file.write("\t".join(COLUMNS) + "\n")
            file.write("\t".join(row) + "\n")
