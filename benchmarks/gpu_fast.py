"""Steps of the GPU benchmark that measure speed and memory."""

from __future__ import annotations

import os
import resource
import shutil
import time
import traceback

import numpy as np
import torch
from gpu_bench import Bench, busy, rate, sync, untrained_scfan


def machine(bench: Bench) -> None:
    """Describe the machine, and measure its rate of matrix products."""
    bench.row("torch", torch.__version__)
    bench.row("CPU cores that this process may use", len(os.sched_getaffinity(0)))
    if bench.device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        bench.row("card", properties.name)
        bench.row("memory of the card", properties.total_memory / 2**30, "GiB")
        bench.row("cards", torch.cuda.device_count())
    n = bench.size(8192, 512) if bench.device == "cuda" else bench.size(2048, 512)
    for kind in (torch.float32, torch.bfloat16):
        a, b = torch.randn(2, n, n, device=bench.device).to(kind)
        found = rate(lambda a=a, b=b: a @ b, 2 * n**3 / 1e12, bench.size(1, 0.1))
        bench.row(f"matrix product, {str(kind).removeprefix('torch.')}", found, "TFLOP/s")


def training_speed(bench: Bench) -> None:
    """Windows per second of a whole training step: data, copies, step and weight averaging."""
    data, known = _training_data(bench)
    seconds, default = bench.size(6, 0.1), _shipped_batch()
    on_gpu = bench.device == "cuda"
    plans = [(batch, "32-true", 0) for batch in ((64, default, 1024, 4096) if on_gpu else (default, 1024))]
    if on_gpu or bench.small:
        plans += [(batch, "bf16-mixed", 0) for batch in (default, 1024)]
        plans += [(1024, "bf16-mixed", workers) for workers in ((4, 8) if on_gpu else (2,))]
        plans += [(default, "bf16-mixed", 4)]
    if bench.small:
        plans = [(min(batch, 128), *rest) for batch, *rest in plans[-3:]] + [plans[0]]
    for plan in plans:
        batch, precision, workers = plan
        name = f"scbind, batch {batch}, {precision}, {workers} workers"
        wanted = plan == (default, "bf16-mixed", 4)
        _fit(bench, data, known, "scbind", *plan, False, seconds, name, wanted)
    precision, workers = ("bf16-mixed", 4) if on_gpu else ("32-true", 0)
    batch = bench.size(100, 16)
    _fit(bench, data, None, "scfan", batch, precision, workers, False, seconds, f"scfan, {precision}")


def compiled_training(bench: Bench) -> None:
    """Windows per second with a compiled network. Compilation may take minutes, or fail without a compiler."""
    if bench.device == "cpu":
        bench.row("scbind, compiled", "not run: no CUDA device")
        return
    data, known = _training_data(bench)
    for batch in (_shipped_batch(), 1024):
        plan = batch, "bf16-mixed", 4, True
        name = f"scbind, batch {batch}, bf16-mixed, 4 workers, compiled"
        _fit(bench, data, known, "scbind", *plan, bench.size(6, 1), name)


def _shipped_batch() -> int:
    """The default batch size. A run may set a smaller one, as the demo does."""
    from scbind.models.training import TrainOptions
    from scbind.plan.settings import default_options

    return default_options(TrainOptions, "models").batch_size


def _training_data(bench: Bench) -> tuple:
    """Dataset and motif matrices of the first run."""
    from gpu_train import reference_of
    from scbind.dataset.trainingset import TrainingSet
    from scbind.formats.motifs import read_motifs

    run = bench.runs[0]
    return TrainingSet.open(run / "dataset", reference_of(run)), read_motifs(run / "motifs.npz")


