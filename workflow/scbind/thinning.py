"""Which fragments of a track are left at a lower depth. A cell lacks whole fragments, so both cuts go together.

What is kept follows from the number of the fragment and a salt alone: it is the same however windows, bins and
batches are cut, and what is kept at a small share is part of what is kept at a larger one. An insertion that is the
only one of its fragment is kept or lost on its own.
"""

from __future__ import annotations

import numpy as np

from scbind.signal import n_bins, stretches

STEP, FIRST, SECOND = (
    np.uint64(c) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)  # of SplitMix64 (Steele et al. 2014)


def make_salt(*numbers: int) -> np.uint64:
    """A salt that follows from numbers (>= 0), such as a seed and a line."""
    return np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]


def is_kept(fragment: np.ndarray, keep: float | np.ndarray, salt: np.uint64 | np.ndarray) -> np.ndarray:
    """Whether fragments are kept at a share: bool, shape of ``fragment``.

    ``fragment`` holds numbers of fragments (integer, >= 0); ``keep`` (shares in [0, 1]) and ``salt`` (uint64) are
    one number or of that shape. Fragment n is kept where the n-th number that SplitMix64 gives from the salt on, as a
    uniform one in [0, 1), lies below the share; so at 1 all are kept.
    """
    mixed = np.asarray(fragment, dtype=np.uint64) * STEP
    mixed += salt
    for shift, factor in ((30, FIRST), (27, SECOND)):
        mixed ^= mixed >> np.uint64(shift)
        mixed *= factor
    mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)) * 2.0**-53 < keep


def thinned_counts(
    positions: np.ndarray,
    fragments: np.ndarray,
    global_starts: np.ndarray,
    width: int,
    bin_bp: int,
    keep: np.ndarray,
    salt: np.ndarray,
) -> np.ndarray:
    """Count the insertions that are kept, in the bins of windows; see :func:`scbind.signal.track_counts`.

    Parameters
    ----------
    positions, fragments
        uint32 (insertions,): sorted global positions, and the number of each one's fragment; may be memory maps.
    global_starts, width, bin_bp
        int64 (W,), global starts of the windows, in any order; their length and that of a bin in bp.
    keep, salt
        float (W,) and uint64 (W,): each window has a share and a salt of its own.

    Returns
    -------
    numpy.ndarray
        float32 (W, width // bin_bp), insertions per bin. The cost grows with the insertions under the windows.
    """
    bins = n_bins(width, bin_bp)
    counts = np.zeros((len(global_starts), bins), dtype=np.float32)
    for part, window, index in stretches(positions, global_starts, width):
        kept = is_kept(fragments[index], keep[window], salt[window])
        window = window[kept]
        offset = positions[index[kept]] - global_starts[window]
        place = (window - part.start) * bins + offset // bin_bp
        number = np.bincount(place, minlength=(part.stop - part.start) * bins)
        counts[part] = number.reshape(-1, bins)
    return counts
