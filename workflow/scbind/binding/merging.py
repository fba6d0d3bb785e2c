"""Write the binding store of a sample: P(bound) per cell, window and TF, as an AnnData zarr.

Each TF is one layer: a uint8 array of cells x windows in compressed chunks, 0 where P is below the floor. Chunks of
zeros are not written. Chunks divide both axes, so a cell, a region or a TF can be read without the rest
(:mod:`scbind.binding.store`).
"""

from __future__ import annotations

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import zarr
from anndata.io import write_elem
from numcodecs import Blosc

from scbind.binding.shards import AGAIN, Shard, check_shards, largest_error, written_to
from scbind.binding.windows import Windows
from scbind.core.errors import InputError
from scbind.core.files import atomic
from scbind.core.progress import Progress
from scbind.core.runlog import say
from scbind.formats.celltable import read_passing_cells, sort_by_type
from scbind.formats.genome import Genome

FORMAT = 2  # version of the store; increase it if the meaning of the codes changes
# Cells x windows of a chunk, which is a file. Wider chunks are fewer files; cells are read faster, but windows slower
# (docs/notebooks/performance.md). With 2,048 windows, 10,000 cells x 720,000 windows x 44 TFs would be 310,000 files.
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
