"""A dataset as if some of its TFs had no ChIP-seq, to test a model on TFs that its training did not see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from scbind.core.errors import InputError
from scbind.dataset.sparselabels import SparseLabels
from scbind.dataset.splits import UNUSED
from scbind.dataset.trainingset import TrainingSet
from scbind.formats.motifgroups import motif_groups
from scbind.formats.motifs import read_motifs

PLACE = "evaluate.left_out_tfs"


def hidden_tfs(motifs: str | Path, fold: int, folds: int, seed: int) -> list[str]:
    """Return the TFs of one fold, sorted; folds are counted from 1. See :func:`tf_folds`; ``motifs`` is a file."""
    return tf_folds(read_motifs(motifs), folds, seed)[fold - 1]


def tf_folds(matrices: Mapping[str, np.ndarray], folds: int, seed: int) -> list[list[str]]:
    """Divide TFs into folds of similar size. TFs whose motifs cannot be distinguished are in the same fold.

    Groups (:func:`scbind.formats.motifgroups.motif_groups`) are dealt out in random order, large ones first, each to
    the fold that has the fewest TFs so far. ``matrices``: TF -> log2 odds, (4, length).

    Raises
    ------
    InputError
        If there are fewer groups than folds.
    """
    groups: dict[str, list[str]] = {}
    for tf, group in motif_groups(matrices).items():
        groups.setdefault(group, []).append(tf)
    if len(groups) < folds:
        problem = f"the TFs with ChIP-seq have {len(groups)} different motifs, too few for {folds} folds"
        raise InputError("config", problem, "use fewer folds, or 0", PLACE)
    dealt = np.random.default_rng(seed).permutation(len(groups))
    parts: list[list[str]] = [[] for _ in range(folds)]
    listed = list(groups.values())
    for group in sorted((listed[number] for number in dealt), key=len, reverse=True):
        min(parts, key=len).extend(group)
    return [sorted(part) for part in parts]


def hide_tfs(data: TrainingSet, tfs: Sequence[str]) -> TrainingSet:
    """Return the dataset without the labels of some TFs; windows of a line without any other TF are ``UNUSED``.

    Raises :class:`InputError` if no TF with a bound training window is left.
    """
    columns = [column for column, tf in enumerate(data.tfs) if tf not in set(tfs)]
    if len(columns) == len(data.tfs):
        return data
    if not columns:
        raise InputError("config", "no TF is left to train on", "use more folds, or 0", PLACE)
    left = [data.tfs[column] for column in columns]
    if not any(data.manifest["bound_train"][tf] for tf in left):
        problem = f"no TF is left that has a bound training window (without one: {', '.join(left)})"
        raise InputError("config", problem, "use more folds, or 0", PLACE)
    manifest = data.manifest | {
        "tfs": left,
        "assayed": [[row[column] for column in columns] for row in data.manifest["assayed"]],
        "bound_train": {tf: data.manifest["bound_train"][tf] for tf in left},
    }
    # A line without a label would fill the draws of training and validation with uninformative windows.
    assayed = np.array(manifest["assayed"], dtype=bool).any(axis=1)
    splits = data.splits if assayed.all() else np.where(assayed[:, None], data.splits, UNUSED)
    return replace(data, manifest=manifest, labels=_Columns(data.labels, columns), splits=splits)


class _Columns:
    """Some TFs of the labels, read like all of them."""

    def __init__(self, labels: SparseLabels, columns: list[int]):
        self.labels, self.columns = labels, columns

    def __getitem__(self, rows) -> np.ndarray:
        """Labels of some windows: int8 (windows, TFs)."""
        return self.labels[rows][..., self.columns]

    def bound(self, line: int, window) -> tuple[np.ndarray, np.ndarray]:
        """Where some windows of a line are bound; see :meth:`SparseLabels.bound`."""
        row, tf = self.labels.bound(line, window)
        kept = np.isin(tf, self.columns)
        return row[kept], np.searchsorted(self.columns, tf[kept])
