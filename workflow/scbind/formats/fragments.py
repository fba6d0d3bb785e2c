"""The only reader of fragments files. It checks every line, streams the file, and uses bounded memory.

A fragment is ``[start, end)``, 0-based half-open. Both ends are Tn5 cut sites, shifted as by 10x Genomics ("Fragments
file" in the Cell Ranger ATAC documentation): +4 at the plus-strand end, -5 at the minus-strand end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from scbind.core.errors import InputError
from scbind.core.runlog import say
from scbind.formats.genome import ChromSizes
from scbind.formats.inputs import open_plain, refuse_names

COLUMNS = ("chrom", "start", "end", "barcode", "count")
LONGEST = 10_000  # bp; a longer fragment is an alignment artefact, not one piece of DNA
BLOCK = 4 << 20  # bytes that one thread parses at a time
LONGEST_LINE = 1 << 20  # bytes; a file with longer lines is not text, and would be read into memory whole
SORT_REMEDY = "sort it: zcat FILE | sort -k1,1 -k2,2n | bgzip > SORTED.tsv.gz"


def iter_fragments(
    path: str | Path, sizes: ChromSizes, chunk_bytes: int = 16 << 20
) -> Iterator[pd.DataFrame]:
    r"""Stream a position-sorted fragments file, checking every line.

    Parameters
    ----------
    path
        Tab-separated, 4 or 5 columns (chromosome, start, end, barcode[, read pairs]); plain, gzip or
        BGZF; comment lines (``#``) only at the top. Sorted means that the lines of a chromosome are
        adjacent and that their starts do not decrease.
    sizes
        The chromosomes. Fragments on other chromosomes (decoys, unplaced, chrM) and fragments longer than
        10 kb are skipped and counted in the log (ArchR keeps no fragment above 2 kb). If no fragment
        remains, :class:`InputError` is raised.
    chunk_bytes
        Decompressed bytes held in memory at a time.

    Yields
    ------
    pandas.DataFrame
        ``chrom`` (categorical over ``sizes.names``), ``start``, ``end`` (int64, bp, 0-based half-open),
        ``barcode`` (categorical, with categories of the chunk only), ``count`` (int64, 1 if the
        file has no such column). Rows keep the order of the file. No frame is empty.

    Raises
    ------
    InputError
        On a missing, empty, truncated, malformed or unsorted file, a coordinate outside its
        chromosome, or unknown chromosome names. The message gives the line number where there is one.

    Examples
    --------
    >>> from pathlib import Path
    >>> import numpy as np
    >>> path = Path(folder) / 'fragments.tsv'
    >>> _ = path.write_text('chr1\t100\t180\tACGT-1\t2\nchr1\t150\t300\tTTGA-1\t1\n')
    >>> sizes = ChromSizes(('chr1',), np.array([1000]))
    >>> [chunk[['start', 'end']].to_numpy().tolist() for chunk in iter_fragments(path, sizes)]
    [[[100, 180], [150, 300]]]
    """
    kept, long, unknown = 0, 0, Counter()
    order = _OrderCheck(path)
    for first_line, table in _tables(path, chunk_bytes):
        raw_chrom = table["chrom"].combine_chunks()
        labels = raw_chrom.dictionary.to_pylist()
        raw_code = raw_chrom.indices.to_numpy()
        start, end = table["start"].to_numpy(), table["end"].to_numpy()
        order.check(labels, raw_code, start, first_line)
        code = pd.Index(sizes.names).get_indexer(pd.Index(labels))[raw_code]
        # barcodes are encoded here: the parser would encode each of its blocks, and then all blocks again
        barcode = table["barcode"].combine_chunks().dictionary_encode()
        count = (
            table["count"].to_numpy()
            if "count" in table.column_names
            else np.ones(len(start), dtype=np.int64)
        )
        _check_values(path, sizes, code, start, end, barcode, count, first_line)
        frame = pd.DataFrame(
            {
                "chrom": pd.Categorical.from_codes(np.maximum(code, 0), categories=list(sizes.names)),
                "start": start,
                "end": end,
                "barcode": pd.Categorical.from_codes(
                    barcode.indices.to_numpy(), pd.Index(barcode.dictionary.to_pylist(), dtype=object)
                ),
                "count": count,
            },
            copy=False,  # do not join columns into blocks, which would take a tenth of the reading time
        )
        known = code >= 0
        short = end - start <= LONGEST
        long += int((known & ~short).sum())
        if not known.all():
            for index, number in enumerate(np.bincount(raw_code[~known], minlength=len(labels))):
                if number:
                    unknown[labels[index]] += int(number)
        if not (known & short).all():
            frame = frame[known & short].reset_index(drop=True)
        kept += len(frame)
        if len(frame):
            yield frame
    if not kept:
        if unknown and not long:
            refuse_names(path, unknown, sizes)
        problem = (
            f"all {long} fragments are longer than {LONGEST} bp" if long else "there are no fragments in it"
        )
        raise InputError(path, problem, "check how the file was made")
    if long:
        say(f"{path}: dropped {long} fragments longer than {LONGEST} bp")
    if unknown:
        names = ", ".join(sorted(unknown)[:5])
        total = sum(unknown.values())
        say(f"{path}: skipped {total} fragments on {len(unknown)} chromosomes not in the genome ({names})")


def iter_chromosomes(path: str | Path, sizes: ChromSizes) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Stream a fragments file one chromosome at a time.

    Yields ``(name, start, end)`` with int64 arrays of shape (fragments of the chromosome,), in file
    order. Memory holds one chromosome. Raises the same errors as :func:`iter_fragments`.
    """
    current, starts, ends = None, [], []
    for frame in iter_fragments(path, sizes):
        codes = frame["chrom"].cat.codes.to_numpy()
        edges = np.flatnonzero(np.diff(codes)) + 1
        for low, high in zip(np.r_[0, edges], np.r_[edges, len(codes)], strict=True):
            if current is not None and codes[low] != current:
                yield sizes.names[current], np.concatenate(starts), np.concatenate(ends)
                starts, ends = [], []
            current = codes[low]
            starts.append(frame["start"].to_numpy()[low:high])
            ends.append(frame["end"].to_numpy()[low:high])
    if current is not None:
        yield sizes.names[current], np.concatenate(starts), np.concatenate(ends)


def iter_pieces(path: str | Path, sizes: ChromSizes) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Stream a fragments file in pieces. Each piece lies on one chromosome; a chromosome may have several pieces.

    Yields ``(name, start, end)`` with int64 arrays, in file order. Memory holds one chunk of the file. Raises the same
    errors as :func:`iter_fragments`.
    """
    for frame in iter_fragments(path, sizes):
        code = frame["chrom"].cat.codes.to_numpy()
        start, end = frame["start"].to_numpy(), frame["end"].to_numpy()
        edges = np.flatnonzero(np.diff(code)) + 1
        for low, high in zip(np.r_[0, edges], np.r_[edges, len(code)], strict=True):
            yield sizes.names[code[low]], start[low:high], end[low:high]


def _tables(path, chunk_bytes: int) -> Iterator[tuple[int, pa.Table]]:
    """Parse whole lines in chunks; yields the 1-based number of the first line and the table."""
    with open_plain(path) as handle:
        line, columns, rest = 1, 0, b""
        while True:
            block = handle.read(chunk_bytes)
            text = rest + block
            cut = len(text) if not block else text.rfind(b"\n") + 1
            text, rest = text[:cut], text[cut:]
            while not columns and text.startswith(b"#"):
                text = text.partition(b"\n")[2]
                line += 1
            if text:
                if not columns:
                    columns = text[: text.index(b"\n") if b"\n" in text else None].count(b"\t") + 1
                if columns not in (4, 5):
                    raise InputError(
                        path,
                        f"{columns} columns where 4 or 5 are expected",
                        "give chromosome, start, end, barcode and optionally count, separated by tabs",
                        f"line {line}",
                    )
                table = _parse(path, text, columns, line)
                yield line, table
                line += len(table)
            if len(rest) > LONGEST_LINE:
                raise InputError(
                    path,
                    f"a line of more than {LONGEST_LINE} bytes",
                    "give a tab-separated text file, plain or gzip, one fragment per line",
                    f"line {line}",
                )
            if not block:
                return


def _parse(path, text: bytes, columns: int, line: int) -> pa.Table:
    names = list(COLUMNS[:columns])
    strings = pa.dictionary(pa.int32(), pa.string())
    try:
        return pacsv.read_csv(
            pa.BufferReader(text),
            read_options=pacsv.ReadOptions(column_names=names, block_size=BLOCK),
            parse_options=pacsv.ParseOptions(delimiter="\t", quote_char=False, ignore_empty_lines=False),
            convert_options=pacsv.ConvertOptions(
                column_types={
                    name: {"chrom": strings, "barcode": pa.string()}.get(name, pa.int64()) for name in names
                },
                null_values=[],
                strings_can_be_null=False,
            ),
        ).unify_dictionaries()
    except pa.ArrowInvalid as error:
        # Read line by line now, to name the first bad line.
        for number, row in enumerate(text.decode(errors="replace").split("\n"), line):
            fields = row.rstrip("\r").split("\t")
            numbers = [fields[i] for i in (1, 2, 4) if i < len(fields)]
            if len(fields) != columns or not all(value.removeprefix("-").isdigit() for value in numbers):
                raise InputError(
                    path,
                    f"expected {columns} columns with whole numbers in 2, 3 and 5, got {row[:80]!r}",
                    "correct the line, or make the file again",
                    f"line {number}",
                ) from error
        raise InputError(
            path, f"cannot be parsed ({error})", "make the file again", f"after line {line}"
        ) from error


class _OrderCheck:
    """Checks across chunks that lines of a chromosome are adjacent and that their starts do not decrease."""

    def __init__(self, path):
        self.path, self.seen, self.last, self.position = path, set(), None, -1

    def check(self, labels: list[str], code: np.ndarray, start: np.ndarray, first_line: int) -> None:
        """Check one chunk, and its order after the earlier chunks."""
        new = np.flatnonzero(np.diff(code)) + 1
        down = np.flatnonzero((np.diff(start) < 0) & (np.diff(code) == 0)) + 1
        bad = down[0] if len(down) else None
        for row in np.r_[0, new]:
            name = labels[code[row]]
            if name != self.last and name in self.seen or name == self.last and start[row] < self.position:
                bad = row if bad is None else min(bad, row)
                break
            self.seen.add(name)
            self.last, self.position = name, -1
        if bad is not None:
            raise InputError(
                self.path, "not sorted by chromosome and start", SORT_REMEDY, f"line {first_line + int(bad)}"
            )
        self.position = int(start[-1])


def _check_values(path, sizes, code, start, end, barcode, count, first_line: int) -> None:
    """Raise :class:`InputError` for the first line with invalid values. Unknown chromosomes (code -1) have no end."""
    length = np.where(code >= 0, sizes.lengths[code], np.iinfo(np.int64).max)
    empty = pc.index(barcode.dictionary, "").as_py()
    problems = (
        (start < 0, "the start is negative", "coordinates are 0-based half-open; make the file again"),
        (
            start >= end,
            "the start is not before the end",
            "coordinates are 0-based half-open; make the file again",
        ),
        (
            end > length,
            "the fragment ends beyond its chromosome",
            "use the genome that the reads were aligned to",
        ),
        (count < 1, "the count is below 1", "leave the column out or give read pairs per fragment"),
    )
    if empty >= 0:
        nameless = barcode.indices.to_numpy() == empty
        problems += ((nameless, "the barcode is empty", "remove the line"),)
    found = [(int(np.argmax(wrong)), *words) for wrong, *words in problems if wrong.any()]
    if found:
        row, problem, remedy = min(found)
        name = f", {sizes.names[code[row]]}:{start[row]}-{end[row]}" if code[row] >= 0 else ""
        raise InputError(path, problem, remedy, f"line {first_line + row}{name}")
