import json
import re
from dataclasses import fields, replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scbind.analysis.activitymethods import OF_TYPES
from scbind.analysis.activitytable import read_activity
from scbind.analysis.sites import COLUMNS as SITES
from scbind.core.errors import InputError
from scbind.core.files import read_result
from scbind.evaluation.probabilities import CALIBRATION_COLUMNS
from scbind.formats.colours import PALETTE
from scbind.report import activity, regulation, sections, summary
from scbind.report import page as page_module
from scbind.report import populations as populations_module
from scbind.report.accuracy import comparison
from scbind.report.activity import _type_means
from scbind.report.cells import (
    _passing,
    doublet_shares,
    passing_cells,
    poor_samples,
    sample_quality,
    unlabelled,
)
from scbind.report.differences import NO_PROTEIN, directions, ordered_differential
from scbind.report.methods import methods
from scbind.report.models import _unknown
from scbind.report.motifs import motifs
from scbind.report.pack import unpack
from scbind.report.page import ReportFiles, linked, write_report
from scbind.report.places import place, regions
from scbind.report.read import read_peak_status
from scbind.report.sections import SECTIONS
from scbind.report.tables import DEPTH, FIRST_ROWS, MEANINGS, Section, html_table, join_names, number
from scbind.report.truth import ORACLES

CALIBRATED = 0.01, 0.02, 40, 0.25, 0.2, 10, 0.5, 0.4
TFS = ["CTCF", "SPI1", "GATA1", "EBF1", "PAX5", "RUNX3"]
METRICS = "model cell_line tf evidence split n_windows n_bound prevalence auroc auprc log2_gain"
METRICS += " recall_at_fdr10 recall_at_fdr50 ece mean_predicted"
METRICS += " windows_p10 predicted_p10 observed_p10 windows_p30 predicted_p30 observed_p30"


