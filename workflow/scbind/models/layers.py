"""Small tensor helpers that every network shares."""

from __future__ import annotations

import numpy as np
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


RATE = 0.2  # steps of the matrices against those of other weights; what is known should change slowly


class MotifScan(nn.Module):
    """Best matches of matrices on both strands; the matrices start from what is known and are learned on.

    A match is scaled so that the best possible one of the known matrix is 1; matches below 0 count as 0. What is
    learned is kept apart from what is known, so that weight decay pulls back to the known matrix and not to nothing.

    Parameters
    ----------
    matrices
        Log-odds (4, length) each, or ``None`` where nothing is known: such a row starts at random.
    width, bin_bp
        Length in bp of a matrix, flanks included, of which a longer one keeps its most informative part; the best
        match is taken over each bin.
    """

    def __init__(self, matrices: list[np.ndarray | None], width: int, bin_bp: int):
        super().__init__()
        self.bin_bp = bin_bp
        known = torch.zeros(len(matrices), 4, width)
        for row, matrix in enumerate(matrices):
            if matrix is None:
                known[row].normal_(std=(4 * width) ** -0.5)
                continue
            if matrix.shape[1] > width:
                information = np.maximum(matrix, 0).sum(axis=0)
                begin = int(np.argmax(np.convolve(information, np.ones(width), "valid")))
                matrix = matrix[:, begin : begin + width]
            left = (width - matrix.shape[1]) // 2
            scaled = torch.from_numpy(np.ascontiguousarray(matrix)) / float(matrix.max(axis=0).sum())
            known[row, :, left : left + matrix.shape[1]] = scaled
        self.register_buffer("known", known)
        self.learned = nn.Parameter(torch.zeros_like(known))

    def forward(self, bases: Tensor) -> Tensor:
        """One-hot (windows, 4, length) to matches (windows, matrices, length / bin)."""
        return _BestMatch.apply(bases, self.known + RATE * self.learned, self.bin_bp).clamp_min(0)


class _BestMatch(torch.autograd.Function):
    """Convolution with both strands of ``bank`` and its maximum over strands and bins.

    Only the best match of a bin has a gradient, so the gradient of the bank is a product of the bases there with
    what comes back: far cheaper than that of the whole convolution. None is passed to the bases.
    """

    @staticmethod
    def forward(ctx, bases, bank, bin_bp):
        width = bank.shape[2]
        padded = pad(bases, (width // 2, (width - 1) // 2))
        scores = conv1d(padded, torch.cat([bank, bank.flip(1, 2)]))
        if not bank.requires_grad:
            return torch.maximum(*max_pool1d(scores, bin_bp).chunk(2, dim=1))
        best, place = max_pool1d(scores, bin_bp, return_indices=True)
        forward, reverse = best.chunk(2, dim=1)
        on_reverse = reverse > forward
        ctx.save_for_backward(padded, torch.where(on_reverse, *place.chunk(2, dim=1)[::-1]), on_reverse)
        ctx.width = width
        return torch.where(on_reverse, reverse, forward)

    @staticmethod
    def backward(ctx, gradient):
        padded, place, on_reverse = ctx.saved_tensors
        place, on_reverse, gradient = (of.transpose(0, 1) for of in (place, on_reverse, gradient))
        matrices, n, bins = place.shape
        seen = padded.unfold(2, ctx.width, 1).permute(0, 2, 1, 3)  # (windows, places, 4, width), a view
        there = seen[
            torch.arange(n, device=place.device)[:, None], place
        ]  # matrices first: one product for all
        strands = torch.stack([gradient * ~on_reverse, gradient * on_reverse], dim=1).to(there.dtype)
        product = torch.bmm(strands.reshape(matrices, 2, -1), there.reshape(matrices, n * bins, -1))
        forward, reverse = product.view(matrices, 2, 4, ctx.width).unbind(1)
        return None, forward + reverse.flip(1, 2), None
