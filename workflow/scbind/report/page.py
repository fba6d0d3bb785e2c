"""The report: one self-contained page with the results, the accuracy of the models and the limits of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from scbind import __version__
from scbind.analysis.activitytable import read_activity
from scbind.core.files import atomic, read_result
from scbind.report.origin import read_origin
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
from scbind.report.tables import MOST_NAMES, join_names

TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class ReportFiles:
    """Files that the report is made from. A section without its input is left out.

    Attributes
    ----------
    activity
        ``results/activity/{sample}.h5ad`` of at least one sample. Required.
    cells
        ``results/cells/{sample}/cells.h5ad`` of the same samples.
    lenders
        ``lenders.h5ad`` beside them.
    windows
        ``results/binding/windows.npz``. Only the number of windows is used.
    tables
        Tab-separated tables by name. From ``results/evaluation``: ``metrics``, ``depth``, ``needed``
        (``fragments_needed.tsv``), and, if the truth is known, ``truth_cells`` (``cells.tsv``) and ``truth_types``
        (``types.tsv``). From ``results/analysis``: ``differential``, ``populations``, ``population_cells``,
        ``targets``, ``motifs``.
    curves
        Name of a model or baseline to its ``curves.npz``.
    training
        Model to its ``training.csv``.
    models
        Names of the trained models. The model that predicts binding in cells comes first. Default: the keys of
        ``training``. All other names in ``metrics`` are baselines.
    bundle
        ``bundle.json`` of the model that predicts binding in cells, if it was trained elsewhere.
    applied_to
        ``genome`` and ``species`` of this run. ``species`` may be ``None``.
    peaks
        Cell type (or slug) to its ``peaks.json``.
    types
        ``cell_types.tsv``, for the types that were merged or skipped.
    provenance
        Text files that are shown folded at the end.
    """

    activity: Sequence[str | Path]
    cells: Sequence[str | Path] = ()
    lenders: Sequence[str | Path] = ()
    windows: str | Path | None = None
    tables: Mapping[str, str | Path] = field(default_factory=dict)
    curves: Mapping[str, str | Path] = field(default_factory=dict)
    training: Mapping[str, str | Path] = field(default_factory=dict)
    models: Sequence[str] = ()
    bundle: str | Path | None = None
    applied_to: Mapping[str, str | None] = field(default_factory=dict)
    peaks: Mapping[str, str | Path] = field(default_factory=dict)
    types: str | Path | None = None
    provenance: Sequence[str | Path] = ()


def write_report(output: str | Path, files: ReportFiles, figures_dir: str | Path | None = None) -> None:
    """Write ``results/report.html``: text, tables and figures in one self-contained file.

    Parameters
    ----------
    output
        HTML file to write.
    files
        Input files.
    figures_dir
        Optional folder. Each figure is also saved there as ``{name}.png``.

    Raises
    ------
    InputError
        A given file is missing or damaged.
    """
    inputs = _read(files, figures_dir)
    sections = [section for make in SECTIONS if (section := make(inputs)) is not None]
    page = _render(sections, sorted(inputs.data.obs["sample"].unique()))
    with atomic(output) as path:
        path.write_text(page, encoding="utf-8")


def _read(files: ReportFiles, figures_dir: str | Path | None) -> Inputs:
    obs, borrowed = read_cells(files.cells, files.lenders)
    return Inputs(
        data=read_activity(list(files.activity)),
        cells=obs,
        borrowed=borrowed,
        tables={name: read_result(path, AGAIN) for name, path in files.tables.items()},
        curves={name: read_npz(path) for name, path in files.curves.items()},
        training={name: read_result(path, AGAIN, ",") for name, path in files.training.items()},
        models=list(files.models) or list(files.training),
        origin=read_origin(files.bundle, files.applied_to) if files.bundle else None,
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
        subtitle=f"{join_names(samples, MOST_NAMES)} · scbind {__version__}",
    )
