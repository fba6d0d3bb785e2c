import json
import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyBigWig
import pytest
from scbind.core.errors import InputError
from scbind.dataset.build import _bound_in, _depth, build_dataset
from scbind.dataset.codes import AMBIGUOUS, BOUND, NOT_ASSAYED
from scbind.dataset.splits import TEST, TRAIN, UNUSED, VALID
from scbind.dataset.trainingset import TrainingSet


def build(tiny, reference, output, lines=None, chip=None, splits=None, **geometry):
    """Build the tiny dataset with something changed; return the bytes of its files."""
    given = lines or tiny["lines"], chip or tiny["chip"], splits or tiny["splits"]
    build_dataset(reference, *given, replace(tiny["geometry"], **geometry), output)
    return {file.name: file.read_bytes() for file in output.iterdir()}


def with_files(tiny, line, **files):
    """The lines of the tiny dataset, one of them with other files."""
    return tiny["lines"] | {line: replace(tiny["lines"][line], **files)}


@pytest.fixture
def data(tiny, tiny_dataset):
    return TrainingSet.open(tiny_dataset, tiny["reference"])


def test_what_was_not_assayed_is_never_unbound(data):
    assert data.tfs == ["TF1", "TF2"] and data.lines == ["A", "C"]
    assert (data.labels[1, :, 1] == NOT_ASSAYED).all()
    assert (data.labels[0] != NOT_ASSAYED).all()


def test_bound_windows_hold_the_planted_sites(data, tiny):
    bound = np.flatnonzero(data.labels[0, :, 0] == BOUND)
    assert len(bound) > 10
    for window in bound:
        sites = tiny["sites"][["chr1", "chr2"][data.chrom[window]]]
        assert np.abs(sites - data.start[window] - 100).min() <= 150


def test_signal_and_depth(data):
    window = np.arange(len(data.chrom))
    counts = data.counts(0, window, 50)
    assert counts.shape == (len(window), 20)
    on_chr1 = data.insertions[0] < 60_000
    known = (np.asarray(data.genome.codes[:60_000]) < 4).sum()
    assert data.depth[0, 0] == pytest.approx(on_chr1.sum() / known)
    edge = (data.chrom == 0) & (data.start == data.start[data.chrom == 0].max())
    shifted = data.codes(np.flatnonzero(edge), shift=500)
    assert (shifted < 4).all(), "a shift must not leave the chromosome"


def test_insertion_counts_equal_the_track(data, tiny):
    bigwig = pyBigWig.open(tiny["lines"]["A"].track)
    window = np.flatnonzero(data.chrom == 1)[7]
    start = int(data.start[window]) - 400
    values = np.nan_to_num(bigwig.values("chr2", start, start + 1000, numpy=True))
    assert data.counts(0, np.array([window]), 50)[0].tolist() == values.reshape(20, 50).sum(axis=1).tolist()


def test_manifest_and_splits(data, tiny_dataset):
    manifest = json.loads((tiny_dataset / "manifest.json").read_text())
    assert manifest["bound_train"]["TF1"] == int(
        (np.asarray(data.labels[0, :, 0])[np.asarray(data.splits[0]) == TRAIN] == BOUND).sum()
    )
    assert set(manifest["sha256"]) >= {"bound.npy", "ambiguous.npy", "windows.npz"}
    assert (np.asarray(data.splits[1]) != TRAIN).all() and (np.asarray(data.splits[1]) == TEST).any()


def test_another_genome_is_refused(tiny, tiny_dataset, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "chrom.sizes").write_text("chr1\t100\n")
    np.save(other / "sequence.npy", np.zeros(100, np.uint8))
    with pytest.raises(InputError, match="another genome"):
        TrainingSet.open(tiny_dataset, other)


def test_nothing_is_written_half(tiny, tmp_path):
    chip = [*tiny["chip"], {"cell_line": "A", "tf": "TF3", "path": str(tmp_path / "none.narrowPeak")}]
    output = tmp_path / "dataset"
    with pytest.raises(InputError, match="none.narrowPeak"):
        build(tiny, tiny["reference"], output, chip=chip)
    assert not list(tmp_path.iterdir())


