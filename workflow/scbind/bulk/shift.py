"""Which Tn5 shift a file of fragment ends carries.

The shift frame is measured, not assumed. Tn5 cuts the two strands 9 bp apart, so one transposition at
``t`` leaves a fragment to its right that starts at ``t`` and one to its left whose last base is ``t + 8``
(Adey et al. 2010; Buenrostro et al. 2013). With S the starts and E the last bases of all fragments, the
distance ``S - E`` of such a pair is

* -8 where nothing was shifted,
* 0 after +4/-4,
* +1 after +4/-5 (the frame of 10x Genomics, and ours).

The number of distinct (E, S) pairs at each distance therefore peaks at one of these. The sequence
preference of Tn5 is palindromic about the same centre and sharpens the peak when the two ends come from
different cells; it also leaves side peaks 5 bp to either side of it.
"""

from __future__ import annotations

import numpy as np

FRAMES = {-8: "none", 0: "+4/-4", 1: "+4/-5"}  # S - E: the shift that the file carries
CORRECTION = {-8: (4, -5), 0: (0, -1), 1: (0, 0)}  # what is added to S and to E to reach +4/-5
LAGS = range(-14, 15)
SIDE = 5  # bp from the centre of the Tn5 motif to its side peaks


def count_lags(starts: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Count the distinct pairs with ``start - last base`` equal to each of ``LAGS``; int64, shape (29,).

    Both inputs are sorted and unique. The pair is never the two ends of one fragment, which would need
    fragments shorter than 15 bp.
    """
    if not len(starts) or not len(last):
        return np.zeros(len(LAGS), dtype=np.int64)
    return np.array([np.isin(last + lag, starts, assume_unique=True).sum() for lag in LAGS], dtype=np.int64)


def estimate_frame(lags: np.ndarray, kind: str) -> tuple[int | None, dict]:
    """Tell the shift frame from pair counts.

    Parameters
    ----------
    lags
        int64, shape (29,), from :func:`count_lags`, summed over chromosomes.
    kind
        Format of the track. In ``coverage``, +1 cannot be seen (start and end cancel), so its side peaks
        are asked instead: 1.2 times the median. In ``insertions`` the strands are mixed: the count is
        symmetric, 8 means unshifted, 1 means +4/-5, and +4/-4 falls on 0, which cannot be told.

    Returns
    -------
    tuple
        The distance ``start - last base`` at which the ends of one transposition meet: a key of ``FRAMES``,
        another number that no known shift explains, or ``None`` where the data do not say; and the
        evidence. A distance must hold 1.5 times the median of the others, exceed it by 5 Poisson
        standard deviations, and hold 20 pairs.
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
    hidden = kind == "coverage" and best in (1 - SIDE, 1 + SIDE)  # a side peak of what cannot be seen
    if _stands_out(evidence["pairs"], median, 1.5) and not hidden:
        return (-8 if kind == "insertions" and best == 8 else best), evidence
    if kind == "coverage":
        sides = {centre: int(lags[np.isin(names, (centre - SIDE, centre + SIDE))].sum()) for centre in FRAMES}
        if max(sides, key=sides.get) == 1 and _stands_out(sides[1], 2 * median, 1.2):
            return 1, {"pairs": sides[1], "background": 2 * median, "side_peaks": True}
    return None, evidence


def _stands_out(count: int, expected: float, fold: float) -> bool:
    return count >= max(20, fold * expected) and count - expected > 5 * np.sqrt(max(expected, 1.0))
