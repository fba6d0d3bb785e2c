"""Simulate which elements are open, which sites are bound, and the ChIP-seq peaks of these sites."""

from __future__ import annotations

import numpy as np
import pandas as pd

from scbind.demo.simulate_genome import ALWAYS_OPEN, STRETCH, SimulatedGenome
from scbind.demo.simulate_motifs import Preference, bindable, energies

OPENED = 0.92  # probability that an enhancer is open if its driver is active
LEAK = 0.03  # probability that an enhancer is open if its driver is not active
MOTIFLESS_OPEN = 0.35  # probability that an element without planted motifs is open in a line or type
KEPT = 0.05  # minimum probability of being bindable of a listed site
MERGED = 100  # bp; sites of one factor that are closer than this give one ChIP-seq peak
MISSED, SPURIOUS = 0.05, 0.03  # false negatives and false positives, as fractions of the peaks
SUMMIT_SD = 20  # bp, sd of the positions of summits around the site
PEAK_REACH = (125, 176)  # bp from the summit to either end of a peak, half-open range
MEAN_REACH = (PEAK_REACH[0] + PEAK_REACH[1] - 1) / 2  # bp from the summit to either end, mean


def open_elements(rng, genome: SimulatedGenome, activity: pd.DataFrame) -> pd.DataFrame:
    """Draw whether each element is open in each line and type: bool (elements, lines and types).

    ``activity`` is 0 or 1 (lines and types, factors). Promoters and insulators are always open. An enhancer is usually
    open if its driver is active.
    """
    kind, driver = genome.elements["kind"].to_numpy(), genome.elements["driver"].to_numpy()
    result = pd.DataFrame(index=genome.elements["element"])
    for name in activity.index:
        draw = rng.random(len(kind))
        chance = np.where(kind == "motifless", MOTIFLESS_OPEN, LEAK)
        for tf in np.unique(driver[driver != ""]):
            if activity.loc[name, tf]:
                chance[driver == tf] = OPENED
        chance[np.isin(kind, ALWAYS_OPEN)] = 1.0
        result[name] = draw < chance
    return result


def find_sites(
    rng,
    genome: SimulatedGenome,
    preferences: dict[str, Preference],
    openness: pd.DataFrame,
    activity: pd.DataFrame,
) -> pd.DataFrame:
    """Return every site inside an element, planted or accidental, found by its energy in the final sequence.

    Columns: chrom (number), start, end (global, 0-based half-open), tf, strand, strength (probability of being
    bindable), element, bindable (one random draw, the same in all lines and types), and ``bound_{name}`` (0 or 1) per
    line and type. A site is bound if it is bindable, its element is open and the factor is active. Of overlapping
    matches of one factor, only the best is listed.
    """
    codes = genome.stretches()
    elements = genome.elements
    first = elements["centre"].to_numpy() - STRETCH // 2
    tables = []
    for tf, energy in energies(codes, preferences).items():
        width = len(preferences[tf])
        best, strand = energy.max(axis=0), energy.argmax(axis=0)
        row, start = np.nonzero(bindable(best) >= KEPT)
        where = first[row] + start
        low, high = elements["start"].to_numpy()[row], elements["end"].to_numpy()[row]
        inside = (where >= low) & (where + width <= high)
        row, start, where = row[inside], start[inside], where[inside]
        value = best[row, start]
        keep = _best_apart(where, value, width)
        row, start, where, value = row[keep], start[keep], where[keep], value[keep]
        tables.append(
            pd.DataFrame(
                {
                    "chrom": elements["chrom"].to_numpy()[row],
                    "start": where,
                    "end": where + width,
                    "tf": tf,
                    "strand": np.array(["+", "-"])[strand[row, start]],
                    "strength": bindable(value),
                    "row": row,
                }
            )
        )
    sites = pd.concat(tables).sort_values(["start", "end", "tf"], kind="stable").reset_index(drop=True)
    row = sites.pop("row").to_numpy()
    sites["element"] = elements["element"].to_numpy()[row]
    sites["bindable"] = (rng.random(len(sites)) < sites["strength"]).astype(int)
    for name in activity.index:
        sites[f"bound_{name}"] = bound_sites(sites, activity.loc[name], openness[name].to_numpy()[row])
    return sites


