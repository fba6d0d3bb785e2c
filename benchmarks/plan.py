"""Time that Snakemake needs to plan a run with a large number of samples: `snakemake -n`.

    python benchmarks/plan.py [--samples 1000 --scatter 2 --rounds 3 --types 30 | --bare | --panel full]

The script copies the shipped configuration to a temporary folder and adds a sheet with `--samples` samples. Their files
exist but are empty, because planning reads only names and times. The script prints seconds, processor seconds and
number of jobs. It prints the same for one sample, which shows the cost of reading the rules. Each case is planned
twice: from the start, where no cell type is known yet; and `snakemake peaks` when the tables of types exist. These
tables are simulated: every sample has cells of every type.

`--bare` plans a minimal workflow instead, with the same jobs, inputs and outputs. It is written from the plan of scbind
for one sample, and has no functions, parameters, resources, logs, scripts or checkpoints. It shows the time that
Snakemake itself needs.

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
NAME = re.compile(r"\bs0\b")  # the first sample


def know_types(folder: Path, samples: list[str], types: int, genome: str) -> None:
    """Write the tables of types and empty files of everything before them; each file is newer than its inputs."""
    made = ("position.npy", "cell.npy", "barcodes.tsv", "peaks.narrowPeak")
    names = ["resources/demo/genes.bed"]
    names += [f"results/reference/{genome}/{name}" for name in ("chrom.sizes", "exclude.bed")]
    names += [f"results/cells/{sample}/{name}" for sample in samples for name in made]
    names += ["results/embedding/cells.h5ad"]
    names += [
        f"results/cells/{sample}/{name}.h5ad" for sample in samples for name in ("embedding", "lenders")
    ]
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
    options = lay_config(folder, samples, scatter)
    if types:
        names = [f"s{number}" for number in range(samples)]
        know_types(
            folder,
            names,
            types,
            yaml.safe_load((folder / "config/config.yaml").read_text())["genome"]["name"],
        )
    # other targets would first make the genome of the example, and then the tables again
    return dry_run(folder, options + (["--", "peaks"] if types else []))


def lay_config(folder: Path, samples: int, scatter: int) -> list[str]:
    """Write the configuration of the demo with so many samples; return the options of Snakemake for it."""
    (folder / "data").mkdir(exist_ok=True)
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
    return ["--set-scatter", f"cells={scatter}", "--configfile", str(folder / "config/config.yaml")]


def plan_panel(folder: Path, samples: int, scatter: int, panel: str) -> tuple[float, float, int]:
    """Seconds, processor seconds and jobs of one dry-run of the human training set with this panel."""
    shutil.copytree(ROOT / "config", folder / "config")
    rows = [f"s{number}\thttps://example.org/s{number}.tsv.gz\tfragments" for number in range(samples)]
    sheet = folder / "config/examples/hg38/samples.tsv"
    sheet.write_text("\n".join(["sample\tpath\tformat", *rows]) + "\n")
    options = ["--set-scatter", f"cells={scatter}", "--config", f"panel={panel}"]
    return dry_run(folder, [*options, "--configfile", str(folder / "config/examples/hg38/config.yaml")])


def bare(text: str, samples: int) -> str:
    """Return a Snakefile with the jobs of a plan for the sample s0, repeated for more samples.

    ``text`` is what Snakemake prints. A job whose outputs name the sample becomes a rule with a wildcard. Other jobs
    get the inputs of all samples. Inputs that a checkpoint determines (``<TBD>``) are left out.
    """
    lines = [f"S = [f's{{n}}' for n in range({samples})]"]
    jobs = re.findall(r"^(?:local)?(?:rule|checkpoint) (\w+):\n((?:    .*\n)*)", text, re.M)
    for number, (rule, body) in enumerate(sorted(jobs, key=lambda job: job[0] != "all")):
        files = {
            key: [name.split(" (")[0] for name in value.split(", ")]
            for key, value in re.findall(r"    (input|output): (.*)", body)
        }
        each = any(map(NAME.search, files.get("output", [])))
        lines.append(f"rule {rule}_{number}:")
        for key, names in files.items():
            names = [name for name in names if not name.startswith("<")]
            parts = [repr(NAME.sub("{s}", name)) for name in names]
            if not each:
                parts = [f"expand({part}, s=S)" if "{s}" in part else part for part in parts]
            lines.append(f"    {key}: {', '.join(parts)}")
        if "output" in files:
            lines.append("    shell: 'touch {output}'")
    return "\n".join(lines) + "\n"


def plan_bare(folder: Path, samples: int, scatter: int) -> tuple[float, float, int]:
    """Seconds, processor seconds and jobs of one dry-run of the minimal workflow."""
    shutil.copytree(ROOT / "config", folder / "config")
    text = run_dry(folder, lay_config(folder, 1, scatter))[0]
    lay_config(folder, samples, scatter)
    (folder / "Snakefile").write_text(bare(text, samples))
    return dry_run(folder, ["--snakefile", str(folder / "Snakefile"), "--workflow-profile", "none"])


def dry_run(folder: Path, options: list[str]) -> tuple[float, float, int]:
    """Seconds, processor seconds and jobs of `snakemake -n` with these options."""
    return run_dry(folder, options)[1]


def run_dry(folder: Path, options: list[str]) -> tuple[str, tuple[float, float, int]]:
    """Return what `snakemake -n` prints with these options, and its seconds, processor seconds and jobs."""
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
    text = reply.stdout + reply.stderr
    jobs = re.search(r"^total +(\d+)", text, re.M)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return text, (seconds, used, int(jobs[1]))


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
