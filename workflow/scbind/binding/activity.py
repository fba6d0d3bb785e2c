"""TF activity of a cell: predicted binding over all windows, corrected for the cell's general response.

The correction is chromVAR's (Schep et al. 2017, Methods, "Bias-corrected deviations") with motif matches and
counts replaced by predicted binding, and expected counts by what cells *of the same depth*
show. With v_d(w, t) the mean P(bound) of reference cells thinned to depth d
(:class:`scbind.binding.profile.Profile`), v their mean over depths, and P(c, w, t) that of a cell of depth d:

* response of the cell at TF t's sites: R = sum_w P(c, w, t) / sum_w v_d(w, t);
* its general response at a window: q(c, w) = sum_t P(c, w, t) / sum_t v_d(w, t), the expected number of bound
  TFs against that of the reference profile;
* what any factor would show at sites like these: with pi_b(w) a window that has the GC content and
  accessibility of w, R_b = sum_w v(w, t) q(c, pi_b(w)) / sum_w v(w, t), for each of a number of draws b;
* z = (log R - mean_b log R_b) / sd_b(log R_b).

Against one profile for all depths, z follows depth closely: a network is bolder the more it sees, and not alike for
all TFs. The reference profile has to come from thinned cells, not from one mean cell: what a network says of noisy
counts is not what it says of their mean.

R is the mean of the TF's own response with weights v, so R_b must weigh windows by v alone: chromVAR's ratio
of sums would weigh them by v(w, t) times the general binding at pi_b(w), which favours open windows twice.
The sum over w is rewritten over the drawn windows w' = pi_b(w), so that a block of windows needs one matrix
product and nothing is kept per window. All terms are rounded to binary fractions before they are added, so that every
sum is exact in float64: no bit depends on the order or the blocks in which windows and cells come.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from scbind.binding.profile import P_STEPS, TINY, Profile, expected_at
from scbind.binding.shards import Shard, check_shards
from scbind.core.errors import InputError
from scbind.core.files import atomic, read_result
from scbind.core.runlog import say
from scbind.dataset.splits import PROTOCOL
from scbind.formats.celltable import read_passing_cells
from scbind.models.abstention import abstained, reliability_table

# Smallest spread of log R_b that is believed. With very many windows the draws agree almost perfectly and
# rounding would decide z; 0.001 is a change of the response by a tenth of a percent.
SD_FLOOR = 1e-3
# Largest general response that is believed: a window that the reference profile hardly binds must not rule a draw
# alone.
RESPONSE_CAP = 50.0
CELLS_AT_ONCE = 256  # whose background sums are turned into z at once: temporaries are some times as large
# Steps of the rounded terms. A product of q and v is a multiple of 2**-33, so sums below 2**20 are exact; they are
# about the number of bound windows.
Q_STEPS, V_STEPS = 2.0**18, 2.0**15


@dataclass
class ActivitySums:
    """Adds up, block by block, all that the activity of some cells needs.

    ``depth`` (cells,) in insertions per base.
    """

    profile: Profile
    depth: np.ndarray
    arrays: dict = field(init=False)

    KEPT: ClassVar = ("z", "binding_sum", "votes", "background_draws")

    def __post_init__(self):
        self.binding = np.rint(self.profile.binding.astype(np.float64) * V_STEPS) / V_STEPS
        background = self.profile.background
        n_cells, n_tfs, draws = len(self.depth), self.binding.shape[1], len(background)
        self._level = self.profile.at(self.depth)
        # draws sorted by the window that they hit: a block's share is then one slice per draw
        self._order = np.argsort(background, axis=1, kind="stable").astype(np.int32)
        self._hit = np.take_along_axis(background, self._order, axis=1)
        self.arrays = {
            "binding_sum": np.zeros((n_cells, n_tfs)),
            "binding_expected": expected_at(self._level, self.profile.expected),
            "background_sum": np.zeros((n_cells, draws, n_tfs)),
            "background_expected": self.binding.sum(axis=0),
            "votes": np.zeros((n_cells, n_tfs), dtype=np.int64),
        }

    def weights(self, start: int, stop: int) -> np.ndarray:
        """float64, shape (stop - start, draws * TFs): weight of a block's windows in each background sum."""
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
        self, row: int, window: int, probability: np.ndarray, weights: np.ndarray, has_signal: np.ndarray
    ) -> None:
        """Add a block.

        Parameters
        ----------
        row, window
            First cell (row of the sums) and first window of the block.
        probability
            float32, shape (cells, windows, TFs).
        weights
            What :meth:`weights` gives for these windows.
        has_signal
            bool, shape (cells, windows): the cell has a (borrowed) insertion in the window, which then votes.
        """
        rows = slice(row, row + len(probability))
        exact = np.multiply(probability, P_STEPS, dtype=np.float64)
        np.rint(exact, out=exact)
        self.arrays["binding_sum"][rows] += exact.sum(axis=1) / P_STEPS
        total = self.profile.total[:, window : window + probability.shape[1]]
        expected = expected_at(self._level[rows], total)
        response = exact.sum(axis=2) / (P_STEPS * np.maximum(expected, TINY))
        flat = np.rint(np.minimum(response, RESPONSE_CAP) * Q_STEPS) / Q_STEPS @ weights
        self.arrays["background_sum"][rows] += flat.reshape(len(flat), len(self.profile.background), -1)
        self.arrays["votes"][rows] += top_two_votes(probability, has_signal)

    def kept(self) -> dict:
        """What a shard keeps of the sums (``KEPT``) when all blocks are added.

        ``z`` float32 (:func:`background_corrected`), ``binding_sum`` float64 and ``votes`` int64, all of shape (cells,
        TFs), and ``background_draws``. The background sums, draws times as large, are not kept.
        """
        sums, parts = self.arrays, []
        for first in range(0, max(len(self.depth), 1), CELLS_AT_ONCE):
            rows = slice(first, first + CELLS_AT_ONCE)
            cells = (sums[name][rows] for name in ("binding_sum", "binding_expected", "background_sum"))
            parts.append(background_corrected(*cells, sums["background_expected"]))
        draws = np.int64(len(self.profile.background))
        return dict(
            zip(self.KEPT, (np.concatenate(parts), sums["binding_sum"], sums["votes"], draws), strict=True)
        )


