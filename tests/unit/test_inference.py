import json
import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scbind
import scipy.sparse as sp
import torch
from scbind.analysis.activitytable import read_activity
from scbind.binding.activity import activity_matrix
from scbind.binding.choice import choose_windows
from scbind.binding.inference import Blocks, ShardOptions, _signal_block, infer_shard
from scbind.binding.network import NetworkFiles
from scbind.binding.readout import sequence_readout
from scbind.binding.referenceprofile import ProfileOptions, reference_profile
from scbind.binding.shards import Shard, decode
from scbind.binding.windows import Windows
from scbind.core.errors import InputError
from scbind.formats.genome import ChromSizes, Genome
from scbind.formats.geometry import Geometry
from scbind.formats.signal import CellSignal
from scbind.plan.settings import default_options

N_CELLS = 14
NAMES = ("z", "binding_sum", "votes", "depth")


class FakePredictor:
    """P rises with the window's insertions relative to depth, and with a letter's share of the sequence."""

    tfs = ["CTCF", "GATA1", "SPI1"]
    n_assayed = 3
    window, context, bin_bp, tile = 200, 400, 100, (1, 64)
    reliability = {"CTCF": {"ece": 0.1}}
    calls: list = []

    def read_trunk(self, genome, chrom, start):
        return self.trunk(genome.window_codes(chrom, start, self.context))

    def trunk(self, codes):
        return np.stack([(codes == i).mean(axis=1) for i in range(3)], axis=1).astype(np.float16)

    def unfold(self, trunk):
        return trunk

    def probabilities(self, readout, counts, depth):
        self.calls.append((counts, depth))
        level = np.log1p(counts[:, :, 1:3].sum(axis=2) / (200 * depth[:, None]))
        logit = 3 * readout[None].astype(np.float32) - 3 + level[:, :, None]
        return (1 / (1 + np.exp(-logit))).astype(np.float32)


@pytest.fixture
def predictor(monkeypatch):
    fake = FakePredictor()
    fake.calls = []
    module = types.ModuleType("scbind.models.predictor")
    module.load_predictor = lambda *_, **__: fake
    monkeypatch.setitem(sys.modules, "scbind.models.predictor", module)
    return fake


@pytest.fixture
def files(tmp_path, predictor):
    """A small sample: 14 cells, 12 pass, each borrows the next; 2,000 insertions on two chromosomes."""
    rng = np.random.default_rng(3)
    ref = tmp_path / "ref"
    ref.mkdir()
    (ref / "chrom.sizes").write_text("chr1\t6000\nchr2\t4000\n")
    np.save(ref / "sequence.npy", rng.integers(0, 4, 10_000).astype(np.uint8))
    (tmp_path / "consensus.bed").write_text("chr1\t1000\t2500\nchr1\t4000\t5000\nchr2\t1000\t2000\n")
    geometry = Geometry(window=200, step=50, context=400, min_mappability=None)
    choose_windows(tmp_path / "consensus.bed", ref, None, tmp_path / "windows.npz", geometry)
    passing = np.ones(N_CELLS, dtype=bool)
    passing[[2, 9]] = False
    rows = np.flatnonzero(passing)
    borrow = sp.lil_matrix((N_CELLS, N_CELLS), dtype=np.float32)
    for row, other in zip(rows, np.roll(rows, -1), strict=True):
        borrow[row, row] = borrow[row, other] = 1
    np.save(tmp_path / "position.npy", np.sort(rng.integers(0, 10_000, 2000)).astype(np.uint32))
    np.save(tmp_path / "cell.npy", rng.integers(0, N_CELLS, 2000).astype(np.uint32))
    obs = pd.DataFrame({"pass": passing}, index=[f"c{i}" for i in range(N_CELLS)])
    adata = ad.AnnData(obs=obs)
    adata.obsp["borrow"] = borrow.tocsr()
    adata.write_h5ad(tmp_path / "cells.h5ad")
    (tmp_path / "m").write_text("the network")
    sequence_readout(tmp_path / "m", tmp_path / "windows.npz", ref, tmp_path / "readout.npy", batch=7)
    make_reference(tmp_path)
    return tmp_path


