"""Colours of cell types and other groups: the same in the report and in the files of cells."""

from __future__ import annotations

import pandas as pd

# Sixty colours. The first six are of Okabe and Ito (Wong 2011, Nature Methods 8:441). On white, all have at least the
# contrast of the palest of these (2.25), and on the dark page at least 3. The rest come from a grid of such
# colours and maximise the minimum CIEDE2000 distance (exchange algorithm), with normal sight and with each of the three
# kinds of colour blindness (as simulated by Machado et al. 2009), for the first 16, then 24, 36 and 60.
# The minimum distance is 8.9 among the first sixteen, and 4.0 among all. tests/unit/test_colours.py
# measures them.
PALETTE = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#6860FF", "#C81800",
    "#387050", "#B03090", "#B0B068", "#A06080", "#7888D0", "#789048", "#C03050", "#88B890",
    "#90A0C0", "#786068", "#208868", "#686828", "#7098FF", "#609098", "#E06878", "#6040F8",
    "#C0A0B0", "#B838C0", "#D08800", "#8078A8", "#6880F8", "#A89088", "#B07088", "#E01830",
    "#98A048", "#905078", "#C05860", "#486890", "#A0B0A0", "#6860D8", "#F088D0", "#507040",
    "#FF8888", "#08C838", "#A09860", "#D860D8", "#A0A878", "#C82038", "#907078", "#9850A0",
    "#E090E8", "#C06090", "#FF60B8", "#7898A8", "#408058", "#B87838", "#988860", "#B08078",
    "#887848", "#688098", "#5098B8", "#D80068",
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
