"""P(bound) of a shard of cells on disk: compressed blocks of codes, per TF.

A probability of at least the floor is stored as a code from 1 to the number of steps (uint8), all others as 0. Codes
are evenly spaced in 1 - sqrt(1 - P). The error is therefore largest for small probabilities and smallest near 1, where
the top-ranked sites are. These sites are few, so the finer steps there cost little space.

A shard is an ``.npz`` file. It holds, per TF, the compressed blocks and a table of their positions, and further arrays
of the cells. It is written one TF at a time and read block by block, in bounded memory.
"""

from __future__ import annotations

import json
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numcodecs import Blosc

from scbind.core.errors import InputError
from scbind.core.files import begin_npy, damage_errors, npz_errors, put_in_place, require
from scbind.core.runlog import FULL
from scbind.core.scratch import remove, scratch_of
from scbind.formats.celltable import passing_rows

LEAST_ERROR = 0.004  # smallest error that 255 steps allow; codes are uint8
# A shard is read once, so speed matters. On 10,000 cells, zstd needs half the space of lz4, and 2 % of the time of the
# inference more.
CODEC = Blosc("zstd", clevel=1, shuffle=Blosc.NOSHUFFLE)
INDEX = (
    "row",
    "window",
    "cells",
    "windows",
    "offset",
    "bytes",
    "crc",
)  # int64 columns of a TF's table of blocks
LOCAL = struct.Struct(
    "<4s22xHH"
)  # header of a member of a zip: magic; lengths of the name and of the extra field
WRITTEN_AT_ONCE = 1 << 12  # blocks
SORTED_AT_ONCE = 1 << 16  # entries of the table of blocks
READ_AHEAD = 1 << 18  # bytes per read; the blocks of one range of windows are next to each other
AGAIN = "run the inference of the sample again"


def steps(floor: float, max_error: float) -> int:
    """Return the number of steps from 0 to 1 that keeps the error of stored probabilities at or below ``max_error``.

    With n steps, the error of P is at most sqrt(1 - P) / n + 1 / (4 n^2). Raises :class:`InputError` if 255 steps do
    not suffice, or if the smallest stored probability would round to 0.
    """
    if not LEAST_ERROR <= max_error <= 0.5:
        problem = f"infer.max_error {max_error} is out of range"
        raise InputError("config", problem, f"set it between {LEAST_ERROR} and 0.5")
    if not max_error <= floor < 1:
        problem = f"infer.floor {floor} cannot be stored with infer.max_error {max_error}"
        raise InputError(
            "config", problem, f"set infer.floor between {max_error} and 1, or a smaller infer.max_error"
        )
    return int(np.ceil((np.sqrt(1 - floor) + np.sqrt(1 - floor + max_error)) / (2 * max_error) - 1e-9))


def quantise(probability: np.ndarray, floor: float, scale: int) -> np.ndarray:
    """Return the codes of float32 probabilities: uint8 of the same shape; 0 below ``floor``, otherwise at least 1.

    The code is ``scale`` * (1 - sqrt(1 - P)), rounded. :func:`decode` gives P.
    """
    work = np.subtract(np.float32(1), probability)
    np.sqrt(work, out=work)
    work *= np.float32(-scale)
    work += np.float32(scale + 0.5)
    codes = np.maximum(work.astype(np.uint8), 1)
    codes *= probability >= np.float32(floor)
    return codes


def decode(scale: int) -> np.ndarray:
    """Return P of each code from 0 to ``scale``: float64 (scale + 1,), 1 - (1 - code / scale)^2."""
    return 1 - (1 - np.arange(scale + 1) / scale) ** 2


def largest_error(floor: float, scale: int) -> float:
    """Return the largest error of a stored probability."""
    return float(np.sqrt(1 - floor) / scale + 0.25 / scale**2)


