"""Time and memory of the single-cell half, stage by stage, on simulated atlases of growing size.

    python benchmarks/scale.py FOLDER [--cells 1000 3000 --windows 2000 5000 --threads 2 --shards 2 --first 1 ...]

For each number of cells an atlas is made (`atlas.py`) below FOLDER, and the functions that the workflow's rules call
(`stages.py`) are run on it, each in a process of its own. `--cells` are tried with the most windows, `--windows`
with the most cells. Printed are, for each stage, seconds and processor seconds within the function (imports left out),
the peak of the resident memory of its process and of that part which is its own (files that are mapped into memory
count in the first, and can be dropped by the system), and the size of what it wrote. Then the sums over all stages but
`rates`, for sizes at which all were measured, and the exponents: slopes of log processor seconds against log cells and
log windows, last those of the sums. A slope over sizes that take under a second or so says little.

`--stages` runs only some (their inputs must be there). With `--first K` only the first K of `--shards` N shards of a
sample are inferred, which is enough for cost and memory; N / K times their time is printed, marked as an estimate, and
merging and activity are left out. All else is measured. Results are kept in FOLDER/scale.json; `--show` prints them.

`rates` compares with what the machine can do: the multiply-adds of the per-cell network times its pairs (of cell and
window) per second, through `Predictor.probabilities`, over those of `torch.matmul` in the same process, taking turns;
and with the published network (`scfan`), which has to do all for each pair.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from dataclasses import asdict, fields
from pathlib import Path

from atlas import Shape, add_shape
from processes import measure as measured
from stages import AFTER_INFER, PER_ATLAS, STAGES, Run


def child(stage: str, run: Run, number: int | None) -> None:
    """Run one stage here; the last line printed is what was measured."""
    steps = STAGES[stage](run) if number is None else STAGES[stage](run, number)
    next(steps)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(run.threads)
    begin, before = time.perf_counter(), os.times()
    try:
        next(steps)
    except StopIteration as stop:
        seconds, after = time.perf_counter() - begin, os.times()
        written = sum(_size(path) for path in stop.value)
        used = sum(after[:4]) - sum(before[:4])  # its own and of programs that it ran
        print(json.dumps({"seconds": seconds, "cpu": used, "written": written}))


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def measure(stage: str, run: Run, number: int | None = None) -> dict:
    """Run a stage in a new process; what it says of itself, and its peak memory in bytes."""
    stored = asdict(run) | {"atlas": str(run.atlas)}
    command = [sys.executable, __file__, "--child", stage, json.dumps(stored), json.dumps(number)]
    return measured(command, run.threads)


def exponent(rows: list[dict], size: str) -> float:
    """Slope of log ``cpu`` against log ``size`` by least squares; NaN for fewer than two sizes."""
    points = [(math.log(row[size]), math.log(max(row["cpu"], 1e-3))) for row in rows]
    if len({x for x, _ in points}) < 2:
        return math.nan
    mean = [sum(values) / len(points) for values in zip(*points, strict=True)]
    across = sum((x - mean[0]) * (y - mean[1]) for x, y in points)
    return across / sum((x - mean[0]) ** 2 for x, _ in points)


def whole(row: dict) -> dict:
    """The row of a stage with the time of all its shards, of which some were run."""
    return row | {name: row[name] * row["parts"] / row["part"] for name in ("seconds", "cpu")}


def totals(rows: list[dict]) -> list[dict]:
    """Per ``cells`` and ``windows``: ``seconds`` and ``cpu`` of all stages but `rates`, ``estimate`` if in part so.

    Stages to which windows do not matter count at each number of them. A size that lacks a stage is left out.
    """
    rows = [row for row in rows if row["stage"] != "rates"]
    found = []
    for cells, windows in sorted({(row["cells"], row["windows"]) for row in rows}):
        mine = [row for row in rows if row["cells"] == cells and row["windows"] in (0, windows)]
        if {row["stage"] for row in mine} == {row["stage"] for row in rows}:
            sums = {name: sum(whole(row)[name] for row in mine) for name in ("seconds", "cpu")}
            part = any(row["part"] < row["parts"] for row in mine)
            found.append({"cells": cells, "windows": windows, **sums, "estimate": part})
    return found


def show(rows: list[dict]) -> None:
    """Print tables in Markdown."""
    columns = "stage | cells | windows | seconds | CPU s | peak MiB | own MiB | written MiB | of all | estimate, all s"
    print(f"| {columns} |\n" + "|---" * 10 + "|")
    for row in rows:
        share = f"{row['part']} of {row['parts']}" if row["parts"] > row["part"] else "all"
        estimate = f"{whole(row)['seconds']:,.0f}" if share != "all" else ""
        sizes = [f"{row[name] / 2**20:,.0f}" for name in ("peak", "own", "written")]
        where = [row["stage"], f"{row['cells']:,}", f"{row['windows']:,}" if row["windows"] else ""]
        numbers = [f"{row['seconds']:,.1f}", f"{row['cpu']:,.1f}", *sizes]
        print("| " + " | ".join([*where, *numbers, share, estimate]) + " |")
    print("\n| all stages: cells | windows | seconds | CPU s | |\n" + "|---" * 5 + "|")
    sums = totals(rows)
    for row in sums:
        sizes = f"{row['cells']:,} | {row['windows']:,} | {row['seconds']:,.1f} | {row['cpu']:,.1f}"
        print(f"| {sizes} | {'estimate' if row['estimate'] else 'measured'} |")
    most = {size: max(row[size] for row in rows) for size in ("cells", "windows")}
    print("\n| stage | CPU s grow with cells ^ | with windows ^ |\n|---|---|---|")
    measured = {stage: [whole(row) for row in rows if row["stage"] == stage] for stage in STAGES}
    for stage, mine in (measured | {"all stages": sums}).items():
        slopes = [
            exponent([row for row in mine if row[other] in (0, most[other])], size)
            for size, other in (("cells", "windows"), ("windows", "cells"))
            if size == "cells" or (stage not in PER_ATLAS and most["windows"])
        ]
        if any(map(math.isfinite, slopes)):
            print(f"| {stage} | " + " | ".join(f"{slope:.2f}" for slope in slopes) + " |")
    for row in rows:
        if row["stage"] == "infer":
            pairs = row["cells"] * row["windows"] * row["part"] / row["parts"]
            print(f"\ninfer, {row['cells']:,} cells, {row['windows']:,} windows, all included:", end=" ")
            print(f"{pairs / row['seconds']:,.0f} pairs per second")
        for name, value in row.get("rates", {}).items():
            print(f"{name}: {value:,.4g}")


def run_stage(stage: str, run: Run, first: int) -> dict:
    """Measure a stage; shards are added up, and of their memory the largest counts."""
    parts = run.shards * run.shape.samples if stage == "infer" else 1
    part = min(first, parts) if stage == "infer" else 1
    found = [measure(stage, run, number if stage == "infer" else None) for number in range(part)]
    row = {name: sum(one[name] for one in found) for name in ("seconds", "cpu", "written")}
    row |= {name: max(one[name] for one in found) for name in ("peak", "own")}
    extra = {"rates": json.loads((run.grid / "rates.json").read_text())} if stage == "rates" else {}
    where = {"stage": stage, "cells": run.shape.cells, "windows": 0 if stage in PER_ATLAS else run.windows}
    return where | row | {"part": part, "parts": parts} | extra


def main() -> None:
    """Make atlases, measure, print."""
    if sys.argv[1:2] == ["--child"]:
        stored = json.loads(sys.argv[3])
        shape = Shape(**stored.pop("shape"))
        stored["atlas"] = Path(stored["atlas"])
        sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))
        child(sys.argv[2], Run(**stored, shape=shape), json.loads(sys.argv[4]))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cells", type=int, nargs="+", default=[1_000, 3_000])
    parser.add_argument("--windows", type=int, nargs="+", default=[2_000, 5_000])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--shards", type=int, default=2, help="of each sample")
    parser.add_argument("--first", type=int, help="infer only so many shards, of the first sample")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--show", action="store_true", help="only print what was measured")
    add_shape(parser, skip=("cells", "windows"))
    args = parser.parse_args()
    kept = args.folder / "scale.json"
    rows = {tuple(key): row for key, row in json.loads(kept.read_text())} if kept.exists() else {}
    sizes = [(n, max(args.windows)) for n in sorted(args.cells)]
    sizes += [(max(args.cells), n) for n in sorted(args.windows) if n != max(args.windows)]
    shape = {field.name: getattr(args, field.name) for field in fields(Shape)}
    for n_cells, n_windows in () if args.show else sizes:
        made = Shape(**shape | {"cells": n_cells, "windows": max(args.windows)})
        run = Run(args.folder / f"cells.{n_cells}", made, n_windows, args.shards, args.threads)
        begin = time.perf_counter()
        options = [f"--{name}={value}" for name, value in asdict(made).items()]
        subprocess.run(
            [sys.executable, Path(__file__).with_name("atlas.py"), run.atlas, *options], check=True
        )
        print(
            f"{n_cells} cells, {n_windows} windows: made in {time.perf_counter() - begin:.1f} s", flush=True
        )
        run.grid.mkdir(exist_ok=True)
        first = args.first or args.shards * args.samples
        for stage in STAGES:
            if stage not in args.stages or (stage in PER_ATLAS and n_windows != max(args.windows)):
                continue
            if stage in AFTER_INFER and not all(
                path.exists() for sample in made.names for path in run.all_shards(sample)
            ):
                continue
            row = run_stage(stage, run, first)
            rows[stage, n_cells, row["windows"]] = row
            print(f"{stage}: {row['seconds']:.1f} s, {row['peak'] / 2**20:.0f} MiB", flush=True)
            kept.write_text(json.dumps([[list(key), row] for key, row in rows.items()], indent=1))
    order = list(STAGES)
    show(sorted(rows.values(), key=lambda row: (order.index(row["stage"]), row["cells"], row["windows"])))


if __name__ == "__main__":
    main()
