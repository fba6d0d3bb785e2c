"""P(bound) per cell, window and TF on disk: shards of cells, and one AnnData zarr store per sample.

Probabilities are kept where they reach a floor, as whole numbers of 255ths (uint8): a stored value is wrong
by at most 1/510, and what is absent is below the floor. Everything is written and read one TF at a time.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pyBigWig
import pysam
import scipy.sparse as sp
import zarr
from anndata.io import read_elem, sparse_dataset, write_elem

from scbind.abstention import abstained, reliability_table
from scbind.errors import InputError
from scbind.files import atomic, require
from scbind.genome import ChromSizes, Genome
from scbind.runlog import say
from scbind.windows import Windows

SCALE = 255  # P = code / SCALE
MAX_ERROR = 0.5 / SCALE
RECORD = np.dtype([("cell", "<u4"), ("window", "<u4"), ("code", "u1")])  # a spilled entry; 9 bytes
AGAIN = "run the inference of the sample again"


def quantise(probability: np.ndarray, floor: float) -> np.ndarray:
    """Codes (uint8, same shape) of probabilities: ``round(255 P)`` where P >= ``floor``, else 0 (absent)."""
    codes = np.rint(probability * np.float32(SCALE)).astype(np.uint8)
    codes[probability < np.float32(floor)] = 0
    return codes


def read_passing(cells) -> tuple[pd.DataFrame, dict]:
    """Return ``obs`` of the cells that pass QC, in file order, and their obsm ``X_lsi`` and ``X_umap``."""
    with h5py.File(require(cells, "run the embedding of the sample first"), "r") as file:
        obs = read_elem(file["obs"])
        if "pass" not in obs:
            raise InputError(cells, "obs has no column 'pass'", "write it with the workflow's embedding rule")
        keep = obs["pass"].to_numpy(dtype=bool)
        stored = file["obsm"] if "obsm" in file else {}
        obsm = {key: read_elem(stored[key])[keep] for key in ("X_lsi", "X_umap") if key in stored}
    if not keep.any():
        raise InputError(
            cells, "no cell passes quality control", "lower the thresholds or leave the sample out"
        )
    return obs[keep].copy(), obsm


class ShardWriter:
    """Collects the binding of a shard of cells on disk and writes it as ``.npz``, in bounded memory.

    Blocks may come in any order: entries are appended to one file per TF and sorted TF by TF at the end.
    """

    def __init__(self, tfs: list[str], floor: float, scratch: str | Path):
        if not MAX_ERROR < floor < 1:
            raise InputError(
                "config",
                f"a binding floor of {floor} cannot be stored",
                f"give one between {MAX_ERROR:.4f} and 1",
            )
        self.tfs, self.floor = list(tfs), floor
        self._folder = Path(tempfile.mkdtemp(prefix=".binding.", dir=scratch))

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *_) -> None:
        shutil.rmtree(self._folder)

    def add(self, row: int, window: int, probability: np.ndarray) -> None:
        """Add P(bound), float32 (cells, windows, TFs), of a block starting at cell ``row`` and ``window``."""
        codes = np.moveaxis(quantise(probability, self.floor), 2, 0)
        for tf, layer in enumerate(codes):
            cell, column = np.nonzero(layer)
            records = np.empty(len(cell), dtype=RECORD)
            records["cell"], records["window"] = cell + row, column + window
            records["code"] = layer[cell, column]
            with open(self._folder / str(tf), "ab") as handle:
                records.tofile(handle)

    def finish(self, output, rows: np.ndarray, n_windows: int, arrays: dict) -> None:
        """Write the shard: per TF a csr (cells, windows) of codes, and ``arrays`` (name to array or text)."""
        with atomic(output) as scratch, zipfile.ZipFile(scratch, "w") as archive:

            def put(name, array):
                with archive.open(f"{name}.npy", "w", force_zip64=True) as handle:
                    np.lib.format.write_array(handle, np.asarray(array), allow_pickle=False)

            put("rows", np.asarray(rows, dtype=np.int64))
            put("tfs", np.asarray(self.tfs, dtype=str))
            put("n_windows", np.int64(n_windows))
            put("floor", np.float64(self.floor))
            for name, array in arrays.items():
                put(name, array)
            for tf in range(len(self.tfs)):
                path = self._folder / str(tf)
                records = np.fromfile(path, dtype=RECORD) if path.exists() else np.empty(0, dtype=RECORD)
                records = records[np.lexsort((records["window"], records["cell"]))]
                bounds = np.searchsorted(records["cell"], np.arange(len(rows) + 1))
                put(f"layer{tf}.data", records["code"])
                put(f"layer{tf}.indices", records["window"].astype(np.int32))
                put(f"layer{tf}.indptr", bounds.astype(np.int64))


class Shard:
    """A shard on disk; each array is read when asked for. ``rows`` are the cells' rows in ``cells.h5ad``."""

    def __init__(self, path, npz):
        self.path, self._npz = path, npz
        self.rows = npz["rows"]
        self.tfs = npz["tfs"].tolist()
        self.n_windows, self.floor = int(npz["n_windows"]), float(npz["floor"])

    @classmethod
    def open(cls, path) -> Shard:
        """Open a shard; :class:`InputError` if the file is damaged."""
        try:
            return cls(path, np.load(require(path, AGAIN)))
        except (zipfile.BadZipFile, KeyError, ValueError) as error:
            raise InputError(path, f"not a shard of binding ({error})", AGAIN) from None

    def array(self, name: str) -> np.ndarray:
        """Read one of the arrays that came with the shard."""
        return self._npz[name]

    @property
    def reliability(self) -> dict:
        """TF -> what the calibration knows of it (see :func:`scbind.abstention.reliability`)."""
        return json.loads(str(self._npz["reliability"]))

    def layer(self, tf: int) -> sp.csr_matrix:
        """Return codes of one TF (by its number): csr uint8 (cells, windows), canonical."""
        parts = [self._npz[f"layer{tf}.{name}"] for name in ("data", "indices", "indptr")]
        return sp.csr_matrix(tuple(parts), shape=(len(self.rows), self.n_windows))


