"""Names of cells: labels that a user gives, and their transfer to cells and clusters without a label.

Labels name cells after these were embedded and clustered without them; nothing here is seen by signal, tiles or peaks.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from scbind.core.errors import InputError
from scbind.core.runlog import say
from scbind.formats.barcodes import ABSENT, FOREIGN, match_barcodes, refuse_repeats
from scbind.formats.celllabels import read_label_table
from scbind.formats.fields import NOT_AVAILABLE
from scbind.formats.typestatus import CLUSTER, GIVEN, SOURCES, TRANSFERRED

FAR = 0.01  # share of labelled cells that may lie farther from the other labelled ones than a cell that gets a label


def read_labels(path: str | Path, barcodes: pd.Series, sample: str) -> np.ndarray:
    """Given cell types of the ``barcodes`` of a sample, in their order: object, NaN where none is given.

    The file is a table or an ``.h5ad`` (:func:`scbind.formats.celllabels.read_label_table`). It may list several
    samples as ``sample#barcode``, and spell barcodes as :func:`scbind.formats.barcodes.match_barcodes` allows. Barcodes
    that the sample does not have, for example because they have too few fragments, are left out and counted in the log.
    An empty label, or ``NA`` and the like, is none.
    Raises :class:`InputError` for missing columns, a barcode with two labels, or if the sample has none of the
    barcodes.
    """
    table = read_label_table(path)
    missing = table["cell_type"].isin(NOT_AVAILABLE)
    if missing.any():
        word = table["cell_type"][missing].iloc[0]
        say(
            f"{path}: {int(missing.sum()):,} of {len(table):,} barcodes have the label {word}, which counts as no label"
        )
        table["cell_type"] = table["cell_type"].mask(missing, "")
    table = table[table["barcode"] != ""].drop_duplicates()
    if table.empty:
        raise InputError(
            path, "no barcode in it", "give a row for each labelled cell, or leave the setting empty"
        )
    refuse_repeats(path, table["barcode"])
    place = match_barcodes(path, table["barcode"], pd.Index(barcodes, dtype=object), sample)
    wrong = place == ABSENT
    if wrong.any():
        line = table.index[wrong][0]
        if not (place >= 0).any():
            raise InputError(
                path,
                f"barcode {table['barcode'][line]} is not a cell of sample {sample} (which has "
                f"{next(iter(barcodes), 'none')}), nor is any of its {len(table)} barcodes",
                "spell barcodes as in the fragments, or give the labels of this sample",
                f"line {line}",
            )
        own = int((place != FOREIGN).sum())
        say(
            f"WARNING {path}: {wrong.sum()} of {own} barcodes ({wrong.sum() / own:.1%}), as {table['barcode'][line]}, "
            f"are not cells of sample {sample} (too few fragments?); their labels are not used"
        )
    here = (place >= 0) & (table["cell_type"] != "").to_numpy()
    given = np.full(len(barcodes), np.nan, dtype=object)
    given[place[here]] = table["cell_type"].to_numpy(dtype=object)[here]
    return given


def name_cells(
    points: np.ndarray,
    label: np.ndarray,
    cluster: np.ndarray,
    method: str,
    min_confidence: float,
    neighbours: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Name every cell: by its given label, else by the labels of similar cells, else by its cluster.

    Parameters
    ----------
    points
        float (cells, components), as embedded; compared by cosine.
    label
        object (cells,), NaN where none is given. Given labels are kept.
    cluster
        object (cells,), names of clusters.
    method
        Where some cells have a label and others none. ``neighbours``: :func:`transfer_labels`. ``cluster``: the
        most common label of the cell's cluster, with its share among the labelled cells there as the confidence.
        ``none``: clusters keep their names.
    min_confidence
        A transferred label needs at least this confidence, else the cell has the name of its cluster.
    neighbours
        Most labelled cells that vote.

    Returns
    -------
    tuple
        By cell ``cell_type``, ``cell_type_source`` (``given``, ``transferred`` or ``cluster``) and
        ``label_confidence`` (1 where given, NaN where nothing was tried). By cluster in rising order ``cluster``,
        ``n_cells``, ``n_labelled``, ``cell_type`` (its most common label, of equals the first by name; empty without
        any) and ``share`` of the labelled cells that have it.
    """
    label, cluster = pd.Series(label, dtype=object), pd.Series(cluster, dtype=object)
    given = label.notna().to_numpy()
    clusters = _majorities(label, cluster)
    best, confidence = label.copy(), pd.Series(np.where(given, 1.0, np.nan))
    if given.any() and not given.all() and method != "none":
        if method == "neighbours":
            best[~given], confidence[~given] = transfer_labels(
                points[given], label[given].to_numpy(), points[~given], neighbours
            )
        else:
            of = cluster[~given].map(clusters.set_index("cluster")["cell_type"]).replace("", np.nan)
            best[~given] = of
            confidence[~given] = cluster[~given].map(clusters.set_index("cluster")["share"]).fillna(0)
    sure = given | (best.notna() & (confidence >= min_confidence)).to_numpy()
    cells = pd.DataFrame(
        {
            "cell_type": best.where(sure, cluster),
            "cell_type_source": np.where(given, GIVEN, np.where(sure, TRANSFERRED, CLUSTER)),
            "label_confidence": confidence,
        }
    )
    if given.any() and not given.all():
        number = cells["cell_type_source"].value_counts()
        said = ", ".join(f"{number.get(name, 0)} {name}" for name in SOURCES)
        say(f"cell types: {said}")
    return cells, clusters


