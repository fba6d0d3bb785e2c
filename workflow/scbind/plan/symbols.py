"""One spelling for each TF of the ChIP-seq sheet."""

from __future__ import annotations

from collections.abc import Iterable

from scbind.formats.symbols import symbol_key


def unify_symbols(tfs: Iterable[str], taxon: str) -> tuple[dict[str, str], list[str]]:
    """Choose one spelling per TF: the first in the sheet.

    Parameters
    ----------
    tfs
        TF of each row, in the order of the sheet.
    taxon
        ``motifs.taxon``: in insects, symbols that differ in case are different TFs
        (:func:`scbind.formats.symbols.symbol_key`).

    Returns
    -------
    tuple
        Spelling -> spelling to use, for every TF; and one sentence for each symbol with several spellings.

    Examples
    --------
    >>> unify_symbols(["Ctcf", "CTCF", "SPI1"], "vertebrates")
    ({'Ctcf': 'Ctcf', 'CTCF': 'Ctcf', 'SPI1': 'SPI1'}, ['Ctcf and CTCF are one TF, called Ctcf'])
    >>> unify_symbols(["h", "H"], "insects")
    ({'h': 'h', 'H': 'H'}, ['h and H are two TFs, because case matters in symbols of insects'])
    """
    tfs = list(dict.fromkeys(tfs))
    first: dict[str, str] = {}
    names = {tf: first.setdefault(symbol_key(tf, taxon), tf) for tf in tfs}
    alike: dict[str, list[str]] = {}
    for tf in tfs:
        alike.setdefault(tf.casefold(), []).append(tf)
    said = []
    for spellings in alike.values():
        listed, count = " and ".join(spellings), len({names[tf] for tf in spellings})
        if count > 1:
            number = "two" if count == 2 else count
            said.append(f"{listed} are {number} TFs, because case matters in symbols of {taxon}")
        elif len(spellings) > 1:
            said.append(f"{listed} are one TF, called {names[spellings[0]]}")
    return names, said
