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
import scipy.sparse as sp
from scipy.special import ndtr

from scbind.core.files import write_table
from scbind.dataset.trainingset import TrainingSet
from scbind.demo.simulate_sites import PEAK_REACH, SUMMIT_SD
from scbind.demo.truthfiles import Truth
from scbind.evaluation.evaluate import kinds_beside_given, score_test_windows, write_curves
from scbind.evaluation.registry import ORACLE

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

    A pair is a site and a window that contains it. ``chance`` (rows, pairs) is the probability of the site, ``place``
    (pairs,) the number of the window. A window without sites gets 0.

    Examples
    --------
    >>> combined(np.array([[0.5, 0.5, 0.2]]), place=np.array([0, 0, 1]), n_windows=3).round(2).tolist()
    [[0.75, 0.2, 0.0]]
    """
    pairs = np.arange(len(place))
    gather = sp.csr_matrix((np.ones(len(place)), (pairs, place)), shape=(len(place), n_windows))
    return 1 - np.exp(np.log1p(-np.minimum(chance, SURE)) @ gather)
