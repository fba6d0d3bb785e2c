"""The whole workflow on made-up files of the size of the human genome, from a publisher's server to the report.

    python benchmarks/rehearsal.py FOLDER [--scale 0.01 --until bulk_track --cores 2 --make-only --table-only ...]
    python benchmarks/rehearsal.py FOLDER --apply [...]

In FOLDER/published, the script writes what a publisher and a sequencing core would hand over (`rehearsal_data.py`): a
genome with the 455 contigs of hg38, three lines with 20 million pairs of reads each as BAM, 60 TFs in each, genes,
an exclusion list, and 10,000 cells with 10,000 fragments each. It serves these files from a local server and runs the
workflow on them in FOLDER/run; the configuration is in FOLDER/run/config. With --scale, contigs are shorter and there
are fewer reads, peaks and cells. With --apply, the run is that of `config/config.yaml`: the starter model is applied to
the cells, without lines, TFs and labels.

Everything can be done in parts: files that are there are not made again, and `--until RULE` runs the workflow up to a
rule. At the end, the script prints a table of the rules that have run: jobs, seconds, CPU seconds, peak memory (of the
largest job, with mapped files and without) and the size of the files that the rule has written. A run also prints the
largest size that its folder had, with the downloads.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "workflow"))

import yaml  # noqa: E402
from rehearsal_data import LINES, Publisher, Shape, md5  # noqa: E402

SAMPLE = "cells"
BETWEEN = 10  # seconds between two measurements of the size of the run
EXAMPLE = REPOSITORY / "config" / "examples" / "hg38" / "config.yaml"
TEMPLATE = REPOSITORY / "config" / "config.yaml"
SHEETS = ("sources", "tracks", "chip", "samples")
APPLIED = (
    "hg38.fa.gz",
    "hg38.exclude.bed.gz",
    "gencode.gtf.gz",
    "cells.fragments.tsv.gz",
)  # files of --apply
REPLACED = {
    "name": "hg38",
    "fasta": "source:hg38.fa.gz",
    "exclude": "source:hg38.exclude.bed.gz",
    "genes": "source:gencode.gtf.gz",
}  # keys of the genome that differ from the example


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("folder", type=Path, help="files are made here, and the workflow runs here")
    made.add_argument("--scale", type=float, default=1, help="share of the genome, reads, peaks and cells")
    made.add_argument("--pairs", type=float, default=20e6, help="read pairs of each line, before scaling")
    made.add_argument("--tfs", type=int, default=60)
    made.add_argument("--cells", type=float, default=10_000, help="number of cells, before scaling")
    made.add_argument("--fragments", type=int, default=10_000, help="mean number of fragments of a cell")
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--cores", type=int, default=2)
    made.add_argument("--apply", action="store_true", help="apply the starter model; no lines and no labels")
    made.add_argument("--make-only", action="store_true", help="make the files and the configuration")
    made.add_argument("--table-only", action="store_true", help="print the table of what has run")
    made.add_argument(
        "--link", action="store_true", help="link the files into resources, without downloading"
    )
    made.add_argument("--until", nargs="*", default=[], help="run the workflow up to these rules")
    made.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings, as a.b=1")
    made.add_argument("snakemake", nargs="*", help="further arguments of Snakemake, after --")
    args = made.parse_intermixed_args()  # options may stand between the folder and --
    args.folder = args.folder.resolve()
    run = args.folder / "run"
    if not args.table_only:
        publisher = Publisher(shape_of(args), args.folder / "published")
        sums = make_files(publisher, APPLIED if args.apply else publisher.files)
        if not args.make_only:
            with serve(publisher.folder) as address:
                changes = dict(each.split("=", 1) for each in args.set)
                write_config(run, address, publisher, sums, changes, TEMPLATE if args.apply else EXAMPLE)
                if args.link:
                    link_files(publisher.folder, run / "resources", sums)
                code, largest = run_workflow(run, args.cores, args.until, args.snakemake)
            inputs = sum((publisher.folder / name).stat().st_size for name in sums)
            print(f"snakemake ended with {code}")
            print(f"largest size of {run}: {largest / 1e9:.2f} GB, {largest / inputs:.2f} times its inputs")
    if (run / "logs").exists():
        print_table(run, args.folder)


def shape_of(args: argparse.Namespace) -> Shape:
    """The numbers of the arguments, scaled."""
    return Shape(
        scale=args.scale,
        pairs=round(args.pairs * args.scale),
        tfs=args.tfs,
        cells=max(300, round(args.cells * args.scale)),
        fragments=args.fragments,
        seed=args.seed,
    )


def make_files(publisher: Publisher, names: Iterable[str]) -> dict[str, str]:
    """Make the named files that are not there; returns the MD5 of each. Sums are kept beside the files."""
    kept = publisher.folder / "md5.tsv"
    sums = dict(line.split("\t") for line in kept.read_text().splitlines()) if kept.exists() else {}
    for name in names:
        there = (publisher.folder / name).exists()
        path = publisher.make(name)
        if not there or name not in sums:
            sums[name] = md5(path)
            kept.write_text("".join(f"{key}\t{value}\n" for key, value in sums.items()))
            if "bed" not in name:
                print(f"{name}: {path.stat().st_size / 1e6:,.1f} MB", flush=True)
    return {name: sums[name] for name in names}


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *what) -> None:
        """Say nothing."""


class serve:
    """Serve a folder on a free port of this machine; gives the address."""

    def __init__(self, folder: Path):
        self.server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(_Handler, directory=str(folder))
        )

    def __enter__(self) -> str:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *error) -> None:
        self.server.shutdown()


def write_config(
    run: Path,
    address: str,
    publisher: Publisher,
    sums: dict[str, str],
    changes: dict[str, str],
    example: Path,
) -> None:
    """Write a configuration like ``example``, and its sheets. ``changes``: settings by keys with dots, as YAML."""
    folder = run / "config"
    folder.mkdir(parents=True, exist_ok=True)
    config = yaml.safe_load(example.read_text())
    config["genome"] |= REPLACED
    config["sheets"] = {name: f"config/{name}.tsv" for name in config["sheets"]}
    if "splits" in config:
        config["splits"] = {
            part: [rule for rule in rules if rule.partition(":")[0] in ("*", *LINES)]
            for part, rules in config["splits"].items()
        }
    for given in config["models"].values():
        if "bundle" in given:
            given["bundle"] = str(REPOSITORY / given["bundle"])
    for key, value in changes.items():
        *parents, last = key.split(".")
        place = functools.reduce(lambda inner, parent: inner.setdefault(parent, {}), parents, config)
        place[last] = yaml.safe_load(value)
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    for name in config["sheets"]:
        rows = sheet_rows(name, address, publisher, sums)
        (folder / f"{name}.tsv").write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))


def sheet_rows(name: str, address: str, publisher: Publisher, sums: dict[str, str]) -> list[tuple]:
    """The rows of a sheet, the names of the columns first. Only files in ``sums`` are named."""
    if name == "sources":
        sizes = {name: (publisher.folder / name).stat().st_size for name in sums}
        return [
            ("name", "url", "md5", "size"),
            *((name, f"{address}/{name}", md5_sum, sizes[name]) for name, md5_sum in sums.items()),
        ]
    if name == "tracks":
        return [
            ("cell_line", "path", "format"),
            *((line, f"source:{line}.ATAC.bam", "bam") for line in LINES),
        ]
    if name == "chip":
        return [
            ("cell_line", "tf", "path", "motif"),
            *((line, tf, f"source:{line}.{tf}.bed.gz", "yes") for line in LINES for tf in publisher.tfs),
        ]
    labels = "source:cells.labels.tsv" if "cells.labels.tsv" in sums else ""
    return [
        ("sample", "path", "format", "labels"),
        (SAMPLE, "source:cells.fragments.tsv.gz", "fragments", labels),
    ]


def link_files(published: Path, resources: Path, names: Iterable[str]) -> None:
    """Put the files where their downloads would be."""
    resources.mkdir(parents=True, exist_ok=True)
    for name in names:
        if not (resources / name).exists():
            os.link(published / name, resources / name)


def run_workflow(run: Path, cores: int, until: list[str], more: list[str]) -> tuple[int, int]:
    """Run Snakemake in ``run``; returns its exit code and the largest size of the folder meanwhile, in bytes."""
    command = [
        sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile"), "--directory", str(run),
        "--workflow-profile", str(REPOSITORY / "profiles" / "default"), "--configfile", "config/config.yaml",
        "--cores", str(cores), "--rerun-triggers", "mtime", "--quiet", "rules", *more,
    ]  # fmt: skip
    if until:
        command += ["--until", *until]
    largest = 0
    with subprocess.Popen(command, cwd=run) as process:
        while process.poll() is None:
            largest = max(largest, disk(run))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(BETWEEN)
    return process.returncode, max(largest, disk(run))


def print_table(run: Path, folder: Path) -> None:
    """Print a row for each rule that has run, and the disk used."""
    written = written_by_rule(run)
    rows = []
    for logs in sorted((run / "logs").iterdir(), key=lambda each: each.stat().st_mtime):
        jobs = [row for path in sorted(logs.rglob("*.benchmark.tsv")) for row in measured(path)]
        if jobs:
            rows.append(
                (
                    logs.name,
                    len(jobs),
                    sum(job["s"] for job in jobs),
                    max(job["s"] for job in jobs),
                    sum(job["cpu_time"] for job in jobs),
                    max(job["max_rss"] for job in jobs),
                    max(job["max_uss"] for job in jobs),
                    written.get(logs.name, 0) / 1e9,
                )
            )
    print("| rule | jobs | seconds | longest | CPU seconds | peak MiB | of these its own | GB written |")
    print("|---|---|---|---|---|---|---|---|")
    for name, jobs, *numbers in rows:
        print(
            f"| {name} | {jobs} | "
            + " | ".join(f"{n:,.0f}" for n in numbers[:-1])
            + f" | {numbers[-1]:.2f} |"
        )
    total = [sum(row[column] for row in rows) for column in (2, 4)]
    print(
        f"| **all** | | {total[0]:,.0f} | | {total[1]:,.0f} | {max((row[5] for row in rows), default=0):,.0f} | | |"
    )
    for name in ("published", "run/resources", "run/results"):
        if (folder / name).exists():
            print(f"{name}: {disk(folder / name) / 1e9:.2f} GB")


def measured(path: Path) -> list[dict[str, float]]:
    """Numbers of a file of Snakemake's benchmark; a job that was too short to be measured has 0."""
    with open(path) as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    wanted = ("s", "cpu_time", "max_rss", "max_uss")
    return [{key: _number(row.get(key)) for key in wanted} for row in rows]


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


def written_by_rule(run: Path) -> dict[str, int]:
    """Bytes of the files that each rule has written, as Snakemake lists them."""
    listed = subprocess.run(
        [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile"), "--directory", str(run),
         "--configfile", "config/config.yaml", "--summary", "--quiet", "all"],
        cwd=run, check=False, capture_output=True, text=True,
    ).stdout  # fmt: skip
    found: dict[str, int] = {}
    for row in csv.DictReader(listed.splitlines(), delimiter="\t"):
        path = run / (row.get("output_file") or "-")
        if path.exists() and row.get("rule"):
            found[row["rule"]] = found.get(row["rule"], 0) + disk(path)
    return found


def disk(path: Path) -> int:
    """Bytes of a file, or of all files in a folder. Files that are removed meanwhile do not count."""
    if path.is_file():
        return path.stat().st_size
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(os.path.join(folder, name)).st_size
    return total


if __name__ == "__main__":
    if shutil.which("snakemake") is None:
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    main()
