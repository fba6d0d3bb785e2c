"""CPU or GPU, decided by what the scheduler granted."""

from __future__ import annotations

from scbind.runlog import say


def torch_device(gpus: int) -> str:
    """Return ``"cuda"`` if at least one GPU was granted and is visible, else ``"cpu"``."""
    import torch

    device = "cuda" if gpus > 0 and torch.cuda.is_available() else "cpu"
    say(f"device: {device}")
    return device
