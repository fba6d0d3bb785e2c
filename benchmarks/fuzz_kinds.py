"""The kinds of input that `fuzz.py` damages: a small good file of each, its reader, and what a result has to be."""

from __future__ import annotations

import gzip
import json
import os
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyBigWig
import pysam
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

from scbind.bulk.ends import PAIRED  # noqa: E402
from scbind.bulk.tracks import insertion_track  # noqa: E402
from scbind.cells.celltypes import read_labels  # noqa: E402
from scbind.cells.count import count_fragments  # noqa: E402
from scbind.cells.frombam import bam_to_fragments  # noqa: E402
from scbind.core.errors import InputError  # noqa: E402
from scbind.formats.barcodes import match_barcodes, read_barcodes  # noqa: E402
from scbind.formats.fragments import iter_fragments  # noqa: E402
from scbind.formats.genes import read_genes  # noqa: E402
from scbind.formats.genome import ChromSizes  # noqa: E402
from scbind.formats.insertions import read_fragments, read_insertions  # noqa: E402
from scbind.formats.intervals import read_called, read_peaks  # noqa: E402
from scbind.formats.motiffiles import prepare_motifs, read_profiles  # noqa: E402
from scbind.plan.chromosomes import fasta_names  # noqa: E402
from scbind.plan.settings import check_config  # noqa: E402
from scbind.plan.sheets import load_plan  # noqa: E402
from scbind.plan.yamlfile import check_yaml  # noqa: E402
from scbind.reference.mappability import prepare_mappability  # noqa: E402
from scbind.reference.prepare import prepare_reference  # noqa: E402

LENGTHS = {"chr1": 9000, "chr2": 7000}
SIZES = ChromSizes(tuple(LENGTHS), np.array(list(LENGTHS.values()), dtype=np.int64))
SHEETS = ("sources", "tracks", "chip", "samples")
PLENTY = 16 << 20  # bytes; a damaged packed file is not unpacked further to look for a name


class Implausible(Exception):
    """A result that cannot be right."""


@dataclass(frozen=True)
class Kind:
    """One kind of input.

    Attributes
    ----------
    name
        As printed.
    files
        Name -> content of the good files. All are written to a folder.
    altered
        Names of the files of which one is altered.
    read
        Takes the folder of the inputs and an empty folder for outputs. Raises :class:`Implausible` for a result that
        cannot be right.
    form
        ``text`` (which may be packed if ``packable``), ``bam``, ``bigwig`` or ``binary``.
    """

    name: str
    files: dict[str, bytes]
    altered: tuple[str, ...]
    read: Callable[[Path, Path], None]
    form: str = "text"
    packable: bool = True


def need(right: bool, problem: str) -> None:
    """Raise :class:`Implausible` unless ``right``."""
    if not right:
        raise Implausible(problem)


def make_kinds(folder: Path, seed: int) -> list[Kind]:
    """Make the good files of every kind. ``folder`` is for scratch files and for the reference that stays there."""
    rng = random.Random(seed)
    made = _Seeds(folder, rng)
    sizes = {"sizes": made.sizes}
    kinds = [
        Kind("fragments", {"f.tsv": made.fragments}, ("f.tsv",), _fragments),
        Kind(
            "fragments counted",
            {"f.tsv": made.fragments, "genes.bed": made.genes["BED"], **sizes},
            ("f.tsv", "f.tsv", "genes.bed", "sizes"),
            _counted,
        ),
        Kind("BAM with barcodes", {"x.bam": made.bam}, ("x.bam",), _barcoded_bam, "bam"),
        Kind("track of fragments", {"x": made.fragments, **sizes}, ("x",), partial(_track, "fragments")),
        Kind("track of BAM", {"x": made.bam, **sizes}, ("x",), partial(_track, "bam"), "bam"),
        Kind(
            "track of insertions",
            {"x": made.bigwig["insertions"], **sizes},
            ("x",),
            partial(_track, "insertions"),
            "bigwig",
        ),
        Kind(
            "track of coverage",
            {"x": made.bigwig["coverage"], **sizes},
            ("x",),
            partial(_track, "coverage"),
            "bigwig",
        ),
        Kind(
            "mappability",
            {"x": made.bigwig["mappability"]},
            ("x",),
            partial(_mappability, folder / "mini"),
            "bigwig",
        ),
        Kind(
            "FASTA",
            {"x.fa": made.fasta, "exclude.bed": made.exclude, **sizes},
            ("x.fa",),
            _reference,
        ),
        Kind(
            "chrom.sizes and exclusion list",
            {"x.fa": made.fasta, "exclude.bed": made.exclude, **sizes},
            ("exclude.bed", "sizes"),
            _reference,
        ),
        Kind("ChIP peaks", {"x": made.peaks}, ("x",), partial(_peaks, read_peaks)),
        Kind("called peaks", {"x": made.peaks}, ("x",), partial(_peaks, read_called)),
    ]
    kinds += [Kind(f"genes {name}", {"x": text}, ("x",), _genes) for name, text in made.genes.items()]
    kinds += [Kind(f"motifs {name}", {"x": text}, ("x",), _motifs) for name, text in made.motifs.items()]
    kinds += [
        Kind(f"barcodes {name}", {"x": text}, ("x",), _barcodes) for name, text in made.barcodes.items()
    ]
    kinds += [Kind("barcodes in HDF5", {"x": made.hdf5()}, ("x",), _barcodes, "binary")]
    kinds += [Kind("labels", {"x": made.labels}, ("x",), _labels)]
    plan = made.plan()
    kinds += [Kind(f"sheet {name}", plan, (f"config/{name}.tsv",), _plan, "text", False) for name in SHEETS]
    kinds += [Kind("configuration", plan, ("config/config.yaml",), _plan, "text", False)]
    return kinds


