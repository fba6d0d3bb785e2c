"""Accuracy of models of few TFs: added to another model by their motif, trained alone, and extending the other model.

    python benchmarks/few_tfs.py FOLDER --results results --genome hg19 --tfs EBF1 NRF1 REST SPI1 [--seed 1 --epochs 6
        --valid-windows 10000 --depth-min 0.0001 --together]

RESULTS is a folder of results in which the rules build_dataset and find_motifs have run. A model of all other TFs is
trained first, with `strangers`, and made a bundle. Then each TF is added to it by its motif, without ChIP-seq; it gets
a model of its own; and it extends the bundle. The last two see only the labels of this TF, or with --together those of
all TFs that are listed. Models go to FOLDER and are not trained again if they are there. The table shows the AUPRC on
the test windows.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import torch
from common import show
from scbind.dataset.hidden import hide_tfs
from scbind.dataset.trainingset import TrainingSet
from scbind.evaluation.evaluate import network_scores, score_test_windows
from scbind.models.addition import add_left_out
from scbind.models.bundle import BundleFiles, make_bundle
from scbind.models.calibration import calibrate
from scbind.models.predictor import load_predictor
from scbind.models.training import TrainFiles, TrainOptions, train
from scbind.plan.settings import STRANGERS, default_options

METRICS = "model\tcell_line\ttf\tsplit\tauprc\tprevalence\nbase\t-\t-\ttest\t0\t0\n"  # a bundle needs a table


class Trainings:
    """Trains models on some TFs of a dataset."""

    def __init__(self, args: argparse.Namespace):
        self.args, results = args, args.results
        self.dataset, self.reference = results / "dataset", results / "reference" / args.genome
        self.known, self.start = (results / "motifs" / f"{name}.npz" for name in ("motifs", "known_or_found"))
        self.tfs = TrainingSet.open(self.dataset, self.reference).tfs

    def train(self, name: str, tfs: list[str], strangers: float = 0.0, extends: Path | None = None) -> Path:
        """Train a model on the labels of ``tfs``; return its file."""
        folder = self.args.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        weights, released = folder / "model.safetensors", self.known if strangers or extends else None
        if not weights.exists():
            options = default_options(
                TrainOptions,
                "models",
                options={"strangers": strangers} if strangers else {},
                sampling={"depth_min": self.args.depth_min},
                epochs=self.args.epochs,
                valid_windows=self.args.valid_windows,
                seed=self.args.seed,
            )
            others = [tf for tf in self.tfs if tf not in tfs]
            files = weights, folder / "training.csv", folder / "scratch", self.start, released, extends
            train(TrainFiles(self.dataset, self.reference, *files), options, code="", hidden=others)
        return weights

    def bundle(self, weights: Path, hidden: list[str]) -> Path:
        """Make a bundle of a model that was trained without the TFs ``hidden``."""
        folder, made = weights.parent, weights.with_name("base.scbind.zip")
        if not made.exists():
            limit, seed = self.args.valid_windows, self.args.seed
            calibrate(
                weights, self.dataset, self.reference, folder / "calibration", limit, seed, hidden=hidden
            )
            (folder / "card").write_text("# Model card: base\n")
            (folder / "metrics").write_text(METRICS)
            files = (folder / name for name in ("calibration", "training.csv", "card"))
            about = {"comparators": [], "species": None, "licence": None, "training_data": []}
            make_bundle(BundleFiles(weights, *files, self.known, folder / "metrics"), made, "base", **about)
        return made

    def auprc(self, weights: Path, tfs: list[str]) -> dict[str, float]:
        """Mean AUPRC over lines of each TF, on its test windows."""
        data = TrainingSet.open(self.dataset, self.reference)
        data = hide_tfs(data, [tf for tf in data.tfs if tf not in tfs])
        scores = partial(network_scores(load_predictor(weights)), data)
        table, _ = score_test_windows(data, scores, "", self.args.folder)
        whole = table[(table["split"] == "test") & (table["n_bound"] > 0)]
        return whole.groupby("tf")["auprc"].mean().to_dict()


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--genome", required=True, help="name of the folder in results/reference")
    parser.add_argument("--tfs", nargs="+", required=True)
    parser.add_argument("--together", action="store_true", help="all TFs at once instead of each alone")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--valid-windows", type=int, default=10_000)
    parser.add_argument("--depth-min", type=float, default=1e-4)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    runs = Trainings(args)
    base = runs.train("base", [tf for tf in runs.tfs if tf not in args.tfs], STRANGERS)
    bundle = runs.bundle(base, args.tfs)
    add_left_out(base, runs.known, args.folder / "by_motif.safetensors")
    found = {
        "by motif": runs.auprc(args.folder / "by_motif.safetensors", args.tfs),
        "alone": {},
        "extends": {},
    }
    for tfs in [args.tfs] if args.together else [[tf] for tf in args.tfs]:
        name = "together" if args.together else tfs[0]
        found["alone"] |= runs.auprc(runs.train(f"{name}.alone", tfs), tfs)
        found["extends"] |= runs.auprc(runs.train(f"{name}.extends", tfs, extends=bundle), tfs)
    tested = [tf for tf in args.tfs if tf in found["by motif"]]
    rows = [{"TF": tf} | {kind: each[tf] for kind, each in found.items()} for tf in tested]
    rows.append({"TF": "mean"} | {kind: np.mean([each[tf] for tf in tested]) for kind, each in found.items()})
    show(rows)


if __name__ == "__main__":
    main()
