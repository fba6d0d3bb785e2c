import numpy as np
import pandas as pd
import pytest
from scbind.formats.genome import ChromSizes
from scbind.peaks import consensus


def one_by_one(table):
    """The definition: from the best score down, what overlaps nothing that is kept."""
    order = table.assign(row=range(len(table))).sort_values(
        ["chrom", "per_million", "start", "end", "row"], ascending=[True, False, True, True, True]
    )
    kept = []
    for peak in order.itertuples():
        if not any(k.chrom == peak.chrom and k.start < peak.end and k.end > peak.start for k in kept):
            kept.append(peak)
    return [peak.row for peak in kept]


@pytest.mark.parametrize("rounds", [0, 1, 30])
@pytest.mark.parametrize("scores", ["any", "tied", "rising"])
@pytest.mark.parametrize("widths", [[50], [5, 50, 300]])
def test_the_best_peaks_are_kept_as_if_one_by_one(monkeypatch, rounds, scores, widths):
    monkeypatch.setattr(consensus, "ROUNDS", rounds)
    random = np.random.default_rng(len(widths))
    start = random.integers(0, 5000, 400)
    score = {"any": random.random(400), "tied": random.integers(0, 4, 400), "rising": start}[scores]
    table = pd.DataFrame(
        {"chrom": random.choice(["chr1", "chr2"], 400), "start": start, "end": start + random.choice(widths, 400),
         "per_million": score.astype(float)}, index=np.arange(400) % 7,
    )  # fmt: skip
    found = consensus._keep_best(
        table.assign(row=range(400)), ChromSizes(("chr1", "chr2"), np.array([9999] * 2))
    )
    assert found["row"].tolist() == one_by_one(table)


def test_no_peak_at_all_is_none_kept():
    table = pd.DataFrame({"chrom": [], "start": [], "end": [], "per_million": []})
    assert consensus._keep_best(table, ChromSizes(("chr1",), np.array([9]))).empty


def test_real_peaks_are_kept_without_a_loop(monkeypatch):
    def slow(*_):
        raise AssertionError("one by one")

    monkeypatch.setattr(consensus, "bisect_left", slow)
    random = np.random.default_rng(1)
    start = random.choice(random.integers(0, 10**6, 1000), 50_000) + random.integers(-200, 200, 50_000)
    kept = consensus._disjoint(start, start + 501)
    order = np.sort(start[kept])
    assert 700 < kept.sum() <= 1000 and (np.diff(order) >= 501).all()
