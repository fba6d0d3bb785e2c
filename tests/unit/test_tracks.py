import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyBigWig
import pysam
import pytest
import scbind
from scbind.bulk.shift import count_lags, estimate_frame
from scbind.bulk.tracks import insertion_track
from scbind.core.errors import InputError
from scbind.core.runlog import full_disk
from scbind.formats.bigwigwriter import ENTRY_BYTES, OVERHEAD, add_bases, create_bigwig
from scbind.formats.genome import ChromSizes
from scbind.formats.insertions import read_fragments, read_insertions, read_regions
from scbind.formats.names import match_contigs
from scbind.peaks.coverage import coverage_track
from scbind.plan.sheetreaders import read_track_rows

LENGTH = 60_000
EXAMPLES = Path(__file__).parents[2] / "config/examples"


@pytest.fixture
def sizes_path(tmp_path):
    path = tmp_path / "chrom.sizes"
    path.write_text(f"chr1\t{LENGTH}\nchr2\t500\n")
    return path


@pytest.fixture
def run(tmp_path, sizes_path):
    """Make a track from ``(path, format[, region])`` tuples; gives the insertions and the JSON."""

    def make(*inputs):
        items = [dict(zip(("path", "format", "region"), item, strict=False)) for item in inputs]
        outputs = [tmp_path / "out" / name for name in ("i.bw", "i.json", "i.npy")]
        insertion_track(items, sizes_path, *outputs)
        assert sorted((tmp_path / "out").iterdir()) == outputs
        positions = read_insertions(outputs[0], ChromSizes.read(sizes_path))
        return positions.tolist(), json.loads((tmp_path / "out" / "i.json").read_text())

    return make


@pytest.fixture
def groups(run, tmp_path):
    """Make a track; gives the positions of each of its fragments, sorted."""

    def make(*inputs):
        positions, found = run(*inputs)[0], {}
        for position, number in zip(positions, np.load(tmp_path / "out" / "i.npy").tolist(), strict=True):
            found.setdefault(number, []).append(position)
        return sorted(found.values())

    return make


def save_fragments(path, pairs, chrom="chr1"):
    path.write_text("".join(f"{chrom}\t{start}\t{end}\tA\t1\n" for start, end in sorted(pairs)))
    return path


def save_bigwig(path, runs, header=(("chr1", LENGTH), ("chr2", 500)), chrom="chr1"):
    with pyBigWig.open(str(path), "w") as bw:
        bw.addHeader(list(header))
        start, end, value = zip(*runs, strict=True)
        bw.addEntries([chrom] * len(runs), list(start), ends=list(end), values=[float(v) for v in value])
    return path


