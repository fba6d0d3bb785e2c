"""Measure the Tn5 shift of a file of fragment ends.

The shift is measured, not assumed. Tn5 cuts the two strands 9 bp apart. One transposition at ``t`` therefore leaves a
fragment on the right that starts at ``t``, and a fragment on the left whose last base is ``t + 8`` (Adey et al. 2010;
Buenrostro et al. 2013). Let S be the starts and E the last bases of all fragments. The distance ``S - E`` of such a
pair is

* -8 without a shift,
* 0 after +4/-4,
* +1 after +4/-5 (the convention of 10x Genomics and of scbind).

The number of distinct (E, S) pairs therefore peaks at one of these distances. The sequence preference of Tn5 is
palindromic about the same centre. It sharpens the peak when the two ends come from different cells, and adds side
peaks 5 bp to the left and to the right.
"""

from __future__ import annotations

import numpy as np

FRAMES = {-8: "none", 0: "+4/-4", 1: "+4/-5"}  # S - E -> shift of the file
CORRECTION = {-8: (4, -5), 0: (0, -1), 1: (0, 0)}  # S - E -> bp to add to S and to E to reach +4/-5
LAGS = range(-14, 15)
SIDE = 5  # bp from the centre of the Tn5 motif to its side peaks


def count_lags(starts: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Count the distinct pairs at each distance ``start - last base`` of ``LAGS``; int64, shape (29,).

    Both inputs must be sorted and unique. The two ends of one fragment are never such a pair, unless the fragment is
    shorter than 15 bp.
    """
    if not len(starts) or not len(last):
        return np.zeros(len(LAGS), dtype=np.int64)
    return np.array([np.isin(last + lag, starts, assume_unique=True).sum() for lag in LAGS], dtype=np.int64)


def estimate_frame(lags: np.ndarray, kind: str) -> tuple[int | None, dict]:
    """Estimate the Tn5 shift from pair counts.

    Parameters
    ----------
    lags
        int64, shape (29,), from :func:`count_lags`, summed over chromosomes.
    kind
        Format of the track. In ``coverage``, distance +1 is invisible because start and end cancel; its side peaks
        must reach 1.2 times the median instead. In ``insertions``, the strands are mixed and the counts are
        symmetric: 8 means unshifted and 1 means +4/-5; +4/-4 would fall on 0 and cannot be detected.

    Returns
    -------
    tuple
        The distance ``start - last base`` between the two ends of one transposition, and the evidence. The distance
        is a key of ``FRAMES``, another number if no known shift explains it, or ``None`` if the data do not show it.
        It must have at least 20 pairs, at least 1.5 times the median over all distances, and exceed this median by 5
        Poisson standard deviations.
    """
    names = np.array(LAGS)
    usable = np.ones(len(names), dtype=bool)
    if kind == "insertions":
        usable = names > 0
    elif kind == "coverage":
        usable = names != 1
    median = float(np.median(lags[usable]))
    best = int(names[usable][np.argmax(lags[usable])])
    evidence = {"pairs": int(lags[names == best][0]), "background": median}
    hidden = kind == "coverage" and best in (1 - SIDE, 1 + SIDE)  # a side peak of the invisible +1
    if _stands_out(evidence["pairs"], median, 1.5) and not hidden:
        return (-8 if kind == "insertions" and best == 8 else best), evidence
    if kind == "coverage":
        sides = {centre: int(lags[np.isin(names, (centre - SIDE, centre + SIDE))].sum()) for centre in FRAMES}
        if max(sides, key=sides.get) == 1 and _stands_out(sides[1], 2 * median, 1.2):
            return 1, {"pairs": sides[1], "background": 2 * median, "side_peaks": True}
    return None, evidence


def _stands_out(count: int, expected: float, fold: float) -> bool:
    return count >= max(20, fold * expected) and count - expected > 5 * np.sqrt(max(expected, 1.0))
