"""ChIP-seq peaks to labels of windows: bound, unbound, ambiguous, or not assayed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from scbind.dataset.codes import AMBIGUOUS, BOUND, UNBOUND
from scbind.formats.genome import UNKNOWN, Genome
from scbind.formats.overlaps import covered_bases


def grid_windows(
    genome: Genome, exclude: pd.DataFrame, window: int, step: int, context: int
) -> tuple[np.ndarray, np.ndarray]:
    """Every usable window of the sequenced genome on a grid.

    A window ``[k * step, k * step + window)`` is kept if it holds no N, touches no excluded interval, and the
    ``context`` bases centred on it lie inside the chromosome. Returns the chromosome index (int32) and the
    start (int32) of each, sorted.
    """
    flank = (context - window) // 2
    chroms, starts = [], []
    for index in range(genome.n_sequenced):
        offset, length = genome.sizes.offsets[index], int(genome.sizes.lengths[index])
        start = np.arange(0, max(0, length - window + 1), step, dtype=np.int64)
        start = start[(start >= flank) & (start - flank + context <= length)]
        unknown = np.flatnonzero(genome.codes[offset : offset + length] == UNKNOWN)
        start = start[np.searchsorted(unknown, start) == np.searchsorted(unknown, start + window)]
        chroms.append(np.full(len(start), index, dtype=np.int32))
        starts.append(start.astype(np.int32))
    chrom, start = np.concatenate(chroms), np.concatenate(starts)
    keep = covered_bases(exclude, list(genome.sizes.names), chrom, start, window) == 0
    return chrom[keep], start[keep]


def label_windows(
    bound: pd.DataFrame,
    relaxed: pd.DataFrame | None,
    chroms: list[str],
    chrom: np.ndarray,
    start: np.ndarray,
    window: int,
) -> np.ndarray:
    """Label windows for one assayed (cell line, TF).

    Bound where peaks cover more than half of the window (the rule of DREAM and of scFAN, Fu et al. 2020,
    Methods); ambiguous where only relaxed peaks touch it; else unbound. Returns int8 (windows,).

    Examples
    --------
    >>> import numpy as np
    >>> bound = pd.DataFrame({'chrom': ['chr1'], 'start': [100], 'end': [350]})
    >>> label_windows(bound, None, ['chr1'], np.zeros(3, int), np.array([0, 200, 400]), window=200).tolist()
    [0, 1, 0]
    """
    labels = np.full(len(chrom), UNBOUND, dtype=np.int8)
    if relaxed is not None:
        labels[covered_bases(relaxed, chroms, chrom, start, window) > 0] = AMBIGUOUS
    labels[covered_bases(bound, chroms, chrom, start, window) * 2 > window] = BOUND
    return labels


def join_labels(labels: Sequence[np.ndarray], experiments: str) -> np.ndarray:
    """Join the labels of several ChIP-seq experiments of one (cell line, TF).

    Parameters
    ----------
    labels
        The labels of each experiment, int8 (windows,).
    experiments
        ``any``: a window is bound if one experiment has it bound; else ambiguous if one has it ambiguous.
        ``all``: it is bound if all have it bound, unbound if all have it unbound, and ambiguous otherwise.

    Returns
    -------
    int8 (windows,).

    Examples
    --------
    >>> one, other = np.array([1, 1, 0, 0], dtype=np.int8), np.array([1, 0, 0, -1], dtype=np.int8)
    >>> join_labels([one, other], 'any').tolist(), join_labels([one, other], 'all').tolist()
    ([1, 1, 0, -1], [1, -1, 0, -1])
    """
    joined = labels[0].copy()
    for other in labels[1:]:
        if experiments == "all":
            joined[joined != other] = AMBIGUOUS
        else:
            joined[(other == AMBIGUOUS) & (joined != BOUND)] = AMBIGUOUS
            joined[other == BOUND] = BOUND
    return joined


def assay_table(chip: Iterable[dict], lines: list[str]) -> tuple[list[str], np.ndarray]:
    """All TFs of a sheet in alphabetical order, and who assayed them: bool (lines, TFs).

    Examples
    --------
    >>> rows = [{'cell_line': 'K562', 'tf': 'GATA1'}, {'cell_line': 'GM12878', 'tf': 'CTCF'}]
    >>> tfs, assayed = assay_table(rows, ['GM12878', 'K562'])
    >>> tfs, assayed.tolist()
    (['CTCF', 'GATA1'], [[True, False], [False, True]])
    """
    rows = list(chip)
    tfs = sorted({row["tf"] for row in rows})
    assayed = np.zeros((len(lines), len(tfs)), dtype=bool)
    for row in rows:
        assayed[lines.index(row["cell_line"]), tfs.index(row["tf"])] = True
    return tfs, assayed
