"""Ways to damage a file, for `fuzz.py`: bytes, fields, lines, the packing, or another file in its place.

Every function takes content and a random generator, and returns new content. Text is bytes without packing.
"""

from __future__ import annotations

import gzip
import random
import re
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pysam

VALUES = (
    "", "NA", "nan", "-1", "0", "1e300", "-1e300", "inf", "99999999999999999999", "9223372036854775807", "9" * 5000,
    "1.5", "1e3", "0x10", "1_000", "chr99", "chrM", "²", "١", "é", "名", "\x00", "\x0b", "\x1c", "\x85", "\u2028",
    "\ufeff", '"', "'", "#", "{data}/x", "source:x", "~nobody/x", "*", ".", "-", "true", "null", ".nan", ".inf",
    "2001-13-45", "0x_", "*x", "&x [*x]", "[", "{", "&a", "\\", "%", " ", "a b", "x" * 300, "x" * 70_000,
    "x" * 200_000, "x" * 1_200_000,
)  # fmt: skip
NUMBERS = (
    0,
    1,
    2,
    3,
    255,
    65_535,
    1 << 20,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 40,
    (1 << 63) - 1,
    (1 << 64) - 1,
)
OTHER_FILES = {
    "empty file": b"",
    "one byte": b"\x00",
    "one line end": b"\n",
    "HTML page": b"<!DOCTYPE html>\n<html><body>404</body></html>\n",
    "LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n",
    "zip archive": b"PK\x03\x04\x14\x00\x00\x00",
    "damaged HDF5": b"\x89HDF\r\n\x1a\n\x00\x00\x00\x00\x00\x08\x08\x00\x04\x00\x10\x00",
    "only zeros": bytes(1000),
    "packed nothing": gzip.compress(b""),
}


