"""From what a user wrote as a path to the path of a file, and whether two paths are one file."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from scbind.core.errors import InputError, redacted
from scbind.formats.fields import NOT_AVAILABLE

DEMO_FOLDER, COHORT_FOLDER = "resources/demo/", "resources/cohort/"
SIMULATED = DEMO_FOLDER, COHORT_FOLDER  # folders of files that the workflow itself makes
DATA_VARIABLE = "SCBIND_DATA"
PLACEHOLDER = "path/to/"  # in the configuration that comes with scbind
NOTHING = {*NOT_AVAILABLE, "None", "none", "null", "-", "."}  # written by some tools for an empty field
RELATIVE = " (relative to the working folder)"
MODELS_FOLDER = "resources/models/"  # comes with scbind
SAMPLE_BYTES = 1 << 16  # compared at either end of two files of one size
SIZE = "size"
LEAST_COPY = 1000  # bytes; smaller files of one size may be alike by chance
SCHEMES = "http", "https", "file"
HTTPS = "write the https:// address of the file"
REMEDIES = {  # for schemes that are not fetched
    "ftp": "write https:// instead of ftp://; servers such as those of EBI and NCBI have the same paths there",
    "s3": HTTPS,
    "gs": HTTPS,
}


@dataclass
class Resolver:
    """Turns a path that a user wrote into the path of a file, relative to the working directory.

    Attributes
    ----------
    sources
        Name -> ``{"url", "sha256", "md5", "size", "licence", "place"}``. Addresses in place of paths are added.
    data
        The folder that ``{data}`` stands for, if there is one.
    """

    sources: dict[str, dict]
    data: str | None

    def place(self, text: str, file: str, where: str) -> str:
        """Replace ``{data}`` by the data folder."""
        if not text.startswith("{data}/"):
            return text
        if not self.data:
            raise InputError(
                file,
                f"{text} needs the data folder",
                f"set data: in the config or the environment variable {DATA_VARIABLE}",
                where,
            )
        return str(Path(self.data) / text.removeprefix("{data}/"))

    def __call__(self, text: str, file: str, where: str, folder: bool = False) -> str:
        """Return the path. ``file`` and ``where`` tell where it was written; ``folder``: it may be a folder."""
        text = self.place(text, file, where)
        if text.startswith("source:"):
            name = text.removeprefix("source:")
            if name not in self.sources:
                known = ", ".join(self.sources) or "none"
                raise InputError(
                    file, f"no source named {name!r}", f"rows of the sources sheet: {known}", where
                )
            return f"resources/{name}"
        if "://" in text:
            check_address(text, file, where)
            shown = redacted(text)  # the name is seen everywhere
            last = (text if shown == text else shown.partition("?")[0]).rstrip("/").rpartition("/")[2]
            name = f"{hashlib.sha256(shown.encode()).hexdigest()[:8]}-{last}"
            name = re.sub(r"[^A-Za-z0-9_.+-]", "_", name)
            unknown = {"sha256": "", "md5": "", "size": None, "licence": ""}
            row = self.sources.setdefault(name, {"url": text, **unknown, "place": f"{file}, {where}"})
            if row["url"] != text:
                raise InputError(
                    file,
                    f"{text} differs from the address in {row['place']} only in a part that is not shown",
                    "write one address if they are one file, else give each a row in sources.tsv and write source:NAME",
                    where,
                )
            return f"resources/{name}"
        if text.startswith(SIMULATED):
            return text
        text = os.path.expanduser(text)
        if not os.path.exists(text):
            raise InputError(
                file,
                f"no such file: {text}",
                "leave the field empty for none" if text in NOTHING else _path_remedy(text),
                where,
            )
        if os.path.isdir(text) and not folder:
            raise InputError(file, f"{text} is a folder", "name a file in it", where)
        return text


def check_address(text: str, file: str, where: str) -> None:
    """Raise :class:`InputError` if nothing can be fetched from an address, because of its scheme, host or port.

    ``file`` and ``where`` tell where it was written.
    """
    scheme, problem, remedy = text.partition("://")[0].lower(), "", "correct the address"
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port  # both may raise ValueError
    except ValueError as error:
        raise InputError(file, f"{text} is not an address ({error})", remedy, where) from None
    if "://" not in text:
        problem, remedy = "is not an address", "write it with https://, or file:///PATH for a file of yours"
    elif scheme not in SCHEMES:
        problem, remedy = f"cannot be fetched by {scheme}://", REMEDIES.get(scheme, f"{HTTPS}, or its path")
    elif scheme == "file" and host not in (None, "localhost"):
        problem, remedy = "names a server", "write file:/// and the absolute path"
    elif scheme != "file" and (not host or re.search(r"\s", parts.netloc)):
        problem = "names no server"
    if problem:
        raise InputError(file, f"{text} {problem}", remedy, where)


def _path_remedy(text: str) -> str:
    if text.startswith(PLACEHOLDER):
        return "write the path of your file in its place (for the demo on simulated data: make demo)"
    if "\\" in text and os.path.exists(text.replace("\\", "/")):
        return f"write {text.replace(chr(92), '/')}, with slashes"
    if text.startswith(MODELS_FOLDER):  # the working folder is not that of scbind
        return (
            f"correct the path{RELATIVE}; with --directory, link {MODELS_FOLDER.rstrip('/')} of scbind into that "
            "folder (docs/how-to/your-data.md, Several analyses)"
        )
    return f"correct the path{'' if os.path.isabs(text) else RELATIVE}"


def refuse_same_file(
    seen: dict[tuple, list[tuple[str, str, int]]], path: str, owner: str, sheet: str, number: int
) -> None:
    """Refuse a file that two rows name, also by different paths or as a copy.

    ``seen`` holds the rows so far (path, owner, line) by what identifies their files, and is extended. The time grows
    with the number of rows, not with its square.
    """
    keys = _identities(path)
    for key in keys:
        for other, name, line in seen.get(key, ()):
            if key[0] != SIZE or _same_ends(path, other):
                raise InputError(
                    sheet,
                    f"{owner} has the same file as {name} (line {line}): {path}",
                    "give each row its own file, or remove one of them",
                    f"line {number}",
                )
    for key in keys:
        seen.setdefault(key, []).append((path, owner, number))


def _identities(path: str) -> list[tuple]:
    """Return what two rows with one file share. A copy has the same size, and the same first and last bytes."""
    keys: list[tuple] = [("path", os.path.normpath(path))]
    try:
        found = os.stat(path)
    except OSError:  # not there yet
        return keys
    keys.append(("file", found.st_dev, found.st_ino))
    if stat.S_ISREG(found.st_mode) and found.st_size >= LEAST_COPY:
        keys.append((SIZE, found.st_size))
    return keys


def _same_ends(one: str, other: str) -> bool:
    try:
        return _ends(one) == _ends(other)
    except OSError:  # not readable; the rule that reads it says so
        return False


def _ends(path: str) -> tuple[bytes, bytes]:
    with open(path, "rb") as handle:
        first = handle.read(SAMPLE_BYTES)
        handle.seek(-min(SAMPLE_BYTES, os.path.getsize(path)), os.SEEK_END)
        return first, handle.read()
