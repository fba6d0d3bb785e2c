"""Run the steps of the GPU benchmark, each in its own process with a time limit; update the table after each step.

    benchmarks/gpu.sh [--small] [--steps machine same_numbers ...] [--minutes 10]

Some steps also run on two cores of the CPU. Their rows show both numbers and the ratio. After each step, the script
writes `table.md`, `rows.jsonl` and `log.txt` in the folder $OUT, so an interrupted run keeps its measurements. The exit
status is 0 if all steps ran and all requirements hold, otherwise 1. Another run with the same $OUT repeats its own
steps and keeps the results of the others.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import lzma
import os
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path

HERE = Path(__file__).resolve().parent
GPU, CPU = "gpu", "two CPU cores"
BEGAN = time.monotonic()
CARRIED = ("anndata", "h5py", "numcodecs", "threadpoolctl")  # packages that gpu_wheels.py fetches
TIMES = 20  # required speed of a GPU relative to two CPU cores
RUNNING: set[int] = set()  # process groups of the running steps
STOPPED = threading.Event()


@dataclass(frozen=True)
class Step:
    """A function of `gpu_right.py` or `gpu_fast.py`.

    ``seconds`` is its time limit. ``beside``: it also runs on two CPU cores. ``alone``: nothing else runs at the same
    time, because it measures time.
    """

    name: str
    seconds: int
    beside: bool = False
    threads: int = 2
    alone: bool = True


# the most important steps come first, because the total time may end before the last one
STEPS = (
    Step("machine", 40, beside=True),
    Step("same_numbers", 90, threads=8),
    Step("same_training", 120, alone=False),
    Step("resumed", 120, alone=False),
    Step("out_of_memory", 90, alone=False),
    Step("needed_gpu", 60, alone=False),
    Step("same_cells", 90, alone=False),
    Step("two_devices", 60, alone=False),
    Step("prediction_speed", 120, beside=True, threads=8),
    Step("training_speed", 150, beside=True),
    Step("large", 300, threads=16),
    Step("evaluation", 90, threads=8),
    Step("compiled_training", 120),
)


def two_cores() -> set[int]:
    """Two distinct physical cores that this process may use, not two threads of one core."""
    found = {}
    for cpu in sorted(os.sched_getaffinity(0)):
        path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        found.setdefault(path.read_text() if path.exists() else cpu, cpu)
    return set(list(found.values())[:2])


@contextmanager
def on_cores(cores: set[int]) -> Iterator[None]:
    """Restrict the processes that this thread starts in this context to these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def end_steps(*_) -> None:
    """Stop the running steps and start no more. Handles Ctrl-C, which does not reach the steps."""
    STOPPED.set()
    for group in list(RUNNING):
        kill(group)


