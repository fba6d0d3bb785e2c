"""The common style of all figures, and colours that stay the same throughout a report."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import patheffects
from matplotlib.figure import Figure
from PIL import Image
from scipy.spatial import cKDTree

from scbind.core.files import atomic

DPI = 144
COLOURS = 256  # of a PNG with a palette, at most
WIDEST = 11.4  # inches: the page shows them in full where its window is 1,400 px wide
SMALL = 8.5  # points: 11 px in the page
MANY = 16  # groups of a figure: with more, each has its name or number beside its cells
LEGEND_ROWS = 26  # rows of a legend beside a figure
OUTLINE = [patheffects.withStroke(linewidth=2.5, foreground="white")]  # of marks on dots
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
    """Return a figure as PNG with a palette (:func:`in_palette`)."""
    drawn, buffer = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI, metadata={"Software": None})
    in_palette(Image.open(drawn)).save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def in_palette(image: Image.Image) -> Image.Image:
    """Return an image with at most ``COLOURS`` colours. As PNG, it takes about a third of the space.

    Half of them are the most frequent ones, so areas, lines and letters keep their colours exactly. The others are
    chosen by Pillow; blends at the edges of lines and dots get the nearest colour.
    """
    image = image.convert("RGB")
    red, green, blue = np.asarray(image, dtype=np.uint32).reshape(-1, 3).T
    found, where, times = np.unique(red << 16 | green << 8 | blue, return_inverse=True, return_counts=True)
    colours = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1)
    palette = colours
    if len(colours) > COLOURS:
        exact = colours[np.sort(np.argsort(-times, kind="stable")[: COLOURS // 2])]
        blends = image.quantize(COLOURS - len(exact), Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        palette = np.concatenate([exact, np.reshape(blends.getpalette(), (-1, 3))])[:COLOURS]
    nearest = cKDTree(palette).query(colours)[1].astype(np.uint8)
    few = Image.fromarray(nearest[where].reshape(image.height, image.width))
    few.putpalette(palette.astype(np.uint8).tobytes())
    return few


def save_png(image: bytes, path: str | Path) -> None:
    """Write a PNG, from :func:`as_png`, atomically."""
    with atomic(path) as scratch:
        scratch.write_bytes(image)


def data_uri(image: bytes) -> str:
    """Return a PNG, from :func:`as_png`, as ``data:image/png;base64,...``."""
    return "data:image/png;base64," + base64.b64encode(image).decode("ascii")
