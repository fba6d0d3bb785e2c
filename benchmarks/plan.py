"""Time that Snakemake needs to plan a run with a large number of samples: `snakemake -n`.

    python benchmarks/plan.py [--samples 1000 --scatter 2 --rounds 3 --types 30 | --bare | --panel full]

The script copies the shipped configuration to a temporary folder and adds a sheet with `--samples` samples. Their files
exist but are empty, because planning reads only names and times. The script prints seconds, processor seconds and
number of jobs. It prints the same for one sample, which shows the cost of reading the rules. Each case is planned
twice: from the start, where no cell type is known yet; and `snakemake peaks` when the tables of types exist. These
tables are simulated: every sample has cells of every type.

`--bare` plans a minimal workflow instead, with the same jobs, inputs and outputs per sample. It has no functions,
parameters, resources, logs, scripts or checkpoints. It shows the time that Snakemake itself needs.

`--panel full` plans the training on ENCODE (config/examples/hg38) with this panel, before anything was downloaded.
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
BARE = """
S = [f"s{number}" for number in range(int(config["samples"]))]
SHARDS = range(int(config["scatter"]))
rule all:
    input: expand("r/binding/{s}.zarr", s=S), expand("r/activity/{s}.h5ad", s=S)
rule shared:
    output: expand("r/shared{i}", i=range(9))
    shell: "touch {output}"
rule count:
    input: "data/{s}.tsv.gz", "r/shared0"
    output: multiext("r/{s}/", "position", "cell", "barcodes")
    shell: "touch {output}"
rule peaks:
    input: "data/{s}.tsv.gz", "r/shared0"
    output: "r/{s}/peaks"
    shell: "touch {output}"
rule embed:
    input: expand("r/{s}/{kind}", s=S, kind=["position", "cell", "barcodes", "peaks"])
    output: "r/embedding"
    shell: "touch {output}"
rule cells:
    input: "r/embedding"
    output: "r/{s}/cells"
    shell: "touch {output}"
rule reference:
    input: expand("r/{s}/{kind}", s=S, kind=["position", "cell", "cells"])
    output: "r/reference"
    shell: "touch {output}"
rule infer:
    input: expand("r/shared{i}", i=range(8)), "r/reference", multiext("r/{s}/", "position", "cell", "cells")
    output: "r/shards/{s}/{k}.npz"
    shell: "touch {output}"
rule merge:
    input: expand("r/shards/{{s}}/{k}.npz", k=SHARDS), "r/{s}/cells"
    output: "r/binding/{s}.zarr"
    shell: "touch {output}"
rule activity:
    input: expand("r/shards/{{s}}/{k}.npz", k=SHARDS), "r/{s}/cells"
    output: "r/activity/{s}.h5ad"
    shell: "touch {output}"
