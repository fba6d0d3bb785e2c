"""Rules of ``splits``: which cell lines and which parts of the genome belong to a split.

Snakemake checks the rules with this module when it plans a run, so it imports only light packages (no numpy).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scbind.core.errors import InputError

# Names of HLA contigs hold colons, so only a range of numbers at the end is one.
_RULE = re.compile(r"^(?P<line>[^:\s]+):(?P<chrom>\S+?)(?::(?P<start>\d{1,18})-(?P<end>\d{1,18}))?$")
SHOWN = 8  # names in a message


@dataclass(frozen=True)
class SplitRule:
    """One parsed rule; ``start`` and ``end`` (bp, 0-based half-open) are ``None`` for a whole chromosome."""

    text: str
    line: str
    chrom: str
    start: int | None
    end: int | None


def parse_rule(
    text: str, where: str, lines: Sequence[str], chroms: Sequence[str] | None = None, label: str = "config"
) -> SplitRule:
    """Parse a rule ``LINE:CHROM[:START-END]`` and check its names.

    ``chroms`` are the chromosomes of the genome; with ``None`` the chromosome is not checked. ``where`` and ``label``
    are the key and the file of the rule, for messages. Raises :class:`InputError` for a rule that can match nothing.

    Examples
    --------
    >>> rule = parse_rule('*:chr1:0-5000', 'splits.test', lines=['K562'], chroms=['chr1'])
    >>> rule.line, rule.chrom, rule.start, rule.end
    ('*', 'chr1', 0, 5000)
    """
    match = _RULE.match(text) if isinstance(text, str) else None
    if not match or re.search(r":\d*-\d*$", match["chrom"]):
        raise InputError(
            label, f"{text!r} is not LINE:CHROM[:START-END]", "write for example '*:chr1'", where
        )
    line, chrom = match["line"], match["chrom"]
    if line != "*" and line not in lines:
        raise InputError(label, f"no cell line {line!r}", f"use one of {_shown(lines)} or *", where)
    if chrom != "*" and chroms is not None and chrom not in chroms:
        raise InputError(label, f"no chromosome {chrom!r}", f"use one of {_shown(chroms)} or *", where)
    start, end = (int(match["start"]), int(match["end"])) if match["start"] else (None, None)
    if start is not None and start >= end:
        raise InputError(label, f"{text!r}: start is not below end", "swap them", where)
    return SplitRule(text, line, chrom, start, end)


def refuse_overlaps(
    splits: Mapping[str, Sequence[str] | None], lines: Sequence[str], label: str = "config"
) -> None:
    """Raise :class:`InputError` if rules of two splits claim a whole chromosome of one line.

    Rules of regions are left to :func:`scbind.dataset.splits.assign_splits`, which knows the windows. ``splits``: rules
    of ``test``, ``valid`` and ``train``; ``label``: the file of the rules, for messages.
    """
    claimed: list[tuple[str, SplitRule]] = []
    for part in ("test", "valid", "train"):
        for position, text in enumerate(splits.get(part) or ()):
            rule = parse_rule(text, f"key splits.{part}", lines, label=label)
            if rule.start is not None:
                continue
            for other_part, other in claimed:
                both = {rule.line, other.line} - {"*"}, {rule.chrom, other.chrom} - {"*"}
                if other_part != part and max(map(len, both)) < 2 and lines:
                    raise InputError(
                        label,
                        f"{text!r} overlaps {other.text!r} of splits.{other_part}",
                        "make the holdouts disjoint",
                        f"key splits.{part}[{position}]",
                    )
            claimed.append((part, rule))


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + ", ..." * (len(names) > SHOWN)
