"""What the trained models are compared with: what it is, and how evaluation and report treat it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Comparator:
    """A baseline or the oracle.

    ``sentence`` follows the name, in the report and the docs. ``probability``: its scores are probabilities and get a
    calibration error; otherwise they only rank. ``control``: it is no competitor. It is not ranked, does not
    decide which pairs are compared, and needs no depth. ``drawn``: figures show it.
    """

    sentence: str
    probability: bool = False
    control: bool = False
    drawn: bool = True


ORACLE = "oracle"
# Snakefile, evaluation, report, docs: in the order of evaluation.
BASELINES = {
    "accessibility": Comparator("counts insertions in the window, divided by the depth"),
    "motif_x_accessibility": Comparator("is accessibility times the best match of the TF's matrix nearby"),
    "boosted_trees": Comparator(
        "fits small boosted trees per TF to insertions at four widths and motif matches", probability=True
    ),
    "other_lines_chip": Comparator(
        "is the TF's ChIP-seq in other lines at the tested windows, for the pairs that have any", control=True
    ),
    "permuted_labels": Comparator(  # lies on the prevalence, which every figure shows already
        "is boosted_trees fitted to permuted labels: what it has above the prevalence is chance",
        probability=True,
        control=True,
        drawn=False,
    ),
}
COMPARATORS = BASELINES | {
    ORACLE: Comparator(
        "knows the simulated motifs and openness, but not the coin flips: nobody can do better",
        probability=True,
        control=True,
    )
}
PROBABILITIES = tuple(name for name, each in COMPARATORS.items() if each.probability)
CONTROLS = tuple(name for name, each in COMPARATORS.items() if each.control)
NOT_DRAWN = tuple(name for name, each in COMPARATORS.items() if not each.drawn)
