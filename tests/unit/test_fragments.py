import errno
import gzip
import shlex
import subprocess
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pysam
import pytest
from scbind.cells.frombam import bam_to_fragments
from scbind.core.errors import InputError
from scbind.formats.fragments import iter_chromosomes, iter_fragments
from scbind.formats.genome import ChromSizes
from scbind.formats.inputs import open_plain

SIZES = ChromSizes(("chr1", "chr2"), np.array([10_000, 5_000]))
ROWS = "chr2\t10\t60\tAA\t2\nchr2\t10\t50\tBB\t1\nchr1\t5\t10000\tAA\t3\n"


def save(tmp_path, text, name="fragments.tsv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def bgzip(path):
    pysam.tabix_compress(str(path), f"{path}.gz", force=True)
    return path.with_name(path.name + ".gz")


def read(path, **options):
    return pd.concat(
        [frame.astype({"barcode": str}) for frame in iter_fragments(path, SIZES, **options)],
        ignore_index=True,
    )


def many(n=20_000):
    start = np.sort(np.random.default_rng(3).integers(0, 9_000, n))
    return "".join(f"chr1\t{s}\t{s + 50 + i % 40}\tB{i % 71}\t1\n" for i, s in enumerate(start))


def test_columns_types_and_order(tmp_path):
    table = read(save(tmp_path, "# made by x\n#second\n" + ROWS))
    assert list(table.columns) == ["chrom", "start", "end", "barcode", "count"]
    assert table["chrom"].cat.categories.tolist() == ["chr1", "chr2"]
    assert table["chrom"].astype(str).tolist() == ["chr2", "chr2", "chr1"]
    assert table[["start", "end", "count"]].to_numpy().tolist() == [[10, 60, 2], [10, 50, 1], [5, 10000, 3]]
    assert table["start"].dtype == table["end"].dtype == np.int64
    assert table["barcode"].tolist() == ["AA", "BB", "AA"]


def test_four_columns_windows_newlines_and_no_last_newline(tmp_path):
    table = read(save(tmp_path, "chr1\t5\t9\tA\r\nchr1\t6\t9\tB"))
    assert table["count"].tolist() == [1, 1]
    assert table["barcode"].tolist() == ["A", "B"]


@pytest.mark.parametrize("chunk_bytes", [40, 1000, 1 << 20])  # 40: hardly two lines
def test_chunk_size_and_compression_do_not_matter(tmp_path, chunk_bytes):
    plain = save(tmp_path, many(400))
    expected = read(plain)
    members = tmp_path / "members.tsv.gz"
    lines = plain.read_bytes().splitlines(keepends=True)
    members.write_bytes(gzip.compress(b"".join(lines[:150])) + gzip.compress(b"".join(lines[150:])))
    for path in (plain, members, bgzip(plain)):
        pd.testing.assert_frame_equal(read(path, chunk_bytes=chunk_bytes), expected)


def test_chromosomes_come_whole(tmp_path):
    pieces = [
        (name, start.tolist(), end.tolist())
        for name, start, end in iter_chromosomes(save(tmp_path, ROWS), SIZES)
    ]
    assert pieces == [("chr2", [10, 10], [60, 50]), ("chr1", [5], [10000])]


def test_unknown_chromosomes_are_skipped_and_said(tmp_path, capsys):
    table = read(
        save(tmp_path, "chr1\t1\t9\tA\t1\nchrM\t1\t99999\tA\t1\nchrM\t2\t9\tA\t1\nchrUn_1\t1\t9\tA\t1\n")
    )
    assert len(table) == 1
    assert (
        "left out 3 of 4 fragments (75.0%) on chromosomes that are not in the genome: chrM, chrUn_1"
        in capsys.readouterr().err
    )


def test_fragments_beyond_10_kb_are_dropped_and_said(tmp_path, capsys):
    sizes = ChromSizes(("chr1",), np.array([50_000]))
    rows = "chr1\t5\t10005\tA\t1\nchr1\t5\t10006\tB\t1\nchr1\t7\t40000\tA\t1\nchrM\t1\t20000\tA\t1\n"
    (table,) = iter_fragments(save(tmp_path, rows), sizes)
    assert table[["start", "end"]].to_numpy().tolist() == [[5, 10005]]
    assert "dropped 2 fragments longer than 10000 bp" in capsys.readouterr().err
    with pytest.raises(InputError, match="all 1 fragments are longer than 10000 bp; check how"):
        list(iter_fragments(save(tmp_path, "chr1\t7\t40000\tA\t1\n"), sizes))


def test_errors_of_the_system_are_not_taken_for_damage(tmp_path):
    packed = tmp_path / "list.gz"
    packed.write_bytes(gzip.compress(b"x"))
    with pytest.raises(OSError, match="No space left") as caught, open_plain(packed):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not isinstance(caught.value, InputError)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty; check the path"),
        ("# only a comment\n", "there are no fragments in it"),
        ("chr1\t1\t9\n", "line 1: 3 columns where 4 or more are expected"),
        ("#a\nchr1 1 9 A\n", "line 2: 1 columns"),
        ("#a\nchr1\t1\t9\tA\t1\nchr1\t2\t9\tA\n", "line 3: expected 5 columns"),
        ("chr1\t1\t9\tA\t1\n\n#b\nchr1\t2.5\t9\tA\t1\n", "line 4: expected 5 columns with whole numbers"),
        ("chr1\t1\t9\tA\tx\n", "line 1: expected 5 columns with whole numbers"),
        ("chr1\t1\t99999999999999999999\tA\t1\n", "line 1: expected 5 columns with whole numbers"),
        ("chr1\t-1\t9\tA\t1\n", "line 1, chr1:-1-9: the start is negative"),
        ("chr1\t9\t9\tA\t1\n", "line 1, chr1:9-9: the start is not before the end"),
        (
            "chr1\t9\t8\tA\t1\nchr1\t9\t8\tA\t1\n",
            "line 1, chr1:9-8: the start is not before the end .2 of 2 ",
        ),
        ("chr1\t2\t10001\tA\t1\n", "line 1, chr1:2-10001: the fragment ends beyond"),
        ("chr1\t3\t9\tA\t1\nchr1\t2\t9\tA\t1\n", "line 2: not sorted.*sort -k1,1 -k2,2n. | gzip"),
        ("chr1\t3\t9\tA\t1\nchr2\t1\t9\tA\t1\nchr1\t4\t9\tA\t1\n", "line 3: not sorted"),
        ("1\t3\t9\tA\t1\n2\t3\t9\tA\t1\n", "no chromosome name matches .*file: 1, 2.*add the prefix"),
        ("chr1\t1\t9\tA\t0\n", "the count is below 1"),
        ("chr1\t1\t9\t\t1\n", "line 1.*the barcode is empty"),
    ],
)
@pytest.mark.parametrize("chunk_bytes", [16, 1 << 20])
def test_bad_files_are_refused_with_the_line(tmp_path, text, message, chunk_bytes):
    with pytest.raises(InputError, match=message) as caught:
        read(save(tmp_path, text), chunk_bytes=chunk_bytes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("chunk_bytes", [16, 1 << 20])
@pytest.mark.parametrize(
    "stray", ["chr1\t9\t9\tA\t1", "chr1\t9\t10001\tA\t1", "chr1\t9\t20\t\t1", "chr1\t9\t20\tA\t0"]
)
def test_a_stray_fragment_is_dropped_and_said(tmp_path, capsys, stray, chunk_bytes):
    text = "".join(f"chr1\t{start}\t{start + 20}\tA\t1\n" for start in (3, 9, 30))
    with_stray = text.replace("chr1\t30", f"{stray}\nchr1\t30")
    table = read(save(tmp_path, with_stray), chunk_bytes=chunk_bytes)
    assert table["start"].tolist() == [3, 9, 30]
    assert "line 3" in (said := capsys.readouterr().err) and "dropped 1 of 4 fragments" in said


@pytest.mark.parametrize("chunk_bytes", [16, 1 << 20])
def test_comments_and_empty_lines_are_passed_over_anywhere(tmp_path, chunk_bytes):
    text = "\n#a\n" + ROWS.replace("BB\t1\n", "BB\t1\n#b\n\r\n\n# chr1\t1\t2\tX\t1\n") + "\n#c"
    pd.testing.assert_frame_equal(
        read(save(tmp_path, text), chunk_bytes=chunk_bytes), read(save(tmp_path, ROWS, "plain.tsv"))
    )


def test_columns_after_the_fifth_are_not_looked_at(tmp_path):
    six = ROWS.replace("\n", "\t+\n")
    pd.testing.assert_frame_equal(read(save(tmp_path, six)), read(save(tmp_path, ROWS, "plain.tsv")))


def test_zstd_is_read_and_a_cut_one_refused(tmp_path):
    path = tmp_path / "f.tsv.zst"
    packed = pa.compress(many().encode(), codec="zstd", asbytes=True)
    path.write_bytes(packed)
    pd.testing.assert_frame_equal(read(path), read(save(tmp_path, many())))
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InputError, match="truncated or damaged"):
        read(path)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "a Git LFS pointer.*git lfs pull"),
        (b"\n<!DOCTYPE html>\n<html>", "an HTML page.*login"),
        (gzip.compress(b"BCF\2\2\0\0\0\0", mtime=0), "a BCF file, not text; convert it with bcftools view"),
        (gzip.compress(b"BAM\1\0\0\0\0", mtime=0), "a BAM file, not text; set the format bam"),
        (
            gzip.compress(gzip.compress(b"chr1\t0\t9\tA\t1\n", mtime=0), mtime=0),
            r"compressed twice \(gzip in gzip\); decompress it once",
        ),
        (b"\xfd7zXZ\0\0", "compressed with xz; decompress it"),
        (b"PK\x03\x04\0\0", "a zip archive; unpack it"),
    ],
)
def test_files_of_another_kind_are_named(tmp_path, content, kind):
    path = tmp_path / "fragments.tsv.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"this is {kind}"):
        read(path)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "text", ["# x\nchr2\t3\t9\tA\t1\nchr1\t2\t9\tA\t1\nchr2\t2\t9\tA\t1\n", "# x\n1\t3\t9\tA\t1\n"]
)
def test_the_printed_command_mends_the_very_file(tmp_path, text, packed):
    path = save(tmp_path, text, "my fragments.tsv")
    if packed:
        path = bgzip(path)
    with pytest.raises(InputError) as caught:
        read(path)
    command = caught.value.remedy.partition(": ")[2]
    subprocess.run(["bash", "-ec", command], cwd=tmp_path, check=True)
    mended = next(file for file in tmp_path.iterdir() if file.name.startswith(("SORTED", "RENAMED")))
    assert len(read(mended)) == text.count("A")
    with open_plain(mended) as handle:
        assert handle.readline() == b"# x\n"