def test_a_tf_without_training_windows_is_named(tiny, tmp_path, capfd):
    peak = tmp_path / "x.narrowPeak"
    peak.write_text("chr2\t30000\t30300\t.\t0\t.\t1\t-1\t-1\t100\n")
    chip = [*tiny["chip"], {"cell_line": "A", "tf": "TF3", "path": str(peak), "relaxed": None}]
    build(tiny, tiny["reference"], tmp_path / "d", chip=chip)
    said = capfd.readouterr().err
    assert "WARNING TF3: no bound window in the training split" in said and "TF3 (0)" not in said


def test_a_tf_without_validation_windows_is_named(tiny, tmp_path, capfd):
    """Without any such window, every epoch would be as good as the first, and none would be calibrated."""
    peak = tmp_path / "x.narrowPeak"
    peak.write_text("chr1\t9000\t9300\t.\t0\t.\t1\t-1\t-1\t100\n")
    new = {"cell_line": "A", "tf": "TF3", "path": str(peak), "relaxed": None}
    build(tiny, tiny["reference"], tmp_path / "d", chip=[*tiny["chip"], new])
    said = capfd.readouterr().err
    assert "TF3 (0): fewer than 10 bound validation windows, so scbind will abstain" in said
    other = tmp_path / "y.narrowPeak"  # of a TF that has them in validation only
    other.write_text("chr2\t9000\t9300\t.\t0\t.\t1\t-1\t-1\t100\n")
    chip = [new, {"cell_line": "A", "tf": "TF4", "path": str(other), "relaxed": None}]
    with pytest.raises(
        InputError, match="no TF with a bound training window has a bound validation"
    ) as error:
        build(tiny, tiny["reference"], tmp_path / "e", chip=chip)
    assert error.value.remedy == "widen splits.valid" and not (tmp_path / "e").exists()
    assert "TF4 (" not in capfd.readouterr().err


def test_without_a_least_mappability_the_file_is_not_looked_at(tiny, tiny_dataset, tmp_path):
    shutil.copytree(tiny["reference"], tmp_path / "mini")
    np.save(tmp_path / "mini/mappability.npy", np.zeros(3, np.uint8))
    got = build(tiny, tmp_path / "mini", tmp_path / "dataset")
    assert got == {file.name: file.read_bytes() for file in tiny_dataset.iterdir()}
    data = TrainingSet.open(tmp_path / "dataset", tmp_path / "mini")
    assert not data.has_mappability and data.mappability(np.arange(3)) is None


def test_windows_that_map_badly_are_left_out(tiny, tiny_dataset, mappable, tmp_path):
    everything = build(tiny, mappable[0], tmp_path / "all", min_mappability=0)
    old = {file.name: file.read_bytes() for file in tiny_dataset.iterdir()}
    assert {name for name in old if old[name] != everything[name]} == {"manifest.json"}
    build(tiny, mappable[0], tmp_path / "half", min_mappability=0.5)
    whole, half = (TrainingSet.open(tmp_path / name, mappable[0]) for name in ("all", "half"))
    mean = whole.mappability(np.arange(len(whole.chrom))).mean(axis=1) / 255
    keep = mean >= 0.5
    assert 0 < (~keep).sum() < 60 and (whole.chrom[~keep] == 0).all()
    for name in ("chrom", "start"):
        assert np.array_equal(getattr(whole, name)[keep], getattr(half, name))
    assert np.array_equal(np.asarray(whole.labels)[:, keep], half.labels)
    # chr1:30000-40000 is 0, its surroundings about 0.84: 41 % of a context in it are too many
    centre = half.start[half.chrom == 0] + 100
    assert centre[centre < 35_000].max() <= 30_000 - 80 and centre[centre > 35_000].min() >= 40_000 + 80


def test_no_window_that_maps_is_refused(tiny, mappable, tmp_path):
    with pytest.raises(InputError, match="no usable window; check the genome, .* dataset.min_mappability"):
        build(tiny, mappable[0], tmp_path / "dataset", min_mappability=1)


