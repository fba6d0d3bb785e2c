"""The section of the report on windows that a TF binds more in one group of cells than in another."""

from __future__ import annotations

from scbind.report.read import Inputs
from scbind.report.tables import EVIDENCE, Section, all_rows, html_table, largest

SHOWN = 5_000  # windows in the table of the page
GROUPS = ["cell_type", "tf", "contrast", "group", "reference"]


def sites(inputs: Inputs) -> Section | None:
    """Return the section with the windows that differ in binding, and how many there are of each TF."""
    counts = inputs.tables.get("site_counts")
    if counts is None or counts.empty:
        return None
    section = Section("differential_sites", "Sites that differ")
    named = {"contrast": {"cell_type": "cell type"}}
    tested = counts[counts["n_windows"].notna()].replace(named)
    section.text = [
        "The binding of a TF in a window is compared between donors: in one cell type against all others, or between "
        "conditions within a cell type. Where chromatin opens, several TFs differ together. Treat each site "
        "as a candidate, not as a finding."
    ]
    if tested.empty:
        reasons = sorted(test.removeprefix("not tested: ") for test in counts["test"].dropna().unique())
        section.text = [f"Sites were not compared ({'; '.join(reasons)})."]
        return section
    order = (tested["n_more"] + tested["n_less"]).sort_values(ascending=False, kind="stable").index
    mark = [EVIDENCE] if EVIDENCE in counts else []
    shown = tested.loc[order, [*GROUPS, "n_more", "n_less", "n_windows", "n_replicates", *mark]]
    note = f"The tests compare donors, not cells. {all_rows('differential_site_counts.tsv')}"
    section.tables = [html_table("Number of sites that differ", shown, note, "site_counts")]
    table = inputs.tables.get("differential_sites")
    if table is None or table.empty:
        section.text.append("No window differs.")
        return section
    columns = ["chrom", "start", "end", "binding", "binding_reference", "difference", "p_adjusted"]
    columns += [EVIDENCE] if EVIDENCE in table else []
    rows, cut = largest(table.replace(named), "difference", SHOWN)
    note = f"{cut} {all_rows('differential_sites.tsv')}".strip()
    section.tables.append(html_table("Largest differences", rows[[*GROUPS, *columns]], note))
    return section
