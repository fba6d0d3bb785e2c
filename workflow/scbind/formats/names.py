"""Chromosome names: how many records of a file lie on chromosomes of the genome, and what to do if too few do."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

from scbind.core.errors import InputError
from scbind.core.runlog import say
from scbind.formats.genome import ChromSizes
from scbind.formats.inputs import packed_with, print_command
from scbind.formats.strays import LIMIT

MITOCHONDRIAL = {"chrM", "chrMT", "MT", "M", "Mt", "Mito", "mitochondrion_genome", "MtDNA"}
PREFIX = re.compile(
    r"^[A-Za-z0-9.]+?_+(?=(chr)?\w)"
)  # of an assembly or species, as in GRCh38_chr1 and hg38_1


def match_names(path, number: Mapping[str, int], sizes: ChromSizes, unit: str) -> None:
    """Compare the chromosome names of a file with those of the genome, by the share of records that fit.

    Mitochondrial DNA decides nothing, because its name and length differ between assemblies that are otherwise equal.

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

    Raises
    ------
    InputError
        If no record is on a chromosome of the genome, or if most are not and would be under other names (with or
        without ``chr``, without a prefix such as ``GRCh38_``). The remedy renames the chromosomes.
    """
    strange, missing, total = _strange(path, number, sizes, unit, text=True)
    if strange:
        most = sorted(strange, key=lambda name: (-strange[name], name))
        names = f"{', '.join(most[:3])}{', ...' * (len(most) > 3)}"
        level = "WARNING " if missing > LIMIT * total else ""
        say(
            f"{level}{path}: left out {missing} of {total} {unit} ({missing / total:.1%}) on {len(strange)} "
            f"chromosomes that are not in the genome ({names})"
        )


def match_contigs(path, length: Mapping[str, int], sizes: ChromSizes) -> list[str]:
    """Return the chromosomes of the genome that a BAM or bigWig has with the same length, in the order of ``sizes``.

    ``length``: name -> bp, as in the header of the file. A contig of another length is left out with a warning if such
    contigs hold at most 1 % of the genome, or if it is mitochondrial; a file with more of them is of another assembly.
    Raises :class:`InputError` for that, and for names that do not fit, as :func:`match_names`.
    """
    _strange(path, length, sizes, "bp", text=False)
    expected = sizes.as_dict()
    names = [name for name in sizes.names if name in length]
    other = [name for name in names if length[name] != expected[name]]
    main = [name for name in names if name not in MITOCHONDRIAL]
    differing = sum(expected[name] for name in other if name in main)
    if other and (differing > LIMIT * sum(expected[name] for name in main) or len(other) == len(names)):
        name = max(other, key=expected.get)
        raise InputError(
            path,
            f"length {length[name]} differs from the genome's {expected[name]}",
            "use a file made for this genome assembly, or the genome that it was made for",
            name,
        )
    for name in other:
        say(
            f"WARNING {path}, {name}: left out, because its length {length[name]} differs from the genome's "
            f"{expected[name]}"
        )
    return [name for name in names if name not in other]


def refuse_names(path, found, sizes: ChromSizes) -> NoReturn:
    """Raise :class:`InputError` for a sheet or a list of sizes that has no chromosome name of ``sizes``."""
    _refuse(path, dict.fromkeys(found, 1), sizes, False, "no chromosome name matches the genome")


def _strange(path, number, sizes: ChromSizes, unit: str, text: bool) -> tuple[dict[str, int], int, int]:
    """Return the names that are not in the genome with their records, the sum of these, and all records.

    Mitochondrial DNA is not counted. Raises the errors of :func:`match_names`.
    """
    known, main = set(sizes.names), {name: n for name, n in number.items() if name not in MITOCHONDRIAL}
    total, fitting = sum(main.values()), sum(n for name, n in main.items() if name in known)
    if not fitting and (total or not known & set(number)):
        _refuse(path, main or number, sizes, text, "no chromosome name matches the genome")
    strange, missing = {name: n for name, n in main.items() if name not in known}, total - fitting
    best = _renaming(strange, known)
    if 2 * missing >= total > 0 and best is not None and 2 * best.fits(strange, known) > missing:
        problem = f"{missing} of {total} {unit} have chromosome names of another style"
        _refuse(path, strange, sizes, text, problem)
    return strange, missing, total


class _Renaming:
    """One way to rename the chromosomes of a file."""

    def __init__(self, rename: Callable[[str], str], script: str, words: str):
        self.rename, self.script, self.words = rename, script, words

    def fits(self, number: Mapping[str, int], known: set[str]) -> int:
        """Return how many records lie on chromosomes of the genome once they are renamed."""
        return sum(n for name, n in number.items() if self.rename(name) in known)


def _renaming(strange: Mapping[str, int], known: set[str]) -> _Renaming | None:
    """Return the renaming that fits most records; None if none fits any."""
    ways = [
        _Renaming(lambda name: f"chr{name}", "s/^/chr/", "add the prefix chr"),
        _Renaming(lambda name: name.removeprefix("chr"), "s/^chr//", "remove the prefix chr"),
    ]
    prefixes = {match[0]: strange[name] for name in strange if (match := PREFIX.match(name))}
    if prefixes:
        prefix = max(prefixes, key=prefixes.get)
        cut = _Renaming(
            lambda name: name.removeprefix(prefix), f"s/^{prefix}//", f"remove the prefix {prefix}"
        )
        ways += [
            cut,
            _Renaming(
                lambda name: f"chr{cut.rename(name)}",
                f"s/^{prefix}/chr/",
                f"replace the prefix {prefix} by chr",
            ),
            _Renaming(
                lambda name: cut.rename(name).removeprefix("chr"),
                f"s/^{prefix}chr//",
                f"remove the prefix {prefix}chr",
            ),
        ]
    best = max(ways, key=lambda way: way.fits(strange, known))
    return best if best.fits(strange, known) else None


def _refuse(path, found: Mapping[str, int], sizes: ChromSizes, text: bool, problem: str) -> NoReturn:
    best = _renaming(found, set(sizes.names))
    if best is None:
        remedy = "use a file made for this genome, or change the genome"
    elif text:
        remedy = f"{best.words}: {rename_command(path, best.script)}"
    else:
        remedy = f"{best.words} in its chromosome names, or use a file made for this genome"
    here = ", ".join(sorted(found, key=lambda name: (-found[name], name))[:3])
    there = ", ".join(sizes.names[:3])
    raise InputError(path, f"{problem} (file: {here}; genome: {there})", remedy)


def rename_command(path, script: str) -> str:
    """Return the shell command that renames the chromosomes of a text file with ``sed`` and keeps its header."""
    packed = packed_with(Path(path)) is not None
    end = "| gzip > RENAMED.gz" if packed else "> RENAMED"
    return f"{print_command(path)} | sed -E '/^(#|track|browser)/!{script}' {end}"
