"""Write a bigWig, after checking that the disk has room for it; rename the chromosomes of one.

python -m scbind.formats.bigwigwriter IN.bw OUT.bw OLD NEW      replace the prefix OLD of chromosome names by NEW
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyBigWig

from scbind.core.errors import InputError
from scbind.core.files import atomic
from scbind.formats.bigwig import bigwig_intervals, open_any_bigwig
from scbind.formats.genome import ChromSizes
from scbind.formats.names import Renaming

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

    A bigWig needs an entry: without one, pyBigWig leaves out the index, and no program can read the file. If nothing is
    added, the first base gets the value 0.
    """
    folder, most = Path(path).parent, ENTRY_BYTES * (entries + len(sizes.names)) + OVERHEAD
    if shutil.disk_usage(folder).free < most:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    bw = _Writer(path)
    try:
        bw.file.addHeader(list(sizes.as_dict().items()))
        yield bw
        if bw.empty:
            bw.addEntries([sizes.names[0]], [0], ends=[1], values=[0.0])
    finally:
        bw.file.close()


class _Writer:
    """A bigWig to which entries are added; ``empty`` is true as long as it has none."""

    def __init__(self, path: str | Path):
        self.file, self.empty = pyBigWig.open(str(path), "w"), True

    def addEntries(self, *entries, **options) -> None:
        """Add entries: the arguments of :meth:`pyBigWig.bigWigFile.addEntries`."""
        self.file.addEntries(*entries, **options)
        self.empty = False


def add_bases(bw, name: str, position: np.ndarray, value: np.ndarray) -> None:
    """Append single bases (sorted, 0-based) of one chromosome to an open bigWig."""
    for low in range(0, len(position), BLOCK):
        part = slice(low, low + BLOCK)
        bw.addEntries(name, position[part], values=value[part].astype(np.float64), span=1)


def rename_chromosomes(source: str | Path, target: str | Path, old: str, new: str) -> None:
    """Copy a bigWig with the prefix ``old`` of its chromosome names replaced by ``new``.

    Names without the prefix stay. Memory holds the entries of ``BLOCK`` bases. Raises :class:`InputError` if the source
    is not a bigWig, or if two names become equal.
    """
    with open_any_bigwig(source) as bw, atomic(target) as scratch:
        renaming, length = Renaming(old, new), bw.chroms
        names = {name: renaming.of(name) for name in length}
        if len(set(names.values())) < len(names):
            raise InputError(source, "two chromosomes would have the same name", "choose other prefixes")
        out = pyBigWig.open(str(scratch), "w")
        out.addHeader([(names[name], length[name]) for name in length])
        for name in length:
            for low in range(0, length[name], BLOCK):
                entries = bigwig_intervals(source, bw, name, low, min(low + BLOCK, length[name]))
                # one that began earlier was written with its own block
                entries = entries[entries[:, 0] >= low]
                if len(entries):
                    start, end = entries[:, 0].astype(np.int64), entries[:, 1].astype(np.int64)
                    out.addEntries(
                        [names[name]] * len(start),
                        start.tolist(),
                        ends=end.tolist(),
                        values=entries[:, 2].tolist(),
                    )
        out.close()


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    try:
        rename_chromosomes(*sys.argv[1:])
    except InputError as error:
        sys.exit(f"ERROR {error}")
