"""Results of a cohort against its truth, on a made-up cohort of which every score is known."""

import anndata
import pandas as pd
import pytest
from scbind.core.errors import InputError
from scbind.demo.cohortscore import CohortResults, score_cohort
from scbind.demo.linktruth import LinkTruth, score_cell_links
from scbind.formats.bedtools import overlapped
from scbind.report import cohort as section
from sklearn.metrics import roc_auc_score
from smallcohort import CELLS, make_cohort


def score(folder, **changes):
    """Both tables of the results in a folder, with other files in the place of some."""
    results, truth = folder / "results", folder / "resources/cohort/truth"
    analysis = results / "analysis"
    given = {
        "cells": [results / f"cells/{name}/cells.h5ad" for name in CELLS],
        "populations": analysis / "populations.tsv",
        "population_cells": analysis / "population_cells.tsv",
        "abundance": analysis / "abundance.tsv",
        "links": analysis / "links.tsv",
        "regulation": [analysis / f"regulation/{name}.h5ad" for name in CELLS],
        "sites": analysis / "differential_sites.tsv",
    }
    score_cohort(CohortResults(**given | changes), truth, folder / "l.tsv", folder / "p.tsv")
    return (pd.read_csv(folder / name, sep="\t", keep_default_na=False) for name in ("l.tsv", "p.tsv"))


@pytest.fixture
def made(tmp_path):
    make_cohort(tmp_path)
    return tmp_path


@pytest.fixture
def populations(made):
    return list(score(made))[1].set_index("state")


def test_each_state_has_the_population_that_matches_it_best(populations):
    assert populations.index.tolist() == ["myeloid", "b_cell", "t_cell", "stem"], (
        "the clone is a part of the B cells"
    )
    assert populations["n_cells"].tolist() == [28, 24, 20, 8]
    assert populations["population"].tolist() == ["P1", "P2", "P3", "P4"]
    stem = populations.loc["stem"]
    assert [stem[name] for name in ("precision", "recall", "f1")] == pytest.approx([7 / 8, 7 / 8, 7 / 8])
    assert populations.loc["myeloid", "f1"] == pytest.approx(27 / 28, abs=1e-6)
    assert populations.loc["b_cell", "f1"] == 1


def test_own_tfs_are_those_that_the_nearest_population_lacks(populations):
    assert populations["own_tfs"].tolist() == ["", "EBF1", "GATA3;TCF7", "EBF1;GATA3"]
    assert populations["own_tfs_first"].tolist() == ["", "EBF1", "TCF7;GATA3", "EBF1"], (
        "GATA3 of stem is the third"
    )


def test_the_fold_stands_beside_that_of_the_true_cells(populations):
    stem = populations.loc["stem"]
    assert float(stem["true_fold"]) == pytest.approx(3) and float(stem["fold"]) == pytest.approx(2.5)
    assert float(stem["p_adjusted"]) == pytest.approx(0.04)
    assert populations.loc["b_cell", "true_fold"] == 1 and populations.loc["b_cell", "fold"] == "", (
        "not compared"
    )


def test_sites_are_right_in_elements_that_change_in_the_state(populations):
    assert populations["n_sites"].tolist() == ["1", "0", "3", ""], (
        "the stem-like cells have no cell type of their own"
    )
    shares = populations["sites_right"].tolist()
    assert float(shares[2]) == pytest.approx(1 / 3, abs=1e-6)
    assert float(shares[0]) == 0, "the element does not change in myeloid cells"
    assert shares[1] == shares[3] == ""


def test_no_site_is_right_without_a_response(made):
    path = made / "resources/cohort/truth/cells.tsv"
    path.write_text(path.read_text().replace("t_cell_disease", "t_cell"))
    _, populations = score(made)
    assert float(populations.set_index("state").loc["t_cell", "sites_right"]) == 0


def test_links_are_scored_per_type_and_in_the_cells_of_each_sample(made):
    links, _ = score(made)
    assert links["kind"].tolist() == ["cell_type", *["sample"] * 4] and links["name"].tolist() == [
        "c0",
        *CELLS,
    ]
    row = links.iloc[0]
    assert row["states"] == "myeloid,stem"
    assert [float(row[name]) for name in ("n_called", "fdr", "recall")] == [2, 0.5, 0.5]
    assert float(row["auprc"]) == pytest.approx(0.5 * 1 + 0.5 * 2 / 6, abs=1e-6)
    assert (links["auroc"].iloc[1:].astype(float) == 1).all() and (
        links["n_links"].iloc[1:].astype(float) == 1
    ).all()


def test_the_ceiling_of_a_link_knows_the_states_but_no_cell(made):
    path = made / "results/analysis/regulation/D1.h5ad"
    known, names = LinkTruth(made / "resources/cohort/truth"), anndata.read_h5ad(path).obs_names
    active = known.active(["SPI1", "TCF7"], ["gA", "gB"], names)
    state = known.cells["state"].reindex(names)
    assert active[:, 0].tolist() == [
        kind in ("myeloid", "stem") and row % 2 == 1 for row, kind in enumerate(state)
    ]
    assert not active[:, 1].any()
    (row,) = score_cell_links(path, known).itertuples()
    share = pd.Series(active[:, 0]).groupby(state.to_numpy()).transform("mean")
    assert (row.tf, row.n_active, row.n_cells, row.auroc) == ("SPI1", active[:, 0].sum(), 20, 1)
    assert row.auroc_ceiling == pytest.approx(roc_auc_score(active[:, 0], share)) and row.auroc_ceiling < 1


def test_without_the_sites_populations_are_scored_all_the_same(made):
    links, populations = score(made, links=None, regulation=[], sites=None)
    assert links.empty and "auprc" in links
    assert (populations["n_sites"] == "").all() and populations["f1"].astype(float).min() > 0.8


def test_cells_that_are_no_part_of_the_truth_are_one_line(made):
    path = made / "resources/cohort/truth/cells.tsv"
    path.write_text(path.read_text().replace("\tB", "\tX"))
    with pytest.raises(InputError, match="no cell of the samples is a cell of the simulated truth"):
        list(score(made))


def test_windows_touch_an_element_if_they_share_a_base():
    elements = pd.DataFrame({"chrom": ["a", "a", "b"], "start": [500, 100, 0], "end": [600, 200, 50]})
    windows = pd.DataFrame({"chrom": ["a"] * 4 + ["b", "c"], "start": [0, 1, 200, 550, 49, 0]})
    windows["end"] = windows["start"] + 100
    assert overlapped(windows, elements).tolist() == [False, True, False, True, True, False]
    assert overlapped(windows.iloc[:0], elements).tolist() == []


class Given:
    def __init__(self, tables):
        self.tables = tables


def test_the_report_shows_both_tables_and_the_means_over_samples(made):
    list(score(made))
    links, populations = (pd.read_csv(made / name, sep="\t") for name in ("l.tsv", "p.tsv"))
    found = section.cohort(Given({"truth_cohort_links": links, "truth_cohort_populations": populations}))
    assert [table["title"] for table in found.tables] == ["Links of each cell type", "True populations"]
    headings = [[column["name"] for column in table["columns"]] for table in found.tables]
    assert "fraction of true links called" in headings[0] and {"recall", "true fold"} <= set(headings[1])
    said = " ".join(found.text)
    assert "the mean AUROC of a link is 1" in said and "otherwise it was lost" in said
    assert section.cohort(Given({})) is None
    few = {"truth_cohort_links": links.iloc[:0], "truth_cohort_populations": populations}
    assert [table["title"] for table in section.cohort(Given(few)).tables] == ["True populations"]
