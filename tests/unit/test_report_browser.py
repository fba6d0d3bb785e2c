"""The page in a browser: every control is used, the console stays empty, and nothing is asked of any other place."""

import dataclasses
import io
import json
import re
import time
from html.parser import HTMLParser

import anndata
import numpy as np
import pandas as pd
import pytest
from benchmark import load_benchmark
from browser import AXE, BROWSER, Page
from scbind.analysis import expression
from scbind.analysis.activitytable import read_activity
from scbind.report import differences, explorer, regulation, tables
from scbind.report.page import write_report

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on the PATH")
RUN_SHAPE = {"tfs": 8, "types": 5, "cells": 240, "samples": 2, "lines": 2, "targets": 12, "populations": 4}


MANY_SHAPE = {"tfs": 60, "types": 30, "cells": 600, "samples": 2, "lines": 2, "targets": 4, "populations": 40}


def write_in(folder, shape):
    """Write the report of made-up inputs of a shape, and of made-up expression; return its path."""
    benchmark = load_benchmark("report")
    files = benchmark.make_inputs(folder, benchmark.Shape(**shape))
    kinds = [f"cell type {number + 1:02}" for number in range(shape["types"])]
    rna = pd.MultiIndex.from_product(
        [kinds, [f"ZNF{100 + i}" for i in range(shape["tfs"])]], names=["cell_type", "tf"]
    )
    rna = rna.to_frame(index=False).assign(
        n_cells=50, mean_activity=0.5, mean_expression=range(len(rna)), fraction_expressing=0.25, correlation=0.62,
        correlation_p=0.004, n_types=10, evidence="chip",
    )  # fmt: skip
    assert list(rna) == expression.COLUMNS
    rna.to_csv(folder / "expression.tsv", sep="\t", index=False)
    wide = np.random.default_rng(0).normal(size=(4, 25))
    np.savez(folder / "found.npz", **{f"matrix/ZNF{100 + i}": wide for i in range(shape["tfs"])})
    for path in files.activity:
        data = anndata.read_h5ad(path)
        data.obs["borrowed_depth"] = np.linspace(0.01, 0.02, data.n_obs)
        data.write_h5ad(path)
    tests = pd.read_csv(files.tables["differential"], sep="\t")
    tests.loc[tests["cell_type"] == f"cell type {shape['types']:02}", ["p_value", "p_adjusted"]] = 0.6
    tests.to_csv(folder / "tests.tsv", sep="\t", index=False)
    tables = {**files.tables, "expression": folder / "expression.tsv", "differential": folder / "tests.tsv"}
    write_report(folder / "report.html", dataclasses.replace(files, tables=tables))
    return folder / "report.html"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The path of a small report of all inputs."""
    return write_in(tmp_path_factory.mktemp("page"), RUN_SHAPE)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """The path of a report of many TFs, types and populations, and few cells. Its tables are in small blocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "BLOCK_ROWS", 300)
        patch.setattr(regulation, "MAX_ROWS", 0)
        patch.setattr(regulation, "LEAST_LINKS", 1_500)
        return write_in(tmp_path_factory.mktemp("many"), MANY_SHAPE)


@pytest.fixture
def page(report):
    with Page(report) as page:
        page.until("document.documentElement.dataset.ready")
        yield page
        assert page.problems() == []


def text(page, selector):
    return page.run(f"return document.querySelector({json.dumps(selector)}).innerText")


def click(page, selector):
    page.run(f"document.querySelector({json.dumps(selector)}).click()")


def drawn(page):
    """A number that changes with the picture of the UMAP."""
    return page.run(
        "const c = document.getElementById('umap'); const d = c.getContext('2d').getImageData(0, 0, c.width, c.height)"
        ".data; let sum = 0; for (let i = 0; i < d.length; i++) sum = (sum * 31 + d[i]) % 1000003; return sum"
    )


def coloured(page, i):
    """Choose a colour of the cells, and wait until it is drawn: the page says so below the picture."""
    page.run("document.getElementById('told').textContent = ''")
    page.run(
        f"const s = document.getElementById('colour'); s.value = '{i}'; s.dispatchEvent(new Event('change'))"
    )
    page.until("document.getElementById('told').textContent.startsWith('Colour: ')")


def asked(page, thing):
    page.until(f"document.getElementById('panel').dataset.shows === {json.dumps(thing)}")


def test_a_tf_is_found_by_typing_and_shown(page):
    before = drawn(page)
    page.run("document.getElementById('pick').focus()")
    page.write("nf103")
    page.until("document.querySelectorAll('#options li').length === 1")
    assert text(page, "#options li").startswith("ZNF103")
    page.key("Enter")
    asked(page, "TF:ZNF103")
    assert drawn(page) != before and page.run("return location.hash") == "#TF%3AZNF103"
    words = text(page, "#panel")
    for title in ("Activity and expression by cell type", "Precision and recall", "Known motif",
                  "ZNF103 in each cell type, tests",
                  "Motif found in the data", "Motifs found for ZNF103",
                  "Genes that ZNF103 probably regulates", "Best sites of ZNF103",
                  "Genes with the most predicted binding of ZNF103", "Models and baselines on ZNF103"):  # fmt: skip
        assert title in words, title
    assert "Compare z between cell types, not between TFs" in words
    about = page.run(
        "return JSON.parse(document.getElementById('index').textContent).tfs.find((each) => each.name === 'ZNF103')"
    )
    assert f"AUPRC on bulk lines, held-out windows\n{about['auprc']:#.3g}\n" in words
    assert page.run("return document.querySelectorAll('#box svg rect[stroke]').length") == 5, "a box per type"
    assert (
        page.run("return document.getElementById('colour').selectedOptions[0].text") == "activity of ZNF103"
    )
    assert "ZNF103" in text(page, "#legend")
    page.run("document.getElementById('colour').value = '0';"
             "document.getElementById('colour').dispatchEvent(new Event('change'))")  # fmt: skip
    page.until("document.querySelectorAll('#legend button').length === 5")


@pytest.mark.parametrize("typed", ["ZNF103", "znf103"])
def test_enter_again_keeps_the_answer(page, typed):
    """After an answer the list is closed, and no name of it is marked."""
    page.run("document.getElementById('pick').focus()")
    page.write(typed)
    page.until("document.querySelectorAll('#options li').length === 1")
    page.key("Enter")
    asked(page, "TF:ZNF103")
    page.key("Enter")
    time.sleep(0.3)
    asked(page, "TF:ZNF103")
    assert "Best sites of ZNF103" in text(page, "#panel")
    page.key("Escape")
    page.key("Enter")
    time.sleep(0.3)
    asked(page, "TF:ZNF103")


def test_a_name_written_in_full_is_found_though_the_list_is_closed(page):
    page.run("const p = document.getElementById('pick'); p.focus(); p.value = 'znf104'")
    page.key("Escape")
    page.key("Enter")
    asked(page, "TF:ZNF104")


