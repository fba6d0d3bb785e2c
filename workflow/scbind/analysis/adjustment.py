"""Adjust p-values for the number of tests (Benjamini & Hochberg 1995, J. R. Statist. Soc. B 57:289).

Tests are adjusted in families. If tests that rarely find anything are adjusted together with others, they hide what the
others find; if they find much, they make the others significant (Efron 2008, Ann. Appl. Stat. 2:197). So TFs without
ChIP-seq, of which there may be hundreds with similar motifs, are not in the family of the TFs with ChIP-seq.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from scbind.formats.evidence import MOTIF


def adjust(p_values: np.ndarray) -> np.ndarray:
    """Return adjusted p-values: the lowest false discovery rate at which each test is listed. Both float64 (tests,).

    The same as ``scipy.stats.false_discovery_control``, which takes half a second to import. Raises ValueError if a
    p-value is not between 0 and 1.

    Examples
    --------
    >>> adjust(np.array([0.5, 0.6, 0.1, 0.001])).tolist()
    [0.6, 0.6, 0.2, 0.004]
    """
    if not ((p_values >= 0) & (p_values <= 1)).all():
        raise ValueError("p-values must be between 0 and 1")
    order, n = np.argsort(p_values), len(p_values)
    found = np.empty(n)
    found[order] = np.minimum.accumulate((p_values[order] * (n / np.arange(1, n + 1)))[::-1])[::-1]
    return np.minimum(found, 1)


def by_family(
    compute: Callable[[np.ndarray], np.ndarray], values: np.ndarray, family: np.ndarray
) -> np.ndarray:
    """Return ``compute``, such as :func:`adjust`, of the values of each family alone: float64 (tests,).

    ``values`` is float (tests,), ``family`` (tests,) the family of each test. NaN, no test, stays NaN.

    Examples
    --------
    >>> by_family(adjust, np.array([0.01, np.nan, 0.02, 0.5]), np.array(["a", "a", "b", "b"])).tolist()
    [0.01, nan, 0.04, 0.5]
    """
    found, tested = np.full(len(values), np.nan), ~np.isnan(values)
    for name in np.unique(family[tested]):
        here = tested & (family == name)
        found[here] = compute(values[here])
    return found


def tf_families(marks: pd.DataFrame) -> pd.Series:
    """Return the family of the tests of each TF: int8, by TF.

    TFs differ in family if they differ in evidence, or in whether scbind abstains on them. ``marks`` is the result of
    :func:`scbind.models.abstention.marks`.
    """
    by_motif, abstained = marks["evidence"] == MOTIF, marks["reliability_abstained"].astype(bool)
    return (by_motif + 2 * abstained).astype(np.int8)
