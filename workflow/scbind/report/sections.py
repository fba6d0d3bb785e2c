"""All sections of the report in their order, and those that need no module of their own."""

from __future__ import annotations

import pandas as pd

from scbind.report.activity import activities, differential, embedding
from scbind.report.cells import pseudobulk, quality
from scbind.report.cohort import cohort
from scbind.report.foundmotifs import found_motifs
from scbind.report.leftout import left_out
from scbind.report.methods import methods
from scbind.report.models import evaluation, training
from scbind.report.motifs import motifs
from scbind.report.populations import populations
from scbind.report.read import Inputs
from scbind.report.regulation import expression, links, targets
from scbind.report.sites import sites
from scbind.report.summary import summary
from scbind.report.tables import Section, html_table
from scbind.report.truth import truth
from scbind.report.variants import explained, variants

# A copy, because the run may write the file itself again.
REPEAT = "snakemake --cores N --configfile config.yaml, with a copy of results/provenance/config.yaml"
LIMITS = (
    "A predicted site is a probability, not an observation. The probability is the fraction of windows with such "
    "sequence and accessibility that had a ChIP-seq peak in the training lines.",
    "Before you use a TF, type its name at the top of this page and read its AUPRC on held-out windows. Compare it "
    "with the prevalence, which is the AUPRC of random guessing. AUROC is high for almost any method when sites are "
    "rare.",
    "scbind can predict binding in a cell that does not express the TF, because accessibility and sequence do not "
    "show the protein. TFs of one family share a motif and cannot be distinguished.",
    "The signal of a cell consists of its own fragments and those that it borrows from its nearest cells. Two cells "
    "that borrow from each other are not independent. Without replicates, p-values describe these cells, not a "
    "population of donors.",
    "The same cells define the populations and their markers. Markers therefore have effect sizes but no p-values.",
    "scbind abstains on a TF if validation does not support its predictions. It also abstains in "
    "cells that are too shallow for the TF, which means that they have too few insertions. The files contain these "
    "values, but you should not interpret them.",
    "Links and target genes are candidates. Neither the probability of a link nor a regulatory potential proves "
    "regulation.",
)


def reading(inputs: Inputs) -> Section:
    """Return the section on how to read the report, and the limits of the predictions."""
    return Section("reading", "How to read this report, and its limits", points=list(LIMITS))


def provenance(inputs: Inputs) -> Section | None:
    """Return the section on what the results were made from."""
    if not inputs.provenance:
        return None
    section = Section("provenance", "Provenance", files=inputs.provenance)
    section.text = [
        "results/provenance has the settings, the checksums of the inputs, and the versions of all programs.",
        "Results carry no timestamps, so that two runs on the same inputs give the same bytes. The date below the "
        "title is that of the file. logs/runs.tsv says when each run in this folder started and ended, and with which "
        "command.",
    ]
    if inputs.about:
        known = {name: value for name, value in inputs.about.items() if value} | {
            "command to repeat it": REPEAT
        }
        section.tables = [
            html_table("This run", pd.DataFrame({"what": known.keys(), "value": known.values()}))
        ]
    return section


CELLS, TRUST, ORIGIN = "Your cells", "How far to trust it", "Where it comes from"
PARTS = (
    (
        CELLS,
        (
            summary,
            quality,
            embedding,
            activities,
            differential,
            sites,
            populations,
            links,
            targets,
            expression,
            motifs,
            found_motifs,
            variants,
            explained,
            pseudobulk,
        ),
    ),
    (TRUST, (truth, cohort, methods, evaluation, left_out, training, reading)),
    (ORIGIN, (provenance,)),
)
SECTIONS = tuple(make for _, makers in PARTS for make in makers)
