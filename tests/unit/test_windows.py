from dataclasses import replace

import numpy as np
import pytest
from scbind.binding.choice import choose_windows
from scbind.binding.windows import Windows
from scbind.core.errors import InputError
from scbind.formats.genome import ChromSizes
from scbind.formats.geometry import Geometry

GEOMETRY = Geometry(window=200, step=50, context=400, min_mappability=None)


@pytest.fixture
def reference(tmp_path):
    """chr1 of 3,000 bp (all A but some GC and N), chr2 of 2,000 bp, chrUn without sequence."""
    folder = tmp_path / "ref"
    folder.mkdir()
    (folder / "chrom.sizes").write_text("chr1\t3000\nchr2\t2000\nchrUn\t5000\n")
    codes = np.zeros(5000, dtype=np.uint8)
    codes[1000:1400] = 1
    codes[2000] = 4
    np.save(folder / "sequence.npy", codes)
    return folder


def choose(tmp_path, reference, bed, exclude=None, **geometry):
    (tmp_path / "consensus.bed").write_text(bed)
    path = tmp_path / "windows.npz"
    choose_windows(tmp_path / "consensus.bed", reference, exclude, path, replace(GEOMETRY, **geometry))
    return Windows.load(path)


def test_more_scaffolds_than_sixteen_bits_count(tmp_path):
    n = 2**15 + 2
    (tmp_path / "ref").mkdir()
    (tmp_path / "ref/chrom.sizes").write_text("".join(f"s{i}\t500\n" for i in range(n)))
    np.save(tmp_path / "ref/sequence.npy", np.zeros(500 * n, dtype=np.uint8))
    got = choose(tmp_path, tmp_path / "ref", f"s0\t0\t500\ns{n - 1}\t100\t350\n", step=200, window=100)
    assert got.chrom.tolist() == [0, n - 1] and got.start.tolist() == [200, 200]


def brute_force(peaks, lengths, window, step, flank):
    """Grid windows by looking at every one of them."""
    found = []
    for chrom, length in enumerate(lengths):
        for start in range(0, length - window + 1, step):
            if start < flank or start + window + flank > length:
                continue
            covers = [
                (min(e, start + window) - max(s, start), -row)
                for row, (c, s, e) in enumerate(peaks)
                if c == chrom
            ]
            best = max(covers, default=(0, 0))
            if 2 * best[0] > window:
                found.append((chrom, start, -best[1]))
    return found


@pytest.mark.parametrize("step", [50, 70, 200])
@pytest.mark.parametrize("window", [200, 100])
def test_same_windows_as_looking_at_each(tmp_path, reference, step, window):
    rng = np.random.default_rng(step)
    peaks = []
    for chrom, length in ((0, 1900), (1, 2000)):
        start = rng.integers(0, length - 400, 5)
        peaks += [(chrom, s, s + w) for s, w in zip(start, rng.integers(60, 390, 5), strict=True)]
    bed = "".join(f"chr{c + 1}\t{s}\t{e}\n" for c, s, e in peaks)
    got = choose(tmp_path, reference, bed, step=step, window=window, context=window + 200)
    expected = brute_force(peaks, (3000, 2000), window, step, 100)
    assert list(zip(got.chrom, got.start, got.peak, strict=True)) == expected
    assert len(expected) > 5


def test_more_than_half_is_needed(tmp_path, reference):
    # [400, 600) shares exactly 100 of its 200 bases with the peak: not more than half
    got = choose(tmp_path, reference, "chr1\t500\t601\n")
    assert got.start.tolist() == [450, 500]
    assert got.end.tolist() == [650, 700]


def test_n_in_the_window_drops_it_but_not_n_in_the_context(tmp_path, reference):
    got = choose(tmp_path, reference, "chr1\t1600\t2400\n")
    holds_n = (got.start <= 2000) & (got.end > 2000)
    assert not holds_n.any()
    assert {1800, 2050} <= set(got.start.tolist())  # next to the N at 2,000, which lies in their contexts


def test_excluded_regions_drop_windows_that_share_a_base(tmp_path, reference):
    (tmp_path / "exclude.bed").write_text("chr1\t799\t800\nchrM\t0\t10\n")
    without = choose(tmp_path, reference, "chr1\t500\t1200\n").start
    got = choose(tmp_path, reference, "chr1\t500\t1200\n", tmp_path / "exclude.bed").start
    assert got.tolist() == [s for s in without if not s <= 799 < s + 200]
    assert 600 in without and 600 not in got
    assert 800 in got


