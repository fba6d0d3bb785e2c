"""Links: which TF regulates which gene, per cell type, with evidence.

A link needs three things: the TF is active in the type (:mod:`scbind.analysis.tfactive`), it binds a site (P(bound)
of the model), and the site regulates the gene (:mod:`scbind.analysis.sitegenes`). The probability of a link is
P(active) * (1 - prod(1 - P(bound) * P(site regulates gene))), with the product over the sites near the gene. The
p-value tests association alone: it compares the gene with genes elsewhere, at the same sites.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scbind.analysis.adjustment import adjust, by_family, tf_families
from scbind.analysis.linkmodel import false_share, p_values
from scbind.analysis.targets import potential_weights
from scbind.analysis.tfactive import active_in_types
from scbind.analysis.typemeans import TypeMeans, site_binding
from scbind.core.files import atomic, read_npz, require, table_text, write_table
from scbind.core.runlog import say
from scbind.formats.genes import read_tss
from scbind.formats.genome import ChromSizes
from scbind.models.abstention import marks

CARRIES = 0.05  # a site carries a link if it alone would give it at least this probability
LISTED = 3  # sites in the table
ACTIVE = 0.5  # minimum P(active) of a TF whose association is tested
BOUND = 0.3  # minimum P(bound) of a site in the test of association
SIGNED = 0.1  # maximum adjusted p-value of an association whose sign is given
COLUMNS = [
    "cell_type", "tf", "gene", "probability", "fdr", "sign", "potential", "tf_active", "association", "p_value",
    "p_adjusted", "compared_with", "place", "n_sites", "sites", "distances", "evidence",
    "reliability_level", "reliability_abstained",
]  # fmt: skip
EFFECTS = {1: "activates", -1: "represses"}
REGULATES = "regulates"  # in the network, where the sign is not known
MARKED = "evidence", "reliability_abstained"  # of the TF, beside each of its links
# columns of the links that the network is made of
OF_NETWORK = ["cell_type", "tf", "gene", "probability", "fdr", "sign", "potential", *MARKED]


@dataclass(frozen=True)
class SiteGenes:
    """The arrays of :func:`scbind.analysis.sitegenes.site_genes`; see there.

    Attributes
    ----------
    site, gene, weight, distance, promoter, z, association, probability
        Per pair of site and gene, sorted by gene.
    genes, sites, chrom, tss
        Names of genes and of sites; of the chromosome, and first start site, of each gene.
    null, panel
        float32 (sites, panel): calibrated z of genes elsewhere, 0 where the gene is near; int64 (panel,): these genes.
    evidence
        ``rna`` or ``accessibility``.
    """

    site: np.ndarray
    gene: np.ndarray
    weight: np.ndarray
    distance: np.ndarray
    promoter: np.ndarray
    z: np.ndarray
    association: np.ndarray
    probability: np.ndarray
    genes: np.ndarray
    sites: np.ndarray
    chrom: np.ndarray
    tss: np.ndarray
    null: np.ndarray
    panel: np.ndarray
    evidence: str

    @classmethod
    def load(cls, path: str | Path) -> SiteGenes:
        """Read ``site_genes.npz``. Raises :class:`InputError` if it is missing, damaged, or lacks an array."""
        arrays = read_npz(
            require(path, "run the rule site_genes first"), "run the rule site_genes again", cls.__dataclass_fields__
        )  # fmt: skip
        arrays["null"] = np.nan_to_num(arrays["null"].astype(np.float32))
        names = {name: arrays[name].astype(object) for name in ("genes", "sites")}
        return cls(**arrays | names | {"evidence": str(arrays["evidence"])})

    def near_panel(self, reach: int) -> np.ndarray:
        """Whether a gene of the panel is within ``reach`` bp of each gene: bool (genes, panel)."""
        chrom, tss = self.chrom[self.panel], self.tss[self.panel]
        return (self.chrom[:, None] == chrom) & (np.abs(self.tss[:, None] - tss) <= reach)

    def link_probability(self, binding: np.ndarray) -> np.ndarray:
        """Return the probability that a TF regulates each gene: float64 (genes,). ``binding``: float (sites,)."""
        missing = np.log1p(-np.minimum(binding[self.site] * self.probability, 1 - 1e-9))
        return np.abs(np.expm1(np.bincount(self.gene, missing, minlength=len(self.genes))))

    def tested(self, binding: np.ndarray, chosen: np.ndarray, near: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return statistic, p-value and mean association of the genes ``chosen``: each float64 (chosen,).

        The statistic is the sum of z over the sites, weighted by binding and distance, over its standard deviation.
        Only sites with P(bound) of at least :data:`BOUND` count. ``near`` is :meth:`near_panel`. NaN for genes without
        such a site that has an association.
        """
        known = np.flatnonzero(self._testable & (binding[self.site] >= BOUND))
        data = binding[self.site[known]] * self.weight[known]
        shape = (len(self.genes), len(binding))
        weights = sp.csr_matrix((data, (self.gene[known], self.site[known])), shape=shape)[chosen]
        spread = np.sqrt(np.asarray(weights.multiply(weights).sum(axis=1)).ravel())
        total = np.asarray(weights.sum(axis=1)).ravel()
        sums = [
            np.bincount(self.gene[known], data * values[known], minlength=len(self.genes))[chosen]
            for values in (self.z, self.association)
        ]
        with np.errstate(invalid="ignore", divide="ignore"):
            null = np.asarray(weights @ self.null) / spread[:, None]
            null[near[chosen]] = np.nan
            statistic, association = sums[0] / spread, sums[1] / total
        return statistic, p_values(statistic, null), association

    @cached_property
    def _testable(self) -> np.ndarray:
        return np.isfinite(self.z)


