"""Steps of the GPU benchmark that test whether the results are correct, and how failures are handled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from gpu_bench import HERE, Bench, cells_in, untrained_scfan

SCRIPT = HERE / "gpu_train.py"
FP32, BF16, AUPRC = 1e-4, 0.01, 0.002  # maximum difference between GPU and CPU


def same_numbers(bench: Bench) -> None:
    """Compare probabilities and AUPRC of one model between GPU and CPU."""
    from gpu_train import reference_of, test_auprc
    from scbind.dataset.trainingset import TrainingSet
    from scbind.models.predictor import Predictor, load_predictor

    rng = np.random.default_rng(0)
    for run in bench.runs:
        data = TrainingSet.open(run / "dataset", reference_of(run))
        files = run / "model.safetensors", run / "calibration.json"
        windows = np.sort(rng.choice(len(data.start), bench.size(2048, 128), replace=False))
        codes, mappability = data.codes(windows), data.mappability(windows)
        cells = 64
        share = 10 ** rng.uniform(-3, 0, cells)
        on_cpu = load_predictor(*files, "cpu")
        track = data.counts(0, windows, on_cpu.bin_bp)
        counts = rng.poisson(share[:, None, None] * track).astype(np.float32)
        depth = (share * data.window_depth(0, windows).mean()).astype(np.float32)
        readout = on_cpu.readout(codes, mappability)
        truth = on_cpu.probabilities(readout, counts, depth)
        name = f"{run.name}: probabilities, {truth.size:,}"
        for precision, limit in (("float32", FP32), ("bfloat16", BF16)):
            there = load_predictor(*files, bench.device, precision=precision)
            found = there.probabilities(readout, counts, depth)
            bench.at_most(f"{name}, {precision}, largest difference", np.abs(found - truth).max(), limit)
            own = there.probabilities(there.readout(codes, mappability), counts, depth)
            bench.at_most(
                f"{name}, {precision}, with its own readout (float16)", np.abs(own - truth).max(), BF16
            )
        scores = [
            test_auprc(run, files[0], device, bench.scratch, bench.size(1, 16))
            for device in ("cpu", bench.device)
        ]
        bench.at_most(f"{run.name}: AUPRC on test windows, difference", abs(scores[0] - scores[1]), AUPRC)
        bench.row(f"{run.name}: AUPRC on test windows", scores[1])
    network, facts = untrained_scfan(on_cpu.facts)
    rows = slice(0, bench.size(256, 32))
    each = []
    for device in ("cpu", bench.device):
        model = Predictor(network, facts, None, device)
        signal = data.counts(0, windows[rows], model.bin_bp)[None]
        each.append(model.probabilities(model.readout(codes[rows]), signal, depth[:1]))
    bench.at_most("scfan, untrained, float32, largest difference", np.abs(each[0] - each[1]).max(), FP32)


def same_cells(bench: Bench) -> None:
    """Compare the activity of real cells, from the three rules of inference, between GPU and CPU."""
    from gpu_train import reference_of
    from scbind.binding.inference import ShardOptions, infer_shard
    from scbind.binding.network import NetworkFiles
    from scbind.binding.readout import sequence_readout
    from scbind.binding.referenceprofile import ProfileOptions, reference_profile
    from scbind.dataset.trainingset import TrainingSet
    from scbind.plan.settings import default_options

    for run in bench.runs:
        if not (run / "cells").exists():
            bench.row(f"{run.name}: cells", "not in the data")
            continue
        data = TrainingSet.open(run / "dataset", reference_of(run))
        files = run / "model.safetensors", run / "calibration.json"
        sample = cells_in(run / "cells")
        found = {}
        for device in ("cpu", bench.device):
            to = bench.scratch / f"{run.name}.{len(found)}"
            to.mkdir()
            chosen = to / "windows.npz"
            with np.load(run / "windows.npz") as npz:
                every = np.arange(0, len(npz["start"]), bench.size(1, 16))
                np.savez(chosen, **{key: npz[key][every] if npz[key].ndim else npz[key] for key in npz.files})
            sequence_readout(files[0], chosen, data.genome.folder, to / "readout.npy", device=device)
            network = NetworkFiles(*files, to / "readout.npy", chosen, data.genome.folder)
            options = default_options(ProfileOptions, "infer")
            reference_profile(network, {"sample": sample}, to / "reference.npz", options, device=device)
            options = default_options(ShardOptions, "infer", sites=True)
            inputs = network, sample, to / "reference.npz", to / "shard.npz", options
            infer_shard(*inputs, 0, 1, device=device)
            with np.load(to / "shard.npz") as npz:
                found[len(found)] = {key: npz[key] for key in ("z", "binding_sum")}
        for key in found[0]:
            undefined = [np.isnan(each[key]) for each in found.values()]
            bench.holds(
                f"{run.name}: {key} of cells, undefined at the same places", np.array_equal(*undefined)
            )
            gap = float(np.nanmax(np.abs(found[0][key] - found[1][key])))
            spread = float(np.nanstd(found[0][key]))
            bench.at_most(
                f"{run.name}: {key} of cells, largest difference in sd over cells and TFs", gap / spread, 0.1
            )


def _train(bench: Bench, run: Path, folder: str, seed: int, *options: str) -> subprocess.Popen:
    """Start a training in its own process, which writes its output to its folder."""
    to = bench.scratch / folder
    to.mkdir(exist_ok=True)
    command = [
        sys.executable,
        *map(str, (SCRIPT, run, to, seed)),
        "--gpus",
        "1",
        f"--threads={bench.threads}",
    ]
    if bench.small:
        command += ["--epochs", "2", "--examples", "600"]
    return subprocess.Popen([*command, *options], stdout=open(to / "log", "a"), stderr=subprocess.STDOUT)  # noqa: SIM115


def _said(bench: Bench, folder: str) -> str:
    text = (bench.scratch / folder / "log").read_text()
    print(text, flush=True)
    return text


def _result(bench: Bench, folder: str) -> dict:
    """The last result that a training printed."""
    lines = _said(bench, folder).strip().splitlines()
    if not lines or not lines[-1].startswith("{"):
        raise SystemExit(f"the training {folder} ended without a result: {lines[-1:]}")
    return json.loads(lines[-1])


def same_training(bench: Bench) -> None:
    """Test whether trainings with several seeds reach the AUPRC that they reach on a CPU."""
    run = bench.runs[0]
    known = json.loads((run / "cpu.json").read_text()) if (run / "cpu.json").exists() else []
    seeds = [entry["seed"] for entry in known] or [1]
    seeds = seeds[: bench.size(len(seeds), 1)]
    running = [_train(bench, run, f"seed{seed}", seed) for seed in seeds]
    for process in running:
        process.wait()
    found = [_result(bench, f"seed{seed}") for seed in seeds]
    for key, name in (("valid_auprc", "validation"), ("test_auprc", "test")):
        here = np.array([entry[key] for entry in found])
        bench.row(f"AUPRC on {name} windows, {len(here)} seeds", here.mean())
        if len(known) < 2 or bench.small:
            why = "small" if bench.small else f"{len(known)} seeds on a CPU in the data, 2 are needed"
            bench.row(
                f"difference on {name} windows", f"not judged: {why}", held=None if bench.small else False
            )
            continue
        there = np.array([entry[key] for entry in known])
        # from the CPU's seeds alone, so that a large spread on the GPU does not widen its own limit
        allowed = max(AUPRC, 2 * np.sqrt(2) * there.std(ddof=1))
        bench.row(f"the same on a CPU, {len(there)} seeds", there.mean())
        gap = abs(here.mean() - there.mean())
        bench.at_most(
            f"difference on {name} windows; limit: two sd of a difference between seeds on a CPU",
            gap,
            round(allowed, 4),
        )
    bench.row("time of one training (several at once)", max(entry["seconds"] for entry in found), "s")


def resumed(bench: Bench) -> None:
    """Test whether a training killed in its second epoch resumes from its last complete one."""
    run = bench.runs[0]
    process = _train(bench, run, "killed", 1, "--epochs", "4")
    log = bench.scratch / "killed" / "log"
    while process.poll() is None and "epoch 2/" not in log.read_text():
        time.sleep(0.05)
    if process.poll() is not None:
        raise SystemExit(f"the training ended before it was killed: {log.read_text()[-500:]}")
    process.send_signal(signal.SIGKILL)
    process.wait()
    _train(bench, run, "killed", 1, "--epochs", "4").wait()
    found, said = _result(bench, "killed"), (bench.scratch / "killed" / "log").read_text()
    bench.holds("killed and started again: says that it resumes", "resuming from" in said)
    bench.holds("all four epochs are in its history", found["epochs"] == 4)
    _train(bench, run, "whole", 1, "--epochs", "4").wait()
    gap = abs(found["valid_auprc"] - _result(bench, "whole")["valid_auprc"])
    bench.at_most(
        "validation AUPRC against a training that was not killed", gap, 0.02 if bench.device == "cuda" else 0
    )


def out_of_memory(bench: Bench) -> None:
    """Test out-of-memory handling: training halves the batch until it fits; prediction gives an error of one line."""
    from gpu_train import train_once
    from scbind.core.devices import enough_gpu_memory
    from scbind.core.errors import InputError
    from scbind.models.lightning import BindingModule

    batch, made_up = 16_384, bench.device == "cpu"
    if made_up:  # on a CPU, raise the error at the place where a GPU would run out of memory
        real = BindingModule.training_step

        def step(module, rows, number):
            if len(rows["line"]) > 200:
                raise torch.OutOfMemoryError("CUDA out of memory (made up)")
            return real(module, rows, number)

        BindingModule.training_step = step
        batch = 512
    else:
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, 2**28 / total))
    examples = 600 if made_up else 20_000
    to = bench.scratch / "halved"
    heard = _heard(lambda: train_once(bench.runs[0], to, 1, 1, bench.threads, 1, examples, batch))
    made_up_here = " (made up)" if made_up else ""
    bench.holds(f"batch of {batch:,} that does not fit: halved{made_up_here}", "out of GPU memory" in heard)
    bench.holds(f"and the training ends{made_up_here}", (to / "model.safetensors").exists())
    try:
        with enough_gpu_memory():
            if made_up:
                raise torch.OutOfMemoryError("CUDA out of memory (made up)")
            torch.empty(2**33, device="cuda")
        said = "nothing"
    except InputError as error:
        said = str(error)
    one_line = "does not suffice" in said and "\n" not in said
    bench.row("prediction that does not fit says", said, "", "one line", one_line)


def _heard(call: Callable[[], object]) -> str:
    """The output of a call, on both streams; it is also printed."""
    with tempfile.TemporaryFile("w+") as handle:
        kept = os.dup(1), os.dup(2)
        sys.stdout.flush()
        for stream in (1, 2):
            os.dup2(handle.fileno(), stream)
        try:
            call()
        finally:
            sys.stdout.flush()
            for stream, before in zip((1, 2), kept, strict=True):
                os.dup2(before, stream)
                os.close(before)
        handle.seek(0)
        text = handle.read()
    print(text, flush=True)
    return text


def needed_gpu(bench: Bench) -> None:
    """Test `require_gpu`: an error of one line on a machine without a GPU; otherwise the GPU is used."""
    code = "from scbind.core.devices import choose_device; print(choose_device(1, True))"
    path = os.pathsep.join([str(HERE.parent / "workflow"), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path}

    def tried(**more: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-c", code], env=environment | more, capture_output=True, text=True
        )

    without = tried(CUDA_VISIBLE_DEVICES="").stderr
    refused = "InputError" in without and "no CUDA device is visible" in without
    bench.holds("require_gpu without a GPU: refused", refused)
    if bench.device == "cuda":
        bench.holds("require_gpu with a GPU: trains on it", "('gpu', 1)" in tried().stdout)


def two_devices(bench: Bench) -> None:
    """Train with two processes on two GPUs (DDP), if there are two."""
    if torch.cuda.device_count() < 2:
        bench.row("two processes (DDP)", f"not run: {torch.cuda.device_count()} CUDA devices")
        return
    run = bench.runs[0]
    _train(bench, run, "two", 1, "--gpus", "2").wait()
    found = _result(bench, "two")
    bench.row("two processes (DDP): validation AUPRC", found["valid_auprc"])
    bench.row("two processes (DDP): time", found["seconds"], "s")
