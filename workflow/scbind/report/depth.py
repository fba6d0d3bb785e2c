"""What the report says about depth: AUPRC at lower depth, and the fragments that each TF needs."""

from __future__ import annotations

import numpy as np
import pandas as pd

from scbind.report import modelplots
from scbind.report.accuracy import motif_tested, with_marked_tfs
from scbind.report.choice import ROWS, in_order, spaced
from scbind.report.read import Inputs
from scbind.report.tables import DEPTH, Section, number

EQUIVALENT = (
    "Equivalent fragments of a cell: the number of unweighted fragments whose counts vary as much as those of its own "
    "and borrowed fragments, which have weights. It is larger than the sum of the weights that the section Quality of "
    "the cells shows. For bulk data: the fragments that are kept."
)


def add_depths(inputs: Inputs, section: Section) -> None:
    """Add the figures on depth to a section: AUPRC against depth, and the number of fragments that each TF needs."""
    depth, needed = inputs.tables.get("depth"), inputs.tables.get("needed")
    by_motif = motif_tested(depth) if depth is not None else set()
    if depth is not None:
        depth = depth[~depth["tf"].isin(by_motif)]
    if depth is not None and depth["auprc"].notna().any():
        figure = modelplots.auprc_against_depth(depth, inputs.models, inputs.model_colours)
        caption = (
            "Mean AUPRC if only a fraction of the bulk fragments is kept, down to the depth of single cells. All "
            "models read the same fragments. Filled points: trained models, which take the depth as input. Hollow "
            "points: baselines. boosted_trees is fitted at full depth. Dashed line: ChIP-seq of other lines, which "
            f"does not depend on depth. {DEPTH}"
        )
        section.figures.append(inputs.draw("auprc_depth", figure, caption))
    if needed is not None and needed["fragments_needed"].notna().any():
        known = needed[needed["fragments_needed"].notna()]
        chosen, said = spaced(in_order(known, inputs.models, "fragments_needed"), ROWS, "this number")
        shown = with_marked_tfs(known[known["tf"].isin(chosen)], by_motif)
        cells = equivalent_fragments(inputs)
        figure = modelplots.fragments_needed_dots(shown, inputs.models, inputs.model_colours, cells)
        caption = (
            "Number of fragments at which a TF still has 90 % of its AUPRC at full depth. An arrow marks an upper "
            "bound: even the lowest depth tested was enough. A TF with a low AUPRC at full depth needs few fragments "
            f"to keep 90 % of it, so also look at its AUPRC.{said} {EQUIVALENT}{_enough(known, inputs, cells)}"
        )
        section.figures.append(inputs.draw("fragments_needed", figure, caption))


def equivalent_fragments(inputs: Inputs) -> np.ndarray | None:
    """Return the equivalent fragments of the cells with what they borrow, float64 (cells with a depth,).

    They are comparable with ``fragments_needed``: the depth of a cell, times the same number of bases, divided by two.
    None if no depth is known.
    """
    needed, obs = inputs.tables["needed"], inputs.data.obs
    per_depth = (needed["fragments_needed"] / needed["depth_needed"]).median()
    if "borrowed_depth" not in obs or not per_depth > 0:
        return None
    found = pd.to_numeric(obs["borrowed_depth"], errors="coerce").to_numpy(dtype=np.float64) * per_depth
    found = found[np.isfinite(found)]
    return found if len(found) else None


def _enough(known: pd.DataFrame, inputs: Inputs, cells: np.ndarray | None) -> str:
    """Say how many equivalent fragments the cells have, and for how many TFs this is enough. Begins with a space."""
    if cells is None:
        return ""
    half = float(np.median(cells))
    said = f" Dotted line: the median of the cells, {number(round(half))}. Band: 10 % to 90 % of the cells."
    model = next((name for name in inputs.models if name in set(known["model"])), None)
    if model is None:
        return said
    needs = known.loc[known["model"] == model, "fragments_needed"]
    return f"{said} The median cell has enough fragments for {(needs <= half).sum()} of {len(needs)} TFs ({model})."
