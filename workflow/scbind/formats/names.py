"""Chromosome names: count the records of a file on chromosomes of the genome; refuse the file if there are too few."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from scbind.core.errors import InputError
from scbind.core.runlog import say
from scbind.formats.genome import MITOCHONDRIAL, ChromSizes
from scbind.formats.inputs import packed_with, print_command
from scbind.formats.strays import LIMIT

TEXT = "text"
# The prefix of an assembly or species, as in GRCh38_chr1 and hg38_1; not the chrUn_ of unplaced sequences.
PREFIX = re.compile(r"^(?!chr)[A-Za-z0-9.]+?_+(?=[A-Za-z0-9])")


def match_names(path, number: Mapping[str, int], sizes: ChromSizes, unit: str, partial: bool = False) -> None:
    """Compare the chromosome names of a file with those of the genome, by the share of records that fit.

    Mitochondrial DNA does not count, because its name and length differ between assemblies that are otherwise equal.

    Parameters
    ----------
    path
        The file.
    number
        Chromosome name in the file -> number of its records.
    sizes
        The genome.
    unit
        What is counted, in the plural: ``fragments``, ``peaks``, ``bp``.
    partial
        The genome may have a part of the chromosomes only, so what lies on others is no reason to warn.

    Raises
    ------
    InputError
        If no record is on a chromosome of the genome, or if most are not and would be under other names (with or
        without ``chr``, without a prefix such as ``GRCh38_``). The remedy renames the chromosomes.
    """
    refuse_other_style(path, number, sizes, unit, TEXT)
    outside = {name: n for name, n in number.items() if name not in sizes.as_dict()}
    if outside:
        most = sorted(outside, key=lambda name: (-outside[name], name))
        names = f"{', '.join(most[:3])}{', ...' * (len(most) > 3)}"
        missing, total = sum(outside.values()), sum(number.values())
        counted = missing - sum(outside.get(name, 0) for name in MITOCHONDRIAL)
        level = "WARNING " if counted > LIMIT * total and not partial else ""
        say(
            f"{level}{path}: left out {missing} of {total} {unit} ({missing / total:.1%}) on chromosomes that are not "
            f"in the genome: {names}"
        )


def match_contigs(path, length: Mapping[str, int], sizes: ChromSizes, kind: str) -> list[str]:
    """Return the chromosomes of the genome that a BAM or bigWig has with the same length, in the order of ``sizes``.

    ``length``: name -> bp, as in the header of the file; ``kind``: ``BAM`` or ``bigWig``. The few contigs of another
    length that :func:`refuse_other_lengths` allows are left out with a warning. Raises :class:`InputError` like that
    function, and for names that do not fit, as :func:`match_names`.
    """
    refuse_other_style(path, length, sizes, "bp", kind)
    expected = sizes.as_dict()
    remedy = "use a file made for this genome assembly, or the genome that it was made for"
    for name in refuse_other_lengths(path, length, sizes, remedy):
        say(
            f"WARNING {path}, {name}: left out, because its length {length[name]} differs from the genome's "
            f"{expected[name]}"
        )
    return [name for name in sizes.names if length.get(name) == expected[name]]


def refuse_other_lengths(path, length: Mapping[str, int], sizes: ChromSizes, remedy: str) -> list[str]:
    """Return the chromosomes of the genome that have another length in a file, in the order of ``sizes``.

    ``length``: name -> bp in the file. They hold at most 1 % of those that the file has, or are mitochondrial; a file
    with more of them, or in which no chromosome has the length of the genome's, belongs to another assembly:
    :class:`InputError` with ``remedy`` is raised.
    """
    expected = sizes.as_dict()
    names = [name for name in sizes.names if name in length]
    other = [name for name in names if length[name] != expected[name]]
    main = [name for name in names if name not in MITOCHONDRIAL]
    differing = sum(expected[name] for name in other if name not in MITOCHONDRIAL)
    if other and (differing > LIMIT * sum(expected[name] for name in main) or len(other) == len(names)):
        name = max(other, key=expected.get)
        problem = f"length {length[name]} differs from the genome's {expected[name]}"
        raise InputError(path, problem, remedy, name)
    return other


def refuse_names(path, found, sizes: ChromSizes) -> NoReturn:
    """Raise :class:`InputError` for a sheet or a list of sizes that has no chromosome name of ``sizes``."""
    _refuse(path, dict.fromkeys(found, 1), sizes, None, "no chromosome name matches the genome")


def refuse_other_style(path, number: Mapping[str, int], sizes: ChromSizes, unit: str, kind: str) -> None:
    """Raise :class:`InputError` if nothing fits, or if most does not and would under other names.

    ``number``: chromosome name in the file -> number of its records or bp; ``unit``: what is counted, in the plural;
    ``kind``: ``text``, ``BAM`` or ``bigWig``, for the command that renames.
    """
    known, main = set(sizes.names), {name: n for name, n in number.items() if name not in MITOCHONDRIAL}
    total, fitting = sum(main.values()), sum(n for name, n in main.items() if name in known)
    if not fitting and (total or not known & set(number)):
        _refuse(path, main or number, sizes, kind, "no chromosome name matches the genome")
    strange, missing = {name: n for name, n in main.items() if name not in known}, total - fitting
    best = _renaming(strange, known)
    if best is not None and best.old not in ("", "chr"):
        # GRCh38_chr1 beside chr1 is not the same chromosome, but that of another species in a mixed reference
        strange = {name: n for name, n in strange.items() if best.of(name) not in number}
    if 2 * missing >= total > 0 and best is not None and 2 * best.fits(strange, known) > missing:
        problem = f"{missing} of {total} {unit} have chromosome names of another style"
        _refuse(path, strange, sizes, kind, problem)


@dataclass(frozen=True)
class Renaming:
    """A way to rename the chromosomes of a file: one prefix is replaced by another.

    Examples
    --------
    >>> Renaming('GRCh38_', '').of('GRCh38_chr1'), Renaming('', 'chr').of('1'), Renaming('chr', '').of('1')
    ('chr1', 'chr1', '1')
    """

    old: str
    new: str
    others: tuple[
        str, ...
    ] = ()  # prefixes of other species in a mixed reference; their records are to be left out

    def of(self, name: str) -> str:
        """Return the new name of a chromosome; one without the old prefix keeps its name."""
        return self.new + name.removeprefix(self.old) if name.startswith(self.old) else name

    def fits(self, number: Mapping[str, int], known: set[str]) -> int:
        """Return how many records lie on chromosomes of the genome once they are renamed."""
        return sum(n for name, n in number.items() if self.of(name) in known)

    @property
    def words(self) -> str:
        """What to do, in words."""
        if not self.old:
            return f"add the prefix {self.new}"
        words = (
            f"replace the prefix {self.old} by {self.new}" if self.new else f"remove the prefix {self.old}"
        )
        if self.others:
            other = ", ".join(self.others)
            return f"leave out {other} (or keep only that, if it is the species of the genome) and {words}"
        return words

    def target(self, path, kind: str) -> str:
        """Return the name of the file that :meth:`command` writes."""
        ending = {"BAM": ".bam", "bigWig": ".bw"}.get(kind, ".gz" if packed_with(Path(path)) else "")
        return f"RENAMED{ending}"

    def command(self, path, kind: str) -> str:
        """Return the shell command that renames the chromosomes of a file: ``text``, ``BAM`` or ``bigWig``.

        In text the chromosome begins each line; the header stays.
        """
        name, target = shlex.quote(str(path)), self.target(path, kind)
        if kind == "BAM":
            return f"samtools reheader -c \"sed 's/SN:{self.old}/SN:{self.new}/'\" {name} > {target}"
        if kind == "bigWig":
            writer = "PYTHONPATH=workflow python -m scbind.formats.bigwigwriter"
            return f"{writer} {name} {target} '{self.old}' '{self.new}'"
        end = f"{'| gzip ' * target.endswith('.gz')}> {target}"
        if self.others:
            edit = f"sed -nE '/^(#|track|browser)/p; s/^{self.old}/{self.new}/p'"
        else:
            right = "" if self.old else f"|{self.new}"  # names that have the new prefix already
            edit = f"sed -E '/^(#|track|browser{right})/!s/^{self.old}/{self.new}/'"
        return f"{print_command(path)} | {edit} {end}"


def _renaming(strange: Mapping[str, int], known: set[str]) -> Renaming | None:
    """Return the renaming that fits most records; None if none fits any."""
    ways = [Renaming("", "chr"), Renaming("chr", "")]
    prefixes = Counter()
    for name, n in strange.items():
        if match := PREFIX.match(name):
            prefixes[match[0]] += n
    for prefix in prefixes:
        for old, new in ((prefix, ""), (prefix, "chr"), (f"{prefix}chr", "")):
            others = (each for each in prefixes if each != prefix)
            alike = tuple(each for each in others if _fits_any(strange, known, each, prefix, old, new))
            ways.append(Renaming(old, new, alike))
    best = max(ways, key=lambda way: way.fits(strange, known))
    return best if best.fits(strange, known) else None


def _fits_any(strange, known: set[str], other: str, prefix: str, old: str, new: str) -> bool:
    """Tell whether names with another prefix also become names of the genome if they are renamed in the same way."""
    way = Renaming(other + old.removeprefix(prefix), new)
    return any(name.startswith(way.old) and way.of(name) in known for name in strange)


def _refuse(path, found: Mapping[str, int], sizes: ChromSizes, kind: str | None, problem: str) -> NoReturn:
    best = _renaming(found, set(sizes.names))
    if best is None:
        remedy = "use a file made for this genome, or change the genome"
    else:
        remedy = f"{best.words} in its chromosome names"
        if kind:
            remedy = (
                f"{best.words}, and write {best.target(path, kind)} instead of this file in the sheet or "
            )
            remedy += f"configuration: {best.command(path, kind)}"
    here = ", ".join(sorted(found, key=lambda name: (-found[name], name))[:3])
    there = ", ".join(sizes.names[:3])
    raise InputError(path, f"{problem} (file: {here}; genome: {there})", remedy)
