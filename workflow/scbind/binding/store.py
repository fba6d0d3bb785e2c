"""The binding store of a sample: P(bound) per cell, window and TF, as an AnnData zarr, and its reader.

Each TF is one layer: a uint8 array of cells x windows in compressed chunks, 0 where P is below the floor. Chunks of
zeros are not written. Chunks divide both axes, so a cell, a region or a TF can be read without the rest.
"""

from __future__ import annotations

import difflib
import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
import zarr
from anndata.io import read_elem, write_elem
from numcodecs import Blosc

from scbind.binding.shards import (
    AGAIN,
    Shard,
    check_shards,
    decode,
    largest_error,
    written_to,
)
from scbind.binding.windows import Windows
from scbind.core.errors import InputError
from scbind.core.files import atomic, damage_errors
from scbind.core.progress import Progress
from scbind.core.runlog import say
from scbind.formats.celltable import read_passing_cells, sort_by_type
from scbind.formats.evidence import CHIP
from scbind.formats.genome import Genome
from scbind.models.abstention import abstained, reliability_table

MERGE = "merge its shards again"
FORMAT = 2  # version of the store; increase it if the meaning of the codes changes
# Cells x windows of a chunk, which is a file. Wider chunks are fewer files; cells are read faster, but windows slower
# (docs/notebooks/performance.md). With 2,048 windows, 10,000 cells x 720,000 windows x 44 TFs would be 200,000 files.
CHUNK = (512, 16384)
# Within a chunk cells vary fastest (order F), because the cells of a window have similar codes. Most bits of the codes
# are equal, so shuffling by bit saves 10 to 25 % of the space of shuffling by byte.
CODEC = Blosc("zstd", clevel=5, shuffle=Blosc.BITSHUFFLE)


def merge_shards(shards: list, windows, cells, reference_dir, output, provenance: dict | None = None) -> None:
    """Write the binding of a sample as an AnnData zarr store. One column of chunks is in memory at a time.

    * ``obs``: the passing cells with QC and type, sorted by type (:func:`scbind.formats.celltable.sort_by_type`). This
      order makes the store one seventh smaller than that of the shards.
    * ``var``: the windows (``chrom``, ``start``, ``end``, ``peak``, ``gc``; 0-based half-open).
    * ``layers[tf]``: uint8 codes (cells, windows). P = 1 - (1 - code / ``scale``)^2, with an error of at most
      ``max_error``. 0 means below ``floor``.
    * ``uns``: ``scale``, ``floor``, ``max_error``, ``tfs``, and as JSON the ``reliability`` of each TF and
      ``provenance``.

    There is no ``X``.

    Parameters
    ----------
    shards
        ``.npz`` files of all shards of the sample.
    windows, cells, reference_dir, output
        ``windows.npz``, the sample's ``cells.h5ad``, the reference folder, and the store to write (a folder).
    provenance
        Model and digests for ``uns["provenance"]``.

    Raises
    ------
    InputError
        If the shards do not match each other, the cells or the windows, contain no binding, or if the disk is full.
    """
    opened = check_shards([Shard.open(path) for path in shards], cells)
    first = opened[0]
    if not first.sites:
        raise InputError(
            first.path, "holds TF activity but no binding", "set infer.store to all, then run again"
        )
    chosen, sizes = Windows.load(windows), Genome.open(reference_dir).sizes
    if len(chosen) != first.n_windows:
        raise InputError(first.path, f"has {first.n_windows} windows, but {windows} has {len(chosen)}", AGAIN)
    obs, obsm = read_passing_cells(cells)
    obs["borrowed_depth"] = np.concatenate([s.array("depth") for s in opened])
    obs, obsm, order = sort_by_type(obs, obsm)
    var = pd.DataFrame(
        {
            "chrom": pd.Categorical.from_codes(chosen.chrom.astype(int), categories=list(sizes.names)),
            "start": chosen.start,
            "end": chosen.end,
            "peak": chosen.peak,
            "gc": chosen.gc,
        },
        index=pd.Index(chosen.names(sizes), name="window"),
    )
    uns = {
        "format": FORMAT,
        "scale": first.scale,
        "floor": first.floor,
        "max_error": largest_error(first.floor, first.scale),
        "tfs": np.asarray(first.tfs, dtype=object),
        "reliability": json.dumps(first.reliability, sort_keys=True),
        "provenance": json.dumps(provenance or {}, sort_keys=True),
        "about": "layers: P(bound) = 1 - (1 - code / scale) ** 2; 0 means below floor",
    }
    shape = len(obs), len(var)
    with written_to(Path(output).parent), atomic(output) as scratch:
        root = zarr.open_group(scratch, mode="w", zarr_format=2)  # all readers know version 2
        write_elem(root, "/", ad.AnnData(obs=obs, var=var, uns=uns, obsm=obsm))
        progress = Progress("TFs", len(first.tfs))
        for number, tf in enumerate(first.tfs):
            layer = root["layers"].create_array(
                tf,
                shape=shape,
                chunks=tuple(max(min(pair), 1) for pair in zip(CHUNK, shape, strict=True)),
                dtype="uint8",
                order="F",
                compressors=CODEC,
                fill_value=0,
                config={"write_empty_chunks": True},  # _write_layer leaves chunks of zeros out
                attributes={"encoding-type": "array", "encoding-version": "0.2.0"},
            )
            _write_layer(layer, number, opened, order)
            progress.reached(number + 1)
        zarr.consolidate_metadata(root.store)
    say(f"binding of {len(first.tfs)} TFs in {len(obs)} cells and {len(var)} windows")


