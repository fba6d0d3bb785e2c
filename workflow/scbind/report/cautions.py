"""Warnings at the top of the report: what to know before reading the results, and which setting to change."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from scbind.analysis.activitytable import motif_tfs
from scbind.analysis.differential import CELLS_SHARED
from scbind.cells.profiles import weak_start_sites
from scbind.evaluation.registry import COMPARATORS
from scbind.formats.evidence import shared_motifs
from scbind.formats.typestatus import OWN, STATUSES
from scbind.report.accuracy import motif_tested
from scbind.report.cells import type_cautions
from scbind.report.read import Inputs
from scbind.report.tables import MOST_NAMES, join_names

OTHER_BUNDLE = "models.*.bundle (another model)"  # what to set if a given model lacks something
SHOULD_PASS = 0.5  # minimum fraction of passing cells of a sample; below, there is a warning
BLURRED = 0.5  # minimum fraction of the cells of a sample that contribute to one cell, for a warning
MAY_LACK = 0.1  # fraction of the cells below the target even after borrowing: above it, there is a warning
NO_ROWS = (
    "no rows in these tables: differential TFs and sites, motifs, best sites, target genes, links and effects of "
    "variants"
)


class Caution(NamedTuple):
    """A warning: what was found, what follows from it, and the key of the configuration that changes it."""

    warning: str
    consequence: str
    setting: str


def cautions(inputs: Inputs) -> list[Caution]:
    """Return the warnings about a run. Each function below returns one or None."""
    return [found for make in CHECKS if (found := make(inputs)) is not None]


def _no_genes(inputs: Inputs) -> Caution | None:
    cells = inputs.cells
    if cells is None or ("tss_enrichment" in cells and cells["tss_enrichment"].notna().any()):
        return None
    return Caution(
        "No TSS enrichment is known, because no genes are configured.",
        "Cells with a low TSS enrichment were not removed, and there are no target genes.",
        "genome.genes",
    )


def _poor_samples(inputs: Inputs) -> Caution | None:
    cells = inputs.cells
    if cells is None or "pass" not in cells:
        return None
    share = cells["pass"].astype(bool).groupby(cells["sample"].astype(str)).mean()
    poor = share[share < SHOULD_PASS].sort_values()
    if poor.empty:
        return None
    named = join_names([f"{name} ({value:.0%})" for name, value in poor.items()], MOST_NAMES)
    return Caution(
        f"Few cells pass quality control: {named}.",
        "The thresholds may not suit the data, or the sample is poor. See the section Quality of the cells.",
        "cells.min_fragments, cells.min_tss",
    )


def _flat_start_sites(inputs: Inputs) -> Caution | None:
    if inputs.profiles is None:
        return None
    found = {name: weak_start_sites(curves) for name, curves in inputs.profiles.groupby("sample", sort=False)}
    named = [f"{name} ({value:.2f} times)" for name, value in found.items() if value is not None]
    if not named:
        return None
    return Caution(
        "Insertions are hardly more frequent at the start sites of genes than beside them: "
        f"{join_names(named, MOST_NAMES)}.",
        "Fragments and genes may be of different assemblies. If the fragments are of another assembly than the genome, "
        "all results are wrong; if the genes are, TSS enrichment, target genes and links are. Or the data are poor.",
        "genome.fasta, genome.genes, sheets.samples",
    )


def _shallow_cells(inputs: Inputs) -> Caution | None:
    if inputs.borrowed is None or not inputs.target:
        return None
    lacking = float((inputs.borrowed.total < inputs.target).mean())
    if lacking <= MAY_LACK:
        return None
    return Caution(
        f"{lacking:.0%} of the cells have fewer than {inputs.target:,.0f} fragments even after borrowing (sum of "
        "weights).",
        "Their predictions use less signal, and scbind abstains on more TFs in them.",
        "infer.max_neighbours, infer.borrow_fragments",
    )


def _blurred_cells(inputs: Inputs) -> Caution | None:
    if inputs.borrowed is None:
        return None
    share = float(np.median(inputs.borrowed.share))
    if share < BLURRED:
        return None
    return Caution(
        f"The signal of a cell comes from {share:.0%} of the cells of its sample (median).",
        "Cells share much of their signal, so do not compare single cells or small groups. The sample has too few "
        "cells or fragments for the number of fragments that each cell is to have.",
        "infer.borrow_fragments (lower), or a sample with more cells",
    )


def _unmodelled(inputs: Inputs) -> Caution | None:
    metrics = inputs.tables.get("metrics")
    if metrics is None or not inputs.tested:
        return None
    part = metrics[metrics["model"].isin(COMPARATORS)] if "model" in metrics else metrics
    named = sorted(set(part["tf"].astype(str)) - set(inputs.data.tfs))
    if not named:
        return None
    warning = f"TFs without predictions in cells: {join_names(named, MOST_NAMES)}."
    if inputs.origin is not None:
        return Caution(warning, "The model was not trained on these TFs.", OTHER_BUNDLE)
    return Caution(
        warning,
        "No training window of these TFs is bound, so the model has no output for them.",
        "sheets.chip, splits",
    )


def _abstained(inputs: Inputs) -> Caution | None:
    data = inputs.data
    named = [tf for tf, out in zip(data.tfs, data.abstained, strict=True) if out]
    if not named:
        return None
    return Caution(
        f"scbind abstains on {len(named)} of {len(data.tfs)} TFs ({join_names(named, MOST_NAMES)}).",
        "Validation does not support their predictions. Do not interpret their values. They are left out of "
        "tests, populations and tables of best results.",
        "sheets.chip (more experiments), models" if inputs.origin is None else OTHER_BUNDLE,
    )


def _by_motif(inputs: Inputs) -> Caution | None:
    var = inputs.data.var
    named = motif_tfs(var)
    if not named:
        return None
    metrics = inputs.tables.get("metrics")
    tested = motif_tested(metrics) & set(named) if metrics is not None else set()
    but = f", except {join_names(sorted(tested), MOST_NAMES)}, whose ChIP-seq this run has" if tested else ""
    text = (
        f"They are predicted from their motif and the weights that all TFs share, and cannot be tested{but}. They "
        "are marked as motif, and have no influence on the populations."
    )
    groups = shared_motifs(var["motif_group"].to_dict(), named) if "motif_group" in var else []
    if groups:
        alike = join_names(["/".join(tfs) for tfs in groups], MOST_NAMES)
        text += (
            f" TFs of a group have one motif, so a result for one of them may be due to another: {alike} "
            "(all groups: column motif_group of differential_tfs.tsv)."
        )
    return Caution(
        f"{len(named)} of {len(inputs.data.tfs)} TFs have no ChIP-seq ({join_names(named, MOST_NAMES)}).",
        text,
        "models.*.motif_tfs",
    )


def _no_own_peaks(inputs: Inputs) -> Caution | None:
    if inputs.peaks is None:
        return None
    fallen = inputs.peaks[inputs.peaks["source"] != STATUSES[OWN].source]
    if fallen.empty:
        return None
    return Caution(
        f"Cell types without peaks of their own: {join_names(fallen['cell_type'], MOST_NAMES)}.",
        "They have too few cells or fragments. Sites that only they have may be missing from the windows.",
        "peaks.min_cells, peaks.small_types",
    )


def _doublets(inputs: Inputs) -> Caution | None:
    counts = inputs.data.obs["cell_type"].value_counts()
    named = [
        f"{name} ({counts.get(name, 0):,} cells, {text})" for name, text in type_cautions(inputs).items()
    ]
    if not named:
        return None
    return Caution(
        f"Cell types that are probably not real: {join_names(named, MOST_NAMES)}.",
        "A doublet is a barcode with the fragments of two cells. Do not interpret these types.",
        "cells.max_doublet_score",
    )


def _small_types(inputs: Inputs) -> Caution | None:
    small = inputs.small_types
    if not small:
        return None
    if len(small) < len(inputs.types):
        one = len(small) == 1
        verb, subject = ("has", "It is") if one else ("have", "They are")
        return Caution(
            f"{len(small)} of {len(inputs.types)} cell types {verb} fewer than {inputs.smallest_type:,} cells: "
            f"{join_names(small, MOST_NAMES)}.",
            f"{subject} not compared with the other cells, and {verb} {NO_ROWS}.",
            "analysis.min_cells",
        )
    counts = inputs.data.obs["cell_type"].value_counts()
    largest = f"; the largest is {counts.index[0]} with {counts.iloc[0]:,}" if len(counts) else ""
    return Caution(
        f"No cell type has {inputs.smallest_type:,} cells{largest}.",
        f"Cell types are therefore not compared, and have {NO_ROWS}.",
        "analysis.min_cells",
    )


def _no_replicates(inputs: Inputs) -> Caution | None:
    table = inputs.tables.get("differential")
    if table is None:
        return None
    table = table[~table["test"].astype(str).str.startswith("not tested")]
    over_cells = table[table["test"].astype(str).str.startswith("cells")]
    if over_cells.empty:
        return None
    shared = over_cells["test"] == CELLS_SHARED
    warnings = []
    for why, rows in (
        ("There are fewer than three replicates per group", over_cells[~shared]),
        ("Replicates are in both groups, and fewer than three others per group", over_cells[shared]),
    ):
        if len(rows):  # of all comparisons, or such as a type that only two donors have
            warnings.append(f"{why}." if len(rows) == len(table) else f"{why}: {_comparisons(rows)}.")
    return Caution(
        " ".join(warnings),
        "The p-values describe these cells. They do not show that other donors would give the same result.",
        "sheets.samples (column donor)",
    )


def _unknown_donors(inputs: Inputs) -> Caution | None:
    """Samples without a donor beside samples with one: an empty field is easily overlooked."""
    obs = inputs.data.obs
    if "donor" not in obs or obs["donor"].isna().all() or obs["donor"].notna().all():
        return None
    lacking = sorted(obs.loc[obs["donor"].isna(), "sample"].astype(str).unique())
    return Caution(
        f"Donors are given for some samples but not for {join_names(lacking, MOST_NAMES)}.",
        "Each of these samples counts as a donor of its own. If two of them share a donor, p-values are too small.",
        "sheets.samples (column donor)",
    )


def _comparisons(table) -> str:
    """Return the comparisons of a table of differential TFs, by name."""
    words = {"cell_type": "{} against other cells", "condition": "conditions within {}"}
    pairs = table[["contrast", "cell_type"]].drop_duplicates()
    return join_names([words[row.contrast].format(row.cell_type) for row in pairs.itertuples()], MOST_NAMES)


def _unknown_frame(inputs: Inputs) -> Caution | None:
    lines = [line for line, frames in inputs.frames.items() if "undetermined" in frames]
    if not lines:
        return None
    return Caution(
        f"The Tn5 shift of the bulk tracks of {join_names(lines, MOST_NAMES)} is not known.",
        "scbind assumes that fragments are shifted by +4/-5 bp and that reads of a BAM file are not. If "
        "this is wrong, insertions "
        "are off by up to 5 bp.",
        "sheets.tracks",
    )


def _other_species(inputs: Inputs) -> Caution | None:
    origin = inputs.origin or inputs.extended
    if origin is None or not origin.other_species:
        return None
    return Caution(
        f"The model was trained on {origin.other_species} and is applied to {origin.species}.",
        "Its accuracy there is not known, unless it was tested in this run.",
        "infer.model",
    )


CHECKS: tuple[Callable[[Inputs], Caution | None], ...] = (
    _flat_start_sites, _poor_samples, _no_genes, _shallow_cells, _blurred_cells, _no_own_peaks, _doublets,
    _small_types, _no_replicates, _unknown_donors, _abstained, _by_motif, _unmodelled, _unknown_frame, _other_species,
)  # fmt: skip
