"""What the page can be asked: packs of cells and TFs, the warnings, and the lines that end a run."""

import dataclasses
import json
import os

import numpy as np
import pandas as pd
import pytest
from scbind.analysis.activitytable import Activity
from scbind.analysis.differential import CELLS, CELLS_SHARED
from scbind.cells.profiles import Lengths, profile_table
from scbind.plan.closing import closing_lines
from scbind.report import explorer as asked
from scbind.report.cautions import Caution, cautions
from scbind.report.origin import Origin
from scbind.report.pack import MISSING, codes, columnar, pack, pack_blocks, rounded, unpack
from scbind.report.read import Borrowed, Inputs, drawer, read_learned
from scbind.report.reliability import depth_scores, why
from scbind.report.style import new_figure

TYPES = ["B", "T"]


@pytest.fixture
def inputs():
    rng = np.random.default_rng(0)
    obs = pd.DataFrame(
        {"sample": ["s"] * 40, "cell": [str(i) for i in range(40)], "cell_type": ["B", "T"] * 19 + [None, "B"],
         "n_fragments": np.arange(1, 41) * 100, "donor": None}
    )  # fmt: skip
    var = pd.DataFrame(
        {"level": ["high", "low", "unknown"], "abstained": [False, True, True], "auprc_least": [0.6, 0.05, np.nan],
         "prevalence": [0.02, 0.02, 0.001], "n_bound": [100.0, 50.0, 3.0], "min_depth": [0.01, np.nan, np.nan]},
        index=["CTCF", "SPI1", "RARE"],
    )  # fmt: skip
    z = rng.normal(size=(40, 3))
    shallow = np.zeros((40, 3), dtype=bool)
    shallow[:10, 0] = True
    umap = rng.normal(size=(40, 2))
    umap[5] = np.nan
    data = Activity(z, np.abs(z), obs, var, umap, shallow)
    return Inputs(
        data=data, cells=None, borrowed=None, tables={}, curves={}, training={}, models=[], n_windows=None, peaks=None,
        provenance=[], draw=None,
    )  # fmt: skip


def array(packs, name, kind):
    return np.frombuffer(unpack(packs[name]), dtype=kind)


def test_packs_hold_the_cells_in_one_order(inputs):
    index, packs = asked.explorer(inputs)
    assert index["cells"] == {"shown": 39, "seen": 39, "all": 40}
    json.dumps(index, allow_nan=False)
    kept = [i for i in range(40) if i != 5]
    kinds = inputs.data.obs["cell_type"].fillna("").astype(str)
    rows = sorted(kept, key=lambda i: (kinds[i], i))
    places = array(packs, "xy", "<u2").reshape(-1, 2)
    umap = inputs.data.umap[rows]
    assert np.corrcoef(places[:, 0], umap[:, 0])[0, 1] > 0.9999 and places.max() == 65_535
    type_codes = array(packs, "c-0", "<u2")
    assert [TYPES[c] if c < 2 else "" for c in type_codes] == [kinds[i] for i in rows]
    assert [each["name"] for each in index["colourings"]] == ["cell type", "sample", "unique fragments"]
    z, step = array(packs, "z-0", np.uint8), 2 * index["tfs"][0]["limit"] / index["steps"]
    for code, row in zip(z, rows, strict=True):
        if inputs.data.shallow[row, 0]:
            assert code == MISSING
        elif abs(inputs.data.z[row, 0]) < index["tfs"][0]["limit"] * 0.99:
            middle = (code + 0.5) * step - index["tfs"][0]["limit"]
            assert abs(middle - inputs.data.z[row, 0]) < step
    assert index["tfs"][0]["shallow"] == 0.25


def test_many_cells_are_a_stated_sample(inputs, monkeypatch):
    monkeypatch.setattr(asked, "MOST_CELLS", 20)
    index, packs = asked.explorer(inputs)
    assert len(array(packs, "z-1", np.uint8)) == 20 == index["cells"]["shown"]
    assert "a random sample of 20 of 39 cells" in asked.described(index)[0]
    assert asked.explorer(inputs)[1] == packs, "the same sample each time"