class Page(HTMLParser):
    """Ids, links, sources and text of a page; fails on tags that do not match."""

    VOID = {"meta", "img", "link", "br", "hr", "input"}  # text of scripts is not text of the page

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.sources, self.words, self.open = [], [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids += [attrs["id"]] if "id" in attrs and tag == "section" else []
        self.links += [attrs["href"]] if "href" in attrs else []
        self.sources += [attrs["src"]] if "src" in attrs else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


def write_sample(folder, name, seed):
    rng = np.random.default_rng(seed)
    types = ["B"] * 15 + ["T <script>"] * 15
    obs = pd.DataFrame({"sample": name, "cell_type": types}, index=[f"{name}#{i}" for i in range(30)])
    obs["n_fragments"] = rng.integers(900, 5000, 30)
    var = pd.DataFrame({"abstained": [tf == "RUNX3" for tf in TFS]}, index=TFS)
    data = anndata.AnnData(rng.normal(size=(30, 6)).astype(np.float32), obs=obs, var=var)
    data.layers["mean_binding"] = data.X
    data.obsm["X_umap"] = rng.normal(size=(30, 2))
    data.write_h5ad(folder / f"{name}.h5ad")
    cells = obs.assign(**{"pass": True, "reason": ""})
    cells.loc[cells.index[:3], "pass"] = False
    cells.loc[cells.index[:3], "reason"] = [
        f"n_fragments 9{seed}{i} < 1000; nucleosome_signal {value} > 4.5"
        for i, value in enumerate(["inf", 5.2, 6])
    ]
    merged = sp.csr_matrix(np.eye(30) + np.eye(30, k=1))
    anndata.AnnData(obs=cells, obsp={"borrow": merged}).write_h5ad(folder / f"{name}.cells.h5ad")
    return folder / f"{name}.h5ad", folder / f"{name}.cells.h5ad"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    pairs = [write_sample(folder, name, seed) for seed, name in enumerate(["one", "two"])]
    rng = np.random.default_rng(0)

    def table(name, frame, separator="\t"):
        frame.to_csv(folder / name, sep=separator, index=False)
        return folder / name

    scores = [
        (model, "K562", tf, kind, "test", 1000, 10, 0.01, 0.9, base + 0.01 * i, 5.0, 0.1, 0.2, *rates)
        for model, kind, base, rates in (
            ("scbind", "chip", 0.3, CALIBRATED),
            ("accessibility", "", 0.2, (0.01, *[np.nan] * 7)),
        )
        for i, tf in enumerate(TFS)
    ]
    recall = np.linspace(0, 1, 101)
    np.savez(
        folder / "curves.npz", tfs=np.array(TFS), recall=recall, precision=np.tile(1 - recall, (6, 1)),
        prevalence=np.full(6, 0.01), calibration_predicted=recall[:10], calibration_observed=recall[:10],
        calibration_count=np.ones(10),
    )  # fmt: skip
    np.savez(folder / "windows.npz", start=np.zeros(4321), window=200)
    (folder / "peaks.json").write_text(json.dumps({"source": "samples", "reason": "3 cells, fewer than 20"}))
    (folder / "config.yaml").write_text("genome: <toy>\n" * 500)
    differential = [
        ("cell_type", name, name, "other types", tf, 30, 30, 0, 1.0, 0.0, 1.0 + i, 2.0 + i, 0.1, 0.05, 1.0, 3.0, 1e-4,
         1e-3, "cells, no replicates")
        for name in ("B", "T <script>") for i, tf in enumerate(TFS)
    ]  # fmt: skip
    from scbind.evaluation.merge import DEPTH_COLUMNS as DEPTH
    from scbind.evaluation.merge import fragments_needed

    depths = [
        (model, "K562", tf, "", keep, 0.3 * keep, 500, 50, 0.01, base * keep**0.1, *[0.01] * 8)
        for model, base in (("scbind", 0.3), ("accessibility", 0.2))
        for tf in TFS for keep in (1.0, 0.1)
    ]  # fmt: skip
    from scbind.analysis.abundance import COLUMNS as ABUNDANCE
    from scbind.analysis.differential import COLUMNS as DIFFERENTIAL
    from scbind.analysis.enrichment import COLUMNS as MOTIFS
    from scbind.analysis.populations import COLUMNS as POPULATIONS
    from scbind.analysis.targets import COLUMNS as TARGETS

    barcodes = [(name, f"{name}#{i}", "P1" if i < 28 else "") for name in ("one", "two") for i in range(30)]
    return {
        "activity": [pair[0] for pair in pairs],
        "cells": [pair[1] for pair in pairs],
        "lenders": [pair[1] for pair in pairs],
        "windows": folder / "windows.npz",
        "metrics": table("metrics.tsv", pd.DataFrame(scores, columns=METRICS.split())),
        "curves": {"scbind": folder / "curves.npz"},
        "depth": table("depth.tsv", pd.DataFrame(depths, columns=DEPTH)),
        "needed": table("needed.tsv", fragments_needed(pd.DataFrame(depths, columns=DEPTH), 3_000_000)),
        "training": {
            "scbind": table(
                "training.csv",
                pd.DataFrame(
                    {"epoch": [0, 1], "train_loss": rng.random(2), "valid_loss": 1.0, "valid_auprc": 0.2}
                ),
                ",",
            )
        },
        "differential": table(
            "differential.tsv",
            pd.DataFrame(differential, columns=DIFFERENTIAL).assign(
                reliability_abstained=lambda rows: rows["tf"] == "RUNX3"
            ),
        ),
        "populations": table(
            "populations.tsv",
            pd.DataFrame(
                [
                    {
                        "population": "P1",
                        "n_cells": 56,
                        "fraction": 0.03,
                        "small": True,
                        "stability": 0.9,
                        "separation": 5.0,
                        "separation_limit": 2.6,
                        "evidence": "accessibility",
                        "confidence": 0.9,
                        "cell_type": "B",
                        "cell_type_share": 0.8,
                        "n_samples": 2,
                        "top_sample": "one",
                        "top_sample_share": 0.5,
                        "n_donors": 2,
                        "top_donor_share": 0.5,
                        "markers": "CTCF:2.00;SPI1:1.00",
                    }
                ],
                columns=POPULATIONS,
            ),
        ),
        "population_cells": table(
            "cells.tsv", pd.DataFrame(barcodes, columns=["sample", "cell", "population"])
        ),
        "abundance": table(
            "abundance.tsv",
            pd.DataFrame(
                [
                    {
                        "kind": "population",
                        "name": "P1",
                        "group": "d",
                        "reference": "c",
                        "n_donors": 1,
                        "n_donors_reference": 1,
                        "test": "not tested",
                        "counts": "one:28/30;two:0/30",
                    }
                ],
                columns=ABUNDANCE,
            ),
        ),
        "targets": table(
            "targets.tsv",
            pd.DataFrame(
                [("B", "CTCF", "GENE1", "chr1", 5, "+", 1.2, 1, 0.7, 3, -20, 0.9, "chip", "high", False)],
                columns=TARGETS,
            ),
        ),
        "motifs": table(
            "motifs.tsv",
            pd.DataFrame(
                [
                    (
                        "B",
                        "CTCF",
                        "CTCF",
                        "MA1",
                        True,
                        1,
                        3,
                        9,
                        9,
                        0.5,
                        0.5,
                        0.1,
                        8.0,
                        1e-9,
                        1e-8,
                        0.5,
                        0.5,
                        9.0,
                        "chip",
                        "high",
                        False,
                    )
                ],
                columns=MOTIFS,
            ),
        ),
        "peaks": {"B": folder / "peaks.json"},
        "truth_cells": table(
            "truth.tsv",
            pd.DataFrame(
                [("scbind", "CTCF", "all", "sample", 9, 99, 0.1, 0.4, 0.4)],
                columns="model tf chromosomes cells n_cells n_windows prevalence auprc_mean auprc_median".split(),
            ),
        ),
        "truth_types": table(
            "types.tsv",
            pd.DataFrame(
                [("ari", "cell_type", 0.8), ("activity_auroc", "CTCF", 0.7), ("activity_auroc", "mean", 0.7)],
                columns=["quantity", "name", "value"],
            ),
        ),
        "provenance": [folder / "config.yaml"],
    }


def write(page, figures_dir=None, **inputs):
    """Write a report; all inputs that are no field of their own are tables."""
    own = {field.name for field in fields(ReportFiles)}
    tables = {name: path for name, path in inputs.items() if name not in own}
    given = {name: path for name, path in inputs.items() if name in own}
    write_report(page, ReportFiles(**given, tables=tables), figures_dir)


def some(inputs, *names):
    """The activity and the inputs of these names: a page with less on it is drawn sooner."""
    return {name: inputs[name] for name in ("activity", *names)}


ALL = [
    "summary", "quality", "embedding", "activity", "differential", "populations", "targets", "motifs", "peaks",
    "truth", "evaluation", "training", "reading", "provenance",
]  # fmt: skip


@pytest.fixture(scope="module")
def full(inputs, tmp_path_factory):
    """The folder of a report of all inputs, with its figures."""
    folder = tmp_path_factory.mktemp("full")
    write(folder / "report.html", **inputs, figures_dir=folder / "figures")
    return folder


def test_full_report_is_whole_self_contained_and_says_the_numbers(full):
    text = (full / "report.html").read_text()
    page = Page(text)
    places, files = (
        [link for link in page.links if link.startswith("#") == inside] for inside in (True, False)
    )
    assert page.ids == ["ask", *ALL] and places == [f"#{name}" for name in page.ids]
    assert {"analysis/differential_tfs.tsv", "analysis/populations.tsv", "../logs/runs.tsv"} <= set(files)
    assert not re.search(
        r"(?<!>)results/analysis/\w+\.tsv", re.sub("<script.*?</script>", "", text, flags=re.DOTALL)
    )
    assert page.sources and all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert "http" not in re.sub(r"data:image/png;base64,[^\"]+", "", text)
    assert "60 cells in 2 samples" in page.text and "4,321 windows" in page.text
    assert (
        "scbind has a mean AUPRC of 0.325 over 6 pairs of cell line and TF. This is 0.100 above" in page.text
    )
    assert "TFs with the highest AUPRC: RUNX3 (0.350), PAX5 (0.340) and EBF1 (0.330)." in page.text
    assert (
        "(adjusted p < 0.05): B: PAX5, EBF1, GATA1; T <script>: PAX5," in page.text
    )  # RUNX3 is abstained on
    assert page.text.count("* scbind abstains on RUNX3: do not interpret these.") == 2
    assert "scbind abstains on 1 of 6 TFs (RUNX3). Validation does not support" in page.text
    assert page.text.count("Left out: 1 of 6 TFs, because scbind abstains on them.") == 2
    assert "12 rows" not in page.text and "cells, no replicates (10 rows)" in page.text
    assert "The cells form one population: the search for populations found no division." in page.text
    assert "one and two · scbind" in page.text
    assert "54 of 60 cells pass" in page.text and "unique fragments < 1000" in page.text
    assert "3 cells, fewer than 20" in page.text and "the file has 100 more lines" in page.text
    names = {path.stem for path in (full / "figures").iterdir()}
    assert (
        len(names) == len(page.sources)
        and {f"figures/{name}.png" for name in names} <= set(files)
        and {"umap_cell_types", "activity_heatmap", "auprc", "auprc_depth", "fragments_needed"} <= names
    )


def test_variants_and_explained_loci_are_on_the_page(inputs, tmp_path):
    effects = dict.fromkeys(("effect_A", "effect_C", "effect_T"), -1.0) | {"effect_G": 0.0}
    rows = {"locus": "chr1:5-9", "tf": "SPI1", "cell_type": "B", "chrom": "chr1", "start": range(100)}
    table = pd.DataFrame(
        rows
        | {"ref": "G", "contribution": 1.0, "binding": 0.9, "evidence": "motif", "abstained": False}
        | effects
    )
    table.to_csv(tmp_path / "explain.tsv", sep="\t", index=False)
    best = {
        "chrom": "chr1",
        "start": [7, 8, 9],
        "end": [8, 9, 10],
        "name": ["rs1", "rs2", None],
        "n_listed": [0, 2, 0],
    }
    best |= {"tf": ["SPI1", "PAX5", None], "difference": [0.01, -0.5, None]}
    pd.DataFrame(best).to_csv(tmp_path / "best.tsv", sep="\t", index=False)
    more = {"variants": tmp_path / "best.tsv", "explain": tmp_path / "explain.tsv"}
    write(tmp_path / "report.html", **some(inputs), **more, figures_dir=tmp_path / "figures")
    text = (tmp_path / "report.html").read_text()
    page = Page(text)
    assert {"variants", "explained"} <= set(page.ids)
    assert "variants.tsv lists 1 of 3 variants" in page.text
    assert page.text.index("rs2") < page.text.index("rs1"), "the largest difference is first"
    assert "SPI1 (motif) at chr1:6-9 in B" in text and (tmp_path / "figures/explain_1_SPI1.png").is_file()


def test_sites_that_differ_and_expression_are_on_the_page(inputs, tmp_path):
    group = {"contrast": "cell_type", "cell_type": "B", "group": "B", "reference": "other types"}
    tested = group | {"n_replicates": 3, "n_windows": 50, "n_listed": 2, "test": "t"}
    counts = [
        tested | {"tf": "CTCF", "n_more": 0, "n_less": 0},
        tested | {"tf": "SPI1", "n_more": 7, "n_less": 2},
    ]
    windows = [
        group | {"tf": "SPI1", "chrom": "chr1", "start": start, "end": start + 200, "difference": size}
        for start, size in ((400, 0.1), (800, -0.6))
    ]
    rna = {
        "cell_type": "B",
        "tf": ["SPI1", "CTCF"],
        "n_cells": 9,
        "mean_activity": 1.0,
        "correlation": [0.2, 0.9],
    }
    given = {"site_counts": counts, "differential_sites": windows, "expression": rna}
    paths = {name: tmp_path / f"{name}.tsv" for name in given}
    for name, rows in given.items():
        pd.DataFrame(rows, columns=SITES if name == "differential_sites" else None).to_csv(
            paths[name], sep="\t", index=False
        )
    write(tmp_path / "report.html", **some(inputs), **paths)
    page = Page((tmp_path / "report.html").read_text())
    assert {"differential_sites", "expression"} <= set(page.ids)
    part = page.text[page.text.index("Number of sites that differ") :]
    assert part.index("SPI1") < part.index("CTCF"), "the TF with most sites is first"
    part = page.text[page.text.index("Largest differences") :]
    assert part.index("chr1:801-1,000") < part.index("chr1:401-600"), (
        "the largest difference is first, whatever its sign"
    )
    part = page.text[page.text.index("Expression and activity") :]
    assert part.index("CTCF") < part.index("SPI1")

    reasons = ["fewer than 3 replicates", "replicates in both groups"]
    counts = [
        row | {"n_windows": None, "test": f"not tested: {why}"} for row in counts[:1] for why in reasons
    ]
    pd.DataFrame(counts).to_csv(paths["site_counts"], sep="\t", index=False)
    write(tmp_path / "report.html", **some(inputs), **paths)
    page = Page((tmp_path / "report.html").read_text())
    assert "Sites were not compared (fewer than 3 replicates; replicates in both groups)." in page.text
    assert "Number of sites that differ" not in page.text


def test_headings_are_words_and_not_names_of_columns(full):
    text = (full / "report.html").read_text()
    headings = [re.sub("<[^>]*>", "", part) for part in re.findall("<th[^>]*>(.*?)</th>", text, re.DOTALL)]
    assert len(headings) > 50
    codes = {"n", "p", "tf", "tfs", "fdr", "auroc", "auprc", "ece", "frac", "tss", "chromvar", "ari"}
    bad = [heading for heading in headings if codes & set(heading.replace("adjusted p", "").split())]
    assert not bad, "add a name to NAMES of report.tables"


def test_cells_that_fail_alike_are_one_row(full):
    page = Page((full / "report.html").read_text())
    assert "nucleosome_signal" not in page.text
    assert "unique fragments < 1000; nucleosome signal > 4.5 6" in page.text


def test_poor_samples_are_named():
    good = {"pass": True, "n_fragments": 3000, "tss_enrichment": 9.0, "frac_duplicates": 0.3}
    rows = [{"sample": name, **good} for name in "ABCD" for _ in range(4)]
    for row in rows[:4]:
        row |= {"n_fragments": 1400, "frac_duplicates": 0.7}
    for row in rows[4:7]:
        row["pass"] = False
    table = sample_quality(pd.DataFrame(rows))
    flags = dict(zip(table["sample"], table["flags"], strict=True))
    assert flags == {
        "A": "low unique fragments; high fraction of duplicates", "B": "few cells pass", "C": "", "D": ""
    }  # fmt: skip
    assert poor_samples(table) == (
        "Samples of poor quality: A (low unique fragments; high fraction of duplicates) and B (few cells pass)."
    )
    two = sample_quality(pd.DataFrame(rows[:4] + rows[8:12]))
    assert two["flags"].tolist() == ["", ""], "two samples do not show which of them is unusual"
    assert poor_samples(two) == "No sample is flagged for poor quality."
    none = sample_quality(pd.DataFrame(rows).assign(**{"pass": False}))
    assert set(none["flags"]) == {"few cells pass"} and none["median n_fragments"].isna().all()


def test_thresholds_that_are_looser_than_usual_are_said():
    cells = pd.DataFrame({"sample": "s", "pass": [True] * 3 + [False], "n_fragments": 62.0})
    given = SimpleNamespace(cells=cells, peaks=None, assay="10x_atac", looser={"min_fragments": (5, 1000)})
    section = Section("quality", "")
    _passing(given, section)
    assert section.text == [
        "3 of 4 cells pass, with a threshold that is looser than the default of 10x_atac: min_fragments 5 (default "
        "1,000). The sample is not flagged for poor quality."
    ]
    given.looser["max_nucleosome_signal"] = (None, 4)
    assert passing_cells(given).endswith(
        "the defaults of 10x_atac: min_fragments 5 (default 1,000) and no max_nucleosome_signal (default 4)."
    )
    given.assay, given.looser = "custom", {"min_fragments": (5, 1000)}
    assert "looser than the default: min_fragments" in passing_cells(given)
    given.looser = {}
    assert passing_cells(given) == "3 of 4 cells pass."


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ("cluster cluster cluster", "No labels were given, so the cell types are clusters of accessibility, named "
         "x_c0, x_c1, ... To name them, give labels (column labels of the sheet of samples)."),
        ("given cluster cluster", "No labels were given for b, so their cell types are clusters of accessibility, "
         "named x_c1, x_c2. To"),
        ("given cluster transferred", ""),
    ],
)  # fmt: skip
def test_cell_types_that_are_clusters_are_said(sources, said):
    obs = pd.DataFrame({"sample": list("abb"), "cell_type": ["x_c0", "x_c1", "x_c2"]})
    found = unlabelled(
        SimpleNamespace(data=SimpleNamespace(obs=obs.assign(cell_type_source=sources.split())))
    )
    assert found.startswith(said) if said else found == ""
    assert unlabelled(SimpleNamespace(data=SimpleNamespace(obs=obs))) == ""


