import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scbind
from scbind.cells.clusters import Search, cluster, corrected
from scbind.cells.columns import COLUMNS
from scbind.cells.described import describe_cells
from scbind.cells.embedding import EmbedOptions, embed, reasons
from scbind.cells.lenders import find_lenders, sample_cells
from scbind.cells.neighbours import nearest
from scbind.cells.profiles import Lengths, profile_table
from scbind.cells.samples import _read_sample
from scbind.cells.umap import embed_umap
from scbind.core.errors import InputError
from scbind.formats.genome import ChromSizes
from scbind.plan.settings import default_options

LENGTHS = {"chr1": 60_000, "chr2": 40_000}
SITES = np.arange(
    500, 99_000, 2000
)  # global; even ones are open in type A, odd ones in B, every fifth in both
BORROW = {"target_fragments": 400, "max_neighbours": 12, "weights": "uniform"}


def options(**changes):
    """The defaults of the schema, but cells of the seed 3 that may be few, shallow and doublets."""
    small = {"min_fragments": 1, "max_doublet_score": None, "seed": 3}
    return default_options(EmbedOptions, "cells", **small | changes)


PBMC = options(label_transfer="none", min_fragments=30, max_nucleosome_signal=2.0, components=5)


def write_sample(folder, types, seed, n_fragments=60):
    """A sample with one cell per letter of ``types``; cuts are random around the open sites of the type."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    number = np.arange(len(SITES))
    sites = {
        "A": SITES[(number % 2 == 0) | (number % 5 == 0)],
        "B": SITES[(number % 2 == 1) | (number % 5 == 0)],
    }
    depth = np.full(len(types), n_fragments) + random.integers(0, 40, len(types))
    chosen = [random.choice(sites[t], 2 * d) for t, d in zip(types, depth, strict=True)]
    cell = np.repeat(np.arange(len(types)), 2 * depth)
    position = np.concatenate(chosen) + random.integers(0, 200, len(cell))
    order = np.argsort(position, kind="stable")
    table = pd.DataFrame({"barcode": [f"BC{i:03d}-1" for i in range(len(types))], "n_fragments": depth})
    table["n_reads"] = 2 * depth
    table["frac_duplicates"], table["nucleosome_signal"] = 0.5, 0.8
    table["tss_enrichment"], table["frac_mitochondrial"] = np.nan, np.nan
    save(folder, position[order], cell[order], table)
    (folder / "peaks.narrowPeak").write_text(
        "chr1\t400\t900\tp1\t10\t.\t1\t1\t1\t5\n"
        "chr1\t800\t3000\tp2\t10\t.\t1\t1\t1\t5\n"
        "chr2\t0\t10000\tp3\t10\t.\t1\t1\t1\t5\n"
    )
    names = {
        "position": "position.npy",
        "cell": "cell.npy",
        "barcodes": "barcodes.tsv",
        "peaks": "peaks.narrowPeak",
    }
    return {key: str(folder / name) for key, name in names.items()}


def save(folder, position, cell, table):
    np.save(folder / "position.npy", position.astype(np.uint32))
    np.save(folder / "cell.npy", cell.astype(np.uint32))
    table[COLUMNS].to_csv(folder / "barcodes.tsv", sep="\t", index=False)


def write_sizes(folder):
    path = folder / "chrom.sizes"
    path.write_text("".join(f"{name}\t{length}\n" for name, length in LENGTHS.items()))
    return str(path)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    folder = tmp_path_factory.mktemp("atlas")
    samples = {
        "s1": write_sample(folder / "s1", "A" * 25 + "B" * 15, 1),
        "s2": write_sample(folder / "s2", "B" * 20 + "A" * 20, 2),
    }
    table = pd.read_csv(folder / "s2" / "barcodes.tsv", sep="\t")
    table.loc[5, "nucleosome_signal"] = np.inf
    table.loc[6, "nucleosome_signal"] = 2.345678
    table.to_csv(folder / "s2" / "barcodes.tsv", sep="\t", index=False)
    labels = folder / "labels.tsv"
    labels.write_bytes(b"barcode\tnote\tcell_type\r\nBC000-1\tx\tmono\r\nBC005-1\ty\t1e5\r\nBC007-1\tz\t\r\n")
    sizes = write_sizes(folder)
    output = folder / "pbmc.h5ad"
    given = {"s1": None, "s2": labels}
    embed(samples, sizes, output, PBMC, group="pbmc", labels=given)
    return folder, samples, sizes, output


def test_cells_and_columns(atlas):
    folder, samples, _, output = atlas
    cells = ad.read_h5ad(output)
    assert cells.shape == (80, 0)
    order = ["sample", *COLUMNS, "frac_in_peaks", "doublet_score", "pass", "reason"]
    order += ["cluster", "label", "cell_type", "cell_type_source", "label_confidence"]
    assert cells.obs.columns.tolist() == order
    assert cells.obs_names[0] == "s1#BC000-1" and cells.obs_names[-1] == "s2#BC039-1"
    assert cells.obs["sample"].tolist() == ["s1"] * 40 + ["s2"] * 40
    assert cells.uns["params"]["seed"] == 3 and cells.uns["params"]["components"] == 5
    position, cell = np.load(samples["s1"]["position"]), np.load(samples["s1"]["cell"])
    inside = ((position >= 400) & (position < 3000)) | ((position >= 60_000) & (position < 70_000))
    share = np.bincount(cell[inside], minlength=40) / np.bincount(cell, minlength=40)
    np.testing.assert_allclose(cells.obs["frac_in_peaks"][:40], share)
    assert 0 < share.min() < share.max() < 1


def test_peaks_of_mitochondrial_dna_are_no_peaks(atlas, tmp_path):
    _, samples, _, _ = atlas
    paths = samples["s1"] | {"peaks": str(tmp_path / "p"), "barcodes": str(tmp_path / "b")}
    (tmp_path / "p").write_text(Path(samples["s1"]["peaks"]).read_text().replace("chr2", "chrM"))
    position, cell = np.load(paths["position"]), np.load(paths["cell"])
    given = pd.read_csv(samples["s1"]["barcodes"], sep="\t")
    given["frac_mitochondrial"] = 0.25
    given.to_csv(tmp_path / "b", sep="\t", index=False)
    table, _ = _read_sample("s1", paths, ChromSizes(("chr1", "chrM"), np.array(list(LENGTHS.values()))))
    inside = (position >= 400) & (position < 3000)
    np.testing.assert_allclose(
        table["frac_in_peaks"], np.bincount(cell[inside], minlength=40) / np.bincount(cell) / 0.75, rtol=0.03
    )


@pytest.fixture(scope="module")
def umap(atlas):
    """The UMAP of the cells of the atlas."""
    path = atlas[0] / "pbmc.umap.h5ad"
    embed_umap(atlas[-1], path, 3)
    return path


def test_the_cells_of_a_sample_with_donor_and_umap(atlas, umap, tmp_path):
    paths = [tmp_path / name for name in ("embedding.h5ad", "cells.h5ad")]
    sample_cells(atlas[-1], "s2", paths[0])
    describe_cells(paths[0], umap, paths[1], {"donor": "d2", "condition": None})
    before, cells = map(ad.read_h5ad, paths)
    assert cells.obs.columns.tolist()[:3] == ["sample", "donor", "barcode"]
    assert (cells.obs["donor"] == "d2").all()
    empty = [name for name in before.obs if before.obs[name].isna().all()]
    assert "tss_enrichment" in empty and not {"condition", *empty} & set(cells.obs), (
        "a column without a value is not written"
    )
    pd.testing.assert_frame_equal(cells.obs.drop(columns="donor"), before.obs.drop(columns=empty))
    np.testing.assert_array_equal(cells.obsm["X_umap"], ad.read_h5ad(umap).obsm["X_umap"][40:])
    np.testing.assert_array_equal(cells.obsm["X_lsi"], before.obsm["X_lsi"])


def test_a_umap_of_other_cells_is_refused(atlas, umap, tmp_path):
    sample_cells(atlas[-1], "s2", tmp_path / "s2.h5ad")
    ad.read_h5ad(umap)[:60].copy().write_h5ad(tmp_path / "umap.h5ad")
    with pytest.raises(
        InputError, match=r"umap.h5ad: has no cell s2#BC020-1, .*run the UMAP of the group again"
    ):
        describe_cells(tmp_path / "s2.h5ad", tmp_path / "umap.h5ad", tmp_path / "no.h5ad", {})
    assert not (tmp_path / "no.h5ad").exists()


def test_an_embedding_or_umap_that_lacks_a_part_is_refused(atlas, umap, tmp_path):
    paths = {name: tmp_path / f"{name}.h5ad" for name in ("group", "sample", "umap", "out")}
    for name, source, part in (("group", atlas[-1], "obsp/connectivities"), ("umap", umap, "obsm/X_umap")):
        shutil.copy(source, paths[name])
        with h5py.File(paths[name], "a") as file:
            del file[part]
    sample_cells(atlas[-1], "s2", paths["sample"])
    refused = r"group.h5ad: obsp has no connectivities; run the embedding of the group again$"
    with pytest.raises(InputError, match=refused):
        sample_cells(paths["group"], "s2", paths["out"])
    with pytest.raises(InputError, match=refused):
        embed_umap(paths["group"], paths["out"], 3)
    with pytest.raises(InputError, match=r"umap.h5ad: obsm has no X_umap; run the UMAP of the group again$"):
        describe_cells(paths["sample"], paths["umap"], paths["out"], {})
    with h5py.File(paths["sample"], "a") as file:
        del file["obsm/X_lsi"]
    with pytest.raises(
        InputError, match=r"sample.h5ad: obsm has no X_lsi; run the embedding of the sample again$"
    ):
        find_lenders(paths["sample"], paths["out"], **BORROW)
    assert not paths["out"].exists()


def test_the_graph_joins_passing_cells_only(atlas):
    cells = ad.read_h5ad(atlas[-1])
    graph, passing = cells.obsp["connectivities"], cells.obs["pass"].to_numpy()
    assert graph.dtype == np.float32 and graph[~passing].nnz == 0 and graph[:, ~passing].nnz == 0
    assert (np.diff(graph.indptr)[passing] > 0).all()


def test_the_umap_is_that_of_scanpy(atlas, umap):
    cells = ad.read_h5ad(atlas[-1])
    passing = cells[cells.obs["pass"]].copy()
    search, seed = Search(nearest, PBMC.neighbours - 1, PBMC.seed), PBMC.seed
    sc.pp.neighbors(passing, PBMC.neighbours, use_rep="X_lsi", transformer=search, random_state=seed)
    sc.tl.umap(passing, min_dist=0.3, random_state=seed)
    place = ad.read_h5ad(umap).obsm["X_umap"][cells.obs["pass"]]
    np.testing.assert_array_equal(place, passing.obsm["X_umap"])


def test_two_samples_may_have_the_same_barcodes(atlas):
    obs = ad.read_h5ad(atlas[-1]).obs
    first, second = obs[obs["sample"] == "s1"], obs[obs["sample"] == "s2"]
    assert first["barcode"].tolist() == second["barcode"].tolist() and obs.index.is_unique
    assert first["n_fragments"].tolist() != second["n_fragments"].tolist()


def test_labels_travel_to_like_cells_and_move_no_other_column(atlas, tmp_path):
    folder, samples, sizes, output = atlas
    labels = tmp_path / "labels.tsv"
    labels.write_text(
        "barcode\tcell_type\n" + "".join(f"s1#BC{i:03d}\t{'A' if i < 25 else 'B'}\n" for i in range(10, 40))
    )
    embed(
        samples,
        sizes,
        tmp_path / "e.h5ad",
        replace(PBMC, label_transfer="neighbours"),
        group="pbmc",
        labels={"s1": labels},
    )
    cells, before = ad.read_h5ad(tmp_path / "e.h5ad"), ad.read_h5ad(output)
    named = ["label", "cell_type", "cell_type_source", "label_confidence"]
    pd.testing.assert_frame_equal(cells.obs.drop(columns=named), before.obs.drop(columns=named))
    assert cells.obsm["X_lsi"].tobytes() == before.obsm["X_lsi"].tobytes()
    obs = cells.obs[cells.obs["pass"]]
    types = np.array(list("A" * 25 + "B" * 15 + "B" * 20 + "A" * 20))[cells.obs["pass"]]
    moved = (obs["cell_type_source"] == "transferred").to_numpy()
    assert moved.sum() > 40 and (obs["cell_type"][moved] == types[moved]).all()
    assert (obs["label_confidence"][moved] >= 0.5).all() and cells.uns["clusters"]["n_labelled"].sum() == 30


def test_doublets_fail_and_are_not_embedded(tmp_path, monkeypatch):
    samples = {"s": write_sample(tmp_path / "s", "AB" * 10, 4)}
    score = np.linspace(0, 0.95, 20)
    monkeypatch.setattr("scbind.cells.embedding.sample_scores", lambda matrix, seed: score[: matrix.n_cells])
    embed(samples, write_sizes(tmp_path), tmp_path / "e.h5ad", options(max_doublet_score=0.8), group="g")
    cells = ad.read_h5ad(tmp_path / "e.h5ad")
    np.testing.assert_array_equal(cells.obs["pass"], score <= 0.8)
    np.testing.assert_allclose(cells.obs["doublet_score"], score)
    assert cells.obs["reason"].iloc[-1] == "doublet_score 0.95 > 0.8"
    assert np.isnan(cells.obsm["X_lsi"][-3:]).all() and np.isfinite(cells.obsm["X_lsi"][:-3]).all()


def test_a_sample_of_doublets_alone_is_refused(tmp_path, monkeypatch):
    samples = {"s": write_sample(tmp_path / "s", "AB" * 10, 4)}
    monkeypatch.setattr("scbind.cells.embedding.sample_scores", lambda matrix, seed: np.full(20, 0.9))
    with pytest.raises(
        InputError,
        match=r"no cell passes quality control \(first cell: doublet_score 0.9 > 0.8\); relax the thresholds",
    ):
        embed(samples, write_sizes(tmp_path), tmp_path / "e.h5ad", options(max_doublet_score=0.8), group="g")


def test_failed_cells_say_why_and_lie_nowhere(atlas, umap):
    cells = ad.read_h5ad(atlas[-1])
    failed = cells.obs.loc[["s2#BC005-1", "s2#BC006-1"]]
    assert cells.obs["pass"].sum() == 78 and not failed["pass"].any()
    assert failed["reason"].tolist() == ["nucleosome_signal inf > 2.0", "nucleosome_signal 2.346 > 2.0"]
    assert (cells.obs.loc[cells.obs["pass"], "reason"] == "").all()
    assert failed["cluster"].isna().all() and failed["cell_type"].isna().all()
    assert 1 <= cells.obsm["X_lsi"].shape[1] <= 5
    drawn = ad.read_h5ad(umap).obsm["X_umap"]
    assert drawn.shape == (80, 2) and drawn.dtype == np.float32
    for values in (cells.obsm["X_lsi"], drawn):
        np.testing.assert_array_equal(np.isnan(values).any(axis=1), ~cells.obs["pass"])


def test_clusters_are_the_types_of_both_samples(atlas):
    cells = ad.read_h5ad(atlas[-1])
    types = np.array(list("A" * 25 + "B" * 15 + "B" * 20 + "A" * 20))
    passing = cells.obs["pass"].to_numpy()
    counts = pd.crosstab(cells.obs["cluster"][passing], types[passing])
    assert ((counts > 0).sum(axis=1) == 1).all()  # no cluster mixes types
    sizes = cells.obs["cluster"].value_counts()
    names = [f"pbmc_c{i}" for i in range(len(sizes))]
    assert sorted(sizes.index) == names and (np.diff(sizes[names]) <= 0).all()


def test_labels_win_over_clusters(atlas):
    obs = ad.read_h5ad(atlas[-1]).obs
    assert obs["cell_type"]["s2#BC000-1"] == "mono" and obs["cluster"]["s2#BC000-1"].startswith("pbmc_c")
    assert obs["label"]["s2#BC005-1"] == "1e5"  # kept as a name; it failed, so it has no cell type
    unlabelled = obs["label"].isna() & obs["pass"]
    assert unlabelled.sum() == 77
    assert (obs["cell_type"][unlabelled].astype(str) == obs["cluster"][unlabelled].astype(str)).all()


def test_a_fresh_process_gives_the_same_values(atlas, umap):
    folder, samples, sizes, output = atlas
    again, drawn = folder / "again.h5ad", folder / "again.umap.h5ad"
    code = (
        "from scbind.cells.embedding import EmbedOptions, embed\n"
        f"labels = {{'s2': {str(folder / 'labels.tsv')!r}}}\n"
        f"embed({samples!r}, {sizes!r}, {str(again)!r}, {PBMC!r}, group='pbmc', labels=labels)\n"
        "from scbind.cells.umap import embed_umap\n"
        f"embed_umap({str(again)!r}, {str(drawn)!r}, 3)\n"
    )
    package = str(Path(scbind.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": package, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, env=environment)
    first, second = ad.read_h5ad(output), ad.read_h5ad(again)
    pd.testing.assert_frame_equal(first.obs, second.obs)
    assert first.obsm["X_lsi"].tobytes() == second.obsm["X_lsi"].tobytes()
    assert (first.obsp["connectivities"] != second.obsp["connectivities"]).nnz == 0
    assert ad.read_h5ad(umap).obsm["X_umap"].tobytes() == ad.read_h5ad(drawn).obsm["X_umap"].tobytes()


def lend(embedding, sample, folder, **options):
    """The cells of a sample and what they borrow."""
    sample_cells(embedding, sample, folder / "cells.h5ad")
    find_lenders(folder / "cells.h5ad", folder / "lenders.h5ad", **BORROW | options)
    return ad.read_h5ad(folder / "cells.h5ad"), ad.read_h5ad(folder / "lenders.h5ad")


def test_mitochondrial_fragments_count_neither_as_own_nor_as_borrowed(atlas, tmp_path):
    sample_cells(atlas[3], "s1", tmp_path / "cells.h5ad")
    find_lenders(tmp_path / "cells.h5ad", tmp_path / "all.h5ad", **BORROW)
    given = ad.read_h5ad(tmp_path / "cells.h5ad")
    given.obs["frac_mitochondrial"] = 0.5
    given.write_h5ad(tmp_path / "half.h5ad")
    find_lenders(tmp_path / "half.h5ad", tmp_path / "few.h5ad", **BORROW)
    every, few = (ad.read_h5ad(tmp_path / name) for name in ("all.h5ad", "few.h5ad"))
    np.testing.assert_array_equal(few.obs["n_fragments"], np.rint(every.obs["n_fragments"] / 2))
    assert few.obsp["borrow"].nnz > every.obsp["borrow"].nnz


def test_sample_cells(atlas, tmp_path):
    folder, samples, _, output = atlas
    cells, lenders = lend(output, "s2", tmp_path)
    assert lenders.obs.equals(cells.obs[["n_fragments", "pass"]]) and not len(cells.obsp)
    table = pd.read_csv(samples["s2"]["barcodes"], sep="\t")
    assert cells.obs["barcode"].tolist() == table["barcode"].tolist()
    borrow = lenders.obsp["borrow"]
    assert borrow.dtype == np.float32 and borrow.shape == (40, 40) and set(borrow.data) == {1}
    passing = cells.obs["pass"].to_numpy()
    np.testing.assert_array_equal(borrow.diagonal(), passing)
    assert borrow[~passing].nnz == 0 and borrow[:, ~passing].nnz == 0
    held = borrow @ table["n_fragments"].to_numpy()
    assert (held[passing] >= 400).all() and (np.diff(borrow.indptr) <= 13).all()
    types = np.array(list("B" * 20 + "A" * 20))
    row, column = borrow.nonzero()
    assert (types[row] == types[column]).mean() > 0.95
    with pytest.raises(InputError, match=r"has no cell of sample s3 \(only s1, s2\)"):
        sample_cells(output, "s3", tmp_path / "no.h5ad")


def test_weights_by_distance_travel(atlas, tmp_path):
    cells, lenders = lend(atlas[-1], "s2", tmp_path, weights="distance")
    borrow, passing = lenders.obsp["borrow"], cells.obs["pass"].to_numpy()
    np.testing.assert_array_equal(borrow.diagonal(), passing)
    assert 0 < borrow.data.min() < 1 and borrow.data.max() == 1
    held = borrow @ cells.obs["n_fragments"].to_numpy()
    assert ((held >= 400) | (np.diff(borrow.indptr) == 13))[passing].all()
    assert lenders.uns["borrow"] == {"target_fragments": 400, "max_neighbours": 12, "weights": "distance"}


def test_neighbours_by_some_chromosomes_do_not_see_the_others(atlas, tmp_path):
    _, samples, sizes, _ = atlas
    found = []
    for chromosomes in (["chr1"], ["chr2"]):
        chosen = replace(PBMC, neighbour_chromosomes=chromosomes)
        embed({"s1": samples["s1"]}, sizes, tmp_path / "e.h5ad", chosen, group="pbmc")
        found.append(lend(tmp_path / "e.h5ad", "s1", tmp_path))
    (cells, lenders), (others, other_lenders) = found
    assert cells.obsm["X_lsi"].tobytes() == others.obsm["X_lsi"].tobytes()
    assert (cells.obs["cluster"] == others.obs["cluster"]).all()
    assert (lenders.obsp["borrow"] != other_lenders.obsp["borrow"]).nnz > 0
    # As if there were no other chromosome.
    exclude = tmp_path / "exclude.bed"
    exclude.write_text("chr1\t0\t60000\n")
    embed({"s1": samples["s1"]}, sizes, tmp_path / "e.h5ad", PBMC, group="pbmc", exclude=exclude)
    expected = ad.read_h5ad(tmp_path / "e.h5ad").obsm["X_lsi"]
    np.testing.assert_array_equal(others.obsm["X_neighbours"], expected)
    with pytest.raises(InputError, match="no chromosome chr9; correct cells.neighbour_chromosomes"):
        chosen = options(neighbour_chromosomes=["chr1", "chr9"])
        embed(samples, sizes, tmp_path / "e.h5ad", chosen, group="g")
    assert not list(tmp_path.glob(".tiles*"))


def test_harmony_takes_out_the_sample_and_leaves_the_type():
    random = np.random.default_rng(0)
    kind, batch = np.repeat([0, 1], 100), np.tile([0, 1], 100)
    points = np.eye(2, 6)[kind] + 0.5 * np.eye(6)[5] * batch[:, None] + 0.05 * random.normal(size=(200, 6))
    result = corrected(points.astype(np.float32), np.array(["a", "b"])[batch], 0)
    assert result.dtype == np.float32 and result.shape == points.shape

    def distance(values, groups):
        return np.linalg.norm(values[groups == 0].mean(axis=0) - values[groups == 1].mean(axis=0))

    assert distance(result, batch) < 0.2 * distance(points, batch)
    assert distance(result, kind) > 0.8 * distance(points, kind)
    assert corrected(points.astype(np.float32), np.array(["a", "b"])[batch], 0).tobytes() == result.tobytes()


def test_one_batch_is_left_as_it_is(capsys):
    points = np.ones((20, 3), dtype=np.float32)
    assert corrected(points, np.full(20, "a"), 0) is points
    assert "batch effects are not removed" in capsys.readouterr().err


def test_harmony_is_for_clusters_and_not_for_whom_to_borrow_from(atlas, tmp_path):
    _, samples, sizes, output = atlas
    batches = {"s1": "d1", "s2": "d2"}
    embed(samples, sizes, tmp_path / "e.h5ad", PBMC, group="pbmc", batches=batches)
    cells, plain = ad.read_h5ad(tmp_path / "e.h5ad"), ad.read_h5ad(output)
    assert cells.uns["params"]["batches"] == {"s1": "d1", "s2": "d2"}
    assert np.isfinite(cells.obsm["X_harmony"][cells.obs["pass"]]).all()
    assert cells.obsm["X_harmony"].shape == cells.obsm["X_lsi"].shape and "X_harmony" not in plain.obsm


@pytest.mark.parametrize("n_cells", [1, 2, 3, 9, 10, 12])
def test_tiny_samples(tmp_path, capsys, n_cells):
    samples = {"s": write_sample(tmp_path / "s", ("AB" * n_cells)[:n_cells], 4)}
    chosen = options(components=30, neighbours=15)
    embed(samples, write_sizes(tmp_path), tmp_path / "e.h5ad", chosen, group="g")
    cells = ad.read_h5ad(tmp_path / "e.h5ad")
    assert cells.obs["pass"].all() and cells.obs["cell_type"].notna().all()
    embed_umap(tmp_path / "e.h5ad", tmp_path / "u.h5ad", 3)
    place = ad.read_h5ad(tmp_path / "u.h5ad").obsm["X_umap"]
    assert np.isfinite(cells.obsm["X_lsi"]).all() and np.isfinite(place).all()
    assert place.shape == (n_cells, 2)
    expected = "too few to cluster" if n_cells < 10 else f"{n_cells - 1} neighbours instead of 15"
    assert expected in capsys.readouterr().err and expected in cells.uns["embedding"]["message"]
    _, lenders = lend(tmp_path / "e.h5ad", "s", tmp_path, target_fragments=1e9, max_neighbours=50)
    assert lenders.obsp["borrow"].nnz == n_cells**2


@pytest.mark.parametrize("n_fragments", [60, 5])  # with 5 no cell passes
def test_a_sample_of_three_cells_without_peaks_does_not_stop_its_group(atlas, tmp_path, capsys, n_fragments):
    _, samples, sizes, _ = atlas
    poor = write_sample(tmp_path / "poor", "AAB", 5, n_fragments)
    if n_fragments < 30:
        table = pd.read_csv(poor["barcodes"], sep="\t").assign(nucleosome_signal=9.0)
        table.to_csv(poor["barcodes"], sep="\t", index=False)
    Path(poor["peaks"]).write_text("")
    embed({"poor": poor, "s1": samples["s1"]}, sizes, tmp_path / "e.h5ad", PBMC, group="pbmc")
    cells = ad.read_h5ad(tmp_path / "e.h5ad")
    mine = (cells.obs["sample"] == "poor").to_numpy()
    assert mine.sum() == 3 and (cells.obs["frac_in_peaks"][mine] == 0).all()
    assert cells.obs["pass"][mine].all() == (n_fragments == 60) and cells.obs["pass"][~mine].all()
    assert ("WARNING poor: no cell passes" in capsys.readouterr().err) == (n_fragments == 5)
    _, lenders = lend(tmp_path / "e.h5ad", "poor", tmp_path, target_fragments=1e9, max_neighbours=50)
    assert lenders.obsp["borrow"].nnz == (9 if n_fragments == 60 else 0)


def test_excluded_regions_have_no_tiles(tmp_path):
    samples = {"s": write_sample(tmp_path / "s", "ABABAB", 4)}
    sizes = write_sizes(tmp_path)
    exclude = tmp_path / "exclude.bed"
    found = []
    for text in ("", "chr2\t0\t40000\n", "chr1\t0\t60000\nchr2\t0\t40000\n"):
        exclude.write_text(text)
        embed(samples, sizes, tmp_path / "e.h5ad", options(), group="g", exclude=exclude)
        cells = ad.read_h5ad(tmp_path / "e.h5ad")
        found.append(int(cells.uns["embedding"]["n_tiles"]))
    assert found[0] > found[1] > found[2] == 0
    np.testing.assert_array_equal(cells.obsm["X_lsi"], np.zeros((6, 1)))


def test_clusters_come_by_size():
    random = np.random.default_rng(0)
    points = np.repeat(np.eye(3), [12, 30, 20], axis=0) + random.normal(scale=0.03, size=(62, 3))
    number, graph, message = cluster(points, 10, 0.1, 0)
    assert message == "" and graph.shape == (62, 62)
    assert number.tolist() == [2] * 12 + [0] * 30 + [1] * 20


def test_reasons_list_every_threshold():
    obs = pd.DataFrame({"n_fragments": [5, 10, 99], "tss_enrichment": [2.0, 4.0, np.nan]})
    limits = [
        ("n_fragments", "<", 10),
        ("n_fragments", ">", 50),
        ("tss_enrichment", "<", 4),
        ("tss_enrichment", ">", None),
    ]
    assert reasons(obs, limits).tolist() == [
        "n_fragments 5 < 10; tss_enrichment 2 < 4",
        "",
        "n_fragments 99 > 50",
    ]


def test_an_unknown_quality_is_not_held_against_cells(capsys):
    obs = pd.DataFrame({"tss_enrichment": [np.nan, np.nan]})
    assert reasons(obs, [("tss_enrichment", "<", 4)]).tolist() == ["", ""]
    assert "tss_enrichment is unknown, so its threshold 4 is not used" in capsys.readouterr().err


def test_bad_samples_are_refused(tmp_path):
    samples = {"s": write_sample(tmp_path / "s", "ABAB", 4)}
    sizes = write_sizes(tmp_path)
    with pytest.raises(
        InputError, match=r"no cell passes quality control \(first cell: n_fragments \d+ < 5000\); relax"
    ):
        embed(samples, sizes, tmp_path / "e.h5ad", options(min_fragments=5000), group="g")
    assert not (tmp_path / "e.h5ad").exists()
    profile = tmp_path / "profile.tsv"
    profile_table(Lengths(), None, {1: 100, 60: 4}).to_csv(profile, sep="\t", index=False)
    with pytest.raises(
        InputError,
        match=r"; 96 of 100 barcodes have fewer than 60 fragments \(cells.min_barcode\) and were ignored; relax .* and "
        "cells.min_barcode$",
    ):
        counted = {"s": samples["s"] | {"profile": profile}}
        embed(counted, sizes, tmp_path / "e.h5ad", options(min_fragments=5000), group="g")
    table = pd.read_csv(samples["s"]["barcodes"], sep="\t")
    table.iloc[:3].to_csv(samples["s"]["barcodes"], sep="\t", index=False)
    with pytest.raises(InputError, match=r"barcodes.tsv: its \d+ fragments do not match the \d+ insertions"):
        embed(samples, sizes, tmp_path / "e.h5ad", options(), group="g")
    table.drop(columns="n_reads").to_csv(samples["s"]["barcodes"], sep="\t", index=False)
    with pytest.raises(InputError, match="columns barcode, n_fragments, frac_duplicates"):
        embed(samples, sizes, tmp_path / "e.h5ad", options(), group="g")
    Path(samples["s"]["barcodes"]).write_bytes(b"barcode\tn_fragments\n\xff\t1\n")
    with pytest.raises(
        InputError, match=r"barcodes.tsv: not a table \(.*; count the sample's fragments again"
    ):
        embed(samples, sizes, tmp_path / "e.h5ad", options(), group="g")


def test_a_sample_given_twice_is_refused(tmp_path):
    types = "AB" * 15
    samples = {name: write_sample(tmp_path / name, types, 4) for name in ("a", "b")}
    with pytest.raises(InputError, match="30 of 30 cells of sample b are those of sample a"):
        embed(samples, write_sizes(tmp_path), tmp_path / "e.h5ad", options(), group="g")
    samples["b"] = write_sample(tmp_path / "c", types, 5)  # the same barcodes in another experiment
    embed(samples, write_sizes(tmp_path), tmp_path / "e.h5ad", options(), group="g")
