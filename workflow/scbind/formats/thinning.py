"""Which fragments of a track are left at a lower depth. A cell lacks whole fragments, so both cuts go together.

What is kept follows from the number of the fragment and a salt alone: it is the same however windows, bins and
batches are cut, and what is kept at a small share is part of what is kept at a larger one. An insertion that is the
only one of its fragment is kept or lost on its own.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from scbind.formats.signal import CellSignal, n_bins, pieces, stretches

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

    Examples
    --------
    >>> import numpy as np
    >>> fragment = np.arange(10_000)
    >>> kept, fewer = (is_kept(fragment, share, make_salt(1, 0)) for share in (0.5, 0.1))
    >>> round(float(kept.mean()), 1), round(float(fewer.mean()), 1), (kept | ~fewer).all().item()
    (0.5, 0.1, True)
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
    """Count the insertions that are kept, in the bins of windows; see :func:`scbind.formats.signal.track_counts`.

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


def thinned_borrowed(
    signal: CellSignal,
    borrow: sparse.csr_matrix,
    global_starts: np.ndarray,
    width: int,
    bin_bp: int,
    keep: np.ndarray,
    salt: np.ndarray,
) -> np.ndarray:
    """What cells with all that they borrow would show if each lender had only a share of its insertions.

    Parameters
    ----------
    signal, borrow
        Insertions of a sample's cells, and csr (cells, cells of the sample) of the weights of those borrowed from.
    global_starts, width, bin_bp
        int64 (W,), global starts of the windows; their length and that of a bin in bp.
    keep, salt
        float (cells,) and uint64 (cells,): the share of each row of ``borrow``, and a salt of its own.

    Returns
    -------
    numpy.ndarray
        float32 (cells, W, bins), insertions times weights. At a share of 1 it is
        :func:`scbind.formats.signal.borrowed`. Each
        insertion is kept or lost for itself, by its place in the file, so blocks change no bit. The cost grows with the
        insertions under the windows times the number of cells that borrow each.
    """
    bins, n_windows = n_bins(width, bin_bp), len(global_starts)
    lent = borrow.T.tocsr()  # row = lender, columns = who borrows
    counts = np.zeros(borrow.shape[0] * n_windows * bins)
    for _, window, index in stretches(signal.position, np.asarray(global_starts, dtype=np.int64), width):
        lender = signal.cell[index]
        column = window * bins + (signal.position[index] - global_starts[window]) // bin_bp
        copies = np.diff(lent.indptr)[lender]
        for part in pieces(copies):
            count = copies[part]
            before = np.cumsum(count) - count
            entry = np.repeat(np.arange(part.start, part.stop), count)
            place = np.arange(len(entry)) + np.repeat(lent.indptr[lender[part]] - before, count)
            cell = lent.indices[place].astype(np.int64)
            kept = is_kept(index[entry], keep[cell], salt[cell])
            where = cell[kept] * (n_windows * bins) + column[entry[kept]]
            np.add.at(counts, where, lent.data[place[kept]])
    signal.forget()
    return counts.astype(np.float32).reshape(borrow.shape[0], n_windows, bins)
