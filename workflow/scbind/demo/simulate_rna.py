"""Simulate which gene an element regulates, and the RNA of cells that follows the TFs bound in open elements."""

from __future__ import annotations

import numpy as np
import pandas as pd

from scbind.demo.atlas import TFS
from scbind.demo.cohort import COHORT_ACTIVE, REPRESSORS, STATES
from scbind.demo.world import World

REACH = 100_000  # bp; an enhancer regulates a gene within this distance
HALF_DECAY = 12_000  # bp; the chance of being the gene of an enhancer halves over this distance
ORPHANS = 0.15  # fraction of enhancers that regulate no gene
EFFECT, LOSS = (
    0.45,
    0.6,
)  # change of the natural logarithm of expression per bound site, of activators and repressors
PROMOTER_EFFECT = 0.5  # the accessibility of the promoter follows expression, with this exponent
LARGEST = 2.5  # limit of the change of the logarithm
RNA_DEPTH, RNA_DEPTH_SD = 3_000, 0.4  # median molecules per cell, and sd of their logarithm


def element_genes(rng, world: World) -> pd.DataFrame:
    """Draw the gene of every element: columns ``element, gene, row`` (of the element), one row per pair.

    A promoter regulates its own gene. An enhancer regulates one gene within ``REACH``, near ones more often, or none.
    """
    elements, genes = world.genome.elements, world.genes
    names = np.array(world.genome.names)
    tss = np.where(genes["strand"] == "+", genes["start"], genes["end"] - 1)
    offsets = dict(zip(names, world.genome.offsets[: len(names)], strict=True))
    position = tss + genes["chrom"].map(offsets).to_numpy()
    centre, kind = elements["centre"].to_numpy(), elements["kind"].to_numpy()
    chrom = elements["chrom"].to_numpy()
    gene_chrom = genes["chrom"].map({name: i for i, name in enumerate(names)}).to_numpy()
    rows = []
    for row in np.flatnonzero(np.isin(kind, ["promoter", "enhancer"])):
        distance = np.abs(position - centre[row]).astype(float)
        distance[gene_chrom != chrom[row]] = np.inf
        if kind[row] == "promoter":
            rows.append((row, int(distance.argmin())))
            continue
        near = np.flatnonzero(distance <= REACH)
        if len(near) and rng.random() >= ORPHANS:
            weight = np.exp2(-distance[near] / HALF_DECAY)
            rows.append((row, int(rng.choice(near, p=weight / weight.sum()))))
    table = pd.DataFrame(rows, columns=["row", "gene_row"])
    table["element"] = elements["element"].to_numpy()[table["row"]]
    table["gene"] = genes["name"].to_numpy()[table["gene_row"]]
    return table


def true_links(world: World, assigned: pd.DataFrame) -> pd.DataFrame:
    """Return the true links: ``tf, gene, cell_type`` (the state) and ``n_sites`` bound in its elements."""
    sites = world.sites.merge(assigned[["element", "gene"]], on="element")
    tables = []
    for name in STATES:
        bound = sites[sites[f"bound_{name}"] == 1]
        counts = bound.groupby(["tf", "gene"]).size().rename("n_sites").reset_index()
        tables.append(counts.assign(cell_type=name))
    table = pd.concat(tables, ignore_index=True)
    return table[["tf", "gene", "cell_type", "n_sites"]]


class Expression:
    """The expression of every gene in a cell, from the sites that are bound in the open elements of the gene.

    Parameters
    ----------
    rng, world
        Random numbers, and the world of the cohort.
    assigned
        Result of :func:`element_genes`.
    """

    def __init__(self, rng, world: World, assigned: pd.DataFrame):
        self.genes = world.genes["name"].to_numpy()
        n_elements = len(world.openness)
        sign = world.sites["tf"].isin(REPRESSORS).map({True: -LOSS, False: EFFECT}).to_numpy()
        row_of = pd.Series(np.arange(n_elements), index=world.openness.index)[
            world.sites["element"]
        ].to_numpy()
        self.effect = np.zeros((n_elements, len(STATES)))  # of an element, if it is open, in each state
        for number, name in enumerate(STATES):
            np.add.at(self.effect[:, number], row_of, sign * world.sites[f"bound_{name}"].to_numpy())
        self.to_gene = np.zeros((n_elements, len(self.genes)), dtype=np.float32)
        self.to_gene[assigned["row"], assigned["gene_row"]] = 1
        self.promoter = np.full(n_elements, -1)
        kind = world.genome.elements["kind"].to_numpy()
        own = assigned[kind[assigned["row"]] == "promoter"]
        self.promoter[own["row"]] = own["gene_row"]
        self.base = rng.lognormal(0, 1.0, len(self.genes))

    def change(self, is_open: np.ndarray, mixed: np.ndarray) -> np.ndarray:
        """Return the change of the logarithm of expression: float (cells, genes), within ``LARGEST``."""
        effect = self.effect[np.arange(mixed.shape[1])[None, :], mixed] * is_open
        change = effect.astype(np.float32) @ self.to_gene
        return np.clip(change, -LARGEST, LARGEST)

    def promoter_factor(self, is_open: np.ndarray, mixed: np.ndarray) -> np.ndarray:
        """Return the factor of the accessibility of every element: float (cells, elements), 1 except at promoters."""
        change = self.change(is_open, mixed)
        factor = np.ones(is_open.shape, dtype=np.float32)
        rows = np.flatnonzero(self.promoter >= 0)
        factor[:, rows] = np.exp(PROMOTER_EFFECT * change[:, self.promoter[rows]] - PROMOTER_EFFECT)
        return factor

    def draw(self, rng, state, cells: pd.DataFrame, batch_sd: float) -> np.ndarray:
        """Draw molecules: int64 (cells, genes). The genes of the drivers are expressed where the driver is active."""
        rate = self.base * np.exp(self.change(state.is_open, state.mixed))
        driven = {tf: number for number, tf in enumerate(self.genes) if tf in TFS}
        names = cells["cell_type"].to_numpy()
        for tf, column in driven.items():
            active = np.array([tf in COHORT_ACTIVE[name] for name in STATES])
            on = active[[STATES.index(name) for name in names]]
            rate[:, column] *= np.where(on, 4.0, 0.2) if active.any() else 1.0
        rate *= rng.lognormal(0, batch_sd, len(self.genes)) if batch_sd else 1.0
        depth = RNA_DEPTH * rng.lognormal(0, RNA_DEPTH_SD, len(cells)) * np.where(cells["is_cell"], 1.0, 0.02)
        return rng.poisson(rate / rate.sum(axis=1, keepdims=True) * depth[:, None])
