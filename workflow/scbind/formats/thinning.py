"""Thin the fragments of a track to a lower depth. A shallow cell lacks whole fragments, so both cuts go together.

The choice depends only on the number of the fragment and on a salt. It is therefore the same for all sizes of windows,
bins and batches. The fragments kept at a small share are a subset of those kept at a larger share. An insertion without
a partner is kept or dropped on its own.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from scbind.formats.signal import CellSignal, n_bins, pieces, stretches

STEP, FIRST, SECOND = (
    np.uint64(c) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)  # of SplitMix64 (Steele et al. 2014)


def make_salt(*numbers: int) -> np.uint64:
    """Derive a salt from numbers (>= 0), such as a seed and the index of a cell line."""
    return np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]


def is_kept(fragment: np.ndarray, keep: float | np.ndarray, salt: np.uint64 | np.ndarray) -> np.ndarray:
    """Tell which fragments are kept at a share: bool, shape of ``fragment``.

    ``fragment`` holds numbers of fragments (integer, >= 0). ``keep`` (shares in [0, 1]) and ``salt`` (uint64) are
    scalars or have that shape. SplitMix64, seeded with the salt, gives fragment n its n-th number, uniform in [0, 1).
    The fragment is kept if this number is below the share. A share of 1 keeps all.

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
    """Count the kept insertions in the bins of windows; see :func:`scbind.formats.signal.track_counts`.

    Parameters
    ----------
    positions, fragments
        uint32 (insertions,): sorted global positions, and the fragment number of each insertion; may be memory maps.
    global_starts, width, bin_bp
        int64 (W,), global starts of the windows, in any order; length of a window and of a bin in bp.
    keep, salt
        float (W,) and uint64 (W,): share and salt of each window.

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
    """Count the insertions that cells borrow if each lender, the cell included, keeps only a share of its insertions.

    Parameters
    ----------
    signal, borrow
        Insertions of the cells of a sample, and csr (cells, cells of the sample): the weights of the lenders.
    global_starts, width, bin_bp
        int64 (W,), global starts of the windows; length of a window and of a bin in bp.
    keep, salt
        float (cells,) and uint64 (cells,): share and salt of each row of ``borrow``.

    Returns
    -------
    numpy.ndarray
        float32 (cells, W, bins), insertions times weights. With a share of 1 it equals
        :func:`scbind.formats.signal.borrowed`. Each insertion is kept or dropped on its own, by its index in the file,
        so the size of blocks does not change the result. The cost grows with the insertions under the windows times
        the number of cells that borrow each.
    """
    bins, n_windows = n_bins(width, bin_bp), len(global_starts)
    lent = borrow.T.tocsr()  # row = lender, columns = cells that borrow from it
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
