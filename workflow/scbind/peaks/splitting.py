"""Split the fragments of a sample into one piece per cell type; :mod:`scbind.peaks.pooling` merges pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from scbind.core.errors import InputError
from scbind.core.files import atomic
from scbind.core.runlog import say
from scbind.formats.fragments import iter_fragments
from scbind.formats.genome import ChromSizes
from scbind.peaks.pooling import PIECE, ROWS
from scbind.peaks.pseudobulk import read_pools, read_typed_cells


def split_sample(
    fragments: str | Path,
    cells: str | Path,
    types: str | Path,
    sizes_path: str | Path,
    output: str | Path,
) -> None:
    """Split the fragments of a sample's passing cells into one piece per pooled type, in one pass.

    Parameters
    ----------
    fragments, cells, types
        The sample's fragments file and ``cells.h5ad``; ``cell_types.tsv``. Cells of a merged type go to the type that
        it is merged into. Cells of skipped types are left out.
    output
        Folder with ``{slug}.parquet`` for every type that has cells in the sample: int32 ``chrom`` (row in
        ``chrom.sizes``), ``start``, ``end`` (bp, 0-based half-open), ``barcode`` (row in the list of names
        ``sample#barcode`` in the metadata), ``count``. Memory holds one chunk of the fragments file.

    Raises
    ------
    InputError
        On bad fragments, or if none of the cells has a fragment in them.
    """
    sizes, pools = ChromSizes.read(sizes_path), read_pools(types)
    obs = read_typed_cells(cells)
    obs = obs.assign(slug=obs["cell_type"].map(pools)).dropna(subset="slug").sort_values(["slug", "barcode"])
    slugs = sorted(obs["slug"].unique())
    place = pd.Index(obs["barcode"])
    pool = pd.Index(slugs).get_indexer(obs["slug"])
    first = np.searchsorted(pool, np.arange(len(slugs)))
    written = np.zeros(len(slugs), dtype=np.int64)
    with atomic(output) as folder:
        folder.mkdir()
        names = (obs["sample"] + "#" + obs["barcode"]).to_numpy()
        writers = []
        try:
            for number, name in enumerate(slugs):
                listed = "\n".join(names[pool == number])
                schema = PIECE.with_metadata({"barcodes": listed})
                writers.append(pq.ParquetWriter(folder / f"{name}.parquet", schema, compression="zstd"))
            for frame in iter_fragments(fragments, sizes):
                cell = place.get_indexer(frame["barcode"].cat.categories)[frame["barcode"].cat.codes]
                kept = np.flatnonzero(cell >= 0)
                kept = kept[np.argsort(pool[cell[kept]], kind="stable")]
                cell = cell[kept]
                columns = [frame["chrom"].cat.codes, frame["start"], frame["end"], None, frame["count"]]
                rows = [
                    (cell - first[pool[cell]] if column is None else column.to_numpy()[kept]).astype(np.int32)
                    for column in columns
                ]
                edges = np.flatnonzero((np.diff(pool[cell]) != 0) | (np.diff(rows[0]) != 0)) + 1
                for low, high in zip(np.r_[0, edges], np.r_[edges, len(cell)], strict=True):
                    if high > low:
                        number = pool[cell[low]]
                        written[number] += high - low
                        part = pa.table([column[low:high] for column in rows], schema=writers[number].schema)
                        writers[number].write_table(part, row_group_size=ROWS)
        finally:
            for writer in writers:
                writer.close()
        missing = np.flatnonzero((written == 0) & (np.bincount(pool, obs["n_fragments"]) > 0))
        if len(missing):
            raise InputError(
                fragments,
                f"cells of {slugs[missing[0]]!r} have no fragments in it",
                "check that barcodes are written alike in both files",
            )
    say(f"{written.sum()} fragments of {len(obs)} cells in {len(slugs)} types")
