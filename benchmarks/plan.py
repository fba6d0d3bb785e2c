"""Time that Snakemake takes to plan a run with very many samples: `snakemake -n`.

    python benchmarks/plan.py [--samples 1000 --scatter 2 --rounds 3]

The shipped configuration is copied to a temporary folder, with a sheet of as many samples, whose files are there but
hold nothing: a plan looks only at names and times. Printed are seconds and processor seconds, jobs, and the same with
one sample, which is what reading the rules costs.
"""

import argparse
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]


def plan(folder: Path, samples: int, scatter: int) -> tuple[float, float, int]:
    """Seconds, processor seconds and jobs of one dry-run in a new folder."""
    shutil.copytree(ROOT / "config", folder / "config")
    (folder / "data").mkdir()
    lines = ["sample\tpath\tformat"]
    for number in range(samples):
        path = folder / "data" / f"s{number}.tsv.gz"
        path.touch()
        lines.append(f"s{number}\tdata/{path.name}\tfragments")
    (folder / "config/samples.tsv").write_text("\n".join(lines) + "\n")
    config = yaml.safe_load((folder / "config/config.yaml").read_text())
    config["evaluate"]["truth"] = None  # is known of one sample only
    (folder / "config/config.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "snakemake", "-n", "--cores", "1", "--directory", str(folder)]
    command += ["--set-scatter", f"cells={scatter}", "--configfile", str(folder / "config/config.yaml")]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    reply = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    seconds, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    if reply.returncode:
        sys.exit(reply.stdout[-3000:] + reply.stderr[-3000:])
    jobs = re.search(r"^total +(\d+)", reply.stdout + reply.stderr, re.M)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, used, int(jobs[1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=1_000)
    parser.add_argument("--scatter", type=int, default=2, help="shards of each sample")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    print("| samples | jobs | seconds | CPU s |\n|---|---|---|---|")
    for samples in (1, args.samples):
        found = []
        for _ in range(args.rounds):
            with tempfile.TemporaryDirectory() as folder:
                found.append(plan(Path(folder) / "run", samples, args.scatter))
        seconds, used, jobs = (statistics.median(values) for values in zip(*found, strict=True))
        print(f"| {samples:,} | {jobs:,.0f} | {seconds:.1f} | {used:.1f} |")


if __name__ == "__main__":
    main()
