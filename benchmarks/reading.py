"""Fragments per second of processor time: scbind's reader compared with `zcat FILE | wc -l`.

    python benchmarks/reading.py [--millions 4 --rounds 5 --fragments FILE --sizes CHROM.SIZES]

Processor time (user and system, of all threads and processes) is the time that one core alone would need. It gives no
advantage to a pipe of two programs or a parser with many threads. `iter_fragments` parses and checks every line.
`count_fragments` also sorts insertions, calls cells and writes files. Without --fragments, the script makes a file from
the seed. Its barcodes are like those of 10x, and most of them are not cells.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pysam
from common import ratio, show
from scbind.cells.count import count_fragments
from scbind.formats.fragments import iter_fragments
from scbind.formats.genome import ChromSizes

BARCODES = 40_000


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--fragments", type=Path, help="a fragments file; default: made from the seed")
    made.add_argument("--sizes", type=Path, help="chrom.sizes of the fragments file")
    made.add_argument("--millions", type=float, default=4, help="millions of fragments in the simulated file")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--rounds", type=int, default=5, help="number of rounds; the cases take turns")
    args = made.parse_args()
    if (args.fragments is None) != (args.sizes is None):
        made.error("give --fragments and --sizes together")
    with tempfile.TemporaryDirectory() as folder:
        measure(args, Path(folder))


def measure(args: argparse.Namespace, folder: Path) -> None:
    """Measure the readers in turn, and print their rates."""
    path, sizes_path = args.fragments, args.sizes
    if path is None:
        path, sizes_path = write_fragments(folder, int(args.millions * 1e6), args.seed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sizes = ChromSizes.read(sizes_path)
    n_lines = sum(len(frame) for frame in iter_fragments(path, sizes))
    outputs = [folder / name for name in ("position.npy", "cell.npy", "barcodes.tsv")]
    ways: dict[str, Callable[[], object]] = {
        "zcat": lambda: subprocess.run(
            ["bash", "-c", 'zcat -- "$0" | wc -l', path], check=True, capture_output=True
        ),
        "iter_fragments": lambda: sum(len(frame) for frame in iter_fragments(path, sizes)),
        "count_fragments": lambda: count_fragments(path, sizes_path, *outputs, min_fragments=100),
    }
    processor: dict[str, list[float]] = {name: [] for name in ways}
    wall: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.rounds):
        for name, call in ways.items():
            begin, clock = used(), time.perf_counter()
            call()
            processor[name].append(n_lines / (used() - begin))
            wall[name].append(n_lines / (time.perf_counter() - clock))
    baseline, *ours = ways
    show(
        [
            {
                "way": name,
                "million fragments per second of processor time": float(np.median(processor[name])) / 1e6,
                "per second by the clock": float(np.median(wall[name])) / 1e6,
            }
            for name in ways
        ]
    )
    for name in ours:
        against = ratio(np.array(processor[name]), np.array(processor[baseline]))
        print(f"{name} against zcat, per core used: {against}")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{n_lines:,} fragments, {path.stat().st_size / 1e6:.0f} MB; memory grew by {grown:.0f} MiB")


def used() -> float:
    """Processor seconds of this process, its threads and its finished children."""
    each = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in each)


def write_fragments(folder: Path, n: int, seed: int) -> tuple[Path, Path]:
    """Write a sorted BGZF fragments file of about ``n`` lines on 22 chromosomes, and its ``chrom.sizes``."""
    rng = np.random.default_rng(seed)
    lengths = {f"chr{i + 1}": int(length) for i, length in enumerate(np.linspace(248e6, 50e6, 22))}
    barcodes = np.array(["".join(row) + "-1" for row in rng.choice(list("ACGT"), (BARCODES, 16))])
    weight = rng.lognormal(0, 1.5, BARCODES)
    weight /= weight.sum()
    path, sizes_path = folder / "fragments.tsv.gz", folder / "chrom.sizes"
    sizes_path.write_text("".join(f"{name}\t{length}\n" for name, length in lengths.items()))
    with pysam.BGZFile(str(path), "wb") as out:
        for name, length in lengths.items():
            number = int(n * length / sum(lengths.values()))
            start = np.sort(rng.integers(0, length - 5_000, number))
            table = pd.DataFrame({"chrom": name, "start": start})
            table["end"] = start + 30 + rng.gamma(2, 80, number).astype(np.int64)
            table["barcode"] = barcodes[rng.choice(BARCODES, number, p=weight)]
            table["count"] = rng.geometric(0.6, number)
            out.write(table.to_csv(sep="\t", header=False, index=False).encode())
    return path, sizes_path


if __name__ == "__main__":
    main()
