"""One row of quality measures per sample, in a table that MultiQC reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from scbind.cells.profiles import NUCLEOSOME, read_profile
from scbind.core.errors import InputError
from scbind.core.files import atomic, table_text
from scbind.core.runlog import say
from scbind.formats.celltable import read_obs

HEADER = """# id: "scbind_quality"
# section_name: "scbind: quality of the cells"
# description: "Quality of each sample. Medians are over the cells that pass."
# plot_type: "table"
# pconfig:
#     id: "scbind_quality_table"
#     namespace: "scbind"
"""  # MultiQC: Custom Content, "Data as part of a file"

MEASURES = (
    "n_fragments", "tss_enrichment", "frac_in_peaks", "nucleosome_signal", "frac_duplicates", "frac_mitochondrial"
)  # fmt: skip


def quality_table(
    samples: Sequence[str], cells: Sequence[str | Path], profiles: Sequence[str | Path], output: str | Path
) -> None:
    """Write one row of quality measures per sample.

    Parameters
    ----------
    samples
        Names of the samples.
    cells, profiles
        ``cells.h5ad`` and ``profile.tsv`` of each sample, in the same order.
    output
        Tab-separated table with a header of comment lines, from which MultiQC makes a section. Its name must end with
        ``_mqc.tsv``. Columns in ``docs/reference/outputs.md``; an empty field is not known.

    Raises
    ------
    InputError
        If a file is missing or damaged, or the name of ``output`` is another.
    """
    if not str(output).endswith("_mqc.tsv"):
        raise InputError(output, "MultiQC finds only files that end with _mqc.tsv", "give it such a name")
    rows = [
        {"sample": name} | _cells(read_obs(cell, ["pass", "n_fragments"])) | _library(read_profile(profile))
        for name, cell, profile in zip(samples, cells, profiles, strict=True)
    ]
    with atomic(output) as scratch:
        scratch.write_text(HEADER + table_text(pd.DataFrame(rows)), encoding="utf-8")
    say(f"quality of {len(rows)} samples, for MultiQC")


def _cells(obs: pd.DataFrame) -> dict:
    """Measures of the cells of one sample; ``obs`` has one row per cell."""
    passing = obs[obs["pass"].astype(bool)]
    row = {"cells": len(obs), "passing": len(passing), "fraction_passing": len(passing) / max(len(obs), 1)}
    for name in MEASURES:
        known = passing[name].replace(np.inf, np.nan).dropna() if name in passing else ()
        row[f"median_{name}"] = float(np.median(known)) if len(known) else np.nan
    scores = (
        obs["doublet_score"].dropna() if "doublet_score" in obs else ()
    )  # of cells that meet all other thresholds
    row["expected_doublets"] = float(np.sum(scores)) if len(scores) else np.nan
    return row


def _library(profile: pd.DataFrame) -> dict:
    """Measures of the library of one sample; ``profile`` is :func:`scbind.cells.profiles.profile_table`."""
    length = profile[profile["curve"] == "length"]
    total = length["value"].sum()
    free = length["value"][length["position"] < NUCLEOSOME].sum()
    tss = profile["value"][profile["curve"] == "tss"]
    return {
        "nucleosome_free": free / total if total else np.nan,
        "tss_profile_maximum": tss.max() if len(tss) else np.nan,
    }