@contextmanager
def written_to(folder) -> Iterator[None]:
    """Raise :class:`InputError` that names ``folder`` if its disk is full, over quota or read-only."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        problem = f"cannot write here: {os.strerror(error.errno)}"
        raise InputError(
            folder, problem, "free disk space, then run again; finished files are kept"
        ) from error


class ShardWriter:
    """Collects the binding of a shard of cells on disk and writes it as ``.npz``, in bounded memory.

    Blocks may come in any order. Without ``sites``, blocks are not stored, and the shard holds only the arrays given to
    :meth:`finish`. A full disk raises :class:`InputError` and leaves no files behind. Until the shard is finished, all
    its data are in :attr:`folder`, next to the output and named after it: the blocks as they were added, and a table of
    them. The next run removes what a killed run left there.

    Parameters
    ----------
    tfs
        Names of the TFs.
    floor, max_error
        Smallest probability that is stored, and largest error of a stored probability.
    output
        The ``.npz`` file to write. Its folder is created if it does not exist.
    sites
        Whether probabilities are stored.
    """

    def __init__(
        self, tfs: list[str], floor: float, output: str | Path, max_error: float = 0.05, sites: bool = True
    ):
        self.tfs, self.floor, self.scale = list(tfs), floor, steps(floor, max_error)
        self.output, self.sites = Path(output), sites
        with written_to(self.output.parent):
            self.folder = scratch_of(self.output.with_name(f"{self.output.name}.blocks"))
            self.folder.mkdir()

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *_) -> None:
        remove(self.folder)

    def add(self, row: int, window: int, probability: np.ndarray) -> None:
        """Add P(bound), float32 (cells, windows, TFs), of a block that starts at cell ``row`` and at ``window``."""
        if not self.sites:
            return
        # cells vary fastest: the cells of a window have similar codes, which compress well
        codes = quantise(probability, self.floor, self.scale)
        codes = np.ascontiguousarray(codes.reshape(-1, len(self.tfs)).T)
        cells, windows = probability.shape[:2]
        found, entries = np.flatnonzero(codes.any(axis=1)).tolist(), []
        with written_to(self.output.parent), open(self.folder / "blocks", "ab") as handle:
            for tf in found:
                packed = CODEC.encode(np.ascontiguousarray(codes[tf].reshape(cells, windows).T))
                entries.append((tf, row, window, cells, windows, len(packed), zlib.crc32(packed)))
                handle.write(packed)
        with written_to(self.output.parent), open(self.folder / "index", "ab") as handle:
            handle.write(np.array(entries, dtype=np.int64).tobytes())

    def finish(self, rows: np.ndarray, n_windows: int, arrays: dict, made_with: str = "") -> None:
        """Write the shard of the cells ``rows`` of ``cells.h5ad``, with ``arrays`` (name to array or text).

        ``made_with`` identifies the model and its inputs. It must be the same in all shards of a sample.
        """
        finished = self.folder / "shard.npz"
        with written_to(self.output.parent), zipfile.ZipFile(finished, "w") as archive:

            def put(name, array):
                with archive.open(f"{name}.npy", "w", force_zip64=True) as handle:
                    np.lib.format.write_array(handle, np.asarray(array), allow_pickle=False)

            put("rows", np.asarray(rows, dtype=np.int64))
            put("tfs", np.asarray(self.tfs, dtype=str))
            put("n_windows", np.int64(n_windows))
            put("floor", np.float64(self.floor))
            put("scale", np.int64(self.scale))
            put("sites", np.bool_(self.sites))
            put("made_with", np.str_(made_with))
            for name, array in arrays.items():
                put(name, array)
            with open(self.folder / "blocks", "a+b") as blocks:  # absent if no block has a code
                for tf, (index, parts) in enumerate(self._by_tf(blocks.fileno())) if self.sites else ():
                    put(f"index{tf}", index)
                    with archive.open(f"blocks{tf}.npy", "w", force_zip64=True) as handle:
                        begin_npy(handle, np.dtype(np.uint8), (int(index[:, 5].sum()),))
                        for part in parts:
                            handle.write(part)
        put_in_place(finished, self.output)

    def _by_tf(self, blocks: int) -> Iterator[tuple[np.ndarray, Iterator[bytes]]]:
        """Yield the table of blocks of each TF, and its blocks in parts, in the order in which they were added.

        ``blocks`` is the descriptor of their file. It is read, not mapped: the blocks of each TF are all over the file,
        so the whole file would count as memory of the process, and some clusters would kill it.
        """
        counts = self._sort_index()
        with open(self.folder / "sorted", "rb") as handle:
            for count in counts.tolist():
                index = np.fromfile(handle, np.int64, count * len(INDEX)).reshape(-1, len(INDEX))
                start, size = index[:, 4].copy(), index[:, 5]
                index[:, 4] = np.cumsum(size) - size
                parts = (
                    b"".join(
                        os.pread(blocks, *each)
                        for each in zip(size[here].tolist(), start[here].tolist(), strict=True)
                    )
                    for here in (slice(n, n + WRITTEN_AT_ONCE) for n in range(0, count, WRITTEN_AT_ONCE))
                )
                yield index, parts

    def _sort_index(self) -> np.ndarray:
        """Replace the table of all blocks by one sorted by TF, on disk, and return the number of blocks of each TF.

        A shard of 10,000 cells has tens of millions of blocks; :data:`SORTED_AT_ONCE` of them are in memory at a time.
        Instead of the TF, the new table has the place of the block in the file of blocks; its columns are row, window,
        cells, windows, place, bytes and crc.
        """
        counts = np.zeros(len(self.tfs), dtype=np.int64)
        for piece in self._index_pieces():
            counts += np.bincount(piece[:, 0], minlength=len(self.tfs))
        row, end = np.cumsum(counts) - counts, 0
        with open(self.folder / "sorted", "wb") as handle:
            for piece in self._index_pieces():
                tf, size = piece[:, 0], piece[:, 5]
                place = end + np.cumsum(size) - size
                end += int(size.sum())
                order = np.argsort(tf, kind="stable")
                entries = np.column_stack([piece[:, 1:5], place, piece[:, 5:]])[order]
                here = np.bincount(tf, minlength=len(self.tfs))
                last = np.cumsum(here)
                for number in np.flatnonzero(here).tolist():
                    handle.seek(int(row[number]) * entries.itemsize * len(INDEX))
                    handle.write(entries[last[number] - here[number] : last[number]].tobytes())
                row += here
        (self.folder / "index").unlink()
        return counts

    def _index_pieces(self) -> Iterator[np.ndarray]:
        """Yield the table of all blocks in the order in which they were added: int64 (entries, 7), see :meth:`add`."""
        with open(self.folder / "index", "a+b") as handle:  # absent if no block has a code
            handle.seek(0)
            while len(piece := np.fromfile(handle, np.int64, SORTED_AT_ONCE * len(INDEX))):
                yield piece.reshape(-1, len(INDEX))


class Shard:
    """A shard on disk. Each array is read on demand. ``rows`` are the cells' rows in ``cells.h5ad``.

    In memory are only the table of blocks of one TF and the blocks requested. The zip does not compress its members, so
    the position of each block in the file is known.
    """

    def __init__(self, path, file):
        self.path, self._file, npz = path, file, np.load(file)
        self._npz = npz
        self.rows = npz["rows"]
        self.tfs = npz["tfs"].tolist()
        self.n_windows, self.sites = int(npz["n_windows"]), bool(npz["sites"])
        self.floor, self.scale = float(npz["floor"]), int(npz["scale"])
        self.made_with = str(npz["made_with"])
        self._held = (None, None, 0)  # a TF, its table of blocks, and the position of its blocks in the file

    @classmethod
    def open(cls, path) -> Shard:
        """Open a shard. Raises :class:`InputError` if the file is missing or damaged."""
        file = open(require(path, AGAIN), "rb", buffering=READ_AHEAD)
        with npz_errors(path, AGAIN):
            return cls(path, file)

    @property
    def kind(self) -> tuple:
        """The properties that must be the same in all shards of a sample."""
        return self.tfs, self.n_windows, self.floor, self.scale, self.sites, self.made_with

    def array(self, name: str) -> np.ndarray:
        """Read one of the arrays given to :meth:`ShardWriter.finish`. Raises :class:`InputError` if it is damaged."""
        with damage_errors(self.path, AGAIN):
            return self._npz[name]

    @property
    def reliability(self) -> dict:
        """TF -> its reliability from the calibration (see :func:`scbind.models.abstention.reliability`)."""
        with damage_errors(self.path, AGAIN):
            return json.loads(str(self._npz["reliability"]))

    def codes(self, tf: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return the codes of a TF, given by its index, in windows ``[start, stop)``: uint8 (cells, windows), order F.

        Raises :class:`InputError` if a block, or the table of blocks, is damaged.
        """
        stop = self.n_windows if stop is None else stop
        if self._held[0] != tf:
            with damage_errors(self.path, AGAIN):
                self._held = (tf, self._npz[f"index{tf}"], self._begin(f"blocks{tf}.npy"))
        _, index, begin = self._held
        found = np.zeros((stop - start, len(self.rows)), dtype=np.uint8)
        here = (index[:, 1] < stop) & (index[:, 1] + index[:, 3] > start)
        for row, window, cells, windows, offset, size, crc in index[here].tolist():
            self._file.seek(begin + offset)
            packed = self._file.read(size)
            if zlib.crc32(packed) != crc:
                raise InputError(self.path, "a block of binding is damaged", AGAIN)
            block = np.frombuffer(CODEC.decode(packed), dtype=np.uint8)
            first, last = max(window, start), min(window + windows, stop)
            part = block.reshape(windows, cells)[first - window : last - window]
            found[first - start : last - start, row : row + cells] = part
        return found.T

    def _begin(self, member: str) -> int:
        """Return the position in the file of the first entry of an array that the zip holds uncompressed."""
        self._file.seek(self._npz.zip.getinfo(member).header_offset)
        _, name_length, extra_length = LOCAL.unpack(self._file.read(LOCAL.size))
        self._file.seek(name_length + extra_length, os.SEEK_CUR)
        np.lib.format.read_magic(self._file)
        np.lib.format.read_array_header_1_0(self._file)
        return self._file.tell()


def check_shards(shards: list[Shard], cells) -> list[Shard]:
    """Return the shards in the order of their cells.

    Raises :class:`InputError` if the shards do not hold each passing cell exactly once, or were made with different
    models or settings.
    """
    if not shards:
        raise InputError(cells, "no shard of its cells is given", AGAIN)
    shards = sorted((s for s in shards if len(s.rows)), key=lambda s: s.rows[0]) or shards
    first = shards[0]
    for shard in shards[1:]:
        if shard.made_with != first.made_with:
            raise InputError(shard.path, f"was made with another model than {first.path}", AGAIN)
        if shard.kind != first.kind:
            raise InputError(shard.path, f"has other TFs, windows, floor or error than {first.path}", AGAIN)
    passing = passing_rows(cells)
    rows = np.concatenate([s.rows for s in shards])
    if not np.array_equal(rows, passing):
        raise InputError(
            first.path,
            f"this and the other shards hold {len(rows)} cells, not the {len(passing)} passing cells of {cells}",
            AGAIN,
        )
    return shards
