"""The stages of the single-cell half on a simulated atlas, as functions to run and time in a process of their own.

Each stage calls the functions that the rules of the workflow call, and uses the same file names.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from atlas import Shape

SQUARE = 2048  # rows and columns of the matrices for the matrix product
BLOCK, BLOCKS = (64, 1024), 8  # cells and windows per block in `rates`; blocks per round
MAX_ERROR = 0.05  # maximum error of a stored probability; the workflow's default
MACS3 = {"qvalue": 0.05, "extsize": 150, "max_fragments": 25_000_000}  # the workflow's defaults


@dataclass(frozen=True)
class Run:
    """An atlas with a number of windows, and the paths of its files. Names follow the workflow."""

    atlas: Path
    shape: Shape
    windows: int
    shards: int
    threads: int

    @property
    def reference(self) -> Path:
        """Folder of the genome."""
        return self.atlas / "reference" / "atlas"

    @property
    def sizes(self) -> Path:
        """``chrom.sizes``."""
        return self.reference / "chrom.sizes"

    @property
    def model(self) -> tuple[Path, Path]:
        """Checkpoint and calibration."""
        return self.atlas / "model" / "model.safetensors", self.atlas / "model" / "calibration.json"

    @property
    def grid(self) -> Path:
        """Folder of the files that depend on the windows."""
        return self.atlas / f"windows.{self.windows}"

    def network(self):
        """The files of the network for prediction in cells."""
        from scbind.binding.network import NetworkFiles

        return NetworkFiles(*self.model, self.grid / "readout.npy", self.grid / "windows.npz", self.reference)

    @property
    def embedding(self) -> Path:
        """The joint embedding of all samples."""
        return self.atlas / "embedding.h5ad"

    def counted(self, sample: str) -> dict[str, Path]:
        """The insertions of a sample."""
        return {name: self.atlas / sample / f"{name}.npy" for name in ("position", "cell")}

    def cells(self, sample: str) -> Path:
        """``cells.h5ad`` of a sample."""
        return self.atlas / sample / "cells.h5ad"

    def lenders(self, sample: str) -> Path:
        """``lenders.h5ad`` of a sample."""
        return self.cells(sample).with_name("lenders.h5ad")

    @property
    def tables(self) -> tuple[Path, Path]:
        """The tables of cell types and of pseudobulks."""
        return self.atlas / "cell_types.tsv", self.atlas / "pseudobulks.tsv"

    @property
    def bulks(self) -> list[str]:
        """Folders of the pooled pseudobulks."""
        root = self.atlas / "pseudobulk"
        return sorted(str(path.parent.relative_to(root)) for path in root.rglob("fragments.tsv.gz"))

    def pseudobulk(self, bulk: str) -> Path:
        """Folder of one pseudobulk."""
        folder = self.atlas / "pseudobulk" / bulk
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def shard(self, sample: str, number: int) -> Path:
        """One shard of a sample."""
        return self.grid / f"{sample}.{number}-of-{self.shards}.npz"

    def all_shards(self, sample: str) -> list[Path]:
        """All shards of a sample."""
        return [self.shard(sample, number) for number in range(self.shards)]


# Each stage imports what it needs, then yields once. Only the code after the yield is timed. It returns its outputs.


def count(run: Run):
    """Fragments to insertions and quality metrics."""
    from scbind.cells.count import count_fragments

    yield
    for sample in run.shape.names:
        out = run.atlas / sample
        files = *run.counted(sample).values(), out / "barcodes.tsv", out / "profile.tsv"
        count_fragments(out / "fragments.tsv.gz", run.sizes, *files, min_fragments=100)
    return [path for sample in run.shape.names for path in run.counted(sample).values()]


def peaks(run: Run):
    """Peaks of each sample."""
    from scbind.peaks.macs3 import call_fragment_peaks

    yield
    out = [run.atlas / sample / "peaks.narrowPeak" for sample in run.shape.names]
    for path in out:
        call_fragment_peaks(path.with_name("fragments.tsv.gz"), run.sizes, path, **MACS3)
    return out


def embed(run: Run):
    """Quality, embedding and clusters. Uses the elements as peaks, so `peaks` need not run first."""
    import scanpy  # noqa: F401  seconds to import, at its first use
    from scbind.cells.embedding import EmbedOptions
    from scbind.cells.embedding import embed as embed_cells
    from scbind.plan.settings import default_options

    yield
    samples = {
        sample: run.counted(sample)
        | {"barcodes": run.atlas / sample / "barcodes.tsv", "peaks": run.atlas / "elements.narrowPeak"}
        for sample in run.shape.names
    }
    options = default_options(EmbedOptions, "cells", min_fragments=500, max_doublet_score=None)
    embed_cells(samples, run.sizes, run.embedding, options, group="cells")
    return [run.embedding]


def cells(run: Run):
    """The cells of each sample, and their lenders."""
    from scbind.cells.lenders import find_lenders, sample_cells

    yield
    for sample in run.shape.names:
        sample_cells(run.embedding, sample, run.cells(sample))
        find_lenders(run.cells(sample), run.lenders(sample), 20_000, 30, "uniform")
    return [run.cells(sample) for sample in run.shape.names]


def types(run: Run):
    """The cell types, and the tables that the rules read."""
    from scbind.peaks.pseudobulk import list_cell_types

    yield
    tables = {sample: run.cells(sample) for sample in run.shape.names}
    groups, donors = dict.fromkeys(tables, "all"), dict.fromkeys(tables)
    choice = {"min_cells": 20, "min_fragments": 20_000, "small_types": "sample_peaks"}
    list_cell_types(tables, *run.tables, groups=groups, donors=donors, **choice)
    return list(run.tables)


def split(run: Run):
    """The fragments of each sample, read once and split into one file per cell type."""
    from scbind.peaks.splitting import split_sample

    yield
    out = [run.cells(sample).with_name("pieces") for sample in run.shape.names]
    for pieces in out:
        inputs = pieces.with_name("fragments.tsv.gz"), pieces.with_name("cells.h5ad")
        split_sample(*inputs, run.tables[0], run.sizes, pieces)
    return out


def pool(run: Run):
    """Fragments of each cell type and replicate, joined from the split files."""
    import pandas as pd
    from scbind.peaks.pooling import merge_pieces

    yield
    out = []
    for row in pd.read_csv(run.tables[1], sep="\t", dtype=str).itertuples():
        slug = row.pseudobulk.partition("/")[0]
        pieces = [run.atlas / sample / "pieces" / f"{slug}.parquet" for sample in row.samples.split(",")]
        out.append(run.pseudobulk(row.pseudobulk) / "fragments.tsv.gz")
        merge_pieces(pieces, run.sizes, out[-1])
    return out


def coverage(run: Run):
    """Coverage of each pseudobulk."""
    from scbind.peaks.coverage import coverage_track

    yield
    out = [run.pseudobulk(bulk) / "coverage.bw" for bulk in run.bulks]
    for path in out:
        coverage_track(path.with_name("fragments.tsv.gz"), run.sizes, path)
    return out


def called(run: Run):
    """Peaks of each pseudobulk, by MACS3."""
    from scbind.peaks.macs3 import call_fragment_peaks

    yield
    out = [run.pseudobulk(bulk) / "called.narrowPeak" for bulk in run.bulks]
    for path in out:
        fragments = path.with_name("fragments.tsv.gz")
        call_fragment_peaks(fragments, run.sizes, path, **MACS3)
    return out


def consensus(run: Run):
    """Consensus of the peaks of cell types and samples."""
    from scbind.peaks.consensus import consensus_peaks

    yield
    found = sorted((run.atlas / "pseudobulk").glob("*/called.narrowPeak"))
    found += [
        path for path in (run.atlas / name / "peaks.narrowPeak" for name in run.shape.names) if path.exists()
    ]
    out = run.atlas / "consensus.bed"
    consensus_peaks(found, run.sizes, run.reference / "exclude.bed", out, width=500)
    return [out]


def windows(run: Run):
    """The requested number of windows on the elements. Called peaks would give another number."""
    import numpy as np
    from scbind.binding.choice import choose_windows
    from scbind.formats.geometry import Geometry
    from scbind.plan.settings import default_options

    yield
    out = run.grid / "windows.npz"
    geometry = default_options(Geometry, "dataset", min_mappability=None)
    choose_windows(run.atlas / "elements.bed", run.reference, None, out, geometry)
    with np.load(out) as npz:
        arrays = dict(npz)
    have = len(arrays["start"])
    if have < run.windows:
        sys.exit(f"the atlas has {have} windows, not {run.windows}")
    chosen = np.arange(run.windows) * have // run.windows
    for name in ("chrom", "start", "peak", "gc"):
        arrays[name] = arrays[name][chosen]
    np.savez(out, **arrays)
    return [out]


def readout(run: Run):
    """Sequence readout, once per window."""
    from scbind.binding.readout import sequence_readout

    yield
    out = run.grid / "readout.npy"
    sequence_readout(run.model[0], run.grid / "windows.npz", run.reference, out)
    return [out]


def profile(run: Run):
    """The reference profile."""
    from scbind.binding.referenceprofile import ProfileOptions, reference_profile
    from scbind.plan.settings import default_options

    yield
    samples = {sample: run.counted(sample) | {"cells": run.lenders(sample)} for sample in run.shape.names}
    options = default_options(ProfileOptions, "infer")
    reference_profile(run.network(), samples, run.grid / "reference.npz", options)
    return [run.grid / "reference.npz"]


def infer(run: Run, number: int):
    """One shard of the cells of one sample; ``number`` counts the shards of all samples."""
    from scbind.binding.inference import ShardOptions, infer_shard
    from scbind.plan.settings import default_options

    sample, shard = run.shape.names[number // run.shards], number % run.shards
    yield
    options = default_options(ShardOptions, "infer", floor=run.shape.floor, max_error=MAX_ERROR, sites=True)
    cells = run.counted(sample) | {"cells": run.lenders(sample)}
    inputs = run.network(), cells, run.grid / "reference.npz", run.shard(sample, shard)
    infer_shard(*inputs, options, shard, run.shards)
    return [run.shard(sample, shard)]


def merge(run: Run):
    """Join the shards to one store per sample."""
    from scbind.binding.merging import merge_shards

    yield
    out = [run.grid / f"{sample}.zarr" for sample in run.shape.names]
    for sample, store in zip(run.shape.names, out, strict=True):
        inputs = run.all_shards(sample), run.grid / "windows.npz", run.cells(sample), run.reference
        merge_shards(*inputs, store)
    return out


def activity(run: Run):
    """TF activity per cell."""
    from scbind.binding.activity import activity_matrix

    yield
    out = [run.grid / f"{sample}.h5ad" for sample in run.shape.names]
    for sample, table in zip(run.shape.names, out, strict=True):
        activity_matrix(run.all_shards(sample), run.cells(sample), table)
    return out


def tracks(run: Run):
    """Mean binding of the cell types of the first sample."""
    from scbind.binding.celltracks import cell_type_tracks

    yield
    sample = run.shape.names[0]
    out = run.grid / sample / "tracks"
    cell_type_tracks(run.grid / f"{sample}.zarr", run.tables[0], run.sizes, out)
    return [out]


def populations(run: Run):
    """Populations, from the activity and the peaks of all samples. Uses the elements as peaks."""
    from scbind.analysis.populations import find_populations
    from scbind.peaks.matrix import peak_matrix

    peaks = [run.cells(sample).with_name("peaks.h5ad") for sample in run.shape.names]
    for sample, path in zip(run.shape.names, peaks, strict=True):
        counted = run.counted(sample).values()
        peak_matrix(*counted, run.cells(sample), run.sizes, run.atlas / "elements.bed", path)
    yield
    out = run.grid / "populations.tsv"
    find_populations([run.grid / f"{sample}.h5ad" for sample in run.shape.names], peaks, out)
    return [out]


def rates(run: Run):
    """Pairs per second of the network in memory, and of matrix products, in turn; printed as JSON."""
    import numpy as np
    import torch
    from common import Case
    from common import rates as measure
    from networks import multiply_adds
    from networks import run as respond
    from scbind.core.devices import in_threads
    from scbind.models.base import build_network
    from scbind.models.predictor import load_predictor

    yield
    torch.set_num_threads(run.threads)
    rng = np.random.default_rng(0)
    n_cells, n_windows = BLOCK
    predictor = load_predictor(*run.model)
    bins = predictor.context // predictor.bin_bp
    codes = rng.integers(0, 4, (n_windows, predictor.context), dtype=np.uint8)
    sequence, depth = predictor.readout(codes), np.full(n_cells, 4e-4, np.float32)
    counts = rng.poisson(0.3, (n_cells, n_windows, bins)).astype(np.float32)

    def block(_=None) -> np.ndarray:
        return predictor.probabilities(sequence, counts, depth)

    def all_threads() -> None:
        for _ in in_threads(block, range(BLOCKS)):
            pass

    each = multiply_adds(block) * 1e6 / (n_cells * n_windows)
    cases = {"pairs": Case(all_threads, BLOCKS * n_cells * n_windows)}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.randn(2, SQUARE, SQUARE).to(dtype)
        cases[str(dtype).removeprefix("torch.")] = Case(lambda a=a, b=b: a @ b, SQUARE**3)
    scfan = build_network("scfan", predictor.facts, {}).eval()
    for batch in (64, 256):
        read = scfan.readout(torch.from_numpy(codes[:batch]))
        rows = [read, torch.zeros(batch, predictor.context // scfan.bin_bp)]
        rows.append(torch.full((batch,), 4e-4))
        for dtype in (torch.float32, torch.bfloat16):
            name = f"scfan {batch} {str(dtype).removeprefix('torch.')}"
            cases[name] = Case(lambda r=rows, d=dtype: respond(scfan.respond, r, d), batch)
    found = measure(cases, rounds=5, seconds=0.5)
    middle = {name: float(np.median(values)) for name, values in found.items()}
    best = max(value for name, value in middle.items() if name.startswith("scfan"))
    facts = {"multiply-adds per pair": each, "pairs per second": middle["pairs"], "scfan, best": best}
    for name in ("float32", "bfloat16"):
        facts[f"multiply-adds per second, {name}"] = middle[name]
        facts[f"share of {name}"] = each * middle["pairs"] / middle[name]
    (run.grid / "rates.json").write_text(json.dumps(facts))
    return []


STAGES: dict[str, Callable] = {
    stage.__name__: stage
    for stage in (
        *(count, peaks, embed, cells, types, split, pool, coverage, called, consensus),  # once per atlas
        *(
            windows,
            readout,
            profile,
            infer,
            merge,
            activity,
            tracks,
            populations,
            rates,
        ),  # for each number of windows
    )
}
PER_ATLAS = ("count", "peaks", "embed", "cells", "types", "split", "pool", "coverage", "called", "consensus")
AFTER_INFER = ("merge", "activity", "tracks", "populations")  # stages that need all shards
