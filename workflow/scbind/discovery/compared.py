"""The table of the motifs that were found in the data, each with its nearest known motif."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scbind.core.files import read_result, write_table
from scbind.core.runlog import say
from scbind.discovery.nearest import nearest_of_tfs
from scbind.formats.motifs import read_motifs

REMEDY = "find the motifs again"


def compare_found(
    table: str | Path,
    candidates: str | Path,
    motifs: str | Path,
    output: str | Path,
    *,
    release: str | None,
    taxon: str,
    path: str | None = None,
) -> None:
    """Add the nearest known motif to the table of found motifs.

    It is not part of :func:`scbind.discovery.find.find_motifs`, because the training waits for that function.

    Parameters
    ----------
    table, candidates
        Outputs of :func:`scbind.discovery.find.find_motifs`.
    motifs
        ``motifs.npz``: the known motif of each TF.
    output
        Table to write: that of ``table`` with the columns of :func:`scbind.discovery.nearest.nearest_known`. They are
        empty for known motifs.
    release, taxon, path
        Known motifs to compare with, see :func:`scbind.formats.motiffiles.prepare_motifs`.

    Raises
    ------
    InputError
        A file is missing or damaged, or the release is unknown.
    """
    found, matrices = read_result(table, REMEDY), read_motifs(candidates)
    rows = np.flatnonzero(found["motif"].isin(list(matrices)))
    chosen = [matrices[name] for name in found["motif"].iloc[rows]]
    known = {"release": release, "taxon": taxon, "path": path}
    near = nearest_of_tfs(chosen, list(found["tf"].iloc[rows]), motifs, **known)
    write_table(output, found.join(near.set_index(rows)))
    similar = int((near["nearest_known"] != "").sum())
    say(f"{len(matrices)} found motifs; {similar} of {len(rows)} rows have a similar known motif")
