"""Base codes as channels."""

from __future__ import annotations

import torch
from torch import Tensor


def one_hot(codes: Tensor) -> Tensor:
    """Base codes to channels: uint8 (..., length) to float32 (..., 4, length); N is all zero.

    Examples
    --------
    >>> one_hot(torch.tensor([0, 3, 4], dtype=torch.uint8))  # A, T, N
    tensor([[1., 0., 0.],
            [0., 0., 0.],
            [0., 0., 0.],
            [0., 1., 0.]])
    """
    channels = torch.arange(4, dtype=torch.uint8, device=codes.device)[:, None]
    return (codes.unsqueeze(-2) == channels).float()