def test_boxes_are_quantiles_over_the_cells_that_can_be_read(inputs):
    index, packs = asked.explorer(inputs)
    found = [entry["box"] for entry in json.loads(unpack(packs["t-0"]))]
    values = inputs.data.readable[:, 0][(inputs.data.obs["cell_type"] == "B").to_numpy()]
    values = np.sort(values[np.isfinite(values)])
    assert found[0][0][5] == len(values) == 15
    assert found[0][0][2] == pytest.approx(values[7], abs=0.01)
    assert asked.boxes(np.full((2, 1), np.nan), pd.Series(["B", "B"]), ["B"]) == [[[None] * 5 + [0]]]


def test_why_a_tf_is_reliable_or_not(inputs):
    said = [why(row) for _, row in inputs.data.var.iterrows()]
    assert "0.600: high (at least 0.5)." in said[0] and "0.0100 insertions per base" in said[0]
    assert said[1].startswith("scbind abstains on this TF") and "low (below 0.1)" in said[1]
    assert "less than 4 times the prevalence (0.0200)" in said[1]
    assert "Only 3 validation windows are bound (at least 10 are needed)" in said[2]


def test_a_motif_tf_is_said_to_be_tested_only_where_it_was():
    facts = pd.Series({"evidence": "motif", "auprc_expected": 0.3, "level": "medium"}, name="FOS")
    assert "This TF itself was not tested." in why(facts)
    said = why(facts, tested=True)
    assert "was tested with the ChIP-seq of this run" in said and "not tested" not in said


def test_the_auprc_and_the_conservative_auprc_have_their_own_names(inputs):
    """The level follows from the conservative AUPRC, and the minimum depth from the other one."""
    var = inputs.data.var.assign(auprc=[0.65, 0.09, np.nan])
    said = [why(row) for _, row in var.iterrows()]
    assert "the AUPRC is 0.650. The conservative AUPRC, 0.600, decides: high (at least 0.5)." in said[0]
    assert "At least half of the AUPRC remains at 0.0100 insertions per base" in said[0]
    assert "The conservative AUPRC is less than 4 times the prevalence" in said[1]
    said = why(inputs.data.var.assign(auprc=0.6).iloc[0])  # all windows were used: there is one value
    assert "the AUPRC is 0.600: high (at least 0.5)." in said and "conservative" not in said


def test_accuracy_at_the_depth_of_the_cells(inputs):
    inputs.data.obs["borrowed_depth"] = 0.01
    rows = [("m", "K", "CTCF", 0.1, 0.8), ("m", "K", "CTCF", 0.001, 0.4), ("m", "L", "CTCF", 0.02, 0.2),
            ("other", "K", "CTCF", 0.01, 0.9), ("m", "K", "SPI1", 0.01, np.nan)]  # fmt: skip
    depth = pd.DataFrame(rows, columns=["model", "cell_line", "tf", "depth", "auprc"])
    changed = dataclasses.replace(inputs, tables={"depth": depth}, models=["m"])
    found = depth_scores(changed)
    assert list(found.index) == ["CTCF"] and found.loc["CTCF"].tolist() == pytest.approx(
        [(0.6 + 0.2) / 2, 0.5]
    )
    index, _ = asked.explorer(changed)
    assert index["cell_depth"] == 0.01 and index["tfs"][0]["at"] == [0.4, 0.5] and "at" not in index["tfs"][1]
    assert depth_scores(inputs).empty, "nothing was thinned"


def test_packed_values():
    assert unpack(pack(b"abc" * 100)) == b"abc" * 100 and pack(b"x") == pack(b"x")
    noise = np.random.default_rng(0).integers(0, 11, 100_000).astype(np.uint8).tobytes()
    assert unpack(pack(noise)) == noise and len(pack(noise)) < 0.46 * 4 / 3 * len(noise)
    assert rounded([1.23456, np.nan, 3.0, 20_140_450, 123456.5]) == [1.235, None, 3, 20_140_450, 123500]
    assert codes(np.array([-9, -1, 0, 0.99, 9, np.nan]), -1, 1, 4).tolist() == [0, 0, 2, 3, 3, MISSING]
    table = pd.DataFrame({"a": ["x", None, "x"], "b": [True, False, True], "c": [1.5, np.nan, 2]})
    places = pd.DataFrame({"start": [5, 2], "x": [0.5, 1.5], "end": [205, 202], "other": [205, 203]})
    assert columnar(places)[2:] == [{"from": 0, "add": 200}, {"v": [205, 203]}]
    assert columnar(table) == [
        {"l": ["x", ""], "c": [0, 1, 0]}, {"l": ["yes", "no"], "c": [0, 1, 0]}, {"v": [1.5, None, 2]},
    ]  # fmt: skip


