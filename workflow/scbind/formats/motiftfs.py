"""The matrices of TFs without ChIP-seq: those of a motif release that the configuration asks for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from scbind.core.errors import InputError
from scbind.core.filenames import as_file_name, fits_file_name, renamed_motif
from scbind.core.runlog import say
from scbind.formats.motiffiles import Matrix, load_profiles, matrix_of
from scbind.formats.motifs import log_odds
from scbind.formats.symbols import CASE_MATTERS

ALL, NONE = "all", "none"
PLACE = "models.*.motif_tfs"


def matrices_of_motif_tfs(
    asked: str | Sequence[str],
    assayed: Collection[str],
    release: str | None,
    taxon: str,
    path: str | None = None,
    aliases: Mapping[str, str] | None = None,
) -> dict[str, tuple[str, np.ndarray]]:
    """Choose the matrices of TFs without ChIP-seq.

    Parameters
    ----------
    asked
        ``none``, ``all``, or names of TFs. ``all`` leaves out the TFs in ``assayed`` and matrices of dimers
        (``FOS::JUN``); of several matrices of a TF, the first counts. If all TFs in ``assayed`` are upper-case, so are
        the names. In names that cannot be part of a file name, hyphens replace what does not fit (``Etv1-4-5`` for
        ``Etv1/4/5``), and the log lists them.
    assayed
        TFs that the model has already. In a bundle, some may have no ChIP-seq either.
    release, taxon, path, aliases
        See :func:`scbind.formats.motiffiles.prepare_motifs`.

    Returns
    -------
    dict
        TF -> ``matrix id:name`` and log2 odds, float32 (4, length), sorted by name.

    Raises
    ------
    InputError
        If there is no matrix at all, a TF that is asked for has none or that of another one or is in ``assayed`` or
        cannot be part of a file name, or no TF is left.
    """
    if asked == NONE:
        return {}
    profiles, place = load_profiles(path, release, taxon)
    if not profiles:
        raise InputError(
            place, "holds no matrix", "check motifs.taxon, or set models.*.motif_tfs: none", PLACE
        )
    fold = str if taxon == CASE_MATTERS else str.upper
    chosen: dict[str, Matrix] = {}
    known = {fold(tf) for tf in assayed}
    # The release has mouse matrices, too: Gata3 is GATA3 beside TFs with human symbols.
    symbol = fold if all(tf.isupper() for tf in assayed) else str
    if asked == ALL:
        renamed = {}
        for profile in profiles:
            name = as_file_name(profile.name)
            if name and "::" not in profile.name and fold(name) not in known:
                known.add(fold(name))
                chosen[symbol(name)] = profile
                renamed |= {profile.name: symbol(name)} if name != profile.name else {}
        if renamed:
            say("renamed, for file names: " + ", ".join(f"{old} to {new}" for old, new in renamed.items()))
    else:
        if there := [tf for tf in asked if fold(tf) in known]:
            problem = f"the model has {', '.join(there)} already"
            raise InputError("config", problem, "remove the name from the list", PLACE)
        if unfit := [tf for tf in asked if not fits_file_name(tf)]:
            problem = f"{unfit[0]!r} cannot be part of a file name"
            raise InputError("config", problem, renamed_motif(unfit[0]), PLACE)
        others = {tf.casefold(): other for tf, other in (aliases or {}).items()}
        for tf in asked:
            found = matrix_of(others.get(tf.casefold(), tf), profiles, taxon)
            if found is None:
                raise InputError(
                    "config", f"{tf} has no matrix in {place}", "correct its symbol, or remove it", PLACE
                )
            _refuse_twin(tf, found, chosen)
            chosen[tf] = found
    if not chosen:
        raise InputError(place, "the model has every TF already", "set models.*.motif_tfs: none", PLACE)
    say(f"{len(chosen)} TFs without ChIP-seq have a matrix in {place}")
    return {tf: (f"{m.identity}:{m.name}", log_odds(m.counts)) for tf, m in sorted(chosen.items())}


def _refuse_twin(tf: str, found: Matrix, chosen: Mapping[str, Matrix]) -> None:
    """Refuse a TF that gets the matrix of a TF before it, such as of a dimer: the two could not be distinguished."""
    for other, matrix in chosen.items():
        if matrix is found:  # identifiers of a file may repeat
            problem = f"{other} and {tf} both take the matrix {found.identity} of {found.name}"
            raise InputError("config", problem, "remove one of them", PLACE)
