"""Which bigWigs hold counts, and which are refused because they are smoothed, averaged or extended."""

import json
import tracemalloc
from functools import cache

import numpy as np
import pyBigWig
import pytest
from scbind.bulk import ends
from scbind.bulk.tracks import insertion_track
from scbind.core.errors import InputError
from scbind.formats.genome import ChromSizes

LENGTH = 400_000


@cache
def draw(per_base, seed=3):
    """Fragments of varying length between cut sites that Tn5 prefers, denser in peaks: int64 starts and ends."""
    rng = np.random.default_rng(seed)
    density = np.full(LENGTH, 0.2)
    for centre in rng.integers(500, LENGTH - 500, LENGTH // 3000):
        density[centre - 75 : centre + 75] += rng.exponential(10)
    liked = np.exp(rng.normal(0, 1, LENGTH)) * density
    start = np.sort(
        rng.choice(LENGTH - 1000, int(per_base * LENGTH / 2), p=(part := liked[:-1000]) / part.sum())
    )
    length = np.where(
        rng.random(len(start)) < 0.5, rng.gamma(3, 25, len(start)), rng.normal(200, 25, len(start))
    )
    near = start[:, None] + length.astype(int).clip(30, 600)[:, None] + np.arange(-12, 13)
    chance = liked[near].cumsum(axis=1)
    chosen = (chance > chance[:, -1:] * rng.random((len(start), 1))).argmax(axis=1)
    return start, near[np.arange(len(start)), chosen] + 1


def depth_of(start, end, width=1):
    """Number of items over each base or, if ``width`` is not 1, over each bin: float64 (LENGTH,)."""
    bins = LENGTH // width
    first, last = np.clip(start // width, 0, bins), np.clip(-(-end // width), 0, bins)
    change = np.bincount(first, minlength=bins + 1) - np.bincount(last, minlength=bins + 1)
    return np.repeat(np.cumsum(change)[:-1], width).astype(float)


def cuts_of(fragments):
    return np.concatenate([fragments[0], fragments[1] - 1])


def per_base(fragments):
    return np.bincount(cuts_of(fragments), minlength=LENGTH).astype(float)


def pileup(fragments, half):
    return depth_of(cuts_of(fragments) - half, cuts_of(fragments) + half)


def reads(fragments, longest, shortest):
    """Coverage by one read at each end of the fragments."""
    length = np.random.default_rng(1).integers(shortest, longest + 1, 2 * len(fragments[0]))
    start = np.concatenate([fragments[0], np.maximum(fragments[1] - length[len(fragments[0]) :], 0)])
    return depth_of(start, start + length)


def mean_of_bins(values, width):
    return np.repeat(values.reshape(-1, width).mean(axis=1), width)


def running_mean(values, width):
    # rounded, because a convolution leaves differences of 1e-16
    return np.round(np.convolve(values, np.ones(width) / width, "same"), 9)


def bell(values):
    weights = np.exp(-0.5 * (np.arange(-30, 31) / 10) ** 2)
    return np.convolve(values, weights / weights.sum(), "same")


def save(path, values, name="chr1", more=()):
    """Write values of chr1, and of further chromosomes, as runs of equal values."""
    with pyBigWig.open(str(path), "w") as bw:
        chromosomes = [(name, values), *more]
        bw.addHeader([(each, len(value)) for each, value in chromosomes])
        for each, value in chromosomes:
            edge = np.flatnonzero(np.diff(value, prepend=0, append=0))
            runs = [(a, b) for a, b in zip(edge.tolist(), edge[1:].tolist(), strict=False) if value[a]]
            start, end = map(list, zip(*runs, strict=True))
            bw.addEntries([each] * len(runs), start, ends=end, values=value[start].tolist())
    return path


@pytest.fixture
def make(tmp_path):
    """Make a track from a bigWig; gives the JSON."""

    def track(path, kind):
        with pyBigWig.open(str(path)) as bw:
            (tmp_path / "s").write_text("".join(f"{name}\t{n}\n" for name, n in bw.chroms().items()))
        outputs = [tmp_path / name for name in ("o.bw", "o.json", "o.npy")]
        insertion_track([{"path": path, "format": kind, "region": None}], tmp_path / "s", *outputs)
        return json.loads(outputs[1].read_text())

    return track


ALIKE = "neighbouring bases are alike, as in a smoothed track: an insertion counts several times; give unsm"
GRADUAL = (
    "values change gradually, as in a smoothed track; their steps are not ends of fragments; give the BAM"
)
AVERAGE = "values are averages of bins of {} bp, or smoothed .a typical step is .* their steps are not ends"
SAME = "most items are {} bp long, like cut sites that MACS extends, or single reads; their ends are"
ONE_BIN = "most items lie in only one bin of {} bp: cut sites, reads, or bins that are too wide; give the BAM"
REFUSED = {
    "running mean of 3 bp": (lambda given: running_mean(depth_of(*given), 3), "coverage", GRADUAL),
    "running mean of 5 bp": (lambda given: running_mean(depth_of(*given), 5), "coverage", GRADUAL),
    "running mean of 50 bp": (lambda given: running_mean(depth_of(*given), 50), "coverage", GRADUAL),
    "bell curve": (lambda given: bell(depth_of(*given)), "coverage", GRADUAL),
    "means of 2 bp": (lambda given: mean_of_bins(depth_of(*given), 2), "coverage", AVERAGE.format(2)),
    "means of 4 bp": (lambda given: mean_of_bins(depth_of(*given), 4), "coverage", AVERAGE.format(4)),
    "means of 10 bp": (lambda given: mean_of_bins(depth_of(*given), 10), "coverage", AVERAGE.format(10)),
    "means of 50 bp": (lambda given: mean_of_bins(depth_of(*given), 50), "coverage", AVERAGE.format(50)),
    "pileup of MACS": (lambda given: pileup(given, 75), "coverage", SAME.format(150)),
    "pileup of MACS, scaled": (lambda given: pileup(given, 100) * 0.0371, "coverage", SAME.format(200)),
    "reads of 36 bp": (lambda given: reads(given, 36, 36), "coverage", SAME.format(36)),
    "cut sites in bins": (
        lambda given: np.repeat(per_base(given).reshape(-1, 20).sum(axis=1), 20),
        "coverage",
        ONE_BIN.format(20),
    ),
    "insertions, running mean": (lambda given: running_mean(per_base(given), 10), "insertions", ALIKE),
    "insertions, means of bins": (lambda given: mean_of_bins(per_base(given), 5), "insertions", ALIKE),
}


@pytest.mark.parametrize("depth", [0.01, 0.1])
@pytest.mark.parametrize("name", REFUSED)
def test_what_holds_no_counts_is_refused(make, tmp_path, name, depth):
    values, kind, message = REFUSED[name]
    file = save(tmp_path / "t.bw", values(draw(depth)))
    with pytest.raises(InputError, match=rf"t\.bw: .*{message}") as caught:
        make(file, kind)
    assert "\n" not in str(caught.value) and not (tmp_path / "o.json").exists()


COUNTS = {
    "coverage": (depth_of, "coverage", 0.8),
    "coverage, scaled": (lambda *given: depth_of(*given) * 0.0371, "coverage", 0.8),
    "insertions": (lambda *given: per_base(given), "insertions", 1),
    "insertions, scaled": (lambda *given: per_base(given) * 3.3, "insertions", 1),
}


@pytest.mark.parametrize("depth", [0.01, 0.1, 3])
@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_read_at_any_depth(make, tmp_path, capsys, name, depth):
    values, kind, least = COUNTS[name]
    facts = make(save(tmp_path / "t.bw", values(*draw(depth))), kind)
    true = 2 * len(draw(depth)[0])
    # where several ends meet at a base, starts and ends cancel in coverage
    assert (least if depth < 1 else 0.1) * true <= facts["total"] <= true
    assert "bins" not in capsys.readouterr().err


def test_coverage_by_reads_of_different_lengths_and_by_copies_of_fragments_is_read(make, tmp_path):
    given = draw(0.1)
    assert make(save(tmp_path / "r.bw", reads(given, 75, 36)), "coverage")["total"]
    copies = np.random.default_rng(2).integers(1, 6, len(given[0]))  # duplicates of the PCR
    file = save(tmp_path / "d.bw", depth_of(*(np.repeat(each, copies) for each in given)))
    assert 0.7 * 2 * copies.sum() < make(file, "coverage")["total"] <= 2 * copies.sum()


@pytest.mark.parametrize("scale", [1, 0.0371])
@pytest.mark.parametrize("width", [2, 10, 50])
@pytest.mark.parametrize("depth", [0.01, 0.05, 0.1, 0.3])
def test_counts_in_bins_are_said_once(make, tmp_path, capsys, width, scale, depth):
    values = depth_of(*draw(depth), width) * scale
    # the last bin of a chromosome may be shorter
    file = save(tmp_path / "t.bw", values, more=[("chr2", np.r_[values, np.full(7, 2 * scale)])])
    assert make(file, "coverage")["total"] < 8 * len(draw(depth)[0])
    said = capsys.readouterr().err
    assert said.count("values are counts in bins of") == 1 and f"in bins of {width} bp, so ends" in said


@pytest.mark.parametrize("depth", [0.01, 0.1])
@pytest.mark.parametrize("width", [10, 50])
def test_bins_may_begin_anew_behind_a_region_that_was_left_out(make, tmp_path, capsys, width, depth):
    values = depth_of(*draw(depth), width)
    values[100_000:100_007] = 0
    values[100_007:] = values[100_000:-7].copy()
    assert make(save(tmp_path / "t.bw", values), "coverage")["total"]
    assert f"in bins of {width} bp, so ends" in capsys.readouterr().err


def test_rounding_of_the_deep_mitochondrial_dna_does_not_change_the_unit(make, tmp_path):
    true, deep = depth_of(*draw(0.01)) * 0.02, depth_of(*draw(3))
    deep = np.rint(deep * 40_000 / deep.max()) * 0.02  # float32 holds 800 in steps of 0.00006
    facts = make(save(tmp_path / "m.bw", true, more=[("chrM", deep)]), "coverage")
    assert facts["inputs"][0]["unit"] == pytest.approx(0.02, rel=1e-5)


def test_mitochondrial_dna_and_few_steps_are_not_judged(make, tmp_path):
    smooth = running_mean(true := depth_of(*draw(0.01)), 10) * 10
    make(save(tmp_path / "m.bw", true[:20_000], more=[("chrM", smooth)]), "coverage")
    with pytest.raises(InputError, match=GRADUAL):
        make(save(tmp_path / "m.bw", true[:20_000], more=[("chr2", smooth)]), "coverage")
    make(save(tmp_path / "f.bw", np.r_[0, np.arange(500), 0] * 1.0), "coverage")


def test_a_dense_coverage_is_refused_as_insertions_before_it_is_laid_out_base_by_base(tmp_path):
    values = np.repeat(np.random.default_rng(0).integers(1, 6, 200_000), 40).astype(float)
    sizes = ChromSizes(("chr1",), np.array([len(values)]))
    file = save(tmp_path / "t.bw", values)
    tracemalloc.start()
    with pytest.raises(
        InputError, match="as coverage does; set the format coverage if these are counts of frag"
    ):
        list(ends._from_bases(file, sizes, None))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * len(values), "bytes: less than one number for each base"