def test_overlapping_windows_train_but_do_not_test(tiny, tiny_dataset, tmp_path):
    build(tiny, tiny["reference"], tmp_path / "d", step=50)
    coarse, fine = (TrainingSet.open(folder, tiny["reference"]) for folder in (tiny_dataset, tmp_path / "d"))
    on_grid = fine.start % 200 == 0
    for name in ("chrom", "start"):
        assert np.array_equal(getattr(fine, name)[on_grid], getattr(coarse, name))
    assert np.array_equal(np.asarray(fine.labels)[:, on_grid], coarse.labels)
    assert np.array_equal(fine.splits[:, on_grid], coarse.splits), "evaluation is on the same windows"
    assert set(np.unique(fine.splits[:, ~on_grid])) == {UNUSED, TRAIN}
    # a window 50 bp on is labelled by what lies under it, not by its neighbour
    labels, n = np.asarray(fine.labels[0, :, 0]), np.flatnonzero(on_grid)[:-1]
    assert (labels[n] != labels[n + 2]).any()
    assert (fine.splits[0] == TRAIN).sum() > 3.5 * (coarse.splits[0] == TRAIN).sum()


def test_a_chromosome_without_signal_is_not_used(tiny, tmp_path):
    bigwig = pyBigWig.open(str(tmp_path / "C.bw"), "w")
    bigwig.addHeader([("chr1", 60_000), ("chr2", 40_000)])
    bigwig.addEntries("chr1", [2_000], values=[1.0], span=1)
    bigwig.close()
    lines = with_files(tiny, "C", track=str(tmp_path / "C.bw"))
    build(tiny, tiny["reference"], tmp_path / "dataset", lines)
    data = TrainingSet.open(tmp_path / "dataset", tiny["reference"])
    assert (data.splits[1, data.chrom == 1] == UNUSED).all() and (data.splits[1] == TEST).any()
    only_c = tiny["splits"] | {"train": ["C:chr2:0-20000"], "valid": ["A:chr2:0-20000"]}
    with pytest.raises(InputError, match="the train split holds no window; .* the line has signal there"):
        build(tiny, tiny["reference"], tmp_path / "none", lines, splits=only_c)


def test_outside_its_regions_a_track_says_nothing(tiny, tiny_dataset, tmp_path):
    """Line A's track covers the second half of chr1 and chr2; line C's is the same as without regions."""
    bigwig, sizes = pyBigWig.open(tiny["lines"]["A"].track), [("chr1", 60_000), ("chr2", 40_000)]
    half = pyBigWig.open(str(tmp_path / "A.bw"), "w")
    half.addHeader(sizes)
    for chrom, low in (("chr1", 30_000), ("chr2", 0)):
        rows = [row for row in bigwig.intervals(chrom) if row[0] >= low]
        half.addEntries(chrom, [r[0] for r in rows], values=[r[2] for r in rows], span=1)
    half.close()
    speaks = {"A": [["chr1", 30_000, 45_000], ["chr1", 45_000, 60_000], ["chr2", 0, 40_000]]}
    speaks["C"] = [[chrom, 0, length] for chrom, length in sizes]
    for line in speaks:
        (tmp_path / f"{line}.json").write_text(json.dumps({"regions": speaks[line]}))
    lines = with_files(tiny, "A", track=str(tmp_path / "A.bw"))
    lines = {line: replace(files, regions=tmp_path / f"{line}.json") for line, files in lines.items()}
    build(tiny, tiny["reference"], tmp_path / "d", lines)
    whole, got = (TrainingSet.open(path, tiny["reference"]) for path in (tiny_dataset, tmp_path / "d"))

    kept = (whole.insertions[0] >= 30_000) & (whole.insertions[0] < 60_000)
    assert got.depth[0, 0] == pytest.approx(kept.sum() / 30_000), "no N lies there"
    assert np.array_equal(got.depth[1], whole.depth[1]) and got.depth[0, 1] == whole.depth[0, 1]
    inside = (got.chrom == 1) | (got.start - 400 >= 30_000)
    assert np.array_equal(got.splits[1], whole.splits[1])
    assert np.array_equal(got.splits[0], np.where(inside, whole.splits[0], UNUSED))
    crossing = inside & (got.chrom == 0) & (got.start < 45_000) & (got.start > 44_500)
    assert (got.splits[0, crossing] == TRAIN).all() and crossing.any(), "regions that touch are one"


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is not JSON"), ("{}", "no regions"), ('{"regions": [["chr9", 0, 5]]}', "chr9")]
    + [('{"regions": [["chr2", 0, 40001]]}', "no such region: chr2:0-40001")],
)
def test_a_track_without_its_regions_is_refused(tiny, tmp_path, text, message):
    (tmp_path / "track.json").write_text(text)
    with pytest.raises(InputError, match=f"track.json: .*{message}"):
        build(tiny, tiny["reference"], tmp_path / "d", with_files(tiny, "A", regions=tmp_path / "track.json"))


