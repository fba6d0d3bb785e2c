"""The matrices of TFs without ChIP-seq: those of a motif release that the configuration asks for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from scbind.core.errors import InputError
from scbind.core.filenames import as_file_name, fits_file_name, renamed_motif
from scbind.core.runlog import say
from scbind.formats.bundlefile import read_bundle
from scbind.formats.evidence import assayed_tfs
from scbind.formats.motiffiles import Matrix, load_profiles, matrix_of
from scbind.formats.motifs import column_bits, log_odds, write_motifs
from scbind.formats.symbols import Aliases, case_matters

ALL, NONE = "all", "none"
PLACE = "models.*.motif_tfs"
# Least information of a matrix, in bits. A random site matches a matrix of n bits with a probability of about 2^-n. At
# 5 bits, a window of 200 bp (400 sites on both strands) has 12 matches by chance, and one in 300,000 has none, so
# the matrix does not distinguish windows. In JASPAR 2024, the least is 6.0 bits for vertebrates; a few TFs of plants,
# whose motif has four bases (AAAG), have 3.5 to 5.
LEAST_BITS = 5.0


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
        ``none``, ``all``, or names of TFs. ``all`` leaves out the TFs in ``assayed``, matrices of dimers
        (``FOS::JUN``), and TFs that take the matrix of another TF by ``aliases``; of several matrices of a TF, the
        first counts. If all TFs in ``assayed`` are upper-case, so are the names. In names that cannot be part of a file
        name, hyphens replace what does not fit (``Etv1-4-5`` for ``Etv1/4/5``), and the log lists them. The log also
        lists the TFs that are left out because of their alias, or because their matrix has less than ``LEAST_BITS``
        bits of information, and those whose matrix a TF in ``assayed`` takes.
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
        If there is no matrix at all, or no TF is left. If a TF that is asked for has no matrix, or that of another one,
        or one of less than ``LEAST_BITS`` bits, is in ``assayed``, takes the matrix of a TF in ``assayed`` by its
        alias, or cannot be part of a file name.
    """
    if asked == NONE:
        return {}
    profiles, place = load_profiles(path, release, taxon)
    if not profiles:
        raise InputError(
            place, "holds no matrix", "check motifs.taxon, or set models.*.motif_tfs: none", PLACE
        )
    known = list(assayed), profiles, Aliases(taxon, aliases or {})
    chosen = _all_tfs(*known) if asked == ALL else _listed_tfs(asked, place, *known)
    if not chosen:
        problem = "the model has every TF with a motif already"
        raise InputError(place, problem, "set models.*.motif_tfs: none", PLACE)
    say(f"{len(chosen)} TFs without ChIP-seq have a matrix in {place}")
    return {tf: (f"{m.identity}:{m.name}", log_odds(m.counts)) for tf, m in sorted(chosen.items())}


def choose_motif_tfs(
    asked: str | Sequence[str],
    assayed: Collection[str],
    output: str | Path,
    *,
    release: str | None,
    taxon: str,
    path: str | None = None,
    aliases: Mapping[str, str] | None = None,
    extends: str | Path | None = None,
) -> None:
    """Write the matrices of the TFs without ChIP-seq of a model (:func:`scbind.formats.motifs.write_motifs`).

    Arguments and errors are those of :func:`matrices_of_motif_tfs`. This runs before the training, so that a misspelt
    name does not stop the run after it. ``extends`` is the bundle that the model extends, if any: its TFs with ChIP-seq
    count as assayed.
    """
    if extends:
        assayed = [*assayed, *assayed_tfs(read_bundle(extends).about["facts"])]
    chosen = matrices_of_motif_tfs(asked, assayed, release, taxon, path, aliases)
    write_motifs(output, chosen)
    say(
        "TFs without ChIP-seq: " + (", ".join(f"{tf} ({name})" for tf, (name, _) in chosen.items()) or "none")
    )


