import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scbind.binding.merging import merge_shards
from scbind.binding.shards import ShardWriter, quantise, steps
from scbind.core.errors import InputError
from scbind.demo.truth import ScoredFiles, ScoreOptions, score_cells
from scbind.demo.typescores import best_group, score_types
from scbind.plan.settings import default_options
from sklearn.metrics import average_precision_score

TFS = ["CTCF", "GATA1"]
N_WINDOWS, STEP, WIDTH = 30, 100, 200  # windows overlap by half
TYPES = ["a", "b"]


def covered(centre: int, start: np.ndarray) -> np.ndarray:
    """Whether a peak of 300 bp around a site covers more than half of each window: (windows,)."""
    overlap = np.minimum(centre + 150, start + WIDTH) - np.maximum(centre - 150, start)
    return overlap > WIDTH / 2


@pytest.fixture
def world(tmp_path):
    """Eight barcodes (the last is no cell) of two types, 30 windows, sites in ten elements.

    Insertions lie anywhere; windows overlap, and the peak of a site covers two or three.
    """
    rng = np.random.default_rng(0)
    ref, truth = tmp_path / "ref", tmp_path / "truth"
    ref.mkdir()
    truth.mkdir()
    (ref / "chrom.sizes").write_text("chr1\t4000\nchr2\t3000\n")
    np.save(ref / "sequence.npy", np.zeros(7000, np.uint8))
    chrom = np.repeat([0, 1], [20, 10]).astype(np.int16)
    start = (100 + STEP * np.concatenate([np.arange(20), np.arange(10)])).astype(np.int32)
    np.savez(
        tmp_path / "windows.npz", chrom=chrom, start=start, peak=np.zeros(30, np.int32),
        gc=np.full(30, 0.5, np.float32), window=WIDTH, context=400, step=STEP,
    )  # fmt: skip
    barcodes = [f"BC{i}-1" for i in range(8)]
    kind = ["a", "b", "a", "b", "a", "b", "a", ""]
    pd.DataFrame({"barcode": barcodes, "cell_type": kind, "is_cell": [1] * 7 + [0], "n_fragments": 9}).to_csv(
        truth / "cells.tsv", sep="\t", index=False
    )
    first = np.r_[100 + 200 * np.arange(7), 100 + 200 * np.arange(3)]
    names = ["chr1"] * 7 + ["chr2"] * 3
    elements = pd.DataFrame({"#chrom": names, "start": first, "end": first + 200})
    elements["name"] = [f"e{i}" for i in range(10)][::-1]
    for t in TYPES:
        elements[f"open_{t}"] = 1
    elements.to_csv(truth / "elements.bed", sep="\t", index=False)
    is_open = rng.random((8, 10)) < 0.6
    sp.save_npz(truth / "open.npz", sp.csr_array(is_open))
    sites = pd.DataFrame(
        {"chrom": names * 2, "start": np.tile(first + 130, 2), "end": np.tile(first + 141, 2)}
    )
    sites["tf"], sites["element"] = np.repeat(TFS, 10), list(elements["name"]) * 2
    for t in TYPES:
        sites[f"bound_{t}"] = rng.integers(0, 2, 20)
    sites["strength"] = (sites["bound_a"] + sites["bound_b"]) / 2  # of which the oracle knows
    sites.sample(frac=1, random_state=1).to_csv(truth / "sites.tsv", sep="\t", index=False)
    pd.DataFrame({"name": TYPES, "kind": "cell_type", "CTCF": [1, 1], "GATA1": [0, 1]}).to_csv(
        truth / "activity.tsv", sep="\t", index=False
    )
    events = np.zeros((8, 30, 2), dtype=bool)  # by looking at every cell, site and window
    for _, site in sites.iterrows():
        element = list(elements["name"]).index(site.element)
        centre = (site.start + site.end) // 2
        hit = (np.array(["chr1", "chr2"])[chrom] == site.chrom) & covered(centre, start)
        for c in range(7):
            if is_open[c, element] and site[f"bound_{kind[c]}"]:
                events[c, hit, TFS.index(site.tf)] = True
    position = np.sort(rng.integers(0, 7000, 3000)).astype(np.uint32)
    np.save(tmp_path / "position.npy", position)
    np.save(tmp_path / "cell.npy", rng.integers(0, 8, 3000).astype(np.uint32))
    passing = np.ones(8, dtype=bool)
    passing[3] = False
    obs = pd.DataFrame(
        {"pass": passing, "barcode": barcodes, "cell_type": kind}, index=[f"demo:{b}" for b in barcodes]
    )
    adata = ad.AnnData(obs=obs)
    adata.obsp["borrow"] = sp.eye(8, format="csr", dtype=np.float32)
    adata.write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path, events, chrom


