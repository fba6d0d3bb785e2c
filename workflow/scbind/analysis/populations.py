"""Populations of cells, found from TF activity alone, with their size, stability and marker TFs.

Clustering does not use cell types; they only name the populations afterwards. Markers have effect sizes but no
p-values: the same activities defined the populations, so a test would be circular. TFs on which scbind abstains are
used neither for clustering nor as markers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from scbind.analysis.activitytable import Activity, motif_tfs, read_activity
from scbind.analysis.grouping import group_cells
from scbind.core.files import write_table
from scbind.core.runlog import say

MIN_CELLS = 5  # smallest size of a population, for any min_fraction
MIN_TFS = 2  # smallest number of TFs on which scbind does not abstain
SUBSAMPLE = 0.8  # fraction of the cells in each repeat of the stability estimate
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
    """Cluster cells by the Leiden method on principal components of their TF activity z.

    Parameters
    ----------
    activity
        ``results/activity/{sample}.h5ad`` files. All their cells are clustered together.
    output
        Table with one row per population, largest first; columns in ``docs/reference/outputs.md``.
    cells_output
        Table ``sample, cell, population`` of all cells, or ``None``.
    min_fraction
        A cluster with a smaller fraction of the cells, or with fewer than five cells, is not reported. The log names
        it, and ``population`` is empty in ``cells_output``.
    small_fraction
        Populations with a smaller fraction of the cells are marked ``small``.
    resolution
        Resolution of Leiden. ``None``: chosen by :func:`scbind.analysis.grouping.group_cells`.
    n_neighbours, n_components
        Number of neighbours in the graph, and number of principal components.
    n_markers
        Number of TFs listed per population: those with the largest positive standardised differences of means.
    repeats, seed
        Number of repeats of the stability estimate, and seed. Each repeat clusters 80 % of the cells with another seed.
        ``stability`` is the largest Jaccard index between the population and a cluster of the repeat, averaged over
        repeats (Hennig 2007, Computational Statistics & Data Analysis 52:258). A population below 0.6 should not be
        trusted; above 0.85 it is highly stable.

    Raises
    ------
    InputError
        If the activity files cannot be read together (:func:`scbind.analysis.activitytable.read_activity`).

    Notes
    -----
    TFs on which scbind abstains in all cells are left out. If fewer than two TFs are left, the table is empty and the
    log says so. If scbind abstains on a TF in single cells only, the clustering still uses their values, because it
    needs a value for every cell. The markers leave these cells out.

    Leiden: Traag et al. 2019, Scientific Reports 9:5233, through scanpy and igraph.
    """
    data = _trusted(read_activity(activity))
    n_cells = len(data.obs)
    if n_cells < 2 * MIN_CELLS or len(data.tfs) < MIN_TFS:
        say(
            f"populations: {n_cells} cells and {len(data.tfs)} TFs are too few to cluster; the table is empty"
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
    """Leave out the TFs on which scbind abstains in all cells, which the log names, and those without ChIP-seq.

    There may be many more TFs without ChIP-seq than with, and whole families of them have one motif.
    """
    if data.abstained.any():
        named = ", ".join(data.var.index[data.abstained])
        say(f"populations: TFs left out because scbind abstains on them: {named}")
    return data.take(~data.abstained & ~data.var.index.isin(motif_tfs(data.var)))


def _name(clusters: np.ndarray, min_cells: int) -> np.ndarray:
    """Name clusters P1, P2, ... from the largest. Clusters with fewer than ``min_cells`` cells get an empty name."""
    values, counts = np.unique(clusters, return_counts=True)
    names = np.full(len(clusters), "", dtype=object)
    order = np.lexsort([values, -counts])
    for rank, which in enumerate(order, 1):
        if counts[which] < min_cells:
            say(f"populations: a cluster of {counts[which]} cells is left out, the minimum is {min_cells}")
        else:
            names[clusters == values[which]] = f"P{rank}"
    return names


def _number(name: str) -> int:
    return int(name[1:])


def _stability(z: np.ndarray, names: np.ndarray, repeats: int, seed: int, options: dict) -> dict[str, float]:
    """Return the best Jaccard index of each named population, averaged over clusterings of subsamples."""
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
    """Return the commonest value and its fraction of all values. Ties go to the first name; missing is no value."""
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
