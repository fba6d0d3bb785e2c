"""One self-contained page that says what was found, how good the models are, and where to be careful."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from scbind import __version__
from scbind.analysis.activitytable import read_activity
from scbind.core.files import atomic, read_result
from scbind.report.read import (
    AGAIN,
    Inputs,
    drawer,
    read_cells,
    read_limits,
    read_npz,
    read_peak_status,
    read_text,
)
from scbind.report.sections import SECTIONS
from scbind.report.tables import join_names

TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class ReportFiles:
    """What a report is made from; sections without input are left out.

    Attributes
    ----------
    activity, cells
        ``results/activity/{sample}.h5ad`` (needed) and ``results/cells/{sample}/cells.h5ad``, one or several.
    windows
        ``results/binding/windows.npz``, for their number.
    tables
        Tab-separated tables by name: ``metrics``, ``depth`` and ``needed`` (``fragments_needed.tsv``) of
        ``results/evaluation``; ``truth_cells`` and ``truth_types`` (``cells.tsv`` and ``types.tsv`` there), where the
        truth is known; ``differential``, ``populations``, ``population_cells``, ``targets`` and ``motifs`` of
        ``results/analysis``.
    curves, training, models
        Model or baseline name to its ``curves.npz``; model to its ``training.csv``; names of the trained models, the
        one used for the cells first (default: the keys of ``training``). All other names in ``metrics`` are baselines.
    peaks, types
        Cell type (or slug) to its ``peaks.json``; ``cell_types.tsv``, for the types that were merged or skipped.
    provenance
        Text files shown folded at the end.
    """

    activity: Sequence[str | Path]
    cells: Sequence[str | Path] = ()
    windows: str | Path | None = None
    tables: Mapping[str, str | Path] = field(default_factory=dict)
    curves: Mapping[str, str | Path] = field(default_factory=dict)
    training: Mapping[str, str | Path] = field(default_factory=dict)
    models: Sequence[str] = ()
    peaks: Mapping[str, str | Path] = field(default_factory=dict)
    types: str | Path | None = None
    provenance: Sequence[str | Path] = ()


def write_report(output: str | Path, files: ReportFiles, figures_dir: str | Path | None = None) -> None:
    """Write ``results/report.html``: text, tables and figures in one file that needs nothing else.

    ``figures_dir`` is a folder that also gets every figure as ``{name}.png``. Raises :class:`InputError` for a path
    that is given but unreadable.
    """
    inputs = _read(files, figures_dir)
    sections = [section for make in SECTIONS if (section := make(inputs)) is not None]
    page = _render(sections, sorted(inputs.data.obs["sample"].unique()))
    with atomic(output) as path:
        path.write_text(page, encoding="utf-8")


def _read(files: ReportFiles, figures_dir: str | Path | None) -> Inputs:
    obs, borrowed = read_cells(files.cells)
    return Inputs(
        data=read_activity(list(files.activity)),
        cells=obs,
        borrowed=borrowed,
        tables={name: read_result(path, AGAIN) for name, path in files.tables.items()},
        curves={name: read_npz(path) for name, path in files.curves.items()},
        training={name: read_result(path, AGAIN, ",") for name, path in files.training.items()},
        models=list(files.models) or list(files.training),
        n_windows=len(read_npz(files.windows)["start"]) if files.windows is not None else None,
        peaks=read_peak_status(files.peaks, files.types),
        provenance=[read_text(path) for path in files.provenance],
        draw=drawer(figures_dir),
        limits=read_limits(files.cells),
    )


def _render(sections: list, samples: list[str]) -> str:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template("report.html.j2").render(
        title="scbind report",
        sections=sections,
        subtitle=f"{join_names(samples)} · scbind {__version__}",
    )
