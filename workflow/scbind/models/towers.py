"""scbind's network: a tower for the sequence of a window and one for the signal of a cell, joined by a dot product."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, pad

from scbind.core.errors import InputError
from scbind.formats.evidence import CHIP
from scbind.formats.onehot import one_hot
from scbind.models.base import BindingNetwork
from scbind.models.layers import MotifScan
from scbind.models.sharedway import SharedWay, log_p_table, log_p_values
from scbind.models.signalfeatures import (
    N_OPENNESS,
    OVERALL,
    PER_BIN,
    middle_bins,
    openness_features,
    shape_features,
)

# The best match of a TF's matrix is found in regions around the middle of the window, which extend it by this many bins
# on each side, and in the whole reach. A window is bound if a peak covers more than half of it, so the distance to its
# middle counts.
REGIONS = (-1, 0, 1, 2)
N_MATCHES = len(REGIONS) + 1
PULL = 0.5  # default of the option ``pull``
SEEN_AT_ONCE, SEEN_AT_ONCE_CUDA = 1024, 1 << 14  # pairs with insertions, on a CPU and on a GPU


class TowerNetwork(BindingNetwork):
    """Late fusion: a logit is the dot product of a window embedding and a cell embedding, plus a signal-only term.

    The *window tower* reads the sequence once per window. It finds the best matches of one matrix per TF, in bins of
    50 bp over ``reach`` bp. A matrix starts as the known one. Training refines it, mostly in the flanks.
    The window embedding of a TF has two parts. A small network computes ``direct`` numbers from the best matches of the
    TF's own matrix, near the middle of the window and farther away. The map of the matches of all TFs gives
    ``partners`` more numbers. All TFs share the small network. A TF only scales and shifts its input and adjusts its
    output, so a few dozen bound windows are enough to fit it.

    The *cell tower* computes the cell embedding, of the same length, from the insertions around the window and the
    depth. Its ``direct`` numbers depend on accessibility alone; the others also depend on the shape of the signal. The
    cost per cell is therefore a tiny network and one matrix product. One set of weights fits all cell lines, because
    lines differ only in their signal.

    The logits of ``members`` such pairs of towers are averaged. All pairs share the matrices.

    Parameters
    ----------
    facts
        Result of :func:`scbind.models.training.data_facts`.
    motifs
        TF -> log-odds, (4, length). A TF without a known matrix starts at random; ``None`` starts all at random.
    reach
        Width of the sequence that is read, centred on the window, in bp. Signal is read over the whole context. A
        200-bp window is bound if a peak covers more than half of it, so sites further out add little.
    width
        Length of the matrices in bp, flanks included.
    pull
        Strength of the penalty that pulls the matrices to the known ones, in bound windows per squared unit; see
        docs/notebooks/network.md.
    direct, partners
        Length of the embedding per TF: numbers from the TF's own match, and numbers from the map.
    channels, profiles, hidden, dropout
        Of the map: its number of channels and of position profiles, and the width and the dropout of its head.
    units
        Width of the network for a TF's own match.
    members
        Number of networks in the ensemble. The spread of their predictions measures uncertainty.
    strangers
        Probability that the own weights of a TF are left out of a training step, so that the shared weights learn to
        predict TFs without ChIP-seq (:mod:`scbind.models.sharedway`). 0: the network predicts only assayed TFs.

    Raises
    ------
    InputError
        If the context minus ``reach`` is negative or not a multiple of 100 bp.
    """

    bin_bp = 50
    tile = (128, 64)  # nearly as fast as 256 windows, and many TFs still fit in memory
    tile_cuda = (512, 64)  # larger, so that a GPU starts far fewer kernels; the size is not tuned yet

    def __init__(
        self,
        facts: dict,
        motifs: dict[str, np.ndarray] | None = None,
        released: dict[str, np.ndarray] | None = None,
        reach: int = 600,
        width: int = 25,
        pull: float = PULL,
        direct: int = 16,
        partners: int = 8,
        channels: int = 64,
        profiles: int = 6,
        hidden: int = 128,
        dropout: float = 0.3,
        units: int = 16,
        members: int = 3,
        strangers: float = 0.0,
    ):
        super().__init__()
        self.bins, self.n_tfs, self.n_members = reach // self.bin_bp, len(facts["tfs"]), members
        self.edge, off_grid = divmod(facts["context"] - reach, 2 * self.bin_bp)
        if self.edge < 0 or off_grid:
            raise InputError(
                "config",
                f"reach {reach} cannot be centred in a context of {facts['context']} bp with bins of {self.bin_bp} bp",
                f"use the context minus a multiple of {2 * self.bin_bp}",
                "models.*.options.reach",
            )
        self.within = facts["window"] // self.bin_bp
        self.regions = [middle_bins(self.bins, self.within + 2 * more) for more in REGIONS]
        self.register_buffer("deepest", torch.tensor(float(facts["deepest"])))
        self.pull = pull / max(1, sum(facts["bound_train"].values()))
        self.strangers = self.leave_out = strangers
        self.n_mapped = facts.get("mapped") or facts.get("evidence", []).count(CHIP) or self.n_tfs
        matrices = [(motifs or {}).get(tf) for tf in facts["tfs"]]
        alone = [(released or motifs or {}).get(tf, m) for tf, m in zip(facts["tfs"], matrices, strict=True)]
        self.scan = MotifScan(matrices, width, self.bin_bp, alone if strangers else None)
        if strangers:
            for name, bank in (("log_p", self.scan.known), ("log_p_released", self.scan.released)):
                self.register_buffer(name, torch.from_numpy(np.stack([log_p_table(m) for m in bank.numpy()])))
        self.signal_bins = facts["context"] // self.bin_bp
        self.windows = nn.ModuleList(
            _WindowTower(
                (self.n_tfs, self.n_mapped, self.bins),
                *(direct, partners, channels, profiles, hidden, dropout, units),
                bool(strangers),
            )
            for _ in range(members)
        )
        self.cells = nn.ModuleList(
            _CellTower(self.n_tfs, self.signal_bins, direct, partners, bool(strangers))
            for _ in range(members)
        )

    def trunk(self, codes: Tensor, mappability: Tensor | None = None, keep: Tensor | None = None) -> Tensor:
        """Best matches, and what was read from the map: uint8 (windows, context) to float32 (windows, length).

        First come, for each TF, what the best match in each of ``REGIONS`` and in reach lacks of a score of 1.
        (Predictors store them as float16, which is finest near 0.) Then follows, for each member, the hidden layer
        that has read the map. ``keep``, float32 (TFs,), is 0 for a TF that is read as if it had no ChIP-seq, with its
        matrix of the release and without its own weights, and 1 for the others; ``None`` keeps all.
        """
        skip = self.edge * self.bin_bp
        matches = self.scan(one_hot(codes[:, skip : codes.shape[1] - skip]), keep).transpose(1, 2)
        inside = [matches[:, begin:end].amax(dim=1) for begin, end in self.regions]
        best = torch.stack([*inside, matches.amax(dim=1)], dim=2)
        return torch.cat([1 - best.flatten(1), *(tower.read(matches) for tower in self.windows)], dim=1)

    def unfold(self, trunk: Tensor, keep: Tensor | None = None) -> Tensor:
        """Window embeddings: result of :meth:`trunk` to float32 (windows, members, 1 + direct + partners, TFs).

        ``keep`` is that of :meth:`trunk`.
        """
        of_tfs = N_MATCHES * self.n_tfs
        best = 1 - trunk[:, :of_tfs].view(-1, self.n_tfs, N_MATCHES)
        read = trunk[:, of_tfs:].chunk(self.n_members, 1)
        if self.strangers:
            table = self.log_p
            if keep is not None:
                table = torch.lerp(self.log_p_released, table, keep[:, None])
            best = torch.cat([best, log_p_values(best, table)], dim=2)
        return torch.stack(
            [tower(best, seen, keep) for tower, seen in zip(self.windows, read, strict=True)], dim=1
        )

    def readout(self, codes: Tensor, mappability: Tensor | None = None, keep: Tensor | None = None) -> Tensor:
        """Window embeddings of base codes; see :meth:`trunk` and :meth:`unfold`."""
        return self.unfold(self.trunk(codes, mappability, keep), keep)

    def respond_each(
        self,
        readout: Tensor,
        counts: Tensor,
        depth: Tensor,
        line: Tensor | None = None,
        keep: Tensor | None = None,
    ) -> Tensor:
        """Logits of every member, (members, batch, TFs); see :class:`BindingNetwork`. ``line`` is not used.

        ``keep`` is that of :meth:`trunk`.
        """
        signal = self._signal(counts, depth)
        logits = []
        for member, tower in enumerate(self.cells):
            answer, alone = tower(*signal, keep)
            logits.append(torch.einsum("nk,nkt->nt", answer, readout[:, member]) + alone)
        return torch.stack(logits)

    def respond(self, readout: Tensor, counts: Tensor, depth: Tensor, line: Tensor | None = None) -> Tensor:
        """Mean logits of the members, (batch, TFs); same arguments as :meth:`respond_each`."""
        return self.respond_each(readout, counts, depth, line).mean(dim=0)

    def respond_unseen(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        """Cell embeddings and signal-only logits of windows without insertions; see :class:`BindingNetwork`."""
        return self._cell_side(depth.new_zeros(len(depth), self.signal_bins), depth)

    def respond_grid(
        self, readout: Tensor, counts: Tensor, depth: Tensor, unseen: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """Mean logits of every cell in every window; see :class:`BindingNetwork`. One matrix product per window.

        Most windows of a cell have no insertion. Their cell embeddings depend on the depth alone and are computed once
        per cell. The others are computed in parts of ``SEEN_AT_ONCE`` pairs. As all parts have the same size, a result
        does not depend on the other pairs.
        """
        windows, cells, bins = counts.shape
        answer, alone = (part.repeat(windows, 1) for part in unseen or self.respond_unseen(depth))
        signal, size = counts.view(-1, bins), SEEN_AT_ONCE_CUDA if counts.is_cuda else SEEN_AT_ONCE
        seen = (signal.sum(dim=1) > 0).nonzero().squeeze(1)
        for pairs in seen.split(size) if len(seen) else ():
            filled = pad(pairs, (0, size - len(pairs)))
            found = self._cell_side(signal[filled], depth[filled % cells])
            answer[pairs], alone[pairs] = (each[: len(pairs)] for each in found)
        answer, alone = answer.view(windows, cells, -1), alone.view(windows, cells, -1)
        share = 1 / self.n_members
        return torch.baddbmm(alone, answer, readout.flatten(1, 2), beta=share, alpha=share)

    def _cell_side(self, counts: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
        """Cell embeddings of all members side by side, (batch, members * length), and the sum of their other terms."""
        signal = self._signal(counts, depth)
        towers = [tower(*signal) for tower in self.cells]
        return torch.cat([answer for answer, _ in towers], dim=1), sum(alone for _, alone in towers)

    def training_logits(
        self, codes: Tensor, counts: Tensor, depth: Tensor, line: Tensor, mappability: Tensor | None = None
    ) -> Tensor:
        """Logits of every member, (members, batch, TFs). Each member learns from its own logits."""
        keep = None
        if self.leave_out and self.training:
            keep = (torch.rand(self.n_tfs, device=counts.device) >= self.leave_out).to(counts.dtype)
        return self.respond_each(self.readout(codes, keep=keep), counts, depth, keep=keep)

    def penalty(self) -> Tensor:
        """Penalty that pulls the matrices towards the known ones. It is weaker if there are more bound windows."""
        return self.pull * self.scan.learned.square().sum()

    def _signal(self, counts: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
        # Deeper signal is scaled down to the largest training depth. Otherwise the network would mistake depth for
        # accessibility.
        deep = (self.deepest / depth.clamp_min(1e-9)).clamp_max(1)
        counts, depth = counts * deep[:, None], depth * deep
        openness = openness_features(counts, depth, self.bin_bp, self.within)
        return openness, torch.cat([shape_features(counts, depth, self.bin_bp), openness], dim=1)


class _WindowTower(nn.Module):
    """Window embedding: (windows, 1 + direct + partners, TFs).

    :meth:`read` reads the map, the matches in bins (windows, bins, TFs). The embedding is made from the result and from
    the best matches in regions around the middle (windows, TFs, ``N_MATCHES``), in a network for TFs without ChIP-seq
    followed by their p-values (windows, TFs, 2 * ``N_MATCHES``).
    """

    def __init__(
        self,
        sizes: tuple[int, int, int],
        direct: int,
        partners: int,
        channels: int,
        profiles: int,
        hidden: int,
        dropout: float,
        units: int,
        general: bool,
    ):
        super().__init__()
        n_tfs, self.n_mapped, bins = sizes
        self.match = nn.Linear(2 * N_MATCHES if general else N_MATCHES, units)
        self.scale = nn.Parameter(torch.zeros(n_tfs, units))
        self.shift = nn.Parameter(torch.zeros(n_tfs, units))
        self.mix = nn.Linear(units, units)
        self.shared = nn.Parameter(torch.randn(units, 1 + direct) * (units * direct) ** -0.5)
        self.own = nn.Parameter(torch.zeros(n_tfs, units, 1 + direct))
        always = torch.zeros(1 + direct, n_tfs)
        if not general:
            always[0] = -4.0  # binding is rare
        self.always = nn.Parameter(always)
        self.project = nn.Linear(self.n_mapped, channels)
        self.profiles = nn.Parameter(_bumps(profiles, bins))
        self.head = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(profiles * channels, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, partners * n_tfs),
            nn.Unflatten(1, (partners, n_tfs)),
        )
        for start in (self.head[-2].weight, self.head[-2].bias):
            nn.init.zeros_(start)  # at the start, only a TF's own match contributes
        self.general = SharedWay(direct, hidden, partners) if general else None

    def read(self, matches: Tensor) -> Tensor:
        """Hidden layer of the map, (windows, hidden)."""
        known = matches[:, :, : self.n_mapped]
        pooled = torch.einsum("wbc,pb->wpc", gelu(self.project(known)), self.profiles)
        return self.head[:-2](pooled.flatten(1))

    def forward(self, best: Tensor, read: Tensor, keep: Tensor | None) -> Tensor:
        scale, shift, own, always = self.scale, self.shift, self.own, self.always
        if keep is not None:
            each = keep[:, None]
            scale, shift, own, always = scale * each, shift * each, own * each[:, None], always * keep
        if self.general is not None:
            always = always + self.general.constant
        seen = gelu(self.mix(gelu(self.match(best) * (1 + scale) + shift)))
        direct = torch.einsum("wtu,tuk->wkt", seen, self.shared + own) + always
        partners = self.head[-2:](read)
        if keep is not None:
            partners = partners * keep
        if self.general is not None:
            partners = partners + self.general.partners(read)[:, :, None]
        return torch.cat([direct, partners], dim=1)


class _CellTower(nn.Module):
    """Maps signal features to the cell embedding and to a signal-only logit of each TF."""

    def __init__(self, n_tfs: int, signal_bins: int, direct: int, partners: int, general: bool):
        super().__init__()
        width = PER_BIN * signal_bins + OVERALL + N_OPENNESS
        self.direct = nn.Sequential(nn.Linear(N_OPENNESS, 32), nn.GELU(), nn.Linear(32, direct))
        self.shape = nn.Sequential(nn.Linear(width, 48), nn.GELU())
        self.partners = nn.Linear(48, partners)
        self.alone = nn.Linear(48, n_tfs, bias=False)
        self.general = nn.Linear(48, 1, bias=False) if general else None

    def forward(
        self, openness: Tensor, everything: Tensor, keep: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        shape = self.shape(everything)
        one = openness.new_ones(len(openness), 1)
        alone = self.alone(shape)
        if keep is not None:
            alone = alone * keep
        if self.general is not None:
            alone = alone + self.general(shape)
        return torch.cat([one, self.direct(openness), self.partners(shape)], dim=1), alone


def _bumps(profiles: int, bins: int) -> Tensor:
    """Initial position profiles, (profiles, bins): centred Gaussians of increasing width; each row sums to 1."""
    distance = (torch.arange(bins) - (bins - 1) / 2).abs()
    widths = torch.logspace(0, 3, profiles, base=2)[:, None]
    bumps = torch.exp(-0.5 * (distance / widths) ** 2)
    return bumps / bumps.sum(dim=1, keepdim=True)