def _write_layer(layer, tf: int, shards: list[Shard], order: np.ndarray) -> None:
    """Write the codes of a TF, given by its number, with the cells of all shards in this order.

    Codes stay in the order of the chunks (cells vary fastest) from the shard to the store: each transposition of the
    codes would take half as long as their compression. Only windows that some cell binds are put in order, because they
    are few.
    """
    (n_cells, n_windows), (height, width) = layer.shape, layer.chunks
    firsts = np.cumsum([len(shard.rows) for shard in shards])[:-1]
    for start in range(0, n_windows, width):
        stop = min(start + width, n_windows)
        codes = np.empty((stop - start, n_cells), dtype=np.uint8)  # filled shard by shard: one copy in memory
        for shard, cells in zip(shards, np.split(codes, firsts, axis=1), strict=True):
            cells[:] = shard.codes(tf, start, stop).T
        bound = np.flatnonzero(codes.any(axis=1))
        codes = codes[bound]
        for first in range(0, n_cells, height):
            part = np.take(codes, order[first : first + height], axis=1)
            if part.any():
                block = np.zeros((stop - start, part.shape[1]), dtype=np.uint8)
                block[bound] = part
                layer[first : first + height, start:stop] = block.T


class Binding:
    """The binding of a sample, read on demand: ``binding[cells, region, tf]`` is a csr matrix of P(bound).

    * ``cells``: ``:``, a slice, a bool mask, row numbers, names of ``obs`` (``sample#barcode``), or barcodes alone.
    * ``region``: ``:``, ``"chr1"``, ``"chr1:1000-2000"`` (windows that share a base with it; 0-based half-open), a
      slice, a bool mask, or numbers of windows.
    * ``tf``: one of ``tfs``. No other TF is read.

    The result is csr float32, shape (cells, windows). Entries that it does not hold are below ``floor``; the error of
    the others is at most ``max_error``. Only the chunks (:data:`CHUNK`) that contain the selection are read.
    """

    def __init__(self, path):
        self.path = Path(path)
        if self.path.is_file():
            raise InputError(
                path, "is a file, not a binding store", "name a folder results/binding/{sample}.zarr"
            )
        if not self.path.is_dir():
            raise InputError(
                path, "this binding store does not exist", "run the binding rule of the sample first"
            )
        with damage_errors(path, MERGE):
            self._root = zarr.open_group(self.path, mode="r")
            self.obs, self.var = read_elem(self._root["obs"]), read_elem(self._root["var"])
            uns = read_elem(self._root["uns"])
        if (found := int(uns.get("format", 1))) != FORMAT:
            raise InputError(
                path,
                f"is a binding store of format {found}, but this version reads format {FORMAT}",
                MERGE,
            )
        with damage_errors(path, MERGE):
            self.scale, self.floor = int(uns["scale"]), float(uns["floor"])
            self.max_error, self.tfs = float(uns["max_error"]), [str(tf) for tf in uns["tfs"]]
            self.provenance = json.loads(uns["provenance"])
            self.reliability = json.loads(uns.get("reliability", "{}"))

    def __repr__(self) -> str:
        chroms = [str(name) for name in self.var.chrom.unique()]
        name = f'"{self.obs.index[0]}"' if len(self.obs) else ":"
        tf = f'"{self.tfs[0]}"' if self.tfs else '"TF"'
        lines = [
            f"Binding of {len(self.obs):,} cells, {len(self.var):,} windows and {len(self.tfs)} TFs in {self.path}",
            f"  cells (obs): {_listed(self.obs.index)}",
            f"  windows (var) on: {_listed(chroms)}",
            f"  tfs: {_listed(self.tfs, 12)}",
            f"  binding[{name}, {chroms[0] if chroms else 'chr1'!r}, {tf}] is a csr matrix of P(bound); "
            "to_anndata() gives a part with its cells and windows",
        ]
        return "\n".join(lines)

    @property
    def evidence(self) -> dict[str, str]:
        """TF -> evidence of its predictions: ``chip``, or ``motif`` for a TF without ChIP-seq."""
        return reliability_table(self.reliability, self.tfs)["evidence"].to_dict()

    @property
    def assayed(self) -> list[str]:
        """The TFs with ChIP-seq."""
        return [tf for tf, kind in self.evidence.items() if kind == CHIP]

    @property
    def abstained(self) -> np.ndarray:
        """Where scbind abstains (see :mod:`scbind.models.abstention`): bool (cells, TFs)."""
        table = reliability_table(self.reliability, self.tfs)
        return abstained(table, self.obs["borrowed_depth"].to_numpy())

    @property
    def shallow(self) -> np.ndarray:
        """Where a cell is too shallow for a TF on which scbind does not abstain in all cells: bool (cells, TFs)."""
        table = reliability_table(self.reliability, self.tfs)
        return self.abstained & ~table["abstained"].to_numpy()

    def codes(self, tf: str, rows=slice(None), columns=slice(None)) -> sp.csr_matrix:
        """Return the stored codes of a TF: csr uint8 (cells, windows).

        ``rows`` and ``columns`` are slices or numbers >= 0. Raises :class:`InputError` if the store lacks the TF.
        """
        layer = self._layer(tf)
        wanted = [np.arange(n)[pick] for n, pick in zip(layer.shape, (rows, columns), strict=True)]
        parts = []
        for first in range(
            0, layer.shape[0], CHUNK[0]
        ):  # one row of chunks at a time keeps dense blocks small
            mine = wanted[0][wanted[0] // CHUNK[0] == first // CHUNK[0]]
            if len(mine) and len(wanted[1]):
                with damage_errors(self.path, MERGE):
                    parts.append(_read(layer, mine, wanted[1]))
        if not parts:
            return sp.csr_matrix(tuple(map(len, wanted)), dtype=np.uint8)
        order = np.argsort(wanted[0] // CHUNK[0], kind="stable")
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return sp.vstack(parts, format="csr")[back]

    def sums(self, tf: str, groups: np.ndarray, n_groups: int) -> np.ndarray:
        """Sum P(bound) of a TF over the cells of each group: float64 (n_groups, windows).

        ``groups``, int (cells,), is the index of each cell's group, or -1 for cells in no group. Entries below the
        floor count as 0. One chunk is in memory at a time.
        """
        layer, total = self._layer(tf), np.zeros((n_groups, len(self.var)))
        height, width = layer.chunks
        for first in range(0, layer.shape[0], height):
            mine = groups[first : first + height]
            if (mine < 0).all():
                continue
            member = (mine[:, None] == np.arange(n_groups)).astype(np.float32)
            for start in range(0, layer.shape[1], width):
                with damage_errors(self.path, MERGE):
                    codes = layer[first : first + height, start : start + width].T
                # most windows have no binding in these cells, and would take three quarters of the time
                bound = np.flatnonzero(codes.any(axis=1))
                left = codes[bound] / np.float32(-self.scale)
                left += 1
                # same values as decode(), but faster than a table
                probability = 1 - np.square(left, out=left)
                total[:, start + bound] += (probability @ member).T
        return total

    def _layer(self, tf: str):
        if tf not in self.tfs:
            raise InputError(self.path, f"has no TF {tf!r}", _choose(str(tf), self.tfs))
        with damage_errors(self.path, MERGE):
            return self._root["layers"][tf]

    def windows_in(self, region: str) -> np.ndarray:
        """Return the numbers of the windows that share a base with ``chrom`` or ``chrom:start-end``: int64.

        ``region`` is 0-based half-open. Raises :class:`InputError` if it is malformed or has no base, or if its
        chromosome is unknown.
        """
        whole = region in self.var.chrom.cat.categories  # names of HLA contigs hold colons
        chrom, _, span = (region, "", "") if whole else region.rpartition(":")
        chrom = chrom or region
        if chrom not in self.var.chrom.cat.categories:
            known = [str(name) for name in self.var.chrom.cat.categories]
            raise InputError(self.path, f"has no chromosome {chrom!r}", _choose(chrom, known))
        hit = (self.var.chrom == chrom).to_numpy()
        if span:
            start, dash, end = span.replace(",", "").partition("-")
            if not (dash and start.isdigit() and end.isdigit()):
                raise InputError(self.path, f"{region!r} is not a region", "write chrom:start-end")
            if int(start) >= int(end):
                raise InputError(
                    self.path, f"{region!r} has no base", "write chrom:start-end with start below end"
                )
            hit &= (self.var.start.to_numpy() < int(end)) & (self.var.end.to_numpy() > int(start))
        return np.flatnonzero(hit)

    def _rows(self, cells) -> np.ndarray:
        """Return the row numbers of cells, given in any form that the class accepts: int64."""
        if not isinstance(cells, slice):
            cells = np.atleast_1d(np.asarray(cells))
            if cells.dtype.kind in "UOST":
                numbers = self.obs.index.get_indexer(cells)
                if (numbers < 0).any():  # all cells are of one sample, so a barcode alone names a cell
                    barcodes = pd.Index([name.rpartition("#")[2] for name in self.obs.index])
                    numbers = np.where(numbers < 0, barcodes.get_indexer(cells), numbers)
                if (numbers < 0).any():
                    name = str(cells[numbers < 0][0])
                    remedy = f"its obs has {_listed(self.obs.index)}; cells that fail quality control are not in it"
                    raise InputError(self.path, f"has no cell {name!r}", remedy)
                cells = numbers
            cells = cells if cells.dtype == bool else cells.astype(np.int64)
        return np.arange(len(self.obs))[cells]

    def _columns(self, region) -> np.ndarray:
        """Return the numbers of windows, given in any form that the class accepts: int64."""
        if isinstance(region, str):
            return self.windows_in(region)
        region = region if isinstance(region, slice) else np.atleast_1d(np.asarray(region))
        return np.arange(len(self.var))[region]

    def __getitem__(self, key) -> sp.csr_matrix:
        if not isinstance(key, tuple) or len(key) != 3:
            shown = f'binding[:, "chr1", {self.tfs[0] if self.tfs else "TF"!r}]'
            raise InputError(
                self.path, "is read by cells, region and TF", f"write binding[cells, region, tf], as {shown}"
            )
        cells, region, tf = key
        found = self.codes(tf, self._rows(cells), self._columns(region))
        values = decode(self.scale).astype(np.float32)[found.data]
        return sp.csr_matrix((values, found.indices, found.indptr), shape=found.shape)

    def to_anndata(self, cells=slice(None), region=slice(None), tfs: list[str] | None = None) -> ad.AnnData:
        """Return a part of the store as AnnData in memory: one csr float32 layer of P(bound) per TF.

        ``cells`` and ``region`` are as in ``binding[cells, region, tf]``. ``tfs`` are the TFs to read, by default all.
        ``obs``, ``var`` and ``obsm`` are those of the store. ``obsm["abstained"]``, a bool table (cells, TFs), marks
        where scbind abstains. ``uns`` holds ``floor``, ``max_error`` and, as JSON, the ``reliability`` of these TFs.
        """
        rows, columns = self._rows(cells), self._columns(region)
        tfs, obs = self.tfs if tfs is None else list(tfs), self.obs.iloc[rows]
        layers = {tf: self[rows, columns, tf] for tf in tfs}  # raises InputError for unknown TFs
        unread = pd.DataFrame(self.abstained, columns=self.tfs)[tfs].iloc[rows].set_index(obs.index)
        known = {tf: self.reliability[tf] for tf in tfs if tf in self.reliability}
        return ad.AnnData(
            obs=obs,
            var=self.var.iloc[columns],
            obsm={key: value[rows] for key, value in read_elem(self._root["obsm"]).items()}
            | {"abstained": unread},
            layers=layers,
            uns={
                "floor": self.floor,
                "max_error": self.max_error,
                "reliability": json.dumps(known, sort_keys=True),
            },
        )


def _listed(names, most: int = 3) -> str:
    """Return the first names, and how many there are if there are more."""
    shown = ", ".join(map(str, names[:most]))
    return f"{shown}, ... ({len(names):,})" if len(names) > most else shown


def _choose(name: str, known: list[str]) -> str:
    """Return a remedy for an unknown name: the most similar known name, or the known names."""
    same = [other for other in known if other.casefold() == name.casefold()]
    close = same or difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    return f"did you mean {close[0]}?" if close else f"choose one of {_listed(known, 40)}"


def _read(layer, rows: np.ndarray, columns: np.ndarray) -> sp.csr_matrix:
    """Return the codes of rows and columns, given in any order: csr uint8.

    Columns are read chunk by chunk, each time as the smallest range that contains them. Chunks without a requested
    column are not read.
    """
    low, high, width = rows.min(), rows.max() + 1, layer.chunks[1]
    parts, places = [], []
    for chunk in np.unique(columns // width):
        mine = np.flatnonzero(columns // width == chunk)
        left, right = columns[mine].min(), columns[mine].max() + 1
        part = _sparse(layer[low:high, left:right].T)
        parts.append(
            part if len(mine) == right - left and _rising(columns[mine]) else part[columns[mine] - left]
        )
        places.append(mine)
    found, place = sp.vstack(parts, format="csr"), np.concatenate(places)
    found = (found if _rising(place) else found[np.argsort(place)]).T.tocsr()
    return found if len(rows) == high - low and _rising(rows) else found[rows - low]


def _sparse(codes: np.ndarray) -> sp.csr_matrix:
    """Return codes (windows, cells) as csr. Most windows have none, and scipy would take most of the time for these."""
    bound = np.flatnonzero(codes.any(axis=1))
    few = sp.csr_matrix(codes[bound])
    number = np.zeros(len(codes) + 1, dtype=few.indptr.dtype)
    number[bound + 1] = np.diff(few.indptr)
    return sp.csr_matrix((few.data, few.indices, np.cumsum(number, dtype=number.dtype)), shape=codes.shape)


def _rising(numbers: np.ndarray) -> bool:
    return bool((np.diff(numbers) == 1).all())


def open_binding(path) -> Binding:
    """Open ``results/binding/{sample}.zarr`` as :class:`Binding`. This reads only cells and windows.

    Raises :class:`InputError` if the store does not exist, is damaged, or has another format.
    """
    return Binding(path)
