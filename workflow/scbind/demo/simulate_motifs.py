"""True binding preferences of the simulated factors: a database matrix plus features that the database lacks.

The binding energy of a factor is the log-odds score of its JASPAR core, extended by flanking bases. A penalty is
subtracted if the motif of its partner is not near, or if the surrounding sequence has too low a GC content. Factors of
one family share much of their core and differ in flanks and partner, as paralogues do (Slattery et al. 2014, Trends
Biochem. Sci. 39:381, "Absence of a simple code"; flanks: Gordan et al. 2013, Cell Rep. 3:1093).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scbind.core.errors import InputError
from scbind.demo.atlas import FACTORS, Factor
from scbind.formats.genome import UNKNOWN

RELEASE = "JASPAR2024"
FLANK_SHARE = 0.78  # probability of the preferred base at a flanking position, about 0.9 bit
PENALTY = 4.5  # bits lost without the partner or in the wrong context
WEAKEST = 3.5  # bits; a threshold is at most this far below the mean score of sites drawn from the preference
PARTNER_REACH = 60  # maximum distance in bp between the centres of the two motifs
CONTEXT_REACH = 75  # bp on either side, for the GC content of the surroundings
SLOPE = 1.5  # slope of the logistic curve from energy (bits) to the probability of being bindable


@dataclass(frozen=True)
class Preference:
    """The true binding preference of a factor.

    Attributes
    ----------
    tf, factor
        Name and definition of the factor.
    probability
        Probabilities of A C G T: float64 (positions, 4).
    log_odds
        The same in bits against a uniform background, columns A C G T N: float32 (positions, 5). N is minus infinity.
    core
        Positions that come from the database. The others are the flanks.
    threshold
        Score (bits) at which a site with partner and context is bindable with probability 0.5.
    core_threshold
        Minimum core score (bits) of a motif, when the factor is the partner of another factor.
    typical_core
        Mean core score (bits) of sites drawn from the preference.
    """

    tf: str
    factor: Factor
    probability: np.ndarray
    log_odds: np.ndarray
    core: slice
    threshold: float
    core_threshold: float
    typical_core: float

    def __len__(self) -> int:
        return len(self.log_odds)

    @property
    def core_log_odds(self) -> np.ndarray:
        """The rows of ``log_odds`` that come from the database: float32 (positions of the core, 5)."""
        return self.log_odds[self.core]


def database_matrix(matrix_id: str) -> np.ndarray:
    """Return one matrix of JASPAR 2024 (Rauluseviciute et al. 2024) as probabilities: float64 (positions, 4), A C G T.

    A pseudocount of 0.5 is added to every entry. No network is needed. Raises :class:`InputError` if the id is unknown.
    """
    from pyjaspar import jaspardb

    motif = jaspardb(release=RELEASE).fetch_motif_by_id(matrix_id)
    if motif is None:
        remedy = "install the version of pyjaspar that the environment file names"
        raise InputError(RELEASE, f"has no matrix {matrix_id}", remedy)
    counts = np.array([motif.counts[base] for base in "ACGT"], dtype=float).T + 0.5
    return counts / counts.sum(axis=1, keepdims=True)


def _log_odds(probability: np.ndarray) -> np.ndarray:
    unknown = np.full((len(probability), 1), -np.inf)
    return np.hstack([np.log2(probability / 0.25), unknown]).astype(np.float32)


def _flank(bases: str) -> np.ndarray:
    rows = np.full((len(bases), 4), (1 - FLANK_SHARE) / 3)
    rows[np.arange(len(bases)), ["ACGT".index(base) for base in bases]] = FLANK_SHARE
    return rows


def other_strand(log_odds: np.ndarray) -> np.ndarray:
    """Return the reverse complement of a matrix, same shape. The column of N stays last."""
    return log_odds[::-1][:, [3, 2, 1, 0, UNKNOWN]]


def score(codes: np.ndarray, log_odds: np.ndarray) -> np.ndarray:
    """Return log-odds scores (bits) at every start along the last axis of ``codes``: float32 (..., starts).

    ``codes`` is uint8 (..., length), 0..4 for A C G T N. ``log_odds`` is float32 (positions, 5).
    """
    starts = codes.shape[-1] - len(log_odds) + 1
    total = np.zeros(codes.shape[:-1] + (starts,), dtype=np.float32)
    for position, row in enumerate(log_odds):
        total += row[codes[..., position : position + starts]]
    return total


def score_strands(codes: np.ndarray, log_odds: np.ndarray) -> np.ndarray:
    """Return scores (bits) on both strands: float32 (2, ..., starts), forward strand first.

    A start is the leftmost base of the site on either strand.
    """
    return np.stack([score(codes, log_odds), score(codes, other_strand(log_odds))])


def _threshold(codes: np.ndarray, log_odds: np.ndarray, one_in_bp: float) -> float:
    best = score_strands(codes, log_odds).max(axis=0)
    return float(np.quantile(best, 1 - 1 / one_in_bp))


def true_preferences() -> dict[str, Preference]:
    """Return the preference of every factor, in the order of ``FACTORS``. The result is always the same.

    Random sequence passes a threshold once in 9 kb, or once in 3 kb if the factor also needs a partner or a context.
    It passes the threshold of a partner's core about once in 2 kb. All factors therefore have similar numbers of chance
    sites, whatever the information content of their matrices. Such a threshold is too low for a long matrix, which
    would pass it whatever its flanks. A threshold is therefore at most ``WEAKEST`` bits below the mean score of sites
    drawn from the preference. No network is needed.
    """
    random_codes = np.random.default_rng(2024).integers(0, 4, 400_000).astype(np.uint8)
    preferences = {}
    for tf, factor in FACTORS.items():
        matrix = database_matrix(factor.matrix_id)
        probability = np.vstack([_flank(factor.left), matrix, _flank(factor.right)])
        log_odds = _log_odds(probability)
        core = slice(len(factor.left), len(factor.left) + len(matrix))
        one_in = 3_000 if factor.partner or factor.gc_context else 9_000
        expected = (probability * log_odds[:, :UNKNOWN]).sum(axis=1)
        typical, typical_core = float(expected.sum()), float(expected[core].sum())
        preferences[tf] = Preference(
            tf,
            factor,
            probability,
            log_odds,
            core,
            max(_threshold(random_codes, log_odds, one_in), typical - WEAKEST),
            min(_threshold(random_codes, log_odds[core], 2_000), typical_core - 1),
            typical_core,
        )
    return preferences


def energies(codes: np.ndarray, preferences: dict[str, Preference]) -> dict[str, np.ndarray]:
    """Return the energy (bits above the threshold) of every factor at every start, for sequences of equal length.

    Parameters
    ----------
    codes
        uint8 (sequences, length), 0..4 for A C G T N.
    preferences
        From :func:`true_preferences`.

    Returns
    -------
    dict
        Factor to float32 (2 strands, sequences, length - motif length + 1).
    """
    near = {p.factor.partner for p in preferences.values()} - {None}
    partner_near = {tf: _motif_near(codes, preferences[tf]) for tf in near}
    rich = _rich_in_gc(codes)
    result = {}
    for tf, preference in preferences.items():
        energy = score_strands(codes, preference.log_odds) - preference.threshold
        centre = np.arange(energy.shape[-1]) + len(preference) // 2
        if preference.factor.partner:
            energy -= PENALTY * ~partner_near[preference.factor.partner][:, centre]
        if preference.factor.gc_context:
            energy -= PENALTY * (1 - rich[:, centre])
        result[tf] = energy
    return result


def bindable(energy: np.ndarray) -> np.ndarray:
    """Return the probability that a site of this energy (bits) is bound if it is open and its factor is active.

    The shape is that of ``energy``.
    """
    return 1 / (1 + np.exp(-SLOPE * np.clip(energy, -40, 40)))


def _motif_near(codes: np.ndarray, preference: Preference) -> np.ndarray:
    """Whether the centre of a core match lies within ``PARTNER_REACH`` of a base: bool, shape of ``codes``."""
    matrix = preference.core_log_odds
    hit = score_strands(codes, matrix).max(axis=0) >= preference.core_threshold
    counts = np.zeros((len(codes), codes.shape[1] + 1), dtype=np.int32)
    first = len(matrix) // 2
    counts[:, 1 + first : 1 + first + hit.shape[1]] = hit
    return _window_sum(np.cumsum(counts, axis=1), PARTNER_REACH) > 0


def _rich_in_gc(codes: np.ndarray) -> np.ndarray:
    """From 0 (low GC content) to 1 (high), with 0.5 at a GC content of 50 %: float32, shape of ``codes``."""
    counts = np.zeros((len(codes), codes.shape[1] + 1), dtype=np.int32)
    counts[:, 1:] = (codes == 1) | (codes == 2)
    share = _window_sum(np.cumsum(counts, axis=1), CONTEXT_REACH) / (2 * CONTEXT_REACH + 1)
    return (1 / (1 + np.exp(-(share - 0.5) / 0.02))).astype(np.float32)


def _window_sum(cumulative: np.ndarray, reach: int) -> np.ndarray:
    length = cumulative.shape[1] - 1
    position = np.arange(length)
    low, high = np.maximum(position - reach, 0), np.minimum(position + reach + 1, length)
    return cumulative[:, high] - cumulative[:, low]
