"""The probability that a site regulates a gene, from their distance and their association across cells.

Two groups (Efron 2008, Statistical Science 23:1; with a prior that differs between pairs, as in FDR regression, Scott
et al. 2015, JASA 110:459). The association z of an unrelated pair follows a standard normal distribution, which genes
far from the site calibrate. That of a regulating pair follows a normal distribution that is estimated from the data.
The prior falls with distance.
"""

from __future__ import annotations

import numpy as np

CORE = 500  # bp; a site whose centre is this near to a start site lies in its promoter
PROMOTER = 0.9  # probability that a site in a promoter regulates its gene; association does not change it
REGULATING = 0.5  # fraction of other sites that regulate a gene nearby, if it cannot be estimated
MIN_PAIRS = 200  # minimum number of pairs with an association; with fewer, association is not used
BINS = 5  # of genes by their counts, with a null spread each
STEPS = 200  # of the estimation
LARGEST = 20.0  # limit of the logarithm of a likelihood ratio


def scale_to_null(
    z: np.ndarray, null: np.ndarray, site: np.ndarray, level: np.ndarray, panel_level: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Scale associations so that those of unrelated pairs have mean 0 and standard deviation 1.

    Mean and standard deviation come from the panel: first per site, over the genes of the panel, then per bin of genes
    with similar numbers of counts, over sites.

    Parameters
    ----------
    z, site, level
        Per pair: association, index of the site, counts of the gene.
    null
        float (sites, panel): association of sites and genes of the panel, NaN for pairs that are near each other.
    panel_level
        float (panel,): counts of the genes of the panel.

    Returns
    -------
    ``z`` and ``null``, scaled. NaN where a site has no null.
    """
    known = np.isfinite(null)
    n = np.maximum(known.sum(axis=1), 1)
    filled = np.where(known, null, 0)
    mean = filled.sum(axis=1) / n
    spread = np.sqrt(np.maximum((filled**2).sum(axis=1) / n - mean**2, 0))
    spread[spread < 1e-6] = np.nan
    null, z = (null - mean[:, None]) / spread[:, None], (z - mean[site]) / spread[site]
    edges = np.quantile(panel_level, np.linspace(0, 1, BINS + 1)[1:-1]) if len(panel_level) else np.zeros(0)
    own, theirs = np.searchsorted(edges, level), np.searchsorted(edges, panel_level)
    for number in range(BINS):
        values = null[:, theirs == number]
        values = values[np.isfinite(values)]
        width = values.std() if len(values) > MIN_PAIRS else 1.0
        null[:, theirs == number] /= width
        z[own == number] /= width
    return z, null


def shares(weight: np.ndarray, site: np.ndarray, n_sites: int) -> np.ndarray:
    """Return the share of each gene in a site: weights that add up to 1 over the genes of each site, float (pairs,)."""
    total = np.bincount(site, weight, minlength=n_sites)
    return weight / np.maximum(total, 1e-12)[site]


def posterior(z: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
    """Return the probability that each site regulates the gene, float (pairs,), and the estimates.

    The prior of a pair is ``share`` times the fraction of sites that regulate a gene at all. So on average a site
    regulates at most one gene, but it may regulate several. The fraction, and mean and standard deviation of z in
    regulating pairs, maximize the likelihood (expectation maximization). Pairs without an association (NaN) keep their
    prior.

    Parameters
    ----------
    z, share
        float (pairs,): calibrated associations, and the result of :func:`shares`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> linked = np.arange(2000) < 200
    >>> found, fitted = posterior(rng.normal(np.where(linked, 5, 0), 1), np.full(2000, 0.2))
    >>> bool(found[linked].mean() > 0.95), bool(found[~linked].mean() < 0.01), round(fitted["fraction"], 1)
    (True, True, 0.5)
    """
    known = np.isfinite(z)
    fitted = {"fraction": REGULATING, "mean": 0.0, "sd": 1.0}
    if known.sum() >= MIN_PAIRS:
        fitted = _estimate(z[known], share[known])
    prior = np.minimum(fitted["fraction"] * share, 1 - 1e-6)
    ratio = _log_density(z, fitted["mean"], fitted["sd"]) - _log_density(z)
    odds = prior / (1 - prior) * np.exp(np.clip(np.where(known, ratio, 0), -LARGEST, LARGEST))
    return odds / (1 + odds), fitted


def _estimate(z: np.ndarray, share: np.ndarray) -> dict[str, float]:
    fraction, mean, sd = REGULATING, 1.0, 2.0
    for _ in range(STEPS):
        prior = np.minimum(fraction * share, 1 - 1e-6)
        linked, other = prior * _density(z, mean, sd), (1 - prior) * _density(z)
        member = linked / np.maximum(linked + other, 1e-300)
        total = max(member.sum(), 1e-9)
        fraction, mean = min(total / share.sum(), 1.0), float((member * z).sum() / total)
        sd = max(float(np.sqrt((member * (z - mean) ** 2).sum() / total)), 1.0)
    return {"fraction": float(fraction), "mean": mean, "sd": sd}


def _density(z: np.ndarray, mean: float = 0.0, sd: float = 1.0) -> np.ndarray:
    """Return the density of a normal distribution. scipy.stats has it, but takes half a second to import."""
    return np.exp(-(((z - mean) / sd) ** 2) / 2) / np.sqrt(2 * np.pi) / sd


def _log_density(z: np.ndarray, mean: float = 0.0, sd: float = 1.0) -> np.ndarray:
    return -(((z - mean) / sd) ** 2) / 2 - np.log(np.sqrt(2 * np.pi)) - np.log(sd)


def p_values(observed: np.ndarray, null: np.ndarray) -> np.ndarray:
    """Return two-sided p-values of statistics, from those of the same sites with other genes: float (tests,).

    Each row is scaled by the mean and standard deviation of its null. The scaled nulls of all rows together then give
    the p-value, so it may be much below 1 / number of genes in the panel.

    Parameters
    ----------
    observed
        float (tests,).
    null
        float (tests, panel); NaN for genes that are not part of the null of the test.
    """
    if not len(observed):
        return np.zeros(0)
    known = np.isfinite(null)
    n = np.maximum(known.sum(axis=1), 2)
    filled = np.where(known, null, 0)
    mean = filled.sum(axis=1) / n
    spread = np.sqrt(np.maximum((filled**2).sum(axis=1) - n * mean**2, 0) / (n - 1))
    spread[spread < 1e-9] = np.nan
    pooled = np.sort(np.abs((null - mean[:, None]) / spread[:, None])[known])
    pooled = pooled[np.isfinite(pooled)]
    # the scaled statistic of a test outside its null has the variance (n + 1) / n
    size = np.abs(observed - mean) / spread / np.sqrt((n + 1) / (n - 1))
    above = len(pooled) - np.searchsorted(pooled, size, side="left")
    return np.where(np.isfinite(size), (above + 1) / (len(pooled) + 1), np.nan)


def false_share(probability: np.ndarray) -> np.ndarray:
    """Return the expected fraction of false links among those at least as probable: float (links,).

    Examples
    --------
    >>> false_share(np.array([0.5, 1.0, 0.9])).round(2).tolist()
    [0.2, 0.0, 0.05]
    """
    order = np.argsort(-probability, kind="stable")
    found = np.empty(len(probability))
    found[order] = np.cumsum(1 - probability[order]) / np.arange(1, len(order) + 1)
    return found
