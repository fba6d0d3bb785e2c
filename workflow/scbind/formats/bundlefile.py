"""A bundle: one zip file with a trained model and its description. Nothing in it can be executed.

``bundle.json`` describes the model and lists size and SHA-256 of every other member. The names of the members are
fixed, so that a bundle can neither write outside its folder nor carry a file of another kind. Every byte of the zip
file outside the compressed members must be as :func:`write_bundle` writes it, so nothing can be added or hidden. The
compressed bytes themselves depend on the version of zlib, so only their content is compared.

Snakemake reads bundles with this module when it plans a run, so it imports only light packages (no numpy).
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scbind.core.errors import InputError, said
from scbind.core.filenames import fits_file_name
from scbind.core.files import atomic, require

FORMAT = 1  # raise it when the meaning of a member changes
ABOUT = "bundle.json"
WEIGHTS, CALIBRATION, MOTIFS = "model.safetensors", "calibration.json", "motifs.safetensors"
METRICS, HISTORY, CARD = "metrics.tsv", "training.csv", "card.md"
IDENTITIES = "scbind"  # key of the header of MOTIFS that holds TF -> matrix id and name
MEMBERS = (WEIGHTS, CALIBRATION, MOTIFS, METRICS, HISTORY, CARD)
ORDER = (ABOUT, *MEMBERS)  # in the file
LARGEST = 1 << 30  # bytes of any member; the largest that scbind makes have some 10 MB
# Parts of a zip file (APPNOTE.TXT of PKWARE, 4.3): before each member, its item in the directory, end of the file.
HEAD, ITEM, END = struct.Struct("<4s5H3I2H"), struct.Struct("<4s6H3I5H2I"), struct.Struct("<4s4H2IH")
VERSION, UNIX, MODE = 20, 3 << 8, 0o644 << 16
# Time and date of all members: 1 January 1980, the oldest. The real date would change the bytes each time.
WHEN = 0, (1 << 5) + 1
NEEDED = {  # what bundle.json must say, and its type
    "name": str,
    "version": str,
    "genome": str,
    "species": (str, type(None)),
    "licence": (str, type(None)),
    "facts": dict,
    "training_data": list,
    "members": dict,
}
WHOLE = "give the file NAME.scbind.zip"
ALTERED = "wrong checksum: the bundle was altered"
AGAIN = "get the bundle again, or make it again with snakemake bundle"
DAMAGE = (
    zipfile.BadZipFile,
    struct.error,
    zlib.error,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True)
class Bundle:
    """The content of a bundle, verified.

    Attributes
    ----------
    about
        What ``bundle.json`` says.
    members
        Name -> bytes of each member in ``MEMBERS``.
    """

    about: dict
    members: dict[str, bytes]


@dataclass(frozen=True)
class _Entry:
    """A member as the directory of the zip file lists it: sizes in bytes, CRC-32 of its content."""

    name: str
    crc: int
    packed: int
    size: int


def write_bundle(path: str | Path, about: Mapping, members: Mapping[str, bytes]) -> None:
    """Write a bundle, whole or not at all. The same content gives the same bytes.

    ``about`` has the keys of ``NEEDED`` except ``members``, and may have more. ``members`` holds every member.
    """
    listed = {name: {"bytes": len(members[name]), "sha256": _sha256(members[name])} for name in MEMBERS}
    whole = {"format": FORMAT, **about, "members": listed}
    content = dict(members) | {ABOUT: (json.dumps(whole, indent=1, sort_keys=True) + "\n").encode()}
    streams, entries = [], []
    for name in ORDER:
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        streams.append(packer.compress(content[name]) + packer.flush())
        entries.append(_Entry(name, zlib.crc32(content[name]), len(streams[-1]), len(content[name])))
    with atomic(path) as scratch, open(scratch, "wb") as handle:
        for frame, stream in zip(_frames(entries), [*streams, b""], strict=True):
            handle.write(frame + stream)


def read_about(path: str | Path) -> dict:
    """Read ``bundle.json`` of a bundle. Raises :class:`InputError` as :func:`read_bundle` does."""
    return _about(path, _directory(path))


def read_bundle(path: str | Path) -> Bundle:
    """Read and verify a bundle.

    Raises
    ------
    InputError
        If the file is missing, truncated, altered or of a newer format, or has members that a bundle does not have.
    """
    places = _directory(path)
    about = _about(path, places)
    members = {}
    for name in MEMBERS:
        stated = about["members"].get(name)
        size = stated.get("bytes") if isinstance(stated, dict) else None
        if type(size) is not int or not 0 <= size <= LARGEST:
            raise InputError(path, f"does not list {name} with a valid size", AGAIN, ABOUT)
        if places[name][1].size != size:
            raise InputError(path, f"has a different size than {ABOUT} states", AGAIN, name)
        members[name] = _member(path, *places[name])
        if _sha256(members[name]) != stated.get("sha256"):
            raise InputError(path, ALTERED, AGAIN, name)
    return Bundle(about, members)


def predicts_other_tfs(bundle: Bundle) -> bool:
    """Tell whether the model of a bundle was trained to predict TFs that it has not seen; its calibration says so."""
    return "motif_tfs" in json.loads(bundle.members[CALIBRATION])


def check_widths(bundle: str | Path, facts: Mapping, window: int, context: int) -> None:
    """Raise :class:`InputError` if the windows of this run have other widths (bp) than those of the model."""
    theirs = facts.get("window"), facts.get("context")
    if not all(isinstance(width, int) for width in theirs):
        raise InputError(bundle, "its facts do not say which windows the model reads", AGAIN, ABOUT)
    if theirs != (window, context):
        raise InputError(
            bundle,
            f"its model reads windows of {theirs[0]} in {theirs[1]} bp, this run has {window} in {context}",
            f"set dataset.window: {theirs[0]} and dataset.context: {theirs[1]}",
        )


def check_names(bundle: str | Path, facts: Mapping) -> None:
    """Raise :class:`InputError` if a TF of the model has a name that cannot be part of a file name, such as ``A/B``."""
    for tf in facts.get("tfs") or ():
        if not fits_file_name(str(tf)):
            raise InputError(bundle, f"its TF {tf!r} cannot be part of a file name", AGAIN, ABOUT)


def _frames(entries: Sequence[_Entry]) -> Iterator[bytes]:
    """Yield the bytes of the zip file before each member, and those after the last: the directory and its end."""
    directory, place = b"", 0
    for entry in entries:
        name = entry.name.encode()
        facts = (0, zipfile.ZIP_DEFLATED, *WHEN, entry.crc, entry.packed, entry.size, len(name), 0)
        frame = HEAD.pack(b"PK\x03\x04", VERSION, *facts) + name
        directory += ITEM.pack(b"PK\x01\x02", UNIX | VERSION, VERSION, *facts, 0, 0, 0, MODE, place) + name
        place += len(frame) + entry.packed
        yield frame
    number = len(entries)
    yield directory + END.pack(b"PK\x05\x06", 0, 0, number, number, len(directory), place, 0)


def _directory(path: str | Path) -> dict[str, tuple[int, _Entry]]:
    """Return name -> (byte at which its compressed bytes begin, entry) of each member.

    Raises :class:`InputError` if the file is not a zip file, has other members than a bundle, or differs in any byte
    outside the compressed members from what :func:`write_bundle` writes.
    """
    path = require(path, "correct its path in the configuration, or make the bundle with snakemake bundle")
    if path.is_dir():
        raise InputError(path, "a folder, not a bundle", WHOLE)
    try:
        with zipfile.ZipFile(path) as archive:
            listed = archive.infolist()
    except DAMAGE as error:
        raise InputError(path, f"not a bundle, or cut off ({said(error)})", AGAIN) from error
    names = [each.filename for each in listed]
    for name in names:
        if name not in ORDER or names.count(name) > 1:
            problem = (
                "a member occurs twice" if name in ORDER else "a bundle has no such member, so it is not read"
            )
            raise InputError(path, problem, "use bundles that scbind made", name)
    for name in ORDER:
        if name not in names:
            raise InputError(path, f"a zip file without {name} is not a bundle", WHOLE)
    entries = [_Entry(each.filename, each.CRC, each.compress_size, each.file_size) for each in listed]
    places = {}
    try:
        with open(path, "rb") as handle:
            for entry, frame in zip([*entries, None], _frames(entries), strict=True):
                if handle.read(len(frame)) != frame:
                    raise ValueError
                if entry:
                    places[entry.name] = handle.tell(), entry
                    handle.seek(entry.packed, os.SEEK_CUR)
            if handle.read(1) or names != list(ORDER):
                raise ValueError
    except DAMAGE as error:
        problem = "not as scbind wrote it: altered, or packed by another program"
        raise InputError(path, problem, AGAIN) from error
    return places


def _about(path: str | Path, places: Mapping[str, tuple[int, _Entry]]) -> dict:
    content = _member(path, *places[ABOUT])
    try:
        about = json.loads(content)
        found = about["format"]
    except DAMAGE as error:  # also for endlessly nested sections
        raise InputError(path, f"not readable ({said(error)})", AGAIN, ABOUT) from error
    if type(found) is not int:
        raise InputError(path, f"the format {found!r} is not a whole number", AGAIN, ABOUT)
    if found != FORMAT:
        raise InputError(
            path,
            f"made by scbind {about.get('version', '?')} in bundle format {found}; this version reads {FORMAT}",
            "update scbind" if found > FORMAT else AGAIN,
            ABOUT,
        )
    for key, kind in NEEDED.items():
        if key not in about or not isinstance(about[key], kind):
            raise InputError(path, f"{key} is missing or of a wrong type", AGAIN, ABOUT)
    return about


def _member(path: str | Path, place: int, entry: _Entry) -> bytes:
    """Read one member; never more bytes than its entry states."""
    if entry.size > LARGEST:
        raise InputError(path, f"has more than {LARGEST:,} bytes", AGAIN, entry.name)
    with open(path, "rb") as handle:
        handle.seek(place)
        packed = handle.read(entry.packed)
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = unpacker.decompress(packed, entry.size + 1)
    except zlib.error as error:
        raise InputError(path, f"cannot be read ({said(error)})", AGAIN, entry.name) from error
    ends = unpacker.eof and not unpacker.unused_data and len(content) == entry.size
    if not ends or zlib.crc32(content) != entry.crc:
        raise InputError(path, ALTERED, AGAIN, entry.name)
    return content


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
