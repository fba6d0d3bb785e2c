"""Cost per cell and window of the two networks, measured side by side in one process.

    python benchmarks/networks.py [--cells 64 --windows 64 --threads 2 --dataset ... --reference ...]

Each network runs in float32 and with automatic casting to bfloat16; the fastest case counts.

* `scbind`: `respond_grid` on the readout of the windows, in tiles of the network's own size.
* `scfan`: `respond` of the network of one cell line, in each of the `--batches` sizes.
* `predictor`: the same work through `Predictor.probabilities`, as the workflow calls it, including the copies of data.
* `trunk`: the sequence readout, computed once per window for all cells.
* `matmul`: the rate of the machine, measured with a product of two 2,048 x 2,048 matrices on the same threads. The
  rates of the networks are given as a fraction of it.

The cost does not depend on training, so the weights are untrained.

Multiply-adds are those of convolutions and matrix products: half of the floating-point operations that
`torch.utils.flop_counter` counts. For `scfan` on 1,000 bp they must be 0.1293 G (0.2586 GFLOP) for the published layers
and 0.0002 G for the conversion of insertions to coverage.
"""

import numpy as np
import torch
from common import Case, facts_of, motifs_of, open_data, parse, parser, rates, ratio, show
from scbind.models.base import build_network
from scbind.models.predictor import Predictor
from torch.utils.flop_counter import FlopCounterMode


def multiply_adds(call) -> float:
    """Multiply-adds of one call, in millions."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() / 2e6


@torch.inference_mode()
def run(call, rows: list[torch.Tensor], dtype: torch.dtype) -> None:
    """Run one batch through a network, in float32 or with automatic casting."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype is torch.bfloat16):
        call(*rows)


def main() -> None:
    """Measure and print."""
    arguments = parser(__doc__)
    arguments.add_argument("--cells", type=int, default=64)
    arguments.add_argument("--windows", type=int, default=64)
    arguments.add_argument("--depth", type=float, default=1e-3, help="depth of a cell in insertions per base")
    arguments.add_argument(
        "--batches", type=int, nargs="+", default=[16, 64, 256], help="batch sizes for scfan"
    )
    args = parse(arguments)
    rng = np.random.default_rng(args.seed)
    cases, about = {}, {}
    with open_data(args) as data:
        facts = facts_of(data, lines=1)
        windows = np.sort(rng.choice(len(data.start), args.windows, replace=False))
        codes, depth = data.codes(windows), np.full(args.cells, args.depth, np.float32)
        share = args.depth / np.maximum(data.window_depth(0, windows), 1e-9)[:, None]
        for name in ("scbind", "scfan"):
            network = build_network(name, facts, {}, motifs_of(data, args.seed))
            model = Predictor(network, facts, None)
            expected = data.counts(0, windows, model.bin_bp) * share
            counts = rng.poisson(expected, (args.cells, *expected.shape)).astype(np.float32)
            readout = model.readout(codes)
            about[name] = {
                "network": name,
                "parameters": f"{sum(p.numel() for p in network.parameters()):,}",
                "M multiply-adds, trunk": multiply_adds(lambda n=network: n.readout(torch.from_numpy(codes)))
                / args.windows,
            }
            batches = []
            if name == "scbind":
                w, c = (
                    np.arange(n) % of for n, of in zip(network.tile, (args.windows, args.cells), strict=True)
                )
                pairs = network.tile[0] * network.tile[1]
                batches.append((network.respond_grid, pairs, readout[w], counts[c][:, w], depth[c]))
            for batch in args.batches if name == "scfan" else ():
                w, c = np.arange(batch) % args.windows, np.arange(batch) % args.cells
                batches.append((network.respond, batch, readout[w], counts[c, w], depth[c]))
            for call, pairs, asked, signal, depths in batches:
                signal = signal.transpose(1, 0, 2) if signal.ndim == 3 else signal
                rows = [torch.from_numpy(np.ascontiguousarray(row)) for row in (asked, signal, depths)]
                rows[0] = rows[0].float() if rows[0].is_floating_point() else rows[0]
                for dtype in (torch.float32, torch.bfloat16):
                    label = f"{name} {str(dtype).removeprefix('torch.')} {pairs}"
                    cases[label] = Case(lambda f=call, r=rows, d=dtype: run(f, r, d), pairs)
            about[name]["M multiply-adds, pair"] = multiply_adds(lambda f=call, r=rows: f(*r)) / pairs
            cases[f"{name} predictor"] = Case(
                lambda m=model, r=readout, c=counts: m.probabilities(r, c, depth), args.cells * args.windows
            )
            cases[f"{name} trunk"] = Case(lambda m=model: m.readout(codes), args.windows)
        for dtype in (torch.float32, torch.bfloat16):
            square = torch.randn(2048, 2048).to(dtype)
            cases[f"matmul {str(dtype).removeprefix('torch.')}"] = Case(lambda s=square: s @ s, 2048**3 / 1e6)
        found = rates(cases, args.rounds, args.seconds)

    show(list(about.values()))
    print()
    show([{"what": name, "per second": float(np.median(values))} for name, values in found.items()])
    best = {}
    for name in about:
        own = [
            label
            for label in found
            if label.startswith(name) and label.split()[1] not in ("predictor", "trunk")
        ]
        best[name] = max(own, key=lambda label: np.median(found[label]))
    print()
    print(f"pairs per second, {best['scbind']} / {best['scfan']}: ", end="")
    print(ratio(found[best["scbind"]], found[best["scfan"]]))
    print(
        f"pairs per second through the predictor: {ratio(found['scbind predictor'], found['scfan predictor'])}"
    )
    for name in about:
        machine = found[f"matmul {best[name].split()[1]}"]
        share = found[best[name]] * about[name]["M multiply-adds, pair"] / machine
        print(f"share of the machine's matrix-product rate, {best[name]}: {np.median(share):.1%}")
    cost = about["scfan"]["M multiply-adds, pair"] / about["scbind"]["M multiply-adds, pair"]
    print(f"multiply-adds per pair, scfan / scbind: {cost:,.0f}")


if __name__ == "__main__":
    main()
