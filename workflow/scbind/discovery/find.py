"""Find the motifs of all TFs in the data, and choose the matrices from which a network starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from scbind.core.files import write_table
from scbind.core.runlog import say
from scbind.dataset.trainingset import TrainingSet
from scbind.discovery.refine import Refined, refine
from scbind.discovery.windows import FOLDS, Parts, Sequences, draw_parts, gather_windows
from scbind.discovery.words import enriched_words
from scbind.formats.motifs import FOUND, found_in, motif_names, read_motifs, scan_all, write_motifs
from scbind.models.metrics import resampled_auprc

SEEDS = 10  # words that are refined, per TF
KEPT = 3  # motifs that are kept, per TF
FEWEST = 8  # minimum number of bound windows to search for a motif
LIKE = 0.8  # correlation of the scores of two motifs over the windows from which they count as the same
ENOUGH = (
    50  # minimum number of sites of a motif that may replace a known one; with fewer, networks were worse
)
RESAMPLED = 200  # bootstrap samples of the windows
SURE = 0.95  # fraction of these in which a motif must be better
LOWEST = -1.0  # score of a window without a match, in cross-fitting
CONSENSUS, WEAK = 1.0, 0.5  # log2 odds from which a base is written in upper and in lower case


@dataclass(frozen=True)
class FoundFiles:
    """Inputs and outputs of :func:`find_motifs`.

    Attributes
    ----------
    dataset, reference
        Folders of the training set and of the prepared genome.
    known
        ``motifs.npz`` of the known matrices, or ``None``.
    found
        Output: the best found motif of each TF, as :func:`scbind.formats.motifs.write_motifs` writes it.
    known_or_found
        Output: the known matrix of each TF, or the found motif if none is known or the known one is clearly worse.
    candidates
        Output: every found motif that was kept, in the same form, by its name.
    table
        Output: a row per TF and motif (:func:`find_motifs`).
    """

    dataset: str | Path
    reference: str | Path
    known: str | Path | None
    found: str | Path
    known_or_found: str | Path
    candidates: str | Path
    table: str | Path


class _Motif(NamedTuple):
    """A motif, with its best match in each bound and each unbound window of the TF for which it is tested."""

    name: str
    n_sites: int | None
    matrix: np.ndarray
    bound: np.ndarray
    unbound: np.ndarray


def find_motifs(files: FoundFiles, windows: int = 1000, seed: int = 0) -> None:
    """Find the motifs of every TF in its windows, and choose the matrix from which a network starts.

    For each TF, the words that distinguish the summits in its bound training windows from places of similar openness
    and GC in unbound ones (:func:`draw_parts`, :func:`enriched_words`) are refined to matrices (:func:`refine`). At
    most ``KEPT`` different ones are kept, those with the highest AUPRC of their best match in training and validation
    windows. The AUPRC of the first is then cross-fitted: each fold of the training windows is scored with the best
    motif of the other folds, and the validation windows with that of all. Otherwise, the motif of a TF with few windows
    would be overestimated. A TF for which no motif is found, or none whose AUPRC is above the prevalence in ``SURE`` of
    ``RESAMPLED`` bootstrap samples of the windows, takes the best one of the other TFs, because it may share its sites
    with one that has more bound windows. A found motif of at least ``ENOUGH`` sites replaces the known one if it is
    better in as many samples, because its flanks and weights come from these data.

    The table has a row per TF and motif that was kept, best first: ``tf``; ``motif`` (``found:TF.NUMBER``, with the TF
    in whose windows it was found, or the identifier of the known matrix); ``consensus`` (lower case: weak; dot: any
    base); ``width`` in bp; ``n_sites``, the summits that made it (empty if known); ``auprc`` of its best match in the
    windows that it is tried on; their ``prevalence`` and number of bound ones, ``n_bound``; ``starts_found`` and
    ``starts_known``, 1 if networks start from it without and with the known matrices.

    Parameters
    ----------
    windows
        Maximum number of summits per TF and split. The time is proportional to it.
    seed
        Random seed of the draw of windows and of the bootstrap.
    """
    data = TrainingSet.open(files.dataset, files.reference)
    known = read_motifs(files.known) if files.known else {}
    identities = motif_names(files.known) if files.known else {}
    labelled, parts, own = gather_windows(data, seed), {}, {}
    for number, tf in enumerate(data.tfs):
        parts[tf] = draw_parts(data, labelled, number, windows, seed)
        own[tf] = _own_motifs(tf, parts[tf])
        say(f"{tf}: {len(own[tf])} motifs in {len(parts[tf].train.bound):,} bound windows")
    found, known_or_found, rows = {}, {}, []
    for number, tf in enumerate(data.tfs):
        rng = np.random.default_rng([seed, number])
        start = _start(tf, parts[tf], own, rng)
        before = _known(identities.get(tf), known.get(tf), parts[tf])
        replaced = start in own[tf] and start.n_sites >= ENOUGH and before and _is_better(start, before, rng)
        chosen = start if replaced or not before else before
        if start:
            found[tf] = start.name, start.matrix
        if chosen:
            known_or_found[tf] = chosen.name, chosen.matrix
        shown = [*own[tf], *(each for each in (start, before) if each and each not in own[tf])]
        for motif in sorted(shown, key=_rank):
            rows.append(_row(tf, motif, motif is start, motif is chosen))
    write_motifs(files.found, found)
    write_motifs(files.known_or_found, known_or_found)
    write_motifs(
        files.candidates, {each.name: (each.name, each.matrix) for motifs in own.values() for each in motifs}
    )
    write_table(files.table, pd.DataFrame(rows, columns=COLUMNS))
    better = [tf for tf, (name, _) in known_or_found.items() if tf in known and name != identities[tf]]
    with_own = [tf for tf in data.tfs if own[tf]]
    say(
        f"motifs found for {len(with_own)} of {len(data.tfs)} TFs, better than the known one for {len(better)}"
    )
    if borrowing := [f"{tf} ({name})" for tf, (name, _) in found.items() if found_in(name) != tf]:
        say(f"TFs with the motif of another TF: {', '.join(borrowing)}")
    if lacking := [tf for tf in data.tfs if tf not in found]:
        say(f"no motif found for {', '.join(lacking)}: no bound windows, or no word that distinguishes them")


COLUMNS = (
    "tf",
    "motif",
    "consensus",
    "width",
    "n_sites",
    "auprc",
    "prevalence",
    "n_bound",
    "starts_found",
    "starts_known",
)


def _start(tf: str, parts: Parts, own: dict[str, list[_Motif]], rng: np.random.Generator) -> _Motif | None:
    """The motif from which a network without known motifs starts: of the TF itself, or of another one."""
    mine = next(iter(own[tf]), None)
    return mine if mine and _is_no_chance(mine, rng) else next(iter(_others(tf, parts, own)), mine)


def _own_motifs(tf: str, parts: Parts) -> list[_Motif]:
    """The motifs found in the training windows of a TF, with their scores in all its windows; the best of all first.

    The scores of the first one are those of cross-fitting, the others' those of :func:`refine` in the training windows.
    """
    train = parts.train
    motifs = _search(train.bound, train.unbound)
    valid = [
        _Motif("", each.n_sites, each.matrix, *(_scores(codes, each.matrix) for codes in parts.valid[:2]))
        for each in motifs
    ]
    whole = [
        both._replace(bound=np.append(each.bound, both.bound), unbound=np.append(each.unbound, both.unbound))
        for each, both in zip(motifs, valid, strict=True)
    ]
    kept: list[int] = []
    for row in sorted(range(len(whole)), key=lambda row: _rank(whole[row])):
        if len(kept) < KEPT and not any(_alike(whole[row], whole[other]) for other in kept):
            kept.append(row)
    found = [whole[row]._replace(name=f"{FOUND}{tf}.{number}") for number, row in enumerate(kept, 1)]
    if found:
        scores = (
            np.append(*each) for each in zip(_cross_fit(train), _comparable(*valid[kept[0]][3:]), strict=True)
        )
        found[0] = found[0]._replace(**dict(zip(("bound", "unbound"), scores, strict=True)))
    return found


def _search(bound: np.ndarray, unbound: np.ndarray) -> list[Refined]:
    """All motifs that are found in some windows, best first."""
    if len(bound) < FEWEST or not len(unbound):
        return []
    return sorted(refine(bound, unbound, enriched_words(bound, unbound, SEEDS)), key=_rank)


def _cross_fit(windows: Sequences) -> tuple[np.ndarray, np.ndarray]:
    """Scores of bound and of unbound windows by the best motif of the other folds; the lowest if these have none."""
    bound, unbound = np.full(len(windows.bound), LOWEST), np.full(len(windows.unbound), LOWEST)
    for fold in range(FOLDS):
        here, there = windows.bound_fold == fold, windows.unbound_fold == fold
        motifs = _search(windows.bound[~here], windows.unbound[~there])
        if motifs:
            scores = (
                _scores(windows.bound[here], motifs[0].matrix),
                _scores(windows.unbound[there], motifs[0].matrix),
            )
            bound[here], unbound[there] = _comparable(*scores)
    return bound, unbound


def _comparable(bound: np.ndarray, unbound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores of different matrices made comparable: minus the share of unbound windows that score as high or higher."""
    if not len(unbound):
        return np.full(len(bound), LOWEST), np.empty(0)
    ascending = np.sort(unbound)
    return tuple(
        np.searchsorted(ascending, each, "left") / len(unbound) + LOWEST for each in (bound, unbound)
    )