# ---- readers, and what their results have to be ----------------------------------------------------------------


def _text(path: Path) -> str | None:
    """The text of a file in the three encodings that are read, one after the other; None if it cannot be unpacked."""
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        try:
            with gzip.open(path) as handle:
                content = handle.read(PLENTY)
        except (OSError, EOFError, ValueError):
            return None
    elif content[:4] == b"\x28\xb5\x2f\xfd":
        return None
    found = content.decode("utf-8", "replace") + content.decode("latin-1")
    return found + content.decode("utf-16", "replace") if len(content) > 1 else found


def _named(path: Path, names, what: str) -> None:
    """Check that names are in the file as they are written."""
    text = _text(path)
    for name in names if text is not None and not path.read_bytes().startswith(b"\x89HDF") else ():
        need(isinstance(name, str), f"{what} {name!r} is not text")
        need(name in text or "%" in text, f"{what} {name[:60]!r} is not in the file")


def _fragments(inputs: Path, _: Path) -> None:
    barcodes = set()
    for chunk in iter_fragments(inputs / "f.tsv", SIZES):
        length = SIZES.lengths[chunk["chrom"].cat.codes.to_numpy()]
        start, end = chunk["start"].to_numpy(), chunk["end"].to_numpy()
        need(
            bool(((start >= 0) & (start < end) & (end <= length)).all()), "a fragment outside its chromosome"
        )
        need(bool((chunk["count"] >= 1).all()), "a count below 1")
        barcodes |= set(chunk["barcode"].astype(object))
    need(bool(barcodes) and "" not in barcodes, "no barcode")
    _named(inputs / "f.tsv", barcodes, "barcode")


def _counted(inputs: Path, out: Path) -> None:
    outputs = [out / name for name in ("position.npy", "cell.npy", "barcodes.tsv", "profile.tsv")]
    count_fragments(inputs / "f.tsv", inputs / "sizes", *outputs, min_fragments=2, genes=inputs / "genes.bed")
    position, cell = np.load(outputs[0]), np.load(outputs[1])
    table = pd.read_csv(
        outputs[2],
        sep="\t",
        dtype={"barcode": str},
        keep_default_na=False,
        na_values={"tss_enrichment": [""]},
    )
    total = ChromSizes.read(inputs / "sizes").total
    need(len(position) == len(cell) == 2 * table["n_fragments"].sum(), "the numbers of insertions differ")
    need(
        bool((np.diff(position.astype(np.int64)) >= 0).all()) and int(position[-1]) < total,
        "positions out of order",
    )
    need(int(cell.max()) < len(table), "a cell without a row")
    need(bool(np.isfinite(table["tss_enrichment"]).all()), "TSS enrichment is no number")
    need(bool((table["n_reads"] >= table["n_fragments"]).all()), "fewer reads than fragments")
    _named(inputs / "f.tsv", table["barcode"], "barcode")


def _barcoded_bam(inputs: Path, out: Path) -> None:
    bam_to_fragments(inputs / "x.bam", out / "f.tsv.gz", SIZES)
    number = sum(len(chunk) for chunk in iter_fragments(out / "f.tsv.gz", SIZES))
    need(0 < number <= 1000, f"{number} fragments")


