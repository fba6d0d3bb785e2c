"""Populations of cells, large and small, with their size, evidence, stability, marker TFs and cautions.

Cells are divided again and again (:mod:`scbind.analysis.tree`). Activity and accessibility propose populations;
the open peaks of the cells themselves decide, because activity uses borrowed fragments of similar cells and would
confirm any group of them. Cell types only name the populations afterwards. Markers have effect sizes but no p-values:
the
same cells defined the populations, so a test would be circular. TFs on which scbind abstains neither propose
populations nor mark them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scbind.analysis.activitytable import Activity, motif_tfs, read_activity, replicates
from scbind.analysis.cautions import Cautions
from scbind.analysis.mixture import largest_cut, separation
from scbind.analysis.peakcounts import read_open_peaks
from scbind.analysis.tree import Options, Part, divide, undivided
from scbind.core.errors import InputError
from scbind.core.files import write_table
from scbind.core.runlog import say
from scbind.formats.doubletgroups import doublet_groups

MIN_CELLS = 5  # smallest size of a population, for any min_fraction
MIN_TFS = 2  # smallest number of TFs on which scbind does not abstain
FOLDS = 5  # parts of the cells in the cross-validation of the evidence in activity
COLUMNS = [
    "population", "n_cells", "fraction", "small", "stability", "separation", "separation_limit", "evidence",
    "confidence", "split_from", "nearest", "cell_type", "cell_type_share", "n_samples", "top_sample",
    "top_sample_share", "n_donors", "top_donor_share", "doublet_score", "cautions", "markers",
    "markers_within_type", "markers_against_nearest",
]  # fmt: skip


def find_populations(
    activity: list[str | Path],
    peaks: list[str | Path],
    output: str | Path,
    cells_output: str | Path | None = None,
    min_fraction: float = 0.005,
    small_fraction: float = 0.05,
    resolutions: tuple[float, ...] = (0.3, 1.0, 3.0),
    n_neighbours: int = 15,
    n_components: int = 20,
    n_markers: int = 5,
    repeats: int = 10,
    null_draws: int = 3,
    min_stability: float = 0.6,
    max_peaks: int = 25_000,
    seed: int = 0,
) -> None:
    """Find populations of cells at every scale.

    Parameters
    ----------
    activity, peaks
        ``results/activity/{sample}.h5ad`` and ``results/cells/{sample}/peaks.h5ad`` of the same samples. All their
        cells are divided together.
    output
        Table with one row per population, largest first; columns in ``docs/reference/outputs.md``.
    cells_output
        Table ``sample, cell, population, confidence`` of all cells, or ``None``.
    min_fraction
        Smallest fraction of all cells of a population, which has at least five cells.
    small_fraction
        Populations with a smaller fraction of the cells are marked ``small``.
    resolutions, n_neighbours, n_components
        Of the Leiden clusters that propose populations: resolutions, neighbours in the graph, components of activity
        and of accessibility.
    n_markers
        Number of TFs listed per population: those with the largest positive standardised differences of means.
    repeats, min_stability
        Number of subsamples (80 % of the cells) of the stability estimate: the mean Jaccard index of the population and
        the group that is found again from a cluster of the subsample (after Hennig 2007, Computational Statistics &
        Data Analysis 52:258). Groups below ``min_stability`` are dropped.
    null_draws
        Number of simulated data sets without structure. The separation of a group must be larger than
        that of all splits in them.
    max_peaks
        Maximum number of peaks; the most variable are used.
    seed
        Seed of all random numbers.

    Raises
    ------
    InputError
        If the files cannot be read together (:func:`scbind.analysis.activitytable.read_activity`,
        :func:`scbind.analysis.peakcounts.read_open_peaks`).

    Notes
    -----
    The unit of replication is the donor or, if it is not known, the sample. TFs on which scbind abstains in all
    cells are left out. If fewer than two TFs are left, the table is empty and the log says so. Cells that are too
    shallow for a TF are left out of its markers only.

    Leiden: Traag et al. 2019, Scientific Reports 9:5233, through scanpy and igraph.
    """
    if len(activity) != len(peaks):
        raise InputError(
            "populations", f"{len(activity)} files of activity but {len(peaks)} of peaks", "give both"
        )
    data = _trusted(read_activity(activity))
    n_cells = len(data.obs)
    cells = data.obs[["sample", "cell"]].assign(population="", confidence=np.nan)
    table = pd.DataFrame(columns=COLUMNS)
    if n_cells < 2 * MIN_CELLS or len(data.tfs) < MIN_TFS:
        say(f"populations: {n_cells} cells and {len(data.tfs)} TFs are too few to divide; the table is empty")
    else:
        matrix, places = read_open_peaks(peaks, data.obs, max_peaks)
        least = max(MIN_CELLS, int(np.ceil(min_fraction * n_cells)))
        options = Options(
            least, tuple(resolutions), n_neighbours, n_components, repeats, null_draws, min_stability, seed
        )
        donor = replicates(data.obs).to_numpy()
        tree = divide(matrix, data.z, donor, options)
        found = Found(data, donor, matrix, tree, seed)
        say(f"populations: {len(found.names)} of at least {least} cells")
        table = _table(found, Cautions(matrix, places, donor), small_fraction, n_markers)
        for name, part in found.parts.items():
            cells.loc[part.rows, ["population", "confidence"]] = name, 0.0
            cells.loc[part.rows, "confidence"] = part.confidence
    write_table(output, table)
    if cells_output is not None:
        write_table(cells_output, cells)


@dataclass(frozen=True)
class Found:
    """The populations and their description. ``tree`` is the result of :func:`scbind.analysis.tree.divide`."""

    data: Activity
    donor: np.ndarray
    matrix: sp.csr_matrix
    tree: list[Part]
    seed: int

    @property
    def parts(self) -> dict[str, Part]:
        """The parts without parts, from the largest: P1, P2, ..."""
        leaves = [self.tree[number] for number in undivided(self.tree)]
        leaves.sort(key=lambda part: (-len(part.rows), part.rows[0]))
        return {f"P{rank}": part for rank, part in enumerate(leaves, 1)}

    @property
    def names(self) -> list[str]:
        """Names of the populations, in the order of the table."""
        return list(self.parts)

    def inside(self, part: Part) -> np.ndarray:
        """Return the cells of a part: bool (cells,)."""
        mask = np.zeros(len(self.donor), dtype=bool)
        mask[part.rows] = True
        return mask

    def split_from(self, part: Part) -> str:
        """Return the larger population that this one was split from; empty if there is none.

        It is the largest population in the smallest part of the tree that holds this one and a larger one. The part of
        all cells does not count, because its first split has no parent.
        """
        number = part.parent
        while number > 0:
            whole = self.inside(self.tree[number])
            name, largest = next((name, other) for name, other in self.parts.items() if whole[other.rows[0]])
            if largest is not part:
                return name
            number = self.tree[number].parent
        return ""

    def profiles(self) -> dict[str, np.ndarray]:
        """Return the mean profile of each population: fraction of its cells in which each peak is open."""
        return {
            name: np.asarray(self.matrix[part.rows].mean(axis=0)).ravel() for name, part in self.parts.items()
        }

    def nearest(self) -> dict[str, str]:
        """Return the population with the most similar mean profile (cosine of the square roots) of each population."""
        parts = self.parts
        mean = np.sqrt(np.stack(list(self.profiles().values())))
        mean /= np.linalg.norm(mean, axis=1, keepdims=True)
        alike = mean @ mean.T
        np.fill_diagonal(alike, -1)
        names = np.array(list(parts), dtype=object)
        if len(names) < 2:
            return dict.fromkeys(names, "")
        return dict(zip(names, names[alike.argmax(axis=1)], strict=True))


def _table(found: Found, cautions: Cautions, small_fraction: float, n_markers: int) -> pd.DataFrame:
    nearest, rows = found.nearest(), []
    described = {name: _describe(found, part, small_fraction) for name, part in found.parts.items()}
    doublets = doublet_groups(
        found.profiles(),
        {name: row["n_cells"] for name, row in described.items()},
        {name: row["doublet_score"] for name, row in described.items()},
    )
    for name, part in found.parts.items():
        row = {"population": name, "split_from": found.split_from(part), "nearest": nearest[name]}
        row |= described[name] | _evidence(found, part) | {"doublets": doublets.get(name, "")}
        row["cautions"] = cautions.of(found, part, row)
        row |= _all_markers(found, part, row, n_markers)
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def _describe(found: Found, part: Part, small_fraction: float) -> dict:
    obs, rows = found.data.obs, part.rows
    fraction = len(rows) / len(obs)
    type_name, type_share = _most_frequent(obs["cell_type"].to_numpy()[rows])
    sample, sample_share = _most_frequent(obs["sample"].to_numpy()[rows])
    doublet = (
        obs["doublet_score"].to_numpy(dtype=float)[rows] if "doublet_score" in obs else np.array([np.nan])
    )
    return {
        "n_cells": len(rows),
        "fraction": fraction,
        "small": bool(fraction < small_fraction),
        "confidence": part.confidence.mean(),
        "cell_type": type_name,
        "cell_type_share": type_share,
        "n_samples": obs["sample"].iloc[rows].nunique(),
        "top_sample": sample,
        "top_sample_share": sample_share,
        "n_donors": len(np.unique(found.donor[rows])),
        "top_donor_share": _most_frequent(found.donor[rows])[1],
        "doublet_score": float(np.median(doublet[np.isfinite(doublet)]))
        if np.isfinite(doublet).any()
        else np.nan,
    }


def _evidence(found: Found, part: Part) -> dict:
    """Return what separates the population from the others of its parent: accessibility, or also activity."""
    facts = {"stability": part.stability, "separation": part.separation, "separation_limit": part.limit}
    if part.parent < 0:
        return facts | {"evidence": "not divided"}
    whole = found.tree[part.parent].rows
    inside = np.isin(whole, part.rows, assume_unique=True)
    seen = _seen_in_activity(found.data.z[whole], inside, found.seed)
    return facts | {"evidence": "accessibility and activity" if seen else "accessibility"}


def _seen_in_activity(z: np.ndarray, inside: np.ndarray, seed: int) -> bool:
    """Tell whether activity separates the cells better than any cut of a continuum does.

    The direction is that of a linear discriminant analysis with shrinkage (Ledoit & Wolf 2004). The value of each cell
    comes from the other cells (cross-validation).
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis  # takes a second to import
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    if min(inside.sum(), (~inside).sum()) < FOLDS:
        return False
    model = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto", priors=[0.5, 0.5])
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    value = cross_val_predict(model, z, inside, cv=folds, method="decision_function")
    return separation(value, inside) > largest_cut(len(inside), int(inside.sum()))


