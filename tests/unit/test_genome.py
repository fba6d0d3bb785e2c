import gzip

import numpy as np
import pytest
from scbind.core.errors import InputError
from scbind.formats import genome as module
from scbind.formats.genome import ChromSizes, Genome
from scbind.formats.inputs import read_lines


def write(tmp_path, text):
    path = tmp_path / "chrom.sizes"
    path.write_text(text)
    return path


def test_sizes_offsets_and_lookup(tmp_path):
    sizes = ChromSizes.read(write(tmp_path, "chr2\t10\nchr1\t5\nchrM\t2\n"))
    assert sizes.names == ("chr2", "chr1", "chrM")
    assert sizes.offsets.tolist() == [0, 10, 15, 17]
    assert sizes.total == 17
    assert sizes.index("chr1") == 1
    assert list(sizes.as_dict().items()) == [("chr2", 10), ("chr1", 5), ("chrM", 2)]
    with pytest.raises(KeyError):
        sizes.index("chr3")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("chr1\t5\nchr2 x7\n", "line 2: expected name<TAB>length"),
        ("chr1\t-5\n", "line 1: expected"),
        ("chr1\t5\nchr1\t5\n", "listed twice"),
    ],
)
def test_malformed_sizes_are_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        ChromSizes.read(write(tmp_path, text))


@pytest.mark.parametrize(
    "content", [b"chr1\t5\nchr\xe9\t6\n", "\ufeffchr1\t5\nchr\xe9\t6\n".encode("utf-16-le")]
)
def test_sizes_in_other_encodings_are_read(tmp_path, content):
    path = tmp_path / "chrom.sizes"
    for name, text in (("plain", content), ("gzip", gzip.compress(content))):
        path.write_bytes(text)
        assert ChromSizes.parse(path, read_lines(path)).as_dict() == {"chr1": 5, "chr\xe9": 6}, name


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"chr1\t5\n" * 50, mtime=0)[:-9], "truncated or damaged"),
        (b"chr1\t\0\n", "line 1: not a text file"),
        (b"chr1\t" + b"9" * 5000, "line 1: expected name<TAB>length"),
        ("chr1\t\xb2".encode(), "line 1: expected name<TAB>length"),
        (None, "a folder, not a file"),
    ],
)
def test_what_is_no_table_of_sizes_is_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "chrom.sizes"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        ChromSizes.parse(path, read_lines(path))
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1000


def test_missing_sizes_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        ChromSizes.read(tmp_path / "none")


@pytest.fixture
def genome(tmp_path):
    write(tmp_path, "chr1\t6\nchr2\t4\nchr3\t100\n")
    np.save(tmp_path / "sequence.npy", np.array([0, 1, 2, 3, 4, 0, 3, 3, 2, 4], dtype=np.uint8))
    return Genome.open(tmp_path)


def test_sequence_covers_the_first_chromosomes(genome):
    assert genome.n_sequenced == 2
    assert genome.known_lengths().tolist() == [5, 3, 0]


def test_organelle_dna_is_no_part_of_the_nucleus(tmp_path):
    write(tmp_path, "chr1\t6\nchrM\t3\nPt\t1\n")
    np.save(tmp_path / "sequence.npy", np.zeros(10, dtype=np.uint8))
    genome = Genome.open(tmp_path)
    assert genome.sizes.nuclear.tolist() == [True, False, False]
    assert genome.known_lengths().tolist() == [6, 0, 0]  # so insertions of a cell in them are no depth


def test_windows_are_n_beyond_the_ends_and_never_spill_over(genome):
    codes = genome.window_codes(np.array([0, 0, 1]), np.array([-2, 4, 0]), 5)
    assert codes.tolist() == [[4, 4, 0, 1, 2], [4, 0, 4, 4, 4], [3, 3, 2, 4, 4]]
    assert codes.dtype == np.uint8


def test_mappability_of_windows(genome):
    np.save(genome.folder / "mappability.npy", np.array([9, 8, 7, 6, 5, 4, 255, 0, 255, 0], dtype=np.uint8))
    got = genome.window_mappability(np.array([0, 0, 1]), np.array([-2, 4, 0]), 5)
    assert got.dtype == np.uint8
    assert got.tolist() == [[0, 0, 9, 8, 7], [5, 4, 0, 0, 0], [255, 0, 255, 0, 0]]
    mean = genome.mean_mappability(np.array([0, 1, 1]), np.array([1, 0, 1]), 2)
    assert mean.tolist() == [15 / 510, 0.5, 0.5]


@pytest.mark.parametrize("block", [1, 3, 10, 1000])
def test_means_do_not_depend_on_blocks(genome, monkeypatch, block):
    monkeypatch.setattr(module, "BLOCK", block)
    levels = np.random.default_rng(0).integers(0, 256, 10).astype(np.uint8)
    np.save(genome.folder / "mappability.npy", levels)
    chrom, start = np.array([0] * 4 + [1] * 2, dtype=np.int16), np.array([0, 1, 1, 3, 0, 1], dtype=np.int32)
    expected = genome.window_mappability(chrom, start, 3).mean(axis=1) / 255
    np.testing.assert_allclose(genome.mean_mappability(chrom, start, 3), expected, rtol=1e-12)
    assert genome.mean_mappability(chrom[:0], start[:0], 3).shape == (0,)


def test_missing_or_foreign_mappability_is_refused(genome):
    with pytest.raises(InputError, match="mappability.npy: no such file; set genome.mappability"):
        genome.window_mappability(np.array([0]), np.array([0]), 2)
    np.save(genome.folder / "mappability.npy", np.zeros(9, np.uint8))
    with pytest.raises(InputError, match="mappability.npy: made from another genome; run its rule again"):
        genome.mean_mappability(np.array([0]), np.array([0]), 2)