def sample(folder):
    return {"position": folder / "position.npy", "cell": folder / "cell.npy", "cells": folder / "cells.h5ad"}


def out_of_memory(*_):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def network_files(folder):
    return NetworkFiles(folder / "m", None, folder / "readout.npy", folder / "windows.npz", folder / "ref")


def make_reference(folder, samples=None, name="reference.npz", block=256, **options):
    options = default_options(ProfileOptions, "infer", **{"background_draws": 5, "seed": 1} | options)
    samples = samples or {"s": sample(folder)}
    reference_profile(network_files(folder), samples, folder / name, options, block=block)
    return np.load(folder / name)


def infer(folder, shard=0, n_shards=1, blocks=None, **options):
    output = folder / f"{shard}of{n_shards}.npz"
    options = default_options(ShardOptions, "infer", **{"sites": True} | options)
    given = network_files(folder), sample(folder), folder / "reference.npz", output, options
    infer_shard(*given, shard, n_shards, blocks=blocks or Blocks())
    return Shard.open(output)


def by_hand(folder, predictor):
    """P(bound) of every passing cell, one cell and window at a time, from the raw insertions."""
    windows, sizes = Windows.load(folder / "windows.npz"), ChromSizes.read(folder / "ref/chrom.sizes")
    bases = Genome.open(folder / "ref").known_lengths().sum()
    position, cell = np.load(folder / "position.npy").astype(int), np.load(folder / "cell.npy")
    adata, readout = ad.read_h5ad(folder / "cells.h5ad"), np.load(folder / "readout.npy")
    result = []
    for row in np.flatnonzero(adata.obs["pass"]):
        mine = position[np.isin(cell, adata.obsp["borrow"][row].indices)]
        depth = np.array([len(mine) / bases], dtype=np.float32)
        each = []
        for w, start in enumerate(windows.global_context_starts(sizes)):
            counts = np.histogram(mine, start + np.arange(0, 401, 100) - 0.5)[0].astype(np.float32)
            each.append(predictor.probabilities(readout[[w]], counts[None, None], depth)[0, 0])
        result.append(each)
    return np.array(result)


def test_readout_is_written_and_not_mapped(files, monkeypatch):
    """A disk that fills up under a memory map kills the process, without a word."""

    modes, real = set(), np.lib.format.open_memmap
    monkeypatch.setattr(
        np.lib.format,
        "open_memmap",
        lambda *args, mode, **kw: [modes.add(mode), real(*args, mode=mode, **kw)][1],
    )
    sequence_readout(files / "m", files / "windows.npz", files / "ref", files / "again.npy", batch=7)
    assert modes == {"r"}
    assert (files / "again.npy").read_bytes() == (files / "readout.npy").read_bytes()


def test_readout_is_that_of_each_window_whatever_the_batch(files, predictor):
    windows = Windows.load(files / "windows.npz")
    codes = np.load(files / "ref/sequence.npy")
    sizes = ChromSizes.read(files / "ref/chrom.sizes")
    got = np.load(files / "readout.npy")
    assert got.dtype == np.float16 and got.shape == (len(windows), 3)
    for w, start in enumerate(windows.global_context_starts(sizes)):
        assert np.array_equal(got[w], predictor.trunk(codes[None, start : start + 400])[0])
    sequence_readout(files / "m", files / "windows.npz", files / "ref", files / "again.npy", batch=1000)
    assert np.array_equal(np.load(files / "again.npy"), got)


def test_binding_is_that_of_each_cell_and_window_alone(files, predictor):
    expected = by_hand(files, predictor)
    shard = infer(files, floor=0.1)
    assert shard.reliability == predictor.reliability
    assert shard.rows.tolist() == [0, 1, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13]
    for t in range(3):
        got = decode(shard.scale)[shard.codes(t)]
        kept = expected[:, :, t] >= 0.1
        assert 0 < kept.sum() and np.array_equal(got > 0, kept)
        assert np.abs(got - expected[:, :, t])[kept].max() <= 0.05 + 1e-6
    assert np.allclose(shard.array("binding_sum"), expected.sum(axis=1), rtol=1e-6)


