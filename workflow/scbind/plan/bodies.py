"""What the first bytes of a download tell of it: a page or an error in its place, or another kind than its name says.

A server may send these with the status of success. Without a checksum, nothing else would tell.
"""

from __future__ import annotations

import codecs
import zlib

HEAD = 4096  # bytes looked at
PAGES = (".html", ".htm", ".xhtml")
DOCUMENTS = (*PAGES, ".xml", ".svg")
PAGE = "a web page (HTML), perhaps to log in,"
GZIP = (".gz", ".bgz", ".tgz")
# Endings of names, the kind of file, and how such files begin. A CRAM file is read under any name.
KINDS = (
    (GZIP, "gzip", (b"\x1f\x8b",)),
    ((".bam",), "BAM", (b"\x1f\x8b", b"CRAM")),
    ((".cram",), "CRAM", (b"CRAM",)),
    ((".bw", ".bigwig"), "bigWig", (b"\x26\xfc\x8f\x88", b"\x88\x8f\xfc\x26")),
    ((".zip",), "zip", (b"PK\x03\x04", b"PK\x05\x06")),
    ((".zst",), "zstd", (b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18")),
    ((".h5", ".h5ad", ".hdf5"), "HDF5", (b"\x89HDF\r\n\x1a\n",)),
)
USER_BLOCKS = (512, 1024, 2048)  # bytes that a program may put before an HDF5 file


def in_its_place(name: str, head: bytes, kind: str = "") -> str | None:
    """Return what comes in place of a file, such as a page to log in, or None.

    Parameters
    ----------
    name
        Name of the file.
    head
        Its first bytes.
    kind
        ``Content-Type`` of the reply, if there was one.

    Examples
    --------
    >>> in_its_place("a.bed", b"<?xml version='1.0'?><Error><Code>ExpiredToken</Code></Error>")
    'an XML document, perhaps an error,'
    """
    name, kind = name.lower(), kind.partition(";")[0].strip().lower()
    if name.endswith(PAGES):
        return None
    wide = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = head.decode("utf-16" if wide else "utf-8-sig", "ignore").lstrip().lower()
    if text.startswith(("<!doctype html", "<html")):
        return PAGE
    if kind == "text/html" and b"\0" not in head:  # some servers call every file of an unknown kind a page
        return PAGE
    if text.startswith(("<?xml", "<!doctype", "<!--")) and not name.endswith(DOCUMENTS):
        return PAGE if "<html" in text else "an XML document, perhaps an error,"
    if kind.endswith("json") and text.startswith(("{", "[")) and "json" not in name:
        return "a JSON document, perhaps an error,"
    return "a Git LFS pointer" if text.startswith("version https://git-lfs") else None


def unlike_its_name(name: str, head: bytes) -> str | None:
    r"""Return what is wrong with a file that does not begin as its name says, or None.

    Examples
    --------
    >>> unlike_its_name("peaks.bed.gz", b"chr1\t0\t9\n"), unlike_its_name("peaks.bed", b"chr1\t0\t9\n")
    ('the server sends a file that is not gzip, although its name ends in .gz', None)
    """
    name = name.lower()
    for endings, kind, starts in KINDS:
        for ending in endings:
            if name.endswith(ending) and not _begins(head, kind, starts):
                return f"the server sends a file that is not {kind}, although its name ends in {ending}"
    if name.endswith(GZIP) and not name.endswith(".gz.gz"):
        try:
            inner = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, 16)
        except zlib.error:  # damaged; who reads it tells
            return None
        if inner.startswith(b"\x1f\x8b\x08"):
            return "the server sends a file that is packed twice (gzip in gzip)"
    return None


def _begins(head: bytes, kind: str, starts: tuple[bytes, ...]) -> bool:
    return head.startswith(starts) or (
        kind == "HDF5" and any(head.startswith(starts, skipped) for skipped in USER_BLOCKS)
    )
