"""Figures about cells: embedding, TF activity, quality, populations, motifs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps, patheffects
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.cluster import hierarchy

from scbind.formats.colours import PALETTE
from scbind.report.style import MANY, NEUTRAL, SMALL, WIDEST, legend_outside, new_figure, styled

UNKNOWN_TYPE = "no type"
QC_MEASURES = {  # column of the cell table: axis label, whether the axis is logarithmic
    "n_fragments": ("unique fragments", True),
    "tss_enrichment": ("TSS enrichment", False),
    "frac_in_peaks": ("fraction of fragments in peaks", False),
    "nucleosome_signal": ("nucleosome signal", False),
    "frac_duplicates": ("fraction of duplicates", False),
    "frac_mitochondrial": ("fraction of mitochondrial fragments", False),
    "doublet_score": ("doublet score", False),
}
LEGEND_ROWS = 26  # rows of a legend beside the UMAP
UMAP_WIDTH = 8.6  # inches, with the legend
SHORT_NAME = 4  # letters of a name that fits between the dots
MARK_SIZE = 9  # points: the marks of groups
BESIDE = [(0.0, 0.0)] + [  # where a mark may stand, in points from the median of its cells: the nearest first
    (float(reach * np.sin(turn)), float(reach * np.cos(turn)))
    for reach in (13, 20, 28, 38)
    for turn in np.linspace(0, 2 * np.pi, 12, endpoint=False)
]
OUTLINE = [patheffects.withStroke(linewidth=2.5, foreground="white")]
MOST_LABELS = 64  # names of columns that fit below a heatmap of the greatest width
MOST_SAMPLES = 40  # samples in the quality figure: the height of an image is limited


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


def quality_samples(obs: pd.DataFrame) -> list[str]:
    """Return the sorted names of the samples in the quality figure.

    If there are more than ``MOST_SAMPLES``, these are the samples with the lowest fraction of passing cells.
    """
    passed = obs["pass"].astype(bool) if "pass" in obs else pd.Series(True, index=obs.index)
    share = passed.groupby(obs["sample"].astype(str)).mean().sort_index()
    return sorted(share.sort_values(kind="stable").index[:MOST_SAMPLES])


@styled
def quality_distributions(obs: pd.DataFrame, limits: dict[str, list[float]] | None = None) -> Figure:
    """Draw the distribution of each quality measure per sample, for passing and failing cells.

    ``obs`` has ``sample``, optionally ``pass``, and any of :data:`QC_MEASURES`. ``limits`` holds the thresholds of each
    measure, drawn as dashed lines. The samples are those of :func:`quality_samples`. If samples are left out, the title
    of the figure gives their number.
    """
    measures = [name for name in QC_MEASURES if name in obs and obs[name].notna().any()]
    sample_of, samples = obs["sample"].astype(str), quality_samples(obs)
    passed = obs["pass"].astype(bool) if "pass" in obs else pd.Series(True, index=obs.index)
    columns = min(len(measures), 3)
    rows = -(-len(measures) // columns)
    figure = new_figure(3.6 * columns + 0.4, (1.5 + 0.45 * len(samples)) * rows + 0.9)
    axes = figure.subplots(rows, columns, squeeze=False)
    sides = [(passed, PALETTE[0], "pass"), (~passed, PALETTE[5], "fail")]
    for axis, name in zip(axes.flat, measures, strict=False):
        label, logarithmic = QC_MEASURES[name]
        values = pd.to_numeric(obs[name], errors="coerce").replace([np.inf, -np.inf], np.nan)
        values = np.log10(values.clip(lower=1)) if logarithmic else values
        for number, sample in enumerate(samples):
            for which, colour, _ in sides:
                part = values[which & (sample_of == sample)].dropna()
                _half_violin(axis, part.to_numpy(), number, colour)
        for limit in (limits or {}).get(name, []):
            axis.axvline(
                np.log10(max(limit, 1)) if logarithmic else limit,
                color="#444444",
                linestyle="--",
                linewidth=1,
            )
        axis.set_yticks(range(len(samples)), samples)
        axis.set_ylim(len(samples) - 0.85, -0.95)
        axis.set_xlabel(f"{label} (log10)" if logarithmic else label)
        axis.grid(axis="x", color="#E4E4E4", linewidth=0.6)
        axis.set_axisbelow(True)
    for axis in axes.flat[len(measures) :]:
        axis.set_visible(False)
    handles = [
        Line2D([], [], color=colour, linewidth=6, alpha=0.7, label=f"{name} ({int(which.sum()):,})")
        for which, colour, name in sides
        if which.any()
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=2)
    if len(samples) < (number := sample_of.nunique()):
        figure.suptitle(f"{len(samples)} of {number} samples, lowest fraction passing", x=0.01, ha="left")
    return figure


def _half_violin(axis, values: np.ndarray, base: float, colour: str) -> None:
    """Draw a density above a base line, with the median. If there are too few values for a density, draw dots."""
    if len(values) < 5 or np.ptp(values) == 0:
        axis.plot(values, np.full(len(values), base), ".", color=colour, alpha=0.7)
        return
    density, edges = np.histogram(values, bins=min(40, max(8, len(values) // 8)))
    height = 0.75 * density / density.max()
    axis.stairs(base - height, edges, baseline=base, fill=True, color=colour, alpha=0.55)
    axis.plot([np.median(values)] * 2, [base - 0.75, base], color=colour, linewidth=1.6)


@styled
def barcode_ranks(obs: pd.DataFrame, colours: dict[str, str]) -> Figure:
    """Draw the unique fragments of the barcodes of each sample, highest first, on logarithmic axes.

    ``obs`` has ``sample``, ``n_fragments`` and optionally ``pass``; ``colours`` maps a sample to a colour. Dots are
    barcodes that pass. The samples are those of :func:`quality_samples`.
    """
    figure = new_figure(7.6, 4.2)
    axis = figure.subplots()
    samples = quality_samples(obs)
    for name in samples:
        part = obs[obs["sample"].astype(str) == name].sort_values(
            "n_fragments", ascending=False, kind="stable"
        )
        height = part["n_fragments"].to_numpy(dtype=np.float64)
        rank = 1 + np.arange(len(part))
        axis.plot(rank, height, color=colours[name], linewidth=1, label=name)
        if "pass" in part:
            kept = part["pass"].to_numpy(dtype=bool)
            axis.scatter(rank[kept], height[kept], s=9, color=colours[name], linewidths=0)
    axis.set(xscale="log", yscale="log", xlabel="barcode, most fragments first", ylabel="unique fragments")
    axis.grid(color="#EEEEEE")
    axis.set_axisbelow(True)
    axis.set_title("Barcode ranks")
    legend_outside(axis, columns=-(-len(samples) // LEGEND_ROWS))
    return figure


@styled
def tss_against_fragments(
    obs: pd.DataFrame, limits: dict[str, list[float]] | None = None, columns: int = 4
) -> Figure:
    """Draw TSS enrichment against unique fragments: one panel per sample, the number of cells as colour.

    ``obs`` has ``sample``, ``n_fragments`` and ``tss_enrichment``. ``limits`` are drawn as dashed lines. At most twelve
    samples of :func:`quality_samples` are drawn.
    """
    samples = quality_samples(obs)[:12]
    columns = min(columns, len(samples))
    rows = -(-len(samples) // columns)
    figure = new_figure(3.0 * columns + 1.2, 2.8 * rows + 0.4)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    known = obs[(obs["n_fragments"] > 0) & obs["tss_enrichment"].notna()]
    high = max(float(known["tss_enrichment"].quantile(0.999)), 1.0)
    reach = np.log10(known["n_fragments"].min()), np.log10(known["n_fragments"].max()) + 0.01, 0, high
    for axis, name in zip(axes.flat, samples, strict=False):
        part = known[known["sample"].astype(str) == name]
        axis.hexbin(
            np.log10(part["n_fragments"]), part["tss_enrichment"], gridsize=40, bins="log", mincnt=1, cmap="viridis_r",
            extent=reach, linewidths=0,
        )  # fmt: skip
        for limit in (limits or {}).get("n_fragments", []):
            axis.axvline(np.log10(max(limit, 1)), color="#444444", linestyle="--", linewidth=1)
        for limit in (limits or {}).get("tss_enrichment", []):
            axis.axhline(limit, color="#444444", linestyle="--", linewidth=1)
        axis.set_title(name)
    for axis in axes.flat[len(samples) :]:
        axis.set_visible(False)
    figure.supxlabel("unique fragments (log10)", fontsize=10)
    figure.supylabel("TSS enrichment", fontsize=10)
    return figure


@styled
def borrowing(own: np.ndarray, total: np.ndarray, n_cells: np.ndarray) -> Figure:
    """Draw what cells borrow: total against own fragments, and the number of cells that contribute.

    All arguments are (cells,). ``own`` counts the fragments of a cell, ``total`` adds the weights of borrowed ones,
    ``n_cells`` counts the cells that contribute, including the cell itself.
    """
    figure = new_figure(9, 3.4)
    left, right = figure.subplots(1, 2)
    left.scatter(own, total, s=point_size(len(own)), color=PALETTE[0], alpha=0.5, linewidths=0)
    low, high = max(min(own.min(), total.min()), 1), max(own.max(), total.max())
    left.plot([low, high], [low, high], color=NEUTRAL, linewidth=1, linestyle="--")
    left.annotate(
        "nothing borrowed",
        (0.97, 0.06),
        xycoords="axes fraction",
        ha="right",
        color="#666666",
        fontsize=SMALL,
    )
    left.set(
        xscale="log",
        yscale="log",
        xlabel="own fragments",
        ylabel="own and borrowed fragments, sum of weights",
    )
    left.set_title("Fragments used for each cell")
    edges = np.arange(0.5, n_cells.max() + 1.5, max(1, n_cells.max() // 30))
    right.hist(n_cells, bins=edges, color=PALETTE[0], alpha=0.8)
    right.set(xlabel="contributing cells, including itself", ylabel="cells")
    right.set_title("Contributing cells")
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
