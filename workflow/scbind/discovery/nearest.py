"""The nearest known motif of a matrix: Tomtom (Gupta et al. 2007, Genome Biology 8:R24) against a motif release.

Known motifs that are wider than any found one are left out. In JASPAR 2024, these are two matrices of CTCF and one of
ZNF558. The columns between the two parts of these CTCF matrices have hardly any information, and Tomtom counts such
columns as similar to those of other motifs. With them, 18 % of found motifs with shuffled columns had a neighbour at an
adjusted p-value of 0.05; without them 8 % (44 TFs of ENCODE, each shuffled 10 and 20 times).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from scbind.core.runlog import say
from scbind.discovery.refine import WIDTH
from scbind.formats.motiffiles import Matrix, load_profiles
from scbind.formats.motifs import column_bits, frequencies, log_odds, motif_names

SIMILAR = 0.05  # largest adjusted p-value of a motif that counts as similar
FEWEST_TARGETS = (
    50  # the p-values of Tomtom are not reliable with fewer known motifs (manual of the MEME suite)
)
LEAST_BITS = 0.5  # columns at both ends with less information are cut
COLUMNS = "nearest_known", "nearest_p_adjusted", "own_p_adjusted"


def released_motifs(path: str | None, release: str | None, taxon: str) -> list[Matrix]:
    """Return all matrices of a file, or else of a release; none without both.

    Raises :class:`scbind.core.errors.InputError` as :func:`scbind.formats.motiffiles.prepare_motifs`.
    """
    return load_profiles(path, release, taxon)[0] if path or release else []


def nearest_of_tfs(
    matrices: Sequence[np.ndarray],
    tfs: Sequence[str],
    motifs: str | Path,
    *,
    release: str | None,
    taxon: str,
    path: str | None = None,
) -> pd.DataFrame:
    """Compare the matrix of each TF with all known motifs: the result of :func:`nearest_known`.

    ``motifs`` is ``motifs.npz``, with the known motif of each TF. ``release``, ``taxon`` and ``path`` say which motifs
    are known (:func:`released_motifs`).
    """
    identities = motif_names(motifs)
    own = [identities.get(tf) for tf in tfs]
    return nearest_known(matrices, own, released_motifs(path, release, taxon))


def nearest_known(
    matrices: Sequence[np.ndarray], own: Sequence[str | None], known: Sequence[Matrix]
) -> pd.DataFrame:
    """Compare matrices with all known motifs, on both strands.

    Parameters
    ----------
    matrices
        Log2 odds over a uniform background, (4, length) each. Columns of less than ``LEAST_BITS`` at both ends are cut.
    own
        ``ID:name`` of the known motif of the TF of each matrix, or ``None``. Another version of the same JASPAR matrix
        also counts as this motif.
    known
        The known motifs. Those wider than ``WIDTH`` are left out. With fewer than ``FEWEST_TARGETS``, nothing is
        compared.

    Returns
    -------
    pandas.DataFrame
        A row per matrix. ``nearest_known``: ``ID:name`` of the known motif with the lowest p-value, empty if none has
        an adjusted p-value of at most ``SIMILAR``. ``nearest_p_adjusted``: its p-value times the number of compared
        motifs, at most 1, NaN if none is similar. ``own_p_adjusted``: the same of the motif in ``own``, whether or
        not it passes the threshold; NaN if it is not among the known motifs.
    """
    found = pd.DataFrame({"nearest_known": "", "nearest_p_adjusted": np.nan, "own_p_adjusted": np.nan},
                         index=range(len(matrices)))  # fmt: skip
    known = [motif for motif in known if motif.counts.shape[1] <= WIDTH]
    trimmed = [trim(frequencies(matrix)) for matrix in matrices]
    rows = [row for row, matrix in enumerate(trimmed) if matrix.shape[1]]
    if 0 < len(known) < FEWEST_TARGETS:
        say(f"no nearest known motifs: {FEWEST_TARGETS} known motifs are needed, there are {len(known)}")
    if not rows or len(known) < FEWEST_TARGETS:
        return found
    from memelite import tomtom  # imported here because compiling takes seconds

    compared = [frequencies(log_odds(motif.counts)) for motif in known]
    p = tomtom([trimmed[row] for row in rows], compared, n_jobs=1)[0]
    adjusted = np.minimum(p * len(known), 1)
    names = [f"{motif.identity}:{motif.name}" for motif in known]
    place = {_unversioned(name): column for column, name in reversed(list(enumerate(names)))}
    place |= {name: column for column, name in reversed(list(enumerate(names)))}
    for row, each in zip(rows, adjusted, strict=True):
        best = int(each.argmin())
        if each[best] <= SIMILAR:
            found.loc[row, ["nearest_known", "nearest_p_adjusted"]] = names[best], each[best]
        column = place.get(own[row] or "", place.get(_unversioned(own[row] or "")))
        if column is not None:
            found.loc[row, "own_p_adjusted"] = each[column]
    return found


def _unversioned(name: str) -> str:
    """``ID:name`` without the version of a JASPAR matrix."""
    return re.sub(r"^(MA\d+)\.\d+:", r"\1:", name)


def trim(shares: np.ndarray) -> np.ndarray:
    """Cut the columns of less than ``LEAST_BITS`` bits at both ends of base frequencies (4, length); may leave none."""
    kept = np.flatnonzero(column_bits(shares) >= LEAST_BITS)
    return shares[:, kept[0] : kept[-1] + 1] if len(kept) else shares[:, :0]
