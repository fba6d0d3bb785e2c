"""The cells of docs/tutorial/pbmc.ipynb run on pieces of real data; other viewers can open what the run made.

With SCBIND_KEEP=1 in the environment, the notebook gets the outputs and the figures of this run.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import anndata
import pandas as pd
import pytest
from docpages import ROOT, code_cells, printed, read_notebook, read_page, run_cells, write_notebook

NOTEBOOK = ROOT / "docs/tutorial/pbmc.ipynb"
DATA = Path(os.environ.get("SCBIND_DATA") or ROOT.parent / "shared/real")

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.skipif(
        not (DATA / "sc").is_dir(), reason=f"no pieces of real data in {DATA}: set SCBIND_DATA"
    ),
]


@pytest.fixture(scope="module")
def applied(tmp_path_factory) -> Path:
    """A folder in which the starter model was applied to the cells of the tutorial."""
    folder = tmp_path_factory.mktemp("tutorial")
    for name in ("tests/configs", "resources/models"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(ROOT / name)
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--directory", str(folder)]
    command += ["--configfile", "tests/configs/real/apply.yaml", "--config", f"data={DATA}"]
    environment = os.environ | {
        "XDG_CACHE_HOME": str(folder / ".cache"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    reply = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert reply.returncode == 0, reply.stdout[-6000:]
    return folder


def alike(shown: str, text: str) -> bool:
    """Whether two texts have the same words, and the same numbers but for rounding on another machine."""

    def read(word):
        try:
            return pytest.approx(float(word.strip("(),:")), rel=0.02, abs=0.002)
        except ValueError:
            return word

    return [read(word) for word in shown.split()] == [read(word) for word in text.split()]


def test_numbers_may_differ_by_rounding_and_words_may_not():
    assert alike("SPI1  4.106 (95, 28)", "SPI1 4.107   (95, 28)")
    assert not alike("SPI1 4.106", "SPI1 4.306") and not alike("SPI1 4.106", "MAX 4.106")
    assert not alike("SPI1", "SPI1 4.106")


def test_the_tutorial_runs_and_markers_tell_b_from_t_cells(applied, monkeypatch):
    folder = applied / "docs/tutorial"  # Jupyter runs a notebook in its own folder
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SCBIND_DATA", str(DATA))
    notebook = read_notebook(NOTEBOOK)
    names, texts = run_cells(notebook, NOTEBOOK.name)
    share = names["share"]
    assert share.loc["B", "MS4A1"] > 5 * share.loc["T", "MS4A1"]
    assert share.loc["T", "CD3D, CD3E, CD3G"] > 2 * share.loc["B", "CD3D, CD3E, CD3G"]
    assert not names["known"].var["abstained"].any() and len(names["ranked"]) == names["known"].n_vars
    assert 0 < names["sites"].max() <= 1
    figures = re.findall(r"\(figures/(\w+\.png)\)", read_page(NOTEBOOK))
    if os.environ.get("SCBIND_KEEP"):
        for cell in code_cells(notebook):
            lines = texts[cell["id"]].splitlines(keepends=True)
            stream = {"name": "stdout", "output_type": "stream", "text": lines}
            cell["outputs"] = [stream] if lines else []
        write_notebook(NOTEBOOK, notebook)
        for figure in figures:
            shutil.copyfile(folder / "my_figures" / figure, NOTEBOOK.parent / "figures" / figure)
    for figure in figures:
        assert (folder / "my_figures" / figure).stat().st_size
        assert (NOTEBOOK.parent / "figures" / figure).stat().st_size < 100_000
    old = [cell["id"] for cell in code_cells(notebook) if not alike(printed(cell), texts[cell["id"]])]
    assert not old, f"{NOTEBOOK.name}: cells with old outputs; SCBIND_KEEP=1 keeps those of a run"


@pytest.mark.parametrize("name", ["activity/tenx.h5ad", "cells/tenx/peaks.h5ad"])
def test_cellxgene_and_vitessce_find_what_they_need(applied, name, tmp_path):
    # https://github.com/chanzuckerberg/cellxgene-documentation/blob/main/desktop/data-reqs.md
    adata = anndata.read_h5ad(applied / "results" / name)
    assert adata.n_obs and adata.n_vars and adata.X.dtype.kind in "fi"
    assert adata.obs_names.is_unique and adata.var_names.is_unique
    assert adata.obsm["X_umap"].shape == (adata.n_obs, 2)
    assert isinstance(adata.obs["cell_type"].dtype, pd.CategoricalDtype)
    assert len(adata.uns["cell_type_colors"]) == len(adata.obs["cell_type"].cat.categories)
    adata.write_zarr(tmp_path / "viewed.zarr")
    assert (tmp_path / "viewed.zarr/obsm/X_umap").is_dir() and (
        tmp_path / "viewed.zarr/obs/cell_type"
    ).is_dir()
