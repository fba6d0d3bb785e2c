"""Read the activity files of one or more samples as one table of cells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

from scbind.core.errors import InputError
from scbind.core.runlog import say
from scbind.formats.celltable import ACTIVITY, cell_types_of, read_whole
from scbind.formats.evidence import CHIP, MOTIF

MIN_REPLICATES = 3  # on either side of a comparison
FEW = f"fewer than {MIN_REPLICATES} replicates per group"
SHARED = f"replicates in both groups, and fewer than {MIN_REPLICATES} others per group"


@dataclass(frozen=True)
class Activity:
    """TF activity of the cells of all samples.

    Attributes
    ----------
    z, binding
        float64 (cells, TFs): activity, and mean P(bound) over all windows.
    obs
        One row per cell, indexed from 0: ``sample``, ``cell_type`` (missing if unknown), ``cell`` (the barcode), and
        all other columns of the files.
    var
        One row per TF, with its reliability.
    umap
        float64 (cells, 2); NaN for the cells of a file without UMAP.
    shallow
        bool (cells, TFs): the cell is too shallow for a TF on which scbind does not abstain in all cells. False for
        files without this information.
    """

    z: np.ndarray
    binding: np.ndarray
    obs: pd.DataFrame
    var: pd.DataFrame
    umap: np.ndarray
    shallow: np.ndarray

    @property
    def tfs(self) -> list[str]:
        """Names of the TFs, in column order."""
        return self.var.index.tolist()

    @property
    def abstained(self) -> np.ndarray:
        """TFs on which scbind abstains in all cells: bool (TFs,); see :func:`abstained_tfs`."""
        return abstained_tfs(self.var)

    @property
    def readable(self) -> np.ndarray:
        """``z``, with NaN where a cell is too shallow for the TF: float64 (cells, TFs)."""
        return np.where(self.shallow, np.nan, self.z)

    def take(self, tfs: np.ndarray) -> Activity:
        """Return the same cells with only the TFs ``tfs``: a bool mask or column numbers."""
        kept = {name: getattr(self, name)[:, tfs] for name in ("z", "binding", "shallow")}
        return replace(self, var=self.var.iloc[tfs], **kept)


def read_activity(paths: list[str | Path]) -> Activity:
    """Read ``results/activity/{sample}.h5ad`` of one or more samples.

    Cells whose ``pass`` is false are left out. TFs whose z is not finite in every cell are also left out, and the log
    names them.

    Raises
    ------
    InputError
        If no file is given, a file is missing or unreadable, lacks ``mean_binding`` or ``cell_type``, or has other TFs
        than the first.
    """
    if not paths:
        raise InputError("activity", "no file is given", "give at least one results/activity/{sample}.h5ad")
    files = [_read_one(Path(path)) for path in paths]
    names = files[0].var_names
    for path, data in zip(paths[1:], files[1:], strict=True):
        if not names.equals(data.var_names):
            raise InputError(
                path, f"its TFs differ from those of {paths[0]}", "make both with the same model"
            )
    z = np.vstack([_dense(data.X) for data in files])
    binding = np.vstack([_dense(data.layers["mean_binding"]) for data in files])
    umap = np.vstack([_umap(data) for data in files])
    obs = pd.concat([data.obs for data in files], ignore_index=True)
    finite = np.isfinite(z).all(axis=0)
    if not finite.all():
        say(f"TFs left out because their activity is not finite in every cell: {', '.join(names[~finite])}")
    shallow = np.vstack([_shallow(data) for data in files])
    found = Activity(z, binding, obs, files[0].var, umap, shallow)
    return found if finite.all() else found.take(finite)  # a copy of all cells needs as much memory again


def replicates(obs: pd.DataFrame) -> pd.Series:
    """Return the name of each cell's replicate: its donor or, if this is not known, its sample."""
    if "donor" not in obs:
        return obs["sample"].astype(str)
    return obs["donor"].astype(object).where(obs["donor"].notna(), obs["sample"].astype(object)).astype(str)


