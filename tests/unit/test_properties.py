"""Properties of the readers of text: however a file is written, what is read is what was meant."""

import csv
import gzip
import io
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from scbind.core.errors import InputError
from scbind.formats.barcodes import ABSENT, match_barcodes
from scbind.formats.genes import read_genes
from scbind.formats.genome import ChromSizes
from scbind.formats.motiffiles import read_profiles
from scbind.formats.motifs import log_odds
from scbind.formats.tables import read_columns
from scbind.plan.sheets import COLUMNS, read_table

PHASES = (Phase.explicit, Phase.generate, Phase.shrink)
checked = settings(max_examples=50, derandomize=True, database=None, deadline=None, phases=PHASES)

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


@checked
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


@checked
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


@checked
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


def as_r(rows: list[list[str]], names: list[str] | None) -> str:
    """What write.table of R writes: quotes within a field get a backslash, and the row names have no header."""
    quoted = [['"' + field.replace('"', '\\"') + '"' for field in row] for row in rows]
    for line, name in zip(quoted[1:], names or (), strict=names is not None):
        line.insert(0, f'"{name}"')
    return "".join("\t".join(row) + "\n" for row in quoted)


@checked
@given(
    st.lists(st.tuples(words("\t\n\r"), words("\t\n\r", least=0)), min_size=1, max_size=5),
    words("\t\n\r"),
    st.sampled_from(
        ["R", "R with row names", "R csv", "pandas", "pandas tsv", "pandas with index", "plain", "Excel"]
    ),
    st.sampled_from(["cell_type", "cell.type", "Cell Type", "CELLTYPE"]),
    st.sampled_from(LINE_ENDS),
    st.sampled_from(ENCODINGS),
    st.booleans(),
)
@example([("AAA", 'layer 2"')], "x", "R", "cell_type", "\n", "utf-8", False)
def test_a_table_of_text_reads_back_as_it_was_written(
    folder, rows, more, writer, spelled, end, encoding, packed
):
    frame = pd.DataFrame(rows, columns=["barcode", spelled], dtype=object).assign(n=more)
    lines = [list(frame), *frame.to_numpy().tolist()]
    if writer.startswith("R") and writer != "R csv":
        text = as_r(lines, None if writer == "R" else [str(row) for row in range(1, len(lines))])
    elif writer == "R csv":
        text = dumped([["", *lines[0]], *([row, *line] for row, line in enumerate(lines[1:], 1))], ",",
                      csv.QUOTE_ALL, "\n")  # fmt: skip
    elif writer == "plain":
        lines = [[field.replace('"', "'") for field in line] for line in lines]
        text = "".join("\t".join(line) + "\n" for line in lines)
    else:
        separator = {"pandas tsv": "\t", "Excel": ";"}.get(writer, ",")
        text = frame.to_csv(sep=separator, index=writer == "pandas with index")
    content = text.replace("\n", end).encode(encoding)
    path = folder / "table"
    path.write_bytes(gzip.compress(content) if packed else content)
    found = read_columns(path, ("barcode", "cell_type"), "write it again")
    expected = [tuple(line[:2]) for line in lines[1:]] if writer == "plain" else rows
    assert list(found.itertuples(index=False, name=None)) == expected


# --- genes ------------------------------------------------------------------------------------------------------------

SIZES = ChromSizes(("1", "HLA-A*01:01:01:01", "NC_000001.11"), np.array([1000, 400, 3_000_000_000]))
SPANS = st.integers(0, 2).flatmap(
    lambda chrom: st.tuples(
        st.just(chrom),
        *2 * (st.integers(0, int(SIZES.lengths[chrom]) - 1),),
    )
)
GENES = st.lists(
    st.tuples(words('\t"') | st.sampled_from(["gene:x", "a;b=c", "%41", "#1", "123", "gene_id y"]), SPANS,
              st.sampled_from("+-")),
    min_size=1,
    max_size=6,
)  # fmt: skip


def gtf(row: int, name: str, feature: str) -> str:
    return f'gene_id "G{row}"; transcript_id "T{row}"; gene_type "x; gene_name y"; gene_name "{name}";'


def gff3(row: int, name: str, feature: str) -> str:
    return f"ID={feature}:{row};Parent=T{row};Name={quote(name, safe=' :#@()')};biotype=x"