def test_the_list_stays_open_for_who_comes_back_at_once(page):
    page.run("document.getElementById('pick').focus()")
    page.until("!document.getElementById('options').hidden")
    page.run("const p = document.getElementById('pick'); p.blur(); p.focus()")
    page.write("nf103")
    page.until("document.querySelectorAll('#options li').length === 1")
    time.sleep(0.4)
    assert not page.run("return document.getElementById('options').hidden")
    page.key("Enter")
    asked(page, "TF:ZNF103")


@pytest.mark.parametrize("asked_for", ["TF:znf103", "tf:ZNF103"])
def test_case_does_not_matter_in_an_address(page, asked_for):
    page.run(f"location.hash = {json.dumps('#' + asked_for)}")
    asked(page, "TF:ZNF103")


@pytest.mark.parametrize(
    ("typed", "thing"),
    [("znf104", "TF:ZNF104"), ("type 03", "cell type:cell type 03"), ("p3", "population:P3"),
     ("donor_2", "sample:donor_2"), ("treat", "condition:treated")],
)  # fmt: skip
def test_all_that_can_be_asked_is_found_by_typing(page, typed, thing):
    page.run("document.getElementById('pick').focus()")
    page.write(typed)
    page.until(f"document.querySelector('#options li[data-thing={json.dumps(thing)}]')")
    click(page, "#pick")
    page.key("Enter")
    asked(page, thing)


def test_a_gene_is_found_by_typing(page):
    gene = page.run(
        "await scbindReport.ask('TF:ZNF101'); return document.querySelector('#panel [data-ask^=gene]').dataset.ask"
    )
    page.run("document.getElementById('pick').value = ''; document.getElementById('pick').focus()")
    page.write(gene.removeprefix("gene:").lower())
    page.until(f"document.querySelector('#options li[data-thing={json.dumps(gene)}]')")


def test_the_list_of_names_obeys_the_keys(page):
    page.run("document.getElementById('pick').focus()")
    page.until("!document.getElementById('options').hidden")
    page.key("ArrowDown")
    page.key("ArrowDown")
    page.key("ArrowUp")
    chosen = page.run("return document.getElementById('pick').getAttribute('aria-activedescendant')")
    assert chosen == "option-0"
    page.key("Escape")
    assert page.run("return document.getElementById('options').hidden")
    page.write("no such name")
    page.until("document.getElementById('options').hidden")


@pytest.mark.parametrize(
    ("thing", "titles"),
    [("cell type:cell type 02", ["TFs that mark cell type 02",
                                 "TFs that differ between conditions in cell type 02", "Peaks of cell type 02",
                                 "Links of TFs and genes in cell type 02"]),
     ("sample:donor_2", ["Quality of donor_2", "Cell types in donor_2"]),
     ("population:P1", ["Population P1", "Cell types in P1"]),
     ("condition:treated", ["TFs that differ between treated and control", "Cell types in treated"])],
)  # fmt: skip
def test_groups_have_panels_and_stand_out(page, thing, titles):
    before = drawn(page)
    page.run(f"await scbindReport.ask({json.dumps(thing)})")
    words = text(page, "#panel")
    assert all(title in words for title in titles), words
    assert drawn(page) != before
    assert page.run("return document.querySelectorAll('#legend [aria-pressed=true]').length") == 1


def test_a_gene_lists_its_regulators_and_links_lead_on(page):
    gene = page.run("await new Promise((d) => setTimeout(d, 300)); await scbindReport.ask('TF:ZNF101');"
                    "return document.querySelector('#panel [data-ask^=gene]').dataset.ask")  # fmt: skip
    click(page, f"#panel [data-ask='{gene}']")
    asked(page, gene)
    words = text(page, "#panel")
    assert "TFs that probably regulate" in words and "Top sites around its start" in words
    assert page.run("return document.getElementById('colour').selectedOptions[0].text") == "cell type"
    place = page.run("return document.querySelector('#panel a[href^=\"browser/loci\"]').getAttribute('href')")
    assert place == "browser/loci.html#" + gene.removeprefix("gene:")
    link = page.run("return document.querySelector('#panel [data-ask^=TF]').dataset.ask")
    click(page, f"#panel [data-ask='{link}']")
    asked(page, link)
    page.run("await scbindReport.ask('gene:NONE')")
    assert text(page, "#panel") == (
        "This page has no target gene or link named NONE; see results/analysis/tf_targets.tsv and "
        "results/analysis/links.tsv."
    )
    hrefs = page.run(
        "return [...document.querySelectorAll('#panel a')].map((each) => each.getAttribute('href'))"
    )
    assert hrefs == ["analysis/tf_targets.tsv", "analysis/links.tsv"]


def test_an_answer_says_how_many_links_are_not_on_the_page(many):
    """The page has some of the links. Each answer counts them. None says "no link" where the file has some."""
    links = pd.read_csv(many.with_name("links.tsv"), sep="\t")
    links = links[(links["fdr"] <= 0.1) & ~links["reliability_abstained"]]
    best = links.sort_values(["probability", "potential"], ascending=False, kind="stable")
    rank = best.groupby(["cell_type", "tf"]).cumcount().sort_values(kind="stable")
    shown = best.loc[best.index.isin(rank.index[:1_500])]
    genes = links["gene"].value_counts()
    cut = genes - shown["gene"].value_counts().reindex(genes.index, fill_value=0)
    told = "with a false discovery rate up to 0.1"
    with Page(many) as page:
        page.until("document.documentElement.dataset.ready")
        for key, name in [("tf", links["tf"].iloc[0]), ("cell_type", links["cell_type"].iloc[0]),
                          ("gene", cut.index[(cut > 0) & (cut == genes)][0]),
                          ("gene", cut.index[(cut > 0) & (cut < genes)][0])]:  # fmt: skip
            kind = {"tf": "TF", "cell_type": "cell type"}.get(key, key)
            page.run(f"await scbindReport.ask({json.dumps(f'{kind}:{name}')})")
            n, every = ((table[key] == name).sum() for table in (shown, links))
            said = f"{n} of {every} links {told} {'is' if every == 1 else 'are'} on this page"
            assert n < every and said in text(page, "#panel")
            assert "No link has" not in text(page, "#panel")
        complete = cut.index[cut == 0][0]
        page.run(f"await scbindReport.ask({json.dumps(f'gene:{complete}')})")
        assert told not in text(page, "#panel")
        assert len(rows_of(page, f"TFs that probably regulate {complete}")) == genes[complete]


def test_the_tables_of_a_tf_can_be_kept_to_one_cell_type(page):
    page.run("await scbindReport.ask('TF:ZNF101')")
    count = (
        "return [...document.querySelectorAll('#panel > .table .tools span')].map((each) => each.textContent)"
    )
    kinds = ("return [...document.querySelectorAll('#panel > .table')].flatMap((box) => [...box.querySelectorAll("
             "'tbody [data-ask^=\"cell type\"]')].map((each) => each.textContent))")  # fmt: skip
    choose = ("const s = document.querySelector('#panel select'); s.value = '{}';"
              "s.dispatchEvent(new Event('change'));")  # fmt: skip
    before = page.run(count)
    assert len(set(page.run(kinds))) == 5
    assert page.run("return document.querySelector('#panel select').options.length") == 6, (
        "all, and five types"
    )
    page.run(choose.format("cell type 03"))
    assert set(page.run(kinds)) == {"cell type 03"} and page.run(count) != before
    page.run(choose.format(""))
    assert page.run(count) == before


