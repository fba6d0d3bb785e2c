"""Code that the benchmarks share: data from a seed or from a dataset, timing of cases in turn, tables."""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyBigWig

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

import torch  # noqa: E402
from scbind.dataset.build import LineFiles, build_dataset
from scbind.dataset.trainingset import TrainingSet  # noqa: E402
from scbind.formats.geometry import Geometry  # noqa: E402
from scbind.formats.motifs import log_odds  # noqa: E402
from scbind.models.training import data_facts  # noqa: E402
from scbind.plan.settings import default_options  # noqa: E402

SPLITS = {"train": ["*:chr1"], "valid": ["*:chr2"], "test": ["*:chr3"]}


def parser(text: str) -> argparse.ArgumentParser:
    """Arguments of every benchmark."""
    made = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--dataset", type=Path, help="results/dataset; default: made from the seed")
    made.add_argument("--reference", type=Path, help="results/reference/{genome}; needed with --dataset")
    made.add_argument("--megabases", type=float, default=4, help="size of the simulated genome")
    made.add_argument("--tfs", type=int, default=40, help="number of simulated TFs")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--threads", type=int, default=2)
    made.add_argument("--rounds", type=int, default=7, help="number of rounds; the cases take turns")
    made.add_argument("--seconds", type=float, default=0.5, help="minimum duration of a case in one round")
    return made


def parse(made: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the command line; set the number of threads and the random seed."""
    args = made.parse_args()
    if (args.dataset is None) != (args.reference is None):
        made.error("give --dataset and --reference together")
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    return args


@dataclass
class Case:
    """A case to measure: ``call`` does ``units`` of work."""

    call: Callable[[], object]
    units: float = 1


def rates(cases: dict[str, Case], rounds: int, seconds: float) -> dict[str, np.ndarray]:
    """Units per second of each case: float64 (rounds,).

    The cases take turns, so that other load on the machine slows all of them equally. Each case is called once before
    the rounds; this call also shows how many calls last ``seconds``.
    """
    repeats, found = {}, {name: [] for name in cases}
    for name, case in cases.items():
        case.call()  # the first call also allocates memory
        begin = time.perf_counter()
        case.call()
        repeats[name] = max(1, math.ceil(seconds / (time.perf_counter() - begin)))
    for _ in range(rounds):
        for name, case in cases.items():
            begin = time.perf_counter()
            for _ in range(repeats[name]):
                case.call()
            found[name].append(case.units * repeats[name] / (time.perf_counter() - begin))
    return {name: np.array(values) for name, values in found.items()}


def ratio(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Median, lowest and highest ratio of the rounds, as text."""
    each = ours / theirs
    return f"{statistics.median(each):.3g} (rounds: {each.min():.3g} to {each.max():.3g})"


def show(rows: list[dict]) -> None:
    """Print rows as a Markdown table; numbers have four significant digits."""
    columns = list(rows[0])
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(f"{v:,.4g}" if isinstance(v, float) else str(v) for v in row.values()) + " |")


@contextmanager
def open_data(args: argparse.Namespace) -> Iterator[TrainingSet]:
    """The dataset of the arguments, or one made from the seed and deleted afterwards."""
    if args.dataset is not None:
        yield TrainingSet.open(args.dataset, args.reference)
        return
    with tempfile.TemporaryDirectory() as folder:
        yield _simulate(Path(folder), args.megabases, args.tfs, args.seed)


def facts_of(data: TrainingSet, lines: int | None = None) -> dict:
    """Facts about the data that a network and a predictor need; ``lines`` limits the number of cell lines."""
    facts = data_facts(data, "scbind")
    order = sorted(range(len(data.lines)), key=lambda row: -sum(facts["assayed"][row]))[:lines]
    return facts | {
        "modelled": [True] * len(data.tfs),
        "cell_lines": [data.lines[row] for row in order],
        "assayed": [facts["assayed"][row] for row in order],
    }


def motifs_of(data: TrainingSet, seed: int) -> dict[str, np.ndarray]:
    """A random motif of 12 bp for each TF: float32 (4, 12) log-odds. The cost does not depend on its content."""
    rng = np.random.default_rng(seed)
    return {tf: log_odds(rng.dirichlet(np.full(4, 0.3), 12).T * 100) for tf in data.tfs}


def write_bigwig(path: Path, lengths: dict[str, int], tracks: dict[str, np.ndarray], span: int = 1) -> str:
    """Write a bigWig of the number of positions (0-based) in each bin of ``span`` bp; empty bins are left out."""
    with pyBigWig.open(str(path), "w") as bigwig:
        bigwig.addHeader(list(lengths.items()))
        for chrom, positions in tracks.items():
            start, count = np.unique(positions // span * span, return_counts=True)
            end = np.minimum(start + span, lengths[chrom])
            if len(start):
                bigwig.addEntries(
                    [chrom] * len(start),
                    start.tolist(),
                    ends=end.tolist(),
                    values=count.astype(float).tolist(),
                )
    return str(path)


def _simulate(folder: Path, megabases: float, n_tfs: int, seed: int) -> TrainingSet:
    """Two cell lines on three chromosomes with random sequence and peaks: as costly as real data, without meaning."""
    rng = np.random.default_rng(seed)
    lengths = {f"chr{i + 1}": int(megabases * share * 1e6) for i, share in enumerate((0.6, 0.2, 0.2))}
    reference = folder / "made"
    reference.mkdir()
    np.save(reference / "sequence.npy", rng.integers(0, 4, sum(lengths.values())).astype(np.uint8))
    (reference / "chrom.sizes").write_text("".join(f"{c}\t{n}\n" for c, n in lengths.items()))
    (reference / "exclude.bed").write_text("")
    lines, chip = {}, []
    for line in ("A", "B"):
        insertions = {c: rng.integers(0, n, n // 2) for c, n in lengths.items()}
        track = write_bigwig(folder / f"{line}.bw", lengths, insertions)
        lines[line] = LineFiles(track, _write_peaks(folder / f"{line}.narrowPeak", lengths, 100, 500, rng))
        for number in range(n_tfs):
            path = _write_peaks(folder / f"{line}.{number}.narrowPeak", lengths, 50, 300, rng)
            chip.append({"cell_line": line, "tf": f"TF{number:03d}", "path": path, "relaxed": None})
    geometry = default_options(Geometry, "dataset", min_mappability=None)
    build_dataset(reference, lines, chip, SPLITS, geometry, folder / "dataset")
    return TrainingSet.open(folder / "dataset", reference)


def _write_peaks(path: Path, lengths: dict[str, int], per_mb: int, width: int, rng) -> str:
    lines = [
        f"{chrom}\t{start}\t{start + width}\t.\t0\t.\t1\t-1\t-1\t{width // 2}\n"
        for chrom, length in lengths.items()
        for start in np.sort(rng.integers(0, length - width, max(1, int(per_mb * length / 1e6))))
    ]
    path.write_text("".join(lines))
    return str(path)
