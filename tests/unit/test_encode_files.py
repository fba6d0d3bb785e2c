"""Files as ENCODE, GENCODE and 10x publish them, in small: every format passes without being prepared by hand."""

import gzip
import json

import numpy as np
import pysam
import pytest
from scbind.bulk.tracks import insertion_track
from scbind.formats.genes import read_genes
from scbind.formats.genome import ChromSizes
from scbind.formats.insertions import read_insertions
from scbind.formats.intervals import read_bed, read_peaks

# GENCODE (primary assembly) calls scaffolds by their accession; alignments of ENCODE use the names of UCSC.
GENOME = {"chr1": 60_000, "chr2": 40_000, "chrM": 16_569, "KI270706.1": 9_000, "GL000194.1": 8_000}
CONTIGS = {"chr1": 60_000, "chr2": 40_000, "chrM": 16_569} | {
    "chr1_KI270706v1_random": 9_000,
    "chr6_GL000250v2_alt": 7_000,
    "chrUn_KN707606v1_decoy": 2_200,
    "chrUn_GL000194v1": 8_000,
    "chrEBV": 17_000,
    "HLA-A*01:01:01:01": 3_500,
}
PROPER, DUPLICATE, SECONDARY, SUPPLEMENTARY, FAILED = 2, 1024, 256, 2048, 512


@pytest.fixture
def sizes(tmp_path):
    (tmp_path / "chrom.sizes").write_text("".join(f"{name}\t{size}\n" for name, size in GENOME.items()))
    return ChromSizes.read(tmp_path / "chrom.sizes")


def pair(header, number, chrom, start, end, flag=0, quality=60):
    """Two mates of 36 bp of one fragment, as bowtie2 aligned them: ends not shifted."""
    for reverse in (False, True):
        read = pysam.AlignedSegment(header)
        read.query_name, read.query_sequence, read.mapping_quality = f"r{number}", "A" * 36, quality
        read.reference_id = read.next_reference_id = list(CONTIGS).index(chrom)
        read.cigartuples = [(0, 36)]
        read.flag = (147 if reverse else 99) | flag
        read.reference_start = end - 36 if reverse else start
        read.next_reference_start = start if reverse else end - 36
        read.template_length = (start - end) if reverse else (end - start)
        read.set_tag("NM", 0)
        yield read


@pytest.fixture
def alignments(tmp_path):
    """An unfiltered BAM with duplicates, secondary, supplementary and failed reads, on all kinds of contigs."""
    header = pysam.AlignmentHeader.from_references(list(CONTIGS), list(CONTIGS.values()))
    rng = np.random.default_rng(0)
    reads, kept = [], []
    for number in range(3000):
        chrom = list(CONTIGS)[number % len(CONTIGS)] if number % 3 else "chrM"  # a third of the reads
        start = int(rng.integers(0, CONTIGS[chrom] - 600))
        end = start + int(rng.integers(40, 500))
        flag = {5: DUPLICATE, 7: SECONDARY, 11: SUPPLEMENTARY, 13: FAILED}.get(number % 17, 0)
        reads += pair(header, number, chrom, start, end, flag)
        if not flag and chrom in GENOME:
            kept += [(chrom, start + 4), (chrom, end - 6)]
    reads.sort(key=lambda read: (read.reference_id, read.reference_start))
    path = tmp_path / "ENCFF000AAA.bam"
    with pysam.AlignmentFile(str(path), "wb", header=header) as out:
        for read in reads:
            out.write(read)
    return path, kept


def test_alignments_of_encode(alignments, sizes, tmp_path):
    """Duplicates and the like do not count, ends are shifted, contigs that the genome lacks are left out."""
    path, kept = alignments
    outputs = [tmp_path / name for name in ("i.bw", "i.json", "i.npy")]
    insertion_track([{"path": path, "format": "bam"}], tmp_path / "chrom.sizes", *outputs)
    offset = dict(zip(sizes.names, sizes.offsets.tolist(), strict=False))
    expected = sorted(offset[chrom] + at for chrom, at in kept)
    assert read_insertions(outputs[0], sizes).tolist() == expected
    assert json.loads(outputs[1].read_text())


