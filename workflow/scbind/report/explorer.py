"""What the part of the page that can be asked knows: cells in the UMAP, TFs, genes, cell types, samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from scbind.analysis.linkmodel import CORE
from scbind.evaluation.registry import CONTROLS, NOT_DRAWN
from scbind.formats.doubletgroups import LIKELY
from scbind.formats.evidence import CHIP
from scbind.formats.motifs import column_bits, frequencies
from scbind.report.cells import doublet_shares
from scbind.report.differences import LESS, NO_PROTEIN
from scbind.report.pack import codes, pack, pack_json, rounded
from scbind.report.qualityplots import QC_MEASURES
from scbind.report.read import Inputs
from scbind.report.regulation import SHOWN_FDR
from scbind.report.reliability import cell_depth, cell_fragments, depth_scores, why
from scbind.report.style import NEUTRAL
from scbind.report.tables import DEPTH, NAMES, join_names, trusted, within_budget
from scbind.report.umapplots import UNKNOWN_TYPE

MOST_CELLS = 100_000  # cells in the UMAP of the page; of more, a sample is shown
# Steps of the colour scale of activity: fewer for more values, because these dominate the size of the page.
STEPS = ((4_000_000, 101), (5_000_000, 31), (12_000_000, 15), (float("inf"), 9))
PER_PACK = 8  # TFs whose drawings the browser opens together: alone, they would take a third more room
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
ASKED = {  # kind of what can be asked for: what the page then shows
    "TF": "A TF shows its activity, how far to trust it{genes}, and its best sites",
    "cell type": "a cell type, the TFs that mark it",
    "gene": "a gene, the TFs and sites around it",
    "population": "a population, its markers",
    "sample": "a sample, its quality",
    "donor": "a donor, its cell types",
    "condition": "a condition, what differs",
}
GROUPS = {"cell_type": "cell type", "sample": "sample", "donor": "donor", "condition": "condition"}


def explorer(inputs: Inputs, genes: Sequence[str] = ()) -> tuple[dict, dict[str, str]]:
    """Return the index of the explorer, for JSON, and its packs: name to text (:func:`scbind.report.pack.pack`).

    ``genes`` are the names of the genes that the tables of the page have.

    The index has ``cells`` (number of cells, shown and in all), ``colourings`` (what the UMAP can be coloured by),
    ``tfs`` and ``types`` with what is known of each, and limits and words that the analysis defines. Packs: ``xy``
    (uint16 pairs), ``c-{number}`` per colouring, ``z-{number}`` per TF, ``t-{number}``, which has what the panels of
    ``PER_PACK`` TFs draw, and ``genes`` (:func:`gene_places`).
    """
    shown, seen = _shown(inputs)
    packs: dict[str, str] = {}
    steps = next(n for most, n in STEPS if len(shown) * len(inputs.data.tfs) <= most)
    if len(shown):
        packs["xy"] = pack(_places(inputs.data.umap[shown]).tobytes())
    colourings = _colourings(inputs, shown, packs)
    shares = doublet_shares(inputs.data.obs)
    index = {
        "cells": {"shown": len(shown), "seen": seen, "all": len(inputs.data.obs)},
        "colourings": colourings,
        "steps": steps,
        "per_pack": PER_PACK,
        "tfs": _tfs(inputs, shown, steps, packs),
        "types": [
            {"name": name} | ({"doublets": round(shares[name], 4)} if pd.notna(shares.get(name)) else {})
            for name in inputs.types
        ],
        "cell_depth": None if np.isnan(cell_depth(inputs)) else float(f"{cell_depth(inputs):.3g}"),
        "missing": NEUTRAL,
        "models": inputs.model_colours,
        "controls": [name for name in CONTROLS if name in inputs.model_colours],
        "depth": DEPTH,
        "doublet": LIKELY,
        "promoter": CORE,
        "no_protein": NO_PROTEIN,
        "cell_fragments": cell_fragments(inputs),
        "most_targets": most_targets(inputs),
        "less": LESS,
        "fdr": SHOWN_FDR,
    }
    index["recall"] = _drawings(inputs, packs)
    packs["genes"] = pack_json(gene_places(genes, inputs.genes))
    return index, packs


def gene_places(names: Sequence[str], genes: pd.DataFrame | None) -> dict[str, list]:
    """Return where genes are: ``chroms`` and, per row of the annotation, ``gene, chrom, start, length, plus``.

    ``gene`` is the number in ``sorted(names)``, as the difference from the row before: the page has the names already.
    ``chrom`` is the number in ``chroms``. ``start`` is 0-based. A gene may have several rows, or none.
    """
    if genes is None:
        genes = pd.DataFrame(columns=["gene", "chrom", "start", "end", "strand"])
    number = genes["gene"].map({name: number for number, name in enumerate(sorted(names))})
    rows = genes[number.notna()].assign(number=number.dropna().astype(int))
    rows = rows.sort_values(["number", "chrom", "start"], kind="stable")
    numbers, chroms = pd.factorize(rows["chrom"])
    return {
        "chroms": chroms.tolist(), "chrom": numbers.tolist(), "start": rows["start"].tolist(),
        "gene": np.diff(rows["number"], prepend=0).tolist(), "length": (rows["end"] - rows["start"]).tolist(),
        "plus": (rows["strand"] == "+").astype(int).tolist(),
    }  # fmt: skip


def _shown(inputs: Inputs) -> tuple[np.ndarray, int]:
    """Rows of the cells that the page shows, those of one type together, and the number of cells with a UMAP."""
    rows = np.flatnonzero(np.isfinite(inputs.data.umap).all(axis=1))
    n = len(rows)
    if n > MOST_CELLS:
        rows = np.random.default_rng(0).choice(rows, MOST_CELLS, replace=False)
    kinds = inputs.data.obs["cell_type"].astype(object).fillna("").astype(str).to_numpy()[rows]
    return rows[np.lexsort((rows, kinds))], n  # cells of one type are alike, and compress better side by side


def _places(umap: np.ndarray) -> np.ndarray:
    """Places (cells, 2) as uint16, with one scale for both axes. The second axis points up."""
    low, span = umap.min(axis=0), max(float(np.ptp(umap, axis=0).max()), 1e-9)
    middle = (span - np.ptp(umap, axis=0)) / 2
    return np.round((umap - low + middle) / span * 65_535).astype("<u2")


def _colourings(inputs: Inputs, shown: np.ndarray, packs: dict[str, str]) -> list[dict]:
    """What the UMAP can be coloured by; adds one pack for each."""
    obs, found = inputs.data.obs.iloc[shown], []
    groups = {name: obs[name] for name in GROUPS if name in obs and obs[name].notna().any()}
    table = inputs.tables.get("population_cells")
    if table is not None and len(table):
        keys = ["sample", "cell"]
        owner = obs[keys].merge(table.astype(dict.fromkeys(keys, str)), on=keys, how="left")["population"]
        groups["population"] = owner
    for name, values in groups.items():
        values = values.astype(object)
        levels = sorted(values.dropna().astype(str).unique(), key=lambda text: (len(text), text))
        levels = sorted(levels) if name != "population" else levels
        if not levels:
            continue
        given = pd.Categorical(values.where(values.isna(), values.astype(str)), categories=levels).codes
        packs[f"c-{len(found)}"] = pack(given.astype("<u2").tobytes())  # -1, no group, becomes 65,535
        colours = inputs.colours[name]
        found.append(
            {"name": GROUPS.get(name, name), "levels": levels, "colours": [colours[level] for level in levels],
             "none": UNKNOWN_TYPE if name == "cell_type" else f"no {name}"}
        )  # fmt: skip
    for name, (label, logarithmic) in (QC_MEASURES | {"borrowed_depth": ("borrowed depth", True)}).items():
        if name in obs and obs[name].notna().any():
            values = pd.to_numeric(obs[name], errors="coerce").to_numpy(dtype=np.float64)
            values = np.log10(np.where(values > 0, values, np.nan)) if logarithmic else values
            known = values[np.isfinite(values)]
            if len(known):
                low, high = np.percentile(known, [1, 99])
                packs[f"c-{len(found)}"] = pack(codes(values, low, high, 101).tobytes())
                limits = rounded([10**low, 10**high] if logarithmic else [low, high])
                found.append({"name": label, "limits": limits, "log": logarithmic})
    return found


def _tfs(inputs: Inputs, shown: np.ndarray, steps: int, packs: dict[str, str]) -> list[dict]:
    """One entry per TF: its reliability and why, the limit of its colours; adds one pack for each."""
    data, found = inputs.data, []
    metrics = inputs.tables.get("metrics")
    tested = {}
    if metrics is not None and len(metrics):
        model = next((name for name in inputs.models if name in set(metrics["model"])), None)
        part = metrics[(metrics["split"] == "test") & (metrics["model"] == model)]
        tested = part.groupby("tf")[["auprc", "prevalence"]].mean().round(4).to_dict("index")
    at_depth = depth_scores(inputs)
    for column, tf in enumerate(data.tfs):
        z = np.where(data.shallow[shown, column], np.nan, data.z[shown, column])
        known = np.abs(z[np.isfinite(z)])
        limit = max(float(np.percentile(known, 99)), 1e-3) if len(known) else 1.0
        if len(shown):
            packs[f"z-{column}"] = pack(codes(z, -limit, limit, steps).tobytes())
        facts = data.var.iloc[column]
        entry = {
            "name": tf, "limit": float(f"{limit:.3g}"), "abstained": bool(data.abstained[column]),
            "level": str(facts["level"]) if "level" in facts else "", "why": why(facts, tf in tested),
            "evidence": str(facts.get("evidence", CHIP)),
            "shallow": round(float(data.shallow[:, column].mean()), 4),
        }  # fmt: skip
        if tf in at_depth.index:
            entry["at"] = [float(f"{value:.3g}") for value in at_depth.loc[tf]]
        if known_score := tested.get(tf):
            entry |= {key: value for key, value in known_score.items() if np.isfinite(value)}
        found.append(entry)
    return found


def most_targets(inputs: Inputs) -> int | None:
    """Return how many target genes of a TF and cell type the page has at most; None without target genes."""
    table = inputs.tables.get("targets")
    if table is None or table.empty or (table := trusted(table)[0]).empty:
        return None
    return int(within_budget(table)[0]["rank"].max())


def boxes(z: np.ndarray, kinds: pd.Series, types: list[str]) -> list[list]:
    """Return five quantiles of z and the number of cells, per TF and cell type: lists (TFs, types, 6).

    ``z`` is float64 (cells, TFs), NaN where a cell is too shallow. A type without a cell has None. The quantiles are
    10, 25, 50, 75 and 90 %, each the nearest cell.
    """
    found = np.full((z.shape[1], len(types), len(QUANTILES) + 1), np.nan)
    kinds = kinds.astype(object).to_numpy()
    for row, name in enumerate(types):
        ordered = np.sort(z[kinds == name], axis=0)  # NaN come last
        n = np.isfinite(ordered).sum(axis=0)
        place = np.round(np.array(QUANTILES)[:, None] * np.maximum(n - 1, 0)).astype(int)
        if len(ordered):
            found[:, row, :-1] = np.take_along_axis(ordered, place, axis=0).T
        found[:, row, -1] = n
    flat = iter(np.array(rounded(np.round(found, 2)), dtype=object).reshape(-1, len(QUANTILES) + 1).tolist())
    return [[next(flat) for _ in types] for _ in range(z.shape[1])]


def _drawings(inputs: Inputs, packs: dict[str, str]) -> dict[str, list[float]]:
    """Add what the panels of TFs draw, one pack per ``PER_PACK`` TFs. Return recall per model.

    A pack is a list with ``box`` (one per type), ``precision``, ``prevalence`` and ``motifs`` of each TF. Precision is
    given per model, times 1,000, as differences from one recall to the next. Prevalence is that of the first model.
    """
    quantiles = boxes(inputs.data.readable, inputs.data.obs["cell_type"], inputs.types)
    found = [{"box": box, "precision": {}, "motifs": {}} for box in quantiles]
    place, recall = {tf: column for column, tf in enumerate(inputs.data.tfs)}, {}
    for name, curve in inputs.curves.items():
        if name in NOT_DRAWN:
            continue
        recall[name] = rounded(curve["recall"])
        precision = np.round(1000 * np.nan_to_num(np.asarray(curve["precision"]))).astype(int)
        prevalence = rounded(curve["prevalence"])
        for row, tf in enumerate(np.asarray(curve["tfs"]).astype(str)):
            if tf in place:
                found[place[tf]]["precision"][name] = np.diff(precision[row], prepend=0).tolist()
                found[place[tf]].setdefault("prevalence", prevalence[row])
    for name, matrices in (("known", inputs.matrices), ("found", inputs.found), ("learned", inputs.learned)):
        for tf, matrix in (matrices or {}).items():
            if tf in place:
                found[place[tf]]["motifs"][name] = _letters(matrix)
    for first in range(0, len(found), PER_PACK):
        packs[f"t-{first // PER_PACK}"] = pack_json(found[first : first + PER_PACK])
    return recall


def _letters(matrix: np.ndarray) -> list[list[float]]:
    """Heights of A, C, G and T in bits, per position, of log2 odds (4, length) against a uniform background."""
    share = frequencies(matrix)
    return np.round(share * column_bits(share), 2).T.tolist()


def asked(index: dict, genes: Sequence[str]) -> tuple[str, str]:
    """Return the kinds of names that this page has, and what it shows of each. Both stand above the UMAP."""
    have = {"TF", *(each["name"] for each in index["colourings"] if each.get("levels"))}
    have |= {name for name, some in (("cell type", index["types"]), ("gene", genes)) if some}
    kinds = [name for name in ASKED if name in have]
    shown = "; ".join(ASKED[name] for name in kinds) + "."
    return join_names(kinds, last="or"), shown.format(
        genes=", the genes that it probably regulates" if genes else ""
    )


def described(index: dict) -> list[str]:
    """Return the sentences that stand above the UMAP of the page."""
    cells = index["cells"]
    said = []
    if cells["shown"] < cells["seen"]:
        said.append(
            f"The UMAP shows a random sample of {cells['shown']:,} of {cells['seen']:,} cells. All numbers in the "
            "panels and tables are over all cells."
        )
    named = [each["name"] for each in index["colourings"]]
    if named:
        said.append(f"Cells can be coloured by {join_names(NAMES.get(name, name) for name in named)}, and by "
                    "the activity of any TF.")  # fmt: skip
    return said
