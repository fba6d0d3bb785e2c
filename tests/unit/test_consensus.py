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


@pytest.mark.parametrize("scores", ["any", "tied", "rising"])
@pytest.mark.parametrize("widths", [[50], [5, 50, 300]])
def test_the_best_peaks_are_kept_as_if_one_by_one(scores, widths):
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


@pytest.mark.parametrize("kind", ["real", "all overlap", "a chain", "one covers all"])
def test_many_peaks_take_no_longer_than_they_are_many(kind):
    random = np.random.default_rng(1)
    start = random.choice(random.integers(0, 10**6, 1000), 50_000) + random.integers(-200, 200, 50_000)
    start = {"all overlap": random.integers(0, 400, 50_000), "a chain": np.arange(50_000)[::-1] * 300}.get(
        kind, start
    )
    end = start + 501
    if kind == "one covers all":
        start[-1], end[-1] = 0, 2 * 10**6  # the worst of all: it goes
    kept = consensus._disjoint(start, end)
    order = np.argsort(start[kept])
    assert (start[kept][order][1:] >= end[kept][order][:-1]).all()
    hit = np.searchsorted(np.sort(start[kept]), end, side="left") > np.searchsorted(
        np.sort(end[kept]), start, side="right"
    )
    assert hit.all(), "every peak is kept or overlaps one that is"


def test_chromosomes_with_numbers_for_names_stay_text(tmp_path):
    """Sorted as the genome is, not as numbers are, and no peak is lost."""
    (tmp_path / "sizes").write_text("2\t1000\n10\t1000\n1\t1000\n")
    row = "{}\t{}\t{}\tp\t5\t.\t3\t4\t2\t10\n"
    called = "".join(
        row.format(chrom, start, start + 100) for chrom in ("1", "10", "2") for start in (100, 500)
    )
    (tmp_path / "called.narrowPeak").write_text(called)
    (tmp_path / "a.narrowPeak").write_text(called)
    (tmp_path / "b.narrowPeak").write_text(row.format("10", 120, 190) + row.format("2", 480, 600))
    replicates = {name: tmp_path / f"{name}.narrowPeak" for name in "ab"}
    files = tmp_path / "sizes", tmp_path / "out.narrowPeak", tmp_path / "status.json"
    consensus.choose_type_peaks(tmp_path / "called.narrowPeak", replicates, [], *files, 2, {})
    kept = [line.split("\t")[:2] for line in files[1].read_text().splitlines()]
    assert kept == [["2", "500"], ["10", "100"]]
    consensus.choose_type_peaks(tmp_path / "called.narrowPeak", {}, [], *files, 2, {})
    assert [line.split("\t")[0] for line in files[1].read_text().splitlines()] == [
        "2",
        "2",
        "10",
        "10",
        "1",
        "1",
    ]
