"""The section of the report on populations: their size, evidence, place in the UMAP, and abundance per donor."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from scbind.report import typeplots, umapplots
from scbind.report.read import Inputs
from scbind.report.style import NEUTRAL, SMALL, new_figure, styled
from scbind.report.tables import Section, html_table

MOST_SMALL = 8  # small populations that are marked in the UMAP
MOST_DRAWN = 30  # populations in the figure of abundance
LINES = ("markers_against_nearest", "markers_within_type", "markers")
FIRST = ["population", "cell_type", "n_cells", "fraction", "small", "stability", *LINES]
ABUNDANCE = [  # columns of the table: the ratio and its p-value are side by side
    "kind", "name", "group", "reference", "log2_odds_ratio", "p_adjusted", "p_value", "log2_low", "log2_high",
    "fraction", "fraction_reference", "n_cells", "n_cells_reference", "n_donors", "n_donors_reference",
    "dispersion", "statistic", "test",
]  # fmt: skip
HIDDEN = ["n_samples", "top_sample", "top_sample_share"]


def populations(inputs: Inputs) -> Section | None:
    """Return the section with the populations: size, stability, evidence, markers, abundance between conditions."""
    table, n_out = inputs.tables.get("populations"), int(inputs.data.abstained.sum())
    if table is None or (table.empty and not n_out):
        return None
    section = Section("populations", "Populations")
    left_out = (
        f"Left out: {n_out} of {len(inputs.data.tfs)} TFs, because scbind abstains on them." if n_out else ""
    )
    if table.empty:
        section.text = [f"There are no populations. {left_out}"]
        return section
    section.text = [
        "The cells are divided into groups, and each group is divided again. A group is kept if it meets two "
        "conditions. First, its open peaks differ from those of the other cells more than those of two halves of a "
        "continuum would (the separation is above the separation limit). Second, it is found again in subsamples of "
        "the cells (stability; 1: always). The tables and figures give the most frequent cell type of each population. "
        + left_out,
        "Markers are ranked by effect size, without a test: the populations were made from the same cells, so p-values "
        "would be too small. Cells that borrow from the same cells are similar, so effect sizes are too large. To ask "
        "whether a TF differs between cell types, use the section TFs that differ.",
    ]
    figure = typeplots.population_bars(table, inputs.colours["cell_type"])
    section.figures = [
        inputs.draw("populations", figure, "Size and stability. Colours show the most frequent cell type.")
    ]
    section.figures += _umap(inputs, table) + _per_donor(inputs)
    note = (
        "Markers are given as TF:effect size (Cohen's d). Those of a small population against all other cells are "
        "mostly TFs of the large population beside it: look at markers against the nearest first. All rows: "
        "results/analysis/populations.tsv. Cells: results/analysis/population_cells.tsv."
    )
    first = [name for name in FIRST if name in table]
    shown = table[[*first, *(name for name in table if name not in (*FIRST, *HIDDEN))]]
    shown = shown[
        [name for name in shown if not (shown[name].isna() | (shown[name].astype(str) == "")).all()]
    ].copy()
    if "split_from" in shown:
        section.text[0] += " Split from: the larger population that a population was part of."
    for column in [name for name in LINES if name in shown]:
        shown[column] = shown[column].astype(object).str.replace(";", "; ")
    section.tables = [html_table("All populations", shown, note, "populations")]
    abundance = inputs.tables.get("abundance")
    if abundance is not None and len(abundance):
        note = (
            "The tests compare donors, not cells. A positive log2 odds ratio: a larger fraction of the cells in the "
            "group than in the reference. All rows: results/analysis/abundance.tsv."
        )
        section.tables.append(
            html_table(
                "Abundance between conditions",
                abundance[[name for name in ABUNDANCE if name in abundance]].replace(
                    {"kind": {"cell_type": "cell type"}}
                ),
                note,
                "abundance",
            )
        )
    return section


def _umap(inputs: Inputs, table: pd.DataFrame) -> list:
    cells, seen = inputs.tables.get("population_cells"), np.isfinite(inputs.data.umap).all(axis=1)
    if cells is None or not seen.any():
        return []
    keys = ["sample", "cell"]
    names = inputs.data.obs[keys].merge(cells.astype(dict.fromkeys(keys, str)), on=keys, how="left")[
        "population"
    ]
    palette = inputs.colours["population"]
    umap, names = inputs.data.umap[seen], names[seen].to_numpy(dtype=object)
    small = table.loc[table["small"].astype(bool), "population"].iloc[:MOST_SMALL]
    figure = umapplots.umap_types(umap, names, palette, "Populations", "no population", list(small))
    for name in small:
        inside = names == name
        figure.axes[0].scatter(
            *umap[inside].T, s=26, facecolors=palette[name], edgecolors="black", linewidths=0.6, zorder=3
        )
    text = "Populations in the UMAP, which is computed from accessibility."
    text += " Cells of small populations have a black edge." if len(small) else ""
    return [inputs.draw("umap_populations", figure, text)]


def _per_donor(inputs: Inputs) -> list:
    table = inputs.tables.get("abundance")
    if table is None or table.empty:
        return []
    table = table[table["kind"] == "population"].drop_duplicates("name").iloc[:MOST_DRAWN]
    if table.empty:
        return []
    figure = abundance_dots(table, inputs.colours["condition"])
    text = (
        "Fraction of the cells of each donor in each population, on a logarithmic axis, by condition. "
        "p-values are adjusted. The tests compare donors, not cells."
    )
    return [inputs.draw("population_abundance", figure, text)]


@styled
def abundance_dots(table: pd.DataFrame, colours: Mapping[str, str]) -> Figure:
    """Draw the fraction of each donor, by condition (``colours``), for each row of ``results/analysis/abundance.tsv``.

    Donors without a cell of the population are drawn as half a cell, with an open circle.
    """
    figure = new_figure(8.6, 0.42 * len(table) + 1.6)
    axis = figure.subplots()
    for row, line in enumerate(table.itertuples()):
        inside = int(line.n_donors)
        for side, fractions in enumerate(_fractions(line.counts, inside)):
            value = [100 * max(k, 0.5) / n for k, n in fractions]
            colour = colours.get(str((line.reference, line.group)[side]), NEUTRAL)
            y = np.full(len(value), row + 0.16 * (1 - 2 * side))
            faces = [colour if k else "white" for k, _ in fractions]
            axis.scatter(value, y, s=30, color=faces, edgecolors=colour, linewidths=1)
        p = "not tested" if pd.isna(line.p_adjusted) else f"p {line.p_adjusted:.2g}"
        axis.annotate(
            p, (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=SMALL, color="#444444"
        )
    axis.set_yticks(range(len(table)), table["name"])
    axis.set_ylim(len(table) - 0.4, -0.6)
    axis.set_xscale("log")
    axis.set_xlabel("cells of the donor (%)")
    axis.set_title("Abundance per donor")
    first = table.iloc[0]
    labels = (str(first["reference"]), str(first["group"]))
    handles = [
        Line2D([], [], marker="o", linestyle="", color=colours.get(label, NEUTRAL), label=label)
        for label in labels
    ]
    axis.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.7 / (0.42 * len(table) + 1)), ncols=2
    )
    axis.grid(axis="y", color=NEUTRAL, alpha=0.3)
    return figure


def _fractions(counts: str, inside: int) -> tuple[list, list]:
    """Return (cells, all cells) of the donors of the reference and of the group, whose number is ``inside``."""
    each = [tuple(map(int, part.rpartition(":")[2].split("/"))) for part in counts.split(";")]
    return each[: len(each) - inside], each[len(each) - inside :]