def test_a_text_that_follows_from_tf_and_type_is_stored_once_for_them():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"tf": rng.choice(["A", "B", "C"], 60), "cell_type": rng.choice(["x", "y"], 60)})
    table["level"] = table["tf"].map({"A": "high", "B": "low", "C": "high"})
    table["mark"] = table["tf"].str.cat(table["cell_type"])
    table["free"] = rng.choice(["one", "two"], 60)
    tf, kind, level, mark, free = columnar(table)
    assert (level["of"], mark["of"]) == ([0], [0, 1]) and "of" not in free and "of" not in kind
    for row in range(60):
        assert level["l"][level["m"][tf["c"][row]]] == table["level"][row]
        assert mark["l"][mark["m"][2 * tf["c"][row] + kind["c"][row]]] == table["mark"][row]
    assert "of" not in columnar(table.head(5))[3], "shorter as it is"
    assert columnar(table.head(0)) == [{"l": [], "c": []}] * 5, "no rows"
    table.loc[7, "level"] = "unlike the others of its TF"
    assert "of" not in columnar(table)[2]


def test_blocks_hold_every_row_of_their_tfs_once():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"tf": rng.choice([f"T{i}" for i in range(7)], 60), "start": np.arange(60) * 3})
    table = table.assign(end=table["start"] + 200, score=rng.random(60).round(3))
    head, blocks = pack_blocks(table, {"n": 60}, "tf", 20)
    head = json.loads(unpack(head))
    assert head["n"] == 60 and head["blocks"] == len(blocks) == 4 and head["per"] == 2
    assert head["data"][2] == {"from": 1, "add": 200} and head["data"][1] == {}
    seen = {}
    for number, block in enumerate(blocks):
        block = json.loads(unpack(block))
        for row, code, start, score in zip(
            np.cumsum(block["rows"]), block["data"][0]["c"], block["data"][1]["v"], block["data"][3]["v"], strict=True
        ):  # fmt: skip
            assert code // head["per"] == number
            seen[row] = head["data"][head["by"]]["l"][code], start, score
    assert [seen[row] for row in range(60)] == list(
        table[["tf", "start", "score"]].itertuples(index=False, name=None)
    )


def test_what_the_panel_of_a_tf_draws(inputs):
    recall = np.linspace(0, 1, 3)
    curves = {
        name: {"tfs": np.array(["SPI1", "CTCF"]), "recall": recall, "precision": np.array([[1, 0.5, by], [1, 1, 0.25]]),
               "prevalence": np.array([by, 0.02])} for name, by in (("scbind", 0.01), ("other", 0.2))
    }  # fmt: skip
    inputs = dataclasses.replace(inputs, curves=curves, matrices={"CTCF": np.zeros((4, 2))})
    index, packs = asked.explorer(inputs)
    ctcf, spi1, rare = json.loads(unpack(packs["t-0"]))
    assert index["recall"] == {"scbind": [0, 0.5, 1], "other": [0, 0.5, 1]}
    assert np.cumsum(spi1["precision"]["other"]).tolist() == [1000, 500, 200] and spi1["prevalence"] == 0.01
    assert np.cumsum(ctcf["precision"]["scbind"]).tolist() == [1000, 1000, 250]
    assert ctcf["motifs"] == {"known": [[0, 0, 0, 0]] * 2} and rare["motifs"] == rare["precision"] == {}


def test_where_genes_are_by_the_number_of_their_name():
    genes = pd.DataFrame(
        [("B", "chr2", 30, 90, "-"), ("C", "chr1", 5, 7, "+"), ("A", "chr1", 100, 160, "+"), ("B", "chr1", 8, 9, "+")],
        columns=["gene", "chrom", "start", "end", "strand"],
    )  # fmt: skip
    found = asked.gene_places({"b", "C", "B"}, genes)
    assert found == {"chroms": ["chr1", "chr2"], "chrom": [0, 1, 0], "start": [8, 30, 5], "gene": [0, 0, 1],
                     "length": [1, 60, 2], "plus": [1, 0, 1]}, "sorted: B, C, b; A is not in the page"  # fmt: skip
    assert asked.gene_places(["A"], None)["gene"] == []


