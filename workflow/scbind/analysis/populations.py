"""Populations of cells found from TF activity alone: how large, how stable, and what marks them.

Cell types enter only as names put on a population afterwards. Markers are given as effect sizes without
p-values, because the same activities defined the populations: a test would be circular. TFs on which scbind abstains
neither shape populations nor mark them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from scbind.analysis.activitytable import Activity, read_activity
from scbind.analysis.grouping import group_cells
from scbind.core.files import write_table
from scbind.core.runlog import say

MIN_CELLS = 5  # of a population, whatever the fraction
MIN_TFS = 2  # that scbind does not abstain on
SUBSAMPLE = 0.8  # share of the cells kept in each repeat of the stability estimate
COLUMNS = [
    "population", "n_cells", "fraction", "small", "stability", "cell_type", "cell_type_share", "n_samples",
    "top_sample", "top_sample_share", "markers", "markers_within_type",
]  # fmt: skip


def find_populations(
    activity: list[str | Path],
    output: str | Path,
    cells_output: str | Path | None = None,
    min_fraction: float = 0.005,
    small_fraction: float = 0.05,
    resolution: float | None = None,
    n_neighbours: int = 15,
    n_components: int = 20,
    n_markers: int = 5,
    repeats: int = 10,
    seed: int = 0,
) -> None:
    """Leiden clustering of cells on principal components of their TF activity z.

    Parameters
    ----------
    activity
        ``results/activity/{sample}.h5ad`` files, taken together.
    output
        One row per population, largest first; columns in ``docs/reference/outputs.md``.
    cells_output
        Optional table ``sample, cell, population`` of every cell.
    min_fraction
        Clusters with a smaller share of the cells, or fewer than five cells, are named in the log and not
        reported (population is empty in ``cells_output``).
    small_fraction
        Populations below this share of the cells are flagged ``small``.
    resolution, n_neighbours, n_components
        Of Leiden, of the neighbour graph, and of the PCA.
    n_markers
        Factors listed per population: the largest positive standardised differences of means.
    repeats, seed
        ``stability`` is the mean, over this many repeats on 80 % of the cells with other seeds, of the
        largest Jaccard index between the population and a cluster of the repeat (Hennig 2007,
        Computational Statistics & Data Analysis 52:258; below 0.6 it should not be trusted, above 0.85 it
        is highly stable).

    Notes
    -----
    A TF on which scbind abstains as a whole is left out; where fewer than two are left, the log says so and the table
    is empty. What is abstained on in single cells keeps its value in the clustering, which needs one of every cell,
    but is left out of the markers.

    Leiden: Traag et al. 2019, Scientific Reports 9:5233, through scanpy and igraph.
    """
    data = _trusted(read_activity(activity))
    n_cells = len(data.obs)
    if n_cells < 2 * MIN_CELLS or len(data.tfs) < MIN_TFS:
        say(
            f"populations: {n_cells} cells and {len(data.tfs)} TFs are too few to cluster: the table is empty"
        )
        table, names = pd.DataFrame(columns=COLUMNS), np.full(n_cells, "", dtype=object)
    else:
        options = {"n_neighbours": n_neighbours, "n_components": n_components}
        clusters, resolution = group_cells(data.z, seed, resolution, **options)
        say(f"populations: {clusters.max() + 1} clusters at resolution {resolution:g}")
        options["resolution"] = resolution
        names = _name(clusters, max(MIN_CELLS, int(np.ceil(min_fraction * n_cells))))
        stability = _stability(data.z, names, repeats, seed, options)
        rows = [
            _describe(data, names, name, stability[name], small_fraction, n_markers)
            for name in sorted(stability, key=_number)
        ]
        table = pd.DataFrame(rows, columns=COLUMNS)
    write_table(output, table)
    if cells_output is not None:
        write_table(cells_output, data.obs[["sample", "cell"]].assign(population=names))


def _trusted(data: Activity) -> Activity:
    """Without the TFs on which scbind abstains, which the log names."""
    if data.abstained.any():
        named = ", ".join(data.var.index[data.abstained])
        say(f"populations: left out, because scbind abstains on them: {named}")
    return data.take(~data.abstained)


def _name(clusters: np.ndarray, min_cells: int) -> np.ndarray:
    """Call clusters P1, P2, ... from the largest; the empty name where a cluster is below ``min_cells``."""
    values, counts = np.unique(clusters, return_counts=True)
    names = np.full(len(clusters), "", dtype=object)
    order = np.lexsort([values, -counts])
    for rank, which in enumerate(order, 1):
        if counts[which] < min_cells:
            say(f"populations: a cluster of {counts[which]} cells is not reported, fewer than {min_cells}")
        else:
            names[clusters == values[which]] = f"P{rank}"
    return names


def _number(name: str) -> int:
    return int(name[1:])


def _stability(z: np.ndarray, names: np.ndarray, repeats: int, seed: int, options: dict) -> dict[str, float]:
    """Mean best Jaccard index of each named population over clusterings of subsamples."""
    random = np.random.default_rng(seed)
    found: dict[str, list[float]] = {name: [] for name in set(names) - {""}}
    for repeat in range(repeats):
        kept = np.sort(random.choice(len(z), size=max(2, round(SUBSAMPLE * len(z))), replace=False))
        again = group_cells(z[kept], seed + 1 + repeat, **options)[0]
        for name, values in found.items():
            ours = names[kept] == name
            if not ours.any():
                values.append(0.0)
                continue
            shared = np.bincount(again[ours], minlength=again.max() + 1)
            union = np.bincount(again) + ours.sum() - shared
            values.append(float((shared / union).max()))
    return {name: float(np.mean(values)) if values else float("nan") for name, values in found.items()}


def _describe(
    data: Activity, names: np.ndarray, name: str, stability: float, small_fraction: float, n_markers: int
) -> dict:
    inside = names == name
    fraction = inside.mean()
    types = data.obs["cell_type"].to_numpy()
    type_name, type_share = _most_frequent(types[inside])
    sample, sample_share = _most_frequent(data.obs["sample"].to_numpy()[inside])
    return {
        "population": name,
        "n_cells": int(inside.sum()),
        "fraction": fraction,
        "small": bool(fraction < small_fraction),
        "stability": stability,
        "cell_type": type_name,
        "cell_type_share": type_share,
        "n_samples": data.obs["sample"][inside].nunique(),
        "top_sample": sample,
        "top_sample_share": sample_share,
        "markers": _markers(data, inside, ~inside, n_markers),
        "markers_within_type": _markers(data, inside, ~inside & (types == type_name), n_markers),
    }


def _most_frequent(values: np.ndarray) -> tuple[str, float]:
    """The commonest value and its share of all; ties go to the first name; missing values are none."""
    known = pd.Series(values).dropna().astype(str)
    if known.empty:
        return "", float("nan")
    counts = known.value_counts()
    best = sorted(counts.index[counts == counts.max()])[0]
    return best, counts.max() / len(values)


def _markers(data: Activity, inside: np.ndarray, outside: np.ndarray, n_markers: int) -> str:
    """``TF:effect`` pairs joined by ``;``: the largest positive Cohen's d (pooled SD), strongest first.

    Cells too shallow for a TF do not count; a TF with fewer than ``MIN_CELLS`` others on a side is no marker.
    """
    readable = ~data.shallow
    known = np.minimum(readable[inside].sum(axis=0), readable[outside].sum(axis=0)) >= MIN_CELLS
    effect = np.zeros(len(data.tfs))
    ours, theirs = (np.where(readable[side], data.z[side], np.nan)[:, known] for side in (inside, outside))
    effect[known] = _effects(ours, theirs)
    order = np.argsort(-effect, kind="stable")[:n_markers]
    return ";".join(f"{data.tfs[i]}:{effect[i]:.2f}" for i in order if effect[i] > 0)


def _effects(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Cohen's d per column of cells x TFs, over the cells that are not NaN; 0 where nothing varies."""
    n_ours, n_theirs = (np.isfinite(side).sum(axis=0) for side in (ours, theirs))
    squares = (n_ours - 1) * np.nanvar(ours, axis=0, ddof=1) + (n_theirs - 1) * np.nanvar(
        theirs, axis=0, ddof=1
    )
    pooled = np.sqrt(squares / (n_ours + n_theirs - 2))
    gap = np.nanmean(ours, axis=0) - np.nanmean(theirs, axis=0)
    return np.divide(gap, pooled, out=np.zeros_like(gap), where=pooled > 0)