def known_tests(report, kind):
    """The tests of a cell type that the page has: not of TFs on which scbind abstains."""
    table = pd.read_csv(report.with_name("tests.tsv"), sep="\t")
    return table[(table["cell_type"] == kind) & ~table["reliability_abstained"].astype(bool)]


def rows_of(page, title):
    """The rows of a table of the panel: a dictionary each, by heading."""
    found = page.run(
        "const box = [...document.querySelectorAll('#panel .table')].find((each) => each.querySelector('.scroll')"
        f".getAttribute('aria-label') === {json.dumps(title)});"
        "return [box.querySelector('thead tr'), ...box.querySelectorAll('tbody tr')].map((row) => [...row.cells])"
        ".map((cells) => cells.map((cell) => cell.textContent))"
    )
    return [dict(zip(found[0], row, strict=True)) for row in found[1:]]


def test_only_significant_tfs_mark_a_type_and_if_there_is_none_the_page_says_so(page):
    page.run("await scbindReport.ask('cell type:cell type 02')")
    rows = rows_of(page, "TFs that mark cell type 02")
    assert rows and all(float(row["adjusted p"]) < 0.05 and float(row["difference"]) > 0 for row in rows)
    assert "significant and more active (adjusted p below 0.05); only these are shown" in text(page, "#panel")
    page.run("await scbindReport.ask('cell type:cell type 05')")
    assert "None is significantly more active (adjusted p below 0.05). The strongest of" in text(
        page, "#panel"
    )
    assert "None is significant (adjusted p below 0.05)." in text(page, "#panel")
    effects = [float(row["effect size"]) for row in rows_of(page, "TFs that mark cell type 05")]
    assert 0 < len(effects) <= 5 and effects == sorted(effects, reverse=True)


def test_tests_of_a_condition_are_not_counted_as_tfs(report, page):
    """A condition is compared within each cell type, so a TF has several tests."""
    page.run("await scbindReport.ask('condition:treated')")
    known = pd.read_csv(report.with_name("tests.tsv"), sep="\t")
    known = known[(known["contrast"] == "condition") & ~known["reliability_abstained"].astype(bool)]
    n = int((known["p_adjusted"] < 0.05).sum())
    assert f"{n} of {len(known)} tests are significant" in text(page, "#panel")
    page.run("await scbindReport.ask('cell type:cell type 02')")
    assert re.search(r"\d+ of \d+ TFs (is|are) significant and more active", text(page, "#panel"))


def test_a_panel_has_no_empty_column_and_its_download_has_all(page):
    page.run("await scbindReport.ask('population:P2')")
    (row,) = rows_of(page, "Population P2")
    assert "cautions" not in row and all(value.strip() for value in row.values())
    page.run("await scbindReport.ask('population:P1')")
    assert rows_of(page, "Population P1")[0]["cautions"] == "probably doublets of A and B"
    page.run("await scbindReport.ask('population:P2')")
    page.run("window.saved = null; URL.createObjectURL = (blob) => { window.saved = blob; return '#'; }")
    page.run("document.querySelector('[aria-label=\"Download TSV of Population P2\"]').click()")
    assert "cautions" in page.run("return await window.saved.text()").splitlines()[0].split("\t")


def test_genes_of_tfs_that_are_less_active_in_the_type_come_last(report, page):
    page.run("await scbindReport.ask('cell type:cell type 02')")
    tests = known_tests(report, "cell type 02")
    tests = tests[tests["contrast"] == "cell_type"].set_index("tf")
    rows = rows_of(page, "Genes with the most specific predicted binding in cell type 02")
    words = [row["TF in this type"] for row in rows]
    for row in rows:
        more = tests.loc[row["TF"], "difference"] > 0
        sure = tests.loc[row["TF"], "p_adjusted"] < 0.05
        assert row["TF in this type"] == (
            ("less active", "more active")[int(more)] if sure else "no difference"
        )
    assert "less active" not in words[: len(words) - words.count("less active")]
    page.run("await scbindReport.ask('cell type:cell type 05')")
    rows = rows_of(page, "Genes with the most specific predicted binding in cell type 05")
    assert {row["TF in this type"] for row in rows} == {"no difference"}
    page.run("await scbindReport.ask('TF:ZNF101')")
    rows = rows_of(page, "Genes with the most predicted binding of ZNF101 around them")
    assert len({row["TF in this type"] for row in rows}) > 1


def test_each_site_of_a_link_has_its_distance_from_the_start_of_the_gene(report, page):
    page.run("await scbindReport.ask('cell type:cell type 02')")
    genes = pd.read_csv(
        report.with_name("genes.bed"), sep="\t", header=None, names="chrom start end name x strand".split()
    )
    genes = genes.set_index("name")
    rows = rows_of(page, "Links of TFs and genes in cell type 02")
    assert rows
    for row in rows:
        gene = genes.loc[row["gene"]]
        for site in row["sites"].split("; "):
            place, where, distance = re.fullmatch(r"chr1:([\d,-]+) \((\w+), ([+−][\d,]+) bp\)", site).groups()
            start, end = (int(value.replace(",", "")) for value in place.split("-"))
            middle = (start - 1 + end) // 2
            d = middle - gene.start if gene.strand == "+" else gene.end - 1 - middle
            assert int(distance.replace(",", "").replace("−", "-")) == d
            assert where == ("promoter" if abs(d) <= 500 else "distal")
    assert "the largest contribution first" in page.run("return document.getElementById('panel').textContent")


def test_limits_and_words_of_the_analysis_are_not_repeated_in_the_page(tmp_path, monkeypatch):
    """They are in the index: with other ones, the page says other things."""
    monkeypatch.setattr(explorer, "LIKELY", 0.25)
    monkeypatch.setattr(explorer, "CORE", 10**9)
    with Page(write_in(tmp_path, RUN_SHAPE)) as page:
        page.until("document.documentElement.dataset.ready")
        page.run("await scbindReport.ask('cell type:cell type 02')")
        assert "a doublet score of 0.25 or more" in text(page, "#panel")
        rows = rows_of(page, "Links of TFs and genes in cell type 02")
        assert rows and all("(promoter, " in row["sites"] and "distal" not in row["sites"] for row in rows)
        page.run("await scbindReport.ask('population:P1')")
        assert "that takes 0.25 or more" in text(page, "#panel")


class Cells(HTMLParser):
    """The texts of the rows of each table of a page without scripts: title to rows."""

    def __init__(self, source):
        super().__init__()
        self.found, self.rows, self.inside = {}, [], False
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if given.get("class") == "table":
            self.rows = self.found.setdefault(given["data-title"], [])
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self.inside = self.inside or tag in ("td", "th")

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data):
        if self.inside:
            self.rows[-1][-1] += data.strip()


