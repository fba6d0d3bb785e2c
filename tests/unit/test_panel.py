"""The panel: which rows of the sheets a run uses, and how TFs are spelt."""

import copy
import re

import pytest
from scbind.core.errors import InputError
from scbind.plan import settings, sheets
from scbind.plan.symbols import unify_symbols

TRACKS = "cell_line\tpath\tformat\nA\ta.bw\tinsertions\nB\tsource:b.bw\tinsertions\nC\tno.bw\tinsertions\n"
CHIP = """cell_line\ttf\tpath\tmotif
A\tCTCF\ta1.bed\tyes
A\tGATA1\ta2.bed\tyes
A\tEP300\ta3.bed\tno
B\tCtcf\tsource:b1.bed\tyes
B\tSPI1\tsource:b2.bed\tyes
C\tSPI1\tno1.bed\tyes
C\tREST\tno2.bed\t
"""
SOURCES = "name\turl\nb.bw\thttps://x/b.bw\nb1.bed\thttps://x/b1\nb2.bed\thttps://x/b2\nrest\thttps://x/r\n"
SAMPLES = "sample\tpath\tformat\ns1\tf.tsv.gz\tfragments\n"
CONFIG = {
    "genome": {"name": "g", "fasta": "g.fa"},
    "sheets": {name: f"{name}.tsv" for name in ("tracks", "chip", "samples", "sources")},
    "splits": {"test": ["*:chr1", "B:*"], "valid": ["A:chr2", "C:chr2"]},
}


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Load the sheets with a panel of these keys. Files of line C do not exist."""
    monkeypatch.chdir(tmp_path)
    for name in ("g.fa", "a.bw", "a1.bed", "a2.bed", "a3.bed", "f.tsv.gz"):
        (tmp_path / name).write_text("x")
    for name, text in {"tracks": TRACKS, "samples": SAMPLES, "sources": SOURCES}.items():
        (tmp_path / f"{name}.tsv").write_text(text)

    def load(chip=CHIP, splits=None, panel="p", there=(), config=None, **keys):
        for name in there:
            (tmp_path / name).write_text("x")
        (tmp_path / "chip.tsv").write_text(chip)
        config = copy.deepcopy(CONFIG) | (config or {}) | {"panel": panel, "panels": {"p": keys}}
        config["splits"] |= splits or {}
        return sheets.load_plan(settings.check_config(config), "c.yaml", {})

    return load


def pairs(plan):
    return [(row["cell_line"], row["tf"]) for row in plan.chip]


def test_only_what_the_panel_keeps_is_an_input(load):
    plan = load(lines=["A", "B"], known_motif=True)
    assert pairs(plan) == [("A", "CTCF"), ("A", "GATA1"), ("B", "CTCF"), ("B", "SPI1")]
    assert list(plan.tracks) == ["A", "B"] and set(plan.sources) == {"b.bw", "b1.bed", "b2.bed"}
    assert not {"a3.bed", "no.bw"} & set(plan.inputs())
    assert plan.config["splits"] == {"test": ["*:chr1", "B:*"], "valid": ["A:chr2"], "train": None}
    assert plan.notes == [
        "CTCF and Ctcf are one TF, called CTCF",
        "panel p: 4 ChIP-seq files of 3 TFs in 2 of 3 cell lines (A, B)",
    ]


def test_one_file_of_one_tf_is_told_in_the_singular(load):
    assert (
        load(lines=["A"], tfs=["CTCF"])
        .notes[-1]
        .startswith("panel p: 1 ChIP-seq file of 1 TF in 1 of 3 cell lines")
    )


def test_a_panel_without_sheets_to_choose_from_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = {
        "genome": CONFIG["genome"],
        "sheets": {"samples": "samples.tsv"},
        "panel": "p",
        "panels": {"p": {}},
        "models": {"m": {"bundle": "m.zip"}},
    }
    with pytest.raises(
        InputError, match="c.yaml, key panel: a panel chooses from the sheets of tracks and ChIP-seq"
    ):
        sheets.load_plan(settings.check_config(config), "c.yaml", {})


def test_tfs_in_any_case_and_the_least_number_of_lines(load):
    assert pairs(load(lines=["A", "B"], tfs=["ctcf", "Spi1"])) == [
        ("A", "CTCF"),
        ("B", "CTCF"),
        ("B", "SPI1"),
    ]
    plan = load(lines=["A", "B"], min_lines=2)
    assert pairs(plan) == [("A", "CTCF"), ("B", "CTCF")]
    alone = load(lines=["A", "B"], tfs=["GATA1"], splits={"test": ["*:chr1"]})
    assert list(alone.tracks) == ["A"], "a track without peaks is not read"
    assert "b.bw" not in alone.sources


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"lines": ["A", "BB"]}, "key panels.p.lines: panel p names cell line 'BB', .*; did you mean B\\?"),
        (
            {"lines": ["A"], "tfs": ["GATA2"]},
            r"key panels.p.tfs: panel p names TF 'GATA2', .* has in its lines; did you mean GATA1\?",
        ),
        ({"lines": ["A"], "tfs": ["SPI1"]}, "panel p names TF 'SPI1'"),
        (
            {"lines": ["A"], "min_lines": 2},
            "key panels.p: panel p leaves no ChIP-seq peaks of chip.tsv; lower min_lines",
        ),
        (
            {"known_motif": True, "there": ["no.bw"]},
            "chip.tsv, line 8: motif of REST is empty, .*; write yes or no, or set panels.p",
        ),
        ({"panel": "q"}, "c.yaml, key panel: no panel is named 'q'; use one of: p"),
        (
            {"lines": ["A"], "splits": {"valid": ["B:chr2"]}},
            "key splits.valid: panel p has none of the lines of splits.valid; add a rule for A or *",
        ),
        ({"lines": ["A"], "splits": {"valid": ["D:chr2"]}}, "no cell line 'D'"),
        ({"lines": ["C"]}, "tracks.tsv, line 4, column path: no such file: no.bw"),
        ({"lines": []}, "panels.p.lines"),
        ({"line": ["A"]}, r"key panels.p.line: unknown key; did you mean lines\?"),
    ],
)
def test_panels_that_are_refused(load, keys, message):
    with pytest.raises(InputError) as refused:
        load(**keys)
    assert re.search(message, str(refused.value)) and "\n" not in str(refused.value)


def test_a_motif_column_of_another_word_is_refused(load):
    with pytest.raises(InputError, match="chip.tsv, line 2: motif 'maybe' is unknown"):
        load(chip=CHIP.replace("yes", "maybe", 1), there=["no.bw"])


def test_without_a_panel_all_rows_count(load):
    plan = load(panel=None, there=("no.bw", "no1.bed", "no2.bed"))
    assert (
        len(plan.chip) == 7
        and "rest" in plan.sources
        and plan.notes == ["CTCF and Ctcf are one TF, called CTCF"]
    )


def test_case_tells_genes_of_insects_apart_and_of_no_other_species():
    """h is hairy, H is Hairless; Dl is Delta, dl is dorsal. CTCF in two spellings is one TF, also in one line."""
    tfs = ["h", "H", "h", "Dl", "dl", "CTCF"]
    names, said = unify_symbols(tfs, "insects")
    assert names == {tf: tf for tf in tfs}
    assert said == [
        f"{pair} are two TFs, because case matters in symbols of insects" for pair in ("h and H", "Dl and dl")
    ]
    names, said = unify_symbols(tfs, "vertebrates")
    assert names == {"h": "h", "H": "h", "Dl": "Dl", "dl": "Dl", "CTCF": "CTCF"}
    assert said == ["h and H are one TF, called h", "Dl and dl are one TF, called Dl"]


def test_the_taxon_of_the_configuration_tells_whether_case_matters(load):
    chip = "cell_line\ttf\tpath\nA\th\ta1.bed\nA\tH\ta2.bed\nA\tDl\ta3.bed\n"
    asked = {"chip": chip, "splits": {"test": ["*:chr1"]}, "tfs": ["h"], "lines": ["A"]}
    assert pairs(load(**asked)) == [("A", "h")] * 2
    insects = {"motifs": {"taxon": "insects"}}
    assert pairs(load(**asked, config=insects)) == [("A", "h")]
    with pytest.raises(InputError, match="panel p names TF 'dl'"):
        load(**asked | {"tfs": ["dl"]}, config=insects)


def test_several_experiments_of_one_pair(load, tmp_path):
    more = "A\tCTCF\ta4.bed\tyes\n"
    (tmp_path / "a4.bed").write_text("other")
    assert pairs(load(CHIP + more, lines=["A"], tfs=["CTCF"])) == [("A", "CTCF")] * 2
    with pytest.raises(
        InputError, match=r"line 9: experiment of CTCF in A has the same file as .* \(line 2\): \./a1"
    ):
        load(CHIP + "A\tCTCF\t./a1.bed\tyes\n", lines=["A"])
