"""Time, memory and size of the report, and the time that a browser needs to open it.

    python benchmarks/report.py FOLDER [--tfs 300 --types 25 --cells 20000 --samples 4 ...] [--no-browser]

The script makes all inputs of the report from a seed, as large as a run with this number of TFs, cell types and cells
makes them: activity and cell tables of each sample, metrics and depths of three models and all baselines, precision
and recall curves, differential TFs between types and between two conditions, populations, 100 target genes for each TF
and type, motifs, peaks per type, model cards. Their numbers are random and mean nothing.

It prints seconds, processor seconds and peak memory of `write_report`, the size of the page, the sizes of its parts
and its number of table rows. With Chromium or Chrome it also prints the seconds from the start of the navigation to the
first contentful paint and to the UMAP, and the seconds from asking until all is drawn: for a TF as soon as the UMAP is
shown, and, once the page has prepared all tables, for five TFs, a cell type and a gene. Each is the median and the
worst of `--rounds` fresh starts.
`--picture` keeps a picture of the page with a TF.
"""

from __future__ import annotations

import base64
import json
import re
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

from processes import measure_page, show_row

MODELS = ["scbind", "scfan", "scbind_small"]
CALIBRATED = {  # figures of calibration: column -> range
    "ece": (0, 0.1), "mean_predicted": (0, 0.05),
    "windows_p10": (0, 900), "predicted_p10": (0.1, 0.4), "observed_p10": (0, 0.5),
    "windows_p30": (0, 300), "predicted_p30": (0.3, 0.7), "observed_p30": (0, 0.8),
}  # fmt: skip
KEEPS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
LONGEST = 120  # seconds that a browser may need
DRAWN = "await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));"
ASK = f"""const begin = performance.now(); await scbindReport.ask(%s); {DRAWN} return performance.now() - begin;"""
FIRST = "ZNF103"  # asked for as soon as the UMAP is shown
ASKED = {
    "a TF": [f"TF:ZNF{number}" for number in (110, 150, 222, 301, 399)],
    "a type": ["cell type:cell type 02"],
    "a gene": ["gene:GENE7"],
}


@dataclass(frozen=True)
class Shape:
    """Size of the inputs."""

    tfs: int = 300
    types: int = 25
    cells: int = 20_000  # in all samples together
    samples: int = 4
    lines: int = 4
    targets: int = 100  # genes per TF and type
    populations: int = 40
    seed: int = 0


