"""Symbols of TFs: which spellings and aliases are one TF.

Snakemake imports this module when it plans a run, so it stays light.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


def case_matters(taxon: str) -> bool:
    """Whether symbols that differ only in case may be different genes, as in the fruit fly (``h``, ``H``)."""
    return taxon == "insects"


def symbol_key(tf: str, taxon: str) -> str:
    """Return what all spellings of a symbol have in common. ``taxon``: ``motifs.taxon``.

    Case does not matter, except in insects: in the fruit fly, ``h`` is hairy and ``H`` is Hairless.

    Examples
    --------
    >>> symbol_key("Ctcf", "vertebrates"), symbol_key("H", "insects")
    ('ctcf', 'H')
    """
    return tf if case_matters(taxon) else tf.casefold()


def match_symbols(names: Iterable[str], known: Iterable[str], *, case_matters: bool) -> dict[str, str]:
    """Return which of the ``known`` symbols each name is; names without a match are left out.

    The same spelling comes first. If case does not matter (:func:`case_matters`), the first in another case
    follows.

    Examples
    --------
    >>> match_symbols(["Ctcf", "h", "Spi1"], ["CTCF", "H", "GATA1"], case_matters=False)
    {'Ctcf': 'CTCF', 'h': 'H'}
    >>> match_symbols(["h", "GATAe"], ["H", "GATAe"], case_matters=True)
    {'GATAe': 'GATAe'}
    """
    known = list(known)
    fold = str if case_matters else str.casefold
    folded = {fold(each): each for each in reversed(known)} | {each: each for each in known}
    found = ((name, folded.get(name) or folded.get(fold(name))) for name in names)
    return {name: other for name, other in found if other is not None}


@dataclass(frozen=True)
class Aliases:
    """Which symbols are one TF, by their :func:`symbol_key`, and which TFs take the matrix of another one.

    An alias may be a synonym of the other TF (PU.1, SPI1) or another protein at the same sites (RAD21, CTCF). Nothing
    tells the two apart.

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
    >>> aliases.find("pu.1", ["GATA1", "Spi1"]), aliases.find("Spi1", ["GATA1", "PU.1"])
    ('Spi1', None)
    """

    taxon: str
    named: Mapping[str, str]

    def key(self, tf: str) -> str:
        """Return the :func:`symbol_key` of a TF."""
        return symbol_key(tf, self.taxon)

    def meant(self, tf: str) -> str:
        """Return the TF whose matrix a TF takes: itself without an alias. The same spelling comes first."""
        return self.named.get(tf) or {self.key(each): other for each, other in self.named.items()}.get(
            self.key(tf), tf
        )

    def find(self, tf: str, tfs: Iterable[str]) -> str | None:
        """Return the first of ``tfs`` beside which a TF cannot be added; None without one.

        It is the same TF by its spelling, or else one with the matrix that ``tf`` takes from another TF. A TF that
        takes no matrix from another one can be added beside all that take its own.
        """
        tfs, key, matrix = list(tfs), self.key(tf), self.key(self.meant(tf))
        same = next((other for other in tfs if self.key(other) == key), None)
        if same or matrix == key:
            return same
        return next((other for other in tfs if self.key(self.meant(other)) == matrix), None)
