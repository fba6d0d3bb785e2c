"""scbind's network: motif matches read once per window, answered by each cell's signal."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from scbind.errors import InputError
from scbind.models.base import BindingNetwork
from scbind.models.layers import MotifScan, one_hot

PULL = 2.0  # of the matrices to the known ones, in bound windows per squared unit; tried: none, 2
N_SIGNAL = 6  # features per bin made by signal_features
SURROUNDINGS = (2, 4, 8)  # bins beyond the window, either side, over which insertions are summed
N_OPENNESS = 2 * (len(SURROUNDINGS) + 1) + 1  # features made by openness_features


class GatedNetwork(BindingNetwork):
    """Late fusion along two ways, by ``members`` networks whose logits are averaged.

    What is read of the sequence are the best matches, in bins of 50 bp over ``reach`` bp around the window, of one
    matrix per TF: it starts as the known one and learns what that lacks (flanks, mostly). *Direct*: a small network
    that all TFs share sees how well the TF's own matrix matches and how open the window is; each TF only scales and
    shifts it, so a few dozen bound windows are enough for a TF. *Gated*: the insertions of every bin, and the depth,
    scale and shift a map of all matches, which learned profiles over the bins and a dense head turn into logits; so
    partners, competitors and the shape of the signal speak too. Matching runs once per window, the rest per cell. One
    set of weights serves all cell lines, because nothing but signal tells them apart. The members share the matrices.

    Parameters
    ----------
    motifs
        TF -> log-odds; the matrix of a TF without one (of all, for ``None``) starts at random.
    reach
        Sequence that is read, centred on the window, in bp; signal is read over the whole context. Sites that make a
        200-bp window bound lie under a peak that covers half of it, so little is to be found further out.
    filters
        Further matrices that start at random, for what no assayed TF's own knows.
    width
        Of the matrices, in bp, flanks included.
    channels, hidden, profiles, dropout
        Width of the map and of the head, position profiles, dropout of the head.
    units
        Width of the direct way.
    members
        Networks; their spread says how sure a prediction is.
    """

    bin_bp = 50

    def __init__(
        self,
        facts: dict,
        motifs: dict[str, np.ndarray] | None = None,
        reach: int = 600,
        filters: int = 0,
        width: int = 25,
        channels: int = 64,
        hidden: int = 128,
        profiles: int = 6,
        dropout: float = 0.3,
        units: int = 16,
        members: int = 3,
    ):
        super().__init__()
        self.bins, self.channels, self.n_tfs = reach // self.bin_bp, channels, len(facts["tfs"])
        self.edge, off_grid = divmod(facts["context"] - reach, 2 * self.bin_bp)
        if self.edge < 0 or off_grid:
            raise InputError(
                "config",
                f"reach {reach} does not centre on the {facts['context']} bp of context in bins of {self.bin_bp}",
                f"take the context less a multiple of {2 * self.bin_bp}",
                "models.*.options.reach",
            )
        self.within = facts["window"] // self.bin_bp
        deepest = max(depth for line in facts["depth"].values() for depth in line.values())
        self.register_buffer("deepest", torch.tensor(float(deepest)))
        self.pull = PULL / max(1, sum(facts["bound_train"].values()))
        matrices = [(motifs or {}).get(tf) for tf in facts["tfs"]] + [None] * filters
        self.scan = MotifScan(matrices, width, self.bin_bp)
        self.n_members = members
        self.members = nn.ModuleList(
            _Member(self, len(matrices), facts["context"] // self.bin_bp, hidden, profiles, dropout, units)
            for _ in range(members)
        )

    def readout(self, codes: Tensor, mappability: Tensor | None = None) -> Tensor:
        """Matches and maps, packed: uint8 (windows, context) to float32 (windows, numbers); no mappability in it.

        First each TF's best match in the window and within reach, then for each member its map, bins by channels.
        """
        skip = self.edge * self.bin_bp
        matches = self.scan(one_hot(codes[:, skip : codes.shape[1] - skip])).transpose(1, 2)
        maps = [member.project(matches).flatten(1) for member in self.members]
        return torch.cat([self._best(matches).flatten(1), *maps], dim=1)

    def respond(self, readout: Tensor, counts: Tensor, depth: Tensor, line: Tensor | None = None) -> Tensor:
        """Mean logits of the members, (batch, TFs); see :class:`BindingNetwork`. ``line`` is not used."""
        return self.respond_each(readout, counts, depth, line).mean(dim=0)

    def respond_each(
        self, readout: Tensor, counts: Tensor, depth: Tensor, line: Tensor | None = None
    ) -> Tensor:
        """Logits of every member, (members, batch, TFs); arguments as of :meth:`respond`."""
        # beyond the depth that was trained on, more insertions would be read as more accessibility
        deep = (self.deepest / depth.clamp_min(1e-9)).clamp_max(1)
        counts, depth = counts * deep[:, None], depth * deep
        features = signal_features(counts, depth, self.bin_bp)
        openness = openness_features(counts, depth, self.bin_bp, self.within)
        sizes = [2 * self.n_tfs] + [self.bins * self.channels] * len(self.members)
        best, *maps = readout.split(sizes, dim=1)
        best = best.unflatten(1, (self.n_tfs, 2))
        return torch.stack(
            [
                member(read.unflatten(1, (self.bins, self.channels)), best, features, openness)
                for member, read in zip(self.members, maps, strict=True)
            ]
        )

    def training_logits(
        self, codes: Tensor, counts: Tensor, depth: Tensor, line: Tensor, mappability: Tensor | None = None
    ) -> Tensor:
        """Logits of every member, each of which learns from its own: (members, batch, TFs)."""
        return self.respond_each(self.readout(codes), counts, depth)

    def penalty(self) -> Tensor:
        """Pull of the matrices towards the known ones; the more bound windows there are, the weaker."""
        return self.pull * self.scan.learned.square().sum()

    def _best(self, matches: Tensor) -> Tensor:
        """Best own match in the window and within reach: (windows, bins, matrices) to (windows, TFs, 2)."""
        own, first = matches[:, :, : self.n_tfs], (self.bins - self.within) // 2
        return torch.stack([own[:, first : first + self.within].amax(dim=1), own.amax(dim=1)], dim=2)


class _Member(nn.Module):
    """One network of the ensemble: all that is learned."""

    def __init__(
        self,
        shape: GatedNetwork,
        matrices: int,
        signal_bins: int,
        hidden: int,
        profiles: int,
        dropout: float,
        units: int,
    ):
        super().__init__()
        channels, n_tfs = shape.channels, shape.n_tfs
        self.edge = shape.edge
        self.project = nn.Linear(matrices, channels)
        self.signal = nn.Sequential(nn.Linear(N_SIGNAL, 16), nn.GELU(), nn.Linear(16, 2 * channels))
        self.profiles = nn.Parameter(_bumps(profiles, shape.bins))
        self.head = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(profiles * channels, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, n_tfs),
        )
        nn.init.zeros_(self.head[-1].weight)  # the direct way speaks first
        # accessibility alone explains much of binding: give its shape a short way of its own
        self.open = nn.Sequential(nn.Linear(N_SIGNAL * signal_bins, 32), nn.GELU(), nn.Linear(32, n_tfs))
        self.direct = _Direct(n_tfs, units)

    def forward(self, read: Tensor, best: Tensor, features: Tensor, openness: Tensor) -> Tensor:
        scale, shift = self.signal(features[:, self.edge : features.shape[1] - self.edge]).chunk(2, dim=-1)
        gated = gelu(read * (1 + scale) + shift)
        pooled = torch.einsum("nbc,pb->npc", gated, self.profiles)
        return self.head(pooled.flatten(1)) + self.open(features.flatten(1)) + self.direct(best, openness)


class _Direct(nn.Module):
    """Own match and openness to a logit, by one network for all TFs that each TF scales and shifts."""

    def __init__(self, n_tfs: int, units: int):
        super().__init__()
        self.match = nn.Linear(2, units, bias=False)
        self.openness = nn.Linear(N_OPENNESS, units)
        self.scale = nn.Parameter(torch.zeros(n_tfs, units))
        self.shift = nn.Parameter(torch.zeros(n_tfs, units))
        self.mix = nn.Linear(units, units)
        self.shared = nn.Parameter(torch.randn(units) * units**-0.5)
        self.own = nn.Parameter(torch.zeros(n_tfs, units))
        self.bias = nn.Parameter(torch.full((n_tfs,), -4.0))  # binding is rare

    def forward(self, best: Tensor, openness: Tensor) -> Tensor:
        """Matches (batch, TFs, 2) and openness (batch, ``N_OPENNESS``) to (batch, TFs)."""
        seen = self.match(best) + self.openness(openness)[:, None]
        mixed = gelu(self.mix(gelu(seen * (1 + self.scale) + self.shift)))
        return (mixed * (self.shared + self.own)).sum(dim=2) + self.bias


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
    wide = [torch.log1p(total), torch.log((total + 1) / (expected + 1)), _log_depth(depth)]
    return torch.stack(
        [
            torch.log1p(counts),
            torch.log1p(around),
            around / (total + 1) * 4,
            *(feature.expand_as(counts) for feature in wide),
        ],
        dim=-1,
    )


def openness_features(counts: Tensor, depth: Tensor, bin_bp: int, within: int) -> Tensor:
    """What the direct way sees of a cell: float32 (batch, ``N_OPENNESS``).

    For the window (its ``within`` bins) and growing surroundings, the log of the insertions over those that the
    depth predicts, with half a pseudo-insertion, and the log of the insertions; then the log depth.
    """
    bins = counts.shape[1]
    first = (bins - within) // 2
    enrichment, amount = [], []
    for more in (0, *SURROUNDINGS):
        begin, end = max(0, first - more), min(bins, first + within + more)
        inside = counts[:, begin:end].sum(dim=1)
        enrichment.append(torch.log((inside + 0.5) / (depth * bin_bp * (end - begin) + 0.5)))
        amount.append(torch.log1p(inside))
    return torch.cat([torch.stack(enrichment + amount, dim=1), _log_depth(depth)], dim=1)


def _log_depth(depth: Tensor) -> Tensor:
    return torch.log10(depth.clamp_min(1e-7))[:, None] / 3 + 1
