"""Motifs in the predicted sites: does the sequence agree with what the model says.

Windows most probably bound in a cell type are compared with windows of the same GC content and, judged by
all other factors' predictions, the same openness. A model that only reads accessibility shows no
enrichment of a factor's own motif here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from scipy.spatial import KDTree

from scbind.analysis.typemeans import TypeMeans
from scbind.binding.windows import Windows
from scbind.core.files import write_table
from scbind.core.runlog import say
from scbind.formats.genome import Genome
from scbind.formats.motifs import motif_names, read_motifs, scan_all

STEP = 0.01  # width (bits) of a class of scores in the exact distribution
CANDIDATES = 64  # nearest windows looked at to match one site
WINDOWS_PER_SCAN = 20_000
COLUMNS = [
    "cell_type", "tf", "motif", "motif_id", "own", "rank", "n_motifs", "n_sites", "n_background",
    "min_binding", "sites_with_motif", "background_with_motif", "odds_ratio", "p_value", "p_adjusted",
    "gc_sites", "gc_background", "threshold", "reliability_level", "reliability_abstained",
]  # fmt: skip


def motif_enrichment(
    zarrs: list[str | Path],
    cells: list[str | Path],
    windows: str | Path,
    reference_dir: str | Path,
    motifs: str | Path,
    output: str | Path,
    n_sites: int = 500,
    seed: int = 0,
    min_cells: int = 20,
    p_hit: float = 1e-4,
    top_motifs: int = 5,
) -> None:
    """Test every motif of the set in the best predicted windows of every factor and cell type.

    Parameters
    ----------
    zarrs, cells
        ``results/binding/{sample}.zarr`` and ``results/cells/{sample}/cells.h5ad``, in the same order.
    windows, reference_dir, motifs
        ``results/binding/windows.npz``, ``results/reference/{genome}`` and ``results/motifs/motifs.npz``.
    output
        Per cell type and factor: the ``top_motifs`` motifs and the factor's own; columns in
        ``docs/reference/outputs.md``.
    n_sites
        Windows of largest mean P(bound) taken as sites; at most a quarter of all windows, and only
        windows with some predicted binding.
    seed
        Of the order in which sites choose their background window.
    min_cells
        Types with fewer cells are named in the log and left out; so is a factor in types with fewer cells that are
        deep enough for it.
    p_hit
        A window has a motif where some position on either strand scores at least what a random position
        (bases 25 % each) reaches with this probability, by the exact distribution of scores.
    top_motifs
        Motifs listed per factor and type, by p-value, then odds ratio.

    Notes
    -----
    Background: for each site the nearest unused window in standardised (GC, openness), openness being the
    mean P(bound) over all other factors in the same cell type; windows on a peak that has a site are not
    used. Test: one-sided Fisher exact (hypergeometric tail); Benjamini-Hochberg over all tests of the
    file; odds ratios with 0.5 added to each count (Haldane-Anscombe). Factors that are abstained on are tested like the
    others, and marked: motifs are a check of the predictions, and needed most where these are doubted.
    """
    genome, matrices, identities = Genome.open(reference_dir), read_motifs(motifs), motif_names(motifs)
    means = TypeMeans.open(zarrs, cells, windows, min_cells, "motif enrichment")
    pairs = _choose_sites(means, n_sites, np.random.default_rng(seed))
    names = list(matrices)
    thresholds = np.array([hit_threshold(matrices[name], p_hit) for name in names])
    used = np.unique(np.concatenate([np.concatenate(pair[2:4]) for pair in pairs] or [np.empty(0, np.int64)]))
    hits = _scan(genome, means.windows, used, [matrices[name] for name in names], thresholds)
    rows = [_test(pair, used, hits, means.windows.gc, names) for pair in pairs]
    table = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=COLUMNS)
    if rows:
        table["p_adjusted"] = stats.false_discovery_control(table["p_value"])
        table["motif_id"] = table["motif"].map(identities)
        table["threshold"] = table["motif"].map(dict(zip(names, thresholds, strict=True)))
        table = _rank(table).join(means.marks, on="tf")
        table = table[table["own"] | (table["rank"] <= top_motifs)][COLUMNS]
    write_table(output, table)


def hit_threshold(matrix: np.ndarray, p_value: float) -> float:
    """Smallest score that a random position reaches with probability ``p_value`` or less.

    ``matrix`` is (4, length) log-odds in bits. The distribution of the score of ``length`` independent bases,
    each with probability 1/4, is the convolution of the columns' distributions (Staden 1989, CABIOS
    5:89), on a grid of 0.01 bits. A motif too short to be that rare gets its best score.

    Examples
    --------
    >>> from scbind.formats.motifs import log_odds
    >>> matrix = log_odds(10 * np.eye(4))  # ACGT
    >>> round(hit_threshold(matrix, p_value=0.01), 2), round(float(matrix.max(axis=0).sum()), 2)
    (2.02, 7.67)
    """
    steps = np.rint(np.maximum(np.asarray(matrix, dtype=np.float64), -50) / STEP).astype(np.int64)
    lowest = steps.min(axis=0)
    distribution = np.ones(1)
    for column, low in zip(steps.T, lowest, strict=True):
        wider = np.zeros(len(distribution) + column.max() - low)
        for value in column:
            wider[value - low : value - low + len(distribution)] += distribution / 4
        distribution = wider
    tail = np.cumsum(distribution[::-1])[::-1]  # P(score >= class)
    reached = np.flatnonzero(tail <= p_value)
    best = len(distribution) - 1
    index = min(int(reached[0]) if len(reached) else best, best)
    # rounding moves a score by at most half a step per base: let the best match always be a hit
    highest = float(np.asarray(matrix, dtype=np.float64).max(axis=0).sum())
    return min(STEP * (int(lowest.sum()) + index), highest - STEP)


def match_background(
    sites: np.ndarray, candidates: np.ndarray, features: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """One different candidate window for each site, near it in ``features``; int64, at most as many as sites.

    ``sites`` and ``candidates`` are rows of ``features`` (windows, features). Sites choose in random
    order among their 64 nearest candidates; a site whose candidates are all taken gets none.
    """
    if not len(candidates):
        return np.empty(0, dtype=np.int64)
    spread = features[candidates].std(axis=0)
    scaled = features / np.where(spread > 0, spread, 1)
    near = KDTree(scaled[candidates]).query(scaled[sites], k=min(CANDIDATES, len(candidates)))[1]
    near = near.reshape(len(sites), -1)
    taken, chosen = np.zeros(len(candidates), dtype=bool), []
    for row in random.permutation(len(sites)):
        free = near[row][~taken[near[row]]]
        if len(free):
            taken[free[0]] = True
            chosen.append(candidates[free[0]])
    return np.sort(np.asarray(chosen, dtype=np.int64))


def _choose_sites(
    means: TypeMeans, n_sites: int, random: np.random.Generator
) -> list[tuple[str, str, np.ndarray, np.ndarray, float]]:
    """Per type and factor: type, factor, site rows, background rows, least mean P(bound) of a site."""
    windows, n_sites = means.windows, min(n_sites, len(means.windows) // 4)
    total = np.zeros((len(means.types), len(windows)), dtype=np.float64)
    for _, binding in means:
        total += np.nan_to_num(binding)  # NaN: too few cells of the type are deep enough for the factor
    pairs = []
    for tf, binding in means:
        for row, name in enumerate(means.types):
            order = np.argsort(-binding[row], kind="stable")[:n_sites]
            sites = np.sort(order[binding[row, order] > 0])
            if not len(sites):
                say(f"motif enrichment: no predicted site of {tf} in {name}")
                continue
            openness = (total[row] - binding[row]) / max(len(means.tfs) - 1, 1)
            features = np.column_stack([windows.gc, openness]).astype(np.float64)
            candidates = np.flatnonzero(~np.isin(windows.peak, windows.peak[sites]))
            background = match_background(sites, candidates, features, random)
            if len(background):
                pairs.append((name, tf, sites, background, float(binding[row, sites].min())))
            else:
                say(f"motif enrichment: no background for {tf} in {name}: its sites lie on all peaks")
    return pairs


def _scan(genome: Genome, windows: Windows, used: np.ndarray, matrices: list, thresholds) -> np.ndarray:
    """Bool (used windows, motifs): whether a window holds a match."""
    hits = np.zeros((len(used), len(matrices)), dtype=bool)
    for begin in range(0, len(used), WINDOWS_PER_SCAN):
        block = used[begin : begin + WINDOWS_PER_SCAN]
        codes = genome.window_codes(windows.chrom[block], windows.start[block], windows.window)
        hits[begin : begin + len(block)] = scan_all(codes, matrices) >= thresholds
    return hits


def _test(pair: tuple, used: np.ndarray, hits: np.ndarray, gc: np.ndarray, names: list[str]) -> pd.DataFrame:
    """One row per motif for the sites and background of one factor in one type."""
    cell_type, tf, sites, background, least = pair
    ours = hits[np.searchsorted(used, sites)].sum(axis=0)
    theirs = hits[np.searchsorted(used, background)].sum(axis=0)
    n, m = len(sites), len(background)
    return pd.DataFrame(
        {
            "cell_type": cell_type,
            "tf": tf,
            "motif": names,
            "own": [name == tf for name in names],
            "n_motifs": len(names),
            "n_sites": n,
            "n_background": m,
            "min_binding": least,
            "sites_with_motif": ours / n,
            "background_with_motif": theirs / m,
            "odds_ratio": (ours + 0.5) * (m - theirs + 0.5) / ((n - ours + 0.5) * (theirs + 0.5)),
            "p_value": stats.hypergeom.sf(ours - 1, n + m, ours + theirs, n),
            "gc_sites": gc[sites].mean(),
            "gc_background": gc[background].mean(),
        }
    )


def _rank(table: pd.DataFrame) -> pd.DataFrame:
    """Order the motifs of each factor and type by p-value, then odds ratio, and number them from 1."""
    table = table.sort_values(
        ["cell_type", "tf", "p_value", "odds_ratio"], ascending=[True, True, True, False], kind="stable"
    )
    table["rank"] = table.groupby(["cell_type", "tf"]).cumcount() + 1
    return table
