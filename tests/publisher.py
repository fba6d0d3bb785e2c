"""A made-up publisher: a local HTTP server with ranges, checksums of its files, and faults on demand."""

import base64
import hashlib
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

LOGIN = b"\n<!DOCTYPE html>\n<html><body><form>Log in</form></body></html>\n"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        publisher = self.server.publisher
        name, wanted = unquote(self.path.partition("?")[0]).lstrip("/"), self.headers.get("Range")
        publisher.seen.append((name, wanted))
        faults = publisher.faults.get(name)
        fault = faults.pop(0) if faults else None
        if name in publisher.moved:
            self.send_response(301)
            target = publisher.moved[name]
            self.send_header("Location", target if "://" in target else f"/{target}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if isinstance(fault, int):
            self.send_response(fault)
            self.send_header("Retry-After", publisher.retry_after)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if publisher.login:
            told = base64.b64encode(":".join(publisher.login).encode()).decode()
            if self.headers.get("Authorization") != f"Basic {told}":
                return self.send_error(401)
        if fault == "stall":
            time.sleep(publisher.stall)
        path = publisher.folder / name
        if fault in ("login", "login as a file"):
            return self.reply(
                LOGIN, "text/html; charset=utf-8" if fault == "login" else "binary/octet-stream"
            )
        if not path.is_file():
            return self.send_error(404)
        data = path.read_bytes()
        version = f'"{hashlib.md5(data).hexdigest()}"'
        unchanged = not publisher.conditions or self.headers.get("If-Range", version) == version
        if not (wanted and publisher.ranges and unchanged):
            return self.reply(data, publisher.kind, version, fault=fault)
        start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if start < len(data):
            part = data[start : start + 1000] if fault == "piece" else data[start:]
            total = "*" if fault == "no total" else len(data)
            span = f"bytes {start}-{start + len(part) - 1}/{total}"
            return self.reply(part, publisher.kind, version, span, fault)
        self.send_response(416)
        if publisher.versions:
            self.send_header("ETag", version)
        self.send_header("Content-Range", f"bytes */{len(data)}")
        self.send_header("Content-Length", "0")
        return self.end_headers()

    def reply(self, body, kind, version=None, span=None, fault=None):
        self.send_response(206 if span else 200)
        self.send_header("Content-Type", kind)
        if self.server.publisher.coding:
            self.send_header("Content-Encoding", self.server.publisher.coding)
        if version and self.server.publisher.versions:
            self.send_header("ETag", version)
            self.send_header("Last-Modified", formatdate(0, usegmt=True))
        if span:
            self.send_header("Content-Range", span)
        if fault in ("chunks", "no chunk"):
            self.send_header("Transfer-Encoding", "chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if fault == "chunks" else b""
        elif fault == "no length":
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        body = body[:100] if fault == "cut" else body[: len(body) // 2] if fault == "half" else body
        step = max(1, len(body) // 20) if fault == "slow" else len(body) or 1
        for begin in range(0, len(body), step):
            self.wfile.write(body[begin : begin + step])
            self.wfile.flush()

    def log_message(self, *args):
        pass


class Publisher:
    """Serves a folder from its creation until :meth:`close`.

    ``faults``: file -> what goes wrong with its next requests, in turn: a status, ``"cut"`` (after 100 bytes),
    ``"half"``, ``"slow"`` (in many pieces), ``"no length"``, ``"chunks"``, ``"no chunk"`` (chunks, but none comes),
    ``"piece"`` (at most 1000 bytes of a range), ``"no total"`` (a range of a file of untold size), ``"login"``,
    ``"login as a file"``, ``"stall"`` (silent for ``stall`` seconds), or None.
    ``login``: user and password, without which all files are refused.
    ``ranges``, ``conditions``, ``versions``: whether ``Range`` and ``If-Range`` are heeded, and ETag and date are sent.
    ``moved``: file -> the file, or the address, where it is now. ``seen``: ``(file, Range)`` of every request.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.faults, self.moved, self.seen = {}, {}, []
        self.ranges, self.versions, self.kind, self.retry_after = True, True, "binary/octet-stream", "0"
        self.conditions = True
        self.login: tuple[str, str] | None = None
        self.stall = 1.0
        self.coding = None  # what the server says of how the body is packed
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.publisher = self
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/{name}"

    def put(self, name: str, data: bytes) -> str:
        """Publish a file; return its address."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return self.url(name)

    def close(self):
        self.server.shutdown()
        self.server.server_close()
