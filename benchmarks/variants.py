"""Alleles of variants: time and memory for thousands of them, and the effects against the truth of the demo.

    python benchmarks/variants.py FOLDER [--variants 10000 --tfs 40 --types 10 --threads 2]
    python benchmarks/variants.py --results results --truth resources/demo/truth [--chrom chr4 --sites 40]

The first form makes a genome, cells and a network that is not trained, as large as a run with these numbers makes
them, writes them to FOLDER, and prints seconds, peak memory and rows of `variant_effects`. A window has about 3,000
insertions of all cells together, as in a peak of 20,000 cells.

The second form asks the model of a finished demo. Of each TF and cell type, up to `--sites` bound sites on a
chromosome that is held out get one base of their core changed (within 2 bp of the middle), and one base 20 to 90 bp
beside, outside all sites of the TF. The table shows per TF how well the absolute difference tells the two apart (AUROC;
also by the difference of logits), their medians, and the median of the same core variants in the types in which the
element of the site is closed. The last lines repeat the AUROC with windows that are not centred on the variant.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from processes import measure

BASES = "ACGT"
SHIFTS = (-80, -40, 0, 40, 80)  # bp from the centred window to others that contain the variant
SAMPLE = {"position": "position.npy", "cell": "cell.npy", "cells": "cells.h5ad"}


def main() -> None:
    """Read the arguments and run one of the two forms."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("folder", type=Path, nargs="?")
    made.add_argument("--variants", type=int, default=10_000)
    made.add_argument("--tfs", type=int, default=40)
    made.add_argument("--types", type=int, default=10)
    made.add_argument("--threads", type=int, default=2)
    made.add_argument("--min-difference", type=float, default=0.001, help="smaller than usual: see the rows")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--results", type=Path, help="results of the demo, for the second form")
    made.add_argument("--truth", type=Path)
    made.add_argument("--chrom", default="chr4")
    made.add_argument("--sites", type=int, default=40, help="sites per TF and cell type")
    made.add_argument("--step", choices=("make", "run"), help=argparse.SUPPRESS)
    args = made.parse_args()
    if args.results:
        against_truth(args)
    elif not args.folder:
        made.error("give a folder, or --results and --truth")
    elif args.step:
        make(args) if args.step == "make" else run(args)
    else:
        args.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, *sys.argv, "--step"]
        measure([*command, "make"], args.threads)
        spent = measure([*command, "run"], args.threads)
        spent |= {name: f"{spent[name] / 2**20:.0f} MiB" for name in ("peak", "own")}
        print("\n".join(f"{name}: {value}" for name, value in spent.items()))


