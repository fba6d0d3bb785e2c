"""Cost per cell and window of the two networks, side by side in one process.

    PYTHONPATH=workflow .venv/bin/python benchmarks/networks.py [threads]

Prints, for each network, parameters, pairs of cell and window per second given the cached sequence readout, and
windows per second of the readout; and the ratio of the pair rates. Rates are medians of several rounds in turn, so
that a busy machine slows both alike. Untrained weights cost the same as trained ones.
"""

import statistics
import sys
import time

import numpy as np
import torch
from scbind.models import Predictor, build_network

FACTS = {
    "tfs": [f"TF{i}" for i in range(40)],
    "modelled": [True] * 40,
    "cell_lines": ["line"],
    "assayed": [[True] * 40],
    "context": 1000,
    "window": 200,
}
CELLS, WINDOWS, ROUNDS = 16, 64, 5


def seconds(call) -> float:
    """Wall-clock seconds of one call."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def main(threads: int) -> None:
    """Measure and print."""
    torch.set_num_threads(threads)
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (WINDOWS, 1000)).astype(np.uint8)
    depth = np.full(CELLS, 0.01, np.float32)
    runs = {}
    for name in ("scbind", "scfan"):
        model = Predictor(build_network(name, FACTS, {}), FACTS, None)
        readout = model.readout(codes)
        counts = rng.poisson(0.01 * model.bin_bp, (CELLS, WINDOWS, 1000 // model.bin_bp)).astype(np.float32)
        runs[name] = {
            "parameters": sum(p.numel() for p in model.network.parameters()),
            "readout": lambda m=model: m.readout(codes),
            "pairs": lambda m=model, r=readout, c=counts: m.probabilities(r, c, depth),
        }
        runs[name]["pairs"]()  # the first call allocates
    times = {(name, what): [] for name in runs for what in ("readout", "pairs")}
    for _ in range(ROUNDS):
        for (name, what), spent in times.items():
            spent.append(seconds(runs[name][what]))
    rate = {
        key: (CELLS * WINDOWS if key[1] == "pairs" else WINDOWS) / statistics.median(spent)
        for key, spent in times.items()
    }
    print("network\tparameters\tpairs_per_s\treadout_windows_per_s")
    for name, run in runs.items():
        print(f"{name}\t{run['parameters']}\t{rate[name, 'pairs']:.0f}\t{rate[name, 'readout']:.0f}")
    print(f"ratio of pairs per second: {rate['scbind', 'pairs'] / rate['scfan', 'pairs']:.0f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
