"""Small tensor helpers that every network shares."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

# Block size: scores (of a matrix at a position) on a CPU, so that they fit the cache; windows on a GPU.
SCORES_AT_ONCE, WINDOWS_AT_ONCE_CUDA = 1 << 21, 256
RATE = 0.2  # learning-rate multiplier for motif matrices, relative to the other weights


class MotifScan(nn.Module):
    """Best matches of motif matrices on both strands. Training starts from the known matrices and changes them.

    Scores are scaled so that the best possible match of the known matrix scores 1. Scores below 0 count as 0. The
    learned change is a separate parameter, so weight decay pulls a matrix back to the known one instead of to zero.

    Parameters
    ----------
    matrices
        Log-odds, (4, length) each. ``None`` for a TF without a known matrix: its matrix starts at random.
    width
        Length of every matrix in bp, flanks included. A longer known matrix is cut to its most informative part.
    bin_bp
        Width of the bins in bp. The scan keeps the best match of each bin.
    released
        Log-odds, (4, length) each, that the TFs would have without ChIP-seq (``None``: those in ``matrices``). Without
        the argument, no TF is predicted so.
    """

    def __init__(
        self,
        matrices: list[np.ndarray | None],
        width: int,
        bin_bp: int,
        released: list[np.ndarray | None] | None = None,
    ):
        super().__init__()
        self.bin_bp = bin_bp
        known = self._placed(matrices, width)
        self.register_buffer("known", known)
        if released is not None:
            lacking = torch.tensor([matrix is None for matrix in released])[:, None, None]
            self.register_buffer("released", torch.where(lacking, known, self._placed(released, width)))
        self.learned = nn.Parameter(torch.zeros_like(known))

    @staticmethod
    def _placed(matrices: list[np.ndarray | None], width: int) -> Tensor:
        """Scaled matrices in the middle of ``width`` positions: float32 (matrices, 4, width)."""
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
        return known

    def forward(self, bases: Tensor, keep: Tensor | None = None) -> Tensor:
        """Best match of each matrix in each bin: one-hot (windows, 4, length) to (windows, matrices, length / bin).

        ``keep``, float32 (matrices,), is 1 for matrices as learned, and 0 for those that a TF would have without
        ChIP-seq (``None``: all as learned). It needs ``released``.
        """
        bank = self.known + RATE * self.learned
        if keep is not None:
            bank = torch.lerp(self.released, bank, keep[:, None, None])
        return _BestMatch.apply(bases, bank, self.bin_bp).clamp_min(0)


class _BestMatch(torch.autograd.Function):
    """Score both strands of every matrix in ``bank`` at every position; keep the maximum over strands and bins.

    Only the best match of a bin has a gradient. The gradient of the bank is therefore the product of the bases at the
    best matches with the incoming gradient, which is far cheaper than the gradient of a full convolution. The bases get
    no gradient.
    """

    @staticmethod
    def forward(ctx, bases, bank, bin_bp):
        n, _, length = bases.shape
        matrices, _, width = bank.shape
        padded = pad(bases, (width // 2, (width - 1) // 2)).transpose(1, 2).contiguous()
        strands = torch.cat([bank, bank.flip(1, 2)]).permute(2, 1, 0).reshape(4 * width, 2 * matrices)
        found, fitting = [], max(1, SCORES_AT_ONCE // (2 * matrices * length))
        # A matrix product over all positions is nearly twice as fast as conv1d on a CPU; its blocks stay in cache.
        for part in padded.split(WINDOWS_AT_ONCE_CUDA if padded.is_cuda else fitting):
            scores = _places(part, width) @ strands
            scores = scores.view(len(part), length // bin_bp, bin_bp, 2 * matrices)
            found.append(scores.max(dim=2) if bank.requires_grad else (scores.amax(dim=2),))
        best, *place = (torch.cat(parts).transpose(1, 2) for parts in zip(*found, strict=True))
        forward, reverse = best.chunk(2, dim=1)
        if not place:
            return torch.maximum(forward, reverse)
        on_reverse = reverse > forward
        place = torch.where(on_reverse, *place[0].chunk(2, dim=1)[::-1])
        place = place + torch.arange(0, length, bin_bp, device=place.device)
        ctx.save_for_backward(padded, place, on_reverse)
        ctx.width = width
        return torch.where(on_reverse, reverse, forward)

    @staticmethod
    def backward(ctx, gradient):
        padded, place, on_reverse = ctx.saved_tensors
        place, on_reverse, gradient = (of.transpose(0, 1) for of in (place, on_reverse, gradient))
        matrices, n, bins = place.shape
        seen = _places(padded, ctx.width)
        there = seen[torch.arange(n, device=place.device)[:, None], place]
        strands = torch.stack([gradient * ~on_reverse, gradient * on_reverse], dim=1).to(there.dtype)
        # matrices first: one batched product for all of them
        product = torch.bmm(strands.reshape(matrices, 2, -1), there.reshape(matrices, n * bins, -1))
        forward, reverse = product.view(matrices, 2, ctx.width, 4).transpose(2, 3).unbind(1)
        return None, forward + reverse.flip(1, 2), None


def _places(padded: Tensor, width: int) -> Tensor:
    """The bases under a matrix at each position, as a view.

    Contiguous (windows, length, 4) to (windows, length - width + 1, 4 * width).
    """
    windows, length, _ = padded.shape
    strides = padded.stride(0), 4, 1
    return padded.as_strided((windows, length - width + 1, 4 * width), strides, padded.storage_offset())
