"""Properties of the readers of tables: however a file is written, what is read is what was meant."""

import csv
import gzip
import io

import pandas as pd
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scbind.core.errors import InputError
from scbind.formats.barcodes import ABSENT, match_barcodes
from scbind.formats.tables import read_columns
from scbind.plan.sheetrows import COLUMNS, read_table

LINE_ENDS = ("\n", "\r\n", "\r")
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16")
LIKE_VALUES = (
    "NA",
    "nan",
    "1e5",
    "001",
    "TRUE",
    "None",
    "-",
    "1.0",
    "0x1F",
    "α β",
    'layer 2"',
    'a "b" c',
    "a\u2028b",
)


def words(without: str = "", least: int = 1):
    """Text as people write into a field: no line end, no space around it, none of some characters."""
    letters = st.characters(exclude_categories=("Cc", "Cs"), exclude_characters=without)
    free = st.text(letters, min_size=least, max_size=8).filter(lambda text: text == text.strip())
    return free | st.sampled_from([text for text in LIKE_VALUES if not set(text) & set(without)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("properties")


# --- barcodes ---------------------------------------------------------------------------------------------------------

CORES = st.lists(
    st.text("AC", min_size=3, max_size=4), min_size=1, max_size=12, unique=True
)  # of few, so that libraries share some
SAMPLES = ("s1", "s_1", "pbmc.10k", "a-b", "1")


def listed_as(names) -> pd.Series:
    return pd.Series(names, index=range(1, len(names) + 1), dtype=object)


@given(
    CORES,
    st.integers(0, 12),
    st.integers(0, 12),
    st.sampled_from(["", "-1", "_1", "-1-0", "-1_2"]),
    st.sampled_from(["as in the fragments", "", "-1", "-3", "_2", "-1_2", "-2-0"]),
    st.sampled_from(SAMPLES),
    st.sampled_from(["{}#", "{}_", "{}:", "", "other#"]),
    st.randoms(use_true_random=False),
)
def test_any_common_prefix_and_number_finds_the_same_cells(
    cores, first, last, ours, theirs, sample, prefix, random
):
    present, wanted = cores[: max(first, 1)], cores[min(first, last, len(cores) - 1) :]
    random.shuffle(wanted)
    ending = ours if theirs == "as in the fragments" else theirs
    names = [prefix.format(sample) + core + ending for core in wanted]
    found = match_barcodes("list", listed_as(names), pd.Index([core + ours for core in present]), sample)
    assert found.tolist() == [present.index(core) if core in present else ABSENT for core in wanted]


@given(
    CORES,
    CORES,
    st.sampled_from(["{core}-{n}", "{core}_{n}", "{core}-1_{n}", "{core}-1-{n}", "s{n}#{core}-1", "s{n}_{core}-1",
                     "s{n}:{core}", "s_{n}_{core}-1", "{n}_{core}-1", "s_{n}#{core}-{n}"]),
    st.sampled_from(["-1", "-{n}", "", "_1", "-1_{n}"]),
    st.integers(1, 2),
    st.sampled_from(["s{n}", "s_{n}", "s", "{n}", "of me"]),
)  # fmt: skip
def test_a_list_of_several_libraries_never_names_a_cell_of_another(
    first, second, spelled, ours, library, sample
):
    listed = [
        (spelled.format(core=core, n=n), n, core) for n, cores in ((1, first), (2, second)) for core in cores
    ]
    own = (first, second)[library - 1]
    present = pd.Index([core + ours.format(n=library) for core in own])
    names = listed_as([name for name, _, _ in listed])
    try:
        found = match_barcodes("list", names, present, sample.format(n=library))
    except InputError:
        return
    for place, (_, n, core) in zip(found, listed, strict=True):
        assert place < 0 or (n == library and own[place] == core)


# --- tables and sheets ------------------------------------------------------------------------------------------------


def dumped(rows, separator: str, quoting: int, end: str) -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=separator, quoting=quoting, lineterminator=end).writerows(rows)
    return out.getvalue()


SHEET_ROWS = st.lists(
    st.fixed_dictionaries(
        {
            name: words("\t#", least=1 if name in COLUMNS["samples"][0] else 0)
            for name in sum(COLUMNS["samples"], ())
        }
    ),
    min_size=1,
    max_size=2,
)


@given(
    SHEET_ROWS,
    st.permutations(sum(COLUMNS["samples"], ())),
    st.sampled_from("\t;,"),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(LINE_ENDS),
    st.sampled_from(ENCODINGS),
    st.booleans(),
)
def test_a_sheet_reads_back_as_it_was_written(folder, rows, order, separator, quoting, end, encoding, upper):
    header = [name.upper() if upper else name for name in order]
    text = dumped([header, *([row[name] for name in order] for row in rows)], separator, quoting, end)
    path = folder / "samples.tsv"
    path.write_bytes(f"# a comment{end}{end}{text}{end}".encode(encoding))
    assert [row for _, row in read_table(path, "samples")] == rows


def as_r(frame: pd.DataFrame, names: bool) -> str:
    """What write.table of R writes: quotes within a field get a backslash, and the row names have no header."""
    rows = [list(frame), *([*[name] * names, *row] for name, *row in frame.itertuples(name=None))]
    return "".join(
        "\t".join('"' + str(field).replace('"', '\\"') + '"' for field in row) + "\n" for row in rows
    )


WRITERS = {
    "R": lambda frame: as_r(frame, names=False),
    "R with row names": lambda frame: as_r(frame, names=True),
    "R, row names are barcodes": lambda frame: as_r(frame.set_index("barcode"), names=True),
    "write.csv": lambda frame: frame.to_csv(quoting=csv.QUOTE_NONNUMERIC),
    "pandas": lambda frame: frame.to_csv(index=False),
    "pandas, index": lambda frame: frame.to_csv(sep="\t"),
    "pandas, index is barcodes": lambda frame: frame.set_index("barcode").rename_axis(None).to_csv(),
    "Excel": lambda frame: frame.to_csv(sep=";", index=False),
    "by hand": lambda frame: "".join(
        "\t".join(row) + "\n" for row in [list(frame), *frame.to_numpy().tolist()]
    ),
}


@pytest.mark.parametrize("writer", WRITERS)
@settings(max_examples=15)
@given(
    st.lists(st.tuples(words("\t"), words("\t", least=0)), min_size=1, max_size=5),
    words("\t"),
    st.sampled_from(["cell_type", "cell.type", "Cell Type", "CELLTYPE"]),
    st.sampled_from(LINE_ENDS),
    st.sampled_from(ENCODINGS),
    st.booleans(),
)
@example([("AAA", 'layer 2"'), ("C", 'a "b" c')], "x", "cell_type", "\n", "utf-8", False)
@example([("AAA", "a\u2028b")], "x", "cell_type", "\r\n", "utf-16", False)
def test_a_table_of_text_reads_back_as_it_was_written(
    folder, writer, rows, more, spelled, end, encoding, packed
):
    frame = pd.DataFrame(rows, columns=["barcode", spelled], dtype=object).assign(n=more)
    # a field within quotes is the same as one without, so whoever writes by hand quotes nothing
    assume(writer != "by hand" or not any(len(f) > 1 and f[0] == f[-1] == '"' for row in rows for f in row))
    content = WRITERS[writer](frame).replace("\n", end).encode(encoding)
    path = folder / "table"
    path.write_bytes(gzip.compress(content) if packed else content)
    found = read_columns(path, ("barcode", "cell_type"), "write it again")
    assert list(found.itertuples(index=False, name=None)) == rows


@pytest.mark.parametrize("more", ["x" * 200_000, '"' + "x" * 200_000])
def test_a_very_long_field_is_read_or_refused_in_one_line(folder, more):
    path = folder / "long.csv"
    path.write_text(f"sample,path,format,note\ns,p,bam,{more}\n")
    assert read_table(path, "samples")[0][1]["note"] == more.strip('"')
    if more.startswith('"'):
        with pytest.raises(InputError, match="line 2: a quote is not closed"):
            read_columns(path, ("sample", "path"), "write it again")
        return
    found = read_columns(path, ("sample", "path"), "write it again")
    assert found.to_numpy().tolist() == [["s", "p"]]
