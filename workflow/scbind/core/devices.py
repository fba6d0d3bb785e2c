"""The choice of CPU or GPU, from what the scheduler granted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from scbind.core.errors import InputError
from scbind.core.gpulocks import claim_gpus
from scbind.core.runlog import say

Item, Result = TypeVar("Item"), TypeVar("Result")


def choose_device(gpus: int, require_gpu: bool = False) -> tuple[str, int]:
    """Return ``("cuda", number of GPUs)`` or ``("cpu", 1)``, from the GPUs that were granted and are visible.

    The name is valid for PyTorch and Lightning. The log says what was chosen, and why. Of several GPUs, this process
    then sees only those that it uses (:func:`scbind.core.gpulocks.claim_gpus`).
    Raises :class:`InputError` if a GPU is required and there is none.
    """
    import torch

    claim_gpus(gpus)
    if gpus > 0 and torch.cuda.is_available():
        count = min(gpus, torch.cuda.device_count())
        say(f"device: CUDA, {torch.cuda.get_device_name(0)} x {count}")
        return "cuda", count
    why = "no CUDA device is visible" if gpus > 0 else "no GPU was granted (--resources gpu=0)"
    if require_gpu:
        raise InputError(
            "config",
            why,
            "run on a machine with a GPU, or set models.*.require_gpu to false",
            "models.*.require_gpu",
        )
    say(f"device: CPU, {torch.get_num_threads()} threads ({why})")
    return "cpu", 1


def prediction_device(gpus: int) -> str:
    """Return the name that :func:`choose_device` chooses, and make float32 exact on it.

    Convolutions of a GPU would otherwise drop 13 bits of float32 (TF32).
    """
    import torch

    torch.backends.cudnn.allow_tf32 = False
    return choose_device(gpus)[0]


def lacks_gpu_memory(error: RuntimeError) -> bool:
    """Tell whether an error of PyTorch, CUDA or its libraries means that the memory of the GPU was too small.

    PyTorch has its own error, cuBLAS and cuDNN have theirs, and a convolution without memory for any of its algorithms
    reports that no algorithm was found.
    """
    said = str(error)
    words = "out of memory", "STATUS_ALLOC_FAILED", "unable to find an engine to execute this computation"
    return any(word in said for word in words)


@contextmanager
def enough_gpu_memory() -> Iterator[None]:
    """Raise :class:`InputError` if the memory of the GPU is too small. Can be used as a decorator.

    Prediction cannot use smaller batches: the size of the tiles is fixed, because rounding depends on it, and the
    blocks around them are in the memory of the machine.
    """
    try:
        yield
    except RuntimeError as error:
        if not lacks_gpu_memory(error):
            raise
        raise InputError(
            "device",
            "the memory of the GPU does not suffice",
            "wait until other programs leave it, grant a larger one, or run on the CPU with --resources gpu=0",
        ) from error


def in_flight() -> int:
    """Return how many items :func:`in_threads` holds at a time."""
    import torch

    return 1 if torch.get_num_threads() == 1 else torch.get_num_threads() + 1


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield ``function(item)`` in the order of the items, computed in as many threads as PyTorch may use.

    Within each of them, PyTorch and the products of numpy use one thread. Small products gain nothing from more threads
    (two are slower than one for a tile of cells and windows), but several tiles at once do. At most :func:`in_flight`
    results are waiting or in progress. The first error is raised instead of its result; items that have not started by
    then are dropped.
    """
    import torch
    from threadpoolctl import threadpool_limits

    threads = torch.get_num_threads()
    if threads == 1:
        yield from map(function, items)
        return
    # idle threads of numpy would wait in a busy loop, on cores that are needed here
    with threadpool_limits(1, user_api="blas"):
        torch.set_num_threads(1)  # applies to the threads that start below
        pool, waiting = ThreadPoolExecutor(threads), deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)