def test_activity_follows_its_definition(files, predictor):
    reference = np.load(files / "reference.npz")
    v, background = reference["binding"].astype(float), reference["background"]
    predictor.calls.clear()
    shard = infer(files, blocks=Blocks(100))
    counts = np.concatenate([block for block, _ in predictor.calls], axis=1).sum(axis=2)
    response = counts / np.outer(shard.array("depth"), reference["openness"])
    assert response.max() < 50  # else it would be capped
    own = np.log(response @ v)
    drawn = np.log(np.stack([response[:, to] @ v for to in background]))
    spread = drawn.std(axis=0, ddof=1)
    assert spread.min() > 1e-3  # else it would not be believed
    assert np.allclose(shard.array("z"), (own - drawn.mean(axis=0)) / spread, rtol=0.02, atol=0.02)
    assert shard.array("background_draws") == 5


@pytest.mark.parametrize("n_shards", [2, 3, 7])
def test_any_number_of_shards_gives_the_same_bits(files, n_shards):
    whole = infer(files, blocks=Blocks(2))
    parts = [infer(files, i, n_shards, blocks=Blocks(2)) for i in range(n_shards)]
    assert np.array_equal(np.concatenate([p.rows for p in parts]), whole.rows)
    for name in NAMES:
        assert np.array_equal(np.concatenate([p.array(name) for p in parts]), whole.array(name)), name
    for t in range(3):
        assert np.array_equal(np.concatenate([p.codes(t) for p in parts]), whole.codes(t))


@pytest.mark.parametrize(("cell_block", "max_bytes"), [(1, 1), (5, 20_000), (100, 1 << 28)])
def test_block_sizes_do_not_matter(files, predictor, cell_block, max_bytes):
    whole = infer(files)
    predictor.calls.clear()
    other = infer(files, blocks=Blocks(cell_block, max_bytes))
    assert max(len(counts) for counts, _ in predictor.calls) <= cell_block
    if max_bytes == 1:
        assert {counts.shape[:2] for counts, _ in predictor.calls} == {(1, 1)}
    for t in range(3):
        assert np.array_equal(other.codes(t), whole.codes(t))
    assert np.array_equal(other.array("votes"), whole.array("votes"))
    for name in ("binding_sum", "z"):
        assert np.array_equal(other.array(name), whole.array(name))


def test_blocks_are_small_where_cells_have_many_insertions():
    assert (
        _signal_block(1 << 28, 20_000) == 1024
    )  # 100,000 cells: 1 GiB of 640 kB each, cut to a power of two
    assert _signal_block(1 << 28, 0.5) == 1 << 26
    assert _signal_block(1, 1e9) == 1


# The rule's script with the fake model and small blocks, which stops for good when the first of them is kept.
JOB = """
import json, runpy, sys, time
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
import test_inference
from scbind.binding import inference
from scbind.binding.shards import ShardWriter

def stop(*block, add=ShardWriter.add):
    add(*block)
    Path(sys.argv[1]).touch()
    time.sleep(600)

ShardWriter.add = stop
inference.infer_shard = partial(inference.infer_shard, blocks=inference.Blocks(cells=2))
sys.modules["scbind.models.predictor"] = ModuleType("scbind.models.predictor")
sys.modules["scbind.models.predictor"].load_predictor = lambda *_, **__: test_inference.FakePredictor()
job = {name: SimpleNamespace(**values) for name, values in json.loads(sys.argv[3]).items()}
runpy.run_path(sys.argv[2], init_globals={"snakemake": SimpleNamespace(log=[sys.argv[4]], threads=1, **job)})
"""


