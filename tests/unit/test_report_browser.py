"""The page in a browser: every control is used, the console stays empty, and nothing is asked of any other place."""

import io
import json
import time

import pandas as pd
import pytest
from benchmark import load_benchmark
from browser import AXE, BROWSER, Page
from scbind.report import tables
from scbind.report.page import write_report

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on the PATH")
RUN_SHAPE = {"tfs": 8, "types": 5, "cells": 240, "samples": 2, "lines": 2, "targets": 12, "populations": 4}


MANY_SHAPE = {"tfs": 60, "types": 30, "cells": 600, "samples": 2, "lines": 2, "targets": 4, "populations": 40}


def write_in(folder, shape):
    """Write the report of made-up inputs of a shape; return its path."""
    benchmark = load_benchmark("report")
    write_report(folder / "report.html", benchmark.make_inputs(folder, benchmark.Shape(**shape)))
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
    for title in ("Activity by cell type", "Precision and recall", "Known motif", "Where ZNF103 differs",
                  "Motif found in the data", "Motifs found for ZNF103",
                  "Genes that ZNF103 probably regulates", "Best sites of ZNF103",
                  "Genes with the most predicted binding of ZNF103", "Models and baselines on ZNF103"):  # fmt: skip
        assert title in words, title
    assert page.run("return document.querySelectorAll('#box svg rect').length") == 5, "a box per type"
    assert (
        page.run("return document.getElementById('colour').selectedOptions[0].text") == "activity of ZNF103"
    )
    assert "ZNF103" in text(page, "#legend")
    page.run("document.getElementById('colour').value = '0';"
             "document.getElementById('colour').dispatchEvent(new Event('change'))")  # fmt: skip
    page.until("document.querySelectorAll('#legend button').length === 5")


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
     ("condition:treated", ["TFs that differ in treated", "Cell types in treated"])],
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
    assert "There is no gene named NONE" in text(page, "#panel")


def test_the_tables_of_a_tf_can_be_kept_to_one_cell_type(page):
    page.run("await scbindReport.ask('TF:ZNF101')")
    count = "return [...document.querySelectorAll('#panel .tools span')].map((each) => each.textContent)"
    kinds = ("return [...document.querySelectorAll('#panel .table')].flatMap((box) => [...box.querySelectorAll("
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


def test_tests_between_conditions_are_apart_from_those_between_cell_types(page):
    """A TF that differs between conditions within a type does not mark the type."""
    page.run("await scbindReport.ask('cell type:cell type 02')")
    rows = page.run(
        "return [...document.querySelectorAll('#panel .tools span')].slice(0, 2).map((e) => e.textContent)"
    )
    heads = page.run("return [...document.querySelectorAll('#panel .table')].slice(0, 2).map((box) => "
                     "[...box.querySelectorAll('th')].map((head) => head.textContent))")  # fmt: skip
    kept = sum(
        not tf["abstained"]
        for tf in page.run("return JSON.parse(document.getElementById('index').textContent)")["tfs"]
    )
    assert rows == [f"1–{kept} of {kept}"] * 2
    assert "reference" not in heads[0] and "group" not in heads[0] and {"group", "reference"} <= set(heads[1])


def test_every_colour_and_every_button_of_the_umap(page):
    n = page.run("return document.getElementById('colour').options.length")
    seen = set()
    for i in range(n):
        coloured(page, i)
        seen.add(drawn(page))
    assert len(seen) == n - 1 > 6, "here a sample is a condition, so these two look alike"
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
        "document.getElementById('ask').scrollIntoView({behavior: 'instant'}); document.getElementById('umap').focus()"
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
    click(page, f"{box} th:nth-child({column}) button")
    values = [float(value) for value in page.run(
        f"return [...document.querySelectorAll('{box} td:nth-child({column})')].map((cell) => cell.innerText)"
    )]  # fmt: skip
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
    assert lines[0].split("\t")[:2] == ["contrast", "group"] and "cell type 03" in lines[1]
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
    page.until("document.getElementById('panel').innerText.includes('Nothing here is named nosuchname.')")


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
    show = "await scbindReport.ask('TF:ZNF130'); return document.getElementById('panel').innerHTML"
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
    made = made[~made["reliability_abstained"]].sort_values(
        ["tf", "binding"], ascending=[True, False], kind="stable"
    )
    keys = ["cell_type", "tf", "rank", "chrom", "start", "end"]
    pd.testing.assert_frame_equal(saved[keys], made[keys].reset_index(drop=True))


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
