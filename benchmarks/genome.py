"""Time and memory of the training half on a genome of any size; the default is the size of the human genome.

    python benchmarks/genome.py FOLDER [--gigabases 3.1 --lines 3 --tfs 40 --insertions 40000000 --threads 2]
        [--stages make dataset train calibrate evaluate depth baselines --test chr21 --hold-out-line]

In FOLDER, the script makes a genome of random sequence with chromosomes in the proportions of the human ones, cell
lines with random insertions (two thirds of them in peaks), and ChIP-seq peaks of every TF in every line. The cost of
data does not depend on their content. The script then runs the functions that the rules of the workflow call, each in
its own process. It prints:

* seconds;
* the peak of the resident memory;
* the part of this peak that belongs to the process alone. The first number includes mapped files, which the system can
  drop;
* the size of the files written.

Training runs for one epoch. With `--hold-out-line`, all chromosomes of the last line are test data.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from processes import measure

# lengths of the human chromosomes 1 to 22, X, Y in Mb (GRCh38)
HUMAN = (
    248,
    242,
    198,
    190,
    182,
    171,
    159,
    145,
    138,
    134,
    135,
    133,
    114,
    107,
    102,
    90,
    83,
    80,
    59,
    64,
    47,
    51,
    156,
    57,
)
WIDTH = 300  # width of a peak in bp
PEAKS_PER_MB = 20  # peaks open in a line; half of them differ between lines
BOUND = 0.1  # fraction of the open peaks that a TF binds
IN_PEAKS = 2 / 3  # fraction of the insertions in peaks
KEEPS = (1.0, 0.1, 0.01)  # shares of the fragments
SAMPLED = 20_000  # test windows of each share


def chromosomes(gigabases: float) -> dict[str, int]:
    """Lengths in bp of chr1 to chr24."""
    share = gigabases * 1e9 / sum(HUMAN)
    return {f"chr{number + 1}": int(length * share) for number, length in enumerate(HUMAN)}


def make(folder: Path, args: argparse.Namespace) -> None:
    """Make genome, tracks, peaks and motifs; one chromosome of one line is in memory at a time."""
    import numpy as np
    import pyBigWig
    from scbind.formats.motifs import log_odds

    rng, lengths = np.random.default_rng(args.seed), chromosomes(args.gigabases)
    reference = folder / "reference/made"
    reference.mkdir(parents=True, exist_ok=True)
    (reference / "chrom.sizes").write_text("".join(f"{name}\t{length}\n" for name, length in lengths.items()))
    (reference / "exclude.bed").write_text("")
    shape = (sum(lengths.values()),)
    sequence = np.lib.format.open_memmap(reference / "sequence.npy", mode="w+", dtype=np.uint8, shape=shape)
    for begin in range(0, shape[0], 1 << 27):
        part = sequence[begin : begin + (1 << 27)]
        part[:] = rng.integers(0, 4, len(part), dtype=np.uint8)
    sequence.flush()
    matrices = {f"TF{t:03d}": log_odds(rng.dirichlet(np.full(4, 0.3), 12).T * 100) for t in range(args.tfs)}
    ids = np.array(list(matrices))
    stored = {f"matrix/{tf}": matrix for tf, matrix in matrices.items()}
    np.savez(folder / "motifs.npz", tfs=ids, matrix_ids=ids, **stored)
    shared = {
        name: rng.integers(0, n - WIDTH, int(PEAKS_PER_MB / 2 * n / 1e6)) for name, n in lengths.items()
    }
    for line in range(args.lines):
        chip = [(folder / f"L{line}.TF{t:03d}.narrowPeak").open("w") for t in range(args.tfs)]
        with (
            pyBigWig.open(str(folder / f"L{line}.bw"), "w") as bigwig,
            (folder / f"L{line}.narrowPeak").open("w") as atac,
        ):
            bigwig.addHeader(list(lengths.items()))
            for name, length in lengths.items():
                own = rng.integers(0, length - WIDTH, len(shared[name]))
                peaks = np.sort(np.concatenate([shared[name], own]))
                n = int(args.insertions * length / sum(lengths.values()))
                inside = rng.choice(peaks, int(n * IN_PEAKS)) + rng.integers(0, WIDTH, int(n * IN_PEAKS))
                positions = np.concatenate([inside, rng.integers(0, length, n - len(inside))])
                start, count = np.unique(positions, return_counts=True)
                for first in range(0, len(start), 1_000_000):
                    part = slice(first, first + 1_000_000)
                    places = start[part].astype(np.int64)
                    bigwig.addEntries(
                        np.full(len(places), name), places, ends=places + 1, values=count[part].astype(float)
                    )
                for handle, share in ((atac, 1.0), *((handle, BOUND) for handle in chip)):
                    for place in peaks[rng.random(len(peaks)) < share]:
                        handle.write(f"{name}\t{place}\t{place + WIDTH}\t.\t0\t.\t1\t-1\t-1\t{WIDTH // 2}\n")
        for handle in chip:
            handle.close()


def run(stage: str, folder: Path, args: argparse.Namespace) -> list[Path]:
    """Run one of the stages after :func:`make`; returns the files it wrote."""
    data, reference, motifs = folder / "dataset", folder / "reference/made", folder / "motifs.npz"
    model, known = folder / "model.safetensors", folder / "calibration.json"
    lines = [f"L{line}" for line in range(args.lines)]
    if stage == "dataset":
        from scbind.dataset.build import LineFiles, build_dataset
        from scbind.formats.geometry import Geometry
        from scbind.plan.settings import default_options

        tfs = [f"TF{number:03d}" for number in range(args.tfs)]
        chip = [
            {"cell_line": line, "tf": tf, "path": str(folder / f"{line}.{tf}.narrowPeak"), "relaxed": None}
            for line in lines
            for tf in tfs
        ]
        files = {line: LineFiles(folder / f"{line}.bw", folder / f"{line}.narrowPeak") for line in lines}
        geometry = default_options(Geometry, "dataset", min_mappability=None)
        splits = {"test": [f"*:{args.test}"], "valid": [f"*:{args.valid}"], "train": None}
        if args.hold_out_line:
            splits["test"].append(f"{lines[-1]}:*")
            splits["valid"] = [f"{line}:{args.valid}" for line in lines[:-1]]
        build_dataset(reference, files, chip, splits, geometry, data)
        return [data]
    if stage == "train":
        from scbind.models.training import TrainFiles, TrainOptions, train
        from scbind.plan.settings import default_options

        files = TrainFiles(data, reference, model, folder / "training.csv", folder / "scratch", motifs)
        train(files, default_options(TrainOptions, "models", epochs=1), code="", threads=args.threads)
        return [model]
    if stage == "calibrate":
        from scbind.models.calibration import calibrate

        calibrate(model, data, reference, known, 20_000, 1, threads=args.threads)
        return [known]
    out = folder / f"{stage}.tsv"
    if stage == "evaluate":
        from scbind.evaluation.evaluate import evaluate_model

        curves = folder / "curves.npz"
        evaluate_model(
            model,
            known,
            data,
            reference,
            out,
            curves,
            "scbind",
            max_windows=None,
            seed=0,
            threads=args.threads,
        )
    elif stage == "depth":
        from scbind.evaluation.depth import evaluate_depth

        evaluate_depth(model, known, data, reference, out, "scbind", KEEPS, SAMPLED, 0, threads=args.threads)
    else:
        from scbind.evaluation.baselines import evaluate_baselines
        from scbind.evaluation.registry import BASELINES

        curves = {name: folder / f"{name}.npz" for name in BASELINES}
        sample = {"keeps": KEEPS, "max_windows": SAMPLED, "depth_seed": 0}
        depth = folder / "baselines.depth.tsv"
        evaluate_baselines(data, reference, motifs, out, depth, curves, **sample, threads=args.threads)
    return [out]


STAGES = ("make", "dataset", "train", "calibrate", "evaluate", "depth", "baselines")


def main() -> None:
    """Run the stages one after the other, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gigabases", type=float, default=3.1)
    parser.add_argument("--lines", type=int, default=3)
    parser.add_argument("--tfs", type=int, default=40)
    parser.add_argument("--insertions", type=int, default=40_000_000, help="insertions per line")
    parser.add_argument("--test", default="chr21")
    parser.add_argument("--valid", default="chr22")
    parser.add_argument("--hold-out-line", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--child", choices=STAGES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    if args.child:
        sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))
        begin = time.perf_counter()
        if args.child == "make":
            make(args.folder, args)
            written = [path for path in args.folder.iterdir() if path.is_file()]
        else:
            written = run(args.child, args.folder, args)
        files = [file for path in written for file in (path.rglob("*") if path.is_dir() else [path])]
        size = sum(file.stat().st_size for file in files if file.is_file())
        print("\n" + json.dumps({"seconds": time.perf_counter() - begin, "written": size}))
        return
    print("| stage | seconds | peak MiB | own MiB | written MiB |\n|---|---|---|---|---|")
    for stage in args.stages:
        row = measure([sys.executable, *sys.argv, "--child", stage], args.threads)
        sizes = [f"{row[name] / 2**20:,.0f}" for name in ("peak", "own", "written")]
        print(f"| {stage} | {row['seconds']:,.0f} | {' | '.join(sizes)} |", flush=True)


if __name__ == "__main__":
    main()
