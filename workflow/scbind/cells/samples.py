"""Read the samples of a group: their barcodes with quality and labels, and their insertions."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from scbind.cells.celltypes import read_labels
from scbind.cells.columns import COLUMNS, nuclear_fragments
from scbind.core.errors import InputError
from scbind.core.files import read_result
from scbind.formats.genome import ChromSizes
from scbind.formats.intervals import read_called
from scbind.formats.signal import CellSignal

SAME_CELLS = 20  # of two samples: fewer may be alike by chance


def read_samples(
    samples: dict[str, dict], sizes: ChromSizes, labels: dict
) -> tuple[pd.DataFrame, dict[str, CellSignal]]:
    """Return one table of the barcodes of all samples, with labels, and the insertions of each sample."""
    signals, tables = {}, []
    for sample, paths in samples.items():
        table, signals[sample] = _read_sample(sample, paths, sizes)
        path = labels.get(sample)
        table["label"] = np.nan if path is None else read_labels(path, table["barcode"], sample)
        tables.append(table)
    obs = pd.concat(tables, ignore_index=True)
    _refuse_same_cells(obs, samples)
    return obs, signals


def _refuse_same_cells(obs: pd.DataFrame, samples: dict[str, dict]) -> None:
    """Raise :class:`InputError` if two samples have the same cells: barcodes with the same number of fragments.

    This finds a sample that was given twice, for example plain and compressed, or sorted again.
    """
    key = ["barcode", "n_fragments"]
    twice = obs[obs.duplicated(key, keep=False)]
    number, of_sample = twice.groupby("sample").size(), obs.groupby("sample").size()
    suspects = [name for name, n in number.items() if n >= SAME_CELLS and 2 * n >= of_sample[name]]
    for one, other in combinations(suspects, 2):
        left, right = (twice.loc[twice["sample"] == name, key] for name in (one, other))
        shared, least = len(left.merge(right)), min(of_sample[one], of_sample[other])
        if shared >= SAME_CELLS and 2 * shared >= least:
            raise InputError(
                samples[other]["barcodes"],
                f"{shared} of {least} cells of sample {other} are those of sample {one}, with the same numbers of "
                "fragments",
                "give each sample its own fragments, or remove one of the two",
            )


def _read_sample(sample: str, paths: dict, sizes: ChromSizes) -> tuple[pd.DataFrame, CellSignal]:
    """Return the table of a sample's barcodes, with their fraction of insertions in peaks, and its insertions."""
    remedy = "count the sample's fragments again"
    path = paths["barcodes"]
    table = read_result(path, remedy)
    if list(table.columns) != COLUMNS:
        raise InputError(path, f"has columns {', '.join(table.columns)}, not {', '.join(COLUMNS)}", remedy)
    signal = CellSignal.open(paths["position"], paths["cell"], len(table), sizes)
    if len(signal.position) != 2 * table["n_fragments"].sum():
        raise InputError(
            path,
            f"its {table['n_fragments'].sum()} fragments do not match the {len(signal.position)} insertions of "
            f"{paths['position']}",
            remedy,
        )
    peaks = read_called(paths["peaks"], sizes)
    chrom = pd.Index(sizes.names).get_indexer(peaks["chrom"])
    peaks, chrom = peaks[sizes.nuclear[chrom]], chrom[sizes.nuclear[chrom]]
    offset = sizes.offsets[chrom]
    within = signal.totals_within(offset + peaks["start"].to_numpy(), offset + peaks["end"].to_numpy())
    table["frac_in_peaks"] = within / np.maximum(2 * nuclear_fragments(table), 1)
    table["sample"] = sample
    return table, signal
