"""Simulate a cohort with known truth: donors of two conditions, with single-cell ATAC-seq and RNA of the same cells.

The genome, its elements and its sites are those of :func:`scbind.demo.simulate.simulate` with the same seed, so a model
that was trained on the demo can be applied to the cohort. The cohort has what the demo lacks: donors, a batch effect,
doublets, a
continuous path, a copy-number gain, a small stem-like population, a response to a condition, and genes whose
expression follows the TFs that bind their elements.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from scbind.core.errors import InputError
from scbind.core.files import atomic, write_bed
from scbind.core.runlog import say
from scbind.demo.atlas import DRIVERS, SHARE
from scbind.demo.cohort import (
    CLONE,
    CLONE_ORIGIN,
    COHORT_ACTIVE,
    CONDITIONS,
    PATH_ENDS,
    RESPONDER,
    RESPONSE,
    RESPONSE_TF,
    STATES,
    STEM,
    STEM_NEIGHBOUR,
    STEM_TFS,
    Cohort,
    donor_names,
)
from scbind.demo.cohortfiles import receivers, write_cells, write_links, write_rna
from scbind.demo.simulate import CHROMOSOMES_MB, DEPTH_SD, FRIP
from scbind.demo.simulate_reads import (
    Library,
    footprints,
    fragment_table,
    gc_share,
    pick_elements,
    tn5_weight,
)
from scbind.demo.simulate_rna import Expression, element_genes
from scbind.demo.simulate_sites import bound_sites
from scbind.demo.world import (
    World,
    activity_table,
    draw_barcodes,
    random_streams,
    simulate_world,
    write_fragments,
    write_truth,
)

OPENED = 0.95  # probability that an enhancer whose driver is as active as it can be is open in a cell
LEVEL = (6.0, 1.2)  # parameters of the beta distribution of a driver's level in a cell: mean 0.83, sd 0.13
STEADY = 0.9  # probability that an element without a driver is open in a cell in which its type has it open
RESPONDING = 0.5  # fraction of the enhancers of RESPONSE_TF that open in the disease
GAIN = 1.5  # three copies instead of two
DONOR_CONCENTRATION = (
    60.0  # of the Dirichlet distribution of the types of a donor: shares vary by about a third
)


def simulate_cohort(
    outdir: str | Path,
    cohort: Cohort | None = None,
    seed: int = 1,
    cell_seed: int = 1,
    chromosome_mb: tuple[float, ...] = CHROMOSOMES_MB,
) -> None:
    """Write a cohort: the files of :func:`scbind.demo.cohort.cohort_files`. The same arguments give the same bytes.

    Parameters
    ----------
    outdir
        Folder to write into. It is created if needed.
    cohort
        Sizes and effects.
    seed, chromosome_mb
        Those of the demo whose genome, elements and sites the cohort has.
    cell_seed
        Seed of everything else: donors, cells and genes.

    Raises
    ------
    InputError
        If there are fewer than two donors of a condition, or fewer than 25 cells per donor.
    """
    cohort = cohort or Cohort()
    if cohort.donors < 4:
        raise InputError("cohort.donors", f"is {cohort.donors}", "set 4 or more, two of each condition")
    if cohort.n_cells < 25 * cohort.donors:
        raise InputError(
            "cohort.n_cells", f"is {cohort.n_cells}", f"set {25 * cohort.donors} or more, 25 per donor"
        )
    outdir = Path(outdir)
    world = simulate_world(random_streams(seed), activity_table(), tuple(chromosome_mb))
    rng = np.random.default_rng([cell_seed, 20])
    world, activity = _states(rng, world)
    assigned = element_genes(rng, world)
    expression = Expression(rng, world, assigned)
    cells = _cells(rng, cohort)
    library_of = _libraries(rng, world, cohort)
    opened, levels = [], []
    for name in donor_names(cohort.donors):
        here = cells[cells["donor"] == name]
        state = _cell_states(rng, world, here)
        promoters = expression.promoter_factor(state.is_open, state.mixed)
        fragments = _fragments(rng, world, here, state, promoters, *library_of[name])
        fragments, keep = _merge_doublets(fragments, here)
        barcodes = here["barcode"].to_numpy()
        write_fragments(outdir / f"sc/{name}.fragments.tsv.gz", rng, world.genome, fragments, list(barcodes))
        counts = expression.draw(rng, state, here, cohort.batch_sd)
        write_rna(outdir / f"rna/{name}.h5ad", counts, here, keep, expression.genes)
        cells.loc[here.index, "n_fragments"] = np.bincount(fragments["barcode"], minlength=len(here))
        merged = _union(state.is_open, here)
        real = keep & here["is_cell"].to_numpy()
        opened.append(sparse.csr_array(merged[real]))
        levels.append(state.levels[real])
        say(f"{name}: {int(real.sum())} cells, {len(fragments):,} fragments")
    write_cells(outdir / "truth", cells)
    write_truth(outdir / "truth", world, activity)
    write_links(outdir / "truth", world, assigned)
    with atomic(outdir / "truth/open.npz") as scratch:
        sparse.save_npz(scratch, sparse.vstack(opened, format="csr"))
    with atomic(outdir / "truth/levels.npz") as scratch:
        np.savez_compressed(scratch, levels=np.concatenate(levels).astype(np.float32), tfs=np.array(DRIVERS))
    write_bed(outdir / "truth/gains.bed", _gained(world, cohort))


def _states(rng, world: World) -> tuple[World, pd.DataFrame]:
    """Give the world one column of openness, levels and bound sites for every state of the cohort."""
    openness, levels, sites = world.openness.copy(), world.levels.copy(), world.sites.copy()
    kind, driver = world.genome.elements["kind"].to_numpy(), world.genome.elements["driver"].to_numpy()
    changes = {STEM: (STEM_NEIGHBOUR, STEM_TFS, 0.92), CLONE: (CLONE_ORIGIN, (), 0.0)}
    changes[RESPONSE] = (RESPONDER, (RESPONSE_TF,), RESPONDING)
    activity = activity_table(COHORT_ACTIVE)
    row_of = pd.Series(np.arange(len(openness)), index=openness.index)[sites["element"]].to_numpy()
    for name, (origin, gained, chance) in changes.items():
        new = (kind == "enhancer") & np.isin(driver, gained) & (rng.random(len(kind)) < chance)
        new &= ~openness[origin].to_numpy()
        openness[name] = openness[origin].to_numpy() | new
        fresh = rng.lognormal(0.3, 0.6, len(kind))
        levels[name] = np.where(new, fresh, levels[origin].to_numpy())
        sites[f"bound_{name}"] = bound_sites(sites, activity.loc[name], openness[name].to_numpy()[row_of])
    kept = list(STATES)
    columns = [c for c in sites if not c.startswith("bound_")] + [f"bound_{name}" for name in kept]
    world = World(world.genome, world.preferences, world.genes, openness[kept], levels[kept], sites[columns])
    return world, activity


def _cells(rng, cohort: Cohort) -> pd.DataFrame:
    """Draw the barcodes of all donors.

    Columns: ``barcode, donor, condition, cell_type`` (its state), ``path`` (position on the path, else NaN),
    ``is_cell``, ``partner`` (row of the cell of a doublet that receives the fragments of this one, else -1), ``wanted``
    (number of fragments) and ``in_elements`` (the fraction of these from open elements).
    """
    names = donor_names(cohort.donors)
    per_donor = np.diff(np.round(np.linspace(0, cohort.n_cells, len(names) + 1)).astype(int))
    tables = [
        _donor_cells(rng, cohort, name, number, n)
        for number, (name, n) in enumerate(zip(names, per_donor, strict=True))
    ]
    offsets = np.cumsum([0, *[len(table) for table in tables[:-1]]])
    for table, offset in zip(tables, offsets, strict=True):
        table["partner"] = np.where(table["partner"] >= 0, table["partner"] + offset, -1)
    return pd.concat(tables, ignore_index=True)


def _donor_cells(rng, cohort: Cohort, donor: str, number: int, n: int) -> pd.DataFrame:
    condition = CONDITIONS[int(number >= cohort.donors // 2)]
    states = _draw_states(rng, cohort, condition, last=number == cohort.donors - 1, n=n)
    n_doublets, n_poor = round(cohort.doublet_share * n), max(2, round(n / 8))
    total = n + n_doublets + n_poor
    types = list(SHARE)
    extra = rng.choice(states, n_doublets) if n_doublets else []
    table = pd.DataFrame({"cell_type": [*states, *extra, *rng.choice(types, n_poor)]})
    table["donor"], table["condition"] = donor, condition
    table["is_cell"] = np.arange(total) < n + n_doublets
    table["partner"] = -1
    table.loc[n : n + n_doublets - 1, "partner"] = rng.choice(n, n_doublets, replace=False)
    wanted = cohort.cell_fragments * rng.lognormal(0, DEPTH_SD, total)
    mean = rng.normal(FRIP, 0.04) if cohort.batch_sd else FRIP
    in_elements = np.clip(rng.normal(mean, 0.05, total), 0.25, 0.7)
    poor = ~table["is_cell"].to_numpy()
    wanted[poor] *= rng.uniform(0.01, 0.08, n_poor)
    table["wanted"] = np.maximum(np.round(wanted), 1).astype(int)
    table["in_elements"] = in_elements
    table["path"] = np.nan
    on_path = rng.choice(n, round(cohort.path_share * n), replace=False)
    on_path = on_path[np.isin(table["cell_type"].to_numpy()[on_path], list(SHARE))]
    table.loc[on_path, "path"] = rng.uniform(0, 1, len(on_path))
    nearest = np.array(PATH_ENDS)[(table["path"].to_numpy()[on_path] >= 0.5).astype(int)]
    table.loc[on_path, "cell_type"] = nearest
    table["barcode"] = draw_barcodes(rng, total)
    return table


def _draw_states(rng, cohort: Cohort, condition: str, last: bool, n: int) -> np.ndarray:
    """Draw the state of every cell of a donor: the types by a Dirichlet distribution, then the special populations."""
    share = np.array(list(SHARE.values()))
    shares = rng.dirichlet(DONOR_CONCENTRATION * share)
    counts = np.round(np.cumsum(shares) * n).astype(int)
    states = np.repeat(np.array(list(SHARE), dtype=object), np.diff([0, *counts]))
    states = rng.permutation(np.concatenate([states, np.full(n - len(states), list(SHARE)[0], dtype=object)]))
    odds = 2 * cohort.stem_share / (1 + cohort.stem_fold)
    stem = odds * (cohort.stem_fold if condition == CONDITIONS[1] else 1)
    states[: rng.binomial(n, stem)] = STEM  # donors differ by chance, as counts of cells do
    if last:
        origin = np.flatnonzero(states == CLONE_ORIGIN)
        states[origin[: round(cohort.clone_share * cohort.n_cells)]] = CLONE
    if cohort.response and condition == CONDITIONS[1]:
        states[states == RESPONDER] = RESPONSE
    return rng.permutation(states)


class CellStates:
    """What the cells of a donor have open: drawn once, used by the fragments and by the RNA.

    Attributes
    ----------
    is_open
        bool (cells, elements).
    levels
        float (cells, drivers): how active each driver is, 0 where it is not active.
    mixed
        int (cells, elements) index into ``STATES``: the state that the element of a cell follows. On the path, the
        elements of one cell follow two types.
    """

    def __init__(self, is_open: np.ndarray, levels: np.ndarray, mixed: np.ndarray):
        self.is_open, self.levels, self.mixed = is_open, levels, mixed


def _cell_states(rng, world: World, cells: pd.DataFrame) -> CellStates:
    n, elements = len(cells), len(world.openness)
    number = {name: index for index, name in enumerate(STATES)}
    state = cells["cell_type"].map(number).to_numpy()
    mixed = np.repeat(state[:, None], elements, axis=1).astype(np.int8)
    path = cells["path"].to_numpy()
    for row in np.flatnonzero(np.isfinite(path)):
        late = rng.random(elements) < path[row]
        mixed[row] = np.where(late, number[PATH_ENDS[1]], number[PATH_ENDS[0]])
    active = np.array([[tf in COHORT_ACTIVE[name] for tf in DRIVERS] for name in STATES])
    level = rng.beta(*LEVEL, (n, len(DRIVERS)))
    driver = (
        world.genome.elements["driver"].map({tf: i for i, tf in enumerate(DRIVERS)}).fillna(-1).astype(int)
    )
    driven = driver.to_numpy() >= 0
    chance = np.full((n, elements), STEADY)
    chance[:, driven] = OPENED * level[:, driver.to_numpy()[driven]]
    is_open = _allowed(world, mixed) & (rng.random((n, elements)) < chance)
    return CellStates(is_open, np.where(active[state], level, 0.0), mixed)


def _allowed(world: World, mixed: np.ndarray) -> np.ndarray:
    """Return whether the state that each element follows has it open: bool (cells, elements)."""
    table = world.openness.to_numpy()
    return table[np.arange(mixed.shape[1])[None, :], mixed]


def _libraries(rng, world: World, cohort: Cohort) -> dict[str, tuple[Library, np.ndarray]]:
    """Return the biases of each donor's library, and the donor's own factor of every element."""
    tn5, gc = tn5_weight(world.genome.codes), gc_share(world.genome.codes)
    result = {}
    for name in donor_names(cohort.donors):
        bias = rng.uniform(0.15, 0.4) if cohort.batch_sd else 0.25
        factor = rng.lognormal(0, cohort.batch_sd, len(world.openness)) if cohort.batch_sd else 1.0
        result[name] = Library(world.genome, tn5, gc, bias), np.broadcast_to(factor, len(world.openness))
    return result


def _fragments(rng, world, cells, state: CellStates, promoters, library: Library, factor) -> pd.DataFrame:
    """Draw the fragments of a donor's cells: table of :func:`scbind.demo.simulate_reads.fragment_table`."""
    levels = world.levels.to_numpy()
    everything = np.arange(levels.shape[0])
    chosen, rows = [], []
    names = cells["cell_type"].to_numpy()
    for row, (wanted, inside) in enumerate(zip(cells["wanted"], cells["in_elements"], strict=True)):
        level = np.where(
            state.is_open[row], levels[everything, state.mixed[row]] * factor * promoters[row], 0.0
        )
        extra = GAIN if names[row] == CLONE else 1.0
        picked = pick_elements(rng, round(wanted * extra), level, inside)
        chosen.append(picked)
        rows.append(np.full(len(picked), row))
    element, barcode = np.concatenate(chosen), np.concatenate(rows)
    parts = []
    for name in dict.fromkeys(names):
        here = np.flatnonzero(names[barcode] == name)
        start, end, made = library.fragments(rng, element[here], footprints(world.genome, world.sites, name))
        made &= ~_lost(rng, world, start) if name == CLONE else True
        parts.append((start[made], end[made], barcode[here][made]))
    start, end, barcode = (np.concatenate(part) for part in zip(*parts, strict=True))
    return fragment_table(world.genome, start, end, barcode)


