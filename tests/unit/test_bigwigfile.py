"""A bigWig is read as pyBigWig reads it; a damaged one is refused where pyBigWig crashes or gives what is not in it."""

import struct
import zlib

import numpy as np
import pyBigWig
import pytest
from scbind.core.errors import InputError
from scbind.formats.bigwig import bigwig_intervals, open_any_bigwig
from scbind.formats.bigwigfile import BigWigFile
from scbind.formats.bigwigwriter import create_bigwig
from scbind.formats.genome import ChromSizes

LENGTHS = {"chr1": 900_000, "chr10": 50_000, "chr2": 40_000, "chrM": 10}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A bigWig with sections of all three forms and an index of two levels."""
    path, rng = tmp_path_factory.mktemp("bw") / "x.bw", np.random.default_rng(0)
    with pyBigWig.open(str(path), "w") as out:
        out.addHeader(list(LENGTHS.items()))
        start = np.arange(0, 900_000, 3)
        out.addEntries(
            ["chr1"] * len(start),
            start.tolist(),
            ends=(start + 2).tolist(),
            values=rng.random(len(start)).tolist(),
        )
        start = np.sort(rng.choice(50_000 // 4, 5_000, replace=False)) * 4
        out.addEntries("chr10", start.tolist(), values=rng.random(len(start)).tolist(), span=4)
        out.addEntries("chr2", 1000, values=rng.random(5000).tolist(), span=3, step=7)
    return path


def test_a_track_without_entries_can_be_read(tmp_path):
    sizes = ChromSizes(tuple(LENGTHS), np.array(list(LENGTHS.values())))
    with create_bigwig(tmp_path / "x.bw", sizes, 0):
        pass
    with open_any_bigwig(tmp_path / "x.bw") as bw:
        assert bigwig_intervals("x.bw", bw, "chr1", 0, 900_000).tolist() == [[0, 1, 0]]
    with pyBigWig.open(str(tmp_path / "x.bw")) as bw:
        assert bw.chroms() == LENGTHS and bw.intervals("chr1") == ((0, 1, 0.0),)


def unpacked(content):
    """The same bigWig with sections that are not packed, at the end of the file."""
    content = bytearray(content)
    index = struct.unpack_from("<Q", content, 24)[0]
    struct.pack_into("<I", content, 52, 0)
    waiting = [index + 48]
    while waiting:
        node = waiting.pop()
        leaf, _, number = struct.unpack_from("<BBH", content, node)
        for item in range(number):
            at = node + 4 + item * (32 if leaf else 24) + 16
            if leaf:
                begin, size = struct.unpack_from("<QQ", content, at)
                data = zlib.decompress(content[begin : begin + size])
                struct.pack_into("<QQ", content, at, len(content), len(data))
                content += data
            else:
                waiting.append(struct.unpack_from("<Q", content, at)[0])
    return bytes(content)


@pytest.mark.parametrize("packed", [True, False])
def test_entries_are_those_of_pybigwig(made, tmp_path, packed):
    path, rng = made, np.random.default_rng(1)
    if not packed:
        path = tmp_path / "u.bw"
        path.write_bytes(unpacked(made.read_bytes()))
    theirs, ours = pyBigWig.open(str(made)), BigWigFile(path)
    assert ours.chroms == theirs.chroms() == LENGTHS and list(ours.chroms) == list(theirs.chroms())
    for name, length in LENGTHS.items():
        ranges = [(0, length), (0, 1), (length - 1, length)]
        ranges += [tuple(sorted(rng.choice(length + 1, 2, replace=False).tolist())) for _ in range(6)]
        for low, high in ranges:
            wanted = np.array(theirs.intervals(name, low, high) or (), dtype=float).reshape(-1, 3)
            np.testing.assert_array_equal(ours.intervals(name, low, high), wanted)


def section(content):
    """Place and size of the first section, the place of its item in the index, and the place of the index."""
    index = struct.unpack_from("<Q", content, 24)[0]
    node = index + 48
    while not content[node]:
        node = struct.unpack_from("<Q", content, node + 4 + 16)[0]
    return *struct.unpack_from("<QQ", content, node + 4 + 16), node + 4, index


def put(form, at, *values):
    return lambda content: struct.pack_into(form, content, at(content), *values)


def in_section(form, at, *values):
    """Alter an unpacked section in its first bytes."""
    return put(form, lambda content: section(content)[0] + at, *values)


DAMAGES = {
    "magic": (put("<I", lambda _: 0, 7), "the first bytes are not those of a bigWig"),
    "bigBed": (put("<I", lambda _: 0, 0x8789F2EB), "a bigBed"),
    "place of the chromosomes": (put("<Q", lambda _: 8, 1 << 63), "points beyond its end"),
    "number of chromosomes": (put("<Q", lambda c: struct.unpack_from("<Q", c, 8)[0] + 16, 1 << 40), "items, but"),
    "size of the names": (put("<I", lambda c: struct.unpack_from("<Q", c, 8)[0] + 8, 1 << 31), "no list"),
    "a name twice": (put("<5s", lambda c: c.index(b"chr10"), b"chr2\0"), "a chromosome is listed twice"),
    "a name that is not text": (put("<5s", lambda c: c.index(b"chr10"), b"\xff\xfe\xff\xff\xff"), "not text"),
    "place of the index": (put("<Q", lambda _: 24, 100), "no index"),
    "loop in the index": (put("<Q", lambda c: section(c)[3] + 48 + 4 + 16, 0), "no index|back to itself"),
    "number of sections": (put("<H", lambda c: section(c)[2] - 2, 3), "items, but"),
    "place of a section": (put("<Q", lambda c: section(c)[2] + 16, 1 << 50), "points beyond its end"),
    "size of a section": (put("<Q", lambda c: section(c)[2] + 24, 10), "a section is too short"),
    "chromosome of a section": (in_section("<I", 0, 2), "of another chromosome"),
    "form of a section": (in_section("<B", 20, 9), "unknown form"),
    "number of entries": (in_section("<H", 22, 65_535), "too short"),
    "end before start": (in_section("<2I", 24, 5, 4), "an entry ends before its start"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_files_are_refused_in_one_line(made, tmp_path, name):
    damage, message = DAMAGES[name]
    content = bytearray(unpacked(made.read_bytes()))
    if name == "loop in the index":
        root = section(content)[3] + 48
        struct.pack_into("<Q", content, root + 4 + 16, root)
        message = "an index leads back to itself"
    else:
        damage(content)
    path = tmp_path / "x.bw"
    path.write_bytes(content)
    with (
        pytest.raises(InputError, match=f"cannot be read as bigWig .*({message})") as caught,
        open_any_bigwig(path) as bw,
    ):
        bigwig_intervals(path, bw, "chr1", 1, LENGTHS["chr1"])
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("keep", [0.999, 0.5, 0.01])
def test_a_cut_file_is_refused(made, tmp_path, keep):
    path, content = tmp_path / "x.bw", made.read_bytes()
    index = struct.unpack_from("<Q", content, 24)[0]
    path.write_bytes(content[: int(index * keep)])
    with pytest.raises(InputError, match="it may be truncated"), open_any_bigwig(path) as bw:
        bigwig_intervals(path, bw, "chr1", 1, LENGTHS["chr1"])


def test_an_entry_ends_with_its_chromosome(made, tmp_path):
    content = bytearray(unpacked(made.read_bytes()))
    in_section("<I", 24 + 4, 4_000_000_000)(content)
    (tmp_path / "x.bw").write_bytes(content)
    assert BigWigFile(tmp_path / "x.bw").intervals("chr1", 0, 10)[0, 1] == LENGTHS["chr1"]
