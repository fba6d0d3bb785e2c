import numpy as np
import pyBigWig
import pytest
from scbind.core.errors import InputError
from scbind.formats.genome import Genome
from scbind.reference import mappability
from scbind.reference.mappability import prepare_mappability

HEADER = (("chr1", 20), ("chr2", 12))
ENTRIES = (("chr1", 3, 15, 0.5), ("chr1", 15, 16, 1.0), ("chr1", 18, 19, 0.25), ("chr2", 0, 12, 1.0))


@pytest.fixture
def reference(tmp_path):
    """chr2 before chr1, and chr7 without sequence."""
    folder = tmp_path / "ref"
    folder.mkdir()
    (folder / "chrom.sizes").write_text("chr2\t12\nchr1\t20\nchr7\t9\n")
    np.save(folder / "sequence.npy", np.zeros(32, np.uint8))
    return folder


def save(path, entries=ENTRIES, header=HEADER):
    with pyBigWig.open(str(path), "w") as bw:
        bw.addHeader(list(header))
        chrom, start, end, value = zip(*entries, strict=True)
        bw.addEntries(list(chrom), list(start), ends=list(end), values=list(value))
    return path


def run(tmp_path, reference, **options):
    prepare_mappability(save(tmp_path / "m.bw", **options), reference, reference / "mappability.npy")
    return Genome.open(reference).mappability


@pytest.mark.parametrize("block", [1, 4, 7, 1 << 20])
def test_levels_follow_the_genome_whatever_the_block(tmp_path, reference, monkeypatch, block):
    monkeypatch.setattr(mappability, "BLOCK", block)
    levels = run(tmp_path, reference)
    assert levels.dtype == np.uint8 and isinstance(levels, np.memmap)
    assert levels[:12].tolist() == [255] * 12
    # nothing covers [0, 3), [16, 18) and the last base
    assert levels[12:].tolist() == [0] * 3 + [128] * 12 + [255, 0, 0, 64, 0]


def test_a_level_is_within_half_a_step_of_the_value(tmp_path, reference):
    values = np.random.default_rng(0).random(20)
    entries = [("chr1", i, i + 1, v) for i, v in enumerate(values)] + [("chr2", 0, 1, 1.0)]
    got = run(tmp_path, reference, entries=entries)[12:] / 255
    assert np.abs(got - values).max() <= 1 / 510 + 1e-6


def test_chromosomes_without_sequence_are_passed_over(tmp_path, reference):
    more = (*ENTRIES, ("chr7", 0, 9, 1.0), ("chrX", 0, 9, 1.0))
    run(tmp_path, reference, entries=more, header=(*HEADER, ("chr7", 9), ("chrX", 9)))
    assert len(np.load(reference / "mappability.npy")) == 32


def test_absent_chromosomes_and_nan_count_as_0(tmp_path, reference, capsys):
    run(tmp_path, reference, entries=[("chr1", 2, 4, 1.0), ("chr1", 4, 6, np.nan)], header=HEADER[:1])
    assert np.flatnonzero(np.load(reference / "mappability.npy")).tolist() == [14, 15]
    assert "1 of 2 chromosomes (37.5% of the genome) are not in it, as chr2" in capsys.readouterr().err


def test_percentages_give_the_same_as_shares(tmp_path, reference, capsys):
    shares = [("chr1", 2, 4, 0.5), ("chr1", 4, 6, 1.0), ("chr2", 0, 3, 0.8)]
    run(tmp_path, reference, entries=shares)
    expected = np.load(reference / "mappability.npy")
    run(tmp_path, reference, entries=[(*place, 100 * value) for *place, value in shares])
    np.testing.assert_array_equal(np.load(reference / "mappability.npy"), expected)
    assert "values are percentages" in capsys.readouterr().err


def test_a_rounding_error_above_1_is_no_percentage(tmp_path, reference):
    run(tmp_path, reference, entries=[("chr1", 2, 4, 1.0000002)])
    assert np.load(reference / "mappability.npy").max() == 255


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"entries": [("1", 0, 9, 1.0)], "header": [("1", 20), ("2", 12)]},
            "m.bw: no chromosome name matches the genome .*; add the prefix",
        ),
        (
            {"header": [("chr1", 25), ("chr2", 12)]},
            "m.bw, chr1: length 25 differs from the genome's 20; use a file made for this genome",
        ),
        (
            {"entries": [("chr1", 2, 4, 0.5), ("chr2", 3, 6, 1.5)]},
            "m.bw: the largest value is 1.5, neither a fraction .* nor a percentage; give values from 0 to 1",
        ),
        (
            {"entries": [("chr1", 2, 4, 0.5), ("chr2", 3, 6, 101.0)]},
            "m.bw, chr2:3: the value is 101; give a track",
        ),
        ({"entries": [("chr1", 2, 4, -0.1), ("chr2", 3, 6, 1.0)]}, "m.bw, chr1:2: the value is -0.1; give a"),
        ({"entries": [("chr1", 2, 4, 0.0), ("chr2", 3, 6, 0.0)]}, "m.bw: no value is above 0; give a track"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_left(tmp_path, reference, options, message):
    with pytest.raises(InputError, match=message) as caught:
        run(tmp_path, reference, **options)
    assert "\n" not in str(caught.value)
    assert {file.name for file in reference.iterdir()} == {"chrom.sizes", "sequence.npy"}


def test_what_is_no_whole_bigwig_is_refused(tmp_path, reference):
    output = reference / "mappability.npy"
    whole = save(tmp_path / "m.bw").read_bytes()
    for content in (b"chr1\t0\t5\t1\n" * 20, whole[: len(whole) // 2]):
        (tmp_path / "cut.bw").write_bytes(content)
        with pytest.raises(
            InputError, match="cut.bw: cannot be read as bigWig .*; copy or make the file again"
        ):
            prepare_mappability(tmp_path / "cut.bw", reference, output)
    with pytest.raises(InputError, match="none.bw: no such file"):
        prepare_mappability(tmp_path / "none.bw", reference, output)
    assert not output.exists()