def transfer_labels(
    labelled: np.ndarray, labels: np.ndarray, points: np.ndarray, neighbours: int
) -> tuple[np.ndarray, np.ndarray]:
    """Names of cells by a vote of the nearest labelled ones.

    Each of the nearest votes with weight exp(-(d / d_k)^2), d its distance on the unit sphere and d_k that of the
    last one that votes (a Gaussian kernel as wide as the neighbourhood, as in Seurat's ``TransferData``, Stuart et
    al. 2019). No more than half of the labels that a type has on average vote, so that small types can win.
    A cell that is farther from its voters than 99 % of the labelled cells are from theirs may be of a type that
    nobody labelled: its confidence is 0. So is that of every cell where all labelled ones vote (three or fewer): how
    far one may be from them is then not known.

    ``labelled`` float (n, components) with their ``labels`` object (n,); ``points`` float (cells, components).
    Returns the winner, object (cells,), of equals the first by name, and its share of the vote, float64 (cells,).
    """
    from sklearn.neighbors import NearestNeighbors  # seconds to import

    names, code = np.unique(labels.astype(str), return_inverse=True)
    k = min(len(labelled), max(3, min(neighbours, len(labelled) // (2 * len(names)))))
    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(_unit(labelled))
    distance, near = search.kneighbors(_unit(points))
    weight = np.exp(-((distance / np.maximum(distance[:, -1:], 1e-12)) ** 2))
    votes = np.zeros((len(points), len(names)))
    np.add.at(votes, (np.arange(len(points))[:, None], code[near]), weight)
    confidence = votes.max(axis=1) / votes.sum(axis=1)
    if len(labelled) > k:
        reach = np.quantile(search.kneighbors()[0].mean(axis=1), 1 - FAR)
        confidence[distance.mean(axis=1) > reach] = 0
    else:
        confidence[:] = 0
    return names[votes.argmax(axis=1)].astype(object), confidence


def _unit(points: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(points, axis=1, keepdims=True)
    return points / np.where(norm > 0, norm, 1)


def _majorities(label: pd.Series, cluster: pd.Series) -> pd.DataFrame:
    """The most common label of each cluster."""
    rows = []
    for name, part in label.groupby(cluster):
        counts = part.value_counts().sort_index().sort_values(ascending=False, kind="stable")
        best, number = (str(counts.index[0]), int(counts.iloc[0])) if len(counts) else ("", 0)
        labelled = int(counts.sum())
        rows.append((name, len(part), labelled, best, number / labelled if labelled else np.nan))
    return pd.DataFrame(rows, columns=["cluster", "n_cells", "n_labelled", "cell_type", "share"])
