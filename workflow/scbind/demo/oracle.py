"""The best that can be done on the demo by one who knows motifs and openness, but not the coin flips.

A simulated site is bound where it can be bound (one draw with chance ``strength``, which follows from what the TF truly
prefers: its motif with flanks, partner and context), its element is open and the TF active. The oracle knows strengths
and openness. It does not know the draws, nor the noise of the ChIP-seq peaks: what it misses, nobody can predict from
sequence and accessibility. It knows no more of depth than that it is infinite.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from scipy.stats import norm

from scbind.core.files import write_table
from scbind.dataset.trainingset import TrainingSet
from scbind.demo.simulate_sites import PEAK_REACH, SUMMIT_SD
from scbind.demo.truthfiles import Truth
from scbind.evaluation.evaluate import score_test_windows, write_curves
from scbind.evaluation.registry import ORACLE

SURE = 1 - 1e-6  # chances are kept below one, so that their complements can be multiplied


def evaluate_oracle(
    truth: str | Path, dataset: str | Path, reference: str | Path, metrics: str | Path, curves: str | Path
) -> None:
    """Write the rows of model ``oracle`` for the test windows of the simulated lines, and their ``curves.npz``.

    The score of a window is the chance that a peak of one of its sites covers more than half of it, each site in an
    element that is open in the line. Raises :class:`InputError` where ``truth`` lacks a line of the dataset.
    """
    data, known = TrainingSet.open(dataset, reference), Truth(truth)
    table, drawn = score_test_windows(data, partial(line_chance, known, data), ORACLE, Path(curves).parent)
    write_table(metrics, table)
    write_curves(drawn, curves)


def line_chance(known: Truth, data: TrainingSet, line: int, window: np.ndarray) -> np.ndarray:
    """Chance that each window is labelled bound, had every site its own peak: float32 (windows, TFs of the dataset)."""
    sites, _ = known.sites()
    sites = sites[known.open_in(data.lines[line])[sites["column"].to_numpy()]]
    sizes, width = data.genome.sizes, data.manifest["window"]
    centre = (sites["start"].to_numpy() + sites["end"].to_numpy()) // 2
    centre = centre + sizes.offsets[[sizes.index(name) for name in sites["chrom"]]]
    middle = sizes.offsets[data.chrom[window]] + data.start[window] + width // 2
    order = np.argsort(middle, kind="stable")
    reach = PEAK_REACH[1] + 5 * SUMMIT_SD
    scores = np.zeros((len(window), len(data.tfs)), dtype=np.float32)
    for column, tf in enumerate(data.tfs):
        mine = (sites["tf"] == tf).to_numpy()
        here, strength = centre[mine], sites["strength"].to_numpy()[mine]
        first, last = (np.searchsorted(middle[order], here + side * reach) for side in (-1, 1))
        site = np.repeat(np.arange(len(here)), last - first)
        place = np.arange(len(site)) - np.repeat(np.cumsum(last - first) - last, last - first)
        chance = strength[site] * half_covered(middle[order[place]] - here[site])
        scores[order, column] = combined(chance[None], place, len(window))[0]
    return scores


def half_covered(distance: np.ndarray) -> np.ndarray:
    """Chance that a peak covers more than half of a window, by the distance (bp) from the site to its middle.

    A peak is longer than a window, so it does where it reaches over the window's middle: it ends ``PEAK_REACH``
    (uniform) on either side of a summit that lies ``SUMMIT_SD`` (normal) around the site.
    """
    reach = np.arange(*PEAK_REACH)
    distance = np.asarray(distance, dtype=float)[..., None]
    beyond = norm.cdf((distance + reach) / SUMMIT_SD) - norm.cdf((distance - reach) / SUMMIT_SD)
    return beyond.mean(axis=-1)


def combined(chance: np.ndarray, place: np.ndarray, n_windows: int) -> np.ndarray:
    """Chance that at least one of a window's independent sites is bound.

    ``chance`` (rows, pairs) of each pair of a site and a window, ``place`` (pairs,) the window. Returns float64 (rows,
    windows), 0 without a site.

    Examples
    --------
    >>> combined(np.array([[0.5, 0.5, 0.2]]), place=np.array([0, 0, 1]), n_windows=3).round(2).tolist()
    [[0.75, 0.2, 0.0]]
    """
    pairs = np.arange(len(place))
    gather = sp.csr_matrix((np.ones(len(place)), (pairs, place)), shape=(len(place), n_windows))
    return 1 - np.exp(np.log1p(-np.minimum(chance, SURE)) @ gather)
