"""scbind's network: a sequence trunk that runs once per window, gated by each cell's signal."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from scbind.errors import InputError
from scbind.models.base import BindingNetwork
from scbind.models.layers import StrandConv, one_hot

N_SIGNAL = 6  # features per bin made by signal_features
POOL = 5  # bp; resolution of the trunk after its first layer


class GatedNetwork(BindingNetwork):
    """Late fusion by gating.

    The trunk turns the ``reach`` bp around a window into a map of 50-bp bins by ``channels``. Its first filters
    start as the motif matrices and are trained on, so that what is known of a TF need not be learned from a few
    hundred bound windows, and what the matrix lacks (flanks, mostly) can be. A small network of the cell's insertions
    per bin, and of its depth, gives every bin and channel a scale and a shift; a few learned profiles over the bins
    and a dense head read the gated map. Only gate and head run per cell. One set of weights serves all cell lines,
    because nothing but signal tells them apart.

    Parameters
    ----------
    motifs
        TF -> log-odds, at most three quarters of ``filters``; ``None``: all filters start at random.
    reach
        Sequence that is read, centred on the window, in bp; signal is read over the whole context. Sites that make a
        200-bp window bound lie under a peak that covers half of it, so little is to be found further out.
    filters, width
        Number and width in bp of the first filters.
    channels, hidden, profiles, dropout
        Width of the map and of the head, position profiles, dropout of the head.
    """

    bin_bp = 50

    def __init__(
        self,
        facts: dict,
        motifs: dict[str, np.ndarray] | None = None,
        reach: int = 600,
        filters: int = 96,
        width: int = 25,
        channels: int = 64,
        hidden: int = 128,
        profiles: int = 6,
        dropout: float = 0.2,
    ):
        super().__init__()
        bins, n_tfs = facts["context"] // self.bin_bp, len(facts["tfs"])
        self.edge, off_grid = divmod(facts["context"] - reach, 2 * self.bin_bp)
        if self.edge < 0 or off_grid:
            raise InputError(
                "config",
                f"reach {reach} does not centre on the {facts['context']} bp of context in bins of {self.bin_bp}",
                f"take the context less a multiple of {2 * self.bin_bp}",
                "models.*.options.reach",
            )
        first, norm = StrandConv(filters, width, POOL), nn.BatchNorm1d(filters)
        if motifs:
            seed_filters(first, norm, [motifs[tf] for tf in facts["tfs"] if tf in motifs])
        self.trunk = nn.Sequential(
            first,
            norm,
            nn.ReLU(),
            nn.Conv1d(filters, channels, 5, padding=2),
            nn.BatchNorm1d(channels),
            nn.GELU(),
            *(_Dilated(channels, dilation) for dilation in (1, 2, 4, 8)),
            nn.MaxPool1d(self.bin_bp // POOL),
        )
        self.signal = nn.Sequential(nn.Linear(N_SIGNAL, 32), nn.GELU(), nn.Linear(32, 2 * channels))
        self.profiles = nn.Parameter(_bumps(profiles, bins - 2 * self.edge))
        self.head = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(profiles * channels, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, n_tfs),
        )
        # accessibility alone explains much of binding: give it a short path of its own
        self.openness = nn.Sequential(nn.Linear(N_SIGNAL * bins, 32), nn.GELU(), nn.Linear(32, n_tfs))

    def readout(self, codes: Tensor, mappability: Tensor | None = None) -> Tensor:
        """Sequence map: uint8 (windows, context) to float32 (windows, reach / 50, channels); no mappability in it."""
        skip = self.edge * self.bin_bp
        return self.trunk(one_hot(codes[:, skip : codes.shape[1] - skip])).transpose(1, 2)

    def respond(self, readout: Tensor, counts: Tensor, depth: Tensor, line: Tensor | None = None) -> Tensor:
        """Logits (batch, TFs); see :class:`BindingNetwork`. ``line`` is not used."""
        features = signal_features(counts, depth, self.bin_bp)
        inner = features[:, self.edge : features.shape[1] - self.edge]
        scale, shift = self.signal(inner).chunk(2, dim=-1)
        gated = nn.functional.gelu(readout * (1 + scale) + shift)
        pooled = torch.einsum("nbc,pb->npc", gated, self.profiles)
        return self.head(pooled.flatten(1)) + self.openness(features.flatten(1))


def seed_filters(first: StrandConv, norm: nn.BatchNorm1d, matrices: list[np.ndarray]) -> None:
    """Write motif matrices into the first filters, in place, scaled to a best score of 4.

    The norm behind them starts so that only matches well above the average pass. A matrix wider than the filters
    loses its least informative end; at most three quarters of the filters are taken, the rest stay random.
    """
    width = first.weight.shape[2]
    with torch.no_grad():
        for row, matrix in enumerate(matrices[: len(first.weight) * 3 // 4]):
            if matrix.shape[1] > width:
                information = np.maximum(matrix, 0).sum(axis=0)
                begin = int(np.argmax(np.convolve(information, np.ones(width), "valid")))
                matrix = matrix[:, begin : begin + width]
            left = (width - matrix.shape[1]) // 2
            best = float(matrix.max(axis=0).sum())
            first.weight[row] = 0
            first.weight[row, :, left : left + matrix.shape[1]] = torch.from_numpy(
                np.ascontiguousarray(matrix) * (4 / best)
            )
            norm.bias[row] = -1


def _bumps(profiles: int, bins: int) -> Tensor:
    """Start of the position profiles: bumps on the window of growing width, shape (profiles, bins), rows sum to 1."""
    distance = (torch.arange(bins) - (bins - 1) / 2).abs()
    widths = torch.logspace(0, 3, profiles, base=2)[:, None]
    bumps = torch.exp(-0.5 * (distance / widths) ** 2)
    return bumps / bumps.sum(dim=1, keepdim=True)


def signal_features(counts: Tensor, depth: Tensor, bin_bp: int) -> Tensor:
    """What the gate sees of a cell: float32 (batch, bins, ``N_SIGNAL``).

    Logs of the insertions in a bin, of those in it and its two neighbours, and of the whole window; the window's
    enrichment over the depth with one pseudo-insertion; a bin's share of the window; the log depth itself.
    ``counts`` (batch, bins); ``depth`` (batch,), insertions per base. Finite for empty windows and zero depth.
    """
    total = counts.sum(dim=1, keepdim=True)
    around = nn.functional.avg_pool1d(counts[:, None], 3, stride=1, padding=1)[:, 0] * 3
    expected = (depth * bin_bp * counts.shape[1])[:, None]
    log_depth = torch.log10(depth.clamp_min(1e-7))[:, None] / 3 + 1
    wide = [torch.log1p(total), torch.log((total + 1) / (expected + 1)), log_depth]
    return torch.stack(
        [
            torch.log1p(counts),
            torch.log1p(around),
            around / (total + 1) * 4,
            *(feature.expand_as(counts) for feature in wide),
        ],
        dim=-1,
    )


class _Dilated(nn.Module):
    """Residual convolution that looks ``dilation`` pooled positions away."""

    def __init__(self, channels: int, dilation: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(channels, channels, 3, padding=dilation, dilation=dilation),
            nn.BatchNorm1d(channels),
            nn.GELU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)
