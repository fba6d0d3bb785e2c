"""Sections of the report about cells: quality, and the source of the peaks of each cell type."""

from __future__ import annotations

import pandas as pd

from scbind.formats.doubletgroups import LIKELY
from scbind.formats.typestatus import CLUSTER, STATUSES
from scbind.report import qualityplots
from scbind.report.librarycurves import library_curves
from scbind.report.qualityplots import QC_MEASURES
from scbind.report.read import Inputs
from scbind.report.tables import MOST_NAMES, Section, html_table, join_names, number

CUSTOM = "custom"  # value of cells.assay: not the name of an assay
FEW_PASS = 0.5  # fraction of the cells of a sample that should pass
COMPARED = 3  # samples that are needed to compare each with the others
TIMES = 2  # a median this much worse than that of the samples is flagged
WORSE = {  # measure of quality: whether high values are bad
    "n_fragments": False, "tss_enrichment": False, "frac_in_peaks": False, "nucleosome_signal": True,
    "frac_duplicates": True,
}  # fmt: skip

CURVES = {  # curve of a library: its part of the caption
    "length": "lengths of all fragments. A good library has a peak below 147 bp (between nucleosomes) and one near "
    "200 bp (one nucleosome).",
    "tss": "insertions of the cells around start sites of genes, relative to the ends of the curve.",
}


def quality(inputs: Inputs) -> Section | None:
    """Return the section on quality: passing cells, reasons for failure, and borrowing. None without a cell table."""
    if inputs.cells is None:
        return None
    section = Section("quality", "Quality of the cells")
    if "pass" in inputs.cells:
        _passing(inputs, section)
    _measures(inputs, section)
    if inputs.profiles is not None:
        known = set(inputs.profiles["sample"])
        drawn = [name for name in qualityplots.quality_samples(inputs.cells) if name in known]
        figure = library_curves(inputs.profiles, drawn, inputs.colours["sample"])
        section.figures.append(inputs.draw("library_curves", figure, _said_of_curves(inputs.profiles)))
    if inputs.borrowed is not None:
        found = inputs.borrowed
        figure = qualityplots.borrowing(found.own, found.total, found.n_cells)
        caption = (
            "Cells with few fragments borrow fragments from their nearest cells, until they have "
            "infer.borrow_fragments or have used infer.max_neighbours cells. Left: a borrowed fragment counts by its "
            "weight, at most 1. The fragments that a TF needs are in another unit, equivalent fragments."
        )
        section.figures.append(inputs.draw("borrowing", figure, caption))
    return section


def _said_of_curves(profiles: pd.DataFrame) -> str:
    """Return the caption of the curves of the libraries. Without genes, there is only one curve."""
    known = set(profiles.loc[profiles["value"].notna(), "curve"])
    parts = [text for curve, text in CURVES.items() if curve in known]
    if len(parts) == len(CURVES):
        return " ".join(f"{side}: {text}" for side, text in zip(("Left", "Right"), parts, strict=True))
    return " ".join(text[0].upper() + text[1:] for text in parts)


def _known_measures(obs: pd.DataFrame) -> list[str]:
    """Return the quality measures that have a value."""
    return [name for name in qualityplots.QC_MEASURES if name in obs and obs[name].notna().any()]


def sample_quality(obs: pd.DataFrame) -> pd.DataFrame:
    """Return a row per sample: flags, cells, passing cells, medians over passing cells, and the expected doublet rate.

    A sample has a flag if fewer than ``FEW_PASS`` of its cells pass, and for each measure of ``WORSE`` whose median is
    ``TIMES`` as bad as the median of the samples, if the measure is known of ``COMPARED`` samples or more. ``flags`` is
    empty if there is nothing to check.
    """
    passing, measures = obs["pass"].astype(bool), _known_measures(obs)
    table = obs.groupby("sample", observed=True).agg(**{"cells": ("pass", "size"), "pass": ("pass", "sum")})
    table["fraction passing"] = table["pass"] / table["cells"]
    medians = obs[passing].groupby("sample", observed=True)[measures].median().reindex(table.index)
    flags = {
        name: ["few cells pass"] * (share < FEW_PASS) for name, share in table["fraction passing"].items()
    }
    for name in _compared(medians):
        high, typical = WORSE[name], medians[name].median()
        bad = medians[name] > TIMES * typical if high else medians[name] < typical / TIMES
        for sample in table.index[bad]:
            flags[sample].append(f"{'high' if high else 'low'} {QC_MEASURES[name][0]}")
    table.insert(0, "flags", ["; ".join(flags[name]) for name in table.index])
    table = table.join(medians.add_prefix("median "))
    if "doublet_score" in measures:  # of cells that meet all other thresholds
        scores = pd.to_numeric(obs["doublet_score"], errors="coerce")
        table["doublet_rate"] = scores.groupby(obs["sample"], observed=True).mean()
    return table.reset_index()


