"""The page of loci in a browser: every control is used, igv.js draws, and nothing is asked of any other place."""

import json

import pytest
from benchmark import load_benchmark
from browser import AXE, BROWSER, Page
from scbind.report.loci import write_loci

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on the PATH")
RUN_SHAPE = {"tfs": 4, "types": 10, "samples": 2, "peaks": 60, "sites": 6, "genes": 12}
SHOWN = "document.documentElement.dataset.shows"


@pytest.fixture(scope="module")
def loci(tmp_path_factory):
    """The path of a page of four TFs, the last of them known by its motif only."""
    benchmark = load_benchmark("loci")
    folder = tmp_path_factory.mktemp("loci")
    write_loci(benchmark.make_inputs(folder, benchmark.Shape(**RUN_SHAPE)), folder / "loci.html")
    return folder / "loci.html"


@pytest.fixture
def page(loci):
    with Page(loci, wait=120) as page:
        page.until("document.documentElement.dataset.ready")
        yield page
        assert page.problems() == []


def text(page, name):
    return page.run(f"return document.getElementById({json.dumps(name)}).innerText")


def choose(page, name, value):
    """Give a control another value, as the user does, and wait for the view."""
    page.run(f"delete {SHOWN}; const c = document.getElementById({json.dumps(name)});"
             f"c.value = {json.dumps(value)}; c.dispatchEvent(new Event('change'))")  # fmt: skip
    page.until(SHOWN)


def click(page, selector):
    page.run(f"delete {SHOWN}; document.querySelector({json.dumps(selector)}).click()")
    page.until(SHOWN)


CANVASES = "[...document.getElementById('igv').shadowRoot.querySelectorAll('.igv-viewport canvas')]"


def coloured(page):
    """The number of pixels of each canvas of igv.js that are neither transparent nor grey."""
    return page.run(
        "await new Promise((done) => setTimeout(done, 500));"
        f"return {CANVASES}.map((c) => {{ if (!c.width) return 0;"
        "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0;"
        "for (let i = 0; i < d.length; i += 4) if (d[i + 3] && (d[i] !== d[i + 1] || d[i] !== d[i + 2])) n++;"
        "return n; })"
    )


def test_the_first_tf_is_drawn_with_sequence_and_tracks(page):
    assert page.run(f"return {SHOWN}").startswith("ZNF100@")
    drawn = coloured(page)
    assert sum(count > 50 for count in drawn) >= 10, drawn
    labels = page.run(
        "const root = document.getElementById('igv').shadowRoot;"
        "return [...root.querySelectorAll('.igv-track-label')].map((label) => label.innerText)"
    )
    assert labels[:3] == ["Genes", "Peaks", "Best sites"] and labels[4:12:2] == ["ZNF100"] * 4
    assert len(labels) == 3 + 2 * 8
    assert labels[3] == page.run("return document.querySelector('#sites tr td:nth-child(3)').innerText")


def test_the_wheel_scrolls_the_page_past_the_tracks(page):
    x, y = page.run(
        "const e = document.getElementById('igv'); e.scrollIntoView({behavior: 'instant'});"
        "const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + 200]"
    )
    view, before = page.run("return scbindLoci.view()"), page.run("return window.scrollY")
    page.mouse("mouseWheel", x, y, deltaX=0, deltaY=-90)
    page.until(f"window.scrollY === {before} - 90")
    assert page.run("return scbindLoci.view()") == view


def test_a_list_wider_than_a_phone_says_so(loci):
    with Page(loci, width=400, wait=120) as page:
        page.until("document.documentElement.dataset.ready")
        page.until("document.querySelector('.edge').dataset.more === 'right'")
        assert (
            page.run("return getComputedStyle(document.querySelector('.edge'), '::after').content") == '"›"'
        )
        assert page.run("return document.documentElement.scrollWidth") <= 400


