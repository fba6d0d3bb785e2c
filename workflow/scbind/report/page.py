"""The report: one self-contained page with queries for a TF, gene, cell type or sample."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from scbind import __version__
from scbind.analysis.activitytable import read_activity
from scbind.core.files import AGAIN, atomic, read_npz, read_result, write_table
from scbind.core.runlog import say
from scbind.report.cautions import Caution, cautions
from scbind.report.explorer import asked, described, explorer
from scbind.report.librarycurves import read_library_curves
from scbind.report.origin import read_extended, read_origin
from scbind.report.pack import unpack
from scbind.report.places import PLACE_FORM
from scbind.report.read import (
    Inputs,
    drawer,
    read_cells,
    read_frames,
    read_learned,
    read_limits,
    read_matrices,
    read_model_facts,
    read_peak_status,
    read_places,
    read_text,
)
from scbind.report.sections import PARTS
from scbind.report.tables import subtitle

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
    profiles
        Sample to its ``profile.tsv``.
    windows
        ``results/binding/windows.npz``. The number of windows and their width are used.
    tables
        Tab-separated tables by name. From ``results/evaluation``: ``metrics``, ``depth``, ``needed``
        (``fragments_needed.tsv``), ``methods`` (``activity.tsv``), ``separation`` (``activity_types.tsv``),
        ``left_out`` (``left_out_tfs.tsv``), and, if the truth is known, ``truth_cells`` (``cells.tsv``),
        ``truth_types`` (``types.tsv``), ``truth_cohort_links`` and ``truth_cohort_populations``
        (``cohort_links.tsv``, ``cohort_populations.tsv``). From ``results/analysis``: ``differential``,
        ``differential_sites``, ``site_counts`` (``differential_site_counts.tsv``), ``populations``,
        ``population_cells``, ``abundance``, ``targets``, ``links``, ``expression`` (``tf_expression.tsv``), ``motifs``,
        ``sites`` (``best_sites.tsv``), ``variants`` (``variants_strongest.tsv``), ``explain``. Of motifs: ``found``
        (``results/motifs/found.tsv``), ``learned`` (``learned_motifs.tsv`` of the model that predicts binding).
    curves
        Name of a model or baseline to its ``curves.npz``.
    training
        Model to its ``training.csv``.
    models
        Names of the trained models. The model that predicts binding in cells comes first. Default: the keys of
        ``training``. All other names in ``metrics`` are baselines.
    bundle
        ``bundle.json`` of the model that predicts binding in cells, if it was trained elsewhere.
    extends
        The bundle that this model extends, if any.
    applied_to
        ``genome`` and ``species`` of this run. ``species`` may be ``None``.
    peaks
        Cell type (or slug) to its ``peaks.json``.
    types
        ``cell_types.tsv``, for the types that were merged or skipped.
    provenance
        Text files that are shown folded at the end.
    matrices
        ``motifs.npz``: the known motifs.
    found_matrices
        ``found.npz``: the motifs that were found in the data.
    weights
        ``model.safetensors`` of the model that predicts binding in cells, for the motifs that it has learned.
    tracks
        Cell line to its ``track.json``.
    target
        Fragments that a cell borrows up to (``infer.borrow_fragments``).
    smallest_type
        Cell types with fewer cells are left out of comparisons (``analysis.min_cells``).
    assay, looser
        Assay of the thresholds of quality control (``cells.assay``), and those that are looser than its defaults: name
        to value (None: no limit) and default (:func:`scbind.plan.settings.looser_thresholds`).
    genes, sizes
        BED or GTF of genes, and ``chrom.sizes`` of the genome, for the coordinates of the genes.
    """

    activity: Sequence[str | Path]
    cells: Sequence[str | Path] = ()
    lenders: Sequence[str | Path] = ()
    profiles: Mapping[str, str | Path] = field(default_factory=dict)
    windows: str | Path | None = None
    tables: Mapping[str, str | Path] = field(default_factory=dict)
    curves: Mapping[str, str | Path] = field(default_factory=dict)
    training: Mapping[str, str | Path] = field(default_factory=dict)
    models: Sequence[str] = ()
    bundle: str | Path | None = None
    extends: str | Path | None = None
    applied_to: Mapping[str, str | None] = field(default_factory=dict)
    peaks: Mapping[str, str | Path] = field(default_factory=dict)
    types: str | Path | None = None
    provenance: Sequence[str | Path] = ()
    matrices: str | Path | None = None
    found_matrices: str | Path | None = None
    weights: str | Path | None = None
    tracks: Mapping[str, str | Path] = field(default_factory=dict)
    target: float | None = None
    smallest_type: int | None = None
    assay: str = "custom"
    looser: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    genes: str | Path | None = None
    sizes: str | Path | None = None


