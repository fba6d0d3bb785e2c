"""Figures of cells in UMAP, by group and by TF activity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from scbind.report.style import LEGEND_ROWS, MANY, NEUTRAL, OUTLINE, legend_outside, new_figure, styled

UNKNOWN_TYPE = "no type"
UMAP_WIDTH = 8.6  # inches, with the legend
SHORT_NAME = 4  # letters of a name that fits between the dots
MARK_SIZE = 9  # points: the marks of groups
BESIDE = [(0.0, 0.0)] + [  # where a mark may stand, in points from the median of its cells: the nearest first
    (float(reach * np.sin(turn)), float(reach * np.cos(turn)))
    for reach in (13, 20, 28, 38)
    for turn in np.linspace(0, 2 * np.pi, 12, endpoint=False)
]


def point_size(n_cells: int) -> float:
    """Return the area of a dot (points^2): large if there are few cells, small if many would overlap."""
    return float(np.clip(6000 / max(n_cells, 1), 1.5, 28))


def shuffled(n: int) -> np.ndarray:
    """Return a fixed random drawing order of ``n`` cells: int64 (n,). It keeps one group from covering others."""
    return np.random.default_rng(0).permutation(n)


def _bare(axis) -> None:
    axis.set(xticks=[], yticks=[], aspect="equal")
    axis.set_adjustable("datalim")
    for spine in axis.spines.values():
        spine.set_visible(False)


@styled
def umap_types(
    umap: np.ndarray,
    labels: np.ndarray,
    colours: dict[str, str],
    title: str,
    unknown: str = UNKNOWN_TYPE,
    named: Sequence[str] = (),
) -> Figure:
    """Draw cells in UMAP, coloured by group.

    If there are more than sixteen groups, each group has a number in the legend and at the median of its cells. Short
    names stand there instead of numbers. A mark that would cover another one is moved beside it, with a line to the
    median; if there is no room, it is left out, and only the legend has it. A legend of more than ``LEGEND_ROWS``
    groups is below the UMAP.

    Parameters
    ----------
    umap
        Coordinates (cells, 2).
    labels
        Name of the group of each cell, or missing (cells,).
    colours
        Group to colour. Other groups are grey.
    title
        Title of the figure.
    unknown
        Name of the group of cells without a label.
    named
        Groups whose names stand at their cells in any case. They come first, then the largest groups.
    """
    labels = pd.Series(labels, dtype=object).fillna(unknown).astype(str).to_numpy()
    order = shuffled(len(umap))
    counts = pd.Series(labels).value_counts().sort_index()
    longest, below = int(counts.index.str.len().max()), len(counts) > LEGEND_ROWS
    columns = max(1, int(UMAP_WIDTH / (0.08 * longest + 1.2))) if below else 1
    rows = -(-len(counts) // columns) if below else 0
    figure = new_figure(UMAP_WIDTH, 5.6 + 0.2 * rows)
    axis = figure.subplots()
    points = [colours.get(name, NEUTRAL) for name in labels[order]]
    axis.scatter(*umap[order].T, c=points, s=point_size(len(umap)), linewidths=0)
    _bare(axis)
    axis.set_title(title)
    crowded, short = len(counts) > MANY, longest <= SHORT_NAME
    if crowded and short:  # P2 before P10
        counts = counts.sort_index(key=lambda names: names.str.len(), kind="stable")
    handles, marks = [], {}
    for number, (name, n) in enumerate(counts.items(), 1):
        legend = f"{name} ({n:,})"
        if crowded or name in named:
            marks[name] = name if short or not crowded else str(number)
            legend = legend if short or not crowded else f"{number}: {legend}"
        handles.append(
            Line2D([], [], marker="o", linestyle="", color=colours.get(name, NEUTRAL), label=legend)
        )
    if below:  # beside the UMAP, so many names would leave it no room
        axis.legend(handles=handles, loc="upper left", bbox_to_anchor=(0, 0), ncols=columns)
    else:
        legend_outside(axis, handles)
    order = sorted(marks, key=lambda name: (name not in named, -counts[name]))
    _mark(axis, [(marks[name], np.median(umap[labels == name], axis=0)) for name in order])
    return figure


def _mark(axis, marks: list[tuple[str, np.ndarray]]) -> None:
    """Write texts at places in the data, the first first. None covers another one: see :func:`umap_types`."""
    axis.figure.draw_without_rendering()  # this fixes where places are
    taken: list[tuple[float, float, float]] = []  # middle and half width of each text, in points
    for text, place in marks:
        x, y = axis.transData.transform(place) * 72 / axis.figure.dpi
        wide = 0.36 * MARK_SIZE * len(text) + 2
        free = [
            (right, up)
            for right, up in BESIDE
            if all(
                abs(x + right - tx) > wide + half or abs(y + up - ty) > 1.25 * MARK_SIZE
                for tx, ty, half in taken
            )
        ]
        if not free:
            continue
        right, up = free[0]
        taken.append((x + right, y + up, wide))
        line = {"arrowstyle": "-", "color": "#444444", "linewidth": 0.7, "shrinkA": 0, "shrinkB": 0}
        mark = axis.annotate(
            text, place, (right, up), textcoords="offset points", ha="center", va="center", fontsize=MARK_SIZE,
            weight="bold", path_effects=OUTLINE, arrowprops=line if right or up else None, zorder=4,
        )  # fmt: skip
        mark.set_in_layout(False)


@styled
def umap_activity(umap: np.ndarray, z: np.ndarray, tfs: list[str], columns: int = 4) -> Figure:
    """Draw cells in UMAP, coloured by TF activity, one panel per TF.

    ``umap`` is (cells, 2), ``z`` (cells, TFs). All panels have one colour scale, which ends at the 99th percentile of
    the absolute values. NaN is grey.
    """
    rows = -(-len(tfs) // columns)
    figure = new_figure(2.6 * columns, 2.5 * rows + 0.4)
    axes = figure.subplots(rows, columns, squeeze=False)
    known = np.abs(z[np.isfinite(z)])
    limit = max(float(np.percentile(known, 99)), 1e-6) if len(known) else 1.0
    order, image = shuffled(len(umap)), None
    scale = colormaps["RdBu_r"].with_extremes(bad=NEUTRAL)
    for axis, tf, values in zip(axes.flat, tfs, z.T, strict=False):
        image = axis.scatter(
            *umap[order].T, c=values[order], s=point_size(len(umap)) / 3, linewidths=0, cmap=scale,
            vmin=-limit, vmax=limit, plotnonfinite=True,
        )  # fmt: skip
        _bare(axis)
        axis.set_title(tf)
    for axis in axes.flat[len(tfs) :]:
        axis.set_visible(False)
    figure.colorbar(image, ax=axes, label="activity (z)", shrink=min(1, 1.6 / rows), aspect=25)
    return figure
