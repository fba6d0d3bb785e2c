import gzip

import h5py
import numpy as np
import pandas as pd
import pytest
from scbind.core.errors import InputError
from scbind.formats import barcodes
from scbind.formats.barcodes import match_barcodes, read_barcodes

CELLS = pd.Index(["AAA-1", "CCC-1", "GGG-1"])


def match(listed, present=CELLS, sample="s1"):
    lines = pd.Series(listed, index=range(2, len(listed) + 2), dtype=object)
    return match_barcodes("list.tsv", lines, pd.Index(present), sample).tolist()


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_lists_are_read_with_line_numbers(tmp_path, pack):
    path = tmp_path / "list.txt"
    path.write_bytes(pack(b"\xef\xbb\xbfAAA-1\tx\r\n\r\nCCC-1 \r\n"))
    assert read_barcodes(path).to_dict() == {1: "AAA-1", 3: "CCC-1"}


@pytest.mark.parametrize(
    "text",
    [
        "x\nAAA-1\nCCC-1\n",
        '"AAA-1"\n"CCC-1"\n',
        "barcode\tn\nAAA-1\t5\nCCC-1\t6\n",
        "barcode,total,is__cell_barcode\nNO_BARCODE,9,0\nAAA-1,5,1\nTTT-1,1,0\nCCC-1,6,1\n",
        "barcode,leiden\nAAA-1,3\nCCC-1,3\n",
        ",n_counts,leiden\nAAA-1,5,3\nCCC-1,6,3\n",
        '"","x"\n"1","AAA-1"\n"2","CCC-1"\n',
        '"x"\n"1" "AAA-1"\n"2" "CCC-1"\n',
        "barcode,gex_barcode,is_cell\nAAA-1,AAA-1,1\nCCC-1,CCC-1,1\nTTT-1,TTT-1,0\n",
        "barcode,is_hg19_cell_barcode,is_mm10_cell_barcode\nNO_BARCODE,0,0\nAAA-1,1,0\nTTT-1,0,0\nCCC-1,0,1\n",
        "barcode,is_cell\nAAA-1,TRUE\nCCC-1,TRUE\nTTT-1,FALSE\n",
    ],
)
def test_lists_as_pipelines_write_them(tmp_path, text):
    path = tmp_path / "list"
    for content in (text.encode(), text.encode("utf-16"), text.replace("\n", "\r").encode()):
        path.write_bytes(content)
        assert read_barcodes(path).tolist() == ["AAA-1", "CCC-1"]


def test_a_table_of_cell_ranger_is_read_line_by_line(tmp_path):
    path = tmp_path / "list.csv"
    head = "barcode,total,is__cell_barcode\nAAA-1,5,1\n"
    path.write_text(f'{head}"CCC-1,6,1\nTTT-1,1,0\n')
    with pytest.raises(InputError, match="line 3: a quote is not closed"):
        read_barcodes(path)
    path.write_text(f"{head}CCC-1,{'6' * 200_000},1\n")
    assert read_barcodes(path).tolist() == ["AAA-1", "CCC-1"]


