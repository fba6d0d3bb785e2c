"""The only reader of fragments files. It checks every line, streams the file, and uses bounded memory.

A fragment is ``[start, end)``, 0-based half-open. Both ends are Tn5 cut sites, shifted as by 10x Genomics ("Fragments
file" in the Cell Ranger ATAC documentation): +4 at the plus-strand end, -5 at the minus-strand end.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from scbind.core.errors import InputError
from scbind.core.progress import Progress
from scbind.core.runlog import say
from scbind.formats.genome import ChromSizes
from scbind.formats.inputs import LONGEST_LINE, open_plain, print_command
from scbind.formats.names import match_names
from scbind.formats.strays import Rule, Strays

COLUMNS = ("chrom", "start", "end", "barcode", "count")
LONGEST = 10_000  # bp; a longer fragment is an alignment artefact, not one piece of DNA
BLOCK = 4 << 20  # bytes that one thread parses at a time
PASSED_OVER = re.compile(rb"(?:^|(?<=\n))(?:#[^\n]*|\r?)(?:\n|$)")  # a comment or an empty line

NEGATIVE = Rule("the start is negative", "coordinates are 0-based half-open; make the file again")
EMPTY = Rule("the start is not before the end", "coordinates are 0-based half-open; make the file again")
BEYOND = Rule("the fragment ends beyond its chromosome", "use the genome that the reads were aligned to")
UNCOUNTED = Rule("the count is below 1", "leave the column out or give read pairs per fragment")
NAMELESS = Rule("the barcode is empty", "remove the line")


def iter_fragments(
    path: str | Path, sizes: ChromSizes, chunk_bytes: int = 16 << 20
) -> Iterator[pd.DataFrame]:
    r"""Stream a position-sorted fragments file, checking every line.

    Parameters
    ----------
    path
        Tab-separated, 4 columns or more (chromosome, start, end, barcode[, read pairs]); further columns, such as the
        strand that Cell Ranger ATAC 2.2 writes, are ignored. Plain, gzip, BGZF or zstd. Comment lines (``#``)
        and empty lines are skipped. Sorted means that the lines of a chromosome are adjacent and that their
        starts do not decrease.
    sizes
        The chromosomes. Fragments on other chromosomes (decoys, unplaced, chrM) and fragments longer than
        10 kb are skipped and counted in the log (ArchR keeps no fragment above 2 kb), and so are a few impossible ones
        (:mod:`scbind.formats.strays`). If no fragment remains, :class:`InputError` is raised.
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
        On a missing, empty, truncated, malformed or unsorted file, many impossible fragments (beyond the end of their
        chromosome, of length 0, without a barcode), or chromosome names of another style
        (:mod:`scbind.formats.names`). The message gives the line number where there is one.

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
    kept, long, on = 0, 0, Counter()
    order, strays = _OrderCheck(path), Strays(path, "fragments")
    progress = Progress("fragments")
    for first_line, table in _tables(path, chunk_bytes):
        raw_chrom = table["chrom"].combine_chunks()
        labels = raw_chrom.dictionary.to_pylist()
        raw_code = raw_chrom.indices.to_numpy()
        start, end = table["start"].to_numpy(), table["end"].to_numpy()
        order.check(labels, raw_code, start, first_line)
        for label, number in zip(labels, np.bincount(raw_code, minlength=len(labels)).tolist(), strict=True):
            on[label] += number
        code = pd.Index(sizes.names).get_indexer(pd.Index(labels))[raw_code]
        # barcodes are encoded here: the parser would encode each of its blocks, and then all blocks again
        barcode = table["barcode"].combine_chunks().dictionary_encode()
        count = (
            table["count"].to_numpy()
            if "count" in table.column_names
            else np.ones(len(start), dtype=np.int64)
        )
        wrong = _wrong_values(sizes, code, start, end, barcode, count)
        stray = strays.drop(wrong, _placed(sizes, code, start, end, first_line)) if wrong else None
        strays.check(on.total())
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
        used, short = code >= 0, end - start <= LONGEST
        if stray is not None:
            used &= ~stray
        long += int((used & ~short).sum())
        used &= short
        if not used.all():
            frame = frame[used].reset_index(drop=True)
        kept += len(frame)
        progress.reached(kept)
        if len(frame):
            yield frame
    if not on:
        raise InputError(path, "there are no fragments in it", "check how the file was made")
    strays.settle(on.total())
    match_names(path, on, sizes, "fragments")
    if long:
        say(f"{path}: dropped {long} fragments longer than {LONGEST} bp")
    if not kept:
        raise InputError(
            path, f"all {long} fragments are longer than {LONGEST} bp", "check how the file was made"
        )


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
            begin = 0
            while not columns and begin < len(text) and (header := PASSED_OVER.match(text, begin)):
                begin, line = header.end(), line + 1
            if text := text[begin:]:
                columns = columns or _count_columns(path, text, line)
                for skipped, table in _parse(path, text, columns, line):
                    line += skipped
                    if table is not None:
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


def _parts(text: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of data between comments and empty lines, each with the number of lines skipped before."""
    begin, passed_over = 0, 0
    for match in PASSED_OVER.finditer(text):
        if match.start() == len(text):  # the end of the text matches as an empty line
            break
        if match.start() > begin:
            yield passed_over, text[begin : match.start()]
            passed_over = 0
        begin, passed_over = match.end(), passed_over + 1
    yield passed_over, text[begin:]


def _count_columns(path, text: bytes, line: int) -> int:
    """Return the number of columns of the first line."""
    first = text[: text.index(b"\n") if b"\n" in text else None]
    columns = first.count(b"\t") + 1
    if columns < len(COLUMNS) - 1:
        shown = first.decode(errors="replace")[:80]
        raise InputError(
            path,
            f"{columns} columns where 4 or more are expected, in {shown!r}",
            "give chromosome, start, end, barcode and optionally count, separated by tabs",
            f"line {line}",
        )
    return columns


def _parse(path, text: bytes, columns: int, line: int) -> Iterator[tuple[int, pa.Table | None]]:
    """Yield tables, or None at the end, each with the number of lines skipped before it.

    ``line`` is the number of the first line.
    """
    try:
        table = _read(text, columns)
    except pa.ArrowInvalid:
        table = None
    # To look for comments in text that has none would take a tenth of the reading time.
    if table is not None and not any(_is_comment(chunk) for chunk in table["chrom"].chunks):
        yield 0, table
        return
    for passed_over, part in _parts(text):
        line += passed_over
        if not part:
            yield passed_over, None
            continue
        try:
            table = _read(part, columns)
        except pa.ArrowInvalid as error:
            _refuse_line(path, part, columns, line, error)
        yield passed_over, table
        line += len(table)


def _is_comment(chrom: pa.DictionaryArray) -> bool:
    return any(name.startswith("#") for name in chrom.dictionary.to_pylist())


def _read(text: bytes, columns: int) -> pa.Table:
    names = [*COLUMNS, *(f"unused{number}" for number in range(columns - len(COLUMNS)))][:columns]
    kinds = dict.fromkeys(COLUMNS, pa.int64()) | {
        "chrom": pa.dictionary(pa.int32(), pa.string()),
        "barcode": pa.string(),
    }
    used = names[: len(COLUMNS)]
    return pacsv.read_csv(
        pa.BufferReader(text),
        read_options=pacsv.ReadOptions(column_names=names, block_size=BLOCK),
        parse_options=pacsv.ParseOptions(delimiter="\t", quote_char=False, ignore_empty_lines=False),
        convert_options=pacsv.ConvertOptions(
            column_types={name: kinds[name] for name in used},
            include_columns=used,
            null_values=[],
            strings_can_be_null=False,
        ),
    ).unify_dictionaries()


def _refuse_line(path, text: bytes, columns: int, line: int, error: pa.ArrowInvalid) -> NoReturn:
    """Read line by line, to name the first bad line."""
    for number, row in enumerate(text.decode(errors="replace").split("\n"), line):
        fields = row.rstrip("\r").split("\t")
        numbers = [fields[i] for i in (1, 2, 4) if i < len(fields)]
        if len(fields) != columns or not all(_is_whole(value) for value in numbers):
            raise InputError(
                path,
                f"expected {columns} columns with whole numbers in 2, 3 and 5, got {row[:80]!r}",
                "correct the line, or make the file again",
                f"line {number}",
            ) from error
    detail = " ".join(str(error).split())
    raise InputError(
        path, f"cannot be parsed ({detail})", "make the file again", f"after line {line}"
    ) from error


def _is_whole(text: str) -> bool:
    digits = text.strip().removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 1000 and abs(int(text)) < 2**63


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
                self.path,
                "not sorted by chromosome and start",
                f"sort it: {sort_command(self.path)}",
                f"line {first_line + int(bad)}",
            )
        self.position = int(start[-1])


def sort_command(path) -> str:
    """Return the shell command that sorts a fragments file, plain or gzip, and keeps its header at the top."""
    show = print_command(path)
    lines = f"({show} | grep '^#'; {show} | grep -v '^#' | LC_ALL=C sort -k1,1 -k2,2n)"
    return f"{lines} | gzip > SORTED.tsv.gz"


def _wrong_values(sizes, code, start, end, barcode, count) -> dict[Rule, np.ndarray]:
    """Find impossible fragments: rule -> bool (fragments,), only for rules that one breaks.

    Unknown chromosomes (code -1) have no end.
    """
    length = np.where(code >= 0, sizes.lengths[code], np.iinfo(np.int64).max)
    empty = pc.index(barcode.dictionary, "").as_py()
    rules = {NEGATIVE: start < 0, EMPTY: start >= end, BEYOND: end > length, UNCOUNTED: count < 1}
    if empty >= 0:
        rules[NAMELESS] = barcode.indices.to_numpy() == empty
    return {rule: wrong for rule, wrong in rules.items() if wrong.any()}


def _placed(sizes, code, start, end, first_line: int) -> Callable[[int], str]:
    """Return a function from the index of a fragment of a chunk to its place in the file."""

    def place(row: int) -> str:
        name = f", {sizes.names[code[row]]}:{start[row]}-{end[row]}" if code[row] >= 0 else ""
        return f"line {first_line + row}{name}"

    return place
