"""Names of TFs, cell lines, samples, groups and columns: which fit into file names, and which are the same."""

from __future__ import annotations

import re

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
LEFT_OUT = re.compile(r"[\s._-]")
RULE = "use letters, digits, '_', '-', '+' and '.', starting with a letter or digit"


def fits_file_name(text: str) -> bool:
    """Tell whether a name can be part of the name of a file, and of a wildcard."""
    return NAME.fullmatch(text) is not None


def as_file_name(text: str) -> str:
    """Replace what does not fit by hyphens; empty if nothing is left.

    Examples
    --------
    >>> as_file_name("Etv1/4/5"), as_file_name("Su(H)"), as_file_name("GATA1"), as_file_name("/")
    ('Etv1-4-5', 'Su-H', 'GATA1', '')
    """
    return re.sub(r"[^A-Za-z0-9_.+-]+", "-", text).strip("-_.+") if not fits_file_name(text) else text


def folded_name(text: str) -> str:
    """Return a name in small letters and without spaces, ``.``, ``_`` and ``-``: spellings that are alike are one name.

    Examples
    --------
    >>> folded_name("GM-12878"), folded_name("Cell Type"), folded_name("cell.type")
    ('gm12878', 'celltype', 'celltype')
    """
    return LEFT_OUT.sub("", text).casefold()


def renamed_motif(tf: str) -> str:
    """Say what to write for a TF whose name does not fit. Its motif keeps the name."""
    plain = as_file_name(tf)
    return f"write {plain} here, and name its motif in motifs.aliases: {{{plain}: {tf!r}}}" if plain else RULE
