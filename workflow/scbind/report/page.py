"""One self-contained page that says what was found, how good the models are, and where to be careful."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from scbind import __version__
from scbind.analysis.activitytable import read_activity
from scbind.core.files import atomic
from scbind.report.read import (
    Inputs,
    drawer,
    read_cells,
    read_limits,
    read_npz,
    read_peak_status,
    read_result,
    read_text,
)
from scbind.report.sections import SECTIONS
from scbind.report.tables import join_names

TEMPLATES = Path(__file__).with_name("templates")


def write_report(
    output: str | Path,
    activity: Sequence[str | Path],
    cells: Sequence[str | Path] = (),
    windows: str | Path | None = None,
    metrics: str | Path | None = None,
    curves: Mapping[str, str | Path] | None = None,
    training: Mapping[str, str | Path] | None = None,
    models: Sequence[str] = (),
    depth: str | Path | None = None,
    needed: str | Path | None = None,
    differential: str | Path | None = None,
    populations: str | Path | None = None,
    population_cells: str | Path | None = None,
    targets: str | Path | None = None,
    motifs: str | Path | None = None,
    peaks: Mapping[str, str | Path] | None = None,
    types: str | Path | None = None,
    truth_cells: str | Path | None = None,
    truth_types: str | Path | None = None,
    provenance: Sequence[str | Path] = (),
    figures_dir: str | Path | None = None,
    title: str = "scbind report",
) -> None:
    """Write ``results/report.html``: text, tables and figures in one file that needs nothing else.

    Parameters
    ----------
    output
        The page.
    activity, cells
        ``results/activity/{sample}.h5ad`` (needed) and ``results/cells/{sample}/cells.h5ad``, one or several.
    windows
        ``results/binding/windows.npz``, for their number.
    metrics, curves, training, models
        ``results/evaluation/metrics.tsv``; model or baseline name to its ``curves.npz``; model to its
        ``training.csv``; names of the trained models, the one used for the cells first (default: the keys of
        ``training``). All other names in ``metrics`` are baselines.
    depth, needed
        ``depth.tsv`` and ``fragments_needed.tsv`` of ``results/evaluation``.
    differential, populations, population_cells, targets, motifs
        The tables of ``results/analysis``.
    peaks, types
        Cell type (or slug) to its ``peaks.json``; ``cell_types.tsv``, for the types that were merged or skipped.
    truth_cells, truth_types
        ``results/evaluation/cells.tsv`` and ``types.tsv``, where the truth is known.
    provenance
        Text files shown folded at the end.
    figures_dir
        Folder that also gets every figure as ``{name}.png``.

    Sections without input are left out. Raises :class:`InputError` for a path that is given but unreadable.
    """
    models = list(models) or list(training or {})
    tables = {
        "metrics": metrics, "differential": differential, "populations": populations, "targets": targets,
        "population_cells": population_cells, "motifs": motifs, "truth_cells": truth_cells,
        "truth_types": truth_types, "depth": depth, "needed": needed,
    }  # fmt: skip
    obs, borrowed = read_cells(cells)
    inputs = Inputs(
        data=read_activity(list(activity)),
        cells=obs,
        borrowed=borrowed,
        tables={name: read_result(path) for name, path in tables.items() if path is not None},
        curves={name: read_npz(path) for name, path in (curves or {}).items()},
        training={name: read_result(path, ",") for name, path in (training or {}).items()},
        models=models,
        n_windows=len(read_npz(windows)["start"]) if windows is not None else None,
        peaks=read_peak_status(peaks or {}, types),
        provenance=[read_text(path) for path in provenance],
        draw=drawer(figures_dir),
        limits=read_limits(cells),
    )
    sections = [section for make in SECTIONS if (section := make(inputs)) is not None]
    samples = sorted(inputs.data.obs["sample"].unique())
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    page = environment.get_template("report.html.j2").render(
        title=title, sections=sections, subtitle=f"{join_names(samples)} · scbind {__version__}"
    )
    with atomic(output) as path:
        path.write_text(page, encoding="utf-8")
