"""Find populations in simulated cohorts with known truth: the smallest that are found, and what is found in none.

    python benchmarks/populations.py FOLDER [--seeds 1 2 3] [--shares 0.01 0.005 0.02 0.05] [--cells 2000]
                                            [--power] [--depths] [--known]

Each case is a cohort of six donors (`scbind.demo.simulate_cohort`): with a stem-like population of a given share,
or without any population or effect (`null`). Peaks are the true elements, and activity is left out: only
accessibility proposes and decides. The script prints recall, precision and F1 of the population that matches the
stem-like cells best, p of its abundance, and the populations that are neither it nor one of the five types.
Finished cases are kept in FOLDER, so a run goes on where it was stopped. `--power` prints how often the test of
abundance finds a population that is three times as frequent in one condition, from simulated counts, and how often
it finds one that does not differ. `--depths` prints how many populations too many there are in cells whose depths vary.
`--known` does not look for populations. It prints the F1 of the stem-like cells by a classifier that knows the truth of
all other cells, for each share and seed: with these cells, hardly more is possible.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from common import show
from scbind.analysis.abundance import compare
from scbind.analysis.tree import Options, Part, divide, undivided
from scbind.demo.atlas import SHARE
from scbind.demo.cohort import NULL, RESPONDER, RESPONSE, STEM, Cohort
from scbind.demo.cohortscore import best_population
from scbind.demo.simulate_cohort import simulate_cohort
from scipy import sparse, stats
from scipy.optimize import brentq

SHOWN = (
    "cells", "share", "seed", "n_stem", "recall", "precision", "f1", "stability", "p_abundance", "extra", "seconds",
)  # fmt: skip
WIDTH = 500  # bp around the middle of an element
FOLD, DRAWS = 3, 400
PER_DONOR = ((333,), (1000,), (3000,), (10_000, 2000, 500))  # repeated for the donors of either side
CONCENTRATION = 600  # of the beta distribution of a donor's share: it varies by 40 % around 1 %


def open_elements(folder: Path, cells: pd.DataFrame) -> sparse.csr_matrix:
    """Read which true elements are open in which cells: csr float32 of ones, (cells, elements)."""
    elements = pd.read_csv(folder / "truth/elements.bed", sep="\t").rename(columns={"#chrom": "chrom"})
    middle = (elements["start"] + elements["end"]) // 2
    rows, columns = [], []
    for sample, here in cells.groupby("sample"):
        names = ["chrom", "start", "end", "barcode", "reads"]
        table = pd.read_csv(folder / f"sc/{sample}.fragments.tsv.gz", sep="\t", names=names)
        row = pd.Series(here.index, index=here["barcode"]).reindex(table["barcode"]).to_numpy()
        for end in (table["start"].to_numpy(), table["end"].to_numpy() - 1):
            for chrom, which in elements.groupby("chrom").indices.items():
                which = which[np.argsort(middle.to_numpy()[which])]
                mine = np.flatnonzero((table["chrom"] == chrom).to_numpy() & np.isfinite(row))
                place = middle.to_numpy()[which]
                near = np.clip(np.searchsorted(place, end[mine] - WIDTH // 2), 0, len(place) - 1)
                inside = np.abs(place[near] - end[mine]) <= WIDTH // 2
                rows.append(row[mine][inside].astype(int))
                columns.append(which[near[inside]])
    pairs = np.concatenate(rows), np.concatenate(columns)
    matrix = sparse.coo_matrix((np.ones(len(pairs[0])), pairs), shape=(len(cells), len(elements))).tocsr()
    matrix.data[:] = 1
    return matrix.astype(np.float32)


def simulated(cohort: Cohort, seed: int) -> tuple[pd.DataFrame, sparse.csr_matrix, sparse.csr_matrix]:
    """Simulate a cohort: its cells; the elements in which each has insertions, and those that are truly open in it.

    Both are csr (cells, elements).
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        simulate_cohort(folder, cohort, cell_seed=seed)
        cells = pd.read_csv(folder / "truth/cells.tsv", sep="\t", keep_default_na=False)
        cells = cells[cells["is_cell"] == 1].reset_index(drop=True)
        return cells, open_elements(folder, cells), sparse.load_npz(folder / "truth/open.npz")


def measure(cohort: Cohort, seed: int) -> dict:
    """Simulate a cohort and find its populations."""
    cells, matrix, _ = simulated(cohort, seed)
    begin = time.time()
    found = populations_of(matrix, cells["sample"].to_numpy())
    return judge(found, cells) | {"seconds": round(time.time() - begin)}


