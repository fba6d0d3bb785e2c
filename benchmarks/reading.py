"""Fragments and reads per second of processor time: scbind's readers compared with `zcat` and `samtools view -c`.

    python benchmarks/reading.py [--millions 4 --rounds 5 --only bam --fragments FILE --sizes CHROM.SIZES]

Processor time (user and system, of all threads and processes) is the time that one core alone would need. It gives no
advantage to a pipe of two programs or a parser with many threads. `iter_fragments` parses and checks every line.
`count_fragments` also sorts insertions, calls cells and writes files. Without --fragments, the script makes a file from
the seed. Its barcodes are like those of 10x, and most of them are not cells.

The second table is about a BAM of read pairs with barcodes: `samtools view -c` (the code of samtools in pysam) counts
the reads that pass scbind's filter, on one thread; `ends` are the 5' ends and the pairs of bulk ATAC-seq; `fragments`
is a fragments file of single cells, compressed. `--bam FILE` measures the ends of a BAM of yours.
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
from rehearsal_data import RECORD, SIZES, bam_header, fragment_lengths, pair_records
from scbind.bulk.ends import MIN_MAPQ, READERS
from scbind.cells.count import count_fragments
from scbind.cells.frombam import bam_to_fragments
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
    made.add_argument("--only", choices=("fragments", "bam"), help="measure one kind of file")
    made.add_argument("--bam", type=Path, help="a sorted BAM; default: made from the seed")
    args = made.parse_args()
    if (args.fragments is None) != (args.sizes is None):
        made.error("give --fragments and --sizes together")
    with tempfile.TemporaryDirectory() as folder:
        if args.only != "bam":
            measure(args, Path(folder))
        if args.only != "fragments":
            measure_bam(args, Path(folder))


def measure(args: argparse.Namespace, folder: Path) -> None:
    """Measure the readers in turn, and print their rates."""
    path, sizes_path = args.fragments, args.sizes
    if path is None:
        path, sizes_path = write_fragments(folder, int(args.millions * 1e6), args.seed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sizes = ChromSizes.read(sizes_path)
    n_lines = sum(len(frame) for frame in iter_fragments(path, sizes))
    outputs = [folder / name for name in ("position.npy", "cell.npy", "barcodes.tsv", "profile.tsv")]
    ways: dict[str, Callable[[], object]] = {
        "zcat": lambda: subprocess.run(
            ["bash", "-c", 'zcat -- "$0" | wc -l', path], check=True, capture_output=True
        ),
        "iter_fragments": lambda: sum(len(frame) for frame in iter_fragments(path, sizes)),
        "count_fragments": lambda: count_fragments(path, sizes_path, *outputs, min_fragments=100),
    }
    compare(ways, n_lines, "fragments", args.rounds)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{n_lines:,} fragments, {path.stat().st_size / 1e6:.0f} MB; memory grew by {grown:.0f} MiB")


def measure_bam(args: argparse.Namespace, folder: Path) -> None:
    """Measure the readers of BAM in turn, and print their rates."""
    path = args.bam or write_bam(folder, int(args.millions * 1e6 / 2), args.seed)
    with pysam.AlignmentFile(str(path)) as handle:
        sizes = ChromSizes(tuple(handle.references), np.array(handle.lengths))
    n_reads = int(pysam.view("-c", str(path)))
    ways: dict[str, Callable[[], object]] = {
        "samtools view -c": lambda: pysam.view("-c", "-F", "0xF04", "-q", str(MIN_MAPQ), str(path)),
        "ends": lambda: sum(len(ends.of) for _, ends in READERS["bam"](path, sizes, None)),
    }
    ways["ends"]()  # numba compiles once
    if not args.bam:
        ways["fragments"] = lambda: bam_to_fragments(path, folder / "made.tsv.gz", sizes)
        ways["fragments"]()
    compare(ways, n_reads, "reads", args.rounds)
    print(f"{n_reads:,} reads, {path.stat().st_size / 1e6:.0f} MB")


def compare(ways: dict[str, Callable[[], object]], n: int, what: str, rounds: int) -> None:
    """Call the ways in turn; print the rate of each for ``n`` things, and its ratio to that of the first."""
    processor: dict[str, list[float]] = {name: [] for name in ways}
    wall: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, call in ways.items():
            begin, clock = used(), time.perf_counter()
            call()
            processor[name].append(n / (used() - begin))
            wall[name].append(n / (time.perf_counter() - clock))
    baseline, *ours = ways
    show(
        [
            {
                "way": name,
                f"million {what} per second of processor time": float(np.median(processor[name])) / 1e6,
                "at best": max(processor[name]) / 1e6,
                "per second by the clock": float(np.median(wall[name])) / 1e6,
            }
            for name in ways
        ]
    )
    for name in ours:
        against = ratio(np.array(processor[name]), np.array(processor[baseline]))
        print(f"{name} against {baseline}, per core used: {against}")


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


def write_bam(folder: Path, n: int, seed: int) -> Path:
    """Write a sorted BAM of about ``n`` pairs of reads with barcodes in the tag CB, on the chromosomes of hg38."""
    rng = np.random.default_rng(seed)
    lengths = dict(line.split("\t") for line in SIZES.read_text().splitlines()[:24])
    lengths = {name: int(length) for name, length in lengths.items()}
    tags = np.frombuffer(b"CBZ" + b"A" * 16 + b"-1\0", dtype=np.uint8) + np.zeros(
        (BARCODES, 1), dtype=np.uint8
    )
    tags[:, 3:19] = rng.choice(np.frombuffer(b"ACGT", dtype=np.uint8), (BARCODES, 16))
    path, begun = folder / "reads.bam", 0
    with pysam.BGZFile(str(path), "wb") as out:
        out.write(bam_header(lengths))
        for row, length in enumerate(lengths.values()):
            number = int(n * length / sum(lengths.values()))
            size = fragment_lengths(rng, number)
            start = np.sort(rng.integers(0, length - size.max(), number))
            barcode = rng.integers(0, BARCODES, number)
            for block in pair_records(rng, row, start, size, begun):
                records = np.frombuffer(block, dtype=RECORD).copy()
                pair = np.char.partition(records["name"], b".")[:, 2].astype(np.int64) - begun
                records["block_size"] += tags.shape[1]
                rows = records.view(np.uint8).reshape(len(records), -1)
                out.write(np.concatenate([rows, tags[barcode[pair]]], axis=1).tobytes())
            begun += number
    return path


if __name__ == "__main__":
    main()