def test_best_sites_say_where_the_tf_is_active():
    columns = ["cell_type", "tf", "chrom", "start", "end", "binding", "reliability_abstained"]
    rows = [(kind, "X", "chr1", 5, 9, p, False) for kind, p in zip("ABCD", (1.0, 0.9, 0.8, 0.7), strict=True)]
    tests = pd.DataFrame({"cell_type": list("ABC"), "tf": "X", "contrast": "cell_type", "difference": [-8.5, 1, 5],
                          "p_adjusted": [0.01, 0.4, 0.01]})  # fmt: skip
    table = pd.DataFrame({"own": [False], "cell_type": "A", "tf": "X", "motif": "m", "rank": 1, "sites_with_motif": 1,
                          "background_with_motif": 1, "odds_ratio": 1.0, "p_adjusted": 1.0})  # fmt: skip
    tables = {"motifs": table, "sites": pd.DataFrame(rows, columns=columns), "differential": tests}
    made = motifs(SimpleNamespace(tables=tables, colours={"cell_type": {}})).tables[1]
    assert [[cell["text"] for cell in row[:3]] for row in made["rows"]] == [
        ["C", "X", "more active"], ["B", "X", "no difference"], ["D", "X", "not tested"], ["A", "X", "less active"]
    ]  # fmt: skip
    assert NO_PROTEIN in made["note"] and "first" not in [column["key"] for column in made["columns"]]


def test_samples_without_counts_of_reads_do_not_flag_others():
    rows = [{"sample": name, "pass": True, "frac_duplicates": 0.3 + 0.1 * (name == "C")} for name in "ABCDE"]
    cells = pd.DataFrame(rows * 4)
    cells.loc[cells["sample"].isin(["D", "E"]), "frac_duplicates"] = np.nan
    table = sample_quality(cells).set_index("sample")
    assert (
        set(table["flags"]) == {""}
        and table["median frac_duplicates"].isna().tolist() == [False] * 3 + [True] * 2
    )
    cells.loc[cells["sample"] == "C", "frac_duplicates"] = 0.9
    flags = sample_quality(cells).set_index("sample")["flags"]
    assert flags.to_dict() == dict.fromkeys("ABDE", "") | {"C": "high fraction of duplicates"}
    two = pd.DataFrame({"sample": list("ABC"), "pass": True, "tss_enrichment": [9.0, 1.0, np.nan]})
    assert set(sample_quality(two)["flags"]) == {""}, "two known samples do not show which of them is unusual"


def test_every_sample_has_its_doublet_rate_and_its_mitochondrial_fraction(inputs, tmp_path):
    cells = pd.DataFrame({"sample": list("AAAB"), "pass": [True, True, False, True], "n_fragments": 3000})
    table = sample_quality(cells)
    assert "doublet_rate" not in table and "median frac_mitochondrial" not in table, "not known"
    cells = cells.assign(doublet_score=[0.0, 0.0, 0.9, 0.5], frac_mitochondrial=[0.1, 0.3, 0.9, 0.4])
    table = sample_quality(cells)
    assert table["doublet_rate"].tolist() == pytest.approx([0.3, 0.5]), "means, not medians"
    assert table["median frac_mitochondrial"].tolist() == pytest.approx([0.2, 0.4]), "of passing cells"
    data = anndata.read_h5ad(inputs["cells"][0])
    data.obs["frac_mitochondrial"], data.obs["doublet_score"] = 0.25, 0.125
    data.write_h5ad(tmp_path / "c.h5ad")
    write(tmp_path / "report.html", **some(inputs) | {"cells": [tmp_path / "c.h5ad"]})
    text = Page((tmp_path / "report.html").read_text()).text
    assert "median fraction mitochondrial" in text and "Expected doublet rate: the mean doublet score" in text


def test_trust_begins_with_single_cells():
    makers = [make.__name__ for make in dict(sections.PARTS)[sections.TRUST]]
    assert makers[:4] == ["truth", "cohort", "methods", "evaluation"], "bulk lines come after the cells"
    assert [title for title, _ in sections.PARTS] == [sections.CELLS, sections.TRUST, sections.ORIGIN]


