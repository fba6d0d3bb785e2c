"""Labels of windows, stored as lists of those that are bound or ambiguous, because almost all are unbound."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scbind.core.files import map_npy
from scbind.dataset.codes import AMBIGUOUS, BOUND, NOT_ASSAYED, UNBOUND

BLOCK = 1 << 20  # windows read at a time
FILES = {AMBIGUOUS: "ambiguous.npy", BOUND: "bound.npy"}


class SparseLabels:
    """Read like an int8 array (lines, windows, TFs) of codes (:mod:`scbind.dataset.codes`).

    ``labels[line, window]`` is a new int8 array (windows, TFs). ``line`` is a number or an int array; ``window`` is an
    int array, a mask or a slice. A third index selects TFs. With the 15 million windows of the human genome, an array
    would take 1 GB per line and 65 TFs. The lists take 8 bytes per bound or ambiguous window and TF.

    Parameters
    ----------
    places
        Of each code in ``FILES``, its places in the flattened array: int64, sorted.
    assayed
        Bool (lines, TFs).
    n_windows
        Number of windows.

    Examples
    --------
    >>> labels = SparseLabels({BOUND: np.array([3]), AMBIGUOUS: np.array([4])}, np.array([[True, True]]), n_windows=3)
    >>> labels[0, [1, 2]].tolist(), labels[0, :, 1].tolist()
    ([[0, 1], [-1, 0]], [0, 1, 0])
    """

    def __init__(self, places: dict[int, np.ndarray], assayed: np.ndarray, n_windows: int):
        self.places = places
        self.without = np.where(assayed, UNBOUND, NOT_ASSAYED).astype(np.int8)
        self.shape = len(assayed), n_windows, assayed.shape[1]

    @classmethod
    def of(cls, labels: np.ndarray) -> SparseLabels:
        """Those of a whole array, int8 (lines, windows, TFs)."""
        places = {code: np.flatnonzero(labels == code) for code in FILES}
        return cls(places, (labels != NOT_ASSAYED).any(axis=1), labels.shape[1])

    @classmethod
    def open(cls, folder: Path, again: str, assayed: np.ndarray, n_windows: int) -> SparseLabels:
        """Map the files in ``folder``. Raises :class:`InputError` with the remedy ``again`` if one is damaged."""
        places = {code: np.asarray(map_npy(folder / name, again)) for code, name in FILES.items()}
        return cls(places, assayed, n_windows)

    def save(self, folder: Path) -> None:
        """Write the files that :meth:`open` reads; ``assayed`` and the number of windows are not among them."""
        for code, name in FILES.items():
            np.save(folder / name, self.places[code])

    def __getitem__(self, key) -> np.ndarray:
        """Labels of some windows, as of an array."""
        line, window, *tf = key if isinstance(key, tuple) else (key, slice(None))
        line, window = np.broadcast_arrays(line, self._numbers(window))
        labels = self.without[line]
        for code in self.places:
            row, column = self._find(code, line, window)
            labels[row, column] = code
        return labels[:, tf[0]] if tf else labels

    def bound(self, line: int, window) -> tuple[np.ndarray, np.ndarray]:
        """Where some windows of a line are bound: numbers in ``window`` and TFs, int64 (n,), sorted by both.

        Reads ``BLOCK`` windows at a time, so that it needs little more memory than its results.
        """
        window, found = self._numbers(window), []
        for begin in range(0, len(window), BLOCK):
            row, tf = self._find(BOUND, line, window[begin : begin + BLOCK])
            found.append((row + begin, tf))
        none = np.empty(0, dtype=np.int64)
        return tuple(map(np.concatenate, zip((none, none), *found, strict=True)))

    def _numbers(self, window) -> np.ndarray:
        """The numbers of the windows that an index selects: int (n,)."""
        if isinstance(window, slice):
            return np.arange(*window.indices(self.shape[1]))
        window = np.asarray(window)
        return np.flatnonzero(window) if window.dtype == bool else window

    def _find(self, code: int, line, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where pairs of line and window have a code: numbers of the pairs and TFs, int64 (n,), sorted by both."""
        places, n_tfs = self.places[code], self.shape[2]
        begin = (np.asarray(line, dtype=np.int64) * self.shape[1] + window) * n_tfs
        first, last = np.searchsorted(places, [begin, begin + n_tfs])
        count = last - first
        pair = np.repeat(np.arange(len(begin)), count)
        listed = np.arange(len(pair)) + np.repeat(first - np.cumsum(count) + count, count)
        return pair, places[listed] - begin[pair]

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        """All labels as an array; only for small datasets."""
        return np.stack([self[line] for line in range(self.shape[0])]).astype(dtype or np.int8)

    def of_tf(self, line: int, tf: int) -> np.ndarray:
        """Labels of one TF in all windows of a line: int8 (windows,)."""
        _, n_windows, n_tfs = self.shape
        labels = np.full(n_windows, self.without[line, tf])
        ends = np.array([line, line + 1]) * n_windows * n_tfs
        for code, places in self.places.items():
            window, column = np.divmod(places[slice(*np.searchsorted(places, ends))] - ends[0], n_tfs)
            labels[window[column == tf]] = code
        return labels
