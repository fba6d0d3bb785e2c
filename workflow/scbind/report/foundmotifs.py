"""Section of the report about motifs that were found in the data, or learned by the model."""

from __future__ import annotations

import pandas as pd

from scbind.discovery.nearest import SIMILAR
from scbind.formats.motifs import found_in
from scbind.report.read import Inputs
from scbind.report.tables import Section, html_table, join_names

TITLE = "Motifs found in the data"
STARTS = ["starts_found", "starts_known"]  # 0 or 1, for the training of networks: only in the file
OF_SEARCH = (
    "AUPRC and prevalence are those of the motif alone, around summits in bound windows and at places of similar "
    "accessibility and GC content in unbound ones. There, bound places are more frequent, so do not compare this AUPRC "
    "with that of a model."
)
NEAREST = (
    "The nearest known motif is the most similar one of the motif release (Tomtom). Its p-value is multiplied by the "
    f"number of known motifs; no motif is named if this adjusted p-value is above {SIMILAR:g}. Known motifs of one "
    "family are alike, so also look at the adjusted p-value of the TF's own known motif."
)


def found_motifs(inputs: Inputs) -> Section | None:
    """Return the section with the found and the learned motifs. None without any."""
    found, learned = (_rows(inputs, name) for name in ("found", "learned"))
    if found is None and learned is None:
        return None
    section = Section("found", TITLE, text=[NEAREST])
    if found is not None:
        section.text.insert(0, _summary(found))
        note = (
            "A known motif in this table is that of the TF. Lower case: weak; dot: any base. "
            f"{OF_SEARCH} All rows: results/motifs/found.tsv."
        )
        shown = found.drop(columns=STARTS)
        section.tables.append(html_table("Motifs found in the bound windows", shown, note, "found"))
    if learned is not None:
        note = "The motif of each TF after training. All rows: learned_motifs.tsv of the model."
        section.tables.append(html_table("Motifs as the model has learned them", learned, note, "learned"))
    return section


def _rows(inputs: Inputs, name: str) -> pd.DataFrame | None:
    table = inputs.tables.get(name)
    if table is None or table.empty:
        return None
    return table.assign(nearest_known=table["nearest_known"].astype(object).fillna(""))


def _summary(found: pd.DataFrame) -> str:
    """How many TFs have a found motif, for how many it is their known one, and which have that of another TF."""
    first = found[found["starts_found"] == 1]
    finder = first["motif"].map(found_in)
    borrowed, first = first.assign(finder=finder)[finder != first["tf"]], first[finder == first["tf"]]
    own = first["own_p_adjusted"] <= SIMILAR
    other = first[~own & (first["nearest_known"] != "")]
    said = (
        f"Motifs were found for {len(first)} TFs. The best one is similar to the TF's own known motif for "
        f"{int(own.sum())} of them."
    )
    if len(other):
        named = join_names(f"{row.tf} ({row.nearest_known.partition(':')[2]})" for row in other.itertuples())
        said += f" It is only similar to the known motif of another TF for {named}."
    if len(borrowed):
        named = join_names(f"{row.tf} (that of {row.finder})" for row in borrowed.itertuples())
        said += (
            f" No motif, or only one that may be chance, was found for {named}: the motif that was found for another "
            "TF and fits best is listed."
        )
    return f"{said} A TF may bind beside another one, and the found motif may be that of the other TF."
