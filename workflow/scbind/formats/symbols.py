"""Symbols of TFs from two places, matched by spelling and then without regard to case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable


def match_symbols(names: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Return which of the ``known`` symbols each name is; names without a match are left out.

    The same spelling comes first. Otherwise case does not matter, unless that would take two symbols of one side for
    one: in the fruit fly, ``h`` is hairy and ``H`` is Hairless.

    Examples
    --------
    >>> match_symbols(["Ctcf", "h", "H", "Spi1"], ["CTCF", "h", "GATA1"])
    {'Ctcf': 'CTCF', 'h': 'h'}
    """
    names, known = list(dict.fromkeys(names)), list(dict.fromkeys(known))
    folded = {each.casefold(): each for each in known}
    alone = Counter(each.casefold() for each in known), Counter(each.casefold() for each in names)
    same = set(known)
    found = {}
    for name in names:
        key = name.casefold()
        if name in same:
            found[name] = name
        elif key in folded and alone[0][key] == alone[1][key] == 1:
            found[name] = folded[key]
    return found