@dataclass(frozen=True)
class Sides:
    """Replicates with which two sides are compared: one row each, named by the index.

    ``left_out`` replicates are in both groups and in neither table, because they are too few for pairs.
    """

    ours: pd.DataFrame
    theirs: pd.DataFrame
    paired: bool
    left_out: int = 0

    @property
    def n_replicates(self) -> int:
        """Number of replicates in the test."""
        return len(self.ours) if self.paired else len(self.ours) + len(self.theirs)


def matched(ours: pd.DataFrame, theirs: pd.DataFrame) -> Sides | str:
    """Choose the replicates with which two sides are compared; one row per replicate, named by the index.

    With ``MIN_REPLICATES`` or more on both sides, these alone are compared, in pairs. With fewer, they are left out,
    and the others are compared if each side has ``MIN_REPLICATES`` or more of them. Otherwise, the answer is why
    replicates cannot be compared: ``FEW`` or ``SHARED``.
    """
    both = ours.index.intersection(theirs.index)
    if len(both) >= MIN_REPLICATES:
        return Sides(ours.loc[both], theirs.loc[both], True)
    if min(len(ours), len(theirs)) < MIN_REPLICATES:
        return FEW
    if min(len(ours), len(theirs)) - len(both) < MIN_REPLICATES:
        return SHARED
    return Sides(ours.drop(both), theirs.drop(both), False, len(both))


def say_left_out(step: str, cell_type: str, group: str, reference: str) -> None:
    """Say in the log of which comparison replicates are left out (:class:`Sides`)."""
    inside = "" if group == cell_type else f" in {cell_type}"
    say(
        f"{step}: {group} against {reference}{inside}: the replicates in both groups are left out, because they are "
        f"too few for pairs (minimum {MIN_REPLICATES})"
    )


def compared_conditions(condition: pd.Series) -> list[str]:
    """Return the conditions that are compared with all others, sorted; missing ones do not count.

    Of two conditions, one is left out: its comparison would equal that of the other with the opposite sign.
    """
    known = sorted(condition.dropna().unique())
    return known[1:] if len(known) == 2 else known


def _read_one(path: Path) -> anndata.AnnData:
    data = read_whole(path, ACTIVITY, ["layers/mean_binding"])
    obs = data.obs.copy()
    obs["cell_type"] = cell_types_of(obs, path)
    obs["cell"] = obs.index.astype(str)
    obs["sample"] = obs["sample"].astype(str) if "sample" in obs else path.stem
    data.obs = obs
    return data[obs["pass"].astype(bool).to_numpy()].copy() if "pass" in obs else data


def _dense(matrix) -> np.ndarray:
    return np.asarray(matrix.toarray() if sp.issparse(matrix) else matrix, dtype=np.float64)


def abstained_tfs(var: pd.DataFrame) -> np.ndarray:
    """Return the TFs on which scbind abstains in all cells: bool (TFs,).

    ``var`` is that of an activity file. All values are False if it has no column ``abstained``.
    """
    given = "abstained" in var
    return var["abstained"].to_numpy(dtype=bool) if given else np.zeros(len(var), dtype=bool)


def motif_tfs(var: pd.DataFrame) -> list[str]:
    """Return the TFs without ChIP-seq. ``var`` is that of an activity file."""
    return var.index[var["evidence"] == MOTIF].tolist() if "evidence" in var else []


def evidence_by_tf(var: pd.DataFrame) -> pd.DataFrame:
    """Return the evidence of each TF: ``evidence``, by TF. ``var`` is that of an activity file, which may lack it."""
    return pd.DataFrame(
        {"evidence": var["evidence"].astype(object) if "evidence" in var else CHIP}, index=var.index
    )


def _shallow(data: anndata.AnnData) -> np.ndarray:
    if "abstained" not in data.layers:
        return np.zeros(data.shape, dtype=bool)
    return np.asarray(data.layers["abstained"], dtype=bool) & ~abstained_tfs(data.var)


def _umap(data: anndata.AnnData) -> np.ndarray:
    if "X_umap" not in data.obsm:
        return np.full((data.n_obs, 2), np.nan)
    return np.asarray(data.obsm["X_umap"], dtype=np.float64)[:, :2]
