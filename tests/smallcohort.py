"""A cohort of 80 cells with results and truth that are made up, so that every score is known."""

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

TFS = ["SPI1", "EBF1", "GATA3", "JUND", "TCF7"]
ACTIVE = {
    "myeloid": ["SPI1"],
    "b_cell": ["SPI1", "EBF1"],
    "t_cell": ["GATA3", "TCF7"],
    "stem": ["SPI1", "EBF1", "GATA3"],
    "clone": ["SPI1", "EBF1"],
    "t_cell_disease": ["GATA3", "TCF7", "JUND"],
}
CELLS = {  # state -> number of cells in each sample
    "D1": {"myeloid": 8, "b_cell": 6, "t_cell": 5, "stem": 1},
    "D2": {"myeloid": 8, "b_cell": 6, "t_cell": 5, "stem": 1},
    "D3": {"myeloid": 6, "b_cell": 5, "clone": 1, "t_cell_disease": 5, "stem": 3},
    "D4": {"myeloid": 6, "b_cell": 6, "t_cell_disease": 5, "stem": 3},
}
KIND = {
    "stem": "myeloid",
    "clone": "b_cell",
    "t_cell_disease": "t_cell",
}  # the state whose cluster the cells are in
POPULATION = {
    "myeloid": "P1",
    "b_cell": "P2",
    "clone": "P2",
    "t_cell": "P3",
    "t_cell_disease": "P3",
    "stem": "P4",
}
SITES = [
    ("SPI1", "e0", ["myeloid", "stem"]),
    ("EBF1", "e1", ["b_cell", "clone", "stem"]),
    ("JUND", "e5", ["t_cell_disease"]),
]


def make_cohort(folder: Path) -> tuple[Path, Path]:
    """Write results and truth; return their folders.

    One myeloid cell is in the population of the stem-like cells, and one stem-like cell in that of the myeloid ones.
    """
    results, truth = folder / "results", folder / "resources/cohort/truth"
    for path in (results / "analysis/regulation", truth, *(results / f"cells/{name}" for name in CELLS)):
        path.mkdir(parents=True, exist_ok=True)
    rows = [(name, state) for name, states in CELLS.items() for state, n in states.items() for _ in range(n)]
    cells = pd.DataFrame(rows, columns=["sample", "state"]).assign(is_cell=1, path="")
    cells["barcode"] = [f"B{number}" for number in range(len(cells))]
    cells["condition"] = np.where(cells["sample"] < "D3", "control", "disease")
    is_open = write_truth(truth, cells)
    write_results(results, cells, is_open)
    return results, truth


def write_truth(folder: Path, cells: pd.DataFrame) -> np.ndarray:
    poor = pd.DataFrame({"sample": ["D1"], "barcode": ["POOR"], "state": [""], "is_cell": [0]})
    save(folder / "cells.tsv", pd.concat([poor, cells]))
    active = {tf: [int(tf in on) for on in ACTIVE.values()] for tf in TFS}
    save(folder / "activity.tsv", pd.DataFrame({"name": list(ACTIVE), "kind": "cell_type", **active}))
    start = 1000 * np.arange(6)
    elements = pd.DataFrame({"#chrom": "chr1", "start": start, "end": start + 350})
    elements["name"] = [f"e{number}" for number in range(6)]
    for state in ACTIVE:
        elements[f"open_{state}"] = [1, 1, 1, 1, 1, int(state == "t_cell_disease")]
    save(folder / "elements.bed", elements)
    sites = pd.DataFrame([(tf, element) for tf, element, _ in SITES], columns=["tf", "element"])
    for state in ACTIVE:
        sites[f"bound_{state}"] = [int(state in bound) for _, _, bound in SITES]
    save(folder / "sites.tsv", sites)
    save(
        folder / "element_genes.tsv",
        pd.DataFrame({"element": ["e0", "e1", "e5"], "gene": ["gA", "gB", "gA"]}),
    )
    links = [
        (tf, {"e1": "gB"}.get(element, "gA"), state, 1, 1) for tf, element, bound in SITES for state in bound
    ]
    save(folder / "links.tsv", pd.DataFrame(links, columns=["tf", "gene", "cell_type", "n_sites", "sign"]))
    is_open = np.ones((len(cells), 6), dtype=bool)
    is_open[::2, 0] = False  # e0 is closed in half of the cells
    sp.save_npz(folder / "open.npz", sp.csr_array(is_open))
    return is_open


