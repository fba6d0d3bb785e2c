"""Results that the configuration no longer asks for, such as parts of another scatter, and scratch of killed jobs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from scbind.core.errors import printable
from scbind.core.files import atomic
from scbind.core.scratch import ended
from scbind.plan.progress import counted

SHOWN = 5  # named on the terminal; the file has all
OURS = "README.md"  # comes with scbind


def find_leftovers(folder: str | Path, made: Iterable[str]) -> list[Path]:
    """Return what lies below ``folder`` and is not among the files and folders that the run makes, sorted.

    A folder of which the run makes nothing is one entry. Hidden files, empty folders and ``README.md`` do not count.
    Scratch does if its process does not run on this machine: when the jobs of a run have ended, none of it is in use.

    Parameters
    ----------
    folder
        Such as ``results``; it may be missing.
    made
        Paths of all files and folders that the jobs of the run make, also of those that did not have to run.
    """
    folder, kept = Path(folder), {Path(path) for path in made}
    above = {parent for path in kept for parent in path.parents}
    found, waiting = [], [folder] if folder.is_dir() else []
    while waiting:
        for path in waiting.pop().iterdir():
            if path in kept or path.name.startswith(".") and not ended(path) or path == folder / OURS:
                continue
            if path in above:
                waiting.append(path)
            elif any(_files(path)):
                found.append(path)
    return sorted(found)


def list_leftovers(found: list[Path], output: str | Path) -> str:
    """Write all leftovers to ``output``, one path a line, and return the line about them for the terminal.

    A line of the file is a file or a folder with all that it holds. Characters that do not show are escaped. Without
    leftovers, ``output`` is removed, and the line is empty. The line names the first :data:`SHOWN`, the number of files
    and their size.
    """
    names = [printable(str(path)) for path in found]
    what = "Not of this configuration" + (", or scratch of a killed job" if any(map(ended, found)) else "")
    if not names:
        Path(output).unlink(missing_ok=True)
        return ""
    with atomic(output) as scratch:
        scratch.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    sizes = [[path.stat().st_size for path in _files(each)] for each in found]
    n_files, size = sum(map(len, sizes)), sum(map(sum, sizes))
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (
        f"{what}: {', '.join(names[:SHOWN])}{more} ({counted(n_files, 'file')}, "
        f"{_shown(size)}). {output} lists all. Remove what you do not need."
    )


def _files(path: Path) -> Iterator[Path]:
    """Yield the files of a folder, or the file itself; links that lead nowhere are left out."""
    inside = path.is_dir() and not path.is_symlink()
    listed = (Path(root, name) for root, _, names in os.walk(path) for name in names) if inside else [path]
    return (file for file in listed if file.exists())


def _shown(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 5e7 else f"{size / 1e6:.1f} MB"