def test_each_part_that_a_reader_looks_for_is_there(inputs, full, tmp_path):
    text = Page((full / "report.html").read_text()).text
    assert "Compare z between cells and cell types for one TF" in text, "z is explained where it is shown"
    assert "what value scbind" in text, "the table of the run"
    data = anndata.read_h5ad(inputs["cells"][0])
    data.obs["tss_enrichment"] = 5.0
    data.write_h5ad(tmp_path / "c.h5ad")
    rows = [("length", 100, 5), ("length", 200, 3), ("tss", -10, 4.0), ("tss", 10, 4.5)]
    pd.DataFrame(rows, columns=["curve", "position", "value"]).to_csv(
        tmp_path / "p.tsv", sep="\t", index=False
    )
    sample = str(data.obs["sample"].iloc[0]) if "sample" in data.obs else "s"
    given = some(inputs) | {"cells": [tmp_path / "c.h5ad"], "profiles": {sample: tmp_path / "p.tsv"}}
    write(tmp_path / "report.html", **given, figures_dir=tmp_path / "figures")
    text = Page((tmp_path / "report.html").read_text()).text
    assert "TSS enrichment against unique fragments." in text and "Left: lengths of all fragments." in text
    assert "Right: insertions of the cells" in text
    made = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert {"quality", "barcode_ranks", "tss_fragments", "library_curves"} <= made
    pd.DataFrame(rows[:2], columns=["curve", "position", "value"]).to_csv(
        tmp_path / "p.tsv", sep="\t", index=False
    )
    write(tmp_path / "no_genes.html", **given)
    only = Page((tmp_path / "no_genes.html").read_text()).text
    assert "Lengths of all fragments." in only and not {"Left:", "Right:"} & set(only.split()), (
        "there is one panel"
    )
    assert "Simulated data." not in text
    (tmp_path / "sheets.tsv").write_text("samples\t2\tD1\tresources/demo/sc/demo.fragments.tsv.gz\n")
    write(tmp_path / "report.html", **some(inputs), provenance=[tmp_path / "sheets.tsv"])
    assert "Simulated data." in Page((tmp_path / "report.html").read_text()).text


def test_types_of_doublets_are_marked_in_the_tables_of_types(tmp_path):
    (tmp_path / "peaks.json").write_text('{"source": "samples", "n_cells": 2}')
    columns = "cell_type n_cells n_fragments status merged_into reason caution".split()
    rows = [
        ("T", 9, 9, "own", "", "", ""),
        ("odd", 2, 9, "skipped", "", "few", "probably doublets of T and B"),
    ]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "types.tsv", sep="\t", index=False)
    peaks = read_peak_status({"T": tmp_path / "peaks.json"}, tmp_path / "types.tsv")
    expected = {"T": "", "odd": "probably doublets of T and B"}
    assert dict(zip(peaks["cell_type"], peaks["caution"], strict=True)) == expected
    cells = pd.DataFrame(
        {"sample": "s", "pass": True, "cell_type": ["T"] * 9 + ["odd"] * 2, "n_fragments": 5.0}
    )
    section = Section("quality", "")
    _passing(SimpleNamespace(cells=cells, looser={}, peaks=peaks), section)
    table = next(table for table in section.tables if table["title"].startswith("Per cell type"))
    assert [row[1]["text"] for row in table["rows"]] == ["", "probably doublets of T and B"]
    section = Section("quality", "")
    _passing(SimpleNamespace(cells=cells, looser={}, peaks=peaks.drop(columns="caution")), section)
    assert "caution" not in [column["key"] for table in section.tables for column in table["columns"]]


def test_every_type_has_its_fraction_of_doublet_like_cells():
    cells = pd.DataFrame(
        {"sample": "s", "pass": True, "cell_type": ["B"] * 4 + ["T"] * 2, "n_fragments": 5.0,
         "doublet_score": [0.1, 0.0, 0.0, np.nan, 0.3, 0.2]}
    )  # fmt: skip
    assert doublet_shares(cells).to_dict() == pytest.approx({"B": 1 / 3, "T": 1.0})
    section = Section("quality", "")
    _passing(SimpleNamespace(cells=cells, looser={}, peaks=None), section)
    table = next(table for table in section.tables if table["title"].startswith("Per cell type"))
    heads = [column["name"] for column in table["columns"]]
    assert [row[heads.index("fraction doublet-like")]["text"] for row in table["rows"]] == ["0.333", "1"]
    assert doublet_shares(cells.drop(columns="doublet_score")).empty


def test_a_group_has_one_colour_in_every_figure_and_on_the_page(full, inputs):
    """Also a group that one of the tables lacks."""
    text = (full / "report.html").read_text()
    index = json.loads(re.search(r'id="index">(.*?)</script>', text, re.DOTALL)[1])
    on_page = {each["name"]: dict(zip(each["levels"], each["colours"], strict=True))
               for each in index["colourings"] if "levels" in each}  # fmt: skip
    known = {name: inputs[name] for name in inputs if name in {each.name for each in fields(ReportFiles)}}
    tables = {name: path for name, path in inputs.items() if name not in known}
    found = page_module._read(ReportFiles(**known, tables=tables), None)
    for name, kind in {"cell_type": "cell type", "population": "population", "sample": "sample"}.items():
        assert on_page[kind].items() <= found.colours[name].items(), name
    drawn = {}
    found = replace(found, draw=lambda name, figure, caption: drawn.setdefault(name, figure) and {})
    for make in SECTIONS:
        make(found)
    for name, kind in {"umap_cell_types": "cell_type", "umap_populations": "population",
                       "umap_samples": "sample", "motifs": "cell_type"}.items():  # fmt: skip
        legend = drawn[name].axes[0].get_legend()
        shown = {text.get_text().rpartition(" (")[0] or text.get_text(): handle.get_color()
                 for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)}  # fmt: skip
        shared = shown.keys() & found.colours[kind]
        assert shared and all(shown[each] == found.colours[kind][each] for each in shared), name
    lines = {line.get_label(): line.get_color() for line in drawn["barcode_ranks"].axes[0].lines}
    assert lines and all(lines[name] == found.colours["sample"][name] for name in lines)


def test_samples_have_the_best_colours_and_populations_leave_few_out(inputs):
    """With many cell types, samples and populations had colours that are hard to tell apart."""
    obs = pd.DataFrame({"cell_type": [f"T{i:02}" for i in range(9)], "sample": [f"D{i}" for i in range(9)]})
    populations = pd.DataFrame({"population": [f"P{i}" for i in range(9)]})
    found = page_module._read(ReportFiles(activity=inputs["activity"]), None)
    found = replace(found, data=SimpleNamespace(obs=obs), tables={"populations": populations})
    assert list(found.colours["sample"].values()) == list(PALETTE[:9])
    assert list(found.colours["population"].values()) == list(PALETTE[6:15])


@pytest.mark.parametrize(
    ("doubted", "tile"),
    [([], ("3", "cell types")), (["C"], ("2", "cell types, and 1 is probably not real")),
     (["B", "C"], ("1", "cell type, and 2 are probably not real"))],
)  # fmt: skip
def test_types_that_are_probably_not_real_are_counted_apart(doubted, tile):
    caution = ["doublets" * (name in doubted) for name in "ABC"]
    peaks = pd.DataFrame({"cell_type": list("ABC"), "caution": caution})
    assert summary._kinds(SimpleNamespace(peaks=peaks, types=list("ABC"))) == tile


def test_files_of_the_run_become_links_and_the_rest_is_escaped():
    assert linked("See results/analysis/links.tsv, <b>.") == (
        'See <a href="analysis/links.tsv">results/analysis/links.tsv</a>, &lt;b&gt;.'
    )
    assert linked("logs/runs.tsv says") == '<a href="../logs/runs.tsv">logs/runs.tsv</a> says'


def test_the_ratio_and_its_p_value_are_side_by_side():
    keys = populations_module.ABUNDANCE
    assert keys.index("p_adjusted") == keys.index("log2_odds_ratio") + 1


def test_the_method_that_separates_types_most_clearly_is_named_first():
    table = pd.DataFrame({"sample": "a", "evidence": ["chip", "chip", "motif"], "n_cells": 9, "n_tfs": 3,
                          "method": ["scbind", "chromvar_borrowed", "chromvar"],
                          "silhouette": [0.5, 0.75, 0.9]})  # fmt: skip
    section = methods(SimpleNamespace(tables={"methods": table}))
    assert section.text[-1] == "Silhouette: chromVAR with borrowed insertions 0.750, scbind 0.500."
    both = pd.concat([table, table.assign(sample="b", silhouette=[0.7, 0.25, 0.9])])
    section = methods(SimpleNamespace(tables={"methods": both}))
    said = "Mean silhouette of 2 samples: scbind 0.600, chromVAR with borrowed insertions 0.500."
    assert section.text[-1] == said
    lacking = both.assign(silhouette=both["silhouette"].where(both["sample"] == "a"))
    section = methods(SimpleNamespace(tables={"methods": lacking}))
    assert section.text[-1].startswith("Silhouette: chromVAR with borrowed"), "b has no value"


