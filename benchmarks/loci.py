"""Time, memory and size of the page of loci, and the time that a browser needs to open it.

    python benchmarks/loci.py FOLDER [--tfs 300 --types 60 --samples 1 ...] [--no-browser] [--picture PNG]

The script makes all inputs from a seed: a genome, its peaks and genes, the coverage of each cell type, a track of each
TF in each type and sample, and the best sites, of which half are the same in all types. The numbers mean nothing. It
prints seconds, processor seconds and peak memory of `write_loci`, the size of the page and its number of sites. With
Chromium or Chrome it also prints the seconds until the first site is drawn, and from asking for a TF until it is drawn.
"""

from __future__ import annotations

import argparse
import json
import pickle
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from processes import measure

ROOT = Path(__file__).resolve().parents[1]
STEP = 10_000  # bp between peaks
WIDTH = 200  # bp of a site


@dataclass(frozen=True)
class Shape:
    """Size of the inputs."""

    tfs: int = 300
    types: int = 60
    samples: int = 1
    peaks: int = 5_000
    sites: int = 20  # per TF and type
    genes: int = 2_000
    seed: int = 0


def make_inputs(folder: Path, shape: Shape):
    """Write all inputs and return them as ``LociFiles``."""
    import numpy as np
    import pandas as pd
    import pysam
    from scbind.formats.bigwigwriter import create_bigwig
    from scbind.formats.genome import ChromSizes
    from scbind.report.loci import LociFiles

    rng = np.random.default_rng(shape.seed)
    folder.mkdir(parents=True, exist_ok=True)
    length = -(-shape.peaks // 2) * STEP
    sizes = ChromSizes(("chr1", "chr2"), np.array([length, length]))
    (folder / "chrom.sizes").write_text(f"chr1\t{length}\nchr2\t{length}\n")
    with open(folder / "genome.fa", "w") as handle:
        for name in sizes.names:
            bases = rng.choice(np.frombuffer(b"ACGT", np.uint8), length).tobytes().decode()
            handle.write(f">{name}\n{bases}\n")
    pysam.faidx(str(folder / "genome.fa"))
    number = np.arange(shape.peaks)
    chrom, start = np.array(sizes.names)[number * STEP // length], number * STEP % length + 3_000
    bed = pd.DataFrame({"chrom": chrom, "start": start, "end": start + 500})
    bed.to_csv(folder / "consensus.bed", sep="\t", header=False, index=False)
    at = rng.choice(shape.peaks, shape.genes, replace=shape.genes > shape.peaks)
    genes = pd.DataFrame({"chrom": chrom[at], "start": start[at] + 300, "end": start[at] + 5_000})
    genes = genes.assign(
        name=[f"GENE{i}" for i in range(shape.genes)], score=0, strand=rng.choice(["+", "-"], shape.genes)
    )
    genes.to_csv(folder / "genes.bed", sep="\t", header=False, index=False)

    def bigwig(path: Path, of: np.ndarray, wide: int, runs: int, top: float) -> None:
        """Write ``runs`` values of ``wide`` bp each at every peak of ``of``, sorted."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with create_bigwig(path, sizes, len(of) * runs) as bw:
            for name in sizes.names:
                left = (start[of][chrom[of] == name][:, None] + np.arange(runs) * wide).ravel()
                hill = np.sin(np.pi * (np.arange(len(left)) % runs + 0.5) / runs)
                value = top * hill * rng.random(len(left))
                if len(left):
                    bw.addEntries(
                        [name] * len(left), left.tolist(), ends=(left + wide).tolist(), values=value.tolist()
                    )

    tfs = [f"ZNF{100 + i}" for i in range(shape.tfs)]
    types = {f"cell type {i + 1:02}": f"type_{i + 1:02}" for i in range(shape.types)}
    samples = [f"donor_{i + 1}" for i in range(shape.samples)]
    for slug in types.values():
        bigwig(folder / slug / "coverage.bw", number, 25, 40, 10.0)
    rows = []
    for tf in tfs:
        shared = rng.choice(shape.peaks, shape.sites // 2, replace=False)
        for name, slug in types.items():
            own = rng.choice(np.setdiff1d(number, shared), shape.sites - len(shared), replace=False)
            of = rng.permutation(np.concatenate([shared, own]))
            for sample in samples:
                bigwig(folder / sample / slug / f"{tf}.bw", np.unique(of), WIDTH, 2, 1.0)
            rows.append(
                pd.DataFrame(
                    {"cell_type": name, "tf": tf, "rank": np.arange(len(of)) + 1, "chrom": chrom[of]}
                )
                .assign(start=start[of], end=start[of] + WIDTH, binding=np.sort(rng.random(len(of)))[::-1])
                .assign(
                    evidence="motif" if tf == tfs[-1] else "chip",
                    reliability_level="high",
                    reliability_abstained=False,
                )
            )
    pd.concat(rows).to_csv(folder / "best_sites.tsv", sep="\t", index=False)
    return LociFiles(
        genome="made up",
        fasta=folder / "genome.fa",
        sizes=folder / "chrom.sizes",
        tracks={sample: folder / sample for sample in samples},
        types=types,
        coverage={name: folder / slug / "coverage.bw" for name, slug in types.items()},
        consensus=folder / "consensus.bed",
        sites=folder / "best_sites.tsv",
        genes=folder / "genes.bed",
    )


def opened(page_path: Path, tf: str, picture: Path | None) -> dict[str, float]:
    """Seconds until the page shows its first site, and until it shows one of a TF that is asked for."""
    sys.path.insert(0, str(ROOT / "tests"))
    from browser import Page

    begin = time.monotonic()
    with Page(page_path, wait=120) as page:
        page.until("document.documentElement.dataset.ready")
        found = {"first site, s": time.monotonic() - begin}
        begin = time.monotonic()
        change = f"const pick = document.getElementById('pick'); pick.value = {json.dumps(tf)};"
        change += "pick.dispatchEvent(new Event('change'));"
        page.run(f"delete document.documentElement.dataset.shows; {change}")
        page.until(f"(document.documentElement.dataset.shows || '').startsWith({json.dumps(tf + '@')})")
        found["a TF, s"] = time.monotonic() - begin
        if picture is not None:
            page.picture(picture, whole=True)
        if problems := page.problems():
            sys.exit(f"the page has problems: {problems[:3]}")
    return found


def main() -> None:
    """Make the inputs and the page, open it and print."""
    sys.path.insert(0, str(ROOT / "workflow"))
    if sys.argv[1:2] == ["--child"]:
        from scbind.report.loci import write_loci

        folder = Path(sys.argv[2])
        files = pickle.loads((folder / "files.pickle").read_bytes())
        begin, used = time.perf_counter(), time.process_time()
        write_loci(files, folder / "loci.html")
        print(json.dumps({"seconds": time.perf_counter() - begin, "cpu": time.process_time() - used}))
        return
    if sys.argv[1:2] == ["--make"]:
        folder = Path(sys.argv[2])
        files = make_inputs(folder, Shape(**json.loads(sys.argv[3])))
        (folder / "files.pickle").write_bytes(pickle.dumps(files))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    for name, default in Shape.__dataclass_fields__.items():
        parser.add_argument(f"--{name}", type=int, default=default.default)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-browser", action="store_true")
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    shape = {name: getattr(args, name) for name in Shape.__dataclass_fields__}
    # In processes of their own: the peak memory of a child starts at the memory of its parent.
    if not (args.folder / "files.pickle").exists():
        subprocess.run([sys.executable, __file__, "--make", args.folder, json.dumps(shape)], check=True)
    spent = measure([sys.executable, __file__, "--child", str(args.folder)], args.threads)
    page = args.folder / "loci.html"
    found = {"seconds": spent["seconds"], "CPU s": spent["cpu"], "peak, MiB": spent["peak"] / 2**20}
    found |= {"page, MB": page.stat().st_size / 1e6, "packs": page.read_text().count('id="pack-')}
    if not args.no_browser:
        found |= opened(page, "ZNF101", args.picture)
    print("| " + " | ".join(found) + " |\n" + "|---" * len(found) + "|")
    print("| " + " | ".join(f"{v:,.3g}" if isinstance(v, float) else f"{v:,}" for v in found.values()) + " |")


if __name__ == "__main__":
    main()
