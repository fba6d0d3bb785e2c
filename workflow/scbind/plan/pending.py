"""What is still to be downloaded, in one line for a dry run."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from scbind.plan.progress import readable
from scbind.plan.receipts import CHECKSUMS


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
    facts = [_files(len(rows))]
    sizes = [readable(sum(known))] if known else []
    if unsized:
        sizes.append(f"{_files(unsized)} of unknown size")
    facts.append(" and ".join(sizes))
    if there:
        facts.append(f"{readable(there)} of them are there in part")
    if bare:
        facts.append(f"{bare} without a checksum, so their bytes are not verified")
    nearest = next(
        path for path in (Path(folder).absolute(), *Path(folder).absolute().parents) if path.exists()
    )
    free = shutil.disk_usage(nearest).free
    facts.append(f"{readable(free)} free" + (", too little" if sum(known) - there > free else ""))
    return f"To download: {'; '.join(facts)}"


def _files(number: int) -> str:
    return f"{number} file{'s' * (number != 1)}"