def test_tfs_that_separate_labelled_types_best_are_shown_by_method():
    table = pd.DataFrame({"sample": "a", "evidence": "chip", "n_cells": 9, "n_tfs": 3, "method": ["scbind", "chromvar"],
                          "silhouette": np.nan})  # fmt: skip
    tfs = [f"TF{i}" for i in range(7)]
    ours = dict(zip(tfs, (0.9, 0.6, 0.55, 0.7, 0.5, 0.2, 0.3), strict=True))
    rows = [("a", "B", tf, "chip", method, value, 20, 30) for tf in tfs
            for method, value in (("scbind", ours[tf]), ("chromvar", 0.95 if tf == "TF6" else 0.51))]  # fmt: skip
    separation = pd.DataFrame(rows, columns=OF_TYPES)
    empty = methods(SimpleNamespace(tables={"methods": table, "separation": separation.iloc[:0]}))
    assert len(empty.tables) == 1 and "Labelled" not in " ".join(empty.text)
    section = methods(SimpleNamespace(tables={"methods": table, "separation": separation}))
    shown = section.tables[1]
    assert [column["key"] for column in shown["columns"]] == [
        "sample",
        "cell_type",
        "tf",
        "scbind",
        "chromVAR",
    ]
    assert [row[2]["text"] for row in shown["rows"]] == ["TF6", "TF0", "TF3", "TF1", "TF2"]
    assert [cell["text"] for cell in shown["rows"][0][3:]] == ["0.300", "0.950"]
    mixed = separation.assign(evidence=np.where(separation["tf"] == "TF6", "motif", "chip"))
    marked = methods(SimpleNamespace(tables={"methods": table, "separation": mixed})).tables[1]
    assert "evidence" in [column["key"] for column in marked["columns"]]


def test_methods_that_have_no_tf_in_common_are_not_compared():
    table = pd.DataFrame({"sample": ["a", "a", "b", "b"], "evidence": ["chip", "motif"] * 2, "method": "chromvar",
                          "n_cells": 9, "n_tfs": [3, 0, 0, 0], "silhouette": np.nan,
                          "ari": [0.5, np.nan, np.nan, np.nan]})  # fmt: skip
    section = methods(SimpleNamespace(tables={"methods": table}))
    assert section.tables[0]["n"] == 1
    assert [text for text in section.text if text.startswith("Sample")] == [
        "Sample b: there is no such TF, because some cells are too shallow for each of them."
    ]
    assert not methods(SimpleNamespace(tables={"methods": table[table["sample"] == "b"]})).tables


def test_links_of_every_tf_and_type_are_on_the_page(monkeypatch):
    monkeypatch.setattr(regulation, "LEAST_LINKS", 6)
    monkeypatch.setattr(regulation, "MAX_ROWS", 5)
    rows = [(kind, tf, f"G{i}", 0.9 - 0.01 * i - 0.3 * (tf == "WEAK")) for kind in "AB" for tf in ("WEAK", "STRONG")
            for i in range(5)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["cell_type", "tf", "gene", "probability"]).assign(
        fdr=0.05, sign=0, place="promoter", n_sites=1, sites="chr1:5-6", distances="7", tf_active=1.0, association=0.1,
        p_value=0.5, p_adjusted=0.9, compared_with="RNA", potential=1.0, reliability_level="high",
        reliability_abstained=False,
    )  # fmt: skip
    section = regulation.links(SimpleNamespace(tables={"links": table}, genes=None))
    shown = [[cell["text"] for cell in row[:4]] for row in section.tables[0]["rows"]]
    assert [row[1:3] for row in shown] == [
        ["STRONG", "G0"], ["STRONG", "G0"], ["STRONG", "G1"], ["STRONG", "G1"], ["WEAK", "G0"], ["WEAK", "G0"]
    ]  # fmt: skip
    assert (
        "6 of 20 are on this page: the most probable of each TF and cell type." in section.tables[0]["note"]
    )
    # For each answer that is not complete, the page knows how many links there are, also of genes without a row.
    totals = json.loads(unpack(section.tables[0]["pack"]))["totals"]
    assert totals == {"tf": {"STRONG": 10, "WEAK": 10}, "cell_type": {"A": 10, "B": 10},
                      "gene": {"G1": 4, "G2": 4, "G3": 4, "G4": 4}}  # fmt: skip
    # Without a significant association the effect of no link is known: there is no column of zeros.
    assert "effect" not in keys(section) and "sign" not in keys(section)
    assert not any("activates or represses" in text for text in section.text)


def test_links_fill_the_room_that_target_genes_leave(monkeypatch):
    monkeypatch.setattr(regulation, "LEAST_LINKS", 6)
    monkeypatch.setattr(regulation, "MAX_ROWS", 20)
    most = [regulation.most_links(SimpleNamespace(tables=tables)) for tables in (
        {}, {"targets": pd.DataFrame({"tf": ["X"] * 8})}, {"targets": pd.DataFrame({"tf": ["X"] * 18, "rank": 1})},
    )]  # fmt: skip
    assert most == [20, 12, 6]


def keys(section):
    return [column["key"] for column in section.tables[0]["columns"]]


def test_the_effect_of_a_link_is_a_word_and_targets_have_its_probability():
    table = pd.DataFrame({"cell_type": "T", "tf": "X", "gene": list("abc"), "probability": [0.9, 0.8, 0.7],
                          "sign": [1, np.nan, -1]}).assign(
        fdr=0.05, place="promoter", n_sites=1, sites="chr1:5-6", distances="7", tf_active=1.0, association=0.1,
        p_value=0.5, p_adjusted=[0.01, 0.9, 0.02], compared_with="rna", potential=1.0,
    )  # fmt: skip
    section = regulation.links(SimpleNamespace(tables={"links": table}, genes=None))
    column = keys(section).index("effect")
    assert [row[column]["text"] for row in section.tables[0]["rows"]] == ["activates", "unknown", "represses"]
    assert {"potential", "p_value"} < set(keys(section))
    headings = {each["key"]: each["name"] for each in section.tables[0]["columns"]}
    said = " ".join(section.text)
    assert (
        "1. " not in said
        and ": 3. 3 of them have a site at the promoter, and 0 have only distal sites." in said
    )
    assert "significant (adjusted p up to 0.1) for 2. X has at least half of the links." in said
    assert headings["place"] == "promoter or distal", "a place is a coordinate in all other tables"
    genes = pd.DataFrame({"cell_type": "T", "tf": "X", "gene": list("ad"), "potential": 2.0, "rank": [1, 2],
                          "specificity": [2.0, 1.0], "chrom": "chr1", "top_window_start": 1, "top_window_distance": 2,
                          "top_window_binding": 0.5})  # fmt: skip
    section = regulation.targets(SimpleNamespace(tables={"targets": genes, "links": table}, window=200))
    assert keys(section)[3] == "link_probability", "a column at the end is cut off"
    assert "Links with evidence" in section.text[1]
    assert [row[3]["text"] for row in section.tables[0]["rows"]] == ["0.900", "–"]
    assert section.tables[0]["rows"][0][-2]["text"] == "+2 bp", "as distances of links"
    assert (
        keys(regulation.targets(SimpleNamespace(tables={"targets": genes}, window=200)))[-1]
        == "top_window_binding"
    )
    order = [make.__name__ for make in SECTIONS]
    assert order.index("links") < order.index("targets"), "the evidence comes first"


def test_names_are_escaped(full):
    text = (full / "report.html").read_text()
    assert "T &lt;script&gt;" in text and "T <script>" not in text and "genome: &lt;toy&gt;" in text


def test_only_activity_leaves_the_other_sections_out(inputs, tmp_path):
    write(tmp_path / "report.html", activity=inputs["activity"][:1])
    page = Page((tmp_path / "report.html").read_text())
    assert page.ids == ["ask", "summary", "embedding", "activity", "reading"]
    assert "30 cells" in page.text
    assert (
        "A TF shows its activity, how far to trust it, and its best sites; a cell type, the TFs that mark it; a sample,"
        " its quality. Cells can" in page.text
    )
    assert "TF, cell type or sample" in page.text and "gene" not in page.text[page.text.index("Ask") :][:300]


def test_empty_tables_do_not_break_it(inputs, tmp_path):
    options = some(inputs)
    for name in ("differential", "populations", "targets", "motifs"):
        options[name] = tmp_path / f"{name}.tsv"
        pd.read_csv(inputs[name], sep="\t").iloc[:0].to_csv(options[name], sep="\t", index=False)
    write(tmp_path / "report.html", **options)
    page = Page((tmp_path / "report.html").read_text())
    assert "no two groups of cells to compare" in page.text and "motifs" not in page.ids


def test_abstained_tfs_are_out_of_the_best_results_and_last_among_the_motifs(inputs, tmp_path):
    options = some(inputs)
    for name, first in (("targets", "RUNX3"), ("motifs", "AAA")):  # better, and earlier in the alphabet
        known = pd.read_csv(inputs[name], sep="\t")
        other = known.assign(tf=first, reliability_abstained=True)
        if name == "targets":
            other = other.assign(gene="UNREAD", specificity=9.0)
        options[name] = tmp_path / f"{name}.tsv"
        pd.concat([other, known]).to_csv(options[name], sep="\t", index=False)
    write(tmp_path / "report.html", **options)
    text = Page((tmp_path / "report.html").read_text()).text
    assert "GENE1" in text and "UNREAD" not in text
    assert (
        "TFs with a motif: 1." in text
        and text.count("Left out: 1 of 2 TFs, because scbind abstains on them.") == 2
    )
    table = text[text.index("Motifs of each TF and cell type") :]
    assert table.index("B CTCF CTCF") < table.index("B AAA CTCF")