def write_report(
    output: str | Path,
    files: ReportFiles,
    figures_dir: str | Path | None = None,
    warnings: str | Path | None = None,
) -> None:
    """Write ``results/report.html``: one self-contained page that can be asked.

    Parameters
    ----------
    output
        HTML file to write.
    files
        Input files.
    figures_dir
        Optional folder. Each figure is also saved there as ``{name}.png``.
    warnings
        Optional table to write: the warnings at the top of the page (:class:`scbind.report.cautions.Caution`).

    Raises
    ------
    InputError
        A given file is missing or damaged.
    """
    inputs = _read(files, figures_dir)
    found = cautions(inputs)
    parts = [
        (title, [section for make in makers if (section := make(inputs)) is not None])
        for title, makers in PARTS
    ]
    page = _render(parts, inputs, found)
    if warnings is not None:
        write_table(warnings, pd.DataFrame(found, columns=list(Caution._fields)))
    with atomic(output) as path:
        path.write_text(page, encoding="utf-8")
    say(f"the report has {Path(output).stat().st_size / 1e6:.2f} MB and {len(found)} warnings")


def _read(files: ReportFiles, figures_dir: str | Path | None) -> Inputs:
    obs, borrowed = read_cells(files.cells, files.lenders)
    windows = None if files.windows is None else read_npz(files.windows, AGAIN, ["start", "window"])
    return Inputs(
        data=read_activity(list(files.activity)),
        cells=obs,
        borrowed=borrowed,
        tables={name: read_result(path, AGAIN) for name, path in files.tables.items()},
        curves={name: read_npz(path, AGAIN) for name, path in files.curves.items()},
        training={name: read_result(path, AGAIN, ",") for name, path in files.training.items()},
        models=list(files.models) or list(files.training),
        origin=read_origin(files.bundle, files.applied_to) if files.bundle else None,
        extended=read_extended(files.extends, files.applied_to) if files.extends else None,
        n_windows=None if windows is None else len(windows["start"]),
        window=None if windows is None else int(windows["window"]),
        genes=read_places(files.genes, files.sizes),
        peaks=read_peak_status(files.peaks, files.types),
        provenance=[read_text(path) for path in files.provenance],
        draw=drawer(figures_dir),
        limits=read_limits(files.cells),
        matrices=read_matrices(files.matrices),
        found=read_matrices(files.found_matrices),
        learned=read_learned(files.weights),
        about={
            "scbind": __version__,
            "genome": files.applied_to.get("genome") or "",
            "species": files.applied_to.get("species") or "",
            "model": next(iter(files.models), ""),
        }
        | read_model_facts(files.weights),
        frames=read_frames(files.tracks),
        profiles=read_library_curves(files.profiles),
        target=files.target,
        smallest_type=files.smallest_type,
        assay=files.assay,
        looser={name: tuple(values) for name, values in files.looser.items()},
    )


def _render(parts: list[tuple[str, list]], inputs: Inputs, found: list[Caution]) -> str:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["linked"] = linked
    genes = _genes(parts)
    index, packs = explorer(inputs, genes)
    kinds, shows = asked(index, genes)
    return environment.get_template("report.html.j2").render(
        title="scbind report",
        parts=[(title, sections) for title, sections in parts if sections],
        subtitle=subtitle(inputs.data.obs["sample"].unique(), inputs.about.get("genome", "")),
        kinds=kinds,
        shows=shows,
        simulated=inputs.simulated,
        loci="sites" in inputs.tables,
        cautions=found,
        said=described(index),
        place_form=PLACE_FORM if _has_places(parts) else "",
        index=json.dumps(index, allow_nan=False).replace("<", "\\u003c"),
        packs=packs,
        css=(TEMPLATES / "report.css").read_text(encoding="utf-8"),
        js="".join((TEMPLATES / name).read_text(encoding="utf-8") for name in ("shared.js", "report.js")),
    )


def linked(text: str) -> str:
    """Return the HTML of a text in which each file of the run, such as ``results/analysis/links.tsv``, is a link.

    The page is in ``results``. The text is escaped, so the HTML is safe.
    """
    text = html.escape(text)
    text = re.sub(r"\bresults/([\w/-]+\.(?:tsv|bed))\b", r'<a href="\1">\g<0></a>', text)
    return re.sub(r"\blogs/runs\.tsv\b", r'<a href="../\g<0>">\g<0></a>', text)


def _genes(parts: list[tuple[str, list]]) -> set[str]:
    """Return the names in the columns ``gene`` of the tables of target genes and links, as the page has them.

    Genes of links that are not on the page are among them.
    """
    found: set[str] = set()
    for table in (table for _, sections in parts for section in sections for table in section.tables):
        if table["name"] in ("targets", "links"):
            head = json.loads(unpack(table["pack"]))
            found.update(head["data"][[column["key"] for column in head["columns"]].index("gene")]["l"])
            found.update(head.get("totals", {}).get("gene", {}))
    return found


def _has_places(parts: list[tuple[str, list]]) -> bool:
    """Return whether a table of the page has a column of places or regions."""
    tables = [table for _, sections in parts for section in sections for table in section.tables]
    return any("place" in column or "regions" in column for table in tables for column in table["columns"])