def transpositions(shift, n=6000, seed=1):
    """Fragments between neighbouring cuts of one molecule after another, 9 bp duplicated at each cut."""
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(n // 60):
        cuts = np.sort(rng.choice(np.arange(100, LENGTH - 100, 25), 60, replace=False))
        cuts += rng.integers(0, 25)
        pairs += [
            (left + shift[0], right + 9 + shift[1]) for left, right in zip(cuts, cuts[1:], strict=False)
        ]
    return [(int(start), int(end)) for start, end in pairs]


def coverage_runs(pairs):
    depth = np.zeros(LENGTH + 1, dtype=int)
    for start, end in pairs:
        depth[start] += 1
        depth[end] -= 1
    depth = np.cumsum(depth)
    edges = np.r_[0, np.flatnonzero(np.diff(depth)) + 1]
    return [(int(a), int(b), int(depth[a])) for a, b in zip(edges, edges[1:], strict=False) if depth[a]]


def save_bam(path, pairs, strange=(), paired=False):
    header = pysam.AlignmentHeader.from_references(["chr1", "chr2"], [LENGTH, 500])
    reads = []
    for number, (start, end) in enumerate(pairs):
        for reverse in (False, True):
            read = pysam.AlignedSegment(header)
            read.query_name, read.query_sequence, read.mapping_quality = "r", "A" * 20, 60
            read.reference_id, read.cigartuples = 0, [(0, 20)]
            read.flag = 16 if reverse else 0
            read.reference_start = end - 20 if reverse else start
            if paired:
                read.query_name, read.next_reference_id = f"r{number}", 0
                read.flag = 147 if reverse else 99
                read.next_reference_start = start if reverse else end - 20
            reads.append(read)
    for read, flag in zip(reads, strange, strict=False):
        read.flag |= flag
    with pysam.AlignmentFile(str(path), "wb", header=header) as out:
        for read in sorted(reads, key=lambda read: read.reference_start):
            out.write(read)
    return path


PAIRS = [(0, 50), (10, 50), (10, 80), (LENGTH - 10_000, LENGTH)]
CUTS = [0, 10, 10, 49, 49, 79, LENGTH - 10_000, LENGTH - 1]


def test_fragments_give_both_ends(run, tmp_path):
    positions, facts = run((save_fragments(tmp_path / "f.tsv", PAIRS), "fragments"))
    assert positions == CUTS
    assert facts["insertions"] == {"chr1": 8} and facts["total"] == 8
    assert facts["regions"] == [["chr1", 0, LENGTH]]
    assert facts["inputs"][0]["frame"] == "undetermined"


@pytest.mark.parametrize("kind", ["coverage", "insertions"])
def test_whole_numbers_scaled_by_one_are_scaled_back(run, tmp_path, monkeypatch, capsys, kind):
    monkeypatch.setattr("scbind.bulk.tracks.ENOUGH_BASES", 4)
    runs = [(start, end, value * 10) for start, end, value in coverage_runs(PAIRS)]
    if kind == "insertions":
        runs = [(cut, cut + 1, 10.0 * CUTS.count(cut)) for cut in sorted(set(CUTS))]
    positions, facts = run((save_bigwig(tmp_path / "c.bw", runs), kind))
    assert positions == CUTS and facts["inputs"][0]["unit"] == 10
    assert "all steps are multiples of 10, which counts as one fragment" in capsys.readouterr().err


@pytest.mark.parametrize("scale", [1, 0.25, 0.0123])
def test_coverage_gives_the_same_as_its_fragments(run, tmp_path, scale, capsys):
    runs = [(start, end, value * scale) for start, end, value in coverage_runs(PAIRS)]
    positions, facts = run((save_bigwig(tmp_path / "c.bw", runs), "coverage"))
    assert positions == CUTS
    assert facts["inputs"][0]["unit"] == pytest.approx(scale, rel=1e-6)
    assert ("the smallest step" in capsys.readouterr().err) == (scale != 1)


def test_a_start_and_an_end_at_one_place_cancel_in_coverage(run, tmp_path):
    positions, _ = run((save_bigwig(tmp_path / "c.bw", coverage_runs([(5, 20), (20, 40)])), "coverage"))
    assert positions == [5, 39]


def test_insertions_are_taken_as_they_are(run, tmp_path):
    bw = save_bigwig(tmp_path / "i.bw", [(3, 4, 2), (7, 10, 1), (LENGTH - 1, LENGTH, 1)])
    assert run((bw, "insertions"))[0] == [3, 3, 7, 8, 9, LENGTH - 1]


def test_an_entry_across_read_blocks_is_seen_once(tmp_path):
    sizes = ChromSizes(("chr1",), np.array([9 << 20]))
    border = 4 << 20
    bw = save_bigwig(tmp_path / "i.bw", [(border - 2, border + 2, 1)], header=[("chr1", 9 << 20)])
    assert read_insertions(bw, sizes).tolist() == [border - 2, border - 1, border, border + 1]


def test_read_insertions_rounds_and_uses_global_positions(tmp_path, sizes_path):
    bw = save_bigwig(tmp_path / "i.bw", [(3, 4, 1.6), (5, 6, 0.4)], chrom="chr2")
    found = read_insertions(bw, ChromSizes.read(sizes_path))
    assert found.dtype == np.uint32 and found.tolist() == [LENGTH + 3] * 2


def test_regions_limit_and_join_inputs(run, tmp_path):
    left = save_fragments(tmp_path / "a.tsv", PAIRS)
    right = save_bigwig(tmp_path / "c.bw", coverage_runs(PAIRS))
    positions, facts = run((left, "fragments", "chr1:0-50"), (right, "coverage", "chr1:50-60,000"))
    assert positions == CUTS
    assert facts["regions"] == [["chr1", 0, 50], ["chr1", 50, LENGTH]]


def test_inputs_on_different_chromosomes_need_no_region(run, tmp_path):
    one = save_fragments(tmp_path / "a.tsv", [(1, 9)])
    two = save_fragments(tmp_path / "b.tsv", [(1, 9)], chrom="chr2")
    positions, facts = run((two, "fragments"), (one, "fragments"))
    assert positions == [1, 8, LENGTH + 1, LENGTH + 8]
    assert facts["regions"] == [["chr1", 0, LENGTH], ["chr2", 0, 500]]


OTHER = [(3, 61), (10, 70), (500, 700), (LENGTH - 9000, LENGTH - 50)]


def save_track(path, kind, pairs):
    """Write the fragments as a track of one of the four formats; gives the path."""
    if kind == "fragments":
        return save_fragments(path, pairs)
    if kind == "bam":
        return save_bam(path, pairs, paired=True)
    if kind == "coverage":
        return save_bigwig(path, coverage_runs(pairs))
    cuts, count = np.unique([end for a, b in pairs for end in (a, b - 1)], return_counts=True)
    return save_bigwig(path, [(int(p), int(p) + 1, int(c)) for p, c in zip(cuts, count, strict=True)])


@pytest.mark.parametrize("region", [None, f"chr1:0-{LENGTH}", "chr1:10-700"])
@pytest.mark.parametrize("kind", ["fragments", "bam", "insertions", "coverage"])
def test_replicates_are_summed_and_their_region_is_listed_once(run, tmp_path, kind, region):
    files = [save_track(tmp_path / f"{n}.in", kind, pairs) for n, pairs in enumerate([PAIRS, OTHER])]
    alone = [run((file, kind, region)) for file in files]
    positions, facts = run(*((file, kind, region) for file in files))
    assert positions == sorted(alone[0][0] + alone[1][0])
    assert facts["regions"] == alone[0][1]["regions"] and len(facts["regions"]) == 1
    assert facts["total"] == facts["insertions"]["chr1"] == sum(each[1]["total"] for each in alone)
    assert facts["inputs"] == [each[1]["inputs"][0] for each in alone]
    track, (regions,) = tmp_path / "out" / "i.json", facts["regions"]
    assert read_regions(track, ChromSizes.read(tmp_path / "chrom.sizes")).tolist() == [regions[1:]]


@pytest.mark.parametrize("kind", ["fragments", "bam"])
def test_fragments_of_replicates_keep_numbers_of_their_own(groups, tmp_path, kind):
    files = [save_track(tmp_path / f"{n}.in", kind, pairs) for n, pairs in enumerate([PAIRS, OTHER])]
    apart = [groups((file, kind)) for file in files]
    assert groups(*((file, kind) for file in files)) == sorted(apart[0] + apart[1])


def test_a_replicate_without_data_on_a_chromosome_covers_it_all_the_same(run, tmp_path):
    one = save_fragments(tmp_path / "a.tsv", PAIRS)
    two = save_fragments(tmp_path / "b.tsv", OTHER)
    with open(two, "a") as handle:
        handle.write("chr2\t7\t90\tA\t1\n")
    positions, facts = run((one, "fragments"), (two, "fragments"))
    assert len(positions) == 18 and facts["insertions"] == {"chr1": 16, "chr2": 2}
    assert facts["regions"] == [["chr1", 0, LENGTH], ["chr2", 0, 500]]


@pytest.mark.parametrize("sheet", sorted(EXAMPLES.glob("*/tracks.tsv")), ids=lambda path: path.parent.name)
def test_the_tracks_of_each_example_can_be_made(run, tmp_path, sheet):
    """The rows of each line are read as the workflow reads them; each file is replaced by a small one of its format."""
    lines = read_track_rows(sheet, lambda text, *_: text)
    assert lines
    for line, rows in lines.items():
        items, total = [], 0
        for number, row in enumerate(rows):
            pairs = [(a + number, b - 30 * number) for a, b in [(900, 1200), (1500, 1900), (5000, 5400)]]
            file = save_track(tmp_path / f"{line}.{number}.in", row["format"], pairs)
            assert row["region"] is None
            items.append((file, row["format"]))
            total += 2 * len(pairs)
        facts = run(*items)[1]
        assert facts["total"] == total and facts["regions"] == [["chr1", 0, LENGTH]]


def test_a_copy_of_a_replicate_is_refused(run, tmp_path):
    one = save_fragments(tmp_path / "a.tsv", PAIRS)
    (tmp_path / "b.tsv.gz").write_bytes(gzip.compress(one.read_bytes()))
    two = save_fragments(tmp_path / "c.tsv", OTHER)
    with pytest.raises(InputError, match="b.tsv.gz: has the same insertions as .*a.tsv; list each file once"):
        run((one, "fragments"), (two, "fragments"), (tmp_path / "b.tsv.gz", "fragments"))


SHIFTS = {"none": (0, 0), "+4/-4": (4, -4), "+4/-5": (4, -5)}


@pytest.mark.parametrize("frame", SHIFTS)
@pytest.mark.parametrize("kind", ["fragments", "bam"])
def test_the_shift_is_found_and_brought_to_one_frame(run, tmp_path, frame, kind, capsys):
    pairs = transpositions(SHIFTS[frame])
    save = {"fragments": save_fragments, "bam": save_bam}[kind]
    positions, facts = run((save(tmp_path / "in", pairs), kind))
    assert facts["inputs"][0]["frame"] == frame
    common = np.array(transpositions(SHIFTS["+4/-5"]))
    assert positions == sorted([*common[:, 0], *(common[:, 1] - 1)])
    assert ("WARNING" in capsys.readouterr().err) == (frame != "+4/-5")


@pytest.mark.parametrize(
    ("frame", "found"), [("none", "none"), ("+4/-4", "+4/-4"), ("+4/-5", "undetermined")]
)
def test_the_shift_of_coverage(run, tmp_path, frame, found):
    # +4/-5 without the sequence preference of Tn5 leaves no trace in coverage: starts and ends cancel.
    bw = save_bigwig(tmp_path / "c.bw", coverage_runs(transpositions(SHIFTS[frame])))
    assert run((bw, "coverage"))[1]["inputs"][0]["frame"] == found


@pytest.mark.parametrize("height", [640, 750, 1500])
def test_side_peaks_tell_the_common_frame_in_coverage(height):
    lags = np.full(29, 500)
    lags[[14 - 4, 14 + 6]] = height
    lags[14 + 1] = 0
    assert estimate_frame(lags, "coverage")[0] == 1
    assert estimate_frame(np.where(lags == height, 560, lags), "coverage")[0] is None


@pytest.mark.parametrize(
    ("frame", "found"), [("none", "none"), ("+4/-5", "+4/-5"), ("+4/-4", "undetermined")]
)
def test_the_shift_of_insertions_is_told_but_cannot_be_corrected(run, tmp_path, frame, found):
    pairs = np.array(transpositions(SHIFTS[frame]))
    cuts, count = np.unique([pairs[:, 0], pairs[:, 1] - 1], return_counts=True)
    bw = save_bigwig(
        tmp_path / "i.bw", [(int(p), int(p) + 1, int(c)) for p, c in zip(cuts, count, strict=True)]
    )
    positions, facts = run((bw, "insertions"))
    assert facts["inputs"][0]["frame"] == found
    assert positions == np.repeat(cuts, count).tolist()


def test_an_odd_shift_is_reported_and_left(run, tmp_path, capsys):
    pairs = transpositions((9, -4))  # meets at +5
    positions, facts = run((save_fragments(tmp_path / "f.tsv", pairs), "fragments"))
    assert (
        facts["inputs"][0] | {"frame": "unrecognised", "offset": 5, "correction": [0, 0]}
        == facts["inputs"][0]
    )
    assert min(positions) == min(start for start, _ in pairs)
    assert "not moved" in capsys.readouterr().err


def test_random_ends_stay_undetermined():
    rng = np.random.default_rng(5)
    for _ in range(20):
        lags = count_lags(*(np.unique(rng.integers(0, LENGTH, 5000)) for _ in range(2)))
        assert [estimate_frame(lags, kind)[0] for kind in ("fragments", "coverage", "insertions")] == [
            None
        ] * 3


@pytest.mark.parametrize("gap", [1, 100, 1000, 20_000])
def test_a_bigwig_is_no_larger_than_the_room_that_is_asked_for(tmp_path, gap):
    rng = np.random.default_rng(gap)
    position = np.cumsum(rng.integers(1, 2 * gap + 1, 50_000))
    sizes = ChromSizes(("chr1",), np.array([position[-1] + 1]))
    with create_bigwig(tmp_path / "x.bw", sizes, len(position)) as bw:
        add_bases(bw, "chr1", position, rng.random(len(position)))
    assert (tmp_path / "x.bw").stat().st_size < ENTRY_BYTES * len(position)


def test_a_disk_without_room_for_a_bigwig_is_refused_before_it_is_begun(run, tmp_path, monkeypatch):
    """The library crashes, and cannot be caught, if the disk fills up while it writes."""
    fragments = save_fragments(tmp_path / "f.tsv", PAIRS)
    room = ENTRY_BYTES * (8 + 2) + OVERHEAD  # eight ends, two chromosomes

    def disk(free):
        monkeypatch.setattr(
            "scbind.formats.bigwigwriter.shutil.disk_usage", lambda _: SimpleNamespace(free=free)
        )

    disk(room)
    run((fragments, "fragments"))
    shutil.rmtree(tmp_path / "out")
    disk(ENTRY_BYTES * 2 + OVERHEAD)
    with pytest.raises(OSError, match="No space left on device") as error:
        run((fragments, "fragments"))
    assert str(full_disk(error.value)).startswith(
        f"{tmp_path / 'out'}: cannot write: No space left on device; free"
    )
    with pytest.raises(OSError, match="No space left on device"):
        coverage_track(fragments, tmp_path / "chrom.sizes", tmp_path / "out" / "c.bw")
    assert list((tmp_path / "out").iterdir()) == []


def test_few_reads_of_a_bam_are_taken_as_unshifted_and_duplicates_left_out(run, tmp_path):
    positions, _ = run((save_bam(tmp_path / "b.bam", [(100, 200), (300, 400)], strange=[0, 0, 1024]), "bam"))
    assert positions == [104, 194, 394]


def test_the_ends_of_a_fragment_share_a_number(groups, tmp_path):
    file = save_fragments(tmp_path / "f.tsv", PAIRS)
    assert groups((file, "fragments")) == [[start, end - 1] for start, end in PAIRS]
    ends = np.load(tmp_path / "out" / "i.npy")
    assert ends.dtype == np.uint32 and len(ends) == 8
    # what a region cuts off leaves the other end alone
    assert groups((file, "fragments", "chr1:0-50")) == [[0, 49], [10], [10, 49]]


@pytest.mark.parametrize("frame", SHIFTS)
@pytest.mark.parametrize("kind", ["fragments", "bam"])
def test_ends_stay_together_when_they_are_moved(groups, tmp_path, frame, kind):
    pairs = transpositions(SHIFTS[frame])
    file = tmp_path / "in"
    if kind == "bam":
        save_bam(file, pairs, paired=True)
    else:
        save_fragments(file, pairs)
    assert groups((file, kind)) == sorted([a, b - 1] for a, b in transpositions(SHIFTS["+4/-5"]))


def test_mates_of_a_bam_are_joined_where_both_are_usable(groups, tmp_path):
    pairs = [(100, 200), (150, 400), (150, 170), (300, 500)]
    strange = [0, 1024, 0, 0, 0, 0, 1024]  # the later mate of the first pair, the earlier one of the last
    file = save_bam(tmp_path / "b.bam", pairs, strange, paired=True)
    assert groups((file, "bam")) == [[104], [154, 164], [154, 394], [494]]
    assert groups((save_bam(tmp_path / "s.bam", pairs[:1]), "bam")) == [[104], [194]], "single reads"


def test_formats_without_fragments_leave_each_insertion_alone(groups, tmp_path):
    for name, kind in (("c.bw", "coverage"), ("i.bw", "insertions")):
        found = groups((save_bigwig(tmp_path / name, [(5, 20, 2), (30, 40, 1)]), kind))
        assert all(len(fragment) == 1 for fragment in found) and len(found) in (6, 40)


def test_numbers_of_several_inputs_and_chromosomes_do_not_collide(groups, tmp_path):
    one = save_fragments(tmp_path / "a.tsv", [(1, 9), (3, 70)])
    two = save_fragments(tmp_path / "b.tsv", [(1, 9), (5, 9)], chrom="chr2")
    three = save_bigwig(tmp_path / "c.bw", [(100, 120, 2)])
    inputs = (three, "coverage", "chr1:90-60,000"), (two, "fragments"), (one, "fragments", "chr1:0-90")
    on_2 = [[LENGTH + 1, LENGTH + 8], [LENGTH + 5, LENGTH + 8]]
    assert groups(*inputs) == [[1, 8], [3, 69], [100], [100], [119], [119], *on_2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file; make the track again"),
        (b"x", "not readable"),
        (
            np.zeros(7, np.uint32),
            r"expected uint32 of 8 insertions, got uint32 of shape \(7,\); make the track",
        ),
        (np.zeros(8, np.int64), "expected uint32 of 8 insertions, got int64"),
    ],
)
def test_fragments_of_another_track_are_refused(tmp_path, content, message):
    path = tmp_path / "fragments.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)
    with pytest.raises(InputError, match=f"fragments.npy: {message}") as refusal:
        read_fragments(path, 8)
    assert "\n" not in str(refusal.value)


