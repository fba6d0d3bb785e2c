"""What the terminal shows at the end of a run that made a report."""

from __future__ import annotations

from pathlib import Path

from scbind.core.files import read_rows
from scbind.plan.progress import counted


def closing_lines(
    report: str | Path, warnings: str | Path, since: float, record: str | Path, folder: str | Path = ""
) -> list[str]:
    """Return the path of the report, the warnings at its top, and the path of the record of the runs (``record``).

    Nothing is returned if the report is older than ``since``.

    ``warnings`` is the table that the report rule writes beside the page: ``warning, consequence, setting``. ``since``
    is in seconds since 1970. ``folder`` is put before the paths that are shown: the working folder, if the user typed
    the command in another one.
    """
    report, warnings = Path(report), Path(warnings)
    if not (report.is_file() and warnings.is_file()) or report.stat().st_mtime < since:
        return []
    rows = read_rows(warnings)
    lines = [f"Report: {Path(folder, report)}" + (f", with {counted(len(rows), 'warning')}:" if rows else "")]
    lines += [f"  * {row['warning']} {row['consequence']} (setting: {row['setting']})" for row in rows]
    return [*lines, f"Start, end and command of this run: {Path(folder, record)}"]