def tf_links(
    zarrs: list[str | Path],
    cells: list[str | Path],
    windows: str | Path,
    genes: str | Path,
    sizes: str | Path,
    arrays: str | Path,
    active: str | Path,
    links: str | Path,
    network: str | Path,
    *,
    half_decay: float,
    max_distance: int,
    min_potential: float = 0.1,
    max_fdr: float = 0.1,
    top: int = 1000,
    min_cells: int = 20,
) -> None:
    """Write ``links.tsv`` (columns in ``docs/reference/outputs.md``) and ``network.tsv``.

    Parameters
    ----------
    zarrs, cells, windows, genes, sizes, half_decay, max_distance, min_cells
        As in :func:`scbind.analysis.targets.tf_targets`.
    arrays
        ``site_genes.npz`` of the same peaks, genes and distances.
    active
        ``tf_active.h5ad`` of :func:`scbind.analysis.tfactive.tf_active`.
    links
        All links, of each type and TF the ``top`` most probable. False discovery rates and adjusted p-values cover all
        candidates of a type whose TFs are of one family (:func:`scbind.analysis.adjustment.tf_families`).
    network
        Links with a false discovery rate up to ``max_fdr`` in any type: ``source, target, weight`` as decoupler reads
        them, and further columns for Cytoscape.
    min_potential
        Genes with a smaller regulatory potential are not candidates.

    Raises
    ------
    InputError
        As :func:`scbind.analysis.typemeans.TypeMeans.open`, or if ``arrays`` is missing.
    """
    known = ChromSizes.read(sizes)
    tss = read_tss(genes, known)
    means = TypeMeans.open(zarrs, cells, windows, min_cells, "links")
    found = SiteGenes.load(arrays)
    centre = means.windows.start.astype(np.int64) + means.windows.window // 2
    weight, _ = potential_weights(means.windows.chrom, centre, tss, half_decay, max_distance)
    of_gene = pd.Index(found.genes).get_indexer(tss["gene"])
    near = found.near_panel(2 * max_distance)
    weights = active_in_types(active, means.types, means.tfs)
    by_type: list[list[_Candidates]] = [[] for _ in means.types]
    for tf, binding in means:
        bound = site_binding(binding, means.windows.peak, len(found.null))
        potential = _largest(np.nan_to_num(binding) @ weight, of_gene, len(found.genes))
        for number in np.flatnonzero(~np.isnan(binding).any(axis=1)):
            chosen = np.flatnonzero(potential[number] >= min_potential)
            active = weights.at[means.types[number], tf]
            by_type[number].append(
                _candidates(found, tf, bound[number], chosen, near, active, potential[number][chosen], top)
            )
    known_tfs = marks(means.stores[0].reliability, means.tfs)
    families = tf_families(known_tfs)
    kept, n_rows = [pd.DataFrame(columns=COLUMNS)], 0
    with atomic(links) as scratch, open(scratch, "w", encoding="utf-8", newline="") as handle:
        handle.write(table_text(kept[0]))
        for name, parts in zip(means.types, by_type, strict=True):
            for table in _ranked(found, parts, families):
                table = table.assign(cell_type=name, compared_with=found.evidence).join(known_tfs, on="tf")
                handle.write(table_text(table.reindex(columns=COLUMNS), header=False))
                kept.append(table.loc[table["fdr"] <= max_fdr, OF_NETWORK])
                n_rows += len(table)
            parts.clear()
    edges = _network(pd.concat(kept[1:] or kept, ignore_index=True))
    write_table(network, edges)
    say(f"links: {n_rows:,} rows; {len(edges):,} pairs of TF and gene at a false discovery rate of {max_fdr}")


