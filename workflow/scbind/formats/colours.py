"""Colours of cell types and other groups: the same in the report and in the files of cells."""

from __future__ import annotations

import pandas as pd

# The colours of Okabe and Ito (Wong 2011, Nature Methods 8:441) without black, then the muted colours of Tol. People
# with common kinds of colour blindness can distinguish them. Yellow is last because its contrast on white is low.
PALETTE = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#882255", "#332288",
    "#117733", "#999933", "#88CCEE", "#AA4499", "#DDCC77", "#661100", "#44AA99", "#F0E442",
)  # fmt: skip


def colours_of(names: list[str], skip: int = 0) -> dict[str, str]:
    """Return name to colour. Colours are assigned in the sorted order of names, and repeat after sixteen names.

    ``skip`` is the number of colours to leave out at the start. It gives two kinds of groups different colours.
    """
    return {name: PALETTE[(i + skip) % len(PALETTE)] for i, name in enumerate(sorted(set(names)))}


def type_colours(obs: pd.DataFrame, types: list[str]) -> dict[str, list[str]]:
    """Return ``{"cell_type_colors": [...]}`` for ``uns``, as scanpy reads it; empty without cell types.

    One colour per category of ``obs["cell_type"]``, in their order. ``types`` are the cell types of all samples, of
    which a sample may lack some: a type has the same colour in every sample and in the report.
    """
    if "cell_type" not in obs or not isinstance(obs["cell_type"].dtype, pd.CategoricalDtype):
        return {}
    names = list(obs["cell_type"].cat.categories)
    colours = colours_of([*types, *names])
    return {"cell_type_colors": [colours[name] for name in names]}
