"""Provenance of results: a record of inputs, settings, environments and digests of our code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd
import yaml

from scbind.core.errors import redacted
from scbind.core.files import atomic, file_sha256, split_lines, write_table
from scbind.core.runlog import say
from scbind.plan.digests import list_digests
from scbind.plan.sheetrows import read_sheet


def record(
    config: Mapping,
    sheets: Mapping[str, str],
    environments: Mapping[str, str],
    inputs: Iterable[str],
    config_out: str | Path,
    sheets_out: str | Path,
    environments_out: str | Path,
    digests_out: str | Path,
    inputs_out: str | Path,
) -> None:
    """Record the inputs, settings, environments and code that a set of results comes from.

    Parameters
    ----------
    config
        The configuration with its defaults filled in.
    sheets
        Sheet -> path of its file.
    environments
        Rule -> name of the environment in which it runs.
    inputs
        Paths of input files or folders. Every file, and every file in a folder, is hashed.
    config_out, sheets_out, environments_out, digests_out, inputs_out
        ``config.yaml``, and four tables with the columns ``sheet, line, text``; ``rule, environment``;
        ``module, digest``; ``path, bytes, sha256``. Addresses are without passwords.
    """
    with atomic(config_out) as scratch:
        text = yaml.safe_dump(dict(config), sort_keys=True, allow_unicode=True)
        scratch.write_text(redacted(text), encoding="utf-8")
    lines = []
    for name, path in sorted(sheets.items()):
        text = split_lines(read_sheet(path, name))
        lines += [(name, number, redacted(line)) for number, line in enumerate(text, 1)]
    _write_rows(sheets_out, ("sheet", "line", "text"), lines)
    _write_rows(environments_out, ("rule", "environment"), sorted(environments.items()))
    _write_rows(digests_out, ("module", "digest"), list_digests().items())
    files: list[Path] = []
    for path in sorted({str(p) for p in inputs}):
        found = Path(path)
        files += sorted(p for p in found.rglob("*") if p.is_file()) if found.is_dir() else [found]
    rows = [(path, path.stat().st_size, file_sha256(path)) for path in files]
    _write_rows(inputs_out, ("path", "bytes", "sha256"), rows)
    say(f"recorded the settings, {len(sheets)} sheets and {len(rows)} input files")


def _write_rows(path: str | Path, header: tuple[str, ...], rows: Iterable[tuple]) -> None:
    write_table(path, pd.DataFrame(list(rows), columns=list(header)))
