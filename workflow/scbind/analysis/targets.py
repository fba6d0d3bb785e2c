"""Target genes: genes that a transcription factor probably regulates, per cell type.

Regulatory potential of a gene: the sum over windows of P(bound) * 2^(-d / half_decay). d is the distance (bp) between
window and transcription start site. The idea is that of Tang et al. 2011 (Cancer Research 71:6940). The formula is that
of Cistrome-GO (Li et al. 2019, Nucleic Acids Research 47:W206; 10 kb is its default for TFs that bind enhancers) and of
Chen et al. 2020 (Nature Communications 11:2472, figure 1a). The potential ranks candidates. It does not prove
regulation.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scbind.analysis.typemeans import TypeMeans
from scbind.core.errors import InputError
from scbind.core.files import write_table
from scbind.core.runlog import say
from scbind.formats.genes import read_tss
from scbind.formats.genome import ChromSizes

PSEUDOCOUNT = 0.1  # of the specificity ratio: the potential of a window at the start site with P(bound) 0.1
COLUMNS = [
    "cell_type", "tf", "gene", "chrom", "tss", "strand", "potential", "rank", "specificity",
    "top_window_start", "top_window_distance", "top_window_binding", "evidence",
    "reliability_level", "reliability_abstained",
]  # fmt: skip


def tf_targets(
    zarrs: list[str | Path],
    cells: list[str | Path],
    windows: str | Path,
    genes: str | Path,
    sizes: str | Path,
    output: str | Path,
    half_decay: float = 10_000,
    max_distance: int = 100_000,
    top: int = 100,
    min_cells: int = 20,
) -> None:
    """Write the ``top`` genes of every TF in every cell type, ranked by regulatory potential.

    Parameters
    ----------
    zarrs, cells
        ``results/binding/{sample}.zarr`` and ``results/cells/{sample}/cells.h5ad``, in the same order.
    windows
        ``results/binding/windows.npz``.
    genes
        BED6 or GTF; see :func:`scbind.formats.genes.read_tss`. A gene with several start sites is listed once, with the
        start site of largest potential.
    sizes
        ``chrom.sizes`` of the genome.
    output
        The table to write; columns in ``docs/reference/outputs.md``.
    half_decay
        Distance in bp that halves the weight of a window, from the centre of the window to the start site.
    max_distance
        Windows farther away than this distance in bp have no weight.
    top
        Number of genes per TF and type.
    min_cells
        Types with fewer cells are left out and named in the log. A TF is left out in types with fewer cells that are
        deep enough for it.

    Raises
    ------
    InputError
        If a distance is not positive, or the stores, cells and windows do not belong together.
    """
    if half_decay <= 0 or max_distance < 0:
        raise InputError(
            "targets", "half_decay or max_distance is not positive", "set positive distances in bp"
        )
    table_sizes = ChromSizes.read(sizes)
    tss = read_tss(genes, table_sizes)
    means = TypeMeans.open(zarrs, cells, windows, min_cells, "TF targets")
    start = means.windows.start.astype(np.int64)
    centre = start + means.windows.window // 2
    weight, distance = potential_weights(means.windows.chrom, centre, tss, half_decay, max_distance)
    gene = tss["gene"].to_numpy()
    rows = []
    for tf, binding in means:
        known = np.flatnonzero(
            ~np.isnan(binding).any(axis=1)
        )  # types with enough cells that are deep enough for the TF
        binding = binding[known]
        potential = binding @ weight  # (known types, start sites)
        specificity = (
            _specificity(potential) if len(known) > 1 else None
        )  # with one type there is no comparison
        for row, name in enumerate(np.asarray(means.types, dtype=object)[known]):
            order = np.argsort(-potential[row], kind="stable")
            order = order[potential[row, order] > 0]
            order = order[~pd.Series(gene[order]).duplicated().to_numpy()][:top]
            kept = tss.iloc[order].assign(cell_type=name, tf=tf, potential=potential[row, order])
            kept["rank"] = np.arange(1, len(order) + 1)
            if specificity is not None:
                kept["specificity"] = specificity[row, order]
            if len(order):
                rows.append(kept.join(_strongest(order, binding[row], weight, distance, start)))
    columns = COLUMNS[: COLUMNS.index("evidence")]
    table = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=columns)
    table["chrom"] = np.asarray(table_sizes.names, dtype=object)[table["chrom"].to_numpy(dtype=np.int64)]
    table = table.join(means.marks, on="tf")
    table = table.sort_values(["cell_type", "tf", "rank"], kind="stable")
    write_table(output, table.reindex(columns=COLUMNS))
    say(f"target genes: {len(table):,} rows")


def potential_weights(
    chrom: np.ndarray, centre: np.ndarray, tss: pd.DataFrame, half_decay: float, max_distance: int
) -> tuple[sp.csc_matrix, sp.csc_matrix]:
    """Return the weight 2^(-d / half_decay) of every window for every start site within ``max_distance`` (bp).

    ``chrom`` and ``centre`` are int64 (windows,): index of the chromosome, and 0-based position of the centre. ``tss``
    comes from :func:`scbind.formats.genes.read_tss`. Returns two csc matrices (windows, start sites) with the same
    stored entries: weights (float32), and signed distances in bp (int64, negative upstream of the gene; zeros are
    stored).
    """
    windows, sites, distances = [], [], []
    for index in np.unique(chrom):
        here = np.flatnonzero(chrom == index)
        here = here[np.argsort(centre[here], kind="stable")]
        genes = np.flatnonzero(tss["chrom"].to_numpy() == index)
        position = tss["tss"].to_numpy()[genes]
        first = np.searchsorted(centre[here], position - max_distance, side="left")
        last = np.searchsorted(centre[here], position + max_distance, side="right")
        count = last - first
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        chosen = here[np.repeat(first, count) + within]
        windows.append(chosen)
        sites.append(np.repeat(genes, count))
        distances.append(centre[chosen] - np.repeat(position, count))
    window, site, distance = (
        np.concatenate([np.empty(0, dtype=np.int64), *parts]) for parts in (windows, sites, distances)
    )
    shape = (len(chrom), len(tss))
    weight = np.exp2(-np.abs(distance) / half_decay).astype(np.float32)
    sign = np.where(tss["strand"].to_numpy() == "-", -1, 1)[site]
    return tuple(sp.csc_matrix((data, (window, site)), shape=shape) for data in (weight, distance * sign))


def _specificity(potential: np.ndarray) -> np.ndarray:
    """Return log2 of each type's potential over the mean of the other types: same shape, at least two types."""
    others = (potential.sum(axis=0) - potential) / (len(potential) - 1)
    return np.log2((potential + PSEUDOCOUNT) / (others + PSEUDOCOUNT))


def _strongest(
    sites: np.ndarray, binding: np.ndarray, weight: sp.csc_matrix, distance: sp.csc_matrix, start: np.ndarray
) -> pd.DataFrame:
    """Return the window that contributes most to each start site: start, signed distance (bp), mean P(bound)."""
    found = []
    for site in sites:
        span = slice(weight.indptr[site], weight.indptr[site + 1])
        window = weight.indices[span]
        best = int(np.argmax(weight.data[span] * binding[window]))
        found.append((start[window[best]], distance.data[span][best], binding[window[best]]))
    columns = ["top_window_start", "top_window_distance", "top_window_binding"]
    return pd.DataFrame(found, columns=columns).set_axis(sites, axis=0)
