"""Which windows of a dataset the training of a given model saw, so that they never count as held out."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from scbind.core.filenames import folded_name
from scbind.dataset.splitrules import parse_rule

PARTS = re.compile(r"\d+|\D")  # of a name: a number is one part, so it is not a part of a longer number
SHORTEST = 4  # characters of a name in which one other letter counts as a misspelling


def is_same_assembly(facts: Mapping, genome: str, chromosomes: Mapping[str, int]) -> bool:
    """Tell whether coordinates in the training of a model are coordinates of this genome.

    They are if chromosomes of the same name exist, and either the genomes have the same name, or these chromosomes have
    the same lengths (bp) and are most of the genome that the model was trained on. Pieces of an assembly keep its name
    and coordinates, but not its lengths.

    Examples
    --------
    >>> facts = {"genome": "hg38", "chromosomes": {"chr1": 248956422}}
    >>> is_same_assembly(facts, "GRCh38", {"chr1": 248956422, "chr2": 242193529})
    True
    >>> is_same_assembly(facts, "hg19", {"chr1": 249250621})
    False
    """
    theirs = facts["chromosomes"]
    shared = theirs.keys() & chromosomes.keys()
    if facts["genome"] == genome:
        return bool(shared)
    # A few small contigs, such as that of mitochondria, may be the same in two assemblies.
    known = sum(chromosomes[name] for name in shared)
    return all(theirs[name] == chromosomes[name] for name in shared) and 2 * known > sum(theirs.values())


def seen_windows(
    facts: Mapping,
    lines: Sequence[str],
    chroms: Sequence[str],
    chrom: np.ndarray,
    start: np.ndarray,
    width: int,
    validated: bool = True,
) -> np.ndarray:
    """Tell on which windows a model was trained or validated, wholly or partly: bool (lines, windows).

    Parameters
    ----------
    facts
        Facts of the model. It comes from the same assembly (:func:`is_same_assembly`).
    lines
        Cell lines asked for. Which of the model's lines is the same line: see :func:`same_lines`.
    chroms, chrom, start, width
        Names of the chromosomes; index into them and 0-based start of the context of each window, shape (windows,);
        width of the context in bp. A window counts as seen if its context is even partly in a region of training or
        validation, because it would share sequence and signal with it.
    validated
        Whether regions of validation count, as they do for windows of the same line.
    """
    lengths, trained = facts["chromosomes"], trained_lines(facts)
    limit = np.array([lengths.get(name, 0) for name in chroms], dtype=np.int64)
    within = start < limit[chrom]
    regions = partial(_regions, facts, chroms, chrom, start, width)
    seen = np.zeros((len(lines), len(start)), dtype=bool)
    for row, line in (
        (row, same) for row, name in enumerate(lines) for same in same_lines(name, facts["cell_lines"])
    ):
        if validated:
            seen[row] |= regions("valid", line, partly=True)
        if line in trained:
            if (
                facts["splits"].get("train") is None
            ):  # then a model is trained on everything that is in no other rule
                left = ~regions("test", line, partly=False)
                if not validated:
                    left &= ~regions("valid", line, partly=False)
                seen[row] |= left
            else:
                seen[row] |= regions("train", line, partly=True)
    return seen & within


def same_lines(line: str, known: Sequence[str]) -> list[str]:
    """Return which of the ``known`` names mean the same cell line, the same spelling first.

    Case, hyphens, underscores, dots and spaces do not matter: if a line is taken for new, windows of the training count
    as held out.

    Examples
    --------
    >>> same_lines("gm12878", ["GM-12878", "K562"]), same_lines("K562.2", ["K562"])
    (['GM-12878'], [])
    """
    same = [name for name in known if folded_name(name) == folded_name(line)]
    return sorted(same, key=lambda name: name != line)


def similar_lines(line: str, known: Sequence[str]) -> list[str]:
    """Return which of the ``known`` names resemble that of a line, so that they may mean the same line.

    Either one name is a part of the other, or both have at least ``SHORTEST`` characters and differ in one letter.
    Names that differ in a number are those of different lines. Case and separators do not matter (:func:`same_lines`).

    Examples
    --------
    >>> known = ["GM12878", "H1", "HepG2"]
    >>> similar_lines("GM12878_rep2", known), similar_lines("H1-derived", known), similar_lines("HebG2", known)
    (['GM12878'], ['H1'], ['HepG2'])
    >>> similar_lines("GM12879", known), similar_lines("H9", known), similar_lines("NCI-H1299", known)
    ([], [], [])
    """
    return [name for name in known if _is_similar(*sorted(map(folded_name, (line, name)), key=len))]


def _is_similar(short: str, long: str) -> bool:
    few, many = (PARTS.findall(name) for name in (short, long))
    places = range(len(many) - len(few) + 1)
    if len(short) > 1 and any(many[place : place + len(few)] == few for place in places):
        return True
    steps = difflib.SequenceMatcher(None, short, long, autojunk=False).get_opcodes()
    changed = [(short[i:j], long[k:m]) for step, i, j, k, m in steps if step != "equal"]
    return (
        len(short) >= SHORTEST
        and len(changed) == 1
        and all(len(letters) <= 1 and not letters.isdigit() for letters in changed[0])
    )


def with_extended(facts: Mapping) -> list[Mapping]:
    """Return facts of a model, those of the model that it extends, and so on.

    Examples
    --------
    >>> [each["genome"] for each in with_extended({"genome": "hg38", "extends": {"genome": "hg19"}})]
    ['hg38', 'hg19']
    """
    found = [facts]
    while facts := facts.get("extends"):
        found.append(facts)
    return found


def trained_lines(facts: Mapping) -> list[str]:
    """Cell lines on which a model was trained, in the order of its facts.

    Examples
    --------
    >>> trained_lines({"cell_lines": ["A", "B"], "assayed": [[True, False], [False, False]]})
    ['A']
    """
    return [line for line, each in zip(facts["cell_lines"], facts["assayed"], strict=True) if any(each)]


def _regions(
    facts: Mapping,
    chroms: Sequence[str],
    chrom: np.ndarray,
    start: np.ndarray,
    width: int,
    part: str,
    line: str,
    partly: bool,
) -> np.ndarray:
    """Bool (windows,): windows of a line of the model in the regions of one split, wholly or at least partly."""
    found = np.zeros(len(start), dtype=bool)
    for text in facts["splits"].get(part) or ():
        rule = parse_rule(text, f"splits.{part}", facts["cell_lines"])
        if rule.line not in ("*", line) or rule.chrom not in ("*", *chroms):
            continue
        here = np.ones(len(start), dtype=bool) if rule.chrom == "*" else chrom == chroms.index(rule.chrom)
        if rule.start is not None and partly:
            here = here & (start + width > rule.start) & (start < rule.end)
        elif rule.start is not None:
            here = here & (start >= rule.start) & (start + width <= rule.end)
        found |= here
    return found
