"""Sections of the report. Each function returns one section, or None if its input is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from scbind.analysis.activitytable import motif_tfs
from scbind.evaluation.registry import CONTROLS
from scbind.formats.evidence import MOTIF, marked
from scbind.report import cellplots
from scbind.report.cells import (
    passing_cells,
    poor_samples,
    pseudobulk,
    quality,
    sample_quality,
    type_cautions,
    unlabelled,
)
from scbind.report.choice import ROWS, spaced
from scbind.report.cohort import cohort
from scbind.report.foundmotifs import found_motifs
from scbind.report.leftout import left_out
from scbind.report.methods import methods
from scbind.report.models import evaluation, training, truth
from scbind.report.populations import populations
from scbind.report.read import Inputs
from scbind.report.regulation import expression, links, targets
from scbind.report.sites import sites
from scbind.report.tables import (
    ABSTAINED,
    DISAGREE,
    EVIDENCE,
    MARKS,
    MOST_NAMES,
    NO_PROTEIN,
    Section,
    active_first,
    activity_in_type,
    all_rows,
    comparison,
    directions,
    html_table,
    join_names,
    motif_tested,
    number,
    ordered_differential,
    trusted,
    within_budget,
)
from scbind.report.variants import explained, variants

UMAP_FACTORS = 12
MOST_TESTS = 8  # significant rows that the summary names, with their numbers
HEATMAP_FACTORS = ROWS
# A copy, because the run may write the file itself again.
REPEAT = "snakemake --cores N --configfile config.yaml, with a copy of results/provenance/config.yaml"
Z = (
    "z compares the insertions of a cell at the predicted sites of a TF with those at windows of similar GC content "
    "and accessibility. 0 means that they do not differ. Compare z between cells and cell types for one "
    "TF. Between TFs, compare effect sizes instead, because a TF with more or stronger sites reaches larger z."
)
LIMITS = (
    "A predicted site is a probability, not an observation. The probability is the fraction of windows with such "
    "sequence and accessibility that had a ChIP-seq peak in the training lines.",
    "Before you use a TF, type its name at the top of this page and read its AUPRC on held-out windows. Compare it "
    "with the prevalence, which is the AUPRC of random guessing. AUROC is high for almost any method when sites are "
    "rare.",
    "scbind can predict binding in a cell that does not express the TF, because accessibility and sequence do not "
    "show the protein. TFs of one family share a motif and cannot be distinguished.",
    "The signal of a cell consists of its own fragments and those that it borrows from its nearest cells. Two cells "
    "that borrow from each other are not independent. Without replicates, p-values describe these cells, not a "
    "population of donors.",
    "The same cells define the populations and their markers. Markers therefore have effect sizes but no p-values.",
    "scbind abstains on a TF if validation does not support its predictions. It also abstains in "
    "cells that are too shallow for the TF, which means that they have too few insertions. The files contain these "
    "values, but you should not interpret them.",
    "Links and target genes are candidates. Neither the probability of a link nor a regulatory potential proves "
    "regulation.",
)


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
        small = table[table["small"].astype(bool) & (table["stability"] >= 0.6)]
        one = len(table) == 1
        text = (
            "The cells form one population."
            if one
            else f"The cells are divided into {len(table)} populations."
        )
        doubts = small["cautions"].fillna("").astype(str) if "cautions" in small else [""] * len(small)
        named = [
            f"{row.population} ({row.n_cells:,} cells, {row.cell_type}{', see its cautions' if doubt else ''})"
            for row, doubt in zip(small.itertuples(), doubts, strict=True)
        ]
        which = "It is" if one else f"{len(small)} of them {'is' if len(small) == 1 else 'are'}"
        none = "It is not" if one else "None of them is"
        section.points.append(
            f"{text} {which} small and stable: {join_names(named, MOST_NAMES)}."
            if named
            else f"{text} {none} both small and stable."
        )
    if inputs.origin is not None:
        section.points.append(inputs.origin.point())
    if "metrics" in inputs.tables:
        section.points += _model_points(inputs, section)
    section.points += _abstention_points(data)
    return section


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


def embedding(inputs: Inputs) -> Section | None:
    """Return the section with UMAPs by cell type, by sample and by the most variable TF activities."""
    data = inputs.data
    seen = np.isfinite(data.umap).all(axis=1)
    if not seen.any():
        return None
    section = Section("embedding", "Embedding")
    text = (
        "UMAP of the cells, computed from their accessibility alone. It does not depend on predicted binding."
    )
    section.text = [" ".join(filter(None, (text, unlabelled(inputs))))]
    umap, obs = data.umap[seen], data.obs[seen]
    draw, kinds = inputs.draw, inputs.colours["cell_type"]
    section.figures = [
        draw("umap_cell_types", cellplots.umap_types(umap, obs["cell_type"], kinds, "Cell types"),
             "Cells by cell type. Numbers of cells are in brackets."),
    ]  # fmt: skip
    samples = sorted(obs["sample"].unique())
    if len(samples) > 1:
        figure = cellplots.umap_types(umap, obs["sample"], inputs.colours["sample"], "Samples")
        section.figures.append(draw("umap_samples", figure, "The same cells, by sample."))
    chosen = _most_informative(data, UMAP_FACTORS)
    columns = [data.tfs.index(tf) for tf in chosen]
    section.figures.append(
        draw("umap_activity",
             cellplots.umap_activity(umap, data.readable[seen][:, columns], _starred(data, chosen)),
             f"The same cells, by the activity of the {len(chosen)} TFs that vary most between cell types. The "
             "z-score is corrected for GC content and accessibility. Red: more insertions at the sites of the TF than "
             "at similar windows. Blue: fewer. Grey: the cell is too shallow for the TF." + _warning(data, chosen))
    )  # fmt: skip
    return section


def _most_informative(data, n: int) -> list[str]:
    """``n`` TFs whose mean z varies most between types, or between cells if there is one type; abstained TFs last."""
    means = _type_means(data)
    values = means if len(means) > 1 else pd.DataFrame(data.readable)
    spread = values.std(ddof=0).fillna(0).to_numpy()
    return [data.tfs[i] for i in np.lexsort((-spread, data.abstained))[:n]]


def _warning(data, chosen: list[str]) -> str:
    """A sentence that names the chosen TFs on which scbind abstains (marked with *), or empty if there are none."""
    named = [tf for tf, abstained in zip(data.tfs, data.abstained, strict=True) if abstained and tf in chosen]
    unread = (
        f" * scbind abstains on {join_names(named, MOST_NAMES)}: do not interpret these." if named else ""
    )
    by_motif = set(motif_tfs(data.var)) & set(chosen)
    if by_motif:
        unread += " (motif): no ChIP-seq, predicted from the motif and the weights that all TFs share."
    return unread


def _starred(data, chosen: list[str]) -> list[str]:
    """Names of TFs with their marks: * if scbind abstains on the TF, (motif) if it has no ChIP-seq."""
    starred = set(data.var.index[data.abstained])
    by_motif = set(motif_tfs(data.var))
    return [marked(tf, tf in by_motif) + " *" * (tf in starred) for tf in chosen]


def _type_means(data) -> pd.DataFrame:
    """Mean z (cell types, TFs) over the cells that are not too shallow for the TF. NaN if there is no such cell."""
    return pd.DataFrame(data.readable, columns=data.tfs).groupby(data.obs["cell_type"].to_numpy()).mean()


def activities(inputs: Inputs) -> Section | None:
    """Return the section with the mean TF activity per cell type."""
    means = _type_means(inputs.data)
    if means.empty:
        return None
    section = Section("activity", "TF activity")
    chosen = _most_informative(inputs.data, HEATMAP_FACTORS)
    left_out = len(inputs.data.tfs) - len(chosen)
    caption = "Mean z per cell type. Rows and columns are ordered by clustering."
    if left_out:
        caption += f" Only the {len(chosen)} TFs that differ most are shown. {left_out} are left out."
    caption += _warning(inputs.data, chosen)
    if means[chosen].isna().any(axis=None):
        caption += " Blank: every cell of the type is too shallow for the TF."
    figure = cellplots.activity_heatmap(means[chosen].set_axis(_starred(inputs.data, chosen), axis=1))
    section.text = [Z]
    section.figures = [inputs.draw("activity_heatmap", figure, caption)]
    return section


def differential(inputs: Inputs) -> Section | None:
    """Return the section with the TFs that differ most, per cell type and contrast."""
    table = inputs.tables.get("differential")
    if table is None:
        return None
    section = Section("differential", "TFs that differ between cell types")
    if table.empty:
        section.text = ["There are no two groups of cells to compare."]
        return section
    kept, left_out = trusted(table)
    tests = [f"{test} ({n:,} rows)" for test, n in kept["test"].value_counts().items()]
    section.text = [
        "Each cell type is compared with all other cells, and, if there are conditions, they are compared within each "
        "cell type. The difference is in units of z (see TF activity). The "
        "effect size is the difference divided by the standard deviation between cells. p-values are adjusted over "
        "all types and all TFs with the same evidence (Benjamini-Hochberg).",
        f"Tests: {join_names(tests) or 'none'}. {left_out}".strip(),
    ]
    if kept.empty:
        return section
    section.text += _two_measures(kept)
    for contrast, part in kept.groupby("contrast"):
        if not ((part["difference"] > 0) & (part["p_adjusted"] < 0.05)).any():
            name = (
                "Between cell types" if contrast == "cell_type" else "Between conditions, within a cell type"
            )
            section.text.append(f"{name}: no TF has a higher activity (adjusted p < 0.05).")
    if (kept["contrast"] == "condition").any():
        section.text.append(
            "Conditions are compared within each cell type. A positive difference: more activity in the group than in "
            "the reference."
        )
    note = (
        "All tested TFs. In each cell type, TFs with higher activity (adjusted p < 0.05) come first, by effect size. "
        + all_rows("differential_tfs.tsv")
    )
    section.tables = [
        html_table("Differences of TF activity", ordered_differential(kept), note, "differential")
    ]
    return section


def _two_measures(table: pd.DataFrame) -> list[str]:
    """Say what z and mean binding measure, and in how many rows they disagree."""
    tested = directions(table[table["p_adjusted"] < 0.05])
    n = int((tested == DISAGREE).sum())
    where = (
        f" Where they disagree ({n} of {len(tested)} rows with adjusted p < 0.05), rely on z." if n else ""
    )
    return [
        "Two columns can rank TFs differently. z is corrected for accessibility: use it to ask which TFs mark a cell "
        "type or a condition. Mean binding is the mean P(bound) over all windows and is not corrected: it is also "
        "higher in cells with more accessible chromatin. Use it to ask how much binding is predicted. The column z and "
        f"mean binding says whether both differ in the same direction.{where}"
    ]


def motifs(inputs: Inputs) -> Section | None:
    """Return the section with the motifs in the predicted sites."""
    table = inputs.tables.get("motifs")
    if table is None or table.empty:
        return None
    section = Section("motifs", "Motifs in the predicted sites")
    section.text = [
        "The windows with the highest predicted binding of a TF are compared with windows of similar GC content and "
        "accessibility. Sites predicted from accessibility alone would not be enriched for the TF's own motif.",
    ]
    own, left_out = trusted(table[table["own"].astype(bool)])
    if len(own):
        sure = own.groupby("tf")["p_adjusted"].min() < 0.05
        first = own.groupby("tf")["rank"].min() == 1
        section.text.append(
            f"TFs with a motif: {len(sure)}. For {int(sure.sum())} of them, their own motif is enriched in at least "
            f"one cell type (adjusted p < 0.05). For {int(first.sum())} of them, it ranks first among all "
            f"{int(own['n_motifs'].max())} motifs in at least one cell type. {left_out}".strip()
        )
    if table["own"].any():
        medians = table[table["own"].astype(bool)].groupby("tf")["odds_ratio"].median()
        chosen, said = spaced(medians.sort_values(ascending=False).index, ROWS, "median odds ratio")
        caption = f"Odds ratio of each TF's own motif, per cell type.{said}{_warning(inputs.data, chosen)}"
        shown = table[table["tf"].isin(chosen)]
        shown = shown.assign(tf=_starred(inputs.data, shown["tf"].tolist()))
        section.figures = [
            inputs.draw("motifs", cellplots.motif_support(shown, inputs.colours["cell_type"]), caption)
        ]
    columns = [
        "cell_type", "tf", "motif", "rank", "sites_with_motif", "background_with_motif", "odds_ratio",
        "p_adjusted",
    ]  # fmt: skip
    columns += [name for name in MARKS if name in table]
    last = [ABSTAINED] if ABSTAINED in table else []
    best = table[(table["rank"] == 1) | table["own"].astype(bool)]
    best = best.sort_values([*last, "cell_type", "tf", "rank"], kind="stable")
    note = f"The best motif of each TF and cell type, and the TF's own motif. {all_rows('motifs.tsv')}"
    section.tables = [html_table("Motifs of each TF and cell type", best[columns], note, "motifs")]
    if (sites := inputs.tables.get("sites")) is not None and len(sites):
        sites, cut = within_budget(trusted(sites)[0])
        order, told = ["tf", "binding"], ""
        if (tests := inputs.tables.get("differential")) is not None:
            words = activity_in_type(sites, tests)
            sites.insert(sites.columns.get_loc("tf") + 1, "tf_in_type", words)
            sites, order = sites.assign(first=active_first(words)), ["tf", "first", "binding"]
            told = "Types in which the TF is more active come first. "
        sites = sites.sort_values(order, ascending=[name != "binding" for name in order], kind="stable")
        note = (
            "The peaks with the highest mean P(bound) of each TF and cell type, each represented by its "
            f"best window. {told}{NO_PROTEIN} {cut} "
            f"{all_rows('best_sites.tsv')}".replace("  ", " ")
        )
        sites = sites.drop(columns="first", errors="ignore")
        section.tables.append(html_table("Best sites", sites.drop(columns=ABSTAINED), note, "sites"))
    return section


def reading(inputs: Inputs) -> Section:
    """Return the section on how to read the report, and the limits of the predictions."""
    return Section("reading", "How to read this report, and its limits", points=list(LIMITS))


def provenance(inputs: Inputs) -> Section | None:
    """Return the section on what the results were made from."""
    if not inputs.provenance:
        return None
    section = Section("provenance", "Provenance", files=inputs.provenance)
    section.text = [
        "results/provenance has the settings, the checksums of the inputs, and the versions of all programs.",
        "Results carry no timestamps, so that two runs on the same inputs give the same bytes. The date below the title is "
        "that of the file. logs/runs.tsv says when each run in this folder started and ended, and with which command.",
    ]
    if inputs.about:
        known = {name: value for name, value in inputs.about.items() if value} | {"command to repeat it": REPEAT}
        section.tables = [
            html_table("This run", pd.DataFrame({"what": known.keys(), "value": known.values()}))
        ]
    return section


CELLS, TRUST, ORIGIN = "Your cells", "How far to trust it", "Where it comes from"
PARTS = (
    (
        CELLS,
        (
            summary,
            quality,
            embedding,
            activities,
            differential,
            sites,
            populations,
            links,
            targets,
            expression,
            motifs,
            found_motifs,
            variants,
            explained,
            pseudobulk,
        ),
    ),
    (TRUST, (truth, cohort, methods, evaluation, left_out, training, reading)),
    (ORIGIN, (provenance,)),
)
SECTIONS = tuple(make for _, makers in PARTS for make in makers)
