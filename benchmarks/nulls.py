"""P-values where nothing differs: TFs, sites and abundance between the conditions of simulated cohorts without effects.

    python benchmarks/nulls.py RESULTS [RESULTS ...] [--deal]

Each RESULTS is of a run of the cohort (`make demo-cohort`) with these settings besides, and another cell_seed:

    cohort: {cell_seed: 21, response: false, stem_share: 0, clone_share: 0, path_share: 0}
    analysis: {sites: {fdr: 1, min_difference: 0, max_sites: 100000}}

The script prints the number of p-values, which fraction of them is below 0.05 and 0.01, how many rows have an adjusted
p below 0.05, and p of a Kolmogorov-Smirnov test that the p-values are uniform. The TFs of a type share their cells, and
the windows of a TF its donors, so p-values are not independent: `ks_one` is the test on one random row per type.

`--deal` tests sites between donors that have different numbers of cells, in any run: the cells of the commonest type
of the first RESULTS are dealt at random to simulated donors, so nothing differs. In 100 random windows, P(bound) is
then changed by 0.1; `found` is the fraction of these that is listed. Columns are means over draws and TFs; `listed`
counts windows, with the default thresholds, before the change.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from common import show
from scbind.analysis.sites import _compare
from scbind.binding.store import open_binding
from scipy import stats

TABLES = {
    "TFs": "differential_tfs",
    "sites": "differential_sites",
    "abundance": "abundance",
}  # kind -> name of its table

DESIGNS = (  # cells per donor on either side
    ([30] * 3, [30] * 3), ([30] * 6, [30] * 7), ([6] * 3, [40] * 10), ([10] * 3, [60] * 6), ([6] * 3, [100] * 4),
    ([6] * 4, [25] * 12), ([8] * 3, [100] * 3), ([40] * 3, [6] * 10), ([6, 20, 100], [100, 20, 6]),
)  # fmt: skip
DRAWS, TFS, PLANTED = 10, 4, 100


def deal(results: Path) -> list[dict]:
    """Return how sites are found between simulated donors, one row per design."""
    stores, random, rows = (
        [open_binding(path) for path in sorted((results / "binding").glob("*.zarr"))],
        np.random.default_rng(0),
        [],
    )
    types = pd.concat([store.obs["cell_type"].astype(object) for store in stores])
    cells = np.flatnonzero((types == types.value_counts().index[0]).to_numpy())
    known = stores[0].reliability
    tfs = [tf for tf in stores[0].tfs if not known[tf]["abstained"]][:TFS]
    for ours, theirs in DESIGNS:
        n, found = np.array(ours + theirs), []
        for tf in tfs * DRAWS:
            donor = np.full(len(types), -1)
            donor[random.permutation(cells)[: n.sum()]] = np.repeat(np.arange(len(n)), n)
            parts = np.split(donor, np.cumsum([len(store.obs) for store in stores])[:-1])
            sums = sum(store.sums(tf, part, len(n)) for store, part in zip(stores, parts, strict=True))
            found.append(_found((sums / n[:, None]).astype(np.float32), n, len(ours), random))
        rows.append({"cells of donors": _named(ours), "cells of the others": _named(theirs)})
        rows[-1] |= pd.DataFrame(found).mean().round(4).to_dict()
    return rows


def _found(means: np.ndarray, n: np.ndarray, first: int, random: np.random.Generator) -> dict:
    """Test means (donors, windows) between the ``first`` donors and the others: as they are, and with a difference."""

    def tested() -> tuple[pd.DataFrame, pd.Series]:
        table = _compare(means[:first], means[first:], False, 0.05, n[:first], n[first:])
        return table, (table["p_adjusted"] < 0.05) & (table["difference"].abs() >= 0.05)

    table, listed = tested()
    p_value = table["p_value"]
    row = {
        "below_0.05": (p_value < 0.05).mean(),
        "below_0.001": (p_value < 0.001).mean(),
        "listed": listed.sum(),
    }
    planted = random.permutation(table["window"].to_numpy())[:PLANTED]
    means[:first, planted] += 0.1 * np.sign(0.5 - means[:first, planted].mean(axis=0))
    table, listed = tested()
    return row | {"found": table["window"][listed].isin(planted).sum() / PLANTED}


def _named(cells: list[int]) -> str:
    return f"{len(cells)} x {cells[0]}" if len(set(cells)) == 1 else ", ".join(map(str, cells))


def condition_rows(path: Path) -> pd.DataFrame:
    """Read the rows of a table that compare conditions and have a p-value."""
    table = pd.read_csv(path, sep="\t")
    if "contrast" in table:
        table = table[table["contrast"] == "condition"]
    return table.dropna(subset=["p_value"])


def summary(kind: str, run: str, table: pd.DataFrame, random: np.random.Generator) -> dict:
    """Return one row of the table that is printed."""
    p_value = table["p_value"]
    shuffled = table.iloc[random.permutation(len(table))]
    one = shuffled.drop_duplicates([name for name in ("run", "cell_type", "kind", "name") if name in table])
    return {
        "p-values of": kind,
        "run": run,
        "n": len(table),
        "below_0.05": (p_value < 0.05).mean(),
        "below_0.01": (p_value < 0.01).mean(),
        "adjusted_below_0.05": int((table["p_adjusted"] < 0.05).sum()),
        "ks_p": ks_p(p_value),
        "ks_one": ks_p(one["p_value"]),
    }


def ks_p(p_values: pd.Series) -> float:
    """Return p of a Kolmogorov-Smirnov test that the values are uniform; NaN without values."""
    return stats.kstest(p_values, "uniform").pvalue if len(p_values) else np.nan


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("results", type=Path, nargs="+")
    made.add_argument("--deal", action="store_true")
    args = made.parse_args()
    if args.deal:
        show(deal(args.results[0]))
        return
    rows, random = [], np.random.default_rng(0)
    for kind, name in TABLES.items():
        found = []
        for number, results in enumerate(args.results, 1):
            table = condition_rows(results / "analysis" / f"{name}.tsv").assign(run=number)
            found.append(table)
            rows.append(summary(kind, str(number), table, random))
        rows.append(summary(kind, "all", pd.concat(found), random))
    show(rows)


if __name__ == "__main__":
    main()
