"""Time and memory of the single-cell half, stage by stage, on simulated atlases of growing size.

    python benchmarks/scale.py FOLDER [--cells 1000 3000 --windows 2000 5000 --threads 2 --shards 2 --first 1 ...]

For each number of cells, the script makes an atlas (`atlas.py`) below FOLDER. It then runs the functions that the rules
of the workflow call (`stages.py`), each in its own process. The sizes are all `--cells` with the largest `--windows`,
and all `--windows` with the largest `--cells`. For each stage it prints:

* seconds and processor seconds within the function, without imports;
* the peak of the resident memory of its process;
* the part of this peak that belongs to the process alone. The first number includes mapped files, which the system can
  drop;
* the size of its output.

The script also prints the sums over all stages except `rates`, for sizes at which all stages were measured. Finally, it
prints the exponents: the slopes of log processor seconds against log cells and log windows, for each stage and for the
sums. A slope is not informative if the stage takes less than about a second.

`--stages` runs only some stages; their inputs must exist. `--first K` infers only the first K of `--shards` N shards of
a sample, which is enough to measure cost and memory. The script then prints N / K times the measured time, marked as an
estimate, and leaves out merging and activity. Everything else is measured. FOLDER/scale.json keeps the results;
`--show` prints them.

`rates` compares the network with the capacity of the machine. It is the number of multiply-adds of the per-cell
network, times pairs of cell and window per second through `Predictor.probabilities`, divided by the multiply-adds per
second of `torch.matmul`. The two take turns in the same process. `rates` also compares with the published network
(`scfan`), which must do the whole work for each pair.
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
    """Run one stage in this process; the last line of the output is the measurement."""
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
        used = sum(after[:4]) - sum(before[:4])  # of this process and of the programs it ran
        print(json.dumps({"seconds": seconds, "cpu": used, "written": written}))


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def measure(stage: str, run: Run, number: int | None = None) -> dict:
    """Run a stage in a new process; returns its own measurement and its peak memory in bytes."""
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
    """The row of a stage, with times extrapolated from the shards that ran to all shards."""
    return row | {name: row[name] * row["parts"] / row["part"] for name in ("seconds", "cpu")}


def totals(rows: list[dict]) -> list[dict]:
    """Sums over all stages except `rates`, per ``cells`` and ``windows``: ``seconds``, ``cpu`` and ``estimate``.

    ``estimate`` is true if a part is extrapolated. A stage whose cost does not depend on windows counts at every number
    of windows. A size without all stages is left out.
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
    """Print the tables in Markdown."""
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
    """Measure a stage: the times of its shards are added up; its memory is that of the largest shard."""
    parts = run.shards * run.shape.samples if stage == "infer" else 1
    part = min(first, parts) if stage == "infer" else 1
    found = [measure(stage, run, number if stage == "infer" else None) for number in range(part)]
    row = {name: sum(one[name] for one in found) for name in ("seconds", "cpu", "written")}
    row |= {name: max(one[name] for one in found) for name in ("peak", "own")}
    extra = {"rates": json.loads((run.grid / "rates.json").read_text())} if stage == "rates" else {}
    where = {"stage": stage, "cells": run.shape.cells, "windows": 0 if stage in PER_ATLAS else run.windows}
    return where | row | {"part": part, "parts": parts} | extra


def main() -> None:
    """Make atlases, measure and print."""
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
    parser.add_argument("--shards", type=int, default=2, help="shards per sample")
    parser.add_argument("--first", type=int, help="infer only this number of shards, of the first sample")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--show", action="store_true", help="only print earlier results")
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
