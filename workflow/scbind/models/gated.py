"""scbind's network: a sequence trunk that runs once per window, gated by each cell's signal."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from scbind.models.base import BindingNetwork
from scbind.models.layers import SequenceConv, one_hot

N_SIGNAL = 6  # features per bin made by signal_features
POOL = 5  # bp; resolution of the trunk after its first layer


class GatedNetwork(BindingNetwork):
    """Late fusion by gating.

    The trunk turns 1,000 bp into a map of ``context / 50`` bins by ``channels``. Its first layer holds learned
    filters beside a fixed bank of motif matrices, so that what is already known of a TF need not be learned from a
    few hundred bound windows. A small network of the cell's insertions per bin, and of its depth, gives every bin and
    channel a scale and a shift; a few learned profiles over the bins and a dense head read the gated map. Only gate
    and head run per cell. One set of weights serves all cell lines, because nothing but signal tells them apart.

    Parameters
    ----------
    motifs
        TF -> log-odds, for the bank; kept in the checkpoint. ``None`` or empty: learned filters only.
    filters, channels, hidden, profiles, dropout
        Number of learned filters, width of the map and of the head, position profiles, dropout of the head.
    bank
        Number and width of the bank's matrices; taken from ``motifs``, and given when a checkpoint is loaded.
    """

    bin_bp = 50

    def __init__(
        self,
        facts: dict,
        motifs: dict[str, np.ndarray] | None = None,
        filters: int = 96,
        channels: int = 64,
        hidden: int = 128,
        profiles: int = 6,
        dropout: float = 0.2,
        bank: tuple[int, int] | None = None,
    ):
        super().__init__()
        bins, n_tfs = facts["context"] // self.bin_bp, len(facts["tfs"])
        matrices = [motifs[tf] for tf in facts["tfs"] if tf in motifs] if motifs else []
        n_motifs, width = bank or (len(matrices), max((m.shape[1] for m in matrices), default=1) | 1)
        self.bank_shape = (n_motifs, width)
        self.bank = MotifBank(n_motifs, width, matrices) if n_motifs else None
        self.first = nn.Sequential(
            SequenceConv(filters, 19), nn.MaxPool1d(POOL), nn.BatchNorm1d(filters), nn.ReLU()
        )
        self.trunk = nn.Sequential(
            nn.Conv1d(filters + n_motifs, channels, 5, padding=2),
            nn.BatchNorm1d(channels),
            nn.GELU(),
            _Dilated(channels, 1),
            _Dilated(channels, 2),
            _Dilated(channels, 4),
            nn.MaxPool1d(self.bin_bp // POOL),
        )
        self.known = nn.Conv1d(n_motifs, channels, 1, bias=False) if n_motifs else None
        self.signal = nn.Sequential(nn.Linear(N_SIGNAL, 32), nn.GELU(), nn.Linear(32, 2 * channels))
        self.profiles = nn.Parameter(_bumps(profiles, bins))
        self.head = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(profiles * channels, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, n_tfs),
        )
        # accessibility alone explains much of binding: give it a short path of its own
        self.openness = nn.Sequential(nn.Linear(N_SIGNAL * bins, 32), nn.GELU(), nn.Linear(32, n_tfs))

    def readout(self, codes: Tensor) -> Tensor:
        """Sequence map: uint8 (windows, context) to float32 (windows, bins, channels)."""
        bases = one_hot(codes)
        seen = self.first(bases)
        if self.bank is None:
            return self.trunk(seen).transpose(1, 2)
        matches = self.bank(bases)
        learned = self.trunk(torch.cat([seen, matches], dim=1))
        best = nn.functional.max_pool1d(matches, self.bin_bp // POOL)
        return (learned + self.known(best)).transpose(1, 2)

    def respond(self, readout: Tensor, counts: Tensor, depth: Tensor, line: Tensor | None = None) -> Tensor:
        """Logits (batch, TFs); see :class:`BindingNetwork`. ``line`` is not used."""
        features = signal_features(counts, depth, self.bin_bp)
        scale, shift = self.signal(features).chunk(2, dim=-1)
        gated = nn.functional.gelu(readout * (1 + scale) + shift)
        pooled = torch.einsum("nbc,pb->npc", gated, self.profiles)
        return self.head(pooled.flatten(1)) + self.openness(features.flatten(1))


class MotifBank(nn.Module):
    """Best match of fixed matrices on either strand, per ``POOL`` bp, as a share of the best possible score.

    float (windows, 4, length) to (windows, matrices, length / POOL): 0 at half of the best score or below, 1 at the
    consensus. The matrices are part of the checkpoint and take no gradient.
    """

    def __init__(self, n_motifs: int, width: int, matrices: list[np.ndarray]):
        super().__init__()
        weight = torch.zeros(2 * n_motifs, 4, width)
        for row, matrix in enumerate(matrices):
            left = (width - matrix.shape[1]) // 2
            scaled = torch.from_numpy(np.ascontiguousarray(matrix)) / float(matrix.max(axis=0).sum())
            weight[2 * row, :, left : left + matrix.shape[1]] = scaled
            weight[2 * row + 1] = weight[2 * row].flip(0, 1)
        self.register_buffer("weight", weight)

    @torch.no_grad()
    def forward(self, bases: Tensor) -> Tensor:
        scores = nn.functional.conv1d(bases, self.weight, padding=self.weight.shape[2] // 2)
        best = nn.functional.max_pool1d(scores, POOL).unflatten(1, (-1, 2)).amax(dim=2)
        return (2 * best - 1).clamp_min(0)


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