def top_two_votes(probability: np.ndarray, has_signal: np.ndarray) -> np.ndarray:
    """Votes of windows for their two most probable TFs (Fu et al. 2020, the published activity score).

    ``probability`` has shape (cells, windows, TFs), ``has_signal`` is bool (cells, windows): only these vote.
    Ties go to the TF that is listed first. Returns int64, shape (cells, TFs).
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


def background_corrected(binding_sum, binding_expected, background_sum, background_expected) -> np.ndarray:
    """Return z of the response at a TF's sites against matched sites; the formula is at the top.

    Parameters
    ----------
    binding_sum, binding_expected
        shape (cells, TFs): sum_w P(c, w, t), and what is expected of it at the cell's depth.
    background_sum, background_expected
        shapes (cells, draws, TFs) and (TFs,): sum_w v(w, t) q(c, pi_b(w)), and sum_w v(w, t).

    Returns
    -------
    float32, shape (cells, TFs). A TF that the reference profile never binds at a cell's depth has no evidence there: 0.
    """
    seen = (np.asarray(background_expected) > TINY) & (np.asarray(binding_expected) > TINY)
    with np.errstate(divide="ignore", invalid="ignore"):
        own = np.log(np.maximum(binding_sum / binding_expected, TINY))
        drawn = np.log(np.maximum(background_sum / background_expected, TINY))
    own[~seen] = 0
    drawn[np.broadcast_to(~seen[:, None], drawn.shape)] = 0
    spread = np.maximum(drawn.std(axis=1, ddof=1), SD_FLOOR)
    return ((own - drawn.mean(axis=1)) / spread).astype(np.float32)


def activity_matrix(shards: list, cells, output, metrics=None) -> None:
    """Write ``results/activity/{sample}.h5ad``: passing cells x TFs.

    ``X`` float32 is z; layer ``mean_binding`` the mean of P(bound) over all windows; layer ``scfan_score``
    the share of the cell's votes that a TF gets (:func:`top_two_votes`). ``obs``, ``X_umap`` and ``X_lsi``
    are those of the cells; ``var`` the calibration's reliability per TF and, from ``metrics``, the mean over
    cell lines of each split's AUPRC. Bool layer ``abstained`` marks what should not be read
    (:mod:`scbind.models.abstention`); the numbers there are finite like all others.

    Parameters
    ----------
    shards
        The ``.npz`` files of all shards of a sample, in any order.
    cells
        ``results/cells/{sample}/cells.h5ad``.
    output
        The ``.h5ad``.
    metrics
        Optional ``metrics.tsv`` of the model.

    Raises
    ------
    InputError
        If the shards are not those of all passing cells, or were made with different models or windows.
    """
    opened = check_shards([Shard.open(path) for path in shards], cells)
    first = opened[0]
    z, binding, votes, depth = (
        np.concatenate([s.array(name) for s in opened]) for name in ("z", "binding_sum", "votes", "depth")
    )
    obs, obsm = read_passing_cells(cells)
    obs["borrowed_depth"] = depth
    adata = ad.AnnData(X=z, obs=obs, var=_reliability(first, metrics), obsm=obsm)
    adata.layers["mean_binding"] = (binding / first.n_windows).astype(np.float32)
    adata.layers["scfan_score"] = (votes / np.maximum(votes.sum(axis=1, keepdims=True), 1)).astype(np.float32)
    adata.layers["abstained"] = abstained(adata.var, obs["borrowed_depth"].to_numpy())
    adata.uns["about"] = {
        "X": "background-corrected activity: z of binding against cells of like depth and windows of like GC "
        "and accessibility",
        "mean_binding": f"mean P(bound) over {first.n_windows} windows",
        "scfan_score": "share of the votes of windows with signal for their two likeliest TFs (Fu 2020)",
        "abstained": "True where accuracy for the TF is low or unknown, or the cell below var min_depth",
        "borrowed_depth": "insertions per base of the cell and the cells it borrows",
        "windows": first.n_windows,
        "background_draws": int(first.array("background_draws")),
    }
    with atomic(output) as scratch:
        adata.write_h5ad(scratch)
    say(f"activity of {adata.n_vars} TFs in {adata.n_obs} cells")


def _reliability(shard: Shard, metrics) -> pd.DataFrame:
    """What is known about each TF's predictions, one row per TF in the model's order."""
    var = reliability_table(shard.reliability, shard.tfs)
    if metrics is not None:
        table = read_result(metrics, "evaluate the model first")
        missing = {"tf", "split", "auprc"} - set(table.columns)
        if missing:
            raise InputError(
                metrics, f"has no column {', '.join(sorted(missing))}", "evaluate the model again"
            )
        for split, part in table[table["split"] != PROTOCOL].groupby("split"):
            var[f"{split}_auprc"] = part.groupby("tf").auprc.mean().reindex(shard.tfs).to_numpy()
    return var
