"""How the threads of a job wait for each other: variables that libraries read when they start."""

from __future__ import annotations

import os

# While threads of PyTorch and scikit-learn wait for each other, they spin for a few microseconds and then sleep. To
# spin for longer, as is the default of OpenMP, makes training many times slower if other programs run on the machine.
# Not to spin makes it half as fast on an idle one. benchmarks/threads.py measures both. libgomp reads the second
# variable.
WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}


def set_waiting() -> None:
    """Set the variables of :data:`WAITING` for the jobs that this process starts, where the user has not set them."""
    for name, value in WAITING.items():
        os.environ.setdefault(name, value)