def check_shards(shards: list[Shard], cells) -> list[Shard]:
    """Return the shards in order of their cells, or refuse: each passing cell once, and all agree."""
    if not shards:
        raise InputError(cells, "no shard of its cells was given", AGAIN)
    shards = sorted((s for s in shards if len(s.rows)), key=lambda s: s.rows[0]) or shards
    first = shards[0]
    for shard in shards[1:]:
        if (shard.tfs, shard.n_windows, shard.floor) != (first.tfs, first.n_windows, first.floor):
            raise InputError(shard.path, f"other TFs, windows or floor than in {first.path}", AGAIN)
    with h5py.File(require(cells, "run the embedding of the sample first"), "r") as file:
        passing = np.flatnonzero(read_elem(file["obs"])["pass"].to_numpy(dtype=bool))
    rows = np.concatenate([s.rows for s in shards])
    if not np.array_equal(rows, passing):
        raise InputError(
            first.path,
            f"the shards hold {len(rows)} cells, not the {len(passing)} that pass in {cells}",
            AGAIN,
        )
    return shards


def merge_shards(shards: list, windows, cells, reference_dir, output, provenance: dict | None = None) -> None:
    """Write the binding of a sample as an AnnData zarr store, one TF in memory at a time.

    ``obs`` holds the passing cells with their QC and type, ``var`` the windows (``chrom``, ``start``,
    ``end``, ``peak``, ``gc``; 0-based half-open), ``layers[tf]`` csr uint8 codes; ``uns`` says how to read
    them: P = code / ``scale``, wrong by at most ``max_error``; absent entries are below ``floor``, and, as JSON,
    what is known of each TF's ``reliability``. There is no ``X``.

    Parameters
    ----------
    shards
        ``.npz`` files of all shards of the sample.
    windows, cells, reference_dir, output
        ``windows.npz``, the sample's ``cells.h5ad``, the reference folder, and the store to write (a folder).
    provenance
        Written into ``uns["provenance"]`` as JSON: model, digests.

    Raises
    ------
    InputError
        If shards do not fit together, the cells or the windows.
    """
    opened = check_shards([Shard.open(path) for path in shards], cells)
    first = opened[0]
    chosen, sizes = Windows.load(windows), Genome.open(reference_dir).sizes
    if len(chosen) != first.n_windows:
        raise InputError(first.path, f"{first.n_windows} windows, but {windows} has {len(chosen)}", AGAIN)
    obs, obsm = read_passing(cells)
    obs["borrowed_depth"] = np.concatenate([s.array("depth") for s in opened])
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
        "scale": SCALE,
        "floor": first.floor,
        "max_error": MAX_ERROR,
        "tfs": np.asarray(first.tfs, dtype=object),
        "reliability": json.dumps(first.reliability, sort_keys=True),
        "provenance": json.dumps(provenance or {}, sort_keys=True),
        "about": "layers: P(bound) = code / scale; absent means below floor",
    }
    with atomic(output) as scratch:
        root = zarr.open_group(scratch, mode="w", zarr_format=2)  # version 2 is what all readers know
        write_elem(root, "/", ad.AnnData(obs=obs, var=var, uns=uns, obsm=obsm))
        for number, tf in enumerate(first.tfs):
            write_elem(root["layers"], tf, sp.vstack([s.layer(number) for s in opened], format="csr"))
        zarr.consolidate_metadata(root.store)
    say(f"binding of {len(first.tfs)} TFs in {len(obs)} cells and {len(var)} windows")


