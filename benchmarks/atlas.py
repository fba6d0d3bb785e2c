"""Make a simulated atlas of any size: the inputs of the single-cell half of the workflow, without any training.

    python benchmarks/atlas.py FOLDER [--cells 10000 --windows 50000 --fragments 5000 --samples 1 ...]

The script writes:

* `reference/atlas/`: a genome, as `prepare_reference` makes it.
* `elements.bed`: the accessible elements.
* `{sample}/fragments.tsv.gz` (10x columns, bgzipped, sorted by chromosome and start) and
  `{sample}/elements.narrowPeak`, for each sample.
* `cells.tsv`: barcode, sample and type of each cell.
* `model/`: the weights of an untrained network with `--tfs` TFs, and a calibration. The calibration makes as many
  probabilities reach the floor as in a real run.
* `atlas.json`: the arguments.

The genome is random sequence with one element about every 2.5 kb, so it grows with the number of windows. Half of the
elements are open in all types, the others in one type. The cost of data depends on their size and on how much of the
genome they cover, not on their content. Fragments are drawn for one stretch of the genome at a time, so memory holds
about a million of them at any size. Besides cells there are barcodes with a few fragments, as in any real file. The
same arguments give the same bytes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from scbind.core.files import atomic, file_sha256  # noqa: E402

CHROMOSOMES = 20
SPACING = 2_500  # bp between neighbouring elements
JITTER = 400  # maximum offset of an element from its regular position, in bp
WIDTH = 500  # width of an element in bp, as of a consensus peak
PER_ELEMENT = 2.3  # 200-bp windows on a 200-bp grid that a 500-bp element covers by more than half: 2 or 3
# fraction, mean and sd (bp) of the length, for each class of fragments
SIZES = ((0.55, 62, 18), (0.33, 195, 22), (0.12, 385, 30))
SHORTEST, LONGEST = 28, 1_023  # limits of the fragment length in bp; a length is packed into ten bits
SPREAD = 85  # sd in bp of the distance of a cut from the centre of an open element
IN_ELEMENTS = 0.42  # fraction of fragments in elements
DEPTH_SD = 0.45  # sd of the log number of fragments per cell
EMPTY = 5, 20  # number of barcodes without a cell, per cell, and of fragments of each
DUPLICATES = 0.35  # mean number of duplicates per fragment
AT_ONCE = 1 << 20  # fragments drawn and sorted together
TABLE = 64  # entries per barcode in the table from which cells are drawn


@dataclass(frozen=True)
class Shape:
    """Size of an atlas; ``above`` is the fraction of probabilities that reach ``floor``."""

    cells: int = 10_000  # in all samples together
    windows: int = 50_000  # minimum number of windows on the elements
    fragments: int = 5_000  # median per cell
    samples: int = 1
    types: int = 8
    tfs: int = 40
    members: int = 3
    floor: float = 0.1  # the workflow's default
    above: float = 0.18  # as in the demo; 0.16 on real cells
    level: int = 1  # level of compression; bgzip uses 6
    seed: int = 0

    @property
    def per_chromosome(self) -> int:
        """Number of elements on each chromosome."""
        return -(-int(self.windows / PER_ELEMENT) // CHROMOSOMES)

    @property
    def length(self) -> int:
        """Length of each chromosome in bp."""
        return self.per_chromosome * SPACING

    @property
    def names(self) -> list[str]:
        """Names of the samples."""
        return [f"s{number + 1}" for number in range(self.samples)]


def make_atlas(folder: str | Path, shape: Shape) -> None:
    """Write an atlas; do nothing if ``atlas.json`` shows that it is complete."""
    folder = Path(folder)
    facts = folder / "atlas.json"
    if facts.exists() and json.loads(facts.read_text()) == asdict(shape):
        return
    folder.mkdir(parents=True, exist_ok=True)
    facts.unlink(missing_ok=True)
    _write_genome(folder, shape)
    _write_fragments(folder, shape)
    write_model(folder, shape)
    with atomic(facts) as scratch:
        scratch.write_text(json.dumps(asdict(shape), indent=1))


def elements(shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Centres, int64 (chromosomes, elements) in bp, and weights, float64 (types, chromosomes, elements).

    The weight of an element is 0 in types in which it is closed. The result does not depend on the number of cells.
    """
    rng = np.random.default_rng([shape.seed, 1])
    size = CHROMOSOMES, shape.per_chromosome
    place = (np.arange(shape.per_chromosome) * SPACING + SPACING // 2)[None]
    centre = place + rng.integers(-JITTER, JITTER + 1, size)
    own = rng.integers(0, 2 * shape.types, size)  # the upper half of the numbers: open in all types
    weight = rng.lognormal(0, 1, size)
    types = np.arange(shape.types)[:, None, None]
    return centre, np.where((own >= shape.types) | (own == types), weight, 0.0)


def barcodes(numbers: np.ndarray) -> np.ndarray:
    """Distinct 16-base barcodes with suffix, in the format of 10x: bytes (n,), for numbers below 2**32."""
    # an odd factor keeps the numbers distinct
    mixed = numbers.astype(np.uint64) * np.uint64(2_654_435_761) & np.uint64(0xFFFFFFFF)
    letters = np.frombuffer(b"ACGT", dtype=np.uint8)
    text = np.empty((len(numbers), 18), dtype=np.uint8)
    for place in range(16):
        text[:, place] = letters[(mixed >> np.uint64(2 * place)) & np.uint64(3)]
    text[:, 16:] = np.frombuffer(b"-1", dtype=np.uint8)
    return text.view("S18").ravel()


def _write_genome(folder: Path, shape: Shape) -> None:
    from scbind.reference.prepare import prepare_reference

    fasta, bed, reference = folder / "genome.fa", folder / "elements.bed", folder / "reference" / "atlas"
    rng, letters = np.random.default_rng([shape.seed, 0]), np.frombuffer(b"ACGT", dtype=np.uint8)
    with open(fasta, "wb") as handle:
        for number in range(CHROMOSOMES):
            lines = np.full((shape.length // 50, 51), ord("\n"), dtype=np.uint8)
            lines[:, :50] = letters[rng.integers(0, 4, (len(lines), 50), dtype=np.uint8)]
            handle.write(f">chr{number + 1}\n".encode())
            lines.tofile(handle)
    reference.mkdir(parents=True, exist_ok=True)
    outputs = [reference / name for name in ("genome.fa.gz", "chrom.sizes", "sequence.npy", "exclude.bed")]
    prepare_reference(fasta, *outputs)
    fasta.unlink()
    centre, weight = elements(shape)
    first = centre - WIDTH // 2
    level = weight.max(axis=0)
    with open(bed, "w") as handle, open(folder / "elements.narrowPeak", "w") as peaks:
        for number in range(CHROMOSOMES):
            for start, signal in zip(first[number].tolist(), level[number].tolist(), strict=True):
                where = f"chr{number + 1}\t{start}\t{start + WIDTH}"
                handle.write(f"{where}\n")
                peaks.write(f"{where}\t.\t0\t.\t{signal:.3f}\t{10 * signal:.3f}\t-1\t{WIDTH // 2}\n")


def _write_fragments(folder: Path, shape: Shape) -> None:
    """Write the fragments of every sample, and ``cells.tsv``."""
    import pyarrow as pa  # imported here, because a GPU machine lacks it but uses the rest of this file
    import pysam

    centre, weight = elements(shape)
    with open(folder / "cells.tsv", "w") as listing:
        listing.write("sample\tbarcode\tcell_type\n")
        for number, part in enumerate(np.array_split(np.arange(shape.cells), shape.samples)):
            name, rng = shape.names[number], np.random.default_rng([shape.seed, 2, number])
            pool = _Pool.draw(rng, len(part), shape)
            codes = barcodes(np.arange(len(pool.wanted)))  # samples share barcodes, as 10x lanes do
            kinds = pool.kind[: len(part)].tolist()
            for barcode, kind in zip(codes[: len(part)].astype(str).tolist(), kinds, strict=True):
                listing.write(f"{name}\t{barcode}\ttype{kind}\n")
            (folder / name).mkdir(exist_ok=True)
            dictionary = pa.array(codes.astype(str))
            with (
                atomic(folder / name / "fragments.tsv.gz") as scratch,
                pysam.BGZFile(str(scratch), f"w{shape.level}") as out,
            ):
                for chromosome, start, end, cell in draw_fragments(rng, centre, weight, pool, shape):
                    out.write(_text(chromosome, start, end, cell, dictionary, rng))


def _text(chromosome: int, start, end, cell, dictionary, rng) -> bytes:
    """Lines of a fragments file; ``dictionary`` is an Arrow array of the barcodes."""
    import pyarrow as pa
    import pyarrow.csv as pacsv

    where = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(start), np.int8)), [f"chr{chromosome + 1}"])
    reads = 1 + rng.poisson(DUPLICATES, len(start))
    barcode = pa.DictionaryArray.from_arrays(pa.array(cell), dictionary)
    columns = [where, pa.array(start), pa.array(end), barcode, pa.array(reads)]
    sink = pa.BufferOutputStream()
    options = pacsv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
    pacsv.write_csv(pa.table(columns, names=list("abcde")), sink, options)
    return sink.getvalue().to_pybytes()


