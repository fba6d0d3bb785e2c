"""How far to trust a TF in these cells: their depth, the AUPRC at this depth, and why a TF has its level."""

from __future__ import annotations

import numpy as np
import pandas as pd

from scbind.dataset.codes import FEW_BOUND
from scbind.formats.evidence import MOTIF
from scbind.models.abstention import ABSTAIN_GAIN, HIGH, LOW
from scbind.report.read import Inputs
from scbind.report.tables import DEPTH, number


def cell_depth(inputs: Inputs) -> float:
    """Return the median depth of the cells with what they borrow, in insertions per base; NaN if it is not known."""
    obs = inputs.data.obs
    depth = (
        pd.to_numeric(obs["borrowed_depth"], errors="coerce")
        if "borrowed_depth" in obs
        else pd.Series(dtype=float)
    )
    return float(depth.median())


def cell_fragments(inputs: Inputs) -> int | None:
    """Return the median number of own fragments of the cells; None if it is not known."""
    obs = inputs.data.obs
    known = pd.to_numeric(obs["n_fragments"], errors="coerce").dropna() if "n_fragments" in obs else ()
    return round(float(known.median())) if len(known) else None


def depth_scores(inputs: Inputs) -> pd.DataFrame:
    """Return the AUPRC of each TF on bulk data at the depth of the cells, and at the full depth of the bulk data.

    Columns ``cells, full``, index: TFs; means over cell lines. Between the depths tested, the AUPRC is interpolated in
    log depth; beyond them, that of the nearest depth is taken. Empty if the depth or the AUPRC is not known.
    """
    table, depth = inputs.tables.get("depth"), cell_depth(inputs)
    found = pd.DataFrame(columns=["cells", "full"], dtype=float)
    model = next((name for name in inputs.models if table is not None and name in set(table["model"])), None)
    if model is None or not depth > 0:
        return found
    table = table[(table["model"] == model) & table["auprc"].notna() & (table["depth"] > 0)].sort_values(
        "depth"
    )
    rows = [
        (tf, np.interp(np.log(depth), np.log(part["depth"]), part["auprc"]), part["auprc"].iloc[-1])
        for (tf, _), part in table.groupby(["tf", "cell_line"], observed=True)
    ]
    return pd.DataFrame(rows, columns=["tf", *found.columns]).groupby("tf").mean() if rows else found


def why(facts: pd.Series, tested: bool = False) -> str:
    """Return why a TF has its level of reliability, and why scbind abstains.

    ``facts`` is its row of ``var``. ``tested``: whether it was tested on held-out windows, which a TF without ChIP-seq
    in the training may be if the run has its ChIP-seq.
    """
    said = []
    if facts.get("evidence") == MOTIF:
        said.append("No ChIP-seq: the TF is predicted from its motif and what all TFs share.")
        if pd.notna(facts.get("auprc_expected")):
            said.append(
                "Half of the TFs with ChIP-seq reach a conservative AUPRC of "
                f"{number(facts['auprc_expected'])} or more on validation windows when they are predicted in "
                "this way. The shared weights were fitted to them, so this is somewhat too high for another TF."
            )
            said.append(
                "This TF was tested with the ChIP-seq of this run, which did not change its level."
                if tested
                else "This TF itself was not tested."
            )
        if (group := facts.get("motif_group", facts.name)) != facts.name:
            said.append(f"Its motif cannot be told from that of {group}.")
            if facts.get("level") == "low" and pd.isna(facts.get("auprc_expected")):
                said.append(
                    "The TFs with this motif that have ChIP-seq are predicted too poorly to be trusted."
                )
    if "n_bound" in facts and pd.notna(facts["n_bound"]):
        bound, auprc = int(facts["n_bound"]), facts.get("auprc", np.nan)
        least = facts.get("auprc_least", np.nan)
        least = auprc if pd.isna(least) else least  # decides on the level
        prevalence = facts.get("prevalence", np.nan)
        if bound < FEW_BOUND:
            said.append(
                f"Only {bound} validation windows are bound (at least {FEW_BOUND} are needed), so the accuracy is "
                "unknown."
            )
        elif pd.notna(least):
            level = "low (below" if least < LOW else "high (at least" if least >= HIGH else "medium (at least"
            limit = HIGH if least >= HIGH else LOW
            same = pd.isna(auprc) or number(auprc) == number(least)
            decides = ":" if same else f". The conservative AUPRC, {number(least)}, decides:"
            said.append(
                f"On validation windows of bulk lines at full depth ({bound:,} of them bound) the AUPRC is "
                f"{number(least if same else auprc)}{decides} {level} {limit})."
            )
            if pd.notna(prevalence) and least < ABSTAIN_GAIN * prevalence:
                said.append(
                    f"{'That' if same else 'The conservative AUPRC'} is less than {ABSTAIN_GAIN:g} times the "
                    f"prevalence ({number(prevalence)}), which is the AUPRC of random guessing."
                )
    if "min_depth" in facts and pd.notna(facts["min_depth"]):
        said.append(
            f"At least half of the AUPRC remains at {number(facts['min_depth'])} insertions per base; scbind abstains "
            f"in shallower cells. {DEPTH}"
        )
    if bool(facts.get("abstained", False)):
        said.insert(0, "scbind abstains on this TF: do not interpret its values.")
    return " ".join(said)
