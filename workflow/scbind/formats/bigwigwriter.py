"""Write a bigWig, after checking that the disk has room for it."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyBigWig

from scbind.formats.genome import ChromSizes

BLOCK = 4 << 20  # bases written at a time
ENTRY_BYTES = (
    80  # of a bigWig with its zoom levels; random values on bases 1,000 bp apart take 75, others far less
)
OVERHEAD = 1 << 20  # bytes, whatever is in it


@contextmanager
def create_bigwig(path: str | Path, sizes: ChromSizes, entries: int):
    """Open a new bigWig with the header of the genome, for at most ``entries`` entries.

    If the disk fills up, pyBigWig crashes or hangs. Therefore the free space is first compared with the largest
    possible file; :class:`OSError` (ENOSPC) is raised if it is too small. Quotas, and files that other programs write
    at the same time, are not considered.
    """
    folder, most = Path(path).parent, ENTRY_BYTES * (entries + len(sizes.names)) + OVERHEAD
    if shutil.disk_usage(folder).free < most:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    bw = pyBigWig.open(str(path), "w")
    try:
        bw.addHeader(list(sizes.as_dict().items()))
        yield bw
    finally:
        bw.close()


def add_bases(bw, name: str, position: np.ndarray, value: np.ndarray) -> None:
    """Append single bases (sorted, 0-based) of one chromosome to an open bigWig."""
    for low in range(0, len(position), BLOCK):
        part = slice(low, low + BLOCK)
        bw.addEntries(name, position[part], values=value[part].astype(np.float64), span=1)