def _largest(potential: np.ndarray, of_gene: np.ndarray, n_genes: int) -> np.ndarray:
    """Return the largest potential of the start sites of each gene: float (types, genes)."""
    found = np.zeros((len(potential), n_genes))
    for row, values in zip(found, potential, strict=True):
        np.maximum.at(row, of_gene, values)
    return found


@dataclass(frozen=True)
class _Candidates:
    """Links of one TF in one type: of all candidates what false discovery rates need, and of the listed ones the rest.

    Attributes
    ----------
    tf, active
        Name of the TF, and P(active) in the type.
    probability, p_value
        float64 (candidates,); the p-value is NaN without a test.
    row
        int32 (listed,): which candidates are listed, the most probable first.
    numbers
        Further columns for the listed ones, without text: name to array (listed,).
    carriers
        int32 (listed, :data:`LISTED`): pairs of site and gene that carry the link, the strongest first; -1: no more.
    """

    tf: str
    active: float
    probability: np.ndarray
    p_value: np.ndarray
    row: np.ndarray
    numbers: dict[str, np.ndarray]
    carriers: np.ndarray


def _candidates(
    found: SiteGenes,
    tf: str,
    binding: np.ndarray,
    chosen: np.ndarray,
    near: np.ndarray,
    active: float,
    potential: np.ndarray,
    top: int,
) -> _Candidates:
    """Return the links of one TF in one type to the genes ``chosen``, of which the ``top`` most probable are listed.

    ``potential`` is float (chosen,). A TF that is not active has no tests.
    """
    probability = active * found.link_probability(binding)[chosen]
    p_value = association = np.full(len(chosen), np.nan)
    if active >= ACTIVE:
        _, p_value, association = found.tested(binding, chosen, near)
    row = np.lexsort((-potential, -probability))[:top]
    listed, association = chosen[row], association[row]
    carried = binding[found.site] * found.probability
    pull = np.where(np.isfinite(found.z), carried * np.nan_to_num(found.z), 0)
    pull = np.bincount(found.gene, pull, minlength=len(found.genes))[listed]
    carriers, n_sites = _carriers(found, carried, listed)
    promoter = np.bincount(found.gene, (carried >= CARRIES) & found.promoter, minlength=len(found.genes)) > 0
    numbers = {
        "gene": listed.astype(np.int32),
        "potential": potential[row],
        "association": association,
        "sign": np.sign(np.where(np.isnan(association), 0, pull)).astype(np.int8),
        "n_sites": n_sites.astype(np.int32),
        "promoter": promoter[listed],
    }
    return _Candidates(
        tf, active, probability, p_value, row.astype(np.int32), numbers, carriers.astype(np.int32)
    )


def _carriers(found: SiteGenes, carried: np.ndarray, genes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the :data:`LISTED` pairs that carry most of the link to each gene, and the number of such pairs.

    ``carried``, float (pairs,), is what each pair alone would give the link. Returns int64 (genes, LISTED), numbers of
    pairs, -1 where there are no more; and int64 (genes,).
    """
    wanted = np.zeros(len(found.genes), dtype=bool)
    wanted[genes] = True
    pairs = np.flatnonzero((carried >= CARRIES) & wanted[found.gene])
    pairs = pairs[np.lexsort((-carried[pairs], found.gene[pairs]))]
    first, end = (np.searchsorted(found.gene[pairs], genes, side=side) for side in ("left", "right"))
    place = first[:, None] + np.arange(LISTED)
    carriers = np.append(pairs, -1)[np.minimum(place, len(pairs))]
    return np.where(place < end[:, None], carriers, -1), end - first


def _ranked(
    found: SiteGenes, parts: list[_Candidates], families: Mapping[str, int]
) -> Iterator[pd.DataFrame]:
    """Yield the listed links of each TF in one type, TFs by name, with false discovery rates over all candidates.

    ``families``, TF -> family: false discovery rates and adjusted p-values cover the candidates of one family.
    A sign is kept only if the association is significant (:data:`SIGNED`) and has the same sign. Otherwise it is not
    known, and missing: chance would turn many links into repressions.
    """
    if not parts:
        return
    n = [len(part.probability) for part in parts]
    family = np.repeat(np.array([families[part.tf] for part in parts], dtype=np.int8), n)
    fdr = by_family(false_share, np.concatenate([part.probability for part in parts]), family)
    adjusted = by_family(adjust, np.concatenate([part.p_value for part in parts]), family)
    end = np.cumsum(n)
    for part, last in sorted(zip(parts, end.tolist(), strict=True), key=lambda each: each[0].tf):
        here = last - len(part.probability) + part.row
        table = pd.DataFrame(part.numbers)
        table = table.assign(tf=part.tf, tf_active=part.active, fdr=fdr[here], p_adjusted=adjusted[here])
        table["probability"], table["p_value"] = part.probability[part.row], part.p_value[part.row]
        sure = (table["p_adjusted"] <= SIGNED) & (np.sign(table["association"]) == table["sign"])
        table["sign"] = table["sign"].where(sure & (table["sign"] != 0)).astype("Int64")
        table["place"] = np.where(table["promoter"], "promoter", np.where(table["n_sites"] > 0, "distal", ""))
        pairs = part.carriers.tolist()
        table["sites"] = [
            ",".join(found.sites[found.site[pair]] for pair in row if pair >= 0) for row in pairs
        ]
        table["distances"] = [
            ",".join(str(found.distance[pair]) for pair in row if pair >= 0) for row in pairs
        ]
        yield table.assign(gene=found.genes[table["gene"]])


def best_of_pairs(links: pd.DataFrame) -> pd.DataFrame:
    """Return one row per TF and gene, the most probable first: its row in the type in which it is most probable.

    ``links`` has columns of ``links.tsv``. Two are added: ``interaction``, from the sign (which may be missing), and
    ``cell_types``, all types of the pair, joined by commas.
    """
    types = links.groupby(["tf", "gene"])["cell_type"].agg(lambda names: ",".join(sorted(set(names))))
    best = links.sort_values(["probability", "cell_type"], ascending=[False, True], kind="stable")
    best = best.drop_duplicates(["tf", "gene"])
    best = best.assign(interaction=best["sign"].map(EFFECTS).fillna(REGULATES).astype(object))
    return best.assign(cell_types=types.reindex(pd.MultiIndex.from_frame(best[["tf", "gene"]])).to_numpy())


def _network(links: pd.DataFrame) -> pd.DataFrame:
    """Return the links as edges, one row per TF and gene, sorted."""
    best = best_of_pairs(links).sort_values(["tf", "gene"])
    weight = np.where(best["interaction"] == EFFECTS[-1], -1, 1) * best["probability"].astype(float)
    edges = best.rename(columns={"tf": "source", "gene": "target"}).assign(weight=weight)
    columns = ["source", "target", "weight", "interaction", "fdr", "potential", "cell_types", *MARKED]
    return edges.reindex(columns=columns).reset_index(drop=True)
