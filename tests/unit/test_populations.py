import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scbind.analysis.cautions import Cautions
from scbind.analysis.populations import COLUMNS, Found, find_populations
from scbind.analysis.tree import Part
from scbind.core.errors import InputError

TFS = [f"TF{i}" for i in range(8)]
PEAKS = 320  # the peaks of a TF are the 40 from 40 times its number
FAST = {"n_neighbours": 10, "n_components": 6, "repeats": 2, "null_draws": 1}


def write(folder, groups, seed=0, sample="s", abstained=(), shallow=(), doublet=0.05):
    """Write activity and peaks. ``groups``: (cell type, cells, TF whose activity and peaks are raised).

    ``shallow``: (cells, TF) abstained on. Returns both paths.
    """
    rng = np.random.default_rng(seed)
    z, types, raised = [], [], []
    for cell_type, n, tf in groups:
        part = rng.normal(size=(n, len(TFS)))
        part[:, tf] += 6
        z.append(part)
        types += [cell_type] * n
        raised += [tf] * n
    rate = np.random.default_rng(99).lognormal(-2.5, 0.6, PEAKS) * np.ones((len(types), 1))
    for row, tf in enumerate(raised):
        rate[row, 40 * tf : 40 * tf + 40] += 0.8
    index = [f"{sample}#c{i}" for i in range(len(types))]
    obs = pd.DataFrame({"sample": sample, "cell_type": types, "doublet_score": doublet}, index=index)
    var = pd.DataFrame({"abstained": [tf in abstained for tf in TFS]}, index=TFS)
    data = anndata.AnnData(np.vstack(z).astype(np.float32), obs=obs, var=var)
    data.layers["mean_binding"] = data.X
    data.layers["abstained"] = np.tile(var["abstained"].to_numpy(), (len(obs), 1))
    for cells, tf in shallow:
        data.layers["abstained"][cells, tf] = True
    folder.mkdir(exist_ok=True)
    data.write_h5ad(folder / f"{sample}.h5ad")
    start = 1000 * np.arange(PEAKS)
    places = pd.DataFrame(
        {"chrom": "chr1", "start": start, "end": start + 500}, index=[f"p{i}" for i in start]
    )
    peaks = anndata.AnnData(
        sp.csr_matrix(rng.poisson(rate)).astype(np.int32), obs=obs[["sample"]], var=places
    )
    peaks.write_h5ad(folder / f"{sample}.peaks.h5ad")
    return [folder / f"{sample}.h5ad"], [folder / f"{sample}.peaks.h5ad"]


def read(path):
    return pd.read_csv(path, sep="\t", keep_default_na=False, na_values=[""])


GROUPS = [("T", 150, 0), ("B", 90, 1)]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("populations")
    outputs = folder / "populations.tsv", folder / "cells.tsv"
    find_populations(*write(folder, GROUPS), *outputs, **FAST, small_fraction=0.4)
    return read(outputs[0]), read(outputs[1])


def test_planted_groups_are_found_with_sizes_types_and_markers(found):
    table, _ = found
    assert table.columns.tolist() == COLUMNS
    assert table.population.tolist() == ["P1", "P2"] and table.n_cells.tolist() == [150, 90]
    assert table.cell_type.tolist() == ["T", "B"] and (table.cell_type_share == 1).all()
    assert table.small.tolist() == [False, True]
    assert [markers.split(":")[0] for markers in table.markers] == ["TF0", "TF1"]
    assert table.markers_against_nearest[1].startswith("TF1:")
    assert (table.stability >= 0.6).all() and (table.separation > table.separation_limit).all()
    assert table.evidence.str.contains("accessibility and activity").all()


def test_cells_are_listed_with_their_population_and_confidence(found):
    table, cells = found
    assert cells.columns.tolist() == ["sample", "cell", "population", "confidence"] and len(cells) == 240
    assert cells.population.value_counts().to_dict() == table.set_index("population").n_cells.to_dict()
    assert set(cells.population[-90:]) == {"P2"} and cells.confidence.between(0, 1).all()


def test_one_kind_of_cells_is_one_population_even_if_activity_has_clusters(tmp_path):
    files = write(tmp_path, [("T", 200, 0)])
    data = anndata.read_h5ad(files[0][0])
    data.X[:60, 3] += 9  # as fragments that cells borrow from each other could do
    data.write_h5ad(files[0][0])
    find_populations(*files, tmp_path / "o.tsv", **FAST)
    table = read(tmp_path / "o.tsv")
    assert table.n_cells.tolist() == [200] and table.evidence.tolist() == ["not divided"]


