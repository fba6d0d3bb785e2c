"""Which pseudobulks there are, and what becomes of small types."""

import anndata
import numpy as np
import pandas as pd
import pytest
from scbind.core.errors import InputError
from scbind.peaks.pseudobulk import list_cell_types, read_pools

NO_MINIMUM = {"min_cells": 1, "min_fragments": 1, "small_types": "sample_peaks"}


def cells(tmp_path, sample, rows, drop=(), points=None, harmony=None, doublet=None):
    """Rows are (barcode, pass, cell type or None, fragments). ``doublet``: the scores of the cells."""
    obs = pd.DataFrame(rows, columns=["barcode", "pass", "cell_type", "n_fragments"])
    obs.insert(0, "sample", sample)
    if doublet is not None:
        obs["doublet_score"] = doublet
    obs.index = [f"{sample}#{barcode}" for barcode in obs["barcode"]]
    obs["cell_type"] = pd.Categorical(obs["cell_type"])
    path = tmp_path / f"{sample}.h5ad"
    obsm = {} if points is None else {"X_lsi": np.array(points, dtype=np.float32)}
    if harmony is not None:
        obsm["X_harmony"] = np.array(harmony, dtype=np.float32)
    anndata.AnnData(obs=obs.drop(columns=list(drop)), obsm=obsm).write_h5ad(path)
    return path


def listed(tmp_path, paths, groups=None, donors=None, **options):
    """The two tables, as text columns."""
    groups, donors = groups or dict.fromkeys(paths, "g"), donors or dict.fromkeys(paths)
    files = tmp_path / "out" / "types.tsv", tmp_path / "out" / "bulks.tsv"
    list_cell_types(paths, *files, groups, donors, **NO_MINIMUM | options)
    return tuple(pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False) for path in files)


def test_types_and_their_replicates_are_listed(tmp_path):
    first = [("A", True, "T cell", 5), ("B", True, "B/naive", 7), ("C", False, "T cell", 9)]
    paths = {
        "s1": cells(tmp_path, "s1", first),
        "s2": cells(tmp_path, "s2", [("A", True, "T cell", 2), ("D", True, None, 4)]),
    }
    listed(tmp_path, paths, min_fragments=6)
    assert (tmp_path / "out/types.tsv").read_text() == (
        "cell_type\tslug\tn_cells\tn_fragments\tsamples\tstatus\tmerged_into\treason\tdoublet_score\tcaution\n"
        "B/naive\tB_naive\t1\t7\ts1\town\t\t\t\t\nT cell\tT_cell\t2\t7\ts1,s2\town\t\t\t\t\n"
    )
    assert (tmp_path / "out/bulks.tsv").read_text() == (
        "pseudobulk\tcell_type\treplicate\tsamples\tn_cells\tn_fragments\tlarge\n"
        "B_naive\tB/naive\t\ts1\t1\t7\tyes\n"
        "T_cell\tT cell\t\ts1,s2\t2\t7\tyes\n"
        "T_cell/replicates/s1\tT cell\ts1\ts1\t1\t5\tno\n"
        "T_cell/replicates/s2\tT cell\ts2\ts2\t1\t2\tno\n"
    )


def test_replicates_are_donors_and_samples_whose_donor_is_not_known(tmp_path, capfd):
    paths = {name: cells(tmp_path, name, [("A", True, "T", 5)]) for name in ("s1", "s2", "s3")}
    _, bulks = listed(tmp_path, paths, donors={"s1": "d 1", "s2": "d2", "s3": "d 1"})
    assert bulks[["pseudobulk", "samples", "n_cells"]].to_numpy().tolist() == [
        ["T", "s1,s2,s3", "3"],
        ["T/replicates/d_1", "s1,s3", "2"],
        ["T/replicates/d2", "s2", "1"],
    ]
    _, bulks = listed(tmp_path, paths, donors={"s1": "d1", "s2": None, "s3": "d1"})
    assert bulks["replicate"].tolist() == ["", "d1", "s2"]
    assert "without a donor count as replicates of their own: s2" in capfd.readouterr().err
    _, bulks = listed(tmp_path, paths, donors={"s1": "d 1", "s2": "d_1", "s3": "d2"})
    assert bulks["pseudobulk"].tolist() == ["T", "T/replicates/d_1_2", "T/replicates/d2", "T/replicates/d_1"]


