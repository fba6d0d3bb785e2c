"""Properties of the codes of P(bound) and of splits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scbind.binding.shards import Shard, ShardWriter, decode, largest_error, quantise, steps
from scbind.core.errors import InputError
from scbind.dataset.splitrules import parse_rule
from scbind.dataset.splits import TEST, TRAIN, UNUSED, VALID, assign_splits

NAMES = ("1", "HLA-A*01:01:01:01", "NC_000001.11", "2L")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("binding")


# --- codes of P(bound) ------------------------------------------------------------------------------------------------

SHARES = st.floats(0, 1, width=32)


@st.composite
def precisions(draw):
    error = draw(st.floats(0.004, 0.1))
    return draw(st.floats(error, 0.9)), error


@given(st.lists(SHARES, min_size=1, max_size=40), precisions())
def test_codes_of_binding_keep_order_and_error(values, precision):
    floor, error = precision
    scale = steps(floor, error)
    values = np.sort(np.array([*values, 0, floor, 1], dtype=np.float32))
    codes = quantise(values, floor, scale)
    assert codes.dtype == np.uint8 and scale <= 255 and largest_error(floor, scale) <= error + 1e-9
    assert (np.diff(codes.astype(int)) >= 0).all()
    stored = values >= np.float32(floor)
    assert ((codes > 0) == stored).all()
    assert (np.abs(decode(scale)[codes] - values)[stored] <= error + 1e-6).all()
    known = decode(scale)[1:]
    known = known[known > floor + 1e-6]
    np.testing.assert_array_equal(decode(scale)[quantise(known.astype(np.float32), floor, scale)], known)


@settings(max_examples=25)
@given(st.integers(0, 2**31), st.lists(st.integers(1, 9), min_size=2, max_size=4), st.data())
def test_a_shard_gives_back_the_codes_of_its_blocks(folder, seed, sizes, data):
    rng = np.random.default_rng(seed)
    edges, (cells, tfs) = np.cumsum([0, *sizes]), (5, 2)
    probability = rng.random((cells, edges[-1], tfs), dtype=np.float32) * rng.integers(
        0, 2, (1, edges[-1], 1)
    )
    blocks = [(row, part) for row in (0, 3) for part in range(len(sizes))]
    with ShardWriter(["A", "B"], 0.1, folder / "shard.npz") as writer:
        for row, part in data.draw(st.permutations(blocks)):
            here = slice(*((0, 3) if row == 0 else (3, cells))), slice(edges[part], edges[part + 1])
            writer.add(row, int(edges[part]), probability[here].astype(np.float32))
        writer.finish(np.arange(cells), int(edges[-1]), {})
    shard, (start, stop) = (
        Shard.open(folder / "shard.npz"),
        sorted(data.draw(st.tuples(*2 * (st.integers(0, edges[-1]),)))),
    )
    for tf in range(tfs):
        expected = quantise(probability[:, start:stop, tf].astype(np.float32), 0.1, shard.scale)
        np.testing.assert_array_equal(shard.codes(tf, start, stop), expected)


# --- splits -----------------------------------------------------------------------------------------------------------

LINES = ["A", "B"]


@st.composite
def rules(draw, chroms):
    line, chrom = draw(st.sampled_from(["*", *LINES])), draw(st.sampled_from(["*", *chroms]))
    low, high = sorted(draw(st.lists(st.integers(0, 60), min_size=2, max_size=2, unique=True)))
    return f"{line}:{chrom}" + draw(st.sampled_from(["", f":{low * 10}-{high * 10}"]))


@settings(max_examples=300)
@given(
    st.lists(rules(NAMES[:2]), min_size=1, max_size=2),
    st.lists(rules(NAMES[:2]), min_size=1, max_size=2),
    st.none() | st.lists(rules(NAMES[:2]), min_size=1, max_size=2),
    st.sampled_from([20, 40]),
    st.sampled_from([0, 1, 10, 21, 60]),
    st.integers(0, 2**31),
)
def test_no_window_reads_what_another_split_holds(test, valid, train, step, flank, seed):
    window, rng = 40, np.random.default_rng(seed)
    starts = np.arange(0, 560, step)
    chrom, start = np.repeat([0, 1], len(starts)), np.tile(starts, 2)
    usable = rng.random((len(LINES), len(chrom))) < 0.7
    given_rules = {"test": test, "valid": valid, "train": train}
    grid = LINES, list(NAMES[:2]), chrom, start, window, usable
    try:
        splits = assign_splits(given_rules, *grid, context=window + 2 * flank)
    except InputError:  # rules that overlap, or a split without windows
        return
    for row, line in enumerate(LINES):
        claimed = {}
        for value, part in ((TEST, test), (VALID, valid), (TRAIN, train or ())):
            of_line = [
                r for text in part if (r := parse_rule(text, "", LINES, NAMES[:2])).line in ("*", line)
            ]
            claimed[value] = np.array([any(r.chrom in ("*", NAMES[c]) and (r.start is None or
                                           r.start <= s and s + window <= r.end) for r in of_line)
                                       for c, s in zip(chrom, start, strict=True)])  # fmt: skip
        if train is None:
            claimed[TRAIN] = ~claimed[TEST] & ~claimed[VALID]
        for value, mine in claimed.items():
            assert not (splits[row] == value)[~mine | ~usable[row]].any()
    reads = (chrom[:, None] == chrom) & (start[:, None] - flank < start + window)
    reads &= start[:, None] + window + flank > start
    for own, before in zip(splits, assign_splits(given_rules, *grid), strict=True):
        assert not (reads & (own[:, None] * own > UNUSED) & (own[:, None] != own)).any()
        near_other = (reads & (before > UNUSED) & (before[:, None] != before)).any(axis=1)
        assert near_other[own != before].all() and (own[own != before] == UNUSED).all()


@given(
    st.sampled_from(["*", *LINES]),
    st.sampled_from(["*", *NAMES, "HLA-DRB1*15:01:01:02", "chrUn_KI270302v1", "a:1-x", "x:y-2"]),
    st.none() | st.tuples(st.integers(0, 10**9), st.integers(1, 10**9)),
)
def test_a_rule_reads_back_as_it_was_written(line, chrom, span):
    end = "" if span is None else f":{span[0]}-{sum(span)}"
    rule = parse_rule(f"{line}:{chrom}{end}", "splits.test", LINES, [chrom])
    start_end = (None, None) if span is None else (span[0], sum(span))
    assert (rule.line, rule.chrom, rule.start, rule.end) == (line, chrom, *start_end)
