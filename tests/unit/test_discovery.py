"""Motifs found in windows, against motifs that were planted there."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scbind.core.errors import InputError
from scbind.dataset.codes import BOUND
from scbind.dataset.splits import TEST, TRAIN
from scbind.dataset.trainingset import TrainingSet
from scbind.discovery import find, nearest, windows
from scbind.discovery import refine as refine_module
from scbind.discovery.compared import compare_found
from scbind.discovery.find import (
    COLUMNS,
    FoundFiles,
    _own_motifs,
    auprc,
    consensus,
    find_motifs,
)
from scbind.discovery.nearest import COLUMNS as NEAREST
from scbind.discovery.refine import refine
from scbind.discovery.words import BLANK, enriched_words
from scbind.formats.genome import UNKNOWN
from scbind.formats.motiffiles import Matrix
from scbind.formats.motifs import motif_names, read_motifs, scan_all, write_motifs
from scbind.models.metrics import resampled_auprc
from scipy.stats import pearsonr
from sklearn.metrics import average_precision_score

MOTIF = np.array(["ACGT".index(base) for base in "GGCGCCATTA"], dtype=np.uint8)


def reverse(codes):
    return 3 - codes[..., ::-1]


def random_windows(n, seed, length=200):
    return np.random.default_rng(seed).integers(4, size=(n, length)).astype(np.uint8)


def plant(codes, motif, share, seed=0, wrong=0.1):
    """Write a motif into a share of the windows, at any place and on either strand, with some wrong bases."""
    rng = np.random.default_rng(seed)
    codes = codes.copy()
    for row in np.flatnonzero(rng.random(len(codes)) < share):
        site = np.where(rng.random(len(motif)) < wrong, rng.integers(4, size=len(motif)), motif).astype(
            np.uint8
        )
        begin = rng.integers(codes.shape[1] - len(motif))
        codes[row, begin : begin + len(motif)] = site if rng.random() < 0.5 else reverse(site)
    return codes


def holds(motif, word):
    """Whether a word with blanks lies in a motif, on either strand."""
    for strand in (motif, reverse(motif)):
        for begin in range(len(strand) - len(word) + 1):
            part = strand[begin : begin + len(word)]
            if np.all((part == word) | (word == BLANK)):
                return True
    return False


@pytest.mark.parametrize("strand", [np.asarray, reverse])
def test_the_first_word_lies_in_the_planted_motif(strand):
    bound = plant(random_windows(200, 1), strand(MOTIF), 0.6)
    assert holds(MOTIF, enriched_words(bound, random_windows(400, 2), 1)[0])


def test_two_halves_with_a_gap_are_found():
    motif = np.array([0, 1, 1, 9, 9, 9, 9, 9, 9, 2, 3, 0])
    bound = random_windows(300, 3)
    for row, begin in enumerate(np.random.default_rng(4).integers(180, size=200)):
        there = bound[row, begin : begin + len(motif)]
        there[motif < 4] = motif[motif < 4]
    word = enriched_words(bound, random_windows(600, 5), 1)[0]
    assert len(word) == 12 and holds(np.where(motif < 4, motif, BLANK), word)


def test_the_next_word_is_of_another_motif():
    other = np.array([3, 3, 0, 2, 3, 1, 0, 3], dtype=np.uint8)
    bound = np.concatenate(
        [plant(random_windows(150, 6), MOTIF, 0.9), plant(random_windows(150, 7), other, 0.9)]
    )
    words = enriched_words(bound, random_windows(600, 8), 4)
    assert any(holds(MOTIF, word) for word in words[:2]) and any(holds(other, word) for word in words[:2])


def test_unknown_bases_are_in_no_word():
    bound = np.full((50, 60), UNKNOWN, dtype=np.uint8)
    assert enriched_words(bound, random_windows(50, 9, 60), 3) == []


def test_a_motif_is_refined_from_a_part_of_it():
    bound, unbound = plant(random_windows(400, 10), MOTIF, 0.7), random_windows(800, 11)
    found = refine(bound, unbound, [MOTIF[2:8]])[0]
    letters = consensus(found.matrix).upper()
    wanted = "".join("ACGT"[base] for base in MOTIF)
    assert wanted in letters.replace(".", "") and found.matrix.shape[1] <= 14
    assert 0.6 * 400 * 0.7 < found.n_sites < 1.2 * 400 * 0.7
    alone = scan_all(unbound, [found.matrix])[:, 0]  # is matched nearer to the ends of a window
    assert (np.abs(found.unbound - alone) < 1e-3).mean() > 0.9


def test_a_motif_of_few_sites_does_not_praise_itself():
    """Without a motif, few bound windows are told from unbound ones by the sites that were chosen among them."""
    honest, naive = [], []
    for seed in range(4):
        bound, unbound = random_windows(20, 20 + seed), random_windows(400, 40 + seed)
        for found in refine(bound, unbound, enriched_words(bound, unbound, 5)):
            honest.append(auprc(found.bound, found.unbound))
            naive.append(auprc(scan_all(bound, [found.matrix])[:, 0], found.unbound))
    assert np.mean(honest) < 0.8 * np.mean(naive), "a site scores in a matrix that it has made"


def refined(motif, seed, n=14):
    """The motifs from few windows that hold this one, best first."""
    bound = plant(random_windows(n, 10 + seed, 100), motif, 0.7, seed, wrong=0.25)
    unbound = random_windows(600, 20 + seed, 100)
    found = refine(bound, unbound, enriched_words(bound, unbound, 10))
    return sorted(found, key=lambda each: -auprc(each.bound, each.unbound))


def test_a_palindrome_is_made_from_both_strands(monkeypatch):
    """The matrix of few sites is nearer to the truth, and the same on both strands."""
    palindrome = np.array(["ACGT".index(base) for base in "GGTCACGTGACC"], dtype=np.uint8)
    new, truth = random_windows(400, 30), 3.0 * (np.eye(4)[palindrome].T - 0.25)
    likeness, same = {}, {}
    for most in (refine_module.SYMMETRIC, 2):
        monkeypatch.setattr(refine_module, "SYMMETRIC", most)
        best = [refined(palindrome, seed)[0].matrix for seed in range(5)]
        scores = [(scan_all(new, [each])[:, 0], scan_all(new, [truth])[:, 0]) for each in best]
        likeness[most] = np.mean([pearsonr(*each)[0] for each in scores])
        same[most] = sum(np.allclose(each, each[::-1, ::-1], atol=0.05) for each in best)
    assert likeness[0.5] > likeness[2] + 0.03
    assert same[0.5] >= 2 and same[2] == 0


def test_a_motif_that_is_no_palindrome_is_made_from_one_strand():
    """Its first six bases are one."""
    for seed in range(3):
        best = refined(MOTIF, seed, 60)[0].matrix
        assert best.shape[1] >= len(MOTIF) and not np.allclose(best, best[::-1, ::-1], atol=0.05)


def of_folds(bound, unbound):
    """Windows without validation windows, in three folds."""
    folds = (np.arange(len(codes)) % 3 for codes in (bound, unbound))
    none = np.empty((0, bound.shape[1]), dtype=np.uint8)
    return windows.Parts(
        windows.Sequences(bound, unbound, *folds), windows.Sequences(none, none, *np.empty((2, 0)))
    )


def test_cross_fitting_praises_a_motif_and_no_chance():
    """The first motif has the AUPRC that it would have in other windows."""
    found, chance = [], []
    for seed in range(4):
        bound, unbound = random_windows(45, 80 + seed), random_windows(400, 90 + seed)
        chance += [auprc(*_own_motifs("A", of_folds(bound, unbound))[0][3:])]
        found += [auprc(*_own_motifs("A", of_folds(plant(bound, MOTIF, 0.8), unbound))[0][3:])]
    assert np.mean(chance) < 1.6 * 45 / 445 < 0.5 < np.mean(found)


def test_a_motif_that_may_be_chance_gives_way_to_that_of_another_tf():
    """... which may share its sites with this one."""
    few, many, unbound = random_windows(12, 5), random_windows(60, 6), random_windows(500, 7)
    parts = {
        "few": of_folds(plant(few, MOTIF, 0.7, 1), unbound),
        "many": of_folds(plant(many, MOTIF, 0.9, 2), unbound),
        "none": of_folds(few, unbound),
    }
    own = {tf: _own_motifs(tf, each) for tf, each in parts.items()}
    assert own["few"] and own["none"], "words that are frequent by chance"
    rng = np.random.default_rng(0)
    started = {tf: find._start(tf, parts[tf], own, rng).name for tf in parts}
    assert started["many"] == "found:many.1" and not started["none"].startswith("found:none")
    assert find._is_no_chance(own["few"][0], rng) and started["few"] == "found:few.1"
    assert find._start("none", parts["none"], {"none": own["none"]}, rng).name == "found:none.1"


def test_a_tf_of_few_windows_has_no_motif():
    bound, unbound = plant(random_windows(7, 1), MOTIF, 1), random_windows(100, 2)
    assert _own_motifs("A", of_folds(bound, unbound)) == []
    assert _own_motifs("A", of_folds(bound[:0], unbound[:0])) == []


def test_a_bootstrap_sample_has_the_auprc_of_its_windows():
    rng = np.random.default_rng(5)
    bound, unbound = np.round(rng.normal(1, 1, 30), 1), np.round(rng.normal(0, 1, 80), 1)
    times = rng.multinomial(30, np.full(30, 1 / 30), 5), rng.multinomial(80, np.full(80, 1 / 80), 5)
    expected = [auprc(np.repeat(bound, a), np.repeat(unbound, b)) for a, b in zip(*times, strict=True)]
    truth, score = np.repeat([True, False], [30, 80]), np.append(bound, unbound)
    found = resampled_auprc(truth, score, np.concatenate(times, axis=1))
    np.testing.assert_allclose(found, expected)
    np.testing.assert_allclose(auprc(bound, unbound), average_precision_score(truth, score))


def test_consensus_and_empty_scores():
    assert consensus(np.zeros((4, 3))) == "..."
    assert np.isnan(auprc(np.empty(0), np.ones(3)))


@pytest.fixture(scope="module")
def data(tiny, tiny_dataset):
    return TrainingSet.open(tiny_dataset, tiny["reference"])


def test_windows_are_of_training_and_validation_and_alike(data, monkeypatch):
    seen = []
    whole = windows._codes
    monkeypatch.setattr(windows, "_codes", lambda data, places: seen.append(places) or whole(data, places))
    windows.draw_parts(data, windows.gather_windows(data, 0), data.tfs.index("TF1"), 1000, 0)
    splits = np.asarray(data.splits)
    used = np.unique(np.concatenate([places.window for places in seen]))
    assert len(used) and not (splits[:, used] == TEST).all(axis=0).any()
    for places in seen:  # no sequence extends beyond the context of its window
        start = data.genome.sizes.offsets[data.chrom[places.window]] + data.context_start(places.window)
        assert (places.middle - windows.AROUND >= start).all()
        assert (places.middle + windows.AROUND <= start + data.manifest["context"]).all()


def test_bound_windows_are_those_of_the_labels(data):
    tf = data.tfs.index("TF1")
    labelled = windows.gather_windows(data, 0)
    train = windows.draw_parts(data, labelled, tf, 1000, 0).train
    inside = (np.asarray(data.splits) == TRAIN) & (np.asarray(data.labels)[:, :, tf] == BOUND)
    summits = set()
    for line, window in zip(*np.nonzero(inside), strict=True):
        places = data.summits(line, tf)
        middle = data.genome.sizes.offsets[data.chrom[window]] + data.start[window] + 100
        summits.add((line, places[np.abs(places - middle).argmin()]))
    assert len(summits) == len(train.bound) > 10
    assert train.bound.shape[1] == 2 * windows.AROUND
    assert set(train.bound_fold) <= {0, 1, 2}
    few = windows.draw_parts(data, labelled, tf, 5, 0)
    assert len(few.train.bound) == 5 and len(few.train.unbound) < len(train.unbound)


def test_neighbouring_windows_share_a_summit():
    """Windows at 0, 200, ... of two chromosomes; of a wide peak, the summit may be beyond the context of a window."""
    data = SimpleNamespace(
        genome=SimpleNamespace(sizes=SimpleNamespace(offsets=np.array([0, 10_000, 20_000]))),
        chrom=np.repeat([0, 1], 50),
        start=np.tile(np.arange(50) * 200, 2),
        manifest={"context": 1000, "window": 200},
    )
    bound, summits = np.array([3, 4, 20, 52, 60]), np.array([790, 2000, 10_480, 10_600])
    found = windows._summits(data, bound, summits)
    assert found.window.tolist() == [3, 20, 52, 60]
    reach = 500 - windows.AROUND
    assert found.middle.tolist() == [790, 4100 - reach, 10_480, 12_100 - reach]
    assert windows._summits(data, bound[:1], summits[:1]).middle.tolist() == [790]
    assert windows._summits(data, bound[:0], summits).middle.tolist() == []


def test_windows_of_one_stretch_stay_in_one_fold():
    rng = np.random.default_rng(0)
    bound, unbound = np.repeat(np.arange(40), 5), np.repeat(np.arange(30, 90), 3)
    folds = windows._folds(bound, unbound, rng)
    known = dict(zip(bound, folds[0], strict=True)) | dict(zip(unbound, folds[1], strict=True))
    np.testing.assert_array_equal(folds[0], [known[each] for each in bound])
    np.testing.assert_array_equal(folds[1], [known[each] for each in unbound])
    assert np.ptp(np.bincount(folds[0], minlength=3)) <= 5 and len(set(folds[1])) == 3


def run(tiny, dataset, known, folder):
    folder.mkdir(exist_ok=True)
    outputs = [
        folder / name for name in ("found.npz", "known_or_found.npz", "candidates.npz", "candidates.tsv")
    ]
    find_motifs(FoundFiles(dataset, tiny["reference"], known, *outputs))
    return *outputs[:2], pd.read_csv(outputs[3], sep="\t")


@pytest.fixture(scope="module")
def found(tiny, tiny_dataset, tiny_motifs, tmp_path_factory):
    return run(tiny, tiny_dataset, tiny_motifs, tmp_path_factory.mktemp("found"))


def test_the_planted_motif_is_found_without_knowing_it(found, tiny_motifs):
    matrix, known = (read_motifs(path)["TF1"] for path in (found[0], tiny_motifs))
    codes = plant(random_windows(300, 60), MOTIF, 0.5)
    assert pearsonr(scan_all(codes, [matrix])[:, 0], scan_all(codes, [known])[:, 0])[0] > 0.8


def compared(found, motifs, output):
    """The table of found motifs with their nearest known ones."""
    folder = found[0].parent
    files = folder / "candidates.tsv", folder / "candidates.npz", motifs, output
    compare_found(*files, release=None, taxon="vertebrates")
    return pd.read_csv(output, sep="\t")


def test_the_known_motif_that_is_nearest_to_each_found_one(found, tiny_motifs, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    planted = 97 * np.eye(4)[MOTIF].T + 1
    release = [Matrix("TF1", "M1", planted)]
    release += [Matrix(f"X{i}", f"M{i}", 50 * rng.dirichlet([0.3] * 4, size=10).T) for i in range(2, 62)]
    monkeypatch.setattr(nearest, "released_motifs", lambda *asked: release)
    whole = compared(found, tiny_motifs, tmp_path / "found.tsv")
    pd.testing.assert_frame_equal(whole[list(COLUMNS)], found[2])
    table = whole.set_index(["tf", "motif"])
    first = table.loc["TF1", "found:TF1.1"]
    assert (
        first["nearest_known"] == "M1:TF1" and first["nearest_p_adjusted"] == first["own_p_adjusted"] < 1e-3
    )
    assert table.loc[("TF1", "M1:TF1"), list(NEAREST)].isna().all(), "a known motif is not compared"
    assert table.loc["TF2", "own_p_adjusted"].isna().all(), "TF2 has no known motif"


def test_a_known_matrix_is_kept_and_a_found_one_fills_its_place(
    found, tiny, tiny_dataset, tiny_motifs, tmp_path
):
    assert motif_names(found[1])["TF1"] == motif_names(tiny_motifs)["TF1"] == "M1:TF1"
    assert "TF2" not in motif_names(tiny_motifs) and motif_names(found[1])["TF2"] == "found:TF2.1"
    without = run(tiny, tiny_dataset, None, tmp_path)
    assert motif_names(without[0]) == motif_names(without[1]) == motif_names(found[0])


@pytest.mark.parametrize(("enough", "name"), [(5, "found:TF1.1"), (500, "M9:wrong")])
def test_a_known_matrix_that_is_clearly_worse_is_replaced(
    tiny, tiny_dataset, tiny_motifs, tmp_path, monkeypatch, enough, name
):
    """... by one of enough sites."""
    monkeypatch.setattr(find, "ENOUGH", enough)
    wrong = tmp_path / "wrong.npz"
    write_motifs(wrong, {"TF1": ("M9:wrong", read_motifs(tiny_motifs)["TF1"][[2, 3, 0, 1]])})
    result = run(tiny, tiny_dataset, wrong, tmp_path / "out")
    assert motif_names(result[1])["TF1"] == name


def test_a_tf_without_a_motif_takes_that_of_another(tiny, tiny_dataset, tiny_motifs, tmp_path, monkeypatch):
    whole = find._own_motifs
    monkeypatch.setattr(find, "_own_motifs", lambda tf, parts: whole(tf, parts) if tf == "TF1" else [])
    found, _, table = run(tiny, tiny_dataset, None, tmp_path)
    assert motif_names(found) == {"TF1": "found:TF1.1", "TF2": "found:TF1.1"}
    assert table.loc[table["tf"] == "TF2", "auprc"].between(0, 1).all()


def test_without_known_motifs_nothing_is_compared(found, tiny_motifs, tmp_path):
    table = compared(found, tiny_motifs, tmp_path / "found.tsv")
    assert tuple(table.columns) == (*COLUMNS, *NEAREST)
    assert table[list(NEAREST)].isna().all(axis=None), "no release, no neighbours"


def test_the_table_tells_what_each_file_has(found):
    table = found[2]
    assert tuple(table.columns) == COLUMNS
    for path, column in ((found[0], "starts_found"), (found[1], "starts_known")):
        chosen = table[table[column] == 1]
        assert dict(zip(chosen["tf"], chosen["motif"], strict=True)) == motif_names(path)
    assert table["n_sites"].isna().equals(~table["motif"].str.startswith("found:"))
    assert (table["auprc"].between(0, 1) & (table["n_bound"] > 0)).all()
    assert table.groupby("tf", sort=False)["auprc"].apply(lambda of: of.is_monotonic_decreasing).all()


def test_the_same_bytes_each_time(found, tiny, tiny_dataset, tiny_motifs, tmp_path):
    again = run(tiny, tiny_dataset, tiny_motifs, tmp_path)
    for name, other in zip(found[:2], again[:2], strict=True):
        for (tf, a), (_, b) in zip(read_motifs(name).items(), read_motifs(other).items(), strict=True):
            np.testing.assert_array_equal(a, b, err_msg=tf)
    pd.testing.assert_frame_equal(found[2], again[2])


def test_a_dataset_of_another_genome_is_refused(tiny, tiny_dataset, mappable, tmp_path):
    with pytest.raises(InputError):
        find_motifs(FoundFiles(tmp_path, tiny["reference"], None, *[tmp_path / name for name in "abcd"]))
    assert not list(tmp_path.iterdir())
