"""One training of the GPU benchmark, as a function and as a process that can be killed.

    python benchmarks/gpu_train.py RUN FOLDER SEED [--gpus 1 --threads 2 --epochs N --examples N --batch-size N]

RUN is a folder that `gpu_prepare.py` collected. The last line of the output is JSON: seed, number of epochs, best
validation AUPRC, and mean AUPRC over TFs and lines on the test windows.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from scbind.core.devices import prediction_device  # noqa: E402
from scbind.dataset.splits import UNUSED  # noqa: E402
from scbind.dataset.trainingset import TrainingSet  # noqa: E402
from scbind.evaluation.evaluate import network_scores, score_test_windows  # noqa: E402
from scbind.models.predictor import load_predictor  # noqa: E402
from scbind.models.training import TrainFiles, TrainOptions, train  # noqa: E402
from scbind.plan.settings import default_options  # noqa: E402


def reference_of(run: Path) -> Path:
    """Folder of the genome of a run; there is exactly one."""
    return next((run / "reference").iterdir())


def settings_of(run: Path, seed: int, epochs: int | None, examples: int | None, batch: int | None) -> dict:
    """Arguments of `train` of a run, with some of them changed."""
    settings = json.loads((run / "settings.json").read_text()) | {"seed": seed}
    settings["epochs"] = epochs or settings["epochs"]
    settings["batch_size"] = batch or settings["batch_size"]
    if examples:
        settings["sampling"] = settings.get("sampling", {}) | {"examples_per_epoch": examples}
        settings["valid_windows"] = min(examples, settings["valid_windows"])
    return settings


def test_auprc(run: Path, weights: Path, device: str, folder: Path, every: int = 1) -> float:
    """Mean AUPRC over TFs and lines of a model on the test windows of a run, or on one in ``every`` of them."""
    data = TrainingSet.open(run / "dataset", reference_of(run))
    if every > 1:
        kept = np.arange(len(data.start)) % every == 0
        data = replace(data, splits=np.where(kept, data.splits, UNUSED))
    predict = partial(network_scores(load_predictor(weights, None, device)), data)
    table, _ = score_test_windows(data, predict, "network", folder)
    return float(table.loc[table["split"] == "test", "auprc"].mean())


def train_once(
    run: Path,
    folder: Path,
    seed: int,
    gpus: int,
    threads: int = 2,
    epochs: int | None = None,
    examples: int | None = None,
    batch: int | None = None,
) -> dict:
    """Train the model of a run in a folder; a killed training in the folder is resumed."""
    folder.mkdir(parents=True, exist_ok=True)
    weights, history = folder / "model.safetensors", folder / "training.csv"
    settings = settings_of(run, seed, epochs, examples, batch)
    data = run / "dataset", reference_of(run)
    files = TrainFiles(*data, weights, history, folder / "state", run / "motifs.npz")
    began = time.monotonic()
    train(files, default_options(TrainOptions, "models", **settings), code="", gpus=gpus, threads=threads)
    if os.environ.get("LOCAL_RANK", "0") != "0":  # another process of the same training prints the result
        sys.exit()
    epochs_done = pd.read_csv(history)
    return {
        "seed": seed,
        "epochs": len(epochs_done),
        "valid_auprc": float(epochs_done["valid_auprc"].max()),
        "test_auprc": test_auprc(run, weights, prediction_device(gpus), folder, 16 if examples else 1),
        "seconds": time.monotonic() - began,
    }


def main() -> None:
    """Train and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("seed", type=int)
    parser.add_argument("--gpus", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--examples", type=int)
    parser.add_argument("--batch-size", type=int, dest="batch")
    print(json.dumps(train_once(**vars(parser.parse_args()))), flush=True)


if __name__ == "__main__":
    main()
