"""Sections of the report on what TFs regulate. Each function returns a section, or None without its input."""

from __future__ import annotations

import pandas as pd

from scbind.analysis.expression import MIN_TYPES
from scbind.analysis.links import EFFECTS, SIGNED
from scbind.report.differences import activity_in_type
from scbind.report.read import Inputs
from scbind.report.tables import (
    EVIDENCE,
    LEVEL,
    MAX_ROWS,
    MOST_NAMES,
    Section,
    all_rows,
    html_table,
    join_names,
    trusted,
    within_budget,
)

SHOWN_FDR = 0.1
LEAST_LINKS = 3_000  # links on the page even if the target genes fill it
UNKNOWN = "unknown"


def targets(inputs: Inputs) -> Section | None:
    """Return the section with the most specific target genes, with the probability of their links if there are any."""
    table = inputs.tables.get("targets")
    if table is None or table.empty:
        return None
    section = Section("targets", "Target genes")
    section.text = [
        "Which genes have much predicted binding of a TF around them? Genes are ranked by the regulatory potential of "
        "the TF: the predicted binding around the start of the gene, summed over windows that count less with "
        "distance. Specificity is the log2 ratio of the potential to its mean in the other cell types.",
    ]
    if has_links(inputs):
        section.text.append(
            "The potential uses binding and distance only. To ask which genes a TF regulates, use the section Links "
            "with evidence: its probability also uses the activity of the TF and the association of its sites with the "
            "gene, so the two orders differ. The column probability of the link gives this probability."
        )
    table, left_out = trusted(table)
    if left_out:
        section.text.append(left_out)
    if table.empty:
        return section
    table, cut = within_budget(table)
    if inputs.window is not None:
        table = table.assign(top_window_end=table["top_window_start"] + inputs.window)
    table = table.sort_values(["specificity", "potential"], ascending=False, kind="stable")
    if (tests := inputs.tables.get("differential")) is not None:
        table = table.assign(tf_in_type=activity_in_type(table, tests))
    columns = [
        "cell_type", "tf", "gene", "tf_in_type", "potential", "rank", "specificity", "chrom", "top_window_start",
        "top_window_end", "top_window_distance", "top_window_binding",
    ]  # fmt: skip
    columns = [name for name in [*columns, EVIDENCE, LEVEL] if name in table]
    if has_links(inputs):
        keys = ["cell_type", "tf", "gene"]
        known = inputs.tables["links"][[*keys, "probability"]].rename(
            columns={"probability": "link_probability"}
        )
        table = table.merge(known.drop_duplicates(keys), on=keys, how="left")
        columns.insert(columns.index("gene") + 1, "link_probability")
    note = f"The most specific targets come first. {cut} {all_rows('tf_targets.tsv')}".replace("  ", " ")
    section.tables = [html_table("Genes by regulatory potential", table[columns], note, "targets")]
    return section


def has_links(inputs: Inputs) -> bool:
    """Tell whether there is a table of links with rows."""
    table = inputs.tables.get("links")
    return table is not None and not table.empty


def links(inputs: Inputs) -> Section | None:
    """Return the section with the most probable links of TFs and genes, and their evidence."""
    if not has_links(inputs):
        return None
    table = inputs.tables["links"]
    section = Section("links", "Links with evidence")
    section.text = [
        "Which genes does a TF probably regulate? A link joins a TF and a gene in a cell type. Its probability comes "
        "from the activity of the TF in the cell type (with RNA, also its expression), its predicted binding near the "
        "gene, and the probability that these sites regulate the gene: from their distance and from their association "
        "with the gene across cells of the same type and sample. The p-value is that of the association alone.",
    ]
    if (table["compared_with"] == "accessibility").any():
        section.text.append(
            "Without RNA, most of the probability comes from activity, binding and distance; p tests only the "
            "association over cells."
        )
    table, left_out = trusted(table)
    if left_out:
        section.text.append(left_out)
    table = table[table["fdr"] <= SHOWN_FDR]
    if table.empty:
        section.text.append(f"No link has a false discovery rate up to {SHOWN_FDR}.")
        return section
    section.text.append(_supported(table))
    table = table.sort_values(["probability", "potential"], ascending=False, kind="stable")
    every, cut, most = table, "", most_links(inputs)
    if len(table) > most:  # each TF and cell type has a part of the table
        rank = table.groupby(["cell_type", "tf"]).cumcount().sort_values(kind="stable")
        cut = f" {most:,} of {len(table):,} are on this page: the most probable of each TF and cell type."
        table = table.loc[table.index.isin(rank.index[:most])]
    totals = incomplete(table, every, ["tf", "gene", "cell_type"])
    table = table.assign(effect=effects(table["sign"]))
    columns = [
        "cell_type", "tf", "gene", "probability", "fdr", "effect", "place", "n_sites", "sites", "distances",
        "tf_active", "association", "p_value", "potential", "compared_with",
    ]  # fmt: skip
    if (table["effect"] == UNKNOWN).all():
        columns.remove("effect")
    else:
        section.text.append(
            "The effect (activates or represses) is the sign of the association. It is unknown where the association "
            f"is not significant (adjusted p above {SIGNED:g}). Such a link can still be probable, because the other "
            "evidence supports it."
        )
    columns += [name for name in (EVIDENCE, LEVEL) if name in table]
    note = (
        f"Links with a false discovery rate up to {SHOWN_FDR}, estimated within their cell type, the most probable "
        f"first.{cut} {all_rows('links.tsv')}"
    )
    section.tables = [html_table("Links and their evidence", table[columns], note, "links", totals)]
    return section


