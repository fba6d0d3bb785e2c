"""Genes of another assembly than the FASTA, told by start codons and by the lengths in GFF3."""

import numpy as np
import pytest
from scbind.cells.count import count_fragments
from scbind.core.errors import InputError
from scbind.formats.genes import read_genes
from scbind.formats.genome import Genome

LENGTHS = {"chr1": 60_000, "chr2": 40_000, "chrM": 5_000}
CODONS = {"+": [0, 3, 2], "-": [1, 0, 3]}  # ATG, and CAT


@pytest.fixture
def genome(tmp_path):
    """A genome with ATG at the start codons, and those as (chromosome, start from 0, strand)."""
    rng = np.random.default_rng(0)
    codes = {name: rng.integers(0, 4, length).astype(np.uint8) for name, length in LENGTHS.items()}
    sites = []
    for row, name in enumerate(["chr1", "chr2"]):
        for start in range(1_000, LENGTHS[name] - 3_000, 200):
            strand = "+-"[(start // 200 + row) % 2]
            codes[name][start : start + 3] = CODONS[strand]
            sites.append((name, start, strand))
    folder = tmp_path / "reference"
    folder.mkdir()
    np.save(folder / "sequence.npy", np.concatenate(list(codes.values())))
    # a chromosome without sequence comes last
    sizes = LENGTHS | {"chrU": 9_000}
    (folder / "chrom.sizes").write_text("".join(f"{name}\t{length}\n" for name, length in sizes.items()))
    return Genome.open(folder), sites


def line(name, feature, start, end, strand, gene="G"):
    return f'{name}\tx\t{feature}\t{start + 1}\t{end}\t.\t{strand}\t0\tgene_id "{gene}";\n'


def annotation(folder, sites, shift=0, regions=""):
    """Write the genes of start codons, each codon twice, as in two transcripts."""
    text = regions
    for number, (name, start, strand) in enumerate(sites):
        text += line(name, "gene", start + shift - 50, start + shift + 90, strand, f"G{number}")
        text += 2 * line(name, "start_codon", start + shift, start + shift + 3, strand, f"G{number}")
    path = folder / "genes.gtf"
    path.write_text(text)
    return path


def read(path, genome):
    return read_genes(path, genome.sizes, genome)


def test_genes_of_the_assembly_pass(tmp_path, genome, capsys):
    genome, sites = genome
    assert len(read(annotation(tmp_path, sites), genome)) == len(sites)
    said = capsys.readouterr().err
    assert f"of {len(sites)} start codons, 100% read ATG in the genome" in said and "WARNING" not in said


@pytest.mark.parametrize("strand", ["+", "-", "+-"])
def test_genes_of_another_assembly_are_refused(tmp_path, genome, strand):
    genome, sites = genome
    sites = [site for site in sites if site[2] in strand]
    message = rf"line 2 \(chr1:\d+\): of {len(sites)} start codons, [0-9]% read ATG in the genome; genes and FASTA are"
    with pytest.raises(InputError, match=message):
        read(annotation(tmp_path, sites, shift=37), genome)


def test_the_strand_is_that_of_the_line(tmp_path, genome):
    genome, sites = genome
    turned = [(name, start, {"+": "-", "-": "+"}[strand]) for name, start, strand in sites]
    with pytest.raises(InputError, match=r"start codons, \d% read ATG"):
        read(annotation(tmp_path, turned), genome)


def test_a_part_of_other_codons_is_a_warning(tmp_path, genome, capsys):
    genome, sites = genome
    moved = [(name, start + 37 * (row % 10 < 3), strand) for row, (name, start, strand) in enumerate(sites)]
    read(annotation(tmp_path, moved), genome)
    assert "WARNING" in (said := capsys.readouterr().err) and "% read ATG in the genome; make sure" in said


def test_few_or_unusable_codons_decide_nothing(tmp_path, genome):
    genome, sites = genome
    assert len(read(annotation(tmp_path, sites[:19], shift=37), genome)) == 19
    with pytest.raises(InputError, match="of 20 start codons"):
        read(annotation(tmp_path, sites[:20], shift=37), genome)
    # without sequence, split by an intron, without a strand, beyond the end, on another chromosome
    path = annotation(tmp_path, sites[:5])
    with open(path, "a") as handle:
        for at in range(500, 3_500, 100):
            handle.write(line("chrU", "start_codon", at, at + 3, "+"))
            handle.write(line("chr1", "start_codon", at, at + 2, "+"))
            handle.write(line("chr1", "start_codon", at, at + 3, "."))
            handle.write(line("chr1", "start_codon", 10**7 + at, 10**7 + at + 3, "+"))
            handle.write(line("chrX", "start_codon", at, at + 3, "+"))
    assert len(read(path, genome)) == 5


def test_unknown_bases_are_ignored(tmp_path, genome, capsys):
    genome, sites = genome
    codes = np.array(genome.codes)
    for name, start, _ in sites[: len(sites) // 2]:
        codes[genome.sizes.offsets[genome.sizes.index(name)] + start + 1] = 4
    np.save(genome.folder / "sequence.npy", codes)
    read(annotation(tmp_path, sites), Genome.open(genome.folder))
    assert f"of {len(sites) - len(sites) // 2} start codons, 100% read ATG" in capsys.readouterr().err


def test_a_sample_is_spread_over_the_genome(tmp_path, genome, monkeypatch, capsys):
    """Codons are right on the first chromosome only; a sample of the first ones would pass."""
    genome, sites = genome
    monkeypatch.setattr("scbind.formats.assembly.SAMPLE", 50)
    sites = sites[:60] + [(name, start + 37, strand) for name, start, strand in sites if name == "chr2"]
    with pytest.raises(InputError, match=r"of 50 start codons, 2\d% read ATG"):
        read(annotation(tmp_path, sites), genome)


REGIONS = {
    "right": ("chr1 1 60000", "chr2 1 40000", "chrM 1 5000"),
    "right, spaces": ("  chr1   1   60000",),
    "another mitochondrial one": ("chr1 1 60000", "chrM 1 4998"),
    "of other chromosomes": ("chrX 1 77",),
    "a part": ("chr1 1 60000", "chr2 500 30000"),
    "as far as the last gene": ("chr1 1 1090", "chr2 1 40000"),
}


@pytest.mark.parametrize("kind", REGIONS)
def test_lengths_of_the_assembly_pass(tmp_path, genome, kind):
    genome, sites = genome
    regions = "".join(f"##sequence-region {region}\n" for region in REGIONS[kind])
    path = annotation(tmp_path, sites[:1], regions="##gff-version 3\n" + regions)
    assert len(read(path, genome)) == 1


@pytest.mark.parametrize("regions", [("chr1 1 60001", "chr2 1 39000"), ("chr2 1 30000",)])
def test_lengths_of_another_assembly_are_refused(tmp_path, genome, regions):
    genome, sites = genome
    path = annotation(tmp_path, sites[:1], regions="".join(f"##sequence-region {one}\n" for one in regions))
    name, _, length = regions[0].split()
    with pytest.raises(InputError, match=f"{name}: length {length} differs from the genome's .*genome.genes"):
        read(path, genome)
    # start codons decide, if there are enough: then the genome may be a part of the assembly
    path = annotation(tmp_path, sites, regions="".join(f"##sequence-region {one}\n" for one in regions))
    assert len(read(path, genome)) == len(sites)


def test_counting_refuses_genes_of_another_assembly(tmp_path, genome):
    genome, sites = genome
    fragments = tmp_path / "fragments.tsv"
    fragments.write_text("".join(f"chr1\t{at}\t{at + 60}\tA-1\t1\n" for at in range(3_000, 9_000, 50)))
    outputs = [tmp_path / name for name in ("position.npy", "cell.npy", "barcodes.tsv", "profile.tsv")]

    def count(shift):
        genes = annotation(tmp_path, sites, shift)
        sizes = genome.folder / "chrom.sizes"
        count_fragments(fragments, sizes, *outputs, 10, genes=genes, reference=genome.folder)

    with pytest.raises(InputError, match="genes and FASTA are of different assemblies"):
        count(37)
    assert not any(path.exists() for path in outputs)
    count(0)
    assert all(path.exists() for path in outputs)
