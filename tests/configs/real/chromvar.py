"""The 25 GM12878 and 25 H1 cells of chromVAR's example as a sample of its own: fragments, labels, sheet, configuration.

    python tests/configs/real/chromvar.py FOLDER SCBIND_DATA
    SCBIND_DATA=... snakemake --cores 2 --configfile FOLDER/config.yaml

The data are counts of fragments in peaks of 500 bp (Schep et al. 2017), so where in its peak a fragment lies, 60 bp
long, is drawn from a seed. Only what lies on the pieces of the configuration is kept. The run adds the sample to those
of `config.yaml`, and compares its two types in `results/analysis/differential_tfs.tsv`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pysam
import scipy.io
import yaml

LENGTH = 60  # bp of a fragment, within one nucleosome-free stretch
HERE = Path(__file__).resolve().parent


def main(folder: Path, data: Path) -> None:
    """Write everything into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    source = data / "sc" / "chromvar_GM_H1"
    cells = pd.read_csv(source / "cells.tsv", sep="\t")
    peaks = pd.read_csv(source / "peaks.hg19.bed.gz", sep="\t", header=None, names=["chrom", "start", "end"])
    counts = scipy.io.mmread(source / "counts.mtx.gz").tocoo()
    lengths = dict(pd.read_csv(HERE / "chrom.sizes", sep="\t", header=None).to_numpy())
    known = list(lengths)

    rng = np.random.default_rng(0)
    row, column = (np.repeat(index, counts.data) for index in (counts.row, counts.col))
    found = peaks.iloc[row].reset_index(drop=True)
    room = (found["end"] - found["start"] - LENGTH).to_numpy()
    found["start"] += (rng.random(len(found)) * (room + 1)).astype(int)
    found["end"] = found["start"] + LENGTH
    found["barcode"] = cells["cell"].to_numpy()[column]
    found = found[found["end"] <= found["chrom"].map(lengths)]
    found = found.assign(rank=found["chrom"].map(known.index)).sort_values(["rank", "start", "end"])
    found["count"] = 1
    fragments, labels = folder / "chromvar.fragments.tsv.gz", folder / "chromvar.labels.tsv"
    with pysam.BGZFile(str(fragments), "w") as handle:
        text = found[["chrom", "start", "end", "barcode", "count"]].to_csv(
            sep="\t", header=False, index=False
        )
        handle.write(text.encode())
    cells.rename(columns={"cell": "barcode", "label": "cell_type"})[["barcode", "cell_type"]].to_csv(
        labels, sep="\t", index=False
    )
    sheet = pd.read_csv(HERE / "samples.tsv", sep="\t", dtype=str, keep_default_na=False)
    fragments, labels = (str(path.resolve()) for path in (fragments, labels))
    sheet.loc[len(sheet)] = ["chromvar", fragments, "fragments", "chromvar", "yes", labels]
    sheet.to_csv(folder / "samples.tsv", sep="\t", index=False)
    config = yaml.safe_load((HERE / "config.yaml").read_text())
    config["sheets"]["samples"] = str((folder / "samples.tsv").resolve())
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    print(
        f"{len(found):,} fragments of {len(cells)} cells; now run with --configfile {folder / 'config.yaml'}"
    )


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
