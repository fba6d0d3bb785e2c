"""Cells of one type, taken together: which types there are, their fragments, their coverage."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.feather as feather
import pysam
from anndata.io import read_elem

from scbind.errors import InputError
from scbind.files import atomic, require, write_table
from scbind.fragments import iter_chromosomes, iter_fragments
from scbind.genome import ChromSizes
from scbind.runlog import say
from scbind.tracks import create_bigwig

OBS = ("sample", "barcode", "pass", "cell_type", "n_fragments")
COLUMNS = ["chrom", "start", "end", "barcode", "count"]
BATCH = 1 << 20  # rows written at a time


def list_cell_types(cells: list[str | Path], output: str | Path) -> None:
    """List the cell types of all passing cells.

    Parameters
    ----------
    cells
        ``cells.h5ad`` of the samples.
    output
        TSV, sorted by ``cell_type``: ``cell_type``, ``slug`` (its name in file names: letters, digits and
        ``_.-``), ``n_cells``, ``n_fragments`` (their sum), ``samples`` (comma-separated).

    Raises
    ------
    InputError
        If a file is missing or lacks a column, no cell passes, or two types would share a slug.
    """
    table = pd.concat([_passing(path) for path in cells])
    if table.empty:
        raise InputError(cells[0], "no cell passes quality control in any sample", "lower the thresholds")
    rows = [
        {
            "cell_type": name,
            "slug": slug(name, cells[0]),
            "n_cells": len(part),
            "n_fragments": int(part["n_fragments"].sum()),
            "samples": ",".join(sorted(part["sample"].unique())),
        }
        for name, part in table.groupby("cell_type", sort=True)
    ]
    listed = pd.DataFrame(rows)
    twice = listed[listed["slug"].duplicated(keep=False)]
    if len(twice):
        names = " and ".join(repr(name) for name in twice["cell_type"])
        raise InputError(cells[0], f"cell types {names} have the same name in files", "rename one of them")
    write_table(output, listed)


def slug(name: str, path: str | Path = "cell types") -> str:
    """Make a cell type's name safe for file names; :class:`InputError` if nothing is left of it."""
    safe = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).lstrip("_.-")
    if not safe:
        raise InputError(path, f"the cell type {name!r} cannot be made a file name", "use letters or digits")
    return safe


def _passing(path) -> pd.DataFrame:
    """Read the passing, typed cells of a ``cells.h5ad`` without touching anything but ``obs``."""
    require(path, "run the embedding of its group first")
    try:
        with h5py.File(path, "r") as handle:
            obs = read_elem(handle["obs"])
    except (OSError, KeyError) as error:
        raise InputError(path, "cannot be read as h5ad", "make it again") from error
    missing = [column for column in OBS if column not in obs]
    if missing:
        raise InputError(path, f"obs has no column {', '.join(missing)}", "make it again")
    obs = obs[list(OBS)].astype({"sample": str, "barcode": str, "pass": bool})
    typed = obs["cell_type"].notna() & (obs["cell_type"].astype(str) != "")
    return obs[obs["pass"] & typed].astype({"cell_type": str})