def _others(tf: str, parts: Parts, own: dict[str, list[_Motif]]) -> list[_Motif]:
    """The motifs of the other TFs, with their scores in the windows of this one; best first."""
    motifs = [motif for other, motifs in own.items() if other != tf for motif in motifs]
    bound, unbound = _windows(parts)
    if not motifs or not len(bound) or not len(unbound):
        return []
    matrices = [motif.matrix for motif in motifs]
    scores = scan_all(bound, matrices).T, scan_all(unbound, matrices).T
    tried = [motif._replace(bound=a, unbound=b) for motif, a, b in zip(motifs, *scores, strict=True)]
    return sorted(tried, key=_rank)


def _known(identity: str | None, matrix: np.ndarray | None, parts: Parts) -> _Motif | None:
    """The known motif of a TF, with its scores; ``None`` if there is none."""
    if matrix is None:
        return None
    return _Motif(identity, None, matrix, *(_scores(codes, matrix) for codes in _windows(parts)))


def _windows(parts: Parts) -> tuple[np.ndarray, np.ndarray]:
    """Bound and unbound windows of both splits."""
    return tuple(np.concatenate(each) for each in zip(*(part[:2] for part in parts), strict=True))


def _scores(codes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return scan_all(codes, [matrix])[:, 0] if len(codes) else np.empty(0, dtype=np.float32)


def _alike(motif: _Motif, other: _Motif) -> bool:
    """Whether the scores of two motifs over the windows are similar."""
    a, b = (np.append(each.bound, each.unbound) for each in (motif, other))
    return bool(np.corrcoef(a, b)[0, 1] > LIKE)


def _is_better(motif: _Motif, other: _Motif, rng: np.random.Generator) -> bool:
    """Whether a motif has the higher AUPRC in nearly all bootstrap samples of the windows."""
    if not len(other.bound) or not len(other.unbound):
        return False
    times = _resampled(other, rng)
    a, b = (resampled_auprc(*_truth_and_score(each.bound, each.unbound), times) for each in (motif, other))
    return (a > b).mean() >= SURE


def _is_no_chance(motif: _Motif, rng: np.random.Generator) -> bool:
    """Whether the AUPRC is above the prevalence in nearly all bootstrap samples of the windows."""
    if not len(motif.bound) or not len(motif.unbound):
        return False
    found = resampled_auprc(*_truth_and_score(motif.bound, motif.unbound), _resampled(motif, rng))
    return (found > len(motif.bound) / (len(motif.bound) + len(motif.unbound))).mean() >= SURE


def _resampled(motif: _Motif, rng: np.random.Generator) -> np.ndarray:
    """How often each window is in each bootstrap sample, the bound ones first: int64 (samples, windows)."""
    sizes = len(motif.bound), len(motif.unbound)
    return np.concatenate([rng.multinomial(n, np.full(n, 1 / n), RESAMPLED) for n in sizes], axis=1)


def auprc(bound: np.ndarray, unbound: np.ndarray) -> float:
    """AUPRC (average precision) of scores of bound and of unbound windows; NaN without either."""
    if not len(bound) or not len(unbound):
        return np.nan
    truth, score = _truth_and_score(bound, unbound)
    return float(resampled_auprc(truth, score, [np.ones(len(score))])[0])


def _truth_and_score(bound: np.ndarray, unbound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.repeat([True, False], [len(bound), len(unbound)]), np.append(bound, unbound)


def _rank(motif: _Motif | Refined) -> float:
    return -np.nan_to_num(auprc(motif.bound, motif.unbound))


def consensus(matrix: np.ndarray) -> str:
    """The bases of a matrix of log2 odds (4, length) as letters: lower case if weak, a dot if any base will do.

    Examples
    --------
    >>> import numpy as np
    >>> consensus(np.array([[2, -2, 0.1], [-2, 0.7, 0.1], [-2, -2, 0], [-2, -2, 0]]))
    'Ac.'
    """
    letters = ["." if column.max() < WEAK else "ACGT"[column.argmax()] for column in matrix.T]
    return "".join(
        letter if column.max() >= CONSENSUS else letter.lower()
        for letter, column in zip(letters, matrix.T, strict=True)
    )


def _row(tf: str, motif: _Motif, starts_found: bool, starts_known: bool) -> tuple:
    n, bound = len(motif.bound) + len(motif.unbound), len(motif.bound)
    measured = auprc(motif.bound, motif.unbound), bound / n if n else np.nan, bound
    shape = consensus(motif.matrix), motif.matrix.shape[1], "" if motif.n_sites is None else motif.n_sites
    return tf, motif.name, *shape, *measured, int(starts_found), int(starts_known)
