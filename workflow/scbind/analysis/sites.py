"""Windows whose predicted binding differs between cell types, or between conditions within a type, per TF.

Each donor (or sample) gives one mean per type and window, so cells are not replicates. Binding is compared between
donors by moderated t-tests (:mod:`scbind.analysis.moderated`). A mean of few cells varies more than one of many, which
the comparison of different donors takes into account. The binding stores are read one TF at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import optimize

from scbind.analysis.activitytable import Sides, compared_conditions, matched, replicates, say_left_out
from scbind.analysis.adjustment import adjust
from scbind.analysis.differential import ABSTAINED
from scbind.analysis.moderated import LEAST, moderated_t
from scbind.analysis.typemeans import TypeMeans
from scbind.core.files import write_bed, write_table
from scbind.core.progress import Progress
from scbind.core.runlog import say
from scbind.formats.evidence import MOTIF, marked
from scbind.formats.genome import ChromSizes

MIN_CELLS = 5  # of a donor, on a side
MOST_WINDOWS = 5_000  # that the variance of donors is estimated from
PAIRED = "paired moderated t-test over replicates"
TWO = "moderated t-test over replicates"
OTHERS = f"{TWO}, without those in both groups"
NOT = "not tested: {}"  # the reason
PLACE = ["contrast", "cell_type", "group", "reference", "tf"]
COLUMNS = [
    *PLACE, "chrom", "start", "end", "binding", "binding_reference", "difference", "statistic", "p_value",
    "p_adjusted", "evidence",
]  # fmt: skip
COUNTS = [*PLACE, "n_replicates", "n_windows", "n_more", "n_less", "n_listed", "test", "evidence"]


def differential_sites(
    zarrs: list[str | Path],
    cells: list[str | Path],
    windows: str | Path,
    sizes: str | Path,
    output: str | Path,
    counts: str | Path,
    bed: str | Path,
    min_cells: int = 20,
    min_binding: float = 0.05,
    min_difference: float = 0.05,
    fdr: float = 0.05,
    max_sites: int = 1000,
) -> None:
    """Compare the binding of each TF in each window between types and between conditions.

    Parameters
    ----------
    zarrs, cells
        ``results/binding/{sample}.zarr`` and ``results/cells/{sample}/cells.h5ad``, in the same order.
    windows, sizes
        ``results/binding/windows.npz``, and ``chrom.sizes`` of the genome.
    output, counts, bed
        Table of the windows that differ; table of how many do, with every comparison; the same windows as BED6 (0-based
        half-open), score 1000 times the absolute difference. Columns in ``docs/reference/outputs.md``.
    min_cells
        Types with fewer cells are left out and named in the log.
    min_binding
        Windows are tested if their mean P(bound) over all replicates of both sides is at least this.
    min_difference, fdr
        Listed are windows with a difference of at least ``min_difference`` and an adjusted p below ``fdr``
        (Benjamini-Hochberg over the windows of one TF and comparison).
    max_sites
        At most this many windows of a TF and comparison are listed: those with the largest differences.

    Raises
    ------
    InputError
        If the stores, cells and windows do not belong together.

    Notes
    -----
    Means of donors are compared: in pairs if three or more donors have cells in both groups (as a rule for types, and
    for conditions if each donor was measured in several), otherwise those that are on one side alone, with three or
    more a side. A donor counts on a side with five or more cells that are deep enough for the TF. If different donors
    are compared and do not have the same number of cells, p is the larger of two: all donors have the same weight, or
    each has the inverse of its variance, c + (1 - c) / cells (:func:`_relative_variance`). The first alone is too small
    if the donors with few cells are on the side with fewer donors; the second, if c is estimated too low. Memory: 4
    bytes per donor, type and window, and about 100 per donor and window in which some donor has binding.
    """
    means = TypeMeans.open(zarrs, cells, windows, min_cells, "differential sites")
    donors = _Donors(means)
    names, index = np.asarray(ChromSizes.read(sizes).names, dtype=object), means.windows
    rows, tallies, told = [], [], set()
    silent, kind = set(means.marks.index[means.marks["reliability_abstained"]]), means.marks["evidence"]
    progress = Progress("TFs", len(means.tfs))
    for done, tf in enumerate(means.tfs):
        progress.reached(done)
        total, number = donors.nothing() if tf in silent else donors.sums(tf)
        near = _may_be_tested(total, number, min_binding)
        total = total[:, near]
        for place, sides, cells_of in donors.comparisons(total, number):
            tally = place | {"tf": tf, "evidence": kind[tf]}
            if tf in silent or isinstance(sides, str):
                tallies.append(tally | {"test": ABSTAINED if tf in silent else NOT.format(sides)})
                continue
            compared = tuple(place[name] for name in PLACE[1:4])
            if sides.left_out and compared not in told:
                told.add(compared)
                say_left_out("differential sites", *compared)
            means_of = [side.to_numpy() for side in (sides.ours, sides.theirs)]
            n_cells = [
                n[side.index].to_numpy() for n, side in zip(cells_of, (sides.ours, sides.theirs), strict=True)
            ]
            table = _compare(*means_of, sides.paired, min_binding, *n_cells)
            good = table[(table["p_adjusted"] < fdr) & (table["difference"].abs() >= min_difference)]
            listed = good.loc[
                good["difference"].abs().sort_values(ascending=False, kind="stable").index[:max_sites]
            ]
            more = int((good["difference"] > 0).sum())
            tally |= {"n_replicates": sides.n_replicates, "n_windows": len(table)}
            tally |= {"n_more": more, "n_less": len(good) - more, "n_listed": len(listed)}
            tallies.append(tally | {"test": PAIRED if sides.paired else OTHERS if sides.left_out else TWO})
            rows.append(listed.assign(**place, tf=tf, evidence=kind[tf], window=near[listed["window"]]))
    table = pd.concat(rows) if rows else pd.DataFrame(columns=[*COLUMNS, "window"])
    place = table.pop("window").to_numpy(dtype=np.int64)
    table = table.assign(chrom=names[index.chrom[place]], start=index.start[place], end=index.end[place])
    table = table.sort_values([*PLACE[:4], "tf", "p_value", "chrom", "start"], kind="stable")
    write_table(output, table.reindex(columns=COLUMNS))
    write_table(counts, pd.DataFrame(tallies, columns=COUNTS))
    write_bed(bed, _bed(table, names))
    say(f"differential sites: {len(table):,} listed, of {len(tallies)} comparisons of a TF")


@dataclass(frozen=True)
class _Donors:
    """Sums of binding per type, condition and donor, from the stores behind ``means``."""

    means: TypeMeans

    def __post_init__(self):
        obs = pd.concat([binding.obs for binding in self.means.stores], ignore_index=True)
        obs["replicate"] = replicates(obs)
        obs["condition"] = obs["condition"].astype(object) if "condition" in obs else None
        obs["type"] = np.concatenate(self.means.members)
        code, units = pd.factorize(
            pd.MultiIndex.from_frame(obs[["type", "condition", "replicate"]].fillna(""))
        )
        object.__setattr__(self, "code", np.where(obs["type"] < 0, -1, code))
        frame = pd.DataFrame(list(units), columns=["type", "condition", "replicate"])
        object.__setattr__(self, "units", frame)

    def sums(self, tf: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums of P(bound), float32 (units, windows), and the numbers of cells, of each unit."""
        n, column, first = len(self.units), self.means.tfs.index(tf), 0
        total, number = np.zeros((n, len(self.means.windows)), dtype=np.float32), np.zeros(n, dtype=np.int64)
        for binding, deep in zip(self.means.stores, self.means.deep, strict=True):
            code = self.code[first : first + len(deep)]
            first += len(deep)
            code = np.where(deep[:, column], code, -1)
            here = np.unique(code[code >= 0])
            local = np.where(code >= 0, np.searchsorted(here, code), -1)
            total[here] += binding.sums(tf, local, len(here)).astype(np.float32)
            number += np.bincount(code[code >= 0], minlength=n)
        return total, number

    def nothing(self) -> tuple[np.ndarray, np.ndarray]:
        """Return what :meth:`sums` would without cells and windows, for a TF that is not tested."""
        return np.zeros((len(self.units), 0), dtype=np.float32), np.zeros(len(self.units), dtype=np.int64)

    def comparisons(self, total: np.ndarray, number: np.ndarray) -> Iterator[tuple]:
        """Yield comparisons: names, means of the replicates of both sides or why not, and cells of the replicates."""
        units = self.units
        for index, name in enumerate(self.means.types):
            place = {"contrast": "cell_type", "cell_type": name, "group": name, "reference": "other types"}
            inside = (units["type"] == index).to_numpy()
            outside = ~inside & (units["type"] >= 0).to_numpy()
            yield place, *self._matched(inside, outside, total, number)
        known = units["condition"] != ""
        conditions = sorted(units["condition"][known].unique())
        for index, name in enumerate(self.means.types):
            of_type = ((units["type"] == index) & known).to_numpy()
            for value in compared_conditions(units["condition"][known]) if len(conditions) > 1 else ():
                inside = of_type & (units["condition"] == value).to_numpy()
                others = ", ".join(other for other in conditions if other != value)
                place = {"contrast": "condition", "cell_type": name, "group": value, "reference": others}
                yield place, *self._matched(inside, of_type & ~inside, total, number)

    def _matched(
        self, inside: np.ndarray, outside: np.ndarray, total: np.ndarray, number: np.ndarray
    ) -> tuple[Sides | str, list[pd.Series]]:
        """Return the mean binding of the replicates that are compared, or why not, and the cells of all, by side."""
        means, cells = [], []
        for side in (inside, outside):
            name = self.units["replicate"].to_numpy()[side]
            n = pd.Series(number[side]).groupby(name).sum()
            enough = n[n >= MIN_CELLS]
            means.append(pd.DataFrame(total[side]).groupby(name).sum().loc[enough.index].div(enough, axis=0))
            cells.append(enough)
        return matched(*means), cells


