"""Motif enrichment in predicted sites: a check of the predictions against the sequence.

The windows with the highest P(bound) in a cell type are compared with windows of similar GC content and openness.
Openness is estimated from the predictions for other TFs. If a model uses only accessibility, its predicted sites show
no enrichment of the TF's own motif.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from scbind.analysis.adjustment import adjust, by_family, tf_families
from scbind.analysis.typemeans import TypeMeans
from scbind.binding.windows import Windows
from scbind.core.files import write_table
from scbind.core.runlog import say
from scbind.formats.evidence import CHIP
from scbind.formats.genome import Genome
from scbind.formats.motifs import chance_of_scores, motif_names, read_motifs, scan_all

BEST_SITES = 20  # peaks listed per TF and cell type
SITE_COLUMNS = [
    "cell_type", "tf", "rank", "chrom", "start", "end", "binding", "evidence", "reliability_level",
    "reliability_abstained",
]  # fmt: skip
STEP = 0.01  # resolution (bits) of the exact distribution of scores
CANDIDATES = 64  # number of nearest windows from which a site chooses its background window
WINDOWS_PER_SCAN = 20_000
COLUMNS = [
    "cell_type", "tf", "motif", "motif_id", "own", "rank", "n_motifs", "n_sites", "n_background",
    "min_binding", "sites_with_motif", "background_with_motif", "odds_ratio", "p_value", "p_adjusted",
    "gc_sites", "gc_background", "threshold", "evidence", "reliability_level", "reliability_abstained",
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
    best: str | Path | None = None,
) -> None:
    """Test every motif of the set in the sites, the windows of highest P(bound), of every TF and cell type.

    Parameters
    ----------
    zarrs, cells
        ``results/binding/{sample}.zarr`` and ``results/cells/{sample}/cells.h5ad``, in the same order.
    windows, reference_dir, motifs
        ``results/binding/windows.npz``, ``results/reference/{genome}`` and ``results/motifs/motifs.npz``.
    output
        Table with the ``top_motifs`` best motifs and the TF's own motif, per cell type and TF; columns in
        ``docs/reference/outputs.md``.
    n_sites
        Number of sites, which are the windows of highest mean P(bound). At most a quarter of all windows; windows with
        mean P(bound) 0 are never sites.
    seed
        Seed of the order in which sites choose their background window.
    min_cells
        Types with fewer cells are left out and named in the log. A TF is left out in types with fewer cells that are
        deep enough for it.
    p_hit
        A window has a motif if a position on either strand scores at least the threshold that a random position (25 %
        per base) reaches with this probability. The threshold comes from the exact distribution of scores.
    top_motifs
        Number of motifs listed per TF and type, ordered by p-value, then odds ratio.
    best
        Optional table to write: of each cell type and TF the ``BEST_SITES`` peaks with the highest mean P(bound), each
        by its best window. Columns ``SITE_COLUMNS``; coordinates 0-based half-open.

    Raises
    ------
    InputError
        If the stores, cells and windows do not belong together (:meth:`scbind.analysis.typemeans.TypeMeans.open`).

    Notes
    -----
    Background: for each site, the nearest unused window in standardised (GC, openness). Openness is the mean P(bound)
    over the other TFs with ChIP-seq in the same cell type; over all other TFs if fewer than two have ChIP-seq. Windows
    on a peak that has a site are not used. Test: one-sided Fisher's exact test (hypergeometric tail). The
    Benjamini-Hochberg adjustment covers the tests of the file, listed or not, whose TFs are of one family
    (:func:`scbind.analysis.adjustment.tf_families`) and whose motifs either all belong to TFs with ChIP-seq or all do
    not. Odds ratios have 0.5 added to each count (Haldane-Anscombe). TFs on which scbind abstains are tested like the
    others and marked, because motifs check the predictions and this check is most useful where predictions are
    uncertain.
    """
    genome, matrices, identities = Genome.open(reference_dir), read_motifs(motifs), motif_names(motifs)
    means = TypeMeans.open(zarrs, cells, windows, min_cells, "motif enrichment")
    pairs, listed = _choose_sites(means, n_sites, np.random.default_rng(seed))
    if best is not None:
        write_table(best, _list_sites(listed, means, genome))
    names = list(matrices)
    thresholds = np.array([hit_threshold(matrices[name], p_hit) for name in names])
    used = np.unique(np.concatenate([np.concatenate(pair[2:4]) for pair in pairs] or [np.empty(0, np.int64)]))
    hits = _scan(genome, means.windows, used, [matrices[name] for name in names], thresholds)
    table = pd.DataFrame(columns=COLUMNS)
    if pairs and names:
        family = _families(means.marks, [pair[1] for pair in pairs], names)
        table = _list_motifs(pairs, used, hits, means.windows.gc, names, top_motifs, family)
        table["motif_id"] = table["motif"].map(identities)
        table["threshold"] = table["motif"].map(dict(zip(names, thresholds, strict=True)))
        table = table.join(means.marks, on="tf")[COLUMNS]
    write_table(output, table)
    say(
        f"motif enrichment: {len(names)} motifs in the best windows of {len(pairs):,} pairs of TF and cell type"
    )


def hit_threshold(matrix: np.ndarray, p_value: float) -> float:
    """Return the smallest score that a random position reaches with probability ``p_value`` or less, in bits.

    ``matrix``, shape (4, length), holds log-odds in bits. The distribution of scores
    (:func:`scbind.formats.motifs.chance_of_scores`) is computed on a grid of 0.01 bits. If even the best score is
    more probable than ``p_value``, because the motif is short, the threshold is the best score.

    Examples
    --------
    >>> from scbind.formats.motifs import log_odds
    >>> matrix = log_odds(10 * np.eye(4))  # ACGT
    >>> round(hit_threshold(matrix, p_value=0.01), 2), round(float(matrix.max(axis=0).sum()), 2)
    (2.02, 7.67)
    """
    steps = np.rint(np.maximum(np.asarray(matrix, dtype=np.float64), -50) / STEP).astype(np.int64)
    lowest, tail = chance_of_scores(steps)
    reached = np.flatnonzero(tail <= p_value)
    best = len(tail) - 1
    index = min(int(reached[0]) if len(reached) else best, best)
    # rounding changes a score by up to half a step per base: make sure that the best match is always a hit
    highest = float(np.asarray(matrix, dtype=np.float64).max(axis=0).sum())
    return min(STEP * (lowest + index), highest - STEP)


def match_background(
    sites: np.ndarray, candidates: np.ndarray, features: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Match each site with one candidate window that is near it in ``features``. No window is used twice.

    ``sites`` and ``candidates`` are row numbers of ``features`` (windows, features). Sites choose in random order among
    their 64 nearest candidates. A site whose candidates are all used gets none. Returns the chosen windows, sorted:
    int64, at most one per site.
    """
    from scipy.spatial import KDTree  # not needed where only the scores of motifs are

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
) -> tuple[
    list[tuple[str, str, np.ndarray, np.ndarray, float]], list[tuple[str, str, np.ndarray, np.ndarray]]
]:
    """Choose the sites of each type and TF, and their background.

    Returns two lists. The first has type, TF, rows of sites, rows of background windows, lowest mean P(bound) of a
    site. The second has type, TF, rows of the best windows and their mean P(bound), highest first.
    """
    windows, n_sites = means.windows, min(n_sites, len(means.windows) // 4)
    total = np.zeros((len(means.types), len(windows)), dtype=np.float64)
    assayed = set(means.marks.index[means.marks["evidence"] == CHIP])
    counted = assayed if len(assayed) > 1 else set(means.marks.index)
    for tf, binding in means:
        if tf in counted:
            total += np.nan_to_num(binding)  # NaN: too few cells of the type are deep enough for the TF
    pairs, listed = [], []
    for tf, binding in means:
        for row, name in enumerate(means.types):
            order = np.argsort(-binding[row], kind="stable")[:n_sites]
            order = order[binding[row, order] > 0]
            sites = np.sort(order)
            if not len(sites):
                say(f"motif enrichment: {tf} has no predicted site in {name}")
                continue
            _, first = np.unique(windows.peak[order], return_index=True)  # the best window of each peak
            top = order[np.sort(first)[:BEST_SITES]]
            listed.append((name, tf, top, binding[row, top]))
            own = binding[row] if tf in counted else 0
            openness = (total[row] - own) / max(len(counted - {tf}), 1)
            features = np.column_stack([windows.gc, openness]).astype(np.float64)
            candidates = np.flatnonzero(~np.isin(windows.peak, windows.peak[sites]))
            background = match_background(sites, candidates, features, random)
            if len(background):
                pairs.append((name, tf, sites, background, float(binding[row, sites].min())))
            else:
                say(
                    f"motif enrichment: {tf} has no background windows in {name}, because its sites lie on all peaks"
                )
    return pairs, listed


def _list_sites(
    listed: list[tuple[str, str, np.ndarray, np.ndarray]], means: TypeMeans, genome: Genome
) -> pd.DataFrame:
    """Return the table of the best sites, :data:`SITE_COLUMNS`."""
    windows, names = means.windows, np.array(genome.sizes.names)
    rows = [
        pd.DataFrame(
            {"cell_type": name, "tf": tf, "rank": 1 + np.arange(len(top)), "chrom": names[windows.chrom[top]],
             "start": windows.start[top], "end": windows.start[top] + windows.window, "binding": binding}
        )
        for name, tf, top, binding in listed
    ]  # fmt: skip
    if not rows:
        return pd.DataFrame(columns=SITE_COLUMNS)
    return pd.concat(rows, ignore_index=True).join(means.marks, on="tf")[SITE_COLUMNS]


def _scan(genome: Genome, windows: Windows, used: np.ndarray, matrices: list, thresholds) -> np.ndarray:
    """Tell which windows have a match of which motif: bool (used windows, motifs)."""
    hits = np.zeros((len(used), len(matrices)), dtype=bool)
    for begin in range(0, len(used), WINDOWS_PER_SCAN):
        block = used[begin : begin + WINDOWS_PER_SCAN]
        codes = genome.window_codes(windows.chrom[block], windows.start[block], windows.window)
        hits[begin : begin + len(block)] = scan_all(codes, matrices) >= thresholds
    return hits


def _families(marks: pd.DataFrame, tfs: list[str], names: list[str]) -> np.ndarray:
    """Return the family of each test: int (pairs, motifs), from the TF of each pair and that of each motif."""
    of_motif = marks["evidence"].reindex(names) == CHIP
    return 2 * tf_families(marks)[tfs].to_numpy()[:, None] + of_motif.to_numpy()


def _list_motifs(
    pairs: list[tuple],
    used: np.ndarray,
    hits: np.ndarray,
    gc: np.ndarray,
    names: list[str],
    top: int,
    family: np.ndarray,
) -> pd.DataFrame:
    """Test all motifs for each pair of type and TF. Return its ``top`` best motifs and its own, sorted by type and TF.

    ``family``, (pairs, motifs), is the family of each test: those of a family are adjusted together.
    Of all other tests, only the p-values are kept, for the adjustment: their number grows with the square of that of
    the TFs.
    """
    p_values, listed = np.empty((len(pairs), len(names))), []
    for number, pair in enumerate(pairs):
        p_values[number], table = _test(pair, used, hits, gc, names, top)
        listed.append(table)
    adjusted = by_family(adjust, p_values.ravel(), family.ravel()).reshape(p_values.shape)
    order = sorted(range(len(pairs)), key=lambda number: pairs[number][:2])
    for number in order:
        listed[number]["p_adjusted"] = adjusted[number][listed[number].index]
    return pd.concat([listed[number] for number in order], ignore_index=True)


def _test(
    pair: tuple, used: np.ndarray, hits: np.ndarray, gc: np.ndarray, names: list[str], top: int
) -> tuple[np.ndarray, pd.DataFrame]:
    """Test all motifs in the sites and background of one TF in one type.

    Returns the p-values, float64 (motifs,), and a row for each of the ``top`` best motifs and for the TF's own, best
    first, with the number of the motif as index. Motifs are ordered by p-value, then odds ratio.
    """
    from scipy.stats import hypergeom  # half a second to import

    cell_type, tf, sites, background, least = pair
    ours = hits[np.searchsorted(used, sites)].sum(axis=0)
    theirs = hits[np.searchsorted(used, background)].sum(axis=0)
    n, m = len(sites), len(background)
    p_value = hypergeom.sf(ours - 1, n + m, ours + theirs, n)
    odds_ratio = (ours + 0.5) * (m - theirs + 0.5) / ((n - ours + 0.5) * (theirs + 0.5))
    own = np.array([name == tf for name in names])
    order = np.lexsort((-odds_ratio, p_value))
    rank = np.flatnonzero(own[order] | (np.arange(len(names)) < top))
    here = order[rank]
    table = pd.DataFrame(
        {
            "cell_type": cell_type,
            "tf": tf,
            "motif": [names[motif] for motif in here],
            "own": own[here],
            "rank": rank + 1,
            "n_motifs": len(names),
            "n_sites": n,
            "n_background": m,
            "min_binding": least,
            "sites_with_motif": ours[here] / n,
            "background_with_motif": theirs[here] / m,
            "odds_ratio": odds_ratio[here],
            "p_value": p_value[here],
            "gc_sites": gc[sites].mean(),
            "gc_background": gc[background].mean(),
        },
        index=here,
    )
    return p_value, table
