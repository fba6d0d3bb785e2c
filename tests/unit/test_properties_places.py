"""Properties of coordinates, codes and names: what is computed equals a count over every base or pair."""

import gzip
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from scbind.binding.shards import Shard, ShardWriter, decode, largest_error, quantise, steps
from scbind.binding.store import Binding
from scbind.cells.count import count_fragments
from scbind.core.errors import InputError
from scbind.dataset.splitrules import parse_rule
from scbind.dataset.splits import TEST, TRAIN, UNUSED, VALID, assign_splits
from scbind.formats.bedtools import overlapped
from scbind.formats.fragments import iter_fragments
from scbind.formats.genome import ChromSizes
from scbind.formats.intervals import (
    COLUMNS,
    genome_order,
    place_names,
    read_bed,
    read_called,
    read_peaks,
    write_narrowpeak,
)
from scbind.formats.overlaps import covered_bases
from scbind.formats.strays import Rule, Strays
from scbind.peaks.pseudobulk import slugs

PHASES = (Phase.explicit, Phase.generate, Phase.shrink)
checked = settings(max_examples=50, derandomize=True, database=None, deadline=None, phases=PHASES)

NAMES = ("1", "HLA-A*01:01:01:01", "NC_000001.11", "2L")
SIZES = ChromSizes(NAMES, np.array([300, 60, 3_000_000_000, 40]))
MISSING = st.sampled_from(["", "\n", "\r\n", "# a comment\n", "#\n"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("places")


# --- intervals --------------------------------------------------------------------------------------------------------


@st.composite
def spans(draw, longest: int = 80):
    """A place: chromosome, start and end; those on the longest chromosome lie at its far end."""
    chrom = draw(st.integers(0, len(NAMES) - 1))
    length = int(SIZES.lengths[chrom])
    start = draw(st.integers(max(0, length - 400), length - 1))
    return NAMES[chrom], start, min(length, start + draw(st.integers(1, longest)))


def table_of(rows) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["chrom", "start", "end"]).astype({"start": np.int64, "end": np.int64})


def bases(chrom: str, start: int, end: int) -> set[tuple[str, int]]:
    return {(chrom, base) for base in range(start, end)}


@checked
@given(
    st.lists(st.tuples(spans(), MISSING), min_size=1, max_size=8),
    st.sampled_from(["", "\tp", "\tp\t0\t.\t1\t-1\t-1\t3", "\t"]),
    st.sampled_from(["", "track name=x\n", "chrom\tstart\tend\n", "browser position 1:1-2\n#h\n"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["utf-8", "utf-16"]),
    st.booleans(),
)
def test_intervals_read_back_in_their_order(folder, rows, more, header, end, encoding, packed):
    text = header + "".join(f"{c}\t{s}\t{e}{more}\n{passed}" for (c, s, e), passed in rows)
    content = text.replace("\r\n", "\n").replace("\n", end).encode(encoding)
    path = folder / "peaks.bed"
    path.write_bytes(gzip.compress(content) if packed else content)
    expected = table_of([place for place, _ in rows])
    for read in (read_peaks, read_bed, lambda *given: read_bed(*given, clip=True)):
        pd.testing.assert_frame_equal(read(path, SIZES), expected, check_dtype=False)


FINITE = st.floats(allow_nan=False, allow_infinity=False)


@checked
@given(st.lists(st.tuples(spans(), FINITE, FINITE, st.floats(0, 1)), min_size=1, max_size=8))
def test_peaks_read_back_as_they_were_written(folder, rows):
    table = table_of([place for place, *_ in rows]).assign(name=".", strand=".")
    for name, values in zip(
        ("score", "signal", "summit"), zip(*(row[1:] for row in rows), strict=True), strict=True
    ):
        table[name] = values
    table["p"], table["q"] = -1.0, table["signal"]
    table["summit"] = np.floor(table["summit"] * (table["end"] - table["start"] - 1)).astype(np.int64)
    write_narrowpeak(table[COLUMNS], folder / "peaks.narrowPeak", SIZES)
    table = table.iloc[genome_order(table, SIZES)].reset_index(drop=True)
    table["name"] = [f"peak_{row + 1}" for row in range(len(table))]
    pd.testing.assert_frame_equal(
        read_called(folder / "peaks.narrowPeak", SIZES), table[COLUMNS], check_dtype=False, rtol=1e-14
    )


@checked
@given(st.lists(spans(), max_size=6), st.lists(spans(longest=1), max_size=8), st.integers(1, 50))
def test_covered_bases_equal_a_count_of_bases(rows, places, width):
    order = sorted((NAMES.index(chrom), start) for chrom, start, _ in places)
    chrom, start = np.array(order, dtype=np.int64).reshape(-1, 2).T
    union = set().union(*(bases(*row) for row in rows))
    expected = [len(union & bases(NAMES[c], s, s + width)) for c, s in order]
    assert covered_bases(table_of(rows), list(NAMES), chrom, start, width).tolist() == expected


@checked
@given(st.lists(spans(), max_size=6), st.lists(spans(), max_size=6), st.sampled_from([None, 0.25, 0.5, 1.0]))
def test_overlaps_equal_a_count_of_bases(rows, others, share):
    def overlap(one, other) -> bool:
        shared = len(bases(*one) & bases(*other))
        if share is None:
            return shared > 0
        return shared > 0 and (shared >= share * (one[2] - one[1]) or shared >= share * (other[2] - other[1]))

    expected = [any(overlap(row, other) for other in others) for row in rows]
    assert overlapped(table_of(rows), table_of(others), share).tolist() == expected


@checked
@given(st.lists(spans(), min_size=1, max_size=6), spans())
def test_a_region_names_the_windows_that_share_a_base_with_it(rows, region):
    store = Binding.__new__(Binding)
    store.path, store.var = "store", table_of(rows).assign(chrom=lambda t: pd.Categorical(t["chrom"], NAMES))
    (name,) = place_names(table_of([region]))
    shared = [row for row, place in enumerate(rows) if bases(*place) & bases(*region)]
    assert store.windows_in(name).tolist() == shared
    assert store.windows_in(region[0]).tolist() == [
        row for row, place in enumerate(rows) if place[0] == region[0]
    ]


# --- fragments --------------------------------------------------------------------------------------------------------

BARCODES = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=4) | st.sampled_from(
    ["NA", "ACGT-1", '"A', "1e5", "001"]
)


@st.composite
def fragments(draw):
    """Rows of a sorted file: chromosome, start, end, barcode, count; chromosomes in any order."""
    rows = draw(st.lists(st.tuples(spans(), BARCODES, st.integers(1, 3)), min_size=1, max_size=12))
    order = draw(st.permutations(NAMES))
    rows = sorted(rows, key=lambda row: (order.index(row[0][0]), row[0][1]))
    return [(*place, barcode, count) for place, barcode, count in rows]


def fragments_text(rows, columns: int, passed_over, end: str) -> str:
    lines = ["\t".join(map(str, [*row, "+"][:columns])) for row in rows]
    return "".join(f"{passed}{line}{end}" for passed, line in zip(passed_over, lines, strict=False))


@checked
@given(
    fragments(),
    st.integers(4, 6),
    st.lists(st.lists(MISSING, max_size=2).map("".join), min_size=12, max_size=12),
    st.sampled_from(["", "#", "# the end", "\n", "\r\n", "\r", "cut"]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([1, 7, 30, 100, 1 << 20]),
    st.booleans(),
)
def test_fragments_are_read_as_they_are_written(folder, rows, columns, passed_over, last, end, chunk, packed):
    text = fragments_text(rows, columns, passed_over, end)
    content = (text.removesuffix(end) if last == "cut" else text + last).encode()
    path = folder / "fragments.tsv"
    path.write_bytes(gzip.compress(content) if packed else content)
    read = [
        row for part in iter_fragments(path, SIZES, chunk) for row in part.itertuples(index=False, name=None)
    ]
    assert read == [row if columns > 4 else (*row[:4], 1) for row in rows]


@checked
@given(fragments(), st.integers(1, 3))
def test_insertions_are_the_ends_of_the_fragments_of_cells(folder, rows, least):
    number = Counter(row[3] for row in rows)
    cells = sorted(barcode for barcode, n in number.items() if n >= least)
    assume(cells)
    (folder / "sizes").write_text("".join(f"{name}\t{n}\n" for name, n in SIZES.as_dict().items()))
    (folder / "counted.tsv").write_text(fragments_text(rows, 5, [""] * len(rows), "\n"))
    out = [folder / name for name in ("position.npy", "cell.npy", "barcodes.tsv")]
    count_fragments(folder / "counted.tsv", folder / "sizes", *out, min_fragments=least)
    offset = dict(zip(NAMES, SIZES.offsets.tolist(), strict=False))
    kept = [row for row in rows if row[3] in cells]
    expected = [(offset[c] + at, cells.index(name)) for c, s, e, name, _ in kept for at in (s, e - 1)]
    position, cell = np.load(out[0]), np.load(out[1])
    assert sorted(zip(position.tolist(), cell.tolist(), strict=True)) == sorted(expected)
    assert (np.diff(position.astype(np.int64)) >= 0).all()
    table = pd.read_csv(out[2], sep="\t", dtype={"barcode": str}, keep_default_na=False)
    assert table["barcode"].tolist() == cells
    assert table["n_fragments"].tolist() == [number[name] for name in cells]
    assert table["n_reads"].tolist() == [sum(row[4] for row in kept if row[3] == name) for name in cells]


# --- codes of P(bound) ------------------------------------------------------------------------------------------------

SHARES = st.floats(0, 1, width=32)


@st.composite
def precisions(draw):
    error = draw(st.floats(0.004, 0.1))
    return draw(st.floats(error, 0.9)), error


@checked
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


@settings(checked, max_examples=25)
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


@settings(checked, max_examples=300)
@given(
    st.lists(rules(NAMES[:2]), min_size=1, max_size=2),
    st.lists(rules(NAMES[:2]), min_size=1, max_size=2),
    st.none() | st.lists(rules(NAMES[:2]), min_size=1, max_size=2),
    st.sampled_from([20, 40]),
    st.sampled_from([0, 10, 60]),
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


@checked
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


# --- names and strays -------------------------------------------------------------------------------------------------


@checked
@given(
    st.lists(
        st.text(max_size=100) | st.sampled_from(["a", "A", "a_2", "..", "CON", "ß", "Ⅸ", "K"]), unique=True
    )
)
def test_slugs_are_unique_and_safe_names(names):
    made = slugs(names)
    assert len({slug.casefold() for slug in made}) == len(names)
    assert slugs(names) == made
    for name, slug in zip(names, made, strict=True):
        assert (
            slug.isascii()
            and slug[0].isalnum()
            and not set(slug)
            - set(name)
            - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
        )


@checked
@given(st.integers(1, 2000), st.integers(0, 30), st.integers(1, 4), st.randoms(use_true_random=False))
def test_one_in_a_hundred_may_stray(total, bad, parts, random):
    bad = min(bad, total)
    broken = np.zeros(total, dtype=bool)
    broken[random.sample(range(total), bad)] = True
    rules = Rule("it is odd", "mend it"), Rule("it is worse", "drop it")
    strays, dropped = Strays("file", "records"), []
    for part in np.array_split(np.arange(total), parts):
        both = {rules[0]: broken[part], rules[1]: broken[part] & (part % 2 == 0)}
        dropped += strays.drop(both, lambda row, part=part: f"line {part[row] + 1}").tolist()
    assert dropped == broken.tolist() and strays.n == bad
    if bad > max(1, total / 100) or bad == total:
        with pytest.raises(
            InputError, match=f"file, line {int(np.argmax(broken)) + 1}: it is odd.*; mend it"
        ):
            strays.settle(total)
    else:
        strays.settle(total)