def _all_tfs(assayed: list[str], profiles: list[Matrix], aliases: Aliases) -> dict[str, Matrix]:
    """Choose the first matrix of every TF that is not in ``assayed``. The log says what is renamed and left out."""
    # The release has mouse matrices, too: Gata3 is GATA3 beside TFs with human symbols.
    upper = not case_matters(aliases.taxon) and all(tf.isupper() for tf in assayed)
    chosen: dict[str, Matrix] = {}
    taken = {aliases.key(tf) for tf in assayed}
    matrices = {aliases.key(aliases.meant(tf)): tf for tf in reversed(assayed)}
    renamed, borrowed, twins, weak = [], [], [], []
    for profile in profiles:
        plain = as_file_name(profile.name)
        name = plain.upper() if upper else plain
        if not name or "::" in profile.name or aliases.key(name) in taken:
            continue
        taken.add(aliases.key(name))
        own = {aliases.key(name), aliases.key(profile.name)}
        meant = [tf for tf in map(aliases.meant, (name, profile.name)) if aliases.key(tf) not in own]
        if meant:
            borrowed.append(f"{name} ({meant[0]})")
        elif (bits := _bits(profile)) < LEAST_BITS:
            weak.append(f"{name} ({profile.identity}, {bits:.1f} bits)")
        else:
            chosen[name] = profile
            renamed += [f"{profile.name} to {name}"] if plain != profile.name else []
            twins += [f"{name} ({matrices[key]})" for key in own & matrices.keys()]
    if renamed:
        say(f"renamed, for file names: {', '.join(renamed)}")
    if borrowed:
        say(f"left out, because they take the matrix of another TF (motifs.aliases): {', '.join(borrowed)}")
    if twins:
        say(
            f"added beside a TF of the model that takes the same matrix (motifs.aliases): {', '.join(twins)}; if both "
            "are one TF, list the TFs to add instead of all"
        )
    if weak:
        say(
            f"left out, because a matrix of less than {LEAST_BITS:g} bits matches everywhere: {', '.join(weak)}"
        )
    return chosen


def _listed_tfs(
    asked: Sequence[str], place: str, assayed: list[str], profiles: list[Matrix], aliases: Aliases
) -> dict[str, Matrix]:
    """Choose the matrix of every TF in ``asked``. ``place``: where the matrices are from."""
    known = {aliases.key(tf) for tf in assayed}
    if there := [tf for tf in asked if aliases.key(tf) in known]:
        problem = f"the model has {', '.join(there)} already"
        raise InputError("config", problem, "remove the name from the list", PLACE)
    if unfit := [tf for tf in asked if not fits_file_name(tf)]:
        problem = f"{unfit[0]!r} cannot be part of a file name"
        raise InputError("config", problem, renamed_motif(unfit[0]), PLACE)
    chosen: dict[str, Matrix] = {}
    for tf in asked:
        if other := aliases.find(tf, assayed):
            problem = f"by motifs.aliases, {tf} takes the same matrix as {other}, which the model has already"
            raise InputError(
                "config", problem, f"remove {tf} from the list, or correct motifs.aliases", PLACE
            )
        found = matrix_of(aliases.meant(tf), profiles, aliases.taxon)
        if found is None:
            raise InputError(
                "config", f"{tf} has no matrix in {place}", "correct its symbol, or remove it", PLACE
            )
        if (bits := _bits(found)) < LEAST_BITS:
            problem = f"{tf}: its matrix {found.identity} matches everywhere ({bits:.1f} bits of information)"
            remedy = f"remove {tf}, or give a matrix of at least {LEAST_BITS:g} bits in motifs.path"
            raise InputError("config", problem, remedy, PLACE)
        _refuse_twin(tf, found, chosen)
        chosen[tf] = found
    return chosen


def _bits(matrix: Matrix) -> float:
    """Return the information of a matrix over a uniform background, in bits."""
    return float(column_bits(matrix.counts / matrix.counts.sum(axis=0)).sum())


def _refuse_twin(tf: str, found: Matrix, chosen: Mapping[str, Matrix]) -> None:
    """Refuse a TF that gets the matrix of a TF before it, such as of a dimer: the two could not be distinguished."""
    for other, matrix in chosen.items():
        if matrix is found:  # identifiers of a file may repeat
            problem = f"{other} and {tf} both take the matrix {found.identity} of {found.name}"
            raise InputError("config", problem, "remove one of them", PLACE)
