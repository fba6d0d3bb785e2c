"""Choose a motif matrix for each TF, from pyJASPAR or from a file of the user.

Files may be of JASPAR, HOCOMOCO, HOMER, CIS-BP, MEME or TRANSFAC.

TRANSFAC is read with Biopython. Its reader of MEME rounds probabilities to whole sites, often only 20 in a file,
and its readers of the other formats take a matrix of 4 x 4 for positions whatever its columns sum to.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from scbind.core.errors import InputError
from scbind.core.runlog import say
from scbind.formats.inputs import read_lines
from scbind.formats.motifs import log_odds, write_motifs
from scbind.formats.symbols import Aliases, case_matters

REMEDY = "give matrices in the format of JASPAR, MEME, TRANSFAC, HOMER or HOCOMOCO"
SITES = 1000  # number of sites that a matrix of probabilities stands for: files give three decimals
LARGEST = 10**9  # sites, or positions, of a matrix
FLAT = 0.01  # a matrix in which no two bases of a position differ more in share has no motif
WHOLE = 0.02  # largest distance from 1 of the sum of a position, in a matrix of probabilities
TRANSFAC_KEY = re.compile(r"^(AC|ID|NA|VV|XX|DE|P0|PO)\b")
HOCOMOCO = re.compile(r"^(?P<tf>[^.]+?)(_HUMAN|_MOUSE)?\.H1\d")  # CTCF_HUMAN.H11MO.0.A, CTCF.H12CORE.0.P.B
CISBP = re.compile(
    r"^\S+\s+\((?P<tf>[^()\s]+)\)_\("
)  # of MEME: M00111_2.00 (TFAP2B)_(Homo_sapiens)_(DBD_0.97)
HOMER = re.compile(r"^[A-Za-z]+\t[^\t]+\t-?\d")  # consensus, name, threshold
# Titles of HOMER, which MEME files may have, too: CTCF(Zf)/CD4+-CTCF-ChIP-Seq(GSE12889)/Homer, Sp1(Zf)/Promoter/Homer
HOMER_TITLE = re.compile(r"^(?P<tf>[^(/]+)(\([^/]*/|.*/Homer$)")
JASPAR = re.compile(r"^[A-Z]{2}\d{4}\.\d+$")  # identifier; the name after it is whole: Etv1/4/5, Su(H)
GIMME = re.compile(r"^(?P<identity>MA\d+\.\d+)_MA\d+\.\d+\.(?P<tf>.+)$")  # MA0004.1_MA0004.1.Arnt


class Matrix(NamedTuple):
    """One matrix: the name of its TF, its identifier, and counts of sites, float64 (4, length), rows A, C, G, T."""

    name: str
    identity: str
    counts: np.ndarray


class _Raw(NamedTuple):
    """A matrix as it is written, in file order, and the line of its header."""

    line: int
    title: str
    values: np.ndarray
    sites: int


def prepare_motifs(
    tfs: list[str],
    output: str | Path,
    release: str | None = "JASPAR2024",
    taxon: str = "vertebrates",
    path: str | None = None,
    aliases: dict[str, str] | None = None,
) -> None:
    """Choose one matrix per TF and write its log-odds.

    Parameters
    ----------
    tfs
        Gene symbols. Case does not matter, except in insects: in the fruit fly, ``h`` is hairy and ``H`` is Hairless.
    output
        ``.npz``: ``tfs`` and ``matrix_ids`` (strings), and one float32 array (4, length) per TF with a matrix:
        log2 odds against a uniform background, rows A, C, G, T.
    release
        JASPAR release that pyJASPAR contains (CORE). The network is not used. ``None`` without ``path``: no motif is
        known, and the file has no TF.
    taxon
        Group of species of JASPAR, as pyJASPAR names it (``tax_group``).
    path
        A file of matrices to use instead; see :func:`read_profiles` for its formats.
    aliases
        TF -> TF whose matrix is used for it. For example, cohesin has no motif but binds at CTCF sites.

    Raises
    ------
    InputError
        If the file is missing or malformed, the release is unknown, or no TF has a matrix.
    """
    if not path and not release:
        say("no motifs are known: motifs.release and motifs.path are empty")
        write_motifs(output, {})
        return
    profiles, place = load_profiles(path, release, taxon)
    named = Aliases(taxon, aliases or {})
    remedy = f"check {'motifs.path' if path else 'motifs.taxon'}, motifs.aliases and the symbols of the TFs"
    chosen: dict[str, tuple[str, np.ndarray]] = {}
    for tf in tfs:
        best = matrix_of(named.meant(tf), profiles, taxon)
        if best:
            chosen[tf] = (f"{best.identity}:{best.name}", log_odds(best.counts))
        else:
            say(f"{tf}: no matrix in {place}; its motif baseline falls back to accessibility")
    if len(chosen) < len(tfs):
        say(f"{len(tfs) - len(chosen)} of {len(tfs)} TFs have no matrix; {remedy}")
    if not chosen:
        raise InputError(path or release, f"no matrix for any TF{'' if path else f' of {taxon}'}", remedy)
    write_motifs(output, chosen)
    say(f"{len(chosen)} of {len(tfs)} TFs have a matrix in {place}")


def matrix_of(tf: str, profiles: list[Matrix], taxon: str) -> Matrix | None:
    """Return the first matrix of a TF, else of a dimer with it. The same spelling comes before another case."""
    spellings = (str,) if case_matters(taxon) else (str, str.upper)
    for fold in spellings:
        wanted = fold(tf)
        exact = (profile for profile in profiles if fold(profile.name) == wanted)
        dimer = (profile for profile in profiles if wanted in fold(profile.name).split("::"))
        if found := next(exact, None) or next(dimer, None):
            return found
    return None


def load_profiles(path: str | None, release: str | None, taxon: str) -> tuple[list[Matrix], str]:
    """Return the matrices of a file, or else of a release of JASPAR, and where they are from, in words.

    Raises :class:`InputError` as :func:`prepare_motifs`.
    """
    if path:
        return read_profiles(path), str(path)
    return _jaspar_profiles(release, taxon), f"{release}, {taxon}"


def read_profiles(path: str | Path) -> list[Matrix]:
    """Read the matrices of a file, plain or compressed; the content tells the format.

    JASPAR and CIS-BP (rows ``A [ 1 2 ]``), four rows or four columns of numbers below each ``>`` (HOCOMOCO, HOMER),
    MEME (text), and TRANSFAC. Matrices of probabilities become counts of the number of sites that MEME gives, or of
    1,000. The name of the TF is in the header: after the identifier (JASPAR, MEME), before ``(`` or ``/`` (HOMER),
    before ``_HUMAN`` or the first dot (HOCOMOCO).

    Raises
    ------
    InputError
        If the file is missing, empty or of no known format, or if a matrix is not four rows or columns of counts or
        probabilities, or all bases are alike in it. Log-odds, with negative values, are refused.
    """
    lines = [(number, line.strip()) for number, line in read_lines(path, "give a motif file") if line.strip()]
    lines = [(number, line) for number, line in lines if not line.startswith("#")]
    first = lines[0][1] if lines else ""
    if any(
        line.startswith("MEME version") for _, line in lines[:5]
    ):  # below a frame of stars in the output of MEME
        raw = list(_meme(path, lines))
    elif any(line.startswith(">") for _, line in lines):
        raw = list(_below_headers(path, lines))
    elif TRANSFAC_KEY.match(first):
        raw = list(_transfac(path, lines))
    else:
        raw = []
    if not raw:
        raise InputError(path, "holds no matrix", REMEDY)
    profiles, shares = [], 0
    for matrix in raw:
        counts = matrix.values
        if not counts.size:
            raise InputError(path, f"matrix {matrix.title!r} has no position", REMEDY, f"line {matrix.line}")
        if (counts < 0).any():
            problem = f"matrix {matrix.title!r} has negative values: log-odds, not counts"
            raise InputError(
                path, problem, "give the matrix of counts or of probabilities", f"line {matrix.line}"
            )
        if np.allclose(counts.sum(axis=0), 1, atol=WHOLE):
            counts = counts / counts.sum(axis=0) * matrix.sites
            shares += 1
        elif not counts.sum(axis=0).all():
            raise InputError(
                path, f"matrix {matrix.title!r} has a position without counts", REMEDY, f"line {matrix.line}"
            )
        if np.ptp(counts / counts.sum(axis=0), axis=0).max() < FLAT:
            problem = (
                f"matrix {matrix.title!r} has the same share of all bases everywhere, so no site matches it"
            )
            raise InputError(path, problem, "remove it, or give its motif", f"line {matrix.line}")
        name, identity = _names(matrix.title)
        profiles.append(Matrix(name, identity, counts))
    if shares:
        say(
            f"{path}: {shares} of {len(raw)} matrices hold probabilities, taken as shares of {SITES} sites unless given"
        )
    return profiles


def _names(title: str) -> tuple[str, str]:
    """Return the name of the TF and the identifier of a matrix from its header."""
    fields = title.split()
    if match := GIMME.match(title):
        return match["tf"], match["identity"]
    if match := HOCOMOCO.match(title):
        return match["tf"], fields[0]
    if match := CISBP.match(title):
        return match["tf"], fields[0]
    if len(fields) == 1 and (match := HOMER_TITLE.match(title)):
        return match["tf"], title
    # HOMER: consensus, CTCF(Zf)/experiment/Homer, ...; not the variants of JASPAR, as JUN(var.2)
    if len(fields) > 1 and not JASPAR.match(fields[0]) and re.search(r"/|\((?!var\.)", fields[1]):
        return re.split(r"[(/]", fields[1])[0], fields[1]
    identity, _, name = title.replace("\t", " ").partition(" ")
    if HOMER.match(title):
        name = title.split("\t")[1]
    name = name.strip().removeprefix(f"{identity}.")  # of JASPAR's MEME files: MA0004.1 MA0004.1.Arnt
    return (name or identity), identity


def _below_headers(path, lines: list[tuple[int, str]]) -> Iterator[_Raw]:
    """Read matrices below headers that begin with ``>``."""
    header, begun, rows = "", 0, []
    for number, line in [*lines, (lines[-1][0] + 1, ">")]:
        if line.startswith(">"):
            if header:
                yield _Raw(begun, header, _oriented(path, header, begun, rows), SITES)
            header, begun, rows = line[1:].strip(), number, []
        elif begun:
            letter = line[0] if line[0] in "ACGT" else ""
            fields = line.removeprefix(letter).replace("[", " ").replace("]", " ").split()
            rows.append((letter, _floats(path, fields, number, line)))


def _oriented(path, header: str, line: int, rows: list[tuple[str, list[float]]]) -> np.ndarray:
    """Return a matrix with rows A, C, G, T. In one of 4 x 4, the sums of the positions are alike."""
    letters = "".join(letter for letter, _ in rows)
    values = (
        np.array([row for _, row in rows]) if len({len(row) for _, row in rows}) == 1 else np.zeros((0, 0))
    )
    if 4 not in values.shape or not values.size or letters not in ("", "ACGT"):
        problem = f"matrix {header!r} is not four rows or columns of counts"
        raise InputError(path, problem, REMEDY, f"line {line}")
    by_position = values.shape[1] == 4 and not letters
    if values.shape == (4, 4) and not letters:
        across, down = (np.ptp(values.sum(axis=axis)) for axis in (1, 0))
        by_position = across <= down
        if np.isclose(across, down, atol=1e-9 * values.max()) and not np.array_equal(values, values.T):
            problem = f"matrix {header!r} of 4 x 4 may have its positions in rows or in columns"
            raise InputError(path, problem, "write rows as A [ 1 2 3 4 ]", f"line {line}")
    return values.T if by_position else values


def _meme(path, lines: list[tuple[int, str]]) -> Iterator[_Raw]:
    """Read the MEME motif format (meme-suite.org, "MEME Motif Format")."""
    title, begun, sites, width, rows = "", 0, 0, 0, None
    for number, line in [*lines, (lines[-1][0] + 1, "MOTIF")]:
        if rows is not None and (not re.match(r"[\d.]", line) or width and len(rows) == width):
            if not title:
                problem = "a matrix has no line MOTIF with a name"
                raise InputError(path, problem, "write it above the matrix", f"before line {number}")
            yield _Raw(begun, title, _positions(path, title, begun, rows, width), sites)
            rows, title = None, ""
        if line.startswith("MOTIF"):
            title, begun = re.split(r"\swidth\s*=", line.removeprefix("MOTIF"))[0].strip(), number
        elif line.startswith("letter-probability matrix"):
            found = dict(re.findall(r"(\w+)\s*=\s*(\S+)", line))
            width, rows = _whole(path, found, "w", number), []
            sites = _whole(path, found, "nsites", number) or SITES
            if found.get("alength", "4") != "4":
                raise InputError(
                    path, "the alphabet has not four letters", "give motifs of DNA", f"line {number}"
                )
        elif rows is not None:
            rows.append(_floats(path, line.split(), number, line))


def _positions(path, title: str, line: int, rows: list[list[float]], width: int) -> np.ndarray:
    if not rows or any(len(row) != 4 for row in rows) or width and len(rows) != width:
        problem = f"matrix {title!r} is not {width or 'some'} rows of four probabilities"
        raise InputError(path, problem, REMEDY, f"line {line}")
    return np.array(rows).T


def _transfac(path, lines: list[tuple[int, str]]) -> Iterator[_Raw]:
    from Bio import motifs

    try:
        found = motifs.parse(
            io.StringIO("\n".join(line for _, line in lines) + "\n"), "TRANSFAC", strict=False
        )
        for motif in found:
            values = np.array([motif.counts[letter] for letter in "ACGT"], dtype=np.float64)
            identity = motif.get("AC") or motif.get("ID") or "matrix"
            name = motif.get("NA") or motif.get("ID") or identity
            yield _Raw(lines[0][0], f"{identity} {name}", values, SITES)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, UnboundLocalError) as error:
        detail = " ".join(str(error).split())
        raise InputError(path, f"cannot be read as TRANSFAC ({detail})", REMEDY) from error


def _floats(path, fields: list[str], number: int, line: str) -> list[float]:
    values = [_number(field) for field in fields]
    if not values or not np.isfinite(values).all():
        raise InputError(path, f"not a number in {line[:80]!r}", REMEDY, f"line {number}")
    return values


def _whole(path, found: dict[str, str], key: str, line: int) -> int:
    """Return a whole number from the line above a matrix of MEME, 0 for none."""
    value = _number(found.get(key))
    if not 0 <= value <= LARGEST:
        raise InputError(path, f"{key} is {found[key]!r}, not a whole number", REMEDY, f"line {line}")
    return int(value)


def _number(text: str | None) -> float:
    """Return a number, 0 for nothing, NaN for what is not a number."""
    try:
        return float(text or 0)
    except ValueError:
        return np.nan


def _jaspar_profiles(release: str, taxon: str) -> list[Matrix]:
    from pyjaspar import jaspardb

    database = jaspardb(release=release)  # for an unknown release it prints the known ones and does not raise
    if not hasattr(database, "conn"):
        raise InputError(
            "config", f"no JASPAR release {release!r}", "use for example JASPAR2024", "motifs.release"
        )
    found = database.fetch_motifs(collection="CORE", tax_group=taxon, all_versions=False)
    # canonical matrices have the lowest id; later ids are alternative binding modes
    found = sorted(found, key=lambda m: m.matrix_id)
    return [Matrix(m.name, m.matrix_id, np.array([m.counts[b] for b in "ACGT"])) for m in found]
