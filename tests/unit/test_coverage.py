"""Coverage of pseudobulks."""

import functools

import numpy as np
import pyBigWig
import pytest
import scbind.formats.fragments
from scbind.core.errors import InputError
from scbind.peaks.coverage import coverage_track

TABLES = scbind.formats.fragments._tables


def _chunked(chunk, path, _):
    return TABLES(path, chunk)


@pytest.fixture
def sizes_path(tmp_path):
    path = tmp_path / "chrom.sizes"
    path.write_text("chr2\t1000\nchr1\t2000\n")
    return path


def fragments(tmp_path, name, text):
    path = tmp_path / f"{name}.tsv"
    path.write_text(text)
    return path


def test_coverage_is_per_million_fragments(tmp_path, sizes_path):
    text = "chr1\t0\t10\tA\t1\nchr1\t5\t20\tA\t9\nchr1\t20\t30\tA\t1\nchr2\t990\t1000\tA\t1\n"
    coverage_track(fragments(tmp_path, "f", text), sizes_path, tmp_path / "c.bw")
    with pyBigWig.open(str(tmp_path / "c.bw")) as bw:
        assert bw.chroms() == {"chr2": 1000, "chr1": 2000}
        assert bw.intervals("chr1") == ((0, 5, 250_000.0), (5, 10, 500_000.0), (10, 30, 250_000.0))
        assert bw.intervals("chr2") == ((990, 1000, 250_000.0),)


@pytest.mark.parametrize("chunk", [60, 1000, 1 << 20])
def test_coverage_equals_brute_force(tmp_path, sizes_path, monkeypatch, chunk):
    monkeypatch.setattr(scbind.formats.fragments, "_tables", functools.partial(_chunked, chunk))
    rng = np.random.default_rng(8)
    start = np.sort(rng.integers(0, 900, 400))
    end = start + rng.integers(1, 100, 400)
    text = "".join(f"chr2\t{s}\t{e}\tA\t1\n" for s, e in zip(start, end, strict=True))
    coverage_track(fragments(tmp_path, "f", text), sizes_path, tmp_path / "c.bw")
    expected = np.zeros(1000)
    for s, e in zip(start, end, strict=True):
        expected[s:e] += 2500
    with pyBigWig.open(str(tmp_path / "c.bw")) as bw:
        assert np.allclose(np.nan_to_num(bw.values("chr2", 0, 1000, numpy=True)), expected)


def test_coverage_of_bad_fragments_leaves_nothing(tmp_path, sizes_path):
    with pytest.raises(InputError, match="line 1, chr1:5-2001: the fragment ends beyond"):
        coverage_track(
            fragments(tmp_path, "f", "chr1\t5\t2001\tA\t1\n"),
            sizes_path,
            tmp_path / "out" / "c.bw",
        )
    assert list((tmp_path / "out").iterdir()) == []


def test_runs_are_whole_whatever_the_chunks(tmp_path, sizes_path, monkeypatch):
    monkeypatch.setattr(scbind.formats.fragments, "_tables", functools.partial(_chunked, 20))
    # Long fragments over short ones, a run that goes on where one fragment ends and the next begins, a gap.
    rows = [(0, 900), (10, 20), (20, 30), (30, 40), (40, 950)]
    text = "".join(f"chr2\t{low}\t{high}\tA\t1\n" for low, high in rows) + "chr1\t7\t8\tA\t1\n"
    coverage_track(fragments(tmp_path, "f", text), sizes_path, tmp_path / "c.bw")
    with pyBigWig.open(str(tmp_path / "c.bw")) as bw:
        unit = np.float32(1e6 / 6)
        found = [(low, high, round(value / unit)) for low, high, value in bw.intervals("chr2")]
        assert found == [(0, 10, 1), (10, 900, 2), (900, 950, 1)]
        assert [run[:2] for run in bw.intervals("chr1")] == [(7, 8)]