def test_most_names_decide_not_one(tmp_path, capsys):
    few = "".join(f"chr1\t{start}\t{start + 9}\tA\t1\n" for start in range(4))
    many = "".join(f"2\t{start}\t{start + 9}\tA\t1\n" for start in range(9))
    with pytest.raises(InputError, match="9 of 13 fragments have .*another style.*add the prefix chr"):
        read(save(tmp_path, few + many))
    foreign = many.replace("2\t", "chrUn\t", 1).replace("\n2\t", "\nchrUn\t")
    assert len(read(save(tmp_path, few + foreign))) == 4
    assert "WARNING" in (said := capsys.readouterr().err) and "left out 9 of 13 fragments (69.2%)" in said


def test_a_file_without_lines_is_not_read_into_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("scbind.formats.fragments.LONGEST_LINE", 100)
    path = save(tmp_path, "# x\nchr1\t1\t9\tA\t1\n" + "\0" * 10_000)
    sizes = []
    with open(path, "rb") as handle:
        real = handle.read
        stream = SimpleNamespace(read=lambda n: [sizes.append(n), real(n)][1])
        monkeypatch.setattr("scbind.formats.fragments.open_plain", lambda path: nullcontext(stream))
        with pytest.raises(InputError, match="line 3: a line of more than 100 bytes; give a tab-separated"):
            read(path, chunk_bytes=64)
    assert sum(sizes) < 300