def test_first_rows_are_the_same_without_javascript(report, page):
    """Headings and texts; numbers may differ in their last digit, because the page has four digits of them."""
    plain = Cells(report.read_text()).found
    assert {"Links and their evidence", "Genes by regulatory potential", "Per sample"} <= plain.keys()
    assert any("(promoter, " in cell or "(distal, " in cell for cell in plain["Links and their evidence"][1])
    assert "TF in this type" in plain["Genes by regulatory potential"][0]
    for title, rows in plain.items():
        made = page.run(
            f"const box = document.querySelector('[data-title={json.dumps(title)}]'); box.scrollIntoView();"
            "while (!box.querySelector('.tools')) await new Promise((done) => setTimeout(done, 20));"
            "return [...box.querySelectorAll('tr')].map((row) => [...row.cells].map((cell) => cell.textContent))"
        )
        assert len(made) == len(rows), title
        for one, other in zip(made, rows, strict=True):
            for mine, theirs in zip(one, other, strict=True):
                if mine != theirs:
                    values = [float(value.replace(",", "")) for value in (mine, theirs)]
                    assert values[0] == pytest.approx(values[1], rel=0.011), (title, mine, theirs)


def names_on_map(page, act):
    """The names that are drawn on the map while the page acts, in the order in which they are drawn."""
    return page.run(
        "const names = [], pen = CanvasRenderingContext2D.prototype, write = pen.fillText;"
        "pen.fillText = function (text, ...rest) { names.push(text); write.call(this, text, ...rest); };"
        f"document.getElementById('told').textContent = ''; {act};"
        "while (!document.getElementById('told').textContent) await new Promise((done) => setTimeout(done, 20));"
        "pen.fillText = write; return names"
    )


def test_names_on_the_map_are_those_of_the_colour(page):
    index = page.run("return JSON.parse(document.getElementById('index').textContent)")
    levels = {each["name"]: each.get("levels") for each in index["colourings"]}
    choose = (
        "const s = document.getElementById('colour'); s.value = '{}'; s.dispatchEvent(new Event('change'))"
    )
    for i, name in enumerate(levels):
        names = names_on_map(page, choose.format(i))
        kind = "population" if name == "population" else "cell type"
        assert names and set(names) <= set(levels[kind]), name
        assert text(page, "#told").startswith(f"Colour: {name}. Names on the map: {kind}."), name
    assert set(names_on_map(page, "await scbindReport.ask('TF:ZNF101')")) <= set(levels["cell type"])
    for thing in ("population:P4", "cell type:cell type 05"):
        names = names_on_map(page, f"await scbindReport.ask('{thing}')")
        assert names[0] == thing.partition(":")[2], "what was asked for is never covered by another name"
        other = page.run("return document.querySelector('#legend button[data-level=\"1\"] span').textContent")
        names = names_on_map(page, "document.getElementById('told').textContent = '-';"
                             "document.querySelector('#legend [aria-pressed=true]').click();"
                             "document.querySelector('#legend button[data-level=\"1\"]').click()")  # fmt: skip
        assert other in names


def test_a_name_on_the_map_is_where_its_cells_are(many):
    """Also of a population in several places: between them, there would be none of its cells."""
    with Page(many) as page:
        page.until("document.documentElement.dataset.ready")
        colouring = page.run("return JSON.parse(document.getElementById('index').textContent).colourings"
                             ".find((each) => each.name === 'population')")  # fmt: skip
        for name, colour in list(zip(colouring["levels"], colouring["colours"], strict=True))[:20]:
            near = page.run(
                "const pen = CanvasRenderingContext2D.prototype, write = pen.fillText, at = {};"
                "pen.fillText = function (text, x, y) { at[text] = [x, y]; write.call(this, text, x, y); };"
                f"await scbindReport.ask({json.dumps('population:' + name)}); pen.fillText = write;"
                f"document.getElementById('names').click(); const [x, y] = at[{json.dumps(name)}];"
                "const { data } = document.getElementById('umap').getContext('2d').getImageData(x - 6, y - 6, 12, 12);"
                "document.getElementById('names').click(); let n = 0;"
                f"const rgb = [1, 3, 5].map((k) => parseInt({json.dumps(colour)}.slice(k, k + 2), 16));"
                "for (let k = 0; k < data.length; k += 4) n += rgb.every((v, c) => data[k + c] === v); return n"
            )
            assert near, name


def test_a_measure_is_shown_of_all_cells_after_a_group_was_asked_for(page):
    number = page.run("return JSON.parse(document.getElementById('index').textContent).colourings"
                      ".findIndex((each) => each.name === 'doublet score')")  # fmt: skip
    coloured(page, number)
    before = drawn(page)
    page.run("await scbindReport.ask('population:P1')")
    coloured(page, number)
    assert drawn(page) == before


def test_links_in_a_panel_have_the_notes_of_their_section(page):
    page.run("await scbindReport.ask('cell type:cell type 02')")
    notes = page.run("return document.querySelector('#panel details').textContent")
    assert (
        "It is unknown where the association is not significant" in notes
        and "8 to 13 % of the links with only distal sites were false" in notes
    )


def test_a_type_says_whether_it_is_flagged_as_doublets(page):
    shares = {
        each["name"]: each["doublets"]
        for each in page.run("return JSON.parse(document.getElementById('index').textContent)")["types"]
    }
    page.run("await scbindReport.ask('cell type:cell type 02')")
    said = f"Doublets: {100 * shares['cell type 02']:.1f} % of its cells have a doublet score of 0.1 or more. It is not"
    assert said in text(page, "#panel")
    page.run("await scbindReport.ask('population:P1')")
    assert re.search(r"Doublets: the median doublet score .* It is flagged as doublets", text(page, "#panel"))


def test_the_activity_of_a_tf_is_split_by_condition(report, page):
    page.run("await scbindReport.ask('TF:ZNF101')")
    rows = rows_of(page, "Activity of ZNF101 by cell type and condition")
    data = read_activity([report.with_name(f"donor_{number}.h5ad") for number in (1, 2)])
    z = pd.Series(data.readable[:, data.tfs.index("ZNF101")], index=data.obs.index)
    keys = [data.obs["cell_type"].astype(str), data.obs["condition"].astype(str)]
    expected = z.groupby(keys).median()
    limit = np.percentile(np.abs(z.dropna()), 99)
    assert len(rows) == 5
    for row in rows:
        for side in ("control", "treated"):
            value = np.clip(expected[row["cell type"], side], -limit, limit)
            assert float(row[f"z, {side}"]) == pytest.approx(value, abs=4 * limit / 101)
            assert int(row[f"cells, {side}"]) == z.groupby(keys).count()[row["cell type"], side]


def test_the_reliability_of_a_tf_says_that_it_is_not_of_these_cells(page):
    page.run("await scbindReport.ask('TF:ZNF101')")
    words = text(page, "#panel")
    assert "reliability on bulk lines, full depth" in words
    assert (
        "not of these cells" in words and "insertions per base or more, with those that they borrow" in words
    )
    found = re.search(r"thinned to this depth, the AUPRC is (0\.\d+) \(at full depth: (0\.\d+)\)", words)
    assert 0 < float(found[1]) < float(found[2]) < 1


