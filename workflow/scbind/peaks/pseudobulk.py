"""List the pseudobulks: cell types, their replicates, and the status of small types."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from scbind.core.errors import InputError
from scbind.core.files import read_result, write_table
from scbind.core.runlog import say
from scbind.formats.celltable import read_obs, read_obsm
from scbind.formats.doubletgroups import LIKELY, doublet_groups
from scbind.formats.typestatus import FROM_SAMPLES, MERGED, OWN, POOLED, SKIPPED, SMALL_TYPES

OBS = ("sample", "barcode", "pass", "cell_type", "n_fragments")
# Types are compared in the first of these that exists, which is the embedding that was clustered.
EMBEDDINGS = ("X_harmony", "X_lsi")
UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")
LONGEST = 80  # characters of a folder name


def list_cell_types(
    cells: Mapping[str, str | Path],
    types_output: str | Path,
    pseudobulks_output: str | Path,
    groups: Mapping[str, str],
    donors: Mapping[str, str | None],
    min_cells: int,
    min_fragments: int,
    small_types: str,
) -> None:
    """List the cell types of all passing cells and the pseudobulks to make of them.

    Parameters
    ----------
    cells, groups, donors
        Sample -> its ``cells.h5ad``; sample -> the group that it was embedded with; sample -> its donor. A replicate
        is a donor or, if the donor is not known, a sample.
    types_output
        TSV, sorted by ``cell_type``: ``cell_type``, ``slug`` (its name in file names: letters, digits and
        ``_.-``), ``n_cells``, ``n_fragments`` (sum over its cells), ``samples`` (comma-separated), ``status`` (a key
        of :data:`scbind.formats.typestatus.STATUSES`), ``merged_into`` (a ``cell_type`` with status ``own``),
        ``reason`` (empty for ``own``), ``doublet_score`` (median of its cells; empty if unknown) and ``caution`` (the
        text of :func:`scbind.formats.doubletgroups.doublet_groups` if the cells of the type are probably doublets).
    pseudobulks_output
        TSV, one row per pseudobulk: ``pseudobulk`` (its folder: ``SLUG``, or ``SLUG/replicates/REPLICATE`` if the
        type has several replicates), ``cell_type``, ``replicate``, ``samples``, ``n_cells``, ``n_fragments``, and
        ``large`` (``yes`` if both minima are reached). Counts include merged types.
    min_cells, min_fragments
        Minima that a type, or a replicate, must reach to get its own peaks.
    small_types
        How to treat smaller types: ``sample_peaks``, ``merge`` or ``skip``. ``merge`` pools a type with the nearest
        type that is large enough, by cosine between centroids of the embedding that was clustered. Only types
        embedded in one group can be compared. A type without fragments is always skipped.

    Raises
    ------
    InputError
        If a file is missing or lacks a column, no cell passes, or no type is left.
    """
    paths = list(cells.values())
    table = pd.concat([_with_group(path, groups) for path in paths])
    if table.empty:
        raise InputError(paths[0], "no cell passes quality control in any sample", "lower the thresholds")
    unknown = [sample for sample in table["sample"].unique() if not donors.get(sample)]
    if 0 < len(unknown) < table["sample"].nunique():
        say(f"WARNING samples without a donor count as replicates of their own: {', '.join(unknown)}")
    table["replicate"] = table["sample"].map(lambda sample: donors.get(sample) or sample)
    types = _summary(table, "cell_type")
    types.insert(1, "slug", slugs(types["cell_type"].tolist()))
    _judge(types, min_cells, min_fragments, small_types)
    if SMALL_TYPES[small_types] == MERGED:
        _merge(types, table, cells)
    _warn_of_doublets(types, table, cells)
    for row in types[types["reason"] != ""].itertuples():
        into = f" into {row.merged_into}" if row.merged_into else ""
        say(f"WARNING cell type {row.cell_type} ({row.reason}): {row.status}{into}")
    for row in types[types["caution"] != ""].itertuples():
        say(f"WARNING cell type {row.cell_type} ({row.n_cells:,} cells): {row.caution}")
    pooled = types[types["status"].isin(POOLED)]
    if pooled.empty:
        raise InputError(
            paths[0],
            f"no cell type is left ({types['reason'].iloc[0]})",
            "lower peaks.min_cells and peaks.min_fragments, or change peaks.small_types",
        )
    into = types["merged_into"].where(types["status"] == MERGED, types["cell_type"])
    table["cell_type"] = table["cell_type"].map(dict(zip(types["cell_type"], into, strict=True)))
    rows = []
    for name, folder in zip(pooled["cell_type"], pooled["slug"], strict=True):
        part = table[table["cell_type"] == name]
        rows.append(_summary(part, "cell_type").assign(pseudobulk=folder, replicate=""))
        # If a type has one replicate, that replicate equals the type.
        if part["replicate"].nunique() > 1:
            inside = _summary(part, "replicate").assign(cell_type=name)
            inside["pseudobulk"] = [
                f"{folder}/replicates/{name}" for name in slugs(inside["replicate"].tolist())
            ]
            rows.append(inside[inside["n_fragments"] > 0])
    bulks = pd.concat(rows)
    large = (bulks["n_cells"] >= min_cells) & (bulks["n_fragments"] >= min_fragments)
    bulks["large"] = np.where(large, "yes", "no")
    columns = ["pseudobulk", "cell_type", "replicate", "samples", "n_cells", "n_fragments", "large"]
    write_table(pseudobulks_output, bulks[columns])
    write_table(types_output, types)


def read_pools(types: str | Path) -> dict[str, str]:
    """Read ``cell_types.tsv`` and return cell type -> slug of the pool that it belongs to, without skipped types."""
    table = read_result(types, "list the cell types again", text=True)
    into = table["merged_into"].where(table["status"] == MERGED, table["cell_type"])
    slugs = into.map(dict(zip(table["cell_type"], table["slug"], strict=True)))
    return {
        name: folder
        for name, folder, status in zip(table["cell_type"], slugs, table["status"], strict=True)
        if status != SKIPPED
    }


def read_typed_cells(path: str | Path) -> pd.DataFrame:
    """Read the cells of a ``cells.h5ad`` that pass and have a type. Only ``obs`` is read.

    Returns the columns ``sample``, ``barcode``, ``pass``, ``cell_type``, ``n_fragments`` and ``doublet_score`` (NaN if
    the file has none), indexed by row in the file. Raises :class:`InputError` if the file is missing or damaged, or
    lacks one of the other columns.
    """
    obs = read_obs(path, OBS)
    score = obs["doublet_score"].to_numpy(dtype=np.float64) if "doublet_score" in obs else np.nan
    obs = obs[list(OBS)].astype({"sample": str, "barcode": str, "pass": bool}).reset_index(drop=True)
    obs["doublet_score"] = score
    typed = obs["cell_type"].notna() & (obs["cell_type"].astype(str) != "")
    return obs[obs["pass"] & typed].astype({"cell_type": str})


def slugs(names: Sequence[str]) -> list[str]:
    """Make a folder name for each name: letters, digits, ``_``, ``.`` and ``-``, no two alike even without case.

    A name that is already safe keeps its spelling. Of names that become alike, all but the first get a number.

    Examples
    --------
    >>> slugs(['CD4+ T', 'CD4_T', '???'])
    ['CD4_T_2', 'CD4_T', 'type']
    """
    safe = [UNSAFE.sub("_", _plain(name)).lstrip("_.-")[:LONGEST] or "type" for name in names]
    made, used = [""] * len(safe), set()
    for row in sorted(range(len(safe)), key=lambda row: safe[row] != names[row]):  # stable
        number, candidate = 1, safe[row]
        while candidate.casefold() in used:
            number += 1
            candidate = f"{safe[row]}_{number}"
        used.add(candidate.casefold())
        made[row] = candidate
    return made


def _plain(name: str) -> str:
    """Return a name without accents."""
    return "".join(part for part in unicodedata.normalize("NFKD", name) if not unicodedata.combining(part))


def _with_group(path, groups: Mapping[str, str]) -> pd.DataFrame:
    table = read_typed_cells(path)
    return table.assign(group=table["sample"].map(groups))


def _summary(table: pd.DataFrame, by: str) -> pd.DataFrame:
    return table.groupby(by, sort=True, as_index=False).agg(
        n_cells=("barcode", "size"),
        n_fragments=("n_fragments", "sum"),
        samples=("sample", lambda names: ",".join(sorted(names.unique()))),
    )


def _judge(types: pd.DataFrame, min_cells: int, min_fragments: int, small_types: str) -> None:
    """Add ``status``, ``merged_into`` and ``reason``. Types are merged later, by :func:`_merge`."""
    # Names the key, not its value, so a limit that changes no type reruns nothing downstream.
    few_cells = types["n_cells"].astype(str) + " cells, fewer than peaks.min_cells"
    few_fragments = types["n_fragments"].astype(str) + " fragments, fewer than peaks.min_fragments"
    empty = types["n_fragments"] == 0
    types["status"] = np.where(empty, SKIPPED, OWN)
    types["merged_into"] = ""
    types["reason"] = np.select(
        [empty, types["n_cells"] < min_cells, types["n_fragments"] < min_fragments],
        ["no fragments", few_cells, few_fragments],
        "",
    )
    small = (types["reason"] != "") & ~empty
    types.loc[small, "status"] = SKIPPED if SMALL_TYPES[small_types] == SKIPPED else FROM_SAMPLES


def _merge(types: pd.DataFrame, table: pd.DataFrame, cells: Mapping[str, str | Path]) -> None:
    """Merge each small type into the nearest type that is large enough, in the group with most of its cells."""
    centroids = _centroids(cells, table)
    large = set(types.loc[types["status"] == OWN, "cell_type"])
    for row in types.index[types["status"] == FROM_SAMPLES]:
        name = types.at[row, "cell_type"]
        for group in (
            table.loc[table["cell_type"] == name, "group"].value_counts().sort_index(kind="stable").index
        ):
            near = {
                other: float(centroids[group, name] @ centroids[group, other])
                for other in sorted(large)
                if (group, other) in centroids
            }
            if near:
                types.loc[row, ["status", "merged_into"]] = MERGED, max(near, key=near.get)
                break
        else:
            types.at[row, "reason"] += "; no larger type was embedded with it"


def _warn_of_doublets(types: pd.DataFrame, table: pd.DataFrame, cells: Mapping[str, str | Path]) -> None:
    """Add ``doublet_score`` and ``caution``. A type is compared in the group with most of its cells."""
    types["doublet_score"] = types["cell_type"].map(table.groupby("cell_type")["doublet_score"].median())
    types["caution"] = ""
    score = dict(zip(types["cell_type"], types["doublet_score"], strict=True))
    if not (types["doublet_score"] >= LIKELY).any():
        return
    centroids = _centroids(cells, table)
    for group, part in table.groupby("group"):
        here = part["cell_type"].value_counts().to_dict()
        profiles = {name: centroids[group, name] for name in here}
        for name, text in doublet_groups(profiles, here, score).items():
            own = (
                table.loc[table["cell_type"] == name, "group"]
                .value_counts()
                .sort_index(kind="stable")
                .idxmax()
            )
            if own == group:
                types.loc[types["cell_type"] == name, "caution"] = text


def _centroids(cells: Mapping[str, str | Path], table: pd.DataFrame) -> dict[tuple[str, str], np.ndarray]:
    """Return (group, type) -> unit vector of the mean of its cells; cells have unit length, as in the kNN graph."""
    sums: dict[tuple[str, str], np.ndarray] = {}
    for sample, path in cells.items():
        part = table[table["sample"] == sample]
        found = read_obsm(path, EMBEDDINGS)
        used = next((name for name in EMBEDDINGS if name in found), None)
        if used is None:
            raise InputError(path, f"obsm has no {EMBEDDINGS[-1]}", "run the embedding of the sample again")
        points = found[used].astype(np.float64)[part.index]
        points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
        keys = list(zip(part["group"], part["cell_type"], strict=True))
        for key in sorted(set(keys)):
            inside = np.array([other == key for other in keys])
            sums[key] = sums.get(key, 0) + points[inside].sum(axis=0)
    return {key: value / max(np.linalg.norm(value), 1e-12) for key, value in sums.items()}
