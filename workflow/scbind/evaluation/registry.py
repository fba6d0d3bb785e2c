"""The baselines, the oracle and published results: what they are, and how evaluation and report treat them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Comparator:
    """A baseline, the oracle or a published result with which trained models are compared.

    Attributes
    ----------
    sentence
        Description in the report and the docs; it follows the name.
    probability
        True if its scores are probabilities and get a calibration error. Otherwise they only rank windows.
    control
        True if it is a control instead of a competitor. A control is not ranked, does not decide which pairs of line
        and TF are compared, and is left out of the fragments needed per TF.
    drawn
        True if figures show it.
    """

    sentence: str
    probability: bool = False
    control: bool = False
    drawn: bool = True


ACCESSIBILITY, MOTIF_X_ACCESSIBILITY = "accessibility", "motif_x_accessibility"
ORACLE, OTHER_LINES, MAXATAC = "oracle", "other_lines_chip", "maxatac_published"
# In the order of evaluation. Snakefile, evaluation, report and docs use this dict.
BASELINES = {
    ACCESSIBILITY: Comparator("counts insertions in the window, divided by the depth"),
    MOTIF_X_ACCESSIBILITY: Comparator("multiplies accessibility by the best match of the TF's matrix nearby"),
    "boosted_trees": Comparator(
        "fits small boosted trees per TF to insertions at four widths and motif matches", probability=True
    ),
    OTHER_LINES: Comparator(
        "uses the TF's ChIP-seq in other lines at the same windows, if the TF was assayed in another line",
        control=True,
    ),
    "permuted_labels": Comparator(  # not drawn: it is near the prevalence, which every figure shows
        "is boosted_trees fitted to permuted labels; by chance, its mean AUPRC is somewhat above the prevalence; "
        "suspect that labels leak if its mean AUROC is well above 0.5, or its mean AUPRC near that of accessibility",
        probability=True,
        control=True,
        drawn=False,
    ),
}
COMPARATORS = BASELINES | {
    ORACLE: Comparator(
        "knows the simulated motifs and openness, but not the random draws; no model can have a clearly higher AUPRC",
        probability=True,
        control=True,
    ),
    MAXATAC: Comparator(
        "is the AUPRC that the authors of maxATAC published for chr1 of this cell line, which they held out of "
        "training; their windows of 200 bp, the peaks that they call bound and their training lines differ from those "
        "of this run, so the values can be compared only roughly",
        control=True,
    ),
}
PROBABILITIES = tuple(name for name, each in COMPARATORS.items() if each.probability)
CONTROLS = tuple(name for name, each in COMPARATORS.items() if each.control)
NOT_DRAWN = tuple(name for name, each in COMPARATORS.items() if not each.drawn)
