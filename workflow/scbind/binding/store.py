"""Read the binding store of a sample, which :mod:`scbind.binding.merging` writes."""

from __future__ import annotations

import difflib
import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
import zarr
from anndata.io import read_elem

from scbind.binding.merging import FORMAT
from scbind.binding.shards import decode
from scbind.core.errors import InputError
from scbind.core.files import damage_errors
from scbind.formats.evidence import CHIP
from scbind.models.abstention import abstained, reliability_table

MERGE = "merge its shards again"


class Binding:
    """The binding of a sample, read on demand: ``binding[cells, region, tf]`` is a csr matrix of P(bound).

    * ``cells``: ``:``, a slice, a bool mask, row numbers, names of ``obs`` (``sample#barcode``), or barcodes alone.
    * ``region``: ``:``, ``"chr1"``, ``"chr1:1000-2000"`` (windows that share a base with it; 0-based half-open), a
      slice, a bool mask, or numbers of windows.
    * ``tf``: one of ``tfs``. No other TF is read.

    The result is csr float32, shape (cells, windows). Entries that it does not hold are below ``floor``; the error of
    the others is at most ``max_error``. Only the chunks that contain the selection are read
    (:data:`scbind.binding.merging.CHUNK`).
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
        parts, height = [], layer.chunks[0]
        for chunk in range(
            -(-layer.shape[0] // height)
        ):  # one row of chunks at a time keeps dense blocks small
            mine = wanted[0][wanted[0] // height == chunk]
            if len(mine) and len(wanted[1]):
                with damage_errors(self.path, MERGE):
                    parts.append(_read(layer, mine, wanted[1]))
        if not parts:
            return sp.csr_matrix(tuple(map(len, wanted)), dtype=np.uint8)
        order = np.argsort(wanted[0] // height, kind="stable")
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
