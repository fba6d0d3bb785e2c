"""Names of the package in the documents are those of the code."""

import importlib
import re
import textwrap

import anndata
import numpy as np
import pandas as pd
import pytest
from docpages import PAGES, ROOT, read_page


def exists(name: str) -> bool:
    """Whether a dotted name is a module of the package, or something in one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[length:]:
            if not hasattr(found, attribute):
                return False
            found = getattr(found, attribute)
        return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_in_the_documents_exist(page):
    names = set(re.findall(r"`(scbind\.[A-Za-z_][\w.]*\w)", read_page(page)))
    assert not [name for name in sorted(names) if not exists(name)]


def test_a_name_that_is_gone_is_found():
    assert exists("scbind.core.files.atomic") and not exists("scbind.core.files.gone")


def test_the_ranking_of_the_first_tutorial_runs_although_a_type_has_one_cell():
    sc = pytest.importorskip("scanpy")
    text = (ROOT / "docs/tutorial/first-run.md").read_text()
    (step,) = [
        part for part in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "rank_genes_groups(" in part
    ]
    kinds = pd.Categorical(["a"] * 20 + ["b"] * 20 + ["c"])
    values = np.random.default_rng(0).normal(size=(41, 3)).astype(np.float32)
    obs = pd.DataFrame({"cell_type": kinds}, index=[f"s#{i}" for i in range(41)])
    var = pd.DataFrame({"abstained": [False, False, True]}, index=["CTCF", "SPI1", "EBF1"])
    names = {"sc": sc, "adata": anndata.AnnData(values, obs=obs, var=var)}
    exec(textwrap.dedent(step), names)
    assert set(names["ranked"]["group"]) == {"a", "b"} and set(names["ranked"]["names"]) == {"CTCF", "SPI1"}


def test_the_other_layout_of_the_outputs_is_one_of_all_cells(tmp_path, monkeypatch):
    pytest.importorskip("scanpy")
    text = (ROOT / "docs/reference/outputs.md").read_text()
    (step,) = [part for part in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "sc.tl.umap(" in part]
    points = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    obsm = {"X_lsi": points, "X_umap": np.zeros((40, 2), dtype=np.float32)}
    (tmp_path / "results/activity").mkdir(parents=True)
    anndata.AnnData(points[:, :3], obsm=obsm).write_h5ad(tmp_path / "results/activity/demo.h5ad")
    monkeypatch.chdir(tmp_path)
    exec(step, names := {})
    place = names["adata"].obsm["X_umap"]
    assert place.shape == (40, 2) and np.isfinite(place).all() and place.std() > 0