def split_fragments(
    fragments: dict[str, str | Path],
    cells: dict[str, str | Path],
    cell_type: str,
    sizes_path: str | Path,
    output: str | Path,
) -> None:
    """Gather the fragments of all passing cells of one type, over samples.

    Parameters
    ----------
    fragments, cells
        Sample to fragments file and to ``cells.h5ad``.
    output
        BGZF, five columns, sorted in the order of the genome, barcodes as ``sample#barcode``; its tabix index
        is written beside it (``.tbi``). One chromosome of the type is held in memory at a time.

    Raises
    ------
    InputError
        On bad fragments, if no cell has the type, or if none of its cells has a fragment.
    """
    sizes = ChromSizes.read(sizes_path)
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=Path(output).parent, prefix=".split.") as folder:
        spilled, n_cells = {}, 0
        for sample in sorted(fragments):
            obs = _passing(cells[sample])
            wanted = set(obs.loc[obs["cell_type"] == cell_type, "barcode"])
            n_cells += len(wanted)
            if wanted:
                for code, file in _spill(fragments[sample], sample, wanted, sizes, Path(folder)):
                    spilled.setdefault(code, []).append(file)
        if not n_cells:
            raise InputError(
                next(iter(cells.values())), f"no passing cell is a {cell_type!r}", "check the labels"
            )
        if not spilled:
            raise InputError(
                next(iter(fragments.values())),
                f"the cells labelled {cell_type!r} have no fragments",
                "check that barcodes are written alike in both files",
            )
        with atomic(f"{output}.tbi") as index, atomic(output) as scratch:
            total = 0
            with pysam.BGZFile(str(scratch), "wb") as out:
                for code in sorted(spilled):
                    table = pd.concat([feather.read_feather(file) for file in spilled[code]])
                    table = table.sort_values(["start", "end", "barcode"], kind="stable")
                    total += len(table)
                    _write_rows(out, sizes.names[code], table)
            pysam.tabix_index(str(scratch), preset="bed", index=str(index), keep_original=True)
    say(f"{cell_type}: {total} fragments of {n_cells} cells")


def _spill(
    path, sample: str, wanted: set[str], sizes: ChromSizes, folder: Path
) -> Iterator[tuple[int, Path]]:
    """Leave the wanted fragments in one file per piece of a chromosome; yields its code and file."""
    for number, frame in enumerate(iter_fragments(path, sizes)):
        keep = frame["barcode"].cat.categories.isin(wanted)[frame["barcode"].cat.codes]
        for code, part in frame[keep].groupby(frame.loc[keep, "chrom"].cat.codes, sort=True):
            barcode = part["barcode"].cat.remove_unused_categories()
            named = barcode.cat.rename_categories([f"{sample}#{name}" for name in barcode.cat.categories])
            file = folder / f"{sample}.{number}.{code}.feather"
            part[["start", "end", "count"]].assign(barcode=named.astype(str)).to_feather(file)
            yield code, file


def _write_rows(out: pysam.BGZFile, name: str, table: pd.DataFrame) -> None:
    options = pacsv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
    for low in range(0, len(table), BATCH):
        rows = pa.Table.from_pandas(
            table.iloc[low : low + BATCH].assign(chrom=name)[COLUMNS], preserve_index=False
        )
        buffer = pa.BufferOutputStream()
        pacsv.write_csv(rows, buffer, options)
        out.write(buffer.getvalue().to_pybytes())


def coverage_track(fragments: str | Path, sizes_path: str | Path, output: str | Path) -> None:
    """Write the number of fragments over each base, per million fragments, as bigWig.

    Memory holds one chromosome. Raises :class:`InputError` on bad fragments.
    """
    sizes = ChromSizes.read(sizes_path)
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=Path(output).parent, prefix=".coverage.") as folder:
        total, spilled = 0, {}
        for name, start, end in iter_chromosomes(fragments, sizes):
            total += len(start)
            edge, where = np.unique(np.concatenate([start, end]), return_inverse=True)
            step = np.bincount(where, np.repeat([1, -1], len(start)), minlength=len(edge))
            depth = np.cumsum(step)[:-1]
            # Edges where as many fragments begin as end are none: bigWig entries are joined there.
            keep = step != 0
            low, depth, high = edge[:-1][keep[:-1]], depth[keep[:-1]], edge[keep][1:]
            spilled[name] = Path(folder) / f"{sizes.index(name)}.npy"
            np.save(spilled[name], np.stack([low, high, np.round(depth).astype(np.int64)])[:, depth > 0])
        with atomic(output) as scratch, create_bigwig(scratch, sizes) as bw:
            for name in sizes.names:
                if name in spilled:
                    _add_runs(bw, name, np.load(spilled[name]), 1e6 / total)


def _add_runs(bw, name: str, runs: np.ndarray, scale: float) -> None:
    for low in range(0, runs.shape[1], BATCH):
        start, end, depth = runs[:, low : low + BATCH]
        bw.addEntries(np.full(len(start), name), start, ends=end, values=depth * scale)
