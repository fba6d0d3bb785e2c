"""The code of docs/tutorial/pbmc.md runs, in its order, on pieces of real data; other viewers can open what it made."""

import os
import re
import subprocess
import sys
from pathlib import Path

import anndata
import matplotlib
import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/tutorial/pbmc.md"
DATA = Path(os.environ.get("SCBIND_DATA") or ROOT.parent / "shared/real")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)

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


def test_the_tutorial_runs_and_markers_tell_b_from_t_cells(applied, monkeypatch):
    monkeypatch.chdir(applied)
    monkeypatch.setenv("SCBIND_DATA", str(DATA))
    matplotlib.use("Agg")
    names = {}
    for number, block in enumerate(BLOCKS):
        exec(compile(block, f"{PAGE.name}, block {number}", "exec"), names)
    share = names["share"]
    assert share.loc["B", "MS4A1"] > 5 * share.loc["T", "MS4A1"]
    assert share.loc["T", "CD3D, CD3E, CD3G"] > 2 * share.loc["B", "CD3D, CD3E, CD3G"]
    assert not names["known"].var["abstained"].any() and len(names["ranked"]) == names["known"].n_vars
    assert 0 < names["sites"].max() <= 1
    for shown in re.findall(r"\(figures/(\w+\.png)\)", PAGE.read_text()):
        assert (applied / shown).stat().st_size and (PAGE.parent / "figures" / shown).stat().st_size < 100_000


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
