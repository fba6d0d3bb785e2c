"""The report of a large run: figures and tables choose what they show, and say so. Figures are measured, not drawn."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from scbind.analysis.activitytable import Activity
from scbind.formats.colours import colours_of
from scbind.report import sections, summary
from scbind.report import tables as report_tables
from scbind.report.cautions import cautions
from scbind.report.choice import in_order, spaced
from scbind.report.models import evaluation
from scbind.report.pack import unpack
from scbind.report.page import _render
from scbind.report.read import Inputs
from scbind.report.style import DPI, MANY
from scbind.report.tables import join_names, within_budget
from scbind.report.typeplots import motif_support
from scbind.report.umapplots import umap_types

TFS = [f"TF{number:03}" for number in range(300)]
TYPES = [f"type {number:02}" for number in range(25)]
CELLS = 50


def grid(**columns):
    return pd.MultiIndex.from_product(columns.values(), names=columns).to_frame(index=False)


def tables(rng):
    easy = dict(zip(TFS, rng.permutation(np.linspace(0.02, 0.9, 300)), strict=True))
    metrics = grid(model=["scbind", "accessibility"], cell_line=["K", "L"], tf=TFS, split=["test"])
    metrics = metrics.assign(
        auprc=metrics["tf"].map(easy) + 0.05 * (metrics["cell_line"] == "L"), prevalence=0.01, n_windows=1000,
        n_bound=10, auroc=0.9, log2_gain=1.0, recall_at_fdr10=0.1, recall_at_fdr50=0.2, ece=0.01,
    )  # fmt: skip
    needed = grid(model=["scbind", "accessibility"], tf=TFS)
    needed = needed.assign(fragments_needed=1000.0 + np.arange(600) % 300, at_most=needed["tf"] > "TF290")
    needed["depth_needed"] = 1e-6 * needed["fragments_needed"]
    tests = grid(contrast=["cell_type", "condition"], cell_type=TYPES, group=["one", "two"], tf=TFS)
    effect = rng.uniform(-1, 3, len(tests))
    tests = tests.assign(
        reference="others", difference=effect, effect_size=effect, mean_binding=0.1, mean_binding_reference=0.1,
        p_adjusted=1e-3, n_replicates=0, test="cells",
    )  # fmt: skip
    links = grid(cell_type=[f"{name}{half}" for name in TYPES for half in "ab"], tf=TFS).assign(
        gene="G", chrom="chr1", top_window_start=5, potential=1.0, rank=1, specificity=rng.normal(size=15_000),
        top_window_distance=3, top_window_binding=0.5,
    )  # fmt: skip
    motifs = grid(cell_type=TYPES, tf=TFS, rank=[1, 2])
    motifs = motifs.assign(
        motif="M", own=motifs["rank"] == 1, n_motifs=300, sites_with_motif=0.5, background_with_motif=0.1,
        odds_ratio=rng.uniform(0.5, 9, 15_000), p_adjusted=rng.uniform(0, 0.06, 15_000),
        reliability_level="high", reliability_abstained=motifs["tf"] < "TF030",
    )  # fmt: skip
    return {
        "metrics": metrics, "needed": needed, "differential": tests, "targets": links, "motifs": motifs,
    }  # fmt: skip


@pytest.fixture(scope="module")
def large():
    """Inputs with 300 TFs and 25 types; ``draw`` keeps the figure instead of drawing it."""
    rng = np.random.default_rng(0)
    kinds = np.array(TYPES)[np.arange(CELLS) % 25]
    obs = pd.DataFrame({"sample": "one", "cell": [str(i) for i in range(CELLS)], "cell_type": kinds})
    var = pd.DataFrame({"abstained": [tf < "TF030" for tf in TFS]}, index=TFS)
    z = rng.normal(size=(CELLS, 300))
    data = Activity(z, z, obs, var, rng.normal(size=(CELLS, 2)), np.zeros(z.shape, dtype=bool))
    recall = np.linspace(0, 1, 11)
    curve = {
        "tfs": np.array(TFS), "recall": recall, "precision": rng.random((300, 1)) * (1 - recall),
        "prevalence": np.full(300, 0.01), "calibration_predicted": recall[1:], "calibration_observed": recall[1:],
        "calibration_count": np.ones(10),
    }  # fmt: skip

    def draw(name, figure, caption):
        width, height = (round(side * DPI) for side in figure.get_size_inches())
        kept = {
            "src": name,
            "link": "",
            "file": "",
            "alt": caption,
            "caption": caption,
            "width": width,
            "height": height,
        }
        return kept | {"figure": figure}

    return Inputs(
        data=data, cells=None, borrowed=None, tables=tables(rng), curves={"scbind": curve}, training={},
        models=["scbind"], n_windows=None, peaks=None, provenance=[], draw=draw,
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(large):
    return {section.id: section for make in sections.SECTIONS if (section := make(large)) is not None}


def test_cells_of_a_simulation_are_known_by_their_truth_or_their_files(large):
    sheet = ("sheets.tsv", "samples\t2\tD1\tresources/cohort/sc/D1.fragments.tsv.gz")
    assert not large.simulated and replace(large, provenance=[sheet]).simulated
    assert replace(large, tables=large.tables | {"truth_cells": pd.DataFrame()}).simulated


def test_the_summary_says_what_differs_between_conditions():
    columns = {"contrast": "condition", "group": "sick", "reference": "well"}
    tests = ("JUND", 1.0, 0.001), ("CTCF", -2.0, 0.01), ("SPI1", 3.0, 0.5), ("YY1", 0.1, None)
    rows = [columns | {"tf": tf, "cell_type": "B", "difference": d, "p_adjusted": p} for tf, d, p in tests]
    counted = pd.DataFrame([columns | {"name": "B", "log2_odds_ratio": 1.0, "p_adjusted": 0.3}])
    found = summary._condition_points({"differential": pd.DataFrame(rows), "abundance": counted})
    assert found == [
        "Conditions, sick against well: differences in the activity of a TF within a cell type (adjusted p < 0.05, "
        "3 tests): JUND in B (more in sick, difference of z 1, adjusted p 0.00100) and CTCF in B (less in sick, "
        "difference of z -2, adjusted p 0.0100).",
        "Conditions, sick against well: differences in the frequency of a cell type or population (adjusted p < 0.05, "
        "1 test): none; the smallest p: B (more in sick, log2 odds ratio 1, adjusted p 0.300).",
    ]
    assert summary._condition_points({}) == []


def test_the_summary_names_the_types_that_no_tf_marks():
    rows = [
        ("B", "PAX5", 3.0, 0.001),
        ("T", "PAX5", 1.0, 0.4),
        ("NK", "PAX5", -1.0, 0.01),
        ("pDC", "PAX5", 1.0, None),
    ]
    table = pd.DataFrame(rows, columns=["cell_type", "tf", "difference", "p_adjusted"])
    table = table.assign(contrast="cell_type", effect_size=table["difference"], n_replicates=3)
    table.loc[3, "n_replicates"] = 0  # not tested, so it does not say that there are no replicates
    types = ["B", "NK", "T", "mast", "pDC"]
    assert summary._differential_points(table, types, ["mast"], 20) == [
        "TFs with the largest positive effect size in each cell type (adjusted p < 0.05): B: PAX5. No TF is "
        "significantly more active in NK or T. 3 of 5 cell types were compared: mast has fewer than 20 cells "
        "(analysis.min_cells). Not tested: pDC."
    ]
    none = table[table["cell_type"] == "T"]
    assert summary._differential_points(none, types[:4], ["B", "NK", "mast"], 20) == [
        "No TF is more active in one cell type than in the others (adjusted p < 0.05). 1 of 4 cell types was compared: "
        "B, NK and mast have fewer than 20 cells (analysis.min_cells)."
    ]


def column_of(table, key):
    """All values of a column, as the browser opens them."""
    found = json.loads(unpack(table["pack"]))
    place = [column["key"] for column in found["columns"]].index(key)
    column = found["data"][place]
    for block in table["blocks"]:
        block = json.loads(unpack(block))
        for name, values in block["data"][place].items():
            whole = column.setdefault(name, [None] * found["n"])
            for row, value in zip(np.cumsum(block["rows"]), values, strict=True):
                whole[row] = value
    return column["v"] if "v" in column else [column["l"][code] for code in column["c"]]


def test_the_page_of_many_tfs_stays_small(large, made):
    page = _render([("All", list(made.values()))], large, cautions(large))
    assert page.count("<tr>") < 400 and len(page) < 2.5e6
    figures = [figure for section in made.values() for figure in section.figures]
    assert sum(figure["width"] * figure["height"] for figure in figures) < 30e6, "pixels"
    assert all(len(figure["figure"].axes) <= 21 for figure in figures)
    assert max(figure["height"] for figure in figures) < 3_000
    assert page.count("<img ") == page.count('<img loading="lazy" ') and "content-visibility: auto" in page
    words = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    longest = max(re.findall(r"<(?:p|li|figcaption)[^>]*>(.*?)</", words, re.DOTALL), key=len)
    assert len(longest) < 1_000, longest


def test_text_in_figures_can_be_read(made):
    """At least 11 px in a window of 1,400 px, where the page has 1,096 px for a figure."""
    small = set()
    for section in made.values():
        for each in section.figures:
            figure = each["figure"]
            shown = min(1, 1096 / (figure.get_size_inches()[0] * 96)) * 96 / 72
            for text in figure.findobj(Text):
                if text.get_visible() and text.get_text().strip() and text.get_fontsize() * shown < 11:
                    small.add((each["src"], text.get_text(), text.get_fontsize() * shown))
    assert not small


def test_figures_show_the_whole_range_of_tfs_and_say_which(large, made):
    figures = {figure["src"]: figure for figure in made["evaluation"].figures}
    auprc = large.tables["metrics"].groupby("tf")["auprc"].mean().sort_values()
    shown = [tick.get_text() for tick in figures["auprc"]["figure"].axes[0].get_yticklabels()]
    assert len(shown) == 60 and [shown[0], shown[-1]] == [auprc.index[0], auprc.index[-1]]
    assert np.diff(auprc[shown]).max() < 0.02, "evenly spaced"
    for name, n in (("auprc", 60), ("fragments_needed", 60), ("precision_recall", 20)):
        assert f"Shown: {n} of 300 TFs, evenly spaced in the order of" in figures[name]["caption"]
    assert sum(axis.get_visible() for axis in figures["precision_recall"]["figure"].axes) == 20
    assert "Shown: 60 of 300 TFs" in made["motifs"].figures[0]["caption"]
    rows = [tick.get_text() for tick in made["motifs"].figures[0]["figure"].axes[0].get_yticklabels()]
    starred = {row for row in rows if row.endswith("*")}
    assert len(rows) == 60 and starred and starred == {row for row in rows if row < "TF030"}


def test_tables_of_many_tfs_are_whole(large, made):
    table = made["evaluation"].tables[-2]
    assert table["title"] == "Every TF (scbind)" and table["n"] == 600
    table = made["evaluation"].tables[-1]
    assert table["name"] == "scores" and table["n"] == 600 and set(column_of(table, "tf")) == set(TFS)
    table = made["motifs"].tables[0]
    assert table["n"] == 7_500
    assert set(column_of(table, "tf")[-25 * 30 :]) == set(TFS[:30]), "those on which scbind abstains are last"
    (table,) = made["differential"].tables
    assert table["n"] == 30_000 and set(column_of(table, "cell_type")) == set(TYPES)
    (table,) = made["targets"].tables
    assert table["n"] == 15_000


def test_a_table_beyond_the_budget_keeps_the_first_ranks_and_says_so(monkeypatch):
    monkeypatch.setattr(report_tables, "MAX_ROWS", 250)
    rows = pd.DataFrame({"tf": np.repeat(TFS[:100], 5), "rank": np.tile(np.arange(1, 6), 100)})
    kept, said = within_budget(rows)
    assert (
        kept.groupby("tf")["rank"].max().eq(2).all() and said == "Only rows with rank 2 or lower are shown."
    )
    assert within_budget(rows.head(250))[1] == ""


def test_sentences_name_few(large, made):
    points = " ".join(made["summary"].points)
    assert "13 more cell types are in the table" in points
    (found,) = [each for each in cautions(large) if "abstains" in each.warning]
    assert "TF011 and 18 more)" in found.warning


def test_few_tfs_are_all_shown_and_nothing_is_said(large):
    few = {name: table[table["tf"] < "TF009"] for name, table in large.tables.items()}
    curve = large.curves["scbind"]
    kept = {name: curve[name][:9] for name in ("tfs", "precision", "prevalence")}
    section = evaluation(replace(large, tables=few, curves={"scbind": curve | kept}))
    figures = {figure["src"]: figure for figure in section.figures}
    assert not any("Shown" in figure["caption"] for figure in figures.values())
    assert len(figures["auprc"]["figure"].axes[0].get_yticklabels()) == 9
    table = section.tables[-2]
    assert table["title"] == "Every TF (scbind)" and table["n"] == 18
    assert table["columns"][0]["name"] == "cell line"


def test_a_table_of_several_models_names_them(large):
    section = evaluation(replace(large, models=[], curves={}, tables={"metrics": large.tables["metrics"]}))
    table = section.tables[-2]
    assert table["title"] == "Every TF" and set(column_of(table, "model")) == {"scbind", "accessibility"}


def test_groups_without_a_colour_of_their_own_are_numbered():
    points, kinds = np.random.default_rng(0).normal(size=(200, 2)), np.arange(200) % 20
    for prefix, label, legend in (("cell type ", "12", "12: cell type 11 (10)"), ("P", "P11", "P11 (10)")):
        names = np.array([f"{prefix}{kind:02}" for kind in kinds])
        axis = umap_types(points, names, colours_of(names), "x").axes[0]
        marks = {text.get_text(): text.xy for text in axis.texts}
        assert len(marks) == 20 and marks[label] == pytest.approx(np.median(points[kinds == 11], axis=0))
        assert legend in [text.get_text() for text in axis.get_legend().get_texts()]
        few = kinds < MANY
        assert not umap_types(points[few], names[few], colours_of(names), "x").axes[0].texts
    names = [f"P{kind}" for kind in kinds]
    legend = umap_types(points, names, colours_of(names), "x").axes[0].get_legend().get_texts()
    assert [text.get_text() for text in legend][9:12] == ["P9 (10)", "P10 (10)", "P11 (10)"]


def test_no_mark_covers_another_one():
    rng = np.random.default_rng(0)
    kinds = np.arange(2000) % 40
    places = rng.normal(size=(40, 2))[kinds] + rng.normal(0, 0.05, (2000, 2))
    names = np.array([f"P{kind + 1}" for kind in kinds])
    figure = umap_types(places, names, colours_of(names), "x", named=["P40"])
    figure.draw_without_rendering()
    marks = figure.axes[0].texts
    boxes = [Text.get_window_extent(mark) for mark in marks]
    assert len(boxes) > 30 and marks[0].get_text() == "P40"
    assert not [1 for i, one in enumerate(boxes) for other in boxes[:i] if one.overlaps(other)]
    moved = [mark for mark in marks if mark.get_position() != (0, 0)]
    assert moved and all(mark.arrow_patch is not None for mark in moved)


@pytest.mark.parametrize("prefix", ["P", "cell type ", "a long name of a cell type, number "])
def test_the_legend_leaves_the_umap_its_room(prefix):
    points, kinds = np.random.default_rng(0).normal(size=(300, 2)), np.arange(300) % 60
    names = np.array([f"{prefix}{kind:02}" for kind in kinds])
    figure = umap_types(points, names, colours_of(names), "x")
    figure.draw_without_rendering()
    axis, dpi = figure.axes[0], figure.dpi
    assert min(axis.bbox.width, axis.bbox.height) / dpi > 4
    legend = axis.get_legend().get_window_extent()
    assert legend.width / dpi < 8.6 and legend.y1 <= axis.bbox.y0 + 1 and legend.y0 >= 0


def test_motifs_of_many_types_are_a_heatmap(large):
    table = large.tables["motifs"]
    table = table[table["tf"] < "TF010"]
    axis = motif_support(table, colours_of(TYPES)).axes[0]
    own = table[table["own"]].set_index(["tf", "cell_type"])
    rows, columns = (
        [t.get_text() for t in labels] for labels in (axis.get_yticklabels(), axis.get_xticklabels())
    )
    assert columns == TYPES and rows[0] == own.groupby("tf")["odds_ratio"].median().idxmax()
    shown = axis.images[0].get_array()
    assert shown[3, 4] == pytest.approx(np.log2(own.loc[(rows[3], columns[4]), "odds_ratio"]))
    crossed = {(rows[round(y)], columns[round(x)]) for x, y in axis.collections[0].get_offsets()}
    assert crossed == set(own.index[own["p_adjusted"] >= 0.05]) and crossed
    assert not motif_support(table[table["cell_type"] < TYPES[16]], colours_of(TYPES)).axes[0].images


def test_order_is_that_of_the_leading_model():
    rows = [("b", "X", 0.9), ("a", "X", 0.1), ("a", "Y", 0.5), ("a", "Y", 0.7), ("b", "Z", 0.8)]
    table = pd.DataFrame(rows, columns=["model", "tf", "auprc"])
    assert in_order(table, ["a"], "auprc") == ["Y", "X", "Z"]
    assert in_order(table, ["none"], "auprc") == ["X", "Z", "Y"]


def test_choice_and_its_sentence():
    assert spaced("abc", 3, "AUPRC") == (["a", "b", "c"], "")
    assert join_names("abcd", 2) == "a, b and 2 more" and join_names("ab", 2) == "a and b"
