"""One reader of .h5ad files: cells and activity."""

import ast

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scbind.core.errors import InputError
from scbind.formats import celltable
from scbind.plan import digests


@pytest.fixture
def cells(tmp_path):
    """A file of three cells, the second of which fails."""
    obs = pd.DataFrame({"pass": [True, False, True], "cell_type": ["a", "", None]}, index=["x", "y", "z"])
    data = anndata.AnnData(np.zeros((3, 4), np.float32), obs=obs)
    data.obsm["X_lsi"] = np.arange(6.0).reshape(3, 2)
    data.obsp["borrow"] = sp.csr_matrix(np.eye(3, dtype=np.float64))
    data.uns["params"] = {"min_tss": 4.0}
    data.write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path / "cells.h5ad"


def test_each_part_is_read(cells):
    obs, obsm = celltable.read_passing_cells(cells)
    assert (
        list(obs.index) == ["x", "z"] and obsm["X_lsi"].tolist() == [[0, 1], [4, 5]] and "X_umap" not in obsm
    )
    assert celltable.passing_rows(cells).tolist() == [0, 2]
    borrow = celltable.read_borrow(cells)
    assert borrow.dtype == np.float32 and borrow.diagonal().tolist() == [1, 1, 1]
    assert celltable.read_params(cells) == {"min_tss": 4.0}
    types = celltable.cell_types_of(celltable.read_obs(cells), cells)
    assert types.isna().tolist() == [False, True, True]


def test_the_matrix_is_not_read(cells):
    with h5py.File(cells, "a") as file:
        del file["X"]
        file["X"] = "not a matrix"
    assert len(celltable.read_obs(cells)) == 3 and celltable.read_borrow(cells).shape == (3, 3)


def test_absent_parts_and_files_are_told_once(cells, tmp_path):
    with h5py.File(cells, "a") as file:
        del file["obsp/borrow"], file["uns/params"]
    assert celltable.read_borrow(cells) is None and celltable.read_params(cells) == {}
    with pytest.raises(
        InputError, match="obs has no column depth, donor; run the embedding of the sample again"
    ):
        celltable.read_obs(cells, ["pass", "depth", "donor"])
    with pytest.raises(InputError, match="no such file; run the activity rule first"):
        celltable.read_whole(tmp_path / "none.h5ad", celltable.ACTIVITY)
    (tmp_path / "torn.h5ad").write_bytes(cells.read_bytes()[:700])
    for read in (celltable.read_obs, celltable.read_borrow, celltable.read_params):
        with pytest.raises(InputError, match="torn.h5ad: not readable .*; run the embedding of the sample"):
            read(tmp_path / "torn.h5ad")


def test_a_whole_file_must_have_the_parts_that_are_needed(cells):
    celltable.read_whole(cells, celltable.GROUP, ["obs/pass", "obsp/borrow"])
    for needed in ("obs/depth", "obsm/X_umap", "obsp/connectivities", "layers/mean_binding", "var/tf"):
        part, name = needed.split("/")
        with pytest.raises(
            InputError, match=f"{cells.name}: {part} has no {name}; run the embedding of the group again$"
        ):
            celltable.read_whole(cells, celltable.GROUP, ["obs/pass", needed])


def test_no_other_module_opens_an_h5ad():
    found = set()
    for module in digests.list_modules():
        tree = ast.parse((digests.PACKAGE / f"{module.replace('.', '/')}.py").read_text())
        calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
        names = {(getattr(f.value, "id", ""), f.attr) for f in calls if isinstance(f, ast.Attribute)}
        if names & {("h5py", "File"), ("anndata", "read_h5ad"), ("ad", "read_h5ad")}:
            found.add(module)
    assert found == {
        "formats.celltable",
        "formats.barcodes",
        "formats.rna",
    }  # the second and the third open matrices of Cell Ranger, no h5ad