def test_a_tf_a_type_and_a_site_are_chosen(page):
    choose(page, "pick", "ZNF103")
    assert "No ChIP-seq was used for ZNF103" in text(page, "told")
    choose(page, "type", "4")
    rows = page.run(
        "return [...document.querySelectorAll('#sites tr')].map((row) => row.innerText.split('\\t'))"
    )
    assert [row[3] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert {row[2] for row in rows} == {"cell type 05"}
    click(page, "#sites tr:nth-child(3) button")
    assert text(page, "where") == f"{rows[2][0]}: ZNF103, rank 3 in cell type 05"
    click(page, "#next")
    assert text(page, "where").startswith(rows[3][0])
    click(page, "#previous")
    click(page, "#previous")
    click(page, "#previous")
    assert text(page, "where").startswith(rows[0][0])
    assert page.run("return document.getElementById('previous').disabled")
    assert page.run("return document.querySelectorAll('#sites [aria-current=true]').length") == 1


def test_all_types_are_shown_when_asked_for(page):
    choose(page, "shown", "all")
    labels = "document.getElementById('igv').shadowRoot.querySelectorAll('.igv-track-label').length"
    assert page.run(f"return {labels}") == 3 + 2 * 10


def test_a_gene_lists_the_sites_around_its_start(page):
    gene = page.run(
        "return [...document.querySelectorAll('#names option')].find((o) => o.label === 'gene').value"
    )
    choose(page, "pick", gene)
    assert f"within 10 kb of the start of {gene}" in text(page, "told")
    far = page.run("return [...document.querySelectorAll('#sites td:last-child')]"
                   ".map((cell) => Number(cell.innerText.replace(/[−+,]| bp$/g, '')))")  # fmt: skip
    assert far and far == sorted(far) and far[-1] <= 10_000
    assert not page.run("return document.getElementById('distance').hidden")


def test_an_unknown_name_is_said(page):
    choose(page, "pick", "no such TF")
    assert text(page, "told") == "No TF or gene of this page is named no such TF."
    assert text(page, "where") == "No site" and page.run(f"return {SHOWN}") == "nothing"


def test_the_view_moves_within_its_window(page):
    low, high = page.run("return scbindLoci.window()")
    seen = [page.run("return scbindLoci.view()")]
    for name in ("in", "right", "left", "out", "whole"):
        page.run(f"document.getElementById('{name}').click()")
        page.until(
            f"JSON.stringify(scbindLoci.view()) !== {json.dumps(json.dumps(seen[-1], separators=(',', ':')))}"
        )
        seen.append(page.run("return scbindLoci.view()"))
    widths = [end - start for start, end in seen]
    assert widths[1] == pytest.approx(widths[0] / 2, abs=2) and widths[2] == pytest.approx(widths[1], abs=2)
    assert seen[2][0] > seen[1][0] > seen[0][0] and seen[3] == pytest.approx(seen[1], abs=2)
    assert seen[5] == pytest.approx([low, high], abs=1)


def test_a_link_opens_a_tf(page):
    page.run(f"delete {SHOWN}; location.hash = '#ZNF102'")
    page.until(f"({SHOWN} || '').startsWith('ZNF102@')")
    assert page.run("return document.getElementById('pick').value") == "ZNF102"


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (400, True)])
def test_nothing_is_wider_than_the_window_and_all_controls_have_names(loci, width, dark):
    with Page(loci, width=width, dark=dark, wait=120) as page:
        page.until("document.documentElement.dataset.ready")
        assert page.run("return document.documentElement.scrollWidth") <= width
        unnamed = page.run(
            "return [...document.querySelectorAll('main button, main input, main select')].filter((c) => "
            "!(c.getAttribute('aria-label') || c.innerText || (c.labels && c.labels.length))).map((c) => c.id)"
        )
        assert unnamed == [] and sum(count > 20 for count in coloured(page)) >= 6
        assert page.problems() == []


ROOT = "document.getElementById('igv').shadowRoot"
FOCUS = f"return (({{ localName, textContent }}) => localName + ' ' + textContent.trim())({ROOT}.activeElement || {{}})"
OPEN = (
    f'return [...{ROOT}.querySelectorAll(\'.igv-menu-popup, [class*="-dialog-container"], '
    ".igv-ui-colorpicker-container')].filter((box) => box.getClientRects().length).length"
)