def kill(group: int) -> None:
    """Stop a step and the processes it started."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass


def run_step(step: Step, side: str, args: argparse.Namespace, data: Path, out: Path, seconds: float) -> None:
    """Run a step on one side. Its output goes to the log; a failure goes to the rows."""
    environment, cores = dict(os.environ), os.sched_getaffinity(0)
    command = [
        sys.executable,
        str(HERE / "gpu_step.py"),
        step.name,
        side,
        str(data),
        str(out / "rows.jsonl"),
    ]
    if side == CPU:
        environment["CUDA_VISIBLE_DEVICES"], cores = "", two_cores()
    threads = min(step.threads, 2 if side == CPU else step.threads, len(cores))
    begin, ended = time.monotonic(), "done"
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryFile("w+") as heard:
        command += [scratch, "--threads", str(threads), *(["--small"] if args.small else [])]
        with on_cores(cores):
            process = subprocess.Popen(
                command, stdout=heard, stderr=subprocess.STDOUT, env=environment, start_new_session=True
            )
        RUNNING.add(process.pid)
        if STOPPED.is_set():
            kill(process.pid)
        try:
            if process.wait(timeout=seconds):
                ended = f"failed (exit status {process.returncode})"
        except subprocess.TimeoutExpired:
            ended = f"stopped after {seconds:.0f} s"
        finally:
            kill(process.pid)  # a step may start further processes
            process.wait()
            RUNNING.discard(process.pid)
        heard.seek(0)
        text = heard.read()
    took = time.monotonic() - begin
    with open(out / "log.txt", "a") as log:
        log.write(f"\n===== {step.name} ({side}): {ended}, {took:.0f} s\n{text}")
    if ended != "done":
        last = re.findall(r"windows (\d+)/(\d+)", text)
        if last:
            ended += f"; {last[-1][0]} of {last[-1][1]} windows were done"
        write_row(out, step.name, side, "the step", ended, held=False)
    print(f"{step.name} ({side}): {ended}, {took:.0f} s", flush=True)


def write_row(out: Path, step: str, side: str, what: str, value: str, held: bool | None = None) -> None:
    """Write a row of the driver itself."""
    row = {"step": step, "side": side, "what": what, "value": value, "unit": "", "asked": "", "held": held}
    with open(out / "rows.jsonl", "a") as handle:
        handle.write(json.dumps(row) + "\n")


def read_rows(out: Path) -> list[dict]:
    """All rows so far."""
    path = out / "rows.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def number(value) -> str:
    """A value in the format of the table."""
    return f"{value:,.4g}" if isinstance(value, float) else str(value).replace("|", "/")


def write_table(out: Path, title: str) -> list[dict]:
    """Write ``table.md``, with one row for a value measured on both sides; returns the rows."""
    rows = read_rows(out)
    beside, measured = (
        {(row["step"], row["what"]): row for row in rows if row["side"] == side} for side in (CPU, GPU)
    )
    lines = [
        f"# {title}",
        "",
        "| step | what | value | two CPU cores | ratio | asked | held |",
        "|" + "---|" * 7,
    ]
    for row in rows:
        key = row["step"], row["what"]
        other = beside.get(key)
        if row["side"] == CPU and key in measured:
            continue
        mine, theirs, ratio = f"{number(row['value'])} {row['unit']}".strip(), "", ""
        if row["side"] == CPU:
            mine, theirs = "", mine
        elif other is not None:
            theirs = f"{number(other['value'])} {other['unit']}".strip()
            if all(isinstance(r["value"], float) and r["value"] for r in (row, other)) and row[
                "unit"
            ].endswith("/s"):
                ratio = f"{row['value'] / other['value']:.3g}"
        held = {None: "", True: "yes", False: "**no**"}[row["held"]]
        lines.append(
            f"| {row['step']} | {row['what']} | {mine} | {theirs} | {ratio} | {row['asked']} | {held} |"
        )
    lines += ["", *best_ratios(rows, title)[0]]
    scratch = out / ".table.md"
    scratch.write_text("\n".join(lines) + "\n")
    scratch.replace(out / "table.md")
    return rows


def best_ratios(rows: list[dict], title: str) -> tuple[list[str], bool]:
    """Ratios of the best GPU value to that of two CPU cores: lines of text, and whether all required ratios hold.

    Nothing is required if a CPU stands in for the GPU, or for small sizes.
    """
    said, all_hold = [], True
    real = "a rehearsal" not in title and ", small" not in title
    for step, starts, unit, asked in (
        ("training_speed", "scbind", "windows/s", True),
        ("training_speed", "scfan", "windows/s", False),
        ("prediction_speed", "trunk", "windows/s", False),
        ("prediction_speed", "network", "pairs/s", False),
        ("prediction_speed", "shard", "pairs/s", True),
        ("prediction_speed", "scfan", "pairs/s", False),
    ):
        best = {}
        for row in rows:
            if row["step"] == step and row["what"].startswith(starts) and row["unit"] == unit:
                best[row["side"]] = max(best.get(row["side"], 0), row["value"])
        if len(best) == 2:
            ratio, judged = best[GPU] / best[CPU], ""
            if real and asked:
                judged = f"; asked: at least {TIMES}; held: {'yes' if ratio >= TIMES else '**no**'}"
                all_hold &= ratio >= TIMES
            said.append(
                f"- {step}, {starts}: best {best[GPU]:,.4g} {unit}, {ratio:.3g} times two CPU cores{judged}"
            )
    return said, all_hold


def refuse(what, problem: str, remedy: str) -> None:
    """Exit with an error of one line."""
    sys.exit(f"ERROR {what}: {problem}; {remedy}")


def open_output(out: Path, title: str, steps: list[str]) -> object:
    """Prepare the output folder, keeping results of other steps on the same card; returns a lock, held until closed."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = open(out / ".lock", "w")  # noqa: SIM115
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        refuse(out, "another run writes to it", "wait for it, or set OUT to another folder")
    except OSError as error:
        refuse(out, f"cannot be written to ({error.strerror})", "set OUT to another folder")
    table = out / "table.md"
    if table.exists() and table.read_text().split(", 20")[0] != f"# {title}":
        refuse(out, "holds the table of another card or size", "set OUT to another folder, or remove it")
    kept = [row for row in read_rows(out) if row["step"] not in steps]
    (out / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
    return lock


def unpack(archive: Path, to: str) -> None:
    """Unpack the data of `gpu_prepare.py`."""
    again = "copy it again, or make it with: python benchmarks/gpu_prepare.py"
    try:
        with tarfile.open(archive) as data:
            data.extractall(
                to, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {})
            )  # from 3.11.4 on
    except (tarfile.TarError, EOFError, OSError, lzma.LZMAError) as error:
        refuse(archive, f"cannot be unpacked ({error})", again)
    if not any(Path(to).glob("run*")):
        refuse(archive, "holds no run", again)


