import gzip
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pyBigWig
import pytest
from scbind.core.errors import InputError
from scbind.formats.bedtools import overlapped
from scbind.formats.genome import ChromSizes
from scbind.formats.intervals import read_bed, read_called, read_peaks
from scbind.peaks import macs3 as peaks
from scbind.peaks.consensus import choose_type_peaks, consensus_peaks
from scbind.peaks.macs3 import call_fragment_peaks, call_replicate_peaks, call_track_peaks

SIZES = ChromSizes(("chr2", "chr1"), np.array([60_000, 40_000]))
GOOD = "chr1\t100\t300\tx\t50\t.\t3.5\t8.1\t-1\t120\n"


@pytest.fixture
def sizes_path(tmp_path):
    path = tmp_path / "chrom.sizes"
    path.write_text("chr2\t60000\nchr1\t40000\n")
    return path


def save(tmp_path, text, name="in.narrowPeak"):
    (tmp_path / name).write_text(text)
    return tmp_path / name


def line(chrom, start, end, p=10.0, summit=None, signal=1.0):
    summit = (end - start) // 2 if summit is None else summit
    return f"{chrom}\t{start}\t{end}\t.\t1\t.\t{signal}\t{p}\t-1\t{summit}\n"


def fragments(tmp_path, centres, name="f.tsv", cells=20, per_site=120, noise=300):
    """Fragments whose ends pile up at the centres, over a thin even background."""
    rng = np.random.default_rng(7)
    rows = []
    for chrom, centre in centres:
        start = centre + rng.normal(0, 25, per_site).astype(int)
        start = np.clip(start, 0, SIZES.as_dict()[chrom] - 61)
        rows += [(chrom, s, s + 60) for s in start]
    for chrom in {chrom for chrom, _ in centres}:
        rows += [(chrom, s, s + 60) for s in rng.integers(0, SIZES.as_dict()[chrom] - 60, noise)]
    text = "".join(f"{c}\t{s}\t{e}\tB{i % cells}\t1\n" for i, (c, s, e) in enumerate(sorted(rows)))
    return save(tmp_path, text, name)


def test_called_peaks_have_types_plain_and_gzip(tmp_path):
    plain = save(tmp_path, "track name=x\n# c\n" + GOOD + "chrUn\t1\t2\tx\t1\t.\t1\t1\t1\t0\n")
    table = read_called(plain, SIZES)
    assert table.to_dict("records") == [
        dict(
            zip(
                ["chrom", "start", "end", "name", "score", "strand", "signal", "p", "q", "summit"],
                ["chr1", 100, 300, "x", 50.0, ".", 3.5, 8.1, -1.0, 120],
                strict=True,
            )
        )
    ]
    (tmp_path / "z.gz").write_bytes(gzip.compress(plain.read_bytes()))
    pd.testing.assert_frame_equal(read_called(tmp_path / "z.gz", SIZES), table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "chr1\t1\t5\n", "line 2: 3 columns where narrowPeak has 10"),
        (GOOD.replace("100", "a"), "line 1: start is 'a', not a whole number"),
        (GOOD + GOOD.replace("3.5", "NaN"), "line 2: signal is 'NaN', not a finite number"),
        (GOOD.replace("8.1", "inf"), "p is 'inf', not a finite number"),
        (GOOD.replace("\t120\n", "\t200\n"), "the summit is outside the peak"),
        (GOOD.replace("\t120\n", "\t-2\n"), "the summit is outside the peak"),
    ],
)
def test_bad_called_peaks_are_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read_called(save(tmp_path, text), SIZES)


