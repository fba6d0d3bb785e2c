"""Colours of cell types and other groups: the same in the report and in the files of cells."""

from __future__ import annotations

import pandas as pd

# Sixty colours. The first six are of Okabe and Ito (Wong 2011, Nature Methods 8:441). Each of the others is, of a grid
# of colours that show on white and on the dark page (L* from 42.5 to 80), the one whose least difference from those
# before it is largest, with normal sight and with each of the three kinds of colour blindness (as simulated by Machado
# et al. 2009). So the first colours differ most: 8.6 or more among the first sixteen, 4.0 or more among all
# (CIEDE2000). Among the first sixteen, strong colours come first. tests/unit/test_colours.py measures them.
PALETTE = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8877FF", "#995544",
    "#666666", "#CC0099", "#AACC99", "#BB3300", "#BBAA66", "#DDBBCC", "#AA6688", "#888844",
    "#8811FF", "#EE6688", "#99CCEE", "#BBBBAA", "#008866", "#AA77CC", "#885577", "#CCCC55",
    "#BB33CC", "#CC88CC", "#7799FF", "#EE88BB", "#CC8833", "#117755", "#999955", "#BBCC77",
    "#BBAAAA", "#776622", "#9944FF", "#BB6666", "#889988", "#667777", "#885599", "#00AAAA",
    "#668811", "#558877", "#BBAACC", "#CC3355", "#88BB88", "#22DDCC", "#9977AA", "#AAAA99",
    "#AABB44", "#888899", "#CCBBBB", "#55CCFF", "#777733", "#FF3377", "#2277DD", "#AA5588",
    "#CC9977", "#EEBB00", "#DD5599", "#88AABB",
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
