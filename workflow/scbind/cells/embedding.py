"""All cells of a group of samples together: which pass, where they lie, which clusters they form.

Nothing here looks at a cell's label except to name it: peaks are called on all fragments of a sample and tiles
are chosen over all passing cells, so labels cannot leak into the signal.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import anndata as ad
import numpy as np
import pandas as pd

from scbind.cells.celltypes import name_cells, read_labels
from scbind.cells.clusters import cluster, corrected
from scbind.cells.columns import COLUMNS
from scbind.cells.doublets import sample_scores
from scbind.cells.lsi import TileMatrix, Tiling, spectral
from scbind.cells.neighbours import borrow
from scbind.core.errors import InputError
from scbind.core.files import atomic, require
from scbind.core.runlog import say
from scbind.formats.celltable import GROUP, read_whole
from scbind.formats.genome import ChromSizes
from scbind.formats.intervals import read_bed, read_called
from scbind.formats.signal import CellSignal

METADATA = ("donor", "condition")  # of the sample sheet, for every cell
DOUBLET_TILES = 25_000  # that doublets are looked for by: held in memory, of a batch of cells at a time


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
    neighbour_chromosomes: Sequence[str] | None = None,
    batches: dict[str, str] | None = None,
    seed: int = 0,
) -> None:
    """Judge, embed and cluster the cells of the samples of a group, jointly.

    Parameters
    ----------
    samples
        Sample name to the paths ``position``, ``cell``, ``barcodes`` (of
        :func:`scbind.cells.count.count_fragments`) and ``peaks`` (narrowPeak called on all fragments of the
        sample, or empty).
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
        Cells that pass all this and have a larger score (:func:`scbind.cells.doublets.sample_scores`, per
        sample) do not pass; None only writes the scores.
    label_transfer, min_label_confidence
        How cells without a label are named where others have one, see :func:`scbind.cells.celltypes.name_cells`.
    tile, max_tiles, min_cells_per_tile, components
        Tile width (bp) and the rest of :mod:`scbind.cells.lsi`. Of few cells a tile needs only one in ten.
    neighbours, resolution, min_dist, seed
        Of scanpy's neighbour graph (cosine), Leiden clustering (Traag et al. 2019) and UMAP.
    neighbour_chromosomes
        Cells are embedded a second time by the tiles of these chromosomes alone, for the choice of whom they borrow
        from: an evaluation on other chromosomes then sees no choice made by the signal that it scores. None for all.
    batches
        Sample to the batch (itself, or its donor) whose effect is taken out before clustering and UMAP
        (:func:`scbind.cells.clusters.corrected`); None leaves all as it is.

    Writes
    ------
    h5ad without ``X``: a row per barcode of each sample in the order of its table, named ``sample#barcode``.
    ``obs``: sample, donor, condition, barcode, n_fragments, n_reads, frac_duplicates, nucleosome_signal,
    tss_enrichment, frac_in_peaks (share of insertions), doublet_score, pass, reason (each threshold not kept), cluster,
    label, cell_type, cell_type_source, label_confidence (see :func:`scbind.cells.celltypes.name_cells`). ``obsm``:
    ``X_lsi``, ``X_umap``; ``X_neighbours`` (where chromosomes are given), ``X_harmony`` (where batches are). ``uns``:
    params, embedding, clusters. Cells that do not pass have no cluster, no cell_type, and NaN coordinates; the score
    of a doublet is known where all else passed.

    Raises
    ------
    InputError
        For labels of unknown barcodes, malformed tables, files of different runs, chromosomes that the genome does
        not have, and no passing cell.
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
        "neighbour_chromosomes": neighbour_chromosomes,
        "batches": batches,
        "seed": seed,
    }
    params = {name: value for name, value in params.items() if value is not None}
    sizes = ChromSizes.read(sizes_path)
    if unknown := set(neighbour_chromosomes or ()) - set(sizes.names):
        problem = f"no chromosome {', '.join(sorted(unknown))}"
        raise InputError(sizes_path, problem, "correct cells.neighbour_chromosomes")
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
    _refuse_none(obs, samples)
    tiling = Tiling(sizes, tile)
    excluded = _excluded(exclude, tiling)

    def with_tiles(use, most: int, left_out: np.ndarray, chosen: slice = slice(None)):
        """What ``use`` makes of the open tiles of passing cells, those of all samples or of the ``chosen`` ones."""
        parts = _rows(obs, tables[chosen])
        n_cells = sum(int((part >= 0).sum()) for part in parts)
        least = min(min_cells_per_tile, max(1, n_cells // 10))
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".tiles.", dir=Path(output).parent) as scratch:
            file = Path(scratch) / "rows"
            return use(TileMatrix.write(file, signals[chosen], parts, tiling, left_out, least, most))

    obs["doublet_score"] = np.nan
    for number, sample in enumerate(samples):  # doublets form within one droplet, so within one sample
        if not obs.loc[obs["sample"] == sample, "pass"].any():
            say(f"WARNING {sample}: no cell passes")
            continue
        found = with_tiles(
            lambda matrix: sample_scores(matrix, seed),
            DOUBLET_TILES,
            excluded,
            slice(number, number + 1),
        )
        obs.loc[(obs["sample"] == sample) & obs["pass"], "doublet_score"] = found
    passing = _without_doublets(obs, passing, max_doublet_score)
    _refuse_none(obs, samples)

    def place(left_out: np.ndarray) -> tuple[np.ndarray, int]:
        """Coordinates of the passing cells by all tiles but these, and how many there are."""
        return with_tiles(lambda m: (spectral(m, components, seed), len(m.tiles)), max_tiles, left_out)

    obsm = {}
    obsm["X_lsi"], n_tiles = place(excluded)
    facts = {"n_tiles": n_tiles}
    say(f"{group}: {n_tiles} tiles, {obsm['X_lsi'].shape[1]} components")
    if neighbour_chromosomes:
        obsm["X_neighbours"], number = place(excluded | tiling.outside(neighbour_chromosomes))
        say(f"{group}: neighbours by {number} tiles on {', '.join(neighbour_chromosomes)}")
    points = obsm["X_lsi"]
    if batches is not None:
        batch = obs["sample"].map(batches).to_numpy()[passing]
        points = obsm["X_harmony"] = corrected(points, batch, seed)
    number, obsm["X_umap"], facts["message"] = cluster(points, neighbours, resolution, min_dist, seed)
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
    for key, values in obsm.items():
        obsm[key] = np.full((len(obs), values.shape[1]), np.nan, dtype=np.float32)
        obsm[key][passing] = values
    result = ad.AnnData(
        obs=obs[order], obsm=obsm, uns={"params": params, "embedding": facts, "clusters": clusters}
    )
    with atomic(output) as path:
        result.write_h5ad(path)


def sample_cells(
    embedding: str | Path,
    sample: str,
    output: str | Path,
    target_fragments: float,
    max_neighbours: int,
    weights: str = "uniform",
) -> None:
    """Write one sample's part of an embedding, with whom each of its cells borrows from.

    Rows are in the order of the sample's ``barcodes.tsv``, failed cells included, so row ``i`` is cell ``i``
    of its :class:`scbind.formats.signal.CellSignal`. ``obsp["borrow"]``: float32 csr of
    :func:`scbind.cells.neighbours.borrow`,
    by ``X_neighbours`` where the embedding has it, else ``X_lsi``: only cells of one sample are compared, so nothing
    needs to be corrected. The row of a failed cell is empty.
    Raises :class:`InputError` if the embedding has no such sample.
    """
    cells = read_whole(embedding, GROUP)
    chosen = (cells.obs["sample"] == sample).to_numpy()
    if not chosen.any():
        known = ", ".join(map(str, cells.obs["sample"].cat.categories))
        raise InputError(embedding, f"no cell of sample {sample} (it has {known})", "embed its group again")
    cells = cells[chosen].copy()
    points = cells.obsm["X_neighbours" if "X_neighbours" in cells.obsm else "X_lsi"]
    n_fragments = cells.obs["n_fragments"].to_numpy()
    cells.obsp["borrow"] = borrow(points, n_fragments, target_fragments, max_neighbours, weights)
    cells.uns["borrow"] = {
        "target_fragments": target_fragments,
        "max_neighbours": max_neighbours,
        "weights": weights,
    }
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
    peaks = read_called(paths["peaks"], sizes)
    offset = sizes.offsets[pd.Index(sizes.names).get_indexer(peaks["chrom"])]
    within = signal.totals_within(offset + peaks["start"].to_numpy(), offset + peaks["end"].to_numpy())
    table["frac_in_peaks"] = within / np.maximum(2 * table["n_fragments"], 1)
    table["sample"] = sample
    return table, signal


def _rows(obs: pd.DataFrame, tables: Sequence[pd.DataFrame]) -> list[np.ndarray]:
    """For each of some samples the row of its cells among the passing ones of these samples, -1 for the others."""
    parts, done = [], 0
    for table in tables:
        passes = obs.loc[obs["sample"] == table["sample"].iloc[0], "pass"].to_numpy()
        parts.append(np.where(passes, done + np.cumsum(passes) - 1, -1))
        done += int(passes.sum())
    return parts


def _without_doublets(obs: pd.DataFrame, passing: np.ndarray, limit: float | None) -> np.ndarray:
    """Fail the passing cells that are scored as doublets; the rows of those that are left."""
    obs.loc[passing, "reason"] = reasons(obs.iloc[passing], [("doublet_score", ">", limit)])
    obs["pass"] = obs["reason"] == ""
    left = np.flatnonzero(obs["pass"])
    if len(left) < len(passing):
        say(f"{len(passing) - len(left)} of {len(passing)} cells look like doublets and do not pass")
    return left


def _refuse_none(obs: pd.DataFrame, samples: dict[str, dict]) -> None:
    if not obs["pass"].any():
        raise InputError(
            next(iter(samples.values()))["barcodes"],
            f"no cell passes (the first: {obs['reason'].iloc[0]})",
            "relax the thresholds of quality",
        )


def _excluded(path: str | Path | None, tiling: Tiling) -> np.ndarray:
    """Tiles touched by an exclusion list; the file may be empty."""
    if path is None:
        return np.zeros(tiling.first[-1], dtype=bool)
    table = read_bed(path, tiling.sizes)
    index = pd.Index(tiling.sizes.names).get_indexer(table["chrom"])
    return tiling.touched(index, table["start"].to_numpy(), table["end"].to_numpy())