BAD_BIGWIGS = [
    ([(3, 4, np.nan)], {}, "insertions", "no insertion in any input"),
    (
        [(3, 4, 1), (9, 12, -2)],
        {},
        "coverage",
        r"chr1:9: the value is -2; give counts; a track of the minus strand",
    ),
    ([(i * 100, i * 100 + 80, 1.0) for i in range(20)], {}, "insertions", "set the format coverage"),
    ([(i * 7, i * 7 + 1, 1.0) for i in range(600)], {}, "coverage", "set the format insertions"),
    ([(3, 4, np.inf)], {}, "coverage", r"chr1:3: the value is inf"),
    (
        [(3, 4, 1.0), (9, 12, 1.4)],
        {},
        "coverage",
        r"chr1:9: the step 1.4 is not a multiple of the smallest step, 1",
    ),
    ([(3, 4, 1)], {"header": [("chr1", 99)]}, "coverage", "chr1: length 99 differs from the genome's 60000"),
    ([(3, 4, 1)], {"header": [("1", 99)], "chrom": "1"}, "coverage", "no chromosome name matches"),
    ([(3, 4, 0)], {}, "insertions", "no insertion in any input"),
    ([(3, 4, 1), (7, 8, 3e38)], {}, "insertions", "chr1:7: 3e[+]38 insertions at one base .*; give counts"),
    ([(3, 4, 1), (7, 8, 3e38)], {}, "coverage", "insertions at one base"),
]


