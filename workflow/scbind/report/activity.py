"""Sections on TF activity: cells in the UMAP, means of cell types, and TFs that differ between cell types."""

from __future__ import annotations

import numpy as np
import pandas as pd

from scbind.analysis.activitytable import motif_tfs
from scbind.formats.evidence import marked
from scbind.report import typeplots, umapplots
from scbind.report.cells import unlabelled
from scbind.report.choice import ROWS
from scbind.report.differences import DISAGREE, directions, ordered_differential
from scbind.report.read import Inputs
from scbind.report.tables import MOST_NAMES, Section, all_rows, html_table, join_names, trusted

UMAP_FACTORS = 12
HEATMAP_FACTORS = ROWS
Z = (
    "z compares the insertions of a cell at the predicted sites of a TF with those at windows of similar GC content "
    "and accessibility. 0 means that they do not differ. Compare z between cells and cell types for one "
    "TF. Between TFs, compare effect sizes instead, because a TF with more or stronger sites reaches larger z."
)


def embedding(inputs: Inputs) -> Section | None:
    """Return the section with UMAPs by cell type, by sample and by the most variable TF activities."""
    data = inputs.data
    seen = np.isfinite(data.umap).all(axis=1)
    if not seen.any():
        return None
    section = Section("embedding", "Embedding")
    text = (
        "UMAP of the cells, computed from their accessibility alone. It does not depend on predicted binding."
    )
    section.text = [" ".join(filter(None, (text, unlabelled(inputs))))]
    umap, obs = data.umap[seen], data.obs[seen]
    draw, kinds = inputs.draw, inputs.colours["cell_type"]
    section.figures = [
        draw("umap_cell_types", umapplots.umap_types(umap, obs["cell_type"], kinds, "Cell types"),
             "Cells by cell type. Numbers of cells are in brackets."),
    ]  # fmt: skip
    samples = sorted(obs["sample"].unique())
    if len(samples) > 1:
        figure = umapplots.umap_types(umap, obs["sample"], inputs.colours["sample"], "Samples")
        section.figures.append(draw("umap_samples", figure, "The same cells, by sample."))
    chosen = _most_informative(data, UMAP_FACTORS)
    columns = [data.tfs.index(tf) for tf in chosen]
    section.figures.append(
        draw("umap_activity",
             umapplots.umap_activity(umap, data.readable[seen][:, columns], starred_names(data, chosen)),
             f"The same cells, by the activity of the {len(chosen)} TFs that vary most between cell types. The "
             "z-score is corrected for GC content and accessibility. Red: more insertions at the sites of the TF than "
             "at similar windows. Blue: fewer. Grey: the cell is too shallow for the TF." + star_note(data, chosen))
    )  # fmt: skip
    return section


def _most_informative(data, n: int) -> list[str]:
    """``n`` TFs whose mean z varies most between types, or between cells if there is one type; abstained TFs last."""
    means = _type_means(data)
    values = means if len(means) > 1 else pd.DataFrame(data.readable)
    spread = values.std(ddof=0).fillna(0).to_numpy()
    return [data.tfs[i] for i in np.lexsort((-spread, data.abstained))[:n]]


def star_note(data, chosen: list[str]) -> str:
    """Return a sentence on the marks of :func:`starred_names` that the chosen TFs have; empty if they have none."""
    named = [tf for tf, abstained in zip(data.tfs, data.abstained, strict=True) if abstained and tf in chosen]
    unread = (
        f" * scbind abstains on {join_names(named, MOST_NAMES)}: do not interpret these." if named else ""
    )
    by_motif = set(motif_tfs(data.var)) & set(chosen)
    if by_motif:
        unread += " (motif): no ChIP-seq, predicted from the motif and the weights that all TFs share."
    return unread


def starred_names(data, chosen: list[str]) -> list[str]:
    """Return the names of TFs with their marks: * if scbind abstains on the TF, (motif) if it has no ChIP-seq."""
    starred = set(data.var.index[data.abstained])
    by_motif = set(motif_tfs(data.var))
    return [marked(tf, tf in by_motif) + " *" * (tf in starred) for tf in chosen]