def test_the_matrix_of_cell_ranger_gives_its_barcodes(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as stored:
        stored["matrix/barcodes"] = np.array([b"AAA-1", b"CCC-1"])
    assert read_barcodes(tmp_path / "m.h5").tolist() == ["AAA-1", "CCC-1"]
    with h5py.File(tmp_path / "other.h5", "w") as stored:
        stored["x"] = 1
    with pytest.raises(InputError, match="other.h5: holds no barcodes of a Cell Ranger matrix"):
        read_barcodes(tmp_path / "other.h5")


def test_a_table_of_another_library_never_names_cells(tmp_path):
    rng = np.random.default_rng(1)
    whitelist = np.array(["".join(rng.choice(list("ACGT"), 8)) for _ in range(2000)])
    first, second = (pd.unique(rng.choice(whitelist, 300)) for _ in range(2))
    table = [f"{name}-1" for name in first] + [f"{name}-2" for name in second]
    for library in (first, second):
        with pytest.raises(InputError, match="not known which library"):
            match(table, pd.Index(library + "-1"))
    both = pd.Index(table)
    assert match(table, both) == list(range(len(table)))  # fragments of both libraries together


def test_lists_that_are_refused(tmp_path):
    path = tmp_path / "list.txt"
    for text, message in (
        (b"BC1-1\nBC2-1\n\nBC1-1\n", r"list.txt, line 4: barcode BC1-1 is listed twice \(1 of 3 lines\)"),
        (b"\n\n", "list.txt: no barcode in it"),
        (b"\xff\xfe\x00", "list.txt: not a text file"),
    ):
        path.write_bytes(text)
        with pytest.raises(InputError, match=message):
            read_barcodes(path)
    with pytest.raises(InputError, match="no such file"):
        read_barcodes(tmp_path / "none")


@pytest.mark.parametrize(
    ("listed", "place", "said"),
    [
        (["GGG-1", "AAA-1", "TTT-1"], [2, 0, -1], ""),
        (
            ["AAA-1", "CCC"],
            [0, -1],
            "",
        ),  # one is spelled as in the fragments, so the other is another barcode
        (["CCC", "TTT"], [1, -1], "1 barcodes of s1 found without a number such as -1 at the end"),
        (["CCC-2"], [1], "without a number such as -1 at the end"),
        (["s1#CCC-1", "s2#AAA-1", "s1#TTT-1"], [1, -2, -1], "1 barcodes of s1 found without s1# in front\n"),
        (["s1_CCC-1", "s2_CCC-1"], [1, -2], "without s1_ in front"),
        (["s1:AAA", "s1:GGG"], [0, 2], "without s1: in front and a number such as -1 at the end"),
        (["pbmc_a#AAA-1", "pbmc_a#GGG-1"], [0, 2], "without pbmc_a# in front"),
        (["TTT", "s1#TTT-1"], [-1, -1], ""),
        (["AAA-1_1", "GGG-1_1"], [0, 2], "without a number such as -1 at the end"),
        (["s2#AAA-1", "s1#AAA-2"], [-2, 0], "without s1# in front and a number"),
    ],
)
def test_common_spellings_are_matched_and_said(capsys, listed, place, said):
    assert match(listed) == place
    error = capsys.readouterr().err
    assert said in error and bool(said) == bool(error) and error.count("\n") <= 1


def test_endings_of_the_fragments_come_off_too():
    assert match(["AAA-1", "CCC-1"], ["CCC", "AAA"]) == [1, 0]


@pytest.mark.parametrize("cells", [["AAA-2", "CCC-2"], ["AAA-2", "CCC-2", "GGG-2", "TTT-2"]])
def test_a_number_above_1_of_all_fragments_tells_the_library(cells):
    assert match(["AAA-1", "TTT-1", "AAA-2", "CCC-2", "GGG-3", "AAA-3"], cells) == [-2, -2, 0, 1, -2, -2]


def test_underscores_within_barcodes_are_no_prefix():
    assert match(["A_1", "A_2"], ["A_2", "A_1"]) == [1, 0]


@pytest.mark.parametrize(
    ("listed", "present", "message"),
    [
        (
            ["TTT", "AAA"],
            ["AAA-1", "AAA-2"],
            "list.tsv, line 3: barcode AAA fits AAA-1 as well as AAA-2; spell",
        ),
        (["AAA", "AAA-3"], ["AAA-1"], "line 3: barcode AAA-3 and AAA in line 2 fit the same cell"),
        (
            ["AAA-1", "CCC-2"],
            ["AAA-1", "CCC-1"],
            "barcodes end in -1, -2, those of the fragments of s1 in -1",
        ),
        (["AAA-1_1", "CCC-1_2"], ["AAA-1", "CCC-1"], "barcodes end in -1_1, -1_2, those .* write s1#BARCODE"),
        (["AAA-1-0", "CCC-1-1"], ["AAA-1", "CCC-1"], "barcodes end in -1-0, -1-1"),
        (
            ["AAA", "CCC", "GGG-1"],
            ["AAA-1", "CCC-1", "GGG-1"],
            "1 of 3 .* as they are, but 3 would without a number",
        ),
        (
            ["x#AAA-1", "y#AAA-1"],
            ["AAA-1"],
            "barcodes begin with x, y, none of which is the sample s1; write s1#",
        ),
    ],
)
def test_doubt_is_refused(listed, present, message):
    with pytest.raises(InputError, match=message) as caught:
        match(listed, present)
    assert "\n" not in str(caught.value)


def test_names_are_numbered_as_they_come(monkeypatch):
    monkeypatch.setattr(barcodes, "RECENT", 5)
    rng, numbering, expected = np.random.default_rng(0), barcodes.Numbering(), {}
    for size in (0, 3, 40, 200, 1, 200):
        names = pd.Index([f"b{number}" for number in rng.choice(500, size, replace=False)], dtype=object)
        numbers = [expected.setdefault(name, len(expected)) for name in names]
        assert numbering.of(names).tolist() == numbers
        assert len(numbering) == len(expected) and numbering.names.tolist() == list(expected)


def test_reverse_complements_are_named(capsys):
    cells = ["AACCGGTTAACCGGTA-1", "ACGTTGCAACGTAAAA-1", "CCCCAAAATTTGGGGA-1"]
    turned = ["TACCGGTTAACCGGTT-1", "TTTTACGTTGCAACGT-1", "TCCCCAAATTTTGGGG-1"]
    several = [f"{sample}#{name}" for sample in ("s1", "s2", "s3") for name in turned]
    for names in (
        turned,
        [f"s1#{name[:-2]}" for name in turned],
        [*turned[:2], "GGGGGGGGGGGGGGGG-1"],
        several,
    ):
        with pytest.raises(
            InputError, match=r"barcodes are the reverse complement of barcodes of sample s1; .*: (s1#)?AA"
        ):
            match(names, cells)
    assert match([*cells[:2], turned[2]], cells) == [0, 1, -1]
    assert match(["GGGGGGGGGGGGGGGG-1"], cells) == [-1]