def write_results(folder: Path, cells: pd.DataFrame, is_open: np.ndarray) -> None:
    names = cells["sample"] + "#" + cells["barcode"]
    clusters = {"myeloid": "c0", "b_cell": "c1", "t_cell": "c2"}
    obs = pd.DataFrame({"sample": cells["sample"].to_numpy(), "pass": True}, index=names.to_numpy())
    obs["cell_type"] = cells["state"].replace(KIND).map(clusters).to_numpy()
    for sample, here in obs.groupby("sample"):
        anndata.AnnData(obs=here).write_h5ad(folder / f"cells/{sample}/cells.h5ad")
        rows = obs.index.get_indexer(here.index)
        bound = cells["state"].isin(["myeloid", "stem"]).to_numpy()[rows] & is_open[rows, 0]
        var = pd.DataFrame({"tf": ["SPI1", "TCF7"], "gene": ["gA", "gB"]}, index=["SPI1>gA", "TCF7>gB"])
        value = np.column_stack([bound, np.ones(len(rows))]).astype(np.float32)
        data = anndata.AnnData(sp.csr_matrix(value), obs=here, var=var)
        data.write_h5ad(folder / f"analysis/regulation/{sample}.h5ad")
    population = cells["state"].map(POPULATION)
    population[cells.index[cells["state"] == "myeloid"][0]] = "P4"
    population[cells.index[cells["state"] == "stem"][-1]] = "P1"
    members = pd.DataFrame(
        {"sample": cells["sample"], "cell": names, "population": population, "confidence": 1}
    )
    save(folder / "analysis/population_cells.tsv", members)
    markers = ["", "EBF1:2", "TCF7:4;GATA3:2;CTCF:1", "EBF1:3;SPI1:1;GATA3:0.5"]
    table = pd.DataFrame({"population": ["P1", "P2", "P3", "P4"], "nearest": ["P4", "P1", "P2", "P1"]})
    save(folder / "analysis/populations.tsv", table.assign(markers_against_nearest=markers))
    rows = [
        ("population", "P4", "disease", "control", 0.15, 0.06, 0.04),
        ("cell_type", "P4", "disease", "control", 1, 1, 1),
    ]
    columns = ["kind", "name", "group", "reference", "fraction", "fraction_reference", "p_adjusted"]
    save(folder / "analysis/abundance.tsv", pd.DataFrame(rows, columns=columns))
    places = [("condition", "c2", 5100), ("condition", "c2", 5350), ("condition", "c2", 4100)]
    places += [("condition", "c0", 5100), ("cell_type", "c2", 5200)]
    sites = pd.DataFrame(places, columns=["contrast", "cell_type", "start"]).assign(chrom="chr1", tf="JUND")
    save(folder / "analysis/differential_sites.tsv", sites.assign(end=sites["start"] + 200))
    links = pd.DataFrame(
        [
            ("c0", "SPI1", "gA", 0.9, 0.05, 1),
            ("c0", "TCF7", "gB", 0.8, 0.1, 1),
            ("c0", "EBF1", "gA", 0.1, 0.5, np.nan),
        ],
        columns=["cell_type", "tf", "gene", "probability", "fdr", "sign"],
    )
    save(folder / "analysis/links.tsv", links.assign(potential=1, p_adjusted=1, place="promoter"))


def save(path: Path, table: pd.DataFrame) -> None:
    table.to_csv(path, sep="\t", index=False)
