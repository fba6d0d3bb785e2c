"""Code that the steps of the GPU benchmark share: writing rows, measuring time, making networks.

A row holds a quantity, its value and unit and, if there is a requirement, the requirement and whether it holds.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "workflow"))

import numpy as np  # noqa: E402
import torch  # noqa: E402


@dataclass(frozen=True)
class Bench:
    """The settings and files of a step.

    ``data`` holds the folders of `gpu_prepare.py`. ``device`` is the device of this process. ``small`` selects sizes
    for a rehearsal that takes seconds on two cores. Rows go to the file ``rows``, everything else to ``scratch``.
    """

    step: str
    side: str
    data: Path
    rows: Path
    scratch: Path
    small: bool
    threads: int

    @property
    def device(self) -> str:
        """``cuda`` if this process has one."""
        return "cuda" if torch.cuda.is_available() else "cpu"

    @property
    def runs(self) -> list[Path]:
        """The collected runs."""
        return sorted(self.data.glob("run*"))

    def size(self, full: float, small: float) -> float:
        """The first size, or the second for small runs."""
        return small if self.small else full

    def row(self, what: str, value, unit: str = "", asked: str = "", held: bool | None = None) -> None:
        """Write one row at once, so that a step that is killed keeps its measurements."""
        value = float(value) if isinstance(value, int | float | np.number) else value
        found = {"step": self.step, "side": self.side, "what": what, "value": value, "unit": unit}
        found |= {"asked": asked, "held": None if held is None else bool(held)}
        with open(self.rows, "a") as handle:
            handle.write(json.dumps(found) + "\n")

    def holds(self, what: str, held: bool) -> None:
        """Write a row of a requirement that holds or not."""
        self.row(what, "yes" if held else "no", "", "yes", held)

    def at_most(self, what: str, value: float, limit: float, unit: str = "") -> None:
        """Write a row of a value with an upper limit."""
        self.row(what, value, unit, f"at most {limit:g}", value <= limit)


def sync() -> None:
    """Wait until the GPU has finished its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def rate(call: Callable[[], object], units: float, seconds: float) -> float:
    """Units per second of a call, repeated for some seconds; the first call is not counted."""
    call()
    sync()
    begin, done = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        call()
        sync()
        done += 1
    return units * done / (time.perf_counter() - begin)


@contextmanager
def busy() -> Iterator[list[float]]:
    """Fill a list with the percentage of time in which a kernel ran on the GPU (NVML by nvidia-smi)."""
    found: list[float] = []
    query = [
        "nvidia-smi",
        "--query-gpu=utilization.gpu",
        "--format=csv,noheader,nounits",
        "-lms",
        "200",
    ]
    try:
        if not torch.cuda.is_available():
            raise FileNotFoundError
        # by UUID, because nvidia-smi may number the GPUs differently
        query += ["-i", f"GPU-{torch.cuda.get_device_properties(0).uuid}"]
        process = subprocess.Popen(query, stdout=subprocess.PIPE, text=True)
    except FileNotFoundError:
        yield found
        return

    def read() -> None:
        for line in process.stdout:
            if line.strip().isdigit():
                found.append(float(line))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield found
    finally:
        process.terminate()
        reader.join(timeout=2)


def cells_in(folder: Path) -> dict[str, Path]:
    """Files of a sample, as input of `reference_profile`."""
    return {
        name: folder / f"{name}.{end}"
        for name, end in (("position", "npy"), ("cell", "npy"), ("cells", "h5ad"))
    }


def untrained_scfan(facts: dict) -> tuple[torch.nn.Module, dict]:
    """An untrained scFAN network as published, for one line."""
    from scbind.models.base import build_network

    facts = facts | {"architecture": "scfan", "cell_lines": ["one"], "assayed": [[True] * len(facts["tfs"])]}
    facts |= {"modelled": [True] * len(facts["tfs"]), "mappability": False}
    torch.manual_seed(0)
    return build_network("scfan", facts, {}), facts