def _all_markers(found: Found, part: Part, row: dict, n_markers: int) -> dict:
    data, inside = found.data, found.inside(part)
    of_type = (data.obs["cell_type"] == row["cell_type"]).to_numpy()
    against = {"markers": ~inside, "markers_within_type": ~inside & of_type}
    if row["nearest"]:
        against["markers_against_nearest"] = found.inside(found.parts[row["nearest"]])
    return {name: _markers(data, inside, others, n_markers) for name, others in against.items()}


def _trusted(data: Activity) -> Activity:
    """Leave out the TFs on which scbind abstains in all cells, which the log names, and those without ChIP-seq.

    There may be many more TFs without ChIP-seq than with it, and whole families of them share one motif.
    """
    if data.abstained.any():
        named = ", ".join(data.var.index[data.abstained])
        say(f"populations: TFs left out because scbind abstains on them: {named}")
    return data.take(~data.abstained & ~data.var.index.isin(motif_tfs(data.var)))


def _most_frequent(values: np.ndarray) -> tuple[str, float]:
    """Return the most common value and its fraction of all. Ties go to the first name; missing values do not count."""
    known = pd.Series(values).dropna().astype(str)
    if known.empty:
        return "", float("nan")
    counts = known.value_counts()
    best = sorted(counts.index[counts == counts.max()])[0]
    return best, counts.max() / len(values)


