"""scbind's network: a sequence trunk that runs once per window, gated by each cell's signal."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from scbind.models.base import BindingNetwork
from scbind.models.layers import SequenceConv, one_hot

N_SIGNAL = 6  # features per bin made by signal_features


class GatedNetwork(BindingNetwork):
    """Late fusion by gating.

    The trunk turns 1,000 bp into a map of ``context / 50`` bins by ``channels``. A small network of the cell's
    insertions per bin, and of its depth, gives every bin and channel a scale and a shift; a dense head reads the
    gated map. Only gate and head run per cell. One set of weights serves all cell lines, because nothing but
    signal tells them apart.

    Parameters
    ----------
    motifs
        TF -> log-odds. They fill the first filters of the first layer (both strands), which are trained on.
    filters, channels, hidden, dropout
        Width of the first layer, of the map and of the head, and the dropout of the head.
    """

    bin_bp = 50

    def __init__(
        self,
        facts: dict,
        motifs: dict[str, np.ndarray] | None = None,
        filters: int = 128,
        channels: int = 64,
        hidden: int = 128,
        dropout: float = 0.3,
    ):
        super().__init__()
        bins = facts["context"] // self.bin_bp
        n_tfs = len(facts["tfs"])
        self.first = SequenceConv(filters, 19)
        self.trunk = nn.Sequential(
            nn.MaxPool1d(5),
            nn.BatchNorm1d(filters),
            nn.ReLU(),
            nn.Conv1d(filters, channels, 5, padding=2),
            nn.BatchNorm1d(channels),
            nn.GELU(),
            _Dilated(channels, 1),
            _Dilated(channels, 2),
            _Dilated(channels, 4),
            nn.MaxPool1d(self.bin_bp // 5),
            nn.Conv1d(channels, channels, 3, padding=1),
        )
        self.signal = nn.Sequential(nn.Linear(N_SIGNAL, 32), nn.GELU(), nn.Linear(32, 2 * channels))
        self.head = nn.Sequential(
            nn.Flatten(1),
            nn.Dropout(dropout),
            nn.Linear(bins * channels, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, n_tfs),
        )
        # accessibility alone explains much of binding: give it a short path of its own
        self.openness = nn.Sequential(nn.Linear(N_SIGNAL * bins, 32), nn.GELU(), nn.Linear(32, n_tfs))
        if motifs:
            seed_filters(self.first, [motifs[tf] for tf in facts["tfs"] if tf in motifs])

    def readout(self, codes: Tensor) -> Tensor:
        """Sequence map: uint8 (windows, context) to float32 (windows, bins, channels)."""
        return self.trunk(self.first(one_hot(codes))).transpose(1, 2)

    def respond(self, readout: Tensor, counts: Tensor, depth: Tensor, line: Tensor | None = None) -> Tensor:
        """Logits (batch, TFs); see :class:`BindingNetwork`. ``line`` is not used."""
        features = signal_features(counts, depth, self.bin_bp)
        scale, shift = self.signal(features).chunk(2, dim=-1)
        gated = nn.functional.gelu(readout * (1 + scale) + shift)
        return self.head(gated) + self.openness(features.flatten(1))


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


def seed_filters(first: nn.Conv1d, matrices: list[np.ndarray]) -> None:
    """Write motif matrices, both strands, into the first filters of a convolution, in place.

    Each is cut or centred to the filter width and scaled so that its output has the spread of a random filter's;
    at most three quarters of the filters are taken, the rest stay random.
    """
    width, usable = first.kernel_size[0], first.out_channels * 3 // 4 // 2
    with torch.no_grad():
        spread = first.weight.std()
        for row, matrix in enumerate(matrices[:usable]):
            information = np.maximum(matrix, 0).sum(axis=0)
            if matrix.shape[1] > width:
                begin = int(np.argmax(np.convolve(information, np.ones(width), "valid")))
                matrix = matrix[:, begin : begin + width]
            left = (width - matrix.shape[1]) // 2
            weight = torch.zeros(4, width)
            weight[:, left : left + matrix.shape[1]] = torch.from_numpy(np.ascontiguousarray(matrix))
            weight = weight * (spread / weight.std())
            first.weight[2 * row] = weight
            first.weight[2 * row + 1] = weight.flip(0, 1)


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
