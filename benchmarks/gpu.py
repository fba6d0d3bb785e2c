"""Run the steps of the GPU benchmark, each in its own process and time limit; write the table as it grows.

    benchmarks/gpu.sh [--small] [--steps machine same_numbers ...] [--minutes 10]

Steps that are also run on two cores of the CPU have both figures and their ratio in one row. `table.md`, `rows.jsonl`
and `log.txt` are written below $OUT after each step, so a run that is cut off keeps what it measured. The exit
status is 1 where a step failed or something that was asked for does not hold, else 0.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

HERE = Path(__file__).resolve().parent
GPU, CPU = "gpu", "two CPU cores"


@dataclass(frozen=True)
class Step:
    """A function of `gpu_right.py` or `gpu_fast.py`.

    ``seconds`` that it may take; ``beside``: two CPU cores do it, too; ``alone``: nothing else runs meanwhile, because
    it takes times.
    """

    name: str
    seconds: int
    beside: bool = False
    threads: int = 2
    alone: bool = True


# what matters most comes first: the time of all may end before the last
STEPS = (
    Step("machine", 40, beside=True),
    Step("same_numbers", 90, threads=8),
    Step("same_training", 120, alone=False),
    Step("resumed", 120, alone=False),
    Step("out_of_memory", 90, alone=False),
    Step("needed_gpu", 60, alone=False),
    Step("same_cells", 90, alone=False),
    Step("two_devices", 60, alone=False),
    Step("prediction_speed", 90, beside=True, threads=8),
    Step("training_speed", 150, beside=True),
    Step("large", 300, threads=16),
    Step("evaluation", 90, threads=8),
)


def run_step(step: Step, side: str, args: argparse.Namespace, data: Path, out: Path, seconds: float) -> None:
    """Run a step on one side; what it printed goes to the log, how it ended to the rows."""
    environment = dict(os.environ)
    threads = step.threads
    command = [
        sys.executable,
        str(HERE / "gpu_step.py"),
        step.name,
        side,
        str(data),
        str(out / "rows.jsonl"),
    ]
    if side == CPU:
        environment["CUDA_VISIBLE_DEVICES"], threads = "", 2
        two = sorted(os.sched_getaffinity(0))[:2]
        command = ["taskset", "-c", ",".join(map(str, two)), *command]
    begin, ended = time.monotonic(), "done"
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryFile("w+") as heard:
        command += [scratch, "--threads", str(threads), *(["--small"] if args.small else [])]
        process = subprocess.Popen(
            command, stdout=heard, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
        try:
            if process.wait(timeout=seconds):
                ended = f"failed (exit status {process.returncode})"
        except subprocess.TimeoutExpired:
            ended = f"stopped after {seconds:.0f} s"
        finally:
            try:  # a step starts processes of its own
                os.killpg(process.pid, 9)
            except ProcessLookupError:
                pass
            process.wait()
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
    """Add a row of the driver's own."""
    row = {"step": step, "side": side, "what": what, "value": value, "unit": "", "asked": "", "held": held}
    with open(out / "rows.jsonl", "a") as handle:
        handle.write(json.dumps(row) + "\n")


def read_rows(out: Path) -> list[dict]:
    """All rows so far."""
    path = out / "rows.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def number(value) -> str:
    """A value as it stands in the table."""
    return f"{value:,.4g}" if isinstance(value, float) else str(value).replace("|", "/")


def write_table(out: Path, title: str) -> list[dict]:
    """Write ``table.md``: one row for what both sides measured; returns the rows."""
    rows = read_rows(out)
    beside = {(row["step"], row["what"]): row for row in rows if row["side"] == CPU}
    lines = [
        f"# {title}",
        "",
        "| step | what | value | two CPU cores | ratio | asked | held |",
        "|" + "---|" * 7,
    ]
    for row in rows:
        key = row["step"], row["what"]
        other = beside.get(key)
        if row["side"] == CPU and any(r["side"] == GPU and (r["step"], r["what"]) == key for r in rows):
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
    lines += ["", *best_ratios(rows)]
    scratch = out / ".table.md"
    scratch.write_text("\n".join(lines) + "\n")
    scratch.replace(out / "table.md")
    return rows


def best_ratios(rows: list[dict]) -> list[str]:
    """The GPU's best figure over the best of two CPU cores, for what was asked of them."""
    said = []
    for step, starts, unit in (
        ("training_speed", "scbind", "windows/s"),
        ("training_speed", "scfan", "windows/s"),
        ("prediction_speed", "trunk", "windows/s"),
        ("prediction_speed", "network", "pairs/s"),
        ("prediction_speed", "shard", "pairs/s"),
        ("prediction_speed", "scfan", "pairs/s"),
    ):
        best = {}
        for row in rows:
            if row["step"] == step and row["what"].startswith(starts) and row["unit"] == unit:
                best[row["side"]] = max(best.get(row["side"], 0), row["value"])
        if len(best) == 2:
            said.append(
                f"- {step}, {starts}: best {best[GPU]:,.4g} {unit}, {best[GPU] / best[CPU]:.3g} times two CPU cores"
            )
    return said


def main() -> int:
    """Run, write, and say whether all holds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [step.name for step in STEPS]
    parser.add_argument("data", type=Path, help="the archive of gpu_prepare.py")
    parser.add_argument("--small", action="store_true", help="sizes of a rehearsal: minutes on two cores")
    parser.add_argument(
        "--steps", nargs="+", choices=names, default=names, metavar="STEP", help=", ".join(names)
    )
    parser.add_argument("--minutes", type=float, default=9.5, help="time of all steps together")
    args = parser.parse_args()
    import torch

    out = Path(os.environ.get("OUT", "benchmarks/gpu")).resolve()
    out.mkdir(parents=True, exist_ok=True)
    for name in ("rows.jsonl", "log.txt", "table.md"):
        (out / name).unlink(missing_ok=True)
    card = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU: a rehearsal on the CPU"
    title = f"scbind on {card}{', small' if args.small else ''}, torch {torch.__version__}, {time.strftime('%Y-%m-%d')}"
    end = time.monotonic() + 60 * args.minutes
    with tempfile.TemporaryDirectory() as scratch:
        with tarfile.open(args.data) as archive:
            archive.extractall(scratch, filter="data")
        lock = threading.Lock()

        def run(step: Step) -> None:
            for side in (GPU, CPU) if step.beside else (GPU,):
                left = end - time.monotonic()
                if left < 10:
                    write_row(out, step.name, side, "the step", "not run: no time was left")
                else:
                    seconds = step.seconds * (1 if torch.cuda.is_available() else 3)  # a CPU is not hurried
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
    return int(any(row["held"] is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
