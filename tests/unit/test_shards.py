import errno
import json
import os
import subprocess
import sys
import textwrap
import tracemalloc
import zipfile
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scbind
from scbind.binding import shards
from scbind.binding.shards import (
    Shard,
    ShardWriter,
    decode,
    largest_error,
    quantise,
    steps,
)
from scbind.core.errors import InputError
from scbind.core.scratch import remove_ended
from scbind.formats.celltable import read_passing_cells

TFS = ["CTCF", "GATA1", "SPI1"]
SCALE = steps(0.1, 0.02)  # of the shards below


def made(n_cells=7, n_windows=40):
    """P that is mostly small; the last TF never reaches the floor."""
    probability = (np.random.default_rng(1).random((n_cells, n_windows, 3)) ** 3).astype(np.float32)
    probability[:, :, 2] *= 0.05
    return probability


@pytest.mark.parametrize(
    ("floor", "max_error", "scale"),
    [(0.1, 0.05, 20), (0.05, 0.05, 20), (0.02, 0.02, 50), (0.3, 0.3, 4), (0.01, 0.004, 249)],
)
def test_codes_are_within_the_stated_error_or_absent(floor, max_error, scale):
    assert steps(floor, max_error) == scale
    probability = np.linspace(0, 1, 5001, dtype=np.float32)
    codes = quantise(probability, floor, scale)
    stored = codes > 0
    assert codes.dtype == np.uint8 and codes.max() == scale
    assert np.array_equal(stored, probability >= np.float32(floor))
    error = np.abs(decode(scale)[codes] - probability)
    assert error[stored].max() <= largest_error(floor, scale) + 1e-6 <= max_error + 2e-6
    assert error[probability > 0.96].max() < max_error / 2  # more exact towards 1


@pytest.mark.parametrize(
    ("floor", "max_error", "message"),
    [
        (0.1, 0.001, "infer.max_error 0.001 is out of range; set it between 0.004 and 0.5"),
        (0.1, 0.6, "infer.max_error 0.6 is out of range"),
        (
            0.01,
            0.02,
            "infer.floor 0.01 cannot be stored with infer.max_error 0.02; set infer.floor between 0.02",
        ),
        (1.0, 0.02, "infer.floor 1.0 cannot"),
    ],
)
def test_floors_and_errors_that_do_not_fit(floor, max_error, message):
    with pytest.raises(InputError, match=message):
        steps(floor, max_error)


@pytest.mark.parametrize(("cells", "windows"), [(1, 1), (3, 16), (7, 7), (100, 100)])
def test_shard_holds_what_was_added_whatever_the_blocks(tmp_path, cells, windows):
    probability = made()
    with ShardWriter(TFS, 0.1, tmp_path / "x.npz", 0.02) as writer:
        for window in reversed(range(0, 40, windows)):  # any order will do
            for row in range(0, 7, cells):
                writer.add(row, window, probability[row : row + cells, window : window + windows])
        writer.finish(np.arange(7), 40, {"depth": np.ones(7)})
    shard = Shard.open(tmp_path / "x.npz")
    expected = quantise(probability, 0.1, SCALE)
    for t in range(3):
        assert np.array_equal(shard.codes(t), expected[:, :, t])
        assert np.array_equal(shard.codes(t, 5, 33), expected[:, 5:33, t])
    assert shard.kind == (TFS, 40, 0.1, SCALE, True, "") and shard.array("depth").tolist() == [1.0] * 7
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]  # the spilled blocks are gone


def test_memory_does_not_grow_with_the_blocks(tmp_path):
    """With hundreds of TFs, blocks are small, and a shard of a few hundred cells has millions of them."""
    probability = np.full((2, 1, 3), 0.9, np.float32)
    with ShardWriter(TFS, 0.1, tmp_path / "x.npz", 0.02) as writer:
        tracemalloc.start()
        for window in range(2000):
            writer.add(0, window, probability)
        grown, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        writer.finish(np.arange(2), 2000, {})
    shard = Shard.open(tmp_path / "x.npz")
    assert (shard.codes(2) == quantise(probability, 0.1, SCALE)[0, 0, 0]).all()
    assert grown < 1e5, "1.1 MB before, for 6,000 blocks"