def test_prefix_remedy_the_other_way(tmp_path):
    with pytest.raises(InputError, match="remove the prefix"):
        list(iter_fragments(save(tmp_path, "chr1\t3\t9\tA\t1\n"), ChromSizes(("1",), np.array([100]))))


def test_missing_file():
    with pytest.raises(InputError, match="nowhere.tsv.gz: no such file"):
        list(iter_fragments("nowhere.tsv.gz", SIZES))


@pytest.mark.parametrize("how", ["gzip", "bgzf cut anywhere", "bgzf without end marker", "damaged"])
def test_truncation_is_detected(tmp_path, how):
    plain = save(tmp_path, many())
    data = gzip.compress(plain.read_bytes()) if how in ("gzip", "damaged") else bgzip(plain).read_bytes()
    if how == "damaged":
        data = data[:5000] + bytes(40) + data[5040:]
    else:
        data = data[: -28 if how == "bgzf without end marker" else -len(data) // 3]
    path = tmp_path / "cut.tsv.gz"
    path.write_bytes(data)
    with pytest.raises(InputError, match="truncated or damaged"):
        read(path)


def test_a_number_of_any_length_is_refused_in_one_line(tmp_path):
    with pytest.raises(InputError, match="line 2: expected 5 columns with whole numbers") as caught:
        read(save(tmp_path, f"chr1\t1\t9\tA\t1\nchr1\t1\t{'9' * 5000}\tA\t1\n"))
    assert len(str(caught.value)) < 1000


@pytest.fixture
def bam(tmp_path):
    """Write a BAM of read pairs ``(left, right end, barcode or None, flag changes)``; reads are 30 bp."""

    def make(pairs, sort=True, names=("chr1", "chr2"), lengths=(10_000, 5_000)):
        header = pysam.AlignmentHeader.from_references(list(names), list(lengths))
        reads = []
        for index, (left, right, barcode, extra) in enumerate(pairs):
            for second in (False, True):
                read = pysam.AlignedSegment(header)
                read.query_name, read.query_sequence, read.mapping_quality = f"r{index}", "A" * 30, 60
                read.reference_id = read.next_reference_id = 0
                read.flag = (1 | 2 | (16 | 128 if second else 32 | 64)) | extra.get("flag", 0)
                read.reference_start, read.next_reference_start = (
                    (right - 30, left) if second else (left, right - 30)
                )
                read.template_length = (left - right) if second else (right - left)
                read.cigartuples = [(0, 30)]
                read.mapping_quality = extra.get("mapq", 60)
                if barcode:
                    read.set_tag("CB", barcode)
                reads.append(read)
        if sort:
            reads.sort(key=lambda read: read.reference_start)
        path = tmp_path / "in.bam"
        with pysam.AlignmentFile(str(path), "wb", header=header) as out:
            for read in reads:
                out.write(read)
        return SimpleNamespace(path=path, out=tmp_path / "out.tsv.gz")

    return make


def test_bam_pairs_are_shifted_and_deduplicated(bam):
    made = bam(
        [
            (100, 200, "AA", {}),
            (100, 200, "AA", {"flag": 1024}),
            (100, 180, "BB", {}),
            (100, 200, "BB", {}),
            (50, 300, "AA", {}),
            (60, 300, None, {}),
            (70, 300, "AA", {"mapq": 3}),
            (75, 300, "AA", {"flag": 256}),
        ]
    )
    bam_to_fragments(made.path, made.out, SIZES)
    assert gzip.open(made.out, "rt").read() == (
        "chr1\t54\t295\tAA\t1\nchr1\t104\t175\tBB\t1\nchr1\t104\t195\tAA\t2\nchr1\t104\t195\tBB\t1\n"
    )
    assert len(read(made.out)) == 4


PAIR = (100, 200, "AA", {})


@pytest.mark.parametrize(
    ("pairs", "options", "message"),
    [
        ([(100, 200, None, {})], {}, "no read pair has a barcode in the tag CB; set cells.barcode_tag"),
        ([(500, 600, "A", {}), PAIR], {"sort": False}, "not sorted by position; run samtools sort"),
        ([PAIR], {"names": ("1", "2")}, "no chromosome name matches .* add the prefix"),
        ([PAIR], {"lengths": (9_999, 5_000)}, "chr1: length 9999 differs from the genome's 10000"),
        ([(100, 200, "AA", {"flag": 256})], {}, "no proper read pairs"),
    ],
)
def test_bad_bams_are_refused_and_leave_nothing(bam, tmp_path, pairs, options, message):
    made = bam(pairs, **options)
    with pytest.raises(InputError, match=message):
        bam_to_fragments(made.path, made.out, SIZES)
    assert [file.name for file in tmp_path.iterdir()] == ["in.bam"]


@pytest.mark.parametrize("barcode", ["AC\tGT", "AC\nGT", "AC\xa0GT"])
def test_a_barcode_that_cannot_stand_in_a_text_is_refused(bam, tmp_path, barcode):
    files = bam([(100, 200, "A", {}), (150, 250, barcode, {})])
    with pytest.raises(InputError, match="in.bam, read .*: the tag CB of a read is not text"):
        bam_to_fragments(files.path, files.out, SIZES)
    assert [file.name for file in tmp_path.iterdir()] == ["in.bam"]


@pytest.mark.parametrize("none", ["-", "0", "NO_BARCODE", "nan", "Undetermined", "NNNN-1", None])
def test_what_tools_write_for_no_barcode_is_no_cell(bam, capsys, none):
    files = bam([(100, 200, "A", {}), (150, 250, none, {}), (160, 260, none, {})])
    bam_to_fragments(files.path, files.out, SIZES)
    assert read(files.out)["barcode"].tolist() == ["A"]
    assert "1 fragments of 3 read pairs; 2 pairs had no CB" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("at", "new", "message"),
    [
        (b"chr1\0", b"ch\xff1\0", "the name of a chromosome is not text"),
        (b"BAM\1", b"BAM\7", "cannot be read as BAM"),
    ],
)
def test_a_bam_with_a_damaged_header_is_refused(bam, at, new, message):
    files = bam([(100, 200, "A", {})])
    with pysam.BGZFile(str(files.path)) as raw:
        content = raw.read().replace(at, new)
    with pysam.BGZFile(str(files.path), "wb") as out:
        out.write(content)
    with pytest.raises(InputError, match=message):
        bam_to_fragments(files.path, files.out, SIZES)