def test_letters_of_a_logo_are_as_high_as_their_information():
    certain, even = np.array([2.0, -20, -20, -20]), np.zeros(4)
    assert asked._letters(np.stack([certain, even], axis=1)) == [[2, 0, 0, 0], [0, 0, 0, 0]]


def test_logos_of_a_tf(inputs):
    one, two = np.zeros((4, 2)), np.zeros((4, 3))
    motifs = {"matrices": {"CTCF": one}, "found": {"CTCF": two, "SPI1": one}, "learned": {"SPI1": two}}
    drawn = json.loads(unpack(asked.explorer(dataclasses.replace(inputs, **motifs))[1]["t-0"]))
    assert [{name: len(matrix) for name, matrix in tf["motifs"].items()} for tf in drawn] == [
        {"known": 2, "found": 3},
        {"found": 2, "learned": 3},
        {},
    ]
    assert read_learned(None) == {}


def test_frozen_inputs_compute_their_colours_once(inputs):
    assert inputs.colours is inputs.colours
    with pytest.raises(dataclasses.FrozenInstanceError):
        inputs.models = ["other"]
    more = dataclasses.replace(inputs, training={"m": None}, models=["m"])
    assert set(more.model_colours) == {"m"} and inputs.model_colours == {}


def warned(inputs, **changes):
    return " ".join(" ".join(found) for found in cautions(dataclasses.replace(inputs, **changes)))


def test_each_warning_has_its_cause(inputs):
    (only,) = cautions(inputs)
    assert only == Caution(only.warning, only.consequence, only.setting) and "2 of 3 TFs" in only.warning
    cells = pd.DataFrame({"sample": ["good"] * 4 + ["bad"] * 4, "pass": [True] * 4 + [True] + [False] * 3})
    found = warned(inputs, cells=cells)
    assert "No TSS enrichment is known" in found and "genome.genes" in found
    assert "bad (25%)" in found and "good" not in found
    assert "TSS" not in warned(inputs, cells=cells.assign(tss_enrichment=3.0))
    curves = [
        profile_table(Lengths(), np.full(200, height)).assign(sample=name)
        for name, height in (("flat", 1.0), ("good", 5.0))
    ]
    found = warned(inputs, profiles=pd.concat(curves))
    assert "beside them: flat (1.00 times)." in found and "different assemblies" in found
    assert "beside them" not in warned(inputs, profiles=curves[1])
    obs = inputs.data.obs.assign(donor=None)
    assert "donor is not given" not in warned(inputs, data=dataclasses.replace(inputs.data, obs=obs))
    obs = obs.assign(sample="s1", donor="d1")
    obs.iloc[0, obs.columns.get_indexer(["sample", "donor"])] = ["s2", None]
    said = warned(inputs, data=dataclasses.replace(inputs.data, obs=obs))
    assert "Donors are given for some samples but not for s2." in said and "column donor" in said
    counts = inputs.data.obs["cell_type"].value_counts()
    most = counts.max()
    assert "cell type" not in warned(inputs, smallest_type=counts.min())
    found = warned(inputs, smallest_type=most)
    assert f"1 of 2 cell types has fewer than {most} cells: {counts.index[-1]}. It is not compared" in found
    found = warned(inputs, smallest_type=most + 1)
    assert f"No cell type has {most + 1} cells; the largest is" in found and "analysis.min_cells" in found
    total = np.r_[np.full(5, 100.0), np.full(5, 900.0)]
    borrowed = Borrowed(np.ones(10), total, np.ones(10), np.full(10, 0.1))
    assert "50% of the cells have fewer than 500 fragments" in warned(inputs, borrowed=borrowed, target=500)
    assert "fragments even after" not in warned(inputs, borrowed=borrowed, target=50)
    assert "cells of its sample (median)" not in warned(inputs, borrowed=borrowed, target=500)
    crowded = borrowed._replace(share=np.full(10, 0.9))
    assert "The signal of a cell comes from 90% of the cells of its sample (median)." in warned(
        inputs, borrowed=crowded, target=50
    )
    peaks = pd.DataFrame({"cell_type": ["B", "T"], "source": ["cell type", "samples"]})
    assert "Cell types without peaks of their own: T." in warned(inputs, peaks=peaks)
    assert "doublets" not in warned(inputs, peaks=peaks)
    peaks["caution"] = ["", "probably doublets of A and B"]
    n = int((inputs.data.obs["cell_type"] == "T").sum())
    said = f"Cell types that are probably not real: T ({n} cells, probably doublets of A and B)."
    assert said in warned(inputs, peaks=peaks)
    tests = pd.DataFrame({"test": ["not tested: too few", "cells, no replicates: p-values describe"]})
    tests = tests.assign(contrast="cell_type", cell_type="B")
    assert "There are fewer than three replicates per group." in warned(
        inputs, tables={"differential": tests}
    )
    assert "replicates" not in warned(inputs, tables={"differential": tests.head(1)})
    some = pd.DataFrame(
        {"test": ["Welch t-test over replicates", "cells, no replicates: p"], "cell_type": ["B", "T"]}
    ).assign(contrast="condition")
    said = "There are fewer than three replicates per group: conditions within T."
    assert said in warned(inputs, tables={"differential": some})
    some["test"] = ["Welch t-test over replicates, without those in both groups", CELLS_SHARED]
    said = "Replicates are in both groups, and fewer than three others per group: conditions within T."
    found = warned(inputs, tables={"differential": some})
    assert said in found and "There are fewer than three replicates" not in found
    both = pd.concat([some, some.tail(1).assign(test=CELLS, cell_type="NK")])
    found = warned(inputs, tables={"differential": both})
    assert f"There are fewer than three replicates per group: conditions within NK. {said}" in found
    metrics = pd.DataFrame({"model": "accessibility", "tf": ["CTCF", "NONE"], "split": "test"})
    assert "TFs without predictions in cells: NONE." in warned(inputs, tables={"metrics": metrics})
    assert "of K562 is not known" in warned(inputs, frames={"K562": ["undetermined"], "HepG2": ["+4/-5"]})


