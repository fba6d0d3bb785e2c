"""Training: compare the rate at which batches are prepared with the rate at which they are trained on.

    python benchmarks/training.py [--batch-size 32 --threads 2 --dataset ... --reference ...]

`delivered` only reads batches of `TrainingBatches` in this process, like a loader without workers. `trained` is forward
pass, loss, backward pass, gradient clipping and update on batches that are already in memory. If the ratio of the two
is above 1, one worker process is enough to supply the network. Both networks use the sampling and the optimiser of the
workflow. The script also prints windows per second.
"""

import warnings

import numpy as np
import torch
from common import Case, facts_of, motifs_of, open_data, parse, parser, rates, ratio, show
from scbind.models.batches import Pools, Sampling, TrainingBatches
from scbind.models.lightning import BindingModule
from scbind.models.training import SAMPLING

HELD = 8  # batches kept in memory for the training step


def make_step(module: BindingModule, batches: list[dict]):
    """A function that trains on the next batch, in an endless cycle."""
    made = module.configure_optimizers()
    optimiser = made["optimizer"] if isinstance(made, dict) else made
    parameters, turn = list(module.parameters()), iter(range(1 << 60))
    module.train()

    def step() -> None:
        optimiser.zero_grad()
        module.training_step(batches[next(turn) % len(batches)], 0).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()

    return step


def prepare(name: str, data, size: int, seed: int):
    """The batches of ``size`` windows of a network, the number of whole ones, and a function that trains on one."""
    warnings.filterwarnings("ignore", ".*self.trainer.*")  # the module runs without a trainer
    steps = 1_000_000 if name == "scbind" else None
    module = BindingModule(name, {}, facts_of(data), motifs_of(data, seed), seed, 1e-3, 0.01, steps)
    sampling = Sampling(**SAMPLING[name])
    batches = TrainingBatches(data, Pools.of(data), sampling, module.network.bin_bp, size, seed, 0)
    whole = len(batches.examples) // size
    if not whole:
        raise SystemExit("the dataset has too few training windows for a batch; lower --batch-size")
    return batches, whole, make_step(module, [batches[number] for number in range(min(HELD, whole))])


def main() -> None:
    """Measure and print."""
    arguments = parser(__doc__)
    arguments.add_argument("--batch-size", type=int, default=32)
    args = parse(arguments)
    cases, rows = {}, []
    with open_data(args) as data:
        for name in ("scbind", "scfan"):
            batches, whole, step = prepare(name, data, args.batch_size, args.seed)
            turn = iter(range(1 << 60))
            cases[f"{name} delivered"] = Case(lambda b=batches, t=turn, n=whole: b[next(t) % n])
            cases[f"{name} trained"] = Case(step)
        found = rates(cases, args.rounds, args.seconds)
    for name in ("scbind", "scfan"):
        delivered, trained = found[f"{name} delivered"], found[f"{name} trained"]
        rows.append(
            {
                "network": name,
                "batches/s delivered": float(np.median(delivered)),
                "batches/s trained": float(np.median(trained)),
                "delivered / trained": ratio(delivered, trained),
                "windows/s trained": float(np.median(trained)) * args.batch_size,
            }
        )
    show(rows)
    speed = ratio(found["scbind trained"], found["scfan trained"])
    print(f"\nwindows per second trained, scbind / scfan: {speed}")


if __name__ == "__main__":
    main()