def score(folder, events, probability=None, networks=None, **options):
    rows = np.array([0, 1, 2, 4, 5, 6, 7])
    probability = 0.9 * events[rows].astype(np.float32) if probability is None else probability
    with ShardWriter(TFS, 0.02, folder / "0.npz", 0.004) as writer:
        writer.add(0, 0, probability.astype(np.float32))
        writer.finish(rows, N_WINDOWS, {"depth": np.ones(7, np.float32), "reliability": np.str_("{}")})
    merge_shards(
        [folder / "0.npz"], folder / "windows.npz", folder / "cells.h5ad", folder / "ref", folder / "s.zarr"
    )
    names = ("s.zarr", "truth", "position.npy", "cell.npy", "cells.h5ad", "windows.npz", "ref")
    files = ScoredFiles(*(folder / name for name in names))
    options = default_options(ScoreOptions, "evaluate", **{"held_out": ["chr2"], "model": "scbind"} | options)
    score_cells(files, folder / "out.tsv", options, networks)
    table = pd.read_csv(folder / "out.tsv", sep="\t")
    return table[table["cells"] == "sample"].drop(columns="cells").set_index(["model", "tf", "chromosomes"])


def test_perfect_predictions_score_one_and_facts_are_right(world):
    folder, events, chrom = world
    table = score(folder, events)
    assert table.columns.tolist() == ["n_cells", "n_windows", "prevalence", "auprc_mean", "auprc_median"]
    real = events[[0, 1, 2, 4, 5, 6]]  # passing and a cell
    for t, tf in enumerate(TFS):
        for scope, inside in (("all", chrom >= 0), ("chr2", chrom == 1)):
            part = real[:, inside, t]
            part = part[part.any(axis=1)]
            row = table.loc["scbind", tf, scope]
            assert row.n_cells == len(part) and row.n_windows == inside.sum()
            assert row.prevalence == pytest.approx(part.mean(), rel=1e-5)
            assert row.auprc_mean == row.auprc_median == 1


def test_predictions_and_baseline_have_the_average_precision_of_each_cell(world):
    folder, events, _ = world
    rng = np.random.default_rng(5)
    probability = rng.random((7, N_WINDOWS, 2))
    table = score(folder, events, probability, model="mine")
    position, cell = np.load(folder / "position.npy").astype(int), np.load(folder / "cell.npy")
    with np.load(folder / "windows.npz") as npz:
        start = npz["start"] + 4000 * npz["chrom"].astype(int)
    for t, tf in enumerate(TFS):
        mine, baseline = [], []
        for row, c in enumerate([0, 1, 2, 4, 5, 6]):
            if not events[c, :, t].any():
                continue
            codes = quantise(probability[row, :, t].astype(np.float32), 0.02, steps(0.02, 0.004))
            mine.append(average_precision_score(events[c, :, t], codes))
            own = position[cell == c]
            counts = ((own >= start[:, None]) & (own < start[:, None] + WIDTH)).sum(axis=1)
            baseline.append(average_precision_score(events[c, :, t], counts))
        assert table.loc[("mine", tf, "all"), "auprc_mean"] == pytest.approx(np.mean(mine), rel=1e-4)
        assert table.loc[("mine", tf, "all"), "auprc_median"] == pytest.approx(np.median(mine), rel=1e-4)
        assert table.loc[("accessibility", tf, "all"), "auprc_mean"] == pytest.approx(
            np.mean(baseline), rel=1e-4
        )


def test_oracles_know_strengths_and_openness(world):
    """By hand from the files: the chance of an event in each window, in this cell and in its type."""
    folder, events, chrom = world
    elements = pd.read_csv(folder / "truth/elements.bed", sep="\t")
    elements["open_a"] = [1, 0] * 5
    elements.to_csv(folder / "truth/elements.bed", sep="\t", index=False)
    sites = pd.read_csv(folder / "truth/sites.tsv", sep="\t")
    sites["strength"] = np.random.default_rng(3).uniform(0.1, 0.9, len(sites))
    sites.to_csv(folder / "truth/sites.tsv", sep="\t", index=False)
    table = score(folder, events)
    opened = sp.load_npz(folder / "truth/open.npz").toarray()
    with np.load(folder / "windows.npz") as npz:
        start = npz["start"]
    for name in ("oracle", "oracle_type"):
        for t, tf in enumerate(TFS):
            found = []
            for c in [0, 1, 2, 4, 5, 6]:
                missed = np.ones(N_WINDOWS)
                for site in sites[sites["tf"] == tf].itertuples():
                    row = elements.index[elements["name"] == site.element][0]
                    is_open = opened[c, row] if name == "oracle" else elements[f"open_{'ab'[c % 2]}"][row]
                    centre = (site.start + site.end) // 2
                    hit = (np.array(["chr1", "chr2"])[chrom] == site.chrom) & covered(centre, start)
                    missed[hit] *= 1 - site.strength * is_open
                if events[c, :, t].any():
                    found.append(average_precision_score(events[c, :, t], np.round(1 - missed, 12)))
            assert table.loc[(name, tf, "all"), "auprc_mean"] == pytest.approx(np.mean(found), rel=1e-3)


