"""Accuracy of trained models over several seeds and of the baselines, on all test windows and on sampled coverage.

    python benchmarks/accuracy.py FOLDER --dataset results/dataset --reference results/reference/{genome}
        --motifs results/motifs/motifs.npz --config config/demo/config.yaml [--models scbind scfan --seeds 1 2 3]
        [--coverage LINE=coverage.bw --levels 1 0.1 0.01 0.001 --draws 4] [--baselines]

The script trains and calibrates each model of the configuration once per seed, as the rules do, and writes it to
FOLDER. Models that are already there are not trained again. Each model is scored on every test window. The table shows
mean AUPRC and calibration error over pairs of line and TF, per seed, with mean and standard deviation over seeds.
`--baselines` adds the baselines of the workflow that read the signal.

`--coverage` tests sparse signal in the way of the published network. The coverage track of a test line is scaled to a
mean of 1 per base. Each base gets a Poisson number of insertions with a mean of `--levels` times the coverage. The
table shows the AUPRC as a fraction of the AUPRC at the first level. Sampled coverage differs from thinned fragments
(`results/evaluation/depth.tsv`) in two ways: the sequencing depth of the track does not limit it, and it is smeared
over the length of fragments. Every model, seed and baseline gets the same `--draws`. The standard deviation is over
seeds, of means over draws.

To see what a network can learn from signal so sparse, train one for this depth alone: add a model with
`sampling: {depth_min: 0.001, depth_max: 0.001}` to the configuration.
"""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyBigWig
import torch
import yaml
from common import show
from scbind.dataset.splits import TEST
from scbind.dataset.trainingset import TrainingSet
from scbind.evaluation.baselines import fit_baselines
from scbind.evaluation.evaluate import network_scores, score_test_windows
from scbind.evaluation.registry import CONTROLS
from scbind.models.calibration import calibrate
from scbind.models.predictor import load_predictor
from scbind.models.training import TrainFiles, TrainOptions, train
from scbind.plan.settings import check_config, default_options

OF_TRAINING = {field.name for field in fields(TrainOptions)}


def sampled(data: TrainingSet, line: int, coverage: Path, level: float, draw: int) -> TrainingSet:
    """The dataset with the insertions of a line sampled from its coverage; their mean is ``level`` per base."""
    rng, positions, depth = np.random.default_rng([draw, line]), [], data.depth.copy()
    with pyBigWig.open(str(coverage)) as bigwig:
        for number, (chrom, length) in enumerate(list(data.genome.sizes.as_dict().items())[: depth.shape[1]]):
            if chrom not in bigwig.chroms():
                continue
            begin = data.genome.sizes.offsets[number]
            known = np.asarray(data.genome.codes[begin : begin + length]) < 4
            values = np.nan_to_num(np.asarray(bigwig.values(chrom, 0, length, numpy=True), dtype=np.float64))
            values *= known
            if not values.any():
                continue
            count = rng.poisson(level * values / values[known].mean())
            positions.append(np.repeat(np.arange(begin, begin + length), count).astype(np.uint32))
            depth[line, number] = level
    insertions, fragments = list(data.insertions), list(data.fragments)
    insertions[line] = np.concatenate(positions)
    fragments[line] = np.arange(len(insertions[line]), dtype=np.uint32)
    return replace(data, insertions=insertions, fragments=fragments, depth=depth)


def trained(args, name: str, hyper: dict, seed: int) -> Path:
    """Train and calibrate a model with a seed, unless that was done before; returns its folder."""
    folder = args.folder / f"{name}.{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    weights, calibration = folder / "model.safetensors", folder / "calibration.json"
    own = {key: value for key, value in hyper.items() if key in OF_TRAINING} | {"seed": seed}
    files = args.dataset, args.reference, weights, folder / "training.csv", folder / "scratch"
    if not weights.exists():
        given = TrainFiles(*files, args.motifs if hyper["motifs"] else None)
        train(given, default_options(TrainOptions, "models", **own), code="", threads=args.threads)
    if not calibration.exists():
        limit = hyper["valid_windows"]
        calibrate(weights, *files[:2], calibration, max_windows=limit, seed=seed, threads=args.threads)
    return folder


def mean_scores(data: TrainingSet, scores, folder: Path) -> dict[str, float]:
    """Mean AUPRC, calibration error and prevalence over the pairs of line and TF with a bound test window."""
    table, _ = score_test_windows(data, partial(scores, data), "", folder)
    whole = table[(table["split"] == "test") & (table["n_bound"] > 0)]
    return {name: float(whole[name].mean()) for name in ("auprc", "ece", "prevalence")}


def on_line(data: TrainingSet, line: int) -> TrainingSet:
    """The dataset with the test windows of one line only."""
    splits = np.array(data.splits)
    splits[np.arange(len(splits)) != line] *= splits[np.arange(len(splits)) != line] != TEST
    return replace(data, splits=splits)


def main() -> None:
    """Train, score and print. FOLDER/accuracy.tsv keeps every score."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    for name in ("dataset", "reference", "motifs", "config"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=["scbind"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--baselines", action="store_true")
    parser.add_argument("--coverage", help="test line and the bigWig of its coverage, LINE=FILE")
    parser.add_argument("--levels", type=float, nargs="+", default=[1.0, 0.1, 0.01, 0.001])
    parser.add_argument("--draws", type=int, default=4, help="samples of the signal at each level")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    data = TrainingSet.open(args.dataset, args.reference)
    signals = {("as it is", 0): data}
    if args.coverage:
        name, _, path = args.coverage.partition("=")
        line = data.lines.index(name)
        alone = on_line(data, line)
        signals |= {
            (f"{level:g} per base", draw): sampled(alone, line, Path(path), level, draw)
            for level in args.levels
            for draw in range(args.draws)
        }
    models = check_config(yaml.safe_load(args.config.read_text()), str(args.config))["models"]
    runs = []
    if args.baselines:
        found = fit_baselines(data, args.motifs, args.folder, max_train=60_000, seed=1)
        runs += [(name, 0, scores) for name, scores in found.items() if name not in CONTROLS]
    for name in args.models:
        for seed in args.seeds:
            folder = trained(args, name, models[name], seed)
            model = load_predictor(folder / "model.safetensors", folder / "calibration.json")
            runs.append((name, seed, network_scores(model)))
    rows = [
        {"model": model, "seed": seed, "signal": signal, "draw": draw}
        | mean_scores(given, scores, args.folder)
        for model, seed, scores in runs
        for (signal, draw), given in signals.items()
    ]
    table = pd.DataFrame(rows)
    table.to_csv(args.folder / "accuracy.tsv", sep="\t", index=False)
    first = f"{args.levels[0]:g} per base"
    shown = []
    for (model, signal), part in table.groupby(["model", "signal"], sort=False):
        seeds, draws = part.groupby("seed")["auprc"].mean(), part.groupby("draw")["auprc"].mean()
        row = {"model": model, "signal": signal, "seeds": len(seeds), "draws": len(draws)}
        row |= {"prevalence": part["prevalence"].mean(), "AUPRC": part["auprc"].mean()}
        row |= {"sd": seeds.std(), "sd of draws": draws.std(), "ECE": part["ece"].mean()}
        full = table[(table["model"] == model) & (table["signal"] == first)]
        row["kept"] = part["auprc"].mean() / full["auprc"].mean() if len(full) else float("nan")
        shown.append(row)
    show(shown)


if __name__ == "__main__":
    main()