def test_a_shard_that_is_killed_in_the_middle_is_made_anew_and_the_other_stays(files):
    infer(files, 0, 2, blocks=Blocks(2))
    other, killed, log = files / "0of2.npz", files / "1of2.npz", files / "log"
    before = other.stat().st_mtime_ns, other.read_bytes()
    inputs = {name: f"{files}/{name}.npy" for name in ("position", "cell", "readout")}
    inputs |= {"weights": f"{files}/m", "calibration": None, "lenders": f"{files}/cells.h5ad"}
    inputs |= {"windows": f"{files}/windows.npz", "profile": f"{files}/reference.npz"}
    options = {"floor": 0.1, "max_error": 0.05, "sites": True, "precision": "float32"}
    params = {"shard": [2, 2], "reference": f"{files}/ref", "options": options}
    job = {"input": inputs, "params": params, "output": {"shard": str(killed)}, "resources": {"gpu": 0}}
    workflow = Path(scbind.__file__).parents[1]
    script, stopped = workflow / "scripts/infer_binding.py", files / "stopped"
    process = subprocess.Popen(
        [sys.executable, "-c", JOB, stopped, script, json.dumps(job), log],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(workflow), str(Path(__file__).parent)])},
    )
    try:
        while not stopped.exists():
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    assert [path.name for path in files.glob("[01]of2*")] == ["0of2.npz"]
    assert [path.name.partition(".partial.")[2] for path in files.glob(".*of2*")] == ["1of2.npz.blocks"]
    again, whole = infer(files, 1, 2, blocks=Blocks(2)), infer(files, blocks=Blocks(2))
    assert sorted(path.name for path in files.glob("*of2*")) == ["0of2.npz", "1of2.npz"]
    assert before == (other.stat().st_mtime_ns, other.read_bytes())
    assert 0 < len(again.rows) < len(whole.rows)
    for name in NAMES:
        assert np.array_equal(again.array(name), whole.array(name)[-len(again.rows) :])
    assert all(np.array_equal(again.codes(t), whole.codes(t)[-len(again.rows) :]) for t in range(3))


def test_more_shards_than_cells_gives_empty_shards(files):
    parts = [infer(files, i, 20, blocks=Blocks(1)) for i in range(20)]
    assert sum(len(p.rows) for p in parts) == 12
    assert parts[-1].codes(0).shape == (0, parts[0].n_windows)


def test_only_windows_with_borrowed_signal_vote(files):
    windows, sizes = Windows.load(files / "windows.npz"), ChromSizes.read(files / "ref/chrom.sizes")
    shard = infer(files)
    position, cell = np.load(files / "position.npy").astype(int), np.load(files / "cell.npy")
    borrow = ad.read_h5ad(files / "cells.h5ad").obsp["borrow"]
    for i, row in enumerate(shard.rows):
        mine = np.sort(position[np.isin(cell, borrow[row].indices)])
        start = windows.global_starts(sizes)
        voting = (np.searchsorted(mine, start + 200) > np.searchsorted(mine, start)).sum()
        assert shard.array("votes")[i].sum() == 2 * voting


def test_reference_is_the_mean_of_thinned_cells(files, predictor):
    predictor.calls.clear()
    reference = make_reference(files, block=10_000)
    levels, calls = reference["depth"], predictor.calls
    assert len(calls) == len(levels) == 2 and (np.diff(levels) > 0).all()
    each = [predictor.probabilities(np.load(files / "readout.npy"), *call) for call in list(calls)]
    assert np.allclose(
        reference["binding"], np.mean([found.mean(axis=0) for found in each], axis=0), rtol=1e-5
    )
    for number, (counts, depth) in enumerate(calls[:2]):
        assert np.isclose(np.exp(np.log(depth).mean()), levels[number], rtol=1e-5)
        assert depth.min() >= 0.8 * levels[number]
        density = counts.sum() / depth.sum()
        assert density == pytest.approx(
            calls[1][0].sum() / calls[1][1].sum(), rel=0.2
        )  # as many as the depth says
    assert reference["background"].shape == (5, counts.shape[1]) and reference["background"].dtype == np.int32


def test_accessibility_counts_each_insertion_of_passing_cells_once(files):
    windows, sizes = Windows.load(files / "windows.npz"), ChromSizes.read(files / "ref/chrom.sizes")
    position, cell = np.load(files / "position.npy").astype(int), np.load(files / "cell.npy")
    mine = position[~np.isin(cell, [2, 9])]
    expected = [((mine >= s) & (mine < s + 200)).sum() for s in windows.global_starts(sizes)]
    assert np.load(files / "reference.npz")["accessibility"].tolist() == expected


