"""Transfer a file by HTTP into a partial file: resume, retry, and stop at once where what comes cannot be the file.

Pooch fetches a file anew after a break, and compares it only with a checksum. Files here have up to tens of GB, and
many publishers state no checksum, so this module asks by requests and continues by itself.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from scbind.core.errors import InputError, redacted, shortened
from scbind.core.files import atomic
from scbind.core.runlog import FULL, say
from scbind.plan.bodies import HEAD, in_its_place, unlike_its_name
from scbind.plan.progress import DownloadProgress, readable

BLOCK = 1 << 20  # bytes
# HTTP status codes worth another attempt. Any other error code is final.
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
LOGIN = frozenset({401, 403})
LONGEST_REASON = 300  # characters of an error of the network that are shown
LONGEST_WAIT = 300.0  # seconds that a server may ask us to wait before the next attempt
PACKED = (".gz", ".bgz", ".tgz", ".bz2", ".xz", ".zip", ".bam", ".bw", ".bigwig")
UNTRUSTED = re.compile(
    r"CERTIFICATE_VERIFY_FAILED\W*(?:certificate verify failed: )?(.*?)(?: \(_ssl|$)", re.S
)
CORRECT = "correct the address in sources.tsv"
BY_HAND = "or fetch the file by hand and write its path in place of the address"


def note_of(partial: Path) -> Path:
    """Return the path of the note beside a partial file: where its bytes come from."""
    return partial.with_name(f"{partial.name}.json")


def drop(partial: Path) -> None:
    """Remove a partial file and its note, if they are there."""
    partial.unlink(missing_ok=True)
    note_of(partial).unlink(missing_ok=True)


def refuse_full(folder: Path, name: str, needed: int, place: str | None) -> None:
    """Raise :class:`InputError` if the disk of ``folder`` has fewer than ``needed`` bytes free for file ``name``."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            folder.resolve(),
            f"no space for {name}: {readable(needed)} needed, {readable(free)} free",
            "free space there, or make resources/ a link to a larger disk, and run again",
            place,
        )