@pytest.mark.parametrize(
    ("rows", "drop", "message"),
    [
        ([("A", False, "T", 1)], (), "no cell passes quality control"),
        ([("A", True, None, 1)], (), "no cell passes quality control"),
        ([("A", True, "T", 0)], (), "no cell type is left .no fragments."),
        ([("A", True, "T", 1)], ("cell_type", "pass"), "obs has no column pass, cell_type"),
    ],
)
def test_bad_cells_are_refused(tmp_path, rows, drop, message):
    with pytest.raises(InputError, match=message):
        listed(tmp_path, {"s": cells(tmp_path, "s", rows, drop)})
    assert not (tmp_path / "out").exists()


def test_missing_and_damaged_cells_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        listed(tmp_path, {"s": tmp_path / "none.h5ad"})
    (tmp_path / "bad.h5ad").write_text("no")
    with pytest.raises(InputError, match="not readable"):
        listed(tmp_path, {"s": tmp_path / "bad.h5ad"})


def test_slugs_stay_inside_their_folder_and_apart(tmp_path):
    path = cells(tmp_path, "s", [("A", True, "../CD14+", 1), ("B", True, "CD14", 1)])
    assert listed(tmp_path, {"s": path})[0]["slug"].tolist() == ["CD14_", "CD14"]


# Two large types along the axes, a type of one cell near the second, one of few fragments near the first.
ATLAS = [(f"a{i}", True, "east", 10) for i in range(3)] + [(f"b{i}", True, "north", 10) for i in range(3)]
ATLAS += [
    ("c", True, "one cell", 90),
    ("d0", True, "poor", 1),
    ("d1", True, "poor", 1),
    ("d2", True, "poor", 1),
]
POINTS = [[3, 0], [1, 0.1], [2, 0], [0, 1], [0.1, 1], [0, 5], [1, 9], [9, 1], [9, 2], [9, 1]]


@pytest.mark.parametrize(
    ("policy", "status", "into", "bulks"),
    [
        ("sample_peaks", ["own", "own", "sample_peaks", "sample_peaks"], ["", "", "", ""], 4),
        ("skip", ["own", "own", "skipped", "skipped"], ["", "", "", ""], 2),
        ("merge", ["own", "own", "merged", "merged"], ["", "", "north", "east"], 2),
    ],
)
def test_what_becomes_of_small_types(tmp_path, capfd, policy, status, into, bulks):
    path = cells(tmp_path, "s", ATLAS, points=POINTS)
    types, pseudobulks = listed(tmp_path, {"s": path}, min_cells=2, min_fragments=20, small_types=policy)
    assert types["cell_type"].tolist() == ["east", "north", "one cell", "poor"]
    assert types["status"].tolist() == status
    assert types["merged_into"].tolist() == into
    few = ["1 cells, fewer than peaks.min_cells", "3 fragments, fewer than peaks.min_fragments"]
    assert types["reason"].tolist() == ["", "", *few]
    assert len(pseudobulks) == bulks
    said = capfd.readouterr().err
    assert "WARNING cell type one cell (1 cells, fewer than peaks.min_cells): " + status[2] in said
    assert ("merged into north" in said) == (policy == "merge")
    pools = read_pools(tmp_path / "out/types.tsv")
    if policy == "merge":
        assert pseudobulks["n_cells"].tolist() == ["6", "4"]
        assert pseudobulks["n_fragments"].tolist() == ["33", "120"]
        assert pools == {"east": "east", "north": "north", "one cell": "north", "poor": "east"}
    elif policy == "skip":
        assert pools == {"east": "east", "north": "north"}
    else:
        assert pools["one cell"] == "one_cell"


def test_types_are_merged_only_within_an_embedding(tmp_path, capfd):
    paths = {
        "s1": cells(tmp_path, "s1", ATLAS[:7], points=POINTS[:7]),
        "s2": cells(tmp_path, "s2", [("z", True, "alone", 3)], points=[[1, 0]]),
    }
    options = {"min_cells": 2, "min_fragments": 1, "small_types": "merge"}
    types, bulks = listed(tmp_path, paths, groups={"s1": "g", "s2": "h"}, **options)
    assert types.set_index("cell_type").loc["alone", "status"] == "sample_peaks"
    assert "no larger type was embedded with it" in capfd.readouterr().err
    assert "alone" in bulks["pseudobulk"].tolist()
    types, _ = listed(tmp_path, paths, groups={"s1": "g", "s2": "g"}, **options)
    assert types.set_index("cell_type").loc["alone", "merged_into"] == "east"