def _may_be_tested(total: np.ndarray, number: np.ndarray, min_binding: float) -> np.ndarray:
    """Return the windows that any comparison may test, rising int64: a mean over units is at most that of one unit.

    Arguments are those of :meth:`_Donors.sums`. A TF is bound in few windows, so this saves most of time and memory.
    """
    most = np.zeros(total.shape[1], dtype=np.float32)
    for sums, cells in zip(total, number, strict=True):
        np.maximum(most, sums / max(cells, 1), out=most)
    return np.flatnonzero(most >= 0.999 * min_binding)  # less, because sums are rounded


def _compare(
    ours: np.ndarray,
    theirs: np.ndarray,
    paired: bool,
    min_binding: float,
    cells: np.ndarray | None = None,
    cells_reference: np.ndarray | None = None,
) -> pd.DataFrame:
    """Test the windows with enough binding. One row per window: ``window`` is its number.

    ``ours`` and ``theirs`` are (donors, windows), ``cells`` and ``cells_reference`` the numbers of cells of these
    donors, int (donors,). Without them, all have the same.
    """
    binding, reference = ours.mean(axis=0), theirs.mean(axis=0)
    window = np.flatnonzero((binding + reference) / 2 >= min_binding)
    ours, theirs = ours[:, window].astype(np.float64), theirs[:, window].astype(np.float64)
    if paired:
        change, df = ours - theirs, len(ours) - 1
        t, p = moderated_t(change.mean(axis=0), change.var(axis=0, ddof=1), df, 1 / len(ours))
    else:
        sides, df = (ours, theirs), len(ours) + len(theirs) - 2
        difference, variance, scale = _fit(sides, [np.ones(len(side)) for side in sides])
        t, p = moderated_t(difference, variance, df, scale)
        n = None if cells is None else np.concatenate([cells, cells_reference])
        if n is not None and len(window) and np.ptp(n):
            weighted = _fit(sides, np.split(_relative_variance(sides, n), [len(ours)]))
            other_t, other_p = moderated_t(*weighted[:2], df, weighted[2])
            t, p = np.where(other_p > p, other_t, t), np.maximum(p, other_p)
    return pd.DataFrame(
        {
            "window": window,
            "binding": binding[window],
            "binding_reference": reference[window],
            "difference": binding[window].astype(np.float64) - reference[window],
            "statistic": t,
            "p_value": p,
            "p_adjusted": adjust(p),
        }
    )


