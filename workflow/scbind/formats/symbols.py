"""Symbols of TFs: which spellings are one TF. Snakemake imports this module when it plans a run, so it stays light."""

from __future__ import annotations

from collections.abc import Iterable

CASE_MATTERS = "insects"  # taxon in which symbols of other case may be other genes


def symbol_key(tf: str, taxon: str) -> str:
    """Return what all spellings of a symbol have in common. ``taxon``: ``motifs.taxon``.

    Case does not matter, except in insects: in the fruit fly, ``h`` is hairy and ``H`` is Hairless.

    Examples
    --------
    >>> symbol_key("Ctcf", "vertebrates"), symbol_key("H", "insects")
    ('ctcf', 'H')
    """
    return tf if taxon == CASE_MATTERS else tf.casefold()


def match_symbols(names: Iterable[str], known: Iterable[str], taxon: str) -> dict[str, str]:
    """Return which of the ``known`` symbols each name is; names without a match are left out.

    The same spelling comes first, then the first with the same :func:`symbol_key`.

    Examples
    --------
    >>> match_symbols(["Ctcf", "h", "Spi1"], ["CTCF", "H", "GATA1"], "vertebrates")
    {'Ctcf': 'CTCF', 'h': 'H'}
    >>> match_symbols(["h", "GATAe"], ["H", "GATAe"], "insects")
    {'GATAe': 'GATAe'}
    """
    known = list(known)
    folded = {symbol_key(each, taxon): each for each in reversed(known)} | {each: each for each in known}
    found = ((name, folded.get(name) or folded.get(symbol_key(name, taxon))) for name in names)
    return {name: other for name, other in found if other is not None}
