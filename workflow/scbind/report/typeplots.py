"""Figures of cell types and populations: heatmaps, fractions of cells, motifs."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.cluster import hierarchy

from scbind.report.style import MANY, NEUTRAL, OUTLINE, SMALL, WIDEST, legend_outside, new_figure, styled

MOST_LABELS = 64  # names of columns that fit below a heatmap of the greatest width


def cluster_order(matrix: np.ndarray) -> np.ndarray:
    """Return an order of the rows in which similar rows are neighbours: int (rows,).

    It uses average linkage with optimal leaf ordering (Bar-Joseph et al. 2001).
    """
    if len(matrix) < 3:
        return np.arange(len(matrix))
    return hierarchy.leaves_list(hierarchy.linkage(matrix, "average", optimal_ordering=True))


@styled
def activity_heatmap(means: pd.DataFrame, title: str = "Mean TF activity per cell type") -> Figure:
    """Draw mean activity z (cell types, TFs) as a heatmap. Both axes are in clustered order. NaN is blank."""
    filled = means.fillna(0).to_numpy()
    means = means.iloc[cluster_order(filled), cluster_order(filled.T)]
    size = max(5.0, min(0.27 * means.shape[1] + 3.2, WIDEST)), 0.34 * len(means) + 2.2
    return _heatmap(means, size, title, "mean z")


def _heatmap(values: pd.DataFrame, size: tuple[float, float], title: str, label: str) -> Figure:
    """Draw a table with a symmetric colour scale. NaN is blank. ``size`` is in inches.

    Of more than ``MOST_LABELS`` columns, only every second, third, ... has its name.
    """
    figure = new_figure(*size)
    axis = figure.subplots()
    limit = max(float(np.abs(values.fillna(0).to_numpy()).max()), 1e-6)
    image = axis.imshow(
        values, aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest"
    )
    axis.set_yticks(range(len(values)), values.index)
    step = -(-values.shape[1] // MOST_LABELS)
    axis.set_xticks(range(0, values.shape[1], step), values.columns[::step], rotation=90, fontsize=SMALL)
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)
    axis.set_title(title)
    figure.colorbar(image, ax=axis, label=label, aspect=max(12, 3 * size[1]), pad=0.01)
    return figure


@styled
def population_bars(table: pd.DataFrame, colours: dict[str, str]) -> Figure:
    """Draw the fraction of cells in each population, coloured by its most frequent type, and its stability.

    ``table`` is ``results/analysis/populations.tsv``. ``colours`` maps a cell type to a colour.
    """
    figure = new_figure(9, 0.34 * len(table) + 1.5)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[2, 1])
    position = np.arange(len(table))
    shades = [colours.get(name, NEUTRAL) for name in table["cell_type"].fillna("").astype(str)]
    left.barh(position, 100 * table["fraction"], color=shades)
    for row, (share, n) in enumerate(zip(table["fraction"], table["n_cells"], strict=True)):
        left.annotate(f" {n:,} cells", (100 * share, row), va="center", fontsize=SMALL, color="#444444")
    names = table["population"] + "  " + table["cell_type"].fillna("").astype(str)
    left.set_yticks(position, names)
    left.set_xlim(0, 100 * table["fraction"].max() * 1.22)
    left.set_ylim(len(table) - 0.4, -0.6)
    left.set_xlabel("cells (%)")
    left.set_title("Populations")
    right.axvspan(0, 0.6, color="#F1F1F1", zorder=0)
    right.scatter(table["stability"], position, color=shades, zorder=2)
    right.set(xlim=(0, 1.05), xlabel="stability (mean Jaccard)")
    right.set_title("Stability")
    return figure


@styled
def motif_support(table: pd.DataFrame, colours: dict[str, str]) -> Figure:
    """Draw the odds ratio of each TF's own motif per cell type (colour). Points are filled if adjusted p < 0.05.

    ``table`` is ``results/analysis/motifs.tsv``, ``colours`` maps a cell type to a colour. The axis is logarithmic. If
    there are more than sixteen cell types, the figure is a heatmap of TFs and types.
    """
    own = table[table["own"].astype(bool)]
    order = own.groupby("tf")["odds_ratio"].median().sort_values().index
    kinds = sorted(own["cell_type"].unique())
    if len(kinds) > MANY:
        return _motif_heatmap(own, order[::-1])
    figure = new_figure(8.6, 0.26 * len(order) + 1.5)
    axis = figure.subplots()
    rows = {tf: row for row, tf in enumerate(order)}
    for name, part in own.groupby("cell_type"):
        sure = part["p_adjusted"] < 0.05
        y = part["tf"].map(rows) + 0.5 * ((kinds.index(name) + 0.5) / len(kinds) - 0.5)
        axis.scatter(part["odds_ratio"], y, s=26, edgecolors=colours[name], linewidths=1,
                     facecolors=np.where(sure, colours[name], "white"))  # fmt: skip
    axis.axvline(1, color=NEUTRAL, linewidth=1, linestyle="--")
    axis.set_xscale("log")
    axis.set_yticks(range(len(order)), order)
    axis.set_ylim(-0.7, len(order) - 0.3)
    axis.grid(axis="y", color="#EEEEEE")
    axis.set_axisbelow(True)
    axis.set_xlabel("odds ratio of the TF's own motif, sites over matched background")
    axis.set_title("Own motif in predicted sites")
    handles = [Line2D([], [], marker="o", linestyle="", color=colours[k], label=k) for k in kinds]
    hollow = {"color": "#555555", "markerfacecolor": "white", "label": "adjusted p >= 0.05"}
    handles.append(Line2D([], [], marker="o", linestyle="", **hollow))
    legend_outside(axis, handles)
    return figure


def _motif_heatmap(own: pd.DataFrame, order: pd.Index) -> Figure:
    """Draw log2 odds ratios (TFs in ``order``, cell types) as a heatmap, with a cross where adjusted p >= 0.05."""
    odds, p = (
        own.pivot_table(name, "tf", "cell_type").reindex(order) for name in ("odds_ratio", "p_adjusted")
    )
    size = max(5.0, min(0.24 * odds.shape[1] + 3.2, WIDEST)), 0.22 * len(odds) + 2.2
    figure = _heatmap(
        np.log2(odds), size, "Own motif in predicted sites (x: adjusted p >= 0.05)", "log2 odds ratio"
    )
    rows, columns = np.nonzero(p.to_numpy() >= 0.05)
    figure.axes[0].scatter(columns, rows, marker="x", s=14, color="black", path_effects=OUTLINE)
    return figure
