"""Properties of intervals and fragments: what is read was written, and what is counted equals a count of every base."""

import gzip
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scbind.binding.store import Binding
from scbind.cells.count import count_fragments
from scbind.formats.barcodes import is_no_barcode
from scbind.formats.bedtools import overlapped
from scbind.formats.fragments import iter_fragments
from scbind.formats.genome import ChromSizes
from scbind.formats.intervals import (
    COLUMNS,
    place_names,
    read_bed,
    read_called,
    read_peaks,
    write_narrowpeak,
)
from scbind.formats.overlaps import covered_bases

NAMES = ("1", "HLA-A*01:01:01:01", "NC_000001.11", "2L")
SIZES = ChromSizes(NAMES, np.array([300, 60, 3_000_000_000, 40]))
MISSING = st.sampled_from(["", "\n", "\r\n", "# a comment\n", "#\n"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("places")


# --- intervals --------------------------------------------------------------------------------------------------------


@st.composite
def spans(draw, longest: int = 80, last: int = 400):
    """A place: chromosome, start and end; all starts are among the last bases of the chromosome."""
    chrom = draw(st.integers(0, len(NAMES) - 1))
    length = int(SIZES.lengths[chrom])
    start = draw(st.integers(max(0, length - last), length - 1))
    return NAMES[chrom], start, min(length, start + draw(st.integers(1, longest)))


def table_of(rows) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["chrom", "start", "end"]).astype({"start": np.int64, "end": np.int64})


def bases(chrom: str, start: int, end: int) -> set[tuple[str, int]]:
    return {(chrom, base) for base in range(start, end)}


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
    for read in (read_bed, lambda *given: read_bed(*given, clip=True)):
        pd.testing.assert_frame_equal(read(path, SIZES), expected, check_dtype=False)
    width = expected["end"] - expected["start"]
    given = (width > 3) & more.endswith("\t3")  # the summit of narrowPeak
    expected["summit"] = np.where(given, 3, width // 2)
    pd.testing.assert_frame_equal(read_peaks(path, SIZES), expected, check_dtype=False)


FINITE = st.floats(allow_nan=False, allow_infinity=False)


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
    place = zip(table["chrom"].map(NAMES.index), table["start"], table["end"], range(len(table)), strict=True)
    table = table.iloc[[row for *_, row in sorted(place)]].reset_index(drop=True)
    table["name"] = [f"peak_{row + 1}" for row in range(len(table))]
    pd.testing.assert_frame_equal(
        read_called(folder / "peaks.narrowPeak", SIZES), table[COLUMNS], check_dtype=False, rtol=1e-14
    )


@given(st.lists(spans(last=60), max_size=6), st.lists(spans(1, last=90), max_size=8), st.integers(1, 50))
def test_covered_bases_equal_a_count_of_bases(rows, places, width):
    order = sorted((NAMES.index(chrom), start) for chrom, start, _ in places)
    chrom, start = np.array(order, dtype=np.int64).reshape(-1, 2).T
    union = set().union(*(bases(*row) for row in rows))
    expected = [len(union & bases(NAMES[c], s, s + width)) for c, s in order]
    assert covered_bases(table_of(rows), list(NAMES), chrom, start, width).tolist() == expected


@given(
    st.lists(spans(last=60), max_size=6),
    st.lists(spans(last=60), max_size=6),
    st.sampled_from([None, 0.25, 0.5, 1.0]),
)
def test_overlaps_equal_a_count_of_bases(rows, others, share):
    def overlap(one, other) -> bool:
        shared = len(bases(*one) & bases(*other))
        if share is None:
            return shared > 0
        return shared > 0 and (shared >= share * (one[2] - one[1]) or shared >= share * (other[2] - other[1]))

    expected = [any(overlap(row, other) for other in others) for row in rows]
    assert overlapped(table_of(rows), table_of(others), share).tolist() == expected


@given(st.lists(spans(8, last=12), min_size=1, max_size=6), spans(8, last=12))
def test_a_region_names_the_windows_that_share_a_base_with_it(rows, region):
    chrom, start, end = region
    rows = [*rows, (chrom, start - 1, start), (chrom, end, end + 1)]  # these touch it
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


@given(fragments(), st.integers(1, 3))
def test_insertions_are_the_ends_of_the_fragments_of_cells(folder, rows, least):
    number = Counter(row[3] for row in rows)
    cells = sorted(barcode for barcode, n in number.items() if n >= least and not is_no_barcode(barcode))
    assume(cells)
    (folder / "sizes").write_text("".join(f"{name}\t{n}\n" for name, n in SIZES.as_dict().items()))
    (folder / "counted.tsv").write_text(fragments_text(rows, 5, [""] * len(rows), "\n"))
    out = [folder / name for name in ("position.npy", "cell.npy", "barcodes.tsv", "profile.tsv")]
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