def test_tfs_without_chip_are_never_unmarked(inputs, tmp_path):
    options = some(inputs, "training", "metrics", "curves")
    options |= {"activity": [tmp_path / "s.h5ad"], "left_out": tmp_path / "left_out.tsv"}
    data = anndata.read_h5ad(inputs["activity"][0])
    data.var["evidence"] = ["motif" if tf == "PAX5" else "chip" for tf in TFS]
    data.var["motif_group"] = ["EBF1" if tf == "PAX5" else tf for tf in TFS]
    data.write_h5ad(tmp_path / "s.h5ad")
    for name in ("differential", "targets", "motifs"):
        table = pd.read_csv(inputs[name], sep="\t")
        table["evidence"] = np.where(table["tf"] == "PAX5", "motif", "chip")
        options[name] = tmp_path / f"{name}.tsv"
        table.to_csv(options[name], sep="\t", index=False)
    row = {"model": "scbind", "cell_line": "L", "motif_group": "X", "prevalence": 0.1, "auprc_expected": 0.45}
    row |= dict(zip(CALIBRATION_COLUMNS, CALIBRATED, strict=True))
    row |= {
        "auprc_seen": 0.8,
        "auprc_pooled_trees": 0.15,
        "auprc_accessibility": 0.1,
        "auprc_motif_x_accessibility": 0.2,
    }
    rows = [
        row | {"tf": "CTCF", "split": "test", "auprc": 0.5},
        row | {"tf": "SPI1", "split": "test", "auprc": 0.3},
        row | {"tf": "SPI1", "split": "both", "auprc": 0.9},
    ]
    pd.DataFrame(rows).to_csv(options["left_out"], sep="\t", index=False)
    write(tmp_path / "report.html", **options)
    page = Page((tmp_path / "report.html").read_text())
    assert "6 transcription factors, 1 of them without ChIP-seq" in page.text
    assert "1 of 6 TFs have no ChIP-seq (PAX5)." in page.text
    assert (
        "a result for one of them may be due to another: EBF1/PAX5 (all groups: column motif_group"
        in page.text
    )
    assert "(adjusted p < 0.05): B: PAX5 (motif), EBF1, GATA1" in page.text
    assert page.text.count("(motif): no ChIP-seq, predicted from the motif") == 2  # UMAP and heatmap
    assert page.ids.index("left_out") == page.ids.index("evaluation") + 1
    assert "the mean AUPRC is 0.400 for TFs that were left out, and 0.800 if they are seen (50%)" in page.text
    assert "trees that were fitted to the other TFs 0.150" in page.text
    assert "The mean difference to motif x accessibility is 0.200, to these trees 0.250." in page.text
    assert (
        "scbind expected a conservative AUPRC of 0.450" in page.text
        and "the median measured on test windows is 0.400" in page.text
    )
    assert "Where scbind predicts P(bound) of 0.3 or more (20 pairs of window and TF)" in page.text


def test_the_section_on_accuracy_says_how_far_to_trust_a_probability(inputs, tmp_path):
    write(tmp_path / "r.html", **some(inputs, "training", "metrics", "curves"))
    text = Page((tmp_path / "r.html").read_text()).text
    assert (
        "Where scbind predicts P(bound) of 0.3 or more (60 pairs of window and TF), the mean P(bound) is"
        in text
    )
    assert "is 0.500, and the fraction that is bound is 0.400 (0.400 to 0.400)." in text
    assert "the mean P(bound) is 2 (2 to 2) times the fraction that is bound" in text
    assert "Calibration of every TF (scbind)" in text
    metrics = pd.read_csv(inputs["metrics"], sep="\t").drop(columns=["evidence", *CALIBRATION_COLUMNS[1:]])
    metrics.to_csv(tmp_path / "old.tsv", sep="\t", index=False)  # of the bundle of an older version
    write(tmp_path / "old.html", **some(inputs, "training", "curves") | {"metrics": tmp_path / "old.tsv"})
    old = Page((tmp_path / "old.html").read_text()).text
    assert "Calibration error:" in old and "Where scbind predicts" not in old


def test_a_motif_tf_that_was_tested_has_tables_of_its_own_and_is_marked(inputs, tmp_path):
    metrics = pd.read_csv(inputs["metrics"], sep="\t", keep_default_na=False, na_values=[""])
    metrics.loc[(metrics["model"] == "scbind") & (metrics["tf"] == "PAX5"), "evidence"] = "motif"
    metrics.to_csv(tmp_path / "m.tsv", sep="\t", index=False)
    data = anndata.read_h5ad(inputs["activity"][0])
    data.var["evidence"] = ["motif" if tf in ("PAX5", "RUNX3") else "chip" for tf in TFS]
    data.write_h5ad(tmp_path / "s.h5ad")
    given = {"metrics": tmp_path / "m.tsv", "activity": [tmp_path / "s.h5ad"]}
    write(tmp_path / "r.html", **some(inputs, "training", "curves", "depth", "needed") | given)
    page = (tmp_path / "r.html").read_text()
    text = Page(page).text
    assert "the given model predicts PAX5 from the motif" in text
    assert "Models and baselines: TFs that a model predicts from their motif" in text
    assert "cannot be tested, except PAX5, whose ChIP-seq this run has." in text
    assert "over 5 pairs of cell line and TF" in text, "the mean of the TFs with ChIP-seq"
    assert "PAX5 (motif) (0.340)" in text
    assert comparison(metrics)["n_pairs"].tolist() == [5, 5]
    assert comparison(metrics, by_motif=True)["n_pairs"].tolist() == [1, 1]


def test_a_report_of_nothing_but_abstained_tfs_says_so(inputs, tmp_path):
    options = some(inputs) | {"activity": [tmp_path / "s.h5ad"]}
    data = anndata.read_h5ad(inputs["activity"][0])
    data.var["abstained"] = True
    data.layers["abstained"] = np.ones(data.shape, dtype=bool)
    data.write_h5ad(tmp_path / "s.h5ad")
    for name in ("populations", "differential", "targets", "motifs"):
        table = pd.read_csv(inputs[name], sep="\t")
        table = table.iloc[:0] if name == "populations" else table.assign(reliability_abstained=True)
        options[name] = tmp_path / f"{name}.tsv"
        table.to_csv(options[name], sep="\t", index=False)
    write(tmp_path / "report.html", **options)
    page = Page((tmp_path / "report.html").read_text())
    assert {"populations", "differential", "targets", "motifs"} <= set(page.ids)
    assert "There are no populations. Left out: 6 of 6 TFs, because scbind abstains on them." in page.text
    assert "Tests: none. Left out: 6 of 6 TFs, because scbind abstains on them." in page.text
    assert "largest positive effect size in each" not in page.text and "GENE1" not in page.text


def test_cells_too_shallow_for_a_tf_do_not_count_in_the_means(inputs, tmp_path):
    data = anndata.read_h5ad(inputs["activity"][0])
    data.layers["abstained"] = np.tile(data.var["abstained"].to_numpy(), (30, 1))
    data.layers["abstained"][:15, 0] = True  # CTCF in every cell of type B
    data.write_h5ad(tmp_path / "s.h5ad")
    means = _type_means(read_activity([tmp_path / "s.h5ad"]))
    assert np.isnan(means.loc["B", "CTCF"]) and means.isna().to_numpy().sum() == 1
    assert means.loc["T <script>", "CTCF"] == pytest.approx(data.X[15:, 0].mean(), abs=1e-6)
    write(tmp_path / "report.html", activity=[tmp_path / "s.h5ad"])
    text = Page((tmp_path / "report.html").read_text()).text
    assert (
        "For TFs on which scbind does not abstain, 10.0% of the values are from cells that are too shallow for the TF."
        in text
    )
    assert "Blank: every cell of the type is too shallow for the TF." in text


def test_bad_paths_are_named(inputs, tmp_path):
    broken = tmp_path / "broken"
    broken.write_text("")
    page = tmp_path / "report.html"
    with pytest.raises(InputError, match="broken: the file is empty"):
        write(page, **inputs | {"metrics": broken})
    broken.write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        write(page, **inputs | {"peaks": {"B": broken}})
    with pytest.raises(InputError, match="not a .npz file"):
        write(page, **inputs | {"curves": {"scbind": broken}})
    with pytest.raises(InputError, match="not readable"):
        write(page, **inputs | {"cells": [broken]})
    assert not page.exists()