def _compared(medians: pd.DataFrame) -> list[str]:
    """Return the measures that samples are compared by; ``medians`` has a row per sample."""
    return [name for name in WORSE if name in medians and medians[name].notna().sum() >= COMPARED]


def poor_samples(table: pd.DataFrame) -> str:
    """Return a sentence that names the flagged samples of :func:`sample_quality`."""
    named = [f"{row.sample} ({row.flags})" for row in table[["sample", "flags"]].itertuples() if row.flags]
    if named:
        return f"Samples of poor quality: {join_names(named, MOST_NAMES)}."
    return (
        "No sample is flagged for poor quality."
        if len(table) > 1
        else "The sample is not flagged for poor quality."
    )


def passing_cells(inputs: Inputs) -> str:
    """Return a sentence with the number of passing cells, and one with the thresholds that are looser than usual."""
    passing = inputs.cells["pass"].astype(bool)
    said = f"{int(passing.sum()):,} of {len(passing):,} cells pass"
    if not inputs.looser:
        return said + "."
    of = f" of {inputs.assay}" if inputs.assay != CUSTOM else ""
    named = [
        f"{f'no {name}' if value is None else f'{name} {number(value)}'} (default {number(usual)})"
        for name, (value, usual) in inputs.looser.items()
    ]
    are = "a threshold that is" if len(named) == 1 else "thresholds that are"
    return f"{said}, with {are} looser than the default{'s' * (len(named) > 1)}{of}: {join_names(named)}."


def unlabelled(inputs: Inputs) -> str:
    """Return sentences on the samples without labels, whose cell types are clusters; empty if there is none."""
    obs = inputs.data.obs
    if "cell_type_source" not in obs:
        return ""
    cluster = obs["cell_type_source"].astype(str) == CLUSTER
    alone = cluster.groupby(obs["sample"].astype(str)).all()
    samples = alone.index[alone].tolist()
    if not samples:
        return ""
    kinds = sorted(
        obs.loc[obs["sample"].astype(str).isin(samples), "cell_type"].dropna().astype(str).unique()
    )
    named = ", ".join([*kinds[:2], *(["..."] if len(kinds) > 2 else [])])
    whose = "the" if alone.all() else "their"
    of = "" if alone.all() else f" for {join_names(samples, MOST_NAMES)}"
    return (
        f"No labels were given{of}, so {whose} cell types are clusters of accessibility, named {named}"
        f"{'' if len(kinds) > 2 else '.'} To name them, give labels (column labels of the sheet of samples)."
    )


def type_cautions(inputs: Inputs) -> dict[str, str]:
    """Return the cell types that have a caution, such as "probably doublets of A and B"."""
    if inputs.peaks is None or "caution" not in inputs.peaks:
        return {}
    return {
        name: text
        for name, text in zip(inputs.peaks["cell_type"], inputs.peaks["caution"], strict=True)
        if text
    }


def doublet_shares(obs: pd.DataFrame) -> pd.Series:
    """Return the fraction of doublet-like cells of each cell type: those with a score of at least ``LIKELY``.

    NaN without a score. A type is flagged if its median is at least ``LIKELY``, so at least half of its cells are
    doublet-like.
    """
    if "doublet_score" not in obs or "cell_type" not in obs:
        return pd.Series(dtype=float)
    score = pd.to_numeric(obs["doublet_score"], errors="coerce")
    return (
        (score >= LIKELY).where(score.notna()).astype(float).groupby(obs["cell_type"], observed=True).mean()
    )


