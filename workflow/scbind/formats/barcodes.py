"""Match barcodes that a user lists to those of the fragments, even if prefix or suffix differ."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from scbind.core.errors import InputError
from scbind.core.runlog import say
from scbind.formats.fields import split_fields, unquoted
from scbind.formats.inputs import is_hdf5, read_lines
from scbind.formats.tables import SEPARATORS, header_of, read_columns

ABSENT, FOREIGN = -1, -2
SEQUENCE = re.compile("[ACGT]{8,}")  # of a barcode; a shorter one may be that of another cell, read backwards
COMPLEMENT = str.maketrans("ACGT", "TGCA")
RECENT = 4_096  # minimum number of new names before a numbering rebuilds its index
PREFIXES = "#_:"  # between sample and barcode: ArchR's and ours, Seurat's, and that of 10x velocyto files
# The number of the library after the barcode: of 10x, of Signac, and of tools that add theirs to that of 10x.
ENDINGS = (r"-\d+$", r"_\d+$", r"([-_]\d+)+$")
NUMBERED = r"^(?:.*[^A-Za-z])?[ACGTN]{3,}((?:[-_]\d+)+)$"
CLEAR = ("barcode", "barcodes", "cellbarcode", "cellid")  # names of the column of barcodes, best first
HEADERS = (*CLEAR, "cell", "cells", "bc", "index", "x")  # those after CLEAR only of a single column
# Columns that say which barcodes are cells: of Cell Ranger ATAC (one for each species of a mixed reference), of ARC.
CALLED = re.compile(r"is_\w*_cell_barcode|is_cell")
FIRST = (
    "-0",
    "-1",
    "_0",
    "_1",
)  # numbers that every library may have; any other number identifies the library
YES = ("1", "1.0", "true", "t")


# What tools write instead of a barcode that could not be read: STARsolo, sinto and Cell Ranger among them.
# In small letters and without "_".
NO_BARCODE = {"", "-", "0", "*", ".", "na", "n/a", "nan", "none", "null", "nobarcode", "nobc"}
NO_BARCODE |= {"unknown", "undetermined", "undefined", "unassigned", "unmatched"}
UNREAD = re.compile(r"N+([-_]\d+)?")  # no base was read


def is_no_barcode(name: str) -> bool:
    """Tell whether a barcode stands for a barcode that could not be read.

    Examples
    --------
    >>> [is_no_barcode(name) for name in ('NO_BARCODE', '-', 'NNNNNNNN-1', 'ACGTACGT-1')]
    [True, True, True, False]
    """
    return name.casefold().replace("_", "") in NO_BARCODE or UNREAD.fullmatch(name) is not None


class Numbering:
    """Numbers names in the order of their first appearance, for many names that arrive in parts.

    Most names of a part are already known. A pandas index finds them much faster than a dict would. New names go to a
    dict, and move to the pandas index when they are many.
    """

    def __init__(self):
        self._known, self._recent = pd.Index([], dtype=object), {}

    def __len__(self) -> int:
        return len(self._known) + len(self._recent)

    @property
    def names(self) -> pd.Index:
        """All names so far, in the order of their numbers."""
        return self._known.append(pd.Index(list(self._recent), dtype=object))

    def of(self, names: pd.Index) -> np.ndarray:
        """Return the numbers of names, int64 (names,). Each name must occur once. New names get the next numbers."""
        found = self._known.get_indexer(names)
        first, recent = len(self._known), self._recent
        missing = np.flatnonzero(found < 0)
        found[missing] = [first + recent.setdefault(name, len(recent)) for name in names[missing]]
        if len(recent) > max(RECENT, len(self._known) // 8):
            self._known, self._recent = self.names, {}
        return found.astype(np.int64, copy=False)


def read_barcodes(path: str | Path) -> pd.Series:
    """Read the barcodes that are cells, in the forms that pipelines write.

    A list (the first column of a text file, with or without header and quotes, plain or compressed), ``singlecell.csv``
    and ``per_barcode_metrics.csv`` of Cell Ranger (only rows that are cells), or a matrix of Cell Ranger in HDF5.

    Returns the barcodes, indexed by line number. Raises :class:`InputError` if the file is empty, is not text, or
    lists a barcode twice.
    """
    remedy = "list one barcode per line, or leave the setting empty"
    if is_hdf5(path):
        return _from_matrix(path)
    lines = [(number, line) for number, line in read_lines(path, remedy) if line.strip(" \t,")]
    column = _barcode_column(lines[0][1]) if lines else None
    if column is not None:
        listed = _from_table(path, lines[0][1], column, remedy)
    else:
        listed = {number: unquoted(line.split("\t")[0]) for number, line in lines}
    listed = pd.Series({number: name for number, name in listed.items() if name}, dtype=object)
    if listed.empty:
        raise InputError(path, "no barcode in it", remedy)
    refuse_repeats(path, listed)
    return listed


def _barcode_column(header: str) -> str | None:
    """Return the name of the column of barcodes in a line of column names; None if it is not such a line."""
    for separator in SEPARATORS:
        names = header_of(header, separator) - {""}
        found = next((name for name in HEADERS if name in names), None)
        if found in CLEAR or found and len(names) == 1:
            return found
    for separator in ("\t", ","):  # the index of pandas has no name
        fields = split_fields(header, separator)
        if len(fields) > 1 and not fields[0]:
            return CLEAR[0]
    return None


def _from_table(path, header: str, column: str, remedy: str) -> dict[int, str]:
    """Read a column of barcodes, by line number; of the per-barcode tables of Cell Ranger only what it calls cells."""
    called = [name for name in dict.fromkeys(re.split(r"[\s,;\"]+", header)) if CALLED.fullmatch(name)]
    table = read_columns(path, (column, *called), remedy)
    if called:
        table = table[np.any([table[name].str.casefold().isin(YES) for name in called], axis=0)]
    return dict(zip(table.index, table[column], strict=True))


def _from_matrix(path: str | Path) -> pd.Series:
    import h5py  # not needed for text

    try:
        with h5py.File(path) as stored:
            names = [name.decode() for name in stored["matrix/barcodes"][:]]
    except (KeyError, OSError, AttributeError, UnicodeDecodeError) as error:
        raise InputError(
            path, f"holds no barcodes of a Cell Ranger matrix ({error})", "give a list of barcodes"
        ) from error
    listed = pd.Series(names, index=np.arange(1, len(names) + 1), dtype=object)
    refuse_repeats(path, listed)
    return listed


def refuse_repeats(path: str | Path, listed: pd.Series) -> None:
    """Raise :class:`InputError` for the first repeated barcode; ``listed`` is indexed by line number."""
    twice = listed.duplicated()
    if twice.any():
        line = listed.index[twice][0]
        raise InputError(
            path,
            f"barcode {listed[line]} is listed twice ({twice.sum()} of {len(listed)} lines)",
            "list each barcode once",
            f"line {line}",
        )


def match_barcodes(path: str | Path, listed: pd.Series, present: pd.Index, sample: str) -> np.ndarray:
    """Find listed barcodes among those of a sample.

    Several spellings are tried: as listed; without the name of the sample in front (``sample#barcode``,
    ``sample_barcode``, ``sample:barcode``), or another name if all barcodes share it; each also without the number of
    the library at the end (``-1`` of 10x, ``_1`` of Signac), on both sides. The spelling that fits most barcodes is
    used. One line of the log says what was removed. If all barcodes of the fragments have the same number above 1, this
    number identifies the library of the sample.

    Parameters
    ----------
    path
        The file of the list, for messages.
    listed
        Barcodes, indexed by line number.
    present
        Barcodes of the sample's fragments, each once.
    sample
        Name of the sample. Barcodes with the name of another sample are ignored.

    Returns
    -------
    numpy.ndarray
        int64 (listed,): index in ``present``, -1 if the barcode is absent, -2 if it belongs to another sample.

    Raises
    ------
    InputError
        If the list holds several libraries (numbers at the end, or names in front) and it is not clear which one is
        this sample; if some barcodes match as listed, but more would match in another spelling; if most match only as
        their reverse complement; or if two barcodes match one cell.
    """
    ours = _numbers(pd.Series(present, dtype=object))
    number = listed.str.extract(NUMBERED, expand=False)
    if len(ours) == 1 and ours[0] not in FIRST and listed[number == ours[0]].isin(present).any():
        return np.where(number.notna() & (number != ours[0]), FOREIGN, present.get_indexer(listed))
    ways = _spellings(listed, present, sample)
    plain = next(ways)
    # the other spellings take a regular expression over all barcodes of the fragments
    best = plain if plain.fits.all() else max([plain, *ways], key=lambda way: way.fits.sum())
    if 2 * best.fits.sum() < len(listed):
        _refuse_reversed(path, listed, present, sample)
    if not best.fits.any():
        return np.where(best.foreign, FOREIGN, ABSENT).astype(np.int64)
    if best is not plain and plain.fits.any():
        if 2 * plain.fits.sum() < len(listed):
            _refuse_several(path, best, listed, ours, sample)
            raise InputError(
                path,
                f"{plain.fits.sum()} of {len(listed)} barcodes fit sample {sample} as they are, but {best.fits.sum()} "
                f"would without {best.change}",
                "spell all barcodes alike, as in the fragments",
                f"line {best.fits.index[best.fits & ~plain.fits][0]}",
            )
        best = plain
    _refuse_several(path, best, listed, ours, sample)
    _refuse_doubt(path, listed, best.theirs.where(best.fits), present, best.ours)
    if best.change:
        say(f"{path}: {best.fits.sum()} barcodes of {sample} found without {best.change}")
    place = pd.Series(np.arange(len(best.ours)), index=best.ours)
    place = place[~place.index.duplicated()].reindex(best.theirs).fillna(ABSENT).to_numpy(dtype=np.int64)
    place[best.foreign.to_numpy()] = FOREIGN
    return place


@dataclass(frozen=True)
class _Spelling:
    """One way to spell listed barcodes and those of the fragments in the same way."""

    theirs: pd.Series  # listed barcodes
    ours: pd.Index  # barcodes of the fragments
    foreign: pd.Series  # whether a listed barcode is of another sample
    prefix: str | None  # what was removed in front; None if several names were
    ending: bool  # whether numbers were removed at the end

    @cached_property
    def fits(self) -> pd.Series:
        """Whether a listed barcode is among those of the fragments."""
        return self.theirs.isin(self.ours) & ~self.foreign

    @property
    def change(self) -> str:
        """What was removed, in words."""
        front = "the names in front" if self.prefix is None else f"{self.prefix} in front" * bool(self.prefix)
        return " and ".join(filter(None, (front, "a number such as -1 at the end" * self.ending)))


def _spellings(listed: pd.Series, present: pd.Index, sample: str) -> Iterator[_Spelling]:
    """Yield the spellings to try, the barcodes as listed first."""
    shorter: list[pd.Index] = []
    for core, foreign, prefix in _without_prefix(listed, sample):
        yield _Spelling(core, present, foreign, prefix, False)
        shorter = shorter or [present.str.replace(ending, "", regex=True) for ending in ENDINGS]
        for ending, ours in zip(ENDINGS, shorter, strict=True):
            yield _Spelling(core.str.replace(ending, "", regex=True), ours, foreign, prefix, True)


def _refuse_reversed(path, listed: pd.Series, present: pd.Index, sample: str) -> None:
    """Refuse a list whose barcodes are mostly the reverse complement of barcodes of the sample."""
    turned = listed.str.replace(SEQUENCE, lambda found: found[0].translate(COMPLEMENT)[::-1], regex=True)
    changed = turned != listed
    best = max(_spellings(turned, present, sample), key=lambda way: (way.fits & changed).sum())
    fits, own = best.fits & changed, int((~best.foreign).sum())
    if 2 * fits.sum() > own:
        raise InputError(
            path,
            f"{fits.sum()} of {own} barcodes are the reverse complement of barcodes of sample {sample}",
            f"write the reverse complement of each: {turned[fits].iloc[0]} instead of {listed[fits].iloc[0]}",
            f"line {fits.index[fits][0]}",
        )


def _refuse_several(path, best: _Spelling, listed: pd.Series, ours: list[str], sample: str) -> None:
    """Refuse a list of several libraries if it is not clear which of them is the sample.

    A barcode of another library may also occur in this one, as another cell. ``ours``: the numbers that follow the
    barcodes of the fragments.
    """
    remedy = f"write {sample}#BARCODE for the cells of this sample, or give each sample a file of its own"
    if best.prefix is None:
        names = sorted(listed.str.extract(f"^(.*)[{PREFIXES}]", expand=False).unique())
        shown = f"{names[0]}, {names[1]}{', ...' * (len(names) > 2)}"
        raise InputError(path, f"barcodes begin with {shown}, none of which is the sample {sample}", remedy)
    theirs = _numbers(listed[~best.foreign])
    if len(theirs) > 1 and (best.ending or len(ours) == 1):
        shown = f"{theirs[0]}, {theirs[1]}{', ...' * (len(theirs) > 2)}"
        raise InputError(
            path,
            f"barcodes end in {shown}, those of the fragments of {sample} in {ours[0] if ours else 'no number'}, so it "
            "is not known which library is this sample",
            remedy,
        )


def _numbers(names: pd.Series) -> list[str]:
    """Return the different numbers that follow the sequence of barcodes."""
    return sorted(names.str.extract(NUMBERED, expand=False).dropna().unique())


def _without_prefix(listed: pd.Series, sample: str) -> Iterator[tuple[pd.Series, pd.Series, str | None]]:
    """Yield ways to remove a prefix: barcodes, which are of another sample, the prefix (None if there are several)."""
    nowhere = pd.Series(False, index=listed.index)
    yield listed, nowhere, ""
    for separator in PREFIXES:
        own = listed.str.startswith(f"{sample}{separator}")
        if own.any():
            core = listed.str.removeprefix(f"{sample}{separator}")
            yield core, ~own & listed.str.contains(separator, regex=False), f"{sample}{separator}"
            return
    for separator in PREFIXES:
        parts = listed.str.rpartition(separator)
        if (parts[1] == separator).all():
            only = parts[0].nunique() == 1
            yield parts[2], nowhere, f"{parts[0].iloc[0]}{separator}" if only else None


def _refuse_doubt(path, listed: pd.Series, theirs: pd.Series, present: pd.Index, ours: pd.Index) -> None:
    """Refuse barcodes that became equal. ``theirs`` is missing where it matches none of ``ours``."""
    remedy = "spell barcodes as in the fragments"
    doubled = ours[ours.duplicated()]
    for line in theirs.index[theirs.isin(doubled)][:1]:
        both = present[ours == theirs[line]]
        raise InputError(
            path, f"barcode {listed[line]} fits {both[0]} as well as {both[1]}", remedy, f"line {line}"
        )
    for line in theirs.index[theirs.notna() & theirs.duplicated()][:1]:
        first = theirs.index[theirs == theirs[line]][0]
        raise InputError(
            path,
            f"barcode {listed[line]} and {listed[first]} in line {first} fit the same cell",
            remedy,
            f"line {line}",
        )
