"""A genome of two short chromosomes with a planted motif, as a dataset that trains in seconds."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import anndata as ad
import numpy as np
import pandas as pd
import pyBigWig
import pytest
import scipy.sparse as sp
from hypothesis import Phase, settings
from scbind.dataset.build import LineFiles, build_dataset
from scbind.formats.genome import Genome
from scbind.formats.geometry import Geometry
from scbind.plan import digests
from scbind.plan.settings import default_options

# The same examples in each run, whatever failed before.
settings.register_profile(
    "scbind",
    max_examples=50,
    derandomize=True,
    database=None,
    deadline=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
)
settings.load_profile("scbind")

MOTIF = "GGCGCCATTA"


def write_narrowpeak(path, rows):
    lines = [f"{c}\t{s}\t{e}\t.\t0\t.\t1\t-1\t-1\t{(e - s) // 2}\n" for c, s, e in rows]
    path.write_text("".join(lines))
    return str(path)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Paths of a small dataset: reference, lines, chip, splits, geometry and the sites planted in it.

    TF1 binds its motif where chromatin is open; TF2 is assayed in line A alone. Line C has TF1 only.
    """
    folder = tmp_path_factory.mktemp("tiny")
    rng = np.random.default_rng(0)
    lengths = {"chr1": 60_000, "chr2": 40_000}
    reference = folder / "mini"
    reference.mkdir()
    codes, sites = {}, {}
    for chrom, length in lengths.items():
        sequence = rng.integers(0, 4, length).astype(np.uint8)
        sites[chrom] = np.arange(1_500, length - 1_500, 1_000)
        for site in sites[chrom][::2]:
            sequence[site : site + len(MOTIF)] = ["ACGT".index(b) for b in MOTIF]
        sequence[500:700] = 4
        codes[chrom] = sequence
    np.save(reference / "sequence.npy", np.concatenate(list(codes.values())))
    (reference / "chrom.sizes").write_text("".join(f"{c}\t{n}\n" for c, n in lengths.items()))
    (reference / "exclude.bed").write_text("chr1\t20000\t20100\n")
    lines, chip = {}, []
    for row, line in enumerate(["A", "C"]):
        track = str(folder / f"{line}.bw")
        bigwig = pyBigWig.open(track, "w")
        bigwig.addHeader(list(lengths.items()))
        open_sites = {c: s[(np.arange(len(s)) // 2 + row) % 2 == 0] for c, s in sites.items()}
        for chrom, length in lengths.items():
            noise = rng.integers(0, length, length // 50)
            cuts = [noise] + [site + rng.integers(-150, 150, 60) for site in open_sites[chrom]]
            position, count = np.unique(np.clip(np.concatenate(cuts), 0, length - 1), return_counts=True)
            bigwig.addEntries(chrom, position.tolist(), values=count.astype(float).tolist(), span=1)
        bigwig.close()
        everywhere = [(c, int(s) - 200, int(s) + 200) for c, x in open_sites.items() for s in x]
        lines[line] = LineFiles(track, write_narrowpeak(folder / f"{line}.narrowPeak", everywhere))
        bound = [
            (c, int(s) - 140, int(s) + 150) for c, x in open_sites.items() for s in x if s in sites[c][::2]
        ]
        path = write_narrowpeak(folder / f"{line}.TF1.narrowPeak", bound)
        chip.append({"cell_line": line, "tf": "TF1", "path": path, "relaxed": None})
        if line == "A":
            path = write_narrowpeak(folder / "A.TF2.narrowPeak", everywhere)
            chip.append({"cell_line": "A", "tf": "TF2", "path": path, "relaxed": None})
    splits = {
        "test": ["*:chr2:20000-40000", "C:chr1:0-30000"],
        "valid": ["*:chr2:0-20000"],
        "train": ["A:chr1"],
    }
    return {
        "folder": folder,
        "reference": reference,
        "lines": lines,
        "chip": chip,
        "splits": splits,
        "sites": sites,
        "geometry": default_options(Geometry, "dataset", min_mappability=None),
    }


@pytest.fixture(scope="session")
def tiny_dataset(tiny):
    """The dataset folder made from ``tiny``."""
    output = tiny["folder"] / "dataset"
    build_dataset(*(tiny[name] for name in ("reference", "lines", "chip", "splits", "geometry")), output)
    return output


@pytest.fixture(scope="session")
def mappable(tiny):
    """``tiny`` with mappability: 10 levels up per base code, so that it can be told; 0 in chr1:30000-40000.

    Gives ``(reference, dataset)``; the dataset leaves out nothing for it.
    """
    reference, output = tiny["folder"] / "mapped" / "mini", tiny["folder"] / "mapped" / "dataset"
    shutil.copytree(tiny["reference"], reference)
    levels = 200 + 10 * np.load(reference / "sequence.npy")
    levels[30_000:40_000] = 0
    np.save(reference / "mappability.npy", levels)
    geometry = replace(tiny["geometry"], min_mappability=0)
    build_dataset(reference, tiny["lines"], tiny["chip"], tiny["splits"], geometry, output)
    return reference, output


@pytest.fixture(scope="session")
def tiny_motifs(tiny):
    """Motif file with the planted motif of TF1; TF2 has none."""
    from scbind.formats.motiffiles import prepare_motifs

    rows = [" ".join("9" if base == b else "1" for base in MOTIF) for b in "ACGT"]
    source = tiny["folder"] / "motifs.jaspar"
    source.write_text(">M1 TF1\n" + "".join(f"{b} [ {row} ]\n" for b, row in zip("ACGT", rows, strict=True)))
    output = tiny["folder"] / "motifs.npz"
    prepare_motifs(["TF1", "TF2"], output, path=str(source))
    return output


@pytest.fixture(scope="session")
def tiny_model(tiny, tiny_dataset, tiny_motifs):
    """A trained and calibrated model: ``(weights, calibration, history)``."""
    from scbind.models.calibration import calibrate
    from scbind.models.training import TrainFiles, TrainOptions, train

    out = tiny["folder"] / "model"
    paths = out / "model.safetensors", out / "calibration.json", out / "training.csv"
    files = TrainFiles(tiny_dataset, tiny["reference"], paths[0], paths[2], out / "scratch", tiny_motifs)
    options = default_options(
        TrainOptions,
        "models",
        options={"channels": 16, "hidden": 16},
        sampling={"least_examples": 0, "hard": 2.0, "easy": 1.0},
        epochs=16,
        patience=16,
        batch_size=16,
        learning_rate=5e-3,
    )
    train(files, options, code="")
    calibrate(paths[0], tiny_dataset, tiny["reference"], paths[1], max_windows=20_000, seed=1)
    return paths


@pytest.fixture(scope="session")
def tiny_cells(tiny, tmp_path_factory):
    """A sample of cells with insertions where lines A and C of ``tiny`` are open.

    11 cells of type ``like_A``, 11 of type ``like_C``, one without a type, and one that failed quality control. A cell
    borrows from all cells of its type. Gives the paths ``types`` (by sample) and ``lent``.
    """
    folder, genome = tmp_path_factory.mktemp("cells"), Genome.open(tiny["reference"])
    rng = np.random.default_rng(1)
    kinds = ["like_A"] * 11 + ["like_C"] * 11 + [None, "like_A"]
    position, cell = [], []
    for row, kind in enumerate(kinds):
        mine = [rng.integers(0, genome.sizes.total, 150)]
        for chrom, sites in tiny["sites"].items():
            is_open = (np.arange(len(sites)) // 2 + (kind == "like_C")) % 2 == 0
            centres = rng.choice(sites[is_open], 250) + genome.sizes.offsets[genome.sizes.index(chrom)]
            mine.append(centres + rng.integers(-150, 150, 250))
        position.append(np.concatenate(mine))
        cell.append(np.full(len(position[-1]), row))
    position, cell = np.concatenate(position), np.concatenate(cell)
    order = np.argsort(position, kind="stable")
    np.save(folder / "position.npy", position[order].astype(np.uint32))
    np.save(folder / "cell.npy", cell[order].astype(np.uint32))
    obs = pd.DataFrame({"pass": [True] * 23 + [False]}, index=[f"c{i}" for i in range(len(kinds))])
    obs["cell_type"] = pd.Categorical(kinds)
    ad.AnnData(obs=obs).write_h5ad(folder / "cells.h5ad")
    lenders = ad.AnnData(obs=obs[["pass"]])
    same = np.array(kinds, dtype=object)[:, None] == np.array(kinds, dtype=object)
    lenders.obsp["borrow"] = sp.csr_matrix((same & obs["pass"].to_numpy()).astype(np.float32))
    lenders.write_h5ad(folder / "lenders.h5ad")
    shared = {"position": folder / "position.npy", "cell": folder / "cell.npy"}
    types = {"s": shared | {"cells": folder / "cells.h5ad"}}
    return SimpleNamespace(types=types, lent=shared | {"cells": folder / "lenders.h5ad"})


@pytest.fixture
def windows_read(monkeypatch):
    """How many windows each call of ``Predictor.read_trunk`` was asked for, as a list that grows."""
    from scbind.models.predictor import Predictor

    read, asked = Predictor.read_trunk, []

    def counted(self, genome, chrom, start):
        asked.append(len(chrom))
        return read(self, genome, chrom, start)

    monkeypatch.setattr(Predictor, "read_trunk", counted)
    return asked


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of the package, whose digests are taken in place of those of the real one."""
    folder = tmp_path / "scbind"
    shutil.copytree(digests.PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(digests, "PACKAGE", folder)
    digests.forget()
    yield folder
    digests.forget()