def test_smaller_groups_than_the_fraction_are_not_split_off(tmp_path):
    files = write(tmp_path, GROUPS)
    find_populations(*files, tmp_path / "o.tsv", tmp_path / "c.tsv", **FAST, min_fraction=0.45)
    assert len(read(tmp_path / "o.tsv")) == 1 and read(tmp_path / "c.tsv").population.notna().all()


def test_same_seed_same_bytes_and_samples_are_counted(tmp_path):
    a, b = write(tmp_path, [("T", 60, 0)], 0, "a"), write(tmp_path, [("T", 30, 0), ("B", 50, 1)], 1, "b")
    for name in "12":
        find_populations(a[0] + b[0], a[1] + b[1], tmp_path / name, **FAST)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    table = read(tmp_path / "1")
    assert table.n_cells.tolist() == [90, 50] and table.n_samples.tolist() == [2, 1]
    assert table.top_sample[0] == "a" and table.top_sample_share[0] == pytest.approx(2 / 3, abs=1e-3)


def test_cautions_name_doublets_and_a_single_donor(tmp_path):
    files = [
        write(tmp_path, [("T", 60, 0), ("B", n, 1)], i, f"s{i}", doublet=0.2)
        for i, n in enumerate((0, 0, 40))
    ]
    activity, peaks = ([file for pair in files for file in pair[side]] for side in (0, 1))
    find_populations(activity, peaks, tmp_path / "o.tsv", **FAST)
    table = read(tmp_path / "o.tsv")
    assert "probably doublets" in table.cautions[0]
    assert table.cautions[1].startswith("100% of its cells are of one donor; probably doublets")


def test_a_population_of_doublets_is_named_with_the_two_that_it_is_between(tmp_path):
    """The open peaks of the third group are those of both others, and its cells have high scores."""
    (activity,), (peaks,) = write(tmp_path, [("T", 80, 0), ("B", 60, 1), ("odd", 30, 2)])
    adata = anndata.read_h5ad(peaks)
    counts = adata.X.toarray()
    counts[140:, 80:120] = counts[:30, 80:120]
    counts[140:, :40], counts[140:, 40:80] = counts[:30, :40], counts[80:110, 40:80]
    adata.X = sp.csr_matrix(counts)
    adata.write_h5ad(peaks)
    adata = anndata.read_h5ad(activity)
    adata.obs["doublet_score"] = np.repeat([0.02, 0.3], [140, 30])
    adata.write_h5ad(activity)
    find_populations([activity], [peaks], tmp_path / "o.tsv", **FAST)
    cautions = read(tmp_path / "o.tsv").set_index("cell_type")["cautions"].fillna("")
    assert cautions["odd"].startswith("probably doublets of P1 and P2")
    assert "doublets" not in cautions["T"] + cautions["B"]


def test_a_population_is_split_from_a_larger_one_and_never_in_a_circle():
    """All cells -> (A, B); A -> (C, D); C -> (E, F). F is the largest of A, and D is larger than E."""
    parts, start = [], 0
    rows = {}
    for name, n in (("B", 90), ("D", 30), ("E", 10), ("F", 60)):
        rows[name], start = np.arange(start, start + n), start + n
    rows["C"] = np.concatenate([rows["E"], rows["F"]])
    rows["A"] = np.concatenate([rows["D"], rows["C"]])
    for name, parent in (("all", -1), ("A", 0), ("B", 0), ("C", 1), ("D", 1), ("E", 3), ("F", 3)):
        mine = rows.get(name, np.arange(190))
        parts.append(Part(mine, parent, np.ones(len(mine))))
    found = Found(None, np.repeat("d", 190), None, parts, 0)
    assert [len(part.rows) for part in found.parts.values()] == [90, 60, 30, 10]  # B, F, D, E
    parent = {name: found.split_from(part) for name, part in found.parts.items()}
    assert parent == {"P1": "", "P2": "", "P3": "P2", "P4": "P2"}


def copies(n_cells, gain=1.0, other_peaks=0, seed=0, n_donors=1):
    """The caution about the copy number of the first of 200 cells: a gain of 100 peaks, and other peaks that open."""
    rng = np.random.default_rng(seed)
    rate = np.full((200, 400), 0.3)
    rate[:n_cells, 100:200] *= gain
    rate[:n_cells, rng.choice(400, other_peaks, replace=False)] = 2
    matrix = sp.csr_matrix((rng.poisson(rate) > 0).astype(np.float32))
    start = 1000 * np.arange(400)
    places = pd.DataFrame({"chrom": np.repeat(["chr1", "chr2"], 200), "start": start, "end": start + 500})
    cautions = Cautions(matrix, places, np.arange(200) % n_donors)
    return cautions._copies(np.arange(200), np.arange(n_cells))