def test_windows_that_map_badly_are_left_out(tmp_path, reference):
    bed = "chr1\t500\t1200\nchr2\t500\t900\n"
    without = choose(tmp_path, reference, bed)
    levels = np.full(5000, 255, np.uint8)
    levels[:900] = 0
    np.save(reference / "mappability.npy", levels)
    assert np.array_equal(choose(tmp_path, reference, bed).start, without.start)
    got = choose(tmp_path, reference, bed, min_mappability=0.5)
    keep = (without.chrom == 1) | (without.start - 100 >= 700)  # contexts of 400 bp, half of them past 900
    assert 0 < keep.sum() < len(keep)
    for name in ("chrom", "start", "peak", "gc"):
        assert np.array_equal(getattr(got, name), getattr(without, name)[keep])
    levels[:] = 0
    np.save(reference / "mappability.npy", levels)
    with pytest.raises(InputError, match="no window on its peaks can be used.* dataset.min_mappability"):
        choose(tmp_path, reference, bed, min_mappability=0.1)


def test_an_empty_exclusion_list_excludes_nothing(tmp_path, reference):
    (tmp_path / "exclude.bed").write_text("")
    bed = "chr1\t500\t1200\n"
    assert np.array_equal(
        choose(tmp_path, reference, bed, tmp_path / "exclude.bed").start,
        choose(tmp_path, reference, bed).start,
    )


def test_gc_is_the_share_among_known_bases_of_the_context(tmp_path, reference):
    got = choose(tmp_path, reference, "chr1\t600\t2500\n")
    gc = dict(zip(got.start.tolist(), got.gc.tolist(), strict=True))
    assert gc[1100] == 1.0  # context [1000, 1400)
    assert gc[900] == pytest.approx(0.5)  # context [800, 1200), of which 1000-1200 is C
    assert gc[1250] == pytest.approx(250 / 400)
    assert got.gc.dtype == np.float32


def test_peaks_without_sequence_are_dropped_and_named(tmp_path, reference, capsys):
    got = choose(tmp_path, reference, "chrUn\t500\t900\nchr2\t500\t900\n")
    assert set(got.chrom) == {1} and set(got.peak) == {1}
    assert "1 of 2 peaks dropped: no sequence for chrUn" in capsys.readouterr().err


def test_global_starts(tmp_path, reference):
    got = choose(tmp_path, reference, "chr2\t500\t700\n")
    sizes = ChromSizes.read(reference / "chrom.sizes")
    assert got.global_starts(sizes).tolist() == (3000 + got.start).tolist()
    assert got.global_context_starts(sizes).tolist() == (3000 + got.start - 100).tolist()
    assert got.global_context_starts(sizes, context=600).tolist() == (3000 + got.start - 200).tolist()
    assert got.names(sizes)[0] == f"chr2:{got.start[0]}-{got.end[0]}"


@pytest.mark.parametrize(
    ("bed", "message"),
    [
        ("", "has no peaks"),
        ("chrUn\t500\t900\n", "no window on its peaks can be used"),
        ("chr1\t500\t520\n", "no window on its peaks can be used"),
        ("chr9\t500\t900\n", "no chromosome name matches the genome (file: chr9;"),
        ("chr2\t900\t900\n", "line 1: the start is not before the end"),
        ("chr2\t1900\t2001\n", "line 1: the interval ends beyond its chromosome"),
        ("chr1\tx\t900\n", "line 1: start is 'x', not a whole number"),
    ],
)
def test_bad_peaks_are_refused(tmp_path, reference, bed, message):
    with pytest.raises(InputError) as refused:
        choose(tmp_path, reference, bed)
    assert message in str(refused.value) and "consensus.bed" in str(refused.value)


def test_impossible_geometry_is_refused(tmp_path, reference):
    with pytest.raises(InputError, match="are not possible"):
        choose(tmp_path, reference, "chr1\t500\t900\n", window=500, context=400)


def test_a_file_that_holds_no_windows_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", chrom=np.zeros(1))
    with pytest.raises(InputError, match="has no array context, gc, peak, start, window"):
        Windows.load(tmp_path / "x.npz")
