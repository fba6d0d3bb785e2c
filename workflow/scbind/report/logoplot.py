"""Draw what each base contributes to the binding of a TF: a logo of the sequence, and the three other bases."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

from scbind.core.files import atomic, read_result
from scbind.core.runlog import say
from scbind.formats.evidence import MOTIF, marked
from scbind.report.places import regions
from scbind.report.style import as_png, new_figure, styled

LETTER_COLOURS = {"A": "#2C9B4B", "C": "#2F6DB5", "G": "#E0A100", "T": "#C8372D"}
SHOWN = 61  # bases around the strongest
SMOOTHED = 11  # bases over which the strongest part is searched
QUESTION = ["locus", "tf", "cell_type"]
BOLD = FontProperties(family="DejaVu Sans", weight="bold")


def draw_explained(table, output) -> None:
    """Draw each question of ``explain.tsv`` as ``{number}_{tf}.png`` in the folder ``output``, numbered from 1.

    Raises :class:`scbind.core.errors.InputError` if the table is missing or damaged.
    """
    rows = read_result(table, "explain the loci again")
    with atomic(output) as folder:
        folder.mkdir()
        for number, (name, part) in enumerate(rows.groupby(QUESTION, sort=False), 1):
            (folder / f"{number}_{name[1]}.png").write_bytes(as_png(contribution_logo(part)))
    say(f"drew {rows[QUESTION].drop_duplicates().shape[0]} loci")


@styled
def contribution_logo(rows: pd.DataFrame) -> Figure:
    """Draw one question of ``explain.tsv``: the 61 bases around the strongest contributions.

    Above, the height of a letter is its contribution to the logit of P(bound). A letter below zero acts against
    binding. Below, the colour is the effect of each other base.
    """
    rows = strongest_part(rows)
    figure = new_figure(11, 3.9)
    logo, others = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    heights = rows["contribution"].fillna(0)  # of an unknown base, nothing is known
    for place, (base, height) in enumerate(zip(rows["ref"], heights, strict=True)):
        if base in LETTER_COLOURS and height:
            _letter(logo, base, place, height)
    logo.set_ylim(min(1.1 * heights.min(), -0.05), max(1.1 * heights.max(), 0.05))
    logo.axhline(0, color="#555555", linewidth=0.8)
    logo.set_ylabel("contribution (logit)")
    logo.spines["bottom"].set_visible(False)
    logo.tick_params(bottom=False)
    first = rows.iloc[0]
    tf = marked(first["tf"], first["evidence"] == MOTIF)
    logo.set_title(
        f"{tf} in {first['cell_type']}, P(bound) {first['binding']:.2f} at {regions(first['locus'])}"
    )
    _others(figure, others, rows)
    others.set_xlim(-0.6, len(rows) - 0.4)
    at = rows["start"] + 1  # as genome browsers count
    ticks = [place for place, base in enumerate(at) if base % 10 == 0]
    others.set_xticks(ticks, [f"{base:,}" for base in at.iloc[ticks]])
    others.set_xlabel(f"position on {first['chrom']}")
    return figure


def strongest_part(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the 61 bases (or all, if fewer) around the stretch of 11 with the largest sum of contributions."""
    heights = rows["contribution"].fillna(0).to_numpy()
    middle = int(np.argmax(np.convolve(heights, np.ones(SMOOTHED), "same")))
    begin = min(max(0, middle - SHOWN // 2), max(0, len(rows) - SHOWN))
    return rows.iloc[begin : begin + SHOWN]


def _letter(axis, base: str, place: int, height: float) -> None:
    """Draw a letter that is 0.95 wide and ``height`` tall; upside down if it is negative."""
    path = TextPath((0, 0), base, size=1, prop=BOLD)
    box = path.get_extents()
    shape = Affine2D().translate(-box.x0, -box.y0).scale(0.95 / box.width, height / box.height)
    drawn = shape.translate(place - 0.475, 0).transform_path(path)
    axis.add_patch(PathPatch(drawn, color=LETTER_COLOURS[base], linewidth=0))


def _others(figure: Figure, axis, rows: pd.DataFrame) -> None:
    effects = rows[[f"effect_{base}" for base in LETTER_COLOURS]].to_numpy().T
    most = max(float(np.abs(effects).max()), 1e-6)
    image = axis.imshow(effects, cmap="RdBu_r", norm=TwoSlopeNorm(0, -most, most), aspect="auto")
    axis.set_yticks(range(4), list(LETTER_COLOURS))
    axis.set_ylabel("changed to")
    figure.colorbar(image, ax=axis, label="effect (logit)", pad=0.01)