def test_a_gain_of_copies_is_named_with_what_chance_makes():
    for seed in range(5):
        found = copies(40, gain=2, seed=seed, n_donors=2)
        assert found.startswith("copy number of chr1:100000-199500 x1.") and "(by chance: up to x1." in found
    assert copies(40, other_peaks=60) == ""  # no matter of copies


def test_few_cells_are_no_gain_of_copies():
    """Of so few cells, some segment always differs by more than half a copy."""
    found = [copies(n_cells, other_peaks=60, seed=seed) for n_cells in (6, 10, 16) for seed in range(8)]
    assert not [text for text in found if text.startswith("copy number")]
    assert [
        text
        for text in found
        if text.startswith("too few cells to detect copy numbers (chance alone gives ratios up to ")
    ]


def test_too_few_cells_give_a_header_only(tmp_path, capsys):
    find_populations(*write(tmp_path, [("T", 6, 0)]), tmp_path / "o.tsv", tmp_path / "c.tsv")
    assert (tmp_path / "o.tsv").read_text() == "\t".join(COLUMNS) + "\n"
    assert "too few to divide" in capsys.readouterr().err
    assert len(pd.read_csv(tmp_path / "c.tsv", sep="\t")) == 6


def test_an_abstained_tf_neither_proposes_nor_marks(tmp_path, capsys):
    groups = [("T", 100, 0), ("B", 100, 1)]
    files = write(tmp_path, groups, abstained=("TF1",))
    find_populations(*files, tmp_path / "some", **FAST)
    some = read(tmp_path / "some")
    assert (
        len(some) == 2 and not some[["markers", "markers_against_nearest"]].stack().str.contains("TF1").any()
    )
    assert "left out because scbind abstains on them: TF1" in capsys.readouterr().err
    data = anndata.read_h5ad(files[0][0])
    data.X[:, 1] = np.random.default_rng(9).normal(size=200)  # the values of an abstained TF do not matter
    data.write_h5ad(files[0][0])
    find_populations(*files, tmp_path / "other", **FAST)
    assert (tmp_path / "other").read_bytes() == (tmp_path / "some").read_bytes()


@pytest.mark.parametrize("left", [0, 1])
def test_with_hardly_any_tf_left_the_table_is_empty_and_the_log_says_why(tmp_path, capsys, left):
    files = write(tmp_path, [("T", 40, 0), ("B", 40, 1)], abstained=TFS[left:])
    find_populations(*files, tmp_path / "o.tsv", tmp_path / "c.tsv")
    assert (tmp_path / "o.tsv").read_text() == "\t".join(COLUMNS) + "\n"
    said = capsys.readouterr().err
    assert f"80 cells and {left} TFs are too few to divide" in said and "scbind abstains on them: " in said
    assert len(read(tmp_path / "c.tsv")) == 80


def test_cells_too_shallow_for_a_tf_do_not_make_it_a_marker(tmp_path):
    shallow = [(slice(0, 97), 0), (slice(0, 10), 1)]  # three cells of T are left for TF0
    files = write(tmp_path, [("T", 100, 0), ("B", 100, 1)], shallow=shallow)
    find_populations(*files, tmp_path / "o.tsv", **FAST)
    markers = read(tmp_path / "o.tsv").markers
    assert len(markers) == 2 and not markers.str.contains("TF0").any()
    z = anndata.read_h5ad(files[0][0]).X[:, 1].astype(np.float64)
    ours, theirs = z[100:], z[10:100]
    pooled = np.sqrt((99 * ours.var(ddof=1) + 89 * theirs.var(ddof=1)) / 188)
    effect = (ours.mean() - theirs.mean()) / pooled
    assert sum(text.startswith(f"TF1:{effect:.2f}") for text in markers) == 1


def test_missing_and_mismatched_input(tmp_path):
    with pytest.raises(InputError, match="no such file; run the activity rule first"):
        find_populations([tmp_path / "none.h5ad"], [tmp_path / "none.h5ad"], tmp_path / "o.tsv")
    files = write(tmp_path, [("T", 20, 0)])
    with pytest.raises(InputError, match="1 files of activity but 0 of peaks"):
        find_populations(files[0], [], tmp_path / "o.tsv")
    peaks = anndata.read_h5ad(files[1][0])
    peaks[3:].write_h5ad(files[1][0])
    with pytest.raises(InputError, match="has no cell s#c0"):
        find_populations(*files, tmp_path / "o.tsv")
    other = write(tmp_path, [("T", 20, 0)], sample="t")
    peaks = anndata.read_h5ad(other[1][0])[:, 1:]
    peaks.write_h5ad(other[1][0])
    write(tmp_path, [("T", 20, 0)])
    with pytest.raises(InputError, match="its peaks differ"):
        find_populations(files[0] + other[0], files[1] + other[1], tmp_path / "o.tsv")