def _markers(data: Activity, inside: np.ndarray, outside: np.ndarray, n_markers: int) -> str:
    """Return ``TF:effect`` pairs joined by ``;``: the largest positive Cohen's d (pooled SD), strongest first.

    Cells that are too shallow for a TF are left out. A TF with fewer than ``MIN_CELLS`` other cells on a side cannot
    be a marker.
    """
    readable = ~data.shallow
    known = np.minimum(readable[inside].sum(axis=0), readable[outside].sum(axis=0)) >= MIN_CELLS
    effect = np.zeros(len(data.tfs))
    ours, theirs = (np.where(readable[side], data.z[side], np.nan)[:, known] for side in (inside, outside))
    effect[known] = _effects(ours, theirs)
    order = np.argsort(-effect, kind="stable")[:n_markers]
    return ";".join(f"{data.tfs[i]}:{effect[i]:.2f}" for i in order if effect[i] > 0)


def _effects(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return Cohen's d per column of cells x TFs, ignoring NaN; 0 where nothing varies."""
    n_ours, n_theirs = (np.isfinite(side).sum(axis=0) for side in (ours, theirs))
    squares = (n_ours - 1) * np.nanvar(ours, axis=0, ddof=1) + (n_theirs - 1) * np.nanvar(
        theirs, axis=0, ddof=1
    )
    pooled = np.sqrt(squares / (n_ours + n_theirs - 2))
    gap = np.nanmean(ours, axis=0) - np.nanmean(theirs, axis=0)
    return np.divide(gap, pooled, out=np.zeros_like(gap), where=pooled > 0)