def _fit(
    bench, data, known, architecture, batch, precision, workers, compiled, seconds, name, wanted=False
) -> None:
    from pytorch_lightning.callbacks import Callback, ModelCheckpoint
    from scbind.models.batches import BindingData, Sampling
    from scbind.models.lightning import BindingModule
    from scbind.models.trainer import make_trainer
    from scbind.models.training import SAMPLING, data_facts

    class Clock(Callback):
        """Stops the training after some seconds; the first batches are not counted."""

        batches, windows, began, took = 0, 0, 0.0, 0.0

        def on_train_batch_end(self, trainer, module, outputs, batch, number) -> None:
            self.batches += 1
            if self.batches > 5:  # the last batch of an epoch is smaller than the others
                self.windows += len(batch["labels"])
            if self.batches == 5:
                sync()
                self.began, used[:] = time.perf_counter(), []
            elif self.batches > 5 and time.perf_counter() - self.began > seconds:
                sync()
                self.took = time.perf_counter() - self.began
                self.share = list(used)
                raise KeyboardInterrupt  # Lightning then ends the training in an orderly way

    torch.set_num_threads(bench.threads)
    module = BindingModule(architecture, {}, data_facts(data, architecture), known, 1, 1e-3, 0.01, 1_000_000)
    if compiled:
        module.network.training_logits = torch.compile(module.network.training_logits)
    batches = BindingData(
        data, Sampling(**SAMPLING[architecture]), module.network.bin_bp, batch, 1, 64, workers
    )
    clock, accelerator = Clock(), "gpu" if bench.device == "cuda" else "cpu"
    keep = ModelCheckpoint(bench.scratch, save_top_k=0)
    trainer = make_trainer(architecture, accelerator, 1, precision, 1000, [clock, keep])
    with busy() as used:
        try:
            trainer.fit(module, batches)
        except (KeyboardInterrupt, SystemExit):
            pass
        except Exception as error:  # noqa: BLE001  (no compiler, no memory, ...: skip this plan only)
            traceback.print_exc()
            said = f"failed: {type(error).__name__}: {error}".splitlines()[0][:100]
            bench.row(name, said, held=None if compiled else False)
            return
    if not clock.took:
        bench.row(name, "failed: the training ended by itself", held=False)
        return
    bench.row(name, clock.windows / clock.took, "windows/s")
    if bench.device == "cuda":
        if len(clock.share) < 2:
            bench.row(
                f"{name}: GPU busy", "not measured: nvidia-smi said nothing", held=False if wanted else None
            )
            return
        share = float(np.mean(clock.share[1:]))
        bench.row(
            f"{name}: GPU busy", share, "%", "at least 85" if wanted else "", share >= 85 if wanted else None
        )


def prediction_speed(bench: Bench) -> None:
    """Windows per second of the sequence readout; pairs per second of the network alone and of a whole shard."""
    from atlas import Shape
    from gpu_cells import make_cells
    from scbind.models.predictor import Predictor, load_predictor

    torch.set_num_threads(bench.threads)
    on_gpu, seconds = bench.device == "cuda", bench.size(3, 0.1)
    shape = Shape(
        cells=bench.size(2048 if on_gpu else 512, 64), windows=bench.size(8192 if on_gpu else 4096, 256)
    )
    made = make_cells(bench.scratch, shape)
    # first, because this number is required
    _infer(bench, made, shape, "shard, all included", ("float32", "bfloat16"))
    files, rng = (made.weights, made.calibration), np.random.default_rng(0)
    predictor = load_predictor(*files, bench.device)
    n = bench.size(4096 if on_gpu else 1024, 64)
    codes = rng.integers(0, 4, (n, predictor.context), dtype=np.uint8)
    batches = (256, 1024, 4096) if on_gpu else (256,)
    for batch in batches:
        found = rate(lambda b=batch: predictor.trunk(codes, batch=b), n, seconds)
        bench.row(f"trunk, batch {batch}", found, "windows/s")
    readout, bins = predictor.readout(codes), predictor.context // predictor.bin_bp
    cells, windows = 64, bench.size(2048 if on_gpu else 512, 64)
    counts, depth = (
        rng.poisson(0.3, (cells, windows, bins)).astype(np.float32),
        np.full(cells, 4e-4, np.float32),
    )
    tiles = [None, (64, 64), (256, 64), (1024, 64), (2048, 64)] if on_gpu else [None]
    for precision in ("float32", "bfloat16"):
        for tile in tiles[: bench.size(len(tiles), 1)]:
            model = Predictor(predictor.network, predictor.facts, None, bench.device, precision, tile)
            found = rate(
                lambda m=model: m.probabilities(readout[:windows], counts, depth), cells * windows, seconds
            )
            bench.row(
                f"network, {precision}, tile {'as shipped' if tile is None else tile}", found, "pairs/s"
            )
    network, facts = untrained_scfan(predictor.facts)
    for precision in ("float32", "bfloat16"):
        n = bench.size(1024 if on_gpu else 64, 16)
        # the default tile of 64 windows is four times as large as a small run
        tile = (n, 1) if bench.small else None
        model = Predictor(network, facts, None, bench.device, precision, tile)
        signal = rng.poisson(0.01, (1, n, facts["context"])).astype(np.float32)
        found = rate(
            lambda m=model, s=signal, n=n: m.probabilities(m.readout(codes[:n]), s, depth[:1]), n, seconds
        )
        bench.row(f"scfan, {precision}", found, "pairs/s")


