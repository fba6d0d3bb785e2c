"""Whether genes are of the assembly of the genome: an annotation states start codons, or lengths of chromosomes.

Assemblies of one species have chromosomes with the same names and similar lengths, so genes of another assembly have
plausible places. But few of their start codons read ATG there, about 1 in 64; in the right assembly, nearly all do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from scbind.core.errors import InputError
from scbind.core.runlog import say
from scbind.formats.genome import UNKNOWN, Genome
from scbind.formats.names import refuse_other_lengths

# A line that states the length of a whole chromosome. Regions that begin elsewhere are parts, as chrY without its
# pseudoautosomal ends in GFF3 of Ensembl.
WHOLE = re.compile(r"##sequence-region\s+(\S+)\s+1\s+([0-9]{1,15})\s*")
ATG = np.array([0, 3, 2], dtype=np.uint8)  # codes of scbind.formats.genome
SAMPLE = 1000  # start codons that are read
ENOUGH = 20  # fewer start codons decide nothing
LEAST = 0.5  # of them read ATG, or the annotation is refused
USUAL = 0.9  # of them read ATG, or there is a warning
REMEDY = "give the annotation of this assembly (genome.genes), or the FASTA of these genes (genome.fasta)"


@dataclass
class Stated:
    """What an annotation states about its assembly.

    Attributes
    ----------
    codons
        Line, chromosome, start (0-based) and strand of each start codon that no intron splits (3 bp).
    lengths
        Chromosome -> length in bp, of the lines ``##sequence-region`` of GFF3 that begin at 1.
    """

    codons: list[tuple[int, str, int, str]] = field(default_factory=list)
    lengths: dict[str, int] = field(default_factory=dict)

    def note_region(self, line: str) -> None:
        """Note the length that a comment states, if it does."""
        if match := WHOLE.fullmatch(line):
            self.lengths[match[1]] = int(match[2])


def refuse_other_assembly(path, stated: Stated, genome: Genome, last: Mapping[str, int]) -> None:
    """Refuse an annotation of another assembly than the genome's; one that states nothing passes.

    Up to 1,000 start codons, evenly spaced along the genome, are read; those with an N are ignored. They decide if
    there are 20 or more. Otherwise the stated lengths decide.

    Parameters
    ----------
    path
        The annotation, for messages.
    stated
        What it states.
    genome
        The genome; only its chromosomes with sequence have start codons.
    last
        Chromosome -> end (bp) of its last gene. Some tools write this as the end of ``##sequence-region``, which then
        is not the length.

    Raises
    ------
    InputError
        If fewer than half of the start codons read ATG; or if lengths differ, by the rule for BAM and bigWig
        (:func:`scbind.formats.names.refuse_other_lengths`).
    """
    line, place, is_atg = _read_codons(stated, genome)
    if len(is_atg) < ENOUGH:
        known = genome.sizes.as_dict()
        lengths = {
            name: length
            for name, length in stated.lengths.items()
            if length == known.get(name) or length != last.get(name)
        }
        refuse_other_lengths(path, lengths, genome.sizes, REMEDY)
        return
    share = is_atg.mean()
    found = f"of {len(is_atg)} start codons, {share:.0%} read ATG in the genome"
    if share < LEAST:
        first = int(np.argmin(is_atg))
        problem = f"{found}; genes and FASTA are of different assemblies"
        raise InputError(path, problem, REMEDY, f"line {line[first]} ({place[first]})")
    doubt = "; make sure that genes and FASTA are of the same assembly" if share < USUAL else ""
    say(f"{'WARNING ' * bool(doubt)}{path}: {found}{doubt}")


def _read_codons(stated: Stated, genome: Genome) -> tuple[list[int], list[str], np.ndarray]:
    """Return the line, the place (``chrom:start``, from 1) and whether it reads ATG (bool) of each sampled codon."""
    index = {name: number for number, name in enumerate(genome.sequenced)}
    # transcripts of one gene share their start codon; the first line counts
    codons: dict[tuple[int, int, str], int] = {}
    for line, name, start, strand in stated.codons:
        if name in index and strand in ("+", "-"):
            codons.setdefault((index[name], start, strand), line)
    sites = sorted(codons)
    sites = [sites[at] for at in np.linspace(0, len(sites) - 1, min(len(sites), SAMPLE)).astype(np.int64)]
    chrom, start = (np.array([site[column] for site in sites], dtype=np.int64) for column in (0, 1))
    read = genome.window_codes(chrom, start, len(ATG))
    minus = np.array([strand == "-" for _, _, strand in sites], dtype=bool)
    known = (read != UNKNOWN).all(axis=1)
    read[minus] = 3 - read[minus, ::-1]  # the complement of a base is 3 minus its code
    kept = np.flatnonzero(known)
    names = genome.sizes.names
    place = [f"{names[chrom[at]]}:{start[at] + 1}" for at in kept]
    return [codons[sites[at]] for at in kept], place, (read[kept] == ATG).all(axis=1)
