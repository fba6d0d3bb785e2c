"""One spelling for each TF: symbols that differ only in upper and lower case are one TF."""

from __future__ import annotations

from collections.abc import Iterable


def unify_symbols(assays: Iterable[tuple[str, str]]) -> tuple[dict[str, str], list[str]]:
    """Choose one spelling per TF: the first in the sheet.

    Two spellings in one cell line stay two TFs, because some species tell genes apart by case: in the fruit fly, ``h``
    is hairy and ``H`` is Hairless.

    Parameters
    ----------
    assays
        Cell line and TF of each row, in the order of the sheet.

    Returns
    -------
    tuple
        Spelling -> spelling to use, for every TF; and one sentence for each TF with several spellings.

    Examples
    --------
    >>> names, said = unify_symbols([('A', 'Ctcf'), ('B', 'CTCF'), ('A', 'h'), ('A', 'H')])
    >>> names
    {'Ctcf': 'Ctcf', 'CTCF': 'Ctcf', 'h': 'h', 'H': 'H'}
    >>> said
    ['Ctcf and CTCF are one TF, called Ctcf', 'h and H are two TFs, because A has both']
    """
    lines: dict[str, dict[str, set[str]]] = {}
    for line, tf in assays:
        lines.setdefault(tf.casefold(), {}).setdefault(tf, set()).add(line)
    names, said = {}, []
    for spellings in lines.values():
        listed = " and ".join(spellings)
        first, *others = spellings
        both = sorted(line for line in set().union(*spellings.values()) if _count(spellings, line) > 1)
        names |= {spelling: spelling if both else first for spelling in spellings}
        if both:
            said.append(f"{listed} are {_number(len(spellings))} TFs, because {both[0]} has both")
        elif others:
            said.append(f"{listed} are one TF, called {first}")
    return names, said


def _count(spellings: dict[str, set[str]], line: str) -> int:
    return sum(line in lines for lines in spellings.values())


def _number(count: int) -> str:
    return "two" if count == 2 else str(count)