def _type_means(data) -> pd.DataFrame:
    """Mean z (cell types, TFs) over the cells that are not too shallow for the TF. NaN if there is no such cell."""
    return pd.DataFrame(data.readable, columns=data.tfs).groupby(data.obs["cell_type"].to_numpy()).mean()


def activities(inputs: Inputs) -> Section | None:
    """Return the section with the mean TF activity per cell type."""
    means = _type_means(inputs.data)
    if means.empty:
        return None
    section = Section("activity", "TF activity")
    chosen = _most_informative(inputs.data, HEATMAP_FACTORS)
    left_out = len(inputs.data.tfs) - len(chosen)
    caption = "Mean z per cell type. Rows and columns are ordered by clustering."
    if left_out:
        caption += f" Only the {len(chosen)} TFs that differ most are shown. {left_out} are left out."
    caption += star_note(inputs.data, chosen)
    if means[chosen].isna().any(axis=None):
        caption += " Blank: every cell of the type is too shallow for the TF."
    figure = typeplots.activity_heatmap(means[chosen].set_axis(starred_names(inputs.data, chosen), axis=1))
    section.text = [Z]
    section.figures = [inputs.draw("activity_heatmap", figure, caption)]
    return section


def differential(inputs: Inputs) -> Section | None:
    """Return the section with the TFs that differ most, per cell type and contrast."""
    table = inputs.tables.get("differential")
    if table is None:
        return None
    section = Section("differential", "TFs that differ between cell types")
    if table.empty:
        section.text = ["There are no two groups of cells to compare."]
        return section
    kept, left_out = trusted(table)
    tests = [f"{test} ({n:,} rows)" for test, n in kept["test"].value_counts().items()]
    section.text = [
        "Each cell type is compared with all other cells, and, if there are conditions, they are compared within each "
        "cell type. The difference is in units of z (see TF activity). The "
        "effect size is the difference divided by the standard deviation between cells. p-values are adjusted over "
        "all types and all TFs with the same evidence (Benjamini-Hochberg).",
        f"Tests: {join_names(tests) or 'none'}. {left_out}".strip(),
    ]
    if "design_effect" in kept and kept["design_effect"].notna().any():
        section.text.append(
            "Cells that borrow from the same cells are not independent. Tests over cells allow for it, so a larger "
            "effect size can have a larger p-value (column design_effect of differential_tfs.tsv)."
        )
    if kept.empty:
        return section
    section.text += _two_measures(kept)
    for contrast, part in kept.groupby("contrast"):
        if not ((part["difference"] > 0) & (part["p_adjusted"] < 0.05)).any():
            name = (
                "Between cell types" if contrast == "cell_type" else "Between conditions, within a cell type"
            )
            section.text.append(f"{name}: no TF has a higher activity (adjusted p < 0.05).")
    if (kept["contrast"] == "condition").any():
        section.text.append(
            "Conditions are compared within each cell type. A positive difference: more activity in the group than in "
            "the reference."
        )
    note = (
        "All tested TFs. In each cell type, TFs with higher activity (adjusted p < 0.05) come first, by effect size. "
        + all_rows("differential_tfs.tsv")
    )
    section.tables = [
        html_table("Differences of TF activity", ordered_differential(kept), note, "differential")
    ]
    return section


def _two_measures(table: pd.DataFrame) -> list[str]:
    """Say what z and mean binding measure, and in how many rows they disagree."""
    tested = directions(table[table["p_adjusted"] < 0.05])
    n = int((tested == DISAGREE).sum())
    where = (
        f" Where they disagree ({n} of {len(tested)} rows with adjusted p < 0.05), rely on z." if n else ""
    )
    return [
        "Two columns can rank TFs differently. z is corrected for accessibility: use it to ask which TFs mark a cell "
        "type or a condition. Mean binding is the mean P(bound) over all windows and is not corrected: it is also "
        "higher in cells with more accessible chromatin. Use it to ask how much binding is predicted. The column z and "
        f"mean binding says whether both differ in the same direction.{where}"
    ]
