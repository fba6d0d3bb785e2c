"""What the simulated factors really prefer: a database matrix, plus what the database does not know.

A factor's in-vivo energy is the log-odds score of its JASPAR core extended by four flanking bases, minus a
penalty where the partner's motif is not near or the surrounding sequence is too poor in G and C. Family
members share much of their core and differ in flank and partner, as paralogues do (Slattery et al. 2014,
Trends Biochem. Sci. 39:381, "Absence of a simple code"; flanks: Gordan et al. 2013, Cell Rep. 3:1093).
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
WEAKEST = 3.5  # bits below the mean score of the preference's own sites
PARTNER_REACH = 60  # bp between the centres of the two motifs
CONTEXT_REACH = 75  # bp on either side in which G and C are counted
SLOPE = 1.5  # of the logistic curve from energy (bits) to probability of being bindable


@dataclass(frozen=True)
class Preference:
    """The true preference of a factor.

    ``log_odds`` is float32 (positions, 5) in bits against a uniform background, columns A C G T N (N is minus
    infinity); positions ``core`` come from the database, the others are the flanks. ``probability`` is the
    same as float64 (positions, 4). ``threshold`` is the score (bits) at which a site with partner and context
    is bindable with probability one half; ``core_threshold`` is the core score that counts as a motif when
    the factor is somebody's partner, and ``typical_core`` the mean core score of the preference's own sites.
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
        """The part of ``log_odds`` that the database knows."""
        return self.log_odds[self.core]


def database_matrix(matrix_id: str) -> np.ndarray:
    """One matrix of JASPAR 2024 (Rauluseviciute et al. 2024) as probabilities, float64 (positions, A C G T).

    Half a count is added to every cell. Raises :class:`InputError` for an unknown id. Works offline.
    """
    from pyjaspar import jaspardb

    motif = jaspardb(release=RELEASE).fetch_motif_by_id(matrix_id)
    if motif is None:
        remedy = "install the pyjaspar version of the environment file"
        raise InputError(RELEASE, f"no matrix {matrix_id}", remedy)
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
    """The same matrix for the other strand; the N column stays."""
    return log_odds[::-1][:, [3, 2, 1, 0, UNKNOWN]]


def score(codes: np.ndarray, log_odds: np.ndarray) -> np.ndarray:
    """Log-odds (bits, float32) of a matrix at every start along the last axis of ``codes`` (uint8, 0..4)."""
    starts = codes.shape[-1] - len(log_odds) + 1
    total = np.zeros(codes.shape[:-1] + (starts,), dtype=np.float32)
    for position, row in enumerate(log_odds):
        total += row[codes[..., position : position + starts]]
    return total


def score_strands(codes: np.ndarray, log_odds: np.ndarray) -> np.ndarray:
    """Scores on both strands, float32 (2, ..., starts), forward first; a start is the leftmost base."""
    return np.stack([score(codes, log_odds), score(codes, other_strand(log_odds))])


def _threshold(codes: np.ndarray, log_odds: np.ndarray, one_in_bp: float) -> float:
    best = score_strands(codes, log_odds).max(axis=0)
    return float(np.quantile(best, 1 - 1 / one_in_bp))


def true_preferences() -> dict[str, Preference]:
    """The preference of every factor, in the order of ``FACTORS``. Deterministic, needs no network.

    Thresholds are set by how often random sequence passes them, so that all factors have about as many
    accidental sites whatever the information in their matrix: once in 9 kb, or once in 3 kb for those that
    also need a partner or a context, and once in 2 kb for a core as a partner. A long matrix would then be
    bound whatever its flanks, so a threshold is never lower than ``WEAKEST`` bits below a typical site.
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
    """Energy (bits above threshold) of every factor at every start, in many stretches of equal length.

    Parameters
    ----------
    codes
        uint8 (stretches, length).
    preferences
        From :func:`true_preferences`.

    Returns
    -------
    dict
        Per factor float32 (2 strands, stretches, length - motif length + 1).
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
    """Probability that a site of this energy (bits) is bound where it is open and its factor active."""
    return 1 / (1 + np.exp(-SLOPE * np.clip(energy, -40, 40)))


def _motif_near(codes: np.ndarray, preference: Preference) -> np.ndarray:
    """Whether the centre of a core match lies within ``PARTNER_REACH``: bool, shape of ``codes``."""
    matrix = preference.core_log_odds
    hit = score_strands(codes, matrix).max(axis=0) >= preference.core_threshold
    counts = np.zeros((len(codes), codes.shape[1] + 1), dtype=np.int32)
    first = len(matrix) // 2
    counts[:, 1 + first : 1 + first + hit.shape[1]] = hit
    return _window_sum(np.cumsum(counts, axis=1), PARTNER_REACH) > 0


def _rich_in_gc(codes: np.ndarray) -> np.ndarray:
    """From 0 (poor in G and C) to 1 (rich), turning at one half: float32, shape of ``codes``."""
    counts = np.zeros((len(codes), codes.shape[1] + 1), dtype=np.int32)
    counts[:, 1:] = (codes == 1) | (codes == 2)
    share = _window_sum(np.cumsum(counts, axis=1), CONTEXT_REACH) / (2 * CONTEXT_REACH + 1)
    return (1 / (1 + np.exp(-(share - 0.5) / 0.02))).astype(np.float32)


def _window_sum(cumulative: np.ndarray, reach: int) -> np.ndarray:
    length = cumulative.shape[1] - 1
    position = np.arange(length)
    low, high = np.maximum(position - reach, 0), np.minimum(position + reach + 1, length)
    return cumulative[:, high] - cumulative[:, low]
