"""A bundle: one zip file with a trained model and its description. Nothing in it can be executed.

``bundle.json`` describes the model and lists size and SHA-256 of every other member. The names of the members are
fixed, so that a bundle can neither write outside its folder nor carry a file of another kind.

Snakemake reads bundles with this module when it plans a run, so it imports only light packages (no numpy).
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping
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
LARGEST = 1 << 30  # bytes of any member; the largest that scbind makes have some 10 MB
MADE = (1980, 1, 1, 0, 0, 0)  # the oldest date of a zip file; the real date would change the bytes each time
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
AGAIN = "get the bundle again, or make it again with snakemake bundle"
DAMAGE = (
    zipfile.BadZipFile,
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


def write_bundle(path: str | Path, about: Mapping, members: Mapping[str, bytes]) -> None:
    """Write a bundle, whole or not at all. The same content gives the same bytes.

    ``about`` has the keys of ``NEEDED`` except ``members``, and may have more. ``members`` holds every member.
    """
    listed = {name: {"bytes": len(members[name]), "sha256": _sha256(members[name])} for name in MEMBERS}
    whole = {"format": FORMAT, **about, "members": listed}
    content = {ABOUT: (json.dumps(whole, indent=1, sort_keys=True) + "\n").encode()} | dict(members)
    with atomic(path) as scratch, zipfile.ZipFile(scratch, "w") as archive:
        for name in (ABOUT, *MEMBERS):
            entry = zipfile.ZipInfo(name, MADE)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, content[name], compresslevel=9)


def read_about(path: str | Path) -> dict:
    """Read ``bundle.json`` of a bundle. Raises :class:`InputError` as :func:`read_bundle` does."""
    with _opened(path) as archive:
        return _about(path, archive)


def read_bundle(path: str | Path) -> Bundle:
    """Read and verify a bundle.

    Raises
    ------
    InputError
        If the file is missing, truncated, altered or of a newer format, or has members that a bundle does not have.
    """
    with _opened(path) as archive:
        about = _about(path, archive)
        members = {}
        for name in MEMBERS:
            stated = about["members"].get(name)
            size = stated.get("bytes") if isinstance(stated, dict) else None
            if not isinstance(size, int) or not 0 <= size <= LARGEST:
                raise InputError(path, f"does not list {name} with a size that can be", AGAIN, ABOUT)
            content = _member(path, archive, name, size)
            if _sha256(content) != stated.get("sha256"):
                raise InputError(path, "wrong checksum: the bundle was altered", AGAIN, name)
            members[name] = content
    return Bundle(about, members)


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


def _opened(path: str | Path) -> zipfile.ZipFile:
    """Open the zip file. Raises :class:`InputError` if it is not one, or has a member that a bundle does not have."""
    path = require(path, "correct models.NAME.bundle, or make the bundle with snakemake bundle")
    if path.is_dir():
        raise InputError(path, "a folder, not a bundle", "give the file NAME.scbind.zip")
    try:
        archive = zipfile.ZipFile(path)
    except DAMAGE as error:
        raise InputError(path, f"not a bundle, or cut off ({said(error)})", AGAIN) from error
    names = archive.namelist()
    for name in names:
        if name not in (ABOUT, *MEMBERS) or names.count(name) > 1:
            archive.close()
            twice = name in (ABOUT, *MEMBERS)
            problem = "a member occurs twice" if twice else "a bundle has no such member, so it is not read"
            raise InputError(path, problem, "use bundles that scbind made", name)
    if ABOUT not in names:
        archive.close()
        raise InputError(path, f"a zip file without {ABOUT} is not a bundle", "give the file NAME.scbind.zip")
    return archive


def _about(path: str | Path, archive: zipfile.ZipFile) -> dict:
    content = _member(path, archive, ABOUT, None)
    try:
        about = json.loads(content)
        found = about["format"]
    except DAMAGE as error:  # also for endlessly nested sections
        raise InputError(path, f"not readable ({said(error)})", AGAIN, ABOUT) from error
    if found != FORMAT:
        newer = isinstance(found, int) and found > FORMAT
        raise InputError(
            path,
            f"made by scbind {about.get('version', '?')} in bundle format {found}; this version reads {FORMAT}",
            "update scbind" if newer else AGAIN,
            ABOUT,
        )
    for key, kind in NEEDED.items():
        if key not in about or not isinstance(about[key], kind):
            raise InputError(path, f"{key} is missing or of a wrong type", AGAIN, ABOUT)
    return about


def _member(path: str | Path, archive: zipfile.ZipFile, name: str, size: int | None) -> bytes:
    """Read one member of the stated size; never more bytes than that, whatever the zip file says."""
    most = LARGEST if size is None else size
    try:
        if archive.getinfo(name).file_size > most:
            raise InputError(path, f"is not of {most:,} bytes, as {ABOUT} says", AGAIN, name)
        with archive.open(name) as handle:
            content = handle.read(most + 1)
    except InputError:
        raise
    except DAMAGE as error:
        raise InputError(path, f"cannot be read ({said(error)})", AGAIN, name) from error
    if len(content) > most or (size is not None and len(content) < size):
        raise InputError(path, f"is not of {most:,} bytes, as {ABOUT} says", AGAIN, name)
    return content


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
