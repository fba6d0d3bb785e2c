"""chromVAR's deviations, held against a direct computation of the formula, and the table that compares methods."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scbind.analysis.activitymethods import OF_TYPES, compare_activity
from scbind.analysis.chromvar import DRAWS, P_HIT, background_peaks, chromvar_deviations
from scbind.analysis.enrichment import hit_threshold
from scbind.core.errors import InputError
from scbind.formats.motifs import log_odds, read_motifs, write_motifs
from scbind.reference.prepare import prepare_reference
from sklearn.metrics import roc_auc_score

N_CELLS, N_PEAKS, WIDTH = 60, 300, 200
MOTIF = "TGACTCATGC"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Peaks of a random genome. A third has the motif of a TF, and half of the cells have these twice as open."""
    folder, random = tmp_path_factory.mktemp("chromvar"), np.random.default_rng(5)
    letters = random.choice(list("ACGT"), size=N_PEAKS * 400, p=[0.3, 0.2, 0.2, 0.3])
    with_motif = random.random(N_PEAKS) < 0.33
    starts = np.arange(N_PEAKS) * 400 + 100
    for start in starts[with_motif]:
        letters[start + 90 : start + 90 + len(MOTIF)] = list(MOTIF)
    (folder / "genome.fa").write_text(">chr1\n" + "".join(letters) + "\n")
    (folder / "reference").mkdir()
    made = [
        folder / "reference" / name for name in ("genome.fa.gz", "chrom.sizes", "sequence.npy", "exclude.bed")
    ]
    prepare_reference(folder / "genome.fa", *made)
    counts = np.array([[10.0 * (base == letter) for base in MOTIF] for letter in "ACGT"])
    write_motifs(
        folder / "motifs.npz", {"JUN": ("X:JUN", log_odds(counts)), "GATA1": ("Y", log_odds(counts[:, ::-1]))}
    )
    rate = random.lognormal(0, 0.5, N_PEAKS) * np.where(
        with_motif & (np.arange(N_CELLS)[:, None] < N_CELLS // 2), 2.0, 1.0
    )
    x = random.poisson(2 * rate).astype(np.int32)
    obs = pd.DataFrame(
        {"cell_type": np.where(np.arange(N_CELLS) < N_CELLS // 2, "a", "b"), "n_fragments": x.sum(axis=1)},
        index=[f"c{i}" for i in range(N_CELLS)],
    )
    var = pd.DataFrame(
        {"chrom": "chr1", "start": starts, "end": starts + WIDTH}, index=[f"p{i}" for i in range(N_PEAKS)]
    )
    anndata.AnnData(sp.csr_matrix(x), obs=obs, var=var).write_h5ad(folder / "peaks.h5ad")
    lend(folder / "lenders.h5ad", obs, sp.identity(N_CELLS, format="csr", dtype=np.float32))
    return folder, x, with_motif


def lend(path, obs, weights):
    data = anndata.AnnData(obs=obs.iloc[::-1])  # another order than that of the peaks
    data.obsp["borrow"] = sp.csr_matrix(weights[::-1][:, ::-1])
    data.write_h5ad(path)


def deviations(folder, output, **files):
    given = {
        "peaks": folder / "peaks.h5ad",
        "lenders": folder / "lenders.h5ad",
        "motifs": folder / "motifs.npz",
    }
    given |= files
    chromvar_deviations(given["peaks"], given["lenders"], folder / "reference", given["motifs"], output)
    return anndata.read_h5ad(output)


def matches(folder):
    """Which peaks have the motif on either strand, base by base."""
    matrix = read_motifs(folder / "motifs.npz")["JUN"].astype(float)
    sequence = "".join((folder / "genome.fa").read_text().split()[1:])
    row = np.array(["ACGT".index(base) for base in sequence])
    n = len(MOTIF)
    at = np.lib.stride_tricks.sliding_window_view(row, n)
    both = np.maximum(matrix[at, np.arange(n)].sum(axis=1), matrix[3 - at[:, ::-1], np.arange(n)].sum(axis=1))
    starts = np.arange(N_PEAKS) * 400 + 100
    return np.array([both[s : s + WIDTH - n + 1].max() >= hit_threshold(matrix, P_HIT) for s in starts])


def test_z_is_that_of_the_formula(made, tmp_path):
    folder, x, with_motif = made
    found = deviations(folder, tmp_path / "z.h5ad")
    matched = matches(folder)
    assert found.var.loc["JUN", "n_peaks"] == matched.sum() and matched[with_motif].all()
    sequence = "".join((folder / "genome.fa").read_text().split()[1:])
    starts = np.arange(N_PEAKS) * 400 + 100
    gc = np.array([sum(base in "GC" for base in sequence[s : s + WIDTH]) / WIDTH for s in starts])
    total = x.sum(axis=0).astype(float)
    background = background_peaks(total, gc, DRAWS, np.random.default_rng(0))
    share, depth = total / total.sum(), x.sum(axis=1)

    def deviation(rows):
        expected = depth * share[rows].sum()
        return (x[:, rows].sum(axis=1) - expected) / expected

    peaks = np.flatnonzero(matched)
    drawn = np.array([deviation(draw[peaks]) for draw in background])
    z = (deviation(peaks) - drawn.mean(axis=0)) / drawn.std(axis=0, ddof=1)
    np.testing.assert_allclose(found[:, "JUN"].X.ravel(), z, rtol=2e-3, atol=2e-3)
    assert z[: N_CELLS // 2].min() > z[N_CELLS // 2 :].max()


def test_cells_that_borrow_have_the_values_of_their_sum(made, tmp_path):
    folder, x, _ = made
    weights = np.eye(N_CELLS, dtype=np.float32)
    weights[0, 7] = weights[0, 9] = 0.5
    lend(tmp_path / "lenders.h5ad", anndata.read_h5ad(folder / "peaks.h5ad").obs, sp.csr_matrix(weights))
    one = deviations(folder, tmp_path / "a.h5ad", lenders=tmp_path / "lenders.h5ad")
    same = deviations(folder, tmp_path / "b.h5ad")
    np.testing.assert_array_equal(same.X, same.layers["borrowed"])
    assert not np.array_equal(one.X[0], one.layers["borrowed"][0])
    np.testing.assert_array_equal(one.X[1:], one.layers["borrowed"][1:])
    np.testing.assert_array_equal(one.X, same.X)


def test_background_peaks_are_like_their_peak(made):
    random = np.random.default_rng(1)
    total, gc = random.lognormal(3, 1, 4000), random.beta(20, 20, 4000)
    drawn = background_peaks(total, gc, 20, random)
    assert drawn.shape == (20, 4000)
    for feature in (np.log10(total), gc):
        between = np.abs(feature[drawn] - feature).mean()
        assert between < 0.2 * np.abs(random.permutation(feature) - feature).mean()
    assert len(np.unique(drawn)) > 3000


def test_without_a_matrix_there_is_no_tf_and_no_figure(made, tmp_path):
    folder, _, _ = made
    write_motifs(tmp_path / "none.npz", {})
    found = deviations(folder, tmp_path / "z.h5ad", motifs=tmp_path / "none.npz")
    assert found.shape == (N_CELLS, 0)
    table = compared(found, tmp_path / "z.h5ad", tmp_path)
    assert (table["n_tfs"] == 0).all() and table["silhouette"].isna().all()


def compared(found, path, tmp_path, noise=0.0, **more):
    random = np.random.default_rng(2)
    good = np.where(found.obs["cell_type"] == "a", 3.0, -3.0)[:, None] + random.normal(size=(N_CELLS, 2))
    data = anndata.AnnData(good, obs=found.obs, var=pd.DataFrame(index=["JUN", "GATA1"]))
    depth = found.obs["n_fragments"] - found.obs.groupby("cell_type", observed=True)["n_fragments"].transform(
        "mean"
    )
    data.layers["scfan_score"] = random.normal(size=(N_CELLS, 2)) + noise * depth.to_numpy()[:, None]
    for name, values in more.items():
        getattr(data, name)[values.name] = values.to_numpy()
    if "var" in more:
        data.layers["scfan_score"][:, data.var["evidence"] == "motif"] = np.nan
    data.write_h5ad(tmp_path / "activity.h5ad")
    files = [tmp_path / "activity.h5ad"], [path], tmp_path / "activity.tsv", tmp_path / "types.tsv"
    compare_activity(["s"], *files)
    return pd.read_csv(tmp_path / "activity.tsv", sep="\t").set_index("method")


def test_the_table_tells_methods_apart(made, tmp_path):
    folder, _, _ = made
    found = deviations(folder, tmp_path / "z.h5ad")
    table = compared(found, tmp_path / "z.h5ad", tmp_path, noise=1.0)
    assert list(table.index) == ["scbind", "scfan_vote", "chromvar", "chromvar_borrowed"]
    assert table.loc["scbind", "ari"] == 1 and table.loc["scbind", "silhouette"] > 0.7
    assert table.loc["scfan_vote", "silhouette"] < 0.3
    assert table.loc["scfan_vote", "depth_correlation"] > 0.9 > 0.4 > table.loc["scbind", "depth_correlation"]


def test_a_cell_without_insertions_in_peaks_does_not_end_the_comparison(made, tmp_path):
    folder, _, _ = made
    peaks = anndata.read_h5ad(folder / "peaks.h5ad")
    counts = peaks.X.tolil()
    counts[3] = 0
    peaks.X = counts.tocsr()
    peaks.write_h5ad(tmp_path / "peaks.h5ad")
    found = deviations(folder, tmp_path / "z.h5ad", peaks=tmp_path / "peaks.h5ad")
    assert np.isnan(found.X[3]).all()
    table = compared(found[np.arange(N_CELLS)], tmp_path / "z.h5ad", tmp_path, noise=1.0)
    assert (
        (table["n_cells"] == N_CELLS - 1).all() and (table["n_tfs"] > 0).all() and table["ari"].notna().all()
    )


def test_tfs_without_chip_seq_are_compared_without_the_vote_that_they_do_not_get(made, tmp_path):
    folder, _, _ = made
    found = deviations(folder, tmp_path / "z.h5ad")
    evidence = pd.Series(["chip", "motif"], name="evidence")
    table = compared(found, tmp_path / "z.h5ad", tmp_path, var=evidence).reset_index()
    names = ["scbind", "scfan_vote", "chromvar", "chromvar_borrowed"]
    assert table.groupby("evidence")["method"].apply(list).to_dict() == {
        "chip": names,
        "motif": [name for name in names if name != "scfan_vote"],
    }
    assert (table["n_tfs"] == 1).all() and (table["n_cells"] == N_CELLS).all()


def test_given_types_are_separated_by_the_tfs_of_their_lineage(made, tmp_path):
    folder, _, _ = made
    found = deviations(folder, tmp_path / "z.h5ad")
    compared(found, tmp_path / "z.h5ad", tmp_path)
    assert pd.read_csv(tmp_path / "types.tsv", sep="\t").columns.tolist() == OF_TYPES
    given = pd.Series(np.where(np.arange(N_CELLS) % 5, "given", "transferred"), name="cell_type_source")
    compared(found, tmp_path / "z.h5ad", tmp_path, obs=given)
    table = pd.read_csv(tmp_path / "types.tsv", sep="\t")
    known, types = (given == "given").to_numpy(), found.obs["cell_type"].astype(str).to_numpy()
    assert len(table) == len(set(types)) * 2 * 4
    activity = anndata.read_h5ad(tmp_path / "activity.h5ad")
    values = {"scbind": activity.X, "scfan_vote": activity.layers["scfan_score"]}
    for row in table[table["method"].isin(list(values))].itertuples():
        score = values[row.method][known, activity.var_names.get_loc(row.tf)]
        mine = types[known] == row.cell_type
        assert row.auroc == pytest.approx(roc_auc_score(mine, score), abs=1e-5)
        assert (row.n_cells, row.n_cells_reference) == (mine.sum(), (~mine).sum())
    best = table[(table["method"] == "scbind") & (table["cell_type"] == "a")]
    assert (best["auroc"] > 0.99).all()


def test_other_cells_are_one_line(made, tmp_path):
    folder, _, _ = made
    deviations(folder, tmp_path / "z.h5ad")
    other = anndata.read_h5ad(tmp_path / "z.h5ad")
    other.obs_names = [f"x{i}" for i in range(N_CELLS)]
    other.layers["scfan_score"] = other.X
    other.write_h5ad(tmp_path / "activity.h5ad")
    with pytest.raises(InputError, match="its cells are not those of"):
        files = [tmp_path / "activity.h5ad"], [tmp_path / "z.h5ad"], tmp_path / "t.tsv", tmp_path / "u.tsv"
        compare_activity(["s"], *files)
    lend(tmp_path / "lenders.h5ad", other.obs, sp.identity(N_CELLS, format="csr", dtype=np.float32))
    with pytest.raises(InputError, match="its cells are not those of"):
        deviations(folder, tmp_path / "w.h5ad", lenders=tmp_path / "lenders.h5ad")
    (tmp_path / "cut.h5ad").write_bytes((folder / "peaks.h5ad").read_bytes()[:3000])
    with pytest.raises(InputError, match=r"cut\.h5ad: not readable"):
        deviations(folder, tmp_path / "w.h5ad", peaks=tmp_path / "cut.h5ad")
    assert not (tmp_path / "w.h5ad").exists() and not (tmp_path / "t.tsv").exists()