def _lost(rng, world: World, start: np.ndarray) -> np.ndarray:
    """Return which fragments a clone drops, so that its gained region has ``GAIN`` times the density of the rest."""
    chrom, local = world.genome.locate(start)
    gained = (chrom == 1) & (local < world.genome.lengths[1] // 2)
    return ~gained & (rng.random(len(start)) > 1 / GAIN)


def _gained(world: World, cohort: Cohort) -> pd.DataFrame:
    n = int(cohort.clone_share > 0)
    return pd.DataFrame(
        {
            "chrom": ["chr2"] * n,
            "start": [0] * n,
            "end": [int(world.genome.lengths[1]) // 2] * n,
            "name": [CLONE] * n,
        }
    )


def _merge_doublets(fragments: pd.DataFrame, cells: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Give the fragments of the second cell of a doublet to the first. Returns which rows keep their barcode, too."""
    fragments = fragments.assign(barcode=receivers(cells)[fragments["barcode"]])
    fragments = fragments.drop_duplicates().sort_values(["chrom", "start", "end", "barcode"])
    return fragments.reset_index(drop=True), (cells["partner"] < 0).to_numpy()


def _union(is_open: np.ndarray, cells: pd.DataFrame) -> np.ndarray:
    """Return the openness of every barcode: a doublet has open what either of its cells has."""
    merged = is_open.copy()
    for row, receiver in enumerate(receivers(cells)):
        merged[receiver] |= is_open[row]
    return merged
