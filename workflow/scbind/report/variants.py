"""Sections of the report on variants and explained loci. Each function returns a section, or None without its input."""

from __future__ import annotations

from scbind.formats.evidence import MOTIF, marked
from scbind.report.logoplot import QUESTION, contribution_logo
from scbind.report.places import regions
from scbind.report.read import Inputs
from scbind.report.tables import Section, html_table, largest

SHOWN = 5_000  # variants in the table of the page
FIGURES = 12  # loci that are drawn on the page


def variants(inputs: Inputs) -> Section | None:
    """Return the section with the variants that change predicted binding most."""
    table = inputs.tables.get("variants")
    if table is None or table.empty:
        return None
    section = Section("variants", "Variants")
    known = table[table["tf"].notna()]
    listed = int((table["n_listed"] > 0).sum())
    section.text = [
        "P(bound) is predicted with the reference and the alternative allele, with the pooled signal of all "
        "cells of a type. Effects of a variant on accessibility are not predicted.",
        f"results/analysis/variants.tsv lists {listed:,} of {len(table):,} variants: those that change the binding of "
        "at least one TF in at least one cell type enough (variants.min_difference and "
        "variants.min_probability).",
    ]
    shown, cut = largest(known, "difference", SHOWN)
    shown.insert(len(shown.columns) - 1, "n_listed", shown.pop("n_listed"))
    note = (
        "For each variant, the TF and cell type with the largest change, among those on which scbind does "
        f"not abstain.{cut} All are in results/analysis/variants_strongest.tsv."
    )
    if len(shown):
        section.tables = [html_table("Largest change of each variant", shown, note)]
    return section


def explained(inputs: Inputs) -> Section | None:
    """Return the section with what each base contributes at the loci of the configuration."""
    table = inputs.tables.get("explain")
    if table is None or table.empty:
        return None
    section = Section("explained", "Why a TF binds here")
    groups = list(table.groupby(QUESTION, sort=False))
    section.text = [
        "Each base was replaced by the three others. Its contribution is the mean loss of the logit of P(bound). "
        "Contributions explain the sequence, not why chromatin is open."
    ]
    if len(groups) > FIGURES:
        section.text.append(
            f"The first {FIGURES} of {len(groups)} loci are shown; all are in results/analysis/explain."
        )
    for number, ((locus, tf, kind), rows) in enumerate(groups[:FIGURES], 1):
        mark = " scbind abstains on this TF here." if rows["abstained"].any() else ""
        called = marked(tf, (rows["evidence"] == MOTIF).any())
        what = "contribution of each base, and the effect of every other base"
        caption = f"{called} at {regions(locus)} in {kind}: {what}.{mark}"
        section.figures.append(inputs.draw(f"explain_{number}_{tf}", contribution_logo(rows), caption))
    return section
