"""Colours of cell types and other groups: the same in the report and in the files of cells."""

from __future__ import annotations

import pandas as pd

# Sixty colours. The first six are of Okabe and Ito (Wong 2011, Nature Methods 8:441). Each of the others is, of a grid,
# the one whose least difference from those before it is largest, with normal sight and with each of the three kinds of
# colour blindness (as simulated by Machado et al. 2009). So the first colours differ most: 9.4 or more among the first
# sixteen, 4.9 or more among all (CIEDE2000). tests/unit/test_colours.py measures them.
PALETTE = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#444444", "#663300",
    "#114466", "#AACC99", "#776677", "#0000DD", "#995544", "#EEBBCC", "#8877FF", "#554433",
    "#BBAA66", "#CC00AA", "#557766", "#BB4411", "#7722FF", "#888844", "#771199", "#CCCC66",
    "#AACCEE", "#EE6688", "#445566", "#33DDCC", "#885588", "#BBBBAA", "#AA77CC", "#226655",
    "#AA6699", "#7766DD", "#CC88CC", "#FFBB22", "#884422", "#FF88FF", "#CC8833", "#BBAACC",
    "#774488", "#AA6655", "#558877", "#CC22CC", "#AA1155", "#999955", "#BB7766", "#EE8888",
    "#446666", "#772222", "#7799AA", "#998888", "#667788", "#9988EE", "#991133", "#BBAAAA",
    "#8811BB", "#CCAABB", "#117744", "#228855",
)  # fmt: skip


def colours_of(names: list[str], skip: int = 0) -> dict[str, str]:
    """Return name to colour. Colours are assigned in the sorted order of names, and repeat after sixty names.

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