def make_inputs(folder: Path, shape: Shape):
    """Write all inputs and return them as ``ReportFiles``."""
    import numpy as np
    import pandas as pd
    from scbind.analysis import differential, enrichment, populations, targets
    from scbind.evaluation.merge import DEPTH_COLUMNS, METRIC_COLUMNS, fragments_needed
    from scbind.evaluation.registry import BASELINES
    from scbind.report.page import ReportFiles

    rng = np.random.default_rng(shape.seed)
    folder.mkdir(parents=True, exist_ok=True)
    tfs = [f"ZNF{number}" for number in 100 + np.arange(shape.tfs)]
    types = [f"cell type {number + 1:02}" for number in range(shape.types)]
    samples = [f"donor_{number + 1}" for number in range(shape.samples)]
    lines = [f"LINE_{number + 1}" for number in range(shape.lines)]
    levels = rng.choice(["high", "medium", "low"], shape.tfs, p=[0.6, 0.3, 0.1])
    var = pd.DataFrame({"level": levels, "abstained": levels == "low", "auprc": rng.random(shape.tfs)}, tfs)
    marks = var[["level", "abstained"]].add_prefix("reliability_").assign(evidence="chip")
    skill = rng.beta(2, 3, shape.tfs)  # what makes a TF easy for all models

    def grid(**columns) -> pd.DataFrame:
        """All combinations of the values of the columns; the last varies fastest."""
        return pd.MultiIndex.from_product(columns.values(), names=columns).to_frame(index=False)

    def save(name: str, table: pd.DataFrame, columns: list[str] | None = None) -> Path:
        table = table if columns is None else table.reindex(columns=columns)
        table.to_csv(
            folder / name, sep="," if name.endswith(".csv") else "\t", index=False, float_format="%.6g"
        )
        return folder / name

    def fill(table: pd.DataFrame, **ranges) -> pd.DataFrame:
        """Add columns of uniform random numbers."""
        return table.assign(**{name: rng.uniform(*limits, len(table)) for name, limits in ranges.items()})

    def scored(table: pd.DataFrame) -> pd.DataFrame:
        """Add an AUPRC that depends on model and TF."""
        easy = table["tf"].map(dict(zip(tfs, skill, strict=True)))
        rank = table["model"].map({name: i for i, name in enumerate([*MODELS, *BASELINES])})
        auprc = np.clip(easy - 0.05 * rank + rng.normal(0, 0.03, len(table)), 0.01, 0.99)
        return table.assign(auprc=auprc, prevalence=0.01 + 0.01 * easy, n_windows=100_000, n_bound=1_500)

    activity, cells, barcodes = [], [], []
    per_sample = shape.cells // shape.samples
    centres, profile = rng.normal(0, 6, (shape.types, 2)), rng.normal(0, 1, (shape.types, shape.tfs))
    for number, sample in enumerate(samples):
        paths = _write_sample(
            folder, sample, number, per_sample, types, centres, profile, var, rng
        )  # fmt: skip
        activity.append(paths[0])
        cells.append(paths[1])
        barcodes += [(sample, name, kind) for name, kind in paths[2].items()]
    groups = [f"P{number + 1}" for number in range(shape.populations)]
    owner = pd.DataFrame(barcodes, columns=["sample", "cell", "population"])
    owner["population"] = [
        groups[(2 * types.index(kind) + rng.integers(2)) % len(groups)] for kind in owner["population"]
    ]

    models = [*MODELS, *BASELINES]
    splits = ["test", "chromosome", "cell_line", "both", "scfan_protocol"]
    metrics = scored(grid(model=models, cell_line=lines, tf=tfs, split=splits))
    metrics = fill(
        metrics,
        auroc=(0.5, 1),
        log2_gain=(0, 6),
        recall_at_fdr10=(0, 1),
        recall_at_fdr50=(0, 1),
        **CALIBRATED,
    )
    depth = scored(grid(model=models, cell_line=lines, tf=tfs, keep=KEEPS))
    depth = fill(
        depth.assign(depth=0.3 * depth["keep"], auprc=depth["auprc"] * depth["keep"] ** 0.1), **CALIBRATED
    )
    tests = grid(contrast=["cell_type"], cell_type=types, group=[""], tf=tfs)
    tests["group"] = tests["cell_type"]
    conditions = grid(contrast=["condition"], cell_type=types, group=["treated"], tf=tfs)
    tests = fill(
        pd.concat([tests, conditions], ignore_index=True), difference=(-3, 3), mean_z=(-3, 3), mean_z_reference=(-3, 3),
        mean_binding=(0, 0.2), mean_binding_reference=(0, 0.2), statistic=(-9, 9),
    )  # fmt: skip
    p = 10.0 ** -rng.uniform(0, 30, len(tests))
    tests = tests.assign(
        reference=tests["contrast"].map({"cell_type": "others", "condition": "control"}), n_cells=800,
        n_cells_reference=19_200, n_replicates=shape.samples, p_value=p, p_adjusted=p,
        effect_size=tests["difference"] / 2, design_effect=1.0, test="pseudobulks of samples",
    )  # fmt: skip
    share = rng.dirichlet(np.ones(shape.populations))
    best = fill(grid(cell_type=types, tf=tfs, rank=1 + np.arange(10)), binding=(0.3, 1))
    place = rng.integers(1, 2 * 10**8, len(best))
    best = best.assign(chrom="chr1", start=place, end=place + 200).join(marks, on="tf")
    np.savez(folder / "matrices.npz", **{f"matrix/{tf}": rng.normal(size=(4, 9)) for tf in tfs})
    found = pd.DataFrame(
        {"population": groups, "n_cells": (share * shape.cells).astype(int), "fraction": share}
    )
    markers = [";".join(f"{tf}:{rng.uniform(0.5, 9):.2f}" for tf in rng.choice(tfs, 10)) for _ in groups]
    found = fill(
        found, stability=(0.3, 1), cell_type_share=(0.3, 1), top_sample_share=(0.2, 1), confidence=(0.6, 1),
        separation=(4, 9), separation_limit=(3, 4), top_donor_share=(0.2, 1), doublet_score=(0, 0.2),
    )  # fmt: skip
    found = found.assign(
        small=share < 0.02, cell_type=rng.choice(types, len(groups)), n_samples=shape.samples, markers=markers,
        markers_within_type=markers, top_sample=samples[0], markers_against_nearest=markers, nearest=groups[0],
        evidence="accessibility and activity", split_from="", n_donors=shape.samples,
        cautions=["probably doublets of A and B", *[""] * (shape.populations - 1)],
    )  # fmt: skip
    links = fill(
        grid(cell_type=types, tf=tfs, rank=1 + np.arange(shape.targets)), potential=(0.5, 9), specificity=(-1, 2),
        top_window_binding=(0, 1),
    )  # fmt: skip
    place = rng.integers(1, 2 * 10**8, len(links))
    links = links.assign(
        gene=rng.choice([f"GENE{i}" for i in range(20_000)], len(links)), chrom="chr1", tss=place, strand="+",
        top_window_start=place - 500, top_window_distance=-400,
    ).join(marks, on="tf")  # fmt: skip
    body = rng.integers(2 * 10**5, 2 * 10**8, 20_000)
    genes = pd.DataFrame({"chrom": "chr1", "start": body, "end": body + rng.integers(500, 10**5, len(body))})
    genes = genes.assign(
        name=[f"GENE{i}" for i in range(len(body))], score=0, strand=rng.choice(["+", "-"], len(body))
    )
    genes.to_csv(folder / "genes.bed", sep="\t", index=False, header=False)
    (folder / "chrom.sizes").write_text("chr1\t248956422\n")
    linked = fill(
        links.sample(min(len(links), 40_000), random_state=shape.seed)[["cell_type", "tf", "gene"]],
        probability=(0.5, 1), fdr=(0, 0.1), potential=(0.5, 9), tf_active=(0.5, 1), association=(-1, 1), p_value=(0, 1),
    )  # fmt: skip
    far = rng.integers(-(10**5), 10**5, (len(linked), 3))
    of_gene = genes.set_index("name").loc[linked["gene"]]
    plus = (of_gene["strand"] == "+").to_numpy()
    tss = np.where(plus, of_gene["start"], of_gene["end"] - 1)[:, None]
    place = tss + np.where(plus[:, None], far, -far) - 250
    linked = linked.assign(
        sign=rng.integers(-1, 2, len(linked)), compared_with="accessibility", n_sites=rng.integers(1, 9, len(linked)),
        place=rng.choice(["promoter", "distal"], len(linked)), p_adjusted=1.0,
        sites=[",".join(f"chr1:{start}-{start + 500}" for start in row) for row in place],
        distances=[",".join(map(str, row)) for row in far],
    ).join(marks, on="tf")  # fmt: skip
    sites = fill(
        grid(cell_type=types, tf=tfs, rank=1 + np.arange(6)), sites_with_motif=(0, 1), background_with_motif=(0, 1),
        odds_ratio=(0.5, 30), min_binding=(0.3, 1), gc_sites=(0.4, 0.6), gc_background=(0.4, 0.6),
    )  # fmt: skip
    p = 10.0 ** -rng.uniform(0, 30, len(sites))
    sites = sites.assign(
        motif=sites["tf"].where(sites["rank"] == 1, "OTHER"), motif_id="MA0001.1", own=sites["rank"] == 1,
        n_motifs=shape.tfs, n_sites=200, n_background=200, p_value=p, p_adjusted=p, threshold=8.0,
    ).join(marks, on="tf")  # fmt: skip

    recall = np.linspace(0, 1, 101)
    curves, training, cards = {}, {}, []
    for name in models:
        curves[name] = folder / f"{name}.npz"
        power = rng.uniform(0.3, 4, (shape.tfs, 1))
        np.savez(
            curves[name], tfs=np.array(tfs), recall=recall, precision=1 - 0.99 * recall**power,
            prevalence=np.full(shape.tfs, 0.01), calibration_predicted=recall[5::10],
            calibration_observed=recall[5::10], calibration_count=np.full(10, 1e4),
        )  # fmt: skip
    for name in MODELS:
        epochs = fill(
            pd.DataFrame({"epoch": range(60)}), train_loss=(0, 1), valid_loss=(0, 1), valid_auprc=(0, 1)
        )
        training[name] = save(f"{name}.training.csv", epochs)
        cards.append(folder / name / "card.md")
        cards[-1].parent.mkdir(exist_ok=True)
        cards[-1].write_text("".join(f"| {tf} | high | 0.01 | 0.5 | 0.6 |\n" for tf in tfs))
    peaks = {}
    for number, name in enumerate(types):
        peaks[name] = folder / f"peaks.{number}.json"
        peaks[name].write_text(
            json.dumps({"source": "cell type", "reason": "", "n_cells": 800, "n_peaks": 60_000})
        )
    np.savez(folder / "windows.npz", start=np.zeros(300_000, dtype=np.int32), window=200)
    np.savez(folder / "found.npz", **{f"matrix/{tf}": rng.normal(size=(4, 15)) for tf in tfs})
    letters = np.array(list("ACGTacgt."))
    found_motifs = fill(
        grid(tf=tfs, number=[1, 2, 3]), auprc=(0, 1), prevalence=(0.2, 0.3), nearest_p_adjusted=(0, 0.05),
        own_p_adjusted=(0, 1),
    )  # fmt: skip
    found_motifs = found_motifs.assign(
        motif=[f"found:{tf}.{n}" for tf, n in zip(found_motifs["tf"], found_motifs.pop("number"), strict=True)],
        consensus=["".join(row) for row in letters[rng.integers(9, size=(len(found_motifs), 15))]],
        width=15, n_sites=200, n_bound=400, starts_found=1, starts_known=0,
        nearest_known=[f"MA0001.1:{tf}" for tf in rng.choice(tfs, len(found_motifs))],
    )  # fmt: skip
    return ReportFiles(
        activity=activity,
        cells=cells,
        lenders=cells,
        windows=folder / "windows.npz",
        tables={
            "metrics": save("metrics.tsv", metrics, METRIC_COLUMNS),
            "depth": save("depth.tsv", depth, DEPTH_COLUMNS),
            "needed": save("needed.tsv", fragments_needed(depth, 3_000_000_000)),
            "differential": save("differential.tsv", tests[differential.COLUMNS].join(marks, on="tf")),
            "populations": save("populations.tsv", found, populations.COLUMNS),
            "population_cells": save("population_cells.tsv", owner),
            "targets": save("targets.tsv", links, targets.COLUMNS),
            "links": save("links.tsv", linked),
            "motifs": save("motifs.tsv", sites, enrichment.COLUMNS),
            "sites": save("best_sites.tsv", best, enrichment.SITE_COLUMNS),
            "found": save("found.tsv", found_motifs),
        },
        curves=curves,
        training=training,
        models=MODELS,
        peaks=peaks,
        provenance=cards,
        matrices=folder / "matrices.npz",
        found_matrices=folder / "found.npz",
        target=20_000,
        genes=folder / "genes.bed",
        sizes=folder / "chrom.sizes",
    )


