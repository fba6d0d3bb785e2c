"""The first section of the report: the most important numbers and what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from scbind.analysis.activitytable import motif_tfs
from scbind.evaluation.registry import CONTROLS
from scbind.formats.evidence import MOTIF, marked
from scbind.report.accuracy import comparison, motif_tested
from scbind.report.cells import passing_cells, poor_samples, sample_quality, type_cautions, unlabelled
from scbind.report.read import Inputs
from scbind.report.tables import EVIDENCE, MOST_NAMES, Section, join_names, number, trusted

MOST_TESTS = 8  # significant rows that the summary names, with their numbers


def summary(inputs: Inputs) -> Section:
    """Return the section with the most important numbers and what they mean."""
    data, types = inputs.data, inputs.types
    section = Section("summary", "In short")
    n_samples = data.obs["sample"].nunique()
    section.tiles = [
        (number(len(data.obs)), "cells" if n_samples == 1 else f"cells in {n_samples} samples"),
        _kinds(inputs),
        (number(len(data.tfs)), _factors(data)),
    ]
    if inputs.n_windows is not None:
        section.tiles.append((number(inputs.n_windows), "windows in peaks"))
    if inputs.cells is not None and "pass" in inputs.cells:
        said = [passing_cells(inputs)] if inputs.looser else []
        section.points.append(" ".join([*said, poor_samples(sample_quality(inputs.cells))]))
    if text := unlabelled(inputs):
        section.points.append(text)
    if "differential" in inputs.tables:
        small = inputs.small_types
        section.points += _differential_points(
            inputs.tables["differential"], types, small, inputs.smallest_type
        )
    section.points += _condition_points(inputs.tables)
    if "populations" in inputs.tables and len(inputs.tables["populations"]):
        table = inputs.tables["populations"]
        section.points.append(_populations_point(table))
    if origin := inputs.origin or inputs.extended:
        section.points.append(origin.point())
    if "metrics" in inputs.tables:
        section.points += _model_points(inputs, section)
    section.points += _abstention_points(data)
    return section


def _populations_point(table: pd.DataFrame) -> str:
    """Say how many populations there are, and which are small and stable."""
    if len(table) == 1:
        return "The cells form one population: the search for populations found no division."
    small = table[table["small"].astype(bool) & (table["stability"] >= 0.6)]
    text = f"The cells are divided into {len(table)} populations."
    if small.empty:
        return f"{text} None of them is both small and stable."
    doubts = small["cautions"].fillna("").astype(str) if "cautions" in small else [""] * len(small)
    named = [
        f"{row.population} ({row.n_cells:,} cells, {row.cell_type}{', see its cautions' if doubt else ''})"
        for row, doubt in zip(small.itertuples(), doubts, strict=True)
    ]
    are = "is" if len(small) == 1 else "are"
    return f"{text} {len(small)} of them {are} small and stable: {join_names(named, MOST_NAMES)}."


def _kinds(inputs: Inputs) -> tuple[str, str]:
    """Return the tile of the cell types: those without a caution are counted, and the others are named apart."""
    doubted = len(type_cautions(inputs).keys() & set(inputs.types))
    n = len(inputs.types) - doubted
    label = "cell type" if n == 1 else "cell types"
    rest = f", and {doubted} {'is' if doubted == 1 else 'are'} probably not real" if doubted else ""
    return number(n), label + rest


def _factors(data) -> str:
    """What the number of TFs is a number of."""
    n, label = len(motif_tfs(data.var)), f"transcription factor{'' if len(data.tfs) == 1 else 's'}"
    return f"{label}, {n} of them without ChIP-seq" if n else label


def _model_points(inputs: Inputs, section: Section) -> list[str]:
    means = comparison(inputs.tables["metrics"]).set_index("model")
    if means.empty:
        return []
    model = next((name for name in inputs.models if name in means.index), means.index[0])
    ours = means.loc[model]
    section.tiles += [
        (
            number(ours["auprc"]),
            f"mean AUPRC of {model}, held-out windows{'' if inputs.tested else ' (reported by its authors)'}",
        ),
        (number(ours["prevalence"]), "mean prevalence (AUPRC of random guessing)"),
    ]
    points = []
    others = means.drop(index=[*inputs.models, *CONTROLS], errors="ignore")
    if len(others):
        best = others["auprc"].idxmax()
        gap = ours["auprc"] - others.loc[best, "auprc"]
        word = "above" if gap > 0 else "below"
        where = "On held-out windows" if inputs.tested else "On the held-out windows of its authors"
        points.append(
            f"{where}, {model} has a mean AUPRC of {number(ours['auprc'])} over "
            f"{int(ours['n_pairs'])} pairs of cell line and TF. This is {number(abs(gap))} {word} the best baseline "
            f"({best}, {number(others.loc[best, 'auprc'])})."
        )
    table = inputs.tables["metrics"]
    table = table[(table["model"] == model) & (table["split"] == "test")]
    each = table.groupby("tf")["auprc"].mean().dropna().sort_values(ascending=False)
    if len(each) > 5:
        by_motif = motif_tested(table)
        said = [
            join_names(f"{marked(tf, tf in by_motif)} ({number(v)})" for tf, v in part.items())
            for part in (each[:3], each[-3:])
        ]
        points.append(f"TFs with the highest AUPRC: {said[0]}. With the lowest: {said[1]}.")
    return points


def _abstention_points(data) -> list[str]:
    points = []
    if data.shallow.any():
        share = data.shallow[:, ~data.abstained].mean()
        points.append(
            f"For TFs on which scbind does not abstain, {share:.1%} of the values are from cells "
            "that are too shallow for the TF."
        )
    return points


def _differential_points(
    table: pd.DataFrame, types: list[str], small: Sequence[str] = (), smallest: int | None = None
) -> list[str]:
    """The TFs that mark each of the cell types ``types``, and the types that none marks or that were not compared.

    ``small`` are the types with fewer cells than ``smallest`` (``analysis.min_cells``).
    """
    table = trusted(table[table["contrast"] == "cell_type"])[0]
    if table.empty:
        return []
    if EVIDENCE in table:
        names = [marked(*each) for each in zip(table["tf"], table[EVIDENCE] == MOTIF, strict=True)]
        table = table.assign(tf=names)
    up = table[(table["p_adjusted"] < 0.05) & (table["difference"] > 0)]
    tops = (
        up.sort_values("effect_size", ascending=False).groupby("cell_type")["tf"].agg(lambda tf: list(tf[:3]))
    )
    tested = set(table.loc[table["p_adjusted"].notna(), "cell_type"].astype(str))
    compared = _compared_types(types, tested, small, smallest)
    if tops.empty:
        none = "No TF is more active in one cell type than in the others (adjusted p < 0.05)."
        return [" ".join(filter(None, (none, compared)))]
    listed = "; ".join(f"{name}: {', '.join(tfs)}" for name, tfs in tops.head(MOST_NAMES).items())
    if len(tops) > MOST_NAMES:
        listed += f"; {len(tops) - MOST_NAMES} more cell types are in the table of differential TFs"
    none = [name for name in types if name in tested and name not in tops.index]
    listed += f". No TF is significantly more active in {join_names(none, MOST_NAMES, 'or')}" if none else ""
    without = (table.loc[table["p_adjusted"].notna(), "n_replicates"] == 0).any()
    warning = " Without replicates, the p-values describe only these cells." if without else ""
    warning += f" {compared}" if compared else ""
    return [
        f"TFs with the largest positive effect size in each cell type (adjusted p < 0.05): {listed}.{warning}"
    ]


def _compared_types(types: list[str], tested: set[str], small: Sequence[str], smallest: int | None) -> str:
    """Say how many of the cell types were compared, and why the others were not. Empty if all were compared."""
    untested = [name for name in types if name not in tested]
    if not untested:
        return ""
    n = len(types) - len(untested)
    few, rest = [name for name in untested if name in small], [name for name in untested if name not in small]
    of = f"{n} of {len(types)} cell type{'' if len(types) == 1 else 's'}"
    said = f"{of} {'was' if n == 1 else 'were'} compared"
    if few:
        verb = "has" if len(few) == 1 else "have"
        said += f": {join_names(few, MOST_NAMES)} {verb} fewer than {smallest:,} cells (analysis.min_cells)"
    return f"{said}." + (f" Not tested: {join_names(rest, MOST_NAMES)}." if rest else "")


def _condition_points(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """What differs between conditions: TFs within a cell type, and the frequency of types and populations."""
    points = []
    if "differential" in tables:
        tested = tables["differential"]
        tested = trusted(tested[tested["contrast"] == "condition"])[0]
        tested = tested.assign(what=tested["tf"] + " in " + tested["cell_type"].astype(str))
        points += _significant(
            tested, "the activity of a TF within a cell type", "difference", "difference of z"
        )
    if "abundance" in tables:
        counted = tables["abundance"]
        counted = counted.assign(what=counted["name"])
        measured = "the frequency of a cell type or population"
        points += _significant(counted, measured, "log2_odds_ratio", "log2 odds ratio")
    return points


def _significant(table: pd.DataFrame, measured: str, sign: str, called: str) -> list[str]:
    """For each comparison of a table: the significant rows, by their column ``what``, with value and adjusted p.

    ``sign`` is the column of the value, and ``called`` its name. If no row is significant, the first one is given.
    """
    points = []
    for group, reference in table[["group", "reference"]].drop_duplicates().itertuples(index=False):
        rows = table[(table["group"] == group) & (table["reference"] == reference)]
        rows = rows[rows["p_adjusted"].notna()].sort_values("p_adjusted", kind="stable")
        n_found, n = int((rows["p_adjusted"] < 0.05).sum()), len(rows)
        ways = np.where(rows[sign] > 0, f"more in {group}", f"less in {group}")
        named = [
            f"{what} ({way}, {called} {number(value)}, adjusted p {number(p)})"
            for what, way, value, p in zip(rows["what"], ways, rows[sign], rows["p_adjusted"], strict=True)
        ]
        nearest = f"none; the smallest p: {named[0]}" if named else "none"
        listed = join_names(named[:n_found], MOST_TESTS) if n_found else nearest
        limit = f"adjusted p < 0.05, {n:,} {'test' if n == 1 else 'tests'}"
        points.append(
            f"Conditions, {group} against {reference}: differences in {measured} ({limit}): {listed}."
        )
    return points