def test_a_type_of_doublets_is_named_with_the_two_types_that_it_is_between(tmp_path, capfd):
    rows = [
        (f"{name}{i}", True, name, 9)
        for name, n in (("T", 5), ("B", 4), ("NK", 3), ("odd", 2))
        for i in range(n)
    ]
    points = [[1, 0, 0]] * 5 + [[0, 1, 0]] * 4 + [[0, 0, 1]] * 3 + [[1, 1, 0.1], [1, 0.8, 0]]
    score = [0.02] * 12 + [0.2, 0.15]
    types, _ = listed(tmp_path, {"s": cells(tmp_path, "s", rows, points=points, doublet=score)})
    types = types.set_index("cell_type")
    assert types["caution"].to_dict() == {"B": "", "NK": "", "T": "", "odd": "probably doublets of T and B"}
    assert float(types.loc["odd", "doublet_score"]) == pytest.approx(0.175)
    assert "WARNING cell type odd (2 cells): probably doublets of T and B" in capfd.readouterr().err
    low = cells(tmp_path, "low", rows, points=points, doublet=[0.02] * 14)
    assert not listed(tmp_path, {"low": low})[0]["caution"].any()
    # Types that were embedded apart have no common space, so the two are not named.
    apart = {
        "s1": cells(tmp_path, "s1", rows[:12], points=points[:12], doublet=score[:12]),
        "s2": cells(tmp_path, "s2", rows[12:], points=points[12:], doublet=score[12:]),
    }
    types, _ = listed(tmp_path, apart, groups={"s1": "g", "s2": "h"})
    assert types.set_index("cell_type").loc["odd", "caution"] == "probably doublets"


def test_types_are_compared_where_they_were_clustered(tmp_path):
    """A batch that moves a small type to the wrong one is taken out by Harmony."""
    paths = {
        "s1": cells(tmp_path, "s1", ATLAS[:7], points=POINTS[:7], harmony=POINTS[:7]),
        "s2": cells(tmp_path, "s2", [("z", True, "alone", 3)], points=[[1, 0]], harmony=[[0, 1]]),
    }
    types, _ = listed(tmp_path, paths, min_cells=2, min_fragments=1, small_types="merge")
    assert types.set_index("cell_type").loc["alone", "merged_into"] == "north"


def test_merging_needs_an_embedding_and_leaving_out_leaves_something(tmp_path):
    path = cells(tmp_path, "s", [("A", True, "T", 1)])
    with pytest.raises(InputError, match="obsm has no X_lsi; run the embedding"):
        listed(tmp_path, {"s": path}, min_cells=2, small_types="merge")
    with pytest.raises(
        InputError, match="no cell type is left .1 cells, fewer than peaks.min_cells.; lower peaks.min_cells"
    ):
        listed(tmp_path, {"s": path}, min_cells=2, small_types="skip")


@pytest.mark.parametrize(
    "names",
    [
        ["B", "b"],
        ["CD4+ T/NK", "CD4+ T NK", "CD4- T"],
        ["\u03b1\u03b2 T", "\u03b3\u03b4 T", "T", "\u03b3\u03b4", "\u795e\u7ecf\u5143", "T\u7ec6\u80de"],
        ["Na\xefve CD4", "Nave CD4", "Naive CD4"],
        ["NA", "nan", "None", "1e5", "1E5", "001", "1", "Con", "con", "..", "+/-", "replicates"],
        ["x" * 300, "x" * 301],
    ],
)
def test_any_name_of_a_cell_type_gives_a_folder_of_its_own(tmp_path, names):
    rows = [(f"A{number}", True, name, 5) for number, name in enumerate(names)]
    types, _ = listed(tmp_path, {"s": cells(tmp_path, "s", rows)})
    assert sorted(types["cell_type"]) == sorted(names)
    assert len({name.casefold() for name in types["slug"]}) == len(names)
    assert types["slug"].str.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,90}").all()
