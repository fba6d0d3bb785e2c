"""TF activity of a cell: its insertions at the sites that the network predicts, relative to similar windows.

The network tells where a TF can bind. How active the TF is in a cell is read from the insertions of the cell, own and
borrowed, because their sum over many windows stays informative at low depth, where the predictions of a single cell
move towards the prior. The correction is that of chromVAR (Schep et al. 2017, Methods, "Bias-corrected deviations"),
with predicted binding as weights instead of motif matches. x(c, w) are the insertions in the context of window w. d(c)
is the depth of the cell, and o(w) the openness: the mean of x over d of all cells. v(w, t) is the mean P(bound) of TF t
in reference cells (:class:`scbind.binding.profile.Profile`).

* Response of the cell at a window: q(c, w) = x(c, w) / (d(c) o(w)). Windows with o(w) = 0 are left out of all sums.
* Response of the cell at the sites of TF t: R = sum_w v(w, t) q(c, w) / sum_w v(w, t).
* Background response, which any TF would show at similar sites: R_b = sum_w v(w, t) q(c, pi_b(w)) / sum_w v(w, t).
  pi_b(w) is a window with the GC content and accessibility of w, drawn anew for each b.
* z = (log R - mean_b log R_b) / sd_b(log R_b). z is not standard normal: windows overlap and sites of a TF lie
  together, so in cells that do not differ its standard deviation is about 1.2.
* A cell with few insertions has none in some of the sums. Responses are therefore floored at that of half an insertion,
  r = 1 / (2 e), where e = d(c) sum_w v(w, t) o(w) is the number of insertions expected at the sites. If a
  background response was below r, sd_b is at least 1 / sqrt(e), that of counts.

The depth of the cell cancels in log R - log R_b. chromVAR's ratio of sums would weigh windows by openness, so that few
windows that are open in all cells would dominate.

The sum over w is computed as a sum over the drawn windows w' = pi_b(w). A block of windows then needs one matrix
product, and no value is stored per window. All terms are rounded to binary fractions before they are added. Every sum
is then exact in float64, so no bit depends on the order or the blocks in which windows and cells come.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import scipy.sparse as sp

from scbind.binding.profile import P_STEPS, TINY, Profile

# Lower limit of the standard deviation of log R_b. With very many windows the draws agree almost perfectly, and
# rounding would determine z. 0.001 is a change of the response by 0.1 %.
SD_FLOOR = 1e-3
# Upper limit of the response at a window. Without it, a window in which other cells have hardly any insertion could
# dominate a sum.
RESPONSE_CAP = 50.0
CELLS_AT_ONCE = 256  # cells per block when z is computed; it bounds the memory of temporary arrays
WINDOWS_AT_ONCE = 4096  # windows per block when binding is summed; likewise
# Terms are rounded to multiples of 1 / Q_STEPS and 1 / V_STEPS. A product of q and v is then a multiple of 2**-33, so
# sums below 2**20 are exact. The sums are about as large as the number of bound windows.
Q_STEPS, V_STEPS = 2.0**18, 2.0**15


@dataclass
class ActivitySums:
    """Sums over windows from which TF activity is computed, added up block by block.

    ``depth``, shape (cells,), is in insertions per base. Only the first ``n_assayed`` TFs, those with ChIP-seq, get
    votes (``None``: all). Otherwise no TF changes the result of another. The binding of the ``profile`` is rounded in
    place.
    """

    profile: Profile
    depth: np.ndarray
    n_assayed: int | None = None
    binding: np.ndarray = field(init=False)  # of the profile, rounded: float32 (windows, TFs), which is exact
    arrays: dict = field(init=False)

    KEPT: ClassVar = ("z", "binding_sum", "votes", "background_draws")

    def __post_init__(self):
        # in place, because it may have gigabytes; a reference of an older version is float64
        self.binding = self.profile.binding.astype(np.float32, copy=False)
        for first in range(0, len(self.binding), WINDOWS_AT_ONCE):
            part = slice(first, first + WINDOWS_AT_ONCE)
            self.binding[part] = np.rint(self.profile.binding[part] * V_STEPS) / V_STEPS
        self.profile = replace(self.profile, binding=self.binding)
        background = self.profile.background
        n_cells, n_tfs, draws = len(self.depth), self.binding.shape[1], len(background)
        # sorted by the drawn window, so that the windows of a block are one slice of each draw
        known = self.profile.openness > 0
        counted, total = np.concatenate([known[None], known[background]]), np.zeros((1 + draws, n_tfs))
        for first in range(0, len(known), WINDOWS_AT_ONCE):
            part = slice(first, first + WINDOWS_AT_ONCE)
            total += counted[:, part].astype(np.float64) @ self.binding[part].astype(np.float64)
        self._sites, self._drawn = total[0], total[1:]
        self._order = np.argsort(background, axis=1, kind="stable").astype(np.int32)
        self._hit = np.take_along_axis(background, self._order, axis=1)
        self.arrays = {
            "binding_sum": np.zeros((n_cells, n_tfs)),
            "response_sum": np.zeros((n_cells, n_tfs)),
            "background_sum": np.zeros((n_cells, draws, n_tfs)),
            "votes": np.zeros((n_cells, n_tfs), dtype=np.int64),
        }

    def weights(self, start: int, stop: int) -> np.ndarray:
        """Return the weights of windows ``start`` to ``stop`` (half-open) in each background sum.

        float64, shape (stop - start, draws * TFs).
        """
        columns = []
        for order, hit in zip(self._order, self._hit, strict=True):
            low, high = np.searchsorted(hit, [start, stop])
            scatter = sp.csr_array(
                (np.ones(high - low), (hit[low:high] - start, np.arange(high - low))),
                shape=(stop - start, high - low),
            )
            columns.append(scatter @ self.binding[order[low:high]])
        return np.concatenate(columns, axis=1)

    def add(
        self,
        row: int,
        window: int,
        probability: np.ndarray,
        insertions: np.ndarray,
        weights: np.ndarray,
        has_signal: np.ndarray,
    ) -> None:
        """Add the predictions and insertions of a block of cells and windows to the sums.

        Parameters
        ----------
        row, window
            First cell (row of the sums) and first window of the block.
        probability
            P(bound): float32, shape (cells, windows, TFs).
        insertions
            Insertions in the context of each window, own and borrowed: float32, shape (cells, windows).
        weights
            Result of :meth:`weights` for these windows.
        has_signal
            bool, shape (cells, windows): True if the cell has an insertion, its own or borrowed, in the window.
            Only these windows vote.
        """
        rows = slice(row, row + len(probability))
        exact = np.multiply(probability, np.float32(P_STEPS))  # exact: a power of two
        np.rint(exact, out=exact)
        self.arrays["binding_sum"][rows] += exact.sum(axis=1, dtype=np.float64) / P_STEPS
        block = slice(window, window + probability.shape[1])
        expected = np.outer(self.depth[rows].astype(np.float64), self.profile.openness[block])
        response = np.divide(insertions, expected, out=np.zeros(expected.shape), where=expected > 0)
        np.minimum(response, RESPONSE_CAP, out=response)
        response = np.rint(response * Q_STEPS) / Q_STEPS
        self.arrays["response_sum"][rows] += response @ self.binding[block]
        flat = response @ weights
        self.arrays["background_sum"][rows] += flat.reshape(len(flat), len(self.profile.background), -1)
        assayed = probability[:, :, : self.n_assayed]
        self.arrays["votes"][rows, : self.n_assayed] += top_two_votes(assayed, has_signal)

    def kept(self) -> dict:
        """Return the arrays that a shard stores (``KEPT``). Call it after all blocks are added.

        ``z`` float32 (:func:`background_corrected`), ``binding_sum`` float64 and ``votes`` int64 have shape (cells,
        TFs). ``background_draws`` is the number of draws, int64. The background sums are not stored, because they are
        larger by a factor of the number of draws.
        """
        sums, parts = self.arrays, []
        at_sites = np.einsum("w,wt->t", self.profile.openness, self.binding)  # in one order, unlike BLAS
        for first in range(0, max(len(self.depth), 1), CELLS_AT_ONCE):
            rows = slice(first, first + CELLS_AT_ONCE)
            response = sums["response_sum"][rows] / np.maximum(self._sites, TINY)
            drawn = sums["background_sum"][rows] / np.maximum(self._drawn, TINY)
            expected = np.outer(self.depth[rows], at_sites)
            parts.append(background_corrected(response, drawn, expected))
        draws = np.int64(len(self.profile.background))
        return dict(
            zip(self.KEPT, (np.concatenate(parts), sums["binding_sum"], sums["votes"], draws), strict=True)
        )


def top_two_votes(probability: np.ndarray, has_signal: np.ndarray) -> np.ndarray:
    """Count votes: each window votes for its two most probable TFs (the activity score of Fu et al. 2020).

    ``probability`` has shape (cells, windows, TFs). ``has_signal`` is bool, shape (cells, windows): only windows where
    it is True vote. Ties go to the TF that is listed first. Returns int64, shape (cells, TFs).
    """
    n_cells, _, n_tfs = probability.shape
    votes = np.zeros((n_cells, n_tfs), dtype=np.int64)
    cell = np.nonzero(has_signal)[0]
    left = probability[has_signal]
    for _ in range(min(2, n_tfs) if len(left) else 0):
        best = left.argmax(axis=1)
        votes += np.bincount(cell * n_tfs + best, minlength=n_cells * n_tfs).reshape(n_cells, n_tfs)
        left[np.arange(len(left)), best] = -1
    return votes


def background_corrected(response: np.ndarray, background: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return z: the response at a TF's sites, compared with matched sites.

    The formula is in the docstring of this module.

    Parameters
    ----------
    response
        shape (cells, TFs): R.
    background
        shape (cells, draws, TFs): R_b.
    expected
        shape (cells, TFs): insertions expected at the sites, e.

    Returns
    -------
    float32, shape (cells, TFs). z is 0 where neither the TF's sites nor matched ones have an insertion.
    """
    expected = np.maximum(expected, TINY)
    least = 0.5 / expected
    own = np.log(np.maximum(response, least))
    drawn = np.log(np.maximum(background, least[:, None]))
    spread = np.maximum(drawn.std(axis=1, ddof=1), SD_FLOOR)
    rare = (background < least[:, None]).any(axis=1)
    spread = np.where(rare, np.maximum(spread, 1 / np.sqrt(expected)), spread)
    return ((own - drawn.mean(axis=1)) / spread).astype(np.float32)
