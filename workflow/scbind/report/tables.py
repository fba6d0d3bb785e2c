"""Tables and number formats of the report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from scbind import __version__
from scbind.analysis.linkmodel import CORE
from scbind.evaluation.probabilities import LIKELY as LIMITS
from scbind.formats.doubletgroups import LIKELY
from scbind.formats.evidence import CHIP
from scbind.report.pack import columnar, pack_blocks, pack_json
from scbind.report.places import DISTANCES, PLACES, WITH_REGIONS, place, placed_sites, regions, signed_bp

MAX_ROWS = 80_000  # maximum number of rows of a table on the page; the files contain all rows
BLOCK_ROWS = 4_000  # rows of a large table that the browser opens together for a TF
FIRST_ROWS = 20  # rows that are in the page as text; the browser opens the others
MOST_NAMES = 12  # maximum number of names in a sentence
NAMES = {  # names of columns, where replacing underscores is not enough
    "tf": "TF", "auprc": "AUPRC", "auprc_se": "AUPRC, standard error",
    "auroc": "AUROC", "ece": "calibration error", "n_pairs": "pairs",
    "ece_to_prevalence": "calibration error / prevalence", "mean_predicted": "mean P(bound)",
    "predicted_to_bound": "predicted / bound",
    **{f"windows_{name}": f"windows, P ≥ {limit:g}" for name, limit in LIMITS.items()},
    **{f"predicted_{name}": f"mean P, P ≥ {limit:g}" for name, limit in LIMITS.items()},
    **{f"observed_{name}": f"fraction bound, P ≥ {limit:g}" for name, limit in LIMITS.items()},
    "auprc_expected": "AUPRC, expected", "auprc_measured": "AUPRC, median",
    "gain_pooled_trees": "gain over trees of other TFs",
    "gain_motif_x_accessibility": "gain over motif x accessibility",
    "auprc_seen": "AUPRC, seen", "share_of_seen": "fraction of AUPRC, seen",
    "auprc_accessibility": "AUPRC of accessibility", "auprc_motif_x_accessibility": "AUPRC of motif x accessibility",
    "auprc_pooled_trees": "AUPRC of trees of other TFs",
    "auprc_full": "AUPRC, full depth", "fragments_needed": "fragments needed", "depth_needed": "depth needed",
    "log2_gain": "log2 gain", "recall_at_fdr10": "recall at FDR 10 %",
    "recall_at_fdr50": "recall at FDR 50 %", "n_cells": "cells", "n_windows": "windows", "n_bound": "bound",
    "mean_binding_reference": "mean binding, reference", "p_adjusted": "adjusted p", "n_replicates": "replicates",
    "n_fragments": "fragments", "n_peaks": "peaks", "cell_type_share": "fraction of this type",
    "top_sample_share": "fraction from one sample", "markers_within_type": "markers within the type",
    "top_window_distance": "distance of top site", "top_window_binding": "P(bound) of top site",
    "top_window_start": "start of top site", "top_window_end": "end of top site",
    "sites_with_motif": "sites with motif", "background_with_motif": "background with motif",
    "auprc_mean": "AUPRC, mean of cells", "auprc_median": "AUPRC, median of cells", "ari": "adjusted Rand index",
    "n_groups": "groups", "n_types": "cell types", "activity_auroc": "AUROC of z",
    "scfan_auroc": "AUROC of the scFAN vote",
    "median n_fragments": "median fragments", "median tss_enrichment": "median TSS enrichment",
    "median frac_in_peaks": "median fraction in peaks", "median frac_duplicates": "median fraction of duplicates",
    "median frac_mitochondrial": "median fraction mitochondrial", "doublet_rate": "expected doublet rate",
    "reliability_level": "reliability",
    "reliability_abstained": "abstained", "binding_ref": "P(bound), reference",
    "binding_alt": "P(bound), alternative", "n_listed": "rows in variants.tsv", "fdr": "FDR", "p_value": "p-value",
    "tf_active": "P(TF active)", "n_sites": "number of sites", "n_tfs": "TFs", "n_called": "called peaks",
    "n_donors": "donors", "top_donor_share": "fraction from one donor", "n_cells_reference": "cells, reference",
    "n_donors_reference": "donors, reference", "fraction_reference": "fraction, reference",
    "log2_odds_ratio": "log2 odds ratio", "log2_low": "lower bound", "log2_high": "upper bound",
    "chromvar_auroc": "AUROC of chromVAR", "chromvar_borrowed_auroc": "AUROC of chromVAR, borrowed insertions",
    "markers_against_nearest": "markers against the nearest", "ref": "reference", "alt": "alternative",
    "nearest_known": "nearest known motif", "nearest_p_adjusted": "adjusted p of the nearest",
    "own_p_adjusted": "adjusted p of the TF's known motif", "width": "width (bp)", "place": "promoter or distal",
    "z_and_binding": "z and mean binding", "link_probability": "probability of the link",
    "potential": "regulatory potential",
    "doublet_like": "fraction doublet-like", "tf_in_type": "TF in this type",
    "n_more": "more binding", "n_less": "less binding", "binding_reference": "binding, reference",
}  # fmt: skip
DEPTH = (  # sentences of the glossary, too; a test compares them
    "Insertions per base: Tn5 insertions divided by the known bases of the genome (not N); for a cell, its own and "
    "those that it borrows."
)
MEANINGS = {  # column -> what its heading means, shown below each table that has the column and is not in IN_TEXT
    "potential": "Regulatory potential: the predicted binding of a TF around the start of a gene, summed "
    "over windows that count less with distance.",
    "separation": "Separation: how far the open peaks of a population differ from those of the other cells of its "
    "parent group, in standard deviations.",
    "separation_limit": "Separation limit: the largest separation seen in data without structure. Populations must "
    "exceed it.",
    "tf_active": "P(TF active): the mean probability that the TF is active in a cell of the type, from its activity. "
    "With RNA, activity and expression have equal weight if the TF has enough RNA molecules.",
    "ece": "Calibration error: the mean difference between P(bound) and the fraction of windows that are bound, over "
    "ten bins of P(bound). Nearly all windows are unbound, so a prediction of 0 for every window has an error as large "
    "as the prevalence: compare the two.",
    "predicted_to_bound": "Predicted / bound: the mean P(bound) over all windows, divided by the fraction of windows "
    "that is bound, both averaged over pairs of cell line and TF. Above 1, P(bound) is too high on average.",
    "observed_p30": f"P ≥ {LIMITS['p30']:g}: the windows with such a P(bound), their mean P(bound), and the fraction "
    f"of them that is bound. The two are equal if P(bound) is calibrated. P ≥ {LIMITS['p10']:g}: likewise.",
    "doublet_rate": "Expected doublet rate: the mean doublet score of the cells that meet all other thresholds. It is "
    "the expected fraction of doublets of two cell types.",
    "doublet_like": "Fraction doublet-like: of the cells of a type, the fraction with a doublet score of "
    f"{LIKELY:g} or more. A type is flagged as doublets if its median score is {LIKELY:g} or more, so at least "
    f"half of its cells score {LIKELY:g} or more.",
    "sites": "Sites: the sites that contribute most to the link, the largest contribution first. Promoter: the middle "
    f"of the site is within {CORE} bp of a start of the gene. Distances are from the nearest start; upstream is "
    "negative.",
    "confidence": "Confidence: the mean probability that a cell belongs to its population and to none of the others.",
    "nearest": "Nearest: the population with the most similar open peaks.",
    "cautions": "Cautions: what else could explain the population.",
    "tf_in_type": "TF in this type: more or less active in the cell type than in the other cells, with an adjusted p "
    "below 0.05.",
}
# Several tables of a section have these columns, so the text of the section has the sentences.
IN_TEXT = "ece", "predicted_to_bound", "observed_p30"
EVIDENCE, LEVEL, ABSTAINED = (
    "evidence",
    "reliability_level",
    "reliability_abstained",
)  # columns of the result tables
MARKS = EVIDENCE, LEVEL, ABSTAINED


@dataclass
class Section:
    """A section of the page, with the fields that the template shows.

    Attributes
    ----------
    id, title
        Anchor and heading.
    text
        Paragraphs.
    tiles
        Highlighted values with their labels.
    points
        List items.
    figures
        Figures, from :func:`scbind.report.read.drawer`.
    tables
        Tables, from :func:`html_table`.
    files
        Names and texts of files that are shown folded.
    """

    id: str
    title: str
    text: list[str] = field(default_factory=list)
    tiles: list[tuple[str, str]] = field(default_factory=list)
    points: list[str] = field(default_factory=list)
    figures: list[dict] = field(default_factory=list)
    tables: list[dict] = field(default_factory=list)
    files: list[tuple[str, str]] = field(default_factory=list)


def number(value: float) -> str:
    """Return a number as text: with thousands separators, three significant digits, and small ones as 1.2e-08."""
    if pd.isna(value):
        return "–"
    if not math.isfinite(value):
        return "∞" if value > 0 else "-∞"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1e}" if abs(value) < 1e-3 else f"{value:#.3g}".rstrip(".")


def html_table(
    title: str,
    table: pd.DataFrame,
    note: str = "",
    name: str = "",
    totals: Mapping[str, Mapping[str, int]] | None = None,
) -> dict:
    """Return a table in the form that the template shows: cells with a text and, for numbers, a value for sorting.

    The first ``FIRST_ROWS`` rows are cells. If there are more, or if the table has a ``name`` by which the page can
    ask for it, ``pack`` has all rows (:func:`scbind.report.pack.columnar`). If these are many, and the table has a
    ``name`` and a column ``tf``, they are in ``blocks`` (:func:`scbind.report.pack.pack_blocks`). At most
    ``MAX_ROWS`` rows are kept. If there are more, the note says so. A column ``reliability_abstained`` without a
    True is left out, and a column ``evidence`` if every TF was assayed by ChIP-seq; else it is moved beside the
    column ``tf``. ``totals`` goes into ``pack``: column to value to the number of rows that the value has in the file,
    for the values of which the table lacks some rows. Raises ``ValueError`` if two columns would have the same heading.

    The columns of a place (``PLACES``; 0-based half-open) are shown as one, in the form of :func:`place`: the column of
    the chromosome has ``place``, the numbers of the columns of start and end, and these are ``hidden``. A column of
    ``WITH_REGIONS`` has ``regions``: its texts are shown as :func:`regions` writes them. A column ``sites`` shows the
    column ``distances``, which is hidden, as :func:`placed_sites` does. Such tables always have a ``pack``, because
    downloads have what the files have. A column of ``DISTANCES`` has ``bp``. A column of ``MEANINGS`` has ``about``,
    and one of ``IN_TEXT`` ``in_text``.
    """
    if len(table) > MAX_ROWS:
        note = f"{note} Only the first {MAX_ROWS:,} of {len(table):,} rows are shown.".strip()
        table = table.head(MAX_ROWS)
    if ABSTAINED in table and not table[ABSTAINED].fillna(False).astype(bool).any():
        table = table.drop(columns=ABSTAINED)
    if EVIDENCE in table and (table[EVIDENCE] == CHIP).all():
        table = table.drop(columns=EVIDENCE)
    if EVIDENCE in table and "tf" in table:  # beside the name, where nobody overlooks it
        names = [name for name in table if name != EVIDENCE]
        names.insert(names.index("tf") + 1, EVIDENCE)
        table = table[names]
    numeric = [
        pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind) for kind in table.dtypes
    ]
    columns = [
        {"key": str(column), "name": NAMES.get(column, str(column).replace("_", " ")), "numeric": is_number}
        for column, is_number in zip(table.columns, numeric, strict=True)
    ]
    for column in columns:
        if column["key"] in MEANINGS:
            column["about"] = MEANINGS[column["key"]]
            if column["key"] in IN_TEXT:
                column["in_text"] = True
        if column["key"] in DISTANCES:
            column["bp"] = True
        if column["key"] in WITH_REGIONS:
            column["regions"] = True
    keys = [column["key"] for column in columns]
    for (chrom, *ends), heading in PLACES.items():
        if {chrom, *ends} <= set(keys):
            columns[keys.index(chrom)] |= {"name": heading, "place": [keys.index(end) for end in ends]}
            for end in ends:
                columns[keys.index(end)]["hidden"] = True
    if {"sites", "distances"} <= set(keys):
        columns[keys.index("sites")]["distances"] = keys.index("distances")
        columns[keys.index("distances")]["hidden"] = True
    headings = [column["name"] for column in columns if not column.get("hidden")]
    if len(set(headings)) < len(headings):
        raise ValueError(f"table {title!r} has two columns with one heading: {headings}")
    rows = [_row(row, columns) for row in table.head(FIRST_ROWS).itertuples(index=False, name=None)]
    packed, blocks = "", []
    head = {"n": len(table), "columns": columns} | ({"totals": totals} if totals else {})
    if name and "tf" in table and len(table) > BLOCK_ROWS:
        packed, blocks = pack_blocks(table, head, "tf", BLOCK_ROWS)
    elif name or len(table) > FIRST_ROWS or any("place" in each or "regions" in each for each in columns):
        packed = pack_json({**head, "data": columnar(table)})
    return {
        "title": title,
        "note": note,
        "name": name,
        "columns": columns,
        "rows": rows,
        "n": len(table),
        "pack": packed,
        "blocks": blocks,
    }


def all_rows(name: str) -> str:
    """Return the sentence that names the file of a table of ``results/analysis``."""
    return f"All rows: results/analysis/{name}."


def _row(values: tuple, columns: list[dict]) -> list[dict]:
    """Return the visible cells of a row."""
    cells = []
    for value, column in zip(values, columns, strict=True):
        if column.get("hidden"):
            continue
        if "place" in column and not pd.isna(value):
            start, end = (values[i] for i in column["place"])
            value = "" if pd.isna(start) or pd.isna(end) else place(value, int(start), int(end))
        elif "distances" in column and not pd.isna(value):
            far = values[column["distances"]]
            value = regions(str(value)) if pd.isna(far) else placed_sites(str(value), str(far))
        elif "regions" in column and not pd.isna(value):
            value = regions(str(value))
        cell = _cell(value, column["numeric"])
        if "bp" in column and not pd.isna(value):
            cell["text"] = signed_bp(int(value))
        cells.append(cell)
    return cells


def _cell(value, is_number: bool) -> dict:
    if is_number:
        known = not pd.isna(value) and math.isfinite(value)
        return {"text": number(value), "sort": float(value) if known else -1e300}
    if isinstance(value, bool | np.bool_):
        return {"text": "yes" if value else "no", "sort": None}
    return {"text": "" if pd.isna(value) else str(value), "sort": None}


def within_budget(table: pd.DataFrame, column: str = "rank") -> tuple[pd.DataFrame, str]:
    """Return the rows with the lowest ``column`` so that at most ``MAX_ROWS`` remain, and a sentence that says so.

    The limit is the same for all groups. The sentence is empty if all rows remain.
    """
    if len(table) <= MAX_ROWS:
        return table, ""
    counts = table[column].value_counts().sort_index().cumsum()
    fits = counts.index[counts <= MAX_ROWS]
    limit = fits[-1] if len(fits) else counts.index[0]
    return table[table[column] <= limit], f"Only rows with {column} {number(limit)} or lower are shown."


def largest(table: pd.DataFrame, column: str, most: int) -> tuple[pd.DataFrame, str]:
    """Return the ``most`` rows with the largest absolute ``column``, in this order, and a sentence on what is left out.

    The sentence begins with a space. It is empty if all rows remain.
    """
    order = table[column].abs().sort_values(ascending=False, kind="stable").index
    cut = f" The {most:,} largest of {len(table):,} are shown." if len(table) > most else ""
    return table.loc[order].head(most), cut


def trusted(table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return the rows of TFs on which scbind does not abstain, and a sentence with the number of the other TFs.

    If there are no other TFs, the sentence is empty.
    """
    if ABSTAINED not in table:
        return table, ""
    out = table[ABSTAINED].astype(bool)
    n, of = table.loc[out, "tf"].nunique(), table["tf"].nunique()
    return table[~out], f"Left out: {n} of {of} TFs, because scbind abstains on them." if n else ""


def subtitle(samples: Iterable[str], genome: str) -> str:
    """Return the line below the title of a page: its samples, genome and version of scbind."""
    named = join_names(sorted(map(str, samples)), MOST_NAMES)
    return " · ".join([named, *([f"genome {genome}"] if genome else []), f"scbind {__version__}"])


def join_names(names: Iterable[str], most: int | None = None, last: str = "and") -> str:
    """Join names as in ``a, b and c``. If there are more than ``most``, the end is ``and 7 more``."""
    names = list(names)
    if most is not None and len(names) > most:
        names = [*names[:most], f"{len(names) - most:,} more"]
    return f" {last} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
