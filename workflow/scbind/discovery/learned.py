"""A table of the motif matrices that a network has learned, each with its nearest known motif."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from scbind.core.files import write_table
from scbind.core.runlog import say
from scbind.discovery.find import consensus
from scbind.discovery.nearest import nearest_of_tfs


def describe_learned(
    weights: str | Path,
    motifs: str | Path,
    output: str | Path,
    *,
    release: str | None,
    taxon: str,
    path: str | None = None,
) -> None:
    """Write the table of the matrices that a model has learned.

    It has a row per TF with ChIP-seq that the model predicts: ``tf``; ``consensus`` of the learned matrix
    (:func:`scbind.discovery.find.consensus`); and the columns of :func:`scbind.discovery.nearest.nearest_known`. It has
    no row if the model has no motif matrices.

    Parameters
    ----------
    weights
        ``model.safetensors``.
    motifs
        ``motifs.npz``: the known motif of each TF.
    output
        Table to write.
    release, taxon, path
        Known motifs to compare with, see :func:`scbind.formats.motiffiles.prepare_motifs`.

    Raises
    ------
    InputError
        A file is missing or damaged, or the release is unknown.
    """
    from scbind.models.learnedmotifs import learned_motifs  # imports torch

    learned = learned_motifs(weights)
    table = pd.DataFrame(
        {"tf": list(learned), "consensus": [consensus(m).strip(".") for m in learned.values()]}
    )
    known = {"release": release, "taxon": taxon, "path": path}
    near = nearest_of_tfs(list(learned.values()), list(learned), motifs, **known)
    write_table(output, table.join(near))
    say(
        f"{len(learned)} learned motifs, {(near['nearest_known'] != '').sum()} of them similar to a known one"
    )