def test_a_tf_says_why_it_is_reliable_or_not(page):
    tfs = page.run("return JSON.parse(document.getElementById('index').textContent).tfs")
    known = next(tf for tf in tfs if tf["why"])
    page.run(f"await scbindReport.ask('TF:{known['name']}')")
    assert "scbind abstains on this TF: do not interpret it." in text(page, "#told")
    assert known["why"] in text(page, "#panel") and "do not interpret its values" in known["why"]


def test_downloads_are_named_by_what_they_show(page):
    page.run("window.names = []; HTMLAnchorElement.prototype.click = function () { names.push(this.download); };"
             "await scbindReport.ask('TF:ZNF101'); document.getElementById('save').click()")  # fmt: skip
    page.run("document.querySelector('#panel .tools button:last-child').click()")
    page.until("window.names.length === 2")
    assert page.run("return window.names.sort()") == [
        "Activity_of_ZNF101_by_cell_type_and_condition.tsv", "umap_activity_of_ZNF101.png",
    ]  # fmt: skip


def test_files_of_the_run_are_links(page):
    found = page.run(
        "return [...document.querySelectorAll('main a')].map((link) => [link.textContent, link.getAttribute('href')])"
    )
    assert ["results/analysis/links.tsv", "analysis/links.tsv"] in found
    assert ["logs/runs.tsv", "../logs/runs.tsv"] in found


def test_the_date_of_the_file_is_below_the_title(report, page):
    """The page itself has no date, so that the same inputs give the same bytes."""
    changed = time.strftime("%Y-%m-%d %H:%M", time.localtime(report.stat().st_mtime))
    assert text(page, ".lede").endswith(f" · file of {changed}")
    assert changed not in report.read_text(encoding="utf-8")


def test_tests_between_conditions_are_apart_from_those_between_cell_types(report, page):
    """A TF that differs between conditions within a type does not mark the type."""
    page.run("await scbindReport.ask('cell type:cell type 02')")
    rows = page.run(
        "return [...document.querySelectorAll('#panel .tools span')].slice(0, 2).map((e) => e.textContent)"
    )
    heads = page.run("return [...document.querySelectorAll('#panel .table')].slice(0, 2).map((box) => "
                     "[...box.querySelectorAll('th')].map((head) => head.textContent))")  # fmt: skip
    tests = known_tests(report, "cell type 02")
    sure = tests[tests["p_adjusted"] < 0.05]
    marks = int((sure[sure["contrast"] == "cell_type"]["difference"] > 0).sum())
    differ = int((sure["contrast"] == "condition").sum())
    assert marks != differ and rows == [f"1–{n} of {n}" for n in (marks, differ)]
    assert not {"group", "reference"} & {head for each in heads for head in each}, "the sides are in the note"
    assert "more activity in treated than in control" in text(page, "#panel")


def test_every_colour_and_every_button_of_the_umap(page):
    names = page.run("return [...document.getElementById('colour').options].map((each) => each.text)")
    seen = {}
    for i, name in enumerate(names):
        coloured(page, i)
        seen[name] = drawn(page)
    assert seen.pop("condition") == seen["sample"], "each condition is one sample, so the picture is the same"
    assert len(set(seen.values())) == len(names) - 1 > 6
    coloured(page, 0)
    whole = drawn(page)
    for button in ("in", "out", "names"):
        click(page, f"#{button}")
    assert drawn(page) != whole
    click(page, "#names")
    click(page, "#reset")
    assert drawn(page) == whole
    click(page, "#legend button")
    assert drawn(page) != whole
    click(page, "#legend button")
    assert drawn(page) == whole
    click(page, "#save")
    page.run(
        "document.getElementById('ask').scrollIntoView({behavior: 'instant'});"
        "document.getElementById('umap').focus({preventScroll: true})"
    )
    page.key("+")
    page.key("ArrowLeft")
    assert drawn(page) != whole
    page.key("0")
    assert drawn(page) == whole
    place = page.run(
        "const b = document.getElementById('umap').getBoundingClientRect();"
        "return [b.x, b.y, b.width, b.height]"
    )
    x, y = place[0] + place[2] / 2, place[1] + place[3] / 2
    page.mouse("mouseWheel", x, y, deltaX=0, deltaY=-200)
    page.mouse("mousePressed", x, y, button="left", clickCount=1)
    page.mouse("mouseMoved", x + 40, y, button="left", buttons=1)
    page.mouse("mouseReleased", x + 40, y, button="left", clickCount=1)
    assert drawn(page) != whole
    click(page, "#reset")
    click(page, "#names")  # so that the first colour found is of a cell
    cell = page.run("const c = document.getElementById('umap'), w = c.width;"
        "const d = c.getContext('2d').getImageData(0, 0, w, c.height).data;"
                    "for (let i = 0; i < d.length; i += 4)"
                    "  if (d[i + 3] > 0) return [i / 4 % w, Math.floor(i / 4 / w)]")  # fmt: skip
    page.mouse("mouseMoved", place[0] + cell[0], place[1] + cell[1] + 2)
    page.until("!document.getElementById('tip').hidden")
    assert "cell type" in text(page, "#tip") and "donor" in text(page, "#tip")


def test_tables_are_searched_ordered_paged_and_saved(page):
    box = "#differential .table"
    page.run("document.querySelector('#differential .table').scrollIntoView()")
    page.until(f"document.querySelector('{box}').querySelector('.tools')")  # of the first table
    n = int(page.run(f"return document.querySelector('{box} .tools span').innerText").split(" of ")[1])
    assert n > 20 and page.run(f"return document.querySelectorAll('{box} tbody tr').length") == 20
    before, after, save = (f"{box} .tools button:nth-of-type({i})" for i in (1, 2, 3))
    assert page.run(f"return document.querySelector('{before}').disabled")
    first = text(page, f"{box} tbody")
    click(page, after)
    assert text(page, f"{box} tbody") != first and text(page, f"{box} .tools span").startswith("21–")
    click(page, before)
    assert text(page, f"{box} tbody") == first
    heads = page.run(f"return [...document.querySelectorAll('{box} th')].map((head) => head.innerText)")
    column = 1 + heads.index("effect size")
    head = f"document.querySelector('{box} th:nth-child({column})')"
    click(page, f"{box} th:nth-child({column}) button")
    assert page.run(f"return {head}.getAttribute('aria-sort')") == "descending"
    cells = (
        f"return [...document.querySelectorAll('{box} td:nth-child({column})')].map((cell) => cell.innerText)"
    )
    values = [float(value) for value in page.run(cells)]
    assert values == sorted(values, reverse=True) and values[0] > 0
    click(page, f"{box} th:nth-child({column}) button")
    values = [float(value) for value in page.run(cells)]
    assert values == sorted(values) and values[0] < 0
    page.run(
        f"const s = document.querySelector('{box} input');"
        "s.value = 'cell type 03'; s.dispatchEvent(new Event('input'))"
    )
    rows = page.run(f"return [...document.querySelectorAll('{box} tbody tr')].map((row) => row.innerText)")
    assert rows and all("cell type 03" in row for row in rows)
    page.run("window.saved = null; URL.createObjectURL = (blob) => { window.saved = blob; return '#'; }")
    click(page, save)
    lines = page.run("return await window.saved.text()").splitlines()
    assert lines[0].split("\t")[:4] == ["cell_type", "tf", "contrast", "group"] and "cell type 03" in lines[1]
    assert len(lines) - 1 == int(text(page, f"{box} .tools span").split(" of ")[1]) < n


