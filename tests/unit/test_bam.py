"""BAM files as arrays, against what pysam says about each read."""

import gzip
from collections import defaultdict

import numpy as np
import pysam
import pytest
from scbind.bulk.ends import READERS
from scbind.cells.frombam import bam_to_fragments
from scbind.core.errors import InputError
from scbind.formats import bamrecords
from scbind.formats.bam import open_bam
from scbind.formats.genome import ChromSizes

SIZES = ChromSizes(("chr1", "chr2"), np.array([100_000, 5_000]))
CIGARS = ([(0, 30)], [(4, 5), (0, 25)], [(0, 10), (2, 7), (0, 20)], [(0, 10), (1, 4), (3, 9), (7, 8), (8, 8)])
FLAGS = (99, 83, 163, 147, 0, 16, 97, 1123, 355, 2147, 77, 73)


@pytest.fixture(params=[0, 1])
def path(tmp_path, request):
    """A BAM of reads of all kinds; many share a name with several others."""
    rng = np.random.default_rng(request.param)
    header = pysam.AlignmentHeader.from_references(["chr1", "other", "chr2"], [100_000, 900, 5_000])
    reads = []
    for _ in range(600):
        contig, flag = int(rng.integers(3)), int(rng.choice(FLAGS))
        left = int(rng.integers(0, 400))
        right = left + int(rng.integers(0, 300))
        name = f"r{rng.integers(400)}" + "x" * int(rng.integers(20))
        for second in (False, True):
            read = pysam.AlignedSegment(header)
            read.query_name, read.query_sequence, read.mapping_quality = (
                name,
                "A" * 30,
                int(rng.choice([60, 30, 9])),
            )
            read.flag = flag ^ 0xF0 if second and flag & 1 else flag
            read.reference_id = read.next_reference_id = contig
            read.reference_start, read.next_reference_start = (right, left) if second else (left, right)
            read.template_length = (left - right - 30) if second else right + 30 - left
            read.cigartuples = CIGARS[rng.integers(len(CIGARS))]
            tags = [("NM", 3), ("XA", "CBZ"), ("XF", 1.5), ("XX", [1, 2, 3]), ("XD", "q")]
            barcode = [("CB", "ACGT-1"), ("CB", "AC"), ("CB", "TT "), ("CB", 7), ("CB", "-"), ("XB", "C")]
            tags.insert(int(rng.integers(6)), barcode[rng.integers(6)])
            read.set_tags(tags)
            reads.append(read)
    reads.sort(key=lambda read: (read.reference_id, read.reference_start))
    with pysam.AlignmentFile(str(tmp_path / "x.bam"), "wb", header=header) as out:
        for read in reads:
            out.write(read)
    return tmp_path / "x.bam"


@pytest.fixture(params=[4_000, 2 << 20])
def block(monkeypatch, request):
    """Blocks that end within records and between mates, and one with the whole file."""
    monkeypatch.setattr(bamrecords, "BLOCK", request.param)


def good(path, refused=0xF04):
    with pysam.AlignmentFile(str(path)) as handle:
        yield from (read for read in handle if not read.flag & refused and read.mapping_quality >= 30)


def test_ends_and_pairs_are_those_that_pysam_tells(path, block):
    found = dict(READERS["bam"](path, SIZES, None))
    assert list(found) == ["chr1", "chr2"]
    for name, ends in found.items():
        plus, minus, waiting, number = [], [], {}, 0
        for read in (read for read in good(path) if read.reference_name == name):
            proper = read.is_proper_pair
            fragment = waiting.pop(read.query_name, None) if proper else None
            if fragment is None:
                fragment, number = number, number + 1
                if proper and read.next_reference_start >= read.reference_start:
                    waiting[read.query_name] = fragment
            place = read.reference_end - 1 if read.is_reverse else read.reference_start
            (minus if read.is_reverse else plus).append((place, fragment))
        assert len(plus) > 20 and len(minus) > 20
        assert list(zip(ends.start.tolist(), ends.of.tolist(), strict=False)) == plus
        assert list(zip(ends.last.tolist(), ends.of[len(plus) :].tolist(), strict=True)) == minus


