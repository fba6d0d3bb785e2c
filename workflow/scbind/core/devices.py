"""CPU or GPU, decided by what the scheduler granted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from scbind.core.errors import InputError
from scbind.core.runlog import say

Item, Result = TypeVar("Item"), TypeVar("Result")


def choose_device(gpus: int, require_gpu: bool = False) -> tuple[str, int]:
    """Decide for ``("cuda", number of GPUs)`` or ``("cpu", 1)`` by the GPUs that were granted and are visible.

    PyTorch and Lightning both take the name. The log says what was chosen, and why.
    Raises :class:`InputError` if a GPU is required and there is none.
    """
    import torch

    if gpus > 0 and torch.cuda.is_available():
        count = min(gpus, torch.cuda.device_count())
        say(f"device: CUDA, {torch.cuda.get_device_name(0)} x {count}")
        return "cuda", count
    why = "no CUDA device is visible" if gpus > 0 else "no GPU was granted (--resources gpu=0)"
    if require_gpu:
        raise InputError(
            "config", why, "run where a GPU is, or set models.*.require_gpu to false", "models.*.require_gpu"
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
    """Whether a GPU's memory did not suffice, in the words of PyTorch, CUDA or its libraries.

    PyTorch's own error is only one of them: cuBLAS and cuDNN say what they could not allocate, and a convolution that
    finds no room for any of its algorithms says that there is none.
    """
    said = str(error)
    words = "out of memory", "STATUS_ALLOC_FAILED", "unable to find an engine to execute this computation"
    return any(word in said for word in words)


@contextmanager
def enough_gpu_memory() -> Iterator[None]:
    """Raise :class:`InputError` where a GPU's memory does not suffice; also to be used as a decorator.

    There is nothing to halve in prediction: a network is given tiles of one size, since its rounding depends on it, and
    the blocks around them lie in the memory of the machine.
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
    """Yield ``function(item)`` in the order of the items, several at once: in as many threads as PyTorch may use.

    Each of them has one thread of PyTorch's, and numpy's products have one meanwhile. Small products gain nothing from
    more (two threads are slower than one for a tile of cells and windows), while tiles side by side do. At most
    :func:`in_flight` results wait or are made. The first error is raised where its result would be; what has not begun
    by then never does.
    """
    import torch
    from threadpoolctl import threadpool_limits

    threads = torch.get_num_threads()
    if threads == 1:
        yield from map(function, items)
        return
    # threads of numpy's products would wait for their next one by turning in place, on cores that are needed here
    with threadpool_limits(1, user_api="blas"):
        torch.set_num_threads(1)  # holds for the threads that start below
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
