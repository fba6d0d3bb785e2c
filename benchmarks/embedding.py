"""Time and memory of embedding and neighbours, for growing numbers of cells.

    python benchmarks/embedding.py [--cells 1000 3000 10000 --fragments 2000 --tiles 100000 --seed 0]

For each number of cells, the script makes a sample from the seed, with five kinds of cells. Each kind has its own share
of the tiles. The script writes the open tiles to a file, embeds the cells, and finds the neighbours of each cell. Every
size runs in its own process, one after the other, so that its peak memory is its own. The exponent is the slope of log
time on log cells between the two largest sizes. These should be large enough that the start-up time does not matter.
"""

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from scbind.cells.lsi import TileMatrix, Tiling, spectral  # noqa: E402
from scbind.cells.neighbours import borrow  # noqa: E402
from scbind.formats.genome import ChromSizes  # noqa: E402
from scbind.formats.signal import CellSignal  # noqa: E402

WIDTH, KINDS, COMPONENTS, NEIGHBOURS = 500, 5, 30, 30


def make(folder: Path, n_cells: int, fragments: int, tiles: int, seed: int) -> CellSignal:
    """Write a sample tile by tile, so that it need not fit into memory; half of the insertions depend on the kind."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, KINDS, n_cells)
    of_kind = [np.flatnonzero(kind == k) for k in range(KINDS)]
    sizes = ChromSizes(("chr1",), np.array([tiles * WIDTH]))
    per_tile = 2 * fragments * n_cells / tiles
    paths = [folder / f"{name}.raw" for name in ("position", "cell")]
    with open(paths[0], "wb") as position, open(paths[1], "wb") as cell:
        for tile in range(tiles):
            everyone = rng.integers(0, n_cells, rng.poisson(per_tile / 2))
            among = of_kind[tile % KINDS]
            own = among[rng.integers(0, len(among), rng.poisson(per_tile / 2))]
            cells = np.concatenate([everyone, own]).astype(np.uint32)
            where = np.sort(rng.integers(0, WIDTH, len(cells))) + tile * WIDTH
            position.write(where.astype(np.uint32).tobytes())
            cell.write(cells.tobytes())
    arrays = [np.memmap(path, dtype=np.uint32, mode="r") for path in paths]
    return CellSignal(*arrays, n_cells, sizes)


def measure(n_cells: int, fragments: int, tiles: int, seed: int, queue) -> None:
    """Measure one size; put a row of the table into the queue."""
    with tempfile.TemporaryDirectory() as folder:
        signal = make(Path(folder), n_cells, fragments, tiles, seed)
        tiling, times = Tiling(signal.sizes, WIDTH), [time.process_time()]
        nothing = np.zeros(tiling.first[-1], dtype=bool)
        rows = [np.arange(n_cells)]
        matrix = TileMatrix.write(Path(folder) / "rows", [signal], rows, tiling, nothing, 5, tiles)
        times.append(time.process_time())
        points = spectral(matrix, COMPONENTS, seed)
        times.append(time.process_time())
        borrow(points, np.full(n_cells, fragments), 10 * fragments, NEIGHBOURS, "distance")
        times.append(time.process_time())
        found = dict(zip(("tiles s", "embedding s", "neighbours s"), np.diff(times).tolist(), strict=True))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        queue.put({"cells": n_cells, "open tiles": int(matrix.start[-1]), **found, "peak GiB": peak})


def main() -> None:
    """Measure and print."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--cells", type=int, nargs="+", default=[1000, 3000, 10_000])
    made.add_argument("--fragments", type=int, default=2000, help="fragments per cell")
    made.add_argument("--tiles", type=int, default=100_000)
    made.add_argument("--seed", type=int, default=0)
    args = made.parse_args()
    context, rows = multiprocessing.get_context("spawn"), []
    for n_cells in args.cells:
        queue = context.Queue()
        process = context.Process(
            target=measure, args=(n_cells, args.fragments, args.tiles, args.seed, queue)
        )
        process.start()
        process.join()
        if process.exitcode:
            sys.exit(f"the measurement of {n_cells} cells failed")
        rows.append(queue.get())
    print("| " + " | ".join(rows[0]) + " |")
    print("|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(f"{v:,.3g}" if isinstance(v, float) else str(v) for v in row.values()) + " |")
    if len(rows) > 1:
        growth = np.log(rows[-1]["cells"] / rows[-2]["cells"])
        print()
        for part in ("tiles s", "embedding s", "neighbours s"):
            print(f"exponent of {part[:-2]}: {np.log(rows[-1][part] / rows[-2][part]) / growth:.2f}")


if __name__ == "__main__":
    main()
