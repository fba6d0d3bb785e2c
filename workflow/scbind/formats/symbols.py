"""Symbols of TFs: matched between two places, and compared by case and by ``motifs.aliases``.

Snakemake compares symbols with this module when it plans a run, so it imports only light packages (no numpy).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

CASE_MATTERS = "insects"  # taxon in which symbols of other case may be other genes


@dataclass(frozen=True)
class Aliases:
    """Which symbols stand for one TF.

    Case does not matter, except in insects: in the fruit fly, ``brk`` is brinker and ``Brk`` would be another gene.

    Attributes
    ----------
    taxon
        ``motifs.taxon``.
    named
        ``motifs.aliases``: TF -> TF whose matrix it takes.

    Examples
    --------
    >>> aliases = Aliases("vertebrates", {"PU.1": "SPI1"})
    >>> aliases.meant("Pu.1"), aliases.meant("GATA1")
    ('SPI1', 'GATA1')
    >>> aliases.find("Spi1", ["GATA1", "PU.1"])
    'PU.1'
    """

    taxon: str
    named: Mapping[str, str]

    def key(self, tf: str) -> str:
        """Return what is the same for all spellings of a symbol."""
        return tf if self.taxon == CASE_MATTERS else tf.casefold()

    def meant(self, tf: str) -> str:
        """Return the TF whose matrix a TF takes: itself without an alias. The same spelling comes first."""
        return self.named.get(tf) or {self.key(each): other for each, other in self.named.items()}.get(
            self.key(tf), tf
        )

    def keys(self, tf: str) -> set[str]:
        """Return the keys of a TF and of its alias. Two TFs that share one are the same."""
        return {self.key(tf), self.key(self.meant(tf))}

    def find(self, tf: str, tfs: Iterable[str]) -> str | None:
        """Return the first of ``tfs`` that is the same TF, by its spelling or else by an alias; None without one."""
        tfs, key, keys = list(tfs), self.key(tf), self.keys(tf)
        same = (other for other in tfs if self.key(other) == key)
        return next(same, None) or next((other for other in tfs if keys & self.keys(other)), None)


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
