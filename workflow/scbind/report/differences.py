"""In which cell types a TF is more active: the words for it, and the order of rows of differential TFs."""

from __future__ import annotations

import numpy as np
import pandas as pd

from scbind.report.tables import EVIDENCE, LEVEL, trusted

MORE, LESS = "more active", "less active"  # values of the column tf_in_type
NO_PROTEIN = (  # beside the best sites of a TF
    "P(bound) comes from the sequence and from open chromatin, not from the amount of the protein. In types where the "
    "TF is less active than elsewhere, these sites may not be bound."
)
AGREE, DISAGREE = "agree", "disagree"  # directions of the differences in z and in mean binding


def activity_in_type(table: pd.DataFrame, tests: pd.DataFrame) -> pd.Series:
    """Return in words whether the TF of each row is more or less active in its cell type than in the other cells.

    ``table`` has ``cell_type`` and ``tf``; ``tests`` is ``results/analysis/differential_tfs.tsv``. The words are
    ``MORE``, ``LESS``, ``no difference`` (adjusted p of 0.05 or more) and ``not tested``.
    """
    keys, words = ["cell_type", "tf"], pd.Series("not tested", index=table.index, dtype=object)
    tests = tests[(tests["contrast"] == "cell_type") & tests["p_adjusted"].notna()].drop_duplicates(keys)
    found = table[keys].merge(tests[[*keys, "difference", "p_adjusted"]], on=keys, how="left")
    known, sure = found["p_adjusted"].notna().to_numpy(), (found["p_adjusted"] < 0.05).to_numpy()
    words[known] = "no difference"
    words[sure & (found["difference"] > 0).to_numpy()] = MORE
    words[sure & (found["difference"] <= 0).to_numpy()] = LESS
    return words


def active_first(words: pd.Series) -> pd.Series:
    """Return a number to sort rows by: 0 where :func:`activity_in_type` is ``MORE``, 2 where ``LESS``, else 1."""
    return words.map({MORE: 0, LESS: 2}).fillna(1).astype(np.int64)


def ordered_differential(table: pd.DataFrame) -> pd.DataFrame:
    """Return the tested rows of TFs on which scbind does not abstain, the largest effects of each group first.

    Within each contrast, cell type and group, rows with a positive difference and an adjusted p below 0.05 come first,
    by effect size. ``table`` is ``results/analysis/differential_tfs.tsv``. The column ``z_and_binding`` is added
    (:func:`directions`).
    """
    table = trusted(table)[0].replace({"contrast": {"cell_type": "cell type"}})
    table["z_and_binding"] = directions(table)
    up = (table["difference"] > 0) & (table["p_adjusted"] < 0.05)
    table = table.assign(up=~up).sort_values(
        ["contrast", "cell_type", "group", "up", "effect_size", "p_adjusted"],
        ascending=[True, True, True, True, False, True], kind="stable",
    )  # fmt: skip
    lead = ["contrast", "group", "reference"] if (table["contrast"] == "condition").any() else []
    kept = [
        "cell_type", "tf", "difference", "effect_size", "mean_binding", "mean_binding_reference", "z_and_binding",
        "p_adjusted", "n_replicates",
    ]  # fmt: skip
    return table[[*kept[:2], *lead, *kept[2:], *(name for name in (EVIDENCE, LEVEL) if name in table)]]


def directions(table: pd.DataFrame) -> pd.Series:
    """Return whether z and mean binding of rows differ in the same direction: ``agree``, ``disagree``, or empty.

    It is empty where one of them does not differ or is not known. ``table`` has rows of
    ``results/analysis/differential_tfs.tsv``.
    """
    product = np.sign(table["difference"]) * np.sign(table["mean_binding"] - table["mean_binding_reference"])
    return product.map({1.0: AGREE, -1.0: DISAGREE}).fillna("").astype(object)