def main() -> int:
    """Run the steps, write the table, and return whether all requirements hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [step.name for step in STEPS]
    parser.add_argument("data", type=Path, help="the archive of gpu_prepare.py")
    parser.add_argument("--small", action="store_true", help="small sizes: minutes on two cores")
    parser.add_argument(
        "--steps", nargs="+", choices=names, default=names, metavar="STEP", help=", ".join(names)
    )
    parser.add_argument("--minutes", type=float, default=9.5, help="total time limit of all steps")
    args = parser.parse_args()
    if absent := [name for name in CARRIED if find_spec(name) is None]:
        refuse(", ".join(absent), "not installed", "install the wheels of: python benchmarks/gpu_wheels.py")
    import torch

    out = Path(os.environ.get("OUT", "benchmarks/gpu")).resolve()
    card = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU: a rehearsal on the CPU"
    title = f"scbind on {card}{', small' if args.small else ''}, torch {torch.__version__}"
    end = BEGAN + 60 * args.minutes
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end_steps)
    with tempfile.TemporaryDirectory() as scratch:
        unpack(args.data, scratch)
        writing = open_output(out, title, args.steps)  # noqa: F841  (a lock)
        title += time.strftime(", %Y-%m-%d")
        lock = threading.Lock()

        def run(step: Step) -> None:
            for side in (GPU, CPU) if step.beside else (GPU,):
                left = end - time.monotonic()
                if left < 10 or STOPPED.is_set():
                    why = "stopped" if STOPPED.is_set() else "no time was left"
                    write_row(out, step.name, side, "the step", f"not run: {why}", held=False)
                else:
                    seconds = step.seconds * (1 if torch.cuda.is_available() else 3)  # a CPU gets more time
                    run_step(step, side, args, Path(scratch), out, min(seconds, left))
                with lock:
                    write_table(out, title)

        chosen = [step for step in STEPS if step.name in args.steps]
        for alone, steps in groupby(chosen, key=lambda step: step.alone):
            at_once = 1 if alone else max(1, len(os.sched_getaffinity(0)) // 4)
            with ThreadPoolExecutor(at_once) as pool:
                list(pool.map(run, steps))
    rows = write_table(out, title)
    print(f"\n{(out / 'table.md').read_text()}\nThe table, the rows and the log are in {out}")
    return int(any(row["held"] is False for row in rows) or not best_ratios(rows, title)[1])


if __name__ == "__main__":
    sys.exit(main())