def test_the_menus_of_tracks_work_by_keyboard(page):
    gears = f"{ROOT}.querySelectorAll('.igv-gear-menu-column > div > div > svg')"
    names = page.run(f"return [...{gears}].map((gear) => gear.getAttribute('aria-label'))")
    assert names[:3] == ["Menu of track 1, sequence", "Menu of track 2, Genes", "Menu of track 3, Peaks"]
    assert len(names) == len(set(names)) == 1 + 3 + 2 * 8 and names[5].endswith(", ZNF100")
    page.run("document.getElementById('whole').focus()")
    page.key("Tab")
    page.key("Tab")
    assert page.run(f"return {ROOT}.activeElement === {gears}[1]"), "in the order of Tab, after the buttons"
    page.run(f"{gears}[4].focus()")
    page.key("Enter")
    assert page.run(FOCUS) == "div Set track height" and page.run(OPEN) == 1
    page.key("ArrowDown")
    page.key("ArrowDown")
    assert page.run(FOCUS) == "div Set track color"
    page.key("ArrowUp")
    page.key("Escape")
    assert page.run(OPEN) == 0 and page.run(f"return {ROOT}.activeElement === {gears}[4]")
    page.key("Enter")
    page.key("Enter")
    assert page.run(FOCUS) == "input " and page.run(OPEN) == 1, "the dialog of the height"
    page.write("9")
    page.key("Tab")
    assert page.run(FOCUS) == "div OK"
    page.key("Tab")
    assert page.run(FOCUS) == "div Cancel"
    page.key("Enter")
    assert page.run(OPEN) == 0 and page.run(f"return {ROOT}.activeElement === {gears}[4]")
    page.key("Enter")
    page.key("ArrowDown")
    page.key("ArrowDown")
    page.key("Enter")
    assert page.run(FOCUS).startswith("div") and page.run(OPEN) == 1, "the choice of a colour"
    page.key("Escape")
    assert page.run(OPEN) == 0 and page.run(f"return {ROOT}.activeElement === {gears}[4]")
    page.key("Enter")
    page.key("ArrowDown")
    assert page.run(FOCUS) == "div Set track name"
    page.key("Enter")
    page.write("a name of mine, ")
    page.key("Tab")
    page.key("Enter")
    assert page.run(OPEN) == 0
    label = page.run(f"return {ROOT}.querySelectorAll('.igv-track-label')[3].innerText")
    assert "a name of mine" in label, "what was chosen by keys is done"


def test_what_igv_leaves_to_the_mouse_is_known(page):
    """Each part that asks for a click can be reached by Tab, apart from these; the guide names them."""
    left = page.run(
        f"return [...{ROOT}.querySelectorAll('*')].filter((each) => each.getClientRects().length && "
        "['pointer', 'move', 'grab', 'ns-resize'].includes(getComputedStyle(each).cursor) && "
        "!each.closest('[tabindex=\"0\"], svg[role=button]') && !each.querySelector('[tabindex=\"0\"]')"
        ").map((each) => each.className.baseVal ?? each.className)"
    )
    assert set(left) <= {"igv-track-label", "igv-track-drag-handle igv-track-drag-handle-color"}


@pytest.mark.skipif(AXE is None, reason="the environment variable AXE_CORE does not name axe.min.js")
@pytest.mark.parametrize(("width", "dark"), [(w, d) for w in (1400, 400) for d in (False, True)])
def test_axe_finds_nothing(loci, width, dark):
    with Page(loci, width=width, dark=dark, wait=120) as page:
        page.until("document.documentElement.dataset.ready")
        assert page.violations() == []
        page.run(f"{ROOT}.querySelectorAll('.igv-gear-menu-column > div > div > svg')[4].focus()")
        page.key("Enter")
        assert page.run(OPEN) == 1 and page.violations() == [], "with the menu of a track"
        page.key("Enter")
        assert page.run(OPEN) == 1 and page.violations() == [], "with a dialog"


def test_an_old_browser_is_told(loci, tmp_path):
    old = tmp_path / "old.html"
    page_text = loci.read_text().replace(
        "<head>", "<head><script>delete window.DecompressionStream</script>", 1
    )
    old.write_text(page_text)
    with Page(old) as page:
        page.until("!document.getElementById('too-old').hidden")
        assert page.run("return document.getElementById('explorer').hidden") and page.problems() == []
