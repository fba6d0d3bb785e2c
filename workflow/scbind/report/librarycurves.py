"""A figure of the libraries: the lengths of their fragments, and their insertions around start sites."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from scbind.cells.profiles import read_profile
from scbind.report.style import legend_outside, new_figure, styled

LONGEST = 800  # bp in the figure; hardly any fragment is longer
LEGEND_ROWS = 26  # rows of a legend beside the figure
LABELS = {
    "length": ("Fragment lengths", "length in bp", "% of fragments"),
    "tss": ("Insertions around start sites", "bp from the start site", "relative to the ends"),
}


def read_library_curves(paths: Mapping[str, str | Path]) -> pd.DataFrame | None:
    """Read the curves of samples: ``sample, curve, position, value``. None without files.

    ``paths`` maps a sample to its ``profile.tsv``. Raises :class:`scbind.core.errors.InputError` if one is missing or
    damaged.
    """
    tables = [read_profile(path).assign(sample=sample) for sample, path in paths.items()]
    return pd.concat(tables, ignore_index=True) if tables else None


@styled
def library_curves(profiles: pd.DataFrame, samples: list[str], colours: Mapping[str, str]) -> Figure:
    """Draw both curves of ``samples``, one line per sample in its colour.

    ``profiles``: see :func:`read_library_curves`.
    """
    known = profiles.dropna(subset="value")
    curves = [name for name in LABELS if (known["curve"] == name).any()]
    figure = new_figure(4.6 * len(curves) + 1.6, 3.6)
    axes = figure.subplots(1, len(curves), squeeze=False)[0]
    for axis, curve in zip(axes, curves, strict=True):
        title, xlabel, ylabel = LABELS[curve]
        for name in samples:
            part = known[(known["curve"] == curve) & (known["sample"] == name)]
            height = part["value"]
            if curve == "length":
                height = 100 * height / max(height.sum(), 1)
            axis.plot(part["position"], height, color=colours[name], linewidth=1.2, label=name)
        axis.set(title=title, xlabel=xlabel, ylabel=ylabel)
        axis.grid(color="#EEEEEE")
        axis.set_axisbelow(True)
        if curve == "length":
            axis.set_xlim(0, LONGEST)
        else:
            axis.set_xticks(range(-2000, 2001, 1000))
    legend_outside(axes[-1], columns=-(-len(samples) // LEGEND_ROWS))
    return figure
