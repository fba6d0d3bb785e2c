"""P-values where nothing differs: TFs, sites and abundance between the conditions of simulated cohorts without effects.

    python benchmarks/nulls.py RESULTS [RESULTS ...]

Each RESULTS is of a run of the cohort (`make demo-cohort`) with these settings besides, and another cell_seed:

    cohort: {cell_seed: 21, response: false, stem_share: 0, clone_share: 0, path_share: 0}
    analysis: {sites: {fdr: 1, min_difference: 0, max_sites: 100000}}

The script prints the number of p-values, which fraction of them is below 0.05 and 0.01, how many rows have an adjusted
p below 0.05, and p of a Kolmogorov-Smirnov test that the p-values are uniform. The TFs of a type share their cells, and
the windows of a TF its donors, so p-values are not independent: `ks_one` is the test on one random row per type.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from common import show
from scipy import stats

TABLES = {
    "TFs": "differential_tfs",
    "sites": "differential_sites",
    "abundance": "abundance",
}  # kind -> name of its table


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
    args = made.parse_args()
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
