import numpy as np
import pytest
from scbind.dataset.seen import is_same_assembly, seen_windows
from scbind.dataset.splits import TEST, TRAIN, UNUSED, VALID, assign_splits

CHROMS = ["chr1", "chr2", "chr3"]
LINES = ["A", "B", "C"]
CHROM = np.repeat([0, 1, 2], 50).astype(np.int32)
START = np.tile(np.arange(50) * 200, 3).astype(np.int32)


def facts(train=None, assayed=None, **changes):
    splits = {"test": ["*:chr3", "C:*"], "valid": ["A:chr2:2100-5000"], "train": train}
    return {
        "genome": "mini",
        "chromosomes": dict.fromkeys(CHROMS, 10_000),
        "cell_lines": LINES,
        "assayed": assayed or [[True], [True], [False]],
        "splits": splits,
    } | changes


@pytest.mark.parametrize("train", [None, ["A:chr1:300-4000", "B:chr2"]])
def test_nothing_that_a_model_was_trained_or_validated_on_is_taken_as_unseen(train):
    known = facts(train)
    seen = seen_windows(known, LINES, CHROMS, CHROM, START, 200)
    split = assign_splits(known["splits"], LINES, CHROMS, CHROM, START, 200)
    assert seen[(split == TRAIN) | (split == VALID)].all()
    assert not seen[split == TEST].any()
    if train:  # windows across a border of a region count as seen, others in no region do not
        across = (CHROM == 0) & (START == 200)
        assert seen[0, across].all() and split[0, across] == UNUSED
        assert not seen[0, (CHROM == 0) & (START < 200)].any()


def test_lines_are_known_by_name_and_others_are_new():
    seen = seen_windows(facts(), ["A", "mine"], CHROMS, CHROM, START, 200)
    assert seen[0, CHROM == 0].all() and not seen[1].any()


def test_what_lies_beyond_the_pieces_of_a_model_was_not_seen():
    known = facts(chromosomes={"chr1": 4000, "chr2": 10_000})
    seen = seen_windows(known, LINES, CHROMS, CHROM, START, 200)
    assert seen[1, (CHROM == 0) & (START < 4000)].all()
    assert not seen[1, (CHROM == 0) & (START >= 4000)].any() and not seen[1, CHROM == 2].any()


def test_the_assembly_is_told_by_name_or_lengths():
    assert is_same_assembly(facts(), "mini", {"chr1": 4000})  # a piece
    assert is_same_assembly(facts(), "other name", {"chr1": 10_000, "chr9": 5})
    assert not is_same_assembly(facts(), "other", {"chr1": 9_999})
    assert not is_same_assembly(facts(), "mini", {"1": 10_000})
