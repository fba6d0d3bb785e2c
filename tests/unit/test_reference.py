import gzip

import numpy as np
import pysam
import pytest
from scbind.core.errors import InputError
from scbind.formats.genome import Genome
from scbind.reference.prepare import prepare_reference

FASTA = ">chr2 second\nACGTN\nacgtR\nAC\n>chr1\nTTTT\n"


@pytest.fixture
def build(tmp_path):
    def run(fasta=FASTA, exclude=None, chrom_sizes=None, name="in.fa", write=None):
        path = tmp_path / name
        if isinstance(fasta, str):
            path.write_text(fasta)
        elif fasta is not None:
            path.write_bytes(fasta)
        paths = {"exclude": exclude, "chrom_sizes": chrom_sizes}
        for key, text in paths.items():
            if text is not None:
                paths[key] = tmp_path / key
                paths[key].write_text(text)
        out = tmp_path / "out"
        names = ("genome.fa.gz", "chrom.sizes", "sequence.npy", "exclude.bed")
        prepare_reference(path, *(out / file for file in names), **paths)
        return out

    return run


def test_plain_gzip_and_bgzip_give_the_same_files(build, tmp_path):
    plain = {file.name: file.read_bytes() for file in build().iterdir()}
    zipped = {file.name: file.read_bytes() for file in build(gzip.compress(FASTA.encode())).iterdir()}
    assert plain == zipped
    (tmp_path / "plain.fa").write_text(FASTA)
    pysam.tabix_compress(str(tmp_path / "plain.fa"), str(tmp_path / "b.fa.gz"), force=True)
    assert plain == {file.name: file.read_bytes() for file in build(None, name="b.fa.gz").iterdir()}
    fasta = {f"genome.fa.gz{ending}" for ending in ("", ".fai", ".gzi")}
    assert set(plain) == {*fasta, "chrom.sizes", "sequence.npy", "exclude.bed"}
    assert gzip.decompress(plain["genome.fa.gz"]).decode() == FASTA


def test_sizes_codes_and_index(build):
    out = build()
    assert (out / "chrom.sizes").read_text() == "chr2\t12\nchr1\t4\n"
    codes = np.load(out / "sequence.npy", mmap_mode="r")
    assert codes.dtype == np.uint8
    assert codes.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 3, 3, 3, 3]
    assert (out / "exclude.bed").read_bytes() == b""
    with pysam.FastaFile(str(out / "genome.fa.gz")) as handle:
        assert handle.fetch("chr2", 3, 7) == "TNac"


def test_exclusion_list_is_sorted_and_merged(build):
    bed = "chr1\t1\t2\tx\nchr2\t5\t7\nchr9\t0\t999\nchr2\t0\t3\nchr2\t2\t4\n"
    assert (build(exclude=bed) / "exclude.bed").read_text() == "chr2\t0\t4\nchr2\t5\t7\nchr1\t1\t2\n"


def test_organelle_dna_is_left_out(build, capfd):
    fasta = ">chr1\nACGTACGT\n>chrM\nACGTAC\n"
    assert (build(fasta) / "exclude.bed").read_text() == "chrM\t0\t6\n"
    assert "does not count as depth: chrM" in capfd.readouterr().err
    out = build(fasta, exclude="chrM\t2\t4\nchr1\t0\t2\n", chrom_sizes="chr1\t8\nPt\t9\n", name="b.fa")
    assert (out / "exclude.bed").read_text() == "chr1\t0\t2\nchrM\t0\t6\nPt\t0\t9\n"


def test_unsequenced_chromosomes_come_last(build):
    out = build(chrom_sizes="chr7\t50\nchr1\t4\nchr3\t60\n")
    assert (out / "chrom.sizes").read_text() == "chr2\t12\nchr1\t4\nchr7\t50\nchr3\t60\n"
    assert Genome.open(out).n_sequenced == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fasta": ""}, "the file is empty"),
        ({"fasta": "ACGT\n"}, "line 1: does not begin with '>'; give a FASTA file"),
        ({"fasta": gzip.compress(FASTA.encode())[:-12]}, "truncated or damaged"),
        ({"fasta": ">a\nACGT\n>a\nAC\n"}, "a sequence is empty or its name occurs twice"),
        ({"fasta": ">a\nACGT\nAC\nACGT\n"}, "cannot be indexed"),
        ({"fasta": ">a\n>b\n\n"}, "no sequence follows its headers; give a FASTA file with a line feed"),
        ({"fasta": ">a\rACGT\r"}, "no sequence follows its headers"),
        ({"fasta": ">a\nACGT\n>b\n>c\nAC\n"}, "a sequence is empty or"),
        ({"fasta": b">caf\xe9\nACGT\n"}, "the name of a sequence is not UTF-8; rename it"),
        ({"fasta": ">a\nACGT\n>p\nACQT\n"}, "p:2: not a nucleotide letter"),
        ({"exclude": "2\t0\t3\n"}, "no chromosome name matches .* add the prefix"),
        ({"exclude": "chr2\t0\t3\nchr2\t5\n"}, "line 2: fewer than 3 columns"),
        ({"exclude": "chr2\tx\t3\n"}, "line 1: start is 'x', not a whole number"),
        ({"chrom_sizes": "chr1\t5\nchr7\t9\n"}, "chr1: length 5 differs from the 4 bp"),
        ({"chrom_sizes": "1\t4\n"}, "no chromosome name matches .* add the prefix"),
        (
            {"fasta": ">chr1\nAC\n>chrM\nAC\n", "chrom_sizes": "1\t2\nchrM\t2\n"},
            "no chromosome name matches .* add the prefix",
        ),
    ],
)
def test_bad_input_is_refused_and_nothing_is_left(build, tmp_path, options, message):
    with pytest.raises(InputError, match=message) as caught:
        build(**options)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "out").glob("*")) and not list((tmp_path / "out").glob(".*"))


def test_missing_fasta_is_refused(build):
    with pytest.raises(InputError, match="none.fa: no such file"):
        build(None, name="none.fa")


@pytest.mark.filterwarnings("error::FutureWarning")
def test_an_exclusion_list_of_the_whole_assembly_is_cut_with_a_warning(build, tmp_path, capfd):
    build(exclude="chr2\t1\t2\nchr2\t0\t13000\nchr2\t12000\t13000\nchr3\t0\t9\n")
    assert "line 2: 2 intervals extend beyond their chromosome" in capfd.readouterr().err
    (cut,) = [p.read_text() for p in (tmp_path / "out").rglob("exclude.bed")]
    assert cut.startswith("chr2\t0\t") and cut.count("\n") == 1


def test_an_exclusion_list_may_have_more_chromosomes_than_the_genome(build, capfd):
    build(exclude="chr2\t1\t2\n" + "chr9\t0\t9\n" * 200)
    said = capfd.readouterr().err
    assert "left out 200 of 201 intervals (99.5%) on chromosomes that are not in the genome" in said
    assert "WARNING" not in said