def test_comparison_uses_only_pairs_that_all_models_share():
    rows = [("a", "K", "X", 0.5), ("a", "K", "Y", 0.1), ("b", "K", "X", 0.2), ("b", "L", "Z", 0.9)]
    rows.append(("b", "K", "Y", None))
    frame = pd.DataFrame(rows, columns=["model", "cell_line", "tf", "auprc"])
    frame = frame.assign(split="test", prevalence=0.1, auroc=0.5, recall_at_fdr10=0, recall_at_fdr50=0, ece=0)
    frame["log2_gain"] = [2, 3, 1, 3, 3]
    table = comparison(frame)
    assert table.model.tolist() == ["a", "b"] and table.n_pairs.tolist() == [1, 1]
    assert table.auprc.tolist() == [0.5, 0.2] and table.log2_gain.tolist() == [2, 1]
    assert comparison(frame, "none").empty


def test_a_model_that_was_scored_on_a_sample_shows_its_error(inputs, full, tmp_path):
    path = tmp_path / "metrics.tsv"
    table = pd.read_csv(inputs["metrics"], sep="\t", keep_default_na=False, na_values=[""])
    rival = table["model"].unique()[-1]
    assert "standard error" not in Page((full / "report.html").read_text()).text
    table.assign(auprc_se=np.where(table["model"] == rival, 0.0123, np.nan)).to_csv(
        path, sep="\t", index=False
    )
    write(tmp_path / "r.html", **some(inputs, "training"), metrics=path)
    text = Page((tmp_path / "r.html").read_text()).text
    assert f"{rival}: scored on a sample of the test windows." in text and "0.0123" in text


def test_a_page_says_a_long_sentence_at_most_twice_and_shows_no_empty_column(inputs, tmp_path):
    """Of several tables with one column, the section says what the heading means."""
    table = pd.read_csv(inputs["metrics"], sep="\t", keep_default_na=False, na_values=[""])
    rival = table["model"].unique()[-1]
    table["auprc_se"] = np.where(table["model"] == rival, 0.0123, np.nan)
    splits = ("test", "chromosome", "cell_line", "both")
    parts = [table.assign(split=split) for split in splits] + [
        table.assign(split="scfan_protocol", ece=np.nan)
    ]
    pd.concat(parts).to_csv(tmp_path / "metrics.tsv", sep="\t", index=False)
    given = some(inputs, "training", "targets") | {"metrics": tmp_path / "metrics.tsv"}
    write(tmp_path / "r.html", **given)
    text = (tmp_path / "r.html").read_text()
    said = [re.sub("<[^>]+>", "", part) for part in re.findall("<p[^>]*>(.*?)</p>", text, re.DOTALL)]
    assert {part for part in said if len(part) > 80 and said.count(part) > 2} == set()
    assert said.count(MEANINGS["ece"]) == 1 and f'title="{MEANINGS["ece"]}"' in text, (
        "the heading has it, too"
    )
    protocol = text[text.index("scFAN; easier than all windows)</h4>") :]
    assert ">calibration error<" not in protocol[: protocol.index("</table>")]
    assert text.count(">calibration error<") == len(splits) + 3, "and every TF, and two tables of calibration"


def test_controls_neither_narrow_the_comparison_nor_win_it():
    rows = [("a", "K", "X", 0.5), ("a", "K", "Y", 0.1), ("b", "K", "X", 0.2), ("b", "K", "Y", 0.4)]
    rows.append(("other_lines_chip", "K", "X", 0.9))
    frame = pd.DataFrame(rows, columns=["model", "cell_line", "tf", "auprc"])
    frame = frame.assign(split="test", prevalence=0.1, auroc=0.5, recall_at_fdr10=0, recall_at_fdr50=0, ece=0)
    frame["log2_gain"] = 1.0
    table = comparison(frame).set_index("model")
    assert table["n_pairs"].to_dict() == {"a": 2, "b": 2, "other_lines_chip": 1}
    assert table["auprc"].to_dict() == pytest.approx({"a": 0.3, "b": 0.3, "other_lines_chip": 0.9})


def test_differences_start_with_the_largest_effects_of_each_type():
    frame = pd.DataFrame(
        {"contrast": "cell_type", "cell_type": "B", "group": "B", "reference": "", "tf": list("abcd"),
         "difference": [1, 2, -3, 4], "effect_size": [1, 2, -3, 4.0], "mean_binding": 0.1,
         "mean_binding_reference": 0.1, "p_adjusted": [0.01, 0.04, 0.01, 0.2], "n_replicates": 0}
    )  # fmt: skip
    assert ordered_differential(frame).tf.tolist() == ["b", "a", "d", "c"]
    marked = frame.assign(reliability_abstained=[False, True, False, False])
    assert ordered_differential(marked).tf.tolist() == ["a", "d", "c"]
    assert "reliability_abstained" not in ordered_differential(marked)


def test_rows_in_which_z_and_mean_binding_disagree_are_marked():
    frame = pd.DataFrame({"difference": [1.0, -1, 1, 0, np.nan], "mean_binding": [0.2, 0.2, 0.1, 0.3, 0.3],
                          "mean_binding_reference": 0.1})  # fmt: skip
    assert directions(frame).tolist() == ["agree", "disagree", "", "", ""]
    whole = frame.assign(contrast="cell_type", cell_type="B", group="B", reference="", tf=list("abcde"),
                         effect_size=frame["difference"], p_adjusted=0.01, n_replicates=0, test="t")  # fmt: skip
    section = activity.differential(SimpleNamespace(tables={"differential": whole}))
    assert "z_and_binding" in keys(section)
    assert "Where they disagree (1 of 5 rows with adjusted p < 0.05), rely on z." in section.text[2]


@pytest.mark.parametrize(
    ("value", "text"),
    [(np.nan, "–"), (3.0, "3"), (12345, "12,345"), (1234.56, "1,235"), (0.1, "0.100"), (0.00363, "0.00363"),
     (1.23e-8, "1.2e-08"), (12.345, "12.3"), (123.45, "123"), (np.inf, "∞"), (-0.5, "-0.500")],
)  # fmt: skip
def test_numbers(value, text):
    assert number(value) == text


def opened(table):
    """The columns of a table as the browser opens them: key to values."""
    found = json.loads(unpack(table["pack"]))
    keys = [column["key"] for column in found["columns"]]
    columns = [
        column["v"] if "v" in column else [column["l"][code] for code in column["c"]]
        for column in found["data"]
    ]
    return dict(zip(keys, columns, strict=True))


def test_tables_are_whole_and_start_as_text():
    rows = pd.DataFrame(
        {"tf": [f"x{i}" for i in range(500)], "auprc": np.arange(500) / 3, "small": True, "gap": np.nan}
    )
    table = html_table("t", rows)
    assert len(table["rows"]) == FIRST_ROWS and table["n"] == 500 and not table["note"]
    assert [column["name"] for column in table["columns"]] == ["TF", "AUPRC", "small", "gap"]
    assert table["rows"][1][1] == {"text": "0.333", "sort": pytest.approx(1 / 3)}
    assert table["rows"][0][2]["text"] == "yes" and table["rows"][0][3]["text"] == "–"
    found = opened(table)
    assert found["tf"] == rows["tf"].tolist() and found["auprc"] == pytest.approx(rows["auprc"], rel=1e-3)
    assert set(found["small"]) == {"yes"} and set(found["gap"]) == {None}
    assert html_table("t", rows.head(3))["pack"] == "" and html_table("t", rows.head(3), name="n")["pack"]


def test_no_heading_stands_twice():
    with pytest.raises(ValueError, match="two columns with one heading"):
        html_table("t", pd.DataFrame({"n_cells": [1], "cells": [2]}))


def test_a_mark_that_no_row_has_is_no_column():
    rows = pd.DataFrame({"tf": ["a", "b"], "reliability_abstained": [False, False]})
    assert [column["key"] for column in html_table("t", rows)["columns"]] == ["tf"]
    rows.loc[1, "reliability_abstained"] = True
    assert html_table("t", rows)["rows"][1][1]["text"] == "yes"


def test_what_a_tf_rests_on_stands_beside_its_name_if_not_all_have_chip_seq():
    rows = pd.DataFrame({"tf": ["a", "b"], "value": 1.0, "evidence": "chip"})
    assert [column["key"] for column in html_table("t", rows)["columns"]] == ["tf", "value"]
    rows.loc[1, "evidence"] = "motif"
    assert [column["key"] for column in html_table("t", rows)["columns"]] == ["tf", "evidence", "value"]
    assert html_table("t", rows)["rows"][1][1]["text"] == "motif"