def bound_sites(sites: pd.DataFrame, active: pd.Series, is_open: np.ndarray) -> np.ndarray:
    """Return whether each site is bound: 0 or 1 (sites,), if it is bindable, its element open and its factor active.

    ``active`` is 0 or 1 per factor, ``is_open`` bool (sites,).
    """
    bound = (sites["bindable"] == 1) & (sites["tf"].map(active) == 1)
    return (bound & is_open).to_numpy().astype(int)


def chip_peaks(rng, genome: SimulatedGenome, sites: pd.DataFrame, openness: pd.Series, line: str, tf: str):
    """Simulate the peaks of one ChIP-seq experiment: a strict and a relaxed table with the ten columns of narrowPeak.

    The strict peaks miss some of the weaker bound sites, and include some false peaks at open elements without a
    bound site. The relaxed peaks add the missed sites, about half of the sites in open elements that are not bindable,
    and more false peaks. Coordinates are positions within the chromosome, 0-based half-open. Summits are relative to
    the start.
    """
    elements = genome.elements
    own = sites[sites["tf"] == tf]
    bound = own[own[f"bound_{line}"] == 1]
    bound = bound[_best_apart(bound["start"].to_numpy(), bound["strength"].to_numpy(), MERGED)]
    signal = 20 * bound["strength"].to_numpy() ** 2 * rng.lognormal(0, 0.4, len(bound))
    below = signal < np.median(signal) if len(bound) else np.zeros(0, dtype=bool)
    missed = rng.random(len(bound)) < 2 * MISSED * below
    is_open = openness.to_numpy()
    weak = own[(own["bindable"] == 0) & own["element"].isin(elements["element"][is_open])]
    weak = weak[rng.random(len(weak)) < 0.5]
    without = elements[is_open & ~elements["element"].isin(bound["element"]).to_numpy()]
    n_spurious = round(SPURIOUS * len(bound))
    spurious = without.iloc[rng.permutation(len(without))[: 4 * n_spurious + 2]]
    centres = [centre_of(bound), centre_of(weak), centre_of(spurious) + rng.integers(-80, 81, len(spurious))]
    signals = [signal, 4 * rng.lognormal(0, 0.4, len(weak)), 4 * rng.lognormal(0, 0.4, len(spurious))]
    strict = [~missed, np.zeros(len(weak), bool), np.arange(len(spurious)) < n_spurious]
    centre, signal, strict = np.concatenate(centres), np.concatenate(signals), np.concatenate(strict)
    summit = centre + np.round(rng.normal(0, SUMMIT_SD, len(centre))).astype(np.int64)
    left, right = rng.integers(*PEAK_REACH, (2, len(centre)))
    table = _narrowpeak(genome, summit - left, summit + right, summit, signal, f"{line}_{tf}")
    return table[strict[table.index]], table


def centre_of(table: pd.DataFrame) -> np.ndarray:
    """Return the middle of each row with the columns start and end: int64 (rows,)."""
    return (table["start"].to_numpy() + table["end"].to_numpy()) // 2


def _narrowpeak(genome, start, end, summit, signal, name: str) -> pd.DataFrame:
    chrom, local = genome.locate(summit)
    log_p = 3 + 2 * signal
    table = pd.DataFrame(
        {
            "chrom": chrom,
            "start": local - (summit - start),
            "end": local + (end - summit),
            "name": "",
            "score": np.clip(np.round(20 * signal), 1, 1000).astype(int),
            "strand": ".",
            "signal": np.round(signal, 3),
            "p": np.round(log_p, 3),
            "q": np.round(np.maximum(log_p - 2, 0.5), 3),
            "summit": summit - start,
        }
    )
    table = table.sort_values(["chrom", "start", "end"], kind="stable")
    table["name"] = [f"{name}_{number}" for number in range(1, len(table) + 1)]
    table["chrom"] = np.array(genome.names)[table["chrom"]]
    return table


def _best_apart(start: np.ndarray, value: np.ndarray, distance: int) -> np.ndarray:
    """Keep the best of intervals whose starts are closer than ``distance`` (bp), best first: bool (intervals,)."""
    keep = np.zeros(len(start), dtype=bool)
    order = np.argsort(start, kind="stable")
    sorted_start = start[order]
    blocked = np.zeros(len(start), dtype=bool)
    for rank in np.argsort(-value[order], kind="stable"):
        if blocked[rank]:
            continue
        keep[order[rank]] = True
        low = np.searchsorted(sorted_start, sorted_start[rank] - distance, side="right")
        high = np.searchsorted(sorted_start, sorted_start[rank] + distance, side="left")
        blocked[low:high] = True
    return keep
