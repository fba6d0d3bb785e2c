"""Draw variants of the demo: half in the core of bound sites, half beside them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from scbind.demo.atlas import TYPES
from scbind.demo.simulate_genome import SimulatedGenome

PER_TF = 8  # sites per factor; each gives one variant in its core and one beside it
CORE = 2  # bp on either side of the middle of a site
BESIDE = (20, 91)  # bp from the middle of the site, half-open range
TRIES = 50  # draws of a position outside the sites of the factor, before the site has none beside it
HEAD = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


def draw_variants(rng, genome: SimulatedGenome, sites: pd.DataFrame) -> str:
    """Return the text of a VCF, sorted by position.

    Of each factor, up to ``PER_TF`` sites that are bound in a cell type are drawn from ``sites``
    (:func:`scbind.demo.simulate_sites.find_sites`). The ID of a variant is ``{tf}_core_{element}``, or
    ``{tf}_beside_{element}`` for a base outside all sites of the factor.
    """
    bound = sites[sites[[f"bound_{name}" for name in TYPES]].any(axis=1)]
    rows = []
    for tf, mine in bound.groupby("tf"):
        all_of_tf = sites[sites["tf"] == tf]
        for site in mine.iloc[np.sort(rng.permutation(len(mine))[:PER_TF])].itertuples():
            middle = (site.start + site.end) // 2
            rows.append((middle + int(rng.integers(-CORE, CORE + 1)), f"{tf}_core_{site.element}"))
            place = _beside(rng, middle, all_of_tf)
            if place is not None:
                rows.append((place, f"{tf}_beside_{site.element}"))
    table = (
        pd.DataFrame(rows, columns=["position", "name"]).drop_duplicates("position").sort_values("position")
    )
    chrom, local = genome.locate(table["position"].to_numpy())
    ref = genome.codes[table["position"].to_numpy()]
    alt = (ref + rng.integers(1, 4, len(ref))) % 4
    letters = np.array(list("ACGT"))
    each = zip(
        np.array(genome.names)[chrom], local + 1, table["name"], letters[ref], letters[alt], strict=True
    )
    return HEAD + "".join(f"{c}\t{p}\t{name}\t{r}\t{a}\t.\t.\t.\n" for c, p, name, r, a in each)


def _beside(rng, middle: int, sites: pd.DataFrame) -> int | None:
    """Draw a base near ``middle`` that is outside all ``sites``; None if there seems to be none."""
    for _ in range(TRIES):
        place = middle + int(rng.choice([-1, 1]) * rng.integers(*BESIDE))
        if not ((sites["start"] <= place) & (sites["end"] > place)).any():
            return place
    return None
