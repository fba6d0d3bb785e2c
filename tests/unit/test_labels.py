import numpy as np
import pandas as pd
import pytest
from scbind.dataset.codes import AMBIGUOUS, BOUND, UNBOUND
from scbind.dataset.labels import assay_table, grid_windows, join_labels, label_windows
from scbind.formats.genome import ChromSizes, Genome
from scbind.formats.overlaps import covered_bases

CHROMS = ["chr1", "chr2"]


def intervals(*rows):
    return pd.DataFrame(rows, columns=["chrom", "start", "end"])


def test_covered_bases_counts_each_base_once():
    chrom, start = np.array([0, 0, 1]), np.array([0, 200, 0])
    covered = covered_bases(
        intervals(("chr1", 50, 150), ("chr1", 100, 250), ("chr2", 199, 300)), CHROMS, chrom, start, 200
    )
    assert covered.tolist() == [150, 50, 1]


def test_bound_needs_more_than_half():
    chrom, start = np.zeros(3, int), np.array([0, 200, 400])
    labels = label_windows(intervals(("chr1", 0, 100), ("chr1", 299, 400)), None, CHROMS, chrom, start, 200)
    assert labels.tolist() == [UNBOUND, BOUND, UNBOUND]


def test_relaxed_peaks_are_ambiguous_unless_bound():
    chrom, start = np.zeros(3, int), np.array([0, 200, 400])
    relaxed = intervals(("chr1", 190, 410))
    labels = label_windows(intervals(("chr1", 200, 400)), relaxed, CHROMS, chrom, start, 200)
    assert labels.tolist() == [AMBIGUOUS, BOUND, AMBIGUOUS]


def test_grid_avoids_unknown_bases_exclusions_and_ends(tiny):
    genome = Genome.open(tiny["reference"])
    chrom, start = grid_windows(genome, intervals(("chr1", 20_000, 20_100)), 200, 200, 1000)
    assert start.min() >= 400 and (start[chrom == 0] + 600 <= 60_000).all()
    assert (genome.window_codes(chrom, start, 200) < 4).all()
    assert 20_000 not in start[chrom == 0] and 20_200 in start[chrom == 0]
    assert 600 not in start and 800 in start  # N from 500 to 700


def test_a_grid_over_more_scaffolds_than_sixteen_bits_count():
    n = 2**15 + 2
    sizes = ChromSizes(tuple(f"s{i}" for i in range(n)), np.full(n, 10))
    chrom, start = grid_windows(Genome("g", sizes, np.zeros(10 * n, np.uint8), None), intervals(), 4, 8, 4)
    assert np.array_equal(chrom, np.arange(n)) and not start.any()


def test_assay_table():
    tfs, assayed = assay_table(
        [
            {"cell_line": "B", "tf": "SPI1"},
            {"cell_line": "A", "tf": "CTCF"},
            {"cell_line": "B", "tf": "CTCF"},
        ],
        ["A", "B"],
    )
    assert tfs == ["CTCF", "SPI1"] and assayed.tolist() == [[True, False], [True, True]]


@pytest.mark.parametrize(("step", "seed"), [(50, 0), (200, 1), (37, 2)])
def test_covered_bases_by_counting(step, seed):
    """Windows with gaps, or that overlap, on three chromosomes; intervals that overlap, and some of a fourth."""
    rng, width = np.random.default_rng(seed), 200
    start = np.arange(0, 3000, step)
    each = [start[rng.random(len(start)) < 0.8] for _ in range(3)]
    chrom, start = np.repeat(np.arange(3), [len(part) for part in each]), np.concatenate(each)
    peaks = [(f"chr{rng.integers(1, 5)}", s, s + rng.integers(1, 700)) for s in rng.integers(0, 3000, 12)]
    bases = np.zeros((4, 4000), dtype=bool)
    for name, left, right in peaks:
        bases[int(name[3]) - 1, left:right] = True
    expected = [bases[c, s : s + width].sum() for c, s in zip(chrom, start, strict=True)]
    found = covered_bases(intervals(*peaks), ["chr1", "chr2", "chr3"], chrom, start, width)
    assert found.tolist() == expected and 0 < sum(expected)


@pytest.mark.parametrize(
    ("how", "expected"),
    [("any", [1, 1, 1, -1, -1, 0]), ("all", [1, -1, -1, -1, -1, 0])],
)
def test_experiments_of_one_pair_are_joined(how, expected):
    one = np.array([1, 1, -1, -1, 0, 0], dtype=np.int8)
    other = np.array([1, 0, 1, 0, -1, 0], dtype=np.int8)
    for pair in ([one, other], [other, one], [one, other, other]):
        assert join_labels(pair, how).tolist() == expected
    assert join_labels([one], how).tolist() == one.tolist()
    assert one.tolist() == [1, 1, -1, -1, 0, 0], "what is joined stays as it was"
