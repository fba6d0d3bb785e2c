"""RNA beside ATAC: reading counts, finding the cells, expression of TFs beside their activity."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scbind.analysis.expression import _correlations, tf_expression
from scbind.analysis.tfactive import active_in_types, tf_active
from scbind.cells.rna import sample_rna
from scbind.core.errors import InputError
from scbind.formats.rna import read_rna

COUNTS = np.array([[3, 0, 1], [0, 2, 5], [1, 1, 0]])
BARCODES = ["AAACGAGA-1", "CCCTAGTC-1", "GGGATCTA-1"]
GENES = ["GATA1", "SPI1", "TAL1"]


def write(path, counts=COUNTS, barcodes=BARCODES, genes=GENES, **parts):
    data = anndata.AnnData(sp.csr_matrix(np.asarray(counts, dtype=np.float32)), **parts)
    data.obs_names, data.var_names = barcodes, genes
    data.write_h5ad(path)
    return path


@pytest.fixture
def cells(tmp_path):
    """Four barcodes, of which the third fails quality control; types put the last one first."""
    barcodes = [*BARCODES[:2], "TTTTTTTT-1", BARCODES[2]]
    obs = pd.DataFrame({"barcode": barcodes, "cell_type": ["b", "b", "b", "a"], "sample": "s"})
    obs["pass"] = [True, True, False, True]
    obs.index = ["s#" + name for name in barcodes]
    anndata.AnnData(obs=obs).write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path / "cells.h5ad"


def test_counts_of_the_passing_cells_in_the_order_of_the_other_files(cells, tmp_path):
    sample_rna(write(tmp_path / "r.h5ad"), cells, tmp_path / "out.h5ad", "s")
    found = anndata.read_h5ad(tmp_path / "out.h5ad")
    assert found.obs_names.tolist() == ["s#" + BARCODES[i] for i in (2, 0, 1)]
    assert found.X.toarray().tolist() == COUNTS[[2, 0, 1]].tolist() and found.X.dtype == np.int32
    assert found.obs["n_molecules"].tolist() == [2, 4, 7] and found.var_names.tolist() == GENES


def test_the_number_of_the_library_may_be_absent(cells, tmp_path):
    plain = [name.removesuffix("-1") for name in BARCODES]
    sample_rna(write(tmp_path / "r.h5ad", barcodes=plain), cells, tmp_path / "out.h5ad", "s")
    assert anndata.read_h5ad(tmp_path / "out.h5ad").X.sum() == COUNTS.sum()


def test_a_cell_without_rna_has_zeros(cells, tmp_path):
    few = write(tmp_path / "r.h5ad", counts=COUNTS[:1], barcodes=BARCODES[:1])
    sample_rna(few, cells, tmp_path / "out.h5ad", "s")
    assert anndata.read_h5ad(tmp_path / "out.h5ad").obs["n_molecules"].tolist() == [0, 4, 0]


def test_no_common_barcode_shows_both(cells, tmp_path):
    other = write(tmp_path / "r.h5ad", barcodes=["GTGTGTGT-1", "CACACACA-1", "TGTGTGTG-1"])
    with pytest.raises(InputError, match="GTGTGTGT-1, is a cell of sample s, such as GGGATCTA-1"):
        sample_rna(other, cells, tmp_path / "out.h5ad", "s")
    assert not (tmp_path / "out.h5ad").exists()


def test_a_gene_twice_is_summed(tmp_path):
    data = anndata.AnnData(sp.csr_matrix(COUNTS.astype(np.float32)))
    data.obs_names, data.var_names = BARCODES, ["SPI1", "GATA1", "SPI1"]
    data.write_h5ad(tmp_path / "r.h5ad")
    found = read_rna(tmp_path / "r.h5ad")
    assert found.var_names.tolist() == ["GATA1", "SPI1"]
    assert found.X.toarray().tolist() == [[0, 4], [2, 5], [1, 1]]


def test_counts_of_a_layer_or_raw_replace_normalized_values(tmp_path):
    layers = {"counts": sp.csr_matrix(COUNTS.astype(np.float32))}
    assert (read_rna(write(tmp_path / "a.h5ad", COUNTS * 0.3, layers=layers)).X.toarray() == COUNTS).all()
    data = anndata.AnnData(sp.csr_matrix(COUNTS.astype(np.float32)))
    data.obs_names, data.var_names = BARCODES, GENES
    data.raw = data.copy()
    data.X = data.X * 0.3
    data.write_h5ad(tmp_path / "b.h5ad")
    assert (read_rna(tmp_path / "b.h5ad").X.toarray() == COUNTS).all()


def test_identifiers_need_symbols(tmp_path):
    ids = [f"ENSG0000010214{i}" for i in range(3)]
    with pytest.raises(InputError, match="identifiers such as ENSG00000102140"):
        read_rna(write(tmp_path / "r.h5ad", genes=ids))
    var = pd.DataFrame({"gene_symbols": GENES}, index=ids)
    assert read_rna(write(tmp_path / "r.h5ad", genes=ids, var=var)).var_names.tolist() == sorted(GENES)


@pytest.mark.parametrize("counts", [COUNTS * 0.5, -COUNTS])
def test_values_that_are_no_counts(tmp_path, counts):
    with pytest.raises(InputError, match="which are not counts"):
        read_rna(write(tmp_path / "r.h5ad", counts))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_rna(tmp_path / "absent.h5ad")
    (tmp_path / "text.h5ad").write_text("gene\tcell\n")
    with pytest.raises(InputError, match="is not an HDF5 file"):
        read_rna(tmp_path / "text.h5ad")
    whole = write(tmp_path / "r.h5ad").read_bytes()
    (tmp_path / "cut.h5ad").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="holds no readable counts"):
        read_rna(tmp_path / "cut.h5ad")


def write_10x(path):
    import h5py

    matrix = sp.csr_matrix(np.hstack([COUNTS, COUNTS[:, :1]]))  # cells are rows, as in the file's columns
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(matrix, name)
        group["shape"], group["barcodes"] = [4, 3], np.array(BARCODES, dtype="S")
        features = group.create_group("features")
        features["id"] = np.array(["E1", "E2", "E3", "chr1:1-2"], dtype="S")
        features["name"] = np.array([*GENES, "chr1:1-2"], dtype="S")
        features["feature_type"] = np.array(["Gene Expression"] * 3 + ["Peaks"], dtype="S")
        features["genome"] = np.array(["hg38"] * 4, dtype="S")
    return path


def test_a_matrix_of_cell_ranger_gives_its_genes_and_not_its_peaks(tmp_path):
    found = read_rna(write_10x(tmp_path / "m.h5"))
    assert found.var_names.tolist() == GENES and (found.X.toarray() == COUNTS).all()


@pytest.mark.parametrize("kind", ["Peaks", "ATAC"])
def test_features_that_are_no_genes_are_left_out(tmp_path, kind, capsys):
    """As scanpy and muon keep a multiome: peaks would count as molecules."""
    var = pd.DataFrame({"feature_types": ["Gene Expression", kind, "Gene Expression"]}, index=GENES)
    found = read_rna(write(tmp_path / "r.h5ad", var=var))
    assert found.var_names.tolist() == ["GATA1", "TAL1"] and (found.X.toarray() == COUNTS[:, [0, 2]]).all()
    assert "left out 1 of 3 features" in capsys.readouterr().err
    with pytest.raises(InputError, match=f"no gene expression; its features are {kind}"):
        read_rna(write(tmp_path / "r.h5ad", var=var.assign(feature_types=kind)))


def test_raw_may_have_more_genes(tmp_path):
    data = anndata.AnnData(sp.csr_matrix(COUNTS.astype(np.float32)))
    data.obs_names, data.var_names = BARCODES, GENES
    data.raw = data.copy()
    data = data[:, :2].copy()
    data.X = data.X * 0.3
    data.write_h5ad(tmp_path / "r.h5ad")
    found = read_rna(tmp_path / "r.h5ad")
    assert found.var_names.tolist() == GENES and (found.X.toarray() == COUNTS).all()


def test_numbers_beyond_32_bits_are_no_counts(tmp_path):
    with pytest.raises(InputError, match="3e.09, which are not counts"):
        read_rna(write(tmp_path / "r.h5ad", COUNTS * 1e9))


def write_pair(folder, name, tfs, genes, counts):
    """Activity and RNA of 20 cells of one type; return both paths."""
    obs = pd.DataFrame(
        {"cell_type": "a", "pass": True, "sample": name}, index=[f"{name}#{i}" for i in range(20)]
    )
    data = anndata.AnnData(
        np.zeros((20, len(tfs))), obs=obs, layers={"mean_binding": np.zeros((20, len(tfs)))}
    )
    data.var_names = tfs
    (folder / name).mkdir()
    data.write_h5ad(folder / f"{name}.h5ad")
    counts = np.tile(counts, (20, 1))
    rna = anndata.AnnData(sp.csr_matrix(counts), obs=obs.assign(n_molecules=counts.sum(axis=1)))
    rna.var_names = genes
    rna.write_h5ad(folder / name / "rna.h5ad")
    return folder / f"{name}.h5ad", folder / name / "rna.h5ad"


def test_a_gene_that_one_sample_lacks_is_not_taken_as_silent_there(tmp_path):
    pairs = [write_pair(tmp_path, "s1", ["SPI1", "TAL1"], ["SPI1", "TAL1"], [5, 5])]
    pairs += [write_pair(tmp_path, "s2", ["SPI1", "TAL1"], ["SPI1", "OTHER"], [5, 5])]
    tf_expression(*zip(*pairs, strict=True), tmp_path / "t.tsv")
    table = pd.read_csv(tmp_path / "t.tsv", sep="\t").set_index("tf")
    assert table.loc["TAL1", ["mean_expression", "fraction_expressing"]].tolist() == [5000, 1]


def test_symbols_of_tfs_match_without_regard_to_case(tmp_path):
    """A model of human TFs, applied to mouse cells."""
    tf_expression(*zip(write_pair(tmp_path, "s", ["SPI1"], ["Spi1", "Gapdh"], [1, 3])), tmp_path / "t.tsv")
    assert pd.read_csv(tmp_path / "t.tsv", sep="\t")["mean_expression"].tolist() == [2500]


def test_a_gene_of_insects_that_differs_in_case_is_another_gene(tmp_path):
    files = list(zip(write_pair(tmp_path, "s", ["h", "Dl"], ["H", "Dl"], [1, 3])))
    for taxon, expected in (("insects", [7500]), ("vertebrates", [7500, 2500])):
        tf_expression(*files, tmp_path / "t.tsv", taxon=taxon)
        table = pd.read_csv(tmp_path / "t.tsv", sep="\t")
        assert table["mean_expression"].dropna().tolist() == expected


def test_rna_without_a_gene_of_any_tf_is_refused(tmp_path):
    files = zip(write_pair(tmp_path, "s", ["SPI1"], ["GRCh38_SPI1", "GRCh38_X"], [1, 3]))
    with pytest.raises(
        InputError, match="no gene of any TF, such as SPI1; its genes are such as GRCh38_SPI1"
    ):
        tf_expression(*files, tmp_path / "t.tsv")
    assert not (tmp_path / "t.tsv").exists()


def test_expression_beside_activity(tmp_path):
    rng = np.random.default_rng(0)
    activity, rna = [], []
    for sample in ("s1", "s2", "s3"):
        level = np.repeat(np.linspace(0, 1, 6), 20)
        obs = pd.DataFrame({"cell_type": np.repeat(list("abcdef"), 20), "pass": True, "sample": sample})
        obs.index = [f"{sample}#{i}" for i in range(120)]
        z = np.stack([level, level], axis=1) + rng.normal(0, 0.1, (120, 2))
        data = anndata.AnnData(z, obs=obs, layers={"mean_binding": z * 0})
        data.var_names = ["SPI1", "ABSENT"]
        data.write_h5ad(tmp_path / f"{sample}.h5ad")
        counts = np.stack([rng.poisson(5 * level + 1), np.full(120, 94)], axis=1)
        obs = obs.assign(n_molecules=counts.sum(axis=1))
        found = anndata.AnnData(sp.csr_matrix(counts), obs=obs)
        found.var_names = ["SPI1", "OTHER"]
        (tmp_path / sample).mkdir()
        found.write_h5ad(tmp_path / sample / "rna.h5ad")
        activity.append(tmp_path / f"{sample}.h5ad")
        rna.append(tmp_path / sample / "rna.h5ad")
    tf_expression(activity, rna, tmp_path / "none.tsv", min_cells=61)
    header, *rows = (tmp_path / "none.tsv").read_text().splitlines()
    tf_active(activity, tmp_path / "none.tsv", tmp_path / "active.h5ad")
    tf_expression(activity, rna, tmp_path / "t.tsv")
    assert header == (tmp_path / "t.tsv").read_text().splitlines()[0] and not rows
    table = pd.read_csv(tmp_path / "t.tsv", sep="\t").set_index(["cell_type", "tf"])
    assert table.loc[("f", "SPI1"), "mean_expression"] > 3 * table.loc[("a", "SPI1"), "mean_expression"]
    found = table.loc[("b", "SPI1")]
    assert found["correlation"] > 0.8 and found["n_types"] == 6, "types, not types in samples"
    assert table.loc[("a", "ABSENT"), ["mean_expression", "fraction_expressing", "correlation"]].isna().all()


def test_a_tf_that_a_type_does_not_express_is_half_as_probable_there(tmp_path):
    """GATA1 is expressed in b alone, SPI1 hardly anywhere; the activity of both has one level, so it says active."""
    obs = pd.DataFrame({"cell_type": np.repeat(["a", "b"], 30), "pass": True, "sample": "s"})
    obs.index = [f"s#{i}" for i in range(60)]
    z = np.random.default_rng(0).normal(0, 0.1, (60, 3))
    data = anndata.AnnData(z, obs=obs, layers={"mean_binding": z * 0})
    data.var_names = ["SPI1", "GATA1", "ABSENT"]
    data.write_h5ad(tmp_path / "s.h5ad")
    rows = [("a", "GATA1", 1.0), ("b", "GATA1", 40.0), ("a", "SPI1", 0.0), ("b", "SPI1", 0.1)]
    table = pd.DataFrame(rows, columns=["cell_type", "tf", "mean_expression"])
    table.to_csv(tmp_path / "expression.tsv", sep="\t", index=False)
    tf_active([tmp_path / "s.h5ad"], tmp_path / "expression.tsv", tmp_path / "active.h5ad")
    found = active_in_types(tmp_path / "active.h5ad", ["a", "b"], ["SPI1", "GATA1", "ABSENT"])
    np.testing.assert_allclose(found, [[1, (1 + 1 / (0.25 * 40)) / 2, 1], [1, 1, 1]], rtol=1e-6)


def test_samples_of_a_type_are_no_points_of_the_correlation():
    """Levels of types at random: over the points of types in samples, half of the p-values would be below 0.05."""
    rng = np.random.default_rng(0)
    tfs = [f"T{i}" for i in range(200)]
    groups = {(f"t{i}", f"s{j}"): np.arange(20) + 20 * (5 * i + j) for i in range(7) for j in range(5)}
    made = [np.repeat(rng.normal(size=(7, 200)), 100, axis=0) + rng.normal(0, 0.3, (700, 200)) for _ in "ez"]
    table = _correlations(tfs, *made, groups)
    assert (table["n_types"] == 7).all() and 0.01 < (table["correlation_p"] < 0.05).mean() < 0.1
    few = {place: cells for place, cells in groups.items() if place[0] < "t4"}
    assert _correlations(tfs, *made, few)["correlation"].isna().all()
