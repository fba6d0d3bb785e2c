"""Test windows chosen as other authors chose theirs, for comparison with published values."""

from __future__ import annotations

import numpy as np

from scbind.dataset.codes import AMBIGUOUS, BOUND
from scbind.dataset.splits import TEST
from scbind.dataset.trainingset import TrainingSet
from scbind.evaluation.testscores import BLOCK

# Windows for which the authors of maxATAC published results
ASSEMBLIES = ("hg38", "grch38")
CHROMOSOME, WINDOW = "chr1", 200
WHOLE = 0.9  # of the windows; a few are not used, such as those that the track does not cover


def protocol_windows(data: TrainingSet, line: int, seed: int = 0) -> np.ndarray:
    """Test windows of a line chosen as in the published evaluation of scFAN: int64 (windows,).

    These are all windows that any TF binds, and the same number of random windows that are at least a window's width
    away from any peak (bound or ambiguous). They are easier than all windows of a genome. The choice follows
    ``make_features_multiTask`` and ``load_chip_multiTask`` in ``utils.py`` of scFAN (Fu et al. 2020), but it uses the
    grid of the dataset and takes no window twice. Memory: three arrays over the test windows of the line.
    """
    window = np.flatnonzero(np.asarray(data.splits[line]) == TEST)
    bound, ambiguous = np.zeros((2, len(window)), dtype=bool)
    for begin in range(0, len(window), BLOCK):
        block = slice(begin, begin + BLOCK)
        labels = data.labels[line, window[block]]
        bound[block], ambiguous[block] = (labels == BOUND).any(axis=1), (labels == AMBIGUOUS).any(axis=1)
    place = data.genome.sizes.offsets[data.chrom[window]] + data.start[window].astype(np.int64)
    peaks = place[bound | ambiguous]
    if not len(peaks):
        return window[:0]
    after = np.searchsorted(peaks, place)
    gap = np.minimum(
        np.abs(place - peaks[np.maximum(after - 1, 0)]),
        np.abs(peaks[np.minimum(after, len(peaks) - 1)] - place),
    )
    # gap is between starts; beyond two widths, at least one window lies between window and peak
    far = np.flatnonzero(gap > 2 * data.manifest["window"])
    chosen = bound.copy()
    rng = np.random.default_rng([seed, line])
    chosen[rng.choice(far, min(len(far), int(bound.sum())), replace=False)] = True
    return window[chosen]


def as_published(data: TrainingSet, line: int, window: np.ndarray) -> np.ndarray:
    """Which windows are like those of the published test: bool (windows asked for,).

    None, unless the genome is called hg38, windows have 200 bp, and all of the chromosome tests the line, as far as it
    can be used (``WHOLE`` of its windows). ``window``: int (windows asked for,).
    """
    names = list(data.genome.sizes.names)
    wanted = data.genome.name.lower() in ASSEMBLIES and data.manifest["window"] == WINDOW
    if not wanted or CHROMOSOME not in names:
        return np.zeros(len(window), dtype=bool)
    here = data.chrom == names.index(CHROMOSOME)
    split = np.asarray(data.splits[line])[here]
    if not len(split) or (split == TEST).mean() < WHOLE:
        return np.zeros(len(window), dtype=bool)
    return here[window]
