"""Damage input files at random, and see whether each damage ends in one readable line or in a plausible result.

    python benchmarks/fuzz.py [--alterations 2500 --seed 1 --kinds fragments 'genes GTF' --only 'genes GTF:17']

The script makes a small good file of every kind of input and alters it: bits, bytes, fields, lines, line ends,
encoding, separators, packing, or another file in its place. Each alteration is read in a process of its own, so a
crash ends only that process. An alteration must end in an `InputError` of one line, or in a result that is plausible
(coordinates inside the genome, no NaN, names as in the file). Everything else is a finding: another exception, a
crash, more than `--seconds`, more than `--memory`, or a file that is left behind after an error. A finding is printed
with its kind and number; `--only KIND:NUMBER` repeats it with the same seed and `--keep FOLDER` keeps its files. The
exit status is 1 if there is a finding.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import fuzz_alterations as alter
from fuzz_kinds import Implausible, Kind, make_kinds
from scbind.core.errors import InputError

PACKINGS = ("plain", "plain", "gzip", "members", "bgzf", "zstd")
ADDRESSES = (
    8 << 30
)  # bytes of addresses that a process may take, so that a wrong size does not take the machine
LONGEST = 3500  # characters of an error
POLL = 0.002  # seconds


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--alterations", type=int, default=2500, help="number over all kinds, which take turns")
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--kinds", nargs="+", help="only these kinds")
    made.add_argument("--only", help="KIND:NUMBER, one alteration")
    made.add_argument("--keep", type=Path, help="folder in which the files of --only stay")
    made.add_argument("--processes", type=int, default=2)
    made.add_argument("--seconds", type=float, default=20, help="limit of one alteration")
    made.add_argument("--memory", type=float, default=1, help="limit of one alteration, GB")
    args = made.parse_args()
    with tempfile.TemporaryDirectory(prefix="fuzz.") as folder:
        sys.exit(1 if run(args, Path(folder)) else 0)


def run(args: argparse.Namespace, folder: Path) -> int:
    """Run all alterations and print the findings and a table; returns the number of findings."""
    (folder / "seeds").mkdir()
    kinds = {kind.name: kind for kind in make_kinds(folder / "seeds", args.seed)}
    if args.only:
        name, _, number = args.only.rpartition(":")
        tasks = [(kinds[name], int(number))]
    else:
        chosen = [kinds[name] for name in args.kinds or kinds]
        tasks = [(chosen[turn % len(chosen)], turn // len(chosen)) for turn in range(args.alterations)]
    others = {"BAM": kinds["BAM with barcodes"].files["x.bam"], "bigWig": kinds["mappability"].files["x"]}
    others["table"] = kinds["labels"].files["x"]
    counts = {kind.name: Counter() for kind, _ in tasks}
    findings, running = 0, {}
    waiting = iter(tasks)
    left = len(tasks)
    while left:
        while len(running) < args.processes and (task := next(waiting, None)) is not None:
            place = folder / f"{tasks.index(task) if args.only else task[0].name}.{task[1]}"
            running[start(*task, args.seed, place, others)] = (*task, place, time.monotonic())
        time.sleep(POLL)
        for process, (kind, number, place, begin) in list(running.items()):
            pid, status = os.waitpid(process, os.WNOHANG)
            late = not pid and time.monotonic() - begin > args.seconds
            if late:
                os.kill(process, signal.SIGABRT)  # faulthandler writes where it was
                time.sleep(0.5)
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
            if not pid and not late:
                continue
            del running[process]
            left -= 1
            report = read_report(place)
            if late:
                report |= {"end": "finding", "detail": f"more than {args.seconds:g} s\n{report['log']}"}
            elif status:
                code = os.waitstatus_to_exitcode(status)
                report |= {"end": "finding", "detail": f"the process ended with {code}\n{report['log']}"}
            elif (used := report["memory"]) > args.memory:
                report |= {"end": "finding", "detail": f"took {used:.1f} GB"}
            counts[kind.name][report["end"]] += 1
            if report["end"] == "finding":
                findings += 1
                print(
                    f"FINDING {kind.name}:{number} (seed {args.seed}) {report['said']}\n{report['detail']}\n",
                    flush=True,
                )
            elif args.only:
                print(report["said"], report["end"], report.get("detail", ""), sep="\n")
            if args.keep:
                shutil.copytree(place, args.keep, dirs_exist_ok=True, symlinks=True)
            shutil.rmtree(place, ignore_errors=True)
    show(counts)
    return findings


def show(counts: dict[str, Counter]) -> None:
    """Print the table of kinds."""
    columns = ("result", "refusal", "finding")
    print("| kind | alterations | " + " | ".join(f"{column}s" for column in columns) + " |\n|" + "---|" * 5)
    total = sum(counts.values(), Counter())
    for name, count in [*counts.items(), ("all", total)]:
        print(f"| {name} | {count.total()} | " + " | ".join(str(count[column]) for column in columns) + " |")


def read_report(place: Path) -> dict:
    """What a process wrote about its alteration, and the end of its log."""
    log = (place / "log").read_text(errors="replace")[-1500:] if (place / "log").exists() else ""
    try:
        return {"log": log} | json.loads((place / "report.json").read_text())
    except (OSError, ValueError):
        said = (place / "said").read_text() if (place / "said").exists() else "?"
        return {"log": log, "said": said, "end": "finding", "detail": log}


def start(kind: Kind, number: int, seed: int, place: Path, others: dict[str, bytes]) -> int:
    """Start the process of one alteration; returns its id. It writes ``report.json`` in ``place``."""
    process = os.fork()
    if process:
        return process
    try:
        place.mkdir()
        log = os.open(place / "log", os.O_WRONLY | os.O_CREAT, 0o666)
        for stream in (1, 2):
            os.dup2(log, stream)
        faulthandler.enable(sys.stderr)
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        Path("/proc/self/clear_refs").write_text(
            "5"
        )  # the peak of memory begins anew: it outlives exec and fork
        before = peak_memory()
        report = one(kind, random.Random(f"{seed} {kind.name} {number}"), place, others)
        report["memory"] = peak_memory() - before
        (place / "report.json").write_text(json.dumps(report))
        sys.stderr.flush()
        os._exit(0)
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(99)


def peak_memory() -> float:
    """Largest memory that this process has held, in GB (VmHWM of Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1e6


def one(kind: Kind, rng: random.Random, place: Path, others: dict[str, bytes]) -> dict:
    """Alter one file of a kind, read it, and judge the end: ``said`` (the alteration), ``end`` and ``detail``."""
    inputs, out = place / "in", place / "out"
    out.mkdir()
    for name, content in kind.files.items():
        (inputs / name).parent.mkdir(parents=True, exist_ok=True)
        (inputs / name).write_bytes(content)
    target = rng.choice(kind.altered)
    said = f"{target}: {damage(kind, inputs / target, rng, place, others)}"
    (place / "said").write_text(said)
    try:
        kind.read(inputs, out)
    except InputError as error:
        lines, left = str(error).splitlines(), sorted(str(path.relative_to(out)) for path in out.rglob("*"))
        if len(lines) != 1 or not str(error).isprintable():
            return {"said": said, "end": "finding", "detail": f"not one line: {str(error)!r}"[:1500]}
        if len(str(error)) > LONGEST:
            return {
                "said": said,
                "end": "finding",
                "detail": f"a line of {len(str(error))}: {str(error)[:500]}",
            }
        if left:
            return {"said": said, "end": "finding", "detail": f"left behind: {left} after {error}"}
        return {"said": said, "end": "refusal", "detail": str(error)}
    except Implausible as error:
        return {"said": said, "end": "finding", "detail": f"implausible: {error}"}
    except BaseException:  # noqa: BLE001
        return {"said": said, "end": "finding", "detail": traceback.format_exc()[-1800:]}
    hidden = [path.name for path in out.rglob(".*")]
    if hidden:
        return {"said": said, "end": "finding", "detail": f"left behind: {hidden}"}
    return {"said": said, "end": "result"}


def damage(kind: Kind, path: Path, rng: random.Random, scratch: Path, others: dict[str, bytes]) -> str:
    """Alter a file in place; returns what was done."""
    content, chance = path.read_bytes(), rng.random()
    if chance < 0.08:
        return alter.replace(path, rng, others)
    said = []
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if kind.form == "text":
            way = alter.alter_bytes if rng.random() < 0.25 else alter.alter_text
            try:
                what, content = way(content, rng)
            except UnicodeDecodeError:
                what, content = alter.alter_bytes(content, rng)
        elif kind.form == "bam" and not said and rng.random() < 0.6:
            what, content = alter.alter_bgzf(content, rng, scratch)
        elif kind.form == "bigwig" and not said and rng.random() < 0.6:
            what, content = alter.alter_sections(content, rng)
        else:
            what, content = alter.alter_bytes(content, rng)
        said.append(what)
    if kind.form == "text" and kind.packable:
        packing = rng.choice(PACKINGS)
        if packing != "plain" and rng.random() < 0.3:
            what, content = alter.damage_packing(content, packing, rng, scratch)
        else:
            what, content = packing, alter.pack(content, packing, scratch)
        said.append(what)
    path.write_bytes(content)
    return " + ".join(said)


if __name__ == "__main__":
    main()