@dataclass
class Transfer:
    """One download by HTTP.

    Parameters
    ----------
    url
        ``http://`` or ``https://`` address. Redirects are followed.
    partial
        Path of the file that is filled. What it holds already is continued if it is known to be of the same file: by
        the note beside it (address, and ETag or date of the file), or because a checksum is going to be compared.
    name
        Name of the whole file, without a folder.
    size
        Expected size in bytes, if known.
    checked
        Whether a checksum is compared at the end.
    place
        Where the address is written, for messages.
    timeout
        An attempt fails after this many seconds without data.
    every
        Seconds between two lines of progress.
    """

    url: str
    partial: Path
    name: str
    size: int | None = None
    checked: bool = False
    place: str | None = None
    timeout: float = 60.0
    every: float = 30.0

    def __post_init__(self):
        self.continued = False  # whether the partial file holds bytes of an earlier call

    def run(self, attempts: int, wait: float) -> bool:
        """Fill the partial file. Return whether bytes of an earlier call were kept.

        Parameters
        ----------
        attempts
            Number of attempts without progress (1 MiB) before giving up.
        wait
            Seconds before the second attempt. The wait doubles for each further attempt, and is longer if the server
            asks for it.

        Raises
        ------
        InputError
            If the address does not exist or stays unreachable, if the server sends a web page or a file of another
            size, or if the disk has not enough space. What came before stays in the partial file, unless it is wrong.
        """
        import requests
        import urllib3

        self.continued, failed = self._usable() > 0, 0
        while True:
            before, asked = self._there(), 0.0
            try:
                if self._attempt():
                    self._look_again()
                    return self.continued
                problem = "the transfer ended early"
            except requests.HTTPError as error:
                reply = error.response
                if reply.status_code not in TRANSIENT:
                    raise self._refused_code(reply.status_code) from None
                problem = f"the server answers {reply.status_code}"
                after = reply.headers.get("Retry-After", "")
                asked = min(float(after), LONGEST_WAIT) if after.isascii() and after.isdigit() else 0.0
            except (
                requests.exceptions.InvalidURL,
                requests.exceptions.InvalidSchema,  # of a redirect, such as to ftp://
                requests.TooManyRedirects,
            ) as error:
                why = shortened(" ".join(str(error).split()), LONGEST_REASON)
                raise InputError(self.url, f"cannot be fetched ({why})", CORRECT, self.place) from None
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
                if getattr(error, "errno", None) in FULL:
                    raise InputError(
                        self.partial.parent.resolve(),
                        f"cannot write {self.partial.name}: {os.strerror(error.errno)}",
                        "free space (or quota) there and run again; the download continues",
                        self.place,
                    ) from None
                text = " ".join(str(error).split())  # it begins with the address, which may be long
                if why := UNTRUSTED.search(text):  # also of a proxy
                    raise self._untrusted(why[1]) from None
                problem = f"{type(error).__name__}: {shortened(text, LONGEST_REASON)}"
            failed = 1 if self._there() >= before + BLOCK else failed + 1
            if failed >= attempts:
                raise InputError(
                    self.url,
                    f"not fetched after {attempts} attempts ({problem})",
                    "check the network, or copy the file there by hand",
                    self.place,
                )
            pause = max(asked, wait * 2 ** (failed - 1))
            say(f"{self.url}: {problem}; trying again in {pause:g} s")
            time.sleep(pause)

    def _there(self) -> int:
        return self.partial.stat().st_size if self.partial.exists() else 0

    def _note(self) -> dict:
        """Return the note beside the partial file if it is about this address, else nothing."""
        try:
            note = json.loads(note_of(self.partial).read_text())
            return note if note["url"] == redacted(self.url) else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _version(self) -> str:
        """Return the ETag or the date of the file that was begun, empty if it has none."""
        return str(self._note().get("version") or "")

    def _total(self) -> int | None:
        """Return the number of bytes of the file that was begun, if the server told it."""
        return _number(str(self._note().get("total")))

    def _usable(self) -> int:
        """Return the number of bytes that can be continued. Bytes of another version of the file cannot."""
        start = self._there()
        if self.size is not None and start > self.size:
            return 0
        return start if self.checked or self._version() else 0

    def _attempt(self) -> bool:
        """Transfer the missing part. Return True if the file is complete."""
        start = self._usable()
        if start and start == self.size:
            return True
        done = self._ask(start)
        if done is None and start:
            say(f"{self.url}: the server does not confirm that the file is the one that was begun")
            done = self._ask(0)
        return bool(done)

    def _ask(self, start: int) -> bool | None:
        """Ask for the bytes from ``start`` on. Return whether the file is complete, or None if they do not fit."""
        import requests

        # Without "identity", a server may compress the transfer. Lengths and ranges would then not be the file's.
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
            if version := self._version():
                headers["If-Range"] = version  # the server sends the whole file if it has changed
        with requests.get(self.url, headers=headers, stream=True, timeout=self.timeout) as reply:
            if reply.url != self.url:
                moved = urlsplit(reply.url)  # without the query, which may hold a signature
                say(f"{self.url}: moved to {moved.scheme}://{moved.netloc}{moved.path}")
            span = reply.headers.get("Content-Range", "")
            total = _number(span.rpartition("/")[2])
            if reply.status_code == 416:  # no bytes after `start`: the file is complete, or it has changed
                if total is not None and self.size not in (None, total):
                    drop(self.partial)
                    raise self._wrong_size(f"the server has {total} bytes")
                fits = start == total and self._is_same(reply, total, self.checked or self._total() == start)
                return True if fits else None
            reply.raise_for_status()
            if reply.status_code != 206:
                return self._receive(reply, 0, _number(reply.headers.get("Content-Length", "")))
            if not span.startswith(f"bytes {start}-"):
                return None
            if start and not self._is_same(reply, total, self.checked):
                return None
            # Its Content-Length is that of the part, and a server may send a smaller part than it was asked for.
            return self._receive(reply, start, total if total is not None or not start else self._total())

    def _is_same(self, reply, total: int | None, untold: bool) -> bool:
        """Whether a reply is about the version of the file that was begun. Some servers ignore ``If-Range``.

        ``total``: bytes of the file, by the reply. ``untold``: the answer if the reply names no version.
        """
        if total is not None and self._total() not in (None, total):
            return False
        version = self._version()
        told = reply.headers.get("ETag" if version.startswith('"') else "Last-Modified", "")
        return told == version if told and version else untold

    def _receive(self, reply, begin: int, goal: int | None) -> bool:
        """Write the body of a reply from byte ``begin`` on, if it can be the file of ``goal`` bytes."""
        from urllib3.exceptions import HTTPError

        # read1 returns the bytes received so far, so a broken connection loses none of them.
        head, broken = b"", None
        try:
            while len(head) < HEAD and (block := reply.raw.read1(HEAD - len(head))):
                head += block
        except (HTTPError, OSError) as error:
            if not head:
                raise
            broken = error
        if head and not begin:
            self._refuse_other(head, reply.headers.get("Content-Type", ""), broken is not None)
        self._refuse_unknown(reply, goal, bool(head or begin))
        if self.size is not None and goal not in (None, self.size):
            raise self._wrong_size(f"the server has {goal} bytes")
        goal = self.size if goal is None else goal
        if goal is not None:
            refuse_full(self.partial.parent, self.name, goal - self._there(), self.place)
        if begin:
            say(f"{self.url}: continued at byte {begin}")
        else:
            self._begin_anew(reply, goal)
        size, progress = begin, DownloadProgress(self.name, begin, goal, self.every)
        with open(self.partial, "ab") as handle:
            block = head
            while block:
                size += len(block)
                if self.size is not None and size > self.size:
                    drop(self.partial)
                    raise self._wrong_size(f"the server sends more than {self.size} bytes")
                handle.write(block)
                progress.tell(size)
                if broken:
                    raise broken
                block = reply.raw.read1(BLOCK)
        return goal is None or size == goal

    def _begin_anew(self, reply, total: int | None) -> None:
        """Drop what is there, and note which version of the file is going to come."""
        if self._there():
            say(f"{self.url}: starts from byte 0")
        self.continued = False
        drop(self.partial)
        version = reply.headers.get("ETag", "")
        if not version or version.startswith("W/"):  # a weak tag does not promise the same bytes
            version = reply.headers.get("Last-Modified", "")
        with atomic(note_of(self.partial)) as scratch:
            scratch.write_text(json.dumps({"url": redacted(self.url), "version": version, "total": total}))

    def _look_again(self) -> None:
        """Compare the first bytes once more: the first transfer may have broken among them."""
        if self.checked or not self._there():
            return
        with open(self.partial, "rb") as handle:
            head = handle.read(HEAD)
        try:
            self._refuse_other(head)
        except InputError:
            drop(self.partial)
            raise

    def _refuse_other(self, head: bytes, kind: str = "", cut: bool = False) -> None:
        """Raise :class:`InputError` if the first bytes (``cut``: some of them) are not those of the file."""
        if what := in_its_place(self.name, head, kind):
            problem = f"the server sends {what} instead of the file"
            remedy = f"open the address in a browser and correct it, {BY_HAND}"
            raise InputError(self.url, problem, remedy, self.place)
        if self.checked or cut:
            return
        if problem := unlike_its_name(self.name, head):
            remedy = "correct the address or the name, or list the file in sources.tsv with its checksum"
            raise InputError(self.url, problem, remedy, self.place)

    def _refuse_unknown(self, reply, goal: int | None, some: bool) -> None:
        """Raise :class:`InputError` if it could not be told that what comes is another thing, or a part of the file."""
        coding = reply.headers.get("Content-Encoding", "").lower()
        # servers that call a packed file an encoding of itself send its bytes as they are
        packed = f"{self.name} {urlsplit(self.url).path}".lower().split()
        if coding not in ("", "identity") and not any(name.endswith(PACKED) for name in packed):
            problem = f"the server compresses the transfer ({coding}), although it was asked not to"
            raise InputError(self.url, problem, f"use another address, {BY_HAND}", self.place)
        if self.checked or self.size is not None:
            return
        if not some:
            remedy = f"correct the address, {BY_HAND}"
            raise InputError(self.url, "the server sends an empty file", remedy, self.place)
        if goal is None and reply.headers.get("Transfer-Encoding", "").lower() != "chunked":
            problem = (
                "the server does not tell the length of the file, so a truncated transfer looks complete"
            )
            remedy = "write the size or a checksum of the file into sources.tsv"
            raise InputError(self.url, problem, remedy, self.place)

    def _untrusted(self, why: str) -> InputError:
        remedy = "check address and clock, or, with certificates of your network, set REQUESTS_CA_BUNDLE to their file"
        return InputError(self.url, f"the certificate of the server is refused ({why})", remedy, self.place)

    def _wrong_size(self, found: str) -> InputError:
        remedy = "if the file was updated on purpose, write its new size and checksum into the sheet"
        return InputError(
            self.url, f"{found}, but its size in the sheet is {self.size} bytes", remedy, self.place
        )

    def _refused_code(self, code: int) -> InputError:
        remedy = CORRECT
        if code in LOGIN:
            remedy = f"the file is not public: {CORRECT}, {BY_HAND}"
        return InputError(self.url, f"the server answers {code}", remedy, self.place)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None
