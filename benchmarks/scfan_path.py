"""From files to probabilities: scbind and scFAN side by side in one process.

    python benchmarks/scfan_path.py [--cells 256 --windows 1024 --threads 2 --dataset ... --reference ...]

The steps of scFAN (Fu et al. 2020, Science Advances 6:eaba9031; github.com/sperfu/scFAN, `python3_codes`) were
reimplemented from its description:

* Batches have 100 windows.
* For each window of each cell, three bigWigs (mappability, the pool of the most similar cells, the cell itself) are
  opened, read as values over 1,000 bp, and closed. NaN is set to 0.
* The signals of the pool and of the cell are added.
* The sequence is taken from one-hot chromosomes in memory.
* Eight channels, in which mappability and signal appear a second time reversed, go through the published network: three
  convolutions of 160, 240 and 240 filters of width 8, and dense layers of 919 and the number of TFs.

There are two differences. PyTorch with channels last replaces Keras. scFAN reads everything again for each of the
networks of three cell lines; here there is one network.

scbind reads the insertions of cells from memory-mapped arrays and sums them over the cells it borrows from (here the
cell itself). `Predictor.probabilities` then runs on the cached readout of the windows, in blocks of cells that share
the threads, as shards do. Both get the same windows and the same cells, which are sampled from the insertions of a
line.
"""

import tempfile
from pathlib import Path

import numpy as np
import pyBigWig
import torch
from common import Case, facts_of, motifs_of, open_data, parse, parser, rates, ratio, show, write_bigwig
from scbind.core.devices import in_threads
from scbind.formats.genome import Genome
from scbind.formats.signal import CellSignal, borrowed
from scbind.models.base import build_network
from scbind.models.predictor import Predictor
from scipy import sparse
from torch import nn

BATCH, POOLED = 100, 100  # windows per batch; cells in each pool
BLOCK = 64  # cells that scbind predicts at once, as in a shard
WRITTEN = 4  # cells with bigWigs; more would not change the rate, because scFAN reads cell by cell