def test_fragments_are_those_that_pysam_tells(path, block, tmp_path):
    bam_to_fragments(path, tmp_path / "f.gz", SIZES)
    expected = defaultdict(int)
    for read in good(path, 0xB04):
        fits = (
            read.is_proper_pair and not read.is_reverse and read.mate_is_reverse and read.template_length > 0
        )
        if fits and read.has_tag("CB") and read.get_tag("CB") != "-" and read.reference_name in SIZES.names:
            start, end = read.reference_start + 4, read.reference_start + read.template_length - 5
            expected[read.reference_name, start, end, str(read.get_tag("CB")).strip()] += 1
    assert len({row[3] for row in expected}) == 4
    lines = [f"{chrom}\t{a}\t{b}\t{cell}\t{n}\n" for (chrom, a, b, cell), n in sorted(expected.items())]
    assert gzip.open(tmp_path / "f.gz", "rt").read() == "".join(lines)


def test_names_with_one_key_in_common_are_apart():
    keys = np.array([[5, 5, 5, 5], [1, 2, 1, 2]], dtype=np.uint64)
    mate, waiting = bamrecords.match_mates(keys, np.array([True, True, False, True]))
    assert mate.tolist() == [-1, -1, 0, 1] and not waiting.any()


@pytest.mark.parametrize(
    ("offset", "new"),
    [
        (0, (20).to_bytes(4, "little")),  # the size of the record
        (4, (3).to_bytes(4, "little")),  # a contig that is not there
        (12, b"\0"),  # no name
        (20, (1 << 20).to_bytes(4, "little")),  # more bases than bytes
    ],
)
def test_a_record_whose_parts_do_not_fit_is_refused(path, tmp_path, offset, new):
    with pysam.AlignmentFile(str(path)) as handle, pysam.BGZFile(str(path)) as raw:
        at = handle.tell() & 0xFFFF if handle.tell() >> 16 == 0 else None
        content = bytearray(raw.read())
        at = content.index(b"chr2\0") + 5 + 4 if at is None else at
    content[at + offset : at + offset + len(new)] = new
    with pysam.BGZFile(str(tmp_path / "bad.bam"), "wb") as out:
        out.write(bytes(content))
    with pytest.raises(InputError, match="bad.bam: truncated or damaged .a record whose parts do not fit"):
        list(READERS["bam"](tmp_path / "bad.bam", SIZES, None))


def test_a_file_that_ends_within_a_record_is_refused(path, tmp_path):
    with pysam.BGZFile(str(path)) as raw:
        content = raw.read()
    with pysam.BGZFile(str(tmp_path / "bad.bam"), "wb") as out:
        out.write(content[:-20])
    with pytest.raises(InputError, match="the last record is cut off"):
        list(READERS["bam"](tmp_path / "bad.bam", SIZES, None))


def test_a_sam_is_read_as_before(path, tmp_path):
    with (
        pysam.AlignmentFile(str(path)) as handle,
        pysam.AlignmentFile(str(tmp_path / "x.sam"), "w", header=handle.header) as out,
    ):
        for read in handle:
            out.write(read)
    for file in (path, tmp_path / "x.sam"):
        with open_bam(file, SIZES) as (blocks, _):
            rows = [reads.fields.copy() for reads in blocks]
        if file == path:
            expected = np.concatenate(rows, axis=1)
    assert np.array_equal(np.concatenate(rows, axis=1), expected)


def test_a_cram_is_read_like_a_bam_but_names_its_reference_if_that_is_gone(path, tmp_path):
    reference, text = tmp_path / "g.fa", ""
    rng = np.random.default_rng(0)
    with pysam.AlignmentFile(str(path)) as handle:
        for name, length in zip(handle.references, handle.lengths, strict=True):
            text += f">{name}\n{''.join(rng.choice(list('ACGT'), length))}\n"
        reference.write_text(text)
        cram = tmp_path / "x y.cram"
        with pysam.AlignmentFile(
            str(cram), "wc", header=handle.header, reference_filename=str(reference)
        ) as out:
            for read in handle:
                out.write(read)
    expected = dict(READERS["bam"](path, SIZES, None))
    for name, found in READERS["bam"](cram, SIZES, None):
        assert all(np.array_equal(*pair) for pair in zip(found, expected.pop(name), strict=True))
    assert not expected
    reference.unlink()
    (tmp_path / "g.fa.fai").unlink()
    with pytest.raises(
        InputError, match="x y.cram: this CRAM cannot be decoded .*reference genome is not found"
    ) as caught:
        list(READERS["bam"](cram, SIZES, None))
    assert caught.value.remedy.endswith(f"samtools view -b -T GENOME.fa -o 'x y.bam' '{cram}'")