def test_fragments_go_with_their_insertions(tiny, data, tmp_path):
    """Line A has a file of its fragments, line C none."""
    number = np.arange(len(data.insertions[0]), dtype=np.uint32) // 2
    np.save(tmp_path / "A.npy", number)
    build(tiny, tiny["reference"], tmp_path / "d", with_files(tiny, "A", fragments=tmp_path / "A.npy"))
    got = TrainingSet.open(tmp_path / "d", tiny["reference"])
    np.testing.assert_array_equal(got.fragments[0], number)
    assert got.fragments[0].dtype == got.fragments[1].dtype == np.uint32
    np.testing.assert_array_equal(got.fragments[1], np.arange(len(got.insertions[1])))
    for here, there in zip(got.insertions, data.insertions, strict=True):
        np.testing.assert_array_equal(here, there)
    assert {"fragments.A.npy", "fragments.C.npy"} <= got.manifest["sha256"].keys()


def test_fragments_of_another_track_are_refused(tiny, tmp_path):
    np.save(tmp_path / "A.npy", np.zeros(3, np.uint32))
    with pytest.raises(InputError, match=r"A.npy: expected uint32 of \d+ insertions, got uint32 of shape"):
        build(tiny, tiny["reference"], tmp_path / "d", with_files(tiny, "A", fragments=tmp_path / "A.npy"))
    assert not (tmp_path / "d").exists()


def test_positions_are_not_copied_for_the_depth(data):
    positions = np.sort(np.random.default_rng(0).integers(0, 100_000, 2_000_000)).astype(np.uint32)
    regions = np.array([[0, 60_000], [60_000, 100_000]])
    tracemalloc.start()
    depth = _depth(positions, regions, data.genome)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < positions.nbytes / 4
    assert depth[0] == (positions < 60_000).sum() / data.genome.known_lengths()[0]


def test_bound_windows_are_counted(data):
    labels, splits = np.asarray(data.labels), np.asarray(data.splits)
    parts = TRAIN, VALID
    expected = [[(labels[..., tf][splits == part] == BOUND).sum() for tf in range(2)] for part in parts]
    assert _bound_in(parts, data.labels, splits).tolist() == expected


def test_two_experiments_of_one_pair_are_joined(tiny, tiny_dataset, tmp_path, capfd):
    """The second experiment of TF1 in line A has every second peak of the first, and one of its own."""
    first = next(row for row in tiny["chip"] if (row["cell_line"], row["tf"]) == ("A", "TF1"))
    lines = Path(first["path"]).read_text().splitlines()
    other = tmp_path / "other.narrowPeak"
    other.write_text("\n".join([*lines[::2], "chr1\t7000\t7400\tp\t1\t.\t1\t1\t1\t100"]) + "\n")
    chip = [*tiny["chip"], {"cell_line": "A", "tf": "TF1", "path": str(other), "relaxed": None}]
    before = TrainingSet.open(tiny_dataset, tiny["reference"])
    alone = before.labels.of_tf(0, 0)
    found = {}
    for how in ("any", "all"):
        output = tmp_path / how
        given = tiny["lines"], chip, tiny["splits"], tiny["geometry"], output
        build_dataset(tiny["reference"], *given, experiments=how)
        data = TrainingSet.open(output, tiny["reference"])
        found[how] = data.labels.of_tf(0, 0)
        np.testing.assert_array_equal(data.labels[1], before.labels[1])
    either = (found["any"] == BOUND).sum()
    assert either > (alone == BOUND).sum() > (found["all"] == BOUND).sum() > 0
    assert (found["any"] != AMBIGUOUS).all()
    assert ((found["all"] == BOUND) | (found["all"] == AMBIGUOUS)).sum() == either
    assert "TF1 of A: 2 experiments with" in capfd.readouterr().err
    places = TrainingSet.open(tmp_path / "any", tiny["reference"]).summits(0, 0)
    assert set(places) == {*before.summits(0, 0), 7100} and (np.diff(places) > 0).all()