def test_a_bam_of_an_odd_packing_is_refused(bam):
    files = bam([(100, 200, "A", {})])
    content = bytearray(files.path.read_bytes())
    content[12] ^= 4  # no longer BGZF, but gzip
    files.path.write_bytes(content)
    with pytest.raises(InputError, match="in.bam: cannot be read as BAM"):
        bam_to_fragments(files.path, files.out, SIZES)


def test_a_bam_damaged_inside_is_refused_once(bam, tmp_path):
    files = bam([(100 + n, 300 + n, "A", {}) for n in range(2000)])
    content = bytearray(files.path.read_bytes())
    content[len(content) // 2] ^= 1
    files.path.write_bytes(content)
    with pytest.raises(InputError, match="in.bam: truncated or damaged"):
        bam_to_fragments(files.path, files.out, SIZES)
    assert [file.name for file in tmp_path.iterdir()] == ["in.bam"]


def test_the_printed_command_renames_the_chromosomes_of_a_bam(bam, tmp_path):
    files = bam([(100, 200, "A", {})], names=("1", "2"))
    with pytest.raises(
        InputError,
        match="add the prefix chr, and write RENAMED.bam .*: samtools reheader",
    ) as caught:
        bam_to_fragments(files.path, files.out, SIZES)
    program, *arguments, redirect, renamed = shlex.split(caught.value.remedy.partition(": ")[2])
    assert (program, arguments.pop(0), redirect) == ("samtools", "reheader", ">")
    pysam.reheader(*arguments, save_stdout=str(tmp_path / renamed), catch_stdout=False)
    bam_to_fragments(tmp_path / renamed, files.out, SIZES)
    assert read(files.out)["start"].tolist() == [104]


def test_another_mitochondrial_genome_is_no_reason_to_refuse(bam, capsys):
    files = bam([(100, 200, "A", {})], names=("chr1", "chr2", "chrM"), lengths=(10_000, 5_000, 16_569))
    sizes = ChromSizes(("chr1", "chr2", "chrM"), np.array([10_000, 5_000, 16_571]))
    bam_to_fragments(files.path, files.out, sizes)
    assert "chrM: left out, because its length 16569 differs" in capsys.readouterr().err


def test_truncated_bam_is_refused(bam):
    made = bam([(100 + i, 200 + i, "AA", {}) for i in range(300)])
    made.path.write_bytes(made.path.read_bytes()[:-28])
    with pytest.raises(InputError, match="truncated or damaged"):
        bam_to_fragments(made.path, made.out, SIZES)


def test_another_barcode_tag(bam):
    made = bam([PAIR])
    with pytest.raises(
        InputError, match="no read pair has a barcode in the tag XB .the first one has CB.; set cells"
    ):
        bam_to_fragments(made.path, made.out, SIZES, barcode_tag="XB")
