import csv
from pathlib import Path

import numpy as np
import pytest
import yaml
from scbind.core.errors import InputError
from scbind.dataset.splits import TEST, TRAIN, UNUSED, VALID, assign_splits, kinds_of_holdout

LINES, CHROMS = ["A", "B"], ["chr1", "chr2", "chr3"]
CHROM = np.repeat(np.arange(3), 5)
START = np.tile(np.arange(5) * 200, 3)


def assign(rules, usable=None):
    return assign_splits(rules, LINES, CHROMS, CHROM, START, 200, usable)


def test_train_is_what_the_holdouts_leave():
    splits = assign({"test": ["*:chr3"], "valid": ["B:chr2"], "train": None})
    assert (splits[:, CHROM == 2] == TEST).all()
    assert (splits[1, CHROM == 1] == VALID).all() and (splits[0, CHROM == 1] == TRAIN).all()


def test_explicit_training_regions_leave_the_rest_unused():
    splits = assign({"test": ["A:chr3"], "valid": ["A:chr2"], "train": ["A:chr1:0-500"]})
    assert splits[0, :5].tolist() == [TRAIN, TRAIN, UNUSED, UNUSED, UNUSED]  # 400-600 is not wholly inside
    assert (splits[1] == UNUSED).all()


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"test": ["*:chr3"], "valid": ["A:chr3"], "train": None}, "overlaps 'splits.test: \\*:chr3' in 5"),
        ({"test": ["*:chr3"], "valid": ["A:chr2"], "train": ["A:*"]}, "overlaps"),
        ({"test": ["*:*"], "valid": ["A:chr2"], "train": None}, "overlaps"),
        (
            {"test": ["*:chr2", "*:chr3"], "valid": ["*:chr1"], "train": None},
            "splits.train: the train split holds no",
        ),
        ({"test": ["*:chr3:0-10"], "valid": ["A:chr2"], "train": None}, "the test split holds no window"),
        ({"test": ["C:chr3"], "valid": ["A:chr2"], "train": None}, "no cell line 'C'; use one of A, B"),
        ({"test": ["*:3"], "valid": ["A:chr2"], "train": None}, "no chromosome '3'; use one of chr1"),
        ({"test": ["chr3"], "valid": ["A:chr2"], "train": None}, "is not LINE:CHROM"),
        ({"test": ["*:chr3:9-3"], "valid": ["A:chr2"], "train": None}, "start is not below end"),
        ({"test": None, "valid": ["A:chr2"], "train": None}, "no test rules"),
    ],
)
def test_refused(rules, message):
    with pytest.raises(InputError, match=message):
        assign(rules)


def test_splits_that_meet_share_no_context():
    start = np.arange(20) * 200  # 600 bp of context reach over one neighbour on either side
    rules = {"test": ["A:chr1:0-2000"], "valid": ["A:chr1:3000-4000"], "train": None}
    whole, parted = (
        assign_splits(rules, LINES, CHROMS, np.zeros(20, int), start, 200, context=context)
        for context in (None, 600)
    )
    assert (whole[0] != UNUSED).all()
    unused = np.flatnonzero(parted[0] == UNUSED).tolist()
    assert unused == [9, 10, 14, 15], "test ends with window 9, validation begins with window 15"
    kept = parted[0] != UNUSED
    assert np.array_equal(parted[0, kept], whole[0, kept])
    assert (parted[1] == TRAIN).all(), "on line B nothing else begins there"
    for a, b in zip(*np.nonzero(np.abs(start[:, None] - start) < 400), strict=True):
        assert UNUSED in (parted[0, a], parted[0, b]) or parted[0, a] == parted[0, b]


def test_unused_windows_part_nothing():
    start = np.arange(20) * 200
    rules = {"test": ["A:chr1:0-2000"], "valid": ["B:chr1"], "train": ["A:chr1:2400-4000"]}
    splits = assign_splits(rules, LINES, CHROMS, np.zeros(20, int), start, 200, context=600)
    assert (splits[0] == UNUSED).sum() == 2 and splits[0, 9] == TEST and splits[0, 12] == TRAIN


def test_a_line_without_signal_is_not_used():
    usable = np.ones((2, 15), bool)
    usable[1, CHROM == 0] = False
    splits = assign({"test": ["*:chr3"], "valid": ["*:chr2"], "train": None}, usable)
    assert (splits[1, CHROM == 0] == UNUSED).all()
    usable[0, CHROM == 0] = False
    with pytest.raises(InputError, match="train split holds no window"):
        assign({"test": ["*:chr3"], "valid": ["*:chr2"], "train": None}, usable)


def test_kinds_of_holdout():
    splits = assign({"test": ["*:chr3", "B:chr1"], "valid": ["*:chr2"], "train": None})
    known, new = [kinds_of_holdout(splits, line, np.flatnonzero(splits[line] == TEST)) for line in (0, 1)]
    assert list(known) == ["chromosome"] and known["chromosome"].all()
    assert set(new) == {"cell_line", "both"}
    assert (
        np.flatnonzero(new["cell_line"]).tolist() == list(range(5))
        and (new["both"] != new["cell_line"]).all()
    )
    splits = assign({"test": ["B:chr1"], "valid": ["*:chr3"], "train": None})
    kinds = kinds_of_holdout(splits, 1, np.arange(5))
    assert list(kinds) == ["pair"] and kinds["pair"].all()


def test_the_demo_holds_out_chromosomes_and_a_line():
    root = Path(__file__).parents[2]
    rules = yaml.safe_load((root / "config/demo/config.yaml").read_text())["splits"]
    with open(root / "config/demo/chip.tsv") as handle:
        assays = {(row["cell_line"], row["tf"]) for row in csv.DictReader(handle, delimiter="\t")}
    lines, chroms = sorted({line for line, _ in assays}), ["chr1", "chr2", "chr3", "chr4"]
    splits = assign_splits(rules, lines, chroms, np.repeat(np.arange(4), 5), np.tile(START[:5], 4), 200)
    held_out = lines.index("LINE_C")
    assert (splits[held_out] == TEST).all()
    for line in range(len(lines)):
        kinds = set(kinds_of_holdout(splits, line, np.flatnonzero(splits[line] == TEST)))
        assert kinds == ({"cell_line", "both"} if line == held_out else {"chromosome"})
    trained = {tf for line, tf in assays if line != "LINE_C"}
    assert {tf for line, tf in assays if line == "LINE_C"} <= trained