@pytest.mark.parametrize(
    ("text", "summit"),
    [
        ("chr1\t100\t300\n", 100),  # BED3
        ("chr1\t100\t300\tp\t4521\t.\n", 100),  # BED6 with a score above 1000
        ("chr1\t100\t300\tp\t9\t.\t150\t151\t12,13,14\n", 100),  # BED9
        ("chr1\t100\t300\tp\t9\t.\t100\t300\t0\t2\t10,50\t0,150\n", 100),  # BED12: two blocks
        ("chr1\t100\t300\t.\t1\t.\t2\t3\t4\t150" + "\t1" * 10 + "\n", 150),  # IDR
        (GOOD.replace("8.1", "inf").replace("\t50\t", "\t.\t"), 120),
        (GOOD.replace("\t120\n", "\t150.0\t\n"), 100),  # an empty column more
        (GOOD.replace("\t120\n", "\t150.0\n"), 150),
        (GOOD.replace("\t120\n", "\t-1\n"), 100),
        (GOOD.replace("\t120\n", "\t200\n"), 100),
        (GOOD.replace("\t120\n", "\t.\n"), 100),
        (GOOD.replace("\t", " "), 120),
        ("track type=narrowPeak\r\n" + GOOD.replace("\n", "\r\n"), 120),
        ("chrom\tchromStart\tchromEnd\tname\nchr1\t100\t300\tx\n", 100),
        ("#chrom\tstart\tend\nchr1\t100\t300", 100),
    ],
)
def test_peaks_need_three_columns_only(tmp_path, text, summit):
    """The summit is that of narrowPeak, or else the middle."""
    table = read_peaks(save(tmp_path, text), SIZES)
    assert table.to_dict("records") == [{"chrom": "chr1", "start": 100, "end": 300, "summit": summit}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("# nothing\n", "there are no peaks in it"),
        (GOOD + "chr1\t1\n", "line 2: fewer than 3 columns"),
        (GOOD.replace("100", "a"), "line 1: start is 'a', not a whole number"),
        (GOOD.replace("100", "1.5"), "start is '1.5', not a whole number"),
        (GOOD.replace("100", "1e300"), "start is '1e300', not a whole number"),
        (GOOD.replace("100", "-4"), "line 1: the start is negative"),
        (GOOD.replace("100", "300"), "line 1: the start is not before the end"),
        (GOOD.replace("300", "40001"), "line 1: the interval ends beyond its chromosome"),
        (GOOD.replace("chr1", "1"), "no chromosome name matches .*add the prefix"),
        (
            "# x\nchr\tstart\tend\tlength\tabs_summit\nchr1\t1\t9\t9\t4\n",
            "line 2: this is the .xls table of MACS",
        ),
        (
            "chr\tstart\tend\tlength\tpileup\tfold_enrichment\nchr1\t1\t9\t9\t4\t2\n",
            "line 1: this is the .xls table of MACS",
        ),
        ("seqnames\tstart\tend\twidth\nchr1\t1\t9\t9\n", "line 1: this is a table of GRanges of R"),
        (
            GOOD * 2 + GOOD.replace("300", "40001") * 2,
            "line 3: .*2 of 4 peaks are like this; at most 1% may be",
        ),
    ],
)
def test_bad_peaks_are_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read_peaks(save(tmp_path, text), SIZES)


def test_a_stray_peak_is_dropped_and_said(tmp_path, capsys):
    table = read_peaks(save(tmp_path, GOOD + GOOD.replace("300", "40001")), SIZES)
    assert table["end"].tolist() == [300]
    assert "line 2: the interval ends beyond its chromosome; dropped 1 of 2 peaks" in capsys.readouterr().err


def test_truncated_and_missing_peaks_are_refused(tmp_path):
    (tmp_path / "t.gz").write_bytes(gzip.compress(GOOD.encode() * 50)[:-9])
    with pytest.raises(InputError, match="truncated or damaged"):
        read_peaks(tmp_path / "t.gz", SIZES)
    with pytest.raises(InputError, match="no such file"):
        read_peaks(tmp_path / "none", SIZES)


