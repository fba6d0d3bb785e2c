"""Weights of TFs in consensus peaks, held against means made by hand."""

import gzip
import json

import anndata
import numpy as np
import pandas as pd
import pytest
from bindingstore import write_sample, write_windows
from scbind.analysis.peakbinding import COLUMNS, peak_binding
from scbind.core.errors import InputError
from scipy import sparse

PEAKS = [("chr1", 1000, 1500), ("chr1", 2000, 2500), ("chr1", 4000, 4500), ("chr2", 0, 500)]
WINDOW_OF = [0, 0, 1, 3]  # two windows on the first peak, none on the third


def code(probability):
    """Return the code of a P(bound): P = 1 - (1 - code / 255)^2."""
    return int(round(255 * (1 - np.sqrt(1 - probability))))


def value(codes):
    return 1 - (1 - np.asarray(codes) / 255) ** 2


@pytest.fixture
def made(tmp_path):
    """Two samples. T1 binds the first peak in the rare type b; M has no ChIP-seq; L is abstained on."""
    (tmp_path / "chrom.sizes").write_text("chr1\t9000\nchr2\t9000\n")
    (tmp_path / "consensus.bed").write_text("".join(f"{c}\t{s}\t{e}\n" for c, s, e in PEAKS))
    write_windows(tmp_path / "windows.npz", [0, 0, 0, 1], [1000, 1200, 2100, 100])
    windows = dict(np.load(tmp_path / "windows.npz"))
    np.savez(tmp_path / "windows.npz", **windows | {"peak": np.array(WINDOW_OF, dtype=np.int32)})
    known = {
        "T1": {"level": "high", "abstained": False, "evidence": "chip", "min_depth": 0.5},
        "M": {"level": "medium", "abstained": False, "evidence": "motif"},
        "L": {"level": "low", "abstained": True, "evidence": "chip"},
    }
    types, layers = ["a"] * 30 + ["b"] * 5 + ["few"] * 2 + [None], {}
    rng = np.random.default_rng(0)
    for tf in known:
        layers[tf] = rng.integers(0, 3, (38, 4))
    layers["T1"][30:35, 1] = code(0.9)
    layers["T1"][30, 1] = 0  # a cell too shallow for T1
    layers["T1"][35:, 3] = code(0.9)  # in cells of no listed type
    layers["M"][:, 2] = code(0.4)
    layers["L"][:30, 0], layers["L"][:30, 1] = code(0.2), code(0.3)
    depth = np.ones(38)
    depth[30] = 0.1
    pairs = [
        write_sample(tmp_path, f"s{i}", layers, types, depth=depth, known=json.dumps(known)) for i in range(2)
    ]
    zarrs, cells = map(list, zip(*pairs, strict=True))
    return {
        "zarrs": zarrs, "cells": cells, "windows": tmp_path / "windows.npz", "peaks": tmp_path / "consensus.bed",
        "sizes": tmp_path / "chrom.sizes", "output": tmp_path / "peaks.h5ad", "network": tmp_path / "peaks.tsv.gz",
        "min_cells": 8,
    }, layers  # fmt: skip


def test_weights_are_the_largest_means_of_windows_and_types(made):
    options, layers = made
    peak_binding(**options)
    data = anndata.read_h5ad(options["output"])
    assert sparse.issparse(data.X) and data.X.dtype == np.float32 and data.X.format == "csr"
    assert data.obs_names.tolist() == [f"{c}:{s}-{e}" for c, s, e in PEAKS]
    assert data.obs[["start", "end"]].to_numpy().tolist() == [[s, e] for _, s, e in PEAKS]
    assert data.var["evidence"].tolist() == ["chip", "motif", "chip"]
    assert data.var["abstained"].tolist() == [False, False, True] and data.var["level"].iloc[0] == "high"
    assert data.uns["about"]["cell_types"].tolist() == ["a", "b"] and data.uns["about"]["min_binding"] == 0.1
    expected = np.zeros((4, 3))
    deep = np.arange(38) != 30
    for column, tf in enumerate(data.var_names):
        for cells in (slice(0, 30), slice(30, 35)):
            part = value(layers[tf])[cells][deep[cells] | (tf != "T1")].mean(axis=0)
            for window, peak in enumerate(WINDOW_OF):
                expected[peak, column] = max(expected[peak, column], part[window])
    expected[expected < 0.1] = 0
    np.testing.assert_allclose(data.X.toarray(), expected, atol=1e-5)
    assert expected[0, 0] > 0.89 and expected[3, 0] == 0, (
        "the rare type counts, cells of no listed type do not"
    )
    assert data.X.nnz == 3


def test_the_table_has_the_weights_of_tfs_that_can_be_used(made):
    options, _ = made
    peak_binding(**options)
    table, data = pd.read_csv(options["network"], sep="\t"), anndata.read_h5ad(options["output"])
    assert table.columns.tolist() == COLUMNS
    assert table[["source", "target", "evidence"]].to_numpy().tolist() == [
        ["T1", "chr1:1000-1500", "chip"],
        ["M", "chr1:2000-2500", "motif"],
    ]
    for row in table.itertuples():
        assert row.weight == pytest.approx(data[row.target, row.source].X.toarray()[0, 0], rel=1e-5)
    first = options["network"].read_bytes()
    peak_binding(**options)
    assert options["network"].read_bytes() == first, "no name and no date in the header"


def test_without_a_weight_or_a_type_both_files_are_there(made):
    options, _ = made
    for changed in ({"min_binding": 1.0}, {"min_cells": 1000}):
        peak_binding(**options | changed)
        data = anndata.read_h5ad(options["output"])
        assert data.shape == (4, 3) and data.X.nnz == 0
        assert gzip.decompress(options["network"].read_bytes()).decode() == "\t".join(COLUMNS) + "\n"


def test_a_minimum_of_0_keeps_every_weight_that_is_not_0(made):
    options, _ = made
    peak_binding(**options | {"min_binding": 0.0})
    data = anndata.read_h5ad(options["output"])
    assert (data.X.data > 0).all() and not data.X[2].nnz, "the third peak has no window"


def test_other_peaks_are_refused(made):
    options, _ = made
    options["peaks"].write_text("chr1\t1000\t1500\n")
    with pytest.raises(InputError, match=r"consensus\.bed: lacks peaks that .*windows\.npz has windows on"):
        peak_binding(**options)
