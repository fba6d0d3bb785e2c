"""Run one step of the GPU benchmark; `gpu.py` starts this script for each step, with a time limit."""

import argparse
from pathlib import Path

import gpu_fast
import gpu_right
import torch
from gpu_bench import Bench
from scbind.core.devices import prediction_device


def main() -> None:
    """Run the step."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("step", "side", "data", "rows", "scratch"):
        parser.add_argument(name, type=str if name in ("step", "side") else Path)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    bench = Bench(**vars(parser.parse_args()))
    torch.set_num_threads(bench.threads)
    prediction_device(1)  # float32 without TF32, as in the rules
    where = gpu_right if hasattr(gpu_right, bench.step) else gpu_fast
    getattr(where, bench.step)(bench)


if __name__ == "__main__":
    main()