class Binding:
    """A sample's binding, read on demand: ``binding[cells, region, tf]`` is a csr of probabilities.

    * ``cells``: ``:``, a slice, a bool mask, row numbers, or barcodes (names of ``obs``);
    * ``region``: ``:``, ``"chr1"``, ``"chr1:1000-2000"`` (windows sharing a base; 0-based half-open), a
      slice, a mask or numbers of windows;
    * ``tf``: one of ``tfs``. No other TF is read.

    The result is csr float32, shape (cells, windows); absent entries are below ``floor``.
    """

    def __init__(self, path):
        self.path = Path(path)
        if not self.path.is_dir():
            raise InputError(path, "no such binding store", "run the binding rule of the sample first")
        self._root = zarr.open_group(self.path, mode="r")
        self.obs, self.var = read_elem(self._root["obs"]), read_elem(self._root["var"])
        uns = read_elem(self._root["uns"])
        self.scale, self.floor = int(uns["scale"]), float(uns["floor"])
        self.max_error, self.tfs = float(uns["max_error"]), [str(tf) for tf in uns["tfs"]]
        self.provenance = json.loads(uns["provenance"])
        self.reliability = json.loads(uns.get("reliability", "{}"))

    @property
    def abstained(self) -> np.ndarray:
        """Bool (cells, TFs): probabilities that should not be read (see :mod:`scbind.abstention`)."""
        table = reliability_table(self.reliability, self.tfs)
        return abstained(table, self.obs["borrowed_depth"].to_numpy())

    def codes(self, tf: str, rows=slice(None)) -> sp.csr_matrix:
        """Return stored codes of a TF, csr uint8, of some rows (slice, mask, sorted numbers), all windows."""
        if tf not in self.tfs:
            raise InputError(self.path, f"no TF {tf!r}", f"choose one of {', '.join(self.tfs)}")
        layer = sparse_dataset(self._root["layers"][tf])
        return sp.csr_matrix(layer[rows])

    def windows_in(self, region: str) -> np.ndarray:
        """Numbers of the windows that share a base with ``chrom`` or ``chrom:start-end``; int64."""
        chrom, _, span = region.partition(":")
        if chrom not in self.var.chrom.cat.categories:
            raise InputError(self.path, f"no chromosome {chrom!r}", "use a name of the reference")
        hit = (self.var.chrom == chrom).to_numpy()
        if span:
            start, dash, end = span.replace(",", "").partition("-")
            if not (dash and start.isdigit() and end.isdigit()):
                raise InputError(self.path, f"{region!r} is no region", "write chrom:start-end")
            hit &= (self.var.start.to_numpy() < int(end)) & (self.var.end.to_numpy() > int(start))
        return np.flatnonzero(hit)

    def __getitem__(self, key) -> sp.csr_matrix:
        cells, region, tf = key
        if not isinstance(cells, slice):
            cells = np.atleast_1d(np.asarray(cells))
            if cells.dtype.kind in "UOST":
                numbers = self.obs.index.get_indexer(cells)
                if (numbers < 0).any():
                    raise InputError(
                        self.path, f"no cell {str(cells[numbers < 0][0])!r}", "use names of its obs"
                    )
                cells = numbers
            cells = np.flatnonzero(cells) if cells.dtype == bool else cells
        if isinstance(region, str):
            region = self.windows_in(region)
        if isinstance(cells, slice):
            codes = self.codes(tf, cells)
        else:  # the store is read in its own order, each row once
            unique, back = np.unique(cells % max(len(self.obs), 1), return_inverse=True)
            codes = self.codes(tf, unique)[back] if len(unique) else sp.csr_matrix((0, len(self.var)))
        found = codes[:, region].astype(np.float32)
        found.data /= np.float32(self.scale)
        return found


