"""Figures of the quality of cells, and of what they borrow."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from scbind.formats.colours import PALETTE
from scbind.report.style import LEGEND_ROWS, NEUTRAL, SMALL, legend_outside, new_figure, styled
from scbind.report.umapplots import point_size

QC_MEASURES = {  # column of the cell table: axis label, whether the axis is logarithmic
    "n_fragments": ("unique fragments", True),
    "tss_enrichment": ("TSS enrichment", False),
    "frac_in_peaks": ("fraction of fragments in peaks", False),
    "nucleosome_signal": ("nucleosome signal", False),
    "frac_duplicates": ("fraction of duplicates", False),
    "frac_mitochondrial": ("fraction of mitochondrial fragments", False),
    "doublet_score": ("doublet score", False),
}
MOST_SAMPLES = 40  # samples in the quality figure: the height of an image is limited


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