def test_join_names():
    assert [join_names(x) for x in ("", "a", "ab", "abc")] == ["", "a", "a and b", "a, b and c"]


def test_what_a_design_does_not_tell_is_said():
    rows = [
        ("scbind", "CTCF", "test", 0),
        ("scbind", "SPI1", "test", 5),
        ("other_lines_chip", "SPI1", "test", 5),
    ]
    metrics = pd.DataFrame(rows, columns=["model", "tf", "split", "n_bound"])
    assert _unknown(metrics) == ["No held-out window is bound by CTCF, so their AUPRC is unknown (–)."]
    alone = metrics[metrics["model"] == "scbind"]
    assert _unknown(alone)[1] == "other_lines_chip has no value, because no TF was assayed in two cell lines."
    assert _unknown(alone.assign(n_bound=1, model="other_lines_chip")) == []


def test_found_and_learned_motifs_are_beside_the_known_ones(inputs, tmp_path):
    columns = "tf motif consensus width n_sites auprc prevalence n_bound starts_found starts_known"
    columns = [*columns.split(), "nearest_known", "nearest_p_adjusted", "own_p_adjusted"]
    rows = [
        ("CTCF", "found:CTCF.1", "CCAcTAG", 7, 60, 0.8, 0.2, 90, 1, 1, "MA0139.2:CTCF", 1e-9, 1e-9),
        ("CTCF", "MA0139.2:CTCF", "CCACTAGG", 8, None, 0.7, 0.2, 90, 0, 0, None, None, None),
        ("SPI1", "found:SPI1.1", "GATTA", 5, 30, 0.4, 0.2, 90, 1, 0, "MA1.1:OTX2", 0.01, 0.9),
        ("RUNX3", "found:RUNX3.1", "TTTTT", 5, 30, 0.4, 0.2, 90, 1, 0, None, None, 0.9),
        ("NFE2", "found:CTCF.1", "CCAcTAG", 7, 60, 0.6, 0.2, 9, 1, 0, "MA0139.2:CTCF", 1e-9, 1e-3),
    ]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "found.tsv", sep="\t", index=False)
    learned = pd.DataFrame(
        [("CTCF", "CCACT", "MA0139.2:CTCF", 1e-9, 1e-9)], columns=["tf", "consensus", *columns[-3:]]
    )
    learned.to_csv(tmp_path / "learned.tsv", sep="\t", index=False)
    tables = {"found": tmp_path / "found.tsv", "learned": tmp_path / "learned.tsv"}
    write(tmp_path / "report.html", **some(inputs), **tables)
    text = Page((tmp_path / "report.html").read_text()).text
    assert (
        "Motifs were found for 3 TFs. The best one is similar to the TF's own known motif for 1 of them."
        in text
    )
    assert "only similar to the known motif of another TF for SPI1 (OTX2)." in text
    assert (
        "No motif, or only one that may be chance, was found for NFE2 (that of CTCF): the motif that was found for "
        "another TF and fits best is" in text
    )
    assert "CTCF found:CTCF.1 CCAcTAG" in text and "nan" not in text.lower()
    assert "start if motifs" not in text and "starts found" not in text
    pd.DataFrame(rows[1:2], columns=columns).to_csv(tmp_path / "found.tsv", sep="\t", index=False)
    write(tmp_path / "none.html", **some(inputs), **tables)  # only a known motif, as of TFs with few windows
    assert "Motifs were found for 0 TFs." in Page((tmp_path / "none.html").read_text()).text
    learned.iloc[:0].to_csv(tmp_path / "found.tsv", sep="\t", index=False)
    learned.iloc[:0].to_csv(tmp_path / "learned.tsv", sep="\t", index=False)
    write(tmp_path / "report.html", **some(inputs), **tables)
    assert "Motifs found in the data" not in Page((tmp_path / "report.html").read_text()).text


def test_places_are_written_as_genome_browsers_take_them():
    assert (
        place("chr1", 1000, 1200) == "chr1:1,001-1,200"
        and place("chrX", 999_999, 1_000_000) == "chrX:1,000,000"
    )
    assert regions("chr4:618315-618815,HLA-A:7-9") == "chr4:618,316-618,815; HLA-A:8-9"
    assert regions("1,234 doublets; copy number of chr7:0-2000 x1.50, chr8:10-30 x0.50") == (
        "1,234 doublets; copy number of chr7:1-2,000 x1.50, chr8:11-30 x0.50"
    )


def test_a_table_shows_places_and_holds_the_columns_of_the_file():
    table = pd.DataFrame(
        {"chrom": ["chr1", "chr2"], "start": [1000, 7], "end": [1200, 8], "sites": ["chr1:5-9", None]}
    )
    made = html_table("Title", table)
    assert [column["name"] for column in made["columns"] if not column.get("hidden")] == ["place", "sites"]
    assert [[cell["text"] for cell in row] for row in made["rows"]] == [
        ["chr1:1,001-1,200", "chr1:6-9"], ["chr2:8", ""]
    ]  # fmt: skip
    packed = json.loads(unpack(made["pack"]))
    assert [column["key"] for column in packed["columns"]] == list(table) and packed["columns"][0][
        "place"
    ] == [1, 2]
    assert packed["data"][1] == {"v": [1000, 7]} and packed["data"][3]["l"][0] == "chr1:5-9", "as in the file"
    assert html_table("Title", table[["start"]])["pack"] == "", "a small table without places needs none"


def test_the_distances_of_sites_stand_behind_them_and_are_a_column_of_the_file():
    table = pd.DataFrame(
        {
            "gene": ["A", "B"],
            "sites": ["chr1:1000-1500,chr:x:0-9", None],
            "distances": ["-500,12345", None],
        }
    )
    made = html_table("Title", table)
    assert [column["name"] for column in made["columns"] if not column.get("hidden")] == ["gene", "sites"]
    assert [row[1]["text"] for row in made["rows"]] == [
        "chr1:1,001-1,500 (promoter, −500 bp); chr:x:1-9 (distal, +12,345 bp)",
        "",
    ]
    packed = json.loads(unpack(made["pack"]))
    assert [column["key"] for column in packed["columns"]] == list(table) and packed["columns"][1][
        "distances"
    ] == 2


def test_distances_are_text_even_if_each_link_has_one_site(tmp_path):
    (tmp_path / "links.tsv").write_text("gene\tsites\tdistances\nA\tchr1:0-9\t-7\nB\t\t\nC\tchr1:5-6\t\n")
    made = html_table("Title", read_result(tmp_path / "links.tsv", "run again"))
    assert [row[1]["text"] for row in made["rows"]] == ["chr1:1-9 (promoter, −7 bp)", "", "chr1:6"]


def test_no_page_says_that_coordinates_are_zero_based(full):
    text = (full / "report.html").read_text()
    shown = text[: text.index("<script")] if "<script" in text else text
    assert "0-based" not in re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL) and "place" in shown


def test_words_have_one_sentence_in_page_and_glossary():
    glossary = (Path(__file__).parents[2] / "docs/glossary.md").read_text().replace("**", "")
    glossary = " ".join(glossary.split()).casefold()
    for sentence in (*MEANINGS.values(), DEPTH, *ORACLES.values()):
        term, _, meaning = sentence.partition(": ")
        assert meaning.casefold() in glossary and term.casefold() in glossary, sentence


def test_the_oracle_is_explained_and_only_where_the_truth_is_known(inputs, tmp_path):
    rows = pd.DataFrame(
        [(name, "CTCF", "all", "few", 5, 9, 0.01, 0.5, 0.5) for name in ("oracle_type", "scbind")],
        columns="model tf chromosomes cells n_cells n_windows prevalence auprc_mean auprc_median".split(),
    )  # fmt: skip
    rows.to_csv(tmp_path / "cells.tsv", sep="\t", index=False)
    write(tmp_path / "report.html", **some(inputs), truth_cells=tmp_path / "cells.tsv")
    text = Page((tmp_path / "report.html").read_text()).text
    assert ORACLES["oracle_type"] + "." in text and ORACLES["oracle"] not in text
    write(tmp_path / "report.html", **some(inputs))
    assert "oracle" not in (tmp_path / "report.html").read_text()


def test_small_and_stable_populations_are_named():
    table = pd.DataFrame(
        [
            ("P1", 90, "B", False, 1.0, ""),
            ("P2", 7, "T", True, 0.9, "one donor"),
            ("P3", 3, "NK", True, 0.5, ""),
        ],
        columns=["population", "n_cells", "cell_type", "small", "stability", "cautions"],
    )
    said = summary._populations_point(table)
    assert said == (
        "The cells are divided into 3 populations. 1 of them is small and stable: P2 (7 cells, T, see its cautions)."
    )
    assert summary._populations_point(table[table["population"] != "P2"]).endswith(
        "None of them is both small and stable."
    )
