"""Made-up files of a publisher and a sequencing core for a genome with the contigs of hg38, for `rehearsal.py`.

The contigs have the names and lengths of the 455 of hg38 (`hg38.chrom.sizes`, as UCSC states them); a scale shortens
them. Their sequence is random, with motifs of JASPAR planted in elements that are open in some lines. Reads and
fragments lie more densely in open elements, and a TF has a peak where its motif was planted in an element that is open
in the line. A model therefore has something to learn. Everything else about the files is their form: that of ENCODE
(BAM of unshifted reads with duplicates, bad mappings, mitochondrial reads and a contig that is no part of the FASTA;
narrowPeak of IDR), GENCODE (GTF) and 10x (fragments).

Each file depends on the seed and on its own name only, so files can be made in parts. Memory holds one contig.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import pysam

SIZES = Path(__file__).with_name("hg38.chrom.sizes")
MITOCHONDRION = "chrM"
STRAY = ("chrEBV", 171_823)  # the virus in ENCODE's index for alignment; the FASTA of UCSC lacks it
LINES = ("GM12878", "K562", "HepG2")
LEAST_LENGTH = 1_000  # bp; a scale does not shorten contigs below this
ELEMENT = 400  # bp
PER_ELEMENT = 9_000  # bp of genome for one element
SLOT = 20  # bp; an element has room for ELEMENT / SLOT motifs
FEWEST_PEAKS, MOST_PEAKS = 5_000, 60_000
EVERYWHERE = (
    0.4  # share of elements that are open in every line; each other one is open with OPEN in each line
)
OPEN = 0.35
IN_ELEMENTS = 0.4  # share of fragments in open elements
READ = 50  # bp of a read
DUPLICATES, BADLY_MAPPED, UNMAPPED, MITOCHONDRIAL = 0.15, 0.04, 0.02, 0.05  # shares of read pairs
BLOCK = 1 << 18  # records that are in memory as bytes
CODES = np.frombuffer(b"ACGTN", dtype=np.uint8)
GENE_NAMES = 60_000


@dataclass(frozen=True)
class Shape:
    """How much to make: ``scale`` shortens contigs and reduces what is proportional to them."""

    scale: float = 1.0
    pairs: int = 20_000_000  # read pairs of each line
    tfs: int = 60
    cells: int = 10_000
    fragments: int = 10_000  # of a cell
    seed: int = 1


class Publisher:
    """The files, by name; :meth:`make` writes one."""

    def __init__(self, shape: Shape, folder: str | Path):
        self.shape, self.folder = shape, Path(folder)
        sizes = (line.split("\t") for line in SIZES.read_text().splitlines())
        self.lengths = {
            name: int(length)
            if name == MITOCHONDRION
            else max(round(int(length) * shape.scale), LEAST_LENGTH)
            for name, length in sizes
        }
        self.files: dict[str, Callable[[Path], None]] = {
            "hg38.fa.gz": self._fasta,
            "hg38.exclude.bed.gz": self._exclude,
            "gencode.gtf.gz": self._genes,
            **{f"{line}.ATAC.bam": self._bam(number, line) for number, line in enumerate(LINES)},
            **{
                f"{line}.{tf}.bed.gz": self._peaks(number, line, row)
                for number, line in enumerate(LINES)
                for row, tf in enumerate(self.tfs)
            },
            "cells.fragments.tsv.gz": self._fragments,
            "cells.labels.tsv": self._labels,
        }

    def make(self, name: str) -> Path:
        """Write a file, if it is not there; returns its path. A file that was begun is written again."""
        path = self.folder / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            begun = path.with_name(path.name + ".begun")
            self.files[name](begun)
            begun.rename(path)
        return path

    def random(self, *what) -> np.random.Generator:
        """A random generator for one thing: the same for the same seed and thing."""
        return np.random.default_rng([self.shape.seed, zlib.crc32(repr(what).encode())])

    @cached_property
    def matrices(self) -> dict[str, np.ndarray]:
        """Matrices of human TFs of JASPAR, CTCF first: probabilities (positions, 4), at most ``SLOT`` positions."""
        from pyjaspar import jaspardb

        database = jaspardb(release="JASPAR2024")
        found = {}
        for motif in database.fetch_motifs(collection="CORE", tax_group="vertebrates", species=["9606"]):
            counts = np.array([motif.counts[base] for base in "ACGT"], dtype=float).T[:SLOT] + 0.5
            if motif.name.isalnum() and len(counts) >= 8:
                found.setdefault(motif.name, counts / counts.sum(axis=1, keepdims=True))
        names = sorted(found, key=lambda name: (name != "CTCF", zlib.crc32(name.encode())))
        return {name: found[name] for name in names[: self.shape.tfs]}

    @cached_property
    def tfs(self) -> list[str]:
        """The names of the TFs."""
        return list(self.matrices)

    @cached_property
    def elements(self) -> dict[str, np.ndarray]:
        """Start of each element on each contig, int64, sorted."""
        found = {}
        for name, length in self.lengths.items():
            low, high = known_part(length)
            cells = (high - low - ELEMENT) // PER_ELEMENT if name != MITOCHONDRION else 0
            jitter = self.random("elements", name).integers(0, PER_ELEMENT - ELEMENT, max(cells, 0))
            found[name] = low + np.arange(max(cells, 0)) * PER_ELEMENT + jitter
        return found

    @cached_property
    def first(self) -> dict[str, int]:
        """The number of the first element of each contig."""
        counts = [len(start) for start in self.elements.values()]
        return dict(zip(self.elements, np.cumsum([0, *counts[:-1]]).tolist(), strict=True))

    @cached_property
    def level(self) -> np.ndarray:
        """Accessibility of each element in each line: float32 (lines, elements), 0 where it is closed."""
        n = sum(map(len, self.elements.values()))
        rng = self.random("level")
        is_open = (rng.random(n) < EVERYWHERE) | (rng.random((len(LINES), n)) < OPEN)
        return (is_open * rng.lognormal(0, 0.7, n)).astype(np.float32)

    @cached_property
    def planted(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each TF, the elements with its motif, sorted, and the slot of the motif in each."""
        n = self.level.shape[1]
        wanted = np.geomspace(MOST_PEAKS, FEWEST_PEAKS, len(self.tfs)) * min(1.0, self.shape.scale)
        share = (self.level > 0).mean()
        found = []
        for tf, number in zip(self.tfs, wanted, strict=True):
            rng = self.random("planted", tf)
            where = np.sort(rng.choice(n, min(n, max(3, round(number / share))), replace=False))
            found.append((where, rng.integers(0, ELEMENT // SLOT, len(where))))
        return found

    def sequence(self, name: str) -> np.ndarray:
        """The bases of a contig, ASCII: uint8 (length,). Repeats are in lower case, and unknown bases are N."""
        length, rng = self.lengths[name], self.random("sequence", name)
        codes = rng.integers(0, 4, length, dtype=np.uint8)
        start, first = self.elements[name], self.first[name]
        for tf, (where, slot) in zip(self.tfs, self.planted, strict=True):
            low, high = np.searchsorted(where, [first, first + len(start)])
            matrix = self.matrices[tf]
            draw = rng.random((high - low, len(matrix), 1))
            base = (draw > np.cumsum(matrix, axis=1)[None, :, :3]).sum(axis=2)
            at = start[where[low:high] - first] + slot[low:high] * SLOT
            codes[at[:, None] + np.arange(len(matrix))] = base
        bases = CODES[codes]
        repeats = np.repeat(rng.random(length // 500 + 1) < 0.5, 500)[:length]
        bases[repeats] += 32
        low, high = known_part(length)
        bases[:low] = bases[high:] = ord("N")
        return bases

    def _fasta(self, path: Path) -> None:
        with gzip.open(path, "wb", compresslevel=1) as out:
            for name in self.lengths:
                out.write(f">{name}\n".encode())
                out.write(wrapped(self.sequence(name)))

    def _exclude(self, path: Path) -> None:
        rng, rows, scale = self.random("exclude"), [], self.shape.scale
        for name, length in self.lengths.items():
            for start in np.sort(rng.integers(0, length, round(length / (4_000_000 * scale)))):
                rows.append((name, start, min(length, start + int(rng.integers(100, 100 + 50_000 * scale)))))
        with gzip.open(path, "wt") as out:
            out.writelines(f"{name}\t{start}\t{end}\tHigh Signal Region\n" for name, start, end in rows)

    def _genes(self, path: Path) -> None:
        """Genes begin in elements, which are open at promoters. Each has transcripts with exons, as in GENCODE."""
        rng = self.random("genes")
        named = list(self.tfs)
        chosen = np.sort(
            rng.choice(
                self.level.shape[1],
                min(self.level.shape[1] // 2, max(len(named), round(GENE_NAMES * min(1, self.shape.scale)))),
                replace=False,
            )
        )
        tf_row = dict(zip(rng.choice(chosen, len(named), replace=False).tolist(), named, strict=False))
        with gzip.open(path, "wt", compresslevel=3) as out:
            out.write("##description: made up for a rehearsal\n##provider: nobody\n##format: gtf\n")
            for contig, start in self.elements.items():
                first = self.first[contig]
                low, high = np.searchsorted(chosen, [first, first + len(start)])
                for element in chosen[low:high]:
                    name = tf_row.get(int(element), f"GENE{element}")
                    site = int(start[element - first]) + ELEMENT // 2
                    out.write(gene_lines(contig, site, self.lengths[contig], int(element), name, rng))

    def _peaks(self, number: int, line: str, row: int) -> Callable[[Path], None]:
        def write(path: Path) -> None:
            rng = self.random("peaks", line, self.tfs[row])
            where, slot = self.planted[row]
            level = self.level[number][where]
            bound = level > 0
            where, slot, level = where[bound], slot[bound], level[bound]
            position = np.concatenate(list(self.elements.values()))[where] + slot * SLOT
            names = np.repeat(list(self.elements), [len(start) for start in self.elements.values()])[where]
            half = rng.integers(70, 200, len(where))
            signal = level * rng.lognormal(3, 0.3, len(where))
            start = np.maximum(position + SLOT // 2 - half, 0)
            table = pd.DataFrame({"chrom": names, "start": start, "end": position + SLOT // 2 + half})
            table["name"], table["score"], table["strand"] = (
                ".",
                np.clip(signal * 20, 0, 1000).astype(int),
                ".",
            )
            table["signal"] = signal.round(5)
            table["p"], table["q"], table["peak"] = -1.0, (signal / 10).round(5), half
            table = table.sort_values("signal", ascending=False)  # files of IDR are sorted by signal
            with gzip.open(path, "wt", compresslevel=3) as out:
                table.to_csv(out, sep="\t", header=False, index=False)

        return write

    def _starts(self, rng, name: str, level: np.ndarray, n: int, length: np.ndarray) -> np.ndarray:
        """Starts of ``n`` fragments of the given lengths on a contig, int64: some in open elements, some anywhere."""
        low, high = known_part(self.lengths[name])
        start = low + (rng.random(n) * np.maximum(high - low - length, 1)).astype(np.int64)
        element = self.elements[name]
        weight = level[self.first[name] : self.first[name] + len(element)].astype(float)
        if weight.sum():
            inside = np.flatnonzero(rng.random(n) < IN_ELEMENTS)
            which = np.searchsorted(np.cumsum(weight / weight.sum()), rng.random(len(inside))).clip(
                0, len(element) - 1
            )
            centre = element[which] + rng.normal(ELEMENT / 2, ELEMENT / 4, len(inside)).astype(np.int64)
            start[inside] = centre - length[inside] // 2
        return np.clip(start, low, np.maximum(high - length, low))

    def _shares(self) -> dict[str, float]:
        """The share of the fragments on each contig."""
        known = {name: np.subtract(*known_part(length)[::-1]) for name, length in self.lengths.items()}
        total = sum(known.values()) - known[MITOCHONDRION]
        shares = {name: (1 - MITOCHONDRIAL) * size / total for name, size in known.items()}
        return shares | {MITOCHONDRION: MITOCHONDRIAL}

    def _bam(self, number: int, line: str) -> Callable[[Path], None]:
        def write(path: Path) -> None:
            rng = self.random("bam", line)
            contigs = self.lengths | dict([STRAY])
            shares = self._shares() | {STRAY[0]: 0.001}
            begun = 0
            with pysam.BGZFile(str(path), "wb1") as out:
                out.write(bam_header(contigs))
                for row, name in enumerate(contigs):
                    n = int(self.shape.pairs * (1 - UNMAPPED) * shares[name])
                    length = np.minimum(fragment_lengths(rng, n), contigs[name] - 2)
                    if name == STRAY[0]:
                        start = rng.integers(0, contigs[name] - length)
                    else:
                        start = self._starts(rng, name, self.level[number], n, length)
                    for block in pair_records(rng, row, start, length, begun):
                        out.write(block)
                    begun += n
                for block in unmapped_records(rng, int(self.shape.pairs * UNMAPPED), begun):
                    out.write(block)

        return write

    @cached_property
    def barcodes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Barcodes, the line that each is like, and its share of the fragments: cells first, then empty droplets."""
        rng = self.random("barcodes")
        n, empty = self.shape.cells, self.shape.cells * 10
        letters = CODES[rng.integers(0, 4, (n + empty, 16))]
        text = np.concatenate(
            [letters, np.broadcast_to(np.frombuffer(b"-1", np.uint8), (n + empty, 2))], axis=1
        )
        weight = np.concatenate([rng.lognormal(0, 0.4, n), np.full(empty, 0.1 / 10)])
        return text.copy().view("S18").ravel(), rng.integers(0, len(LINES), n + empty), weight / weight.sum()

    def _fragments(self, path: Path) -> None:
        rng = self.random("fragments")
        text, kind, weight = self.barcodes
        total = self.shape.cells * self.shape.fragments
        barcode = pa.array(text.astype(str))
        with pysam.BGZFile(str(path), "wb1") as out:
            out.write(b"# id=rehearsal\n# description=made up\n# pipeline_name=none\n")
            for name, share in sorted(self._shares().items()):
                parts = []
                for like in range(len(LINES)):
                    own = np.flatnonzero(kind == like)
                    n = int(total * share * weight[own].sum())
                    length = np.minimum(fragment_lengths(rng, n), self.lengths[name] - 2)
                    start = self._starts(rng, name, self.level[like], n, length)
                    cumulative = np.cumsum(weight[own] / weight[own].sum())
                    cell = own[np.searchsorted(cumulative, rng.random(n)).clip(0, len(own) - 1)]
                    parts.append(np.stack([start, start + length, cell]).astype(np.uint32))
                rows = np.concatenate(parts, axis=1)
                rows = rows[:, np.argsort(rows[0], kind="stable")]
                count = rng.geometric(0.6, rows.shape[1]).astype(np.uint32)
                for begin in range(0, rows.shape[1], BLOCK * 4):
                    start, end, cell = rows[:, begin : begin + BLOCK * 4]
                    columns = [
                        pa.repeat(name, len(start)), pa.array(start), pa.array(end), barcode.take(pa.array(cell)),
                        pa.array(count[begin : begin + BLOCK * 4]),
                    ]  # fmt: skip
                    sink = pa.BufferOutputStream()
                    options = pacsv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
                    pacsv.write_csv(pa.table(columns, names=list("abcde")), sink, options)
                    out.write(sink.getvalue().to_pybytes())

    def _labels(self, path: Path) -> None:
        text, kind, _ = self.barcodes
        n = self.shape.cells
        table = pd.DataFrame({"barcode": text[:n].astype(str), "cell_type": np.array(LINES)[kind[:n]]})
        table["cell_type"] = "like " + table["cell_type"]
        table.to_csv(path, sep="\t", index=False)


def known_part(length: int) -> tuple[int, int]:
    """Start and end of the bases of a contig that are not N."""
    end = length // 5_000 if length > 1_000_000 else 0
    return end, length - end


def fragment_lengths(rng, n: int) -> np.ndarray:
    """Lengths of ATAC fragments, int64 (n,): short ones without a nucleosome, others with one or two."""
    short = READ + rng.gamma(1.5, 25, n)
    nucleosomes = rng.choice([0, 1, 2], n, p=[0.6, 0.3, 0.1])
    return np.where(nucleosomes, nucleosomes * 190 + rng.normal(0, 25, n), short).astype(np.int64).clip(READ)


def wrapped(bases: np.ndarray, width: int = 60) -> bytes:
    """Bases in lines of ``width``, each with its end."""
    whole = len(bases) // width
    lines = np.empty((whole, width + 1), dtype=np.uint8)
    lines[:, :width] = bases[: whole * width].reshape(whole, width)
    lines[:, width] = ord("\n")
    rest = bases[whole * width :].tobytes()
    return lines.tobytes() + (rest + b"\n" if rest else b"")


def gene_lines(contig: str, site: int, length: int, number: int, name: str, rng) -> str:
    """A gene of three transcripts of one to ten exons that begins at ``site``, in the form of GENCODE."""
    forward = bool(rng.integers(0, 2))
    reach = min(int(rng.lognormal(9.5, 1.2)) + 500, length - site - 1 if forward else site)
    if reach < 400:
        return ""
    start, end = (site + 1, site + reach) if forward else (site - reach + 1, site + 1)
    kind = "protein_coding" if rng.random() < 0.35 else "lncRNA"
    shared = f'gene_id "ENSG{number:011d}.1"; gene_type "{kind}"; gene_name "{name}"; level 2;'

    def line(feature: str, low: int, high: int, more: str = "") -> str:
        strand = "+" if forward else "-"
        return f"{contig}\tHAVANA\t{feature}\t{low}\t{high}\t.\t{strand}\t.\t{shared}{more}\n"

    lines = [line("gene", start, end)]
    for transcript in range(3):
        more = f' transcript_id "ENST{number:010d}{transcript}.1"; transcript_name "{name}-20{transcript}";'
        low, high = start + (0 if forward else transcript * 7), end - (transcript * 7 if forward else 0)
        lines.append(line("transcript", low, high, more))
        exons = int(rng.integers(1, 11))
        edges = np.linspace(low, high, 2 * exons).astype(int)
        lines += [
            line("exon", a, b, f"{more} exon_number {row + 1};")
            for row, (a, b) in enumerate(zip(edges[::2], edges[1::2], strict=True))
        ]
    return "".join(lines)


# A record of a read of READ bases that is aligned without a gap: the layout of the SAM specification, section 4.2.
NAME = 20  # bytes with the end
RECORD = np.dtype(
    [
        ("block_size", "<i4"), ("contig", "<i4"), ("start", "<i4"), ("l_name", "u1"), ("mapq", "u1"), ("bin", "<u2"),
        ("n_cigar", "<u2"), ("flag", "<u2"), ("l_seq", "<i4"), ("next_contig", "<i4"), ("next_start", "<i4"),
        ("span", "<i4"), ("name", f"S{NAME}"), ("cigar", "<u4"), ("bases", "u1", (READ // 2,)),
        ("quality", "u1", (READ,)), ("as_tag", "S3"), ("as_value", "u1"), ("nm_tag", "S3"), ("nm_value", "u1"),
        ("md_tag", "S3"), ("md_value", "S3"), ("yt_tag", "S3"), ("yt_value", "S3"),
    ]
)  # fmt: skip


def bam_header(contigs: dict[str, int]) -> bytes:
    """The header of a BAM that is sorted by position."""
    lines = "@HD\tVN:1.6\tSO:coordinate\n"
    lines += "".join(f"@SQ\tSN:{name}\tLN:{length}\n" for name, length in contigs.items())
    header = io.BytesIO()
    header.write(
        b"BAM\1" + np.int32(len(lines)).tobytes() + lines.encode() + np.int32(len(contigs)).tobytes()
    )
    for name, length in contigs.items():
        text = name.encode() + b"\0"
        header.write(np.int32(len(text)).tobytes() + text + np.int32(length).tobytes())
    return header.getvalue()


def _records(rng, n: int) -> np.ndarray:
    records = np.zeros(n, dtype=RECORD)
    records["block_size"], records["l_name"], records["l_seq"] = RECORD.itemsize - 4, NAME, READ
    records["n_cigar"], records["cigar"] = 1, READ << 4
    pairs = np.array([[a << 4 | b for b in (1, 2, 4, 8)] for a in (1, 2, 4, 8)], dtype=np.uint8).ravel()
    records["bases"] = pairs[rng.integers(0, 16, (n, READ // 2), dtype=np.uint8)]
    qualities = np.repeat(rng.choice(np.array([37, 37, 37, 25, 11], np.uint8), (512, READ // 5)), 5, axis=1)
    records["quality"] = qualities[rng.integers(0, 512, n)]
    records["as_tag"], records["nm_tag"], records["md_tag"], records["yt_tag"] = (
        b"ASC",
        b"NMC",
        b"MDZ",
        b"YTZ",
    )
    records["as_value"], records["nm_value"] = READ, rng.integers(0, 3, n)
    records["md_value"], records["yt_value"] = str(READ).encode(), b"CP"
    return records


def _names(number: np.ndarray) -> np.ndarray:
    digits = number[:, None] // 10 ** np.arange(NAME - 6, -1, -1)[None] % 10 + ord("0")
    text = np.empty((len(number), NAME), dtype=np.uint8)
    text[:, :4], text[:, 4:-1], text[:, -1] = np.frombuffer(b"SRR.", np.uint8), digits, 0
    return text.view(f"S{NAME}").ravel()


def pair_records(rng, contig: int, start: np.ndarray, length: np.ndarray, first: int) -> Iterator[bytes]:
    """Records of read pairs of fragments on a contig, sorted by position; names count from ``first``.

    Some fragments are duplicates of another and marked so, and some are mapped badly.
    """
    n = len(start)
    copies = np.flatnonzero(rng.random(n) < DUPLICATES)
    copies = copies[copies > 0]
    start, length = start.copy(), length.copy()
    start[copies], length[copies] = start[copies - 1], length[copies - 1]
    duplicate = np.zeros(n, dtype=bool)
    duplicate[copies] = True
    mapq = np.where(rng.random(n) < BADLY_MAPPED, rng.integers(0, 30, n), 42)
    flip = rng.random(n) < 0.5  # the first read of the pair is the one on the minus strand
    right = start + length - READ
    position = np.concatenate([start, right])
    order = np.argsort(position, kind="stable")
    for begin in range(0, 2 * n, BLOCK):
        chosen = order[begin : begin + BLOCK]
        of, is_right = chosen % n, chosen >= n
        records = _records(rng, len(chosen))
        records["contig"] = records["next_contig"] = contig
        records["start"], records["next_start"] = position[chosen], np.where(is_right, start[of], right[of])
        records["mapq"], records["name"] = mapq[of], _names(first + of)
        records["span"] = np.where(is_right, -length[of], length[of])
        strand = np.where(is_right, 0x10, 0x20)
        mate = np.where(is_right ^ flip[of], 0x80, 0x40)
        records["flag"] = 0x3 | strand | mate | np.where(duplicate[of], 0x400, 0)
        records["bin"] = bins(records["start"], records["start"] + READ)
        yield records.tobytes()


def unmapped_records(rng, n: int, first: int) -> Iterator[bytes]:
    """Records of ``n`` pairs of which no read is mapped; names count from ``first``."""
    for begin in range(0, n, BLOCK // 2):
        number = np.repeat(np.arange(begin, min(n, begin + BLOCK // 2)), 2)
        records = _records(rng, len(number))
        for field in ("contig", "start", "next_contig", "next_start"):
            records[field] = -1
        records["name"], records["bin"] = _names(first + number), 4680
        records["flag"] = 0x1 | 0x4 | 0x8 | np.tile([0x40, 0x80], len(number) // 2)
        # An unmapped read has no CIGAR. Its place in the record stays, as a tag that nobody reads.
        records["n_cigar"], records["cigar"] = 0, 0
        yield _without_cigar(records)


def _without_cigar(records: np.ndarray) -> bytes:
    records["block_size"] -= 4
    raw = records.view(np.uint8).reshape(len(records), -1)
    at = RECORD.fields["cigar"][1]
    return np.delete(raw, np.arange(at, at + 4), axis=1).tobytes()


def bins(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The bin of each alignment in the index of the SAM specification, section 5.3: int64."""
    last = end.astype(np.int64) - 1
    start = start.astype(np.int64)
    found = np.zeros(len(start), dtype=np.int64)
    for shift, offset in ((26, 1), (23, 9), (20, 73), (17, 585), (14, 4681)):
        same = start >> shift == last >> shift
        found[same] = offset + (start[same] >> shift)
    return found


def md5(path: Path) -> str:
    """The MD5 of a file."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "md5").hexdigest()