def test_small_tables_are_ordered_too(page):
    box = "#quality .table"
    page.run("document.querySelector('#quality .table').scrollIntoView()")
    page.until(f"document.querySelector('{box}').querySelector('.tools')")  # of the first table
    for _ in range(2):
        click(page, f"{box} th:nth-child(2) button")
    assert (
        page.run(f"return document.querySelector('{box} th:nth-child(2)').getAttribute('aria-sort')")
        == "ascending"
    )


def test_the_calibration_error_is_explained_in_the_text_and_not_below_each_table(page):
    box = "document.querySelector('#evaluation .table')"
    page.until(f"({box}.scrollIntoView({{behavior: 'instant'}}), {box}.querySelector('.tools'))")
    heads = page.run(
        f"return [...{box}.querySelectorAll('th button')].map((each) => [each.textContent, each.title])"
    )
    assert dict(heads)["calibration error"] == tables.MEANINGS["ece"]
    said = page.run("return [...document.querySelectorAll('#evaluation p')].map((each) => each.textContent)")
    assert said.count(tables.MEANINGS["ece"]) == 1


def test_the_menu_leads_to_its_sections(page):
    """Sections get their height when they are first drawn, so a plain jump would miss those further down."""
    links = page.run(
        "return [...document.querySelectorAll(\"nav a[href^='#']\")].map((a) => a.getAttribute('href'))"
    )
    assert len(links) > 5
    for link in [links[-2], links[len(links) // 2], links[3]]:
        click(page, f"nav a[href='{link}']")
        place = f"document.querySelector('{link}').getBoundingClientRect().top"
        bottom = "document.documentElement.scrollHeight - window.innerHeight - window.scrollY"
        page.until(f"Math.abs({place}) < 30 || {bottom} < 3")
        time.sleep(0.6)  # it stays there
        assert page.run(f"return Math.abs({place}) < 30 || {bottom} < 3"), link
        assert page.run("return location.hash") == link


def test_the_menu_is_closed_where_it_would_fill_the_screen(report):
    with Page(report, width=400, height=800) as page:
        page.until("document.documentElement.dataset.ready")
        assert page.run("return document.querySelector('h1').getBoundingClientRect().top") < 120
        click(page, "#menu summary")
        assert page.run("return document.querySelector(\"nav a[href='#summary']\").checkVisibility()")
        assert page.problems() == []


def test_a_part_of_several_names_is_not_taken_for_one(page):
    page.run("document.getElementById('pick').focus()")
    page.write("nf10")
    page.until("document.querySelectorAll('#options li').length > 1")
    page.key("Enter")
    page.until("document.querySelector('#options li[aria-selected=true]')")
    assert not page.run("return document.getElementById('panel').dataset.shows || ''")
    page.key("Enter")
    page.until("document.getElementById('panel').dataset.shows")


def test_an_answer_comes_into_view_and_an_unknown_name_is_told(page):
    page.run("document.getElementById('pick').focus()")
    page.write("nf103")
    page.until("document.querySelectorAll('#options li').length === 1")
    page.key("Enter")
    page.until("document.getElementById('panel').dataset.shows")
    page.until("document.getElementById('panel').getBoundingClientRect().top < 0.8 * window.innerHeight")
    page.run("const pick = document.getElementById('pick'); pick.value = ''; pick.blur(); pick.focus()")
    page.write("nosuchname")
    page.until("document.getElementById('options').hidden")
    page.key("Enter")
    page.until(
        "document.getElementById('panel').innerText.includes("
        "'Nothing on this page is named nosuchname. It can be asked for the name of a TF, ')"
    )


def test_an_old_browser_is_told(report, tmp_path):
    old = tmp_path / "old.html"
    old.write_text(
        report.read_text().replace("<head>", "<head><script>delete window.DecompressionStream</script>")
    )
    with Page(old) as page:
        page.until("!document.getElementById('too-old').hidden")
        assert page.run("return document.getElementById('explorer').hidden") and page.problems() == []


@pytest.mark.parametrize("width", [1400, 400])
def test_nothing_is_wider_than_the_window(report, width):
    with Page(report, width=width) as page:
        page.until("document.documentElement.dataset.ready")
        page.run("await scbindReport.ask('TF:ZNF101')")
        assert page.run("return document.documentElement.scrollWidth") <= width
        scales = page.run("return [...document.querySelectorAll('figure img')].map((image) => "
                          "image.getBoundingClientRect().width / image.getAttribute('width'))")  # fmt: skip
        assert scales and min(scales) == 1, "text of figures has its size; on a phone they are moved sideways"


def test_of_two_names_asked_for_the_last_is_shown(page):
    """A panel that is late must not cover the one that was asked for after it."""
    page.run(
        "await Promise.all(['TF:ZNF101', 'cell type:cell type 02', 'TF:ZNF104'].map((each) => scbindReport.ask(each)))"
    )
    assert page.run("return document.getElementById('panel').dataset.shows") == "TF:ZNF104"
    assert page.run("return [...document.querySelectorAll('#panel > h3')].map((head) => head.innerText)") == [
        "ZNF104"
    ]
    assert (
        page.run("return document.getElementById('colour').selectedOptions[0].text") == "activity of ZNF104"
    )
    assert "ZNF104" in text(page, "#legend")


def test_a_tf_from_its_block_is_the_tf_from_the_whole_table(many, tmp_path):
    """A TF is shown from a block of a large table, before the whole table is open; both show and hold the same."""
    show = (
        "await scbindReport.ask('TF:ZNF130');"
        "return document.getElementById('panel').innerHTML.replace(/ data-more=.[^\"]*./g, '')"
    )
    busy = tmp_path / "busy.html"  # a browser that is never idle opens only what is asked for
    busy.write_text(
        many.read_text().replace("<head>", "<head><script>requestIdleCallback = () => 0</script>")
    )
    with Page(busy) as page:
        page.until("document.documentElement.dataset.ready")
        part = page.run(show)
        rows = page.run(
            "return [...document.querySelectorAll('#panel .tools span')].map((each) => each.textContent)"
        )
        box = "[data-pack=table-sites]"
        # Again and again, because the page grows when what comes into view is laid out.
        page.until(
            f"(document.querySelector('{box}').scrollIntoView({{behavior: 'instant'}}),"
            f"document.querySelector('{box} .tools'))"
        )
        page.run("await scbindReport.ask('cell type:cell type 02')")  # opens the other tables
        assert page.run(show) == part
        assert "1–20 of 300" in rows and "1–20 of 120" in rows, rows
        page.run("window.saved = null; URL.createObjectURL = (blob) => { window.saved = blob; return '#'; }")
        click(page, f"{box} .tools button:last-of-type")
        saved = pd.read_csv(io.StringIO(page.run("return await window.saved.text()")), sep="\t")
        assert page.problems() == []
    made = pd.read_csv(many.parent / "best_sites.tsv", sep="\t")
    made = made[~made["reliability_abstained"]]
    words = differences.activity_in_type(made, pd.read_csv(many.parent / "tests.tsv", sep="\t"))
    made = made.assign(first=differences.active_first(words)).sort_values(
        ["tf", "first", "binding"], ascending=[True, True, False], kind="stable"
    )
    keys = ["cell_type", "tf", "rank", "chrom", "start", "end"]
    pd.testing.assert_frame_equal(saved[keys], made[keys].reset_index(drop=True))


def middle(page, selector):
    """The middle of an element in the window, after it was brought there."""
    return page.run(
        f"const e = document.querySelector({json.dumps(selector)});"
        "e.scrollIntoView({behavior: 'instant', block: 'center'}); await new Promise((d) => setTimeout(d, 100));"
        "const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]"
    )


def turn(page, place, **more):
    """Turn the wheel at a place. Return how far the page went, and whether the UMAP has changed."""
    before, was = page.run("return window.scrollY"), drawn(page)
    page.mouse("mouseWheel", *place, deltaX=0, deltaY=-90, **more)
    time.sleep(0.5)  # the page scrolls smoothly
    return page.run("return window.scrollY") - before, drawn(page) != was


def test_the_wheel_scrolls_the_page_past_the_umap(page):
    hint = "return !document.getElementById('hint').hidden"
    place = middle(page, "#umap")
    assert not page.run(hint)
    assert turn(page, place) == (-90, False) and page.run(hint)
    assert text(page, "#hint") == "Ctrl + wheel zooms"
    page.until("document.getElementById('hint').hidden")
    for key in (2, 4):  # Ctrl, Cmd
        assert turn(page, place, modifiers=key) == (0, True)
    assert not page.run(hint)
    page.mouse("mousePressed", *place, button="left", clickCount=1)
    page.mouse("mouseReleased", *place, button="left", clickCount=1)
    assert turn(page, place) == (0, True), "a map that was clicked zooms"
    page.mouse("mouseMoved", place[0], 5)
    assert turn(page, place) == (-90, False), "until the pointer has left it"
    page.run(
        "document.getElementById('umap').blur(); document.getElementById('umap').focus({preventScroll: true})"
    )
    assert turn(page, place) == (0, True)
    page.key("Escape")
    assert turn(page, place) == (-90, False)


def test_two_fingers_zoom_the_umap_and_one_scrolls_the_page(report):
    with Page(report, width=400) as page:
        page.until("document.documentElement.dataset.ready")
        page.call("Emulation.setTouchEmulationEnabled", enabled=True, maxTouchPoints=2)
        x, y = middle(page, "#umap")
        whole = drawn(page)

        def touch(kind, *points):
            points = [{"x": px, "y": py, "id": i} for i, (px, py) in enumerate(points)]
            page.call("Input.dispatchTouchEvent", type=kind, touchPoints=points)

        touch("touchStart", (x - 30, y), (x + 30, y))
        for step in (10, 20, 30, 40):
            touch("touchMove", (x - 30 - step, y), (x + 30 + step, y))
        touch("touchEnd")
        near = drawn(page)
        assert near != whole and page.run("return document.getElementById('hint').hidden")
        before = page.run("return window.scrollY")
        touch("touchStart", (x, y))
        for step in range(20, 200, 20):
            touch("touchMove", (x, y - step))
        touch("touchEnd")
        page.until(f"window.scrollY > {before} + 50")
        assert drawn(page) == near


@pytest.mark.parametrize(("width", "dark"), [(1400, True), (400, False), (400, True)])
def test_what_goes_on_sideways_says_so(report, width, dark):
    """An arrow over a fade of the colour of the page, until the end is reached; the first column stays in view."""
    with Page(report, width=width, dark=dark) as page:
        page.until("document.documentElement.dataset.ready")
        page.run("await scbindReport.ask('cell type:cell type 02')")
        page.run("window.wide = [...document.querySelectorAll('#panel .edge')].find((e) => e.firstChild.scrollWidth > "
                 "e.clientWidth); wide.scrollIntoView({behavior: 'instant'})")  # fmt: skip
        edge = "window.wide"
        page.until("wide.dataset.more === 'right'")
        assert page.run(f"return getComputedStyle({edge}, '::after').content") == '"›"'
        paper = page.run("return getComputedStyle(document.body).backgroundColor")
        assert paper in page.run(f"return getComputedStyle({edge}, '::after').backgroundImage")
        left = f"{edge}.querySelector('td').getBoundingClientRect().left"
        before = page.run(f"return {left}")
        page.run(f"{edge}.firstChild.scrollLeft = 99999")
        page.until(f"{edge}.dataset.more === 'left '")
        assert page.run(f"return getComputedStyle({edge}, '::after').content") == "none"
        assert page.run(f"return {left}") == before
        fits = "[...document.querySelectorAll('#panel .edge')].filter((e) => e.firstChild.scrollWidth <= e.clientWidth)"
        assert page.run(f"return {fits}.every((e) => !e.dataset.more)")
        if width == 400:
            figure = "document.querySelector('figure .edge')"
            page.run(f"{figure}.scrollIntoView({{behavior: 'instant'}})")
            page.until(f"{figure}.dataset.more === 'right'")
            assert page.run(f"return getComputedStyle({figure}, '::after').content") == '"›"'


@pytest.mark.parametrize("width", [1400, 400])
def test_no_text_of_a_drawing_is_too_small(many, width):
    """At least 11 px."""
    with Page(many, width=width) as page:
        page.until("document.documentElement.dataset.ready")
        gene = page.run("await scbindReport.ask('TF:ZNF130');"
                        "return document.querySelector('#panel [data-ask^=gene]').dataset.ask")  # fmt: skip
        for thing in ("TF:ZNF130", gene):
            page.run(f"await scbindReport.ask({json.dumps(thing)})")
            sizes = page.run("return [...document.querySelectorAll('#panel svg')].map((s) => 12 * "
                             "s.getBoundingClientRect().width / s.viewBox.baseVal.width)")  # fmt: skip
            assert sizes and min(sizes) >= 11, sizes


def test_a_caution_stands_below_the_name_of_a_group(page):
    for name, said in (("P1", True), ("P2", False)):
        page.run(f"await scbindReport.ask('population:{name}')")
        assert ("Caution: probably doublets of A and B" in text(page, "#panel")) is said


def test_the_composition_of_a_group_adds_up(page):
    page.run("await scbindReport.ask('population:P1')")
    page.run(
        "window.box = [...document.querySelectorAll('#panel .table')].find((box) => "
        "box.querySelector('.scroll').getAttribute('aria-label') === 'Cell types in P1')"
    )
    at = page.run(
        "return [...box.querySelectorAll('th')].findIndex((e) => e.textContent === 'fraction of P1')"
    )
    shown = page.run(
        f"return [...box.querySelectorAll('tbody tr')].map((row) => Number(row.cells[{at}].textContent))"
    )
    assert sum(shown) == pytest.approx(1, abs=0.01)


def test_a_condition_is_answered_from_either_side(page):
    """The rows are stored under the other condition than the reference."""
    words = {}
    for name in ("treated", "control"):
        page.run(f"await scbindReport.ask('condition:{name}')")
        words[name] = text(page, "#panel")
        heads = page.run(
            "return [...document.querySelector('#panel table').tHead.rows[0].cells].map((e) => e.textContent)"
        )
        shown = page.run("return [...document.querySelector('#panel tbody').rows].map((row) => "
                         f"row.cells[{heads.index('adjusted p')}].textContent)")  # fmt: skip
        assert [float(p) for p in shown] == sorted(float(p) for p in shown), "the smallest adjusted p first"
        assert "are significant (adjusted p below 0.05); only these are shown." in words[name]
        assert "TFs that differ between treated and control" in words[name]
        assert (
            "A positive difference or effect size: more activity in treated than in control." in words[name]
        )
        assert "No rows" not in words[name]
    rows = "return document.querySelector('#panel .tools span').textContent"
    assert page.run(rows).startswith("1–20 of ")


def test_a_tf_shows_its_expression_beside_its_activity(page):
    page.run("await scbindReport.ask('TF:ZNF101')")
    words = text(page, "#panel")
    assert "Activity and expression by cell type" in words and "Activity and expression of ZNF101" in words
    assert "correlation of activity and expression" in words and "0.620 (p 0.00400, 10 cell types)" in words
    titles = page.run(
        "return [...document.querySelectorAll('#box rect title')].map((each) => each.textContent)"
    )
    assert sorted(titles) == [
        f"cell type {i + 1:02}: mean {8 * i + 1}, in 25 % of the cells" for i in range(5)
    ], "the expression of this TF in every type"


def test_places_have_one_form_and_downloads_that_of_bed(page):
    page.run("await scbindReport.ask('TF:ZNF101')")
    page.run("window.saved = null; URL.createObjectURL = (blob) => { window.saved = blob; return '#'; }")
    tables = page.run("return [...document.querySelectorAll('#panel .table')].map((box) => box.querySelector('.scroll')"
                      ".getAttribute('aria-label'))")  # fmt: skip
    for title, heading, keys in (
        ("Best sites of ZNF101", "place", ("chrom", "start", "end")),
        ("Genes with the most predicted binding of ZNF101 around them", "top site",
         ("chrom", "top_window_start", "top_window_end")),
    ):  # fmt: skip
        box = f"document.querySelectorAll('#panel .table')[{tables.index(title)}]"
        heads = page.run(f"return [...{box}.querySelectorAll('th')].map((head) => head.textContent)")
        assert heading in heads and not {"chrom", "start", "end", "end of top site"} & set(heads)
        cells = f"[...{box}.querySelectorAll('tbody tr')].map((row) => row.cells[{heads.index(heading)}].textContent)"
        for _ in range(2):
            page.run(f"{box}.querySelectorAll('th button')[{heads.index(heading)}].click()")
        shown = page.run(f"return {cells}")
        page.run(f"[...{box}.querySelectorAll('.tools button')].pop().click()")
        saved = pd.read_csv(io.StringIO(page.run("return await window.saved.text()")), sep="\t")
        chrom, start, end = (saved[key] for key in keys)
        assert (end - start == 200).all() and start.is_monotonic_increasing
        written = [f"{c}:{s + 1:,}-{e:,}" for c, s, e in zip(chrom, start, end, strict=True)]
        assert shown == written[:20]
        for words in (shown[3], shown[3].replace(",", "")):
            page.run(
                f"const s = {box}.querySelector('input'); s.value = '{words}'; s.dispatchEvent(new Event('input'))"
            )
            assert page.run(f"return {cells}") == [shown[3]]
    linked = page.run("return document.querySelector('#panel .whole').textContent")
    low, high = (int(each) for each in linked.replace(",", "").removeprefix("chr1:").split("-"))
    assert high - low == 499, "500 bp, both ends included"
    assert "chr1:1,001-1,200 counts from 1 and includes both ends" in text(page, "#place-form")


def test_a_gene_says_where_it_is(report, page):
    genes = pd.read_csv(
        report.parent / "genes.bed", sep="\t", names="chrom start end name score strand".split()
    )
    seen = set()
    for name in page.run("await scbindReport.ask('TF:ZNF101'); return [...new Set([...document.querySelectorAll("
                         "'#panel [data-ask^=gene]')].map((each) => each.textContent))].slice(0, 12)"):  # fmt: skip
        gene = genes.set_index("name").loc[name]
        page.run(f"await scbindReport.ask('gene:{name}')")
        first = gene["start"] + 1 if gene["strand"] == "+" else gene["end"]
        found = page.run(
            "return [...document.querySelectorAll('#panel .facts dd')].map((each) => each.textContent)"
        )
        sign = {"+": "+", "-": "−"}[gene["strand"]]
        assert found == [f"chr1:{gene['start'] + 1:,}-{gene['end']:,}", sign, f"chr1:{first:,}"]
        seen.add(sign)
    assert len(seen) == 2


def test_words_are_explained_where_they_are_shown(page):
    sentences, words = tables.MEANINGS, "return document.getElementById('panel').textContent"
    page.run("await scbindReport.ask('TF:ZNF101')")
    heads = "[...document.querySelectorAll('#panel th button')]"
    for key, name in (("potential", "regulatory potential"), ("tf_active", "P(TF active)")):
        assert (
            page.run(f"return {heads}.find((each) => each.textContent === '{name}').title") == sentences[key]
        )
        assert sentences[key] in page.run(words)
    page.run("await scbindReport.ask('population:P1')")
    for key in ("separation", "separation_limit"):
        assert sentences[key] in page.run(words)


SIZES = [(width, dark) for width in (1400, 400) for dark in (False, True)]


@pytest.mark.parametrize(("width", "dark"), SIZES)
def test_many_tfs_and_types_fit_and_every_panel_opens(many, width, dark):
    with Page(many, width=width, dark=dark) as page:
        page.until("document.documentElement.dataset.ready")
        for thing in ("TF:ZNF130", "cell type:cell type 17", "population:P33", "sample:donor_1"):
            page.run(f"await scbindReport.ask({json.dumps(thing)})")
            asked(page, thing)
            assert page.run("return document.documentElement.scrollWidth") <= width
        assert page.problems() == []


@pytest.mark.skipif(AXE is None, reason="the environment variable AXE_CORE does not name axe.min.js")
@pytest.mark.parametrize(("width", "dark"), SIZES)
def test_axe_finds_nothing(report, many, width, dark):
    for path in (report, many):
        with Page(path, width=width, dark=dark) as page:
            page.until("document.documentElement.dataset.ready")
            page.run("const style = document.createElement('style');"  # so that axe sees what is far below, too
                     "style.textContent = 'section, .table { content-visibility: visible !important; }';"
                     "document.head.append(style);"
                     "document.querySelectorAll('details').forEach((each) => { each.open = true; })")  # fmt: skip
            for thing in ("TF:ZNF101", "cell type:cell type 02", "population:P1", "gene:NONE"):
                page.run(f"await scbindReport.ask({json.dumps(thing)})")
                assert page.violations() == []
