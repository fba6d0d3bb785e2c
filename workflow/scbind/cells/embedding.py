"""Joint processing of the cells of a group of samples: quality control, embedding, clusters, cell types.

Labels are used only to name cells. Peaks are called on all fragments of a sample, and tiles are chosen over all passing
cells, so labels cannot leak into the signal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from scbind.cells.celltypes import name_cells
from scbind.cells.clusters import cluster, corrected
from scbind.cells.columns import COLUMNS
from scbind.cells.doublets import sample_scores
from scbind.cells.lsi import TileMatrix, Tiling, spectral
from scbind.cells.profiles import ignored_barcodes, read_profile
from scbind.cells.samples import read_samples
from scbind.core.errors import InputError
from scbind.core.files import atomic
from scbind.core.runlog import say
from scbind.core.scratch import scratch_folder
from scbind.formats.genome import ChromSizes
from scbind.formats.intervals import read_bed
from scbind.formats.signal import CellSignal

DOUBLET_TILES = 25_000  # number of tiles for doublet scores; in memory for one batch of cells at a time


@dataclass(frozen=True)
class EmbedOptions:
    """Options for quality control, embedding, clusters and cell types: the section ``cells`` of the configuration.

    Attributes
    ----------
    min_fragments, max_fragments, min_tss, max_nucleosome_signal, min_frac_in_peaks
        Thresholds of quality control; None for no threshold. Fragments are unique fragments. ``min_frac_in_peaks`` is a
        fraction of insertions. A cell does not fail because of an unknown value (TSS enrichment without genes).
    max_doublet_score
        Cells that meet all other thresholds fail if their score (:func:`scbind.cells.doublets.sample_scores`, per
        sample) is higher. None: scores are written, but no cell fails.
    label_transfer, min_label_confidence
        How cells without a label are named if others have one (:func:`scbind.cells.celltypes.name_cells`).
    tile, max_tiles, min_cells_per_tile, components
        Tile width (bp), largest number of tiles, smallest number of cells in which a tile is open, and number of
        dimensions of the embedding (:mod:`scbind.cells.lsi`). With few cells, a tile needs to be open only in one
        tenth of the cells.
    neighbours, resolution
        Number of neighbours in scanpy's graph (cosine), and resolution of Leiden (Traag et al. 2019).
    neighbour_chromosomes
        Lenders are chosen by a second embedding, from the tiles of these chromosomes only. An evaluation on other
        chromosomes is then independent of the choice of lenders. None: there is no second embedding.
    seed
        Seed of doublets, components and clusters.
    """

    min_fragments: int
    max_fragments: int | None
    min_tss: float | None
    max_nucleosome_signal: float | None
    min_frac_in_peaks: float | None
    max_doublet_score: float | None
    label_transfer: str
    min_label_confidence: float
    tile: int
    max_tiles: int
    min_cells_per_tile: int
    components: int
    neighbours: int
    resolution: float
    neighbour_chromosomes: Sequence[str] | None
    seed: int

    def limits(self) -> list[tuple[str, str, float | None]]:
        """Return the thresholds of quality control in the form that :func:`reasons` expects."""
        return [
            ("n_fragments", "<", self.min_fragments),
            ("n_fragments", ">", self.max_fragments),
            ("tss_enrichment", "<", self.min_tss),
            ("nucleosome_signal", ">", self.max_nucleosome_signal),
            ("frac_in_peaks", "<", self.min_frac_in_peaks),
        ]


def embed(
    samples: dict[str, dict],
    sizes_path: str | Path,
    output: str | Path,
    options: EmbedOptions,
    *,
    group: str,
    labels: dict[str, str | Path | None] | None = None,
    exclude: str | Path | None = None,
    batches: dict[str, str] | None = None,
) -> None:
    """Filter, embed, cluster and name the cells of the samples of a group, jointly.

    Parameters
    ----------
    samples
        Sample name to the paths ``position``, ``cell``, ``barcodes`` (of
        :func:`scbind.cells.count.count_fragments`) and ``peaks`` (narrowPeak called on all fragments of the
        sample; the file may be empty). ``profile``, also of ``count_fragments``, may be left out: the log and the
        error then do not say how many barcodes were ignored.
    sizes_path, output
        ``chrom.sizes``; the ``.h5ad`` to write.
    group
        Name of the group. Its clusters are ``{group}_c0``, ``{group}_c1``, ..., the largest first.
    labels
        Sample name to a TSV with the header columns ``barcode`` and ``cell_type``, or None.
    exclude
        BED of regions whose tiles are not used (exclusion list, or chromosomes to be scored later).
    batches
        Sample to its batch (the sample itself, or its donor). Batch effects are removed before clustering
        (:func:`scbind.cells.clusters.corrected`). None: they are not removed.

    Writes
    ------
    h5ad without ``X``, with one row per barcode of each sample, in the order of its table, named ``sample#barcode``.

    * ``obs``: sample, barcode, n_fragments, n_reads, frac_duplicates, nucleosome_signal, tss_enrichment,
      frac_mitochondrial, frac_in_peaks (fraction of insertions), doublet_score, pass, reason (each threshold that the
      cell does not meet), cluster, label, cell_type, cell_type_source, label_confidence (see
      :func:`scbind.cells.celltypes.name_cells`).
    * ``obsm``: ``X_lsi``; ``X_neighbours`` (with ``neighbour_chromosomes``), ``X_harmony`` (with batches).
    * ``obsp``: ``connectivities`` of scanpy's graph of neighbours.
    * ``uns``: params, embedding, clusters.

    Cells that do not pass have no cluster, no cell_type, and NaN coordinates. Cells that meet all thresholds except
    that of doublets have a doublet_score; other failing cells have NaN.

    Raises
    ------
    InputError
        If labels have unknown barcodes, tables are malformed, files are from different runs, the genome lacks a
        chromosome, or no cell passes.
    """
    sizes = ChromSizes.read(sizes_path)
    _check_chromosomes(options.neighbour_chromosomes, sizes, sizes_path)
    obs, signals = read_samples(samples, sizes, labels or {})
    obs["reason"] = reasons(obs, options.limits())
    _set_pass(obs, samples)
    say(f"{group}: {obs['pass'].sum()} of {len(obs)} cells pass")
    for sample, paths in samples.items():
        if ignored := _ignored(paths):
            say(f"{sample}: {ignored}")
    tiles = _OpenTiles(obs, signals, Tiling(sizes, options.tile), exclude, options, Path(output))
    obs["doublet_score"] = _score_doublets(obs, tiles, options.seed)
    _fail_doublets(obs, options.max_doublet_score)
    _set_pass(obs, samples)
    obsm, n_tiles = _place(tiles, group)
    points = obsm["X_lsi"]
    if batches is not None:
        batch = obs.loc[obs["pass"], "sample"].map(batches).to_numpy()
        points = obsm["X_harmony"] = corrected(points, batch, options.seed)
    number, graph, message = cluster(points, options.neighbours, options.resolution, options.seed)
    if message:
        say(f"{group}: {message}")
    obs, clusters = _name(obs, points, [f"{group}_c{i}" for i in number], options)
    params = {"group": group, **asdict(options), "batches": batches}
    uns = {
        "params": {name: value for name, value in params.items() if value is not None},
        "embedding": {"n_tiles": n_tiles, "message": message},
        "clusters": clusters,
    }
    passes = obs["pass"].to_numpy()
    obsm = {key: _spread(values, passes) for key, values in obsm.items()}
    obsp = {"connectivities": _spread_graph(graph, passes)}
    with atomic(output) as path:
        ad.AnnData(obs=_typed(obs), obsm=obsm, obsp=obsp, uns=uns).write_h5ad(path)


@dataclass(frozen=True)
class _OpenTiles:
    """Matrices of open tiles of the passing cells, for chosen samples. Files beside ``output`` go after use."""

    obs: pd.DataFrame  # its column pass determines the cells
    signals: dict[str, CellSignal]
    tiling: Tiling
    exclude: str | Path | None
    options: EmbedOptions
    output: Path

    @cached_property
    def excluded(self) -> np.ndarray:
        """Tiles that overlap the exclusion list: bool (tiles,). The file may be empty."""
        if self.exclude is None:
            return np.zeros(self.tiling.first[-1], dtype=bool)
        table = read_bed(self.exclude, self.tiling.sizes)
        index = pd.Index(self.tiling.sizes.names).get_indexer(table["chrom"])
        return self.tiling.touched(index, table["start"].to_numpy(), table["end"].to_numpy())

    def rows(self, samples: Sequence[str]) -> list[np.ndarray]:
        """Return, for each sample, the index of its cells among the passing cells of ``samples``; -1 for the others."""
        parts, done = [], 0
        for sample in samples:
            passes = self.obs.loc[self.obs["sample"] == sample, "pass"].to_numpy()
            parts.append(np.where(passes, done + np.cumsum(passes) - 1, -1))
            done += int(passes.sum())
        return parts

    @contextmanager
    def of(self, samples: Sequence[str], most: int, left_out: np.ndarray) -> Iterator[TileMatrix]:
        """Yield the open tiles of the passing cells of ``samples``: at most ``most`` tiles, without ``left_out``."""
        parts = self.rows(samples)
        n_cells = sum(int((part >= 0).sum()) for part in parts)
        least = min(self.options.min_cells_per_tile, max(1, n_cells // 10))
        with scratch_folder(self.output, "tiles") as scratch:
            signals = [self.signals[sample] for sample in samples]
            yield TileMatrix.write(scratch / "rows", signals, parts, self.tiling, left_out, least, most)


def _check_chromosomes(chosen: Sequence[str] | None, sizes: ChromSizes, path: str | Path) -> None:
    if unknown := set(chosen or ()) - set(sizes.names):
        problem = f"has no chromosome {', '.join(sorted(unknown))}"
        raise InputError(path, problem, "correct cells.neighbour_chromosomes")


def _set_pass(obs: pd.DataFrame, samples: dict[str, dict]) -> None:
    """Set ``pass`` for cells without a reason to fail. Raise :class:`InputError` if no cell passes."""
    obs["pass"] = obs["reason"] == ""
    if not obs["pass"].any():
        paths = next(iter(samples.values()))
        ignored = _ignored(paths)
        raise InputError(
            paths["barcodes"],
            f"no cell passes quality control (first cell: {obs['reason'].iloc[0]})"
            + f"; {ignored}" * bool(ignored),
            "relax the thresholds in the section cells of the configuration, such as cells.min_fragments"
            + " and cells.min_barcode" * bool(ignored),
        )


def _ignored(paths: dict) -> str:
    """Say how many barcodes of a sample were ignored because of their few fragments; empty if not known or none."""
    return ignored_barcodes(read_profile(paths["profile"])) if "profile" in paths else ""


def _score_doublets(obs: pd.DataFrame, tiles: _OpenTiles, seed: int) -> pd.Series:
    """Return the probability that each passing cell is a doublet; NaN for others. Doublets form within a sample."""
    scores = pd.Series(np.nan, index=obs.index)
    for sample in tiles.signals:
        passing = (obs["sample"] == sample) & obs["pass"]
        if not passing.any():
            say(f"WARNING {sample}: no cell passes quality control")
            continue
        with tiles.of([sample], DOUBLET_TILES, tiles.excluded) as matrix:
            scores[passing] = sample_scores(matrix, seed)
    return scores


def _fail_doublets(obs: pd.DataFrame, limit: float | None) -> None:
    """Write a ``reason`` for passing cells whose doublet score is above the limit."""
    passing = np.flatnonzero(obs["pass"])
    obs.loc[passing, "reason"] = reasons(obs.iloc[passing], [("doublet_score", ">", limit)])
    found = int((obs["reason"].iloc[passing] != "").sum())
    if found:
        say(f"{found} of {len(passing)} cells are probably doublets and do not pass")


def _place(tiles: _OpenTiles, group: str) -> tuple[dict[str, np.ndarray], int]:
    """Return the coordinates of the passing cells and the number of tiles.

    The coordinates are from the tiles of the genome, and with ``neighbour_chromosomes`` also from theirs alone.
    """
    options, samples = tiles.options, list(tiles.signals)
    obsm = {}
    with tiles.of(samples, options.max_tiles, tiles.excluded) as matrix:
        obsm["X_lsi"], n_tiles = spectral(matrix, options.components, options.seed), len(matrix.tiles)
    say(f"{group}: {n_tiles} tiles, {obsm['X_lsi'].shape[1]} components")
    if chosen := options.neighbour_chromosomes:
        left_out = tiles.excluded | tiles.tiling.outside(chosen)
        with tiles.of(samples, options.max_tiles, left_out) as matrix:
            obsm["X_neighbours"] = spectral(matrix, options.components, options.seed)
            say(f"{group}: neighbours from {len(matrix.tiles)} tiles on {', '.join(chosen)}")
    return obsm, n_tiles


def _name(
    obs: pd.DataFrame, points: np.ndarray, clusters: list[str], options: EmbedOptions
) -> tuple[pd.DataFrame, dict]:
    """Add cluster and cell type to the passing cells, at ``points``. Return the table, and facts on each cluster."""
    passing = np.flatnonzero(obs["pass"])
    cluster = np.full(len(obs), np.nan, dtype=object)
    cluster[passing] = clusters
    obs["cluster"] = cluster
    named, found = name_cells(
        points,
        obs["label"].to_numpy(dtype=object)[passing],
        cluster[passing],
        options.label_transfer,
        options.min_label_confidence,
        options.neighbours,
    )
    return obs.join(named.set_index(passing)), found


def _spread(values: np.ndarray, passes: np.ndarray) -> np.ndarray:
    """Extend the coordinates of passing cells to all cells: float32 (cells, dimensions), NaN for the others."""
    result = np.full((len(passes), values.shape[1]), np.nan, dtype=np.float32)
    result[passes] = values
    return result


def _spread_graph(graph: sparse.csr_matrix, passes: np.ndarray) -> sparse.csr_matrix:
    """Extend a graph of passing cells to all cells: csr float32 (cells, cells), without neighbours for the others."""
    graph, place = graph.tocoo(), np.flatnonzero(passes)
    shape = (len(passes),) * 2
    return sparse.csr_matrix(
        (graph.data, (place[graph.row], place[graph.col])), shape=shape, dtype=np.float32
    )


def _typed(obs: pd.DataFrame) -> pd.DataFrame:
    """Return the table in its final form: rows named, columns in order, text as categories."""
    obs.index = obs["sample"] + "#" + obs["barcode"]
    for column in ("sample", "cluster", "label", "cell_type", "cell_type_source"):
        obs[column] = pd.Categorical(obs[column].astype(object))
    order = ["sample", *COLUMNS, "frac_in_peaks", "doublet_score", "pass", "reason"]
    return obs[[*order, "cluster", "label", "cell_type", "cell_type_source", "label_confidence"]]


def reasons(obs: pd.DataFrame, limits: list[tuple[str, str, float | None]]) -> np.ndarray:
    """Return, per cell, the thresholds that it does not meet, such as ``tss_enrichment 2.1 < 4``; empty if none.

    ``limits`` holds tuples: column, comparison that fails a cell (``<`` or ``>``), threshold or None. A cell does not
    fail because of an unknown value (NaN).
    """
    text = pd.Series("", index=obs.index, dtype=object)
    for column, sign, limit in limits:
        if limit is None:
            continue
        if obs[column].isna().all():
            say(f"{column} is unknown, so its threshold {limit} is not used")
        fails = (obs[column] < limit) if sign == "<" else (obs[column] > limit)
        style = "{:.4g}".format if obs[column].dtype.kind == "f" else str
        found = obs.loc[fails, column].map(style).astype(object)
        text[fails] += "; " + column + " " + found + f" {sign} {limit}"
    return text.str.removeprefix("; ").to_numpy(dtype=object)
