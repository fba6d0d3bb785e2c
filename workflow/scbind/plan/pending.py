"""What is still to be downloaded: in one line for a dry run, and whether there is space for all of it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from scbind.plan.progress import counted, readable
from scbind.plan.receipts import CHECKSUMS
from scbind.plan.transfer import refuse_full


def pending_line(rows: Mapping[str, Mapping], folder: str | Path = "resources") -> str:
    """Return how many files and bytes are to be fetched, and what is not known about them.

    Parameters
    ----------
    rows
        Name -> ``{"size", "sha256", "md5"}`` of each file to fetch; None or empty text for what is not stated.
    folder
        Where the files go. Bytes of interrupted downloads there are counted as fetched.
    """
    known = [row["size"] for row in rows.values() if row["size"]]
    parts = [Path(folder) / f"{name}.partial" for name in rows]
    there = sum(part.stat().st_size for part in parts if part.is_file())
    unsized = len(rows) - len(known)
    bare = sum(not any(row[key] for key in CHECKSUMS) for row in rows.values())
    facts = [counted(len(rows), "file")]
    sizes = [readable(sum(known))] if known else []
    if unsized:
        sizes.append(f"{counted(unsized, 'file')} of unknown size")
    facts.append(" and ".join(sizes))
    if there:
        facts.append(f"{readable(there)} of them are there in part")
    if bare:
        facts.append(f"{bare} without a checksum, so their bytes are not verified")
    free = shutil.disk_usage(_nearest(folder)).free
    facts.append(f"{readable(free)} free" + (", too little" if _missing(rows, folder) > free else ""))
    return f"To download: {'; '.join(facts)}"


def refuse_too_many(rows: Mapping[str, Mapping], folder: str | Path = "resources") -> None:
    """Raise :class:`InputError` if the files to fetch do not fit on the disk together; parameters as above.

    Each download checks only the space for its own file, and several run at a time. Files of unknown size are left
    out.
    """
    refuse_full(_nearest(folder), counted(len(rows), "download"), _missing(rows, folder), None)


def _missing(rows: Mapping[str, Mapping], folder: str | Path) -> int:
    """Return the bytes that files of known size need beside what is there: parts of them, and older files."""
    sizes = {Path(folder) / name: row["size"] for name, row in rows.items() if row["size"]}
    there = [path for file in sizes for path in (file, file.with_name(f"{file.name}.partial"))]
    return sum(sizes.values()) - sum(path.lstat().st_size for path in there if path.is_file())


def _nearest(folder: str | Path) -> Path:
    """Return the folder or, if it is not there yet, the innermost of its parents that is."""
    return next(path for path in (Path(folder).absolute(), *Path(folder).absolute().parents) if path.exists())
