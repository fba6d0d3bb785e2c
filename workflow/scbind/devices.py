"""CPU or GPU, decided by what the scheduler granted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from scbind.errors import InputError
from scbind.runlog import say


def torch_device(gpus: int) -> str:
    """Return ``"cuda"`` if at least one GPU was granted and is visible, else ``"cpu"``."""
    import torch

    device = "cuda" if gpus > 0 and torch.cuda.is_available() else "cpu"
    say(f"device: {device}")
    return device


@contextmanager
def enough_gpu_memory() -> Iterator[None]:
    """Raise :class:`InputError` where a GPU's memory does not suffice; also to be used as a decorator.

    There is nothing to halve in prediction: a network is given tiles of one size, since its rounding depends on it, and
    the blocks around them lie in the memory of the machine.
    """
    try:
        yield
    except (
        RuntimeError
    ) as error:  # torch.OutOfMemoryError, and CUDA's own where the device is full from the start
        if "out of memory" not in str(error):
            raise
        raise InputError(
            "device",
            "the memory of the GPU does not suffice",
            "wait until other programs leave it, grant a larger one, or run on the CPU with --resources gpu=0",
        ) from error
