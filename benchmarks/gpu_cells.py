"""Make cells, windows and an untrained model of any size in seconds, without a fragments file.

The files are the inputs of `reference_profile` and `infer_shard`, with the sizes of `atlas.Shape`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from atlas import CHROMOSOMES, IN_ELEMENTS, SPREAD, Shape, elements, write_model
from gpu_bench import cells_in
from scipy import sparse

LENDERS = 10  # number of cells of the same type from which a cell borrows, each with weight one half
WINDOW, CONTEXT = 200, 1000


@dataclass(frozen=True)
class Made:
    """Paths of the files; ``cells`` is a sample as input of `reference_profile`."""

    reference: Path
    windows: Path
    weights: Path
    calibration: Path
    cells: dict[str, Path]


def make_cells(folder: Path, shape: Shape) -> Made:
    """Write genome, model, exactly ``shape.windows`` windows, and one sample of ``shape.cells`` cells."""
    # more windows than requested, because each element gets only two
    roomy = Shape(**{**shape.__dict__, "windows": int(1.3 * shape.windows) + 100})
    centre, weight = elements(roomy)
    rng = np.random.default_rng([shape.seed, 5])
    made = Made(
        folder / "atlas",
        folder / "windows.npz",
        folder / "model" / "model.safetensors",
        folder / "model" / "calibration.json",
        cells_in(folder),
    )
    _write_genome(made.reference, roomy, rng)
    _write_windows(made.windows, centre, shape.windows, rng)
    kind = rng.integers(0, shape.types, shape.cells)
    _write_insertions(made.cells, centre, weight, kind, roomy, rng)
    _write_obs(made.cells["cells"], kind, rng)
    write_model(folder, roomy)
    return made


def _write_genome(folder: Path, shape: Shape, rng: np.random.Generator) -> None:
    folder.mkdir(parents=True)
    codes = rng.integers(0, 4, CHROMOSOMES * shape.length, dtype=np.uint8)
    np.save(folder / "sequence.npy", codes)
    sizes = "".join(f"chr{number + 1}\t{shape.length}\n" for number in range(CHROMOSOMES))
    (folder / "chrom.sizes").write_text(sizes)
    (folder / "exclude.bed").write_text("")


def _write_windows(path: Path, centre: np.ndarray, wanted: int, rng: np.random.Generator) -> None:
    """The two grid windows around the centre of each element, of which ``wanted`` are kept."""
    first = centre // WINDOW * WINDOW
    start = np.stack([first - WINDOW, first], axis=2).reshape(len(centre), -1)
    chrom = np.repeat(np.arange(len(centre)), start.shape[1])
    chosen = np.arange(wanted) * start.size // wanted
    np.savez(
        path,
        chrom=chrom[chosen].astype(np.int32),
        start=start.ravel()[chosen].astype(np.int32),
        peak=(chosen // 2).astype(np.int32),
        gc=rng.uniform(0.3, 0.7, wanted).astype(np.float32),
        window=np.int64(WINDOW),
        context=np.int64(CONTEXT),
        step=np.int64(WINDOW),
    )


def _write_insertions(
    files: dict[str, Path], centre: np.ndarray, weight: np.ndarray, kind: np.ndarray, shape: Shape, rng
) -> None:
    """Two insertions per fragment, sorted by position. Their number accounts for most of the cost of a sample."""
    length = CHROMOSOMES * shape.length
    place = (centre + shape.length * np.arange(CHROMOSOMES)[:, None]).ravel()
    packed = []
    for number in range(shape.types):
        cells = np.flatnonzero(kind == number)
        if not len(cells):
            continue
        count = 2 * shape.fragments * len(cells)
        share = np.cumsum(weight[number].ravel())
        hit = np.searchsorted(share, rng.random(count) * share[-1])
        where = place[np.minimum(hit, len(place) - 1)] + (
            SPREAD * rng.standard_normal(count, np.float32)
        ).astype(np.int64)
        away = rng.random(count, np.float32) > IN_ELEMENTS
        where[away] = rng.integers(0, length, int(away.sum()))
        who = cells[rng.integers(0, len(cells), count)]
        packed.append(
            np.clip(where, 0, length - 1).astype(np.uint64) << np.uint64(32) | who.astype(np.uint64)
        )
    packed = np.sort(np.concatenate(packed))
    np.save(files["position"], (packed >> np.uint64(32)).astype(np.uint32))
    np.save(files["cell"], packed.astype(np.uint32))


def _write_obs(path: Path, kind: np.ndarray, rng: np.random.Generator) -> None:
    """A table in which all cells pass; each borrows from itself and from some other cells of its type."""
    rows, columns, weights = [], [], []
    for number in np.unique(kind):
        cells = np.flatnonzero(kind == number)
        lent = cells[rng.integers(0, len(cells), (len(cells), LENDERS))]
        rows += [cells, np.repeat(cells, LENDERS)]
        columns += [cells, lent.ravel()]
        weights += [np.ones(len(cells), np.float32), np.full(lent.size, 0.5, np.float32)]
    place = np.concatenate(rows), np.concatenate(columns)
    borrow = sparse.csr_matrix((np.concatenate(weights), place), shape=(len(kind), len(kind)))
    borrow.data = np.minimum(borrow.data, 1)  # a lender may be drawn twice
    obs = pd.DataFrame(
        {"pass": np.ones(len(kind), dtype=bool)}, index=[f"cell{row}" for row in range(len(kind))]
    )
    ad.settings.allow_write_nullable_strings = True  # the default strings of pandas 3
    ad.AnnData(obs=obs, obsp={"borrow": borrow}).write_h5ad(path)