@dataclass(frozen=True)
class _Pool:
    """The barcodes of a sample: the number of fragments and the type of each, and one sampling table per type."""

    wanted: np.ndarray  # float64 (barcodes,)
    kind: np.ndarray  # int64 (barcodes,)
    tables: list[np.ndarray]  # int32, one per type: each barcode is repeated by its number of fragments

    @classmethod
    def draw(cls, rng, cells: int, shape: Shape) -> _Pool:
        """Cells first, then barcodes without a cell."""
        per_cell, few = EMPTY
        deep = shape.fragments * rng.lognormal(0, DEPTH_SD, cells)
        wanted = np.concatenate([deep, np.full(per_cell * cells, float(few))])
        kind = rng.integers(0, shape.types, len(wanted))
        entries = TABLE * len(wanted)
        tables = []
        for number in range(shape.types):
            mine = np.flatnonzero(kind == number)
            share = np.cumsum(wanted[mine]) / max(wanted[mine].sum(), 1)
            size = max(int(entries * wanted[mine].sum() / wanted.sum()), len(mine))
            steps = np.searchsorted(share, (np.arange(size) + 0.5) / max(size, 1))
            tables.append(mine[np.minimum(steps, len(mine) - 1)].astype(np.int32))
        return cls(wanted, kind, tables)