def test_idr_peaks_of_encode(sizes, tmp_path):
    """narrowPeak, packed, not sorted, one place more than once with other summits, on contigs that the genome lacks."""
    lines = [
        "chr2\t500\t900\t.\t1000\t.\t220.1\t-1.00000\t4.42\t200",
        "chr1\t1000\t1400\t.\t1000\t.\t310.5\t-1.00000\t4.81\t150",
        "chr1\t1000\t1400\t.\t870\t.\t210.5\t-1.00000\t3.81\t300",
        "chrUn_GL000194v1\t100\t400\t.\t540\t.\t60.5\t-1.00000\t1.81\t120",
        "chr6_GL000250v2_alt\t100\t400\t.\t540\t.\t60.5\t-1.00000\t1.81\t120",
        "chrEBV\t100\t400\t.\t540\t.\t60.5\t-1.00000\t1.81\t120",
    ]
    path = tmp_path / "ENCFF000BBB.bed.gz"
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    found = read_peaks(path, sizes)
    assert set(zip(found["chrom"], found["start"], found["end"], strict=True)) == {
        ("chr1", 1000, 1400),
        ("chr2", 500, 900),
    }


ATTRIBUTES = {
    "gtf": 'gene_id "{0}.5"; gene_type "{2}"; gene_name "{1}"; level 2; hgnc_id "HGNC:1"; havana_gene "OTT1.2";',
    "gff3": "ID={0}.5;gene_id={0}.5;gene_type={2};gene_name={1};level=2;hgnc_id=HGNC:1;havana_gene=OTT1.2",
}


@pytest.mark.parametrize("kind", ["gtf", "gff3"])
def test_genes_of_gencode(sizes, tmp_path, kind):
    """Comments, transcripts and exons between genes, PAR genes twice, scaffolds by accession, chrM."""
    genes = [
        ("chr1", 1000, 5000, "+", "ENSG1", "SPI1", "protein_coding"),
        ("chr1", 7001, 9000, "-", "ENSG2", "LINC1", "lncRNA"),
        ("chr2", 100, 300, "+", "ENSG3", "PLCXD1", "protein_coding"),
        ("chrM", 577, 647, "+", "ENSG4", "MT-TF", "Mt_tRNA"),
        ("KI270706.1", 50, 900, "+", "ENSG5", "RBBP5P1", "processed_pseudogene"),
        ("chrY", 100, 300, "+", "ENSG3_PAR_Y", "PLCXD1", "protein_coding"),
    ]
    text = "##description: evidence-based annotation\n##provider: GENCODE\n##format: x\n"
    text = "##gff-version 3\n" * (kind == "gff3") + text
    for chrom, start, end, strand, *names in genes:
        for feature in ("gene", "transcript", "exon"):
            about = ATTRIBUTES[kind].format(*names)
            text += f"{chrom}\tHAVANA\t{feature}\t{start}\t{end}\t.\t{strand}\t.\t{about}\n"
    path = tmp_path / f"gencode.v41.basic.annotation.{kind}.gz"
    path.write_bytes(gzip.compress(text.encode()))
    table = read_genes(path, sizes)
    assert table["gene"].tolist() == ["SPI1", "LINC1", "PLCXD1", "MT-TF", "RBBP5P1"]
    assert table["tss"].tolist() == [999, 8999, 99, 576, 49]


def test_exclusion_list_of_boyle_lab(sizes, tmp_path):
    text = "chr1\t0\t750\tHigh Signal Region\nchr1\t800\t900\tLow Mappability\nchrY\t0\t100\tHigh Signal Region\n"
    path = tmp_path / "hg38-blacklist.v2.bed.gz"
    path.write_bytes(gzip.compress(text.encode()))
    assert read_bed(path, sizes)[["start", "end"]].to_numpy().tolist() == [[0, 750], [800, 900]]
