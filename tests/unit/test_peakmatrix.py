"""Counts of insertions per cell and peak."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scbind.core.errors import InputError
from scbind.formats.colours import colours_of
from scbind.peaks.matrix import peak_matrix

LENGTHS = {"chr1": 5000, "chr2": 3000}
N_CELLS = 40


@pytest.fixture
def counted(tmp_path):
    """Files of a sample with 40 barcodes, 30 of them cells, and what the matrix should be (barcodes, peaks)."""
    rng = np.random.default_rng(1)
    position = np.sort(rng.integers(0, sum(LENGTHS.values()), 6000)).astype(np.uint32)
    cell = rng.integers(0, N_CELLS, 6000).astype(np.uint32)
    np.save(tmp_path / "position.npy", position)
    np.save(tmp_path / "cell.npy", cell)
    (tmp_path / "chrom.sizes").write_text("".join(f"{name}\t{n}\n" for name, n in LENGTHS.items()))
    peaks = [
        ("chr1", 0, 200),
        ("chr1", 200, 400),
        ("chr1", 4900, 5000),
        ("chr2", 0, 50),
        ("chr2", 1000, 1500),
    ]
    (tmp_path / "peaks.bed").write_text("".join(f"{c}\t{s}\t{e}\n" for c, s, e in peaks))
    expected = np.zeros((N_CELLS, len(peaks)), dtype=int)
    for number, (chrom, start, end) in enumerate(peaks):
        offset = 0 if chrom == "chr1" else LENGTHS["chr1"]
        hit = (position >= offset + start) & (position < offset + end)
        np.add.at(expected[:, number], cell[hit], 1)
    obs = pd.DataFrame(
        {
            "pass": np.arange(N_CELLS) % 4 != 0,
            "cell_type": pd.Categorical(np.array(["T", "B"])[np.arange(N_CELLS) % 2]),
            "donor": pd.Categorical([None] * N_CELLS, categories=["d"]),
            "doublet_score": np.nan,
        },
        index=[f"s#BC{i:02d}-1" for i in range(N_CELLS)],
    )
    umap = np.arange(2.0 * N_CELLS).reshape(-1, 2)
    ad.AnnData(obs=obs, obsm={"X_umap": umap}).write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path, expected


def make(folder, **options):
    paths = [folder / name for name in ("position.npy", "cell.npy", "cells.h5ad", "chrom.sizes", "peaks.bed")]
    peak_matrix(*paths, folder / "out.h5ad", **options)
    return ad.read_h5ad(folder / "out.h5ad")


@pytest.mark.parametrize(
    "options", [{}, {"insertions": 37, "entries": 11}, {"insertions": 700, "entries": 1}]
)
def test_counts_are_those_of_the_fragments_whatever_the_blocks(counted, options):
    folder, expected = counted
    found = make(folder, **options)
    rows = [int(name[4:6]) for name in found.obs_names]
    assert len(rows) == 30 and found.obs["cell_type"].tolist() == sorted(found.obs["cell_type"])
    assert rows == sorted(rows, key=lambda row: (row % 2 == 0, row)), "by type, else as in the table of cells"
    assert found.X.format == "csr" and found.X.dtype == np.int32 and found.X.has_sorted_indices
    assert (found.X.toarray() == expected[rows]).all() and found.X.nnz == (expected[rows] > 0).sum()
    assert found.obsm["X_umap"][:, 0].tolist() == [2.0 * row for row in rows]
    assert found.obs["n_insertions_in_peaks"].tolist() == expected[rows].sum(axis=1).tolist()
    assert found.var_names[[0, -1]].tolist() == ["chr1:0-200", "chr2:1000-1500"]
    assert not {"donor", "doublet_score"} & set(found.obs), "columns without a value"
    assert [path.name for path in folder.glob(".*")] == []


def test_without_cells_or_insertions_the_matrix_is_empty(counted):
    folder, _ = counted
    cells = ad.read_h5ad(folder / "cells.h5ad")
    np.save(folder / "position.npy", np.zeros(0, np.uint32))
    np.save(folder / "cell.npy", np.zeros(0, np.uint32))
    assert make(folder).X.nnz == 0
    cells.obs["pass"] = False
    cells.write_h5ad(folder / "cells.h5ad")
    assert make(folder).shape == (0, 5)


def test_peaks_have_their_annotation(counted):
    folder, _ = counted
    peaks = pd.read_csv(folder / "peaks.bed", sep="\t", names=["chrom", "start", "end"])
    known = peaks.assign(gene=list("abcde"), tss_distance=range(5), annotation="distal")
    known.to_csv(folder / "annotation.tsv", sep="\t", index=False)
    assert make(folder, annotation=folder / "annotation.tsv").var["gene"].tolist() == list("abcde")
    known[1:].to_csv(folder / "annotation.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match="annotation.tsv: its rows are not the peaks of"):
        make(folder, annotation=folder / "annotation.tsv")


def test_peaks_that_overlap_are_refused(counted):
    folder, _ = counted
    (folder / "peaks.bed").write_text("chr1\t100\t300\nchr1\t0\t200\n")
    with pytest.raises(InputError, match="peaks.bed: its peaks overlap or are not sorted"):
        make(folder)
    assert not (folder / "out.h5ad").exists()


def test_types_have_the_colours_of_the_report(counted):
    colours = colours_of(["A", "B", "T"])
    found = make(counted[0], types=["A", "B", "T"])
    assert list(found.uns["cell_type_colors"]) == [colours["B"], colours["T"]], "this sample lacks A"
