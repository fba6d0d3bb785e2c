"""Sequences of both alleles of variants, in the context of the window that is centred on them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from scbind.formats.genome import Genome
from scbind.formats.variants import codes_of


def context_starts(variants: pd.DataFrame, context: int) -> np.ndarray:
    """Return the start of each context, 0-based: int64 (variants,). Its centre is the middle base of REF.

    ``variants`` as from :func:`scbind.formats.variants.read_variants`.
    """
    return variants["start"].to_numpy() + variants["ref"].str.len().to_numpy() // 2 - context // 2


def allele_codes(genome: Genome, variants: pd.DataFrame, context: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the base codes of the contexts with REF and with ALT: two uint8 (variants, context).

    The sequence to the left of the variant stays in place: at its right end, the context loses bases if there is an
    insertion, and gains bases if there is a deletion.
    """
    chrom, start = variants["chrom"].to_numpy(), context_starts(variants, context)
    reference = genome.window_codes(chrom, start, context)
    alternative = reference.copy()
    lengths = variants["ref"].str.len().to_numpy(), variants["alt"].str.len().to_numpy()
    for old, new in np.unique(np.stack(lengths, axis=1), axis=0):
        rows = np.flatnonzero((lengths[0] == old) & (lengths[1] == new))
        at = context // 2 - old // 2
        rest = context - at - new
        alternative[rows, at : at + new] = codes_of(variants["alt"].iloc[rows], new)
        after = variants["start"].to_numpy()[rows] + old
        alternative[rows, at + new :] = genome.window_codes(chrom[rows], after, rest)
    return reference, alternative