def open_binding(path) -> Binding:
    """Open ``results/binding/{sample}.zarr``; nothing but cells and windows is read. See :class:`Binding`."""
    return Binding(path)


def cell_type_tracks(binding, cell_type: str, sizes_path, output, min_probability: float = 0.1) -> None:
    """Write ``{tf}.bw`` and ``{tf}.bed.gz`` (with ``.tbi``): mean P(bound) over the cells of a type.

    Absent entries count as 0, so a mean is too low by less than the store's floor. In the bigWig a base has
    the largest mean of the windows that hold it. In the BED each window of mean >= ``min_probability`` is a
    line: chrom, start, end (0-based half-open), TF, score (1000 P rounded), ".", P, and the level of the TF's
    reliability (``abstained`` where the TF is abstained on). A type without cells here gives empty files.

    Parameters
    ----------
    binding, sizes_path, output
        The store, ``chrom.sizes``, the folder to write.
    cell_type
        A value of ``obs["cell_type"]``.
    """
    store, sizes = open_binding(binding), ChromSizes.read(sizes_path)
    if "cell_type" not in store.obs:
        raise InputError(binding, "obs has no column 'cell_type'", "give labels or cluster the cells")
    rows = np.flatnonzero(store.obs["cell_type"].astype(str).to_numpy() == cell_type)
    chroms, starts = store.var["chrom"].astype(str).to_numpy(), store.var["start"].to_numpy()
    ends, strange = store.var["end"].to_numpy(), set(store.var["chrom"].unique()) - set(sizes.names)
    if strange:
        raise InputError(
            sizes_path, f"lists no {', '.join(sorted(strange))}", "give the reference's own sizes"
        )
    if not len(rows):
        say(f"no cell of type {cell_type!r} in {binding}: its tracks are empty")
    known = reliability_table(store.reliability, store.tfs)
    level = known["level"].mask(known["abstained"], "abstained")
    with atomic(output) as folder:
        folder.mkdir()
        for tf in store.tfs:
            mean = np.zeros(len(chroms))
            if len(rows):
                codes = store.codes(tf, rows)
                total = np.bincount(codes.indices, weights=codes.data, minlength=len(mean))
                mean = total / (len(rows) * store.scale)
            with pyBigWig.open(str(folder / f"{tf}.bw"), "w") as bigwig:
                bigwig.addHeader(list(sizes.as_dict().items()))
                for chrom in sizes.names:
                    here = (chroms == chrom) & (mean > 0)
                    left, right, value = _flatten(starts[here], ends[here], mean[here])
                    if len(left):
                        bigwig.addEntries([chrom] * len(left), left.tolist(), right.tolist(), value.tolist())
            table = pd.DataFrame({"chrom": chroms, "start": starts, "end": ends, "tf": tf})
            table["score"], table["strand"], table["p"] = np.rint(1000 * mean).astype(int), ".", mean
            table["level"] = level[tf]
            _write_bed(table[mean >= min_probability], folder / f"{tf}.bed.gz")


def _flatten(start: np.ndarray, end: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, ...]:
    """Cut sorted, overlapping intervals of one width into disjoint ones that keep the largest value."""
    edges = np.unique(np.concatenate([start, end]))
    left, right = edges[:-1], edges[1:]
    latest = np.searchsorted(start, left, side="right") - 1  # last interval that has begun
    best = np.zeros(len(left))
    back = 0
    while True:  # intervals of one width end in the order they begin, so the first miss ends the search
        candidate = latest - back
        covers = (
            (candidate >= 0) & (end[np.maximum(candidate, 0)] >= right) if len(end) else np.zeros(0, bool)
        )
        if not covers.any():
            break
        best[covers] = np.maximum(best[covers], value[candidate[covers]])
        back += 1
    keep = best > 0
    return left[keep], right[keep], best[keep]


def _write_bed(table: pd.DataFrame, path: Path) -> None:
    """Write a sorted table as bgzipped, tabix-indexed BED."""
    plain = path.with_suffix("")
    table.to_csv(plain, sep="\t", header=False, index=False, float_format="%.4f")
    pysam.tabix_compress(str(plain), str(path), force=True)
    plain.unlink()
    pysam.tabix_index(str(path), preset="bed", force=True)