def test_read_bed_allows_an_empty_file(tmp_path):
    assert read_bed(save(tmp_path, ""), SIZES).empty
    table = read_bed(save(tmp_path, "chr1\t5\t9\tname\nchrUn\t1\t2\n"), SIZES)
    assert table.to_numpy().tolist() == [["chr1", 5, 9]]
    assert table["start"].dtype == np.int64
    with pytest.raises(InputError, match="no such file"):
        read_bed(tmp_path / "none.bed", SIZES)


SITES = [("chr2", 20), ("chr2", 30_000), ("chr1", 20_000)]


def test_sample_peaks_are_at_the_sites_sorted_clipped_and_readable(tmp_path, sizes_path):
    called = tmp_path / "out" / "p.narrowPeak"
    call_fragment_peaks(
        fragments(tmp_path, SITES), sizes_path, called, qvalue=0.01, extsize=150, max_fragments=None
    )
    table = read_called(called, SIZES)
    assert table["chrom"].tolist() == ["chr2", "chr2", "chr1"]
    middle = (table["start"] + table["end"]) / 2
    assert np.all(np.abs(middle[1:] - np.array([30_030, 20_030])) < 60)
    assert table["start"].tolist()[0] == 0
    assert table["name"].tolist() == ["peak_1", "peak_2", "peak_3"]
    assert [file.name for file in called.parent.iterdir()] == ["p.narrowPeak"]