def test_the_table_of_all_blocks_is_never_in_memory(tmp_path, monkeypatch):
    """It has 56 bytes per block: 5 GB for a shard with 753 TFs. It is sorted in pieces, and read TF by TF."""
    monkeypatch.setattr(shards, "SORTED_AT_ONCE", 1000)
    names, n_windows = [f"T{number}" for number in range(40)], 1500
    probability = np.full((1, 1, 40), 0.9, np.float32)
    probability[:, :, 7] = 0
    with ShardWriter(names, 0.1, tmp_path / "x.npz", 0.02) as writer:
        for window in range(n_windows):
            writer.add(0, window, probability)
        tracemalloc.start()
        writer.finish(np.arange(1), n_windows, {})
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    shard = Shard.open(tmp_path / "x.npz")
    assert [bool(shard.codes(tf).all()) for tf in range(40)] == [tf != 7 for tf in range(40)]
    assert most < 1e6, "all of its 58,500 entries: 3.3 MB"


def test_the_blocks_are_not_in_the_memory_of_the_process_while_a_shard_is_finished(tmp_path):
    """Mapped files would count, too."""
    code = """
import resource, sys, numpy as np
from scbind.binding.shards import ShardWriter
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
with ShardWriter([f"T{i}" for i in range(20)], 0.1, sys.argv[1], 0.004) as writer:
    for start in range(0, 75_000, 1_000):
        writer.add(0, start, np.random.default_rng(start).random((64, 1_000, 20), dtype=np.float32))
    size, before = (writer.folder / "blocks").stat().st_size / 2**20, peak()
    writer.finish(np.arange(64), 75_000, {})
    print(size, peak() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "s.npz"], capture_output=True, text=True, check=True
    )
    size, grown = map(float, done.stdout.split())
    assert size > 60 and grown < size / 4


def test_without_sites_nothing_is_spilled(tmp_path):
    with ShardWriter(TFS, 0.1, tmp_path / "x.npz", 0.02, sites=False) as writer:
        writer.add(0, 0, made())
        assert not list(writer.folder.iterdir())
        writer.finish(np.arange(7), 40, {"depth": np.ones(7)})
    shard = Shard.open(tmp_path / "x.npz")
    assert not shard.sites and shard.array("depth").sum() == 7
    assert (tmp_path / "x.npz").stat().st_size < 3000


def test_a_disk_that_fills_up_in_the_middle_of_a_shard(tmp_path):
    """/dev/full takes no byte: the second blocks meet a disk that is really full."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    done = tmp_path / "0.npz"
    done.write_bytes(b"finished")
    with pytest.raises(InputError) as error:
        with ShardWriter(TFS, 0.1, tmp_path / "x.npz", 0.02) as writer:
            writer.add(0, 0, made())
            spill = writer.folder / "blocks"
            spill.unlink()
            spill.symlink_to("/dev/full")
            writer.add(0, 0, made())
    problem = "cannot write here: No space left on device"
    assert (
        str(error.value) == f"{tmp_path}: {problem}; free disk space, then run again; finished files are kept"
    )
    assert list(tmp_path.iterdir()) == [done] and done.read_bytes() == b"finished"


def test_a_disk_that_fills_up_while_a_shard_is_finished(tmp_path, monkeypatch):
    real, calls = np.lib.format.write_array, []

    def write(handle, array, **options):
        calls.append(1)
        if len(calls) > 9:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(handle, array, **options)

    monkeypatch.setattr(shards.np.lib.format, "write_array", write)
    with pytest.raises(InputError, match="No space left on device; free disk space"):
        with ShardWriter(TFS, 0.1, tmp_path / "x.npz", 0.02) as writer:
            writer.add(0, 0, made())
            writer.finish(np.arange(7), 40, {})
    assert list(tmp_path.iterdir()) == []