@pytest.mark.parametrize(("runs", "options", "kind", "message"), BAD_BIGWIGS)
def test_bad_bigwigs_are_refused_and_nothing_is_left(run, tmp_path, runs, options, kind, message):
    with pytest.raises(InputError, match=message):
        run((save_bigwig(tmp_path / "x.bw", runs, **options), kind))
    assert list((tmp_path / "out").iterdir()) == []


def test_nan_is_no_value(tmp_path, sizes_path):
    bw = save_bigwig(tmp_path / "x.bw", [(1, 2, 1), (7, 8, np.nan), (9, 10, 2)])
    assert read_insertions(bw, ChromSizes.read(sizes_path)).tolist() == [1, 9, 9]


@pytest.mark.parametrize("kind", ["text", "BAM", "bigWig"])
def test_a_contig_of_another_length_is_left_out_if_it_is_small(tmp_path, sizes_path, capsys, kind):
    sizes = ChromSizes.read(sizes_path)
    assert match_contigs("x", {"chr1": LENGTH, "chr2": 400}, sizes, kind) == ["chr1"]
    assert "WARNING x, chr2: left out, because its length 400 differs" in capsys.readouterr().err
    with pytest.raises(InputError, match="chr1: length 5 differs"):
        match_contigs("x", {"chr1": 5, "chr2": 500}, sizes, kind)