def _track(form: str, inputs: Path, out: Path) -> None:
    outputs = [out / name for name in ("x.bw", "x.json", "x.npy")]
    insertion_track([{"path": inputs / "x", "format": form, "region": None}], inputs / "sizes", *outputs)
    facts = json.loads(outputs[1].read_text())
    sizes = ChromSizes.read(inputs / "sizes")
    found = read_insertions(outputs[0], sizes)
    need(len(found) == facts["total"] > 0, "the numbers of insertions differ")
    need(
        int(found[-1]) < sizes.total and bool((np.diff(found.astype(np.int64)) >= 0).all()),
        "positions out of order",
    )
    read_fragments(outputs[2], len(found))
    lengths = sizes.as_dict()
    need(all(0 <= low < high <= lengths[name] for name, low, high in facts["regions"]), "a region outside")
    if form in PAIRED:
        need(facts["total"] < 10_000, f"{facts['total']} insertions of a few")


def _mappability(reference: Path, inputs: Path, out: Path) -> None:
    prepare_mappability(inputs / "x", reference, out / "m.npy")
    found = np.load(out / "m.npy")
    need(found.dtype == np.uint8 and found.shape == (SIZES.total,) and bool(found.any()), "no levels")


def _reference(inputs: Path, out: Path) -> None:
    names = fasta_names(inputs / "x.fa", inputs / "names.json")
    outputs = [out / name for name in ("x.fa.gz", "chrom.sizes", "sequence.npy", "exclude.bed")]
    prepare_reference(inputs / "x.fa", *outputs, exclude=inputs / "exclude.bed", chrom_sizes=inputs / "sizes")
    sizes, codes = ChromSizes.read(outputs[1]), np.load(outputs[2])
    need(codes.max(initial=0) <= 4, "a code above 4")
    with pysam.FastaFile(str(outputs[0])) as fasta:
        need(sum(fasta.lengths) == len(codes), "the lengths differ")
        need(tuple(fasta.references) == sizes.names[: fasta.nreferences], "the names differ")
        need(names is None or tuple(names) == tuple(fasta.references), "the planned names differ")
    lengths = sizes.as_dict()
    for line in outputs[3].read_text().splitlines():
        name, low, high = line.split("\t")
        need(0 <= int(low) < int(high) <= lengths[name], f"excluded region {line}")
    _named(inputs / "x.fa", sizes.names[: fasta.nreferences], "chromosome")


def _peaks(reader, inputs: Path, _: Path) -> None:
    table = reader(inputs / "x", SIZES)
    length = table["chrom"].map(LENGTHS)
    need(
        bool(((table["start"] >= 0) & (table["start"] < table["end"]) & (table["end"] <= length)).all()),
        "a peak outside",
    )
    for column in table.columns.intersection(["score", "signal", "p", "q"]):
        need(bool(np.isfinite(table[column]).all()), f"{column} is no number")
    need(bool((table["summit"] < table["end"] - table["start"]).all()), "a summit outside")
    if "name" in table:
        _named(inputs / "x", table["name"], "peak")


def _genes(inputs: Path, _: Path) -> None:
    table = read_genes(inputs / "x", SIZES)
    length = SIZES.lengths[table["chrom"].to_numpy()]
    need(len(table) > 0, "no gene")
    need(
        bool(((table["tss"] >= 0) & (table["tss"] < length) & (table["start"] < table["end"])).all()),
        "a gene outside",
    )
    need(bool(table["strand"].isin(["+", "-"]).all()), "a strand")
    _named(inputs / "x", table["gene"], "gene")


def _motifs(inputs: Path, out: Path) -> None:
    profiles = read_profiles(inputs / "x")
    for profile in profiles:
        counts = profile.counts
        need(counts.shape[0] == 4 and counts.shape[1] > 0, f"a matrix of {counts.shape}")
        need(bool(np.isfinite(counts).all() and (counts >= 0).all()), "a count that is no number")
        need(bool(profile.name), "a matrix without a name")
    prepare_motifs(["CTCF", "ELF1"], out / "m.npz", path=str(inputs / "x"))
    with np.load(out / "m.npz") as stored:
        for tf in stored["tfs"]:
            need(bool(np.isfinite(stored[f"matrix/{tf}"]).all()), "log-odds that are no numbers")


def _barcodes(inputs: Path, _: Path) -> None:
    listed = read_barcodes(inputs / "x")
    _named(inputs / "x", listed, "barcode")
    place = match_barcodes(inputs / "x", listed, pd.Index(PRESENT, dtype=object), "s1")
    need(len(place) == len(listed) and place.max() < len(PRESENT) and place.min() >= -2, "a place outside")
    found = place[place >= 0]
    need(len(set(found.tolist())) == len(found), "two barcodes in one place")


def _labels(inputs: Path, _: Path) -> None:
    given = read_labels(inputs / "x", pd.Series(PRESENT, dtype=object), "s1")
    named = [name for name in given if isinstance(name, str)]
    need(
        len(given) == len(PRESENT) and len(named) + int(pd.isna(given).sum()) == len(given),
        "a label that is no text",
    )
    need("" not in named, "an empty label")
    _named(inputs / "x", named, "label")


def _plan(inputs: Path, _: Path) -> None:
    os.chdir(inputs)
    label = "config/config.yaml"
    check_yaml(label)
    if not Path(label).is_file():
        raise InputError(label, "no such file", "Snakemake says this")
    config = yaml.safe_load(Path(label).read_text(encoding="utf-8")) or {}
    plan = load_plan(check_config(config, label), label, {})
    need(
        ".nan" not in yaml.safe_dump(plan.config) and ".inf" not in yaml.safe_dump(plan.config),
        "a setting is no number",
    )
    for path in plan.inputs():
        need(Path(path).exists() or path.startswith("resources/"), f"no file {path!r}")
    need(
        all(isinstance(name, str) and name for name in (*plan.samples, *plan.tracks, *plan.tfs)),
        "an empty name",
    )
    for name, path in plan.sheets.items():
        rows = {"tracks": plan.tracks, "samples": plan.samples, "sources": plan.sources}.get(name, plan.tfs)
        _named(Path(path), [row for row in rows if "-" not in row], name)


# ---- good files ------------------------------------------------------------------------------------------------

PRESENT = [f"{code}-1" for code in ("AAACGAAT", "AAACTGCA", "CCGTAGGA", "GGTACCAT", "TTGACGTA", "TTGGCATC")]
JASPAR = """>MA0139.1 CTCF
A [ 87 167 281 56 8 ]
C [ 291 145 49 800 903 ]
G [ 76 414 449 21 0 ]
T [ 459 187 134 36 2 ]
>MA0473.1 ELF1
A [ 10 2 0 60 ]
C [ 20 80 9 7 ]
G [ 60 10 90 3 ]
T [ 10 8 1 30 ]
"""
MEME = """MEME version 4

ALPHABET= ACGT

strands: + -

Background letter frequencies
A 0.25 C 0.25 G 0.25 T 0.25

MOTIF MA0139.1 CTCF
letter-probability matrix: alength= 4 w= 3 nsites= 20 E= 0
 0.100 0.700 0.100 0.100
 0.250 0.250 0.250 0.250
 0.000 0.000 1.000 0.000

MOTIF MA0473.1 ELF1
letter-probability matrix: alength= 4 w= 2 nsites= 50 E= 0
 0.900 0.050 0.030 0.020
 0.100 0.100 0.700 0.100
"""
TRANSFAC = """AC  M00001
XX
ID  CTCF
XX
NA  CTCF
XX
P0      A      C      G      T
01     10     20     30     40      K
02      0     90      5      5      C
03     60      0     40      0      R
XX
//
AC  M00002
XX
ID  ELF1
XX
P0      A      C      G      T
01      1      2     30      4      G
02     50      9      5      5      A
XX
//
"""
HOMER = """>ANAGCGCCMT\tCTCF(Zf)/CD4-CTCF/Homer\t8.7\t-10.5\t0
0.4\t0.2\t0.3\t0.1
0.1\t0.7\t0.1\t0.1
0.001\t0.001\t0.997\t0.001
>AACCGGAAGT\tELF1(ETS)/Jurkat/Homer\t7.5\t-9.1\t0
0.6\t0.1\t0.2\t0.1
0.1\t0.6\t0.2\t0.1
"""


class _Seeds:
    """Makes the good files from a random generator."""

    def __init__(self, folder: Path, rng: random.Random):
        self.folder, self.rng = folder, rng
        self.sizes = "".join(f"{name}\t{length}\n" for name, length in LENGTHS.items()).encode()
        self.spans = [
            (name, start, start + rng.randrange(30, 400))
            for name, length in LENGTHS.items()
            for start in sorted(rng.randrange(0, length - 500) for _ in range(60))
        ]
        rows = [f"{c}\t{a}\t{b}\t{rng.choice(PRESENT)}\t{rng.randrange(1, 4)}\n" for c, a, b in self.spans]
        self.fragments = ("# made\n" + "".join(rows)).encode()
        self.fasta = "".join(
            f">{name} test\n" + "".join("".join(rng.choices("ACGTacgtN", k=60)) + "\n" for _ in range(length // 60))
            + "".join(rng.choices("ACGT", k=length % 60)) + "\n"
            for name, length in LENGTHS.items()
        ).encode().replace(b"\n\n", b"\n")  # fmt: skip
        self.exclude = b"chr1\t100\t300\tlow\nchr1\t250\t400\tlow\nchr2\t5000\t7000\thigh\n"
        peaks = [(c, a, b) for c, a, b in self.spans[::6]]
        self.peaks = "".join(
            f"{c}\t{a}\t{b}\tp{i}\t{100 + i}\t.\t{i + 1.5}\t{i + 2.25}\t{i + 1.0}\t{(b - a) // 2}\n"
            for i, (c, a, b) in enumerate(peaks)
        ).encode()
        self.bam = self._bam()
        self.bigwig = {name: self._bigwig(name) for name in ("insertions", "coverage", "mappability")}
        self.genes = self._genes()
        self.motifs = {
            name: text.encode()
            for name, text in zip(
                ("JASPAR", "MEME", "TRANSFAC", "HOMER"), (JASPAR, MEME, TRANSFAC, HOMER), strict=True
            )
        }
        listed = [f"s1#{name}" for name in PRESENT[:4]] + ["s2#AAACGAAT-1"]
        table = ["barcode,total,is__cell_barcode", "NO_BARCODE,50,0"]
        table += [f"{name},{rng.randrange(100)},{int(i < 4)}" for i, name in enumerate(PRESENT)]
        self.barcodes = {
            "list": ("barcode\n" + "".join(f"{name}\n" for name in PRESENT[:4])).encode(),
            "of samples": "".join(f"{name}\n" for name in listed).encode(),
            "of Cell Ranger": "".join(f"{line}\n" for line in table).encode(),
        }
        names = ("B cell", "NK", "nan", "1", "T é")
        self.labels = (
            "barcode\tcell_type\n" + "".join(f"{b}\t{t}\n" for b, t in zip(PRESENT, names, strict=False))
        ).encode()
        reference = folder / "mini"
        reference.mkdir()
        codes = [self.rng.randrange(4) for _ in range(sum(LENGTHS.values()))]
        np.save(reference / "sequence.npy", np.array(codes, dtype=np.uint8))
        (reference / "chrom.sizes").write_bytes(self.sizes)

    def _bam(self) -> bytes:
        """Proper pairs with barcodes, sorted."""
        path = self.folder / "x.bam"
        header = {
            "HD": {"VN": "1.6", "SO": "coordinate"},
            "SQ": [{"SN": n, "LN": k} for n, k in LENGTHS.items()],
        }
        reads = []
        for number, (name, start, end) in enumerate(self.spans):
            barcode = self.rng.choice(PRESENT)
            chrom = list(LENGTHS).index(name)
            for flag, at, mate, length in (
                (99, start, end - 30, end - start),
                (147, end - 30, start, start - end),
            ):
                read = pysam.AlignedSegment()
                read.query_name, read.flag, read.reference_id, read.reference_start = (
                    f"r{number}",
                    flag,
                    chrom,
                    at,
                )
                read.mapping_quality, read.cigarstring = 60, "30M"
                read.query_sequence, read.query_qualities = (
                    "ACGTA" * 6,
                    pysam.qualitystring_to_array("I" * 30),
                )
                read.next_reference_id, read.next_reference_start, read.template_length = chrom, mate, length
                read.set_tag("CB", barcode)
                reads.append(read)
        reads.sort(key=lambda read: (read.reference_id, read.reference_start))
        with pysam.AlignmentFile(str(path), "wb", header=header) as out:
            for read in reads:
                out.write(read)
        return path.read_bytes()

    def _bigwig(self, kind: str) -> bytes:
        path = self.folder / f"{kind}.bw"
        with pyBigWig.open(str(path), "w") as out:
            out.addHeader(list(LENGTHS.items()), maxZooms=self.rng.choice((0, 2)))
            for name, length in LENGTHS.items():
                depth = np.zeros(length)
                for chrom, start, end in self.spans:
                    if chrom == name and kind == "insertions":
                        depth[start] += 1
                        depth[end - 1] += 1
                    elif chrom == name and kind == "coverage":
                        depth[start:end] += 1
                    elif chrom == name:
                        depth[start:end] = self.rng.choice((0.25, 0.5, 1.0))
                edges = np.flatnonzero(np.diff(depth)) + 1
                low, high = np.r_[0, edges], np.r_[edges, length]
                used = depth[low] > 0
                out.addEntries(
                    [name] * int(used.sum()),
                    low[used].tolist(),
                    ends=high[used].tolist(),
                    values=depth[low][used].tolist(),
                )
        return path.read_bytes()

    def _genes(self) -> dict[str, bytes]:
        spans = [
            ("chr1", 2500, 4000, "+", "NA"),
            ("chr1", 3000, 6000, "-", "nan"),
            ("chr2", 3000, 4500, "+", "G 1"),
        ]
        spans += [("chr2", 2200, 4700, "-", "2")]
        bed = "".join(f"{c}\t{a}\t{b}\t{g}\t0\t{s}\n" for c, a, b, s, g in spans)
        gtf = '#!genome\n' + "".join(
            f'{c}\tX\tgene\t{a + 1}\t{b}\t.\t{s}\t.\tgene_id "E{a}"; gene_name "{g}";\n'
            f'{c}\tX\ttranscript\t{a + 1}\t{b}\t.\t{s}\t.\tgene_id "E{a}"; transcript_id "T{a}"; gene_name "{g}";\n'
            for c, a, b, s, g in spans
        )  # fmt: skip
        gff = "##gff-version 3\n" + "".join(
            f"{c}\tX\tgene\t{a + 1}\t{b}\t.\t{s}\t.\tID=gene:E{a};Name={g};biotype=x\n"
            for c, a, b, s, g in spans
        )
        return {"BED": bed.encode(), "GTF": gtf.encode(), "GFF3": gff.encode()}

    def hdf5(self) -> bytes:
        """A matrix of Cell Ranger, with its barcodes alone."""
        with h5py.File(self.folder / "m.h5", "w") as out:
            out.create_dataset("matrix/barcodes", data=np.array(PRESENT[:4], dtype="S"), compression="gzip")
        return (self.folder / "m.h5").read_bytes()

    def plan(self) -> dict[str, bytes]:
        """The configuration with its four sheets and the files that they name."""
        config = yaml.safe_load((ROOT / "config/demo/config.yaml").read_text(encoding="utf-8"))
        config["genome"] |= {"fasta": "d/x.fa", "exclude": "d/e.bed", "genes": "d/genes.bed"}
        config["evaluate"] |= {"truth": None, "sample": "s1"}
        config["splits"] = {"test": ["*:chr2", "L1:chr1:0-5000"], "valid": ["L2:chr1"]}
        files = {
            f"d/{name}": name.encode()
            for name in ("x.fa", "e.bed", "genes.bed", "l1", "l2", "s1", "s2", "c1", "c2", "b", "t")
        }
        sheets = {
            "sources": [
                "name\tversion\turl\tsha256\tlicence\tnote",
                f"a.gz\t1\thttps://x.org/a.gz\t{'0f' * 32}\tCC0\t",
            ],
            "tracks": [
                "cell_line\tpath\tformat\tregion",
                "L1\td/l1\tfragments\tchr1:0-9000",
                "L2\td/l2\tbam\t",
            ],
            "chip": ["cell_line\ttf\tpath\trelaxed", "L1\tCTCF\td/c1\td/c2", "L2\tELF1\tsource:a.gz\t"],
            "samples": [
                "sample\tpath\tformat\tgroup\tbinding\tbarcodes\tlabels\tdonor\tcondition",
                "s1\td/s1\tfragments\tcells\tyes\td/b\td/t\td1\thealthy",
                "s2\td/s2\tbam\tcells\tno\t\t\td2\t",
            ],
        }
        config["sheets"] = {name: f"config/{name}.tsv" for name in sheets}
        files |= {f"config/{name}.tsv": ("\n".join(rows) + "\n").encode() for name, rows in sheets.items()}
        return files | {"config/config.yaml": yaml.safe_dump(config, sort_keys=False).encode()}
