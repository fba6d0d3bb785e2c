"""Places on the genome, as the report writes them."""

from __future__ import annotations

import re

from scbind.analysis.linkmodel import CORE

# Columns of a place, which the page shows as one: (chromosome, start, end) -> heading.
PLACES = {
    ("chrom", "start", "end"): "place",
    ("chrom", "top_window_start", "top_window_end"): "top site",
}
DISTANCES = ("top_window_distance",)  # signed numbers of bp, shown as :func:`signed_bp` writes them
WITH_REGIONS = ("sites", "cautions")  # columns of texts with regions, 0-based half-open as in the files
REGION = re.compile(r"([^\s,;:]+):(\d+)-(\d+)")
PLACE_FORM = (
    "Coordinates are written as genome browsers take them: chr1:1,001-1,200 counts from 1 and includes both ends. "
    "Downloaded tables have chrom, start and end as BED has them: from 0, without the end."
)


def place(chrom: str, start: int, end: int) -> str:
    """Return a place (0-based half-open) as genome browsers take it: ``chr1:1,001-1,200``, 1-based, with both ends.

    A single base is ``chr1:1,001``.
    """
    return f"{chrom}:{start + 1:,}" + (f"-{end:,}" if end - start != 1 else "")


def regions(text: str) -> str:
    """Return a text in which each region ``chr1:1000-1200`` (0-based half-open) is written as :func:`place` does.

    Regions that a comma without a space divides are divided by a semicolon, because numbers have commas.
    """
    divided = re.sub(r",(?=[^\s,;:]+:\d+-\d)", "; ", text)
    return REGION.sub(lambda found: place(found[1], int(found[2]), int(found[3])), divided)


def placed_sites(sites: str, distances: str) -> str:
    """Return the sites of a link with their distances from the start of the gene, divided by semicolons.

    Both are divided by commas in the file. The script of the page writes the same (``placedSites``).
    """
    found = []
    for site, text in zip(sites.split(","), distances.split(","), strict=True):
        where = "promoter" if abs(int(text)) <= CORE else "distal"
        found.append(f"{regions(site)} ({where}, {signed_bp(int(text))})")
    return "; ".join(found)


def signed_bp(distance: int) -> str:
    """Return a distance in bp with its sign, such as ``−1,969 bp``; the script of the page has the same (``bp``)."""
    return f"{'−' if distance < 0 else '+' if distance > 0 else ''}{abs(distance):,} bp"