def test_openness_is_insertions_in_the_context_per_depth(files):
    windows, sizes = Windows.load(files / "windows.npz"), ChromSizes.read(files / "ref/chrom.sizes")
    position, cell = np.load(files / "position.npy").astype(int), np.load(files / "cell.npy")
    mine = position[~np.isin(cell, [2, 9])]
    starts = windows.global_context_starts(sizes)
    counts = np.array([((mine >= s) & (mine < s + windows.context)).sum() for s in starts])
    openness = np.load(files / "reference.npz")["openness"]
    depth = counts.sum() / openness.sum()
    assert depth > 0 and np.allclose(openness * depth, counts)


def test_reference_does_not_depend_on_blocks_or_on_a_sample_given_twice(files):
    one = make_reference(files)
    small = make_reference(files, name="small.npz", block=3)
    twice = make_reference(files, {"a": sample(files), "b": sample(files)}, name="twice.npz")
    for name in ("binding", "openness", "depth", "accessibility", "background"):
        assert np.array_equal(one[name], small[name])
    assert np.allclose(one["depth"], twice["depth"])
    assert np.array_equal(2 * one["accessibility"], twice["accessibility"])
    assert not np.array_equal(one["background"], make_reference(files, name="x.npz", seed=2)["background"])


def rewrite_cells(files, **changes):
    adata = ad.read_h5ad(files / "cells.h5ad")
    for key, value in changes.items():
        adata.obs[key] = value
    adata.write_h5ad(files / "cells.h5ad")


def test_bad_input_is_refused(files, predictor):
    with pytest.raises(InputError, match="there is no shard 3 of 3; number the shards from 0"):
        infer(files, 3, 3)
    with pytest.raises(InputError, match="infer.floor 0.* cannot be stored"):
        infer(files, floor=0)
    with pytest.raises(InputError, match="at least 2 draws"):
        make_reference(files, background_draws=1)
    np.save(files / "readout.npy", np.zeros((3, 3), np.float16))
    with pytest.raises(InputError, match="readout.npy: was not made with .*; run the sequence readout again"):
        infer(files)


def test_a_readout_in_another_format_is_refused(files, predictor):
    """Before, a readout held the embeddings of windows."""
    made_with = json.loads((files / "readout.json").read_text())
    del made_with["format"]
    (files / "readout.json").write_text(json.dumps(made_with))
    with pytest.raises(InputError, match="readout.npy: was not made with .*, or by another version; run the"):
        infer(files)


def test_what_another_model_made_is_refused(files):
    whole, part = infer(files), infer(files, 0, 2, blocks=Blocks(2))
    (files / "m").write_text("trained again")
    with pytest.raises(
        InputError,
        match="readout.npy: was not made with .*m and .*windows.npz, or by another version; run the seq",
    ):
        infer(files)
    with pytest.raises(InputError, match="readout.npy: was not made with"):
        make_reference(files)
    sequence_readout(files / "m", files / "windows.npz", files / "ref", files / "readout.npy")
    refused = "reference.npz: was made with other windows, another model or another precision; run"
    with pytest.raises(InputError, match=refused):
        infer(files)
    make_reference(files)
    with pytest.raises(InputError, match=refused):
        infer(files, precision="bfloat16")
    assert infer(files).made_with != whole.made_with == part.made_with


def test_a_sample_without_a_passing_cell_gives_an_empty_shard(files):
    rewrite_cells(files, **{"pass": False, "cell_type": pd.Categorical(["a"] * N_CELLS)})
    shards = [infer(files, i, 2) for i in (0, 1)]
    assert [len(s.rows) for s in shards] == [0, 0] and shards[0].array("z").shape == (0, 3)
    activity_matrix([s.path for s in shards], files / "cells.h5ad", files / "a.h5ad")
    got = ad.read_h5ad(files / "a.h5ad")
    assert got.shape == (0, 3) and set(got.layers) == {"mean_binding", "scfan_score", "abstained"}
    assert read_activity([files / "a.h5ad"]).z.shape == (0, 3)


