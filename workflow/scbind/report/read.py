"""Read the input files of the report. All are optional except the TF activity."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from scbind.analysis.activitytable import Activity
from scbind.core.files import AGAIN, read_json, read_npz, read_result, require
from scbind.dataset.seen import trained_lines, with_extended
from scbind.formats.celltable import cell_types_of, read_borrow, read_obs, read_params
from scbind.formats.colours import colours_of
from scbind.formats.genes import read_genes
from scbind.formats.genome import ChromSizes
from scbind.formats.typestatus import POOLED, STATUSES
from scbind.report.origin import Extended, Origin
from scbind.report.style import DPI, as_png, data_uri, save_png
from scbind.report.tables import join_names

LIMITS = {  # parameter of the embedding that is a threshold: the measure that it applies to
    "min_fragments": "n_fragments",
    "max_fragments": "n_fragments",
    "min_tss": "tss_enrichment",
    "max_nucleosome_signal": "nucleosome_signal",
    "min_frac_in_peaks": "frac_in_peaks",
    "max_doublet_score": "doublet_score",
}
MOST_BYTES = 300_000  # a larger PNG is not in the page, which links to it
SIMULATED = "resources/demo/sc/", "resources/cohort/sc/"  # folders of simulated cells
MOST_SKIPPED = 6  # colours that populations leave to cell types: the first six are told apart best
MAX_LINES = 400  # maximum number of lines of a provenance file on the page


@dataclass(frozen=True)
class Inputs:
    """The content of the input files of the report. Fields without input are None or empty.

    The fields do not change, so that what is computed from them is computed once. ``dataclasses.replace`` makes a copy
    with other fields.

    Attributes
    ----------
    data
        TF activity of all cells.
    cells
        Cell tables of all samples, see :func:`read_cells`.
    borrowed
        What the passing cells borrow, see :func:`read_cells`.
    tables, curves, training, models, provenance
        Content of the files of the same names in :class:`scbind.report.page.ReportFiles`.
    n_windows, window
        Number of windows in which binding is predicted, and their width in bp.
    peaks
        One row per cell type, see :func:`read_peak_status`.
    draw
        Function that prepares a figure for the page, see :func:`drawer`.
    limits
        Thresholds of each quality measure.
    origin
        Where the model for cells comes from, if it was trained elsewhere.
    extended
        The bundle that the model for cells extends, if any.
    matrices
        Known motif of each TF: log2 odds, float32 (4, length).
    found
        Best motif that was found for each TF: log2 odds, float32 (4, length).
    learned
        Motif of each TF as the model for cells has learned it: log2 odds, float64 (4, width).
    about
        Facts of the run for the section on provenance: name to value.
    target
        Fragments that a cell borrows up to (``infer.borrow_fragments``).
    smallest_type
        Cell types with fewer cells are left out of comparisons (``analysis.min_cells``).
    assay, looser
        As in :class:`scbind.report.page.ReportFiles`.
    frames
        Cell line to the Tn5 shift of its input files, as its ``track.json`` says.
    profiles
        Curves of the libraries, see :func:`scbind.report.librarycurves.read_library_curves`.
    genes
        Genes of the annotation: ``gene, chrom`` (text), ``start, end`` (0-based half-open), ``strand``. None without
        an annotation.
    """

    data: Activity
    cells: pd.DataFrame | None
    borrowed: Borrowed | None
    tables: dict[str, pd.DataFrame]
    curves: dict[str, dict]
    training: dict[str, pd.DataFrame]
    models: list[str]
    n_windows: int | None
    peaks: pd.DataFrame | None
    provenance: list[tuple[str, str]]
    draw: Callable
    limits: dict[str, list[float]] = field(default_factory=dict)
    origin: Origin | None = None
    extended: Extended | None = None
    matrices: dict[str, np.ndarray] = field(default_factory=dict)
    found: dict[str, np.ndarray] = field(default_factory=dict)
    learned: dict[str, np.ndarray] = field(default_factory=dict)
    about: dict[str, str] = field(default_factory=dict)
    target: float | None = None
    smallest_type: int | None = None
    assay: str = "custom"
    looser: dict[str, tuple[float | None, float]] = field(default_factory=dict)
    frames: dict[str, list[str]] = field(default_factory=dict)
    profiles: pd.DataFrame | None = None
    window: int | None = None
    genes: pd.DataFrame | None = None

    @property
    def simulated(self) -> bool:
        """Whether the cells are simulated: their truth is known, or their sheet names files of a simulation."""
        known = any(name.startswith("truth_") for name in self.tables)
        return known or any(folder in text for _, text in self.provenance for folder in SIMULATED)

    @property
    def tested(self) -> bool:
        """Whether the accuracy of the models was measured in this run. If not, a bundle states it."""
        return self.origin is None or bool(self.curves)

    @cached_property
    def types(self) -> list[str]:
        """Sorted names of the cell types."""
        return sorted(self.data.obs["cell_type"].dropna().astype(str).unique())

    @cached_property
    def small_types(self) -> list[str]:
        """Sorted names of the cell types with fewer than ``smallest_type`` cells, which are left out of comparisons."""
        counts = self.data.obs["cell_type"].astype(str).value_counts()
        return [name for name in self.types if self.smallest_type and counts[name] < self.smallest_type]

    @cached_property
    def colours(self) -> dict[str, dict[str, str]]:
        """Colour of every cell type, population, sample, donor and condition, the same in all figures and on the page.

        Keys: ``cell_type, population, sample, donor, condition``. Populations do not begin with the first colours of
        the cell types.
        """
        cells, found = self.tables.get("population_cells"), {"cell_type": colours_of(self.types)}
        named = {name: [self.data.obs] for name in ("sample", "donor", "condition")}
        named["sample"].append(self.cells)
        for side in ("group", "reference") if "abundance" in self.tables else ():
            named["condition"].append(self.tables["abundance"][[side]].set_axis(["condition"], axis=1))
        named["population"] = [cells, self.tables.get("populations")]
        for name, tables in named.items():
            parts = [
                table[name].dropna().astype(str) for table in tables if table is not None and name in table
            ]
            names = sorted({each for part in parts for each in part.unique()} - {""})
            found[name] = colours_of(names, min(len(self.types), MOST_SKIPPED) if name == "population" else 0)
        return found

    @cached_property
    def model_colours(self) -> dict[str, str]:
        """Colour of each model and baseline, the same in all figures."""
        scored = self.tables["metrics"]["model"].unique() if "metrics" in self.tables else []
        return colours_of([*self.models, *self.training, *self.curves, *scored])


def read_places(genes: str | Path | None, sizes: str | Path | None) -> pd.DataFrame | None:
    """Return the genes of an annotation: ``gene, chrom, start, end, strand``, with names of chromosomes.

    None without an annotation. Raises :class:`InputError` like :func:`scbind.formats.genes.read_genes`.
    """
    if genes is None:
        return None
    known = ChromSizes.read(sizes)
    table = read_genes(genes, known)[["gene", "chrom", "start", "end", "strand"]]
    return table.assign(chrom=np.array(known.names, dtype=object)[table["chrom"]])


def read_limits(paths: Sequence[str | Path]) -> dict[str, list[float]]:
    """Return the thresholds of each quality measure, sorted, from ``uns["params"]`` of ``cells.h5ad`` files."""
    found: dict[str, set[float]] = {}
    for path in paths:
        params = read_params(path)
        for name in LIMITS.keys() & params.keys():
            found.setdefault(LIMITS[name], set()).add(float(params[name]))
    return {measure: sorted(values) for measure, values in found.items()}


class Borrowed(NamedTuple):
    """What passing cells borrow; each array is (passing cells,).

    Attributes
    ----------
    own, total
        Own fragments, and own and borrowed fragments (sum of weights), float64.
    n_cells
        Number of cells that contribute, including the cell itself, int64.
    share
        ``n_cells`` divided by the number of passing cells of the sample, float64.
    """

    own: np.ndarray
    total: np.ndarray
    n_cells: np.ndarray
    share: np.ndarray


def read_cells(
    paths: Sequence[str | Path], lenders: Sequence[str | Path] = ()
) -> tuple[pd.DataFrame | None, Borrowed | None]:
    """Read all cells of ``cells.h5ad`` files, and what the passing cells borrow, from ``lenders.h5ad`` files.

    Returns
    -------
    cells
        The cell tables one after the other, with ``sample``, and ``pass`` if the files have it. None without files.
    borrowed
        None if no file says what cells borrow.
    """
    tables, parts = [], []
    for path in lenders:
        obs, borrow = read_obs(path), read_borrow(path)
        if borrow is not None and "n_fragments" in obs:
            fragments = obs["n_fragments"].to_numpy(dtype=np.float64)
            count = np.asarray((borrow > 0).sum(axis=1)).ravel()
            some = count > 0  # cells that failed have an empty row
            total = np.asarray(borrow @ fragments).ravel()
            share = count[some] / max(1, some.sum())
            parts.append(Borrowed(fragments[some], total[some], count[some], share))
    for path in paths:
        obs = read_obs(path)
        obs["cell_type"] = cell_types_of(obs, path)
        obs["sample"] = obs["sample"].astype(str) if "sample" in obs else Path(path).parent.name
        tables.append(obs)
    any_cell = any(len(part.own) for part in parts)
    borrowed = Borrowed(*map(np.concatenate, zip(*parts, strict=True))) if any_cell else None
    return (pd.concat(tables, ignore_index=True) if tables else None), borrowed


def read_peak_status(paths: Mapping[str, str | Path], types: str | Path | None = None) -> pd.DataFrame | None:
    """Return a table with one row per cell type: its ``peaks.json``, or from ``cell_types.tsv`` why it has no peaks.

    It has a column ``caution`` if a type has one, such as "probably doublets of A and B".

    ``paths`` maps a cell type to its ``peaks.json``. Returns None if there are no cell types. Raises
    :class:`InputError` if a file is missing or damaged.
    """
    rows = []
    for name, path in paths.items():
        found = read_json(path, "call the peaks of the type again")
        merged = {"merged": ", ".join(found["merged"])} if "merged" in found else {}
        rows.append({"cell_type": name} | found | merged)
    if types is not None:
        listed = read_result(types, "list the cell types again", text=True)
        texts = listed["caution"] if "caution" in listed else [""] * len(listed)
        caution = {name: text for name, text in zip(listed["cell_type"], texts, strict=True) if text}
        for row in listed[~listed["status"].isin(POOLED)].itertuples():
            source = " ".join(filter(None, (STATUSES[row.status].source, row.merged_into)))
            facts = {"reason": row.reason, "n_cells": int(row.n_cells), "n_fragments": int(row.n_fragments)}
            rows.append({"cell_type": row.cell_type, "source": source} | facts)
        for row in rows if caution else ():
            row["caution"] = caution.get(row["cell_type"], "")
    return pd.DataFrame(rows) if rows else None


def read_matrices(path: str | Path | None) -> dict[str, np.ndarray]:
    """Return the motif of each TF from a file like ``motifs.npz``: log2 odds (4, length). Empty without a path."""
    if path is None:
        return {}
    return {name[7:]: matrix for name, matrix in read_npz(path, AGAIN).items() if name.startswith("matrix/")}


def read_learned(path: str | Path | None) -> dict[str, np.ndarray]:
    """Return :func:`scbind.models.learnedmotifs.learned_motifs`. Empty without a path."""
    if path is None:
        return {}
    from scbind.models.learnedmotifs import learned_motifs  # imports torch, so only if needed

    return learned_motifs(path)


def read_model_facts(path: str | Path | None) -> dict[str, str]:
    """Return what the model for cells is and what it was trained on: name to value. Empty without a path."""
    if path is None:
        return {}
    from scbind.models.modelfile import read_model  # imports torch, so only if needed

    facts = read_model(path)["facts"]
    return {
        "architecture of the model": str(facts["architecture"]),
        "model trained on genome": str(facts["genome"]),
        "model trained on cell lines": join_names(trained_lines(facts)),
        **{
            f"it extends {each['name']}, trained on": f"{join_names(trained_lines(each))}, {each['genome']}"
            for each in with_extended(facts)[1:]
        },
        "TFs that the model predicts": f"{sum(map(bool, facts['modelled']))} of {len(facts['tfs'])}",
    }


def read_frames(paths: Mapping[str, str | Path]) -> dict[str, list[str]]:
    """Return the Tn5 shift of the input files of each cell line. ``paths`` maps a line to its ``track.json``."""
    found = {}
    for line, path in paths.items():
        about = read_json(path, AGAIN)
        found[line] = [str(each.get("frame", "")) for each in about.get("inputs", [])]
    return found


def read_text(path: str | Path) -> tuple[str, str]:
    """Return the name of a text file (``folder/name``) and its text, at most the first 400 lines.

    A last line gives the number of lines left out. Raises :class:`InputError` if the file is missing.
    """
    path = require(path, "run the rule that makes it first")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    if len(lines) > MAX_LINES:
        lines = [*lines[:MAX_LINES], f"... the file has {len(lines) - MAX_LINES:,} more lines"]
    return f"{path.parent.name}/{path.name}", "\n".join(lines)


def drawer(folder: str | Path | None) -> Callable[[str, Figure, str], dict]:
    """Return a function that prepares a figure for the template, from its name, figure and caption.

    The function returns ``src``, ``link``, ``file``, ``alt``, ``caption``, ``width`` and ``height``. With ``folder``,
    it also saves the figure there as ``{name}.png``, and ``file`` is its path from the page; if it is larger than
    ``MOST_BYTES``, ``src`` is empty and ``link`` is this path.
    """

    def draw(name: str, figure: Figure, caption: str) -> dict:
        image = as_png(figure)  # this fixes the layout, and so the size that is read below
        file = "" if folder is None else f"{Path(folder).name}/{name}.png"
        if folder is not None:
            save_png(image, Path(folder) / f"{name}.png")
        link = file if len(image) > MOST_BYTES else ""
        width, height = (round(side * DPI * 2 / 3) for side in figure.get_size_inches())
        kept = {"file": file, "alt": caption, "caption": caption, "width": width, "height": height}
        return {"src": "" if link else data_uri(image), "link": link} | kept

    return draw