def test_track_peaks_equal_those_of_the_same_insertions(tmp_path, sizes_path):
    source = fragments(tmp_path, SITES)
    call_fragment_peaks(source, sizes_path, tmp_path / "a", qvalue=0.01, extsize=150, max_fragments=None)
    rows = pd.read_csv(source, sep="\t", header=None)
    cuts = pd.concat(
        [rows[[0, 1]].set_axis(["c", "p"], axis=1), rows[[0, 2]].set_axis(["c", "p"], axis=1).eval("p=p-1")]
    )
    with pyBigWig.open(str(tmp_path / "i.bw"), "w") as bw:
        bw.addHeader(list(SIZES.as_dict().items()))
        for name in SIZES.names:
            position, count = np.unique(cuts.loc[cuts["c"] == name, "p"], return_counts=True)
            bw.addEntries(name, position, values=count.astype(float), span=1)
    call_track_peaks(tmp_path / "i.bw", sizes_path, tmp_path / "b", qvalue=0.01, extsize=150)
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text()
    # the background is spread over what the track speaks for: the less that is, the less a peak stands out
    for name, share in (("all", 1), ("tenth", 10)):
        regions = [[chrom, 0, length // share] for chrom, length in SIZES.as_dict().items()]
        (tmp_path / "track.json").write_text(json.dumps({"regions": regions}))
        options = {"qvalue": 0.01, "extsize": 150, "regions": tmp_path / "track.json"}
        call_track_peaks(tmp_path / "i.bw", sizes_path, tmp_path / name, **options)
    assert (tmp_path / "all").read_text() == (tmp_path / "b").read_text()
    everywhere, denser = (read_called(tmp_path / name, SIZES)["signal"].max() for name in ("b", "tenth"))
    assert denser < everywhere / 2


def test_no_peak_and_no_macs_are_said(tmp_path, sizes_path, monkeypatch, capfd):
    flat = save(tmp_path, "".join(f"chr1\t{s}\t{s + 60}\tA\t1\n" for s in range(0, 39_000, 200)), "flat.tsv")
    call_fragment_peaks(
        flat, sizes_path, tmp_path / "out" / "p", qvalue=0.01, extsize=150, max_fragments=None
    )
    assert "WARNING" in (said := capfd.readouterr().err) and "flat.tsv: MACS3 found no peak" in said
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["p"]
    assert (tmp_path / "out/p").read_text() == ""
    none = read_called(tmp_path / "out/p", SIZES)
    assert list(none.columns) == list(peaks.COLUMNS) and none.empty and none["summit"].dtype == np.int64
    monkeypatch.setattr(peaks.shutil, "which", lambda *_, **__: None)
    with pytest.raises(InputError, match="MACS3 is not installed"):
        call_fragment_peaks(
            flat, sizes_path, tmp_path / "out" / "p", qvalue=0.01, extsize=150, max_fragments=None
        )


def test_a_replicate_confirms_peaks_that_it_could_not_find_alone(tmp_path, sizes_path):
    source = fragments(tmp_path, [("chr1", 20_000)], per_site=4)
    strict, loose = tmp_path / "strict", tmp_path / "loose"
    call_fragment_peaks(source, sizes_path, strict, 0.05, 150, None)
    call_replicate_peaks(source, sizes_path, loose, 0.01, 150, None, shown=source)
    site = pd.DataFrame({"chrom": ["chr1"], "start": [20_000], "end": [20_060]})
    assert [overlapped(site, read_called(path, SIZES), 0.5).tolist() for path in (strict, loose)] == [
        [False],
        [True],
    ]


def test_macs_is_given_no_more_than_the_limit(tmp_path, sizes_path, monkeypatch, capfd):
    given = []

    def run(command):
        given.append(open(command[3]).read().splitlines())
        return subprocess.run(
            [sys.executable, "-c", "raise SystemExit('stopped')"], stderr=-1, text=True, check=False
        )

    source = fragments(tmp_path, SITES)
    n_fragments = len(source.read_text().splitlines())
    monkeypatch.setattr(peaks, "run", run)
    for limit in (None, n_fragments, 200, 200):
        with pytest.raises(InputError, match="MACS3 failed .stopped."):
            call_fragment_peaks(source, sizes_path, tmp_path / "p", 0.01, 150, max_fragments=limit)
    assert len(given[0]) == 2 * n_fragments and given[1] == given[0]
    assert 300 < len(given[2]) < 500 and given[3] == given[2]
    assert set(given[2]) < set(given[0])
    assert capfd.readouterr().err.count(f"of {2 * n_fragments} insertions, as from 200 fragments") == 2


def chosen(tmp_path, sizes_path, called, replicates, min_replicates=2, **facts):
    """Peaks and status that come of a called text, and of one text per replicate."""
    sample = save(tmp_path, line("chr1", 500, 700, p=5) + line("chr2", 100, 200, p=5), "a.narrowPeak")
    other = save(tmp_path, line("chr1", 600, 800, p=30), "b.narrowPeak")
    paths = {f"r{i}": save(tmp_path, text, f"r{i}") for i, text in enumerate(replicates)}
    called = None if called is None else save(tmp_path, called, "called")
    output, status = tmp_path / "out.narrowPeak", tmp_path / "out.json"
    choose_type_peaks(called, paths, [sample, other], sizes_path, output, status, min_replicates, facts)
    table = read_called(output, SIZES)
    return table[["chrom", "start", "end"]].to_numpy().tolist(), json.loads(status.read_text())


# of the two that overlap, the one that is more of its own set
STAND_IN = [["chr2", 100, 200], ["chr1", 600, 800]]
CALLED = line("chr1", 1000, 1200) + line("chr1", 3000, 3100) + line("chr1", 5000, 5400)


@pytest.mark.parametrize(
    ("called", "facts", "reason"),
    [
        (None, {"reason": "20 cells, fewer than 21"}, "20 cells, fewer than 21"),
        ("", {}, "MACS3 found no peak"),
    ],
)
def test_samples_stand_in_for_a_small_or_empty_type(tmp_path, sizes_path, capfd, called, facts, reason):
    rows, status = chosen(tmp_path, sizes_path, called, [CALLED, CALLED], n_cells=20, **facts)
    assert rows == STAND_IN
    wanted = {
        "source": "samples",
        "reason": reason,
        "n_cells": 20,
        "n_peaks": 2,
        "n_called": 0,
        "replicates": 0,
    }
    assert status == wanted
    assert f"{reason}; using the peaks of the whole samples instead" in capfd.readouterr().err


def test_one_replicate_changes_nothing(tmp_path, sizes_path):
    for replicates, least in (([], 2), ([""], 2), (["", ""], 1), (["", ""], 3)):
        rows, status = chosen(tmp_path, sizes_path, CALLED, replicates, least, merged=["small"])
        assert [row[1] for row in rows] == [1000, 3000, 5000]
        assert status["source"] == "cell type" and status["replicates"] == 0 and status["merged"] == ["small"]
    lines = [row.split("\t") for row in CALLED.splitlines()]
    written = [row.split("\t") for row in (tmp_path / "out.narrowPeak").read_text().splitlines()]
    assert [row[:3] + row[4:] for row in written] == [[*row[:3], *row[4:8], "-1.0", row[9]] for row in lines]


def test_peaks_are_kept_that_enough_replicates_have(tmp_path, sizes_path):
    # The second is overlapped by less than half of the shorter; the third by half of the replicate's own.
    first = line("chr1", 1100, 1300) + line("chr1", 3051, 3200) + line("chr1", 5350, 5450)
    second = line("chr1", 900, 2000) + line("chr1", 3000, 3100) + line("chr2", 5000, 5400)
    both = [first, second]
    assert [row[1] for row in chosen(tmp_path, sizes_path, CALLED, both)[0]] == [1000]
    rows, status = chosen(tmp_path, sizes_path, CALLED, [*both, first, ""])
    assert [row[1] for row in rows] == [1000, 5000]
    assert (status["n_called"], status["n_peaks"], status["replicates"]) == (3, 2, 4)
    assert [row[1] for row in chosen(tmp_path, sizes_path, CALLED, [*both, second], 3)[0]] == [1000]
    # Two peaks of one replicate are one replicate.
    twice = line("chr1", 5000, 5100) + line("chr1", 5300, 5400)
    rows, status = chosen(tmp_path, sizes_path, CALLED, [twice, ""])
    assert rows == STAND_IN and status["reason"] == "no peak is seen in 2 of 2 replicates"
    assert status["source"] == "samples" and status["n_called"] == 3


def test_a_missing_call_is_refused(tmp_path, sizes_path):
    with pytest.raises(InputError, match="none: no such file; call the peaks again"):
        choose_type_peaks(tmp_path / "none", {}, [], sizes_path, tmp_path / "o", tmp_path / "s", 2, {})


def consensus(tmp_path, sizes_path, texts, exclude="", width=100):
    inputs = [save(tmp_path, text, f"{i}.narrowPeak") for i, text in enumerate(texts)]
    output = tmp_path / "consensus.bed"
    consensus_peaks(inputs, sizes_path, save(tmp_path, exclude, "exclude.bed"), output, width)
    rows = [row.split("\t") for row in output.read_text().splitlines()]
    return [(chrom, int(start), int(end), name, float(score)) for chrom, start, end, name, score in rows]


def test_consensus_is_iterative_not_transitive(tmp_path, sizes_path):
    # The middle peak loses to the first, so the third, which only touches the middle one, stays.
    text = line("chr1", 1000, 1100, p=6) + line("chr1", 1060, 1160, p=3) + line("chr1", 1120, 1220, p=1)
    assert consensus(tmp_path, sizes_path, [text]) == [
        ("chr1", 1000, 1100, "chr1:1000-1100", 6e5),
        ("chr1", 1120, 1220, "chr1:1120-1220", 1e5),
    ]


def test_a_sample_without_peaks_adds_none_to_the_consensus(tmp_path, sizes_path):
    text = line("chr1", 400, 600)
    assert consensus(tmp_path, sizes_path, ["", text, ""]) == consensus(tmp_path, sizes_path, [text]) != []


def test_consensus_scores_are_per_million_so_depth_does_not_win(tmp_path, sizes_path):
    deep = "".join(line("chr2", 1000 * i, 1000 * i + 100, p=100) for i in range(1, 11))
    shallow = line("chr2", 1050, 1150, p=2)
    found = consensus(tmp_path, sizes_path, [deep, shallow])
    assert ("chr2", 1050, 1150, "chr2:1050-1150", 1e6) in found
    assert all(start != 1000 for _, start, *_ in found)
    assert len(found) == 10


def test_consensus_excludes_drops_ends_and_sorts(tmp_path, sizes_path):
    text = "".join(
        line(*where)
        for where in [
            ("chr1", 0, 98),
            ("chr1", 39_960, 40_000),
            ("chr1", 500, 600),
            ("chr2", 900, 1000),
            ("chr1", 50, 150),
        ]
    )
    found = consensus(tmp_path, sizes_path, [text], exclude="chr2\t999\t1200\nchr1\t600\t700\n")
    assert [row[:3] for row in found] == [("chr1", 50, 150), ("chr1", 500, 600)]
    with pytest.raises(InputError, match="no consensus peak is left"):
        consensus(tmp_path, sizes_path, [text], exclude="chr1\t0\t40000\nchr2\t0\t60000\n")


def test_consensus_uses_summit_middle_and_signal_where_p_is_missing(tmp_path, sizes_path):
    text = line("chr1", 1000, 2000, p=-1, summit=100, signal=3) + line(
        "chr1", 5000, 6000, p=-1, summit=-1, signal=1
    )
    found = consensus(tmp_path, sizes_path, [text], width=101)
    assert [row[1:3] for row in found] == [(1050, 1151), (5450, 5551)]
    assert [row[4] for row in found] == [7.5e5, 2.5e5]


def test_consensus_peaks_never_overlap_and_every_input_is_represented(tmp_path, sizes_path):
    rng = np.random.default_rng(2)
    texts = []
    for _ in range(3):
        start = rng.integers(100, 39_000, 150)
        texts.append(
            "".join(line("chr1", s, s + 200, p=p) for s, p in zip(start, rng.gamma(2, 5, 150), strict=True))
        )
    found = pd.DataFrame(
        consensus(tmp_path, sizes_path, texts, width=201), columns=["c", "s", "e", "n", "score"]
    )
    assert np.all(found["s"].to_numpy()[1:] >= found["e"].to_numpy()[:-1])
    for text in texts:
        for row in text.splitlines():
            summit = int(row.split("\t")[1]) + 100
            assert np.any((found["s"] < summit + 101) & (found["e"] > summit - 100))


@pytest.mark.parametrize("names", [("1", "2", "10"), ("1", "X", "HLA-A*01:01:01:01")])
def test_no_peak_is_lost_whatever_the_names_of_the_chromosomes(tmp_path, names):
    n, width = 67_000, 100  # 201,000 peaks: pandas types a column block by block, of 131,072 lines and more
    (tmp_path / "chrom.sizes").write_text("".join(f"{name}\t{(n + 2) * 2 * width}\n" for name in names))
    start = (np.arange(n) + 1) * 2 * width
    text = "".join(line(name, at, at + width) for name in names for at in start)
    called = save(tmp_path, text, "called.narrowPeak")
    choose_type_peaks(
        called, {}, [], tmp_path / "chrom.sizes", tmp_path / "own.narrowPeak", tmp_path / "own.json", 2, {}
    )
    (tmp_path / "none.bed").write_text("")
    consensus_peaks(
        [tmp_path / "own.narrowPeak"],
        tmp_path / "chrom.sizes",
        tmp_path / "none.bed",
        tmp_path / "c.bed",
        width,
    )
    rows = [row.split("\t")[:3] for row in (tmp_path / "c.bed").read_text().splitlines()]
    assert rows == [[name, str(at), str(at + width)] for name in names for at in start]
