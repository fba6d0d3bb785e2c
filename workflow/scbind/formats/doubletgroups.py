"""Groups of cells that are probably doublets: cell types and populations, by one rule."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np

LIKELY = 0.1  # median doublet score of a group of doublets; twice the rate that the scores assume
MIXED = np.linspace(0.2, 0.8, 13)  # fraction of the first of two groups in a mixture


def doublet_groups(
    profiles: Mapping[str, np.ndarray], n_cells: Mapping[str, int], score: Mapping[str, float]
) -> dict[str, str]:
    """Return the groups that are probably doublets, each with a sentence part such as "probably doublets of A and B".

    A group is one if its median doublet score is at least :data:`LIKELY`. The two groups that it is between are the
    pair of larger groups whose mixture is most like it (cosine). They are not named if a single larger group is as much
    like it as the best mixture.

    Parameters
    ----------
    profiles
        Group -> its mean profile, float (features,), in which a doublet is about the sum of two cells. Groups without
        a profile are never named as one of the two.
    n_cells, score
        Group -> number of cells; group -> median doublet score of its cells, NaN if unknown.

    Examples
    --------
    >>> profiles = {"A": np.array([1.0, 0, 0]), "B": np.array([0, 1.0, 0]), "C": np.array([0.6, 0.5, 0.1])}
    >>> doublet_groups(profiles, {"A": 90, "B": 80, "C": 7}, {"A": 0.02, "B": 0.03, "C": 0.2})
    {'C': 'probably doublets of A and B'}
    """
    found = {name for name in n_cells if score[name] >= LIKELY}
    units = {name: _unit(profile) for name, profile in profiles.items()}
    texts = {}
    for name in [name for name in n_cells if name in found]:
        larger = [other for other in units if other not in found and n_cells[other] > n_cells[name]]
        larger.sort(key=lambda other: (-n_cells[other], other))
        pair = _parents(units[name], {other: units[other] for other in larger}) if name in units else None
        texts[name] = "probably doublets" + (f" of {pair[0]} and {pair[1]}" if pair else "")
    return texts


def _parents(profile: np.ndarray, others: Mapping[str, np.ndarray]) -> tuple[str, str] | None:
    """Return the two groups whose mixture is most like a profile; None if one of them alone is as much like it.

    All profiles have unit length. The cosine of a mixture follows from those of its two parts.
    """
    alike = {name: float(profile @ other) for name, other in others.items()}
    best, pair = max(alike.values(), default=0.0), None
    for one, other in combinations(others, 2):
        length = np.sqrt(
            MIXED**2 + (1 - MIXED) ** 2 + 2 * MIXED * (1 - MIXED) * (others[one] @ others[other])
        )
        cosine = (MIXED * alike[one] + (1 - MIXED) * alike[other]) / np.maximum(length, 1e-12)
        if cosine.max() > best + 1e-9:
            best, pair = float(cosine.max()), (one, other)
    return pair


def _unit(profile: np.ndarray) -> np.ndarray:
    profile = np.asarray(profile, dtype=np.float64)
    return profile / max(float(np.linalg.norm(profile)), 1e-12)