def _write_sample(
    folder: Path, sample: str, seed: int, n: int, types, centres, profile, var, rng
) -> tuple[Path, Path]:
    """Write the activity and the cells of a sample."""
    import anndata
    import numpy as np
    import pandas as pd
    import scipy.sparse as sp

    kind = rng.integers(0, len(types), n)
    obs = pd.DataFrame(
        {"sample": sample, "cell_type": np.array(types)[kind]}, [f"{sample}#{i}" for i in range(n)]
    )
    obs = obs.assign(
        n_fragments=rng.lognormal(8.5, 0.6, n).astype(int), tss_enrichment=rng.gamma(9, 1, n),
        frac_in_peaks=rng.beta(5, 5, n), nucleosome_signal=rng.gamma(4, 0.2, n), frac_duplicates=rng.beta(4, 6, n),
        doublet_score=rng.beta(2, 20, n), reason="",
    )  # fmt: skip
    obs["pass"], obs["condition"] = True, "treated" if seed % 2 else "control"
    z = (profile[kind] + rng.normal(size=(n, len(var)))).astype(np.float32)
    shallow = rng.random(z.shape) < 0.03
    layers = {
        "mean_binding": np.abs(z) / 50,
        "scfan_score": z,
        "abstained": shallow | var["abstained"].to_numpy(),
    }
    place = centres[kind] + rng.normal(size=(n, 2))
    paths = folder / f"{sample}.h5ad", folder / f"{sample}.cells.h5ad"
    anndata.AnnData(z, obs=obs, var=var, layers=layers, obsm={"X_umap": place}).write_h5ad(paths[0])
    failed = obs.head(n // 10).assign(reason="n_fragments 512 < 1000", **{"pass": False})
    failed.index = "failed" + failed.index
    every = pd.concat([obs, failed])
    rows = np.repeat(np.arange(n), 24)
    borrow = sp.csr_matrix(
        (np.full(len(rows), 0.5), (rows, rng.integers(0, n, len(rows)))), shape=(len(every), len(every))
    )
    anndata.AnnData(obs=every, obsp={"borrow": borrow}).write_h5ad(paths[1])
    return *paths, obs["cell_type"].to_dict()


def write(folder: Path, files) -> None:
    """Write the report of inputs that were made before."""
    from scbind.report.page import write_report

    write_report(folder / "report.html", files, folder / "figures", folder / "warnings.tsv")


def parts(page: str) -> dict[str, float]:
    """Number of table rows and figures of a page, and MB of the page and of its parts."""
    figures = re.findall(r"data:image/png;base64,([^\"]+)", page)
    packs = re.findall(r'id="(pack|table)-[^"]*">([^<]*)<', page)
    return {
        "rows": page.count("<tr>"),
        "figures": len(figures),
        "page, MB": len(page.encode()) / 1e6,
        "figures, MB": sum(map(len, figures)) / 1e6,
        "tables, MB": sum(len(text) for kind, text in packs if kind == "table") / 1e6,
        "cells and TFs, MB": sum(len(text) for kind, text in packs if kind == "pack") / 1e6,
        "tallest figure, px": max(int.from_bytes(base64.b64decode(figure[:64])[20:24]) for figure in figures),
    }


def opened(path: Path, picture: Path | None = None) -> dict[str, list[float]]:
    """Open a page in a fresh browser and ask for ``ASKED``. Returns seconds of each."""
    from browser import Page  # measure_page has found its folder

    with Page(path, wait=LONGEST) as page:

        def until(condition: str) -> None:
            page.run(f"while (!({condition})) await new Promise((done) => setTimeout(done, 1));")

        until("document.documentElement.dataset.ready")
        first = page.run(ASK % json.dumps(f"TF:{FIRST}"))
        until("document.documentElement.dataset.still")
        found = page.run(
            "return {paint: performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0, "
            "UMAP: Number(document.documentElement.dataset.ready)}"
        )
        found = {name: [value] for name, value in found.items()} | {"a TF at once": [first]}
        for label, things in ASKED.items():
            found[label] = [page.run(ASK % json.dumps(thing)) for thing in things]
        if picture is not None:
            page.run(f"await scbindReport.ask('TF:{FIRST}')")
            page.picture(picture)
        if problems := page.problems():
            sys.exit(f"the page has problems: {problems[:3]}")
    return {label: [value / 1e3 for value in values] for label, values in found.items()}


def main() -> None:
    """Make the inputs and the report, open it and print."""
    args, found = measure_page(__doc__, Shape, make_inputs, write, threads=2)
    path = args.folder / "report.html"
    found |= parts(path.read_text())
    if not args.no_browser:
        rounds = [opened(path, args.picture if number == 0 else None) for number in range(args.rounds)]
        for name in rounds[0]:
            values = [value for each in rounds for value in each[name]]
            found |= {f"{name}, s": statistics.median(values), f"{name}, worst, s": max(values)}
    show_row(found)


if __name__ == "__main__":
    main()