def make(args: argparse.Namespace) -> None:
    """Write genome, network, cells and variants to the folder."""
    import anndata
    import numpy as np
    import pandas as pd
    import torch
    from common import _simulate, facts_of, motifs_of
    from scbind.models.base import build_network
    from scbind.models.modelfile import write_model

    rng = np.random.default_rng(args.seed)
    torch.manual_seed(args.seed)
    data = _simulate(args.folder, 4, args.tfs, args.seed)
    facts = facts_of(data)
    network = build_network("scbind", facts, {}, motifs_of(data, args.seed))
    for tower in network.windows:  # a network that is not trained would answer the same to both alleles
        torch.nn.init.normal_(tower.own, std=0.5)
    write_model(args.folder / "model.safetensors", network.state_dict(), facts, {})
    n_cells, total = 200 * args.types, data.genome.sizes.total
    np.save(args.folder / "position.npy", np.sort(rng.integers(0, total, 3 * total)).astype(np.uint32))
    np.save(args.folder / "cell.npy", rng.integers(0, n_cells, 3 * total).astype(np.uint32))
    obs = pd.DataFrame({"pass": True, "cell_type": [f"type {row % args.types}" for row in range(n_cells)]})
    anndata.AnnData(obs=obs.set_index(obs.index.astype(str))).write_h5ad(args.folder / "cells.h5ad")
    place = np.sort(rng.choice(total // 2, args.variants, replace=False) + 1000)
    codes = np.asarray(data.genome.codes)[place]
    rows = (
        f"chr1\t{at + 1}\trs{at}\t{BASES[code]}\t{BASES[(code + 1) % 4]}\t.\t.\t.\n"
        for at, code in zip(place, codes, strict=True)
    )
    head = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    (args.folder / "variants.vcf").write_text(head + "".join(rows))
    print(json.dumps({}))


def run(args: argparse.Namespace) -> None:
    """Measure the rule, imports included."""
    begin = time.perf_counter()
    from scbind.analysis.variants import VariantOptions, variant_effects

    folder = args.folder
    samples = {"made": {name: folder / file for name, file in SAMPLE.items()}}
    out = folder / "variants.tsv", folder / "strongest.tsv"
    given = folder / "variants.vcf", samples, folder / "model.safetensors", None, folder / "made"
    variant_effects(*given, *out, VariantOptions(args.min_difference, 0, 2))
    with open(out[0]) as table:
        rows = sum(1 for _ in table) - 1
    print(json.dumps({"seconds": round(time.perf_counter() - begin, 1), "rows": rows}))


def against_truth(args: argparse.Namespace) -> None:
    """Print the effects of variants in the core of bound sites and beside them."""
    import numpy as np
    import pandas as pd
    from common import show
    from scbind.analysis.logits import logit
    from scbind.analysis.typesignal import TypeSignal
    from scbind.formats.genome import Genome
    from scbind.models.predictor import load_predictor
    from sklearn.metrics import roc_auc_score

    results = args.results
    genome = Genome.open(next((results / "reference").iterdir()))
    model = results / "models/scbind"
    predictor = load_predictor(model / "model.safetensors", model / "calibration.json")
    folder = next((results / "cells").glob("*/cells.h5ad")).parent
    sample = {name: folder / file for name, file in SAMPLE.items()}
    signal = TypeSignal.open({"demo": sample}, genome, 10, "truth")
    true_types = name_types(signal.types, sample["cells"], args.truth)
    table = draw(args, genome, true_types, predictor.tfs)
    found = {shift: effects(table, shift, genome, predictor, signal) for shift in SHIFTS}
    own = table["kind"].to_numpy(), np.arange(len(table))
    core, tf = table["core"].to_numpy(), table["tf"].to_numpy()
    ref, alt = found[0]
    size, logit = np.abs(alt - ref), np.abs(logit(alt) - logit(ref))
    elements = pd.read_csv(args.truth / "elements.bed", sep="\t").set_index("name")
    is_open = np.stack(
        [elements[f"open_{name}"].reindex(table["element"]).to_numpy() == 1 for name in true_types]
    )
    rows = []
    for name in [*sorted(set(tf)), "all"]:
        mine = (tf == name) | (name == "all")
        rows.append(
            {
                "TF": name,
                "variants": int(mine.sum()),
                "AUROC": roc_auc_score(core[mine], size[own][mine]),
                "AUROC of logits": roc_auc_score(core[mine], logit[own][mine]),
                "median, core": float(np.median(size[own][mine & core])),
                "median, beside": float(np.median(size[own][mine & ~core])),
                "core, closed": float(np.median(size[:, mine & core][~is_open[:, mine & core]])),
            }
        )
    show(rows)
    each = np.stack([np.abs(found[shift][1] - found[shift][0])[own] for shift in SHIFTS])
    for shift, one in zip(SHIFTS, each, strict=True):
        print(f"window {shift:+} bp: AUROC {roc_auc_score(core, one):.3f}")
    print(f"largest difference of all these windows: AUROC {roc_auc_score(core, each.max(axis=0)):.3f}")
    contributions(args, table[table["core"]], genome, predictor, signal)


def contributions(args: argparse.Namespace, cores, genome, predictor, signal) -> None:
    """Print how well contributions tell the bases of sites of the TF from others, for three sites per TF and type."""
    import numpy as np
    import pandas as pd
    from scbind.analysis.explain import base_effects
    from sklearn.metrics import roc_auc_score

    sites = pd.read_csv(args.truth / "sites.tsv", sep="\t")
    sites = sites[(sites["chrom"] == args.chrom) & (sites["bindable"] == 1)]
    found = []
    for row in cores.groupby(["tf", "kind"]).head(3).itertuples():
        start = row.start - predictor.context // 2
        positions, effects, _ = base_effects(
            predictor, genome, row.chrom, start, signal, signal.types[row.kind], row.tf
        )
        height, place = -effects.sum(axis=1) / 3, start + positions
        mine = sites[sites["tf"] == row.tf]
        inside = (
            (place[:, None] >= mine["start"].to_numpy()) & (place[:, None] < mine["end"].to_numpy())
        ).any(1)
        up = np.maximum(height, 0)
        found.append((roc_auc_score(inside, height), up[inside].sum() / up.sum(), inside.mean()))
    auroc, share, width = np.median(found, axis=0)
    print(f"contributions at {len(found)} bound sites, bases of sites of the TF against others, medians:")
    print(f"AUROC {auroc:.3f}; share of the positive contributions {share:.3f}, on {width:.3f} of the bases")


def name_types(types: list[str], cells: Path, truth: Path) -> list[str]:
    """Return the true type of most cells of each type."""
    import pandas as pd
    from scbind.formats.celltable import read_obs

    obs = read_obs(cells)
    barcode = obs["barcode"] if "barcode" in obs else obs.index
    true = pd.read_csv(truth / "cells.tsv", sep="\t").set_index("barcode")["cell_type"]
    names = true.reindex(barcode).to_numpy()
    return [pd.Series(names[(obs["cell_type"] == name).to_numpy()]).mode()[0] for name in types]


def draw(args: argparse.Namespace, genome, true_types: list[str], tfs: list[str]):
    """Return variants as of `read_variants`, with ``tf, kind`` (index of the type), ``core, element``."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(args.seed)
    sites = pd.read_csv(args.truth / "sites.tsv", sep="\t")
    sites = sites[(sites["chrom"] == args.chrom) & sites["tf"].isin(tfs)]
    index, rows = genome.sizes.index(args.chrom), []
    for tf, mine in sites.groupby("tf"):
        for kind, name in enumerate(true_types):
            bound = mine[mine[f"bound_{name}"] == 1]
            for site in bound.iloc[rng.permutation(len(bound))[: args.sites]].itertuples():
                middle = (site.start + site.end) // 2
                rows.append((tf, kind, True, middle + int(rng.integers(-2, 3)), site.element))
                for _ in range(50):
                    place = middle + int(rng.choice([-1, 1]) * rng.integers(20, 91))
                    if not ((mine["start"] - 3 <= place) & (mine["end"] + 3 > place)).any():
                        rows.append((tf, kind, False, place, site.element))
                        break
    table = pd.DataFrame(rows, columns=["tf", "kind", "core", "start", "element"]).assign(chrom=index)
    codes = np.asarray(genome.codes[genome.sizes.offsets[index] + table["start"].to_numpy()])
    table["ref"] = [BASES[code] for code in codes]
    table["alt"] = [BASES[code] for code in (codes + rng.integers(1, 4, len(codes))) % 4]
    return table


def effects(table, shift: int, genome, predictor, signal):
    """P(bound) of the TF of each variant with REF and ALT, float32 (types, variants) each, in a shifted window."""
    import numpy as np
    from scbind.analysis.alleles import context_starts
    from scbind.formats.variants import codes_of

    start = context_starts(table, predictor.context) + shift
    reference = genome.window_codes(table["chrom"].to_numpy(), start, predictor.context)
    alternative, row = reference.copy(), np.arange(len(table))
    alternative[row, table["start"].to_numpy() - start] = codes_of(table["alt"], 1)[:, 0]
    where = genome.sizes.offsets[table["chrom"].to_numpy()] + start
    counts = signal.counts(where, predictor.context, predictor.bin_bp)
    tf = table["tf"].map(predictor.tfs.index).to_numpy()
    return tuple(
        predictor.probabilities(predictor.readout(codes), counts, signal.depth)[:, row, tf]
        for codes in (reference, alternative)
    )


if __name__ == "__main__":
    main()