def published(n_tfs: int, context: int) -> nn.Module:
    """The network of Fu et al. 2020, untrained, for input (windows, 8, 1, context)."""
    layers, channels = [], 8
    for filters, pool in ((160, 4), (240, 4), (240, 1)):
        layers += [
            nn.ZeroPad2d((3, 4, 0, 0)),
            nn.Conv2d(channels, filters, (1, 8)),
            nn.BatchNorm2d(filters),
            nn.ReLU(),
        ]
        layers += [nn.MaxPool2d((1, pool))] if pool > 1 else []
        channels = filters
    layers += [
        nn.Flatten(),
        nn.Linear(240 * (context // 16), 919),
        nn.ReLU(),
        nn.Linear(919, n_tfs),
        nn.Sigmoid(),
    ]
    return nn.Sequential(*layers).eval().to(memory_format=torch.channels_last)


def read_batch(
    onehot: dict[str, np.ndarray], windows: list[tuple[str, int, int]], files: list[str]
) -> np.ndarray:
    """Read one batch as scFAN does: float32 (windows, 1, context, 8)."""
    context = windows[0][2] - windows[0][1]
    sequence = np.zeros((len(windows), context, 4), dtype=bool)
    signal = np.zeros((len(windows), context, 3), dtype=np.float32)
    for row, (chrom, start, end) in enumerate(windows):
        sequence[row] = onehot[chrom][start:end]
        for track, path in enumerate(files):
            bigwig = pyBigWig.open(path)
            values = np.array(bigwig.values(chrom, start, end))
            bigwig.close()
            values[np.isnan(values)] = 0
            signal[row, :, track] = values
    signal[:, :, 1] += signal[:, :, 2]
    signal = signal[:, :, :2]
    return np.concatenate([sequence, signal, signal[:, ::-1]], axis=-1).astype(np.float32)[:, None]


@torch.inference_mode()
def predict(network: nn.Module, batch: np.ndarray) -> np.ndarray:
    """Probabilities (windows, TFs) of a batch."""
    return network(torch.from_numpy(batch).permute(0, 3, 1, 2)).numpy()


def write_cells(folder: Path, genome: Genome, insertions: np.ndarray, n_cells: int, per_base: float, rng):
    """Sample cells and write them for both methods; returns scFAN's three files of each cell.

    ``insertions`` are sorted global positions of a cell line. The signal of scFAN is coverage, so an insertion covers
    the 150 bp around it. A pooled track holds 100 cells.
    """
    sequenced = len(genome.codes)
    lengths = dict(list(genome.sizes.as_dict().items())[: genome.n_sequenced])
    offsets = genome.sizes.offsets

    def by_chromosome(position: np.ndarray) -> dict[str, np.ndarray]:
        edges = np.searchsorted(position, offsets[: genome.n_sequenced + 1])
        return {c: position[a:b] - o for c, a, b, o in zip(lengths, edges, edges[1:], offsets, strict=False)}

    every = {chrom: np.zeros(1, dtype=np.int64) for chrom in lengths}
    mappability = write_bigwig(folder / "mappability.bw", lengths, every, max(lengths.values()))
    inside = np.asarray(insertions[: np.searchsorted(insertions, sequenced)], dtype=np.int64)
    own, files = [], []
    for cell in range(n_cells):
        drawn = [np.sort(rng.choice(inside, int(per_base * sequenced * times))) for times in (POOLED, 1)]
        own.append(drawn[1])
        if cell >= WRITTEN:
            continue
        tracks = [
            write_bigwig(folder / f"{cell}.{kind}.bw", lengths, by_chromosome(position), 150)
            for kind, position in zip(("pooled", "own"), drawn, strict=True)
        ]
        files.append([mappability, *tracks])
    position = np.concatenate(own).astype(np.uint32)
    cell = np.repeat(np.arange(n_cells, dtype=np.uint32), [len(part) for part in own])
    order = np.argsort(position, kind="stable")
    np.save(folder / "position.npy", position[order])
    np.save(folder / "cell.npy", cell[order])
    return files


def main() -> None:
    """Measure and print."""
    arguments = parser(__doc__)
    arguments.add_argument("--cells", type=int, default=256)
    arguments.add_argument("--windows", type=int, default=1024)
    arguments.add_argument("--depth", type=float, default=1e-3, help="depth of a cell in insertions per base")
    args = parse(arguments)
    rng = np.random.default_rng(args.seed)
    with open_data(args) as data, tempfile.TemporaryDirectory() as folder:
        folder, genome, context = Path(folder), data.genome, data.manifest["context"]
        files = write_cells(folder, genome, data.insertions[0], args.cells, args.depth, rng)
        windows = np.sort(rng.choice(len(data.start), args.windows, replace=False))
        chrom, sizes = data.chrom[windows], genome.sizes
        start = data.start[windows].astype(np.int64) - (context - data.manifest["window"]) // 2

        facts = facts_of(data, lines=1)
        model = Predictor(build_network("scbind", facts, {}, motifs_of(data, args.seed)), facts, None)
        readout = model.readout(data.codes(windows))
        signal = CellSignal.open(folder / "position.npy", folder / "cell.npy", args.cells, sizes)
        borrow, depth = sparse.identity(args.cells, format="csr"), signal.density(genome.known_lengths())

        bins, blocks = context // model.bin_bp, [slice(b, b + BLOCK) for b in range(0, args.cells, BLOCK)]

        def raw() -> sparse.csr_matrix:
            return signal.counts(sizes.offsets[chrom] + start, context, model.bin_bp, dtype=np.float32)

        def count() -> list[np.ndarray]:
            every = raw()
            return list(in_threads(lambda cells: borrowed(every, borrow[cells], bins), blocks))

        def each_block(counts_of) -> None:
            for _ in in_threads(lambda c: model.probabilities(readout, counts_of(c), depth[c]), blocks):
                pass

        def respond() -> None:
            each_block(lambda cells: counts[cells])

        def both() -> None:
            every = raw()
            each_block(lambda cells: borrowed(every, borrow[cells], bins))

        used = np.unique(chrom)
        codes = {i: genome.codes[sizes.offsets[i] : sizes.offsets[i + 1]] for i in used}
        onehot = {sizes.names[i]: codes[i][:, None] == np.arange(4) for i in used}
        places = [(sizes.names[c], int(s), int(s) + context) for c, s in zip(chrom, start, strict=True)]
        places = (places * -(-BATCH // len(places)))[:BATCH]
        network, batch = published(len(data.tfs), context), read_batch(onehot, places, files[0])
        turn = iter(range(1 << 60))

        def read() -> np.ndarray:
            return read_batch(onehot, places, files[next(turn) % len(files)])

        pairs, counts = args.cells * args.windows, np.concatenate(count())
        found = rates(
            {
                "scbind, signal": Case(count, pairs),
                "scbind, network": Case(respond, pairs),
                "scbind, both": Case(both, pairs),
                "scFAN, bigWigs and sequence": Case(read, BATCH),
                "scFAN, network": Case(lambda: predict(network, batch), BATCH),
                "scFAN, both": Case(lambda: predict(network, read()), BATCH),
            },
            args.rounds,
            args.seconds,
        )
    show([{"what": name, "pairs per second": float(np.median(values))} for name, values in found.items()])
    print()
    for part in ("both", "network"):
        compared = ratio(found[f"scbind, {part}"], found[f"scFAN, {part}"])
        print(f"pairs per second, {part}, scbind / scFAN: {compared}")


if __name__ == "__main__":
    main()