@pytest.mark.parametrize("n_shards", [1, 6])
def test_few_lenders_are_copied_and_count_as_before(files, monkeypatch, n_shards):
    """Two of twelve passing cells, and who lends to them, are fewer than half of all."""
    used = []
    real = CellSignal.copied
    monkeypatch.setattr(CellSignal, "copied", lambda self, *a: used.append(real(self, *a)) or used[-1])
    copied = [infer(files, i, n_shards, blocks=Blocks(2, 20_000)) for i in range(n_shards)]
    assert len(used) == (n_shards if n_shards > 1 else 0)
    assert all(0 < len(signal.position) < 1000 for signal in used)
    assert not list(files.glob(".*"))
    copied = [(s.codes(0), *(s.array(name) for name in NAMES)) for s in copied]
    monkeypatch.setattr("scbind.binding.samplecells.COPIED_SHARE", 0.0)
    for i, before in enumerate(copied):
        shard = infer(files, i, n_shards, blocks=Blocks(2, 20_000))
        after = (shard.codes(0), *(shard.array(name) for name in NAMES))
        assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_windows_of_another_geometry_are_refused(files, predictor):
    predictor.context = 1000
    with pytest.raises(InputError, match="windows.npz: windows of 200 in 400 bp; .*m reads 200 in 1000"):
        infer(files)


def test_samples_without_a_passing_cell_are_passed_over(files, capsys):
    one = make_reference(files)
    poor = files / "poor.h5ad"
    adata = ad.read_h5ad(files / "cells.h5ad")
    adata.obs["pass"] = False
    adata.write_h5ad(poor)
    samples = {"a": sample(files) | {"cells": poor}, "s": sample(files)}
    both = make_reference(files, samples, name="both.npz")
    assert "WARNING a: no cell passes quality control; the sample is left out" in capsys.readouterr().err
    assert all(np.array_equal(one[name], both[name]) for name in one.files)
    with pytest.raises(InputError, match="poor.h5ad: no cell of this or any other sample passes quality"):
        make_reference(files, {"a": sample(files) | {"cells": poor}})


def test_a_sample_without_a_fragment_on_sequence_is_refused(files):
    np.save(files / "ref/sequence.npy", np.load(files / "ref/sequence.npy")[:6000])  # of chr1 alone
    np.save(files / "position.npy", np.arange(6500, 8500, dtype=np.uint32))
    problem = (
        "cells.h5ad: no fragment of its passing cells lies on a chromosome with sequence; use the genome"
    )
    with pytest.raises(InputError, match=problem):
        make_reference(files)
    with pytest.raises(InputError, match=problem):
        infer(files)


def test_insertions_of_more_cells_than_there_are_is_refused(files):
    cell = np.load(files / "cell.npy")
    cell[5] = 99
    np.save(files / "cell.npy", cell)
    with pytest.raises(InputError, match="cell.npy: names row 99, but .* has 14 cells"):
        infer(files)


def test_a_model_that_gives_no_probability_is_an_error(files, predictor, monkeypatch):
    monkeypatch.setattr(
        FakePredictor, "probabilities", lambda self, r, c, d: np.full((*c.shape[:2], 3), np.nan)
    )
    with pytest.raises(ValueError, match="outside .0, 1."):
        infer(files)


def test_too_little_gpu_memory_is_said_in_one_line(files, predictor):
    what = "^device: the memory of the GPU does not suffice; .* with --resources gpu=0$"
    predictor.probabilities = predictor.read_trunk = out_of_memory
    with pytest.raises(InputError, match=what):
        sequence_readout("m", files / "windows.npz", files / "ref", files / "again.npy")
    with pytest.raises(InputError, match=what):
        make_reference(files, name="again.npz")
    with pytest.raises(InputError, match=what):
        infer(files)
    assert not list(files.glob("*again*")) and not list(files.glob("*0of1*"))

    def broken(*_):
        raise RuntimeError("some other fault")

    predictor.probabilities = broken
    with pytest.raises(RuntimeError, match="some other fault"):
        infer(files)


@pytest.mark.parametrize(
    "said",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "GET was unable to find an engine to execute this computation",
    ],
)
def test_memory_of_a_gpu_is_recognised_in_the_words_of_its_libraries(said):
    from scbind.core.devices import lacks_gpu_memory

    assert lacks_gpu_memory(RuntimeError(said))
    assert not lacks_gpu_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
