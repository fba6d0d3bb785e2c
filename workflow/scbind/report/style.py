"""The common style of all figures, and colours that stay the same throughout a report."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from scbind.core.files import atomic

DPI = 144
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
MANY = 16  # groups of a figure: with more, each has its name or number beside its cells
NEUTRAL = "#9A9A9A"
STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.labelcolor": "#222222",
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


def colours_of(names: list[str], skip: int = 0) -> dict[str, str]:
    """Return name to colour. Colours are assigned in the sorted order of names, and repeat after sixty names.

    ``skip`` is the number of colours to leave out at the start. It gives two kinds of groups different colours.
    """
    return {name: PALETTE[(i + skip) % len(PALETTE)] for i, name in enumerate(sorted(set(names)))}


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of ``width`` x ``height`` inches, with automatic layout and without global state."""
    return Figure(figsize=(width, height), layout="constrained")


def styled(function):
    """Decorate a function that draws: apply :data:`STYLE` inside it, and leave the settings of the caller unchanged."""

    def wrapper(*arguments, **options):
        with matplotlib.rc_context(STYLE):
            return function(*arguments, **options)

    wrapper.__name__, wrapper.__doc__ = function.__name__, function.__doc__
    return wrapper


def legend_outside(axis, handles=None, title: str | None = None, columns: int = 1) -> None:
    """Put the legend to the right of an axis."""
    extra = {} if handles is None else {"handles": handles}
    axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1), title=title, ncols=columns, **extra)


@styled
def as_png(figure: Figure) -> bytes:
    """Return a figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def save_png(image: bytes, path: str | Path) -> None:
    """Write a PNG, from :func:`as_png`, atomically."""
    with atomic(path) as scratch:
        scratch.write_bytes(image)


def data_uri(image: bytes) -> str:
    """Return a PNG, from :func:`as_png`, as ``data:image/png;base64,...``."""
    return "data:image/png;base64," + base64.b64encode(image).decode("ascii")
