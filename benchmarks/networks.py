"""Cost of a cell and window in the two networks, side by side in one process.

    python benchmarks/networks.py [--cells 4 --windows 256 --threads 2 --dataset ... --reference ...]

Of `scbind`: `respond` given the readout of the windows, in batches of its own `pairs`. Of `scfan`, as one network of
one cell line: `respond` in every batch size and number format asked for, of which the fastest counts. `predictor` is
the same work through `Predictor.probabilities`, as the workflow calls it, with the copying around the network; `trunk`
is the readout, once per window however many cells there are. Untrained weights cost the same as trained ones.

Multiply-adds are those of convolutions and matrix products (half of the floating-point operations that
`torch.utils.flop_counter` counts). For `scfan` on 1,000 bp they must come to 0.1293 G, that is 0.2586 GFLOP, of the
published layers, and 0.0002 G of turning insertions into coverage.
"""

import numpy as np
import torch
from common import Case, facts_of, motifs_of, open_data, parse, parser, rates, ratio, show
from scbind.models import Predictor, build_network
from torch.utils.flop_counter import FlopCounterMode


def multiply_adds(call) -> float:
    """Multiply-adds of one call, in millions."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() / 2e6


@torch.inference_mode()
def respond(network, rows: list[torch.Tensor], dtype: torch.dtype) -> None:
    """One batch through a network, in float32 or with automatic casting."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype is torch.bfloat16):
        network.respond(*rows)


def main() -> None:
    """Measure and print."""
    arguments = parser(__doc__)
    arguments.add_argument("--cells", type=int, default=4)
    arguments.add_argument("--windows", type=int, default=256)
    arguments.add_argument("--depth", type=float, default=1e-3, help="insertions per base of a cell")
    arguments.add_argument("--batches", type=int, nargs="+", default=[16, 64, 256], help="tried for scfan")
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
            sizes = [network.pairs] if name == "scbind" else args.batches
            formats = [torch.float32] if name == "scbind" else [torch.float32, torch.bfloat16]
            for batch in sizes:
                pick = np.arange(batch) % args.windows, np.arange(batch) % args.cells
                rows = [readout[pick[0]], counts[pick[1], pick[0]], depth[pick[1]]]
                rows = [torch.from_numpy(np.ascontiguousarray(row)) for row in rows]
                if rows[0].is_floating_point():
                    rows[0] = rows[0].float()
                for dtype in formats:
                    label = f"{name} {str(dtype).removeprefix('torch.')} {batch}"
                    cases[label] = Case(lambda n=network, r=rows, d=dtype: respond(n, r, d), batch)
            about[name]["M multiply-adds, pair"] = (
                multiply_adds(lambda n=network, r=rows: n.respond(*r)) / batch
            )
            cases[f"{name} predictor"] = Case(
                lambda m=model, r=readout, c=counts: m.probabilities(r, c, depth), args.cells * args.windows
            )
            cases[f"{name} trunk"] = Case(lambda m=model: m.readout(codes), args.windows)
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
    cost = about["scfan"]["M multiply-adds, pair"] / about["scbind"]["M multiply-adds, pair"]
    print(f"multiply-adds per pair, scfan / scbind: {cost:,.0f}")


if __name__ == "__main__":
    main()
