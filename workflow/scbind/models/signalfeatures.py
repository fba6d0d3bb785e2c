"""Features of the signal around a window in a cell: its shape and its accessibility."""

from __future__ import annotations

import torch
from torch import Tensor

SURROUNDINGS = (2, 4, 8)  # bins on each side of the window over which insertions are summed
N_OPENNESS = 2 * (len(SURROUNDINGS) + 1) + 1  # features made by openness_features
PER_BIN, OVERALL = 3, 2  # features made by shape_features, per bin and per example


def shape_features(counts: Tensor, depth: Tensor, bin_bp: int) -> Tensor:
    """Features of the shape of the signal around a window: float32 (batch, ``PER_BIN`` * bins + ``OVERALL``).

    For each bin: the log of its insertions; the log of the insertions in it and its two neighbours; the fraction of all
    insertions that are in these three bins. For each example: the log of all insertions, and the log of the ratio of
    all insertions to those expected from the depth, with one pseudo-insertion.

    ``counts`` is (batch, bins) insertions, ``depth`` (batch,) insertions per base. The features are finite for empty
    windows and zero depth.
    """
    total = counts.sum(dim=1, keepdim=True)
    around = counts.clone()
    around[:, 1:] += counts[:, :-1]
    around[:, :-1] += counts[:, 1:]
    expected = (depth * bin_bp * counts.shape[1])[:, None]
    each = [torch.log1p(counts), torch.log1p(around), around / (total + 1) * 4]
    return torch.cat([*each, torch.log1p(total), torch.log((total + 1) / (expected + 1))], dim=1)


def middle_bins(bins: int, wanted: int) -> tuple[int, int]:
    """Begin and end of the ``wanted`` bins in the middle of ``bins``; at least one or two bins, and at most all."""
    wanted = min(max(wanted, 2 - bins % 2), bins)
    begin = (bins - wanted) // 2
    return begin, begin + wanted


def openness_features(counts: Tensor, depth: Tensor, bin_bp: int, within: int) -> Tensor:
    """Features of the accessibility of a window in a cell: float32 (batch, ``N_OPENNESS``).

    The regions are the window (its ``within`` bins) and three larger surroundings. The features are: for each region,
    the log of the ratio of insertions to those expected from the depth, with half a pseudo-insertion; for each region,
    the log of the insertions; the log depth. ``counts`` is (batch, bins) insertions, ``depth`` (batch,) insertions per
    base.
    """
    bins = counts.shape[1]
    regions = [middle_bins(bins, within + 2 * more) for more in (0, *SURROUNDINGS)]
    begin, end = torch.tensor(regions, device=counts.device).T
    place = torch.arange(bins, device=counts.device)[:, None]
    member = ((place >= begin) & (place < end)).to(counts.dtype)
    inside = counts @ member
    expected = depth[:, None] * (bin_bp * member.sum(dim=0))
    enrichment = torch.log((inside + 0.5) / (expected + 0.5))
    log_depth = torch.log10(depth.clamp_min(1e-7)) / 3 + 1
    return torch.cat([enrichment, torch.log1p(inside), log_depth[:, None]], dim=1)
