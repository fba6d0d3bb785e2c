"""Time, memory and size of the page of loci, and the time that a browser needs to open it.

    python benchmarks/loci.py FOLDER [--tfs 300 --types 60 --samples 1 ...] [--no-browser] [--picture PNG]

The script makes all inputs from a seed: a genome, its peaks and genes, the coverage of each cell type, a track of each
TF in each type and sample, and the best sites, of which half are the same in all types. The numbers mean nothing. It
prints seconds, processor seconds and peak memory of `write_loci`, the size of the page and its number of sites. With
Chromium or Chrome it also prints the seconds until the first site is drawn, and from asking for a TF until it is drawn:
medians of `--rounds` fresh starts.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from processes import measure_page, show_row

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
    with pysam.BGZFile(str(folder / "genome.fa.gz"), "w1") as handle:
        for name in sizes.names:
            bases = rng.choice(np.frombuffer(b"ACGT", np.uint8), length).tobytes().decode()
            handle.write(f">{name}\n{bases}\n".encode())
    pysam.faidx(str(folder / "genome.fa.gz"))
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
        fasta=folder / "genome.fa.gz",
        sizes=folder / "chrom.sizes",
        tracks={sample: folder / sample for sample in samples},
        types=types,
        all_types=list(types),
        coverage={name: folder / slug / "coverage.bw" for name, slug in types.items()},
        consensus=folder / "consensus.bed",
        sites=folder / "best_sites.tsv",
        genes=folder / "genes.bed",
    )


def opened(page_path: Path, tf: str, picture: Path | None) -> dict[str, float]:
    """Seconds until the page shows its first site, and until it shows one of a TF that is asked for."""
    from browser import Page  # measure_page has found its folder

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


def write(folder: Path, files) -> None:
    """Write the page of inputs that were made before."""
    from scbind.report.loci import write_loci

    write_loci(files, folder / "loci.html")


def main() -> None:
    """Make the inputs and the page, open it and print."""
    args, found = measure_page(__doc__, Shape, make_inputs, write, threads=1)
    page = args.folder / "loci.html"
    found |= {"page, MB": page.stat().st_size / 1e6, "packs": page.read_text().count('id="pack-')}
    if not args.no_browser:
        rounds = [opened(page, "ZNF101", args.picture if i == 0 else None) for i in range(args.rounds)]
        found |= {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    show_row(found)


if __name__ == "__main__":
    main()
