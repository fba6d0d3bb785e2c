"""Figures about models: precision and recall, comparison with baselines, calibration, training.

``colours`` maps names of models and baselines to colours. By default each figure chooses its own colours.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from scbind.evaluation.registry import CONTROLS, NOT_DRAWN
from scbind.formats.colours import colours_of
from scbind.formats.evidence import marked
from scbind.report.style import NEUTRAL, legend_outside, new_figure, styled

MARKERS = "osD^vP*Xh<>p"


@styled
def auprc_dots(
    metrics: pd.DataFrame, models: list[str], title: str, colours: Mapping[str, str] | None = None
) -> Figure:
    """Draw the AUPRC of every model and baseline per TF (mean over cell lines), with the prevalence.

    ``metrics`` has the columns ``model, tf, auprc, prevalence`` and the rows of one split. Points of ``models`` are
    filled, those of all others (the baselines) hollow.
    """
    metrics = metrics[~metrics["model"].isin(NOT_DRAWN)]
    table = metrics.pivot_table(index="tf", columns="model", values="auprc", aggfunc="mean")
    prevalence = metrics.groupby("tf")["prevalence"].mean()
    leading = next((name for name in models if name in table), table.columns[0])
    table = table.sort_values(leading, na_position="first")
    position = np.arange(len(table))
    figure = new_figure(8.6, 0.24 * len(table) + 1.5)
    axis = figure.subplots()
    chance = {"marker": "|", "s": 60, "color": "#333333", "label": "prevalence (chance)"}
    axis.scatter(prevalence[table.index], position, **chance)
    names = [*[m for m in models if m in table], *sorted(set(table.columns) - set(models))]
    colours = colours or colours_of(names)
    for number, name in enumerate(names):
        ours = name in models
        axis.scatter(
            table[name], position, s=46 if ours else 24, marker=MARKERS[number % len(MARKERS)],
            edgecolors=colours[name], facecolors=colours[name] if ours else "none",
            linewidths=1.2, label=name, zorder=3 if ours else 2,
        )  # fmt: skip
    axis.set_yticks(position, table.index)
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.7, len(table) - 0.3), xlabel="AUPRC")
    axis.grid(axis="both", color="#EEEEEE")
    axis.set_axisbelow(True)
    axis.set_title(title)
    legend_outside(axis)
    return figure


@styled
def precision_recall(
    curves: Mapping[str, Mapping[str, np.ndarray]],
    colours: Mapping[str, str] | None = None,
    tfs: Sequence[str] | None = None,
    by_motif: Collection[str] = (),
    columns: int = 5,
) -> Figure:
    """Draw precision-recall curves: one panel per TF, one line per model. Controls are dashed, prevalence is dotted.

    ``curves`` maps a model to the content of its ``curves.npz``: ``tfs``, ``recall`` (R,), ``precision`` (TFs, R),
    ``prevalence`` (TFs,). ``tfs`` are the TFs to draw; default: all. Those in ``by_motif`` are marked.
    """
    curves = {name: curve for name, curve in curves.items() if name not in NOT_DRAWN}
    every = {str(tf) for curve in curves.values() for tf in curve["tfs"]}
    tfs = sorted(every if tfs is None else every & set(tfs))
    columns = min(columns, len(tfs))
    rows = -(-len(tfs) // columns)
    figure = new_figure(1.9 * columns + 1.4, 1.75 * rows + 0.8)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    colours = colours or colours_of(list(curves))
    for axis, tf in zip(axes.flat, tfs, strict=False):
        for name, curve in curves.items():
            found = np.flatnonzero(np.asarray(curve["tfs"]).astype(str) == tf)
            if len(found):
                axis.plot(curve["recall"], curve["precision"][found[0]], color=colours[name], **_line(name))
                axis.axhline(curve["prevalence"][found[0]], color=NEUTRAL, linewidth=1, linestyle=":")
        axis.set(xlim=(0, 1), ylim=(0, 1.03), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
        axis.set_title(marked(tf, tf in by_motif), fontsize=9)
    for number, axis in enumerate(axes.flat):
        axis.set_visible(number < len(tfs))
        if number + columns >= len(tfs):
            axis.tick_params(labelbottom=True)
    figure.supxlabel("recall", fontsize=10)
    figure.supylabel("precision", fontsize=10)
    lines = [axes.flat[0].plot([], [], color=colours[name], label=name, **_line(name))[0] for name in curves]
    lines.append(axes.flat[0].plot([], [], color=NEUTRAL, linestyle=":", label="prevalence")[0])
    figure.legend(handles=lines, loc="outside right upper")
    return figure


def _line(name: str) -> dict:
    return {"linewidth": 1.1, "linestyle": "--"} if name in CONTROLS else {"linewidth": 1.5}


@styled
def auprc_against_depth(
    table: pd.DataFrame, models: list[str], colours: Mapping[str, str] | None = None
) -> Figure:
    """Draw mean AUPRC over pairs of cell line and TF against depth. The dotted line is the mean prevalence.

    ``table`` is ``results/evaluation/depth.tsv``. Depths are geometric means over the pairs. Each line has its name at
    the right end. Names that would overlap are moved apart.
    """
    table = table[~table["model"].isin(NOT_DRAWN) & table["auprc"].notna()]
    colours = colours or colours_of(list(table["model"].unique()))
    figure = new_figure(7.8, 4.4)
    axis = figure.subplots()
    curves = table.assign(depth=np.log(table["depth"])).groupby(["model", "keep"])
    curves = curves[["depth", "auprc"]].mean().assign(depth=lambda frame: np.exp(frame["depth"]))
    ends = {}
    for name in dict.fromkeys([*models, *table["model"]]):
        if name in curves.index:
            curve, ours = curves.loc[name].sort_index(), name in models
            style = {"marker": "o", "markersize": 5 if ours else 4, "color": colours[name]} | _line(name)
            style |= {"linewidth": 2.2} if ours else {"markerfacecolor": "white"}
            axis.plot(curve["depth"], curve["auprc"], zorder=3 if ours else 2, **style)
            ends[name] = curve["auprc"].iloc[-1]
    chance = table["prevalence"].mean()
    axis.axhline(chance, color=NEUTRAL, linestyle=":", linewidth=1.2)
    ends["prevalence (chance)"] = chance
    top = max(ends.values()) * 1.08
    axis.set(xscale="log", ylim=(0, top), xlabel="insertions per base after thinning", ylabel="mean AUPRC")
    axis.grid(color="#EEEEEE")
    axis.set_axisbelow(True)
    for name, height in spread(ends, 0.055 * top).items():
        colour, weight = colours.get(name, NEUTRAL), "bold" if name in models else "normal"
        axis.annotate(
            name, (1.02, height), xycoords=("axes fraction", "data"), color=colour, weight=weight,
            va="center", fontsize=9,
        )  # fmt: skip
    axis.set_title("Accuracy against depth, held-out windows")
    return figure


def spread(heights: Mapping[str, float], gap: float) -> dict[str, float]:
    """Move labels up until they are at least ``gap`` apart. Their order stays the same. Returns label to height."""
    placed, last = {}, -np.inf
    for name in sorted(heights, key=heights.get):
        last = placed[name] = max(heights[name], last + gap)
    return placed


@styled
def fragments_needed_dots(
    table: pd.DataFrame,
    models: list[str],
    colours: Mapping[str, str] | None = None,
    cells: np.ndarray | None = None,
) -> Figure:
    """Draw the number of fragments with which each TF keeps 90 % of its AUPRC at full depth.

    ``table`` is ``results/evaluation/fragments_needed.tsv``. Points of models are filled, those of baselines hollow. An
    arrow marks an upper bound. ``cells`` (cells,) are the equivalent fragments of cells, with those that they borrow: a
    line is at their median, and a band from their 10 % to their 90 % quantile.
    """
    table = table[table["fragments_needed"].notna()]
    colours = colours or colours_of(list(table["model"].unique()))
    names = [name for name in dict.fromkeys([*models, *table["model"]]) if name in set(table["model"])]
    wide = table.pivot(index="tf", columns="model", values="fragments_needed")
    order = wide.sort_values(names[0], ascending=False, na_position="first").index
    figure = new_figure(8.6, 0.24 * len(order) + 1.5)
    axis = figure.subplots()
    for number, name in enumerate(names):
        part, ours = table[table["model"] == name], name in models
        height = order.get_indexer(part["tf"]) + (number - (len(names) - 1) / 2) * 0.14
        axis.scatter(
            part["fragments_needed"], height, s=34 if ours else 20, marker=MARKERS[number % len(MARKERS)],
            edgecolors=colours[name], facecolors=colours[name] if ours else "none",
            linewidths=1.2, label=name, zorder=3,
        )  # fmt: skip
        bounds = part["at_most"].to_numpy(dtype=bool)
        for x, y in zip(part["fragments_needed"][bounds], height[bounds], strict=True):
            arrow = {"arrowstyle": "->", "color": colours[name], "linewidth": 1}
            axis.annotate("", (x / 1.45, y), (x, y), arrowprops=arrow, annotation_clip=False)
    axis.set(xscale="log", ylim=(-0.7, len(order) - 0.3), xlabel="equivalent fragments")
    if cells is not None and len(cells):
        low, middle, high = np.quantile(cells, [0.1, 0.5, 0.9])
        axis.axvspan(low, high, color=NEUTRAL, alpha=0.25, linewidth=0, zorder=0)
        label = "the cells with what they borrow"
        axis.axvline(middle, color="#444444", linewidth=1.3, linestyle=":", label=label, zorder=1)
    axis.set_yticks(np.arange(len(order)), order)
    axis.margins(x=0.09)
    axis.grid(axis="both", color="#EEEEEE")
    axis.set_axisbelow(True)
    axis.set_title("Fragments that keep 90 % of the AUPRC at full depth")
    legend_outside(axis)
    return figure


@styled
def calibration_curves(
    curves: Mapping[str, Mapping[str, np.ndarray]], colours: Mapping[str, str] | None = None
) -> Figure:
    """Draw the observed fraction of bound windows against the predicted probability, over all TFs.

    ``curves`` maps a model to the content of its ``curves.npz``. The area of a point grows with its number of windows.
    """
    figure = new_figure(6.6, 4.6)
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color=NEUTRAL, linestyle="--", linewidth=1, label="perfect")
    colours = colours or colours_of(list(curves))
    for name, curve in curves.items():
        count = np.asarray(curve["calibration_count"], dtype=float)
        kept = count > 0
        x, y = (np.asarray(curve[f"calibration_{key}"])[kept] for key in ("predicted", "observed"))
        axis.plot(x, y, color=colours[name], linewidth=1.5)
        size = 12 + 12 * np.log10(np.maximum(count[kept], 1))
        axis.scatter(x, y, s=size, color=colours[name], label=name, zorder=3)
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axis.set(xlabel="predicted P(bound)", ylabel="observed fraction bound")
    axis.set_aspect("equal")
    axis.set_title("Calibration on held-out windows")
    legend_outside(axis)
    return figure


@styled
def training_curves(
    histories: Mapping[str, pd.DataFrame], colours: Mapping[str, str] | None = None
) -> Figure:
    """Draw loss and validation AUPRC per epoch. ``histories`` maps a model to its table ``training.csv``."""
    figure = new_figure(9.4, 3.3)
    left, right = figure.subplots(1, 2)
    colours = colours or colours_of(list(histories))
    for name, table in histories.items():
        left.plot(
            table["epoch"],
            table["train_loss"],
            color=colours[name],
            linestyle="--",
            linewidth=1.3,
            marker=".",
        )
        left.plot(table["epoch"], table["valid_loss"], color=colours[name], linewidth=1.8, marker=".")
        right.plot(
            table["epoch"], table["valid_auprc"], color=colours[name], linewidth=1.8, marker=".", label=name
        )
    left.plot([], [], color="#555555", linestyle="--", label="training")
    left.plot([], [], color="#555555", label="validation")
    left.legend()
    for axis in (left, right):
        axis.grid(color="#EEEEEE")
        axis.set_axisbelow(True)
        axis.xaxis.get_major_locator().set_params(integer=True)
    left.set(xlabel="epoch", ylabel="loss", yscale="log")  # the losses of two architectures differ tenfold
    left.set_title("Loss")
    right.set(xlabel="epoch", ylabel="mean AUPRC")
    right.set_title("Validation AUPRC")
    legend_outside(right)
    return figure
