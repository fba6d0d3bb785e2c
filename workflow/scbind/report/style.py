"""The common style of all figures, and colours that stay the same throughout a report."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from scbind.core.files import atomic

DPI = 144
WIDEST = 11.4  # inches: the page shows them in full where its window is 1,400 px wide
SMALL = 8.5  # points: 11 px in the page
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
