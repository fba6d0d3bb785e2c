"""The simulated atlas: its factors, cell lines, cell types and files.

Snakemake imports this module in every job, while it parses the workflow. The module therefore imports neither pandas
nor numpy.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Factor:
    """What defines the binding preference of one simulated transcription factor.

    Attributes
    ----------
    matrix_id
        JASPAR id of the core matrix.
    left, right
        Preferred bases on either side of the core, on the strand of the matrix.
    partner
        Factor whose motif must be near.
    gc_context
        Whether the factor prefers surroundings rich in G and C.
    """

    matrix_id: str
    left: str
    right: str
    partner: str | None = None
    gc_context: bool = False


FACTORS: dict[str, Factor] = {
    "CTCF": Factor("MA0139.2", "T", "CTG"),
    "NRF1": Factor("MA0506.3", "GC", "AT"),
    "ELF1": Factor("MA0473.4", "CC", "TC", gc_context=True),
    "SPI1": Factor("MA0080.7", "AA", "AA"),
    "CEBPB": Factor("MA0466.4", "GC", "CT", partner="JUND"),
    "GATA1": Factor("MA0035.5", "CAG", "CC", partner="TAL1"),
    "GATA3": Factor("MA0037.5", "TG", "GAT"),
    "TAL1": Factor("MA0091.2", "TC", "CG"),
    "RUNX1": Factor("MA0002.3", "GA", "GC"),
    "RUNX3": Factor("MA0684.3", "TCT", "CA", partner="SPI1"),
    "EBF1": Factor("MA0154.5", "GA", "AC"),
    "PAX5": Factor("MA0014.4", "GA", "GTA", partner="EBF1"),
    "TCF7": Factor("MA0769.3", "AC", "GGA", partner="RUNX1"),
    "JUND": Factor("MA0491.3", "GG", "CC"),
}

TFS: list[str] = list(FACTORS)
EVERYWHERE = ("CTCF", "NRF1", "ELF1")  # active in every line and type; each other factor opens enhancers
DRIVERS: list[str] = [tf for tf in TFS if tf not in EVERYWHERE]
LINES: list[str] = ["LINE_A", "LINE_B", "LINE_C"]
TYPES: list[str] = ["myeloid", "b_cell", "t_cell", "erythroid", "mast"]
ACTIVE: dict[str, tuple[str, ...]] = {  # active drivers; no type has the same set as a line
    "LINE_A": ("SPI1", "EBF1", "PAX5", "RUNX1", "RUNX3", "TCF7", "GATA3", "JUND"),
    "LINE_B": ("SPI1", "CEBPB", "GATA1", "TAL1", "RUNX1", "TCF7", "GATA3", "JUND"),
    "LINE_C": ("SPI1", "CEBPB", "EBF1", "GATA1", "RUNX3", "TCF7"),
    "myeloid": ("SPI1", "CEBPB", "RUNX1", "JUND"),
    "b_cell": ("SPI1", "EBF1", "PAX5", "RUNX3"),
    "t_cell": ("TCF7", "GATA3", "RUNX1", "RUNX3"),
    "erythroid": ("GATA1", "TAL1", "JUND"),
    "mast": ("GATA1", "CEBPB", "GATA3", "RUNX3"),
}
SHARE: dict[str, float] = {"myeloid": 0.32, "b_cell": 0.26, "t_cell": 0.24, "erythroid": 0.14, "mast": 0.04}
NOT_ASSAYED = {"LINE_A": ("GATA3",), "LINE_B": ("NRF1",), "LINE_C": ("ELF1",)}  # active, but without ChIP-seq
ASSAYED: dict[str, list[str]] = {
    line: [tf for tf in TFS if tf in (*EVERYWHERE, *ACTIVE[line]) and tf not in NOT_ASSAYED[line]]
    for line in LINES
}


def demo_files() -> list[str]:
    """Return the files that :func:`scbind.demo.simulate.simulate` writes: sorted paths relative to its folder."""
    files = ["genome.fa", "exclude.bed", "genes.bed", "variants.vcf"]
    files += ["sc/demo.fragments.tsv.gz", "sc/demo.fragments.tsv.gz.tbi"]
    for line in LINES:
        files += [f"bulk/{line}.fragments.tsv.gz", f"bulk/{line}.fragments.tsv.gz.tbi"]
        for tf in ASSAYED[line]:
            files += [f"chip/{line}/{tf}.narrowPeak.gz", f"chip/{line}/{tf}.relaxed.narrowPeak.gz"]
    files += [f"truth/{name}" for name in ("cells.tsv", "activity.tsv", "elements.bed", "sites.tsv")]
    files += ["truth/open.npz", "truth/motifs.npz"]
    return sorted(files)