def draw_fragments(
    rng, centre: np.ndarray, weight: np.ndarray, pool: _Pool, shape: Shape
) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield chromosome (index), start, end (int64, 0-based half-open) and barcode (int32), sorted, no duplicates.

    The genome is processed in stretches of whole elements. A fragment belongs to the stretch in which it starts.
    """
    wanted = np.bincount(pool.kind, pool.wanted, minlength=shape.types)
    stretches = max(1, round(pool.wanted.sum() / CHROMOSOMES / AT_ONCE))
    share = weight / weight.sum(axis=(1, 2), keepdims=True)
    _, mean, spread = np.array(SIZES).T
    chance = np.cumsum([row[0] for row in SIZES])
    for chromosome in range(CHROMOSOMES):
        for part in np.array_split(np.arange(shape.per_chromosome), stretches):
            low, high = int(part[0]) * SPACING, (int(part[-1]) + 1) * SPACING
            length = CHROMOSOMES * shape.length
            cells, cuts = [], []
            for kind in range(shape.types):
                if not len(pool.tables[kind]):
                    continue
                mine = np.cumsum(share[kind, chromosome, part])
                inside = rng.poisson(wanted[kind] * IN_ELEMENTS * mine[-1])
                outside = rng.poisson(wanted[kind] * (1 - IN_ELEMENTS) * (high - low) / length)
                hit = np.searchsorted(mine, rng.random(inside, dtype=np.float32) * mine[-1])
                around = rng.standard_normal(inside, dtype=np.float32) * SPREAD
                aimed = centre[chromosome, part[np.minimum(hit, len(part) - 1)]] + around.astype(np.int64)
                cuts += [aimed, rng.integers(low, high, outside)]
                table = pool.tables[kind]
                cells.append(table[rng.integers(0, len(table), inside + outside)])
            cut, cell = np.concatenate(cuts), np.concatenate(cells)
            which = np.searchsorted(chance, rng.random(len(cut)) * chance[-1])
            size = mean[which] + spread[which] * rng.standard_normal(len(cut), dtype=np.float32)
            size = np.clip(size, SHORTEST, LONGEST).astype(np.int64)
            begin = np.where(rng.integers(0, 2, len(cut), dtype=np.int8) == 1, cut, cut - size + 1)
            last = np.minimum(high, shape.length - LONGEST)
            begin = np.clip(begin, low, last - 1)
            # one number of start, length and barcode sorts faster than three columns
            packed = (begin - low) << 34 | size << 24 | cell.astype(np.int64)
            packed = np.sort(packed)
            packed = packed[np.diff(packed, prepend=-1) > 0]
            start = (packed >> 34) + low
            yield chromosome, start, start + (packed >> 24 & LONGEST), (packed & 0xFFFFFF).astype(np.int32)


def write_model(folder: Path, shape: Shape) -> None:
    """Write ``model.safetensors`` and ``calibration.json`` in ``model/``: untrained, but as costly as a trained model.

    The calibration spreads and shifts the probabilities of each TF. In cells of 20,000 fragments, a fraction ``above``
    of them then reaches the floor. This fraction decides how much is stored.
    """
    import torch
    from scbind.formats.motifs import log_odds
    from scbind.models import modelfile
    from scbind.models.base import build_network
    from scbind.models.predictor import Predictor

    facts = model_facts(shape)
    rng = np.random.default_rng([shape.seed, 3])
    motifs = {tf: log_odds(rng.dirichlet(np.full(4, 0.3), 12).T * 100) for tf in facts["tfs"]}
    torch.manual_seed(shape.seed)
    options = {"members": shape.members}
    network = build_network("scbind", facts, options, motifs)
    model = Predictor(network, facts, None)
    bins = facts["context"] // model.bin_bp
    depth = 2 * 20_000 / (CHROMOSOMES * shape.length)
    codes = rng.integers(0, 4, (256, facts["context"]), dtype=np.uint8)
    enrichment = rng.lognormal(1.5, 0.7, (8, 256, 1)) * np.hanning(bins + 2)[1:-1] * 2
    counts = rng.poisson(depth * model.bin_bp * enrichment).astype(np.float32)
    found = model.probabilities(model.readout(codes), counts, np.full(8, depth, np.float32))
    logits = np.log(found / (1 - found)).reshape(-1, shape.tfs).astype(np.float64)
    slope = 1.5 / np.maximum(logits.std(axis=0), 1e-3)
    least = np.quantile(logits, 1 - shape.above, axis=0)
    shift = np.log(shape.floor / (1 - shape.floor)) - slope * least
    calibration = {
        "tfs": model.tfs,
        "log10_depth_centre": 0.0,
        "parameters": {
            tf: [float(a), float(b), 0.0, 0.0] for tf, a, b in zip(model.tfs, slope, shift, strict=True)
        },
        "reliability": {},
    }
    (folder / "model").mkdir(exist_ok=True)
    weights = folder / "model" / "model.safetensors"
    modelfile.write_model(weights, network.state_dict(), facts, options)
    calibration["model_sha256"] = file_sha256(weights)
    with atomic(folder / "model" / "calibration.json") as scratch:
        scratch.write_text(json.dumps(calibration))


def model_facts(shape: Shape) -> dict:
    """Facts about the training data in a model file; this model had none."""
    tfs, chromosomes = (
        [f"TF{number:03d}" for number in range(shape.tfs)],
        [f"chr{n + 1}" for n in range(CHROMOSOMES)],
    )
    return {
        "version": "0",
        "architecture": "scbind",
        "genome": "atlas",
        "chromosomes": dict.fromkeys(chromosomes, shape.length),
        "tfs": tfs,
        "modelled": [True] * len(tfs),
        "bound_train": dict.fromkeys(tfs, 1000),
        "cell_lines": ["none"],
        "assayed": [[True] * len(tfs)],
        "window": 200,
        "context": 1000,
        "mappability": False,
        "depth": {"none": dict.fromkeys(chromosomes, 1.0)},
        "deepest": 1.0,
        "normalisation": "",
        "splits": {},
    }


def add_shape(parser: argparse.ArgumentParser, skip: tuple[str, ...] = ()) -> None:
    """Add a command-line option for each field of :class:`Shape`."""
    for name, value in asdict(Shape()).items():
        if name not in skip:
            parser.add_argument(f"--{name}", type=type(value), default=value)


def main() -> None:
    """Make an atlas."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    add_shape(parser)
    options = vars(parser.parse_args())
    make_atlas(options.pop("folder"), Shape(**options))


if __name__ == "__main__":
    main()
