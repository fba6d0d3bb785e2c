"""Tell a bigWig of counts from one that is smoothed, averaged over bins, or made of items of one length.

The steps of a coverage are ends of fragments only if the values are counts of single fragments. The steps of other
tracks gave up to 28 times the true number of insertions. Three properties of the steps ``s`` tell them apart. They
depend on R(k), the sum of ``s(x) s(x + k)`` over all bases ``x``, and hardly on depth or scale:

* The ends of different fragments are nearly independent, so R falls at once from R(0) to a low, level curve. Smoothing
  makes it fall gradually: a running mean over w bases gives R(k) = (1 - k / w) R(0).
* An item of length L has a step up and, L bases later, a step down. If a share f of the items has the same length,
  -2 R(L) exceeds that of lengths beside it by f R(0). Lengths of fragments vary: f was 0.024 or less.
* In counts, most steps are of one fragment. In averages over bins of w bases, the smallest step is 1 / w, and most are
  larger. Bins are not judged by the first property: those of peaks are alike without smoothing.

The values of insertions per base are judged by the first property.
"""

from __future__ import annotations

import numpy as np

from scbind.core.errors import InputError
from scbind.core.runlog import say
from scbind.formats.genome import ORGANELLES

ENOUGH = 1000  # steps of a track that are needed to judge it
SAMPLE, PIECES = 50_000, 10  # steps of a chromosome that are read, and in how many pieces
MOST = 300_000  # steps of a track that are read
APART = 2  # k of insertions, because a cut gives two insertions side by side; k is 1 for coverage
SHORTEST, LONGEST = 20, 1000  # bp; lengths that many items may have in common
# Two thresholds of a smoothed track: minimum R(k) / R(0), and maximum fraction of the drop from R(0) to R(2 k) that is
# reached at k. In counts, this fraction was 0.97 or more up to 30 insertions per base; in smoothed tracks of 0.2 per
# base, 0.69 or less.
LEAST_LIKE, MOST_AT_ONCE = 0.25, 0.75
ON_GRID = 0.95  # share of the steps of bins that are a multiple of their width apart
MOST_SAME_LENGTH = 0.5  # share of items; 0.9 or more in pileups of MACS and in coverage by single reads
MOST_UNITS = 2.5  # median step of bins, in fragments; 5 or more in averages over 10 bp, about 1 over 2 bp
LEAST_IN_ONE_BIN = -0.15  # R(1) / R(0) of bins; -0.5 if each item is in one bin, -0.03 or more in coverage
REMEDY = (
    "give the BAM or the fragments, or coverage of fragments at 1 bp without smoothing "
    "(bamCoverage --binSize 1 --extendReads)"
)