def alter_bytes(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Damage bytes wherever they are."""
    data = bytearray(content)
    size = max(len(data), 1)
    # half of the time near the start, where headers are
    at = rng.randrange(size) if rng.random() < 0.5 else rng.randrange(min(size, 300))
    length = rng.choice((1, 2, 4, 8, 30, 300))
    way = rng.choice(
        ("flip", "flips", "delete", "insert", "repeat", "cut", "zero", "number", "swap", "append")
    )
    if way == "flip" and data:
        data[at] ^= 1 << rng.randrange(8)
    elif way == "flips":
        for _ in range(length):
            if data:
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif way == "delete":
        del data[at : at + length]
    elif way == "insert":
        data[at:at] = rng.randbytes(length)
    elif way == "repeat":
        data[at:at] = data[at : at + length]
    elif way == "cut":
        del data[at:]
    elif way == "zero":
        data[at : at + length] = bytes(len(data[at : at + length]))
    elif way == "number":
        form = rng.choice("<H <I <Q >I".split())
        at -= at % struct.calcsize(form)
        number = rng.choice(NUMBERS) & ((1 << 8 * struct.calcsize(form)) - 1)
        data[at : at + struct.calcsize(form)] = struct.pack(form, number)
    elif way == "swap":
        other = rng.randrange(size)
        data[at : at + length], data[other : other + length] = (
            data[other : other + length],
            data[at : at + length],
        )
    else:
        data += rng.randbytes(length)
    return f"bytes: {way} {length} at {at} of {len(content)}", bytes(data)


def alter_text(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Damage fields, lines, line ends, separators or the encoding of a text in UTF-8."""
    lines = content.decode().split("\n")
    row = rng.randrange(max(1, len(lines) - 1))
    other = rng.randrange(len(lines))
    way = rng.choice(
        ("value", "value", "value", "value", "swap fields", "repeat field", "delete field", "swap lines",
         "repeat line", "delete line", "repeat lines", "ends", "encoding", "separator", "column", "join lines",
         "quote", "long line", "shuffle", "header only", "space")
    )  # fmt: skip
    parts = re.split(r"([\t ,;:=]+)", lines[row])
    place = 2 * rng.randrange((len(parts) + 1) // 2)
    second = 2 * rng.randrange((len(parts) + 1) // 2)
    detail = f"line {row + 1}"
    if way in ("value", "column"):
        value = rng.choice(VALUES)
        detail += f", field {place // 2 + 1} -> {value[:20]!r}"
        chosen = range(len(lines)) if way == "column" else [row]
        if way == "column" and len(value) > 400:
            value = "NA"
        for number in chosen:
            fields = re.split(r"([\t ,;:=]+)", lines[number])
            if place < len(fields):
                fields[place] = value
            lines[number] = "".join(fields)
    elif way == "swap fields":
        parts[place], parts[second] = parts[second], parts[place]
        lines[row] = "".join(parts)
    elif way == "repeat field":
        separator = parts[1] if len(parts) > 1 else "\t"
        lines[row] = "".join([*parts[: place + 1], separator, *parts[place:]])
    elif way == "delete field":
        lines[row] = "".join(parts[:place] + parts[place + 2 :])
    elif way == "swap lines":
        lines[row], lines[other] = lines[other], lines[row]
    elif way == "repeat line":
        lines.insert(other, lines[row])
    elif way == "delete line":
        del lines[row]
    elif way == "repeat lines":
        lines = lines[:-1] * 3 + [""]
    elif way == "join lines":
        lines[row : row + 2] = ["".join(lines[row : row + 2])]
    elif way == "quote":
        lines[row] = rng.choice(('"{}', '{}"', '"{}"', "'{}", '"{}\n"')).format(lines[row])
    elif way == "long line":
        lines[row] = lines[row] + rng.choice("x\t ,:") * rng.choice((10_000, 300_000))
    elif way == "shuffle":
        rng.shuffle(lines)
    elif way == "header only":
        lines = [lines[0], ""]
    elif way == "space":
        lines[row] = rng.choice((" {}", "{} ", "\t{}", "{}\t", "\ufeff{}", "{}\x00", "\n{}")).format(
            lines[row]
        )
    text = "\n".join(lines)
    if way == "ends":
        end = rng.choice(("\r\n", "\r", "\n\r", "mixed", "none"))
        detail = repr(end)
        if end == "mixed":
            text = "".join(line + rng.choice(("\n", "\r\n", "\r")) for line in lines)
        else:
            text = text.rstrip("\n") if end == "none" else text.replace("\n", end)
    elif way == "separator":
        old, new = rng.choice("\t\t :,"), rng.choice((" ", ",", ";", "  ", "|", "\t\t", "\t"))
        detail = f"{old!r} -> {new!r}"
        text = text.replace(old, new)
    elif way == "encoding":
        name = rng.choice(
            ("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "latin-1", "cp037", "utf-16 odd", "cp1252")
        )
        detail = name
        extra = text.replace("1", "é", 1) if name in ("latin-1", "cp1252") else text
        packed = extra.encode(name.removesuffix(" odd"), "replace")
        return f"text: {way} {detail}", packed[:-1] if name.endswith("odd") else packed
    return f"text: {way} {detail}", text.encode("utf-8", "surrogatepass")


def pack(content: bytes, packing: str, folder: Path) -> bytes:
    """Pack text: ``plain``, ``gzip``, ``members`` (several gzip streams), ``bgzf`` or ``zstd``."""
    if packing == "plain":
        return content
    if packing == "gzip":
        return gzip.compress(content, mtime=0)
    if packing == "members":
        half = len(content) // 2
        return gzip.compress(content[:half], mtime=0) + gzip.compress(content[half:], mtime=0)
    if packing == "zstd":
        return pa.compress(content, "zstd", asbytes=True)
    return to_bgzf(content, folder)


def to_bgzf(content: bytes, folder: Path) -> bytes:
    """Pack into BGZF with its end marker."""
    with tempfile.NamedTemporaryFile(dir=folder) as handle:
        with pysam.BGZFile(handle.name, "wb") as out:
            out.write(content)
        return Path(handle.name).read_bytes()


def damage_packing(content: bytes, packing: str, rng: random.Random, folder: Path) -> tuple[str, bytes]:
    """Damage a packed file: cut it, garble it inside, or append to it."""
    packed = pack(content, packing, folder)
    way = rng.choice(
        ("cut", "garble", "garbage after", "text after", "zeros after", "no end", "twice", "twice packed")
    )
    if way == "cut":
        packed = packed[: rng.randrange(1, len(packed))]
    elif way == "garble":
        at = rng.randrange(min(10, len(packed) - 1), len(packed))
        packed = packed[:at] + bytes([packed[at] ^ (1 << rng.randrange(8))]) + packed[at + 1 :]
    elif way == "no end":
        packed = packed[:-28]
    elif way == "twice":
        packed += packed
    elif way == "twice packed":
        packed = gzip.compress(packed, mtime=0)
    else:
        packed += {
            "garbage after": rng.randbytes(50),
            "text after": content[:200],
            "zeros after": bytes(512),
        }[way]
    return f"{packing}: {way}", packed


def alter_bgzf(content: bytes, rng: random.Random, folder: Path) -> tuple[str, bytes]:
    """Damage what a BGZF file such as a BAM holds, and pack it again with right checksums."""
    said, altered = alter_bytes(gzip.decompress(content), rng)
    return f"unpacked {said}", to_bgzf(altered, folder)


def alter_sections(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Damage a section of data of a bigWig and pack it again with a right checksum, in the same room."""
    index = struct.unpack_from("<Q", content, 24)[0]
    at, size, _ = rng.choice(list(_sections(content, index)))
    for _ in range(50):
        said, altered = alter_bytes(zlib.decompress(content[at : at + size]), rng)
        packed = zlib.compress(altered, 9)
        if len(packed) <= size:
            return f"section {said}", content[:at] + packed + content[at + len(packed) :]
    return alter_bytes(content, rng)


def _sections(content: bytes, index: int):
    """Yield place and size of the sections of a bigWig with an index of one level."""
    leaf, _, number = struct.unpack_from("<BBH", content, index + 48)
    for item in range(number) if leaf else ():
        begin, size = struct.unpack_from("<QQ", content, index + 52 + 32 * item + 16)
        yield begin, size, item


def replace(path: Path, rng: random.Random, others: dict[str, bytes]) -> str:
    """Put another file, a folder or nothing in place of a file."""
    way = rng.choice(("folder", "missing", "dangling link", "link to itself", *OTHER_FILES, *others))
    path.unlink()
    if way == "folder":
        path.mkdir()
    elif way == "dangling link":
        path.symlink_to(path.with_name("nothing"))
    elif way == "link to itself":
        path.symlink_to(path)
    elif way != "missing":
        path.write_bytes({**OTHER_FILES, **others}[way])
    return f"in its place: {way}"


Alter = Callable[[bytes, random.Random], tuple[str, bytes]]
