"""Predicted binding per consensus peak and TF, as the annotation of peaks that tools for accessibility read.

chromVAR and its successors ask which peaks have a motif, and decoupler which features a TF regulates. The probability
that the TF binds in the peak takes the place of the motif match. betterChromVAR reads weights between 0 and 1.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

from scbind.analysis.typemeans import TypeMeans, site_binding
from scbind.core.errors import InputError
from scbind.core.files import atomic, table_text
from scbind.core.runlog import say
from scbind.formats.genome import ChromSizes
from scbind.formats.intervals import place_names, read_bed
from scbind.models.abstention import reliability_table

COLUMNS = ["source", "target", "weight", "evidence"]


def peak_binding(
    zarrs: list[str | Path],
    cells: list[str | Path],
    windows: str | Path,
    peaks: str | Path,
    sizes: str | Path,
    output: str | Path,
    network: str | Path,
    min_binding: float = 0.1,
    min_cells: int = 20,
) -> None:
    """Write the weight of every TF in every consensus peak.

    The weight is the largest mean P(bound) of any window of the peak in any cell type: the mean over the cells of the
    type, of all samples, that are deep enough for the TF (:class:`scbind.analysis.typemeans.TypeMeans`). The largest
    of the types and not the mean over all cells, so that a TF of a rare type keeps its peaks. Smaller weights than
    ``min_binding``, and peaks without a window, have 0.

    The binding of one TF is in memory at a time, and the weights that are not 0 of all TFs.

    Parameters
    ----------
    zarrs, cells
        ``results/binding/{sample}.zarr`` and ``results/cells/{sample}/cells.h5ad``, in the same order.
    windows, peaks, sizes
        ``results/binding/windows.npz``, ``results/peaks/consensus.bed`` and ``chrom.sizes``.
    output
        ``.h5ad``: ``X`` csr float32 (peaks, TFs), ``obs`` the peaks as in ``var`` of ``peaks.h5ad``, ``var`` the
        reliability of each TF.
    network
        Gzipped table of the weights that are not 0: ``source`` (TF), ``target`` (name of the peak), ``weight`` and
        ``evidence``. TFs on which scbind abstains are not in it, because its readers would not see a mark.
    min_binding
        Minimum weight.
    min_cells
        Types with fewer cells do not count. Nor does a type for a TF for which fewer of its cells are deep enough.

    Raises
    ------
    InputError
        If the stores, cells, windows and peaks do not belong together.
    """
    means = TypeMeans.open(zarrs, cells, windows, min_cells, "binding of peaks")
    table = read_bed(peaks, ChromSizes.read(sizes))
    if means.windows.peak.max(initial=-1) >= len(table):
        raise InputError(peaks, f"lacks peaks that {windows} has windows on", "choose the windows again")
    names, columns = place_names(table).to_numpy(dtype=object), []
    var = reliability_table(means.stores[0].reliability, means.tfs)
    with atomic(network) as scratch, open(scratch, "wb") as raw:
        # without name and date in its header, the same weights give the same bytes
        with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as handle:
            handle.write(table_text(pd.DataFrame(columns=COLUMNS)).encode())
            for tf, binding in means:
                weight = site_binding(binding, means.windows.peak, len(table)).max(axis=0, initial=0)
                peak = np.flatnonzero((weight >= min_binding) & (weight > 0))
                weight = weight[peak].astype(np.float32)
                columns.append((peak.astype(np.int32), weight))
                if len(peak) and not var.at[tf, "abstained"]:
                    facts = {"source": tf, "target": names[peak], "weight": weight}
                    edges = pd.DataFrame(facts | {"evidence": var.at[tf, "evidence"]})
                    handle.write(table_text(edges, header=False).encode())
    obs = table[["chrom", "start", "end"]].astype({"chrom": "category"})
    obs.index = pd.Index(names, name="peak")
    data = anndata.AnnData(_joined(columns, len(table)), obs=obs, var=var)
    data.uns["about"] = {
        "X": "largest mean P(bound) of the windows of the peak in the cells of a type; 0 below min_binding",
        "min_binding": min_binding,
        "cell_types": np.array(means.types, dtype=object),
    }
    with atomic(output) as scratch:
        data.write_h5ad(scratch, compression="gzip")
    say(f"binding of peaks: {data.X.nnz:,} weights of {len(means.tfs)} TFs in {len(table):,} peaks")


def _joined(columns: list[tuple[np.ndarray, np.ndarray]], n_peaks: int) -> sp.csr_matrix:
    """Return the weights as csr float32 (peaks, TFs). ``columns``: peaks, rising, and weights of each TF."""
    first = np.cumsum([0, *(len(peak) for peak, _ in columns)])
    peak = np.concatenate([np.zeros(0, np.int32), *(peak for peak, _ in columns)])
    weight = np.concatenate([np.zeros(0, np.float32), *(weight for _, weight in columns)])
    return sp.csc_matrix((weight, peak, first), shape=(n_peaks, len(columns))).tocsr()