def populations_of(matrix: sparse.csr_matrix, donor: np.ndarray) -> list[Part]:
    """Return the populations of cells, from their open peaks alone."""
    n = len(donor)
    options = Options(max(5, n // 200), (0.3, 1.0, 3.0), 15, 10, 5, 3, 0.6, 0)
    tree = divide(matrix, np.zeros((n, 0)), donor, options)
    return [tree[number] for number in undivided(tree)]


def judge(leaves: list, cells: pd.DataFrame) -> dict:
    """Compare populations with the truth. ``extra`` describes those that are neither a type nor the stem-like one."""
    owner = np.full(len(cells), -1)
    for number, part in enumerate(leaves):
        owner[part.rows] = number
    found = {"n_populations": len(leaves), "n_stem": int((cells["state"] == STEM).sum())}
    members = pd.Series(owner, index=cells.index)
    known = {best_population(members, cells["cell_type"] == name)["population"] for name in SHARE}
    if found["n_stem"]:
        match = best_population(members, cells["state"] == STEM)
        best = match["population"]
        known |= {best}
        found |= {name: match[name] for name in ("recall", "precision", "f1")}
        found |= {"stability": leaves[best].stability, "p_abundance": p_of(owner == best, cells)}
    extra = [number for number in range(len(leaves)) if number not in known]
    found["extra"] = "; ".join(describe(leaves[number], cells) for number in extra)
    found["p_types"] = [p_of((cells["cell_type"] == name).to_numpy(), cells) for name in SHARE]
    return {name: float(v) if isinstance(v, np.floating) else v for name, v in found.items()}


def classified(cohort: Cohort, seed: int) -> dict:
    """Classify the cells of a cohort by the true states and open elements of the other cells: F1 of the stem-like ones.

    In a cell, elements are seen open at one rate if they are truly open in it, and at another if not. P(open) of an
    element in a state is the fraction of the other cells of the state in which it is truly open. The prior of a state
    is its fraction of the cells.
    """
    cells, matrix, truly = simulated(cohort, seed)
    seen, is_open = matrix.toarray() > 0, truly.toarray().astype(bool)
    seen_if = {
        value: (seen & (is_open == value)).sum(axis=1) / (is_open == value).sum(axis=1) for value in (0, 1)
    }
    state = cells["state"].to_numpy()
    score = {}
    for kind in np.unique(state):
        own = (state == kind)[:, None]
        times = is_open[own[:, 0]].sum(axis=0) - own * is_open
        share = (times + 0.5 * is_open.mean(axis=0)) / (own.sum() - own + 0.5)
        chance = share * seen_if[1][:, None] + (1 - share) * seen_if[0][:, None]
        chance = np.clip(chance, 1e-6, 1 - 1e-6)
        score[kind] = np.log(np.where(seen, chance, 1 - chance)).sum(axis=1) + np.log(own.mean())
    called, true = pd.DataFrame(score).idxmax(axis=1).to_numpy() == STEM, state == STEM
    f1 = 2 * (called & true).sum() / max(1, called.sum() + true.sum())
    return {"n_stem": int(true.sum()), "recall": float((called & true).sum() / true.sum()), "f1": float(f1)}


def p_of(inside: np.ndarray, cells: pd.DataFrame) -> float:
    """Return p of the abundance of cells, bool (cells,), between the conditions."""
    of_donor = pd.DataFrame({"k": inside, "side": cells["condition"] == "disease"}).groupby(cells["sample"])
    counts = of_donor.agg(k=("k", "sum"), n=("k", "size"), side=("side", "first"))
    return compare(counts["k"].to_numpy(), counts["n"].to_numpy(), counts["side"].to_numpy())["p_value"]


def describe(part, cells: pd.DataFrame) -> str:
    """Return the size, the commonest state and the share of doublets of a population."""
    here = cells.iloc[part.rows]
    top = here["state"].replace(RESPONSE, RESPONDER).value_counts()
    doublets = (here["doublet_of"] != "").mean()
    return f"{len(here)} cells, {top.index[0]} {top.iloc[0] / len(here):.2f}, doublets {doublets:.2f}"


def power() -> list[dict]:
    """Return how often abundance is found at p < 0.05: without a difference (``found_null``) and with ``FOLD``."""
    random, rows = np.random.default_rng(0), []
    for donors, cells, share in product((3, 5, 10), PER_DONOR, (0.01, 0.05)):
        inside, n = np.arange(2 * donors) >= donors, np.tile(np.resize(cells, donors), 2)
        low = 2 * share / (1 + FOLD)
        p = {}
        for fold, mean in ((1, np.full(2 * donors, share)), (FOLD, np.where(inside, low * FOLD, low))):
            own = random.beta(mean * CONCENTRATION, (1 - mean) * CONCENTRATION, (DRAWS, 2 * donors))
            p[fold] = np.array([compare(k, n, inside)["p_value"] for k in random.binomial(n, own)])
        row = {"donors": f"{donors}+{donors}", "cells_per_donor": ", ".join(map(str, cells)), "share": share}
        found = {"found_null": np.mean(p[1] < 0.05), "ks_p_null": stats.kstest(p[1], "uniform").pvalue}
        rows.append(row | found | {f"found_fold_{FOLD}": np.mean(p[FOLD] < 0.05)})
    return rows


def cells_of_depths(seed: int, n: int, types: int, depth_sd: float, open_share: float) -> tuple:
    """Simulate open peaks of types whose cells differ in depth: csr float32 (cells, 2,000), and their three donors."""
    random, peaks = np.random.default_rng(seed), 2000
    kind, donor = random.integers(0, types, n), random.integers(0, 3, n)
    profile = np.tile(random.lognormal(0, 1, peaks), (types, 1))
    for number in range(types if types > 1 else 0):
        profile[number, random.permutation(peaks)[: peaks // 12]] *= 5
    rate = profile[kind] * random.lognormal(0, 0.3, (3, peaks))[donor] * random.lognormal(0, depth_sd, (n, 1))
    scale = brentq(lambda log: -np.expm1(-rate * np.exp(log)).mean() - open_share, -15, 15)
    chance = -np.expm1(-rate * np.exp(scale))
    return sparse.csr_matrix((random.random(chance.shape) < chance).astype(np.float32)), donor.astype(str)


def depths(seeds: list[int]) -> list[dict]:
    """Return the number of populations too many in cells of one and three types, and the rank of their depths."""
    rows = []
    for seed, (types, n), share, sd in product(
        seeds, ((1, 1000), (3, 1500)), (0.05, 0.15, 0.33), (0.4, 0.8, 1.0)
    ):
        matrix, donor = cells_of_depths(seed, n, types, sd, share)
        leaves = populations_of(matrix, donor)
        rank = stats.rankdata(matrix.sum(axis=1)) / n
        deep = "; ".join(f"{rank[part.rows].mean():.2f} ({len(part.rows)} cells)" for part in leaves)
        row = {"types": types, "open": share, "depth_sd": sd, "seed": seed, "too_many": len(leaves) - types}
        rows.append(row | {"mean_rank_of_depth": deep})
    return rows


def main() -> None:
    """Run the cases that are not in the folder yet, and print all."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("folder", type=Path)
    made.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    made.add_argument("--shares", type=float, nargs="*", default=[0.01, 0.005, 0.02, 0.05])
    made.add_argument("--cells", type=int, nargs="+", default=[2000])
    made.add_argument("--power", action="store_true")
    made.add_argument("--depths", action="store_true")
    made.add_argument("--known", action="store_true")
    args = made.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    cases = [(n, share, seed) for n in args.cells for share in (*args.shares, 0.0) for seed in args.seeds]
    if args.known:
        show(
            [
                {
                    "cells": n,
                    "share": share,
                    "seed": seed,
                    **classified(Cohort(n_cells=n, stem_share=share), seed),
                }
                for n, share, seed in cases
                if share
            ]
        )
        return
    cases.sort(key=lambda case: (case[0], case[1] not in (0.01, 0.0), case[2]))
    rows = []
    for n, share, seed in cases:
        path = args.folder / f"{n}_{share:g}_{seed}.json"
        if not path.is_file():
            cohort = Cohort(n_cells=n, **NULL) if share == 0 else Cohort(n_cells=n, stem_share=share)
            path.write_text(json.dumps(measure(cohort, seed)))
        rows.append({"cells": n, "share": share or "null", "seed": seed, **json.loads(path.read_text())})
        print(rows[-1], flush=True)
    show([{name: row.get(name, "") for name in SHOWN} for row in rows])
    p = [value for row in rows if row["share"] == "null" for value in row["p_types"]]
    if p:
        print(
            f"abundance of types without an effect: {len(p)} p-values, KS p = {stats.kstest(p, 'uniform').pvalue:.2f}"
        )
    if args.power:
        show(power())
    if args.depths:
        show(depths(args.seeds))


if __name__ == "__main__":
    main()
