"""Training in two processes, as on two GPUs, but on the CPU."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from scbind.dataset.splits import VALID
from scbind.dataset.trainingset import TrainingSet
from scbind.models.batches import BindingData, FixedBatches, Sampling

# What a rule's script does, with the two processes that two granted GPUs would give, and a diary of who saw what.
SCRIPT = """
import json, os, sys
from pathlib import Path

from scbind.core.runlog import logged
from scbind.models import batches, training
from scbind.plan.settings import default_options

FILES = ("dataset", "reference", "weights", "history", "scratch")
given = json.loads(sys.argv[1])
diary = Path(given.pop("diary")) / os.environ.get("LOCAL_RANK", "0")

def noted(kind, made):
    get = made.__getitem__
    def noting(self, number):
        batch = get(self, number)
        with open(diary, "a") as handle:
            print(json.dumps([kind, getattr(self, "epoch", 0), number, len(batch["line"])]), file=handle)
        return batch
    made.__getitem__ = noting

noted("train", batches.TrainingBatches)
noted("valid", batches.FixedBatches)
training.choose_device = lambda *_: ("cpu", 2)
with logged(given.pop("log")):
    files = training.TrainFiles(**{name: given.pop(name) for name in given.copy() if name in FILES})
    options = default_options(training.TrainOptions, "models", **given)
    training.train(files, options, code="")
"""


def two_processes(folder: Path, **settings):
    """Train in two processes; return the diary's rows of each, and the log."""
    folder.mkdir(parents=True)
    (folder / "script.py").write_text(SCRIPT)
    (folder / "diary").mkdir()
    given = settings | {
        name: str(folder / name) for name in ("weights", "history", "scratch", "diary", "log")
    }
    environment = os.environ | {"PYTHONPATH": str(Path(sys.modules["scbind"].__file__).parents[1])}
    environment |= {"OMP_NUM_THREADS": "1"}
    for name in ("LOCAL_RANK", "MASTER_PORT", "NODE_RANK", "WORLD_SIZE"):
        environment.pop(name, None)
    reply = subprocess.run(
        [sys.executable, folder / "script.py", json.dumps(given)], env=environment, timeout=1800
    )
    log = (folder / "log").read_text()
    assert reply.returncode == 0, log
    diaries = [[json.loads(row) for row in (folder / "diary" / n).read_text().splitlines()] for n in "01"]
    return diaries, log


def rows_of(path):
    with open(path) as handle:
        return list(csv.DictReader(handle))


def test_two_processes_share_the_batches_and_one_writes(tiny, tiny_dataset, tmp_path):
    settings = {
        "dataset": str(tiny_dataset),
        "reference": str(tiny["reference"]),
        "options": {"channels": 8, "hidden": 8, "members": 1},
        "sampling": {"examples_per_epoch": 60},
        "epochs": 2,
        "batch_size": 8,
        "valid_windows": 101,
    }
    diaries, log = two_processes(tmp_path / "run", **settings)
    data = TrainingSet.open(tiny_dataset, tiny["reference"])
    batches = BindingData(data, Sampling(**settings["sampling"]), 50, settings["batch_size"], 1, 101)
    n = batches.batches_per_epoch
    assert n > 2
    for epoch in range(2):
        seen = [[row[2] for row in diary if row[:2] == ["train", epoch]] for diary in diaries]
        assert len(seen[0]) == len(seen[1]) == -(-n // 2), "both take as many steps"
        assert seen[0] == list(range(0, n, 2)) and seen[1][: n // 2] == list(range(1, n, 2))
    windows = [sum(row[3] for row in diary if row[0] == "valid") for diary in diaries]
    assert windows == [2 * 51, 2 * 50], "each validation window is seen once an epoch"
    history = rows_of(tmp_path / "run" / "history")
    assert [int(row["epoch"]) for row in history] == [0, 1]
    assert log.count("examples per epoch") == 2, "neither empties the log of the other"
    assert log.count("epoch 1/2") == log.count("epoch 2/2") == log.count("is kept: validation AUPRC") == 1
    assert (tmp_path / "run" / "weights").is_file() and not (tmp_path / "run" / "scratch").exists()


def test_parts_of_the_validation_windows_are_the_whole(tiny, tiny_dataset):
    data = TrainingSet.open(tiny_dataset, tiny["reference"])
    line, window = (found[:41] for found in np.nonzero(np.asarray(data.splits) == VALID))
    parts = [FixedBatches(data, line, window, 50, 10, process, 4) for process in range(4)]
    assert [len(part) for part in parts] == [2] * 4
    batches = [part[number] for part in parts for number in range(2)]
    assert [len(batch["line"]) for batch in batches] == [10, 1, 10, 0, 10, 0, 10, 0]
    whole = FixedBatches(data, line, window, 50, 41)[0]
    counts = np.concatenate([np.concatenate([part[n]["counts"] for n in range(2)]) for part in parts])
    order = np.concatenate([np.arange(41)[process::4] for process in range(4)])
    np.testing.assert_array_equal(counts, whole["counts"][order])
