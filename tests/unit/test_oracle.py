import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scbind.core.errors import InputError
from scbind.dataset.trainingset import TrainingSet
from scbind.demo.oracle import combined, evaluate_oracle, half_covered, line_chance, sites_near
from scbind.demo.simulate_sites import PEAK_REACH, SUMMIT_SD
from scbind.demo.truthfiles import Truth
from scbind.evaluation.merge import METRIC_COLUMNS as COLUMNS
from scbind.formats.genome import ChromSizes


@pytest.fixture
def truth(tiny, tmp_path):
    """The sites planted in the tiny genome as a truth folder: TF1 at every second, open as the tracks have it."""
    rows = []
    for chrom, sites in tiny["sites"].items():
        for number, site in enumerate(sites.tolist()):
            is_open = [int((number // 2 + row) % 2 == 0) for row in range(2)]
            rows.append((chrom, site - 200, site + 200, f"{chrom}_{number}", *is_open, number % 2 == 0))
    table = pd.DataFrame(rows, columns="#chrom start end name open_A open_C has_motif".split())
    table.drop(columns="has_motif").to_csv(tmp_path / "elements.bed", sep="\t", index=False)
    sites = table[table["has_motif"]].rename(columns={"#chrom": "chrom", "name": "element"})
    sites = sites.assign(start=sites["start"] + 200, end=sites["start"] + 210, tf="TF1", strength=0.9)
    sites.to_csv(tmp_path / "sites.tsv", sep="\t", index=False)
    sp.save_npz(tmp_path / "open.npz", sp.csr_array(np.ones((3, len(table)), dtype=bool)))
    cells = pd.DataFrame({"barcode": list("abc"), "cell_type": "A", "is_cell": 1})
    cells.to_csv(tmp_path / "cells.tsv", sep="\t", index=False)
    return tmp_path


def test_chances_combine_as_independent_draws():
    chance = np.array([[0.5, 0.5, 0.2], [1.0, 0.0, 0.0]])
    found = combined(chance, np.array([1, 1, 3]), 4)
    assert found[0].tolist() == pytest.approx([0, 0.75, 0, 0.2])
    assert found[1].tolist() == pytest.approx([0, 1, 0, 0], abs=1e-5)
    assert combined(np.zeros((2, 0)), np.zeros(0, int), 3).tolist() == [[0, 0, 0]] * 2


def test_half_covered_is_the_share_of_drawn_peaks():
    rng = np.random.default_rng(0)
    distance, n, width = np.array([0, 100, 140, -150, 180, 400]), 40_000, 200
    summit = rng.normal(0, SUMMIT_SD, n)
    left, right = rng.integers(*PEAK_REACH, (2, n))
    for d, chance in zip(distance, half_covered(distance), strict=True):
        overlap = np.minimum(summit + right, d + width / 2) - np.maximum(summit - left, d - width / 2)
        assert chance == pytest.approx((overlap * 2 > width).mean(), abs=0.015)


def test_sites_pair_with_windows_of_their_own_chromosome():
    """A site at the end of chr1 is near the first window of chr2 only if chromosomes are laid end to end."""
    sizes = ChromSizes(["chr1", "chr2"], [1000, 1000])
    names = ["chr1", "chr9", "chr2"]
    sites = pd.DataFrame({"chrom": names, "start": [980, 980, 395], "end": [991, 991, 406]})
    # Not in order. The middles of the first and the last window are 150 bp from the third site: not less than 150.
    chrom, start = np.array([1, 0, 1, 1, 0, 1]), np.array([450, 790, 0, 250, 600, 150])
    found = zip(*sites_near(sites, chrom, start, 200, 150, sizes), strict=True)
    assert sorted(found) == [(0, 1, -95), (2, 3, -50)]


def test_the_oracle_is_near_perfect_where_strengths_are_high(truth, tiny, tiny_dataset, tmp_path):
    evaluate_oracle(truth, tiny_dataset, tiny["reference"], tmp_path / "o.tsv", tmp_path / "o.npz")
    table = pd.read_csv(tmp_path / "o.tsv", sep="\t")
    assert list(table.columns) == COLUMNS and set(table["model"]) == {"oracle"}
    assert (table.loc[table["tf"] == "TF1", "auprc"].dropna() > 0.95).all()
    tf2 = table[table["tf"] == "TF2"]
    assert (tf2["auprc"] == tf2["prevalence"]).all(), "no sites are known of it"


def test_the_oracle_reads_openness_and_not_draws(truth, tiny, tiny_dataset):
    data = TrainingSet.open(tiny_dataset, tiny["reference"])
    window = np.random.default_rng(0).permutation(len(data.chrom))
    both = [line_chance(Truth(truth), data, line, window)[:, 0] for line in (0, 1)]
    assert max(part.max() for part in both) == pytest.approx(0.9, abs=0.01)
    assert not ((both[0] > 0.5) & (both[1] > 0.5)).any(), "no element is open in both"
    order = np.argsort(window)
    in_order = line_chance(Truth(truth), data, 0, np.arange(len(window)))[:, 0]
    assert both[0][order].tolist() == in_order.tolist()


def test_a_truth_without_the_line_is_refused(truth, tiny, tiny_dataset, tmp_path):
    elements = pd.read_csv(truth / "elements.bed", sep="\t")
    elements.drop(columns="open_C").to_csv(truth / "elements.bed", sep="\t", index=False)
    with pytest.raises(InputError, match=r"elements.bed: has no column open_C"):
        evaluate_oracle(truth, tiny_dataset, tiny["reference"], tmp_path / "o.tsv", tmp_path / "o.npz")
    sites = pd.read_csv(truth / "sites.tsv", sep="\t").drop(columns="strength")
    sites.to_csv(truth / "sites.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match=r"sites.tsv: has no column strength"):
        evaluate_oracle(truth, tiny_dataset, tiny["reference"], tmp_path / "o.tsv", tmp_path / "o.npz")
