"""The simulated cohort: donors of two conditions, on the genome of the demo. Its populations, effects and files.

Snakemake imports this module in every job, while it parses the workflow. The module therefore imports neither pandas
nor numpy.
"""

from __future__ import annotations

from dataclasses import dataclass

from scbind.demo.atlas import ACTIVE, SHARE

CONDITIONS = ("control", "disease")
STEM, STEM_NEIGHBOUR, STEM_TFS = "stem", "myeloid", ("EBF1", "GATA3")
CLONE, CLONE_ORIGIN = "clone", "b_cell"  # the same factors; only the copy number differs
PATH_ENDS = ("mast", "erythroid")
RESPONDER, RESPONSE_TF = (
    "t_cell",
    "JUND",
)  # the type that responds to the disease, and the factor that changes there
RESPONSE = "t_cell_disease"  # name of the responding type in tables of the truth
REPRESSORS = ("PAX5", "TCF7")  # these lower the expression of their target genes; all others raise it

COHORT_ACTIVE: dict[str, tuple[str, ...]] = {  # active drivers of each state, as in ``atlas.ACTIVE``
    **{name: ACTIVE[name] for name in SHARE},
    STEM: (*ACTIVE[STEM_NEIGHBOUR], *STEM_TFS),
    CLONE: ACTIVE[CLONE_ORIGIN],
    RESPONSE: (*ACTIVE[RESPONDER], RESPONSE_TF),
}
STATES = tuple(COHORT_ACTIVE)


@dataclass(frozen=True)
class Cohort:
    """Sizes and effects of a cohort. Every share is a fraction of the cells, 0 for none.

    Attributes
    ----------
    donors
        Number of donors, half of each condition. Each is one sample.
    n_cells
        Number of real cells of all donors.
    cell_fragments
        Median number of unique fragments per real cell.
    stem_share, stem_fold
        Share of the stem-like population over all donors, and how many times more frequent it is in the disease. It
        shares all but two TFs with myeloid cells.
    clone_share
        Share of B cells with a copy-number gain of the first half of chr2, in the last donor only.
    path_share
        Share of cells on a continuous path between two types.
    doublet_share
        Share of barcodes that contain two cells.
    response
        Whether T cells respond to the disease: enhancers of JUND open in them.
    batch_sd
        Standard deviation of the logarithm of the donor's own factor of each element. The GC bias and the noise of
        the libraries differ too if it is not 0.
    """

    donors: int = 6
    n_cells: int = 2000
    cell_fragments: float = 1850
    stem_share: float = 0.01
    stem_fold: float = 3
    clone_share: float = 0.02
    path_share: float = 0.04
    doublet_share: float = 0.04
    response: bool = True
    batch_sd: float = 0.2


NULL = {  # options of a cohort without any population or effect to be found beyond the five types
    "stem_share": 0, "clone_share": 0, "path_share": 0, "response": False,
}  # fmt: skip


def cohort_files(donors: int) -> list[str]:
    """Return the files of :func:`scbind.demo.simulate_cohort.simulate_cohort`, relative to its folder, sorted."""
    files = []
    for name in donor_names(donors):
        files += [f"sc/{name}.fragments.tsv.gz", f"sc/{name}.fragments.tsv.gz.tbi", f"rna/{name}.h5ad"]
    files += [f"truth/{name}" for name in ("activity.tsv", "cells.tsv", "elements.bed", "sites.tsv")]
    files += [f"truth/{name}" for name in ("gains.bed", "links.tsv", "element_genes.tsv")]
    files += [f"truth/{name}" for name in ("open.npz", "levels.npz", "motifs.npz")]
    return sorted(files)


def donor_names(donors: int) -> list[str]:
    """Return the names of the donors, which are also those of the samples: D1, D2, ..."""
    return [f"D{number}" for number in range(1, donors + 1)]