class CountCheck:
    """Collects the steps of a coverage, or the values of insertions, and refuses a track that holds no counts.

    ``kind`` is ``coverage`` or ``insertions``. DNA of organelles is left out, because it is too deep to judge.
    """

    def __init__(self, kind: str):
        self.kind, self.seen = kind, 0
        self.gaps = np.zeros(
            LONGEST + 1, dtype=np.int64
        )  # number of steps by the distance from the step before
        self.pieces: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, name: str, place: np.ndarray, value: np.ndarray, length: int) -> None:
        """Add a chromosome: sorted, unique 0-based places, int64, and their steps or values, float64, not 0."""
        if name in ORGANELLES:
            return
        inside = place < length  # where the last bin ends is not a multiple of its width
        place, value = place[inside], value[inside]
        if len(place) < 2:
            return
        gap = np.diff(place)
        self.gaps += np.bincount(gap[gap <= LONGEST], minlength=LONGEST + 1)
        if self.seen >= MOST:
            return
        most = np.quantile(np.abs(value), 0.9)  # a few large values must not outweigh all others
        value = np.clip(value, -most, most)
        size = SAMPLE // PIECES
        starts = [0] if len(place) <= SAMPLE else np.linspace(0, len(place) - size, PIECES).astype(int)
        for start in starts:
            part = slice(start, len(place) if len(starts) == 1 else start + size)
            # copies, so that the whole chromosome does not stay in memory
            self.pieces.append((place[part].copy(), value[part].copy()))
            self.seen += len(self.pieces[-1][0])

    def refine(self, unit: float) -> float:
        """Return the typical size of the steps that are about as small as the smallest, ``unit``.

        bigWig holds float32: where values are large, the smallest step can be a few per cent too small.
        """
        size = np.abs(np.concatenate([np.zeros(0), *(value for _, value in self.pieces)]))
        small = size[size < 1.1 * unit]
        return float(np.median(small)) if len(small) else unit

    def check(self, path, unit: float) -> None:
        """Raise :class:`InputError` if the track holds no counts. Counts of bins are reported in the log.

        ``unit`` is the step of one fragment.
        """
        if self.seen < ENOUGH:
            return
        width = self._width() if self.kind == "coverage" else 1
        longest = LONGEST if self.kind == "coverage" and width == 1 else 2 * APART
        products = sum(
            _products((place - place[0]) // width, value / np.abs(value).max(), longest)
            for place, value in self.pieces
        )
        like = products / products[0]
        lag = APART if self.kind == "insertions" else 1
        smooth = like[lag] > LEAST_LIKE and (1 - like[lag]) < MOST_AT_ONCE * (1 - like[2 * lag])
        if self.kind == "insertions":
            if smooth:
                problem = (
                    "values of neighbouring bases are alike, as in a smoothed track: an insertion counts"
                )
                remedy = "give unsmoothed counts of cut sites per base, the BAM or the fragments"
                raise InputError(path, f"{problem} several times", remedy)
        elif width > 1:
            self._check_bins(path, unit, like[1], width)
        elif smooth:
            problem = "values change gradually, as in a smoothed track; their steps are not ends of fragments"
            raise InputError(path, problem, REMEDY)
        else:
            excess = (like[2:] + like[:-2]) - 2 * like[1:-1]  # of the lengths 1, 2, ...
            best = SHORTEST + int(np.argmax(excess[SHORTEST - 1 :]))
            if excess[best - 1] > MOST_SAME_LENGTH:
                problem = f"most items are {best} bp long, like cut sites that MACS extends, or single reads"
                raise InputError(path, f"{problem}; their ends are not cut sites", REMEDY)

    def _width(self) -> int:
        """Return the width of bins in bp, 1 if there are none: nearly all steps are a multiple of it apart.

        Not all, because the grid may restart, as behind a region that was left out.
        """
        total = self.gaps.sum()
        widths = (width for width in range(LONGEST, 1, -1) if self.gaps[::width].sum() >= ON_GRID * total)
        return next(widths, 1) if total else 1

    def _check_bins(self, path, unit: float, like: float, width: int) -> None:
        size = np.abs(np.concatenate([value for _, value in self.pieces]))
        units, bins = float(np.median(size)) / unit, f"{width} bp"
        if like < LEAST_IN_ONE_BIN:
            problem = f"most items lie in only one bin of {bins}: cut sites, reads, or bins that are too wide"
            raise InputError(path, problem, REMEDY)
        if units > MOST_UNITS or abs(unit * width - 1) < 0.001:
            problem = (
                f"values are averages of bins of {bins}, or smoothed (a typical step is {units:.1f} times the"
            )
            raise InputError(path, f"{problem} smallest); their steps are not ends of fragments", REMEDY)
        say(
            f"WARNING {path}: values are counts in bins of {bins}, so ends of fragments are known to {bins} only, and "
            "ends in one bin cancel (bins of 50 bp lost 22 to 63 % of the insertions in tests); better "
            f"{REMEDY}"
        )


def _products(place: np.ndarray, value: np.ndarray, longest: int) -> np.ndarray:
    """Sum the products of values by their distance, 0 to ``longest``: float64 (longest + 1,)."""
    total = np.zeros(longest + 1)
    total[0] = np.sum(value * value)
    for ahead in range(1, len(place)):
        distance = place[ahead:] - place[:-ahead]
        near = distance <= longest
        if not near.any():
            break
        total += np.bincount(distance[near], (value[ahead:] * value[:-ahead])[near], minlength=longest + 1)
    return total