"""


def know_types(folder: Path, samples: list[str], types: int, genome: str) -> None:
    """Write the tables of types and empty files of everything before them; each file is newer than its inputs."""
    made = ("position.npy", "cell.npy", "barcodes.tsv", "peaks.narrowPeak")
    names = [f"results/reference/{genome}/{name}" for name in ("chrom.sizes", "sequence.npy", "exclude.bed")]
    names += [f"results/cells/{sample}/{name}" for sample in samples for name in made]
    names += ["results/embedding/cells.h5ad"]
    names += [f"results/cells/{sample}/{name}.h5ad" for sample in samples for name in ("cells", "lenders")]
    rows, bulks = [], []
    for number in range(types):
        rows.append(f"t{number}\tt{number}\t900\t900000\t{','.join(samples)}\town\t\t")
        bulks.append(f"t{number}\tt{number}\t\t{','.join(samples)}\t900\t900000\tyes")
        bulks += [f"t{number}/replicates/{s}\tt{number}\t{s}\t{s}\t90\t90000\tyes" for s in samples]
    header = "cell_type\tslug\tn_cells\tn_fragments\tsamples\tstatus\tmerged_into\treason"
    tables = {"cell_types.tsv": [header, *rows]}
    header = "pseudobulk\tcell_type\treplicate\tsamples\tn_cells\tn_fragments\tlarge"
    tables["pseudobulks.tsv"] = [header, *bulks]
    texts = dict.fromkeys(names, "")
    texts |= {f"results/cells/{name}": "\n".join(lines) + "\n" for name, lines in tables.items()}
    begin = time.time() + 1
    for number, (name, text) in enumerate(texts.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (begin + number / 1e4,) * 2)


def plan(folder: Path, samples: int, scatter: int, types: int) -> tuple[float, float, int]:
    """Seconds, processor seconds and jobs of one dry-run in a new folder, with ``types`` known cell types."""
    shutil.copytree(ROOT / "config", folder / "config")
    (folder / "data").mkdir()
    lines = ["sample\tpath\tformat"]
    for number in range(samples):
        path = folder / "data" / f"s{number}.tsv.gz"
        path.touch()
        lines.append(f"s{number}\tdata/{path.name}\tfragments")
    (folder / "config/samples.tsv").write_text("\n".join(lines) + "\n")
    config = yaml.safe_load((folder / "config/demo/config.yaml").read_text())
    config["sheets"]["samples"] = "config/samples.tsv"
    config["evaluate"]["truth"] = None  # known for one sample only
    (folder / "config/config.yaml").write_text(yaml.safe_dump(config))
    if types:
        names = [f"s{number}" for number in range(samples)]
        know_types(folder, names, types, config["genome"]["name"])
    options = ["--set-scatter", f"cells={scatter}", "--configfile", str(folder / "config/config.yaml")]
    # other targets would first make the genome of the example, and then the tables again
    return dry_run(folder, options + (["--", "peaks"] if types else []))


def plan_panel(folder: Path, samples: int, scatter: int, panel: str) -> tuple[float, float, int]:
    """Seconds, processor seconds and jobs of one dry-run of the human training set with this panel."""
    shutil.copytree(ROOT / "config", folder / "config")
    rows = [f"s{number}\thttps://example.org/s{number}.tsv.gz\tfragments" for number in range(samples)]
    sheet = folder / "config/examples/hg38/samples.tsv"
    sheet.write_text("\n".join(["sample\tpath\tformat", *rows]) + "\n")
    options = ["--set-scatter", f"cells={scatter}", "--config", f"panel={panel}"]
    return dry_run(folder, [*options, "--configfile", str(folder / "config/examples/hg38/config.yaml")])


def plan_bare(folder: Path, samples: int, scatter: int) -> tuple[float, float, int]:
    """Seconds, processor seconds and jobs of one dry-run of the minimal workflow."""
    (folder / "data").mkdir(parents=True)
    for number in range(samples):
        (folder / "data" / f"s{number}.tsv.gz").touch()
    (folder / "Snakefile").write_text(BARE)
    options = ["--snakefile", str(folder / "Snakefile"), "--workflow-profile", "none"]
    return dry_run(folder, [*options, "--config", f"samples={samples}", f"scatter={scatter}"])


def dry_run(folder: Path, options: list[str]) -> tuple[float, float, int]:
    """Seconds, processor seconds and jobs of `snakemake -n` with these options."""
    command = [sys.executable, "-m", "snakemake", "-n", "--cores", "1", "--directory", str(folder)]
    command += ["--rerun-triggers", "mtime", *options]
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
    parser.add_argument("--scatter", type=int, default=2, help="shards per sample")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--types", type=int, default=30, help="number of cell types, each in every sample")
    parser.add_argument("--panel", help="plan config/examples/hg38 with this panel instead of the example")
    parser.add_argument("--bare", action="store_true", help="plan a minimal workflow instead of scbind's")
    args = parser.parse_args()
    print("| samples | types | jobs | seconds | CPU s |\n|---|---|---|---|---|")
    sizes = [(1, 0), (args.samples, 0)]
    sizes += [] if args.bare or args.panel else [(1, args.types), (args.samples, args.types)]
    for samples, types in sizes:
        found = []
        for _ in range(args.rounds):
            with tempfile.TemporaryDirectory() as folder:
                run = Path(folder) / "run"
                if args.panel:
                    found.append(plan_panel(run, samples, args.scatter, args.panel))
                elif args.bare:
                    found.append(plan_bare(run, samples, args.scatter))
                else:
                    found.append(plan(run, samples, args.scatter, types))
        seconds, used, jobs = (statistics.median(values) for values in zip(*found, strict=True))
        print(f"| {samples:,} | {types or 'not known'} | {jobs:,.0f} | {seconds:.1f} | {used:.1f} |")


if __name__ == "__main__":
    main()