class CountingNetwork:
    """Calls a window bound by the insertions in it, so it must score as the baseline does."""

    tfs, bin_bp = [TFS[0]], 100

    def read_windows(self, genome, chrom, start):
        return genome.window_codes(chrom, start, 400)

    def probabilities(self, readout, counts, depth):
        assert counts.shape[1] == len(readout) and (depth > 0).all()
        core = (400 - WIDTH) // 2 // 100
        return counts[:, :, core : core + WIDTH // 100].sum(axis=2, keepdims=True) / 1000


def test_other_networks_see_the_same_cells_and_windows(world, monkeypatch):
    folder, events, _ = world
    monkeypatch.setattr("scbind.models.predictor.load_predictor", lambda *args, **options: CountingNetwork())
    score(folder, events, networks={"other": ("m.ckpt", "c.json")}, network_cells=6)
    table = pd.read_csv(folder / "out.tsv", sep="\t")
    few = table[table["cells"] == "few"]
    assert set(few["tf"]) == {TFS[0]} and set(few["chromosomes"]) == {"chr2"} and few["n_cells"].max() <= 6
    found = few.set_index("model")["auprc_mean"]
    assert found["other"] == found["accessibility"] and found["scbind"] == 1


def test_the_sample_of_cells_is_seeded_and_bounded(world):
    folder, events, _ = world
    probability = np.random.default_rng(5).random((7, N_WINDOWS, 2))
    one = score(folder, events, probability, max_cells=3, seed=1)
    assert one.n_cells.max() <= 3
    assert one.equals(score(folder, events, probability, max_cells=3, seed=1))
    assert not one.equals(score(folder, events, probability, max_cells=3, seed=2))


def test_no_held_out_chromosome_leaves_all(world):
    folder, events, _ = world
    assert set(score(folder, events, held_out=[]).index.get_level_values("chromosomes")) == {"all"}


def test_what_cell_scoring_refuses(world):
    folder, events, _ = world
    with pytest.raises(InputError, match="no chromosome chr9"):
        score(folder, events, held_out=["chr9"])
    cells = pd.read_csv(folder / "truth/cells.tsv", sep="\t")
    cells.assign(barcode="other").to_csv(folder / "truth/cells.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match="no barcode is a cell of the simulated truth"):
        score(folder, events)
    cells.drop(columns="is_cell").to_csv(folder / "truth/cells.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match="cells.tsv: has no column is_cell"):
        score(folder, events)
    cells.to_csv(folder / "truth/cells.tsv", sep="\t", index=False)
    sp.save_npz(folder / "truth/open.npz", sp.csr_array(np.ones((8, 4))))
    with pytest.raises(InputError, match="open.npz: has 4 elements, but elements.bed has 10"):
        score(folder, events)


@pytest.fixture
def atlas(tmp_path):
    """120 cells of three types, one of 10; six TFs, one active in all; one barcode is poor."""
    rng = np.random.default_rng(2)
    tfs = ["T0", "T1", "T2", "T3", "T4", "EVERY"]
    kind = np.repeat(["a", "b", "rare"], [60, 50, 10])
    active = pd.DataFrame({"name": ["a", "b", "rare"], "kind": "cell_type"})
    for i, tf in enumerate(tfs):
        active[tf] = 1 if tf == "EVERY" else [int(i % 3 == k) for k in range(3)]
    z = 8 * active.set_index("name")[tfs].loc[kind].to_numpy() + rng.normal(size=(120, 6))
    barcodes = [f"c{i}" for i in range(121)]
    adata = ad.AnnData(np.vstack([z, z[:1]]).astype(np.float32), obs=pd.DataFrame(index=barcodes))
    adata.var_names = tfs
    adata.layers["scfan_score"] = rng.random((121, 6)).astype(np.float32)
    adata.write_h5ad(tmp_path / "activity.h5ad")
    found = np.append(np.where(kind == "rare", "b", kind), "a")  # the rare type was missed
    obs = pd.DataFrame({"cell_type": pd.Categorical(found)}, index=barcodes)
    ad.AnnData(obs=obs.sample(frac=1, random_state=0)).write_h5ad(tmp_path / "cells.h5ad")
    truth = tmp_path / "truth"
    truth.mkdir()
    active.to_csv(truth / "activity.tsv", sep="\t", index=False)
    pd.DataFrame({"barcode": barcodes, "cell_type": [*kind, ""], "is_cell": [1] * 120 + [0]}).to_csv(
        truth / "cells.tsv", sep="\t", index=False
    )
    return tmp_path


def types_of(folder, **options):
    score_types(
        folder / "activity.h5ad", folder / "cells.h5ad", folder / "truth", folder / "out.tsv", **options
    )
    return pd.read_csv(folder / "out.tsv", sep="\t").set_index(["quantity", "name"])["value"]


def test_types_and_activity_are_scored(atlas):
    value = types_of(atlas)
    assert value["rarest_cells", "rare"] == 10
    assert value["rarest_recall", "cell_type"] == 1
    assert value["rarest_precision", "cell_type"] == pytest.approx(10 / 60, rel=1e-5)
    assert 0.8 < value["ari", "cell_type"] < 1
    assert value["ari", "activity_leiden"] > 0.95 and abs(value["ari", "scfan_leiden"]) < 0.1
    assert value["n_groups", "activity_leiden"] == 3
    assert value["rarest_recall", "activity_leiden"] == value["rarest_precision", "activity_leiden"] == 1
    assert (value["activity_auroc"] > 0.99).all()
    assert abs(value["scfan_auroc", "mean"] - 0.5) < 0.15
    assert set(value["activity_auroc"].index) == {
        "T0",
        "T1",
        "T2",
        "T3",
        "T4",
        "mean",
    }  # not the one active in all


def test_tfs_that_are_abstained_on_do_not_shape_the_groups(atlas, capsys):
    """Three TFs split the cells by chance, and more than the others do by type; with one TF left all are used."""
    whole = types_of(atlas)
    adata = ad.read_h5ad(atlas / "activity.h5ad")
    noise = ["T0", "T1", "EVERY"]
    adata.X[:, adata.var_names.get_indexer(noise)] = 30.0 * np.random.default_rng(1).integers(0, 2, (121, 3))
    for abstained, right in (([], False), (noise, True), (["T0", "T1", "T2", "T3", "T4"], False)):
        adata.var["abstained"] = adata.var_names.isin(abstained)
        adata.write_h5ad(atlas / "activity.h5ad")
        value = types_of(atlas)
        assert (value["ari", "activity_leiden"] > 0.95) == right
        assert value["ari", "scfan_leiden"] == whole["ari", "scfan_leiden"]
        assert len(value["activity_auroc"]) == 6  # each TF alone, whether abstained on or not
        told = "types: scbind abstains on all but 1 TFs, so all TFs are used to group the cells"
        assert (told in capsys.readouterr().err) == (len(abstained) == 5)


def test_methods_are_scored_on_the_same_cells_and_tfs(atlas):
    """T0 is at chance in z, and has no value by chromVAR: a mean over other TFs would hide that."""
    adata = ad.read_h5ad(atlas / "activity.h5ad")
    adata.X[:, 0] = np.random.default_rng(0).normal(size=121)
    adata.write_h5ad(atlas / "activity.h5ad")
    alone = types_of(atlas)
    other = ad.AnnData(adata.X.copy(), obs=adata.obs, var=pd.DataFrame(index=adata.var_names))
    other.layers["borrowed"] = adata.X.copy()
    other.X[:, 0] = np.nan
    other.layers["borrowed"][:50, 1] = np.nan
    other.X[7] = np.nan  # a cell without an insertion in a peak
    other = other[:, ["T4", "T3", "T2", "T1", "T0"]]
    other.write_h5ad(atlas / "chromvar.h5ad")
    value = types_of(atlas, chromvar=atlas / "chromvar.h5ad")
    for method in ("activity", "scfan", "chromvar", "chromvar_borrowed"):
        scores = value[f"{method}_auroc"]
        assert set(scores.index) == {"T2", "T3", "T4", "mean"}
        assert scores["mean"] == pytest.approx(scores.drop("mean").mean(), rel=1e-5)
    assert value["activity_auroc"].equals(value["chromvar_auroc"]) and value["activity_auroc", "mean"] > 0.99
    assert alone["activity_auroc", "mean"] < 0.95, "with T0"
    other[:, []].write_h5ad(atlas / "chromvar.h5ad")
    value = types_of(atlas, chromvar=atlas / "chromvar.h5ad")
    assert "chromvar_auroc" not in value and value["activity_auroc"].equals(alone["activity_auroc"])


def test_cells_without_types_are_refused(atlas):
    adata = ad.read_h5ad(atlas / "cells.h5ad")
    del adata.obs["cell_type"]
    adata.write_h5ad(atlas / "cells.h5ad")
    with pytest.raises(InputError, match="obs has no column cell_type"):
        types_of(atlas)


def test_best_group_by_hand():
    wanted = np.array([True, True, True, False, False, False])
    assert best_group(wanted, np.array(list("aabbcc"))) == (2 / 3, 1.0)
    assert best_group(wanted, np.array(list("aaaaaa"))) == (1.0, 0.5)
    assert best_group(wanted, np.array(list("xyzabc"))) == (1 / 3, 1.0)