def _supported(table: pd.DataFrame) -> str:
    """Say how many links have only distal sites, how many associations are significant, which TFs have most links."""
    promoter, distal = (table["place"] == name for name in ("promoter", "distal"))
    sure = table["p_adjusted"] <= SIGNED
    counts = table["tf"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    most = counts[counts.cumsum().shift(fill_value=0) < len(table) / 2]
    said = (
        f"Links with a false discovery rate up to {SHOWN_FDR}: {len(table):,}. {int(promoter.sum()):,} of them have a "
        f"site at the promoter, and {int(distal.sum()):,} have only distal sites. The association is significant "
        f"(adjusted p up to {SIGNED:g}) for {int(sure.sum()):,}. {join_names(most.index, MOST_NAMES)} "
        f"{'has' if len(most) == 1 else 'have'} at least half of the links."
    )
    if distal.any() and (table["compared_with"] == "accessibility").any():
        said += " In simulated cells without RNA, 8 to 13 % of the links with only distal sites were false."
    return said


def most_links(inputs: Inputs) -> int:
    """Return how many links the page may have: ``MAX_ROWS`` less the target genes, at least ``LEAST_LINKS``."""
    targets = inputs.tables.get("targets")
    rows = 0 if targets is None or targets.empty else len(within_budget(trusted(targets)[0])[0])
    return max(LEAST_LINKS, MAX_ROWS - rows)


def incomplete(shown: pd.DataFrame, every: pd.DataFrame, columns: list[str]) -> dict[str, dict[str, int]]:
    """Return, per column, the number of rows of ``every`` of each value of which ``shown`` lacks some rows.

    ``shown`` has some of the rows of ``every``. A column of which all values are complete is left out.
    """
    found = {}
    for column in columns:
        n, kept = every[column].value_counts(), shown[column].value_counts()
        lacking = n[n > kept.reindex(n.index, fill_value=0)].sort_index()
        if len(lacking):
            found[column] = {str(name): int(count) for name, count in lacking.items()}
    return found


def effects(sign: pd.Series) -> pd.Series:
    """Return the effect of links in words, from their sign: 1, -1, or missing (0 in tables of earlier versions)."""
    return sign.map(EFFECTS).fillna(UNKNOWN).astype(object)


def expression(inputs: Inputs) -> Section | None:
    """Return the section with the expression of TFs beside their activity. None without RNA."""
    table = inputs.tables.get("expression")
    if table is None or table.empty:
        return None
    section = Section("expression", "Expression of the TFs")
    section.text = [
        "Predicted binding cannot distinguish TFs with similar motifs, but expression can: a TF that a cell type does "
        "not express does not regulate its genes. Correlation: Spearman's, of mean activity and mean expression over "
        f"cell types, if there are at least {MIN_TYPES}.",
    ]
    order = table.sort_values(
        ["correlation", "tf", "cell_type"], ascending=[False, True, True], kind="stable"
    )
    note = f"Expression: molecules per 10,000 molecules of the cell. {all_rows('tf_expression.tsv')}"
    section.tables = [html_table("Expression and activity", order, note, "expression")]
    return section