def _fit(sides: tuple[np.ndarray, ...], relative: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, float]:
    """Fit the mean of either side by weighted least squares.

    ``sides`` are two float64 (donors, windows); ``relative`` are the variances of their donors, up to a factor of the
    window, (donors,). Returns per window the difference of the means and that factor, and the variance of the
    difference divided by that factor.
    """
    means = [np.average(side, axis=0, weights=1 / h) for side, h in zip(sides, relative, strict=True)]
    squares = sum(
        ((side - mean) ** 2 / h[:, None]).sum(axis=0)
        for side, mean, h in zip(sides, means, relative, strict=True)
    )
    return means[0] - means[1], squares / (sum(map(len, sides)) - 2), sum(1 / (1 / h).sum() for h in relative)


def _relative_variance(sides: tuple[np.ndarray, ...], n: np.ndarray) -> np.ndarray:
    """Return the variance of the mean of each donor relative to the mean over donors: float64 (donors,).

    ``n`` is the number of cells, of the donors of both sides. The variance is c + (1 - c) / n, times a factor of the
    window: c is the correlation between cells of a donor. One c for all windows is estimated by restricted maximum
    likelihood (Patterson & Thompson 1971, Biometrika 58:545).
    """
    few = [side[:, :: -(-side.shape[1] // MOST_WINDOWS)] for side in sides]

    def relative(log_c: float) -> np.ndarray:
        found = np.exp(log_c) + (1 - np.exp(log_c)) / n
        return found / found.mean()

    def loss(log_c: float) -> float:
        every = np.split(relative(log_c), [len(sides[0])])
        variance = np.maximum(_fit(few, every)[1], LEAST)
        return (len(n) - 2) * np.log(variance).mean() + sum(
            np.log(h).sum() + np.log((1 / h).sum()) for h in every
        )

    return relative(optimize.minimize_scalar(loss, bounds=(np.log(1e-6), 0), method="bounded").x)


def _bed(table: pd.DataFrame, names: np.ndarray) -> pd.DataFrame:
    """Return the listed windows as BED6, sorted along the genome."""
    tf = [marked(tf, kind == MOTIF) for tf, kind in zip(table["tf"], table["evidence"], strict=True)]
    text = pd.Series(tf, index=table.index, dtype=object) + ":" + table["cell_type"] + ":" + table["group"]
    score = (1000 * table["difference"].abs().astype(float)).round().clip(upper=1000).astype(int)
    bed = pd.DataFrame(
        {"chrom": table["chrom"], "start": table["start"], "end": table["end"], "name": text, "score": score}
    )
    bed["strand"] = np.where(table["difference"].astype(float) > 0, "+", "-")
    rank = pd.Series(np.arange(len(names)), index=names)
    order = np.lexsort([bed["name"], bed["start"], rank.reindex(bed["chrom"]).to_numpy()])
    return bed.iloc[order]
