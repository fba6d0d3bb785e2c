"""Time per pair of a cell and a window, in cells with insertions in more or fewer of their windows.

    python benchmarks/emptiness.py [--seen 0.03 0.1 0.3 1 --cells 64 --windows 2048 --tfs 44 --threads 1]

Most windows of a cell have no insertion in their context. The network computes them from the depth of the cell alone.
The cases are `Predictor.probabilities` on made-up counts in which a share `--seen` of the pairs has insertions. The
weights are untrained.
"""

from __future__ import annotations

import numpy as np
from common import Case, parse, parser, rates, show
from scbind.models.base import build_network
from scbind.models.predictor import Predictor

INSERTIONS = 2  # mean number in a context that has some
DEPTH = 1.3e-5  # insertions per base: 20,000 fragments in a human genome


def main() -> None:
    """Measure and print."""
    arguments = parser(__doc__)
    arguments.set_defaults(tfs=44, threads=1, rounds=5)
    arguments.add_argument("--seen", type=float, nargs="+", default=[0.03, 0.1, 0.3, 1])
    arguments.add_argument("--cells", type=int, default=64)
    arguments.add_argument("--windows", type=int, default=2048)
    args = parse(arguments)
    rng = np.random.default_rng(args.seed)
    tfs = [f"TF{number}" for number in range(args.tfs)]
    facts = {
        "tfs": tfs, "modelled": [True] * len(tfs), "window": 200, "context": 1000, "deepest": 0.02,
        "cell_lines": ["A"], "assayed": [[True] * len(tfs)], "bound_train": dict.fromkeys(tfs, 100),
    }  # fmt: skip
    model = Predictor(build_network("scbind", facts, {}), facts, None)
    readout = model.readout(rng.integers(0, 4, (args.windows, model.context), dtype=np.uint8))
    depth, bins = np.full(args.cells, DEPTH, np.float32), model.context // model.bin_bp
    pairs = args.cells * args.windows
    cases = {}
    for share in args.seen:
        seen = rng.random((args.cells, args.windows, 1)) < share
        counts = rng.poisson(INSERTIONS / bins, (args.cells, args.windows, bins)) + (np.arange(bins) == 0)
        signal = (counts * seen).astype(np.float32)
        cases[f"{share:.0%}"] = Case(lambda s=signal: model.probabilities(readout, s, depth), pairs)
    found = rates(cases, args.rounds, args.seconds)
    show([{"pairs with insertions": name, "us per pair": 1e6 / np.median(v)} for name, v in found.items()])


if __name__ == "__main__":
    main()
