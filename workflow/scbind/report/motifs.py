"""The section on motifs in the predicted sites, and the best sites."""

from __future__ import annotations

from scbind.report import typeplots
from scbind.report.activity import star_note, starred_names
from scbind.report.choice import ROWS, spaced
from scbind.report.differences import NO_PROTEIN, active_first, activity_in_type
from scbind.report.read import Inputs
from scbind.report.tables import ABSTAINED, MARKS, Section, all_rows, html_table, trusted, within_budget


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
        caption = f"Odds ratio of each TF's own motif, per cell type.{said}{star_note(inputs.data, chosen)}"
        shown = table[table["tf"].isin(chosen)]
        shown = shown.assign(tf=starred_names(inputs.data, shown["tf"].tolist()))
        section.figures = [
            inputs.draw("motifs", typeplots.motif_support(shown, inputs.colours["cell_type"]), caption)
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