def test_the_chromosomes_of_a_bigwig_are_renamed_by_the_printed_command(run, tmp_path):
    plain = save_bigwig(tmp_path / "a.bw", [(3, 4, 1.0), (9, 12, 2.0)])
    named = save_bigwig(tmp_path / "b b.bw", [(3, 4, 1.0), (9, 12, 2.0)], header=[("1", LENGTH)], chrom="1")
    with pytest.raises(
        InputError, match="add the prefix chr, and write RENAMED.bw instead .*: PYTHONPATH"
    ) as caught:
        run((named, "insertions"))
    command = caught.value.remedy.partition(": ")[2].replace(" python ", f" {sys.executable} ")
    command = command.replace("PYTHONPATH=workflow", f"PYTHONPATH={Path(scbind.__file__).parents[1]}")
    subprocess.run(["bash", "-ec", command], cwd=tmp_path, check=True)
    assert run((tmp_path / "RENAMED.bw", "insertions"))[0] == run((plain, "insertions"))[0]


def test_a_bigwig_damaged_inside_is_refused(run, tmp_path):
    path = save_bigwig(tmp_path / "x.bw", [(i, i + 1, 1 + i % 3) for i in range(0, 9000, 3)])
    content = bytearray(path.read_bytes())
    content[600:900] = bytes(300)
    path.write_bytes(content)
    with pytest.raises(
        InputError,
        match="x.bw, chr1:0-60000: cannot be read as bigWig .packed data are damaged.; copy or make",
    ):
        run((path, "insertions"))


