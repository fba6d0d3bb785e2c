"""The published scFAN network (Fu et al. 2020, Science Advances, Methods and Fig. 1), for comparison."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scbind.formats.genome import FULL
from scbind.formats.onehot import one_hot
from scbind.models.base import BindingNetwork

# Bases on either side of an insertion that count as covered, so that the signal resembles fragment coverage
HALF_READ = 75
PLANES = 8  # channels of the input: four bases, mappability and coverage, and the latter two reversed


class ScfanNetwork(BindingNetwork):
    """One convolutional network per cell line, which reads sequence and coverage together.

    There are eight channels: sequence (4), mappability, coverage, and the last two reversed. Mappability is 1
    everywhere if the genome has none. Coverage is scaled to a mean of 1 per base. For a new cell type or line, the
    prediction for a TF is the mean probability over the training lines in which the TF was assayed.

    Parameters
    ----------
    facts
        Result of :func:`scbind.models.training.data_facts`.
    motifs
        Not used.
    l2, l1
        Strength of the L2 penalty on convolutions and of the L1 penalty on dense layers.
    """

    bin_bp = 1
    reads_mappability = True
    pairs = 64  # the activations are large; those of more rows do not fit into the processor's caches

    def __init__(self, facts: dict, motifs=None, l2: float = 5e-7, l1: float = 1e-8):
        super().__init__()
        self.l1, self.l2 = l1, l2
        # a line without training windows needs no network
        self.lines = nn.ModuleDict(
            {
                str(row): _single(len(facts["tfs"]), facts["context"])
                for row, assayed in enumerate(facts["assayed"])
                if any(assayed)
            }
        )
        self.register_buffer("assayed", torch.tensor(facts["assayed"], dtype=torch.bool), persistent=False)

    def trunk(self, codes: Tensor, mappability: Tensor | None = None) -> Tensor:
        """Stack the base codes and, if given, the mappability: uint8 (windows, 1 or 2, context).

        Nothing can be computed from the sequence alone, because the first layer already mixes sequence and signal.
        """
        return torch.stack([codes] if mappability is None else [codes, mappability], dim=1)

    def respond(self, readout: Tensor, counts: Tensor, depth: Tensor, line: Tensor | None = None) -> Tensor:
        """Logits (batch, TFs); see :class:`BindingNetwork`."""
        box = counts.new_ones(1, 1, 2 * HALF_READ + 1)
        coverage = nn.functional.conv1d(counts[:, None], box, padding=HALF_READ)
        coverage = coverage / (depth.clamp_min(1e-9) * box.numel())[:, None, None]
        codes, known = readout[:, 0], readout[:, 1:]
        mappable = known / FULL if known.shape[1] else torch.ones_like(coverage)
        planes = torch.cat(
            [one_hot(codes), mappable, coverage, mappable.flip(-1), coverage.flip(-1)], dim=1
        ).unsqueeze(2)
        # convolutions of images of height 1 with channels last run about 1.5x faster on a CPU than 1-d ones
        planes = planes.contiguous(memory_format=torch.channels_last)
        if line is None:
            return self._unseen(planes)
        logits = planes.new_zeros(len(planes), self.assayed.shape[1])
        for index in line.unique().tolist():
            rows = line == index
            network = self.lines[str(index)] if str(index) in self.lines else self._unseen
            logits[rows] = network(planes[rows]).to(logits.dtype)
        return logits

    def _unseen(self, planes: Tensor) -> Tensor:
        trained = [int(row) for row in self.lines]
        total = sum(torch.sigmoid(self.lines[str(row)](planes)) * self.assayed[row] for row in trained)
        mean = total / self.assayed[trained].sum(dim=0).clamp_min(1)
        return torch.logit(mean.clamp(1e-7, 1 - 1e-7))

    def penalty(self) -> Tensor:
        """Regularisation as published: L2 on convolutions (5e-7) and L1 on dense layers (1e-8)."""
        total = torch.zeros((), device=self.assayed.device)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                total = total + self.l2 * module.weight.square().sum()
            elif isinstance(module, nn.Linear):
                total = total + self.l1 * module.weight.abs().sum()
        return total


class _FirstLayer(nn.Conv2d):
    """A convolution that uses float32 on a CPU, also where other layers use bfloat16.

    With bfloat16, 8 channels and a width of 8, oneDNN (of torch 2.13) gives wrong results on processors with AMX.
    """

    def forward(self, planes: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return super().forward(planes.float())


def _single(n_tfs: int, context: int) -> nn.Module:
    def block(channels_in: int, channels: int, pool: int, dropout: float) -> list[nn.Module]:
        layers = [
            nn.ZeroPad2d((3, 4, 0, 0)),
            (_FirstLayer if channels_in == PLANES else nn.Conv2d)(channels_in, channels, (1, 8)),
            nn.BatchNorm2d(channels, eps=1e-3),
            nn.ReLU(),
        ]
        return layers + ([nn.MaxPool2d((1, pool))] if pool > 1 else []) + [nn.Dropout(dropout)]

    network = nn.Sequential(
        *block(PLANES, 160, 4, 0.2),
        *block(160, 240, 4, 0.2),
        *block(240, 240, 1, 0.5),
        nn.Flatten(),
        nn.Linear(240 * (context // 16), 919),
        nn.ReLU(),
        nn.Linear(919, n_tfs),
    )
    for layer in network:  # the initial weights of Keras, as in the published code
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return network.to(memory_format=torch.channels_last)