@checked
@given(GENES, st.sampled_from(["gene", "transcript", "exon"]), st.integers(1, 3), st.booleans())
def test_the_same_genes_in_any_format_give_the_same_table(folder, genes, feature, parts, packed):
    spans = [(name, chrom, *sorted(ends), strand) for name, (chrom, *ends), strand in genes]
    expected = sorted(
        (name, chrom, low, high + 1, low if strand == "+" else high, strand)
        for name, chrom, low, high, strand in spans
    )
    texts = ["".join(f"{SIZES.names[chrom]}\t{low}\t{high + 1}\t{name}\t0\t{strand}\n"
                     for name, chrom, low, high, strand in spans)]  # fmt: skip
    for attributes in (gtf, gff3):
        text = "##a header\n"
        for row, (name, chrom, low, high, strand) in enumerate(spans):
            cuts = (
                np.unique(np.linspace(low, high + 1, parts + 1).astype(int))
                if feature == "exon"
                else [low, high + 1]
            )
            for begin, end in zip(cuts, cuts[1:], strict=False):
                text += f"{SIZES.names[chrom]}\tx\t{feature}\t{begin + 1}\t{end}\t.\t{strand}\t.\t"
                text += attributes(row, name, feature) + "\n"
        texts.append(text)
    for text in texts:
        path = folder / "genes"
        path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
        table = read_genes(path, SIZES)
        assert sorted(table.itertuples(index=False, name=None)) == expected
        places = table[["chrom", "tss"]].to_numpy().tolist()
        assert places == sorted(places)


# --- motifs -----------------------------------------------------------------------------------------------------------

SITES = 1000


@st.composite
def matrices(draw):
    cuts = st.tuples(*3 * (st.integers(0, SITES),)).map(sorted)
    columns = [np.diff([0, *each, SITES]) for each in draw(st.lists(cuts, min_size=1, max_size=6))]
    return np.array(columns).T


def motif_text(kind: str, counts: np.ndarray) -> str:
    def rows(values) -> str:
        return "".join(" ".join(f"{value:g}" for value in row) + "\n" for row in values)

    if kind == "JASPAR":
        body = "".join(
            f"{base} [ {' '.join(map(str, row))} ]\n" for base, row in zip("ACGT", counts, strict=True)
        )
        return f">MA0139.1\tCTCF\n{body}"
    if kind == "HOCOMOCO rows":
        return ">CTCF_HUMAN.H11MO.0.A\n" + rows(counts)
    if kind == "HOMER":
        return ">CCASYAG\tCTCF(Zf)/CD4+-CTCF/Homer\t6.5\t-1.2\t0\n" + rows(counts.T / SITES)
    if kind == "MEME":
        head = f"letter-probability matrix: alength= 4 w= {counts.shape[1]} nsites= {SITES} E= 0\n"
        return f"MEME version 4\n\nALPHABET= ACGT\n\nMOTIF MA0139.1 CTCF\n{head}{rows(counts.T / SITES)}\nURL x\n"
    body = "".join(f"{row:02d} {' '.join(map(str, column))} N\n" for row, column in enumerate(counts.T, 1))
    return f"AC MA0139.1\nXX\nID CTCF\nXX\nP0 A C G T\n{body}XX\n//\n"


@checked
@given(st.lists(matrices(), min_size=1, max_size=2), st.sampled_from(LINE_ENDS))
@example(
    [np.array([[400, 100, 200, 300], [300, 400, 100, 200], [200, 300, 400, 100], [100, 200, 300, 400]])], "\n"
)
def test_the_same_matrix_in_any_format_gives_the_same_log_odds(folder, counts, end):
    path = folder / "motifs"
    for kind in ("JASPAR", "HOCOMOCO rows", "HOMER", "MEME", "TRANSFAC"):
        path.write_text("".join(motif_text(kind, each) for each in counts).replace("\n", end))
        if kind == "MEME":
            texts = [motif_text(kind, each) for each in counts]
            path.write_text(texts[0] + "".join(text.partition("ACGT\n\n")[2] for text in texts[1:]))
        try:
            found = read_profiles(path)
        except InputError as error:  # in four rows of four, positions may be rows or columns
            assert "of 4 x 4 may have" in str(error) and kind in ("HOCOMOCO rows", "HOMER")
            continue
        assert [profile.name for profile in found] == ["CTCF"] * len(counts)
        for profile, each in zip(found, counts, strict=True):
            np.testing.assert_allclose(log_odds(profile.counts), log_odds(each), atol=1e-4, err_msg=kind)


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