def test_other_refusals(run, tmp_path):
    file, other = save_fragments(tmp_path / "f.tsv", PAIRS), save_fragments(tmp_path / "o.tsv", OTHER)
    cases = [
        ([(file, "bed")], "unknown format 'bed'; use one of fragments"),
        ([(file, "coverage")], "cannot be read as bigWig"),
        ([(tmp_path / "none.bw", "coverage")], "no such file"),
        ([(file, "fragments"), (file, "fragments")], "f.tsv: has the same insertions as .*f.tsv; list each"),
        ([(file, "fragments", "chr1:0-60")] * 2, "f.tsv: has the same insertions as .*f.tsv; list each"),
        (
            [(file, "fragments", "chr1:0-60"), (file, "fragments", "chr1:59-90")],
            "chr1:59-60: overlaps .*, but has another region; to sum them, give both the same region, or none",
        ),
        ([(file, "fragments"), (other, "fragments", "chr1:5-90")], "chr1:5-90: overlaps"),
        ([(file, "fragments"), (other, "fragments", "chr1:0-60000")], "chr1:0-60000: overlaps"),
        ([(file, "fragments", "chr1:,-9")], "region 'chr1:,-9' is not chrom:start-end"),
        ([(file, "fragments", f"chr1:0-{'9' * 5000}")], "region .* is not chrom:start-end"),
        ([(file, "fragments", "chr1")], "region 'chr1' is not chrom:start-end"),
        ([(file, "fragments", "chr1:5-60001")], "is empty or beyond the chromosome"),
        ([(file, "fragments", "1:5-60")], "no chromosome name matches .*add the prefix"),
        ([(file, "fragments", "chr1:100-110")], "no insertion in any input"),
    ]
    for inputs, message in cases:
        with pytest.raises(InputError, match=message):
            run(*inputs)
        assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []
