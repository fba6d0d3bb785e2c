"""Which gene each site (consensus peak) regulates: distance, association across cells, and the probability of both.

With RNA of the same cells, association is with the expression of the gene. Without it, association is with the
insertions in the gene's promoter; the sites in or beside this promoter then have none, because one fragment can have
an insertion in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

from scbind.analysis.covary import Counts, Covariation
from scbind.analysis.linkmodel import CORE, PROMOTER, posterior, scale_to_null, shares
from scbind.analysis.targets import potential_weights
from scbind.core.errors import InputError
from scbind.core.files import atomic, write_table
from scbind.core.runlog import say
from scbind.formats.celltable import cell_types_of, read_var, read_whole
from scbind.formats.genes import read_tss
from scbind.formats.genome import ChromSizes

PANEL = 300  # genes that give the null of a site; spread evenly over the numbers of counts
BESIDE = (
    1_000  # bp between the centres of two sites, up to which one fragment may reach from one to the other
)
MIN_COUNTS = 50  # of a gene in all cells; genes with fewer have no association
KNOWN_GENES = 0.1  # of the genes of the shorter list, RNA or annotation; two species share a few symbols
COLUMNS = ["chrom", "start", "end", "gene", "distance", "place", "weight", "association", "z", "probability"]


@dataclass(frozen=True)
class Pairs:
    """Pairs of a site and a gene within the largest distance, sorted by gene, then site.

    Attributes
    ----------
    site, gene
        int64 (pairs,): row of the peak, and index in ``genes``.
    weight
        float64 (pairs,): 2^(-d / half_decay) of the nearest start site of the gene.
    distance
        int64 (pairs,): signed distance in bp of the centre from this start site, negative upstream.
    promoter
        bool (pairs,): the centre is within ``CORE`` of a start site of the gene.
    genes
        Names of all genes, in the order of their first start site.
    """

    site: np.ndarray
    gene: np.ndarray
    weight: np.ndarray
    distance: np.ndarray
    promoter: np.ndarray
    genes: np.ndarray


def site_genes(
    peaks: Sequence[str | Path],
    rna: Sequence[str | Path],
    genes: str | Path,
    sizes: str | Path,
    table: str | Path,
    arrays: str | Path,
    half_decay: float = 10_000,
    max_distance: int = 100_000,
) -> None:
    """Write the pairs of site and gene as a table, and as arrays with their null for :mod:`scbind.analysis.links`.

    Parameters
    ----------
    peaks
        ``results/cells/{sample}/peaks.h5ad`` of all samples, with the same peaks. One is in memory at a time.
    rna
        ``results/cells/{sample}/rna.h5ad`` of the samples that have RNA, or none. With RNA, only these samples count.
    genes, sizes
        BED6 or GTF (:func:`scbind.formats.genes.read_tss`), and ``chrom.sizes``.
    table, arrays
        ``site_genes.tsv``, see ``docs/reference/outputs.md``, and ``site_genes.npz``.
    half_decay, max_distance
        As in :func:`scbind.analysis.targets.tf_targets`, from the centre of the peak.

    Raises
    ------
    InputError
        If the samples have other peaks, or hardly any gene of the RNA is in ``genes``.
    """
    known = ChromSizes.read(sizes)
    tss = read_tss(genes, known)
    var = read_var(peaks[0], ("chrom", "start", "end"), "the peak matrix")
    pairs = find_pairs(var, known, tss, half_decay, max_distance)
    found = _covariation(peaks, rna, pairs, var)
    z, null, probability = np.full(len(pairs.site), np.nan), np.zeros((len(var), 0), dtype=np.float32), None
    association = z
    if found is not None:
        circular = np.zeros(len(pairs.site), dtype=bool) if rna else share_fragments(pairs, var)
        association, z, null = _calibrated(found, pairs, circular)
    probability = probabilities(pairs, z, len(var))
    text = var[["chrom", "start", "end"]].iloc[pairs.site].reset_index(drop=True)
    text["gene"], text["distance"] = pairs.genes[pairs.gene], pairs.distance
    text["place"] = np.where(pairs.promoter, "promoter", "distal")
    text["weight"], text["association"], text["z"] = pairs.weight, association, z
    text["probability"] = probability
    write_table(table, text[COLUMNS])
    first = tss.drop_duplicates("gene").set_index("gene").loc[pairs.genes]
    with atomic(arrays) as scratch, open(scratch, "wb") as handle:
        np.savez(
            handle,
            site=pairs.site, gene=pairs.gene, weight=pairs.weight, distance=pairs.distance,
            promoter=pairs.promoter, z=z, association=association, probability=probability,
            genes=pairs.genes.astype(str), sites=var.index.to_numpy(dtype=str), null=null.astype(np.float16),
            panel=found.panel if found is not None else np.zeros(0, dtype=np.int64),
            chrom=first["chrom"].to_numpy(), tss=first["tss"].to_numpy(),
            evidence="rna" if rna else "accessibility",
        )  # fmt: skip
    say(f"{len(pairs.site):,} pairs of {len(var):,} sites and {len(pairs.genes):,} genes")


def find_pairs(
    var: pd.DataFrame, sizes: ChromSizes, tss: pd.DataFrame, half_decay: float, max_distance: int
) -> Pairs:
    """Return the pairs of peaks (``var``: ``chrom, start, end``) and genes of :func:`read_tss`."""
    chrom = pd.Index(sizes.names).get_indexer(var["chrom"].astype(str))
    centre = (var["start"].to_numpy(dtype=np.int64) + var["end"].to_numpy(dtype=np.int64)) // 2
    weight, distance = potential_weights(chrom, centre, tss, half_decay, max_distance)
    genes, number = np.unique(tss["gene"].to_numpy(dtype=str), return_inverse=True)
    column = np.repeat(np.arange(len(tss)), np.diff(weight.indptr))
    table = pd.DataFrame({"site": weight.indices.astype(np.int64), "gene": number[column]})
    table["distance"], table["weight"] = distance.data, np.exp2(-np.abs(distance.data) / half_decay)
    table["promoter"] = table["distance"].abs() <= CORE
    table = table.sort_values(["gene", "site", "weight"], ascending=[True, True, False], kind="stable")
    in_any = table.groupby(["gene", "site"], sort=False)["promoter"].transform("max")
    table = table.assign(promoter=in_any).drop_duplicates(["gene", "site"])
    columns = ("site", "gene", "weight", "distance", "promoter")
    return Pairs(*(table[name].to_numpy() for name in columns), genes=genes)


def probabilities(pairs: Pairs, z: np.ndarray, n_sites: int) -> np.ndarray:
    """Return the probability of each pair: float64 (pairs,).

    A site in a promoter belongs to the genes of this promoter alone (:data:`scbind.analysis.linkmodel.PROMOTER`). For
    the other sites, see :func:`scbind.analysis.linkmodel.posterior`.
    """
    in_promoter = np.bincount(pairs.site, pairs.promoter, minlength=n_sites)[pairs.site] > 0
    found = np.where(pairs.promoter, PROMOTER, 0.0)
    distal = ~in_promoter
    share = shares(pairs.weight[distal], pairs.site[distal], n_sites)
    found[distal], fitted = posterior(z[distal], share)
    say("sites that regulate a gene: " + ", ".join(f"{name} {value:.2f}" for name, value in fitted.items()))
    return found


def share_fragments(pairs: Pairs, var: pd.DataFrame) -> np.ndarray:
    """Tell which sites lie in the promoter of the gene, or within :data:`BESIDE` of a site there: bool (pairs,).

    Fragments have an insertion at either end. So the insertions of these sites and of the promoter go together even if
    neither regulates the other. ``var``: ``chrom, start, end`` of the sites.
    """
    chrom = pd.factorize(var["chrom"])[0].astype(np.int64)
    place = (var["start"].to_numpy(dtype=np.int64) + var["end"].to_numpy(dtype=np.int64)) // 2
    place += chrom * (place.max(initial=0) + BESIDE + 1)  # chromosomes one after the other
    key = pairs.gene.astype(np.int64) * (place.max(initial=0) + BESIDE + 1) + place[pairs.site]
    own = np.sort(key[pairs.promoter])
    first = np.searchsorted(own, key - BESIDE)
    return np.searchsorted(own, key + BESIDE, side="right") > first


def _covariation(peaks, rna, pairs: Pairs, var: pd.DataFrame) -> Covariation | None:
    """Sum the association over samples; None if too few genes have counts."""
    own = sp.csr_matrix(
        (np.ones(int(pairs.promoter.sum())), (pairs.site[pairs.promoter], pairs.gene[pairs.promoter])),
        shape=(len(var), len(pairs.genes)),
    )
    partner = {Path(path).parent.name: path for path in rna}
    used = [path for path in peaks if not rna or Path(path).parent.name in partner]
    level = sum(_totals(path, partner.get(Path(path).parent.name), own, pairs, var) for path in used)
    panel = _panel(level)
    if len(panel) < PANEL // 10:
        say(f"association is not used: only {len(panel)} genes have enough counts")
        return None
    found = Covariation(pairs.site, pairs.gene, panel, len(var), len(pairs.genes))
    found.level = level
    for path in used:
        found.add(_counts(path, partner.get(Path(path).parent.name), own, pairs, var))
    return found


def _totals(path, rna, own, pairs: Pairs, var) -> np.ndarray:
    return np.asarray(_counts(path, rna, own, pairs, var).genes.sum(axis=0)).ravel()


def _counts(path, rna, own, pairs: Pairs, var: pd.DataFrame) -> Counts:
    """Return the counts of a sample: of sites, and of genes by RNA or, without it, by their promoters."""
    data = read_whole(path, "the peak matrix")
    if not data.var_names.equals(var.index):
        raise InputError(path, "its peaks differ from those of the other samples", "count all samples again")
    stratum = pd.Categorical(cell_types_of(data.obs, path)).codes.astype(np.int64)
    sites = sp.csr_matrix(data.X).astype(np.float64)
    if rna is None:
        return Counts(sites, (sites @ own).tocsr(), stratum)
    expression = read_whole(rna, "the RNA counts", ["obs/n_molecules"])
    stratum = np.where(_measured(expression, data, rna), stratum, -1)
    return Counts(sites, _columns(expression, pairs.genes, rna), stratum)


def _measured(expression: anndata.AnnData, data: anndata.AnnData, path) -> np.ndarray:
    if not expression.obs_names.equals(data.obs_names):
        raise InputError(
            path, "its cells differ from those of the peak matrix", "read the RNA of the sample again"
        )
    return expression.obs["n_molecules"].to_numpy() > 0


def _columns(expression: anndata.AnnData, genes: np.ndarray, path) -> sp.csr_matrix:
    """Return the counts of ``genes``, 0 for those that were not measured."""
    place = pd.Index(genes).get_indexer(expression.var_names)
    kept = np.flatnonzero(place >= 0)
    if len(kept) < KNOWN_GENES * min(expression.n_vars, len(genes)):
        raise InputError(
            path,
            f"{len(kept)} of its {expression.n_vars:,} genes, such as {expression.var_names[0]}, are in the annotation "
            f"of {len(genes):,}, such as {genes[0]}",
            "use the annotation of this species (genome.genes), with genes named alike",
        )
    chosen = sp.csr_matrix((np.ones(len(kept)), (np.arange(len(kept)), place[kept])), (len(kept), len(genes)))
    return (sp.csr_matrix(expression.X)[:, kept].astype(np.float64) @ chosen).tocsr()


def _panel(level: np.ndarray) -> np.ndarray:
    """Choose genes that are spread evenly over the numbers of counts: rising int64, at most ``PANEL``."""
    order = np.argsort(level, kind="stable")
    order = order[level[order] >= MIN_COUNTS]
    if not len(order):
        return order
    return np.unique(order[np.linspace(0, len(order) - 1, min(PANEL, len(order))).round().astype(int)])


def _calibrated(
    found: Covariation, pairs: Pairs, circular: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the correlation of each pair, its calibrated z, and the calibrated null. ``circular`` pairs have none."""
    raw, null, level = found.pairs(), found.null(), found.level
    raw[level[pairs.gene] < MIN_COUNTS] = np.nan
    raw[circular] = np.nan
    column = np.full(len(pairs.genes), -1)
    column[found.panel] = np.arange(len(found.panel))
    near = column[pairs.gene] >= 0
    null[pairs.site[near], column[pairs.gene[near]]] = np.nan
    z, null = scale_to_null(raw.copy(), null, pairs.site, level[pairs.gene], level[found.panel])
    return raw / np.sqrt(max(found.n_cells, 1)), z, null