def _infer(
    bench: Bench, made, shape, name: str, precisions: tuple[str, ...], limit: float | None = None
) -> None:
    """Run the three rules of inference on simulated cells; returns pairs per second of the shard."""
    from scbind.binding.inference import ShardOptions, infer_shard
    from scbind.binding.network import NetworkFiles
    from scbind.binding.readout import sequence_readout
    from scbind.binding.referenceprofile import ProfileOptions, reference_profile
    from scbind.plan.settings import default_options

    files, sample = (made.weights, made.calibration), made.cells
    readout, rest = made.windows.with_name("readout.npy"), {"device": bench.device}
    begin = time.perf_counter()
    sequence_readout(made.weights, made.windows, made.reference, readout, **rest)
    bench.row(f"{name}: readout of {shape.windows:,} windows", time.perf_counter() - begin, "s")
    for precision in precisions:
        profile, output = (
            made.windows.with_name(f"{kind}.{precision}.npz") for kind in ("reference", "shard")
        )
        begin = time.perf_counter()
        network = NetworkFiles(*files, readout, made.windows, made.reference)
        options = default_options(ProfileOptions, "infer", precision=precision)
        reference_profile(network, {"sample": sample}, profile, options, **rest)
        bench.row(f"{name}, {precision}: reference profile", time.perf_counter() - begin, "s")
        with busy() as used:
            begin = time.perf_counter()
            options = default_options(ShardOptions, "infer", sites=True, precision=precision)
            infer_shard(network, sample, profile, output, options, 0, 1, **rest)
            took = time.perf_counter() - begin
        bench.row(f"{name}, {precision}", shape.cells * shape.windows / took, "pairs/s")
        if limit:
            bench.at_most(f"{name}, {precision}: inference", took, limit, "s")
        if used:
            bench.row(f"{name}, {precision}: GPU busy", float(np.mean(used)), "%")
    if bench.device == "cuda":
        bench.row(f"{name}: largest memory on the GPU", torch.cuda.max_memory_allocated() / 2**20, "MiB")


def large(bench: Bench) -> None:
    """Inference of 10,000 cells x 50,000 windows x 40 TFs."""
    from atlas import Shape
    from gpu_cells import make_cells

    shape = Shape(cells=bench.size(10_000, 100), windows=bench.size(50_000, 300))
    begin = time.perf_counter()
    made = make_cells(bench.scratch, shape)
    print(f"made {shape.cells} cells in {time.perf_counter() - begin:.0f} s", flush=True)
    name = f"{shape.cells:,} cells x {shape.windows:,} windows x {shape.tfs} TFs"
    _infer(bench, made, shape, name, ("float32",), 180)
    bench.row("memory of the machine", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10, "MiB")


def evaluation(bench: Bench) -> None:
    """Evaluation of a million test windows, made by repeating those of a run."""
    from gpu_train import reference_of
    from scbind.dataset.sparselabels import FILES, SparseLabels
    from scbind.dataset.splits import TEST
    from scbind.dataset.trainingset import TrainingSet
    from scbind.evaluation.evaluate import evaluate_model

    run, wanted = bench.runs[0], bench.size(1_000_000, 5_000)
    source, folder = run / "dataset", bench.scratch / "dataset"
    folder.mkdir()
    splits = np.load(source / "splits.npy")
    tested = (splits == TEST).any(axis=0)
    lines = (splits == TEST)[:, tested].sum() / tested.sum()  # number of lines that test a window, on average
    rows = np.flatnonzero(tested)
    rows = np.sort(rows[np.arange(round(wanted / lines)) % len(rows)])
    for path in source.iterdir():
        if path.name in FILES.values():
            continue
        if path.name in ("splits.npy", "open.npy"):
            whole = np.load(path, mmap_mode="r")
            np.save(folder / path.name, whole[:, rows])
        elif path.name == "windows.npz":
            with np.load(path) as npz:
                np.savez(folder / path.name, **{key: npz[key][rows] for key in ("chrom", "start")})
        else:
            shutil.copy(path, folder)
    labels = TrainingSet.open(source, reference_of(run)).labels
    SparseLabels.of(np.stack([labels[line, rows] for line in range(len(splits))])).save(folder)
    begin = time.perf_counter()
    files = run / "model.safetensors", run / "calibration.json", folder, reference_of(run)
    out = bench.scratch / "metrics.tsv", bench.scratch / "curves.npz"
    evaluate_model(
        *files, *out, "scbind", max_windows=None, seed=0, threads=bench.threads, device=bench.device
    )
    name = f"evaluation of {round(len(rows) * lines):,} test windows, figures included"
    bench.row(name, time.perf_counter() - begin, "s")
