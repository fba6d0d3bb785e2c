"""Match barcodes that a user lists to those of the fragments, even if prefix or suffix differ."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from scbind.core.errors import InputError
from scbind.core.runlog import say
from scbind.formats.inputs import open_plain

ABSENT, FOREIGN = -1, -2
RECENT = 4_096  # minimum number of new names before a numbering rebuilds its index
SEPARATORS = "#_:"  # between sample and barcode: ArchR's and ours, Seurat's, and that of 10x velocyto files
ENDING = r"-\d+$"  # 10x writes the number of the well after the barcode


class Numbering:
    """Numbers names in the order of their first appearance, for very many names that come in parts.

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
    """Read a list of barcodes from the first column of a file without header; plain or gzip, any line ends.

    Returns the barcodes, indexed by line number. Raises :class:`InputError` if the file is empty, is not text, or
    lists a barcode twice.
    """
    remedy = "list one barcode per line, or leave the setting empty"
    with open_plain(path, remedy) as handle:
        try:
            lines = [line.split("\t")[0].strip() for line in io.TextIOWrapper(handle, encoding="utf-8-sig")]
        except UnicodeDecodeError as error:
            raise InputError(path, "not a text file", remedy) from error
    listed = pd.Series(lines, index=np.arange(1, len(lines) + 1), dtype=object)
    listed = listed[listed != ""]
    if listed.empty:
        raise InputError(path, "no barcode in it", remedy)
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

    If any listed barcode equals a barcode of the fragments, only equal barcodes match. Otherwise the prefix is removed:
    the name of the sample (``sample#barcode``, ``sample_barcode``, ``sample:barcode``), or another name if all barcodes
    share it. If that does not help, a suffix such as ``-1`` is removed on both sides. One line of the log tells what
    was removed.

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
        If a listed barcode then matches two barcodes of the fragments, if two listed barcodes match the same one, or if
        there are several prefixes and none is the name of the sample.
    """
    found = present.get_indexer(listed)
    if (found >= 0).any():
        return found
    bare_present = present.str.replace(ENDING, "", regex=True)
    for core, foreign, prefix in _without_prefix(listed, sample):
        for ending in (False, True):
            theirs = core.str.replace(ENDING, "", regex=True) if ending else core
            ours = bare_present if ending else present
            fits = theirs.isin(ours) & ~foreign
            if not fits.any():
                continue
            if prefix is None:
                names = sorted(listed.str.extract(f"^(.*)[{SEPARATORS}]", expand=False).unique())
                raise InputError(
                    path,
                    f"barcodes begin with {names[0]}, {names[1]}{', ...' * (len(names) > 2)}, none of which "
                    f"is the sample {sample}",
                    f"write {sample}#BARCODE, or give each sample a file of its own",
                )
            _refuse_doubt(path, listed, theirs.where(fits), present, ours)
            changes = [f"{prefix} in front"] * bool(prefix) + ["a number such as -1 at the end"] * ending
            say(f"{path}: {fits.sum()} barcodes of {sample} found without {' and '.join(changes)}")
            place = pd.Series(np.arange(len(ours)), index=ours)
            place = place[~place.index.duplicated()].reindex(theirs).fillna(ABSENT).to_numpy(dtype=np.int64)
            place[foreign.to_numpy()] = FOREIGN
            return place
    return found


def _without_prefix(listed: pd.Series, sample: str) -> Iterator[tuple[pd.Series, pd.Series, str | None]]:
    """Yield ways to remove a prefix: barcodes, which are of another sample, the prefix (None if there are several)."""
    nowhere = pd.Series(False, index=listed.index)
    yield listed, nowhere, ""
    for separator in SEPARATORS:
        own = listed.str.startswith(f"{sample}{separator}")
        if own.any():
            core = listed.str.removeprefix(f"{sample}{separator}")
            yield core, ~own & listed.str.contains(separator, regex=False), f"{sample}{separator}"
    for separator in SEPARATORS:
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