def _passing(inputs: Inputs, section: Section) -> None:
    """Add to a section how many cells pass, the tables per sample and cell type, and why cells fail."""
    obs = inputs.cells
    passing = obs["pass"].astype(bool)
    measures, samples = _known_measures(obs), sample_quality(obs)
    section.text = [f"{passing_cells(inputs)} {poor_samples(samples)}"]
    note = (
        f"Medians are over passing cells. A sample is flagged if fewer than {FEW_PASS:.0%} of its cells pass"
    )
    compared = _compared(
        samples.filter(like="median ").rename(columns=lambda name: name.removeprefix("median "))
    )
    if compared:
        for high, word in ((False, "less than half"), (True, "more than twice")):
            labels = [QC_MEASURES[name][0] for name in compared if WORSE[name] == high]
            if labels:
                note += f", or if its median of {join_names(labels, last='or')} is {word} that of the samples"
    if not samples["flags"].any():
        samples = samples.drop(columns="flags")
    section.tables = [html_table("Per sample", samples, note + ".", name="samples")]
    if "cell_type" in obs and obs.loc[passing, "cell_type"].notna().any():
        each = obs[passing].groupby("cell_type", observed=True)
        kinds = (
            each.size().to_frame("cells").join(each[measures].median().add_prefix("median ")).reset_index()
        )
        shares = doublet_shares(obs[passing])
        if shares.notna().any():
            kinds.insert(2, "doublet_like", kinds["cell_type"].map(shares).astype(float))
        if known := type_cautions(inputs):
            kinds.insert(1, "caution", kinds["cell_type"].astype(str).map(known).fillna(""))
        section.tables.append(html_table("Per cell type (medians over passing cells)", kinds))
    if "reason" in obs and (~passing).any():
        # Replace the value of the cell but keep the threshold: one row for all cells that fail for one reason.
        reasons = obs.loc[~passing, "reason"].astype(str).str.replace(r"\s\S+(?= [<>] )", "", regex=True)
        for name, (label, _) in QC_MEASURES.items():
            reasons = reasons.str.replace(rf"\b{name}\b", label, regex=True)
        counts = reasons.value_counts().rename_axis("reason").reset_index(name="cells")
        section.tables.append(html_table("Why cells fail", counts))


def _measures(inputs: Inputs, section: Section) -> None:
    """Add to a section the figures of the quality measures of the cells."""
    obs = inputs.cells
    if _known_measures(obs):
        caption = (
            "Distribution and median per sample. Passing and failing cells each have their own scale. "
            "Dashed lines: thresholds."
        )
        drawn, samples = len(qualityplots.quality_samples(obs)), obs["sample"].nunique()
        if drawn < samples:
            caption += f" The figure shows the {drawn} of {samples} samples with the lowest fraction of passing cells."
        section.figures = [
            inputs.draw("quality", qualityplots.quality_distributions(obs, inputs.limits), caption)
        ]
    if "n_fragments" in obs and len(obs):
        caption = (
            "Fragments per barcode; the barcode with the most fragments has rank 1. Each line is a sample. Dots: cells "
            "that pass."
        )
        figure = qualityplots.barcode_ranks(obs, inputs.colours["sample"])
        section.figures.append(inputs.draw("barcode_ranks", figure, caption))
        if "tss_enrichment" in obs and obs["tss_enrichment"].notna().any():
            figure = qualityplots.tss_against_fragments(obs, inputs.limits)
            caption = "TSS enrichment against unique fragments. Darker: more cells. Dashed lines: thresholds."
            section.figures.append(inputs.draw("tss_fragments", figure, caption))


def pseudobulk(inputs: Inputs) -> Section | None:
    """Return the section on the source of the peaks of each cell type. None without peaks."""
    if inputs.peaks is None:
        return None
    section = Section("peaks", "Peaks per cell type")
    meaning = " ".join(f"{each.source.capitalize()}: {each.sentence}." for each in STATUSES.values())
    section.text = [
        f"{meaning} The last three apply to types that are too small for peak calling (peaks.small_types). "
        "If a type has several large replicates, a peak is kept only if enough of them have it "
        "(peaks.min_replicates)."
    ]
    known = [
        name for name, column in inputs.peaks.items() if (column.notna() & (column.astype(str) != "")).any()
    ]
    section.tables = [html_table("Source of the peaks", inputs.peaks[known], name="peaks")]
    return section
