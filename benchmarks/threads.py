"""Threads of a training on a CPU: how long they may spin before they sleep, on an idle and on a busy machine.

    python benchmarks/threads.py [--batch-size 64 256 --threads 2 --tfs 40]

A layer ends when its last thread has finished; the others wait. `sleep` lets them sleep at once, `spin` is what the
workflow sets (scbind.plan.waiting), `active` is the default of OpenMP. The table has training steps per second,
divided by those of one thread in the same round. `busy`: as many other programs as threads compute without a pause.
"""

import os
import subprocess
import sys
import time

import numpy as np
from common import open_data, parse, parser, ratio, show
from scbind.plan.waiting import WAITING
from training import prepare

ONE = "1 thread"
WAITS = {  # how threads wait -> variables
    "sleep": {"OMP_WAIT_POLICY": "PASSIVE"},
    "spin": WAITING,
    "active": {},
}
BUSY = "while True: pass"


def answer(args) -> None:
    """Train for the number of seconds of each line of stdin; print the steps per second."""
    with open_data(args) as data:
        _, _, step = prepare("scbind", data, args.batch_size[0], args.seed)
        step()
        print("ready", flush=True)
        for line in sys.stdin:
            begin, steps = time.perf_counter(), 0
            while time.perf_counter() - begin < float(line):
                step()
                steps += 1
            print(steps / (time.perf_counter() - begin), flush=True)


def start(args, size: int, threads: int, variables: dict[str, str]) -> subprocess.Popen:
    """Start this script as a process that answers, and wait until it is ready."""
    unset = {name: value for name, value in os.environ.items() if name not in WAITING}
    command = [sys.executable, __file__, "--answer", "--batch-size", str(size), "--threads", str(threads)]
    command += [f"--{name}={getattr(args, name)}" for name in ("tfs", "seed", "megabases")]
    if args.dataset:
        command += ["--dataset", args.dataset, "--reference", args.reference]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env=unset | variables | {"OMP_NUM_THREADS": str(threads)}, **pipes)
    while process.stdout.readline() != "ready\n":
        if process.poll() is not None:
            raise SystemExit("a process of the benchmark ended early")
    return process


def ask(process: subprocess.Popen, seconds: float) -> float:
    """Steps per second of a process that answers."""
    process.stdin.write(f"{seconds}\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def main() -> None:
    """Measure and print."""
    arguments = parser(__doc__)
    arguments.add_argument("--batch-size", type=int, nargs="+", default=[64, 256])
    arguments.add_argument("--answer", action="store_true", help="for the processes that this script starts")
    args = parse(arguments)
    if args.answer:
        answer(args)
        return
    rows = []
    for size in args.batch_size:
        processes = {ONE: start(args, size, 1, {})}
        processes |= {name: start(args, size, args.threads, wait) for name, wait in WAITS.items()}
        for load in ("idle", "busy"):
            others = [
                subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(args.threads * (load == "busy"))
            ]
            found = {name: [] for name in processes}
            for _ in range(args.rounds):
                for name, process in processes.items():
                    found[name].append(ask(process, args.seconds))
            for other in others:
                other.kill()
            one = np.array(found.pop(ONE))
            row = {"batch": size, "machine": load, "steps/s, 1 thread": float(np.median(one))}
            rows.append(
                row | {f"{args.threads}, {name}": ratio(np.array(each), one) for name, each in found.items()}
            )
        for process in processes.values():
            process.kill()
    show(rows)


if __name__ == "__main__":
    main()