def test_other_failures_are_not_called_a_full_disk(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        ShardWriter(TFS, 0.1, tmp_path / "file/x.npz", 0.02)


def test_a_shard_that_is_killed_leaves_the_others_alone_and_its_scratch_to_the_next(tmp_path):
    """A killed process leaves its own scratch, but no file under the name of a shard; the next run removes it."""
    done = tmp_path / "0.npz"
    done.write_bytes(b"finished")
    code = f"""
        import os, numpy as np
        from scbind.binding.shards import ShardWriter
        writer = ShardWriter(["CTCF"], 0.1, {str(tmp_path / "1.npz")!r}, 0.02)
        writer.add(0, 0, np.ones((3, 4, 1), np.float32))
        os._exit(9)  # as after SIGKILL, nothing is tidied up
    """
    folder = str(Path(scbind.__file__).parent.parent)
    reply = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=folder, check=False)
    assert reply.returncode == 9
    assert [path.name for path in tmp_path.glob("*.npz")] == ["0.npz"] and done.read_bytes() == b"finished"
    assert len(list(tmp_path.iterdir())) == 2
    with ShardWriter(["CTCF"], 0.1, tmp_path / "1.npz", 0.02) as writer:
        assert not list(writer.folder.iterdir())
        assert len(list(tmp_path.iterdir())) == 2
        writer.finish(np.arange(3), 4, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.npz", "1.npz"]
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=folder, check=False)
    with ShardWriter(["CTCF"], 0.1, tmp_path / "1-of-3.npz", 0.02):  # of another scatter
        assert len(list(tmp_path.iterdir())) == 4
    remove_ended([tmp_path])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.npz", "1.npz"]


def test_only_the_blocks_that_are_asked_for_are_read(tmp_path):
    with ShardWriter(TFS, 0.1, tmp_path / "x.npz", 0.02) as writer:
        for window in range(0, 40, 10):
            writer.add(0, window, made()[:, window : window + 10])
        writer.finish(np.arange(7), 40, {})
    shard, expected = Shard.open(tmp_path / "x.npz"), quantise(made(), 0.1, SCALE)
    index = shard.array("index1")
    begin = (tmp_path / "x.npz").read_bytes().index(shard.array("blocks1").tobytes())
    with open(tmp_path / "x.npz", "r+b") as handle:  # the third block is damaged
        handle.seek(begin + index[2, 4])
        handle.write(b"\xff" * index[2, 5])
    shard = Shard.open(tmp_path / "x.npz")
    assert np.array_equal(shard.codes(1, 0, 20), expected[:, :20, 1])
    assert np.array_equal(shard.codes(1, 35, 40), expected[:, 35:, 1])
    with pytest.raises(InputError, match="x.npz: a block of binding is damaged; run the inference"):
        shard.codes(1, 19, 21)


def test_damaged_shards_are_refused(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"x" * 100)
    with pytest.raises(InputError, match="x.npz: is not a .npz file; run the inference of the sample again"):
        Shard.open(tmp_path / "x.npz")
    np.savez(tmp_path / "other.npz", rows=np.arange(3))
    with pytest.raises(
        InputError, match="other.npz: not readable .no tfs.*; run the inference of the sample again"
    ):
        Shard.open(tmp_path / "other.npz")
    with pytest.raises(InputError, match="y.npz: no such file; run the inference of the sample again"):
        Shard.open(tmp_path / "y.npz")


@pytest.mark.parametrize("member", ["z", "reliability", "index1"])
def test_a_shard_whose_further_arrays_are_damaged_is_refused(tmp_path, member):
    with ShardWriter(TFS, 0.1, tmp_path / "x.npz", 0.02) as writer:
        writer.add(0, 0, made())
        writer.finish(np.arange(7), 40, {"z": np.zeros((7, len(TFS))), "reliability": json.dumps({"a": 1})})
    with zipfile.ZipFile(tmp_path / "x.npz") as archive:
        start = archive.getinfo(f"{member}.npy").header_offset
    with open(tmp_path / "x.npz", "r+b") as handle:
        handle.seek(start + 60)
        handle.write(b"\xff" * 30)
    shard = Shard.open(tmp_path / "x.npz")
    read = {"z": lambda: shard.array("z"), "reliability": lambda: shard.reliability}.get(
        member, lambda: shard.codes(1)
    )
    with pytest.raises(InputError, match=r"^\S+x.npz: not readable \(.*\); run the inference of the sample"):
        read()
    with pytest.raises(InputError, match="x.npz: not readable .no votes"):
        shard.array("votes")


def test_cells_without_a_pass_column_or_without_a_passing_cell(tmp_path):
    ad.AnnData(obs=pd.DataFrame(index=["a"])).write_h5ad(tmp_path / "cells.h5ad")
    with pytest.raises(InputError, match="no column pass"):
        read_passing_cells(tmp_path / "cells.h5ad")
    ad.AnnData(obs=pd.DataFrame({"pass": [False]}, index=["a"])).write_h5ad(tmp_path / "cells.h5ad")
    assert not len(read_passing_cells(tmp_path / "cells.h5ad")[0])
