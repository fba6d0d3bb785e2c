"""The oracle: an upper bound for predictions from sequence and accessibility on the demo.

A simulated site is bound if it is bindable, its element is open and the TF is active. Whether a site is bindable is one
random draw with probability ``strength``. The strength follows from the true preference of the TF: motif, flanks,
partner and context. The oracle knows the strengths and the openness. It does not know the random draws or the noise of
the ChIP-seq peaks. Nobody can predict these from sequence and accessibility. The oracle assumes infinite depth.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.special import ndtr

from scbind.core.files import write_table
from scbind.dataset.trainingset import TrainingSet
from scbind.demo.simulate_sites import PEAK_REACH, SUMMIT_SD, centre_of
from scbind.demo.truthfiles import Truth
from scbind.evaluation.evaluate import kinds_beside_given, score_test_windows, write_curves
from scbind.evaluation.registry import ORACLE
from scbind.formats.genome import ChromSizes

SURE = 1 - 1e-6  # maximum probability of a site, so that the logarithm of its complement is finite


def evaluate_oracle(
    truth: str | Path,
    dataset: str | Path,
    reference: str | Path,
    metrics: str | Path,
    curves: str | Path,
    given: Sequence[str | Path] = (),
) -> None:
    """Write metrics and curves (``curves.npz``) of the model ``oracle`` on the test windows of the simulated lines.

    Only sites in elements that are open in the line count. The score of a window is the probability that a peak of at
    least one of these sites covers more than half of the window. ``given`` is that of
    :func:`scbind.evaluation.baselines.evaluate_baselines`. Raises :class:`InputError` if ``truth`` lacks a line of the
    dataset.
    """
    data, known = TrainingSet.open(dataset, reference), Truth(truth)
    table, drawn = score_test_windows(
        data,
        partial(line_chance, known, data),
        ORACLE,
        Path(curves).parent,
        kinds=kinds_beside_given(data, given),
    )
    write_table(metrics, table)
    write_curves(drawn, curves)


def line_chance(known: Truth, data: TrainingSet, line: int, window: np.ndarray) -> np.ndarray:
    """Return the probability that each window is labelled bound: float32 (windows, TFs of the dataset).

    The probability assumes that every bound site has its own peak. ``window`` holds row numbers of the dataset.
    """
    sites, _ = known.sites()
    sites = sites[known.open_in(data.lines[line])[sites["column"].to_numpy()]]
    windows = (data.chrom[window], data.start[window], data.manifest["window"])
    site, place, distance = sites_near(sites, *windows, PEAK_REACH[1] + 5 * SUMMIT_SD, data.genome.sizes)
    chance = sites["strength"].to_numpy()[site] * half_covered(distance)
    tf = sites["tf"].to_numpy()[site]
    scores = np.zeros((len(window), len(data.tfs)), dtype=np.float32)
    for column, name in enumerate(data.tfs):
        mine = tf == name
        scores[:, column] = combined(chance[None, mine], place[mine], len(window))[0]
    return scores


def sites_near(
    sites: pd.DataFrame, chrom: np.ndarray, start: np.ndarray, width: int, reach: float, sizes: ChromSizes
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pairs of a site and a window whose middles are less than ``reach`` bp apart.

    ``sites`` has the columns chrom (name), start and end. ``chrom`` (number) and ``start`` (windows,) are of windows of
    ``width`` bp, in any order, overlapping or not. Coordinates are 0-based half-open within a chromosome. Sites on
    chromosomes that the genome lacks have no pairs. Returns row of ``sites``, window, both int64, and bp from the
    middle of the site to that of the window: (pairs,) each.
    """
    of_site = pd.Index(sizes.names).get_indexer(sites["chrom"])
    centre = centre_of(sites) + sizes.offsets[of_site]
    middle = sizes.offsets[chrom] + start + width // 2
    order = np.argsort(middle, kind="stable")
    first = np.searchsorted(middle[order], centre - reach, side="right")
    count = np.searchsorted(middle[order], centre + reach, side="left") - first
    site = np.repeat(np.arange(len(sites)), count)
    window = order[np.arange(len(site)) + np.repeat(first - np.cumsum(count) + count, count)]
    same = of_site[site] == chrom[window]
    site, window = site[same], window[same]
    return site, window, middle[window] - centre[site]


def half_covered(distance: np.ndarray) -> np.ndarray:
    """Return the probability that a peak covers more than half of a window: float64, shape of ``distance``.

    ``distance`` (bp) is from the site to the middle of the window. A peak is longer than a window, so it covers more
    than half of the window if it covers the middle. The summit is normally distributed around the site, with standard
    deviation ``SUMMIT_SD``. Each end of the peak is uniformly distributed over ``PEAK_REACH`` from the summit.
    """
    reach = np.arange(*PEAK_REACH)
    distance = np.asarray(distance, dtype=float)[..., None]
    beyond = ndtr((distance + reach) / SUMMIT_SD) - ndtr((distance - reach) / SUMMIT_SD)
    return beyond.mean(axis=-1)


def combined(chance: np.ndarray, place: np.ndarray, n_windows: int) -> np.ndarray:
    """Return the probability that at least one of the independent sites of a window is bound: float64 (rows, windows).

    A pair is a site and a window that its peak can make bound. ``chance`` (rows, pairs) is the probability of the site,
    ``place`` (pairs,) the number of the window. A window without sites gets 0.

    Examples
    --------
    >>> combined(np.array([[0.5, 0.5, 0.2]]), place=np.array([0, 0, 1]), n_windows=3).round(2).tolist()
    [[0.75, 0.2, 0.0]]
    """
    pairs = np.arange(len(place))
    gather = sp.csr_matrix((np.ones(len(place)), (pairs, place)), shape=(len(place), n_windows))
    return 1 - np.exp(np.log1p(-np.minimum(chance, SURE)) @ gather)
