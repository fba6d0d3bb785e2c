"""Test whether TF activity depends on the depth of a cell, by thinning cells of known type.

    python benchmarks/activity_depth.py RESULTS --genome demo --sample demo --model scbind [--shares 1 0.3 0.1 0.03]

RESULTS is the `results` folder of a finished run. Cells, neighbours, windows and model stay the same. The reference
profile is computed anew, as in any run. There are three cases:

* `as they are`: the sample itself.
* `all alike`: the sample once with each of `--shares` of its insertions. Together they are like several samples of one
  run that differ in sequencing depth.
* `each its own`: every cell keeps its own share, log-uniform between the lowest of `--shares` and 1. This case is the
  hardest: the signal of a deep cell is mostly its own, the signal of a shallow cell is mostly borrowed.

The script prints how activity depends on the log of the depth that the network gets (borrowed insertions included):

* Spearman's correlation within cell types, per TF: its mean and its mean absolute value over TFs.
* The slope: the change per doubling of depth, divided by the standard deviation between types.

It prints the same for the mean probability and the published vote, which are not corrected for depth. AUROC shows how
much signal remains. It compares the cells of one type with all others; for each TF, this is the type that the TF
separates best.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import anndata as ad
import numpy as np
import torch
from common import show
from scbind.binding.activity import activity_matrix
from scbind.binding.inference import ShardOptions, infer_shard
from scbind.binding.network import NetworkFiles
from scbind.binding.referenceprofile import ProfileOptions, reference_profile
from scbind.plan.settings import default_options
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

SMALLEST_TYPE = 10  # in cells; correlation in smaller types is not informative


def thinned(stored: list[np.ndarray], share: np.ndarray | float, seed: int) -> list[np.ndarray]:
    """Positions and cells of the insertions kept at a share, which is one number or one per cell, (cells,)."""
    share = np.broadcast_to(share, int(stored[1].max()) + 1)
    kept = np.random.default_rng(seed).random(len(stored[1])) < share[stored[1]]
    return [array[kept] for array in stored]


def activity_of(args, signals: list[list[np.ndarray]], folder: Path) -> ad.AnnData:
    """The activity of samples with these positions and cells, concatenated."""
    binding, model = args.results / "binding", args.results / "models" / args.model
    cells = args.results / "cells" / args.sample / "cells.h5ad"
    network = NetworkFiles(
        weights=model / "model.safetensors",
        calibration=model / "calibration.json",
        readout=binding / "readout.npy",
        windows=binding / "windows.npz",
        reference=args.results / "reference" / args.genome,
    )
    samples, found = {}, []
    for number, (position, cell) in enumerate(signals):
        samples[str(number)] = {"cells": cells.with_name("lenders.h5ad")}
        for name, array in (("position", position), ("cell", cell)):
            samples[str(number)][name] = folder / f"{name}.{number}.npy"
            np.save(samples[str(number)][name], array)
    profile = folder / "reference.npz"
    reference_profile(network, samples, profile, default_options(ProfileOptions, "infer"))
    options = default_options(ShardOptions, "infer", sites=False)
    for files in samples.values():
        output = folder / "shard.npz"
        infer_shard(network, files, profile, output, options, 0, 1)
        activity_matrix([output], cells, folder / "activity.h5ad")
        found.append(ad.read_h5ad(folder / "activity.h5ad"))
    return ad.concat(found, index_unique="-")


def against_depth(values: np.ndarray, depth: np.ndarray, types: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Correlation with depth, and change per doubling over the spread between types: float64 (TFs,) each."""
    each, slope = [], []
    for name in np.unique(types):
        rows = types == name
        if rows.sum() >= SMALLEST_TYPE:
            x = np.log2(depth[rows])
            x -= x.mean()
            each.append([spearmanr(column, x)[0] for column in values[rows].T])
            slope.append(x @ (values[rows] - values[rows].mean(axis=0)) / (x @ x))
    between = np.std([values[types == name].mean(axis=0) for name in np.unique(types)], axis=0)
    return np.nanmean(each, axis=0), np.mean(slope, axis=0) / np.maximum(between, 1e-12)


def main() -> None:
    """Infer twice, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path)
    for name in ("genome", "sample", "model"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--shares", type=float, nargs="+", default=[1.0, 0.3, 0.1, 0.03])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    stored = [np.load(args.results / "cells" / args.sample / f"{name}.npy") for name in ("position", "cell")]
    own = min(args.shares) ** np.random.default_rng(args.seed).random(int(stored[1].max()) + 1)
    cases = {
        "as they are": [stored],
        "all alike": [thinned(stored, share, args.seed) for share in args.shares],
        "each its own": [thinned(stored, own, args.seed)],
    }
    rows = []
    for what, signals in cases.items():
        with tempfile.TemporaryDirectory() as scratch:
            found = activity_of(args, signals, Path(scratch))
        types = found.obs["cell_type"].astype(str).to_numpy()
        depth = found.obs["borrowed_depth"].to_numpy()
        spread = np.quantile(depth, [0.05, 0.95])
        layers = {"z": found.X} | {name: found.layers[name] for name in ("mean_binding", "scfan_score")}
        for layer, values in layers.items():
            values = np.asarray(values, dtype=np.float64)
            correlation, slope = against_depth(values, depth, types)
            best = [max(roc_auc_score(types == t, column) for t in np.unique(types)) for column in values.T]
            row = {"cells": what, "depth, 5 to 95 %": f"{spread[0]:.2g} to {spread[1]:.2g}", "layer": layer}
            row |= {"correlation": float(np.nanmean(correlation))}
            row |= {"absolute": float(np.nanmean(np.abs(correlation))), "slope": float(np.mean(slope))}
            rows.append(row | {"AUROC": float(np.mean(best))})
    show(rows)


if __name__ == "__main__":
    main()
