"""Collect the inputs of the GPU benchmark from finished runs of the workflow in one archive.

    python benchmarks/gpu_prepare.py [--run results --run my_analysis/results --seeds 3 --output FILE]

Run `make demo` first. You can add another run. Its training half is enough, for example for the pieces of human data in
tests/configs/real:

    snakemake --cores 2 --configfile tests/configs/real/config.yaml --config data=...
        train results/provenance/config.yaml

For each run, the archive holds the dataset, the sequence, the motif matrices, the settings, and weights and
calibration of `--model`. It also holds the cells of one sample and the windows, if there are any. The script trains the
same model on the CPU of this machine with `--seeds` seeds, one after the other. A GPU must reach their AUPRC within
their spread.
"""

import argparse
import json
import shutil
import sys
import tarfile
import tempfile
from dataclasses import fields
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

import anndata as ad  # noqa: E402
import numpy as np
import pandas as pd  # noqa: E402
import yaml  # noqa: E402
from gpu_train import train_once  # noqa: E402
from scbind.core.files import atomic  # noqa: E402
from scbind.formats.celltable import passing_rows, read_borrow  # noqa: E402
from scbind.models.training import TrainOptions  # noqa: E402

LIMIT = 40  # maximum size of the archive in MB
OF_TRAINING = {field.name for field in fields(TrainOptions)}


def settings_of(run: Path, model: str) -> dict:
    """Arguments of `train` for a model, as a run used them."""
    resolved = run / "provenance" / "config.yaml"
    if not resolved.exists():
        made = "snakemake --cores 2 train results/provenance/config.yaml"
        sys.exit(f"ERROR {resolved}: no such file; make it there with: {made}")
    models = yaml.safe_load(resolved.read_text())["models"]
    if model not in models:
        sys.exit(f"ERROR {resolved}: no model {model}; give --model one of {', '.join(models)}")
    return {key: value for key, value in models[model].items() if key in OF_TRAINING}


def collect(run: Path, model: str, to: Path) -> None:
    """Copy the inputs of the benchmark from a run into a folder."""
    settings = settings_of(run, model)
    files = "dataset/manifest.json", "motifs/motifs.npz"
    for name in (*files, f"models/{model}/model.safetensors", f"models/{model}/calibration.json"):
        if not (run / name).exists():
            sys.exit(f"ERROR {run / name}: no such file; make it there with: snakemake --cores 2 train")
    manifest = json.loads((run / "dataset" / "manifest.json").read_text())
    shutil.copytree(run / "dataset", to / "dataset")
    reference = run / "reference" / manifest["genome"]
    (to / "reference" / manifest["genome"]).mkdir(parents=True)
    for name in ("sequence.npy", "chrom.sizes", "exclude.bed", "mappability.npy"):
        if (reference / name).exists():
            shutil.copy(reference / name, to / "reference" / manifest["genome"])
    shutil.copy(run / "motifs" / "motifs.npz", to)
    for name in ("model.safetensors", "calibration.json"):
        shutil.copy(run / "models" / model / name, to)
    (to / "settings.json").write_text(json.dumps(settings, indent=1))
    samples = sorted(path.parent for path in run.glob("cells/*/position.npy"))
    if samples and (run / "binding" / "windows.npz").exists():
        shutil.copy(run / "binding" / "windows.npz", to)
        (to / "cells").mkdir()
        for name in ("position.npy", "cell.npy"):
            shutil.copy(samples[0] / name, to / "cells")
        cells = samples[0] / "lenders.h5ad"
        borrow, rows = read_borrow(cells), passing_rows(cells)
        numbers = np.arange(borrow.shape[0])
        obs = pd.DataFrame({"pass": np.isin(numbers, rows)}, index=numbers.astype(str))
        ad.AnnData(obs=obs, obsp={"borrow": borrow}).write_h5ad(to / "cells" / "cells.h5ad")


def main() -> None:
    """Collect, train on the CPU, and write the archive."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--run", type=Path, action="append", help="a results folder; CPU trainings use the first one"
    )
    parser.add_argument("--model", default="scbind")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/gpu-data.tar.xz"))
    args = parser.parse_args()
    if not args.output.parent.is_dir():  # checked before the trainings, because these take long
        sys.exit(f"ERROR {args.output.parent}: no such folder; make it, or give another --output")
    with tempfile.TemporaryDirectory() as scratch:
        for number, run in enumerate(args.run or [Path("results")]):
            folder = Path(scratch) / f"run{number}"
            collect(run, args.model, folder)
            if number == 0:
                known = [
                    train_once(folder, Path(scratch) / f"seed{seed}", seed, gpus=0, threads=args.threads)
                    for seed in range(1, args.seeds + 1)
                ]
                (folder / "cpu.json").write_text(json.dumps(known))
        with atomic(args.output) as partial, tarfile.open(partial, "w:xz") as archive:
            for folder in sorted(Path(scratch).glob("run*")):
                archive.add(folder, folder.name)
    megabytes = args.output.stat().st_size / 1e6
    print(f"{args.output}: {megabytes:.1f} MB")
    if megabytes > LIMIT:
        sys.exit(f"ERROR {args.output}: more than {LIMIT} MB; leave out a run")


if __name__ == "__main__":
    main()
