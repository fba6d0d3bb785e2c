"""Small tensor helpers that every network shares."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, max_pool1d, pad


def one_hot(codes: Tensor) -> Tensor:
    """Base codes to channels: uint8 (..., length) to float32 (..., 4, length); N is all zero."""
    channels = torch.arange(4, dtype=torch.uint8, device=codes.device)[:, None]
    return (codes.unsqueeze(-2) == channels).float()


def reverse_complement(codes: Tensor) -> Tensor:
    """Reverse complement of base codes, uint8 (..., length); N stays N."""
    return torch.where(codes < 4, 3 - codes, codes).flip(-1)


class StrandConv(nn.Module):
    """Filters that read one-hot sequence on both strands and keep the better match, for a first layer.

    One set of weights serves both strands, so a motif is learned from its sites in either direction. No gradient is
    passed to the input, and the gradient of the weights is one matrix product: on a CPU that is several times
    faster than the general convolution with only four input channels, with the same numbers.

    Parameters
    ----------
    filters, width
        Number and (odd) width in bp of the filters.
    pool
        The best match is taken over this many bp.
    """

    def __init__(self, filters: int, width: int, pool: int):
        super().__init__()
        self.pool = pool
        self.weight = nn.Parameter(torch.empty(filters, 4, width))
        nn.init.normal_(self.weight, std=(4 * width) ** -0.5)

    def forward(self, bases: Tensor) -> Tensor:
        """Apply to float (windows, 4, length); returns (windows, filters, length / pool)."""
        both = torch.cat([self.weight, self.weight.flip(1, 2)])
        best = max_pool1d(_SequenceConv.apply(bases, both), self.pool)
        return torch.maximum(*best.chunk(2, dim=1))


class _SequenceConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx, bases, weight):
        ctx.save_for_backward(bases)
        ctx.width = weight.shape[2]
        return conv1d(bases, weight, padding=ctx.width // 2)

    @staticmethod
    def backward(ctx, gradient):
        (bases,) = ctx.saved_tensors
        width = ctx.width
        seen = pad(bases, (width // 2, width // 2)).unfold(2, width, 1).permute(0, 2, 1, 3)
        seen = seen.reshape(len(bases), bases.shape[2], -1).to(gradient.dtype)
        weight = torch.bmm(gradient, seen).sum(dim=0).view(gradient.shape[1], bases.shape[1], width)
        return None, weight.float()