def test_warnings_about_a_given_model_name_what_changes_it(inputs):
    """Its training is not in this run, so neither the sheet of ChIP-seq nor the splits change it."""
    metrics = pd.DataFrame({"model": "accessibility", "tf": ["CTCF", "NONE"], "split": "test"})
    given = {"origin": Origin({"species": None}, "g", None), "curves": {"m": {}}}
    here, there = (warned(inputs, tables={"metrics": metrics}, **more) for more in ({}, given))
    assert "abstains on 2 of 3 TFs" in there and "TFs without predictions in cells: NONE." in there
    assert here.count("sheets.chip") == 2 and "bundle" not in here
    assert there.count("models.*.bundle (another model)") == 2 and "sheets.chip" not in there


def test_a_large_figure_is_a_link(tmp_path, monkeypatch):
    figure = new_figure(2, 2)
    kept = drawer(tmp_path / "figures")("small", figure, "")
    assert kept["src"].startswith("data:") and not kept["link"] and kept["file"] == "figures/small.png"
    monkeypatch.setattr("scbind.report.read.MOST_BYTES", 10)
    kept = drawer(tmp_path / "figures")("large", figure, "")
    assert kept["link"] == "figures/large.png" and not kept["src"] and (tmp_path / kept["link"]).is_file()
    assert drawer(None)("alone", figure, "")["src"]


def test_a_run_ends_with_the_warnings_of_the_report_that_it_made(tmp_path, monkeypatch):
    report, table = tmp_path / "report.html", tmp_path / "warnings.tsv"
    assert closing_lines(report, table, 0, "runs.tsv") == []
    report.write_text("page")
    table.write_text("warning\tconsequence\tsetting\nNo genes.\tNo targets.\tgenome.genes\n")
    os.utime(report, (1000, 1000))
    assert closing_lines(report, table, 999, "runs.tsv") == [
        f"Report: {report}, with 1 warning:", "  * No genes. No targets. (setting: genome.genes)",
        "Start, end and command of this run: runs.tsv",
    ]  # fmt: skip
    assert closing_lines(report, table, 1001, "runs.tsv") == []
    monkeypatch.chdir(tmp_path)  # the command was typed in another folder
    shown = closing_lines("report.html", "warnings.tsv", 999, "runs.tsv", folder=tmp_path)
    assert shown[0] == f"Report: {tmp_path / 'report.html'}, with 1 warning:"
    assert shown[-1] == f"Start, end and command of this run: {tmp_path / 'runs.tsv'}"
    table.write_text("warning\tconsequence\tsetting\n")
    os.utime(table)
    assert closing_lines(report, table, 999, "runs.tsv") == [
        f"Report: {report}",
        "Start, end and command of this run: runs.tsv",
    ]
