"""All cells of a group of samples together: which pass, where they lie, which clusters they form.

Nothing here looks at a cell's label except to name it: peaks are called on all cells of a sample and tiles
are chosen over all passing cells, so labels cannot leak into the signal.
"""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

from scbind.cells import COLUMNS
from scbind.celltypes import name_cells, read_labels
from scbind.doublets import doublet_scores
from scbind.errors import InputError
from scbind.files import atomic, require
from scbind.genome import ChromSizes
from scbind.lsi import DEPTH_CORRELATION, Tiling, reduce, tf_idf, tile_matrix
from scbind.neighbours import borrow
from scbind.peaks import read_bed, read_narrowpeak
from scbind.runlog import say
from scbind.signal import CellSignal

METADATA = ("donor", "condition")  # of the sample sheet, for every cell
FEW_CELLS = 10  # below this many cells neighbours, clusters and UMAP say nothing


def embed(
    samples: dict[str, dict],
    sizes_path: str | Path,
    output: str | Path,
    labels: dict[str, str | Path | None] | None = None,
    *,
    metadata: dict[str, dict[str, str | None]] | None = None,
    group: str = "cells",
    exclude: str | Path | None = None,
    min_fragments: int = 1000,
    max_fragments: int | None = None,
    min_tss: float | None = None,
    max_nucleosome_signal: float | None = None,
    min_frac_in_peaks: float | None = None,
    max_doublet_score: float | None = None,
    label_transfer: str = "neighbours",
    min_label_confidence: float = 0.5,
    tile: int = 500,
    max_tiles: int = 100_000,
    min_cells_per_tile: int = 5,
    components: int = 30,
    neighbours: int = 15,
    resolution: float = 1.0,
    min_dist: float = 0.3,
    seed: int = 0,
) -> None:
    """Judge, embed and cluster the cells of the samples of a group, jointly.

    Parameters
    ----------
    samples
        Sample name to the paths ``position``, ``cell``, ``barcodes`` (of
        :func:`scbind.cells.count_fragments`) and ``peaks`` (narrowPeak called on all cells of the sample).
    sizes_path, output
        ``chrom.sizes``; the ``.h5ad`` to write.
    labels
        Sample name to a TSV with the header columns ``barcode`` and ``cell_type``, or None.
    metadata
        Sample name to its ``donor`` and ``condition``, or None.
    group
        Name of the group; its clusters are ``{group}_c0``, ``{group}_c1``, ... by falling size.
    exclude
        BED of regions whose tiles are not used (exclusion list, or chromosomes to be scored later).
    min_fragments, max_fragments, min_tss, max_nucleosome_signal, min_frac_in_peaks
        Thresholds a cell must keep, None for none. A value that is not known (TSS enrichment without genes)
        is not held against a cell.
    max_doublet_score
        Cells that pass all this and have a larger score (:func:`scbind.doublets.doublet_scores`, per sample) do not
        pass; None only writes the scores.
    label_transfer, min_label_confidence
        How cells without a label are named where others have one, see :func:`scbind.celltypes.name_cells`.
    tile, max_tiles, min_cells_per_tile, components
        Tile width (bp) and the rest of :mod:`scbind.lsi`. Of few cells a tile needs only one in ten.
    neighbours, resolution, min_dist, seed
        Of scanpy's neighbour graph (cosine), Leiden clustering (Traag et al. 2019) and UMAP.

    Writes
    ------
    h5ad without ``X``: a row per barcode of each sample in the order of its table, named ``sample#barcode``.
    ``obs``: sample, donor, condition, barcode, n_fragments, n_reads, frac_duplicates, nucleosome_signal,
    tss_enrichment,
    frac_in_peaks (share of insertions), doublet_score, pass, reason (each threshold not kept), cluster, label,
    cell_type, cell_type_source, label_confidence (see :func:`scbind.celltypes.name_cells`). ``obsm``: ``X_lsi``,
    ``X_umap``. ``uns``: params, embedding, clusters. Cells that do not pass have no cluster, no cell_type, and NaN
    coordinates; the score of a doublet is known where all else passed.

    Raises
    ------
    InputError
        For labels of unknown barcodes, malformed tables, files of different runs, and no passing cell.
    """
    params = {
        "group": group,
        "min_fragments": min_fragments,
        "max_fragments": max_fragments,
        "min_tss": min_tss,
        "max_nucleosome_signal": max_nucleosome_signal,
        "min_frac_in_peaks": min_frac_in_peaks,
        "max_doublet_score": max_doublet_score,
        "label_transfer": label_transfer,
        "min_label_confidence": min_label_confidence,
        "tile": tile,
        "max_tiles": max_tiles,
        "min_cells_per_tile": min_cells_per_tile,
        "components": components,
        "neighbours": neighbours,
        "resolution": resolution,
        "min_dist": min_dist,
        "seed": seed,
    }
    params = {name: value for name, value in params.items() if value is not None}
    sizes = ChromSizes.read(sizes_path)
    signals, tables = [], []
    for sample, paths in samples.items():
        table, signal = _read_sample(sample, paths, sizes)
        path = (labels or {}).get(sample)
        table["label"] = np.nan if path is None else read_labels(path, table["barcode"], sample)
        for column in METADATA:
            table[column] = (metadata or {}).get(sample, {}).get(column)
        signals.append(signal)
        tables.append(table)
    obs = pd.concat(tables, ignore_index=True)
    limits = [
        ("n_fragments", "<", min_fragments),
        ("n_fragments", ">", max_fragments),
        ("tss_enrichment", "<", min_tss),
        ("nucleosome_signal", ">", max_nucleosome_signal),
        ("frac_in_peaks", "<", min_frac_in_peaks),
    ]
    obs["reason"] = reasons(obs, limits)
    obs["pass"] = obs["reason"] == ""
    passing = np.flatnonzero(obs["pass"])
    say(f"{group}: {len(passing)} of {len(obs)} cells pass")
    if not len(passing):
        barcodes = next(iter(samples.values()))["barcodes"]
        raise InputError(
            barcodes,
            f"no cell passes (the first: {obs['reason'].iloc[0]})",
            "relax the thresholds of quality",
        )
    row = np.full(len(obs), -1, dtype=np.int64)
    row[passing] = np.arange(len(passing))
    tiling = Tiling(sizes, tile)
    min_cells = min(min_cells_per_tile, max(1, len(passing) // 10))
    parts = np.split(row, np.cumsum([len(table) for table in tables])[:-1])
    matrix, used = tile_matrix(signals, parts, tiling, _excluded(exclude, tiling), min_cells, max_tiles)
    obs["doublet_score"] = np.nan
    kept = _without_doublets(obs, matrix, passing, max_doublet_score, seed)
    matrix, passing = matrix[kept], passing[kept]
    depth = obs["n_fragments"].to_numpy()[passing]
    points, correlation = reduce(tf_idf(matrix), depth, components, seed)
    facts = {"n_tiles": len(used), "min_cells_per_tile": min_cells, "depth_correlation": correlation}
    say(f"{group}: {len(used)} tiles, {points.shape[1]} components, depth correlation {correlation:.2f}")
    if abs(correlation) > DEPTH_CORRELATION:
        say(f"{group}: the first component is depth and is dropped")
    number, umap, facts["message"] = cluster(points, neighbours, resolution, min_dist, seed)
    if facts["message"]:
        say(f"{group}: {facts['message']}")
    name = np.full(len(obs), np.nan, dtype=object)
    name[passing] = [f"{group}_c{i}" for i in number]
    obs["cluster"] = name
    named, clusters = name_cells(
        points,
        obs["label"].to_numpy(dtype=object)[passing],
        name[passing],
        label_transfer,
        min_label_confidence,
        neighbours,
    )
    obs = obs.join(named.set_index(passing))
    obs.index = obs["sample"] + "#" + obs["barcode"]
    for column in ("sample", *METADATA, "cluster", "label", "cell_type", "cell_type_source"):
        obs[column] = pd.Categorical(obs[column].astype(object))
    order = ["sample", *METADATA, *COLUMNS, "frac_in_peaks", "doublet_score", "pass", "reason"]
    order += ["cluster", "label", "cell_type", "cell_type_source", "label_confidence"]
    obsm = {}
    for key, values in (("X_lsi", points), ("X_umap", umap)):
        obsm[key] = np.full((len(obs), values.shape[1]), np.nan, dtype=np.float32)
        obsm[key][passing] = values
    result = ad.AnnData(
        obs=obs[order], obsm=obsm, uns={"params": params, "embedding": facts, "clusters": clusters}
    )
    with atomic(output) as path:
        result.write_h5ad(path)


def sample_cells(
    embedding: str | Path, sample: str, output: str | Path, target_fragments: float, max_neighbours: int
) -> None:
    """Write one sample's part of an embedding, with whom each of its cells borrows from.

    Rows are in the order of the sample's ``barcodes.tsv``, failed cells included, so row ``i`` is cell ``i``
    of its :class:`scbind.signal.CellSignal`. ``obsp["borrow"]``: float32 0/1 csr of
    :func:`scbind.neighbours.borrow`; the row of a failed cell is empty.
    Raises :class:`InputError` if the embedding has no such sample.
    """
    cells = ad.read_h5ad(require(embedding, "embed the group first"))
    chosen = (cells.obs["sample"] == sample).to_numpy()
    if not chosen.any():
        known = ", ".join(map(str, cells.obs["sample"].cat.categories))
        raise InputError(embedding, f"no cell of sample {sample} (it has {known})", "embed its group again")
    cells = cells[chosen].copy()
    cells.obsp["borrow"] = borrow(
        cells.obsm["X_lsi"], cells.obs["n_fragments"].to_numpy(), target_fragments, max_neighbours
    )
    cells.uns["borrow"] = {"target_fragments": target_fragments, "max_neighbours": max_neighbours}
    passing = cells.obs["pass"].to_numpy()
    borrowed = cells.obsp["borrow"] @ cells.obs["n_fragments"].to_numpy(dtype=np.float64)
    number = np.diff(cells.obsp["borrow"].indptr)[passing] - 1
    if passing.any():
        short = int((borrowed[passing] < target_fragments).sum())
        say(f"{sample}: {passing.sum()} cells borrow from {np.median(number):.0f} others (median)")
        if short:
            say(f"{sample}: {short} of them stay below {target_fragments} fragments")
    with atomic(output) as path:
        cells.write_h5ad(path)


def reasons(obs: pd.DataFrame, limits: list[tuple[str, str, float | None]]) -> np.ndarray:
    """Text of every threshold that a cell does not keep, as ``tss_enrichment 2.1 < 4``; empty if none.

    ``limits``: column, the comparison that fails a cell (``<`` or ``>``), the threshold or None. An unknown
    value (NaN) fails nothing.
    """
    text = pd.Series("", index=obs.index, dtype=object)
    for column, sign, limit in limits:
        if limit is None:
            continue
        if obs[column].isna().all():
            say(f"{column} is not known: its threshold {limit} is not used")
        fails = (obs[column] < limit) if sign == "<" else (obs[column] > limit)
        style = "{:.4g}".format if obs[column].dtype.kind == "f" else str
        found = obs.loc[fails, column].map(style).astype(object)
        text[fails] += "; " + column + " " + found + f" {sign} {limit}"
    return text.str.removeprefix("; ").to_numpy(dtype=object)


def cluster(
    points: np.ndarray, neighbours: int, resolution: float, min_dist: float, seed: int
) -> tuple[np.ndarray, np.ndarray, str]:
    """Cluster and lay out cells by cosine similarity.

    ``points`` float (cells, components). Returns the cluster of each cell (int64, 0 the largest), its place
    (float32 (cells, 2)) and a message, empty if all went as asked. Fewer than ten cells are one cluster,
    placed by their first two components.
    """
    n_cells = len(points)
    if n_cells < FEW_CELLS:
        plane = np.zeros((n_cells, 2), dtype=np.float32)
        plane[:, : min(2, points.shape[1])] = points[:, :2]
        return (
            np.zeros(n_cells, dtype=np.int64),
            plane,
            f"{n_cells} cells are too few to cluster: one cluster",
        )
    import scanpy as sc  # seconds to import

    message = ""
    if neighbours > n_cells - 1:
        message = f"{n_cells} cells, so the graph has {n_cells - 1} neighbours instead of {neighbours}"
        neighbours = n_cells - 1
    # On unit vectors the Euclidean order is the cosine order; sklearn's search is exact, so it repeats.
    norm = np.linalg.norm(points, axis=1, keepdims=True)
    unit = points / np.where(norm > 0, norm, 1)
    graph = ad.AnnData(obs=pd.DataFrame(index=np.arange(n_cells).astype(str)), obsm={"X": unit})
    sc.pp.neighbors(graph, n_neighbors=neighbours, use_rep="X", transformer="sklearn", random_state=seed)
    sc.tl.leiden(
        graph, resolution=resolution, flavor="igraph", directed=False, n_iterations=-1, random_state=seed
    )
    sc.tl.umap(graph, min_dist=min_dist, random_state=seed)
    found, first, number, size = np.unique(
        graph.obs["leiden"].astype(int), return_index=True, return_inverse=True, return_counts=True
    )
    by_size = np.lexsort((first, -size))  # of equal size: the one whose first cell comes first
    place = np.empty(len(found), dtype=np.int64)
    place[by_size] = np.arange(len(found))
    return place[number], np.asarray(graph.obsm["X_umap"], dtype=np.float32), message


def _read_sample(sample: str, paths: dict, sizes: ChromSizes) -> tuple[pd.DataFrame, CellSignal]:
    """The table of a sample's barcodes with its fraction in peaks, and its insertions."""
    remedy = "count the sample's fragments again"
    path = require(paths["barcodes"], remedy)
    unknown = dict.fromkeys(("nucleosome_signal", "tss_enrichment"), [""])
    table = pd.read_csv(path, sep="\t", dtype={"barcode": str}, keep_default_na=False, na_values=unknown)
    if list(table.columns) != COLUMNS:
        raise InputError(path, f"columns {', '.join(table.columns)}, not {', '.join(COLUMNS)}", remedy)
    signal = CellSignal.open(paths["position"], paths["cell"], len(table), sizes)
    if len(signal.position) != 2 * table["n_fragments"].sum():
        raise InputError(
            path,
            f"{table['n_fragments'].sum()} fragments do not give the {len(signal.position)} insertions of "
            f"{paths['position']}",
            remedy,
        )
    peaks = read_narrowpeak(paths["peaks"], sizes)
    offset = sizes.offsets[pd.Index(sizes.names).get_indexer(peaks["chrom"])]
    within = signal.totals_within(offset + peaks["start"].to_numpy(), offset + peaks["end"].to_numpy())
    table["frac_in_peaks"] = within / np.maximum(2 * table["n_fragments"], 1)
    table["sample"] = sample
    return table, signal


def _without_doublets(obs, matrix, passing, limit: float | None, seed: int) -> np.ndarray:
    """Score the passing cells of each sample in place, fail doublets; bool (passing,), the cells that are left."""
    score = np.full(len(passing), np.nan)
    of = obs["sample"].to_numpy()[passing]
    for sample in dict.fromkeys(of):
        score[of == sample] = doublet_scores(matrix[of == sample], seed)
    obs.loc[passing, "doublet_score"] = score
    obs.loc[passing, "reason"] = reasons(obs.iloc[passing], [("doublet_score", ">", limit)])
    obs["pass"] = obs["reason"] == ""
    kept = obs["pass"].to_numpy()[passing]
    if not kept.all():
        say(f"{(~kept).sum()} of {len(kept)} cells look like doublets and do not pass")
    return kept


def _excluded(path: str | Path | None, tiling: Tiling) -> np.ndarray:
    """Tiles touched by an exclusion list; the file may be empty."""
    if path is None:
        return np.zeros(tiling.first[-1], dtype=bool)
    table = read_bed(path, tiling.sizes)
    index = pd.Index(tiling.sizes.names).get_indexer(table["chrom"])
    return tiling.touched(index, table["start"].to_numpy(), table["end"].to_numpy())
